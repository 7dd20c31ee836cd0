"""The explorers are used as a person would, and what they show is the library's own answer.

A page is the raw block of its Markdown in a bare frame, beside the data that workflow/explore.py
writes; `XLT_QUERIES=100` asks a hundred random questions of each instead of a few.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import browse
import explore
import finder
import numpy as np
import pandas as pd
import pytest

from xltlib.book import budget, kept
from xltlib.book.words import estimate, number
from xltlib.io import sha256
from xltlib.languages import name
from xltlib.languages.similarity import pairs
from xltlib.rank.recommend import BY_SCORE, recommend
from xltlib.scores import cells
from xltlib.train import predictions

# How steady the first place is takes a fit a language: the command line says it, the page does not.
STEADY = re.compile(r" (?:Left out one|Whichever of).*? first\.")
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
    shutil.copytree(explore.ASSETS, folder / "explore")
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


def alike(told: str, wanted: str) -> bool:
    """The same words, and numbers that another processor may round otherwise in the last place."""
    one, two = (re.split(r"(-?[0-9]+(?:[.][0-9]+)?)", t.replace("\N{MINUS SIGN}", "-"))
                for t in (told, wanted))  # fmt: skip
    numbers = [np.array(side[1::2], dtype=float) for side in (one, two)]
    return one[::2] == two[::2] and np.allclose(*numbers, rtol=2e-3, atol=0.11)


class Page:
    """An explorer in a tab; nothing outside is asked for and no script fails."""

    def __init__(self, chromium: Any, site: Path, name: str, root: str) -> None:
        self.tab = chromium.new_page(viewport={"width": 1100, "height": 1400})
        self.tab.set_default_timeout(60_000)  # of a busy machine
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
    matrices.tab.wait_for_selector("#mx-table table")
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
        wrong = own[own["score"] == 0].groupby("item", observed=True).size()
        matrices.open(a=key, s=source, t=target)
        shown = matrices.tab.eval_on_selector_all(
            "#mx-cell details",
            "all => all.map(d => [+d.dataset.times, d.querySelector('p').textContent.split(', ')])",
        )
        assert {item: n for n, items in shown for item in items} == wrong.to_dict()
        assert len(wrong) > 50
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


# ---------------------------------------------------------------- the source finder


@pytest.fixture(scope="module")
def sources(chromium: Any, site: Path) -> Iterator[Page]:
    page = Page(chromium, site, "finder", "sf-root")
    page.open()
    yield page
    assert page.errors == []


def test_the_kept_answers_are_of_the_kept_scores() -> None:
    about = json.loads((finder.KEPT / "run.json").read_text("utf-8"))
    for experiment, digest in about["scores"].items():
        assert sha256(finder.PUBLISHED / experiment / "scores.parquet") == digest


def near(text: str, ends: Any) -> bool:
    """Whether an estimate with its interval is these numbers, rounded to tenths."""
    shown = [float(x) for x in re.findall(r"[\d.]+", text)]
    return bool(np.allclose(shown, ends, atol=0.0515, rtol=0))  # kept to five decimals


def kept_targets(task: str) -> list[str]:
    table = pd.read_parquet(finder.KEPT / "about.parquet")
    return sorted(table.loc[table["task"] == task, "target"])


def typed(page: Page, field: str, words: str) -> None:
    """As a person types: the old text is selected, the new one written, the field left."""
    page.tab.click(field)
    page.tab.press(field, "Control+a")
    page.tab.keyboard.type(words)
    page.tab.press(field, "Tab")


def test_ranked_sources_are_those_that_the_library_recommends(sources: Page) -> None:
    """Any language, typed by name or code; scores, intervals, chances, reasons, set, evidence."""
    rng = np.random.default_rng(2)
    tables = {"matrix": finder.scores_of("matrix")}
    quick = ["udpos_dev", "masakhaner"] * QUERIES
    for i, task in enumerate([*quick[: QUERIES // 2], *["massive_intent"] * (QUERIES // 12)]):
        codes = kept_targets(task)
        code = codes[int(rng.integers(len(codes)))]
        typed(sources, "#sf-target", code if i % 2 else f"{name(code)} ({code})")
        sources.tab.select_option("#sf-task", task)
        sources.until(f"{code}|{task}|0|")
        found = recommend(code, tables["matrix"], task=task)
        own = found.table.head(finder.SHOWN)
        shown = sources.table("#sf-table table")
        assert shown["source"].tolist() == [f"{name(c)} ({c})" for c in own["source"]]
        ends = own[["predicted", "low", "high"]].to_numpy() * 100
        for told, wanted in zip(shown["score, 90 % interval"], ends, strict=True):
            assert told == estimate(*wanted) or near(told, wanted)
        chance = shown["best?"].str.removesuffix(" %").astype(float)
        # Shares of 2,000 draws, in which near ties change places: in 100 queries 0.94 at most.
        np.testing.assert_allclose(chance, 100 * own["p_best"], atol=1.5)
        told = own["why"].head(finder.EXPLAINED).tolist()
        assert all(map(alike, shown["why"], told))
        rests, more = STEADY.sub("", found.rests_on), sources.text("#sf-more")
        assert rests.removesuffix(BY_SCORE) in more
        if abs(own["p_best"].iloc[1:].max() - own["p_best"].iloc[0]) > 0.03:  # no near tie
            assert (BY_SCORE.strip() in more) == rests.endswith(BY_SCORE)
        assert name(found.best_set["source"].iloc[0]) in sources.text("#sf-set")


def test_what_is_kept_for_the_finder_is_made_again_as_the_library_recommends() -> None:
    """Of measured and of other targets, in two tasks that share what is computed."""
    few = ["eng", "deu", "tur", "hin", "rus", "fin", "swh", "jpn", "arb"]
    table = finder.scores_of("matrix")
    table = table[table["source"].isin(few) & table["target"].isin(few)]
    tables = {t: table[table["task"] == t] for t in ("massive_intent", "massive_slots")}
    made = list(finder.advice(list(tables), tables, ["deu", "est", "zul"]))
    assert len(made) == 6
    for rows, (task, code, why, best) in made:
        found = recommend(code, tables[task])
        own = found.table.head(finder.SHOWN)
        assert rows["source"].tolist() == own["source"].tolist()
        columns = ["predicted", "low", "high", "p_best"]
        np.testing.assert_allclose(rows[columns], own[columns], rtol=0, atol=1e-6)
        assert found.rests_on.startswith(why) and best.startswith(found.best_set["source"].iloc[0])


def test_scores_with_examples_are_the_librarys(sources: Page) -> None:
    """`xlt recommend --experiment curves --n-target n` and `xlt budget`, measured and predicted."""
    rng = np.random.default_rng(3)
    table = finder.scores_of("curves")
    few = pd.read_parquet(finder.KEPT / "budgets.parquet")
    codes = sorted(few.loc[few["task"] == "massive_intent", "target"].unique())
    new = [c for c in codes if c not in set(table["target"])]
    picked = [str(rng.choice(new)) for _ in range(max(1, QUERIES // 6))] + ["kat"]
    for code in picked:
        n, goal = int(rng.choice(finder.EXAMPLES)), float(rng.choice(finder.GOALS))
        sources.open(target=code, task="massive_intent")
        sources.tab.select_option("#sf-n", str(n))
        sources.tab.select_option("#sf-goal", str(round(100 * goal)))
        sources.until(f"{code}|massive_intent|{n}|{round(100 * goal)}")
        found = budget.with_examples(recommend(code, table, task="massive_intent"), table, n).table
        shown = sources.table("#sf-examples").set_index("source")[f"n = {n}"]
        for row in found.itertuples():
            ends = [100 * x for x in (row.few_shot, row.few_shot_low, row.few_shot_high)]
            assert near(shown[f"{name(row.source)} ({row.source})"], ends)
        wanted = budget.budget(code, table, goal, task="massive_intent")
        need = sources.table("#sf-budget").set_index("after training on")
        assert len(need) == len(wanted)
        for row in wanted.itertuples():
            assert alike(need.loc[f"{name(row.source)} ({row.source})", "examples"], row.answer)


def test_what_is_no_language_is_said(sources: Page) -> None:
    sources.open()
    typed(sources, "#sf-target", "Kazak")
    assert "No language \u201cKazak\u201d" in sources.text("#sf-status")
    assert "Kazakh (kaz)" in sources.text("#sf-status")


# ---------------------------------------------------------------- the map


@pytest.fixture(scope="module")
def similar(chromium: Any, site: Path) -> Iterator[Page]:
    page = Page(chromium, site, "map", "sm-root")
    page.open()
    yield page
    assert page.errors == []


def test_similarities_are_the_librarys(similar: Page) -> None:
    """Each language against all others, by every measure, in the download and in the tables."""
    rng, keys = np.random.default_rng(4), finder.every_language(["cmn_Hant", "ace_Arab"])
    measures = [*explore.TYPOLOGY, "genealogy", "geography"]
    for code in rng.choice(keys, max(2, QUERIES // 4), replace=False):
        typed(similar, "#sm-target", f"{name(code)} ({code})")
        similar.until(f"{code}|word_order|genealogy|25")
        table = similar.download("#sm-csv").set_index("language")
        table = table.drop(columns="name").apply(pd.to_numeric, errors="coerce")
        true = pairs([str(code)], targets=list(table.index), measures=measures)
        true = true.set_index("target")
        for column in table:
            wanted = true[column].reindex(table.index)
            np.testing.assert_allclose(table[column], wanted, atol=2e-4, err_msg=column)
        for measure in measures:
            seen = true.get(f"coverage_{measure}", pd.Series(1.0, true.index))
            best = true.loc[seen >= 0.25, measure].sort_values(ascending=False).head(10)
            shown = similar.table(f"#sm-near table[data-measure={measure}]")
            assert shown["similarity"].tolist() == [f"{x:.2f}" for x in best] or np.allclose(
                shown["similarity"].astype(float), best, atol=0.0051
            )


def test_languages_on_which_measures_disagree(similar: Page) -> None:
    similar.open(target="swh", by="word_order", than="geography", seen="50")
    true = similar.download("#sm-csv").set_index("language")
    true = true.apply(pd.to_numeric, errors="coerce")
    true = true[(true["coverage_word_order"] >= 0.5) & true["geography"].notna()]
    assert f"Over {len(true)} languages" in similar.text("#sm-apart")
    near = true["word_order"].sort_values(ascending=False).head(-(-len(true) // 10))
    shown = similar.table("#sm-apart table[data-near=word_order]")
    assert shown["word order"].astype(float).min() >= near.min() - 0.0051
    far = true.loc[true["word_order"] > near.min() + 1e-6, "geography"].min()
    assert shown["geography"].astype(float).iloc[0] <= far + 0.0051


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
