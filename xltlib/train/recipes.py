"""The settings of model, pre-training and fine-tuning. Starts without torch: plans read it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from xltlib.errors import unknown

Freeze = Literal["nothing", "embeddings", "encoder"]
Arithmetic = Literal["float32", "bfloat16"]
Optimizer = Literal["adafactor", "adamw"]
Precision = Literal["auto", "bfloat16", "float32"]

HALF = ("float16", "fp16", "half")
FP16 = (
    "float16 is refused: mT5 was trained in bfloat16 and its activations overflow float16, so the "
    "loss becomes NaN (transformers issue 5651). Use bfloat16 on a GPU, float32 elsewhere"
)


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


@dataclass(frozen=True)
class Seq2SeqRecipe:
    """How to fine-tune a checkpoint.

    Attributes
    ----------
    steps, evaluations
        Optimizer steps, and how many times in them the validation set is scored.
    tokens
        Input and target tokens of a batch, padding included.
    micro_tokens
        Tokens that are in memory at one time; halved when memory runs out.
    optimizer, lr
        Adafactor at 1e-3, or AdamW (1e-4 is about the same, t5 issue 230).
    dropout
        Of all layers, if the checkpoint has a rate of its own.
    max_input
        Longer inputs are cut; the number of cut ones is said.
    precision
        Of the arithmetic; ``auto`` is bfloat16 on a GPU and float32 on a CPU.
    checkpointing
        Compute activations twice rather than keep them.
    lora
        Rank of low-rank updates (Hu et al. 2022) to learn instead of all weights; 0: all weights.
    """

    steps: int = 8000
    evaluations: int = 20
    tokens: int = 2**16
    micro_tokens: int = 2**14
    optimizer: Optimizer = "adafactor"
    lr: float = 1e-3
    dropout: float = 0.1
    max_input: int = 1024
    precision: Precision = "auto"
    checkpointing: bool = False
    lora: int = 0

    def __post_init__(self) -> None:
        if self.precision in HALF:
            raise ValueError(FP16)
        for what, allowed in (("optimizer", Optimizer), ("precision", Precision)):
            if getattr(self, what) not in get_args(allowed):
                raise unknown(what, getattr(self, what), get_args(allowed), "use one of these")
        for what in ("steps", "tokens", "micro_tokens", "lr", "max_input"):
            if getattr(self, what) <= 0:
                raise ValueError(f"{what} must be above 0, got {getattr(self, what)}")
