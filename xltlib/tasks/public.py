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

For a small model that knows plain text (`plain_task`), lower case, and the answer fills a blank:

* ``massive_intent``: ``wake me at five <extra_id_0>`` -> ``<extra_id_0> alarm_set``
* ``massive_slots``: ``<extra_id_0> wake <extra_id_1> me …`` -> ``<extra_id_0> O <extra_id_1> O …``

The first three lines of all and the question answering are mT5's authors' forms to the letter; the
others are ours. Named entities are scored in two ways: ``span_f1`` is mT5's (types and texts,
wherever they stand, entities with a colon passed over), ``place_f1`` is seqeval's (types and
places).
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from xltlib.data import MAX_WORDS, Example, datasets
from xltlib.data.cards import VIEWS
from xltlib.data.text import original, plain, written
from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.tasks import metrics
from xltlib.tasks.base import (
    INSIDE,
    OUTSIDE,
    Form,
    Metric,
    Task,
    bio,
    cloze,
    deal,
    numbered,
    one_of,
    read_numbered,
    sentinel,
    simplified,
    with_field,
)
from xltlib.tasks.metrics import DELIMITER, Pair, spans_of

_SPACE = "\t\n\f\r "  # what RE2 calls \s; a no-break space is not among them
_SPACES = re.compile(f"[{_SPACE}]+")


def _tidy(text: str) -> str:
    """NFKC, without spaces around: how outputs are read where they must be one of a few."""
    return unicodedata.normalize("NFKC", text).strip()


# Forms that mT5's authors published are theirs to the letter (google-research/multilingual-t5,
# `preprocessors.py`), spaces included.
# ---------------------------------------------------------------- entities as a list


def _entity_list(words: Sequence[str], tags: Sequence[str]) -> str:
    """mT5's target for named entities; an empty text where there are none, as in their code.

    >>> _entity_list(["rick", "and", "morty", "are"], ["B-PER", "O", "B-PER", "O"])
    'PER: rick $$ PER: morty'
    """
    return DELIMITER.join(f"{kind}: {' '.join(words[a:b])}" for a, b, kind in spans_of(tags))


def _entities_form(kinds: Sequence[str]) -> Form:
    """Named entities as mT5's authors put them: ``tag: w w w`` -> ``PER: w $$ LOC: w w``.

    An output is legal if it is empty or every part names a known type.
    """

    def preprocess(example: Example) -> tuple[str, str]:
        words = example.fields["words"]
        return "tag: " + " ".join(words), _entity_list(words, example.fields["tags"])

    def legal(output: str, example: Example) -> bool:
        parts = output.strip().split(DELIMITER) if output.strip() else []
        return all(p.partition(":")[0].strip() in kinds and ":" in p for p in parts)

    return Form(preprocess, lambda output, example: output, _deal_kinds, legal, tuple(kinds), True)


def _put_kinds(example: Example, kinds: Sequence[str]) -> Example:
    """Other types for the spans; their places stay."""
    tags = example.fields["tags"]
    spans = [(a, b, kind) for (a, b, _), kind in zip(spans_of(tags), kinds, strict=True)]
    return with_field(example, "tags", tuple(bio(simplified(len(tags), spans))))


_deal_kinds = partial(
    deal, parts=lambda e: [kind for *_, kind in spans_of(e.fields["tags"])], put=_put_kinds
)


# ---------------------------------------------------------------- one tag a word


def _tags_form(prefix: str, labels: Sequence[str], spans: bool) -> Form:
    """A tag for every word: the "sentinel + tag, simplified inside" form of Raman et al. 2022.

    Words are numbered by sentinels and nothing need be copied. Words beyond the hundredth are not
    shown; they count as wrong. (arXiv 2203.08378) `prefix` names the task in the input; `labels`
    are types, if the data's tags are BIO tags of `spans`, or tags of single words.
    """
    allowed = {*labels, INSIDE, OUTSIDE} if spans else set(labels)

    def preprocess(example: Example) -> tuple[str, str]:
        tags = example.fields["tags"]
        shown = simplified(len(tags), spans_of(tags)) if spans else tags
        return f"{prefix}: {numbered(example.fields['words'])}", numbered(shown)

    def tags_of(output: str, example: Example) -> list[str]:
        _, found = read_numbered(_tidy(output))
        return [found.get(i, "") for i in range(min(len(example.fields["words"]), MAX_WORDS))]

    def postprocess(output: str, example: Example) -> list[str]:
        tags = tags_of(output, example)
        return bio(tags, labels) if spans else tags

    return Form(
        preprocess,
        postprocess,
        _deal_kinds if spans else _deal_tags,
        lambda output, example: set(tags_of(output, example)) <= allowed,
        tuple(labels),
    )


_deal_tags = partial(
    deal,
    parts=lambda e: e.fields["tags"],
    put=lambda e, tags: with_field(e, "tags", tuple(tags)),
)


# ---------------------------------------------------------------- questions


def _pad_punctuation(text: str) -> str:
    """Spaces around everything but letters, marks, numbers, `_` and white space.

    >>> _pad_punctuation("François, in 1882?")
    'François , in 1882 ? '
    """
    padded = "".join(
        c if c == "_" or c in _SPACE or unicodedata.category(c)[0] in "LMN" else f" {c} "
        for c in text
    )
    return _SPACES.sub(" ", padded)


def _padded_answers(example: Example) -> list[str]:
    """The right answers as mT5's metric sees them: padded as the input is."""
    return [_pad_punctuation(a) for a in example.fields["answers"]]


def _question_preprocess(example: Example) -> tuple[str, str]:
    """
    >>> _question_preprocess(Example("0", "eng", {"question": "Where?", "context": "In Oslo.",
    ...     "answers": ["Oslo"]}))
    ('question: Where ? context: In Oslo . ', 'Oslo')
    """
    asked, context = (_pad_punctuation(example.fields[f]) for f in ("question", "context"))
    joined = _SPACES.sub(" ", f"question: {asked} context: {context}")
    return joined, next(iter(_padded_answers(example)), "")


def _question_legal(output: str, example: Example) -> bool:
    """Whether the output stands in the context, up to NFKC, case and spaces around punctuation."""

    def squeezed(text: str) -> str:
        return "".join(unicodedata.normalize("NFKC", text).casefold().split())

    text = squeezed(output)
    return text in squeezed(example.fields["context"]) if text else not example.fields["answers"]


def _question_shuffle(examples: Sequence[Example], seed: int) -> list[Example]:
    """A stretch of the context as long as the answer, anywhere, in the place of the answer."""
    rng, dealt = random.Random(f"shuffle/{seed}"), []
    for e in examples:
        context, length = e.fields["context"], len(next(iter(e.fields["answers"]), ""))
        start = rng.randrange(max(len(context) - length, 0) + 1)
        dealt.append(with_field(e, "answers", (context[start : start + length],)))
    return dealt


# Extractive question answering as mT5's authors put it: question and context -> answer.
_QUESTION = Form(
    _question_preprocess, lambda output, example: output, _question_shuffle, _question_legal,
    copies=True,
)  # fmt: skip

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
    gold = _entity_list(example.fields["words"], example.fields["tags"])
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
        gold = [normalize(text, example) for text in _padded_answers(example)]
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
    form = one_of(
        lambda e: pattern.format_map(e.fields),
        dict(zip(labels, words or labels, strict=True)),
        _tidy,
    )
    # Longest label of all: two dozen pieces of mT5's vocabulary.
    return _task(name, title, form, {"accuracy": metrics.label_accuracy}, 24, 1 / len(labels))


def _entities(name: str, title: str) -> Task:
    return _task(name, title, _entities_form(VIEWS[name].labels), _ENTITIES)


def _word_tags(name: str, title: str, prefix: str, of: Mapping[str, Metric]) -> Task:
    view = VIEWS[name]
    form = _tags_form(prefix, view.labels, spans=view.spans)
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
        _task("tydiqa", "questions (TyDi QA, gold passage)", _QUESTION, _SQUAD),
        _task("xquad", "questions (XQuAD)", _QUESTION, _SQUAD),
        _task("mlqa", "questions (MLQA)", _QUESTION, _MLQA),
        _task("squad", "questions (SQuAD)", _QUESTION, _SQUAD),
        _choice("sib200", "topics", "topic: {text}"),
        _choice("massive_intent", "intents", "intent: {text}"),
        _word_tags("massive_slots", "slots", "slots", {"span_f1": _slot_f1}),
        _task("massive_qa", "slots asked for as questions", _QUESTION, _SQUAD, 128),
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


# ---------------------------------------------------------------- the plain form

# The forms above are mT5's. A model of minutes learns sooner what looks like its pre-training, so
# here the text is in the style of `xltlib.data.text` and the answer stands where pre-training put
# what was hidden. Label words are one token each. A language in the script ``Zzzz`` is a *clone*:
# the same text in letters of its own (`xltlib.data.text.written`), a positive control.
_MOST_WORDS = 16  # of an utterance with numbered words: as many sentinels as pre-training uses
_PLAIN = ("massive_intent", "sib200", "massive_slots")


def plain_task(name: str) -> Task:
    """A public task in the plain form.

    Raises
    ------
    ValueError
        No such task, or one without a plain form; the message names those that have one.
    """
    if name not in _PLAIN:
        raise unknown("task on running text", name, _PLAIN, "use one of these")
    of = replace(public_task(name), source=partial(_examples, name))
    if datasets.view_of(name).kind == "tags":
        return replace(of, preprocess=_words_text, max_target=2 * _MOST_WORDS + 2)
    words = {label: label for label in of.labels}
    form = cloze(lambda example: f"{example.fields['text']} {sentinel(0)}", words)
    return replace(of, max_target=4, **vars(form))


def words_of(name: str) -> tuple[str, ...]:
    """The label words of a task: one token each."""
    labels = public_task(name).labels
    return (*labels, INSIDE, OUTSIDE) if datasets.view_of(name).kind == "tags" else labels


def _words_text(example: Example) -> tuple[str, str]:
    """
    >>> _words_text(Example("0", "eng", {"words": ("at", "five"), "tags": ("O", "B-time")}))
    ('<extra_id_0> at <extra_id_1> five', '<extra_id_0> O <extra_id_1> time')
    """
    words, tags = example.fields["words"], example.fields["tags"]
    shown = simplified(len(tags), spans_of(tags))
    return numbered(words[:_MOST_WORDS]), numbered(shown[:_MOST_WORDS])


def _examples(
    name: str, languages: Sequence[str], code: str, split: Any, n: int, seed: int = 0
) -> list[Example]:
    """Examples in the plain style; a clone's are those of its original in other letters."""
    spoken = tuple(dict.fromkeys(original(c) for c in languages))
    found = datasets.examples(name, spoken, original(code), split, n, seed)
    return [_plain(e, code) for e in found]


def _plain(example: Example, code: str) -> Example:
    def write(text: str) -> str:
        return written(plain(text, example.language) or text, code)

    fields = dict(example.fields)
    if "text" in fields:
        fields["text"] = write(fields["text"])
    if "words" in fields:
        fields["words"] = tuple(write(w) for w in fields["words"])
    return Example(example.id, code, fields)
