"""Span corruption on unannotated text, each language by itself (as mT5, Xue et al. 2021)."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import T5ForConditionalGeneration

from xltlib.io import whole
from xltlib.models.compute import epoch, loss, pad
from xltlib.models.tiny import health
from xltlib.train.finetune import cosine, groups, take_step
from xltlib.train.recipes import PretrainRecipe


def span_corrupt(
    units: Sequence[Sequence[int]],
    rng: np.random.Generator,
    sentinels: Sequence[int],
    *,
    noise: float = 0.15,
    mean_span: float = 3.0,
    eos: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide random spans; the target names them (Raffel et al. 2020, section 3.1.4).

    Parameters
    ----------
    units
        The text as token ids, grouped in units that are hidden whole: single pieces as in T5,
        or words.
    noise, mean_span
        Share of units to hide and mean length of a hidden span, in units.
    sentinels
        Ids of ``<extra_id_0>``, ``<extra_id_1>``, …

    Returns
    -------
    (input, target), both ending in `eos`. With A B C D E and "B C" hidden:
    ``A <0> D E </s>`` and ``<0> B C <1> </s>``.
    """
    n = len(units)
    n_hidden = min(max(round(n * noise + rng.uniform(-0.5, 0.5)), 1), n)
    n_spans = min(max(round(n_hidden / mean_span), 1), n - n_hidden + 1, len(sentinels) - 1)
    hidden = _lengths(n_hidden, n_spans, rng, least=1)
    shown = _lengths(n - n_hidden, n_spans + 1, rng, least=0)
    source: list[int] = []
    target: list[int] = []
    at = 0
    for mark, keep, hide in zip(sentinels, shown, hidden, strict=False):
        source += [i for unit in units[at : at + keep] for i in unit] + [mark]
        target += [mark] + [i for unit in units[at + keep : at + keep + hide] for i in unit]
        at += keep + hide
    source += [i for unit in units[at:] for i in unit]
    return np.array([*source, eos]), np.array([*target, sentinels[n_spans], eos])


def _lengths(total: int, parts: int, rng: np.random.Generator, least: int) -> list[int]:
    """A random division of `total` into `parts`, none under `least`."""
    room = total - least * parts
    cuts = sorted(rng.integers(0, room + 1, parts - 1).tolist())
    return [b - a + least for a, b in pairwise([0, *cuts, room])]


class Sampler:
    """Batches of lines, each of one language, each language equally often.

    mT5 draws languages with probability proportional to size^0.3 (Xue et al. 2021); here all have
    the same number of lines, so every exponent gives the same.

    With a budget (`recipe.tokens`) every language has its share of tokens instead: a model that
    knows one language more reads less of each. `recipe` then has the steps that spend the budget.
    """

    def __init__(
        self, text: Mapping[str, Sequence[str]], tokenizer: Tokenizer, recipe: PretrainRecipe
    ) -> None:
        self.recipe = recipe
        encoded = {
            code: tokenizer(list(lines), add_special_tokens=False)["input_ids"]
            for code, lines in text.items()
        }
        if recipe.tokens:
            share = recipe.tokens // (recipe.epochs * len(text))
            encoded = {c: _up_to(rows, share, recipe.max_length) for c, rows in encoded.items()}
        self.lines = {code: len(rows) for code, rows in encoded.items()}  # the first of each
        ids = [row for rows in encoded.values() for row in rows]
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        starts = np.array([piece.startswith("▁") for piece in pieces])
        self.rows = [self._units(np.array(row[: recipe.max_length]), starts) for row in ids]
        self.n_tokens = sum(len(row) for row in ids)
        self.read = {c: sum(len(r[: recipe.max_length]) for r in v) for c, v in encoded.items()}
        if recipe.tokens:
            a_step = recipe.batch * sum(self.read.values()) / len(ids)
            self.recipe = replace(recipe, steps=max(1, round(recipe.tokens / a_step)))
        vocabulary = tokenizer.get_vocab()
        self.sentinels = [vocabulary[f"<extra_id_{i}>"] for i in range(16)]
        self.queue: list[list[int]] = []

    def _units(self, ids: np.ndarray, starts: np.ndarray) -> list[list[int]]:
        if self.recipe.unit == "piece":
            return [[int(i)] for i in ids]
        cuts = np.flatnonzero(starts[ids])
        return [part.tolist() for part in np.split(ids, cuts) if len(part)]

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, input length) ids padded with 0 and (batch, target length) labels padded -100."""
        if not self.queue:
            self.queue = epoch([sum(map(len, r)) for r in self.rows], self.recipe.batch, rng)
        noise, mean = self.recipe.noise, self.recipe.mean_span
        rows = [self.rows[i] for i in self.queue.pop()]
        pairs = [span_corrupt(r, rng, self.sentinels, noise=noise, mean_span=mean) for r in rows]
        return pad([s for s, _ in pairs], 0), pad([t for _, t in pairs], -100)


def _up_to(rows: Sequence[list[int]], tokens: int, longest: int) -> list[list[int]]:
    """The first rows that hold `tokens` between them, each counted up to `longest`.

    >>> _up_to([[1, 2, 3], [4], [5, 6]], 4, 48)
    [[1, 2, 3], [4]]
    """
    held = np.cumsum([min(len(row), longest) for row in rows])
    return list(rows[: int(np.searchsorted(held, tokens, side="left")) + 1])


def pretrain(
    model: T5ForConditionalGeneration,
    sampler: Sampler,
    recipe: PretrainRecipe,
    *,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
    every: int = 100,
    checkpoint: Path | None = None,
    keep: int = 1000,
) -> list[dict[str, float]]:
    """Train in place; returns the log: step, loss, learning rate, seconds, embedding health.

    With a `checkpoint` file the state is kept there every `keep` steps (a multiple of `every`), and
    training goes on from it: the weights in the end are those of an uninterrupted run, bit by bit.
    """
    rng = np.random.default_rng([seed, 17])
    torch.manual_seed(seed)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(
        groups(model, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98), fused=True
    )
    model.train()
    state = _State(checkpoint, model, optimizer, sampler, rng)
    log = state.restore()
    first, spent = (int(log[-1]["step"]), log[-1]["seconds"]) if log else (0, 0.0)
    begin = time.perf_counter() - spent
    recent: list[float] = []
    for step in range(first, recipe.steps):
        rate = cosine(step, recipe.steps, recipe.lr)
        batch = loss(model, *sampler.batch(rng), recipe.precision)
        try:
            recent.append(take_step(optimizer, weights, rate, [batch]))
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} at step {step + 1} of pre-training") from None
        if progress:
            progress(step + 1, recent[-1])
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            row = {"step": step + 1, "loss": float(np.mean(recent)), "lr": rate}
            log.append(row | {"seconds": time.perf_counter() - begin} | health(model))
            recent = []
            if (step + 1) % keep == 0:
                state.keep(log)
    return log


@dataclass(frozen=True)
class _State:
    """Everything that the next step depends on, kept in a file of plain tensors and text."""

    path: Path | None
    model: T5ForConditionalGeneration
    optimizer: torch.optim.Optimizer
    sampler: Sampler
    rng: np.random.Generator

    def keep(self, log: Sequence[dict[str, float]]) -> None:
        """Write it, with the log so far; nothing where there is no file to write."""
        if self.path is None:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "queue": self.sampler.queue,
            "rng": json.dumps(self.rng.bit_generator.state),
            "log": json.dumps(list(log)),
        }
        content = io.BytesIO()
        torch.save(state, content)
        with whole(self.path) as temporary, temporary.open("wb") as file:
            file.write(hashlib.sha256(content.getbuffer()).digest())  # torch looks at no checksum
            file.write(content.getbuffer())

    def restore(self) -> list[dict[str, float]]:
        """Go back to what `keep` wrote; the log so far.

        Without a file, or with a damaged one, training starts from nothing: the log is empty.
        """
        if self.path is None or not self.path.is_file():
            return []
        found, where = self.path.read_bytes(), self.model.device
        try:
            if hashlib.sha256(found[32:]).digest() != found[:32]:
                raise EOFError
            state = torch.load(io.BytesIO(found[32:]), weights_only=True, map_location=where)
        except (EOFError, RuntimeError, pickle.UnpicklingError):
            what = "is damaged: pre-training starts again from nothing"
            warnings.warn(f"{self.path} {what}", stacklevel=3)
            return []
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sampler.queue = state["queue"]
        self.rng.bit_generator.state = json.loads(state["rng"])
        return list(json.loads(state["log"]))
