"""`benchmarks/noise.py`, in small: where similarity has no effect, none is claimed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from xltlib.languages import similarity

MEASURES = ["word_order", "genealogy", "script", "geography"]


@pytest.fixture(scope="module")
def noise(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("noise", repository / "benchmarks" / "noise.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pairs(noise: ModuleType) -> pd.DataFrame:
    return similarity.pairs(noise.CODES[:10])


def test_noise_is_said_to_be_none(noise: ModuleType, pairs: pd.DataFrame) -> None:
    """Ten fixed tables, two claims each at most 5 %: two or more false ones are one in ten."""
    tables = [noise.made(noise.CODES[:10], seed) for seed in range(10)]
    found = [noise.claimed(t, pairs, MEASURES, 40, i) for i, t in enumerate(tables)]
    assert sum(map(len, found)) <= 1


def test_an_effect_is_found(noise: ModuleType, pairs: pd.DataFrame) -> None:
    table = noise.made(noise.CODES[:10], 1).merge(pairs, on=["source", "target"])
    table["score"] += 0.2 * table["genealogy"]
    found = noise.claimed(table[[*noise.made(["eng", "deu"], 1)]], pairs, MEASURES, 40, 0)
    assert found == ["similarity explains", "a measure goes with the score"]
