"""What the explorers of the book show: data files and scripts that their pages load.

`write(folder)` lays out `folder` (workflow/render.py gives the site's `explore/`): the scripts of
book/explore/assets and, made of the kept scores, data in scripts of their own, since a page opened
from disk may load scripts but read no files. Every file holds ``xltData["name"] = {...}``. Scores
are in hundredths of a point of 100 (`packed`: ``uint16``, 65535: not measured), base 64.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xltlib.book import kept
from xltlib.book.words import label_of
from xltlib.languages import language, name, similarity, uriel
from xltlib.scores import cells

sys.path.insert(0, str(Path(__file__).resolve().parent))
import finder  # noqa: E402
from finder import KEPT  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "book" / "explore" / "assets"
PUBLISHED = ROOT / "book" / "published"
FOLDERS = ("matrix", "text2text", "live", "open", "open-long", "curves", "curves-slots")
MODEL = "multilingual-e5-small"
MISSING = 65535
WORDS = {
    "udpos_dev": "parts of speech",
    "masakhaner": "named entities (MasakhaNER)",
    "massive_intent": "intents (MASSIVE)",
    "massive_slots": "slots (MASSIVE)",
    "massive_qa": "questions (MASSIVE)",
    "sib200": "topics (SIB-200)",
    "entity_type": "type of a name (CLDR)",
    "ner": "named entities (CLDR)",
}
MODELS = {
    MODEL: "multilingual-e5-small, probed",
    f"{MODEL}-text2text": "multilingual-e5-small, text to text",
    "char-ngram": "character n-grams (baseline)",
}


def put(folder: Path, key: str, value: Any) -> None:
    """Write a data file: a script that sets ``xltData[key]``, packed where that is worth it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if len(text) > 20_000:
        text = f'{{"gzip":"{base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()}"}}'
    # The site takes its place as a whole: a file needs no second name, and no wait for a disk.
    line = f"(globalThis.xltData??={{}})[{json.dumps(key)}]={text}\n"
    (folder / f"{key}.js").write_text(line, "utf-8")


def packed(values: Any) -> str:
    """Scores of 0..1 as ``uint16``, in base 64.

    To tenths they round as the scores do: a last digit 5 becomes 4 or 6.
    """
    points = 100 * np.nan_to_num(np.asarray(values, dtype=float))
    whole = np.round(100 * points)
    for at in zip(*np.nonzero(whole % 10 == 5), strict=True):
        whole[at] += 1 if float(f"{points[at]:.1f}") > points[at] else -1
    whole = np.where(np.isnan(values), MISSING, whole)
    return base64.b64encode(whole.astype("<u2").tobytes()).decode()


def thousandths(values: Iterable[float]) -> list[int | None]:
    """Numbers in thousandths, None for what is unknown."""
    return [None if np.isnan(v) else round(1000 * v) for v in values]


# ---------------------------------------------------------------- languages


def size_of(key: str) -> float | None:
    """log10 of the bytes of CC-100 in a language and letters like its own; None: not in it."""
    found = similarity.cc100_bytes(language(key))
    return None if found is None else round(float(np.log10(found)), 2)


def about(key: str) -> list[Any]:
    """Name, family, script, text, latitude, longitude, share of features observed by measure."""
    lang, table = language(key), uriel.load()
    row = table.index.get(lang.code, -1)
    place: list[float | None] = [None, None]
    seen = [0] * 4
    if row >= 0:
        x, y, z = table.position[row]
        if np.isfinite(x):
            place = [round(float(np.degrees(np.arcsin(z))), 2),
                     round(float(np.degrees(np.arctan2(y, x))), 2)]  # fmt: skip
        own = table.observed[row]
        seen = [round(100 * float(own[similarity.feature_mask(m)].mean())) for m in TYPOLOGY]
    family = table.family(lang.code) if row >= 0 else None
    return [name(key), family, lang.script, size_of(key), *place, seen]


TYPOLOGY = ("word_order", "morphology", "phonology", "inventory")
MEASURES = (*TYPOLOGY, "genealogy", "geography", "script", "spacing", "data_size")


def similarities(folder: Path, keys: Sequence[str]) -> None:
    """A file a language: its similarity to all of them, by measure, and the coverage."""
    pairs = similarity.of_model(similarity.pairs(keys), MODEL)
    pairs = pairs.drop(columns=list(similarity.LEVELS))
    order = {key: i for i, key in enumerate(keys)}
    for source, rows in pairs.groupby("source", sort=False):
        rows = rows.set_index("target").reindex(keys)
        found = {m: thousandths(rows[m]) for m in MEASURES}
        found |= {c: thousandths(rows[c]) for c in rows if str(c).startswith("coverage_")}
        put(folder, f"similarity-{source}", {"at": order[str(source)], **found})


# ---------------------------------------------------------------- matrices


@dataclass(frozen=True)
class Matrix:
    """Zero-shot scores of one task: a row a source, or a model where models have one source."""

    key: str
    folder: str
    task: str
    title: str
    table: pd.DataFrame  # rows of the scores table, with a column `row`
    rows: list[str]
    of: dict[str, str]  # the source language of each row
    targets: list[str]
    by_model: bool


def matrices() -> Iterator[Matrix]:
    """Every kept matrix with at least two rows."""
    for folder in FOLDERS:
        table = kept.scores_in(PUBLISHED / folder)
        table = table[table["n_target"] == 0].astype({"source": str, "target": str})
        for task, own in table.groupby("task", observed=True, sort=False):
            sources = own.groupby("model", observed=True)["source"].nunique()
            single = sources.index[sources == 1]
            for model in sources.index[sources > 1]:
                rows = own[own["model"] == model]
                yield _matrix(folder, str(task), rows.assign(row=rows["source"]), str(model))
            rest = own[own["model"].isin(single)]
            if rest["model"].nunique() > 1 and folder.startswith("open"):
                made = rest.assign(row=rest["model"].astype(str))
                yield _matrix(folder, str(task), made, "")


def _matrix(folder: str, task: str, rows: pd.DataFrame, model: str) -> Matrix:
    of = dict(zip(rows["row"], rows["source"], strict=True))
    by_model = not model
    source = name(next(iter(of.values())))
    who = f"models of different known languages, from {source}" if by_model else MODELS.get(
        model, model
    )  # fmt: skip
    key = "-".join(filter(None, (folder, task, "" if model == MODEL else model)))
    title = f"{WORDS.get(task, label_of(task))}: {who} ({folder})"
    key = re.sub(r"[^\w-]", "_", key)
    targets = sorted(rows["target"].unique(), key=name)
    named = sorted(of, key=name) if not by_model else sorted(of)
    return Matrix(key, folder, task, title, rows, named, of, targets, by_model)


def runs_of(folder: str) -> pd.DataFrame:
    """The runs behind the scores of a folder, a row each; empty where they are not kept."""
    path = PUBLISHED / folder / "run.json"
    if not path.is_file():
        return pd.DataFrame(columns=["model", "task", "source", "seed"])
    runs = json.loads(path.read_text("utf-8"))["runs"]
    return pd.DataFrame(runs["rows"], columns=runs["columns"])


def matrix_files(folder: Path, one: Matrix, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Write a matrix and the details of each of its targets; return its line of the list."""
    found = cells(one.table.drop(columns="row"))
    found = found.assign(row=found["model"] if one.by_model else found["source"])
    at = pd.Index(one.rows).get_indexer(found["row"]), pd.Index(one.targets).get_indexer(
        found["target"]
    )  # fmt: skip
    shape = len(one.rows), len(one.targets)
    shown = {}
    for column in ("score", "low", "high"):
        grid = np.full(shape, np.nan)
        grid[at] = found[column]
        shown[column] = packed(grid)
    n_test = found.groupby("target")["n_test"].first().reindex(one.targets)
    runs = runs_of(one.folder)
    runs = runs[(runs["task"] == one.task) & runs["model"].isin(one.table["model"].unique())]
    columns = [c for c in ("seed", "key", "layer", "validation") if c in runs]
    listed: dict[str, list[Any]] = {}
    for row in runs.to_dict("records"):
        where = row["model"] if one.by_model else row["source"]
        values = [row[c] for c in columns]
        listed.setdefault(where, []).append(
            [None if isinstance(v, float) and np.isnan(v) else v for v in values]
        )
    put(folder, f"matrix-{one.key}", {
        "title": one.title, "task": one.task, "folder": one.folder, "by_model": one.by_model,
        "metric": label_of(one.table["metric"].iloc[0]), "rows": one.rows,
        "of": [one.of[r] for r in one.rows], "targets": one.targets,
        "n_test": [int(n) for n in n_test], "runs": {"columns": columns, "rows": listed}, **shown,
    })  # fmt: skip
    seeds = sorted(int(s) for s in one.table["seed"].unique())
    for target, own in one.table.groupby("target", sort=False):
        grid = np.full((len(one.rows), len(seeds)), np.nan)
        grid[pd.Index(one.rows).get_indexer(own["row"]), np.searchsorted(seeds, own["seed"])] = own[
            "score"
        ]
        detail = {"seeds": seeds, "scores": packed(grid)}
        detail |= answers.get((one.key, str(target)), {})
        put(folder, f"cells-{one.key}-{target}", detail)
    return {"key": one.key, "title": one.title, "task": one.task, "shape": shape}


def wrong_answers(every: Sequence[Matrix]) -> dict[tuple[str, str], dict[str, Any]]:
    """Of each matrix and target: ids of the test items, and who got which wrong.

    ``wrong`` is a bit an item, in rows of (row, seed), base 64. Only of tasks whose answers are
    right or wrong.
    """
    found = {}
    for folder in dict.fromkeys(one.folder for one in every):
        path = PUBLISHED / folder / "predictions.parquet"
        if not path.is_file() or "correct" not in (answers := pd.read_parquet(path)):
            continue
        for one in (m for m in every if m.folder == folder):
            own = answers[answers["task"] == one.task]
            own = own[own["correct"].notna()]
            if own.empty:
                continue
            seeds = sorted(int(s) for s in one.table["seed"].unique())
            of = _of_cells if "labels" in own else _of_rows
            for target, grid, ids in of(own, one, seeds):
                bits = np.packbits(grid, axis=-1)
                found[one.key, target] = {
                    "ids": ids,
                    "wrong": base64.b64encode(bits.tobytes()).decode(),
                }
    return found


def _of_cells(
    own: pd.DataFrame, one: Matrix, seeds: Sequence[int]
) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """(rows, seeds, items) of wrong answers, from `xltlib.train.predictions`' packed columns."""
    table = pd.read_parquet(PUBLISHED / one.folder / "scores.parquet")
    table = table[table["task"] == one.task]
    row = pd.Index(one.rows)
    models = set(one.table["model"])
    for target, items in own.groupby("target", observed=True, sort=False):
        if target not in one.targets:
            continue
        columns = table[table["target"] == target]
        bits = np.frombuffer(b"".join(items["correct"]), np.uint8).reshape(len(items), -1)
        right = np.unpackbits(bits, axis=1, count=len(columns)).astype(bool)
        here = (columns["model"].isin(models) & (columns["n_target"] == 0)).to_numpy()
        mine = columns[here]
        grid = np.zeros((len(one.rows), len(seeds), len(items)), bool)
        label = mine["model"] if one.by_model else mine["source"]
        where = row.get_indexer(label.astype(str)), np.searchsorted(seeds, mine["seed"])
        grid[where] = ~right[:, here].T
        yield str(target), grid, [str(i) for i in items["id"]]


def _of_rows(
    own: pd.DataFrame, one: Matrix, seeds: Sequence[int]
) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """The same from a table with a row an answer."""
    own = own[(own["n_target"] == 0) & own["model"].isin(one.table["model"].unique())]
    row = pd.Index(one.rows)
    for target, answers in own.groupby("target", observed=True, sort=False):
        if target not in one.targets:
            continue
        ids = list(dict.fromkeys(answers["id"].astype(str)))
        grid = np.zeros((len(one.rows), len(seeds), len(ids)), bool)
        label = answers["model"] if one.by_model else answers["source"]
        where = (
            row.get_indexer(label.astype(str)),
            np.searchsorted(seeds, answers["seed"]),
            pd.Index(ids).get_indexer(answers["id"].astype(str)),
        )
        grid[where] = ~answers["correct"].astype(bool).to_numpy()
        yield str(target), grid, ids


def matrix_explorer(data: Path) -> list[str]:
    """Everything of the page of matrices; the languages in them."""
    every = list(matrices())
    answers = wrong_answers(every)
    listed = [matrix_files(data, one, answers) for one in every]
    keys = sorted(
        {*(t for m in every for t in m.targets), *(c for m in every for c in m.of.values())}
    )
    similarities(data, keys)
    put(data, "matrices", {"list": listed, "languages": {k: about(k)[:4] for k in keys},
                           "order": keys, "measures": list(MEASURES)})  # fmt: skip
    return keys


# ---------------------------------------------------------------- the source finder


def hundredths(values: Any) -> list[int]:
    """Scores of 0..1 in hundredths of a point, as `packed` has them."""
    return np.frombuffer(base64.b64decode(packed(values)), "<u2").tolist()


def finder_explorer(data: Path) -> None:
    """What is kept of workflow/finder.py: a file for the languages of two first letters."""
    tables = {
        n: pd.read_parquet(KEPT / f"{n}.parquet")
        for n in ("sources", "about", "examples", "budgets")
    }
    notes: dict[str, int] = {}
    found: dict[str, dict[str, Any]] = {}

    def of(target: str, task: str) -> dict[str, Any]:
        return found.setdefault(target, {}).setdefault(task, {})

    own = tables["sources"]
    columns = [hundredths(own[c]) for c in ("predicted", "low", "high")]
    chance = (1000 * own["p_best"]).round().astype(int).tolist()
    each = zip(own["task"], own["target"], own["source"], *columns, chance,
               own["measured"].astype(int), own["why"], strict=True)  # fmt: skip
    for task, target, *row in each:
        of(target, task).setdefault("sources", []).append(row)
    often = own.assign(p=own["p_best"].round(2)).groupby(["task", "target"])["p"]
    late = set(often.max().index[often.max() > often.first()])  # the first is not the likeliest
    for row in tables["about"].itertuples(index=False):
        more = finder.rank.BY_SCORE if (row.task, row.target) in late else ""
        number = notes.setdefault(row.rests_on + more, len(notes))
        of(row.target, row.task).update(best=row.best_set, note=number)
    own = tables["examples"]
    columns = [hundredths(own[c]) for c in ("score", "low", "high")]
    for task, target, source, n, *row in zip(
        own["task"], own["target"], own["source"], own["n_target"], *columns, strict=True
    ):
        few = of(target, task).setdefault("few", {}).setdefault(source, [])
        few.append([int(n), *row])
    for row in tables["budgets"].itertuples(index=False):
        goals = of(row.target, row.task).setdefault("goals", {}).setdefault(row.source, [])
        goals.append([round(100 * row.goal), row.basis, row.answer])
    parts: dict[str, dict[str, Any]] = {}
    for target, answers in found.items():
        parts.setdefault(target[:2], {})[target] = answers
    for letters, part in parts.items():
        put(data, f"finder-{letters}", part)
    kept_of = tables["about"].groupby("task")["target"].size().to_dict()
    tasks = {
        t: WORDS[t] for t in dict.fromkeys(t for _, named in finder.GROUPS.values() for t in named)
    }
    examples, goals = list(finder.EXAMPLES), [round(100 * g) for g in finder.GOALS]
    about_them = {"tasks": tasks, "notes": list(notes), "typology": list(TYPOLOGY)}
    put(data, "finder", about_them | {"kept": kept_of, "examples": examples, "goals": goals})


# ---------------------------------------------------------------- the map of similarity


def bits(rows: np.ndarray) -> str:
    """Rows of yes and no, each in whole bytes, base 64."""
    return base64.b64encode(np.packbits(rows.astype(bool), axis=-1).tobytes()).decode()


def map_explorer(data: Path, measured: Iterable[str]) -> None:
    """What the measures of similarity are computed of, for each language that can be asked about.

    Imputed features and whether they were observed as bits, the last node above each language in
    the tree and the parent of each node.
    """
    table, keys = uriel.load(), finder.every_language(list(measured))
    put(data, "languages", {key: about(key) for key in keys})
    row = table.rows([language(key).code for key in keys])
    keys = [key for key, r in zip(keys, row, strict=True) if r >= 0]
    row = row[row >= 0]
    parent: dict[int, int] = {}
    leaf = []
    for r in row:
        above = [int(node) for node in table.ancestors(r)]
        for node, over in zip(above, [-1, *above], strict=False):
            if parent.setdefault(node, over) != over:
                raise ValueError(f"{table.nodes[node]} has two parents: the map needs a tree")
        leaf.append(above[-1] if above else -1)
    number = {node: i for i, node in enumerate(parent)} | {-1: -1}
    masks = {m: similarity.feature_mask(m) for m in TYPOLOGY}
    put(data, "features", {
        "keys": keys, "row": row.tolist(), "step": -(-len(table.features) // 8),
        "values": bits(table.knn[row]), "observed": bits(table.observed[row]),
        "masks": {m: bits(x) for m, x in masks.items()},
        "sizes": {m: int(x.sum()) for m, x in masks.items()},
        "leaf": [number[n] for n in leaf], "parent": [number[p] for p in parent.values()],
    })  # fmt: skip


def write(folder: Path) -> None:
    """Write the data that the explorers' pages load."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    keys = matrix_explorer(data)
    finder_explorer(data)
    map_explorer(data, keys)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
