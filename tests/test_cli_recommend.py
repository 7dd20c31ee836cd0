"""`xlt recommend` on the scores of an experiment."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xltlib import cli, scores
from xltlib.book import kept
from xltlib.io import write_table
from xltlib.languages import similarity

CODES = ["eng", "deu", "rus", "srp", "hin", "urd", "tur", "arb"]


@pytest.fixture(scope="module")
def similar() -> pd.DataFrame:
    return similarity.pairs(CODES)


@pytest.fixture
def built(similar: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of two tasks in which genealogy helps the model `tiny`, and those of a control."""
    kin = similar.set_index(["source", "target"])["genealogy"]
    rng, rows = np.random.default_rng(0), []
    for model, task in itertools.product(("tiny", "char-ngram"), ("entity_type", "qa")):
        for source, target, run in itertools.product(CODES, CODES, (0, 1, 2)):
            score = 0.9 if source == target else 0.3 + 0.4 * kin[source, target]
            score = (score if model == "tiny" else 0.15) + rng.normal(0, 0.01)
            rows.append((model, task, source, target, run, "accuracy", score))
    names = ["model", "task", "source", "target", "seed", "metric", "score"]
    table = pd.DataFrame(rows, columns=names).assign(n_target=0, n_test=500, chance=0.125)
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    scores.write(scores.check(table), tmp_path / "quick" / "scores.parquet")
    write_table(similar, tmp_path / "quick" / "pairs.parquet")


def run(*words: str) -> int:
    return cli.main(["recommend", *words, "--experiment", "quick"])


def test_recommend_prints_the_sources(built: None, capsys) -> None:
    assert run("Ukrainian", "--task", "entity_type", "--top", "3") == 0
    said = capsys.readouterr().out
    assert "Sources for Ukrainian (ukr); model tiny, task entity_type, metric accuracy" in said
    assert "Russian (rus)" in said and "Rests on 56 measured pairs" in said
    first = next(line for line in said.splitlines() if line.strip().startswith("1 "))
    assert "to" in first and "%" in first


def test_recommend_reads_properties_of_the_pairs_from_text(built: None, tmp_path, capsys) -> None:
    """A CSV file has its numbers as text; a property with gaps stopped the command once."""
    table = scores.select(scores.read(tmp_path / "quick" / "scores.parquet"), "tiny", "qa")
    sizes = dict(zip(CODES, ["1200", "90", "", "4000", "77", "310", "820", "15"], strict=True))
    path = tmp_path / "own.csv"
    table.assign(pair_size=table["source"].map(sizes)).to_csv(path, index=False)
    assert cli.main(["recommend", "Ukrainian", "--scores", str(path)]) == 0
    assert "data sets" in capsys.readouterr().out


def test_recommend_as_json_uses_the_experiments_own_pairs(built: None, capsys, monkeypatch) -> None:
    assert run("srp", "--task", "qa", "--json", "--top", "2") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "srp" and report["model"] == "tiny" and len(report["sources"]) == 2
    assert report["sources"][0]["source"] == "rus" and report["sources"][0]["measured"]
    monkeypatch.setattr(similarity, "pairs", None)  # would be needed for a language not measured
    assert run("srp", "--task", "qa") == 0


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["srp"], "add --task, one of entity_type, qa"),
        (["srp", "--task", "entity_typ"], "Did you mean 'entity_type'"),
        (["srp", "--task", "entity_type", "--model", "tinny"], "Did you mean 'tiny'"),
        (["srp", "--task", "entity_type", "--top", "0"], "at least one"),
        (["Serbain", "--task", "entity_type"], "Serbian"),
    ],
)
def test_recommend_says_what_to_ask(built: None, capsys, words, cure) -> None:
    assert run(*words) == cli.USAGE
    assert cure in capsys.readouterr().err


def test_recommend_without_scores_names_the_command(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    assert run("srp", "--task", "entity_type") == cli.USAGE
    assert "xlt run quick" in capsys.readouterr().err


def test_recommend_by_default_takes_the_kept_scores_of_the_encoder(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    assert cli.main(["recommend", "Ukrainian", "--task", "udpos_dev", "--top", "2"]) == 0
    said = capsys.readouterr().out
    assert "model multilingual-e5-small, task udpos_dev" in said
    assert "552 measured pairs, 24 sources" in said


def test_an_experiment_that_is_neither_run_nor_kept_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    assert cli.main(["recommend", "Ukrainian", "--experiment", "quick"]) == 2
    assert "or run `xlt run quick`" in capsys.readouterr().err


def test_in_an_empty_folder_it_is_said_what_to_do(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xltlib.book.kept.carried", lambda path: path)
    assert cli.main(["recommend", "fin"]) == 2
    said = capsys.readouterr().err
    assert "--scores FILE" in said and "in the book's folder" in said


def test_the_model_of_a_table_is_the_one_that_is_no_control() -> None:
    assert kept.usual(["e5", "e5-shuffled", "e5-alone", "char-ngram"]) == "e5"
    assert kept.usual(["tiny", "tiny-scratch"]) == "tiny"
    assert kept.usual(["mbert", "xlmr"]) is None and kept.usual(["a-alone"]) == "a-alone"


def test_similarity_says_what_is_imputed(capsys) -> None:
    """lang2vec observed no morphology and no inventory of both Turkish and Kazakh."""
    assert cli.main(["similarity", "tur", "kaz"]) == 0
    said = capsys.readouterr().out
    notes = [line for line in said.splitlines() if line.startswith("* ")]
    assert [line.split()[1] for line in notes] == ["morphology", "inventory"]
    assert all("kaz-tur" in line and "coverage 0" in line for line in notes)
    assert said.count("0.76*") == 2 and "tur: Turkish" in said


def test_imputed_follows_coverage(similar: pd.DataFrame) -> None:
    found = similarity.imputed(similar)
    assert list(found) == [c for c in similar.columns[2:] if not c.startswith("coverage_")]
    assert found["morphology"].equals(similar["coverage_morphology"] == 0)
    assert not found["script"].any()
