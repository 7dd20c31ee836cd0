"""The floor under every transfer score: what spelling alone gives, without any model of language.

Languages that share words and letters let even a linear classifier on character n-grams transfer.
A model shows cross-lingual knowledge only above this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from xltlib.data.cldr import BLANK, KINDS
from xltlib.tasks.base import Example
from xltlib.tasks.embedded import (
    LABELS,
    find_preprocess,
    kind_preprocess,
    number_tags,
    sentinel,
    tags_of,
)

Answer = Callable[[Sequence[Example]], list[str]]


def _classifier(seed: int) -> Pipeline:
    """Logistic regression on TF-IDF weights of character 1- to 4-grams within words."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return make_pipeline(grams, LogisticRegression(C=10.0, max_iter=300, random_state=seed))


def kind_floor(train: Sequence[Example], seed: int = 0) -> Answer:
    """Classifier of whole phrases."""
    targets = [kind_preprocess(e)[1] for e in train]

    def text(example: Example) -> str:
        return str(example.fields["text"]).replace(BLANK, "")

    model = _classifier(seed).fit([text(e) for e in train], targets)
    return lambda examples: list(model.predict([text(e) for e in examples]))


def spans_floor(train: Sequence[Example], seed: int = 0) -> Answer:
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


def find_floor(train: Sequence[Example], seed: int = 0) -> Answer:
    """Answer with the name spelt most like the question (nothing is learned)."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3))
    grams.fit([find_preprocess(e)[0] for e in train])

    def answer(example: Example) -> str:
        words = [" ".join(example.fields["words"][a:b]) for a, b, _ in example.fields["spans"]]
        likeness = grams.transform(words) @ grams.transform([example.fields["question"]]).T
        best = LABELS[KINDS[0]]  # any label will do: the answer is the name that carries it
        return f"{best} {sentinel(int(likeness.toarray().argmax()))} {best}"

    return lambda examples: [answer(e) for e in examples]


FLOORS: dict[str, Callable[..., Answer]] = {
    "kind": kind_floor,
    "spans": spans_floor,
    "find": find_floor,
}
