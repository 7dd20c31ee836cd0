"""What a kept encoder matrix says: the slow figures of its chapters, kept beside its scores.

    XLT_DATA=… python benchmarks/matrix.py book/published/matrix --outputs build/matrix

From the scores in the folder, and the public texts under ``XLT_DATA``, are made there: lexical
similarity of the training texts of SIB-200 (``lexical.parquet``: numbers, no text) and every table
of `xltlib.book.analyze`, task by task. From the outputs of a finished run, and the answers in the
public data: the halves of the test items and what the most frequent label scores. A task that is
not there yet is left out; one whose scores have not changed is not analysed again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from evidence import PARTS, gathered, keep, of_words

from xltlib import reading, scores
from xltlib.book.analyze import analyze
from xltlib.book.inputs import LEXICAL
from xltlib.data import datasets
from xltlib.explain.observations import reliability
from xltlib.io import write_table
from xltlib.languages import similarity
from xltlib.train.config import Experiment, load
from xltlib.train.plan import Place, Run, runs
from xltlib.train.probe import reading_of
from xltlib.train.worker import Worker

TEXTS = "sib200"  # the same sentences in 205 varieties
HALVES = (0, 1)  # seeds: training examples of the one half and of the other


def lexical(codes: list[str]) -> pd.DataFrame:
    """Lexical similarity of the training texts of `TEXTS`, one direction."""
    texts = {c: [str(e.fields["text"]) for e in datasets.load(TEXTS, c, "train").examples]
             for c in codes}  # fmt: skip
    pairs = similarity.pairs(codes, measures=[LEXICAL], texts=texts)
    return pairs[pairs["source"] < pairs["target"]].astype({LEXICAL: np.float32})


def analysed(table: pd.DataFrame, own: pd.DataFrame, task: str) -> dict[str, object]:
    """Every figure of one task as plain lists, and how long they took (`evidence.of_matrix`)."""
    began = time.perf_counter()
    found = analyze(table, own, task=task, progress=True)
    one = found.analyses[0]
    labels = {"matrix": task, "data": data_of(task), "task": one.task, "model": one.model}
    about = (
        labels
        | {"metric": one.metric}
        | one.level
        | one.counts
        | one.whole
        | {"warnings": "; ".join(one.warnings)}
    )
    parts = {p: getattr(one, p).assign(matrix=task).to_dict("records") for p in PARTS}
    words = of_words(task, table[table["task"] == task], own)
    return {"about": about | {"seconds": time.perf_counter() - began}, **parts, "words": words}


def data_of(task: str) -> str:
    """The data set of a task without its release, as in `published`."""
    return re.sub(r" [\d.]+$", "", datasets.card_of(task).title.split(",")[0])


# ---------------------------------------------------------------- from outputs


def item_halves(exp: Experiment, task: str, done: list[Run]) -> Iterator[tuple[object, ...]]:
    """Scores on the one half of the test items with seed 0, on the other with seed 1."""
    worker, of = Worker(exp), exp.task(task)
    for run in done:
        outputs = pd.read_parquet(Place(exp).outputs(run))
        for target, cell in outputs[outputs["n_target"] == 0].groupby("target"):
            tests = worker.tests(task, str(target), run.seed)
            pairs = zip(tests, cell["output"], strict=True)
            own = [(e, out) for e, out in pairs if half_of(e.id) == run.seed]
            found = of.evaluate([out for _, out in own], [e for e, _ in own])[of.metric]
            yield run.model, task, run.source, target, run.seed, of.metric, found.score, run.seed


def half_of(item: str) -> int:
    """0 or 1, the same for one item in every language."""
    return hashlib.sha256(item.encode()).digest()[0] % 2


def most_frequent(exp: Experiment, task: str) -> Iterator[tuple[str, str, float]]:
    """(task, target, share) of the label most frequent in a target's test; none for spans."""
    worker, reading = Worker(exp), reading_of(exp.task(task))
    if exp.task(task).metric != "accuracy":
        return
    for target in exp.tasks[task].targets:
        tests = worker.tests(task, target, exp.seeds[0])
        counts = Counter(label for e in tests for label in reading.labels(e))
        yield task, target, max(counts.values()) / counts.total()


def from_outputs(exp: Experiment, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reliability of each finished task, and its most frequent labels."""
    names = ["model", "task", "source", "target", "seed", "metric", "score", scores.HALF]
    found, frequent = [], []
    for task in exp.tasks:
        done = [r for r in runs(exp) if (r.task, r.condition) == (task, "pretrained")]
        done = [r for r in done if r.seed in HALVES]
        if not all(Place(exp).run(r).is_file() for r in done):
            continue
        if not (path := work / f"halves-{task}.parquet").is_file():
            rows = pd.DataFrame(item_halves(exp, task, done), columns=names)
            write_table(rows.assign(n_target=0), path)
        found.append(reliability(pd.read_parquet(path)))
        frequent += most_frequent(exp, task)
    both = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return both, pd.DataFrame(frequent, columns=["task", "target", "score"])


def write(table: pd.DataFrame, path: Path) -> None:
    table.drop(columns="seconds", errors="ignore").to_csv(
        path, index=False, float_format="%.5g", lineterminator="\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where scores.parquet is kept, named after NAME")
    parser.add_argument("--outputs", action="store_true", help="of a finished run: halves, labels")
    parser.add_argument("--work", type=Path, default=Path("build/analysed"), help="half-way files")
    chosen = parser.parse_args()
    exp, folder = load(chosen.folder.name), chosen.folder
    table = scores.read(folder / "scores.parquet")
    table = scores.select(table, model=exp.model.label)
    if not (words := folder / "lexical.parquet").is_file():
        write_table(lexical(sorted(exp.languages)), words)
    own, files = reading.pairs(words), []
    for task, rows in sorted(table.groupby("task"), key=lambda group: len(group[1])):
        if rows["source"].nunique() < 6:  # too few to explain anything
            continue
        digest = hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
        files.append(chosen.work / f"{task}-{digest.hexdigest()[:12]}.json")
        if not files[-1].is_file():
            keep(files[-1], analysed(rows, own, str(task)))
            print(task, flush=True)
        write(gathered(files, "about"), folder / "matrices.csv")
        for part in (*PARTS, "words"):
            write(gathered(files, part), folder / f"{part}.csv")
    if chosen.outputs:
        halves, frequent = from_outputs(exp, chosen.work)
        write(halves, folder / "reliability.csv")
        write(frequent, folder / "most_frequent.csv")
    seconds = [json.loads(f.read_text(encoding="utf-8"))["about"]["seconds"] for f in files]
    print(f"{len(files)} tasks, {sum(seconds):.0f} s of analysis")


if __name__ == "__main__":
    main()
