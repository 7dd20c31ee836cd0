"""Estimates: the difference of two conditions over the cells they share, with an interval.

Every comparison here is this one operation. A cell is one combination of source, target, number
of target examples, seed and whatever else is named; conditions are compared within cells, so what
cells share drops out. The 95 % interval is over the units that were sampled: seeds, targets,
languages, test items, data sets. The caller says which: there is no default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from xltlib.errors import unknown
from xltlib.explain.effects import Array, psd_inverse, t_quantile

VERDICTS = ("holds", "does not hold", "cannot tell")  # every judgement is one of these
_CELL = ("task", "metric", "source", "target", "n_target", "seed")
_COUNTED = ("source", "target", "language", "seed", "item")  # counted wherever a table has them

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
        `second` is a choice of baselines: the one with the highest mean over seeds (and items)
        counts, for all of them.
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
    first_of = sides[0].groupby(list(on), sort=False, observed=True)[value]
    mine = first_of.mean().rename("first").reset_index()
    key = list(on)
    if best:
        key.remove("seed")
        of = [c for c in key if c != "item"]
        means = sides[1].groupby([*of, condition], observed=True)[value].mean()
        top = means[means == means.groupby(of, observed=True).transform("max")]
        sides[1] = sides[1].merge(top.reset_index()[[*of, condition]], on=[*of, condition])
    other = sides[1].groupby(key, observed=True)[value].mean().rename("second")
    both = mine.merge(other.reset_index(), on=key, how="inner").dropna(subset=["first", "second"])
    return both.assign(difference=both["first"] - both["second"]).reset_index(drop=True)


def estimates(
    cells: pd.DataFrame,
    value: str = "difference",
    *,
    over: _Names,
    by: _Names = (),
) -> pd.DataFrame:
    """Mean of a value with its 95 % interval over the units that were sampled.

    Parameters
    ----------
    cells : DataFrame
        A row a cell (that of `differences`, or scores): `value`, and the columns `over` and `by`.
    over : str or sequence of str
        The units that were sampled: seed, target, source, item, data set, ... One: the mean of
        the means of each unit, and Student's t over them. Several: the mean of the cells, of
        which those of one combination of units (seeds, where these are no unit) are one
        measurement, not several; its variance is the sum of what leaving out each value of a unit
        in turn says (jackknife), less the noise of single combinations, which is in every unit's
        and is counted once. For balanced cells that is the analysis of variance of crossed random
        effects. Each part has the quantile of Student's t of its own number of units (Graybill &
        Wang 1980, doi:10.2307/2287174). With
        ``source`` and ``target`` together, the unit is the language: it is left out on both sides.
        Languages on both sides, only sources, and only targets are then units of their own; a unit
        with one value counts for nothing. The noise is the residual variance (residual degrees of
        freedom) of least squares on the levels of all units, over the number of combinations,
        whose quantile it has.
    by : str or sequence of str
        One estimate for each combination of these columns, in the order of `cells`.

    Returns
    -------
    DataFrame
        `by`; means of ``first`` and ``second`` where `cells` has them; ``estimate, low, high``
        and ``df``, the degrees of freedom (of several units Satterthwaite's, for a p);
        ``n`` cells and ``n_pairs, n_sources, n_targets, n_languages, n_seeds`` of what `cells` has;
        ``verdict``. One unit alone has no interval.

    Raises
    ------
    ValueError
        A unit is no column, or one of several has no value in some row.

    Notes
    -----
    Simulated (`benchmarks/calibration.py`): intervals over several units, three seeds among them,
    hold the truth in 94 to 98 % of tables.
    """
    by, units = ([x] if isinstance(x, str) else list(x) for x in (by, over))
    for unit in (u for u in units if u not in cells):
        raise unknown("unit", unit, [*cells], "say which column holds what was sampled")
    cells = cells.dropna(subset=[value])
    if len(units) > 1 and cells[units].isna().any(axis=None):
        lacking = next(unit for unit in units if cells[unit].isna().any())
        n = int(cells[lacking].isna().sum())
        raise ValueError(f"{n} of {len(cells)} rows have no {lacking!r}: drop or name them")
    sides = [c for c in ("first", "second") if c in cells]
    rows = []
    for label, own in cells.groupby(by, sort=False) if by else [((), cells)][: len(cells)]:
        y = own[value].astype(float)
        if len(units) == 1:
            means = y.groupby(own[units[0]], observed=True).mean().to_numpy()
            ends: tuple[float, ...] = (*student(means), len(means) - 1 or math.nan)
        else:
            ends = _crossed(own, value, units)
        rows.append((*label, *own[sides].mean(), *ends, *_counts(own), verdict(*ends[1:3])))
    names = [*by, *sides, "estimate", "low", "high", "df", *_counts(cells).index, "verdict"]
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


def student(values: Sequence[float] | NDArray[np.floating]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; of a single value, the interval is NaN."""
    y = np.asarray(values, dtype=float)
    if len(y) < 2:
        return float(y.mean()) if len(y) else math.nan, math.nan, math.nan
    half = t_quantile(len(y) - 1) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return float(y.mean()), float(y.mean() - half), float(y.mean() + half)


def _crossed(cells: pd.DataFrame, value: str, units: Sequence[str]) -> tuple[float, ...]:
    """Mean of the cells, its interval and degrees of freedom with several units sampled."""
    rows = cells.groupby(list(units), sort=False, observed=True)[value]
    y, size = rows.mean().to_numpy(dtype=float), rows.size()
    w = np.asarray(size / size.sum(), dtype=np.float64)
    cells, mean = size.reset_index(), float(w @ y)
    groups = _memberships(cells, units)
    if not groups:
        return mean, math.nan, math.nan, math.nan
    noise, df = _noise(y, cells, units) * float(w @ w), np.array([M.shape[1] - 1 for M in groups])
    # the noise is in the variance of every unit, and twice where both ends are the unit
    parts = [_jackknife(y, w, M) - noise * float(w @ M.sum(axis=1)) for M in groups]
    own = np.maximum(parts, 0.0)
    total = max(float(own.sum()) + noise, 1e-12 * float(w @ y**2))
    free = total**2 / (float((own**2 / df).sum()) + noise**2 / len(y) + 1e-300)
    each = np.array([t_quantile(float(d)) for d in df])
    half = math.sqrt(float((each**2 * own).sum()) + t_quantile(len(y)) ** 2 * noise)
    return mean, mean - half, mean + half, min(free, len(y))


def _memberships(cells: pd.DataFrame, units: Sequence[str]) -> list[sparse.csr_array]:
    """For each unit, which of its values (columns) a cell (row) has; a single value is no unit.

    A language that is source and target is one value, which is in the cells of both.
    """
    sides = [c for c in ("source", "target") if c in units]
    rows = np.tile(np.arange(len(cells)), len(sides))
    stacked = [cells[c].astype(str) for c in sides]
    found = []
    if sides:
        codes, names = pd.factorize(pd.concat(stacked))
        shape = (len(cells), len(names))
        M = sparse.csr_array((np.ones(len(rows)), (rows, codes)), shape=shape)
        M.data[:] = 1.0  # in-language cells have their language once
        roles = np.array([np.isin(names, s) for s in stacked])
        found = [M[:, (roles == role[:, None]).all(axis=0)] for role in np.unique(roles, axis=1).T]
    for unit in (u for u in units if u not in sides):
        found.append(_dummies(cells[unit]))
    return [M for M in found if M.shape[1] > 1]


def _dummies(labels: pd.Series) -> sparse.csr_array:
    codes, names = pd.factorize(labels)
    n = len(labels)
    return sparse.csr_array((np.ones(n), (np.arange(n), codes)), shape=(n, len(names)))


def _jackknife(y: Array, w: Array, M: sparse.csr_array) -> float:
    """Variance of the mean with weights `w` by leaving out every value of a unit in turn."""
    left = 1 - M.T @ w
    means = ((w @ y - M.T @ (w * y)) / np.where(left > 1e-9, left, np.nan))[left > 1e-9]
    G = len(means)
    return float((G - 1) / G * ((means - means.mean()) ** 2).sum()) if G > 1 else 0.0


def _noise(y: Array, cells: pd.DataFrame, units: Sequence[str]) -> float:
    """Variance of single combinations of units: what an additive model of all units leaves."""
    D = sparse.hstack([_dummies(cells[u]) for u in units]).tocsr()
    inverse, rank = psd_inverse((D.T @ D).toarray())
    left, free = y - D @ (inverse @ (D.T @ y)), len(y) - rank
    return float((left**2).sum() / free) if free > 0 else 0.0


def _counts(cells: pd.DataFrame) -> pd.Series:
    """Cells, and how many different units they hold."""
    counts = {"n": len(cells)}
    if {"source", "target"} <= set(cells):
        counts["n_pairs"] = len(cells[["source", "target"]].drop_duplicates())
    counts |= {f"n_{c}s": cells[c].nunique() for c in _COUNTED if c in cells}
    return pd.Series(counts)
