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

from xltlib.data.cldr import BLANK
from xltlib.data.example import Example
from xltlib.tasks.base import Task
from xltlib.tasks.embedded import LABELS, TASKS, tags_of
from xltlib.tasks.forms import numbered, sentinel, simplified
from xltlib.tasks.metrics import spans_of

_Answer = Callable[[Sequence[Example]], list[str]]
_Baseline = Callable[[Sequence[Example], int], _Answer]  # of training examples and a seed


def baseline_of(task: Task) -> _Baseline:
    """The baseline of a task: its own, or that of tasks of its kind."""
    if task.name in _OWN:
        return _OWN[task.name]
    return _words if "span_f1" in task.metrics else _choice


def _classifier(seed: int) -> Pipeline:
    """Logistic regression on TF-IDF weights of character 1- to 4-grams within words."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return make_pipeline(grams, LogisticRegression(C=10.0, max_iter=300, random_state=seed))


def _classified(
    text: Callable[[Example], str],
    label: Callable[[Example], str],
    train: Sequence[Example],
    seed: int,
) -> _Answer:
    """Classifier of whole texts."""
    model = _classifier(seed).fit([text(e) for e in train], [label(e) for e in train])
    return lambda examples: list(model.predict([text(e) for e in examples]))


def _tagged(
    beside: Callable[[str, str], str],
    tags: Callable[[Example], Sequence[str]],
    write: Callable[[list[str]], str],
    train: Sequence[Example],
    seed: int,
) -> _Answer:
    """Tagger of single words from the word and its neighbours."""

    def contexts(example: Example) -> list[str]:
        words = ["", *example.fields["words"], ""]
        around = zip(words, words[1:], words[2:], strict=False)
        return [f"{word} <{beside(left, right)}>" for left, word, right in around]

    model = _classifier(seed)
    model.fit([c for e in train for c in contexts(e)], [tag for e in train for tag in tags(e)])
    return lambda examples: [write(list(model.predict(contexts(e)))) for e in examples]


_choice = partial(_classified, lambda e: e.fields["text"], lambda e: e.fields["label"])
_entity_type = partial(
    _classified,
    lambda e: str(e.fields["text"]).replace(BLANK, ""),
    lambda e: TASKS["entity_type"].preprocess(e)[1],
)
_words = partial(
    _tagged,
    lambda left, right: f"{left} {right}",
    lambda e: simplified(len(e.fields["tags"]), spans_of(e.fields["tags"])),
    numbered,
)
_ner = partial(
    _tagged,
    lambda left, right: f"{left[-2:]} {right[:2]}",
    lambda e: tags_of(len(e.fields["words"]), e.fields["spans"]),
    numbered,
)


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


_OWN: dict[str, _Baseline] = {"entity_type": _entity_type, "ner": _ner, "qa": _qa}
