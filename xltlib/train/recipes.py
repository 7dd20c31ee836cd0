"""The settings of pre-training and fine-tuning. Starts without torch: plans read it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import with_config

from xltlib.errors import unknown
from xltlib.models.shape import Precision

Freeze = Literal["nothing", "embeddings", "encoder"]
Optimizer = Literal["adafactor", "adamw", "adamw_fused"]
Schedule = Literal["constant", "cosine"]

HALF = ("float16", "fp16", "half")
FP16 = (
    "float16 is refused: mT5 was trained in bfloat16 and its activations overflow float16, so the "
    "loss becomes NaN (transformers issue 5651). Use bfloat16 on a GPU, float32 elsewhere"
)


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
    weight_decay: float = 0.0  # of the layers' matrices; see `steps.groups`
    precision: Precision = "auto"


@with_config(extra="forbid")
@dataclass(frozen=True)
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

    steps: int = 8000
    evaluations: int = 20
    batch: int = 0
    tokens: int = 2**16
    micro_tokens: int = 2**14
    optimizer: Optimizer = "adafactor"
    lr: float = 1e-3
    schedule: Schedule = "constant"
    encoder_lr: float = 1.0
    weight_decay: float = 0.0
    freeze: Freeze = "nothing"
    drop_tokens: float = 0.0
    dropout: float = 0.1
    max_input: int = 1024
    precision: Precision = "auto"
    checkpointing: bool = False
    lora: int = 0

    def __post_init__(self) -> None:
        if self.precision in HALF:
            raise ValueError(FP16)
        named = {"optimizer": Optimizer, "schedule": Schedule, "freeze": Freeze}
        for what, allowed in {**named, "precision": Precision}.items():
            if getattr(self, what) not in get_args(allowed):
                raise unknown(what, getattr(self, what), get_args(allowed), "use one of these")
        for what in ("steps", "tokens", "micro_tokens", "lr", "max_input"):
            if getattr(self, what) <= 0:
                raise ValueError(f"{what} must be above 0, got {getattr(self, what)}")
        if not 0 <= self.drop_tokens < 1:
            cure = "0 to below 1, a share of the tokens"
            raise ValueError(f"drop_tokens must be {cure}, got {self.drop_tokens}")


MT5 = Recipe()
TINY = Recipe(
    steps=200, evaluations=2, batch=32, optimizer="adamw_fused", lr=2e-3, schedule="cosine",
    freeze="embeddings", dropout=0.0, max_input=128,
)  # fmt: skip
