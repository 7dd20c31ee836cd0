"""`xlt analyze`: what it writes agrees with the functions behind it; what it cannot use it says."""

from __future__ import annotations

import dataclasses
import functools
import html
import itertools
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pytest

import xltlib
from xltlib import scores
from xltlib.book import analyze, inputs, report
from xltlib.cli import FAILED, USAGE, main
from xltlib.explain import regression
from xltlib.languages import is_summary, known, language, similarity, uriel
from xltlib.rank import matrix, methods

CODES = "eng deu hrv tur srp rus kaz arb pes urd hin mar".split()
QUICK = ["--permutations", "49", "--bootstrap", "40"]
SCHEMA = Path(xltlib.__file__).parent / "schema" / "analysis.schema.json"


def made(codes: list[str] = CODES, seed: int = 7) -> pd.DataFrame:
    """A matrix that follows similarity, source quality, target level and noise; 0..1, two seeds."""
    rng = np.random.default_rng(seed)
    pairs = similarity.pairs(codes)
    quality, level = (dict(zip(codes, rng.normal(0, sd, len(codes)), strict=True))
                      for sd in (0.04, 0.1))  # fmt: skip
    like = pairs[["word_order", "genealogy", "script"]].mean(axis=1)
    true = 0.5 + pairs["target"].map(level) + pairs["source"].map(quality) + 0.3 * (like - 0.4)
    rows = [
        pairs[["source", "target"]].assign(score=(true + rng.normal(0, 0.02, len(true))), seed=k)
        for k in range(2)
    ]
    table = pd.concat(rows, ignore_index=True).assign(n_test=500)
    return table.assign(score=table["score"].clip(0.02, 0.98).round(4))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return made()


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """LambdaMART, which is refitted for every target, only where it is asked about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyze, "TREES", 0)
        yield


@pytest.fixture(scope="module")
def folder(table: pd.DataFrame, tmp_path_factory) -> Path:
    """What `xlt analyze` writes of that matrix."""
    place = tmp_path_factory.mktemp("analysis")
    table.to_csv(place / "mine.csv", index=False)
    assert main(["analyze", str(place / "mine.csv"), "--out", str(place / "out"), *QUICK]) == 0
    return place / "out"


@pytest.fixture(scope="module")
def found(folder: Path) -> dict:
    return json.loads((folder / "analysis.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    """Half of the languages, one seed: where the machinery is at stake and not the numbers."""
    return made(CODES[:6]).query("seed == 0")


@pytest.fixture
def say(capsys, tmp_path: Path):
    """Return a function that analyses the text of a file: (exit code, stdout, stderr)."""

    def inside(text: str, *words: str, name: str = "mine.csv") -> tuple[int, str, str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        out = str(tmp_path / "out")
        code = main(["analyze", str(tmp_path / name), "--out", out, *QUICK, *words])
        return (code, *capsys.readouterr())

    return inside


# ---------------------------------------------------------------- what is written


def test_json_is_as_its_schema_says(found: dict) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
    for wrong in ({"ranking": {}}, {"level": {"r2_loto": "high"}}, {"more": 1}):
        one = {**found["analyses"][0], **wrong}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**found, "analyses": [one]}, schema)


def test_every_field_is_in_the_book(repository: Path) -> None:
    text = (repository / "book" / "api" / "analysis.md").read_text("utf-8")
    schema = json.loads(SCHEMA.read_text("utf-8"))
    fields = {*schema["properties"], *schema["$defs"]["analysis"]["properties"]}
    missing = {f for f in fields if not re.search(rf"`{f}[`.]", text)}
    assert not missing


def test_its_figures_are_those_of_the_functions(found: dict, table: pd.DataFrame) -> None:
    (one,) = found["analyses"]
    checked = scores.check(table)
    plain, full = inputs.similarities(CODES)
    for protocol in ("cold", "warm"):
        names = ["gp", "best_mean", "nearest_script"]
        ((_, built),) = matrix.matrices(checked, plain)
        choices = methods.choices(built, protocol, names)
        compared = methods.summary(choices).set_index("method")
        for method, metric in itertools.product(names, methods.METRICS):
            got = one["ranking"][protocol][method]
            assert got[metric] == pytest.approx(compared.loc[method, metric])
            assert got[f"{metric}_low"] <= got[metric] <= got[f"{metric}_high"]
    told = regression.explain(regression.prepared(checked, full), permutations=49)
    assert one["partial_r2"] == pytest.approx(told.fit["partial_r2_adj"], abs=0.03)
    for row, mine in zip(told.coefficients.to_dict("records"), one["coefficients"], strict=True):
        assert mine["name"] == row["feature"] and mine["ci"] == pytest.approx(
            [row["low"], row["high"]]
        )
        for key in ("beta", "se_cluster", "p_cluster", "p_mrqap"):
            assert mine[key] == pytest.approx(row[key])
    assert {"lexical_translit", "word_order"} <= {c["name"] for c in one["coefficients"]}
    assert (one["n_pairs"], one["n_sources"], one["n_targets"]) == (132, 12, 12)
    assert one["not_computed"].keys() == {"lambdamart"} and one["n_seeds"] == 2
    verdicts = {c["claim"]: c["verdict"] for c in one["claims"]}
    assert verdicts["similarity predicts transfer to a new language"] == "holds"
    assert verdicts["a chosen source beats chance (cold)"] == "holds"


def test_trees_are_in_the_league_where_they_fit(
    small: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightgbm")
    monkeypatch.setattr(analyze, "TREES", 30)
    one = report.as_json(analyze.analyze(small, permutations=0, bootstrap=20))["analyses"][0]
    ((_, built),) = matrix.matrices(scores.check(small), inputs.similarities(CODES[:6])[0])
    own = methods.choices(built, "cold", ["lambdamart"]).mean(numeric_only=True)
    assert one["ranking"]["cold"]["lambdamart"]["loss_pct"] == pytest.approx(own["loss_pct"])
    assert one["not_computed"] == {}
    monkeypatch.setattr(analyze, "TREES", 29)
    found = analyze.analyze(small, permutations=0, bootstrap=20).analyses[0]
    assert "more than 29 pairs" in found.unable["lambdamart"]


def test_tables_are_tidy_and_whole(folder: Path, found: dict) -> None:
    names = {p.name for p in folder.iterdir()}
    assert {f"{t}.csv" for t in analyze.TABLES if t != "laws"} | {"summary.csv"} <= names
    assert not [n for n in names if n.startswith(".")]  # no temporary names
    compared = pd.read_csv(folder / "methods.csv").set_index(["protocol", "method"])
    cold = found["analyses"][0]["ranking"]["cold"]
    for method, row in cold.items():
        assert compared.loc[("cold", method), "loss_pct"] == pytest.approx(
            row["loss_pct"], rel=1e-5
        )
    pd.testing.assert_frame_equal(
        scores.read(folder / "scores.csv"), scores.read(folder.parent / "mine.csv")
    )
    assert len(pd.read_csv(folder / "pairs.csv")) == 132


def test_the_page_stands_by_itself(folder: Path) -> None:
    text = (folder / "report.html").read_text("utf-8")
    assert text.count("<svg") >= 5 and text.count("<svg") == text.count("<figcaption>")
    bare = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(r"https?://|<script|<link|<img|\bsrc=|@import", bare)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used <= set(ids)
    assert "prefers-color-scheme: dark" in text and 'lang="en"' in text
    for section in re.findall(r"<h3>.*?(?=<h3>|<h2>|$)", text, re.DOTALL)[1:]:
        question = section[: section.index("</h3>")]
        assert question.endswith("?")
        if "<figure>" in section:  # an answer before it, n under it
            assert section.index('class="answer"') < section.index("<figure>")
            assert re.search(r"n = \d+", section)


def test_same_table_and_seed_same_json(found: dict, table: pd.DataFrame) -> None:
    turned = table.sample(frac=1, random_state=1)
    again = report.as_json(analyze.analyze(turned, permutations=49, bootstrap=40))
    assert json.loads(json.dumps(again)) == {**found, "name": "this table"}


def test_an_old_report_stays_if_the_new_one_fails(folder: Path, tmp_path: Path, capsys) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    (tmp_path / "bad.csv").write_text("source,target,score\nde,en,x\n")
    assert main(["analyze", str(tmp_path / "bad.csv"), "--out", str(folder)]) == USAGE
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    mine = str(folder.parent / "mine.csv")
    assert main(["analyze", mine, "--out", mine, *QUICK]) == USAGE
    assert "is a file: give --out the name of a folder" in capsys.readouterr().err
    assert FAILED != USAGE


# ---------------------------------------------------------------- what is understood


def test_a_matrix_says_the_same_as_a_tidy_table(table: pd.DataFrame) -> None:
    mean = table.groupby(["source", "target"], as_index=False)["score"].mean()
    wide = mean.pivot(index="source", columns="target", values="score") * 100
    names = {"eng": "English", "deu": "de", "rus": "rus_Cyrl", "arb": "ar"}
    wide = wide.rename(index=names, columns=names).rename_axis(columns=None)
    pd.testing.assert_frame_equal(scores.check(mean), _through_csv(wide.reset_index()))
    turned = _through_csv(wide.T.rename_axis("target").reset_index())
    pd.testing.assert_frame_equal(turned, _through_csv(wide.reset_index()))


def _through_csv(wide: pd.DataFrame) -> pd.DataFrame:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        wide.to_csv(f"{folder}/wide.csv", index=False)
        with (
            pytest.warns(scores.ScoresWarning, match="without a score"),
            pytest.warns(scores.ScoresWarning, match="divided by 100"),
        ):
            return scores.read(f"{folder}/wide.csv")


def test_further_columns_are_properties_of_the_pair_or_not_used(table: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    size = {c: float(rng.integers(1000, 90000)) for c in CODES}
    rank = table.groupby("target")["score"].rank()
    more = table.assign(
        **{"Train size": table["source"].map(size), "pair_overlap": table["target"].map(size)},
        **{"rank": rank, "seconds": rng.random(len(table)), "version": 2, "note": "a", "f1": rank},
    )
    kept, used, unused = inputs.extras(scores.check(more))
    assert used == ["pair_train_size", "pair_overlap"] and set(used) < set(kept)
    whys = {"rank": "differs between runs", "seconds": "differs between", "f1": "another score",
            "version": "same everywhere", "note": "no numbers"}  # fmt: skip
    for column, why in whys.items():
        assert any(f"{column!r} not used" in s and why in s for s in unused)
    once = more[more["seed"] == 0]
    _, used, unused = inputs.extras(scores.check(once))
    assert "pair_rank" not in used
    assert any("'rank' not used: it orders the pairs" in s for s in unused)


def test_a_rank_column_does_not_make_the_ranking_right(small: pd.DataFrame) -> None:
    """The leak that published tables invite: with and without it the same is predicted."""
    leaky = small.assign(rank=small.groupby("target")["score"].rank(ascending=False))
    one, two = (analyze.analyze(t, permutations=0, bootstrap=20) for t in (small, leaky))
    pd.testing.assert_frame_equal(one.analyses[0].methods, two.analyses[0].methods)
    assert any("'rank' not used" in line for line in two.understood)


def test_models_tasks_metrics_and_seeds_are_told_apart(small: pd.DataFrame) -> None:
    table = small
    both = pd.concat(
        [
            table.assign(task="a", model="m", metric="f1"),
            table.assign(task="b", model="m", metric="f1", score=1 - table["score"]),
            table.assign(task="b", model="m", metric="zz", score=0.5),
            table.head(3).assign(task="b", model="tiny", metric="f1"),
        ]
    )
    whole = analyze.analyze(both, permutations=0, bootstrap=20)
    assert [(a.task, a.model, a.metric) for a in whole.analyses] == [
        ("a", "m", "f1"),
        ("b", "m", "f1"),
    ]
    assert "1 source language" in whole.unable["b, tiny"]
    dropped = {d.what: d.n for d in whole.analyses[1].dropped}
    assert dropped["rows of other metrics"] == len(table)
    first = whole.analyses[0].coefficients.set_index("feature")["beta"]
    second = whole.analyses[1].coefficients.set_index("feature")["beta"]
    np.testing.assert_allclose(first, -second, atol=1e-9)
    only = analyze.analyze(both, task="a", permutations=0, bootstrap=20)
    assert [a.task for a in only.analyses] == ["a"] and only.differences.empty
    pd.testing.assert_frame_equal(only.analyses[0].methods, whole.analyses[0].methods)
    with pytest.raises(ValueError, match="unknown task 'c'"):
        analyze.analyze(both, task="c")
    text = json.dumps(report.as_json(whole), allow_nan=False)
    assert json.loads(text)["not_analysed"].keys() == {"b, tiny"}


def test_data_size_is_that_of_the_models_own_text(small: pd.DataFrame) -> None:
    """CC-100 for XLM-R, mC4 for all others; one's own table goes before either."""
    plain, _ = inputs.similarities(CODES[:6])
    other = similarity.of_model(plain, "xlm-roberta-base")
    assert list(other) == list(plain) and similarity.of_model(plain, "mt5") is plain
    log = {k.code: np.log10(v) for k, v in similarity.text_sizes("xlm-r").items()}
    for row in other.itertuples():
        assert row.data_size == pytest.approx(min(log[row.source], log[row.target]))
    report_of = functools.partial(analyze.analyze, permutations=0, bootstrap=20)
    whole = report_of(small.assign(model="xlm-r-base"))
    sizes = whole.pairs.set_index(["source", "target"])["data_size"]
    assert sizes["tur", "srp"] == pytest.approx(min(log["tur"], log["srp"]))
    assert any("CC-100" in line for line in whole.understood)
    own = plain[["source", "target"]].assign(data_size=np.arange(len(plain), dtype=float))
    told = report_of(small.assign(model="xlm-r-base"), own)
    mine = own.merge(told.pairs, on=["source", "target"])
    assert len(mine) == 30 and (mine["data_size_x"] == mine["data_size_y"]).all()


def test_tasks_are_compared(table: pd.DataFrame) -> None:
    """The same scores, turned over in one of two tasks: what carries them differs."""
    tasks = pd.concat([table.assign(task="a"), table.assign(task="b", score=1 - table["score"])])
    tasks = tasks[tasks["seed"] == 0]
    measures = ["word_order", "script", "phonology"]
    whole = analyze.analyze(tasks, measures=measures, permutations=0, bootstrap=20)
    told = whole.differences.set_index(["task", "feature"])
    for one in whole.analyses:
        own = one.coefficients.set_index("feature")["beta"]
        np.testing.assert_allclose(told.loc[one.task, "beta"], own, atol=1e-9)
    said = report.differ(whole)
    assert "script (p < 0.001)" in said and told.loc[("a", "script"), "p_equal"] < 0.001
    again = scores.check(table.assign(task=table["seed"].astype(str)))  # only the noise differs
    same = regression.by_task(again, whole.pairs, measures)
    unsure = report.differ(dataclasses.replace(whole, differences=same))
    assert "No coefficient differs for certain" in unsure
    section = report.page(whole).split("<h2>All tasks and models</h2>")[1]
    assert said in html.unescape(section) and section.count("<tr>") == 1 + len(measures)
    found = report.as_json(whole)
    jsonschema.validate(found, json.loads(SCHEMA.read_text("utf-8")))
    row = next(r for r in found["differences"] if (r["task"], r["name"]) == ("b", "script"))
    assert row["ci"][0] <= row["beta"] <= row["ci"][1] < 0


def test_similarity_of_ones_own(small: pd.DataFrame, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    own = pd.DataFrame(itertools.combinations(CODES[:6], 2), columns=["source", "target"])
    own = own.assign(mine=rng.random(len(own)), script=rng.random(len(own)))  # one direction
    one = analyze.analyze(small, own, permutations=0, bootstrap=20).analyses[0]
    assert "mine" in set(one.coefficients["feature"])
    assert "nearest_mine" in set(one.methods["method"])
    assert list(one.steps["step"].tail(2)) == ["+ your own", regression.ALONE]
    plain, _ = inputs.similarities(CODES[:6], own)
    merged = plain.set_index(["source", "target"])["script"]
    row = own.iloc[5]
    assert merged[row["source"], row["target"]] == merged[row["target"], row["source"]]
    assert merged[row["source"], row["target"]] == row["script"]
    only = analyze.analyze(small, own, measures=["mine"], permutations=0, bootstrap=20)
    assert only.analyses[0].coefficients["feature"].tolist() == ["mine"]
    with pytest.raises(ValueError, match="shares no pair"):
        analyze.analyze(small, own.assign(source="fin", target="ekk"))
    (tmp_path / "pairs.csv").write_text("source,target,mine\nde,xx9,1\n")
    small.to_csv(tmp_path / "mine.csv", index=False)
    words = ["analyze", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "o")]
    assert main([*words, "--pairs", str(tmp_path / "pairs.csv")]) == USAGE
    assert "xx9" in capsys.readouterr().err


def test_few_shot_rows_feed_the_laws_only(table: pd.DataFrame, folder: Path) -> None:
    rows = [
        {"source": "eng", "target": t, "n_target": n, "seed": 0, "score": 0.2 + 0.08 * np.log2(n)}
        for t in CODES[1:8]
        for n in (2, 4, 8, 16, 32)
    ]
    more = pd.concat([table.assign(n_target=0), pd.DataFrame(rows)])
    whole = analyze.analyze(more, permutations=0, bootstrap=20)
    one = whole.analyses[0]
    before = pd.read_csv(folder / "methods.csv").drop(columns=["model", "task", "metric"])
    pd.testing.assert_frame_equal(one.methods, before, rtol=1e-5, check_dtype=False)
    assert set(one.laws["n_curves"]) == {7} and not (folder / "laws.csv").exists()
    assert any("few-shot growth" in c for c in one.claims["claim"])
    assert {d.what.split()[0]: d.n for d in one.dropped}["few-shot"] == 35
    assert any("errs least" in line for line in report.summary(whole))


# ---------------------------------------------------------------- bad input


def csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="target"), "no column target"),
        (lambda t: t.drop(columns="score"), "no column score"),
        (lambda t: t.replace({"source": {"deu": "Germn"}}), "Did you mean 'German'"),
        (lambda t: t.assign(seed=0), "measure the same cell with different scores"),
        (lambda t: t.assign(score=t["score"].where(t.index > 0, 1.7)), "seem mixed"),
        (lambda t: t.assign(score=t["score"].where(t.index > 0, -0.2)), "outside 0..1"),
        (lambda t: t.assign(score=t["score"].astype(object).where(t.index > 0, "high")), "'high'"),
        (lambda t: t[t["source"] == "eng"], "1 source language(s) with zero-shot scores (eng)"),
        (lambda t: t[t["target"] == "eng"], "1 target language(s)"),
        (lambda t: t.assign(score=0.5), "every score is 0.5"),
        (lambda t: t.assign(score=""), "no usable row"),
        (lambda t: t[t["source"].isin(CODES[:3]) & t["target"].isin(CODES[:3])], "3 languages"),
        (lambda t: t.assign(source=t["target"]).drop_duplicates(["target", "seed"]), "0 source"),
        (lambda t: t.head(0), "no table of scores"),
    ],
)
def test_what_cannot_be_analysed_is_refused_in_one_line(
    say, table: pd.DataFrame, tmp_path: Path, change, message: str
) -> None:
    code, out, err = say(csv(change(table)))
    assert code == USAGE and not out
    (line,) = [x for x in err.splitlines() if x.startswith("xlt: ")]
    assert message in line and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_options_are_checked(say, table: pd.DataFrame) -> None:
    for words, message in (
        (["--rows", "columns"], "unknown rows 'columns'"),
        (["--task", "ner"], "unknown task 'ner'"),
        (["--bootstrap", "3"], "--bootstrap 3: give 20 or more"),
        (["--measures", "word_ordr"], "Did you mean 'word_order'"),
    ):
        code, _, err = say(csv(table.assign(task="pos")), *words)
        assert code == USAGE and message in err


def test_treebanks_of_one_language_name_their_cure(say, small: pd.DataFrame) -> None:
    twice = pd.concat([small, small[small["source"] == "deu"].assign(score=0.4)])
    code, _, err = say(csv(twice))
    assert code == USAGE and "'source_set' and 'target_set'" in err
    parts = [small.assign(source_set="a"), twice.tail(5).assign(seed=0, source_set="b")]
    sets = analyze.analyze(pd.concat(parts), permutations=0, bootstrap=20).analyses[0]
    assert sets.counts["n_sources"] == 6 and len(sets.scores) == 35


def test_reductions_are_stated(say, small: pd.DataFrame, tmp_path: Path) -> None:
    holes = small.assign(score=small["score"].astype(object))
    holes.loc[[3, 7], "score"] = ["", "NaN"]
    holes = pd.concat([holes, holes.iloc[[20]]])  # an exact repeat
    odd = pd.DataFrame({"source": ["qqq"], "target": ["eng"], "score": [0.5]})
    home = pd.DataFrame({"source": CODES[:6], "target": CODES[:6], "score": 0.9})
    code, out, _ = say(csv(pd.concat([holes, odd, home])), "--drop-unknown")
    assert code == 0
    found = json.loads((tmp_path / "out" / "analysis.json").read_text("utf-8"))
    assert {d["n"]: d["what"] for d in found["dropped"]}.keys() == {1, 2}
    whats = " ".join(d["what"] for d in found["dropped"])
    for word in ("rows without a score", "exact repeats", "source unknown (qqq)"):
        assert word in whats
        assert word in " ".join(out.split())
    assert "dropped" not in whats  # what they are a list of
    assert {d["n"] for d in found["analyses"][0]["dropped"]} == {6}
    assert found["analyses"][0]["n_pairs"] == 28


def test_a_constant_column_and_an_empty_one(small: pd.DataFrame) -> None:
    odd = analyze.analyze(small.assign(size=5, other=""), permutations=0, bootstrap=20)
    said = " ".join(report.summary(odd))
    assert "column 'size' not used: it is the same everywhere" in said
    assert "column 'other' not used: no numbers" in said
    steps = odd.analyses[0].steps
    ends = {(0.1, 0.2): "it adds something", (-0.1, 0.2): "may be nothing", (-0.2, -0.1): "no gain"}
    for (low, high), answer in ends.items():
        one = dataclasses.replace(
            odd.analyses[0], steps=steps.assign(cv_gain_low=low, cv_gain_high=high)
        )
        (found,) = report.answers(dataclasses.replace(odd, analyses=(one,)), "growing models")
        assert answer in found


def test_nine_tenths_missing(table: pd.DataFrame) -> None:
    codes = [*CODES, "fra", "spa", "ita", "pol", "ces", "ukr", "fin", "ekk", "ben", "tam"]
    few = made(codes).drop_duplicates(["source", "target"]).sample(frac=0.1, random_state=0)
    whole = analyze.analyze(few, permutations=9, bootstrap=20)
    one = whole.analyses[0]
    assert one.counts["measured"] == pytest.approx(0.12, abs=0.02)
    assert any("of the matrix is measured" in w for w in one.warnings)
    gp = one.methods.set_index(["protocol", "method"]).loc[("cold", "gp")]
    assert 0 <= gp["loss_pct_low"] <= gp["loss_pct"] <= 100
    for part, why in one.unable.items():  # what is missing says so, and only that is missing
        parts = {"what explains transfer", "shares of measures", "growing models", "lambdamart"}
        assert why and part in parts
    said = report.summary(whole)
    assert all(f"not computed: {part}: {why}" in said for part, why in one.unable.items())


def test_a_matrix_in_two_pieces_is_said(table: pd.DataFrame) -> None:
    first, second = CODES[:6], CODES[6:]
    apart = table[
        (table["source"].isin(first) & table["target"].isin(first))
        | (table["source"].isin(second) & table["target"].isin(second))
    ]
    one = analyze.analyze(apart, permutations=19, bootstrap=20).analyses[0]
    assert any("2 groups of languages without common scores" in w for w in one.warnings)
    assert np.isfinite(one.coefficients["beta"]).all()


def test_too_many_pairs_are_thinned_evenly(table: pd.DataFrame) -> None:
    kept, dropped = analyze.usable(scores.check(table), most=60)
    n = len(kept[["source", "target"]].drop_duplicates())
    assert 30 <= n <= 60
    assert abs(kept["source"].nunique() - kept["target"].nunique()) <= 1
    (what,) = [d for d in dropped if "thinned" in d.what]
    assert what.n == len(table) - len(kept)
    assert "eng" in set(kept["source"]) & set(kept["target"])  # which choices are compared with
    assert analyze.usable(scores.check(table))[1] == []


def test_more_pairs_are_explained_than_ranked(
    table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = analyze.analyze(table, permutations=9, bootstrap=20).analyses[0]
    monkeypatch.setattr(analyze, "RANKED", 60)
    one = analyze.analyze(table, permutations=9, bootstrap=20).analyses[0]
    assert one.fit == whole.fit and one.counts == whole.counts
    assert len(one.predictions) <= 60 < len(whole.predictions)
    assert any("more than 60 pairs are thinned" in w for w in one.warnings)
    assert not any("thinned" in w for w in whole.warnings)


def test_no_pair_is_lost_to_a_language_unknown_to_the_model(small: pd.DataFrame) -> None:
    """Known or not is a level for the encoder's list, so data size has no gap."""
    swap = {side: {"tur": "nso"} for side in ("source", "target")}  # not in CC-100
    there = small.replace(swap).assign(model="multilingual-e5-small")
    whole = analyze.analyze(there, permutations=9, bootstrap=20)
    one = whole.analyses[0]
    assert one.fit["n_pairs"] == one.counts["n_pairs"]
    assert "data_size" in set(one.coefficients["feature"])
    assert not set(similarity.LEVELS) & set(one.coefficients["feature"])
    assert set(similarity.LEVELS) <= set(whole.pairs)
    assert any("counts as a tenth" in line for line in whole.understood)


def test_treebanks_beyond_exact_inference_are_reduced_and_said(
    small: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, recwarn
) -> None:
    """Few pairs of languages may be many of treebanks."""
    monkeypatch.setattr(analyze, "matrices", functools.partial(matrix.matrices, most=40))
    sets = [small.assign(target_set=name) for name in ("a", "b")]
    one = analyze.analyze(pd.concat(sets), permutations=0, bootstrap=20).analyses[0]
    (said,) = [w for w in one.warnings if w.startswith("choosing a source: 60 cells")]
    assert "reduced to 30 by averaging treebanks" in said
    assert not [w for w in recwarn if "reduced" in str(w.message)]


@pytest.mark.slow
def test_many_more_rows_than_are_analysed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many seeds of many pairs: read whole, analysed on a stated part (here a small one)."""
    monkeypatch.setattr(analyze, "usable", functools.partial(analyze.usable, most=400))
    table = uriel.load()
    rich = sorted(map(str, table.codes[table.observed.sum(axis=1) >= 150]))
    codes = [c for c in rich if known(c) and language(c).code == c and not is_summary(c)][:50]
    seeds = range(81)
    grid = pd.MultiIndex.from_product([codes, codes, seeds], names=["source", "target", "seed"])
    many = grid.to_frame(index=False)
    rng = np.random.default_rng(0)
    level = dict(zip(codes, rng.normal(0.5, 0.1, len(codes)), strict=True))
    noise = rng.normal(0, 0.05, len(many))
    many["score"] = (many["target"].map(level) + noise).clip(0, 1).round(3)
    assert len(many) > 200_000
    arrow = pyarrow.Table.from_pandas(many, preserve_index=False)
    pyarrow.csv.write_csv(arrow, tmp_path / "m.csv")
    whole = analyze.analyze(tmp_path / "m.csv", permutations=0, bootstrap=20)
    one = whole.analyses[0]
    assert len(whole.scores) == len(many) and one.counts["n_pairs"] <= 400 < analyze.MOST
    thinned = next(d for d in one.dropped if "thinned" in d.what)
    assert thinned.n + (one.counts["n_pairs"] + len(codes)) * len(seeds) == len(many)
    said = " ".join(report.summary(whole))
    assert f"dropped: {thinned.n} rows: more than 400 pairs are thinned" in said


@pytest.mark.parametrize("n", range(3, 9))
def test_small_and_odd_tables_end_in_words(n: int) -> None:
    """No bare error of linear algebra, whatever the shape; what is given is finite."""
    rng = np.random.default_rng(n)
    for across, share in ((3, 1.0), (4, 0.8), (6, 0.6)):
        small = made(CODES[: max(n, across)], seed=n).drop_duplicates(["source", "target"])
        small = small[small["source"].isin(CODES[:n]) & small["target"].isin(CODES[-across:])]
        small = small.sample(frac=share, random_state=rng.integers(99))
        try:
            done = analyze.analyze(small, permutations=9, bootstrap=20)
        except ValueError as error:
            assert "measure more" in str(error) or "no usable row" in str(error)
            continue
        one = done.analyses[0]
        assert np.isfinite(one.coefficients.get("beta", pd.Series(dtype=float))).all()
        schema = json.loads(SCHEMA.read_text("utf-8"))
        jsonschema.validate(report.as_json(done), schema)
        if across == 4:
            page = report.page(done)
            assert page.count("<h3>") > 5
            whys = (why for part, why in one.unable.items() if part != "lambdamart")
            assert all(f"Not computed: {why}" in html.unescape(page) for why in whys)
