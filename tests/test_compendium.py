"""What many tables say together: counted rightly, and refused with a cure where incomplete."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from xltlib.book import compendium

KEPT = Path(__file__).resolve().parents[1] / "book" / "published"


@pytest.fixture(scope="module")
def found() -> compendium.Compendium:
    return compendium.read(KEPT)


def test_every_matrix_has_every_part(found) -> None:
    names = set(found.matrices["matrix"])
    assert len(names) >= 12 and not found.matrices["matrix"].duplicated().any()
    for name in ("coefficients", "steps", "claims", "methods"):
        assert set(getattr(found, name)["matrix"]) <= names, name
    assert set(found.claims["verdict"]) <= set(compendium.VERDICTS)
    assert set(found.methods["protocol"]) == {"cold", "warm"}
    assert found.matrices["citation"].notna().all()  # whose scores these are


def test_verdicts_follow_from_the_intervals(found) -> None:
    sure = found.claims[found.claims["verdict"] == "holds"]
    assert (sure["low"] > 0).all()
    assert (found.claims.loc[found.claims["verdict"] == "does not hold", "high"] <= 0).all()


def test_tally_counts_each_claim_once() -> None:
    claims = pd.DataFrame(
        {
            "matrix": ["a", "b", "c", "a"],
            "claim": ["x", "x", "x", "y"],
            "verdict": ["holds", "does not hold", "holds", "cannot tell"],
        }
    )
    counted = compendium.tally(claims)
    assert counted.iloc[0].tolist() == ["x", 2, 0, 1, "a, c", "b"]
    assert counted.iloc[1].tolist() == ["y", 0, 1, 0, "", ""]


def test_structure_gains_take_the_step_with_all_of_structure() -> None:
    steps = pd.DataFrame(
        {
            "matrix": ["a", "a"],
            "step": ["lexical", compendium.STRUCTURE],
            "difference": [0.0, 0.1], "diff_low": [0.0, 0.02], "diff_high": [0.0, 0.2],
            "p_added": [float("nan"), 0.01],
            "cv_gain": [0.0, 0.05], "cv_gain_low": [0.0, -0.01], "cv_gain_high": [0.0, 0.1],
        }
    )  # fmt: skip
    gains = compendium.structure_gains(steps)
    assert gains["part"].tolist() == ["fit gained", "prediction gained"]
    assert gains["estimate"].tolist() == [0.1, 0.05]
    assert gains["verdict"].tolist() == ["holds", "cannot tell"]  # the second interval holds zero


def test_leads_name_the_best_of_each_matrix() -> None:
    compared = pd.DataFrame(
        {
            "matrix": ["a", "a", "b", "b"],
            "protocol": "cold",
            "method": ["gp", "english", "gp", "english"],
            "loss_pct": [1.0, 5.0, 3.0, 2.0],
            "ndcg3": [60.0, 10.0, 40.0, 50.0],
            "low": 0.5,
            "high": 6.0,
        }
    )
    table = compendium.leads(compared, ["gp", "english"])
    assert table["method"].tolist() == ["gp", "english"]
    assert table["best on"].tolist() == [1, 1] and table["loss_pct"].tolist() == [2.0, 3.5]


def test_losses_puts_every_figure_in_words(found) -> None:
    table = compendium.losses(found.methods)
    assert table["matrix"].tolist() == found.matrices["matrix"].tolist()
    row = found.methods.query("method == 'gp' and protocol == 'warm'").iloc[0]
    said = table.set_index("matrix").loc[row["matrix"], "loss, %, warm"]
    assert said.startswith(f"{row['loss_pct']:.1f} ({row['loss_pct_low']:.1f} to ")


def test_criteria_are_reached_or_not_as_their_figures_say() -> None:
    """Losses and errors should be small, all else large; an empty mark is never reached."""
    nan = float("nan")
    rows = [
        ("a", "cold", "loss_pct", 10.0, nan, 9.0, 7.0, 12.0, "yes"),
        ("a", "cold", "ndcg3", 50.0, 60.0, 55.0, 45.0, 65.0, "first"),
        ("a", "warm", "ndcg3", nan, 60.0, 55.0, 45.0, 65.0, compendium.NEARLY),
        ("a", "warm", "loss_pct", nan, 6.5, 6.5, 4.0, 7.0, "yes"),
        ("a", "cold", "r2_loto", 0.7, 0.75, 0.5, 0.4, 0.6, "no"),
        ("b", "test", "mae", 0.0144, 0.0052, 0.005, 0.004, 0.006, "both"),
        ("b", "test", "mae", 0.0144, 0.0052, 0.02, 0.01, 0.03, compendium.NEARLY),
    ]
    columns = ["table", "protocol", "figure", "must", "aim", "gp", "low", "high", "wanted"]
    table = pd.DataFrame(rows, columns=columns)
    said = compendium.criteria(table)
    assert said["reached"].tolist() == table["wanted"].tolist()
    assert said["gp (95 %)"].iloc[5] == "0.50 (0.40 to 0.60)" and said["required"].iloc[5] == "1.44"
    assert said["aimed at"].iloc[0] == "–" and "LambdaMART" not in said


def test_a_missing_or_strange_table_names_the_command(tmp_path: Path, found) -> None:
    with pytest.raises(FileNotFoundError, match=r"matrices.csv is not there: make it with"):
        compendium.read(tmp_path)
    for name in compendium.KEPT:
        (tmp_path / f"{name}.csv").write_text("matrix\na\n")
    with pytest.raises(ValueError, match="has no column task, model.*benchmarks/evidence.py"):
        compendium.read(tmp_path)
    for name, columns in compendium.KEPT.items():
        (tmp_path / f"{name}.csv").write_text(",".join(columns) + "\n")
    (tmp_path / "criteria.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"criteria.csv.*benchmarks/ranking.py"):
        compendium.read(tmp_path)


def test_only_some_tasks(found) -> None:
    ner = found.only(["ner"])
    assert set(ner.matrices["task"]) == {"ner"} and len(ner.laws) == len(found.laws)
    assert set(ner.claims["matrix"]) == set(ner.matrices["matrix"])
    with pytest.raises(ValueError, match="Did you mean 'ner'"):
        found.only(["nre"])
