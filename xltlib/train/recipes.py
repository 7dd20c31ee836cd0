"""The settings of pre-training and fine-tuning. Starts without torch: plans read it too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass

from xltlib.models import shape


def _not_half(asked: Any) -> Any:
    if asked in ("float16", "fp16", "half"):
        raise ValueError(
            "float16 is refused: mT5 was trained in bfloat16 and its activations overflow float16, "
            "so the loss becomes NaN (transformers issue 5651). Use bfloat16 on a GPU, float32 "
            "elsewhere"
        )
    return asked


_Precision = Annotated[shape.Precision, BeforeValidator(_not_half)]
_CONFIG = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CONFIG)
class PretrainRecipe:
    """How to pre-train: see `experiments/embedded.yml` for what each number is for."""

    steps: PositiveInt = 8000
    batch: PositiveInt = 64
    lr: PositiveFloat = 3e-3
    noise: PositiveFloat = 0.4
    mean_span: PositiveFloat = 1.0
    unit: Literal["word", "piece"] = "word"
    max_length: PositiveInt = 48
    tokens: NonNegativeInt = 0  # budget of a model; 0: `steps` batches, whatever they hold
    epochs: PositiveInt = 4  # with a budget: how often a model reads its share of each language
    weight_decay: NonNegativeFloat = 0.0  # of the layers' matrices; see `steps.groups`
    precision: _Precision = "auto"


@dataclass(frozen=True, config=_CONFIG)
class Recipe:
    """How to fine-tune; as it stands the recipe of mT5's authors (Xue et al. 2021).

    Attributes
    ----------
    steps, evaluations
        Optimizer steps, and how many times in them the validation set is scored.
    batch, tokens
        Examples of a batch; 0: as many as `tokens` hold, input, target and padding together.
    micro_tokens
        Tokens that are in memory at one time; halved when memory runs out.
    optimizer, lr, schedule
        Adafactor at 1e-3, which scales a step by the size of each weight matrix, or AdamW (1e-4 is
        about the same, t5 issue 230; fused it is one kernel, faster for small models, and differs
        by rounding). The rate is constant, or warms up and falls by a cosine.
    encoder_lr
        Rate of the embeddings and the encoder, as a share of `lr`.
    weight_decay
        Of the layers' matrices; see `steps.groups`.
    freeze
        What does not learn.
    drop_tokens
        Share of an input's tokens left out, others at every step; not where words carry tags.
    dropout
        Of all layers of a checkpoint, if it has a rate of its own.
    max_input
        Longer inputs are cut; the number of cut ones is said.
    precision
        Of the arithmetic, in training and answering; ``auto`` is bfloat16 on a GPU and float32 on
        a CPU. See `models.compute.arithmetic`.
    checkpointing
        Compute activations twice rather than keep them.
    lora
        Rank of low-rank updates (Hu et al. 2022) to learn instead of all weights; 0: all weights.
    """

    steps: PositiveInt = 8000
    evaluations: int = 20
    batch: int = 0
    tokens: PositiveInt = 2**16
    micro_tokens: PositiveInt = 2**14
    optimizer: Literal["adafactor", "adamw", "adamw_fused"] = "adafactor"
    lr: PositiveFloat = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    encoder_lr: float = 1.0
    weight_decay: float = 0.0
    freeze: Literal["nothing", "embeddings", "encoder"] = "nothing"
    drop_tokens: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: float = 0.1
    max_input: PositiveInt = 1024
    precision: _Precision = "auto"
    checkpointing: bool = False
    lora: int = 0


TINY = Recipe(
    steps=200, evaluations=2, batch=32, optimizer="adamw_fused", lr=2e-3, schedule="cosine",
    freeze="embeddings", dropout=0.0, max_input=128,
)  # fmt: skip
# An encoder with a new decoder: chosen on validation data of English intents (MASSIVE).
ENCODER = Recipe(
    steps=250, evaluations=5, batch=32, optimizer="adamw_fused", lr=1e-3, schedule="cosine",
    encoder_lr=0.2, freeze="embeddings", max_input=128, precision="bfloat16",
)  # fmt: skip
