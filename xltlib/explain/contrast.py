"""Estimates: the difference of two conditions over the cells they share, with an interval.

Every comparison here is this one operation. A cell is one combination of source, target, number
of target examples, seed and whatever else is named; conditions are compared within cells, so what
cells share drops out. The 95 % interval is over the units that were sampled: seeds, targets or
languages, by Student's t over the means of one unit, or by a bootstrap over several at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xltlib.explain.effects import t_quantile

VERDICTS = ("holds", "does not hold", "cannot tell")  # every judgement is one of these
_CELL = ("task", "metric", "source", "target", "n_target", "seed")
_COUNTED = ("source", "target", "language", "seed")  # counted wherever a table has them

_Names = str | Sequence[str]


def verdict(low: float, high: float, bound: float = 0.0) -> str:
    """``holds`` above the bound, ``does not hold`` below it; else, or unmeasured, ``cannot tell``.

    >>> verdict(0.2, 1.0), verdict(-1.0, 1.0), verdict(float("nan"), float("nan"))
    ('holds', 'cannot tell', 'cannot tell')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return "cannot tell"
    if low > bound:
        return "holds"
    return "does not hold" if high < bound else "cannot tell"


def differences(
    scores: pd.DataFrame,
    first: _Names,
    second: _Names,
    *,
    on: Sequence[str] = _CELL,
    condition: str = "model",
    best: bool = False,
    value: str = "score",
    scale: float = 100.0,
) -> pd.DataFrame:
    """One condition less another in every cell that both have.

    Parameters
    ----------
    scores : DataFrame
        One row a measurement, with the columns `on`, `condition` and `value`.
    first, second : str or sequence of str
        Values of the column `condition`. Several are averaged.
    on : sequence of str
        What makes a cell. Both sides are means over everything that is not named here.
    best : bool
        `second` is a choice of baselines: in each cell the one with the highest mean over seeds
        counts, for all seeds.
    scale : float
        Scores are 0 to 1; 100 gives points.

    Returns
    -------
    DataFrame
        `on`, ``first, second, difference``; cells in the order of `scores`. Empty where no cell is
        shared, so also where a condition was not measured.
    """
    sides = []
    for names in (first, second):
        rows = scores[scores[condition].isin([names] if isinstance(names, str) else list(names))]
        sides.append(rows.assign(**{value: scale * rows[value].astype(float)}))
    mine = sides[0].groupby(list(on), sort=False)[value].mean().rename("first").reset_index()
    key = [c for c in on if c != "seed"] if best else list(on)
    each = [*key, condition] if best else key
    other = sides[1].groupby(each)[value].mean().groupby(key).max().rename("second")
    both = mine.merge(other.reset_index(), on=key, how="inner").dropna(subset=["first", "second"])
    return both.assign(difference=both["first"] - both["second"]).reset_index(drop=True)


def estimates(
    cells: pd.DataFrame,
    value: str = "difference",
    *,
    over: _Names,
    by: _Names = (),
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of a value with its 95 % interval over the units that were sampled.

    Parameters
    ----------
    cells : DataFrame
        A row a cell (that of `differences`, or scores): `value`, and the columns `over` and `by`.
    over : str or sequence of str
        One unit: the mean of the means of each unit, and Student's t over them. Several: the mean
        of the cells, and the pigeonhole bootstrap (Owen 2007, doi:10.1214/07-AOAS122) of `draws`
        draws: a cell counts as often as each of its units was drawn. ``source`` and ``target``
        are drawn together, as languages. A unit of which there is only one is not drawn, and with
        three seeds, which is usual here, their part is somewhat too small.
    by : str or sequence of str
        One estimate for each combination of these columns, in the order of `cells`.

    Returns
    -------
    DataFrame
        `by`; means of ``first`` and ``second`` where `cells` has them; ``estimate, low, high``;
        ``n`` cells and ``n_pairs, n_sources, n_targets, n_languages, n_seeds`` of what `cells` has;
        ``verdict``. One unit alone has no interval.
    """
    by, units = ([x] if isinstance(x, str) else list(x) for x in (by, over))
    cells = cells.dropna(subset=[value])
    sides = [c for c in ("first", "second") if c in cells]
    rows = []
    for label, own in cells.groupby(by, sort=False) if by else [((), cells)][: len(cells)]:
        y = own[value].astype(float)
        if len(units) == 1:
            ends = student(y.groupby(own[units[0]]).mean().to_numpy())
        else:
            ends = _bootstrap(own, value, units, draws, seed)
        rows.append((*label, *own[sides].mean(), *ends, *_counts(own), verdict(*ends[1:])))
    names = [*by, *sides, "estimate", "low", "high", *_counts(cells).index, "verdict"]
    return pd.DataFrame(rows, columns=names)


def contrast(
    scores: pd.DataFrame,
    first: _Names,
    second: _Names,
    *,
    over: _Names,
    by: _Names = (),
    on: Sequence[str] = _CELL,
    **how: Any,
) -> pd.DataFrame:
    """`estimates` of `differences`: ``estimate`` is how much `first` is above `second`.

    The columns `by` are part of a cell; `how` goes to `differences`.

    >>> contrast(scores, "tiny", "tiny-scratch", over="seed", by="task")  # doctest: +SKIP
    """
    key = dict.fromkeys([*on, *([by] if isinstance(by, str) else by)])
    return estimates(differences(scores, first, second, on=list(key), **how), over=over, by=by)


def student(values: Sequence[float] | NDArray[Any]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; of a single value, the interval is NaN."""
    y = np.asarray(values, dtype=float)
    if len(y) < 2:
        return float(y.mean()) if len(y) else math.nan, math.nan, math.nan
    half = t_quantile(len(y) - 1) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return float(y.mean()), float(y.mean() - half), float(y.mean() + half)


def _bootstrap(
    cells: pd.DataFrame, value: str, units: Sequence[str], draws: int, seed: int
) -> tuple[float, float, float]:
    """Mean of the cells, and its interval with all units drawn anew together."""
    rng = np.random.default_rng(seed)
    y = cells[value].to_numpy(dtype=float)
    weight, drawn = np.ones((draws, len(y))), False
    languages = [c for c in ("source", "target") if c in units]
    for group in filter(None, (languages, *([c] for c in units if c not in languages))):
        codes, found = pd.factorize(pd.concat([cells[c] for c in group]))
        sides = codes.reshape(len(group), -1)
        sides = sides[:1] if (sides == sides[0]).all() else sides
        if len(found) < 2:
            continue
        counts = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), draws)
        for side in sides:
            if len(set(side)) > 1:
                weight, drawn = weight * counts[:, side], True
    if not drawn:
        return float(y.mean()), math.nan, math.nan
    total = weight.sum(1)
    means = (weight @ y)[total > 0] / total[total > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(y.mean()), float(low), float(high)


def _counts(cells: pd.DataFrame) -> pd.Series:
    """Cells, and how many different units they hold."""
    counts = {"n": len(cells)}
    if {"source", "target"} <= set(cells):
        counts["n_pairs"] = len(cells[["source", "target"]].drop_duplicates())
    counts |= {f"n_{c}s": cells[c].nunique() for c in _COUNTED if c in cells}
    return pd.Series(counts)
