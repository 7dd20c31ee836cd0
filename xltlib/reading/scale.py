"""What kind of number the scores of a table are: scores, losses, ranks; of 1 or of 100."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from xltlib.reading.headings import is_score, lower_is_better, some, words

SAME_UNIT = ("stderr", "chance")  # optional columns in the unit of the score
ILLEGAL = "illegal"  # share of outputs that are no answer: shown, never analysed


def higher(df: pd.DataFrame, lower: bool | None, note: Callable[[str], None]) -> pd.DataFrame:
    """Ranks are refused; losses and errors too, or are turned into scores if `lower` is true."""
    groups = df[df["n_target"] == 0].groupby(["model", "task", "metric", "seed"], sort=False)
    for (model, task, metric, _), group in groups:
        shares = lower is None and (metric == "score" or not is_score(metric))
        for side in ("target", "source"):
            if _are_ranks(group, side, shares):
                most = group["score"].max()
                top = most if most > 1 else group.groupby(side).size().max()
                raise ValueError(
                    f"the scores of {task}, {model} are ranks, 1 to {top:g} within each {side}: "
                    "give the scores that they rank"
                )
    named = df["metric"].map({m: lower_is_better(m) for m in df["metric"].unique()})
    if lower is None and named.any() and not named.all():
        losses = some(df.loc[named, "metric"].unique())
        note(f"{int(named.sum())} rows dropped: {losses} is no score (--metric reads it)")
        return df[~named].copy()
    if lower is None and named.any():
        raise ValueError(
            f"{df['metric'].iloc[0]!r} is better when lower: add --lower-is-better to turn it into "
            "a score, or choose another column with --metric"
        )
    if lower is None:
        for (*_, metric, _), group in groups:
            if metric != ILLEGAL:
                _refuse_losses(group, metric != "score" and is_score(metric))
    if not lower:
        return df
    parts = df.groupby("metric", sort=False)["score"]
    turned = pd.concat([_turned(values, str(metric), note) for metric, values in parts])
    return df.assign(score=turned.reindex(df.index))


def _are_ranks(group: pd.DataFrame, side: str, shares: bool) -> bool:
    """Whether each column (or row) of the matrix is its own ranking, from 1 or 0 up.

    With `shares`, ranks may be given as shares of how many there are.
    """
    within = group.groupby(side)["score"]
    if group["score"].nunique() < 3 or len(within) < 2 or (within.size() < 3).any():
        return False
    score = group["score"]
    if shares and score.max() == 1:
        score = (score * within.transform("size")).round(6)
    first = score - score.min() + 1
    by = first.groupby(group[side])
    return score.min() in (0, 1) and any(
        (by.rank(method) == first).all() for method in ("average", "min", "max", "dense", "first")
    )


def _refuse_losses(group: pd.DataFrame, named: bool) -> None:
    """A matrix in which a language is nearly always worst on itself holds losses or errors.

    Unless its metric has the name of one that is better when higher (`named`).
    """
    own = group[group["source"] == group["target"]]
    if len(own) > 2:  # in most tables of many tasks or seeds there are fewer
        _refuse_worst_on_itself(group, own, named)
    top = group["score"].max()
    if (
        1.5 < top <= 10
        and group["score"].median() > 1
        and "bleu" not in str(group["metric"].iloc[0])
    ):
        raise ValueError(
            f"the scores reach {top:g}, too much for 0..1 and little for 0..100: if they are "
            "losses or perplexities, add --lower-is-better; if they are of 100, --higher-is-better"
        )


def _refuse_worst_on_itself(group: pd.DataFrame, own: pd.DataFrame, named: bool) -> None:
    targets = group.groupby("target")["score"]
    itself = own[targets.transform("size")[own.index] >= 4]
    lowest = int((itself["score"] <= targets.transform("min").loc[itself.index]).sum())
    alike = own["score"].iloc[0]
    if (own["score"] == alike).all() and (alike == 0 or (alike in (1, 100) and not named)):
        if (group["score"] != alike).mean() > 0.5:
            raise ValueError(
                f"every score of a language on itself is {alike:g}: leave these cells empty if "
                "they were not measured, and give scores, no similarities or shares of the own "
                "score; if they are scores, --higher-is-better"
            )
    varied = group["score"].nunique() > 2
    if varied and not named and len(itself) >= 4 and lowest >= 0.9 * len(itself):
        raise ValueError(
            f"in {lowest} of {len(itself)} languages the score of the language on itself is the "
            "lowest of its targets: if lower is better, add --lower-is-better; if these are "
            "scores, --higher-is-better"
        )


def _turned(values: pd.Series, metric: str, note: Callable[[str], None]) -> pd.Series:
    """Losses, perplexities and error rates as scores, higher is better, in 0..1."""
    kind, top = set(words(metric)), float(values.max())
    if (values < 0).any():
        raise ValueError(f"{metric} {values.min():g} is below 0: no loss, perplexity or error rate")
    if kind & {"perplexity", "ppl"}:
        how, out = "1 / x", 1 / values.clip(lower=1)
    elif kind & {"error", "err", "wer", "cer", "ter", "eer"} or (metric == "score" and top <= 1):
        unit = 1 if top <= 1.5 else 100
        how, out = "1 - x" if unit == 1 else "1 - x / 100", (1 - values / unit).clip(lower=0)
    else:
        how, out = "exp(-x)", np.exp(-values)
    note(f"{metric}, lower is better, turned into a score by {how}")
    return out


def in_unit(df: pd.DataFrame, lower: bool | None, note: Callable[[str], None]) -> pd.DataFrame:
    """Per model, task and metric: 0..100 becomes 0..1, anything else outside 0..1 is an error."""
    groups = df.groupby(["model", "task", "metric"], sort=False)["score"]
    top, low = (groups.transform(f) for f in ("max", "min"))
    if (low < 0).any() or (top > 100).any():
        worst = df["score"].min() if (low < 0).any() else df["score"].max()
        raise ValueError(
            f"score {worst:g} is outside 0..1 (and 0..100): correct or remove the row, or, if "
            "lower is better, add --lower-is-better"
        )
    percent = (top > 1.5) & (lower is not True)
    models = percent.groupby([df["task"], df["metric"]]).transform("nunique") > 1
    odd = ((top > 1 + 1e-9) & (top <= 1.5)) | (percent & _two_scales(df, groups)) | models
    if odd.any():
        part = df[odd & (df["task"] == df.loc[odd, "task"].iloc[0])]
        small = part[part["score"] <= 1]
        rows = (small if len(small) < len(part) / 2 else part[part["score"] > 1]).head(3)
        seen = some(f"{r.source} -> {r.target} {r.score:g}" for r in rows.itertuples())
        raise ValueError(
            f"scores of task {part['task'].iloc[0]!r} lie between {part['score'].min():g} and "
            f"{part['score'].max():g}: 0..1 and 0..100 seem mixed, as in "
            f"{seen}; bring them to one scale, or, if lower is better, add --lower-is-better"
        )
    if percent.any():
        tasks = df.loc[percent, "task"].unique()
        note(f"scores of {some(tasks)} are on 0..100 and were divided by 100")
        unit = np.where(percent, 100.0, 1.0)
        df = df.assign(**{c: df[c] / unit for c in ("score", *SAME_UNIT) if c in df.columns})
    return df.assign(score=df["score"].clip(0.0, 1.0))


def _two_scales(df: pd.DataFrame, groups: Any) -> pd.Series:
    """Whether a group on 0..100 has scores up to 1 that a gap parts from all others."""
    score = df["score"]
    small = score.where((score > 0) & (score <= 1))
    keys = [df[c] for c in ("model", "task", "metric")]
    least = score.where(score > 1).groupby(keys).transform("min")
    most, middle = (small.groupby(keys).transform(f) for f in ("max", "median"))
    apart = (least > 5 * most) & (100 * middle >= least / 2)
    return apart | (groups.transform("median") <= 1)
