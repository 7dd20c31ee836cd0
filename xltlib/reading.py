"""Tables as people have them: almost any file of scores or pairs in, one tidy frame out.

In four steps: the bytes become a grid of cells (Parquet, Excel, JSON, LaTeX, or text parted by
tabs, semicolons, commas, bars or spaces, in any usual encoding); titles and headings are found;
the names of columns become roles (`role`); a matrix becomes rows (`tidy`). pandas, openpyxl and
charset-normalizer do the reading. Whatever is understood or left out is a sentence of
``attrs["notes"]``; what cannot be read is a ValueError with the true cause and the cure.
"""

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
from functools import cache
from pathlib import Path
from typing import Any

import charset_normalizer
import numpy as np
import pandas as pd
import pyarrow

from xltlib.languages import is_summary, keys, language

_OTHER = {  # how files begin that are no table here: what it is, and the cure
    b"\xd0\xcf\x11\xe0": ("an old Excel file (.xls)", "save it as .xlsx or CSV"),
    b"%PDF": ("a PDF file", "copy its table into a CSV file"),
    b"\x1f\x8b": ("compressed by gzip", "unpack it"),
    b"BZh": ("compressed by bzip2", "unpack it"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it"),
    b"\x93NUMPY": ("a NumPy array without the names of its languages", "write it as a CSV matrix"),
    b"\x80\x04": ("a Python pickle", "write the table as CSV or Parquet"),
    b"\x80\x05": ("a Python pickle", "write the table as CSV or Parquet"),
    b"ARROW1": ("a Feather file", "write the table as CSV or Parquet"),
    b"\x89HDF": ("an HDF5 file", "write the table as CSV or Parquet"),
    b"\x89PNG": ("a picture", "write its numbers into a CSV file"),
    b"\xff\xd8\xff": ("a picture", "write its numbers into a CSV file"),
}
_ROLES = {  # words of headings, as published tables have them
    "source": "source src train training trained finetune finetuned tune tuned tuning ft pivot "
    "from donor",
    "target": "target tgt trg test tested testing eval evaluation evaluated to inference",
    "model": "model models encoder checkpoint plm lm backbone system arm",
    "task": "task tasks dataset benchmark",
    "seed": "seed run fold trial repeat replicate",
    "metric": "metric measure",
    "n_target": "shots shot",
}
_FILL = set("lang code iso locale name path or on in fine id random the".split())
_EXACT = {  # names whose words say something else, or nothing
    **dict.fromkeys(("transfer_lang", "lang_1", "lang1", "l1"), "source"),
    **dict.fromkeys(("task_lang", "lang_pred", "pred_lang", "lang_2", "lang2", "l2"), "target"),
    **dict.fromkeys(("n_shots", "k_shot", "k_shots", "n_shot"), "n_target"),
    **dict.fromkeys(
        "num_eval_examples n_eval test_size predict_samples eval_samples test_samples n_samples "
        "n_test_examples num_test_examples support".split(), "n_test"),
    **dict.fromkeys("std_err score_stderr acc_stderr standard_error".split(), "stderr"),
}  # fmt: skip
_OURS = ("source", "target", "score", "model", "task", "seed", "metric", "n_target", "n_test",
         "stderr", "chance", "source_set", "target_set", "half", "test_set")  # fmt: skip
_HIGHER = """score accuracy acc f1 f bleu sacrebleu chrf comet las uas em exact match mcc spearman
    pearson ndcg mrr map rouge rougel auc value result performance scores""".split()
LOWER = """loss perplexity ppl error err wer cer ter nll bpc bpb bits entropy mse mae rmse
    eer""".split()
_BESIDE = set(
    """eval test predict prediction pred dev val valid validation macro micro weighted avg average
    mean cross zero shot overall strict main final norm none percent pct rate in per byte character
    word token cased top 1 l span seqeval results metrics""".split()
)
_OUTCOME = {*_HIGHER, *LOWER} | set(
    """runtime seconds time steps step epoch epochs std sd stdev stderr se var variance ci low high
    lower upper min max rank ranking gap delta diff difference drop decrease degradation gain ratio
    improvement relative normalized normalised retention best precision recall pvalue p zscore
    confidence calibration ece logit prob probability""".split()
)
_PROPERTY = set(
    """distance dist similarity sim overlap cosine shared lang2vec uriel syntactic syntax phonetic
    phonological phonology genetic genealogy genealogical geographic geographical geography
    featural inventory family typology typological morphology word script order subword vocabulary
    vocab ttr entropy tokens sentences size sizes fertility asjp wals pair lexical jaccard wu
    kinship embedding alignment isomorphism speakers resource resources coverage""".split()
)
_MISSING = set("nan na n/a n.a. n.a none null - -- --- — – − / \\ x × . .. ... … * ? #n/a "
               "not available tbd".split(" ")) | {"", "not available"}  # fmt: skip
_MARKS = re.compile(
    r"</?\w+[^<>]*>|\\(?:textbf|textit|underline|emph|mathbf|mathrm|text|bf|it|dagger|ddagger|ast)"
    r"(?![A-Za-z])|[*†‡§¶$#{}↑↓✓]|\^|__|\\[,;! ]|~"
)
_NUMBER = re.compile(
    r"(?P<n>[+\-−]?(?:\d{1,3}(?:[ '\u00a0\u202f]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)*[.,]?|[.,]\d+)"
    r"(?:[eE][+-]?\d{1,3})?)\s*(?P<percent>\\?%)?\s*"
    r"(?P<rest>(?:±|\+/-|\+-|_)\s*[\d.,]+|\([^()]*\d[^()]*\)|\[[^\[\]]*\d[^\[\]]*\])?\s*\\?%?"
)
_ARROW = re.compile(r"\s*(?:->|=>|→|⇒|>|⟶|-->)\s*|\s+to\s+")
_PAIR_NAME = re.compile(r"(lang(uage)?s?)?_?(pairs?|direction)(_?(id|name))?|langs|lang_lang")
_MODEL_LIKE = re.compile(r"bert|xlm|t5|gpt|llama|e5|minilm|bloom|gemma|mistral|qwen|canine", re.I)
_DAMAGED = "it may be damaged or cut short; write it again as CSV or Parquet"


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
    except (ValueError, OSError, pyarrow.ArrowException, csv.Error, RecursionError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        ours = isinstance(error, _Refused)
        raise ValueError(
            said if ours else f"{path} cannot be read as a table ({said}): {_DAMAGED}"
        ) from None
    if frame.shape[0] == 0 or frame.shape[1] < 2:
        raise ValueError(
            f"{path} holds no table of scores or pairs: it needs a heading and rows, such as "
            "source, target, score, or a matrix"
        )
    frame.attrs["notes"] = notes
    return frame


class _Refused(ValueError):
    """An error that says all there is to say."""


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
    text = _text(data, path, notes)
    start = text.lstrip()[:1]
    if start and start in "[{" and (found := _json(text, path, notes)) is not None:
        return found
    if re.match(r"\s*<(!doctype|html|table|\?xml)", text, re.I):
        raise _Refused(f"{path} is a page of HTML or XML: save its table as CSV")
    if "\\\\" in text and "&" in text:
        notes.append("read as a LaTeX table")
        return _headed(_latex(text), notes)
    return _headed(_delimited(text), notes)


# -- bytes to cells -------------------------------------------------------------------------------


def _sheet(data: bytes, path: Path, notes: list[str]) -> list[list[Any]]:
    """The cells of the first sheet that has a table."""
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
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
    name, sheet = next(iter(full.items()))
    others = f"; other sheets left out: {', '.join(list(full)[1:5])}" if len(full) > 1 else ""
    notes.append(f"read from the Excel sheet {name!r}{others}")
    return sheet.to_numpy(dtype=object).tolist()


def _text(data: bytes, path: Path, notes: list[str]) -> str:
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
            raise ValueError("it is neither text nor a kind of file known here") from None
        encoding = "cp1252" if likely & {"cp1252", "latin_1"} else best.encoding
        text = data.decode(encoding, errors="replace")
    if "\0" in text:
        raise ValueError("it is neither text nor a kind of file known here")
    if not encoding.startswith("utf-8"):
        notes.append(f"read as text in {encoding}")
    return text


def _delimited(text: str) -> list[list[str]]:
    """Rows of cells, by the separator that gives most lines the same number of cells."""
    rule = re.compile(r"[\s|+:=-]*")
    lines = [line for line in text.splitlines() if not rule.fullmatch(line)]
    sample = lines[:300]
    best: tuple[float, str] = (0.0, ",")
    for sep in "\t;,|":
        widths = Counter(len(row) for row in csv.reader(sample, delimiter=sep) if len(row) > 1)
        share = max(widths.values(), default=0) / len(sample) if sample else 0.0
        if share > best[0] + 1e-9:
            best = (share, sep)
    if best[0] < 0.5:  # as printed: columns of a fixed width
        rows = [re.split(r"\s{2,}|\t", line.strip()) for line in lines]
        widths = Counter(map(len, rows))
        if rows and max(widths) > 2 and max(widths.values()) >= len(rows) / 2:
            return rows
    rows = list(csv.reader(lines, delimiter=best[1], skipinitialspace=True))
    if best[1] == "|":
        rows = [_unbarred(row) for row in rows]
    return rows


def _unbarred(row: list[str]) -> list[str]:
    """A line of Markdown without the bars at its ends."""
    if len(row) > 1:
        row = row[1:] if not row[0].strip() and not row[-1].strip() else row
        row = row[:-1] if not row[-1].strip() else row
    return row


def _latex(text: str) -> list[list[str]]:
    """Rows of cells of the first tabular; its commands are resolved or removed."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    body = re.search(r"\\begin\{(tabular\w*\*?)\}(.*?)(\\end\{\1\}|\Z)", text, re.DOTALL)
    text = body[2] if body else text
    text = re.sub(r"\A\s*(\[[^\]]*\])?\s*(\{(?:[^{}]|\{[^{}]*\})*\}\s*){1,2}", "", text)
    rules = (
        r"\\(hline|toprule|midrule|bottomrule|addlinespace|cmidrule|cline|specialrule|centering)"
    )
    text = re.sub(rules + r"(\([^)]*\))?(\[[^\]]*\])?(\{[^{}]*\})*", "", text)
    rows = []
    for line in re.split(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline", text):
        if line.strip():
            rows.append([c for cell in re.split(r"(?<!\\)&", line) for c in _untexed(cell.strip())])
    return rows


def _untexed(cell: str) -> list[str]:
    """A cell's text; one that spans several columns is followed by empty ones."""
    span = 1
    if wide := re.fullmatch(r"\\multicolumn\{(\d{1,3})\}\{[^{}]*\}\{(.*)\}", cell, re.DOTALL):
        span, cell = int(wide[1]), wide[2]
    cell = re.sub(r"\\multirow(\[[^\]]*\])?\{[^{}]*\}\{[^{}]*\}", "", cell)
    cell = re.sub(
        r"\\(?:diagbox|backslashbox)(?:\[[^\]]*\])?\{([^{}]*)\}\{([^{}]*)\}", r"\1 / \2", cell
    )
    silent = r"\\(?:(?:cell|row|column|text)?color|[hv]space|label|cite\w*|footnote\w*)\*?"
    cell = re.sub(silent + r"(?:\[[^\]]*\])?\{[^{}]*\}", "", cell)
    cell = re.sub(r"\\pm(?![a-zA-Z])", "±", cell).replace("\\%", "%").replace("\\&", "&")
    cell = re.sub(r"\$?_\{?\\?(?:scriptsize|tiny|small)?\s*±?\s*([\d.,]+)\}?\$?", r"±\1", cell)
    cell = re.sub(r"\\rightarrow|\\to(?![a-zA-Z])", "→", cell).replace("\\downarrow", "↓")
    cell = cell.replace("\\textbackslash", "\\ ").replace("\\backslash", "\\ ").replace("\\_", "_")
    for _ in range(3):
        cell = re.sub(r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?\{([^{}]*)\}", r"\1", cell)
    cell = re.sub(r"\\[a-zA-Z]+(?![a-zA-Z])\s*", "", cell)
    return [re.sub(r"[${}~]", " ", cell).strip(), *[""] * (min(span, 500) - 1)]


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
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        return pd.json_normalize(found)
    if not isinstance(found, dict):
        raise _Refused(f"{path} is JSON without a table: give a list of records, or CSV")
    if isinstance(found.get("data"), list) and ("columns" in found or "schema" in found):
        frame = pd.DataFrame(found["data"], found.get("index"), found.get("columns"))
        return _indexed(frame)
    whose = _written_by(found)
    if whose:
        raise _Refused(
            f"{path} is {whose}: it names what was tested, not the language that the model was "
            "fine-tuned on. Put several such results into one table with the columns source, "
            "target, score"
        )
    columns = [v for v in found.values() if isinstance(v, (dict, list))]
    if len(columns) == len(found) and all(isinstance(v, list) for v in columns):
        return pd.DataFrame(found)
    if len(columns) == len(found) and all(
        isinstance(v, dict) and all(str(k).isdigit() for k in v) for v in columns
    ):
        return pd.DataFrame(found)
    return _nested(found, path, notes)


def _written_by(found: dict[str, Any]) -> str:
    """Which tool's report of one model this is; empty if of none known."""
    if {"task_name", "mteb_version", "mteb_dataset_name", "dataset_revision"} & set(found):
        return "a result of MTEB"
    if isinstance(found.get("results"), dict) and {"versions", "configs", "config"} & set(found):
        return "a result of lm-evaluation-harness"
    if "log_history" in found or any(
        re.match(r"(train|eval|predict|test)_\w+$", str(k)) for k in found
    ):
        return "the Trainer's result of one run"
    return ""


def _nested(found: dict[str, Any], path: Path, notes: list[str]) -> pd.DataFrame:
    """Numbers under keys under keys, such as ``{source: {target: score}}``, as rows."""
    leaves = list(_leaves(found, ()))
    depth = max((len(keys) for keys, _ in leaves), default=0)
    rows = [(*keys, value) for keys, value in leaves if len(keys) == depth]
    frame = pd.DataFrame(rows, columns=[*map(str, range(depth)), "value"])
    levels = [str(i) for i in range(depth) if _languages_in(frame[str(i)]) >= 0.5]
    if len(levels) != 2:
        have = f"only one language ({some(frame[levels[0]].unique())})" if levels else "no language"
        raise _Refused(
            f"{path} is JSON whose scores stand under {have}, not under a source and a target: "
            "make it records with source, target and score"
        )
    names = dict(zip(levels, ("source", "target"), strict=True))
    for other in (c for c in frame.columns[:-1] if c not in names):
        names[other] = _kind_of(frame[other], set(names.values()))
    if "metric" in names.values():
        frame = frame[frame[next(k for k, v in names.items() if v == "metric")].map(is_score)]
    notes.append("read as {source: {target: score}}: the outer language taken for the source")
    return frame.rename(columns={**names, "value": "score"}).reset_index(drop=True)


def _leaves(found: Any, keys: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], float]]:
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _leaves(value, (*keys, str(key)))
    elif isinstance(found, (int, float)) and not isinstance(found, bool):
        yield keys, found


# -- headings -------------------------------------------------------------------------------------


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose index says something has it as columns."""
    if isinstance(frame.index, pd.RangeIndex) or frame.index.inferred_type == "integer":
        frame = frame.reset_index(drop=True)
    else:
        frame = frame.rename_axis(index=[str(n or "") for n in frame.index.names]).reset_index()
    return frame


def _headed(grid: Sequence[Sequence[Any]], notes: list[str]) -> pd.DataFrame:
    """A grid as a frame: titles and footnotes left out, one to three rows of headings found."""
    rows = [[_cell(c) for c in row] for row in grid]
    rows = [row for row in rows if any(c != "" for c in row)]
    width = max(map(len, rows), default=0)
    rows, lost = _without_lines_of_text(rows)
    if lost:
        notes.append(f"lines beside the table left out: {some([repr(x) for x in lost], 2)}")
    if not rows:
        return pd.DataFrame()
    n, named = _heading_rows(rows)
    body = rows[n + bool(named) :]
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
    if n == 1:
        frame.columns = pd.Index(heads[0])
    else:
        frame.columns = pd.MultiIndex.from_arrays([*map(_filled, heads[:-1]), heads[-1]])
        notes.append(f"{_NUMERALS[n]} rows of headings read")
    return frame


_NUMERALS = {2: "two", 3: "three"}


def _cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell.strip().strip("﻿").strip()
    return "" if cell is None or (isinstance(cell, float) and np.isnan(cell)) else cell


def _without_lines_of_text(rows: list[list[Any]]) -> tuple[list[list[Any]], list[str]]:
    """Titles above and notes below a table stand alone in their row."""

    def alone(row: list[Any]) -> bool:
        return sum(c != "" for c in row) == 1 and row[0] != "" and not _numeric(row[0])

    if max((sum(c != "" for c in row) for row in rows), default=0) < 2:
        return [], []
    width = Counter(map(len, rows)).most_common(1)[0][0]
    short = next((i for i, row in enumerate(rows) if len(row) >= width - 1), 0)  # with commas in it
    lost, rows = [", ".join(map(str, row)) for row in rows[:short]], rows[short:]
    first = next((i for i, row in enumerate(rows) if not alone(row)), 0)
    last = next(i for i in range(len(rows), 0, -1) if not alone(rows[i - 1]))
    tail = [row for row in rows[last:] if _is_language(row[0])]  # a language without any score
    lost += [str(row[0]) for row in (*rows[:first], *rows[last:]) if not _is_language(row[0])]
    return [*rows[first:last], *tail], lost


def _heading_rows(rows: list[list[Any]]) -> tuple[int, list[Any]]:
    """How many rows are headings, and the row below them that only names the labels."""
    roles = {role(c) for c in rows[0]}
    if {"source", "target"} <= roles or len(rows) < 3:
        return 1, []
    n = 0
    while n < min(3, len(rows) - 1) and not _holds_data(rows[n][1:]):
        n += 1
    n = max(n, 1)
    last = rows[n - 1]
    if n > 1 and sum(c != "" for c in last) <= 2 and not any(_is_language(c) for c in last if c):
        index = all(role(c) or set(words(c)) <= _FILL for c in last)
        return n - 1, last if index else []  # as pandas names an index; else it heads a section
    texts = [c for c in last[1:] if c != ""]
    if n > 1 and sum(map(_is_language, texts)) < len(texts) / 2 and not _all_same(rows[n - 2]):
        return 1, []
    return n, []


def _holds_data(cells: list[Any]) -> bool:
    """Whether a row has a number, or nothing but signs of missing ones (`nan` is Min Nan too)."""
    filled = [c for c in cells if c != ""]
    return any(map(_numeric, filled)) or (bool(filled) and all(map(_data, filled)))


def _all_same(row: list[Any]) -> bool:
    """Whether a row is a heading over the one below: labels that repeat, or gaps."""
    cells = row[1:]
    return "" in cells or len(set(cells)) < len(cells)


def _filled(row: Sequence[str]) -> list[str]:
    """A label over several columns stands in the first of them."""
    out = [row[0]]
    for cell in row[1:]:
        out.append(cell or (out[-1] if len(out) > 1 else ""))
    return out


def _numeric(cell: Any) -> bool:
    if isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool):
        return True
    return bool(number_in(cell))


def _data(cell: Any) -> bool:
    """Whether a cell is a number, or a sign that one is missing."""
    return _numeric(cell) or (cell != "" and str(cell).strip().lower() in _MISSING)


# -- shapes ---------------------------------------------------------------------------------------


def tidy(frame: pd.DataFrame, rows: str | None = None, name: str = "the table") -> pd.DataFrame:
    """One row a cell: a matrix is turned into rows, a column of pairs into source and target.

    Parameters
    ----------
    frame
        As of `load`.
    rows
        ``"source"`` or ``"target"``: what the rows of a matrix are; unless given, what the heading
        of its labels says, else sources, and a note says so.
    name
        What the notes call the table.

    Returns
    -------
    DataFrame
        Columns ``source, target, score`` of a matrix, other tables with their own headings.
    """
    notes = list(frame.attrs.get("notes", []))
    if frame.columns.nlevels == 1:
        frame = frame.rename(columns=str)
        twice = [c for c in frame.columns[frame.columns.duplicated()].unique() if c]
        if len(twice):
            raise ValueError(f"columns {some(map(repr, twice))} appear twice: rename or drop one")
        heads = list(frame.columns)
        roles = {role(h) for h in heads}
        known = sum(map(_is_language, heads[1:]))
        if {"source", "target"} <= roles and known <= len(heads) / 2:
            known = 0
        elif not known and (found := _decorated(heads)):
            frame = frame.set_axis(pd.MultiIndex.from_tuples(found), axis=1)
        if known < 2 and frame.columns.nlevels == 1:
            if not any(roles) and any(map(_numeric, heads)):
                raise ValueError(
                    f"{name} has no heading, its first row is {some(heads, 6)}: add a first row "
                    "such as source, target, score"
                )
            frame = frame.loc[:, frame.columns != ""]  # the numbers of the rows
            frame = _runs(_one_side(_split_pairs(frame, notes), notes), notes)
            frame.attrs = {"notes": notes}
            return frame
    long = _melted(frame, rows, name, notes)
    long.attrs = {"notes": notes}
    return long


def _decorated(heads: Sequence[str]) -> list[tuple[str, str]]:
    """Headings such as ``test/accuracy_de`` as (the rest, the language); empty if there are none.

    At least three languages share each rest.
    """
    out, skip = [], {*_HIGHER, *LOWER, *_BESIDE, *_FILL, *_OUTCOME, "samples", "run"}
    for head in heads:
        parts = [p for p in re.split(r"([a-z]{3}_[A-Z][a-z]{3}\b)|[\W_]+", head) if p]
        found = [p for p in parts if p.lower() not in skip and not role(p) and not is_summary(p)
                 and _is_language(p)]  # fmt: skip
        rest = " ".join(p for p in parts if p not in found)
        out.append((rest, found[0]) if len(found) == 1 and rest else ("", head))
    count = Counter(rest for rest, lang in out if rest)
    out = [(r, x) if count[r] > 2 else ("", h) for (r, x), h in zip(out, heads, strict=True)]
    return out if any(rest for rest, _ in out) else []


def _split_pairs(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A column of pairs, ``en->de``, or ``en-de`` under a heading that says so, as two columns."""
    if {"source", "target"} <= {role(h) for h in frame.columns}:
        return frame
    for head in frame.columns:
        values = frame[head].astype(str)
        sides = [side for w in words(head) if (side := _role(w)) in ("source", "target")]
        said = bool(_PAIR_NAME.fullmatch("_".join(words(head)))) or len(set(sides)) == 2
        first = values.iloc[0] if len(values) else ""
        if not said and not (len(_ARROW.split(first)) == 2 and not _numeric(first)):
            continue
        halves = {v: _halves(v) for v in values.unique()}
        bad = [v for v, found in halves.items() if not found]
        if bad and not said:
            continue
        if bad:
            raise ValueError(
                f"{head} {bad[0]!r} is not two languages parted by -> or -: write it as en->de, or "
                "give the columns source and target"
            )
        order = ["target", "source"] if sides[:1] == ["target"] else ["source", "target"]
        both = dict(zip(order, zip(*(halves[v] for v in values), strict=True), strict=True))
        notes.append(f"column {head!r} read as {order[0]} and {order[1]}, {first!r} for one")
        return frame.drop(columns=head).assign(**both)
    return frame


def _halves(value: str) -> tuple[str, ...]:
    """The two languages of a pair; empty if it is not two."""
    arrow = _ARROW.split(value.strip())
    if len(arrow) == 2 and all(arrow):
        return tuple(arrow)
    cuts = [(value[: m.start()], value[m.end() :]) for m in re.finditer(r"\s*[-–—_/|:,]\s*", value)]
    if "2" in value:
        cuts.append((value.partition("2")[0], value.partition("2")[2]))
    fit = [cut for cut in cuts if all(map(_is_language, cut))]
    return fit[0] if len(fit) == 1 else ()


def _runs(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Columns ``seed1, seed2, ...`` of scores as rows, one a run."""
    runs = [h for h in frame.columns if re.fullmatch(r"(seed|run|fold|trial)[ _-]?\d+", h, re.I)]
    if len(runs) < 2 or "score" in {role(h) for h in frame.columns}:
        return frame
    notes.append(f"columns {some(runs)} read as the scores of numbered runs")
    rest = [h for h in frame.columns if h not in runs]
    return frame.melt(id_vars=rest, value_vars=runs, var_name="seed", value_name="score")


def _one_side(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A column that is only called ``language`` is the side that no other column is."""
    roles = {role(h) for h in frame.columns}
    missing = [side for side in ("source", "target") if side not in roles]
    plain = [h for h in frame.columns if set(words(h)) & {"lang"} and set(words(h)) <= _FILL]
    if len(missing) == 1 and len(plain) == 1:
        notes.append(f"column {plain[0]!r} read as {missing[0]!r}")
        return frame.rename(columns={plain[0]: missing[0]})
    return frame


def _melted(frame: pd.DataFrame, rows: str | None, name: str, notes: list[str]) -> pd.DataFrame:
    """A matrix as source, target, score and what its other labels say."""
    heads: list[tuple[str, ...]] = [c if isinstance(c, tuple) else (c,) for c in frame.columns]
    frame = frame.set_axis(range(len(heads)), axis=1)
    depth = range(len(heads[0]))
    level = max(depth, key=lambda k: sum(_is_language(h[k]) for h in heads[1:]))
    labels = [j for j, h in enumerate(heads) if _labels(frame[j], h, level, j)]
    if not labels:
        raise ValueError(
            f"{name} is a matrix whose rows have no names: add a first column with the language of "
            "each row"
        )
    at = max(labels, key=lambda j: (role(heads[j][-1]) in ("source", "target"),
                                    round(_languages_in(frame[j]), 2), -j))  # fmt: skip
    side, said = _orientation(heads, at, level, rows, name)
    notes.insert(0, said)
    values: list[int] = []
    lost: list[int] = []
    for j in (j for j in range(len(heads)) if j not in labels):
        text = heads[j][level]
        apart = len(depth) > 1 and not any(h for k, h in enumerate(heads[j]) if k != level)
        nuisance = (apart or is_outcome(text)) and not (_is_language(text) or is_summary(text))
        (lost if nuisance else values).append(j)
    if lost:
        notes.append(f"columns left out, no languages: {some(heads[j][level] for j in lost)}")
    frame, section = _sections(frame, at, values)
    beside = _beside(frame, heads, [j for j in labels if j != at])
    if section is not None:
        beside[_kind_of(section, map(str, beside.columns))] = section
    levels = _levels(heads, values, level)
    other = "target" if side == "source" else "source"
    parts = [
        beside.assign(**{side: frame[at], "score": frame[j]}, **{other: heads[j][level]},
                      **{kind: heads[j][k] for k, kind in levels.items()})
        for j in values
    ]  # fmt: skip
    long = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[side, other])
    if "metric" in long:
        outcome = long["metric"].map(lambda m: not is_score(m) and is_outcome(m))
        if outcome.any() and not outcome.all():
            notes.append(f"columns left out: {some(long.loc[outcome, 'metric'].unique())}")
            long = long[~outcome].reset_index(drop=True)
    return long


def _sections(
    frame: pd.DataFrame, at: int, values: list[int]
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Rows with a label only, no language, head those below them and become a label of these."""
    alone = (frame[values] == "").all(axis=1) & ~frame[at].map(_is_language) & (frame[at] != "")
    if not alone.any():
        return frame, None
    heads = frame[at].where(alone).ffill().fillna("")[~alone]
    return frame[~alone].reset_index(drop=True), heads.reset_index(drop=True)


def _labels(column: pd.Series, head: tuple[str, ...], level: int, place: int) -> bool:
    """Whether a column of a matrix labels its rows and holds no scores."""
    known, filled = _is_language(head[level]), [c for c in column if c != ""]
    if role(head[-1]) in ("model", "task", "seed", "metric", "n_target", "n_test"):
        return not known
    text = sum(not _data(c) for c in filled) > len(filled) / 2
    return text and not (known and place)


def _orientation(
    heads: list[tuple[str, ...]], at: int, level: int, rows: str | None, name: str
) -> tuple[str, str]:
    """Which side the rows are, and the sentence on it."""
    corner = " ".join(dict.fromkeys(h for h in heads[at] if h))
    found = _corner(corner)
    over = {h[k] for h in heads for k in range(len(h)) if k != level} - {""}
    across = next((role(x) for x in over if role(x) in ("source", "target")), "")
    if not found and across:
        found = "target" if across == "source" else "source"
    side = rows or found or "source"
    how = f"{name} read as a matrix, its rows being {side}s"
    if rows:
        how += ", as asked" + (f" (though it says {corner!r})" if found not in ("", rows) else "")
    elif found:
        how += f" (it says {corner!r})" if _corner(corner) else ""
    else:
        how += " (it does not say: --rows target reads it the other way)"
    return side, how


def _corner(text: str) -> str:
    """Which side the rows are by the heading of their labels, ``target \\ source``; or empty."""
    tokens = re.findall(r"[↓→]|[^\W_]+", text)
    sides = [(i, s) for i, t in enumerate(tokens) if (s := _role(t)) in ("source", "target")]
    if not sides:
        return ""
    turned = {"source": "target", "target": "source"}
    marks = [
        (i, down)
        for i, t in enumerate(tokens)
        if (down := t == "↓" or t.lower().startswith("row"))
        or t == "→"
        or t.lower().startswith("col")
    ]
    if not marks:
        return sides[0][1]
    place, down = marks[0]
    before = [s for i, s in sides if i < place]
    side = before[-1] if before else sides[0][1]
    return side if down else turned[side]


def _beside(frame: pd.DataFrame, heads: list[tuple[str, ...]], others: list[int]) -> pd.DataFrame:
    """The other labels of the rows, under the names of columns of a scores table."""
    named: dict[str, pd.Series] = {}
    for j in others:
        column = frame[j].replace("", np.nan).ffill().fillna("")  # as merged cells are
        if not (head := heads[j][-1]) and list(column) == list(range(len(column))):
            continue  # the number of the row
        kind = role(head) or (head if head else _kind_of(column, named))
        named[kind if kind not in named else f"{kind} {j}"] = column
    return pd.DataFrame(named, index=frame.index)


def _levels(heads: list[tuple[str, ...]], values: list[int], level: int) -> dict[int, str]:
    """What further rows of headings say: level -> column; one that says a side is known already."""
    out: dict[int, str] = {}
    for k in range(len(heads[0])):
        over = {heads[j][k] for j in values}
        if k == level or over == {""} or any(role(x) in ("source", "target") for x in over):
            continue
        named = role(heads[0][k])
        out[k] = named if named in ("model", "task", "metric", "seed") else _kind_of(
            sorted(over), out.values())  # fmt: skip
    return out


def pairs(path: str | Path) -> pd.DataFrame:
    """A table of pairs of languages: ``source, target`` by their keys and columns of numbers.

    A matrix is one measure, which the file's name names.

    Raises
    ------
    ValueError
        Of `load` and `tidy`; no source or target; a language that is not known.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no pairs file: {path} is not there; check the path")
    frame = tidy(load(path), None, path.stem)
    notes = list(frame.attrs["notes"])
    if notes and "read as a matrix" in notes[0]:
        notes[0] = f"pairs read as a matrix of {path.stem!r}"
        frame = frame.rename(columns={"score": path.stem})
    for side in ("source", "target"):
        found = [c for c in frame.columns if role(c) == side]
        if side in frame.columns or not found:
            continue
        notes.append(f"pairs: column {found[0]!r} read as {side!r}")
        frame = frame.rename(columns={found[0]: side})
    missing = {"source", "target"} - set(frame.columns)
    if missing:
        raise ValueError(
            f"{path} has no column {' or '.join(sorted(missing))} (it has "
            f"{some(frame.columns, 12)}): a pairs table names a source and a target in every row. "
            "`xlt similarity` makes one."
        )
    labels = {side: frame[side].map(plain_label) for side in ("source", "target")}
    sums = labels["source"].map(is_summary) | labels["target"].map(is_summary)
    if sums.any():
        notes.append("pairs: rows and columns that sum others up left out")
        frame, labels = frame[~sums], {side: own[~sums] for side, own in labels.items()}
    key = keys(*labels.values())
    out = pd.DataFrame({side: own.map(key) for side, own in labels.items()})
    for name in (c for c in frame.columns if c not in labels):
        try:
            out[name] = frame[name] if frame[name].dtype.kind in "biuf" else numbers(
                frame[name], name, notes)  # fmt: skip
        except ValueError as error:
            notes.append(f"pairs: column {name!r} not used: {error}")
    out.attrs = {"notes": notes}
    return out


# -- numbers --------------------------------------------------------------------------------------


def number_in(cell: Any) -> re.Match[str] | None:
    """The number that a cell holds beside marks, an error after ± or an interval; None if none."""
    return _NUMBER.fullmatch(_MARKS.sub("", str(cell)).strip())


def numbers(column: pd.Series, name: str, notes: list[str], count: bool = False) -> pd.Series:
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
    plain = {c: number_in(c) for c in cells.unique() if c.lower() not in _MISSING}
    bad = cells[cells.map(lambda c: c in plain and plain[c] is None)]
    if len(bad):
        raise _bad_number(column, name, bad)
    found = {c: m for c, m in plain.items() if m}
    if found:
        commas = not count and _commas(column, name, out, found)
        values = {
            c: _value(m["n"], commas) / (100 if m["percent"] else 1) for c, m in found.items()
        }
        out = out.where(~left, cells.map(values).astype(float))
        notes += _of_cells(name, found, commas, values)
    if np.isinf(out).any():
        row = int(np.flatnonzero(np.isinf(out))[0])
        raise ValueError(f"{name} in row {row + 1} is infinite: correct it or leave it empty")
    return out


def _bad_number(column: pd.Series, name: str, bad: pd.Series) -> ValueError:
    row = int(np.flatnonzero(column.index == bad.index[0])[0])
    cell, cure = bad.iloc[0], "write one number a cell, leave unknown empty"
    if re.fullmatch(r"[\d.,\s%]+[/|;][\d.,\s%]+", cell):
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
    point = [c for c, m in found.items() if "." in m["n"] and "," not in m["n"]]
    plain = out.dropna()
    if comma and (point or (plain != plain.round()).any()):
        cell = comma[0]
        row = int(np.flatnonzero(column.astype(str).str.strip() == cell)[0])
        raise ValueError(
            f"{name} in row {row + 1} is {cell!r}, not a number beside others with a decimal "
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
        if _MARKS.sub("", cell).strip() != cell:
            kinds.setdefault("marks are left out", cell)
    if commas:
        first = next(c for c, m in found.items() if "," in m["n"])
        kinds["a decimal comma"] = first
    return [f"{name} {cell!r} read as {values[cell]:g}: {kind}" for kind, cell in kinds.items()]


# -- what a heading means -------------------------------------------------------------------------


def words(head: Any) -> list[str]:
    """A heading's words in lower case: ``Train-Language``, ``trainLanguage`` -> train, lang."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", _MARKS.sub(" ", str(head)))
    text = re.sub(r"\blanguages?\b|\blangs\b", "lang", re.sub(r"[\W_]+", " ", text).lower())
    return text.split()


@cache
def _role(text: str) -> str:
    found = words(text)
    name = "_".join(found)
    if name in _OURS:
        return name
    if name in _EXACT:
        return _EXACT[name]
    if is_score(text) or lower_is_better(text):
        return "score"
    rest = set(found) - _FILL
    for meant, known in _ROLES.items():
        if rest and rest <= set(known.split()):
            return meant
    return ""


def role(head: Any) -> str:
    """Which column of the scores table a heading means; empty if none (``Source Language``)."""
    text = str(head)
    return _role(text) if len(text) < 80 else ""


def is_score(head: Any) -> bool:
    """Whether a heading names a score that is better when higher: ``predict_accuracy``."""
    found = words(head)
    return bool(set(found) & set(_HIGHER)) and set(found) <= set(_HIGHER) | _BESIDE


def preference(head: Any) -> tuple[bool, int, bool]:
    """Sorts columns of scores: better when higher, the usual first, of the test before others."""
    found = words(head)
    place = [_HIGHER.index(w) for w in found if w in _HIGHER]
    return not place, min(place, default=0), bool({"dev", "val", "valid", "eval"} & set(found))


def lower_is_better(head: Any) -> bool:
    """Whether a heading names a loss or an error: ``eval_loss``, ``WER``."""
    found = words(head)
    return bool(set(found) & set(LOWER)) and set(found) <= set(LOWER) | _BESIDE | {"cross"}


def is_outcome(head: Any) -> bool:
    """Whether a heading names what a run gives, as a loss, a rank, a gap or a runtime."""
    return bool(set(words(head)) & _OUTCOME) and not is_property(head)


def is_property(head: Any) -> bool:
    """Whether a heading names what is known of a pair before any run: a distance, a size."""
    found = set(words(head))
    return bool(found & _PROPERTY) and not found & (_OUTCOME - {"relative", "entropy", "ratio"})


@cache
def _is_language(label: Any) -> bool:
    text = plain_label(label)
    if not text or len(text) > 60:
        return False
    if re.match(r"UD_\w+-\w+$", text):
        return True
    try:
        return bool(language(text))
    except ValueError:
        return False


def plain_label(label: Any) -> str:
    """A label without marks, and without a remark in brackets that says the same or a number."""
    text = _MARKS.sub("", str(label)).strip() if not str(label).startswith("UD_") else str(label)
    if remark := re.fullmatch(r"(.+?)\s*[(\[]([^()\[\]]*)[)\]]", text):
        outer, inner = remark[1].strip(), remark[2].strip()
        if re.fullmatch(r"[\d.,]+ ?[kKmMbB%]?", inner) or _same(outer, inner):
            return outer
    return text


def _same(one: str, other: str) -> bool:
    try:
        return language(one) == language(other)
    except ValueError:
        return False


def _languages_in(labels: Iterable[Any]) -> float:
    """The share of different labels that are languages."""
    found = [_is_language(str(x)) for x in dict.fromkeys(labels)]
    return sum(found) / len(found) if found else 0.0


def _kind_of(labels: Iterable[Any], taken: Iterable[str]) -> str:
    """What labels without a heading are: metrics, numbered runs, models, else tasks."""
    found = [str(x) for x in dict.fromkeys(labels) if str(x)]
    kind = "task"
    if found and all(is_score(x) or lower_is_better(x) or is_outcome(x) for x in found):
        kind = "metric"
    elif found and all(re.fullmatch(r"(seed|run)?\W?\d+", x, re.I) for x in found):
        kind = "seed"
    elif any(_MODEL_LIKE.search(x) for x in found):
        kind = "model"
    taken = set(taken)
    free = (k for k in ("task", "model", *(f"label {i}" for i in range(99))) if k not in taken)
    return kind if kind not in taken else next(free)


def some(values: Iterable[Any], most: int = 4) -> str:
    """The first few of some values, and how many more there are."""
    shown = [str(v) for v in values]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
