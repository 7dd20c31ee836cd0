"""What the chapters compute in their own cells: verdicts that pair, sums by hand, kept tables."""

from __future__ import annotations

import itertools
import math
import random
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MultiLabelBinarizer

from xltlib import scores
from xltlib.book import tables
from xltlib.data import cldr
from xltlib.explain import claims, regression
from xltlib.explain.contrast import verdict
from xltlib.explain.effects import Effects, interval, partial_r2, relabelled
from xltlib.languages import key as language_key
from xltlib.rank import methods
from xltlib.tasks.base import ratio

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = REPOSITORY / "book" / "published"
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
import published  # noqa: E402

CODES = ["eng", "deu", "rus", "srp", "hin", "tur"]


def cell(chapter: str, text: str, **namespace: Any) -> dict[str, Any]:
    """What a cell of a chapter, the one that holds `text`, makes of some names."""
    (path,) = (REPOSITORY / "notebooks").glob(f"{chapter}_*.ipynb")
    code = (c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    exec(next(source for source in code if text in source), namespace)
    return namespace


# ---------------------------------------------------------------- paired, not by overlap


def test_transfer_above_a_control_is_judged_pair_by_pair() -> None:
    """Pairs differ by far more than the model and its control: their intervals overlap."""
    rng, rows = np.random.default_rng(0), []
    for source, target in itertools.permutations(CODES, 2):
        ease = 0.2 + 0.12 * CODES.index(target)
        for model, more in (("tiny", 0.03), ("tiny-shuffled", 0.0)):
            rows.append((model, source, target, ease + more + rng.normal(0, 0.002)))
    table = pd.DataFrame(rows, columns=["model", "source", "target", "score"])
    table = scores.check(table.assign(task="qa", metric="accuracy", n_test=5000))
    means = claims.conditions(table, "tiny", ["tiny-shuffled"]).set_index("condition")
    assert means.loc["zero-shot", "low"] < means.loc["tiny-shuffled", "high"]  # they do overlap
    data = tables.Tables(table, table, pd.DataFrame(), "tiny", ("tiny-shuffled",), ("qa",))
    names = {"pd": pd, "tables": tables, "claims": claims, "verdict": verdict}
    paired = cell("11", "claims.compare", data=data, **names)["paired"]
    assert paired["verdict"].tolist() == ["holds"]
    assert paired["difference"].item() == pytest.approx(0.03, abs=0.002)


def test_rules_are_compared_target_by_target() -> None:
    """Targets differ by far more than two rules do: their intervals overlap."""
    targets = pd.DataFrame({"language": CODES, "target": CODES, "n_sources": 5})
    base = np.array([1.0, 5.0, 10.0, 20.0, 30.0, 40.0])
    parts = [
        targets.assign(method=m, loss_pct=base + more, ndcg3=50.0, spearman=0.0)
        for m, more in (("gp", 0.0), ("english", 2.0), ("random", -1.0), ("best_mean", 0.0))
    ]
    choices = pd.concat(parts)
    whole = methods.summary(choices).set_index("method")
    assert whole.loc["gp", "loss_pct_high"] > whole.loc["english", "loss_pct_low"]
    names = {"pd": pd, "tables": tables, "methods": methods, "verdict": verdict}
    lead = cell("07", "methods.lead", choices={"qa": choices}, **names)["lead"]
    found = lead.set_index("beside")["verdict"].to_dict()
    assert found == {
        "random": "does not hold", "English": "holds", "best on average": "cannot tell",
    }  # fmt: skip


# ---------------------------------------------------------------- sums by hand


def test_correlation_of_two_directions_takes_every_pair_in_both_orders() -> None:
    correlation = cell("11", "def correlation", np=np, pd=pd)["correlation"]
    x, y = np.array([0.2, 0.4, 0.9]), np.array([0.4, 0.2, 0.9])
    both = np.corrcoef(np.r_[x, y], np.r_[y, x])[0, 1]
    assert correlation(x, y, np.ones(3)) == pytest.approx(both)
    twice = np.corrcoef(np.r_[x, 0.9, y, 0.9], np.r_[y, 0.9, x, 0.9])[0, 1]
    assert correlation(x, y, np.array([1, 1, 2])) == pytest.approx(twice)
    assert math.isnan(correlation(x, y, np.array([1, 1, 0])))  # of two pairs nothing can be told


def test_a_criterion_is_reached_or_not_as_its_figure_says() -> None:
    """Losses and errors should be small, all else large; an empty criterion is never reached."""
    nan = float("nan")
    rows = [
        ("loss_pct", 10.0, nan, 9.0, 7.0, 12.0, "yes"),
        ("ndcg3", 50.0, 60.0, 55.0, 45.0, 65.0, "first"),
        ("ndcg3", nan, 60.0, 55.0, 45.0, 65.0, "within the interval"),
        ("loss_pct", nan, 6.5, 6.5, 4.0, 7.0, "yes"),
        ("r2_loto", 0.7, 0.75, 0.5, 0.4, 0.6, "no"),
        ("mae", 0.0144, 0.0052, 0.005, 0.004, 0.006, "both"),
        ("mae", 0.0144, 0.0052, 0.02, 0.01, 0.03, "within the interval"),
    ]
    columns = ["figure", "must", "aim", "gp", "low", "high", "wanted"]
    table = pd.DataFrame(rows, columns=columns)
    kept = {"criteria": pd.read_csv(KEPT / "criteria.csv")}
    reached = cell("06", "def reached", kept=kept)["reached"]
    assert table.apply(reached, axis=1).tolist() == table["wanted"].tolist()


def test_criteria_are_counted_one_by_one() -> None:
    """A row holds two criteria; small losses meet them, and the whole interval is the hard way."""
    nan = float("nan")
    rows = [
        ("loss_pct", 10.0, 6.0, 9.0, 7.0, 9.5),  # the first, surely
        ("ndcg3", 50.0, 60.0, 61.0, 55.0, 65.0),  # both, the first surely
        ("r2_loto", nan, 0.7, 0.6, 0.5, 0.8),  # none
    ]
    columns = ["figure", "must", "aim", "gp", "low", "high"]
    criteria = pd.DataFrame(rows, columns=columns)
    names = {"criteria": criteria, "np": np, "pd": pd, "tables": tables}
    counted = cell("06", "counted = []", **names)["counted"]
    assert counted.iloc[:, 1:].to_numpy().tolist() == [[2, 2, 2], [3, 1, 0]]


def test_shape_finds_labels_that_length_or_punctuation_give_away() -> None:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.pipeline import make_pipeline

    names = {"cldr": cldr, "unicodedata": unicodedata, "Counter": Counter}
    shape = cell("02", "def shape", **names)["shape"]
    assert (shape("Sri Lanka, Oslo")["words"], shape("Sri Lanka, Oslo")["sign ,"]) == (3, 1)
    rng = random.Random(0)
    signs = [shape(f"{'x' * rng.randint(2, 9)}{',;'[i % 2]}") for i in range(200)]
    trees = ExtraTreesClassifier(30, min_samples_leaf=10, random_state=0)
    model = make_pipeline(DictVectorizer(sparse=False), trees)
    model.fit(signs[:100], [i % 2 for i in range(100)])
    assert model.score(signs[100:], [i % 2 for i in range(100)]) > 0.95


def test_company_of_a_name_in_other_digits_and_signs() -> None:
    names = {"re": re, "unicodedata": unicodedata}
    made = pd.DataFrame({"kind": ["city"], "filled": ["12"]})
    company = cell("09", "def company", filled=made, confusion=lambda *a: None, **names)["company"]
    given = ("14:30", "73%", "1990,", "12", "or", "١٤:٣٠", "٧٣٪", "%73", "०५:३०", "१९९०", "", ",")
    wanted = ["clock", "share", "year", "number", "words"]
    wanted += ["clock", "share", "share", "clock", "year", "sign or nothing", "sign or nothing"]
    assert [company(text) for text in given] == wanted


def test_error_over_shared_parts() -> None:
    """Without sharing that of a ratio; with sharing that of the names, by simulation."""
    names = {"MultiLabelBinarizer": MultiLabelBinarizer}
    shared = cell("11", "def by_shared_parts", **names)["by_shared_parts"]
    rng = np.random.default_rng(1)
    top, one = (rng.random(200) < 0.7).astype(float), np.ones(200)
    value, error = shared(top, one, [[str(i)] for i in range(200)])
    alone = ratio(top, one)
    assert (value, error) == pytest.approx((alone.score, alone.stderr * np.sqrt(199 / 200)))
    drawn, errors, one = [], [], np.ones(150)
    for _ in range(300):  # 40 names, known or not; an item's score is the share of its 4 known
        known = rng.random(40) < 0.6
        parts = [rng.choice(40, 4, replace=False) for _ in range(150)]
        top = np.array([known[p].mean() for p in parts])
        value, error = shared(top, one, [list(map(str, p)) for p in parts])
        drawn.append(value)
        errors.append(error)
    # a little low with few names, as all cluster-robust errors are
    assert 0.8 * np.std(drawn) < np.mean(errors) < 1.1 * np.std(drawn)
    assert np.mean(errors) > 2 * ratio(top, one).stderr


def encoded(noise: float) -> tables.Tables:
    """Scores of additive sources and targets, and noise, as a chapter gathers them."""
    rng, rows = np.random.default_rng(1), []
    for source, target in itertools.permutations(CODES, 2):
        score = 0.3 + 0.05 * CODES.index(source) + 0.01 * CODES.index(target) ** 2
        rows.append(("qa", source, target, "f1", score + rng.normal(0, noise)))
    columns = ["task", "source", "target", "metric", "score"]
    table = scores.check(pd.DataFrame(rows, columns=columns).assign(model="m", n_test=1000))
    return tables.Tables(table, table, pd.DataFrame(), "m", (), ("qa",))


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_what_source_and_target_effects_leave_is_that_of_least_squares(noise: float) -> None:
    import statsmodels.formula.api as smf

    data, names = encoded(noise), {"np": np, "pd": pd, "tables": tables, "cells": scores.cells}
    names |= {"select": scores.select, "Effects": Effects, "interval": interval}
    names |= {"data": data, "given": SimpleNamespace(draws=100)}
    found = cell("03", "def effects_of", **names)
    row, left = found["shares"].iloc[0], found["left"]["qa"]
    fit = smf.ols("score ~ C(source) + C(target)", left).fit()
    assert left["left"].to_numpy() == pytest.approx(100 * fit.resid.to_numpy(), abs=1e-9)
    assert row["r2"] == pytest.approx(fit.rsquared_adj, abs=1e-9)
    assert row["sd"] == pytest.approx(100 * fit.mse_resid**0.5, abs=1e-6)
    assert row["r2_low"] <= row["r2"] + 1e-9 and (noise or row["r2_low"] > 1 - 1e-9)


def test_a_layer_is_explained_by_words_and_by_structure_beyond_them() -> None:
    """Shares of the cross products are those of two least-squares fits of the residuals."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 3))
    Y = X @ rng.normal(size=(3, 2)) + rng.normal(size=(60, 2))
    M = np.column_stack([X, Y])
    lists = {"LEXICAL": ["a"], "STRUCTURE": ["b"], "measures": ["a", "b", "c"]}
    names = {"np": np, "partial_r2": partial_r2, "relabelled": relabelled, "replace": replace}
    shares = cell("14", "def shares", **lists, **names)["shares"](M.T @ M)

    def r2(k: int, y: Any) -> float:
        rest = y - X[:, :k] @ np.linalg.lstsq(X[:, :k], y, rcond=None)[0]
        return 1 - float(rest @ rest) / float(y @ y)

    wanted = [(r2(1, y), r2(2, y) - r2(1, y), r2(3, y)) for y in Y.T]
    assert shares == pytest.approx(np.array(wanted))


def test_layers_are_read_by_key_and_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    names: dict[str, Any] = {"pd": pd, "key": language_key}
    (path,) = (REPOSITORY / "notebooks").glob("14_*.ipynb")
    (source,) = (c.source for c in nbformat.read(path, 4).cells if "def layers_in" in c.source)
    exec(source[source.index("def layers_in") : source.index("\nroot()")], names)
    layers_in = names["layers_in"]
    row = {"model": "m", "task": "t", "source": "zh-TW", "target": "de", "seed": 0, "layer": 3}
    table, path = pd.DataFrame([row | {"score": 0.5, "more": 1}]), tmp_path / "layers.csv"
    table.to_csv(path, index=False)
    found = layers_in(path)
    assert found.loc[0, ["source", "target"]].tolist() == ["cmn_Hant", "deu"]
    assert "more" not in found
    table.drop(columns="layer").to_csv(path, index=False)
    with pytest.raises(ValueError, match="no column layer: it needs model, task"):
        layers_in(path)
    with pytest.raises(ValueError, match="is not there; kept are those of"):
        layers_in(tmp_path / "none.parquet")


# ---------------------------------------------------------------- kept tables


def test_every_published_matrix_has_every_part() -> None:
    parts = ("matrices", "coefficients", "steps", "claims", "methods")
    kept = {name: pd.read_csv(KEPT / f"{name}.csv") for name in parts}
    names = set(kept["matrices"]["matrix"])
    assert len(names) >= 12 and not kept["matrices"]["matrix"].duplicated().any()
    assert all(set(kept[name]["matrix"]) <= names for name in parts)
    assert set(kept["methods"]["protocol"]) == {"cold", "warm"}
    assert kept["matrices"]["citation"].notna().all()  # whose scores these are
    of = {name: published.SCORES[name].data for name in names}
    assert kept["matrices"].set_index("matrix")["data"].to_dict() == of  # the unit of every claim
    ours = pd.read_csv(KEPT / "matrix" / "matrices.csv").set_index("matrix")["data"]
    assert ours["udpos_dev"] in of.values()  # the same data set has the same name in both
    assert ours[["massive_intent", "massive_slots", "massive_qa"]].nunique() == 1


def test_words_of_names_are_the_published_steps_where_every_pair_has_texts() -> None:
    """The same models on the same pairs, made by another way: not one digit differs."""
    pairs = pd.read_csv(KEPT / "matrices.csv").set_index("matrix")["n_pairs"]
    steps, words = (pd.read_csv(KEPT / f"{name}.csv") for name in ("steps", "words"))
    names = words[words["words"] == "names"]
    whole = names[names["n_pairs"] == names["matrix"].map(pairs)]
    assert whole["matrix"].nunique() >= 3
    both = whole.merge(steps, on=["matrix", "step", "features"], suffixes=("", "_steps"))
    assert both["step"].nunique() >= 5
    for c in ("partial_r2", "low", "high", "diff_low", "cv_r2", "cv_gain_high"):
        assert both[c].to_numpy() == pytest.approx(both[f"{c}_steps"].to_numpy(), abs=1e-9)
    alone = words[words["step"] == regression.ALONE].groupby("matrix")["partial_r2"].nunique()
    assert (alone == 1).all()  # structure alone is the same beside either


def test_slopes_left_out_are_those_of_other_data() -> None:
    """Both kinds of slopes choose for the same targets; where they agree, so do the choices."""
    table = pd.read_csv(KEPT / "left_out.csv")
    kinds = table.pivot(index=["matrix", "protocol"], columns="slopes", values="n_targets")
    assert (kinds["all"] == kinds["others"]).all() and len(kinds) >= 20
    methods_kept = pd.read_csv(KEPT / "methods.csv").query("method == 'gp'")
    keys = ["matrix", "protocol"]
    both = table[table["slopes"] == "all"].merge(methods_kept, on=keys, suffixes=("", "_kept"))
    assert len(both) == len(kinds)
    assert both["loss_pct"].to_numpy() == pytest.approx(both["loss_pct_kept"].to_numpy(), rel=1e-3)


def test_kept_verdicts_follow_from_the_intervals() -> None:
    claims = pd.read_csv(KEPT / "claims.csv")
    assert set(claims["verdict"]) <= {"holds", "cannot tell", "does not hold"}
    assert (claims.loc[claims["verdict"] == "holds", "low"] > 0).all()
    assert (claims.loc[claims["verdict"] == "does not hold", "high"] <= 0).all()


def test_reported_scores_of_mt5_are_whole() -> None:
    table = pd.read_csv(KEPT / "mt5_scores.csv")
    assert all("arXiv 2010.11934" in s for s in table["source"])
    table = table[table["setting"] == "zero-shot"]
    counts = table.groupby("task")["language"].nunique().to_dict()
    assert counts == {
        "mlqa": 7, "pawsx": 7, "tydiqa": 9, "wikiann": 40, "xnli": 15, "xquad": 11,
    }  # fmt: skip
    assert table["score"].between(0.2, 97).all()  # XLM in Thai: 0.3 of 100
    assert set(table.loc[table["superseded"] == "yes", "task"]) == {"wikiann", "tydiqa"}
    small = table[(table["model"] == "mT5-Small") & (table["task"] == "xnli")]
    # the mean over languages that the paper prints for mT5-Small on XNLI, zero-shot
    assert small["score"].mean() == pytest.approx(67.5, abs=0.1)
