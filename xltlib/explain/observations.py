"""What a regression sees: cells joined with the measures of their pair, and how reliable they are.

The noise of a matrix bounds what similarity can explain of it. A binomial error of each cell is
wrong where targets share test items or seeds share training items; two halves that were measured
apart are right: what they have in common is what a further measurement would find again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from xltlib.errors import unknown
from xltlib.explain.contrast import verdict
from xltlib.explain.effects import Array, Design, interval
from xltlib.languages.similarity import LEVELS
from xltlib.scores import HALF, cells, gain, notes, select, transfer

_GAPS = 0.1  # a measure missing in more than this share of pairs is left out unless asked for


def features_of(pairs: pd.DataFrame) -> list[str]:
    """Numeric columns of a pairs table that may explain (coverage columns may not)."""
    return [
        str(c)
        for c in pairs.columns.difference(["source", "target"], sort=False)
        if not str(c).startswith("coverage_")
        and pd.api.types.is_numeric_dtype(pairs[c])
        and pairs[c].notna().any()
    ]


def _chosen(pairs: pd.DataFrame, features: Sequence[str] | None) -> list[str]:
    allowed = features_of(pairs)
    own = [f for f in allowed if f not in LEVELS]  # source and target effects absorb the levels
    chosen = own if features is None else list(dict.fromkeys(features))
    for name in chosen:
        if name not in allowed:
            raise unknown("feature", name, allowed, "choose measures of the pairs table")
    if not chosen:
        raise ValueError("the pairs table has no measure: make it with `xlt similarity`")
    return chosen


def observe(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    features: Sequence[str] | None = None,
    task: str | None = None,
    model: str | None = None,
    baseline: str | None = None,
    lenient: bool | None = None,
) -> pd.DataFrame:
    """Zero-shot cells (means over seeds) joined with the measures of their pair.

    Parameters
    ----------
    features
        Measures of the pairs table (all by default).
    task, model
        Only this one.
    baseline
        With it, the response is the gain of `model` over this condition instead of the score.
    lenient
        Leave out a measure that more than a tenth of the pairs lack, instead of these pairs
        (default: when no features are named).

    Returns
    -------
    DataFrame
        ``model, task, source, target, y, se`` and the features; ``attrs["notes"]`` says what was
        left out, ``attrs["features"]`` which measures are left.
    """
    chosen = _chosen(pairs, features)
    if baseline is not None:
        if model is None:
            raise ValueError("a gain needs both: say which model is compared with the baseline")
        scores = gain(select(scores, task=task), model, baseline)
    value = "score" if baseline is None else "gain"
    rows = transfer(select(scores, model=model, task=task))
    if rows.empty:
        raise ValueError(
            "no zero-shot score between two different languages is left: the analysis needs rows "
            "with n_target = 0 and source other than target"
        )
    left_out = notes(scores)
    table = _one_metric(cells(rows, value), left_out)
    table = table.rename(columns={value: "y"}).merge(
        pairs[["source", "target", *chosen]], on=["source", "target"], how="left"
    )
    if features is None if lenient is None else lenient:
        chosen = _without_gaps(table, chosen, left_out)
    out = _complete(table, chosen, left_out).reset_index(drop=True)
    out.attrs = {"notes": left_out, "features": chosen}
    return out


def _one_metric(table: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """One metric a task: the first by name where there are several (noted)."""
    first = table.groupby(["model", "task"])["metric"].transform("min")
    for task, group in table.groupby("task"):
        if group["metric"].nunique() > 1:
            left_out.append(f"task {task} has several metrics; {group['metric'].min()} is analysed")
    return table[table["metric"] == first]


def _without_gaps(table: pd.DataFrame, chosen: list[str], left_out: list[str]) -> list[str]:
    missing = table[chosen].isna().mean()
    kept = [f for f in chosen if missing[f] <= _GAPS]
    for f in chosen:
        if f not in kept:
            left_out.append(f"{f} left out: {missing[f]:.0%} of the pairs lack it")
    return kept or chosen


def _complete(table: pd.DataFrame, chosen: list[str], left_out: list[str]) -> pd.DataFrame:
    """Pairs that have every measure; how many are lost is noted, none left is an error."""
    gaps = table[chosen].isna()
    lost = gaps.any(axis=1)
    if lost.all():
        raise ValueError(
            f"no pair has all of {', '.join(chosen)}: compute the pairs table for the languages of "
            "the scores, or choose fewer measures"
        )
    if lost.any():
        left_out.append(
            f"{int(lost.sum())} of {len(table)} pairs left out: a measure is missing "
            f"({gaps.sum().idxmax()} most often)"
        )
    return table[~lost]


def design(observed: pd.DataFrame, least: int = 3) -> Design:
    """`observations` as arrays; fewer than `least` sources or targets are an error."""
    for side in ("source", "target"):
        if observed[side].nunique() < least:
            raise ValueError(
                f"only {observed[side].nunique()} {side} language(s): separating source and target "
                f"effects from similarity needs at least {least} of each"
            )
    codes, languages = pd.factorize(pd.concat([observed["source"], observed["target"]]), sort=True)
    source, target = codes.astype(np.int64).reshape(2, -1)
    block = observed.groupby(["model", "task"], sort=True).ngroup().to_numpy().astype(np.int64)
    return Design(
        y=observed["y"].to_numpy(dtype=float),
        X=observed[observed.attrs["features"]].to_numpy(dtype=float),
        s=block * len(languages) + source,
        t=block * len(languages) + target,
        source=source,
        target=target,
        block=block,
        features=tuple(observed.attrs["features"]),
        languages=tuple(languages),
        frame=observed,
        notes=tuple(notes(observed)),
    )


def over_effects(observed: pd.DataFrame) -> pd.DataFrame:
    """An observations table without source and target effects: what similarity could explain.

    Response and measures keep their overall mean, so that axes stay readable.
    """
    data, columns = design(observed), [*observed.attrs["features"], "y"]
    out = observed.copy()
    out[columns] = data.left + observed[columns].mean().to_numpy()
    out.attrs = {**observed.attrs, "response": "score over language effects"}
    return out


# -- how far two halves agree ---------------------------------------------------------------------


def reliability(scores: pd.DataFrame, *, bootstrap: int = 300, seed: int = 0) -> pd.DataFrame:
    """Reliability of zero-shot scores, and of what source and target effects leave of them.

    The correlation r of the two halves over cells, stepped up to their mean, 2 r / (1 + abs(r))
    (Spearman 1910; Brown 1910). Residuals are those of a two-way additive fit of each half.

    Parameters
    ----------
    scores : DataFrame
        A scores table that measures its cells in two independent halves, of the training data, of
        the test items or of both, told apart by a column `HALF`; seeds within one are averaged.
    bootstrap, seed
        Draws of *languages* for the interval.

    Returns
    -------
    DataFrame
        ``model, task, metric, of`` (scores, residuals), ``estimate`` (1: no noise), ``low, high``
        (95 %), ``n`` (cells in both halves), ``verdict`` (whether above 0).

    Raises
    ------
    ValueError
        No such column, not two halves in it, or under four sources or targets in both.

    Notes
    -----
    Noise that all sources share, such as that of a target's test items, is an effect of the target:
    it lowers the reliability of scores only. Simulated with 15 languages, 100 tables each, true
    values of 0 to .96: bias under .005; the interval held the truth in 99 to 100 %. Drawing
    languages on both sides is cautious where noise is that of single cells (Owen 2007, Annals of
    Applied Statistics 1, p. 386).
    """
    if HALF not in scores:
        raise ValueError(
            f"the scores have no column {HALF!r}: say in one which of two independent halves "
            "(training subset, test items) each row was measured on"
        )
    rows = []
    for labels, group in transfer(scores).groupby(["model", "task", "metric"], sort=True):
        data = _halves(group)
        one = np.zeros_like(data.s)  # a single source and target: cells less their mean
        for of, part in (("scores", replace(data, s=one, t=one)), ("residuals", data)):
            low, high = interval(_stepped_up(part.resampled(bootstrap, seed)))
            found = (float(_stepped_up(part.gram())), float(low), float(high), len(data.y))
            rows.append((*labels, of, *found, verdict(float(low), float(high))))
    names = ["model", "task", "metric", "of", "estimate", "low", "high", "n", "verdict"]
    return pd.DataFrame(rows, columns=names)


def _halves(group: pd.DataFrame) -> Design:
    """The cells measured in both halves: the first as the measure, the second as the response."""
    cell = ["model", "task", "source", "target"]
    wide = group.groupby([*cell, HALF])["score"].mean().unstack(HALF)
    if wide.shape[1] != 2:
        raise ValueError(
            f"column {HALF!r} of task {group['task'].iloc[0]!r} has {wide.shape[1]} values "
            f"({', '.join(map(str, wide.columns[:5]))}), not two: keep or make two halves"
        )
    both = wide.dropna().set_axis(["first", "y"], axis=1).reset_index()
    both.attrs = {"features": ["first"]}
    return design(both, least=4)


def _stepped_up(gram: Array) -> Array:
    """Reliability of the mean of two halves from their cross products (..., 2, 2)."""
    r = gram[..., 0, 1] / np.sqrt(gram[..., 0, 0] * gram[..., 1, 1])
    return np.asarray(2 * r / (1 + np.abs(r)))
