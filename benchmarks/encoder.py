"""What a transfer matrix costs: encoded once, beside the stock way, in one run on one core.

    python benchmarks/encoder.py                  # 20 x 20 languages, about ten minutes
    python benchmarks/encoder.py --languages 4 --train 100 --test 30

The stock way is what a user would write: for each source the tokenizer and model of transformers in
float32, batches of 32 in the order of the data, features of the source's training and of every
target's test items, scikit-learn's regression on them. Ours encodes every item once, sorted by
length, in bfloat16 where that is faster. Both see the same MASSIVE intents (fetched, or under
XLT_DATA). CPU seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xltlib.data import Example, datasets
from xltlib.models import compute, encoder, features
from xltlib.tasks.public import public_task
from xltlib.train import probe

LAYER, PENALTY = 12, 0.1
Split = dict[str, list[Example]]


def seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.process_time()
    return work(), time.process_time() - begin


def peak() -> float:
    """Billion operations a second of one core multiplying matrices of the encoder's size."""
    kind = torch.bfloat16 if compute.arithmetic("cpu", "bfloat16") == "bfloat16" else torch.float32
    a, b = torch.randn(1024, 384).to(kind), torch.randn(384, 1536).to(kind)
    a @ b
    _, spent = seconds(lambda: [a @ b for _ in range(300)])
    return 300 * 2 * 1024 * 384 * 1536 / spent / 1e9


def stock(model: Any, tokenizer: Any, train: Split, test: Split) -> np.ndarray:
    """Accuracy (source, target) the stock way."""

    def encode(examples: Sequence[Example]) -> np.ndarray:
        found = []
        for at in range(0, len(examples), 32):
            texts = [e.fields["text"] for e in examples[at : at + 32]]
            batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            with torch.no_grad():
                states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            found.append(((states * mask).sum(1) / mask.sum(1)).numpy())
        return np.concatenate(found)

    def labels(examples: Sequence[Example]) -> list[str]:
        return [e.fields["label"] for e in examples]

    scores = np.zeros((len(train), len(test)))
    for i, own in enumerate(train.values()):
        lines = LogisticRegression(C=PENALTY, max_iter=200)
        fitted = make_pipeline(StandardScaler(), lines).fit(encode(own), labels(own))
        scores[i] = [fitted.score(encode(other), labels(other)) for other in test.values()]
    return scores


def ours(model: Any, tokenizer: Any, train: Split, test: Split, folder: Path) -> np.ndarray:
    """The same, every item encoded once."""
    of, kept = public_task("massive_intent"), {}
    for code in train:
        items = [*train[code], *test[code]]
        texts, ids = [e.fields["text"] for e in items], [e.id for e in items]
        kept[code] = features.encode(model, tokenizer, "text", texts, ids, [LAYER], folder / code)
    scores = np.zeros((len(train), len(test)))
    for i, (code, own) in enumerate(train.items()):
        head = probe.learn(of, [probe.items_of(own, kept[code])], LAYER, PENALTY)
        for j, (target, examples) in enumerate(test.items()):
            said = probe.answers(of, head, LAYER, probe.items_of(examples, kept[target]))
            scores[i, j] = of.evaluate(said, examples)["accuracy"].score
    return scores


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("languages", 20), ("train", 200), ("test", 50)):
        asked.add_argument(f"--{name}", type=int, default=default)
    given = asked.parse_args()
    compute.prepare_process()
    every = datasets.languages_of("massive_intent", local=True) or datasets.languages_of(
        "massive_intent"
    )
    codes = every[:: max(1, len(every) // given.languages)][: given.languages]
    train, test = (
        {c: datasets.examples("massive_intent", codes, c, split, n) for c in codes}
        for split, n in (("train", given.train), ("test", given.test))
    )
    model, tokenizer = encoder.load()
    theirs, stock_seconds = seconds(lambda: stock(model, tokenizer, train, test))
    with tempfile.TemporaryDirectory() as folder:
        mine, own_seconds = seconds(lambda: ours(model, tokenizer, train, test, Path(folder)))
    off = ~np.eye(len(codes), dtype=bool)
    print(f"{len(codes)} x {len(codes)} languages, {given.train} training, {given.test} test items")
    for name, scores, spent in (("stock", theirs, stock_seconds), ("ours", mine, own_seconds)):
        rate = f"{name:6}{spent:8.1f} CPU seconds, {len(codes) ** 2 / spent:7.2f} cells a second"
        print(f"{rate}, in-language {scores[~off].mean():.3f}, zero-shot {scores[off].mean():.3f}")
    most = abs(mine - theirs).max()
    print(f"ratio {stock_seconds / own_seconds:.1f}; largest difference of a cell {most:.3f}")
    share(model, tokenizer)


def share(model: Any, tokenizer: Any) -> None:
    """Print the share of the core's peak while encoding sentences of SIB-200's length."""
    texts = [e.fields["text"] for e in datasets.load("sib200", "deu", "train").examples][:500]
    tokens = sum(map(len, tokenizer(texts)["input_ids"]))
    layers = range(model.config.num_hidden_layers + 1)
    weights = sum(w.numel() for n, w in model.named_parameters() if "embeddings" not in n)
    with tempfile.TemporaryDirectory() as folder:
        ids = [str(i) for i in range(len(texts))]
        _, spent = seconds(
            lambda: features.encode(model, tokenizer, "text", texts, ids, layers, Path(folder, "f"))
        )
    reached, most = 2 * weights * tokens / spent / 1e9, peak()
    print(f"{len(texts) / spent:.0f} sentences, {tokens / spent:.0f} tokens a CPU second")
    print(f"{reached:.0f} of {most:.0f} billion operations a second: {100 * reached / most:.0f} %")


if __name__ == "__main__":
    main()
