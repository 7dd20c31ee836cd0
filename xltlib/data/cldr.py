"""Real words of many languages without a download: the Unicode CLDR, as `babel` carries it.

CLDR holds, for well over a hundred languages, what people there call countries, languages,
currencies, cities and units, and how they write lists, dates, amounts and shares (Unicode CLDR,
https://cldr.unicode.org). From it come

* `lines`: unannotated text of one language, for pre-training. Nothing in it is labelled and no line
  is paired with a line of another language. Like an encyclopedia it says similar things in every
  language (a currency and its years, the shares of a country's languages), each time in that
  language's own words, order, endings and formats.
* `phrases`: labelled phrases for the tasks, without limit, deterministic in the seed. Names and
  numbers are divided between training, validation and test once for all languages, so that no
  name of a test phrase was ever labelled in training, in any language.

Phrases are *matched*: in every language and split each kind of name is drawn with the same
distribution of lengths and word counts, so a label cannot be read off the shape of a name.
"""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import time
from functools import cache, lru_cache
from itertools import accumulate
from typing import Literal

import pandas as pd
from babel import Locale, localedata
from babel.core import get_global
from babel.dates import format_time
from babel.localedata import LocaleDataDict
from babel.numbers import format_decimal, format_percent

from xltlib.errors import unknown
from xltlib.languages import language

KINDS = ("territory", "language", "city", "unit")
SPLITS = ("train", "validation", "test")
_MOST = 80  # names of a kind; a model this small cannot come to know many more
_SIZES = {"territory": 257, "language": 180, "currency": 290, "city": 400, "unit": 186}
_SHARES = {"train": 0.38, "validation": 0.22, "test": 0.40}

_BIDI = dict.fromkeys(
    map(ord, "\u200e\u200f\u061c\u202a\u202b\u202c\u2066\u2067\u2068\u2069\u00ad")
)
_UNFIT = re.compile(r"[()\[\],;:/0-9%.…·*]|\s[–-]\s")
_RETIRED_CITY = re.compile(r"/(East-|Knox$|Beulah$|Center$|Lord_Howe$|Troll$|Vostok$)")


def clean(text: str) -> str:
    """Text in NFC, without marks of writing direction, every space an ordinary one.

    >>> clean("\\u200e5\\u00a0km")
    '5 km'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_BIDI)
    return " ".join(text.split())


def _position(kind: str, key: str) -> float:
    """A number in 0..1 that depends on nothing but the words given."""
    digest = hashlib.sha256(f"{kind}/{key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


@lru_cache(maxsize=2**16)
def _split_of(kind: str, key: str) -> str:
    """The split that a name or number belongs to, the same in every language and run."""
    bounds = list(accumulate(_SHARES[name] for name in SPLITS))
    return SPLITS[min(bisect(bounds, _position(kind, key)), len(SPLITS) - 1)]


@lru_cache(maxsize=256)
def _locale(code: str) -> Locale:
    """The CLDR locale of a language in any code form; an error where CLDR has none of use."""
    found = language(code)
    if not found.locale:
        raise ValueError(
            f"CLDR has no data for {code!r} ({found.name}): choose a language with a CLDR locale, "
            "or bring your own text and examples"
        )
    # babel writes what it resolves in one locale into tables it shares with the next one: after
    # Urdu, Marathi's weekdays came out in Urdu. So every locale is read from a fresh table.
    localedata._cache.clear()
    loc = Locale.parse(found.locale)
    _ = loc._data
    return loc


def _texts(section: LocaleDataDict) -> Iterator[tuple[str, str]]:
    """Entries of a section of texts; babel resolves each, though only few are references."""
    for key, text in section._data.items():
        yield str(key), text if isinstance(text, str) else section[key]


@cache
def _cities() -> list[tuple[str, str]]:
    """Time zones named after a city, with the name of CLDR's own rule (UTS 35, part 4)."""
    return [
        (key, key.rsplit("/", 1)[1].replace("_", " "))
        for key in sorted(get_global("zone_territories"))
        if "/" in key and not key.startswith("Etc/") and not _RETIRED_CITY.search(key)
    ]


def _raw_names(loc: Locale) -> Iterator[tuple[str, str, str]]:
    """(kind, id, name) of everything CLDR names in this locale, as it stands."""
    data = loc._data  # babel has no public reader for cities and unit names
    for key, name in _texts(data["territories"]):
        if not key.isdigit() and key not in ("EU", "EZ", "UN", "QO", "XA", "XB", "ZZ"):
            yield "territory", key, name
    for key, name in _texts(data["languages"]):
        if len(key) == 2:  # the 180 best known; CLDR names hundreds more that nobody meets
            yield "language", key, name
    for key, name in _texts(data["currency_names"]):
        if not key.startswith("X"):
            yield "currency", key, name
    zones = data["time_zones"]
    for key, fallback in _cities():
        zone = zones[key] if key in zones else {}
        yield "city", key, zone["city"] if "city" in zone else fallback
    for key, forms in data["unit_display_names"].items():
        pattern = data["unit_patterns"].get(key, {})
        # CLDR leaves a display name out where it is the unit in '{0} kilometres'
        counted = (pattern.get("long") or pattern.get("short", {})).get("other", "")
        spelt = forms.get("long") or counted.replace("{0}", "").strip()
        if spelt:
            yield "unit", key, spelt


@lru_cache(maxsize=256)
def _own_names(code: str) -> tuple[tuple[str, str, str], ...]:
    """Usable, unambiguous names of one language: (kind, id, name)."""
    loc = _locale(code)
    latin = (language(code).script or "Latn") == "Latn"
    rows, kinds = [], defaultdict(set)
    for kind, key, raw in _raw_names(loc):
        name = clean(raw)
        untranslated = not latin and name.isascii()
        if 3 <= len(name) <= 40 and not _UNFIT.search(name) and not untranslated:
            rows.append((kind, key, name))
            kinds[name.casefold()].add(kind)
    return tuple(row for row in rows if len(kinds[row[2].casefold()]) == 1 and _kept(*row[:2]))


@lru_cache(maxsize=2**13)
def _kept(kind: str, key: str) -> bool:
    """Whether a name is in the inventory: about _MOST of each kind, the same everywhere."""
    return _position("kept", f"{kind}/{key}") < _MOST / _SIZES[kind]


@lru_cache(maxsize=16)
def names(languages: tuple[str, ...]) -> pd.DataFrame:
    """Every labelled name: columns language, kind, id, name, split.

    The split belongs to the id (Japan is a test name in all languages or in none). A name of
    validation or test that is spelt like a training name, in any of the languages, is left out.
    """
    return pd.DataFrame(_divided(languages), columns=["language", "kind", "id", "name", "split"])


def _divided(languages: Iterable[str]) -> list[tuple[str, str, str, str, str]]:
    """Rows of `names`."""
    rows = [
        (code, kind, key, name, _split_of(kind, key))
        for code in languages
        for kind, key, name in _own_names(code)
        if kind in KINDS
    ]
    for split, later in (("train", ("validation", "test")), ("validation", ("test",))):
        spelt = {row[3].casefold() for row in rows if row[4] == split}
        rows = [row for row in rows if row[4] not in later or row[3].casefold() not in spelt]
    return list({(row[0], row[3]): row for row in reversed(rows)}.values())[::-1]


def vocabulary(languages: Iterable[str]) -> dict[str, list[str]]:
    """The labelled names of each language by itself: what lexical similarity is measured on.

    `names` leaves out what the languages asked for together spell alike; here a further language
    changes nothing for the others.
    """
    return {code: [row[3] for row in _divided((code,))] for code in languages}


# ---------------------------------------------------------------- unannotated text


def join(loc: Locale, parts: Sequence[str], style: str = "standard") -> str:
    """A list as this language writes it (CLDR list patterns).

    >>> join(Locale.parse("en"), ["Oslo", "Rome", "Lima"])
    'Oslo, Rome, and Lima'
    """
    patterns = {**loc.list_patterns["standard"], **loc.list_patterns.get(style, {})}
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        return patterns["2"].format(*parts)
    text = patterns["start"].format(parts[0], parts[1])
    for part in parts[2:-1]:
        text = patterns["middle"].format(text, part)
    return patterns["end"].format(text, parts[-1])


def _decimal(loc: Locale, value: float, pattern: str | None = None) -> str:
    return clean(format_decimal(value, format=pattern, locale=loc))


def _percent(loc: Locale, value: float) -> str:
    return clean(format_percent(value / 100, locale=loc))


def _clock(loc: Locale, at: time) -> str:
    return clean(format_time(at, "HH:mm", locale=loc))


def _by_kind(code: str) -> dict[str, list[tuple[str, str]]]:
    """Kind -> (id, name) of one language; an error where there are too few to write with."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind, key, name in _own_names(code):
        found[kind].append((key, name))
    for kind in (*KINDS, "currency"):
        if len(found[kind]) < 20:
            raise ValueError(
                f"CLDR names only {len(found[kind])} of kind {kind!r} in {code!r}; "
                "the embedded data needs 20: choose another language"
            )
    return found


class _Writer:
    """Writes lines of one language: what each kind of name is met with, in that language's form."""

    def __init__(self, code: str, rng: random.Random) -> None:
        self.loc, self.rng = _locale(code), rng
        self.by_kind = _by_kind(code)
        data = self.loc._data
        self.territory, self.language, self.currency = (
            {k: clean(v) for k, v in data[field].items()}
            for field in ("territories", "languages", "currency_names")
        )
        self.cities: dict[str, list[str]] = defaultdict(list)
        for key, name in self.by_kind["city"]:
            self.cities[get_global("zone_territories")[key]].append(name)
        self.zones = [
            clean(zone["long"]["standard"])
            for zone in data["meta_zones"].values()
            if "standard" in zone.get("long", {})
        ]
        self.calendar = [
            [clean(n) for n in data[field]["stand-alone"]["wide"].values()]
            for field in ("months", "days")
        ]
        self.shares = self._shares()
        self.writers: list[tuple[float, Callable[[], str]]] = [
            (0.50, self.note),
            (0.44, self.mixed),
            (0.02, self.same_kind),
            (0.02, self.spoken),
            (0.02, self.money_of_land),
        ]
        self.formats: dict[str, Callable[[], str]] = {
            "territory": self.year,
            "language": self.share,
            "currency": self.amount,
            "city": self.clock,
            "unit": self.measure,
        }

    def _shares(self) -> dict[str, list[tuple[str, float]]]:
        """Territory -> (language, per cent who speak it), as far as both have names here."""
        return {
            t: [
                (k, v["population_percent"])
                for k, v in spoken.items()
                if k in self.language and len(k) == 2
            ]
            for t, spoken in get_global("territory_languages").items()
            if t in self.territory and len(t) == 2
        }

    def pick(self, kind: str, n: int = 1) -> list[str]:
        return [name for _, name in self.rng.sample(self.by_kind[kind], n)]

    def same_kind(self) -> str:
        """Oslo, Lima or Rome"""
        kind = self.rng.choice([*self.formats, "zone", "calendar"])
        n = self.rng.randint(2, 4)
        if kind in self.formats:
            parts = self.pick(kind, n)
        elif kind == "zone" and len(self.zones) >= n:
            parts = self.rng.sample(self.zones, n)
        else:
            parts = self.rng.sample(self.rng.choice(self.calendar), n)
        return join(self.loc, parts, self.rng.choice(["standard", "or", "unit"]))

    def note(self) -> str:
        """Oslo 14:30: a name with what it is met with."""
        # currencies are met in text but in no task: less often
        often = [1.0 if kind in KINDS else 0.3 for kind in self.formats]
        return self.formats[self.rng.choices(list(self.formats), often)[0]]()

    def mixed(self) -> str:
        """Oslo 14:30, Danish 73% and kilometres: several of them, some bare."""
        kinds = list(KINDS) if self.rng.random() < 0.7 else list(self.formats)
        kinds = self.rng.sample(kinds, self.rng.choice([2, 3, 3, 4]))
        elements = [
            self.pick(kind)[0] if self.rng.random() < 0.1 else self.formats[kind]()
            for kind in kinds
        ]
        text = _skeleton(self.loc, len(elements), self.rng, None)
        return _SLOTS.sub(lambda slot: elements[ord(slot[0]) - _SLOT], text)

    def year(self) -> str:
        """Japan 1994"""
        return f"{self.pick('territory')[0]} {10 * self.rng.randint(190, 205)}"

    def share(self) -> str:
        """Danish 73%"""
        return f"{self.pick('language')[0]} {_percent(self.loc, 5 * self.rng.randint(1, 19))}"

    def clock(self) -> str:
        """Oslo 14:30"""
        at = time(self.rng.randint(0, 23), self.rng.choice([0, 30]))
        return f"{self.pick('city')[0]} {_clock(self.loc, at)}"

    def measure(self) -> str:
        """12 kilometres"""
        key, name = self.rng.choice(self.by_kind["unit"])
        forms = self.loc._data["unit_patterns"].get(key, {}).get("long", {})
        value = self.rng.choice([2, 3, 4, 5, 6, 8, 10, 12, 20, 50, 100])
        pattern = forms.get(self.loc.plural_form(value), forms.get("other"))
        shown = _decimal(self.loc, value)
        return clean(pattern.format(shown)) if pattern else f"{shown} {name}"

    def amount(self) -> str:
        """3.50 euros"""
        key, name = self.rng.choice(self.by_kind["currency"])
        value = self.rng.choice([1, 2, 5, 7, 9, 15, 25]) + self.rng.choice([0, 0.5, 0.99])
        forms = self.loc._data["currency_names_plural"].get(key, {})
        pattern = self.loc._data["currency_unit_patterns"].get("other", "{0} {1}")
        plural = forms.get(self.loc.plural_form(value), forms.get("other", name))
        shown = _decimal(self.loc, value, "#,##0.00")
        return clean(pattern.replace("{0}", shown).replace("{1}", plural))

    def spoken(self) -> str:
        """Switzerland: German 73%, French 21% (CLDR's territory data)"""
        land = self.rng.choice(list(self.shares))
        found = self.rng.sample(self.shares[land], min(len(self.shares[land]), 3))
        if not found:
            return self.same_kind()
        shares = [f"{self.language[k]} {_percent(self.loc, p)}" for k, p in found]
        return f"{self.territory[land]}: {join(self.loc, shares, 'unit')}"

    def money_of_land(self) -> str:
        """Germany: Berlin, German Mark (1948–2002), Euro (1999–) (CLDR's currency data)"""
        land, name = self.rng.choice(self.by_kind["territory"])
        parts = []
        for key, begin, end, _tender in get_global("territory_currencies").get(land, [])[-2:]:
            if key in self.currency and begin:
                parts.append(f"{self.currency[key]} ({begin[0]}–{end[0] if end else ''})")
        if self.cities[land]:
            parts.insert(0, self.rng.choice(self.cities[land]))
        return f"{name}: {join(self.loc, parts)}" if parts else self.year()

    def line(self) -> str:
        weights = [w for w, _ in self.writers]
        return clean(self.rng.choices([f for _, f in self.writers], weights)[0]())


def lines(code: str, n: int, seed: int = 0) -> list[str]:
    """`n` lines of unannotated text of one language.

    >>> lines("eng", 1, seed=3) == lines("en", 1, seed=3)
    True
    """
    code = language(code).code
    writer = _Writer(code, random.Random(f"lines/{code}/{seed}"))
    return [writer.line() for _ in range(n)]


# ---------------------------------------------------------------- labelled phrases

BLANK = "_"
MAX_WORDS = 16  # of a phrase; longer ones are drawn again
_SLOTS = re.compile("[\ue000-\ue0ff]")
_SLOT = 0xE000  # private-use characters stand for the names until they are filled in


def _skeleton(loc: Locale, n: int, rng: random.Random, number: str | None) -> str:
    """A phrase with `n` open slots (and a number, if given), as this language writes it."""
    slots = [chr(_SLOT + i) for i in range(n)]
    if number is not None:
        at = rng.randrange(n)
        slots[at] = rng.choice([f"{number} {slots[at]}", f"{slots[at]} {number}"])
    form = rng.randrange(4)
    style = rng.choice(["standard", "or", "unit"])
    if form == 0 or n < 3:
        return clean(join(loc, slots, style))
    if form == 1:
        return clean(f"{slots[0]}: {join(loc, slots[1:], style)}")
    if form == 2:
        return clean(f"{slots[0]} ({slots[1]}), {join(loc, slots[2:], style)}")
    return clean(f"{join(loc, slots[:-1], style)} – {slots[-1]}")


@dataclass(frozen=True)
class _Element:
    """A name in a phrase: its kind, CLDR id, text, and its words `start` to `stop` (exclusive)."""

    kind: str
    id: str
    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Phrase:
    """A phrase of one language: its words (split at spaces) and the names in it, left to right."""

    language: str
    words: tuple[str, ...]
    elements: tuple[_Element, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def _place(code: str, text: str, chosen: Sequence[tuple[str, str, str]]) -> Phrase:
    """Fill a _skeleton and note which words each name took. A comma or a joined 'and' stays on."""
    words: list[str] = []
    elements = []
    for token in text.split():
        slot = _SLOTS.search(token)
        if slot is None:
            words.append(token)
            continue
        kind, key, name = chosen[ord(slot[0]) - _SLOT]
        filled = token.replace(slot[0], name).split()
        elements.append(_Element(kind, key, name, len(words), len(words) + len(filled)))
        words.extend(filled)
    return Phrase(code, tuple(words), tuple(elements))


def _shape(name: str) -> tuple[int, int]:
    """What must not give the kind away: number of words and length in steps of four letters."""
    return min(name.count(" "), 2), len(name) // 4


class _Matched:
    """Draws names of any kind, in one language and split, with the same distribution of shapes.

    `languages` are those of the experiment: names are divided between splits over all of them.
    """

    def __init__(self, languages: tuple[str, ...], code: str, split: str) -> None:
        table = names(languages)
        table = table[(table["language"] == code) & (table["split"] == split)]
        self.pools: dict[tuple[str, tuple[int, int]], list[tuple[str, str, str]]]
        self.pools = defaultdict(list)
        for kind, key, name in table[["kind", "id", "name"]].itertuples(index=False):
            self.pools[kind, _shape(name)].append((kind, key, name))
        counts = Counter(shape for _, shape in self.pools)
        common = sorted(shape for shape, n in counts.items() if n == len(KINDS))
        totals = {k: sum(len(self.pools[k, s]) for s in common) for k in KINDS}
        if not common:
            raise ValueError(
                f"{code!r}, {split}: no length at which every kind has a name; too few CLDR names. "
                "Choose another language."
            )
        weights = [min(len(self.pools[k, s]) / totals[k] for k in KINDS) for s in common]
        self.shapes, self.weights = common, list(accumulate(weights))

    def draw(self, kind: str, rng: random.Random) -> tuple[str, str, str]:
        """One name of this kind: (kind, id, name)."""
        return rng.choice(self.pools[kind, rng.choices(self.shapes, cum_weights=self.weights)[0]])


def _number(rng: random.Random, split: str) -> int:
    """A whole number of this split, its size spread evenly over three orders of magnitude."""
    while _split_of("number", str(value := int(10 ** (rng.random() * 3)))) != split:
        pass
    return value


def phrases(
    languages: Sequence[str],
    code: str,
    split: str,
    n: int,
    *,
    kinds: Literal["same", "distinct"],
    size: tuple[int, int] = (2, 2),
    blank: bool = False,
    seed: int = 0,
) -> list[Phrase]:
    """`n` labelled phrases of one language, all different.

    Of `kinds` ``"same"`` all names of a phrase are of one kind, the kinds in equal shares; of
    ``"distinct"`` every name is of another kind, and a number stands somewhere. `size` is the
    fewest and most names in a phrase. With `blank` a place is open behind each, marked by `BLANK`.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS, "use one of these")
    everyone = tuple(language(c).code for c in languages)
    code = language(code).code
    rng = random.Random(f"phrases/{code}/{split}/{kinds}/{size}/{seed}")
    matched, loc = _Matched(everyone, code, split), _locale(code)
    found: dict[str, Phrase] = {}
    for _ in range(100 * n):
        if len(found) == n:
            break
        count = rng.randint(*size)
        # the next kind only once this one is found: equal shares, or an error below
        drawn = [KINDS[len(found) % len(KINDS)]] * count if kinds == "same" else None
        chosen = [matched.draw(kind, rng) for kind in drawn or rng.sample(KINDS, count)]
        number = None if kinds == "same" else _decimal(loc, _number(rng, split))
        if len({key for _, key, _ in chosen}) == count:
            text = _skeleton(loc, count, rng, number)
            if blank:
                text = _SLOTS.sub(rf"\g<0> {BLANK}", text)
            phrase = _place(code, text, chosen)
            if len(phrase.words) <= MAX_WORDS:
                found.setdefault(phrase.text, phrase)
    if len(found) < n:
        raise ValueError(
            f"{code!r}, {split}: only {len(found)} different phrases, not {n}; ask for fewer"
        )
    return list(found.values())


def _cue(code: str, kind: str, split: str, rng: random.Random) -> str:
    """What a kind of name is met with: a year, a share, a time of day, a count.

    The numbers of a split occur in no other split.
    """
    loc = _locale(code)
    while True:
        value = rng.randrange(48) if kind == "city" else rng.randint(1, 99)
        if _split_of(f"cue-{kind}", str(value)) == split:
            break
    if kind == "territory":
        return str(1950 + value)
    if kind == "language":
        return _percent(loc, value)
    if kind == "city":
        return _clock(loc, time(value // 2, 30 * (value % 2)))
    return _decimal(loc, value)


def questions(
    code: str, split: str, found: Sequence[Phrase], *, seed: int = 0
) -> list[tuple[str, _Element]]:
    """For each phrase what to ask (a cue) and the element that it belongs to."""
    code = language(code).code
    rng = random.Random(f"questions/{code}/{split}/{seed}")
    wanted = [phrase.elements[i % len(phrase.elements)] for i, phrase in enumerate(found)]
    return [(_cue(code, element.kind, split, rng), element) for element in wanted]
