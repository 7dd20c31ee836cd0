"""What the book asserts, as data: one row a sentence, with what many sentences do to a verdict.

A chapter gives its statements to `record`, which checks them, leaves them in the notebook's output
and says how many there are. The build collects them (`recorded`), and `corrected` judges each
beside the others of its family: 100 statements of nothing hold two or three times by chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from xltlib.book.tables import listed
from xltlib.errors import unknown
from xltlib.explain.contrast import VERDICTS
from xltlib.explain.regression import holm

_MIME = "application/vnd.xlt.assertions+json"
COLUMNS = (
    "sentence estimate low high scale unit n cells family kind verdict bound p df where"
).split()  # fmt: skip
UNITS = ("seed", "item", "source", "target", "language", "pair", "family", "curve", "data set")
_METHODS = {"confirmatory": "holm", "exploratory": "fdr_bh", "descriptive": ""}
_LEVEL = 0.05
_Sentence = Callable[[dict[Any, Any]], str]
_COUNTS = ["n_pairs", "n_sources", "n_targets", "n_languages"]
_PAPER = "the paper's claims"
_CLAIMS = (  # a word of the claim; its family, kind, unit, scale
    ("more alike in", "single measures", "exploratory", "source, target", "standard deviations"),
    ("chosen source", "choosing a source", "confirmatory", "target", "per cent of the best"),
    ("transfer exceeds", "above controls", "confirmatory", "source, target", "score, 0 to 1"),
    ("(fit)", _PAPER, "confirmatory", "language", "share of the variance"),
    ("", _PAPER, "confirmatory", "target", "share of the error"),
)


def stated(table: pd.DataFrame, sentence: _Sentence, **same: Any) -> pd.DataFrame:
    """`table` with a sentence made of each row (a dict), and columns of one value each."""
    words = [sentence(row) for row in table.to_dict("records")]
    return table.assign(sentence=pd.Series(words, index=table.index, dtype=object), **same)


def record(*tables: pd.DataFrame, **same: Any) -> pd.DataFrame:
    """Leave statements in the notebook's output, and say how many there are and what that means.

    Parameters
    ----------
    *tables : DataFrame
        One row a statement (empty ones count for nothing), with the columns

        * ``sentence``, complete: what was measured, on what;
        * ``estimate, low, high``, with their ``scale`` (points, share, ...). NaN: no interval;
        * ``unit``: what the interval is over, of `UNITS`; several, with commas, where they are
          crossed; "" where there is no interval. ``n`` of them, of the scarcest if several, and
          ``cells`` behind the estimate. A table of `contrast` has them: there ``n`` is cells;
        * ``family``, the statements judged together, and ``kind``: confirmatory (stated before: a
          claim of the paper or of the design), exploratory, or descriptive (nothing is tested);
        * ``verdict``, of `contrast.VERDICTS`; "" where the kind is descriptive;
        * ``bound``, which a verdict compares with (0 if left out), and ``p`` of another test that
          had to agree with the interval (none if left out); ``df``, degrees of freedom of the
          interval's Student's t, as `contrast` has them (n - 1 if left out);
        * ``where``: the kept table or the function that it was computed from.
    **same
        Columns with one value in every row.

    Returns
    -------
    DataFrame
        All rows, with what `corrected` adds.

    Raises
    ------
    ValueError
        A column is missing, a sentence is not one or stands twice, a value is not one of the
        allowed, or a verdict contradicts its interval.
    """
    from IPython.display import display

    whole = [t if "cells" in t else _counted(t) for t in (u.assign(**same) for u in tables)]
    if not any(map(len, whole)):
        return pd.DataFrame(columns=[*COLUMNS, "verdict_corrected"])
    table = pd.concat([t for t in whole if len(t)], ignore_index=True)
    rows = _checked(table)
    data = json.loads(rows.to_json(orient="records"))
    shown = f"<p>{in_words(rows)}</p>{listed(families(rows), digits=1).data}"
    display({_MIME: data, "text/html": shown}, raw=True)
    return corrected(table.assign(**rows[["bound", "p", "df"]]))


def of_claims(claims: pd.DataFrame, counts: pd.DataFrame, key: str = "task") -> pd.DataFrame:
    """Claims of `explain.claims` as statements for `record`, which still wants ``where``.

    Parameters
    ----------
    claims : DataFrame
        ``claim, evidence, estimate, low, high, p_mrqap, verdict`` and the column `key`.
    counts : DataFrame
        ``n_pairs, n_sources, n_targets, n_languages`` of each value of `key`, a column; with a
        column ``control`` (as in `claims`) of each control too, "" where there is none.

    Returns
    -------
    DataFrame
        `claims` and the columns of a statement. Claims of the paper on the score are confirmatory;
        those on single measures, and on a gain over a baseline, exploratory.
    """
    on = [key, "control"] if "control" in counts else [key]
    found = claims.merge(counts[[*on, *_COUNTS]], on=on, how="left", validate="many_to_one")
    about = [next(row for word, *row in _CLAIMS if word in claim) for claim in found["claim"]]
    found[["family", "kind", "unit", "scale"]] = about
    gains = found["evidence"].str.contains("gain over")
    found.loc[gains, "kind"] = "exploratory"
    found.loc[gains, "family"] += ", for the gain"
    what = [e.removeprefix(f"{k}, ") for e, k in zip(found["evidence"], found[key], strict=True)]
    found["sentence"] = found["claim"].str.capitalize() + f", {key} " + found[key] + ": " + what
    found["sentence"] = found["sentence"].str.replace("_", " ") + "."
    return _counted(found.assign(n=found["n_pairs"], p=found.get("p_mrqap", np.nan)))


def recorded(notebook: Mapping[str, Any]) -> pd.DataFrame:
    """The statements in the outputs of an executed notebook (its JSON); empty where none are."""
    found = [
        pd.DataFrame(output["data"][_MIME])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if _MIME in output.get("data", {})
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Statements with ``p``, and with the verdict that is left beside the others of their family.

    A p is that of Student's t with ``df`` degrees of freedom (n - 1 where there is none, n of the
    scarcest unit), the standard error taken from the end of the interval on the bound's side, so
    that the interval excludes the bound where p is below .05. Where another test had to agree, the
    larger p counts. Within a family (of a page) confirmatory statements are corrected by Holm,
    exploratory ones by Benjamini-Hochberg. A statement without an interval counts with p = 1.

    Returns
    -------
    DataFrame
        The rows with ``p, p_corrected, method``, and ``verdict_corrected``: the verdict where
        ``p_corrected`` is at most .05, else "cannot tell".
    """
    columns = ["estimate", "low", "high", "bound", "n", "p", "df"]
    numbers = table.reindex(columns=columns).astype(float)
    off = numbers["estimate"] - numbers["bound"]
    half = numbers["estimate"] - numbers["low"]
    half = half.where(off > 0, numbers["high"] - numbers["estimate"])
    free = numbers["df"].fillna((numbers["n"] - 1).where(numbers["n"] > 1))
    size = (off.abs() / half).where(half > 0) * student.ppf(1 - _LEVEL / 2, free)
    p = pd.Series(2 * student.sf(size, free), index=table.index)
    tested = table["kind"] != "descriptive"
    p = pd.concat([p.fillna(1.0), numbers["p"]], axis=1).max(axis=1).where(tested)
    out = table.assign(p=p, p_corrected=np.nan, method=table["kind"].map(_METHODS))
    for kind, own in p[tested].groupby(table["kind"]):
        family = own.groupby([table.loc[own.index, c] for c in _keys(table)])
        correct = holm if _METHODS[str(kind)] == "holm" else false_discovery_control
        out.loc[own.index, "p_corrected"] = family.transform(correct)
    left = out["verdict"].where(out["p_corrected"] <= _LEVEL, "cannot tell")
    return out.assign(verdict_corrected=left.where(tested, ""))


def families(table: pd.DataFrame) -> pd.DataFrame:
    """Each family (of a page), and how much of what holds in it chance would give.

    Returns
    -------
    DataFrame
        ``page`` if the table has it, ``family``; numbers of ``statements``; of those ``tested``
        and ``confirmatory``; that ``hold``; ``by_chance``, how many of the tested would hold if
        nothing were there (2.5 %, one side of a 95 % interval); ``hold_corrected``.
    """
    judged = corrected(table)
    tested = judged["kind"] != "descriptive"
    counted = pd.DataFrame(
        {
            "statements": 1,
            "tested": tested,
            "confirmatory": judged["kind"] == "confirmatory",
            "hold": judged["verdict"] == "holds",
            "by_chance": _LEVEL / 2 * tested,
            "hold_corrected": judged["verdict_corrected"] == "holds",
        }
    )
    return counted.groupby([judged[c] for c in _keys(judged)], sort=False).sum().reset_index()


def in_words(table: pd.DataFrame) -> str:
    """How many statements are made and tested, and how many are left after correction."""
    sums = families(table).select_dtypes("number").sum()
    made = f"{sums['statements']:.0f} statement{'s are' if sums['statements'] != 1 else ' is'} made"
    if not sums["tested"]:
        return f"{made}; all of it describes, nothing is tested."
    return (
        f"{made} and {sums['tested']:.0f} tested, {sums['confirmatory']:.0f} of them stated before "
        f"the scores were seen. Taken alone {sums['hold']:.0f} hold; without any effect about "
        f"{sums['by_chance']:.1f} would, by chance. After correction for the number tested in the "
        f"same family {sums['hold_corrected']:.0f} hold (Holm for what was stated before, "
        "Benjamini-Hochberg for the rest)."
    )


def _keys(table: pd.DataFrame) -> list[str]:
    return [c for c in ("page", "family") if c in table]


def _counted(table: pd.DataFrame) -> pd.DataFrame:
    """``cells``, and ``n`` of the scarcest unit by the columns ``n_seeds, n_targets, ...``."""
    if "n" not in table or "unit" not in table:
        return table
    counts = []
    for _, row in table.iterrows():
        each = [row[f"n_{unit}s"] for unit in row["unit"].split(", ") if unit]
        counts.append(min([n for n in each if n > 1] or each, default=np.nan))  # of those sampled
    return table.assign(cells=table["n"], n=pd.Series(counts, index=table.index, dtype=float))


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a statement, in order; a ValueError names what is not right."""
    table = table.assign(bound=table.get("bound", pd.Series(dtype=float)))
    table = table.assign(bound=table["bound"].fillna(0.0))
    table = table.assign(**{c: table.get(c, np.nan) for c in ("p", "df")})
    if missing := [c for c in COLUMNS if c not in table]:
        raise ValueError(f"no column {', '.join(missing)}: a statement has {', '.join(COLUMNS)}")
    rows = table[COLUMNS].reset_index(drop=True)
    records: list[dict[str, Any]] = rows.to_dict("records")  # type: ignore[assignment]
    for r in records:
        words, verdict, kind = r["sentence"], r["verdict"], r["kind"]
        if not (isinstance(words, str) and words.endswith(".") and " " in words):
            raise ValueError(f"sentence: {words!r} is no sentence; write it out, with a full stop")
        if kind not in _METHODS:
            raise unknown("kind", kind, _METHODS, "Choose one of these.")
        for unit in filter(None, str(r["unit"]).split(", ")):
            if unit not in UNITS:
                raise unknown("unit", unit, UNITS, "Several are given as 'seed, target'.")
        allowed = [""] if kind == "descriptive" else list(VERDICTS)
        if verdict not in allowed:
            raise unknown("verdict", verdict, allowed, f"The statement is {kind}.")
        wrong = {"holds": r["low"] <= r["bound"], "does not hold": r["high"] >= r["bound"]}
        if wrong.get(verdict):
            raise ValueError(
                f"{words!r} {verdict}, but its interval is {r['low']} to {r['high']}: judge it by "
                "`contrast.verdict`, with its bound"
            )
    if len(twice := rows.loc[rows["sentence"].duplicated(), "sentence"]):
        raise ValueError(f"stated twice: {twice.iloc[0]!r}; say in the sentence what differs")
    return rows
