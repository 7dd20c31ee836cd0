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
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd

from xltlib import scores
from xltlib.book.inputs import LEXICAL, extras, for_model, similarities
from xltlib.errors import reason
from xltlib.explain import claims, contrast, fewshot, observations, regression
from xltlib.languages import similarity
from xltlib.rank import levels, methods, recommend
from xltlib.rank.matrix import SIZE, Matrix, logged, matrices
from xltlib.rank.matrix import Protocol as Hidden

MOST = 8_000  # cells of one model and task: what is analysed within a minute
TREES = 3_000  # cells up to which LambdaMART is refitted for every target: some 20 s at this size
LEAST = 3  # sources, and targets: fewer cannot tell similarity from a language's own effect
STEPS = regression.STEPS | {
    "lexical": ("lexical", LEXICAL),
    "+ the rest": (*regression.STEPS["+ the rest"], "inventory"),
}
COMPARED = "differences between tasks and models"
PARTS = 8  # of one analysis, for the progress
PROTOCOLS: tuple[Hidden, ...] = ("cold", "warm")
NUMBERED = re.compile(r"(\d+) (.*)")


@dataclass(frozen=True)
class Dropped:
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
    dropped: tuple[Dropped, ...]
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
    dropped: tuple[Dropped, ...]
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


class Tick(Protocol):
    """Told what is done next."""

    def __call__(self, what: str, /) -> None: ...


@dataclass(frozen=True)
class Settings:
    """What an analysis may vary."""

    measures: tuple[str, ...] | None = None
    permutations: int = 999
    bootstrap: int = 300
    seed: int = 0


def analyze(
    table: pd.DataFrame | str | os.PathLike[str],
    pairs: pd.DataFrame | None = None,
    *,
    model: str | None = None,
    task: str | None = None,
    measures: Iterable[str] | None = None,
    rows: scores.Wide = "sources",
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
        Further columns that are properties of the pair (sizes, overlaps) are used (`extras`).
    pairs
        Similarity of your own, higher = more alike, beside that of lang2vec; a column of the same
        name takes its place.
    model, task
        Only this one.
    measures
        Only these columns of similarity explain.
    rows, unknown_codes
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
    unused: list[str] = []
    read, name = _read(table, rows, unknown_codes)
    kept = scores.select(scores.called(read, model, task), model=model, task=task)
    kept, used = extras(kept, unused)
    groups = [(g, *usable(g)) for _, g in kept.groupby(["task", "model"], sort=True)]
    chosen = None if measures is None else tuple(measures)
    settings = Settings(chosen, permutations, bootstrap, seed)
    codes = sorted({code for _, rows, _ in groups for code in (*rows["source"], *rows["target"])})
    with _bar(len(groups) * PARTS + 1, progress) as tick:
        tick(f"similarity of {len(codes)} languages")
        plain, full = similarities([*codes, *recommend.candidates(codes)], pairs)
        given = pairs is not None and SIZE in pairs  # one's own data size is for every model
        known = {str(m): (plain, full) if given else for_model(plain, full, str(m))
                 for m in kept["model"].unique()}  # fmt: skip
        found, unable = _each(groups, known, settings, tick)
    full = known[found[0].model][1]
    differences, why = _differences(found, full)
    unable |= {COMPARED: why} if why else {}
    notes = [*scores.notes(read), *unused]
    if len(read) > len(kept):
        notes.append(f"{len(read) - len(kept)} rows of other models or tasks dropped, as asked")
    dropped = tuple(d for d in map(_dropped, notes) if d)
    understood = (_size(kept), *(n for n in notes if not _dropped(n)))
    understood += _sources_of(found[0].model, given, used)
    full = full[full["source"].isin(codes) & full["target"].isin(codes)].reset_index(drop=True)
    return Report(name, understood, dropped, kept, full, tuple(found), differences, unable, seed)


def _sources_of(model: str, given: bool, used: Sequence[str]) -> tuple[str, ...]:
    """Where data sizes and properties of the pair come from, if not from the usual place."""
    out: tuple[str, ...] = ()
    if not given and similarity.text_sizes(model) != similarity.text_sizes():
        out += (f"data size: the text that {model} was pre-trained on, CC-100",)
    return out + ((f"properties of the pair, used as such: {', '.join(used)}",) if used else ())


def _read(
    table: pd.DataFrame | str | os.PathLike[str], rows: scores.Wide, unknown_codes: scores.Unknown
) -> tuple[pd.DataFrame, str]:
    """The checked table and its name; what was changed is in its notes, not in warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scores.ScoresWarning)
        if isinstance(table, pd.DataFrame):
            return scores.check(table, unknown_codes), "this table"
        return scores.read(table, rows, unknown_codes), Path(table).name


def _dropped(note: str) -> Dropped | None:
    """A note that begins with a number tells of something dropped (`scores.notes`)."""
    found = NUMBERED.match(note)
    return Dropped(int(found[1]), found[2]) if found else None


def _size(table: pd.DataFrame) -> str:
    models, tasks = (sorted(table[c].unique()) for c in ("model", "task"))
    shots = sorted(set(table["n_target"]) - {0})
    few = f"; few-shot with {_some(shots)} target examples" if shots else ""
    return (
        f"{len(table)} scores: {table['source'].nunique()} sources, {table['target'].nunique()} "
        f"targets, {table['seed'].nunique()} seed(s); task {_some(tasks)}; model {_some(models)}"
        f"{few}"
    )


def _some(things: Sequence[Any], most: int = 6) -> str:
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(str(t) for t in things[:most]) + more


# -- one model and task ---------------------------------------------------------------------------


def _each(
    groups: Sequence[tuple[pd.DataFrame, pd.DataFrame, list[Dropped]]],
    known: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    settings: Settings,
    tick: Tick,
) -> tuple[list[Analysis], dict[str, str]]:
    """Every group, with what is usable of it, that can be analysed; why the others cannot.

    `known` is the similarity for each model (`similarity`). No group at all is an error.
    """
    found: list[Analysis] = []
    unable: dict[str, str] = {}
    for group, rows, dropped in groups:
        model = str(group["model"].iloc[0])
        label = f"{group['task'].iloc[0]}, {model}"
        why = refused(rows)
        if why:
            unable[label] = why
            continue
        found.append(_one(label, group, rows, dropped, *known[model], settings, tick))
    if not found:
        reasons = dict.fromkeys(unable.values())
        raise ValueError("nothing to analyse: " + "; ".join(reasons))
    return found, unable


def usable(group: pd.DataFrame, most: int = MOST) -> tuple[pd.DataFrame, list[Dropped]]:
    """Zero-shot rows between different languages, one metric, at most `most` pairs; the rest."""
    one = scores.one_metric(group)
    zero = scores.transfer(one)
    few, home = int((one["n_target"] > 0).sum()), len(scores.in_language(one))
    dropped = [
        Dropped(len(group) - len(one), "rows of other metrics"),
        Dropped(home, "in-language rows: never counted as transfer"),
        Dropped(few, "few-shot rows: only read by the few-shot laws"),
    ]
    kept = _thinned(zero, most)
    lost = len(zero) - len(kept)
    what = f"rows: more than {most} pairs are thinned to languages evenly over the alphabet"
    return kept, [d for d in (*dropped, Dropped(lost, what)) if d.n]


def _thinned(zero: pd.DataFrame, most: int) -> pd.DataFrame:
    """Sources and targets left out alike, in steps, until at most `most` pairs are left."""
    kept = zero
    while (n := len(kept[["source", "target"]].drop_duplicates())) > most:
        share = 0.97 * math.sqrt(most / n)
        for side in ("source", "target"):
            codes = np.array(sorted(kept[side].unique()))
            at = np.linspace(0, len(codes) - 1, max(LEAST, int(share * len(codes)))).astype(int)
            kept = kept[kept[side].isin(codes[at])]
    return kept


def refused(zero: pd.DataFrame) -> str:
    """Why these rows cannot be analysed; empty if they can."""
    sources, targets = sorted(zero["source"].unique()), sorted(zero["target"].unique())
    for side, found in (("source", sources), ("target", targets)):
        if len(found) < LEAST:
            return (
                f"{len(found)} {side} language(s) with zero-shot scores ({', '.join(found)}); "
                "telling similarity from what a language is worth by itself needs at least "
                f"{LEAST} sources and targets: measure more"
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
class _Try:
    """Runs the parts of an analysis; a part that cannot be computed leaves its reason."""

    label: str
    tick: Tick
    unable: dict[str, str] = field(default_factory=dict)

    def __call__(self, part: str, compute: Callable[[], Any], empty: Any) -> Any:
        self.tick(f"{self.label}: {part}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return compute()
        except ValueError as error:
            self.unable[part] = reason(error)
            return empty


def _one(
    label: str,
    group: pd.DataFrame,
    zero: pd.DataFrame,
    dropped: list[Dropped],
    plain: pd.DataFrame,
    full: pd.DataFrame,
    settings: Settings,
    tick: Tick,
) -> Analysis:
    """All parts of the analysis of one model, task and metric."""
    do, none = _Try(label, tick), pd.DataFrame()
    seed, task = settings.seed, str(zero["task"].iloc[0])
    matrix, reduced = _cells(zero, plain)
    no_trees = _no_trees(zero)
    judged = do("choosing a source", lambda: _choices(matrix, not no_trees), {})
    predictions = do("scores to expect", lambda: levels.predict(matrix), none)
    pairs, features, notes = _explaining(zero, full, settings.measures)
    told = do("what explains transfer", lambda: _explained(zero, pairs, features, settings), None)
    shares = do("shares of measures", lambda: _shares(zero, pairs, features, settings), None)
    steps = do("growing models", lambda: _steps(zero, pairs, features, settings), none)
    coefficients = none if told is None else told.coefficients
    size = min(5, zero["source"].nunique())
    best_set = do("the best set", lambda: methods.best_set(zero, size), none)
    ahead = do("what to measure next", lambda: recommend.next_best(zero, plain), none)
    laws, law_claims = do("few-shot laws", lambda: _laws(group, seed), (none, none))
    alike = coefficients[~coefficients["feature"].str.startswith("pair_")] if told else none
    of_measures = claims.of_tables(steps, alike, task) if len(alike) else none
    judgements = [of_measures, _choice_claims(judged, seed), law_claims]
    return Analysis(
        model=str(zero["model"].iloc[0]),
        task=task,
        metric=str(zero["metric"].iloc[0]),
        scores=pd.concat([zero, group[group["n_target"] > 0]]),
        counts=counts(zero),
        methods=_compared(judged, seed),
        level=levels.accuracy(predictions, seed) if len(predictions) else {},
        predictions=predictions,
        coefficients=coefficients,
        fit={} if told is None else dict(told.fit),
        residuals=none if told is None else told.residuals,
        shares=none if shares is None else shares.features,
        whole={} if shares is None else _whole(shares),
        steps=steps,
        claims=pd.concat([c for c in judgements if len(c)] or [none], ignore_index=True),
        best_set=best_set,
        next_best=ahead,
        laws=laws,
        dropped=(*dropped, *(d for d in map(_dropped, notes) if d)),
        warnings=(*reduced, *_sparse(zero), *(() if told is None else told.warnings),
                  *(n for n in notes if not _dropped(n))),
        unable=do.unable | ({"lambdamart": no_trees} if no_trees else {}),
    )  # fmt: skip


def _cells(zero: pd.DataFrame, pairs: pd.DataFrame) -> tuple[Matrix, list[str]]:
    """The cells to rank and predict; what `matrices` left out of them is a note, no warning."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ((_, matrix),) = matrices(zero, pairs)
    return matrix, [f"choosing a source: {w.message}" for w in said]


def counts(zero: pd.DataFrame) -> dict[str, float]:
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


def _sparse(zero: pd.DataFrame) -> list[str]:
    share = counts(zero)["measured"]
    return [f"only {share:.0%} of the matrix is measured"] if share < 0.5 else []


def _choices(matrix: Matrix, trees: bool) -> dict[str, pd.DataFrame]:
    names = ["gp", "best_mean", "english", "random", "rank_fusion"]
    names += [f"nearest_{m}" for m in matrix.measures] + ["lambdamart"] * trees
    return {p: methods.choices(matrix, p, names) for p in PROTOCOLS}


def _no_trees(zero: pd.DataFrame) -> str:
    """Why LambdaMART is not compared; empty if it is."""
    if len(zero[["source", "target"]].drop_duplicates()) > TREES:
        return f"refitted for every target it takes too long on more than {TREES} pairs"
    return "" if find_spec("lightgbm") else "it needs lightgbm: pip install 'xltlib[rank]'"


def _differences(found: Sequence[Analysis], pairs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Do coefficients differ between models and tasks? Or why that cannot be said."""
    told = [one.coefficients["feature"] for one in found if len(one.coefficients)]
    shared = [f for f in told[0] if f in pairs and all(f in set(t) for t in told)] if told else []
    if len(told) < 2 or not shared:
        return pd.DataFrame(), ""
    zero = pd.concat([one.scores for one in found if len(one.coefficients)])
    try:
        return regression.by_task(zero[zero["n_target"] == 0], pairs, shared), ""
    except ValueError as error:
        return pd.DataFrame(), str(error)


def _compared(judged: dict[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    parts = [methods.summary(t, seed).assign(protocol=p) for p, t in judged.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _choice_claims(judged: dict[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """Does choosing by similarity and scores lose less than the simple rules?"""
    words = {"best_mean": "one best-average source", "english": "English", "random": "chance"}
    rows = []
    for protocol, table in judged.items():
        for other, called in words.items():
            less, low, high = methods.lead(table, "gp", other, seed)
            if math.isfinite(less):
                evidence = f"loss of {called} minus loss of gp, per cent of the best, {protocol}"
                claim = f"a chosen source beats {called} ({protocol})"
                rows.append((claim, evidence, less, low, high, contrast.verdict(low, high)))
    return pd.DataFrame(rows, columns=["claim", "evidence", "estimate", "low", "high", "verdict"])


def _explaining(
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


def _explained(
    zero: pd.DataFrame, pairs: pd.DataFrame, features: list[str], settings: Settings
) -> regression.Explanation:
    return regression.explain(
        zero, pairs, features, permutations=settings.permutations, seed=settings.seed
    )


def _shares(
    zero: pd.DataFrame, pairs: pd.DataFrame, features: list[str], settings: Settings
) -> regression.Shares:
    return regression.variance_added(
        zero, pairs, features, bootstrap=settings.bootstrap, seed=settings.seed
    )


def _whole(shares: regression.Shares) -> dict[str, float]:
    columns = ["partial_r2", "low", "high", "p_mrqap"]
    adds = shares.total.loc[shares.total["part"] == "similarity adds", columns]
    return dict(zip(columns, adds.to_numpy(float)[0], strict=True))


def _steps(
    zero: pd.DataFrame, pairs: pd.DataFrame, features: list[str], settings: Settings
) -> pd.DataFrame:
    steps = {name: [f for f in group if f in features] for name, group in STEPS.items()}
    own = [f for f in features if not any(f in group for group in steps.values())]
    steps = {name: group for name, group in (steps | {"+ your own": own}).items() if group}
    first = next(iter(steps))
    steps = {k.removeprefix("+ ") if k == first else k: group for k, group in steps.items()}
    return regression.nested(
        zero, pairs, steps, bootstrap=settings.bootstrap, permutations=199, seed=settings.seed
    )


def _laws(group: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Laws compared where curves were measured; two empty tables where the table has none."""
    if not (group["n_target"] > 0).any():
        return pd.DataFrame(), pd.DataFrame()
    table, predictions = fewshot.compare_laws(fewshot.curves(scores.one_metric(group)), seed=seed)
    return table, fewshot.law_verdicts(predictions, seed).drop(columns="task")


# -- as JSON --------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The figures of a report, plain: ``schema/analysis.schema.json`` describes every field."""
    import xltlib

    return cast(
        dict[str, Any],
        _plain(
            {
                "xltlib": xltlib.__version__,
                "name": report.name,
                "seed": report.seed,
                "understood": report.understood,
                "dropped": [vars(d) for d in report.dropped],
                "not_analysed": report.unable,
                "analyses": [_record(a) for a in report.analyses],
                "differences": _coefficients(report.differences),
            }
        ),
    )


def _coefficients(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One record a row, the ends of its interval as a pair."""
    rows = cast(list[dict[str, Any]], table.rename(columns={"feature": "name"}).to_dict("records"))
    ends = [[row.pop("low"), row.pop("high")] for row in rows]
    return [{**row, "ci": ci} for row, ci in zip(rows, ends, strict=True)]


def _record(one: Analysis) -> dict[str, Any]:
    return {
        "model": one.model,
        "task": one.task,
        "metric": one.metric,
        **one.counts,
        "dropped": [vars(d) for d in one.dropped],
        "warnings": one.warnings,
        "not_computed": one.unable,
        "ranking": {p: _rankings(one.methods, p) for p in PROTOCOLS},
        "level": {"protocol": "cold", **one.level} if one.level else None,
        "coefficients": _coefficients(one.coefficients),
        "partial_r2": one.whole.get("partial_r2"),
        "partial_r2_ci": [one.whole["low"], one.whole["high"]] if one.whole else None,
        "partial_r2_p": one.whole.get("p_mrqap"),
        "fit": one.fit or None,
        "shares": one.shares.to_dict("records"),
        "steps": one.steps.to_dict("records"),
        "claims": one.claims.drop(columns="task", errors="ignore").to_dict("records"),
        "best_set": one.best_set.to_dict("records"),
        "next": one.next_best.to_dict("records"),
        "laws": one.laws.drop(columns=["model", "task"], errors="ignore").to_dict("records"),
    }


def _rankings(compared: pd.DataFrame, protocol: str) -> dict[str, Any]:
    if compared.empty:
        return {}
    rows = compared[compared["protocol"] == protocol].drop(columns="protocol")
    return {r.pop("method"): r for r in rows.to_dict("records")}


def _plain(value: Any) -> Any:
    """Numbers as JSON has them: what is missing is null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value is pd.NA else value


# -- progress -------------------------------------------------------------------------------------


class _bar:
    """A tqdm bar that names the work under way; `tick` begins the next part."""

    def __init__(self, total: int, shown: bool) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, disable=not shown, bar_format="{n}/{total} {elapsed} {desc}")

    def __enter__(self) -> Tick:
        self.first = True
        return self.tick

    def tick(self, what: str) -> None:
        """Begin a part."""
        self.bar.update(0 if self.first else 1)
        self.first = False
        self.bar.set_description_str(what)

    def __exit__(self, *error: object) -> None:
        self.bar.close()
