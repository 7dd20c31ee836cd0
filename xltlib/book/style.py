"""The one style of all figures: cards, panels, heat maps, colours, markers and legends.

seaborn draws, on cards of our own: its grids would open pyplot's, which a notebook shows twice.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from xltlib.book.words import label_of
from xltlib.io import whole
from xltlib.languages import Language, language, name

_P = ParamSpec("_P")

_STYLE = mpl.rc_params_from_file(
    Path(__file__).parents[1] / "assets" / "figures.mplstyle", use_default_template=False
)
COLOURS: list[str] = _STYLE["axes.prop_cycle"].by_key()["color"]
INK, SOFT, BAR = "#222222", "#767676", COLOURS[5]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
_PLACES = {  # among colours and markers: the same in every figure of the book
    name: place
    for place, names in enumerate((
        "lexical, words, sib200, entity_type, xnli, in-language, log, best_mean",
        "word_order, structure beyond words, massive_intent, intent, pawsx, power, gp",
        "morphology, massive_slots, ner, wikiann, logistic, rank_fusion",
        "phonology, massive_qa, qa, tydiqa, xquad, mlqa, english",
        "genealogy, udpos, udpos_dev, zero-shot, nearest_genealogy",
        "script, masakhaner, nearest_word_order",
        "data_size, all measures, random",
        "lexical_translit",
        "",
        "",
        "inventory",
        "geography",
        "spacing",
    ))
    for name in names.split(", ")
}  # fmt: skip
SEQUENTIAL, DIVERGING = "cividis", "PuOr_r"
_MANY = 60  # languages that cannot be named one by one
WIDTH = 7.5  # inches; 750 px at 100 dots per inch
DATA = "application/vnd.xlt.figure+csv"  # the output of a cell that holds a figure's table
_MOST = 5000  # rows of a table that go with its figure; longer ones are kept as scores


class Card(Figure):
    """A figure that a notebook shows as SVG, and that saves the same bytes for the same data.

    The notebook keeps it as PDF, too, and the table that it was drawn from.
    """

    table: pd.DataFrame | None = None

    def _repr_svg_(self) -> str:
        buffer = io.BytesIO()
        self._write(buffer, "svg")
        return buffer.getvalue().decode()

    def _repr_pdf_(self) -> bytes:
        buffer = io.BytesIO()
        self._write(buffer, "pdf")
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        if self.table is None or len(self.table) > _MOST:
            return {}
        return {DATA: self.table.to_csv(index=False)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write SVG or PNG, by the ending of the name; the file appears whole or not at all."""
        with whole(Path(path)) as temporary:
            self._write(temporary, Path(path).suffix.lstrip(".").lower())

    def _write(self, place: Path | io.BytesIO, kind: str) -> None:
        when = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
        options: dict[str, Any] = {"metadata": {when: None}} if when else {}
        with mpl.rc_context(_STYLE):
            self.savefig(place, format=kind, bbox_inches="tight", pad_inches=0.1, **options)


def seaborn() -> Any:
    """seaborn, when the first figure is drawn: to import it takes as long as all the rest."""
    import seaborn as sns

    return sns


def styled(draw: Callable[_P, Card]) -> Callable[_P, Card]:
    """Draw in the one style whatever the notebook has set, and lay out once, at the end."""

    @functools.wraps(draw)
    def inside(*args: _P.args, **kwargs: _P.kwargs) -> Card:
        with mpl.rc_context(_STYLE):
            figure = draw(*args, **kwargs)
            figure.set_layout_engine("constrained")
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # every drawing is the same
            figure.table = next((a for a in args if isinstance(a, pd.DataFrame)), None)
            return figure

    return inside


def panels_of(
    table: pd.DataFrame, by: str, base: float, each: float, columns: int = 3, **options: Any
) -> tuple[Card, list[tuple[Axes, pd.DataFrame]]]:
    """A card with one panel for each value of a column, in its order, and the rows of each.

    Its height in inches is `base` and `each` for every line of panels.
    """
    groups = list(dict.fromkeys(table[by])) if by in table else [""]
    across = min(columns, len(groups))
    down = math.ceil(len(groups) / across)
    figure = Card(figsize=(WIDTH, base + each * down))
    axes = figure.subplots(down, across, squeeze=False, **options)
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    for ax, group in zip(axes.flat, groups, strict=False):
        ax.set_title(label_of(group))
    own = [table[table[by] == g] if by in table else table for g in groups]
    return figure, list(zip(axes.flat, own, strict=False))


def one_panel(height: float) -> tuple[Card, Axes]:
    figure = Card(figsize=(WIDTH, height))
    return figure, figure.subplots()


def _places_of(names: Iterable[object]) -> dict[object, int]:
    """Where names stand among colours and markers: tasks, measures and rules always in their own.

    Other names take what these leave, in their order. Beyond seven a colour comes again, with
    another marker.
    """
    fixed: dict[object, int] = {}
    names = list(dict.fromkeys(names))
    for name_, place in ((n, _PLACES.get(str(n))) for n in names):
        if place is not None and place not in fixed.values():
            fixed[name_] = place
    many, used = len(COLOURS), {p % len(COLOURS) for p in fixed.values()}
    free = [p for p in range(2 * many) if p not in fixed.values()]
    free.sort(key=lambda p: p % many in used)
    others = dict(zip((n for n in names if n not in fixed), itertools.cycle(free), strict=False))
    return {n: (fixed | others)[n] for n in names}


def _colour_at(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _marker_at(place: int) -> str:
    return MARKERS[(place + 3 * (place // len(MARKERS))) % len(MARKERS)]


def looks_of(names: Sequence[object]) -> dict[str, Any]:
    """Colours and markers of conditions (`_places_of`), as seaborn takes them."""
    places = _places_of(names)
    palette = {n: _colour_at(p) for n, p in places.items()}
    markers = {n: _marker_at(p) for n, p in places.items()}
    return {"hue_order": list(names), "palette": palette, "style_order": list(names),
            "markers": markers}  # fmt: skip


def legend(
    figure: Card, names: Sequence[object], others: Mapping[str, Line2D] | None = None
) -> None:
    """Marks of conditions and others, above all panels."""
    mine = {
        label_of(n): Line2D([], [], marker=_marker_at(p), color=_colour_at(p))
        for n, p in _places_of(names).items()
    }
    if handles := mine | dict(others or {}):
        across = int(90 / (max(map(len, handles)) + 8))
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=across)


def heatmap(
    ax: Axes, wide: pd.DataFrame, label: str = "", numbers: str = "", size: float = 8.0,
    **options: Any,
) -> None:  # fmt: skip
    """A table as colours, with the value in every cell if `numbers` is a format."""
    shown: Any = False
    if numbers:
        words = wide.map(lambda v: numbers.format(v) if np.isfinite(v) else "")
        shown = words.replace({"-0": "0", "-0.00": "0.00"})
    bar = ax.inset_axes((1.03, 0.0, 0.035, 1.0))  # exactly as high as its map
    seaborn().heatmap(
        wide, ax=ax, annot=shown, fmt="", annot_kws={"fontsize": size}, cbar_ax=bar,
        xticklabels=False, yticklabels=False, rasterized=True, **options,
    )  # fmt: skip
    for text in ax.texts:
        text.set_in_layout(False)  # it is inside the axes: measuring hundreds of them is slow
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    bar.tick_params(labelsize=size, length=2)
    bar.set_ylabel(label, fontsize=size + 1)


def name_cells(ax: Axes, wide: pd.DataFrame, size: float, turn: float = 90) -> None:
    """Names of rows and columns; every second, third, … where they would run into one another."""
    for axis, keys in ((ax.yaxis, wide.index), (ax.xaxis, wide.columns)):
        step = math.ceil(len(keys) / 45)
        axis.set_ticks(np.arange(0, len(keys), step) + 0.5, list(keys[::step]), fontsize=size)
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(axis="x", rotation=turn)
    for text in ax.get_xticklabels() if turn < 90 else []:
        text.set(ha="right", rotation_mode="anchor")


def in_order(codes: Sequence[str]) -> list[str]:
    """Languages by script, family and name; of very many the largest families first."""
    known = [language(c) for c in dict.fromkeys(codes)]
    size = Counter(k.family for k in known)

    def place(k: Language) -> tuple[object, ...]:
        family, script = k.family or "", k.script or ""
        if len(known) > _MANY:
            return not family, -size[k.family], family, script, k.name
        return script, family, k.name

    return [k.key for k in sorted(known, key=place)]


def named(wide: pd.DataFrame) -> pd.DataFrame:
    return wide.set_axis([name(c) for c in wide.index]).set_axis(
        [name(c) for c in wide.columns], axis=1
    )


def matrix(ax: Axes, wide: pd.DataFrame, label: str, size: float, **options: Any) -> None:
    """One source x target map in score points; in-language cells outlined, outside the colours."""
    rows, columns = list(wide.index), list(wide.columns)
    many = len(columns) > 20
    same = np.array([[r == c for c in columns] for r in rows])
    off, numbers = named(wide.mask(same)), "" if many else "{:.0f}"
    heatmap(ax, off, label, numbers=numbers, size=size, square=True, **options)
    if len(columns) > _MANY:
        colour = "#666666" if options.get("cmap") == DIVERGING else "white"
        _name_families(ax.yaxis, ax.axhline, rows, colour)
        _name_families(ax.xaxis, ax.axvline, columns, colour)
        ax.tick_params(axis="x", rotation=90)
        return
    name_cells(ax, off, 8.5 if len(columns) <= 14 else 7)
    for codes, draw in ((rows, ax.axhline), (columns, ax.axvline)):
        scripts = [language(c).script for c in codes]
        for i in range(1, len(scripts)):
            if scripts[i] != scripts[i - 1]:
                draw(i, color="white", linewidth=min(2.5, 35 / len(columns)))
    for i, j in np.argwhere(same):
        ax.add_patch(Rectangle((j, i), 1, 1, facecolor="white", edgecolor="#999999", linewidth=0.6))
        if not many and np.isfinite(wide.iloc[i, j]):
            ax.text(j + 0.5, i + 0.5, f"{wide.iloc[i, j]:.0f}", ha="center", va="center",
                    fontsize=size, color="#555555", style="italic")  # fmt: skip


def _name_families(axis: Axis, draw: Callable[..., Any], codes: Sequence[str], colour: str) -> None:
    """Families in the place of languages: a line between them, the name where there is room."""
    family = [language(c).family for c in codes]
    starts = [i for i in range(len(codes)) if i == 0 or family[i] != family[i - 1]]
    bands = [b for b in zip(starts, [*starts[1:], len(codes)], strict=True) if b[1] - b[0] >= 5]
    for _, end in bands:
        draw(end, color=colour, linewidth=0.8)
    names = [f"{family[a] or 'no family'} ({b - a})" for a, b in bands]
    axis.set_ticks([(a + b) / 2 for a, b in bands], names, fontsize=7)
