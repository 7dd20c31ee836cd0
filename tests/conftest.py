"""What all tests share: one thread each, no windows, the pipeline's scripts importable."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Imports make no garbage, and looking for it is a fifth of their time: see the end of collection.
gc.disable()
# Before anything imports numpy or torch: pytest-xdist runs one worker a core.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow"), str(REPOSITORY / "tests")]

from forked import here  # noqa: E402


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the top folder of the repository."""
    return REPOSITORY


@pytest.fixture
def forked() -> Iterator[None]:
    """Fork Python commands from this process where they are started: see tests/forked.py."""
    with here():
        yield


# Files that take a minute or so. A file is what xdist gives a worker (what a file's tests share is
# then made once), so the long ones come first and the short ones fill up what is left.
LONG_FIRST = (
    *("test_notebooks", "test_explore", "test_book", "test_reading", "test_public_data"),
    *("test_analyze", "test_workflow", "test_runs", "test_forks", "test_setup"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first."""
    place = {name: i for i, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and never in what was imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
