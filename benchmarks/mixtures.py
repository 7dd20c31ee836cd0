"""Scores to expect of models fine-tuned on several languages at once (SumEval's task).

`benchmarks/ranking.py` compares them with what was measured.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve

from xltlib.rank import gp
from xltlib.rank.gp import Array, Index
from xltlib.rank.levels import ease
from xltlib.rank.matrix import measures_of, target_mean

_NOISE = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def mixtures(train: pd.DataFrame, asked: pd.DataFrame, pairs: pd.DataFrame) -> Array:
    """Scores to expect of models fine-tuned on several languages at once.

    For a target that `train` scores, a process over its configurations learns what examples of its
    own and of its relatives add (`kernel`). A new target gets the zero-shot level of
    similar targets, and what its relatives' examples added for the others.

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
    rows = pd.concat([train, asked], ignore_index=True)
    trained = [c.removeprefix("train_") for c in columns]
    at = pd.Index(sorted({*trained, *rows["target"]}))
    similarity = measures_of(pairs, list(at))
    code, languages = at.get_indexer(pd.Index(rows["target"])), at.get_indexer(pd.Index(trained))
    near = _nearness(similarity, languages)
    amount, own = np.log10(1 + rows[columns].to_numpy(float)), np.log10(1 + rows["n_target"])
    score = rows["score"].to_numpy(float, copy=True)
    score[len(train) :] = np.nan
    zero_shot = np.where(own == 0, score, np.nan)
    out = _new_targets(zero_shot, code, (amount * near[code]).sum(1), similarity, languages)
    for target in np.unique(code[: len(train)]):
        mine = np.flatnonzero(code == target)
        covariance = kernel(amount[mine], own.to_numpy()[mine], near[target])
        out[mine] = fill(covariance, score[mine])
    return np.clip(out[len(train) :], 0, 1)


def _nearness(similarity: dict[str, Array], trained: Index) -> Array:
    """(L, l) weight of each training language's examples for a language; a row sums to 1."""
    near = gp.kinship(similarity)[:, trained] ** 3
    near[trained, np.arange(len(trained))] = 0.0  # its own examples are counted apart
    return near / np.maximum(near.sum(axis=1, keepdims=True), 1e-12)


def _new_targets(
    score: Array, code: Index, help: Array, similarity: dict[str, Array], trained: Index
) -> Array:
    """(n,) score of every row as if its target were new: a level, and help from its relatives.

    `score` (n,) is zero-shot and known, or NaN; `help` (n,) the weighted examples of the others.
    """
    targets, t = np.unique(code, return_inverse=True)
    level, usual, known = target_mean(score, t), target_mean(help, t), ~np.isnan(score)
    x, y = (help - usual[t])[known], (score - level[t])[known]
    slope = x @ y / max(float(x @ x), 1e-12)
    new = np.flatnonzero(np.isnan(level))
    if len(new):
        apart = gp.dissimilarity(similarity)[np.ix_(targets, targets)]
        easy = ease(similarity, trained, targets, ~np.isnan(level))
        level[new] = gp.predict_level(apart, *easy, level, new)[0]
    return level[t] + slope * (help - usual[t])


def kernel(amount: Array, own: Array, near: Array) -> Array:
    """Prior covariance of one target's scores under c mixtures of training languages, (c, c).

    A free level; the target's own examples, smooth in their number with a step between none and
    any; the other languages' examples by similarity, along a line and smooth, and most of it only
    where there are none of its own.

    Parameters
    ----------
    amount : (c, L) log10(1 + examples) of the training languages.
    own : (c,) the same of the target itself.
    near : (L,) weights of the others, which sum to 1.
    """
    zero, x = own == 0, amount - amount.mean(axis=0)
    step, none = zero[:, None] == zero, np.outer(zero, zero)
    inner = (x * near) @ x.T
    apart = np.diag(inner)[:, None] + np.diag(inner) - 2 * inner
    centred = own - own.mean()
    mine = _radial((own[:, None] - own) ** 2) + 0.3 * np.outer(centred, centred) + step
    others = (0.03 + 0.3 * none) * inner + (0.1 + none) * _radial(apart)
    return 10.0 + mine + others


def fill(covariance: Array, value: Array) -> Array:
    """Mean of all cells given those known (not NaN), with the noise of the highest evidence."""
    seen = np.flatnonzero(~np.isnan(value))
    centre, unit = value[seen].mean(), value[seen].std() or 1.0
    z, best, weight = (value[seen] - centre) / unit, -np.inf, np.zeros(len(seen))
    for noise in _NOISE:
        factor = cho_factor(covariance[np.ix_(seen, seen)] + noise * np.eye(len(seen)))
        solved = cho_solve(factor, z)
        log_det = 2 * np.log(np.diag(factor[0])).sum()
        evidence = -0.5 * (len(z) * np.log(z @ solved / len(z)) + log_det)
        if evidence > best:
            best, weight = evidence, solved
    return np.asarray(centre + unit * covariance[:, seen] @ weight)


def _radial(squared: Array) -> Array:
    return np.exp(-squared / 2)
