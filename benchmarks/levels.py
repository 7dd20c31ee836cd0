"""What makes a target easy: the slopes of `levels.EASE`, and what they are worth to a new table.

    python benchmarks/levels.py

Prints, for every measured property of a target, the mean over published matrices of its ridge
coefficient on the target's level (both standardised): `EASE` is half of it. Then the R2 of levels
with one target language held out, from a flat start and from slopes in which this matrix, and
those of the same scores in another selection, had no part.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from evidence import MATRICES
from ranking import loaded

from xltlib.rank import gp, levels
from xltlib.rank.matrix import SIZE, Matrix

SAME = ({"xpos-10000", "rice-xlmr", "pos-xlmr"}, {"xnli-mt5", "xnli-xlmr"})


def properties(one: Matrix) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(T,) levels, (T, k) what makes a target easy, and the k names."""
    level, _ = levels._two_way(one, one.score)
    easy, _ = levels._difficulty(one.measures, np.unique(one.source_language), one.target_language)
    names = ["kin", *(m for m in levels.HELPS if m in one.measures)]
    names += ["text", "any_text", "relatives_text"] if SIZE in one.measures else []
    return level, easy, names


def slopes(level: np.ndarray, easy: np.ndarray, names: list[str]) -> pd.Series:
    """Ridge coefficients, both sides standardised."""
    z, penalty = (level - level.mean()) / level.std(), 0.1 * len(level) * np.eye(len(names))
    return pd.Series(np.linalg.solve(easy.T @ easy + penalty, easy.T @ z), names)


def held_out(one: Matrix, level: np.ndarray, easy: np.ndarray, slope: np.ndarray) -> float:
    """R2 of the levels, each language's from the others'."""
    at = one.target_language
    apart, told = gp.dissimilarity(one.measures)[np.ix_(at, at)], np.empty(len(level))
    for language in np.unique(at):
        asked = np.flatnonzero(at == language)
        told[asked] = gp.predict_level(apart, easy, level, asked, slope)[0]
    return float(1 - ((level - told) ** 2).sum() / ((level - level.mean()) ** 2).sum())


def main() -> None:
    tables = {name: loaded(name) for name in MATRICES}
    found = {name: properties(one) for name, one in tables.items()}
    each = pd.DataFrame({name: slopes(*f) for name, f in found.items()}).T
    weight = pd.Series({name: min(len(f[0]), 40) for name, f in found.items()})
    mean = each.mul(weight, axis=0).sum() / each.notna().mul(weight, axis=0).sum()
    print(pd.DataFrame({"half the mean": mean / 2, "EASE": levels.EASE}).round(3).to_string())
    rows = {}
    for name, (level, easy, names) in found.items():
        out = {name}.union(*(group for group in SAME if name in group))
        rest, own = each.drop(index=list(out)), weight.drop(index=list(out))
        others = rest.mul(own, axis=0).sum() / rest.notna().mul(own, axis=0).sum() / 2
        flat, slope = np.zeros(len(names)), others[names].to_numpy()
        r2 = (held_out(tables[name], level, easy, s) for s in (flat, slope))
        rows[name] = {"targets": len(level), **dict(zip(("flat", "slopes"), r2, strict=True))}
    table = pd.DataFrame(rows).T
    print(table.round(3).to_string())
    print(table[["flat", "slopes"]].agg(["mean", "median"]).round(3).to_string())


if __name__ == "__main__":
    main()
