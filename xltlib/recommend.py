"""Which source to take for one language, with the score to expect, how sure that is, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xltlib import levels, ranking
from xltlib.matrix import SIZE, Array, Fold, Index, Matrix, folds, matrices, target_mean

QUICK_CELLS = 2_000  # read at most: the nearest targets, for an answer in about a second
DRAWS = 2_000


@dataclass(frozen=True)
class Recommendation:
    """Sources for one target, best first.

    Attributes
    ----------
    target : ISO 639-3 code.
    labels : model, task and metric of the scores it rests on.
    table : ``rank, source, measured, predicted, low, high, p_best, why``, in the order of ``xlt``:
        by predicted score, with a little for being likely to be the very best. The interval is a
        90 % one, for a measured cell the measurement; ``p_best`` is the chance that no other
        source does better.
    best_set : ``k, source, expected_best``: sources worth training together, each step the one that
        raises the expected best score most.
    rests_on : a sentence: how much was measured and how well such predictions held elsewhere.
    """

    target: str
    labels: dict[str, str]
    table: pd.DataFrame
    best_set: pd.DataFrame
    rests_on: str


def recommend(
    target: str,
    scores: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    k: int = 3,
) -> Recommendation:
    """Rank the measured sources for any language, whether it was ever scored or not.

    Parameters
    ----------
    target : str
        Any language with features, in any code form.
    scores : DataFrame
        The scores table; `model`, `task` and `metric` say which part where it holds several.
    pairs : DataFrame, optional
        The pairs table with the target in it; made from lang2vec unless given.
    k : int
        Size of the set of sources (`Recommendation.best_set`).

    Raises
    ------
    ValueError
        For an unknown language, an ambiguous or empty table, or a target the pairs table lacks.
    """
    from xltlib.languages import iso3

    code = iso3(target)
    table = _one(scores, {"model": model, "task": task, "metric": metric})
    if pairs is None:
        from xltlib import similarity

        pairs = similarity.pairs(sorted({*table["source"], *table["target"], code}))
    ((labels, matrix),) = matrices(table, pairs, code, QUICK_CELLS)
    if len(matrix.sources) < 2:
        raise ValueError(f"only one source is left for {target!r}: there is nothing to choose")
    cells = _column(matrix, code)
    mean, covariance, bonus = _predicted(matrix, cells)
    half_width, evidence = _evidence(matrix, cells)
    order = np.argsort(-(mean + bonus), kind="stable")
    best = _chosen(matrix, cells, mean, covariance, min(k, len(mean)))
    rows = _rows(matrix, cells, mean, covariance, half_width).iloc[order]
    rows.insert(0, "rank", np.arange(1, len(rows) + 1))
    return Recommendation(code, labels, rows.reset_index(drop=True), best, evidence)


def _one(scores: pd.DataFrame, wanted: dict[str, str | None]) -> pd.DataFrame:
    """The rows of one model, task and metric; more than one of any is an error that lists them."""
    from xltlib.errors import unknown

    for name, value in wanted.items():
        if name not in scores:
            continue
        found = sorted(scores[name].unique())
        if value is None and len(found) > 1:
            raise ValueError(
                f"the scores hold several {name}s: say {name}= one of {', '.join(found)}"
            )
        if value is not None:
            if value not in found:
                raise unknown(name, value, found, f"The scores table has these {name}s.")
            scores = scores[scores[name] == value]
    return scores


def _column(matrix: Matrix, code: str) -> Index:
    """Cells of the target."""
    return np.flatnonzero(matrix.ends()[1] == matrix.languages.index(code))


def _predicted(matrix: Matrix, cells: Index) -> tuple[Array, Array, Array]:
    """Mean and covariance over the target's cells, and what the top ranks' output adds to the
    order.

    A measured cell keeps its score. With none measured the order is that of ``xlt`` in
    `ranking.league`.
    """
    hidden = cells[np.isnan(matrix.score[cells])]
    mean, covariance = matrix.score[cells].copy(), np.zeros((len(cells), len(cells)))
    bonus = np.zeros(len(cells))
    if len(hidden):
        at, fold = np.isin(cells, hidden), Fold(hidden, hidden)
        own, spread = levels.posterior(matrix, fold, "warm")
        mean[at], covariance[np.ix_(at, at)] = np.clip(own, 0, 1), spread
        top = ranking.top_standing(matrix, fold, "warm")
        bonus[at] = ranking.TOP_WEIGHT * own.std() * top
    return mean, covariance, bonus


def _evidence(matrix: Matrix, cells: Index) -> tuple[float, str]:
    """Half width of the interval in deviations; how well held-out targets were predicted."""
    unmeasured = np.flatnonzero(np.isnan(matrix.score))
    parts = []
    for fold in folds(matrix, "cold"):
        if not len(np.intersect1d(fold.asked, cells)):
            hidden = np.union1d(fold.hidden, unmeasured)
            parts.append(levels.predicted(matrix, Fold(fold.asked, hidden), "cold"))
    measured = (
        f"{len(matrix.score) - len(unmeasured)} measured pairs, {len(matrix.sources)} sources"
    )
    if not parts:
        return levels.stretch(np.array([])), f"{measured}, no other target to check predictions on."
    past = pd.concat(parts, ignore_index=True)
    error = (past["score"] - past["predicted"]).abs()
    return levels.stretch((error / past["sd"]).to_numpy()), (
        f"{measured}, {past['target'].nunique()} other targets; with each of these held out the "
        f"prediction missed by {100 * error.mean():.1f} points on average."
    )


def _chosen(matrix: Matrix, cells: Index, mean: Array, covariance: Array, k: int) -> pd.DataFrame:
    """Greedy set of sources by the expected best score among them, over draws of the prediction."""
    draws = _draws(mean, covariance)
    have = np.full(len(draws), -np.inf)
    rows = []
    for step in range(1, k + 1):
        gain = np.maximum(draws, have[:, None]).mean(axis=0)
        pick = int(gain.argmax())
        have = np.maximum(have, draws[:, pick])
        source = matrix.sources[matrix.source[cells[pick]]]
        rows.append({"k": step, "source": source, "expected_best": float(have.mean())})
    return pd.DataFrame(rows)


def _draws(mean: Array, covariance: Array) -> Array:
    generator = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(covariance)
    noise = generator.standard_normal((DRAWS, len(mean)))
    return mean + noise @ (vectors * np.sqrt(np.clip(values, 0, None))).T


def _rows(
    matrix: Matrix, cells: Index, mean: Array, covariance: Array, half_width: float
) -> pd.DataFrame:
    wide = half_width * np.sqrt(np.diag(covariance))
    best = _draws(mean, covariance).argmax(axis=1)
    return pd.DataFrame(
        {
            "source": [matrix.sources[i] for i in matrix.source[cells]],
            "measured": ~np.isnan(matrix.score[cells]),
            "predicted": mean,
            "low": np.clip(mean - wide, 0, 1),
            "high": np.clip(mean + wide, 0, 1),
            "p_best": np.bincount(best, minlength=len(cells)) / DRAWS,
            "why": _reasons(matrix, cells),
        }
    )


def _reasons(matrix: Matrix, cells: Index) -> list[str]:
    """For each source, measures in which it is among the nearest tenth, and its record."""
    score = matrix.score - target_mean(matrix.score, matrix.target)[matrix.target]
    record = target_mean(score, matrix.source)
    why: list[list[str]] = [[] for _ in cells]
    for name in matrix.measures:
        value = matrix.likeness(name)[cells]
        if name == SIZE or not np.isfinite(value).any() or np.nanmax(value) == np.nanmin(value):
            continue
        bar = np.nanquantile(value, 0.9)
        if np.nanmean(value >= bar) > 0.5:  # most sources tie: that sets none of them apart
            continue
        for reasons, own in zip(why, value, strict=True):
            if own >= bar:
                near = f"near in {name.replace('_', ' ')} ({own:.2f})"
                reasons.append("same script" if name == "script" else near)
    for reasons, i in zip(why, matrix.source[cells], strict=True):
        own = record[i] if i < len(record) else np.nan
        if np.isfinite(own):
            standing = "above" if own >= 0 else "below"
            reasons.append(f"elsewhere {100 * abs(own):.1f} points {standing} the average source")
    return ["; ".join(reasons) or "nothing measured speaks for it" for reasons in why]
