"""Where examples and plain text come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_WORDS = 100  # that a task can number: the vocabularies have as many sentinels


@dataclass(frozen=True)
class Example:
    """One labelled example as its data set has it; `fields` are named as there."""

    id: str
    language: str
    fields: Mapping[str, Any]
