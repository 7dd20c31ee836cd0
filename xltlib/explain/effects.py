"""Numbers behind the regression: two-way effects, errors over shared languages, shares of variance.

Pure functions of arrays; `regression` turns tables into them and results back into tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]


Index = NDArray[np.int64]


TINY = 1e-10
EXACT, ORDERS = 14, 200  # measures whose shares are taken over all orders; orders drawn beyond
SINGULAR = "so few languages do not tell the measures apart: use fewer measures or more languages"


@dataclass(frozen=True)
class Data:
    """Observations as arrays: one row per (model, task, source, target).

    ``y`` (n,), ``X`` (n, p); ``s`` and ``t`` number the effects (a source or target within a task
    and model), ``source`` and ``target`` the languages, ``block`` the task and model.
    """

    y: Array
    X: Array
    s: Index
    t: Index
    source: Index
    target: Index
    block: Index
    features: tuple[str, ...]
    languages: tuple[str, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...]


class Effects:
    """Source and target effects, weighted or not: the within transformation and its rank.

    Solves the normal equations of the two sets of dummies once, so that any number of columns can
    be demeaned; exact for unbalanced and disconnected tables.
    """

    def __init__(self, s: Index, t: Index, weight: Array | None = None) -> None:
        from scipy import sparse

        n, self.size_s = len(s), int(s.max()) + 1
        size = self.size_s + int(t.max()) + 1
        rows = np.repeat(np.arange(n), 2)
        columns = np.column_stack([s, t + self.size_s]).ravel()
        self.D = sparse.csr_matrix((np.ones(2 * n), (rows, columns)), shape=(n, size))
        self.weight = np.ones(n) if weight is None else weight
        self.WD = self.D.multiply(self.weight[:, None]).tocsr()
        gram = np.asarray((self.D.T @ self.WD).todense())
        self.inverse, self.rank = psd_inverse(gram)

    def coefficients(self, M: Array) -> Array:
        """Effects (size_s + size_t, ...) of the columns of M."""
        return np.asarray(self.inverse @ (self.WD.T @ M))

    def within(self, M: Array) -> Array:
        """M without its source and target effects."""
        return np.asarray(M - self.D @ self.coefficients(M))


def psd_inverse(gram: Array) -> tuple[Array, int]:
    """Pseudo-inverse and rank of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(gram)
    keep = values > values[-1] * len(gram) * 1e-12
    scaled = vectors[:, keep] / np.sqrt(values[keep])
    return scaled @ scaled.T, int(keep.sum())


def components(data: Data) -> int:
    """Groups of languages that share no score (beyond one per block)."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    size_s, size_t = int(data.s.max()) + 1, int(data.t.max()) + 1
    graph = sparse.coo_matrix(
        (np.ones(len(data.s)), (data.s, data.t + size_s)), shape=(size_s + size_t,) * 2
    )
    parts = connected_components(graph, directed=False)[0]
    return int(parts - len(np.unique(data.block)))


@dataclass(frozen=True)
class Within:
    """Response and measures without effects, in within-language-effects standard deviations."""

    y: Array
    X: Array
    sd_y: float
    sd_x: Array
    rank: int
    tss: float

    @property
    def df(self) -> int:
        return len(self.y) - self.rank - self.X.shape[1]


def within(data: Data) -> Within:
    """Standardised residuals over the effects; no variation or no degrees of freedom: an error."""
    effects = Effects(data.s, data.t)
    y, X = effects.within(data.y), effects.within(data.X)
    tss = float(((data.y - data.y.mean()) ** 2).sum())
    if (y**2).sum() <= 1e-12 * max(tss, TINY) or tss < TINY:
        raise ValueError(
            "the scores do not vary over source and target effects: there is nothing for similarity "
            "to explain (is the score column constant?)"
        )
    free = len(y) - effects.rank - X.shape[1]
    if free < 5:
        raise ValueError(
            f"{len(y)} pairs leave {free} degrees of freedom for {X.shape[1]} measures over "
            f"{effects.rank} effects: use fewer measures or more languages"
        )
    scale = math.sqrt(1.0 / (len(y) - effects.rank))
    sd_y, sd_x = float(np.linalg.norm(y) * scale), np.linalg.norm(X, axis=0) * scale
    return Within(y / sd_y, X / sd_x, sd_y, sd_x, effects.rank, tss)


def ols(X: Array, y: Array) -> tuple[Array, Array, Array]:
    """Least squares: coefficients, residuals, inverse of X'X."""
    bread = np.asarray(np.linalg.pinv(X.T @ X, hermitian=True), dtype=np.float64)
    beta = bread @ (X.T @ y)
    return beta, y - X @ beta, bread


def _meat(Xe: Array, groups: Index) -> tuple[Array, int]:
    """Sum over groups of (X'e)(X'e)', and the number of groups."""
    labels = np.unique(groups, return_inverse=True)[1]
    size = int(labels.max()) + 1
    sums = np.zeros((size, Xe.shape[1]))
    np.add.at(sums, labels, Xe)
    return sums.T @ sums, size


def cluster_two_way(
    X: Array, resid: Array, bread: Array, g1: Index, g2: Index, k: int, cautious: bool = True
) -> tuple[Array, int]:
    """Two-way clustered covariance (Cameron, Gelbach & Miller 2011, eq. 2.11 with section 2.3).

    V = V_1 + V_2 - V_12, each with its own factor G / (G - 1) * (n - 1) / (n - k), where k counts
    every parameter, effects included. Negative eigenvalues are set to zero.

    Returns
    -------
    (covariance (p, p), degrees of freedom = the smaller number of clusters - 1)

    Notes
    -----
    With `cautious` no variance is smaller than one clustered in a single way (the "max-se" of
    MacKinnon, Nielsen & Webb, arXiv 2406.08880): with a dozen languages the difference of three
    noisy matrices is often far too small.
    """
    n = len(resid)
    both = g1 * (int(g2.max()) + 1) + g2
    Xe = X * resid[:, None]
    total = np.zeros((X.shape[1],) * 2)
    sizes, least = [], np.zeros(X.shape[1])
    for sign, groups in ((1, g1), (1, g2), (-1, both)):
        meat, size = _meat(Xe, groups)
        part = size / (size - 1) * (n - 1) / (n - k) * (bread @ meat @ bread)
        total += sign * part
        least = np.maximum(least, np.diag(part)) if sign > 0 else least
        sizes.append(size)
    values, vectors = np.linalg.eigh((total + total.T) / 2)
    V = (vectors * np.maximum(values, 0.0)) @ vectors.T
    if cautious:
        V += np.diag(np.maximum(least - np.diag(V), 0.0))
    return V, min(sizes[:2]) - 1


def _language_classes(data: Data) -> list[Index]:
    """Languages that may stand for one another: sources and targets, sources only, targets only."""
    every = np.arange(len(data.languages))
    is_s, is_t = np.isin(every, data.source), np.isin(every, data.target)
    parts = [every[is_s & is_t], every[is_s & ~is_t], every[~is_s & is_t]]
    return [p for p in parts if len(p)]


def _relabel(classes: Sequence[Index], rng: np.random.Generator) -> Index:
    """Languages permuted, sources and targets jointly, each within its class."""
    new = np.arange(sum(len(part) for part in classes))
    for part in classes:
        new[part] = rng.permutation(part)
    return new


def _cell_lookup(data: Data) -> Index:
    """Row of (block, source, target); -1 where nothing was measured."""
    size = len(data.languages)
    table = np.full((int(data.block.max()) + 1, size, size), -1, dtype=np.int64)
    table[data.block, data.source, data.target] = np.arange(len(data.y))
    return table


def mrqap(data: Data, permutations: int = 999, seed: int = 0) -> Array:
    """Two-sided p of every measure by double semi-partialing (Dekker et al. 2007).

    The residual of a measure on all others and the effects is permuted by languages (rows and
    columns jointly), the model refitted, and the t statistics compared. Permuted cells that were
    not measured count as 0, the mean of the residual.

    Returns
    -------
    p (p,), (1 + times as large) / (1 + permutations)
    """
    effects = Effects(data.s, data.t)
    y, X = effects.within(data.y), effects.within(data.X)
    lookup, rng = _cell_lookup(data), np.random.default_rng(seed)
    classes = _language_classes(data)
    moved = [_relabel(classes, rng) for _ in range(permutations)]
    rows = [lookup[data.block, new[data.source], new[data.target]] for new in moved]
    out = np.empty(X.shape[1])
    for j in range(X.shape[1]):
        others = np.delete(X, j, axis=1)
        basis = np.linalg.qr(others)[0] if others.shape[1] else others
        left_x, left_y = X[:, j] - basis @ (basis.T @ X[:, j]), y - basis @ (basis.T @ y)
        free = len(y) - effects.rank - X.shape[1]
        observed = _t_statistics(left_x[:, None], left_y, effects, basis, free)[0]
        padded, larger = np.append(left_x, 0.0), 0
        for start in range(0, permutations, 100):
            batch = padded[np.stack(rows[start : start + 100], axis=1)]
            drawn = _t_statistics(batch, left_y, effects, basis, free)
            larger += int((np.abs(drawn) >= abs(observed) - 1e-9).sum())
        out[j] = (1 + larger) / (1 + permutations)
    return out


def added_p(data: Data, first: Sequence[int], permutations: int = 999, seed: int = 0) -> float:
    """p of what all other measures add to the first ones: MRQAP for a block.

    The block's residual on the first measures and the effects is permuted by languages as a whole.
    """
    rest = [j for j in range(data.X.shape[1]) if j not in first]
    if not rest:
        return math.nan
    effects = Effects(data.s, data.t)
    y, X = effects.within(data.y), effects.within(data.X)
    basis = np.linalg.qr(X[:, list(first)])[0]
    block = X[:, rest] - basis @ (basis.T @ X[:, rest])
    left_y = y - basis @ (basis.T @ y)
    lookup, rng = _cell_lookup(data), np.random.default_rng(seed)
    padded = np.vstack([block, np.zeros(len(rest))])
    observed = _explained(block[:, None, :], left_y, effects, basis)[0]
    classes, larger = _language_classes(data), 0
    for start in range(0, permutations, 100):
        moved = [_relabel(classes, rng) for _ in range(min(100, permutations - start))]
        rows = [lookup[data.block, new[data.source], new[data.target]] for new in moved]
        drawn = _explained(padded[np.stack(rows, axis=1)], left_y, effects, basis)
        larger += int((drawn >= observed * (1 - 1e-9)).sum())
    return (1 + larger) / (1 + permutations)


def _explained(E: Array, left_y: Array, effects: Effects, basis: Array) -> Array:
    """Square of y explained by each of b blocks E (n, b, q), beside the basis and the effects."""
    n, b, q = E.shape
    flat = E.reshape(n, b * q)
    sums, part = effects.D.T @ flat, basis.T @ flat
    absorbed = effects.inverse @ sums
    E_b = E.transpose(1, 2, 0)

    def blocks(M: Array) -> Array:
        return M.reshape(len(M), b, q).transpose(1, 2, 0)

    G = E_b @ E_b.transpose(0, 2, 1) - blocks(sums) @ blocks(absorbed).transpose(0, 2, 1)
    G -= blocks(part) @ blocks(part).transpose(0, 2, 1)
    cross = (left_y @ flat).reshape(b, q)
    return np.asarray(np.einsum("bi,bij,bj->b", cross, np.linalg.pinv(G, hermitian=True), cross))


def _t_statistics(E: Array, left_y: Array, effects: Effects, basis: Array, free: int) -> Array:
    """t of each column of E in a regression beside the basis and the effects (columns of E raw)."""
    sums, part = effects.D.T @ E, basis.T @ E
    square = (E**2).sum(axis=0) - (sums * (effects.inverse @ sums)).sum(axis=0)
    square = np.maximum(square - (part**2).sum(axis=0), TINY)
    cross = left_y @ E
    rss = np.maximum(left_y @ left_y - cross**2 / square, TINY)
    return np.asarray(cross / np.sqrt(square * rss / free))


@dataclass(frozen=True)
class Mixed:
    """Crossed random effects: fixed coefficients (intercepts last), their errors, variances."""

    beta: Array
    se: Array
    sd_source: float
    sd_target: float
    sd_pair: float
    source_effects: Array


def mixed(y: Array, X: Array, s: Index, t: Index) -> Mixed:
    """REML fit of y = X b + u_source + v_target + e with crossed random intercepts.

    The likelihood is profiled over b and the residual variance; with few languages per side its
    cost does not depend on the number of pairs (Bates et al. 2015, section 3). X holds its own
    intercept columns. Raises ValueError where so few languages leave no solution.
    """
    from scipy.optimize import minimize

    size_s, size_t = int(s.max()) + 1, int(t.max()) + 1
    Z = _cross_products(y, X, s, t, size_s, size_t)

    def deviance(theta: Array) -> float:
        return _reml(Z, np.abs(theta), size_s, size_t, len(y))[0]

    options = {"xatol": 1e-3, "fatol": 1e-4, "maxiter": 200}
    try:
        found = minimize(deviance, np.array([1.0, 1.0]), method="Nelder-Mead", options=options)
        theta = np.abs(found.x)
        _, beta, sigma2, cov, u = _reml(Z, theta, size_s, size_t, len(y))
    except np.linalg.LinAlgError:
        raise ValueError(SINGULAR) from None
    sd = math.sqrt(sigma2)
    return Mixed(beta, np.sqrt(np.diag(cov)), theta[0] * sd, theta[1] * sd, sd, u[:size_s])


def _cross_products(
    y: Array, X: Array, s: Index, t: Index, size_s: int, size_t: int
) -> dict[str, Array]:
    """Everything REML needs of the data: products of dummies, measures and response."""
    from scipy import sparse

    n = len(y)
    columns = np.column_stack([s, t + size_s]).ravel()
    D = sparse.csr_matrix(
        (np.ones(2 * n), (np.repeat(np.arange(n), 2), columns)), shape=(n, size_s + size_t)
    )
    M = np.column_stack([X, y])
    return {"DD": np.asarray((D.T @ D).todense()), "DM": np.asarray(D.T @ M), "MM": M.T @ M}


def _reml(
    Z: Mapping[str, Array], theta: Array, size_s: int, size_t: int, n: int
) -> tuple[float, Array, float, Array, Array]:
    """REML deviance at relative standard deviations theta, and what follows from it."""
    from scipy.linalg import cho_solve, cholesky

    scale = np.repeat(theta, [size_s, size_t])
    L = cholesky(scale[:, None] * Z["DD"] * scale + np.eye(size_s + size_t), lower=True)
    scaled = scale[:, None] * Z["DM"]
    inside = cho_solve((L, True), scaled)
    S = Z["MM"] - scaled.T @ inside
    p = len(S) - 1
    Lx = cholesky(S[:p, :p], lower=True)
    beta = cho_solve((Lx, True), S[:p, p])
    rss = max(float(S[p, p] - beta @ S[:p, p]), TINY)
    free = n - p
    logs = 2 * np.log(np.diag(L)).sum() + 2 * np.log(np.diag(Lx)).sum()
    deviance = float(logs + free * (1 + math.log(2 * math.pi * rss / free)))
    sigma2 = rss / free
    cov = sigma2 * cho_solve((Lx, True), np.eye(p))
    u = scale * (inside[:, p] - inside[:, :p] @ beta)
    return deviance, beta, sigma2, cov, u


def intercepts(block: Index) -> Array:
    return (block[:, None] == np.unique(block)).astype(float)


def vif(X: Array) -> Array:
    """Variance inflation of every column given the others (X over the effects)."""
    unit = X / np.linalg.norm(X, axis=0)
    corr = unit.T @ unit
    values = np.diag(np.linalg.pinv(corr, hermitian=True)).copy()
    if np.linalg.matrix_rank(corr, tol=1e-8, hermitian=True) < len(corr):
        for j in range(len(corr)):
            others = np.delete(unit, j, axis=1)
            left = unit[:, j] - others @ np.linalg.lstsq(others, unit[:, j], rcond=None)[0]
            values[j] = 1.0 / max(float(left @ left), TINY)
    return values


def p_of_t(t: Array, df: int) -> Array:
    from scipy.special import stdtr  # scipy.stats takes most of a second to import

    return np.asarray(2 * stdtr(df, -np.abs(t)))


def t_quantile(df: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.975))


def partial_r2(G: Array, subset: Sequence[int]) -> float:
    """Share of the last variable's variance that a subset explains; G = within cross products."""
    if not len(subset):
        return 0.0
    k = list(subset)
    b = np.linalg.pinv(G[np.ix_(k, k)], hermitian=True) @ G[k, -1]
    return float(np.clip(b @ G[k, -1] / G[-1, -1], 0.0, 1.0))


def _all_subsets(G: Array) -> Array:
    """Partial R2 of every subset of measures (2**p,), bit j = measure j, in one batch."""
    p = len(G) - 1
    bits = (np.arange(2**p)[:, None] >> np.arange(p)) & 1
    scale = np.sqrt(np.maximum(np.diag(G), TINY))
    C = G / np.outer(scale, scale)
    A = C[None, :p, :p] * bits[:, :, None] * bits[:, None, :]
    A = A + np.eye(p) * (1 - bits + 1e-9)[:, :, None]
    r = C[:p, p] * bits
    b = np.linalg.solve(A, r[:, :, None])[:, :, 0]
    return np.clip((b * r).sum(axis=1), 0.0, 1.0)


def shapley(G: Array) -> Array:
    """LMG shares (p,) of the partial R2: mean added share over all orders (Groemping 2006).

    Of more than `EXACT` measures over `ORDERS` orders drawn at random, each also read backwards
    (Castro, Gomez & Tejada 2009); the shares still add up to the partial R2.
    """
    p = len(G) - 1
    if p > EXACT:
        return _sampled_shares(G)
    r2, masks = _all_subsets(G), np.arange(2**p)
    size = np.array([bin(m).count("1") for m in masks])
    weight = np.array([1.0 / (p * math.comb(p - 1, k)) if k < p else 0.0 for k in size])
    out = np.empty(p)
    for j in range(p):
        without = masks[(masks >> j) & 1 == 0]
        out[j] = (weight[without] * (r2[without | (1 << j)] - r2[without])).sum()
    return out


def _sampled_shares(G: Array) -> Array:
    """`shapley` over random orders; what is added in an order is read off one Cholesky factor."""
    p, rng = len(G) - 1, np.random.default_rng(0)
    order = np.array([rng.permutation(p) for _ in range(ORDERS // 2)])
    order = np.vstack([order, order[:, ::-1]])
    scale = np.sqrt(np.maximum(np.diag(G), TINY))
    C = G / np.outer(scale, scale)
    factor = np.linalg.cholesky(C[order[:, :, None], order[:, None, :]] + 1e-9 * np.eye(p))
    added = np.linalg.solve(factor, C[order, p][:, :, None])[:, :, 0] ** 2
    return np.bincount(order.ravel(), added.ravel(), p) / len(order)


def gram(data: Data, weight: Array | None = None) -> Array:
    """Within cross products of (X, y), pairs weighted."""
    if weight is None:
        s, t, X, y = data.s, data.t, data.X, data.y
    else:
        keep = weight > 0
        s, t, X, y, weight = data.s[keep], data.t[keep], data.X[keep], data.y[keep], weight[keep]
        s = np.unique(s, return_inverse=True)[1].astype(np.int64)
        t = np.unique(t, return_inverse=True)[1].astype(np.int64)
    M = np.column_stack([X, y])
    effects = Effects(s, t, weight)
    left = effects.within(M)
    G = left.T @ (left if weight is None else left * weight[:, None])
    # what rounding leaves of an absorbed measure is no information
    small = np.diag(G) < 1e-9 * np.maximum((M**2).sum(axis=0), TINY)
    G[small, :] = 0.0
    G[:, small] = 0.0
    G[small, small] = TINY
    return np.asarray(G)


def resample(data: Data, statistic: Callable[[Array], Array], reps: int, seed: int = 0) -> Array:
    """A statistic of within cross products over bootstraps of *languages* (reps, ...).

    Languages are drawn with replacement within their class; a pair weighs as often as both of its
    languages were drawn (Davezies, D'Haultfoeuille & Guyonvarch 2021). Draws with fewer than four
    sources or targets are drawn again.
    """
    rng, classes = np.random.default_rng(seed), _language_classes(data)
    out: list[Array] = []
    if min(len(np.unique(data.source)), len(np.unique(data.target))) < 4:
        # or no draw would ever do
        raise ValueError("a bootstrap over languages needs at least four sources and four targets")
    while len(out) < reps:
        count = np.zeros(len(data.languages))
        for part in classes:
            np.add.at(count, rng.choice(part, len(part)), 1.0)
        weight = count[data.source] * count[data.target]
        kept = weight > 0
        if min(len(np.unique(data.source[kept])), len(np.unique(data.target[kept]))) < 4:
            if len(data.languages) < 5:
                raise ValueError("a bootstrap over languages needs at least five of them")
            continue
        out.append(statistic(gram(data, weight)))
    return np.array(out)


def interval(draws: Array) -> tuple[Array, Array]:
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return np.asarray(low), np.asarray(high)


def centre(v: Array, groups: Index) -> Array:
    labels = np.unique(groups, return_inverse=True)[1]
    return np.asarray(v - (np.bincount(labels, v) / np.bincount(labels))[labels])


def independent(X: Array) -> list[int]:
    """Columns that add to those before them."""
    kept: list[int] = []
    for j in range(X.shape[1]):
        trial = X[:, [*kept, j]]
        if np.linalg.matrix_rank(trial, tol=1e-6 * math.sqrt(len(X))) == len(kept) + 1:
            kept.append(j)
    return kept


def wald_equal(beta: Array, V: Array, df: int) -> float:
    """p that all coefficients are equal, F with (k - 1, df) degrees of freedom."""
    from scipy.special import fdtrc

    k = len(beta)
    R = np.column_stack([np.ones(k - 1), -np.eye(k - 1)])
    spread = R @ V @ R.T
    inverse, rank = psd_inverse(spread)
    if rank == 0:
        return math.nan
    F = float((R @ beta) @ inverse @ (R @ beta)) / rank
    return float(fdtrc(rank, df, F))


def clustered_mean(y: Array, source: Index, target: Index) -> tuple[float, float, int]:
    """Mean, two-way clustered standard error, degrees of freedom."""
    one = np.ones((len(y), 1))
    beta, resid, bread = ols(one, y)
    V, df = cluster_two_way(one, resid, bread, source, target, 1)
    return float(beta[0]), math.sqrt(max(float(V[0, 0]), 0.0)), df


def shared_parts_error(
    numerators: Array, denominators: Array, parts: Sequence[Sequence[str]]
) -> tuple[float, float]:
    """A ratio of sums over items, with an error that respects that items share parts.

    Test phrases are made of few names, each met in many phrases: counting phrases overstates what
    is known. The variance sums the products of the residuals of all items that share a part
    (Aronow, Samii & Assenova 2015 for pairs; here for any number of parts). Parts of their own
    for every item give `tasks.base.ratio`'s error, but for its factor n / (n - 1).

    Returns
    -------
    (ratio, standard error)
    """
    total = float(denominators.sum())
    if total == 0:
        raise ValueError("nothing to score: all denominators are 0")
    value = float(numerators.sum()) / total
    residual = numerators - value * denominators
    number = {part: i for i, part in enumerate(dict.fromkeys(p for own in parts for p in own))}
    rows = np.repeat(np.arange(len(parts)), [len(own) for own in parts])
    columns = [number[part] for own in parts for part in own]
    member = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(parts), len(number)))
    share = member @ member.T
    share.data[:] = 1.0
    return value, float(np.sqrt(max(residual @ (share @ residual), 0.0))) / total
