"""Reliability by split halves: against simulations in which it is known, and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from xltlib import scores as sc
from xltlib.explain.observations import reliability

CODES = "eng deu hrv tur srp rus kaz arb pes urd hin mar fin hun swh".split()


def made(rng: np.random.Generator, pair: float, noise: float, effects: float = 0.05) -> tuple:
    """Two halves of a matrix, with the reliabilities of scores and residuals of their mean."""
    n = len(CODES)
    s, t = np.nonzero(~np.eye(n, dtype=bool))
    of_source, of_target = rng.normal(0, effects, (2, n))
    both = of_source[s] + of_target[t]
    true = 0.5 + both + rng.normal(0, pair, len(s))
    cell = {"source": np.array(CODES)[s], "target": np.array(CODES)[t], "n_test": 100}
    halves = [
        pd.DataFrame(cell | {"half": h, "score": true + rng.normal(0, noise, len(s))})
        for h in ("a", "b")
    ]
    signal = pair**2
    return pd.concat(halves), (
        (both.var() + signal) / (both.var() + signal + noise**2 / 2),
        signal / (signal + noise**2 / 2),
    )


@pytest.mark.parametrize(("pair", "noise"), [(0.03, 0.02), (0.02, 0.04)])
def test_known_reliability_is_found_and_covered(pair: float, noise: float) -> None:
    rng = np.random.default_rng(3)
    error, inside, width = [], [], []
    for _ in range(40):
        table, truth = made(rng, pair, noise)
        found = reliability(sc.check(table), bootstrap=100).set_index("of")
        for of, wanted in zip(("scores", "residuals"), truth, strict=True):
            row = found.loc[of]
            error.append(row["estimate"] - wanted)
            inside.append(row["low"] <= wanted <= row["high"])
            width.append(row["high"] - row["low"])
    error, inside = np.array(error).reshape(-1, 2), np.array(inside).reshape(-1, 2)
    assert np.abs(error.mean(axis=0)).max() < 0.02
    assert inside.mean(axis=0).min() >= 0.85  # of 95 %; three standard errors of 40 tables below
    spread = np.std(np.reshape(error, (-1, 2)), axis=0)
    assert (np.reshape(width, (-1, 2)).mean(axis=0) < 3 * 3.92 * spread).all()  # cautious, no more


def test_noise_alone_is_not_reliable() -> None:
    rng = np.random.default_rng(5)
    tables = [sc.check(made(rng, 0.0, 0.03)[0]) for _ in range(20)]
    found = pd.concat([reliability(t, bootstrap=100) for t in tables])
    residuals = found[found["of"] == "residuals"]
    assert abs(residuals["estimate"].mean()) < 0.05
    assert (residuals["verdict"] == "cannot tell").mean() >= 0.8
    assert (found[found["of"] == "scores"]["verdict"] == "holds").all()  # effects repeat


def test_estimates_as_statsmodels_and_numpy() -> None:
    """Unbalanced: a tenth of the cells of one half are missing, one cell has two seeds."""
    table, _ = made(np.random.default_rng(1), 0.03, 0.02)
    table = table.assign(seed=0)
    lost = (table["half"] == "b") & (np.arange(len(table)) % 10 == 0)
    again = table.head(1).assign(seed=1, score=0.9)
    table = pd.concat([table[~lost], again], ignore_index=True)
    found = reliability(sc.check(table), bootstrap=20).set_index("of")
    wide = table.groupby(["source", "target", "half"])["score"].mean().unstack("half").dropna()
    assert (found["n"] == len(wide)).all()
    left = [ols(f"{h} ~ C(source) + C(target)", wide.reset_index()).fit().resid for h in "ab"]
    for of, (x, y) in (("scores", (wide["a"], wide["b"])), ("residuals", left)):
        r = np.corrcoef(x, y)[0, 1]
        assert found.loc[of, "estimate"] == pytest.approx(2 * r / (1 + r), abs=1e-10)
        assert found.loc[of, "low"] < found.loc[of, "estimate"] < found.loc[of, "high"]


def test_refusals_name_the_cure() -> None:
    table, _ = made(np.random.default_rng(1), 0.03, 0.02)
    with pytest.raises(ValueError, match="no column 'half'.*two independent halves"):
        reliability(sc.check(table[table["half"] == "a"].drop(columns="half")))
    with pytest.raises(ValueError, match="has 1 values .a., not two"):
        reliability(sc.check(table[table["half"] == "a"]))
    few = table[table["source"].isin(CODES[:3])]
    with pytest.raises(ValueError, match="at least 4"):
        reliability(sc.check(few))


def test_halves_of_a_cell_are_no_repeats_and_no_property_of_the_pair() -> None:
    from xltlib.book.inputs import extras

    table = sc.check(made(np.random.default_rng(1), 0.03, 0.02)[0])
    assert len(table) == 2 * len(CODES) * (len(CODES) - 1)
    assert len(sc.cells(table)) == len(table) / 2
    _, used, unused = extras(table)
    assert used == unused == []
