"""The floor under every transfer score: what spelling alone gives, without any model of language.

Languages that share words and letters let even a linear classifier on character n-grams transfer.
A model shows cross-lingual knowledge only above this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from xltlib.data.cldr import BLANK
from xltlib.tasks.base import Example, Task
from xltlib.tasks.embedded import (
    LABELS,
    entity_type_preprocess,
    number_tags,
    sentinel,
    tags_of,
)

Answer = Callable[[Sequence[Example]], list[str]]


def _classifier(seed: int) -> Pipeline:
    """Logistic regression on TF-IDF weights of character 1- to 4-grams within words."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return make_pipeline(grams, LogisticRegression(C=10.0, max_iter=300, random_state=seed))


def entity_type_floor(train: Sequence[Example], seed: int = 0) -> Answer:
    """Classifier of whole phrases."""
    targets = [entity_type_preprocess(e)[1] for e in train]

    def text(example: Example) -> str:
        return str(example.fields["text"]).replace(BLANK, "")

    model = _classifier(seed).fit([text(e) for e in train], targets)
    return lambda examples: list(model.predict([text(e) for e in examples]))


def choice_floor(train: Sequence[Example], seed: int = 0) -> Answer:
    """Classifier of whole texts, for any task with a text and a label."""
    model = _classifier(seed)
    model.fit([e.fields["text"] for e in train], [e.fields["label"] for e in train])
    return lambda examples: list(model.predict([e.fields["text"] for e in examples]))


def words_floor(train: Sequence[Example], seed: int = 0) -> Answer:
    """Tagger of single words from the word and its neighbours, tags simplified inside spans."""
    from xltlib.tasks.forms import numbered, simplified

    def contexts(example: Example) -> list[str]:
        words = ["", *example.fields["words"], ""]
        return [f"{words[i]} <{words[i - 1]} {words[i + 1]}>" for i in range(1, len(words) - 1)]

    model = _classifier(seed)
    model.fit(
        [c for e in train for c in contexts(e)],
        [tag for e in train for tag in simplified(e.fields["tags"])],
    )
    return lambda examples: [numbered(list(model.predict(contexts(e)))) for e in examples]


def ner_floor(train: Sequence[Example], seed: int = 0) -> Answer:
    """Tagger of single words from the word and its neighbours."""

    def contexts(example: Example) -> list[str]:
        words = ["", *example.fields["words"], ""]
        return [
            f"{words[i]} <{words[i - 1][-2:]} {words[i + 1][:2]}>" for i in range(1, len(words) - 1)
        ]

    pairs = [
        pair
        for e in train
        for pair in zip(
            contexts(e), tags_of(len(e.fields["words"]), e.fields["spans"]), strict=True
        )
    ]
    model = _classifier(seed).fit([c for c, _ in pairs], [t for _, t in pairs])
    return lambda examples: [number_tags(model.predict(contexts(e))) for e in examples]


def qa_floor(train: Sequence[Example], seed: int = 0) -> Answer:
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


FLOORS: dict[str, Callable[..., Answer]] = {
    "entity_type": entity_type_floor,
    "ner": ner_floor,
    "qa": qa_floor,
}


def floor_of(task: Task) -> Callable[..., Answer]:
    """The floor of a task: its own, or that of tasks of its kind."""
    if task.name in FLOORS:
        return FLOORS[task.name]
    return words_floor if "span_f1" in task.metrics else choice_floor
