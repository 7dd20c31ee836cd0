"""Numbers, intervals, names and tables as text: the same in figures, chapters and reports."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from xltlib.languages import name

if TYPE_CHECKING:
    from xltlib.rank.recommend import Recommendation

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


def source_name(source: str) -> str:
    """English name of a source, and which treebank where a table has several of a language."""
    code, _, treebank = source.partition("/")
    return f"{name(code)} {treebank}".strip()


def advice(found: Recommendation, shown: Any, steps: Any, n_target: int = 0) -> str:
    """Rows of a recommendation, sources to train together, and what all rests on, as text."""
    labels = ", ".join(f"{k} {v}" for k, v in found.labels.items())
    out = [
        f"Sources for {name(found.target)} ({found.target}); {labels}; scores of 0 to 100",
        "Best first, by score; below each, what puts it above or below the average source (points)",
        f"{'':4} {'source':28} {'score':>5}  {'90 % interval':13}  {'the best?':>9}",
    ]
    for row in shown.itertuples(index=False):
        source = f"{source_name(row.source)} ({row.source.partition('/')[0]})"
        how = f"{100 * row.low:.0f} to {100 * row.high:.0f}" if row.high > row.low else "measured"
        numbers = f"{100 * row.predicted:5.1f}  {how:13}  {100 * row.p_best:7.0f} %"
        known = " measured" * (row.measured and how[0] != "m")
        out.append(f"{row.rank:4} {source:28} {numbers}{known}")
        if n_target:
            ends = f"{100 * row.few_shot_low:.0f} to {100 * row.few_shot_high:.0f}"
            out.append(f"     with {n_target} examples {100 * row.few_shot:.1f} ({ends})")
        out.append(textwrap.fill(row.why, 88, initial_indent=" " * 5, subsequent_indent=" " * 5))
    each = (f"{source_name(r.source)} {100 * r.expected_best:.1f}" for r in steps.itertuples())
    out.append(f"Trained together, best score to expect with each added: {', '.join(each)}")
    return "\n".join([*out, f"Rests on {found.rests_on}"])
