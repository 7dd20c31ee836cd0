"""A small model learns 64 examples of every public task by heart: is the round trip right?

    XLT_DATA=... python benchmarks/overfit.py --out book/published/overfit.csv [--tasks xnli ...]

A model that cannot reach 95 % on the very examples it was trained on is told something wrong
somewhere between example, text, tokens, output, answer and score. The data are those under
``XLT_DATA``, in as many languages as are there; a task that has none there is tried on made-up
examples (`xltlib.tasks.samples`). The model is a random T5 of two and two layers, its vocabulary is
trained on the texts of the 64 examples; tuning and answering are the code that a run uses.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from xltlib import seq2seq
from xltlib.checkpoint import Seq2SeqRecipe
from xltlib.data import hub
from xltlib.tasks.base import Example
from xltlib.tasks.public import PUBLIC, PublicTask
from xltlib.tasks.samples import made_up

N = 64
GOAL = 0.95
LONGEST = 200  # words or characters of a text that a model this small is asked to read
RECIPE = Seq2SeqRecipe(
    steps=800, evaluations=8, tokens=6000, micro_tokens=6000, lr=2e-3, optimizer="adamw",
    dropout=0.0, max_input=512,
)  # fmt: skip


def chosen(task: str, n: int = N) -> tuple[list[Example], str]:
    """`n` examples, dealt over the languages under ``XLT_DATA``; made up where there are none."""
    codes = hub.languages_of(task, local=True)
    if not codes:
        return made_up(task, n), "made up"
    codes = codes[:: max(1, len(codes) // 8)]
    found: list[Example] = []
    for code in codes:
        split = hub.splits_of(task, code, local=True)[0]
        short = [e for e in hub.load(task, code, split).examples if _length(e) <= LONGEST]
        found += short[: -(-n // len(codes))]
    return found[:n], f"{len(codes)} languages"


def _length(example: Example) -> int:
    words = example.fields.get("words")
    return len(" ".join(words or [str(v) for v in example.fields.values()])) // (1 if words else 2)


def vocabulary(texts: Sequence[str], size: int = 1200) -> Any:
    """A SentencePiece vocabulary with mT5's hundred sentinels, trained on some texts."""
    import sentencepiece
    from transformers import T5Tokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=size,
        hard_vocab_limit=False, character_coverage=1.0, minloglevel=2, num_threads=1,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="identity",
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocab = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    return T5Tokenizer(vocab=vocab, extra_ids=100)


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


def overfit(of: PublicTask, examples: Sequence[Example], recipe: Seq2SeqRecipe) -> dict[str, Any]:
    """Learn the examples by heart, then answer them."""
    begin = time.perf_counter()
    texts = [text for e in examples for text in of.preprocess(e)]
    tokenizer = vocabulary([t for t in texts if t])
    model = small_model(tokenizer)
    tuned = seq2seq.finetune(model, tokenizer, of, examples, examples, recipe)
    scores, _ = seq2seq.evaluate(model, tokenizer, of, examples, recipe)
    return {
        "task": of.name,
        "metric": of.metric,
        "score": scores[of.metric].score,
        "illegal": scores["illegal"].score,
        "n": len(examples),
        "steps": tuned.step,
        "loss": tuned.log[-1]["loss"],
        "cut": tuned.cut,
        "seconds": time.perf_counter() - begin,
    }


def main() -> int:
    """Measure every task; exit status 1 if one of them does not reach the goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", nargs="*", default=list(PUBLIC))
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
