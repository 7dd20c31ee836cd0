"""Verdicts on scores whose truth is set: a small part of `benchmarks/calibration.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import calibration  # noqa: E402


def test_the_truth_of_a_table_is_what_was_set() -> None:
    """Of what effects leave, lexical similarity explains a fifth, structure nothing beside it."""
    from statsmodels.api import OLS

    from xltlib.explain.observations import design, observe

    pairs = calibration.similarity(12)
    data = design(observe(calibration.made(12, "words", 3), pairs))
    y, X = data.left[:, -1], data.left[:, :-1]
    words = X[:, [data.features.index("lexical_translit")]]
    structure = [data.features.index(m) for m in calibration.STRUCTURE]
    alone = OLS(y, words).fit().rsquared
    assert alone == pytest.approx(0.2, abs=0.1)
    assert OLS(y, np.column_stack([words, X[:, structure]])).fit().rsquared - alone < 0.1


def test_nothing_is_seldom_said_to_hold_and_never_to_fail() -> None:
    found = [calibration.judged(12, "unmeasured", seed) for seed in range(8)]
    table = pd.DataFrame(calibration.rates(found, 12, "unmeasured")).set_index("claim")
    verdicts = table.drop(index="interval of what similarity explains")
    assert verdicts["wrong_holds"].max() <= 1 / 8
    assert verdicts["wrong_does_not_hold"].max() <= 1 / 8
    assert table.loc["interval of what similarity explains", "coverage"] >= 7 / 8


def test_a_fifth_of_the_variance_is_found_in_24_languages() -> None:
    told = [calibration.judged(24, truth, 0)["verdicts"] for truth in ("words", "structure")]
    adds, better = "structure adds to lexical similarity (prediction)", (
        "structure predicts better than lexical similarity (fit)"
    )  # fmt: skip
    assert told[0]["similarity predicts transfer to a new language"] == "holds"
    assert [t[adds] for t in told] == ["cannot tell", "holds"]
    assert [t[better] for t in told] == ["does not hold", "holds"]


@pytest.mark.parametrize("name", ["difference on 200 items, 3 targets, 5 seeds",
                                  "loss of two rules, 52 targets"])  # fmt: skip
def test_intervals_hold_the_truth(name: str) -> None:
    once = calibration.INTERVALS[name]
    held = np.mean([once(np.random.default_rng(i)) for i in range(100)])
    assert 0.88 <= held <= 1
