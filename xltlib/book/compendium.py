"""What many tables of scores say together: the results kept by `benchmarks/evidence.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xltlib.errors import unknown
from xltlib.explain.contrast import verdict

VERDICTS = ("holds", "cannot tell", "does not hold")
STRUCTURE = "+ phonology"  # the step of `regression.nested` at which all of structure is in
KEPT = {
    "matrices": ("matrix", "task", "model", "n_pairs", "r2_loto"),
    "coefficients": ("matrix", "feature", "beta", "low", "high", "p_mrqap"),
    "steps": ("matrix", "step", "difference", "cv_gain"),
    "claims": ("matrix", "claim", "estimate", "low", "high", "verdict"),
    "methods": ("matrix", "protocol", "method", "loss_pct", "ndcg3"),
    "laws": ("table", "law"),
    "criteria": ("table", "protocol", "figure", "must", "aim", "gp", "low", "high"),
    "law_claims": ("table", "claim", "estimate", "low", "high", "verdict"),
}


@dataclass(frozen=True)
class Compendium:
    """Tables of results over many matrices; every one has a column ``matrix`` (or ``table``).

    ``criteria`` is made by `benchmarks/ranking.py`, all others by `benchmarks/evidence.py`.
    """

    matrices: pd.DataFrame
    coefficients: pd.DataFrame
    steps: pd.DataFrame
    claims: pd.DataFrame
    methods: pd.DataFrame
    laws: pd.DataFrame
    criteria: pd.DataFrame
    law_claims: pd.DataFrame

    def only(self, tasks: Sequence[str]) -> Compendium:
        """The matrices of some tasks (all where none is named); the few-shot tables stay."""
        known = sorted(self.matrices["task"].unique())
        for task in tasks:
            if task not in known:
                raise unknown("task of the published matrices", task, known, "use one of these")
        names = self.matrices.loc[self.matrices["task"].isin(tasks or known), "matrix"]
        parts = {
            name: table[table["matrix"].isin(names)] if "matrix" in table else table
            for name, table in vars(self).items()
        }
        return Compendium(**parts)


def read(folder: str | Path) -> Compendium:
    """The kept results of a folder.

    Raises
    ------
    FileNotFoundError, ValueError
        A table that is missing or has not the columns it should, with the command that makes it.
    """
    tables = {}
    for name, columns in KEPT.items():
        program = "ranking" if name == "criteria" else "evidence"
        cure = f"make it with `python benchmarks/{program}.py --out {folder}`"
        path = Path(folder) / f"{name}.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: {cure}")
        tables[name] = pd.read_csv(path)
        missing = [c for c in columns if c not in tables[name]]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}: {cure}")
    return Compendium(**tables)


def measured_by(matrices: pd.DataFrame) -> list[str]:
    """Whose scores these are, a publication each: who, and which of the matrices."""
    groups = matrices.groupby("citation", sort=False)["matrix"]
    return [f"{str(who).rstrip('.')}: {', '.join(map(str, names))}" for who, names in groups]


def beside(published: pd.DataFrame, ours: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Coefficients of `features` on the published matrices, then on our own tasks."""
    both = pd.concat([published, ours], ignore_index=True) if len(ours) else published
    both = both[both["feature"].isin(features)]
    return both.sort_values("feature", key=lambda f: f.map(list(features).index), kind="stable")


def structure_gains(steps: pd.DataFrame) -> pd.DataFrame:
    """What syntax, morphology and phonology add to lexical similarity, for `figures.estimates`.

    ``part`` is *fit gained* (partial R2 over language effects, pairs seen), judged by the test of
    nested models, or *prediction gained* (error removed on languages never seen), by its interval.
    """
    rows = steps[steps["step"] == STRUCTURE]
    names = ["matrix", "estimate", "low", "high"]
    fit = rows[["matrix", "difference", "diff_low", "diff_high"]].set_axis(names, axis=1)
    unseen = rows[["matrix", "cv_gain", "cv_gain_low", "cv_gain_high"]].set_axis(names, axis=1)
    added = np.where(rows["p_added"] <= 0.05, "holds", "cannot tell")
    judged = [verdict(low, high) for low, high in zip(unseen["low"], unseen["high"], strict=True)]
    fit = fit.assign(part="fit gained", verdict=added)
    unseen = unseen.assign(part="prediction gained", verdict=judged)
    return pd.concat([fit, unseen], ignore_index=True)


def tally(claims: pd.DataFrame, by: str = "matrix") -> pd.DataFrame:
    """How often each claim holds, in the order of `claims`: counts, and where it holds or fails."""
    rows = []
    for claim, group in claims.groupby("claim", sort=False):
        counts = [int((group["verdict"] == v).sum()) for v in VERDICTS]
        where = {v: ", ".join(group.loc[group["verdict"] == v, by]) for v in VERDICTS}
        rows.append((claim, *counts, where["holds"], where["does not hold"]))
    return pd.DataFrame(rows, columns=["claim", *VERDICTS, "holds for", "fails for"])


def leads(compared: pd.DataFrame, methods: Sequence[str], protocol: str = "cold") -> pd.DataFrame:
    """Mean loss and NDCG@3 of each method over the matrices, and on how many it is the best."""
    own = compared[(compared["protocol"] == protocol) & compared["method"].isin(methods)]
    loss = own.pivot(index="matrix", columns="method", values="loss_pct")
    best = loss.idxmin(axis=1).value_counts()
    means = own.groupby("method")[["loss_pct", "ndcg3"]].mean()
    means["best on"] = best.reindex(means.index).fillna(0).astype(int)
    return means.reset_index().sort_values("loss_pct", ignore_index=True)


def losses(compared: pd.DataFrame, method: str = "gp") -> pd.DataFrame:
    """Loss and NDCG@3 of a method on every matrix, cold and warm, with 95 % intervals, in words."""
    own = compared[compared["method"] == method]
    columns = {}
    for protocol in ("cold", "warm"):
        rows = own[own["protocol"] == protocol].set_index("matrix")
        for figure, called in (("loss_pct", "loss, %"), ("ndcg3", "NDCG@3, %")):
            parts = (rows[figure], rows[f"{figure}_low"], rows[f"{figure}_high"])
            words = [f"{v:.1f} ({a:.1f} to {b:.1f})" for v, a, b in zip(*parts, strict=True)]
            columns[f"{called}, {protocol}"] = pd.Series(words, index=rows.index)
    return pd.DataFrame(columns).reindex(own["matrix"].unique()).rename_axis("matrix").reset_index()


NEARLY = "within the interval"  # missed by the estimate, not by its interval
FIGURES = {  # of the criteria: name, factor, digits
    "loss_pct": ("loss, %", 1, 2),
    "ndcg3": ("NDCG@3, %", 1, 1),
    "spearman": ("Spearman", 1, 3),
    "r2_loto": ("R² of the score", 1, 2),
    "mae": ("error, points", 100, 2),
}


def criteria(table: pd.DataFrame) -> pd.DataFrame:
    """The criteria set beforehand and what is reached, in words, a row each.

    Beside `gp` stand those rules of which something is known here.
    """
    rows = []
    for r in table.to_dict("records"):
        called, factor, digits = FIGURES[r["figure"]]

        def said(value: float, factor: int = factor, digits: int = digits) -> str:
            return f"{factor * value:.{digits}f}" if pd.notna(value) else "–"

        own = f"{said(r['gp'])} ({said(r['low'])} to {said(r['high'])})"
        others = [said(r.get(m, float("nan"))) for m in ("best_mean", "rank_fusion", "lambdamart")]
        rows.append((r["table"], r["protocol"], called, said(r["must"]), said(r["aim"]), own,
                     _met(r), *others))  # fmt: skip
    names = ["table", "protocol", "figure", "required", "aimed at", "gp (95 %)", "reached"]
    rules = ["best on average", "rank fusion", "LambdaMART"]
    out = pd.DataFrame(rows, columns=[*names, *rules])
    return out.drop(columns=[rule for rule in rules if (out[rule] == "–").all()])


def _met(row: Mapping[Any, Any]) -> str:
    """Which of the two criteria a row reaches; one that is missed inside the interval says so."""
    up = row["figure"] in ("ndcg3", "spearman", "r2_loto")
    near = row["high"] if up else row["low"]

    def met(value: float, bound: float) -> bool:
        return bool(value >= bound if up else value <= bound)

    if pd.notna(row["aim"]) and met(row["gp"], row["aim"]):
        return "both" if pd.notna(row["must"]) else "yes"
    if pd.notna(row["must"]) and met(row["gp"], row["must"]):
        return "first" if pd.notna(row["aim"]) else "yes"
    bound = row["aim"] if pd.isna(row["must"]) else row["must"]
    return NEARLY if met(near, bound) else "no"


def answers(found: Compendium) -> list[str]:
    """Sentences that sum up: what holds, how often, and by how much our choice beats others."""
    said = []
    counted = tally(found.claims).set_index("claim")
    for claim in (
        "similarity predicts transfer to a new language",
        "structure adds to lexical similarity (fit)",
        "structure adds to lexical similarity (prediction)",
    ):
        if claim in counted.index:
            row = counted.loc[claim]
            said.append(
                f"*{claim}*: holds on {row['holds']} of {row[list(VERDICTS)].sum()} matrices "
                f"that can be asked, cannot be told on "
                f"{row['cannot tell']}, does not hold on {row['does not hold']}"
            )
    sure = found.coefficients[
        (found.coefficients["low"] > 0) & (found.coefficients["p_mrqap"] <= 0.05)
    ]
    most = sure["feature"].value_counts()
    listed = ", ".join(f"{str(f).replace('_', ' ')} ({n})" for f, n in most.items())
    said.append(
        f"beside all other measures a higher similarity clearly goes with more transfer: {listed}"
    )
    table = leads(found.methods, ("gp", "best_mean", "english", "rank_fusion"))
    loss = table.set_index("method")["loss_pct"]
    said.append(
        f"for a language never measured, the source `gp` chooses loses {loss['gp']:.1f} % "
        f"of the best source's score on average, one best-average source "
        f"{loss['best_mean']:.1f} %, English {loss['english']:.1f} %"
    )
    reached = criteria(found.criteria)["reached"]
    met, near = reached.isin(["yes", "both", "first"]).sum(), (reached == NEARLY).sum()
    said.append(
        f"of {len(reached)} criteria set beforehand {met} are reached; {near} of the others lie "
        "within the 95 % interval"
    )
    return said
