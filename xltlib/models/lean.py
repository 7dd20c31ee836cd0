"""The loss of a T5 in fewer passes over memory, with transformers' own modules and weights.

The same number as `T5ForConditionalGeneration` gives, to rounding (a test holds them equal), for
training on a CPU, where a small model waits for memory and for calls more than for products:

* tokens are packed: padding takes part in attention's scores only;
* the weight of a norm is multiplied into the products behind it, unless these are large and have
  more weights than the states have numbers; products that read the same states are one;
* distances and the mask are added once for all layers of a stack;
* cross-entropy makes its gradient on the way forward, some rows at a time, so the logits of a
  batch never exist together, nor are they made twice (as in Wijmans et al. 2025, 2411.09009);
* several models of one shape go through all this side by side (`stacked`): only products are made
  for each.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding, gelu, linear, scaled_dot_product_attention
from transformers.models.t5.modeling_t5 import T5Attention

_LEAST = -60.0  # e^-60 adds nothing to 1 in float32; below -87 the exponential is 60 times slower
_HIDDEN = torch.finfo(torch.float32).min
_IN_CACHE = 2**17  # weights of a product that stay in the cache: a norm's is multiplied into them
_CACHED, _ROWS = 2**18, (64, 256)  # logits that a core's cache holds; rows if 64 do so, or not


def fits(model: Any) -> bool:
    """Whether `encoded` and `decoded` compute what the model does: a plain T5 or mT5, on a CPU.

    With dropout the random numbers would be others than transformers draws.
    """
    config = model.config
    return (
        config.model_type in ("t5", "mt5")
        and not scaled(config)
        and model.device.type == "cpu"
        and not (model.training and config.dropout_rate)
        and not model.encoder.block[0].gradient_checkpointing
        and type(model.encoder.block[0].layer[0].SelfAttention.q) is torch.nn.Linear  # no LoRA
    )


def stacked(models: Sequence[Any]) -> Any:
    """Models side by side as one, for `losses`: each weight that learns has a dimension in front.

    The models' own weights become parts of these, so what it learns they learn. What does not learn
    is taken from the first and must be the same in all, as the encoder of one pre-trained model.

    Raises
    ------
    ValueError
        A weight that does not learn differs.
    """
    both = copy.deepcopy(models[0])
    made = dict[int, torch.nn.Parameter]()
    for name, weight in models[0].named_parameters(remove_duplicate=False):
        own = [model.get_parameter(name) for model in models]
        if not weight.requires_grad:
            if not all(torch.equal(one, weight) for one in own):
                raise ValueError(f"{name} does not learn and differs: train these models apart")
            continue
        if id(weight) not in made:
            stack = torch.stack([one.detach() for one in own])
            made[id(weight)] = torch.nn.Parameter(stack)
            for one, part in zip(own, stack, strict=True):
                one.data = part
        inside, _, leaf = name.rpartition(".")
        setattr(both.get_submodule(inside), leaf, made[id(weight)])
    return both


def scaled(config: Any) -> bool:
    """Whether a T5 scales its decoder's states before the head, as T5 v1.0 does."""
    return bool(getattr(config, "scale_decoder_outputs", config.tie_word_embeddings))


class Packed:
    """Where the tokens of a padded batch are.

    Attributes
    ----------
    real
        (n, length): False for padding.
    places
        (tokens,): of each token in the batch laid out in one row.
    texts
        How many rows of the batch are each model's, where several are `stacked`.
    """

    def __init__(self, real: Tensor, texts: Sequence[int] = ()) -> None:
        self.real, self.texts = real, list(texts)
        self.places = real.flatten().nonzero()[:, 0]
        self._ways: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @cached_property
    def tokens(self) -> list[int]:
        """How many tokens are each model's."""
        return [int(own.sum()) for own in self.real.split(self.texts)]

    def each(self, stack: Tensor) -> Tensor:
        """(models, …) to (tokens, …): of each token what its model has."""
        return stack.repeat_interleave(torch.tensor(self.tokens), 0)

    def take(self, batch: Tensor) -> Tensor:
        """(n, length) to (tokens,)."""
        return batch.flatten().index_select(0, self.places)

    def heads(self, rows: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
        """(tokens, parts x heads x width) to `parts` of (n x heads, length, width).

        Padding has what the token before it has: finite, and no one looks at it.
        """
        n, length = self.real.shape
        there, _ = self._way(heads, parts)
        full = rows.reshape(len(rows) * parts * heads, -1).index_select(0, there)
        return full.view(parts, n * heads, length, -1).unbind()

    def rows(self, full: Tensor, heads: int) -> Tensor:
        """The way back of (parts, n x heads, length, width)."""
        _, back = self._way(heads, len(full))
        return full.flatten(0, 2).index_select(0, back).view(len(self.places), -1)

    def _way(self, heads: int, parts: int) -> tuple[Tensor, Tensor]:
        """Which row stands at each place of a part's head, and which place each row has."""
        if (heads, parts) not in self._ways:
            n, length = self.real.shape
            each = torch.arange(parts * heads).view(parts, 1, heads, 1)
            token = (self.real.flatten().cumsum(0) - 1).clamp_(min=0).view(1, n, 1, length)
            there = (token * (parts * heads) + each).flatten()
            place = torch.arange(there.numel()).view(parts, n, heads, length)
            back = place.permute(1, 3, 0, 2).flatten(0, 1)[self.places].flatten()
            self._ways[heads, parts] = there, back
        return self._ways[heads, parts]


class _Unit(Function):
    """Rows divided by their root mean square."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, eps: float) -> Tensor:
        square = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).square_()
        by = square.div_(rows.shape[-1]).add_(eps).rsqrt_()
        made = rows * by
        ctx.save_for_backward(made, by)
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        made, by = ctx.saved_tensors
        along = (grad * made).sum(-1, keepdim=True).div_(made.shape[-1])
        return torch.addcmul(grad, made, along, value=-1).mul_(by), None


class _Each(Function):
    """Rows of models in turn, each times its model's weight: (rows, in) and (models, out, in)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, sizes: list[int]) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.sizes = sizes
        made = rows.new_empty(len(rows), weights.shape[1])
        parts = zip(rows.split(sizes), weights.mT, made.split(sizes), strict=True)
        for own, weight, out in parts:
            torch.mm(own, weight, out=out)
        return made

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rows, weights = ctx.saved_tensors
        to_rows, to_weights = torch.empty_like(rows), torch.empty_like(weights)
        sides = rows.split(ctx.sizes), grad.split(ctx.sizes), to_rows.split(ctx.sizes)
        for own, out, back, weight, to_weight in zip(*sides, weights, to_weights, strict=True):
            torch.mm(out.T, own, out=to_weight)
            if ctx.needs_input_grad[0]:
                torch.mm(out, weight, out=back)
        return to_rows if ctx.needs_input_grad[0] else None, to_weights, None


class _Attention(Function):
    """Softmax attention among packed tokens.

    Queries, keys and values are one tensor where tokens look at each other (`seen` is `looking`),
    else queries are `own` and keys and values `other`. `bias` is (n x heads, length, length).
    """

    @staticmethod
    def forward(
        ctx: Any, own: Tensor, other: Tensor | None, bias: Tensor, heads: int, looking: Packed,
        seen: Packed,
    ) -> Tensor:  # fmt: skip
        if other is None:
            q, k, v = looking.heads(own, heads, 3)
        else:
            (q,), (k, v) = looking.heads(own, heads, 1), seen.heads(other, heads, 2)
        share = torch.bmm(q, k.mT).float().add_(bias)
        share -= share.amax(-1, keepdim=True)
        share.clamp_(min=_LEAST).exp_()
        share /= share.sum(-1, keepdim=True)
        share = share.to(v.dtype)
        ctx.save_for_backward(q, k, v, share)
        ctx.of = heads, looking, None if other is None else seen
        return looking.rows(torch.bmm(share, v)[None], heads)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        q, k, v, share = ctx.saved_tensors
        heads, looking, seen = ctx.of
        (grad,) = looking.heads(grad, heads, 1)
        padding = ~looking.real[:, None, :, None]
        grad.view(len(padding), heads, -1, grad.shape[-1]).masked_fill_(padding, 0)
        full = q.new_empty(3, *q.shape) if seen is None else q.new_empty(1, *q.shape)
        pair = full[1:] if seen is None else k.new_empty(2, *k.shape)
        torch.bmm(share.mT, grad, out=pair[1])
        score = torch.bmm(grad, v.mT).mul_(share)
        score -= share * score.sum(-1, keepdim=True)
        torch.bmm(score, k, out=full[0])
        torch.bmm(score.mT, q, out=pair[0])
        other = None if seen is None else seen.rows(pair, heads)
        to_bias = score.float() if ctx.needs_input_grad[2] else None
        return looking.rows(full, heads), other, to_bias, None, None, None


class _Loss(Function):
    """Summed cross-entropy of labels, its gradients made on the way: (rows, width) to a number."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, head: Tensor, labels: Tensor) -> Tensor:
        where, of = states.device.type, head
        if torch.is_autocast_enabled(where):
            of = head.to(torch.get_autocast_dtype(where))
        learned, total = ctx.needs_input_grad[1], states.new_zeros(())
        to_states, to_head = torch.empty_like(states), torch.zeros_like(head) if learned else None
        most = _ROWS[_ROWS[0] * len(head) > _CACHED]
        for at in range(0, len(states), most):
            rows, own = states[at : at + most].to(of.dtype), labels[at : at + most, None]
            logits = torch.mm(rows, of.T).float()
            right, top = logits.gather(1, own), logits.amax(1, keepdim=True)
            logits.sub_(top).exp_()
            mass = logits.sum(1, keepdim=True)
            total += (mass.log() + top - right).sum()
            # mass times the loss's gradient by the logits; dividing the small sides is cheaper
            grad = logits.scatter_add_(1, own, -mass).to(of.dtype)
            torch.div(torch.mm(grad, of), mass, out=to_states[at : at + most])
            if to_head is not None:
                by = (rows / mass).to(of.dtype)
                if of is head:
                    to_head.addmm_(grad.T, by)
                else:
                    to_head += torch.mm(grad.T, by)
        ctx.grads = to_states, to_head
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Once only: the gradients are given away."""
        to_states, to_head = ctx.grads
        ctx.grads = None
        return to_states.mul_(grad), None if to_head is None else to_head.mul_(grad), None


def summed(states: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy of labels (rows,) given states (rows, width) times a head's weight.

    Its gradient can be asked for once.
    """
    loss: Tensor = _Loss.apply(states, head, labels)
    return loss


def losses(
    models: Any, source: Tensor, labels: Tensor, texts: Sequence[int], known: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of each of some `stacked` models on its own texts, (models,).

    Parameters
    ----------
    source, labels
        (n, length) token ids padded as for `compute.loss`, of the first model's texts first.
    texts
        How many are each model's.
    known
        The encoder's states (tokens, width), where it does not learn.
    """
    read = Packed(source != models.config.pad_token_id, texts)
    told = Packed(labels != -100, texts)
    rows = encoded(models, source, read) if known is None else known
    states = decoded(models, labels, rows, read).split(told.tokens)
    heads, right = models.lm_head.weight.unbind(), told.take(labels).split(told.tokens)
    each = zip(states, heads, right, strict=True)
    return torch.stack([summed(*one) / len(one[2]) for one in each])


def encoded(model: Any, source: Tensor, read: Packed) -> Tensor:
    """The encoder's states of a T5 that `fits`, (tokens, width); `source` is (n, length) ids."""
    stack = model.encoder
    bias = _distances(stack, read) + _hidden(read)
    rows = _looked_up(read.take(source), stack.embed_tokens.weight, read)
    for attention, forward in (block.layer for block in stack.block):
        rows = rows + _self(attention, rows, bias.flatten(0, 1), read)
        rows = rows + _forward(forward, rows, read)
    return _last(rows, stack, read)


def decoded(model: Any, labels: Tensor, encoded: Tensor, read: Packed) -> Tensor:
    """What the head of a T5 that `fits` reads for each target token, (target tokens, width).

    Parameters
    ----------
    labels
        (n, length) token ids, padded with -100.
    encoded, read
        States of the encoder, (tokens, width), and where their tokens are.
    """
    told = Packed(labels != -100, read.texts)
    shown = told.take(model.prepare_decoder_input_ids_from_labels(labels))
    stack, heads = model.decoder, model.config.num_heads
    (n, length), width = told.real.shape, read.real.shape[1]
    later = torch.ones(length, length, dtype=torch.bool).triu_(1)
    bias = _distances(stack, told).masked_fill(later, _HIDDEN)
    bias = bias.expand(n, -1, -1, -1).flatten(0, 1)
    across = _hidden(read).expand(n, heads, length, width).flatten(0, 1)
    rows = _looked_up(shown, stack.embed_tokens.weight, told)
    for attention, cross, forward in (block.layer for block in stack.block):
        rows = rows + _self(attention, rows, bias, told)
        own = cross.EncDecAttention
        asking = _linear(_unit(rows, cross.layer_norm), cross.layer_norm, told, own.q)
        seen = _times(encoded, torch.cat([own.k.weight, own.v.weight], -2), read)
        found = _Attention.apply(asking, seen, across, heads, told, read)
        rows = rows + _times(found, own.o.weight, told)
        rows = rows + _forward(forward, rows, told)
    return _last(rows, stack, told)


class Decoder:
    """The decoder of a T5 that `fits`, a token of each row at a time, without gradients.

    Parameters
    ----------
    encoded, real
        The encoder's states (n, length, width), and which are no padding (n, length).
    """

    def __init__(self, model: Any, encoded: Tensor, real: Tensor) -> None:
        self._model = model
        self._hidden = _hidden(Packed(real))
        own = [block.layer[1].EncDecAttention for block in model.decoder.block]
        across = [linear(encoded, torch.cat([at.k.weight, at.v.weight])) for at in own]
        self._across = [self._apart(both, 2) for both in across]
        self._past: list[Tensor] = []  # a layer: keys and values, (2, n, heads, tokens, width)

    def _apart(self, rows: Tensor, parts: int) -> Tensor:
        """(n, length, parts x heads x width) to (parts, n, heads, length, width)."""
        split = rows.view(*rows.shape[:2], parts, self._model.config.num_heads, -1)
        return split.permute(2, 0, 3, 1, 4)

    def step(self, last: Tensor) -> Tensor:
        """Logits (n, vocabulary) of what follows `last`, the token (n,) that each row has now."""
        stack, past = self._model.decoder, self._past
        rows, length = embedding(last[:, None], stack.embed_tokens.weight), 1
        if past:
            length += past[0].shape[3]
        near = _distance(stack, length)[:, :, -1:]
        self._past = []
        for i, (attention, cross, forward) in enumerate(block.layer for block in stack.block):
            own, norm = attention.SelfAttention, attention.layer_norm
            three = self._apart(_linear(_unit(rows, norm), norm, None, own.q, own.k, own.v), 3)
            seen = torch.cat([past[i], three[1:]], 3) if past else three[1:]
            self._past.append(seen)
            rows = rows + own.o(_looked(three[0], seen, near))
            asked = _linear(
                _unit(rows, cross.layer_norm), cross.layer_norm, None, cross.EncDecAttention.q
            )
            found = _looked(self._apart(asked, 1)[0], self._across[i], self._hidden)
            rows = rows + cross.EncDecAttention.o(found)
            rows = rows + _forward(forward, rows, None)
        rows = _last(rows, stack, None)
        logits: Tensor = self._model.lm_head(rows[:, 0])
        return logits

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows only."""
        self._hidden = self._hidden[rows]
        self._across = [both[:, rows] for both in self._across]
        self._past = [both[:, rows] for both in self._past]


def _looked(asked: Tensor, seen: Tensor, bias: Tensor) -> Tensor:
    """Attention of (n, heads, 1, width) to keys and values: (n, 1, heads x width)."""
    keys, values = seen
    found = scaled_dot_product_attention(asked, keys, values, bias.to(asked.dtype), scale=1.0)
    return found.transpose(1, 2).flatten(2)


def _self(layer: Any, rows: Tensor, bias: Tensor, packed: Packed) -> Tensor:
    own, norm = layer.SelfAttention, layer.layer_norm
    three = _linear(_unit(rows, norm), norm, packed, own.q, own.k, own.v)
    found = _Attention.apply(three, None, bias, own.n_heads, packed, packed)
    return _times(found, own.o.weight, packed)


def _forward(layer: Any, rows: Tensor, packed: Packed | None) -> Tensor:
    own, norm = layer.DenseReluDense, layer.layer_norm
    rows = _unit(rows, norm)
    if hasattr(own, "wi"):
        return _times(own.act(_linear(rows, norm, packed, own.wi)), own.wo.weight, packed)
    first = _linear(rows, norm, packed, own.wi_0)
    new = layer.DenseReluDense.act.__class__.__name__ == "NewGELUActivation"
    first = gelu(first, approximate="tanh") if new else own.act(first)
    return _times(first * _linear(rows, norm, packed, own.wi_1), own.wo.weight, packed)


def _unit(rows: Tensor, norm: Any) -> Tensor:
    made: Tensor = _Unit.apply(rows, norm.variance_epsilon)
    return made


def _last(rows: Tensor, stack: Any, packed: Packed | None) -> Tensor:
    """What a stack passes on."""
    weight = stack.final_layer_norm.weight
    if packed and weight.dim() == 2:
        weight = packed.each(weight)
    return _unit(rows, stack.final_layer_norm) * weight


def _linear(rows: Tensor, norm: Any, packed: Packed | None, *layers: Any) -> Tensor:
    """What layers make of rows times a norm's weight, side by side."""
    weights = [layer.weight for layer in layers]
    weight = torch.cat(weights, -2) if len(weights) > 1 else weights[0]
    if weight.dim() == 2 and weight.numel() > max(rows.numel(), _IN_CACHE):
        return linear(rows * norm.weight, weight)
    return _times(rows, weight * norm.weight.unsqueeze(-2), packed)


def _times(rows: Tensor, weight: Tensor, packed: Packed | None) -> Tensor:
    """Rows times a weight (out, in); where models are `stacked`, times that of each token's."""
    if packed is None or weight.dim() == 2:
        return linear(rows, weight)
    made: Tensor = _Each.apply(rows, weight, packed.tokens)
    return made


def _looked_up(ids: Tensor, table: Tensor, packed: Packed) -> Tensor:
    """The rows of an embedding; where models are `stacked`, of that of each token's model."""
    if table.dim() == 2:
        return embedding(ids, table)
    first = torch.arange(len(table)) * table.shape[1]
    return embedding(ids + packed.each(first), table.flatten(0, 1))


def _hidden(read: Packed) -> Tensor:
    """(n, 1, 1, length): what is added to the scores of padding."""
    return torch.zeros(read.real.shape).masked_fill_(~read.real, _HIDDEN)[:, None, None]


def _distances(stack: Any, read: Packed) -> Tensor:
    """(1 or n, heads, length, length): what is added to scores for the distance."""
    found, weight = _distance(stack, read.real.shape[1]), _bias(stack)
    if weight.dim() == 2:
        return found
    return found[0].unflatten(0, weight.shape[::2]).repeat_interleave(torch.tensor(read.texts), 0)


def _distance(stack: Any, length: int) -> Tensor:
    """(1, heads, length, length), the heads of all models that are `stacked` one after another."""
    own, weight = stack.block[0].layer[0].SelfAttention, _bias(stack)
    buckets = _buckets(
        length, not own.is_decoder, own.relative_attention_num_buckets,
        own.relative_attention_max_distance,
    )  # fmt: skip
    table = weight if weight.dim() == 2 else weight.transpose(0, 1).flatten(1)
    return embedding(buckets, table).permute(2, 0, 1)[None]


def _bias(stack: Any) -> Tensor:
    weight: Tensor = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    return weight


@cache
def _buckets(length: int, both_ways: bool, buckets: int, longest: int) -> Tensor:
    """(length, length): the row of the table of distances for each query and key."""
    with torch.inference_mode(False):  # a cached tensor is for training too
        at = torch.arange(length)
        found: Tensor = T5Attention._relative_position_bucket(
            at[None] - at[:, None], both_ways, buckets, longest
        )
    return found
