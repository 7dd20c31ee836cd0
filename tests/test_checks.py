"""Each check of the chapters finds what it is for when it is there, and not otherwise."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xltlib.book import checks
from xltlib.book.checks import (
    ILLEGAL,
    agreement,
    at_home_and_away,
    balanced,
    company,
    confused,
    contrasts,
    favourite,
    judged,
    known_to_all,
    mean_over_languages,
    one_per_script,
    overlap,
    pairs_of,
    probe,
    sample,
    shape_floor,
    shape_score,
    worked,
)
from xltlib.data import cldr
from xltlib.tasks import TASKS, task
from xltlib.train.config import load

REPOSITORY = Path(__file__).resolve().parents[1]
LANGUAGES = ("eng", "deu", "rus", "srp")


# ---------------------------------------------------------------- the data


def test_shape_is_near_chance_on_the_embedded_data() -> None:
    floor = shape_floor(["entity_type"], LANGUAGES, n_train=200, n_test=200)
    mean = mean_over_languages(floor, "accuracy").iloc[0]
    # names repeat within a test set, so one language may be off by ten points
    assert abs(mean["mean"] - 0.25) < 0.08
    assert mean["n"] == 4
    assert set(floor["language"]) == set(LANGUAGES)


def test_shape_finds_labels_that_length_or_punctuation_give_away() -> None:
    rng = random.Random(0)

    def text(long: bool, sign: str) -> str:
        return (
            " ".join("x" * rng.randint(6, 9) if long else "y" * rng.randint(2, 5) for _ in "ab")
            + sign
        )

    by_length = [(text(i % 2 == 0, ""), "long" if i % 2 == 0 else "short") for i in range(200)]
    by_sign = [(text(True, "," if i % 2 else ";"), str(i % 2)) for i in range(200)]
    nothing = [(text(True, ""), str(rng.randrange(2))) for _ in range(400)]
    assert shape_score(by_length[:100], by_length[100:]) > 0.95
    assert shape_score(by_sign[:100], by_sign[100:]) > 0.95
    assert abs(shape_score(nothing[:200], nothing[200:]) - 0.5) < 0.15  # 4 standard errors


def test_no_name_is_in_two_splits_and_a_leak_is_counted() -> None:
    names = cldr.names(LANGUAGES)
    clean = overlap(names)
    assert len(clean) == 3
    assert clean[["shared_ids", "shared_spellings"]].to_numpy().sum() == 0
    trained = names[names["split"] == "train"].iloc[[0]]
    leak = trained.assign(split="test", id="other", name=trained["name"].str.upper())
    found = overlap(pd.concat([names, leak])).set_index(["first", "second"])
    assert found.loc[("train", "test"), "shared_spellings"] == 1
    assert found.loc[("train", "test"), "shared_ids"] == 0


@pytest.mark.parametrize("name", TASKS)
def test_worked_examples_agree_with_the_task(name: str) -> None:
    table = worked(task(name), LANGUAGES, ["eng", "rus"], 2)
    assert list(table["language"]) == ["eng", "eng", "rus", "rus"]
    assert not table["raw"].str.contains("extra_id|_| ,").any()
    first = sample(task(name), LANGUAGES, "eng", "train", 2)[0]
    assert tuple(table.loc[0, ["input", "target"]]) == task(name).preprocess(first)


def test_one_language_a_script() -> None:
    assert one_per_script(["eng", "deu", "rus", "hin", "srp"]) == ["eng", "rus", "hin"]


# ---------------------------------------------------------------- similarity


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        return pairs_of(load("quick"), ["hrv", "srp", "tur", "kir", "eng", "rus"])


def test_contrasts_put_script_and_family_apart(pairs: pd.DataFrame) -> None:
    table = contrasts(pairs, ["script", "genealogy"])
    assert list(table.index) == ["family and script", "family only", "script only", "neither"]
    assert table["pairs"].sum() == len(pairs) == 30
    assert table.loc["script only", "script"] > table.loc["family only", "script"]
    assert table.loc["family only", "genealogy"] > table.loc["script only", "genealogy"]


def test_agreement_is_pandas_correlation_with_an_interval_around_it(pairs: pd.DataFrame) -> None:
    measures = ["word_order", "lexical", "script"]
    table = agreement(pairs, measures, reps=200).set_index(["first", "second"])
    reference = pairs[measures].corr()
    for (first, second), row in table.iterrows():
        assert row["r"] == pytest.approx(reference.loc[first, second], abs=1e-12)
        assert row["low"] <= row["r"] <= row["high"]
    twice = agreement(pairs.assign(copy=-2 * pairs["lexical"]), ["lexical", "copy"], reps=20)
    assert twice["r"].iloc[0] == pytest.approx(-1)


def test_a_measure_that_does_not_vary_has_no_correlation(pairs: pd.DataFrame) -> None:
    table = agreement(pairs.assign(flat=1.0), ["flat", "lexical"], reps=5)
    assert table[["r"]].isna().all(axis=None)


# ---------------------------------------------------------------- inside a model


def _names(shift: float, n: int = 40) -> tuple[np.ndarray, pd.DataFrame]:
    """Vectors of two languages whose kinds lie alike, the second language `shift` away."""
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
    vectors, names = _names(shift=0.0)
    shared = probe(vectors, names, model="m").set_index(["source", "target"])["score"]
    assert shared.min() > 0.95
    noise = np.random.default_rng(1).normal(size=vectors.shape)
    assert probe(noise, names, model="m")["score"].max() < 0.75  # 0.5 and 4 standard errors


def test_probe_does_not_cross_where_they_lie_side_by_side_unless_centred() -> None:
    vectors, names = _names(shift=20.0)
    table = probe(vectors, names, model="m").set_index(["source", "target"])["score"]
    assert table["aaa", "aaa"] > 0.95 and table["aaa", "bbb"] == pytest.approx(0.5)
    centred = probe(vectors, names, model="m", centre=True)
    assert centred["score"].min() > 0.95
    assert set(centred["chance"]) == {0.5}


def test_balanced_is_scikit_learn_s() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    truth, answer = rng.choice(list("aab"), 90), rng.choice(list("ab"), 90)
    score, stderr = balanced(truth, answer)
    assert score == pytest.approx(balanced_accuracy_score(truth, answer))
    assert 0.03 < stderr < 0.07  # two classes of some 30 and 60: 0.5 sqrt(1/120 + 1/240)


def test_company_in_other_digits_and_signs() -> None:
    assert [company(t) for t in ("١٤:٣٠", "٧٣٪", "%73", "०५:३०", "१९९०")] == [
        "clock", "share", "share", "clock", "year",
    ]  # fmt: skip
    assert company("") == company(",") == "sign or nothing"


def test_known_to_all_takes_the_same_things_in_every_language() -> None:
    table = known_to_all(cldr.names(LANGUAGES), ["eng", "rus"], 2)
    assert len(table) == 2 * 4 * 2
    assert (table.groupby(["kind", "id"])["code"].agg(set) == {"eng", "rus"}).all()


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("name", TASKS)
def test_right_answers_have_a_clean_diagonal(name: str) -> None:
    of = task(name)
    examples = sample(of, LANGUAGES, "eng", "test", 20)
    right = [of.preprocess(e)[1] for e in examples]
    assert (judged(of, right, examples)["verdict"] == "right").all()
    table = confused(of, right, examples)
    assert (table["truth"] == table["answer"]).all()
    broken = ["nonsense", *right[1:]]
    assert list(judged(of, broken, examples)["verdict"]).count(ILLEGAL) == 1
    assert (confused(of, broken, examples)["answer"] == ILLEGAL).sum() >= 1


def test_what_is_said_of_mistakes() -> None:
    of = task("entity_type")
    home, away = (sample(of, LANGUAGES, code, "test", 40) for code in ("eng", "rus"))
    right = [of.preprocess(e)[1] for e in home]
    said = {"eng": (right, home), "rus": (["<extra_id_0> CITY"] * 40, away)}
    assert "English: no mistake in 40." in favourite(of, said)
    cities = sum(e.fields["label"] == "city" for e in away)
    assert f"{40 - cities} of 40 are wrong, most often *city*" in favourite(of, said)
    text = at_home_and_away(of, said)
    assert f"100.0% there and {cities / 40:.1%} in Russian: it loses" in text
    assert "not clearly above chance (25%)" in text


def test_a_run_that_is_not_in_the_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ValueError, match="no run tiny entity_type hin 0.*'eng'"):
        checks.study(load("quick"), "entity_type", "hin")


def test_an_unknown_pretraining_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ValueError, match="unknown pre-training seed 7"):
        checks.pretrained(load("quick"), 7)


# ---------------------------------------------------------------- with a model (needs torch)


@pytest.fixture(scope="module")
def small() -> tuple:
    pytest.importorskip("torch", reason="pip install 'xltlib[train]'")
    from xltlib.models.shape import ModelShape
    from xltlib.models.tiny import build, train_tokenizer

    lines = [line for code in LANGUAGES for line in cldr.lines(code, 150)]
    tokenizer = train_tokenizer(lines, 600)
    shape = ModelShape(600, d_model=16, d_ff=16, n_heads=2, n_encoder=1, n_decoder=1)
    return build(shape, tokenizer), tokenizer


def test_vectors_do_not_depend_on_the_company_in_the_batch(small: tuple) -> None:
    model, tokenizer = small
    names = ["Oslo", "São Tomé and Príncipe", "км"]
    together = checks.name_vectors(model, tokenizer, names)
    alone = np.concatenate([checks.name_vectors(model, tokenizer, [n]) for n in names])
    assert together.shape == (3, 16)
    assert np.allclose(together, alone, atol=1e-5)  # float32


def test_blanks_and_corruption_speak_plain_text(
    small: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    model, tokenizer = small
    names = cldr.names(LANGUAGES).head(5)
    filled = checks.after_names(model, tokenizer, names)
    assert len(filled) == 5 and not filled["filled"].str.contains("extra_id").any()
    lines = cldr.lines("eng", 5)
    made = checks.corrupted(lines, tokenizer, load("quick"))
    for line, source, target in made.itertuples(index=False):
        hidden = dict(
            zip(*[iter(checks.re.split(r"<extra_id_(\d+)>", target)[1:])] * 2, strict=False)
        )
        restored = checks.re.sub(r"<extra_id_(\d+)>", lambda m, h=hidden: h[m[1]].strip(), source)
        assert restored.split() == line.split()
