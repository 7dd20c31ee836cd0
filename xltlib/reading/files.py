"""Files as frames: Parquet, Excel, JSON, LaTeX, or text parted by tabs, semicolons, commas, bars
or spaces, in any usual encoding. pandas, openpyxl and charset-normalizer do the reading. Of a grid
of cells, titles and footnotes are left out and rows of headings found."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import charset_normalizer
import numpy as np
import pandas as pd

from xltlib.reading.headings import (
    is_data,
    is_filler,
    is_language,
    is_number,
    kind_of,
    languages_in,
    role,
    some,
    without_outcomes,
)

_SIDES = ("source", "target")


def _headed(grid: Sequence[Sequence[Any]], notes: list[str]) -> pd.DataFrame:
    """A grid as a frame with its one to three rows of headings; a note says what is left out."""
    rows = [[_cell(c) for c in row] for row in grid]
    rows, lost = _without_lines_of_text([row for row in rows if _filled(row)])
    if {"source", "target", "score"} <= {role(row[0]) for row in rows[:20]}:  # a column a cell
        rows = [list(row) for row in zip(*rows, strict=False)]
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
    for i, j in enumerate(keep):  # as pandas writes the names of both axes
        if j < len(named) and role(named[j]):
            heads[-1][i] = f"{named[j]} / {heads[-1][i]}".strip(" /")
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
    if len(rows) < 3:
        return 1, []
    if {"source", "target"} <= {role(c) for c in rows[0]}:
        below = [c for c, head in zip(rows[1], rows[0], strict=False) if role(head) in _SIDES]
        return 1 + (not (_holds_data(rows[1]) or (any(below) and rows[1][0]))), []
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


_OTHER = {  # how files begin that are no table here: what it is, and the cure
    b"\xd0\xcf\x11\xe0": ("an old Excel file (.xls)", "save it as .xlsx or CSV"),
    b"%PDF": ("a PDF file", "copy its table into a CSV file"),
    b"\x93NUMPY": ("a NumPy array without the names of its languages", "write it as a CSV matrix"),
    **{head: (f"compressed by {how}", "unpack it") for head, how in (
        (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"))},
    **{head: (what, "write the table as CSV or Parquet") for head, what in (
        (b"\x80\x04", "a Python pickle"), (b"\x80\x05", "a Python pickle"),
        (b"ARROW1", "a Feather file"), (b"\x89HDF", "an HDF5 file"))},
    **dict.fromkeys((b"\x89PNG", b"\xff\xd8\xff"),
                    ("a picture", "write its numbers into a CSV file")),
}  # fmt: skip
_NEITHER = "it is neither text nor a kind of file known here"


class _Refused(ValueError):
    """An error that says all there is to say."""


def load(path: Path) -> pd.DataFrame:
    """The file's table with its headings, cells as they stand; ``attrs["notes"]``.

    Raises
    ------
    ValueError
        What the file is instead of a table, or why it cannot be read.
    """
    data = path.read_bytes()
    if not data.strip():
        raise ValueError(f"{path} is empty: write the table again, or rerun what made it")
    notes: list[str] = []
    try:
        frame = _frame(data, path, notes)
    except _Refused as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # a damaged file leads its reader anywhere
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} cannot be read as a table ({said}): it may be damaged or cut short; write it "
            "again as CSV or Parquet"
        ) from None
    if frame.shape[0] == 0 or frame.shape[1] < 2:
        raise ValueError(
            f"{path} holds no table of scores or pairs: it needs a heading and rows, such as "
            "source, target, score, or a matrix"
        )
    frame.attrs["notes"] = notes
    return frame


def _frame(data: bytes, path: Path, notes: list[str]) -> pd.DataFrame:
    if data[:4] == b"PAR1":
        return _indexed(pd.read_parquet(io.BytesIO(data)))
    if path.suffix.lower() in {".parquet", ".pq"}:
        raise ValueError("it does not begin as a Parquet file does")
    for head, (what, cure) in _OTHER.items():
        if data.startswith(head):
            raise _Refused(f"{path} is {what}: {cure}")
    if data[:2] == b"PK":
        return _headed(_sheet(data, path, notes), notes)
    text = _text(data, notes)
    if text.lstrip()[:1] in {"[", "{"} and (found := _json(text, path, notes)) is not None:
        return found
    if re.match(r"\s*<(!doctype|html|table|\?xml)", text, re.I):
        raise _Refused(f"{path} is a page of HTML or XML: save its table as CSV")
    if "\\\\" in text and "&" in text:
        more = text.count(r"\begin{tabular") - 1
        notes.append("read as a LaTeX table" + f"; {more} more left out" * (more > 0))
        return _headed(_latex(text), notes)
    return _headed(_delimited(text), notes)


def _plain(column: pd.Series) -> pd.Series:
    """Numbers and text as they are; as text, dates, lists and what else cells can hold."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column
    if isinstance(column.dtype, pd.StringDtype):
        return column
    known = (str, float, np.number)
    cells = [c if isinstance(c, known) or (isinstance(c, int) and abs(c) < 1e300) else str(c)
             for c in column]  # fmt: skip
    return pd.Series(cells, column.index, dtype=object).mask(column.isna(), np.nan)


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of plain cells; an index that says something becomes columns."""
    if isinstance(frame.index, pd.RangeIndex) or frame.index.inferred_type == "integer":
        frame = frame.reset_index(drop=True)
    else:
        frame = frame.rename_axis(index=[str(n or "") for n in frame.index.names]).reset_index()
    return frame.apply(_plain)


def _sheet(data: bytes, path: Path, notes: list[str]) -> list[list[Any]]:
    """The cells of the first sheet that has a table."""
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except Exception as error:  # zipfile raises what its struct and codecs raise
        raise _Refused(f"{path} begins as an Excel or zip file, but is damaged: {error}") from None
    if "mimetype" in names:
        raise _Refused(f"{path} is an OpenDocument file: save it as .xlsx or CSV")
    if not any(name.startswith("xl/") for name in names):
        raise _Refused(f"{path} is a zip archive: unpack it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sheets = pd.read_excel(
                io.BytesIO(data), sheet_name=None, header=None, dtype=object, na_filter=False
            )
    except Exception as error:  # openpyxl has no error of its own for a damaged file
        raise _Refused(
            f"{path} is an Excel file that cannot be opened ({error}): save it again, or as CSV"
        ) from None
    full = {str(name): sheet for name, sheet in sheets.items() if min(sheet.shape) > 1}
    if not full:
        raise _Refused(f"{path} is an Excel file without a table in any sheet: check the file")
    name, *others = full
    left_out = f"; other sheets left out: {', '.join(others[:4])}" if others else ""
    notes.append(f"read from the Excel sheet {name!r}{left_out}")
    return full[name].to_numpy(dtype=object).tolist()


def _text(data: bytes, notes: list[str]) -> str:
    """Text of any usual encoding; other bytes are an error."""
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16",
             codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:200]:  # Latin letters in UTF-16, unmarked
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        matches = charset_normalizer.from_bytes(data[:50_000])
        likely = {name for m in matches for name in m.could_be_from_charset}
        best = matches.best()
        if best is None:
            raise ValueError(_NEITHER) from None
        encoding = "cp1252" if likely & {"cp1252", "latin_1"} else best.encoding
        text = data.decode(encoding, errors="replace")
    if "\0" in text:
        raise ValueError(_NEITHER)
    if not encoding.startswith("utf-8"):
        notes.append(f"read as text in {encoding}")
    return text


def _delimited(text: str) -> list[list[str]]:
    """Rows of cells, by the separator that gives most lines the same number of cells."""
    text = re.sub("[\u2502\u2503\u2506]", "|", text)  # │┃┆ of tables drawn in boxes
    lines = [
        line for line in text.splitlines() if not re.fullmatch(r"[\s|+:=\u2500-\u257f-]*", line)
    ]
    best: tuple[float, str] = (0.0, ",")
    for sep in "\t;,|":
        widths = Counter(map(len, csv.reader(lines[:300], delimiter=sep)))
        share = max((n for w, n in widths.items() if w > 1), default=0) / len(lines[:300] or "_")
        if share > best[0] + 1e-9:
            best = (share, sep)
    if best[0] < 0.5 and lines:  # as printed: columns of a fixed width, or words
        for gap, least in ((r"\s{2,}|\t", 0.5), (r"\s+", 0.9)):
            rows = [re.split(gap, line.strip()) for line in lines]
            ((width, n),) = Counter(map(len, rows[1:] or rows)).most_common(1)
            head = len(next((row for row in rows if len(row) > 1), []))
            joined = any(re.search(r"\s[\d.]+$", c) for r in rows if len(r) == width for c in r)
            fits = width > 2 and n >= least * len(rows[1:]) and width - 2 < head <= width
            if fits and not joined:
                return rows
    if best[1] == "|":  # the bars at the ends of a line of Markdown
        lines = [re.sub(r"^\s*\|(?=.*\|\s*$)|\|\s*$", "", line) for line in lines]
    return list(csv.reader(lines, delimiter=best[1], skipinitialspace=True))


# -- LaTeX ----------------------------------------------------------------------------------------

_RULES = re.compile(
    r"\\(hline|toprule|midrule|bottomrule|addlinespace|cmidrule|cline|specialrule|centering)"
    r"(\([^)]*\))?(\[[^\]]*\])?(\{[^{}]*\})*"
)
_COMMAND = (r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?\{([^{}]*)\}", r"\1")
_TEX = (  # what a cell's commands become, in order
    (r"\\multirow(\[[^\]]*\])?\{[^{}]*\}\{[^{}]*\}", ""),
    (r"\\(?:diagbox|backslashbox)(?:\[[^\]]*\])?\{([^{}]*)\}\{([^{}]*)\}", r"\1 / \2"),
    (r"\\(?:(?:cell|row|column|text)?color(?:box)?|[hv]space|label|cite\w*|footnote\w*|"
     r"tnote|textsuperscript)\*?(?:\[[^\]]*\])?\{[^{}]*\}|\\footnotemark\[\d*\]", ""),
    (r"(?<![*st ]10)\^(?:\{[^{}+\-−]*\}|\\\w+)", ""), (r"\{([.,])\}", r"\1"),
    (r"\\pm(?![a-zA-Z])", "±"), (r"\\([%&])", r"\1"),
    (r"\$?_\{?\\?(?:scriptsize|tiny|small)?\s*±?\s*\(?([\d.,]+)\)?\}?\$?", r"±\1"),
    (r"(?<=\d)\s*\\[a-zA-Z]+\{\s*\(?±?\s*([\d.,]+)\)?\}", r"±\1"),  # 81.0\std{0.4}
    (r"\\rightarrow|\\to(?![a-zA-Z])", "→"), (r"\\downarrow", "↓"),
    (r"\\(?:text)?backslash", r"\\ "), (r"\\_", "_"), *[_COMMAND] * 3,
    (r"\\[a-zA-Z]+(?![a-zA-Z])\s*", ""), ("[${}~]", " "),
)  # fmt: skip


def _latex(text: str) -> list[list[str]]:
    """Rows of cells of the first tabular; its commands are resolved or removed."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    body = re.search(r"\\begin\{(tabular\w*\*?)\}(.*?)(\\end\{\1\}|\Z)", text, re.DOTALL)
    text = body[2] if body else text
    text = re.sub(r"\A\s*(\[[^\]]*\])?\s*(\{(?:[^{}]|\{[^{}]*\})*\}\s*){1,2}", "", text)
    inside = r"\\(?:makecell|shortstack|thead|specialcell)(?:\[[^\]]*\])?\{[^{}]*\}"
    text = re.sub(inside, lambda cell: cell[0].replace(r"\\", " "), text)
    lines = re.split(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline", _RULES.sub("", text))
    return [
        [c for cell in re.split(r"(?<!\\)&", line) for c in _untexed(cell.strip())]
        for line in lines
        if line.strip()
    ]


def _untexed(cell: str) -> list[str]:
    """A cell's text; one that spans several columns is followed by empty ones."""
    span = 1
    if wide := re.fullmatch(r"\\multicolumn\{(\d{1,3})\}\{[^{}]*\}\{(.*)\}", cell, re.DOTALL):
        span, cell = int(wide[1]), wide[2]
    for pattern, plain in _TEX:
        cell = re.sub(pattern, plain, cell)
    return [cell.strip(), *[""] * (min(span, 500) - 1)]


# -- JSON -----------------------------------------------------------------------------------------


def _json(text: str, path: Path, notes: list[str]) -> pd.DataFrame | None:
    """Records, JSON lines, pandas' forms, scores nested by language; None where it is no JSON."""
    try:
        found = json.loads(text)
    except ValueError as error:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
            notes.append("read as JSON, one record a line")
        except ValueError:
            if path.suffix.lower() in {".json", ".jsonl", ".ndjson"}:
                raise _Refused(f"{path} is damaged JSON ({error}): write it again") from None
            return None
    if isinstance(found, dict) and not _written_by(found):  # {"results": [records]}
        inner = [v for v in found.values() if isinstance(v, (list, dict))]
        found = inner[0] if len(inner) == 1 and isinstance(inner[0], list) else found
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        frame = pd.json_normalize(found)
        short = frame.columns.str.rsplit(".", n=1).str[-1]  # config.source
        return _indexed(frame.set_axis(short, axis=1) if short.is_unique else frame)
    if isinstance(found, list) and found and all(isinstance(row, list) for row in found):
        return _headed(found, notes)
    if not isinstance(found, dict):
        raise _Refused(f"{path} is JSON without a table: give a list of records, or CSV")
    if isinstance(found.get("data"), list) and ("columns" in found or "schema" in found):
        return _indexed(pd.DataFrame(found["data"], found.get("index"), found.get("columns")))
    if whose := _written_by(found):
        raise _Refused(
            f"{path} is {whose}: it names what was tested, not the language that the model was "
            "fine-tuned on. Put several such results into one table with the columns source, "
            "target, score"
        )
    if all(isinstance(v, list) for v in found.values()) or all(
        isinstance(v, dict) and all(k.isdigit() for k in v) for v in found.values()
    ):
        return _indexed(pd.DataFrame(found).reset_index(drop=True))
    return _nested(found, path, notes)


def _written_by(found: dict[str, Any]) -> str:
    """Which tool's report of one model this is; empty if of none known."""
    if {"task_name", "mteb_version", "mteb_dataset_name", "dataset_revision"} & set(found):
        return "a result of MTEB"
    if isinstance(found.get("results"), dict) and {"versions", "configs", "config"} & set(found):
        return "a result of lm-evaluation-harness"
    trained = any(re.match(r"(train|eval|predict|test)_\w+$", key) for key in found)
    return "the Trainer's result of one run" if trained or "log_history" in found else ""


def _nested(found: dict[str, Any], path: Path, notes: list[str]) -> pd.DataFrame:
    """Numbers under keys under keys, such as ``{source: {target: score}}``, as rows."""
    leaves = list(_leaves(found, ()))
    depth = max((len(keys) for keys, _ in leaves), default=0)
    rows = [(*keys, value) for keys, value in leaves if len(keys) == depth]
    frame = pd.DataFrame(rows, columns=[*map(str, range(depth)), "value"])
    levels = [c for c in frame.columns[:-1]
              if languages_in(frame[c]) >= 0.5 and kind_of(frame[c], ()) != "metric"]  # fmt: skip
    joined = [c for c in frame.columns[:-1] if frame[c].str.contains(r"\w\W+\w|_").all()]
    if not levels and joined:  # en-de, for `shapes` to part
        return frame.rename(columns={joined[0]: "pair", "value": "score"})
    if len(levels) != 2:
        have = f"only one language ({some(frame[levels[0]].unique())})" if levels else "no language"
        raise _Refused(
            f"{path} is JSON whose scores stand under {have}, not under a source and a target: "
            "make it records with source, target and score"
        )
    names = dict(zip(levels, ("source", "target"), strict=True))
    for other in (c for c in frame.columns[:-1] if c not in names):
        names[other] = kind_of(frame[other], names.values())
    frame = frame.rename(columns={**names, "value": "score"})
    frame = without_outcomes(frame, notes)
    frame.attrs = {"nested": True}
    return frame


def _leaves(found: Any, keys: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _leaves(value, (*keys, key))
    elif isinstance(found, (int, float, str)) and not isinstance(found, bool) and is_number(found):
        yield keys, found
