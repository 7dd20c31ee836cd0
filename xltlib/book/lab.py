"""A result of the laboratory: what a paper claims, our estimate beside it, and a verdict.

A notebook of the laboratory hands over cells, a number for each unit that was sampled. What is
concluded from them is the one operation of this library (`explain.contrast.estimates`), and the
cells are kept, so that every verdict can be recomputed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from xltlib.book import assertions, tables, words
from xltlib.explain.contrast import estimates, verdict
from xltlib.explain.effects import Effects
from xltlib.io import write_table

if TYPE_CHECKING:
    from IPython.display import HTML

# What the verdicts of `contrast` mean beside a paper's claim.
_DIRECTIONS = {
    "holds": "same direction",
    "does not hold": "other direction",
    "cannot tell": "cannot tell",
}


@dataclass(frozen=True)
class Claim:
    """A claim, put so that an estimate above `bound` says what the paper says.

    Attributes
    ----------
    sentence
        Ours, with a full stop; no two are alike in a notebook.
    paper
        Key in book/references.bib.
    published
        The paper's own figure, in words; what was not seen is said.
    cells
        A row a unit, or combination of units: the column ``value`` and the columns of `over`.
    over
        The units that were sampled, of `xltlib.book.assertions.UNITS`, as in `estimates`.
    scale
        Unit of the value: points, correlation, ...
    bound
        What the paper's direction lies above.
    """

    sentence: str
    paper: str
    published: str
    cells: pd.DataFrame
    over: str
    scale: str = "points"
    bound: float = 0.0


def conclude(claims: Sequence[Claim], folder: str = "", stem: str = "") -> HTML:
    """Judge claims, record them as statements of the book, and keep them with their cells.

    Parameters
    ----------
    folder
        Where ``STEM.csv``, the results, and ``STEM.cells.parquet`` are written; empty: nowhere.

    Returns
    -------
    HTML
        The table: claim, published, ours with its interval, n, verdict.
    """
    cells = pd.concat(
        [c.cells[["value", *c.over.split(", ")]].assign(claim=i) for i, c in enumerate(claims)],
        ignore_index=True,
    )
    cells["value"] = cells["value"].astype(float)
    fields = ["sentence", "paper", "published", "over", "scale", "bound"]
    found = judged(pd.DataFrame([{f: getattr(c, f) for f in fields} for c in claims]), cells)
    if folder:
        write_table(found, Path(folder) / f"{stem}.csv")
        write_table(cells, Path(folder) / f"{stem}.cells.parquet")
    where = f"book/published/lab/{stem}.cells.parquet, explain.contrast"
    about = {"family": f"laboratory {stem[:2]}", "kind": "confirmatory", "where": where}
    assertions.record(found.assign(verdict=found["contrast"], unit=found["over"]), **about)
    keys = ["estimate", "low", "high", "scale"]
    ours = [
        words.estimate(mid, low, high, 1 if scale == "points" else 2)
        for mid, low, high, scale in found[keys].itertuples(index=False)
    ]
    shown = found.assign(ours=ours)
    keep = ["sentence", "published", "ours", "scale", "n", "over", "verdict"]
    return tables.listed(shown[keep], sentence="claim", ours="ours (95 %)", over="n of")


def judged(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Claims with what their cells say.

    Parameters
    ----------
    table
        ``over, bound`` and whatever else, a row a claim.
    cells
        ``claim`` (number of the row), ``value``, and the units.

    Returns
    -------
    DataFrame
        `table` with ``estimate, low, high, df``, ``n`` (of the scarcest unit) and ``cells``,
        ``contrast`` (of `contrast.VERDICTS`, against ``bound``) and ``verdict`` (`_DIRECTIONS`).
    """
    rows: list[dict[str, Any]] = []
    for i, (over, bound) in enumerate(zip(table["over"], table["bound"], strict=True)):
        units, own = over.split(", "), cells[cells["claim"] == i]
        found = estimates(own, "value", over=units).iloc[0]
        low, high = float(found["low"]), float(found["high"])
        said = verdict(low, high, float(bound))
        rows.append({
            "estimate": found["estimate"], "low": low, "high": high, "df": found["df"],
            "n": min(own[u].nunique() for u in units), "cells": len(own), "contrast": said,
            "verdict": _DIRECTIONS[said],
        })  # fmt: skip
    keep = [c for c in table if c not in rows[0]] if rows else list(table)
    return pd.concat([table[keep].reset_index(drop=True), pd.DataFrame(rows)], axis=1)


def pair_effects(cells: pd.DataFrame, value: str = "score") -> pd.Series:
    """What source and target effects leave of each pair, in points.

    `cells` has ``source, target`` and `value`, 0 to 1; a row a pair, without in-language pairs.
    """
    s, t = (pd.factorize(cells[side])[0] for side in ("source", "target"))
    left = Effects(s, t).within(cells[value].to_numpy(dtype=float))
    return pd.Series(100 * left, index=cells.index)
