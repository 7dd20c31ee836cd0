"""What a text-to-text model answers: greedily, or the most probable of some labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from xltlib.data.example import Example
from xltlib.models import lean
from xltlib.models.batches import by_length, decode, encode, encode_targets, pad
from xltlib.models.compute import autocast, base_of, halved, is_t5, longest, shifted
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
    kept = {} if kept is None else kept
    ends = (mask * torch.arange(1, source.shape[1] + 1)).amax(1).tolist()
    keys = [row[:end].numpy().tobytes() for row, end in zip(source, ends, strict=True)]
    new = [i for i, key in enumerate(keys) if key not in kept]
    together = max(1, _READ // source.shape[1])
    for part in torch.tensor(new).split(together) if new else ():
        with torch.inference_mode(False), torch.no_grad():  # what is kept is for training too
            rows = lean.encoded(base, source[part], lean.Packed(mask[part]))
        sizes = mask[part].sum(1).tolist()
        kept |= zip([keys[i] for i in part.tolist()], rows.split(sizes), strict=True)
    rows = torch.cat([kept[key] for key in keys])
    full = rows.new_zeros(*mask.shape, rows.shape[1])
    full[mask] = rows  # a text may spell out the mark of padding
    return full


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
        branches = [(b, left[best[left] == b]) for b in best[left].unique().tolist()]
        for branch, of in ((b, part) for b, asked in branches for part in asked.split(together)):
            total, onward = _go(model, encoded[of], mask[of], tree[branch], tree)
            if tree[branch].ends >= 0:
                most[of, branch] += total
                whole[of, branch] = True
            else:
                most[of[:, None], torch.tensor(tree[branch].on)] = (
                    most[of, branch, None] + total[:, None] + onward
                )
                most[of, branch] = -torch.inf


def _go(
    model: Any, encoded: torch.Tensor, mask: torch.Tensor, branch: _Branch, tree: list[_Branch]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities of a branch's tokens but the first, summed (all of the root's), and of the
    first token of each branch behind it: (n,) and (n, branches).
    """
    base, known = base_of(model), 0 if branch is tree[0] else len(branch.before) + 1
    firsts = [tree[i].tokens[0] for i in branch.on]
    row = [*branch.before, *branch.tokens, *firsts[:1]]
    if known == len(row):  # nothing is left to ask
        return encoded.new_zeros(len(encoded)), encoded.new_zeros(len(encoded), 0)
    labels = torch.tensor(row, device=encoded.device).repeat(len(encoded), 1)
    if lean.fits(base):
        states = lean.decoded(base, labels, encoded[mask], lean.Packed(mask))
        states = states.view(*labels.shape, -1)[:, known:]
        logits = states @ base.lm_head.weight.mT
    else:
        out = model(encoder_outputs=(encoded,), attention_mask=mask, **shifted(base, labels))
        logits = out.logits[:, known:]
    told = logits.float().log_softmax(-1)
    end = told.shape[1] - bool(firsts)
    sums = told[:, :end].gather(2, labels[:, known : known + end, None])[:, :, 0].sum(1)
    return sums, told[:, -1, firsts]
