"""Text forms of the tasks: example -> input and target text, output text -> answer.

`cloze`, `choice`, `entities`, `word_tags` and `question` build what a kind of task needs. Forms
that mT5's authors published are theirs to the letter (repository google-research/multilingual-t5,
`preprocessors.py`), spaces included.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from xltlib.data import MAX_WORDS, Example
from xltlib.tasks.base import Form
from xltlib.tasks.metrics import DELIMITER, Span, spans_of

OUTSIDE, INSIDE = "O", "I"

_SPACE = "\t\n\f\r "  # what RE2 calls \s; a no-break space is not among them
_SPACES = re.compile(f"[{_SPACE}]+")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


def sentinel(i: int) -> str:
    """The i-th sentinel of T5's vocabulary: a blank to fill."""
    return f"<extra_id_{i}>"


def _tidy(text: str) -> str:
    """NFKC, without spaces around: how outputs are read where they must be one of a few."""
    return unicodedata.normalize("NFKC", text).strip()


def with_field(example: Example, field: str, value: Any) -> Example:
    """The example with one field changed."""
    return replace(example, fields={**example.fields, field: value})


def deal(
    examples: Sequence[Example],
    seed: int,
    parts: Callable[[Example], Sequence[Any]],
    put: Callable[[Example, list[Any]], Example],
) -> list[Example]:
    """The examples with what `parts` finds in them dealt out again among all, as `put` puts it."""
    values = [value for e in examples for value in parts(e)]
    random.Random(f"shuffle/{seed}").shuffle(values)
    left = iter(values)
    return [put(e, [next(left) for _ in parts(e)]) for e in examples]


# ---------------------------------------------------------------- one label a text


def choice(pattern: str, words: Mapping[str, str]) -> Form:
    """One of a few labels for a text.

    `pattern` is the input, with the example's fields in braces; `words` maps a label of the data
    set to the word that stands for it in the target.

    >>> form = choice("topic: {text}", {"sports": "sports"})
    >>> form.preprocess(Example("0", "eng", {"text": "We won.", "label": "sports"}))
    ('topic: We won.', 'sports')
    """
    return _one_of(lambda e: pattern.format_map(e.fields), words, "", _tidy)


def cloze(text: Callable[[Example], str], words: Mapping[str, str]) -> Form:
    """One of a few labels for a text, as what fills the blank (`sentinel` 0) of its input `text`.

    >>> form = cloze(lambda e: f"{e.fields['text']} {sentinel(0)}", {"alarm_set": "alarm_set"})
    >>> form.preprocess(Example("0", "eng", {"text": "wake me", "label": "alarm_set"}))
    ('wake me <extra_id_0>', '<extra_id_0> alarm_set')
    """
    blank = sentinel(0)
    return _one_of(text, words, f"{blank} ", lambda output: output.removeprefix(blank).strip())


def _one_of(
    text: Callable[[Example], str],
    words: Mapping[str, str],
    before: str,
    read: Callable[[str], str],
) -> Form:
    labels = {read(word): label for label, word in words.items()}
    return Form(
        lambda example: (text(example), before + words[example.fields["label"]]),
        lambda output, example: labels.get(read(output)),
        partial(
            deal,
            parts=lambda e: [e.fields["label"]],
            put=lambda e, values: with_field(e, "label", *values),
        ),
        labels=tuple(words.values()),
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

    return Form(preprocess, lambda output, example: output, _deal_kinds, legal, tuple(kinds), True)


def _put_kinds(example: Example, kinds: Sequence[str]) -> Example:
    """Other types for the spans; their places stay."""
    tags = example.fields["tags"]
    spans = [(a, b, kind) for (a, b, _), kind in zip(spans_of(tags), kinds, strict=True)]
    return with_field(example, "tags", tuple(bio(simplified(len(tags), spans))))


_deal_kinds = partial(
    deal, parts=lambda e: [kind for *_, kind in spans_of(e.fields["tags"])], put=_put_kinds
)


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
    shown; they count as wrong. (arXiv 2203.08378) `prefix` names the task in the input; `labels`
    are types, if the data's tags are BIO tags of `spans`, or tags of single words.
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


_deal_tags = partial(
    deal,
    parts=lambda e: e.fields["tags"],
    put=lambda e, tags: with_field(e, "tags", tuple(tags)),
)


# ---------------------------------------------------------------- questions


def _pad_punctuation(text: str) -> str:
    """Spaces around everything but letters, marks, numbers, `_` and white space.

    >>> _pad_punctuation("François, in 1882?")
    'François , in 1882 ? '
    """
    padded = "".join(
        c if c == "_" or c in _SPACE or unicodedata.category(c)[0] in "LMN" else f" {c} "
        for c in text
    )
    return _SPACES.sub(" ", padded)


def padded_answers(example: Example) -> list[str]:
    """The right answers as mT5's metric sees them: padded as the input is."""
    return [_pad_punctuation(a) for a in example.fields["answers"]]


def _question_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> _question_preprocess(Example("0", "eng", {"question": "Where?", "context": "In Oslo.",
    ...     "answers": ["Oslo"]}))
    ('question: Where ? context: In Oslo . ', 'Oslo')
    """
    asked, context = (_pad_punctuation(example.fields[f]) for f in ("question", "context"))
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
        _question_preprocess,
        lambda output, example: output,
        _question_shuffle,
        _question_legal,
        copies=True,
    )
