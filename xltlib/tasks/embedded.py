"""The three tasks on the embedded data, in the forms of the paper's three.

=========  ===========================  =====================================================
task       mirrors                      raw -> input -> target
=========  ===========================  =====================================================
``kind``   sentence classification      ``kind: Oslo and Lima`` -> ``CITY``
``spans``  named entities               ``spans: <extra_id_0> Sri <extra_id_1> Lanka <extra_id_2> 7``
                                        -> ``<extra_id_0> TERRITORY <extra_id_1> I <extra_id_2> O``
``find``   extractive question answers  ``question: Lima context: <extra_id_0> Danish
                                        <extra_id_1> or <extra_id_2> Oslo``
                                        -> ``<extra_id_2> <extra_id_2>``
=========  ===========================  =====================================================

`spans` is the "sentinel + tag, simplified inside" form of Raman et al. 2022 (arXiv 2203.08378):
words are numbered by sentinels, the output says a tag for each, and nothing need be copied. In
`find` the question is a name, and the answer is the name in the context that is *the same kind of
thing*, said as the sentinels of its first and last word.
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
INSIDE, OUTSIDE = "I", "O"
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

    >>> number_tags(["CITY", "O"])
    '<extra_id_0> CITY <extra_id_1> O'
    """
    return " ".join(f"{sentinel(i)} {tag}" for i, tag in enumerate(tags))


# ---------------------------------------------------------------- kind


def kind_source(
    languages: Sequence[str], code: str, split: str, n: int, seed: int = 0
) -> list[Example]:
    """Three names of one kind, joined as the language joins them; label = the kind."""
    found = cldr.phrases(languages, code, split, n, kinds="same", size=(3, 3), seed=seed)
    return [
        Example(
            f"{p.language}-{split}-{i}", p.language, {"text": p.text, "label": p.elements[0].kind}
        )
        for i, p in enumerate(found)
    ]


def kind_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> kind_preprocess(Example("0", "eng", {"text": "Oslo and Lima", "label": "city"}))
    ('kind: Oslo and Lima', 'CITY')
    """
    return (
        f"{example.fields['text']} {sentinel(0)}",
        f"{sentinel(0)} {LABELS[example.fields['label']]}",
    )


def kind_postprocess(output: str, example: Example) -> str | None:
    """The label named by the output, or None.

    >>> kind_postprocess("CITY", Example("0", "eng", {}))
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


def kind_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """Labels dealt out anew among the phrases."""
    return _dealt(examples, "label", seed)


def accuracy(answer: str | None, example: Example) -> tuple[float, float]:
    """1 where the label is right."""
    return float(answer == example.fields["label"]), 1.0


# ---------------------------------------------------------------- spans


def spans_source(
    languages: Sequence[str], code: str, split: str, n: int, seed: int = 0
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
            },
        )
        for i, p in enumerate(found)
    ]


def tags_of(n_words: int, spans: Sequence[tuple[int, int, str]]) -> list[str]:
    """One tag a word: the kind at a span's first word, I inside it, O elsewhere.

    >>> tags_of(4, [(0, 2, "territory"), (3, 4, "city")])
    ['TERRITORY', 'I', 'O', 'CITY']
    """
    tags = [OUTSIDE] * n_words
    for start, stop, kind in spans:
        tags[start:stop] = [LABELS[kind]] + [INSIDE] * (stop - start - 1)
    return tags


def spans_of(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Spans said by tags; an I with nothing before it opens no span.

    >>> spans_of(["TERRITORY", "I", "O", "CITY"])
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


def spans_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> spans_preprocess(Example("0", "eng", {"words": ["Oslo", "7"], "spans": [(0, 1, "city")]}))
    ('spans: <extra_id_0> Oslo <extra_id_1> 7', '<extra_id_0> CITY <extra_id_1> O')
    """
    words = example.fields["words"][:MAX_WORDS]
    tags = tags_of(len(example.fields["words"]), example.fields["spans"])
    return number_words(words), number_tags(tags[: len(words)])


def spans_postprocess(output: str, example: Example) -> list[tuple[int, int, str]] | None:
    """Spans of an output that has exactly one known tag for every word, else None."""
    parts = _SENTINEL.split(output)
    said = {int(i): tag.strip() for i, tag in zip(parts[1::2], parts[2::2], strict=True)}
    n = len(example.fields["words"])
    tags = [said.get(i, "") for i in range(n)]
    legal = {*LABELS.values(), INSIDE, OUTSIDE}
    return spans_of(tags) if set(tags) <= legal else None


def spans_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
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


def find_source(
    languages: Sequence[str], code: str, split: str, n: int, seed: int = 0
) -> list[Example]:
    """A phrase with four names of different kinds, asked about by another name of one kind."""
    found = cldr.phrases(languages, code, split, n, kinds="distinct", size=(3, 3), seed=seed)
    asked = cldr.questions(code, split, found, seed=seed)
    return [
        Example(
            f"{p.language}-{split}-{i}",
            p.language,
            {
                "question": cue,
                "words": list(p.words),
                "answer": (wanted.start, wanted.stop),
                "kind": wanted.kind,
            },
        )
        for i, (p, (cue, wanted)) in enumerate(zip(found, asked, strict=True))
    ]


def find_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> find_preprocess(Example("0", "eng", {"question": "Lima", "words": ["Danish", "or", "Oslo"],
    ...                                      "answer": (2, 3)}))
    ('question: Lima context: <extra_id_0> Danish <extra_id_1> or <extra_id_2> Oslo', \
'<extra_id_2> <extra_id_2>')
    """
    fields = example.fields
    start, stop = fields["answer"]
    context = number_words(fields["words"][:MAX_WORDS])
    return (
        f"question: {fields['question']} context: {context}",
        f"{LABELS[fields['kind']]} {sentinel(start)} {sentinel(stop - 1)}",
    )


def find_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """Questions dealt out anew among the contexts."""
    return _dealt(examples, "question", seed)


def answer_text(words: Sequence[str]) -> str:
    """The words of an answer as text, without the punctuation around them.

    >>> answer_text(["(Sri", "Lanka),"])
    'Sri Lanka'
    """
    return " ".join(words).strip(string.punctuation + "،؛–«»؟ ")


def find_postprocess(output: str, example: Example) -> str | None:
    """The span of the context that the output names, or None."""
    said = [int(i) for i in _SENTINEL.findall(output)]
    n = min(len(example.fields["words"]), MAX_WORDS)
    if len(said) != 2 or not said[0] <= said[1] < n:
        return None
    return answer_text(example.fields["words"][said[0] : said[1] + 1])


def _gold(example: Example) -> str:
    start, stop = example.fields["answer"]
    return answer_text(example.fields["words"][start:stop])


def exact_match(answer: str | None, example: Example) -> tuple[float, float]:
    """1 where the answer is the right span's text (Rajpurkar et al. 2016)."""
    return float(answer == _gold(example)), 1.0


def token_f1(answer: str | None, example: Example) -> tuple[float, float]:
    """F1 over the words of answer and right answer (Rajpurkar et al. 2016)."""
    said, gold = Counter((answer or "").split()), Counter(_gold(example).split())
    return 2.0 * (said & gold).total() / max(said.total() + gold.total(), 1), 1.0


def _uniform_spans() -> float:
    """Chance for spans: right borders, kinds dealt out at random over one phrase's names."""
    return 1 / len(cldr.KINDS)


PROMPTS = ("kind:", "spans:", "question:", "context:")
WORDS: tuple[str, ...] = (*PROMPTS, *LABELS.values(), INSIDE, OUTSIDE)

TASKS: dict[str, Task] = {
    "kind": Task(
        "kind",
        1,
        "kind of phrase (classification)",
        kind_source,
        kind_preprocess,
        kind_postprocess,
        {"accuracy": accuracy},
        1 / len(cldr.KINDS),
        3,
        kind_shuffle,
    ),
    "spans": Task(
        "spans",
        1,
        "typed spans (sequence labelling)",
        spans_source,
        spans_preprocess,
        spans_postprocess,
        {"span_f1": span_f1},
        _uniform_spans(),
        2 * MAX_WORDS + 1,
        spans_shuffle,
    ),
    "find": Task(
        "find",
        1,
        "find the like (extractive question answering)",
        find_source,
        find_preprocess,
        find_postprocess,
        {"exact_match": exact_match, "token_f1": token_f1},
        1 / len(cldr.KINDS),
        4,
        find_shuffle,
    ),
}
