"""A probe crosses where languages share a space, and finds nothing in noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_chapters import cell

from xltlib.data import cldr
from xltlib.train.probe import text_vectors

CELL = {"LogisticRegression": LogisticRegression, "StandardScaler": StandardScaler}
CELL |= {"pd": pd, "make_pipeline": make_pipeline}


def probe(vectors: np.ndarray, table: pd.DataFrame, label: str, centre: bool = False):
    """As chapter 9 has it."""
    found: pd.DataFrame = cell("09", "def probe", **CELL)["probe"](vectors, table, label, centre)
    return found


def names_and_vectors(shift: float, n: int = 40) -> tuple[np.ndarray, pd.DataFrame]:
    """Vectors of two languages whose kinds lie similarly, the second language `shift` away."""
    rng = np.random.default_rng(0)
    rows = [
        (code, kind, split)
        for code in ("aaa", "bbb")
        for kind in ("city", "unit")
        for split in ("train", "test")
        for _ in range(n)
    ]
    table = pd.DataFrame(rows, columns=["language", "kind", "split"])
    vectors = rng.normal(size=(len(table), 5))
    vectors[:, 0] += 6.0 * (table["kind"] == "city")
    vectors[:, 0] += shift * (table["language"] == "bbb")
    return vectors, table


def test_probe_crosses_where_languages_share_a_space() -> None:
    vectors, names = names_and_vectors(shift=0.0)
    found = probe(vectors, names, "kind")
    assert found["score"].min() > 0.95 and set(found["chance"]) == {0.5}
    noise = np.random.default_rng(1).normal(size=vectors.shape)
    # 0.5 and 4 standard errors
    assert probe(noise, names, "kind")["score"].max() < 0.75


def test_probe_does_not_cross_where_they_lie_side_by_side_unless_centred() -> None:
    vectors, names = names_and_vectors(shift=20.0)
    table = probe(vectors, names, "kind").set_index(["source", "target"])["score"]
    assert table["aaa", "aaa"] > 0.95 and table["aaa", "bbb"] == pytest.approx(0.5)
    assert probe(vectors, names, "kind", centre=True)["score"].min() > 0.95


def test_its_score_is_scikit_learn_s_balanced_accuracy() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    labels = rng.choice(list("aab"), 180)
    names = pd.DataFrame({"language": "aaa", "label": labels, "split": ["train", "test"] * 90})
    vectors = (labels == "a")[:, None] + rng.normal(size=(180, 2))
    found = probe(vectors, names, "label").iloc[0]
    test = (names["split"] == "test").to_numpy()
    scale = StandardScaler().fit(vectors[~test])
    lines = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
    lines.fit(scale.transform(vectors[~test]), labels[~test])
    answers = lines.predict(scale.transform(vectors[test]))
    assert found["score"] == pytest.approx(balanced_accuracy_score(labels[test], answers))
    assert 0.02 < found["stderr"] < 0.07  # two classes of some 30 and 60


def test_vectors_do_not_depend_on_the_company_in_the_batch() -> None:
    torch = pytest.importorskip("torch", reason="pip install 'xltlib[train]'")
    from xltlib.models import ModelShape
    from xltlib.models.tiny import build, train_tokenizer

    lines = [line for code in ("eng", "deu", "rus", "srp") for line in cldr.lines(code, 150)]
    tokenizer = train_tokenizer(lines, 600)
    shape = ModelShape(600, d_model=16, d_ff=16, n_heads=2, n_encoder=1, n_decoder=1)
    model = build(shape, tokenizer)
    names = ["Oslo", "São Tomé and Príncipe", "км"]
    together = text_vectors(model, tokenizer, names)
    assert together.shape == (3, 16)
    for text, found in zip(names, together, strict=True):
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            alone = model.encoder(input_ids=ids).last_hidden_state[0].mean(0).numpy()
        assert np.allclose(found, alone, atol=1e-5)  # float32
