"""Which source language to take for a target: rules, what each costs, and a recommendation.

A *method* predicts the standing of every source for a held-out target from the rest of a matrix of
scores and the pairs table; `compare_methods` compares them by what their choice loses, `best_set`
chooses several sources at once. Scores to expect are in `xltlib.rank.levels`, the answer for one target
in `xltlib.rank.recommend`.

Protocols, never mixed: **cold** hides the target language as target and as source (a new language);
**warm** hides it as target only, so what its own model did on other languages may be used;
**norev** keeps those rows too, but `gp` does not read them backwards. All treebanks of a language
are hidden together, and pairs within one language never count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd

from xltlib.errors import unknown
from xltlib.rank import gp
from xltlib.rank.matrix import (
    Array,
    Fold,
    Index,
    Matrix,
    Protocol,
    features_of,
    folds,
    matrices,
    standardised,
    target_mean,
    top_gain,
)

TOP_WEIGHT = 0.15  # share of the second output, 1 / rank, in the ranking of `gp`
POWER = 0.75  # between one unit for all targets (0) and each target's own (1)
DRAWS = 2_000

# --- methods: (matrix, fold, protocol) -> standing of each asked cell, NaN = cannot say -----------

Method = Callable[[Matrix, Fold, Protocol], Array]


def random(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """All sources tied: the metrics give ties their exact expectation."""
    return np.zeros(len(fold.asked))


def english(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """English above all others; nothing for a target without English among its sources."""
    language = np.array(matrix.languages)[matrix.ends()[0][fold.asked]]
    target = matrix.target[fold.asked]
    has = np.isin(target, target[language == "eng"])
    return np.where(has, (language == "eng").astype(float), np.nan)


def best_mean(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Highest mean centred score on the other targets: no linguistics at all."""
    centred, _ = standardised(matrix, fold, 0.0)
    seen = _visible(matrix, fold)
    mean = target_mean(centred[seen], matrix.source[seen])
    standing = np.zeros(len(matrix.sources))
    standing[: len(mean)] = np.nan_to_num(mean)
    return standing[matrix.source[fold.asked]]


def nearest(measure: str, matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """The source most alike by one measure; an unknown similarity ranks last."""
    value = matrix.similarity(measure)[fold.asked]
    return np.nan_to_num(value, nan=float(np.nanmin(value, initial=0.0)) - 1.0)


def rank_fusion(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Mean rank over all measures of the pairs table."""
    target = matrix.target[fold.asked]
    value = {name: nearest(name, matrix, fold, protocol) for name in matrix.measures}
    return pd.DataFrame(value).groupby(target).rank().mean(axis=1).to_numpy()


def ridge(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Ridge regression of the standardised score on source effects and similarity."""
    z, _ = standardised(matrix, fold, POWER)
    cells, seen = matrix.cells(), _visible(matrix, fold)
    x = np.hstack([np.eye(len(matrix.sources))[matrix.source], cells.features, cells.data])
    gram = x[seen].T @ x[seen] + np.eye(x.shape[1])
    return x[fold.asked] @ np.linalg.solve(gram, x[seen].T @ z[seen])


def lambdamart(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Boosted trees on LangRank's objective, grouped by target (Lin et al. 2019; needs lightgbm).

    Features: every measure and data property, raw and centred within target, and the source's mean
    centred score on the other targets (leaving the row's own target out).
    """
    import lightgbm

    cells, seen = matrix.cells(), _visible(matrix, fold)
    if not len(seen):  # nothing to learn from: two languages, one of them hidden
        return np.full(len(fold.asked), np.nan)
    seen = seen[np.argsort(matrix.target[seen], kind="stable")]
    raw = [matrix.similarity(m) for m in matrix.measures] + list(matrix.data.T)
    x = np.column_stack([*raw, cells.features, cells.data, _standing(matrix, fold)])
    rank = pd.Series(matrix.score[seen]).groupby(matrix.target[seen]).rank(ascending=False)
    relevance = np.maximum(11 - np.ceil(rank.to_numpy()), 0).astype(int)
    group = np.unique(matrix.target[seen], return_counts=True)[1]
    options = {
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
    trees = lightgbm.train(options, lightgbm.Dataset(x[seen], relevance, group=group), 100)
    return np.asarray(trees.predict(x[fold.asked]))


def _standing(matrix: Matrix, fold: Fold) -> Array:
    """(n,) mean centred score of the cell's source over the other visible cells."""
    centred, _ = standardised(matrix, fold, POWER)
    seen = np.zeros(len(centred))
    seen[_visible(matrix, fold)] = 1.0
    total, count = (np.bincount(matrix.source, v) for v in (centred * seen, seen))
    rest = count[matrix.source] - seen
    return (total[matrix.source] - centred * seen) / np.maximum(rest, 1)


def gaussian_process(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Ours: the Gaussian process of `xltlib.rank.gp`, with some of a second output for the top ranks."""
    z, _ = standardised(matrix, fold, POWER)
    both = np.column_stack([z, top_gain(matrix, fold)])
    return _process(matrix, fold, protocol, both) @ np.array([1.0, TOP_WEIGHT])


def top_standing(matrix: Matrix, fold: Fold, protocol: Protocol) -> Array:
    """Predicted 1 / rank of the asked cells, standardised within target."""
    return _process(matrix, fold, protocol, top_gain(matrix, fold)[:, None])[:, 0]


def _process(matrix: Matrix, fold: Fold, protocol: Protocol, value: Array) -> Array:
    """Mean of the asked cells given all visible ones (b, outputs), standardised within target."""
    mean, _ = given_the_rest(matrix, fold, protocol, value)
    at = matrix.target[fold.asked]
    centred = mean - np.column_stack([target_mean(m, at)[at] for m in mean.T])
    spread = np.sqrt(np.column_stack([target_mean(m * m, at)[at] for m in centred.T]))
    return centred / np.maximum(spread, 1e-12)


def given_the_rest(
    matrix: Matrix, fold: Fold, protocol: Protocol, value: Array
) -> tuple[Array, Array]:
    """Mean and covariance of the asked cells given all visible ones.

    Before any score is seen, more alike is expected to be better (`gp.SLOPE`).
    """
    prior = matrix.cells().expected()
    prior = prior if value.ndim == 1 else prior[:, None]
    term = np.sqrt(gp.PRESET.record) * _records(matrix, fold) if protocol == "warm" else None
    precision = matrix.precision(protocol != "norev")
    mean, covariance = gp.leave_out(precision, value - prior, fold.hidden, term)
    asked = np.isin(fold.hidden, fold.asked)
    return mean[asked] + prior[fold.asked], covariance[np.ix_(asked, asked)]


def _records(matrix: Matrix, fold: Fold) -> Array:
    """(n,) correlation over visible targets of what the pair's two languages do as sources.

    Shrunk by n / (n + 5) for n shared targets; centred, one unit. A language that is no source, as
    any held-out one in the cold protocol, has no record and counts as the mean.
    """
    z, _ = standardised(matrix, fold, POWER)
    seen, (s, t) = _visible(matrix, fold), matrix.ends()
    record = np.full((len(matrix.languages), len(matrix.targets)), np.nan)
    record[s[seen], matrix.target[seen]] = z[seen]
    known = ~np.isnan(record)
    mean = np.where(known, record, 0).sum(1) / np.maximum(known.sum(1), 1)
    record = np.where(known, record - mean[:, None], 0.0)
    shared = known.astype(float) @ known.T
    square = (record**2) @ known.T
    alike = record @ record.T / np.sqrt(np.maximum(square * square.T, 1e-12))
    alike = np.where(shared >= 4, alike * shared / (shared + 5), np.nan)
    column = features_of([alike[s, t]], matrix.target)
    return column[:, 0] if column.shape[1] else np.zeros(len(z))


def _visible(matrix: Matrix, fold: Fold) -> Index:
    known = ~np.isnan(matrix.score)
    known[fold.hidden] = False
    return np.flatnonzero(known)


METHODS: dict[str, Method] = {
    "gp": gaussian_process,
    "best_mean": best_mean,
    "english": english,
    "random": random,
    "rank_fusion": rank_fusion,
    "ridge": ridge,
    "lambdamart": lambdamart,
}


def methods(matrix: Matrix, names: Iterable[str] | None = None) -> dict[str, Method]:
    """The methods to compare: those named, or all that can run here (LambdaMART needs lightgbm)."""
    from importlib.util import find_spec

    known = METHODS | {f"nearest_{m}": partial(nearest, m) for m in matrix.measures}
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


def _expected(value: Array, standing: Array) -> Array:
    """Values in the order of standing, best first; tied places each get the mean of the tie."""
    _, tie = np.unique(-standing, return_inverse=True)
    return (np.bincount(tie, value) / np.bincount(tie))[np.sort(tie)]


def loss_pct(score: Array, standing: Array) -> float:
    """(best - chosen) / best in per cent; the expectation where sources tie for first."""
    best = score.max()
    return float(100 * (best - _expected(score, standing)[0]) / best) if best > 0 else np.nan


def ndcg(score: Array, standing: Array, k: int = 3) -> float:
    """NDCG@k in per cent; gain 2^rel - 1, rel = 11 - rank for the ten best sources, else 0.

    The gain of LangRank (Lin et al. 2019); a linear gain reads about ten points higher.
    """
    place = np.argsort(np.argsort(-score, kind="stable"), kind="stable")
    gain = 2.0 ** np.maximum(10 - place, 0) - 1
    discount = 1 / np.log2(np.arange(2, 2 + min(k, len(score))))
    ideal = np.sort(gain)[::-1][: len(discount)] @ discount
    return float(100 * (_expected(gain, standing)[: len(discount)] @ discount) / ideal)


def spearman(score: Array, standing: Array) -> float:
    """Rank correlation of the whole order; 0 for a constant standing, NaN for constant scores."""
    if np.ptp(score) == 0:
        return np.nan
    if np.ptp(standing) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(score), _ranks(standing))[0, 1])


def _ranks(value: Array) -> Array:
    """Ranks from 1, ties sharing their mean (pandas does this too, at ten times the cost)."""
    _, place, size = np.unique(value, return_inverse=True, return_counts=True)
    return (np.cumsum(size) - (size - 1) / 2)[place]


def choices(
    matrix: Matrix, protocol: Protocol = "cold", names: Iterable[str] | None = None
) -> pd.DataFrame:
    """Every method's choice for every held-out target of a matrix.

    Returns
    -------
    DataFrame
        ``method, target, language, chosen, best, n_sources, loss_pct, ndcg3, spearman``. A method
        that cannot speak about a target has no row for it.
    """
    rows = []
    for name, method in methods(matrix, names).items():
        for fold in folds(matrix, protocol):
            standing = method(matrix, fold, protocol)
            rows += [{"method": name} | row for row in _judged(matrix, fold, standing)]
    about = ["method", "target", "language", "chosen", "best", "n_sources"]
    return pd.DataFrame(rows, columns=[*about, *METRICS])


def _judged(matrix: Matrix, fold: Fold, standing: Array) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    target = matrix.target[fold.asked]
    for t in np.unique(target):
        mine = target == t
        score, own = matrix.score[fold.asked][mine], standing[mine]
        sources = matrix.source[fold.asked][mine]
        if len(score) < 2 or np.isnan(own).any():
            continue
        rows.append(
            {
                "target": matrix.targets[t],
                "language": matrix.languages[matrix.target_language[t]],
                "chosen": matrix.sources[sources[own.argmax()]],
                "best": matrix.sources[sources[score.argmax()]],
                "n_sources": len(score),
                "loss_pct": loss_pct(score, own),
                "ndcg3": ndcg(score, own),
                "spearman": spearman(score, own),
            }
        )
    return rows


METRICS = ("loss_pct", "ndcg3", "spearman")


def compare_methods(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    protocol: Protocol = "cold",
    methods: Iterable[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Methods compared on every matrix of a scores table.

    Returns
    -------
    DataFrame
        One row per model, task, metric and method: ``protocol, n_targets, n_pairs`` and for each of
        ``loss_pct, ndcg3, spearman`` the mean over targets with ``_low`` and ``_high``, a 95 %
        interval by bootstrap over target languages (the treebanks of a language stay together).
    """
    rows = []
    names = None if methods is None else list(methods)
    for labels, matrix in matrices(scores, pairs):
        table = summary(choices(matrix, protocol, names), seed)
        table.insert(1, "protocol", protocol)
        table.insert(3, "n_pairs", len(matrix.score))
        rows.append(table.assign(**labels)[[*labels, *table]])
    return pd.concat(rows, ignore_index=True)


def summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """`choices` summed up: ``method, n_targets`` and each metric with its 95 % interval."""
    if table.empty:
        return pd.DataFrame(columns=["method", "n_targets", *METRICS])
    rows = [
        {"method": name, "n_targets": len(own)} | _intervals(own, seed)
        for name, own in table.groupby("method", sort=False)
    ]
    return pd.DataFrame(rows)


def lead(table: pd.DataFrame, rule: str, other: str, seed: int = 0) -> tuple[float, float, float]:
    """What a rule loses less than another on the same targets (`choices`), in per cent points.

    Mean over targets with its 95 % interval over target languages; NaN where they share none.
    """
    wide = table.pivot(index=["language", "target"], columns="method", values="loss_pct")
    if rule not in wide or other not in wide:
        return (np.nan,) * 3
    less = (wide[other] - wide[rule]).dropna().groupby("language").agg(["sum", "count"]).to_numpy()
    if not len(less):
        return (np.nan,) * 3
    weight = np.random.default_rng(seed).multinomial(len(less), [1 / len(less)] * len(less), DRAWS)
    total, count = (weight @ less).T
    low, high = np.percentile(total / count, [2.5, 97.5])
    return float(less[:, 0].sum() / less[:, 1].sum()), float(low), float(high)


def _intervals(own: pd.DataFrame, seed: int) -> dict[str, float]:
    """Mean over targets and its percentile interval over resampled languages."""
    groups = own.groupby("language")[list(METRICS)]
    total, count = groups.sum().to_numpy(), groups.count().to_numpy()
    generator = np.random.default_rng(seed)
    weight = generator.multinomial(len(total), np.full(len(total), 1 / len(total)), DRAWS)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = (weight @ total) / (weight @ count)
    with warnings.catch_warnings():  # all missing: the interval is missing too
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    out: dict[str, float] = {}
    for i, metric in enumerate(METRICS):
        out |= {
            metric: float(own[metric].mean()),
            f"{metric}_low": low[i],
            f"{metric}_high": high[i],
        }
    return out


def best_set(scores: pd.DataFrame, k: int = 3) -> pd.DataFrame:
    """The k sources that together serve all measured targets best, chosen one after the other.

    Each step adds the source that raises the mean over targets of the best score within the set
    most; greedy choice is within 1 - 1/e of the optimum (Nemhauser et al. 1978). Every target
    counts with its best available source, so the measure is what is lost by training only k models.

    Returns
    -------
    DataFrame
        ``k, source, mean_best, loss_pct``, one row per step.
    """
    table = scores[scores["source"] != scores["target"]]
    wide = table.pivot_table(index="source", columns="target", values="score", aggfunc="mean")
    if not 1 <= k <= len(wide):
        raise ValueError(f"k is {k}: choose between 1 and the {len(wide)} measured sources")
    score = wide.to_numpy()
    # A target never served by its own language: its worst score stands until a source covers it.
    have, ceiling = np.nanmin(score, axis=0), np.nanmax(score, axis=0)
    rows = []
    for step in range(1, k + 1):
        gained = np.fmax(score, have).mean(axis=1)
        pick = int(gained.argmax())
        have = np.fmax(score[pick], have)
        loss = 100 * np.mean((ceiling - have) / np.maximum(ceiling, 1e-12))
        rows.append(
            {"k": step, "source": wide.index[pick], "mean_best": have.mean(), "loss_pct": loss}
        )
    return pd.DataFrame(rows)
