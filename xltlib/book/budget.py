"""How many target examples: few-shot curves that begin at measured or predicted scores.

The curves are those of `xltlib.explain.fewshot`, the zero-shot scores of pairs without a curve
those of `xltlib.rank.recommend`.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from xltlib.errors import unknown
from xltlib.explain import fewshot
from xltlib.languages import among
from xltlib.rank.recommend import Recommendation, recommend
from xltlib.scores import one_part


def with_examples(found: Recommendation, scores: pd.DataFrame, n: int) -> Recommendation:
    """A recommendation with the score to expect after each source and n examples of the target.

    Its table also has ``few_shot, few_shot_low, few_shot_high`` (95 %), read off the few-shot
    curves of `scores`.

    Raises
    ------
    ValueError
        For n below 1, or where no few-shot curve was measured.
    """
    if n < 1:
        raise ValueError(f"n_target {n} must be 0 (zero-shot) or a number of examples")
    rows = found.table
    points = fewshot.curves(one_part(scores, **found.labels))
    new = rows[["source"]].assign(target=found.target, zero=rows["predicted"])
    known = set(points.loc[points["target"] == found.target, "source"])
    fitted = fewshot.fit(points, new=new[~new["source"].isin(known)])
    expected = fitted.predict([n])
    expected = expected[expected["target"] == found.target].set_index("source")
    names = {"mean": "few_shot", "low": "few_shot_low", "high": "few_shot_high"}
    more = expected.reindex(rows["source"])[list(names)].rename(columns=names)
    return replace(found, table=rows.join(more.set_index(rows.index)))


def budget(
    target: str,
    scores: pd.DataFrame,
    goal: float,
    pairs: pd.DataFrame | None = None,
    *,
    source: str | None = None,
    model: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    law: str = "power",
    seed: int = 0,
) -> pd.DataFrame:
    """How many examples of a target its score takes to reach a goal, by the few-shot law.

    A target with curves of its own is read off these; for any other language the curves of the
    others give how the score grows, from its zero-shot score, measured or predicted (`recommend`).

    Parameters
    ----------
    goal : float
        Score to reach, above 0 and up to 1.
    source : str, optional
        Only after this source; else every source measured with the target, or the recommended one.

    Returns
    -------
    DataFrame
        One row per source: ``source, target, basis`` (measured or predicted curve), ``zero`` (the
        zero-shot score), ``goal, n, low, high`` (95 %, infinite where the law never gets there),
        ``reachable, answer`` (words), ``n_curves`` and ``by_<law>``, the other laws' answers.

    Raises
    ------
    ValueError
        For a goal outside 0..1, an unknown source, or a table without few-shot curves.
    """
    have = {*scores["source"], *scores["target"]}
    code, wanted = among(target, have), None if source is None else among(source, have)
    table = one_part(scores, model, task, metric)
    points = fewshot.curves(table)
    own = (points["target"] == code) & (points["source"] == (wanted or points["source"]))
    new = None if own.any() else _start(code, wanted, table, pairs)
    found = {
        one: _measured(points, code, wanted, goal, one, seed)
        if new is None
        else _predicted(points, new, goal, one, seed)
        for one in (law, *(other for other in fewshot.LAWS if other != law))
    }
    basis = "measured" if new is None else "predicted"
    out = found.pop(law).assign(basis=basis, n_curves=points["curve"].nunique())
    return out.assign(**{f"by_{one}": other["answer"] for one, other in found.items()})


def _start(
    code: str, wanted: str | None, table: pd.DataFrame, pairs: pd.DataFrame | None
) -> pd.DataFrame:
    """Zero-shot score of a pair without a curve: ``source, target, zero, low, high``."""
    rows = recommend(code, table, pairs).table
    if wanted is not None:
        if wanted not in set(rows["source"]):
            raise unknown("source", wanted, sorted(rows["source"]), "Choose a measured source.")
        rows = rows[rows["source"] == wanted]
    first = rows.head(1).rename(columns={"predicted": "zero"})
    return first[["source", "zero", "low", "high"]].assign(target=code)


def _measured(
    points: pd.DataFrame, code: str, wanted: str | None, goal: float, law: str, seed: int
) -> pd.DataFrame:
    """`fewshot.examples_needed` of the target's own curves."""
    fitted = fewshot.fit(points, law)
    rows = fewshot.examples_needed(fitted, goal, seed=seed).assign(zero=fitted.keys["zero"])
    rows = rows[(rows["target"] == code) & (rows["source"] == (wanted or rows["source"]))]
    return rows.drop(columns=["model", "task", "metric"]).reset_index(drop=True)


def _predicted(
    points: pd.DataFrame, new: pd.DataFrame, goal: float, law: str, seed: int
) -> pd.DataFrame:
    """The same from a zero-shot score alone; that it is uncertain widens the interval."""
    ends = pd.concat([new, new.assign(zero=new["low"]), new.assign(zero=new["high"])])
    fitted = fewshot.fit(points, law, ends)
    rows = fewshot.examples_needed(fitted, goal, seed=seed).tail(3)
    low, high = float(rows["low"].min()), float(rows["high"].max())
    n, n_max = float(rows["n"].iloc[0]), int(fitted.keys["n_max"].max())
    answer = fewshot.in_words(low, n, high, n_max)
    out = rows.head(1).assign(low=low, high=high, zero=float(new["zero"].iloc[0]), answer=answer)
    return out.drop(columns=["model", "task", "metric"]).reset_index(drop=True)
