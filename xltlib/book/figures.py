"""Figures: a tidy table in, a figure out; one style for all of them.

A figure is a white card, readable on a light and on a dark page, 750 pixels wide, in colours that
the colour-blind can tell apart (Okabe & Ito 2008; cividis). Languages are named in English.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from xltlib.explain.fewshot import CURVE, Fit
from xltlib.languages import language, name
from xltlib.scores import cells, gain, select

__all__ = [
    "COLOURS",
    "Card",
    "by_language",
    "choosing",
    "data_audit",
    "reported_scores",
    "coefficients",
    "confusion",
    "estimates",
    "expected_scores",
    "few_shot",
    "in_order",
    "known_curves",
    "law_errors",
    "learning_curve",
    "similarity_scatter",
    "measure_agreement",
    "nested_bars",
    "raw_and_gain",
    "shares",
    "similarity_maps",
    "transfer_matrix",
    "transfer_means",
    "use_style",
]

P = ParamSpec("P")

COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#222222",
    "grey": "#767676",
}
CYCLE = [COLOURS[c] for c in ("blue", "vermilion", "green", "orange", "purple", "sky", "black")]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
WIDTH = 7.5  # inches; 750 px at 100 dots per inch
SEQUENTIAL, DIVERGING = "cividis", "PuOr_r"
STYLE: Any = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "axes.facecolor": "white",
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": "#222222",
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": "#222222",
    "lines.linewidth": 1.6,
    "svg.hashsalt": "xltlib",
    "svg.fonttype": "path",
}
WORDS = {
    "word_order": "word order",
    "lexical_translit": "lexical (transliterated)",
    "data_size": "data size",
    "later": "text also in a later split",
    "twice": "text twice in the split",
    "best_mean": "best on average",
    "english": "English",
}


def use_style() -> None:
    """The house style, for the figures here and for your own."""
    mpl.rcParams.update(STYLE)


class Card(Figure):
    """A figure that a notebook shows as SVG, and that saves the same bytes for the same data."""

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        self.save(buffer, "svg")
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str] | io.StringIO, kind: str | None = None) -> None:
        """Write SVG or PNG, by the ending of the name; the file appears whole or not at all."""
        suffix = kind or Path(str(path)).suffix.lstrip(".").lower()
        options: dict[str, Any] = {"format": suffix, "bbox_inches": "tight", "pad_inches": 0.1}
        if suffix == "svg":
            options["metadata"] = {"Date": None}
        with mpl.rc_context(STYLE):
            if isinstance(path, io.StringIO):
                self.savefig(path, **options)
                return
            temporary = f"{path}.partial"
            self.savefig(temporary, **options)
            os.replace(temporary, path)


def _card(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Card, Any]:
    """A new figure and its axes (always a 2-d array)."""
    figure = Card(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _styled(draw: Callable[P, Card]) -> Callable[P, Card]:
    """Draw in the house style whatever the notebook has set."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Card:
        with mpl.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once: every drawing is the same
            return figure

    return inside


def _bar(figure: Card, ax: Axes, image: Any, label: str = "", size: float = 8) -> None:
    """A colour bar exactly as high as its map."""
    bar = figure.colorbar(image, cax=ax.inset_axes((1.03, 0.0, 0.035, 1.0)))
    bar.ax.tick_params(labelsize=size, length=2)
    bar.set_label(label, fontsize=size + 1)
    bar.outline.set_visible(False)


def _word(label: object) -> str:
    text = str(label)
    return WORDS.get(text, text.replace("_", " "))


def _colour(i: int) -> str:
    return CYCLE[i % len(CYCLE)]


def in_order(codes: Sequence[str]) -> list[str]:
    """Languages by script, family and name: what is alike stands together."""
    known = [language(c) for c in dict.fromkeys(codes)]
    return [k.code for k in sorted(known, key=lambda k: (k.script or "", k.family or "", k.name))]


# -- matrices -------------------------------------------------------------------------------------


def _ticks(ax: Axes, rows: Sequence[str], columns: Sequence[str], size: float) -> None:
    """Language names; only every second, third, … where they would run into one another."""
    for axis, codes, room in ((ax.yaxis, rows, 45), (ax.xaxis, columns, 45)):
        shown = range(0, len(codes), math.ceil(len(codes) / room))
        axis.set_ticks(list(shown), [name(codes[i]) for i in shown], fontsize=size)
    ax.tick_params(axis="x", rotation=90, length=0)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)


def _script_lines(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """White lines where the script changes."""
    for codes, draw in ((rows, ax.axhline), (columns, ax.axvline)):
        scripts = [language(c).script for c in codes]
        for i in range(1, len(scripts)):
            if scripts[i] != scripts[i - 1]:
                draw(i - 0.5, color="white", linewidth=min(2.5, 35 / len(columns)))


def _numbers(ax: Axes, values: np.ndarray, image: Any, size: float, form: str = "{:.0f}") -> None:
    """The value in every cell, black or white by what can be read on its colour."""
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        text = form.format(value)
        text = form.format(0.0) if float(text) == 0 else text  # no -0
        shown = ax.text(j, i, text, ha="center", va="center", fontsize=size,
                        color="#111111" if light > 0.18 else "white")  # fmt: skip
        shown.set_in_layout(False)  # it is inside the axes: measuring hundreds of them is slow


def _grid(table: pd.DataFrame, value: str, rows: Sequence[str], columns: Sequence[str]) -> Any:
    wide = table.pivot_table(index="source", columns="target", values=value, aggfunc="mean")
    return wide.reindex(index=list(rows), columns=list(columns)).to_numpy(dtype=float, copy=True)


@_styled
def similarity_maps(
    pairs: pd.DataFrame, measures: Sequence[str] | None = None, across: int = 3
) -> Card:
    """How alike the languages are: one small map per measure (pairs table), higher = more alike."""
    skip = {"source", "target"}
    shown = list(measures or [c for c in pairs.columns if c not in skip and "coverage" not in c])
    shown = [m for m in shown if pairs[m].notna().any()]
    order = in_order([*pairs["source"], *pairs["target"]])
    down = math.ceil(len(shown) / across)
    figure, axes = _card(2.15 * down + 0.6, down, across)
    for ax, measure in zip(axes.flat, shown, strict=False):
        values = _grid(pairs, measure, order, order)
        np.fill_diagonal(values, np.nan)
        whole = {"vmin": 0.0, "vmax": 1.0} if measure.startswith("coverage_") else {}
        image = ax.imshow(values, cmap=SEQUENTIAL, aspect="equal", **whole)
        _ticks(ax, order, order, 7 if len(order) <= 14 else 4)
        if ax not in axes[:, 0]:
            ax.set_yticks([])
        if ax not in axes[-1, :] and ax not in axes.flat[len(shown) - across : len(shown)]:
            ax.set_xticks([])
        ax.set_title(_word(measure), fontsize=10)
        _bar(figure, ax, image, size=7)
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    return figure


@_styled
def measure_agreement(table: pd.DataFrame) -> Card:
    """How far two measures of similarity say the same: their correlation over the pairs.

    `table` is that of `checks.agreement`: ``first, second, r``.
    """
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    values = np.full((len(names), len(names)), np.nan)
    for first, second, r in table[["first", "second", "r"]].itertuples(index=False):
        i, j = sorted((names.index(first), names.index(second)))
        values[j, i] = r
    down, across = names[1:], names[:-1]
    values = values[1:, :-1]
    figure, axes = _card(1.4 + 0.38 * len(down))
    ax = axes[0, 0]
    image = ax.imshow(values, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    ax.set_yticks(range(len(down)), [_word(m) for m in down])
    ax.set_xticks(range(len(across)), [_word(m) for m in across], rotation=40, ha="right")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    _numbers(ax, values, image, 8, "{:.2f}")
    _bar(figure, ax, image, "correlation over pairs of languages")
    return figure


def _matrix(
    ax: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], **options: Any
) -> Any:
    """One source x target map in score points; in-language cells outlined, outside the colours."""
    same = np.array([[r == c for c in columns] for r in rows])
    image = ax.imshow(np.where(same, np.nan, values), aspect="equal", **options)
    size = 7.5 if len(columns) <= 14 else 5.5
    _ticks(ax, rows, columns, 8.5 if len(columns) <= 14 else 5.5)
    _script_lines(ax, rows, columns)
    if len(columns) <= 20:
        _numbers(ax, np.where(same, np.nan, values), image, size)
    for i, j in np.argwhere(same):
        style: Any = {"facecolor": "white", "edgecolor": "#999999", "linewidth": 0.6}
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, **style))
        if len(columns) <= 20 and np.isfinite(values[i, j]):
            ax.text(j, i, f"{round(values[i, j])}", ha="center", va="center", fontsize=size,
                    color="#555555", style="italic")  # fmt: skip
    return image


@_styled
def transfer_matrix(
    scores: pd.DataFrame, task: str, model: str | None = None, metric: str | None = None
) -> Card:
    """Who teaches whom: zero-shot score of every target (column) from every source (row).

    The colours show transfer only; the in-language scores stand on white, in italics.
    """
    rows = select(scores, model=model, task=task, metric=metric)
    table = cells(rows[rows["n_target"] == 0])
    order_s, order_t = in_order(list(table["source"])), in_order(list(table["target"]))
    values = 100 * _grid(table, "score", order_s, order_t)
    height = 1.9 + min(5.6, 5.6 * len(order_s) / max(len(order_t), 1))
    figure, axes = _card(height)
    image = _matrix(axes[0, 0], values, order_s, order_t, cmap=SEQUENTIAL)
    axes[0, 0].set(xlabel="target", ylabel="source", title=f"{_word(task)}: zero-shot score")
    _bar(figure, axes[0, 0], image, f"{_word(table['metric'].iloc[0])}, 0 to 100")
    return figure


@_styled
def raw_and_gain(scores: pd.DataFrame, task: str, model: str, baseline: str) -> Card:
    """The raw score beside the gain over an arm: what pre-training itself has added."""
    both = gain(select(scores, task=task), model, baseline)
    both = both[both["n_target"] == 0]
    both = both[both["metric"] == both["metric"].min()]
    order_s, order_t = in_order(list(both["source"])), in_order(list(both["target"]))
    raw = 100 * _grid(both, "score", order_s, order_t)
    more = 100 * _grid(both, "gain", order_s, order_t)
    stacked = len(order_s) < len(order_t) / 2
    height = 5.6 if stacked else 1.4 + 2.75 * len(order_s) / len(order_t)
    figure, axes = _card(height, *((2, 1) if stacked else (1, 2)))
    first, second = axes.flat
    off = np.array([[r != c for c in order_t] for r in order_s])
    top = float(np.nanmax(np.abs(np.where(off, more, np.nan)), initial=1.0))
    images = [
        _matrix(first, raw, order_s, order_t, cmap=SEQUENTIAL),
        _matrix(second, more, order_s, order_t, cmap=DIVERGING, vmin=-top, vmax=top),
    ]
    first.set(title=f"{_word(task)}: score", ylabel="source")
    second.set(title=f"gain over {_word(baseline)}")
    for ax, image in zip((first, second), images, strict=True):
        ax.set_xlabel("target")
        for text in ax.texts:
            text.set_fontsize(6)
        _bar(figure, ax, image, size=7)
    if not stacked:
        second.set_yticks([])
    return figure


@_styled
def confusion(
    table: pd.DataFrame,
    title: str = "",
    truth: str = "right answer",
    answer: str = "answer given",
) -> Card:
    """Mistakes: rows = right answer, columns = given answer, in per cent of the row.

    `table` has columns ``truth`` and ``answer``, one row per item (or a ``count`` column); the
    words of the axes can be others.
    """
    counts = (
        pd.crosstab(table["truth"], table["answer"])
        if "count" not in table
        else table.pivot_table(
            index="truth", columns="answer", values="count", aggfunc="sum", fill_value=0
        )
    )
    labels = [c for c in counts.index if set(counts.index) & set(counts.columns)]
    labels += [c for c in counts.columns if c not in labels]
    counts = counts.reindex(index=list(counts.index), columns=labels, fill_value=0)
    share = 100 * counts.to_numpy(float) / counts.to_numpy(float).sum(axis=1, keepdims=True)
    figure, axes = _card(min(7.0, 1.6 + 0.42 * len(counts)))
    ax = axes[0, 0]
    image = ax.imshow(share, cmap=SEQUENTIAL, vmin=0, vmax=100, aspect="auto")
    ax.set_yticks(range(len(counts)), [_word(v) for v in counts.index])
    ax.set_xticks(range(len(labels)), [_word(v) for v in labels], rotation=40, ha="right")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    _numbers(ax, share, image, 8)
    ax.set(xlabel=answer, ylabel=truth, title=title)
    _bar(figure, ax, image, "per cent of the row")
    return figure


# -- dots with intervals --------------------------------------------------------------------------


def _dots(ax: Axes, table: pd.DataFrame, y: np.ndarray, value: str, i: int, label: str) -> None:
    """Dots with horizontal 95 % intervals."""
    mid = table[value].to_numpy(dtype=float)
    low, high = (table[c].to_numpy(dtype=float) for c in ("low", "high"))
    ax.hlines(y, low, high, color=_colour(i), linewidth=1.8)
    ax.plot(mid, y, MARKERS[i % len(MARKERS)], color=_colour(i), markersize=6, label=label,
            markeredgecolor="white", markeredgewidth=0.7)  # fmt: skip


@_styled
def transfer_means(means: pd.DataFrame, chance: Mapping[str, float] | None = None) -> Card:
    """In-language, zero-shot and the controls: a dot and its 95 % interval, one panel per task.

    `means` has ``task, arm, mean, low, high`` (0..1), in the order to be shown; `chance` gives a
    task's chance level.
    """
    tasks = list(dict.fromkeys(means["task"]))
    arms = list(dict.fromkeys(means["arm"]))
    figure, axes = _card(1.1 + 0.36 * len(arms), 1, len(tasks), sharey=True)
    for ax, task in zip(axes.flat, tasks, strict=True):
        rows = means[means["task"] == task]
        for i, arm in enumerate(arms):
            one = rows[rows["arm"] == arm].assign(
                mean=lambda d: 100 * d["mean"], low=lambda d: 100 * d["low"],
                high=lambda d: 100 * d["high"])  # fmt: skip
            _dots(ax, one, np.full(len(one), float(i)), "mean", i, arm)
        if chance and task in chance:
            ax.axvline(100 * chance[task], color=COLOURS["grey"], linestyle=":", linewidth=1.2)
            ax.annotate("chance", (100 * chance[task], 1.0), xycoords=("data", "axes fraction"),
                        xytext=(3, -2), textcoords="offset points", fontsize=8, va="top",
                        color=COLOURS["grey"])  # fmt: skip
        ax.set_yticks(range(len(arms)), [_word(a) for a in arms])
        ax.set_ylim(len(arms) - 0.4, -0.8)
        ax.set_xlim(left=min(0.0, float(100 * rows["low"].min())))
        ax.grid(axis="x")
        ax.set(title=_word(task), xlabel="score, 0 to 100")
    return figure


@_styled
def coefficients(table: pd.DataFrame, by: str = "task", p: str = "p_mrqap") -> Card:
    """Forest of standardised coefficients with clustered 95 % intervals.

    `table` has ``feature, beta, low, high`` and a column `by` (tasks, matrices). A filled mark
    means that the permutation test agrees (p at most 0.05).
    """
    features, groups = list(dict.fromkeys(table["feature"])), list(dict.fromkeys(table[by]))
    figure, axes = _card(0.9 + len(features) * (0.2 + 0.11 * len(groups)))
    ax = axes[0, 0]
    step = 0.72 / max(len(groups), 1)
    for i, group in enumerate(groups):
        rows = table[table[by] == group]
        y = np.array([features.index(f) for f in rows["feature"]], dtype=float)
        y += (i - (len(groups) - 1) / 2) * step
        ax.hlines(y, rows["low"], rows["high"], color=_colour(i), linewidth=1.6)
        sure = rows[p].to_numpy(dtype=float) <= 0.05 if p in rows else np.ones(len(rows), bool)
        for filled in (True, False):
            mine = sure == filled
            fill = _colour(i) if filled else "white"
            ax.plot(rows["beta"].to_numpy()[mine], y[mine], MARKERS[i % len(MARKERS)],
                    markersize=6, color=_colour(i), markerfacecolor=fill)  # fmt: skip
        ax.plot([], [], MARKERS[i % len(MARKERS)], color=_colour(i), label=_word(group))
    ax.axvline(0, color="#444444", linewidth=0.9)
    ax.set_yticks(range(len(features)), [_word(f) for f in features])
    ax.set_ylim(len(features) - 0.5, -0.5)
    ax.grid(axis="x")
    ax.set_xlabel("standardised coefficient over source and target effects")
    if p in table:
        ax.plot([], [], "o", color="#444444", markerfacecolor="white", label="MRQAP p > 0.05")
    if len(groups) > 1 or p in table:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@_styled
def estimates(
    table: pd.DataFrame,
    rows: str,
    panel: str = "",
    colour: str = "",
    columns: int = 3,
    label: str = "difference in points",
) -> Card:
    """Estimates with their 95 % intervals, as `contrast.estimates` gives them.

    `table` has ``estimate, low, high``, in the order to be shown; `rows`, `panel` and `colour` name
    columns for the lines of a panel, the panels and the marks of a line. A mark is filled where
    ``verdict`` says that the interval is on one side of the bound, hollow where it cannot tell;
    without that column all are filled.
    """
    given = table.assign(_one="")
    panels, lines, marks = (list(dict.fromkeys(given[c or "_one"])) for c in (panel, rows, colour))
    down = math.ceil(len(panels) / columns)
    height = 0.6 + down * (0.55 + len(lines) * max(0.19, 0.13 * len(marks)))
    figure, axes = _card(height, down, min(columns, len(panels)), sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, name_it in zip(axes.flat, panels, strict=False):
        for i, mark in enumerate(marks):
            own = given[(given[panel or "_one"] == name_it) & (given[colour or "_one"] == mark)]
            shift = (i - (len(marks) - 1) / 2) * 0.7 / len(marks)
            _marks(ax, own, np.array([lines.index(r) for r in own[rows]]) + shift, i)
        ax.axvline(0, color="#444444", linewidth=0.9)
        spoken = name if rows in ("source", "target", "language") else _word
        ax.set_yticks(range(len(lines)), [spoken(line) for line in lines])
        ax.set_ylim(len(lines) - 0.5, -0.5)
        ax.grid(axis="x")
        ax.set_title(_word(name_it))
    if colour:
        for i, mark in enumerate(marks):
            ax.plot([], [], MARKERS[i % len(MARKERS)], color=_colour(i), label=_word(mark))
        figure.legend(loc="outside upper center", ncols=3)
    figure.supxlabel(label, fontsize=10)
    return figure


def _marks(ax: Axes, own: pd.DataFrame, y: np.ndarray, i: int) -> None:
    """One colour of `estimates`: intervals, and marks that are hollow where one cannot tell."""
    ax.hlines(y, own["low"], own["high"], color=_colour(i), linewidth=1.6)
    known = own["verdict"] if "verdict" in own else pd.Series("holds", index=own.index)
    unsure = (known == "cannot tell").to_numpy()
    for which, fill in ((~unsure, _colour(i)), (unsure, "white")):
        ax.plot(own["estimate"].to_numpy()[which], y[which], MARKERS[i % len(MARKERS)],
                markersize=5, color=_colour(i), markerfacecolor=fill)  # fmt: skip


@_styled
def forest(
    table: pd.DataFrame,
    rows: str = "matrix",
    columns: int = 4,
    label: str = "standardised coefficient",
) -> Card:
    """One panel a measure, one line a table: coefficients with clustered 95 % intervals.

    `table` has ``feature, beta, low, high, p_mrqap`` and a column `rows`, in the order to be shown;
    `label` says what the axis is.
    A filled mark means that the permutation test agrees (p at most 0.05).
    """
    features, names = list(dict.fromkeys(table["feature"])), list(dict.fromkeys(table[rows]))
    lines = math.ceil(len(features) / columns)
    height = 0.6 + lines * (0.55 + 0.19 * len(names))
    figure, axes = _card(height, lines, columns, sharey=True)
    for ax in axes.flat[len(features) :]:
        ax.set_visible(False)
    for ax, feature in zip(axes.flat, features, strict=False):
        mine = table[table["feature"] == feature]
        y = np.array([names.index(n) for n in mine[rows]], dtype=float)
        ax.hlines(y, mine["low"], mine["high"], color=COLOURS["blue"], linewidth=1.6)
        sure = mine["p_mrqap"].to_numpy(dtype=float) <= 0.05
        for which, fill in ((sure, COLOURS["blue"]), (~sure, "white")):
            ax.plot(mine["beta"].to_numpy()[which], y[which], "o", markersize=5,
                    color=COLOURS["blue"], markerfacecolor=fill)  # fmt: skip
        ax.axvline(0, color="#444444", linewidth=0.9)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(axis="x")
        ax.set_title(_word(feature))
    figure.supxlabel(label, fontsize=10)
    return figure


@_styled
def data_audit(table: pd.DataFrame, values: Sequence[str] = ("later", "twice")) -> Card:
    """How much of the data repeats: a dot a language, a line a task and split, a panel a value.

    `table` has ``task, split`` and shares (0..1) in the columns `values`.
    """
    lines = table[["task", "split"]].drop_duplicates().reset_index(drop=True)
    figure, axes = _card(1.0 + 0.24 * len(lines), 1, len(values), sharey=True)
    for i, (ax, value) in enumerate(zip(axes.flat, values, strict=True)):
        for y, line in lines.iterrows():
            own = table[(table["task"] == line["task"]) & (table["split"] == line["split"])]
            shown = 100 * own[value].dropna()
            ax.plot(shown, [y] * len(shown), MARKERS[i], color=_colour(i), markersize=4.5,
                    alpha=0.45, markeredgewidth=0)  # fmt: skip
        ax.set_yticks(range(len(lines)), [f"{r.task}, {r.split}" for r in lines.itertuples()])
        ax.set_ylim(len(lines) - 0.5, -0.5)
        ax.set_xlim(left=-0.3)
        ax.grid(axis="x")
        ax.set(title=_word(value), xlabel="% of examples")
    return figure


@_styled
def reported_scores(found: pd.DataFrame, models: Sequence[str]) -> Card:
    """Reported scores by language, one panel a task, and ours with their 95 % interval.

    `found` has ``task, metric, target``, a column for each of `models`, and ``ours, low, high``;
    languages go from the easiest to the hardest for the models together.
    """
    tasks = list(dict.fromkeys(found["task"]))
    most = max(int((found["task"] == t).sum()) for t in tasks)
    figure, axes = _card(1.2 + 0.24 * most, 1, len(tasks))
    for ax, task in zip(axes.flat, tasks, strict=True):
        rows = found[found["task"] == task]
        rows = rows.loc[rows[list(models)].mean(axis=1).sort_values(ascending=False).index]
        y = np.arange(len(rows))
        for i, model in enumerate(models):
            ax.plot(100 * rows[model], y, MARKERS[i % len(MARKERS)], color=_colour(i), markersize=5,
                    markerfacecolor="white", label=model)  # fmt: skip
        run = rows["ours"].notna().to_numpy()
        if run.any():
            ax.hlines(y[run], 100 * rows["low"][run], 100 * rows["high"][run], color="#222222")
            ax.plot(100 * rows["ours"][run], y[run], "D", color="#222222", markersize=5.5,
                    label="ours")  # fmt: skip
        ax.set_yticks(y, [name(c) for c in rows["target"]])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.grid(axis="x")
        ax.set(title=task, xlabel=f"{_word(rows['metric'].iloc[0])}, 0 to 100")
    handles = {h.get_label(): h for ax in axes.flat for h in ax.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
    return figure


@_styled
def rules(compared: pd.DataFrame, methods: Sequence[str], rows: str = "matrix") -> Card:
    """What each rule of choosing a source loses on each table, per cent of the best source.

    `compared` has ``method, loss_pct, low, high`` and a column `rows`; the axis is logarithmic.
    """
    names = list(dict.fromkeys(compared[rows]))
    figure, axes = _card(1.1 + 0.3 * len(names))
    ax = axes[0, 0]
    for i, method in enumerate(methods):
        mine = compared[compared["method"] == method]
        y = np.array([names.index(n) for n in mine[rows]], dtype=float)
        if i == 0:  # ours: with its interval
            low = mine["low"].clip(lower=0.05)
            ax.hlines(y, low, mine["high"], color=_colour(i), linewidth=1.6)
        ax.plot(mine["loss_pct"].clip(lower=0.05), y, MARKERS[i % len(MARKERS)], color=_colour(i),
                markersize=6.5, markeredgecolor="white", label=_word(method))  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x")
    ax.set_xlabel("loss, % of the best source")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@_styled
def shares(table: pd.DataFrame, by: str | None = None) -> Card:
    """What each measure explains of the variance that languages leave (LMG share, 95 %)."""
    groups = list(dict.fromkeys(table[by])) if by else [""]
    features = list(dict.fromkeys(table["feature"]))
    figure, axes = _card(0.9 + 0.3 * len(features), 1, len(groups), sharey=True, sharex=True)
    for ax, group in zip(axes.flat, groups, strict=True):
        rows = table[table[by] == group] if by else table
        rows = rows.set_index("feature").reindex(features)
        y = np.arange(len(features))
        ax.barh(y, rows["share"], color=COLOURS["sky"], height=0.65)
        ax.hlines(y, rows["low"], rows["high"], color=COLOURS["black"], linewidth=1.3)
        ax.set_yticks(y, [_word(f) for f in features])
        ax.grid(axis="x")
        ax.set(title=_word(group), xlabel="share of variance")
    axes[0, 0].invert_yaxis()
    return figure


@_styled
def nested_bars(table: pd.DataFrame, by: str | None = "task") -> Card:
    """Growing models: variance explained over the effects (bar) and out of sample (dot), 95 %.

    `table` is that of `regression.nested`, several stacked under the column `by`.
    """
    groups = list(dict.fromkeys(table[by])) if by and by in table else [""]
    figure, axes = _card(3.4, 1, len(groups), sharey=True)
    for ax, group in zip(axes.flat, groups, strict=True):
        rows = table[table[by] == group] if by and by in table else table
        x = np.arange(len(rows))
        ax.bar(x, rows["partial_r2"], color=COLOURS["sky"], width=0.62, label="seen languages")
        ax.vlines(x - 0.1, rows["low"], rows["high"], color=COLOURS["blue"], linewidth=1.4)
        ax.vlines(x + 0.1, rows["cv_low"], rows["cv_high"], color=COLOURS["vermilion"])
        ax.plot(x + 0.1, rows["cv_r2"], "o", color=COLOURS["vermilion"], markeredgecolor="white",
                label="languages never seen")  # fmt: skip
        ax.axhline(0, color="#444444", linewidth=0.9)
        ax.set_xticks(x, [_word(s) for s in rows["step"]], rotation=35, ha="right", fontsize=8.5)
        ax.grid(axis="y")
        ax.set_title(_word(group))
    axes[0, 0].set_ylabel("variance explained over\nlanguage effects")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


@_styled
def choosing(compared: pd.DataFrame, most: int = 16) -> Card:
    """What a wrong source costs: loss in per cent of the best source, per method, 95 %.

    `compared` has ``method, loss_pct, low, high`` and, for several panels, ``task``.
    """
    tasks = list(dict.fromkeys(compared["task"])) if "task" in compared else [""]
    table = compared if "task" in compared else compared.assign(task="")
    order = table.groupby("method")["loss_pct"].mean().sort_values().index[:most]
    figure, axes = _card(1.0 + 0.3 * len(order), 1, len(tasks), sharey=True)
    for ax, task in zip(axes.flat, tasks, strict=True):
        rows = table[table["task"] == task].set_index("method").reindex(order)
        ours = [COLOURS["vermilion"] if m == "gp" else COLOURS["sky"] for m in order]
        ax.barh(range(len(order)), rows["loss_pct"], color=ours, height=0.65)
        ax.hlines(range(len(order)), rows["low"], rows["high"], color=COLOURS["black"],
                  linewidth=1.3)  # fmt: skip
        ax.set_yticks(range(len(order)), [_word(m) for m in order])
        ax.grid(axis="x")
        ax.set(title=_word(task), xlabel="loss, % of the best source")
    axes[0, 0].invert_yaxis()
    return figure


@_styled
def expected_scores(predictions: pd.DataFrame, most: int = 4000) -> Card:
    """Score measured against score predicted with the target held out, 90 % intervals in grey.

    `predictions` is that of `levels.predict`; of very many cells every so many are drawn.
    """
    rows = predictions.dropna(subset=["score", "predicted"])
    rows = rows.iloc[:: math.ceil(len(rows) / most)]
    x, y, low, high = (100 * rows[c].to_numpy(float) for c in ("predicted", "score", "low", "high"))
    inside = (y >= low) & (y <= high)
    figure, axes = _card(4.6)
    ax = axes[0, 0]
    ends = [min(x.min(), y.min()) - 2, max(x.max(), y.max()) + 2]
    ax.plot(ends, ends, color="#444444", linewidth=0.9)
    for mine, i, label in ((inside, 0, "inside its 90 % interval"), (~inside, 1, "outside")):
        ax.plot(x[mine], y[mine], MARKERS[i], color=_colour(i), markersize=3.5, alpha=0.5,
                markeredgewidth=0, label=label, rasterized=len(rows) > 1000)  # fmt: skip
    ax.set(xlabel="predicted with the target held out, 0 to 100", ylabel="measured, 0 to 100")
    ax.grid()
    ax.legend(loc="upper left")
    return figure


# -- curves and clouds ----------------------------------------------------------------------------


@_styled
def similarity_scatter(
    table: pd.DataFrame, features: Sequence[str], by: str = "task", label: int = 3
) -> Card:
    """Transfer against similarity, one panel per measure, with a straight line per task.

    `table` is that of `regression.observations` (``source, target, y`` and the measures), or the
    same after `regression.over_effects`. The pairs farthest out are named.
    """
    across = min(3, len(features))
    down = math.ceil(len(features) / across)
    groups = list(dict.fromkeys(table[by])) if by in table else [""]
    figure, axes = _card(2.5 * down + 0.4, down, across, sharey=True)
    for ax, feature in zip(axes.flat, features, strict=False):
        for i, group in enumerate(groups):
            rows = table[table[by] == group] if by in table else table
            x, y = rows[feature].to_numpy(float), 100 * rows["y"].to_numpy(float)
            many = len(x) > 1000
            ax.plot(x, y, MARKERS[i % len(MARKERS)], color=_colour(i), rasterized=many,
                    alpha=0.15 if many else 0.35, markersize=2.5 if many else 3.2,
                    markeredgewidth=0)  # fmt: skip
            if np.ptp(x) > 0:
                slope, start = np.polyfit(x, y, 1)
                ends = np.array([x.min(), x.max()])
                ax.plot(ends, start + slope * ends, color=_colour(i), linewidth=2)
        _name_pairs(ax, table, feature, label)
        ax.set_xlabel(_word(feature))
        ax.grid()
    for ax in axes.flat[len(features) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel(table.attrs.get("response", "score, 0 to 100"))
    if len(groups) > 1:
        marks = [axes[0, 0].plot([], [], MARKERS[i % len(MARKERS)] + "-", color=_colour(i))[0]
                 for i in range(len(groups))]  # fmt: skip
        figure.legend(marks, [_word(g) for g in groups], loc="outside upper right", ncols=4)
    return figure


def _name_pairs(ax: Axes, table: pd.DataFrame, feature: str, most: int) -> None:
    """Name the pairs farthest from the others, no two close together."""
    x, y = table[feature].to_numpy(float), 100 * table["y"].to_numpy(float)
    sx, sy = max(float(np.ptp(x)), 1e-9), max(float(np.ptp(y)), 1e-9)
    far = ((x - x.mean()) / sx) ** 2 + ((y - y.mean()) / sy) ** 2
    taken: list[tuple[float, float]] = []
    halo = withStroke(linewidth=2, foreground="white")
    for i in np.argsort(-far, kind="stable"):
        spot = (float(x[i] / sx), float(y[i] / sy))
        if len(taken) == most:
            break
        if any(abs(spot[0] - a) < 0.55 and abs(spot[1] - b) < 0.09 for a, b in taken):
            continue
        taken.append(spot)
        right = x[i] > x.min() + sx / 2
        pair = f"{name(table['source'].iloc[i])} → {name(table['target'].iloc[i])}"
        ax.annotate(pair, (x[i], y[i]), xytext=(-4 if right else 4, 0), fontsize=6.5,
                    textcoords="offset points", ha="right" if right else "left", va="center",
                    color="#333333", path_effects=[halo])  # fmt: skip


@_styled
def few_shot(
    points: pd.DataFrame,
    fits: Mapping[str, Fit] | None = None,
    control: pd.DataFrame | None = None,
    most: int = 12,
) -> Card:
    """Few-shot curves, one panel per pair: points with 95 %, the laws, zero-shot set apart.

    `points` (one task) and `control` come from `fewshot.curves`; `fits` maps a law's name to its
    `fewshot.fit` of these points.
    """
    keys = points[CURVE].drop_duplicates().head(most).reset_index(drop=True)
    across = min(4, len(keys))
    down = math.ceil(len(keys) / across)
    figure, axes = _card(2.0 * down + 0.7, down, across, sharey=True, sharex=True)
    for ax, key in zip(axes.flat, keys.itertuples(index=False), strict=False):
        rows = points[(points[CURVE] == list(key)).all(axis=1)]
        if control is not None:
            _control_curve(ax, control, rows.iloc[0])
        _law_curves(ax, rows, fits or {})
        _points(ax, rows)
        ax.set_title(f"{name(rows['source'].iloc[0])} → {name(rows['target'].iloc[0])}", fontsize=9)
        ax.grid(axis="y")
    for ax in axes.flat[len(keys) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("score, 0 to 100")
    figure.supxlabel("target-language examples (0 = zero-shot)", fontsize=10)
    seen: dict[str, Any] = {}
    for ax in axes.flat:
        seen |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(list(seen.values()), list(seen), loc="outside upper center", ncols=6)
    return figure


def _points(ax: Axes, rows: pd.DataFrame) -> None:
    n = rows["n_target"].to_numpy(dtype=float)
    y, low, high = (100 * rows[c].to_numpy(dtype=float) for c in ("score", "low", "high"))
    ax.vlines(n, low, high, color=COLOURS["black"], linewidth=1.1)
    ax.plot(n, y, "o", color=COLOURS["black"], markersize=4, label="measured")
    start = float(n.min()) / 2.5
    zero = 100 * float(rows["zero"].iloc[0])
    if math.isfinite(zero):
        ax.plot([start], [zero], "D", color=COLOURS["purple"], markersize=5, label="zero-shot")
    ax.set_xscale("log", base=2)
    shown = [v for v in (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536) if n.min() <= v <= n.max()]
    ax.set_xticks([start, *shown], ["0", *(str(v) for v in shown)], fontsize=8)
    ax.minorticks_off()


def _law_curves(ax: Axes, rows: pd.DataFrame, fits: Mapping[str, Fit]) -> None:
    n = np.geomspace(rows["n_target"].min(), rows["n_target"].max(), 60)
    for i, (law, fitted) in enumerate(fits.items()):
        where = (fitted.keys[CURVE] == rows[CURVE].iloc[0]).all(axis=1).to_numpy().nonzero()[0]
        if len(where):
            mean, sd = fitted.moments(n, np.full(len(n), where[0]), noise=False)
            ax.plot(n, 100 * mean, color=_colour(i), label=law, linestyle=["-", "--", "-."][i % 3])
            if i == 0:
                low, high = 100 * (mean - 1.96 * sd), 100 * (mean + 1.96 * sd)
                ax.fill_between(n, low, high, color=_colour(i), alpha=0.15, linewidth=0)


def _control_curve(ax: Axes, control: pd.DataFrame, row: pd.Series) -> None:
    same = (control["task"] == row["task"]) & (control["target"] == row["target"])
    same &= control["metric"] == row["metric"]
    exact = same & (control["source"] == row["source"])
    mine = control[exact if exact.any() else same]
    mine = mine.groupby("n_target", as_index=False)["score"].mean()
    if len(mine):
        ax.plot(mine["n_target"], 100 * mine["score"], "x:", color=COLOURS["grey"], markersize=4,
                linewidth=1.2, label="control")  # fmt: skip


@_styled
def law_errors(summary: pd.DataFrame) -> Card:
    """Laws judged at the largest n they had not seen: mean absolute error in points, 95 %."""
    tasks, laws = list(dict.fromkeys(summary["task"])), list(dict.fromkeys(summary["law"]))
    figure, axes = _card(1.0 + 0.3 * len(laws), 1, len(tasks), sharey=True)
    for ax, task in zip(axes.flat, tasks, strict=True):
        rows = summary[summary["task"] == task].set_index("law").reindex(laws)
        rows = 100 * rows[["mae", "low", "high"]]
        for i in range(len(laws)):
            _dots(ax, rows.iloc[[i]], np.array([float(i)]), "mae", i, laws[i])
        ax.set_yticks(range(len(laws)), [_word(law) for law in laws])
        ax.set_ylim(len(laws) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.grid(axis="x")
        ax.set(title=_word(task), xlabel="error, score points")
    return figure


@_styled
def learning_curve(
    history: pd.DataFrame,
    values: Sequence[str] = ("loss", "score"),
    by: str = "split",
    limits: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Card:
    """Watch a model learn: `history` has ``step``, a column `by`, and the columns named.

    `limits` gives the ends of a column's axis, for values that mean something as they stand.
    """
    shown = [v for v in values if v in history and history[v].notna().any()]
    figure, axes = _card(2.7, 1, max(len(shown), 1))
    groups = list(dict.fromkeys(history[by])) if by in history else [""]
    for ax, value in zip(axes.flat, shown, strict=False):
        for i, group in enumerate(groups):
            rows = history[history[by] == group] if by in history else history
            rows = rows[rows[value].notna()]
            ax.plot(rows["step"], rows[value], color=_colour(i), label=_word(group),
                    marker=MARKERS[i % len(MARKERS)] if len(rows) <= 30 else None,
                    markersize=4)  # fmt: skip
        ax.grid(axis="y")
        ax.set(xlabel="training step", title=_word(value))
        if limits and value in limits:
            ax.set_ylim(*limits[value])
    if len(groups) > 1:
        axes[0, 0].legend()
    return figure


@_styled
def known_curves(table: pd.DataFrame) -> Card:
    """Learning a target, by how near it is to what a model knew before: one panel a target.

    `table` has ``target, line, n_target, points, low, high`` (0..100); lines in the order to be
    shown. A line whose name begins with "no" is a control and drawn grey.
    """
    targets, lines = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["line"]))
    figure, axes = _card(3.4, 1, len(targets), sharey=True)
    numbers = sorted(table["n_target"].unique())
    plain = [line for line in lines if not line.startswith("no ")]
    for ax, target in zip(axes.flat, targets, strict=True):
        for line in lines:
            rows = table[(table["target"] == target) & (table["line"] == line)]
            i = plain.index(line) if line in plain else 0
            own = line in plain
            colour, mark = (_colour(i), MARKERS[i]) if own else (COLOURS["grey"], "x")
            dash = "-" if own else [":", "--"][lines.index(line) % 2]
            shift = (i - len(plain) / 2) * 0.06 if own else 0.0
            x = np.array([numbers.index(n) for n in rows["n_target"]]) + shift
            ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=1.1)
            ax.plot(x, rows["points"], dash, color=colour, marker=mark, markersize=4, label=line)
        ax.set_xticks(range(len(numbers)), [str(n) for n in numbers])
        ax.set_title(name(target))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("accuracy, 0 to 100")
    figure.supxlabel("target-language examples (0 = zero-shot)", fontsize=10)
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


@_styled
def by_language(table: pd.DataFrame, label: str = "accuracy, 0 to 100") -> Card:
    """One line a language, one mark an arm, with 95 % intervals.

    `table` has ``target, arm, points, low, high``, in the order to be shown.
    """
    targets, arms = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["arm"]))
    figure, axes = _card(1.0 + 0.32 * len(targets))
    ax = axes[0, 0]
    for i, arm in enumerate(arms):
        rows = table[table["arm"] == arm]
        y = np.array([targets.index(t) for t in rows["target"]], dtype=float)
        _dots(ax, rows, y + (i - (len(arms) - 1) / 2) * 0.18, "points", i, arm)
    ax.set_yticks(range(len(targets)), [name(t) for t in targets])
    ax.set_ylim(len(targets) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.grid(axis="x")
    ax.set_xlabel(label)
    ax.legend(loc="lower right")
    return figure
