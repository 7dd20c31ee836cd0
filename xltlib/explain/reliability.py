"""How reliable scores are: how far two halves that were measured apart agree.

The noise of a matrix bounds what similarity can explain of it. A binomial error of each cell is
wrong where targets share test items or seeds share training items; two halves of both are right:
what they have in common is what a further measurement would find again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from xltlib.explain.contrast import verdict
from xltlib.explain.effects import Array, Design, interval
from xltlib.explain.observations import design
from xltlib.scores import HALF, transfer


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
        for of, part in _parts(data):
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


def _parts(data: Design) -> Iterator[tuple[str, Design]]:
    """The cells less their mean, then less source and target effects."""
    one = np.zeros_like(data.s)
    yield "scores", replace(data, s=one, t=one)
    yield "residuals", data


def _stepped_up(gram: Array) -> Array:
    """Reliability of the mean of two halves from their cross products (..., 2, 2)."""
    r = gram[..., 0, 1] / np.sqrt(gram[..., 0, 0] * gram[..., 1, 1])
    return np.asarray(2 * r / (1 + np.abs(r)))
