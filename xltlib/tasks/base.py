"""What a task is: example -> text, text -> answer, answer -> score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xltlib.data import Example


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
