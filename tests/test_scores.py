"""The scores table: what it accepts, what it refuses and why, what it writes."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xltlib import scores as sc

pytestmark = pytest.mark.filterwarnings("ignore::xltlib.scores.ScoresWarning")


def tidy(**more: object) -> pd.DataFrame:
    base = pd.DataFrame(
        {"source": ["de", "deu", "ru"], "target": ["ru", "en", "eng"], "score": [0.5, 0.25, 1.0]}
    )
    return base.assign(**more)


def test_three_columns_are_enough_and_codes_are_unified() -> None:
    df = sc.check(tidy())
    assert list(df.columns) == [c.name for c in sc.SCHEMA]
    assert list(df["source"]) == ["deu", "deu", "rus"]
    assert (df["n_target"] == 0).all() and df["n_test"].isna().all()
    again = sc.check(df)
    pd.testing.assert_frame_equal(df, again)


def test_varieties_stay_rows_of_their_own(tmp_path) -> None:
    """Scripts of one language, and what SIB-200 tells apart from its successor."""
    codes = "cmn cmn_Hant ace ace_Arab ajp apc aka twi".split()
    given = "zho_Hans zho_Hant ace_Latn ace_Arab ajp_Arab apc_Arab aka_Latn tw".split()
    matrix = pd.DataFrame(np.arange(64).reshape(8, 8) / 100, given, given)
    matrix.to_csv(tmp_path / "wide.csv")
    df = sc.read(tmp_path / "wide.csv")
    assert len(df) == 64 and set(df["source"]) == set(df["target"]) == set(codes)
    assert len(sc.transfer(df)) == 56
    back = sc.read(sc.write(df, tmp_path / "tidy.csv"))
    pd.testing.assert_frame_equal(back, df, check_dtype=False)


def test_field_names_are_understood_and_said() -> None:
    raw = tidy().rename(columns={"source": "train_lang", "target": "test_lang", "score": "f1"})
    df = sc.check(raw)
    assert set(df["metric"]) == {"f1"}
    assert any("train_lang" in note for note in sc.notes(df))


def test_of_two_names_for_one_column_the_one_that_says_something_is_read() -> None:
    """As in LangRank's MT table: into English throughout, scored by the language translated."""
    raw = tidy().rename(columns={"source": "transfer_lang", "target": "task_lang"})
    df = sc.check(raw.assign(target_lang="eng"))
    assert list(df["target"]) == list(sc.check(tidy())["target"])
    assert any("'task_lang' read as 'target'" in note for note in sc.notes(df))


def test_percentages_are_rescaled_aloud_with_their_errors() -> None:
    with pytest.warns(sc.ScoresWarning, match="divided by 100"):
        df = sc.check(tidy(score=[50.0, 25.0, 99.0], stderr=[2.0, 1.0, 1.0]))
    assert df["score"].max() == pytest.approx(0.99)
    assert df["stderr"].max() == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.5, 0.4, 86.0]}, "mixed"),
        ({"score": [0.5, 0.4, -0.1]}, "outside 0..1"),
        ({"score": [50, 40, 101.0]}, "outside 0..1"),
        ({"score": ["0.5", "0,4", "0.3"]}, "row 2 is '0,4'"),
        ({"score": [0.1, np.inf, 0.3]}, "infinite"),
        ({"n_target": [0, -1, 2]}, "whole number"),
        ({"seed": [0.5, 1, 2]}, "whole number"),
        ({"source": ["de", "qqq", "ru"]}, "qqq"),
        ({"source": ["de", "", "ru"]}, "source is empty"),
        ({"source": "de", "target": "en"}, "same cell"),
    ],
)
def test_refusals_name_the_value(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sc.check(tidy(**change))


def test_missing_column_is_named_with_the_cure() -> None:
    with pytest.raises(ValueError, match="no column target.*rename"):
        sc.check(tidy().drop(columns="target"))


def test_reductions_are_said() -> None:
    df = sc.check(pd.concat([tidy(), tidy()]).assign(score=[0.5, 0.2, 0.3, 0.5, 0.2, None]))
    assert len(df) == 3
    said = " ".join(sc.notes(df))
    assert "without a score" in said and "exact repeats" in said
    df = sc.check(tidy(source=["de", "qqq", "ru"]), unknown_codes="drop")
    assert len(df) == 2 and "qqq" in sc.notes(df)[-1]
    with pytest.raises(ValueError, match="unknown_codes"):
        sc.check(tidy(), unknown_codes="ignore")  # type: ignore[arg-type]


def test_wide_matrix(tmp_path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("lang,en,de\nru,70.5,60\nde,55,\n", encoding="utf-8")
    df = sc.read(path).set_index(["source", "target"])["score"]
    assert df.to_dict() == {
        ("deu", "eng"): pytest.approx(0.55),
        ("rus", "deu"): pytest.approx(0.60),
        ("rus", "eng"): pytest.approx(0.705),
    }
    turned = sc.read(path, rows="targets").set_index(["source", "target"])["score"]
    assert turned[("eng", "rus")] == pytest.approx(0.705)
    with pytest.raises(ValueError, match="unknown rows 'sideways'.*source, target"):
        sc.read(path, rows="sideways")


def test_names_of_treebanks_are_languages_and_their_sets(tmp_path) -> None:
    heads = ["UD_Ancient_Greek-PROIEL", "UD_Ancient_Greek-Perseus", "UD_Norwegian-Nynorsk"]
    heads += ["UD_Classical_Chinese-Kyoto", "UD_Hindi_English-HIENCS"]
    matrix = pd.DataFrame(np.linspace(0.1, 0.9, 25).reshape(5, 5), heads, heads)
    matrix.to_csv(tmp_path / "las.tsv", sep="\t")
    with pytest.raises(ValueError, match="Hindi English"):  # no language: two are mixed
        sc.read(tmp_path / "las.tsv")
    with pytest.warns(sc.ScoresWarning, match="treebank"):
        df = sc.read(tmp_path / "las.tsv", unknown_codes="drop")
    assert len(df) == 16 and set(df["target"]) == {"grc", "nno", "lzh"}
    row = df[(df["source_set"] == "Perseus") & (df["target_set"] == "Nynorsk")].iloc[0]
    assert (row["source"], row["score"]) == ("grc", pytest.approx(matrix.iloc[1, 2]))


def test_codes_that_look_like_missing_values_survive(tmp_path) -> None:
    path = tmp_path / "nan.tsv"  # nan = Min Nan Chinese
    path.write_text("source\ttarget\tscore\nnan\tde\t0.4\nde\tnan\t0.3\n", encoding="utf-8")
    assert set(sc.read(path)["source"]) == {"nan", "deu"}


def test_unreadable_files_say_what_to_do(tmp_path) -> None:
    with pytest.raises(ValueError, match="no scores file"):
        sc.read(tmp_path / "absent.csv")
    empty = tmp_path / "empty.parquet"
    empty.touch()
    with pytest.raises(ValueError, match="is empty"):
        sc.read(empty)
    (tmp_path / "head.csv").write_text("source,target,score\n")
    with pytest.raises(ValueError, match="no table"):
        sc.read(tmp_path / "head.csv")
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00garbage\x80\x81")
    with pytest.raises(ValueError, match="damaged|no table"):
        sc.read(tmp_path / "odd.csv")
    (tmp_path / "odd.parquet").write_text("source,target,score\nde,en,1\n")
    with pytest.raises(ValueError, match="does not begin"):
        sc.read(tmp_path / "odd.parquet")
    whole = sc.write(tidy(), tmp_path / "whole.parquet")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(ValueError, match="damaged"):
        sc.read(cut)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_same_table_same_bytes_and_round_trip(tmp_path, ending: str) -> None:
    table = tidy(note=["a", "b", "c"], n_test=[10, 20, 30])
    one = sc.write(table, tmp_path / f"one{ending}")
    two = sc.write(sc.check(table).sample(frac=1, random_state=3), tmp_path / f"two{ending}")
    assert one.read_bytes() == two.read_bytes()
    back = sc.read(one)
    assert list(back["note"]) == list(sc.check(table)["note"])
    pd.testing.assert_series_equal(back["score"], sc.check(table)["score"])
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"one{ending}", f"two{ending}"]


@pytest.mark.parametrize(
    ("code", "word"),
    [(errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EACCES, "may not")],
)
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, code: int, word: str) -> None:
    path = sc.write(tidy(), tmp_path / "scores.parquet")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match=word):
        sc.write(tidy(score=[0.1, 0.2, 0.3]), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scores.parquet"]


def test_write_refuses_other_endings(tmp_path) -> None:
    with pytest.raises(ValueError, match="parquet"):
        sc.write(tidy(), tmp_path / "scores.pickle")


def test_a_table_that_names_no_task_is_of_the_one_asked_for() -> None:
    df = sc.check(tidy(model="tiny"))
    named = sc.called(df, "mt5", "ner")
    assert set(named["task"]) == {"ner"} and set(named["model"]) == {"tiny"}
    assert set(df["task"]) == {"task"}
    with pytest.raises(ValueError, match="unknown task 'ner'"):
        sc.select(df, task="ner")


def test_select_suggests_the_nearest() -> None:
    df = sc.check(tidy(task="ner", model="tiny"))
    with pytest.raises(ValueError, match="'ner'"):
        sc.select(df, task="nre")


def test_views() -> None:
    df = sc.check(tidy(source=["de", "de", "ru"], target=["de", "en", "en"], n_target=[0, 0, 4]))
    assert list(sc.in_language(df)["target"]) == ["deu"]
    assert sc.transfer(df)[["source", "target"]].values.tolist() == [["deu", "eng"]]


def test_gain_is_against_the_mean_over_seeds() -> None:
    frame = pd.read_csv(
        io.StringIO(
            "model,source,target,seed,score\na,de,en,0,.8\na,de,en,1,.6\nb,de,en,0,.3\n"
            "b,de,en,1,.5\na,de,ru,0,.9\n"
        )
    )
    out = sc.gain(sc.check(frame), "a", "b")
    assert list(out["gain"]) == pytest.approx([0.4, 0.2])
    assert "no counterpart" in sc.notes(out)[-1]
    with pytest.raises(ValueError, match="share no cell"):
        only = sc.check(frame[(frame["model"] == "b") | (frame["target"] == "ru")])
        sc.gain(only, "a", "b")


def test_standard_error_against_simulation() -> None:
    """Coverage of the 95 % interval for the true score: items shared by seeds, seeds vary."""
    rng = np.random.default_rng(0)
    rows, truth = [], {}
    codes = ["eng", "deu", "rus", "tur", "kaz", "srp", "hrv", "hin", "mar", "urd", "pes", "arb"]
    for source in codes:
        for target in codes:
            p = rng.uniform(0.3, 0.7)
            truth[source, target] = p
            easy = rng.normal(size=200)  # what all seeds share
            for seed in range(3):
                noise = rng.normal(size=200)
                latent = 0.8 * easy + 0.6 * noise + rng.normal(0, 0.05)
                score = (latent < np.quantile(rng.normal(size=20000), p)).mean()
                rows.append((source, target, seed, score, 200))
    frame = pd.DataFrame(rows, columns=["source", "target", "seed", "score", "n_test"])
    out = sc.cells(sc.check(frame))
    p = np.array([truth[k] for k in zip(out["source"], out["target"], strict=True)])
    inside = ((out["low"] <= p) & (p <= out["high"])).mean()
    assert 0.93 <= inside <= 1.0  # an upper bound by design: never too narrow
    one = sc.cells(sc.check(frame[frame["seed"] == 0]))
    expected = np.sqrt(one["score"] * (1 - one["score"]) / 200)
    np.testing.assert_allclose(one["se"], expected)  # one seed: binomial alone


def test_an_error_that_cannot_be_estimated_is_not_nought() -> None:
    """One seed says nothing of seeds, an unknown number of items nothing of items."""
    rows = pd.DataFrame({"source": "deu", "target": ["eng", "tur"], "score": [0.4, 0.6]})
    rows = sc.check(rows.assign(model="m", task="qa", metric="f1"))
    bare = sc.cells(rows)
    assert bare[["se_seeds", "se_items", "low", "high"]].isna().all(axis=None)
    assert (bare["se"] == 0).all()  # adds nothing where errors are summed
    known = sc.cells(rows.assign(n_test=400))
    assert known["se_seeds"].isna().all() and known["low"].notna().all()
    assert known["se"].to_numpy() == pytest.approx(np.sqrt(0.24 / 400))
    twice = sc.cells(pd.concat([rows, rows.assign(seed=1, score=[0.4, 0.7])]))
    assert twice["se_items"].isna().all() and (twice["se"] == twice["se_seeds"]).all()


def test_given_standard_errors_replace_the_binomial_part() -> None:
    df = sc.check(tidy(stderr=[0.03, 0.04, 0.05]))
    assert sorted(sc.cells(df)["se"]) == pytest.approx([0.03, 0.04, 0.05])


def test_seeds_with_items_of_their_own_are_not_counted_twice() -> None:
    """Simulated: each seed draws its own model and its own items; the error is that of the mean."""
    rng = np.random.default_rng(5)
    n, seeds, reps = 200, 3, 1500
    truth = np.clip(rng.normal(0.6, 0.02, (reps, seeds)), 0, 1)
    value = rng.binomial(n, truth) / n
    rows = pd.DataFrame(
        {
            "source": "eng",
            "target": "deu",
            "task": np.repeat([f"t{i}" for i in range(reps)], seeds),
            "seed": np.tile(range(seeds), reps),
            "score": value.ravel(),
            "n_test": n,
        }
    )
    table = sc.check(rows)
    own = sc.cells(table.assign(test_set=table["seed"].astype(str)))
    real = value.mean(1).std()
    assert np.sqrt((own["se"] ** 2).mean()) == pytest.approx(real, rel=0.1)
    assert (own["n_test"] == seeds * n).all()
    shared = sc.cells(table)["se"]  # as if the seeds shared their items
    assert np.sqrt((shared**2).mean()) > 1.3 * real


def _square(codes: list[str]) -> pd.DataFrame:
    """A score of its own for every pair of labels."""
    both = pd.MultiIndex.from_product([codes, codes], names=["source", "target"])
    return pd.DataFrame({"score": np.linspace(0.3, 0.9, len(both))}, index=both).reset_index()


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        ("sr-Latn", "sr-Cyrl", {"srp_Latn", "srp"}),
        ("zh-CN", "zh-TW", {"cmn", "cmn_Hant"}),
        ("zh-Hans", "zh-Hant", {"cmn", "cmn_Hant"}),
        ("pt-BR", "pt-PT", {"por_BR", "por_PT"}),
        ("es", "es-MX", {"spa", "spa_MX"}),
        ("als", "simple", {"gsw", "eng_simple"}),
    ],
)
def test_scripts_and_regions_are_rows_of_their_own(one: str, other: str, keys: set[str]) -> None:
    table = sc.check(_square(["en", "de", one, other]))
    assert set(table["source"]) == set(table["target"]) == {"eng", "deu"} | keys
    assert len(table) == 16
    again = sc.check(table[table["target"] == "deu"])  # a part keeps its keys
    assert set(again["source"]) == set(table["source"])


@pytest.mark.parametrize(
    ("one", "other", "english"),
    [("ar", "arb", "Arabic"), ("no", "nb", "Norwegian"), ("iw", "he", "Hebrew")],
)
def test_two_labels_of_one_language_are_named(one: str, other: str, english: str) -> None:
    with pytest.raises(ValueError, match="are one language") as error:
        sc.check(_square(["en", "de", one, other]))
    said = str(error.value)
    assert repr(one) in said and repr(other) in said and english in said and "seed" not in said


def test_codes_of_two_styles_in_two_columns_are_one_language() -> None:
    table = _square(["en-US", "ar", "nb"])
    table["target"] = table["target"].map({"en-US": "eng", "ar": "arb", "nb": "no"})
    found = sc.check(table)
    assert set(found["source"]) == set(found["target"]) == {"eng", "arb", "nob"}


def test_a_diagonal_that_is_lowest_is_a_loss_unless_the_metric_is_named() -> None:
    codes = ["eng", "deu", "fra", "tur", "fin"]
    cells = [(s, t, 0.2 if s == t else 0.4 + 0.01 * i) for i, s in enumerate(codes) for t in codes]
    table = pd.DataFrame(cells, columns=["source", "target", "score"])
    with pytest.raises(ValueError, match="in 5 of 5 languages .* add --lower-is-better"):
        sc.check(table)
    for metric in ("accuracy", sc.ILLEGAL):
        assert len(sc.check(table.assign(metric=metric))) == 25


def test_of_a_task_only_its_rows_are_read_where_the_table_is_ours(tmp_path: Path) -> None:
    table = pd.concat([_square(["en", "de", "fr"]).assign(task=task) for task in ("a", "b")])
    path = sc.write(table, tmp_path / "scores.parquet")
    whole = sc.read(path)
    own = whole[whole["task"] == "a"].reset_index(drop=True)
    pd.testing.assert_frame_equal(sc.read(path, task="a"), own)
    pd.testing.assert_frame_equal(
        sc.read(path, task="c"), whole
    )  # whoever asked says what there is
    other = tmp_path / "other.parquet"
    table.rename(columns={"score": "accuracy"}).to_parquet(other)
    with pytest.warns(sc.ScoresWarning, match="'accuracy' read as 'score'"):
        assert set(sc.read(other, task="a")["task"]) == {"a", "b"}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        sc.read(path, task="a")
