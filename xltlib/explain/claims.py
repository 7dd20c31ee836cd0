"""What a table of scores says of the paper's claims: means of conditions, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xltlib.explain.contrast import VERDICTS, estimates, verdict
from xltlib.explain.effects import p_of_t, t_quantile
from xltlib.explain.regression import ALONE, holm
from xltlib.scores import cells, gain, in_language, select, transfer

SHARED = "zero-shot, the controls' pairs"  # of `conditions`


def _over_languages(table: pd.DataFrame, value: str, over: Sequence[str]) -> pd.DataFrame:
    """Mean per model, task and metric with its interval, at least that of the cells' own errors."""
    keys = ["model", "task", "metric"]
    found = estimates(table, value, over=over, by=keys)
    noise = table.groupby(keys, sort=False)["se"].agg(lambda se: math.sqrt((se**2).sum()) / len(se))
    least = 1.96 * found[keys].join(noise, on=keys)["se"]  # equal cells are not exact
    low, high = found["estimate"] - least, found["estimate"] + least
    ends = {"low": found["low"].clip(upper=low), "high": found["high"].clip(lower=high)}
    return found.assign(**ends).rename(columns={"estimate": "mean"})


def mean_transfer(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean zero-shot score per model, task and metric; intervals over languages.

    Its columns are ``mean`` and else those of `contrast.estimates`.
    """
    table = cells(transfer(scores))
    for side in ("source", "target"):
        if table[side].nunique() < 2:
            raise ValueError("a mean over languages needs two sources and two targets")
    return _over_languages(table, "score", ("source", "target"))


def conditions(scores: pd.DataFrame, model: str, controls: Sequence[str] = ()) -> pd.DataFrame:
    """In-language, zero-shot and control means side by side, for `figures.transfer_means`.

    Controls are often measured from fewer sources: the pairs that all conditions share are the ones
    their means are over, and the model is shown on these as well (`SHARED`).

    Returns
    -------
    DataFrame
        ``task, metric, condition, mean, low, high, n`` (95 % over languages; n cells), in order.
    """
    zero = cells(transfer(scores[scores["model"].isin([model, *controls])]))
    both = ["source", "target"]
    parts = {"in-language": (cells(in_language(select(scores, model=model))), ["source"])}
    parts |= {"zero-shot": (zero[zero["model"] == model], both)}
    by_task = zero.groupby(["task", "metric"])["model"].transform("nunique")
    measured = zero.groupby(["task", "metric", *both])["model"].transform("nunique")
    shared = zero[measured == by_task]
    fewer = zero[(measured < by_task) & (zero["model"] == model)]
    same = shared[(shared["model"] == model) & shared["task"].isin(fewer["task"])]
    parts |= {SHARED: (same, both)}
    parts |= {c: (shared[shared["model"] == c], both) for c in controls}
    out = pd.concat(
        [_over_languages(t, "score", over).assign(condition=c) for c, (t, over) in parts.items()]
    )
    out = out[["task", "metric", "condition", "mean", "low", "high", "n"]]
    out = out.sort_values(["task", "metric"], kind="stable", ignore_index=True)
    return out.assign(low=out["low"].clip(lower=0), high=out["high"].clip(upper=1))


def compare(scores: pd.DataFrame, model: str, control: str) -> pd.DataFrame:
    """Mean zero-shot ``difference`` of two conditions on shared pairs, else as `mean_transfer`."""
    table = cells(transfer(gain(scores, model, control)), "gain")
    found = _over_languages(table.assign(model=model), "gain", ("source", "target"))
    return found.assign(control=control).rename(columns={"mean": "difference"})


_CLAIM = ["claim", "task", "evidence", "estimate", "low", "high", "p_mrqap", "p_holm"]
_Claim = tuple[Any, ...]


def of_tables(
    steps: pd.DataFrame, coefficients: pd.DataFrame, task: str, what: str = "score"
) -> pd.DataFrame:
    """The claims of arXiv 2212.01757 on one task, as far as a scores table can judge them.

    Parameters
    ----------
    steps, coefficients
        Of `regression.nested` and `regression.explain`; either may be empty.
    what
        Was explained: the score, or the gain over a baseline.

    Returns
    -------
    DataFrame
        ``claim, task, evidence`` (what was measured), ``estimate, low, high`` (95 %),
        ``p_mrqap, p_holm``, ``verdict``. A claim about prediction is judged on languages never
        seen; one about fit or a single measure holds only if interval and permutation test agree,
        the test of a measure corrected for their number (Holm): of twenty measures one would pass
        by chance.
    """
    rows = _nested_claims(steps, task, what) if len(steps) else []
    out = pd.DataFrame([*rows, *_measure_claims(coefficients, task, what)], columns=_CLAIM)
    numbers = out[["low", "high", "p_mrqap", "p_holm"]].astype(float)
    return out.assign(verdict=_agreed(out, numbers["p_holm"].fillna(numbers["p_mrqap"])))


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
        p = float(p_of_t(np.array(mean / se), max(df, 1)))
        reach = t_quantile(max(df, 1)) * se
        rows.append((claim, mean, mean - reach, mean + reach, p, df + 1, len(own)))
    out = pd.DataFrame(rows, columns=["claim", "estimate", "low", "high", "p", "n", "n_matrices"])
    out.insert(5, "p_holm", holm(out["p"]))
    return out.assign(verdict=_agreed(out, out["p_holm"]))


def _agreed(claims: pd.DataFrame, p: pd.Series) -> list[str]:
    """`verdict` of each interval where its test, if one was made, says so too.

    What a measure adds is never less than nothing, and a model that predicts worse had too many
    measures for its languages: neither is evidence that a claim is false.
    """
    judged = map(verdict, claims["low"].astype(float), claims["high"].astype(float))
    adds = claims["claim"].str.contains("similarity predicts|structure adds|prediction")
    told = zip(judged, p > 0.05, adds, strict=True)
    return ["cannot tell" if u or (a and v == VERDICTS[1]) else v for v, u, a in told]


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
