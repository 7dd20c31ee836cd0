"""What every optimizer step is made of: which weights, at what rate, and the step itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from xltlib.models.compute import base_of
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
    for loss in losses:
        loss.backward()
        total += loss.item()
    if not math.isfinite(total):
        raise FloatingPointError(f"the loss is {total}")
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["pace"]
    optimizer.step()
    return total


def take_steps(optimizer: torch.optim.Optimizer, rate: float, losses: torch.Tensor) -> None:
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
