"""The made-up examples on the cards of the data sets: what their pages show.

No sentence of them is from a data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from xltlib.data.datasets import view_of
from xltlib.tasks.base import Example
from xltlib.tasks.public import public_task


def samples(task: str) -> list[Example]:
    """The made-up examples of a task, one or more languages."""
    return [example for example, _ in _with_outputs(task)]


def _with_outputs(task: str) -> Iterator[tuple[Example, Sequence[tuple[str, str]]]]:
    """Each example with (what a model might say to it, what to look at)."""
    for i, sample in enumerate(view_of(task).samples):
        fields = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in sample.items()
            if name not in ("language", "outputs")
        }
        yield Example(str(i), sample["language"], fields), sample.get("outputs", ())


def _in_words(example: Example) -> str:
    """An example as its data set has it, in words."""
    shown = {k: " ".join(v) if isinstance(v, tuple) else v for k, v in example.fields.items()}
    return "; ".join(f"{key}: {value}" for key, value in shown.items())


def worked(tasks: Sequence[str]) -> pd.DataFrame:
    """``task, language, raw, input, target`` of every made-up example, by the tasks' own code."""
    rows = [
        (task, e.language, _in_words(e), *public_task(task).preprocess(e))
        for task in tasks
        for e in samples(task)
    ]
    return pd.DataFrame(rows, columns=["task", "language", "raw", "input", "target"])


def judged(tasks: Sequence[str]) -> pd.DataFrame:
    """``task, target, output, scores, legal, note`` of outputs that a model might give."""
    rows = []
    for task in tasks:
        of = public_task(task)
        for example, outputs in _with_outputs(task):
            for output, note in outputs:
                found = of.evaluate([output], [example])
                scores = (f"{m.replace('_', ' ')} {found[m].score:.2f}" for m in of.metrics)
                legal = "no" if found["illegal"].score else "yes"
                target = of.preprocess(example)[1]
                rows.append((task, target, output, ", ".join(scores), legal, note))
    return pd.DataFrame(rows, columns=["task", "target", "output", "scores", "legal", "note"])
