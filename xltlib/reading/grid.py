"""A grid of cells as a frame: titles and footnotes left out, rows of headings found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xltlib.reading.cells import is_data, is_number
from xltlib.reading.headings import is_filler, is_language, role, some


def headed(grid: Sequence[Sequence[Any]], notes: list[str]) -> pd.DataFrame:
    """A grid as a frame with its one to three rows of headings; a note says what is left out."""
    rows = [[_cell(c) for c in row] for row in grid]
    rows, lost = _without_lines_of_text([row for row in rows if _filled(row)])
    if lost:
        notes.append(f"lines beside the table left out: {some([repr(x) for x in lost], 2)}")
    if not rows:
        return pd.DataFrame()
    n, named = _heading_rows(rows)
    again = rows[n - 1]  # under another name at its corner it would begin another table
    body = [r for r in rows[n + bool(named) :]
            if len(r) < 2 or r[1:] != again[1:] or r[0] not in ("", again[0])]  # fmt: skip
    rows[n + bool(named) :] = body
    common = Counter(map(len, body)).most_common(1)
    if n == 1 and common and common[0][0] == len(rows[0]) + 1:  # R and print: no corner
        rows[0] = ["", *rows[0]]
    width = max(map(len, rows))
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    keep = [i for i in range(width) if any(row[i] != "" for row in rows)]
    heads = [[str(row[i]) for i in keep] for row in rows[:n]]
    if named and role(named[0]):  # as pandas writes the names of both axes
        heads[-1][0] = f"{named[0]} / {heads[-1][0]}".strip(" /")
    body = [[row[i] for i in keep] for row in rows[n + bool(named) :]]
    frame = pd.DataFrame(body, columns=range(len(keep)), dtype=object)
    frame.attrs["beside"] = lost
    if n == 1:
        return frame.set_axis(heads[0], axis=1)
    notes.append(f"{('two', 'three')[n - 2]} rows of headings read")
    return frame.set_axis(pd.MultiIndex.from_arrays([*map(_spread, heads[:-1]), heads[-1]]), axis=1)


def _spread(row: list[str]) -> list[str]:
    """A label over several columns stands in the first of them."""
    out = row[:2]
    for cell in row[2:]:
        out.append(cell or out[-1])
    return out


def _cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell.strip().strip("\ufeff").strip()
    return "" if cell is None or (isinstance(cell, float) and np.isnan(cell)) else cell


def _filled(row: Sequence[Any]) -> list[Any]:
    return [c for c in row if c != ""]


def _without_lines_of_text(rows: list[list[Any]]) -> tuple[list[list[Any]], list[str]]:
    """Titles above and notes below a table stand alone in their row."""

    def alone(row: list[Any]) -> bool:
        return len(_filled(row)) == 1 and row[0] != "" and not is_number(row[0])

    if max((len(_filled(row)) for row in rows), default=0) < 2:
        return [], []
    width = Counter(map(len, rows)).most_common(1)[0][0]
    short = next((i for i, row in enumerate(rows) if len(row) >= width - 1), 0)  # with commas in it
    lost, rows = [", ".join(map(str, row)) for row in rows[:short]], rows[short:]
    table = [i for i, row in enumerate(rows) if not alone(row)]
    first, last = (table[0], table[-1] + 1) if table else (0, 0)
    tail = [row for row in rows[last:] if is_language(row[0])]  # a language without any score
    lost += [str(row[0]) for row in (*rows[:first], *rows[last:]) if not is_language(row[0])]
    return [*rows[first:last], *tail], lost


def _heading_rows(rows: list[list[Any]]) -> tuple[int, list[Any]]:
    """How many rows are headings, and the row below them that only names the labels."""
    if {"source", "target"} <= {role(c) for c in rows[0]} or len(rows) < 3:
        return 1, []
    n = 0
    while n < min(3, len(rows) - 1) and not _holds_data(rows[n][1:]):
        n += 1
    n = max(n, 1)
    last = rows[n - 1]
    if n > 1 and len(_filled(last)) <= 2 and not any(map(is_language, _filled(last))):
        index = all(role(c) or is_filler(c) for c in last)
        return n - 1, last if index else []  # as pandas names an index; else it heads a section
    texts = _filled(last[1:])
    if n > 1 and sum(map(is_language, texts)) < len(texts) / 2 and not _over(rows[n - 2][1:]):
        return 1, []
    return n, []


def _holds_data(cells: list[Any]) -> bool:
    """Whether a row has a number, or nothing but signs of missing ones (`nan` is Min Nan too)."""
    filled = _filled(cells)
    return any(map(is_number, filled)) or (bool(filled) and all(map(is_data, filled)))


def _over(cells: list[Any]) -> bool:
    """Whether a row heads the one below: labels that repeat, or gaps."""
    return "" in cells or len(set(cells)) < len(cells)
