"""Build a cache of the Hugging Face Hub as its client keeps it, without the Hub."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
Tables = Mapping[str, Mapping[str, Mapping[str, list[Any]]]]


def features(columns: Mapping[str, list[Any]]) -> Any:
    """Features as the Hub's parquet files carry them: labels are numbers with names."""
    from datasets import ClassLabel, Features, List, Value

    from xltlib.data.cards import VIEWS

    known = {
        "label": ClassLabel(
            names=list(VIEWS["xnli"].labels) if "premise" in columns else ["0", "1"]
        ),
        "ner_tags": List(ClassLabel(names=NER)),
        "pos_tags": List(ClassLabel(names=list(VIEWS["udpos"].labels))),
        "tokens": List(Value("string")),
        "id": Value("int32") if "sentence1" in columns else Value("string"),
        "answers": {"text": List(Value("string")), "answer_start": List(Value("int32"))},
    }
    return Features({c: known.get(c, Value("string")) for c in columns})


def put(root: Path, repository: str, revision: str, tables: Tables) -> Path:
    """Add configurations -> splits -> columns to the cache; returns the snapshot's folder."""
    from datasets import Dataset

    home = root / f"datasets--{repository.replace('/', '--')}"
    snapshot, blobs = home / "snapshots" / revision, home / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    configs = []
    for config, splits in tables.items():
        for split, columns in splits.items():
            path = snapshot / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            written = blobs / "written.parquet"
            Dataset.from_dict(dict(columns), features=features(columns)).to_parquet(written)
            blob = blobs / hashlib.sha256(written.read_bytes()).hexdigest()
            written.rename(blob)
            path.symlink_to(blob)
        files = [{"split": s, "path": f"{config}/{s}-*"} for s in splits]
        configs.append({"config_name": config, "data_files": files})
    (snapshot / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n# Data\n")
    return snapshot


def go_offline(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Let this process, and those it starts, see this cache and no network."""
    import datasets
    from huggingface_hub import constants

    patch.setattr(constants, "HF_HUB_CACHE", str(root))
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root.parent / "arrow"))
    patch.setenv("HF_HUB_CACHE", str(root))
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("HF_HOME", str(root.parent / "home"))


def vocabulary(texts: Iterable[str], sentinels: int = 100, size: int = 400) -> Any:
    """mT5's kind of tokenizer: a SentencePiece model trained here, and sentinels."""
    import sentencepiece
    from transformers import T5Tokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=size,
        hard_vocab_limit=False, character_coverage=1.0,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, num_threads=1,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocab = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    return T5Tokenizer(vocab=vocab, extra_ids=sentinels)


def tiny_mt5(folder: Path, tokenizer: Any) -> Path:
    """A whole checkpoint in a folder: a random mT5 of two and two layers, head not tied."""
    import torch
    from transformers import MT5Config, MT5ForConditionalGeneration

    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_heads=2, num_layers=2,
        num_decoder_layers=2, decoder_start_token_id=0,
    )  # fmt: skip
    model = MT5ForConditionalGeneration(config)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight) / 6)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def put_model(root: Path, name: str, revision: str, tokenizer: Any) -> Path:
    """Add a tiny mT5 to the cache under a public name: `revision`, which `main` also is."""
    home = root / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(revision)
    return tiny_mt5(home / "snapshots" / revision, tokenizer)
