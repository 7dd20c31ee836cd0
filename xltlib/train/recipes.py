"""The settings of model, pre-training and fine-tuning. Starts without torch: plans read it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Freeze = Literal["nothing", "embeddings", "encoder"]
Arithmetic = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class ModelShape:
    """Shape of a T5 with gated GELU, as mT5 (Xue et al. 2021), small enough for one CPU core."""

    vocab_size: int = 3000
    d_model: int = 64
    d_ff: int = 128
    n_heads: int = 4
    n_encoder: int = 2
    n_decoder: int = 1
    dropout: float = 0.0


@dataclass(frozen=True)
class PretrainRecipe:
    """How to pre-train: see `experiments/embedded.yml` for what each number is for."""

    steps: int = 8000
    batch: int = 64
    lr: float = 3e-3
    noise: float = 0.4
    mean_span: float = 1.0
    unit: Literal["word", "piece"] = "word"
    max_length: int = 48
    tokens: int = 0  # budget of a model; 0: `steps` batches, whatever they hold
    epochs: int = 4  # with a budget: how often a model reads its share of each language
    weight_decay: float = 0.0  # of the layers' matrices; see `pretrain.groups`
    precision: Arithmetic = "float32"  # on a CPU; see `models.arithmetic`


@dataclass(frozen=True)
class FinetuneRecipe:
    """How to fine-tune: see `experiments/embedded.yml` for what each number is for."""

    steps: int = 200
    batch: int = 32
    lr: float = 2e-3
    evaluations: int = 2
    freeze: Freeze = "embeddings"
    max_length: int = 128
    encoder_lr: float = 1.0  # rate of embeddings and encoder, as a share of `lr`
    weight_decay: float = 0.0  # of the layers' matrices; see `pretrain.groups`
    # Share of an input's tokens left out, others at every step; not where words carry tags.
    drop_tokens: float = 0.0
