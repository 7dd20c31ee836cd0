"""Labelled examples from files: jsonl, csv, tsv, Parquet, CoNLL columns, SQuAD's json.

`read(path, layout)` gives rows with *our* column names, whatever the file calls them; nothing is
unpickled or executed. What an example must hold is checked later, by what the task needs
(`xltlib.data.datasets`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from xltlib.errors import unknown

_Format = Literal["jsonl", "csv", "tsv", "parquet", "conll", "squad"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """How a file holds its examples.

    Attributes
    ----------
    format
        jsonl, csv, tsv, parquet, conll or squad. ``tsv`` is not quoted, ``csv`` is.
    columns
        Our name -> the file's: a column's name, or its number from 0 (from -1 at the end) in
        CoNLL columns and in files without a header. Names of nested fields take a point
        (``answers.text``). What is not listed has our name in the file too.
    header
        Whether csv and tsv start with a line of names.
    separator
        Between CoNLL columns.
    """

    format: _Format
    columns: Mapping[str, str | int] = field(default_factory=dict)
    header: bool = True
    separator: str = "\t"

    def __post_init__(self) -> None:
        if self.format not in get_args(_Format):
            raise unknown("file format", self.format, get_args(_Format), "use one of these")


def read(
    path: Path, layout: Layout, wanted: Sequence[str], optional: Sequence[str] = ()
) -> list[Row]:
    """All rows of a file: the wanted columns, and the optional ones it has, under our names.

    Raises
    ------
    ValueError
        No such file, not the format it is said to be, or a column is missing; the message names
        the file, the place in it and the cure.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: mend its path")
    try:
        rows = list(_READERS[layout.format](path, layout))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}: convert it") from error
    theirs = {name: layout.columns.get(name, name) for name in (*wanted, *optional)}
    return [
        {
            name: pick(row, column, f"{path}, row {i}")
            for name, column in theirs.items()
            if name not in optional or column in row
        }
        for i, row in enumerate(rows, 1)
    ]


def pick(row: Mapping[Any, Any], column: str | int, where: str) -> Any:
    """The value of a column, `a.b` being the field b of a; an error that names what there is."""
    if column in row:
        return row[column]
    first, _, rest = str(column).partition(".")
    if rest and isinstance(row.get(first), Mapping):
        return pick(row[first], rest, where)
    have = [str(c) for c in row]
    raise unknown(f"column in {where}", column, have, "name the right one in the column map")


def _jsonl(path: Path, layout: Layout) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = _json(line, f"{path}, line {number}")
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number} is {type(row).__name__}, not an object")
            yield row


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where} is not JSON ({error.msg}): the file is cut short or altered; get it again"
        ) from error


def _table(path: Path, layout: Layout) -> Iterator[dict[Any, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        if layout.format == "csv":
            found = csv.reader(lines)
        else:
            found = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = iter(found)
        names = next(rows, []) if layout.header else None
        for row in filter(None, rows):
            n = len(row)
            if names is None:
                yield {i: row[i] for i in (*range(n), *range(-n, 0))}
            elif n == len(names):
                yield dict(zip(names, row, strict=True))
            else:
                raise ValueError(
                    f"{path}, line {found.line_num} has {n} columns, the header {len(names)}: "
                    "the file is cut short or altered, or a quote is missing"
                )


def _parquet(path: Path, layout: Layout) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file ({error}): get it again") from error
    yield from rows


def _conll(path: Path, layout: Layout) -> Iterator[Row]:
    """One row a sentence; every column a tuple of its words' values."""
    lines = path.read_text(encoding="utf-8").split("\n")
    sentence: list[list[str]] = []
    most = max((int(c) for c in layout.columns.values()), default=0) + 1
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.strip("\t "):
            if sentence:
                yield _columns(sentence)
            sentence = []
            continue
        cells = line.split(layout.separator)
        if len(cells) < max(most, 2):
            if line.startswith("#"):
                continue  # a comment of CoNLL-U; a word `#` has a tag behind it
            raise ValueError(
                f"{path}, line {number} has {len(cells)} column(s), {max(most, 2)} are needed: "
                f"mend {line!r}, or say which character separates columns"
            )
        sentence.append(cells)
    if sentence:
        yield _columns(sentence)


def _columns(sentence: Sequence[Sequence[str]]) -> dict[Any, Any]:
    n = min(map(len, sentence))
    return {i: tuple(cells[i] for cells in sentence) for i in (*range(n), *range(-n, 0))}


def _squad(path: Path, layout: Layout) -> Iterator[Row]:
    """One row a question; `answers` as the Hub has them: {"text": […], "answer_start": […]}."""
    content = _json(path.read_text(encoding="utf-8"), str(path))
    try:
        for number, article in enumerate(content["data"]):
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield {
                        "id": str(asked["id"]),
                        "title": article.get("title", ""),
                        "article": str(number),
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answers": {
                            "text": [a["text"] for a in asked["answers"]],
                            "answer_start": [a["answer_start"] for a in asked["answers"]],
                        },
                    }
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has not the layout of SQuAD (data > paragraphs > qas > answers): "
            f"{error!r} is missing or out of place"
        ) from error


_READERS: dict[str, Callable[[Path, Layout], Iterator[Any]]] = {
    "jsonl": _jsonl,
    "csv": _table,
    "tsv": _table,
    "parquet": _parquet,
    "conll": _conll,
    "squad": _squad,
}
