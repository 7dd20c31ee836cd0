"""What knowing a language does: models that know different ones, the same target, the same source.

Several models differ only in the languages that they were pre-trained on. So the difference of two
models on one target, at one number of examples and one seed, is caused by what they know. Targets
are the unit that a claim is about and seeds what is drawn anew: differences are averaged over the
targets of a seed, and the interval is over seeds (Student's t), the targets being as given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from xltlib.inference import t_quantile
from xltlib.languages import language, shared_script

Standing = Literal["itself", "relative", "same script", "other script"]
STANDINGS: tuple[str, ...] = get_args(Standing)
FLOORS = ("tiny-scratch", "char-ngram")
ALONE = "-alone"
# What is asked, written down before anything was run (book/open.md): standing and what it is set
# against, each over the targets that have both.
CONTRASTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "knowing the target": (("itself",), ("same script", "other script")),
    "knowing a relative": (("relative",), ("same script", "other script")),
    "knowing its script": (("same script",), ("other script",)),
}


def standing(
    knows: Iterable[str], source: str, target: str, relatives: Mapping[str, str]
) -> Standing:
    """How near a model's languages come to a target; the source, which all know, does not count."""
    others = [k for k in knows if k != source]
    if target in others or target == source:
        return "itself"
    if relatives.get(target) in others:
        return "relative"
    script = language(target).script
    alike = any(shared_script(language(k).script, script) for k in others)
    return "same script" if alike else "other script"


def placed(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Scores of the named models on other targets than the source, in points, with ``standing``.

    Returns
    -------
    DataFrame
        ``model, source, target, n_target, seed, points, standing``; clones are left out.
    """
    own = scores[scores["model"].isin(list(known)) & (scores["metric"] == metric)]
    own = own[(own["source"] != own["target"]) & ~own["target"].str.contains("_")]
    own = own.assign(
        points=100 * own["score"],
        standing=[
            standing(known[m], s, t, relatives)
            for m, s, t in zip(own["model"], own["source"], own["target"], strict=True)
        ],
    )
    return own[["model", "source", "target", "n_target", "seed", "points", "standing"]]


def differences(placed: pd.DataFrame, first: Sequence[str], second: Sequence[str]) -> pd.DataFrame:
    """``target, n_target, seed, points``: models of the first standings less those of the second.

    Only targets that have both; several models of one standing count as their mean.
    """
    key = ["target", "n_target", "seed"]
    sides = [
        placed[placed["standing"].isin(list(side))].groupby(key)["points"].mean()
        for side in (first, second)
    ]
    return (sides[0] - sides[1]).dropna().rename("points").reset_index()


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; not a number where one value is all there is."""
    y = np.asarray(values, dtype=float)
    if len(y) < 2:
        return float(y.mean()) if len(y) else math.nan, math.nan, math.nan
    half = t_quantile(len(y) - 1) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return float(y.mean()), float(y.mean() - half), float(y.mean() + half)


def over_seeds(table: pd.DataFrame) -> dict[str, float]:
    """Mean of ``points`` over the targets of each seed, then mean and interval over seeds."""
    by_seed = table.groupby("seed")["points"].mean()
    mean, low, high = interval(by_seed.to_list())
    return {
        "points": mean, "low": low, "high": high,
        "n_targets": table["target"].nunique(), "n_seeds": len(by_seed),
    }  # fmt: skip


def contrasts(placed: pd.DataFrame, n_target: Iterable[int] = (0,)) -> pd.DataFrame:
    """Every contrast of `CONTRASTS` at each number of examples.

    Returns
    -------
    DataFrame
        ``contrast, n_target, points, low, high, n_targets, n_seeds, verdict``.
    """
    rows = []
    for name, (first, second) in CONTRASTS.items():
        found = differences(placed, first, second)
        for n in n_target:
            mine = found[found["n_target"] == n]
            if len(mine):
                rows.append({"contrast": name, "n_target": n, **over_seeds(mine)})
    return with_verdict(pd.DataFrame(rows))


def with_verdict(table: pd.DataFrame) -> pd.DataFrame:
    """A column ``verdict``: the interval is above zero, below, or has it inside."""
    if table.empty:
        return table
    said = np.select([table["low"] > 0, table["high"] < 0], ["yes", "no, the reverse"], "")
    return table.assign(verdict=np.where(said == "", "cannot tell", said))


def beyond_spelling(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Zero-shot points above the better of no pre-training and the character floor, by standing.

    Returns
    -------
    DataFrame
        ``model, standing, points`` (above the floors) with interval over seeds, ``raw``, ``floor``,
        ``n_targets, n_seeds, verdict``.
    """
    zero = scores[(scores["n_target"] == 0) & (scores["metric"] == metric)]
    low = zero[zero["model"].isin(FLOORS)].groupby(["model", "target"])["score"].mean()
    floor = 100 * low.groupby("target").max()
    mine = placed(zero, known, relatives, metric)
    mine = mine.assign(raw=mine["points"], floor=mine["target"].map(floor))
    mine = mine.assign(points=mine["raw"] - mine["floor"]).dropna(subset=["points"])
    rows = [
        {
            "model": model, "standing": place, "raw": own["raw"].mean(),
            "floor": own["floor"].mean(), **over_seeds(own),
        }
        for (model, place), own in mine.groupby(["model", "standing"], sort=False)
    ]  # fmt: skip
    return with_verdict(pd.DataFrame(rows))


def worth_of_a_source(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Points that the source is worth at each number of examples: with it, less without it.

    Returns
    -------
    DataFrame
        ``standing, n_target, points, low, high, n_targets, n_seeds, verdict``.
    """
    few = scores[scores["n_target"] > 0]
    with_source = placed(few, known, relatives, metric)
    without = few[few["model"].str.endswith(ALONE) & (few["metric"] == metric)]
    without = without.assign(model=without["model"].str.removesuffix(ALONE))
    key = ["model", "target", "n_target", "seed"]
    both = with_source.merge(without[[*key, "score"]], on=key)
    both = both.assign(points=both["points"] - 100 * both["score"])
    rows = [
        {"standing": place, "n_target": n, **over_seeds(own)}
        for (place, n), own in both.groupby(["standing", "n_target"], sort=False)
    ]
    return with_verdict(pd.DataFrame(rows))


def placebo(placed: pd.DataFrame, one: str, other: str) -> dict[str, float]:
    """Zero-shot difference of two models on the targets where both stand alike: should be none."""
    zero = placed[placed["n_target"] == 0]
    wide = zero[zero["model"].isin([one, other])].pivot_table(
        index=["target", "seed"], columns="model", values=["points", "standing"], aggfunc="first"
    )
    if one not in wide["points"] or other not in wide["points"]:
        raise ValueError(f"models {one!r} and {other!r} must both be among the scores")
    alike = wide[(wide["standing"][one] == wide["standing"][other])]
    alike = alike[~alike["standing"][one].isin(["itself", "relative"])]
    apart = (alike["points"][one] - alike["points"][other]).astype(float)
    return over_seeds(apart.rename("points").reset_index())


LINES = {
    "itself": "knows the target",
    "relative": "knows a relative",
    "same script": "knows its script",
    "other script": "knows other scripts",
}
CONTROL_LINES = {
    "tiny-scratch": "no pre-training, with the source",
    "tiny-scratch-alone": "no pre-training, no source",
}


def curves(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Points at every number of examples, for `figures.known_curves`; mean and interval over seeds.

    Returns
    -------
    DataFrame
        ``target, line, n_target, points, low, high``; only targets with few-shot scores.
    """
    mine = placed(scores, known, relatives, metric)
    mine["line"] = mine["standing"].map(LINES)
    floor = scores[scores["model"].isin(list(CONTROL_LINES)) & (scores["metric"] == metric)]
    floor = floor.assign(points=100 * floor["score"], line=floor["model"].map(CONTROL_LINES))
    both = pd.concat([mine, floor], ignore_index=True)
    both = both[both["target"].isin(scores.loc[scores["n_target"] > 0, "target"])]
    order = {line: i for i, line in enumerate([*LINES.values(), *CONTROL_LINES.values()])}
    rows = []
    for (target, line, n), own in both.groupby(["target", "line", "n_target"], sort=False):
        mean, low, high = interval(own.groupby("seed")["points"].mean().to_list())
        rows.append((target, line, n, mean, low, high))
    table = pd.DataFrame(rows, columns=["target", "line", "n_target", "points", "low", "high"])
    return table.sort_values(
        ["target", "line", "n_target"],
        key=lambda c: c.map(order) if c.name == "line" else c,
        ignore_index=True,
    )


def paired_relatives(words: Iterable[str]) -> dict[str, str]:
    """Relatives as a person writes them, both ways.

    >>> paired_relatives(["swe-dan"])
    {'swe': 'dan', 'dan': 'swe'}
    """
    found: dict[str, str] = {}
    for word in words:
        one, dash, other = word.partition("-")
        if not dash:
            raise ValueError(f"relatives: {word!r} is not two languages such as swe-dan")
        one, other = language(one).code, language(other).code
        found |= {one: other, other: one}
    return found
