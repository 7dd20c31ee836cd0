"""Commands in processes forked from the tests' own: what they import is imported there already."""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO


def python(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], without: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Do what `python SCRIPT WORDS` or `python -m MODULE WORDS` does in `folder`.

    Modules `without`, and those in them, are imported anew, from PYTHONPATH first.
    """
    main = partial(_python, list(words), environment.get("PYTHONPATH", ""), tuple(without))
    return run(main, folder, environment)


def run(
    main: Callable[[], object], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Call `main` in a process of its own; what it printed, and its exit status."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        inside = partial(_inside, main, folder, dict(environment), out, err)
        process = multiprocessing.get_context("fork").Process(target=inside)
        with warnings.catch_warnings():  # of threads, which only wait
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        process.join()
        out.seek(0)
        err.seek(0)
        assert process.exitcode is not None
        return subprocess.CompletedProcess([], process.exitcode, out.read(), err.read())


def _inside(
    main: Callable[[], object],
    folder: Path,
    environment: dict[str, str],
    out: IO[str],
    err: IO[str],
) -> None:
    gc.freeze()  # what is shared stays shared
    for number, name, file in ((1, "stdout", out), (2, "stderr", err)):
        os.dup2(file.fileno(), number)
        setattr(sys, name, open(number, "w", buffering=1, closefd=False))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(main())


def _python(words: list[str], path: str, without: tuple[str, ...]) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in without]:
        del sys.modules[name]
    sys.path[:0] = path.split(os.pathsep)
    module = words[0] == "-m"
    sys.argv = words[module:]
    if module:
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")
