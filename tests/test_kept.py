"""Kept scores, the models behind them, and how near a model's languages come to a target."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pandas as pd
import pytest

from xltlib.book import kept
from xltlib.explain.contrast import contrast, differences, estimates
from xltlib.scores import in_language, transfer
from xltlib.train.config import load
from xltlib.train.plan import Place

KNOWN = {
    "swe-azj": ["eng", "swe", "azj", "ind"],
    "dan-tur": ["eng", "dan", "tur", "ind"],
    "swh-vie": ["eng", "swh", "vie", "ind"],
    "rus-arb-hin": ["eng", "rus", "arb", "hin"],
}
RELATED = kept.relatives(["Swedish-da", "tur-aze"])
SAMPLED = ["source", "target", "seed"]


def test_doctests() -> None:
    assert doctest.testmod(kept).failed == 0


@pytest.mark.parametrize(
    ("model", "target", "expected"),
    [
        ("swe-azj", "swe", "itself"),
        ("swe-azj", "dan", "relative"),
        ("dan-tur", "azj", "relative"),
        ("swh-vie", "tur", "same script"),
        ("rus-arb-hin", "tur", "other script"),  # English, the source, does not count
        ("swe-azj", "rus", "other script"),
    ],
)
def test_how_near_a_model_s_languages_come_to_a_target(
    model: str, target: str, expected: str
) -> None:
    cell = pd.DataFrame({"model": [model], "source": ["eng"], "target": [target]})
    assert kept.with_class(cell, KNOWN, RELATED)["similarity_class"].tolist() == [expected]


def test_relatives_that_are_no_pair_are_named() -> None:
    with pytest.raises(ValueError, match="'swe'"):
        kept.relatives(["swe"])


def test_a_folder_without_scores_or_of_another_kind_is_named(repository: Path) -> None:
    published = repository / "book" / "published"
    with pytest.raises(ValueError, match=r"scores.parquet is not there; .*book/published"):
        kept.scores_in("nowhere")
    with pytest.raises(ValueError, match=r"scores.parquet is not there; .*make scores"):
        kept.measured(load("quick"), "nowhere")
    design, folder = kept.measured(load("quick"), str(published / "open"))
    assert design.name == "open" and folder == published / "open"


def test_a_folder_named_after_an_experiment_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "scores.parquet").touch()
    with pytest.raises(ValueError, match="name of an experiment whose models do not differ"):
        kept.measured(load("embedded"), str(tmp_path / "quick"))


def test_an_experiment_that_has_run_is_taken_before_the_kept_one(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    exp, folder = load("open-long"), str(repository / "book" / "published" / "open")
    assert kept.measured(exp, folder, "pairs")[0].name == "open"
    exp.folder.mkdir(parents=True)
    (exp.folder / "scores.parquet").touch()
    assert kept.measured(exp, folder, "pairs") == (exp, exp.folder)
    assert kept.measured(exp, folder, "swe-azj")[0].name == "open"  # it has no such model


def test_only_the_experiment_s_own_models_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial of another seed lies beside them, as `open.py again` leaves one."""
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    exp = load("open")
    for model, seed in (("clone", 0), ("swe-azj", 2), ("swe-azj", 7)):
        path = Place(exp).pretrained(seed, model) / "log.json"
        path.parent.mkdir(parents=True)
        last = {"step": 10, "loss": 2.0, "cosine": 0.0, "participation": 60.0}
        log = {
            "known": model, "seed": seed, "parameters": 1000, "seconds": 5.0, "width": 128,
            "device": "cpu", "arithmetic": "bfloat16", "common": 0.1, "reading": 30.0,
            "log": [last], "recipe": {"batch": 4}, "read": {"eng": 60, "swe": 40}, "lines": 20,
        }  # fmt: skip
        path.write_text(json.dumps(log))
    found = kept.pretrained(exp)
    assert found[["known", "seed"]].to_numpy().tolist() == [["clone", 0], ["swe-azj", 2]]
    assert (found["tokens"] == 200).all() and (found["flops"] == 6 * 1000 * 200).all()
    assert found["arithmetic"].tolist() == ["bfloat16", "bfloat16"]


# ---------------------------------------------------------------- what the kept scores say


@pytest.fixture(scope="module")
def published(repository: Path) -> Path:
    return repository / "book" / "published"


def test_knowing_a_target_helps_as_the_design_s_page_says(published: Path) -> None:
    """3.7 points zero-shot, 15.7 with 1,024 examples: book/open.md."""
    scores = kept.scores_in(published / "open")
    mine = kept.with_class(scores, KNOWN | {"clone": ["eng", "vie", "ind"]}, RELATED)
    found = contrast(
        mine, "itself", ("same script", "other script"), condition="similarity_class",
        on=["target", "n_target", "seed"], over="seed", by="n_target",
    )  # fmt: skip
    assert found["estimate"].round(1).tolist() == [3.7, 2.8, 10.0, 14.9, 15.7]
    assert found["low"].round(1).tolist() == [1.9, 1.3, 5.1, 10.6, 14.7]
    assert found["n_targets"].tolist() == [10, 2, 2, 2, 2]
    assert set(found["verdict"]) == {"holds"}


def test_languages_in_other_letters_are_a_control_of_their_own(published: Path) -> None:
    scores, clones = (kept.scores_in(published / "open", clones=c) for c in (False, True))
    assert len(clones) and set(clones["target_set"]) == {"letters of its own"}
    assert scores["target_set"].fillna("").eq("").all()
    assert kept.scores_in(published / "open-long", clones=True).empty


def test_reading_side_by_side_transfers_beyond_spelling(published: Path) -> None:
    scores = kept.scores_in(published / "open-long")
    across = scores[scores["source"] != scores["target"]]
    apart = contrast(across, "pairs", "plain", over=SAMPLED, by="n_target")
    assert apart["estimate"].round(1).tolist() == [23.5, 6.0, 3.9]
    assert apart["verdict"].tolist() == ["holds", "holds", "cannot tell"]
    gain = {
        model: differences(transfer(scores), model, kept.BASELINES, best=True)
        for model in ("pairs", "plain")
    }
    (pairs,), (plain,) = (estimates(g, over=SAMPLED).to_dict("records") for g in gain.values())
    assert (round(pairs["estimate"], 1), pairs["verdict"]) == (24.0, "holds")
    assert (round(plain["estimate"], 1), plain["verdict"]) == (0.5, "cannot tell")
    taught = contrast(in_language(scores), "plain", "char-ngram", over=SAMPLED)
    assert taught["estimate"].round(1).tolist() == [-2.6]
    aligned = pd.read_csv(published / "open-long" / "aligned.csv")
    found = estimates(aligned, "share", over=SAMPLED, by="known").set_index("known")
    assert (100 * found["estimate"]).round(0).to_dict() == {
        "plain": 4, "pairs": 22, "char-ngram": 9,
    }  # fmt: skip


def test_tables_of_an_encoder_that_has_run_come_before_the_kept_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    folder, exp = tmp_path / "matrix", load("matrix")
    with pytest.raises(ValueError, match=r"scores.parquet is not there; .*xlt run matrix"):
        kept.encoded(exp, str(folder))
    folder.mkdir()
    (folder / "scores.parquet").touch()
    assert kept.encoded(load("quick"), str(folder)) == (exp, folder)  # not of an encoder
    exp.folder.mkdir(parents=True)
    (exp.folder / "scores.parquet").touch()
    assert kept.encoded(exp, str(folder)) == (exp, exp.folder)
