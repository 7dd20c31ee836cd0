"""Does what an experiment with a public checkpoint lists: tune, answer, score, collect.

A run is one model tuned on one source, task and seed and scored on every target. Its record
(``runs/<key>.json``) and its outputs (``outputs/<key>.parquet``) appear whole when it is finished,
as those of `xltlib.train.run` do, and give the same scores and pairs tables. A run is a part of its own:
Snakemake, or `xlt run`, gives each a GPU.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pandas as pd
from tqdm.auto import tqdm

from xltlib.data import cldr, datasets
from xltlib.data.cards import VIEWS
from xltlib.languages import iso3, language
from xltlib.tasks.base import Example, Task
from xltlib.tasks.public import public_task
from xltlib.train.checkpoint import CheckpointExperiment, part_of
from xltlib.train.config import Run, part
from xltlib.train.run import SCORE_COLUMNS, Place, output_rows, read_run, score_rows, whole

ALL = 10**9  # more examples than any data set has
SETS = {"source": "source_set", "target": "target_set"}


def place_of(exp: CheckpointExperiment) -> Place:
    """Where the pieces of an experiment are kept."""
    return Place(cast(Any, exp))  # of an experiment a place needs the folder only


def do_part(exp: CheckpointExperiment, name: str) -> None:
    """Do one part, unless it is done, and mark it done."""
    part(exp, name)
    place = place_of(exp)
    if name == "collect":
        collect(exp)
    for run in exp.runs():
        if part_of(run) == name and read_run(place.run(run)) is None:
            do(exp, run)
    with whole(place.done(name)) as temporary:
        temporary.write_text(f"{time.time():.0f}\n")


# ---------------------------------------------------------------- the examples of a run


def task_of(exp: CheckpointExperiment, name: str) -> Task:
    """A task, reading the user's own files where the experiment names some."""
    return public_task(name, exp.own(name))


def training(exp: CheckpointExperiment, run: Run) -> tuple[list[Example], list[Example]]:
    """Training and validation examples of a run; no text of the test set is among them.

    A user's own language may have no validation file: then the last weights are kept.
    """
    spec = exp.tasks[run.task]
    teacher = task_of(exp, spec.train_on or run.task)
    among = spec.sources if spec.train_items else (run.source,)
    train = teacher.source(among, run.source, "train", spec.train_items or ALL, run.seed)
    own = (exp.own(teacher.name) or {}).get(run.source)
    validation: list[Example] = []
    if own is None or "validation" in own:
        n = spec.validation_items or ALL
        validation = teacher.source((run.source,), run.source, "validation", n)
    else:
        _say(f"{run.label}: no validation file, so the weights of the last step are kept")
    if spec.train_on:
        return _apart(exp, run, train), _apart(exp, run, validation)
    return train, validation


def _apart(exp: CheckpointExperiment, run: Run, examples: Sequence[Example]) -> list[Example]:
    """Another task's examples without those whose text this task's test set has."""
    spec, view = exp.tasks[run.task], VIEWS[run.task]
    if run.source not in spec.targets:
        return list(examples)
    tests = tests_of(exp, run.task, run.source, whole_set=True)
    theirs = {datasets.text_of(e.fields, view) for e in tests}
    left = [e for e in examples if datasets.text_of(e.fields, view) not in theirs]
    if len(left) < len(examples):
        _say(f"{run.label}: {len(examples) - len(left)} dropped, their text is in the test set")
    return left


def tests_of(
    exp: CheckpointExperiment, task: str, target: str, *, whole_set: bool = False
) -> list[Example]:
    """Test examples of a target; the same for every source and seed."""
    spec = exp.tasks[task]
    n = 0 if whole_set else spec.test_items
    among = spec.targets if n else (target,)  # a share of parallel data: the same ids everywhere
    return task_of(exp, task).source(among, target, spec.test_split, n or ALL)


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


# ---------------------------------------------------------------- one run


def do(exp: CheckpointExperiment, run: Run) -> dict[str, Any]:
    """Tune on the source, score every target, write outputs and record."""
    from xltlib.models import checkpoint as models
    from xltlib.models.compute import device

    begin, place, checkpoint = time.time(), place_of(exp), exp.checkpoint
    tests = {t: tests_of(exp, run.task, t) for t in exp.tasks[run.task].targets}
    train, validation = training(exp, run)
    recipe = exp.recipe_of(run.task)
    with own_gpu():
        model, tokenizer = models.load(
            checkpoint.name,
            revision=checkpoint.revision,
            weights=checkpoint.weights or None,
            dropout=recipe.dropout,
            lora=recipe.lora,
            checkpointing=recipe.checkpointing,
        )
        tuned = learn(exp, run, model, tokenizer, train, validation)
        rows, outputs = score(exp, run, model, tokenizer, tests)
    record = {
        "run": dataclasses.asdict(run),
        "scores": rows,
        **{k: v for k, v in dataclasses.asdict(tuned).items() if k not in ("seconds", "step")},
        "kept_step": tuned.step,
        "train_seconds": tuned.seconds,
        "items": {"train": len(train), "validation": len(validation)},
        "device": str(device()),
        "seconds": time.time() - begin,
        "finished": time.time(),
    }
    with whole(place.outputs(run)) as temporary:
        pd.DataFrame(outputs).to_parquet(temporary, index=False, compression="zstd")
    with whole(place.run(run)) as temporary:
        temporary.write_text(json.dumps(record))
    for path in weights_of(exp, run):
        path.unlink(missing_ok=True)
    return record


def weights_of(exp: CheckpointExperiment, run: Run) -> tuple[Path, Path]:
    """Where weights, and how they were tuned, wait until all targets are scored."""
    folder = exp.folder / "tuned"
    return folder / f"{run.key}.safetensors", folder / f"{run.key}.json"


def learn(
    exp: CheckpointExperiment,
    run: Run,
    model: Any,
    tokenizer: Any,
    train: Sequence[Example],
    validation: Sequence[Example],
) -> Any:
    """`tune`, or the weights of a run that was interrupted after it: tuning costs most."""
    from safetensors.torch import load_file, save_file

    from xltlib.train.finetune import Finetuned, learned_weights

    weights, story = weights_of(exp, run)
    if story.is_file():  # written last
        _say(f"{run.label}: tuned before, now scored")
        model.load_state_dict(load_file(weights), strict=False)
        return Finetuned(**json.loads(story.read_text(encoding="utf-8")))
    tuned = tune(exp, run, model, tokenizer, train, validation)
    with whole(weights) as temporary:
        save_file(learned_weights(model), temporary)
    with whole(story) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(tuned)))
    return tuned


def tune(
    exp: CheckpointExperiment,
    run: Run,
    model: Any,
    tokenizer: Any,
    train: Sequence[Example],
    validation: Sequence[Example],
) -> Any:
    """`finetune` with a bar; a batch without a number is kept in ``failed/<key>``."""
    from xltlib.train.finetune import finetune

    recipe, of = exp.recipe_of(run.task), task_of(exp, run.task)
    with tqdm(total=recipe.steps, desc=run.label, unit="step", mininterval=2) as bar:

        def progress(entry: dict[str, float]) -> None:
            bar.update(int(entry["step"]) - bar.n)
            known = {k: f"{entry[k]:.3f}" for k in ("loss", "validation") if k in entry}
            if "validation" in known or entry["step"] % 20 == 0:
                bar.set_postfix(known)

        return finetune(
            model,
            tokenizer,
            of,
            train,
            validation,
            recipe,
            seed=run.seed,
            failed=exp.folder / "failed" / run.key,
            say=_say,
            progress=progress,
        )


def score(
    exp: CheckpointExperiment, run: Run, model: Any, tokenizer: Any, tests: dict[str, list[Example]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the scores table and outputs, target by target."""
    from xltlib.train.generate import answers

    of, spec, recipe = task_of(exp, run.task), exp.tasks[run.task], exp.recipe_of(run.task)
    labels = of.labels if spec.answers == "choose" else ()
    rows: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    for target, examples in tqdm(tests.items(), desc=f"{run.label}: targets", unit="language"):
        texts = [of.preprocess(e)[0] for e in examples]
        said = answers(model, tokenizer, texts, recipe, most=of.max_target, labels=labels, say=_say)
        found = score_rows(run, of, target, 0, said, examples)
        rows += [{**row, "test_set": spec.test_split} for row in found]  # all seeds share it
        outputs += output_rows(target, 0, said, examples)
    return rows, outputs


# ---------------------------------------------------------------- a GPU of one's own


@contextmanager
def own_gpu() -> Iterator[None]:
    """Hold a GPU that no other run on this machine holds; wait while there is none."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    found = range(torch.cuda.device_count())
    names = [str(torch.cuda.get_device_properties(i).uuid) for i in found]
    with free_of(names) as i:
        torch.cuda.set_device(i)
        yield


@contextmanager
def free_of(names: Sequence[str], pause: float = 2.0) -> Iterator[int]:
    """Hold the first of some named things that no other process holds; its place in the list.

    The lock is a file of this user on this machine; it goes with the process that holds it.
    """
    folder = Path(tempfile.gettempdir(), f"xlt-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    while True:
        for i, name in enumerate(names):
            with (folder / name).open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield i
                return
        time.sleep(pause)


# ---------------------------------------------------------------- collecting


def finished(exp: CheckpointExperiment) -> tuple[pd.DataFrame, list[str]]:
    """Rows of the runs that are finished, and the names of those that are not."""
    place, rows, missing = place_of(exp), list[dict[str, Any]](), list[str]()
    for run in exp.runs():
        record = read_run(place.run(run))
        if record is None:
            missing.append(run.label)
        else:
            rows += record["scores"]
    return _named(pd.DataFrame(rows, columns=list(SCORE_COLUMNS))), missing


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Scores by ISO 639-3 code; which script, where one language comes in two, in a column."""
    keys = {*table["source"], *table["target"]}
    if len({iso3(k) for k in keys}) < len(keys):
        table = table.assign(**{to: table[column] for column, to in SETS.items()})
    return table


def collect(exp: CheckpointExperiment) -> pd.DataFrame:
    """Write the scores and the pairs table of the finished runs."""
    from xltlib import scores
    from xltlib.languages import similarity

    table, missing = finished(exp)
    if missing:
        raise ValueError(
            f"{len(missing)} runs of {exp.name} are missing, first {missing[0]!r}: "
            f"finish them with `xlt run {exp.name}`"
        )
    place = place_of(exp)
    scores.write(table, place.scores())
    texts = cldr.vocabulary([c for c in exp.languages if language(c).locale])
    sizes = similarity.text_sizes(exp.checkpoint.name)
    similarity.write_pairs(similarity.pairs(exp.languages, texts=texts, sizes=sizes), place.pairs())
    return table
