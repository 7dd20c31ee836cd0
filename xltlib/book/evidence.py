"""The evidence of a chapter: which scores, which pairs, which arms; and results put in words.

The chapters on transfer read an experiment or a person's own table of scores in the same way. The
numbers come from `regression`, `fewshot` and `ranking`; here they are gathered, shown with their
intervals, and summed up. What a small table cannot give is said instead of shown.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xltlib.book import analyze
from xltlib.book.tables import (  # noqa: F401
    ALL,
    CONTROLS,
    MODEL,
    TOGETHER,
    _count,
    attempt,
    bullets,
    gather,
    listed,
    show,
)
from xltlib.book.tables import Tables as Evidence
from xltlib.book.tables import bullets as tell  # noqa: F401
from xltlib.book.tables import in_words as points
from xltlib.errors import reason, unknown
from xltlib.explain import contrast, effects, regression
from xltlib.scores import ILLEGAL, cells, read, select, transfer
from xltlib.tasks.base import ratio

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown

    from xltlib.rank.matrix import Protocol
    from xltlib.train.config import Experiment

BESIDE = {
    "holds": "clearly more",
    "does not hold": "clearly less",
    "cannot tell": "the intervals overlap",
}
ORDER = {"entity_type": 0, "ner": 1, "qa": 2}  # as the chapters tell them


def usual_model(table: str | Path) -> str | None:
    """`MODEL` where a scores table has it; None, for all of them, where it has not."""
    return MODEL if MODEL in set(read(table)["model"]) else None


def analysed(
    table: str | Path, pairs: pd.DataFrame | None, own: bool, **how: Any
) -> analyze.Report:
    """`analyze.analyze`; of an experiment too small for it an empty report that says why.

    A table of one's own (`own`) that cannot be analysed is an error, as on the command line.
    """
    try:
        return analyze.analyze(table, pairs, **how)
    except ValueError as error:
        if own:
            raise
        return analyze.nothing(Path(table).parent.name, reason(error))


def pairs_with(pairs: pd.DataFrame, codes: Iterable[str]) -> pd.DataFrame | None:
    """The pairs table if it knows all these languages, else None: make a new one."""
    known = {*pairs["source"], *pairs["target"]}
    return pairs if set(codes) <= known else None


# -- what a small table cannot give is said -------------------------------------------------------


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order in which the chapters tell the tasks, otherwise as they were."""
    if "task" not in table:
        return table
    key = lambda t: t.map(lambda v: ORDER.get(v, 9))  # noqa: E731
    return table.sort_values("task", key=key, kind="stable", ignore_index=True)


# -- chapter by chapter ---------------------------------------------------------------------------


def above(means: pd.DataFrame, control: str) -> pd.DataFrame:
    """Is zero-shot transfer above a control, neither interval touching the other?

    `means` is that of `regression.arms`. Returns ``task``, both means with their ends, ``verdict``.
    """
    mine = means[means["arm"] == "zero-shot"].set_index("task")
    other = means[means["arm"] == control].set_index("task")
    ends = other[["mean", "low", "high"]].add_suffix("_control")
    both = mine.join(ends, how="inner")
    low = both["low"] - both["high_control"]
    high = both["high"] - both["low_control"]
    both["verdict"] = [contrast.verdict(a, b) for a, b in zip(low, high, strict=True)]
    return both.reset_index()[["task", "mean", "low", "high", *ends.columns, "verdict"]]


def noise(scores: pd.DataFrame) -> pd.DataFrame:
    """How sure one cell is, per model and task: standard errors in score points.

    Returns
    -------
    DataFrame
        ``model, task, cells``; the median of ``items`` and ``seeds``, the two parts of the error;
        ``median`` and ``largest`` of the whole; ``under_2``, the share of cells below two points.
    """
    table = cells(scores[scores["n_target"] == 0])
    rows = []
    for (task, model), group in table.groupby(["task", "model"], sort=False):
        se = 100 * group["se"]
        parts = [100 * float(group[c].median()) for c in ("se_items", "se_seeds")]
        rows.append((task, model, len(se), *parts, se.median(), se.max(), (se < 2).mean()))
    names = ["task", "model", "cells", "items", "seeds", "median", "largest", "under_2"]
    return ordered(pd.DataFrame(rows, columns=names))


def unseen_names(data: Evidence) -> pd.DataFrame:
    """In-language scores on names never labelled in training, with errors that count names.

    Returns
    -------
    DataFrame
        ``task, languages, items, names, score, chance``; ``se_items`` takes test phrases as drawn
        one by one, ``se_names`` respects that they share names (`effects.shared_parts_error`,
        a name being one and the same in all languages); ``above``: score minus chance in
        ``se_names``. Empty without kept outputs.
    """
    exp = data.experiment
    if exp and not exp.embedded:  # only examples on the embedded text are made of names
        exp = None
    rows = []
    for task in data.tasks:
        items = _in_language_items(exp, data.model, task) if exp else pd.DataFrame()
        if items.empty:
            continue
        top, bottom = items["top"].to_numpy(), items["bottom"].to_numpy()
        score, by_name = effects.shared_parts_error(top, bottom, list(items["names"]))
        by_item = ratio(top, bottom).stderr
        seen = {name for own in items["names"] for name in own}
        chance = data.chance.get(task, float("nan"))
        counts = (items["language"].nunique(), len(items), len(seen))
        above = (score - chance) / by_name if by_name > 0 else float("nan")
        rows.append((task, *counts, score, by_item, by_name, chance, above))
    names = "task languages items names score se_items se_names chance above"
    return ordered(pd.DataFrame(rows, columns=names.split()))


def _in_language_items(experiment: Experiment, model: str, task: str) -> pd.DataFrame:
    """Test items of the fine-tuning languages themselves: what they are made of, how they went."""
    from xltlib.tasks import task as task_named
    from xltlib.train.plan import Place, runs
    from xltlib.train.run import Worker

    of, place, worker, rows = task_named(task), Place(experiment), Worker(experiment), []
    for run in runs(experiment):
        if (run.model, run.task) != (model, task) or not place.outputs(run).is_file():
            continue
        said = pd.read_parquet(place.outputs(run))
        said = said[(said["target"] == run.source) & (said["n_target"] == 0)]
        tests = worker.tests(task, run.source, run.seed)
        for example, output in zip(tests, said["output"], strict=True):
            top, bottom = of.metrics[of.metric](of.postprocess(output, example), example)
            rows.append((run.source, example.fields["names"], top, bottom))
    return pd.DataFrame(rows, columns=["language", "names", "top", "bottom"])


def symmetry(scores: pd.DataFrame, bootstrap: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Is transfer from A to B what it is from B to A?

    Returns
    -------
    DataFrame
        Per task ``n_pairs`` measured both ways; ``r, r_low, r_high``, the correlation of the two
        directions; the same as ``over_r, ...`` after source and target effects are taken out
        (a language may be a good source and an easy target at once); ``apart``, the mean
        difference of the two directions in points, ``noise``, what it would be were they equal
        but for error, and ``beyond``, the share of pairs that differ by more than 1.96 standard
        errors. Intervals: bootstrap over languages.
    """
    rows = []
    for task, group in cells(transfer(scores)).groupby("task", sort=False):
        both = _both_ways(group)
        if len(both) < 3:
            continue
        spread = np.hypot(both["se"], both["se_back"])
        apart = (both["score"] - both["score_back"]).abs()
        row = {"task": task, "n_pairs": len(both)}
        row |= _correlations(both, bootstrap, seed)
        row |= {"apart": 100 * apart.mean(), "noise": 100 * math.sqrt(2 / math.pi) * spread.mean()}
        rows.append(row | {"beyond": float((apart > 1.96 * spread).mean())})
    return ordered(pd.DataFrame(rows))


def _both_ways(table: pd.DataFrame) -> pd.DataFrame:
    """Unordered pairs with the score of either direction, raw and without language effects."""
    from xltlib.explain.effects import Effects

    s, t = (np.unique(table[c], return_inverse=True)[1] for c in ("source", "target"))
    table = table.assign(over=Effects(s, t).within(table["score"].to_numpy(dtype=float)))
    table = table[["source", "target", "score", "over", "se"]]
    back = table.rename(columns={"source": "target", "target": "source"})
    both = table.merge(back, on=["source", "target"], suffixes=("", "_back"))
    return both[both["source"] < both["target"]].reset_index(drop=True)


def _correlations(both: pd.DataFrame, bootstrap: int, seed: int) -> dict[str, float]:
    """Correlation of the two directions, symmetric in which is which, with its interval."""
    codes = sorted({*both["source"], *both["target"]})
    ends = [both[c].map(codes.index).to_numpy() for c in ("source", "target")]
    rng, draws = np.random.default_rng(seed), []
    counts: list[np.ndarray] = [np.ones(len(codes))]
    counts += [np.bincount(rng.integers(0, len(codes), len(codes)), minlength=len(codes))
               for _ in range(bootstrap)]  # fmt: skip
    for count in counts:
        weight = count[ends[0]] * count[ends[1]]
        draws.append([_correlation(both, c, weight) for c in ("score", "over")])
    with warnings.catch_warnings():  # all missing: the interval is missing too
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(np.array(draws[1:]), [2.5, 97.5], axis=0)
    (r, over), names = draws[0], ("r", "over_r")
    out: dict[str, float] = {}
    for i, (name, value) in enumerate(zip(names, (r, over), strict=True)):
        out |= {name: value, f"{name}_low": float(low[i]), f"{name}_high": float(high[i])}
    return out


def _correlation(both: pd.DataFrame, column: str, weight: np.ndarray) -> float:
    """Intraclass correlation: every pair enters in both orders."""
    x, y = both[column].to_numpy(dtype=float), both[f"{column}_back"].to_numpy(dtype=float)
    if weight.sum() <= 0 or np.count_nonzero(weight) < 3:
        return math.nan
    mean = np.average((x + y) / 2, weights=weight)
    variance = np.average(((x - mean) ** 2 + (y - mean) ** 2) / 2, weights=weight)
    return (
        float(np.average((x - mean) * (y - mean), weights=weight) / variance)
        if variance
        else math.nan
    )


def raw_beside_gain(
    data: Evidence,
    baseline: str,
    features: Sequence[str] | None,
    permutations: int,
    seed: int = 0,
) -> tuple[pd.DataFrame, list[str]]:
    """Coefficients of the score, of the score on the baseline's sources only, and of the gain.

    Stacked under ``response``; the second tells whether it is the gain or the fewer sources that
    changes a coefficient.
    """
    own = select(data.scores, model=data.model)
    options: dict[str, Any] = {"permutations": permutations, "seed": seed}
    shared = set(select(data.scores, model=baseline)["source"])
    bodies: dict[str, tuple[pd.DataFrame, str | None]] = {
        "score, all sources": (own, None),
        f"score, {len(shared)} sources": (own[own["source"].isin(shared)], None),
        f"gain, {len(shared)} sources": (data.scores, baseline),
    }

    def explained(what: str | None) -> pd.DataFrame:
        rows, base = bodies[str(what)]
        found = regression.explain(
            rows, data.pairs, features, None, data.model, baseline=base, **options
        )
        return found.coefficients

    table, unable = attempt(explained, list(bodies))
    return table.rename(columns={"task": "response"}), unable


def claims(
    data: Evidence, baseline: str = "", bootstrap: int = 300, permutations: int = 999, seed: int = 0
) -> tuple[pd.DataFrame, list[str]]:
    """A verdict for each claim that these scores can judge (`regression.verdicts`, few-shot law).

    Returns
    -------
    table
        ``task, claim, evidence, estimate, low, high, verdict`` and ``response`` (score, gain).
    unable
        What could not be judged, and why.
    """
    options: dict[str, Any] = {"bootstrap": bootstrap, "permutations": permutations, "seed": seed}

    def judged(task: str | None) -> pd.DataFrame:
        rows = select(data.scores, task=task)
        return regression.verdicts(
            rows, data.pairs, data.model, controls=data.controls, baseline=base, **options
        )

    base = baseline if baseline in data.controls else None
    table, unable = attempt(judged, data.tasks)
    if base and unable:  # too few of the baseline's sources: the score can still be judged
        base = None
        more, still = attempt(judged, [t for t in data.tasks if t not in set(table["task"])])
        table, unable = pd.concat([table, more], ignore_index=True), [*unable, *still]
    missing = [t for t in data.tasks if t not in set(table["task"])]
    kept = [table, _transfer_claims(data, missing), _law_claims(data, seed)]
    table = ordered(pd.concat([k for k in kept if len(k)] or [table], ignore_index=True))
    if len(table):
        gains = table["evidence"].str.contains("gain over")
        table["response"] = np.where(gains, "gain", "score")
    return table, list(dict.fromkeys(unable))


def _transfer_claims(data: Evidence, tasks: Sequence[str]) -> pd.DataFrame:
    """The comparisons with the controls, for tasks that have too few languages for the rest."""
    rows = []
    for control in data.controls:
        for r in regression.compare(data.scores, data.model, control).to_dict("records"):
            if r["task"] in tasks:
                n = f"{r['task']}, {r['metric']}: zero-shot minus {control}, {r['n_pairs']} pairs"
                ends = (r["difference"], r["low"], r["high"])
                said = contrast.verdict(r["low"], r["high"])
                rows.append((r["task"], f"transfer exceeds {control}", n, *ends, said))
    names = ["task", "claim", "evidence", "estimate", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=names)


def _law_claims(data: Evidence, seed: int) -> pd.DataFrame:
    """Is few-shot growth logarithmic? Nothing where no curve was measured."""
    from xltlib.explain import fewshot

    try:
        return law_judged(fewshot.curves(data.scores, model=data.model), seed)
    except ValueError:
        return pd.DataFrame()


def law_judged(curves: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """`fewshot.law_verdicts` of some curves."""
    from xltlib.explain import fewshot

    return fewshot.law_verdicts(fewshot.compare_laws(curves, seed=seed)[1], seed)


def losses(compared: pd.DataFrame) -> pd.DataFrame:
    """`methods.compare_methods` for the page: rules by loss, with NDCG@3, each with its interval."""
    table = ordered(compared.sort_values("loss_pct", kind="stable"))
    loss, ndcg = (points(table, v, f"{v}_low", f"{v}_high", 1) for v in ("loss_pct", "ndcg3"))
    rules = table["method"].str.replace("_", " ")
    columns = {"task": table["task"], "rule": rules, "loss, % (95 %)": loss}
    return pd.DataFrame(columns | {"NDCG@3, % (95 %)": ndcg, "targets": table["n_targets"]})


def board(table: pd.DataFrame) -> pd.DataFrame:
    """`claims` as claims by tasks: estimate, interval and verdict in one word each."""
    if not len(table):
        return table
    words = points(table, "estimate", scale=1, digits=2) + " " + table["verdict"]
    claim = table["claim"].str.replace("_", " ")
    claim += table["response"].map({"gain": ", for the gain"}).fillna("")
    wide = table.assign(claim=claim, words=words).pivot_table(
        index="claim", columns="task", values="words", aggfunc="first", sort=False
    )
    order = sorted(wide.columns, key=lambda t: ORDER.get(t, 9))
    return wide[order].fillna("–").reset_index().rename_axis(columns=None)


SINGLE = "more alike in "  # how a claim about one measure begins


def tally(table: pd.DataFrame) -> list[str]:
    """Sentences: in which tasks each claim holds, does not, cannot be told.

    Claims about single measures are taken together: those that hold somewhere are named.
    """
    if not len(table):
        return ["These scores are too few to judge any claim."]
    single = table["claim"].str.startswith(SINGLE)
    out = []
    for (claim, response), group in table[~single].groupby(["claim", "response"], sort=False):
        tasks = group.groupby("verdict", sort=False)["task"].unique()
        parts = [f"**{v}** ({', '.join(map(str, t))})" for v, t in tasks.items()]
        out.append(f"{claim}{_for(response)}: {'; '.join(parts)}")
    for response, group in table[single].groupby("response", sort=False):
        out.append(
            f"measures that bring transfer beside all the others{_for(response)}: {_holding(group)}"
        )
    return out


def _for(response: object) -> str:
    return ", for the gain" if response == "gain" else ""


def _holding(group: pd.DataFrame) -> str:
    """Which single measures carry transfer, and in which tasks."""
    found = []
    for claim, rows in group[group["verdict"] == "holds"].groupby("claim", sort=False):
        measure = str(claim).removeprefix(SINGLE).split(",")[0].replace("_", " ")
        found.append(f"**{measure}** ({', '.join(rows['task'])})")
    return ", ".join(found) or "none"


def head_start(points_with: pd.DataFrame, points_alone: pd.DataFrame) -> pd.DataFrame:
    """Score with a source minus score without any, at every number of target examples.

    Both tables are those of `fewshot.curves`. Mean over pairs with a 95 % interval over targets
    (pairs with one target share its test and its control): ``task, n_target, difference, low,
    high, n_pairs, n_targets``.
    """
    from xltlib.explain.effects import t_quantile

    keys = ["task", "metric", "target", "n_target"]
    alone = points_alone.groupby(keys)["score"].mean().rename("alone")
    both = points_with.join(alone, on=keys).dropna(subset="alone")
    both = both.assign(more=both["score"] - both["alone"])
    rows = []
    for (task, n), group in both.groupby(["task", "n_target"]):
        means = group.groupby("target")["more"].mean()
        k, mean = len(means), float(means.mean())
        se = float(means.std(ddof=1)) / math.sqrt(k) if k > 1 else math.nan
        half = t_quantile(k - 1) * se if k > 1 else math.nan
        rows.append((task, n, mean, mean - half, mean + half, len(group), k))
    names = ["task", "n_target", "difference", "low", "high", "n_pairs", "n_targets"]
    return pd.DataFrame(rows, columns=names)


def goal_of(data: Evidence, task: str, goal: float, share: float = 0.9) -> float:
    """The goal itself, or where it is 0 a share of the mean in-language score of the model."""
    if goal > 0:
        return goal
    from xltlib.scores import in_language

    rows = in_language(select(data.scores, model=data.model, task=task))
    if rows.empty:
        raise ValueError(f"no in-language score of {task} to set a goal by: give goal a value")
    return share * float(cells(rows)["score"].mean())


def rules_beside(table: pd.DataFrame, rule: str, others: Mapping[str, str]) -> list[str]:
    """Sentences: what a rule loses beside others, and whether the intervals part them.

    `table` is that of `methods.compare_methods`; `others` gives the words for each rule compared.
    """
    out: list[str] = []
    if not len(table):
        return out
    for task, group in table.groupby("task", sort=False):
        rows = group.set_index("method")[["loss_pct", "loss_pct_low", "loss_pct_high"]]
        if rule not in rows.index:
            continue
        mean, low, high = map(float, rows.loc[rule])
        parts = []
        for other, words in others.items():
            if other in rows.index:
                it, it_low, it_high = map(float, rows.loc[other])
                said = contrast.verdict(it_low - high, it_high - low)
                parts.append(f"{words} {it:.1f} % ({BESIDE[said]})")
        own = f"{mean:.1f} % ({low:.1f} to {high:.1f})"
        out.append(f"**{task}**: `{rule}` loses {own}; {', '.join(parts)}")
    return out


def against(means: pd.DataFrame, control: str) -> list[str]:
    """Sentences: zero-shot beside a control, and whether it is above (`above`)."""
    if control not in set(means.get("arm", ())):
        return [
            f"No comparison with `{control}`: it was not measured from two sources or more here"
        ]
    table = above(means, control)
    mine = points(table, "mean")
    other = points(table, "mean_control", "low_control", "high_control")
    return [
        f"**{task}**: zero-shot {a}, {control} {b}; that transfer is above the control: **{said}**"
        for task, a, b, said in zip(table["task"], mine, other, table["verdict"], strict=True)
    ]


def paired(data: Evidence) -> pd.DataFrame:
    """Mean difference to every control on the pairs both were measured on (`compare`)."""
    rows = [regression.compare(data.scores, data.model, c) for c in data.controls]
    return ordered(pd.concat(rows, ignore_index=True)) if rows else pd.DataFrame()


def illegal(data: Evidence) -> pd.DataFrame:
    """Share of zero-shot outputs that are no legal answer, tasks by arms; may be empty."""
    rows = data.every[(data.every["metric"] == ILLEGAL) & (data.every["n_target"] == 0)]
    means = rows.groupby(["task", "model"])["score"].mean().mul(100).unstack("model")
    return ordered(means.reset_index().rename_axis(columns=None))


def sureness(data: Evidence) -> list[str]:
    """Sentences on `noise`: how fine a difference between two cells may be read."""
    return [
        f"**{r['task']}**: the standard error of a cell is {r['median']:.1f} points "
        f"(at most {r['largest']:.1f}), so two cells that differ by less than "
        f"{1.96 * 2**0.5 * r['median']:.1f} cannot be told apart"
        for r in noise(select(data.scores, model=data.model)).to_dict("records")
    ]


def known_names(table: pd.DataFrame) -> list[str]:
    """Sentences on `unseen_names`."""
    score = points(
        table.assign(
            low=table["score"] - 1.96 * table["se_names"],
            high=(table["score"] + 1.96 * table["se_names"]).clip(upper=1.0),
        ),
        "score",
    )
    return [
        f"**{r['task']}**: in the language of its training the model scores {said} on "
        f"{r['names']} names that never had a label"
        + (f", {r['above']:.0f} standard errors from chance ({100 * r['chance']:.0f})"
           if math.isfinite(r["above"]) else "")
        for r, said in zip(table.to_dict("records"), score, strict=True)
    ]  # fmt: skip


def both_ways(table: pd.DataFrame) -> list[str]:
    """Sentences on `symmetry`."""
    out = []
    for r in table.to_dict("records"):
        more = "more than" if r["apart"] > 1.2 * r["noise"] else "about as much as"
        out.append(
            f"**{r['task']}**: the two directions of a pair differ by {r['apart']:.1f} points on "
            f"average, {more} the {r['noise']:.1f} that error alone would give; over language "
            f"effects they correlate at {r['over_r']:.2f} "
            f"({r['over_r_low']:.2f} to {r['over_r_high']:.2f})".replace("-", "−")
        )
    return out


def too_small(data: Evidence, least: int = 8) -> Markdown:
    """A warning where there are too few languages to explain anything; else how many there are."""
    from IPython.display import Markdown

    rows = data.zero_shot
    n = rows[["source", "target"]].nunique().min()
    size = f"{rows['source'].nunique()} sources and {rows['target'].nunique()} targets"
    if n >= least:
        return Markdown(f"{size}, {len(data.tasks)} tasks, model `{data.model}`.")
    return Markdown(
        f"**{size}: fewer than {least} languages cannot tell measures of similarity apart.** What "
        "follows shows that the analysis runs, and nothing about languages."
    )


def explained_warnings(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None,
    task: str | None,
    model: str,
) -> list[str]:
    """What `regression.explain` warns of and leaves out."""
    found = regression.explain(scores, pairs, features, task, model, permutations=0)
    return [*found.warnings, *found.notes]


def steps_of(
    pairs: pd.DataFrame, features: Sequence[str] | None
) -> Mapping[str, Sequence[str]] | None:
    """Steps of `regression.nested` for the measures chosen; None for its own steps.

    Without lexical measures (a table of one's own has none) syntax comes first.
    """
    known = regression.features_of(pairs) if features is None else list(features)
    steps = {k: [f for f in group if f in known] for k, group in regression.STEPS.items()}
    kept = {k: group for k, group in steps.items() if group}
    if kept == {k: list(group) for k, group in regression.STEPS.items()}:
        return None
    first = next(iter(kept), "")
    return {k.removeprefix("+ ") if k == first else k: group for k, group in kept.items()}


def curves_of(data: Evidence, model: str, task: str) -> pd.DataFrame:
    """Few-shot curves of an arm; an empty table where it has none."""
    from xltlib.explain import fewshot

    try:
        return fewshot.curves(data.scores, model, task)
    except ValueError:
        columns = [*fewshot.CURVE, "n_target", "score"]
        return pd.DataFrame(columns=columns).astype({"n_target": int, "score": float})


def budget(
    with_source: pd.DataFrame, alone: pd.DataFrame, goal: float, law: str, seed: int = 0
) -> pd.DataFrame:
    """Examples needed for a goal with each source, and without any: ``source, target, …``."""
    from xltlib.explain import fewshot

    mine = fewshot.examples_needed(fewshot.fit(with_source, law), goal, seed=seed)
    table = mine[["source", "target", "answer"]].rename(columns={"answer": "with this source"})
    if len(alone):
        other = fewshot.examples_needed(fewshot.fit(alone, law), goal, seed=seed)
        answers = dict(zip(other["target"], other["answer"], strict=True))
        column = [answers.get(t, "not measured") for t in table["target"]]
        table["without any source"] = column
    return table


def law_answer(compared: pd.DataFrame, verdicts: pd.DataFrame) -> list[str]:
    """Sentences: which law errs least on numbers it has not seen; is growth logarithmic."""
    if not len(compared):
        return ["Too few numbers of examples were measured to judge a law."]
    out = []
    for task, rows in compared.groupby("task", sort=False):
        best = rows.sort_values("mae", kind="stable").head(1)
        law, n, error = best["law"].iloc[0], best["n_curves"].iloc[0], points(best, "mae").iloc[0]
        out.append(
            f"**{task}**: over {_count(n, 'curve')} *{law}* errs least at numbers of examples not "
            f"seen, by {error} points"
        )
    for r in verdicts.to_dict("records"):
        out.append(f"{r['claim']}: **{r['verdict']}**")
    return out


def worth_answer(ahead: pd.DataFrame, worth: pd.DataFrame) -> list[str]:
    """Sentences: the head start of a source in points, and its worth in examples."""
    out = []
    if len(ahead):
        words = points(ahead, "difference")
        for i in (0, len(ahead) - 1):
            r = ahead.iloc[i]
            out.append(
                f"with {r['n_target']} examples of the target a source is worth {words.iloc[i]} "
                f"points ({_count(r['n_pairs'], 'pair')}, {_count(r['n_targets'], 'target')})"
            )
    if len(worth):
        from xltlib.languages import name

        best = worth.sort_values("n", kind="stable").iloc[-1]
        pair = f"{name(best['source'])} for {name(best['target'])}"
        out.append(
            f"the source worth the most examples is {pair}; without any source "
            f"its zero-shot score takes: {best['answer']}"
        )
    return out or ["Nothing was measured without a source to compare with."]


def measured_target(data: Evidence, wanted: str = "") -> str:
    """A target of the scores: the one wanted, or the last by code."""
    found = sorted(data.zero_shot["target"].unique())
    if wanted and wanted not in found:
        raise unknown("measured target", wanted, found, "Choose one of the scores table.")
    return wanted or str(found[-1])


def compared(data: Evidence, protocol: Protocol) -> tuple[pd.DataFrame, list[str]]:
    """`methods.compare_methods` of the model, by task; a reason instead where languages are few."""
    from xltlib.rank import methods

    languages = {*data.zero_shot["source"], *data.zero_shot["target"]}
    if len(languages) < 4:
        return pd.DataFrame(), [
            f"comparing rules: with one language held out, {len(languages) - 1} are left to learn "
            "from; at least 4 in all are needed"
        ]
    return ordered(methods.compare_methods(data.zero_shot, data.pairs, protocol)), []


def recommendations(data: Evidence, target: str) -> tuple[dict[str, Any], list[str]]:
    """A `recommend.Recommendation` per task, and why a task has none."""
    from xltlib.rank.recommend import recommend

    rows = data.zero_shot
    least = int(rows[["source", "target"]].nunique().min())
    if least < 3:
        return {}, [f"a recommendation learns from 3 sources and 3 targets, here are {least}"]
    pairs = pairs_with(data.pairs, {*rows["source"], *rows["target"], target})
    found, unable = {}, []
    for task in data.tasks:
        try:
            found[task] = recommend(target, rows, pairs, task=task)
        except ValueError as error:
            unable.append(f"{task}: {error}")
    return found, unable


def trial(data: Evidence, target: str, task: str) -> tuple[pd.DataFrame, list[str]]:
    """The recommendation for a measured target whose scores were hidden, with the true ``score``.

    Its own model, as a source for others, stays known (warm).
    """
    from xltlib.rank.recommend import recommend

    rows = select(data.zero_shot, task=task)
    try:
        advice = recommend(target, rows[rows["target"] != target], data.pairs)
    except ValueError as error:
        return pd.DataFrame(), [f"{task}: {error}"]
    truth = cells(rows[rows["target"] == target])[["source", "score"]]
    return advice.table.merge(truth, on="source"), []


def advised(advice: Any, most: int = 5) -> HTML:
    """The first rows of a `Recommendation` for the page."""
    table = advice.table.head(most)
    best = table["p_best"].map(lambda p: f"{100 * p:.0f} %")
    columns = {"rank": table["rank"], "source": table["source"], "score": _expected(table)}
    return listed(pd.DataFrame(columns | {"the best?": best, "why": table["why"]}))


def _expected(table: pd.DataFrame) -> list[str]:
    """Predicted scores with their intervals, measured ones as such."""
    words = points(table, "predicted")
    known = [f"{100 * p:.1f}, measured" for p in table["predicted"]]
    return [k if m else w for k, w, m in zip(known, words, table["measured"], strict=True)]


def sets(told: Mapping[str, Any]) -> pd.DataFrame:
    """The sources to train together, task by task: each step with the best score to expect."""
    rows = []
    for task, advice in told.items():
        steps = advice.best_set
        for r in steps[steps["expected_best"].diff().fillna(1) > 0].itertuples(index=False):
            rows.append((task, r.k, r.source, 100 * r.expected_best))
    return pd.DataFrame(rows, columns=["task", "sources", "source", "best score to expect"]).rename(
        columns={"sources": "step"}
    )


def tried(table: pd.DataFrame) -> HTML:
    """A recommendation beside the truth: ``source, predicted, low, high, score``."""
    inside = table["score"].between(table["low"], table["high"])
    columns = {
        "rank": table["rank"],
        "source": table["source"],
        "predicted (90 %)": points(table, "predicted"),
        "measured": 100 * table["score"],
        "inside": inside.map({True: "yes", False: "no"}),
    }
    return listed(pd.DataFrame(columns), digits=1)


def hits(table: pd.DataFrame) -> str:
    """Sentence: what the first choice lost on a hidden target, and how many intervals held."""
    if not len(table):
        return "There are too few sources to try a recommendation on."
    best, first = float(table["score"].max()), float(table["score"].iloc[0])
    loss = 100 * (best - first) / best if best > 0 else 0.0
    inside = int(table["score"].between(table["low"], table["high"]).sum())
    return (
        f"on the hidden target the first recommendation loses {loss:.1f} % of the best source; "
        f"{inside} of {len(table)} measured scores lie inside their 90 % intervals"
    )
