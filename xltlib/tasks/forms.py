"""Text forms of the tasks: example -> input and target text, output text -> answer.

A `Form` holds what a kind of task needs; `cloze`, `choice`, `entities`, `word_tags` and `question`
build one. Forms that mT5's authors published are theirs to the letter (repository
google-research/multilingual-t5, `preprocessors.py`), spaces included.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xltlib.data.example import MAX_WORDS, Example
from xltlib.tasks.base import Legal, Postprocess, Preprocess, Shuffle
from xltlib.tasks.metrics import Span, spans_of

_DELIMITER = " $$ "
OUTSIDE, INSIDE = "O", "I"

_SPACE = "\t\n\f\r "  # what RE2 calls \s; a no-break space is not among them
_SPACES = re.compile(f"[{_SPACE}]+")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


@dataclass(frozen=True)
class Form:
    """How one kind of task is put into text and read back: fields of `xltlib.tasks.base.Task`."""

    preprocess: Preprocess
    postprocess: Postprocess
    shuffle: Shuffle
    legal: Legal | None = None
    labels: tuple[str, ...] = ()


def sentinel(i: int) -> str:
    """The i-th sentinel of T5's vocabulary: a blank to fill."""
    return f"<extra_id_{i}>"


def _tidy(text: str) -> str:
    """NFKC, without spaces around: how outputs are read where they must be one of a few."""
    return unicodedata.normalize("NFKC", text).strip()


def with_field(example: Example, field: str, value: Any) -> Example:
    """The example with one field changed."""
    return replace(example, fields={**example.fields, field: value})


def _deal(examples: Sequence[Example], field: str, seed: int) -> list[Example]:
    """The examples with one field dealt out again among them."""
    values = shuffled([e.fields[field] for e in examples], seed)
    return [with_field(e, field, value) for e, value in zip(examples, values, strict=True)]


def shuffled(values: list[Any], seed: int) -> list[Any]:
    """The values in an order that the seed determines."""
    random.Random(f"shuffle/{seed}").shuffle(values)
    return values


# ---------------------------------------------------------------- one label a text


def choice(pattern: str, words: Mapping[str, str]) -> Form:
    """One of a few labels for a text.

    Parameters
    ----------
    pattern : str
        The input, with the example's fields in braces.
    words : mapping
        Label of the data set -> the word that stands for it in the target.

    Examples
    --------
    >>> form = choice("topic: {text}", {"sports": "sports"})
    >>> form.preprocess(Example("0", "eng", {"text": "We won.", "label": "sports"}))
    ('topic: We won.', 'sports')
    """
    labels = {_tidy(word): label for label, word in words.items()}

    def preprocess(example: Example) -> tuple[str, str]:
        return pattern.format_map(example.fields), words[example.fields["label"]]

    return Form(
        preprocess,
        lambda output, example: labels.get(_tidy(output)),
        _deal_labels,
        labels=tuple(words.values()),
    )


def cloze(text: Callable[[Example], str], words: Mapping[str, str]) -> Form:
    """One of a few labels for a text, as what fills its blank.

    Parameters
    ----------
    text : callable
        Example -> input text, with a blank (`sentinel` 0).
    words : mapping
        Label of the data set -> its word.

    Examples
    --------
    >>> form = cloze(lambda e: f"{e.fields['text']} {sentinel(0)}", {"alarm_set": "alarm_set"})
    >>> form.preprocess(Example("0", "eng", {"text": "wake me", "label": "alarm_set"}))
    ('wake me <extra_id_0>', '<extra_id_0> alarm_set')
    """
    labels = {word: label for label, word in words.items()}

    def preprocess(example: Example) -> tuple[str, str]:
        return text(example), f"{sentinel(0)} {words[example.fields['label']]}"

    return Form(
        preprocess,
        lambda output, example: labels.get(output.removeprefix(sentinel(0)).strip()),
        _deal_labels,
        labels=tuple(words.values()),
    )


def _deal_labels(examples: Sequence[Example], seed: int) -> list[Example]:
    return _deal(examples, "label", seed)


# ---------------------------------------------------------------- entities as a list


def entity_list(words: Sequence[str], tags: Sequence[str]) -> str:
    """mT5's target for named entities; an empty text where there are none, as in their code.

    >>> entity_list(["rick", "and", "morty", "are"], ["B-PER", "O", "B-PER", "O"])
    'PER: rick $$ PER: morty'
    """
    return _DELIMITER.join(f"{kind}: {' '.join(words[a:b])}" for a, b, kind in spans_of(tags))


def entities(kinds: Sequence[str]) -> Form:
    """Named entities as mT5's authors put them: ``tag: w w w`` -> ``PER: w $$ LOC: w w``.

    An output is legal if it is empty or every part names a known type.
    """

    def preprocess(example: Example) -> tuple[str, str]:
        words = example.fields["words"]
        return "tag: " + " ".join(words), entity_list(words, example.fields["tags"])

    def legal(output: str, example: Example) -> bool:
        parts = output.strip().split(_DELIMITER) if output.strip() else []
        return all(p.partition(":")[0].strip() in kinds and ":" in p for p in parts)

    return Form(preprocess, lambda output, example: output, _deal_kinds, legal, tuple(kinds))


def _deal_kinds(examples: Sequence[Example], seed: int) -> list[Example]:
    """The types of all spans dealt out again among them; their places stay."""
    spans = [spans_of(e.fields["tags"]) for e in examples]
    left = iter(shuffled([kind for own in spans for _, _, kind in own], seed))
    dealt = []
    for e, own in zip(examples, spans, strict=True):
        tags = simplified(len(e.fields["tags"]), [(a, b, next(left)) for a, b, _ in own])
        dealt.append(with_field(e, "tags", tuple(bio(tags))))
    return dealt


def named(output: str) -> list[tuple[str, str]]:
    """(type, text) of every part with a known form, colons inside the entity allowed.

    mT5's own reading (`xltlib.tasks.metrics.entity_f1`) passes over an entity with a colon.

    >>> named("ORG: Star Trek: TNG $$ nonsense")
    [('ORG', 'Star Trek: TNG')]
    """
    parts = (part.partition(":") for part in output.split(_DELIMITER))
    return [(kind.strip(), text.strip()) for kind, colon, text in parts if colon]


# ---------------------------------------------------------------- one tag a word


def numbered(words: Sequence[str]) -> str:
    """Words or tags, each behind its sentinel.

    >>> numbered(["wake", "me"])
    '<extra_id_0> wake <extra_id_1> me'
    """
    return " ".join(f"{sentinel(i)} {word}" for i, word in enumerate(words[:MAX_WORDS]))


def read_numbered(output: str) -> tuple[str, dict[int, str]]:
    """What stands before the first sentinel, and what behind each: the last, if one comes twice.

    >>> read_numbered("CITY <extra_id_0> O <extra_id_2> time")
    ('CITY', {0: 'O', 2: 'time'})
    """
    before, *parts = _SENTINEL.split(output)
    found = {int(i): tag.strip() for i, tag in zip(parts[::2], parts[1::2], strict=True)}
    return before.strip(), found


def simplified(
    n: int, spans: Sequence[Span], inside: str = INSIDE, outside: str = OUTSIDE
) -> list[str]:
    """One tag for each of n words: the type at a span's first word, `inside` in it.

    >>> simplified(3, [(1, 3, "time")])
    ['O', 'time', 'I']
    """
    tags = [outside] * n
    for start, stop, kind in spans:
        tags[start:stop] = [kind] + [inside] * (stop - start - 1)
    return tags


def bio(
    tags: Sequence[str], kinds: Collection[str] | None = None, inside: str = INSIDE
) -> list[str]:
    """BIO tags of simplified ones; an `inside` with nothing before it, or an unknown word, is O.

    >>> bio(["I", "time", "I", "O", "I"], ["time"])
    ['O', 'B-time', 'I-time', 'O', 'O']
    """
    found, kind = [], ""
    for tag in tags:
        begins = tag in kinds if kinds is not None else tag not in (inside, OUTSIDE)
        kind = tag if begins else kind if tag == inside else ""
        found.append(f"B-{kind}" if begins else f"I-{kind}" if kind else OUTSIDE)
    return found


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
        shown = simplified(len(tags), spans_of(tags)) if spans else tags
        return f"{prefix}: {numbered(example.fields['words'])}", numbered(shown)

    def tags_of(output: str, example: Example) -> list[str]:
        _, found = read_numbered(_tidy(output))
        return [found.get(i, "") for i in range(min(len(example.fields["words"]), MAX_WORDS))]

    def postprocess(output: str, example: Example) -> list[str]:
        tags = tags_of(output, example)
        return bio(tags, labels) if spans else tags

    return Form(
        preprocess,
        postprocess,
        _deal_kinds if spans else _deal_tags,
        lambda output, example: set(tags_of(output, example)) <= allowed,
        tuple(labels),
    )


def _deal_tags(examples: Sequence[Example], seed: int) -> list[Example]:
    """All tags dealt out again among all words."""
    left = iter(shuffled([tag for e in examples for tag in e.fields["tags"]], seed))
    return [with_field(e, "tags", tuple(next(left) for _ in e.fields["tags"])) for e in examples]


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


def _question_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> _question_preprocess(Example("0", "eng", {"question": "Where?", "context": "In Oslo.",
    ...     "answers": ["Oslo"]}))
    ('question: Where ? context: In Oslo . ', 'Oslo')
    """
    asked, context = (pad_punctuation(example.fields[f]) for f in ("question", "context"))
    joined = _SPACES.sub(" ", f"question: {asked} context: {context}")
    return joined, next(iter(padded_answers(example)), "")


def _question_legal(output: str, example: Example) -> bool:
    """Whether the output stands in the context, up to NFKC, case and spaces around punctuation."""

    def squeezed(text: str) -> str:
        return "".join(unicodedata.normalize("NFKC", text).casefold().split())

    text = squeezed(output)
    return text in squeezed(example.fields["context"]) if text else not example.fields["answers"]


def _question_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """A stretch of the context as long as the answer, anywhere, in the place of the answer."""
    rng, dealt = random.Random(f"shuffle/{seed}"), []
    for e in examples:
        context, length = e.fields["context"], len(next(iter(e.fields["answers"]), ""))
        start = rng.randrange(max(len(context) - length, 0) + 1)
        dealt.append(with_field(e, "answers", (context[start : start + length],)))
    return dealt


def question() -> Form:
    """Extractive question answering as mT5's authors put it: question and context -> answer."""
    return Form(
        _question_preprocess, lambda output, example: output, _question_shuffle, _question_legal
    )
