"""Python commands as forks of the tests' process, in which what they import is imported already.

To start Python and import torch, Snakemake or Sphinx takes longer than most commands take. With
`Popen` in the place of subprocess's (the fixture `forked`) a command is what it was: words, folder,
environment, files, signals and exit status are its own. `here` does so for a while.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import inspect
import os
import runpy
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """A process: forked if it runs Python, else, and where a GPU is in use, started."""

    def _execute_child(self, *args: Any) -> None:
        start = super()._execute_child
        asked = inspect.signature(start).bind(*args).arguments
        torch = sys.modules.get("torch")
        if not _is_python(asked["args"]) or (torch and torch.cuda.is_initialized()):
            start(*args)
            return
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():  # of threads, which only wait
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            _child(asked)
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in ends))


@contextlib.contextmanager
def here() -> Iterator[None]:
    """Fork what subprocess is asked to start, by whomever; on Linux."""
    before = subprocess.Popen
    if sys.platform == "linux":
        subprocess.Popen = Popen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = before  # type: ignore[misc]


def _is_python(command: Any) -> bool:
    return (
        not isinstance(command, (str, bytes, os.PathLike))
        and command[0] == sys.executable
        and (command[1] in ("-m", "-c") or not command[1].startswith("-"))
    )


def _child(asked: dict[str, Any]) -> NoReturn:
    code: Any = 1
    try:
        gc.freeze()  # what is shared stays shared
        faulthandler.disable()
        _files(asked)
        if "tqdm" in sys.modules:  # whose lock is one for all forks, and lost with a killed one
            sys.modules["tqdm"].tqdm.set_lock(threading.RLock())
        if asked["start_new_session"]:
            os.setsid()
        os.chdir(asked["cwd"] or ".")
        if asked["env"] is not None:
            os.environ.clear()
            os.environ.update(asked["env"])
        _python([os.fspath(word) for word in asked["args"][1:]])
        code = 0
    except SystemExit as end:
        code = 0 if end.code is None else end.code
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 255)


def _files(asked: dict[str, Any]) -> None:
    """Have the command's own files, and no other that is open here."""
    for number, name in enumerate(("p2cread", "c2pwrite", "errwrite")):
        if asked[name] > 2:
            os.dup2(asked[name], number)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number not in asked["pass_fds"]:
            with contextlib.suppress(OSError):
                os.close(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, open(number, "w", buffering=1, closefd=False))
    sys.stdin = open(0, closefd=False)


def _python(words: Sequence[str]) -> None:
    """What the interpreter does with these words."""
    kind = words[0] if words[0] in ("-m", "-c") else ""
    first = os.getcwd() if kind else str(Path(words[0]).resolve().parent)
    path = os.environ.get("PYTHONPATH", "")
    before = [first, *filter(None, path.split(os.pathsep))]
    _forget_others(before)
    sys.path[:0] = before
    sys.argv = list(words[1 if kind else 0 :])
    if kind == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv[0] = "-c"
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(words[0], run_name="__main__")


def _forget_others(path: Sequence[str]) -> None:
    """Forget modules that a command's path has others of."""
    for name in {name.split(".")[0] for name in sys.modules}:
        own = getattr(sys.modules.get(name), "__file__", None)
        places = (Path(folder, name) for folder in path)
        found = next((p for p in places if p.with_suffix(".py").is_file() or p.is_dir()), None)
        if own and found and not Path(own).resolve().is_relative_to(found.parent.resolve()):
            for other in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
                del sys.modules[other]
