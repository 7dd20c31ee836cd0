"""Languages: any code or English name in, one ISO 639-3 code out.

Codes and names come from the ISO 639-3 tables (package `python-iso639`, SIL International);
scripts, locales and everyday English names from CLDR (package `babel`); families from the
Glottolog tree inside lang2vec (Littell et al. 2017, https://aclanthology.org/E17-2002).
The ISO tables take a third of a second to read: only when a language is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import babel
from babel.core import get_global
from babel.localedata import exists

from xltlib.errors import unknown
from xltlib.languages import uriel
from xltlib.languages.tables import DISTINGUISHED, MACROLANGUAGES

if TYPE_CHECKING:
    import iso639

# Withdrawn two-letter codes that old corpora still carry (mC4 says `iw`); `sh` is Serbo-Croatian.
_WITHDRAWN = {"iw": "heb", "in": "ind", "ji": "yid", "jw": "jav", "mo": "ron"}
# Everyday names that neither ISO 639-3 nor CLDR lists.
_EVERYDAY_NAMES = {"farsi": "pes", "mandarin": "cmn", "taiwanese": "nan", "flemish": "nld"}
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
    r"(?:[-_](?P<region>[a-z]{2}|\d{3}))?(?:[-_.@]\S*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Language:
    """One individual language in one script.

    Attributes
    ----------
    code : str
        ISO 639-3 of the individual language, e.g. ``"pes"``.
    script : str or None
        ISO 15924, as given or CLDR's likely script; None where CLDR knows none.
    """

    code: str
    script: str | None = None

    @property
    def key(self) -> str:
        """What tables call it: the code, with the script where that is unusual (`srp_Latn`).

        Every language and script has a key of its own, and ``language(key)`` leads back to it.
        """
        usual = self.script == _default_script(self.code)
        return self.code if usual else f"{self.code}_{self.script}"

    @property
    def name(self) -> str:
        """English name for figures: CLDR's, also of its macrolanguage, else ISO 639-3's.

        An unusual script is said: ``Serbian (Latin)``.
        """
        script = self.script if self.key != self.code else None
        return f"{self._name} ({babel.Locale('en').scripts[script]})" if script else self._name

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
        tag, usual = _cldr(self.code), self.script in (None, _default_script(self.code))
        if self.script and exists(f"{tag}_{self.script}"):
            return f"{tag}_{self.script}"
        return tag if usual and exists(tag) else None

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
        ISO 639-1, 639-2 (T or B), 639-3, BCP 47 (`sr-Latn`, `zh-CN`), NLLB (`deu_Latn`) or an
        English name; case does not matter. A word that is a code is read as a code.
        A macrolanguage becomes the member in `MACROLANGUAGES`, a retired code its successor; those
        of `DISTINGUISHED` stay as they are.

    Raises
    ------
    ValueError
        If nothing fits, with the nearest codes or names.
    """
    text = code.strip()
    tag = _TAG.fullmatch(text)
    if tag and tag["script"] and tag["script"].title() not in _scripts():
        tag = None  # Oji-Cree is a name
    raw = _part3(tag["ext"] or tag["lang"]) if tag else None
    if raw is None:
        raw, tag = _names().get(text.casefold()), None
    if raw is None:
        known = [n.title() for n in _names()] + sorted(filter(_part3, _iso()))
        raise unknown("language", code, known, "Give an ISO 639 code or an English name.")
    individual = MACROLANGUAGES.get(raw, raw)
    return Language(individual, _script(tag, raw, individual))


def languages(codes: Iterable[str]) -> list[Language]:
    """`language` for each, in the order given, each language-and-script once."""
    if isinstance(codes, str):
        raise ValueError(f"languages takes a list of codes, not the one string {codes!r}.")
    return list(dict.fromkeys(language(c) for c in codes))


def iso3(code: str) -> str:
    """ISO 639-3 code of the individual language: ``iso3("zh-TW") == "cmn"``.

    Of `DISTINGUISHED` the language that ISO 639-3 has for it: ``iso3("ajp") == "apc"``.
    """
    found = language(code).code
    return DISTINGUISHED.get(found, found)


def name(code: str) -> str:
    """English name: ``name("pes") == "Persian"``."""
    return language(code).name


def is_individual(code: str) -> bool:
    """Whether an ISO 639-3 code stands for itself: not retired, no macrolanguage of the table."""
    return _part3(code) == code and code not in MACROLANGUAGES


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


@cache
def _scripts() -> frozenset[str]:
    """ISO 15924 codes that CLDR names."""
    return frozenset(babel.Locale("en").scripts)


@cache
def _iso() -> dict[str, iso639.Language]:
    """ISO 639-3 entries, retired ones included, by every code they have."""
    import iso639

    table: dict[str, iso639.Language] = {}
    for entry in sorted(iso639.ALL_LANGUAGES, key=lambda e: e.status != "A"):
        for code in (entry.part3, entry.part1, entry.part2b, entry.part2t):
            if code:
                table.setdefault(code, entry)
    return table


def _part3(code: str) -> str | None:
    """ISO 639-3 of any ISO 639 code (a retired one gives its successor), or None."""
    entry = _iso().get(_WITHDRAWN.get(code.lower(), code.lower()))
    if entry is None or entry.type == "S":  # `und`, `mul`, `zxx`: no language
        return None
    retired = entry.status == "R" and entry.part3 not in DISTINGUISHED
    successor = entry.retire_change_to if retired else None
    return _part3(successor) if successor else str(entry.part3)


@cache
def _names() -> dict[str, str]:
    """Case-folded English names to ISO 639-3; everyday CLDR names win over ISO's."""
    names = dict(_EVERYDAY_NAMES)
    for code, english in babel.Locale("en").languages.items():
        part3 = _part3(code) if _TAG.fullmatch(code) and len(code) < 4 else None
        if part3:
            names.setdefault(english.casefold(), part3)
    living = sorted(set(_iso().values()), key=lambda e: (e.status != "A", e.type != "L", e.part3))
    for entry in living:
        for english in (entry.name, *(n.print for n in entry.other_names or ())):
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
