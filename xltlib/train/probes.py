"""Runs an experiment's probes: encodes its languages, fits heads, scores all targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from xltlib.data.example import Example
from xltlib.io import intact
from xltlib.models import compute, encoder, features
from xltlib.train.config import Encoder, Experiment
from xltlib.train.plan import Run, layers_of
from xltlib.train.probe import Items, Learned, answers, by_layer, items_of, learn, reading_of

if TYPE_CHECKING:
    from xltlib.train.worker import Worker

_Read = Callable[[str, str], list[Example]]  # (language, split) -> examples, of training the pool


def encode(exp: Experiment, task: str, folders: Sequence[Path], read: _Read) -> None:
    """Encode the items of the languages that folders are named after, unless they are there."""
    missing = [folder for folder in folders if not intact(folder)]
    if not missing:
        return
    assert isinstance(exp.model, Encoder)
    compute.prepare_process()
    model, tokenizer = encoder.load(
        exp.model.name, source=exp.model.source, revision=exp.model.revision
    )
    reading = reading_of(exp.task(task))
    layers = layers_of(exp, task) or range(model.config.num_hidden_layers + 1)
    for folder in missing:
        splits, code = ("train", "validation", "test"), folder.name
        found = {e.id: e for split in splits for e in read(code, split)}
        with tqdm(total=len(found), desc=f"encoding {task} {code}", mininterval=2) as bar:
            made = features.encode(
                model, tokenizer, reading.unit, [reading.item(e) for e in found.values()],
                list(found), layers, folder, bar.update,
            )  # fmt: skip
            bar.set_postfix_str(f"{100 * made.unknown:.1f} % of pieces unknown")


class Prober:
    """Fits heads on the features of a worker's items."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.exp, place = worker, worker.exp, worker.place
        self.features = cache(lambda task, code: features.read(place.features(task, code)))
        self._chosen: dict[tuple[str, int], Learned] = {}

    def items(self, task: str, code: str, examples: Sequence[Example]) -> Items:
        """Examples of a language with their features."""
        return items_of(examples, self.features(task, code))

    def fit(
        self,
        task: str,
        code: str,
        train: Sequence[Example],
        check: Sequence[Example],
        *,
        every: bool = False,
    ) -> tuple[Learned, list[Learned]]:
        """The head that is best on validation examples, of equal ones that of the highest layer.

        Beside it those of the layers to choose among, or of `every` one, each with its penalty.
        """
        assert isinstance(self.exp.model, Encoder)
        of, learned = self.exp.task(task), self.items(task, code, train)
        among = self.exp.tasks[task].choose or self.features(task, code).layers
        layers = self.features(task, code).layers if every else among
        check_items, penalties = self.items(task, code, check), self.exp.model.penalties
        found = by_layer(of, learned, check_items, layers, penalties)
        allowed = (one for one in found if one.layer in among)
        return max(allowed, key=lambda one: (one.validation, one.layer)), found

    def learn(
        self, run: Run, train: Sequence[Example], check: Sequence[Example], about: dict[str, Any]
    ) -> tuple[Callable[[str], list[str]], Callable[[str, Sequence[Example], int], list[str]]]:
        """What answers the tests of a target, and what does so after some examples of it.

        What was chosen, and the scores of all layers where they are wanted, are added to `about`.
        """
        assert isinstance(self.exp.model, Encoder)
        before = list[Items]()
        if run.condition == "alone":  # no source: layer and penalty are the first source's choice
            chosen = self._lent(run)
        else:
            seeds = self.exp.seeds[: self.exp.model.layer_seeds]
            wanted = run.condition == "pretrained" and run.seed in seeds
            chosen, found = self.fit(run.task, run.source, train, check, every=wanted)
            about["layers"] = list(self._every_layer(run, found)) if wanted else []
            before = [self.items(run.task, run.source, train)]
        about |= {k: v for k, v in asdict(chosen).items() if k != "head"}

        def after(target: str, few: Sequence[Example], n: int) -> list[str]:
            """Of a head that learned from the target too; it starts from the source's."""
            learned, start = [*before, self.items(run.task, target, few[:n])], chosen.head
            of, by = self.exp.task(run.task), (chosen.layer, chosen.penalty)
            head = learn(of, learned, *by, start if before else None)
            return self._answers(run, replace(chosen, head=head), target)

        return partial(self._answers, run, chosen), after

    def _lent(self, run: Run) -> Learned:
        """What the first source of a task chose with the same seed."""
        key = (run.task, run.seed)
        if key not in self._chosen:
            first = replace(run, source=self.exp.tasks[run.task].sources[0])
            self._chosen[key], _ = self.fit(run.task, first.source, *self.worker.training(first))
        return self._chosen[key]

    def _answers(self, run: Run, by: Learned, target: str) -> list[str]:
        tests = self.items(run.task, target, self.worker.tests(run.task, target, run.seed))
        return answers(self.exp.task(run.task), by.head, by.layer, tests)

    def _every_layer(self, run: Run, heads: Sequence[Learned]) -> Iterator[tuple[int, str, float]]:
        """(layer, target, score) of the main metric; in-language among them."""
        of = self.exp.task(run.task)
        for target in self.exp.tasks[run.task].targets:
            tests = self.worker.tests(run.task, target, run.seed)
            for by in heads:
                found = of.evaluate(self._answers(run, by, target), tests)
                yield by.layer, target, round(found[of.metric].score, 6)
