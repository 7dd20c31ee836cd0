"""Published scores beside one's own, and the made-up examples of the chapter on mT5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from xltlib.book import reported
from xltlib.train.config import Experiment, load


@pytest.fixture(scope="module")
def kept(repository: Path) -> Path:
    return repository / "book" / "published" / "mt5_scores.csv"


@pytest.fixture
def exp(repository: Path) -> Experiment:
    return load(str(repository / "experiments" / "mt5.yml"))


NOBODY = pd.DataFrame({"source": [], "target": [], "n_target": []})


def runs(**change: Any) -> pd.DataFrame:
    row = {"model": "google/mt5-small", "task": "xnli", "source": "eng", "n_target": 0,
           "n_test": 5010, "test_set": "test", "metric": "accuracy"}  # fmt: skip
    made = [{**row, "target": t, "seed": s, "score": x, **change} for t, s, x in (
        ("deu", 0, 0.69), ("deu", 1, 0.70), ("tha", 0, 0.6), ("tha", 1, 0.6))]  # fmt: skip
    return pd.DataFrame(made)


def test_the_kept_scores_are_whole(kept: Path) -> None:
    table = reported.read(kept)
    counts = table.groupby("task")["target"].nunique().to_dict()
    assert counts == {
        "mlqa": 7, "pawsx": 7, "tydiqa": 9, "wikiann": 40, "xnli": 15, "xquad": 11,
    }  # fmt: skip
    assert table["score"].between(0.002, 0.97).all()  # XLM in Thai: 0.3 of 100
    assert set(table.loc[table["superseded"] == "yes", "task"]) == {"wikiann", "tydiqa"}
    small = table[(table["model"] == "mT5-Small") & (table["task"] == "xnli")]
    # the mean over languages that the paper prints for mT5-Small on XNLI, zero-shot
    assert 100 * small["score"].mean() == pytest.approx(67.5, abs=0.1)
    assert all("arXiv 2010.11934" in s for s in table["source"])


def test_nobody_has_run(kept: Path, exp: Experiment) -> None:
    found = reported.beside(reported.read(kept), NOBODY, exp)
    assert len(found) == 15 + 15 + 9 and found["ours"].isna().all()
    assert "nobody has run `google/mt5-small`" in reported.answers(found, exp)[0]


def test_somebody_has_run(kept: Path, exp: Experiment) -> None:
    theirs = reported.read(kept)
    found = reported.beside(theirs, runs(), exp).set_index(["task", "target"])
    german = found.loc[("xnli", "deu")]
    assert german["ours"] == pytest.approx(0.695) and german["n_test"] == 5010
    assert german["difference"] == pytest.approx(0.695 - german["mT5-Small"])
    assert german["low"] < 0.695 < german["high"]
    assert found["ours"].notna().sum() == 2
    said = reported.answers(found.reset_index(), exp)
    assert said[0].startswith("`xnli`: ours are") and "for 1 of them" in said[0]
    for other in ({"source": "deu"}, {"n_target": 8}, {"metric": "illegal"}):
        empty = reported.beside(theirs, runs(**other), exp)
        assert empty["ours"].isna().all(), other
    translated = reported.read(kept, "translate-train")
    assert reported.beside(translated, runs(), exp)["difference"].isna().all()


def test_bad_reports(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown setting 'zero'.*'zero-shot'"):
        reported.read(kept, "zero")
    (tmp_path / "bad.csv").write_text("task,score\nxnli,3\n")
    with pytest.raises(ValueError, match="bad.csv has no column setting, model"):
        reported.read(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    ("checkpoint_name", "model"),
    [("google/mt5-small", "mT5-Small"), ("google/mt5-xl", "mT5-XL"), ("google/umt5-small", "")],
)
def test_which_model_a_checkpoint_is(checkpoint_name: str, model: str) -> None:
    assert reported.model_of(checkpoint_name) == model
