"""Examples of the public tasks: `load(task, language, split)`, wherever the data lives.

Looked up in this order: the user's own files, the tree under ``XLT_DATA``, the public place on the
data set's card (`xltlib.data.cards`). Rows are checked (labels, columns, lengths), items that a
later split also has are dropped from the earlier one, and `Loaded` says what was read, what
was dropped and why.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from xltlib.data import MAX_WORDS, Example, files
from xltlib.data.cards import CARDS, VIEWS, Card, Files, Hub, Layout, Part, Split, View
from xltlib.data.files import Row
from xltlib.errors import unknown
from xltlib.languages import language, name

# An item of one of these is dropped from every split further right.
_ORDER: tuple[Split, ...] = ("test", "validation", "train")
_LONGEST = 100_000  # characters of one field; the longest context of the public data has 21,000


@dataclass(frozen=True, eq=False)
class _OwnFile:
    """A user's file and its layout."""

    path: Path
    layout: Layout


Own = Mapping[str, Mapping[str, _OwnFile]]


@dataclass(frozen=True)
class Loaded:
    """Examples of a split, and how they were got.

    ``rows`` are those of the raw split, ``read`` the examples of this split before some were
    dropped; ``drops`` and ``notes`` say how many were dropped, or remarked on, and why; ``against``
    are the splits whose items were looked for in this one. ``revision`` is the Hub's commit, or ""
    where a checksum stands for it.
    """

    examples: tuple[Example, ...]
    task: str
    language: str
    split: str
    source: str
    revision: str
    licence: str
    rows: int
    read: int
    drops: Mapping[str, int]
    notes: Mapping[str, int]
    against: tuple[str, ...]

    def __str__(self) -> str:
        dropped = "".join(f", {n} dropped: {why}" for why, n in self.drops.items())
        noted = "".join(f", {n} {what}" for what, n in self.notes.items())
        kept = f"{len(self.examples)} of {self.read} examples"
        of = f"{self.task} {self.language} {self.split}"
        return f"{of}: {kept}{dropped}{noted} ({self.source})"


@dataclass(frozen=True)
class _Origin:
    """Where one raw split of one language is: the language's code there, and how to get it."""

    code: str
    place: Hub | Files | _OwnFile
    source: str


# ---------------------------------------------------------------- finding


def view_of(task: str) -> View:
    """How a public task reads its data; an error that names the nearest ones otherwise."""
    if task not in VIEWS:
        raise unknown("public task", task, VIEWS, "use one of these")
    return VIEWS[task]


def card_of(task: str) -> Card:
    """The card of a public task's data set."""
    return CARDS[view_of(task).card]


@lru_cache(maxsize=64)
def _keys(codes: tuple[str, ...]) -> dict[str, str]:
    """Our key -> the data set's code."""
    return {language(code).key: code for code in codes}


def _code_in(place: Hub | Files, asked: str) -> str | None:
    """The data set's code of a language given in any way, or None if it has not got it."""
    return _keys(tuple(place.codes)).get(language(asked).key)


def languages_of(task: str, *, local: bool = False) -> list[str]:
    """Languages that a task's data set has (`local`: under ``XLT_DATA``), as our keys."""
    card = card_of(task)
    if not local:
        return sorted(_keys(tuple(card.source.codes)))
    return sorted(
        {
            key
            for held in card.files
            for key, code in _keys(tuple(held.codes)).items()
            if any(files.local(held.repository, held.path(code, raw)) for raw in held.paths)
        }
    )


def origin(card: Card, asked: str, raw: str) -> _Origin:
    """Where a raw split of a language is: the tree under ``XLT_DATA``, or its public place."""
    for held in card.files:
        code = _code_in(held, asked)
        if code and raw in held.paths:
            found = files.local(held.repository, held.path(code, raw))
            if found:
                return _Origin(code, held, str(found))
    code = _code_in(card.source, asked)
    if code is None:
        have = [f"{k} ({name(k)})" for k in sorted(_keys(tuple(card.source.codes)))]
        key = language(asked).key
        cure = "choose one of these, or give your own files for it"
        raise unknown(f"language of {card.name}", f"{key} ({name(asked)})", have, cure)
    return _Origin(code, card.source, card.source.url)


def samples(task: str) -> list[Example]:
    """The made-up examples on a task's card, in one or more languages; none is from a data set."""
    made = []
    for i, sample in enumerate(view_of(task).samples):
        fields = {k: v for k, v in sample.items() if k not in ("language", "outputs")}
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        made.append(Example(str(i), sample["language"], fields))
    return made


def splits_of(task: str, asked: str, *, local: bool = False) -> list[Split]:
    """The splits that a language has, in order (`local`: under ``XLT_DATA``)."""
    card = card_of(task)
    found: list[Split] = []
    for split in reversed(_ORDER):
        raw = card.splits[split].raw if split in card.splits else None
        if raw and (not local or "://" not in origin(card, asked, raw).source):
            found.append(split)
    return found


# ---------------------------------------------------------------- what MASSIVE's rows stand for

# A row has ``annot_utt`` with slots in brackets: ``wake me at [time : five am]``.
# As the data's authors do: these are written without spaces, so a word is a character.
_BY_CHARACTER = ("ja-JP", "zh-CN", "zh-TW")
_SLOT = re.compile(r"\[\s*([^\s:\]]+)\s*:\s*([^\]]*?)\s*\]")


def _pieces(annotated: str) -> list[tuple[str, str]]:
    """(slot type or "", text) of each stretch of an annotated utterance.

    >>> _pieces("wake me at [time : five am]")
    [('', 'wake me at '), ('time', 'five am')]
    """
    found, at = [], 0
    for match in _SLOT.finditer(annotated):
        found += [("", annotated[at : match.start()]), (match[1], match[2])]
        at = match.end()
    return [(kind, text) for kind, text in [*found, ("", annotated[at:])] if text.strip()]


def _as_intent(row: Row, code: str) -> list[Row]:
    """
    >>> _as_intent({"id": "1", "utt": "wake me", "intent": "alarm_set"}, "en-US")
    [{'id': '1', 'text': 'wake me', 'label': 'alarm_set'}]
    """
    return [{"id": row["id"], "text": row["utt"], "label": row["intent"]}]


def _as_slots(row: Row, code: str) -> list[Row]:
    """
    >>> _as_slots({"id": "1", "annot_utt": "at [time : five am]"}, "en-US")
    [{'id': '1', 'words': ('at', 'five', 'am'), 'tags': ('O', 'B-time', 'I-time')}]
    """
    words: list[str] = []
    tags: list[str] = []
    for kind, text in _pieces(row["annot_utt"]):
        own = list("".join(text.split())) if code in _BY_CHARACTER else text.split()
        words += own
        tags += [f"B-{kind}", *[f"I-{kind}"] * (len(own) - 1)] if kind else ["O"] * len(own)
    return [{"id": row["id"], "words": tuple(words), "tags": tuple(tags)}]


def _as_questions(row: Row, code: str) -> list[Row]:
    """One question for each type of slot; all slots of the type are right answers.

    The question is the same English words in every language: a cue, not a translation.

    >>> _as_questions({"id": "1", "utt": "at five", "annot_utt": "at [time_zone : five]"}, "en-US")
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'id': '1-time_zone', 'group': '1', 'question': 'What is the time zone?',
      'context': 'at five', 'answers': ('five',)}]
    """
    found: dict[str, list[str]] = {}
    for kind, text in _pieces(row["annot_utt"]):
        if kind and text not in found.setdefault(kind, []):
            found[kind].append(text)
    return [
        {
            "id": f"{row['id']}-{kind}",
            "group": str(row["id"]),
            "question": f"What is the {kind.replace('_', ' ')}?",
            "context": row["utt"],
            "answers": tuple(texts),
        }
        for kind, texts in found.items()
    ]


# How a task's view (`xltlib.data.cards.View.derive`) makes examples of a row.
_DERIVE: dict[str, Callable[[Row, str], list[Row]]] = {
    "": lambda row, code: [row],
    "intent": _as_intent,
    "slots": _as_slots,
    "questions": _as_questions,
}


# ---------------------------------------------------------------- reading


def _rows(task: str, where: _Origin, raw: str) -> tuple[list[Row], str]:
    """Rows as the card names them, and the Hub's commit."""
    place, card = where.place, card_of(task)
    if isinstance(place, _OwnFile):
        columns = view_of(task).columns
        return files.read(place.path, place.layout, columns, optional=("id", "title")), ""
    if isinstance(place, Hub):
        return files.hub_rows(place, where.code, raw, card.columns)
    known, archive = place.checksums, place.archive
    path = files.get(place.repository, place.path(where.code, raw), known, archive)
    column = [place.split_column] if place.split_column else []
    rows = files.read(path, place.layout, [*card.columns, *column])
    return [r for r in rows if not column or r[column[0]] == place.split_values[raw]], ""


@lru_cache(maxsize=16)
def _read(
    task: str, where: _Origin, raw: str, root: str | None
) -> tuple[int, tuple[Row, ...], str]:
    """(raw rows, examples' rows with an id and a group, commit); `root` is only for the cache."""
    rows, commit = _rows(task, where, raw)
    derive = _DERIVE["" if isinstance(where.place, _OwnFile) else view_of(task).derive]
    with_ids = not isinstance(where.place, Files) or where.place.ids
    made = []
    for i, row in enumerate(rows):
        row = {**row, "id": str((with_ids and row.get("id")) or f"{raw}-{i}")}
        made += [{**one, "row": i + 1} for one in derive(row, where.code)]
    (often, n), *_ = [*Counter(row["id"] for row in made).most_common(1), ("", 0)]
    if n > 1:
        raise ValueError(
            f"{where.source}: the id {often!r} stands for {n} examples; "
            "ids must differ, since they keep splits and languages apart"
        )
    return len(rows), tuple(made), commit


def _cut(card: Card, rows: Sequence[Row], part: Part) -> list[Row]:
    """The rows whose group falls into a share, the groups in an order that never changes.

    Sentences without a group stay in the order of their file: its documents are seldom cut.
    """
    if (part.start, part.stop) == (0.0, 1.0):
        return list(rows)
    if not any(field in row for row in rows[:1] for field in ("title", "context")):
        return list(rows[round(part.start * len(rows)) : round(part.stop * len(rows))])
    groups = [str(r.get("title") or r["context"]) for r in rows]
    order = sorted(set(groups), key=lambda g: hashlib.sha256(f"{card.name}/{g}".encode()).digest())
    kept = set(order[round(part.start * len(order)) : round(part.stop * len(order))])
    return [r for r, group in zip(rows, groups, strict=True) if group in kept]


def text_of(fields: Mapping[str, Any], view: View) -> str:
    """The text of an example, up to case, white space and Unicode form: what makes it an item."""
    parts = (fields[f] for f in view.fields)
    joined = "\n".join(p if isinstance(p, str) else " ".join(p or ()) for p in parts)
    return " ".join(unicodedata.normalize("NFKC", joined).casefold().split())


# ---------------------------------------------------------------- checking


def _example(row: Row, view: View, key: str, source: str) -> Example | str:
    """An example, or the reason to drop it; an error for what must be mended."""
    where = f"{source}, row {row['row']}"
    fields = {f: row[f] for f in view.fields}
    for field, value in fields.items():
        text = value if isinstance(value, str) else "".join(value or ())
        if len(text) > _LONGEST:
            raise ValueError(
                f"{where}: {field} has {len(text)} characters, the most is {_LONGEST}; split it "
                "into shorter examples"
            )
        if not text.strip():
            return f"empty {field}"
    if view.kind == "choice":
        fields["label"] = _legal(row["label"], view.labels, f"label in {where}")
    elif view.kind == "tags":
        fields = _tagged(row, view, where)
    else:
        answers = _answers(row["answers"])
        if not answers:
            return "no answer"
        fields["answers"] = tuple(a for a in answers if a in fields["context"])
        if not fields["answers"]:
            return "answer not in the context"
    return Example(row["id"], key, fields)


def _legal(label: Any, allowed: Sequence[str], what: str) -> str:
    if label not in allowed:
        raise unknown(what, label, allowed, "mend the row")
    return str(label)


def _tagged(row: Row, view: View, where: str) -> dict[str, Any]:
    words, tags = (
        tuple(v.split() if isinstance(v, str) else v) for v in (row["words"], row["tags"])
    )
    if len(words) != len(tags):
        raise ValueError(f"{where} has {len(words)} words and {len(tags)} tags: one a word")
    bio = ["O", *(f"{mark}-{kind}" for kind in view.labels for mark in "BI")]
    for tag in set(tags):
        _legal(tag, bio if view.spans else view.labels, f"tag in {where}")
    return {"words": words, "tags": tags}


def _answers(given: Any) -> tuple[str, ...]:
    """The right answers, each once: a text, a list, or the Hub's {"text": [...]}."""
    texts = given["text"] if isinstance(given, Mapping) else given
    texts = [texts] if isinstance(texts, str) else texts or []
    return tuple(dict.fromkeys(t for t in texts if t.strip()))


# ---------------------------------------------------------------- loading


def load(task: str, asked: str, split: Split, *, own: Own | None = None) -> Loaded:
    """Examples of a public task in one language.

    Texts that a later split has too are dropped: test goes before validation goes before train.

    Parameters
    ----------
    asked
        The language, in any code or by its English name; or the data set's own code.
    split
        ``all``: the whole of a data set whose one split is cut here (XQuAD; TyDi QA's training
        set).
    own
        Language key -> split -> the user's file (`own_files`); a language in it is read only
        from there.

    Examples are in the data set's order. Fields: the text fields and ``label``; ``words`` and
    ``tags``; or ``question``, ``context`` and ``answers``.

    Raises
    ------
    ValueError
        Unknown task, language or split; a file that is missing, altered or has not the
        columns; a row with a wrong label; nothing left. The message names the value and the cure.
    """
    view, card = view_of(task), card_of(task)
    where, part = _where(task, asked, split, own)
    total, rows, commit = _share(task, where, part)
    key = language(asked).key
    made = [_example(row, view, key, where.source) for row in rows]
    drops = Counter(reason for reason in made if isinstance(reason, str))
    kept = [e for e in made if isinstance(e, Example)]
    against: list[str] = []
    for later, texts in _later(task, asked, split, own, where):
        fresh = [e for e in kept if text_of(e.fields, view) not in texts]
        drops += Counter({f"text also in {later}": len(kept) - len(fresh)})
        kept = fresh
        against.append(later)
    if not kept:
        reasons = ", ".join(f"{n} {why}" for why, n in drops.items()) or "no rows at all"
        raise ValueError(
            f"{task} {key} {split} is empty: {total} rows in {where.source}, {reasons}. "
            "Choose another split or language, or other files"
        )
    long = sum(view.numbered and len(e.fields["words"]) > MAX_WORDS for e in kept)
    notes = {f"longer than {MAX_WORDS} words": long} if long else {}
    return Loaded(
        tuple(kept), task, key, split, where.source, commit,
        card.licence if own is None else "your own",
        total, len(made), dict(drops), notes, tuple(against),
    )  # fmt: skip


def _checked(value: str, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise unknown(what, value, allowed, "use one of these")


def _where(task: str, asked: str, split: str, own: Own | None) -> tuple[_Origin, Part]:
    """Where a split is, and which share of it."""
    card, key = card_of(task), language(asked).key
    if own and key in own:
        _checked(split, list(own[key]), f"split of your files for {task} {key}")
        file = own[key][split]
        return _Origin(key, file, str(file.path)), Part(split)
    _checked(split, list(card.splits), f"split of {card.name}")
    part = card.splits[split]
    return origin(card, asked, part.raw), part


def _share(task: str, where: _Origin, part: Part) -> tuple[int, list[Row], str]:
    """(rows of the raw split, the rows of the share, the Hub's commit)."""
    total, rows, commit = _read(task, where, part.raw, os.environ.get("XLT_DATA"))
    return total, _cut(card_of(task), rows, part), commit


def _later(
    task: str, asked: str, split: Split, own: Own | None, where: _Origin
) -> Iterator[tuple[str, set[str]]]:
    """(split, texts) of the later splits that are in the same kind of place."""

    def kind(of: _Origin) -> tuple[type, bool]:  # own, Hub or files, and whether they are here
        return type(of.place), "://" in of.source

    for later in _ORDER[: _ORDER.index(split)] if split in _ORDER else ():
        try:
            other, part = _where(task, asked, later, own)
        except ValueError:  # this data set, or this user, has no such split
            continue
        if kind(other) == kind(where):
            _, rows, _ = _share(task, other, part)
            yield later, {text_of(row, view_of(task)) for row in rows}


# ---------------------------------------------------------------- choosing


def examples(
    task: str,
    languages: Sequence[str],
    code: str,
    split: Split,
    n: int,
    seed: int = 0,
    *,
    own: Own | None = None,
) -> list[Example]:
    """`n` examples of a language (all, if there are fewer): a task's `source`.

    Of parallel data the same ids are taken in every one of `languages` that the data set has, and
    only ids that all of them have. Training examples come in an order that the seed determines, so
    the first 16 are among the first 64; validation and test examples do not depend on the seed.
    """
    loaded = load(task, code, split, own=own)
    by_id = {e.id: e for e in loaded.examples}
    ids = set(by_id)
    if card_of(task).parallel and own is None:
        for other in languages:
            ids &= _ids(task, other, split, os.environ.get("XLT_DATA"))
    order = seed if split == "train" else 0

    def rank(i: str) -> bytes:
        return hashlib.sha256(f"{view_of(task).card}/{order}/{i}".encode()).digest()

    return [by_id[i] for i in sorted(ids, key=rank)[:n]]


@lru_cache(maxsize=1024)
def _ids(task: str, code: str, split: Split, root: str | None) -> frozenset[str]:
    """Ids of a load; `root` is only for the cache."""
    return frozenset(e.id for e in load(task, code, split).examples)


def forget() -> None:
    """Read files again that were read in this process: they may have changed."""
    _read.cache_clear()
    _ids.cache_clear()


def own_files(task: str, content: Any) -> dict[str, dict[str, _OwnFile]]:
    """A user's files as an experiment file names them, checked.

    `content`: language -> split -> ``{path, format, columns, header, separator}``; see `Layout`.

    >>> found = own_files("sib200", {"deu": {"train": {"path": "a.csv", "format": "csv",
    ...     "columns": {"label": "Thema"}}}})
    >>> found["deu"]["train"].layout.columns
    {'label': 'Thema'}
    """
    ours = [*view_of(task).columns, "id", "title"]
    found: dict[str, dict[str, _OwnFile]] = {}
    for asked, splits in _mapping(content, "data").items():
        where, mine = f"data.{task}.{asked}", found.setdefault(language(str(asked)).key, {})
        for split, spec in _mapping(splits, where).items():
            _checked(split, _ORDER, f"split in {where}")
            where_split, spec = f"{where}.{split}", dict(_mapping(spec, f"{where}.{split}"))
            for key in spec:
                _checked(key, ["path", *(f.name for f in fields(Layout))], f"key in {where_split}")
            if "path" not in spec:
                raise ValueError(f"{where_split} has no path: add `path: …`")
            path = Path(str(spec.pop("path")))
            spec.setdefault("format", path.suffix.removeprefix("."))
            if spec["format"] == "conll":
                spec.setdefault("columns", {"words": 0, "tags": -1})
            for column in spec.get("columns", {}):
                _checked(column, ours, f"column in {where_split}")
            mine[str(split)] = _OwnFile(path, Layout(**spec))
    return found


def _mapping(content: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected `key: value` lines, got {content!r}")
    return content
