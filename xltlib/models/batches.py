"""Texts as token ids and back, and batches of texts of similar length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from xltlib.models.compute import base_of

Sizes = Sequence[tuple[int, int]]  # (input, target) tokens of each example


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


def split(order: Iterable[int], sizes: Sizes, tokens: int) -> list[list[int]]:
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


def by_length(sizes: Sizes, tokens: int) -> list[list[int]]:
    """`split` of examples in the order of their length: little padding."""
    return split(sorted(range(len(sizes)), key=sizes.__getitem__), sizes, tokens)


def token_epoch(
    sizes: Sizes, tokens: int, rng: np.random.Generator, window: int = 4096
) -> list[list[int]]:
    """One shuffled epoch in batches of at most `tokens`; similar lengths go together in windows."""
    order, made = rng.permutation(len(sizes)).tolist(), []
    for at in range(0, len(order), window):
        made += split(sorted(order[at : at + window], key=sizes.__getitem__), sizes, tokens)
    return [made[i] for i in rng.permutation(len(made))]


def epoch(
    lengths: Sequence[int], size: int, rng: np.random.Generator, window: int = 16
) -> list[list[int]]:
    """One shuffled epoch in batches of `size`; similar lengths together in windows of batches."""
    order, made = rng.permutation(len(lengths)).tolist(), []
    for at in range(0, len(order), window * size):
        part = sorted(order[at : at + window * size], key=lengths.__getitem__)
        chunks = [part[j : j + size] for j in range(0, len(part), size)]
        made += [chunks[i] for i in rng.permutation(len(chunks))]
    return made
