"""What an analysis starts from: a table's further columns, and the similarity of its languages."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xltlib import reading, scores
from xltlib.errors import unknown
from xltlib.languages import language, similarity

_MADE_OF_SCORES = 0.95  # correlation from which a column is taken for one
_SIDES = ["source", "target"]
_USE = "; if it was known before any score, say --features {}"
LEXICAL = "lexical_translit"
_NO_MEASURE = re.compile(r"unnamed.*|index|id|row")


def extras(
    table: pd.DataFrame, features: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Further columns of a scores table as properties of the pair: ``pair_<name>``.

    Used is a column of numbers that `features` names. Of the others only one that is the same in
    all runs of a pair, that is a distance, a similarity or a size by its name or says nothing but
    which source or which target it is, and that the scores do not seem to have gone into (a loss,
    a rank, a gap to another score: to predict the score from it would be no prediction).

    Returns
    -------
    The table with these columns, their names, and why each other column is not used.

    Raises
    ------
    ValueError
        A feature that the table does not have, or that holds no numbers.
    """
    known = {c.name for c in scores.SCHEMA} | {*scores.SAME_UNIT, *scores.SETS}
    known |= {scores.TEST_SET, scores.HALF}
    others = [str(c) for c in table.columns if c not in known]
    for name in features:
        if name not in others:
            raise unknown("feature", name, others, "name a further column of the scores table")
    used, unused = [], []
    for name in others:
        values, why = _measured(table, name)
        if not why and name not in features:
            why = _unfit(table, name, values)
        table = table.drop(columns=name)
        if why and name in features:
            raise ValueError(f"--features {name}: {why}; leave it out, or correct the column")
        if why:
            unused.append(f"column {name!r} not used: {why}")
            continue
        slug = "pair_" + re.sub(r"\W+", "_", name.removeprefix("pair_")).strip("_").lower()
        table[slug] = values
        used.append(slug)
    return table, used, unused


def _measured(table: pd.DataFrame, name: str) -> tuple[pd.Series, str]:
    """A column as numbers, and why it can be no measure at all; empty if it can."""
    try:
        values = reading.numbers(table[name], name, [])
    except ValueError:
        values = pd.to_numeric(table[name], errors="coerce").astype(float)
    if _NO_MEASURE.fullmatch(name.lower()) or values.notna().mean() < 0.5:
        return values, "no numbers that measure something"
    return values, "it is the same everywhere" if values.nunique() < 2 else ""


def _unfit(table: pd.DataFrame, name: str, values: pd.Series) -> str:
    """Why a column is not taken for a property of the pair; empty if it is."""
    if reading.is_score(name):
        return "another score (only 'score' is analysed)"
    cell = ["model", "task", "source", "target", *(c for c in scores.SETS if c in table)]
    if (values.groupby([table[c] for c in cell]).nunique() > 1).any():
        return "it differs between runs of one pair, so it is no property of the pair"
    if _made_of_scores(scores.transfer(table), values) or _sums_up(table, values):
        return "it orders the pairs as the score does, so it seems made from the scores"
    if reading.is_outcome(name):
        return "by its name another outcome of the same run" + _USE.format(name)
    sides = (table.assign(x=values).groupby(["task", s])["x"].nunique() for s in _SIDES)
    if reading.is_property(name) or any((of_one <= 1).all() for of_one in sides):
        return ""
    return "it may be made from the scores" + _USE.format(name)


def _made_of_scores(table: pd.DataFrame, values: pd.Series) -> bool:
    """Whether a column goes with the scores as only something computed from them does.

    It orders the sources of a target, or the targets of a source, or the means of either as the
    score does (median rank correlation), or what is left of both after source and target effects
    is nearly proportional.
    """
    both = table[["model", "task", *_SIDES, "score"]].assign(other=values.reindex(table.index))
    both = both.dropna(subset=["score", "other"])
    orders = [_order(both, side) for side in _SIDES]
    for side in _SIDES:
        means = both.groupby(["model", "task", side])[["score", "other"]].mean()
        orders.append(_order(means.reset_index().assign(all=0), "all"))
    left = both[["score", "other"]].copy()
    for _ in range(20):  # source and target effects swept out in turn
        for side in _SIDES:
            left -= left.groupby([both["model"], both["task"], both[side]]).transform("mean")
    scale = both[["score", "other"]].std()
    if len(left) >= 10 and (left.std() > 1e-6 * scale).all():
        orders.append(abs(left["score"].corr(left["other"])))
    return max(orders) >= _MADE_OF_SCORES


def _sums_up(table: pd.DataFrame, values: pd.Series) -> bool:
    """Whether a column goes with the scores in-language, or with the means that include them."""
    both = table[["model", "task", *_SIDES, "score"]].assign(other=values)[table["n_target"] == 0]
    for side in _SIDES:
        for rows in (both, both[both["source"] == both["target"]]):
            means = rows.groupby(["model", "task", side])[["score", "other"]].mean().dropna()
            if len(means) >= 4 and means["other"].nunique() > 2:
                if abs(means["score"].corr(means["other"])) > 0.99:
                    return True
    return False


def _order(table: pd.DataFrame, side: str) -> float:
    """Median size of the rank correlation with the score within `side`; 0 where unknown."""
    keys = [table[c] for c in ("model", "task", side)]
    groups = table[["score", "other"]].groupby(keys)
    ranks = groups.rank()[groups["score"].transform("size") >= 5]
    keys = [table.loc[ranks.index, c] for c in ("model", "task", side)]
    found = [abs(g["score"].corr(g["other"])) for _, g in ranks.groupby(keys) if g.std().all()]
    return float(np.median(found)) if found else 0.0


def own_measures(table: pd.DataFrame, own: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One's own pairs table without what the scores went into, and why that is left out."""
    both = scores.transfer(table).reset_index(drop=True).merge(own, on=_SIDES, how="left")
    unused = []
    for name in [str(c) for c in own.columns if c not in _SIDES]:
        column = name if name in both else f"{name}_y"
        if reading.is_score(name) or reading.is_outcome(name):
            why = "by its name an outcome of a run"
        elif _made_of_scores(both.rename(columns={"score_x": "score"}), both[column].astype(float)):
            why = "it orders the pairs as the score does, so it seems made from the scores"
        else:
            continue
        own = own.drop(columns=name)
        unused.append(f"column {name!r} of the pairs table not used: {why}")
    return own, unused


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
