"""Fine-tuning on one source language, chosen on that language's validation set."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, T5ForConditionalGeneration
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.models.tiny import learning_rate
from xltlib.models.tiny import loss as loss_of
from xltlib.tasks.base import Example, Task
from xltlib.train.generate import answers, encode
from xltlib.train.pretrain import groups, pad, plan_epoch
from xltlib.train.recipes import FinetuneRecipe, Freeze


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning found: its log, and the validation score and step of the kept weights."""

    log: list[dict[str, float]]
    validation: float
    step: int
    seconds: float


def plan_batches(lengths: Sequence[int], size: int, steps: int, seed: int) -> list[list[int]]:
    """`steps` batches over as many shuffled epochs as it takes."""
    rng = np.random.default_rng([seed, 29])
    planned: list[list[int]] = []
    while len(planned) < steps:
        planned += plan_epoch(lengths, size, rng)
    return planned[:steps]


def trainable(model: PreTrainedModel, freeze: Freeze) -> list[torch.nn.Parameter]:
    """The parameters that fine-tuning may change; the others stop asking for gradients."""
    kept = {"nothing": (), "embeddings": ("shared.",), "encoder": ("shared.", "encoder.")}[freeze]
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.startswith(kept) if kept else True)
    return [w for w in model.parameters() if w.requires_grad]


def paced(model: T5ForConditionalGeneration, recipe: FinetuneRecipe) -> list[dict[str, Any]]:
    """What may change, for the optimizer: the encoder and the embeddings at a pace of their own.

    A slower encoder keeps what it read (discriminative fine-tuning: Howard and Ruder 2018,
    10.18653/v1/P18-1031); ``pace`` is the share of the rate.
    """
    low = ("shared.", "encoder.")
    below = {id(w) for name, w in model.named_parameters() if name.startswith(low)}
    found = []
    for group in groups(model, recipe.weight_decay):
        learned = [w for w in group["params"] if w.requires_grad]
        for inside, pace in ((True, recipe.encoder_lr), (False, 1.0)):
            own = [w for w in learned if (id(w) in below) == inside]
            if own:
                found.append({**group, "params": own, "pace": pace})
    return found


def thinned(
    row: np.ndarray, share: float, keep: Collection[int], rng: np.random.Generator
) -> np.ndarray:
    """An input without a random `share` of its token ids, those in `keep` apart.

    The word dropout of Iyyer et al. (2015, 10.3115/v1/P15-1162): a label is learned from the whole
    of a text, not from one word by heart.
    """
    if not share:
        return row
    return row[(rng.random(len(row)) >= share) | np.isin(row, list(keep))]


def finetune(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    task: Task,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipe: FinetuneRecipe,
    *,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Finetuned:
    """Train in place; the weights kept are those best on `validation`, a set of the source."""
    begin = time.perf_counter()
    torch.manual_seed(seed)
    texts = [task.preprocess(e) for e in train]
    inputs = encode(tokenizer, [s for s, _ in texts], recipe.max_length)
    targets = encode(tokenizer, [t for _, t in texts], task.max_target + 1)
    lengths = [len(row) for row in inputs]
    trained = trainable(model, recipe.freeze)
    optimizer = torch.optim.AdamW(paced(model, recipe), lr=recipe.lr, fused=True)
    rng, marks = np.random.default_rng([seed, 37]), tokenizer.all_special_ids
    stops = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}
    best, kept, log = (-1.0, 0), None, []
    model.train()
    for step, group in enumerate(plan_batches(lengths, recipe.batch, recipe.steps, seed), 1):
        rate = learning_rate(step - 1, recipe.steps, recipe.lr)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate * parameters["pace"]
        source = pad([thinned(inputs[i], recipe.drop_tokens, marks, rng) for i in group], 0)
        target = pad([targets[i] for i in group], -100)
        loss = loss_of(model, source, target)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"fine-tuning loss is {loss.item()} at step {step}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        entry = {"step": float(step), "loss": loss.item()}
        if step in stops:
            entry["validation"] = evaluate(model, tokenizer, task, validation, recipe)[0]
            if entry["validation"] > best[0]:
                best = (entry["validation"], step)
                kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
            model.train()
        log.append(entry)
        if progress:
            progress(step, loss.item())
    if kept is not None:
        model.load_state_dict(kept)
    return Finetuned(log, best[0], best[1], time.perf_counter() - begin)


def evaluate(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    task: Task,
    examples: Sequence[Example],
    recipe: FinetuneRecipe,
) -> tuple[float, list[str]]:
    """Main score and output texts of the model on examples."""
    rows = encode(tokenizer, [task.preprocess(e)[0] for e in examples], recipe.max_length)
    outputs = answers(model, tokenizer, rows, max_target=task.max_target)
    return task.evaluate(outputs, examples)[task.metric].score, outputs
