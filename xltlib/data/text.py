"""Running text of separate languages, for pre-training: utterances without labels.

MASSIVE's training utterances, all of them in every language, each in a line of its own: the texts
are comparable, but nothing is aligned, unless translations are asked for side by side. In one
style, lower case without punctuation, as most of MASSIVE is written: a small model should not spend
its few minutes on capitals. `without` drops what a test item also has.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from xltlib.data import datasets
from xltlib.languages import language

_OWN_WORDS = 4  # words from which a text is nobody else's
_RUN = 5  # words in a row that no line shares with a test item


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


def _key(asked: str) -> str:
    """ISO 639-3, without a script."""
    return language(asked).key.split("_")[0]


_CLONE = "Zzzz"  # ISO 15924's "unknown script": a language in letters of our own
_OWN_LETTERS = 0xF0000  # a plane of private use


def original(asked: str) -> str:
    """The language that a clone is one of; any other language as it is.

    >>> original("eng_Zzzz"), original("swe")
    ('eng', 'swe')
    """
    return asked.removesuffix(f"_{_CLONE}")


def _clone(text: str) -> str:
    """The same text in letters of its own: no piece of a vocabulary is shared, all else is.

    The "fake English" of Dufter and Schütze (2020, 2020.emnlp-main.358), made of letters, so that
    whatever reads text needs to know nothing of it.
    """
    return "".join(c if c.isspace() else chr(_OWN_LETTERS + ord(c) % 0xFFF0) for c in text)


def written(text: str, code: str) -> str:
    """The text as the language `code` is written: a clone's in its own letters."""
    return _clone(text) if code.endswith(f"_{_CLONE}") else text


def utterances(asked: str) -> list[str]:
    """Training utterances of a language, each different one once."""
    code, examples = _key(asked), datasets.load("massive_intent", asked, "train").examples
    return list(dict.fromkeys(plain(e.fields["text"], code) for e in examples))


# ---------------------------------------------------------------- leaks


def _grams(text: str, n: int) -> set[tuple[str, ...]]:
    """Runs of n words; the whole text where it has fewer.

    >>> sorted(_grams("a b c", 2)), _grams("a b", 5)
    ([('a', 'b'), ('b', 'c')], {('a', 'b')})
    """
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def without(lines: Iterable[str], tests: Iterable[str], code: str = "") -> list[str]:
    """The lines that hold no run of five words of a test item, nor the whole of a shorter one.

    A test item of fewer than `_OWN_WORDS` words ("thank you") is dropped only where it is the line.

    `lines` are in the plain style, `tests` as the data set has them. Five, since a sentence of
    another origin seldom has five words in common.
    """
    held = {g for t in tests for g in _grams(plain(t, code), _RUN)}
    sizes = [k for k in {len(g) for g in held} if k >= _OWN_WORDS]
    return [
        line
        for line in lines
        if tuple(line.split()) not in held and not any(_grams(line, k) & held for k in sizes)
    ]


def read(codes: Sequence[str], tasks: Sequence[str], paired: bool = False) -> dict[str, list[str]]:
    """What a model that knows the languages `codes` reads of each.

    No line shares five words in a row with a validation or test item of `tasks`. With `paired`
    utterances stand beside their translations in one line: a signal mT5 never had.
    """
    root, found = os.environ.get("XLT_DATA"), {}
    for code in codes:
        own, others = original(code), tuple(original(c) for c in codes if c != code)
        lines = _free_lines(own, tuple(tasks), others if paired else (), root)
        found[code] = [written(line, code) for line in lines]
    return found


@lru_cache(maxsize=32)
def _free_lines(
    code: str, tasks: tuple[str, ...], beside: tuple[str, ...], root: str | None
) -> tuple[str, ...]:
    """Utterances without what test items have, with translations `beside` them where asked for.

    `root` is only for the cache.
    """
    found = _pairs(code, beside) if beside else utterances(code)
    return tuple(without(found, held_out(tasks, code), code=code))


def forget() -> None:
    """Read files again that were read in this process: they may have changed."""
    datasets.forget()
    _free_lines.cache_clear()


def _pairs(asked: str, others: Sequence[str]) -> list[str]:
    """Training utterances, each with its translation into one of the other languages behind it."""
    of = {
        c: {e.id: e for e in datasets.load("massive_intent", c, "train").examples} for c in others
    }
    found = []
    for example in datasets.load("massive_intent", asked, "train").examples:
        spot = hashlib.sha256(f"pair/{_key(asked)}/{example.id}".encode()).hexdigest()
        other = others[int(spot[:8], 16) % len(others)]
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
