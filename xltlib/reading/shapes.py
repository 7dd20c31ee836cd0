"""Frames as tidy tables: a matrix becomes rows, a column of pairs a source and a target."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from xltlib.languages import is_summary, keys, known, language, understood
from xltlib.reading.files import load
from xltlib.reading.headings import (
    decorated,
    is_condition,
    is_data,
    is_filler,
    is_language,
    is_number,
    is_outcome,
    is_property,
    kind_of,
    languages_in,
    numbers,
    plain_label,
    role,
    some,
    undecorated,
    unmarked,
    without_outcomes,
    words,
)

_ARROW = re.compile(r"\s*(?:->|=>|[→⇒⟶➔➜➝⇨►▶>]|-->)\s*|\s+to\s+")
_PAIR_NAME = re.compile(r"(lang(uage)?s?)?_?(pairs?|direction)(_?(id|name))?|langs|lang_lang")
_SIDES = ("source", "target")
_TURNED = {"source": "target", "target": "source"}
_Heads = list[tuple[str, ...]]  # of every column its heading in each row of headings


def table(path: Path, rows: str | None = None, *, runs: bool = True) -> pd.DataFrame:
    """The file's table with one row a cell.

    Parameters
    ----------
    rows
        ``"source"`` or ``"target"``: what the rows of a matrix are; unless given, what the heading
        of its labels says, else sources, and a note says so.

    Returns
    -------
    DataFrame
        Columns ``source, target, score`` of a matrix, other tables with their own headings;
        ``attrs["notes"]``, what was understood and left out.

    Raises
    ------
    ValueError
        Of `load`; two columns of one name, no headings, no labels of the rows.
    """
    frame, name = load(path), path.name
    notes = list(frame.attrs["notes"])
    if frame.attrs.get("nested"):
        how = "s, as asked" if rows else "s (it does not say: --rows target reads it the other way)"
        notes.insert(0, f"{name} read as nested, its outer languages being {rows or 'source'}{how}")
        frame = frame.rename(columns=_TURNED if rows == "target" else {})
        frame.attrs = {"notes": notes}
        return frame
    over = {x for head in frame.columns for x in head} if frame.columns.nlevels > 1 else {"en"}
    if not any(is_language(x) and not (role(x) or is_summary(x)) for x in over):
        frame.columns = [" ".join(dict.fromkeys(filter(None, h))) for h in frame.columns]
    if frame.columns.nlevels == 1:
        frame = frame.rename(columns=str)
        heads = list(frame.columns)
        roles = {role(h) for h in heads} - {""}
        twice = [c for c in frame.columns[frame.columns.duplicated()].unique() if c]
        headless = not roles and any(map(is_number, heads))
        if twice and not headless:
            raise ValueError(f"columns {some(map(repr, twice))} appear twice: rename or drop one")
        known = sum(map(is_language, heads[1:]))
        if roles.issuperset(_SIDES) and (known <= len(heads) / 2 or _names_pairs(frame)):
            known = 0  # tgt and acc are codes too
        elif not known and (found := decorated(heads)):
            frame = frame.set_axis(pd.MultiIndex.from_tuples(found), axis=1)
        if known < 2 and frame.columns.nlevels == 1:
            if headless:
                raise ValueError(
                    f"{name} has no heading, its first row is {some(heads, 6)}: add a first row "
                    "such as source, target, score"
                )
            cells = enumerate(map(str, frame.iloc[0]))  # under no heading: row numbers, or pairs
            pair = next((j for j, cell in cells if not heads[j] and _halves(cell)), -1)
            frame = frame.loc[:, [bool(h) or j == pair for j, h in enumerate(heads)]]
            frame = _one_side(_split_pairs(frame, notes), notes)
            frame = _runs(frame, notes) if runs else frame
            frame.attrs = {"notes": notes}
            return frame
    long = _melted(frame, rows, name, notes)
    long.attrs = {"notes": notes}
    return long


def pairs(path: str | Path) -> pd.DataFrame:
    """A table of pairs of languages: ``source, target`` by their keys and columns of numbers.

    A matrix is one measure, which the file's name names.

    Raises
    ------
    ValueError
        Of `table`; no source or target; a language that is not known.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no pairs file: {path} is not there; check the path")
    frame = table(path, runs=False)  # mbert_cosine is a measure there
    notes = list(frame.attrs["notes"])
    if matrix := bool(notes) and "read as a matrix" in notes[0]:
        notes[0] = f"pairs read as a matrix of {path.stem!r}"
        frame = frame.rename(columns={"score": path.stem})
    for side in _SIDES:
        found = [c for c in frame.columns if role(c) == side]
        if side not in frame.columns and found:
            notes.append(f"pairs: column {found[0]!r} read as {side!r}")
            frame = frame.rename(columns={found[0]: side})
    found = [
        c for c in frame.columns if frame[c].dtype.kind == "O" and languages_in(frame[c]) > 0.5
    ]
    if not {*_SIDES} & {*frame.columns} and len(found) == 2:
        notes.append(f"pairs: columns {found[0]!r} and {found[1]!r} read as source and target")
        frame = frame.rename(columns=dict(zip(found, _SIDES, strict=True)))
    if missing := {*_SIDES} - {*frame.columns}:
        raise ValueError(
            f"{path} has no column {' or '.join(sorted(missing))} (it has "
            f"{some(frame.columns, 12)}): a pairs table names a source and a target in every row. "
            "`xlt similarity` makes one."
        )
    for side in _SIDES:
        if (empty := frame[side].isna() | (frame[side].astype(str).str.strip() == "")).any():
            row = int(np.flatnonzero(empty)[0]) + 1
            raise ValueError(f"{path}: {side} is empty in row {row}: fill in a language code")
    labels = {side: frame[side].map(plain_label) for side in _SIDES}
    # `min` is Minangkabau where it stands on both sides of a table that was no matrix
    codes = set() if matrix else {x for x in {*labels["source"]} & {*labels["target"]} if known(x)}
    sums = pd.DataFrame(labels).map(lambda x: is_summary(x) and x not in codes).any(axis=1)
    if sums.any():
        notes.append("pairs: rows and columns that sum others up left out")
        frame, labels = frame[~sums], {side: own[~sums] for side, own in labels.items()}
    key = keys(*labels.values())
    if read_as := understood(key):
        notes.append(f"pairs: languages read by a name of theirs: {read_as}")
    out = pd.DataFrame({side: own.map(key) for side, own in labels.items()})
    for name in (c for c in frame.columns if c not in labels):
        try:
            out[name] = frame[name] if frame[name].dtype.kind in "biuf" else numbers(
                frame[name], name, notes)  # fmt: skip
        except ValueError as error:
            notes.append(f"pairs: column {name!r} not used: {error}")
    out = out.drop_duplicates(ignore_index=True)
    if (twice := out.duplicated([*_SIDES])).any():
        one, other = out.loc[twice, [*_SIDES]].iloc[0]
        raise ValueError(f"{path}: rows of {one} and {other} differ: keep one row a pair")
    out.attrs = {"notes": notes}
    return out


def _names_pairs(frame: pd.DataFrame) -> bool:
    """Whether columns of sources and targets hold languages, as those of a matrix do not."""
    sides = {role(h): languages_in(frame[h]) for h in frame.columns if role(h) in _SIDES}
    return len(sides) == 2 and min(sides.values()) > 0.5


# -- tidy tables ----------------------------------------------------------------------------------


def _split_pairs(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A column of pairs, ``en->de``, or ``en-de`` under a heading that says so, as two columns."""
    named = {*_SIDES} & {role(h) for h in frame.columns}
    if len(named) == 2:
        return frame
    for head in frame.columns:
        values = frame[head].astype(str)
        sides = [side for w in words(head) if (side := role(w)) in _SIDES]
        said = bool(_PAIR_NAME.fullmatch("_".join(words(head)))) or len(set(sides)) == 2
        first = values.iloc[0]
        if not said and (is_number(first) or not _halves(first)):
            continue
        halves = {v: _halves(v) for v in values.unique()}
        bad = [v for v, found in halves.items() if not found]
        arrows = all(map(_ARROW.search, halves))
        if not said and (bad or not (arrows or (not named and _are_pairs(halves.values())))):
            continue
        if bad:
            raise ValueError(
                f"{head} {bad[0]!r} is not two languages parted by -> or -: write it as en->de, or "
                "give the columns source and target"
            )
        order = _SIDES[::-1] if sides[:1] == ["target"] else _SIDES
        both = dict(zip(order, zip(*(halves[v] for v in values), strict=True), strict=True))
        notes.append(f"column {head!r} read as {order[0]} and {order[1]}, {first!r} for one")
        return frame.drop(columns=head).assign(**both)
    return frame


def _are_pairs(halves: Iterable[tuple[str, ...]]) -> bool:
    """Whether halves are languages, some of them different; no languages with a region (de-DE)."""
    found = list(halves)
    if not all(known(half) for pair in found for half in pair):
        return False
    if any(min(map(len, pair)) < 4 and len({*map(len, pair)}) > 1 for pair in found):
        return False  # ner-de, old-fr: codes of one kind have one length
    regions = all(one.islower() and other.isupper() for one, other in found)
    return not regions and any(language(one) != language(other) for one, other in found)


def _halves(value: str) -> tuple[str, ...]:
    """The two languages of a pair; empty if it is not two."""
    if inside := re.fullmatch(r"\s*[(\[]([^()\[\]]*)[)\]]\s*", value):  # ('en', 'de')
        value = re.sub("['\"]", "", inside[1])
    arrow = _ARROW.split(value.strip())
    if len(arrow) == 2 and all(arrow):
        return tuple(arrow)
    cuts = [(value[: m.start()], value[m.end() :]) for m in re.finditer(r"\s*[-–—_/|:,]\s*", value)]
    if "2" in value:
        cuts.append((value.partition("2")[0], value.partition("2")[2]))
    fit = [cut for cut in cuts if all(map(is_language, cut))]
    return fit[0] if len(fit) == 1 else ()


def _runs(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Columns ``seed1, seed2``, ``mBERT, XLM-R`` or ``NER, POS`` of scores as rows."""
    runs = [h for h in frame.columns if is_condition(h) and frame[h].map(is_data).all()]
    rest = [h for h in frame.columns if h not in runs]
    if len(runs) < 2 or "score" in map(role, frame.columns):
        return frame
    kind = kind_of(runs, map(role, rest))
    notes.append(f"columns {some(runs)} read as the scores of one {kind} each")
    return frame.melt(id_vars=rest, value_vars=runs, var_name=kind, value_name="score")


def _one_side(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """A column that is only called ``language`` is the side that no other column is."""
    missing = {*_SIDES} - {role(h) for h in frame.columns}
    plain = [h for h in frame.columns if "lang" in words(h) and is_filler(h)]
    if len(missing) == len(plain) == 1:
        (side,) = missing
        notes.append(f"column {plain[0]!r} read as {side!r}")
        return frame.rename(columns={plain[0]: side})
    return frame


# -- matrices -------------------------------------------------------------------------------------


def _melted(frame: pd.DataFrame, rows: str | None, name: str, notes: list[str]) -> pd.DataFrame:
    """A matrix as source, target, score and what its other labels say."""
    heads: _Heads = [c if isinstance(c, tuple) else (c,) for c in frame.columns]
    frame = frame.set_axis(range(len(heads)), axis=1)
    depth = range(len(heads[0]))
    level = max(depth, key=lambda k: (len({h[k] for h in heads[1:] if is_language(h[k])}), k))
    labels = [j for j, h in enumerate(heads) if _labels(frame[j], h, level, j)]
    if not labels:
        raise ValueError(
            f"{name} is a matrix whose rows have no names: add a first column with the language of "
            "each row"
        )
    at = max(labels, key=lambda j: (role(heads[j][-1]) in _SIDES, round(languages_in(frame[j]), 2),
                                    frame[j].nunique(), -j))  # fmt: skip
    if cut := undecorated(frame[at]):  # test-en says which side it is
        label, short = next(iter(cut.items()))
        heads[at] = (*heads[at][:-1], f"{heads[at][-1]} {label.replace(short, '')}".strip())
    elif role(heads[at][-1]) == "model" and languages_in(frame[at]) < 0.5:
        raise ValueError(
            f"{name} names models in its rows, not the language that each was fine-tuned on: add "
            "a column source with it"
        )
    side, said = _orientation(heads, at, level, rows, name, frame.attrs.get("beside", []))
    notes.insert(0, said)
    values: list[int] = []
    lost: list[int] = []
    big = _beyond([frame[j] for j in range(len(heads)) if is_language(heads[j][level])])
    for j in (j for j in range(len(heads)) if j not in labels):
        text = heads[j][level]
        apart = len(depth) > 1 and not any(h for k, h in enumerate(heads[j]) if k != level)
        apart = apart or is_outcome(text) or is_property(text) or _row_numbers(heads[j], frame[j])
        apart = apart or (not big and _beyond([frame[j]]))
        nuisance = apart and not (is_language(text) or is_summary(text))
        (lost if nuisance else values).append(j)
    if gone := [heads[j][level] for j in lost if heads[j][level]]:
        notes.append(f"columns left out, no languages: {some(gone)}")
    frame, section = _sections(frame, at, values)
    beside = _beside(frame, heads, [j for j in labels if j != at])
    if section is not None:
        beside[kind_of(section, map(str, beside.columns))] = section
    levels = _levels(heads, values, level)
    other = _TURNED[side]
    parts = [
        beside.assign(**{side: frame[at], "score": frame[j]}, **{other: heads[j][level]},
                      **{kind: heads[j][k] for k, kind in levels.items()})
        for j in values
    ]  # fmt: skip
    long = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[side, other])
    return without_outcomes(long, notes)


def _beyond(columns: list[pd.Series]) -> bool:
    """Whether half the numbers of these columns are above 100, as no score is."""
    cells = pd.concat([*columns, pd.Series(dtype=object)]).map(unmarked)
    return bool(pd.to_numeric(cells, errors="coerce").median() > 100)


def _labels(column: pd.Series, head: tuple[str, ...], level: int, place: int) -> bool:
    """Whether a column of a matrix labels its rows and holds no scores."""
    known, filled = is_language(head[level]), [c for c in column if c != ""]
    if role(head[-1]) in ("model", "task", "seed", "metric", "n_target", "n_test"):
        return not known
    text = sum(not is_data(c) for c in filled) > len(filled) / 2
    return text and (role(head[-1]) in _SIDES or not (known and place))  # src: Sardinian too


def _row_numbers(head: tuple[str, ...], column: pd.Series) -> bool:
    """Whether a column only numbers the rows, as pandas writes them."""
    number = pd.to_numeric(column, errors="coerce").diff().iloc[1:]
    return bool(re.fullmatch(r"(Unnamed: \d+)?", head[-1])) and bool((number == 1).all())


def _orientation(
    heads: _Heads, at: int, level: int, rows: str | None, name: str, beside: list[str]
) -> tuple[str, str]:
    """Which side the rows are, and the sentence on it."""
    corner = " ".join(dict.fromkeys(h for h in heads[at] if h))
    titles = [line for line in beside if re.search(r"\brows?\b", line, re.I)]
    corner = next(filter(_corner, [corner, *titles]), corner)
    said = _corner(corner)
    over = {x for h in heads for k, x in enumerate(h) if k != level}
    across = next((role(x) for x in over if role(x) in _SIDES), "")
    found = said or _TURNED.get(across, "")
    how = f"{name} read as a matrix, its rows being {rows or found or 'source'}s"
    unread = re.search(r"\w\s*\\\s*\w|[↓→]", corner) and not is_filler(corner)
    if unread and not (rows or found or any(map(role, re.findall(r"\w+", corner)))):
        raise ValueError(
            f"{name}: what {corner!r} says of its rows is not understood: add --rows source or "
            "--rows target"
        )
    if rows:
        how += ", as asked" + (f" (though it says {corner!r})" if found not in ("", rows) else "")
    elif not found:
        how += " (it does not say: --rows target reads it the other way)"
    elif said:
        how += f" (it says {corner!r})"
    return rows or found or "source", how


def _corner(text: str) -> str:
    """Which side the rows are by the heading of their labels, ``target \\ source``; or empty."""
    if short := re.fullmatch(r"\s*([ST])\s*[\\/|]\s*([ST])\s*", text):
        return {"S": "source", "T": "target"}[short[1]]
    tokens = re.findall(r"[↓→]|[^\W_]+", text)
    sides = [(i, s) for i, t in enumerate(tokens) if (s := role(t)) in _SIDES]
    marks = [(i, t) for i, t in enumerate(tokens) if re.match("[↓→]|row|col", t, re.I)]
    if not sides or not marks or re.fullmatch(r"[^↓→]*\w\s*→\s*\w[^↓→]*", text):  # from → to
        return sides[0][1] if sides else ""
    place, mark = marks[0]
    before = [s for i, s in sides if i < place]
    side = before[-1] if before else sides[0][1]
    return side if re.match("↓|row", mark, re.I) else _TURNED[side]


def _sections(
    frame: pd.DataFrame, at: int, values: list[int]
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Rows with a label only, no language, head those below them and become a label of these."""
    alone = (frame[values] == "").all(axis=1) & ~frame[at].map(is_language) & (frame[at] != "")
    if not alone.any():
        return frame, None
    heads = frame[at].where(alone).ffill().fillna("")[~alone]
    return frame[~alone].reset_index(drop=True), heads.reset_index(drop=True)


def _beside(frame: pd.DataFrame, heads: _Heads, others: list[int]) -> pd.DataFrame:
    """The other labels of the rows, under the names of columns of a scores table."""
    named: dict[str, pd.Series] = {}
    for j in others:
        column = frame[j].replace("", np.nan).ffill().fillna("")  # as merged cells are
        if not (head := heads[j][-1]) and list(column) == list(range(len(column))):
            continue  # the number of the row
        kind = role(head) or head or kind_of(column, named)
        named[kind if kind not in named else f"{kind} {j}"] = column
    return pd.DataFrame(named, index=frame.index)


def _levels(heads: _Heads, values: list[int], level: int) -> dict[int, str]:
    """What further rows of headings say: level -> column; one that says a side is known already."""
    out: dict[int, str] = {}
    for k in range(len(heads[0])):
        over = {heads[j][k] for j in values}
        if k == level or over == {""} or any(role(x) in _SIDES for x in over):
            continue
        named = role(heads[0][k])
        known = named in ("model", "task", "metric", "seed")
        out[k] = named if known else kind_of(sorted(over), out.values())
    return out
