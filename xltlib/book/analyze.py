"""What do your scores say? Any table of scores in; explanation, prediction and advice out.

Here tables are only brought together and handed on: the numbers are those of `explain.regression`,
`rank.methods`, `rank.levels`, `explain.fewshot` and `rank.recommend`. What was understood of the
table, what was left out of it and what could not be computed is part of the result.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from xltlib import scores
from xltlib.book.inputs import LEXICAL, extras, own_measures, similarities
from xltlib.errors import reason
from xltlib.explain import claims, contrast, fewshot, observations, regression
from xltlib.languages import similarity
from xltlib.rank import levels, methods, recommend
from xltlib.rank.matrix import SIZE, Matrix, Protocol, logged, matrices
from xltlib.reading import some

MOST = 50_000  # pairs of one model and task that are explained: a minute
RANKED = 8_000  # ... that sources are chosen from: exact inference grows with their square
TREES = 3_000  # cells up to which LambdaMART is refitted for every target: some 20 s at this size
_LEAST = 3  # sources, and targets: fewer cannot tell similarity from a language's own effect
_STEPS = regression.STEPS | {
    "lexical": ("lexical", LEXICAL),
    "+ the rest": (*regression.STEPS["+ the rest"], "inventory"),
}
_PARTS = 8  # of one analysis, for the progress


@dataclass(frozen=True)
class _Dropped:
    """Something of the table that was not used: how many, of what, why."""

    n: int
    what: str

    def __str__(self) -> str:
        return f"{self.n} {self.what}"


@dataclass(frozen=True)
class Analysis:
    """What the scores of one model and task say; a table is empty where `unable` has its reason.

    Attributes
    ----------
    model, task, metric : what was analysed.
    scores : (rows) its checked rows, few-shot ones too.
    counts : ``n_pairs, n_sources, n_targets, n_languages``, ``measured`` (share of the matrix).
    methods : `methods.summary` under the column ``protocol`` (cold, warm).
    level : `levels.accuracy`, cold.
    predictions : `levels.predict`, cold.
    coefficients, fit, residuals : of `regression.explain`.
    shares, whole : LMG share per measure; partial R2 of all with interval and p, beyond chance.
    steps : `regression.nested`.
    claims : ``claim, evidence, estimate, low, high, p_mrqap, p_holm, verdict``.
    best_set : `methods.best_set`.
    next_best : `recommend.next_best`.
    laws : `fewshot.compare_laws`, where few-shot curves were measured.
    dropped, warnings, unable : what was left out; what to beware of; part -> why not computed.
    """

    model: str
    task: str
    metric: str
    scores: pd.DataFrame
    counts: dict[str, float]
    methods: pd.DataFrame
    level: dict[str, float]
    predictions: pd.DataFrame
    coefficients: pd.DataFrame
    fit: dict[str, float]
    residuals: pd.DataFrame
    shares: pd.DataFrame
    whole: dict[str, float]
    steps: pd.DataFrame
    claims: pd.DataFrame
    best_set: pd.DataFrame
    next_best: pd.DataFrame
    laws: pd.DataFrame
    dropped: tuple[_Dropped, ...]
    warnings: tuple[str, ...]
    unable: dict[str, str]

    @property
    def zero_shot(self) -> pd.DataFrame:
        """The rows that transfer is explained and predicted from."""
        return self.scores[self.scores["n_target"] == 0]

    @property
    def cold(self) -> pd.DataFrame:
        """`methods` with the target hidden altogether."""
        return self.methods[self.methods["protocol"] == "cold"]

    @property
    def sure_measures(self) -> pd.DataFrame:
        """Coefficients that differ from 0 by both tests, the largest first."""
        table = self.coefficients
        both = ((table["low"] > 0) | (table["high"] < 0)) & (table["p_holm"] <= 0.05)
        return table[both].sort_values("beta", key=abs, ascending=False)


TABLES = (
    *("methods", "predictions", "coefficients", "residuals", "shares", "steps", "claims"),
    *("best_set", "next_best", "laws"),
)


@dataclass(frozen=True)
class Report:
    """`Analysis` of every model and task of a table, and how the table was read.

    ``pairs`` is the similarity table it was explained with; ``differences`` (`regression.by_task`)
    says whether coefficients differ between several models and tasks; ``unable`` says which models
    and tasks could not be analysed or compared at all, and why.
    """

    name: str
    understood: tuple[str, ...]
    dropped: tuple[_Dropped, ...]
    scores: pd.DataFrame
    pairs: pd.DataFrame
    analyses: tuple[Analysis, ...]
    differences: pd.DataFrame
    unable: dict[str, str]
    seed: int


def nothing(name: str, why: str) -> Report:
    """A report without analyses: a chapter shows why instead of stopping the book."""
    empty = pd.DataFrame()
    return Report(name, (), (), empty, empty, (), empty, {name: why}, 0)


@dataclass(frozen=True)
class _Settings:
    """What an analysis may vary."""

    measures: tuple[str, ...] | None
    permutations: int
    bootstrap: int
    seed: int


def analyze(
    table: pd.DataFrame | str | os.PathLike[str],
    pairs: pd.DataFrame | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    measures: Iterable[str] | None = None,
    metric: str | None = None,
    features: Sequence[str] = (),
    rows: str | None = None,
    lower_is_better: bool | None = None,
    unknown_codes: scores.Unknown = "error",
    permutations: int = 999,
    bootstrap: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> Report:
    """Explain and predict transfer from any table of scores.

    Parameters
    ----------
    table
        A scores table or the path of one (`scores.read`): tidy or a matrix, any language codes.
        Further columns that are properties of the pair (sizes, overlaps) are used (`extras`),
        others if `features` names them.
    pairs
        Similarity of your own, higher = more alike, beside that of lang2vec; a column of the same
        name takes its place.
    model, task, metric
        Only this one.
    measures
        Only these columns of similarity explain.
    rows, lower_is_better, unknown_codes
        Of `scores.read`.
    permutations, bootstrap, seed
        Of MRQAP, of the intervals, of both.
    progress
        Show a bar on stderr.

    Raises
    ------
    ValueError
        A table that cannot be read, or of which nothing can be analysed; the message says why.
    """
    read, name = _read(table, rows, unknown_codes, metric, lower_is_better)
    kept = scores.select(scores.called(read, model, task), model=model, task=task)
    kept, used, unused = extras(kept, features)
    if pairs is not None:
        unused += pairs.attrs.get("notes", [])
        pairs, left_out = own_measures(kept, pairs)
        pairs = None if set(pairs) == {"source", "target"} else pairs
        unused += left_out
    groups = [(g, *usable(g)) for _, g in kept.groupby(["task", "model"], sort=True)]
    codes = sorted({code for _, rows, _ in groups for code in (*rows["source"], *rows["target"])})
    only = None if measures is None else tuple(measures)
    settings = _Settings(only, permutations, bootstrap, seed)
    form, total = "{n}/{total} {elapsed} {desc}", len(groups) * _PARTS + 1
    with tqdm(total=total, disable=not progress, bar_format=form) as bar:
        bar.set_description_str(f"similarity of {len(codes)} languages")
        known = _known(codes, kept["model"].unique(), pairs)
        bar.update()
        found, unable = _each(groups, known, settings, bar)
    full = known[found[0].model][1]
    differences, why = _differences(found, full)
    unable |= {"differences between tasks and models": why} if why else {}
    full = full[full["source"].isin(codes) & full["target"].isin(codes)].reset_index(drop=True)
    understood, dropped = _understood(read, kept, unused)
    understood += _sources_of(found[0].model, pairs, used, similarity.LEVELS[0] in full)
    return Report(name, understood, dropped, kept, full, tuple(found), differences, unable, seed)


def _known(
    codes: Sequence[str], models: Iterable[str], own: pd.DataFrame | None
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The two tables of `similarities` for each model, with the sizes of the text it has read."""
    plain, full = similarities([*codes, *recommend.candidates(codes)], own)
    if own is not None and SIZE in own:  # they count for every model
        return {str(m): (plain, full) for m in models}
    of_model = similarity.of_model
    return {str(m): (of_model(plain, str(m)), of_model(full, str(m))) for m in models}


def _understood(
    read: pd.DataFrame, kept: pd.DataFrame, unused: Sequence[str]
) -> tuple[tuple[str, ...], tuple[_Dropped, ...]]:
    """How the table was read, and what was left out of it."""
    notes = [*scores.notes(read), *unused]
    if len(read) > len(kept):
        notes.append(f"{len(read) - len(kept)} rows of other models or tasks dropped, as asked")
    others, dropped = _sorted_out(notes)
    shape = others[:1] if others and "read as a matrix" in others[0] else []
    return (*shape, _size(kept), *others[len(shape) :]), tuple(dropped)


def _sources_of(
    model: str, own: pd.DataFrame | None, used: Sequence[str], levels: bool
) -> tuple[str, ...]:
    """Where data sizes and properties of the pair come from, if not from the usual place."""
    out: tuple[str, ...] = ()
    if (own is None or SIZE not in own) and similarity.text_sizes(model) != similarity.text_sizes():
        out += (f"data size: the text that {model} was pre-trained on, CC-100",)
    if levels:
        out += ("a language without such text counts as a tenth of the smallest such size",)
    return out + ((f"properties of the pair, used as such: {', '.join(used)}",) if used else ())


def _read(
    table: pd.DataFrame | str | os.PathLike[str], rows: str | None, *how: Any
) -> tuple[pd.DataFrame, str]:
    """The checked table and its name; what was changed is in its notes, not in warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scores.ScoresWarning)
        if isinstance(table, pd.DataFrame):
            return scores.check(table, *how), "this table"
        return scores.read(table, rows, *how), Path(table).name


def _sorted_out(notes: Iterable[str]) -> tuple[list[str], list[_Dropped]]:
    """Notes, and those of something dropped, which begin with a number (`scores.notes`)."""
    found = {note: re.match(r"(\d+) (.*)", note) for note in notes}
    dropped = [_Dropped(int(m[1]), m[2].replace(" dropped", "", 1)) for m in found.values() if m]
    return [note for note, m in found.items() if not m], dropped


def _size(table: pd.DataFrame) -> str:
    models, tasks = (sorted(table[c].unique()) for c in ("model", "task"))
    shots = sorted(set(table["n_target"]) - {0})
    few = f"; few-shot with {some(shots, 6)} target examples" if shots else ""
    n = {side: table[side].nunique() for side in ("source", "target", "seed")}
    return (
        f"{len(table)} scores: {n['source']} sources, {n['target']} targets, {n['seed']} seed(s); "
        f"task {some(tasks, 6)}; model {some(models, 6)}{few}"
    )


# -- one model and task ---------------------------------------------------------------------------


def _each(
    groups: Sequence[tuple[pd.DataFrame, pd.DataFrame, list[_Dropped]]],
    known: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    settings: _Settings,
    bar: tqdm[Any],
) -> tuple[list[Analysis], dict[str, str]]:
    """Every group, with what is usable of it, that can be analysed; why the others cannot.

    `known` is the similarity for each model (`_known`). No group at all is an error.
    """
    found, unable = [], {}
    for group, rows, dropped in groups:
        model = str(group["model"].iloc[0])
        label = f"{group['task'].iloc[0]}, {model}"
        if why := _refused(rows):
            unable[label] = why
            continue
        parts = _Parts(label, bar)
        found.append(_one(parts, group, rows, dropped, *known[model], settings))
    if not found:
        raise ValueError("nothing to analyse: " + "; ".join(dict.fromkeys(unable.values())))
    return found, unable


def usable(group: pd.DataFrame, most: int = MOST) -> tuple[pd.DataFrame, list[_Dropped]]:
    """Zero-shot rows between different languages, one metric, at most `most` pairs; the rest."""
    one = scores.one_metric(group)
    zero = scores.transfer(one)
    few, same = int((one["n_target"] > 0).sum()), len(scores.in_language(one))
    dropped = [
        _Dropped(len(group) - len(one), "rows of other metrics"),
        _Dropped(same, "in-language rows: never counted as transfer"),
        _Dropped(few, "few-shot rows: only read by the few-shot laws"),
    ]
    kept = _thinned(zero, most)
    lost = len(zero) - len(kept)
    what = f"rows: more than {most} pairs are thinned to languages evenly over the alphabet"
    return kept, [d for d in (*dropped, _Dropped(lost, what)) if d.n]


def _thinned(zero: pd.DataFrame, most: int) -> pd.DataFrame:
    """Sources and targets left out alike, in steps, until at most `most` pairs are left.

    English, which every choice is compared with, stays.
    """
    kept = zero
    while (n := len(kept[["source", "target"]].drop_duplicates())) > most:
        share = 0.97 * math.sqrt(most / n)
        for side in ("source", "target"):
            codes = np.array(sorted(kept[side].unique()))
            at = np.linspace(0, len(codes) - 1, max(_LEAST, int(share * len(codes)))).astype(int)
            kept = kept[kept[side].isin([*codes[at], "eng"])]
    return kept


def _refused(zero: pd.DataFrame) -> str:
    """Why these rows cannot be analysed; empty if they can."""
    sources, targets = sorted(zero["source"].unique()), sorted(zero["target"].unique())
    for side, found in (("source", sources), ("target", targets)):
        if len(found) < _LEAST:
            return (
                f"{len(found)} {side} language(s) with zero-shot scores ({', '.join(found)}); "
                "to keep similarity apart from what each language brings by itself takes at least "
                f"{_LEAST} sources and targets: measure more"
            )
    if len({*sources, *targets}) < 4:
        return "3 languages in all: with one held out nothing is left to learn from; measure more"
    if zero["score"].nunique() < 2:
        return (
            f"every score is {zero['score'].iloc[0]:g}: where nothing varies there is nothing to "
            "explain; is it the right column?"
        )
    return ""


@dataclass
class _Parts:
    """Computes the parts of an analysis; one that cannot be computed leaves its reason."""

    label: str
    bar: tqdm[Any]
    unable: dict[str, str] = field(default_factory=dict)

    def __call__(self, part: str, compute: Callable[[], Any], empty: Any) -> Any:
        self.bar.set_description_str(f"{self.label}: {part}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return compute()
        except ValueError as error:
            self.unable[part] = reason(error)
            return empty
        finally:
            self.bar.update()


def _one(
    parts: _Parts,
    group: pd.DataFrame,
    zero: pd.DataFrame,
    dropped: list[_Dropped],
    plain: pd.DataFrame,
    full: pd.DataFrame,
    settings: _Settings,
) -> Analysis:
    """All parts of the analysis of one model, task and metric."""
    ranked = _ranked(parts, zero, plain, settings.seed)
    explained, left_out = _explained(parts, zero, full, settings)
    none = (pd.DataFrame(), pd.DataFrame())
    laws, law_claims = parts("few-shot laws", lambda: _laws(group, settings.seed), none)
    judgements = [explained.pop("claims"), ranked.pop("claims"), law_claims]
    counts, warned = _counts(zero), (*ranked.pop("warnings"), *explained.pop("warnings"))
    if counts["measured"] < 0.5:
        warned = (f"only {counts['measured']:.0%} of the matrix is measured", *warned)
    if no_trees := _no_trees(zero):
        parts.unable["lambdamart"] = no_trees
    labels: dict[str, Any] = {k: str(zero[k].iloc[0]) for k in ("model", "task", "metric")}
    return Analysis(
        **labels,
        **ranked,
        **explained,
        scores=pd.concat([zero, group[group["n_target"] > 0]]),
        counts=counts,
        claims=pd.concat([c for c in judgements if len(c)] or [none[0]], ignore_index=True),
        laws=laws,
        dropped=(*dropped, *left_out),
        warnings=warned,
        unable=parts.unable,
    )


# -- ranking and predicting -----------------------------------------------------------------------


def _ranked(parts: _Parts, zero: pd.DataFrame, pairs: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Fields of `Analysis`: which source to choose, which score to expect, what to measure."""
    none, size = pd.DataFrame(), min(5, zero["source"].nunique())
    part = _thinned(zero, RANKED)
    matrix, reduced = _cells(part, pairs)
    if len(part) < len(zero):
        kept = f"{part['source'].nunique()} sources and {part['target'].nunique()} targets"
        reduced.insert(0, f"choosing a source: more than {RANKED} pairs are thinned to {kept}")
    chosen = parts("choosing a source", lambda: _choices(matrix, not _no_trees(zero)), {})
    compared = [methods.summary(t, seed).assign(protocol=p) for p, t in chosen.items()]
    predictions = parts("scores to expect", lambda: levels.predict(matrix), none)
    return {
        "methods": pd.concat(compared, ignore_index=True) if compared else none,
        "level": levels.accuracy(predictions, seed) if len(predictions) else {},
        "predictions": predictions,
        "best_set": parts("the best set", lambda: methods.best_set(zero, size), none),
        "next_best": parts("what to measure next", lambda: recommend.next_best(part, pairs), none),
        "claims": _choice_claims(chosen),
        "warnings": reduced,
    }


def _cells(zero: pd.DataFrame, pairs: pd.DataFrame) -> tuple[Matrix, list[str]]:
    """The cells to rank and predict; what `matrices` left out of them is a note, no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ((_, matrix),) = matrices(zero, pairs)
    return matrix, [f"choosing a source: {w.message}" for w in caught]


def _counts(zero: pd.DataFrame) -> dict[str, float]:
    """How much was measured; ``measured`` is the share of the matrix's off-diagonal cells."""
    cells = zero[["source", "target"]].drop_duplicates()
    sources, targets = set(cells["source"]), set(cells["target"])
    possible = len(sources) * len(targets) - len(sources & targets)
    return {
        "n_pairs": len(cells),
        "n_sources": len(sources),
        "n_targets": len(targets),
        "n_languages": len(sources | targets),
        "n_seeds": int(zero["seed"].nunique()),
        "measured": len(cells) / possible,
    }


def _choices(matrix: Matrix, trees: bool) -> dict[str, pd.DataFrame]:
    names = ["gp", "best_mean", "english", "random", "rank_fusion"]
    names += [f"nearest_{m}" for m in matrix.measures] + ["lambdamart"] * trees
    return {p: methods.choices(matrix, p, names) for p in get_args(Protocol)}


def _no_trees(zero: pd.DataFrame) -> str:
    """Why LambdaMART is not compared; empty if it is."""
    if len(zero[["source", "target"]].drop_duplicates()) > TREES:
        return f"refitted for every target it takes too long on more than {TREES} pairs"
    return "" if find_spec("lightgbm") else "it needs lightgbm: pip install 'xltlib[rank]'"


def _differences(found: Sequence[Analysis], pairs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Do coefficients differ between models and tasks? Or why that cannot be said."""
    explained = [one for one in found if len(one.coefficients)]
    used = [set(one.coefficients["feature"]) for one in explained]
    if len(explained) < 2:
        return pd.DataFrame(), ""
    everywhere = set(pairs).intersection(*used)
    shared = [f for f in explained[0].coefficients["feature"] if f in everywhere]
    if not shared:
        return pd.DataFrame(), ""
    zero = pd.concat([one.zero_shot for one in explained])
    try:
        return regression.by_task(zero, pairs, shared), ""
    except ValueError as error:
        return pd.DataFrame(), str(error)


def _choice_claims(chosen: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Does choosing by similarity and scores lose less than the simple rules?"""
    words = {"best_mean": "one best-average source", "english": "English", "random": "chance"}
    rows = []
    for protocol, table in chosen.items():
        for other, called in words.items():
            less, low, high = methods.lead(table, "gp", other)
            if math.isfinite(less):
                evidence = f"loss of {called} minus loss of gp, per cent of the best, {protocol}"
                claim = f"a chosen source beats {called} ({protocol})"
                rows.append((claim, evidence, less, low, high, contrast.verdict(low, high)))
    return pd.DataFrame(rows, columns=["claim", "evidence", "estimate", "low", "high", "verdict"])


# -- explaining -----------------------------------------------------------------------------------


def _explained(
    parts: _Parts, zero: pd.DataFrame, full: pd.DataFrame, settings: _Settings
) -> tuple[dict[str, Any], list[_Dropped]]:
    """Fields of `Analysis`: what similarity explains; and what was left out for it."""
    none = pd.DataFrame()
    pairs, features, notes = _measures(zero, full, settings.measures)
    test: dict[str, Any] = {"permutations": settings.permutations, "seed": settings.seed}
    ends: dict[str, Any] = {"bootstrap": settings.bootstrap, "seed": settings.seed}
    one = cache(partial(regression.prepared, zero, pairs, features))  # shared by the three
    fitted = parts(
        "what explains transfer",
        lambda: regression.explain(one(), **test),
        None,
    )
    shares = parts(
        "shares of measures",
        lambda: regression.variance_added(one(), **ends),
        None,
    )
    steps = _steps(features)
    nested = parts(
        "growing models",
        lambda: regression.nested(one(), steps, permutations=199, **ends),
        none,
    )
    notes, dropped = _sorted_out(notes)
    return {
        "coefficients": fitted.coefficients if fitted else none,
        "fit": dict(fitted.fit) if fitted else {},
        "residuals": fitted.residuals if fitted else none,
        "shares": shares.features if shares else none,
        "whole": shares.total.iloc[1, 2:].astype(float).to_dict() if shares else {},
        "steps": nested,
        "claims": _similarity_claims(nested, fitted, str(zero["task"].iloc[0])),
        "warnings": [*(fitted.warnings if fitted else ()), *notes],
    }, dropped


def _measures(
    zero: pd.DataFrame, full: pd.DataFrame, measures: tuple[str, ...] | None
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Pairs with the table's own columns, the measures that explain, and what was left out."""
    own = [str(c) for c in zero if str(c).startswith("pair_")]
    if own:
        means = zero.groupby(["source", "target"])[own].mean()
        means[own] = logged(means)
        full = full.merge(means.reset_index(), on=["source", "target"], how="left")
    frame = observations.observe(zero, full, measures, lenient=True)
    return full, list(frame.attrs["features"]), scores.notes(frame)[len(scores.notes(zero)) :]


def _steps(features: Sequence[str]) -> dict[str, list[str]]:
    """The steps of the growing models that these measures allow, one's own last."""
    steps = {name: [f for f in group if f in features] for name, group in _STEPS.items()}
    own = [f for f in features if not any(f in group for group in steps.values())]
    steps = {name: group for name, group in (steps | {"+ your own": own}).items() if group}
    first = next(iter(steps))
    return {k.removeprefix("+ ") if k == first else k: group for k, group in steps.items()}


def _similarity_claims(
    steps: pd.DataFrame, fitted: regression.Explanation | None, task: str
) -> pd.DataFrame:
    if fitted is None:
        return pd.DataFrame()
    table = fitted.coefficients
    table = table[~table["feature"].str.startswith("pair_")]
    return claims.of_tables(steps, table, task) if len(table) else pd.DataFrame()


def _laws(group: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Laws compared where curves were measured; two empty tables where the table has none."""
    if not (group["n_target"] > 0).any():
        return pd.DataFrame(), pd.DataFrame()
    table, predictions = fewshot.compare_laws(fewshot.curves(scores.one_metric(group)), seed=seed)
    return table, fewshot.law_verdicts(predictions, seed).drop(columns="task")
