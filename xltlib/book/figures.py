"""Figures: a tidy table in, a figure out; one style for all of them (`xltlib.book.style`).

A card is white, readable on a light and on a dark page, 750 pixels wide, in colours that the
colour-blind can tell apart (Okabe & Ito 2008; cividis). Languages are named in English.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatter

from xltlib.book import style
from xltlib.book.style import COLOURS, INK, MARKERS, Card, looks_of, styled
from xltlib.book.words import label_of
from xltlib.explain.fewshot import CURVE, Fit
from xltlib.languages import name
from xltlib.languages.similarity import imputed
from xltlib.scores import cells, gain, select

# -- matrices -------------------------------------------------------------------------------------


def _wide(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """A column of a table as source x target, `style.in_order`."""
    wide = table.pivot_table(index="source", columns="target", values=value, aggfunc="mean")
    ends = [table[side].unique().tolist() for side in ("source", "target")]
    order = style.in_order(ends[0] + ends[1])
    rows, columns = ([c for c in order if c in end] for end in ends)
    return wide.reindex(index=rows, columns=columns).astype(float)


def _one_matrix(wide: pd.DataFrame, label: str, title: str, **options: Any) -> Card:
    rows, columns = wide.shape
    figure, ax = style.one_panel(1.9 + min(5.6, 5.6 * rows / max(columns, 1)))
    style.matrix(ax, wide, label, 5.5 if 14 < columns <= 20 else 7.5, **options)
    ax.set(xlabel="target", ylabel="source", title=title)
    return figure


@styled
def pair_effects(table: pd.DataFrame, title: str = "") -> Card:
    """What source and target effects leave of every pair (column ``left``, in points)."""
    wide, label = _wide(table, "left"), "points over source and target effects"
    top = float(np.nanquantile(wide.abs(), 0.995))
    return _one_matrix(wide, label, title, cmap=style.DIVERGING, vmin=-top, vmax=top)


@styled
def transfer_matrix(
    scores: pd.DataFrame, task: str, model: str | None = None, metric: str | None = None
) -> Card:
    """Zero-shot score of every target (column) from every source (row).

    The colours show transfer only; the in-language scores stand on white, in italics.
    """
    rows = select(scores, model=model, task=task, metric=metric)
    table = cells(rows[rows["n_target"] == 0])
    label, title = label_of(table["metric"].iloc[0]), f"{label_of(task)}: zero-shot score"
    wide = 100 * _wide(table, "score")
    return _one_matrix(wide, f"{label}, 0 to 100", title, cmap=style.SEQUENTIAL)


@styled
def raw_and_gain(scores: pd.DataFrame, task: str, model: str, baseline: str) -> Card:
    """The score beside the gain over a baseline: what pre-training itself has added."""
    both = gain(select(scores, task=task), model, baseline)
    both = both[both["n_target"] == 0]
    both = both[both["metric"] == both["metric"].min()]
    raw, more = (100 * _wide(both, value) for value in ("score", "gain"))
    across = raw.shape[0] / raw.shape[1]
    stacked = across < 1 / 2
    figure = Card(figsize=(style.WIDTH, 5.6 if stacked else 1.4 + 2.75 * across))
    first, second = figure.subplots(*((2, 1) if stacked else (1, 2)))
    off = more.where(np.array([[r != c for c in more.columns] for r in more.index]))
    top = float(np.nanmax(off.abs().to_numpy(), initial=1.0))
    style.matrix(first, raw, "", 6, cmap=style.SEQUENTIAL)
    style.matrix(second, more, "", 6, cmap=style.DIVERGING, vmin=-top, vmax=top)
    first.set(title=f"{label_of(task)}: score", ylabel="source", xlabel="target")
    second.set(title=f"gain over {label_of(baseline)}", xlabel="target")
    if not stacked:
        second.set_yticks([])
    return figure


@styled
def similarity_maps(pairs: pd.DataFrame, measures: Sequence[str] | None = None) -> Card:
    """One small map per measure of similarity (pairs table), higher = more alike.

    A cross marks a value that rests on nothing observed in both languages (`imputed`).
    """
    skip = {"source", "target"}
    shown = list(measures or [c for c in pairs.columns if c not in skip and "coverage" not in c])
    shown = [m for m in shown if pairs[m].notna().any()]
    long = pairs.melt(["source", "target"], shown, "measure", "value")
    long["imputed"] = imputed(pairs).reindex(columns=shown, fill_value=False).melt()["value"]
    figure, panels = style.panels_of(long, "measure", 0.6, 2.15, across := 3)
    for i, ((ax, rows), measure) in enumerate(zip(panels, shown, strict=True)):
        wide = _wide(rows, "value")
        wide = wide.mask(np.eye(n := len(wide), dtype=bool))
        full: Any = {"vmin": 0.0, "vmax": 1.0} if measure.startswith("coverage_") else {}
        style.heatmap(ax, wide, size=7, cmap=style.SEQUENTIAL, square=True, **full)
        y, x = np.nonzero(_wide(rows.astype({"imputed": float}), "imputed") == 1)
        ax.plot(x + 0.5, y + 0.5, "x", color="0.5", markersize=min(4, 50 / n))
        style.name_cells(ax, style.named(wide), 7 if n <= 14 else 4)
        if i % across:
            ax.set_yticks([])
        if i + across < len(shown):
            ax.set_xticks([])
    return figure


@styled
def measure_agreement(table: pd.DataFrame) -> Card:
    """Correlation ``r`` of measures of similarity over the pairs, each ``first, second`` once."""
    wide = table.pivot(index="second", columns="first", values="r")
    wide = wide.reindex(table["second"].unique(), columns=table["first"].unique())
    label = "correlation over pairs of languages"
    return _numbers(wide, label, "{:.2f}", cmap=style.DIVERGING, vmin=-1, vmax=1)


def _numbers(wide: pd.DataFrame, label: str, form: str, **options: Any) -> Card:
    """A table as colours with its numbers."""
    wide = wide.rename(index=label_of, columns=label_of)
    figure, ax = style.one_panel(min(7.0, 1.6 + 0.42 * len(wide)))
    style.heatmap(ax, wide, label, form, **options)
    style.name_cells(ax, wide, 9, 40)
    return figure


@styled
def confusion(
    table: pd.DataFrame,
    title: str = "",
    truth: str = "right answer",
    answer: str = "answer given",
) -> Card:
    """Mistakes: rows = right answer, columns = given answer, in per cent of the row.

    `table` has columns ``truth`` and ``answer``, one row per item; the words of the axes can be
    others.
    """
    share = 100 * pd.crosstab(table["truth"], table["answer"], normalize="index")
    first = list(share.index) if {*share.index} & {*share.columns} else []
    share = share.reindex(columns=[*first, *(c for c in share if c not in first)], fill_value=0)
    shown: Any = {"cmap": style.SEQUENTIAL, "vmin": 0, "vmax": 100}
    figure = _numbers(share, "per cent of the row", "{:.0f}", **shown)
    figure.axes[0].set(xlabel=answer, ylabel=truth, title=title)
    return figure


# -- estimates with intervals ---------------------------------------------------------------------


def _intervals(ax: Axes, own: pd.DataFrame, y: Any, colour: Any = INK) -> None:
    if {"low", "high"} <= set(own):
        ax.hlines(y, own["low"], own["high"], color=colour, linewidth=1.5, zorder=2)


def _lines(ax: Axes, keys: Sequence[object], spoken: Callable[[Any], str] = label_of) -> None:
    """Name the lines of a panel, the first on top."""
    ax.set_yticks(range(len(keys)), [spoken(k) for k in keys])
    ax.set_ylim(len(keys) - 0.5, -0.5)
    ax.set_ylabel("")
    ax.grid(axis="x")


def _filled(table: pd.DataFrame) -> pd.Series:
    """Whether a mark is filled: by ``p_mrqap`` where it was computed, else by ``verdict``."""
    if "p_mrqap" in table and table["p_mrqap"].notna().any():
        return table["p_mrqap"] <= 0.05
    return table["verdict"] != "cannot tell" if "verdict" in table else table["estimate"].notna()


@styled
def estimates(
    table: pd.DataFrame,
    rows: str,
    panel: str = "",
    colour: str = "",
    *,
    value: str = "estimate",
    scale: float = 1.0,
    bound: float | None = 0.0,
    columns: int = 3,
    label: str = "difference in points",
    apart: bool = True,
    log: bool = False,
) -> Card:
    """Estimates with their 95 % intervals, as `contrast.estimates` gives them.

    Parameters
    ----------
    table
        A row an estimate, in the order to be shown: `value`, ``low, high`` where there is an
        interval, and the columns named next. A mark is hollow where ``verdict`` is *cannot tell*;
        in a table with ``p_mrqap`` where that is above 0.05.
    rows, panel, colour
        Columns for the lines of a panel, the panels, and the marks of a line.
    scale
        What `value` and the interval are multiplied with: 100 turns scores into points.
    bound
        Where a vertical line stands; None for scores, whose axis begins at 0.
    columns
        Panels beside one another.
    label
        Of the axis.
    apart
        Whether the marks of one line stand under one another or at one height.
    log
        A logarithmic axis.
    """
    ends = [c for c in ("low", "high") if c in table]
    given = table.assign(**{c: scale * table[c] for c in ends}, estimate=scale * table[value])
    lines, marks = (list(dict.fromkeys(table[c])) if c else [""] for c in (rows, colour))
    named = colour in (rows, panel)  # at the line or the panel: no legend
    slots = len(marks) if apart and not named else 1
    given = given.assign(_mark=table[colour] if colour else "", _filled=_filled(given))
    shift = (given["_mark"].map(marks.index) - (slots - 1) / 2) * 0.7 / slots * (slots > 1)
    given = given.assign(_y=table[rows].map(lines.index) + shift)
    each = 0.55 + len(lines) * max(0.22, 0.13 * slots)
    figure, panels = style.panels_of(given, panel, 0.9, each, columns, sharey=True)
    for ax, own in panels:
        _marks(ax, own, marks)
        _lines(ax, lines, name if rows in ("source", "target", "language") else label_of)
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        elif bound is None:
            ax.set_xlim(left=min(0.0, own[["estimate", *ends]].min().min()))
        else:
            ax.axvline(bound, color="#444444", linewidth=0.9)
    filled = Line2D([], [], marker="o", linestyle="none", color=INK)
    tested = given.get("p_mrqap", pd.Series()).notna().any()
    others = {"filled: MRQAP p ≤ 0.05": filled} if tested else {}
    style.legend(figure, marks if colour and not named else [], others)
    figure.supxlabel(label, fontsize=10)
    return figure


def _marks(ax: Axes, own: pd.DataFrame, marks: Sequence[object]) -> None:
    """Intervals with a mark on each."""
    looks = looks_of(marks)
    colours = own["_mark"].map(looks["palette"])
    _intervals(ax, own, own["_y"], list(colours))
    white = looks | {"palette": dict.fromkeys(marks, "white")}
    sure = own["_filled"].astype(bool)
    for which, how in ((sure, looks), (~sure, white)):
        if which.any():
            style.seaborn().scatterplot(
                own[which], x="estimate", y="_y", hue="_mark", style="_mark", s=32, linewidth=1.3,
                edgecolor=list(colours[which]), legend=False, ax=ax, zorder=3,
                clip_on=False, rasterized=len(own) > 300, **how,
            )  # fmt: skip
    ax.set_xlabel("")


def coefficients(
    table: pd.DataFrame,
    rows: str = "feature",
    panel: str = "",
    colour: str = "task",
    label: str = "standardised coefficient over source and target effects",
) -> Card:
    """Standardised coefficients with clustered 95 % intervals.

    `table` has ``feature, beta, low, high`` and the columns named as in `estimates`; without
    `colour` each measure has its own. A mark is filled where the permutation test agrees
    (``p_mrqap`` at most 0.05).
    """
    given = table.drop(columns="verdict", errors="ignore")
    figure = estimates(given, rows, panel, colour or "feature", value="beta", label=label)
    if panel != "feature":  # one axis for all panels, which are compared
        shown = [ax for ax in figure.axes if ax.get_visible()]
        left, right = zip(*(ax.get_xlim() for ax in shown), strict=True)
        for ax in shown:
            ax.set_xlim(min(left), max(right))
    return figure


def transfer_means(means: pd.DataFrame, chance: Mapping[str, float] | None = None) -> Card:
    """In-language, zero-shot and the controls, one panel per task.

    `means` has ``task, condition, mean, low, high`` (0..1), in the order to be shown; `chance`
    gives a task's chance level.
    """
    label = "score, 0 to 100"
    figure = estimates(means, "condition", "task", value="mean", scale=100, bound=None, label=label)
    for ax, task in zip(figure.axes, dict.fromkeys(means["task"]), strict=False):
        if chance and task in chance:
            ax.axvline(100 * chance[task], color=style.SOFT, linestyle=":", linewidth=1.2)
            ax.annotate("chance", (100 * chance[task], 1.0), xycoords=("data", "axes fraction"),
                        xytext=(3, -2), textcoords="offset points", fontsize=8, va="top",
                        color=style.SOFT)  # fmt: skip
            ax.set_ylim(top=-0.8)
    return figure


def nested(table: pd.DataFrame, by: str = "task") -> Card:
    """Growing models: variance explained over the effects, in and out of sample, 95 %.

    `table` is that of `regression.nested`, several stacked under the column `by`.
    """
    ends = {"partial_r2": "estimate"}, {"cv_r2": "estimate", "cv_low": "low", "cv_high": "high"}
    keep = [c for c in ("step", by) if c in table]
    seen = table[[*keep, "partial_r2", "low", "high"]].rename(columns=ends[0])
    new = table[[*keep, "cv_r2", "cv_low", "cv_high"]].rename(columns=ends[1])
    both = pd.concat([seen.assign(of="seen languages"), new.assign(of="languages never seen")])
    label = "variance explained over language effects"
    return estimates(both, "step", by if by in table else "", "of", label=label)


def _bars(table: pd.DataFrame, value: str, line: str, by: str, label: str,
          palette: Mapping[str, str]) -> Card:  # fmt: skip
    """Bars from 0 with their intervals, a panel for each value of `by`, in the palette's order."""
    order = list(palette)
    figure, panels = style.panels_of(table, by, 1.0, 0.4 + 0.3 * len(order), sharey=True)
    for ax, own in panels:
        rows = own.set_index(line).reindex(order).rename_axis(line).reset_index()
        style.seaborn().barplot(
            rows, x=value, y=line, hue=line, order=order, hue_order=order, palette=palette,
            saturation=1, width=0.65, errorbar=None, legend=False, ax=ax,
        )  # fmt: skip
        _intervals(ax, rows, range(len(rows)))
        _lines(ax, order)
        ax.set_xlabel("")
    figure.supxlabel(label, fontsize=10)
    return figure


@styled
def shares(table: pd.DataFrame, by: str = "task") -> Card:
    """What each measure explains of the variance that languages leave (LMG share, 95 %)."""
    looks = looks_of(list(table["feature"]))
    return _bars(table, "share", "feature", by, "share of variance", looks["palette"])


@styled
def choosing(table: pd.DataFrame, most: int = 16) -> Card:
    """What a wrong source costs: loss in per cent of the best source, per method, 95 %.

    `table` has ``method, loss_pct, low, high`` and, for several panels, ``task``.
    """
    order = table.groupby("method")["loss_pct"].mean().sort_values().index[:most]
    palette = {rule: COLOURS[1] if rule == "gp" else style.BAR for rule in order}
    return _bars(table, "loss_pct", "method", "task", "loss, % of the best source", palette)


# -- layers of a model ----------------------------------------------------------------------------


@styled
def by_layer(table: pd.DataFrame, line: str, panel: str = "task", label: str = "") -> Card:
    """Estimates at every layer of a model with their 95 % intervals, a panel a task.

    `table` has ``layer, estimate, low, high``, in the unit to be shown, and the columns named.
    """
    lines = list(dict.fromkeys(table[line]))
    looks = looks_of(lines)
    figure, panels = style.panels_of(table, panel, 0.7, 2.6, sharex=True)
    for ax, own in panels:
        for name_, rows in own.groupby(line, sort=False):
            colour = looks["palette"][name_]
            ax.fill_between(rows["layer"], rows["low"], rows["high"], color=colour, alpha=0.18,
                            linewidth=0)  # fmt: skip
            ax.plot(rows["layer"], rows["estimate"], color=colour, markersize=4,
                    marker=looks["markers"][name_])  # fmt: skip
        ax.set_xticks(range(0, int(table["layer"].max()) + 1, 2))
        ax.grid(axis="y")
    figure.supxlabel("layer (0: embeddings)", fontsize=10)
    figure.supylabel(label, fontsize=10)
    style.legend(figure, lines)
    return figure


# -- curves and clouds ----------------------------------------------------------------------------


@styled
def expected_scores(predictions: pd.DataFrame) -> Card:
    """Score measured against score predicted with the target held out.

    `predictions` is that of `levels.predict`; of very many cells every so many are drawn.
    """
    rows = predictions.dropna(subset=["score", "predicted"])
    rows = 100 * rows.iloc[:: math.ceil(len(rows) / 4000)][["predicted", "score", "low", "high"]]
    names = ["inside its 90 % interval", "outside"]
    inside = (rows["score"] >= rows["low"]) & (rows["score"] <= rows["high"])
    figure, ax = style.one_panel(4.6)
    ends = np.quantile(rows[["predicted", "score"]], [0, 1]) + [-2, 2]
    ax.plot(ends, ends, color="#444444", linewidth=0.9)
    style.seaborn().scatterplot(
        rows.assign(found=np.where(inside, *names)), x="predicted", y="score", hue="found",
        style="found", alpha=0.5, s=14, linewidth=0, rasterized=len(rows) > 1000, ax=ax,
        **looks_of(names),
    )  # fmt: skip
    ax.set(xlabel="predicted with the target held out, 0 to 100", ylabel="measured, 0 to 100")
    ax.legend(title=None, loc="upper left")
    ax.grid()
    return figure


@styled
def similarity_scatter(table: pd.DataFrame, features: Sequence[str]) -> Card:
    """Transfer against similarity, one panel per measure, with a straight line per task.

    `table` is that of `observations.observe` (``source, target, y`` and the measures), or the
    same after `observations.over_effects`. The pairs farthest out are named.
    """
    given = table.assign(y=100 * table["y"])
    groups = list(dict.fromkeys(given["task"]))
    looks = looks_of(groups)
    long = given.melt(["source", "target", "y", "task"], features, "measure", "x")
    figure, panels = style.panels_of(long, "measure", 0.6, 2.4, sharey=True)
    for ax, own in panels:
        for group in groups:
            rows = own[own["task"] == group]
            many = len(rows) > 1000
            dots = {"alpha": 0.15 if many else 0.35, "s": 7 if many else 11, "linewidths": 0}
            style.seaborn().regplot(
                rows, x="x", y="y", ax=ax, ci=None, color=looks["palette"][group],
                marker=looks["markers"][group], line_kws={"linewidth": 2},
                scatter_kws={**dots, "rasterized": many}, fit_reg=bool(np.ptp(rows["x"]) > 0),
            )  # fmt: skip
        _name_pairs(ax, own)
        ax.set(xlabel="", ylabel="")
        ax.grid()
    figure.supylabel(table.attrs.get("response", "score, 0 to 100"), fontsize=10)
    style.legend(figure, groups if len(groups) > 1 else [])
    return figure


def _name_pairs(ax: Axes, table: pd.DataFrame) -> None:
    """Name the three pairs farthest from the others, no two close together."""
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    sx, sy = max(float(np.ptp(x)), 1e-9), max(float(np.ptp(y)), 1e-9)
    far = ((x - x.mean()) / sx) ** 2 + ((y - y.mean()) / sy) ** 2
    taken: list[tuple[float, float]] = []
    halo = withStroke(linewidth=2, foreground="white")
    for i in np.argsort(-far, kind="stable"):
        spot = (float(x[i] / sx), float(y[i] / sy))
        if len(taken) == 3:
            break
        if any(abs(spot[0] - a) < 0.55 and abs(spot[1] - b) < 0.09 for a, b in taken):
            continue
        taken.append(spot)
        right = x[i] > x.min() + sx / 2
        pair = f"{name(table['source'].iloc[i])} → {name(table['target'].iloc[i])}"
        ax.annotate(pair, (x[i], y[i]), xytext=(-4 if right else 4, 0), fontsize=6.5,
                    textcoords="offset points", ha="right" if right else "left", va="center",
                    color="#333333", path_effects=[halo])  # fmt: skip


@styled
def learning_curve(
    history: pd.DataFrame,
    values: Sequence[str] = ("loss",),
    limits: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Card:
    """Watch a model learn: `history` has ``step`` and the columns named.

    `limits` gives the ends of a column's axis, for values that mean something as they stand.
    """
    shown = [v for v in values if v in history and history[v].notna().any()]
    long = history.melt("step", shown, "value", "y").dropna()
    figure, panels = style.panels_of(long, "value", 0.0, 2.7)
    for (ax, rows), value in zip(panels, shown, strict=False):
        mark = MARKERS[0] if len(history) <= 30 else ""
        ax.plot(rows["step"], rows["y"], color=COLOURS[0], marker=mark, markersize=5)
        ax.grid(axis="y")
        ax.set(xlabel="training step", ylabel="", ylim=(limits or {}).get(value))
    return figure


def _at(n: Any, least: float) -> Any:
    """Where a number of examples stands: doublings, and zero-shot apart at the left."""
    n = np.asarray(n, dtype=float)
    return np.where(n > 0, np.log2(np.maximum(n, 1e-9)), math.log2(least) - 1.3)


def _examples_axis(figure: Card, table: pd.DataFrame, label: str) -> None:
    """Numbers of target examples, 0 = zero-shot; as many are named as there is room for."""
    counts = sorted(set(table.loc[table["n_target"] > 0, "n_target"].astype(float)))
    room = 7 if len(figure.axes) < 4 else 5
    shown = [0.0, *counts[:: math.ceil(len(counts) / room)]]
    for ax in figure.axes:
        ax.set_xticks(_at(shown, counts[0]), [f"{n:g}" for n in shown], fontsize=8)
        ax.set(xlabel="", ylabel="")
        ax.grid(axis="y")
    figure.supylabel(label, fontsize=10)
    figure.supxlabel("target-language examples (0 = zero-shot)", fontsize=10)


@styled
def few_shot(
    points: pd.DataFrame,
    fits: Mapping[str, Fit] | None = None,
    control: pd.DataFrame | None = None,
) -> Card:
    """Few-shot curves of twelve pairs: points with 95 %, the laws, zero-shot set apart.

    `points` (one task) and `control` come from `fewshot.curves`; `fits` maps a law's name to its
    `fewshot.fit` of these points.
    """
    least = float(points["n_target"].min())
    curve = points.groupby(CURVE, sort=False).ngroup()
    points = points.assign(curve=curve)[curve < 12]
    figure, panels = style.panels_of(points, "curve", 0.7, 2.0, 4, sharey=True, sharex=True)
    for ax, rows in panels:
        pair = " → ".join(name(rows[side].iloc[0]) for side in ("source", "target"))
        ax.set_title(pair, fontsize=9)
        if control is not None:
            _control_curve(ax, control, rows.iloc[0], least)
        _law_curves(ax, rows, fits or {}, least)
        x, zero = _at(rows["n_target"], least), 100 * rows["zero"].head(1)
        ax.vlines(x, 100 * rows["low"], 100 * rows["high"], color=INK, linewidth=1.1)
        ax.plot(x, 100 * rows["score"], "o", color=INK, markersize=4, label="measured")
        if zero.notna().any():
            ax.plot(_at([0], least), zero, "D", color=COLOURS[4], markersize=5, label="zero-shot")
    _examples_axis(figure, points, "score, 0 to 100")
    seen: dict[str, Any] = {}
    for ax, _ in panels:
        seen |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(list(seen.values()), list(seen), loc="outside upper center", ncols=6)
    return figure


def _law_curves(ax: Axes, rows: pd.DataFrame, fits: Mapping[str, Fit], least: float) -> None:
    n = np.geomspace(rows["n_target"].min(), rows["n_target"].max(), 60)
    colours = looks_of(list(fits))["palette"]
    for i, (law, fitted) in enumerate(fits.items()):
        where = (fitted.keys[CURVE] == rows[CURVE].iloc[0]).all(axis=1).to_numpy().nonzero()[0]
        if len(where):
            mean, sd = fitted.moments(n, np.full(len(n), where[0]), noise=False)
            x, low, high = _at(n, least), 100 * (mean - 1.96 * sd), 100 * (mean + 1.96 * sd)
            how = {"color": colours[law], "linestyle": ["-", "--", "-."][i % 3]}
            ax.plot(x, 100 * mean, label=law, **how)
            if i == 0:
                ax.fill_between(x, low, high, color=colours[law], alpha=0.15, linewidth=0)


def _control_curve(ax: Axes, control: pd.DataFrame, row: pd.Series, least: float) -> None:
    """Mean score of the control on this target, from this source where it was measured."""
    same = (control[["task", "target", "metric"]] == row[["task", "target", "metric"]]).all(axis=1)
    exact = same & (control["source"] == row["source"])
    mine = control[exact if exact.any() else same].groupby("n_target")["score"].mean()
    if len(mine):
        ax.plot(_at(mine.index, least), 100 * mine, "x:", color=style.SOFT, markersize=4,
                linewidth=1.2, label="control")  # fmt: skip


@styled
def example_curves(table: pd.DataFrame, panel: str = "target") -> Card:
    """Score by number of target examples, one panel a target (or task) and one line a condition.

    `table` has `panel` and ``line, n_target, estimate, low, high`` (0..100); lines in the order to
    be shown. A line whose name begins with "no" is a control and drawn grey, two at most.
    """
    lines = list(dict.fromkeys(table["line"]))
    own = [line for line in lines if not line.startswith("no ")]
    looks, grey = looks_of(own), [line for line in lines if line not in own]
    palette = looks["palette"] | dict.fromkeys(grey, style.SOFT)
    least = float(table.loc[table["n_target"] > 0, "n_target"].min())
    shift = {line: 0.12 * (i - (len(own) - 1) / 2) for i, line in enumerate(own)}
    x = _at(table["n_target"], least) + table["line"].map(shift).fillna(0.0)
    titles = [name(t) for t in table[panel]] if panel == "target" else table[panel]
    given = table.assign(_x=x, **{panel: titles})
    figure, panels = style.panels_of(given, panel, 0.0, 3.4, 9, sharey=True)
    for ax, rows in panels:
        ax.vlines(rows["_x"], rows["low"], rows["high"], linewidth=1.1,
                  color=[palette[line] for line in rows["line"]])  # fmt: skip
        style.seaborn().lineplot(
            rows, x="_x", y="estimate", hue="line", style="line", hue_order=lines,
            style_order=lines, palette=palette, markersize=5,
            markers=looks["markers"] | dict.fromkeys(grey, "p"),
            dashes=dict.fromkeys(own, "") | dict(zip(grey, ((1, 2), (4, 2)), strict=False)),
            errorbar=None, estimator=None, legend=False, ax=ax,
        )  # fmt: skip
    _examples_axis(figure, table, "score, 0 to 100")
    dotted = Line2D([], [], marker="p", color=style.SOFT, linestyle=":")
    dashed = Line2D([], [], marker="p", color=style.SOFT, linestyle="--")
    controls = dict(zip(grey, (dotted, dashed), strict=False))
    style.legend(figure, own, controls)
    return figure
