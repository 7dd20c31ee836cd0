"""The book's own pages: they build without a warning and work from disk for every reader.

The notebooks are taken as templates, without outputs, so that this needs no run; `make check-book`
looks at a book with its figures in the same way.
"""

from __future__ import annotations

import ast
import base64
import html
import io
import json
import re
import shlex
import sys
import zipfile
from pathlib import Path

import browse
import numpy as np
import pages
import pandas as pd
import pictures
import pytest
import render
import slides
import yaml
from forked import here
from PIL import Image

import xltlib
from xltlib import scores
from xltlib.book import figures
from xltlib.book.style import DATA
from xltlib.train.config import load_embedded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))


ROOT = Path(__file__).resolve().parents[1]
ONE_OF_A_KIND = [
    "book/index",
    "book/glossary",
    "book/api/scores",
    "notebooks/10_finetuning",
    "search",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Build the site once; return its folder."""
    folder = tmp_path_factory.mktemp("book")
    render.make_stage(folder / "stage", repository / "notebooks", "Not built from a run.\n")
    with here():
        done = render.build_site(folder / "stage", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out" / "html"


def chapters(repository: Path) -> list[str]:
    toc = yaml.safe_load((repository / "book" / "_toc.yml").read_text("utf-8"))
    return [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]


def test_every_chapter_is_built_without_a_warning(site: Path, repository: Path) -> None:
    for page in chapters(repository):
        assert (site / f"{page}.html").exists(), page


def test_every_page_and_notebook_is_in_the_table_of_contents(repository: Path) -> None:
    prose = (p.relative_to(repository) for p in (repository / "book").rglob("*.md"))
    written = [p for p in prose if "published" not in p.parts]  # the card of a kept model
    written += [p.relative_to(repository) for p in repository.glob("notebooks/**/*.ipynb")]
    assert {str(p.with_suffix("")) for p in written} == set(chapters(repository))


def test_no_directive_or_object_of_python_is_shown_as_text(site: Path, repository: Path) -> None:
    """With a backtick in its first line a fence is text for Markdown, and there is no warning."""
    for page in chapters(repository):
        text = re.sub(r"<[^>]+>", "", (site / f"{page}.html").read_text("utf-8"))
        assert not re.search(r"```\{[a-z-]+\}", text), page
        assert not re.search("object at 0x", text), page


def test_every_public_module_has_a_place_in_the_reference(repository: Path) -> None:
    modules, packages = set(), set()
    for path in (repository / "xltlib").rglob("*.py"):
        name = ".".join(path.relative_to(repository).with_suffix("").parts)
        (packages if path.stem == "__init__" else modules).add(name.removesuffix(".__init__"))
    pages = (repository / "book" / "api").glob("*.md")
    shown = {m for p in pages for m in re.findall(r"automodule:: (\S+)", p.read_text("utf-8"))}
    assert shown - packages == modules and shown <= modules | packages


def test_nothing_points_outside_but_links(site: Path) -> None:
    """Scripts, styles, pictures, fonts: whatever a page loads by itself lies beside it."""
    loads = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//""")
    styles = re.compile(r"""<link\b[^>]*rel=["']?stylesheet["']?[^>]*href=["']?(?:https?:)?//""")
    for page in browse.pages(site):
        text = page.read_text("utf-8")
        assert not loads.search(text) and not styles.search(text), page.name


def test_every_page_and_figure_says_what_it_is(site: Path, repository: Path) -> None:
    seen = set()
    for name in chapters(repository):
        text = (site / f"{name}.html").read_text("utf-8")
        (tag,) = re.findall(r'<meta[^>]* name="description"[^>]*>', text)
        said = re.search(r'content="([^"]+)"', tag)[1]
        assert len(said) > 20, name
        seen.add(said)
        for alt in re.findall(r'<img alt="([^"]*)"', text):
            assert not alt.startswith(".."), f"{name}: {alt} is read aloud"
    assert len(seen) > 0.9 * len(chapters(repository))
    for made in ("search", "genindex"):  # pages without a text of their own
        text = (site / f"{made}.html").read_text("utf-8")
        (said,) = re.findall(r'<meta[^>]* name="description" content="([^"]+)"', text)
        assert render.title() in said, made


def test_a_page_is_light(site: Path, repository: Path) -> None:
    """Under 1.5 MB with its styles and scripts, long reference and explorers too."""
    for name in chapters(repository):
        assert browse.weight(site / f"{name}.html", site) < browse.HEAVIEST, name


def test_what_a_page_weighs_is_all_that_it_names(tmp_path: Path) -> None:
    for name, size in (
        ("a.css", 10),
        ("b.js", 200),
        ("_images/c.svg", 3000),
        ("explore/d.js", 40_000),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b" " * size)
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="stylesheet" href="a.css?v=1"/><script defer src="b.js"></script>'
        '<img alt="x" loading="lazy" src="_images/c.svg"/><a href="_images/c.svg">again</a>'
        '<div data-then="d.js"></div>'
    )
    assert browse.weight(page, tmp_path) == 43_210 + page.stat().st_size


def test_terms_lead_to_the_glossary_at_first_use(site: Path, repository: Path) -> None:
    anchors = set(
        re.findall(r'id="(term-[^"]+)"', (site / "book/glossary.html").read_text("utf-8"))
    )
    linked = re.compile(r'<a class="term reference internal" href="[^"#]*glossary.html#([^"]+)"')
    used = set()
    for name in chapters(repository):
        here = linked.findall((site / f"{name}.html").read_text("utf-8"))
        assert len(here) == len(set(here)) and set(here) <= anchors, name
        used |= set(here)
    assert {"term-source", "term-zero-shot", "term-in-language", "term-probe"} <= used


def test_a_downloaded_chapter_says_what_it_needs(site: Path) -> None:
    (path,) = (site / "_downloads").rglob("03_matrix.ipynb")
    first, title, *_ = json.loads(path.read_text("utf-8"))["cells"]
    assert f"xltlib-{xltlib.__version__}-py3" in "".join(first["source"])
    assert "".join(title["source"]).startswith("# ")


def test_formulas_need_no_script(site: Path) -> None:
    text = (site / "book" / "glossary.html").read_text("utf-8")
    assert "<math" in text and "mathjax" not in text.lower()


def test_every_citation_is_in_the_bibliography_and_used(site: Path, repository: Path) -> None:
    keys = re.findall(
        r"^@\w+\{(.+),$", (repository / "book/references.bib").read_text("utf-8"), re.M
    )
    assert len(keys) == len(set(keys))
    shown = re.findall(r'role="listitem"', (site / "book" / "references.html").read_text("utf-8"))
    assert len(shown) == len(keys)


def test_an_unreadable_formula_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    import accessible
    from docutils import nodes

    assert accessible.mathml(nodes.math("", r"\frac{a}{b}"), "inline").startswith("<math")
    with caplog.at_level("WARNING"):
        shown = accessible.mathml(nodes.math("", r"\left( a"), "inline")
    assert shown.startswith("<code>") and "cannot be converted" in caplog.text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2 |A| / |B| over z_ and z_b", r"2 \|A\| / \|B\| over z\_ and z_b"),
        ("see `SCHEMA` and ``a|b``", "see ``SCHEMA`` and ``a|b``"),
        (":func:`f` of `x_`", ":func:`f` of ``x_``"),
    ],
)
def test_docstrings_are_read_as_plain_text(written: str, read: str) -> None:
    import accessible

    assert accessible.plain(written) == read


def test_code_blocks_in_docstrings_stay_as_they_are() -> None:
    import accessible

    lines = ["Use::", "", "    a | b_", "", "then |c|"]
    accessible.read_plainly(None, "", "", None, None, lines)
    assert lines == ["Use::", "", "    a | b_", "", r"then \|c\|"]


CSS = """@charset "utf-8"; /* a { */
:root { --read: red; --unread: "}"; }
.used > a:not(.absent), .absent a { color: var(--read) }
@media print { .absent { x: y } #main { background: url("data:image/svg+xml,;}") } }
@font-face { font-family: x; src: url(x.woff2) }
"""


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_what_a_page_beside_the_book_shows_and_links_is_kept(repository: Path, page: str) -> None:
    text = re.sub(r"```.*?```", "", (repository / page).read_text("utf-8"), flags=re.S)
    places = [place for place in re.findall(r"\]\(([^)#]+)", text) if "://" not in place]
    assert [place for place in places if not (repository / place).is_file()] == []


def test_the_picture_of_the_readme_is_that_of_the_kept_scores(
    repository: Path, tmp_path: Path
) -> None:
    table = scores.read(repository / "book" / "published" / "text2text" / "scores.parquet")
    task, model = "massive_intent", "multilingual-e5-small-text2text"
    figures.transfer_matrix(table, task, model).save(tmp_path / "matrix.svg")
    drawn, kept = (
        re.findall("<!-- (.*?) -->", (folder / "matrix.svg").read_text("utf-8"))
        for folder in (tmp_path, repository / "book")
    )
    assert drawn == kept and len(kept) > 144


def test_only_rules_that_a_page_can_use_are_kept() -> None:
    import light

    names = light.names_in(['<p class="used other" id="main">'], ['x.className = "made"'])
    assert names == {"used", "other", "main", "x", "className", "made"}
    kept = light.without_unread_variables(light.used(CSS, names), "")
    assert kept.splitlines() == [
        ":root{--read: red;}",
        ".used > a:not(.absent){color: var(--read)}",
        '@media print{#main{background: url("data:image/svg+xml,;}")}}',
        "@font-face{font-family: x; src: url(x.woff2)}",
    ]


def test_parts_of_bootstrap_that_no_page_switches_on_leave_no_rules(tmp_path: Path) -> None:
    import light

    script = tmp_path / "bootstrap.js"
    script.write_text('a("carousel-item"), b("tooltip-inner"), c("bs-tooltip-end")')
    words = light.words_of(script, ['<a data-bs-toggle="tooltip">']).split()
    assert {"tooltip-inner", "bs-tooltip-end", "show"} <= set(words)
    assert "carousel-item" not in words


def test_a_figure_on_a_phone_is_as_wide_as_its_letters_ask(tmp_path: Path) -> None:
    """Eight pixels for the smallest, at most a tenth more than it was drawn at."""
    import light

    for letters, wide in (("0.09 -0.09", 300 * 8 / 12), ("0.06 -0.06", 300), ("0.02 -0.02", 330)):
        figure = tmp_path / f"{letters[:4]}.svg"
        figure.write_text(
            f'<svg width="225pt" height="75pt"><g transform="scale({letters})"/>'
            '<g transform="scale(0.1 -0.1)"/></svg>'
        )
        assert light.size(figure) == (300, 100, round(wide))
        page = light.with_sizes(f'<h1></h1><img alt="x" src="{figure.name}"/>', tmp_path / "a.html")
        assert f'width="300" height="100" style="--readable:{round(wide)}px"' in page


def test_code_loses_no_letter_and_only_elements_of_plain_words(site: Path) -> None:
    text = (site / "notebooks" / "03_matrix.html").read_text("utf-8")
    listing = max(re.findall(r'<div class="highlight"><pre.*?</pre>', text, re.S), key=len)
    assert '<span class="n">' not in listing and '<span class="k' in listing
    code = html.unescape(re.sub(r"<[^>]+>", "", listing))
    cells = json.loads((ROOT / "notebooks" / "03_matrix.ipynb").read_text("utf-8"))["cells"]
    assert code.strip() in {"".join(c["source"]).strip() for c in cells}


def test_a_figure_follows_the_theme_and_keeps_the_colours_of_its_data() -> None:
    import light

    drawn = (
        '<svg><style type="text/css">*{x: y}</style><path style="fill: #ffffff; stroke: #0072b2"/>'
        '<g id="text_1"><!-- 7 --><g style="fill: #ffffff" transform="x"></g></g>'
        '<g id="text_2"><g style="fill: #222222"></g></g></svg>'
    )
    shown = light.themed(drawn)
    assert 'style="fill: var(--cffffff); stroke: #0072b2"' in shown
    assert '<g style="fill: white" transform="x">' in shown  # in a cell of a heat map
    assert '<g style="fill: var(--c222222)">' in shown
    assert "--cffffff:#ffffff" in shown and "dark){:root{--cffffff:#121212" in shown
    for light_, dark in light.DARK.items():  # ink stays as far from the page as it was, or 4.5
        if light_ not in ("#ffffff", "#dddddd"):
            white, black = contrast(light_, "#ffffff"), contrast(dark, light.DARK["#ffffff"])
            assert black >= min(4.5, white), light_


def test_a_figure_is_smaller_and_looks_the_same() -> None:
    """Every text, every path within a hundredth of a point, every cell in its colour."""
    import slim

    codes = list(load_embedded("embedded").languages)
    rng = np.random.default_rng(0)
    rows = [("m", "t", s, t, 0, 0, "f1", rng.uniform(), 9) for s in codes for t in codes]
    names = "model task source target n_target seed metric score n_test".split()
    drawn = figures.transfer_matrix(pd.DataFrame(rows, columns=names), "t")._repr_svg_()
    small = slim.slim(drawn)
    assert len(small) < 0.7 * len(drawn)

    def parts(svg: str) -> tuple[list[np.ndarray], np.ndarray, int]:
        paths = [
            np.array(re.findall(r"-?[\d.]+", d), float) for d in re.findall(r' d="([^"]+)', svg)
        ]
        found = re.findall(r"data:image/png;base64,([^\"]+)", svg)[0]  # then its scale
        image = Image.open(io.BytesIO(base64.b64decode(found))).convert("RGBA")
        return paths, np.asarray(image), svg.count("<use ")

    (before, large, texts), (after, cells, kept) = parts(drawn), parts(small)
    assert texts == kept and len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=0.0051)
    assert cells.shape == (len(codes), len(codes), 4)
    middle = ((np.arange(len(codes)) + 0.5) * len(large) / len(codes)).astype(int)
    np.testing.assert_array_equal(large[np.ix_(middle, middle)], cells)
    assert "pixelated" in small  # a browser does not blur the cells into one another


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2: 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_a_page_has_one_style_sheet_with_what_it_needs(site: Path, repository: Path) -> None:
    css = (site / "_static" / "site.css").read_text("utf-8")
    assert len(css) < 200_000 and "../vendor" not in css
    assert "fontawesome" not in css and css.count("font/woff;base64") in (1, 2, 3)
    for name in chapters(repository):
        links = re.findall(
            r'<link [^>]*href="([^"]+\.css)[^"]*"', (site / f"{name}.html").read_text("utf-8")
        )
        assert [Path(f).name for f in links if "explore" not in f] == ["site.css"], name
        assert all(((site / f"{name}.html").parent / f).exists() for f in links), name


def notebook(*cells: tuple[list[str], dict]) -> dict:
    made = [
        {"metadata": {"tags": tags}, "outputs": [{"data": data}] if data else []}
        for tags, data in cells
    ]
    return {"cells": made}


def test_the_first_page_takes_the_tagged_picture(tmp_path: Path) -> None:
    svg, png = {"image/svg+xml": ["<svg/>"]}, {"image/png": "aGFsbG8="}
    path = tmp_path / f"{pictures.PICTURE_FROM}.ipynb"
    path.write_text(json.dumps(notebook(([], png), ([pictures.PICTURE_TAG], svg))))
    assert "matrix.svg" in render.landing(tmp_path, tmp_path)
    assert (tmp_path / "matrix.svg").read_text() == "<svg/>"
    path.write_text(json.dumps(notebook(([], {}), ([], png))))
    assert "matrix.png" in render.landing(tmp_path, tmp_path)
    assert (tmp_path / "matrix.png").read_bytes() == b"hallo"
    path.unlink()
    assert "{figure}" not in render.landing(tmp_path, tmp_path)


def test_the_archive_has_each_figure_with_its_table(tmp_path: Path) -> None:
    drawn = {"image/svg+xml": ["<svg/>"], "application/pdf": "aGFsbG8=", DATA: ["a,b\n", "1,2\n"]}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "## Growth"]},
        {"cell_type": "code", "metadata": {}, "outputs": [{"data": drawn}]},
        {"cell_type": "code", "metadata": {}, "outputs": [{"data": {"image/png": "aGFsbG8="}}]},
    ]
    (tmp_path / "05_x.ipynb").write_text(json.dumps({"cells": cells}))
    pictures.pack([tmp_path / "05_x.ipynb"], tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        names = [f"05_x-1.{suffix}" for suffix in ("svg", "pdf", "csv")]
        assert archive.namelist() == [*names, "05_x-2.png", "README.txt"]
        assert archive.read("05_x-1.csv") == b"a,b\n1,2\n"
        assert "05_x-2, Growth" in archive.read("README.txt").decode()


def test_a_link_to_the_book_shows_its_matrix(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "red.png")
    red = base64.b64encode((tmp_path / "red.png").read_bytes())
    svg = b'<svg><image xlink:href="data:image/png;base64,' + red + b'"/></svg>'
    pictures.card(("svg", svg), "A title of several words", tmp_path / "card.png")
    card = Image.open(tmp_path / "card.png").convert("RGB")
    assert card.size == (1200, 630) and card.getpixel((870, 315)) == (255, 0, 0)
    pictures.card(None, "A title", tmp_path / "card.png")  # no matrix was drawn
    assert Image.open(tmp_path / "card.png").size == (1200, 630)


def test_a_missing_page_leads_back(site: Path) -> None:
    text = (site / "404.html").read_text("utf-8")
    links = re.findall(r'<a href="([^"]+)"', text)
    assert links and all((site / link).exists() for link in links)
    card = re.search(r'og:image" content="([^"]+)"', (site / "book/index.html").read_text("utf-8"))
    assert (site / "book" / card[1]).exists()


def statements(*rows: tuple[str, str, float, float, float, str]) -> pd.DataFrame:
    names = ["page", "sentence", "estimate", "low", "high", "verdict"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(n=12.0, unit="target, seed", verdict_corrected=table["verdict"])


def test_a_page_cites_the_numbers_that_chapters_state(tmp_path: Path) -> None:
    table = statements(
        ("05_x", "A source adds points, intents.", 1.26, -0.48, 2.99, "cannot tell"),
        ("05_x", "A source adds points, slots.", 0.5, 0.25, 0.75, "holds"),
    )
    for name in pages.CITING:
        (tmp_path / name).write_text(
            '{{ found("05_x", "A source adds points, intents") }}; '
            '{{ found("05_x", "A source adds points, slots", 0, 100) }} %; '
            '{{ verdict("05_x", "A source adds points, intents") }}, '
            '{{ n("05_x", "A source adds points, slots") }}; '
            '{{ found("04_y", "Nothing") }}; {{ count }}\n'
        )
    pages.cite(tmp_path, table)
    said = "1.3 (−0.5 to 3.0); 50 (25 to 75) %; cannot tell, 12 targets; not in this book; 2\n"
    assert (tmp_path / pages.CITING[0]).read_text("utf-8") == said
    with pytest.raises(ValueError, match="2 statements that begin with 'A source adds'"):
        pages.Results(table).found("05_x", "A source adds")


def test_a_chapter_is_shown_with_folded_code_and_what_its_parameters_mean() -> None:
    source = 'experiment = "mine"  # a name | a path\nn = [1, 2]  # sizes # of steps\n'
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [source]},
        {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": []},
        {"cell_type": "code", "metadata": {}, "source": ["1 + 1"], "outputs": [
            {"data": {"text/markdown": [], "text/plain": ["<Markdown object>"]}},
            {"data": {"text/markdown": ["two"], "text/plain": ["<Markdown object>"]}},
        ]},
    ]  # fmt: skip
    given = {"cells": cells}
    title, box, *code = pages.chapter(given, "05_x")["cells"]
    tags = [c["metadata"]["tags"] for c in code]
    assert tags[0] == ["parameters", "hide-input"] and tags[2] == ["hide-input"]
    assert code[2]["outputs"] == cells[3]["outputs"][1:]  # an empty text is none
    assert "remove-cell" in tags[1] and "tags" not in cells[3]["metadata"]
    assert '| `experiment` | `"mine"` | a name / a path |' in box["source"]
    assert "| `n` | `[1, 2]` | sizes # of steps |" in box["source"]
    line = "papermill notebooks/05_x.ipynb mine.ipynb -p experiment mine -y 'n: [1, 2]'"
    assert line in box["source"]


def test_students_get_questions_without_answers(tmp_path: Path) -> None:
    (tmp_path / "ran").mkdir()
    asked = yaml.safe_load(pages.QUESTIONS.read_text("utf-8"))
    folder = render.ROOT / "notebooks"
    stems = {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.ipynb")}
    assert set(asked) == stems
    assert all(3 <= len(each) <= 5 for each in asked.values())
    found = {}
    for student in (True, False):
        render.make_stage(tmp_path / str(student), tmp_path / "ran", "", student)
        staged = sorted((tmp_path / str(student)).rglob("*.md"))
        staged += sorted((tmp_path / str(student) / "notebooks").rglob("*.ipynb"))
        found[student] = "\n".join(path.read_text("utf-8") for path in staged)
    assert "{solution}" not in found[True] and "{solution}" in found[False]
    assert found[True].count("{exercise}") == found[False].count("{exercise}") >= 50
    for each in (q for questions in asked.values() for q in questions):
        shown = [json.dumps(text)[1:-1] for text in (each["ask"], each["answer"])]
        assert shown[0] in found[True] and shown[1] not in found[True]
        assert shown[0] in found[False] and shown[1] in found[False]


def test_every_figure_of_a_slide_has_its_section(tmp_path: Path) -> None:
    slides.write(tmp_path / "slides", render.ROOT / "notebooks", pages.Results(statements()))
    decks = yaml.safe_load((slides.FOLDER / "decks.yml").read_text("utf-8"))
    teach = (render.ROOT / "book" / "teach.md").read_text("utf-8")
    for name, deck in decks.items():
        text = (tmp_path / "slides" / f"{name}.html").read_text("utf-8")
        assert text.count("<section") == len(deck["slides"]) + 1
        assert f"../slides/{name}.html" in teach
    cells = [
        {"cell_type": "markdown", "source": "## First\ntext\n## Second"},
        {"cell_type": "code", "outputs": [{"data": {"image/svg+xml": ["<svg/>"]}}]},
        {"cell_type": "markdown", "source": ["and\n", "## Third"]},
    ]
    assert slides.figure_in({"cells": cells}, "Second") == ("svg", b"<svg/>")
    assert slides.figure_in({"cells": cells}, "Third") is None
    with pytest.raises(ValueError, match="no section 'Fourth'"):
        slides.figure_in({"cells": cells}, "Fourth")


@pytest.mark.parametrize("path", sorted((render.ROOT / "notebooks").glob("*.ipynb")))
def test_the_line_that_runs_a_chapter_sets_what_it_has(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = next(c for c in cells if "parameters" in c["metadata"].get("tags", []))
    source = "".join(code["source"])
    rows = pages.parameters(source)
    assert all(meaning for _, _, meaning in rows)
    words, given = shlex.split(pages.command(path.stem, rows))[3:], {}
    while words:
        if words.pop(0) == "-p":
            name, value = words.pop(0), words.pop(0)
            given[name] = yaml.safe_load(value)
        else:
            given |= yaml.safe_load(words.pop(0))
    defaults = {name: ast.literal_eval(value) for name, value, _ in rows}
    assert given and given.items() <= defaults.items()


def test_pages_that_an_experiment_lacks_leave_the_contents(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    toc = {
        "root": "here",
        "parts": [
            {"caption": "A", "chapters": [{"file": "here"}, {"file": "gone"}]},
            {"caption": "B", "chapters": [{"file": "gone"}]},
        ],
    }
    kept = render.only_present(toc, tmp_path)
    assert kept["parts"] == [{"caption": "A", "chapters": [{"file": "here"}]}]


def test_a_chapter_that_an_experiment_cannot_fill_says_so(tmp_path: Path) -> None:
    (tmp_path / "ran").mkdir()
    render.make_stage(tmp_path / "stage", tmp_path / "ran", "")
    staged = sorted((tmp_path / "stage" / "notebooks").glob("*.ipynb"))
    assert len(staged) == len(list((render.ROOT / "notebooks").glob("*.ipynb")))
    first, note, *_ = json.loads(staged[0].read_text("utf-8"))["cells"]
    assert "".join(first["source"]).startswith("# ")
    assert "without results for this chapter" in note["source"]
    toc = yaml.safe_load((tmp_path / "stage" / "_toc.yml").read_text())
    assert {"file": "notebooks/09_pretraining"} in [c for p in toc["parts"] for c in p["chapters"]]


@pytest.mark.browser
@pytest.mark.skipif(browse.chromium() is None, reason=browse.CURE)
def test_the_browser_check_sees_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        "<!doctype html><html lang=en><title>x</title><body><main><h1>x</h1>"
        "<script src='https://cdn.example.org/x.js'></script><button></button>"
        "<script>document.documentElement.dataset.theme = localStorage.mode; nothing.here</script>"
        "<div style='width: 3000px'>wide</div></main></body></html>"
    )
    kinds = {(f.theme, f.kind) for f in browse.check(tmp_path)}
    for theme in browse.THEMES:
        for kind in ("outside request", "script error", "axe", "scrolls sideways"):
            assert (theme, kind) in kinds


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(browse.chromium() is None, reason=browse.CURE)
@pytest.mark.parametrize("theme", browse.THEMES)
def test_every_page_works_from_disk_for_every_reader(site: Path, theme: str) -> None:
    # One page of each kind; `make check-book` looks at every one, with its figures, and so does CI.
    every = [site / f"{name}.html" for name in ONE_OF_A_KIND]
    assert [str(f) for f in browse.check(site, themes=[theme], only=every)] == []


@pytest.mark.browser
@pytest.mark.skipif(browse.chromium() is None, reason=browse.CURE)
def test_the_handout_prints_on_one_page(site: Path) -> None:
    with browse.browser() as running:
        page = running.new_page()
        page.goto((site / "book" / "handout.html").as_uri())
        for paper in ("A4", "Letter"):
            assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format=paper))) == 1, paper


@pytest.mark.browser
@pytest.mark.skipif(browse.chromium() is None, reason=browse.CURE)
def test_the_code_of_a_chapter_is_shown_by_one_switch(site: Path) -> None:
    with browse.browser() as running:
        page = running.new_page()
        page.goto((site / "notebooks" / "03_matrix.html").as_uri())
        switch, code = page.get_by_role("button", name="Show all code"), page.locator(".cell_input")
        assert switch.is_visible() and not code.first.is_visible()
        switch.click()
        assert code.first.is_visible() and page.get_by_text("Fold the code").is_visible()


@pytest.mark.browser
@pytest.mark.skipif(browse.chromium() is None, reason=browse.CURE)
def test_a_long_table_can_be_filtered(site: Path, repository: Path) -> None:
    works = pd.read_csv(repository / "book" / "map.csv")
    with browse.browser() as running:
        page = running.new_page()
        page.goto((site / "book" / "map.html").as_uri())
        said, rows = page.locator("p[role=status]"), page.locator("#map tbody tr:visible")
        assert said.inner_text() == f"{len(works)} of {len(works)} works shown"
        page.get_by_label("status").select_option("measured here")
        assert rows.count() == (works["status"] == "measured here").sum()
        page.get_by_label("words").fill("faroese")
        assert rows.count() == 1 and said.inner_text() == f"1 of {len(works)} works shown"
