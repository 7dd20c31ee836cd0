"""A text-to-text model made of a pre-trained encoder: a small new decoder writes the answers.

It is transformers' `EncoderDecoderModel`. Its decoder knows only the pieces that answers are made
of (``config.output_pieces``, ids of the tokenizer): with all 250,002 of XLM-R a step takes seconds.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, EncoderDecoderConfig, EncoderDecoderModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.data import MAX_WORDS
from xltlib.models import encoder as encoders
from xltlib.models.compute import by_length, device, encode, end_of, longest, pad, start_of

_READ = 256  # texts on which the encoder's output is measured
_SENTINELS = [f"<extra_id_{i}>" for i in range(MAX_WORDS)]


def build(
    texts: Sequence[str],
    targets: Iterable[str],
    *,
    name: str = encoders.E5,
    source: encoders.Source = "auto",
    revision: str | None = None,
    layers: int = 1,
    dropout: float = 0.1,
    pretrained: bool = True,
    seed: int = 0,
) -> tuple[Any, Tokenizer]:
    """An encoder with a new decoder, ready to be tuned, and the encoder's tokenizer.

    The decoder starts from the encoder's last layers, as that of Rothe, Narayan and Severyn (2020,
    10.1162/tacl_a_00313). Its output rows are the encoder's embeddings of their pieces.

    Parameters
    ----------
    texts
        Inputs of training examples. The encoder's last normalisation is set so that over their
        tokens each of its dimensions has mean 0 and variance 1: E5's vectors nearly all point the
        same way.
    targets
        Texts that outputs are made of: the decoder knows the pieces of these. Where they number
        words by sentinels, the tokenizer gets these as pieces, which start as their numbers.
    layers
        Of the decoder.
    pretrained
        False: the same with random weights, a control.

    Raises
    ------
    ValueError
        No such encoder, one of a family without decoders, or fewer layers than asked for.
    """
    model, tokenizer = encoders.load(name, source=source, revision=revision)
    if layers > model.config.num_hidden_layers:
        has = model.config.num_hidden_layers
        raise ValueError(f"decoder_layers {layers}: {name} has {has}, take 1 to {has}")
    torch.manual_seed(seed)
    if not pretrained:
        model = AutoModel.from_config(model.config, add_pooling_layer=False)
    targets = set(targets)
    if any(_SENTINELS[0] in text for text in targets):
        _add_sentinels(model, tokenizer)
        targets |= set(_SENTINELS)
    made = _joined(model, tokenizer, _pieces(tokenizer, targets), layers)
    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = dropout
    made = made.to(device())
    _standardise(made, tokenizer, texts[:_READ])
    return made, tokenizer


def _add_sentinels(model: Any, tokenizer: Tokenizer) -> None:
    """Pieces that number words; each starts as the sum of its number's and the mask's rows."""
    tokenizer.add_tokens(_SENTINELS, special_tokens=True)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = model.get_input_embeddings().weight.data
    for i, mark in enumerate(_SENTINELS):
        number = tokenizer(str(i), add_special_tokens=False)["input_ids"]
        row = table[number].mean(0) + table[tokenizer.mask_token_id]
        table[tokenizer.convert_tokens_to_ids(mark)] = row


def _pieces(tokenizer: Tokenizer, targets: Iterable[str]) -> list[int]:
    """The ids of all pieces of some texts, and of the special ones, in order."""
    ids = {i for row in tokenizer(sorted(targets))["input_ids"] for i in row}
    marks = {tokenizer.pad_token_id, tokenizer.unk_token_id, start_of(tokenizer)}
    return sorted(ids | (marks - {None}) | {end_of(tokenizer)})


def _joined(encoder: Any, tokenizer: Tokenizer, pieces: list[int], layers: int) -> Any:
    """The encoder with a decoder that starts from its last layers."""
    number: dict[int | None, int] = {piece: i for i, piece in enumerate(pieces)}
    pad_id, start, end = tokenizer.pad_token_id, start_of(tokenizer), end_of(tokenizer)
    own = copy.deepcopy(encoder.config)
    own.update(
        {
            "is_decoder": True, "add_cross_attention": True, "vocab_size": len(pieces),
            "num_hidden_layers": layers, "pad_token_id": number[pad_id],
            "bos_token_id": number[start], "eos_token_id": number[end],
        }
    )  # fmt: skip
    try:
        decoder = AutoModelForCausalLM.from_config(own)
        config = EncoderDecoderConfig.from_encoder_decoder_configs(encoder.config, own)
        made: Any = EncoderDecoderModel(config, encoder, decoder)
    except ValueError as error:
        raise ValueError(
            f"no decoder can be made for an encoder of the family {own.model_type}: take one of "
            "bert, xlm-roberta, roberta or camembert, or use: probe"
        ) from error
    made.config.update(
        {
            "pad_token_id": pad_id, "decoder_start_token_id": number[start],
            "eos_token_id": number[end], "output_pieces": pieces,
        }
    )  # fmt: skip
    given, first = encoder.state_dict(), encoder.config.num_hidden_layers - layers
    for name, weight in decoder.base_model.state_dict().items():
        above = re.sub(r"(?<=\.layer\.)\d+", lambda m: str(int(m[0]) + first), name)
        if above in given and weight.shape == given[above].shape:
            weight.copy_(given[above])
    decoder.get_input_embeddings().weight.data.copy_(
        encoder.get_input_embeddings().weight.data[pieces]
    )
    return made


@torch.inference_mode()
def _standardise(model: Any, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Set the encoder's last normalisation so that its outputs over texts have mean 0, SD 1."""
    model.eval()
    rows, _ = encode(tokenizer, texts, longest(model, 10**6))
    states = []
    for group in by_length([(len(row), 0) for row in rows], 2**12):
        source = pad([rows[i] for i in group], model.config.pad_token_id).to(model.device)
        mask = source != model.config.pad_token_id
        found = model.encoder(input_ids=source, attention_mask=mask).last_hidden_state
        states.append(found[mask])
    deviation, mean = torch.std_mean(torch.cat(states), 0)
    *_, last = (m for m in model.encoder.modules() if isinstance(m, torch.nn.LayerNorm))
    last.weight.div_(deviation)
    last.bias.sub_(mean).div_(deviation)
