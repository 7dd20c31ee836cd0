"""Text-to-text models at work: where and how precisely, batches of token ids, and the loss."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from xltlib.io import say
from xltlib.models import Precision, lean


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def arithmetic(device: str, asked: Precision) -> Precision:
    """What matrices are multiplied in, ``bfloat16`` or ``float32``.

    On a CPU bfloat16 is taken only where a product is faster in it, which flags do not say: with
    AVX-512 BF16 and no AMX it was half as fast as float32 (`benchmarks/precision.py`).
    """
    if asked == "float32" or device == "cuda":
        return "float32" if asked == "float32" else "bfloat16"
    return "bfloat16" if asked == "bfloat16" and _half_pays() else "float32"


def _half_pays() -> bool:
    """Whether this CPU multiplies bfloat16 clearly faster than float32 (40 ms to find out)."""
    if not any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16")):
        return False  # emulated
    kinds, took = (torch.float32, torch.bfloat16), dict[torch.dtype, list[float]]()
    for kind in 5 * kinds:  # in turns, so that what else the machine does meets both
        one, other = torch.ones(512, 384, dtype=kind), torch.ones(384, 1536, dtype=kind)
        begin = time.perf_counter()
        torch.mm(one, other)
        took.setdefault(kind, []).append(time.perf_counter() - begin)
    single, half = (min(took[kind]) for kind in kinds)
    return half < 0.8 * single


def autocast(model: Any, precision: Precision) -> torch.autocast:
    """`arithmetic` on the model's device, on float32 weights, while the context lasts."""
    where = model.device.type
    return torch.autocast(where, torch.bfloat16, arithmetic(where, precision) == "bfloat16")


def base_of(model: Any) -> Any:
    """The model inside LoRA's wrapper, or itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def longest(model: Any, asked: int) -> int:
    """Tokens of an input: as many as asked for, or as a BERT-like encoder has positions."""
    of = getattr(base_of(model).config, "encoder", None)
    offset = 0 if of is None or of.model_type == "bert" else of.pad_token_id + 1  # RoBERTa's way
    return min(asked, getattr(of, "max_position_embeddings", asked + offset) - offset)


def is_t5(model: Any) -> bool:
    """Whether a model is of the T5 family (T5, mT5, umT5, ByT5, mT0, ours)."""
    return base_of(model).config.model_type in ("t5", "mt5", "umt5")


def loss(
    model: Any,
    source: torch.Tensor,
    labels: torch.Tensor,
    precision: Precision = "auto",
    total: int = 0,
    encoded: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy of the target tokens; positions with label -100 do not count.

    The same number as ``model(...).loss``. For the T5 family the vocabulary's logits are made only
    where there is a target, some at a time (64 targets of 128 tokens would take mT5 8 GB at once),
    and on a CPU the states before them in fewer steps: see `xltlib.models.lean`.

    Parameters
    ----------
    source, labels
        (n, length) token ids, padded with the model's padding id and -100.
    total
        Target tokens of a batch that this is a part of: the parts' losses add up to its mean.
    encoded
        The encoder's states (tokens, width), where they are known and `lean.fits` the model.
    """
    base = base_of(model)
    source, labels = source.to(base.device), labels.to(base.device)
    mask, real = source != base.config.pad_token_id, labels != -100
    with autocast(base, precision):
        if is_t5(base) and not lean.scaled(base.config):  # logits: embeddings times states
            if lean.fits(base):
                read = lean.Packed(mask)
                rows = lean.encoded(base, source, read) if encoded is None else encoded
                states = lean.decoded(base, labels, rows, read)
            else:
                states = _states(base, source, mask, labels)[real]
            summed = lean.summed(states, base.lm_head.weight, labels[real])
        else:
            shown = shifted(base, labels)
            logits = model(input_ids=source, attention_mask=mask, **shown).logits[real]
            summed = cross_entropy(logits.float(), labels[real], reduction="sum")
    return summed / (total or real.sum())


def shifted(base: Any, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a model is given to predict labels: an `EncoderDecoderModel` its decoder's input.

    With labels it would warn, and hide pieces whose number is that of the input's padding.
    """
    if base.config.model_type != "encoder-decoder":
        return {"labels": labels}
    return {"decoder_input_ids": base.prepare_decoder_input_ids_from_labels(labels)}


def _states(
    base: Any, source: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The decoder's states, (n, target length, width)."""
    encoded = base.encoder(input_ids=source, attention_mask=mask).last_hidden_state
    states: torch.Tensor = base.decoder(
        input_ids=base.prepare_decoder_input_ids_from_labels(labels),
        encoder_hidden_states=encoded,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
    return states


def halved(tokens: int, longest: int) -> int:
    """Half as many tokens in memory at one time, when it ran out.

    Raises
    ------
    ValueError
        One example, of `longest` tokens, is all there is already.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if tokens <= longest:
        raise ValueError(
            f"one example of {longest} tokens does not fit into memory: set checkpointing: true, "
            "lora: 16, a smaller max_input or a smaller model"
        )
    less = max(tokens // 2, longest)
    say(f"out of memory: going on with {less} tokens at one time")
    return less


def prepare_process() -> None:
    """One thread, and memory kept by the process between steps.

    Two jobs with two threads each on two cores ran six times slower than with one each. glibc
    returns large blocks to the system when freed and faults them in again at the next step, which
    took up to half the time of a small model's step; on other systems this does nothing.
    """
    torch.set_num_threads(1)
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
        except OSError:  # another C library
            pass


# ---------------------------------------------------------------- texts as ids, and batches of them

_Sizes = Sequence[tuple[int, int]]  # (input, target) tokens of each example


def encode(
    tokenizer: Any, texts: Sequence[str], longest: int = 128
) -> tuple[list[np.ndarray], int]:
    """Token ids of each text, cut at `longest` with its end marker kept, and how many were cut."""
    full = tokenizer(list(texts))["input_ids"]
    end, cut = end_of(tokenizer), sum(len(row) > longest for row in full)
    rows = [row if len(row) <= longest else [*row[: longest - 1], end] for row in full]
    return [np.array(row, dtype=np.int64) for row in rows], cut


def encode_targets(
    model: Any, tokenizer: Any, texts: Sequence[str], longest: int
) -> tuple[list[np.ndarray], int]:
    """`encode` in the numbers of the model's decoder, which may know some of the pieces only."""
    rows, cut = encode(tokenizer, texts, longest)
    pieces = _output_pieces(model)
    if not pieces:
        return rows, cut
    number = {piece: i for i, piece in enumerate(pieces)}
    unknown, start = number[tokenizer.unk_token_id], start_of(tokenizer)
    kept = [[number.get(int(piece), unknown) for piece in row if piece != start] for row in rows]
    return [np.array(row, dtype=np.int64) for row in kept], cut


def decode(model: Any, tokenizer: Any, ids: Iterable[int]) -> str:
    """The text of a decoder's ids up to the end marker: sentinels stay, other marks go."""
    pieces, kept = _output_pieces(model), list[int]()
    end, marks = end_of(tokenizer), (tokenizer.pad_token_id, start_of(tokenizer))
    for token in (pieces[i] for i in ids) if pieces else ids:
        if token == end:
            break
        if token not in marks:
            kept.append(token)
    return str(tokenizer.decode(kept, skip_special_tokens=False)).strip()


def _output_pieces(model: Any) -> list[int]:
    """The tokenizer's id of each number of the decoder; empty: the same."""
    return getattr(base_of(model).config, "output_pieces", None) or []


def start_of(tokenizer: Any) -> int | None:
    """The mark before a text, which BERT's tokenizers call by another name; T5's have none."""
    return tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def end_of(tokenizer: Any) -> int:
    """The mark behind a text, which BERT's tokenizers call by another name."""
    return tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id


def pad(rows: Sequence[np.ndarray], value: int) -> torch.Tensor:
    """Rows of ids as one (n, longest) tensor."""
    full = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for i, row in enumerate(rows):
        full[i, : len(row)] = row
    return torch.from_numpy(full)


def split(order: Iterable[int], sizes: _Sizes, tokens: int) -> list[list[int]]:
    """Indices, in their order, in parts of at most `tokens`, padding of both sides included.

    An example that is longer is a part of its own.
    """
    parts: list[list[int]] = []
    widest: Sequence[int] = (0, 0)
    for i in order:
        wider = [max(pair) for pair in zip(widest, sizes[i], strict=True)]
        if parts and sum(wider) * (len(parts[-1]) + 1) <= tokens:
            parts[-1].append(i)
            widest = wider
        else:
            parts.append([i])
            widest = sizes[i]
    return parts


def by_length(sizes: _Sizes, tokens: int) -> list[list[int]]:
    """`split` of examples in the order of their length: little padding."""
    return split(sorted(range(len(sizes)), key=sizes.__getitem__), sizes, tokens)


def token_epoch(
    sizes: _Sizes, tokens: int, rng: np.random.Generator, window: int = 4096
) -> list[list[int]]:
    """One shuffled epoch in batches of at most `tokens`; similar lengths go together in windows."""
    order, made = rng.permutation(len(sizes)).tolist(), []
    for at in range(0, len(order), window):
        made += split(sorted(order[at : at + window], key=sizes.__getitem__), sizes, tokens)
    return [made[i] for i in rng.permutation(len(made))]


def epoch(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[list[int]]:
    """One shuffled epoch in batches of `size`; similar lengths go together in windows of 16."""
    order, made = rng.permutation(len(lengths)).tolist(), []
    for at in range(0, len(order), 16 * size):
        part = sorted(order[at : at + 16 * size], key=lengths.__getitem__)
        chunks = [part[j : j + size] for j in range(0, len(part), size)]
        made += [chunks[i] for i in rng.permutation(len(chunks))]
    return made
