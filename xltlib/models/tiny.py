"""A small T5 of our own: its vocabulary, its shape, its health."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration, T5Tokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from xltlib.models import ModelShape

# How a small model starts so that it learns to read within minutes; see `build`.
_EMBEDDING_STD = 0.5
_BRANCH_SCALE = 0.3
_MATCH_SCALE = 0.5


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, words: Sequence[str] = (), sentinels: int = 32
) -> T5Tokenizer:
    """A T5 tokenizer with a unigram vocabulary learned from text (SentencePiece, Kudo 2018).

    Parameters
    ----------
    texts
        Lines of text; every language should bring about the same amount.
    vocab_size
        Pieces to learn, besides sentinels and `words`.
    words
        Words that are one token each, always (labels and tags).
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=vocab_size,
        model_type="unigram",
        character_coverage=1.0,
        normalization_rule_name="identity",
        num_threads=1,  # several threads give a vocabulary that differs from run to run
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocab = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=sentinels)
    # whole words only: a label must not cut a longer word that contains it
    tokenizer.add_tokens([AddedToken(w, single_word=True, normalized=False) for w in words])
    return tokenizer


def build(shape: ModelShape, tokenizer: Tokenizer, seed: int = 0) -> T5ForConditionalGeneration:
    """A T5 with fresh weights, started for a budget of minutes.

    T5's own start expects many thousands of steps with Adafactor. Here, as measured:

    * output embeddings of their own, as mT5 (`transformers` 5 ties them unless told otherwise):
      tied, the embeddings collapsed to one direction within 250 steps (random-pair cosine 0.75);
    * small first contributions of the blocks, so that a token stays itself on its way up;
    * attention that begins near (`_near_first`), and decoder queries that begin by looking for
      tokens like their own, so that a sentinel finds its own place in the input.
    """
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=shape.d_model,
        d_kv=shape.d_model // shape.n_heads,
        d_ff=shape.d_ff,
        num_heads=shape.n_heads,
        num_layers=shape.n_encoder,
        num_decoder_layers=shape.n_decoder,
        dropout_rate=shape.dropout,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,  # type: ignore[call-arg]  # no scaling of the output
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = T5ForConditionalGeneration(config)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    with torch.no_grad():
        model.shared.weight.normal_(0.0, _EMBEDDING_STD)
        model.lm_head.weight.normal_(0.0, 0.05)
        for name, weight in model.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                weight.mul_(_BRANCH_SCALE)
            elif name.endswith("relative_attention_bias.weight"):
                weight.copy_(_near_first(weight, both_ways=name.startswith("encoder")))
            elif name.endswith("EncDecAttention.q.weight"):
                torch.nn.init.orthogonal_(weight).mul_(_MATCH_SCALE)
                model.get_parameter(name.replace(".q.", ".k.")).copy_(weight)
    return model


def _near_first(table: torch.Tensor, both_ways: bool) -> torch.Tensor:
    """Position biases (buckets, heads) with which heads begin by looking near, each its own way.

    T5's buckets count distance; in the encoder the upper half is for what comes after. One head
    looks back, one ahead, one both ways, and every fourth anywhere.
    """
    buckets, heads = table.shape
    half = buckets // 2 if both_ways else buckets
    distance = torch.arange(buckets) % half
    ahead = (torch.arange(buckets) >= half) & both_ways
    bias = torch.zeros(buckets, heads)
    for head in range(heads):
        way = head % 4
        if way < 3:
            bias[:, head] = -0.7 * distance
        if way == 0:
            bias[ahead, head] -= 3.0
        if way == 1:
            bias[~ahead & both_ways, head] -= 3.0
    return bias


def save(model: T5ForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Write model (safetensors) and tokenizer so that `from_pretrained` reads them."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> tuple[T5ForConditionalGeneration, Tokenizer]:
    """Read what `save` wrote."""
    model = T5ForConditionalGeneration.from_pretrained(folder, use_safetensors=True)
    return model, AutoTokenizer.from_pretrained(folder)


def health(model: T5ForConditionalGeneration) -> dict[str, float]:
    """Two signs of collapsed embeddings.

    Returns
    -------
    ``cosine``: mean cosine of 2,000 random pairs of embeddings (0 is healthy, near 1 collapsed).
    ``participation``: participation ratio of the covariance's eigenvalues, 1 to d_model.
    """
    table = model.get_input_embeddings().weight.detach().float().cpu().numpy()
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, len(table), (2, 2000))
    unit = table / np.linalg.norm(table, axis=1, keepdims=True).clip(1e-9)
    return {
        "cosine": float((unit[one] * unit[two]).sum(1).mean()),
        "participation": _participation(table),
    }


def _participation(rows: np.ndarray) -> float:
    """Participation ratio of the covariance's eigenvalues: how many dimensions vary."""
    eigen = np.linalg.eigvalsh(np.cov(rows.T))
    return float(eigen.sum() ** 2 / (eigen**2).sum())


@torch.inference_mode()
def reading(model: T5ForConditionalGeneration, source: torch.Tensor) -> dict[str, float]:
    """Two signs that the encoder no longer tells words apart, over the tokens of some text.

    Parameters
    ----------
    source
        (lines, length) token ids padded with 0.

    Returns
    -------
    ``common``: share of the encoder's output that is the same for every token (near 1: collapsed).
    ``reading``: participation ratio of what is left, 1 to d_model.
    """
    source = source.to(model.device)
    model.eval()
    states = model.encoder(input_ids=source, attention_mask=source != 0).last_hidden_state
    rows = states[source != 0].float().cpu().numpy()
    same = rows.mean(0)
    return {
        "common": float(same @ same / (rows**2).sum(1).mean()),
        "reading": _participation(rows),
    }


def reset_outputs(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, words: Sequence[str], seed: int = 0
) -> None:
    """Give words that were never a target of pre-training an output row like any other's.

    A piece that is never a target is pushed away from at every step: its row ends far out, on the
    side of others like it, and fine-tuning first has to bring all labels back, all together.
    """
    rows = torch.tensor(tokenizer.convert_tokens_to_ids(list(words)))
    with torch.no_grad():
        table = model.lm_head.weight
        others = torch.ones(len(table), dtype=torch.bool)
        others[rows] = False
        noise = torch.randn(
            len(rows), table.shape[1], generator=torch.Generator().manual_seed(seed)
        )
        table[rows] = (table[others].mean(0).cpu() + 0.05 * noise).to(table.device)
