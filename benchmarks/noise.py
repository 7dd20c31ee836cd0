"""How often tables without any effect of similarity are said to have one.

    python benchmarks/noise.py [--tables 100] [--languages 12] [--bootstrap 100]

Half of the tables are pure noise, half have effects of source and target beside it. Counted are the
headline of the report ("Similarity explains ..."), a single measure that goes with the score by
both tests, and how often the interval of what similarity explains leaves out its own estimate.
Aim: at most 5 of 100 for each.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np
import pandas as pd

from xltlib.book.inputs import similarities
from xltlib.explain import regression

CODES = "eng deu fra spa rus bul ell tur arb hin urd vie tha swh cmn fin ind jpn kor pol".split()


def made(codes: list[str], seed: int) -> pd.DataFrame:
    """Scores of all pairs, without (even seeds) or with effects of source and target."""
    rng = np.random.default_rng(seed)
    pairs = pd.MultiIndex.from_product([codes, codes], names=["source", "target"])
    table = pairs.to_frame(index=False)
    good, easy = (dict(zip(codes, rng.normal(0, s, len(codes)), strict=True)) for s in (0.05, 0.1))
    effects = seed % 2 * (table["source"].map(good) + table["target"].map(easy))
    score = (0.5 + effects + rng.normal(0, 0.03, len(table))).clip(0, 1)
    about = {"model": "m", "task": "t", "metric": "accuracy", "n_target": 0, "seed": 0}
    return table.assign(score=score, n_test=1000, **about).query("source != target")


def claimed(
    table: pd.DataFrame, pairs: pd.DataFrame, measures: list[str], bootstrap: int, seed: int
) -> list[str]:
    """What a report would claim of one table (`book/answers.txt.j2`)."""
    ends = {"bootstrap": bootstrap, "permutations": 199, "seed": seed}
    total = regression.variance_added(regression.prepared(table, pairs, measures), **ends).total
    whole = total.set_index("part").loc["similarity adds"]
    fitted = regression.explain(
        regression.prepared(table, pairs, measures), permutations=199, seed=seed
    ).coefficients
    both = ((fitted["low"] > 0) | (fitted["high"] < 0)) & (fitted["p_holm"] <= 0.05)
    found = {
        "similarity explains": whole["low"] > 0 and whole["p_mrqap"] <= 0.05,
        "a measure goes with the score": both.any(),
        "interval without its estimate": not whole["low"] <= whole["partial_r2"] <= whole["high"],
    }
    return [claim for claim, made in found.items() if made]


def count(tables: int, languages: int, bootstrap: int) -> Counter[str]:
    """Claims over so many tables."""
    codes = CODES[:languages]
    _, pairs = similarities(codes)
    measures = [c for c in pairs.columns[2:] if not c.startswith(("coverage_", "known_"))]
    parts = (claimed(made(codes, i), pairs, measures, bootstrap, i) for i in range(tables))
    return Counter(claim for part in parts for claim in part)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--languages", type=int, default=12)
    parser.add_argument("--bootstrap", type=int, default=100)
    asked, began = parser.parse_args(), time.process_time()
    found = count(asked.tables, asked.languages, asked.bootstrap)
    for claim, n in found.items():
        print(f"{claim}: {n} of {asked.tables}")
    print(f"{sum(found.values())} claims; {time.process_time() - began:.0f} CPU seconds")
