"""What the book asserts: checked as it is recorded, corrected as statsmodels does, collected."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import nbformat
import numpy as np
import pandas as pd
import pytest
import render
from IPython.core.interactiveshell import InteractiveShell
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests

from xltlib.book import assertions, figures
from xltlib.explain.contrast import estimates, verdict

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = REPOSITORY / "book" / "published"
SAME: dict[str, Any] = {
    "scale": "points", "unit": "seed", "family": "f", "kind": "confirmatory", "where": "scores",
}  # fmt: skip


def statements(n: int = 4, effect: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Statements on `n` mean differences of five seeds each."""
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame({"what": np.repeat(np.arange(n), 5), "seed": np.tile(np.arange(5), n)})
    cells["difference"] = rng.normal(effect, 1, len(cells))
    table = estimates(cells, over="seed", by="what")
    return table.assign(sentence=[f"Model {i} is better." for i in table["what"]])


def recorded(table: pd.DataFrame, **same: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What `record` returns, and the output that it leaves."""
    with patch("IPython.display.display") as shown:
        found = assertions.record(table, **same)
    return found, json.loads(json.dumps(shown.call_args.args[0]))


def test_a_p_value_is_that_of_the_t_test_behind_the_interval() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(0.7, 1, 6)
    cells = pd.DataFrame({"seed": range(6), "difference": y})
    table = estimates(cells, over="seed").assign(sentence="It is better.")
    found, _ = recorded(table, **SAME)
    assert found["p"].item() == pytest.approx(ttest_1samp(y, 0).pvalue)
    table["verdict"] = verdict(table["low"].item(), table["high"].item(), 0.5)
    found, _ = recorded(table, bound=0.5, **SAME)
    assert found["p"].item() == pytest.approx(ttest_1samp(y, 0.5).pvalue)


@pytest.mark.parametrize(("kind", "method"), [("confirmatory", "holm"), ("exploratory", "fdr_bh")])
def test_a_family_is_corrected_as_by_statsmodels(kind: str, method: str) -> None:
    found, _ = recorded(statements(12, 1.1, 1), **(SAME | {"kind": kind}))
    wanted = multipletests(found["p"], method=method)[1]
    assert found["p_corrected"].to_numpy() == pytest.approx(wanted)
    assert 0 < (found["verdict_corrected"] == "holds").sum() < (found["verdict"] == "holds").sum()
    assert (found.loc[found["p_corrected"] > 0.05, "verdict_corrected"] == "cannot tell").all()


def test_a_family_of_nothing_holds_by_chance_and_not_after_correction() -> None:
    """40 families of 200 statements about nothing, five seeds each."""
    y = np.random.default_rng(0).normal(size=(8000, 5))
    half = student.ppf(0.975, 4) * y.std(axis=1, ddof=1) / 5**0.5
    every = pd.DataFrame({"estimate": y.mean(axis=1), "n": 5, "bound": 0.0, "p": np.nan})
    every["low"], every["high"] = every["estimate"] - half, every["estimate"] + half
    every["verdict"] = list(map(verdict, every["low"], every["high"]))
    every["family"], every["kind"] = np.repeat(range(40), 200), "confirmatory"
    judged = assertions.corrected(every)
    counted = assertions.families(judged)
    assert counted["hold"].mean() == pytest.approx(counted["by_chance"].mean(), rel=0.2)
    wrong = judged["verdict_corrected"].ne("cannot tell").groupby(judged["family"]).any()
    assert wrong.mean() <= 0.05 + 2 * (0.05 * 0.95 / 40) ** 0.5


def test_the_larger_p_counts_where_another_test_had_to_agree() -> None:
    table = statements(3, 9.0)
    found, _ = recorded(table.assign(p=[0.2, np.nan, 0.0]), **SAME)
    own, _ = recorded(table, **SAME)
    assert found["p"].tolist() == pytest.approx([0.2, *own["p"].iloc[1:]])
    assert found["verdict_corrected"].tolist() == ["cannot tell", "holds", "holds"]


def test_no_interval_counts_in_the_family_and_holds_nothing() -> None:
    table = statements(2, 9.0)
    table.loc[1, ["low", "high", "verdict"]] = [np.nan, np.nan, "cannot tell"]
    found, _ = recorded(table, **SAME)
    assert found["p"].iloc[1] == 1
    assert found["p_corrected"].iloc[0] == pytest.approx(2 * found["p"].iloc[0])


def test_crossed_units_count_the_scarcest() -> None:
    table = statements(1).assign(n=60, n_seeds=3, n_targets=20)
    found, _ = recorded(table, **(SAME | {"unit": "target, seed"}))
    assert (found["n"].item(), found["cells"].item()) == (3, 60)


WRONG = [
    ({"sentence": "better"}, "is no sentence"),
    ({"kind": "confirmed"}, "Did you mean 'confirmatory'"),
    ({"unit": "seeds"}, "Did you mean 'seed'"),
    ({"verdict": "hold"}, "Did you mean 'holds'"),
    ({"kind": "descriptive"}, "The statement is descriptive"),
    ({"verdict": "holds", "low": -1.0}, "judge it by `contrast.verdict`"),
    ({"verdict": "does not hold", "high": 1.0}, "judge it by `contrast.verdict`"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[m for _, m in WRONG])
def test_what_is_not_right_is_named(change: dict[str, Any], message: str) -> None:
    table = statements(1).assign(cells=5, n=5, verdict="cannot tell")
    with pytest.raises(ValueError, match=message):
        assertions.record(table.assign(**(SAME | change)))


def test_a_missing_column_and_a_sentence_said_twice_are_named() -> None:
    with pytest.raises(ValueError, match="no column where"):
        assertions.record(statements(), **{k: v for k, v in SAME.items() if k != "where"})
    with pytest.raises(ValueError, match="stated twice"):
        assertions.record(statements().assign(sentence="One is better."), **SAME)


def notebook(*tables: pd.DataFrame) -> dict[str, Any]:
    """An executed notebook of which each cell records one table."""
    first = {"cell_type": "markdown", "source": "# Who & whom\n\nWhy?", "metadata": {}}
    cells = [
        {"cell_type": "code", "source": "", "metadata": {}, "outputs": [{"data": data}]}
        for data in (recorded(t, **SAME)[1] for t in tables)
    ]
    return {"cells": [first, *cells]}


def test_the_build_collects_them_page_by_page(tmp_path: Path) -> None:
    (tmp_path / "05_one.ipynb").write_text(json.dumps(notebook(statements(3), statements(1, 9.0))))
    (tmp_path / "06_none.ipynb").write_text(json.dumps({"cells": notebook()["cells"]}))
    (tmp_path / "07_two.ipynb").write_text(json.dumps(notebook(statements(2))))
    table = render.asserted(tmp_path, tmp_path / "lab")
    assert table["page"].tolist() == ["05_one"] * 4 + ["07_two"] * 2
    apart = [assertions.corrected(own) for _, own in table.groupby("page")]
    assert table["p_corrected"].tolist() == pytest.approx(pd.concat(apart)["p_corrected"])
    page = render.assertions_page(table)
    assert page.count("<tr>") == 1 + len(table) and "Who &amp; whom" in page
    assert '<a href="../notebooks/05_one.html#answer">' in page
    assert "without results" in render.assertions_page(table.iloc[:0])


# ---------------------------------------------------------------- recomputed by other code


def stated_in(chapter: str, **parameters: object) -> pd.DataFrame:
    """What a chapter records when its cells run in this process, figures not drawn."""
    (path,) = (REPOSITORY / "notebooks").glob(f"{chapter}_*.ipynb")
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    found: list[pd.DataFrame] = []

    def keep(*tables: pd.DataFrame, **same: Any) -> pd.DataFrame:
        found.append(record(*tables, **same))
        return found[-1]

    record, names = assertions.record, [n for n in vars(figures) if n[0].islower()]
    drawn = {n: MagicMock() for n in names if getattr(figures, n).__class__.__name__ == "function"}
    with (
        patch.multiple(figures, **drawn),
        patch("IPython.display.display"),
        patch.object(assertions, "record", keep),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        shell = InteractiveShell()
        shell.history_manager.enabled = False
        code[0].source += "".join(f"\n{k} = {v!r}" for k, v in parameters.items())
        for cell in code:
            shell.run_cell(cell.source, store_history=True).raise_error()
    return pd.concat(found, ignore_index=True)


def interval(
    cells: pd.Series, units: Sequence[str] = ("seed", "item")
) -> tuple[float, float, float]:
    """Mean of balanced cells, and its 95 % interval: analysis of variance of crossed units.

    The units are levels of the index, each part with its own quantile. What is more than one row
    of a combination of units is one measurement of it: their mean.
    """
    assert cells.groupby(list(units)).size().nunique() == 1  # balanced
    cells = cells.groupby(list(units)).mean()
    total, n = cells - cells.mean(), len(cells)
    means = {u: total.groupby(u).mean() for u in units}
    squares = {u: n / len(m) * (m**2).sum() for u, m in means.items()}
    df = {u: len(m) - 1 for u, m in means.items()}
    df["cell"] = n - 1 - sum(df.values())
    noise = ((total**2).sum() - sum(squares.values())) / df["cell"]
    parts = {u: max(squares[u] / df[u] - noise, 0) / n for u in squares} | {"cell": noise / n}
    df["cell"] = n  # as many single cells as there are
    half = sum(student.ppf(0.975, df[u]) ** 2 * v for u, v in parts.items()) ** 0.5
    return cells.mean(), cells.mean() - half, cells.mean() + half


def agree(
    rows: pd.DataFrame,
    recompute: Callable[[Any], pd.Series],
    units: Sequence[str] = ("seed", "item"),
) -> None:
    """Each row's estimate, interval and verdict are those of the values that it is a mean of."""
    assert len(rows)
    for r in rows.itertuples():
        wanted = interval(recompute(r), units)
        assert (r.estimate, r.low, r.high) == pytest.approx(wanted, abs=0.006), r.sentence
        sides = {"holds": r.low > r.bound, "does not hold": r.high < r.bound}
        assert r.verdict == next((v for v, on in sides.items() if on), "cannot tell"), r.sentence


KNOWN = {
    "swe-azj": "swe azj ind", "dan-tur": "dan tur ind", "swh-vie": "swh vie ind",
    "rus-arb-hin": "rus arb hin", "clone": "eng_Zzzz vie ind",
}  # fmt: skip
KIN = {"swe": "dan", "dan": "swe", "tur": "azj", "azj": "tur"}
SCRIPTS = {"rus": "Cyrl", "arb": "Arab", "hin": "Deva", "eng_Zzzz": "Zzzz"}  # the rest: Latin
NAMES = {
    "swe": "Swedish", "dan": "Danish", "tur": "Turkish", "azj": "Azerbaijani", "hin": "Hindi",
    "ind": "Indonesian", "swh": "Swahili", "vie": "Vietnamese", "rus": "Russian", "arb": "Arabic",
}  # fmt: skip


def class_of(model: str, target: str) -> str:
    known = KNOWN[model].split()
    if target in known:
        return "itself"
    if KIN.get(target) in known:
        return "relative"
    script = SCRIPTS.get(target, "Latn")
    return f"{'same' if script in [SCRIPTS.get(k, 'Latn') for k in known] else 'other'} script"


def apart(table: pd.DataFrame, one: list[str], two: list[str], side: str) -> pd.Series:
    """One side less the other, each the mean of its models, on the same target, seed and item."""
    wide = table[table[side].isin([*one, *two])]
    wide = wide.assign(first=wide[side].isin(one))
    cells = wide.pivot_table("score", ["target", "n_target", "seed", "item"], "first").dropna()
    return cells[True] - cells[False]


@pytest.fixture(scope="module")
def known() -> pd.DataFrame:
    return stated_in("08")


@pytest.fixture(scope="module")
def open_scores() -> pd.DataFrame:
    """Right or wrong, item by item, which is what the kept scores are means of."""
    table = pd.read_parquet(KEPT / "open" / "predictions.parquet").rename(columns={"id": "item"})
    labels = ["model", "source", "target"]
    table = table.astype(dict.fromkeys(labels, str)).assign(score=100 * table["correct"])
    table = table[~table["target"].str.contains("_")]
    table["base"] = table["model"].str.removesuffix("-alone")
    pairs = table[["base", "target"]].drop_duplicates()
    pairs = pairs[pairs["base"].isin(list(KNOWN))]
    pairs["class"] = [class_of(b, t) for b, t in pairs.to_numpy()]
    return table.merge(pairs, on=["base", "target"], how="left")


def test_items_are_those_of_the_kept_scores(open_scores: pd.DataFrame) -> None:
    table = pd.read_parquet(KEPT / "open" / "scores.parquet").query("metric == 'accuracy'")
    on = ["model", "source", "target", "n_target", "seed"]
    table = table[table["target_set"] == ""].set_index(on)["score"]
    own = open_scores.groupby(on)["score"].mean() / 100
    assert own.to_numpy() == pytest.approx(table.reindex(own.index).to_numpy(), abs=1e-6)


def examples(sentence: str) -> int:
    found = re.search(r"([\d,]+) examples", sentence)
    return int(found[1].replace(",", "")) if found else 0


def test_what_knowing_does_recomputed(known: pd.DataFrame, open_scores: pd.DataFrame) -> None:
    mine = open_scores[open_scores["model"].isin(list(KNOWN))]
    mine = mine[mine["source"] != mine["target"]]
    neither = ["same script", "other script"]

    def contrast(r: Any) -> pd.Series:
        rows = mine[mine["n_target"] == examples(r.sentence)]
        if "another language in the target's script" in r.sentence:
            return apart(rows, neither[:1], neither[1:], "class")
        first = "relative" if "know a relative" in r.sentence else "itself"
        rows = rows[[NAMES[c] in r.sentence or "the target" in r.sentence for c in rows["target"]]]
        return apart(rows, [first], neither, "class")

    families = ["knowing", "knowing, target by target"]
    agree(known[known["family"].isin(families)], contrast)
    assert known["family"].isin(families).sum() == 15 + 10


def test_placebos_and_clone_recomputed(known: pd.DataFrame, open_scores: pd.DataFrame) -> None:
    zero = open_scores[(open_scores["n_target"] == 0) & open_scores["model"].isin(list(KNOWN))]
    rows = known[known["family"] == "placebo and control"]

    def contrast(r: Any) -> pd.Series:
        both = zero[zero["model"].isin(["swe-azj", "dan-tur"])]
        classes = both.groupby("target")["class"].agg(set)
        alike = {t for t, c in classes.items() if len(c) == 1 and t != "eng"}
        if "known to neither" in r.sentence:
            alike -= {"ind"}
        return apart(both[both["target"].isin(alike)], ["swe-azj"], ["dan-tur"], "model")

    clone = rows["sentence"].str.contains("letters of its own")
    agree(rows[~clone], contrast)
    failing = rows[rows["sentence"].str.contains("of one class for both")].squeeze()
    ends = [round(failing[c], 1) for c in ("estimate", "low", "high")]
    assert ends[0] == -1.0 and ends[1] < ends[0] < ends[2] and len(rows) == 3
    table = pd.read_parquet(KEPT / "open" / "scores.parquet").query("metric == 'accuracy'")
    table = table[(table["target_set"] != "") & (table["n_target"] == 0)]
    table = table[table["model"].isin(list(KNOWN))]
    by_seed = table.groupby([table["model"] == "clone", "seed"])["score"].mean()
    difference = 100 * (by_seed[True] - by_seed[False])
    half = student.ppf(0.975, 2) * difference.std() / 3**0.5
    wanted = difference.mean() + half * np.array([0, -1, 1])
    found = rows.loc[clone, ["estimate", "low", "high"]].to_numpy()[0]
    assert found == pytest.approx(wanted, abs=0.006)


def test_gains_over_baselines_recomputed(known: pd.DataFrame, open_scores: pd.DataFrame) -> None:
    zero = open_scores[open_scores["n_target"] == 0]
    zero = zero[(zero["source"] == "eng") & (zero["target"] != "eng")]
    base = zero[zero["model"].isin(["tiny-scratch", "char-ngram"])]
    best = base.groupby(["target", "model"])["score"].mean().unstack().idxmax(axis=1)
    base = base[base["model"] == base["target"].map(best)]
    base = base.groupby(["target", "item"])["score"].mean().rename("base_score")
    gains = zero[zero["model"].isin(list(KNOWN))].join(base, on=["target", "item"])
    gains["gain"] = gains["score"] - gains["base_score"]
    family = gains["target"].isin(["swe", "dan"]) | (gains["target"] == "hin")
    family |= gains["target"] == "rus"  # Indo-European

    def gain(r: Any) -> pd.Series:
        if "more than 5 points" in r.sentence:
            own = gains[(gains["class"] == "itself") & ~family]
            return own.set_index(["model", "target", "seed", "item"])["gain"]
        model, cls = re.search(r"Model (\S+) scores.*class '(.+)'", r.sentence).groups()
        own = gains[(gains["model"] == model) & (gains["class"] == cls)]
        return own.set_index(["target", "seed", "item"])["gain"]

    rows = known[known["family"].isin(["beyond spelling", "acceptance criteria"])]
    assert len(rows) == 16 + 1
    agree(rows, gain)


def test_what_a_source_and_reading_add_recomputed(
    known: pd.DataFrame, open_scores: pd.DataFrame
) -> None:
    table = open_scores

    def source(r: Any) -> pd.Series:
        cls = re.search("class '(.+?)'", r.sentence)[1]
        rows = table[(table["n_target"] == examples(r.sentence)) & (table["class"] == cls)]
        rows = rows.assign(with_it=~rows["model"].str.endswith("-alone"))
        wide = rows.pivot_table("score", ["base", "target", "seed", "item"], "with_it").dropna()
        return wide[True] - wide[False]

    def anything(r: Any) -> pd.Series:
        rows = table[(table["n_target"] == examples(r.sentence)) & (table["source"] == "eng")]
        rows = rows[(rows["target"] == "eng") == ("the source" in r.sentence)]
        return apart(rows, list(KNOWN), ["tiny-scratch"], "model")

    agree(known[known["family"] == "what the source adds"], source)
    agree(known[known["family"] == "having read anything"], anything)


def test_every_chapter_records_what_its_answer_asserts() -> None:
    for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        heads = [i for i, c in enumerate(cells) if "## Answer" in c.source]
        assert any("assertions.record(" in c.source for c in cells[heads[0] - 4 :]), path.stem


def right_by_item(folder: Path, task: str) -> pd.DataFrame:
    """Bits of the kept predictions as rows: which answers are right, cell by cell."""
    table = pd.read_parquet(folder / "predictions.parquet").query("task == @task")
    cells = pd.read_parquet(folder / "scores.parquet").query("task == @task")
    cells = cells[["model", "target", "n_target", "seed"]].astype({"model": "category"})
    cells["target"], found = cells["target"].astype("category"), []
    for target, own in cells.groupby("target", observed=True):
        kept = table.loc[table["target"] == target, "correct"]
        for item, bits in enumerate(kept):
            right = np.unpackbits(np.frombuffer(bits, np.uint8), count=len(own))
            found.append((own.index.to_numpy(), np.full(len(own), item), right))
    index, item, score = map(np.concatenate, zip(*found, strict=True))
    return cells.loc[index].assign(item=item, score=score)


@pytest.mark.parametrize("task", ["massive_intent", "massive_slots"])
def test_what_a_source_adds_recomputed(task: str, examples_stated: pd.DataFrame) -> None:
    units = ["target", "seed", "item"] if task == "massive_intent" else ["target", "seed"]
    folder = KEPT / ("curves" if task == "massive_intent" else "curves-slots")
    if task == "massive_intent":
        table = right_by_item(folder, task)
    else:
        table = pd.read_parquet(folder / "scores.parquet")
    table["alone"] = table["model"].str.endswith("-alone")
    table = table[table["n_target"] > 0]
    means = table.groupby(["alone", "n_target", *units], observed=True)["score"].mean()
    above = 100 * (means[False] - means[True])
    rows = examples_stated["sentence"].str.startswith("A source raises the score")
    rows &= examples_stated["sentence"].str.contains(task)
    rows = examples_stated[rows]
    assert len(rows) == 5
    agree(rows, lambda r: above.xs(examples(r.sentence), level="n_target"), units)


@pytest.fixture(scope="module")
def examples_stated() -> pd.DataFrame:
    return stated_in("05")
