"""Scores again, from the outputs that were kept."""

from __future__ import annotations

import pandas as pd

from xltlib.train.config import Experiment
from xltlib.train.plan import runs
from xltlib.train.run import table_of
from xltlib.train.worker import Worker


def recompute(exp: Experiment) -> pd.DataFrame:
    """Score the kept outputs again, without any model; equals the scores table row by row."""
    worker, rows = Worker(exp), []
    for run in runs(exp):
        outputs = pd.read_parquet(worker.place.outputs(run))
        for (target, n), cell in outputs.groupby(["target", "n_target"], sort=False):
            rows += worker.rows(run, str(target), int(str(n)), list(cell["output"]))
    return table_of(rows)
