"""The public tasks: what mT5's authors fine-tuned on, and public data for many more languages.

`public_task("xnli")` gives a task whose examples come from `xltlib.data.datasets`. Raw example -> input
-> target:

* ``xnli`` {premise: He left., hypothesis: He stayed., label: contradiction}
  -> ``xnli: premise: He left. hypothesis: He stayed.`` -> ``2``
* ``pawsx`` {sentence1: A b., sentence2: B a., label: paraphrase}
  -> ``paws sentence1: A b. sentence2: B a.`` -> ``paraphrase``
* ``wikiann``, ``masakhaner`` {words: [rick, and, morty], tags: [B-PER, O, B-PER]}
  -> ``tag: rick and morty`` -> ``PER: rick $$ PER: morty`` (an empty text where there is no entity)
* ``tydiqa``, ``xquad``, ``mlqa``, ``squad`` (to train on for the two before it)
  {question: Where is it?, context: It is in Oslo., answers: [Oslo]}
  -> ``question: Where is it ? context: It is in Oslo .`` -> ``Oslo``
* ``sib200`` {text: The team won., label: sports} -> ``topic: The team won.`` -> ``sports``
* ``massive_intent`` {text: wake me at five, label: alarm_set}
  -> ``intent: wake me at five`` -> ``alarm_set``
* ``massive_slots`` {words: [wake, me, at, five], tags: [O, O, O, B-time]}
  -> ``slots: <extra_id_0> wake <extra_id_1> me <extra_id_2> at <extra_id_3> five``
  -> ``<extra_id_0> O <extra_id_1> O <extra_id_2> O <extra_id_3> time``
* ``massive_qa`` {question: What is the time?, context: wake me at five, answers: [five]}
  -> ``question: What is the time ? context: wake me at five`` -> ``five``
* ``udpos`` {words: [It, rains], tags: [PRON, VERB]}
  -> ``pos: <extra_id_0> It <extra_id_1> rains`` -> ``<extra_id_0> PRON <extra_id_1> VERB``

The first three lines and the question answering are mT5's authors' forms to the letter; the others
are ours. Named entities are scored in two ways: ``span_f1`` is mT5's (types and texts, wherever
they stand, entities with a colon passed over), ``place_f1`` is seqeval's (types and places).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xltlib.data import datasets
from xltlib.data.cards import VIEWS, Card
from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.tasks import forms, metrics
from xltlib.tasks.base import Example, Metric, Score, Task, ratio
from xltlib.tasks.metrics import Pair


@dataclass(frozen=True)
class PublicTask(Task):
    """A task on public data.

    Attributes
    ----------
    legal
        (output text, example) -> whether the task allows this output. Apart from the answer,
        because mT5's metrics also count the good parts of an output that is not legal.
    labels
        The label words that an output may hold; empty where any text may be said.
    """

    legal: forms.Legal
    labels: tuple[str, ...] = ()

    @property
    def card(self) -> Card:
        """Where the data lives."""
        return datasets.card_of(self.name)

    def evaluate(self, outputs: Sequence[str], examples: Sequence[Example]) -> dict[str, Score]:
        """Score output texts: every metric by name, and the share of illegal outputs."""
        scores = super().evaluate(outputs, examples)
        pairs = zip(outputs, examples, strict=True)
        illegal = np.array([not self.legal(o, e) for o, e in pairs], dtype=float)
        return scores | {"illegal": ratio(illegal, np.ones(len(illegal)))}


# ---------------------------------------------------------------- metrics of (answer, example)


def label_accuracy(answer: str | None, example: Example) -> Pair:
    """1 where the label is right."""
    return metrics.accuracy([answer or ""], [example.fields["label"]])


def tag_accuracy(answer: Sequence[str], example: Example) -> Pair:
    """Right tags and words in all."""
    return metrics.accuracy(answer, example.fields["tags"])


def slot_f1(answer: Sequence[str], example: Example) -> Pair:
    """F1 of slots by type and place."""
    return metrics.span_f1(metrics.spans_of(answer), metrics.spans_of(example.fields["tags"]))


def entity_f1(answer: str, example: Example) -> Pair:
    """mT5's F1 of entities by type and text."""
    gold = forms.entity_list(example.fields["words"], example.fields["tags"])
    return metrics.entity_f1(answer, gold)


def place_f1(answer: str, example: Example) -> Pair:
    """F1 of entities by type and place, each put where its text first stands."""
    words, tags = example.fields["words"], example.fields["tags"]
    return metrics.span_f1(metrics.place(forms.named(answer), words), metrics.spans_of(tags))


def _squad(score: Callable[[str, Sequence[str]], Pair], answer: str, example: Example) -> Pair:
    gold = [metrics.normalize_squad(a) for a in forms.padded_answers(example)]
    return score(metrics.normalize_squad(answer), gold)


def _mlqa(score: Callable[[str, Sequence[str]], Pair], answer: str, example: Example) -> Pair:
    code = MLQA_CODES.get(example.language, example.language)
    gold = [metrics.normalize_mlqa(a, code) for a in forms.padded_answers(example)]
    return score(metrics.normalize_mlqa(answer, code), gold)


MLQA_CODES = {language(code).key: code for code in metrics.MLQA_ARTICLES}
SQUAD: dict[str, Metric] = {
    "f1": partial(_squad, metrics.token_f1),
    "exact_match": partial(_squad, metrics.exact_match),
}
MLQA: dict[str, Metric] = {
    "f1": partial(_mlqa, metrics.token_f1),
    "exact_match": partial(_mlqa, metrics.exact_match),
}
ENTITIES: dict[str, Metric] = {"span_f1": entity_f1, "place_f1": place_f1}
ACCURACY: dict[str, Metric] = {"accuracy": label_accuracy}

# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Recipe:
    """What is particular to one task: its form, metrics, length of targets."""

    title: str
    form: forms.Form
    metrics: Mapping[str, Metric]
    max_target: int
    chance: float = 0.0


def _named(task: str, names: Sequence[str] | None = None) -> dict[str, str]:
    """Label of the data -> its word in the target: itself, unless other words are given."""
    labels = VIEWS[task].labels
    return dict(zip(labels, names or labels, strict=True))


def _choice(task: str, title: str, pattern: str, names: Sequence[str] | None = None) -> Recipe:
    words = _named(task, names)
    # Longest label of all: two dozen pieces of mT5's vocabulary.
    return Recipe(title, forms.choice(pattern, words), ACCURACY, 24, 1 / len(words))


RECIPES: dict[str, Recipe] = {
    "xnli": _choice(
        "xnli",
        "natural language inference",
        "xnli: premise: {premise} hypothesis: {hypothesis}",
        ("0", "1", "2"),
    ),
    "pawsx": _choice(
        "pawsx", "paraphrases", "paws sentence1: {sentence1} sentence2: {sentence2}", VIEWS["pawsx"].labels
    ),
    "wikiann": Recipe(
        "named entities (WikiANN)", forms.entities(VIEWS["wikiann"].labels), ENTITIES, 512
    ),
    "masakhaner": Recipe(
        "named entities (MasakhaNER)", forms.entities(VIEWS["masakhaner"].labels), ENTITIES, 512
    ),
    "tydiqa": Recipe("questions (TyDi QA, gold passage)", forms.question(), SQUAD, 512),
    "xquad": Recipe("questions (XQuAD)", forms.question(), SQUAD, 512),
    "mlqa": Recipe("questions (MLQA)", forms.question(), MLQA, 512),
    "squad": Recipe("questions (SQuAD)", forms.question(), SQUAD, 512),
    "sib200": _choice("sib200", "topics", "topic: {text}"),
    "massive_intent": _choice("massive_intent", "intents", "intent: {text}"),
    "massive_slots": Recipe(
        "slots",
        forms.word_tags("slots", VIEWS["massive_slots"].labels, spans=True),
        {"span_f1": slot_f1},
        512,
    ),
    "massive_qa": Recipe("slots asked for as questions", forms.question(), SQUAD, 128),
    "udpos": Recipe(
        "parts of speech",
        forms.word_tags("pos", VIEWS["udpos"].labels, spans=False),
        {"accuracy": tag_accuracy},
        512,
        1 / len(VIEWS["udpos"].labels),
    ),
}
VERSION = 1


def _task(name: str, recipe: Recipe, own: Mapping[str, Any] | None = None) -> PublicTask:
    form = recipe.form
    return PublicTask(
        name,
        VERSION,
        recipe.title,
        partial(datasets.examples, name, own=own),
        form.preprocess,
        form.postprocess,
        recipe.metrics,
        recipe.chance,
        recipe.max_target,
        form.shuffle,
        form.legal,
        form.labels,
    )


PUBLIC: dict[str, PublicTask] = {name: _task(name, recipe) for name, recipe in RECIPES.items()}


def public_task(name: str, own: datasets.Own | None = None) -> PublicTask:
    """The public task of this name, reading the user's own files where some are given.

    Raises
    ------
    ValueError
        Unknown task, with the nearest names.
    """
    if name not in PUBLIC:
        raise unknown("public task", name, PUBLIC, "use one of these")
    if own is None:
        return PUBLIC[name]
    return replace(PUBLIC[name], source=partial(datasets.examples, name, own=own))
