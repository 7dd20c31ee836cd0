"""What an analysis starts from: a table's further columns, and the similarity of its languages."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xltlib import scores
from xltlib.languages import language, similarity

_MADE_OF_SCORES = 0.97  # rank correlation from which a column is taken for one
LEXICAL = "lexical_translit"
_NO_MEASURE = re.compile(r"unnamed.*|index|id|row")


def extras(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Further columns of a scores table as properties of the pair: ``pair_<name>``.

    Used is a column of numbers that varies, that is the same in all seeds of a pair, and that does
    not order a target's sources as the score itself does (a rank, another metric: to predict the
    score from it would be no prediction).

    Returns
    -------
    The table with these columns, their names, and why each other column is not used.
    """
    known = {c.name for c in scores.SCHEMA} | {*scores.SAME_UNIT, *scores.SETS}
    known |= {scores.TEST_SET, scores.HALF}
    used, unused = [], []
    for name in [str(c) for c in table.columns if c not in known]:
        values = pd.to_numeric(table[name], errors="coerce").astype(float)
        why = _unfit(table, name, values)
        table = table.drop(columns=name)
        if why:
            unused.append(f"column {name!r} not used: {why}")
            continue
        slug = "pair_" + re.sub(r"\W+", "_", name.removeprefix("pair_")).strip("_").lower()
        table[slug] = values
        used.append(slug)
    return table, used, unused


def _unfit(table: pd.DataFrame, name: str, values: pd.Series) -> str:
    """Why a column is no property of the pair; empty if it is one."""
    if _NO_MEASURE.fullmatch(name.lower()) or values.notna().mean() < 0.5:
        return "no numbers that measure something"
    if name.lower() in scores.ALIASES["score"]:
        return "another score (only 'score' is analysed)"
    if values.nunique() < 2:
        return "it is the same everywhere"
    cell = ["model", "task", "source", "target", *(c for c in scores.SETS if c in table)]
    if (values.groupby([table[c] for c in cell]).nunique() > 1).any():
        return "it differs between runs of one pair, so it is no property of the pair"
    if _order_of_scores(scores.transfer(table), values) >= _MADE_OF_SCORES:
        return "it orders the sources as the score does, so it seems made from the scores"
    return ""


def _order_of_scores(table: pd.DataFrame, values: pd.Series) -> float:
    """Median size of the rank correlation with the score within targets; 0 where unknown."""
    both = table[["score"]].assign(other=values)
    groups = both.groupby([table["model"], table["task"], table["target"]])
    ranks = groups.rank()[groups["score"].transform("size") >= 5]
    keys = [table.loc[ranks.index, c] for c in ("model", "task", "target")]
    found = [abs(g["score"].corr(g["other"])) for _, g in ranks.groupby(keys) if g.std().all()]
    return float(np.median(found)) if found else 0.0


def similarities(
    codes: Sequence[str], own: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs tables of these languages: to rank sources with, and to explain with.

    The second also has `LEXICAL`, the overlap of the names that CLDR gives to languages, places and
    things, transliterated so that it does not repeat the script, where both languages have them.
    The ranking does without: its preset was set without.
    """
    full = _of_languages(tuple(codes))
    plain = full.drop(columns=LEXICAL)
    return (plain, full.copy()) if own is None else (joined(plain, own), joined(full, own))


@functools.lru_cache(maxsize=4)  # the tables of one body of work are often of the same languages
def _of_languages(codes: tuple[str, ...]) -> pd.DataFrame:
    """Pairs table with `LEXICAL`, for `similarities`; never to be changed."""
    from xltlib.data import cldr

    texts = cldr.vocabulary(c for c in codes if language(c).locale)
    wanted = [m for m in similarity.MEASURES if m != "lexical"]
    return similarity.pairs(codes, measures=wanted, texts=texts)


def joined(pairs: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """One's own measures beside the others, the other direction taken where one is given."""
    back = own.rename(columns={"source": "target", "target": "source"})
    both = pd.concat([own, back]).drop_duplicates(["source", "target"])
    others = pairs.drop(columns=[c for c in own if c in pairs and c not in ("source", "target")])
    out = others.merge(both, on=["source", "target"], how="left")
    new = [c for c in own.columns if c not in ("source", "target")]
    if out[new].isna().to_numpy().all():
        raise ValueError(
            "the pairs table shares no pair of languages with the scores: give it the columns "
            "source, target and one per measure, for the languages of the scores"
        )
    return out
