"""Build a cache of the Hugging Face Hub as its client keeps it, without the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
Tables = Mapping[str, Mapping[str, Mapping[str, list[Any]]]]


def features(columns: Mapping[str, list[Any]]) -> Any:
    """Features as the Hub's parquet files carry them: labels are numbers with names."""
    from datasets import ClassLabel, Features, List, Value

    from xltlib.data.cards import NLI, UPOS

    known = {
        "label": ClassLabel(names=list(NLI) if "premise" in columns else ["0", "1"]),
        "ner_tags": List(ClassLabel(names=NER)),
        "pos_tags": List(ClassLabel(names=list(UPOS))),
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
