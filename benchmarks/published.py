"""Transfer scores that other researchers measured and published, as tidy tables.

``load(name)`` gives the *scores* table of one publication, ``mixtures(name)`` the LITMUS tables in
which a model was trained on several languages at once. A card for each repository
(`benchmarks/cards/*.yml`) says where its files are, at which commit and with which SHA-256, whom to
cite, and how its tables are read. Files are taken from ``XLT_DATA`` or fetched once
(`xltlib.data.files.get`); nothing is unpickled, nor foreign code run.

In treebank matrices several columns share one language: ``source`` and ``target`` stay language
codes and ``source_set``, ``target_set`` name the treebank. Columns that start with ``pair_`` are
properties of the data sets known before any transfer is measured (sizes, overlaps); the
publications' own rank columns are functions of the scores and are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from xltlib.data import files
from xltlib.data.cards import Checksums, read_cards
from xltlib.errors import unknown
from xltlib.languages import iso3

_COLUMNS = ["model", "task", "source", "target", "n_target", "seed", "metric", "score", "n_test"]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class _Lookup:
    """A table of the repository that says something of every code: columns `key` and `value`.

    `more` holds what it leaves out.
    """

    file: str
    key: str
    value: str
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class _Table:
    """One published source x target table: what it measured, and how it is read.

    Attributes
    ----------
    data
        The annotated data behind the scores, without its release: matrices of one data set share
        test items, and are no independent evidence.
    columns
        Of a table with one row per pair: the file's column -> ours. Without, rows are sources and
        columns targets, a code being the first word of its label.
    sheet
        Of a spreadsheet: the square at the top left of this sheet.
    only
        How the names of the targets end that are kept.
    treebanks
        Regular expression: what is cut off the name of a treebank. Its language is what stands
        before the underscore, if no `languages` say it.
    languages, n_test
        Where the languages of the codes, the number of test examples of a target are; a code
        without a language is left out.
    repository, citation, checksums
        Those of its repository.
    """

    file: str
    task: str
    data: str
    model: str
    metric: str
    columns: Mapping[str, str] = field(default_factory=dict)
    sheet: str = ""
    separator: str = ","
    only: str = ""
    treebanks: str = ""
    languages: _Lookup | None = None
    n_test: _Lookup | None = None
    repository: str = ""
    citation: str = ""
    checksums: Checksums = field(default_factory=dict)

    def path(self, file: str) -> Path:
        """A checked file of the repository on this machine."""
        return files.get(self.repository, file, self.checksums)


@dataclass(frozen=True, config=_STRICT)
class _Repository:
    """What one repository published.

    Attributes
    ----------
    repository
        ``owner/repository/commit``.
    tables, mixtures
        By name: scores, the stem of LITMUS's files.
    checksums
        Path -> (SHA-256, bytes).
    """

    name: str
    citation: str
    repository: str
    checksums: Checksums
    tables: Mapping[str, _Table] = field(default_factory=dict)
    mixtures: Mapping[str, str] = field(default_factory=dict)


_FOLDER = Path(__file__).with_name("cards")
REPOSITORIES: dict[str, _Repository] = read_cards(_FOLDER, _Repository)
SCORES: dict[str, _Table] = {
    name: replace(table, repository=of.repository, citation=of.citation, checksums=of.checksums)
    for of in REPOSITORIES.values()
    for name, table in of.tables.items()
}
_MIXTURES = REPOSITORIES["litmus"].mixtures


def load(name: str) -> pd.DataFrame:
    """One published source x target matrix as a tidy scores table.

    Parameters
    ----------
    name : str
        A key of `SCORES`.

    Returns
    -------
    DataFrame
        The columns of the scores table (``score`` in 0..1, codes ISO 639-3, ``n_test`` empty where
        it was not published), then ``source_set``/``target_set`` for treebanks and ``pair_*`` data
        features. In-language rows are kept: they are not transfer and every ranking leaves them
        out.

    Raises
    ------
    ValueError
        For an unknown name, or a file that can be neither found nor fetched.
    """
    if name not in SCORES:
        raise unknown("published scores", name, SCORES)
    table = SCORES[name]
    rows = _rows(table)
    if table.only:
        rows = rows[rows["target"].str.endswith(table.only)].copy()
    if table.treebanks:
        rows = rows.drop_duplicates(["source", "target"])
        cut = {f"{s}_set": rows[s].str.replace(table.treebanks, "", regex=True) for s in _SIDES}
        rows = rows.assign(**cut)
    if table.n_test:
        rows["n_test"] = rows["target"].map(_lookup(table, table.n_test))
    if table.languages:
        codes = _lookup(table, table.languages)
        rows = rows.assign(**{s: rows[s].map(codes) for s in _SIDES}).dropna(subset=_SIDES)
    elif table.treebanks:
        rows = rows.assign(**{s: rows[s].str.split("_").str[0] for s in _SIDES})
    return _tidy(rows, table)


_SIDES = ["source", "target"]


def _rows(table: _Table) -> pd.DataFrame:
    """Source, target, score and extras in the file's own codes."""
    path = table.path(table.file)
    if table.sheet:
        return _melt(_square(path, table.sheet))
    if table.columns:
        found = pd.read_csv(path, sep=table.separator)
        return found[list(table.columns)].rename(columns=table.columns)
    found = pd.read_csv(path, sep=table.separator, index_col=0)
    found.index, found.columns = (ends.astype(str).str.split(" ").str[0] for ends in found.axes)
    return _melt(found)


def _square(path: Path, sheet: str) -> pd.DataFrame:
    """The square at the top left of a sheet; notes and rankings follow below it."""
    try:
        table = pd.read_excel(path, sheet_name=sheet, index_col=0)
    except ImportError as error:
        raise ValueError(f"{path.name} is a spreadsheet: pip install openpyxl") from error
    codes = [c for c in table.columns if c in table.index]
    table = table.iloc[: len(codes)]
    return table.loc[codes, codes].astype(float)


def _lookup(table: _Table, where: _Lookup) -> dict[str, object]:
    """Code -> value, the first where a code is listed twice."""
    found = pd.read_csv(table.path(where.file), keep_default_na=False).drop_duplicates(where.key)
    return dict(zip(found[where.key], found[where.value], strict=True)) | dict(where.more)


def _melt(table: pd.DataFrame) -> pd.DataFrame:
    """Wide source x target to long."""
    table = table.rename_axis(index="source", columns="target")
    return pd.DataFrame({"score": table.unstack()}).reset_index().dropna(subset=["score"])


def _tidy(raw: pd.DataFrame, of: _Table) -> pd.DataFrame:
    """Common columns, ISO codes, scores in 0..1, one row per cell, sorted."""
    table = raw.assign(task=of.task, model=of.model, metric=of.metric, n_target=0, seed=0)
    if "n_test" not in table:
        table["n_test"] = pd.NA
    table["n_test"] = table["n_test"].astype("Int64")
    table["source"], table["target"] = _codes(table["source"]), _codes(table["target"])
    if table["score"].max() > 1.5:
        table["score"] = table["score"] / 100
    ends = [c for c in ("source", "source_set", "target", "target_set") if c in table]
    extras = [c for c in table if c not in _COLUMNS]
    return table[_COLUMNS + extras].sort_values(ends, ignore_index=True)


def _codes(column: pd.Series) -> pd.Series:
    return column.map({code: iso3(code) for code in column.unique()})


def mixtures(name: str) -> pd.DataFrame:
    """One LITMUS table: models trained on a mixture of languages, scored on many targets.

    Parameters
    ----------
    name : str
        One of `_MIXTURES`.

    Returns
    -------
    DataFrame
        One row per configuration and target: ``split`` (train, test, surprise-same, surprise-diff),
        ``config`` (number within its file), ``target``, ``n_target`` (the target's own examples in
        the mixture), ``score`` (0..1) and ``train_<language>`` (examples, 0 where absent).
        ``surprise`` splits score targets that no training configuration was scored on.
    """
    if name not in _MIXTURES:
        raise unknown("LITMUS table", name, _MIXTURES)
    litmus = REPOSITORIES["litmus"]
    rows: list[dict[str, object]] = []
    for split, folder, ending in (
        ("train", "train", ""),
        ("test", "test_gold", ""),
        ("surprise-same", "test_gold", "_surprise_langs_same_configs"),
        ("surprise-diff", "test_gold", "_surprise_langs_diff_configs"),
    ):
        path = f"SumEval/data/{folder}/{_MIXTURES[name]}{ending}.json"
        if path in litmus.checksums:
            found = files.get(litmus.repository, path, litmus.checksums)
            for number, config in enumerate(json.loads(found.read_text(encoding="utf-8"))):
                rows += _mixture_rows({"split": split, "config": number}, config)
    table = pd.DataFrame(rows)
    sizes = sorted(str(c) for c in table if str(c).startswith("train_"))
    table[sizes] = table[sizes].fillna(0).astype(int)
    return table[["split", "config", "target", "n_target", "score", *sizes]]


def _mixture_rows(
    head: dict[str, object], config: dict[str, dict[str, float]]
) -> Iterator[dict[str, object]]:
    sizes = {iso3(code): int(size) for code, size in config["train_config"].items()}
    train = {f"train_{code}": size for code, size in sizes.items()}
    for target, score in config["eval_results"].items():
        code = iso3(target)
        n_target = sizes.get(code, 0)
        yield head | {"target": code, "n_target": n_target, "score": score} | train
