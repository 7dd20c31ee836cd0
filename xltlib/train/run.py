"""Does what an experiment lists: vocabulary, pre-training, fine-tuning, scoring, collecting."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from xltlib.data import cldr
from xltlib.tasks import Example, Task
from xltlib.train.config import (
    Experiment,
    FinetuneSpec,
    KnownSpec,
    Run,
    part,
    part_of,
    pretrain_key,
    task_named,
    tokenizer_key,
)

CLONED = "letters of its own"  # the target set of a clone
SCORE_COLUMNS = (
    "model",
    "task",
    "source",
    "target",
    "n_target",
    "seed",
    "test_set",
    "metric",
    "score",
    "n_test",
    "stderr",
    "chance",
)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what is wrong with the place, and the cure, when `path` cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}): free some space, or "
            "choose another place with the environment variable XLT_BUILD"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` only if all goes well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            _remove(temporary)
            yield temporary
            if path.is_dir():  # half a folder of an interrupted run
                _remove(path)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Place:
    """Where the pieces of an experiment are kept."""

    exp: Experiment

    def vocabulary(self) -> Path:
        return self.exp.folder / "vocabulary" / tokenizer_key(self.exp)

    def pretrained(self, seed: int, known: str | None = None) -> Path:
        return self.exp.folder / "pretrained" / pretrain_key(self.exp, seed, known)

    def run(self, run: Run) -> Path:
        return self.exp.folder / "runs" / f"{run.key}.json"

    def outputs(self, run: Run) -> Path:
        return self.exp.folder / "outputs" / f"{run.key}.parquet"

    def done(self, name: str) -> Path:
        return self.exp.folder / "parts" / f"{name}.done"

    def scores(self) -> Path:
        return self.exp.folder / "scores.parquet"

    def pairs(self) -> Path:
        return self.exp.folder / "pairs.parquet"


def text_of(exp: Experiment, known: str | None = None) -> dict[str, list[str]]:
    """The unannotated text of every language, or of those that one model knows."""
    if exp.text.corpus == "cldr":
        return {code: cldr.lines(code, exp.text.lines) for code in exp.languages}
    from xltlib.data.text import read

    knows = exp.known[known] if known else KnownSpec(exp.languages)
    spec = exp.text
    return read(knows.languages, exp.tasks, spec.lines, spec.utterances, knows.pairs, spec.dealt)


def read_run(path: Path) -> dict[str, Any] | None:
    """A finished run's record; None where there is none or it is damaged (it is then run again)."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if {"run", "scores", "log"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


# ---------------------------------------------------------------- the parts


def do_part(exp: Experiment, name: str) -> None:
    """Do what is missing of one part, and mark it done."""
    part(exp, name)
    place = Place(exp)
    with writing(place.done(name)):  # a place nobody can write to: known before the work
        if not os.access(place.done(name).parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if name == "vocabulary":
        make_vocabulary(exp)
    elif name.startswith("pretrain-"):
        known, _, seed = name.removeprefix("pretrain-").rpartition("-")
        make_pretrained(exp, int(seed), known or None)
    elif name == "collect":
        collect(exp)
    else:
        do_runs(exp, [r for r in exp.runs() if part_of(exp, r) == name], name)
    with whole(place.done(name)) as temporary:
        temporary.write_text(f"{time.time():.0f}\n")


def make_vocabulary(exp: Experiment) -> None:
    """Train the tokenizer, unless it is there."""
    folder = Place(exp).vocabulary()
    if folder.is_dir():
        return
    from xltlib.models.tiny import train_tokenizer  # seconds of importing, only where there is work

    lines = (line for own in text_of(exp).values() for line in own)
    tokenizer = train_tokenizer(lines, exp.model.vocab_size, label_words(exp))
    with whole(folder) as temporary:
        tokenizer.save_pretrained(temporary)


def label_words(exp: Experiment) -> tuple[str, ...]:
    """Words that are one token each: labels and tags."""
    if exp.text.corpus == "cldr":
        from xltlib.tasks.embedded import WORDS

        return tuple(WORDS)
    from xltlib.tasks.plain import words_of

    return tuple(dict.fromkeys(word for name in exp.tasks for word in words_of(name)))


def make_pretrained(exp: Experiment, seed: int, known: str | None = None) -> None:
    """Pre-train one model, unless it is there."""
    place = Place(exp)
    folder = place.pretrained(seed, known)
    if (folder / "log.json").is_file():
        return
    from transformers import AutoTokenizer

    from xltlib.models.compute import arithmetic, device, prepare_process
    from xltlib.models.tiny import build, reading, save
    from xltlib.train.pretrain import Sampler, pretrain

    prepare_process()
    tokenizer = AutoTokenizer.from_pretrained(place.vocabulary())
    sampler = Sampler(text_of(exp, known), tokenizer, exp.pretrain)
    recipe = sampler.recipe
    model: Any = build(exp.model, tokenizer, seed)
    model.to(device())
    half = folder.with_name(f".{folder.name}.half.pt")  # where an interrupted one goes on
    with tqdm(
        total=recipe.steps,
        desc=" ".join(["pre-training", *filter(None, [known]), f"seed {seed}"]),
        mininterval=2,
    ) as bar:

        def progress(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss:.2f}")

        log = pretrain(model, sampler, recipe, seed=seed, progress=progress, checkpoint=half)
    story = {
        "seed": seed,
        "known": known,
        "log": log,
        "parameters": model.num_parameters(),
        "tokens": sampler.n_tokens,
        "lines": len(sampler.rows),
        "read": sampler.read,
        "width": exp.model.d_model,
        "device": str(model.device),
        "arithmetic": arithmetic(model.device.type, recipe.precision),
        "seconds": log[-1]["seconds"],
        "recipe": dataclasses.asdict(recipe),
        **reading(model, sampler.batch(np.random.default_rng(seed))[0]),
    }
    with whole(folder) as temporary:
        save(model, tokenizer, temporary)
        (temporary / "log.json").write_text(json.dumps(story, indent=1))
    half.unlink(missing_ok=True)


def do_runs(exp: Experiment, runs: Sequence[Run], name: str) -> None:
    """Do those runs that are not finished yet."""
    place = Place(exp)
    missing = [r for r in runs if read_run(place.run(r)) is None]
    worker = Worker(exp)
    with tqdm(total=len(runs), initial=len(runs) - len(missing), desc=name, unit="run") as bar:
        for run in missing:
            bar.set_postfix_str(run.label)
            worker.do(run)
            bar.update()


# ---------------------------------------------------------------- one run


class Worker:
    """Does runs one after the other; keeps what they share: examples and start weights."""

    def __init__(self, exp: Experiment) -> None:
        self.exp, self.place, self.task = exp, Place(exp), task_named(exp)
        self.tests: dict[tuple[str, str, int], list[Example]] = {}

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.place.vocabulary())

    def examples(self, of: Task, code: str, split: str, n: int, seed: int = 0) -> list[Example]:
        return of.source(self.exp.languages, code, split, n, seed)

    def test(self, of: Task, code: str, seed: int) -> list[Example]:
        """The test set of a language: one a seed, the same for every source and arm.

        A cell is a mean over seeds, so its standard error falls with all their items together.
        """
        if (of.name, code, seed) not in self.tests:
            n = self.exp.recipe(of.name).test_items
            self.tests[of.name, code, seed] = self.examples(of, code, "test", n, seed)
        return self.tests[of.name, code, seed]

    def model(self, run: Run) -> Any:
        from xltlib.models.compute import device, prepare_process
        from xltlib.models.tiny import build, load, reset_outputs

        prepare_process()
        if run.pretrain_seed is None:
            fresh: Any = build(self.exp.model, self.tokenizer, seed=1000 + run.seed)
            return fresh.to(device())
        model: Any = load(self.place.pretrained(run.pretrain_seed, run.known))[0]
        if run.known:
            reset_outputs(model, self.tokenizer, label_words(self.exp), run.seed)
        return model.to(device())

    def do(self, run: Run) -> dict[str, Any]:
        """Fine-tune, score every target, go on with few examples, write the record."""
        begin = time.time()
        of, spec = self.task(run.task), self.exp.recipe(run.task)
        train = self.examples(of, run.source, "train", spec.train_items, run.seed)
        if run.arm == "char-ngram":
            made: dict[str, Any] = {"log": []}
            rows, outputs = self.baseline(run, of, train)
        else:
            made, rows, outputs = self.neural(run, of, spec, train)
        record = {
            "run": dataclasses.asdict(run),
            "scores": rows,
            **made,
            "seconds": time.time() - begin,
            "finished": time.time(),
        }
        with whole(self.place.outputs(run)) as temporary:
            pd.DataFrame(outputs).to_parquet(temporary, index=False, compression="zstd")
        with whole(self.place.run(run)) as temporary:
            temporary.write_text(json.dumps(record))
        return record

    def baseline(
        self, run: Run, of: Task, train: Sequence[Example]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        from xltlib.train.baselines import baseline_of

        answer = baseline_of(of)(train, run.seed)
        rows, outputs = [], []
        for target in self.exp.languages:
            tests = self.test(of, target, run.seed)
            said = answer(tests)
            rows += score_rows(run, of, target, 0, said, tests)
            outputs += output_rows(target, 0, said, tests)
        return rows, outputs

    def neural(
        self, run: Run, of: Task, spec: FinetuneSpec, train: Sequence[Example]
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
        from xltlib.train.finetune import finetune

        validation = self.examples(of, run.source, "validation", spec.validation_items)
        if run.arm.endswith("-shuffled"):
            train = of.shuffle(train, run.seed)
        recipe = spec.of(run.arm)
        model = self.model(run)
        rows: list[dict[str, Any]] = []
        outputs: list[dict[str, Any]] = []
        made: dict[str, Any] = {"log": []}
        if not run.arm.endswith("-alone"):  # which has no source: few-shot only
            found = finetune(model, self.tokenizer, of, train, validation, recipe, seed=run.seed)
            made = {
                "log": found.log,
                "validation": found.validation,
                "kept_step": found.step,
                "train_seconds": found.seconds,
            }
            for target in self.exp.languages:
                tests = self.test(of, target, run.seed)
                said = self.say(model, of, target, run.seed)
                rows += score_rows(run, of, target, 0, said, tests)
                outputs += output_rows(target, 0, said, tests)
        kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
        for target in run.fewshot_targets:
            for n in self.exp.fewshot.n:
                model.load_state_dict(kept)
                tests = self.test(of, target, run.seed)
                said = self.go_on(model, run, of, target, n)
                rows += score_rows(run, of, target, n, said, tests)
                outputs += output_rows(target, n, said, tests)
        return made, rows, outputs

    def go_on(self, model: Any, run: Run, of: Task, target: str, n: int) -> list[str]:
        """Go on with `n` examples of the target; nothing is selected on target data."""
        from xltlib.train.finetune import finetune

        shot = self.exp.fewshot
        few = self.examples(of, target, "train", max(self.exp.fewshot.n), 100 + run.seed)[:n]
        recipe = dataclasses.replace(
            self.exp.recipe(of.name).of(run.arm),
            steps=shot.steps, batch=min(shot.batch, n), lr=shot.lr, evaluations=0,
        )  # fmt: skip
        finetune(model, self.tokenizer, of, few, [], recipe, seed=run.seed)
        return self.say(model, of, target, run.seed)

    def say(self, model: Any, of: Task, target: str, seed: int) -> list[str]:
        """What the model says to the test set of a language."""
        from xltlib.train.generate import answers

        texts = [of.preprocess(e)[0] for e in self.test(of, target, seed)]
        return answers(model, self.tokenizer, texts, most=of.max_target)


def score_rows(
    run: Run, of: Task, target: str, n: int, said: Sequence[str], tests: Sequence[Example]
) -> list[dict[str, Any]]:
    """Rows of the scores table for one cell, one per metric.

    A clone is its language in another ``target_set``: the table knows languages by ISO 639-3.
    """
    spoken, _, letters = target.partition("_")
    return [
        {
            "model": run.arm,
            "task": of.name,
            "source": run.source,
            "target": spoken,
            **({"target_set": CLONED} if letters else {}),
            "n_target": n,
            "seed": run.seed,
            # Embedded: every seed has test items of its own. Public: all have the official ones.
            "test_set": "test" if hasattr(of, "card") else f"seed {run.seed}",
            "metric": metric,
            "score": score.score,
            "n_test": score.n,
            "stderr": score.stderr,
            "chance": of.chance if metric == of.metric else float("nan"),
        }
        for metric, score in of.evaluate(said, tests).items()
    ]


def output_rows(
    target: str, n: int, said: Sequence[str], tests: Sequence[Example]
) -> list[dict[str, Any]]:
    """What the model said, to compute any metric again."""
    return [
        {"target": target, "n_target": n, "id": e.id, "output": o}
        for e, o in zip(tests, said, strict=True)
    ]


# ---------------------------------------------------------------- collecting


def collect(exp: Experiment) -> pd.DataFrame:
    """Write the scores and the pairs table of the finished runs."""
    from xltlib import scores
    from xltlib.languages import similarity

    place = Place(exp)
    found = {run: read_run(place.run(run)) for run in exp.runs()}
    missing = [run.label for run, record in found.items() if record is None]
    if missing:
        raise ValueError(
            f"{len(missing)} runs of {exp.name} are missing, first {missing[0]!r}: "
            f"finish them with `xlt run {exp.name}`"
        )
    rows = [row for record in found.values() if record for row in record["scores"]]
    table = table_of(rows)
    scores.write(table, place.scores())
    text = text_of(exp)
    sizes = {code: float(sum(map(len, lines))) for code, lines in text.items()}
    words = cldr.vocabulary([c for c in exp.languages if "_" not in c])  # a clone has none
    similarity.write_pairs(similarity.pairs(list(words), texts=words, sizes=sizes), place.pairs())
    return table


def recompute(exp: Experiment) -> pd.DataFrame:
    """Score the kept outputs again, without any model; equals the scores table row by row."""
    place, rows = Place(exp), []
    worker = Worker(exp)
    for run in exp.runs():
        of = worker.task(run.task)
        outputs = pd.read_parquet(place.outputs(run))
        for (target, n), cell in outputs.groupby(["target", "n_target"], sort=False):
            tests = worker.test(of, str(target), run.seed)
            rows += score_rows(run, of, str(target), int(str(n)), list(cell["output"]), tests)
    return table_of(rows)


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of scores as a table: with the set of the target only where clones were scored."""
    if not any("target_set" in row for row in rows):
        return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    table = pd.DataFrame(rows, columns=[*SCORE_COLUMNS, "target_set"])
    return table.fillna({"target_set": ""})
