"""The few-shot law: how the score grows with the number of target-language examples.

Every law is a level and a rise times a curve of n with a shape; the shape is shared softly between
the curves of one task, level and rise are drawn towards their mean over curves (partial pooling,
empirical Bayes), and a point counts by how sure it is. Zero-shot is no point of the curve: it tells
where a curve starts, not its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from xltlib.errors import unknown
from xltlib.explain.contrast import verdict
from xltlib.explain.effects import Array, Index
from xltlib.scores import cells, select

_Shape = tuple[float, ...]

CURVE = ["model", "task", "source", "target", "metric"]
MIDDLE = "median of laws"
# Between curves, where the data say little: standard deviation of the level, and that of the rise
# in units of what scores differ within a curve (a task that gains little has like rises).
_LEVEL_SD = 0.1
_RISE_SD = 0.5
_PRIOR_CURVES = 2.0  # how many curves that prior counts as
_LEAST_CURVES = 5  # fewer curves resampled are no interval
_LEAST_SD = 1e-3  # least standard deviation of a single score around its curve


@dataclass(frozen=True)
class _Law:
    """score(n) = level + rise * curve(n, shape), with the shapes that are tried.

    ``inverse`` gives the n at which the curve has a value (infinite where it never has).
    """

    formula: str
    shapes: tuple[_Shape, ...]
    curve: Callable[[Array, _Shape], Array]
    inverse: Callable[[Array, _Shape], Array]


LAWS = {
    "log": _Law(
        "a + b ln n",
        ((),),
        lambda n, shape: np.log(n),
        lambda v, shape: np.exp(np.minimum(v, 600.0)),
    ),
    "power": _Law(
        "a + b (1 - n^-c)",
        tuple((float(c),) for c in np.geomspace(0.03, 3.0, 48)),
        lambda n, shape: 1 - n ** -shape[0],
        lambda v, shape: np.maximum(1 - v, 0.0) ** (-1 / shape[0]),
    ),
    "logistic": _Law(
        "a + b / (1 + (m / n)^(1/s))",
        tuple(product(np.arange(0.0, 10.1, 0.25), (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5))),
        lambda n, shape: special.expit((np.log(n) - shape[0]) / shape[1]),
        lambda v, shape: np.exp(shape[0] + shape[1] * special.logit(np.clip(v, 0.0, 1.0))),
    ),
}


# -- the curves -----------------------------------------------------------------------------------


def curves(
    scores: pd.DataFrame,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
) -> pd.DataFrame:
    """Few-shot points: one row per curve and n > 0, means over seeds.

    A curve is one model, task, source, target and metric with at least two numbers of examples.

    Returns
    -------
    DataFrame
        Curve columns, ``n_target, score, se, low, high, zero`` (zero-shot score, missing where
        not measured) and ``curve`` (its number).
    """
    table = cells(select(scores, model=model, task=task, metric=metric))
    zero = table[table["n_target"] == 0].set_index(CURVE)["score"].rename("zero")
    points = table[table["n_target"] > 0]
    points = points[points.groupby(CURVE)["n_target"].transform("nunique") >= 2]
    if points.empty:
        raise ValueError(
            "no few-shot curve in the scores: rows with at least two different n_target above 0 "
            "for one model, task, source and target are needed"
        )
    points = points.join(zero, on=CURVE).sort_values([*CURVE, "n_target"], ignore_index=True)
    points["curve"] = points.groupby(CURVE, sort=True).ngroup()
    return points


# -- fitting: pure functions ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """Sufficient statistics of y on (1, g) for m shapes and k curves.

    ``n`` (points) and ``yy`` (k,), ``ZZ`` (m, k, 2, 2), ``Zy`` (m, k, 2), all but ``n`` weighted.
    """

    n: Array
    ZZ: Array
    Zy: Array
    yy: Array


def _sums(curve: Index, G: Array, y: Array, size: int, weight: Array) -> _Sums:
    """Sums over the points of each curve; G (m, points) holds g at every shape."""
    member = (curve[:, None] == np.arange(size)).astype(float)
    n, member = member.sum(axis=0), member * weight[:, None]
    total, gs, gg, gy = member.sum(axis=0), G @ member, G**2 @ member, (G * y) @ member
    ones = np.broadcast_to(total, gs.shape)
    ZZ = np.stack([np.stack([ones, gs], -1), np.stack([gs, gg], -1)], -2)
    Zy = np.stack([np.broadcast_to(y @ member, gs.shape), gy], -1)
    return _Sums(n, ZZ, Zy, y**2 @ member)


def _weights(se: Array) -> Array:
    """How much each point counts, 1 in the mean: the inverse of its variance around the curve.

    That is its squared standard error, and the mean one besides for what no law fits. Some points
    are means of fifteen scores and some a single one.
    """
    variance = se**2 + max(float((se**2).mean()), 1e-12)
    return np.asarray(1 / variance / (1 / variance).mean())


@dataclass(frozen=True)
class _Pooled:
    """Fit at every shape: posterior of (level, rise) per curve and the evidence of each curve."""

    mean: Array  # (m, k, 2)
    cov: Array  # (m, k, 2, 2)
    sigma2: Array  # (m,)
    evidence: Array  # (m, k)
    prior: Array  # coefficients of W (m, w, 2)
    spread: Array  # between curves (m, 2, 2)


def _inverse(two: Array) -> Array:
    """Of matrices (…, 2, 2): LAPACK takes ten times as long, one by one."""
    (a, b), (c, d) = np.moveaxis(two, (-2, -1), (0, 1))
    turned = np.moveaxis(np.array([[d, -b], [-c, a]]), (0, 1), (-2, -1))
    return np.asarray(turned / (a * d - b * c)[..., None, None])


def _posterior(S: _Sums, prior: Array, spread: Array, sigma2: Array) -> tuple[Array, Array]:
    """Posterior mean (m, k, 2) and covariance (m, k, 2, 2) of level and rise."""
    inverse = _inverse(spread)
    cov = _inverse(S.ZZ / sigma2[:, None, None, None] + inverse[:, None])
    right = S.Zy / sigma2[:, None, None] + prior @ inverse
    return np.einsum("mkij,mkj->mki", cov, right), cov


def _residual_square(S: _Sums, u: Array) -> Array:
    fit = np.einsum("mki,mkij,mkj->mk", u, S.ZZ, u)
    return np.asarray(S.yy - 2 * (S.Zy * u).sum(axis=-1) + fit)


def _evidence(S: _Sums, prior: Array, spread: Array, sigma2: Array) -> Array:
    """Log marginal likelihood (m, k) of every curve given the parameters of the pool."""
    s2 = sigma2[:, None]
    Zr = S.Zy - np.einsum("mkij,mkj->mki", S.ZZ, prior)
    inner = _inverse(S.ZZ / s2[..., None, None] + _inverse(spread)[:, None])
    quad = _residual_square(S, prior) / s2
    quad -= np.einsum("mki,mkij,mkj->mk", Zr, inner, Zr) / s2**2
    logdet = S.n * np.log(2 * math.pi * s2) - np.linalg.slogdet(inner)[1]
    return np.asarray(-0.5 * (logdet + np.linalg.slogdet(spread)[1][:, None] + quad))


def _within(S: _Sums) -> float:
    """Standard deviation of the scores of a curve about their mean, over all curves."""
    seen = S.n > 0
    total, freedom = S.ZZ[0, seen, 0, 0], S.n.sum() - seen.sum()
    if freedom <= 0:  # a point a curve: they say nothing of it
        return _LEVEL_SD
    left = (S.yy[seen] - S.Zy[0, seen, 0] ** 2 / total).sum()
    return float(np.sqrt(max(left / freedom, _LEAST_SD**2)))


def _pool(S: _Sums, W: Array, steps: int = 60) -> _Pooled:
    """Partial pooling of level and rise by EM: u ~ N(W prior, spread), y = Z u + noise.

    Every shape is fitted by itself, all at once. A weak prior (`_LEVEL_SD` and `_RISE_SD`, worth
    `_PRIOR_CURVES` curves) keeps the spread sane for few curves. A curve without points learns from
    the others.
    """
    m, seen = S.Zy.shape[0], S.n > 0
    k = int(seen.sum())
    spread, sigma2 = np.tile(np.eye(2) * 0.04, (m, 1, 1)), np.full(m, 4e-4)
    base = np.diag([_LEVEL_SD, _RISE_SD * _within(S)]) ** 2
    V = W[seen]
    project = np.linalg.pinv(V.T @ V + 1e-6 * np.eye(W.shape[1])) @ V.T
    gamma = project @ np.linalg.solve(S.ZZ + 1e-3 * np.eye(2), S.Zy[..., None])[..., 0][:, seen]
    for _ in range(steps):
        u, cov = _posterior(S, W @ gamma, spread, sigma2)
        gamma = project @ u[:, seen]
        left = u[:, seen] - V @ gamma
        between = left.transpose(0, 2, 1) @ left + cov[:, seen].sum(axis=1)
        spread = (between + _PRIOR_CURVES * base) / (k + _PRIOR_CURVES)
        noise = _residual_square(S, u) + np.einsum("mkij,mkji->mk", cov, S.ZZ)
        sigma2 = np.maximum(noise.sum(axis=1) / S.n.sum(), _LEAST_SD**2)
    prior = W @ gamma
    u, cov = _posterior(S, prior, spread, sigma2)
    return _Pooled(u, cov, sigma2, _evidence(S, prior, spread, sigma2), gamma, spread)


def _shape_weights(evidence: Array, seen: NDArray[np.bool_], steps: int = 30) -> Array:
    """Weight of every shape per curve (k, shapes): own evidence times how common the shape is.

    How common it is comes from the curves `seen` (k,) to have points.
    """
    common = np.full(evidence.shape[1], 1 / evidence.shape[1])
    for _ in range(steps):
        logs = evidence + np.log(np.maximum(common, 1e-300))
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        common = (weights[seen].sum(axis=0) + 1 / len(common)) / (seen.sum() + 1)
    return weights


# -- the fit --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """Curves of one law: `predict` scores at any n, `draw` whole curves.

    ``keys`` names the curves (one row each, with ``n_max`` seen and ``zero``); per curve and shape
    its weight, the variance of a point around it, where it begins and how much it spans (curves are
    scaled to 0..1 over the n seen), the mean of level and rise before and after the curve's own
    points, and their covariance.
    """

    law: _Law
    keys: pd.DataFrame
    weights: Array  # (k, shapes)
    sigma2: Array
    scale: Array  # (k, shapes, 2)
    prior: Array
    mean: Array
    spread: Array  # (k, shapes, 2, 2): before
    cov: Array  # after

    def _basis(self, n: Array, i: Index) -> Array:
        """(rows, shapes): scaled curve of every shape at n for the curves i."""
        raw = np.stack([self.law.curve(n, s) for s in self.law.shapes], axis=1)
        return (raw - self.scale[i, :, 0]) / self.scale[i, :, 1]

    def moments(self, n: Array, i: Index, noise: bool = True) -> tuple[Array, Array]:
        """Predictive mean and standard deviation at n (rows,) for the curves i."""
        g = self._basis(n, i)
        Z = np.stack([np.ones_like(g), g], axis=-1)
        at = np.einsum("rsk,rsk->rs", Z, self.mean[i])
        var = np.einsum("rsk,rskl,rsl->rs", Z, self.cov[i], Z) + noise * self.sigma2[i]
        w = self.weights[i]
        mean = (w * at).sum(axis=1)
        return mean, np.sqrt((w * (var + at**2)).sum(axis=1) - mean**2)

    def predict(self, n: Sequence[int] | Array, noise: bool = True) -> pd.DataFrame:
        """Score of every curve at every n with a 95 % interval (of a new measurement, or not)."""
        grid = np.asarray(n, dtype=float)
        if (grid <= 0).any():
            raise ValueError("the law starts at one example: zero-shot is a score of its own")
        i = np.repeat(np.arange(len(self.keys)), len(grid))
        mean, sd = self.moments(np.tile(grid, len(self.keys)), i, noise)
        out = self.keys.iloc[i].reset_index(drop=True)
        return out.assign(
            n_target=np.tile(grid, len(self.keys)),
            mean=np.clip(mean, 0, 1),
            low=np.clip(mean - 1.96 * sd, 0, 1),
            high=np.clip(mean + 1.96 * sd, 0, 1),
        )

    def reach(self, goal: float, i: int, draws: int, rng: np.random.Generator) -> Array:
        """Sorted draws of the number of examples at which curve i reaches the goal (inf: never)."""
        shape = rng.choice(len(self.law.shapes), size=draws, p=self.weights[i])
        out = np.empty(draws)
        for k in np.unique(shape):
            mine = shape == k
            u = rng.multivariate_normal(self.mean[i, k], self.cov[i, k], size=int(mine.sum()))
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                g = (goal - u[:, 0]) / u[:, 1]
                value = self.scale[i, k, 0] + g * self.scale[i, k, 1]
                n = self.law.inverse(value, self.law.shapes[k])
            n = np.where(u[:, 0] >= goal, np.minimum(n, self.keys["n_min"].iloc[i]), n)
            out[mine] = np.where((u[:, 1] <= 0) & (u[:, 0] < goal), math.inf, n)
        return np.sort(out)


def fit(points: pd.DataFrame, law: str = "power", new: pd.DataFrame | None = None) -> Fit:
    """Fit one law to few-shot points (of `curves`), pooled within model, task and metric.

    Parameters
    ----------
    points
        Rows with n_target > 0, ``score``, its standard error ``se`` (a surer point counts more)
        and, where measured, ``zero``: the zero-shot score then says where level and rise are
        expected.
    law
        ``log``, ``power`` (saturating) or ``logistic``.
    new
        Curves without a point (columns ``source, target, zero``) of the one model, task and
        metric there is: what the others say of them. They come last in ``keys``.
    """
    if law not in LAWS:
        raise unknown("law", law, LAWS, "choose one of them")
    keys = points.groupby(CURVE, sort=True).agg(
        n_min=("n_target", "min"), n_max=("n_target", "max"), zero=("zero", "first")
    )
    keys = keys.reset_index()
    if new is not None:
        pool_of = keys[["model", "task", "metric"]].drop_duplicates()
        if len(pool_of) > 1:
            raise ValueError("a curve without points needs one model, task and metric: choose")
        seen = {"n_min": points["n_target"].min(), "n_max": points["n_target"].max()}
        more = new[["source", "target", "zero"]].assign(**pool_of.iloc[0], **seen)
        keys = pd.concat([keys, more[keys.columns]], ignore_index=True)
    number = points.groupby(CURVE, sort=True).ngroup().to_numpy().astype(np.int64)
    k, m = len(keys), len(LAWS[law].shapes)
    pairs, squares = np.zeros((3, k, m, 2)), np.zeros((2, k, m, 2, 2))
    out = Fit(LAWS[law], keys, *np.zeros((2, k, m)), *pairs, *squares)
    for rows in keys.groupby(["model", "task", "metric"]).indices.values():
        own = np.asarray(rows, dtype=np.int64)
        mine = np.isin(number, own)
        _fit_pool(out, own, np.searchsorted(own, number[mine]), points[mine])
    return out


def _fit_pool(
    out: Fit, rows: NDArray[np.int64], local: NDArray[np.int64], own: pd.DataFrame
) -> None:
    """Fill in the rows of one model, task and metric; `local` numbers the curve of each point."""
    n, y, se = (own[c].to_numpy(dtype=float) for c in ("n_target", "score", "se"))
    ends = np.array([n.min(), n.max()])
    raw = np.stack([out.law.curve(np.append(ends, n), shape) for shape in out.law.shapes])
    low, span = raw[:, :1], np.maximum(raw[:, 1:2] - raw[:, :1], 1e-9)
    S = _sums(local, (raw[:, 2:] - low) / span, y, len(rows), _weights(se))
    W = _start(out.keys["zero"].to_numpy(dtype=float)[rows])
    result = _pool(S, W)
    out.sigma2[rows], out.scale[rows] = result.sigma2, np.hstack([low, span])
    out.prior[rows], out.spread[rows] = (W @ result.prior).swapaxes(0, 1), result.spread
    out.mean[rows], out.cov[rows] = result.mean.swapaxes(0, 1), result.cov.swapaxes(0, 1)
    out.weights[rows] = _shape_weights(result.evidence.T, S.n > 0)


def _start(zero: Array) -> Array:
    """Regressors of level and rise: a constant and, where every curve has it, zero-shot."""
    one = np.ones((len(zero), 1))
    if np.isnan(zero).any() or len(zero) < 6 or np.ptp(zero) < 1e-6:
        return one
    return np.column_stack([one, zero - zero.mean()])


# -- which law ------------------------------------------------------------------------------------


def _one_line(group: pd.DataFrame, n: float) -> float:
    """The claim as published: one line in log(1 + n), zero-shot being its first point."""
    x, y = group["n_target"].to_numpy(dtype=float), group["score"].to_numpy(dtype=float)
    zero = float(group["zero"].iloc[0])
    if math.isfinite(zero):
        x, y = np.append(x, 0.0), np.append(y, zero)
    slope, start = np.polyfit(np.log1p(x), y, 1)
    return float(np.clip(start + slope * np.log1p(n), 0, 1))


def compare_laws(
    points: pd.DataFrame, laws: Sequence[str] = ("log", "power", "logistic"), seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Laws judged where it counts: fitted on the smaller n, compared at each curve's largest n.

    Beside them their median (`MIDDLE`; its interval spans those of all), ``last value`` (nothing
    more happens) and ``one log line`` (unpooled, through zero-shot: the published claim).

    Returns
    -------
    summary
        ``model, task, metric, law, mae, low, high`` (95 %, bootstrap over curves), ``bias``,
        ``coverage`` (share inside the 95 % prediction interval), ``n_curves``.
    predictions
        One row per curve: ``n_target, score`` and one column per law.
    """
    largest = points.groupby("curve")["n_target"].transform("max")
    enough = points.groupby("curve")["n_target"].transform("nunique") >= 3
    train, test = points[enough & (points["n_target"] < largest)], points[enough]
    if train.empty:
        raise ValueError("judging a law needs curves with at least three numbers of examples")
    test = test[test["n_target"] == largest[enough]].copy()
    test = test.groupby(CURVE, as_index=False, sort=True).agg(
        n_target=("n_target", "first"), score=("score", "mean")
    )
    n, y = (test[c].to_numpy(dtype=float) for c in ("n_target", "score"))
    inside, low, high = {}, np.full(len(test), np.inf), np.full(len(test), -np.inf)
    for name in laws:
        mean, sd = fit(train, name).moments(n, np.arange(len(test)))
        test[name] = np.clip(mean, 0, 1)
        inside[name] = np.abs(mean - y) <= 1.96 * sd
        low, high = np.minimum(low, mean - 1.96 * sd), np.maximum(high, mean + 1.96 * sd)
    test[MIDDLE] = test[list(laws)].median(axis=1)
    inside[MIDDLE] = (low <= y) & (y <= high)
    below = train[train["n_target"] == train.groupby("curve")["n_target"].transform("max")]
    test["one log line"] = [
        _one_line(group, at) for (_, group), at in zip(train.groupby(CURVE), n, strict=True)
    ]
    test["last value"] = below.groupby(CURVE)["score"].mean().to_numpy()
    return _judge(test, [*laws, MIDDLE, "one log line", "last value"], inside, seed), test


def _bootstrap(values: Array, seed: int) -> tuple[float, float]:
    """95 % interval of the mean over curves; too few of them have none."""
    picks = np.random.default_rng(seed).integers(0, len(values), (2000, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _judge(
    test: pd.DataFrame, names: Sequence[str], inside: dict[str, NDArray[np.bool_]], seed: int
) -> pd.DataFrame:
    rows = []
    pool = ["model", "task", "metric"]
    for index in test.groupby(pool).indices.values():
        key = test[pool].iloc[index[0]]
        for name in names:
            error = (test[name] - test["score"]).to_numpy(dtype=float)[index]
            covered = float(inside[name][index].mean()) if name in inside else math.nan
            mae, ends = np.abs(error).mean(), _bootstrap(np.abs(error), seed)
            rows.append((*key, name, mae, *ends, error.mean(), covered, len(index)))
    names = [*pool, "law", "mae", "low", "high", "bias", "coverage", "n_curves"]
    return pd.DataFrame(rows, columns=names)


def law_verdicts(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Is the growth logarithmic? Error of the log law minus that of each other law, per task.

    Returns
    -------
    DataFrame
        ``claim, task, evidence, estimate, low, high, verdict``: the claim holds where the log law
        errs less, does not where it errs more, else cannot tell (bootstrap over curves). Fewer
        than five curves have no interval and cannot tell.
    """
    rows = []
    rivals = [c for c in ("power", "logistic", "last value") if c in predictions.columns]
    for (model, task, metric), group in predictions.groupby(["model", "task", "metric"]):
        errors = group[[*rivals, "log"]].sub(group["score"], axis=0).abs()
        for rival in rivals:
            less = (errors[rival] - errors["log"]).to_numpy(dtype=float)
            enough = len(less) >= _LEAST_CURVES
            low, high = _bootstrap(less, seed) if enough else (math.nan, math.nan)
            evidence = f"{model}, {task}, {metric}: error at the largest n, {rival} minus log"
            claim = f"few-shot growth is logarithmic rather than {rival}"
            ends = (less.mean(), low, high, verdict(low, high))
            rows.append((claim, task, evidence, *ends))
    names = ["claim", "task", "evidence", "estimate", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=names)


# -- the inverse question -------------------------------------------------------------------------


def in_words(low: float, middle: float, high: float, n_max: int) -> str:
    """An answer in words; beyond ten times the n measured a number would be a guess."""
    far = 10 * n_max
    if not math.isfinite(middle) or middle > 100 * n_max:
        return "not reachable" if low > far else "probably not reachable"
    if middle > far:
        return f"more than {far} (extrapolated far beyond the {n_max} measured)"
    top = f"{math.ceil(high)}" if high <= far else f"more than {far}"
    return f"about {math.ceil(middle)} ({math.ceil(low)} to {top})"


def examples_needed(fitted: Fit, goal: float, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How many target-language examples a score takes, per curve, with a 95 % interval.

    Returns
    -------
    DataFrame
        Curve columns, ``goal, n, low, high`` (infinite where the law never gets there),
        ``reachable`` (share of draws that reach the goal within ten times the n measured) and
        ``answer`` in words.
    """
    if not 0 < goal <= 1:
        raise ValueError(f"goal {goal:g} must lie above 0 and up to 1: a score, not a percentage")
    rng, rows = np.random.default_rng(seed), []
    for i, key in enumerate(fitted.keys.to_dict("records")):
        n = fitted.reach(goal, i, draws, rng)
        found: dict[Hashable, float | str] = answer(n, int(key["n_max"]))
        if math.isfinite(float(key["zero"])) and key["zero"] >= goal:
            found = {"n": 0.0, "low": 0.0, "high": 0.0, "answer": "none: zero-shot is enough"}
        share = float((n <= 10 * key["n_max"]).mean())
        rows.append(key | {"goal": goal, "reachable": share} | found)
    columns = [*CURVE, "goal", "n", "low", "high", "reachable", "answer"]
    return pd.DataFrame(rows, columns=columns)


def answer(n: Array, n_max: int) -> dict[Hashable, float | str]:
    """Median and 95 % interval of sorted draws (`Fit.reach`), and the same in words."""
    low, middle, high = (float(n[int(q * (len(n) - 1))]) for q in (0.025, 0.5, 0.975))
    return {"n": middle, "low": low, "high": high, "answer": in_words(low, middle, high, n_max)}


def examples_saved(
    scores: pd.DataFrame, model: str, control: str, law: str = "power", seed: int = 0
) -> pd.DataFrame:
    """Target examples that the control needs to match the zero-shot transfer from a source.

    The control is a condition without the pre-trained model or without a source (as
    ``tiny-scratch``). Its curve of the same pair is taken where it was measured, else its curve of
    the same target.

    Returns
    -------
    DataFrame
        ``task, source, target, metric, zero`` (zero-shot score of the model), ``n, low, high``
        (examples), ``answer``.
    """
    mine = curves(scores, model=model)
    goals = mine[mine["zero"].notna()].drop_duplicates("curve")
    goals = goals[["task", "source", "target", "metric", "zero"]]
    fitted = fit(curves(scores, model=control), law)
    keys, rng, rows = fitted.keys, np.random.default_rng(seed), []
    for goal in goals.to_dict("records"):
        same = (keys["task"] == goal["task"]) & (keys["target"] == goal["target"])
        same &= keys["metric"] == goal["metric"]
        exact = same & (keys["source"] == goal["source"])
        found = np.flatnonzero(exact if exact.any() else same)
        if not len(found):
            continue
        n = fitted.reach(float(goal["zero"]), int(found[0]), 2000, rng)
        rows.append(goal | answer(n, int(keys["n_max"].iloc[found[0]])))
    if not rows:
        raise ValueError(f"{control!r} has no few-shot curve for a target of {model!r}: score one")
    return pd.DataFrame(rows)
