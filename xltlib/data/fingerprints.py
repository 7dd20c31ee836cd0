"""What a model has read, as a fingerprint of every line, so that anybody can ask for a line.

The lines themselves are other people's and stay where they are. A kept model's folder holds
``read.parquet`` beside the checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from xltlib.data.text import plain
from xltlib.languages import language

_READ = "read.parquet"


def _fingerprints(lines: Iterable[str]) -> list[int]:
    """The first eight bytes of each line's SHA-256, as a number.

    >>> _fingerprints(["wake me up"])
    [17837892725001053921]
    """
    digests = (hashlib.sha256(line.encode()).digest()[:8] for line in lines)
    return [int.from_bytes(digest, "big") for digest in digests]


def read_by(folder: str | Path) -> pd.DataFrame:
    """What the model of a folder read: ``language, line``."""
    path = Path(folder) / _READ
    if not path.is_file():
        raise ValueError(f"{path} is not there: name a folder with a model and {_READ}")
    return pd.read_parquet(path)


def was_read(sentences: Sequence[str], code: str, read: pd.DataFrame) -> list[bool]:
    """Whether each sentence, in the plain style of the corpora, is a line that the model read.

    `read` is a table of `read_by`. A line of another language does not count.
    """
    own = set(read.loc[read["language"] == language(code).code, "line"])
    asked = _fingerprints(plain(s, language(code).code) for s in sentences)
    return [line in own for line in asked]
