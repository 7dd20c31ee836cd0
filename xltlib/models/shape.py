"""What a model is asked to be. Starts without torch: plans read it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Of matrix products; weights are float32 always. `auto` is bfloat16 on a GPU, float32 on a CPU.
Precision = Literal["auto", "bfloat16", "float32"]


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
