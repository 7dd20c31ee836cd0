"""Languages: any code or English name in, one ISO 639-3 code out.

Codes and names come from the ISO 639-3 tables (package `python-iso639`, SIL International);
scripts, locales and everyday English names from CLDR (package `babel`); families from the
Glottolog tree inside lang2vec (Littell et al. 2017, https://aclanthology.org/E17-2002).
The package's tables are read directly: to import it takes ten times as long.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import babel
from babel.core import get_global
from babel.localedata import exists

from xltlib.errors import Allowed, unknown
from xltlib.languages import uriel
from xltlib.languages.tables import DISTINGUISHED, MACROLANGUAGES

# Withdrawn two-letter codes that old corpora still carry (mC4 says `iw`); `sh` is Serbo-Croatian.
_WITHDRAWN = {"iw": "heb", "in": "ind", "ji": "yid", "jw": "jav", "mo": "ron"}
# Everyday names that neither ISO 639-3 nor CLDR lists.
_EVERYDAY_NAMES = {
    "farsi": "pes", "mandarin": "cmn", "taiwanese": "nan", "flemish": "nld", "azeri": "azj",
    "kurmanji": "kmr", "sorani": "ckb", "myanmar": "mya", "wu": "wuu", "slovene": "slv",
    "west frisian": "fry", "classical chinese": "lzh", "bahasa indonesia": "ind",
    "malayo": "zsm", "mongol": "khk", "naija": "pcm", "mooré": "mos", "afaan oromo": "orm",
    "tshivenda": "ven", "bahasa malaysia": "zsm", "scots gaelic": "gla", "nynorsk": "nno",
    "bokmål": "nob", "hokkien": "nan", "castellano": "spa", "eastern panjabi": "pan",
}  # fmt: skip
# Codes that Wikimedia uses for another language than ISO 639-3 does
# (https://meta.wikimedia.org/wiki/Special_language_codes): there Alemannic and Norman.
_WIKIMEDIA = {"als": "gsw", "nrm": "nrf"}
# Words for summaries of rows or columns. Some are codes too: ave, all, max, min, std, sum, var.
_SUMMARIES = frozenset(
    "all any ave average averaged averages avg best count delta dev deviation durchschnitt f f1 "
    "gap gemiddelde gesamt gmean hmean keskiarvo macro macroavg max maximum mean means med media "
    "median micro min minimum mittelwert moyenne ortalama overall promedio range score sd sem shot "
    "stddev std stdev sum total totals var variance weighted worst zero zeroshot ø μ δ "
    "среднее 平均 平均值 平均値 合計 合计 평균 média promedio średnia medel gennemsnitt průměr "
    "المتوسط σ".split()
)
_LOCALES = "de fr es pt it ru zh ja ko".split()  # languages in whose words others are named too
_WORDS = ("vote", "voto", "jute", "laze")  # names there, but sooner met as words
# Scripts that contain another one: Japanese writes Han characters too.
_SCRIPT_PARTS = {
    "Hans": {"Hani"}, "Hant": {"Hani"}, "Jpan": {"Hani", "Hira", "Kana"}, "Kore": {"Hang"},
}  # fmt: skip
_RIGHT_TO_LEFT = frozenset(
    "Adlm Arab Aran Armi Hebr Mand Mani Mend Narb Nkoo Rohg Samr Sarb Syrc Thaa Yezi".split()
)
_MACRO_OF = {individual: macro for macro, individual in MACROLANGUAGES.items()}
_TAG = re.compile(
    r"(?P<lang>[a-z]{2,3})(?:[-_](?P<ext>[a-z]{3}))?(?:[-_](?P<script>[a-z]{4}))?"
    r"(?:[-_](?P<region>[a-z]{2}|[0-9]{3}))?(?P<variants>(?:[-_](?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
    r"(?:\.utf-?8)?",
    re.IGNORECASE,
)
# How `Language.key` writes a region and variants; elsewhere they say where data come from.
_KEY = re.compile(
    r"[a-z]{3}(_[A-Z][a-z]{3})?(_[A-Z]{2}|_[0-9]{3})?(_[a-z]{5,8}|_[0-9][a-z0-9]{3,7})*"
)
_JOINED = re.compile(r"\s*(?:->|[-_+,;/|&→])\s*|\s+and\s+")


@dataclass(frozen=True)
class Language:
    """One individual language in one script, and where a table tells them apart one variety.

    Attributes
    ----------
    code : str
        ISO 639-3 of the individual language, e.g. ``"pes"``.
    script : str or None
        ISO 15924, as given or CLDR's likely script; None where CLDR knows none.
    variety : str
        Region and variants, ``"BR"``, ``"valencia"``; empty unless `keys` needs them.
    """

    code: str
    script: str | None = None
    variety: str = ""

    @property
    def key(self) -> str:
        """What tables call it: the code, with the script where that is unusual (`srp_Latn`).

        Every language, script and variety has its own key; ``language(key)`` leads back to it.
        """
        return "_".join(filter(None, (self.code, self._unusual, self.variety)))

    @property
    def _unusual(self) -> str | None:
        return None if self.script == _default_script(self.code) else self.script

    @property
    def name(self) -> str:
        """English name for figures: CLDR's, also of its macrolanguage, else ISO 639-3's.

        An unusual script and a variety are said: ``Serbian (Latin)``, ``Portuguese (Brazil)``.
        """
        parts = filter(None, [self._unusual, *self.variety.split("_")])
        remark = ", ".join(_said().get(part, part) for part in parts)
        return f"{self._name} ({remark})" if remark else self._name

    @property
    def _name(self) -> str:
        cldr = babel.Locale("en").languages
        for candidate in (self.code, _MACRO_OF.get(self.code)):
            entry = _iso().get(candidate) if candidate else None
            for tag in (entry.part1, entry.part3) if entry else ():
                if tag in cldr:
                    return str(cldr[tag])
        return _plain(_iso()[self.code].name)

    @property
    def family(self) -> str | None:
        """Top-level Glottolog family; None for an isolate or where lang2vec has no entry."""
        return uriel.load().family(self.code)

    @property
    def locale(self) -> str | None:
        """CLDR locale that `babel` can open (`sr_Cyrl`, `de`), or None."""
        tag = _cldr(self.code)
        forms = [f"{tag}_{self.script}"] if self.script else []
        forms += [tag] if self.script is None or not self._unusual else []
        forms = [f"{form}_{self.variety}" for form in forms if self.variety] + forms
        return next(filter(exists, forms), None)

    @property
    def direction(self) -> Literal["ltr", "rtl"]:
        """Writing direction of the script."""
        return "rtl" if self.script in _RIGHT_TO_LEFT else "ltr"


@cache
def language(code: str) -> Language:
    """The language that a code or an English name means.

    Parameters
    ----------
    code : str
        ISO 639-1, 639-2 (T or B), 639-3, BCP 47 (`sr-Latn`, `zh-CN`), NLLB (`deu_Latn`), a label
        of Wikimedia or CC-100 (`zh-min-nan`, `hi_rom`), an English name, with a remark too
        (`Chinese (Simplified)`), or one in another language (`Deutsch`, `allemand`); case does not
        matter.
        A word that is a code is read as a code. A macrolanguage becomes the member in
        `MACROLANGUAGES`, a retired code its successor; those of `DISTINGUISHED` stay as they are.
        A region says where data come from, and only in a key (`por_BR`) which variety: see `keys`.

    Raises
    ------
    ValueError
        If nothing fits, with the nearest codes or names; for a mixture (`eng-deu`) or a name of
        several languages (`isiNdebele`), with these.
    """
    found = _stated(code)
    return found if _KEY.fullmatch(code.strip()) else replace(found, variety="")


def keys(*sides: Iterable[str]) -> dict[str, str]:
    """The key of every label of a table, its sides (sources; targets) given together.

    Where one side tells varieties of a language apart (`pt-BR` beside `pt-PT`), each has a key of
    its own (`por_BR`); elsewhere a region is no part of the key (`en-US` is `eng`). Beside other
    labels of Wikimedia, `als` is Alemannic as it is there, else Tosk Albanian as in ISO 639-3.
    """
    columns = [set(side) for side in sides]
    labels = {label: _folded(label) for column in columns for label in column}
    used = {_special()[folded][1] for folded in labels.values() if folded in _special()}
    theirs = _WIKIMEDIA if "Wikimedia" in used else {}
    if "MSA" in labels and (any(x != x.upper() for x in labels) or _DIALECTS & labels.keys()):
        raise ValueError("'MSA' is Malay as a code, Arabic as an abbreviation: write ms or arb")
    stated = {label: _stated(theirs.get(folded, label)) for label, folded in labels.items()}
    apart: set[Language] = set()
    for column in columns:
        several = [replace(x, variety="") for x in {stated[label] for label in column}]
        apart |= {x for x in several if several.count(x) > 1}
    found = {}
    for label, own in stated.items():
        plain = replace(own, variety="")
        kept = plain in apart or _KEY.fullmatch(label.strip())
        found[label] = own.key if kept else plain.key
    return found


def among(label: str, known: Collection[str]) -> str:
    """The key of a label; of the variety it names (`pt-BR`) where that is among those known."""
    own = _stated(label).key
    return own if own in known else language(label).key


def clash(labels: Collection[str]) -> str:
    """What to do where several labels of one side are one language, all of them named."""
    listed, key = " and ".join(sorted(map(repr, labels))), language(min(labels)).key
    said = f"{listed} are one language, {name(key)} ({key}): keep one of them in each table, or "
    said += "write the code of the language, script (sr-Latn) or region (pt-BR) that is meant"
    other = {theirs: own for own, theirs in _WIKIMEDIA.items() if own in map(_folded, labels)}
    return said + "".join(f"; Wikipedia's {own!r} is {name(new)}: write {new}"
                          for new, own in other.items())  # fmt: skip


def known(label: str) -> bool:
    """Whether `language` knows a label."""
    return _find(label) is not None


def understood(labels: Iterable[str]) -> str:
    """What labels that are neither codes nor English names are read as: `'deutsch' as German`."""
    named = {x: language(x) for x in labels if not _registered(x.strip())}
    return ", ".join(f"{label!r} as {own.name} ({own.key})" for label, own in named.items())


def is_summary(label: str) -> bool:
    """Whether a label is a word for a summary of others (`avg`, `Macro F1`, `max`), not a language.

    Some are codes as well (`ave` Avestan, `min` Minangkabau): whether the values are summaries,
    the table must tell.
    """
    words = re.findall(r"[^\W\d_]+", label.casefold())
    return bool(words) and (words[0] in _SUMMARIES - {"min", "media"} or set(words) <= _SUMMARIES)


def _joined(label: str) -> list[str]:
    """Keys of the languages that a label joins, ``["eng", "deu"]`` of `eng-deu`; else empty."""
    parts = [_find(part) for part in _JOINED.split(label.strip())]
    found = list(dict.fromkeys(part.key for part in parts if part))
    return found if None not in parts and len(found) > 1 else []


def _stated(code: str) -> Language:
    """The language with all that a label states, region and variants too."""
    found = _find(code)
    if found is None:
        raise _unknown(code)
    return found


_DIALECTS = {"EGY", "GLF", "LEV", "MAR", "MGR", "TUN"}  # of Arabic, as papers abbreviate them


@cache
def _find(code: str) -> Language | None:
    text = unicodedata.normalize("NFC", code.strip())
    found = _registered(text) or _remarked(text) or _of_own_name(text)
    return found or _without_accents(text)


def _without_accents(text: str) -> Language | None:
    """Yorùbá is Yoruba; Bété, part of a registered name (`Daloa Bété`), is not the Bete."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    if bare == text or len(bare) < 4 or any(text.casefold() in n.split() for n in _names()):
        return None
    return _registered(bare)


def _registered(text: str) -> Language | None:
    """What a code or an English name means."""
    text = _special().get(_folded(text), (text, ""))[0]
    tag = _tag(text)
    raw = _part3(tag["ext"] or tag["lang"]) if tag else None
    if raw is None and (len(text) > 2 or text == "Wu"):  # ir: a mistaken code of Persian
        raw, tag = _names().get(text.casefold()), None
    if raw is None:
        return None
    individual = MACROLANGUAGES.get(raw, raw)
    variety = [tag["region"].upper()] if tag and tag["region"] not in (None, "XX") else []
    variety += tag["variants"].lower().replace("_", "-").split("-")[1:] if tag else []
    return Language(individual, _script(tag, raw, individual), "_".join(variety))


def _remarked(text: str) -> Language | None:
    """A name with a remark: as `Language.name` writes it (`Serbian (Latin)`), or a part of it."""
    form = re.fullmatch(r"(.*\w) \((.+?)( script)?\)", text.casefold())
    if form is None:
        return None
    known = {said.casefold(): part for part, said in _said().items()}
    parts = [known.get(remark) for remark in form[2].split(", ")]
    if (code := _names().get(form[1])) and None not in parts:
        return _registered("_".join([code, *filter(None, parts)]))
    member, whose = _registered(form[2]), _names().get(form[1])  # Kurdish (Sorani)
    if member and whose and _iso()[member.code].macrolanguage == whose:
        return member
    whole = (f"{form[2]} {form[1]}", f"{form[1]} {form[2]}")  # Kurdish (Northern)
    return next(filter(None, (_registered(x) or _of_own_name(x) for x in whole)), None)


def _of_own_name(text: str) -> Language | None:
    tags = _own_names().get(text.casefold(), [])
    return _registered(tags[0]) if len(tags) == 1 else None


@cache
def _own_names() -> dict[str, list[str]]:
    """Case-folded names in the language itself or in `_LOCALES`, CLDR's of varieties, to tags."""
    english = babel.Locale("en").languages.items()
    names = {name.casefold(): [tag] for tag, name in english if "_" in tag}
    path = Path(__file__).parents[1] / "assets" / "own_names.csv"
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        names.setdefault(row["name"].casefold(), []).append(row["tag"])
    others: dict[str, list[str]] = {}
    for locale in _LOCALES:
        for tag, name in babel.Locale(locale).languages.items():
            if len(tag) < 4 and (len(name) > 2 or not name.islower()) and name not in _WORDS:
                others.setdefault(name.casefold(), []).append(tag)
    return {name: list(dict.fromkeys(tags)) for name, tags in others.items()} | names


@cache
def _said() -> dict[str, str]:
    """English names of scripts, regions and variants."""
    en = babel.Locale("en")
    return {**en.territories, **{k.lower(): v for k, v in en.variants.items()}, **en.scripts}


def _unknown(code: str) -> ValueError:
    text = code.strip()
    if tags := _own_names().get(text.casefold()):
        listed = " and ".join(f"{name(tag)} ({key(tag)})" for tag in tags)
        return ValueError(f"{code!r} is a name of {listed}: write the code that is meant")
    if found := _joined(text):
        both = " and ".join(f"{name(key)} ({key})" for key in found)
        form = _TAG.fullmatch(text)
        region = (
            f"{form['lang'].lower()}-{form['region'].upper()}" if form and form["region"] else ""
        )
        cure = "Name one language; leave mixtures and pairs out, or put them in two columns."
        meant = f" If a region is meant, write {region}." if region else ""
        return ValueError(f"{code!r} names several languages, {both}. {cure}{meant}")
    if re.fullmatch(r"[a-z]{4}[0-9]{4}", text):
        return ValueError(f"{code!r} looks like a Glottocode, which no package here maps: give the "
                          "ISO 639-3 code or the English name")  # fmt: skip
    return unknown("language", code, _known(), "Give an ISO 639 code or an English name.")


@cache
def _known() -> Allowed:
    return Allowed([n.title() for n in _names()] + sorted(filter(_part3, _iso())))


def _folded(label: str) -> str:
    return label.strip().casefold().replace("_", "-")


def _tag(text: str) -> re.Match[str] | None:
    """A tag of which every part is registered, or None; Oji-Cree is a name, eng-deu a mixture."""
    tag, en = _TAG.fullmatch(text), babel.Locale("en")
    if tag is None:
        return None
    if tag["ext"]:
        entry = _iso().get(tag["ext"].lower())
        if entry is None or entry.macrolanguage != _part3(tag["lang"]):
            return None
    if tag["script"] and tag["script"].title() not in en.scripts:
        return None
    variants = re.split("[-_]", tag["variants"].upper())[1:]
    if not {*variants} <= {*en.variants, "SIMPLE"}:
        return None
    return tag if not tag["region"] or _is_region(tag["lang"], tag["region"]) else None


def _is_region(lang: str, region: str) -> bool:
    """Whether two letters after a language are a region: en-RU; not en-ru, English with Russian."""
    place = region.upper()
    if place not in {*babel.Locale("en").territories, *get_global("territory_aliases"), "XX"}:
        return False
    entry = _iso().get(region.lower())
    if (region == place and lang.islower()) or entry is None or entry.part1 != region.lower():
        return True
    tag, likely = _cldr(_part3(lang) or lang), get_global("likely_subtags")
    own = str(likely.get(tag, "")).endswith(f"_{place}")
    return own or tag == _cldr(entry.part3) or f"{tag}_{place}" in likely


@cache
def _special() -> dict[str, tuple[str, str]]:
    """Labels of corpora that are no tags: the tag, and who uses it."""
    path = Path(__file__).parents[1] / "assets" / "corpus_codes.csv"
    with path.open(encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {row["code"]: (row["tag"], row["used_by"]) for row in rows}


def languages(codes: Iterable[str]) -> list[Language]:
    """`language` for each, in the order given, each language-and-script once."""
    if isinstance(codes, str):
        raise ValueError(f"languages takes a list of codes, not the one string {codes!r}.")
    return list(dict.fromkeys(language(c) for c in codes))


def key(code: str) -> str:
    """What tables call it: ``key("zh-TW") == "cmn_Hant"``."""
    return language(code).key


def iso3(code: str) -> str:
    """ISO 639-3 code of the individual language: ``iso3("zh-TW") == "cmn"``.

    Of `DISTINGUISHED` the language that ISO 639-3 has for it: ``iso3("ajp") == "apc"``.
    """
    found = language(code).code
    return DISTINGUISHED.get(found, found)


def name(code: str) -> str:
    """English name: ``name("pes") == "Persian"``."""
    return language(code).name


@cache
def _default_script(code: str) -> str | None:
    """CLDR's likely script of an ISO 639-3 code, ISO 15924; None where CLDR has none."""
    alias = str(get_global("language_aliases").get(code, ""))  # cnr -> sr_ME, written in Latin
    likely = get_global("likely_subtags")
    found = likely.get(alias) or likely.get(_cldr(code))
    return str(found).split("_")[1] if found else None


def shared_script(one: str | None, other: str | None) -> bool | None:
    """Whether two scripts have letters in common (Han and Japanese do); None if one is unknown."""
    if one is None or other is None:
        return None
    return bool(_SCRIPT_PARTS.get(one, {one}) & _SCRIPT_PARTS.get(other, {other}))


def _script(tag: re.Match[str] | None, raw: str, individual: str) -> str | None:
    """The script that a tag states, or its region implies (`zh-TW`), or the language's own.

    A part of the usual script is the usual one: FLORES writes `kor_Hang`, CLDR `Kore`.
    """
    if tag and tag["script"]:
        given, usual = str(tag["script"]).title(), _default_script(individual)
        return usual if given in _SCRIPT_PARTS.get(str(usual), ()) else given
    if raw == "hbs":
        return "Latn"  # CLDR: sh means sr_Latn
    if tag and tag["region"]:
        likely = get_global("likely_subtags").get(f"{_cldr(raw)}_{tag['region'].upper()}")
        if likely:
            return str(likely.split("_")[1])
    return _default_script(individual)


class _Entry(NamedTuple):  # what ISO 639-3 says of a code; a retired one has no type
    part3: str
    part1: str
    type: str
    name: str
    macrolanguage: str
    successor: str


def _rows(table: str) -> list[list[str]]:
    """Rows of a table of ISO 639-3 as SIL publishes it, without its heading."""
    spec = find_spec("iso639")
    assert spec and spec.origin
    path = Path(spec.origin).with_name("_data") / f"iso-639-3{table}.tab"
    return [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]


@cache
def _iso() -> dict[str, _Entry]:
    """ISO 639-3 entries by every code they have, the retired ones last."""
    macrolanguages = {member: macro for macro, member, _ in _rows("-macrolanguages")}
    table: dict[str, _Entry] = {}
    for part3, *others, part1, _, kind, english, _ in _rows(""):
        entry = _Entry(part3, part1, kind, english, macrolanguages.get(part3, ""), "")
        table |= {code: entry for code in (part3, part1, *others) if code and code not in table}
    for part3, english, _, successor, *_ in _rows("_Retirements"):
        macro = macrolanguages.get(part3, "")
        table.setdefault(part3, _Entry(part3, "", "", english, macro, successor))
    return table


def _part3(code: str) -> str | None:
    """ISO 639-3 of any ISO 639 code (a retired one gives its successor), or None."""
    entry = _iso().get(_WITHDRAWN.get(code.lower(), code.lower()))
    if entry is None or entry.type == "S":  # `und`, `mul`, `zxx`: no language
        return None
    retired = not entry.type and entry.part3 not in DISTINGUISHED
    return _part3(entry.successor) if retired and entry.successor else entry.part3


@cache
def _names() -> dict[str, str]:
    """Case-folded English names to ISO 639-3; everyday CLDR names win over ISO's."""
    names = dict(_EVERYDAY_NAMES)
    for code, english in babel.Locale("en").languages.items():
        part3 = _part3(code) if _TAG.fullmatch(code) and len(code) < 4 else None
        if part3:
            names.setdefault(english.casefold(), part3)
    others: dict[str, list[str]] = {}
    for part3, english, _ in _rows("_Name_Index"):
        others.setdefault(part3, []).append(english)
    for entry in sorted(set(_iso().values()), key=lambda e: (not e.type, e.type != "L", e.part3)):
        for english in (entry.name, *others.get(entry.part3, ())):
            for form in (english, _plain(english)):
                names.setdefault(form.casefold(), _part3(entry.part3) or entry.part3)
    return names


def _plain(english: str) -> str:
    """An ISO name without its remark: Modern Greek (1453-) -> Modern Greek."""
    return re.sub(r"\s*\(.*\)$", "", english)


def _cldr(code: str) -> str:
    """The subtag under which CLDR files an ISO 639-3 code: arb -> ar, deu -> de, yue -> yue."""
    entry = _iso().get(code)
    if code in _MACRO_OF and not (entry and entry.part1):
        return _cldr(_MACRO_OF[code])
    tag = (entry.part1 if entry else None) or code
    return str(get_global("language_aliases").get(tag, tag)).split("_")[0]
