"""The worker of a process: data, models and scores of runs, what is shared among them read once."""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm.auto import tqdm

from xltlib.data import Example, cldr, datasets, text
from xltlib.data.cards import VIEWS
from xltlib.io import say, sealed, sha256, unsealed, whole, write_text
from xltlib.tasks.base import Task
from xltlib.tasks.embedded import WORDS
from xltlib.tasks.public import words_of
from xltlib.train import plan
from xltlib.train.config import Checkpoint, Encoder, Experiment
from xltlib.train.plan import Place, Run, recipe_of
from xltlib.train.probe import Prober, baseline
from xltlib.train.recipes import Recipe

if TYPE_CHECKING:
    from xltlib.train.finetune import Finetuned


@contextmanager
def _own_gpu() -> Iterator[None]:
    """Hold a GPU that no other run on this machine holds; wait while there is none."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    found = range(torch.cuda.device_count())
    with free_of([str(torch.cuda.get_device_properties(i).uuid) for i in found]) as i:
        torch.cuda.set_device(i)
        yield


@contextmanager
def free_of(names: Sequence[str]) -> Iterator[int]:
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
        time.sleep(2)


_CLONED = "letters of its own"  # the target set of a clone
_ALL = 10**9  # more examples than any data set has

_Cell = tuple[str, int, list[str]]  # target, number of its examples learned from, outputs
# What answers the tests of a target, and what does so after some examples of it.
_Taught = tuple[Callable[[str], list[str]], Any]
# Small models that learn side by side: at most so many, and so many weights in all.
_ABREAST, _WEIGHTS = 12, 12_000_000


def text_of(exp: Experiment, known: str | None = None) -> dict[str, list[str]]:
    """The unannotated text of every language, or of those that one model knows."""
    spec = exp.text
    if spec.corpus == "cldr":
        if (kept := Place(exp).text()).is_file():  # to write it takes seconds each time
            return dict(json.loads(kept.read_text("utf-8")))
        return {code: cldr.lines(code, spec.lines) for code in exp.languages}
    own = exp.known[known] if known else None
    codes, pairs = (own.languages, own.pairs) if own else (exp.languages, False)
    return text.read(codes, list(exp.tasks), pairs)


def label_words(exp: Experiment) -> tuple[str, ...]:
    """Words that are one token each: the labels and tags of an experiment's tasks."""
    if exp.embedded:
        return tuple(WORDS)
    return tuple(dict.fromkeys(word for name in exp.tasks for word in words_of(name)))


class Worker:
    """Does runs one after the other; keeps the test sets that they share."""

    def __init__(self, exp: Experiment) -> None:
        self.exp, self.place = exp, Place(exp)
        self.tokenizer: Any = None  # with the first model
        self._tests: dict[tuple[str, str, int], list[Example]] = {}
        self._ahead: dict[Run, float] = {}  # seconds of those tuned with others
        self._states: dict[Any, dict[bytes, Any]] = {}  # of the last encoder that did not learn
        self.prober: Any = Prober(exp, self.training, self.tests) if exp.probed else None

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
        of, n = exp.task(spec.train_on or run.task), spec.train_items
        if spec.pool:
            train = _drawn(self.pool(run.task, run.source, "train"), n, run.seed)
        else:
            among = self._among(run.task, "train", run.source)
            train = of.source(among, run.source, "train", n or _ALL, run.seed)
        own, validation = (exp.own(of.name) or {}).get(run.source), list[Example]()
        if own is None or "validation" in own:
            validation = self.pool(run.task, run.source, "validation")
        else:
            say(f"{run.label}: no validation file, so the weights of the last step are kept")
        if spec.train_on:
            train, validation = (self._apart(run, examples) for examples in (train, validation))
        train = of.shuffle(train, run.seed) if run.condition == "shuffled" else train
        return train, validation

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
            return _drawn(self.pool(run.task, target, "train"), most, 100 + run.seed)
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
            say(f"{run.label}: {len(examples) - len(left)} dropped, their text is in the test set")
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
        own = self.exp.model.kind != "tiny" and not self.prober and run.condition != "ngram"
        with _own_gpu() if own else nullcontext():  # small models share what there is
            cells = list(self._cells(run, train, validation, about))
        rows = [row for cell in cells for row in self.rows(run, *cell)]
        record = {
            "run": asdict(run),
            "scores": rows,
            **about,
            "items": {"train": len(train), "validation": len(validation)},
            "seconds": time.time() - begin + self._ahead.pop(run, 0.0),
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

    def _cells(self, run: Run, *learns: Any) -> Iterator[_Cell]:
        """Targets, how many examples of each were learned from, and the answers."""
        if run.condition == "ngram":
            answer, after = self._baseline(run, *learns)
        elif self.prober:
            answer, after = self.prober.learn(run, *learns)
        else:
            answer, after = self._network(run, *learns)
        if not run.condition.endswith("alone"):  # which has no source, only few examples
            for target in self.exp.tasks[run.task].targets:
                yield target, 0, answer(target)
        for target in run.fewshot:
            few = self.few(run, target)
            for n in self.exp.fewshot.n:
                yield target, n, after(target, few, n)

    def _baseline(self, run: Run, train: Sequence[Example], *_: Any) -> _Taught:
        """What a linear model on characters answers."""
        answer = baseline(self.exp.task(run.task), train, run.seed)
        return lambda target: answer(self.tests(run.task, target, run.seed)), None

    def _network(
        self,
        run: Run,
        train: Sequence[Example],
        validation: Sequence[Example],
        about: dict[str, Any],
    ) -> _Taught:
        """What a network answers when it was fine-tuned; how it was is added to `about`."""
        model = self.model(run, train)
        about["device"] = str(model.device)
        if not run.condition.endswith("alone"):
            about |= self._learned(run, model, train, validation)
        state, gone = model.state_dict() if run.fewshot else {}, dict[tuple[str, int], Any]()
        kept = {name: weight.detach().clone() for name, weight in state.items()}

        def after(target: str, few: Sequence[Example], n: int) -> list[str]:
            """Nothing is selected on target data."""
            model.load_state_dict(kept)
            if (target, n) not in gone:
                gone.clear()
                gone.update({(target, m): own for m, own in self._gone_on(run, model, few).items()})
            if own := gone.get((target, n)):
                return self.answers(run, own, target)
            self.tune(run, model, few[:n], [], **self._going(len(few[:n])))
            return self.answers(run, model, target)

        return partial(self.answers, run, model), after

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
            tiny.reset_outputs(made, self.tokenizer, label_words(self.exp), run.seed)
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
        from safetensors.torch import load_file

        weights, record = self._waiting(run)
        before = unsealed(record)  # written last
        if before and weights.is_file() and before.pop("weights", None) == sha256(weights):
            if run not in self._ahead:
                say(f"{run.label}: tuned before, now scored")
            model.load_state_dict(load_file(weights), strict=False)
            return before
        return self._wait(run, model, self.tune(run, model, train, validation))

    def _wait(self, run: Run, model: Any, tuned: Finetuned) -> dict[str, Any]:
        """Keep a run's weights, and how they were learned, until all targets are scored."""
        from safetensors.torch import save_file

        from xltlib.train.finetune import learned_weights

        (weights, record), found = self._waiting(run), asdict(tuned)
        about = {"kept_step": found.pop("step"), "train_seconds": found.pop("seconds"), **found}
        with whole(weights) as temporary:
            save_file(learned_weights(model), temporary)
        write_text(record, sealed({**about, "weights": sha256(weights)}))
        return about

    def ahead(self, runs: Sequence[Run], missing: Sequence[Run]) -> None:
        """Fine-tune side by side those that can be: `do` finds their weights and scores them.

        Small models that start as the same one, by the same recipe, for the same task. Which learn
        together does not depend on what is missing: rounding would, and so a rare answer. What goes
        wrong is left to `do`, which trains alone and says what it was.
        """
        alike: dict[Any, list[Run]] = {}
        for run in runs if self.exp.model.kind == "tiny" else ():
            start = run.known, run.pretrain_seed, run.seed if run.pretrain_seed is None else None
            if run.condition in ("pretrained", "shuffled", "scratch"):
                alike.setdefault((run.task, recipe_of(self.exp, run), start), []).append(run)
        for (task, recipe, _), own in alike.items():
            for at in range(0, len(own), self._abreast()):
                group = own[at : at + self._abreast()]
                wanted = {r for r in missing if r in group and not self._waiting(r)[1].is_file()}
                if wanted and len(group) > 1:
                    self._tune_together(group, self.exp.task(task), recipe, wanted)

    def _abreast(self) -> int:
        """How many models learn side by side: together they take the memory of one larger one."""
        own = self.exp.model.body + 2 * self.exp.model.head
        return max(1, min(_ABREAST, _WEIGHTS // own))

    def _tune_together(
        self, group: Sequence[Run], of: Task, recipe: Recipe, wanted: set[Run]
    ) -> None:
        from xltlib.train.finetune import Lesson, together

        try:
            lessons = [Lesson(self.model(r), *self.training(r), recipe, r.seed) for r in group]
            found = together(lessons, self.tokenizer, of, self._kept(group[0]))
        except (FloatingPointError, NotImplementedError, ValueError):
            return
        for run, lesson, tuned in zip(group, lessons, found, strict=True):
            if run in wanted:
                self._wait(run, lesson.model, tuned)
                self._ahead[run] = tuned.seconds

    def _going(self, n: int) -> dict[str, Any]:
        """How a recipe changes to go on with `n` examples."""
        shot = self.exp.fewshot
        return {"steps": shot.steps, "batch": min(shot.batch, n), "lr": shot.lr, "evaluations": 0}

    def _gone_on(self, run: Run, model: Any, few: Sequence[Example]) -> dict[int, Any]:
        """Copies of a small model that went on side by side, by number of examples.

        None where they cannot, or where one has a loss that is no number: alone it keeps the batch.
        """
        from xltlib.train.finetune import Lesson, together

        if self.exp.model.kind != "tiny" or len(self.exp.fewshot.n) > self._abreast():
            return {}
        recipe, of = recipe_of(self.exp, run), self.exp.task(run.task)
        how = {n: replace(recipe, **self._going(len(few[:n]))) for n in self.exp.fewshot.n}
        lessons = {
            n: Lesson(copy.deepcopy(model), few[:n], [], own, run.seed) for n, own in how.items()
        }
        try:
            together(list(lessons.values()), self.tokenizer, of, self._kept(run))
        except (FloatingPointError, NotImplementedError):
            return {}
        return {n: lesson.model for n, lesson in lessons.items()}

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
                seen=self._kept(run),
            )  # fmt: skip

    def _kept(self, run: Run) -> dict[bytes, Any] | None:
        """What the run's encoder makes of texts, where it is another run's too and learns nothing.

        All sources and few-shot continuations that start from one small model read the same tests.
        """
        if self.exp.model.kind != "tiny" or recipe_of(self.exp, run).freeze != "encoder":
            return None
        own = run.seed if run.pretrain_seed is None else None
        which = (run.pretrain_seed, run.known, own)
        if which not in self._states:
            self._states = {which: {}}
        return self._states[which]

    def answers(self, run: Run, model: Any, target: str) -> list[str]:
        """What the model answers to the test set of a language."""
        from xltlib.train.generate import answers

        of, choose = self.exp.task(run.task), self.exp.tasks[run.task].answers == "choose"
        texts = [of.preprocess(e)[0] for e in self.tests(run.task, target, run.seed)]
        return answers(
            model, self.tokenizer, texts, recipe_of(self.exp, run),
            most=of.max_target, labels=of.labels if choose else (), kept=self._kept(run),
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


def _drawn(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """`n` of some examples (0: all), in an order that the seed and the ids determine.

    The first 16 are among the first 64, and languages with the same ids get the same items.
    """

    def rank(example: Example) -> bytes:
        return hashlib.sha256(f"{seed}/{example.id}".encode()).digest()

    return sorted(examples, key=rank)[: n or None]
