"""A stage that does something else needs a new version: tiny runs beside what was kept of them.

The keys of runs hold versions of stages and tasks (`xltlib.train.plan.STAGES`, `Task.version`), not
the code. Here the same work is done again, small, and compared with ``golden.json``. Where a result
differs, either it should not, or the version of that stage rises by one and

    python tests/test_golden.py

keeps the new results; it refuses while the version is the old one.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="golden runs need xltlib[train]")

from encoders import save_tiny  # noqa: E402

from xltlib.data import datasets, text  # noqa: E402
from xltlib.data.datasets import samples  # noqa: E402
from xltlib.models import features  # noqa: E402
from xltlib.tasks import TASKS  # noqa: E402
from xltlib.tasks.public import PUBLIC, plain_task  # noqa: E402
from xltlib.train.config import PACKAGES, Experiment, load  # noqa: E402
from xltlib.train.plan import STAGES, Place, digest, parts, runs, versions  # noqa: E402
from xltlib.train.run import do_part, finished, read_run  # noqa: E402
from xltlib.train.worker import text_of  # noqa: E402

GOLDEN = Path(__file__).with_name("golden.json")
# What else makes a stage's results: if that changed, so do they.
AFTER = {
    "examples": (), "text": (), "tasks": (), "baselines": ("tasks",), "vocabulary": ("text",),
    "model": ("vocabulary",), "pretrain": ("model",), "finetune": ("tasks", "pretrain"),
    "answers": ("finetune",), "features": (), "probe": ("features", "tasks"),
    "decoder": ("tasks", "finetune"),
    "tables": ("answers", "baselines"),
}  # fmt: skip
MICRO = """
title: Two languages, a dozen steps
languages: [eng, rus]
sources: [eng]
seeds: [0]
text: {lines: 100}
model: {vocab_size: 300, d_model: 16, d_ff: 32, n_heads: 2, n_encoder: 1}
pretrain: {steps: 8, batch: 8}
recipe: {steps: 8, batch: 8}
tasks:
  entity_type: {scratch: {steps: 4}, train_items: 40, validation_items: 8, test_items: 16}
  ner: {scratch: {steps: 4}, train_items: 40, validation_items: 8, test_items: 16}
  qa: {scratch: {steps: 4}, train_items: 40, validation_items: 8, test_items: 16}
fewshot: {pairs: [[eng, rus]], n: [4], steps: 2}
controls: {scratch: [eng], shuffled: [eng], ngram: [eng], seeds: 1}
"""
PROBED = """
title: Two languages, probed
model: {{kind: encoder, name: {name}, source: hub, layer_seeds: 1}}
languages: [eng, rus]
sources: [eng]
seeds: [0]
tasks:
  entity_type: {{pool: 40, train_items: 30, validation_items: 16, test_items: 16}}
  ner: {{pool: 40, train_items: 30, validation_items: 16, test_items: 16}}
fewshot: {{pairs: [[eng, rus]], n: [4]}}
"""
DECODED = """
title: Two languages, text to text
model: {{kind: encoder, use: text2text, name: {name}, source: hub}}
languages: [eng, rus]
sources: [eng]
seeds: [0]
recipe: {{steps: 3, evaluations: 1, batch: 8, encoder_lr: 0.1, precision: float32, dropout: 0.0}}
tasks:
  entity_type: {{pool: 40, train_items: 24, validation_items: 4, test_items: 8}}
  ner: {{pool: 40, train_items: 24, validation_items: 4, test_items: 8}}
controls: {{scratch: [eng], seeds: 1}}
"""
LINE = "He left. When the sun rose over the hill, nobody was there to see www.it.org"


def measured(folder: Path) -> dict[str, Any]:
    """What every stage does: digests of what is exact, numbers of what is about the same."""
    path = folder / "micro.yml"
    path.write_text(MICRO)
    exp = load(str(path))
    for part in parts(exp):
        do_part(exp, part.name)
    place = Place(exp)
    records = {run: read_run(place.run(run)) or {} for run in runs(exp)}
    networks = {r: record for r, record in records.items() if r.condition != "ngram"}
    told = json.loads((place.pretrained(0) / "log.json").read_text())
    pairs = pd.read_parquet(place.pairs()).select_dtypes("number")
    said = {run: pd.read_parquet(place.outputs(run))["output"] for run in records}
    return {
        "text": digest([text_of(exp), text.plain(LINE), text.written("a b", "eng_Zzzz")]),
        "examples": digest(_public_examples(folder)),
        "tasks": {**_tasks(exp), **{f"plain {n}": _task(plain_task(n)) for n in PLAIN}},
        "vocabulary": digest(_vocabulary(place.vocabulary())),
        "model": [float(told["parameters"]), *_fresh(exp)],
        "pretrain": [told["log"][-1][k] for k in ("loss", "lr", "cosine")],
        "finetune": {r.label: [e["loss"] for e in f["log"]] for r, f in networks.items()},
        "answers": {r.label: _some(said[r]) for r in networks},
        **_probed(folder),
        "decoder": _decoded(folder),
        "baselines": {r.label: _some(said[r]) for r in records.keys() - networks.keys()},
        "tables": {
            "columns": [*finished(exp)[0].columns, *pairs.columns],
            "pairs": pairs.mean().tolist(),
        },
    }


def _probed(folder: Path) -> dict[str, Any]:
    """What an encoder's features are, and what heads on them answer."""
    path = folder / "probed.yml"
    path.write_text(PROBED.format(name=save_tiny(folder / "tiny-encoder")))
    exp = load(str(path))
    for part in parts(exp):
        do_part(exp, part.name)
    place = Place(exp)
    vectors = [
        features.read(place.features(t, c)).vectors for t in exp.tasks for c in exp.languages
    ]
    said = {r.label: pd.read_parquet(place.outputs(r))["output"] for r in runs(exp)}
    return {
        "features": [float(np.abs(v).astype(float).mean()) for v in vectors],
        "probe": {label: _some(outputs) for label, outputs in said.items()},
    }


def _decoded(folder: Path) -> dict[str, list[float]]:
    """How an encoder with a new decoder learns, pre-trained and not."""
    path = folder / "decoded.yml"
    path.write_text(DECODED.format(name=folder / "tiny-encoder"))
    exp = load(str(path))
    for part in parts(exp):
        do_part(exp, part.name)
    records = {run.label: read_run(Place(exp).run(run)) or {} for run in runs(exp)}
    return {label: [e["loss"] for e in record["log"]] for label, record in records.items()}


PLAIN = ("massive_intent", "massive_slots")


def _some(outputs: pd.Series) -> list[str]:
    return [str(o)[:60] for o in outputs[::4]]


def _vocabulary(folder: Path) -> Any:
    return json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]


def _fresh(exp: Experiment) -> list[float]:
    from transformers import AutoTokenizer

    from xltlib.models.tiny import build

    tokenizer = AutoTokenizer.from_pretrained(Place(exp).vocabulary())
    weights = build(exp.shape, tokenizer, 0).parameters()
    return [float(w.detach().abs().mean()) for w in list(weights)[:6]]


def _public_examples(folder: Path) -> list[str]:
    """Ids that a user's own file gives, in the order in which they come."""
    path = folder / "train.csv"
    path.write_text("text,label\n" + "".join(f"goal {i},sports\n" for i in range(9)))
    files = {"train": {"path": str(path), "format": "csv"}}
    own = datasets.own_files("sib200", {"gsw": files})
    return [
        e.id
        for seed in (0, 1)
        for e in datasets.examples("sib200", ("gsw",), "gsw", "train", 5, seed, own=own)
    ]


def _tasks(exp: Experiment) -> dict[str, Any]:
    """Of every task its forms and scores, of examples and of made-up samples."""
    found = {}
    for name, of in TASKS.items():
        examples = [
            e
            for split in ("train", "validation", "test")
            for e in of.source(exp.languages, "rus", split, 3, 1)
        ]
        found[name] = _task(of, examples)
    return found | {name: _task(of) for name, of in PUBLIC.items()}


def _task(of: Any, examples: Iterable[Any] = ()) -> dict[str, Any]:
    examples = list(examples) or samples(of.name)
    texts = [of.preprocess(e) for e in examples]
    targets = [target for _, target in texts]
    scores = [
        {m: round(s.score, 9) for m, s in of.evaluate(outputs, examples).items()}
        for outputs in (targets, targets[::-1], ["nothing"] * len(texts))
    ]
    shuffled = [of.preprocess(e)[1] for e in of.shuffle(examples, 1)]
    does = digest([of.max_target, of.chance, texts, shuffled, scores])
    return {"version": of.version, "does": does}


def same(one: Any, other: Any) -> bool:
    """Equal; numbers to a thousandth and texts for the most part, for processors differ."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and len(one) == len(other) > 0:
        if isinstance(one[0], str):
            return sum(a == b for a, b in zip(one, other, strict=True)) >= 0.9 * len(one)
        return bool(np.allclose(one, other, rtol=2e-3, atol=1e-4))
    return bool(one == other)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_BUILD", str(folder))
        return measured(folder)


@pytest.mark.parametrize("stage", AFTER)
def test_a_stage_does_what_its_version_says(stage: str, found: dict[str, Any]) -> None:
    golden = json.loads(GOLDEN.read_text())
    if golden["packages"] != versions(PACKAGES):
        pytest.skip("kept with other versions of packages, which are in every key")
    assert golden["stages"] == STAGES, f"keep the new version's results: python {__file__}"
    assert same(found[stage], golden[stage]), (
        f"{stage} does something else than version {STAGES.get(stage, 'of the task')} did: undo "
        "that, or raise its version in xltlib/train/plan.py (of a task: beside it) and keep the "
        f"new results with `python {__file__}`"
    )


def test_every_stage_is_watched() -> None:
    assert AFTER.keys() - {"tasks"} == STAGES.keys()


def keep() -> None:
    """Write what is measured, unless a stage changed and no version with it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLT_BUILD"] = folder
        new = {"packages": versions(PACKAGES), "stages": STAGES, **measured(Path(folder))}
    old = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"stages": {}, "packages": {}}
    if old["packages"] == new["packages"]:
        risen = {s for s in STAGES if STAGES[s] != old["stages"].get(s)}
        for name, of in new["tasks"].items():
            was = old["tasks"].get(name, {})
            risen |= {"tasks"} if of["version"] != was.get("version") else set()
            if of["does"] != was.get("does") and of["version"] == was.get("version"):
                sys.exit(f"task {name} differs: raise its version first")
        for stage in AFTER:
            if (
                stage in old
                and not same(new[stage], old[stage])
                and not risen & {stage, *_before(stage)}
            ):
                sys.exit(f"{stage} differs: raise STAGES[{stage!r}] in xltlib/train/plan.py first")
    GOLDEN.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n")


def _before(stage: str) -> set[str]:
    return {s for one in AFTER[stage] for s in (one, *_before(one))}


if __name__ == "__main__":
    keep()
