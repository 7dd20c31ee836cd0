"""A small model learns 64 examples of every public task by heart: is the round trip right?

    XLT_DATA=... python benchmarks/overfit.py --out book/published/overfit.csv [--tasks xnli ...]

A model that cannot reach 95 % on the very examples it was trained on is told something wrong
somewhere between example, text, tokens, output, answer and score. The data are those under
``XLT_DATA``, in as many languages as are there; a task that has none there is tried on made-up
examples (`datasets.samples`). The model is a random T5 of two and two layers, its vocabulary is
trained on the texts of the 64 examples; tuning and answering are the code that a run uses.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from xltlib.data import Example, datasets
from xltlib.data.cards import VIEWS
from xltlib.models.tiny import train_tokenizer
from xltlib.tasks.base import Task
from xltlib.tasks.public import PUBLIC
from xltlib.train.finetune import finetune
from xltlib.train.generate import evaluate
from xltlib.train.recipes import Recipe

N = 64
GOAL = 0.95
TASKS = [t for t in PUBLIC if t != "squad"]  # it has xquad's form
ROUNDS = 16  # of RECIPE.steps steps each; the last round is the one that reaches the goal
DECAY = 0.95  # of the rate, a round
# A rate of 3e-3 sticks: attention saturates, and two like tokens in a row are never told apart.
RECIPE = Recipe(
    steps=50, evaluations=1, tokens=3000, micro_tokens=3000, lr=1e-3, optimizer="adamw",
    dropout=0.0, max_input=512,
)  # fmt: skip


PEOPLE = ("Ada", "Bruno", "Chen", "Dana", "Emil", "Fatima", "Goran", "Hana")
PLACES = ("Oslo", "Riga", "Accra", "Lima", "Pune", "Kyoto", "Cairo", "Porto")
MONTHS = ("January", "March", "May", "July", "August", "October", "November", "December")
ACTS = ("met", "wrote to", "paid", "saw", "called", "helped")


def _paraphrase(rng: random.Random) -> dict[str, Any]:
    one, other = rng.sample(PEOPLE, 2)
    act, place = rng.choice(ACTS), rng.choice(PLACES)
    when = f"{rng.choice(MONTHS)} {rng.randrange(1900, 2000)}"
    same = rng.random() < 0.5
    again = (one, other) if same else (other, one)
    return {
        "sentence1": f"{one} {act} {other} in {place} in {when}.",
        "sentence2": f"In {when}, in {place}, {again[0]} {act} {again[1]}.",
        "label": VIEWS["pawsx"].labels[same],
    }


def made_up(n: int, seed: int = 0) -> list[Example]:
    """`n` different made-up English examples of pawsx."""
    rng, found = random.Random(f"pawsx/{seed}"), dict[str, dict[str, Any]]()
    while len(found) < n:
        fields = _paraphrase(rng)
        found.setdefault(repr(fields), fields)
    return [Example(str(i), "eng", fields) for i, fields in enumerate(found.values())]


def chosen(task: str, n: int = N, most: int = 8) -> tuple[list[Example], str]:
    """`n` examples, dealt over the languages under ``XLT_DATA``; made up where there are none.

    Of each language the shortest in the data set's order of length that are not trivial: those
    that say something in the target.
    """
    codes = datasets.languages_of(task, local=True)
    if not codes:
        return made_up(n), "made up"  # pawsx alone is not in the copy
    codes = codes[:: -(-len(codes) // most)]
    found: list[Example] = []
    for i, code in enumerate(codes):
        split = datasets.splits_of(task, code, local=True)[0]
        own = [e for e in datasets.load(task, code, split).examples if _says(e)]
        longer = sorted(own, key=_length)[len(own) // 20 :]  # not the very shortest twentieth
        found += longer[: (n - len(found)) // (len(codes) - i)]
    return found, f"{len(codes)} languages"


def _says(example: Example) -> bool:
    """Whether the answer is not empty: some word has a tag."""
    return set(example.fields.get("tags", "x")) != {"O"}


def _length(example: Example) -> int:
    values = example.fields.values()
    return sum(len(" ".join(v) if isinstance(v, tuple) else str(v)) for v in values)


def small_model(tokenizer: Any, width: int = 128) -> Any:
    """A random mT5 of two and two layers."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=32, d_ff=2 * width, num_heads=4,
        num_layers=2, num_decoder_layers=2, decoder_start_token_id=0, dropout_rate=0.0,
    )  # fmt: skip
    model = MT5ForConditionalGeneration(config)
    with torch.no_grad():  # the library's start, standard deviation 1, learns slowly
        model.shared.weight.mul_(0.05)
    return model


def overfit(of: Task, examples: Sequence[Example], recipe: Recipe) -> dict[str, Any]:
    """Learn the examples by heart, then answer them."""
    begin = time.perf_counter()
    texts = [text for e in examples for text in of.preprocess(e)]
    tokenizer = train_tokenizer([t for t in texts if t], 3000, sentinels=100)  # as many as mT5
    longest = max(len(tokenizer(of.preprocess(e)[1])["input_ids"]) for e in examples)
    of = replace(of, max_target=longest + 8)  # room for a wrong answer, not for 512 pieces of it
    model = small_model(tokenizer)
    for part in range(1, ROUNDS + 1):
        smaller = replace(recipe, lr=recipe.lr * DECAY ** (part - 1))
        tuned = finetune(model, tokenizer, of, examples, [], smaller, seed=part)
        scores, _ = evaluate(model, tokenizer, of, examples, recipe)
        if scores[of.metric].score >= GOAL:
            break
    return {
        "task": of.name,
        "metric": of.metric,
        "score": scores[of.metric].score,
        "illegal": scores["illegal"].score,
        "n": len(examples),
        "steps": part * recipe.steps,
        "loss": tuned.log[-1]["loss"],
        "cut": tuned.cut,
        "seconds": time.perf_counter() - begin,
    }


def main() -> int:
    """Measure every task; exit status 1 if one of them does not reach the goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--out", type=Path)
    chose = parser.parse_args()
    rows = []
    for name in chose.tasks:
        examples, data = chosen(name)
        rows.append(overfit(PUBLIC[name], examples, RECIPE) | {"data": data})
        print(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True
        )
        table = pd.DataFrame(rows)
        if chose.out:
            table.drop(columns="seconds").to_csv(chose.out, index=False, float_format="%.4g")
    print(table.to_string(index=False))
    return int((table["score"] < GOAL).any())


if __name__ == "__main__":
    raise SystemExit(main())
