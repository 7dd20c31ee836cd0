"""CPU seconds of pairs and of an analysis for all 205 varieties of SIB-200 (made-up scores).

    python benchmarks/varieties.py

Aims: 60 s for the pairs, lexical similarity of SIB-200's training texts included (these need
``XLT_DATA``; without it, of CLDR's names); 90 s for ``xlt analyze``, one core. The scores are
source and target effects, similarity and noise.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from xltlib.cli import main
from xltlib.data import datasets
from xltlib.io import write_table
from xltlib.languages import similarity


def made(pairs: pd.DataFrame) -> pd.DataFrame:
    """Scores of every pair, one seed."""
    rng, codes = np.random.default_rng(0), sorted(set(pairs["source"]))
    easy, good = (
        dict(zip(codes, rng.normal(0, sd, len(codes)), strict=True)) for sd in (0.1, 0.03)
    )
    score = 0.6 + pairs["source"].map(good) + pairs["target"].map(easy)
    score += 0.08 * pairs["genealogy"] + 0.05 * pairs["word_order"] + 0.04 * pairs["script"]
    score = (score + rng.normal(0, 0.02, len(pairs))).clip(0, 1)
    about = {"model": "multilingual-e5-small", "task": "sib200", "metric": "accuracy"}
    return pairs[["source", "target"]].assign(score=score, n_test=204, **about)


def timed(what: str, began: float) -> None:
    print(f"{what}: {time.process_time() - began:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    codes, texts = datasets.languages_of("sib200"), None
    if os.environ.get("XLT_DATA"):
        began = time.process_time()
        read = {code: datasets.load("sib200", code, "train").examples for code in codes}
        texts = {code: [str(e.fields["text"]) for e in own] for code, own in read.items()}
        timed("reading the texts", began)
    began = time.process_time()
    table = similarity.pairs(codes, texts=texts)
    timed(f"pairs, {len(table)} of {len(codes)} varieties", began)
    with tempfile.TemporaryDirectory() as folder:
        path, began = write_table(made(table), Path(folder, "scores.parquet")), time.process_time()
        if main(["analyze", str(path), "--out", str(Path(folder, "report"))]) == 0:
            timed("xlt analyze", began)
