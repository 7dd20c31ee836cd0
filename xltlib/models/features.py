"""Frozen features: what each layer of an encoder makes of texts, words or pieces, kept on disk.

A text is encoded once, in bfloat16 where that is faster, in batches of similar length. What is
kept is float16, in an array that is read without loading it whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from xltlib.io import seal, whole
from xltlib.models.compute import arithmetic, by_length, device, pad

# A text as one vector (the mean over its pieces), a vector a word (its first piece), or a vector
# a piece of the second of two texts, with the mean over the first one beside it.
Unit = Literal["text", "words", "pair"]
_LONGEST = 512
_TOKENS = 1024  # of a batch: on one core, more are slower


@dataclass(frozen=True)
class Features:
    """Vectors of some items: of item i the rows from ``offsets[i]`` to ``offsets[i + 1]``.

    Attributes
    ----------
    vectors
        (rows, layers, width) float16, memory-mapped. Layer 0 is the embeddings.
    offsets
        (items + 1,).
    layers
        Which layers they are.
    ids
        The items' ids, in order.
    unknown
        Share of pieces that the tokenizer cannot write.
    chars
        (rows, 2), of pairs only: where each piece stands in the second text.
    """

    vectors: npt.NDArray[np.float16]
    offsets: npt.NDArray[np.int64]
    layers: tuple[int, ...]
    ids: tuple[str, ...]
    unknown: float
    chars: npt.NDArray[np.int64] | None = None

    def rows(self, items: Sequence[int]) -> npt.NDArray[np.int64]:
        """Numbers of the rows of these items."""
        return np.concatenate([np.arange(*self.offsets[i : i + 2]) for i in items])

    def of(self, items: Sequence[int], layer: int) -> npt.NDArray[np.float32]:
        """Rows of these items at one layer, (rows, width) float32."""
        return self.vectors[self.rows(items), self.layers.index(layer)].astype(np.float32)


@dataclass(frozen=True)
class _Row:
    """Token ids of one item, and which positions become vectors; -1 where it was cut off."""

    ids: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    beside: int = 0  # pieces of the first text of a pair
    chars: tuple[tuple[int, int], ...] = ()


def _rows_of(tokenizer: Any, unit: Unit, items: Sequence[Any]) -> list[_Row]:
    """Token ids of texts, of texts with the place of each word, or of pairs of texts."""
    first = list(items) if unit == "text" else [one for one, _ in items]
    second = [other for _, other in items] if unit == "pair" else None
    encoded = tokenizer(first, second, truncation=True, max_length=_LONGEST)
    found = []
    for i, ids in enumerate(encoded["input_ids"]):
        one = encoded.encodings[i]
        if unit == "text":
            places = np.zeros(1, np.int64)
        elif unit == "words":
            pieces = [one.char_to_token(at) for at in items[i][1]]
            places = np.array([-1 if piece is None else piece for piece in pieces])
        else:
            places = np.array([at for at, s in enumerate(one.sequence_ids) if s == 1])
        if unit == "pair":
            beside = sum(s == 0 for s in one.sequence_ids)
            chars = tuple(one.offsets[at] for at in places)
            found.append(_Row(np.array(ids), places, beside, chars))
        else:
            found.append(_Row(np.array(ids), places))
    return found


def encode(
    model: Any,
    tokenizer: Any,
    unit: Unit,
    items: Sequence[Any],
    ids: Sequence[str],
    layers: Sequence[int],
    folder: Path,
    progress: Callable[[int], None] = lambda n: None,
) -> Features:
    """Encode items and keep their features in `folder`, whole or not at all.

    Parameters
    ----------
    model, tokenizer
        Of `xltlib.models.encoder.load`.
    items
        Texts, texts with the character at which each word begins, or pairs of texts: as `unit`.
    ids
        Their ids.
    layers
        Which hidden states, 0 (the embeddings) to the number of layers.
    progress
        Told the number of items that were encoded.

    Raises
    ------
    ValueError
        A layer that the model has not got.
    OSError
        The disk is full; nothing is left of it.
    """
    n_layers = model.config.num_hidden_layers
    if wrong := [layer for layer in layers if not 0 <= layer <= n_layers]:
        raise ValueError(f"layer {wrong[0]}: the encoder has 0 (embeddings) to {n_layers}")
    rows = _rows_of(tokenizer, unit, items)
    offsets = np.concatenate([[0], np.cumsum([len(r.places) for r in rows])]).astype(np.int64)
    width = model.config.hidden_size * (2 if unit == "pair" else 1)
    shape = (int(offsets[-1]), len(layers), width)
    pieces = np.concatenate([r.ids for r in rows])
    about = {
        "ids": list(ids),
        "layers": list(layers),
        "unknown": float((pieces == tokenizer.unk_token_id).mean()),
    }
    with whole(folder) as temporary:
        temporary.mkdir()
        vectors = _array(temporary / "vectors.npy", shape)
        _fill(vectors, offsets, rows, model, unit, layers, tokenizer.pad_token_id, progress)
        vectors.flush()
        np.save(temporary / "offsets.npy", offsets)
        if unit == "pair":
            np.save(temporary / "chars.npy", np.concatenate([r.chars for r in rows]))
        (temporary / "about.json").write_text(json.dumps(about), encoding="utf-8")
        seal(temporary)
    return read(folder)


def store(vectors: npt.NDArray[Any], ids: Sequence[str], folder: Path) -> Features:
    """Keep sentence vectors (items, width) of a model without layers: they are layer 1 of it."""
    about = {"ids": list(ids), "layers": [1], "unknown": 0.0}
    with whole(folder) as temporary:
        temporary.mkdir()
        np.save(temporary / "vectors.npy", vectors[:, None].astype(np.float16))
        np.save(temporary / "offsets.npy", np.arange(len(ids) + 1))
        (temporary / "about.json").write_text(json.dumps(about), encoding="utf-8")
        seal(temporary)
    return read(folder)


def read(folder: Path) -> Features:
    """The features that `encode` or `store` kept in a folder."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    vectors, chars = np.load(folder / "vectors.npy", mmap_mode="r"), folder / "chars.npy"
    return Features(
        vectors,
        np.load(folder / "offsets.npy"),
        tuple(about["layers"]),
        tuple(about["ids"]),
        about["unknown"],
        np.load(chars) if chars.is_file() else None,
    )


def _array(path: Path, shape: tuple[int, ...]) -> Any:
    """An array on disk whose room is taken before it is filled: a full disk is an error at once."""
    made = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))
    return made


def _fill(
    vectors: Any,
    offsets: npt.NDArray[np.int64],
    rows: Sequence[_Row],
    model: Any,
    unit: Unit,
    layers: Sequence[int],
    pad_id: int,
    progress: Callable[[int], None],
) -> None:
    where = device()
    half = arithmetic(where.type, "bfloat16") == "bfloat16"
    model = model.to(where, torch.bfloat16 if half else torch.float32).eval()
    tokens = _TOKENS * (1 if where.type == "cpu" else 64)
    with _cut(model, max(layers)), torch.inference_mode():
        for group in by_length([(len(r.ids), 0) for r in rows], tokens):
            ids = pad([rows[i].ids for i in group], pad_id).to(where)
            lengths = torch.tensor([len(rows[i].ids) for i in group], device=where)
            mask = torch.arange(ids.shape[1], device=where)[None] < lengths[:, None]
            states = model(
                input_ids=ids, attention_mask=mask.long(), output_hidden_states=True
            ).hidden_states
            _keep(vectors, offsets, rows, group, unit, [states[k] for k in layers], mask)
            progress(len(group))


@contextmanager
def _cut(model: Any, layers: int) -> Iterator[None]:
    """For a while, a model of the BERT family without the layers above: they would be computed."""
    encoder: Any = getattr(model, "encoder", None)
    if not isinstance(every := getattr(encoder, "layer", None), torch.nn.ModuleList):
        yield
        return
    encoder.layer = every[: max(1, layers)]
    try:
        yield
    finally:
        encoder.layer = every


def _keep(
    vectors: Any,
    offsets: npt.NDArray[np.int64],
    rows: Sequence[_Row],
    group: Sequence[int],
    unit: Unit,
    states: Sequence[torch.Tensor],
    mask: torch.Tensor,
) -> None:
    """Put one batch's states where they belong."""
    for k, state in enumerate(states):
        if unit == "text":
            weights = (mask / mask.sum(1, keepdim=True)).to(state.dtype)
            means = torch.bmm(weights[:, None], state)[:, 0]
            vectors[offsets[np.array(group)], k] = means.half().cpu().numpy()
            continue
        values = state.half().cpu().numpy()
        for row, i in zip(values, group, strict=True):
            own = row[rows[i].places]
            own[rows[i].places < 0] = 0
            if unit == "pair":
                asked = row[1 : 1 + rows[i].beside].mean(0, dtype=np.float32)
                own = np.hstack([own, own * asked.astype(np.float16)])
            vectors[offsets[i] : offsets[i + 1], k] = own
