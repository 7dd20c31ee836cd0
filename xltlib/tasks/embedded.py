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
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from xltlib.data import cldr
from xltlib.tasks.base import Example, Task

LABELS = {kind: kind.upper() for kind in cldr.KINDS}
INSIDE, OUTSIDE = "INSIDE", "OUTSIDE"
MAX_WORDS = cldr.MAX_WORDS

_SENTINEL = re.compile(r"<extra_id_(\d+)>")


def sentinel(i: int) -> str:
    """The i-th sentinel of T5's vocabulary."""
    return f"<extra_id_{i}>"


def number_words(words: Sequence[str]) -> str:
    """Words, each with a blank behind it.

    >>> number_words(["Sri", "Lanka"])
    'Sri <extra_id_0> Lanka <extra_id_1>'
    """
    return " ".join(f"{word} {sentinel(i)}" for i, word in enumerate(words))


def number_tags(tags: Sequence[str]) -> str:
    """What fills the blanks.

    >>> number_tags(["CITY", "OUTSIDE"])
    '<extra_id_0> CITY <extra_id_1> OUTSIDE'
    """
    return " ".join(f"{sentinel(i)} {tag}" for i, tag in enumerate(tags))


def names_of(phrase: cldr.Phrase) -> list[str]:
    """The names a phrase is made of, the same in every language: test items share them."""
    return [f"{e.kind}/{e.id}" for e in phrase.elements]


# ---------------------------------------------------------------- kind


def entity_type_source(
    languages: Sequence[str], code: str, split: cldr.Split, n: int, seed: int = 0
) -> list[Example]:
    """Four names of one kind, joined as the language joins them, a blank behind each."""
    found = cldr.phrases(
        languages, code, split, n, kinds="same", size=(4, 4), blank=True, seed=seed
    )
    return [
        Example(
            f"{p.language}-{split}-{i}",
            p.language,
            {"text": p.text, "label": p.elements[0].kind, "names": names_of(p)},
        )
        for i, p in enumerate(found)
    ]


def entity_type_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> entity_type_preprocess(Example("0", "eng", {"text": "Oslo _ and Lima _", "label": "city"}))
    ('Oslo <extra_id_0> and Lima <extra_id_0>', '<extra_id_0> CITY')
    """
    return (
        example.fields["text"].replace(cldr.BLANK, sentinel(0)),
        f"{sentinel(0)} {LABELS[example.fields['label']]}",
    )


def entity_type_postprocess(output: str, example: Example) -> str | None:
    """The label named by the output, or None.

    >>> entity_type_postprocess("<extra_id_0> CITY", Example("0", "eng", {}))
    'city'
    """
    said = output.removeprefix(sentinel(0)).strip()
    return {label: kind for kind, label in LABELS.items()}.get(said)


def _dealt(examples: Sequence[Example], field: str, seed: int) -> list[Example]:
    """The examples with one field dealt out anew among them."""
    values = [e.fields[field] for e in examples]
    random.Random(f"shuffle/{seed}").shuffle(values)
    return [
        replace(e, fields={**e.fields, field: value})
        for e, value in zip(examples, values, strict=True)
    ]


def entity_type_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """Labels dealt out anew among the phrases."""
    return _dealt(examples, "label", seed)


def accuracy(answer: str | None, example: Example) -> tuple[float, float]:
    """1 where the label is right."""
    return float(answer == example.fields["label"]), 1.0


# ---------------------------------------------------------------- spans


def ner_source(
    languages: Sequence[str], code: str, split: cldr.Split, n: int, seed: int = 0
) -> list[Example]:
    """Running phrases of three or four names of different kinds and a number."""
    found = cldr.phrases(languages, code, split, n, kinds="distinct", size=(2, 3), seed=seed)
    return [
        Example(
            f"{p.language}-{split}-{i}",
            p.language,
            {
                "words": list(p.words),
                "spans": [(e.start, e.stop, e.kind) for e in p.elements],
                "names": names_of(p),
            },
        )
        for i, p in enumerate(found)
    ]


def tags_of(n_words: int, spans: Sequence[tuple[int, int, str]]) -> list[str]:
    """One tag a word: the kind at a span's first word, INSIDE in it, OUTSIDE elsewhere.

    >>> tags_of(4, [(0, 2, "territory"), (3, 4, "city")])
    ['TERRITORY', 'INSIDE', 'OUTSIDE', 'CITY']
    """
    tags = [OUTSIDE] * n_words
    for start, stop, kind in spans:
        tags[start:stop] = [LABELS[kind]] + [INSIDE] * (stop - start - 1)
    return tags


def spans_of(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Spans said by tags; an INSIDE with nothing before it opens no span.

    >>> spans_of(["TERRITORY", "INSIDE", "OUTSIDE", "CITY"])
    [(0, 2, 'territory'), (3, 4, 'city')]
    """
    kinds = {label: kind for kind, label in LABELS.items()}
    found: list[tuple[int, int, str]] = []
    is_open = False
    for i, tag in enumerate(tags):
        if tag in kinds:
            found.append((i, i + 1, kinds[tag]))
            is_open = True
        elif tag == INSIDE and is_open:
            start, _, kind = found[-1]
            found[-1] = (start, i + 1, kind)
        else:
            is_open = False
    return found


def ner_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> ner_preprocess(Example("0", "eng", {"words": ["Oslo", "7"], "spans": [(0, 1, "city")]}))
    ('Oslo <extra_id_0> 7 <extra_id_1>', '<extra_id_0> CITY <extra_id_1> OUTSIDE')
    """
    words = example.fields["words"][:MAX_WORDS]
    tags = tags_of(len(example.fields["words"]), example.fields["spans"])
    return number_words(words), number_tags(tags[: len(words)])


def ner_postprocess(output: str, example: Example) -> list[tuple[int, int, str]] | None:
    """Spans of an output that has exactly one known tag for every word, else None."""
    parts = _SENTINEL.split(output)
    said = {int(i): tag.strip() for i, tag in zip(parts[1::2], parts[2::2], strict=True)}
    n = len(example.fields["words"])
    tags = [said.get(i, "") for i in range(n)]
    legal = {*LABELS.values(), INSIDE, OUTSIDE}
    return spans_of(tags) if set(tags) <= legal else None


def ner_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """The kinds of all spans dealt out anew among them; their places stay."""
    kinds = [kind for e in examples for _, _, kind in e.fields["spans"]]
    random.Random(f"shuffle/{seed}").shuffle(kinds)
    deal = iter(kinds)
    return [
        replace(
            e,
            fields={**e.fields, "spans": [(a, b, next(deal)) for a, b, _ in e.fields["spans"]]},
        )
        for e in examples
    ]


def span_f1(answer: list[tuple[int, int, str]] | None, example: Example) -> tuple[float, float]:
    """Micro F1 over spans: right only if place and kind are (Tjong Kim Sang & De Meulder 2003)."""
    gold, said = set(map(tuple, example.fields["spans"])), set(answer or [])
    return 2.0 * len(gold & said), float(len(gold) + len(said))


# ---------------------------------------------------------------- find


def qa_source(
    languages: Sequence[str], code: str, split: cldr.Split, n: int, seed: int = 0
) -> list[Example]:
    """A phrase with four names of different kinds; asked is what one of them is met with."""
    found = cldr.phrases(languages, code, split, n, kinds="distinct", size=(4, 4), seed=seed)
    asked = cldr.questions(code, split, found, seed=seed)
    return [
        Example(
            f"{p.language}-{split}-{i}",
            p.language,
            {
                "question": cue,
                "words": list(p.words),
                "spans": [(e.start, e.stop, e.kind) for e in p.elements],
                "names": names_of(p),
                "answer": p.elements.index(wanted),
            },
        )
        for i, (p, (cue, wanted)) in enumerate(zip(found, asked, strict=True))
    ]


def qa_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> qa_preprocess(Example("0", "eng", {"question": "14:30", "words": ["Danish", "or", "Oslo"],
    ...     "spans": [(0, 1, "language"), (2, 3, "city")], "answer": 1}))
    ('14:30: Danish <extra_id_0> or Oslo <extra_id_1>', \
'CITY <extra_id_0> LANGUAGE <extra_id_1> CITY')
    """
    fields = example.fields
    context = list(fields["words"])
    for i, (_, stop, _) in reversed(list(enumerate(fields["spans"]))):
        context.insert(stop, sentinel(i))
    kinds = [LABELS[kind] for _, _, kind in fields["spans"]]
    return (
        f"{fields['question']}: {' '.join(context)}",
        f"{kinds[fields['answer']]} {number_tags(kinds)}",
    )


def answer_text(words: Sequence[str]) -> str:
    """The words of an answer as text, without the punctuation around them.

    >>> answer_text(["(Sri", "Lanka),"])
    'Sri Lanka'
    """
    return " ".join(words).strip(string.punctuation + "،؛–«»؟ ")


def _span_text(example: Example, which: int) -> str:
    start, stop, _ = example.fields["spans"][which]
    return answer_text(example.fields["words"][start:stop])


def qa_postprocess(output: str, example: Example) -> str | None:
    """The first name said to be of the kind that is said to be asked for; None without one."""
    asked, *parts = _SENTINEL.split(output)
    said = {int(i): tag.strip() for i, tag in zip(parts[::2], parts[1::2], strict=True)}
    for i in range(len(example.fields["spans"])):
        if asked.strip() in LABELS.values() and said.get(i) == asked.strip():
            return _span_text(example, i)
    return None


def qa_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """Kinds dealt out anew among the names of each context, and answers among the questions."""
    random_ = random.Random(f"shuffle/{seed}")
    dealt = []
    for e in ner_shuffle(examples, seed):
        answer = random_.randrange(len(e.fields["spans"]))
        dealt.append(replace(e, fields={**e.fields, "answer": answer}))
    return dealt


def exact_match(answer: str | None, example: Example) -> tuple[float, float]:
    """1 where the answer is the right span's text (Rajpurkar et al. 2016)."""
    return float(answer == _span_text(example, example.fields["answer"])), 1.0


def token_f1(answer: str | None, example: Example) -> tuple[float, float]:
    """F1 over the words of answer and right answer (Rajpurkar et al. 2016)."""
    said = Counter((answer or "").split())
    gold = Counter(_span_text(example, example.fields["answer"]).split())
    return 2.0 * (said & gold).total() / max(said.total() + gold.total(), 1), 1.0


WORDS: tuple[str, ...] = (*LABELS.values(), INSIDE, OUTSIDE)

TASKS: dict[str, Task] = {
    "entity_type": Task(
        "entity_type",
        1,
        "kind of phrase (classification)",
        entity_type_source,
        entity_type_preprocess,
        entity_type_postprocess,
        {"accuracy": accuracy},
        1 / len(cldr.KINDS),
        3,
        entity_type_shuffle,
    ),
    "ner": Task(
        "ner",
        1,
        "typed spans (sequence labelling)",
        ner_source,
        ner_preprocess,
        ner_postprocess,
        {"span_f1": span_f1},
        1 / len(cldr.KINDS),  # right borders, kinds at random: generous to chance
        2 * MAX_WORDS + 1,
        ner_shuffle,
    ),
    "qa": Task(
        "qa",
        1,
        "find the like (extractive question answering)",
        qa_source,
        qa_preprocess,
        qa_postprocess,
        {"exact_match": exact_match, "token_f1": token_f1},
        1 / len(cldr.KINDS),
        11,
        qa_shuffle,
    ),
}
