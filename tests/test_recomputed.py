"""Statements of the book computed again by other code: the kept table, and some of it live."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import recompute  # noqa: E402

TABLE = ROOT / "book" / "recomputed.csv"
LIVE = [
    "Zero-shot, layer 9, massive_intent.",
    "Text-to-text scores above n-grams zero-shot on Swahili.",
    "Text-to-text scores above the probe on pairs of relatives, two scripts.",
    "Nordic siblings are better sources for Faroese than English, sib200.",
]


@pytest.fixture(scope="module")
def kept() -> pd.DataFrame:
    return pd.read_csv(TABLE)


def test_every_statement_of_the_sample_is_there_and_agrees(kept: pd.DataFrame) -> None:
    assert set(kept["sentence"]) == set(recompute.RECOMPUTED) and len(kept) >= 24
    assert kept.groupby("page").size().reindex(recompute.PAGES).min() >= 2
    assert kept["agrees"].all()


@pytest.mark.parametrize("sentence", LIVE)
def test_recomputed_live_and_a_changed_estimate_is_caught(
    sentence: str, kept: pd.DataFrame
) -> None:
    printed = kept.set_index("sentence").loc[sentence, "printed"]
    parts = printed.replace("(", "").replace(")", "").replace(" to ", " ").split()
    ends = dict(zip(["estimate", "low", "high"], map(float, parts), strict=True))
    row = {"sentence": sentence, "page": "", **ends}
    found = recompute.RECOMPUTED[sentence]()
    assert recompute.judged(row, found)["agrees"]
    for end in ends:
        assert not recompute.judged(row | {end: ends[end] + 0.02}, found)["agrees"]
