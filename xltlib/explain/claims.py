"""What a table of scores says of the paper's claims: means of conditions, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from xltlib.explain import effects
from xltlib.explain.contrast import verdict
from xltlib.explain.effects import t_quantile
from xltlib.explain.regression import ALONE, explain, holm, nested
from xltlib.scores import cells, gain, in_language, select, transfer

SHARED = "zero-shot, the controls' pairs"  # of `conditions`


def _mean_row(table: pd.DataFrame, value: str) -> dict[str, float]:
    """Mean of the cells with an interval over languages (two-way clustered)."""
    y, n = table[value].to_numpy(dtype=float), len(table)
    source, target = (pd.factorize(table[c])[0].astype(np.int64) for c in ("source", "target"))
    if min(source.max(), target.max()) < 1:
        raise ValueError("a mean over languages with an interval needs two sources and two targets")
    fit = effects.clustered(np.ones((n, 1)), y, source, target, 1)
    noise = math.sqrt(float((table["se"] ** 2).sum())) / n
    mean, se = float(fit.beta[0]), max(float(fit.se[0]), noise)  # equal cells are not exact
    half = t_quantile(fit.df) * se
    return {"mean": mean, "se": se, "low": mean - half, "high": mean + half, "n_pairs": n}


def mean_transfer(scores: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Mean zero-shot score per model, task and metric; intervals over languages (two-way)."""
    table = cells(transfer(select(scores, metric=metric)))
    keys = ["model", "task", "metric"]
    rows = [dict(zip(keys, key, strict=True)) | _mean_row(group, "score")
            for key, group in table.groupby(keys)]  # fmt: skip
    return pd.DataFrame(rows)


def conditions(scores: pd.DataFrame, model: str, controls: Sequence[str] = ()) -> pd.DataFrame:
    """In-language, zero-shot and control means side by side, for `figures.transfer_means`.

    Controls are often measured from fewer sources: the pairs that all conditions share are the ones
    their means are over, and the model is shown on these as well (`SHARED`).

    Returns
    -------
    DataFrame
        ``task, metric, condition, mean, low, high, n`` (95 % over languages; n cells), in order.
    """
    own = cells(in_language(select(scores, model=model)))
    zero = cells(transfer(scores[scores["model"].isin([model, *controls])]))
    rows: list[_Claim] = []
    for (task, metric), group in own.groupby(["task", "metric"]):
        y, n = group["score"].to_numpy(dtype=float), len(group)
        spread = float(y.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
        noise = math.sqrt(float((group["se"] ** 2).sum())) / n
        half = max(spread, noise) * t_quantile(max(n - 1, 1))
        rows.append((task, metric, "in-language", y.mean(), y.mean() - half, y.mean() + half, n))
    for (task, metric), group in zero.groupby(["task", "metric"]):
        measured = group.groupby(["source", "target"])["model"].transform("nunique")
        shared = group[measured == group["model"].nunique()]
        parts = [("zero-shot", group[group["model"] == model])]
        parts += [(c, shared[shared["model"] == c]) for c in controls if c in set(group["model"])]
        if len(parts) > 1 and len(same := shared[shared["model"] == model]) < len(parts[0][1]):
            parts.insert(1, (SHARED, same))
        for label, own_cells in parts:
            r = _mean_row(own_cells, "score")
            rows.append((task, metric, label, r["mean"], r["low"], r["high"], r["n_pairs"]))
    out = pd.DataFrame(rows, columns=["task", "metric", "condition", "mean", "low", "high", "n"])
    return out.assign(low=out["low"].clip(lower=0), high=out["high"].clip(upper=1))


def compare(scores: pd.DataFrame, model: str, control: str) -> pd.DataFrame:
    """Mean zero-shot difference of two conditions on the pairs they share, per task and metric.

    Returns
    -------
    DataFrame
        ``task, metric, model, control, difference, se, low, high`` (95 % over languages, two-way
        clustered), ``n_pairs``.
    """
    table = cells(transfer(gain(scores, model, control)), "gain")
    rows = [
        {
            "task": task,
            "metric": name,
            "model": model,
            "control": control,
            **_mean_row(group, "gain"),
        }
        for (task, name), group in table.groupby(["task", "metric"])
    ]
    return pd.DataFrame(rows).rename(columns={"mean": "difference"})


_CLAIM = ["claim", "task", "evidence", "estimate", "low", "high", "p_mrqap", "p_holm"]
_Claim = tuple[Any, ...]


def verdicts(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    model: str,
    *,
    controls: Sequence[str] = (),
    baseline: str | None = None,
    steps: Mapping[str, Sequence[str]] | None = None,
    bootstrap: int = 300,
    permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """The claims of arXiv 2212.01757 as far as a scores table can judge them, task by task.

    Returns
    -------
    DataFrame
        ``claim, evidence`` (task and what was measured), ``estimate, low, high`` (95 %),
        ``p_mrqap, p_holm``, ``verdict``. A claim about prediction is judged on languages never
        seen; one about fit or a single measure holds only if interval and permutation test agree,
        the test of a measure corrected for their number (Holm): of twenty measures one would pass
        by chance.
    """
    rows: list[_Claim] = []
    for control in controls:
        for r in compare(scores, model, control).itertuples():
            what = f"{r.task}, {r.metric}: zero-shot minus {control}, {r.n_pairs} pairs"
            ends = (r.difference, r.low, r.high, None, None)
            rows.append((f"transfer exceeds {control}", r.task, what, *ends))
    for task in sorted(transfer(select(scores, model=model))["task"].unique()):
        for base in (None,) if baseline is None else (None, baseline):
            what = "score" if base is None else f"gain over {base}"
            options: dict[str, Any] = {"task": task, "model": model, "baseline": base, "seed": seed}
            options["permutations"] = permutations
            growing = nested(scores, pairs, steps, bootstrap=bootstrap, **options)
            used = growing.loc[growing["step"] != ALONE, "features"].iloc[-1].split(", ")
            fit = explain(scores, pairs, used, **options)
            rows += _nested_claims(growing, task, what)
            rows += _measure_claims(fit.coefficients, task, what)
    return _with_verdicts(rows)


def of_tables(steps: pd.DataFrame, coefficients: pd.DataFrame, task: str) -> pd.DataFrame:
    """`verdicts` from the tables of `nested` and `explain` (either may be empty)."""
    rows = _nested_claims(steps, task, "score") if len(steps) else []
    return _with_verdicts([*rows, *_measure_claims(coefficients, task, "score")])


def pooled(claims: pd.DataFrame, unit: str = "data") -> pd.DataFrame:
    """Each claim over several matrices: a random-effects mean whose unit is the data set.

    Matrices of one data set share items and languages. They are taken as fully dependent: their
    mean counts once, with the mean of their standard errors. Over units: the variance between them
    by Paule & Mandel (1982, doi:10.6028/jres.087.022), the interval by Student's t with units - 1
    degrees of freedom, that of Knapp & Hartung (2003, doi:10.1002/sim.1482) where units differ by
    more than their errors and never narrower.

    Parameters
    ----------
    claims
        A row a claim and matrix: ``claim, estimate, low, high`` (95 %) and the column `unit`. What
        has no interval is left out.

    Returns
    -------
    DataFrame
        ``claim, estimate, low, high, p``, ``p_holm`` (corrected for the claims of this table),
        ``n`` units, ``n_matrices``, ``verdict`` (the interval and ``p_holm`` must agree). One unit
        alone has no interval.
    """
    from statsmodels.stats.meta_analysis import combine_effects

    rows = []
    for claim, own in claims.dropna(subset=["low", "high"]).groupby("claim", sort=False):
        cut = np.isclose(own["low"], own["estimate"].clip(upper=0))  # `effects.share_interval`
        half = np.where(cut, own["high"] - own["estimate"], (own["high"] - own["low"]) / 2)
        each = own.assign(se=half / 1.96).groupby(unit)[["estimate", "se"]].mean()
        mean, se, df = each["estimate"].mean(), math.nan, len(each) - 1
        if df:
            y, v = each["estimate"].to_numpy(), np.maximum(each["se"].to_numpy(), 1e-9) ** 2
            found = combine_effects(y, v, method_re="iterated")
            mean, se = float(found.mean_effect_re), float(found.sd_eff_w_re)
        p = float(effects.p_of_t(np.array(mean / se), max(df, 1)))
        reach = t_quantile(max(df, 1)) * se
        rows.append((claim, mean, mean - reach, mean + reach, p, df + 1, len(own)))
    out = pd.DataFrame(rows, columns=["claim", "estimate", "low", "high", "p", "n", "n_matrices"])
    out.insert(5, "p_holm", holm(out["p"]))
    return out.assign(verdict=_agreed(out["low"], out["high"], out["p_holm"]))


def _with_verdicts(rows: Sequence[_Claim]) -> pd.DataFrame:
    """A row a claim; where a permutation test was made, it must agree with the interval."""
    out = pd.DataFrame(rows, columns=_CLAIM)
    numbers = out[["low", "high", "p_mrqap", "p_holm"]].astype(float)
    p = numbers["p_holm"].fillna(numbers["p_mrqap"])
    return out.assign(verdict=_agreed(numbers["low"], numbers["high"], p))


def _agreed(low: pd.Series, high: pd.Series, p: pd.Series) -> list[str]:
    """`verdict` of each interval where its test, if one was made, says so too."""
    judged = map(verdict, low, high)
    return ["cannot tell" if u else v for u, v in zip(p > 0.05, judged, strict=True)]


def _nested_claims(table: pd.DataFrame, task: str, what: str) -> list[_Claim]:
    """Similarity predicts; structure adds to the first step, and without it says more than it."""
    alone, table = (table[(table["step"] == ALONE) == own] for own in (True, False))
    last, first = table.iloc[-1], str(table["features"].iloc[0])
    called = "lexical similarity" if first.startswith("lexical") else first.replace("_", " ")
    adds, better = f"structure adds to {called}", f"structure predicts better than {called}"
    phon = table[table["step"].str.contains("phon")]
    core = phon.iloc[-1] if len(phon) else last
    compared = [(adds, core), *((better, r) for _, r in alone.iterrows())]
    seen, unseen = "partial R2 over effects", "error removed on languages never seen"
    return [
        ("similarity predicts transfer to a new language", task, f"{task}, {what}: {unseen}, all "
         "measures", last["cv_r2"], last["cv_low"], last["cv_high"], None, None),
        *((f"{claim} (prediction)", task, f"{task}, {what}: {unseen}, difference",
           r["cv_gain"], r["cv_gain_low"], r["cv_gain_high"], None, None)
          for claim, r in compared),
        *((f"{claim} (fit)", task, f"{task}, {what}: {seen}, difference",
           r["difference"], r["diff_low"], r["diff_high"], r["p_added"], None)
          for claim, r in compared),
    ]  # fmt: skip


def _measure_claims(table: pd.DataFrame, task: str, what: str) -> list[_Claim]:
    evidence = f"{task}, {what}: standardised coefficient, all measures together"
    return [
        (f"more alike in {r.feature}, more transfer", task, evidence,
         r.beta, r.low, r.high, r.p_mrqap, r.p_holm)
        for r in table.itertuples()
    ]  # fmt: skip
