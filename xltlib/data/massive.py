"""MASSIVE's utterances as three kinds of example: an intent, slots, questions for slots.

A row has ``annot_utt`` with slots in brackets: ``wake me up at [time : five am] [date : friday]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from xltlib.data.files import Row

# As the data's authors do: these are written without spaces, so a word is a character.
_BY_CHARACTER = ("ja-JP", "zh-CN", "zh-TW")
_SLOT = re.compile(r"\[\s*([^\s:\]]+)\s*:\s*([^\]]*?)\s*\]")


def _pieces(annotated: str) -> list[tuple[str, str]]:
    """(slot type or "", text) of each stretch of an annotated utterance.

    >>> _pieces("wake me at [time : five am]")
    [('', 'wake me at '), ('time', 'five am')]
    """
    found, at = [], 0
    for match in _SLOT.finditer(annotated):
        found += [("", annotated[at : match.start()]), (match[1], match[2])]
        at = match.end()
    return [(kind, text) for kind, text in [*found, ("", annotated[at:])] if text.strip()]


def _as_intent(row: Row, code: str) -> list[Row]:
    """
    >>> _as_intent({"id": "1", "utt": "wake me", "intent": "alarm_set"}, "en-US")
    [{'id': '1', 'text': 'wake me', 'label': 'alarm_set'}]
    """
    return [{"id": row["id"], "text": row["utt"], "label": row["intent"]}]


def _as_slots(row: Row, code: str) -> list[Row]:
    """
    >>> _as_slots({"id": "1", "annot_utt": "at [time : five am]"}, "en-US")
    [{'id': '1', 'words': ('at', 'five', 'am'), 'tags': ('O', 'B-time', 'I-time')}]
    """
    words: list[str] = []
    tags: list[str] = []
    for kind, text in _pieces(row["annot_utt"]):
        own = list("".join(text.split())) if code in _BY_CHARACTER else text.split()
        words += own
        tags += [f"B-{kind}", *[f"I-{kind}"] * (len(own) - 1)] if kind else ["O"] * len(own)
    return [{"id": row["id"], "words": tuple(words), "tags": tuple(tags)}]


def _as_questions(row: Row, code: str) -> list[Row]:
    """One question for each type of slot; all slots of the type are right answers.

    The question is the same English words in every language: a cue, not a translation.

    >>> _as_questions({"id": "1", "utt": "at five", "annot_utt": "at [time_zone : five]"}, "en-US")
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'id': '1-time_zone', 'group': '1', 'question': 'What is the time zone?',
      'context': 'at five', 'answers': ('five',)}]
    """
    found: dict[str, list[str]] = {}
    for kind, text in _pieces(row["annot_utt"]):
        if kind and text not in found.setdefault(kind, []):
            found[kind].append(text)
    return [
        {
            "id": f"{row['id']}-{kind}",
            "group": str(row["id"]),
            "question": f"What is the {kind.replace('_', ' ')}?",
            "context": row["utt"],
            "answers": tuple(texts),
        }
        for kind, texts in found.items()
    ]


# How a task's view (`xltlib.data.cards.View.derive`) makes examples of a row.
DERIVE: dict[str, Callable[[Row, str], list[Row]]] = {
    "": lambda row, code: [row],
    "intent": _as_intent,
    "slots": _as_slots,
    "questions": _as_questions,
}
