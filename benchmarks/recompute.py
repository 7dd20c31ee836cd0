"""A random sample of what the book asserts, computed again by code that shares none of its own.

    XLT_DATA=… python benchmarks/recompute.py build/book/assertions.csv

Draws two statements of each of fourteen pages (`PAGES`; what only a fresh run of the small model
can give is left out), computes them again from the kept tables with numpy, scipy, pandas and
statsmodels, and writes ``book/recomputed.csv``. Nothing of `xltlib.explain`, `xltlib.rank` or
`xltlib.book` computes here: of the library come the similarity of languages and the data sets, the
settings of the Gaussian process (numbers, no code), and the vectors of the encoder.

A recomputed figure agrees if it is the printed one at the second decimal. Where the book draws at
random (bootstrap, permutations) so does this script, from a generator of its own; then it agrees
within three standard deviations of what draws as many as the book's would differ by.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import published
import statsmodels.api as sm
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import spearmanr
from scipy.stats import t as student

from xltlib.data import cldr, datasets
from xltlib.io import write_table
from xltlib.languages import language, shared_script, similarity, uriel
from xltlib.rank import gp as PROCESS  # its settings only

Array = npt.NDArray[np.floating]
ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "book" / "published"
PAGES = (
    "03_matrix 04_predictors 06_published 07_choosing 14_layers 15_spelling 16_tuned "
    "lab/01_similarity lab/03_forking_paths lab/04_layers lab/05_siblings lab/06_left_out "
    "lab/09_consistency lab/11_teachers"
).split()
E5 = "multilingual-e5-small"
TYPOLOGY = ["word_order", "morphology", "phonology"]
RNG = 2212_01757  # of this script's own draws


@dataclass(frozen=True)
class Found:
    """A figure computed again; ``slack``, what draws may make each of the three differ by."""

    estimate: float
    low: float
    high: float
    slack: tuple[float, float, float] = (0.0, 0.0, 0.0)
    note: str = ""


def drawn(statements: pd.DataFrame, each: int = 2, seed: int = 19) -> pd.DataFrame:
    """The sample: `each` statements of every page of `PAGES`."""
    rng, parts = np.random.default_rng(seed), []
    for page in PAGES:
        own = statements[statements["page"] == page].sort_values("sentence")
        parts.append(own.iloc[np.sort(rng.choice(len(own), each, replace=False))])
    return pd.concat(parts, ignore_index=True)


# ---------------------------------------------------------------- intervals


def over_units(values: Sequence[float] | pd.Series | Array) -> Found:
    """Mean of one value a unit, and Student's t."""
    y = np.asarray(values, dtype=float)
    half = student.ppf(0.975, len(y) - 1) * y.std(ddof=1) / len(y) ** 0.5
    return Found(y.mean(), y.mean() - half, y.mean() + half)


def balanced(y: pd.Series) -> Found:
    """Crossed random effects of the levels of the index, every combination there: by ANOVA."""
    n, total, units = len(y), y - y.mean(), list(y.index.names)
    sizes = {u: y.index.get_level_values(u).nunique() for u in units}
    assert n == np.prod(list(sizes.values()))
    squares = {u: n / k * (total.groupby(level=u).mean() ** 2).sum() for u, k in sizes.items()}
    free = n - 1 - sum(k - 1 for k in sizes.values())
    cell = ((total**2).sum() - sum(squares.values())) / free
    parts = [(max(squares[u] / (k - 1) - cell, 0) / n, k - 1) for u, k in sizes.items()]
    half = sum(student.ppf(0.975, df) ** 2 * v for v, df in [*parts, (cell / n, n)]) ** 0.5
    return Found(y.mean(), y.mean() - half, y.mean() + half)


def crossed(y: pd.Series) -> Found:
    """The same where languages are source and target: each unit is left out of both sides."""
    n, levels = len(y), {u: y.index.get_level_values(u).to_numpy() for u in y.index.names}
    levels = {u: v for u, v in levels.items() if len(set(v)) > 1}
    additive = pd.get_dummies(pd.DataFrame(levels).astype(str), dtype=float).to_numpy()
    left, rank = np.linalg.lstsq(additive, y.to_numpy(), rcond=None)[::2]
    resid = y.to_numpy() - additive @ np.linalg.lstsq(additive, y.to_numpy(), rcond=None)[0]
    cell = float(resid @ resid) / (n - rank) / n
    both = set(levels["source"]) & set(levels["target"])
    roles = {"both": both, **{s: set(levels[s]) - both for s in ("source", "target")}}
    groups = [
        [(levels["source"] == c) | (levels["target"] == c) for c in r] for r in roles.values()
    ]
    groups += [[v == x for x in set(v)] for u, v in levels.items() if u not in roles]
    parts = []
    for inside in (g for g in groups if len(g) > 1):
        means = np.array([y.to_numpy()[~i].mean() for i in inside])
        k, shared = len(means), np.sum(inside) / n
        variance = (k - 1) / k * ((means - means.mean()) ** 2).sum() - shared * cell
        parts.append((max(variance, 0.0), k - 1))
    half = sum(student.ppf(0.975, df) ** 2 * v for v, df in [*parts, (cell, n)]) ** 0.5
    return Found(y.mean(), y.mean() - half, y.mean() + half)


def by_draws(estimate: float, draws: Array, n: int, error: float = 0.0, note: str = "") -> Found:
    """Middle 95 % of draws, and how far those of `n` would differ; `error` of the estimate."""
    rng, ends = np.random.default_rng(RNG), np.percentile(draws, [2.5, 97.5])
    again = [np.percentile(rng.choice(draws, n), [2.5, 97.5]) for _ in range(400)]
    apart = np.sqrt(np.var(again, axis=0) + error**2)
    return Found(estimate, *ends, (3 * error, 3 * apart[0], 3 * apart[1]), note)


# ---------------------------------------------------------------- tables, and effects of languages


@cache
def zero_shot(task: str, folder: str = "matrix", model: str = E5) -> pd.DataFrame:
    """Kept zero-shot scores of one model, in points."""
    table = pd.read_parquet(KEPT / folder / "scores.parquet")
    keep = (table["task"] == task) & (table["model"] == model) & (table["n_target"] == 0)
    table = table[keep & (table["source"] != table["target"])]
    return table.assign(score=100 * table["score"])[["source", "target", "seed", "score"]]


def cells_of(task: str) -> pd.DataFrame:
    """A row a pair, means over seeds."""
    return zero_shot(task).groupby(["source", "target"])["score"].mean().reset_index()


@cache
def measures_of(codes: tuple[str, ...], words: str) -> pd.DataFrame:
    """Similarity of pairs; lexical that of the kept texts, or of names."""
    if words == "texts":
        table = similarity.of_model(similarity.pairs(codes), E5)
        kept = pd.read_parquet(KEPT / "matrix" / "lexical.parquet")
        back = kept.rename(columns={"source": "target", "target": "source"})
        return table.merge(pd.concat([kept, back]), on=["source", "target"], how="left")
    names = cldr.vocabulary(c for c in codes if language(c).locale)
    wanted = [m for m in similarity.MEASURES if m != "lexical"]
    return similarity.pairs(codes, measures=wanted, texts=names)


def joined(task: str) -> pd.DataFrame:
    cells = cells_of(task)
    codes = tuple(sorted({*cells["source"], *cells["target"]}))
    return cells.merge(measures_of(codes, "texts"), on=["source", "target"])


def swept(M: Array, s: Array, t: Array, w: Array | None = None) -> Array:
    """Columns without source and target effects: weighted means taken away in turn."""
    w = np.ones(len(s)) if w is None else w
    M, sizes = M.astype(float).copy(), [np.bincount(g, w) for g in (s, t)]
    for _ in range(200):
        most = 0.0
        for g, size in zip((s, t), sizes, strict=True):
            for column in M.T:
                mean = np.bincount(g, w * column, len(size)) / np.where(size > 0, size, 1)
                column -= mean[g]
                most = max(most, np.abs(mean).max())
        if most < 1e-9:
            return M
    return M


def coded(cells: pd.DataFrame) -> tuple[Array, Array, int]:
    codes, names = pd.factorize(pd.concat([cells["source"], cells["target"]]), sort=True)
    return codes[: len(cells)], codes[len(cells) :], len(names)


def redrawn(s: Array, t: Array, size: int, n: int) -> list[Array]:
    """Weights of the pairs when languages are drawn anew, both sides alike."""
    rng = np.random.default_rng(RNG)
    counts = rng.multinomial(size, np.full(size, 1 / size), n)
    return [c[s] * c[t] for c in counts.astype(float)]


def share(y: Array, X: Array, w: Array) -> float:
    """Share of the variance of y that X explains, both without effects."""
    X, y = X * w[:, None] ** 0.5, y * w**0.5
    left = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return 1 - float(left @ left) / float(y @ y)


def shares(cells: pd.DataFrame, groups: Sequence[Sequence[str]], n: int, permuted: int):  # noqa: ANN201
    """Shares explained by groups of measures: as fitted, when languages are permuted, redrawn."""
    s, t, size = coded(cells)
    names = list(dict.fromkeys(sum(map(list, groups), [])))
    X, y = cells[names].to_numpy(float), cells["score"].to_numpy(float)
    at = [[names.index(m) for m in g] for g in groups]

    def of(M: Array, w: Array) -> list[float]:
        on = w > 0
        M = swept(M[on], s[on], t[on], w[on])
        return [share(M[:, -1], M[:, k], w[on]) for k in at]

    one, rng = np.ones(len(y)), np.random.default_rng(RNG)
    place = np.full((size, size), -1)
    place[s, t] = np.arange(len(y))
    chance = []
    for _ in range(permuted):
        new = rng.permutation(size)
        rows = place[new[s], new[t]]
        assert (rows >= 0).all()
        chance.append(of(np.column_stack([X[rows], y]), one))
    whole = np.column_stack([X, y])
    draws = [of(whole, w) for w in redrawn(s, t, size, n)]
    return np.array(of(whole, one)), np.array(chance), np.array(draws)


# ---------------------------------------------------------------- 03, 04, 06, 14: matrices


@cache
def squad_tokens(text: str) -> Counter[str]:
    """Spaces around all that is no letter, mark or number; lower case, no signs, no articles."""
    kind = unicodedata.category
    text = "".join(c if c == "_" or c.isspace() or kind(c)[0] in "LMN" else f" {c} " for c in text)
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return Counter(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(said: str, right: Sequence[str]) -> float:
    """SQuAD's F1 as mT5's scripts have it; a text is what `squad_tokens` leaves of it."""
    mine, best = squad_tokens(said), 0.0
    for gold in map(squad_tokens, right):
        common = (mine & gold).total()
        best = max(best, 2 * common / (mine.total() + gold.total()) if common else 0.0)
    return best


def reliability_of_questions() -> Found:
    """One half of the items by seed 0, the other by seed 1: r of the two, stepped up to both."""
    kept = pd.read_parquet(KEPT / "matrix" / "predictions.parquet").query("task == 'massive_qa'")
    table = pd.read_parquet(KEPT / "matrix" / "scores.parquet").query("task == 'massive_qa'")
    rows = []
    for target, items in kept.groupby("target"):
        cells = table[table["target"] == target].reset_index(drop=True)
        examples = {e.id: e.fields for e in datasets.load("massive_qa", target, "test").examples}
        spans = np.stack([np.frombuffer(b, "<u2").reshape(2, -1) for b in items["labels"]])
        half = [hashlib.sha256(i.encode()).digest()[0] % 2 for i in items["id"]]
        fields, f1 = [examples[i] for i in items["id"]], cache(squad_f1)
        for j, cell in cells[(cells["model"] == E5) & (cells["source"] != target)].iterrows():
            if cell["seed"] in (0, 1):
                own = [i for i, h in enumerate(half) if h == cell["seed"]]
                said = [(fields[i], slice(*spans[i, :, j])) for i in own]
                mean = np.mean([f1(f["context"][at], tuple(f["answers"])) for f, at in said])
                rows.append((cell["source"], target, cell["seed"], mean))
    long = pd.DataFrame(rows, columns=["source", "target", "seed", "score"])
    wide = long.pivot(index=["source", "target"], columns="seed", values="score").reset_index()
    s, t, size = coded(wide)

    def stepped_up(w: Array) -> float:
        r = np.cov(wide[0], wide[1], aweights=w)
        r = r[0, 1] / np.sqrt(r[0, 0] * r[1, 1])
        return 2 * r / (1 + abs(r))

    draws = np.array([stepped_up(w) for w in redrawn(s, t, size, 2000)])
    return by_draws(stepped_up(np.ones(len(s))), draws, 300)


def two_way_share(task: str) -> Found:
    """R2 of source and target effects, adjusted for their number; languages drawn anew."""
    cells = cells_of(task)
    s, t, size = coded(cells)
    y = cells["score"].to_numpy()

    def adjusted(w: Array) -> float:
        on, n = w > 0, (w > 0).sum()
        rank = len(set(s[on])) + len(set(t[on])) - 1
        rest = w[on] @ swept(y[on, None], s[on], t[on], w[on])[:, 0] ** 2 / (n - rank)
        return 1 - rest / (w[on] @ (y[on] - np.average(y[on], weights=w[on])) ** 2 / (n - 1))

    draws = np.array([adjusted(w) for w in redrawn(s, t, size, 600)])
    return by_draws(adjusted(np.ones(len(y))), draws, 200)


def coefficient(task: str, measure: str) -> Found:
    """Dummies for sources and targets beside all measures; errors clustered both ways."""
    table = joined(task).reset_index(drop=True)
    kept = pd.read_csv(KEPT / "matrix" / "coefficients.csv").query("matrix == @task")
    names = kept["feature"].tolist()
    s, t, _ = coded(table)
    sides = pd.get_dummies(table[["source", "target"]], drop_first=True, dtype=float)
    X = sm.add_constant(pd.concat([table[names], sides], axis=1))
    fit = sm.OLS(table["score"], X).fit()
    k, errors = X.columns.get_loc(measure), []
    for groups in (np.column_stack([s, t]), s, t):
        V = fit.get_robustcov_results("cluster", groups=groups, use_correction=True).cov_params()
        errors.append(V[k, k])
    left = swept(table[["score", measure]].to_numpy(), s, t).std(axis=0)
    unit = left[1] / left[0]  # standard deviations of what the effects leave
    reach = student.ppf(0.975, len(set(s)) - 1) * max(errors) ** 0.5 * unit
    b = fit.params[measure] * unit
    return Found(b, b - reach, b + reach)


def structure_beside_words(task: str) -> Found:
    """Partial R2 of structure less that of words, each beyond what permuted languages give."""
    fitted, chance, draws = shares(joined(task), [["lexical_translit"], TYPOLOGY], 300, 60)
    mean, error = chance.mean(axis=0), chance.std(axis=0)
    found = (fitted - mean) / (1 - mean)
    centred = draws.mean(axis=0)
    moved = found + (1 - found) / (1 - centred) * (draws - centred)
    error = np.hypot(*error) * (1 / 60 + 1 / 199) ** 0.5
    return by_draws(found[1] - found[0], moved[:, 1] - moved[:, 0], 300, error)


def words_at_layer(task: str, layer: int) -> Found:
    table = pd.read_parquet(KEPT / "matrix" / "layers.parquet")
    table = table[(table["task"] == task) & (table["model"] == E5)]
    table = table[(table["layer"] == layer) & (table["source"] != table["target"])]
    cells = table.groupby(["source", "target"])["score"].mean().reset_index()
    codes = tuple(sorted({*cells["source"], *cells["target"]}))
    cells = cells.merge(measures_of(codes, "texts"), on=["source", "target"])
    used = [*TYPOLOGY, *"lexical_translit genealogy geography script data_size".split()]
    fitted, chance, draws = shares(cells.dropna(subset=used), [["lexical_translit"]], 300, 60)
    fitted, chance, draws = fitted[0], chance[:, 0], draws[:, 0]
    found = (fitted - chance.mean()) / (1 - chance.mean())
    error = 100 * chance.std() * (1 / 60 + 1 / 20) ** 0.5
    return by_draws(100 * found, 100 * (found + draws - draws.mean()), 100, error)


def zero_shot_at_layer(task: str, layer: int) -> Found:
    table = pd.read_parquet(KEPT / "matrix" / "layers.parquet")
    table = table[(table["task"] == task) & (table["layer"] == layer)]
    table = table[table["source"] != table["target"]]
    return over_units(100 * table.groupby("target")["score"].mean())


def structure_adds_to_new(matrix: str) -> Found:
    """Error removed from the order of a new language's sources: core measures less words alone."""
    cells = published.load(matrix).query("source != target").reset_index(drop=True)
    codes = tuple(sorted({*cells["source"], *cells["target"]}))
    cells = cells.merge(measures_of(codes, "names"), on=["source", "target"])
    errors = []
    for target in sorted(set(cells["target"])):
        train = cells[(cells["target"] != target) & (cells["source"] != target)]
        test, per = cells[cells["target"] == target], []
        sides = pd.get_dummies(train[["source", "target"]], dtype=float).iloc[:, :-1]  # full rank
        for names in ([], ["lexical_translit"], ["lexical_translit", *TYPOLOGY]):
            b = sm.OLS(train["score"], pd.concat([train[names], sides], axis=1)).fit().params
            said = test[names] @ b[names] + b["source_" + test["source"]].to_numpy()
            wrong = test["score"] - said
            per.append(((wrong - wrong.mean()) ** 2).sum())
        errors.append(per)
    errors, rng = np.array(errors), np.random.default_rng(RNG)

    def gain(rows: Array) -> Array:
        none, words, core = errors[rows].sum(axis=-2).T
        return (words - core) / none

    n = len(errors)
    draws = gain(rng.integers(0, n, (20_000, n)))
    return by_draws(float(gain(np.arange(n))), draws, 2000)


# ---------------------------------------------------------------- 06, 07: the Gaussian process


def per_target(values: Array, t: Array, power: float) -> Array:
    """Scores centred within target, over sd**power * median sd**(1 - power); nan: unknown."""
    table = pd.Series(values).groupby(t)
    centred = values - table.transform("mean").to_numpy()
    spread = pd.Series(centred**2).groupby(t).mean() ** 0.5
    typical = spread.median()
    unit = spread.where(spread > 0, typical) ** power * typical ** (1 - power)
    return np.nan_to_num(centred / unit.reindex(t).to_numpy())


def one_unit(columns: Array, t: Array) -> Array:
    """Columns centred within target, over their overall size, at most five; unknown is the mean."""
    x = pd.DataFrame(columns).groupby(t).transform(lambda c: c - c.mean()).fillna(0).to_numpy()
    size = (x**2).mean(axis=0) ** 0.5
    return np.clip(x[:, size > 1e-9] / size[size > 1e-9], -5, 5)


def process(cells: pd.DataFrame, pairs: pd.DataFrame, data: Sequence[str] = ()):  # noqa: ANN201
    """Prior mean and covariance of the cells, as `xltlib.rank.gp` describes them."""
    s, t, size = coded(cells)
    names = sorted({*cells["source"], *cells["target"]})
    numeric = [c for c in pairs.select_dtypes("number") if not c.startswith("coverage_")]
    known = {}
    for name in (m for m in numeric if m not in similarity.LEVELS):
        wide = pairs.pivot(index="source", columns="target", values=name)
        value = wide.reindex(index=names, columns=names).to_numpy(float, copy=True)
        value = np.where(np.isnan(value), value.T, value)
        if name == "data_size":  # a pair has the smaller of two: the largest is one's own
            own = np.nanmax(value, axis=1)
            value = np.minimum.outer(*[np.nan_to_num(own, nan=np.nanmin(own) - 1)] * 2)
        else:
            np.fill_diagonal(value, max(1.0, np.nanmax(value)))
        known[name] = value
    gaps = []
    for name, unit in PROCESS.UNIT.items():
        if name in known:
            own = np.diag(known[name])
            gap = np.abs(np.subtract.outer(own, own)) if name == "data_size" else 1 - known[name]
            gaps.append(np.maximum(gap, 0) / unit)
    apart = np.nan_to_num(np.nanmean(gaps, axis=0), nan=np.inf)
    np.fill_diagonal(apart, 0)
    p = PROCESS.PRESET
    near = 1 / (1 + apart / p.reach)
    X = {m: one_unit(v[s, t][:, None], t) for m, v in known.items()}
    X = {m: x[:, 0] for m, x in X.items() if x.size}
    slope = np.array([PROCESS.SLOPE.get(m, PROCESS.OTHER_SLOPE) for m in X])
    F = np.column_stack(list(X.values()))
    same_s, same_t = np.equal.outer(s, s), np.equal.outer(t, t)
    ss, tt, st = near[np.ix_(s, s)], near[np.ix_(t, t)], near[np.ix_(s, t)]
    K = p.source * same_s + p.source_like * ss + p.source_by_target * same_s * tt
    K = K + p.pair * ss * tt + p.reverse * st * st.T + p.level * same_t
    square = ((F[:, None, :] - F[None]) ** 2).mean(axis=2)
    K += p.smooth * np.exp(-square / (2 * p.smooth_reach**2)) + (F * slope[:, 1] ** 2) @ F.T
    if data:
        D = one_unit(cells[list(data)].to_numpy(float), t)
        also = ((D[:, None, :] - D[None]) ** 2).mean(axis=2)
        K += p.data_linear * (D @ D.T) / D.shape[1]
        K += p.data * np.exp(-also / (2 * p.data_reach**2))
        reach = [2 * r**2 for r in p.joint_reach]
        K += p.joint * np.exp(-square / reach[0] - also / reach[1])
    return F @ slope[:, 0], K + p.noise * np.eye(len(s))


def record_of(z: Array, seen: Array, s: Array, t: Array, size: int) -> Array:
    """How alike a pair's two languages do as sources, over the targets that are visible."""
    wide = np.full((size, size), np.nan)
    wide[s[seen], t[seen]] = z[seen]
    known, centred = ~np.isnan(wide), wide - np.nanmean(wide, axis=1, keepdims=True)
    centred = np.nan_to_num(centred)
    shared, square = known.astype(float) @ known.T, centred**2 @ known.T
    alike = centred @ centred.T / np.sqrt(np.maximum(square * square.T, 1e-12))
    alike = np.where(shared >= 4, alike * shared / (shared + 5), np.nan)
    column = one_unit(alike[s, t][:, None], t)
    return column[:, 0] if column.size else np.zeros(len(s))


def losses(cells: pd.DataFrame, pairs: pd.DataFrame, warm: bool, data: Sequence[str] = ()):  # noqa: ANN201
    """Loss of the process's choice, of English and of chance, per cent, a row a target."""
    s, t, size = coded(cells)
    score = cells["score"].to_numpy()
    (prior, K), rows = process(cells, pairs, data), []
    english = (cells["source"] == "eng").to_numpy()
    base = cells[["source", "target"]].map(lambda c: c.partition("_")[0])
    for target in np.unique(t):
        held = t == target
        code = base["target"][held].iloc[0]
        hidden = (base["target"] == code) | (False if warm else base["source"] == code)
        seen, asked = ~hidden.to_numpy(), np.flatnonzero(held)
        visible = np.where(seen, score, np.nan)
        rank = 1 / pd.Series(visible).groupby(t).rank(ascending=False)
        gain = (rank - rank.groupby(t).transform("mean")).fillna(0).to_numpy()
        z = np.column_stack([per_target(visible, t, 0.75), gain / gain[seen].std()])
        V, across = K[np.ix_(seen, seen)], K[np.ix_(asked, seen)]
        if warm:
            u = PROCESS.PRESET.record**0.5 * record_of(z[:, 0], seen, s, t, size)
            V, across = V + np.outer(u[seen], u[seen]), across + np.outer(u[asked], u[seen])
        mean = across @ cho_solve(cho_factor(V), z[seen] - prior[seen, None])
        mean += prior[asked, None]
        mean -= mean.mean(axis=0)
        rating = (mean / mean.std(axis=0)) @ [1, 0.15]
        own, best = score[asked], score[asked].max()
        chosen = {"gp": own[rating.argmax()], "random": own.mean()}
        chosen["English"] = own[english[asked]].sum() if english[asked].any() else np.nan
        rows.append({rule: 100 * (1 - v / best) for rule, v in chosen.items()})
    return pd.DataFrame(rows)


@cache
def losses_on_intents() -> pd.DataFrame:
    cells = cells_of("massive_intent")
    return losses(cells, measures_of(tuple(sorted(set(cells["target"]))), "texts"), warm=False)


def choice_on_intents(rival: str) -> Found:
    table = losses_on_intents()
    return over_units((table[rival] - table["gp"]).dropna())


def choice_on_translation() -> Found:
    """Warm, on langrank-mt, with the published properties of its data sets."""
    cells = published.load("langrank-mt").query("source != target").reset_index(drop=True)
    codes = tuple(sorted({*cells["source"], *cells["target"]}))
    pairs = measures_of(codes, "names").drop(columns="lexical_translit")
    data = [c for c in cells if c.startswith("pair_")]
    for name in (c for c in data if re.search("size|ratio|overlap", c)):  # as logarithms
        x = cells[name]
        cells[name] = np.log(x.clip(lower=x[x > 0].min() / 2))
    table = losses(cells, pairs, warm=True, data=data)
    return over_units(table["random"] - table["gp"])


# ---------------------------------------------------------------- 15, 16: answers and models


def above_better_baseline(run: str, model: str, balanced_: bool) -> Found:
    """Right answers of a model less those of the better baseline of its pair, item by item."""
    table = pd.read_parquet(KEPT / run / "predictions.parquet")
    table = table.astype(dict.fromkeys(["model", "source", "target"], str))
    table = table[(table["n_target"] == 0) & (table["source"] != table["target"])]
    table = table[~table["target"].str.contains("_")]  # in letters of its own: a control
    table = table.assign(score=100.0 * table["correct"])
    pair, units = ["source", "target"], ["source", "target", "seed", "id"]
    rivals = table[table["model"].isin(["tiny-scratch", "char-ngram"])]
    means = rivals.groupby([*pair, "model"])["score"].mean().unstack("model")
    best = means.idxmax(axis=1).rename("model").reset_index()  # for all seeds and items
    best = rivals.merge(best, on=[*pair, "model"]).groupby([*pair, "id"])["score"].mean()
    mine = table[table["model"] == model].groupby(units)["score"].mean()
    y = mine.reset_index().join(best.rename("rival"), on=[*pair, "id"]).set_index(units)
    y = y["score"] - y["rival"]
    return balanced(y.droplevel("source")) if balanced_ else crossed(y)


def tuned_beside(other: str, folder: str) -> pd.Series:
    """Text-to-text less another model, zero-shot, by pair and seed (those that both have)."""
    cell = ["source", "target", "seed"]
    tuned = [m for m in pd.read_parquet(KEPT / "text2text" / "scores.parquet")["model"].unique()
             if m.startswith(E5) and not m.endswith("-shuffled")]  # fmt: skip
    first, second = (
        zero_shot("massive_intent", f, m).set_index(cell)["score"]
        for f, m in (("text2text", tuned[0]), (folder, other))
    )
    return (first - second).dropna()


def tuned_above_ngrams(target: str) -> Found:
    apart = tuned_beside("char-ngram", "text2text").xs(target, level="target")
    return over_units(apart.groupby("source").mean())


def tuned_above_probe_on_relatives() -> Found:
    """Pairs of one family in two scripts."""
    apart = tuned_beside(E5, "matrix")
    ends = [[language(c) for c in apart.index.get_level_values(s)] for s in ("source", "target")]
    keep = [a.family == b.family and not shared_script(a.script, b.script)
            for a, b in zip(*ends, strict=True)]  # fmt: skip
    return crossed(apart[keep].groupby(["source", "target"]).mean())


# ---------------------------------------------------------------- the laboratory


@cache
def vectors(page: str) -> tuple[list[str], dict[int, Array]]:
    """Codes, and the encoder's vectors of a hundred parallel sentences, (languages, 100, width)."""
    from xltlib.train.lab import parallel

    notebook = json.loads((ROOT / "notebooks" / f"{page}.ipynb").read_text("utf-8"))
    source = next(c for c in map("".join, (c["source"] for c in notebook["cells"]))
                  if c.startswith("model ="))  # fmt: skip
    codes = re.search(r"languages = \((.*?)\)", source, re.DOTALL)[1]
    codes = re.sub(r'#.*|"', "", codes).split()
    among = datasets.languages_of("sib200", local=True)
    found = parallel("sib200", codes, "train", 100, among=among)
    layers = found[codes[0]].features.layers
    return codes, {
        k: np.stack([found[c].features.of(range(100), k) for c in codes]) for k in layers
    }


def ranks_and_losses() -> dict[str, pd.DataFrame]:
    """By target, mean over tasks: rank correlation of each measure with scores, and its loss."""
    codes, by_layer = vectors("lab/01_similarity")
    x = by_layer[8] / np.linalg.norm(by_layer[8], axis=2, keepdims=True)
    cosine = sum(x[:, i] @ x[:, i].T for i in range(100)) / 100
    uriel_of = ["genealogy", "word_order", "morphology", "phonology", "geography"]
    wide = similarity.pairs(codes, measures=uriel_of)
    at = {c: i for i, c in enumerate(codes)}
    wide["cosine"] = [cosine[at[s], at[t]] for s, t in wide[["source", "target"]].to_numpy()]
    rows = []
    for task in "sib200 massive_intent massive_slots massive_qa udpos_dev".split():
        for target, own in cells_of(task).merge(wide, on=["source", "target"]).groupby("target"):
            for measure in [*uriel_of, "cosine"]:
                known = own[["score", measure]].dropna()
                if len(known) >= 10:
                    known = known.round(12)  # means over seeds that are equal, but for rounding
                    top = known["score"][known[measure] == known[measure].max()].mean()
                    loss = 100 * (1 - top / known["score"].max())
                    flat = known[measure].nunique() == 1
                    r = 0.0 if flat else spearmanr(known["score"], known[measure]).statistic
                    rows.append((target, measure, r, loss))
    table = pd.DataFrame(rows, columns=["target", "measure", "rank", "loss"])
    means = table.groupby(["target", "measure"])[["rank", "loss"]].mean()
    rank, loss = means["rank"].unstack(), means["loss"].unstack()
    return {
        "loss": (loss["genealogy"] - loss["cosine"]).dropna(),
        "rank": (rank["cosine"] - rank[uriel_of].mean(axis=1)).dropna(),
    }


@cache
def found_translations() -> pd.DataFrame:
    """Per cent of sentences of others whose nearest of a target's is the translation; by layer."""
    codes, by_layer = vectors("lab/04_layers")
    rows = {}
    for layer, x in by_layer.items():
        x = x / np.linalg.norm(x, axis=2, keepdims=True)
        hits = [[(np.argmax(a @ b.T, axis=1) == np.arange(100)).mean() for b in x] for a in x]
        np.fill_diagonal(hits := np.array(hits), np.nan)
        rows[layer] = 100 * np.nanmean(hits, axis=0)
    return pd.DataFrame(rows, index=codes)


def middle_above_last() -> Found:
    found = found_translations()
    last = found.columns.max()
    middle = [k for k in found if last / 3 <= k <= 2 * last / 3]
    return over_units(found[middle].mean(axis=1) - found[last])


def aligned_and_transferred(task: str) -> Found:
    kept = pd.read_parquet(KEPT / "matrix" / "layers.parquet").query("task == @task")
    kept = kept[(kept["model"] == E5) & (kept["source"] != kept["target"])]
    wide = kept.groupby(["target", "layer"])["score"].mean().unstack()
    both = [c for c in wide.index if c in found_translations().index]
    return over_units(
        [spearmanr(wide.loc[c], found_translations().loc[c, wide.columns]).statistic for c in both]
    )


def selected(agree: Array, y: Array) -> float:
    """Correlation with y when features are taken away one by one while that raises it."""
    y = (y - y.mean()) / y.std()

    def r(totals: Array) -> Array:
        sd = totals.std(axis=0)
        return np.where(sd > 1e-9, y @ totals / len(y) / np.where(sd > 1e-9, sd, 1), 0)

    best = r(agree.sum(axis=1, keepdims=True))[0]
    while agree.shape[1] > 1:
        tried = r(agree.sum(axis=1, keepdims=True) - agree)
        if tried.max() <= best:
            break
        best, agree = tried.max(), np.delete(agree, tried.argmax(), axis=1)
    return float(best)


@cache
def feature_selection(shuffles: int) -> pd.DataFrame:
    """By set of eight languages, mean over tasks: all features, selected, selected of noise."""
    tasks, uri, rows = ["massive_intent", "massive_qa", "massive_slots"], uriel.load(), []
    every = pd.concat([cells_of(task).assign(task=task) for task in tasks])
    row = {code: i for i, code in enumerate(uri.codes)}
    codes = sorted(c for c in set(every["source"]) if c.split("_")[0] in row)
    values = np.array([uri.knn[row[c.split("_")[0]]] for c in codes])
    rng = np.random.default_rng(RNG)
    noise = [np.column_stack([rng.permutation(v) for v in values.T]) for _ in range(shuffles)]
    order = np.random.default_rng(0).permutation(len(codes))  # the sets are those of the page
    at = {c: i for i, c in enumerate(codes)}
    for number in range(len(codes) // 8):
        members = {codes[i] for i in order[8 * number : 8 * number + 8]}
        for task in tasks:
            own = every[(every["task"] == task) & every["source"].isin(members)]
            own = own[own["target"].isin(members)]
            s, t, y = own["source"].map(at), own["target"].map(at), own["score"].to_numpy()
            agree = (values[s] == values[t]).astype(float)
            before = np.corrcoef(agree.sum(axis=1), y)[0, 1]
            of_noise = [selected((v[s] == v[t]).astype(float), y) for v in noise]
            rows.append((number, before, selected(agree, y), np.mean(of_noise), np.std(of_noise)))
    table = pd.DataFrame(rows, columns=["set", "all", "selected", "noise", "sd"])
    return table.groupby("set").mean()


def selecting() -> Found:
    table = feature_selection(6)
    return over_units(table["selected"] - table["all"])


def meaning() -> Found:
    """Noise of this script's own: its mean over three shuffles, 18 times, may differ."""
    table = feature_selection(6)
    found = over_units(table["selected"] - table["noise"])
    # three shuffles there and six here, of three tasks and six sets
    error = table["sd"].mean() / 18**0.5 * (1 / 3 + 1 / 6) ** 0.5
    return Found(found.estimate, found.low, found.high, (3 * error,) * 3)


BLOCKS = (
    "dan swe nob nno isl fao", "rus ukr bel pol ces slk slv hrv srp bul mkd",
    "spa por fra ita cat ron glg oci ast", "hin ben mar guj pan urd npi asm ory sin",
    "swh zul xho nya sna kin lug tsn sot nso", "tur azj kaz uzn kir tuk tat uig bak",
)  # fmt: skip


def siblings(task: str) -> Found:
    """Pair effects within each family of three targets or more; Student's t over families."""
    cells, means = cells_of(task), []
    s, t, _ = coded(cells)
    cells["left"] = swept(cells[["score"]].to_numpy(), s, t)[:, 0]
    for block in map(str.split, BLOCKS):
        own = cells[cells["source"].isin(block) & cells["target"].isin(block)]
        means += [own["left"].mean()] if own["target"].nunique() >= 3 else []
    return over_units(means)


def siblings_for_faroese() -> Found:
    to = zero_shot("sib200").query("target == 'fao'").pivot(index="seed", columns="source")["score"]
    kin = [c for c in BLOCKS[0].split() if c != "fao"]
    return balanced(to[kin].sub(to["eng"], axis=0).stack().rename_axis(["seed", "source"]))


@cache
def unseen_gaps() -> pd.DataFrame:
    """Points that an unseen language is below seen ones of its family and script."""
    seen, table = similarity.text_sizes("xlm-roberta-base"), zero_shot("sib200")
    about = pd.DataFrame({"code": sorted(set(table["target"]))})
    of = about["code"].map(language)
    about = about.assign(family=of.map(lambda x: x.family), script=of.map(lambda x: str(x.script)),
                         seen=of.map(lambda x: seen.get(x, 0) > 0)).set_index("code")  # fmt: skip
    known = table[table["source"].map(about["seen"])]
    about["score"] = known.groupby("target")["score"].mean()
    kin = about[about["seen"]].groupby(["family", "script"])["score"].mean().rename("kin")
    unseen = about[~about["seen"] & about["family"].fillna("").astype(bool)]
    unseen = unseen.join(kin, on=["family", "script"]).dropna(subset="kin")
    return unseen.assign(gap=unseen["kin"] - unseen["score"])


@cache
def answers(task: str):  # noqa: ANN201
    """Target -> items, cells and answers (rows, cells) by number; and the labels."""
    labels = json.loads((KEPT / "matrix" / "run.json").read_text("utf-8"))["labels"][task]
    kept = pd.read_parquet(KEPT / "matrix" / "predictions.parquet").query("task == @task")
    table = pd.read_parquet(KEPT / "matrix" / "scores.parquet").query("task == @task")
    found = {}
    for target, rows in kept.groupby("target"):
        cells = table[table["target"] == target].reset_index(drop=True)
        said = [np.frombuffer(b, np.uint8).reshape(-1, len(cells)) for b in rows["labels"]]
        found[target] = rows["id"].tolist(), cells, said
    return found, labels


@cache
def agreement() -> pd.DataFrame:
    """Pairs of languages: per cent of items with the same answer, less what accuracies give."""
    found, labels = answers("massive_intent")
    right = {
        e.id: e.fields["label"] for e in datasets.load("massive_intent", "eng", "test").examples
    }
    by_seed = []
    for seed in range(3):
        said = {}
        for code, (ids, cells, rows) in found.items():
            at = cells.index[(cells["model"] == E5) & (cells["source"] == "eng")
                             & (cells["seed"] == seed) & (cells["n_target"] == 0)]  # fmt: skip
            said[code] = pd.Series([labels[r[0, at[0]]] for r in rows], index=ids)
        wide = pd.DataFrame(said).drop(columns="eng").dropna()
        truth, codes = wide.index.map(right), list(wide)
        same = np.array([[(wide[a] == wide[b]).mean() for b in codes] for a in codes])
        given = np.zeros_like(same)
        for _, own in wide.groupby(truth):
            counts = own.apply(lambda c: c.value_counts(normalize=True)).fillna(0).to_numpy()
            given += len(own) / len(wide) * counts.T @ counts
        by_seed.append(100 * (same - given))
    both = pd.DataFrame(np.mean(by_seed, axis=0), index=codes, columns=codes)
    return both.rename_axis("source").rename_axis(columns="target").stack().rename("value")


def alike_beyond_accuracy() -> Found:
    y = agreement()
    s, t = (y.index.get_level_values(i) for i in range(2))
    return crossed(y[s < t])


def alike_between_relatives() -> Found:
    y = agreement()
    y = y[y.index.get_level_values(0) != y.index.get_level_values(1)].reset_index()
    codes = sorted(set(y["source"]))
    y = y.merge(similarity.pairs(codes, measures=["genealogy"]), on=["source", "target"])
    found = [spearmanr(own["value"], own["genealogy"]).statistic
             for _, own in y.groupby("target") if own["genealogy"].nunique() > 1]  # fmt: skip
    return over_units(found)


def dawid_skene(said: Array, n: int, rounds: int = 10) -> Array:
    """Label of each item by teachers of whom each errs in its own way; (items, teachers)."""
    belief = np.stack([(said == k).mean(axis=1) for k in range(n)], axis=1)
    for _ in range(rounds):
        logs = np.tile(np.log(belief.sum(axis=0) + 1), (len(said), 1))
        for own in said.T:
            counts = np.array([belief[own == k].sum(axis=0) for k in range(n)]).T  # truth, answer
            counts = counts + 0.1 + np.eye(n)
            logs += np.log(counts / counts.sum(axis=1, keepdims=True))[:, own].T
        belief = np.exp(logs - logs.max(axis=1, keepdims=True))
        belief /= belief.sum(axis=1, keepdims=True)
    return belief.argmax(axis=1)


@cache
def teachers(task: str) -> dict[str, pd.Series]:
    """Combination of tagged words less a vote, and less the best source of the other targets."""
    found, labels = answers(task)
    order = np.argsort(np.argsort(labels))  # ties of a vote: the label first by the alphabet
    vote, both, single = {}, {}, {}
    for target, (ids, cells, rows) in found.items():
        split = "test" if "test" in datasets.splits_of(task, target) else "validation"
        gold = {e.id: e.fields["tags"] for e in datasets.load(task, target, split).examples}
        truth = np.concatenate([
            [labels.index(x) if x in labels else -1 for x in gold[i][: len(r)]]
            for i, r in zip(ids, rows, strict=True)
        ])  # fmt: skip
        said, right = order[np.concatenate(rows)], np.where(truth >= 0, order[truth], -1)
        zero = (cells["model"] == E5) & (cells["n_target"] == 0) & (cells["source"] != target)
        for seed in range(3):
            at = cells.index[zero & (cells["seed"] == seed)]
            own = said[:, at]
            met = np.union1d(np.unique(said), right[right >= 0])  # the labels of this target
            counts = np.stack([(own == k).sum(axis=1) for k in met], axis=1)
            vote[target, seed] = (met[counts.argmax(axis=1)] == right).mean()
            combined = met[dawid_skene(np.searchsorted(met, own), len(met))]
            both[target, seed] = (combined == right).mean()
            for source, hits in zip(
                cells["source"][at], (own == right[:, None]).mean(0), strict=True
            ):
                single[source, target, seed] = hits
    one = pd.Series(single).rename_axis(["source", "target", "seed"])
    means = one.groupby(["source", "target"]).mean().unstack()
    chosen = {}
    for target in means:
        others = means.drop(columns=target)
        chosen[target] = (others - others.mean()).mean(axis=1).drop(target).idxmax()
    units = pd.MultiIndex.from_tuples(both, names=["target", "seed"])
    combined = pd.Series(both.values(), index=units)
    best = [one[chosen[t], t, seed] for t, seed in units]
    return {"vote": 100 * (combined - pd.Series(vote.values(), index=units)),
            "best": 100 * (combined - pd.Series(best, index=units))}  # fmt: skip


def over_units_and_seeds(rival: str) -> Found:
    return balanced(teachers("udpos_dev")[rival])


# ---------------------------------------------------------------- the sample

RECOMPUTED: dict[str, Callable[[], Found]] = {
    "Reliability of scores in two halves of items and examples, massive_qa.":
        reliability_of_questions,
    "Source and target by themselves explain the matrix, sib200.": lambda: two_way_share("sib200"),
    "More alike in geography, more transfer, matrix massive slots: score: standardised coefficient"
    ", all measures together.": lambda: coefficient("massive_slots", "geography"),
    "Structure predicts better than lexical similarity (fit), matrix sib200: score: partial R2 over"
    " effects, difference.": lambda: structure_beside_words("sib200"),
    "A chosen source beats chance (warm), matrix langrank-mt: loss of chance minus loss of gp, per "
    "cent of the best, warm.": choice_on_translation,
    "Structure adds to lexical similarity (prediction), matrix pos-xlmr: pos, score: error removed "
    "on languages never seen, difference.": lambda: structure_adds_to_new("pos-xlmr"),
    f"Chosen by gp, a source loses less than English, massive_intent, {E5}, cold start.":
        lambda: choice_on_intents("English"),
    f"Chosen by gp, a source loses less than random, massive_intent, {E5}, cold start.":
        lambda: choice_on_intents("random"),
    "What pairs carry is explained by words, layer 7, sib200.": lambda: words_at_layer("sib200", 7),
    "Zero-shot, layer 9, massive_intent.": lambda: zero_shot_at_layer("massive_intent", 9),
    "open-long: pairs scores zero-shot above the better of no pre-training and character n-grams, "
    "intent.": lambda: above_better_baseline("open-long", "pairs", False),
    "open: swe-azj scores zero-shot above the better of no pre-training and character n-grams, "
    "intent.": lambda: above_better_baseline("open", "swe-azj", True),
    "Text-to-text scores above n-grams zero-shot on Swahili.": lambda: tuned_above_ngrams("swh"),
    "Text-to-text scores above the probe on pairs of relatives, two scripts.":
        tuned_above_probe_on_relatives,
    "The model's own cosine loses less than genealogy when it chooses the source.":
        lambda: over_units(ranks_and_losses()["loss"]),
    "The model's own cosine orders sources better than the mean of URIEL's measures.":
        lambda: over_units(ranks_and_losses()["rank"]),
    "Selected features that mean something correlate more than selected features that do not.":
        meaning,
    "Selecting features raises the correlation with the scores they are selected on.": selecting,
    "The better a layer aligns a target, the better it transfers to it, udpos_dev.":
        lambda: aligned_and_transferred("udpos_dev"),
    "Translations lie closer together in middle layers than in the last.": middle_above_last,
    "Nordic siblings are better sources for Faroese than English, sib200.": siblings_for_faroese,
    "Siblings transfer more to one another than source and target effects say, massive_intent.":
        lambda: siblings("massive_intent"),
    "So they are when the family is the unit.":
        lambda: over_units(unseen_gaps().groupby("family")["gap"].mean()),
    "Unseen languages are served worse than seen relatives in the same script.":
        lambda: over_units(unseen_gaps()["gap"]),
    "Consistency beyond accuracy is higher between relatives.": alike_between_relatives,
    "Two languages give the same answer more often than their accuracies say.":
        alike_beyond_accuracy,
    "A model of how sources err combines them better than a vote, udpos_dev.":
        lambda: over_units_and_seeds("vote"),
    "The combination is better than the source that is best on average, udpos_dev.":
        lambda: over_units_and_seeds("best"),
}  # fmt: skip


def judged(row: dict[str, object], found: Found) -> dict[str, object]:
    """A row of the table: the printed figure, ours, and whether they agree."""
    both = [(float(row[e]), float(getattr(found, e))) for e in ("estimate", "low", "high")]
    near = [abs(a - b) <= 0.0051 + slack for (a, b), slack in zip(both, found.slack, strict=True)]
    shown = ["{:.2f} ({:.2f} to {:.2f})".format(*side) for side in zip(*both, strict=True)]
    drawn_ = f"drawn at random: within {max(found.slack):.2g}" if any(found.slack) else ""
    return {"sentence": row["sentence"], "page": row["page"], "printed": shown[0],
            "recomputed": shown[1], "agrees": all(near), "note": drawn_}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("assertions", type=Path, help="assertions.csv of a built book")
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "recomputed.csv")
    chosen = parser.parse_args()
    rows = []
    for row in drawn(pd.read_csv(chosen.assertions)).to_dict("records"):
        if row["sentence"] not in RECOMPUTED:
            raise ValueError(f"{row['sentence']!r} is drawn, but nothing here computes it: add it")
        rows.append(judged(row, RECOMPUTED[row["sentence"]]()))
        print(*rows[-1].values(), sep=" | ", flush=True)
    write_table(pd.DataFrame(rows), chosen.out)


if __name__ == "__main__":
    main()
