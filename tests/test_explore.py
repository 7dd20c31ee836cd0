"""The explorers are used as a person would, and what they show is the library's own answer.

A page is the raw block of its Markdown in a bare frame, beside the data that workflow/explore.py
writes; `XLT_QUERIES=100` asks a hundred random questions of each instead of a few.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import browse
import explore
import numpy as np
import pandas as pd
import pytest

from xltlib.book import kept
from xltlib.book.words import estimate, number
from xltlib.languages import name
from xltlib.scores import cells
from xltlib.train import predictions

QUERIES = int(os.environ.get("XLT_QUERIES", "12"))
FRAME = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>An explorer</title></head>
<body><main><h1>An explorer</h1>{}</main></body></html>"""
SMALL = {"matrix": "a=matrix-udpos_dev&b=live-ner"}  # their tables are quickly looked through
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browse.chromium() is None, reason=browse.CURE),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that holds the explorers alone."""
    folder = tmp_path_factory.mktemp("site")
    explore.write(folder / "explore")
    pages = folder / "book" / "explore"
    pages.mkdir(parents=True)
    for path in (explore.ROOT / "book" / "explore").glob("*.md"):
        raw = re.findall(r"```\{raw\} html\n(.*?)```", path.read_text("utf-8"), re.S)
        (pages / f"{path.stem}.html").write_text(FRAME.format("\n".join(raw)), "utf-8")
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browse.browser() as running:
        yield running


class Page:
    """An explorer in a tab; nothing outside is asked for and no script fails."""

    def __init__(self, chromium: Any, site: Path, name: str, root: str) -> None:
        self.tab = chromium.new_page(viewport={"width": 1100, "height": 1000})
        self.tab.set_default_timeout(10_000)
        self.errors: list[str] = []
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("request", lambda asked: self.errors.append(asked.url)
                    if not asked.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
        self.url, self.root = (site / "book" / "explore" / f"{name}.html").as_uri(), f"#{root}"

    def open(self, **state: str) -> None:
        self.tab.goto("about:blank")
        self.tab.goto(f"{self.url}#{urlencode(state)}")
        self.tab.wait_for_selector(f"{self.root}[data-ready]")

    def until(self, ready: str) -> None:
        self.tab.wait_for_function(
            f"w => document.querySelector('{self.root}').dataset.ready === w", arg=ready
        )

    def text(self, selector: str) -> str:
        return str(self.tab.inner_text(selector))

    def table(self, selector: str) -> pd.DataFrame:
        """A table of the page as a screen reader finds it, by its cells."""
        rows = self.tab.eval_on_selector(
            selector, "t => [...t.rows].map(r => [...r.cells].map(c => c.textContent))"
        )
        return pd.DataFrame(rows[1:], columns=rows[0])

    def download(self, button: str) -> pd.DataFrame:
        with self.tab.expect_download() as found:
            self.tab.click(button)
        return pd.read_csv(found.value.path(), keep_default_na=False)


# ---------------------------------------------------------------- matrices


@cache
def measured(folder: str) -> pd.DataFrame:
    """The library's own cells of a folder, zero-shot."""
    table = kept.scores_in(explore.PUBLISHED / folder)
    return cells(table[table["n_target"] == 0]).set_index(["model", "task", "source", "target"])


def said(row: pd.Series) -> str:
    return estimate(*(100 * row[c] for c in ("score", "low", "high")))


@pytest.fixture(scope="module")
def matrices(chromium: Any, site: Path) -> Iterator[Page]:
    page = Page(chromium, site, "matrix", "mx-root")
    page.open()
    yield page
    assert page.errors == []


def keys_of(page: Page, select: str) -> list[str]:
    return list(page.tab.eval_on_selector(select, "s => [...s.options].map(o => o.value)"))


def asked(rng: np.random.Generator, every: list[explore.Matrix]) -> tuple[explore.Matrix, str, str]:
    one = every[int(rng.integers(len(every)))]
    own = one.table.iloc[int(rng.integers(len(one.table)))]
    return one, str(own["row"]), str(own["target"])


def answer(one: explore.Matrix, row: str, target: str) -> pd.Series:
    model = row if one.by_model else str(one.table["model"].iloc[0])
    return measured(one.folder).loc[(model, one.task, one.of[row], target)]


def test_cells_chosen_in_the_lists_are_the_librarys(matrices: Page) -> None:
    """Any kept matrix; source and target by the keyboard, in the lists."""
    rng, every = np.random.default_rng(0), list(explore.matrices())
    assert {m.key for m in every} == set(keys_of(matrices, "#mx-a"))
    for _ in range(QUERIES):
        one, row, target = asked(rng, every)
        matrices.tab.select_option("#mx-a", one.key)
        matrices.tab.wait_for_function(
            "k => document.querySelector('#mx-root').dataset.ready.startsWith(k + '|')", arg=one.key
        )
        matrices.tab.select_option("#mx-s", row)
        matrices.tab.select_option("#mx-t", target)
        matrices.until(f"{one.key}||{row}|{target}")
        found = answer(one, row, target)
        who = row if one.by_model else name(row)
        assert matrices.text("#mx-status") == f"{who} to {name(target)}: {said(found)}"
        facts = matrices.text("#mx-cell dl")
        assert f"{found['n_test']:.0f} test items, {found['n_seeds']:.0f} seed" in facts
        seeds = matrices.table("#mx-cell table")
        mine = one.table[(one.table["row"] == row) & (one.table["target"] == target)]
        shown = {s: number(100 * x) for s, x in zip(mine["seed"], mine["score"], strict=True)}
        assert dict(zip(seeds["seed"].astype(int), seeds["score"], strict=True)) == shown


@pytest.mark.parametrize("key", ["matrix-massive_intent", "matrix-sib200"])
def test_cells_chosen_in_the_picture_are_the_librarys(matrices: Page, key: str) -> None:
    """By a click, then by the arrow keys from there; rows and columns stand in the lists' order."""
    one = next(m for m in explore.matrices() if m.key == key)
    matrices.open(a=key, order="similarity", near="tur", by="word_order")
    rows, columns = keys_of(matrices, "#mx-s"), keys_of(matrices, "#mx-t")
    assert rows[0] == columns[0] == "tur" and set(rows) == set(one.rows)
    rng = np.random.default_rng(1)
    for _ in range(QUERIES // 2):
        i, j = int(rng.integers(len(rows) - 1)), int(rng.integers(1, len(columns)))
        matrices.tab.locator("#mx-plot").scroll_into_view_if_needed()
        box = matrices.tab.locator("#mx-plot svg image").bounding_box()
        at = (box["x"] + (j + 0.5) * box["width"] / len(columns),
              box["y"] + (i + 0.5) * box["height"] / len(rows))  # fmt: skip
        matrices.tab.mouse.click(*at)
        for keys, (down, right) in (((), (0, 0)), (("ArrowDown", "ArrowLeft"), (1, -1))):
            for pressed in keys:
                matrices.tab.press("#mx-plot", pressed)
            row, target = rows[i + down], columns[j + right]
            matrices.until(f"{key}||{row}|{target}")
            told = f"{name(row)} to {name(target)}: {said(answer(one, row, target))}"
            assert matrices.text("#mx-status") == told


def test_two_matrices_are_compared_cell_by_cell(matrices: Page) -> None:
    """The difference, over the shared cells only, in the page, its table and the download."""
    one, two = "massive_intent", "massive_slots"
    matrices.open(a=f"matrix-{one}", b=f"matrix-{two}", order="name", s="deu", t="swh")
    both = measured("matrix").loc[explore.MODEL]["score"]
    less = 100 * (both.loc[one] - both.loc[two])
    assert f"{number(less['deu', 'swh'])} points" in matrices.text("#mx-cell dl")
    between = less[[s != t for s, t in less.index]]
    assert f"{len(between)} shared cells" in matrices.text("#mx-summary")
    assert f": {number(between.mean())} points." in matrices.text("#mx-summary")
    table = matrices.download("#mx-csv").set_index(["source", "target"])
    assert set(table.index) == set(less.index)
    np.testing.assert_allclose(table["difference"], less.reindex(table.index), atol=0.031)
    matrices.tab.click("#mx-table-box summary")
    shown = matrices.table("#mx-table table").set_index("source \\ target")
    assert shown.loc["German", "Swahili"] == number(less["deu", "swh"])
    matrices.tab.click("#mx-table-box summary")


def test_groups_are_means_of_their_cells(matrices: Page) -> None:
    matrices.open(a="matrix-udpos_dev", group="script")
    score = measured("matrix").loc[(explore.MODEL, "udpos_dev")]["score"]
    script = {c: explore.about(c)[2] for c in {c for pair in score.index for c in pair}}
    between = score[[s != t for s, t in score.index]]
    sides = [between.index.get_level_values(i).map(script) for i in (0, 1)]
    means = between.groupby(sides).agg(["mean", "size"])
    table = matrices.download("#mx-csv")
    for row in table.to_dict("records"):
        wanted = means.loc[(row["source_script"], row["target_script"])] if row["cells"] else None
        if wanted is not None:
            assert row["cells"] == wanted["size"]
            assert float(row["mean_score"]) == pytest.approx(100 * wanted["mean"], abs=0.021)
    assert table["cells"].sum() == len(between)


def test_wrong_items_are_those_of_the_kept_answers(matrices: Page) -> None:
    """By id, with how many of the seeds; where nothing is kept the page says so."""
    answers = predictions.items(explore.PUBLISHED / "text2text", "massive_intent")
    answers = answers[answers["model"] == f"{explore.MODEL}-text2text"]
    key = f"text2text-massive_intent-{explore.MODEL}-text2text"
    for source, target in (("deu", "tur"), ("eng", "swh")):
        own = answers[(answers["source"] == source) & (answers["target"] == target)]
        matrices.open(a=key, s=source, t=target)
        matrices.tab.click("#mx-cell details summary")
        shown = matrices.text("#mx-cell details p").split(", ")
        assert set(shown) == set(own.loc[own["score"] == 0, "item"]) and len(shown) > 50
    for key in ("matrix-massive_intent", "matrix-sib200"):
        one = next(m for m in explore.matrices() if m.key == key)
        own = one.table[(one.table["row"] == "deu") & (one.table["target"] == "swh")]
        matrices.open(a=key, s="deu", t="swh")
        matrices.tab.evaluate(
            "document.querySelectorAll('#mx-cell details').forEach(d => d.open = 1)"
        )
        times = matrices.tab.eval_on_selector_all(
            "#mx-cell details",
            """all => all.map(d =>
            [+d.dataset.times, d.querySelector('p').textContent.split(', ').length])""",
        )
        wrong = (own["n_test"] * (1 - own["score"])).round().sum()
        assert sum(n * many for n, many in times) == wrong
    matrices.open(a="matrix-udpos_dev")
    assert "not kept" in matrices.text("#mx-cell")


def test_the_link_keeps_the_choice(matrices: Page) -> None:
    matrices.open()
    matrices.tab.select_option("#mx-order", "script")
    matrices.tab.select_option("#mx-s", "hin")
    matrices.tab.wait_for_function("location.hash.includes('s=hin')")
    state = matrices.tab.evaluate("location.hash")
    matrices.tab.goto("about:blank")
    matrices.tab.goto(matrices.url + state)
    matrices.tab.wait_for_selector("#mx-root[data-ready*='|hin|']")
    assert matrices.tab.eval_on_selector("#mx-order", "s => s.value") == "script"


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("width", [390, 1440])
def test_explorers_are_accessible_and_fit(chromium: Any, site: Path, width: int) -> None:
    """axe finds nothing of any level; nothing is pushed sideways."""
    axe = browse.axe_script()
    for path in sorted((site / "book" / "explore").glob("*.html")):
        tab = chromium.new_page(viewport={"width": width, "height": 900})
        tab.goto(f"{path.as_uri()}#{SMALL.get(path.stem, '')}")
        tab.wait_for_selector("[data-ready]")
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        tab.evaluate(axe)
        found = tab.evaluate("axe.run({preload: false, resultTypes: ['violations']})")
        assert [v["id"] for v in found["violations"]] == [], path.stem
        assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 1
        tab.close()
