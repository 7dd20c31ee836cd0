"""Which source language to take for a target: rules, what each costs, and a set of sources.

A *method* rates every source for a held-out target from the rest of a matrix of scores and the
pairs table; `choices` says what each choice loses, `best_set` chooses several sources at once.
Scores to expect are in `xltlib.rank.levels`, the answer for one target in `xltlib.rank.recommend`.

Protocols, never mixed: **cold** hides the target language as target and as source (a new language);
**warm** hides it as target only, so what its own model did on other languages may be used. All
treebanks of a language are hidden together, and pairs within one language never count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from xltlib.errors import unknown
from xltlib.rank import gp
from xltlib.rank.gp import Array, Index
from xltlib.rank.matrix import Fold, Matrix, Protocol, features_of, folds, standardised, target_mean

_TOP_WEIGHT = 0.15  # share of the second output, 1 / rank, in the ranking of `gp`
POWER = 0.75  # between one unit for all targets (0) and each target's own (1)
METRICS = ("loss_pct", "ndcg3", "spearman")
_DRAWS = 2_000
_TREES = {
    "objective": "lambdarank",
    "num_leaves": 8,
    "learning_rate": 0.08,
    "min_data_in_leaf": 10,
    "lambdarank_truncation_level": 10,
    "feature_fraction": 0.7,
    "label_gain": [2**i - 1 for i in range(11)],
    "seed": 1,
    "deterministic": True,
    "num_threads": 1,
    "verbose": -1,
}

# --- methods: (matrix, fold, protocol) -> rating of each asked cell, NaN = cannot say -------------

_Method = Callable[[Matrix, Fold, Protocol], Array]


def _random(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """All sources tied: the metrics give ties their exact expectation."""
    return np.zeros(len(fold.asked))


def _english(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """English above all others; nothing for a target without English among its sources."""
    english = np.array(matrix.languages)[matrix.ends()[0][fold.asked]] == "eng"
    target = matrix.target[fold.asked]
    return np.where(np.isin(target, target[english]), english.astype(float), np.nan)


def _best_mean(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """The highest mean centred score on the other targets: no linguistics at all."""
    return _source_mean(matrix, fold, 0.0)[fold.asked]


def _nearest(measure: str, matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """The most similar source by one measure; an unknown similarity ranks last."""
    value = matrix.similarity(measure)[fold.asked]
    return np.nan_to_num(value, nan=float(np.nanmin(value, initial=0.0)) - 1.0)


def _rank_fusion(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Mean rank over all measures of the pairs table."""
    target = matrix.target[fold.asked]
    value = {name: _nearest(name, matrix, fold, protocol) for name in matrix.measures}
    return pd.DataFrame(value).groupby(target).rank().mean(axis=1).to_numpy()


def _ridge(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Ridge regression of the standardised score on source effects and similarity."""
    z, _ = standardised(matrix, fold, POWER)
    cells, seen = matrix.cells, _seen(matrix, fold)
    x = np.hstack([np.eye(len(matrix.sources))[matrix.source], cells.features, cells.data])
    gram = x[seen].T @ x[seen] + np.eye(x.shape[1])
    return x[fold.asked] @ np.linalg.solve(gram, x[seen].T @ z[seen])


def _lambdamart(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Boosted trees on LangRank's objective, grouped by target (Lin et al. 2019; needs lightgbm).

    Features: every measure and data property, raw and centred within target, and the source's mean
    centred score on the other targets (leaving the row's own target out).
    """
    import lightgbm

    cells, seen = matrix.cells, _seen(matrix, fold)
    if not len(seen):  # nothing to learn from: two languages, one of them hidden
        return np.full(len(fold.asked), np.nan)
    seen = seen[np.argsort(matrix.target[seen], kind="stable")]
    raw = [matrix.similarity(m) for m in matrix.measures] + list(matrix.data.T)
    mean = _source_mean(matrix, fold, POWER)
    x = np.column_stack([*raw, cells.features, cells.data, mean])
    rank = pd.Series(matrix.score[seen]).groupby(matrix.target[seen]).rank(ascending=False)
    relevance = np.maximum(11 - np.ceil(rank.to_numpy()), 0).astype(int)
    group = np.unique(matrix.target[seen], return_counts=True)[1]
    trees = lightgbm.train(dict(_TREES), lightgbm.Dataset(x[seen], relevance, group=group), 100)
    return np.asarray(trees.predict(x[fold.asked]))


def _seen(matrix: Matrix, fold: Fold) -> Index:
    """Measured cells that the fold does not hide."""
    return np.flatnonzero(~np.isnan(fold.visible(matrix)))


def _source_mean(matrix: Matrix, fold: Fold, power: float) -> Array:
    """(n,) mean centred score of the cell's source over the other visible cells, 0 without any."""
    centred, _ = standardised(matrix, fold, power)
    seen = np.zeros(len(centred))
    seen[_seen(matrix, fold)] = 1.0
    total, count = (np.bincount(matrix.source, v) for v in (centred * seen, seen))
    rest = count[matrix.source] - seen
    return (total[matrix.source] - centred * seen) / np.maximum(rest, 1)


def gaussian_process(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Ours: the process of `xltlib.rank.gp`, with some of a second output for the top ranks."""
    mean, _ = held_out(matrix, fold, protocol)
    centred, spread = _centred(matrix, fold, mean)
    return centred / spread @ np.array([1.0, _TOP_WEIGHT])


def reasons(matrix: Matrix, fold: Fold, protocol: Protocol) -> pd.DataFrame:
    """What each effect and each measure adds to the rating of `gaussian_process`, (b, effects).

    The mean of a Gaussian process is linear in its covariance, so that of a sum of effects is a
    sum, and the columns add up to the rating.
    """
    left = _outputs(matrix, fold)
    left -= matrix.cells.expected()[:, None]
    term, precision = _term(matrix, fold, protocol), matrix.precision
    left[fold.hidden] = gp.leave_out(precision, left, fold.hidden, term)[0]
    weight = precision @ left
    image = precision @ term
    weight -= np.outer(image, image @ left / (1 + term @ image))
    found = gp.effects(matrix.cells, fold.asked, weight)
    found[gp.RECORD] = found[gp.RECORD] + np.outer(term[fold.asked], term @ weight)
    _, spread = _centred(matrix, fold, np.sum(list(found.values()), axis=0))
    each = {name: _centred(matrix, fold, part)[0] / spread for name, part in found.items()}
    return pd.DataFrame({name: part @ [1.0, _TOP_WEIGHT] for name, part in each.items()})


def _outputs(matrix: Matrix, fold: Fold) -> Array:
    """(n, 2) standardised score and `_top_gain`."""
    return np.column_stack([standardised(matrix, fold, POWER)[0], _top_gain(matrix, fold)])


def _top_gain(matrix: Matrix, fold: Fold) -> Array:
    """1 / rank within target, centred, unit variance; hidden cells are 0."""
    score = fold.visible(matrix)
    gain = 1 / ranks(-score, matrix.target)
    gain = np.nan_to_num(gain - target_mean(gain, matrix.target)[matrix.target])
    return gain / max(float(np.std(gain[~np.isnan(score)])), 1e-12)


def _centred(matrix: Matrix, fold: Fold, mean: Array) -> tuple[Array, Array]:
    """Values of the asked cells (b, outputs) less their mean within target, and their spread."""
    at = matrix.target[fold.asked]
    centred = mean - np.column_stack([target_mean(m, at)[at] for m in mean.T])
    spread = np.sqrt(np.column_stack([target_mean(m * m, at)[at] for m in centred.T]))
    return centred, np.maximum(spread, 1e-12)


def given_the_rest(
    matrix: Matrix, fold: Fold, protocol: Protocol, value: Array
) -> tuple[Array, Array]:
    """Mean and covariance of the asked cells given all visible ones.

    Before any score is seen, a more similar source is expected to be better (`gp.SLOPE`).
    """
    prior = matrix.cells.expected()
    prior = prior if value.ndim == 1 else prior[:, None]
    term, image = fold.term or (_term(matrix, fold, protocol), None)
    mean, covariance = gp.leave_out(matrix.precision, value - prior, fold.hidden, term, image)
    asked = np.isin(fold.hidden, fold.asked)
    return mean[asked] + prior[fold.asked], covariance[np.ix_(asked, asked)]


def held_out(matrix: Matrix, fold: Fold, protocol: Protocol) -> tuple[Array, Array]:
    """`given_the_rest` of the standardised score and of 1 / rank (b, 2), kept by the matrix."""
    key = protocol, fold.asked.tobytes() + fold.hidden.tobytes()
    if key not in matrix.conditioned:
        matrix.conditioned[key] = given_the_rest(matrix, fold, protocol, _outputs(matrix, fold))
    return matrix.conditioned[key]


def with_terms(matrix: Matrix, held: list[Fold], protocol: Protocol) -> list[Fold]:
    """Folds with their linear effects, all multiplied at once."""
    terms = [_term(matrix, fold, protocol) for fold in held]
    images = (matrix.precision @ np.array(terms, matrix.precision.dtype).T).astype(float).T
    each = zip(held, terms, images, strict=True)
    return [replace(fold, term=(term, image)) for fold, term, image in each]


def _term(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """(n,) the linear effect of the warm protocol alone: `_records`."""
    if protocol != "warm":
        return np.zeros(len(matrix.score))
    return np.sqrt(gp.PRESET.record) * _records(matrix, fold)


def _records(matrix: Matrix, fold: Fold) -> Array:
    """(n,) correlation over visible targets of what the pair's two languages do as sources.

    Shrunk by n / (n + 5) for n shared targets; centred, one unit. A language that is no source, as
    any held-out one in the cold protocol, has no record and counts as the mean.
    """
    z, _ = standardised(matrix, fold, POWER)
    seen, (s, t) = _seen(matrix, fold), matrix.ends()
    record = np.full((len(matrix.languages), len(matrix.targets)), np.nan)
    record[s[seen], matrix.target[seen]] = z[seen]
    known = ~np.isnan(record)
    mean = np.where(known, record, 0).sum(1) / np.maximum(known.sum(1), 1)
    record = np.where(known, record - mean[:, None], 0.0)
    shared = known.astype(float) @ known.T
    square = (record**2) @ known.T
    similar = record @ record.T / np.sqrt(np.maximum(square * square.T, 1e-12))
    similar = np.where(shared >= 4, similar * shared / (shared + 5), np.nan)
    column = features_of([similar[s, t]], matrix.target, ~np.isnan(matrix.score))
    return column[:, 0] if column.shape[1] else np.zeros(len(z))


METHODS: dict[str, _Method] = {
    "gp": gaussian_process,
    "best_mean": _best_mean,
    "english": _english,
    "random": _random,
    "rank_fusion": _rank_fusion,
    "ridge": _ridge,
    "lambdamart": _lambdamart,
}


def available(matrix: Matrix, names: Iterable[str] | None = None) -> dict[str, _Method]:
    """The methods to compare: those named, or all that can run here (LambdaMART needs lightgbm)."""
    known = METHODS | {f"nearest_{m}": partial(_nearest, m) for m in matrix.measures}
    if names is None:
        names = [n for n in known if n != "lambdamart" or find_spec("lightgbm")]
    chosen = list(names)
    for name in chosen:
        if name not in known:
            raise unknown("method", name, known, "nearest_* needs its measure in the pairs table.")
    if "lambdamart" in chosen and not find_spec("lightgbm"):
        raise ValueError("method 'lambdamart' needs lightgbm: pip install 'xltlib[rank]'")
    return {name: known[name] for name in chosen}


# --- what a choice costs --------------------------------------------------------------------------


def _expected(value: Array, rating: Array) -> Array:
    """Values in the order of the rating, best first; tied places each get the mean of the tie."""
    _, tie = np.unique(-rating, return_inverse=True)
    return (np.bincount(tie, value) / np.bincount(tie))[np.sort(tie)]


def loss_pct(score: Array, rating: Array) -> float:
    """(best - chosen) / best in per cent; the expectation where sources tie for first."""
    best = score.max()
    return float(100 * (best - _expected(score, rating)[0]) / best) if best > 0 else np.nan


def ndcg(score: Array, rating: Array, k: int = 3) -> float:
    """NDCG@k in per cent; gain 2^rel - 1, rel = 11 - rank for the ten best sources, else 0.

    The gain of LangRank (Lin et al. 2019); a linear gain reads about ten points higher.
    """
    place = np.argsort(np.argsort(-score, kind="stable"), kind="stable")
    gain = 2.0 ** np.maximum(10 - place, 0) - 1
    discount = 1 / np.log2(np.arange(2, 2 + min(k, len(score))))
    ideal = np.sort(gain)[::-1][: len(discount)] @ discount
    return float(100 * (_expected(gain, rating)[: len(discount)] @ discount) / ideal)


def spearman(score: Array, rating: Array) -> float:
    """Rank correlation of the whole order; 0 for a constant rating, NaN for constant scores."""
    if np.ptp(score) == 0:
        return np.nan
    if np.ptp(rating) == 0:
        return 0.0
    group = np.zeros(len(score), dtype=np.intp)
    return float(np.corrcoef(ranks(score, group), ranks(rating, group))[0, 1])


def ranks(value: Array, group: Index) -> Array:
    """Ranks from 1 within groups, ties sharing their mean, NaN for NaN (as pandas, but sooner)."""
    order = np.lexsort((value, group))
    order = order[~np.isnan(value[order])]
    of, own = group[order], value[order]
    place = np.arange(1, len(order) + 1) - np.searchsorted(of, of)
    new = np.ones(len(order), dtype=bool)
    new[1:] = (of[1:] != of[:-1]) | (own[1:] != own[:-1])
    tie = np.cumsum(new) - 1
    out = np.full(len(value), np.nan)
    out[order] = (np.bincount(tie, place) / np.bincount(tie))[tie]
    return out


def choices(
    matrix: Matrix, protocol: Protocol = "cold", names: Iterable[str] | None = None
) -> pd.DataFrame:
    """Every method's choice for every held-out target of a matrix.

    Returns
    -------
    DataFrame
        ``method, target, language, chosen, best, n_sources, loss_pct, ndcg3, spearman``. A method
        that cannot rate the sources of a target has no row for it.
    """
    compared, held = available(matrix, names), list(folds(matrix, protocol))
    if protocol == "warm" and "gp" in compared:
        held = with_terms(matrix, held, protocol)
    rows = [
        {"method": name} | row
        for name, method in compared.items()
        for fold in held
        for row in _judged(matrix, fold, method(matrix, fold, protocol))
    ]
    about = ["method", "target", "language", "chosen", "best", "n_sources"]
    return pd.DataFrame(rows, columns=[*about, *METRICS])


def _judged(matrix: Matrix, fold: Fold, rating: Array) -> Iterator[dict[str, object]]:
    """What a rating chooses for each target of a fold, and what that costs."""
    target = matrix.target[fold.asked]
    for t in np.unique(target):
        cells, own = fold.asked[target == t], rating[target == t]
        score, source = matrix.score[cells], matrix.source[cells]
        if len(score) < 2 or np.isnan(own).any():
            continue
        yield {
            "target": matrix.targets[t],
            "language": matrix.languages[matrix.target_language[t]],
            "chosen": matrix.sources[source[own.argmax()]],
            "best": matrix.sources[source[score.argmax()]],
            "n_sources": len(score),
            "loss_pct": loss_pct(score, own),
            "ndcg3": ndcg(score, own),
            "spearman": spearman(score, own),
        }


def summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """`choices` summed up: ``method, n_targets`` and each metric with its 95 % interval."""
    rows = []
    for name, own in table.groupby("method", sort=False):
        values = own[list(METRICS)]
        ends = ratio_interval(values, values.notna(), own["language"], seed)
        each = zip(METRICS, values.mean(), *ends, strict=True)
        rows.append((name, len(own), *(x for _, *found in each for x in found)))
    names = [f"{m}{end}" for m in METRICS for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["method", "n_targets", *names])


def lead(table: pd.DataFrame, rule: str, other: str) -> tuple[float, float, float]:
    """What a rule loses less than another on the same targets (`choices`), in per cent points.

    Mean over target languages with its 95 % interval (`contrast.student`): the treebanks of a
    language count once; NaN where the rules share no target.
    """
    from xltlib.explain.contrast import student  # here: it starts scipy.optimize

    wide = table.pivot(index=["language", "target"], columns="method", values="loss_pct")
    if not {rule, other} <= set(wide):
        return (np.nan,) * 3
    less = (wide[other] - wide[rule]).dropna()
    return student(less.groupby("language").mean().to_numpy())


def ratio_interval(above: Any, below: Any, group: Any, seed: int = 0) -> Array:
    """95 % interval of sums over sums, by bootstrap over groups of rows; a row for each end.

    Parameters
    ----------
    above, below : Series or DataFrame
        What is summed, column by column; of values and ``values.notna()`` the ratio is a mean.
    group : (n,) group of each row, such as its language: groups are drawn whole.
    """
    total, count = (x.groupby(group).sum().to_numpy(float) for x in (above, below))
    generator = np.random.default_rng(seed)
    weight = generator.multinomial(len(total), np.full(len(total), 1 / len(total)), _DRAWS)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all missing: so is the interval
        return np.nanpercentile((weight @ total) / (weight @ count), [2.5, 97.5], axis=0)


def best_set(scores: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """The k sources that together serve all measured targets best, chosen one after the other.

    Each step adds the source that raises the mean over targets of the best score within the set
    most; greedy choice is within 1 - 1/e of the optimum (Nemhauser et al. 1978). Every target
    counts with its best available source, so the measure is what is lost by training only k models.

    Returns
    -------
    DataFrame
        ``k, source, mean_best, loss_pct``, one row per step; fewer than k where no further source
        serves any target better.
    """
    table = scores[scores["source"] != scores["target"]]
    wide = table.pivot_table(index="source", columns="target", values="score", aggfunc="mean")
    if not 1 <= k <= len(wide):
        raise ValueError(f"k is {k}: choose between 1 and the {len(wide)} measured sources")
    score = wide.to_numpy()
    # A target never served by its own language: its worst score stands until a source covers it.
    have, ceiling = np.nanmin(score, axis=0), np.nanmax(score, axis=0)
    rows: list[tuple[int, str, float, float]] = []
    for step in range(1, k + 1):
        mean = np.fmax(score, have).mean(axis=1)
        pick = int(mean.argmax())
        if rows and not mean[pick] > have.mean() + 1e-12:
            break
        have = np.fmax(score[pick], have)
        loss = 100 * np.mean((ceiling - have) / np.maximum(ceiling, 1e-12))
        rows.append((step, wide.index[pick], have.mean(), loss))
    return pd.DataFrame(rows, columns=["k", "source", "mean_best", "loss_pct"])
