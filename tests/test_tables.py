"""The tables of a chapter: gathered rightly, put in words, what cannot be computed said."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xltlib import scores
from xltlib.book import tables
from xltlib.book.tables import caption, text_table
from xltlib.explain.regression import SINGULAR
from xltlib.io import write_table
from xltlib.languages import similarity
from xltlib.train.config import load

REPOSITORY = Path(__file__).resolve().parents[1]
CODES = ["eng", "deu", "rus", "srp"]


@pytest.fixture(scope="module")
def built() -> pd.DataFrame:
    """Two tasks: a model from all four languages, a control from two, another from one."""
    sources = {"tiny": CODES, "tiny-shuffled": CODES[:2], "char-ngram": CODES[:1]}
    rows = []
    for (model, own), task in itertools.product(sources.items(), ("qa", "entity_type")):
        for source, target, run in itertools.product(own, CODES, (0, 1, 2)):
            cell = (model, task, source, target, 0, run)
            rows.append((*cell, "accuracy", 0.5, 500, 0.125))
            rows.append((*cell, "illegal", 0.02, 500, math.nan))
    names = ["model", "task", "source", "target", "n_target", "seed", "metric", "score"]
    return scores.check(pd.DataFrame(rows, columns=[*names, "n_test", "chance"]))


@pytest.fixture
def data(built: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tables.Tables:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    scores.write(built, tmp_path / "quick" / "scores.parquet")
    write_table(similarity.pairs(CODES), tmp_path / "quick" / "pairs.parquet")
    return tables.gather(load("quick"))


def test_tables_of_an_experiment(data: tables.Tables) -> None:
    assert data.model == "tiny" and data.tasks == ("entity_type", "qa")
    assert data.controls == ("tiny-shuffled",)  # from one source no mean has an interval
    assert set(data.scores["metric"]) == {"accuracy"} and "illegal" in set(data.every["metric"])
    assert data.chance == {"entity_type": 0.125, "qa": 0.125}
    assert "12 pairs" in data.caption("Look.").data and "3 seeds" in data.caption("Look.").data


def test_what_seeds_vary_is_said(data: tables.Tables, built: pd.DataFrame) -> None:
    assert data.seeds().startswith("The 3 seeds share one pre-trained model")
    once = built[(built["model"] == "tiny") | (built["seed"] == 0)]
    one = replace(data, scores=once)
    assert one.seeds().startswith("One seed, and so no error over seeds: `char-ngram`, `tiny-shu")
    assert replace(data, experiment=None).seeds() == ""
    twice = load("quick", ["pretrain.seeds=[0, 1]"])
    assert replace(data, experiment=twice).seeds() == ""


def test_tables_of_ones_own_file(tmp_path, built: pd.DataFrame) -> None:
    own = scores.select(built, model="tiny", task="entity_type", metric="accuracy")
    file = tmp_path / "mine.csv"
    own[["source", "target", "score", "seed"]].assign(task="ner").to_csv(file, index=False)
    data = tables.gather(load("quick"), str(file))
    assert (data.model, data.tasks, data.experiment) == ("model", ("ner",), None)
    assert {*data.pairs["source"]} == set(CODES)
    said = data.caption("Look.").data
    assert "mine.csv" in said and "quick" not in said


def test_tables_kept_of_an_encoder(tmp_path, built: pd.DataFrame, monkeypatch) -> None:
    """One direction of lexical similarity is enough; what the model has not read is a level."""
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    model, folder = "multilingual-e5-small", tmp_path / "matrix"
    own = scores.select(built, model="tiny").assign(model=model)
    scores.write(pd.concat([own, own.assign(model=f"{model}-shuffled")]), folder / "scores.parquet")
    words = pd.DataFrame({"source": ["deu"], "target": ["eng"], "lexical_translit": [0.25]})
    write_table(words, folder / "lexical.parquet")
    data = tables.gather(load("quick"), folder=str(folder))
    assert (data.model, data.experiment.name) == (model, "matrix")
    lexical = data.pairs.set_index(["source", "target"])["lexical_translit"]
    assert lexical["deu", "eng"] == lexical["eng", "deu"] == 0.25
    assert data.pairs["known_target"].eq(1).all()


def test_what_is_unknown_is_named(data: tables.Tables) -> None:
    quick = load("quick")
    with pytest.raises(
        ValueError, match="unknown task 'entity_typ'. Did you mean 'entity_type'.*all"
    ):
        tables.gather(quick, task="entity_typ")
    with pytest.raises(ValueError, match="unknown model 'tinny'. Did you mean 'tiny'"):
        tables.gather(quick, model="tinny")


def test_an_experiment_that_has_not_run_names_the_command(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="xlt run quick"):
        tables.gather(load("quick"))


def test_the_main_metric_is_the_one_with_a_chance_level() -> None:
    rows = [("entity_type", m, c) for m, c in (("a", math.nan), ("b", 0.5), ("illegal", math.nan))]
    rows += [("own", m, math.nan) for m in ("zz", "f1")]
    given = pd.DataFrame(rows, columns=["task", "metric", "chance"])
    kept = scores.one_metric(given)
    assert list(zip(kept["task"], kept["metric"], strict=True)) == [
        ("entity_type", "b"),
        ("own", "f1"),
    ]


def test_attempt_groups_what_could_not_be_computed() -> None:
    def compute(task: str | None) -> pd.DataFrame:
        if task in ("a", "b"):
            scores.check(pd.DataFrame({"source": ["eng"]}))
        if task == "d":
            np.ones(2) + np.ones(3)
        if task is None:
            np.linalg.cholesky(-np.eye(2))
        return pd.DataFrame({"task": ["wrong"], "x": [1]})

    found, unable = tables.attempt(compute, ["a", "b", "c", "d"], together=True)
    assert found.to_dict("records") == [{"task": "c", "x": 1}]
    refused, broken, singular = unable
    assert refused.startswith("a, b: the scores table has no column target, score")
    assert broken.startswith("d: unexpected, please report it: operands could not be broadcast")
    assert singular == f"all together: {SINGULAR}"


def test_numbers_in_words() -> None:
    given = pd.DataFrame({"m": [0.1234, -0.5, math.nan], "low": [0.1, math.nan, 0], "high": 0.2})
    assert list(tables.in_words(given, "m")) == ["12.3 (10.0 to 20.0)", "−50.0", "–"]
    page = tables.listed(pd.DataFrame({"target": ["deu"], "p_x": [0.0001], "v": [-1.0]})).data
    assert "German" in page and "&lt;0.001" in page and "−1.00" in page


def test_caption_counts_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    rows = pd.DataFrame({"model": "tiny", "seed": [0, 1, 1], "n_test": [150, 200, 200]})
    text = caption("Look at the diagonal.", load("quick"), rows).data
    assert text == (
        "Look at the diagonal. *From experiment `quick`; model `tiny`; 2 seeds; "
        "n = 150 to 200 test items a cell.*"
    )
    assert caption("Only text.").data == "Only text."


def test_texts_keep_their_direction_and_language() -> None:
    frame = pd.DataFrame({"language": ["Urdu"], "text": ["<extra_id_0> لاہور <b>"]})
    html = text_table(frame, ["text"], ["urd"]).data
    assert '<td dir="auto" lang="ur">⟨0⟩ لاہور &lt;b&gt;</td>' in html
    assert '<td dir="auto">Urdu</td>' in html
    assert "lang=" not in text_table(frame).data
