"""What a text-to-text model answers: greedily, or the most probable of some labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from xltlib.data import Example
from xltlib.models import lean
from xltlib.models.compute import (
    autocast,
    base_of,
    by_length,
    decode,
    encode,
    encode_targets,
    halved,
    is_t5,
    longest,
    pad,
    shifted,
)
from xltlib.tasks.base import Score, Task
from xltlib.train.recipes import TINY, Recipe

Kept = dict[bytes, torch.Tensor]  # an encoder's states (tokens, width) of a text's token ids

_LOGITS = 2**26  # that exist at one time where labels are chosen
_READ = 2**12  # tokens that go through the encoder together: their states stay in a core's cache


def evaluate(
    model: Any,
    tokenizer: Any,
    task: Task,
    examples: Sequence[Example],
    recipe: Recipe,
    kept: Kept | None = None,
) -> tuple[dict[str, Score], list[str]]:
    """Scores by metric, `illegal` among them, and the output texts; see `answers`."""
    texts = [task.preprocess(e)[0] for e in examples]
    outputs = answers(model, tokenizer, texts, recipe, most=task.max_target, kept=kept)
    return task.evaluate(outputs, examples), outputs


def answers(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    recipe: Recipe = TINY,
    *,
    most: int,
    labels: Sequence[str] = (),
    kept: Kept | None = None,
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
    kept
        What the encoder made of inputs before, added to: for an encoder that no longer learns.
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
                        found = [labels[i] for i in _choose(model, source, words, kept)]
                    else:
                        made = [tuple(ids) for ids in _greedy(model, source, most, kept)]
                        text = {ids: decode(model, tokenizer, ids) for ids in set(made)}
                        found = [text[ids] for ids in made]
                for i, output in zip(group, found, strict=True):
                    outputs[i] = output
            return outputs
        except torch.OutOfMemoryError:
            pass  # outside, so that the error holds no memory
        recipe = replace(recipe, micro_tokens=halved(recipe.micro_tokens, max(map(sum, sizes))))


def _greedy(
    model: Any, source: torch.Tensor, most: int, kept: Kept | None = None
) -> list[list[int]]:
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
    encoded, config = read(model, source, kept), base.config
    if lean.fits(base):
        return _lean_greedy(base, encoded, mask, most)
    last = torch.full((len(source), 1), config.decoder_start_token_id, device=source.device)
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    made: list[torch.Tensor] = []
    cache = None
    while len(made) < most and not bool(ended.all()):
        out = base(
            encoder_outputs=(encoded,),
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


def _lean_greedy(
    base: Any, encoded: torch.Tensor, mask: torch.Tensor, most: int
) -> list[list[int]]:
    """The same with fewer steps of the arithmetic; rows that have ended are left out."""
    decoder, end = lean.Decoder(base, encoded, mask), base.config.eos_token_id
    made = torch.full((len(mask), most), base.config.pad_token_id)
    left, last = torch.arange(len(mask)), torch.tensor(base.config.decoder_start_token_id)
    last = last.repeat(len(mask))
    for at in range(most):
        last = decoder.step(last).argmax(-1)
        made[left, at] = last
        if bool((last == end).any()):
            on = (last != end).nonzero()[:, 0]
            left, last = left[on], last[on]
            decoder.keep(on)
        if not len(left):
            break
    return list(made.tolist())


def read(model: Any, source: torch.Tensor, kept: Kept | None) -> torch.Tensor:
    """The encoder's states of (n, length) ids, (n, length, width).

    What is in `kept` is not computed again, and what is computed is added to it, where the model
    is one that `xltlib.models.lean` reads.
    """
    base, mask = base_of(model), source != model.config.pad_token_id
    if not lean.fits(base):
        states: torch.Tensor = base.get_encoder()(
            input_ids=source, attention_mask=mask
        ).last_hidden_state
        return states
    ends = (mask * torch.arange(1, source.shape[1] + 1)).amax(1).tolist()
    texts = [row[:end].numpy() for row, end in zip(source, ends, strict=True)]
    rows = torch.cat(states_of(model, texts, {} if kept is None else kept))
    full = rows.new_zeros(*mask.shape, rows.shape[1])
    full[mask] = rows  # a text may spell out the mark of padding
    return full


def states_of(model: Any, texts: Sequence[Any], kept: Kept) -> list[torch.Tensor]:
    """The encoder's states (tokens, width) of each text's ids, of a model that `lean.fits`.

    What is in `kept` is not computed again, and what is computed is added to it.
    """
    base, keys = base_of(model), [text.tobytes() for text in texts]
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
    names, rows = list(new), list(new.values())
    for group in by_length([(len(row), 0) for row in rows], _READ):
        source = pad([rows[i] for i in group], base.config.pad_token_id)
        mask = source != base.config.pad_token_id
        with torch.inference_mode(False), torch.no_grad():  # what is kept is for training too
            states = lean.encoded(base, source, lean.Packed(mask))
        parts = states.split(mask.sum(1).tolist())
        kept |= zip([names[i] for i in group], parts, strict=True)
    return [kept[key] for key in keys]


@dataclass(frozen=True)
class _Branch:
    """Tokens that some words have next after what they begin with, as long as they are the same.

    ``ends`` is the word that is complete with them, else -1, and ``on`` the branches behind them.
    """

    before: tuple[int, ...]
    tokens: tuple[int, ...]
    ends: int
    on: list[int]


def _branches(words: Sequence[tuple[int, ...]]) -> list[_Branch]:
    """The tree of words, none of which begins another (all end in a mark); the root comes first.

    >>> [(b.tokens, b.ends, b.on) for b in _branches([(5, 6, 1), (5, 7, 8, 1)])]
    [((5,), -1, [1, 2]), ((6, 1), 0, []), ((7, 8, 1), 1, [])]
    """
    made: list[_Branch] = []

    def grow(among: list[int], start: int) -> int:
        group = [words[i] for i in among]
        end = next(
            (k for k, column in enumerate(zip(*group, strict=False)) if len(set(column)) > 1),
            min(map(len, group)),
        )
        leaf = among[0] if len(set(group)) == 1 else -1
        branch = _Branch(group[0][:start], group[0][start:end], leaf, [])
        made.append(branch)
        place = len(made) - 1
        if leaf < 0:
            for first in dict.fromkeys(word[end] for word in group):
                branch.on.append(grow([i for i in among if words[i][end] == first], end))
        return place

    grow(list(range(len(words))), 0)
    return made


def _choose(
    model: Any, source: torch.Tensor, words: Sequence[Any], kept: Kept | None = None
) -> list[int]:
    """Which word is the most probable output: best-first search in the tree of words.

    A word is no more probable than what it begins with, so when the best that is left is a whole
    word, no other can be better: where a model is sure, few branches are ever decoded.
    """
    tree = _branches([tuple(word.tolist()) for word in words])
    encoded, mask = read(model, source, kept), source != model.config.pad_token_id
    n, head = len(source), base_of(model).get_output_embeddings()
    most = torch.full((n, len(tree)), -torch.inf, device=source.device)  # log probability at most
    most[:, 0], whole = 0.0, torch.zeros(n, len(tree), dtype=torch.bool, device=source.device)
    left = torch.arange(n, device=source.device)
    together = max(1, _LOGITS // (max(map(len, words)) * len(head.weight)))
    while True:
        best = most.argmax(1)
        left = left[~whole[left, best[left]]]
        if not len(left):
            return [tree[i].ends for i in best.tolist()]
        for of in left[best[left].argsort()].split(together):
            which = best[of].tolist()
            total, after = _go(model, encoded[of], mask[of], [tree[i] for i in which], tree)
            reached = most[of, best[of]] + total
            for branch in set(which):
                own = best[of] == branch
                rows, on = of[own], tree[branch].on
                if tree[branch].ends >= 0:
                    most[rows, branch], whole[rows, branch] = reached[own], True
                else:
                    firsts = [tree[i].tokens[0] for i in on]
                    onward = reached[own, None] + after[own][:, firsts]
                    most[rows[:, None], torch.tensor(on)] = onward
                    most[rows, branch] = -torch.inf


def _go(
    model: Any,
    encoded: torch.Tensor,
    mask: torch.Tensor,
    branches: Sequence[_Branch],
    tree: Sequence[_Branch],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities of the tokens but the first of each text's branch, summed (of all of the
    root's), and of what follows a branch that goes on: (n,) and (n, vocabulary).
    """
    base, n = base_of(model), len(branches)
    known = [0 if b is tree[0] else len(b.before) + 1 for b in branches]
    # the first token of a branch behind is there to ask what follows, whichever it is
    ids = [[*b.before, *b.tokens, *(tree[i].tokens[0] for i in b.on[:1])] for b in branches]
    labels = pad([np.array(row) for row in ids], -100).to(encoded.device)
    at = torch.arange(labels.shape[1])
    wanted = ((at >= torch.tensor(known)[:, None]) & (labels.cpu() != -100)).to(labels.device)
    if lean.fits(base):
        states = lean.decoded(base, labels, encoded[mask], lean.Packed(mask))
        logits = states[wanted[labels != -100]] @ base.lm_head.weight.mT
    else:
        out = model(encoder_outputs=(encoded,), attention_mask=mask, **shifted(base, labels))
        logits = out.logits[wanted]
    told = logits.float().log_softmax(-1)
    row = wanted.nonzero()[:, 0]
    own = told.gather(1, labels[wanted][:, None])[:, 0]
    goes_on = torch.tensor([bool(b.on) for b in branches], device=labels.device)
    last = wanted.sum(1).cumsum(0) - 1  # of each text's wanted tokens
    own[last[goes_on]] = 0.0
    after = told[last.clamp(min=0)] if len(told) else told.new_empty(n, told.shape[1])
    return told.new_zeros(n).index_add(0, row, own), after
