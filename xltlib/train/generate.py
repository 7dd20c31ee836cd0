"""Greedy answers of a text-to-text model, in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.train.pretrain import pad


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int = 128) -> list[np.ndarray]:
    """Token ids of each text, cut at `max_length`, ending in end-of-sequence."""
    rows = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    return [np.array(row) for row in rows]


def batches(rows: Sequence[np.ndarray], size: int) -> list[list[int]]:
    """Indices in batches of like length: little padding, the same batches every time."""
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    return [order[i : i + size] for i in range(0, len(order), size)]


@torch.inference_mode()
def greedy(
    model: PreTrainedModel, source: torch.Tensor, max_target: int, pad_id: int = 0, eos_id: int = 1
) -> torch.Tensor:
    """Greedy decoding with a cache; stops when every row has ended. Returns (n, <= max_target).

    The library's `generate` gives the same tokens (a test holds them equal) but costs several
    times as much per step as a model this small itself.
    """
    source = source.to(model.device)
    mask = source != pad_id
    encoded = model.get_encoder()(input_ids=source, attention_mask=mask)
    start = model.config.decoder_start_token_id
    last = torch.full((len(source), 1), start, device=source.device)
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    said, cache = [], None
    for _ in range(max_target):
        out = model(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=last,
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        token = out.logits[:, -1].argmax(-1).masked_fill(ended, pad_id)
        said.append(token)
        ended |= token == eos_id
        if bool(ended.all()):
            break
        last = token[:, None]
    return torch.stack(said, 1)


def answers(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    rows: Sequence[np.ndarray],
    *,
    max_target: int,
    batch: int = 256,
) -> list[str]:
    """Output text for each encoded input."""
    model.eval()
    texts = [""] * len(rows)
    for group in batches(rows, batch):
        said = greedy(model, pad([rows[i] for i in group], 0), max_target)
        decoded = tokenizer.batch_decode(said, skip_special_tokens=False)
        for i, text in zip(group, decoded, strict=True):
            texts[i] = text.replace("<pad>", "").split("</s>")[0].strip()
    return texts
