"""Processes of parts, forked from one that has imported torch: that takes longer than a small part.

A command that runs parts on one machine keeps such a process (`forking`), at a socket that
only this user's processes may use. It does no work of its own: each part that it is asked for
(`Part`) is a process by itself, as if it had been started alone, which goes on if any other is
killed. Notebooks are forked in the same way, papermill and the kernel, which ends
with whoever asked for it. Where there is none, or it ended, a part is started in the ordinary way.
Linux only; the standard library only, for it is also imported by processes that only wait.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

_ADDRESS = "XLT_FORKS"  # the environment variable that says where the process is
_MODULES = (
    "xltlib.cli", "xltlib.train.run", "xltlib.models.tiny", "xltlib.train.pretrain",
    "xltlib.train.finetune", "xltlib.train.probe",
)  # fmt: skip
_OF_NOTEBOOKS = (
    "papermill.cli", "ipykernel.kernelapp", "pandas", "seaborn", "xltlib.book.figures",
    "xltlib.book.tables",
)  # fmt: skip
_KERNEL = "ipykernel_launcher"
_MOST = 2**17  # bytes of a message; a larger one is not taken, and the part started alone


@contextmanager
def forking(
    environment: Mapping[str, str], wanted: bool, notebooks: Path | None = None
) -> Iterator[tuple[dict[str, str], list[int]]]:
    """An environment in which parts are forked, and files to be held by all who may ask for them.

    Parameters
    ----------
    environment
        Of the parts.
    wanted
        Whether it is worth it; otherwise, and where nothing can be forked, all is as it was.
    notebooks
        A folder for the kernel's description, where notebooks are forked too.
    """
    own = {**environment}
    if not wanted or sys.platform != "linux":
        yield own, []
        return
    modules = [*_MODULES, *(_OF_NOTEBOOKS if notebooks else ())]
    if notebooks:
        _kernelspec(notebooks)
        before = own.get("JUPYTER_PATH")
        own["JUPYTER_PATH"] = os.pathsep.join([str(notebooks.absolute()), *filter(None, [before])])
    with _listening(own) as listener:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno()), *modules],
            stdin=subprocess.PIPE, env=own, pass_fds=[listener.fileno()],
        )  # fmt: skip
    with server:
        assert server.stdin
        yield own, [server.stdin.fileno()]


def _listening(environment: MutableMapping[str, str]) -> socket.socket:
    """A socket at an address of its own, which the environment is told."""
    environment[_ADDRESS] = f"xlt-{uuid.uuid4().hex}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{environment[_ADDRESS]}")
    listener.listen(128)
    return listener


def _kernelspec(folder: Path) -> None:
    """Describe the kernel `python3` to Jupyter: this Python's, forked where it can be."""
    argv = [sys.executable, "-m", __name__, "-m", _KERNEL, "-f", "{connection_file}"]
    described = {"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"}
    place = folder / "kernels" / "python3"
    place.mkdir(parents=True, exist_ok=True)
    (place / "kernel.json").write_text(json.dumps(described), "utf-8")


class Part:
    """A process at work on a part; what is used of `subprocess.Popen`, and what it took.

    Attributes
    ----------
    returncode
        None while it is at work.
    pid
        Of one that was forked, once it has begun; else 0.
    used
        CPU seconds and memory in kB at most, of one that was forked.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        out: int = 1,
        err: int = 2,
        hold: Sequence[int] = (),
    ) -> None:
        self.returncode: int | None = None
        self.used: tuple[float, int] | None = None
        self.pid = 0
        self._anew = (command, environment, out, err, hold)
        self._process: subprocess.Popen[bytes] | None = None
        self._server: socket.socket | None = None
        if (address := environment.get(_ADDRESS)) and (asked := _asked(command)):
            words = json.dumps([os.getcwd(), dict(environment), *asked]).encode()
            self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                self._server.connect(f"\0{address}")
                socket.send_fds(self._server, [words], [out, err, *hold])
                return
            except OSError:
                self._server.close()
        self._start()

    def _start(self) -> None:
        """In the ordinary way."""
        command, environment, out, err, hold = self._anew
        self._server = None
        self._process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=err, pass_fds=hold
        )

    def poll(self) -> int | None:
        """How it ended; None while it is at work."""
        return self.wait(0)

    def wait(self, seconds: float | None = None) -> int | None:
        """How it ended; None where it is still at work after so many seconds."""
        while self.returncode is None and self._server:
            if not select.select([self._server], [], [], seconds)[0]:
                return None
            try:
                told = json.loads(self._server.recv(_MOST) or b"null")
            except OSError:
                told = None
            if told is None:  # whoever waited for it was killed; its locks say whether it works
                self._server.close()
                self._start()
            elif "pid" in told:
                self.pid = told["pid"]
            else:
                self._server.close()
                self.used, self.returncode = (told["seconds"], told["memory"]), told["status"]
        if self.returncode is None and self._process:
            with suppress(subprocess.TimeoutExpired):
                self.returncode = self._process.wait(seconds)
        return self.returncode

    def terminate(self) -> None:
        """End it, if it is at work."""
        self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send it a signal, if it is at work."""
        if self.poll() is not None:
            return
        if self._process:
            self._process.send_signal(number)
        elif self.pid:
            os.kill(self.pid, number)
        elif number != signal.SIGTERM:
            return
        else:  # it has not begun, and will not
            assert self._server
            self._server.close()


def _asked(command: Sequence[str]) -> list[str]:
    """The module that a command would run, and its words; nothing if it is none to be forked.

    >>> _asked(["python", "-m", "xltlib.cli", "run", "quick", "--part", "vocabulary"])
    ['xltlib.cli', 'run', 'quick', '--part', 'vocabulary']
    """
    if "--part" in command:
        return ["xltlib.cli", *command[command.index("run") :]]
    if os.path.basename(command[0]) == "papermill":
        return ["papermill", *command[1:]]
    return [*command[command.index(_KERNEL) :]] if _KERNEL in command else []


def _serve(at: int, modules: Sequence[str]) -> None:
    """Fork a process for each part that is asked for at a socket, until nobody is left to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # parts hear it, and end by themselves
    with socket.socket(fileno=at) as listener:
        gc.disable()  # imports make no garbage, and looking for it is a fifth of their time
        try:
            for name in modules:
                importlib.import_module(name)
        except Exception:  # a part started in the ordinary way says what is wrong
            return
        gc.freeze()  # so that what is shared stays shared
        gc.enable()
        watched: list[socket.socket | int] = [listener, 0]
        while listener in (ready := select.select(watched, [], [], 5)[0]) or not ready:
            if ready:
                with listener.accept()[0] as client:
                    if _ours(client) and not _fork():
                        listener.close()
                        _attend(client)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    with suppress(ChildProcessError):  # what is at work goes on
        while os.wait():
            pass


def _ours(client: socket.socket) -> bool:
    """Whether a process of this user asks."""
    told = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", told)[1] == os.getuid()


def _fork() -> int:
    with warnings.catch_warnings():  # of threads: pyarrow's allocator has one, and can be forked
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _attend(client: socket.socket) -> NoReturn:
    """In a process between: fork the part's, wait for it, tell how it ended."""
    with suppress(OSError, ValueError, AttributeError):
        message, files, _, _ = socket.recv_fds(client, _MOST, 16)
        where, environment, *words = json.loads(message)
        if words[0] == _KERNEL:  # not before Linux 5.3: then it is started in the ordinary way
            os.close(os.pidfd_open(os.getpid()))
        if not (pid := _fork()):
            client.close()
            _work(where, environment, words, files)
        for file in files:
            os.close(file)
        try:
            client.send(json.dumps({"pid": pid}).encode())
        except OSError:  # nobody waits for it any more
            os.kill(pid, signal.SIGTERM)
        if words[0] == _KERNEL:
            ended = os.pidfd_open(pid)
            if ended not in select.select([client.fileno(), ended, 0], [], [])[0]:
                os.kill(pid, signal.SIGKILL)  # who asked is gone, or the notebook
        _, status, used = os.wait4(pid, 0)
        told = {"status": os.waitstatus_to_exitcode(status), "memory": used.ru_maxrss}
        client.send(json.dumps({**told, "seconds": used.ru_utime + used.ru_stime}).encode())
    os._exit(0)


def _work(
    where: str, environment: Mapping[str, str], words: list[str], files: list[int]
) -> NoReturn:
    """In a part's process: what the command would do; files beyond the first two are only held."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: Any = 1
    try:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        os.chdir(where)
        os.environ.clear()
        os.environ.update(environment)
        if words[0] == "xltlib.cli":
            code = importlib.import_module(words[0]).main(words[1:])
        else:
            sys.argv = words
            run = partial(runpy.run_module, words[0], run_name="__main__", alter_sys=True)
            if words[0] == _KERNEL:
                _draw_in_notebook()
                run()
            else:
                _with_kernel(run)
            code = 0
    except SystemExit as end:
        code = 0 if end.code is None else end.code
        if not isinstance(code, int):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code if isinstance(code, int) else 1)


def _draw_in_notebook() -> None:
    """What a kernel tells matplotlib before it is imported, which here it was long ago."""
    if "matplotlib" in sys.modules:
        from matplotlib import rcParams

        inline = "module://matplotlib_inline.backend_inline"
        rcParams["backend"] = os.environ.get("MPLBACKEND") or inline


def _with_kernel(run: Callable[[], object]) -> None:
    """Run a notebook whose kernel is forked by a child: what it took counts with the notebook."""
    ours, theirs = os.pipe()
    with _listening(os.environ) as listener:
        if not _fork():
            os.dup2(ours, 0)
            os.close(theirs)
            _serve(listener.detach(), ())
            os._exit(0)
    os.close(ours)
    try:
        run()
    finally:
        os.close(theirs)
        os.wait()


if __name__ == "__main__":
    if sys.argv[1] == "-m":  # a kernel: forked, or started in the ordinary way
        kernel = Part([sys.executable, *sys.argv[1:]], os.environ)
        signal.signal(signal.SIGINT, lambda number, _: kernel.send(number))
        sys.exit(kernel.wait())
    _serve(int(sys.argv[1]), sys.argv[2:])
