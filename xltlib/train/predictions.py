"""What an encoder's experiment answered, kept small: item ids and labels, never text.

A folder of kept predictions holds four files:

* ``scores.parquet``: the main metric of every cell (`xltlib.scores`), in its order.
* ``layers.parquet``: the score of every layer, where it was measured (float32).
* ``predictions.parquet``: a row an item, ``task, target, id, n, labels``. ``labels`` are bytes, of
  the layer that was chosen: (n, cells), where cell j is the j-th row of ``scores.parquet`` of that
  task and target. Of a text n is 1 and of tagged words their number, a byte a prediction: its
  place in the task's ``labels``. Of a question n is 2, the first character of the answer in the
  context and the one past its last, two bytes each, the lower one first. ``correct``, where an
  answer is right or wrong (n is 1), is a bit a cell: whether it is right.
* ``run.json``: ``labels`` by task, settings, packages, a row a run with the layer that it chose,
  and ``illegal``, the share of outputs that are no answer: ``[model, task, share]``.

Equal items of all sources and seeds are side by side, so that little is left of them packed.
"""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.parquet
from tqdm.auto import tqdm

from xltlib import scores
from xltlib.data import MAX_WORDS, Example
from xltlib.errors import unknown
from xltlib.io import sha256, whole, write_text
from xltlib.models import E5
from xltlib.tasks.base import Task, numbered, read_numbered, simplified
from xltlib.tasks.metrics import Span, read_entities
from xltlib.train import plan
from xltlib.train.config import Encoder, Experiment
from xltlib.train.plan import Place, Run, layers_of
from xltlib.train.probe import answers, reading_of
from xltlib.train.run import layer_scores, read_run, table_of
from xltlib.train.worker import Worker

_TABLES = ("scores", "layers", "predictions")
_TRAINED_ON = {
    E5: "unannotated text of about a hundred languages (distilled from XLM-R); then a billion "
    "pairs of texts, translations among them, and labelled pairs for retrieval (Wang et al. 2024)"
}
_CELL = ["model", "source", "n_target", "seed"]
_TEXTS = ["model", "task", "source", "target"]
_Labels = npt.NDArray[np.uint16]


# ---------------------------------------------------------------- output text <-> labels


@dataclass
class Coder:
    """Output texts of a task as numbers, and back.

    Attributes
    ----------
    labels
        Those of the task so far; one that is new is added.
    """

    task: Task
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reading = reading_of(self.task)
        self.places = {label: i for i, label in enumerate(self.labels)}
        self.numbered = "place_f1" not in self.task.metrics  # a tag a word, no list of entities
        self.dtype = np.dtype("<u2" if self.reading.unit == "pair" else "u1")

    def numbers(self, example: Example, output: str) -> tuple[int, ...]:
        """(n,) of one output; the text can be written again of it.

        Raises
        ------
        ValueError
            It is not what a probe answers, or there are more labels than a byte can tell apart.
        """
        if self.reading.unit == "pair":
            found = _place(example, output, self.reading.write)
        else:
            named = self._named(example, output)
            found = tuple(self.places.setdefault(label, len(self.places)) for label in named)
            self.labels = list(self.places)
        most = np.iinfo(self.dtype).max
        if max(found, default=0) > most or self.text(example, found) != output:
            raise ValueError(
                f"{self.task.name} {example.language} {example.id}: this output is no label of "
                f"0 to {most} or span of the context, so it cannot be kept: run the part again"
            )
        return found

    def _named(self, example: Example, output: str) -> Sequence[str]:
        if self.reading.unit == "text":
            return [output]
        n = len(example.fields["words"])
        if self.numbered:
            tags = read_numbered(output)[1]
            return [tags.get(i, "") for i in range(min(n, MAX_WORDS))]
        return simplified(n, _in_order(read_entities(output, True), example.fields["words"]))

    def text(self, example: Example, found: Sequence[int]) -> str:
        """The output text that numbers stand for."""
        if self.reading.unit == "pair":
            return self.reading.write(example, [example.fields["context"][slice(*found)]])
        named = [self.labels[i] for i in found]
        if self.reading.unit == "text":
            return named[0]
        return numbered(named) if self.numbered else self.reading.write(example, named)


def _in_order(entities: Sequence[tuple[str, str]], words: Sequence[str]) -> list[Span]:
    """Where entities that stand in the order of the words stand.

    >>> _in_order([("PER", "b"), ("LOC", "a b")], ["b", "c", "a", "b"])
    [(0, 1, 'PER'), (2, 4, 'LOC')]
    """
    found, at = [], 0
    for kind, text in entities:
        wanted = text.split(" ")
        n = len(wanted)
        starts = range(at, len(words) - n + 1)
        start = next((i for i in starts if list(words[i : i + n]) == wanted), len(words))
        at = start + n
        found += [(start, at, kind)] if at <= len(words) else []
    return found


def _place(
    example: Example, output: str, write: Callable[[Example, Sequence[str]], str]
) -> tuple[int, ...]:
    """(first character, past the last) of an answer in its context, whatever its spaces."""
    context, bare = example.fields["context"], "".join(output.split())
    at = [i for i, char in enumerate(context) if not char.isspace()]
    squeezed, start = "".join(context[i] for i in at), -1
    while bare and (start := squeezed.find(bare, start + 1)) >= 0:
        span = at[start], at[start + len(bare) - 1] + 1
        if write(example, [context[slice(*span)]]) == output:
            return span
    return 0, 0


# ---------------------------------------------------------------- keeping


def keep(exp: Experiment, folder: Path, *, partial: bool = False) -> dict[str, int]:
    """Write scores, layers, predictions and ``run.json`` of an experiment; the size of each file.

    Parameters
    ----------
    partial
        Of an experiment at work those tasks that are finished.

    Raises
    ------
    ValueError
        It is not about an encoder, a run is missing, or an output that is no label of its task.
    """
    if not isinstance(exp.model, Encoder):
        raise ValueError(f"{exp.name}: predictions of model kind {exp.model.kind!r} are not kept "
                         "so; take an experiment of kind: encoder")  # fmt: skip
    listed, records = plan.runs(exp), dict[str, dict[str, Any]]()
    for run in listed:
        if record := read_run(Place(exp).run(run)):
            records[run.key] = record
    missing = [run for run in listed if run.key not in records]
    tasks = [task for task in exp.tasks if not (partial and task in {r.task for r in missing})]
    if not tasks or (missing and not partial):
        raise ValueError(
            f"{len(missing)} runs of {exp.name} are missing, first {missing[0].label!r}: finish "
            f"them with `xlt run {exp.name}`, or keep the finished tasks with --partial"
        )
    kept = [run for run in listed if run.task in tasks]
    measured = scores.check(table_of([r for run in kept for r in records[run.key]["scores"]]))
    table = scores.one_metric(measured)
    worker, labels = Worker(exp), dict[str, list[str]]()
    rows = [row for task in tasks for row in _predicted(worker, task, kept, table, labels)]
    layered = layer_scores(exp)
    layered = layered[layered["task"].isin(tasks)].astype({"score": "float32"})
    _write(table, _path(folder, "scores"))
    _write(layered, _path(folder, "layers"))
    names = ["task", "target", "id", "n", "labels", "correct"]
    _write(pd.DataFrame(rows, columns=names), _path(folder, "predictions"))
    about = _about(exp, [records[run.key] for run in kept]) | {"labels": labels}
    none = measured[measured["metric"] == scores.ILLEGAL].groupby(["model", "task"])["score"]
    about["illegal"] = none.mean().round(5).reset_index().to_numpy().tolist()
    about["sha256"] = {name: sha256(_path(folder, name)) for name in _TABLES}
    last = write_text(folder / "run.json", json.dumps(about) + "\n")  # it vouches for the others
    files = [*(_path(folder, name) for name in _TABLES), last]
    return {file.name: file.stat().st_size for file in files}


def _predicted(
    worker: Worker,
    task: str,
    kept: Sequence[Run],
    table: pd.DataFrame,
    labels: dict[str, list[str]],
) -> Iterator[tuple[str, str, str, int, bytes, bytes | None]]:
    """Rows of ``predictions.parquet`` of one task; its labels are added to `labels`."""
    coder, made = Coder(worker.exp.task(task)), {}
    own = table[table["task"] == task]
    cells = own[["target", *_CELL]].itertuples(index=False, name=None)
    column = dict(zip(cells, own.groupby("target").cumcount(), strict=True))  # of predictions
    columns = own["target"].value_counts()
    known: dict[str, list[dict[str, tuple[int, ...]]]] = {}
    for run in tqdm([r for r in kept if r.task == task], desc=f"keeping {task}", mininterval=2):
        outputs = pd.read_parquet(worker.place.outputs(run))
        for (code, n), cell in outputs.groupby(["target", "n_target"], sort=False):
            target, tests = str(code), worker.tests(task, str(code), 0)
            _same_items(task, target, cell["id"], tests)
            seen = known.setdefault(target, [{} for _ in tests])
            flat: list[int] = []
            for example, before, output in zip(tests, seen, cell["output"], strict=True):
                if output not in before:
                    before[output] = coder.numbers(example, output)
                flat += before[output]
            if target not in made:
                made[target] = np.zeros((len(flat), columns[target]), coder.dtype)
            made[target][:, column[target, run.model, run.source, n, run.seed]] = flat
    labels[task] = coder.labels
    for target, matrix in made.items():
        sizes = [len(next(iter(before.values()))) for before in known[target]]
        parts = np.split(matrix, np.cumsum(sizes)[:-1])
        for example, size, part in zip(worker.tests(task, target, 0), sizes, parts, strict=True):
            correct = _correct(coder, example, part[0]) if coder.reading.unit == "text" else None
            yield task, target, example.id, size, part.tobytes(), correct


def _correct(coder: Coder, example: Example, found: _Labels) -> bytes:
    """Whether each of the answers (cells,) to an item is right, a bit each."""
    task, right = coder.task, np.zeros(len(coder.labels), dtype=bool)
    for i in np.unique(found):
        answer = task.postprocess(coder.text(example, (int(i),)), example)
        right[i] = task.metrics[task.metric](answer, example)[0] > 0
    return np.packbits(right[found]).tobytes()


def _same_items(task: str, target: str, ids: Iterable[str], tests: Sequence[Example]) -> None:
    if list(ids) != [e.id for e in tests]:
        raise ValueError(
            f"{task} {target}: the test items are not those that were answered; take the data and "
            "the settings that run.json names"
        )


def _write(table: pd.DataFrame, path: Path) -> None:
    made = pyarrow.Table.from_pandas(table, preserve_index=False)
    dictionary = [name for name in table.columns if name not in ("labels", "correct")]
    with whole(path) as temporary:
        pyarrow.parquet.write_table(
            made, temporary, compression="zstd", compression_level=19, use_dictionary=dictionary,
            data_page_size=1 << 24, row_group_size=1 << 22, write_statistics=False,
        )  # fmt: skip


def _about(exp: Experiment, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What made the predictions: settings, versions, the machine, and each run's choice."""
    from xltlib.models import compute  # torch

    assert isinstance(exp.model, Encoder)
    settings = exp.model_dump(mode="json", exclude={"notebooks", "data", "pretrain", "text"})
    columns = ["key", "model", "task", "source", "seed", "layer", "penalty", "validation"]
    rows = [[(r | r["run"]).get(c) for c in columns] + [round(r["seconds"], 1)] for r in records]
    where = compute.device().type
    return {
        "experiment": exp.name,
        "trained_on": _TRAINED_ON.get(exp.model.name, "see the model's card"),
        "settings": settings,
        "stages": plan.STAGES,
        "packages": plan.versions(exp.model.packages),
        "machine": {
            "processor": platform.machine(),
            "device": where,
            "arithmetic": compute.arithmetic(where, "bfloat16"),
        },
        "seconds": round(sum(r["seconds"] for r in records)),
        "runs": {"columns": [*columns, "seconds"], "rows": rows},
    }


# ---------------------------------------------------------------- checking


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"


def _read(folder: Path) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """``run.json``, scores and predictions that `keep` wrote.

    Raises
    ------
    ValueError
        A file is not there, or it is not the one that was written.
    """
    try:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        wrong = [n for n in _TABLES if sha256(_path(folder, n)) != about["sha256"][n]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{folder} holds no kept predictions, or part of them ({error}): give a folder that "
            "`xlt keep NAME FOLDER` wrote"
        ) from error
    if wrong:
        raise ValueError(
            f"{_path(folder, wrong[0])} is damaged: its bytes are not those that run.json names; "
            "fetch the folder again, or write it with `xlt keep NAME FOLDER`"
        )
    table, kept = (pd.read_parquet(_path(folder, name)) for name in ("scores", "predictions"))
    return about, table, kept


def items(folder: Path, task: str) -> pd.DataFrame:
    """Each answer as a row, right or wrong: what test items contribute to an error.

    Returns
    -------
    DataFrame
        ``model, task, source, target, n_target, seed, item, score`` (1 right, 0 wrong); texts are
        categories, as the rows are many.

    Raises
    ------
    ValueError
        The folder keeps no right and wrong of the task.
    """
    _, table, kept = _read(folder)
    own = kept[kept["task"] == task]
    if "correct" not in own or own.empty or own["correct"].isna().any():
        raise ValueError(
            f"{folder} does not say which answers of {task!r} are right: keep it again with "
            "`xlt keep NAME FOLDER`; a task scored by F1 has no right and wrong by item"
        )
    parts, names = [], pd.CategoricalDtype(sorted(set(own["id"].astype(str))))
    table = table[table["task"] == task]
    table = table.assign(**{c: table[c].astype("category") for c in _TEXTS})
    for target, rows in own.groupby("target", observed=True, sort=False):
        cells = table[table["target"] == target]
        bits = np.frombuffer(b"".join(rows["correct"]), np.uint8).reshape(len(rows), -1)
        right = np.unpackbits(bits, axis=1, count=len(cells))
        long = cells.loc[cells.index.repeat(len(rows)), ["task", "target", *_CELL]]
        codes = np.tile(pd.Categorical(rows["id"].astype(str), dtype=names).codes, len(cells))
        item = pd.Categorical.from_codes(codes, dtype=names)
        parts.append(long.assign(item=item, score=right.T.ravel().astype(float)))
    return pd.concat(parts, ignore_index=True)


def labels(folder: Path, task: str) -> dict[str, tuple[list[str], pd.DataFrame, npt.NDArray[Any]]]:
    """What was answered, of a task with a label a text or a word.

    Returns
    -------
    dict
        Target -> (the item of each row; ``model, source, n_target, seed`` of the cells; labels,
        (rows, cells)). Of a text there is a row, of tagged words a row a word, in their order.

    Raises
    ------
    ValueError
        The folder keeps no labels of the task.
    """
    about, table, kept = _read(folder)
    if task not in about["labels"] or (own := kept[kept["task"] == task]).empty:
        tasks = [str(t) for t in kept["task"].unique()]
        raise unknown("task", task, tasks, f"{folder} keeps these")
    names = np.array(about["labels"][task])
    found: dict[str, tuple[list[str], pd.DataFrame, npt.NDArray[Any]]] = {}
    for target, rows in own.groupby("target", observed=True, sort=False):
        cells = table.loc[(table["task"] == task) & (table["target"] == target), _CELL]
        numbers = np.frombuffer(b"".join(rows["labels"]), np.uint8).reshape(-1, len(cells))
        of = np.repeat(rows["id"].astype(str).to_numpy(), rows["n"].to_numpy()).tolist()
        found[str(target)] = of, cells, names[numbers]
    return found


def check(exp: Experiment, folder: Path) -> pd.DataFrame:
    """Every kept score again, from the kept predictions and the data's own labels.

    Returns
    -------
    DataFrame
        A row a task: ``task, cells, predictions, difference``, the largest one of a score.
    """
    about, table, kept = _read(folder)
    worker, rows = Worker(exp), []
    for task, own in kept.groupby("task", observed=True, sort=False):
        coder = Coder(exp.task(str(task)), about["labels"][task])
        cells, predictions, worst = 0, 0, 0.0
        by_target = own.groupby("target", observed=True, sort=False)
        for target, items in tqdm(by_target, desc=f"checking {task}", mininterval=2):
            tests = worker.tests(str(task), str(target), 0)
            _same_items(str(task), str(target), items["id"], tests)
            wanted = table[(table["task"] == task) & (table["target"] == target)]["score"]
            found = _scored(coder, tests, items)
            cells, predictions = cells + len(found), predictions + len(found) * sum(items["n"])
            worst = max(worst, float(np.abs(found - wanted.to_numpy()).max()))
        rows.append((task, cells, predictions, worst))
    return pd.DataFrame(rows, columns=["task", "cells", "predictions", "difference"])


def _scored(coder: Coder, tests: Sequence[Example], items: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The main metric of each cell of a target: (cells,)."""
    written: list[list[str]] = []
    for example, n, content in zip(tests, items["n"], items["labels"], strict=True):
        known: dict[bytes, str] = {}
        matrix = np.frombuffer(content, coder.dtype).reshape(n, -1).T.copy()
        for row in matrix:
            if (key := row.tobytes()) not in known:
                known[key] = coder.text(example, row.tolist())
        written.append([known[row.tobytes()] for row in matrix])
    cells = zip(*written, strict=True)
    task = coder.task
    return np.array([task.evaluate(own, tests)[task.metric].score for own in cells])


def again(exp: Experiment, folder: Path, n: int, seed: int = 0) -> pd.DataFrame:
    """`n` kept zero-shot cells, drawn at random, measured from nothing: encoded, fitted, scored.

    Returns
    -------
    DataFrame
        ``task, source, target, model, seed, score, again, low, high, inside``: `low` to `high`, the
        seed interval, is the score plus or minus 1.96 standard deviations over the seeds, pooled
        over the cells of a task and model; of one seed, plus or minus 1.96 of its ``stderr``.
    """
    from xltlib.models import compute, encoder  # torch

    _, table, _ = _read(folder)
    runs = {(r.model, r.task, r.source, r.seed): r for r in plan.runs(exp)
            if r.condition in ("pretrained", "shuffled")}  # fmt: skip
    about = ["model", "task", "source", "seed"]
    own = [key in runs for key in table[about].itertuples(index=False, name=None)]
    table = table[np.array(own) & (table["n_target"] == 0)]
    spread = table.groupby(["task", "model", "source", "target"], observed=True)["score"].var()
    pooled = spread.groupby(["task", "model"], observed=True).mean() ** 0.5
    assert isinstance(exp.model, Encoder)
    compute.prepare_process()
    given = exp.model
    model = encoder.load(given.name, source=given.source, revision=given.revision)
    worker, rows = Worker(exp), []
    drawn = table.sample(min(n, len(table)), random_state=seed)
    for row in tqdm(drawn.itertuples(), total=len(drawn), desc="measuring", mininterval=2):
        run = runs[row.model, row.task, row.source, row.seed]
        found = _measured(worker, run, row.target, model)
        deviation = pooled[row.task, row.model]
        half = 1.96 * (row.stderr if np.isnan(deviation) else deviation)
        low, high = row.score - half, row.score + half
        cell = (row.task, row.source, row.target, row.model, row.seed, row.score, found)
        rows.append((*cell, low, high, low - 1e-9 <= found <= high + 1e-9))
    names = ["task", "source", "target", "model", "seed", "score", "again", "low", "high", "inside"]
    return pd.DataFrame(rows, columns=names)


def _measured(worker: Worker, run: Run, target: str, model: tuple[Any, Any]) -> float:
    """The score of one cell: only what it needs is encoded, in a folder that goes with it."""
    from xltlib.models import features  # torch

    exp, of = worker.exp, worker.exp.task(run.task)
    train, validation = worker.training(run)
    tests = worker.tests(run.task, target, run.seed)
    needed = {code: dict[str, Example]() for code in (run.source, target)}
    needed[run.source] |= {e.id: e for e in [*train, *validation]}
    needed[target] |= {e.id: e for e in tests}
    among = exp.tasks[run.task].choose or layers_of(exp, run.task)
    layers, reading = among or range(model[0].config.num_hidden_layers + 1), reading_of(of)
    with tempfile.TemporaryDirectory() as folder:
        made = {
            code: features.encode(
                *model, reading.unit, [reading.item(e) for e in own.values()], list(own), layers,
                Path(folder, code),
            ) for code, own in needed.items()
        }  # fmt: skip
        worker.prober.features = lambda task, code: made[code]
        by, _ = worker.prober.fit(run.task, run.source, train, validation)
        found = answers(of, by.head, by.layer, worker.prober.items(run.task, target, tests))
        return of.evaluate(found, tests)[of.metric].score
