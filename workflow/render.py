"""Render the book of one experiment: `python workflow/render.py EXPERIMENT [--student]`.

Jupyter Book wants one folder that holds every page. build/<experiment>/stage-html is that folder:
the pages of book/, the notebooks as papermill executed them, and what is only known now (how this
was built, what the chapters assert, the picture of the first page). The finished site replaces
build/<experiment>/html in one step, so a broken build leaves the last good book alone.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from xltlib.book import assertions, words
from xltlib.train.config import load

sys.path.insert(0, str(Path(__file__).resolve().parent))
import explore  # noqa: E402
import pages  # noqa: E402
import pictures  # noqa: E402
import slides  # noqa: E402
import status  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LABORATORY = ROOT / "book" / "published" / "lab"  # executed copies and results of notebooks/lab
STATUSES = ("measured here", "stand-in measured here", "runs on your GPU", "mapped only")
ENDS = ("estimate", "low", "high")


def landing(notebooks: Path, folder: Path) -> str:
    """Write the first page's picture into `folder`; return the Markdown that shows it."""
    found = pictures.first_page(notebooks)
    if found is None:
        return "This experiment drew no transfer matrix.\n"
    suffix, content = found
    (folder / f"matrix.{suffix}").write_bytes(content)
    alt = "Heat map: sources in rows, targets in columns, colour is the transfer score"
    chapter = f"../notebooks/{pictures.PICTURE_FROM}"
    return (
        f"```{{figure}} ../generated/matrix.{suffix}\n:alt: {alt}\n:width: 100%\n"
        f":target: {chapter}.html\n\n"
        "Each square is one pair of languages: a model trained in the language of the row, tested\n"
        "in that of the column; brighter is better. Look for stripes: a dark column is a target\n"
        "that is hard from every source, a dark row a poor source. The model, n and intervals are\n"
        f"in [the chapter on the matrix]({chapter}.ipynb).\n"
        "```\n"
    )


def title() -> str:
    """Return the title of the book."""
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["title"]


def title_of(notebook: dict) -> str:
    """The heading of a notebook."""
    return "".join(notebook["cells"][0]["source"]).split("\n")[0].removeprefix("# ")


def asserted(notebooks: Path, laboratory: Path = LABORATORY) -> pd.DataFrame:
    """Every statement of the executed notebooks, with its page, judged beside its family."""
    found = []
    pages = [("", path) for path in sorted(notebooks.glob("*.ipynb"))]
    for folder, path in [*pages, *(("lab/", path) for path in sorted(laboratory.glob("*.ipynb")))]:
        notebook = json.loads(path.read_text("utf-8"))
        rows = assertions.recorded(notebook)
        found.append(rows.assign(page=folder + path.stem, title=title_of(notebook)))
    rows = [t for t in found if len(t)]
    if not rows:
        return pd.DataFrame(columns=[*assertions.COLUMNS, "page", "title"])
    return assertions.corrected(pd.concat(rows, ignore_index=True))


def assertions_page(table: pd.DataFrame) -> str:
    """Return the Markdown and HTML that book/assertions.md includes: families, then statements."""
    if table.empty:
        return "This book was built without results: no chapter asserts anything.\n"
    titles = dict(zip(table["page"], table["title"], strict=True))
    families = assertions.families(table)
    families["by_chance"] = families["by_chance"].round(1)
    families["page"] = [f"[{titles[p]}](../notebooks/{p}.ipynb)" for p in families["page"]]
    heads = [c.replace("_", " ") for c in families]
    texts = [[str(v) for v in row] for row in families.to_numpy().tolist()]
    first = (
        f"In all {assertions.in_words(table)} "
        "Download: {download}`assertions.csv <../generated/assertions.csv>`."
    )
    head = "statement,estimate,interval over,verdict,corrected,family,kind,where"
    rows = []
    for r in table.fillna({"estimate": math.nan}).to_dict("records"):
        ends = words.estimate(*(float(r[c] if r[c] is not None else math.nan) for c in ENDS), 2)
        link = f'<a href="../notebooks/{r["page"]}.html#answer">{html.escape(r["title"])}</a>'
        over = f"{r['n']:.0f} ({r['unit']})" if r["unit"] else "no interval"
        verdict = [r["verdict"] or "described", r["verdict_corrected"] or "–"]
        shown = [r["sentence"], f"{ends} {r['scale']}", f"{over}; {r['cells']:,.0f} cells"]
        shown += [*verdict, r["family"], r["kind"]]
        cells = [*map(html.escape, shown), f"{link}: {html.escape(r['where'])}"]
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    th = "".join(f'<th scope="col">{c}</th>' for c in head.split(","))
    return "\n".join(
        [
            first, "", "## Families\n", status.table(heads, texts), "## Statements\n",
            '<div id="assertions" class="pst-scrollable-table-container" data-rows="statements" '
            'data-filter="verdict:3, corrected:4, family:5, kind:6">',
            f'<table class="table"><thead><tr>{th}</tr></thead>', "<tbody>", *rows,
            "</tbody></table></div>", "",
        ]
    )  # fmt: skip


def laboratory_page(folder: Path = LABORATORY) -> str:
    """Return the Markdown that book/lab.md includes: questions, verdicts and times, then claims."""
    if not (folder / "seconds.csv").exists():
        return "The laboratory was not run: `make lab` runs it.\n"
    seconds = pd.read_csv(folder / "seconds.csv").set_index("lab")["seconds"]
    questions, claims = [], []
    for path in sorted(folder.glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        question = "".join(notebook["cells"][0]["source"]).split("**")[1].replace("\n", " ")
        link, rows = f"[{title_of(notebook)}](../notebooks/lab/{path.name})", pd.read_csv(
            folder / f"{path.stem}.csv"
        )  # fmt: skip
        said = [f"{n} {verdict}" for verdict, n in rows["verdict"].value_counts().items()]
        questions.append([link, question, ", ".join(said), f"{seconds[path.stem]:.0f}"])
        for r in rows.to_dict("records"):
            ours = words.estimate(*(r[c] for c in ENDS), 1 if r["scale"] == "points" else 2)
            sampled = f"{r['n']} ({r['over']})"
            paper = f"{{cite}}`{r['paper']}`: {r['published']}"
            claims.append([r["sentence"], paper, f"{ours} {r['scale']}", sampled, r["verdict"]])
    minutes = seconds.sum() / 60
    others = [
        row for own in sorted(p for p in folder.iterdir() if p.is_dir()) for row in _beside(own)
    ]
    return "\n".join(
        [
            f"The {len(questions)} notebooks took {minutes:.0f} minutes of one core, with what "
            f"they share encoded before. They judge {len(claims)} claims:\n",
            stacked("cards labs", "notebook,question,verdicts,core seconds", questions),
            "## Claim by claim\n",
            stacked("tests", "claim,paper,ours (95 %),n,verdict", claims),
            "## With other models\n" if others else "",
            stacked("models", "claim,model,its own (95 %),verdict,ours", others) if others else "",
            "",
        ]
    )  # fmt: skip


def stacked(how: str, heads: str, rows: list[list[str]]) -> str:
    """Return a table each of whose rows is a card on a phone (book.css says what stands where)."""
    return f":::{{div}} stacked {how}\n\n{status.table(heads.split(','), rows)}\n\n:::\n"


def map_page(file: Path = ROOT / "book" / "map.csv", labs: Path = LABORATORY) -> str:
    """Return what book/map.md includes: how many works are where, then every work."""
    table = pd.read_csv(file, keep_default_na=False)
    titles = {
        f"lab/{p.stem}": title_of(json.loads(p.read_text("utf-8"))) for p in labs.glob("*.ipynb")
    }
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        titles[path.stem] = title_of(json.loads(path.read_text("utf-8")))
    counts = table["status"].value_counts()
    said = ", ".join(f"{counts.get(s, 0)} *{s}*" for s in STATUSES)
    wide = table.groupby(["family", "status"], sort=False).size().unstack(fill_value=0)
    wide = wide.reindex(columns=list(STATUSES), fill_value=0)
    rows = [
        [family, *map(str, row)] for family, row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    lines = []
    for r in table.to_dict("records"):
        link, where = "–", r["where"]
        if where:
            link = f'<a href="../notebooks/{where}.html">{html.escape(titles[where])}</a>'
        cells = [html.escape(r[c]) for c in ("family", "work", "question")]
        lines.append("".join(f"<td>{c}</td>" for c in [*cells, link, r["status"]]))
    lines = [f"<tr>{line}</tr>" for line in lines]
    head = "family,work,what it asks,where in this book,status".split(",")
    th = "".join(f'<th scope="col">{c}</th>' for c in head)
    return "\n".join(
        [
            f"Of the {len(table)} works, so many have each mark: {said}.\n",
            status.table(["family", *STATUSES], rows), "## The works\n",
            '<div id="map" class="pst-scrollable-table-container stacked cards" data-rows="works" '
            'data-filter="family:0, status:4">',
            f'<table class="table"><thead><tr>{th}</tr></thead>', "<tbody>", *lines,
            "</tbody></table></div>", "",
        ]
    )  # fmt: skip


def calibration_page(folder: Path = ROOT / "book") -> str:
    """Return what book/calibration.md includes: how often verdicts and intervals are right."""
    rows = pd.read_csv(folder / "calibration_verdicts.csv")
    rows = rows[rows["claim"] != "any single measure, more transfer"]
    heads = ["languages", "simulated tables", "*holds* where nothing is there",
             "*does not hold* where something is", "true effects found"]  # fmt: skip
    lines = []
    for n, own in rows.groupby("languages"):
        judged, denied = own["wrongly holds"].notna(), own["wrongly does not hold"].notna()
        real = own[~judged & denied & own["truth"].isin(["words", "structure", "small"])]
        shares = (own.loc[judged, "holds"], own.loc[denied, "does not hold"], real["holds"])
        tables = own.drop_duplicates("truth")["tables"].sum()
        lines.append([f"{n}", f"{tables}", *(f"{s.mean():.1f} %" for s in shares)])
    held = pd.read_csv(folder / "calibration_intervals.csv")["coverage"]
    return "\n".join(
        [
            status.table(heads, lines),
            "Means over the paper's five claims, and over all truths under which the verdict is "
            "wrong or right. The intervals of 95 % hold the truth in "
            f"{held.min():.0f} to {held.max():.0f} of 100 cases ({len(held)} kinds, mean "
            f"{held.mean():.0f}).",
            "",
        ]
    )


def _beside(folder: Path) -> Iterator[list[str]]:
    """Yield the results of notebooks run with a parameter of another value, beside ours."""
    for path in sorted(folder.glob("*.csv")):
        ours = pd.read_csv(folder.parent / path.name).set_index("sentence")["verdict"]
        for r in pd.read_csv(path).to_dict("records"):
            shown = words.estimate(*(r[c] for c in ENDS), 1 if r["scale"] == "points" else 2)
            verdict = ours.get(r["sentence"], "–")
            yield [r["sentence"], folder.name, f"{shown} {r['scale']}", r["verdict"], verdict]


def only_present(toc: dict, stage: Path) -> dict:
    """Return the table of contents without pages that this experiment does not have."""

    def keep(chapter: dict) -> bool:
        page = stage / chapter["file"]
        return any(page.with_name(page.name + end).exists() for end in (".md", ".ipynb"))

    parts = [
        {**part, "chapters": [c for c in part["chapters"] if keep(c)]} for part in toc["parts"]
    ]
    return {**toc, "parts": [part for part in parts if part["chapters"]]}


def without_results(notebook: dict) -> dict:
    """Return a template with a note, for a chapter that the experiment has nothing to show in.

    Other chapters link to it, and its text can be read without its figures.
    """
    note = {
        "cell_type": "markdown",
        "id": "without-results",
        "metadata": {},
        "source": "```{note}\nThis book was built without results for this chapter, so it is shown "
        "without figures. [Run it with your own parameters](../book/rerun.md) says which command "
        "fills which chapter.\n```",
    }
    first, *rest = notebook["cells"]
    return {**notebook, "cells": [first, note, *rest]}


def harmless(notebook: dict) -> dict:
    """Return an executed notebook whose Markdown outputs hold no HTML: names in them are data."""

    def text(content: str) -> str:
        pieces = re.split(r"(`+[^`]*`+)", content)  # code is shown as it is
        pieces[::2] = [re.sub("<(?=[A-Za-z/!?])", "&lt;", piece) for piece in pieces[::2]]
        return "".join(pieces)

    for output in (o for cell in notebook["cells"] for o in cell.get("outputs", [])):
        for kind in (k for k in output.get("data", {}) if k.endswith("text/markdown")):
            output["data"][kind] = text("".join(output["data"][kind]))
    return notebook


def answered(notebook: dict, claims: Path) -> dict:
    """Return a notebook of the laboratory whose answer begins with a sentence of its claims."""
    if not claims.exists():
        return notebook
    rows = pd.read_csv(claims)
    counts = rows["verdict"].value_counts()
    called = {"same direction": "in the direction of the papers", "other direction":
              "in the other direction", "cannot tell": "cannot be told"}  # fmt: skip
    said = ", ".join(f"{counts[v]} {text}" for v, text in called.items() if v in counts)
    text = f"Of {len(rows)} claims: {said}."
    sure = rows[rows["verdict"] != "cannot tell"]
    if len(sure):
        best = sure.loc[(sure["estimate"].abs() / (sure["high"] - sure["low"])).idxmax()]
        ours = words.estimate(*(best[c] for c in ENDS), 1 if best["scale"] == "points" else 2)
        text += f" Surest: *{best['sentence'].rstrip('.')}* ({ours} {best['scale']}, "
        text += f"n = {best['n']}, over {best['over']}s)."
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.rstrip().endswith("## Answer"):
            cell["source"] = f"{source.rstrip()}\n\n{text}\n"
    return notebook


def stage_notebooks(folder: Path, executed: Path, student: bool) -> None:
    """Write every chapter and the laboratory into `folder`, as executed or without results."""
    (folder / "lab").mkdir(parents=True)
    for template in sorted((ROOT / "notebooks").glob("*.ipynb")):
        ran = executed / template.name
        shown = harmless(json.loads((ran if ran.exists() else template).read_text("utf-8")))
        shown = pages.chapter(shown, template.stem, student)
        shown = shown if ran.exists() else without_results(shown)
        (folder / template.name).write_text(json.dumps(shown), "utf-8")
    for path in sorted(LABORATORY.glob("*.ipynb")):
        shown = answered(json.loads(path.read_text("utf-8")), path.with_suffix(".csv"))
        shown = pages.chapter(shown, f"lab/{path.stem}", student)
        (folder / "lab" / path.name).write_text(json.dumps(shown), "utf-8")


def make_stage(stage: Path, notebooks: Path, built: str, student: bool = False) -> None:
    """Lay out `stage` from nothing: pages, the notebooks of a folder, and how they were made.

    `student`: without the solutions of exercises and the answers of questions.
    """
    shutil.rmtree(stage, ignore_errors=True)
    skip = shutil.ignore_patterns("_toc.yml", "_static", "_ext", "__pycache__", "assets", "slides",
                                  "404.html")  # fmt: skip
    shutil.copytree(ROOT / "book", stage / "book", ignore=skip)
    shutil.copytree(ROOT / "book" / "_static", stage / "_static")
    shutil.copytree(explore.ASSETS, stage / "extra" / "explore")  # html_extra_path: as it is
    shutil.copytree(ROOT / "notebooks", stage / "templates")
    for path in (stage / "templates").rglob("*.ipynb"):
        alone = pages.by_itself(json.loads(path.read_text("utf-8")))
        path.write_text(json.dumps(alone, ensure_ascii=False, indent=1) + "\n", "utf-8")
    stage_notebooks(stage / "notebooks", notebooks, student)
    generated = stage / "generated"
    generated.mkdir()
    (generated / "lab.md").write_text(laboratory_page(), "utf-8")
    (generated / "map.md").write_text(map_page(), "utf-8")
    (generated / "calibration.md").write_text(calibration_page(), "utf-8")
    again = pd.read_csv(ROOT / "book" / "recomputed.csv")
    heads = ["sentence", "printed", "recomputed", "agrees"]
    again["agrees"] = again["agrees"].map({True: "yes", False: "no"})
    for column in ("printed", "recomputed"):
        again[column] = again[column].str.replace(r"-(0\.0+\b)", r"\1", regex=True)
        again[column] = again[column].str.replace("-", "−")
    (generated / "recomputed.md").write_text(
        status.table(["statement", *heads[1:]], again[heads].to_numpy().tolist()), "utf-8"
    )
    (generated / "landing.md").write_text(landing(notebooks, generated), "utf-8")
    (generated / "status.md").write_text(built, "utf-8")
    found = asserted(notebooks)
    found.to_csv(generated / "assertions.csv", index=False)
    drawn = [*notebooks.glob("*.ipynb"), *LABORATORY.glob("*.ipynb")]
    pictures.pack(drawn, generated / "figures.zip")
    pictures.card(pictures.first_page(notebooks), title(), stage / "_static" / "card.png")
    shutil.copy(ROOT / "book" / "404.html", stage / "extra" / "404.html")
    pages.cite(stage / "book", found)
    slides.write(stage / "extra" / "slides", notebooks, pages.Results(found))
    if student:
        for page in (stage / "book").glob("*.md"):
            page.write_text(pages.without_solutions(page.read_text("utf-8")), "utf-8")
    (generated / "assertions.md").write_text(assertions_page(found), "utf-8")
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text("utf-8"))
    (stage / "_toc.yml").write_text(yaml.safe_dump(only_present(toc, stage)), "utf-8")


def configuration(stage: Path) -> None:
    """Write the book's configuration into `stage`: with links where a repository is named."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    if config["repository"]["url"]:
        links = ("use_issues_button", "use_repository_button", "use_edit_page_button")
        config["html"] |= dict.fromkeys(links, True)
        config["launch_buttons"] = {"colab_url": "https://colab.research.google.com"}
    else:
        del config["repository"]
    folders = config["sphinx"]["local_extensions"]  # found from where the configuration stands
    config["sphinx"]["local_extensions"] = {k: str(ROOT / v) for k, v in folders.items()}
    (stage / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")


def build_site(stage: Path, out: Path, jobs: int = 1) -> subprocess.CompletedProcess[str]:
    """Run Jupyter Book on `stage` from nothing, every warning an error; `out`/html."""
    shutil.rmtree(out, ignore_errors=True)  # a warm build hides warnings
    configuration(stage)
    command = ["workflow/build_pages.py", str(stage), str(out), str(jobs)]
    return subprocess.run([sys.executable, *command], cwd=ROOT, text=True, stderr=subprocess.PIPE)


def replace_folder(new: Path, old: Path) -> None:
    """Put `new` in the place of `old`."""
    away = old.with_name(old.name + ".old")
    shutil.rmtree(away, ignore_errors=True)
    if old.exists():
        os.replace(old, away)
    os.replace(new, old)
    shutil.rmtree(away, ignore_errors=True)


def render(experiment: str, student: bool = False) -> int:
    """Render the book of an experiment; return the exit status of Jupyter Book.

    It goes to html/, or to student/, without solutions and answers.
    """
    build = ROOT / load(experiment).folder
    site = "student" if student else "html"
    stage, out = build / f"stage-{site}", build / f"book-{site}"
    make_stage(stage, build / "notebooks", status.page(ROOT, experiment), student)
    status.write_tables(build, stage / "generated")
    data = stage / "explore"  # made beside the pages, most of which one process has to make
    command = [sys.executable, "workflow/explore.py", str(data)]
    with subprocess.Popen(command, cwd=ROOT) as explorers:
        done = build_site(stage, out, os.cpu_count() or 1)
    ended = done.returncode or explorers.returncode
    if ended == 0:
        shutil.copytree(data, out / "html" / "explore", dirs_exist_ok=True)
        replace_folder(out / "html", build / site)
        if not student:
            (build / "book.done").write_text(f"{experiment}\n", "utf-8")
    print(done.stderr, file=sys.stderr)  # last, where a person looks first
    return ended


if __name__ == "__main__":
    sys.exit(render(sys.argv[1], "--student" in sys.argv[2:]))
