"""What a cell costs, beside what transformers offers: pairs in turn, CPU time, equal quality.

    python benchmarks/speed.py --out build/speed.jsonl [--only train-all ...] [--pairs 5]
    python benchmarks/speed.py --table build/speed.jsonl --out book/speed.csv
    python benchmarks/speed.py --scaling --out book/speed_scaling.csv
    python benchmarks/speed.py --figure book/speed.csv book/speed_scaling.csv --out book/speed.svg

Both sides have the same data, start, optimizer, schedule, number of updates, precision and one
thread, and take turns in one process after one run of each to warm up, so that what else the
machine does meets both. The other side is `Seq2SeqTrainer` with fused AdamW and batches grouped by
length; it answers by `predict_with_generate` in batches of 64. Where the quality differs by more
than a tolerance the run fails.

One JSON line a pair: CPU and wall seconds of both sides, their quality, machine, versions, date.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from matplotlib.ticker import FixedLocator
from tqdm import tqdm

from xltlib import io
from xltlib.book import style
from xltlib.data import Example
from xltlib.data.cldr import lines
from xltlib.models import ModelShape, compute, encoder, features, tiny
from xltlib.tasks import TASKS
from xltlib.tasks.base import Task
from xltlib.tasks.embedded import WORDS
from xltlib.tasks.public import PUBLIC
from xltlib.train import probe
from xltlib.train.finetune import (
    Lesson,
    finetune,
    freeze,
    optimizer_of,
    rate_of,
    take_step,
    together,
)
from xltlib.train.generate import answers
from xltlib.train.recipes import TINY, Recipe

LANGUAGES = ("eng", "deu", "tur", "rus")
SMALL = ModelShape()  # 0.5 million parameters
LARGE = ModelShape(8000, 384, 1024, 6, 6, 2)  # 18 million
LEARN = replace(TINY, steps=80, evaluations=0, weight_decay=0.1, precision="float32")
ENCODED, TOLD, UPDATES = 96, 32, 4  # texts and updates of a pair, where the whole takes hours


@dataclass
class Side:
    """What is timed, and how good its result is, which is not timed."""

    work: Callable[[], Any]
    quality: Callable[[Any], float]
    models: int = 1  # made at once: seconds are those of one


@dataclass
class Pair:
    """Ours, theirs, how far their qualities may be apart, and FLOPs of matrix products of one."""

    ours: Side
    theirs: Side
    tolerance: float
    flops: float = 0.0
    about: str = ""


# ---------------------------------------------------------------- transformers' side


def trainer(model: Any, tokenizer: Any, recipe: Recipe, **more: Any) -> Any:
    """`Seq2SeqTrainer` with the recipe's optimizer and schedule."""
    arguments = transformers.Seq2SeqTrainingArguments(
        output_dir=tempfile.gettempdir(), max_steps=recipe.steps, seed=0, use_cpu=True,
        per_device_train_batch_size=recipe.batch, per_device_eval_batch_size=64, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, predict_with_generate=True,
        dataloader_pin_memory=False, **more,
    )  # fmt: skip
    optimizer = optimizer_of(model, recipe)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_of(recipe, step) / recipe.lr
    )
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, model, pad_to_multiple_of=None)
    return _SameOrder(
        model, arguments, collator, optimizers=(optimizer, rate), processing_class=tokenizer
    )


class _SameOrder(transformers.Seq2SeqTrainer):
    """Takes examples in our order, which groups lengths as its own would."""

    order: Sequence[int] = ()

    def _get_train_sampler(self, *_: Any) -> Any:
        return self.order


def rows(tokenizer: Any, task: Task, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Examples as the Trainer reads them."""
    sides = zip(*(task.preprocess(e) for e in examples), strict=True)
    inputs, targets = (compute.encode(tokenizer, side)[0] for side in sides)
    return [
        {"input_ids": a.tolist(), "attention_mask": [1] * len(a), "labels": b.tolist()}
        for a, b in zip(inputs, targets, strict=True)
    ]


def loss_on(model: Any, data: list[dict[str, Any]]) -> float:
    """Mean loss of target tokens, computed by transformers' own model."""
    model.eval()
    source = compute.pad([np.array(r["input_ids"]) for r in data], 0)
    labels = compute.pad([np.array(r["labels"]) for r in data], -100)
    with torch.inference_mode():
        return float(model(input_ids=source, attention_mask=source != 0, labels=labels).loss)


# ---------------------------------------------------------------- training


def small(shape: ModelShape = SMALL) -> tuple[Any, Any]:
    """A model with fresh weights, and its tokenizer."""
    text = [line for code in LANGUAGES for line in lines(code, 2000)]
    tokenizer = tiny.train_tokenizer(text, shape.vocab_size, WORDS)
    return tiny.build(shape, tokenizer), tokenizer


def training(of: str, shape: ModelShape, recipe: Recipe, n: int, beside: int = 1) -> Pair:
    """Fine-tuning on entities of English text (CLDR): their types, or all in a text.

    Ours with `beside` models that learn side by side, of as many seeds, as an experiment's do.
    """
    start, tokenizer = small(shape)
    task = TASKS[of]
    train, held = (task.source(LANGUAGES, "eng", s, n, 0) for s in ("train", "validation"))
    held_rows = rows(tokenizer, task, held)

    def mine() -> Any:
        models = [copy.deepcopy(start) for _ in range(beside)]
        if beside == 1:
            finetune(models[0], tokenizer, task, train, [], recipe)
        else:
            lessons = [Lesson(m, train, [], recipe, seed) for seed, m in enumerate(models)]
            together(lessons, tokenizer, task)
        return models[0]

    def stock() -> Any:
        model = copy.deepcopy(start)
        freeze(model, recipe)
        data = rows(tokenizer, task, train)
        theirs = trainer(model, tokenizer, recipe)
        theirs.train_dataset = data
        lengths = [len(r["input_ids"]) for r in data]
        rng = np.random.default_rng([0, 29])  # as `finetune` with its seed
        while len(theirs.order) < recipe.steps * recipe.batch:
            more = [i for batch in compute.epoch(lengths, recipe.batch, rng) for i in batch]
            theirs.order = [*theirs.order, *more]
        theirs.train()
        return model

    def quality(model: Any) -> float:
        return loss_on(model, held_rows)

    tokens = [(len(r["input_ids"]), len(r["labels"])) for r in rows(tokenizer, task, train)]
    a, b = np.mean(tokens, 0)
    learned = recipe.freeze != "encoder"
    flops = recipe.steps * recipe.batch * step_flops(start, a, b, learned)
    about = f"{sum(w.numel() for w in start.parameters()) / 1e6:.1f}M parameters, {recipe.steps} "
    about += f"updates of {recipe.batch} texts of {a:.0f} and {b:.0f} tokens"
    about += f", {beside} side by side" if beside > 1 else ""
    return Pair(Side(mine, quality, beside), Side(stock, quality), 0.01, flops, about)


def step_flops(model: Any, source: float, target: float, encoder_learns: bool = True) -> float:
    """FLOPs of the products of an example's way forward and back, attention's scores apart.

    Twice the weights times tokens, and twice that on the way back; a frozen encoder's states can be
    made once, and count nothing.
    """
    parts = {"encoder": 0, "decoder": 0, "lm_head": 0}
    for name, weight in model.named_parameters():
        part = name.split(".")[0]
        if part in parts and weight.dim() == 2 and "bias" not in name and "embed" not in name:
            parts[part] += weight.numel()
    crossed = sum(w.numel() for n, w in model.named_parameters() if "EncDecAttention.k" in n) + sum(
        w.numel() for n, w in model.named_parameters() if "EncDecAttention.v" in n
    )
    decoded = (parts["decoder"] - crossed + parts["lm_head"]) * target + crossed * source
    return 6 * (decoded + (parts["encoder"] * source if encoder_learns else 0))


# ---------------------------------------------------------------- answering


def answering(task: Task, code: str, n: int, learn: int, among: bool, beside: int = 1) -> Pair:
    """Answers of a model that has learnt the task a little, beside `predict_with_generate`.

    With `beside`, as many models of one frozen encoder answer in turn: it reads each text once.
    """
    pool = [task.source((code,), code, s, k, 0) for s, k in (("train", 2000), ("test", n))]
    train, test = pool
    if task.name in TASKS:
        model, tokenizer = small()
    else:
        text = [side for e in train for side in task.preprocess(e)]
        tokenizer = tiny.train_tokenizer(text, SMALL.vocab_size)
        model = tiny.build(SMALL, tokenizer)
    finetune(model, tokenizer, task, train, [], replace(TINY, steps=learn, evaluations=0,
                                                        freeze="nothing"))  # fmt: skip
    texts = [task.preprocess(e)[0] for e in test]
    most = max(len(r["labels"]) for r in rows(tokenizer, task, train))
    recipe = replace(TINY, micro_tokens=2**13)
    labels = task.labels if among else ()

    def mine() -> list[str]:
        kept: dict[bytes, Any] = {}
        for _ in range(beside):
            out = answers(model, tokenizer, texts, recipe, most=most, labels=labels, kept=kept)
        return out

    def stock() -> list[str]:
        theirs = trainer(model, tokenizer, recipe, generation_max_length=most + 1)
        out = theirs.predict(rows(tokenizer, task, test)).predictions
        return [compute.decode(model, tokenizer, row[row >= 0].tolist()) for row in out[:, 1:]]

    def quality(outputs: list[str]) -> float:
        return task.evaluate(outputs, test)[task.metric].score

    about = f"{n} texts" + (f", {beside} models of one encoder" if beside > 1 else "")
    return Pair(Side(mine, quality, beside), Side(stock, quality), 0.02, about=about)


def intents() -> Task:
    """MASSIVE's intents, with 60 labels of several pieces each."""
    return PUBLIC["massive_intent"]


# ---------------------------------------------------------------- how it grows


def grown(sizes: Sequence[int] = (1, 2, 4, 8), repeats: int = 3) -> pd.DataFrame:
    """CPU seconds of what a matrix is made of, against how much of it there is.

    Sources: models that learn side by side. Targets: test sets answered, of other texts. Examples:
    texts of one test set. Length: as many texts in one. The least of some repeats, so that what
    else the machine does counts little.
    """
    start, tokenizer = small()
    task, recipe = TASKS["entity_type"], replace(LEARN, steps=20, freeze="encoder")
    train = task.source(LANGUAGES, "eng", "train", 512, 0)
    test = task.source(LANGUAGES, "eng", "test", 256 * max(sizes), 0)
    texts = [task.preprocess(e)[0] for e in test]

    def tell(told: list[str]) -> Any:
        return answers(start, tokenizer, told, TINY, most=task.max_target)

    def learn(n: int) -> Any:
        lessons = [Lesson(copy.deepcopy(start), train, [], recipe, seed) for seed in range(n)]
        return together(lessons, tokenizer, task)

    work = {
        "sources": learn,
        "targets": lambda n: [tell(texts[i * 256 : (i + 1) * 256]) for i in range(n)],
        "examples": lambda n: tell(texts[: 256 * n]),
        "length": lambda n: tell([" ".join(texts[i : i + n]) for i in range(256)]),
    }
    found = []
    for what, of in work.items():
        of(1)
        for n in sizes:
            took = []
            for _ in range(repeats):
                at = time.process_time()
                of(n)
                took.append(time.process_time() - at)
            found.append({"what": what, "times": n, "seconds": min(took)})
    return pd.DataFrame(found)


def exponents(curves: pd.DataFrame) -> pd.DataFrame:
    """A row a curve: seconds at each size, and the exponent fitted to their logarithms."""
    wide = curves.pivot(index="what", columns="times", values="seconds")
    wide = wide.loc[curves["what"].unique()]
    x = np.log(wide.columns.to_numpy(float))
    fitted = np.polyfit(x, np.log(wide.to_numpy()).T, 1)[0]
    return wide.add_prefix("x ").assign(exponent=fitted).round(3).reset_index()


# ---------------------------------------------------------------- probes


def probing() -> Pair:
    """20 sources, 20 targets, 3 seeds: parts of what each side does are timed and scaled.

    Ours encodes 2,800 texts (2,000 to learn from, 300 and 500) of each of 20 languages once and
    fits 60 heads. Theirs fine-tunes 60 encoders with a head on 2,000 texts, 3 epochs in batches of
    32, and predicts 20 x 500 texts with each.
    """
    task, (model, tokenizer) = intents(), encoder.load()
    train = task.source(("eng",), "eng", "train", 2000, 0)
    texts = [e.fields["text"] for e in train]
    labels = [e.fields["label"] for e in train]
    number = {label: i for i, label in enumerate(sorted(set(labels)))}
    vectors = np.random.default_rng(0).normal(size=(2000, model.config.hidden_size))
    vectors += np.random.default_rng(1).normal(size=(60, vectors.shape[1]))[
        [number[x] for x in labels]
    ]

    def mine() -> dict[str, float]:
        took = {}
        with tempfile.TemporaryDirectory() as folder:
            at = time.process_time()
            ids = [e.id for e in train[:ENCODED]]
            features.encode(
                model, tokenizer, "text", texts[:ENCODED], ids, (12,), Path(folder, "f")
            )
            took["encode"] = (time.process_time() - at) / ENCODED * 2800 * 20
        at = time.process_time()
        probe.fit(vectors.astype(np.float32), labels, 0.1)
        took["fit"] = (time.process_time() - at) * 60
        return took

    start = transformers.BertForSequenceClassification(
        copy.deepcopy(model.config).__class__(**{**model.config.to_dict(), "num_labels": 60})
    )
    start.bert.load_state_dict(model.state_dict(), strict=False)

    def stock() -> dict[str, float]:
        took, tuned = {}, copy.deepcopy(start)
        data = [
            {**tokenizer(t, truncation=True, max_length=128), "labels": number[x]}
            for t, x in zip(texts[: 32 * UPDATES], labels, strict=False)
        ]
        arguments = transformers.TrainingArguments(
            output_dir=tempfile.gettempdir(), max_steps=UPDATES, per_device_train_batch_size=32,
            per_device_eval_batch_size=32, report_to=[], save_strategy="no", use_cpu=True,
            logging_strategy="no", disable_tqdm=True, train_sampling_strategy="group_by_length",
            dataloader_pin_memory=False,
        )  # fmt: skip
        theirs = transformers.Trainer(
            tuned, arguments, train_dataset=data, processing_class=tokenizer,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        at = time.process_time()
        theirs.train()
        took["train"] = (time.process_time() - at) / UPDATES * math.ceil(2000 / 32) * 3 * 60
        at = time.process_time()
        theirs.predict(data[:TOLD])
        took["predict"] = (time.process_time() - at) / TOLD * 500 * 20 * 60
        return took

    def none(_: Any) -> float:
        return float("nan")  # two kinds of model: the book's chapters compare what they score

    about = "20 x 20 intents, 3 seeds, scaled up from parts"
    return Pair(Side(mine, none), Side(stock, none), math.inf, about=about)


# ---------------------------------------------------------------- memory

MT5_SMALL = dict(
    vocab_size=250_112, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_decoder_layers=8,
    num_heads=6, dropout_rate=0.0, feed_forward_proj="gated-gelu", decoder_start_token_id=0,
    pad_token_id=0,
)  # fmt: skip
TARGET = 16  # tokens: with 128 the Trainer's logits alone take three times 8 GB


def peak(side: str, shape: dict[str, Any], batch: int = 64, length: int = 128) -> float:
    """Peak memory (GB) above the start of one update at an mT5-small's shape, random weights.

    Both with Adafactor, whose state is small. Ours has 2,048 tokens in memory at one time; the
    Trainer all of the batch, as it does unless told to split it.
    """
    torch.manual_seed(0)
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = transformers.MT5ForConditionalGeneration(transformers.MT5Config(**shape))
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.05)
    rng = np.random.default_rng(0)
    data = [
        {"input_ids": rng.integers(3, shape["vocab_size"], length),
         "labels": rng.integers(3, shape["vocab_size"], TARGET)}
        for _ in range(batch)
    ]  # fmt: skip
    recipe = Recipe(steps=1, batch=batch, dropout=0.0, precision="float32")
    optimizer = optimizer_of(model, recipe)
    model.train()
    if side == "ours":
        sizes = [(length, TARGET)] * batch
        losses = (
            compute.loss(
                model, compute.pad([data[i]["input_ids"] for i in part], 0),
                compute.pad([data[i]["labels"] for i in part], -100), "float32", batch * TARGET,
            )
            for part in compute.split(range(batch), sizes, 2048)
        )  # fmt: skip
        take_step(optimizer, list(model.parameters()), recipe.lr, losses)
    else:
        arguments = transformers.Seq2SeqTrainingArguments(
            output_dir=tempfile.gettempdir(), max_steps=1, per_device_train_batch_size=batch,
            use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        transformers.Seq2SeqTrainer(
            model, arguments, transformers.default_data_collator, data, optimizers=(optimizer, rate)
        ).train()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin) / 2**20


# ---------------------------------------------------------------- running


def made(small_size: bool = False) -> dict[str, Callable[[], Pair]]:
    """The benchmarks by name; in small for a test."""
    few = dict(steps=6, batch=8) if small_size else {}
    learn, some = replace(LEARN, **few), 16 if small_size else 512
    big = replace(learn, steps=2 if small_size else 4, freeze="nothing", lr=1e-3)
    all_, still = replace(learn, freeze="nothing"), replace(learn, freeze="encoder")
    n = 40 if small_size else 1024  # whole batches in every window of lengths
    taught, beside = (8, 3) if small_size else (400, 12)
    return {
        "train-frozen": lambda: training("entity_type", SMALL, still, n, beside),
        "train-frozen-alone": lambda: training("entity_type", SMALL, still, n),
        "train-frozen-spans": lambda: training("ner", SMALL, still, n, beside),
        "train-all": lambda: training("ner", SMALL, all_, n, beside),
        "train-all-alone": lambda: training("ner", SMALL, all_, n),
        "train-18M": lambda: training("ner", LARGE, big, n),
        "answer-choose": lambda: answering(intents(), "eng", some, taught, True),
        "answer-label": lambda: answering(TASKS["entity_type"], "eng", some, taught, False, beside),
        "answer-label-alone": lambda: answering(TASKS["entity_type"], "eng", some, taught, False),
        "answer-spans": lambda: answering(TASKS["ner"], "eng", some, taught, False),
        "probes": probing,
    }


def timed(side: Side) -> dict[str, Any]:
    """CPU and wall seconds, and quality; where the work says what it took, that."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = side.work()
    took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    took = {clock: seconds / side.models for clock, seconds in took.items()}
    if isinstance(found, dict):
        took |= {"cpu": sum(found.values()), "parts": found}
    return {**took, "quality": side.quality(found)}


def peak_flops(n: int = 1024) -> float:
    """FLOPs a CPU second of a large float32 product on one thread, the best of ten."""
    one, best = torch.randn(n, n), 0.0
    for _ in range(10):
        at = time.process_time()
        one @ one
        best = max(best, 2 * n**3 / (time.process_time() - at))
    return best


def compared(name: str, pair: Pair, pairs: int) -> Iterator[dict[str, Any]]:
    """One record a pair, after one that warms up."""
    machine = {
        "machine": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "transformers": transformers.__version__, "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    for turn in range(pairs + 1):
        ours, theirs = timed(pair.ours), timed(pair.theirs)
        worse = theirs["quality"] - ours["quality"]
        if (abs(worse) if pair.flops else worse) > pair.tolerance:
            raise SystemExit(f"{name}: quality {ours['quality']:.3f} and {theirs['quality']:.3f}")
        if turn:
            limit = {"flops": pair.flops, "peak": peak_flops()} if pair.flops else {}
            yield {"benchmark": name, "about": pair.about, "ours": ours, "theirs": theirs,
                   **limit, **machine}  # fmt: skip


def processor() -> str:
    """The processor's name."""
    try:
        told = Path("/proc/cpuinfo").read_text()
        return next(x.split(":")[1].strip() for x in told.split("\n") if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(path: Path) -> pd.DataFrame:
    """Medians and ranges of the ratios, a row a benchmark."""
    found = pd.DataFrame(map(json.loads, path.read_text().splitlines()))
    made_ = []
    for name, own in found.groupby("benchmark", sort=False):
        cpu = {s: np.array([r["cpu"] for r in own[s]]) for s in ("ours", "theirs")}
        wall = {s: np.array([r.get("wall", np.nan) for r in own[s]]) for s in ("ours", "theirs")}
        ratio = cpu["theirs"] / cpu["ours"]
        row = {"benchmark": name, "what": own["about"].iloc[0], "pairs": len(own),
               "ours": np.median(cpu["ours"]), "theirs": np.median(cpu["theirs"]),
               "ratio": np.median(ratio), "least": ratio.min(), "most": ratio.max(),
               "ratio, wall": np.median(wall["theirs"] / wall["ours"])}  # fmt: skip
        if name == "probes":
            row["ratio, wall"] = np.nan  # scaled from parts
        quality = [np.median([r["quality"] for r in own[s]]) for s in ("ours", "theirs")]
        row |= dict(zip(("quality, ours", "quality, theirs"), quality, strict=True))
        if "flops" in own and own["flops"].notna().all():
            row["limit"] = (own["flops"] / own["peak"]).median()
        last = own.iloc[-1]
        row["measured"] = f"{last['date']}, {last['machine']}, torch {last['torch']}"
        made_.append(row)
    return pd.DataFrame(made_).round(3)


def shown(full: pd.DataFrame) -> pd.DataFrame:
    """What the book shows of the table: few columns, so that none is cut off."""
    ends = full[["ratio", "least", "most"]].itertuples(index=False)
    ratio = [f"{r:.2f} ({low:.2f} to {high:.2f})" for r, low, high in ends]
    both = full[["quality, ours", "quality, theirs"]].itertuples(index=False)
    quality = ["" if np.isnan(a) else f"{a:.3f}, {b:.3f}" for a, b in both]
    kept = full[["benchmark", "pairs", "ours", "theirs"]].assign(ratio=ratio, quality=quality)
    return kept.assign(limit=full["limit"], day=[m.split(",")[0] for m in full["measured"]])


@style.styled
def drawn(rates: pd.DataFrame, curves: pd.DataFrame) -> style.Card:
    """How many times cheaper than the Trainer, with the range of the pairs; and how it grows."""
    figure = style.Card(figsize=(style.WIDTH, 6.2))
    first, second = figure.subplots(2, 1)
    ends = rates["ratio"].str.extract(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)").astype(float)
    ratio, low, high = (ends[c].to_numpy() for c in ends)
    first.errorbar(ratio, rates["benchmark"], xerr=(ratio - low, high - ratio), fmt="o", ms=5)
    first.axvline(1, color="0.6", lw=1)
    first.set(xscale="log", xlabel="the Trainer's cost, as a multiple of ours", ylabel="")
    first.invert_yaxis()
    long = curves.melt(["what", "exponent"], var_name="times", value_name="seconds")
    long["times"] = long["times"].str.removeprefix("x ").astype(int)
    once = long[long["times"] == 1].set_index("what")["seconds"]
    long["seconds"] /= long["what"].map(once)
    long["of"] = [f"{r.what}, exponent {r.exponent:.2f}" for r in long.itertuples()]
    style.seaborn().lineplot(
        long, x="times", y="seconds", hue="of", style="of", markers=True, ax=second
    )
    second.plot([1, 8], [1, 8], color="0.6", lw=1, zorder=0)
    second.set(xscale="log", yscale="log", ylabel="seconds, as a multiple",
               xlabel="as many sources, targets, examples, or words in a text")  # fmt: skip
    second.legend(fontsize=7, title="")
    for axis in (first.xaxis, second.xaxis, second.yaxis):
        axis.set_major_locator(FixedLocator([1, 2, 4, 8, 16, 32]))
        axis.set_major_formatter("{x:g}")  # the style has no mathematics in labels
        axis.set_minor_formatter("")
    first.grid(True, axis="x")
    second.grid(True)
    return figure


def memory(pairs: int) -> Iterator[dict[str, Any]]:
    """One record a pair, each side in a process of its own; GB stand where seconds do elsewhere."""
    for _ in range(pairs):
        both = {}
        for side in ("ours", "theirs"):
            told = subprocess.run([sys.executable, __file__, "--peak", side], check=True,
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
            both[side] = {"cpu": float(told.stdout.split()[-1]), "quality": float("nan")}
        yield {"benchmark": "memory, GB", "about": f"mT5-small's shape, 64 x 128 and {TARGET}",
               **both, "machine": processor(), "torch": torch.__version__,
               "date": time.strftime("%Y-%m-%d")}  # fmt: skip


def main() -> None:
    """Time all or some, a line a pair; or make the table of what was timed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", choices=[*made(), "memory"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--scaling", action="store_true", help="how seconds grow, to --out")
    parser.add_argument("--figure", type=Path, nargs=2, help="of both tables, to --out")
    parser.add_argument("--peak", choices=["ours", "theirs"])
    given = parser.parse_args()
    compute.prepare_process()
    transformers.logging.set_verbosity_error()
    if given.peak:
        print(peak(given.peak, MT5_SMALL))
        return
    if given.scaling:
        content = exponents(grown())
        io.write_text(given.out, content.to_csv(index=False))
        print(content.to_string(index=False))
        return
    if given.table:
        content = table(given.table)
        io.write_text(given.out, shown(content).to_csv(index=False))
        print(content.to_string(index=False))
        return
    if given.figure:
        drawn(*map(pd.read_csv, given.figure)).save(given.out)
        return
    told: list[str] = []
    for name in given.only or [*made(), "memory"]:
        records = (
            memory(given.pairs) if name == "memory" else compared(name, made()[name](), given.pairs)
        )
        for record in tqdm(records, desc=name, total=given.pairs):
            told.append(json.dumps(record))
            io.write_text(given.out, "\n".join(told) + "\n")
    print(table(given.out).to_string(index=False))


if __name__ == "__main__":
    main()
