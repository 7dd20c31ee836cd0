"""`benchmarks/speed.py`, in small: both sides learn the same and answer the same."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

pytest.importorskip("torch", reason="benchmarks of training need xltlib[train]")


@pytest.fixture(scope="module")
def speed(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("speed", repository / "benchmarks" / "speed.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["speed"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_both_sides_do_the_same(speed: ModuleType, tmp_path: Path) -> None:
    records = []
    for name in ("train-frozen", "answer-label"):
        records += speed.compared(name, speed.made(small_size=True)[name](), 1)
    told = tmp_path / "speed.jsonl"
    told.write_text("\n".join(map(json.dumps, records)))
    table = speed.table(told).set_index("benchmark")
    assert (table["pairs"] == 1).all() and (table[["ours", "theirs", "ratio"]] > 0).all().all()
    frozen = table.loc["train-frozen"]
    assert frozen["quality, ours"] == pytest.approx(frozen["quality, theirs"], abs=1e-3)
    assert 0 < frozen["limit"] < frozen["ours"]


def test_another_quality_is_refused(speed: ModuleType) -> None:
    sides = [speed.Side(lambda: None, lambda _, q=q: q) for q in (0.5, 0.6)]
    with pytest.raises(SystemExit, match=r"x: quality 0\.500 and 0\.600"):
        list(speed.compared("x", speed.Pair(*sides, 0.02), 1))


def test_growth_is_fitted_to_what_was_timed(speed: ModuleType) -> None:
    curves = speed.grown(sizes=(1, 2), repeats=1)
    assert set(curves["what"]) == {"sources", "targets", "examples", "length"}
    assert (curves["seconds"] > 0).all()
    curves["seconds"] = curves["times"] ** 1.5 * curves["what"].map(len)
    table = speed.exponents(curves).set_index("what")
    assert table.loc["sources"].tolist() == [7.0, 19.799, 1.5]
    assert (table["exponent"] == 1.5).all()


def test_the_figure_of_the_book_is_that_of_its_tables(
    speed: ModuleType, repository: Path, tmp_path: Path
) -> None:
    kept = [repository / "book" / f"{name}.csv" for name in ("speed", "speed_scaling")]
    speed.drawn(*map(pd.read_csv, kept)).save(tmp_path / "speed.svg")
    drawn, found = places(tmp_path / "speed.svg"), places(repository / "book" / "speed.svg")
    assert len(found) > 40
    assert drawn == pytest.approx(found, abs=0.5)


def places(picture: Path) -> list[float]:
    """Where the marks of a figure stand, across and down."""
    marks = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', picture.read_text())
    return [float(place) for mark in marks for place in mark]
