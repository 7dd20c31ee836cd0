"""The scores table: one row per measured cell, and the only thing the analysis half ever reads.

Columns are listed in `SCHEMA`. `read` takes Parquet, CSV or TSV, tidy or as a wide source x target
matrix, and says aloud (warning and ``attrs["notes"]``) whatever it changed or dropped.
"""

from __future__ import annotations

import errno
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from xltlib.errors import unknown

__all__ = [
    "CELL",
    "KEY",
    "SCHEMA",
    "Column",
    "ScoresWarning",
    "atomic",
    "called",
    "cells",
    "check",
    "gain",
    "in_language",
    "notes",
    "one_metric",
    "read",
    "select",
    "transfer",
    "write",
]


@dataclass(frozen=True)
class Column:
    """One column of the scores table: its kind, its default (``None``: required), its meaning."""

    name: str
    kind: Literal["text", "code", "count", "share"]
    default: Any
    what: str


SCHEMA = (
    Column("model", "text", "model", "the model or the arm of an experiment"),
    Column("task", "text", "task", "the task"),
    Column("source", "code", None, "language of the fine-tuning data (ISO 639-3)"),
    Column("target", "code", None, "language of the test data (ISO 639-3)"),
    Column("n_target", "count", 0, "target-language training examples; 0 = zero-shot"),
    Column("seed", "count", 0, "seed of the run"),
    Column("metric", "text", "score", "what the score is: accuracy, f1, ..."),
    Column("score", "share", None, "the score, 0 to 1"),
    Column("n_test", "count", pd.NA, "test items behind the score; missing = unknown"),
)
CELL = ["model", "task", "source", "target", "n_target", "metric"]
KEY = ["model", "task", "source", "target", "n_target", "seed", "metric"]

ALIASES = {
    "source": ("src", "source_lang", "train_lang", "lang_train", "transfer_lang", "train", "pivot"),
    "target": ("tgt", "target_lang", "test_lang", "lang_pred", "task_lang", "test", "eval_lang"),
    "score": ("accuracy", "acc", "f1", "f1_score", "bleu", "las", "exact_match", "em", "value"),
    "model": ("model_id", "arm"),
    "task": ("task_name",),
    "n_target": ("shots", "n_shots", "k_shot"),
    "n_test": ("num_eval_examples", "n_eval", "test_size"),
}
SAME_UNIT = ("stderr", "chance")  # optional columns in the unit of the score
ROLES = ("source", "target", "score")
SETS = ["source_set", "target_set"]  # optional: which treebank of the language
UD_NAME = r"^UD_(.+)-(\w+)$"  # a treebank of Universal Dependencies
UD_CALLS = {  # languages that it calls otherwise than ISO 639-3
    "Abkhaz": "abk", "Apurina": "apu", "Assyrian": "aii", "Bororo": "bor", "Buryat": "bxr",
    "Cappadocian": "cpg", "Chukchi": "ckt", "Classical_Chinese": "lzh", "Gheg": "aln",
    "Guajajara": "gub", "Gwichin": "gwi", "Kiche": "quc", "Komi_Permyak": "koi",
    "Komi_Zyrian": "kpv", "Kurmanji": "kmr", "Makurap": "mpu", "Mbya_Guarani": "gun",
    "Munduruku": "myu", "Naija": "pcm", "North_Sami": "sme", "Old_East_Slavic": "orv",
    "Paumari": "pad", "Tupinamba": "tpn", "Xavante": "xav", "Zaar": "say",
}  # fmt: skip
TEST_SET = "test_set"  # optional: which test items; runs that do not say so share theirs
ILLEGAL = "illegal"  # share of outputs that are no answer: shown, never analysed
PRIOR_DF = 4  # weight of the group's seed variance beside a cell's own few seeds

Unknown = Literal["error", "drop"]
Wide = Literal["sources", "targets"]


class ScoresWarning(UserWarning):
    """Something in a scores table was changed or left out; the message says what."""


def notes(scores: pd.DataFrame) -> list[str]:
    """What reading and checking changed or dropped, in order, as sentences.

    A sentence on something dropped begins with how many.
    """
    return list(scores.attrs.get("notes", []))


def _say(note: str, said: list[str]) -> None:
    said.append(note)
    warnings.warn(note, ScoresWarning, stacklevel=3)


# -- checking -------------------------------------------------------------------------------------


def _some(values: Iterable[Any], most: int = 4) -> str:
    shown = [str(v) for v in values]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def _rename(df: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """Field-typical column names to ours; the metric is taken from the score's own name."""
    df = df.rename(columns={c: str(c).strip() for c in df.columns})
    lower = {str(c).lower(): c for c in df.columns}
    if len(lower) < len(df.columns):
        twice = [c for c in df.columns if lower[str(c).lower()] != c]
        raise ValueError(f"columns {_some(twice)} appear twice (case apart): rename or drop one")
    for name, others in ALIASES.items():
        found = [lower[o] for o in (name, *others) if o in lower]
        if name in df.columns or not found:
            continue
        # of several, one that says something: MT tables have 'target_lang' English in every row
        chosen = next((c for c in found if df[c].nunique() > 1), found[0])
        if name == "score" and "metric" not in lower and str(chosen).lower() != "value":
            df["metric"] = str(chosen).lower()
        if chosen != name:
            _say(f"column {chosen!r} read as {name!r}", said)
            df = df.rename(columns={chosen: name})
    return df


def _treebanks(df: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """``UD_Ancient_Greek-PROIEL`` as the language and which of its treebanks."""
    for side, part in zip(("source", "target"), SETS, strict=True):
        if part in df.columns or not df[side].astype(str).str.contains("UD_", regex=False).all():
            continue
        names = df[side].astype(str).str.strip().str.extract(UD_NAME)
        if names.notna().all(axis=None):
            _say(f"UD treebanks read as language ({side!r}) and treebank ({part!r})", said)
            called = names[0].replace(UD_CALLS).str.replace("_", " ")
            called = called.mask(names[1].str.startswith("Nynorsk"), "nno")  # of UD's Norwegian
            df = df.assign(**{side: called, part: names[1]})
    return df


def _number(column: pd.Series, name: str) -> pd.Series:
    """A column as floats; text in it is an error that names the row."""
    out = pd.to_numeric(column, errors="coerce").astype(float)
    if pd.api.types.is_numeric_dtype(column) and np.isfinite(out).all():
        return out
    text = column.astype("string").str.strip()
    gaps = text.isna() | text.str.lower().isin(["", "nan", "na", "n/a", "none", "-", "--"])
    bad = out.isna() & ~gaps
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{name} in row {row + 1} is {column.iloc[row]!r}, not a number "
            f"({int(bad.sum())} such rows): write numbers with a decimal point, leave unknown empty"
        )
    infinite = np.isinf(out)
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0])
        raise ValueError(f"{name} in row {row + 1} is infinite: correct it or leave it empty")
    return out


def _codes(df: pd.DataFrame, name: str, other: Unknown, said: list[str]) -> pd.DataFrame:
    """Any code form to ISO 639-3, each distinct code looked up once."""
    from xltlib.languages import iso3

    known: dict[Any, str] = {}
    lost: dict[Any, str] = {}
    for code in df[name].unique():
        try:
            if pd.isna(code) or not str(code).strip():
                raise ValueError(f"{name} is empty in some rows: fill in a language code")
            known[code] = iso3(str(code).strip())
        except ValueError as error:
            if other == "error":
                raise
            lost[code] = str(error)
    if lost:
        rows = df[name].isin(list(lost)) | df[name].isna()
        _say(f"{int(rows.sum())} rows dropped: {name} unknown ({_some(lost)})", said)
        df = df[~rows]
    return df.assign(**{name: df[name].map(known).astype(object)})


def _counts(df: pd.DataFrame, column: Column) -> pd.Series:
    values = _number(df[column.name], column.name)
    bad = values.notna() & ((values < 0) | (values != values.round()))
    if bad.any():
        raise ValueError(
            f"{column.name} must be a whole number from 0 up, found {values[bad].iloc[0]:g}: "
            f"{column.what}"
        )
    if column.default is pd.NA:
        return values.astype("Int64")
    return values.fillna(column.default).astype("int64")


def _typed(df: pd.DataFrame, unknown_codes: Unknown, said: list[str]) -> pd.DataFrame:
    """Every column of the schema, in its kind; rows without a score dropped (said)."""
    for name in ("score", *(c for c in SAME_UNIT if c in df.columns)):
        df[name] = _number(df[name], name)
    if df["score"].isna().any():
        _say(f"{int(df['score'].isna().sum())} rows without a score dropped", said)
        df = df[df["score"].notna()]
    for column in SCHEMA:
        if column.name not in df.columns:
            df[column.name] = column.default
            if column.default is not pd.NA:
                continue  # nothing of it to check
        if column.kind == "text":
            text = df[column.name].astype(object)
            df[column.name] = text.where(text.notna() & (text != ""), column.default).astype(str)
        elif column.kind == "count":
            df[column.name] = _counts(df, column)
        elif column.kind == "code":
            df = _codes(df, column.name, unknown_codes, said)
    return df


def _rescale(df: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """Per model, task and metric: 0..100 becomes 0..1, anything else outside 0..1 is an error."""
    groups = df.groupby(["model", "task", "metric"], sort=False)["score"]
    top, low, middle = (groups.transform(f) for f in ("max", "min", "median"))
    if (low < 0).any() or (top > 100).any():
        worst = df["score"].min() if (low < 0).any() else df["score"].max()
        raise ValueError(f"score {worst:g} is outside 0..1 (and 0..100): correct or remove the row")
    odd = ((top > 1 + 1e-9) & (top <= 1.5)) | ((top > 1.5) & (middle <= 1))
    if odd.any():
        task = df.loc[odd, "task"].iloc[0]
        raise ValueError(
            f"scores of task {task!r} reach {df.loc[odd, 'score'].max():g} with median "
            f"{middle[odd].iloc[0]:g}: 0..1 and 0..100 seem mixed; bring them to one scale"
        )
    percent = top > 1.5
    if percent.any():
        tasks = df.loc[percent, "task"].unique()
        _say(f"scores of {_some(tasks)} are on 0..100 and were divided by 100", said)
        df = df.copy()
        for name in ("score", *(c for c in SAME_UNIT if c in df.columns)):
            df.loc[percent, name] = df.loc[percent, name] / 100.0
    return df.assign(score=df["score"].clip(0.0, 1.0))


def _unique(df: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    key = KEY + [c for c in SETS if c in df.columns]
    repeats = df.duplicated([*key, "score"])
    if repeats.any():
        _say(f"{int(repeats.sum())} exact repeats of a cell dropped", said)
        df = df[~repeats]
    twice = df.duplicated(key, keep=False)
    if twice.any():
        first = df[twice].sort_values(key, kind="stable").iloc[:2]
        cell = ", ".join(f"{k}={first[k].iloc[0]}" for k in key)
        scores = " and ".join(f"{s:g}" for s in first["score"])
        raise ValueError(
            f"{int(twice.sum())} rows measure the same cell with different scores, first "
            f"{cell}: {scores}. Number repeated runs in a 'seed' column; name the treebanks or "
            "data sets of one language in columns 'source_set' and 'target_set'; or keep one row "
            "per cell"
        )
    return df


def check(scores: pd.DataFrame, unknown_codes: Unknown = "error") -> pd.DataFrame:
    """A scores table in its one canonical form, or a ValueError that names the cure.

    Parameters
    ----------
    scores
        At least ``source``, ``target``, ``score`` (common other names are understood); missing
        columns of `SCHEMA` take their defaults, other columns are kept.
    unknown_codes
        ``"error"`` or ``"drop"`` rows whose language is not known (said aloud).

    Returns
    -------
    DataFrame
        Columns of `SCHEMA` first, ISO 639-3 codes, scores in 0..1, sorted by `KEY`;
        ``attrs["notes"]`` holds what was changed.
    """
    if unknown_codes not in get_args(Unknown):
        raise unknown("unknown_codes", unknown_codes, get_args(Unknown), "choose one of them")
    said = notes(scores)
    df = _rename(scores.copy(), said)
    missing = [c.name for c in SCHEMA if c.default is None and c.name not in df.columns]
    if missing:
        raise ValueError(
            f"the scores table has no column {_some(missing)} (it has {_some(df.columns, 12)}): "
            "rename yours to source, target, score"
        )
    df = _typed(_treebanks(df, said), unknown_codes, said)
    if df.empty:
        raise ValueError("the scores table has no usable row: give it at least one measured cell")
    df = _unique(_rescale(df, said), said)
    names = [c.name for c in SCHEMA]
    df = df[names + [c for c in df.columns if c not in names]]
    order = KEY + [c for c in SETS if c in df.columns]
    df = df.sort_values(order, kind="stable").reset_index(drop=True)
    df.attrs = {"notes": said}
    return df


# -- reading and writing --------------------------------------------------------------------------


def _load(path: Path) -> pd.DataFrame:
    """The file as it stands; a damaged one is a ValueError."""
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise ValueError(f"{path} is empty: write the scores again, or rerun what made it")
    try:
        if head == b"PAR1":
            return pd.read_parquet(path)
        if path.suffix.lower() in {".parquet", ".pq"}:
            raise ValueError("it does not begin as a Parquet file does")
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        separator = max("\t;,", key=first.count)
        return pd.read_csv(path, sep=separator, encoding="utf-8-sig", keep_default_na=False)
    except (ValueError, OSError, UnicodeError) as error:
        raise ValueError(
            f"{path} cannot be read as a table ({str(error).splitlines()[0]}): it may be damaged "
            "or cut short; write it again as CSV or Parquet, or rerun what made it"
        ) from None
    except Exception as error:  # pyarrow has its own family of errors for damaged files
        if type(error).__module__.split(".")[0] != "pyarrow":
            raise
        raise ValueError(
            f"{path} is a damaged Parquet file: delete it and rerun what made it"
        ) from None


def _named(column: Any, role: str) -> bool:
    return str(column).strip().lower() in (role, *ALIASES[role])


def _is_wide(df: pd.DataFrame) -> bool:
    """A matrix names at most its rows, in the first column; all other heads are languages."""
    first, *rest = df.columns
    if len(rest) < 2 or any(_named(c, role) for c in rest for role in ROLES):
        return False
    return not any(_named(first, role) for role in ROLES) or _languages(rest)


def _languages(heads: Iterable[Any]) -> bool:
    """Whether most of these are languages."""
    from xltlib.languages import iso3

    def known(head: Any) -> bool:
        try:
            return bool(iso3(str(head)))
        except ValueError:
            return False

    found = [known(h) for h in heads]
    return sum(found) > len(found) / 2


def _melt(df: pd.DataFrame, rows: Wide) -> pd.DataFrame:
    """A matrix with its row labels in the first column, as source, target, score."""
    columns = "target" if rows == "sources" else "source"
    labels = df.columns[0]
    long = df.melt(id_vars=[labels], var_name=columns, value_name="score")
    long = long.rename(columns={labels: rows[:-1]})
    return long[["source", "target", "score"]]


def read(
    path: str | os.PathLike[str], rows: Wide = "sources", unknown_codes: Unknown = "error"
) -> pd.DataFrame:
    """Read and `check` a scores table: Parquet, CSV or TSV, tidy or wide.

    A file without source and target columns is taken as a matrix whose first column names the
    rows; `rows` says whether these are the sources or the targets, unless the head of that column
    does. Names of treebanks (``UD_Ancient_Greek-PROIEL``) are a language and one of its sets.
    """
    if rows not in get_args(Wide):
        raise unknown("rows", rows, get_args(Wide), "say what the rows of the matrix are")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"no scores file {file}: check the path, or run the experiment first")
    df = _load(file)
    if df.shape[0] == 0 or df.shape[1] < 2:
        raise ValueError(
            f"{file} holds no table of scores: it needs the columns source, target, score"
        )
    if _is_wide(df):
        for role, stated in (("source", "sources"), ("target", "targets")):
            rows = stated if _named(df.columns[0], role) else rows  # type: ignore[assignment]
        df = _melt(df, rows)
        df.attrs["notes"] = [f"{file.name} read as a matrix, its rows being {rows}"]
    return check(df, unknown_codes)


def _store(df: pd.DataFrame, suffix: str, path: str) -> None:
    if suffix == ".csv":
        df.to_csv(path, index=False, lineterminator="\n")
    else:
        df.to_parquet(path, index=False, engine="pyarrow", compression="zstd")


def atomic(path: Path, store: Callable[[str], None]) -> None:
    """Let `store` write to a temporary name in the same folder, then put it in place in one step.

    A failure leaves the old file as it was; an OSError says why and what to do.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        store(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        cures = {
            errno.ENOSPC: "the disk is full: free some space and run again",
            errno.EDQUOT: "your disk quota is used up: free some space and run again",
            errno.EROFS: "the folder is read-only: choose another place to write to",
            errno.EACCES: "you may not write there: choose another folder or its permissions",
            errno.EPERM: "you may not write there: choose another folder or its permissions",
        }
        cure = cures.get(error.errno or 0, error.strerror or str(error))
        raise OSError(error.errno, f"cannot write {path}: {cure}") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def write(scores: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Check and write a scores table (``.parquet`` or ``.csv``); same table, same bytes.

    Rows are sorted, the file appears whole or not at all, and what cannot be written says why.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise unknown("file ending", suffix, [".parquet", ".csv"], "name the file accordingly")
    df = check(scores)
    names = [c.name for c in SCHEMA]
    df = df[names + sorted(c for c in df.columns if c not in names)]
    df.attrs = {}
    atomic(file, lambda temporary: _store(df, suffix, temporary))
    return file


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
    said = notes(scores)
    if len(out) < len(mine):
        said.append(f"{len(mine) - len(out)} rows of {model} have no counterpart in {baseline}")
    out["gain"] = out["score"] - out["baseline"]
    out.attrs = {"notes": said}
    return out


def _seed_variance(df: pd.DataFrame, variance: pd.Series, seeds: pd.Series) -> pd.Series:
    """A cell's variance over seeds, drawn towards its group's mean (as Smyth 2004, PRIOR_DF)."""
    own = (seeds - 1).clip(lower=0)
    parts = pd.DataFrame({"sum": variance.fillna(0) * own, "df": own})
    keys = [df[c] for c in ("model", "task", "metric", "n_target")]
    group = parts.groupby(keys, sort=False).transform("sum")
    pooled = (group["sum"] / group["df"].where(group["df"] > 0)).fillna(0.0)
    return (parts["sum"] + PRIOR_DF * pooled) / (own + PRIOR_DF)


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
    ``stderr`` replaces the binomial item part. What is unknown counts as 0.
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
    out["se_items"] = (out["se_items"] / np.sqrt(sets)).fillna(0.0)
    both = np.hypot(out["se_seeds"], out["se_items"])
    out["se"] = np.where(sets > 1, np.maximum(out["se_seeds"], out["se_items"]), both)
    if value == "gain":
        out["se"] = np.hypot(out["se"], grouped["baseline_se"].mean().to_numpy())
    floor = -1.0 if value == "gain" else 0.0
    out["low"] = (out["mean"] - 1.96 * out["se"]).clip(lower=floor)
    out["high"] = (out["mean"] + 1.96 * out["se"]).clip(upper=1.0)
    return out.drop(columns=["raw", "variance"]).rename(columns={"mean": value})
