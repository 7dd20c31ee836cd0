"""How often verdicts are wrong, and how often 95 % intervals hold the truth, where it is known.

    python benchmarks/calibration.py --out book [--designs 12 24 --tables 200]

Scores are made with the languages and the measured similarities of the designs of this book, and
with a truth that is set:

* *nothing*: source and target effects, and noise of single pairs;
* *unmeasured*: besides, a similarity that no measure carries (inner products of random vectors of
  the languages), so that errors of pairs that share a language go together;
* *words*: besides, lexical similarity explains a fifth of what the effects leave, structure
  nothing (noise of which half is of the second kind);
* *structure*: the other way round;
* *small*: lexical similarity a tenth, word order and phonology a twentieth beside it.

Each table goes through the functions that judge the claims of the book, with their settings. A
verdict *holds* is wrong where the truth is nothing, *does not hold* where it is not. One row a
design, truth, claim: the share of each verdict, and whether it would be wrong. Then the coverage of
the intervals: means, differences, shares of variance, curves. One file a table under ``--work``, so
an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from xltlib import io
from xltlib.book.inputs import LEXICAL, similarities
from xltlib.explain import claims, fewshot, regression
from xltlib.explain.contrast import estimates
from xltlib.explain.effects import Array
from xltlib.explain.observations import design, observe
from xltlib.rank import methods
from xltlib.train.config import load

MATRIX = Path("book/published/matrix")
XNLI = "arb bul deu ell eng spa fra hin rus swh tha tur urd vie cmn".split()
DESIGNS = (12, 15, 24, 52, 205)  # languages: the default run, XNLI, UDPOS, MASSIVE, SIB-200
STRUCTURE = regression.STRUCTURE
STEPS = {
    "lexical": ("lexical_translit",),
    **{f"+ {m}": (m,) for m in STRUCTURE},
    "+ the rest": ("genealogy", "geography", "script"),
}
# shares that lexical similarity and, beside it, structure explain of what the effects leave; the
# part of the noise that goes with languages
TRUTHS = {
    "nothing": (0.0, 0.0, 0.0),
    "unmeasured": (0.0, 0.0, 0.5),
    "words": (0.2, 0.0, 0.5),
    "structure": (0.0, 0.2, 0.5),
    "small": (0.1, 0.05, 0.5),
}
PREDICTS, ADDS, BETTER = "similarity predicts", "structure adds", "structure predicts better"
FALSE = {  # claims that a truth makes false; where not in TRUE either, nothing is judged
    "nothing": (PREDICTS, ADDS, BETTER), "unmeasured": (PREDICTS, ADDS, BETTER), "words": (ADDS,),
    "structure": (), "small": (),
}  # fmt: skip
TRUE = {"words": (PREDICTS,), "structure": (PREDICTS, ADDS, BETTER), "small": (PREDICTS, ADDS)}


@cache
def similarity(size: int) -> pd.DataFrame:
    """Measured similarity of the languages of a design."""
    if size == 12:
        codes = list(load("embedded").languages)
    elif size == 15:
        codes = XNLI
    else:
        tasks = {24: "udpos_dev", 52: "massive_intent", 205: "sib200"}
        table = pd.read_parquet(MATRIX / "scores.parquet", columns=["task", "source"])
        codes = sorted(table.loc[table["task"] == tasks[size], "source"].unique())
    pairs = similarities(codes)[1]
    if size > 15:  # words of real texts; names of CLDR are not there for all
        own = pd.read_parquet(MATRIX / "lexical.parquet")
        turned = own.rename(columns={"source": "target", "target": "source"})
        pairs = pairs.drop(columns=LEXICAL).merge(pd.concat([own, turned]), on=["source", "target"])
    measures = [m for group in STEPS.values() for m in group]
    return pairs[["source", "target", *measures]]


def unit(values: Array) -> Array:
    return values / max(float(np.sqrt((values**2).mean())), 1e-12)


@cache
def population() -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Pairs of all languages, lexical similarity over their effects (unit variance), measures."""
    pairs = similarity(max(DESIGNS))
    about = {"model": "m", "task": "t", "metric": "accuracy", "n_target": 0, "seed": 0}
    table = pairs[["source", "target"]].assign(**about, score=np.arange(len(pairs)) / len(pairs))
    seen = observe(table.assign(n_test=1000), pairs, None)
    data = design(seen)
    words = unit(data.left[:, data.features.index(LEXICAL)])
    return seen[["source", "target"]].assign(words=words), data.features


def share_of_drawn(rng: np.random.Generator, size: int, share: float) -> bool:
    """What similarity explains, from languages drawn at random: does it hold that of all?"""
    every, features = population()
    codes = rng.choice(every["source"].unique(), size, replace=False)
    own = every[every["source"].isin(codes) & every["target"].isin(codes)]
    place = {c: i for i, c in enumerate(codes)}
    s, t = (own[c].map(place).to_numpy() for c in ("source", "target"))
    z = rng.normal(size=(3, size))
    both = (z[:, s] * z[:, t]).sum(axis=0) / 3**0.5
    noise = (both + rng.normal(size=len(own))) / 2**0.5
    y = np.sqrt(share) * own["words"] + np.sqrt(1 - share) * noise
    good, easy = rng.normal(size=(2, size))
    about = {"model": "m", "task": "t", "metric": "accuracy", "n_target": 0, "seed": 0}
    score = (0.5 + 0.02 * y + 0.03 * good[s] + 0.05 * easy[t]).clip(0.01, 0.99)
    table = own[["source", "target"]].assign(**about, score=score, n_test=10**6)
    found = (
        regression.variance_added(
            regression.prepared(table, similarity(max(DESIGNS)), features),
            bootstrap=200,
            permutations=99,
        )
        .total.set_index("part")
        .loc["similarity adds"]
    )
    return bool(found["low"] <= share + 1e-9 <= found["high"] + 2e-9)


def made(size: int, truth: str, seed: int) -> pd.DataFrame:
    """A scores table whose truth is known."""
    rng, pairs = np.random.default_rng(seed), similarity(size)
    lexical, structure, shared = TRUTHS[truth]
    table = pairs[["source", "target"]].assign(model="m", task="t", metric="accuracy", n_target=0)
    seen = observe(table.assign(seed=0, n_test=1000, score=rng.random(len(pairs))), pairs, None)
    data = design(seen)
    names = list(data.features)
    words = unit(data.left[:, names.index(LEXICAL)])
    chosen = [i for i, n in enumerate(names) if n in STRUCTURE]
    weights = rng.dirichlet(np.ones(len(chosen)))  # which of them carries it differs by table
    other = data.left[:, chosen] / data.left[:, chosen].std(axis=0) @ weights
    other = unit(other - words * (words @ other) / len(other))  # beside words
    z = rng.normal(size=(len(data.languages), 3))
    both = (z[data.source] * z[data.target]).sum(axis=1)
    noise = [unit(data.effects.within(v)) for v in (both, rng.normal(size=len(both)))]
    left = 1 - lexical - structure
    y = np.sqrt(lexical) * words + np.sqrt(structure) * other
    y = y + np.sqrt(left * shared) * noise[0] + np.sqrt(left * (1 - shared)) * noise[1]
    good, easy = rng.normal(size=(2, len(data.languages)))
    score = 0.5 + 0.02 * y + 0.03 * good[data.source] + 0.05 * easy[data.target]
    about = {"seed": 0, "n_test": 10**6, "score": score.clip(0.01, 0.99)}
    keys = ["model", "task", "source", "target"]
    return seen[keys].assign(metric="accuracy", n_target=0, **about)


def judged(size: int, truth: str, seed: int) -> dict[str, object]:
    """Verdicts on one table, and whether the interval of what similarity explains holds it."""
    table, pairs = made(size, truth, seed), similarity(size)
    how = {"permutations": 199, "seed": seed}
    growing = regression.nested(regression.prepared(table, pairs), STEPS, bootstrap=200, **how)
    fitted = regression.explain(regression.prepared(table, pairs, None), **how).coefficients
    told = claims.of_tables(growing, fitted, "t")
    whole = growing[growing["step"] != regression.ALONE].iloc[-1]
    share = sum(TRUTHS[truth][:2])
    found = dict(zip(told["claim"], told["verdict"], strict=True))
    return {"verdicts": found, "held": bool(whole["low"] <= share + 1e-9 <= whole["high"] + 2e-9)}


def rates(tables: list[dict[str, object]], size: int, truth: str) -> list[dict[str, object]]:
    """Shares of the verdicts on tables of one design and truth, a row a claim."""
    told = pd.DataFrame([t["verdicts"] for t in tables])
    single = [c for c in told if c.startswith("more alike")]
    rows = []
    for claim in (c for c in told if c not in single):
        holds, fails = ((told[claim] == v).mean() for v in ("holds", "does not hold"))
        false, true = (claim.startswith(of.get(truth, ())) for of in (FALSE, TRUE))
        wrong = {"wrong_holds": holds if false else np.nan}
        equal = truth in ("nothing", "unmeasured") and claim.startswith(BETTER)
        wrong["wrong_does_not_hold"] = fails if true or equal else np.nan
        rows.append({"claim": claim, "holds": holds, "does_not_hold": fails, **wrong})
    if truth in ("nothing", "unmeasured"):
        any_of = {v: (told[single] == v).any(axis=1).mean() for v in ("holds", "does not hold")}
        names = ["holds", "does_not_hold"]
        both = dict(zip(names, any_of.values(), strict=True))
        wrong = {f"wrong_{n}": v for n, v in both.items()}
        rows.append({"claim": "any single measure, more transfer", **both, **wrong})
    held = np.mean([t["held"] for t in tables])
    rows.append({"claim": "interval of what similarity explains", "coverage": held})
    about = {"languages": size, "truth": truth, "tables": len(tables)}
    return [about | row for row in rows]


# -- intervals of means, differences and curves ---------------------------------------------------


def covered(cells: pd.DataFrame, over: str | Sequence[str], truth: float = 0.0) -> bool:
    found = estimates(cells, "y", over=over).iloc[0]
    return bool(found["low"] <= truth <= found["high"])


def mean_of_pairs(rng: np.random.Generator, size: int, seeds: int, of_language: float) -> bool:
    """Mean over pairs of languages and seeds: effects of both roles, of seeds, of cells."""
    cells = pd.DataFrame(product(range(size), range(size), range(seeds)), columns=CROSSED)
    cells = cells[cells["source"] != cells["target"]]
    a, b, c = (rng.normal(0, s, size) for s in (of_language, of_language, 0.3))
    y = a[cells["source"]] + b[cells["target"]] + c[cells["seed"] % size]
    return covered(cells.assign(y=y + rng.normal(size=len(cells))), CROSSED)


def mean_of_items(rng: np.random.Generator, targets: int, seeds: int, items: int) -> bool:
    """Mean difference in answers, 0 or 1, to the same items in all targets and seeds."""
    units = ["target", "seed", "item"]
    cells = pd.DataFrame(product(range(targets), range(seeds), range(items)), columns=units)
    hard, easy, seed = (rng.normal(size=n) for n in (items, targets, seeds))
    known = hard[cells["item"]] + 0.3 * easy[cells["target"]] + 0.2 * seed[cells["seed"]]
    answers = [known + rng.normal(size=len(cells)) > 0 for _ in range(2)]
    gained = rng.normal(size=items)[cells["item"]]  # the second differs by item, 0 in the mean
    second = known + gained + rng.normal(size=len(cells)) > 0
    return covered(cells.assign(y=answers[0].astype(float) - second), units)


def mean_of_one_unit(rng: np.random.Generator, n: int) -> bool:
    """A difference in each of n units (seeds, targets, data sets)."""
    return covered(pd.DataFrame({"unit": range(n), "y": rng.normal(size=n)}), "unit")


def loss_of_rules(rng: np.random.Generator, targets: int) -> bool:
    """Two rules that are equally bad on skewed losses, many of them nothing."""
    losses = rng.exponential(size=(targets, 2)) ** 2 * (rng.random((targets, 2)) < 0.6)
    table = pd.DataFrame({"target": range(targets), "language": range(targets)})
    table = pd.concat(
        [table.assign(method=m, loss_pct=y) for m, y in zip("ab", losses.T, strict=True)]
    )
    _, low, high = methods.lead(table, "a", "b")
    return bool(low <= 0 <= high)


def height_of_curves(rng: np.random.Generator) -> float:
    """Share of curves whose height at a number of examples between those measured is held."""
    n, between, sd = np.array([16, 64, 256, 1024]), [128], 0.01
    level, rise, shape = 0.7 + 0.1 * rng.normal(size=24), rng.uniform(0.2, 0.5, 24), 0.4
    rows = [(f"l{i}", x, level[i] - rise[i] * (x / 16) ** -shape) for i in range(24) for x in n]
    points = pd.DataFrame(rows, columns=["target", "n_target", "score"])
    points["score"] += rng.normal(0, sd, len(points))
    labels = dict(model="m", task="t", source="s", metric="accuracy", se=sd, zero=np.nan)
    fitted = fewshot.fit(points.assign(**labels)).predict(between, noise=False)
    truth = level - rise * (between[0] / 16) ** -shape
    order = fitted["target"].str[1:].astype(int)
    return float(((fitted["low"] <= truth[order]) & (truth[order] <= fitted["high"])).mean())


CROSSED = ["source", "target", "seed"]
INTERVALS = {
    "mean of 12 x 12 languages, 3 seeds, languages differ": lambda r: mean_of_pairs(r, 12, 3, 1.0),
    "mean of 12 x 12 languages, 3 seeds, seeds differ most": lambda r: mean_of_pairs(r, 12, 3, 0.1),
    "mean of 24 x 24 languages, 3 seeds": lambda r: mean_of_pairs(r, 24, 3, 0.5),
    "difference on 200 items, 10 targets, 3 seeds": lambda r: mean_of_items(r, 10, 3, 200),
    "difference on 200 items, 3 targets, 5 seeds": lambda r: mean_of_items(r, 3, 5, 200),
    "difference over 3 seeds": lambda r: mean_of_one_unit(r, 3),
    "difference over 34 targets": lambda r: mean_of_one_unit(r, 34),
    "loss of two rules, 12 targets": lambda r: loss_of_rules(r, 12),
    "loss of two rules, 52 targets": lambda r: loss_of_rules(r, 52),
    "curves between the numbers measured": height_of_curves,
    "share explained, 12 of 205 languages, nothing": lambda r: share_of_drawn(r, 12, 0.0),
    "share explained, 12 of 205 languages, a fifth": lambda r: share_of_drawn(r, 12, 0.2),
    "share explained, 52 of 205 languages, a fifth": lambda r: share_of_drawn(r, 52, 0.2),
}  # fmt: skip


def kept(path: Path, make: Callable[[], object]) -> object:
    """What was made before, or is made now and kept."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write_text(path, json.dumps(make(), default=float))
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder for the two tables, CSV")
    parser.add_argument("--work", type=Path, default=Path("build/calibration"))
    parser.add_argument("--designs", nargs="*", type=int, default=DESIGNS)
    parser.add_argument("--truths", nargs="*", default=list(TRUTHS))
    parser.add_argument("--tables", type=int, default=100, help="of a design and truth")
    parser.add_argument("--intervals", type=int, default=400, help="tables of an interval")
    asked = parser.parse_args()
    rows: list[dict[str, object]] = []
    for size, truth in tqdm(list(product(asked.designs, asked.truths)), desc="verdicts"):
        found = [
            kept(asked.work / f"{size}-{truth}-{i}.json", partial(judged, size, truth, i))
            for i in range(asked.tables if size < 200 else max(asked.tables // 10, 1))
        ]
        rows += rates(found, size, truth)
    for name, once in tqdm(INTERVALS.items(), desc="intervals"):
        n = asked.intervals // (4 if name.startswith("share") else 1)  # a hundred times as slow
        held = [once(np.random.default_rng(i)) for i in range(n)]
        rows.append({"claim": name, "tables": len(held), "coverage": np.mean(held)})
    table = pd.DataFrame(rows)
    judged_rows = table[table["coverage"].isna()].drop(columns="coverage", errors="ignore")
    tables = {"verdicts": per_cent(judged_rows), "intervals": per_cent(table.dropna(
        subset="coverage")[["claim", "languages", "truth", "tables", "coverage"]])}  # fmt: skip
    for name, part in tables.items():
        print(part.to_string(index=False))
        if asked.out:
            io.write_text(asked.out / f"calibration_{name}.csv", part.to_csv(index=False))


def per_cent(table: pd.DataFrame) -> pd.DataFrame:
    """Shares as per cent, with headings that can be read; empty where nothing could be wrong."""
    shares = [c for c in table if str(c).startswith(("holds", "does", "wrong", "cover"))]
    shown = table.astype({c: object for c in table})
    for c in shares:
        shown[c] = [f"{100 * v:.0f}" if v == v else "" for v in table[c]]
    for c in ("languages", "tables"):
        shown[c] = [f"{v:.0f}" if v == v else "" for v in table[c]]
    shown = shown.fillna("").rename(columns=lambda c: str(c).replace("_", " "))
    return shown.rename(columns={"wrong holds": "wrongly holds",
                                 "wrong does not hold": "wrongly does not hold"})  # fmt: skip


if __name__ == "__main__":
    main()
