"""An `analyze.Report` as files: one HTML page for people, tidy tables and JSON for programs.

The page needs nothing but itself: its figures are SVG inside it, its style too, and it asks for
nothing from outside. It follows the reader's light or dark setting. Each section is a question, its
answer in words, and the figure or table it rests on, with n.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from xltlib import io
from xltlib.book import figures
from xltlib.book.analyze import TABLES, Analysis, Report, as_json
from xltlib.languages import name

LANGUAGES = ("source", "target", "language", "chosen", "best")
Tell = Callable[[Analysis], str]
Show = Callable[[Analysis, Iterator[int]], str]
ROWS = 12  # of a table on the page; the whole is in its file

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --soft: #595959; --line: #ccc;
  --link: #00558c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #181a1b; --soft: #b3b3b3; --line: #4a4a4a; --link: #7cc4f5; } }
body { font: 1rem/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 52rem; margin: 0 auto; padding: 1rem; }
a { color: var(--link); } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2rem; } figure { margin: 1rem 0; }
figure svg { background: #fff; border-radius: .4rem; max-width: 100%; height: auto; }
figcaption, .note { color: var(--soft); font-size: .92rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
td.n { font-variant-numeric: tabular-nums; } .answer { font-weight: 600; }
"""


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
    made |= {f"{label}.csv": _csv(table) for label, table in tidy(report).items()}
    made |= {"scores.csv": _long_csv(report.scores), "pairs.csv": _long_csv(report.pairs)}
    made["analysis.json"] = json.dumps(as_json(report), indent=1, allow_nan=False) + "\n"
    return [io.write_text(place / label, text) for label, text in made.items()]


def _csv(table: pd.DataFrame) -> str:
    return str(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


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
    out = {}
    for label in TABLES:
        parts = []
        for one in report.analyses:
            table = getattr(one, label).drop(columns=["model", "task", "metric"], errors="ignore")
            for i, key in enumerate(("model", "task", "metric")):
                table.insert(i, key, getattr(one, key))
            parts.append(table)
        filled = [p for p in parts if len(p)]
        if filled:
            out[label] = pd.concat(filled, ignore_index=True)
    rows = [{"model": a.model, "task": a.task, "metric": a.metric, **a.counts, **a.level}
            for a in report.analyses]  # fmt: skip
    out = {"summary": pd.DataFrame(rows)} | out
    return out | ({"differences": report.differences} if len(report.differences) else {})


def summary(report: Report) -> list[str]:
    """The report in a few lines: what was understood, what dropped, the answers."""
    out = [*report.understood, *(f"dropped: {d.n} {d.what}" for d in report.dropped)]
    out += [f"not analysed: {label}: {why}" for label, why in report.unable.items()]
    for one in report.analyses:
        out.append(f"-- {one.task}, {one.model}, {one.metric}: {_n(one)}")
        out += [f"dropped: {d.n} {d.what}" for d in one.dropped] + list(one.warnings)
        told = [tell(one) for part, _, tell, _ in SECTIONS if part not in one.unable]
        out += [answer for answer in told if answer]
        out += [f"not computed: {part}: {why}" for part, why in one.unable.items()]
    return [*out, *filter(None, [differ(report)])]


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
    said = ", ".join(f"{_word(f)} ({_p(v)})" for f, v in sure.items())
    rest = f"of {len(p)} measures, over {n} tasks and models"
    return f"Coefficients differ for {said}, {rest}." if said else f"None can be told, {rest}."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def size(one: Analysis) -> str:
    """How much was measured, in words."""
    return f"{_n(one)}, {one.counts['measured']:.0%} of the matrix"


def answers(report: Report, part: str) -> list[str]:
    """The answers that rest on one part of the analysis (those on the table itself: ``""``).

    One sentence a model, task and question, in Markdown; what was not computed says why.
    """
    out = []
    for one in report.analyses:
        told = [one.unable[part]] if part in one.unable else [
            tell(one) for of, _, tell, _ in SECTIONS if of == part]  # fmt: skip
        out += [f"**{one.task}, {one.model}**: {answer}" for answer in told if answer]
    return out


# -- the page -------------------------------------------------------------------------------------


def page(report: Report) -> str:
    """The whole report as one HTML page."""
    number = itertools.count(1)
    heads = [f"{a.task}, {a.model}" for a in report.analyses]
    parts = [_opening(report, heads)]
    for i, (head, one) in enumerate(zip(heads, report.analyses, strict=True)):
        body = "\n".join(section for section in _sections(one, number))
        parts.append(f'<section id="a{i}"><h2>{escape(head)}</h2>\n{body}</section>')
    parts += _differences(report)
    title = escape(f"What {report.name} says about cross-lingual transfer")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n"
        + "\n".join(parts)
        + f"\n{_words()}</main></body></html>\n"
    )


def _differences(report: Report) -> list[str]:
    """The coefficients of all tasks and models beside one another, where there are several."""
    table = report.differences
    if table.empty:
        return []
    ends = zip(table["beta"], table["low"], table["high"], strict=True)
    words = [f"{b:.2f} ({_between(a, z, 2)})".replace("-", "−") for b, a, z in ends]
    shown = table.assign(words=words, of=table["task"] + ", " + table["model"])
    wide = shown.pivot(index="feature", columns="of", values="words").reindex(
        table["feature"].unique()
    )
    p = table.drop_duplicates("feature").set_index("feature")["p_equal"]
    wide["p"] = p.map(lambda value: _p(value).removeprefix("p ").removeprefix("= "))
    caption = (
        "Standardised coefficient of each measure in each task and model, with its 95 % interval "
        "clustered by source and target, from one joint fit; p of a Wald test that they are equal. "
        f"n = {sum(int(a.counts['n_pairs']) for a in report.analyses)} cells."
    )
    rows = wide.reset_index().rename(columns={"feature": "measure"})
    return [
        "<section><h2>All tasks and models</h2><h3>Do tasks and models differ?</h3>"
        f'<p class="answer">{escape(differ(report))}</p>{_table(rows, caption, 30, 3)}</section>'
    ]


def _opening(report: Report, heads: Sequence[str]) -> str:
    """What was read, what was left out, and where to find what."""
    out = ["<h3>What was read?</h3>", _items(report.understood)]
    if report.dropped:
        out += ["<h3>What was left out?</h3>", _items([f"{d.n} {d.what}" for d in report.dropped])]
    if report.unable:
        out += ["<h3>What could not be analysed?</h3>",
                _items([f"{k}: {v}" for k, v in report.unable.items()])]  # fmt: skip
    links = [f'<li><a href="#a{i}">{escape(h)}</a></li>' for i, h in enumerate(heads)]
    return "\n".join([*out, f"<nav><ul>{''.join(links)}</ul></nav>" if len(links) > 1 else ""])


def _items(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _words() -> str:
    """The terms, for a reader who comes to this page first."""
    terms = {
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
    rows = [f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in terms.items()]
    return f"<h2>Words</h2><dl>{''.join(rows)}</dl>"


def _sections(one: Analysis, number: Iterator[int]) -> Iterator[str]:
    """Question, answer and evidence, one after the other; what is missing says why."""
    for part, question, tell, show in SECTIONS:
        head = f"<h3>{escape(question)}</h3>"
        if part in one.unable:
            yield f'{head}<p class="note">Not computed: {escape(one.unable[part])}.</p>'
        elif answer := tell(one):
            yield f'{head}<p class="answer">{escape(answer)}</p>{show(one, number)}'


def _figure(card: figures.Card, caption: str, number: Iterator[int]) -> str:
    """An SVG inside the page: its names made unlike those of the other figures."""
    k = next(number)
    svg = card._repr_svg_()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="f{k}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>f{k}-", svg)
    label = escape(caption.split(".")[0], quote=True)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f"<figure>{svg}<figcaption>Figure {k}. {escape(caption)}</figcaption></figure>"


def _table(table: pd.DataFrame, caption: str, most: int = ROWS, digits: int = 2) -> str:
    """A table with languages by name and rounded numbers; of a long one the first rows."""
    cells = []
    for row in table.head(most).to_dict("records"):
        shown = [_cell(str(k), v, digits) for k, v in row.items()]
        cells.append("<tr>" + "".join(shown) + "</tr>")
    heads = "".join(f'<th scope="col">{escape(str(c).replace("_", " "))}</th>' for c in table)
    rest = f" The first {most} of {len(table)}." if len(table) > most else ""
    return (
        f'<div class="wide"><table><caption>{escape(caption + rest)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(cells)}</tbody></table></div>"
    )


def _cell(column: str, value: object, digits: int) -> str:
    if isinstance(value, float):
        text = "–" if not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")
        return f'<td class="n">{text}</td>'
    text = name(str(value)) if column in LANGUAGES else str(value).replace("_", " ")
    return f"<td>{escape(text)}</td>"


def _between(low: float, high: float, digits: int = 1) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    return f"{low:.{digits}f} to {high:.{digits}f}".replace("-", "−")


def _n(one: Analysis) -> str:
    c = one.counts
    return f"n = {c['n_pairs']} pairs of {c['n_sources']} sources and {c['n_targets']} targets"


# -- section by section ---------------------------------------------------------------------------


def _levels_of(one: Analysis) -> str:
    zero = one.scores[one.scores["n_target"] == 0]
    mean, low, high = (100 * float(f) for f in (zero["score"].mean(), *_ends(zero["score"])))
    share = one.fit.get("r2_effects", math.nan)
    text = f"Zero-shot scores lie between {low:.0f} and {high:.0f} of 100, {mean:.1f} on average."
    if math.isfinite(share):
        text += (f" {100 * share:.0f} % of their variance is how good each source and how easy each"
                 " target is by itself.")  # fmt: skip
    return text


def _matrix(one: Analysis, number: Iterator[int]) -> str:
    zero = one.scores[one.scores["n_target"] == 0]
    notes = [f"{d.n} {d.what}" for d in one.dropped] + list(one.warnings)
    caption = (
        f"Zero-shot {one.metric} of every target (column) from every source (row), 0 to 100; "
        f"white: not measured. {size(one)}."
    )
    card = figures.transfer_matrix(zero, one.task, one.model, one.metric)
    return (_items(notes) if notes else "") + _figure(card, caption, number)


def _ends(values: pd.Series) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _driver(one: Analysis) -> str:
    table = one.coefficients
    if table.empty:
        return ""
    both = table[((table["low"] > 0) | (table["high"] < 0)) & (table["p_holm"] <= 0.05)]
    order = both.reindex(both["beta"].abs().sort_values(ascending=False).index)
    said = [f"{_word(r.feature)} ({r.beta:+.2f})".replace("-", "−") for r in order.itertuples()]
    if not said:
        return (
            "No single measure goes with the score by both tests, all others held fast (the "
            "permutation test corrected for the number of measures)."
        )
    return (
        "Beside all other measures, these go with the score by both tests (the permutation test "
        f"corrected for the number of measures): {', '.join(said)}."
    )


def _drives(one: Analysis, number: Iterator[int]) -> str:
    table = one.coefficients
    caption = (
        "Standardised coefficient of each measure over source and target effects, 95 % intervals "
        f"clustered by source and target; filled: the permutation test agrees. {_n(one)}."
    )
    shown = table.assign(task=one.task)
    keep = ["feature", "beta", "se_cluster", "p_cluster", "p_mrqap", "beta_mixed", "se_mixed"]
    rows = table[[*keep, "vif"]]
    return _figure(figures.coefficients(shown), caption, number) + _table(
        rows, "Three kinds of inference beside each other.", 20, 3
    )


def _word(measure: object) -> str:
    return figures.in_words(measure)


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
        f"%); most of it {_word(first['feature'])}, {100 * first['share']:.0f} %."
    )


def _shares(one: Analysis, number: Iterator[int]) -> str:
    caption = (
        "Share of the variance left by source and target effects, mean over orders of entry "
        "(LMG), beyond what the same measures of permuted languages explain; 95 % intervals over "
        f"languages. {_n(one)}."
    )
    return _figure(figures.shares(one.shares), caption, number)


def _step(one: Analysis) -> str:
    table = one.steps
    if table.empty:
        return ""
    gains = table.iloc[1:]
    best = table.iloc[int(gains["cv_gain"].argmax()) + 1] if len(gains) else table.iloc[0]
    sure = best["cv_gain_low"] > 0
    return (
        f"Beyond the first step, {best['features'].split(', ')[0].replace('_', ' ')}, the model up "
        f"to “{best['step'].removeprefix('+ ')}” removes {100 * best['cv_gain']:.1f} % more of the "
        f"error on languages never seen "
        f"({_between(100 * best['cv_gain_low'], 100 * best['cv_gain_high'])}): "
        + ("it adds something." if sure else "that may be nothing.")
    )


def _steps(one: Analysis, number: Iterator[int]) -> str:
    caption = (
        "Growing models: variance explained over source and target effects, beyond chance (seen "
        "languages), and error removed in ordering the sources of languages never seen; 95 % "
        f"intervals over languages. {_n(one)}."
    )
    return _figure(figures.nested(one.steps.drop(columns="task", errors="ignore")), caption, number)


def _choice(one: Analysis) -> str:
    table = one.methods[one.methods["protocol"] == "cold"]
    if table.empty:
        return ""
    rows = table.set_index("method")
    rivals = rows.drop(index=["gp", "random"], errors="ignore")["loss_pct"].dropna()
    text = (
        f"The source that gp chooses for a language never seen loses {_loss(rows, 'gp')}; a "
        f"random one loses {_loss(rows, 'random')}"
    )
    if len(rivals):
        rule = str(rivals.idxmin())
        text += f"; the best simple rule here, {_word(rule)}, {_loss(rows, rule)}"
    return f"{text}."


def _choosing(one: Analysis, number: Iterator[int]) -> str:
    table = one.methods[one.methods["protocol"] == "cold"]
    rows = table.set_index("method")
    n = int(rows["n_targets"].max())
    caption = (
        "Loss of the chosen source in per cent of the best, mean over targets, 95 % intervals over "
        f"target languages; each target hidden with its own row (cold). n = {n} targets."
    )
    ends = {"loss_pct_low": "low", "loss_pct_high": "high"}
    wide = one.methods.pivot(index="method", columns="protocol", values=["loss_pct", "ndcg3"])
    wide.columns = pd.Index([" ".join(map(str, column)) for column in wide.columns])
    wide = wide.reindex(rows["loss_pct"].sort_values().index).reset_index()
    return _figure(figures.choosing(table.rename(columns=ends), most=20), caption, number) + _table(
        wide, "Loss (%) and NDCG@3 (%), cold and warm.", 30, 1
    )


def _loss(rows: pd.DataFrame, method: str) -> str:
    columns = ["loss_pct", "loss_pct_low", "loss_pct_high"]
    value, low, high = rows.loc[[method], columns].to_numpy(float)[0]
    return f"{value:.1f} % ({_between(low, high)})"


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


def _expected(one: Analysis, number: Iterator[int]) -> str:
    caption = (
        "Every cell predicted without any score of its target language, row or column. "
        f"n = {len(one.predictions)} cells of {one.level['n_targets']} targets."
    )
    return _figure(figures.expected_scores(one.predictions), caption, number)


def _served(one: Analysis) -> str:
    table = one.best_set
    if table.empty:
        return ""
    names = ", ".join(name(c) for c in table["source"])
    return (
        f"One model on {name(table['source'].iloc[0])} loses {table['loss_pct'].iloc[0]:.1f} % on "
        f"average beside the best source of each target; {len(table)} models ({names}) lose "
        f"{table['loss_pct'].iloc[-1]:.1f} %."
    )


def _best_set(one: Analysis, number: Iterator[int]) -> str:
    table = one.best_set
    shown = table.assign(mean_best=100 * table["mean_best"])
    caption = f"Sources added one by one, each serving the targets it serves best. {_n(one)}."
    return _table(shown.rename(columns={"mean_best": "mean best score"}), caption)


def _ahead(one: Analysis) -> str:
    table = one.next_best
    if table.empty:
        return "Every pair of the languages looked at is measured."
    said = []
    for kind, group in table.groupby("kind", sort=False):
        row = group.iloc[0]
        what = (
            f"A further source: {name(row['language'])} is expected to raise the best score of a "
            "target by"
            if kind == "source"
            else f"A further target: test data in {name(row['language'])}, for choosing its source "
            "by measuring instead of predicting, are worth"
        )
        ends = _between(100 * row["low"], 100 * row["high"], 2)
        said.append(f"{what} {100 * row['gain']:.2f} points on average ({ends}).")
    return " ".join(said)


def _next(one: Analysis, number: Iterator[int]) -> str:
    table = one.next_best
    if table.empty:
        return ""
    shown = table.assign(**{c: 100 * table[c] for c in ("gain", "low", "high")})
    shown = shown.groupby("kind", sort=False).head(6).drop(columns="n_measured")
    caption = (
        "Expected gain in points with its 90 % interval, from the posterior of the process; n new "
        f"cells to measure. It reads n = {table['n_measured'].max()} measured cells."
    )
    return _table(shown, caption)


def _law(one: Analysis) -> str:
    if one.laws.empty:
        return ""
    best = one.laws.iloc[int(one.laws["mae"].argmin())]
    return (
        f"The law “{best['law']}” errs least at numbers of examples it has not seen: "
        f"{100 * best['mae']:.1f} points ({_between(100 * best['low'], 100 * best['high'])})."
    )


def _laws(one: Analysis, number: Iterator[int]) -> str:
    caption = (
        "Error at each curve's largest number of examples, hidden from the fit; 95 % intervals "
        f"over curves. n = {int(one.laws['n_curves'].max())} curves."
    )
    shown = one.laws.assign(task=one.task)
    how = {"value": "mae", "scale": 100, "bound": None, "label": "error, score points"}
    return _figure(figures.estimates(shown, "law", "task", **how), caption, number)


def _oddest(one: Analysis) -> str:
    if one.residuals.empty:
        return ""
    r = one.residuals.iloc[0]
    return (
        f"The oddest: {name(r['source'])} to {name(r['target'])} scores {100 * r['y']:.0f}, where "
        f"similarity and the two languages' own effects together give {100 * r['expected']:.0f}."
    )


def _odd(one: Analysis, number: Iterator[int]) -> str:
    table = one.residuals
    shown = table[["source", "target"]].assign(
        score=100 * table["y"], expected=100 * table["expected"], z=table["z"]
    )
    return _table(shown, f"The largest standardised residuals z. {_n(one)}.", 8, 1)


def _held(one: Analysis) -> str:
    if one.claims.empty:
        return ""
    kinds = one.claims["verdict"].value_counts()
    said = [f"{kinds.get(v, 0)} {v}" for v in ("holds", "does not hold", "cannot tell")]
    return f"Of {len(one.claims)} claims: {', '.join(said)}."


def _claims(one: Analysis, number: Iterator[int]) -> str:
    table = one.claims
    shown = table[["claim", "evidence", "estimate", "low", "high", "verdict"]]
    caption = f"Estimates with 95 % intervals; what the data leave open is called so. {_n(one)}."
    return _table(shown, caption, 40)


# part of the analysis, question, answer, evidence
SECTIONS: tuple[tuple[str, str, Tell, Show], ...] = (
    ("", "Who teaches whom?", _levels_of, _matrix),
    ("what explains transfer", "What drives transfer?", _driver, _drives),
    ("shares of measures", "How much does each measure explain?", _share, _shares),
    ("growing models", "Does each kind of similarity add to those before it?", _step, _steps),
    ("choosing a source", "Which rule chooses the source?", _choice, _choosing),
    ("scores to expect", "Which score to expect for a new language?", _expectation, _expected),
    ("the best set", "Which few sources serve all targets?", _served, _best_set),
    ("what to measure next", "What is worth measuring next?", _ahead, _next),
    ("few-shot laws", "How does the score grow with target examples?", _law, _laws),
    ("what explains transfer", "Which pairs are odd?", _oddest, _odd),
    ("", "Which claims hold?", _held, _claims),
)
