"""What the book asserts: checked as it is recorded, corrected as statsmodels does, collected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import render
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests

from xltlib.book import assertions
from xltlib.explain.contrast import estimates, verdict

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
    table = render.asserted(tmp_path)
    assert table["page"].tolist() == ["05_one"] * 4 + ["07_two"] * 2
    apart = [assertions.corrected(own) for _, own in table.groupby("page")]
    assert table["p_corrected"].tolist() == pytest.approx(pd.concat(apart)["p_corrected"])
    page = render.assertions_page(table)
    assert page.count("<tr>") == 1 + len(table) and "Who &amp; whom" in page
    assert '<a href="../notebooks/05_one.html#answer">' in page
    assert "without results" in render.assertions_page(table.iloc[:0])
