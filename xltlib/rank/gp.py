"""The Gaussian process of the method ``gp``, our ranking of sources: one joint model of a transfer
matrix.

A cell's standardised score is a sum of effects with Gaussian priors: of the source, of the source
for similar targets, of similar pairs of languages (also with the roles exchanged), of the pair's
own similarity, and a free level per target. Everything is one kernel matrix over the cells, so what
the model predicts without any block of cells follows exactly from a single inverse (Rasmussen &
Williams 2006, section 5.4.2, for blocks). One preset serves every table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.intp]

# Mean dissimilarity (1 - similarity; decades for data_size) of two of the 150 languages of the
# published matrices: it brings the measures to one unit. Fixed, so that a further language changes
# nothing.
UNIT = {
    "word_order": 0.52,
    "morphology": 0.59,
    "phonology": 0.39,
    "inventory": 0.49,
    "genealogy": 0.95,
    "geography": 0.29,
    "script": 1.0,
    "spacing": 0.5,
    "data_size": 2.3,
}
# What a source gains by one unit of similarity (features of `Cells`) before any score is seen: mean
# and standard deviation, in units of the spread within a target. Random-effects means of sixteen
# published matrices, and 1.4 times the deviation between these: eleven further ones, which had no
# part in them, lay 1.5 times as far from the means as expected (`benchmarks/slopes.py`).
SLOPE = {
    "word_order": (0.19, 0.15),
    "spacing": (0.13, 0.22),
    "data_size": (0.12, 0.17),
    "genealogy": (0.06, 0.07),
    "script": (0.05, 0.08),
    "phonology": (0.04, 0.04),
    "geography": (0.02, 0.04),
    "morphology": (0.02, 0.06),
    "inventory": (0.0, 0.04),
}
OTHER_SLOPE = (0.05, 0.05)  # of any further measure
UNSIGNED_SLOPE = (0.0, 0.05)  # of a column that may be a distance or a similarity
_ROWS = 32  # of the kernel matrix made at a time: the intermediate arrays stay in the cache


@dataclass(frozen=True)
class _Preset:
    """Variances of the effects, in units of the variance within a target."""

    reach: float = 0.25  # dissimilarity at which the effects of two languages correlate by 1/2
    source: float = 0.1  # how good a source is, on its own
    source_like: float = 0.24  # ... and as its relatives are
    source_by_target: float = 0.375  # ... for targets like this one
    pair: float = 1.0  # similar sources for similar targets
    reverse: float = 0.5  # ... and with the roles exchanged: what a pair does is half symmetric
    smooth: float = 0.2  # the pair's similarity, by resemblance to other pairs (and `SLOPE`)
    smooth_reach: float = 1.2
    data_linear: float = 0.05  # the properties of the pair's data sets
    data: float = 0.4
    data_reach: float = 0.7
    joint: float = 0.3  # ... and of both together
    joint_reach: tuple[float, float] = (0.7, 0.4)
    level: float = 10.0  # of the target: as good as free
    record: float = 0.1  # warm only: similarity of two languages' records as sources
    noise: float = 0.15


PRESET = _Preset()
# Names of effects in reasons: the source's and its relatives' record, pairs like this one.
RECORD, ALIKE, DATA = "other targets", "similar pairs", "data sets"


@dataclass(frozen=True)
class Cells:
    """The n cells of a matrix as the process sees them.

    Attributes
    ----------
    source, target : (n,) item (language or treebank) of each end, counted from 0.
    source_language, target_language : (n,) row of ``kinship`` of each end.
    features : (n, k) similarity of the pair, centred within target, one unit for all pairs.
    data : (n, j) properties of the data sets, likewise.
    kinship : (L, L) language kernel, see `kinship`.
    slope : (k, 2) expected gain by each feature and its standard deviation, see `slopes`.
    names : of the k features.
    """

    source: Index
    target: Index
    source_language: Index
    target_language: Index
    features: Array
    data: Array
    kinship: Array
    slope: Array
    names: tuple[str, ...]

    def expected(self) -> Array:
        """(n,) standardised score before any is seen: more similar is better."""
        return self.features @ self.slope[:, 0]


def slopes(measures: Sequence[str]) -> Array:
    """(k, 2) of `SLOPE` for k measures, by name."""
    return np.array([SLOPE.get(name, OTHER_SLOPE) for name in measures]).reshape(-1, 2)


def dissimilarity(similarity: Mapping[str, Array]) -> Array:
    """(L, L) mean dissimilarity over the measures of `UNIT`, each in its unit.

    `similarity` holds (L, L) arrays, 1 or the language's own data size on the diagonal. An unknown
    value (NaN) leaves its measure out of that pair's mean; nothing known at all is infinitely far.
    """
    gaps = []
    for name, unit in UNIT.items():
        if name in similarity:
            value, own = similarity[name], np.diag(similarity[name])
            gap = np.abs(own[:, None] - own[None, :]) if name == "data_size" else 1 - value
            gaps.append(np.clip(gap, 0, None) / unit)
    size = len(next(iter(similarity.values())))
    stack = np.array(gaps) if gaps else np.full((1, size, size), np.nan)
    known = ~np.isnan(stack)
    mean = np.where(known, stack, 0).sum(0) / np.maximum(known.sum(0), 1)
    apart = np.where(known.any(0), mean, np.inf)
    np.fill_diagonal(apart, 0.0)
    return apart


def kinship(similarity: Mapping[str, Array]) -> Array:
    """Kernel of languages, 1 / (1 + D / reach) for the dissimilarity D.

    A sum of exponential kernels of all reaches: near relatives count much, far ones a little.
    """
    return 1 / (1 + dissimilarity(similarity) / PRESET.reach)


def kernel(cells: Cells) -> Array:
    """Prior covariance of the cells' standardised scores, (n, n).

    A pair informs the pair with the roles exchanged: k(s, s') k(t, t') with a share of
    k(s, t') k(t, s'), which at 1 would be an effect symmetric in source and target.
    """
    n = len(cells.source)
    out = np.empty((n, n), dtype=np.float32 if n > 5000 else np.float64)
    own = {x: getattr(cells, x).astype(out.dtype) for x in ("features", "data", "kinship", "slope")}
    cells = replace(cells, **own)
    for start in range(0, n, _ROWS):  # what is right of the diagonal, and its mirror image
        rows = np.arange(start, min(start + _ROWS, n))
        block = covariance(cells, rows, start)
        block[rows - start, rows - start] += PRESET.noise
        out[rows, start:] = block
        out[start:, rows] = out[rows, start:].T
    return out


def covariance(cells: Cells, rows: Index, start: int = 0) -> Array:
    """Prior covariance of some cells with all from `start` on, (rows, n - start), without noise."""
    block: Array = sum(_effects(cells, rows, start).values())  # type: ignore[assignment]
    block += cells.features[rows] @ (cells.features[start:] * cells.slope[:, 1] ** 2).T
    return block


def effects(cells: Cells, rows: Index, weight: Array) -> dict[str, Array]:
    """What each effect adds to the mean of some cells, (rows, outputs): by name, or by feature.

    ``weight`` (n, outputs) is the inverse of the visible cells' covariance times their deviation
    from `Cells.expected`, 0 for the others; the expected score is among what the features add.
    """
    found: dict[str, Array] = {name: part @ weight for name, part in _effects(cells, rows).items()}
    slope = cells.slope[:, :1] + cells.slope[:, 1:] ** 2 * (cells.features.T @ weight)
    for k, name in enumerate(cells.names):
        found[name] = found.get(name, 0) + cells.features[rows, k, None] * slope[k]
    return found


def _effects(cells: Cells, rows: Index, start: int = 0) -> dict[str, Array]:
    """Covariance of some cells with all from `start` on, (rows, n - start), by effect.

    Without the features' slopes.
    """
    preset, s, t = PRESET, cells.source_language[start:], cells.target_language[start:]
    rows_s, rows_t = cells.source_language[rows], cells.target_language[rows]
    like_source = np.take(cells.kinship[rows_s], s, axis=1)
    like_target = np.take(cells.kinship[rows_t], t, axis=1)
    same_source = (cells.source[rows][:, None] == cells.source[start:]).astype(like_source.dtype)
    record = preset.source * same_source + preset.source_like * like_source
    record += preset.source_by_target * same_source * like_target
    pair = preset.pair * like_source * like_target
    across = np.take(cells.kinship[rows_s], t, axis=1)
    pair += preset.reverse * across * np.take(cells.kinship[rows_t], s, axis=1)
    apart = _compared(cells.features, rows, start)[1]
    pair += preset.smooth * _radial(apart, preset.smooth_reach)
    pair[cells.target[rows][:, None] == cells.target[start:]] += preset.level
    if not cells.data.shape[1]:
        return {RECORD: record, ALIKE: pair}
    inner, data_apart = _compared(cells.data, rows, start)
    data = preset.data_linear * inner + preset.data * _radial(data_apart, preset.data_reach)
    both = _radial(apart, preset.joint_reach[0]) * _radial(data_apart, preset.joint_reach[1])
    return {RECORD: record, ALIKE: pair, DATA: data + preset.joint * both}


def _compared(x: Array, rows: Index, start: int) -> tuple[Array, Array]:
    """Mean product and mean squared difference over features of some cells with all from `start`
    on, (rows, n - start).
    """
    k = max(x.shape[1], 1)
    inner = x[rows] @ x[start:].T / k
    length = (x * x).sum(1) / k
    return inner, length[rows][:, None] + length[start:] - 2 * inner


def _radial(squared: Array, reach: float) -> Array:
    return np.exp(-squared / (2 * reach**2))


def inverse(covariance: Array) -> Array:
    """Inverse of a positive definite matrix through Cholesky; the argument is overwritten."""
    from scipy.linalg import get_lapack_funcs  # here: a fifth of a second, not always needed

    factor, invert = get_lapack_funcs(("potrf", "potri"), (covariance,))
    # LAPACK reads columns: the transpose of our symmetric rows is the same matrix without a copy.
    half, failed = factor(covariance.T, lower=1, overwrite_a=1)
    if not failed:
        half, failed = invert(half, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(
            "the similarity measures are contradictory: their kernel is not positive definite. "
            "Leave out measures of your own one by one, or give symmetric values."
        )
    for start in range(0, len(half), _ROWS):  # mirror the lower triangle in place
        stop = min(start + _ROWS, len(half))
        half[start:stop, stop:] = half[stop:, start:stop].T
        corner = np.tril(half[start:stop, start:stop])
        half[start:stop, start:stop] = corner + np.tril(corner, -1).T
    return half.T  # by rows, which `leave_out` takes


def leave_out(
    precision: Array,
    value: Array,
    hidden: Index,
    term: Array | None = None,
    image: Array | None = None,
) -> tuple[Array, Array]:
    """Mean and covariance of the hidden cells given all others.

    mean = -(P_BB)^-1 P_B,-B z_-B and covariance = (P_BB)^-1 for the precision P = K^-1 and the
    hidden block B. The values of the hidden cells are never read.

    Parameters
    ----------
    precision : (n, n) from `inverse`.
    value : (n,) or (n, outputs) standardised scores.
    hidden : (b,) positions of B.
    term : (n,), optional
        A further linear effect of this fold alone: K + x x', by Sherman and Morrison's formula.
    image : (n,), optional
        The precision times the term, if it is known already.
    """
    from scipy.linalg import cho_factor, cho_solve

    visible = np.array(value, dtype=float)
    visible[hidden] = 0.0
    rows = precision[hidden].astype(float, copy=False)
    block, pull = rows[:, hidden], rows @ visible
    if term is not None and term.any():
        if image is None:
            image = (precision @ term.astype(precision.dtype)).astype(float)
        part = image[hidden] / (1 + term @ image)
        block = block - np.outer(part, image[hidden])
        pull = pull - np.multiply.outer(part, image @ visible)
    covariance = cho_solve(cho_factor(block), np.eye(len(hidden)))
    return -covariance @ pull, covariance


FAR = 4.0  # an extreme level: standard deviations from the median, by the median deviation


def predict_level(
    apart: Array,
    features: npt.ArrayLike,
    slope: Array,
    level: Array,
    asked: Index,
    noise: float = 0.3,
) -> tuple[Array, Array]:
    """How hard an unseen target is: mean and variance of its level from the other targets' levels.

    A second, small process: targets near each other (`apart`, (T, T) dissimilarity) are about
    equally hard, and so are targets with similar `features` (T, k), with a linear trend in these.
    Before any level is seen the trend is `slope` (k,), in standard deviations of the level.
    `level` (T,) may be NaN; those at `asked` are not read. Extreme levels count as they are or as
    no farther than `FAR`, whichever predicts the levels seen, each from the others, with less
    squared error: one target that fails must not count for its neighbours, unless they fail too.
    """
    features = np.array(features, dtype=float, order="C")
    seen = np.setdiff1d(np.flatnonzero(~np.isnan(level)), asked)
    x = features / np.sqrt(max(features.shape[1], 1))
    distance = ((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)
    prior = 2 * np.exp(-2 * apart) + np.exp(-distance / 2) + 0.05 * features @ features.T + 10.0
    weight = np.linalg.inv(prior[np.ix_(seen, seen)] + noise * np.eye(len(seen)))
    tried = []
    for value in (level[seen], _without_extremes(level[seen])):
        centre, unit = value.mean(), value.std() or 1.0
        expected = centre + unit * features @ slope
        solved = weight @ (value - expected[seen]) / unit
        alone = value - unit * solved / np.diag(weight)  # each level from all the others
        tried.append((((level[seen] - alone) ** 2).sum(), unit, expected, solved))
    _, unit, expected, solved = min(tried, key=lambda found: found[0])
    gain = prior[np.ix_(asked, seen)]
    mean = expected[asked] + unit * gain @ solved
    variance = np.diag(prior)[asked] - ((gain @ weight) * gain).sum(1) + noise
    return mean, unit**2 * variance


def _without_extremes(value: Array) -> Array:
    """No value farther than `FAR` from the median."""
    middle = np.median(value)
    reach = FAR * 1.4826 * np.median(np.abs(value - middle))
    return np.clip(value, middle - reach, middle + reach) if reach > 0 else value
