"""The difference of two conditions with its interval, on made-up scores with a planted effect."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from scipy import stats

from xltlib.book import figures
from xltlib.explain import contrast as module
from xltlib.explain.contrast import contrast, differences, estimates, student, verdict

CODES = ["eng", "deu", "tur", "rus"]


def scores(above: float = 0.2, noise: float = 0.0) -> pd.DataFrame:
    """A model that stands `above` the better of two baselines; which that is differs by source."""
    rng, rows = np.random.default_rng(3), []
    for source, target, seed in itertools.product(CODES, CODES, range(3)):
        low = 0.1 + CODES.index(target) / 50
        rows.append(("ours", source, target, 0, seed, low + above + noise * rng.normal()))
        rows.append(("scratch", source, target, 0, seed, low - 0.03 * (source == "eng")))
        rows.append(("grams", source, target, 0, seed, low - 0.05 * (source != "eng")))
    columns = ["model", "source", "target", "n_target", "seed", "score"]
    return pd.DataFrame(rows, columns=columns).assign(task="ner", metric="f1")


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("low", "high", "bound", "expected"),
    [
        (0.1, 2.0, 0.0, "holds"),
        (-2.0, -0.1, 0.0, "does not hold"),
        (-1.0, 1.0, 0.0, "cannot tell"),
        (0.0, 1.0, 0.0, "cannot tell"),
        (3.0, 4.0, 5.0, "does not hold"),
        (np.nan, np.nan, 0.0, "cannot tell"),
        (1.0, np.inf, 0.0, "cannot tell"),
    ],
)
def test_the_verdict_is_where_the_whole_interval_is(
    low: float, high: float, bound: float, expected: str
) -> None:
    assert verdict(low, high, bound) == expected and expected in module.VERDICTS


def test_the_difference_is_over_shared_cells_only() -> None:
    table = scores()
    table = table[~((table["model"] == "grams") & (table["source"] == "rus"))]
    found = differences(table, "ours", "grams")
    assert len(found) == 3 * 4 * 3 and set(found["source"]) == {"eng", "deu", "tur"}
    assert found["difference"].to_numpy() == pytest.approx(
        np.where(found["source"] == "eng", 20.0, 25.0)
    )
    assert differences(table, "ours", "never measured").empty
    empty = contrast(table, "ours", "never measured", over="seed", by="task")
    assert empty.empty and list(empty)[0] == "task" and list(empty)[-1] == "verdict"


def test_several_conditions_are_a_mean_and_the_best_of_baselines_is_chosen_cell_by_cell() -> None:
    mean = contrast(scores(), "ours", ("scratch", "grams"), over="seed", by="source")
    assert mean["estimate"].tolist() == pytest.approx([21.5, 22.5, 22.5, 22.5])
    best = contrast(scores(), "ours", ("scratch", "grams"), best=True, over="seed", by="source")
    assert best["estimate"].tolist() == pytest.approx([20.0] * 4)
    assert best["first"].tolist() == pytest.approx(best["second"] + 20)
    noisy = scores()
    noisy.loc[(noisy["model"] == "grams") & (noisy["seed"] == 0), "score"] = 0.9
    chosen = differences(noisy, "ours", ("scratch", "grams"), best=True)
    assert chosen.groupby(["source", "target"])["second"].nunique().max() == 1  # for all seeds


def test_one_unit_students_interval_over_the_means_of_units() -> None:
    values = [1.0, 2.5, 3.0]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert student(values) == pytest.approx((np.mean(values), *expected))
    table = scores(noise=0.05)
    means = differences(table, "ours", "grams").groupby("target")["difference"].mean()
    (row,) = contrast(table, "ours", "grams", over="target").to_dict("records")
    ends = stats.t.interval(0.95, 3, means.mean(), stats.sem(means))
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((means.mean(), *ends))
    assert (row["n"], row["n_pairs"], row["n_targets"], row["n_seeds"]) == (48, 16, 4, 3)


def test_one_unit_alone_has_no_interval_and_no_verdict() -> None:
    one = scores().query("seed == 0 and source == 'eng' and target == 'deu'")
    for over in ("seed", ("source", "target", "seed")):
        (row,) = contrast(one, "ours", "grams", over=over).to_dict("records")
        assert row["estimate"] == pytest.approx(20) and np.isnan(row["low"])
        assert row["verdict"] == "cannot tell"


@pytest.mark.parametrize("apart", [False, True])
def test_intervals_over_languages_and_seeds_hold_the_truth(apart: bool) -> None:
    """Truth 0, large effects of sources, targets and three seeds (fewer than 3 % miss: chance)."""
    rng, units, covered = np.random.default_rng(1), ("source", "target", "seed"), 0
    cells = pd.DataFrame(itertools.product(range(8), range(8), range(3)), columns=units)
    cells = cells[cells["source"] != cells["target"]]
    for _ in range(100):
        a, b, c = rng.normal(size=8), rng.normal(size=8), rng.normal(size=3)
        y = a[cells["source"]] + b[cells["target"]] + c[cells["seed"]] / 2
        named = cells.assign(y=y + rng.normal(size=len(cells)), target=cells["target"] + 9 * apart)
        (row,) = estimates(named, "y", over=units).to_dict("records")
        covered += row["low"] <= 0 <= row["high"]
    assert 90 <= covered <= 99


def test_several_units_are_an_analysis_of_variance() -> None:
    """Balanced cells: mean squares of statsmodels, each with its quantile (Graybill & Wang)."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    rng, (items, seeds) = np.random.default_rng(0), (12, 4)
    table = pd.DataFrame(itertools.product(range(items), range(seeds)), columns=["item", "seed"])
    effects = rng.normal(size=items)[table["item"]] + rng.normal(size=seeds)[table["seed"]]
    table["y"] = effects + rng.normal(size=len(table))
    squares = anova_lm(ols("y ~ C(item) + C(seed)", table).fit())["mean_sq"] / len(table)
    variance = squares["C(item)"] + squares["C(seed)"] - squares["Residual"]
    own = squares[["C(item)", "C(seed)"]] - squares["Residual"]
    parts = [own["C(item)"] ** 2 / 11, own["C(seed)"] ** 2 / 3, squares["Residual"] ** 2 / 48]
    each = zip((*own, squares["Residual"]), (11, 3, 48), strict=True)
    half = np.sqrt(sum(stats.t.ppf(0.975, df) ** 2 * part for part, df in each))
    (row,) = estimates(table, "y", over=("item", "seed")).to_dict("records")
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half)
    assert row["df"] == pytest.approx(variance**2 / sum(parts))


def test_a_unit_that_is_no_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no unit 'item'|item"):
        contrast(scores(), "ours", "grams", over=("seed", "item"))


def _fills(marks: PathCollection) -> list[str]:
    fills = [to_hex(c) for c in marks.get_facecolor()]
    return fills * (len(marks.get_offsets()) // len(fills))


def test_a_figure_fills_a_mark_by_its_verdict_and_needs_no_p_value() -> None:
    found = contrast(scores(noise=0.3), "ours", "grams", over="seed", by=("task", "source"))
    found["verdict"] = ["holds", "does not hold", "cannot tell", "cannot tell"]
    assert not [c for c in found if str(c).startswith("p_")]
    figure = figures.estimates(found, rows="source", panel="task")
    (ax,) = figure.axes
    marks = [c for c in ax.collections if isinstance(c, PathCollection)]
    fills = {
        float(y): f for c in marks for (_, y), f in zip(c.get_offsets(), _fills(c), strict=True)
    }
    assert [fills[y] == "#ffffff" for y in range(4)] == [False, False, True, True]
    assert ax.get_title("left") == "names"
    assert [t.get_text() for t in ax.get_yticklabels()] == ["English", "German", "Turkish",
                                                            "Russian"]  # fmt: skip


def test_seeds_of_a_pair_are_averaged_where_they_are_no_unit() -> None:
    """Three seeds with one mean say what that mean says: no more pairs than there are."""
    rng = np.random.default_rng(0)
    pairs = [(s, t, rng.normal()) for s in "abcd" for t in "abcd" if s != t]
    once = pd.DataFrame(pairs, columns=["source", "target", "y"])
    thrice = pd.concat([once.assign(y=once["y"] + k, seed=k) for k in (-1, 0, 1)])
    ends = ["estimate", "low", "high", "df"]
    found = [estimates(x, "y", over=["source", "target"])[ends].to_numpy() for x in (once, thrice)]
    np.testing.assert_allclose(*found)
    once.loc[3, "target"] = None
    with pytest.raises(ValueError, match="1 of 12 rows have no 'target': drop or name them"):
        estimates(once, "y", over=["source", "target"])
