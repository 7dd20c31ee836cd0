"""Does what an experiment lists: vocabulary, pre-training, fine-tuning, scoring, collecting.

A run's record (``runs/<key>.json``) and its outputs (``outputs/<key>.parquet``) appear whole when
it is finished; what is interrupted goes on with what is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from xltlib import scores
from xltlib.data import cldr, datasets, text
from xltlib.data.cards import VIEWS
from xltlib.data.example import Example
from xltlib.errors import unknown
from xltlib.io import (
    intact,
    remove,
    seal,
    sealed,
    sha256,
    sweep,
    unsealed,
    unwritable,
    whole,
    write_table,
    write_text,
)
from xltlib.languages import language, similarity
from xltlib.tasks.base import Task
from xltlib.tasks.embedded import WORDS
from xltlib.tasks.plain import words_of
from xltlib.train import plan
from xltlib.train.config import Checkpoint, Encoder, Experiment
from xltlib.train.gpus import own_gpu
from xltlib.train.plan import Place, Run, part_of, parts, recipe_of, runs

if TYPE_CHECKING:
    from xltlib.train.finetune import Finetuned

_CLONED = "letters of its own"  # the target set of a clone
_ALL = 10**9  # more examples than any data set has
_SCORE_COLUMNS = (
    "model", "task", "source", "target", "n_target", "seed", "test_set", "metric", "score",
    "n_test", "stderr", "chance",
)  # fmt: skip

_Cell = tuple[str, int, list[str]]  # target, number of its examples learned from, outputs


def text_of(exp: Experiment, known: str | None = None) -> dict[str, list[str]]:
    """The unannotated text of every language, or of those that one model knows."""
    spec = exp.text
    if spec.corpus == "cldr":
        return {code: cldr.lines(code, spec.lines) for code in exp.languages}
    own = exp.known[known] if known else None
    codes, pairs = (own.languages, own.pairs) if own else (exp.languages, False)
    return text.read(codes, list(exp.tasks), pairs)


def _label_words(exp: Experiment) -> tuple[str, ...]:
    """Words that are one token each: labels and tags."""
    if exp.embedded:
        return tuple(WORDS)
    return tuple(dict.fromkeys(word for name in exp.tasks for word in words_of(name)))


def read_run(path: Path) -> dict[str, Any] | None:
    """A finished run's record; None where there is none or it is damaged (it is then run again)."""
    record = unsealed(path)
    return record if record and {"run", "scores", "log"} <= record.keys() else None


# ---------------------------------------------------------------- the parts


def do_part(exp: Experiment, name: str) -> None:
    """Do what is missing of one part, and mark it done.

    Raises
    ------
    ValueError
        No such part, data with a fault, or of ``collect`` a run that is missing.
    OSError
        A place that cannot be written, with the cure.
    """
    if name not in (known := [p.name for p in parts(exp)]):
        raise unknown(f"part of {exp.name}", name, known, "see `xlt run NAME --list`")
    _check_writable(exp.folder)
    with _alone(exp, name):
        _do_part(exp, name)


def _do_part(exp: Experiment, name: str) -> None:
    place = Place(exp)
    if name == "vocabulary":
        _make_vocabulary(exp)
    elif name == "collect":
        collect(exp)
    elif name.startswith("encode-"):
        task, _, number = name.removeprefix("encode-").rpartition("-")
        _encode(exp, task, int(number))
    elif name.startswith("pretrain-"):
        model, _, seed = name.removeprefix("pretrain-").rpartition("-")
        _make_pretrained(exp, int(seed), model or None)
    else:
        _do_runs(exp, [r for r in runs(exp) if part_of(exp, r) == name], name)
    made = exp.folder.glob("*.parquet") if name == "collect" else ()
    sums = {path.name: sha256(path) for path in made}
    write_text(place.done(name), sealed({"finished": round(time.time()), "made": sums}) + "\n")


def verify(exp: Experiment, *, repair: bool = False) -> list[str]:
    """Read back what is marked as finished: a sentence on each thing that is not as it was written.

    Parameters
    ----------
    repair
        Take it away, with the mark of its part, so that `do_part` makes it again.
    """
    place, told = Place(exp), list[str]()
    if repair:
        sweep(exp.folder)
    for name in (part.name for part in parts(exp)):
        if not place.done(name).is_file():
            continue
        with _alone(exp, name, wait=False) if repair else nullcontext(True) as mine:
            for path in _damaged(exp, name) if mine else ():  # else another process is at it
                lost = "is damaged" if path.exists() else "is gone"
                told.append(f"{path} {lost}: part {name} makes it again")
                if repair:
                    remove(path)
                    place.done(name).unlink(missing_ok=True)
    return told


@contextmanager
def _alone(exp: Experiment, name: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold a part: a second process waits, or is told so (False). It goes with the process."""
    path = exp.folder / "locks" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise unwritable(path, error.errno or 0, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = wait
            if wait:
                _say(f"part {name} of {exp.name} is at work in another process; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield mine


def _damaged(exp: Experiment, name: str) -> list[Path]:
    """What a finished part should have left, as far as it is not there as it was written."""
    place = Place(exp)
    if folders := _folders(exp, name):
        return [f for f in folders if not intact(f)]
    if name == "collect":
        sums = (unsealed(place.done(name)) or {}).get("made", {})
        tables = {place.scores(), place.pairs(), *(exp.folder / table for table in sums)}
        wrong = [p for p in sorted(tables) if not p.is_file() or sums.get(p.name) != sha256(p)]
        return wrong or ([] if _as_planned(exp) else [place.scores()])
    found = []
    for run in (r for r in runs(exp) if part_of(exp, r) == name):
        found += _lost(place, run)
    return found


def _lost(place: Place, run: Run) -> list[Path]:
    """What of a run is not there as it was written: its record, or outputs and so its record."""
    record, outputs = read_run(place.run(run)), place.outputs(run)
    if record is None:
        return [place.run(run)]
    if outputs.is_file() and record.get("outputs") in (None, sha256(outputs)):
        return []
    return [outputs, place.run(run)]


def _as_planned(exp: Experiment) -> bool:
    """Whether the scores table can be read, and has every planned cell once and no other."""
    columns = ["model", "task", "source", "target", "n_target", "seed"]
    try:
        table = pd.read_parquet(Place(exp).scores())
        sets = [c for c in ("target_set",) if c in table]
        if table.duplicated([*columns, *sets, "metric"]).any():
            return False
        scores.check(table[table["metric"] != scores.ILLEGAL])  # codes, ranges, columns
        found = set(table[columns].itertuples(index=False, name=None))
    except (ValueError, KeyError, OSError):
        return False
    return found == {
        (r.model, r.task, language(r.source).key, language(text.original(target)).key, n, r.seed)
        for r in runs(exp)
        for target, n in cells_of(exp, r)
    }


def cells_of(exp: Experiment, run: Run) -> list[tuple[str, int]]:
    """Target and number of its examples of every cell that a run has."""
    targets = () if run.condition.endswith("alone") else exp.tasks[run.task].targets
    few = run.fewshot if run.condition != "ngram" else ()
    return [*((t, 0) for t in targets), *((t, n) for t in few for n in exp.fewshot.n)]


def merge(exp: Experiment, other: Path) -> int:
    """Take over what another machine finished of an experiment; how many runs are new here.

    Parameters
    ----------
    other
        The experiment's folder of there, such as ``/mnt/b/build/matrix``. What is damaged, or not
        of these very settings and versions, has no name here and stays there.

    Raises
    ------
    ValueError
        A run of both has different scores.
    """
    place, new = Place(exp), 0
    if not (other / "runs").is_dir():
        raise ValueError(
            f"{other} holds no runs: give the folder of {exp.name} that was built there"
        )
    folders = [f for p in parts(exp) if p.name != "collect" for f in _folders(exp, p.name)]
    for mine in folders:
        folder = other / os.path.relpath(mine, exp.folder)
        if intact(folder) and not intact(mine):
            with whole(mine) as temporary:
                shutil.copytree(folder, temporary)
    for run in runs(exp):
        theirs = read_run(other / "runs" / place.run(run).name)
        outputs = other / "outputs" / place.outputs(run).name
        if theirs is None or not outputs.is_file() or theirs["outputs"] != sha256(outputs):
            continue
        here = read_run(place.run(run))
        if here is None:
            with whole(place.outputs(run)) as temporary:
                shutil.copy(outputs, temporary)
            write_text(place.run(run), sealed(theirs))
            new += 1
        elif here["scores"] != theirs["scores"]:
            pairs = zip(here["scores"], theirs["scores"], strict=False)
            a, b = next((a, b) for a, b in pairs if a != b)
            raise ValueError(
                f"{run.label} was run twice with different scores, {a['metric']} in {a['target']} "
                f"{a['score']:.4f} here and {b['score']:.4f} in {other}: other processors round "
                f"otherwise; delete {place.run(run)} or {other / 'runs' / place.run(run).name}, "
                "whichever you do not want"
            )
    return new


def _folders(exp: Experiment, name: str) -> list[Path]:
    """The folders of a part that makes no runs: vocabulary, weights, features."""
    place = Place(exp)
    if name == "vocabulary":
        return [place.vocabulary()]
    if name.startswith("pretrain-"):
        model, _, seed = name.removeprefix("pretrain-").rpartition("-")
        return [place.pretrained(int(seed), model or None)]
    if name.startswith("encode-"):
        task, _, number = name.removeprefix("encode-").rpartition("-")
        return [place.features(task, c) for c in plan.to_encode(exp, task, int(number))]
    return []


def _check_writable(folder: Path) -> None:
    """A place nobody can write to is known before the work."""
    near = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not (near.is_dir() and os.access(near, os.W_OK)):
        raise OSError(
            f"cannot write {folder}: {near} is not a folder that you may write to; choose another "
            "place with the environment variable XLT_BUILD"
        )


def _make_vocabulary(exp: Experiment) -> None:
    """Train the tokenizer, unless it is there."""
    folder = Place(exp).vocabulary()
    if intact(folder):
        return
    from xltlib.models.tiny import train_tokenizer  # torch

    lines = (line for own in text_of(exp).values() for line in own)
    tokenizer = train_tokenizer(lines, exp.shape.vocab_size, _label_words(exp))
    with whole(folder) as temporary:
        tokenizer.save_pretrained(temporary)
        seal(temporary)


def _make_pretrained(exp: Experiment, seed: int, known: str | None = None) -> None:
    """Pre-train one model, unless it is there."""
    place = Place(exp)
    folder = place.pretrained(seed, known)
    if intact(folder):
        return
    from transformers import AutoTokenizer  # torch

    from xltlib.models import compute, tiny
    from xltlib.train.pretrain import Sampler, pretrain

    compute.prepare_process()
    tokenizer = AutoTokenizer.from_pretrained(place.vocabulary())
    sampler = Sampler(text_of(exp, known), tokenizer, exp.pretrain)
    recipe = sampler.recipe
    model: Any = tiny.build(exp.shape, tokenizer, seed)
    model = model.to(compute.device())
    half = folder.with_name(f".{folder.name}.half.pt")  # where an interrupted one goes on
    of = " ".join(["pre-training", *filter(None, [known]), f"seed {seed}"])
    with tqdm(total=recipe.steps, desc=of, mininterval=2) as bar:

        def progress(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss:.2f}")

        log = pretrain(model, sampler, recipe, seed=seed, progress=progress, checkpoint=half)
    about = {
        "seed": seed,
        "known": known,
        "log": log,
        "parameters": model.num_parameters(),
        "device": str(model.device),
        "arithmetic": compute.arithmetic(model.device.type, recipe.precision),
        "seconds": log[-1]["seconds"],
        "width": exp.shape.d_model,
        "tokens": sampler.n_tokens,
        "lines": len(sampler.rows),
        "read": sampler.read,
        "recipe": asdict(recipe),
        **tiny.reading(model, sampler.batch(np.random.default_rng(seed))[0]),
    }
    with whole(folder) as temporary:
        tiny.save(model, tokenizer, temporary)
        (temporary / "log.json").write_text(json.dumps(about, indent=1))
        seal(temporary)
    half.unlink(missing_ok=True)


def _encode(exp: Experiment, task: str, number: int) -> None:
    """Encode the items of some languages of a task."""
    from xltlib.train.probes import encode  # torch

    encode(exp, task, plan.to_encode(exp, task, number), partial(Worker(exp).pool, task))


def _do_runs(exp: Experiment, listed: Sequence[Run], name: str) -> None:
    """Do those runs that are not finished yet."""
    place, worker = Place(exp), Worker(exp)
    missing = [r for r in listed if _lost(place, r)]
    finished = len(listed) - len(missing)
    with tqdm(total=len(listed), initial=finished, desc=name, unit="run") as bar:
        for run in missing:
            bar.set_postfix_str(run.label)
            worker.do(run)
            bar.update()


# ---------------------------------------------------------------- one run


class Worker:
    """Does runs one after the other; keeps the test sets that they share."""

    def __init__(self, exp: Experiment) -> None:
        self.exp, self.place = exp, Place(exp)
        self.tokenizer: Any = None  # with the first model
        self._tests: dict[tuple[str, str, int], list[Example]] = {}
        self.prober: Any = None
        if exp.probed:
            from xltlib.train.probes import Prober  # torch

            self.prober = Prober(exp)

    def _among(self, of: str, split: str, code: str) -> tuple[str, ...]:
        """Languages that share the items of a split, where the data are parallel."""
        spec = self.exp.tasks[of]
        if self.exp.embedded or self.exp.model.kind == "tiny":
            return self.exp.languages
        if self.exp.model.kind == "encoder":
            return spec.among or plan.encoded(self.exp, of)
        shared = {
            "train": (spec.sources, spec.train_items),
            "test": (spec.targets, spec.test_items),
        }
        codes, n = shared.get(split, ((), 0))
        return codes if n else (code,)

    def training(self, run: Run) -> tuple[list[Example], list[Example]]:
        """Training and validation examples of a run; no text of the test set is among them.

        A user's own language may have no validation file: then the last weights are kept.
        """
        exp, spec = self.exp, self.exp.tasks[run.task]
        of = exp.task(spec.train_on or run.task)

        if spec.pool:
            found = [drawn(self.pool(run.task, run.source, "train"), spec.train_items, run.seed)]
        else:
            found = [self._read(of, run, "train", spec.train_items)]
        own = (exp.own(of.name) or {}).get(run.source)
        if own is None or "validation" in own:
            found.append(self.pool(run.task, run.source, "validation"))
        else:
            found.append([])
            _say(f"{run.label}: no validation file, so the weights of the last step are kept")
        if spec.train_on:
            found = [self._apart(run, examples) for examples in found]
        train = of.shuffle(found[0], run.seed) if run.condition == "shuffled" else found[0]
        return train, found[1]

    def _read(self, of: Task, run: Run, split: str, n: int) -> list[Example]:
        among = self._among(run.task, split, run.source)
        return of.source(among, run.source, split, n or _ALL, run.seed)

    def pool(self, task: str, code: str, split: str) -> list[Example]:
        """Examples that do not depend on a run's seed: of training those that seeds draw from."""
        spec = self.exp.tasks[task]
        if split == "test":
            return self.tests(task, code, 0)
        of = self.exp.task(spec.train_on or task)
        n = spec.pool if split == "train" else spec.validation_items
        return of.source(self._among(task, split, code), code, split, n or _ALL, 0)

    def few(self, run: Run, target: str) -> list[Example]:
        """The target's examples for the few-shot curve, in the order in which they are taken."""
        most = max(self.exp.fewshot.n)
        if self.exp.tasks[run.task].pool:
            return drawn(self.pool(run.task, target, "train"), most, 100 + run.seed)
        among = self._among(run.task, "train", target)
        return self.exp.task(run.task).source(among, target, "train", most, 100 + run.seed)

    def _apart(self, run: Run, examples: list[Example]) -> list[Example]:
        """Another task's examples without those whose text this task's test set has."""
        spec, view = self.exp.tasks[run.task], VIEWS[run.task]
        if run.source not in spec.targets:
            return examples
        tests = self.exp.task(run.task).source((run.source,), run.source, spec.test_split, _ALL)
        theirs = {datasets.text_of(e.fields, view) for e in tests}
        left = [e for e in examples if datasets.text_of(e.fields, view) not in theirs]
        if len(left) < len(examples):
            _say(f"{run.label}: {len(examples) - len(left)} dropped, their text is in the test set")
        return left

    def tests(self, task: str, target: str, seed: int) -> list[Example]:
        """The test set of a language: the same for every source and condition.

        On the embedded text one a seed: a cell is a mean over seeds, so its standard error falls
        with all their items together. Of public data all seeds have the same.
        """
        seed = seed if self.exp.model.kind == "tiny" else 0
        key, spec = (task, target, seed), self.exp.tasks[task]
        if key not in self._tests:
            among, n = self._among(task, "test", target), spec.test_items or _ALL
            of = self.exp.task(task)
            self._tests[key] = of.source(among, target, spec.test_split, n, seed)
        return self._tests[key]

    def do(self, run: Run) -> dict[str, Any]:
        """Fine-tune, score every target, go on with few examples, write outputs and record."""
        begin = time.time()
        for target in self.exp.tasks[run.task].targets:  # a fault in them is known before the work
            self.tests(run.task, target, run.seed)
        train, validation = self.training(run)
        about: dict[str, Any] = {"log": []}
        if run.condition == "ngram":
            cells = list(self._baseline(run, train))
        elif self.prober:
            cells = list(self.prober.cells(self, run, train, validation, about))
        else:
            cells = list(self._network(run, train, validation, about))
        rows = [row for cell in cells for row in self.rows(run, *cell)]
        record = {
            "run": asdict(run),
            "scores": rows,
            **about,
            "items": {"train": len(train), "validation": len(validation)},
            "seconds": time.time() - begin,
            "finished": time.time(),
        }
        outputs = [
            {"target": target, "n_target": n, "id": e.id, "output": output}
            for target, n, texts in cells
            for e, output in zip(self.tests(run.task, target, run.seed), texts, strict=True)
        ]
        with whole(self.place.outputs(run)) as temporary:
            pd.DataFrame(outputs).to_parquet(temporary, index=False, compression="zstd")
            record["outputs"] = sha256(temporary)
        write_text(self.place.run(run), sealed(record))
        for path in self._waiting(run):
            path.unlink(missing_ok=True)
        return record

    def _baseline(self, run: Run, train: Sequence[Example]) -> Iterator[_Cell]:
        """What a linear model on characters answers."""
        from xltlib.train.baselines import baseline_of

        answer = baseline_of(self.exp.task(run.task))(train, run.seed)
        for target in self.exp.tasks[run.task].targets:
            yield target, 0, answer(self.tests(run.task, target, run.seed))

    def _network(
        self,
        run: Run,
        train: Sequence[Example],
        validation: Sequence[Example],
        about: dict[str, Any],
    ) -> Iterator[_Cell]:
        """What a network answers when it was fine-tuned, and after few examples of a target.

        How it was fine-tuned is added to `about`. A checkpoint has a GPU of its own; small models
        share what there is.
        """
        with own_gpu() if self.exp.model.kind != "tiny" else nullcontext():
            model = self.model(run, train)
            about["device"] = str(model.device)
            if not run.condition.endswith("alone"):  # which has no source, only few examples
                about |= self._learned(run, model, train, validation)
                for target in self.exp.tasks[run.task].targets:
                    yield target, 0, self.answers(run, model, target)
            state = model.state_dict() if run.fewshot else {}
            kept = {name: weight.detach().clone() for name, weight in state.items()}
            for target in run.fewshot:
                for n in self.exp.fewshot.n:
                    model.load_state_dict(kept)
                    self._go_on(run, model, target, n)
                    yield target, n, self.answers(run, model, target)

    def model(self, run: Run, train: Sequence[Example] = ()) -> Any:
        """The model that a run starts from; the worker's tokenizer comes with it.

        Only an encoder's new decoder depends on what it will be trained on.
        """
        spec = self.exp.model
        if isinstance(spec, Encoder):
            from xltlib.models import compute, encdec

            compute.prepare_process()
            texts, targets = self._texts(run, train)
            model, self.tokenizer = encdec.build(
                texts, targets, name=spec.name, source=spec.source, revision=spec.revision,
                layers=spec.decoder_layers, dropout=recipe_of(self.exp, run).dropout,
                pretrained=not run.condition.startswith("scratch"), seed=1000 + run.seed,
            )  # fmt: skip
            return model
        if isinstance(spec, Checkpoint):
            from xltlib.models.checkpoint import load

            recipe = recipe_of(self.exp, run)
            model, self.tokenizer = load(
                spec.name,
                revision=spec.revision,
                weights=spec.weights or None,
                dropout=recipe.dropout,
                lora=recipe.lora,
                checkpointing=recipe.checkpointing,
            )
            return model
        from transformers import AutoTokenizer

        from xltlib.models import compute, tiny

        compute.prepare_process()
        if self.tokenizer is None:
            self.tokenizer = AutoTokenizer.from_pretrained(self.place.vocabulary())
        made: Any
        if run.pretrain_seed is None:
            made = tiny.build(self.exp.shape, self.tokenizer, seed=1000 + run.seed)
        else:
            made = tiny.load(self.place.pretrained(run.pretrain_seed, run.known))[0]
        if run.known:
            tiny.reset_outputs(made, self.tokenizer, _label_words(self.exp), run.seed)
        return made.to(compute.device())

    def _texts(self, run: Run, train: Sequence[Example]) -> tuple[list[str], list[str]]:
        """Inputs of training examples, and what outputs are made of: targets and labels.

        Where words are copied from the input these are also all inputs that will be read, spelt
        out too, since a word's pieces may differ inside a text without spaces.
        """
        of = self.exp.task(run.task)
        texts, targets = map(list, zip(*map(of.preprocess, train), strict=True))
        targets += of.labels
        if of.copies:
            tests = [self.tests(run.task, t, run.seed) for t in self.exp.tasks[run.task].targets]
            read = [*texts, *(of.preprocess(e)[0] for examples in tests for e in examples)]
            targets += [*read, *map(" ".join, read)]
        return texts, targets

    def _waiting(self, run: Run) -> tuple[Path, Path]:
        """Where weights, and how they were learned, wait until all targets are scored."""
        folder = self.exp.folder / "tuned"
        return folder / f"{run.key}.safetensors", folder / f"{run.key}.json"

    def _learned(
        self, run: Run, model: Any, train: Sequence[Example], validation: Sequence[Example]
    ) -> dict[str, Any]:
        """Fine-tune in place, or take the weights of a run interrupted after it: it costs most."""
        from safetensors.torch import load_file, save_file

        from xltlib.train.finetune import learned_weights

        weights, record = self._waiting(run)
        before = unsealed(record)  # written last
        if before and weights.is_file() and before.pop("weights", None) == sha256(weights):
            _say(f"{run.label}: tuned before, now scored")
            model.load_state_dict(load_file(weights), strict=False)
            return before
        found = asdict(self.tune(run, model, train, validation))
        about = {"kept_step": found.pop("step"), "train_seconds": found.pop("seconds"), **found}
        with whole(weights) as temporary:
            save_file(learned_weights(model), temporary)
        write_text(record, sealed({**about, "weights": sha256(weights)}))
        return about

    def tune(
        self,
        run: Run,
        model: Any,
        train: Sequence[Example],
        validation: Sequence[Example],
        **changes: Any,
    ) -> Finetuned:
        """Fine-tune `model` in place as the run's recipe says, with `changes` to it.

        A batch whose loss is not a number is kept in ``failed/<key>``.
        """
        from xltlib.train.finetune import finetune

        of, recipe = self.exp.task(run.task), replace(recipe_of(self.exp, run), **changes)
        with tqdm(total=recipe.steps, desc=run.label, unit="step", delay=5, leave=False) as bar:

            def progress(entry: dict[str, float]) -> None:
                bar.update(int(entry["step"]) - bar.n)
                known = {k: f"{entry[k]:.3f}" for k in ("loss", "validation") if k in entry}
                if "validation" in known or entry["step"] % 20 == 0:
                    bar.set_postfix(known, refresh=False)

            return finetune(
                model, self.tokenizer, of, train, validation, recipe,
                seed=run.seed, failed=self.exp.folder / "failed" / run.key, progress=progress,
            )  # fmt: skip

    def _go_on(self, run: Run, model: Any, target: str, n: int) -> None:
        """Go on with `n` examples of the target; nothing is selected on target data."""
        shot = self.exp.fewshot
        few = self.few(run, target)[:n]
        batch = min(shot.batch, n)
        self.tune(run, model, few, [], steps=shot.steps, batch=batch, lr=shot.lr, evaluations=0)

    def answers(self, run: Run, model: Any, target: str) -> list[str]:
        """What the model answers to the test set of a language."""
        from xltlib.train.generate import answers

        of, choose = self.exp.task(run.task), self.exp.tasks[run.task].answers == "choose"
        texts = [of.preprocess(e)[0] for e in self.tests(run.task, target, run.seed)]
        return answers(
            model, self.tokenizer, texts, recipe_of(self.exp, run),
            most=of.max_target, labels=of.labels if choose else (),
        )  # fmt: skip

    def rows(self, run: Run, target: str, n: int, outputs: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of the scores table for one cell, one per metric.

        A clone is its language in another ``target_set``: the table knows languages by ISO 639-3.
        """
        of, spoken = self.exp.task(run.task), text.original(target)
        tests = self.tests(run.task, target, run.seed)
        split = self.exp.tasks[run.task].test_split
        own = self.exp.embedded and self.exp.model.kind == "tiny"
        test_set = f"seed {run.seed}" if own else split
        return [
            {
                "model": run.model,
                "task": of.name,
                "source": run.source,
                "target": spoken,
                **({"target_set": _CLONED} if spoken != target else {}),
                "n_target": n,
                "seed": run.seed,
                "test_set": test_set,
                "metric": metric,
                "score": score.score,
                "n_test": score.n,
                "stderr": score.stderr,
                "chance": of.chance if metric == of.metric else float("nan"),
            }
            for metric, score in of.evaluate(outputs, tests).items()
        ]


def drawn(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """`n` of some examples (0: all), in an order that the seed and the ids determine.

    The first 16 are among the first 64, and languages with the same ids get the same items.
    """

    def rank(example: Example) -> bytes:
        return hashlib.sha256(f"{seed}/{example.id}".encode()).digest()

    return sorted(examples, key=rank)[: n or None]


def _say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)


# ---------------------------------------------------------------- collecting


def finished(exp: Experiment) -> tuple[pd.DataFrame, list[str]]:
    """Scores of the runs that are finished, and the labels of those that are not."""
    place, rows, missing = Place(exp), list[dict[str, Any]](), list[str]()
    for run in runs(exp):
        record = read_run(place.run(run))
        if record is None:
            missing.append(run.label)
        else:
            rows += record["scores"]
    return table_of(rows), missing


def collect(exp: Experiment) -> pd.DataFrame:
    """Write the scores and the pairs table of the finished runs.

    Raises
    ------
    ValueError
        A run is missing: which, and the command that finishes them.
    """
    table, missing = finished(exp)
    if missing:
        raise ValueError(
            f"{len(missing)} runs of {exp.name} are missing, first {missing[0]!r}: "
            f"finish them with `xlt run {exp.name}`"
        )
    place = Place(exp)
    scores.write(table, place.scores())
    if len(layered := layer_scores(exp)):
        write_table(layered, exp.folder / "layers.parquet")
    codes = [c for c in exp.languages if c == text.original(c)]  # a clone is like no language
    words = cldr.vocabulary([c for c in codes if language(c).locale])
    if exp.model.kind == "tiny":
        sizes = {code: float(sum(map(len, lines))) for code, lines in text_of(exp).items()}
        pairs = similarity.pairs(codes, texts=words, sizes=sizes)
    else:
        pairs = similarity.of_model(similarity.pairs(codes, texts=words), exp.model.name)
    write_table(pairs, place.pairs())
    return table


def layer_scores(exp: Experiment) -> pd.DataFrame:
    """Scores of every layer of an encoder, where they were kept."""
    rows: list[tuple[Any, ...]] = []
    for run in runs(exp) if exp.model.kind == "encoder" else ():
        record = read_run(Place(exp).run(run)) or {}
        about = (run.model, run.task, run.source, run.seed)
        rows += [(*about, *one) for one in record.get("layers", ())]
    names = ["model", "task", "source", "seed", "layer", "target", "score"]
    return pd.DataFrame(rows, columns=names)


def recompute(exp: Experiment) -> pd.DataFrame:
    """Score the kept outputs again, without any model; equals the scores table row by row."""
    worker, rows = Worker(exp), []
    for run in runs(exp):
        outputs = pd.read_parquet(worker.place.outputs(run))
        for (target, n), cell in outputs.groupby(["target", "n_target"], sort=False):
            rows += worker.rows(run, str(target), int(str(n)), list(cell["output"]))
    return table_of(rows)


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of scores as a table; a clone of a language stands in a column of its own."""
    if any("target_set" in row for row in rows):
        table = pd.DataFrame(rows, columns=[*_SCORE_COLUMNS, "target_set"])
        return table.fillna({"target_set": ""})
    return pd.DataFrame(rows, columns=[*_SCORE_COLUMNS])
