"""What every published matrix says: our figures on other people's scores, kept with the book.

    python benchmarks/evidence.py --out book/published [--matrices ner-xlmr las]

Reads each table from its repository (or under ``XLT_DATA``), has `xltlib.book.analyze` look at it
with the same settings, and writes small tables: nothing of the data, only what was measured from
it; on pairs that have both, growing models from words of names and of texts (``words.csv``). One
matrix is one file, so an interrupted run goes on where it stopped; ``--again`` starts
over.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pandas as pd
import published

from xltlib import reading
from xltlib.book.analyze import analyze, usable
from xltlib.book.inputs import LEXICAL, similarities
from xltlib.explain import fewshot, observations, regression
from xltlib.io import write_text
from xltlib.languages import similarity
from xltlib.scores import check
from xltlib.train.plan import versions

# one matrix of each publication, model and task; the others repeat them at another training size
MATRICES = (
    *("xnli-mt5", "xnli-xlmr", "ner-xlmr", "masakhaner-base", "pos-xlmr", "xpos-10000"),
    *("nnrank-mbert", "rice-xlmr", "langrank-pos", "las", "langrank-dep", "parsing-16"),
    *("langrank-el", "langrank-mt", "sentiment-16", "taxi1500"),
)
LEAST = 8  # sources, and targets, that have words of both kinds
CURVES = ("udpos-xlmr", "wikiann-xlmr", "xnli-xlmr", "tydiqa-xlmr")
TEXTS = "lexical_texts"  # as LEXICAL, of the training texts of SIB-200 instead of names
PARTS = ("methods", "coefficients", "shares", "steps", "claims")


def of_matrix(name: str, texts: pd.DataFrame) -> dict[str, object]:
    """Every figure of one matrix as plain lists, and how long they took; `texts` of `of_words`."""
    began = time.perf_counter()
    found = analyze(published.load(name), unknown_codes="drop", progress=True)
    one, publication = found.analyses[0], published.SCORES[name]
    repository, commit = publication.repository.rsplit("/", 1)
    about = {
        "matrix": name,
        "data": publication.data,
        "task": one.task,
        "model": one.model,
        "metric": one.metric,
        "citation": publication.citation,
        "repository": repository,
        "commit": commit,
        **one.counts,
        **one.level,
        **one.whole,
        "seconds": time.perf_counter() - began,
    }
    parts = {p: getattr(one, p).assign(matrix=name).to_dict("records") for p in PARTS}
    words = of_words(name, check(published.load(name), "drop"), texts)
    return {"about": about, **parts, "words": words, "unable": one.unable}


def of_words(name: str, table: pd.DataFrame, texts: pd.DataFrame) -> list[dict[str, object]]:
    """Growing models from words of names, and from words of texts, on the pairs that have both.

    ``correlation`` of the two measures, as they are and over source and target effects; empty where
    too few languages have both.
    """
    rows, _ = usable(table)
    own = texts.rename(columns={LEXICAL: TEXTS})
    codes = sorted({*own["source"], *own["target"]} & {*rows["source"], *rows["target"]})
    rows = rows[rows["source"].isin(codes) & rows["target"].isin(codes)]
    if min(rows["source"].nunique(), rows["target"].nunique()) < LEAST:
        return []
    _, pairs = similarities(codes, own)
    pairs = similarity.of_model(pairs, str(rows["model"].iloc[0])).dropna(subset=[LEXICAL, TEXTS])
    rows = rows.merge(pairs[["source", "target"]])
    steps = {name: list(group) for name, group in regression.STEPS.items()}
    used = [LEXICAL, TEXTS, *(m for group in list(steps.values())[1:] for m in group)]
    seen = observations.observe(rows, pairs, used, lenient=True)
    left = observations.over_effects(seen)
    about = {"matrix": name, "n_pairs": len(seen), "correlation": seen[LEXICAL].corr(seen[TEXTS])}
    about |= {"correlation_within": left[LEXICAL].corr(left[TEXTS])}
    out: list[dict[str, object]] = []
    for words, measure in (("names", LEXICAL), ("texts", TEXTS)):
        own_steps = steps | {"lexical": [measure]}
        kept = {s: [m for m in g if m in seen.attrs["features"]] for s, g in own_steps.items()}
        found = regression.nested(
            regression.prepared(rows, pairs), {s: g for s, g in kept.items() if g}
        )
        out += [about | {"words": words} | row for row in found.to_dict("records")]
    return out


def of_curves(name: str) -> dict[str, object]:
    """The few-shot laws compared on one table of mixtures."""
    began = time.perf_counter()
    mixed = published.mixtures(name).query("split == 'train'")
    # trained on a mixture that holds the target: as source and target the same language
    rows = mixed[["target", "n_target", "score"]].assign(
        source=mixed["target"], task=name, model="mixture", seed=mixed["config"]
    )
    curves = fewshot.curves(check(rows))
    table, predictions = fewshot.compare_laws(curves)
    verdicts = fewshot.law_verdicts(predictions)
    about = {"table": name, "curves": len(curves.groupby(["source", "target"])),
             "seconds": time.perf_counter() - began}  # fmt: skip
    return {
        "about": about,
        "laws": table.assign(table=name).to_dict("records"),
        "law_claims": verdicts.assign(table=name).to_dict("records"),
    }


def keep(path: Path, content: object) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, default=float))


def gathered(files: list[Path], part: str) -> pd.DataFrame:
    """One part of all files as a table."""
    rows: list[dict[str, object]] = []
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))[part]
        rows += [content] if isinstance(content, dict) else content
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--work", type=Path, default=Path("build/published"), help="half-way files")
    words = Path("book/published/matrix/lexical.parquet")
    parser.add_argument("--texts", type=Path, default=words, help="lexical similarity of texts")
    parser.add_argument("--matrices", nargs="*", default=MATRICES)
    parser.add_argument("--curves", nargs="*", default=CURVES)
    parser.add_argument("--again", action="store_true", help="forget what was done before")
    chosen = parser.parse_args()
    texts = reading.pairs(chosen.texts)
    jobs = [(n, partial(of_matrix, n, texts), "m") for n in chosen.matrices]
    jobs += [(n, partial(of_curves, n), "c") for n in chosen.curves]
    done: dict[str, list[Path]] = {"m": [], "c": []}
    for name, work, kind in jobs:
        path = chosen.work / f"{kind}-{name}.json"
        if chosen.again or not path.is_file():
            keep(path, work())
            print(name, flush=True)
        done[kind].append(path)
    chosen.out.mkdir(parents=True, exist_ok=True)
    tables = {"matrices": gathered(done["m"], "about"), "curves": gathered(done["c"], "about")}
    tables |= {part: gathered(done["m"], part) for part in (*PARTS, "words")}
    tables |= {part: gathered(done["c"], part) for part in ("laws", "law_claims")}
    for name, table in tables.items():
        table.drop(columns="seconds", errors="ignore").to_csv(
            chosen.out / f"{name}.csv", index=False, float_format="%.5g", lineterminator="\n"
        )
    seconds = sum(t["seconds"].sum() for t in tables.values() if "seconds" in t)
    keep(chosen.out / "run.json", {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "versions": versions(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
