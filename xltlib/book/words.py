"""Numbers, intervals, names and tables as text: the same in figures, chapters and reports."""

from __future__ import annotations

import math

import pandas as pd

from xltlib.languages import name

_LABELS = {
    "word_order": "word order",
    "lexical_translit": "lexical (transliterated)",
    "data_size": "data size",
    "best_mean": "best on average",
    "english": "English",
    "gp": "gp (ours)",
    "sib200": "topics (SIB-200)",
    "massive_intent": "intents (MASSIVE)",
    "massive_slots": "slots (MASSIVE)",
    "massive_qa": "questions (MASSIVE)",
    "udpos": "parts of speech (UD)",
    "udpos_dev": "parts of speech (UD)",
    "masakhaner": "names (MasakhaNER)",
    "wikiann": "names (WikiANN)",
    "xnli": "inference (XNLI)",
    "pawsx": "paraphrases (PAWS-X)",
    "tydiqa": "questions (TyDi QA)",
    "xquad": "questions (XQuAD)",
    "mlqa": "questions (MLQA)",
    "ner": "names",
    "qa": "questions",
    "f1": "F1",
    "span_f1": "span F1",
    "place_f1": "place F1",
}
_LANGUAGES = ("source", "target", "language", "chosen", "best")  # columns shown by name
_LABELLED = ("task", "matrix", "metric", "claim", "measure", "feature", "method")


def label_of(label: object) -> str:
    """A measure, method, metric or task as figures and reports name it, also within a claim.

    >>> label_of("data_size"), label_of("more alike in word_order, more transfer")
    ('data size', 'more alike in word order, more transfer')
    """
    text = str(label)
    if text in _LABELS:
        return _LABELS[text]
    for name_, shown in _LABELS.items():
        text = text.replace(name_, shown) if "_" in name_ else text
    return text.replace("_", " ")


def number(value: float, digits: int = 1) -> str:
    """A rounded number with a true minus sign, 0 without one; a dash for what is missing."""
    return f"{value:z.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def between(ends: tuple[float, float], digits: int = 1) -> str:
    """The ends of an interval: ``44.4 to 48.6``."""
    if not all(map(math.isfinite, ends)):
        return "no interval"
    return " to ".join(number(end, digits) for end in ends)


def estimate(value: float, low: float, high: float, digits: int = 1) -> str:
    """An estimate with its interval, if it has one: ``46.5 (44.4 to 48.6)``."""
    known = math.isfinite(value) and math.isfinite(low + high)
    return number(value, digits) + (f" ({between((low, high), digits)})" if known else "")


def as_text(table: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """A table with languages by name and rounded numbers; p-values, ``p_…``, to three digits."""
    shown = table.copy()
    for column in shown:
        if column in _LANGUAGES:
            shown[column] = shown[column].map(name)
        elif column in _LABELLED:
            shown[column] = shown[column].map(label_of)
        elif pd.api.types.is_float_dtype(shown[column]):
            small = str(column).startswith("p_")
            shown[column] = [
                "<0.001" if small and v < 0.0005 else number(v, 3 if small else digits)
                for v in shown[column].astype(float)
            ]
    return shown
