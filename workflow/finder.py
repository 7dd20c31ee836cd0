"""What the source finder shows: `recommend` and few-shot curves of every language, computed once.

`python workflow/finder.py` fills book/published/finder from the kept scores, in about twenty
minutes of a core, and goes on where it stopped; remove build/finder first when the scores or the
ranking have changed (tests/test_explore.py asks both and sees it). workflow/explore.py writes it
for the page.

The ranking is `xltlib.rank`'s own: only the inverse of the measured cells' covariance, the costly
part, is shared between targets. One that was never measured adds a border to it, which changes no
other number.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas as pd

from xltlib.explain import fewshot
from xltlib.io import sha256, whole, write_text
from xltlib.languages import codes, language, similarity, uriel
from xltlib.rank import gp, matrix
from xltlib.rank import recommend as rank
from xltlib.scores import one_metric, read, transfer

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "book" / "published"
KEPT = PUBLISHED / "finder"
PARTS = ROOT / "build" / "finder"
MODEL = "multilingual-e5-small"
EXAMPLES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
GOALS = (0.5, 0.6, 0.7, 0.8, 0.9)
SHOWN = 10  # sources of a target
EXPLAINED = 5  # of them with the reasons


# Experiment and tasks with the same cells, the quick ones first.
GROUPS = {
    "curves": ("curves", ("massive_intent",)),
    "curves-slots": ("curves-slots", ("massive_slots",)),
    "udpos_dev": ("matrix", ("udpos_dev",)),
    "massive": ("matrix", ("massive_intent", "massive_slots", "massive_qa")),
    "masakhaner": ("matrix", ("masakhaner",)),
    "sib200": ("matrix", ("sib200",)),
}


def scores_of(experiment: str) -> pd.DataFrame:
    """The kept scores of the model, as `xlt recommend --experiment …` reads them."""
    table = one_metric(read(PUBLISHED / experiment / "scores.parquet"))
    return table[table["model"] == MODEL]


def every_language(measured: Sequence[str]) -> list[str]:
    """Keys of lang2vec's languages and of the measured varieties; those with most observed first.

    lang2vec's own list is the first 3,718 rows of its family file; a macrolanguage stands for its
    member.
    """
    table = uriel.load()
    data = str(distribution("lang2vec").locate_file("lang2vec/data/family_features.npz"))
    with np.load(data, allow_pickle=False) as file:
        listed = [str(code) for code in file["langs"][:3718]]
    keys = sorted({language(code).key for code in listed if codes.known(code)} | set(measured))
    seen = table.observed.sum(axis=1)
    row = {key: table.index.get(language(key).code, -1) for key in keys}
    size = {lang.code for lang in similarity.text_sizes(MODEL)}
    return sorted(keys, key=lambda k: (k not in measured, language(k).code not in size,
                                       -seen[row[k]] if row[k] >= 0 else 0, k))  # fmt: skip


def choosable() -> list[str]:
    """The languages that the page offers: all of lang2vec's and every measured variety."""
    return every_language(sorted(set(scores_of("matrix")["source"])))


# ---------------------------------------------------------------- what targets share


class _Bordered:
    """Inverse of [[A, B], [B', C]] from the inverse of A, in what `xltlib.rank` asks of it."""

    def __init__(
        self, inverse: gp.Array, border: gp.Array, corner: gp.Array, known: dict[bytes, gp.Array]
    ) -> None:
        self.inverse, self.n, self.dtype, self.known = inverse, len(inverse), inverse.dtype, known
        self.image = inverse @ border
        self.corner = np.linalg.inv(corner - border.T @ self.image)

    def __getitem__(self, rows: gp.Index) -> gp.Array:
        at = rows - self.n
        if at.min() < 0:
            raise NotImplementedError("only the rows of the border are asked for")
        return np.hstack([-self.corner[at] @ self.image.T, self.corner[at]])

    def __matmul__(self, value: gp.Array) -> gp.Array:
        above, below = value[: self.n], value[self.n :]
        low = self.corner @ (below - self.image.T @ above)
        key = np.ascontiguousarray(above).tobytes()  # of the measured cells: few, and costly
        if key not in self.known:
            self.known[key] = self.inverse @ above
        return np.concatenate([self.known[key] - self.image @ low, low])


@dataclass(frozen=True)
class _Shared:
    """A matrix of measured cells, and what every unmeasured target takes from it."""

    base: matrix.Matrix
    others: int  # measured targets, also those that were left out

    @cached_property
    def _products(self) -> dict[bytes, gp.Array]:
        return {}

    @cached_property
    def _held(self) -> dict[float, list]:
        return {}

    def past(self, made: matrix.Matrix, cells: gp.Index) -> rank.Past:
        """How predictions of the measured targets turned out.

        The least text of any language, which a target may have, tells who has none
        (`levels.ease`); nothing else of a target counts.
        """
        least = float(made.measures[matrix.SIZE].min())
        if least not in self._held:
            same = least == self.base.measures[matrix.SIZE].min()
            self._held[least] = list(rank.held_out(self.base if same else replace(made)))
        return rank.Past.of(self._held[least], cells)

    def with_target(self, code: str, row: dict[str, gp.Array]) -> matrix.Matrix | None:
        """The matrix with a target's cells, NaN; None where it changes a measure of the others."""
        base, n = self.base, len(self.base.languages)
        measures = {}
        for name, old in base.measures.items():
            new = np.full((n + 1, n + 1), np.nan)
            new[:n, :n], new[n, :n], new[:n, n] = old, row[name], row[name]
            new[n, n] = np.nanmax(row[name]) if name == matrix.SIZE else 1.0
            if name == matrix.SIZE and (row[name] > np.diag(old)).any():
                return None
            measures[name] = new
        cells = np.arange(len(base.sources))
        both = np.concatenate
        made = replace(
            base,
            targets=[*base.targets, code],
            languages=[*base.languages, code],
            target_language=np.append(base.target_language, n),
            source=both([base.source, cells]),
            target=both([base.target, np.full(len(cells), len(base.targets))]),
            score=both([base.score, np.full(len(cells), np.nan)]),
            measures=measures,
            data=np.zeros((len(base.score) + len(cells), 0)),
        )
        return made

    def bordered(self, made: matrix.Matrix) -> _Bordered:
        """Its precision, from that of the measured cells."""
        n = len(self.base.score)
        at = np.arange(n, len(made.score))
        cells = made.cells
        block = gp.covariance(cells, at)
        corner = block[:, n:] + gp.PRESET.noise * np.eye(len(at))
        border = block[:, :n].T.copy()
        return _Bordered(self.base.precision, border, corner, self._products)


def _rows(pairs: pd.DataFrame, sources: Sequence[str]) -> Iterator[tuple[str, dict, set]]:
    """Of each target its similarity to the sources by measure, and what of it was observed.

    `pairs` holds every source with every target, targets within sources.
    """
    names = [c for c in pairs.select_dtypes("number") if not c.startswith("coverage_")]
    names = [c for c in names if c not in similarity.LEVELS]
    seen = ~similarity.imputed(pairs)
    at = pd.Index(sources).get_indexer(pd.Index(pairs["source"]))
    value = {name: pairs[name].to_numpy(float) for name in names}
    told = {name: seen[name].to_numpy() for name in names}
    places = pairs.groupby("target", sort=False).indices
    for target in pairs["target"].unique():  # in their order: what is asked for most comes first
        where = places[target]
        row = {name: np.full(len(sources), np.nan) for name in names}
        for name in names:
            row[name][at[where]] = value[name][where]
        found = {
            (name, sources[at[i]], str(target)) for name in names for i in where if told[name][i]
        }
        yield str(target), row, found


def _of_target(task: str, code: str, rows: pd.DataFrame, best: pd.DataFrame, why: str) -> tuple:
    """What is kept of a recommendation."""
    top = rows.head(SHOWN).drop(columns="rank").copy()
    top.loc[top.index >= EXPLAINED, "why"] = ""
    top.insert(0, "task", task)
    top.insert(1, "target", code)
    steps = best[best["expected_best"].diff().fillna(1) > 0]
    each = zip(steps["source"], steps["expected_best"], strict=True)
    return top, (task, code, why, " ".join(f"{s}:{x:.4f}" for s, x in each))


def advice(
    named: Sequence[str], scores: dict[str, pd.DataFrame], targets: Sequence[str]
) -> Iterator[tuple[pd.DataFrame, tuple]]:
    """`recommend` for tasks with the same cells: the best sources of each target, and the rest."""
    first = scores[named[0]]
    zero = {t: transfer(scores[t]) for t in named}
    cells = {
        t: zero[t].groupby(["source", "target"], as_index=False, observed=True)["score"].mean()
        for t in named
    }
    measured = sorted({*first["source"], *first["target"]})
    inside = similarity.of_model(similarity.pairs(measured), MODEL)
    new = [c for c in targets if c not in measured]
    old = [c for c in targets if c in measured]
    if len(cells[named[0]]) > rank.MOST_CELLS:  # each target has its own selection of others
        yield from _large(named[0], cells[named[0]], inside, scores[named[0]], old)
        for code in new:
            found = rank.recommend(code, scores[named[0]])
            yield _of_target(named[0], code, found.table, found.best_set, found.rests_on)
        return
    shared = {}
    for task in named:
        ((_, base),) = matrix.matrices(cells[task], inside)
        shared[task] = _Shared(base, len(measured))
    one = shared[named[0]]
    for task in named[1:]:
        shared[task].base.__dict__["precision"] = one.base.precision
    for code in old:
        for task, those in shared.items():
            column = np.flatnonzero(those.base.ends()[1] == measured.index(code))
            se, past = (
                rank.errors(scores[task], those.base, column),
                those.past(those.base, column),
            )
            rows, best = rank.answer(those.base, column, se, past, set(), 3)
            yield _of_target(task, code, rows, best, past.rests_on(those.base, 0, predicts=False))
    if not new:
        return
    across = similarity.of_model(similarity.pairs(measured, targets=new), MODEL)
    for code, row, known in _rows(across, measured):
        yield from _new(shared, one, code, row, known, measured, scores)


def _large(
    task: str, cells: pd.DataFrame, inside: pd.DataFrame, scores: pd.DataFrame, targets: list[str]
) -> Iterator[tuple[pd.DataFrame, tuple]]:
    """Measured targets of a matrix too large to fit: nothing has to be predicted."""
    ((_, base),) = matrix.matrices(cells, inside, most=len(cells))
    past = rank.Past.of([], base.target)
    note = f"{len(cells)} measured pairs, {len(base.sources)} sources; the target was measured."
    for code in targets:
        column = np.flatnonzero(base.ends()[1] == base.languages.index(code))
        se = rank.errors(scores, base, column)
        yield _of_target(task, code, *rank.answer(base, column, se, past, set(), 3), note)


def _new(
    shared: dict[str, _Shared],
    one: _Shared,
    code: str,
    row: dict[str, gp.Array],
    known: set,
    measured: Sequence[str],
    scores: dict[str, pd.DataFrame],
) -> Iterator[tuple[pd.DataFrame, tuple]]:
    """An unmeasured target, in each of the tasks."""
    at = pd.Index(measured).get_indexer(pd.Index(one.base.languages))
    inner = {name: value[at] for name, value in row.items()}
    bordered = None
    for task, those in shared.items():
        made = those.with_target(code, inner)
        if made is None:  # the others are not what they were: the long way
            found = rank.recommend(code, scores[task])
            yield _of_target(task, code, found.table, found.best_set, found.rests_on)
            continue
        if bordered is None:
            bordered, cells = one.bordered(made), made.cells
        made.__dict__["cells"] = cells  # they do not depend on the scores
        column = np.arange(len(those.base.score), len(made.score))
        past = those.past(made, column)
        made.__dict__["precision"] = bordered
        rows, best = rank.answer(made, column, np.zeros(len(column)), past, known, 3)
        why = past.rests_on(those.base, those.others, predicts=True)
        why += rank.of_variety(code, made)
        yield _of_target(task, code, rows, best, why)


# ---------------------------------------------------------------- with target examples


def with_examples(zero: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Score to expect of every source and target after `EXAMPLES` examples.

    `budget.with_examples` of many targets at once: a curve without points moves no other.

    Parameters
    ----------
    zero
        ``source, target, predicted`` of a recommendation's table.
    """
    points, names = fewshot.curves(scores), {"mean": "score", "low": "low", "high": "high"}
    known = pd.MultiIndex.from_frame(points[["source", "target"]]).unique()
    new = zero[["source", "target"]].assign(zero=zero["predicted"])
    new = new[~pd.MultiIndex.from_frame(new[["source", "target"]]).isin(known)]
    found = []
    for start in range(0, max(len(new), 1), 2_000):
        fitted = fewshot.fit(points, new=new.iloc[start : start + 2_000])
        table = fitted.predict(EXAMPLES)
        is_new = np.repeat(np.arange(len(fitted.keys)) >= len(known), len(EXAMPLES))
        found.append(table[is_new | (start == 0)])
    out = pd.concat(found, ignore_index=True)[["source", "target", "n_target", *names]]
    return out.rename(columns=names).astype({"n_target": int})


def budgets(zero: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """`budget.budget` of every target and goal: ``source, target, goal, basis, answer``.

    `zero` has ``source, target, predicted, low, high`` of each target's best source. Draws are
    those of `fewshot.examples_needed`, where a new curve comes after all measured ones.
    """
    points, rows = fewshot.curves(scores), []
    fitted = fewshot.fit(points)
    for goal in GOALS:
        own = fewshot.examples_needed(fitted, goal)
        rows += [(r.source, r.target, goal, "measured", r.answer) for r in own.itertuples()]
    new = zero[~zero["target"].isin(points["target"])]
    for start in range(0, len(new), 500):
        part = new.iloc[start : start + 500]
        first = part[["source", "target"]].assign(zero=part["predicted"])
        ends = [first, first.assign(zero=part["low"]), first.assign(zero=part["high"])]
        fitted = fewshot.fit(points, new=pd.concat(ends))
        k, n_max = len(fitted.keys) - 3 * len(part), int(fitted.keys["n_max"].max())
        for goal in GOALS:
            generator = np.random.default_rng(0)
            for i in range(k):
                fitted.reach(goal, i, 2000, generator)
            state = generator.bit_generator.state
            for j, (source, target) in enumerate(zip(part["source"], part["target"], strict=True)):
                generator.bit_generator.state, three = state, []
                for i in (k + j, k + len(part) + j, k + 2 * len(part) + j):
                    n = fitted.reach(goal, i, 2000, generator)
                    enough = fitted.keys["zero"].iloc[i] >= goal
                    found = {"low": 0.0, "n": 0.0, "high": 0.0} if enough else None
                    three.append(found or fewshot.answer(n, n_max))
                low, high = min(x["low"] for x in three), max(x["high"] for x in three)
                answer = fewshot.in_words(low, three[0]["n"], high, n_max)
                rows.append((source, target, goal, "predicted", answer))
    return pd.DataFrame(rows, columns=["source", "target", "goal", "basis", "answer"])


# ---------------------------------------------------------------- keeping it


def _write(table: pd.DataFrame, path: Path) -> None:
    with whole(path) as temporary:
        table.to_parquet(temporary, compression="zstd", compression_level=9, index=False)


def compute(group: str, every: bool = False) -> None:
    """Fill build/finder/GROUP with what is missing of it, in parts."""
    experiment, named = GROUPS[group]
    table = scores_of(experiment)
    scores = {task: table[table["task"] == task] for task in named}
    measured = sorted({*scores[named[0]]["source"], *scores[named[0]]["target"]})
    folder = PARTS / group
    done = [pd.read_parquet(p) for p in sorted(folder.glob("about-*.parquet"))]
    had = {*pd.concat(done)["target"]} if done else set()
    # Topics of a language never tested take seconds each: `--every` for those as well.
    wanted = choosable() if group != "sib200" or every else measured
    todo = [c for c in wanted if c not in had]
    rows: list[pd.DataFrame] = []
    about: list[tuple] = []
    number = len(done)
    for top, line in advice(named, scores, todo):
        rows.append(top)
        about.append(line)
        # the tasks of a new target come together; those of measured ones must not be parted
        if len(rows) >= 100 * len(named) and len(about) % len(named) == 0 and _whole(about, named):
            _part(folder, number, rows, about)
            number, rows, about = number + 1, [], []
    if rows:
        _part(folder, number, rows, about)


def _whole(about: Sequence[tuple], named: Sequence[str]) -> bool:
    counts = pd.Series([line[1] for line in about]).value_counts()
    return bool((counts == len(named)).all())


def _part(folder: Path, number: int, rows: list[pd.DataFrame], about: list[tuple]) -> None:
    table = pd.concat(rows, ignore_index=True)
    number_columns = ["predicted", "low", "high", "p_best"]
    table[number_columns] = table[number_columns].round(5).astype("float32")
    _write(table, folder / f"sources-{number:04}.parquet")
    names = ["task", "target", "rests_on", "best_set"]
    _write(pd.DataFrame(about, columns=names), folder / f"about-{number:04}.parquet")
    print(f"{folder.name}: part {number}, {len(about)} answers", flush=True)


def _of_curves(group: str, experiment: str, zero: pd.DataFrame) -> list[pd.DataFrame]:
    """`with_examples` and `budgets`, kept beside the parts until these change."""
    paths = [PARTS / group / f"{name}.parquet" for name in ("with", "budgets")]
    made = [pd.read_parquet(path) for path in paths if path.is_file()]
    if len(made) < 2 or set(made[0]["target"]) != set(zero["target"]):
        table = scores_of(experiment)
        made = [with_examples(zero, table), budgets(zero.drop_duplicates("target"), table)]
        for path, answers in zip(paths, made, strict=True):
            _write(answers, path)
    return made


def collect() -> None:
    """Put the parts together in book/published/finder."""
    sources, about, few, need = [], [], [], []
    for group, (experiment, named) in GROUPS.items():
        parts = {
            kind: [pd.read_parquet(p) for p in sorted((PARTS / group).glob(f"{kind}-*.parquet"))]
            for kind in ("sources", "about")
        }
        if not parts["about"]:
            continue
        one, other = (pd.concat(parts[kind], ignore_index=True) for kind in ("sources", "about"))
        if experiment == "matrix":
            sources.append(one)
            about.append(other)
            continue
        for made, answers in zip((few, need), _of_curves(group, experiment, one), strict=True):
            made.append(answers.assign(task=named[0]))
    made = {"sources": sources, "about": about, "examples": few, "budgets": need}
    asked = choosable()
    for name, tables in made.items():
        table = pd.concat(tables, ignore_index=True)
        table = table[table["target"].isin(asked)]
        floats = table.select_dtypes("float").columns
        table[floats] = table[floats].astype(float).round(5)  # as a page has them
        table = table.astype(dict.fromkeys(floats, "float32"))
        order = [c for c in ("task", "target", "n_target", "goal") if c in table]
        _write(table.sort_values(order, kind="stable", ignore_index=True), KEPT / f"{name}.parquet")
    scores = {e: sha256(PUBLISHED / e / "scores.parquet") for e, _ in GROUPS.values()}
    write_text(KEPT / "run.json", json.dumps({"model": MODEL, "scores": scores}, indent=1) + "\n")


def main() -> int:
    """Compute the groups named on the command line, or all, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all unless given")
    parser.add_argument("--collect", action="store_true", help="only put together what there is")
    parser.add_argument("--every", action="store_true", help="sib200: every language, in hours")
    args = parser.parse_args()
    for group in [] if args.collect else args.groups or GROUPS:
        compute(group, args.every)
    collect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
