"""Advice for one language: sources, sets of sources, budgets, the next measurement."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xltlib.book import budget
from xltlib.cli import USAGE, main
from xltlib.explain import fewshot
from xltlib.languages import known, language, similarity, uriel
from xltlib.rank import levels, matrix, recommend

LATIN = "eng deu nld fra spa ita ron".split()
CYRILLIC = "rus ukr bul srp mkd bel".split()
ARABIC = "arb pes urd".split()
CODES = [*LATIN, *CYRILLIC, *ARABIC]
RISE = 0.25  # of the planted few-shot curves


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return similarity.pairs([*CODES, "pol", "kat"])


@pytest.fixture(scope="module")
def whole(pairs: pd.DataFrame) -> pd.DataFrame:
    """Script decides: 0.7 within one, 0.4 across; a little noise."""
    rng = np.random.default_rng(0)
    table = pairs[pairs["source"].isin(CODES) & pairs["target"].isin(CODES)]
    score = 0.4 + 0.3 * table["script"] + rng.normal(0, 0.02, len(table))
    labels = {"model": "m", "task": "t", "metric": "acc", "n_target": 0, "seed": 0, "n_test": 400}
    return table[["source", "target"]].assign(score=score, **labels).reset_index(drop=True)


def grown(whole: pd.DataFrame, targets: list[str]) -> pd.DataFrame:
    """Few-shot curves by a saturating power law from two sources for each of these targets."""
    rng = np.random.default_rng(1)
    zero = whole.set_index(["source", "target"])["score"]
    rows = [
        (s, t, n, zero[s, t] + RISE * (1 - n**-0.5) + rng.normal(0, 0.003))
        for t in targets
        for s in ("eng", "rus")
        for n in (2, 4, 8, 16, 32, 64, 128)
        if s != t
    ]
    few = pd.DataFrame(rows, columns=["source", "target", "n_target", "score"])
    return pd.concat([whole, few.assign(model="m", task="t", metric="acc", seed=0, n_test=400)])


# ---------------------------------------------------------------- a recommendation


def test_a_set_never_repeats_a_source_nor_promises_more_than_one(whole, pairs) -> None:
    near = whole.assign(score=whole["score"].clip(upper=1) * 0.3 + 0.7)  # close under the ceiling
    for target in ("rus", "pol", "kat"):
        steps = recommend.recommend(target, near, pairs, k=12).best_set
        assert steps["source"].is_unique and steps["expected_best"].max() <= 1
        assert steps["expected_best"].is_monotonic_increasing
        assert steps["k"].tolist() == list(range(1, len(steps) + 1))


def test_what_is_shown_of_the_first_source_agrees(whole, pairs, tmp_path, capsys) -> None:
    """Also where draws are cut off at 0, and where a lower source is likelier to be the best."""
    for factor in (0.05, 1.0):
        for target in ("rus", "pol", "kat", "ukr"):
            table = whole.assign(score=whole["score"] * factor)
            table = table[(table["target"] != target) | (table["source"] < "m")]
            told = recommend.recommend(target, table, pairs)
            first, step = told.table.iloc[0], told.best_set.iloc[0]
            assert step["source"] == first["source"]
            assert step["expected_best"] == pytest.approx(first["predicted"])
            assert told.table["predicted"].is_monotonic_decreasing
            chances = told.table["p_best"].round(2)
            assert (chances.max() > chances[0]) == ("best more often" in told.rests_on)


def test_how_steady_the_first_place_is(pairs) -> None:
    """What is said of leaving a language out is what comes out without its rows and columns."""
    rng, ends = np.random.default_rng(7), pairs[["source", "target"]].isin(CODES).all(axis=1)
    table = pairs.loc[ends, ["source", "target"]]
    noisy = table.assign(score=0.5 + rng.normal(0, 0.1, len(table)))
    shaken = 0
    for code in ("pol", "kat"):
        told = recommend.recommend(code, noisy, pairs)
        first, turned = told.table["source"][0], []
        for other in set(CODES) - {first}:
            rest = noisy[(noisy["source"] != other) & (noisy["target"] != other)]
            turned.append(recommend.recommend(code, rest, pairs).table["source"][0])
        said = re.search(
            r"time, (\d+) of the 15 other languages would put (.+) first\.", told.rests_on
        )
        new = [source for source in turned if source != first]
        assert abs((int(said[1]) if said else 0) - len(new)) <= 2  # units change a little too
        if said and new:
            assert any(language(source).name in said[2] for source in new)
        shaken += bool(said)
        assert said or "left out, the first stays first" in told.rests_on
    assert shaken  # noise has no steady first place


def test_sources_with_treebanks_are_named(whole, tmp_path, capsys) -> None:
    path = tmp_path / "trees.csv"
    whole.assign(source_set="GSD", target_set="GSD").to_csv(path, index=False)
    assert main(["recommend", "pol", "--scores", str(path), "--top", "16"]) == 0
    text = capsys.readouterr().out
    assert "German GSD (deu)" in text and "French GSD" in text.split("Trained together")[1]


def test_how_sure_a_measured_best_is_depends_on_its_error(whole, pairs) -> None:
    """Two measured sources d apart: the chance to be better is that of two normal errors."""
    two = whole.copy()
    mine = two["target"] == "ukr"
    two.loc[mine, "score"] = 0.3
    two.loc[mine & (two["source"] == "rus"), "score"] = 0.62
    two.loc[mine & (two["source"] == "bul"), "score"] = 0.60
    for n_test in (100, 10_000):
        table = recommend.recommend("ukr", two.assign(n_test=n_test), pairs).table
        se = math.sqrt((0.62 * 0.38 + 0.60 * 0.40) / n_test)
        expected = 0.5 * (1 + math.erf(0.02 / se / math.sqrt(2)))
        first = table.set_index("source").loc["rus"]
        assert first["p_best"] == pytest.approx(expected, abs=0.03)
        assert first["high"] - first["low"] == pytest.approx(
            2 * 1.645 * math.sqrt(0.62 * 0.38 / n_test), rel=1e-6
        )
    exact = recommend.recommend("ukr", two.drop(columns="n_test"), pairs)
    assert exact.table["p_best"][0] == 1 and "taken as exact" in exact.rests_on


def test_chances_to_be_best_are_calibrated(pairs) -> None:
    """Over many matrices the sources called best with p are best in about a share p of cases."""
    table = pairs[pairs["source"].isin(CODES) & pairs["target"].isin(CODES)]
    said, true = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        quality = dict(zip(CODES, rng.normal(0, 0.05, len(CODES)), strict=True))
        score = 0.4 + 0.2 * table["genealogy"] + table["source"].map(quality)
        made = table[["source", "target"]].assign(score=score + rng.normal(0, 0.03, len(table)))
        for target in ("ukr", "ita", "deu"):
            hidden = made[made["target"] == target].set_index("source")["score"]
            told = recommend.recommend(target, made[made["target"] != target], pairs).table
            said.append(told["p_best"].to_numpy())
            true.append((told["source"] == hidden.idxmax()).to_numpy())
    p, best = np.concatenate(said), np.concatenate(true)
    sure = p > 0.25
    assert sure.sum() >= 20
    assert best[sure].mean() == pytest.approx(p[sure].mean(), abs=0.15)
    assert best[p < 0.05].mean() < 0.08


def test_too_little_to_learn_from_is_refused(whole, pairs) -> None:
    few = whole[whole["source"].isin(["eng", "rus"]) & whole["target"].isin(["eng", "rus"])]
    with pytest.raises(ValueError, match="measure at least 3 of each"):
        recommend.recommend("pol", few, pairs)
    three = whole[whole["source"].isin(["eng", "rus"])]
    with pytest.raises(ValueError, match="2 source.s. and 16 target"):
        recommend.recommend("pol", three, pairs)
    told = recommend.recommend("deu", three, pairs).table  # measured: nothing to be learnt
    assert told["measured"].all() and told["source"][0] == "eng"


def test_any_language_with_features_gets_an_answer(whole) -> None:
    table = uriel.load()
    seen = map(str, table.codes[table.observed.any(axis=1)])
    codes = [c for c in seen if known(c) and language(c).code == c]
    assert len(codes) > 3000
    for code in np.random.default_rng(0).choice(codes, 12, replace=False):
        told = recommend.recommend(str(code), whole).table
        assert len(told) == len(CODES) - (code in CODES)
        assert told[["predicted", "low", "high"]].notna().all().all()
        assert told["p_best"].sum() == pytest.approx(1)


def test_how_many_targets_the_figures_rest_on_is_said(whole, pairs, monkeypatch) -> None:
    target = whole["target"].iloc[0]
    others = whole.loc[whole["source"] != whole["target"], "target"].nunique() - 1
    said = recommend.recommend(target, whole, pairs).rests_on
    assert said.endswith("sources; the target was measured.")  # no prediction, none held out
    whole = whole[whole["target"] != target]
    assert f"{others} other targets;" in recommend.recommend(target, whole, pairs).rests_on
    monkeypatch.setattr("xltlib.rank.recommend.MOST_CELLS", len(whole) // 2)
    said = recommend.recommend(target, whole, pairs).rests_on
    assert f" other targets (the most similar of {others});" in said


def test_with_target_examples(whole, pairs) -> None:
    table = grown(whole, ["deu", "fra", "ukr", "bul", "srp", "mkd"])
    told = budget.with_examples(
        recommend.recommend("bel", table, pairs), table, 64
    ).table.set_index("source")
    for source in ("rus", "eng"):
        true = whole.set_index(["source", "target"])["score"][source, "bel"]
        row = told.loc[source]
        assert row["few_shot_low"] <= true + RISE * (1 - 1 / 8) <= row["few_shot_high"]
        assert row["few_shot"] > row["predicted"]
    measured = budget.with_examples(
        recommend.recommend("ukr", table, pairs), table, 64
    ).table.set_index("source")
    point = table[(table["target"] == "ukr") & (table["n_target"] == 64)].set_index("source")
    for source in ("rus", "eng"):
        assert measured.loc[source, "few_shot"] == pytest.approx(
            point.loc[source, "score"], abs=0.01
        )
    with pytest.raises(ValueError, match="no few-shot curve"):
        budget.with_examples(recommend.recommend("bel", whole, pairs), whole, 8)
    with pytest.raises(ValueError, match="n_target -3"):
        budget.with_examples(recommend.recommend("bel", table, pairs), table, -3)


# ---------------------------------------------------------------- how many examples


def test_a_curve_without_points_is_the_pool(whole) -> None:
    """What the others say of it: near their mean, wider than any of theirs; theirs unmoved."""
    points = fewshot.curves(grown(whole, ["deu", "fra", "ukr", "bul", "srp", "mkd"]))
    alone = fewshot.fit(points)
    new = pd.DataFrame({"source": ["eng"] * 9, "target": CODES[2:11], "zero": 0.55})
    both = fewshot.fit(points, new=new.assign(source="kat"))
    k = len(alone.keys)
    n = np.full(k, 32.0)
    for a, b in zip(alone.moments(n, np.arange(k)), both.moments(n, np.arange(k)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    mean, sd = both.moments(np.array([32.0]), np.array([k]))
    assert mean[0] == pytest.approx(0.55 + RISE * (1 - 32**-0.5), abs=0.03)
    assert sd[0] > alone.moments(n, np.arange(k))[1].max()


def test_a_budget_of_a_measured_and_of_a_new_target(whole, pairs) -> None:
    table = grown(whole, ["deu", "fra", "ukr", "bul", "srp", "mkd"])
    zero = whole.set_index(["source", "target"])["score"]
    goal = 0.85
    own = budget.budget("ukr", table, goal, pairs, source="rus").iloc[0]
    true = (1 - (goal - zero["rus", "ukr"]) / RISE) ** -2  # the planted law, inverted
    assert own["basis"] == "measured" and own["low"] <= true <= own["high"]
    new = budget.budget("bel", table, goal, pairs, source="rus").iloc[0]
    true = (1 - (goal - zero["rus", "bel"]) / RISE) ** -2
    assert new["basis"] == "predicted" and new["low"] <= true <= new["high"]
    assert new["n_curves"] == 12 and {"by_log", "by_logistic"} <= set(new.index)
    assert new["high"] - new["low"] > own["high"] - own["low"]
    over = budget.budget("deu", table, 0.99, pairs, source="rus").iloc[0]
    assert over["answer"] in ("not reachable", "probably not reachable")
    assert budget.budget("ukr", table, 0.3, pairs, source="rus")["n"].item() == 0
    assert budget.budget("deu", table, goal, pairs)["source"].tolist() == ["eng", "rus"]
    with pytest.raises(ValueError, match="unknown source 'kat'"):
        budget.budget("bel", table, goal, pairs, source="kat")
    with pytest.raises(ValueError, match="not a percentage"):
        budget.budget("bel", table, 70, pairs)
    with pytest.raises(ValueError, match="unknown law 'powr'"):
        budget.budget("bel", table, goal, pairs, law="powr")


def test_budget_and_recommend_on_the_command_line(whole, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.csv"
    grown(whole, ["deu", "fra", "ukr", "bul", "srp", "mkd"]).to_csv(path, index=False)
    words = ["--scores", str(path), "--task", "t"]
    assert main(["budget", "Belarusian", "--goal", "0.85", *words]) == 0
    out = capsys.readouterr().out
    assert "Examples of Belarusian (bel)" in out and "12 few-shot curve(s)" in out
    assert main(["budget", "ukr", "--goal", "0.85", "--source", "rus", "--json", *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["basis"] == "measured" and row["low"] <= row["n"] <= row["high"]
    assert main(["recommend", "bel", "--n-target", "16", "--json", *words]) == 0
    first = json.loads(capsys.readouterr().out)["sources"][0]
    assert first["few_shot_low"] <= first["few_shot"] <= first["few_shot_high"]
    assert main(["recommend", "bel", "--n-target", "16", *words]) == 0
    assert "with 16 examples" in capsys.readouterr().out
    for bad, message in (
        (["budget", "bel", "--goal", "90"], "not a percentage"),
        (["budget", "bel", "--goal", "0.85", "--source", "rusian"], "Did you mean 'Russian'"),
        (["budget", "bel", "--goal", "0.85", "--law", "cubic"], "unknown law 'cubic'"),
    ):
        assert main([*bad, *words]) == USAGE
        assert message in capsys.readouterr().err


# ---------------------------------------------------------------- the next measurement


def test_the_source_that_is_missing_is_worth_measuring(pairs) -> None:
    """Similarity decides, and no Cyrillic source was trained: any of these serves six targets.

    A sixth Latin source serves none better. How similarity counts can be learnt from the others.
    """
    rng = np.random.default_rng(0)
    table = pairs[pairs["source"].isin(CODES) & pairs["target"].isin(CODES)]
    like = table[["word_order", "genealogy", "script"]].mean(axis=1)
    score = 0.3 + 0.5 * like + rng.normal(0, 0.02, len(table))
    full = table[["source", "target"]].assign(score=score)
    kept = full[full["source"].isin([*LATIN[:5], *ARABIC])]
    told = recommend.next_best(kept, pairs, ["ita", "rus", "ron", "bul", "ukr"])
    sources = told[told["kind"] == "source"].set_index("language")
    assert set(sources.index[:3]) == {"rus", "bul", "ukr"}
    assert sources.loc["rus", "gain"] > 1.5 * sources.loc["ita", "gain"]
    best = kept.groupby("target")["score"].max()
    true = {
        code: (full[full["source"] == code].set_index("target")["score"] - best)
        .clip(lower=0)
        .mean()
        for code in sources.index
    }
    assert np.corrcoef(sources["gain"], [true[c] for c in sources.index])[0, 1] > 0.9
    assert (told["low"] <= told["gain"]).all() and (told["gain"] <= told["high"]).all()


def test_a_whole_matrix_asks_for_other_languages_only(whole, pairs) -> None:
    told = recommend.next_best(whole, pairs)
    assert set(told["language"]) == {"pol", "kat"} and set(told["kind"]) == {"source", "target"}
    inside = pairs[pairs["source"].isin(CODES) & pairs["target"].isin(CODES)]
    assert recommend.next_best(whole, inside).empty
    holes = whole[(whole["source"] != "fra") | (whole["target"] != "deu")]
    told = recommend.next_best(holes, inside).set_index(["kind", "language"])
    assert set(told.index) == {("source", "fra"), ("target", "deu")}
    assert (told["n_new"] == 1).all()


def test_gains_against_their_formulas() -> None:
    """Expected improvement and the value of perfect information, in closed form."""
    rng = np.random.default_rng(0)
    both = np.array([0, 0])
    draws = 0.5 + 0.1 * rng.standard_normal((200_000, 2))
    gain = recommend.perfect_information(draws, both, np.array([0.0])).mean()
    assert gain == pytest.approx(0.1 / math.sqrt(math.pi), rel=0.01)  # E max of two normals
    known = recommend.perfect_information(draws, both, np.array([0.9])).mean()
    assert known == pytest.approx(0, abs=1e-4)


def test_gains_do_not_read_the_scores_of_the_missing(whole, pairs) -> None:
    kept = whole[~whole["source"].isin(["rus", "bul"])]
    told = recommend.next_best(kept, pairs, ["rus"])
    again = recommend.next_best(kept.sample(frac=1, random_state=0), pairs, ["rus"])
    pd.testing.assert_frame_equal(told, again)


def test_candidates_are_languages_with_text_that_lack_scores() -> None:
    found = recommend.candidates(["eng", "rus"], 5)
    assert len(found) == 5 and not {"eng", "rus"} & set(found)
    assert list(itertools.islice(found, 2)) != []


# ---------------------------------------------------------------- one order, true reasons


@pytest.mark.parametrize("target", ["pol", "kat", "rus"])
def test_rank_score_set_and_reason_agree(whole, pairs, target) -> None:
    """No lower row has a higher score; the set begins with rank 1; the sums of the reasons rank."""
    some = whole[(whole["target"] != target) | whole["source"].isin(CODES[:4])]
    found = recommend.recommend(target, some, pairs)
    table = found.table
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["predicted"].is_monotonic_decreasing
    assert found.best_set["source"][0] == table["source"][0]
    due = table["why"].str.extract(r"([+−][0-9.]+) beside")[0].str.replace("−", "-").astype(float)
    for measured in (True, False):
        assert due[table["measured"] == measured].is_monotonic_decreasing


def test_reasons_are_as_far_apart_as_the_scores(whole, pairs) -> None:
    """Of a target never measured, too, they are points of 100, not standardised units."""
    for target in ("pol", "kat"):
        table = recommend.recommend(target, whole, pairs).table
        due = table["why"].str.extract(r"([+−][0-9.]+) beside")[0].str.replace("−", "-")
        assert due.astype(float).std() == pytest.approx(100 * table["predicted"].std(), rel=0.05)


def test_a_target_asked_about_changes_nothing_for_the_others(whole, pairs) -> None:
    """Units, levels and covariance of the measured cells are those of the table without it."""
    ((_, alone),) = matrix.matrices(whole, pairs)
    ((_, more),) = matrix.matrices(whole, pairs, "pol")
    n, fold = len(alone.score), next(matrix.folds(alone, "cold"))
    np.testing.assert_array_equal(more.cells.features[:n], alone.cells.features)
    assert np.isnan(more.score[n:]).all() and len(more.score) > n
    unseen = np.arange(n, len(more.score))
    hidden = matrix.Fold(fold.asked, np.concatenate([fold.hidden, unseen]))
    for one, other in zip(
        levels.posterior(alone, fold, "cold"), levels.posterior(more, hidden, "cold"), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_an_imputed_value_is_no_reason(whole, pairs) -> None:
    none = pairs.assign(**{c: 0.0 for c in pairs if str(c).startswith("coverage_")})
    guessed = [str(c).removeprefix("coverage_").replace("_", " ") for c in none if "coverage" in c]
    for table, named in ((pairs, True), (none, False)):
        why = " ".join(recommend.recommend("pol", whole, table).table["why"])
        assert any(measure in why for measure in guessed) == named
        assert "script" in why


def test_the_script_of_a_target_counts_and_is_said(whole, pairs) -> None:
    codes = [*CODES, "uzn", "uzn_Cyrl"]
    more = similarity.pairs(codes)
    latin, cyrillic = (recommend.recommend(t, whole, more) for t in ("uzn", "uz-Cyrl"))
    assert cyrillic.target == "uzn_Cyrl" and "Uzbek (Cyrillic)" in cyrillic.rests_on
    assert "itself" not in latin.rests_on
    near = [set(found.table["source"][:5]) for found in (latin, cyrillic)]  # script decides here
    assert near[0] <= set(LATIN) and near[1] <= set(CYRILLIC)


def test_a_variety_of_the_table_is_found(whole, pairs) -> None:
    named = {"spa": "spa_MX", "ita": "spa_ES"}
    table = whole.replace({"source": named, "target": named})
    both = pairs.replace({"source": named, "target": named})
    assert recommend.recommend("es-MX", table, both).target == "spa_MX"
