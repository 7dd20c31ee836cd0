"""What all tests share: one thread each, no windows, the pipeline's scripts importable."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Before anything imports numpy or torch: pytest-xdist runs one worker a core.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the top folder of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_tmp(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a temporary folder that all xdist workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent
