"""Figures: each is drawn from a small table, says what it shows, and is the same every time."""

from __future__ import annotations

import io
import itertools
import json
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from xltlib.book import figures, style
from xltlib.book.style import COLOURS, DATA, Card, looks_of
from xltlib.data.datasets import languages_of
from xltlib.explain import fewshot
from xltlib.languages import language
from xltlib.languages.similarity import MEASURES

CODES = ["eng", "deu", "rus", "srp", "hin", "arb"]
PAIRS = list(itertools.permutations(CODES, 2))


def scores() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for model, add in (("tiny", 0.2), ("tiny-scratch", 0.0)):
        for source, target in itertools.product(CODES, CODES):
            score = 0.9 if source == target else 0.3 + add + rng.uniform(0, 0.3)
            rows.append((model, "entity_type", source, target, 0, 0, "accuracy", score, 400))
        for (source, target), n in itertools.product(PAIRS[:5], (2, 8, 32, 128)):
            score = 0.4 + add + 0.3 * (1 - n**-0.5)
            rows.append((model, "entity_type", source, target, n, 0, "accuracy", score, 400))
    names = "model task source target n_target seed metric score n_test".split()
    return pd.DataFrame(rows, columns=names)


def pairs() -> pd.DataFrame:
    out = pd.DataFrame(PAIRS, columns=["source", "target"])
    rng = np.random.default_rng(0)
    return out.assign(word_order=rng.uniform(size=len(out)), script=0.0, coverage_word_order=1.0)


def draw_few_shot() -> Card:
    points = fewshot.curves(scores(), "tiny")
    control = fewshot.curves(scores(), "tiny-scratch")
    return figures.few_shot(points, {"power": fewshot.fit(points)}, control)


def spread(**columns: object) -> pd.DataFrame:
    out = pd.DataFrame(columns)
    value = out.select_dtypes("number").iloc[:, 0]
    return out.assign(low=value - 0.05, high=value + 0.05)


STEPS = spread(step=["lexical", "+ syntax"], partial_r2=[0.1, 0.2], task="entity_type")
FIGURES: dict[str, tuple[Callable[[], Card], str]] = {
    "similarity_maps": (lambda: figures.similarity_maps(pairs()), "word order"),
    "transfer_matrix": (lambda: figures.transfer_matrix(scores(), "entity_type", "tiny"), "German"),
    "pair_effects": (
        lambda: figures.pair_effects(pairs().assign(left=1.0), "what pairs carry"),
        "what pairs carry",
    ),
    "by_layer": (
        lambda: figures.by_layer(
            spread(estimate=[0.1, 0.2, 0.3, 0.4], layer=[0, 1, 0, 1], of=list("aabb"), task="ner"),
            line="of",
        ),
        "layer (0: embeddings)",
    ),
    "raw_and_gain": (
        lambda: figures.raw_and_gain(scores(), "entity_type", "tiny", "tiny-scratch"),
        "gain over tiny-scratch",
    ),
    "transfer_means": (
        lambda: figures.transfer_means(
            spread(task="entity_type", condition=["in-language", "zero-shot"], mean=[0.9, 0.4]),
            {"entity_type": 0.125},
        ),
        "chance",
    ),
    "coefficients": (
        lambda: figures.coefficients(
            spread(task=["entity_type", "ner"], feature="word_order", beta=[0.3, 0.1]).assign(
                p_mrqap=[0.01, 0.4]
            )
        ),
        "word order",
    ),
    "estimates": (
        lambda: figures.estimates(
            spread(estimate=[1.0, -2.0, 0.0], source=["eng", "deu", "rus"], task="ner").assign(
                verdict=["holds", "does not hold", "cannot tell"]
            ),
            "source",
            "task",
        ),
        "difference in points",
    ),
    "shares": (
        lambda: figures.shares(spread(feature=["script", "lexical"], share=[0.4, 0.2])),
        "script",
    ),
    "nested": (
        lambda: figures.nested(STEPS.assign(cv_r2=STEPS["partial_r2"], cv_low=-0.1, cv_high=0.3)),
        "+ syntax",
    ),
    "choosing": (
        lambda: figures.choosing(spread(method=["english", "gp"], loss_pct=[6.0, 3.0])),
        "English",
    ),
    "similarity_scatter": (
        lambda: figures.similarity_scatter(
            pairs().assign(y=np.linspace(0.2, 0.8, 30), task="entity_type"),
            ["word_order", "script"],
        ),
        "word order",
    ),
    "measure_agreement": (
        lambda: figures.measure_agreement(
            pd.DataFrame(
                {
                    "first": ["word_order", "word_order", "lexical"],
                    "second": ["lexical", "script", "script"],
                    "r": [0.4, -0.35, 0.0],
                }
            )
        ),
        "-0.35",
    ),
    "few_shot": (draw_few_shot, "English → German"),
    "expected_scores": (
        lambda: figures.expected_scores(spread(score=[0.35, 0.9], predicted=[0.3, 0.5])),
        "outside",
    ),
    "example_curves": (
        lambda: figures.example_curves(
            pd.DataFrame(
                [
                    (target, line, n, 20.0 + n, 18.0 + n, 22.0 + n)
                    for target in ("swe", "tur")
                    for line in ("knows it", "knows a relative", "no pre-training")
                    for n in (0, 16)
                ],
                columns=["target", "line", "n_target", "estimate", "low", "high"],
            )
        ),
        "knows a relative",
    ),
    "learning_curve": (
        lambda: figures.learning_curve(
            pd.DataFrame({"step": [0, 10, 20], "loss": [3.0, 2.0, 1.0], "split": "training"})
        ),
        "training step",
    ),
    "confusion": (
        lambda: figures.confusion(
            pd.DataFrame({"truth": ["city", "city", "unit"], "answer": ["city", "unit", "other"]})
        ),
        "answer given",
    ),
}


def texts(figure: Card) -> set[str]:
    return {t.get_text() for t in figure.findobj(mpl.text.Text)}


def test_every_public_figure_is_tried() -> None:
    mine = {n for n, f in vars(figures).items() if getattr(f, "__module__", "") == figures.__name__}
    assert set(FIGURES) == {n for n in mine if not n.startswith("_")}


@pytest.mark.parametrize("name", list(FIGURES))
def test_figure(name: str) -> None:
    draw, word = FIGURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that the font lacks, a layout that collapses
        figure = draw()
        svg = figure._repr_svg_()
    assert word in texts(figure)
    assert figure.get_size_inches()[0] == pytest.approx(7.5)
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)  # a white card on any page
    ET.fromstring(svg)
    assert svg == draw()._repr_svg_()  # same table, same bytes


def test_a_dollar_in_a_name_is_no_formula() -> None:
    table = pd.DataFrame(
        [("$^$", 20.0, 10.0, 30.0), ("a $x_1$", 40.0, 35.0, 45.0)],
        columns=["task", "estimate", "low", "high"],
    )
    for log in (False, True):
        figure = figures.estimates(table, rows="task", log=log)
        ET.fromstring(figure._repr_svg_())
        assert "$^$" in texts(figure) and not any("mathdefault" in t for t in texts(figure))


def test_saving_is_whole_and_repeatable(tmp_path) -> None:
    figure = FIGURES["shares"][0]()
    figure.save(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    figure.save(tmp_path / "figure.svg")
    first = (tmp_path / "figure.svg").read_bytes()
    figure.save(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "figure.svg"]


def test_drawing_leaves_the_callers_style_alone() -> None:
    before = dict(mpl.rcParams)
    FIGURES["transfer_matrix"][0]()
    assert dict(mpl.rcParams) == before


def test_in_language_scores_are_outside_the_colours() -> None:
    figure = figures.transfer_matrix(scores(), "entity_type", "tiny")
    image = figure.axes[0].collections[0]
    shown = np.ma.filled(np.ma.masked_invalid(image.get_array()), np.nan)
    assert np.isnan(np.diag(shown.reshape(6, 6))).all() and np.isfinite(shown).sum() == 30
    assert np.nanmax(shown) < 85  # the 90 of the diagonal does not stretch the scale


def test_languages_stand_by_script() -> None:
    order = style.in_order(["eng", "hin", "rus", "deu", "srp", "arb"])
    assert abs(order.index("rus") - order.index("srp")) == 1
    assert abs(order.index("eng") - order.index("deu")) == 1


def test_very_many_languages_stand_by_family_the_largest_first() -> None:
    codes = sorted(languages_of("sib200"))
    order = style.in_order(codes[::-1])
    assert sorted(order) == sorted({language(c).key for c in codes}) and len(order) == 205
    families = [language(c).family for c in order]
    runs = [(family, len(list(own))) for family, own in itertools.groupby(families)]
    assert len(runs) == len(set(families)) and runs[0][0] == "Indo-European"
    sizes = [n for family, n in runs if family]
    assert sizes == sorted(sizes, reverse=True) and runs[-1][0] is None  # no family: last


def test_colours_stay_apart_for_the_colour_blind() -> None:
    """Any two of the first five differ under simulated deuteranopia (Machado 2009)."""
    simulate = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    colours = np.array([mpl.colors.to_rgb(c) for c in COLOURS[:5]])
    seen = np.clip(colours**2.2 @ simulate.T, 0, 1) ** (1 / 2.2)
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(gaps) > 0.15


def test_a_task_and_a_measure_have_one_colour_in_every_figure() -> None:
    def drawn(order: list[str], column: str, other: str) -> dict[str, tuple[float, ...]]:
        """The colour of each interval, by the order of the lines that the figure draws."""
        fixed = {"task": "none", "feature": "word_order"} | {other: "one"}
        table = spread(beta=range(len(order))).assign(**{**fixed, column: order})
        colour = "task" if column == "task" else ""
        figure = figures.coefficients(table, rows=column, colour=colour)
        lines = figure.axes[0].collections[0]
        assert isinstance(lines, mpl.collections.LineCollection)
        return dict(zip(order, map(tuple, lines.get_colors()), strict=True))

    tasks = ["sib200", "massive_intent", "massive_slots", "massive_qa", "udpos_dev", "masakhaner"]
    for column, other, names in (("task", "feature", tasks), ("feature", "task", list(MEASURES))):
        beside = drawn(names, column, other)
        assert drawn(names[::-1], column, other) == beside
        for name in names:
            assert drawn([name], column, other) == {name: beside[name]}, name
    assert len(set(drawn(tasks, "task", "feature").values())) == len(tasks)
    looks = looks_of(list(MEASURES))
    assert len({(looks["palette"][m], looks["markers"][m]) for m in MEASURES}) == len(MEASURES)
    bars = figures.shares(spread(share=[0.1, 0.2], feature=["genealogy", "word_order"], task="ner"))
    colours = [mpl.colors.to_hex(p.get_facecolor()).upper() for p in bars.axes[0].patches]
    assert colours == [looks["palette"][m] for m in ("genealogy", "word_order")]


def test_the_rule_that_is_ours_has_one_colour() -> None:
    """In the bars of a choice and among the marks of all rules."""
    assert (
        looks_of(["rank_fusion", "gp", "english"])["palette"]["gp"]
        == looks_of(["gp"])["palette"]["gp"]
    )
    table = spread(loss_pct=[1.0, 2.0], method=["random", "gp"], task="ner")
    bars = {
        mpl.colors.to_hex(p.get_facecolor()).upper()
        for p in figures.choosing(table).axes[0].patches
    }
    assert looks_of(["gp"])["palette"]["gp"] in bars


def test_no_chapter_brings_colours_of_its_own(repository: Path) -> None:
    for path in sorted((repository / "notebooks").rglob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        assert not re.search(r"\bcolor=|\bpalette=|#[0-9A-Fa-f]{6}\b", code), path.name


def test_maps_mark_what_is_imputed() -> None:
    table = pairs()
    table.loc[:2, "coverage_word_order"] = 0.0
    card = figures.similarity_maps(table)
    marks = {ax.get_title(loc="left"): ax.lines[0].get_xydata() for ax in card.axes if ax.lines}
    assert {title: len(at) for title, at in marks.items()} == {"word order": 3, "script": 0}


def test_a_notebook_keeps_a_figure_as_pdf_and_with_its_table() -> None:
    card = figures.similarity_maps(pairs())
    pdf = card._repr_pdf_()
    assert pdf.startswith(b"%PDF") and pdf == figures.similarity_maps(pairs())._repr_pdf_()
    kept = pd.read_csv(io.StringIO(card._repr_mimebundle_()[DATA]))
    pd.testing.assert_frame_equal(kept, pairs())
    assert Card()._repr_mimebundle_() == {}
    long = pd.concat([pairs()] * 200)  # 6,000 rows: too many for a notebook
    card.table = long
    assert card._repr_mimebundle_() == {}


def test_panels_of_coefficients_have_one_axis() -> None:
    rows = [("a", "script", 0.1), ("b", "script", 2.0), ("c", "script", 0.0), ("d", "script", 0.5)]
    table = pd.DataFrame(rows, columns=["task", "feature", "beta"])
    figure = figures.coefficients(
        table.assign(low=table["beta"] - 0.1, high=table["beta"] + 0.1), panel="task", colour=""
    )
    ends = {ax.get_xlim() for ax in figure.axes if ax.get_visible()}
    assert len(ends) == 1 and 2.1 <= ends.pop()[1] < 2.5
