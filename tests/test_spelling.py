"""What stands above the floors, on made-up scores with a planted effect."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from xltlib.book import figures, spelling

CODES = ["eng", "deu", "tur", "rus", "hin"]


def square(above: float = 0.2, noise: float = 0.0) -> pd.DataFrame:
    """Five sources and targets: `plain` at the floors, `pairs` above them, both at home at 0.8."""
    rng, rows = np.random.default_rng(1), []
    arms = {"plain": 0.0, "pairs": above, "char-ngram": 0.0, "tiny-scratch": -0.03}
    for (model, more), source, target, seed in itertools.product(
        arms.items(), CODES, CODES, range(3)
    ):
        base = 0.8 if source == target else 0.1 + CODES.index(target) / 50 + more
        rows.append((model, source, target, 0, seed, base + noise * rng.normal()))
        if target == "tur" and source == "eng" and model in ("plain", "pairs"):
            rows.append((model, source, target, 16, seed, base + 0.1))
    names = ["model", "source", "target", "n_target", "seed", "score"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(task="massive_intent", metric="accuracy", n_test=400)


def test_points_above_the_better_floor_are_those_planted() -> None:
    found = spelling.beyond_floors(square(noise=0.002), ["plain", "pairs"]).set_index("model")
    assert found["n_pairs"].tolist() == [20, 20] and found["n_seeds"].tolist() == [3, 3]
    assert found.loc["pairs", "points"] == pytest.approx(20, abs=0.2)
    assert found.loc["pairs", "verdict"] == "yes"
    assert found.loc["plain", "points"] == pytest.approx(0, abs=0.2)
    assert found.loc["plain", "floor"] == pytest.approx(14, abs=0.2)


def test_a_draw_of_languages_and_seeds_is_as_wide_as_the_scatter_of_means() -> None:
    rng = np.random.default_rng(3)
    codes = [f"l{i}" for i in range(12)]
    width = []
    for _ in range(8):
        of = dict(zip(codes, rng.normal(size=12), strict=True))
        rows = [
            (s, t, 0, of[t]) for s, t in itertools.product(codes, codes) if s != t
        ]  # all of the scatter is between targets
        table = pd.DataFrame(rows, columns=["source", "target", "seed", "points"])
        got = spelling.drawn(table, draws=400)
        assert got["low"] <= got["points"] <= got["high"]
        width.append((got["high"] - got["low"]) / (2 * 1.96 * np.std(list(of.values())) / 12**0.5))
    # a mean of twelve: a percentile interval, with the rows of undrawn sources moving a little
    assert 0.8 < np.mean(width) < 1.2


def test_one_seed_or_one_source_is_not_drawn() -> None:
    table = pd.DataFrame(
        {"source": "eng", "target": ["tur", "rus"], "seed": 0, "points": [3.0, 3.0]}
    )
    assert spelling.drawn(table) == {"points": 3.0, "low": 3.0, "high": 3.0}


def test_side_by_side_counts_only_cells_that_both_have() -> None:
    table = square()
    gone = table[~((table["model"] == "plain") & (table["source"] == "hin"))]
    found = spelling.side_by_side(gone).set_index("n_target")
    assert found.loc[0, "n_pairs"] == 16 and found.loc[16, "n_pairs"] == 1
    assert found["points"].tolist() == pytest.approx([20, 20])


def test_scripts_part_the_pairs() -> None:
    found = spelling.by_script(square(), "pairs").set_index("script")
    assert found.loc["shared", "n_pairs"] == 6  # among English, German, Turkish
    assert found.loc["not shared", "n_pairs"] == 14
    assert (found["points"] - 20).abs().max() < 1e-9


def test_at_home_is_the_diagonal_beside_the_linear_classifier() -> None:
    row = spelling.at_home(square(), "pairs").iloc[0]
    assert row["home"] == pytest.approx(80) and row["points"] == pytest.approx(0)
    assert row["n_languages"] == 5
    said = spelling.home_answer(spelling.at_home(square(), "pairs"))[0]
    assert said == (
        "**massive_intent**, in the language it was taught: 80.0, the linear classifier 80.0; "
        "+0.0 points (+0.0 to +0.0)"
    )


def test_each_language_at_home_beside_its_floor() -> None:
    table = spelling.home_by_language(square(), ["pairs", "plain"])
    assert set(table["language"]) == {"English", "German", "Turkish", "Russian", "Hindi"}
    assert np.allclose(table["floor"], 80.0) and np.allclose(table[["pairs", "plain"]], 0.0)


def test_kept_designs_stand_side_by_side(tmp_path) -> None:
    for name, above in (("short", 0.0), ("long", 0.2)):
        (tmp_path / name).mkdir()
        square(above, 0.002).to_parquet(tmp_path / name / "scores.parquet")
        told = pd.DataFrame({"known": ["pairs", "pairs", "plain"], "tokens": [2e6, 4e6, 3e6]})
        told.to_csv(tmp_path / name / "models.csv", index=False)
        with pytest.raises(ValueError, match="aligned.csv is not there; `python benchmarks/open"):
            spelling.designs([str(tmp_path / name)])
        near = pd.DataFrame({"known": ["pairs", "pairs"], "share": [0.1, 0.3]})
        near.to_csv(tmp_path / name / "aligned.csv", index=False)
    found = spelling.designs([str(tmp_path / n) for n in ("short", "long")])
    assert found["experiment"].tolist() == ["short", "short", "long", "long"]
    wide = found.pivot(index="experiment", columns="arm", values="points")
    assert wide.loc["long", "pairs"] == pytest.approx(20, abs=0.3)
    assert wide.loc["short", "pairs"] == pytest.approx(0, abs=0.3)
    assert set(found.loc[found["arm"] == "pairs", "tokens"]) == {3.0}
    assert found.loc[found["arm"] == "pairs", "nearest"].tolist() == pytest.approx([20, 20])
    assert np.allclose(found["home"], 80, atol=0.3)
    assert np.allclose(found["home_points"], 0, atol=0.3)


def test_translations_are_found_again_whatever_sets_the_languages_apart() -> None:
    rng = np.random.default_rng(4)
    one, noise, shift = rng.normal(size=(200, 16)), rng.normal(size=(200, 16)), 50 * np.ones(16)
    assert spelling.found_again(one, 3 * one + shift) == 1.0
    assert spelling.found_again(one, one[::-1]) == 0.0
    assert spelling.found_again(one, noise + shift) < 0.03  # chance is 0.005
    near = spelling.found_again(one, one + noise)
    other = [(a - one.mean(0)) / np.linalg.norm(a - one.mean(0)) for a in one]
    scores = cosine_similarity(other, (one + noise) - (one + noise).mean(0))
    assert near == np.mean(scores.argmax(1) == np.arange(200))
    means = spelling.aligned_means(
        pd.DataFrame(
            {"known": "pairs", "seed": [0, 1], "source": "a", "target": "b",
             "share": [0.1, 0.3], "n": 400}
        )
    )  # fmt: skip
    assert means.loc[0, "points"] == pytest.approx(20) and means.loc[0, "chance"] == 0.25


def test_a_sentence_s_vector_does_not_depend_on_its_batch() -> None:
    torch = pytest.importorskip("torch")
    from xltlib.models.shape import ModelShape
    from xltlib.models.tiny import build, train_tokenizer

    texts = ["wake me at five", "play some music", "wake me", "what is on tonight then"]
    tokenizer = train_tokenizer(texts * 20, 40)
    model = build(ModelShape(40, 16, 32, 2, 1, 1), tokenizer, 0)
    got = spelling.sentence_vectors(model, tokenizer, texts)
    ids = torch.tensor([tokenizer(texts[2], add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        alone = model.encoder(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    assert got.shape == (4, 16) and np.allclose(got[2], alone, atol=1e-5)


def test_every_arm_of_kept_folders_is_listed_but_no_control(tmp_path) -> None:
    (tmp_path / "more").mkdir()
    more = square().assign(test_set="test", stderr=0.02)
    more = pd.concat([more, more.query("model == 'plain'").assign(model="plain-shuffled")])
    more.to_parquet(tmp_path / "more" / "scores.parquet")
    kept = spelling.kept_scores(str(tmp_path / "more"))
    arms = [m for m in dict.fromkeys(kept["model"]) if spelling.is_arm(m)]
    assert sorted(arms) == ["pairs", "plain"]
    with pytest.raises(ValueError, match=r"scores.parquet is not there; .*book/published"):
        spelling.kept_scores(str(tmp_path))


def test_curves_of_arms_have_the_lines_in_order() -> None:
    found = spelling.arm_curves(square())
    assert list(dict.fromkeys(found["line"])) == [
        "read side by side",
        "read line by line",
        "no pre-training, with the source",
    ]
    assert set(found["target"]) == {"tur"} and set(found["n_target"]) == {0, 16}
    assert len(figures.known_curves(found).axes) >= 1


def test_verdicts_elsewhere_stand_beside_a_board() -> None:
    board = pd.DataFrame({"claim": ["similarity predicts", "unheard of"], "ner": ["a", "b"]})
    published = pd.DataFrame(
        {"claim": ["similarity_predicts"] * 3, "verdict": ["holds", "holds", "cannot tell"]}
    )
    found = spelling.beside_published(board, published)["elsewhere"].tolist()
    assert found == ["holds on 2 of 3, the reverse on 0", "not asked there"]
