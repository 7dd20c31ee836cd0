"""Source ranking: metrics against outside references, no leaks, calibrated intervals."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from xltlib.rank import gp, levels, matrix, methods
from xltlib.rank.recommend import recommend

CODES = "eng deu hrv tur srp rus kaz arb pes urd hin mar".split()
FAST = ["gp", "best_mean", "english", "random", "rank_fusion", "ridge", "nearest_script"]


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    from xltlib.languages import similarity

    return similarity.pairs([*CODES, "pol", "spa"])


@pytest.fixture(scope="module")
def scores(pairs: pd.DataFrame) -> pd.DataFrame:
    """A 12 x 12 matrix that follows similarity, source quality, target level and noise."""
    rng = np.random.default_rng(7)
    quality = dict(zip(CODES, rng.normal(0, 0.04, 12), strict=True))
    level = dict(zip(CODES, rng.normal(0.5, 0.1, 12), strict=True))
    table = pairs[pairs["source"].isin(CODES) & pairs["target"].isin(CODES)]
    like = table[["word_order", "genealogy", "script"]].mean(axis=1)
    score = (
        table["target"].map(level)
        + table["source"].map(quality)
        + 0.3 * (like - like.mean())
        + rng.normal(0, 0.02, len(table))
    )
    return pd.DataFrame(
        {"model": "m", "task": "t", "metric": "acc", "n_target": 0}
        | {"source": table["source"], "target": table["target"], "score": score.clip(0.02, 0.98)}
    ).reset_index(drop=True)


@pytest.fixture(scope="module")
def one(scores: pd.DataFrame, pairs: pd.DataFrame) -> matrix.Matrix:
    ((_, built),) = matrix.matrices(scores, pairs)
    return built


def with_score(built: matrix.Matrix, score: np.ndarray) -> matrix.Matrix:
    return replace(built, score=score)


# --- metrics against outside references


def test_ndcg_is_sklearns_with_exponential_gain() -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    for n in (3, 8, 40):
        score, standing = rng.random(n), rng.random(n)
        rank = (-score).argsort().argsort() + 1
        gain = 2.0 ** np.where(rank <= 10, 11 - rank, 0) - 1
        expected = 100 * ndcg_score(gain[None], standing[None], k=3)
        assert methods.ndcg(score, standing) == pytest.approx(expected)


def test_ranks_within_groups_are_those_of_pandas() -> None:
    rng = np.random.default_rng(0)
    value, group = rng.integers(0, 5, 60).astype(float), rng.integers(0, 7, 60)
    value[rng.integers(0, 60, 9)] = np.nan
    expected = pd.Series(value).groupby(group).rank().to_numpy()
    np.testing.assert_array_equal(methods.ranks(value, group), expected)


def test_spearman_is_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    score, standing = rng.random(30), rng.integers(0, 5, 30).astype(float)
    assert methods.spearman(score, standing) == pytest.approx(spearmanr(score, standing)[0])


def test_ties_get_their_exact_expectation() -> None:
    score = np.array([0.9, 0.5, 0.7, 0.2, 0.6])
    standing = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    ways = []
    for top in itertools.permutations([0, 1]):
        for rest in itertools.permutations([2, 3, 4]):
            order = np.empty(5)
            order[[*top, *rest]] = np.arange(5)[::-1]
            ways.append((methods.loss_pct(score, order), methods.ndcg(score, order)))
    expected = np.mean(ways, axis=0)
    assert methods.loss_pct(score, standing) == pytest.approx(expected[0])
    assert methods.ndcg(score, standing) == pytest.approx(expected[1])


def test_random_loses_what_the_mean_source_loses(one: matrix.Matrix) -> None:
    table = methods.choices(one, "cold", ["random"])
    wide = pd.Series(one.score).groupby(one.target)
    expected = (100 * (wide.max() - wide.mean()) / wide.max()).mean()
    assert table["loss_pct"].mean() == pytest.approx(expected)


def compared(scores: pd.DataFrame, pairs: pd.DataFrame, protocol: str, names: list[str]):  # type: ignore[no-untyped-def]
    """Loss and order of methods on every matrix of a table."""
    built = [one for _, one in matrix.matrices(scores, pairs)]
    return pd.concat([methods.summary(methods.choices(one, protocol, names)) for one in built])


# --- the process


def test_leave_out_is_the_conditional_distribution(one: matrix.Matrix) -> None:
    covariance = gp.kernel(one.cells)
    z = np.random.default_rng(0).normal(size=len(one.score))
    hidden = np.arange(5, 29)
    seen = np.setdiff1d(np.arange(len(z)), hidden)
    weight = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, hidden)])
    expected = weight.T @ z[seen]
    spread = covariance[np.ix_(hidden, hidden)] - covariance[np.ix_(hidden, seen)] @ weight
    mean, got = gp.leave_out(gp.inverse(covariance.copy()), z, hidden)
    np.testing.assert_allclose(mean, expected, atol=1e-8)  # two ways through one 132 x 132 matrix
    np.testing.assert_allclose(got, spread, atol=1e-8)


def test_kernel_is_a_covariance(one: matrix.Matrix) -> None:
    covariance = gp.kernel(one.cells)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    least = np.linalg.eigvalsh(covariance)[0]
    assert least >= gp.PRESET.noise * 0.999  # the noise is all that bounds it below


def test_kernel_agrees_with_the_formula(one: matrix.Matrix) -> None:
    cells, p = one.cells, gp.PRESET
    i, j = 3, 77
    k = cells.kinship
    s, t = cells.source_language, cells.target_language
    x, apart = cells.features, cells.features[i] - cells.features[j]
    like_s, like_t = k[s[i], s[j]], k[t[i], t[j]]
    expected = p.source * (s[i] == s[j]) + p.source_like * like_s
    expected += (p.source_by_target * (s[i] == s[j]) + p.pair * like_s) * like_t
    expected += p.reverse * k[s[i], t[j]] * k[t[i], s[j]] + p.level * (t[i] == t[j])
    expected += x[i] @ np.diag(cells.slope[:, 1] ** 2) @ x[j]
    expected += p.smooth * np.exp(-(apart**2).mean() / (2 * p.smooth_reach**2))
    assert gp.kernel(cells)[i, j] == pytest.approx(expected)


def test_an_unknown_measure_has_a_slope_and_a_constant_one_none(one: matrix.Matrix) -> None:
    similarity = one.measures["script"]
    more = one.measures | {"mine": similarity, "same": np.ones_like(similarity)}
    cells = replace(one, measures=more).cells
    assert len(cells.slope) == cells.features.shape[1] == one.cells.features.shape[1] + 1
    assert tuple(cells.slope[-1]) == gp.OTHER_SLOPE
    np.testing.assert_allclose(cells.expected(), cells.features @ cells.slope[:, 0])
    assert gp.slopes([]).shape == (0, 2)


def test_columns_of_languages_are_told_from_columns_of_data_sets(
    scores: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    """A distance counts as similarity whichever way it points; sizes and overlaps as data."""
    rng = np.random.default_rng(1)
    size = dict(zip(CODES, rng.uniform(1e3, 1e6, 12), strict=True))
    joined = scores.merge(pairs[["source", "target", "geography"]], on=["source", "target"])
    table = joined.drop(columns="geography").assign(
        pair_far=1 - joined["geography"],
        pair_overlap=joined["geography"],
        pair_tokens=joined["source"].map(size),
        pair_ttr=joined["source"].map(size) / joined["target"].map(size),
    )
    ((_, two),) = matrix.matrices(table, pairs)
    assert dict(zip(two.data_names, two.of_languages(), strict=True)) == {
        "pair_far": True, "pair_overlap": False, "pair_tokens": False, "pair_ttr": False,
    }  # fmt: skip
    cells = two.cells
    assert cells.data.shape[1] == 3
    assert tuple(cells.slope[-1]) == gp.UNSIGNED_SLOPE
    assert len(cells.slope) == cells.features.shape[1]
    ((_, near),) = matrix.matrices(table.assign(pair_far=joined["geography"]), pairs)
    fold = next(iter(matrix.folds(two, "cold")))
    np.testing.assert_allclose(
        methods.gaussian_process(near, fold, "cold"),
        methods.gaussian_process(two, fold, "cold"),
        atol=1e-8,
    )


def test_a_column_never_seen_from_both_ends_is_no_similarity(
    scores: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    upper = scores[scores["source"] < scores["target"]]
    ((_, half),) = matrix.matrices(upper.assign(pair_far=np.arange(len(upper)) / 100), pairs)
    assert half.of_languages().tolist() == [False]
    assert half.cells.data.shape[1] == 1


def test_kinship_needs_no_value_to_be_known() -> None:
    unknown = np.array([[1.0, np.nan], [np.nan, 1.0]])
    assert gp.kinship({"script": unknown}).tolist() == [[1, 0], [0, 1]]
    known = gp.kinship({"script": unknown, "genealogy": np.array([[1, 0.5], [0.5, 1]])})
    gap = 0.5 / gp.UNIT["genealogy"]
    assert known[0, 1] == pytest.approx(1 / (1 + gap / gp.PRESET.reach))


# --- nothing leaks


@pytest.mark.parametrize("protocol", ["cold", "warm"])
def test_a_scrambled_column_does_not_move_its_own_ranking(
    one: matrix.Matrix, protocol: matrix.Protocol
) -> None:
    rng = np.random.default_rng(1)
    known = methods.available(one, FAST)
    for fold in itertools.islice(matrix.folds(one, protocol), 0, None, 4):
        score = one.score.copy()
        score[fold.hidden] = rng.random(len(fold.hidden))
        other = with_score(one, score)
        for name, method in known.items():
            before, after = method(one, fold, protocol), method(other, fold, protocol)
            np.testing.assert_allclose(before, after, atol=1e-9, err_msg=name)


def test_lambdamart_does_not_look_either(one: matrix.Matrix) -> None:
    pytest.importorskip("lightgbm")
    fold = next(matrix.folds(one, "cold"))
    score = one.score.copy()
    score[fold.hidden] = np.random.default_rng(1).random(len(fold.hidden))
    before = methods.METHODS["lambdamart"](one, fold, "cold")
    np.testing.assert_array_equal(
        before, methods.METHODS["lambdamart"](with_score(one, score), fold, "cold")
    )
    assert np.ptp(before) > 0


def test_the_fewer_the_languages_the_wider_the_interval() -> None:
    miss = np.arange(1, 101) / 100
    assert levels.stretch(miss, 10_000) == pytest.approx(0.901, abs=1e-3)
    assert levels.stretch(miss, 9) == pytest.approx(0.9505)  # the 95th percentile
    assert levels.stretch(miss, 2) == 1.0
    assert levels.stretch(miss[:20], 9) == 1.645  # too few misses to go by


def test_text_of_targets_and_of_their_relatives(one: matrix.Matrix) -> None:
    """Of three languages the last has no known text; the first two are related."""
    size, kin = np.array([9.0, 7.0, 6.0]), np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1.0]])
    measures = {matrix.SIZE: np.minimum(size[:, None], size), "genealogy": kin}
    table, slope = levels.ease(measures, np.array([0]), np.arange(3), np.full(3, True))
    assert slope.tolist() == [levels.EASE[name] for name in table]
    near = np.exp(-4 * gp.dissimilarity(measures)) - np.eye(3)
    expected = {
        "text": size,
        "any_text": [1, 1, 0],
        "relatives_text": np.log10(1 + 10**size @ near),
    }
    for name, value in expected.items():
        z = (np.array(value) - np.mean(value)) / np.std(value)
        np.testing.assert_allclose(table[name], z)


def test_predicted_scores_do_not_look_either(one: matrix.Matrix) -> None:
    fold = next(matrix.folds(one, "cold"))
    score = one.score.copy()
    score[fold.hidden] = 0.99
    before = levels.posterior(one, fold, "cold")
    after = levels.posterior(with_score(one, score), fold, "cold")
    for x, y in zip(before, after, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-9)


def test_only_warm_reads_the_languages_own_row(one: matrix.Matrix) -> None:
    cold, warm = (next(matrix.folds(one, p)) for p in ("cold", "warm"))
    row = np.setdiff1d(cold.hidden, cold.asked)
    score = one.score.copy()
    score[row] = score[row][::-1]
    other = with_score(one, score)
    same = methods.gaussian_process(one, cold, "cold") - methods.gaussian_process(
        other, cold, "cold"
    )
    moved = methods.gaussian_process(one, warm, "warm") - methods.gaussian_process(
        other, warm, "warm"
    )
    assert np.abs(same).max() < 1e-9 and np.abs(moved).max() > 1e-3


def test_treebanks_of_a_language_are_hidden_together(
    scores: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    twin = scores[scores["target"] == "deu"].assign(target_set="b")
    table = pd.concat([scores.assign(target_set="a"), twin], ignore_index=True)
    ((_, built),) = matrix.matrices(table, pairs)
    assert len(built.targets) == 13 and built.languages == sorted(CODES)
    for fold in matrix.folds(built, "cold"):
        languages = built.target_language[built.target[fold.asked]]
        assert len(set(languages)) == 1
        assert set(np.flatnonzero(built.target_language == languages[0])) == set(
            built.target[fold.asked]
        )


@pytest.mark.parametrize("protocol", ["cold", "warm"])
def test_scripts_of_a_language_are_hidden_together(
    scores: pd.DataFrame, protocol: matrix.Protocol
) -> None:
    from xltlib.languages import similarity

    latin = {"srp": "srp_Latn"}
    table = pd.concat([scores, scores.replace({"source": latin, "target": latin})])
    codes = [*CODES, "srp_Latn"]
    ((_, built),) = matrix.matrices(table.drop_duplicates(), similarity.pairs(codes))
    s, t = (np.array(built.languages)[end] for end in built.ends())
    serbian = {"srp", "srp_Latn"}
    for fold in matrix.folds(built, protocol):
        (asked,) = set(t[fold.asked])
        apart = {"srp", "srp_Latn"} if asked in serbian else {asked}
        seen = np.setdiff1d(np.arange(len(s)), fold.hidden)
        assert not apart & set(t[seen])
        assert bool(apart & set(s[seen])) == (protocol == "warm")


def test_in_language_and_few_shot_rows_never_count(
    scores: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    own = pd.DataFrame({"source": CODES, "target": CODES, "score": 0.99})
    shots = scores.assign(score=0.5, n_target=8)
    more = pd.concat([scores, own.assign(model="m", task="t", metric="acc", n_target=0), shots])
    names = ["gp", "best_mean"]
    pd.testing.assert_frame_equal(
        compared(scores, pairs, "cold", names),
        compared(more, pairs, "cold", names),
    )


def test_order_of_rows_and_seeds_do_not_matter(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    twice = pd.concat(
        [scores.assign(seed=0, score=scores["score"] - 0.01),
         scores.assign(seed=1, score=scores["score"] + 0.01)]
    ).sample(frac=1, random_state=0)  # fmt: skip
    a = compared(scores, pairs, "cold", ["gp"])
    b = compared(twice, pairs, "cold", ["gp"])
    pd.testing.assert_frame_equal(a, b)  # default tolerance 1e-5: sums in another order


# --- methods compared


def test_best_mean_by_hand(one: matrix.Matrix, scores: pd.DataFrame) -> None:
    wide = scores.pivot(index="source", columns="target", values="score")
    rest = wide.drop(columns="deu", index="deu")  # cold: neither German column nor row
    expected = (rest - rest.mean()).mean(axis=1).idxmax()
    table = methods.choices(one, "cold", ["best_mean"]).set_index("target")
    assert table.loc["deu", "chosen"] == expected


def test_english_is_silent_about_english(one: matrix.Matrix) -> None:
    table = methods.choices(one, "cold", ["english"])
    assert set(table["chosen"]) == {"eng"} and "eng" not in set(table["target"])


def test_gp_beats_the_simple_rules_where_quality_and_similarity_add_up(
    scores: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    table = compared(scores, pairs, "cold", FAST).set_index("method")
    simple = ["best_mean", "english", "random", "rank_fusion", "nearest_script"]
    assert (table.loc[simple, "loss_pct"] > table.loc["gp", "loss_pct"]).all()
    assert table.loc["gp", "loss_pct_high"] < table.loc["random", "loss_pct_low"]
    for metric in methods.METRICS:
        assert (table[f"{metric}_low"] <= table[metric]).all()
        assert (table[metric] <= table[f"{metric}_high"]).all()


def test_tasks_models_and_missing_cells(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    holes = scores.sample(frac=0.6, random_state=0)
    table = pd.concat([holes, scores.assign(task="u"), scores.assign(model="n")])
    result = compared(table, pairs, "warm", ["gp", "nearest_genealogy"])
    assert len(result) == 6 and result[["loss_pct", "ndcg3"]].notna().all().all()


def test_too_many_cells_are_reduced_aloud(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    with pytest.warns(UserWarning, match="reduced to 66"):
        ((_, built),) = matrix.matrices(scores, pairs, most=70)
    assert len(built.targets) == 6


def test_errors_name_the_cure(
    scores: pd.DataFrame, pairs: pd.DataFrame, one: matrix.Matrix
) -> None:
    with pytest.raises(ValueError, match="nearest_script"):
        methods.choices(one, "cold", ["nearest_scrip"])
    with pytest.raises(ValueError, match="cold"):
        list(matrix.folds(one, "cool"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="score"):
        list(matrix.matrices(scores.drop(columns="score"), pairs))
    with pytest.raises(ValueError, match="n_target = 0"):
        list(matrix.matrices(scores.assign(n_target=4), pairs))
    with pytest.raises(ValueError, match="does not know deu"):
        short = pairs[(pairs["source"] != "deu") & (pairs["target"] != "deu")]
        list(matrix.matrices(scores, short))


def test_lambdamart_says_what_it_needs(one: matrix.Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    assert "lambdamart" not in methods.available(one)
    with pytest.raises(ValueError, match="pip install"):
        methods.available(one, ["lambdamart"])


# --- predicted scores


def test_intervals_cover_what_they_promise(pairs: pd.DataFrame) -> None:
    """90 % intervals of new languages, over repeated draws of a whole matrix."""
    table = pairs[pairs["source"].isin(CODES) & pairs["target"].isin(CODES)]
    like = table[["word_order", "genealogy"]].mean(axis=1)
    covered = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        effect = dict(zip(CODES, rng.normal(0, 0.06, 12), strict=True))
        score = 0.5 + table["target"].map(effect) + 0.3 * like + rng.normal(0, 0.03, len(table))
        cells = table[["source", "target"]].assign(score=score)
        ((_, built),) = matrix.matrices(cells, pairs)
        row = levels.accuracy(levels.predict(built))
        covered.append(row["coverage90"])
        assert row["r2_known_level"] > 0.5
    assert 0.85 <= np.mean(covered) <= 0.95


def test_the_level_process_is_exact_where_it_must_be() -> None:
    """Without noise a twin of a seen target has its level; far from all, it is the mean."""
    apart = np.array([[0, 9, 9, 0], [9, 0, 9, 9], [9, 9, 0, 9], [0, 9, 9, 0.0]])
    features, slope, asked = np.zeros((4, 1)), np.zeros(1), np.array([3])
    level = np.array([0.2, 0.6, 0.7, np.nan])
    mean, variance = gp.predict_level(apart, features, slope, level, asked, noise=1e-9)
    assert mean[0] == pytest.approx(0.2, abs=1e-6) and variance[0] < 1e-6
    apart[3, :3] = apart[:3, 3] = np.inf
    mean, wider = gp.predict_level(apart, features, slope, level, asked, noise=1e-9)
    assert mean[0] == pytest.approx(0.5, abs=0.02) and wider[0] > variance[0]


def test_the_level_of_a_new_target_begins_with_what_makes_targets_easy() -> None:
    """Levels that follow the expected trend exactly leave nothing for the process to add."""
    apart = np.full((6, 6), np.inf)
    features = np.array([-1.5, -0.5, 0.0, 0.5, 1.5, 3.0])[:, None]
    level = np.append(0.5 + 0.2 * features[:5, 0], np.nan)
    unit = level[:5].std()
    asked, slope = np.array([5]), np.array([0.2 / unit])
    mean, _ = gp.predict_level(apart, features, slope, level, asked)
    assert mean[0] == pytest.approx(0.5 + 0.2 * 3.0)
    flat, _ = gp.predict_level(apart, features, 0 * slope, level, asked)
    assert flat[0] < 0.9  # five levels alone, drawn towards their mean


@pytest.mark.parametrize(("failing", "believed"), [(1, False), (4, True)])
def test_an_extreme_level_speaks_for_its_neighbours_if_they_share_it(
    failing: int, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target among like ones: one of them fails by itself, or all of them do."""
    apart = np.full((25, 25), 3.0)
    apart[20:, 20:] = 0.2
    np.fill_diagonal(apart, 0)
    level = np.append(np.random.default_rng(2).normal(0.8, 0.03, 24), np.nan)
    level[20 : 20 + failing] = 0.1
    none, asked = np.zeros((25, 1)), np.array([24])
    mean, _ = gp.predict_level(apart, none, np.zeros(1), level, asked)
    monkeypatch.setattr(gp, "FAR", np.inf)
    word, _ = gp.predict_level(apart, none, np.zeros(1), level, asked)
    if believed:
        assert mean[0] == word[0] < 0.3
    else:
        assert mean[0] > word[0] + 0.05


def test_best_set_by_exhaustion(scores: pd.DataFrame) -> None:
    wide = scores.pivot(index="source", columns="target", values="score")
    table = methods.best_set(scores, 2)
    first = wide.fillna(wide.min()).mean(axis=1).idxmax()
    assert table.loc[0, "source"] == first
    rest = {s: np.fmax(wide.loc[first], wide.loc[s]).fillna(wide.min()).mean() for s in wide.index}
    assert table.loc[1, "source"] == max(rest, key=rest.get)  # type: ignore[arg-type]
    assert table["mean_best"].is_monotonic_increasing and table["loss_pct"].min() >= 0
    with pytest.raises(ValueError, match="12 measured sources"):
        methods.best_set(scores, 13)


def test_recommend_for_a_language_never_seen(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    answer = recommend("pl", scores, pairs)
    table = answer.table
    assert answer.target == "pol" and len(table) == 12 and not table["measured"].any()
    assert table["rank"].tolist() == list(range(1, 13))
    assert (table["low"] <= table["predicted"]).all() and (
        table["predicted"] <= table["high"]
    ).all()
    assert table["p_best"].sum() == pytest.approx(1)
    assert table["source"][0] in {"hrv", "srp", "rus", "deu", "eng"}  # near or strong sources
    assert "132 measured pairs" in answer.rests_on
    assert answer.best_set["expected_best"].is_monotonic_increasing


def test_recommend_agrees_with_the_comparison(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Hiding a target and asking for it anew gives the order that the comparison judged."""
    ((_, built),) = matrix.matrices(scores, pairs)
    for fold in matrix.folds(built, "warm"):
        if built.targets[built.target[fold.asked[0]]] == "deu":
            standing = methods.gaussian_process(built, fold, "warm")
            order = [built.sources[i] for i in built.source[fold.asked][np.argsort(-standing)]]
    answer = recommend("deu", scores[scores["target"] != "deu"], pairs)
    assert answer.table["source"].tolist() == order


def test_recommend_keeps_what_was_measured(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    hole = scores[~((scores["target"] == "deu") & (scores["source"] == "eng"))]
    table = recommend("German", hole, pairs).table.set_index("source")
    assert table["measured"].sum() == 10 and not table.loc["eng", "measured"]
    mine = scores[(scores["target"] == "deu") & (scores["source"] == "rus")]["score"].item()
    assert table.loc["rus", "predicted"] == table.loc["rus", "low"] == pytest.approx(mine)
    truth = scores[(scores["target"] == "deu") & (scores["source"] == "eng")]["score"].item()
    assert table.loc["eng", "low"] <= truth <= table.loc["eng", "high"]


def test_recommend_says_which_part_it_needs(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    both = pd.concat([scores, scores.assign(task="u")])
    with pytest.raises(ValueError, match="task= one of t, u"):
        recommend("pol", both, pairs)
    assert recommend("pol", both, pairs, task="u").labels["task"] == "u"
    with pytest.raises(ValueError, match="unknown task"):
        recommend("pol", both, pairs, task="v")


def test_small_matrices_run(scores: pd.DataFrame, pairs: pd.DataFrame) -> None:
    few = scores[scores["source"].isin(CODES[:3]) & scores["target"].isin(CODES[2:5])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = compared(few, pairs, "cold", FAST)
        ((_, built),) = matrix.matrices(few, pairs)
        level = levels.accuracy(levels.predict(built))
    assert (table.loc[table["method"] == "gp", "n_targets"] == 3).all()
    assert np.isfinite(level["mae_loto"])


def test_analysis_needs_no_torch() -> None:
    code = (
        "import sys, xltlib.rank.methods, xltlib.rank.recommend; "
        "heavy = {'torch', 'transformers', 'lang2vec', 'statsmodels', 'lightgbm'}; "
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("protocol", ["cold", "warm"])
def test_reasons_add_up_to_the_rating(one: matrix.Matrix, protocol: matrix.Protocol) -> None:
    """The posterior mean is linear in the covariance: so exact but for rounding."""
    for fold in matrix.folds(one, protocol):
        parts = methods.reasons(one, fold, protocol)
        rating = methods.gaussian_process(one, fold, protocol)
        np.testing.assert_allclose(parts.sum(axis=1), rating, atol=1e-8)
        assert {"genealogy", gp.RECORD, gp.ALIKE} <= set(parts)


def test_a_set_ends_where_no_source_helps(scores: pd.DataFrame) -> None:
    dominant = scores.assign(score=scores["score"].where(scores["source"] != "deu", 1.0))
    table = methods.best_set(dominant[dominant["target"] != "deu"], 5)
    assert table["source"].tolist() == ["deu"]
