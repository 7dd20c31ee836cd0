"""The baseline of every transfer score: what spelling alone gives, without any language model.

Languages that share words and letters let even a linear classifier on character n-grams transfer.
A model shows cross-lingual knowledge only above this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from xltlib.data.example import Example
from xltlib.tasks.base import Task
from xltlib.tasks.embedded import LABELS
from xltlib.tasks.forms import numbered, sentinel
from xltlib.train.probe import Reading, reading_of

_Answer = Callable[[Sequence[Example]], list[str]]
_Baseline = Callable[[Sequence[Example], int], _Answer]  # of training examples and a seed


def baseline_of(task: Task) -> _Baseline:
    """The baseline of a task: a classifier of whole texts, or a tagger of words.

    Raises
    ------
    ValueError
        A task of questions on a text.
    """
    if task.name == "qa":
        return _qa
    reading = reading_of(task)
    if reading.unit == "pair":
        raise ValueError(f"{task.name} has no baseline of n-grams: leave it out of controls.ngram")
    return partial(_classified if reading.unit == "text" else _tagged, task, reading)


def _classifier(seed: int) -> Pipeline:
    """Logistic regression on TF-IDF weights of character 1- to 4-grams within words."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return make_pipeline(grams, LogisticRegression(C=10.0, max_iter=300, random_state=seed))


def _classified(task: Task, reading: Reading, train: Sequence[Example], seed: int) -> _Answer:
    """Classifier of whole texts."""
    model = _classifier(seed)
    model.fit([reading.item(e) for e in train], [reading.labels(e)[0] for e in train])

    def answers(examples: Sequence[Example]) -> list[str]:
        found = zip(examples, model.predict([reading.item(e) for e in examples]), strict=True)
        return [k if k in task.labels else reading.write(e, [k]) for e, k in found]

    return answers


def _tagged(task: Task, reading: Reading, train: Sequence[Example], seed: int) -> _Answer:
    """Tagger of single words from the word and its neighbours."""
    near = 2 if task.name == "ner" else 99  # of their letters

    def contexts(example: Example) -> list[str]:
        words = ["", *example.fields["words"], ""]
        around = zip(words, words[1:], words[2:], strict=False)
        return [f"{word} <{left[-near:]} {right[:near]}>" for left, word, right in around]

    def written(example: Example) -> str:
        tags = list(model.predict(contexts(example)))
        return reading.write(example, tags) if "place_f1" in task.metrics else numbered(tags)

    model = _classifier(seed)
    tags = [tag for e in train for tag in reading.labels(e)]
    model.fit([c for e in train for c in contexts(e)], tags)
    return lambda examples: [written(e) for e in examples]


def _qa(train: Sequence[Example], seed: int) -> _Answer:
    """Two classifiers: what kind the question asks for, and what kind each name is."""

    def texts(example: Example) -> list[str]:
        words = example.fields["words"]
        return [" ".join(words[a:b]) for a, b, _ in example.fields["spans"]]

    kinds = [[kind for _, _, kind in e.fields["spans"]] for e in train]
    asked = _classifier(seed).fit(
        [e.fields["question"] for e in train],
        [own[e.fields["answer"]] for e, own in zip(train, kinds, strict=True)],
    )
    named = _classifier(seed).fit([t for e in train for t in texts(e)], sum(kinds, []))

    def answer(example: Example, kind: str) -> str:
        likely = named.predict_proba(texts(example))[:, list(named.classes_).index(kind)]
        label = LABELS[kind]  # the answer is the one name that carries the label asked for
        return f"{label} {sentinel(int(likely.argmax()))} {label}"

    def answers(examples: Sequence[Example]) -> list[str]:
        wanted = asked.predict([e.fields["question"] for e in examples])
        return [answer(e, str(kind)) for e, kind in zip(examples, wanted, strict=True)]

    return answers
