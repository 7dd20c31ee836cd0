"""Text forms of the public tasks: example -> input and target text, output text -> answer.

A `Form` holds the four functions that a kind of task needs; `choice`, `entities`, `word_tags` and
`question` build one. Forms that mT5's authors published are theirs to the letter (repository
google-research/multilingual-t5, `preprocessors.py`), spaces included.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xltlib.data.example import MAX_WORDS, Example
from xltlib.tasks.base import Postprocess, Preprocess, Shuffle
from xltlib.tasks.metrics import spans_of

Fields = Mapping[str, Any]
Legal = Callable[[str, Example], bool]

DELIMITER = " $$ "
OUTSIDE, INSIDE = "O", "I"

_SPACE = "\t\n\f\r "  # what RE2 calls \s; a no-break space is not among them
_SPACES = re.compile(f"[{_SPACE}]+")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


@dataclass(frozen=True)
class Form:
    """How one kind of task is put into text and read back.

    Attributes
    ----------
    preprocess
        Example -> (input text, target text).
    postprocess
        (output text, example) -> answer for the metrics.
    legal
        (output text, example) -> whether the output is one that the task allows.
    shuffle
        (examples, seed) -> the same inputs with labels that mean nothing.
    labels
        Every label word that an output may hold; empty where any text may be said.
    """

    preprocess: Preprocess
    postprocess: Postprocess
    legal: Legal
    shuffle: Shuffle
    labels: tuple[str, ...] = ()


def tidy(text: str) -> str:
    """NFKC, without spaces around: how outputs are read where they must be one of a few."""
    return unicodedata.normalize("NFKC", text).strip()


def deal(examples: Sequence[Example], field: str, seed: int) -> list[Example]:
    """The examples with one field dealt out anew among them."""
    values = [e.fields[field] for e in examples]
    random.Random(f"shuffle/{seed}").shuffle(values)
    return [_with(e, field, value) for e, value in zip(examples, values, strict=True)]


def _with(example: Example, field: str, value: Any) -> Example:
    return replace(example, fields={**example.fields, field: value})


# ---------------------------------------------------------------- one label a text


def choice(pattern: str, words: Mapping[str, str]) -> Form:
    """One of a few labels for a text.

    Parameters
    ----------
    pattern : str
        The input, with the example's fields in braces.
    words : mapping
        Label of the data set -> the word that stands for it in the target.
    """
    labels = {tidy(word): label for label, word in words.items()}

    def preprocess(example: Example) -> tuple[str, str]:
        return pattern.format_map(example.fields), words[example.fields["label"]]

    def postprocess(output: str, example: Example) -> str | None:
        return labels.get(tidy(output))

    return Form(
        preprocess,
        postprocess,
        lambda output, example: tidy(output) in labels,
        lambda examples, seed: deal(examples, "label", seed),
        tuple(words.values()),
    )


# ---------------------------------------------------------------- entities as a list


def entity_list(words: Sequence[str], tags: Sequence[str]) -> str:
    """mT5's target for named entities; an empty text where there are none, as in their code.

    >>> entity_list(["rick", "and", "morty", "are"], ["B-PER", "O", "B-PER", "O"])
    'PER: rick $$ PER: morty'
    """
    return DELIMITER.join(f"{kind}: {' '.join(words[a:b])}" for a, b, kind in spans_of(tags))


def entities(kinds: Sequence[str]) -> Form:
    """Named entities as mT5's authors put them: ``tag: w w w`` -> ``PER: w $$ LOC: w w``.

    An output is legal if it is empty or every part names a known type.
    """

    def preprocess(example: Example) -> tuple[str, str]:
        words = example.fields["words"]
        return "tag: " + " ".join(words), entity_list(words, example.fields["tags"])

    def legal(output: str, example: Example) -> bool:
        parts = output.strip().split(DELIMITER) if output.strip() else []
        return all(p.partition(":")[0].strip() in kinds and ":" in p for p in parts)

    return Form(preprocess, lambda output, example: output, legal, _deal_kinds, tuple(kinds))


def _deal_kinds(examples: Sequence[Example], seed: int) -> list[Example]:
    """The types of all spans dealt out anew among them; their places stay."""
    kinds = [kind for e in examples for _, _, kind in spans_of(e.fields["tags"])]
    random.Random(f"shuffle/{seed}").shuffle(kinds)
    left, dealt = iter(kinds), []
    for e in examples:
        tags = [OUTSIDE] * len(e.fields["tags"])
        for start, stop, _ in spans_of(e.fields["tags"]):
            kind = next(left)
            tags[start:stop] = [f"B-{kind}"] + [f"I-{kind}"] * (stop - start - 1)
        dealt.append(_with(e, "tags", tuple(tags)))
    return dealt


def named(output: str) -> list[tuple[str, str]]:
    """(type, text) of every part with a known form, colons inside the entity allowed.

    mT5's own reading (`metrics.read_entities`) passes over an entity with a colon.

    >>> named("ORG: Star Trek: TNG $$ nonsense")
    [('ORG', 'Star Trek: TNG')]
    """
    parts = (part.partition(":") for part in output.split(DELIMITER))
    return [(kind.strip(), text.strip()) for kind, colon, text in parts if colon]


# ---------------------------------------------------------------- one tag a word


def numbered(words: Sequence[str]) -> str:
    """Words or tags, each behind its sentinel.

    >>> numbered(["wake", "me"])
    '<extra_id_0> wake <extra_id_1> me'
    """
    return " ".join(f"<extra_id_{i}> {word}" for i, word in enumerate(words[:MAX_WORDS]))


def read_numbered(output: str, n: int) -> list[str]:
    """What stands behind each of the first n sentinels; empty where nothing does.

    >>> read_numbered("<extra_id_0> O <extra_id_2> time", 3)
    ['O', '', 'time']
    """
    parts = _SENTINEL.split(tidy(output))
    said = {int(i): tag.strip() for i, tag in zip(parts[1::2], parts[2::2], strict=True)}
    return [said.get(i, "") for i in range(n)]


def simplified(tags: Sequence[str]) -> list[str]:
    """BIO tags without prefixes: the type at a span's first word, I in it, O elsewhere.

    >>> simplified(["O", "B-time", "I-time"])
    ['O', 'time', 'I']
    """
    said = [OUTSIDE] * len(tags)
    for start, stop, kind in spans_of(tags):
        said[start:stop] = [kind] + [INSIDE] * (stop - start - 1)
    return said


def bio(said: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """BIO tags of simplified ones; an I with nothing before it, or an unknown word, is O.

    >>> bio(["I", "time", "I", "O", "I"], ["time"])
    ['O', 'B-time', 'I-time', 'O', 'O']
    """
    tags, kind = [], ""
    for tag in said:
        kind = tag if tag in kinds else kind if tag == INSIDE else ""
        tags.append(f"B-{kind}" if tag in kinds else f"I-{kind}" if kind else OUTSIDE)
    return tags


def word_tags(prefix: str, labels: Sequence[str], spans: bool) -> Form:
    """A tag for every word: the "sentinel + tag, simplified inside" form of Raman et al. 2022.

    Words are numbered by sentinels and nothing need be copied. Words beyond the hundredth are not
    shown; they count as wrong. (arXiv 2203.08378)

    Parameters
    ----------
    prefix : str
        Names the task in the input.
    labels : sequence of str
        Span types, or tags of single words.
    spans : bool
        Whether the data's tags are BIO tags of spans.
    """
    allowed = {*labels, INSIDE, OUTSIDE} if spans else set(labels)

    def preprocess(example: Example) -> tuple[str, str]:
        tags = example.fields["tags"]
        return (
            f"{prefix}: {numbered(example.fields['words'])}",
            numbered(simplified(tags) if spans else tags),
        )

    def postprocess(output: str, example: Example) -> list[str]:
        said = read_numbered(output, min(len(example.fields["words"]), MAX_WORDS))
        return bio(said, labels) if spans else said

    def legal(output: str, example: Example) -> bool:
        n = min(len(example.fields["words"]), MAX_WORDS)
        return set(read_numbered(output, n)) <= allowed

    shuffle = _deal_kinds if spans else _deal_tags
    return Form(preprocess, postprocess, legal, shuffle, tuple(labels))


def _deal_tags(examples: Sequence[Example], seed: int) -> list[Example]:
    """All tags dealt out anew among all words."""
    tags = [tag for e in examples for tag in e.fields["tags"]]
    random.Random(f"shuffle/{seed}").shuffle(tags)
    left = iter(tags)
    return [_with(e, "tags", tuple(next(left) for _ in e.fields["tags"])) for e in examples]


# ---------------------------------------------------------------- questions


def pad_punctuation(text: str) -> str:
    """Spaces around everything but letters, marks, numbers, `_` and white space.

    >>> pad_punctuation("François, in 1882?")
    'François , in 1882 ? '
    """
    padded = "".join(
        c if c == "_" or c in _SPACE or unicodedata.category(c)[0] in "LMN" else f" {c} "
        for c in text
    )
    return _SPACES.sub(" ", padded)


def padded_answers(example: Example) -> list[str]:
    """The right answers as mT5's metric sees them: padded as the input is."""
    return [pad_punctuation(a) for a in example.fields["answers"]]


def question_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> question_preprocess(Example("0", "eng", {"question": "Where?", "context": "In Oslo.",
    ...     "answers": ["Oslo"]}))
    ('question: Where ? context: In Oslo . ', 'Oslo')
    """
    asked, context = (pad_punctuation(example.fields[f]) for f in ("question", "context"))
    joined = _SPACES.sub(" ", f"question: {asked} context: {context}")
    return joined, next(iter(padded_answers(example)), "")


def question_legal(output: str, example: Example) -> bool:
    """Whether the output stands in the context, up to NFKC, case and spaces around punctuation."""

    def squeezed(text: str) -> str:
        return "".join(unicodedata.normalize("NFKC", text).casefold().split())

    said = squeezed(output)
    return said in squeezed(example.fields["context"]) if said else not example.fields["answers"]


def question_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """A stretch of the context as long as the answer, anywhere, in the place of the answer."""
    rng, dealt = random.Random(f"shuffle/{seed}"), []
    for e in examples:
        context, length = e.fields["context"], len(next(iter(e.fields["answers"]), ""))
        start = rng.randrange(max(len(context) - length, 0) + 1)
        dealt.append(_with(e, "answers", (context[start : start + length],)))
    return dealt


def question() -> Form:
    """Extractive question answering as mT5's authors put it: question and context -> answer."""
    return Form(
        question_preprocess, lambda output, example: output, question_legal, question_shuffle
    )
