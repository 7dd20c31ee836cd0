"""The score to expect: absolute scores of targets never measured, with calibrated intervals.

`xltlib.rank.gp` orders the sources of a target but leaves the target's own level free. Here the
level comes from a second, small process over targets, and the width of an interval from the errors
made on the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from xltlib.rank import gp
from xltlib.rank.gp import Array, Index
from xltlib.rank.matrix import SIZE, Fold, Matrix, Protocol, folds, standardised, target_mean
from xltlib.rank.methods import POWER, given_the_rest, held_out, ratio_interval


def predict(matrix: Matrix, protocol: Protocol = "cold") -> pd.DataFrame:
    """Predicted score of every cell with its target language held out, with a calibrated interval.

    Returns
    -------
    DataFrame
        ``source, target, language, score, predicted, low, high``: a 90 % interval, its width scaled
        so that it would have covered 90 % of the cells of the *other* target languages.
    """
    held_out = list(folds(matrix, protocol))
    found = [posterior(matrix, fold, protocol) for fold in held_out]
    cells = np.concatenate([fold.asked for fold in held_out])
    mean = np.clip(np.concatenate([mean for mean, _ in found]), 0, 1)
    sd = np.sqrt(np.concatenate([np.diag(covariance) for _, covariance in found]))
    score, language = matrix.score[cells], matrix.ends()[1][cells]
    miss, count = np.abs(score - mean) / sd, len(np.unique(language))
    for own in np.unique(language):
        sd[language == own] *= stretch(miss[language != own], count - 1)
    return pd.DataFrame(
        {
            "source": np.array(matrix.sources)[matrix.source[cells]],
            "target": np.array(matrix.targets)[matrix.target[cells]],
            "language": np.array(matrix.languages)[language],
            "score": score,
            "predicted": mean,
            "low": np.clip(mean - sd, 0, 1),
            "high": np.clip(mean + sd, 0, 1),
        }
    )


def stretch(miss: Array, n: int) -> float:
    """Half width of the 90 % interval in deviations: about the 90th percentile of past misses.

    Those of few languages know little of the next one's, whose misses go together: a little more,
    90 (1 + 1 / 2n) per cent for n of them. Conformal prediction with languages as its units would
    add twice as much, with independent cells nothing (Vovk et al. 2005, Algorithmic Learning in a
    Random World).
    """
    known = miss[np.isfinite(miss)]
    share = min(1.0, 0.9 * (1 + 0.5 / max(n, 1)))
    return float(np.quantile(known, share)) if len(known) > 20 else 1.645


def posterior(
    matrix: Matrix,
    fold: Fold,
    protocol: Protocol,
    power: float = POWER,
    given: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Mean and covariance of the asked cells' scores.

    The process leaves a hidden target's level free, so its cells are centred and the level comes
    from `gp.predict_level`. A target with measured cells of its own keeps the level they give.
    With ``power`` 0 one unit serves all targets (`matrix.standardised`): a source unlike all those
    measured may then be better than they let expect. ``given`` is what `methods.given_the_rest`
    says of the asked cells, where that is known already.
    """
    z, divisor = standardised(matrix, fold, power)
    if given is not None:
        z, covariance = given
    elif power == POWER:
        (z, _), covariance = (x.T for x in held_out(matrix, fold, protocol))
    else:
        z, covariance = given_the_rest(matrix, fold, protocol, z)
    target = matrix.target[fold.asked]
    unit = divisor[target]
    mean, covariance = z * unit, covariance * np.outer(unit, unit)
    score = fold.visible(matrix)
    measured = target_mean(score, matrix.target)[target]
    if not np.isnan(measured).any():
        return mean + measured, covariance
    level, quality = two_way(matrix, score)
    asked_targets, at = np.unique(target, return_inverse=True)
    spoken, key = matrix.target_language, ("ease", b"")
    if key not in matrix.conditioned:  # the same for every fold
        seen = np.isin(np.arange(len(spoken)), matrix.target[~np.isnan(matrix.score)])
        easy = ease(matrix.measures, np.unique(matrix.source_language), spoken, seen)
        matrix.conditioned[key] = easy
    apart = matrix.apart[np.ix_(spoken, spoken)]
    height, doubt = gp.predict_level(apart, *matrix.conditioned[key], level, asked_targets)
    centre, same = centring(target), target[:, None] == target
    offset = quality[matrix.source[fold.asked]]
    mean = centre @ mean + height[at] + (offset - centre @ offset)
    return mean, centre @ covariance @ centre.T + same * doubt[at]


def centring(target: Index) -> Array:
    """(n, n) matrix that takes the mean over its target out of each of n values."""
    same = target[:, None] == target
    return np.eye(len(target)) - same / same.sum(1)


def two_way(matrix: Matrix, score: Array) -> tuple[Array, Array]:
    """Additive target levels (T,) and source qualities (S,) of the visible cells."""
    seen = np.flatnonzero(~np.isnan(score))
    s, t, y = matrix.source[seen], matrix.target[seen], score[seen]
    level, quality = np.zeros(len(matrix.targets)), np.zeros(len(matrix.sources))
    in_row, in_column = np.bincount(s, minlength=len(quality)), np.bincount(t, minlength=len(level))
    for _ in range(20):
        level = np.bincount(t, y - quality[s], len(level)) / np.maximum(in_column, 1)
        quality = np.bincount(s, y - level[t], len(quality)) / np.maximum(in_row, 1)
        quality -= quality[in_row > 0].mean()
    return np.where(in_column > 0, level, np.nan), quality


# What makes a target easy, with the slope to expect of each (standard deviations of the level a
# standard deviation) before any level is seen: half their mean ridge coefficients on sixteen
# published matrices. Each time one of them had no part in it, its R2 of the level rose by .03 in
# the mean; matrices of few targets gain most (`benchmarks/levels.py` computes both).
EASE = {
    "kin": 0.09,  # relatives among the sources
    "script": 0.0,
    "genealogy": 0.0,
    "word_order": 0.07,
    "spacing": 0.02,
    "text": 0.13,  # of its own in pre-training
    "any_text": 0.04,
    "relatives_text": 0.10,
}
# of these measures: how they are summed up over the sources
_OVER_SOURCES: dict[str, Callable[..., Array]] = {
    "script": np.nanmean,
    "genealogy": np.nanmax,
    "word_order": np.nanmean,
    "spacing": np.nanmean,
}


def ease(
    measures: dict[str, Array], s: Index, t: Index, seen: np.ndarray
) -> tuple[pd.DataFrame, Array]:
    """What makes targets easy: relatives, script and grammar among the sources; text.

    Word order, spacing, any text at all and relatives' text were chosen on sixteen published
    matrices; each time one of them had no part in the choice, its R2 of the level rose by .03 in
    the mean (.02 in the median).

    Parameters
    ----------
    measures : (L, L) similarity by name.
    s, t : languages of the sources and of the targets.
    seen : (T,) which targets have a score: they give the unit and, with the sources, the relatives
        whose text counts, so that a target asked about changes nothing for the others. It is at
        most five units away, also where they are all alike.

    Returns
    -------
    (T, k) table, standardised, and the slope of each column, of `EASE`.
    """
    other = np.where(s[:, None] == t[None, :], np.nan, 1.0)
    apart = gp.dissimilarity(measures)
    found = {"kin": np.log(np.nansum(np.exp(-2 * apart)[np.ix_(s, t)] * other, axis=0) + 0.05)}
    for name, summary in _OVER_SOURCES.items():
        if name in measures:
            block = measures[name][np.ix_(s, t)] * other
            known = np.isfinite(block).any(axis=0)
            found[name] = np.zeros(len(t))  # where nothing is known
            found[name][known] = summary(block[:, known], axis=0)
    if (
        SIZE in measures
    ):  # log10 of the tokens; the least is that of languages of which none is known
        size, kin = np.diag(measures[SIZE]), np.exp(-4 * apart)
        np.fill_diagonal(kin, 0.0)
        found["text"] = size[t]
        found["any_text"] = (size[t] > size.min() + 0.5).astype(float)
        known = np.union1d(s, t[seen])
        found["relatives_text"] = np.log10(1 + 10 ** size[known] @ kin[np.ix_(known, t)])
    x = np.column_stack(list(found.values()))
    x = (x - x[seen].mean(0)) / np.maximum(x[seen].std(0), 1e-9)
    x[~seen] = np.clip(x[~seen], -5, 5)
    table = pd.DataFrame(x, columns=list(found))
    return table, np.array([EASE[name] for name in found])


def accuracy(table: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """How good a table of `predict` is; intervals by bootstrap over target languages."""
    error, language = table["score"] - table["predicted"], table["language"]
    apart = (table["score"] - table["score"].mean()) ** 2
    left = ratio_interval(error**2, apart, language, seed)  # of the variance
    miss = ratio_interval(error.abs(), error.notna(), language, seed)
    inner = error - error.groupby(table["target"]).transform("mean")
    return {
        "n_targets": table["target"].nunique(),
        "r2_loto": 1 - (error**2).sum() / apart.sum(),
        "r2_loto_low": 1 - left[1],
        "r2_loto_high": 1 - left[0],
        "r2_known_level": 1 - (inner**2).sum() / apart.sum(),
        "mae_loto": error.abs().mean(),
        "mae_loto_low": miss[0],
        "mae_loto_high": miss[1],
        "coverage90": table["score"].between(table["low"], table["high"]).mean(),
        "width90": (table["high"] - table["low"]).mean(),
    }
