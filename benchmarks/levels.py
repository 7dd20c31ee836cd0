"""What makes a target easy: the slopes of `levels.EASE`, and what they add on a new table.

    python benchmarks/levels.py

Prints, for every measured property of a target, the mean over published matrices of its ridge
coefficient on the target's level (both standardised): `EASE` is half of it. Then the R2 of levels
with one target language held out, from a flat start and from slopes in which this matrix, and
all others of the same data set, had no part.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import published
from evidence import MATRICES
from ranking import loaded

from xltlib.rank import gp, levels
from xltlib.rank.matrix import Matrix


def relatives(name: str) -> list[str]:
    """The matrices of the same data set, this one among them."""
    return [n for n in MATRICES if published.SCORES[n].data == published.SCORES[name].data]


def properties(one: Matrix) -> tuple[np.ndarray, pd.DataFrame]:
    """(T,) levels, and (T, k) what makes a target easy."""
    level, _ = levels.two_way(one, one.score)
    every = np.full(len(one.targets), True)
    easy, _ = levels.ease(one.measures, np.unique(one.source_language), one.target_language, every)
    return level, easy


def slopes(level: np.ndarray, easy: pd.DataFrame) -> pd.Series:
    """Ridge coefficients, both sides standardised."""
    z, penalty = (level - level.mean()) / level.std(), 0.1 * len(level) * np.eye(easy.shape[1])
    return pd.Series(np.linalg.solve(easy.T @ easy + penalty, easy.T @ z), list(easy))


def held_out(one: Matrix, level: np.ndarray, easy: pd.DataFrame, slope: np.ndarray) -> float:
    """R2 of the levels, each language's from the others'."""
    at = one.target_language
    apart, predicted = gp.dissimilarity(one.measures)[np.ix_(at, at)], np.empty(len(level))
    for language in np.unique(at):
        asked = np.flatnonzero(at == language)
        predicted[asked] = gp.predict_level(apart, easy, slope, level, asked)[0]
    return float(1 - ((level - predicted) ** 2).sum() / ((level - level.mean()) ** 2).sum())


def main() -> None:
    tables = {name: loaded(name) for name in MATRICES}
    found = {name: properties(one) for name, one in tables.items()}
    each = pd.DataFrame({name: slopes(*f) for name, f in found.items()}).T
    weight = pd.Series({name: min(len(f[0]), 40) for name, f in found.items()})
    mean = each.mul(weight, axis=0).sum() / each.notna().mul(weight, axis=0).sum()
    print(pd.DataFrame({"half the mean": mean / 2, "EASE": levels.EASE}).round(3).to_string())
    rows = {}
    for name, (level, easy) in found.items():
        rest, own = each.drop(index=relatives(name)), weight.drop(index=relatives(name))
        others = rest.mul(own, axis=0).sum() / rest.notna().mul(own, axis=0).sum() / 2
        flat, slope = np.zeros(easy.shape[1]), others[list(easy)].to_numpy()
        r2 = (held_out(tables[name], level, easy, s) for s in (flat, slope))
        rows[name] = {"targets": len(level), **dict(zip(("flat", "slopes"), r2, strict=True))}
    table = pd.DataFrame(rows).T
    print(table.round(3).to_string())
    print(table[["flat", "slopes"]].agg(["mean", "median"]).round(3).to_string())


if __name__ == "__main__":
    main()
