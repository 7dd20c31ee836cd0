"""Any text-to-text checkpoint (mT5, umT5, ByT5, mT0, mBART, `EncoderDecoderModel`), to be tuned.

Weights are float32: with the recipe of mT5's authors a step changes a weight by a thousandth of
its size, and bfloat16 weights cannot hold so small a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.models.compute import device, end_of, start_of


def load(
    name: str,
    *,
    revision: str | None = None,
    weights: str | None = None,
    dropout: float = 0.1,
    lora: int = 0,
    checkpointing: bool = False,
) -> tuple[PreTrainedModel, Tokenizer]:
    """A checkpoint and its tokenizer.

    Parameters
    ----------
    name
        A repository on the Hub or a local folder. Only safetensors weights are read, no code of
        the repository is run.
    revision
        Commit of the repository.
    weights
        Revision of the weights, where safetensors are not in the same one. On ``main`` the
        library takes them from the pull request of the Hub's conversion service (mT5's are there).
    dropout, lora, checkpointing
        See `xltlib.train.recipes.Recipe`.

    Raises
    ------
    ValueError
        Not there, no decoder, no whole tokenizer; the message says which and what to do.
    """
    config = _config(name, revision)
    inside = [config.encoder, config.decoder] if config.model_type == "encoder-decoder" else []
    tokenizer = _tokenizer(name, revision, (*inside, config)[0].vocab_size)
    for rate in ("dropout_rate", "dropout", "hidden_dropout_prob", "attention_probs_dropout_prob"):
        for one in (config, *inside):
            if hasattr(one, rate):
                setattr(one, rate, dropout)
    marks = {"pad": tokenizer.pad_token_id, "eos": end_of(tokenizer)}
    marks["decoder_start"] = start_of(tokenizer)
    for mark, number in marks.items() if inside else ():  # such folders need not name them
        if getattr(config, f"{mark}_token_id", None) is None:
            setattr(config, f"{mark}_token_id", number)
    model: Any = _weights(name, weights or revision or "main", config)
    if lora:
        model = _with_lora(model, lora)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model.to(device()), tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _config(name: str, revision: str | None) -> Any:
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no model {name!r}"
            + (f" at revision {revision!r}" if revision else "")
            + f" ({_first_line(error)}): mend the name, or run once with a network"
        ) from error
    if not config.is_encoder_decoder:
        raise ValueError(
            f"{name} ({config.model_type}) has no encoder and decoder: text-to-text tasks need "
            "one, such as google/mt5-small, google/umt5-small, google/byt5-small or mBART"
        )
    return config


def _tokenizer(name: str, revision: str | None, vocab_size: int) -> Tokenizer:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError, ImportError, TypeError, KeyError) as error:
        raise ValueError(
            f"the tokenizer of {name} is not whole ({_first_line(error)}): its folder needs "
            "tokenizer.json, or spiece.model and the package sentencepiece"
        ) from error
    if 2 * len(tokenizer) < vocab_size:
        raise ValueError(
            f"the tokenizer of {name} has {len(tokenizer)} pieces, the model {vocab_size}: a file "
            "of it is missing (tokenizer.json, or spiece.model)"
        )
    return tokenizer


def _weights(name: str, revision: str, config: Any) -> PreTrainedModel:
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(
            name, config=config, revision=revision, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"{name} has no whole weights as safetensors ({_first_line(error)}): other formats can "
            "hold code and are not read. Set weights: main, or a revision that has them"
        ) from error
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is not table.weight:
        # transformers 5 says "tied" of every T5, and scales umT5's states for it
        model.config.tie_word_embeddings = False
    return model


def _with_lora(model: PreTrainedModel, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ValueError("lora needs the package peft: pip install peft, or lora: 0") from error
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=rank, lora_alpha=2 * rank, lora_dropout=0.0)
    return get_peft_model(model, config)


def check_sentinels(texts: Iterable[str], tokenizer: Tokenizer) -> None:
    """Refuse texts that number words by sentinels that the tokenizer has not got."""
    used = {mark for text in texts for mark in re.findall(r"<extra_id_\d+>", text)}
    without = (None, tokenizer.unk_token_id)
    missing = sorted(m for m in used if tokenizer.convert_tokens_to_ids(m) in without)
    if missing:
        raise ValueError(
            f"this task numbers words by sentinels, and {missing[0]} is no single piece of the "
            "tokenizer: take mT5, umT5 or mT0, or a task that needs none"
        )
