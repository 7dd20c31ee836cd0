"""Parts forked from a process that has imported torch: as if started anew, whoever is killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch", reason="running an experiment needs xltlib[train]")
if sys.platform != "linux":
    pytest.skip("parts are forked on Linux only", allow_module_level=True)

from test_cli import SMALL

from xltlib.cli import FAILED, main
from xltlib.train import finetune, pretrain, probe, run  # noqa: F401 (for what is forked here)
from xltlib.train.forks import Part, forking


def until(what: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.fixture(scope="module")
def environment(tmp_path_factory, repository: Path) -> Iterator[dict[str, str]]:
    """Go to a folder with an experiment, and keep a process there that forks its parts."""
    folder = tmp_path_factory.mktemp("forks")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "small.yml").write_text(SMALL)
    before = Path.cwd()
    os.chdir(folder)
    own = {**os.environ, "PYTHONPATH": str(repository), "XLT_BUILD": str(folder / "build")}
    with forking(own, True) as (environment, _):
        yield environment
    os.chdir(before)


def words(part: str) -> list[str]:
    return [sys.executable, "-m", "xltlib.cli", "run", "small", "--part", part]


class Held:
    """A part that waits: the test holds its lock."""

    def __init__(self, environment: dict[str, str], *hold: int) -> None:
        lock = Path(environment["XLT_BUILD"], "small", "locks", "vocabulary")
        lock.parent.mkdir(parents=True, exist_ok=True)
        self.lock, self.log = lock.open("w"), Path("held.log")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.out = self.log.open("w")
        self.ask(environment, self.out.fileno(), hold)
        until(lambda: "waiting for it" in self.log.read_text())
        self.worker = psutil.Process(self.pid())

    def ask(self, environment: dict[str, str], out: int, hold: Sequence[int]) -> None:
        self.part = Part(words("vocabulary"), environment, out, out, hold)

    def pid(self) -> int:
        self.part.poll()
        return self.part.pid

    def free(self) -> None:
        self.lock.close()


class HeldForAnother(Held):
    """A part that waits, asked for by a process of its own."""

    def ask(self, environment: dict[str, str], out: int, hold: Sequence[int]) -> None:
        code = (
            "import os, sys, time; from xltlib.train.forks import Part\n"
            f"part = Part({words('vocabulary')}, os.environ, 1, 1, {hold})\n"
            "while not part.pid: part.poll()\n"
            "print(part.pid, file=sys.stderr, flush=True)\n"
            "time.sleep(100)"
        )
        self.asks = subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment, stdout=out, stderr=subprocess.PIPE, pass_fds=hold, text=True,
        )  # fmt: skip

    def pid(self) -> int:
        assert self.asks.stderr
        return int(self.asks.stderr.readline())


def test_a_part_is_done_as_by_its_command(environment: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        done = Part(words("vocabulary"), environment, log.fileno(), log.fileno())
        assert done.wait() == 0 and done.used and done.used[1] > 10_000
        wrong = Part(words("vocabulry"), environment, log.fileno(), log.fileno())
        assert wrong.wait() == 2 and wrong.used
    assert Path(environment["XLT_BUILD"], "small", "parts", "vocabulary.done").is_file()
    assert "Did you mean 'vocabulary'?" in (tmp_path / "log").read_text()


def test_a_killed_part_is_known_and_a_stopped_one_ends(environment: dict[str, str]) -> None:
    for end, how in ((lambda h: h.worker.kill(), signal.SIGKILL),
                     (lambda h: h.part.terminate(), signal.SIGTERM)):  # fmt: skip
        held = Held(environment)
        end(held)
        assert held.part.wait() == -how
        held.free()


def test_where_the_one_between_is_killed_the_part_goes_on_and_is_waited_for(
    environment: dict[str, str],
) -> None:
    held = Held(environment)
    parent = held.worker.parent()
    assert parent and parent.pid != os.getpid()
    parent.kill()
    assert held.part.wait(2) is None and held.worker.is_running()  # by a process started anew
    held.free()
    assert held.part.wait() == 0 and held.part.used is None
    until(lambda: not held.worker.is_running())


def test_who_asked_may_be_killed_and_what_the_part_holds_is_held(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = HeldForAnother(environment, lock.fileno())
    held.asks.kill()
    held.asks.wait()
    with (tmp_path / "lock").open("w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.free()
        fcntl.flock(lock, fcntl.LOCK_EX)
    until(lambda: not held.worker.is_running())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_served(environment: dict[str, str]) -> None:
    code = (
        "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
        f"os.setuid(65534); s.connect(chr(0) + {environment['XLT_FORKS']!r}); "
        "socket.send_fds(s, [b'[]'], [1, 2]); print('told', s.recv(100) or 1 / 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    ends = ("ZeroDivisionError", "ConnectionResetError", "BrokenPipeError")
    assert done.stdout == "" and any(end in done.stderr for end in ends)


def test_without_the_process_a_part_is_started_anew(
    environment: dict[str, str], forked: None
) -> None:
    for process in psutil.Process().children():
        if "xltlib.train.forks" in process.cmdline():
            process.kill()
            process.wait()
    done = Part(words("vocabulary"), environment, 2, 2)
    assert done.wait() == 0 and done.used is None


@pytest.fixture(scope="module")
def kernels(tmp_path_factory, repository: Path) -> Iterator[dict[str, str]]:
    """Keep a process that forks notebooks and their kernels.

    It is started: one forked from the tests would have their event loops, whose files are closed.
    """
    pytest.importorskip("papermill", reason="notebooks need xltlib[book]")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # has papermill
    own = {**os.environ, "PATH": path, "PYTHONPATH": str(repository), "MPLBACKEND": ""}
    with forking(own, True, tmp_path_factory.mktemp("jupyter")) as (environment, _):
        yield environment


def test_a_notebook_and_its_kernel_are_forked_and_end_together(
    tmp_path: Path, kernels: dict[str, str]
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="notebooks need xltlib[book]")
    new = nbformat.v4
    lines = "import os, sys, time\nsaid = f\"{os.getpid()} {'pandas' in sys.modules}\\n\""
    lines += "\nopen('kernel', 'w').write(said)"
    cells = [new.new_code_cell(text) for text in ("long = 0", lines, "time.sleep(long)", "1 / 0")]
    cells[0].metadata["tags"] = ["parameters"]
    meta = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new.new_notebook(cells=cells, metadata=meta), tmp_path / "in.ipynb")
    kernel = tmp_path / "kernel"

    def started(out: int, long: float) -> Part:
        command = ["papermill", str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb")]
        command += ["--cwd", str(tmp_path), "-p", "long", str(long)]
        return Part(command, kernels, out, out)

    with (tmp_path / "log").open("w") as log:
        failed = started(log.fileno(), 0)
        assert failed.wait() == 1 and failed.used and failed.used[0] > 0
        assert "ZeroDivisionError" in (tmp_path / "log").read_text()
        pid, imported = kernel.read_text().split()
        assert imported == "True" and not psutil.pid_exists(int(pid))
        kernel.unlink()
        killed = started(log.fileno(), 100)
        until(lambda: kernel.is_file() and kernel.read_text().endswith("\n"))
        killed.poll()
        psutil.Process(killed.pid).kill()
        assert killed.wait() == -signal.SIGKILL
        until(lambda: not psutil.pid_exists(int(kernel.read_text().split()[0])))


def executed(
    folder: Path, environment: dict[str, str], cells: list[str], **more: str
) -> tuple[int | None, str, dict]:
    """How papermill ended, what it said, and the notebook."""
    nbformat = pytest.importorskip("nbformat", reason="notebooks need xltlib[book]")
    meta = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    code = [nbformat.v4.new_code_cell(text) for text in cells]
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=meta), folder / "in.ipynb")
    files = [str(folder / name) for name in ("in.ipynb", "out.ipynb")]
    with (folder / "log").open("w") as log:
        part = Part(["papermill", *files], {**environment, **more}, log.fileno(), log.fileno())
        status = part.wait()
    assert bool(part.used) == ("XLT_FORKS" in environment)
    return status, (folder / "log").read_text(), nbformat.read(folder / "out.ipynb", 4)


def test_a_forked_notebook_draws_and_has_the_environment_of_who_asks(
    tmp_path: Path, kernels: dict[str, str]
) -> None:
    cells = [
        "import os\nprint(os.environ['XLT_OF_ONE_JOB'])",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "print('x' * 3_000_000)",
        "import subprocess\nprint(subprocess.run(['echo', 'hello'], capture_output=True).stdout)",
    ]
    alone = {key: value for key, value in kernels.items() if key != "XLT_FORKS"}
    for place, environment in (("alone", alone), ("forked", kernels)):
        status, said, notebook = executed(tmp_path / place, environment, cells, XLT_OF_ONE_JOB="7")
        assert status == 0, said
        first, drawn, long, child = [cell["outputs"] for cell in notebook["cells"]]
        assert first[0]["text"] == "7\n" and "hello" in child[0]["text"]
        assert ["image/png" in output.get("data", {}) for output in drawn] == [True]
        assert sum(len(output["text"]) for output in long) == 3_000_001


def test_where_the_system_has_no_files_of_processes_kernels_are_started_anew(
    tmp_path: Path, repository: Path
) -> None:
    lines = "import os\ndef pidfd_open(*args):\n    raise OSError(38, 'not implemented')\n"
    (tmp_path / "sitecustomize.py").write_text(f"{lines}os.pidfd_open = pidfd_open\n")
    cells = ["import sys\nprint('pandas' in sys.modules)"]
    own = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{repository}"}
    with forking(own, True, tmp_path / "jupyter") as (environment, _):
        status, said, notebook = executed(tmp_path / "old", environment, cells)
    assert status == 0, said
    assert notebook["cells"][0]["outputs"][0]["text"] == "False\n"


def test_a_kernel_that_crashes_fails_the_notebook(tmp_path: Path, kernels: dict[str, str]) -> None:
    cells = ["import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"]
    status, said, _ = executed(tmp_path / "crash", kernels, cells)
    assert status == 138 and "died" in said  # papermill's for this


def test_a_failed_part_does_not_stop_the_others_and_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path, capfd, forked: None
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "small.yml").write_text(SMALL + "controls: {ngram: [eng]}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLT_BUILD", "build")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    (tmp_path / "build" / "small").mkdir(parents=True)
    (tmp_path / "build" / "small" / "pretrained").touch()  # where a folder should be
    assert main(["run", "small", "--jobs", "1"]) == FAILED
    said = capfd.readouterr().err
    assert "part pretrain-0 failed (exit 1)" in said and "Traceback" not in said
    assert "`xlt run small --part pretrain-0`" in said and "2 that need them were not tried" in said
    marks = {p.stem for p in (tmp_path / "build" / "small" / "parts").iterdir()}
    assert marks == {"vocabulary", "ngram"}
    (tmp_path / "build" / "small" / "pretrained").unlink()
    assert main(["run", "small"]) == 0
