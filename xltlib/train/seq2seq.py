"""Any text-to-text checkpoint (mT5, umT5, ByT5, mT0, mBART, a local folder): load, tune, answer.

The recipe is that of mT5's authors (Xue et al. 2021): Adafactor that scales steps by the size of
each weight matrix, constant rate 1e-3, dropout 0.1, batches of a fixed number of tokens, the
checkpoint that is best on the source language's validation set. Weights stay in float32 and
arithmetic on a GPU is bfloat16: a step changes a weight by a thousandth of its size, and bfloat16
weights cannot hold so small a change.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils.checkpoint
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.io import write_text
from xltlib.tasks.base import Example, Score, Task
from xltlib.train.recipes import Seq2SeqRecipe

Say = Callable[[str], None]
Sizes = Sequence[tuple[int, int]] | Mapping[int, tuple[int, int]]


def _aloud(text: str) -> None:
    print(text, file=sys.stderr)


CHUNK = 1024  # target tokens whose logits exist at one time: 1 GiB for mT5's 250,112 pieces


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning found.

    ``log`` has a line a step (step, loss, and validation where it was scored); ``validation`` and
    ``step`` are those of the weights kept; ``cut`` is the number of inputs that were too long.
    """

    log: list[dict[str, float]]
    validation: float
    step: int
    seconds: float
    micro_tokens: int
    cut: int


# ---------------------------------------------------------------- loading


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(
    name: str, recipe: Seq2SeqRecipe, *, revision: str | None = None, weights: str | None = None
) -> tuple[PreTrainedModel, Tokenizer]:
    """A checkpoint and its tokenizer, ready to be tuned.

    Parameters
    ----------
    name : str
        A repository on the Hub or a local folder. Only safetensors weights are read, no code of
        the repository is run.
    recipe : Seq2SeqRecipe
    revision : str, optional
        Commit of the repository.
    weights : str, optional
        Revision of the weights, where safetensors are not in the same one. On ``main`` the
        library takes them from the pull request of the Hub's conversion service (mT5's are there).

    Raises
    ------
    ValueError
        Not there, no decoder, no whole tokenizer; the message says which and what to do.
    """
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no model {name!r}"
            + (f" at revision {revision!r}" if revision else "")
            + f" ({_first_line(error)}): mend the name, or run once with a network"
        ) from error
    if not config.is_encoder_decoder:
        raise ValueError(
            f"{name} ({config.model_type}) has no encoder and decoder: text-to-text tasks need "
            "one, such as google/mt5-small, google/umt5-small, google/byt5-small or mBART"
        )
    tokenizer = _tokenizer(name, revision, config.vocab_size)
    for rate in ("dropout_rate", "dropout"):
        if hasattr(config, rate):
            setattr(config, rate, recipe.dropout)
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(
            name,
            config=config,
            revision=weights or revision or "main",
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{name} has no whole weights as safetensors ({_first_line(error)}): other formats can "
            "hold code and are not read. Set weights: main, or a revision that has them"
        ) from error
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is not table.weight:
        # transformers 5 says "tied" of every T5, and scales umT5's states for it
        model.config.tie_word_embeddings = False
    if recipe.lora:
        model = _with_lora(model, recipe.lora)
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model.to(device()), tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _tokenizer(name: str, revision: str | None, vocab_size: int) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError, ImportError, TypeError, KeyError) as error:
        raise ValueError(
            f"the tokenizer of {name} is not whole ({_first_line(error)}): its folder needs "
            "tokenizer.json, or spiece.model and the package sentencepiece"
        ) from error
    if 2 * len(tokenizer) < vocab_size:
        raise ValueError(
            f"the tokenizer of {name} has {len(tokenizer)} pieces, the model {vocab_size}: a file "
            "of it is missing (tokenizer.json, or spiece.model)"
        )
    return tokenizer


def _with_lora(model: PreTrainedModel, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ValueError("lora needs the package peft: pip install peft, or lora: 0") from error
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=rank, lora_alpha=2 * rank, lora_dropout=0.0)
    return get_peft_model(model, config)


def check_sentinels(texts: Sequence[str], tokenizer: Tokenizer, n: int = 100) -> None:
    """Refuse texts that number words by sentinels if the tokenizer has none."""
    if not any("<extra_id_" in text for text in texts):
        return
    ids = tokenizer(" ".join(f"<extra_id_{i}>" for i in range(n)))["input_ids"]
    said = tokenizer.decode(ids)
    if len(ids) > 2 * n + 1 or not all(f"<extra_id_{i}>" in said for i in range(n)):
        raise ValueError(
            f"this task numbers words by <extra_id_0> to <extra_id_{n - 1}>, which the tokenizer "
            "has not got as single pieces: take mT5, umT5 or mT0, or a task that needs none"
        )


# ---------------------------------------------------------------- batches


def encode(tokenizer: Tokenizer, texts: Sequence[str], longest: int) -> tuple[list[list[int]], int]:
    """Token ids of each text, cut at `longest` with its end marker kept, and how many were cut."""
    full = tokenizer(list(texts))["input_ids"]
    end = tokenizer.eos_token_id
    cut = sum(len(row) > longest for row in full)
    return [row if len(row) <= longest else [*row[: longest - 1], end] for row in full], cut


def token_batches(
    sizes: Sequence[tuple[int, int]], tokens: int, rng: np.random.Generator, window: int = 4096
) -> list[list[int]]:
    """One shuffled epoch in batches of at most `tokens`, padding of both sides included.

    Parameters
    ----------
    sizes
        (input, target) lengths of each example. Like lengths go together within a window of
        shuffled examples; an example longer than the budget is a batch of its own.
    """
    order, made = rng.permutation(len(sizes)), []
    for at in range(0, len(order), window):
        group: list[int] = []
        for i in sorted((int(i) for i in order[at : at + window]), key=lambda i: sizes[i]):
            if group and padded_tokens([*group, i], sizes) > tokens:
                made.append(group)
                group = []
            group.append(i)
        made += [group] if group else []
    return [made[i] for i in rng.permutation(len(made))]


def padded_tokens(group: Sequence[int], sizes: Sizes) -> int:
    """Tokens of a batch with its padding."""
    longest = [max(sizes[i][side] for i in group) for side in (0, 1)]
    return len(group) * sum(longest)


def split(group: Sequence[int], sizes: Sizes, tokens: int) -> list[list[int]]:
    """A batch in pieces of at most `tokens`, or of single examples."""
    made: list[list[int]] = [[]]
    for i in sorted(group, key=lambda i: sizes[i]):
        if made[-1] and padded_tokens([*made[-1], i], sizes) > tokens:
            made.append([])
        made[-1].append(i)
    return made


def pad(rows: Sequence[Sequence[int]], value: int, where: torch.device) -> torch.Tensor:
    """Rows of ids as one (n, longest) tensor."""
    width = max(map(len, rows))
    return torch.tensor([[*r, *[value] * (width - len(r))] for r in rows], device=where)


# ---------------------------------------------------------------- loss


def base_of(model: Any) -> Any:
    """The model inside LoRA's wrapper, or itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def summed_loss(
    model: Any, source: torch.Tensor, labels: torch.Tensor, pad_id: int
) -> torch.Tensor:
    """Cross-entropy summed over the target tokens; positions with label -100 do not count.

    For the T5 family the vocabulary's logits are made only where there is a target, `CHUNK`
    tokens at a time, and again on the way back: 64 targets of 128 tokens would take 8 GB at once.
    """
    base, mask = base_of(model), source != pad_id
    real = labels != -100
    if not _plain_head(base):
        out = model(input_ids=source, attention_mask=mask, labels=labels)
        return torch.nn.functional.cross_entropy(
            out.logits[real].float(), labels[real], reduction="sum"
        )
    encoded = base.encoder(input_ids=source, attention_mask=mask).last_hidden_state
    states = base.decoder(
        input_ids=base.prepare_decoder_input_ids_from_labels(labels),
        encoder_hidden_states=encoded,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state[real]
    parts = zip(states.split(CHUNK), labels[real].split(CHUNK), strict=True)
    losses = [
        torch.utils.checkpoint.checkpoint(_chunk_loss, base.lm_head, s, t, use_reentrant=False)
        for s, t in parts
    ]
    return torch.stack(losses).sum()


def _plain_head(base: Any) -> bool:
    """Whether logits are the output embeddings times the decoder's states, unscaled."""
    config = base.config
    scaled = config.tie_word_embeddings or getattr(config, "scale_decoder_outputs", False)
    return config.model_type in ("t5", "mt5", "umt5") and not scaled


def _chunk_loss(head: torch.nn.Module, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(head(states).float(), labels, reduction="sum")


def arithmetic(recipe: Seq2SeqRecipe) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic on float32 weights, where the recipe asks for it."""
    where = device().type
    low = recipe.precision == "bfloat16" or (recipe.precision == "auto" and where == "cuda")
    return torch.autocast(where, torch.bfloat16) if low else nullcontext()


# ---------------------------------------------------------------- tuning


class Tuner:
    """Takes optimizer steps, with as much in memory at one time as there is room for."""

    def __init__(self, model: Any, tokenizer: Tokenizer, recipe: Seq2SeqRecipe, say: Say) -> None:
        self.model, self.recipe, self.say = model, recipe, say
        self.pad_id = int(tokenizer.pad_token_id or 0)
        self.weights = [w for w in model.parameters() if w.requires_grad]
        self.optimizer = make_optimizer(self.weights, recipe)

    def gradients(
        self, group: Sequence[int], inputs: list[list[int]], targets: list[list[int]]
    ) -> float:
        """Mean loss over the target tokens of a batch; its gradients are left on the weights."""
        sizes = {i: (len(inputs[i]), len(targets[i])) for i in group}
        total, loss = sum(size[1] for size in sizes.values()), 0.0
        where = next(self.model.parameters()).device
        for part in split(group, sizes, self.recipe.micro_tokens):
            source = pad([inputs[i] for i in part], self.pad_id, where)
            labels = pad([targets[i] for i in part], -100, where)
            with arithmetic(self.recipe):
                mean = summed_loss(self.model, source, labels, self.pad_id) / total
            mean.backward()
            loss += mean.item()
        return loss

    def step(
        self, group: Sequence[int], inputs: list[list[int]], targets: list[list[int]]
    ) -> float:
        """One optimizer step; when memory runs out, again with half as much at one time."""
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss = self.gradients(group, inputs, targets)
                break
            except torch.OutOfMemoryError:
                longest = max(len(inputs[i]) + len(targets[i]) for i in group)
            self.optimizer.zero_grad(set_to_none=True)
            self.recipe = with_less(self.recipe, longest, self.say)
        if np.isfinite(loss):
            torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()
        return loss


def with_less(recipe: Seq2SeqRecipe, longest: int, say: Say) -> Seq2SeqRecipe:
    """The recipe with half as many tokens in memory; an error if it is one example already."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if recipe.micro_tokens <= longest:
        raise ValueError(
            f"one example of {longest} tokens does not fit into memory: set checkpointing: true, "
            "lora: 16, a smaller max_input or a smaller model"
        )
    less = max(recipe.micro_tokens // 2, longest)
    say(f"out of memory: going on with {less} tokens at one time")
    return replace(recipe, micro_tokens=less)


def make_optimizer(
    weights: Sequence[torch.nn.Parameter], recipe: Seq2SeqRecipe
) -> torch.optim.Optimizer:
    """Adafactor as T5's authors ran it, or AdamW without decay; the rate is constant.

    torch's Adafactor multiplies the rate by the root mean square of each weight matrix and clips
    updates at 1, and its rate is min(lr, 1/sqrt(step)): for 1e-3 constant until step 10^6.
    """
    if recipe.optimizer == "adafactor":
        return torch.optim.Adafactor(weights, lr=recipe.lr)
    return torch.optim.AdamW(weights, lr=recipe.lr, weight_decay=0.0)


def finetune(
    model: Any,
    tokenizer: Tokenizer,
    task: Task,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipe: Seq2SeqRecipe,
    *,
    seed: int = 0,
    kept: Path | None = None,
    say: Say = _aloud,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> Tuned:
    """Train in place; the weights kept are those best on `validation`, a set of the source.

    `progress` is told each line of the log.

    Raises
    ------
    FloatingPointError
        The loss is not a number; with `kept`, the step and the batch's texts are in
        ``kept/not-a-number.json``.
    """
    begin = time.perf_counter()
    torch.manual_seed(seed)
    if not train:
        raise ValueError("no training examples: choose another split or language")
    texts = [task.preprocess(e) for e in train]
    check_sentinels([s for s, _ in texts[:50]], tokenizer)
    inputs, cut = encode(tokenizer, [s for s, _ in texts], recipe.max_input)
    targets, cut_targets = encode(tokenizer, [t for _, t in texts], task.max_target)
    if cut or cut_targets:
        say(f"{cut} inputs and {cut_targets} targets of {len(train)} are too long and were cut")
    tuner = Tuner(model, tokenizer, recipe, say)
    stops = {round(recipe.steps * (i + 1) / recipe.evaluations) for i in range(recipe.evaluations)}
    best: tuple[float, int] = (-1.0, 0)
    state, log = None, []
    model.train()
    for step, group in enumerate(_forever(inputs, targets, recipe, seed), 1):
        loss = tuner.step(group, inputs, targets)
        if not np.isfinite(loss):
            _not_a_number(step, loss, [(train[i].id, *texts[i]) for i in group], kept)
        entry = {"step": float(step), "loss": loss}
        if step in stops and validation:
            found, _ = evaluate(model, tokenizer, task, validation, tuner.recipe, say=say)
            entry["validation"] = found[task.metric].score
            if entry["validation"] > best[0]:
                best, state = (entry["validation"], step), learned_weights(model)
            model.train()
        log.append(entry)
        if progress:
            progress(entry)
        if step == recipe.steps:
            break
    if state is not None:
        model.load_state_dict(state, strict=False)
    seconds = time.perf_counter() - begin
    return Tuned(log, best[0], best[1] or recipe.steps, seconds, tuner.recipe.micro_tokens, cut)


def _forever(
    inputs: list[list[int]], targets: list[list[int]], recipe: Seq2SeqRecipe, seed: int
) -> Iterator[list[int]]:
    rng = np.random.default_rng([seed, 31])
    sizes = [(len(a), len(b)) for a, b in zip(inputs, targets, strict=True)]
    while True:
        yield from token_batches(sizes, recipe.tokens, rng)


def learned_weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy, off the GPU, of the weights that training changes."""
    learned = {name for name, w in model.named_parameters() if w.requires_grad}
    return {
        name: value.detach().cpu().clone()
        for name, value in model.state_dict().items()
        if name in learned
    }


def _not_a_number(
    step: int, loss: float, batch: list[tuple[str, str, str]], kept: Path | None
) -> None:
    where = ""
    if kept is not None:
        rows = [dict(zip(("id", "input", "target"), row, strict=True)) for row in batch]
        record = {"step": step, "loss": str(loss), "batch": rows}
        where = f"; the batch is in {kept / 'not-a-number.json'}"
        write_text(kept / "not-a-number.json", json.dumps(record, ensure_ascii=False))
    raise FloatingPointError(
        f"the loss is {loss} at step {step}{where}. Take a smaller lr, or precision: float32"
    )


# ---------------------------------------------------------------- answering


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    recipe: Seq2SeqRecipe,
    max_target: int,
) -> list[str]:
    """Greedy output text for each input, in batches of like length."""
    model.eval()
    rows, _ = encode(tokenizer, texts, recipe.max_input)
    pad_id, where = int(tokenizer.pad_token_id or 0), next(model.parameters()).device
    said = [""] * len(rows)
    sizes = [(len(row), max_target) for row in rows]
    for group in split(range(len(rows)), sizes, recipe.micro_tokens):
        source = pad([rows[i] for i in group], pad_id, where)
        with arithmetic(recipe):
            out = model.generate(
                input_ids=source,
                attention_mask=source != pad_id,
                max_new_tokens=max_target,
                do_sample=False,
                num_beams=1,
            )
        for i, ids in zip(group, out.tolist(), strict=True):
            said[i] = plain(tokenizer, ids)
    return said


def plain(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of output ids: sentinels stay, padding and end marker go."""
    start = [i for i, token in enumerate(ids) if token != tokenizer.pad_token_id]
    ids = list(ids)[start[0] :] if start else []
    end = ids.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in ids else len(ids)
    return str(tokenizer.decode(ids[:end], skip_special_tokens=False)).strip()


@torch.inference_mode()
def choose(
    model: Any,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    labels: Sequence[str],
    recipe: Seq2SeqRecipe,
) -> list[str]:
    """The label word that the model gives the highest probability as the whole output.

    The input is read once; each label costs one pass of the decoder.
    """
    model.eval()
    base = base_of(model)
    rows, _ = encode(tokenizer, texts, recipe.max_input)
    words, _ = encode(tokenizer, labels, recipe.max_input)
    pad_id, where = int(tokenizer.pad_token_id or 0), next(model.parameters()).device
    said = [""] * len(rows)
    for group in split(range(len(rows)), [(len(r), 1) for r in rows], recipe.micro_tokens):
        source = pad([rows[i] for i in group], pad_id, where)
        mask = source != pad_id
        with arithmetic(recipe):
            encoded = base.get_encoder()(input_ids=source, attention_mask=mask)
            scores = [
                _log_probability(model, encoded, mask, torch.tensor(word, device=where))
                for word in words
            ]
        for i, best in zip(group, torch.stack(scores).argmax(0).tolist(), strict=True):
            said[i] = labels[best]
    return said


def _log_probability(
    model: Any, encoded: Any, mask: torch.Tensor, word: torch.Tensor
) -> torch.Tensor:
    """Log probability of one label's tokens, end marker included, for each input: (n,)."""
    labels = word.repeat(len(mask), 1)
    logits = model(encoder_outputs=encoded, attention_mask=mask, labels=labels).logits.float()
    return logits.log_softmax(-1).gather(2, labels[:, :, None])[:, :, 0].sum(1)


def evaluate(
    model: Any,
    tokenizer: Tokenizer,
    task: Task,
    examples: Sequence[Example],
    recipe: Seq2SeqRecipe,
    *,
    labels: Sequence[str] = (),
    say: Say = _aloud,
) -> tuple[dict[str, Score], list[str]]:
    """Scores by metric, `illegal` among them, and the output texts.

    With `labels` the outputs are chosen among these words, else they are generated.
    """
    texts = [task.preprocess(e)[0] for e in examples]
    while True:
        try:
            if labels:
                said = choose(model, tokenizer, texts, labels, recipe)
            else:
                said = generate(model, tokenizer, texts, recipe, task.max_target)
            return task.evaluate(said, examples), said
        except torch.OutOfMemoryError:
            pass  # outside, so that the error holds no memory
        recipe = with_less(recipe, task.max_target, say)
