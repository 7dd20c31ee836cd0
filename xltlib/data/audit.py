"""What the public data are like: sizes, repeated texts, label balance, licence.

`audit` gives one row a task, language and split; `summary` one row a task and split, for a page.
``book/published/public_data.csv`` is the audit of the development copy (eleven tasks, every
language that it has): a page can show it where the data are not at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from xltlib.data import datasets
from xltlib.data.cards import VIEWS, Split, View
from xltlib.tasks.base import Example
from xltlib.tasks.metrics import spans_of

COLUMNS = {
    "task": "task",
    "language": "ISO 639-3 key",
    "split": "train, validation or test",
    "rows": "rows of the raw split",
    "read": "examples made of them (of this share, where one split is cut)",
    "kept": "examples after dropping",
    "later": "share of the examples read whose text a later split has too",
    "twice": "share of the examples kept whose text another kept one has too",
    "majority": "share of the most frequent label (of spans, tags or examples)",
    "characters": "median length of the text",
    "dropped": "reasons and counts",
    "licence": "as the data's authors state it",
    "source": "where it was read",
}


def majority(examples: Sequence[Example], view: View) -> float:
    """Share of the most frequent label; not a number for questions."""
    labels: Iterable[str] = ()
    if view.kind == "choice":
        labels = (e.fields["label"] for e in examples)
    elif view.spans:
        labels = (kind for e in examples for _, _, kind in spans_of(e.fields["tags"]))
    elif view.kind == "tags":
        labels = (tag for e in examples for tag in e.fields["tags"])
    counts = Counter(labels)
    return max(counts.values()) / counts.total() if counts else float("nan")


def one(task: str, language: str, split: Split) -> dict[str, object]:
    """The row of one split."""
    view, loaded = VIEWS[task], datasets.load(task, language, split)
    report, texts = (
        loaded.report,
        [datasets.text_of(e.fields, VIEWS[task]) for e in loaded.examples],
    )
    seen = Counter(texts)
    later = sum(n for why, n in report.drops.items() if why.startswith("text also in"))
    return {
        "task": task,
        "language": report.language,
        "split": split,
        "rows": report.rows,
        "read": report.read,
        "kept": report.kept,
        "later": later / report.read if report.against else float("nan"),
        "twice": sum(seen[t] > 1 for t in texts) / len(texts),
        "majority": majority(loaded.examples, view),
        "characters": float(pd.Series([len(t) for t in texts]).median()),
        "dropped": "; ".join(f"{why}: {n}" for why, n in report.drops.items()),
        "licence": report.licence,
        "source": report.source if "://" in report.source else "local copy",
    }


def audit(
    tasks: Sequence[str], languages: Sequence[str] = (), *, local: bool = True
) -> pd.DataFrame:
    """One row for each task, language and split (columns: `COLUMNS`).

    Parameters
    ----------
    tasks : sequence of str
    languages : sequence of str, optional
        All that each data set has, unless some are named.
    local : bool
        Only what ``XLT_DATA`` has; nothing is fetched.
    """
    rows = []
    for task in tasks:
        have = datasets.languages_of(task, local=local)
        for code in [c for c in have if not languages or c in languages]:
            rows += [one(task, code, s) for s in datasets.splits_of(task, code, local=local)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a task and split: how many languages, sizes and shares from least to most."""
    rows = []
    for (task, split), own in table.groupby(["task", "split"], sort=False):
        row: dict[str, object] = {"task": task, "split": split, "languages": len(own)}
        row |= {c: _range(own[c], "{:,.0f}") for c in ("read", "kept", "characters")}
        row |= {c: _range(100 * own[c], "{:.1f}") for c in ("later", "twice", "majority")}
        rows.append(row | {"licence": own["licence"].iloc[0]})
    percent = {"later": "later, %", "twice": "twice, %", "majority": "majority, %"}
    return pd.DataFrame(rows).rename(columns=percent)


def _range(values: pd.Series, form: str) -> str:
    """Least to most, or the one value; empty where there is none."""
    if values.notna().sum() == 0:
        return ""
    ends = [form.format(v) for v in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def write(table: pd.DataFrame, path: Path) -> None:
    """The audit as CSV, four digits."""
    from xltlib.data.fetch import write_whole

    write_whole(path, table.to_csv(index=False, float_format="%.4g").encode())
