"""Cells as numbers, with what people write beside numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

_MISSING = set("nan na n/a n.a. n.a none null - -- --- — – − / \\ x × . .. ... … * ? #n/a "
               "not available tbd".split(" ")) | {"", "not available"}  # fmt: skip
_WIDE = {i: i - 0xFEE0 for i in range(0xFF01, 0xFF5F)}  # of Chinese and Japanese keyboards
_MARKS = re.compile(
    r"<sup>[^<>]*</sup>|</?\w[^<>]*>|"
    r"(?<![*×x· ]10)\^(?:\{[^{}+\-−]*\}|[^\s.,+\-−])?(?![\d.,+\-−])|"  # raised, but no power of ten
    r"\\(?:textbf|textit|underline|emph|mathbf|mathrm|text|bf|it|dagger|ddagger|ast)"
    r"(?![A-Za-z])|[*†‡§¶$#{}↑↓✓ᵃᵇᶜᵈ¹²³⁰⁴-⁹\u200b-\u200f\u2060\U0001f1e6-\U0001f1ff]|"
    r"__|^_(?=\d)|(?<=\d)_$|\\[,;! ]|~"
)
_NUMBER = re.compile(
    r"(?P<n>[+\-−]?(?:\d{1,3}(?:[ '\u00a0\u202f]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*[.,]?|[.,]\d+)"
    r"(?:[eE][+-]?\d{1,3})?)\s*(?P<percent>\\?%)?\s*"
    r"(?P<rest>(?:_?\s*(?:±|\\pm|\+/-|\+-))\s*[\d.,]+|_\s*[+\-−]?\d*[.,]\d+|\([^()]*\d[^()]*\)|\[[^\[\]]*\d[^\[\]]*\])?\s*\\?%?"
)
_THOUSANDS = re.compile(r"(?<=\d)[ ,_'’\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_EITHER = r"[1-9]\d{0,2}\.0{3}"  # one thousand, or one
_COUNT = re.compile(
    r"\(?(?:n\s*[=:]|[~≈])?\s*(?P<n>[+\-−]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d{1,2})?)\s*(?P<unit>[km]?)\)?"
    r"(?:[\s-]*(?:shot|item|example|sentence|sample|instance|token)s?)?",
    re.IGNORECASE,
)


def unmarked(cell: Any, by: str = "") -> str:
    """A cell's text with `by` for marks such as ``**``, ``†`` and tags."""
    return _MARKS.sub(by, str(cell).translate(_WIDE)).strip()


def _number_in(cell: Any) -> re.Match[str] | None:
    """The number that a cell holds beside marks, an error after ± or an interval; None if none."""
    text = unmarked(cell)
    return _NUMBER.fullmatch(text) if len(text) < 100 else None


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number."""
    if isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool):
        return True
    return bool(_number_in(cell))


def is_data(cell: Any) -> bool:
    """Whether a cell is a number, or a sign that one is missing."""
    return is_number(cell) or (cell != "" and str(cell).strip().lower() in _MISSING)


def numbers(column: pd.Series, name: str, notes: list[str]) -> pd.Series:
    """A column as floats, with what people write beside numbers left out and noted.

    Marks (``**79.5**``, ``†``), errors (``81.0±0.4``, ``81.0 (0.4)``) and per cent signs (which
    divide by 100) are understood, decimal commas too; signs of a missing value are NaN.

    Raises
    ------
    ValueError
        A cell that is no number, or commas and points in one column; it names the row.
    """
    out = pd.to_numeric(column, errors="coerce").astype(float)
    left = out.isna() & column.notna()
    cells = column[left].map(lambda c: "" if isinstance(c, float) else str(c).strip())
    plain = {c: _number_in(c) for c in cells.unique() if c.lower() not in _MISSING}
    bad = cells[cells.map(lambda c: c in plain and plain[c] is None)]
    if len(bad):
        raise _bad_number(column, name, bad)
    found = {c: m for c, m in plain.items() if m}
    if found:
        commas = _commas(column, name, out, found)
        values = {
            c: _value(m["n"], commas) / (100 if m["percent"] else 1) for c, m in found.items()
        }
        out = out.where(~left, cells.map(values).astype(float))
        notes += _of_cells(name, found, commas, values)
    if np.isinf(out).any():
        row = int(np.flatnonzero(np.isinf(out))[0])
        raise ValueError(f"{name} in row {row + 1} is infinite: correct it or leave it empty")
    return out


def counts(column: pd.Series, name: str) -> pd.Series:
    """A column of counts as floats: ``5,000``, ``5_000``, ``5k``, ``n=500`` and ``10-shot`` too.

    Raises
    ------
    ValueError
        Of `numbers`; a cell such as ``5.000``, that may be five or five thousand.
    """
    values = {c: _count(c) for c in column.dropna().unique() if str(c).lower() not in _MISSING}
    if bad := [c for c, value in values.items() if value is None]:
        raise _bad_number(column, name, column[column.isin(bad)])
    return numbers(column.map(values), name, [])


def _count(cell: Any) -> float | None:
    if is_number(cell) and not isinstance(cell, str):
        return float(cell)
    text = _THOUSANDS.sub("", unmarked(cell))
    found = _COUNT.fullmatch(text)
    if not found or "^" in cell or re.fullmatch(_EITHER, text):
        return None
    unit = {"k": 1e3, "m": 1e6}.get(found["unit"].lower(), 1)
    return round(float(found["n"].replace(",", ".").replace("−", "-")) * unit, 6)


def _bad_number(column: pd.Series, name: str, bad: pd.Series) -> ValueError:
    row = int(np.flatnonzero(column.index == bad.index[0])[0])
    cell, cure = str(bad.iloc[0]), "write one number a cell, leave unknown empty"
    if re.fullmatch(_EITHER, cell):
        cure = f"write {cell.replace('.', '')} or {cell[:-4]}"
    elif re.fullmatch(r"[\d.,\s%]+[/|;][\d.,\s%]+", cell):
        cure = "two numbers in a cell: give each a column of its own"
    elif re.match(r"\d{4}-\d\d-\d\d", cell):
        cure = "a date: a spreadsheet took a score for one; type it again as text or number"
    return ValueError(
        f"{name} in row {row + 1} is {cell!r}, not a number ({len(bad)} such rows): {cure}"
    )


def _commas(column: pd.Series, name: str, out: pd.Series, found: dict[str, re.Match[str]]) -> bool:
    """Whether a comma is the decimal sign in this column; a mixture is an error."""
    comma = [c for c, m in found.items() if "," in m["n"] and "." not in m["n"]]
    both = [m["n"] for m in found.values() if "," in m["n"] and "." in m["n"]]
    point = any("." in m["n"] and "," not in m["n"] for m in found.values())
    plain = out.dropna()
    parted = [re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", found[c]["n"]) for c in comma]
    if comma and all(parted) and name not in ("score", "stderr", "chance"):  # 5,000
        if any(c.count(",") > 1 for c in comma):
            return False
        raise ValueError(
            f"{name} {comma[0]!r} may have thousands or decimals: write it without ','"
        )
    if comma and (point or (plain != plain.round()).any()):
        row = int(np.flatnonzero(column.astype(str).str.strip() == comma[0])[0])
        raise ValueError(
            f"{name} in row {row + 1} is {comma[0]!r}, not a number beside others with a decimal "
            "point: write all with a decimal point"
        )
    return bool(comma) or any(n.rindex(",") > n.rindex(".") for n in both)


def _value(text: str, commas: bool) -> float:
    """A number's text as a float; the sign that is not the decimal one parts thousands."""
    text = re.sub(r"[ '\u00a0\u202f]", "", text).replace("−", "-")
    text = text.replace(".", "").replace(",", ".") if commas else text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number: write it with one decimal point") from None


def _of_cells(
    name: str, found: dict[str, re.Match[str]], commas: bool, values: dict[str, float]
) -> list[str]:
    """What was understood of the cells, one sentence a kind with an example."""
    kinds: dict[str, str] = {}
    for cell, match in found.items():
        if match["rest"]:
            kinds.setdefault("what stands after the number is left out", cell)
        if match["percent"]:
            kinds.setdefault("per cent", cell)
        if unmarked(cell) != cell:
            kinds.setdefault("marks are left out", cell)
    if commas:
        kinds["a decimal comma"] = next(c for c, m in found.items() if "," in m["n"])
    return [f"{name} {cell!r} read as {values[cell]:g}: {kind}" for kind, cell in kinds.items()]
