"""What tuning mT5-small takes: memory and speed of a random model of its shape, on real rows.

    XLT_DATA=... python benchmarks/memory.py [--steps 50] [--tokens 1024] [--out FILE.json]

8 and 8 layers, 512 wide, all 250,112 pieces twice, as `google/mt5-small`; the weights are random,
which changes neither memory nor speed. XNLI's English development rows are tuned on and answered by
the code that a run uses. Peak memory is the process's largest resident set (and, on a GPU, what
torch held there at most).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from xltlib.data import datasets
from xltlib.models.compute import device
from xltlib.models.tiny import train_tokenizer
from xltlib.tasks.public import PUBLIC
from xltlib.train.finetune import finetune
from xltlib.train.generate import evaluate
from xltlib.train.recipes import Recipe

LIMIT_GIB = 24.0
PIECES = 250_112


def shaped_like_mt5_small() -> Any:
    """A random model of mT5-small's shape: 300 million parameters."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=PIECES, d_model=512, d_kv=64, d_ff=1024, num_heads=6, num_layers=8,
        num_decoder_layers=8, decoder_start_token_id=0, dropout_rate=0.1,
    )  # fmt: skip
    model = MT5ForConditionalGeneration(config)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())
    return model.to(device())


def peak_gib() -> dict[str, float]:
    """Largest resident set so far, and the most that torch held on the GPU."""
    found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def measure(steps: int, tokens: int, tests: int) -> dict[str, Any]:
    """Tune for some steps, answer some rows."""
    of = PUBLIC["xnli"]
    examples = list(datasets.load("xnli", "eng", "validation").examples)
    tokenizer = train_tokenizer([of.preprocess(e)[0] for e in examples], 8000, sentinels=100)
    model = shaped_like_mt5_small()
    recipe = Recipe(steps=steps, evaluations=1, tokens=tokens, micro_tokens=tokens)
    seen: list[dict[str, float]] = []
    used = time.process_time()
    tuned = finetune(model, tokenizer, of, examples, [], recipe, progress=lambda e: _tell(e, seen))
    sizes = [len(ids) for ids in tokenizer([of.preprocess(e)[0] for e in examples])["input_ids"]]
    a_step = tokens / (sum(sizes) / len(sizes) + 2)  # a target is a digit and an end marker
    learning, learnt = peak_gib(), time.process_time() - used
    begin, used = time.perf_counter(), time.process_time()
    scores, _ = evaluate(model, tokenizer, of, examples[:tests], recipe)
    answering, answered = time.perf_counter() - begin, time.process_time() - used
    return {
        "device": str(device()),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "tokens a step": tokens,
        "seconds a step": tuned.seconds / steps,
        "examples a second, learning": a_step * steps / tuned.seconds,
        "examples a second, answering": tests / answering,
        # on a machine shared with others this is the figure that means something
        "examples a processor second, learning": a_step * steps / learnt,
        "examples a processor second, answering": tests / answered,
        "loss, first to last": [seen[0]["loss"], seen[-1]["loss"]],
        "accuracy": scores["accuracy"].score,
        "peak GiB, learning": learning,
        "peak GiB, all": peak_gib(),
    }


def _tell(entry: dict[str, float], seen: list[dict[str, float]]) -> None:
    seen.append(entry)
    print(f"step {entry['step']:.0f}: loss {entry['loss']:.3f}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print; exit status 1 if the host needs more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=1024, help="of a batch, padding included")
    parser.add_argument("--tests", type=int, default=64, help="rows to answer")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if not os.environ.get("XLT_DATA"):
        parser.error("set XLT_DATA to a folder that has XNLI's development set")
    found = measure(chosen.steps, chosen.tokens, chosen.tests)
    text = json.dumps(found, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    return int(found["peak GiB, all"]["host"] > LIMIT_GIB)


if __name__ == "__main__":
    raise SystemExit(main())
