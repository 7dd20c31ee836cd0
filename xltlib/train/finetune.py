"""Fine-tuning on one source language, chosen on that language's validation set."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xltlib.data.example import Example
from xltlib.io import say, write_text
from xltlib.models import lean
from xltlib.models.batches import Sizes, encode, encode_targets, epoch, pad, split, token_epoch
from xltlib.models.checkpoint import check_sentinels
from xltlib.models.compute import base_of, halved, longest, loss
from xltlib.tasks.base import Task
from xltlib.train.generate import Kept, evaluate, read
from xltlib.train.recipes import Recipe
from xltlib.train.steps import freeze, optimizer_of, rate_of, take_step


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning found.

    ``log`` has a line a step (step, loss, and validation where it was scored); ``validation`` and
    ``step`` are those of the weights kept (-1 and the last step where none was scored); ``cut`` is
    the number of inputs that were too long.
    """

    log: list[dict[str, float]]
    validation: float
    step: int
    seconds: float
    micro_tokens: int
    cut: int


def finetune(
    model: Any,
    tokenizer: Any,
    task: Task,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    *,
    seed: int = 0,
    failed: Path | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    seen: Kept | None = None,
) -> Finetuned:
    """Train in place; the weights kept are those best on `validation`, a set of the source.

    `progress` is told each line of the log. `seen` is what an encoder that does not learn made of
    texts before, and is added to: see `xltlib.train.generate.read`.

    Raises
    ------
    FloatingPointError
        The loss is not a number; with `failed`, the step and the batch's texts are in
        ``failed/not-a-number.json``.
    """
    begin = time.perf_counter()
    torch.manual_seed(seed)
    seen = ({} if seen is None else seen) if recipe.freeze == "encoder" else None
    trainer = _Trainer(model, tokenizer, task, train, recipe, seed, failed, seen)
    stops = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}
    best, kept, log = (-1.0, recipe.steps), None, []
    model.train()
    for step in range(1, recipe.steps + 1):
        entry = {"step": float(step), "loss": trainer.step(step)}
        if step in stops and validation:
            now = replace(recipe, micro_tokens=trainer.tokens)
            scores, _ = evaluate(model, tokenizer, task, validation, now, seen)
            entry["validation"] = scores[task.metric].score
            if entry["validation"] > best[0]:
                best, kept = (entry["validation"], step), learned_weights(model)
            model.train()
        log.append(entry)
        if progress:
            progress(entry)
    if kept is not None:
        model.load_state_dict(kept, strict=False)
    return Finetuned(log, *best, time.perf_counter() - begin, trainer.tokens, trainer.cut)


def learned_weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy, off the GPU, of the weights that training changes."""
    learned = ((name, w) for name, w in model.named_parameters() if w.requires_grad)
    return {name: w.detach().cpu().clone() for name, w in learned}


class _Trainer:
    """Takes optimizer steps, with as much in memory at one time as there is room for."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        task: Task,
        train: Sequence[Example],
        recipe: Recipe,
        seed: int,
        failed: Path | None,
        seen: Kept | None,
    ) -> None:
        if not train:
            raise ValueError("no training examples: choose another split or language")
        self.model, self.recipe, self.failed = model, recipe, failed
        self.texts = [(e.id, *task.preprocess(e)) for e in train]
        _, inputs, targets = zip(*self.texts, strict=True)
        check_sentinels(inputs, tokenizer)
        self.inputs, self.cut = encode(tokenizer, inputs, longest(model, recipe.max_input))
        self.targets, cut_targets = encode_targets(model, tokenizer, targets, task.max_target)
        if self.cut or cut_targets:
            long = f"{self.cut} inputs and {cut_targets} targets of {len(train)}"
            say(f"{long} are too long and were cut")
        self.sizes = [(len(a), len(b)) for a, b in zip(self.inputs, self.targets, strict=True)]
        self.tokens = recipe.micro_tokens
        self.batches = _batches(self.sizes, recipe, seed)
        self.marks, self.drops = tokenizer.all_special_ids, np.random.default_rng([seed, 37])
        self.weights = freeze(model, recipe)
        self.optimizer = optimizer_of(model, recipe)
        self.seen = seen if lean.fits(base_of(model)) and not recipe.drop_tokens else None

    def step(self, step: int) -> float:
        """The loss of the next batch; when memory runs out, again with half as much at one time."""
        group = next(self.batches)
        sources = {i: self._thinned(self.inputs[i]) for i in group}
        rate = rate_of(self.recipe, step - 1)
        while True:
            try:
                losses = self._losses(group, sources)
                return take_step(self.optimizer, self.weights, rate, losses)
            except torch.OutOfMemoryError:
                pass  # outside, so that the error holds no memory
            except FloatingPointError as error:
                raise FloatingPointError(self._not_a_number(step, error, group)) from None
            self.optimizer.zero_grad(set_to_none=True)
            self.tokens = halved(self.tokens, max(sum(self.sizes[i]) for i in group))

    def _losses(
        self, group: Sequence[int], sources: dict[int, np.ndarray]
    ) -> Iterator[torch.Tensor]:
        """Losses of the parts of a batch, which add up to its mean over target tokens."""
        total = sum(self.sizes[i][1] for i in group)
        pad_id = self.model.config.pad_token_id
        for part in split(group, self.sizes, self.tokens):
            source = pad([sources[i] for i in part], pad_id)
            labels = pad([self.targets[i] for i in part], -100)
            known = []
            if self.seen is not None:
                known = [read(self.model, source, self.seen)]
            yield loss(self.model, source, labels, self.recipe.precision, total, *known)

    def _thinned(self, row: np.ndarray) -> np.ndarray:
        """An input without a random share of its tokens, special ones apart.

        The word dropout of Iyyer et al. (2015, 10.3115/v1/P15-1162): a label is learned from the
        whole of a text, not from one word by heart.
        """
        share = self.recipe.drop_tokens
        if not share:
            return row
        return row[(self.drops.random(len(row)) >= share) | np.isin(row, self.marks)]

    def _not_a_number(self, step: int, error: FloatingPointError, group: Sequence[int]) -> str:
        where = ""
        if self.failed is not None:
            rows = [dict(zip(("id", "input", "target"), self.texts[i], strict=True)) for i in group]
            record = {"step": step, "loss": str(error), "batch": rows}
            content = json.dumps(record, ensure_ascii=False)
            path = write_text(self.failed / "not-a-number.json", content)
            where = f"; the batch is in {path}"
        return f"{error} at step {step}{where}. Take a smaller lr, or precision: float32"


def _batches(sizes: Sizes, recipe: Recipe, seed: int) -> Iterator[list[int]]:
    """Batches of a number of examples or of tokens, over as many shuffled epochs as it takes."""
    rng = np.random.default_rng([seed, 29 if recipe.batch else 31])
    while True:
        if recipe.batch:
            yield from epoch([size[0] for size in sizes], recipe.batch, rng)
        else:
            yield from token_epoch(sizes, recipe.tokens, rng)
