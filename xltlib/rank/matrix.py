"""A scores table as matrices of cells, and what a protocol hides of them.

What all methods share: which cells there are, how similar their languages are, which of them a
held-out target language hides, and scores brought to one scale per target without reading those.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from xltlib.errors import unknown
from xltlib.languages.similarity import LEVELS
from xltlib.rank import gp
from xltlib.rank.gp import Array, Index

Protocol = Literal["cold", "warm"]
Side = Literal["source", "target"]

SIZE = "data_size"
_MAX_CELLS = 12_000  # exact inference keeps an n x n matrix: 0.6 GB at this size


@dataclass(frozen=True)
class Matrix:
    """Scores of one task and model as n cells; language, not treebank, decides what is hidden.

    Attributes
    ----------
    sources, targets : item labels, the language or ``language/treebank``.
    languages : ISO codes; ``source_language`` (S,) and ``target_language`` (T,) index them.
    source, target : (n,) item of each cell.
    score : (n,) in 0..1, NaN for a cell that is asked about but was never measured.
    measures : name to (L, L) similarity, NaN unknown.
    data : (n, j) properties of the data sets (columns ``pair_*``), ``data_names`` their names.
    """

    sources: list[str]
    targets: list[str]
    languages: list[str]
    source_language: Index
    target_language: Index
    source: Index
    target: Index
    score: Array
    measures: dict[str, Array]
    data: Array
    data_names: list[str]

    def ends(self) -> tuple[Index, Index]:
        """(n,) language of each cell's source and target."""
        return self.source_language[self.source], self.target_language[self.target]

    def similarity(self, measure: str) -> Array:
        """(n,) one measure at the cells."""
        return self.measures[measure][self.ends()]

    @cached_property
    def precision(self) -> Array:
        """Inverse prior covariance of the cells (`gp`); it may take half a gigabyte."""
        return gp.inverse(gp.kernel(self.cells))

    @cached_property
    def apart(self) -> Array:
        """(L, L) dissimilarity of the languages (`gp`)."""
        return gp.dissimilarity(self.measures)

    @cached_property
    def conditioned(self) -> dict[tuple[str, bytes], tuple[Any, Array]]:
        """What `methods.held_out` found for a protocol and the cells of a fold; `levels.ease`."""
        return {}

    @cached_property
    def cells(self) -> gp.Cells:
        """The cells as `gp` takes them, features centred within target."""
        at = self.target, ~np.isnan(self.score)
        columns = {m: self.similarity(m) for m in self.measures}
        varied = [m for m, x in columns.items() if features_of([x], *at).size]
        of_languages = self.of_languages()
        further = features_of(list(self.data[:, of_languages].T), *at)
        return gp.Cells(
            *(self.source, self.target, *self.ends()),
            features=np.hstack([features_of([columns[m] for m in varied], *at), further]),
            data=features_of(list(self.data[:, ~of_languages].T), *at),
            kinship=gp.kinship(self.measures),
            slope=np.vstack([gp.slopes(varied), np.tile(gp.UNSIGNED_SLOPE, (further.shape[1], 1))]),
            names=(*varied, *[gp.DATA] * further.shape[1]),
        )

    def of_languages(self) -> np.ndarray:
        """(j,) which columns of ``data`` are distances of two languages, not of two data sets.

        The same in both directions, and by name no size, ratio or overlap.
        """
        s, t = self.ends()
        cells = pd.DataFrame(self.data).groupby([s, t]).mean()
        back = cells.swaplevel().reindex(cells.index)
        return np.array([_symmetric(cells[j], back[j]) and not _counted(name)
                         for j, name in enumerate(self.data_names)], bool)  # fmt: skip


def matrices(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    target: str | None = None,
    most: int = _MAX_CELLS,
    complete: tuple[Side, Sequence[str]] | None = None,
) -> Iterator[tuple[dict[str, str], Matrix]]:
    """One `Matrix` per model, task and metric of the zero-shot rows, with its labels.

    `target` adds cells for a language that may have no score yet, `complete` all cells that these
    languages lack as a source or as a target; ``most`` bounds the measured cells kept.

    Raises
    ------
    ValueError
        If a column is missing, nothing is left, or `pairs` does not know a language of `scores`.
    """
    missing = {"source", "target", "score"} - set(scores)
    if missing:
        raise ValueError(f"the scores table lacks the column {' and '.join(sorted(missing))}")
    table = scores[(scores["source"] != scores["target"]) & scores["score"].notna()]
    if "n_target" in table:
        table = table[table["n_target"] == 0]
    if table.empty:
        raise ValueError(
            "no zero-shot score between two different languages is left: rank sources needs rows "
            "with source != target and n_target = 0"
        )
    labels = [c for c in ("model", "task", "metric") if c in table]
    groups = table.groupby(labels, sort=True) if labels else [((), table)]
    for values, rows in groups:
        built = _matrix(rows, pairs, target, most, complete)
        yield dict(zip(labels, map(str, values), strict=True)), built


def _matrix(
    rows: pd.DataFrame,
    pairs: pd.DataFrame,
    wanted: str | None,
    most: int,
    complete: tuple[Side, Sequence[str]] | None,
) -> Matrix:
    """Mean over seeds of every cell, plus unmeasured cells of a wanted target."""
    rows = rows.assign(_s=_item(rows, "source"), _t=_item(rows, "target"))
    numbers = map(str, rows.select_dtypes("number"))
    data_names = [c for c in numbers if c.startswith("pair_") and rows[c].notna().any()]
    keys = ["_s", "_t", "source", "target"]
    cells = rows.groupby(keys, as_index=False)[["score", *data_names]].mean()
    if len(cells) > most:
        cells = _reduced(cells, pairs, wanted, most, aloud=wanted is None and complete is None)
    if complete is not None:
        cells = pd.concat([cells, _missing(cells, *complete)], ignore_index=True)
    if wanted is not None:
        cells = pd.concat([cells, _asked(cells, wanted)], ignore_index=True)
    languages = sorted({*cells["source"], *cells["target"]})
    sources, targets = sorted(cells["_s"].unique()), sorted(cells["_t"].unique())
    of_source, of_target = (
        cells.drop_duplicates(item).set_index(item)[side]
        for item, side in (("_s", "source"), ("_t", "target"))
    )
    return Matrix(
        sources=sources,
        targets=targets,
        languages=languages,
        source_language=pd.Index(languages).get_indexer(of_source[sources]),
        target_language=pd.Index(languages).get_indexer(of_target[targets]),
        source=pd.Index(sources).get_indexer(cells["_s"]),
        target=pd.Index(targets).get_indexer(cells["_t"]),
        score=cells["score"].to_numpy(float),
        measures=measures_of(pairs, languages),
        data=logged(cells[data_names]),
        data_names=data_names,
    )


def _reduced(
    cells: pd.DataFrame, pairs: pd.DataFrame, wanted: str | None, most: int, aloud: bool
) -> pd.DataFrame:
    """At most about ``most`` cells: treebanks averaged per language, then whole targets left out.

    Kept are the targets most similar to the wanted one, or else targets evenly over the alphabet.
    """
    before = len(cells)
    if (cells["_s"] != cells["source"]).any() or (cells["_t"] != cells["target"]).any():
        values = cells.columns.difference(["_s", "_t", "source", "target"], sort=False)
        cells = cells.groupby(["source", "target"], as_index=False)[list(values)].mean()
        cells = cells.assign(_s=cells["source"], _t=cells["target"])
    targets = sorted(cells["target"].unique())
    keep = max(2, int(most / (len(cells) / len(targets))))
    if wanted is not None:
        targets = [wanted, *(t for t in targets if t != wanted)]
        order = np.argsort(-gp.kinship(measures_of(pairs, targets))[0], kind="stable")
        targets = [targets[i] for i in order[:keep]]
    elif keep < len(targets):
        targets = [targets[i] for i in np.linspace(0, len(targets) - 1, keep).astype(int)]
    cells = cells[cells["target"].isin(targets)].reset_index(drop=True)
    if aloud:
        warnings.warn(
            f"{before} cells are more than exact inference holds ({most}): reduced to {len(cells)} "
            f"by averaging treebanks per language and keeping {len(targets)} targets",
            stacklevel=5,
        )
    return cells


def _item(rows: pd.DataFrame, side: str) -> pd.Series:
    """Language, or language/treebank where the table has several sets per language."""
    name = f"{side}_set"
    return rows[side] if name not in rows else rows[side] + "/" + rows[name].astype(str)


def _asked(cells: pd.DataFrame, wanted: str) -> pd.DataFrame:
    """Cells of a target for the sources it was not measured with."""
    sources = cells[["_s", "source"]].drop_duplicates()
    known = cells.loc[cells["target"] == wanted, "source"]
    new = sources[(sources["source"] != wanted) & ~sources["source"].isin(known)]
    return new.assign(_t=wanted, target=wanted, score=np.nan)


def _missing(cells: pd.DataFrame, side: Side, codes: Sequence[str]) -> pd.DataFrame:
    """Cells of these languages as sources (or targets) that were not measured."""
    other = "target" if side == "source" else "source"
    mine, others = (cells[[f"_{s[0]}", s]].drop_duplicates() for s in (side, other))
    mine = mine[mine[side].isin(codes)]
    new = [c for c in codes if c not in set(mine[side])]
    mine = pd.concat([mine, pd.DataFrame({f"_{side[0]}": new, side: new})])
    grid = mine.merge(others, how="cross")
    known = pd.MultiIndex.from_frame(cells[["_s", "_t"]])
    seen = pd.MultiIndex.from_frame(grid[["_s", "_t"]]).isin(known)
    return grid[~seen & (grid["source"] != grid["target"])].assign(score=np.nan)


def measures_of(pairs: pd.DataFrame, languages: Sequence[str]) -> dict[str, Array]:
    """(L, L) array per measure of the pairs table, symmetric, own value on the diagonal."""
    at = pd.Index(languages)
    lost = sorted(set(languages) - set(pairs["source"]) - set(pairs["target"]))
    if lost:
        raise ValueError(
            f"the pairs table does not know {', '.join(lost[:5])}: make it with "
            "xltlib.languages.similarity.pairs over all languages of the scores table"
        )
    inside = pairs[pairs["source"].isin(at) & pairs["target"].isin(at)]
    i, j = (at.get_indexer(pd.Index(inside[side])) for side in ("source", "target"))
    names = [str(c) for c in pairs.select_dtypes("number") if not str(c).startswith("coverage_")]
    names = [name for name in names if name not in LEVELS]  # of one language, no similarity
    out = {}
    for name in names:
        value = np.full((len(at), len(at)), np.nan)
        value[i, j] = inside[name].to_numpy(float)
        value = np.where(np.isnan(value), value.T, value)
        if not np.isnan(value).all():
            out[name] = _sized(value) if name == SIZE else value
            if name != SIZE:  # a language is as similar to itself as the measure allows
                np.fill_diagonal(value, max(1.0, float(np.nanmax(value))))
    return out


def _sized(value: Array) -> Array:
    """Pairs hold the smaller of two sizes, so a language's largest pair is its own size.

    A language without known text counts as a tenth of the smallest known one.
    """
    size = np.array([np.nanmax(r) if np.isfinite(r).any() else np.nan for r in value])
    size = np.nan_to_num(size, nan=float(np.nanmin(size)) - 1)
    return np.minimum(size[:, None], size[None, :])


def logged(data: pd.DataFrame) -> Array:
    """Sizes, ratios and overlaps as logarithms, zeros at half the smallest."""
    out = data.to_numpy(float, copy=True)
    for j, name in enumerate(data):
        x = out[:, j]
        if _counted(str(name)) and (x > 0).any():
            out[:, j] = np.log(np.maximum(x, np.nanmin(x[x > 0]) / 2))
    return out


def _counted(name: str) -> bool:
    """Whether a column is counted in data sets, by its name."""
    return any(word in name for word in ("size", "ratio", "overlap"))


def _symmetric(there: pd.Series, back: pd.Series) -> bool:
    """Whether a property of pairs is as good as the same in both directions.

    Published distances are (correlation .9 to 1, mostly 1), properties of data sets are not (.2 at
    most; overlaps of words .7 to 1).
    """
    both = there.notna() & back.notna()
    if both.sum() < 6 or np.ptp(there[both]) == 0:  # three pairs, each seen from both ends
        return False
    return bool(np.corrcoef(there[both], back[both])[0, 1] > 0.95)


def features_of(columns: Sequence[Array], target: Index, measured: np.ndarray) -> Array:
    """Centred within target, one unit, clipped at five; unknown is the mean.

    The unit is that of the measured cells (n,), so that what is asked about changes nothing else.
    """
    out = []
    for column in columns:
        x = column - target_mean(column, target)[target]
        x = np.nan_to_num(x)
        unit = np.sqrt(np.mean(x[measured] ** 2))
        if unit > 1e-9:
            out.append(np.clip(x / unit, -5, 5))
    return np.array(out).T if out else np.zeros((len(target), 0))


def target_mean(value: Array, target: Index) -> Array:
    """(T,) mean over the known cells of each target, NaN where there is none."""
    known = ~np.isnan(value)
    size = target.max(initial=-1) + 1
    total = np.bincount(target[known], value[known], size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / np.bincount(target[known], minlength=size)


# --- what is hidden -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fold:
    """One held-out language: the cells asked about, and all cells hidden with them.

    ``term`` is the (n,) linear effect of the warm protocol and its product with
    `Matrix.precision`, where they are known already.
    """

    asked: Index
    hidden: Index
    term: tuple[Array, Array] | None = None

    def visible(self, matrix: Matrix) -> Array:
        """(n,) scores, NaN where hidden or never measured."""
        score = matrix.score.copy()
        score[self.hidden] = np.nan
        return score


def folds(matrix: Matrix, protocol: Protocol) -> Iterator[Fold]:
    """One fold per target language; with it is hidden what it is in another script."""
    if protocol not in get_args(Protocol):
        raise unknown("protocol", protocol, get_args(Protocol))
    s, t = matrix.ends()
    codes = np.array([key.partition("_")[0] for key in matrix.languages])
    for language in np.unique(matrix.target_language):
        same = codes == codes[language]
        hidden = same[t] | (same[s] & (protocol == "cold"))
        yield Fold(np.flatnonzero(t == language), np.flatnonzero(hidden))


def standardised(matrix: Matrix, fold: Fold, power: float) -> tuple[Array, Array]:
    """Scores centred within target and divided by sd^power * median sd^(1 - power); hidden cells
    are 0.

    The (T,) divisors come second. Neither sees the fold's hidden cells.
    """
    score = fold.visible(matrix)
    centred = score - target_mean(score, matrix.target)[matrix.target]
    spread = np.sqrt(target_mean(centred**2, matrix.target))
    typical = float(np.nanmedian(spread)) or 1.0
    spread = np.where(spread > 0, spread, typical)  # also NaN, a hidden target
    divisor = spread**power * typical ** (1 - power)
    return np.nan_to_num(centred / divisor[matrix.target]), divisor
