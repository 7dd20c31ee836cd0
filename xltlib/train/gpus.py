"""A GPU of one's own: runs that fill one wait for a free one."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_gpu() -> Iterator[None]:
    """Hold a GPU that no other run on this machine holds; wait while there is none."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    found = range(torch.cuda.device_count())
    with free_of([str(torch.cuda.get_device_properties(i).uuid) for i in found]) as i:
        torch.cuda.set_device(i)
        yield


@contextmanager
def free_of(names: Sequence[str]) -> Iterator[int]:
    """Hold the first of some named things that no other process holds; its place in the list.

    The lock is a file of this user on this machine; it goes with the process that holds it.
    """
    folder = Path(tempfile.gettempdir(), f"xlt-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    while True:
        for i, name in enumerate(names):
            with (folder / name).open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield i
                return
        time.sleep(2)
