"""The three tasks on the embedded data, in the forms of the paper's three.

* `entity_type` mirrors sentence classification:
  ``Oslo <extra_id_0> and Lima <extra_id_0>`` -> ``<extra_id_0> CITY``
* `ner` mirrors named entities:
  ``Sri <extra_id_0> Lanka <extra_id_1> 7 <extra_id_2>`` ->
  ``<extra_id_0> TERRITORY <extra_id_1> INSIDE <extra_id_2> OUTSIDE``
* `qa` mirrors extractive question answering:
  ``14:30: Danish <extra_id_0> or Oslo <extra_id_1>`` ->
  ``CITY <extra_id_0> LANGUAGE <extra_id_1> CITY``

All are cloze tasks: the blank behind a name is the one that pre-training filled with what the name
is met with, and fine-tuning teaches to fill it with a label. `ner` is the "sentinel + tag,
simplified inside" form of Raman et al. 2022 (arXiv 2203.08378): words are numbered by sentinels,
the output says a tag for each, and nothing need be copied. In `qa` the question is a cue (a time
of day, a share, a year, a count) and the answer is the name in the context that goes with it. The
output shows its work: what is asked for, then what each name is; the answer is the first name that
is what is asked for. (Pointing at once, by a sentinel alone, is learnt too late for a model this
small: near chance after 300 steps.)
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from typing import Any

from xltlib.data import Example, cldr
from xltlib.tasks import metrics
from xltlib.tasks.base import (
    Task,
    bio,
    cloze,
    deal,
    numbered,
    read_numbered,
    sentinel,
    simplified,
    with_field,
)

LABELS = {kind: kind.upper() for kind in cldr.KINDS}
_INSIDE, _OUTSIDE = "INSIDE", "OUTSIDE"
WORDS: tuple[str, ...] = (*LABELS.values(), _INSIDE, _OUTSIDE)
_KINDS = {label: kind for kind, label in LABELS.items()}


_Fields = Callable[[Sequence[cldr.Phrase], str, str, int], Sequence[dict[str, Any]]]


def _source(fields: _Fields, **shape: Any) -> Callable[..., list[Example]]:
    """A task's source: phrases of one shape with the fields that (phrases, code, split, seed) have.

    `names` are the same in every language, so test items share them.
    """

    def source(
        languages: Sequence[str], code: str, split: str, n: int, seed: int = 0
    ) -> list[Example]:
        found = cldr.phrases(languages, code, split, n, seed=seed, **shape)
        made = zip(found, fields(found, code, split, seed), strict=True)
        return [
            Example(
                f"{phrase.language}-{split}-{i}",
                phrase.language,
                own | {"names": [f"{e.kind}/{e.id}" for e in phrase.elements]},
            )
            for i, (phrase, own) in enumerate(made)
        ]

    return source


# ---------------------------------------------------------------- ner


def _words_and_spans(phrase: cldr.Phrase) -> dict[str, Any]:
    spans = [(e.start, e.stop, e.kind) for e in phrase.elements]
    return {"words": list(phrase.words), "spans": spans}


def tags_of(n_words: int, spans: Sequence[metrics.Span]) -> list[str]:
    """One tag a word: the kind at a span's first word, INSIDE in it, OUTSIDE elsewhere.

    >>> tags_of(4, [(0, 2, "territory"), (3, 4, "city")])
    ['TERRITORY', 'INSIDE', 'OUTSIDE', 'CITY']
    """
    return simplified(n_words, [(a, b, LABELS[kind]) for a, b, kind in spans], _INSIDE, _OUTSIDE)


def _spans_of(tags: Sequence[str]) -> list[metrics.Span]:
    """Spans of tags; an INSIDE with nothing before it opens no span.

    >>> _spans_of(["TERRITORY", "INSIDE", "OUTSIDE", "CITY"])
    [(0, 2, 'territory'), (3, 4, 'city')]
    """
    spans = metrics.spans_of(bio(tags, _KINDS, _INSIDE))
    return [(start, stop, _KINDS[label]) for start, stop, label in spans]


def _ner_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> _ner_preprocess(Example("0", "eng", {"words": ["Oslo", "7"], "spans": [(0, 1, "city")]}))
    ('Oslo <extra_id_0> 7 <extra_id_1>', '<extra_id_0> CITY <extra_id_1> OUTSIDE')
    """
    words = example.fields["words"][: cldr.MAX_WORDS]
    tags = tags_of(len(example.fields["words"]), example.fields["spans"])
    shown = " ".join(f"{word} {sentinel(i)}" for i, word in enumerate(words))
    return shown, numbered(tags[: len(words)])


def _ner_postprocess(output: str, example: Example) -> list[metrics.Span] | None:
    """Spans of an output that has exactly one known tag for every word, else None."""
    _, found = read_numbered(output)
    tags = [found.get(i, "") for i in range(len(example.fields["words"]))]
    return _spans_of(tags) if set(tags) <= set(WORDS) else None


def _ner_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """The kinds of all spans dealt out again among them; their places stay."""

    def put(e: Example, kinds: Sequence[str]) -> Example:
        spans = zip(e.fields["spans"], kinds, strict=True)
        return with_field(e, "spans", [(a, b, kind) for (a, b, _), kind in spans])

    return deal(examples, seed, lambda e: [kind for *_, kind in e.fields["spans"]], put)


def _span_f1(answer: Sequence[metrics.Span] | None, example: Example) -> metrics.Pair:
    return metrics.span_f1(answer or [], [tuple(s) for s in example.fields["spans"]])


# ---------------------------------------------------------------- qa


def _asked(found: Sequence[cldr.Phrase], code: str, split: str, seed: int) -> list[dict[str, Any]]:
    """Asked is what one of the names is met with."""
    return [
        {"question": cue, **_words_and_spans(p), "answer": p.elements.index(wanted)}
        for p, (cue, wanted) in zip(
            found, cldr.questions(code, split, found, seed=seed), strict=True
        )
    ]


def _qa_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> _qa_preprocess(Example("0", "eng", {"question": "14:30", "words": ["Danish", "or", "Oslo"],
    ...     "spans": [(0, 1, "language"), (2, 3, "city")], "answer": 1}))
    ('14:30: Danish <extra_id_0> or Oslo <extra_id_1>', \
'CITY <extra_id_0> LANGUAGE <extra_id_1> CITY')
    """
    fields = example.fields
    context = list(fields["words"])
    for i, (_, stop, _) in reversed(list(enumerate(fields["spans"]))):
        context.insert(stop, sentinel(i))
    labels = [LABELS[kind] for _, _, kind in fields["spans"]]
    shown = f"{fields['question']}: {' '.join(context)}"
    return shown, f"{labels[fields['answer']]} {numbered(labels)}"


def answer_text(words: Sequence[str]) -> str:
    """The words of an answer as text, without the punctuation around them.

    >>> answer_text(["(Sri", "Lanka),"])
    'Sri Lanka'
    """
    return " ".join(words).strip(string.punctuation + "،؛–«»؟ ")


def _span_text(example: Example, which: int) -> str:
    start, stop, _ = example.fields["spans"][which]
    return answer_text(example.fields["words"][start:stop])


def _qa_postprocess(output: str, example: Example) -> str | None:
    """The first name that the output calls what it says is asked for; None without one."""
    asked, found = read_numbered(output)
    for i in range(len(example.fields["spans"])):
        if asked in _KINDS and found.get(i) == asked:
            return _span_text(example, i)
    return None


def _qa_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """Kinds dealt out again among the names of each context, and answers among the questions."""
    rng = random.Random(f"shuffle/{seed}")
    return [
        with_field(e, "answer", rng.randrange(len(e.fields["spans"])))
        for e in _ner_shuffle(examples, seed)
    ]


def _gold(example: Example) -> list[str]:
    return [_span_text(example, example.fields["answer"])]


TASKS: dict[str, Task] = {
    "entity_type": Task(
        name="entity_type",
        version=1,
        title="kind of phrase (classification)",
        # four names of one kind, joined as the language joins them, a blank behind each
        source=_source(
            lambda found, *_: [{"text": p.text, "label": p.elements[0].kind} for p in found],
            kinds="same",
            size=(4, 4),
            blank=True,
        ),  # fmt: skip
        metrics={"accuracy": metrics.label_accuracy},
        chance=1 / len(cldr.KINDS),
        max_target=3,
        **vars(cloze(lambda e: e.fields["text"].replace(cldr.BLANK, sentinel(0)), LABELS)),
    ),
    "ner": Task(
        name="ner",
        version=1,
        title="typed spans (sequence labelling)",
        # running phrases of two or three names of different kinds and a number
        source=_source(
            lambda found, *_: [*map(_words_and_spans, found)], kinds="distinct", size=(2, 3)
        ),
        preprocess=_ner_preprocess,
        postprocess=_ner_postprocess,
        metrics={"span_f1": _span_f1},
        chance=1 / len(cldr.KINDS),  # right borders, kinds at random: generous to chance
        max_target=2 * cldr.MAX_WORDS + 1,
        shuffle=_ner_shuffle,
    ),
    "qa": Task(
        name="qa",
        version=1,
        title="the name that goes with a cue (extractive question answering)",
        source=_source(_asked, kinds="distinct", size=(4, 4)),
        preprocess=_qa_preprocess,
        postprocess=_qa_postprocess,
        metrics={
            "exact_match": lambda answer, e: metrics.exact_match(answer or "", _gold(e)),
            "token_f1": lambda answer, e: metrics.token_f1(answer or "", _gold(e)),
        },
        chance=1 / len(cldr.KINDS),
        max_target=11,
        shuffle=_qa_shuffle,
    ),
}
