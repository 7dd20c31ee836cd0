"""Which source to take for one language, with the score to expect, how sure that is, and why.

Also which further measurement would help most (`next_best`). How many target examples a goal takes
is answered by `xltlib.book.budget`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from xltlib.languages import among, language, name, similarity
from xltlib.rank import levels, methods
from xltlib.rank.gp import Array, Index
from xltlib.rank.matrix import Fold, Matrix, Side, folds, matrices, standardised, target_mean
from xltlib.scores import CELL, cells, one_part, transfer

MOST_CELLS = 5_000  # read at most, of the nearest targets: an answer in ten seconds
_QUICK_CELLS = 1_600  # the same where dozens of languages are weighed
_DRAWS = 2_000
_LEAST = 3  # sources, and targets, from which a prediction can be learnt
# Of `matrix.standardised`. One unit for all targets where a further source is weighed: where no
# source did well the scores lie close together, and yet a further one may do well.
_POWER: dict[Side, float] = {"source": 0.0, "target": methods.POWER}
_CANDIDATES = 20  # languages considered for the next measurement
BY_SCORE = (  # where the first source is not the one that is most often the best
    " The order is by expected score: a lower source that is less certain can be the very best "
    "more often."
)


@dataclass(frozen=True)
class Recommendation:
    """Sources for one target, best first.

    Attributes
    ----------
    target : its key.
    labels : model, task and metric of the scores it rests on.
    table : ``rank, source, measured, predicted, low, high, p_best, why``, by score: measured or
        predicted, the predicted ones in the order of ``gp``. The interval is a 90 % one, for a
        measured cell that of its standard error where this is known; ``p_best`` is the chance that
        no other source does better; ``why`` says what puts a source above or below the average one.
    best_set : ``k, source, expected_best``: sources to train together, first the first of the
        table, then the one that raises the expected best score most; none that raises it no more.
    rests_on : a sentence: how much was measured and how well such predictions held elsewhere.
    """

    target: str
    labels: dict[str, str]
    table: pd.DataFrame
    best_set: pd.DataFrame
    rests_on: str


def recommend(
    target: str,
    scores: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    k: int = 3,
) -> Recommendation:
    """Rank the measured sources for any language, whether it was ever scored or not.

    Parameters
    ----------
    target : str
        Any language with features, in any code form.
    scores : DataFrame
        The scores table; `model`, `task` and `metric` say which part where it holds several.
    pairs : DataFrame, optional
        The pairs table with the target in it; made from lang2vec unless given.
    k : int
        Size of the set of sources (`Recommendation.best_set`).

    Raises
    ------
    ValueError
        For an unknown language, an ambiguous or empty table, one too small to learn from, or a
        target the pairs table lacks.
    """
    code = among(target, {*scores["source"], *scores["target"]})
    table = one_part(scores, model, task, metric)
    if pairs is None:
        of = str(table["model"].iloc[0]) if "model" in table else None
        codes = sorted({*table["source"], *table["target"], code})
        pairs = similarity.pairs(codes)
        pairs = similarity.of_model(pairs, of) if of else pairs
    ((labels, matrix),) = matrices(table, pairs, code, MOST_CELLS)
    column = np.flatnonzero(matrix.ends()[1] == matrix.languages.index(code))
    _enough(matrix, column, target)
    se = errors(table, matrix, column)
    predicts = bool(np.isnan(matrix.score[column]).any())
    past = Past.of(held_out(matrix) if predicts else [], column)
    rows, best = answer(matrix, column, se, past, _observed(pairs, code), k)
    others = set(table.loc[table["source"] != table["target"], "target"]) - {code}
    evidence = past.rests_on(matrix, len(others), predicts)
    if rows["measured"].any() and not (se > 0).any():
        evidence += " Its measured scores have no known error and are taken as exact."
    if not rows["measured"].any():
        evidence += _steady(matrix, column, rows["source"][0])
    if code not in {*table["source"], *table["target"]}:
        evidence += of_variety(code, matrix)
    if rows["p_best"].round(2).max() > rows["p_best"].round(2)[0]:
        evidence += BY_SCORE
    return Recommendation(code, labels, rows, best, evidence)


def answer(
    matrix: Matrix,
    cells: Index,
    se: Array,
    past: Past,
    observed: set[tuple[str, str, str]],
    k: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table and best set of a `Recommendation`.

    Parameters
    ----------
    cells : array (n,)
        Rows of the matrix that are the target's, one a source, measured or not.
    se : array (n,)
        Their standard errors (`errors`).
    past : Past
        Of the other targets; without a cell to predict it changes nothing.
    observed : set
        What rests on observed features: (measure, language, other language), both ways.
    k : int
        Size of the best set at most.
    """
    mean, covariance, order, why = _predicted(matrix, cells, se, observed)
    draws = _draws(mean, np.where(np.diag(se > 0), 1, past.spread**2) * covariance)
    best = _chosen(matrix, cells[order], draws[:, order], min(k, len(mean)))
    ahead = mean[order[0]] - draws[:, order[0]].mean()  # cut off at 0 and 1, draws lie elsewhere
    best["expected_best"] = (best["expected_best"] + ahead).clip(upper=1)
    rows = _rows(matrix, cells, mean, covariance, past.half_width, draws)
    rows = rows.assign(why=why).iloc[order].reset_index(drop=True)
    rows.insert(0, "rank", np.arange(1, len(rows) + 1))
    return rows, best


def _enough(matrix: Matrix, column: Index, target: str) -> None:
    """Refuse to predict from a table that cannot teach how transfer differs between pairs."""
    if len(matrix.sources) < 2:
        raise ValueError(f"only one source is left for {target!r}: there is nothing to choose")
    known = ~np.isnan(matrix.score)
    found = [len(np.unique(end[known])) for end in (matrix.source, matrix.target)]
    if min(found) < _LEAST and np.isnan(matrix.score[column]).any():
        raise ValueError(
            f"a recommendation for {target!r} has to be predicted, and {found[0]} source(s) and "
            f"{found[1]} target(s) are too few to learn from: measure at least {_LEAST} of each"
        )


def errors(table: pd.DataFrame, matrix: Matrix, column: Index) -> Array:
    """Standard errors (n,) of the target's cells `column`, in 0..1; 0 where there is none known.

    They are those of `scores.cells` of `table`, the scores table that the matrix was made from.
    """
    if not {*CELL, "seed", "n_test"} <= set(table):
        return np.zeros(len(column))
    code = matrix.languages[matrix.ends()[1][column[0]]]
    own = cells(transfer(table[table["target"] == code])) if code in set(table["target"]) else None
    if own is None or own.empty:
        return np.zeros(len(column))
    known = own.groupby("source")["se"].mean()
    sources = [matrix.languages[i] for i in matrix.ends()[0][column]]
    return np.nan_to_num(known.reindex(sources).to_numpy(float))


def _predicted(
    matrix: Matrix, cells: Index, se: Array, observed: set[tuple[str, str, str]]
) -> tuple[Array, Array, Index, list[str]]:
    """Mean and covariance over the target's cells, their order, and what it is due to.

    A measured cell keeps its score and its error. The predicted scores are given out in the order
    of ``gp``, which weighs in who is likely to be the very best (`methods.gaussian_process`).
    """
    hidden = cells[np.isnan(matrix.score[cells])]
    mean, covariance = matrix.score[cells].copy(), np.diag(se**2)
    rating = mean - np.nanmean(mean) if len(hidden) < len(cells) else mean.copy()
    why = [f"measured, {_points(x)} beside the average measured source" for x in rating]
    if len(hidden):
        at, fold = np.flatnonzero(np.isin(cells, hidden)), Fold(hidden, hidden)
        own, covariance[np.ix_(at, at)] = levels.posterior(matrix, fold, "warm")
        due = methods.reasons(matrix, fold, "warm")
        rating[at] = due.sum(axis=1)
        mean[at[np.argsort(-rating[at], kind="stable")]] = np.clip(np.sort(own)[::-1], 0, 1)
        due *= own.std() / max(rating[at].std(), 1e-12)  # as far apart as the predicted scores
        for i, text in zip(at, _why(matrix, hidden, due, observed), strict=True):
            why[i] = text
    return mean, covariance, np.lexsort([-rating, -mean]), why


def _why(
    matrix: Matrix, cells: Index, points: pd.DataFrame, observed: set[tuple[str, str, str]]
) -> list[str]:
    """What most puts each source above or below the average one, in points of 100, with the sum.

    A measure of which nothing was observed in both languages is part of the rest.
    """
    out, names = [], list(points)
    titles = [
        str(name).replace("_translit", " (transliterated)").replace("_", " ") for name in names
    ]
    for row, s, t in zip(points.to_numpy(), *(end[cells] for end in matrix.ends()), strict=True):
        pair = (matrix.languages[s], matrix.languages[t])
        known = [m not in matrix.measures or (m, *pair) in observed for m in names]
        size = np.where(known, np.abs(row), 0)
        top = [i for i in np.argsort(-size, kind="stable")[:5] if size[i] > 5e-4]
        parts = []
        for i in top:
            own = matrix.measures.get(names[i])
            value = "" if own is None else f" ({own[s, t]:.2f})"
            parts.append(f"{titles[i]}{value} {_points(row[i])}".replace(") (", ", "))
        parts.append(f"the rest {_points(row.sum() - row[top].sum())}")
        out.append(f"{_points(row.sum())} beside the average source: {', '.join(parts)}")
    return out


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def _observed(pairs: pd.DataFrame, code: str) -> set[tuple[str, str, str]]:
    """(measure, language, other), one being `code`, of which something was observed, both ways."""
    pairs = pairs[(pairs["source"] == code) | (pairs["target"] == code)]
    seen = ~similarity.imputed(pairs)
    found: set[tuple[str, str, str]] = set()
    for measure in seen:
        for one, other in pairs.loc[seen[measure], ["source", "target"]].to_numpy():
            found |= {(str(measure), one, other), (str(measure), other, one)}
    return found


@dataclass(frozen=True)
class Past:
    """How predictions of other targets, each held out, turned out.

    ``half_width`` of the 90 % interval in deviations; ``spread``, by how much the order of a
    target's sources is more (above 1) or less uncertain than the process has it: root of the ratio
    of squared errors to expected ones, each target's own level taken out of both; ``error``, mean
    absolute; ``n_targets``.
    """

    half_width: float
    spread: float
    error: float
    n_targets: int

    @classmethod
    def of(cls, held: Iterable[Held], cells: Index) -> Past:
        """How they turned out (`held_out`), but for the one that `cells` belong to."""
        others = [one for one in held if not len(np.intersect1d(one.asked, cells))]
        if not others:
            return cls(levels.stretch(np.array([]), 0), 1.0, math.nan, 0)
        error, sd = np.concatenate([one.misses for one in others]).T
        expected = sum(one.expected for one in others)
        spread = math.sqrt(sum(one.missed for one in others) / expected) if expected > 0 else 1.0
        width = levels.stretch(error / sd, len(others))
        return cls(width, spread, float(error.mean()), sum(one.n for one in others))

    def rests_on(self, matrix: Matrix, others: int, predicts: bool) -> str:
        """How much was measured, and how well predictions held elsewhere: a sentence."""
        known = int((~np.isnan(matrix.score)).sum())
        measured = f"{known} measured pairs, {len(matrix.sources)} sources"
        if not predicts:
            return f"{measured}; the target was measured."
        if not self.n_targets:
            return f"{measured}, no other target to check predictions on."
        nearest = f" (the most similar of {others})" if self.n_targets < others else ""
        return (
            f"{measured}, {self.n_targets} other targets{nearest}; with each of these held out the "
            f"prediction missed by {100 * self.error:.1f} points on average."
        )


@dataclass(frozen=True)
class Held:
    """One language held out: its cells, their errors and deviations, and what `Past` sums."""

    asked: Index
    misses: Array  # (n, 2): absolute error, standard deviation
    missed: float
    expected: float
    n: int


def held_out(matrix: Matrix, power: float = methods.POWER) -> Iterator[Held]:
    """Predict every measured target from the others, as one of which nothing is known.

    What was not measured stays hidden. `power` is of `matrix.standardised`.
    """
    unmeasured = np.flatnonzero(np.isnan(matrix.score))
    for fold in folds(matrix, "cold"):
        asked = np.setdiff1d(fold.asked, unmeasured)
        if not len(asked):
            continue
        held = Fold(asked, np.union1d(fold.hidden, unmeasured))
        mean, covariance = levels.posterior(matrix, held, "cold", power)
        error, target = matrix.score[asked] - np.clip(mean, 0, 1), matrix.target[asked]
        centre = levels.centring(target)
        yield Held(
            fold.asked,
            np.column_stack([np.abs(error), np.sqrt(np.diag(covariance))]),
            float(((centre @ error) ** 2).sum()),
            float(np.trace(centre @ covariance @ centre.T)),
            len(np.unique(target)),
        )


def _steady(matrix: Matrix, column: Index, first: str) -> str:
    """Whether another source would be first had any other language not been measured."""
    ends, at = matrix.ends(), matrix.source[column]
    others = np.setdiff1d(np.arange(len(matrix.languages)), ends[1][column])
    others = others[others != matrix.source_language[matrix.sources.index(first)]]
    gone = [np.flatnonzero((ends[0] == one) | (ends[1] == one)) for one in others]
    left = [Fold(column, np.union1d(column, cells)) for cells in gone]
    turned = []
    for one, fold in zip(others, methods.with_terms(matrix, left, "warm"), strict=True):
        rating = methods.gaussian_process(matrix, fold, "warm")
        rating[matrix.source_language[at] == one] = -np.inf
        turned.append(matrix.sources[at[rating.argmax()]])
    new = [source for source in turned if source != first]
    if not new:
        return (
            f" Whichever of the {len(others)} other languages is left out, the first stays first."
        )
    listed = " or ".join(name(source.partition("/")[0]) for source in dict.fromkeys(new))
    return (
        f" Left out one at a time, {len(new)} of the {len(others)} other languages would put "
        f"{listed} first."
    )


def of_variety(code: str, matrix: Matrix) -> str:
    """A sentence: what is known of a variety (a language in a script); empty for a language."""
    if code == language(code).code:
        return ""
    of_script = [m for m in ("script", "spacing") if m in matrix.measures]
    return (
        f" Of {name(code)} itself {' and '.join(of_script) or 'nothing'} is known, "
        "all other similarities are those of its language."
    )


def _chosen(matrix: Matrix, cells: Index, draws: Array, k: int) -> pd.DataFrame:
    """Greedy set of sources by the expected best score among them, over draws of the prediction.

    The first cell is the best one.
    """
    have, left = np.zeros(len(draws)), list(range(len(cells)))
    rows: list[dict[str, object]] = []
    for step in range(1, k + 1):
        gain = np.maximum(draws[:, left], have[:, None]).mean(axis=0)
        pick = left.pop(int(gain.argmax()) if rows else 0)
        if rows and not gain.max() > have.mean() + 1e-9:
            break
        have = np.maximum(have, draws[:, pick])
        source = matrix.sources[matrix.source[cells[pick]]]
        rows.append({"k": step, "source": source, "expected_best": float(have.mean())})
    return pd.DataFrame(rows)


def _draws(mean: Array, covariance: Array) -> Array:
    """(_DRAWS, n) scores, never outside 0..1."""
    noise = np.random.default_rng(0).standard_normal((_DRAWS, len(mean)))
    values, vectors = np.linalg.eigh(covariance)
    # the symmetric root: eigenvectors of equal eigenvalues are what rounding makes them
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return np.clip(mean + noise @ root, 0, 1)


def _rows(
    matrix: Matrix, cells: Index, mean: Array, covariance: Array, half_width: float, draws: Array
) -> pd.DataFrame:
    measured = ~np.isnan(matrix.score[cells])
    wide = np.where(measured, 1.645, half_width) * np.sqrt(np.diag(covariance))
    first = draws == draws.max(axis=1, keepdims=True)  # a tie counts for all who share it
    return pd.DataFrame(
        {
            "source": [matrix.sources[i] for i in matrix.source[cells]],
            "measured": measured,
            "predicted": mean,
            "low": np.clip(mean - wide, 0, 1),
            "high": np.clip(mean + wide, 0, 1),
            "p_best": (first / first.sum(axis=1, keepdims=True)).mean(axis=0),
        }
    )


# -- the next measurement -------------------------------------------------------------------------


def candidates(measured: Sequence[str], most: int = _CANDIDATES) -> list[str]:
    """Languages to consider beyond the measured ones: those with most text to pre-train on."""
    sizes = sorted(similarity.mc4_sizes().items(), key=lambda item: -item[1])
    found = dict.fromkeys(lang.code for lang, _ in sizes)
    return [code for code in found if code not in set(measured)][:most]


def next_best(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    languages: Sequence[str] | None = None,
    most: int = _CANDIDATES,
) -> pd.DataFrame:
    """Which further measurement would help most, by the process behind ``gp``.

    A further *source* helps a target as far as it beats the best source measured for it: the
    expected improvement E[max(0, y - best)], averaged over the measured targets. A further *target*
    (test data for the models there are) helps that target as far as the best measured source beats
    the one that would be chosen unmeasured: E[max y] - max E[y], the value of perfect information.
    Both over draws of the posterior of all its cells, with the spread that predictions of the order
    of held-out targets' sources turned out to have. A further source's gain is a hint, no ranking:
    known sources taken out of five published matrices (of `benchmarks/published.py`: ner-xlmr,
    pos-xlmr, langrank-dep, langrank-el, xnli-mt5) had true gains that correlated with the expected
    ones at .3 to .6 (Spearman).

    Parameters
    ----------
    scores, pairs
        One model, task and metric; the pairs of its languages and of the candidates.
    languages
        Candidates; else those of the pairs table that lack scores as source or target, the ones
        with the fewest first.

    Returns
    -------
    DataFrame
        ``kind`` (source, target), ``language, gain, low, high`` (score, 0..1, and 90 % interval of
        what is gained), ``n_new`` (cells to measure), ``n_measured`` (measured cells read);
        best first.
    """
    ((_, measured),) = matrices(scores, pairs, None, _QUICK_CELLS, ("source", []))
    rows: list[tuple[object, ...]] = []
    for side, power in _POWER.items():
        chosen = _lacking(scores, pairs, side, most) if languages is None else list(languages)
        if chosen:
            ((_, matrix),) = matrices(scores, pairs, None, _QUICK_CELLS, (side, chosen))
            spread = Past.of(held_out(measured, power), np.array([], np.intp)).spread
            rows += _gains(matrix, side, chosen, spread)
    names = ["kind", "language", "gain", "low", "high", "n_new", "n_measured"]
    out = pd.DataFrame(rows, columns=names)
    return out.sort_values(["gain", "language"], ascending=[False, True], ignore_index=True)


def _lacking(scores: pd.DataFrame, pairs: pd.DataFrame, side: Side, most: int) -> list[str]:
    """Languages with the fewest cells on this side, fewer than there could be."""
    other = "target" if side == "source" else "source"
    own = transfer(scores) if "n_target" in scores else scores[scores["source"] != scores["target"]]
    have, others = own.groupby(side)[other].nunique(), set(own[other])
    lacking = sorted((int(have.get(c, 0)), c) for c in {*pairs["source"], *pairs["target"]})
    return [c for n, c in lacking if n < len(others) - (c in others)][:most]


def _gains(
    matrix: Matrix, side: Side, languages: Sequence[str], spread: float
) -> Iterator[tuple[object, ...]]:
    """What completing each language's row (or column) is expected to gain."""
    known = ~np.isnan(matrix.score)
    best = np.zeros(len(matrix.targets))  # measured score of every target
    np.maximum.at(best, matrix.target[known], matrix.score[known])
    end = matrix.ends()[0 if side == "source" else 1]
    every, power = np.flatnonzero(~known), _POWER[side]
    fold = Fold(every, every)  # the same for all: conditioned once
    rest = methods.given_the_rest(matrix, fold, "warm", standardised(matrix, fold, power)[0])
    for code in languages:
        hidden = np.flatnonzero((end == matrix.languages.index(code)) & ~known)
        if not len(hidden):
            continue
        draws, target = _hidden_draws(matrix, hidden, spread, power, rest), matrix.target[hidden]
        if side == "source":
            more = np.maximum(draws - best[target], 0).sum(axis=1)
            more /= len(np.unique(matrix.target[known]))
        else:
            more = perfect_information(draws, target, best)
        ends = np.percentile(more, [5, 95])
        yield side, code, float(more.mean()), *ends, len(hidden), int(known.sum())


def _hidden_draws(
    matrix: Matrix, hidden: Index, spread: float, power: float, rest: tuple[Array, Array]
) -> Array:
    """(_DRAWS, n) scores of unmeasured cells, all other unmeasured ones hidden with them.

    ``rest`` is what the measured cells say of all unmeasured ones (`methods.given_the_rest`).
    Targets without any score need their level predicted, the others keep their own.
    """
    every = np.flatnonzero(np.isnan(matrix.score))
    known = ~np.isnan(target_mean(matrix.score, matrix.target))[matrix.target[hidden]]
    out = np.zeros((_DRAWS, len(hidden)))
    for part in (known, ~known):
        if part.any():
            at = np.searchsorted(every, hidden[part])
            given = rest[0][at], rest[1][np.ix_(at, at)]
            fold = Fold(hidden[part], every)
            mean, covariance = levels.posterior(matrix, fold, "warm", power, given)
            out[:, part] = _draws(mean, spread**2 * covariance)
    return out


def perfect_information(draws: Array, target: Index, best: Array) -> Array:
    """What knowing a target's scores gains over choosing by their expectation.

    Parameters
    ----------
    draws : (draws, n) scores of n unmeasured cells.
    target : (n,) target of each cell, ``best`` (T,) the best measured score of every target.

    Returns
    -------
    (draws,) gain, the mean over the targets.
    """
    gains = []
    for t in np.unique(target):
        own = draws[:, target == t]
        chosen = own[:, own.mean(axis=0).argmax()]
        without = np.full(len(own), best[t]) if best[t] >= chosen.mean() else chosen
        gains.append(np.maximum(own.max(axis=1), best[t]) - without)
    return np.mean(gains, axis=0)
