"""Running text of separate languages, for pre-training: web lines, and utterances without labels.

* `cc100`: 10,000 lines a language of CC-100 (Wenzek et al. 2020, 2020.lrec-1.494; Conneau et al.
  2020), web text of each language by itself, cut into stretches as short as an utterance.
* `utterances`: MASSIVE's training utterances without their labels. They are parallel by id, so the
  ids are dealt out: no two languages of one model ever get the same id, and nothing is aligned.
  Where an experiment asks for all of them in every language, they still come line by line.

Both come out in one style, lower case without punctuation, as most of MASSIVE is written: a model
of minutes should not spend them on capitals. `without` drops what a test item also has, and counts.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from xltlib.data import datasets, fetch
from xltlib.data.cards import CARDS, Files
from xltlib.errors import unknown
from xltlib.languages import language, name

_OWN_WORDS = 4  # words from which a text is nobody else's
_SHORTEST, _LONGEST = 3, 14  # words of a stretch, so that most of an utterance's lengths occur
# Written without spaces: four characters a word.
_BY_CHARACTER = {"jpn", "tha", "zho", "mya", "khm"}

_ADDRESS = re.compile(r"\S*(?:https?:|www\.|@)\S*")
_BREAK = re.compile(r"[.!?;:,()\[\]{}…|/«»“”\"„。、，！？；：（）।؟،؛*•▪>=]+|\s[–—-]\s")


def plain(text: str, code: str = "") -> str:
    """Lower case, no punctuation, single spaces, NFC.

    >>> plain("Wake me up, at 5 o'clock!")
    "wake me up at 5 o'clock"
    >>> plain("Işık İYİ", "tur")
    'ışık iyi'
    """
    if code in ("tur", "aze", "azj"):
        text = text.replace("I", "ı")
    text = unicodedata.normalize("NFC", text.replace("İ", "i")).lower()
    kept = (  # marks of Indic and Arabic vowels stay, as letters and numbers do
        c if c in "'’-" or unicodedata.category(c)[0] in "LMN" or c.isspace() else " " for c in text
    )
    return " ".join("".join(kept).split())


def _stretches(line: str, code: str = "") -> list[str]:
    """A line of running text, cut at punctuation into stretches of 3 to 14 words.

    >>> _stretches("He left. When the sun rose over the hill, nobody was there to see www.it.org")
    ['when the sun rose over the hill', 'nobody was there to see']
    """
    found = []
    by_character = code in _BY_CHARACTER
    for clause in _BREAK.split(_ADDRESS.sub(" ", line)):
        text = plain(clause, code)
        if by_character:
            text = text.replace(" ", "")
            units = [text[i : i + 4] for i in range(0, len(text), 4)]
        else:
            units = text.split()
        for at in range(0, len(units), _LONGEST):
            part = units[at : at + _LONGEST]
            of_letters = sum(any(map(str.isalpha, unit)) for unit in part)
            if len(part) >= _SHORTEST and of_letters > 0.7 * len(part):  # not mostly numbers
                found.append(("" if by_character else " ").join(part))
    return found


def _key(asked: str) -> str:
    """ISO 639-3, without a script."""
    return language(asked).key.split("_")[0]


def _code(files: Files, asked: str) -> str:
    """The corpus' own code of a language: of two that are one language, the first."""
    if asked in files.codes:
        return asked
    codes = {_key(c): c for c in reversed(list(files.codes))}
    key = {"nno": "nob"}.get(_key(asked), _key(asked))
    if key not in codes:
        have = [f"{k} ({name(k)})" for k in sorted(codes)]
        cure = "choose one of these, or bring your own text"
        raise unknown("language of the CC-100 sample", f"{key} ({name(asked)})", have, cure)
    return codes[key]


def cc100(asked: str) -> list[str]:
    """Stretches of a language's sample, each once, in an order that never changes.

    The order is by hash, so a share of them is a fair sample and the documents' order is gone.
    """
    files, code = CARDS["cc100"].source, _key(asked)
    assert isinstance(files, Files)
    path = fetch.file_of(files, _code(files, asked), "text")
    lines = path.read_text(encoding="utf-8").splitlines()
    found = dict.fromkeys(s for line in lines for s in _stretches(line, code))
    return sorted(found, key=_hash)


_CLONE = "Zzzz"  # ISO 15924's "unknown script": a language in letters of our own
_OWN_LETTERS = 0xF0000  # a plane of private use


def original(asked: str) -> str:
    """The language that a clone is one of; any other language as it is.

    >>> original("eng_Zzzz"), original("swe")
    ('eng', 'swe')
    """
    return asked.removesuffix(f"_{_CLONE}")


def clone(text: str) -> str:
    """The same text in letters of its own: no piece of a vocabulary is shared, all else is.

    The "fake English" of Dufter and Schütze (2020, 2020.emnlp-main.358), made of letters, so that
    whatever reads text needs to know nothing of it.
    """
    return "".join(c if c.isspace() else chr(_OWN_LETTERS + ord(c) % 0xFFF0) for c in text)


def written(text: str, code: str) -> str:
    """The text as the language `code` is written: a clone's in its own letters."""
    return clone(text) if code.endswith(f"_{_CLONE}") else text


def utterances(asked: str, part: int, parts: int) -> list[str]:
    """MASSIVE training utterances without labels: those of the ids that fall to `part` of `parts`.

    Dealt out by a hash of the id, so languages with different parts share no id.
    """
    if not 0 <= part < parts:
        raise ValueError(f"part must be 0 to {parts - 1}, got {part}")
    loaded = datasets.load("massive_intent", asked, "train")
    mine = [e for e in loaded.examples if int(_hash(f"part/{e.id}")[:8], 16) % parts == part]
    code = _key(asked)
    return list(dict.fromkeys(plain(e.fields["text"], code) for e in mine))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- leaks


def _grams(text: str, n: int) -> set[tuple[str, ...]]:
    """Runs of n words; the whole text where it has fewer.

    >>> sorted(_grams("a b c", 2)), _grams("a b", 5)
    ([('a', 'b'), ('b', 'c')], {('a', 'b')})
    """
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def without(lines: Iterable[str], tests: Iterable[str], n: int = 5, code: str = "") -> list[str]:
    """The lines that hold no run of n words of a test item, nor the whole of a shorter one.

    A test item of fewer than `_OWN_WORDS` words ("thank you") is dropped only where it is the line.

    Parameters
    ----------
    lines
        Text in the plain style.
    tests
        Texts of validation and test items, as the data set has them.
    n
        Words of a run; five, since a sentence of another origin seldom has five in common.
    """
    held = {g for t in tests for g in _grams(plain(t, code), n)}
    sizes = [k for k in {len(g) for g in held} if k >= _OWN_WORDS]
    return [
        line
        for line in lines
        if tuple(line.split()) not in held and not any(_grams(line, k) & held for k in sizes)
    ]


def read(
    codes: Sequence[str],
    tasks: Sequence[str],
    lines: int,
    repeats: int = 0,
    paired: bool = False,
    dealt: bool = True,
) -> dict[str, list[str]]:
    """What a model that knows `codes` reads of each: utterances `repeats` times, then web lines.

    Parameters
    ----------
    codes
        Languages, in order: the n-th gets the n-th share of the utterances' ids.
    tasks
        No line shares five words in a row with a validation or test item of these.
    lines
        Most web lines of a language.
    repeats
        How often the utterances are among them; 0: not at all.
    paired
        Utterances stand beside their translations in one line: a signal mT5 never had.
    dealt
        No two languages have an utterance in common; otherwise each has all, line by line.
    """
    root, found = os.environ.get("XLT_DATA"), {}
    for part, code in enumerate(codes):
        own, others = original(code), tuple(original(c) for c in codes if c != code)
        web = _web(own, tuple(tasks), lines, root)
        share = (part, len(codes)) if dealt else (0, 1)
        which = (others, 0, 0) if paired else ((), *share)
        task_text = _utterances(own, tuple(tasks), *which, root) if repeats else ()
        found[code] = [written(line, code) for line in (*(task_text * repeats), *web)]
    return found


@lru_cache(maxsize=32)
def _web(code: str, tasks: tuple[str, ...], lines: int, root: str | None) -> tuple[str, ...]:
    """Web lines without what test items have; `root` is only for the cache."""
    return tuple(without(cc100(code)[:lines], held_out(tasks, code), code=code))


@lru_cache(maxsize=32)
def _utterances(
    code: str,
    tasks: tuple[str, ...],
    beside: tuple[str, ...],
    part: int,
    parts: int,
    root: str | None,
) -> tuple[str, ...]:
    """Utterances without what test items have: with translations `beside` them, or a share."""
    found = _pairs(code, beside) if beside else utterances(code, part, parts)
    return tuple(without(found, held_out(tasks, code), code=code))


def forget() -> None:
    """Read files again that were read in this process: they may have changed."""
    datasets.forget()
    _web.cache_clear()
    _utterances.cache_clear()


def _pairs(asked: str, others: Sequence[str]) -> list[str]:
    """Training utterances, each with its translation into one of the other languages behind it."""
    of = {
        c: {e.id: e for e in datasets.load("massive_intent", c, "train").examples} for c in others
    }
    found = []
    for example in datasets.load("massive_intent", asked, "train").examples:
        spot = int(_hash(f"pair/{_key(asked)}/{example.id}")[:8], 16)
        other = others[spot % len(others)]
        if example.id in of[other]:
            both = [(example, asked), (of[other][example.id], other)]
            found.append(" ".join(plain(e.fields["text"], _key(c)) for e, c in both))
    return found


def held_out(tasks: Sequence[str], asked: str) -> list[str]:
    """Texts of the validation and test items of public tasks, where a language has them."""
    found: list[str] = []
    for task in tasks:
        view = datasets.view_of(task)
        for split in ("validation", "test"):
            try:
                examples: Sequence[Any] = datasets.load(task, asked, split).examples
            except ValueError:  # the data set has not got the language, or the split
                continue
            found += [datasets.text_of(e.fields, view) for e in examples]
    return found
