"""The score to expect: absolute scores of targets never measured, with calibrated intervals.

`xltlib.rank.gp` orders the sources of a target but leaves the target's own level free. Here the level
comes from a second, small process over targets, and the width of an interval from the errors made
on the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from xltlib.rank import gp
from xltlib.rank.matrix import (
    SIZE,
    Array,
    Fold,
    Index,
    Matrix,
    Protocol,
    folds,
    matrices,
    measures_of,
    standardised,
    target_mean,
)
from xltlib.rank.methods import POWER, given_the_rest


def predict(matrix: Matrix, protocol: Protocol = "cold") -> pd.DataFrame:
    """Predicted score of every cell with its target language held out, with a calibrated interval.

    Returns
    -------
    DataFrame
        ``source, target, language, score, predicted, low, high``: a 90 % interval, its width scaled
        so that it would have covered 90 % of the cells of the *other* target languages.
    """
    parts = [predicted(matrix, fold, protocol) for fold in folds(matrix, protocol)]
    table = pd.concat(parts, ignore_index=True)
    miss = ((table["score"] - table["predicted"]).abs() / table["sd"]).to_numpy()
    for language, rows in table.groupby("language").indices.items():
        others = (table["language"] != language).to_numpy()
        table.loc[rows, "sd"] *= stretch(miss[others], table["language"].nunique() - 1)
    table["low"] = (table["predicted"] - table["sd"]).clip(0, 1)
    table["high"] = (table["predicted"] + table["sd"]).clip(0, 1)
    return table.drop(columns="sd")


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


def predicted(matrix: Matrix, fold: Fold, protocol: Protocol) -> pd.DataFrame:
    """Level of the hidden targets plus standing of their sources, with a standard deviation."""
    mean, covariance = posterior(matrix, fold, protocol)
    target = matrix.target[fold.asked]
    return pd.DataFrame(
        {
            "source": np.array(matrix.sources)[matrix.source[fold.asked]],
            "target": np.array(matrix.targets)[target],
            "language": np.array(matrix.languages)[matrix.target_language[target]],
            "score": matrix.score[fold.asked],
            "predicted": np.clip(mean, 0, 1),
            "sd": np.sqrt(np.diag(covariance)),
        }
    )


def posterior(
    matrix: Matrix, fold: Fold, protocol: Protocol, power: float = POWER
) -> tuple[Array, Array]:
    """Mean and covariance of the asked cells' scores.

    The process leaves a hidden target's level free, so its cells are centred and the level comes
    from `gp.predict_level`. A target with measured cells of its own keeps the level they give.
    With ``power`` 0 one unit serves all targets (`matrix.standardised`): a source unlike all those
    measured may then be better than they let expect.
    """
    z, divisor = standardised(matrix, fold, power)
    z, covariance = given_the_rest(matrix, fold, protocol, z)
    target = matrix.target[fold.asked]
    unit = divisor[target]
    mean, covariance = z * unit, covariance * np.outer(unit, unit)
    score = matrix.score.copy()
    score[fold.hidden] = np.nan
    measured = target_mean(score, matrix.target)
    measured = np.append(measured, np.full(len(matrix.targets) - len(measured), np.nan))
    if not np.isnan(measured[target]).any():
        return mean + measured[target], covariance
    level, quality = _two_way(matrix, score)
    asked_targets = np.unique(target)
    spoken = matrix.target_language
    easy, slope = _difficulty(matrix.measures, np.unique(matrix.source_language), spoken)
    apart = gp.dissimilarity(matrix.measures)[np.ix_(spoken, spoken)]
    height, doubt = gp.predict_level(apart, easy, level, asked_targets, slope)
    same = target[:, None] == target
    centre = np.eye(len(target)) - same / same.sum(1)
    at = np.searchsorted(asked_targets, target)
    offset = quality[matrix.source[fold.asked]]
    mean = centre @ mean + height[at] + (offset - centre @ offset)
    return mean, centre @ covariance @ centre.T + same * doubt[at]


def _two_way(matrix: Matrix, score: Array) -> tuple[Array, Array]:
    """Additive target levels (T,) and source qualities (S,) of the visible cells."""
    seen = np.flatnonzero(~np.isnan(score))
    s, t, y = matrix.source[seen], matrix.target[seen], score[seen]
    level, quality = np.zeros(len(matrix.targets)), np.zeros(len(matrix.sources))
    in_row, in_column = (
        np.bincount(i, minlength=len(a)) for i, a in ((s, quality), (t, level))
    )  # fmt: skip
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
# summary of a measure over the sources
HELPS: dict[str, Callable[..., Array]] = {
    "script": np.nanmean,
    "genealogy": np.nanmax,
    "word_order": np.nanmean,
    "spacing": np.nanmean,
}


def _difficulty(measures: dict[str, Array], s: Index, t: Index) -> tuple[Array, Array]:
    """(T, k) what makes a target easy: kin, script, grammar among the sources; text. Standardised.

    With the slopes of `EASE`, (k,). Word order, spacing, any text at all and relatives' text were
    chosen on sixteen published matrices; each time one of them had no part in the choice, its R2
    of the level rose by .03 in the mean (.02 in the median).
    """
    other = np.where(s[:, None] == t[None, :], np.nan, 1.0)
    apart = gp.dissimilarity(measures)
    found = {"kin": np.log(np.nansum(np.exp(-2 * apart)[np.ix_(s, t)] * other, axis=0) + 0.05)}
    found |= {m: _filled(measures[m], s, t, other, f) for m, f in HELPS.items() if m in measures}
    if SIZE in measures:
        found |= _text(np.diag(measures[SIZE]), np.exp(-4 * apart), t)
    x = np.column_stack(list(found.values()))
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-9), np.array([EASE[name] for name in found])


def _text(size: Array, kin: Array, t: Index) -> dict[str, Array]:
    """Pre-training text of the targets: how much, any at all, and how much of their relatives.

    `size` is log10 of the tokens; the least is that of languages of which none is known.
    """
    others = np.where(np.eye(len(size), dtype=bool), 0.0, kin)[:, t]
    return {
        "text": size[t],
        "any_text": (size[t] > size.min() + 0.5).astype(float),
        "relatives_text": np.log10(1 + 10**size @ others),
    }


def _filled(value: Array, s: Index, t: Index, other: Array, summary: Callable[..., Array]) -> Array:
    """A summary over the sources, 0 where nothing is known."""
    block = value[np.ix_(s, t)] * other
    known = np.isfinite(block).any(axis=0)
    out = np.zeros(len(t))
    out[known] = summary(block[:, known], axis=0)
    return out


def levels(scores: pd.DataFrame, pairs: pd.DataFrame, protocol: Protocol = "cold") -> pd.DataFrame:
    """How well absolute scores of unseen targets are predicted.

    Returns
    -------
    DataFrame
        One row per model, task and metric: ``r2_loto`` and ``mae_loto`` over cells with their
        target language held out, ``r2_known_level`` had the level been known, ``coverage90`` and
        ``width90``; ``_low`` and ``_high`` are ends of a 95 % interval (`accuracy`).
    """
    rows = []
    for labels, matrix in matrices(scores, pairs):
        table = predict(matrix, protocol)
        rows.append(labels | {"protocol": protocol} | accuracy(table))
    return pd.DataFrame(rows)


def accuracy(table: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """Figures of merit of a table of `predict`; intervals by bootstrap over target languages."""
    error = table["score"] - table["predicted"]
    apart = (table["score"] - table["score"].mean()) ** 2
    total = apart.sum()
    sums = pd.DataFrame({"apart": apart, "square": error**2, "miss": error.abs(), "n": 1.0})
    sums = sums.groupby(table["language"]).sum()
    draw = np.random.default_rng(seed).multinomial(len(sums), [1 / len(sums)] * len(sums), 2_000)
    drawn = dict(zip(sums, (draw @ sums.to_numpy()).T, strict=True))
    r2 = np.percentile(1 - drawn["square"] / np.maximum(drawn["apart"], 1e-12), [2.5, 97.5])
    mae = np.percentile(drawn["miss"] / drawn["n"], [2.5, 97.5])
    inner = error - error.groupby(table["target"]).transform("mean")
    covered = table["score"].between(table["low"], table["high"])
    return {
        "n_targets": table["target"].nunique(),
        "r2_loto": 1 - (error**2).sum() / total,
        "r2_loto_low": r2[0],
        "r2_loto_high": r2[1],
        "r2_known_level": 1 - (inner**2).sum() / total,
        "mae_loto": error.abs().mean(),
        "mae_loto_low": mae[0],
        "mae_loto_high": mae[1],
        "coverage90": covered.mean(),
        "width90": (table["high"] - table["low"]).mean(),
    }


# --- models trained on several languages at once --------------------------------------------------


def mixtures(train: pd.DataFrame, asked: pd.DataFrame, pairs: pd.DataFrame) -> Array:
    """Scores to expect of models fine-tuned on several languages at once.

    For a target that `train` scores, a process over its configurations learns what examples of its
    own and of its relatives are worth (`gp.mixture_kernel`). A new target gets the zero-shot level
    of targets like it, and what its relatives' examples were worth to the others.

    Parameters
    ----------
    train, asked : DataFrame
        As from `published.mixtures`: ``config, target, n_target, score`` (not read in `asked`) and
        ``train_<language>``, the numbers of examples.
    pairs : DataFrame
        The pairs table of all their languages.

    Returns
    -------
    (n,) array
        Score of every row of `asked`.
    """
    columns = [str(c) for c in train if str(c).startswith("train_")]
    trained = [c.removeprefix("train_") for c in columns]
    codes = sorted({*trained, *train["target"], *asked["target"]})
    similarity, at = measures_of(pairs, codes), pd.Index(codes)
    near = _nearness(similarity, at.get_indexer(pd.Index(trained)))
    rows = pd.concat([train, asked], ignore_index=True)
    code = at.get_indexer(rows["target"])
    amount, own = np.log10(1 + rows[columns].to_numpy(float)), np.log10(1 + rows["n_target"])
    score = rows["score"].to_numpy(float, copy=True)
    score[len(train) :] = np.nan
    out = _new_targets(score, code, own == 0, (amount * near[code]).sum(1), similarity, trained, at)
    for target in np.unique(code[: len(train)]):
        mine = np.flatnonzero(code == target)
        kernel = gp.mixture_kernel(amount[mine], own.to_numpy()[mine], near[target])
        out[mine] = gp.fill(kernel, score[mine])
    return np.clip(out[len(train) :], 0, 1)


def _nearness(similarity: dict[str, Array], trained: Index) -> Array:
    """(L, l) share of each training language in what others' examples are worth to a language."""
    near = gp.kinship(similarity)[:, trained] ** 3
    near[trained, np.arange(len(trained))] = 0.0  # its own examples are counted apart
    return near / np.maximum(near.sum(axis=1, keepdims=True), 1e-12)


def _new_targets(
    score: Array, code: Index, zero: Array, help: Array,
    similarity: dict[str, Array], trained: list[str], at: pd.Index,
) -> Array:  # fmt: skip
    """(n,) score of every row as if its target were new: a level, and help from its relatives."""
    known = ~np.isnan(score) & zero
    targets, t = np.unique(code, return_inverse=True)
    level, usual = target_mean(np.where(known, score, np.nan), t), target_mean(help, t)
    x, y = (help - usual[t])[known], (score - level[t])[known]
    worth = x @ y / max(x @ x, 1e-12)
    new = np.flatnonzero(np.isnan(level))
    if len(new):
        apart = gp.dissimilarity(similarity)[np.ix_(targets, targets)]
        easy, slope = _difficulty(similarity, at.get_indexer(pd.Index(trained)), targets)
        level[new] = gp.predict_level(apart, easy, level, new, slope)[0]
    return level[t] + worth * (help - usual[t])
