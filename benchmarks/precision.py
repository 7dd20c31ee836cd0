"""A step of pre-training in bfloat16 beside the same step in float32, on this processor.

    python benchmarks/precision.py open open-long

Times batches of an experiment's first model in turns, so that what else the machine does meets
both; prints the medians and their ratio.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from transformers import AutoTokenizer

from xltlib.models import compute
from xltlib.models.tiny import build
from xltlib.train.config import Experiment, load
from xltlib.train.finetune import groups
from xltlib.train.plan import Place
from xltlib.train.pretrain import Sampler
from xltlib.train.run import do_part
from xltlib.train.worker import text_of


def seconds(exp: Experiment, steps: int = 40) -> dict[str, float]:
    """Median seconds of a step by arithmetic."""
    do_part(exp, "vocabulary")
    tokenizer = AutoTokenizer.from_pretrained(Place(exp).vocabulary())
    sampler = Sampler(text_of(exp, exp.models[0]), tokenizer, exp.pretrain)
    model = build(exp.model, tokenizer)
    optimizer = torch.optim.AdamW(groups(model, exp.pretrain.weight_decay), lr=1e-4, fused=True)
    rng, took = np.random.default_rng(0), {"float32": [], "bfloat16": []}
    for _ in range(steps):
        batch = sampler.batch(rng)
        for precision, own in took.items():
            begin = time.perf_counter()
            compute.loss(model, *batch, precision).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            own.append(time.perf_counter() - begin)
    return {precision: float(np.median(own[5:])) for precision, own in took.items()}


def main() -> None:
    chosen = compute.arithmetic("cpu", "bfloat16")
    compute.arithmetic = lambda device, asked: asked  # both, whatever is chosen
    compute.prepare_process()
    for name in sys.argv[1:] or ["open"]:
        exp = load(name)
        own = seconds(exp)
        print(f"{name}: {own['float32']:.3f} s in float32, {own['bfloat16']:.3f} s in bfloat16, "
              f"ratio {own['float32'] / own['bfloat16']:.2f}; chosen: {chosen}")  # fmt: skip


if __name__ == "__main__":
    main()
