"""One way from a score of the book to its run: record, key, settings, command, predictions."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pandas as pd

from xltlib.book.kept import tables_of
from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.scores import ILLEGAL
from xltlib.train import plan
from xltlib.train.config import Experiment
from xltlib.train.plan import Place


def explain(
    exp: Experiment,
    task: str,
    source: str,
    target: str,
    seed: int = 0,
    model: str | None = None,
    n_target: int = 0,
) -> dict[str, Any]:
    """Where a cell comes from, and how to measure it again.

    ``score`` has a 95 % interval over the test items. No such run or cell is an error that says
    what there is.
    """
    listed, to = plan.runs(exp), language(target).key
    named = model or (next(iter(exp.known), None) or exp.model.label)
    about = {"model": named, "task": task, "source": language(source).key, "seed": seed}
    run = listed[_picked(pd.DataFrame(listed), exp.name, **about).index[0]]
    path, _ = tables_of(exp.name)
    cells = _picked(pd.read_parquet(path), run.label, **about, target=to, n_target=n_target)
    row = cells[cells["metric"] != ILLEGAL].iloc[0].to_dict()
    place, key = Place(exp), run.key
    record, outputs = place.run(run), place.outputs(run)
    if not record.is_file():
        kept = path.parent / "run.json"
        record, outputs = kept, path.parent / "predictions.parquet"
        if kept.is_file():
            key = _kept_key(json.loads(kept.read_text("utf-8"))["runs"], about, key)
    if exp.model.kind == "tiny":
        shape = asdict(exp.shape)
    else:
        shape = {"name": exp.model.name, "revision": exp.model.revision}
    spec = exp.tasks[task].model_dump(mode="json", exclude={"sources", "targets", "among"})
    for name in ("recipe", "scratch"):
        if exp.probed or (name == "scratch") != run.condition.startswith("scratch"):
            spec.pop(name)
    score, half = float(row["score"]), 1.96 * float(row.get("stderr", float("nan")))
    cell = f"{task}, {run.source} to {to}, seed {seed}"
    shots = f", {n_target} examples" if n_target else ""
    return {
        "model": run.model,
        "cell": cell + shots,
        "score": f"{row['metric']} {score:.4f} ({score - half:.4f} to {score + half:.4f}: 95 % "
        f"interval over {row['n_test']} test items)",
        "table": str(path),
        "record": f"{record}, run {key}" if record.is_file() else "not kept",
        "key": key + ("" if key == run.key else f" (here it would be {run.key}: other versions)"),
        "settings": json.dumps(shape | {k: v for k, v in spec.items() if v is not None}),
        "command": f"xlt run {exp.name} --part {plan.part_of(exp, run)}",
        "predictions": f"{outputs} (rows of this target)" if outputs.is_file() else "not kept",
    }


def _picked(table: pd.DataFrame, where: str, **wanted: object) -> pd.DataFrame:
    """The rows with some values, and an error for the first that no row has."""
    for column, value in wanted.items():
        found = table[table[column].astype(str) == str(value)]
        if found.empty:
            raise unknown(f"{column} of {where}", value, table[column].unique(), "take another")
        table = found
    return table


def _kept_key(runs: dict[str, Any], wanted: dict[str, Any], key: str) -> str:
    """The key that a run had where it was kept."""
    table = pd.DataFrame(runs["rows"], columns=runs["columns"])
    own = table[(table[list(wanted)] == list(wanted.values())).all(axis=1)]
    return str(own["key"].iloc[0]) if len(own) else key
