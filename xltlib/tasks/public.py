"""The public tasks: what mT5's authors fine-tuned on, and public data for many more languages.

`public_task("xnli")` gives a task whose examples come from `xltlib.data.datasets`. Raw example ->
input -> target:

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
* ``udpos`` and, of the development files cut in three, ``udpos_dev``
  {words: [It, rains], tags: [PRON, VERB]}
  -> ``pos: <extra_id_0> It <extra_id_1> rains`` -> ``<extra_id_0> PRON <extra_id_1> VERB``

The first three lines and the question answering are mT5's authors' forms to the letter; the others
are ours. Named entities are scored in two ways: ``span_f1`` is mT5's (types and texts, wherever
they stand, entities with a colon passed over), ``place_f1`` is seqeval's (types and places).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from xltlib.data import datasets
from xltlib.data.cards import VIEWS
from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.tasks import forms, metrics
from xltlib.tasks.base import Example, Form, Metric, Task
from xltlib.tasks.metrics import Pair

# ---------------------------------------------------------------- metrics of (answer, example)


def _tag_accuracy(answer: Sequence[str], example: Example) -> Pair:
    """Right tags and tags in all; a missing one is wrong.

    >>> _tag_accuracy(["NOUN", "VERB"], Example("", "", {"tags": ("NOUN", "ADJ", "PUNCT")}))
    (1.0, 3.0)
    """
    gold = example.fields["tags"]
    return float(sum(a == b for a, b in zip(answer, gold, strict=False))), float(len(gold))


def _slot_f1(answer: Sequence[str], example: Example) -> Pair:
    """F1 of slots by type and place."""
    return metrics.span_f1(metrics.spans_of(answer), metrics.spans_of(example.fields["tags"]))


def _entity_f1(answer: str, example: Example) -> Pair:
    """mT5's F1 of entities by type and text."""
    gold = forms.entity_list(example.fields["words"], example.fields["tags"])
    return metrics.entity_f1(answer, gold)


def _place_f1(answer: str, example: Example) -> Pair:
    """F1 of entities by type and place, each put where its text first stands."""
    words, tags = example.fields["words"], example.fields["tags"]
    return metrics.span_f1(
        metrics.place(metrics.read_entities(answer, True), words), metrics.spans_of(tags)
    )


_MLQA_CODES = {language(code).key: code for code in metrics.MLQA_ARTICLES}


def _normalize_mlqa(text: str, example: Example) -> str:
    return metrics.normalize_mlqa(text, _MLQA_CODES.get(example.language, example.language))


def _answers(normalize: Callable[[str, Example], str]) -> dict[str, Metric]:
    """F1 and exact match of answers to questions, normalised in one way."""

    def scored(score: Callable[[str, Sequence[str]], Pair], answer: str, example: Example) -> Pair:
        gold = [normalize(text, example) for text in forms.padded_answers(example)]
        return score(normalize(answer, example), gold)

    return {
        "f1": partial(scored, metrics.token_f1),
        "exact_match": partial(scored, metrics.exact_match),
    }


_SQUAD = _answers(lambda text, example: metrics.normalize_squad(text))
_MLQA = _answers(_normalize_mlqa)
_ENTITIES: dict[str, Metric] = {"span_f1": _entity_f1, "place_f1": _place_f1}

# ---------------------------------------------------------------- the table


def _task(
    name: str,
    title: str,
    form: Form,
    of: Mapping[str, Metric],
    max_target: int = 512,
    chance: float = 0.0,
) -> Task:
    return Task(
        name=name,
        version=1,
        title=title,
        source=partial(datasets.examples, name),
        metrics=of,
        chance=chance,
        max_target=max_target,
        **vars(form),
    )


def _choice(name: str, title: str, pattern: str, words: Sequence[str] = ()) -> Task:
    """A task with one label a text; a label's word is itself, unless other words are given."""
    labels = VIEWS[name].labels
    form = forms.choice(pattern, dict(zip(labels, words or labels, strict=True)))
    # Longest label of all: two dozen pieces of mT5's vocabulary.
    return _task(name, title, form, {"accuracy": metrics.label_accuracy}, 24, 1 / len(labels))


def _entities(name: str, title: str) -> Task:
    return _task(name, title, forms.entities(VIEWS[name].labels), _ENTITIES)


def _word_tags(name: str, title: str, prefix: str, of: Mapping[str, Metric]) -> Task:
    view = VIEWS[name]
    form = forms.word_tags(prefix, view.labels, spans=view.spans)
    return _task(name, title, form, of, chance=0.0 if view.spans else 1 / len(view.labels))


PUBLIC: dict[str, Task] = {
    task.name: task
    for task in (
        _choice(
            "xnli",
            "natural language inference",
            "xnli: premise: {premise} hypothesis: {hypothesis}",
            ("0", "1", "2"),
        ),
        _choice("pawsx", "paraphrases", "paws sentence1: {sentence1} sentence2: {sentence2}"),
        _entities("wikiann", "named entities (WikiANN)"),
        _entities("masakhaner", "named entities (MasakhaNER)"),
        _task("tydiqa", "questions (TyDi QA, gold passage)", forms.question(), _SQUAD),
        _task("xquad", "questions (XQuAD)", forms.question(), _SQUAD),
        _task("mlqa", "questions (MLQA)", forms.question(), _MLQA),
        _task("squad", "questions (SQuAD)", forms.question(), _SQUAD),
        _choice("sib200", "topics", "topic: {text}"),
        _choice("massive_intent", "intents", "intent: {text}"),
        _word_tags("massive_slots", "slots", "slots", {"span_f1": _slot_f1}),
        _task("massive_qa", "slots asked for as questions", forms.question(), _SQUAD, 128),
        _word_tags("udpos", "parts of speech", "pos", {"accuracy": _tag_accuracy}),
        _word_tags("udpos_dev", "parts of speech", "pos", {"accuracy": _tag_accuracy}),
    )
}


def public_task(name: str, own: datasets.Own | None = None) -> Task:
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
