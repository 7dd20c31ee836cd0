"""Made-up examples of the public tasks: what their pages show, and what is tried without data.

No sentence here is from a data set. `SAMPLES` has one example a task in several languages;
`made_up` writes as many as are wanted, in English, from small lists of words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from xltlib.data.cards import PARAPHRASE
from xltlib.errors import unknown
from xltlib.tasks.base import Example

Fields = dict[str, Any]

SAMPLES: Mapping[str, tuple[tuple[str, Fields], ...]] = {
    "xnli": (
        ("eng", {"premise": "He left.", "hypothesis": "He stayed.", "label": "contradiction"}),
        ("deu", {"premise": "Er ging früh.", "hypothesis": "Er ging.", "label": "entailment"}),
    ),
    "pawsx": (
        ("eng", {"sentence1": "A met B in Rome.", "sentence2": "In Rome, A met B.",
                 "label": "paraphrase"}),
    ),
    "wikiann": (
        ("eng", {"words": ("Rick", "and", "Morty"), "tags": ("B-PER", "O", "B-PER")}),
        ("rus", {"words": ("Она", "живёт", "в", "Новом", "Орлеане"),
                 "tags": ("O", "O", "O", "B-LOC", "I-LOC")}),
        ("eng", {"words": ("nobody", "is", "named", "here"), "tags": ("O",) * 4}),
    ),
    "masakhaner": (
        ("swa", {"words": ("Asha", "alizaliwa", "mwaka", "1980", "Mombasa"),
                 "tags": ("B-PER", "O", "B-DATE", "I-DATE", "B-LOC")}),
    ),
    "tydiqa": (
        ("fin", {"question": "Missä se on?", "context": "Se on Oslossa.", "answers": ("Oslossa",)}),
    ),
    "xquad": (
        ("spa", {"question": "¿Cuándo nació?", "context": "Nació en 1882, en París.",
                 "answers": ("1882", "en 1882")}),
        ("cmn", {"question": "他住在哪里?", "context": "他住在上海。", "answers": ("上海",)}),
    ),
    "squad": (
        ("eng", {"question": "Who wrote it?", "context": "Ada (1843) wrote it.",
                 "answers": ("Ada",)}),
    ),
    "mlqa": (
        ("cmn", {"question": "他住在哪里?", "context": "他住在上海。", "answers": ("上海",)}),
    ),
    "sib200": (("eng", {"text": "The team won.", "label": "sports"}),),
    "massive_intent": (("eng", {"text": "wake me at five", "label": "alarm_set"}),),
    "massive_slots": (
        ("eng", {"words": ("wake", "me", "at", "five"), "tags": ("O", "O", "O", "B-time")}),
    ),
    "massive_qa": (
        ("eng", {"question": "What is the time?", "context": "wake me at five",
                 "answers": ("five",)}),
    ),
    "udpos": (("eng", {"words": ("It", "rains"), "tags": ("PRON", "VERB")}),),
}  # fmt: skip


def samples(task: str) -> list[Example]:
    """The made-up examples of a task, one or more languages."""
    if task not in SAMPLES:
        raise unknown("public task", task, SAMPLES, "use one of these")
    return [Example(str(i), code, fields) for i, (code, fields) in enumerate(SAMPLES[task])]


def raw(example: Example) -> str:
    """A made-up example as its data set has it, in words."""
    return "; ".join(f"{key}: {_plain(value)}" for key, value in example.fields.items())


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def worked(tasks: Sequence[str]) -> pd.DataFrame:
    """``task, language, raw, input, target`` of every made-up example, by the tasks' own code."""
    from xltlib.tasks.public import public_task

    rows = [
        (task, e.language, raw(e), *public_task(task).preprocess(e))
        for task in tasks
        for e in samples(task)
    ]
    return pd.DataFrame(rows, columns=["task", "language", "raw", "input", "target"])


# What a model might say to a made-up example (its place in SAMPLES), and what to look at.
OUTPUTS: tuple[tuple[str, int, str, str], ...] = (
    ("xnli", 0, "2", "the label's number"),
    ("xnli", 0, " ２", "another form of the digit: NFKC makes it 2"),
    ("xnli", 0, "contradiction", "a right word that is no legal output"),
    ("wikiann", 0, "PER: Morty $$ PER: Rick", "in another order"),
    ("wikiann", 0, "PER: Rick", "one of two found"),
    ("wikiann", 0, "PER: Rick $$ PER: Morty $$ GOD: and", "a type that does not exist"),
    ("wikiann", 2, "", "nothing named, nothing said: nothing to count"),
    ("xquad", 0, "en 1882", "the second of the right answers"),
    ("xquad", 0, "in 1882", "translated by accident"),
    ("xquad", 1, "在上海", "one character too many: without spaces it is another word"),
    ("tydiqa", 0, "Oslossa.", "marks of punctuation do not count"),
    ("tydiqa", 0, "Oslo", "another ending is another word"),
    ("mlqa", 0, "在上海", "one character too many, in the measure that counts characters"),
)


def judged(tasks: Sequence[str]) -> pd.DataFrame:
    """``task, target, output, scores, legal, note`` of `OUTPUTS`, by the tasks' own code."""
    from xltlib.tasks.public import public_task

    rows = []
    for task, i, output, note in OUTPUTS:
        if task not in tasks:
            continue
        of, example = public_task(task), samples(task)[i]
        found = of.evaluate([output], [example])
        said = ", ".join(f"{m.replace('_', ' ')} {found[m].score:.2f}" for m in of.metrics)
        legal = "no" if found["illegal"].score else "yes"
        rows.append((task, of.preprocess(example)[1], output, said, legal, note))
    return pd.DataFrame(rows, columns=["task", "target", "output", "scores", "legal", "note"])


# ---------------------------------------------------------------- as many as are wanted

PEOPLE = ("Ada", "Bruno", "Chen", "Dana", "Emil", "Fatima", "Goran", "Hana")
PLACES = ("Oslo", "Riga", "Accra", "Lima", "Pune", "Kyoto", "Cairo", "Porto")
MONTHS = ("January", "March", "May", "July", "August", "October", "November", "December")
ACTS = ("met", "wrote to", "paid", "saw", "called", "helped")


def _pawsx(rng: random.Random) -> Fields:
    one, other = rng.sample(PEOPLE, 2)
    act, place = rng.choice(ACTS), rng.choice(PLACES)
    when = f"{rng.choice(MONTHS)} {rng.randrange(1900, 2000)}"
    same = rng.random() < 0.5
    again = (one, other) if same else (other, one)
    return {
        "sentence1": f"{one} {act} {other} in {place} in {when}.",
        "sentence2": f"In {when}, in {place}, {again[0]} {act} {again[1]}.",
        "label": PARAPHRASE[same],
    }


MAKERS: Mapping[str, Callable[[random.Random], Fields]] = {"pawsx": _pawsx}


def made_up(task: str, n: int, seed: int = 0) -> list[Example]:
    """`n` different made-up English examples of a task (those in `MAKERS`)."""
    if task not in MAKERS:
        raise unknown("task with made-up examples", task, MAKERS, "use one of these")
    rng, found = random.Random(f"{task}/{seed}"), dict[str, Fields]()
    while len(found) < n:
        fields = MAKERS[task](rng)
        found.setdefault(repr(fields), fields)
    return [Example(str(i), "eng", fields) for i, fields in enumerate(found.values())]
