"""What the chapters say: evidence gathered rightly, sums by hand, verdicts that follow."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xltlib import cli, scores
from xltlib.book import evidence
from xltlib.languages import similarity
from xltlib.rank import methods
from xltlib.train import config

CODES = ["eng", "deu", "rus", "srp", "hin", "urd", "tur", "arb"]


def table(
    models: dict[str, list[str]], alike: pd.DataFrame, seed: int = 0, noise: float = 0.01
) -> pd.DataFrame:
    """Scores of two tasks in which genealogy helps the model `tiny` and no other."""
    rng = np.random.default_rng(seed)
    kin = alike.set_index(["source", "target"])["genealogy"]
    rows = []
    for (model, sources), task in itertools.product(models.items(), ("entity_type", "qa")):
        for source, target, run in itertools.product(sources, CODES, (0, 1, 2)):
            base = 0.9 if source == target else 0.3 + 0.4 * kin[source, target]
            value = (base if model == "tiny" else 0.15) + rng.normal(0, noise)
            cell = (model, task, source, target, 0, run)
            rows.append((*cell, "accuracy", value, 500, 0.125))
            rows.append((*cell, "illegal", 0.02, 500, math.nan))
    names = ["model", "task", "source", "target", "n_target", "seed", "metric", "score"]
    return pd.DataFrame(rows, columns=[*names, "n_test", "chance"])


@pytest.fixture(scope="module")
def alike() -> pd.DataFrame:
    return similarity.pairs(CODES)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, alike: pd.DataFrame) -> pd.DataFrame:
    models = {"tiny": CODES, "tiny-shuffled": CODES[:4], "char-ngram": CODES[:1]}
    return scores.check(table(models, alike))


@pytest.fixture
def data(
    built: pd.DataFrame,
    alike: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> evidence.Evidence:
    folder = tmp_path_factory.mktemp("build")
    monkeypatch.setenv("XLT_BUILD", str(folder))
    scores.write(built, folder / "quick" / "scores.parquet")
    similarity.write_pairs(alike, folder / "quick" / "pairs.parquet")
    return evidence.gather(config.load("quick"))


@pytest.mark.parametrize(
    ("zero", "control", "said"),
    [
        ((0.4, 0.6), (0.1, 0.39), "holds"),
        ((0.4, 0.6), (0.1, 0.41), "cannot tell"),
        ((0.1, 0.2), (0.3, 0.4), "does not hold"),
    ],
)
def test_above_a_control_means_that_no_interval_touches(zero, control, said) -> None:
    rows = [("entity_type", a, sum(e) / 2, *e) for a, e in (("zero-shot", zero), ("c", control))]
    means = pd.DataFrame(rows, columns=["task", "arm", "mean", "low", "high"])
    assert evidence.above(means, "c")["verdict"].item() == said
    assert f"**{said}**" in evidence.against(means, "c")[0]
    assert "No comparison" in evidence.against(means, "d")[0]


def symmetric(noise: float, skew: float) -> pd.DataFrame:
    rng, rows = np.random.default_rng(1), []
    worth = rng.normal(0, 0.1, (len(CODES), len(CODES)))
    for i, j in itertools.permutations(range(len(CODES)), 2):
        value = 0.5 + worth[min(i, j), max(i, j)] * (1 if i < j else 1 - 2 * skew)
        for seed in (0, 1, 2):
            rows.append((CODES[i], CODES[j], seed, value + rng.normal(0, noise)))
    made = pd.DataFrame(rows, columns=["source", "target", "seed", "score"])
    return scores.check(made.assign(task="entity_type", n_test=400))


def test_symmetry_tells_equal_directions_from_opposite_ones() -> None:
    same, opposite = (evidence.symmetry(symmetric(0.005, s)).iloc[0] for s in (0.0, 1.0))
    assert same["n_pairs"] == 28
    assert same["r_low"] > 0.9 and same["r"] <= 1 and same["beyond"] == 0
    assert opposite["r_high"] < 0 and opposite["over_r_high"] < 0 and opposite["beyond"] > 0.3
    assert opposite["apart"] > 3 * opposite["noise"]


def test_symmetry_by_hand() -> None:
    both = pd.DataFrame({"score": [0.2, 0.4, 0.9], "score_back": [0.4, 0.2, 0.9]})
    x, y = np.array([0.2, 0.4, 0.9, 0.4, 0.2, 0.9]), np.array([0.4, 0.2, 0.9, 0.2, 0.4, 0.9])
    found = evidence._correlation(both, "score", np.ones(3))
    assert found == pytest.approx(np.corrcoef(x, y)[0, 1])  # every pair in both orders


def test_noise_is_that_of_the_cells(data: evidence.Evidence) -> None:
    mine = scores.select(data.scores, model="tiny", task="entity_type")
    found = evidence.noise(mine).iloc[0]
    se = 100 * scores.cells(mine)["se"]
    assert (found["cells"], found["median"], found["largest"]) == (64, se.median(), se.max())
    assert found["under_2"] == pytest.approx((se < 2).mean())


def test_head_start_counts_a_target_once() -> None:
    base = {"model": "m", "task": "entity_type", "metric": "accuracy", "n_target": 2}
    cells = [("eng", "rus", 0.5), ("deu", "rus", 0.7), ("eng", "hin", 0.4)]
    mine = pd.DataFrame([{**base, "source": s, "target": t, "score": v} for s, t, v in cells])
    alone = pd.DataFrame([{**base, "source": t, "target": t, "score": 0.3} for t in ("rus", "hin")])
    row = evidence.head_start(mine, alone).iloc[0]
    assert row["difference"] == pytest.approx(0.2)  # rus 0.3 (two sources), hin 0.1
    half = 12.706 * 0.1  # t(0.975, 1 df) times the standard error of 0.3 and 0.1
    assert row["high"] - row["difference"] == pytest.approx(half, rel=1e-3)
    assert (row["n_pairs"], row["n_targets"]) == (3, 2)


def test_claims_find_what_was_put_in(data: evidence.Evidence) -> None:
    judged, unable = evidence.claims(data, "tiny-shuffled", bootstrap=30, permutations=99)
    said = judged.set_index(["claim", "task", "response"])["verdict"]
    assert said["transfer exceeds tiny-shuffled", "entity_type", "score"] == "holds"
    assert said["more alike in genealogy, more transfer", "qa", "score"] == "holds"
    assert not (said.xs("gain", level="response") == "does not hold").any()
    assert list(evidence.board(judged)["claim"]) and "entity_type" in evidence.board(judged)
    told = evidence.tally(judged)
    assert "transfer exceeds tiny-shuffled: **holds** (kind, find)" in told
    assert any("**genealogy** (kind, find)" in sentence for sentence in told)


def test_a_table_too_small_to_explain_still_compares_arms(data: evidence.Evidence) -> None:
    few = data.scores[data.scores["source"].isin(CODES[:3]) & data.scores["target"].isin(CODES[:3])]
    small = evidence.Evidence(
        few, few, data.pairs, "tiny", ("tiny-shuffled",), data.tasks, data.experiment
    )
    judged, unable = evidence.claims(small, "tiny-shuffled", bootstrap=30, permutations=99)
    assert set(judged["claim"]) == {"transfer exceeds tiny-shuffled"} and unable
    assert "fewer than 8" in evidence.too_small(small).data
    table, reason = evidence.compared(small, "cold")
    assert not len(table) and "at least 4" in reason[0]
    assert evidence.tally(pd.DataFrame()) == ["These scores are too few to judge any claim."]


def test_too_few_curves_cannot_judge_a_law() -> None:
    n = [2, 4, 8, 16, 32]
    rows = [("eng", t, k, 0.2 + 0.1 * math.log(k), 100) for t in ("rus", "hin") for k in n]
    made = pd.DataFrame(rows, columns=["source", "target", "n_target", "score", "n_test"])
    from xltlib.explain import fewshot

    judged = evidence.law_judged(fewshot.curves(scores.check(made)))
    assert set(judged["verdict"]) == {"cannot tell"} and judged["low"].isna().all()


def test_steps_follow_the_measures_there_are(alike: pd.DataFrame) -> None:
    steps = evidence.steps_of(alike, None)  # no texts, so nothing lexical
    assert steps is not None and next(iter(steps)) == "syntax" and "lexical" not in steps
    assert evidence.steps_of(alike.assign(lexical=0.1), None) is None
    chosen = evidence.steps_of(alike, ["phonology", "script"])
    assert chosen == {"phonology": ["phonology"], "+ the rest": ["script"]}


def test_rules_are_parted_by_their_intervals() -> None:
    rows = [("entity_type", "gp", 1.0, 0.5, 2.0), ("entity_type", "random", 9.0, 8.0, 10.0)]
    rows.append(("entity_type", "best_mean", 2.0, 1.0, 3.0))
    columns = ["task", "method", "loss_pct", "loss_pct_low", "loss_pct_high"]
    made = pd.DataFrame(rows, columns=columns)
    (said,) = evidence.rules_beside(made, "gp", {"random": "random", "best_mean": "best"})
    assert "random 9.0 % (clearly more)" in said and "best 2.0 % (the intervals overlap)" in said


def test_the_hidden_target_is_hidden(data: evidence.Evidence) -> None:
    tried, unable = evidence.trial(data, "urd", "entity_type")
    assert not unable and not tried["measured"].any() and set(tried["source"]) == {*CODES} - {"urd"}
    assert "measured scores lie inside" in evidence.hits(tried)
    changed = data.scores.assign(
        score=data.scores["score"].where(data.scores["target"] != "urd", 0.5)
    )
    other = evidence.Evidence(changed, changed, data.pairs, "tiny", (), data.tasks, data.experiment)
    again, _ = evidence.trial(other, "urd", "entity_type")
    pd.testing.assert_series_equal(again["predicted"], tried["predicted"])


def test_league_is_in_the_order_of_the_tasks(data: evidence.Evidence) -> None:
    table, _ = evidence.compared(data, "cold")
    assert list(dict.fromkeys(table["task"])) == ["entity_type", "qa"]
    assert set(methods.METHODS) - {"lambdamart"} <= set(table["method"])


def run(*words: str) -> int:
    return cli.main(["recommend", *words, "--experiment", "quick"])


def test_recommend_prints_the_sources(data: evidence.Evidence, capsys) -> None:
    assert run("Ukrainian", "--task", "entity_type", "--top", "3") == 0
    said = capsys.readouterr().out
    assert "Sources for Ukrainian (ukr); model tiny, task kind, metric accuracy" in said
    assert "Russian (rus)" in said and "Rests on 56 measured pairs" in said
    first = next(line for line in said.splitlines() if line.strip().startswith("1 "))
    assert "to" in first and "%" in first


def test_recommend_as_json_uses_the_experiments_own_pairs(
    data: evidence.Evidence, capsys, monkeypatch
) -> None:
    assert run("srp", "--task", "qa", "--json", "--top", "2") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "srp" and report["model"] == "tiny" and len(report["sources"]) == 2
    assert report["sources"][0]["source"] == "rus" and report["sources"][0]["measured"]
    monkeypatch.setattr(similarity, "pairs", None)  # would be needed for a language not measured
    assert run("srp", "--task", "qa") == 0


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["srp"], "add --task, one of find, kind"),
        (["srp", "--task", "knd"], "Did you mean 'entity_type'"),
        (["srp", "--task", "entity_type", "--model", "tinny"], "Did you mean 'tiny'"),
        (["srp", "--task", "entity_type", "--top", "0"], "at least one"),
        (["Serbain", "--task", "entity_type"], "Serbian"),
    ],
)
def test_recommend_says_what_to_ask(data: evidence.Evidence, capsys, words, cure) -> None:
    assert run(*words) == cli.USAGE
    assert cure in capsys.readouterr().err


def test_recommend_without_scores_names_the_command(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    assert run("srp", "--task", "entity_type") == cli.USAGE
    assert "xlt run quick" in capsys.readouterr().err


def test_names_all_known_or_none_have_no_distance_in_errors() -> None:
    """Without any error there is no standard error to count in."""
    table = pd.DataFrame(
        {"task": ["entity_type", "qa"], "names": [9, 9], "score": [1.0, 0.4], "chance": 0.25}
    ).assign(se_names=[0.0, 0.05], above=[math.nan, 3.0])
    sure, other = evidence.known_names(table)
    assert "errors" not in sure and "3 standard errors from chance (25)" in other


def test_the_usual_model_is_only_taken_where_it_is(tmp_path: Path) -> None:
    row = {"task": "t", "source": "eng", "target": "deu", "score": 0.5}
    for models, wanted in ((["tiny", "tiny-scratch"], "tiny"), (["google/mt5-small"], None)):
        path = tmp_path / "scores.csv"
        pd.DataFrame([{"model": m, **row} for m in models]).to_csv(path, index=False)
        assert evidence.usual_model(path) == wanted


def test_too_little_to_analyse_is_said_in_the_book_and_an_error_for_a_table_of_one_s_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "scores.csv"
    rows = [(s, t, 0.5) for s in ("eng", "deu") for t in ("eng", "deu", "rus")]
    pd.DataFrame(rows, columns=["source", "target", "score"]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="nothing to analyse"):
        evidence.analysed(path, None, True)
    found = evidence.analysed(path, None, False)
    assert not found.analyses and "at least 3 sources" in " ".join(found.unable.values())
