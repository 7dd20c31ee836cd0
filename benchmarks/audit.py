"""What the public data are like: sizes, repeated texts, label balance, licence.

    XLT_DATA=... python benchmarks/audit.py --out book/published/public_data.csv [--tasks xnli ...]

One row a task, language and split of the copy under ``XLT_DATA``, for pages that are made where the
data are not at hand.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from xltlib.data import Example, datasets
from xltlib.data.cards import VIEWS, Split, View
from xltlib.io import write_text
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


def _majority(examples: tuple[Example, ...], view: View) -> float:
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


def _row(task: str, language: str, split: Split) -> dict[str, object]:
    """The row of one split."""
    view, loaded = VIEWS[task], datasets.load(task, language, split)
    texts = [datasets.text_of(e.fields, VIEWS[task]) for e in loaded.examples]
    seen = Counter(texts)
    later = sum(n for why, n in loaded.drops.items() if why.startswith("text also in"))
    return {
        "task": task,
        "language": loaded.language,
        "split": split,
        "rows": loaded.rows,
        "read": loaded.read,
        "kept": len(loaded.examples),
        "later": later / loaded.read if loaded.against else float("nan"),
        "twice": sum(seen[t] > 1 for t in texts) / len(texts),
        "majority": _majority(loaded.examples, view),
        "characters": float(pd.Series([len(t) for t in texts]).median()),
        "dropped": "; ".join(f"{why}: {n}" for why, n in loaded.drops.items()),
        "licence": loaded.licence,
        "source": loaded.source if "://" in loaded.source else "local copy",
    }


def audit(tasks: Sequence[str]) -> pd.DataFrame:
    """A row (`COLUMNS`) for every split of every language of some tasks."""
    rows = [
        _row(task, code, split)
        for task in tasks
        for code in datasets.languages_of(task, local=True)
        for split in datasets.splits_of(task, code, local=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main() -> None:
    """Write the table, four digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="*", default=list(VIEWS), choices=list(VIEWS))
    given = parser.parse_args()
    write_text(given.out, audit(given.tasks).to_csv(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()
