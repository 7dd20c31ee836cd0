"""Scores that a checkpoint's authors reported, language by language, beside one's own runs.

``book/published/mt5_scores.csv`` carries over mT5's zero-shot and translate-train scores (Xue et
al. 2021, arXiv 2010.11934 v1, appendix), as printed, 0 to 100: English is the source of them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from xltlib import scores
from xltlib.errors import unknown
from xltlib.languages import iso3
from xltlib.train.config import Experiment

COLUMNS = ("task", "setting", "model", "language", "score", "em", "superseded", "source")
METRIC = {"xnli": "accuracy", "pawsx": "accuracy", "wikiann": "span_f1"}  # all others: f1
SIZES = ("mT5-Small", "mT5-Base", "mT5-Large", "mT5-XL", "mT5-XXL")
SOURCE, ZERO_SHOT = "eng", "zero-shot"


def read(path: str | Path, setting: str = ZERO_SHOT) -> pd.DataFrame:
    """``task, setting, model, target, metric, score (0 to 1), superseded, source``; one setting.

    Raises
    ------
    ValueError, FileNotFoundError
        A column that is missing, or an unknown setting, with what is allowed.
    """
    table = pd.read_csv(path)
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}: take the book's own file")
    if setting not in set(table["setting"]):
        raise unknown("setting", setting, sorted(set(table["setting"])), "choose one of these")
    table = table[table["setting"] == setting].copy()
    table["target"] = table["language"].map(iso3)
    table["metric"] = table["task"].map(METRIC).fillna("f1")
    table["score"] /= 100
    kept = ["task", "setting", "model", "target", "metric", "score", "superseded", "source"]
    return table[kept].reset_index(drop=True)


def model_of(checkpoint: str, models: Sequence[str] = SIZES) -> str:
    """The reported model that a checkpoint is, "" if none: ``google/mt5-small`` is mT5-Small."""
    name = checkpoint.rsplit("/", 1)[-1].casefold()
    return next((m for m in models if m.casefold() == name), "")


def beside(reported: pd.DataFrame, own: pd.DataFrame, exp: Experiment) -> pd.DataFrame:
    """Reported and own scores of every target of an experiment, trained on English.

    Parameters
    ----------
    reported : DataFrame
        As `read` gives it.
    own : DataFrame
        A scores table, empty where nobody has run yet.
    exp : Experiment
        Whose tasks and targets are looked at.

    Returns
    -------
    DataFrame
        ``task, metric, target, superseded``, a column for each reported model, ``ours, low, high``
        (95 %, over seeds and test items), ``n_test``, and ``difference``: ours less the same
        model's report, where both are zero-shot. Not a number where nothing was reported or run.
    """
    wanted = pd.DataFrame(
        [(t, iso3(c)) for t, spec in exp.tasks.items() for c in spec.targets],
        columns=["task", "target"],
    ).drop_duplicates()
    models = [m for m in SIZES if m in set(reported["model"])]
    cell = ["task", "metric", "target", "superseded"]
    wide = reported.pivot_table(index=cell, columns="model", values="score")
    found = wanted.merge(wide[models].reset_index(), on=["task", "target"])
    found = found.merge(_own(own), on=["task", "metric", "target"], how="left")
    same = model_of(exp.model.label, models)
    alike = bool(same) and set(reported["setting"]) == {ZERO_SHOT}
    found["difference"] = found["ours"] - found[same] if alike else float("nan")
    return found


def _own(own: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of what was trained on English, with their intervals."""
    columns = ["task", "metric", "target", "ours", "low", "high", "n_test"]
    rows = own[(own["source"] == SOURCE) & (own["n_target"] == 0)]
    if rows.empty:
        return pd.DataFrame({c: pd.Series(dtype=object if i < 3 else float) for i, c in
                             enumerate(columns)})  # fmt: skip
    return scores.cells(scores.check(rows)).rename(columns={"score": "ours"})[columns]


def answers(found: pd.DataFrame, exp: Experiment) -> list[str]:
    """Sentences that sum up: how far ours are from the reported, or that nobody has run yet."""
    same = model_of(exp.model.label)
    run = found[found["difference"].notna()]
    if run.empty:
        return [
            f"nobody has run `{exp.model.label}` here yet: {len(found)} cells wait beside "
            "reported ones, and one command fills them"
        ]
    said = []
    for task, rows in run.groupby("task", sort=False):
        inside = ((rows["low"] <= rows[same]) & (rows[same] <= rows["high"])).sum()
        said.append(
            f"`{task}`: ours are {100 * rows['difference'].mean():+.1f} points from the reported "
            f"{same} on average over {len(rows)} languages (from "
            f"{100 * rows['difference'].min():+.1f} to {100 * rows['difference'].max():+.1f}); the "
            f"reported score is in our 95 % interval for {inside} of them"
        )
    return said
