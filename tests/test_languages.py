"""Codes, names, scripts, families; references: ISO 639-3 tables, CLDR, lang2vec's own files."""

from __future__ import annotations

import csv
import difflib
import re
import subprocess
import sys
import time
from pathlib import Path

import iso639
import pytest
from babel import Locale, localedata
from babel.core import get_global
from hypothesis import given, settings
from hypothesis import strategies as st

from xltlib import errors
from xltlib.languages import (
    among,
    clash,
    is_summary,
    iso3,
    keys,
    language,
    languages,
    name,
    shared_script,
    understood,
    uriel,
)
from xltlib.languages.codes import known
from xltlib.languages.tables import DISTINGUISHED, MACROLANGUAGES

# The locales of MASSIVE (Fitzgerald et al. 2023), a benchmark with one form for every language.
MASSIVE = (
    "af-ZA am-ET ar-SA az-AZ bn-BD ca-ES cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR "
    "he-IL hi-IN hu-HU hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN "
    "mn-MN ms-MY my-MM nb-NO nl-NL pl-PL pt-PT ro-RO ru-RU sl-SL sq-AL sv-SE sw-KE ta-IN te-IN "
    "th-TH tl-PH tr-TR ur-PK vi-VN zh-CN zh-TW"
).split()


@pytest.mark.parametrize(
    ("given", "code", "script"),
    [
        ("de", "deu", "Latn"),
        ("ger", "deu", "Latn"),
        ("deu_Latn", "deu", "Latn"),
        (" German ", "deu", "Latn"),
        ("GERMAN", "deu", "Latn"),
        ("sr", "srp", "Cyrl"),
        ("sr-Latn", "srp", "Latn"),
        ("sr-Latn-ME", "srp", "Latn"),
        ("sh", "srp", "Latn"),
        ("zh", "cmn", "Hans"),
        ("zh-TW", "cmn", "Hant"),
        ("zho_Hant", "cmn", "Hant"),
        ("zh-yue", "yue", "Hant"),
        ("pa-PK", "pan", "Arab"),
        ("iw", "heb", "Hebr"),
        ("pt_BR.UTF-8", "por", "Latn"),
        ("eng-US", "eng", "Latn"),
        ("Farsi", "pes", "Arab"),
        ("Kiswahili", "swh", "Latn"),
        ("Modern Greek (1453-)", "ell", "Grek"),
        ("kzj", "dtp", "Latn"),  # retired 2016, merged into dtp
        ("Oji-Cree", "ojs", "Cans"),  # a name in the shape of a tag
        ("ajp_Arab", "ajp", "Arab"),  # retired 2023, but apart from apc in FLORES-200
        ("aka", "aka", "Latn"),  # the macrolanguage of twi, likewise
        ("tw", "twi", "Latn"),
        ("kor_Hang", "kor", "Kore"),  # FLORES-200's word for the usual script
    ],
)
def test_any_form(given: str, code: str, script: str) -> None:
    assert (language(given).code, language(given).script) == (code, script)


def test_macrolanguages_become_the_member_lang2vec_has() -> None:
    wanted = (
        "ar arb sw swh fa pes zh cmn et ekk lv lvs ms zsm ne npi ps pbt az azj mn khk uz uzn no nob"
        " nb nob id ind sq als mg plt yi ydd ku kmr or ory gn gug qu quy"
    ).split()
    assert {a: iso3(a) for a in wanted[::2]} == dict(zip(wanted[::2], wanted[1::2], strict=True))


def test_macrolanguage_table_against_iso_and_cldr() -> None:
    macro_of = {e.part3: e.macrolanguage for e in iso639.ALL_LANGUAGES}
    assert all(macro_of[member] == macro for macro, member in MACROLANGUAGES.items())
    assert set(MACROLANGUAGES.values()) <= set(uriel.load().index)
    aliases = get_global("language_aliases")
    differ = set()
    for macro, member in MACROLANGUAGES.items():
        standing = {m for m, alias in aliases.items() if alias in _codes(macro) and macro_of.get(m)}
        if member not in standing:
            differ.add(member)
    # the exceptions that the table's comment names, and no others
    assert differ == {"aii", "crk", "fuv", "mww", "nob", "pbt", "quy", "srp", "taq"}


def _codes(macro: str) -> set[str | None]:
    entry = iso639.Language.from_part3(macro)
    return {entry.part3, entry.part1}


def test_every_current_lang2vec_language_resolves() -> None:
    current = {e.part3 for e in iso639.ALL_LANGUAGES if e.status == "A" and e.type != "S"}
    lost = []
    for code in map(str, uriel.load().codes):
        try:
            assert iso3(iso3(code)) == iso3(code)
        except ValueError:
            lost.append(code)
    assert not set(lost) & current
    assert len(lost) < 30  # private codes (qbb), withdrawn ones without a successor, `und`


@pytest.mark.parametrize("locale", MASSIVE)
def test_benchmark_languages_have_all_that_is_needed(locale: str) -> None:
    lang = language(locale)
    table = uriel.load()
    assert table.observed[table.index[lang.code]].any()
    assert lang.family
    assert lang.locale is not None
    parsed = Locale.parse(lang.locale)
    assert parsed.script in (None, lang.script)
    rtl = parsed.character_order == "right-to-left"
    assert lang.direction == ("rtl" if rtl else "ltr")


def test_names_lead_back() -> None:
    """But for names that are also codes (`Ga`), which are read as codes."""
    special = {"und", "mul", "zxx"}
    codes = {iso3(c) for c in Locale("en").languages if len(c) < 4 and c not in special}
    wrong = {c: name(c) for c in codes if len(name(c)) > 3 and iso3(name(c)) != c}
    assert not wrong
    assert len({name(c) for c in codes}) == len(codes)
    assert [name(c) for c in ("pes", "cmn", "el", "nb")] == [
        "Persian",
        "Chinese",
        "Greek",
        "Norwegian Bokmål",
    ]


def test_embedded_languages() -> None:
    found = languages("eng deu hrv tur srp rus kaz arb pes urd hin mar".split())
    assert [x.script for x in found] == ["Latn"] * 4 + ["Cyrl"] * 3 + ["Arab"] * 3 + ["Deva"] * 2
    assert all(x.key == x.code and x.locale for x in found)
    assert [x.direction for x in found].count("rtl") == 3


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("deu", "Indo-European"),
        ("fi", "Uralic"),
        ("et", "Uralic"),  # lang2vec has it under `est` only
        ("lv", "Indo-European"),
        ("no", "Indo-European"),
        ("tr", "Turkic"),
        ("sw", "Atlantic-Congo"),
        ("ja", "Japonic"),
        ("ka", "Kartvelian"),
        ("eu", None),  # an isolate
        ("eo", None),  # `Artificial Language` is a shelf, no family
    ],
)
def test_family_is_glottologs(code: str, family: str | None) -> None:
    assert language(code).family == family


def test_languages_keep_order_and_drop_repeats() -> None:
    assert [x.key for x in languages(["de", "German", "sr-Latn", "srp"])] == [
        "deu",
        "srp_Latn",
        "srp",
    ]
    with pytest.raises(ValueError, match="list of codes"):
        languages("deu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Portugese", "Portuguese"),
        ("Germn", "German"),
        ("und", "unknown language 'und'"),
        ("zxx", "unknown language"),
        ("", "ISO 639"),
        ("de_Latn_DE extra", "unknown language"),
        ("deu_Lath", "unknown language"),
    ],
)
def test_unknown_language_names_the_value_and_the_nearest(given: str, said: str) -> None:
    with pytest.raises(ValueError, match="unknown language") as error:
        language(given)
    assert said in str(error.value)
    assert len(str(error.value)) < 250


def test_shared_script() -> None:
    assert shared_script("Jpan", "Hans") and shared_script("Hans", "Hant")
    assert not shared_script("Kore", "Hans")
    assert shared_script(None, "Latn") is None


def test_what_flores_tells_apart_is_described_by_the_other_where_lang2vec_is_silent() -> None:
    table = uriel.load()
    for code, other in DISTINGUISHED.items():
        mine, its = table.index[code], table.index[other]
        assert table.observed[mine].any() and (table.observed[mine] >= table.observed[its]).all()
        assert language(code).family == language(other).family
        assert iso3(code) == other  # what ISO 639-3 says today
    assert len({name(c) for c in (*DISTINGUISHED, *DISTINGUISHED.values())}) == 4


def test_an_unusual_script_is_in_key_and_name() -> None:
    found = [language(c) for c in ("sr-Latn", "zh-TW", "ace_Arab", "tzm_Tfng", "srp")]
    assert [x.key for x in found] == ["srp_Latn", "cmn_Hant", "ace_Arab", "tzm_Tfng", "srp"]
    assert [x.name for x in found[:2]] == ["Serbian (Latin)", "Chinese (Traditional)"]
    assert [language(x.key) for x in found] == found


def test_errors_unknown() -> None:
    short = errors.unknown("task", "entty_type", ["qa", "entity_type", "ner"], "Run `xlt tasks`.")
    assert str(short) == (
        "unknown task 'entty_type'. Did you mean 'entity_type'? "
        "Allowed: entity_type, qa, ner. Run `xlt tasks`."
    )
    many = [f"name{i}" for i in range(50)]
    assert "(50 in all)" in str(errors.unknown("name", "qqq", many))
    assert str(errors.unknown("name", "a", [])) == "unknown name 'a'. There is none."
    assert errors.Allowed(["deu", "eng"]).nearest("DEU") == ["deu"]


def test_import_is_light() -> None:
    heavy = ("torch", "transformers", "lang2vec", "pkg_resources", "statsmodels", "scipy", "pandas")
    script = (
        "import sys, xltlib.languages.similarity, xltlib.languages;"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("zh-min-nan", "nan"),  # and not Minangkabau
        ("zh_min_nan", "nan"),
        ("bat-smg", "sgs"),
        ("map-bms", "jav"),
        ("cbk-zam", "cbk"),
        ("zh-classical", "lzh"),
        ("be-x-old", "bel"),
        ("bh", "bho"),
        ("simple", "eng"),
        ("ns", "nso"),
        ("hi_rom", "hin_Latn"),  # and not Romany
        ("zh_CHT", "cmn_Hant"),  # and not Cholón
        ("zh-CHS", "cmn"),
        ("zho_trad", "cmn_Hant"),
        ("en_XX", "eng"),  # mBART
        ("ca-valencia", "cat"),
        ("de-CH-1996", "deu"),
        ("es-419", "spa"),
        ("zh-cn", "cmn"),
        ("de-de", "deu"),
        ("por_BR", "por_BR"),
        ("cmn_Hant_HK", "cmn_Hant_HK"),
    ],
)
def test_labels_of_corpora_and_parts_of_tags(given: str, key: str) -> None:
    assert language(given).key == key
    assert language(key).key == key


@pytest.mark.parametrize(
    ("given", "joined", "region"),
    [
        ("eng-deu", ["eng", "deu"], None),
        ("eng-ron-wol-sna", ["eng", "ron", "wol", "sna"], None),
        ("en-ru", ["eng", "rus"], "en-RU"),
        ("EN-DE", ["eng", "deu"], "en-DE"),
        ("en_fr", ["eng", "fra"], "en-FR"),
        ("de+en", ["deu", "eng"], None),
        ("en->sw", ["eng", "swh"], None),
        ("German and English", ["deu", "eng"], None),
    ],
)
def test_a_mixture_is_no_language(given: str, joined: list[str], region: str | None) -> None:
    with pytest.raises(ValueError, match="names several languages") as error:
        language(given)
    assert all(f"({key})" in str(error.value) for key in joined)
    assert (f"write {region}" in str(error.value)) == (region is not None)


@pytest.mark.parametrize("tag", ["zh-CN", "en-US", "sr-Latn", "ca-valencia", "de-CH-1996"])
def test_tags_are_no_mixtures(tag: str) -> None:
    assert language(tag)


@pytest.mark.parametrize("label", ["de-Latn-QQ", "en-us-nonsense", "zho_Hant_extra1", "eng-deu-x"])
def test_every_part_of_a_tag_is_registered(label: str) -> None:
    with pytest.raises(ValueError, match="language"):
        language(label)


@pytest.mark.parametrize(
    "given", ["srp_Latn", "cmn_Hant", "uzn_Cyrl", "por_BR", "cmn_Hant_HK", "cat_valencia"]
)
def test_names_with_remarks_lead_back(given: str) -> None:
    assert among(name(given), {given}) == given
    assert language("Chinese (Simplified)").key == "cmn"
    with pytest.raises(ValueError, match="unknown language"):
        language("Serbian (whispered)")


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.text(max_size=12),
        st.from_regex(r"[a-z]{2,3}([-_][A-Za-z]{2,5}){0,3}", fullmatch=True),
        st.tuples(
            st.sampled_from(sorted(uriel.load().codes)), st.sampled_from(["Latn", "US", "x", "de"])
        ).map("_".join),
    )
)
def test_what_is_accepted_is_a_registered_language(text: str) -> None:
    """Or a ValueError; what a table would call it leads back, and it has an English name."""
    try:
        found = language(text)
    except ValueError:
        return
    own = keys([text])[text]
    assert language(own).key == own and language(found.key) == found
    assert iso639.Language.from_part3(found.code).status in ("A", "R") and found.name


def test_a_glottocode_is_called_one() -> None:
    with pytest.raises(ValueError, match=r"stan1293.*Glottocode.*ISO 639-3"):
        language("stan1293")


def test_keys_tell_varieties_apart_only_where_a_side_does() -> None:
    assert keys(["en-US", "zh-CN", "zh-TW"], ["en", "zh"]) == {
        "en-US": "eng", "en": "eng", "zh-CN": "cmn", "zh": "cmn", "zh-TW": "cmn_Hant",
    }  # fmt: skip
    apart = keys(["pt-BR", "pt-PT", "ca", "ca-valencia", "zh-TW", "zh-HK"], ["pt"])
    assert apart == {
        "pt-BR": "por_BR", "pt-PT": "por_PT", "pt": "por", "ca": "cat",
        "ca-valencia": "cat_valencia", "zh-TW": "cmn_Hant_TW", "zh-HK": "cmn_Hant_HK",
    }  # fmt: skip
    assert all(language(key).key == key for key in apart.values())
    assert keys(["por_BR"]) == {"por_BR": "por_BR"}  # a part of a table keeps its keys
    assert [name(key) for key in ("por_BR", "cat_valencia", "cmn_Hant_HK")] == [
        "Portuguese (Brazil)",
        "Catalan (Valencian)",
        "Chinese (Traditional, Hong Kong SAR China)",
    ]
    assert language("pt-BR").locale == "pt" and language("por_PT").locale == "pt_PT"


def test_als_is_alemannic_beside_other_labels_of_wikimedia() -> None:
    assert keys(["als", "deu"])["als"] == "als"
    assert keys(["als", "sq", "simple", "en"]) == {
        "als": "gsw", "sq": "als", "simple": "eng_simple", "en": "eng",
    }  # fmt: skip


def test_two_labels_of_one_language_are_both_named() -> None:
    said = clash(["ar", "arb"])
    assert "'ar' and 'arb' are one language, Arabic (arb)" in said and "seed" not in said
    assert "write gsw" in clash(["als", "sq"])


@pytest.mark.parametrize(
    "label", "avg Avg. mean ave all max min std Average AVERAGE macro-F1 Overall Total".split()
)
def test_summaries(label: str) -> None:
    assert is_summary(label)


def test_no_language_is_called_like_a_summary_but_these() -> None:
    """Which is meant, a table must tell from its values."""
    listed = [e for e in iso639.ALL_LANGUAGES if e.type != "S"]
    assert {e.name for e in listed if is_summary(e.name)} == {"Median"}
    codes = {c for e in listed for c in (e.part1, e.part3) if c}
    assert {c for c in codes if is_summary(c)} == set(
        "all any ave dev gap max med min sd std sum var".split()
    )


# -- names of their own ---------------------------------------------------------------------------

OWN_NAMES = Path(uriel.__file__).parents[1] / "assets" / "own_names.csv"


def own_names() -> list[list[str]]:
    """Every CLDR locale's name for its language, in its script, but for those read anyway."""
    found = set()
    for tag in localedata.locale_identifiers():
        locale = Locale.parse(tag)
        own = locale.languages.get(tag) or locale.languages.get(locale.language)
        plain = Locale(locale.language).languages.get(locale.language)
        if locale.territory or locale.variant or not own or (locale.script and own == plain):
            continue
        try:
            if language(tag) and len(own) > 1:
                found.add((own, tag))
        except ValueError:  # a language that ISO 639-3 lacks
            continue
    english = {e.name.casefold() for e in iso639.ALL_LANGUAGES}
    english |= {n.print.casefold() for e in iso639.ALL_LANGUAGES for n in e.other_names or ()}
    english |= {n.casefold() for n in Locale("en").languages.values()}
    return [["name", "tag"], *map(list, sorted(x for x in found if x[0].casefold() not in english))]


def test_the_tables_of_iso_639_are_read_as_their_package_reads_them() -> None:
    entries = {e.part3: e for e in iso639.ALL_LANGUAGES}
    cldr = Locale("en").languages
    for e in entries.values():
        if e.type == "S":  # `und`, `mul`, `zxx`
            assert not known(e.part3)
            continue
        successor = e
        while successor.retire_change_to and successor.part3 not in DISTINGUISHED:
            successor = entries[successor.retire_change_to]
        wanted = MACROLANGUAGES.get(successor.part3, successor.part3)
        for code in filter(None, (e.part3, e.part1, e.part2b, e.part2t)):
            assert language(code).code == wanted, code
        own, macro = entries[wanted], entries[e.macrolanguage or e.part3]
        represented = [entries[m] for m, member in MACROLANGUAGES.items() if member == wanted]
        if not {code for x in (own, *represented) for code in (x.part1, x.part3)} & set(cldr):
            assert name(e.part3) == re.sub(r"\s*\(.*\)$", "", own.name), e.part3
        if e.macrolanguage and e.status == "A":
            remark = f"{macro.name} ({e.name})"
            assert not known(remark) or language(remark).code in (wanted, macro.part3), remark


def test_own_names_are_those_of_the_cldr() -> None:
    """Where not, ``python tests/test_languages.py`` writes them anew."""
    with OWN_NAMES.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == own_names()


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("deutsch", "deu"), ("Français", "fra"), ("franc\u0327ais", "fra"), ("日本語", "jpn"),
        ("Türkçe", "tur"), ("中文", "cmn"), ("繁體中文", "cmn_Hant"), ("srpski", "srp_Latn"),
        ("ўзбекча", "uzn_Cyrl"), ("norsk", "nob"), ("العربية", "arb"), ("ქართული", "kat"),
    ],
)  # fmt: skip
def test_a_language_is_known_by_its_own_name(label: str, key: str) -> None:
    assert language(label).key == key
    assert understood([label, key, name(key)]).startswith(f"{label!r} as {name(key)} ({key})")


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("Chinese (Simplified)", "cmn"), ("Chinese (Traditional)", "cmn_Hant"),
        ("Simplified Chinese", "cmn"), ("Serbian (Latin)", "srp_Latn"),
        ("Acehnese (Arabic script)", "ace_Arab"), ("Kurdish (Northern)", "kmr"),
        ("Norwegian (Nynorsk)", "nno"), ("Norwegian", "nob"), ("Arabic (Egyptian)", "arz"),
        ("Portuguese (Brazil)", "por"), ("Brazilian Portuguese", "por"),
        ("Modern Standard Arabic", "arb"), ("Greek (Ancient)", "grc"),
    ],
)  # fmt: skip
def test_names_with_a_remark(label: str, key: str) -> None:
    assert language(label).key == key


def test_a_name_of_two_languages_is_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"North Ndebele \(nde\) and South Ndebele \(nbl\)"):
        language("isiNdebele")


def test_the_nearest_are_difflibs_and_found_at_once() -> None:
    allowed = [e.name for e in iso639.ALL_LANGUAGES]
    found, lower = errors.Allowed(allowed), {a.lower(): a for a in allowed}
    for text in ("Germn", "qqq", "the quick brown fox", "Türkçe", "ab", "", "language", "é" * 300):
        close = difflib.get_close_matches(text.lower(), lower, n=3, cutoff=0.6)
        assert found.nearest(text) == [lower[c] for c in close]
    began = time.process_time()
    for i in range(200):
        with pytest.raises(ValueError, match="unknown language"):
            language(f"nolanguage{i}")
    assert (time.process_time() - began) / 200 < 0.01  # difflib alone: 0.04


if __name__ == "__main__":
    with OWN_NAMES.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(own_names())
