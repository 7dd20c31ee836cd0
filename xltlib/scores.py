"""The scores table: one row per measured cell, and the only thing the analysis half ever reads.

Columns are listed in `SCHEMA`. `read` takes any file that `xltlib.reading` knows, tidy or a matrix;
`check` goes by steps: the names of the columns, the languages, the values. Whatever is changed or
dropped on the way is a warning and a sentence of `notes`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from pyarrow import compute, parquet

from xltlib import reading
from xltlib.errors import unknown
from xltlib.io import write_table
from xltlib.languages import clash, is_summary, keys, language, understood
from xltlib.reading import scale, some
from xltlib.reading.scale import ILLEGAL, SAME_UNIT


class _Column(NamedTuple):
    """One column of the scores table: its kind, its default (``None``: required), its meaning."""

    name: str
    kind: Literal["text", "code", "count", "share"]
    default: Any
    what: str


SCHEMA = (
    _Column("model", "text", "model", "the model or the condition of an experiment"),
    _Column("task", "text", "task", "the task"),
    _Column("source", "code", None, "language of the fine-tuning data: its key, `srp_Latn`"),
    _Column("target", "code", None, "language of the test data (its key)"),
    _Column("n_target", "count", 0, "target-language training examples; 0 = zero-shot"),
    _Column("seed", "count", 0, "seed of the run"),
    _Column("metric", "text", "score", "what the score is: accuracy, f1, ..."),
    _Column("score", "share", None, "the score, 0 to 1"),
    _Column("n_test", "count", pd.NA, "test items behind the score; missing = unknown"),
)
CELL = ["model", "task", "source", "target", "n_target", "metric"]
_KEY = ["model", "task", "source", "target", "n_target", "seed", "metric"]
SETS = ["source_set", "target_set"]  # optional: which treebank of the language
HALF = "half"  # optional: which of two independent halves of a measurement
TEST_SET = "test_set"  # optional: which test items; runs without it share theirs

_UD_NAME = r"^UD_(.+)-(\w+)$"  # a treebank of Universal Dependencies, and its short name
_UD_SHORT = r"^([a-z]{2,3})_([a-z]{3,})(?:-ud)?$"
_UD_CODES = {  # its languages that have another name in ISO 639-3
    "Abkhaz": "abk", "Apurina": "apu", "Assyrian": "aii", "Bororo": "bor", "Buryat": "bxr",
    "Cappadocian": "cpg", "Chukchi": "ckt", "Classical_Chinese": "lzh", "Gheg": "aln",
    "Guajajara": "gub", "Gwichin": "gwi", "Kiche": "quc", "Komi_Permyak": "koi",
    "Komi_Zyrian": "kpv", "Kurmanji": "kmr", "Makurap": "mpu", "Mbya_Guarani": "gun",
    "Munduruku": "myu", "Naija": "pcm", "North_Sami": "sme", "Old_East_Slavic": "orv",
    "Paumari": "pad", "Tupinamba": "tpn", "Xavante": "xav", "Zaar": "say",
}  # fmt: skip
_NAMES = [column.name for column in SCHEMA]
_REQUIRED = [column.name for column in SCHEMA if column.default is None]
_PRIOR_DF = 4  # weight of the group's seed variance beside a cell's own few seeds

Unknown = Literal["error", "drop"]


class ScoresWarning(UserWarning):
    """Something in a scores table was changed or left out; the message says what."""


def notes(scores: pd.DataFrame) -> list[str]:
    """What reading and checking changed or dropped, in order, as sentences.

    A sentence on something dropped begins with how many.
    """
    return list(scores.attrs.get("notes", []))


def _note(sentence: str, noted: list[str]) -> None:
    noted.append(sentence)
    warnings.warn(sentence, ScoresWarning, stacklevel=3)


# -- reading --------------------------------------------------------------------------------------


def read(
    path: str | os.PathLike[str],
    rows: str | None = None,
    unknown_codes: Unknown = "error",
    metric: str | None = None,
    lower_is_better: bool | None = None,
    task: str | None = None,
) -> pd.DataFrame:
    """Read and `check` a scores table in any form that `xltlib.reading` knows, tidy or a matrix.

    Parameters
    ----------
    rows
        ``"source"`` or ``"target"``: what the rows of a matrix are; unless given, what the heading
        of their labels says, else sources. Names of treebanks (``UD_Ancient_Greek-PROIEL``) are a
        language and one of its sets.
    unknown_codes, metric, lower_is_better
        Of `check`.
    task
        Only its rows are read, where a table of ours has it: that is sooner done.

    Raises
    ------
    ValueError
        A file that is missing, empty, damaged or no table, or all that `check` refuses.
    """
    side = None if rows is None else rows.removesuffix("s")
    if side not in (None, "source", "target"):
        raise unknown("rows", rows, ("source", "target"), "say what the rows of the matrix are")
    file = Path(path)
    if not file.is_file():
        what = "is a folder, name a file in it" if file.is_dir() else "is not there"
        raise ValueError(f"no scores file: {file} {what}; check the path, or run the experiment")
    table = _of_task(file, task)
    table = reading.table(file, side) if table is None else table
    for sentence in notes(table):
        warnings.warn(sentence, ScoresWarning, stacklevel=2)
    return check(table, unknown_codes, metric, lower_is_better)


def _of_task(file: Path, task: str | None) -> pd.DataFrame | None:
    """A task's rows of a Parquet file with our columns; None where it is not one, or has none."""
    if task is None or file.suffix != ".parquet":
        return None
    try:
        table = parquet.ParquetFile(file).read(use_threads=False)  # a third of pandas' time
        rows = table.filter(compute.equal(table["task"], task)).to_pandas()
    except (OSError, ValueError, KeyError, NotImplementedError):  # `reading` says what is wrong
        return None
    return rows if len(rows) and {*_NAMES} <= {*rows} else None


# -- checking -------------------------------------------------------------------------------------


def check(
    scores: pd.DataFrame,
    unknown_codes: Unknown = "error",
    metric: str | None = None,
    lower_is_better: bool | None = None,
) -> pd.DataFrame:
    """A scores table in its one canonical form, or a ValueError that names the cure.

    Parameters
    ----------
    scores
        At least ``source``, ``target``, ``score`` (common other names are understood); missing
        columns of `SCHEMA` take their defaults, other columns are kept.
    unknown_codes
        ``"error"`` or ``"drop"`` rows whose language is not known (noted).
    metric
        Only this one, where a table has several, in rows or in columns.
    lower_is_better
        True turns losses and errors into scores (noted how); False says that they are scores
        though they look otherwise; by default such tables are refused.

    Returns
    -------
    DataFrame
        Columns of `SCHEMA` first, languages by their keys, scores in 0..1, sorted by `_KEY`;
        ``attrs["notes"]`` holds what was changed.
    """
    if unknown_codes not in get_args(Unknown):
        raise unknown("unknown_codes", unknown_codes, get_args(Unknown), "choose one of them")
    noted = notes(scores)
    df = _renamed(scores.copy(), metric, noted)
    df = _scored(_treebanks(df, noted), noted)
    for side in ("source", "target"):
        given = df[side].unique()
        if len(given) > 1000 and not reading.languages_in(given[:100]):  # sentences
            raise ValueError(
                f"column {side!r} holds {len(given)} different texts, {str(given[0])[:40]!r} for "
                f"one, and no languages: name the column with the language {side!r} instead"
            )
        plain = {x: _plain(x) for x in given}
        if cut := reading.undecorated(x for x in plain.values() if not pd.isna(x)):
            label, short = next(iter(cut.items()))
            _note(f"{side} {label!r} read as {short!r}, the others likewise", noted)
        df[side] = df[side].map({x: cut.get(y, y) for x, y in plain.items()})
    df = _without_summaries(df, noted)
    df, labels = _coded(df, unknown_codes, noted)
    df = _completed(df)
    if df.empty:
        raise ValueError("the scores table has no usable row: give it at least one measured cell")
    df = scale.higher(df, lower_is_better, partial(_note, noted=noted))
    df = scale.in_unit(df, lower_is_better, partial(_note, noted=noted))
    df = _unique(df, labels, noted)
    df = df[_NAMES + [c for c in df.columns if c not in _NAMES]]
    df = df.sort_values(_key(df), kind="stable").reset_index(drop=True)
    df.attrs = {"notes": noted}
    return df


def _key(df: pd.DataFrame) -> list[str]:
    return _KEY + [c for c in (*SETS, HALF) if c in df.columns]


def _renamed(df: pd.DataFrame, metric: str | None, noted: list[str]) -> pd.DataFrame:
    """Field-typical column names to ours; the metric is taken from the score's own name."""
    df = df.rename(columns={c: str(c).strip() for c in df.columns})
    lower = {str(c).lower(): c for c in df.columns}
    if len(lower) < len(df.columns):
        twice = [c for c in df.columns if lower[str(c).lower()] != c]
        raise ValueError(f"columns {some(twice)} appear twice (case apart): rename or drop one")
    for name in (*_NAMES, "stderr"):
        found = [c for c in df.columns if reading.role(c) == name]
        if name in df.columns or not found or name == "score":
            continue
        # of several, one that varies: MT tables have 'target_lang' English in every row
        chosen = next((c for c in found if df[c].nunique() > 1), found[0])
        if name == "task" and _of_targets(df, chosen):
            continue
        _note(f"column {chosen!r} read as {name!r}", noted)
        df = df.rename(columns={chosen: name})
    df = _one_score(df, metric, noted)
    missing = [name for name in _REQUIRED if name not in df.columns]
    if missing:
        raise ValueError(
            f"the scores table has no column {some(missing)} (it has {some(df.columns, 12)}): "
            "rename yours to source, target, score"
        )
    return df


def _of_targets(df: pd.DataFrame, column: str) -> bool:
    """Whether a column such as ``dataset`` names the test set of each target, and no task."""
    return "target" in df and bool((df.groupby(column)["target"].nunique() < 2).any())


def _one_score(df: pd.DataFrame, metric: str | None, noted: list[str]) -> pd.DataFrame:
    """The column of scores, or the rows of the metric, that is asked for or comes first."""
    if metric is not None and "metric" in df.columns:
        return select(df.assign(metric=df["metric"].astype(str)), metric=metric)
    found = [c for c in df.columns if reading.role(c) == "score"]
    if not found:
        found = [c for c in df.columns if reading.words(c) in (["mean"], ["avg"], ["average"])]
    if metric is not None:
        asked = [c for c in found if set(reading.words(metric)) <= set(reading.words(c))]
        if not asked:
            raise unknown("metric", metric, found, "choose a column of scores")
        chosen = min(asked, key=len)
    elif "score" in df.columns or not found:
        return df
    else:
        chosen = min(found, key=lambda c: (df[c].nunique() < 2, *reading.preference(c)))
    others = [c for c in found if c != chosen and not reading.lower_is_better(c)]
    more = f" (--metric {others[0]} reads that one)" if others else ""
    if chosen != "score":
        _note(f"column {chosen!r} read as 'score'{more}", noted)
        df = df.drop(columns="score", errors="ignore").rename(columns={chosen: "score"})
    if "metric" not in df.columns and chosen.lower() not in ("value", "score"):
        df["metric"] = metric or chosen.lower()
    return df


def _treebanks(df: pd.DataFrame, noted: list[str]) -> pd.DataFrame:
    """``UD_Ancient_Greek-PROIEL`` as the language and which of its treebanks."""
    for side, part in zip(("source", "target"), SETS, strict=True):
        given = pd.Series(df[side].unique())
        names = given.astype(str).str.strip().str.extract(_UD_NAME)
        short = given.astype(str).str.strip().str.extract(_UD_SHORT)
        own = reading.languages_in(given.astype(str))  # 1: srp_latn, zho_hans
        if own < 1 and (short.nunique() > 1).all() and reading.languages_in(short[1]) < 1:
            names = short
        what = "UD treebanks" if names is not short else f"labels such as {given.iloc[0]!r}"
        if part in df.columns or not names.notna().all(axis=None):
            continue
        _note(f"{what} read as language ({side!r}) and treebank or data set ({part!r})", noted)
        language = names[0].replace(_UD_CODES).str.replace("_", " ")
        nynorsk = names[1].str.lower().str.startswith("nynorsk")  # of UD's Norwegian
        language = language.mask(nynorsk, "nno")
        at = pd.Index(given).get_indexer(pd.Index(df[side]))
        df = df.assign(**{side: language.to_numpy()[at], part: names[1].to_numpy()[at]})
    return df


def _scored(df: pd.DataFrame, noted: list[str]) -> pd.DataFrame:
    """Scores as numbers, rows without one dropped."""
    for name in ("score", *(c for c in SAME_UNIT if c in df.columns)):
        df[name] = reading.numbers(df[name], name, noted)
    unscored = df["score"].isna()
    if unscored.any():
        _note(f"{int(unscored.sum())} rows without a score dropped", noted)
    return df[~unscored].copy()


def _plain(label: Any) -> Any:
    return label if pd.isna(label) else reading.plain_label(label)


def _without_summaries(df: pd.DataFrame, noted: list[str]) -> pd.DataFrame:
    """Rows whose source or target is a mean, a maximum, ... of the others, left out and named.

    Of words that are codes too (``min``, ``sd``), those that hold such numbers, and those beside
    codes of another length, but for Minangkabau, which benchmarks have.
    """
    for side, other in (("source", "target"), ("target", "source")):
        if not (labels := {x for x in df[side].unique() if is_summary(str(x))}):
            continue
        rest = df[~df[side].isin(labels)].groupby(other)["score"]
        known = {"min": rest.min(), "sum": rest.sum(), "med": rest.median(), "sd": rest.std(),
                 "var": rest.var(), "gap": rest.max() - rest.min()}  # fmt: skip
        for label in list(labels):
            own = df[df[side] == label].set_index(other)["score"]
            if (kind := str(label).strip().lower()) in known:
                expected = known[kind].reindex(own.index)
                alike = np.mean([len(str(x)) == len(kind) for x in df[side].unique()]) > 0.5
                fits = np.allclose(own, expected, rtol=0.02, atol=0.051)
                if not fits and (kind == "min" or alike or label in set(df[other])):
                    labels.discard(label)
        if labels:
            rows = df[side].isin(labels)
            listed = some(sorted(repr(x) for x in labels))
            _note(f"{int(rows.sum())} rows dropped: {side} {listed} sums others up, no language",
                  noted)  # fmt: skip
            df = df[~rows]
    return df


def _coded(
    df: pd.DataFrame, other: Unknown, noted: list[str]
) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    """Any code form to the language's key, and the labels behind each key of each side."""
    sides: dict[str, list[str]] = {}
    for side in ("source", "target"):
        lost, sides[side] = [], []
        for code in df[side].unique():
            try:
                if pd.isna(code) or not str(code).strip():
                    raise ValueError(f"{side} is empty in some rows: fill in a language code")
                language(str(code))
                sides[side].append(str(code))
            except ValueError as error:
                if other == "error":
                    cure = "`xlt analyze --drop-unknown` leaves such rows out."
                    raise ValueError(f"{str(error).rstrip('.')}. {cure}") from None
                lost.append(code)
        if lost:
            rows = df[side].isin(lost) | df[side].isna()
            _note(f"{int(rows.sum())} rows dropped: {side} unknown ({some(lost)})", noted)
            df = df[~rows]
    if read_as := understood(dict.fromkeys(sides["source"] + sides["target"])):
        _note(f"languages read by a name of theirs: {read_as}", noted)
    known, labels = keys(*sides.values()), defaultdict(list)
    for side, own in sides.items():
        for label in own:
            labels[side, known[label]].append(label)
    coded = {side: df[side].astype(str).map(known).astype(object) for side in sides}
    return df.assign(**coded), labels


def _completed(df: pd.DataFrame) -> pd.DataFrame:
    """Every column of the schema: missing ones and empty values by default, counts as integers."""
    for column in SCHEMA:
        if column.name not in df.columns:
            df[column.name] = column.default
        if column.kind == "text":
            text = df[column.name].astype(object)
            df[column.name] = text.where(text.notna() & (text != ""), column.default).astype(str)
        elif column.kind == "count":
            df[column.name] = _counts(df, column)
    return df


def _counts(df: pd.DataFrame, column: _Column) -> pd.Series:
    given = df[column.name]
    if column.name == "seed" and all(re.search(r"\d", str(x)) for x in given.unique()):
        given = given.astype(str).str.replace(r"^(seed|run|fold)[ _-]*", "", case=False, regex=True)
    values = reading.counts(given, column.name)
    least = int(column.name == "n_test")
    bad = values.notna() & ((values < least) | (values != values.round()))
    if bad.any():
        raise ValueError(
            f"{column.name} must be a whole number from {least} up, found {values[bad].iloc[0]:g}: "
            f"{column.what}"
        )
    if column.default is pd.NA:
        return values.astype("Int64")
    return values.fillna(column.default).astype("int64")


def _unique(
    df: pd.DataFrame, labels: Mapping[tuple[str, str], list[str]], noted: list[str]
) -> pd.DataFrame:
    """Exact repeats of a cell dropped; different scores of one cell are an error."""
    key = _key(df)
    repeats = df.duplicated([*key, "score"])
    if repeats.any():
        _note(f"{int(repeats.sum())} exact repeats of a cell dropped", noted)
        df = df[~repeats]
    twice = df.duplicated(key, keep=False)
    if twice.any():
        first = df[twice].sort_values(key, kind="stable").iloc[:2]
        for side in ("source", "target"):
            if len(several := labels[side, first[side].iloc[0]]) > 1:
                raise ValueError(f"{side} labels {clash(several)}")
        cell = ", ".join(f"{k}={first[k].iloc[0]}" for k in key)
        scores = " and ".join(f"{s:g}" for s in first["score"])
        apart = [c for c in df.columns.difference([*key, "score"])
                 if first[c].nunique() > 1 and df[c].nunique() < len(df) / 2]  # fmt: skip
        cure = (
            f"They differ in {apart[0]!r} ({some(first[apart[0]])}): keep the rows of one, or "
            f"rename it if it is the task, the model or n_target"
            if apart
            else "Number repeated runs in a 'seed' column; name the treebanks or data sets of one "
            "language in columns 'source_set' and 'target_set'; or keep one row per cell"
        )
        raise ValueError(
            f"{int(twice.sum())} rows measure the same cell with different scores, first "
            f"{cell}: {scores}. {cure}"
        )
    return df


# -- writing --------------------------------------------------------------------------------------


def write(scores: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Check and write a scores table (``.parquet`` or ``.csv``); same table, same bytes.

    Rows are sorted; the rest is `xltlib.io.write_table`.
    """
    df = check(scores)
    return write_table(df[_NAMES + sorted(c for c in df.columns if c not in _NAMES)], path)


# -- views ----------------------------------------------------------------------------------------


def called(scores: pd.DataFrame, model: str | None, task: str | None) -> pd.DataFrame:
    """A checked table that names no model, or no task, as of the one that its owner asks for."""
    default = {column.name: column.default for column in SCHEMA}
    for name, value in (("model", model), ("task", task)):
        if value is not None and set(scores[name]) == {default[name]}:
            scores = scores.assign(**{name: value})
    return scores


def select(
    scores: pd.DataFrame,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
) -> pd.DataFrame:
    """Rows of one model, task or metric; an unknown one is named with its nearest match."""
    for name, value in (("model", model), ("task", task), ("metric", metric)):
        if value is None:
            continue
        allowed = sorted(scores[name].unique())
        if value not in allowed:
            raise unknown(name, value, allowed, f"choose a {name} of the scores table")
        scores = scores[scores[name] == value]
    return scores


def one_part(
    scores: pd.DataFrame,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
) -> pd.DataFrame:
    """The rows of one model, task and metric; more than one of any is an error that lists them."""
    for name, value in (("model", model), ("task", task), ("metric", metric)):
        if name not in scores:
            continue
        found = sorted(scores[name].unique())
        if value is None and len(found) > 1:
            raise ValueError(
                f"the scores hold several {name}s: say {name}= one of {', '.join(found)}"
            )
        scores = select(scores, **{name: value})
    return scores


def one_metric(scores: pd.DataFrame) -> pd.DataFrame:
    """The main metric of each task: the one with a chance level, else the first by name."""
    rows = scores[scores["metric"] != ILLEGAL]
    main = rows[["task", "metric"]].drop_duplicates()
    if "chance" in rows:
        known = rows.loc[rows["chance"].notna(), ["task", "metric"]].drop_duplicates()
        main = pd.concat([known, main[~main["task"].isin(known["task"])]])
    first = main.sort_values("metric").drop_duplicates("task").set_index("task")["metric"]
    kept = rows[rows["metric"] == rows["task"].map(first)].reset_index(drop=True)
    kept.attrs = {}
    return kept


def transfer(scores: pd.DataFrame) -> pd.DataFrame:
    """Zero-shot rows between two different languages: what counts as transfer."""
    return scores[(scores["source"] != scores["target"]) & (scores["n_target"] == 0)]


def in_language(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows tested on the language they were fine-tuned on: never transfer."""
    return scores[(scores["source"] == scores["target"]) & (scores["n_target"] == 0)]


def gain(scores: pd.DataFrame, model: str, baseline: str) -> pd.DataFrame:
    """Score of `model` minus the same cell of `baseline` (mean over the baseline's seeds).

    Returns
    -------
    DataFrame
        The rows of `model` that have a counterpart, with ``baseline``, its standard error
        ``baseline_se``, and ``gain`` (-1..1).
    """
    mine, other = select(scores, model=model), select(scores, model=baseline)
    cell = [c for c in CELL if c != "model"]
    reference = cells(other).rename(columns={"score": "baseline", "se": "baseline_se"})
    out = mine.merge(reference[[*cell, "baseline", "baseline_se"]], on=cell, how="inner")
    if out.empty:
        raise ValueError(
            f"{model!r} and {baseline!r} share no cell (task, source, target, n_target, metric): "
            "score both on the same pairs"
        )
    noted = notes(scores)
    if len(out) < len(mine):
        noted.append(f"{len(mine) - len(out)} rows of {model} have no counterpart in {baseline}")
    out["gain"] = out["score"] - out["baseline"]
    out.attrs = {"notes": noted}
    return out


def _seed_variance(df: pd.DataFrame, variance: pd.Series, seeds: pd.Series) -> pd.Series:
    """A cell's variance over seeds, drawn towards its group's mean (as Smyth 2004, _PRIOR_DF).

    NaN where no cell of the group has two seeds.
    """
    own = (seeds - 1).clip(lower=0)
    parts = pd.DataFrame({"sum": variance.fillna(0) * own, "df": own})
    keys = [df[c] for c in ("model", "task", "metric", "n_target")]
    group = parts.groupby(keys, sort=False).transform("sum")
    pooled = group["sum"] / group["df"].where(group["df"] > 0)
    return (parts["sum"] + _PRIOR_DF * pooled) / (own + _PRIOR_DF)


def cells(scores: pd.DataFrame, value: str = "score") -> pd.DataFrame:
    """Mean over seeds of every cell, with its standard error.

    Parameters
    ----------
    scores
        A checked table; `value` names the column averaged (``score`` or ``gain``).

    Returns
    -------
    DataFrame
        `CELL` columns, the mean under the name `value`, ``n_seeds``, ``n_test``, ``se_seeds``,
        ``se_items``, ``se``, ``low``, ``high`` (95 %).

    Notes
    -----
    Where the seeds share their test items, ``se**2 = var_seeds / n_seeds + p (1 - p) / n_test``:
    the item part is not averaged away, and the sum is an upper bound. Where a column ``test_set``
    says that each of k test sets has items of its own, the item part falls with k, the differences
    between seeds hold it already, and the larger of the two parts is the error. A few seeds give a
    poor variance, so it is drawn towards the mean of its model, task and metric. A column
    ``stderr`` replaces the binomial item part. A part that cannot be estimated (one seed; no
    ``n_test``) is NaN and adds nothing to ``se``; without either, ``low`` and ``high`` are NaN.
    """
    df = scores.assign(_value=scores[value].astype(float), _items=scores["n_test"].astype(float))
    grouped = df.groupby(CELL, sort=True)
    out = grouped.agg(
        mean=("_value", "mean"),
        raw=("score", "mean"),
        variance=("_value", "var"),
        n_seeds=("seed", "nunique"),
        n_test=("_items", "mean"),
    ).reset_index()
    out["se_seeds"] = np.sqrt(_seed_variance(out, out["variance"], out["n_seeds"]) / out["n_seeds"])
    out["se_items"] = np.sqrt(out["raw"] * (1 - out["raw"]) / out["n_test"])
    if "stderr" in df.columns:
        given = grouped["stderr"].mean().to_numpy()
        out["se_items"] = np.where(np.isfinite(given), given, out["se_items"])
    sets = grouped[TEST_SET].nunique().to_numpy() if TEST_SET in df.columns else np.ones(len(out))
    out["n_test"] *= sets
    out["se_items"] /= np.sqrt(sets)
    parts = out[["se_seeds", "se_items"]]
    both = np.hypot(*parts.fillna(0.0).to_numpy().T)
    out["se"] = np.where(sets > 1, parts.max(axis=1).fillna(0.0), both)
    if value == "gain":
        out["se"] = np.hypot(out["se"], grouped["baseline_se"].mean().to_numpy())
    least = -1.0 if value == "gain" else 0.0
    half = 1.96 * out["se"].where(parts.notna().any(axis=1))
    out["low"] = (out["mean"] - half).clip(lower=least)
    out["high"] = (out["mean"] + half).clip(upper=1.0)
    return out.drop(columns=["raw", "variance"]).rename(columns={"mean": value})
