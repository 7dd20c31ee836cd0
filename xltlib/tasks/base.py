"""What a task is: example -> text, text -> answer, answer -> score; and parts of text forms."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xltlib.data import MAX_WORDS, Example
from xltlib.tasks.metrics import Span


@dataclass(frozen=True)
class Score:
    """A score in 0..1 with its standard error over `n` test examples."""

    score: float
    stderr: float
    n: int


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Score:
    """A score that is a ratio of sums over examples, with the linearised standard error.

    Accuracy has denominators of one; span F1 is 2 TP / (2 TP + FP + FN), summed over examples.
    Standard error of a ratio estimator: Cochran, Sampling Techniques, 3rd ed. (1977), eq. 6.13.
    """
    n, total = len(numerators), float(denominators.sum())
    if n == 0:
        raise ValueError(
            "no examples to score: the split is empty; choose another split or language"
        )
    if total == 0:
        return Score(0.0, 0.0, n)
    value = float(numerators.sum()) / total
    residual = numerators - value * denominators
    spread = math.sqrt(float((residual**2).sum()) * n / max(n - 1, 1)) / total
    return Score(value, spread, n)


@dataclass(frozen=True)
class Form:
    """How one kind of task is put into text and read back.

    Attributes
    ----------
    preprocess
        Example -> (input text, target text).
    postprocess
        (output text, example) -> answer for the metrics; None is no legal answer.
    shuffle
        (examples, seed) -> the same inputs with labels that mean nothing, equally frequent.
    legal
        (output text, example) -> whether the task allows this output; unless given, whether there
        is an answer. Apart from the answer, because mT5's metrics also count the good parts of an
        output that is not legal.
    labels
        The label words that an output may hold; empty where any text is allowed.
    copies
        Whether outputs hold words of the input.
    """

    preprocess: Callable[[Example], tuple[str, str]]
    postprocess: Callable[[str, Example], Any]
    shuffle: Callable[[Sequence[Example], int], list[Example]]
    legal: Callable[[str, Example], bool] | None = None
    labels: tuple[str, ...] = ()
    copies: bool = False


Metric = Callable[[Any, Example], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Task(Form):
    """A task in text-to-text form.

    Attributes
    ----------
    name, version
        The version rises whenever a score would change: it is part of every run's key.
    source
        ``source(languages, code, split, n, seed)`` gives labelled examples.
    metrics
        Name -> function of (answer, example) giving (numerator, denominator); the first is the
        main one. An illegal answer (None) must count as wrong.
    chance
        What guessing scores on the main metric.
    max_target
        Most tokens of a target text.
    """

    name: str
    version: int
    title: str
    source: Callable[..., list[Example]]
    metrics: Mapping[str, Metric]
    chance: float
    max_target: int

    @property
    def metric(self) -> str:
        """Name of the main metric."""
        return next(iter(self.metrics))

    def evaluate(self, outputs: Sequence[str], examples: Sequence[Example]) -> dict[str, Score]:
        """Score output texts: every metric by name, and the share of illegal outputs."""
        if len(outputs) != len(examples):
            raise ValueError(
                f"{len(outputs)} outputs for {len(examples)} examples of {self.name!r}"
            )
        read = list(zip(outputs, examples, strict=True))
        answers = [self.postprocess(o, e) for o, e in read]
        scores = {}
        for name, metric in self.metrics.items():
            pairs = [metric(a, e) for a, e in zip(answers, examples, strict=True)]
            top, bottom = np.array(pairs, dtype=float).reshape(-1, 2).T
            scores[name] = ratio(top, bottom)
        legal = (
            [self.legal(*one) for one in read] if self.legal else [a is not None for a in answers]
        )
        illegal = 1.0 - np.array(legal, dtype=float)
        return scores | {"illegal": ratio(illegal, np.ones(len(illegal)))}


# ---------------------------------------------------------------- parts of forms

OUTSIDE, INSIDE = "O", "I"
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


def sentinel(i: int) -> str:
    """The i-th sentinel of T5's vocabulary: a blank to fill."""
    return f"<extra_id_{i}>"


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


def one_of(
    text: Callable[[Example], str],
    words: Mapping[str, str],
    read: Callable[[str], str],
    before: str = "",
) -> Form:
    """One of a few labels for a text: its word, behind `before`; `read` tidies an output.

    `words` maps a label of the data set to the word that stands for it in the target.
    """
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


def cloze(text: Callable[[Example], str], words: Mapping[str, str]) -> Form:
    """One of a few labels for a text, as what fills the blank (`sentinel` 0) of its input `text`.

    >>> form = cloze(lambda e: f"{e.fields['text']} {sentinel(0)}", {"alarm_set": "alarm_set"})
    >>> form.preprocess(Example("0", "eng", {"text": "wake me", "label": "alarm_set"}))
    ('wake me <extra_id_0>', '<extra_id_0> alarm_set')
    """
    blank = sentinel(0)
    return one_of(text, words, lambda output: output.removeprefix(blank).strip(), f"{blank} ")


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
