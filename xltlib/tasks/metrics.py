"""Metrics of the public tasks: each gives one example's (numerator, denominator).

A score is the ratio of their sums over examples, so accuracy, SQuAD's mean F1 and micro-averaged
span F1 are all of one kind and `xltlib.tasks.base.ratio` gives each its standard error. The rules
are those of the published scripts, exceptions included: SQuAD 1.1 (Rajpurkar et al. 2016), SQuAD
2.0 for questions without an answer (Rajpurkar et al. 2018), MLQA (Lewis et al. 2020), mT5's span F1
(Xue et al. 2021) and CoNLL's as seqeval computes it.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

from xltlib.data import Example
from xltlib.errors import unknown

Span = tuple[int, int, str]
Pair = tuple[float, float]
DELIMITER = " $$ "  # between the entities of mT5's target

# ---------------------------------------------------------------- questions


def normalize_squad(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces.

    What follows for other languages: `،`, `。` and `«` stay, and a language written without spaces
    is one token, so that its F1 is close to exact match.

    >>> normalize_squad("The  Cat's, hat")
    'cats hat'
    """
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


MLQA_ARTICLES = {
    "ar": "\\sال^|ال",  # as published: the first branch never matches, the second takes every al
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": "",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "zh": "",
}
_HAN = re.compile("[\u4e00-\u9fa5]")


@cache
def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P") or char in string.punctuation


def normalize_mlqa(text: str, code: str) -> str:
    """As SQuAD's, with any script's punctuation, the language's articles, and Han one by one.

    `code` is one of MLQA's seven two-letter codes.

    >>> normalize_mlqa("北京，the NBA", "zh")
    '北 京 the nba'
    """
    if code not in MLQA_ARTICLES:
        cure = "score other languages with SQuAD's rules (task xquad or tydiqa)"
        raise unknown("language of MLQA's metric", code, MLQA_ARTICLES, cure)
    bare = "".join(c for c in text.lower() if not _is_punctuation(c))
    if MLQA_ARTICLES[code]:
        bare = re.sub(MLQA_ARTICLES[code], " ", bare)
    if code == "zh":
        bare = _HAN.sub(lambda han: f" {han.group()} ", bare)
    return " ".join(bare.split())


def exact_match(output: str, answers: Sequence[str]) -> Pair:
    """1 where a normalised text equals one of the normalised right answers.

    A question that has no answer (SQuAD 2.0) is right when the output is empty.
    """
    return float(output in (answers or ("",))), 1.0


def token_f1(output: str, answers: Sequence[str]) -> Pair:
    """Highest F1 over white-space tokens against any right answer; both texts normalised.

    Without a common token F1 is 0, even where both are empty after normalisation (SQuAD 1.1);
    only a question that has no answer gives 1 for an empty text (SQuAD 2.0).
    """
    if not answers:
        return exact_match(output, answers)
    return max(_overlap(output.split(), answer.split()) for answer in answers), 1.0


def _overlap(output: Sequence[str], gold: Sequence[str]) -> float:
    common = (Counter(output) & Counter(gold)).total()
    return 2.0 * common / (len(output) + len(gold)) if common else 0.0


# ---------------------------------------------------------------- spans


def read_entities(text: str, colons: bool = False) -> list[tuple[str, str]]:
    """(type, text) pairs of an entity list; a part without a type is passed over.

    By mT5's rules a part with more than one colon is passed over too: an entity such as
    ``Star Trek: TNG`` counts neither in the gold text nor in the output. `colons` keeps it.

    >>> read_entities("PER: rick $$ nonsense $$ ORG: Star Trek: TNG")
    [('PER', 'rick')]
    >>> read_entities("ORG: Star Trek: TNG $$ nonsense", colons=True)
    [('ORG', 'Star Trek: TNG')]
    """
    parts = (part.split(":", 1 if colons else -1) for part in text.split(DELIMITER))
    return [(part[0].strip(), part[1].strip()) for part in parts if len(part) == 2]


def entity_f1(output: str, gold: str) -> Pair:
    """mT5's span F1 over two entity lists as text: types and texts, wherever they stand."""
    ours, theirs = Counter(read_entities(output)), Counter(read_entities(gold))
    return 2.0 * (ours & theirs).total(), float(ours.total() + theirs.total())


def spans_of(tags: Sequence[str]) -> list[Span]:
    """(first word, past the last, type) of BIO tags; a stray I- opens a span, as in CoNLL's script.

    >>> spans_of(["B-PER", "I-PER", "I-LOC", "O", "I-ORG"])
    [(0, 2, 'PER'), (2, 3, 'LOC'), (4, 5, 'ORG')]
    """
    found: list[Span] = []
    for i, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        follows = bool(found) and found[-1][1] == i and found[-1][2] == kind
        if mark == "I" and follows:
            found[-1] = (found[-1][0], i + 1, kind)
        elif mark in ("B", "I"):
            found.append((i, i + 1, kind))
    return found


def span_f1(output: Sequence[Span], gold: Sequence[Span]) -> Pair:
    """F1 of spans that are right only if place and type are (Tjong Kim Sang & De Meulder 2003)."""
    return 2.0 * len(set(output) & set(gold)), float(len(set(output)) + len(set(gold)))


def place(entities: Sequence[tuple[str, str]], words: Sequence[str]) -> list[Span]:
    """Where entities given as text stand: the first place in the words not taken yet.

    An entity that does not stand there gets a place of its own behind the text, so that it counts
    as wrong.

    >>> place([("PER", "a b"), ("PER", "a b"), ("LOC", "z")], ["a", "b", "a", "b"])
    [(0, 2, 'PER'), (2, 4, 'PER'), (4, 5, 'LOC')]
    """
    taken = [False] * len(words)
    found: list[Span] = []
    for kind, text in entities:
        wanted = text.split()
        n = len(wanted)
        starts = range(len(words) - n + 1 if n else 0)
        free = (i for i in starts if list(words[i : i + n]) == wanted and not any(taken[i : i + n]))
        start = next(free, None)
        if start is None:
            start, n = len(words) + sum(s[0] >= len(words) for s in found), 1
        else:
            taken[start : start + n] = [True] * n
        found.append((start, start + n, kind))
    return found


# ---------------------------------------------------------------- labels


def label_accuracy(answer: str | None, example: Example) -> Pair:
    """1 where the answer is the example's label."""
    return float(answer == example.fields["label"]), 1.0
