"""What must not change a result, on slices of the kept matrix of parts of speech (24 x 24)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import iso639
import numpy as np
import pandas as pd
import pytest

from xltlib import scores
from xltlib.explain import regression
from xltlib.languages import language, similarity
from xltlib.rank import matrix, methods, recommend

CODES = ["eng", "deu", "fra", "cmn", "rus", "tur", "hin", "arb", "fin", "ind"]
MEASURES = ["word_order", "genealogy", "script", "geography"]
pytestmark = pytest.mark.filterwarnings("ignore::xltlib.scores.ScoresWarning")


@pytest.fixture(scope="module")
def table(repository: Path) -> pd.DataFrame:
    """Ten languages, three seeds."""
    kept = pd.read_parquet(repository / "book/published/matrix/scores.parquet")
    kept = kept[(kept["task"] == "udpos_dev") & (kept["model"] == "multilingual-e5-small")]
    assert set(kept["source"]) >= set(CODES)
    kept = kept[kept["source"].isin(CODES) & kept["target"].isin(CODES)]
    return kept[["source", "target", "seed", "score"]].reset_index(drop=True)


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return similarity.pairs(CODES)


@pytest.fixture(scope="module")
def first(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    return results(scores.check(table), pairs)


def results(checked: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Coefficients, ratings of all held-out targets, and a recommendation."""
    found = regression.explain(
        regression.prepared(checked, pairs, MEASURES), permutations=0
    ).coefficients
    ((_, built),) = matrix.matrices(checked, pairs)
    rated = {
        (built.sources[built.source[cell]], built.targets[built.target[cell]]): value
        for fold in matrix.folds(built, "cold")
        for cell, value in zip(
            fold.asked, methods.gaussian_process(built, fold, "cold"), strict=True
        )
    }
    hidden = checked[checked["target"] != "tur"]
    advised = recommend.recommend("tur", hidden, pairs).table.set_index("source")["predicted"]
    return pd.concat(
        [found.set_index("feature")["beta"], pd.Series(rated).sort_index(), advised.sort_index()]
    )


def same(table: pd.DataFrame, pairs: pd.DataFrame, first: pd.Series) -> None:
    found = results(scores.check(table), pairs)
    assert list(found.index) == list(first.index)
    np.testing.assert_allclose(found, first, atol=1e-8)  # sums in another order


def _two_letters(key: str) -> str:
    return iso639.Language.from_part3({"cmn": "zho", "arb": "ara"}.get(key, key)).part1


@pytest.mark.parametrize(
    "style",
    [
        _two_letters,
        lambda key: f"{key}_{language(key).script}",  # FLORES
        lambda key: f"{_two_letters(key)}-{language(key).script}",  # BCP 47
        lambda key: language(key).name,
    ],
    ids=["639-1", "flores", "bcp47", "names"],
)
def test_codes_of_any_style(
    table: pd.DataFrame, pairs: pd.DataFrame, first: pd.Series, style: Callable[[str], str]
) -> None:
    named = {key: style(key) for key in CODES}
    assert not set(named.values()) & set(CODES)
    same(table.replace({"source": named, "target": named}), pairs, first)


def test_order_of_rows(table: pd.DataFrame, pairs: pd.DataFrame, first: pd.Series) -> None:
    same(table.sample(frac=1, random_state=1), pairs.sample(frac=1, random_state=2), first)


def test_scale(table: pd.DataFrame, pairs: pd.DataFrame, first: pd.Series) -> None:
    same(table.assign(score=100 * table["score"]), pairs, first)


def test_split_over_seeds(table: pd.DataFrame, pairs: pd.DataFrame, first: pd.Series) -> None:
    mean = table.groupby(["source", "target"], as_index=False)["score"].mean()
    same(mean, pairs, first)


def test_orientation(
    table: pd.DataFrame, pairs: pd.DataFrame, first: pd.Series, tmp_path: Path
) -> None:
    wide = table.pivot_table(index="source", columns="target", values="score")
    (there, back) = (tmp_path / name for name in ("there.csv", "back.csv"))
    wide.rename_axis("", axis=0).to_csv(there)
    wide.T.rename_axis("", axis=0).sample(frac=1, random_state=3).to_csv(back)
    same(scores.read(there, rows="sources"), pairs, first)
    same(scores.read(back, rows="targets"), pairs, first)
    wide.T.rename_axis("target", axis=0).to_csv(back)
    same(scores.read(back), pairs, first)


def test_a_further_language_changes_no_measured_first_place(
    table: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    """But where it is first itself: of every measured target the best measured source is first."""
    checked = scores.check(table)
    for target in CODES[:2]:
        whole = recommend.recommend(target, checked, pairs).table["source"][0]
        for other in set(CODES[2:]) - {whole}:
            without = checked[(checked["source"] != other) & (checked["target"] != other)]
            assert recommend.recommend(target, without, pairs).table["source"][0] == whole
