"""What drives transfer: regression of scores on similarity over source and target effects.

Pairs share languages, so three kinds of inference stand side by side: two-way clustered errors
(Cameron, Gelbach & Miller 2011), permutation of whole languages (MRQAP, Dekker, Krackhardt &
Snijders 2007) and crossed random effects (REML). Everything reads a `scores` and a `pairs` table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from xltlib.errors import unknown
from xltlib.explain.contrast import verdict
from xltlib.explain.effects import (
    TINY,
    Array,
    Data,
    Effects,
    Index,
    Within,
    added_p,
    centre,
    cluster_two_way,
    clustered_mean,
    components,
    gram,
    independent,
    intercepts,
    interval,
    mixed,
    mrqap,
    ols,
    p_of_t,
    partial_r2,
    resample,
    shapley,
    t_quantile,
    vif,
    wald_equal,
    within,
)
from xltlib.scores import cells, gain, in_language, notes, select, transfer

__all__ = [
    "STEPS",
    "Explanation",
    "Shares",
    "arms",
    "by_task",
    "compare",
    "explain",
    "level",
    "mean_transfer",
    "nested",
    "observations",
    "claims",
    "over_effects",
    "variance_added",
    "verdict",
    "verdicts",
]


Response = Literal["score", "gain"]


Protocol = Literal["cold", "norev"]


STEPS: dict[str, tuple[str, ...]] = {
    "lexical": ("lexical",),
    "+ syntax": ("word_order",),
    "+ morphology": ("morphology",),
    "+ phonology": ("phonology",),
    "+ the rest": ("genealogy", "geography", "script", "data_size"),
}


GAPS = 0.1  # a measure missing in more than this share of pairs is left out unless asked for
TIGHT = 0.9  # correlation from which two measures are called inseparable


def features_of(pairs: pd.DataFrame) -> list[str]:
    """Numeric measure columns of a pairs table (coverage columns are none)."""
    skip = {"source", "target"}
    return [
        str(c)
        for c in pairs.columns
        if c not in skip
        and not str(c).startswith("coverage_")
        and pd.api.types.is_numeric_dtype(pairs[c])
        and pairs[c].notna().any()
    ]


def _chosen(pairs: pd.DataFrame, features: Sequence[str] | None) -> list[str]:
    allowed = features_of(pairs)
    chosen = allowed if features is None else list(dict.fromkeys(features))
    for name in chosen:
        if name not in allowed:
            raise unknown("feature", name, allowed, "choose measures of the pairs table")
    if not chosen:
        raise ValueError("the pairs table has no measure: make it with `xlt similarity`")
    return chosen


def observations(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None = None,
    task: str | None = None,
    model: str | None = None,
    baseline: str | None = None,
    lenient: bool | None = None,
) -> pd.DataFrame:
    """Zero-shot cells (means over seeds) joined with the measures of their pair.

    Parameters
    ----------
    baseline
        With it, the response is the gain of `model` over this arm instead of the score.
    lenient
        Leave out a measure that more than a tenth of the pairs lack, instead of these pairs
        (default: when no features are named).

    Returns
    -------
    DataFrame
        ``model, task, source, target, y, se`` and the features; ``attrs["notes"]`` says what was
        left out, ``attrs["features"]`` which measures are left.
    """
    chosen = _chosen(pairs, features)
    if baseline is not None:
        if model is None:
            raise ValueError("a gain needs both: say which model is compared with the baseline")
        scores = gain(select(scores, task=task), model, baseline)
    value = "score" if baseline is None else "gain"
    rows = transfer(select(scores, model=model, task=task))
    if rows.empty:
        raise ValueError(
            "no zero-shot score between two different languages is left: the analysis needs rows "
            "with n_target = 0 and source other than target"
        )
    table = cells(rows, value)
    said = notes(scores)
    table = _one_metric(table, said)
    table = table.rename(columns={value: "y"}).merge(
        pairs[["source", "target", *chosen]], on=["source", "target"], how="left"
    )
    if features is None if lenient is None else lenient:
        chosen = _without_gaps(table, chosen, said)
    out = _complete(table, chosen, said).reset_index(drop=True)
    out.attrs = {"notes": said, "features": chosen}
    return out


def _complete(table: pd.DataFrame, chosen: list[str], said: list[str]) -> pd.DataFrame:
    """Pairs that have every measure; how many are lost is said, none left is an error."""
    gaps = table[chosen].isna()
    lost = gaps.any(axis=1)
    if lost.all():
        raise ValueError(
            f"no pair has all of {', '.join(chosen)}: compute the pairs table for the languages of "
            "the scores, or choose fewer measures"
        )
    if lost.any():
        said.append(
            f"{int(lost.sum())} of {len(table)} pairs left out: a measure is missing "
            f"({gaps.sum().idxmax()} most often)"
        )
    return table[~lost]


def over_effects(observed: pd.DataFrame) -> pd.DataFrame:
    """An observations table without source and target effects: what similarity could explain.

    Response and measures keep their overall mean, so that axes stay readable.
    """
    data, features = _arrays(observed), observed.attrs["features"]
    effects = Effects(data.s, data.t)
    out = observed.copy()
    out[features] = effects.within(data.X) + data.X.mean(axis=0)
    out["y"] = effects.within(data.y) + data.y.mean()
    out.attrs = {**observed.attrs, "response": "score over language effects"}
    return out


def _without_gaps(table: pd.DataFrame, chosen: list[str], said: list[str]) -> list[str]:
    missing = table[chosen].isna().mean()
    kept = [f for f in chosen if missing[f] <= GAPS]
    for f in chosen:
        if f not in kept:
            said.append(f"{f} left out: {missing[f]:.0%} of the pairs lack it")
    return kept or chosen


def _one_metric(table: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """One metric a task: the first by name where there are several (said)."""
    first = table.groupby(["model", "task"])["metric"].transform("min")
    for task, group in table.groupby("task"):
        if group["metric"].nunique() > 1:
            said.append(f"task {task} has several metrics; {group['metric'].min()} is analysed")
    return table[table["metric"] == first]


def _arrays(frame: pd.DataFrame, least: int = 3) -> Data:
    """Arrays of an observations table; too few languages is an error."""
    said, features = notes(frame), frame.attrs["features"]
    for side in ("source", "target"):
        if frame[side].nunique() < least:
            raise ValueError(
                f"only {frame[side].nunique()} {side} language(s): separating source and target "
                f"effects from similarity needs at least {least} of each"
            )
    languages = tuple(sorted(set(frame["source"]) | set(frame["target"])))
    number = {code: i for i, code in enumerate(languages)}
    block = frame.groupby(["model", "task"], sort=True).ngroup().to_numpy().astype(np.int64)
    source = frame["source"].map(number).to_numpy(dtype=np.int64)
    target = frame["target"].map(number).to_numpy(dtype=np.int64)
    size = len(languages)
    s = np.unique(block * size + source, return_inverse=True)[1].astype(np.int64)
    t = np.unique(block * size + target, return_inverse=True)[1].astype(np.int64)
    return Data(
        y=frame["y"].to_numpy(dtype=float),
        X=frame[list(features)].to_numpy(dtype=float),
        s=s,
        t=t,
        source=source,
        target=target,
        block=block,
        features=tuple(features),
        languages=languages,
        frame=frame,
        notes=tuple(said),
    )


def _informative(data: Data) -> Data:
    """Without the measures that source and target effects absorb (said)."""
    resid = Effects(data.s, data.t).within(data.X)
    raw = data.X - data.X.mean(axis=0)
    keep = (resid**2).sum(axis=0) > 1e-8 * np.maximum((raw**2).sum(axis=0), TINY)
    gone = [f for f, k in zip(data.features, keep, strict=True) if not k]
    if not gone:
        return data
    if not keep.any():
        raise ValueError(
            f"source and target effects leave nothing of {', '.join(gone)}: these measures do not "
            "differ between pairs; choose measures of the pair"
        )
    note = f"{', '.join(gone)} left out: nothing remains of it over source and target effects"
    kept = tuple(f for f, k in zip(data.features, keep, strict=True) if k)
    return Data(
        **{**vars(data), "X": data.X[:, keep], "features": kept, "notes": (*data.notes, note)}
    )


def _tight(X: Array, features: Sequence[str]) -> list[str]:
    """Warnings about measures that cannot be told apart over the effects."""
    said = []
    corr = np.corrcoef(X, rowvar=False).reshape(X.shape[1], X.shape[1])
    for i in range(len(features)):
        for j in range(i):
            if abs(corr[i, j]) >= TIGHT:
                said.append(
                    f"{features[j]} and {features[i]} cannot be told apart here (correlation "
                    f"{corr[i, j]:.2f} over the effects): read their coefficients together"
                )
    for name, value in zip(features, vif(X), strict=True):
        if value > 10 and not any(name in s for s in said):
            said.append(f"{name} is nearly a mixture of the other measures (VIF {value:.0f})")
    return said


@dataclass(frozen=True)
class Explanation:
    """Result of `explain`.

    Attributes
    ----------
    coefficients
        One row per feature: ``beta`` (within-effects standard deviations of the score for one of
        the measure), ``points`` (score points, 0..100, for one standard deviation of the measure),
        ``se_cluster, low, high, t, p_cluster, p_mrqap, beta_mixed, se_mixed, p_mixed,
        beta_pooled, p_pooled`` (plain least squares without effects: the danger), ``vif``.
    fit
        ``n_pairs, n_sources, n_targets, r2_effects, r2, partial_r2, partial_r2_adj, ceiling``.
    residuals
        Pairs worth a look: the largest standardised residuals.
    warnings, notes
        What to beware of; what was left out.
    """

    coefficients: pd.DataFrame
    fit: Mapping[str, float]
    residuals: pd.DataFrame
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def explain(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None = None,
    task: str | None = None,
    model: str | None = None,
    *,
    baseline: str | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Explanation:
    """Standardised regression of transfer on similarity over source and target effects.

    Parameters
    ----------
    scores, pairs
        The two tables; only zero-shot cells between different languages are used.
    features
        Measures of the pairs table (all by default).
    task, model
        One of them, or all together with effects of their own (the languages stay the clusters).
    baseline
        An arm: explain the gain over it instead of the raw score.
    permutations, seed
        Of MRQAP.
    """
    frame = observations(scores, pairs, features, task, model, baseline)
    data = _informative(_arrays(frame))
    w = within(data)
    beta, resid, bread = ols(w.X, w.y)
    V, df = cluster_two_way(w.X, resid, bread, data.source, data.target, w.rank + len(beta))
    table = _coefficient_table(data, w, beta, V, df)
    table["p_mrqap"] = mrqap(data, permutations, seed) if permutations else np.nan
    table = table.join(_beside(data, w))
    table["vif"] = vif(w.X)
    warned = _tight(w.X, data.features)
    extra = components(data)
    if extra > 0:
        warned.append(f"the table falls into {extra + 1} groups of languages without common scores")
    return Explanation(
        table.reset_index(names="feature"),
        _fit(data, w, resid),
        _residual_pairs(data, w, resid),
        tuple(warned),
        data.notes,
    )


def _coefficient_table(data: Data, w: Within, beta: Array, V: Array, df: int) -> pd.DataFrame:
    se = np.sqrt(np.maximum(np.diag(V), 0.0))
    half = t_quantile(df) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, beta / se, np.nan)
    columns = {
        "beta": beta,
        "points": 100 * beta * w.sd_y,
        "se_cluster": se,
        "low": beta - half,
        "high": beta + half,
        "t": t,
        "p_cluster": p_of_t(t, df),
    }
    return pd.DataFrame(columns, index=list(data.features))


def _beside(data: Data, w: Within) -> pd.DataFrame:
    """Crossed random effects and, as a warning, plain least squares, in the same units."""
    X, y = data.X / w.sd_x, data.y / w.sd_y
    full = np.column_stack([X - X.mean(axis=0), intercepts(data.block)])
    p = X.shape[1]
    fit = mixed(y, full, data.s, data.t)
    beta, resid, bread = ols(full, y)
    df = len(y) - full.shape[1]
    se = np.sqrt(np.diag(bread) * (resid @ resid) / df)
    columns = {
        "beta_mixed": fit.beta[:p],
        "se_mixed": fit.se[:p],
        "p_mixed": p_of_t(fit.beta[:p] / fit.se[:p], df),
        "beta_pooled": beta[:p],
        "p_pooled": p_of_t(beta[:p] / se[:p], df),
    }
    return pd.DataFrame(columns, index=list(data.features))


def _fit(data: Data, w: Within, resid: Array) -> dict[str, float]:
    """Shares of variance; the ceiling is what noise of seeds and test items leaves to explain."""
    left, over = float((w.y**2).sum()) * w.sd_y**2, float((resid**2).sum()) * w.sd_y**2
    n, p = len(w.y), w.X.shape[1]
    noise = float((data.frame["se"].to_numpy(dtype=float) ** 2).mean())
    free = n - w.rank
    return {
        "n_pairs": n,
        "n_sources": len(np.unique(data.source)),
        "n_targets": len(np.unique(data.target)),
        "r2_effects": 1 - left / w.tss,
        "r2": 1 - over / w.tss,
        "partial_r2": 1 - over / left,
        "partial_r2_adj": 1 - (over / (free - p)) / (left / free),
        "ceiling": max(0.0, 1 - noise * free / left) if noise > 0 else math.nan,
    }


def _residual_pairs(data: Data, w: Within, resid: Array, most: int = 12) -> pd.DataFrame:
    """The pairs whose transfer similarity explains least, with what was expected of them."""
    sd = math.sqrt(float(resid @ resid) / w.df)
    out = data.frame[["model", "task", "source", "target", "y"]].copy()
    out["expected"] = out["y"] - resid * w.sd_y
    out["z"] = resid / sd
    order = np.argsort(-np.abs(resid), kind="stable")[:most]
    return out.iloc[order].reset_index(drop=True)


@dataclass(frozen=True)
class Shares:
    """Result of `variance_added`.

    ``total``: rows effects, similarity, all with ``r2``; ``features``: per measure the partial R2
    alone, its unique part, and its LMG share with a 95 % interval over languages.
    """

    total: pd.DataFrame
    features: pd.DataFrame
    notes: tuple[str, ...]


def variance_added(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None = None,
    task: str | None = None,
    model: str | None = None,
    *,
    baseline: str | None = None,
    bootstrap: int = 300,
    seed: int = 0,
) -> Shares:
    """What source and target effects explain alone, and what similarity adds over them.

    Returns
    -------
    Shares
        Partial R2 = the share of the variance left by the effects. A bootstrap of languages draws
        fewer distinct ones, so its R2 leans upwards: compare intervals with one another and with
        the cross-validated gain of `nested`, not with zero.
    """
    frame = observations(scores, pairs, features, task, model, baseline)
    data = _informative(_arrays(frame))
    w = within(data)
    fit = _fit(data, w, ols(w.X, w.y)[1])
    p = len(data.features)
    draws = resample(data, _shares_and_whole, bootstrap, seed)
    low, high = interval(draws)
    table, whole = _feature_shares(gram(data), data.features)
    table["low"], table["high"] = low[:p], high[:p]
    total = pd.DataFrame(
        {
            "part": ["source and target effects", "similarity adds", "together"],
            "r2": [fit["r2_effects"], fit["r2"] - fit["r2_effects"], fit["r2"]],
            "partial_r2": [np.nan, whole, np.nan],
            "low": [np.nan, low[p], np.nan],
            "high": [np.nan, high[p], np.nan],
        }
    )
    return Shares(total, table.sort_values("share", ascending=False, ignore_index=True), data.notes)


def _shares_and_whole(G: Array) -> Array:
    """LMG share of every measure, then the partial R2 of all."""
    return np.append(shapley(G), partial_r2(G, range(len(G) - 1)))


def _feature_shares(G: Array, features: Sequence[str]) -> tuple[pd.DataFrame, float]:
    """Per measure its partial R2 alone, its unique part and its LMG share; and the R2 of all."""
    every = list(range(len(features)))
    whole = partial_r2(G, every)
    table = pd.DataFrame(
        {
            "feature": list(features),
            "alone": [partial_r2(G, [j]) for j in every],
            "unique": [whole - partial_r2(G, [i for i in every if i != j]) for j in every],
            "share": shapley(G),
        }
    )
    return table, whole


def _heldout_errors(
    data: Data, subsets: Sequence[Sequence[int]], protocol: Protocol = "cold"
) -> tuple[pd.DataFrame, Array]:
    """Squared errors per held-out target of the order among its sources, first column: no similarity.

    For each target language the model (source effects, target effects, a subset of measures) is
    fitted without it; scores and predictions are then centred within the target, whose own level
    is not at stake. Cold: the language is no source either.
    """
    rows, errors = [], []
    M = np.column_stack([data.X, data.y])
    for lang in np.unique(data.target):
        out = data.target == lang
        train = ~out & (data.source != lang) if protocol == "cold" else ~out
        t = np.unique(data.t[train], return_inverse=True)[1].astype(np.int64)
        names, s = np.unique(data.s[train], return_inverse=True)
        effects = Effects(s.astype(np.int64), t)
        coef = effects.coefficients(M[train])
        left = M[train] - effects.D @ coef
        G = left.T @ left
        seen = out & np.isin(data.s, names)
        if seen.sum() < 2:
            continue
        S = coef[np.searchsorted(names, data.s[seen])]
        groups = data.t[seen]
        per = []
        for subset in subsets:
            k = list(subset)
            b = np.linalg.pinv(G[np.ix_(k, k)], hermitian=True) @ G[k, -1]
            guess = S[:, -1] + (data.X[seen][:, k] - S[:, k]) @ b
            per.append((centre(data.y[seen] - guess, groups) ** 2).sum())
        rows.append((data.languages[lang], int(seen.sum())))
        errors.append([(centre(data.y[seen], groups) ** 2).sum(), *per])
    return pd.DataFrame(rows, columns=["target", "n"]), np.array(errors)


def _known(steps: Mapping[str, Sequence[str]], allowed: Sequence[str]) -> dict[str, list[str]]:
    """Steps with the measures that exist; a step without any is left out."""
    kept = {name: [f for f in group if f in allowed] for name, group in steps.items()}
    return {name: group for name, group in kept.items() if group}


def nested(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    steps: Mapping[str, Sequence[str]] | None = None,
    task: str | None = None,
    model: str | None = None,
    *,
    baseline: str | None = None,
    bootstrap: int = 300,
    permutations: int = 199,
    seed: int = 0,
) -> pd.DataFrame:
    """Growing models: the first step alone, then each further step on top of it.

    Parameters
    ----------
    steps
        Name -> measures added (default `STEPS`: lexical; syntax; morphology; phonology; the rest).

    Returns
    -------
    DataFrame
        One row per step.

        * ``features`` (cumulated); ``partial_r2, low, high`` over the effects
        * ``difference, diff_low, diff_high`` to the first step (bootstrap over languages) and its
          ``p_added`` (`added_p`): a difference of R2 is never negative, so its interval alone
          proves nothing
        * ``cv_r2, cv_low, cv_high``: the error that the step removes from ordering the sources of
          a language never seen (cold), relative to source effects alone; it can be negative
        * ``cv_gain, cv_gain_low, cv_gain_high``: ``cv_r2`` over that of the first step (bootstrap
          over targets)
    """
    used = _known(steps or STEPS, features_of(pairs))
    if len(used) < 2:
        raise ValueError("nested models need two steps with measures of the pairs table")
    flat = [f for group in used.values() for f in group]
    frame = observations(scores, pairs, flat, task, model, baseline, lenient=steps is None)
    data = _informative(_arrays(frame))
    used = _known(used, data.features)
    cumulated = _cumulated(used, data.features)

    def statistic(G: Array) -> Array:
        return np.array([partial_r2(G, k) for k in cumulated])

    point = statistic(gram(data))
    draws = resample(data, statistic, bootstrap, seed)
    out = pd.DataFrame(
        {
            "step": list(used),
            "features": [", ".join(data.features[i] for i in k) for k in cumulated],
            "partial_r2": point,
            "difference": point - point[0],
        }
    )
    out["low"], out["high"] = interval(draws)
    out["diff_low"], out["diff_high"] = interval(draws - draws[:, :1])
    out["p_added"] = [
        added_p(_subset(data, k), range(len(cumulated[0])), permutations, seed) for k in cumulated
    ]
    _, errors = _heldout_errors(data, [[], *cumulated])
    out = out.join(_cv_gains(errors[:, 1:], seed))
    out.attrs = {"notes": list(data.notes)}
    return out


def _cumulated(steps: Mapping[str, Sequence[str]], features: Sequence[str]) -> list[list[int]]:
    """Columns of every step, those of the steps before included."""
    out: list[list[int]] = []
    for group in steps.values():
        out.append((out[-1] if out else []) + [features.index(f) for f in group])
    return out


def _subset(data: Data, columns: Sequence[int]) -> Data:
    names = tuple(data.features[j] for j in columns)
    return Data(**{**vars(data), "X": data.X[:, list(columns)], "features": names})


def _cv_gains(errors: Array, seed: int, reps: int = 2000) -> pd.DataFrame:
    """Error removed relative to column 0 (source effects alone); bootstrap over targets."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(errors), (reps, len(errors)))
    sums = errors[picks].sum(axis=1)
    draws = 1 - sums[:, 1:] / sums[:, :1]
    point = 1 - errors.sum(axis=0)[1:] / errors.sum(axis=0)[0]
    out = pd.DataFrame({"cv_r2": point, "cv_gain": point - point[0]})
    out["cv_low"], out["cv_high"] = interval(draws)
    out["cv_gain_low"], out["cv_gain_high"] = interval(draws - draws[:, :1])
    return out


def _target_means(data: Data) -> Array:
    """Mean of every measure over a target's sources (n, p): how near its sources are."""
    sums = np.zeros((int(data.t.max()) + 1, data.X.shape[1]))
    np.add.at(sums, data.t, data.X)
    return np.asarray((sums / np.bincount(data.t)[:, None])[data.t])


def level(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None = None,
    task: str | None = None,
    model: str | None = None,
    *,
    baseline: str | None = None,
    protocol: Protocol = "cold",
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Absolute scores of a target never seen, predicted from similarity: R2 beside the baselines.

    Crossed random effects (`mixed`) on the measures and on their mean over the target's sources,
    fitted without the target (cold: also without it as a source); the target's own effect is 0.

    Returns
    -------
    summary
        ``method`` (mean, source mean, similarity), ``r2_loto`` with ``low, high`` (bootstrap over
        targets), ``mae_loto``, ``order`` (mean Spearman within targets).
    predictions
        ``task, source, target, y`` and one column per method.
    """
    if protocol not in get_args(Protocol):
        raise unknown("protocol", protocol, get_args(Protocol), "choose one of them")
    frame = observations(scores, pairs, features, task, model, baseline)
    data = _arrays(frame, least=4)
    guesses = _leave_targets_out(data, protocol)
    table = frame[["model", "task", "source", "target", "y"]].join(guesses)
    table = table.dropna().reset_index(drop=True)
    return _loto_summary(table, list(guesses.columns), seed), table


def _leave_targets_out(data: Data, protocol: Protocol) -> pd.DataFrame:
    X = np.column_stack([data.X, _target_means(data)])
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)
    X = X[:, independent(X)]
    out = {m: np.full(len(data.y), np.nan) for m in ("mean", "source mean", "similarity")}
    blocks = intercepts(data.block)
    for lang in np.unique(data.target):
        held = data.target == lang
        train = ~held & (data.source != lang) if protocol == "cold" else ~held
        names, s = np.unique(data.s[train], return_inverse=True)
        t = np.unique(data.t[train], return_inverse=True)[1].astype(np.int64)
        fixed = np.column_stack([X, blocks])
        fit = mixed(data.y[train], fixed[train], s.astype(np.int64), t)
        seen = held & np.isin(data.s, names)
        where = np.searchsorted(names, data.s[seen])
        block_mean = _mean_by(data.y[train], data.block[train], data.block[seen])
        out["mean"][seen] = block_mean
        out["source mean"][seen] = (np.bincount(s, data.y[train]) / np.bincount(s))[where]
        out["similarity"][seen] = fixed[seen] @ fit.beta + fit.source_effects[where]
    return pd.DataFrame(out, index=data.frame.index)


def _mean_by(values: Array, groups: Index, wanted: Index) -> Array:
    size = int(max(groups.max(), wanted.max())) + 1
    counts = np.maximum(np.bincount(groups, minlength=size), 1)
    return np.asarray((np.bincount(groups, values, minlength=size) / counts)[wanted])


def _loto_summary(table: pd.DataFrame, methods: list[str], seed: int) -> pd.DataFrame:
    """R2 about the overall mean (per task and model), MAE, order within targets; bootstrap."""
    y = table["y"].to_numpy(dtype=float)
    block = table.groupby(["model", "task"]).ngroup().to_numpy().astype(np.int64)
    target = np.unique(table["target"], return_inverse=True)[1].astype(np.int64)
    spread = np.bincount(target, centre(y, block) ** 2)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(spread), (2000, len(spread)))
    rows = []
    for method in methods:
        error = y - table[method].to_numpy(dtype=float)
        squares = np.bincount(target, error**2)
        low, high = interval(1 - squares[picks].sum(axis=1) / spread[picks].sum(axis=1))
        rows.append(
            {
                "method": method,
                "r2_loto": 1 - squares.sum() / spread.sum(),
                "low": float(low),
                "high": float(high),
                "mae_loto": float(np.abs(error).mean()),
                "order": _order(table, method),
            }
        )
    return pd.DataFrame(rows)


def _order(table: pd.DataFrame, method: str) -> float:
    """Mean Spearman correlation of prediction and score within targets."""
    groups = table.groupby(["model", "task", "target"])
    ranks = pd.DataFrame({"a": groups["y"].rank(), "b": groups[method].rank()})
    ranks -= ranks.groupby([table["model"], table["task"], table["target"]]).transform("mean")
    keys = [table["model"], table["task"], table["target"]]
    top = (ranks["a"] * ranks["b"]).groupby(keys).sum()
    bottom = np.sqrt((ranks**2).groupby(keys).sum().prod(axis=1))
    values = (top / bottom.where(bottom > 0)).dropna()
    return float(values.mean()) if len(values) else math.nan


def by_task(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None = None,
    model: str | None = None,
    *,
    baseline: str | None = None,
) -> pd.DataFrame:
    """Do coefficients differ between tasks (and models)? One joint fit, errors over languages.

    Returns
    -------
    DataFrame
        ``task, model, feature, beta, se_cluster, low, high`` in each task's own standard
        deviations, and ``p_equal``: a Wald test that the feature's coefficients are all equal.
    """
    frame = observations(scores, pairs, features, None, model, baseline)
    data = _informative(_arrays(frame))
    blocks, p = np.unique(data.block), len(data.features)
    if len(blocks) < 2:
        raise ValueError("only one task is measured: a comparison needs two")
    y, X, rank = _stacked(data, blocks)
    beta, resid, bread = ols(X, y)
    V, df = cluster_two_way(X, resid, bread, data.source, data.target, rank + X.shape[1])
    se = np.sqrt(np.maximum(np.diag(V), 0.0))
    half = t_quantile(df) * se
    first = data.frame.groupby(data.block)[["task", "model"]].first()
    rows = []
    for j, name in enumerate(data.features):
        where = np.arange(len(blocks)) * p + j
        equal = wald_equal(beta[where], V[np.ix_(where, where)], df)
        for b, i in zip(blocks, where, strict=True):
            rows.append(
                (*first.loc[b], name, beta[i], se[i], beta[i] - half[i], beta[i] + half[i], equal)
            )
    names = ["task", "model", "feature", "beta", "se_cluster", "low", "high", "p_equal"]
    return pd.DataFrame(rows, columns=names)


def _stacked(data: Data, blocks: Index) -> tuple[Array, Array, int]:
    """Block-diagonal design, every block standardised over its own effects."""
    p = data.X.shape[1]
    y, X = np.zeros(len(data.y)), np.zeros((len(data.y), p * len(blocks)))
    rank = 0
    for b in blocks:
        mine = data.block == b
        part = Data(
            **{
                **vars(data),
                "y": data.y[mine],
                "X": data.X[mine],
                "s": np.unique(data.s[mine], return_inverse=True)[1].astype(np.int64),
                "t": np.unique(data.t[mine], return_inverse=True)[1].astype(np.int64),
            }
        )
        w = within(part)
        y[mine], X[mine, b * p : (b + 1) * p] = w.y, w.X
        rank += w.rank
    return y, X, rank


def _mean_row(y: Array, frame: pd.DataFrame) -> dict[str, float]:
    source = np.unique(frame["source"], return_inverse=True)[1].astype(np.int64)
    target = np.unique(frame["target"], return_inverse=True)[1].astype(np.int64)
    if min(source.max(), target.max()) < 1:
        raise ValueError("a mean over languages with an interval needs two sources and two targets")
    mean, se, df = clustered_mean(y, source, target)
    noise = math.sqrt(float((frame["se"] ** 2).sum())) / len(frame)
    se = max(se, noise)  # equal cells do not make a mean exact
    half = t_quantile(df) * se
    return {"mean": mean, "se": se, "low": mean - half, "high": mean + half, "n_pairs": len(y)}


def mean_transfer(scores: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Mean zero-shot score per model, task and metric; intervals over languages (two-way)."""
    table = cells(transfer(select(scores, metric=metric)))
    rows = []
    for (model, task, name), group in table.groupby(["model", "task", "metric"]):
        row = _mean_row(group["score"].to_numpy(dtype=float), group)
        rows.append({"model": model, "task": task, "metric": name, **row})
    return pd.DataFrame(rows)


def arms(scores: pd.DataFrame, model: str, controls: Sequence[str] = ()) -> pd.DataFrame:
    """In-language, zero-shot and control means side by side, for `figures.transfer_means`.

    Every mean is over the pairs measured in that arm; where a control covers only some sources,
    `compare` gives the paired difference.

    Returns
    -------
    DataFrame
        ``task, metric, arm, mean, low, high, n`` (95 % over languages; n cells), arms in order.
    """
    zero = mean_transfer(scores)
    home = cells(in_language(select(scores, model=model)))
    rows = []
    for (task, metric), group in home.groupby(["task", "metric"]):
        y, n = group["score"].to_numpy(dtype=float), len(group)
        spread = float(y.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
        noise = math.sqrt(float((group["se"] ** 2).sum())) / n
        half = max(spread, noise) * t_quantile(max(n - 1, 1))
        rows.append((task, metric, "in-language", y.mean(), y.mean() - half, y.mean() + half, n))
    for arm in (model, *controls):
        for r in select(zero, model=arm).to_dict("records"):
            label = "zero-shot" if arm == model else arm
            ends = (r["mean"], r["low"], r["high"], r["n_pairs"])
            rows.append((r["task"], r["metric"], label, *ends))
    out = pd.DataFrame(rows, columns=["task", "metric", "arm", "mean", "low", "high", "n"])
    return out.assign(low=out["low"].clip(lower=0), high=out["high"].clip(upper=1))


def compare(scores: pd.DataFrame, model: str, control: str) -> pd.DataFrame:
    """Mean zero-shot difference of two arms on the pairs they share, per task and metric."""
    table = cells(transfer(gain(scores, model, control)), "gain")
    rows = []
    for (task, name), group in table.groupby(["task", "metric"]):
        row = _mean_row(group["gain"].to_numpy(dtype=float), group)
        rows.append({"task": task, "metric": name, "model": model, "control": control, **row})
    return pd.DataFrame(rows).rename(columns={"mean": "difference"})


def verdicts(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    model: str,
    *,
    controls: Sequence[str] = (),
    baseline: str | None = None,
    steps: Mapping[str, Sequence[str]] | None = None,
    bootstrap: int = 300,
    permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """The claims of arXiv 2212.01757 as far as a scores table can judge them, task by task.

    Returns
    -------
    DataFrame
        ``claim, evidence`` (task and what was measured), ``estimate, low, high`` (95 %),
        ``verdict``. A claim about prediction is judged on languages never seen; a claim about one
        measure holds only if clustered errors and MRQAP agree.
    """
    rows = []
    for control in controls:
        for r in compare(scores, model, control).to_dict("records"):
            evidence = (
                f"{r['task']}, {r['metric']}: zero-shot minus {control}, {r['n_pairs']} pairs"
            )
            claim = f"transfer exceeds {control}"
            rows.append((claim, r["task"], evidence, r["difference"], r["low"], r["high"], None))
    kinds: list[str | None] = [None] if baseline is None else [None, baseline]
    mine = select(scores, model=model)
    for task in sorted(transfer(mine)["task"].unique()):
        for base in kinds:
            what = "score" if base is None else f"gain over {base}"
            options: dict[str, Any] = {"task": task, "model": model, "baseline": base, "seed": seed}
            options_nested = {"bootstrap": bootstrap, "permutations": permutations, **options}
            steps_table = nested(scores, pairs, steps, **options_nested)
            used = steps_table["features"].iloc[-1].split(", ")
            fit = explain(scores, pairs, used, permutations=permutations, **options)
            rows += _nested_claims(steps_table, task, what)
            rows += _measure_claims(fit.coefficients, task, what)
    return _with_verdicts(rows)


def claims(steps: pd.DataFrame, coefficients: pd.DataFrame, task: str) -> pd.DataFrame:
    """`verdicts` from the tables of `nested` and `explain` (either may be empty)."""
    rows = _nested_claims(steps, task, "score") if len(steps) else []
    return _with_verdicts([*rows, *_measure_claims(coefficients, task, "score")])


def _with_verdicts(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    names = ["claim", "task", "evidence", "estimate", "low", "high", "p_mrqap"]
    out = pd.DataFrame(rows, columns=names)
    out["verdict"] = [_judged(r.low, r.high, r.p_mrqap) for r in out.itertuples(index=False)]
    return out


def _judged(low: Any, high: Any, p_mrqap: Any) -> str:
    said = verdict(float(low), float(high))
    unsure = p_mrqap is not None and np.isfinite(p_mrqap) and p_mrqap > 0.05
    return "cannot tell" if unsure and said != "cannot tell" else said


def _nested_claims(table: pd.DataFrame, task: str, what: str) -> list[tuple[Any, ...]]:
    """Similarity predicts; structure adds to the first step, in and out of sample."""
    last, first = table.iloc[-1], str(table["features"].iloc[0])
    lexical = first.startswith("lexical")
    adds = f"structure adds to {'lexical similarity' if lexical else first.replace('_', ' ')}"
    phon = table[table["step"].str.contains("phon")]
    core = phon.iloc[-1] if len(phon) else last
    seen, unseen = "partial R2 over effects", "error removed on languages never seen"
    return [
        ("similarity predicts transfer to a new language", task, f"{task}, {what}: {unseen}, all "
         "measures", last["cv_r2"], last["cv_low"], last["cv_high"], None),
        (f"{adds} (prediction)", task, f"{task}, {what}: {unseen}, "
         "difference", core["cv_gain"], core["cv_gain_low"], core["cv_gain_high"], None),
        (f"{adds} (fit)", task, f"{task}, {what}: {seen}, difference",
         core["difference"], core["diff_low"], core["diff_high"], core["p_added"]),
    ]  # fmt: skip


def _measure_claims(table: pd.DataFrame, task: str, what: str) -> Iterable[tuple[Any, ...]]:
    for r in table.to_dict("records"):
        evidence = f"{task}, {what}: standardised coefficient, all measures together"
        claim = f"more alike in {r['feature']}, more transfer"
        yield (claim, task, evidence, r["beta"], r["low"], r["high"], r["p_mrqap"])
