"""Optimizer steps, and fine-tuning on one source language, chosen on its validation set."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xltlib.data import Example
from xltlib.io import say, write_text
from xltlib.models import lean
from xltlib.models.checkpoint import check_sentinels
from xltlib.models.compute import (
    arithmetic,
    base_of,
    encode,
    encode_targets,
    epoch,
    halved,
    longest,
    loss,
    pad,
    split,
    token_epoch,
)
from xltlib.tasks.base import Task
from xltlib.train.generate import Kept, evaluate, states_of
from xltlib.train.recipes import Recipe


def _below(model: Any, *, encoder: bool) -> set[int]:
    """Ids of the weights of both sides' input embeddings, with the encoder's if wanted."""
    base = base_of(model)
    parts = [base.get_input_embeddings(), base.get_decoder().get_input_embeddings()]
    parts += [base.get_encoder()] if encoder else []
    return {id(weight) for part in parts for weight in part.parameters()}


def freeze(model: Any, recipe: Recipe) -> list[torch.nn.Parameter]:
    """The weights that may change; the others stop asking for gradients."""
    still = _below(model, encoder=recipe.freeze == "encoder") if recipe.freeze != "nothing" else ()
    for weight in model.parameters():
        if not recipe.lora or id(weight) in still:  # LoRA has frozen most weights already
            weight.requires_grad_(id(weight) not in still)
    return [w for w in model.parameters() if w.requires_grad]


def groups(model: Any, decay: float, encoder_lr: float = 1.0) -> list[dict[str, Any]]:
    """What may change, for the optimizer: the layers' matrices with weight decay, all else without.

    Without any, small models that hide much of a line come to add the same large vector to every
    word: what the encoder passes on then has few dimensions left that tell words apart
    (`tiny.reading`), and fine-tuning is slower than from nothing.

    ``pace`` is the share of the rate. A slower encoder keeps what it read (discriminative
    fine-tuning: Howard and Ruder 2018, 10.18653/v1/P18-1031).
    """
    below, found = _below(model, encoder=True), dict[tuple[float, float], list[Any]]()
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            matrix = weight.dim() >= 2 and not re.search("bias|norm", name)  # more: `lean.stacked`
            inside = ".layer" in name and matrix
            kind = (decay if inside else 0.0, encoder_lr if id(weight) in below else 1.0)
            found.setdefault(kind, []).append(weight)
    return [{"params": own, "weight_decay": d, "pace": p} for (d, p), own in found.items()]


def optimizer_of(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """Adafactor as T5's authors ran it, or AdamW.

    torch's Adafactor multiplies the rate by the root mean square of each weight matrix and clips
    updates at 1, and its rate is min(lr, 1/sqrt(step)): for 1e-3 constant until step 10^6.
    """
    learned = groups(model, recipe.weight_decay, recipe.encoder_lr)
    if recipe.optimizer == "adafactor":
        return torch.optim.Adafactor(learned, lr=recipe.lr)
    fused = True if recipe.optimizer == "adamw_fused" else None  # None: torch chooses
    return torch.optim.AdamW(learned, lr=recipe.lr, fused=fused)


def rate_of(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    return recipe.lr if recipe.schedule == "constant" else cosine(step, recipe.steps, recipe.lr)


def cosine(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over a twentieth of the steps, then a cosine down to a tenth."""
    rise = max(1, round(steps * 0.05))
    if step < rise:
        return peak * (step + 1) / rise
    along = (step - rise) / max(1, steps - rise)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * along)))


def take_step(
    optimizer: torch.optim.Optimizer,
    weights: Sequence[torch.nn.Parameter],
    rate: float,
    losses: Iterable[torch.Tensor],
) -> float:
    """One optimizer step on a sum of losses, made one at a time; returns the sum.

    Raises
    ------
    FloatingPointError
        The loss is not a number. The weights are as they were.
    """
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part in losses:
        part.backward()
        total += part.item()
    if not math.isfinite(total):
        raise FloatingPointError(f"the loss is {total}")
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["pace"]
    optimizer.step()
    return total


def _take_steps(optimizer: torch.optim.Optimizer, rate: float, losses: torch.Tensor) -> None:
    """`take_step` of each of some models that `xltlib.models.lean` stacked, on its own loss.

    Raises
    ------
    FloatingPointError
        A loss is not a number. The weights are as they were.
    """
    optimizer.zero_grad(set_to_none=True)
    losses.sum().backward()
    if not bool(losses.isfinite().all()):
        raise FloatingPointError(f"the losses are {losses.tolist()}")
    grads = [w.grad.flatten(1) for g in optimizer.param_groups for w in g["params"]]
    norms = torch.stack([grad.norm(dim=1) for grad in grads]).norm(dim=0)
    for grad in grads:
        grad.mul_((1 / (norms + 1e-6)).clamp(max=1.0)[:, None])  # as `clip_grad_norm_`
    for group in optimizer.param_groups:
        group["lr"] = rate * group["pace"]
    optimizer.step()


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


@dataclass(frozen=True)
class Lesson:
    """What one model learns from, of a source's examples, and how."""

    model: Any
    train: Sequence[Example]
    validation: Sequence[Example]
    recipe: Recipe
    seed: int = 0


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
    torch.manual_seed(seed)
    lesson = Lesson(model, train, validation, recipe, seed)
    trainer = _Trainer(lesson, tokenizer, task, failed, seen)
    return _learn([trainer], lambda step: [trainer.step(step)], progress)[0]


def together(
    lessons: Sequence[Lesson], tokenizer: Any, task: Task, seen: Kept | None = None
) -> list[Finetuned]:
    """`finetune` of several small models side by side, each as it is alone but for rounding.

    Their recipes differ in `batch` at most. Most of a small model's step goes into calls that are
    now made once for all, and states of an encoder that does not learn are made once too. The
    models' weights are parts of shared tensors afterwards: one that is held holds all.

    Raises
    ------
    NotImplementedError
        Not of such models: on a GPU, with dropout, bfloat16, LoRA or Adafactor.
    FloatingPointError
        A loss is not a number; no model is of use then.
    ValueError
        Weights that do not learn differ.
    """
    for one in lessons:
        recipe, where = one.recipe, one.model.device.type
        plain = recipe.optimizer != "adafactor" and not recipe.drop_tokens
        precise = arithmetic(where, recipe.precision) == "float32"
        if not (plain and precise and lean.fits(one.model.train())):
            raise NotImplementedError("these models are trained alone")
    seen = {} if seen is None else seen
    trainers = [_Trainer(lesson, tokenizer, task, None, seen) for lesson in lessons]
    return _learn(trainers, _Stack(trainers).step)


def _learn(
    trainers: Sequence[_Trainer],
    take: Callable[[int], Sequence[float]],
    progress: Callable[[dict[str, float]], None] | None = None,
) -> list[Finetuned]:
    """All steps of some models; `take` takes one of each and gives their losses."""
    begin, recipe, n = time.perf_counter(), trainers[0].recipe, len(trainers)
    stops = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}
    best, kept = [(-1.0, recipe.steps)] * n, [dict[str, torch.Tensor]()] * n
    logs = [list[dict[str, float]]() for _ in trainers]
    for trainer in trainers:
        trainer.model.train()
    for step in range(1, recipe.steps + 1):
        losses = take(step)
        for i, trainer in enumerate(trainers):
            entry = {"step": float(step), "loss": losses[i]}
            if step in stops and trainer.validation:
                entry["validation"] = trainer.score()
                if entry["validation"] > best[i][0]:
                    best[i] = (entry["validation"], step)
                    kept[i] = learned_weights(trainer.model)
            logs[i].append(entry)
            if progress:
                progress(entry)
    for trainer, weights in zip(trainers, kept, strict=True):
        trainer.model.load_state_dict(weights, strict=False)
    seconds = (time.perf_counter() - begin) / n
    each = zip(trainers, logs, best, strict=True)
    return [Finetuned(log, *b, seconds, t.tokens, t.cut) for t, log, b in each]


def learned_weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy, off the GPU, of the weights that training changes."""
    learned = ((name, w) for name, w in model.named_parameters() if w.requires_grad)
    return {name: w.detach().cpu().clone() for name, w in learned}


class _Trainer:
    """Takes optimizer steps, with as much in memory at one time as there is room for."""

    def __init__(
        self, lesson: Lesson, tokenizer: Any, task: Task, failed: Path | None, seen: Kept | None
    ) -> None:
        model, train, recipe = lesson.model, lesson.train, lesson.recipe
        if not train:
            raise ValueError("no training examples: choose another split or language")
        self.model, self.recipe, self.failed = model, recipe, failed
        self.tokenizer, self.task, self.validation = tokenizer, task, lesson.validation
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
        self.batches = _batches(self.sizes, recipe, lesson.seed)
        self.marks = tokenizer.all_special_ids
        self.drops = np.random.default_rng([lesson.seed, 37])
        self.weights = freeze(model, recipe)
        self.optimizer = optimizer_of(model, recipe)
        self.seen = ({} if seen is None else seen) if recipe.freeze == "encoder" else None
        self.states: list[torch.Tensor] = []  # what the encoder makes of each input, if it is known
        if self.seen is not None and lean.fits(base_of(model)) and not recipe.drop_tokens:
            order = list(islice(self.batches, recipe.steps))
            self.batches = iter(order)
            used = sorted({i for group in order for i in group})
            known = states_of(model, [self.inputs[i] for i in used], self.seen)
            self.states = [torch.empty(0)] * len(train)
            for i, states in zip(used, known, strict=True):
                self.states[i] = states

    def score(self) -> float:
        """On the validation set."""
        now = replace(self.recipe, micro_tokens=self.tokens)
        model, task = self.model, self.task
        scores, _ = evaluate(model, self.tokenizer, task, self.validation, now, self.seen)
        model.train()
        return scores[task.metric].score

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
            known = [torch.cat([self.states[i] for i in part])] if self.states else []
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


class _Stack:
    """Takes the steps of several small models as one."""

    def __init__(self, trainers: Sequence[_Trainer]) -> None:
        self.trainers, self.recipe = trainers, trainers[0].recipe
        self.models = lean.stacked([base_of(trainer.model) for trainer in trainers])
        self.optimizer = optimizer_of(self.models, self.recipe)

    def step(self, step: int) -> list[float]:
        """The loss of each model's next batch."""
        parts = [(trainer, next(trainer.batches)) for trainer in self.trainers]
        each = [(trainer, i) for trainer, group in parts for i in group]
        pad_id = self.models.config.pad_token_id
        source = pad([trainer.inputs[i] for trainer, i in each], pad_id)
        labels = pad([trainer.targets[i] for trainer, i in each], -100)
        known = [torch.cat([t.states[i] for t, i in each])] if each[0][0].states else []
        losses = lean.losses(self.models, source, labels, [len(g) for _, g in parts], *known)
        _take_steps(self.optimizer, rate_of(self.recipe, step - 1), losses)
        return list(losses.tolist())


def _batches(sizes: Sequence[tuple[int, int]], recipe: Recipe, seed: int) -> Iterator[list[int]]:
    """Batches of a number of examples or of tokens, over as many shuffled epochs as it takes."""
    rng = np.random.default_rng([seed, 29 if recipe.batch else 31])
    while True:
        if recipe.batch:
            yield from epoch([size[0] for size in sizes], recipe.batch, rng)
        else:
            yield from token_epoch(sizes, recipe.tokens, rng)
