"""Keep, check and repeat the open experiment (`experiments/open.yml`).

`python benchmarks/open.py leaks`   what was dropped from each language's text, and why
`python benchmarks/open.py keep`    scores, predictions and the table of models, for the book
`python benchmarks/open.py check`   every kept score again, from the kept predictions and the data
`python benchmarks/open.py again --model swe-azj --seed 7`
                                    one model from nothing, with a seed of its own: where does it
                                    land beside the kept seeds?
`python benchmarks/open.py check --experiment open-long`
                                    the same of another experiment: `keep` likewise
`python benchmarks/open.py align --experiment open-long`
                                    how often the nearest sentence is the translation, by model

Predictions are item ids and labels; no text of the data is kept.
"""

from __future__ import annotations

import argparse
import sys
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xltlib import scores
from xltlib.book import kept
from xltlib.data.text import held_out, original, utterances, without
from xltlib.explain.contrast import student
from xltlib.io import whole, write_text
from xltlib.train import plan
from xltlib.train.config import Experiment, load
from xltlib.train.plan import Place
from xltlib.train.probe import text_vectors
from xltlib.train.run import do_part, read_run, table_of
from xltlib.train.worker import Worker

KEY = ["model", "task", "source", "target", "n_target", "seed"]


def leaks(exp: Experiment) -> pd.DataFrame:
    """A row a language: its utterances before dropping, and the share dropped."""
    rows = []
    for code in exp.languages:
        if code != original(code):
            continue
        held, lines = held_out(exp.tasks, code), utterances(code)
        kept = without(lines, held, code=code)
        rows.append((code, len(held), len(lines), 1 - len(kept) / max(1, len(lines))))
    columns = ["language", "test_items", "utterances", "utterances_dropped"]
    return pd.DataFrame(rows, columns=columns)


def correct(exp: Experiment, table: pd.DataFrame) -> pd.Series:
    """Whether each output of `predictions` is right, by the data's own labels."""
    worker, found = Worker(exp), pd.Series(False, index=table.index)
    for (task, target, seed), own in table.groupby(["task", "target", "seed"], observed=True):
        of, tests = exp.task(str(task)), worker.tests(str(task), str(target), int(seed))
        metric, known = of.metrics[of.metric], {e.id: e for e in tests}
        told = [(str(o), known[i]) for o, i in zip(own["output"], own["id"], strict=True)]
        found[own.index] = [metric(of.postprocess(o, e), e)[0] > 0 for o, e in told]
    return found


def predictions(exp: Experiment) -> pd.DataFrame:
    """What every run answered: `KEY`, item id, output, and whether it is right."""
    place, tables = Place(exp), []
    for run in plan.runs(exp):
        own = pd.read_parquet(place.outputs(run))
        about = {"model": run.model, "task": run.task, "source": run.source, "seed": run.seed}
        tables.append(own.assign(**about))
    table = pd.concat(tables, ignore_index=True)[[*KEY, "id", "output"]]
    table["correct"] = correct(exp, table)
    return table.astype({c: "category" for c in ("model", "task", "source", "target", "output")})


def keep(exp: Experiment, folder: Path) -> None:
    """Write the kept files, each whole or not at all."""
    place = Place(exp)
    for made in (place.scores(), *([place.pairs()] if len(exp.sources) > 1 else [])):
        with whole(folder / made.name) as temporary:
            temporary.write_bytes(made.read_bytes())
    with whole(folder / "predictions.parquet") as temporary:
        predictions(exp).to_parquet(temporary, index=False, compression="zstd")
    models = kept.pretrained(exp)
    write_text(folder / "models.csv", models.to_csv(index=False, float_format="%.6g"))


def check(exp: Experiment, folder: Path) -> int:
    """Number of kept scores that the kept predictions do not give again."""
    worker = Worker(exp)
    runs = {(r.model, r.task, r.source, r.seed): r for r in plan.runs(exp)}
    rows = []
    table = pd.read_parquet(folder / "predictions.parquet")
    for cell, own in table.groupby(KEY, sort=False, observed=True):
        model, task, source, target, n, seed = cell
        outputs = own.set_index("id")["output"].astype(str)
        ordered = [outputs[e.id] for e in worker.tests(task, target, seed)]
        rows += worker.rows(runs[model, task, source, seed], target, int(n), ordered)
    made, kept = scores.check(table_of(rows)), scores.read(folder / "scores.parquet")
    key = [*KEY, *(["target_set"] if "target_set" in kept else []), "metric"]  # clones have a set
    again, kept = made.set_index(key)["score"], kept.set_index(key)["score"]
    return int((~(again.reindex(kept.index) - kept).abs().lt(1e-12)).sum())


def again(exp: Experiment, model: str, seed: int, folder: Path) -> pd.DataFrame:
    """One model from nothing beside the kept seeds: zero-shot mean by similarity class, in points.

    ``low, high``: where one more seed is expected in 95 of 100 cases (Student's t).
    """
    fresh = load(exp.name, [f"seeds=[{seed}]", f"pretrain.seeds=[{seed}]"])
    runs = [r for r in plan.runs(fresh) if r.model == model]
    for part in ["vocabulary", f"pretrain-{model}-{seed}"]:
        do_part(fresh, part)
    records = [read_run(Place(fresh).run(r)) or Worker(fresh).do(r) for r in runs]
    new = table_of([row for record in records for row in record["scores"]])
    related = kept.relatives(["swe-dan", "tur-azj"])
    by_seed = []
    for table in (scores.read(folder / "scores.parquet"), new):
        rows = table[(table["n_target"] == 0) & (table["metric"] == "accuracy")]
        rows = kept.with_class(rows, {model: exp.known[model].languages}, related)
        by_seed.append(100 * rows.groupby(["similarity_class", "seed"])["score"].mean().unstack())
    old, n = by_seed[0], by_seed[0].shape[1]
    ends = [student(own.to_numpy()) for _, own in old.iterrows()]
    mean, low, high = (pd.Series(e, index=old.index) for e in zip(*ends, strict=True))
    wider = (n + 1) ** 0.5  # of one more seed, not of the mean
    return pd.DataFrame(
        {"kept": mean, "low": mean - wider * (mean - low), "high": mean + wider * (high - mean),
         "again": by_seed[1].iloc[:, 0]}
    ).reset_index()  # fmt: skip


def alignment(exp: Experiment, items: int = 400) -> pd.DataFrame:
    """How often the nearest sentence of another language is the translation, before fine-tuning.

    Of the encoder's output for the same `items` validation items in every language, each model as
    pre-training left it; and of weights of character n-grams, which know no language.

    Returns
    -------
    DataFrame
        ``known, seed, source, target, share`` (`retrieved`, 0 to 1) and ``n``: chance is 1/n.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from transformers import AutoTokenizer

    from xltlib.models.compute import device
    from xltlib.models.tiny import load as load_model

    place, of, codes = Place(exp), exp.task(next(iter(exp.tasks))), exp.languages
    found = {c: of.source(codes, c, "validation", items, 0) for c in codes}
    same = sorted(set.intersection(*({e.id for e in own} for own in found.values())))
    by_id = {c: {e.id: e.fields["text"] for e in own} for c, own in found.items()}
    texts = {c: [own[i] for i in same] for c, own in by_id.items()}
    tokenizer = AutoTokenizer.from_pretrained(place.vocabulary())
    rows: list[tuple[Any, ...]] = []
    for known, seed in product(exp.known, exp.pretrain.seeds):
        model: Any = load_model(place.pretrained(seed, known))[0]
        model.to(device())
        states = {c: text_vectors(model, tokenizer, own) for c, own in texts.items()}
        for one, other in permutations(exp.known[known].languages, 2):
            rows.append((known, seed, one, other, retrieved(states[one], states[other])))
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    grams.fit(text for own in texts.values() for text in own)
    states = {c: grams.transform(own).toarray() for c, own in texts.items()}
    for one, other in permutations(codes, 2):
        rows.append(("char-ngram", 0, one, other, retrieved(states[one], states[other])))
    columns = ["known", "seed", "source", "target", "share"]
    return pd.DataFrame(rows, columns=columns).assign(n=len(same))


def retrieved(one: np.ndarray, other: np.ndarray) -> float:
    """Share of rows of `one` whose nearest row of `other`, by cosine, is the one of its number.

    Each side is centred first: what sets a language as a whole apart does not count.
    """
    sides = [side - side.mean(0) for side in (one, other)]
    units = [side / np.linalg.norm(side, axis=1, keepdims=True).clip(1e-12) for side in sides]
    return float(((units[0] @ units[1].T).argmax(1) == np.arange(len(one))).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["leaks", "keep", "check", "again", "align"])
    parser.add_argument("--experiment", default="open")
    parser.add_argument("--folder", type=Path, help="default: book/published/EXPERIMENT")
    parser.add_argument("--model", default="swe-azj")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    exp = load(given.experiment)
    given.folder = given.folder or Path("book/published") / exp.name
    if given.what == "leaks":
        table = leaks(exp)
        print(table.to_string(index=False, float_format="%.4f"))
        write_text(given.folder / "leaks.csv", table.to_csv(index=False, float_format="%.4g"))
    elif given.what == "keep":
        keep(exp, given.folder)
    elif given.what == "check":
        wrong = check(exp, given.folder)
        print(f"{wrong} kept scores are not what the kept predictions give")
        return int(wrong > 0)
    elif given.what == "align":
        text = alignment(exp).to_csv(index=False, float_format="%.6g")
        write_text(given.folder / "aligned.csv", text)
    else:
        print(again(exp, given.model, given.seed, given.folder).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
