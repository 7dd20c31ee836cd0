"""An `analyze.Report` as files: one HTML page for people, tidy tables and JSON for programs.

The page (``report.html.j2``) needs nothing but itself: figures are SVG inside it, and it asks for
nothing from outside. Each section is a question, its answer in words, and the figure or table it
rests on, with n.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from xltlib.book import figures
from xltlib.book.analyze import TABLES, Analysis, Report, as_json
from xltlib.book.style import Card, in_words
from xltlib.explain.contrast import VERDICTS
from xltlib.io import write_text
from xltlib.languages import name

_LANGUAGES = ("source", "target", "language", "chosen", "best")
_ROWS = 12  # of a table on the page; the whole is in its file
Count = Iterator[int]  # numbers of figures
Evidence = list[Any]  # figures and tables as `_figure` and `_table` give them, lists of notes
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
    "95 % interval": "over languages drawn anew, since pairs share their languages",
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


# -- in words -------------------------------------------------------------------------------------


def summary(report: Report) -> list[str]:
    """The report in a few lines: what was understood, what dropped, the answers."""
    out = [*report.understood, *(f"dropped: {d}" for d in report.dropped)]
    out += [f"not analysed: {label}: {why}" for label, why in report.unable.items()]
    for one in report.analyses:
        out.append(f"-- {one.task}, {one.model}, {one.metric}: {_n(one)}")
        out += [f"dropped: {d}" for d in one.dropped] + list(one.warnings)
        out += filter(None, [answer(one) for part, _, answer, _ in _SECTIONS
                             if part not in one.unable])  # fmt: skip
        out += [f"not computed: {part}: {why}" for part, why in one.unable.items()]
    return [*out, *filter(None, [differ(report)])]


def answers(report: Report, part: str) -> list[str]:
    """The answers that rest on one part of the analysis (those on the table itself: ``""``).

    One sentence a model, task and question, in Markdown; what was not computed says why.
    """
    out = []
    for one in report.analyses:
        found = [answer(one) for of, _, answer, _ in _SECTIONS if of == part]
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
    n = len(table[["task", "model"]].drop_duplicates())
    named = ", ".join(f"{in_words(f)} ({_p(v)})" for f, v in sure.items())
    rest = f"of {len(p)} measures, over {n} tasks and models"
    return f"Coefficients differ for {named}, {rest}." if named else f"None can be told, {rest}."


def size(one: Analysis) -> str:
    """How much was measured, in words."""
    return f"{_n(one)}, {one.counts['measured']:.0%} of the matrix"


def _n(one: Analysis) -> str:
    c = one.counts
    return f"n = {c['n_pairs']} pairs of {c['n_sources']} sources and {c['n_targets']} targets"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def _between(low: float, high: float, digits: int = 1) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    return f"{_number(low, digits)} to {_number(high, digits)}"


# -- the page -------------------------------------------------------------------------------------


def page(report: Report) -> str:
    """The whole report as one HTML page."""
    loader = PackageLoader("xltlib", "book")
    template = Environment(loader=loader, autoescape=True).get_template("report.html.j2")
    number = itertools.count(1)
    analyses = [
        {"head": f"{a.task}, {a.model}", "sections": list(_sections(a, number))}
        for a in report.analyses
    ]
    return template.render(
        title=f"What {report.name} says about cross-lingual transfer",
        report=report,
        analyses=analyses,
        differ=differ(report),
        differences=_differences(report),
        terms=_TERMS,
    )


def _sections(one: Analysis, number: Count) -> Iterator[dict[str, Any]]:
    """Question, answer and evidence, one after the other; what is missing says why."""
    for part, question, answer, evidence in _SECTIONS:
        if part in one.unable:
            yield {"question": question, "unable": one.unable[part]}
        elif text := answer(one):
            yield {"question": question, "answer": text, "evidence": evidence(one, number)}


def _figure(card: Card, caption: str, number: Count) -> dict[str, Any]:
    """An SVG inside the page: its names made unlike those of the other figures."""
    k = next(number)
    svg = card._repr_svg_()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="f{k}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>f{k}-", svg)
    label = escape(caption.split(".")[0], quote=True)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return {"svg": svg, "caption": caption, "number": k}


def _table(table: pd.DataFrame, caption: str, most: int = _ROWS, digits: int = 2) -> dict[str, Any]:
    """A table with languages by name and rounded numbers; of a long one the first rows."""
    rest = f" The first {most} of {len(table)}." if len(table) > most else ""
    rows = [
        [_cell(str(column), value, digits) for column, value in row.items()]
        for row in table.head(most).to_dict("records")
    ]
    return {
        "caption": caption + rest,
        "heads": [str(c).replace("_", " ") for c in table],
        "rows": rows,
    }


def _cell(column: str, value: object, digits: int) -> tuple[str, bool]:
    """What a cell shows, and whether it is a number."""
    if isinstance(value, float):
        return _number(value, digits), True
    return name(str(value)) if column in _LANGUAGES else str(value).replace("_", " "), False


def _differences(report: Report) -> dict[str, Any]:
    """The coefficients of all tasks and models beside one another, where there are several."""
    table = report.differences
    if table.empty:
        return {}
    ends = zip(table["beta"], table["low"], table["high"], strict=True)
    words = [f"{_number(b, 2)} ({_between(low, high, 2)})" for b, low, high in ends]
    shown = table.assign(words=words, of=table["task"] + ", " + table["model"])
    wide = shown.pivot(index="feature", columns="of", values="words")
    wide = wide.reindex(table["feature"].unique())
    p = table.drop_duplicates("feature").set_index("feature")["p_equal"]
    wide["p"] = p.map(lambda value: _p(value).removeprefix("p ").removeprefix("= "))
    caption = (
        "Standardised coefficient of each measure in each task and model, with its 95 % interval "
        "clustered by source and target, from one joint fit; p of a Wald test that they are equal. "
        f"n = {sum(int(a.counts['n_pairs']) for a in report.analyses)} cells."
    )
    return _table(wide.reset_index().rename(columns={"feature": "measure"}), caption, 30, 3)


# -- section by section: the answer, then what it rests on ----------------------------------------


def _levels(one: Analysis) -> str:
    zero = 100 * one.scores.loc[one.scores["n_target"] == 0, "score"].astype(float)
    share = one.fit.get("r2_effects", math.nan)
    text = (
        f"Zero-shot scores lie between {zero.min():.0f} and {zero.max():.0f} of 100, "
        f"{zero.mean():.1f} on average."
    )
    if math.isfinite(share):
        text += (f" {100 * share:.0f} % of their variance is how good each source and how easy each"
                 " target is by itself.")  # fmt: skip
    return text


def _matrix(one: Analysis, number: Count) -> Evidence:
    zero = one.scores[one.scores["n_target"] == 0]
    notes = [str(d) for d in one.dropped] + list(one.warnings)
    caption = (
        f"Zero-shot {one.metric} of every target (column) from every source (row), 0 to 100; "
        f"white: not measured. {size(one)}."
    )
    card = figures.transfer_matrix(zero, one.task, one.model, one.metric)
    return [*([notes] if notes else []), _figure(card, caption, number)]


def _drivers(one: Analysis) -> str:
    table = one.coefficients
    if table.empty:
        return ""
    both = table[((table["low"] > 0) | (table["high"] < 0)) & (table["p_holm"] <= 0.05)]
    order = both.reindex(both["beta"].abs().sort_values(ascending=False).index)
    named = [f"{in_words(r.feature)} ({r.beta:+.2f})".replace("-", "−") for r in order.itertuples()]
    corrected = "(the permutation test corrected for the number of measures)"
    if not named:
        return (
            "No single measure goes with the score by both tests, all others held fast "
            f"{corrected}."
        )
    return (
        f"Beside all other measures, these go with the score by both tests {corrected}: "
        f"{', '.join(named)}."
    )


def _coefficients(one: Analysis, number: Count) -> Evidence:
    table = one.coefficients
    caption = (
        "Standardised coefficient of each measure over source and target effects, 95 % intervals "
        f"clustered by source and target; filled: the permutation test agrees. {_n(one)}."
    )
    keep = ["feature", "beta", "se_cluster", "p_cluster", "p_mrqap", "beta_mixed", "se_mixed"]
    rows = _table(table[[*keep, "vif"]], "Three kinds of inference beside each other.", 20, 3)
    return [_figure(figures.coefficients(table.assign(task=one.task)), caption, number), rows]


def _share(one: Analysis) -> str:
    if one.shares.empty:
        return ""
    first = one.shares.iloc[0]
    whole = 100 * max(one.whole["partial_r2"], 0.0)
    if not (one.whole["low"] > 0 and one.whole["p_mrqap"] <= 0.05):
        return (
            f"That similarity explains anything cannot be told: {whole:.0f} % of the variance that "
            f"source and target effects leave ({_between(0, 100 * one.whole['high'], 0)} %), "
            f"beyond what chance gives; permutation test p = {one.whole['p_mrqap']:.2g}."
        )
    return (
        f"Similarity explains {whole:.0f} % of the variance that source and target effects leave, "
        f"beyond what chance gives ({_between(100 * one.whole['low'], 100 * one.whole['high'], 0)} "
        f"%); most of it {in_words(first['feature'])}, {100 * first['share']:.0f} %."
    )


def _shares(one: Analysis, number: Count) -> Evidence:
    caption = (
        "Share of the variance left by source and target effects, mean over orders of entry "
        "(LMG), beyond what the same measures of permuted languages explain; 95 % intervals over "
        f"languages. {_n(one)}."
    )
    return [_figure(figures.shares(one.shares), caption, number)]


def _step(one: Analysis) -> str:
    table = one.steps
    if table.empty:
        return ""
    later = table.iloc[1:]
    best = table.iloc[int(later["cv_gain"].argmax()) + 1] if len(later) else table.iloc[0]
    adds = "it adds something." if best["cv_gain_low"] > 0 else "that may be nothing."
    return (
        f"Beyond the first step, {best['features'].split(', ')[0].replace('_', ' ')}, the model up "
        f"to “{best['step'].removeprefix('+ ')}” removes {100 * best['cv_gain']:.1f} % more of the "
        f"error on languages never seen "
        f"({_between(100 * best['cv_gain_low'], 100 * best['cv_gain_high'])}): {adds}"
    )


def _steps(one: Analysis, number: Count) -> Evidence:
    caption = (
        "Growing models: variance explained over source and target effects, beyond chance (seen "
        "languages), and error removed in ordering the sources of languages never seen; 95 % "
        f"intervals over languages. {_n(one)}."
    )
    card = figures.nested(one.steps.drop(columns="task", errors="ignore"))
    return [_figure(card, caption, number)]


def _choice(one: Analysis) -> str:
    rows = one.methods[one.methods["protocol"] == "cold"].set_index("method")
    if rows.empty:
        return ""
    rivals = rows.drop(index=["gp", "random"], errors="ignore")["loss_pct"].dropna()
    text = (
        f"The source that gp chooses for a language never seen loses {_loss(rows, 'gp')}; a "
        f"random one loses {_loss(rows, 'random')}"
    )
    if len(rivals):
        rule = str(rivals.idxmin())
        text += f"; the best simple rule here, {in_words(rule)}, {_loss(rows, rule)}"
    return f"{text}."


def _loss(rows: pd.DataFrame, method: str) -> str:
    columns = ["loss_pct", "loss_pct_low", "loss_pct_high"]
    value, low, high = rows.loc[[method], columns].to_numpy(float)[0]
    return f"{value:.1f} % ({_between(low, high)})"


def _choosing(one: Analysis, number: Count) -> Evidence:
    cold = one.methods[one.methods["protocol"] == "cold"]
    caption = (
        "Loss of the chosen source in per cent of the best, mean over targets, 95 % intervals over "
        "target languages; each target hidden with its own row (cold). "
        f"n = {int(cold['n_targets'].max())} targets."
    )
    wide = one.methods.pivot(index="method", columns="protocol", values=["loss_pct", "ndcg3"])
    wide.columns = pd.Index([" ".join(map(str, column)) for column in wide.columns])
    wide = wide.reindex(cold.set_index("method")["loss_pct"].sort_values().index).reset_index()
    ends = {"loss_pct_low": "low", "loss_pct_high": "high"}
    card = figures.choosing(cold.rename(columns=ends), most=20)
    return [
        _figure(card, caption, number),
        _table(wide, "Loss (%) and NDCG@3 (%), cold and warm.", 30, 1),
    ]


def _expectation(one: Analysis) -> str:
    level = one.level
    if not level:
        return ""
    text = (
        f"Predictions for held-out targets miss by {100 * level['mae_loto']:.1f} points on average "
        f"({_between(100 * level['mae_loto_low'], 100 * level['mae_loto_high'])}), R² "
        f"{level['r2_loto']:.2f} ({_between(level['r2_loto_low'], level['r2_loto_high'], 2)}); "
        f"their 90 % intervals hold {100 * level['coverage90']:.0f} % of the measured scores."
    )
    if level["r2_loto"] <= 0:
        text += " That is no better than the mean: do not rely on predicted scores here."
    return text


def _expected(one: Analysis, number: Count) -> Evidence:
    caption = (
        "Every cell predicted without any score of its target language, row or column. "
        f"n = {len(one.predictions)} cells of {one.level['n_targets']} targets."
    )
    return [_figure(figures.expected_scores(one.predictions), caption, number)]


def _set(one: Analysis) -> str:
    table = one.best_set
    if table.empty:
        return ""
    names = ", ".join(name(c) for c in table["source"])
    return (
        f"One model on {name(table['source'].iloc[0])} loses {table['loss_pct'].iloc[0]:.1f} % on "
        f"average beside the best source of each target; {len(table)} models ({names}) lose "
        f"{table['loss_pct'].iloc[-1]:.1f} %."
    )


def _best_set(one: Analysis, number: Count) -> Evidence:
    shown = one.best_set.assign(mean_best=100 * one.best_set["mean_best"])
    caption = f"Sources added one by one, each serving the targets it serves best. {_n(one)}."
    return [_table(shown.rename(columns={"mean_best": "mean best score"}), caption)]


def _next(one: Analysis) -> str:
    if one.next_best.empty:
        return "Every pair of the languages looked at is measured."
    out = []
    for kind, group in one.next_best.groupby("kind", sort=False):
        row = group.iloc[0]
        what = (
            f"A further source: {name(row['language'])} is expected to raise the best score of a "
            "target by"
            if kind == "source"
            else f"A further target: test data in {name(row['language'])}, for choosing its source "
            "by measuring instead of predicting, are worth"
        )
        ends = _between(100 * row["low"], 100 * row["high"], 2)
        out.append(f"{what} {100 * row['gain']:.2f} points on average ({ends}).")
    return " ".join(out)


def _next_best(one: Analysis, number: Count) -> Evidence:
    table = one.next_best
    if table.empty:
        return []
    shown = table.assign(**{c: 100 * table[c] for c in ("gain", "low", "high")})
    shown = shown.groupby("kind", sort=False).head(6).drop(columns="n_measured")
    caption = (
        "Expected gain in points with its 90 % interval, from the posterior of the process; n new "
        f"cells to measure. It reads n = {table['n_measured'].max()} measured cells."
    )
    return [_table(shown, caption)]


def _law(one: Analysis) -> str:
    if one.laws.empty:
        return ""
    best = one.laws.iloc[int(one.laws["mae"].argmin())]
    return (
        f"The law “{best['law']}” errs least at numbers of examples it has not seen: "
        f"{100 * best['mae']:.1f} points ({_between(100 * best['low'], 100 * best['high'])})."
    )


def _laws(one: Analysis, number: Count) -> Evidence:
    caption = (
        "Error at each curve's largest number of examples, hidden from the fit; 95 % intervals "
        f"over curves. n = {int(one.laws['n_curves'].max())} curves."
    )
    laws, label = one.laws.assign(task=one.task), "error, score points"
    card = figures.estimates(laws, "law", "task", value="mae", scale=100, bound=None, label=label)
    return [_figure(card, caption, number)]


def _oddest(one: Analysis) -> str:
    if one.residuals.empty:
        return ""
    r = one.residuals.iloc[0]
    return (
        f"The oddest: {name(r['source'])} to {name(r['target'])} scores {100 * r['y']:.0f}, where "
        f"similarity and the two languages' own effects together give {100 * r['expected']:.0f}."
    )


def _residuals(one: Analysis, number: Count) -> Evidence:
    table = one.residuals
    shown = table[["source", "target"]].assign(
        score=100 * table["y"], expected=100 * table["expected"], z=table["z"]
    )
    return [_table(shown, f"The largest standardised residuals z. {_n(one)}.", 8, 1)]


def _verdicts(one: Analysis) -> str:
    if one.claims.empty:
        return ""
    kinds = one.claims["verdict"].value_counts()
    counted = [f"{kinds.get(v, 0)} {v}" for v in VERDICTS]
    return f"Of {len(one.claims)} claims: {', '.join(counted)}."


def _claims(one: Analysis, number: Count) -> Evidence:
    shown = one.claims[["claim", "evidence", "estimate", "low", "high", "verdict"]]
    caption = f"Estimates with 95 % intervals; what the data leave open is called so. {_n(one)}."
    return [_table(shown, caption, 40)]


# part of the analysis, question, answer, evidence
_SECTIONS: tuple[
    tuple[str, str, Callable[[Analysis], str], Callable[[Analysis, Count], Evidence]], ...
] = (
    ("", "Who teaches whom?", _levels, _matrix),
    ("what explains transfer", "What drives transfer?", _drivers, _coefficients),
    ("shares of measures", "How much does each measure explain?", _share, _shares),
    ("growing models", "Does each kind of similarity add to those before it?", _step, _steps),
    ("choosing a source", "Which rule chooses the source?", _choice, _choosing),
    ("scores to expect", "Which score to expect for a new language?", _expectation, _expected),
    ("the best set", "Which few sources serve all targets?", _set, _best_set),
    ("what to measure next", "What is worth measuring next?", _next, _next_best),
    ("few-shot laws", "How does the score grow with target examples?", _law, _laws),
    ("what explains transfer", "Which pairs are odd?", _oddest, _residuals),
    ("", "Which claims hold?", _verdicts, _claims),
)
