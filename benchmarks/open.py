"""Keep, check and repeat the open experiment (`experiments/open.yml`).

`python benchmarks/open.py leaks`   what was dropped from each language's text, and why
`python benchmarks/open.py keep`    scores, predictions and the table of models, for the book
`python benchmarks/open.py check`   every kept score again, from the kept predictions and the data
`python benchmarks/open.py ship --model swe-azj --seed 0 --experiment open-web`
                                    that model, its card and a fingerprint of each line it read
`python benchmarks/open.py again --model swe-azj --seed 7`
                                    one model from nothing, with a seed of its own: where does it
                                    land beside the kept seeds?
`python benchmarks/open.py keep --experiment open-nano`
                                    the same of another experiment: `check` likewise
`python benchmarks/open.py align --experiment open-long`
                                    how often the nearest sentence is the translation, by model
`python benchmarks/open.py until --minutes 9 --experiment open-mini`
                                    what is missing, model by model, until the time is up; the same
                                    command goes on. For a machine that is lent for minutes.

Predictions are item ids and labels; no text of the data is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xltlib import scores
from xltlib.book import kept
from xltlib.data.cards import CARDS
from xltlib.data.fingerprints import READ, listed
from xltlib.data.text import cc100, held_out, original, utterances, without
from xltlib.explain.contrast import student
from xltlib.io import whole, write_text
from xltlib.languages import name
from xltlib.train import plan
from xltlib.train.config import Experiment, load
from xltlib.train.plan import Place, Run
from xltlib.train.probe import text_vectors
from xltlib.train.run import Worker, do_part, read_run, table_of, text_of

KEY = ["model", "task", "source", "target", "n_target", "seed"]


def leaks(exp: Experiment) -> pd.DataFrame:
    """A row a language: lines of either kind before dropping, and the share dropped."""
    rows = []
    for code in exp.languages:
        if code != original(code):
            continue
        held = held_out(exp.tasks, code)
        row: list[object] = [code, len(held)]
        for lines in (cc100(code)[: exp.text.lines], utterances(code, 0, 1)):
            kept = without(lines, held, code=code)
            row += [len(lines), 1 - len(kept) / max(1, len(lines))]
        rows.append(row)
    columns = ["language", "test_items", "web_lines", "web_dropped", "utterances",
               "utterances_dropped"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def predictions(exp: Experiment) -> pd.DataFrame:
    """What every run answered: `KEY`, item id, output."""
    place, tables = Place(exp), []
    for run in plan.runs(exp):
        own = pd.read_parquet(place.outputs(run))
        about = {"model": run.model, "task": run.task, "source": run.source, "seed": run.seed}
        tables.append(own.assign(**about))
    table = pd.concat(tables, ignore_index=True)[[*KEY, "id", "output"]]
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


def ship(exp: Experiment, model: str, seed: int, folder: Path) -> None:
    """Write a model as `from_pretrained` reads it, its card and what it read."""
    from xltlib.models.tiny import load as load_model
    from xltlib.models.tiny import save
    from xltlib.train.pretrain import Sampler
    from xltlib.train.recipes import PretrainRecipe

    place = Place(exp)
    told = json.loads((place.pretrained(seed, model) / "log.json").read_text())
    weights, tokenizer = load_model(place.pretrained(seed, model))
    recipe = {k: v for k, v in told["recipe"].items() if k != "seeds"}
    text = text_of(exp, model)
    fitted = Sampler(text, tokenizer, PretrainRecipe(**recipe)).lines
    read = listed({code: text[code][:n] for code, n in fitted.items()})
    with whole(folder) as temporary:
        save(weights, tokenizer, temporary)
        read.to_parquet(temporary / READ, index=False, compression="zstd")
        (temporary / "README.md").write_text(card(exp, told, read))
        (temporary / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")


def card(exp: Experiment, told: dict[str, Any], read: pd.DataFrame) -> str:
    """The model card."""
    lines = read.groupby("language", observed=True).size()
    rows = "".join(
        f"| {name(code)} | {n:,} | {told['read'][code]:,} |\n" for code, n in lines.items()
    )
    last = told["log"][-1]
    web = "CC-100 (Wenzek et al. 2020) and " if exp.text.lines else ""
    licence = f"\n{CARDS['cc100'].licence}\n" if exp.text.lines else ""
    shape = f"{exp.model.n_encoder} + {exp.model.n_decoder} layers, {exp.model.d_model} wide"
    return f"""# {told["known"]}, seed {told["seed"]}

A T5 of {told["parameters"]:,} parameters ({shape}),
pre-trained from nothing by span corruption on exactly the lines whose fingerprints are in
`{READ}`, and on nothing else. `recipe.json` has the settings. Its vocabulary was trained
on the text of all languages of the experiment.

| language | different lines | pieces read, an epoch |
|---|---|---|
{rows}
Text: {web}MASSIVE's training utterances (FitzGerald et al. 2023,
CC BY 4.0) without labels; lower case, no punctuation. Lines that share five words in a row with
a validation or test item of MASSIVE are not among them.
{licence}
Last loss {last["loss"]:.2f} nats a piece; embeddings: cosine of random pairs {last["cosine"]:.3f},
participation ratio {last["participation"]:.0f}; what the encoder passes on:
{100 * told["common"]:.0f} % common to all tokens, participation ratio {told["reading"]:.0f}.

For teaching and for measuring transfer. It knows very little of any language; what it says may be
wrong or unpleasant, as what it read may be.
"""


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


def until(exp: Experiment, minutes: float, seeds: Sequence[int]) -> int:
    """Do what is missing, a model's pre-training and its runs together, while time is left.

    Finished runs need no weights again: carry ``runs/`` and ``outputs/`` from one lent machine to
    the next, and leave ``pretrained/`` behind. Several processes may work at once, on seeds of
    their own. Returns the number of runs still missing.
    """
    end, place = time.monotonic() + 60 * minutes, Place(exp)
    worker = Worker(exp)
    groups: dict[tuple[str | None, int | None], list[Run]] = {}
    for run in plan.runs(exp):
        if not seeds or run.seed in seeds:
            groups.setdefault((run.known, run.pretrain_seed), []).append(run)
    longest = 0.0
    for (model, seed), runs in sorted(groups.items(), key=lambda g: g[0][1] or 0):
        missing = [r for r in runs if read_run(place.run(r)) is None]
        begin = time.monotonic()
        if missing and end - begin < 1.2 * longest:
            break
        if missing:
            do_part(exp, "vocabulary")
        if missing and seed is not None:
            do_part(exp, f"pretrain-{model}-{seed}")
        for run in missing:
            if time.monotonic() > end:
                break
            worker.do(run)
            print(f"{run.label}: {time.monotonic() - begin:.0f} s", flush=True)
        longest = max(longest, time.monotonic() - begin)
    left = [r for r in plan.runs(exp) if read_run(place.run(r)) is None]
    parts = sorted({plan.part_of(exp, r) for r in left})
    print(f"{len(left)} of {len(plan.runs(exp))} runs are missing {parts}")
    return len(left)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", choices=["leaks", "keep", "check", "ship", "again", "align", "until"]
    )
    parser.add_argument("--experiment", default="open")
    parser.add_argument("--folder", type=Path, help="default: book/published/EXPERIMENT")
    parser.add_argument("--model", default="swe-azj")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
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
    elif given.what == "ship":
        ship(exp, given.model, given.seed, given.folder / "model")
    elif given.what == "align":
        text = alignment(exp).to_csv(index=False, float_format="%.6g")
        write_text(given.folder / "aligned.csv", text)
    elif given.what == "again":
        print(again(exp, given.model, given.seed, given.folder).to_string(index=False))
    else:
        return int(until(exp, given.minutes, given.seeds) > 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
