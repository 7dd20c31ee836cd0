"""An `analyze.Report` as files: one HTML page for people, tidy tables and JSON for programs.

The page (``report.html.j2``) needs nothing but itself: figures are SVG inside it, and it asks for
nothing from outside. Each section is a question, its answer in words (``answers.txt.j2``), and the
figure or table it rests on, with n.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from html import escape
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader

from xltlib import __version__
from xltlib.book import figures, words
from xltlib.book.analyze import TABLES, Analysis, Report
from xltlib.book.style import Card
from xltlib.book.tables import in_words
from xltlib.explain.contrast import VERDICTS
from xltlib.io import write_text
from xltlib.languages import name
from xltlib.rank.matrix import Protocol

_KEYS = ("model", "task", "metric")
_TERMS = {
    "source, target": "the language a model was fine-tuned on; the language it is tested on",
    "zero-shot": "tested on a target without any training example of it",
    "loss": "what a choice of source costs: (best − chosen) / best, in per cent",
    "NDCG@3": "how good the first three of a ranking are, 100 for the true order",
    "cold, warm": "the target is hidden altogether; only its column is hidden, so what a model "
    "trained on it did elsewhere is known",
    "similarity": "of two languages, by one measure; more is more alike",
    "coefficient": "standard deviations of the score for one of the measure, source and target "
    "effects and all other measures held fast; MRQAP is a test that permutes languages",
    "95 % interval": "over resampled languages, since pairs share their languages",
}


# -- files ----------------------------------------------------------------------------------------


def write(report: Report, folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``report.html``, the tables and, last, ``analysis.json``; returns their paths.

    Every file appears whole or not at all; what else lies in the folder is left alone.

    Raises
    ------
    ValueError
        If the folder's name is that of a file.
    OSError
        If it cannot be written to; the message says why.
    """
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise ValueError(f"{place} is a file: give --out the name of a folder")
    made = {"report.html": page(report)}
    for label, table in tidy(report).items():
        made[f"{label}.csv"] = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    made |= {"scores.csv": _long_csv(report.scores), "pairs.csv": _long_csv(report.pairs)}
    made["analysis.json"] = json.dumps(as_json(report), indent=1, allow_nan=False) + "\n"
    return [write_text(place / label, text) for label, text in made.items()]


def _long_csv(table: pd.DataFrame) -> str:
    """A table of up to a million rows, unrounded: pyarrow takes a fifth of the time of pandas."""
    import pyarrow as pa
    from pyarrow import csv

    words = [c for c in table if table[c].dtype == object]
    plain = table.astype(dict.fromkeys(words, "string"))
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.Table.from_pandas(plain, preserve_index=False), sink)
    return sink.getvalue().to_pybytes().decode()


def tidy(report: Report) -> dict[str, pd.DataFrame]:
    """The result tables of all analyses, each stacked under ``model, task, metric``."""
    rows = [{k: getattr(a, k) for k in _KEYS} | a.counts | a.level for a in report.analyses]
    out = {"summary": pd.DataFrame(rows)}
    for label in TABLES:
        parts = []
        for one in report.analyses:
            table = getattr(one, label).drop(columns=list(_KEYS), errors="ignore")
            for i, key in enumerate(_KEYS):
                table.insert(i, key, getattr(one, key))
            parts += [table] if len(table) else []
        if parts:
            out[label] = pd.concat(parts, ignore_index=True)
    return out | ({"differences": report.differences} if len(report.differences) else {})


def as_json(report: Report) -> dict[str, Any]:
    """The figures of a report, plain: ``schema/analysis.schema.json`` describes every field."""
    found: dict[str, Any] = _plain(
        {
            "xltlib": __version__,
            "name": report.name,
            "seed": report.seed,
            "understood": report.understood,
            "dropped": report.dropped,
            "not_analysed": report.unable,
            "analyses": [_record(a) for a in report.analyses],
            "differences": _coefficients(report.differences),
        }
    )
    return found


def _record(one: Analysis) -> dict[str, Any]:
    names = (*_KEYS, "dropped", "warnings", "shares", "steps", "best_set")
    return {
        **{name: getattr(one, name) for name in names},
        **one.counts,
        "not_computed": one.unable,
        "ranking": {p: _ranking(one.methods, p) for p in get_args(Protocol)},
        "level": {"protocol": "cold", **one.level} if one.level else None,
        "coefficients": _coefficients(one.coefficients),
        "partial_r2": one.whole.get("partial_r2"),
        "partial_r2_ci": [one.whole["low"], one.whole["high"]] if one.whole else None,
        "partial_r2_p": one.whole.get("p_mrqap"),
        "fit": one.fit or None,
        "claims": one.claims.drop(columns="task", errors="ignore"),
        "next": one.next_best,
        "laws": one.laws.drop(columns=["model", "task"], errors="ignore"),
    }


def _coefficients(table: pd.DataFrame) -> pd.DataFrame:
    """The ends of the interval as a pair."""
    if table.empty:
        return table
    ends = pd.Series(table[["low", "high"]].to_numpy(float).tolist(), index=table.index)
    return table.drop(columns=["low", "high"]).rename(columns={"feature": "name"}).assign(ci=ends)


def _ranking(compared: pd.DataFrame, protocol: str) -> dict[Any, Any]:
    if compared.empty:
        return {}
    rows = compared[compared["protocol"] == protocol].drop(columns="protocol")
    return rows.set_index("method").to_dict("index")


def _plain(value: Any) -> Any:
    """Tables, records and numbers as JSON has them: what is missing is null."""
    if isinstance(value, pd.DataFrame):
        value = value.to_dict("records")
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value is pd.NA else value


# -- in words -------------------------------------------------------------------------------------


@functools.cache
def _templates() -> Environment:
    """Where the page and its sentences are; the sentences are escaped by the page."""
    found = Environment(
        loader=PackageLoader("xltlib", "book"),
        autoescape=lambda of: bool(of and of.endswith(".html.j2")),
    )
    found.filters |= {"number": words.number, "between": words.between}
    found.filters |= {"label": words.label_of}
    found.tests["finite"] = math.isfinite
    found.globals |= {"verdicts": VERDICTS, "name": name}
    return found


def _text(macro: str, *about: Any) -> str:
    """What a macro of ``answers.txt.j2`` gives, on one line."""
    return " ".join(getattr(_answers(), macro)(*about).split())


@functools.cache
def _answers() -> Any:
    return _templates().get_template("answers.txt.j2").module


def summary(report: Report) -> list[str]:
    """The report in a few lines: what was understood, what dropped, the answers."""
    out = [*report.understood, *(f"dropped: {d}" for d in report.dropped)]
    out += [f"not analysed: {label}: {why}" for label, why in report.unable.items()]
    for one in report.analyses:
        out.append(f"-- {one.task}, {one.model}, {one.metric}: {_text('n', one)}")
        out += [f"dropped: {d}" for d in one.dropped] + list(one.warnings)
        out += filter(None, [_text(s.key, one) for s in _SECTIONS if s.part not in one.unable])
        out += [f"not computed: {part}: {why}" for part, why in one.unable.items()]
    return [*out, *filter(None, [differ(report)])]


def answers(report: Report, part: str) -> list[str]:
    """The answers that rest on one part of the analysis (those on the table itself: ``""``).

    One sentence a model, task and question, in Markdown; what was not computed says why.
    """
    out = []
    for one in report.analyses:
        found = [_text(s.key, one) for s in _SECTIONS if s.part == part]
        found = [one.unable[part]] if part in one.unable else found
        out += [f"**{one.task}, {one.model}**: {answer}" for answer in found if answer]
    return out


def differ(report: Report) -> str:
    """Which coefficients differ between tasks and models; empty where there are not two.

    Wald tests of equality, one a measure, so 0.05 is divided by their number (Bonferroni).
    """
    table = report.differences
    if table.empty:
        return ""
    p = table.drop_duplicates("feature").set_index("feature")["p_equal"]
    sure = p[p <= 0.05 / len(p)].sort_values()
    return _text("differ", sure, len(p), len(table[["task", "model"]].drop_duplicates()))


def size(one: Analysis) -> str:
    """How much was measured, in words."""
    return _text("size", one)


# -- the page -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Section:
    """A question of the page, with what its answer rests on.

    ``answers.txt.j2`` has its answer under `key` and the captions under ``KEY_figure`` and
    ``KEY_table``; of a long table the first `most` rows are shown.
    """

    key: str
    part: str  # of the analysis; empty where it is the table of scores itself
    question: str
    figure: Callable[[Analysis], Card] | None = None
    table: Callable[[Analysis], pd.DataFrame] | None = None
    most: int = 12
    digits: int = 2


def page(report: Report) -> str:
    """The whole report as one HTML page."""
    number = itertools.count(1)
    analyses = [
        {
            "head": f"{a.task}, {a.model}",
            "notes": [*a.dropped, *a.warnings],
            "sections": list(_sections(a, number)),
        }
        for a in report.analyses
    ]
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            title=f"What {report.name} says about cross-lingual transfer",
            report=report,
            analyses=analyses,
            differ=differ(report),
            differences=_differences(report),
            terms=_TERMS,
        )
    )


def _sections(one: Analysis, number: Iterator[int]) -> Iterator[dict[str, Any]]:
    """Question, answer and what it rests on, one after the other; what is missing says why."""
    for s in _SECTIONS:
        if s.part in one.unable:
            yield {"question": s.question, "unable": one.unable[s.part]}
        elif text := _text(s.key, one):
            found: dict[str, Any] = {"question": s.question, "answer": text}
            if s.figure:
                caption = _text(f"{s.key}_figure", one)
                found |= {"figure": _figure(s.figure(one), caption, next(number))}
            if s.table and len(table := s.table(one)):
                caption = _text(f"{s.key}_table", one)
                found |= {"table": _table(table, caption, s.most, s.digits)}
            yield found


def _figure(card: Card, caption: str, k: int) -> dict[str, Any]:
    """An SVG inside the page: its names made unlike those of the other figures."""
    svg = card._repr_svg_()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="f{k}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>f{k}-", svg)
    label = escape(caption.split(".")[0], quote=True)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return {"svg": svg, "caption": caption, "number": k}


def _table(table: pd.DataFrame, caption: str, most: int, digits: int) -> dict[str, Any]:
    """The first rows of a table as text."""
    rest = f" The first {most} of {len(table)}." if len(table) > most else ""
    return {"caption": caption + rest, "rows": words.as_text(table.head(most), digits)}


def _differences(report: Report) -> dict[str, Any]:
    """The coefficients of all tasks and models beside one another, where there are several."""
    table = report.differences
    if table.empty:
        return {}
    coefficients = in_words(table, "beta", scale=1, digits=2)
    shown = table.assign(shown=coefficients, of=table["task"] + ", " + table["model"])
    wide = shown.pivot(index="feature", columns="of", values="shown")
    wide = wide.reindex(table["feature"].unique())
    wide["p_equal"] = table.drop_duplicates("feature").set_index("feature")["p_equal"]
    cells = sum(int(a.counts["n_pairs"]) for a in report.analyses)
    named = wide.reset_index().rename(columns={"feature": "measure"})
    return _table(named, _text("differ_table", cells), 30, 3)


# -- what the answers rest on ---------------------------------------------------------------------


def _choosing(one: Analysis) -> Card:
    ends = {"loss_pct_low": "low", "loss_pct_high": "high"}
    return figures.choosing(one.cold.rename(columns=ends), most=20)


def _cold_and_warm(one: Analysis) -> pd.DataFrame:
    """Loss and NDCG@3 of each method, the smallest loss first."""
    wide = one.methods.pivot(index="method", columns="protocol", values=["loss_pct", "ndcg3"])
    wide.columns = pd.Index([" ".join(map(str, column)) for column in wide.columns])
    order = one.cold.set_index("method")["loss_pct"].sort_values().index
    return wide.reindex(order).reset_index()


def _best_set(one: Analysis) -> pd.DataFrame:
    shown = one.best_set.assign(mean_best=100 * one.best_set["mean_best"])
    return shown.rename(columns={"mean_best": "mean best score"})


def _next_best(one: Analysis) -> pd.DataFrame:
    """The six best further sources and targets, in points."""
    table = one.next_best
    if table.empty:
        return table
    shown = table.assign(**{c: 100 * table[c] for c in ("gain", "low", "high")})
    return shown.groupby("kind", sort=False).head(6).drop(columns="n_measured")


def _laws(one: Analysis) -> Card:
    laws, label = one.laws.assign(task=one.task), "error, score points"
    return figures.estimates(laws, "law", "task", value="mae", scale=100, bound=None, label=label)


def _residuals(one: Analysis) -> pd.DataFrame:
    table = one.residuals
    return table[["source", "target"]].assign(
        score=100 * table["y"], expected=100 * table["expected"], z=table["z"]
    )


_KINDS = "feature beta se_cluster p_cluster p_mrqap beta_mixed se_mixed vif".split()
_CLAIMS = "claim evidence estimate low high verdict".split()
_EXPLAINS = "what explains transfer"
_SECTIONS = (
    _Section(
        "levels", "", "Who teaches whom?",
        lambda a: figures.transfer_matrix(a.zero_shot, a.task, a.model, a.metric),
    ),
    _Section(
        "drivers", _EXPLAINS, "What drives transfer?",
        lambda a: figures.coefficients(a.coefficients.assign(task=a.task)),
        lambda a: a.coefficients[_KINDS], 20, 3,
    ),
    _Section(
        "shares", "shares of measures", "How much does each measure explain?",
        lambda a: figures.shares(a.shares),
    ),
    _Section(
        "steps", "growing models", "Does each kind of similarity add to those before it?",
        lambda a: figures.nested(a.steps.drop(columns="task", errors="ignore")),
    ),
    _Section(
        "choosing", "choosing a source", "Which rule chooses the source?",
        _choosing, _cold_and_warm, 30, 1,
    ),
    _Section(
        "expected", "scores to expect", "Which score to expect for a new language?",
        lambda a: figures.expected_scores(a.predictions),
    ),
    _Section("best_set", "the best set", "Which few sources serve all targets?", None, _best_set),
    _Section("next", "what to measure next", "What should be measured next?", None, _next_best),
    _Section("laws", "few-shot laws", "How does the score grow with target examples?", _laws),
    _Section("residuals", _EXPLAINS, "Which pairs are odd?", None, _residuals, 8, 1),
    _Section("claims", "", "Which claims hold?", None, lambda a: a.claims[_CLAIMS], 40),
)  # fmt: skip
