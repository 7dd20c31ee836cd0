"""What a source gains by similarity: the slopes of `gp.SLOPE`, and what they add on a new table.

    python benchmarks/slopes.py [--out book/published]

For every measure of similarity: the coefficient of a regression of the standardised score on source
effects and similarity, in each published matrix; their random-effects mean and standard deviation
between matrices (DerSimonian & Laird 1986). `gp.SLOPE` is that mean and `WIDER` times that
deviation, rounded. With ``--out`` also ``left_out.csv``: losses and rank correlations of `gp`,
cold and warm, on the matrices of at most `MOST` cells, with `gp.SLOPE` (all) and with slopes in
which this matrix, and all others of the same data set, had no part (others).
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from evidence import MATRICES
from levels import relatives
from ranking import PROTOCOLS, loaded, write

from xltlib.rank import gp, methods
from xltlib.rank.matrix import Fold, Matrix, features_of, standardised

# Eleven further matrices of other authors, which had no part in the slopes, lay 1.5 times as far
# from their means as mean and standard deviation let expect.
WIDER = 1.4
MOST = 3_000


def coefficients(one: Matrix) -> tuple[pd.Series, pd.Series]:
    """Slope of every measure that varies, and its variance, clustered by target."""
    nothing = np.array([], np.intp)
    z, _ = standardised(one, Fold(nothing, nothing), methods.POWER)
    at = one.target, ~np.isnan(one.score)
    names = [m for m in one.measures if features_of([one.similarity(m)], *at).size]
    cells, n = one.cells, len(one.sources)
    x = np.hstack([np.eye(n)[one.source], cells.features, cells.data])
    penalty = np.r_[np.ones(n), np.full(x.shape[1] - n, 1e-3)]
    inverse = np.linalg.inv(x.T @ x + np.diag(penalty))
    b = inverse @ x.T @ z
    push = np.zeros((len(one.targets), x.shape[1]))
    np.add.at(push, one.target, x * (z - x @ b)[:, None])
    variance = np.diag(inverse @ (push.T @ push) @ inverse)
    own = slice(n, n + len(names))
    return pd.Series(b[own], names), pd.Series(variance[own], names)


def pooled(b: pd.Series, variance: pd.Series) -> tuple[float, float]:
    """Mean, and standard deviation to expect of a new matrix's coefficient about it."""
    weight = 1 / variance
    mean = (weight * b).sum() / weight.sum()
    spread = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(0.0, ((weight * (b - mean) ** 2).sum() - (len(b) - 1)) / spread)
    weight = 1 / (variance + between)
    return float((weight * b).sum() / weight.sum()), float(np.sqrt(between + 1 / weight.sum()))


def slopes(b: pd.DataFrame, variance: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """As `gp.SLOPE`, from the matrices of these rows."""
    out = {}
    for measure in b:
        known = b[measure].notna() & (variance[measure] > 0)
        mean, sd = pooled(b.loc[known, measure], variance.loc[known, measure])
        out[str(measure)] = mean, WIDER * sd
    return out


def losses(one: Matrix, slope: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """`gp` under both protocols, with intervals."""
    with mock.patch.object(gp, "SLOPE", slope):
        fresh = dataclasses.replace(one)
        found = {p: methods.summary(methods.choices(fresh, p, ["gp"])) for p in PROTOCOLS}
    return pd.concat(found, names=["protocol"]).reset_index("protocol")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder: also what they add (a minute)")
    chosen = parser.parse_args()
    tables = {name: loaded(name) for name in MATRICES}
    found = {name: coefficients(one) for name, one in tables.items()}
    b, variance = (pd.DataFrame({n: f[i] for n, f in found.items()}).T for i in (0, 1))
    print(b.round(2).to_string())
    table = pd.DataFrame(slopes(b, variance), index=["mean", f"{WIDER} sd"]).T
    print(table.assign(SLOPE=pd.Series(gp.SLOPE)).round(3).to_string())
    if not chosen.out:
        return
    rows = []
    for name, one in tables.items():
        if len(one.score) > MOST:
            continue
        out = relatives(name)
        others = slopes(b.drop(index=out), variance.drop(index=out))
        for label, slope in (("all", gp.SLOPE), ("others", others)):
            rows.append(losses(one, slope).assign(matrix=name, slopes=label))
    write(pd.concat(rows), chosen.out / "left_out.csv")


if __name__ == "__main__":
    main()
