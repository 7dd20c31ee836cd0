"""Similarity; references: lang2vec's own reader, hand computation, published coordinates."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from babel import Locale

from xltlib import reading
from xltlib.io import write_table
from xltlib.languages import known, language, similarity, uriel
from xltlib.languages.similarity import MEASURES, pairs
from xltlib.languages.tables import SPEAKS_FOR

TYPOLOGY = ("word_order", "morphology", "phonology", "inventory")
PLAIN = ["eng", "deu", "tur", "rus", "hin", "mar", "kaz", "eus"]  # no macrolanguage involved


@pytest.fixture(scope="module")
def lang2vec() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lang2vec.lang2vec as l2v
    return l2v


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    uriel.load.cache_clear()
    yield tmp_path / "cache"
    uriel.load.cache_clear()


def one(frame: pd.DataFrame, source: str, target: str) -> pd.Series:
    return frame[(frame["source"] == source) & (frame["target"] == target)].squeeze()


def by_hand(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    cosine = dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return 1 - 2 * math.acos(min(1.0, cosine)) / math.pi


# --- lang2vec's numbers ------------------------------------------------------------------------


def test_features_are_lang2vecs(lang2vec: ModuleType) -> None:
    """A random sample, read by lang2vec itself, must come out bit for bit."""
    table = uriel.load()
    known = sorted(set(map(str, table.codes)) - set(SPEAKS_FOR))
    sample = random.Random(1).sample(known, 60) + PLAIN
    for prefix, kind in (("S_", "syntax"), ("P_", "phonology"), ("INV_", "inventory")):
        columns = [i for i, f in enumerate(table.features) if f.startswith(prefix)]
        knn = lang2vec.get_features(sample, f"{kind}_knn", header=True)
        average = lang2vec.get_features(sample, f"{kind}_average")
        theirs = list(knn["CODE"])
        order = [theirs.index(table.features[i]) for i in columns]
        for code in sample:
            row = table.index[code]
            np.testing.assert_array_equal(table.knn[row, columns], np.array(knn[code])[order])
            seen = [np.nan if average[code][i] == "--" else average[code][i] for i in order]
            np.testing.assert_array_equal(table.average[row, columns], np.float32(seen))


def observed_languages(least: int = 1) -> list[str]:
    """Codes, none retired, of languages with so many features observed in lang2vec."""
    table = uriel.load()
    codes = [str(c) for c in table.codes[table.observed.sum(axis=1) >= least]]
    return [c for c in codes if known(c) and language(c).code == c]


def feature_names(measure: str) -> list[str]:
    return [str(f) for f in uriel.load().features[similarity.feature_mask(measure)]]  # type: ignore[arg-type]


def test_typology_is_angular_on_knn(lang2vec: ModuleType) -> None:
    found = pairs(PLAIN)
    for measure in TYPOLOGY:
        names = feature_names(measure)
        sets = {"S": "syntax_knn", "P": "phonology_knn", "I": "inventory_knn"}
        raw = lang2vec.get_features(PLAIN, sets[names[0][0]], header=True)
        use = [raw["CODE"].index(n) for n in names]
        for s, t in (("eng", "deu"), ("tur", "kaz"), ("hin", "eus")):
            want = by_hand([raw[s][i] for i in use], [raw[t][i] for i in use])
            assert one(found, s, t)[measure] == pytest.approx(want, abs=1e-9)  # float64 rounding


def test_shared_only_and_coverage_by_hand(lang2vec: ModuleType) -> None:
    found = pairs(PLAIN, shared_only=True)
    raw = lang2vec.get_features(PLAIN, "syntax_average", header=True)
    for measure in ("word_order", "morphology"):
        use = [raw["CODE"].index(n) for n in feature_names(measure)]
        for s, t in (("eng", "deu"), ("tur", "hin"), ("mar", "eng")):
            both = [i for i in use if "--" not in (raw[s][i], raw[t][i])]
            want = by_hand([raw[s][i] for i in both], [raw[t][i] for i in both])
            cell = one(found, s, t)
            assert cell[measure] == pytest.approx(want, abs=1e-6)  # lang2vec's averages: float32
            assert cell[f"coverage_{measure}"] == pytest.approx(len(both) / len(use))
    assert math.isnan(one(found, "kaz", "eng")["morphology"])  # Kazakh: nothing observed there
    assert one(found, "kaz", "eng")["coverage_morphology"] == 0


def test_syntax_splits_without_rest() -> None:
    order, form = feature_names("word_order"), feature_names("morphology")
    assert (len(order), len(form)) == (56, 47)
    assert not set(order) & set(form)
    assert {"S_SVO", "S_NEGATIVE_WORD_BEFORE_VERB", "S_POLARQ_MARK_FINAL", "S_OXV"} <= set(order)
    assert {"S_CASE_SUFFIX", "S_PLURAL_WORD", "S_CASE_PROCLITIC", "S_ANY_REDUP"} <= set(form)
    endings = ("PREFIX", "SUFFIX", "AFFIX", "CLITIC", "HEADMARK", "DEPMARK")
    assert not [f for f in order if f.endswith(endings)]


def test_macrolanguage_row_speaks_where_the_member_is_silent(lang2vec: ModuleType) -> None:
    table = uriel.load()
    names = [str(f) for f in table.features]
    for member, macro in (("ekk", "est"), ("lvs", "lav"), ("srp", "hbs"), ("arb", "ara")):
        raw = lang2vec.get_features([member, macro], "syntax_average", header=True)
        row, spoken = table.index[member], 0
        for i, feature in enumerate(raw["CODE"]):
            own, theirs = raw[member][i], raw[macro][i]
            got = table.average[row, names.index(feature)]
            if own != "--":
                assert got == np.float32(own)
            elif theirs != "--":
                assert got == np.float32(theirs)
                spoken += 1
            else:
                assert np.isnan(got)
        assert spoken > 5
    assert one(pairs(["et", "fi"]), "ekk", "fin")["genealogy"] > 0.3  # 0 in lang2vec's `ekk`
    assert (
        table.ancestors(table.index["lvs"]).tolist() == table.ancestors(table.index["lav"]).tolist()
    )


def test_every_feature_language_is_observed_and_resolves() -> None:
    codes = observed_languages()
    assert 3200 < len(codes) < 3400
    assert len(set(codes)) == len(codes) and "ara" not in codes
    assert all(language(c).code == c for c in codes)
    assert 0 < len(observed_languages(200)) < len(codes) / 3


# --- kin and place -----------------------------------------------------------------------------


def test_genealogy_counts_common_ancestors(lang2vec: ModuleType) -> None:
    codes = ["eng", "deu", "hin", "tur", "eus"]
    folder = Path(lang2vec.__file__).parent / "data"  # its own reader takes seconds for `fam`
    with np.load(folder / "family_features.npz") as z:
        rows = [list(z["langs"]).index(c) for c in codes]
        above = {
            c: set(np.flatnonzero(line > 0))
            for c, line in zip(codes, z["data"][rows, :, 0], strict=True)
        }
    found = pairs(codes, measures=["genealogy"])
    for s, t in (("eng", "deu"), ("eng", "hin"), ("deu", "tur")):
        want = 2 * len(above[s] & above[t]) / (len(above[s]) + len(above[t]))
        assert one(found, s, t)["genealogy"] == pytest.approx(want)
    assert one(found, "eus", "eng")[["genealogy", "coverage_genealogy"]].tolist() == [0, 0]
    assert one(pairs(["hin", "urd"]), "hin", "urd")["genealogy"] == 1  # one node in Glottolog


def test_shelves_are_no_families() -> None:
    assert one(pairs(["epo", "ido"]), "epo", "ido")["genealogy"] == 0


def test_geography_against_published_coordinates() -> None:
    # Glottolog, degrees north and east
    place = {"deu": (48.65, 12.47), "eng": (53, -1), "hin": (25, 77), "jpn": (35, 135)}
    found = pairs(place, measures=["geography"])
    for s, t in (("deu", "eng"), ("hin", "jpn"), ("eng", "jpn")):
        (a, b), (c, d) = np.radians(place[s]), np.radians(place[t])
        h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
        want = 1 - 2 * math.asin(math.sqrt(h)) / math.pi
        # lang2vec rounds its reference points: within a quarter of a degree (28 km)
        assert one(found, s, t)["geography"] == pytest.approx(want, abs=0.25 / 180)


def test_places_explain_lang2vecs_distances(lang2vec: ModuleType) -> None:
    sample = ["deu", "swh", "mri", "tur", "quz"]
    raw = lang2vec.get_features(sample, "geo", header=True)
    degrees = [[float(x) for x in f.split("_")[1:]] for f in raw["CODE"]]
    lat, lon = np.radians(degrees).T
    points = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    table = uriel.load()
    for code in sample:
        angle = np.arccos(np.clip(points @ table.position[table.index[code]], -1, 1))
        np.testing.assert_allclose(angle / np.pi, raw[code], atol=0.01)  # the points are rounded


# --- angles ------------------------------------------------------------------------------------


def grid(found: pd.DataFrame, measure: str) -> np.ndarray:
    """A square of a measure, 1 on the diagonal."""
    square = found.pivot(index="source", columns="target", values=measure).to_numpy(copy=True)
    np.fill_diagonal(square, 1)
    return square


def test_angular_is_a_metric_complement() -> None:
    codes = random.Random(0).sample(observed_languages(), 30)
    found = pairs(codes)
    for measure in TYPOLOGY:
        near = grid(found, measure)
        np.testing.assert_allclose(near, near.T)
        assert near.min() >= 0
        far = 1 - near
        through = (far[:, :, None] + far[None, :, :]).min(axis=1)
        assert (far <= through + 1e-9).all()  # triangle inequality, up to rounding


# --- words -------------------------------------------------------------------------------------


def lexical(one_text: str, other: str, measure: str = "lexical") -> float:
    """Overlap of two texts."""
    texts = {"eng": [one_text], "deu": [other]}
    return float(pairs(["eng"], targets=["deu"], measures=[measure], texts=texts)[measure].item())


def test_words_are_runs_of_letters_whatever_their_case_and_form() -> None:
    assert lexical("No, no 2 on!", "NO on no") == pytest.approx(1)
    assert lexical("no", "on") == 0  # edges count
    assert lexical("हिन्दी", "हन्द") < 0.5  # vowel signs are part of the word
    assert lexical("می\u200cخواهم", "میخواهم") == pytest.approx(1)
    assert lexical("cafe\u0301", "CAFÉ") == pytest.approx(1)
    assert lexical("Лампа", "lampa") == 0
    assert lexical("Лампа", "lampa", "lexical_translit") == pytest.approx(1)
    assert math.isnan(lexical("12 34 --", "lampa")) and math.isnan(lexical("", "lampa"))


def test_lexical_is_histogram_intersection() -> None:
    rng = random.Random(2)
    words = ["".join(rng.choices("abcd", k=rng.randint(1, 5))) for _ in range(60)]
    drawn = {code: rng.choices(words, k=40) for code in PLAIN[:4]}
    profiles = {
        code: Counter(f" {w} "[i : i + 3] for w in own for i in range(len(w)))
        for code, own in drawn.items()
    }
    found = pairs(drawn, measures=["lexical"], texts=drawn)
    for s, t, value in found.itertuples(index=False):
        p, q = profiles[s], profiles[t]
        want = sum(min(p[g] / p.total(), q[g] / q.total()) for g in p)
        assert value == pytest.approx(want) and 0 < value < 1


def test_lexical_on_real_names() -> None:
    """Croatian and Serbian share words, not letters: only transliteration shows it."""
    names = {}
    for code in ("hrv", "srp", "rus", "deu", "eng"):
        locale = Locale.parse(language(code).locale or "")
        names[code] = [*locale.territories.values(), *locale.languages.values()]
    found = pairs([*names, "tur"], measures=["lexical", "lexical_translit"], texts=names)
    close = one(found, "hrv", "srp")
    assert close["lexical"] < 0.01 and close["lexical_translit"] > 0.7
    rest = found[(found["source"] == "hrv") & (found["target"] != "srp")]
    assert rest["lexical_translit"].max() < close["lexical_translit"]
    assert one(found, "eng", "deu")["lexical"] > one(found, "eng", "hrv")["lexical"] > 0
    assert found.loc[found["target"] == "tur", "lexical"].isna().all()  # no text given


# --- script and data ---------------------------------------------------------------------------


def test_script() -> None:
    found = pairs(["srp", "hrv", "rus", "jpn", "cmn", "kor"], measures=["script"])
    assert one(found, "srp", "rus")["script"] == 1
    assert one(found, "srp", "hrv")["script"] == 0
    assert one(found, "jpn", "cmn")["script"] == 1 and one(found, "jpn", "kor")["script"] == 0
    assert one(pairs(["sr-Latn", "hr"]), "srp_Latn", "hrv")["script"] == 1


def test_spacing() -> None:
    found = pairs(["eng", "rus", "jpn", "tha", "kor", "isv"], measures=["spacing"])
    assert one(found, "eng", "rus")["spacing"] == 1 and one(found, "tha", "jpn")["spacing"] == 1
    assert one(found, "eng", "tha")["spacing"] == 0 and one(found, "jpn", "kor")["spacing"] == 0
    assert one(found, "eng", "isv").isna()["spacing"] == (language("isv").script is None)
    latin = pairs(["jpn_Latn", "eng"], measures=["spacing"])
    assert latin["spacing"].tolist() == [1, 1]


def test_data_size() -> None:
    found = pairs(["eng", "deu", "hrv"], measures=["data_size"])
    assert one(found, "eng", "deu")["data_size"] == pytest.approx(math.log10(347e9))  # mC4, Table 6
    cc100 = similarity.text_sizes("xlm-r")
    assert one(found, "deu", "hrv")["data_size"] == pytest.approx(  # mC4 has no Croatian
        math.log10(cc100[language("hr")]) + 0.8, abs=0.15
    )
    assert one(pairs(["eng", "got"], measures=["data_size"]), "eng", "got").isna()["data_size"]
    own = pairs(["en", "hr"], measures=["data_size"], sizes={"eng": 1e6, "hrv_Latn": 0})
    assert own["data_size"].tolist() == [0, 0]
    for bad in (-1, math.nan):
        with pytest.raises(ValueError, match="'hr'"):
            pairs(["en", "hr"], sizes={"hr": bad})


def test_a_models_own_text() -> None:
    mc4, cc100 = similarity.mc4_sizes(), similarity.text_sizes("xlm-r")
    for name in ("xlm-r-base", "xlm-roberta-large", "FacebookAI/xlm-roberta-base", "XLMR"):
        assert similarity.text_sizes(name) == cc100
    for other in (None, "google/mt5-small", "mbert", "xlm-mlm-100"):
        sizes = similarity.text_sizes(other)
        assert sizes.items() >= mc4.items() and language("hrv") in sizes
    own = pairs(["eng", "mlt"], sizes=similarity.text_sizes("xlm-r"), measures=["data_size"])
    assert own["data_size"].isna().all()  # XLM-R read no Maltese, mT5 did
    assert pairs(["eng", "mlt"], measures=["data_size"])["data_size"].notna().all()


def test_a_language_outside_the_models_list_is_a_level() -> None:
    """CC-100's GiB (Conneau et al. 2020, Table 6): en 300.8, sw 1.6, the smallest 0.1."""
    codes = ["eng", "swh", "nso", "ajp", "arb", "arb_Latn", "cmn_Hant", "hin_Latn"]
    plain = pairs(codes, measures=["data_size", "script"])
    for model in ("multilingual-e5-small", "intfloat/multilingual-e5-small"):
        found = similarity.of_model(plain, model)
        assert found.drop(columns=["data_size", *similarity.LEVELS]).equals(
            plain.drop(columns="data_size")
        )
        assert found.notna().all(axis=None)
        known = {*found.loc[found["known_source"] == 1, "source"]}
        assert known == {"eng", "swh", "arb", "cmn_Hant", "hin_Latn"}  # arb_Latn: other letters
        assert known == {*found.loc[found["known_target"] == 1, "target"]}
        gib = math.log10(2**30)
        size = found.set_index(["source", "target"])["data_size"]
        assert size["eng", "swh"] == pytest.approx(math.log10(1.6) + gib)
        assert size["eng", "cmn_Hant"] == pytest.approx(math.log10(16.6) + gib)
        outside = found["known_source"] * found["known_target"] == 0
        assert np.allclose(found.loc[outside, "data_size"], math.log10(0.01) + gib)
        assert found.loc[~outside, "data_size"].min() > math.log10(0.01) + gib
    for model in ("mt5", "xlm-r-base", "mbert"):  # as ever: unknown is missing
        assert list(similarity.of_model(plain, model)) == list(plain)
        assert similarity.of_model(plain, model)["data_size"].isna().any()
    sizes = similarity.of_model(pairs(["swe", "eng"]), "e5")["data_size"]
    assert sizes.tolist() == pytest.approx([math.log10(85) + gib] * 2)  # misprinted as 12.1


def test_cc100_table() -> None:
    sizes = similarity.text_sizes("xlm-r")
    assert len(sizes) == 99  # 100 rows, Burmese twice
    assert sizes[language("my")] == (15 + 56) * 1e6 and sizes[language("hi-Latn")] == 88e6


def test_mc4_table() -> None:
    sizes = similarity.mc4_sizes()
    assert len(sizes) == 107  # 101 languages and 6 in a second script
    assert sizes[language("he")] == 17e9 and sizes[language("ru-Latn")] == 0.9e9


# --- the table ---------------------------------------------------------------------------------


def test_pairs_shape() -> None:
    found = pairs(["en", "German", "deu_Latn", "tr"])
    assert found[["source", "target"]].to_numpy().tolist() == [
        ["eng", "deu"],
        ["eng", "tur"],
        ["deu", "eng"],
        ["deu", "tur"],
        ["tur", "eng"],
        ["tur", "deu"],
    ]
    plain = [m for m in MEASURES if not m.startswith("lexical")]
    with_coverage = [f"coverage_{m}" for m in MEASURES if MEASURES[m].coverage]
    assert list(found.columns) == ["source", "target", *plain, *with_coverage]
    assert found.drop(columns=["source", "target"]).notna().all().all()


def test_measures_are_symmetric_and_in_range() -> None:
    codes = [*PLAIN, "jpn", "arb", "swh"]
    rng = random.Random(3)
    texts = {c: ["".join(rng.choices("abcde ", k=300))] for c in codes}
    found = pairs(codes, texts=texts)
    for name, measure in MEASURES.items():
        grid = found.pivot(index="source", columns="target", values=name).to_numpy()
        np.testing.assert_allclose(grid, grid.T, equal_nan=True, err_msg=name)
        if measure.range == "0..1":
            assert np.nanmin(grid) >= 0 and np.nanmax(grid) <= 1
        assert measure.meaning and measure.source


def test_targets_and_two_scripts() -> None:
    found = pairs(["en", "tr"], targets=["de", "en"], measures=["script"])
    assert [*zip(found["source"], found["target"], strict=True)] == [
        ("eng", "deu"),
        ("tur", "deu"),
        ("tur", "eng"),
    ]
    chinese = pairs(["zho_Hans", "zho_Hant"], measures=["word_order", "script"])
    assert chinese["source"].tolist() == ["cmn", "cmn_Hant"]
    assert chinese["word_order"].tolist() == [1, 1]


def test_language_outside_lang2vec_is_nan() -> None:
    missing = "isv"  # Interslavic came to ISO 639-3 after lang2vec's table
    assert missing not in uriel.load().index
    found = one(pairs(["deu", missing], measures=["word_order", "geography"]), "deu", missing)
    assert found[["word_order", "geography"]].isna().all()
    assert found["coverage_word_order"] == 0


def test_bad_requests_are_told() -> None:
    with pytest.raises(ValueError, match="unknown measure 'word_oder'.*word_order"):
        pairs(["en", "de"], measures=["word_oder"])
    with pytest.raises(ValueError, match="texts="):
        pairs(["en", "de"], measures=["lexical"])
    with pytest.raises(ValueError, match="unknown language 'Germn'"):
        pairs(["en", "Germn"])
    with pytest.raises(ValueError, match="list of codes"):
        pairs("eng")
    assert pairs([]).empty and pairs(["en"]).empty


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_written_table_reads_back(tmp_path: Path, suffix: str) -> None:
    table = pairs(["nan", "eng", "hrv"])  # Min Nan is `nan`, and no missing value
    path = write_table(table, tmp_path / "deep" / f"pairs{suffix}")
    back = reading.pairs(path)
    pd.testing.assert_frame_equal(back, table, check_dtype=False)  # strings: object or str
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing temporary left


def test_reading_normalises_and_complains(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("source,target,x\nde,English,0.5\n")
    assert reading.pairs(tmp_path / "a.csv").iloc[0].tolist() == ["deu", "eng", 0.5]
    (tmp_path / "b.csv").write_text("source,x\nde,1\n")
    with pytest.raises(ValueError, match="no column target"):
        reading.pairs(tmp_path / "b.csv")
    with pytest.raises(ValueError, match="xlsx"):
        write_table(pd.DataFrame(), tmp_path / "c.xlsx")


def test_fast_enough() -> None:
    codes = random.Random(4).sample(observed_languages(), 200)
    uriel.load()
    start = time.perf_counter()
    assert len(pairs(codes)) == 200 * 199
    pairs(observed_languages(), targets=["swh"])
    assert time.perf_counter() - start < 5  # 0.3 s on two busy cores


# --- the cache ---------------------------------------------------------------------------------


def test_cache_is_exact_and_mends_itself(fresh_cache: Path) -> None:
    fresh = uriel.load()
    (file,) = fresh_cache.glob("uriel-*.npz")
    whole = file.read_bytes()
    uriel.load.cache_clear()
    cached = uriel.load()
    for name in ("codes", "features", "average", "knn", "position", "nodes", "tree"):
        np.testing.assert_array_equal(getattr(fresh, name), getattr(cached, name))
    file.write_bytes(whole[: len(whole) // 2])
    uriel.load.cache_clear()
    np.testing.assert_array_equal(uriel.load().knn, fresh.knn)
    assert len(file.read_bytes()) == len(whole)


def test_no_place_for_a_cache_is_no_error(fresh_cache: Path) -> None:
    fresh_cache.write_text("a file where the folder should be")
    assert len(uriel.load().codes) > 7000
    assert fresh_cache.read_text().startswith("a file")


def test_missing_lang2vec_names_the_cure(
    monkeypatch: pytest.MonkeyPatch, fresh_cache: Path
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(ModuleNotFoundError, match="pip install lang2vec"):
        uriel.load()


def test_lang2vec_is_found_from_the_folder_that_holds_its_script(tmp_path: Path) -> None:
    (tmp_path / "lang2vec.py").write_text("raise SystemExit('the script, not the package')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from xltlib.languages import uriel; print(len(uriel.load().codes))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"XLT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 7000
