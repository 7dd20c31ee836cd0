"""Public tasks for a small model that knows plain text: lower case, the answer fills a blank.

The forms of `xltlib.tasks.public` are mT5's. A model of minutes learns sooner what looks like its
pre-training, so here the text is in the style of `xltlib.data.text` and the answer stands where
pre-training put what was hidden:

* ``massive_intent``: ``wake me at five <extra_id_0>`` -> ``<extra_id_0> alarm_set``
* ``massive_slots``: ``<extra_id_0> wake <extra_id_1> me …`` -> ``<extra_id_0> O <extra_id_1> O …``

Label words are one token each. A language in the script ``Zzzz`` is a *clone*: the same text in
letters of its own (`xltlib.data.text.clone`), a positive control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from xltlib.data import datasets
from xltlib.data.text import original, plain, written
from xltlib.errors import unknown
from xltlib.tasks.base import Example, Task
from xltlib.tasks.forms import INSIDE, OUTSIDE, cloze, numbered, sentinel, simplified
from xltlib.tasks.metrics import spans_of
from xltlib.tasks.public import public_task

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
