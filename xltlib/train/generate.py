"""What a text-to-text model answers: greedily, or the most probable of some labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from xltlib.data.example import Example
from xltlib.models.batches import by_length, decode, encode, encode_targets, pad
from xltlib.models.compute import autocast, base_of, halved, is_t5, longest, shifted
from xltlib.tasks.base import Score, Task
from xltlib.train.recipes import TINY, Recipe


def evaluate(
    model: Any,
    tokenizer: Any,
    task: Task,
    examples: Sequence[Example],
    recipe: Recipe,
) -> tuple[dict[str, Score], list[str]]:
    """Scores by metric, `illegal` among them, and the output texts; see `answers`."""
    texts = [task.preprocess(e)[0] for e in examples]
    outputs = answers(model, tokenizer, texts, recipe, most=task.max_target)
    return task.evaluate(outputs, examples), outputs


def answers(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    recipe: Recipe = TINY,
    *,
    most: int,
    labels: Sequence[str] = (),
) -> list[str]:
    """Output text for each input.

    Parameters
    ----------
    recipe
        Its precision, longest input, and tokens in memory at one time.
    most
        Tokens of an output, the end marker included.
    labels
        Words among which the model chooses that with the highest probability as the whole output;
        without any, the output is greedy.
    """
    model.eval()
    limit = longest(model, recipe.max_input)
    rows, _ = encode(tokenizer, texts, limit)
    words, _ = encode_targets(model, tokenizer, labels, limit) if labels else ([], 0)
    sizes = [(len(row), most if not labels else 1) for row in rows]
    outputs, pad_id = [""] * len(rows), model.config.pad_token_id
    while True:
        try:
            for group in by_length(sizes, recipe.micro_tokens):
                source = pad([rows[i] for i in group], pad_id).to(model.device)
                with torch.inference_mode(), autocast(model, recipe.precision):
                    if labels:
                        found = [labels[i] for i in _choose(model, source, words)]
                    else:
                        found = [
                            decode(model, tokenizer, ids) for ids in _greedy(model, source, most)
                        ]
                for i, output in zip(group, found, strict=True):
                    outputs[i] = output
            return outputs
        except torch.OutOfMemoryError:
            pass  # outside, so that the error holds no memory
        recipe = replace(recipe, micro_tokens=halved(recipe.micro_tokens, max(map(sum, sizes))))


def _greedy(model: Any, source: torch.Tensor, most: int) -> list[list[int]]:
    """Greedy decoding with a cache; stops when every row has ended.

    The library's `generate` gives the same tokens (a test holds them equal) but costs several
    times as much per step as a small model itself. Other families than T5 and
    `EncoderDecoderModel` begin in ways of their own, which it knows.
    """
    base, mask = base_of(model), source != model.config.pad_token_id
    if not (is_t5(model) or base.config.model_type == "encoder-decoder"):
        out = base.generate(
            input_ids=source, attention_mask=mask, max_new_tokens=most, do_sample=False, num_beams=1
        )
        return list(out[:, 1:].tolist())
    encoded = base.get_encoder()(input_ids=source, attention_mask=mask)
    config = base.config
    last = torch.full((len(source), 1), config.decoder_start_token_id, device=source.device)
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    made: list[torch.Tensor] = []
    cache = None
    while len(made) < most and not bool(ended.all()):
        out = base(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=last,
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        last = out.logits[:, -1:].float().argmax(-1)
        made.append(last[:, 0])
        ended |= made[-1] == config.eos_token_id
    return list(torch.stack(made, 1).tolist())


def _choose(model: Any, source: torch.Tensor, words: Sequence[Any]) -> list[int]:
    """Which word is the most probable output: the input is read once, each word decoded once."""
    mask = source != model.config.pad_token_id
    encoded = base_of(model).get_encoder()(input_ids=source, attention_mask=mask)
    scores = []
    for word in words:
        labels = torch.from_numpy(word).to(source.device).repeat(len(source), 1)
        shown = shifted(base_of(model), labels)
        logits = model(encoder_outputs=encoded, attention_mask=mask, **shown).logits.float()
        scores.append(logits.log_softmax(-1).gather(2, labels[:, :, None])[:, :, 0].sum(1))
    return [int(i) for i in torch.stack(scores).argmax(0)]
