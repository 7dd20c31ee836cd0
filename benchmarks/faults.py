"""What is lost, and what is believed, when things go wrong: kills, damage, a full disk, two runs.

    python benchmarks/faults.py WORK [--kills 200] [--damages 1000] [--out book/faults.csv]

Two experiments of seconds (a small model pre-trained; a made-up encoder probed) are run in the
folder WORK, something is done to them, and the same command is given again until it ends well. Its
tables are compared with those of an undisturbed run, byte by byte. WORK/rounds.jsonl has a line a
round: what is there is not done again. Columns of the table: how often; rounds in which a finished
run was lost or done twice; in which a table was wrong and no word said so; in which anybody saw a
traceback; and in which the same command ended well.

Commands and their parts run in processes forked from this one, which has imported torch; those of
the pipeline are real ones. A full and a read-only disk are a small tmpfs (Linux, root).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

TINY = """
title: Two languages, a dozen steps
languages: [eng, rus]
seeds: [0]
text: {lines: 200}
model: {vocab_size: 400, d_model: 16, d_ff: 32, n_heads: 2, n_encoder: 1}
pretrain: {steps: 12, batch: 8}
recipe: {steps: 12, batch: 8}
tasks:
  entity_type: {scratch: {steps: 12}, train_items: 30, validation_items: 20, test_items: 30}
  ner: {scratch: {steps: 12}, train_items: 30, validation_items: 20, test_items: 30}
fewshot: {pairs: [[eng, rus]], n: [2, 4], steps: 3}
controls: {scratch: [eng], ngram: [eng]}
"""
PROBED = """
title: An encoder, probed
model: {kind: encoder, name: encoder, source: hub, layer_seeds: 1, penalties: [0.1]}
seeds: [0, 1]
languages: [eng, rus]
tasks:
  entity_type: {pool: 40, train_items: 30, validation_items: 10, test_items: 20, layers: [1, 2]}
"""
ENDED = "(no kill: it had ended before)"
KINDS = ("flip", "cut", "empty", "digit", "removed")
_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove")


class Rounds:
    """What was done so far, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        if path.is_file():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]

    def number(self, fault: str) -> int:
        return sum(row["fault"] == fault for row in self.rows)

    def add(self, fault: str, **found: Any) -> None:
        self.rows.append({"fault": fault, **found})
        with self.path.open("a") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")

    def table(self) -> pd.DataFrame:
        made = pd.DataFrame(self.rows)
        columns = ["lost", "twice", "believed", "traceback", "recovered"]
        grouped = made.groupby("fault", sort=False)[columns].sum().astype(int)
        grouped.insert(0, "rounds", made.groupby("fault", sort=False).size())
        order = sorted(grouped.index, key=lambda f: (f == ENDED, f.startswith("damaged")))
        heads = {"fault": "what was done", "rounds": "times", "lost": "finished runs lost",
                 "twice": "run twice", "believed": "wrong table, not said",
                 "traceback": "tracebacks",
                 "recovered": "recovered by the same command"}  # fmt: skip
        return grouped.loc[order].reset_index().rename(columns=heads)


class Lab:
    """A folder with the experiments in it, and what an undisturbed run leaves."""

    def __init__(self, work: Path) -> None:
        from encoders import save_tiny

        self.work, self.build = work, work / "build"
        self.renames, self.hooked = work / "renames.log", False
        if not (work / "workflow").is_dir():
            (work / "experiments").mkdir(parents=True)
            save_tiny(work / "experiments" / "encoder")
            (work / "experiments" / "tiny.yml").write_text(TINY)
            (work / "experiments" / "probed.yml").write_text(PROBED)
            shutil.copytree(ROOT / "workflow", work / "workflow")
        os.chdir(work)
        os.environ |= {"PYTHONPATH": str(ROOT), "XLT_BUILD": "build", "HF_HUB_OFFLINE": "1"}
        if not (work / "reference" / "probed" / "scores.parquet").is_file():
            self.clear()
            for name in ("tiny", "probed"):
                done, said = self.command(name)
                assert done == 0, said
            shutil.copytree(self.build, work / "reference")
        self.tables = {
            path.relative_to(work / "reference"): path.read_bytes()
            for path in (work / "reference").glob("*/*.parquet")
        }

    # -- states

    def clear(self) -> None:
        shutil.rmtree(self.build, ignore_errors=True)

    def finished(self) -> None:
        """Everything as an undisturbed run leaves it."""
        self.clear()
        shutil.copytree(self.work / "reference", self.build)

    def right(self, name: str, build: Path | None = None) -> bool:
        """Whether the tables of an experiment are those of the undisturbed run."""
        own = {p: c for p, c in self.tables.items() if p.parts[0] == name}
        there = (build or self.build) / name
        found = {Path(name, p.name): p.read_bytes() for p in there.glob("*.parquet")}
        return found == own

    def records(self, name: str) -> dict[str, tuple[int, int]]:
        """Every finished run's record, with what changes when it is written again.

        A run is finished if its outputs are there as well, as its record says.
        """
        from xltlib.io import sha256
        from xltlib.train.run import read_run

        found = {}
        for path in (self.build / name / "runs").glob("*.json"):
            record = read_run(path)
            outputs = self.build / name / "outputs" / f"{path.stem}.parquet"
            if record and outputs.is_file() and record["outputs"] == sha256(outputs):
                state = path.stat()
                found[path.name] = (state.st_ino, state.st_mtime_ns)
        return found

    # -- commands

    def _child(self, words: list[str], log: Path, watch: Callable[[str], None]) -> int:
        """Fork a process that runs `xlt` with these words; the parent gets its number."""
        pid = os.fork()
        if pid:
            return pid
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        from xltlib import cli
        from xltlib.train import forks

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event == "os.rename" and "/runs/" in str(args[1]):
                with self.renames.open("a") as file:
                    file.write(f"{args[1]}\n")
            if event in _EVENTS and (event != "open" or str(args[1])[:1] in ("w", "x", "a")):
                if str(args[0]).startswith("build/"):
                    watch(str(args[0]))

        if not self.hooked:  # a part's process has its parent's
            sys.addaudithook(hook)
        self.hooked, lab = True, self

        class Forked:
            """A part's process, forked from here with the hook; of `forks.Part` what is used."""

            def __init__(self, words: list[str], environment: Any) -> None:
                self.pid = lab._child(words[words.index("run") :], log, watch)
                self.returncode: int | None = None

            def poll(self) -> int | None:
                if self.returncode is None:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self.returncode = os.waitstatus_to_exitcode(status)
                return self.returncode

            def terminate(self) -> None:
                if self.poll() is None:
                    os.kill(self.pid, signal.SIGTERM)

        forks.Part = Forked  # type: ignore
        forks.forking = lambda environment, wanted: nullcontext((environment, []))  # type: ignore
        code = 70
        try:
            code = cli.main(words)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def command(
        self, name: str, watch: Callable[[str], None] = lambda path: None, seconds: float = 300
    ) -> tuple[int, str]:
        """`xlt run NAME`: its exit status and what it said."""
        log = self.work / "said.log"
        log.unlink(missing_ok=True)
        file = f"experiments/{name}.yml"
        pid, limit = self._child(["run", file, "--jobs", "1"], log, watch), time.time() + seconds
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            if time.time() > limit:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.02)
        return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")

    def until_well(self, name: str, most: int = 3) -> tuple[bool, bool, bool, str]:
        """The same command until it ends well: (recovered, believed, traceback, all it said)."""
        said = ""
        for _ in range(most):
            code, words = self.command(name)
            said += words
            if code == 0:
                right = self.right(name)
                return right, not right, "Traceback" in said, said
        return False, False, "Traceback" in said, said


# ---------------------------------------------------------------- kills


def _killing(counter: Path, at: int, late: bool, delay: float, path: str) -> None:
    """Kill this process at the `at`-th write of all its experiment's processes."""
    fd = os.open(counter, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"x")
    os.close(fd)
    if counter.stat().st_size == at and late:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-5))
    elif counter.stat().st_size == at:
        os.kill(os.getpid(), signal.SIGKILL)


def killed_at_write(lab: Lab, rounds: Rounds, n: int) -> None:
    """Python killed at a random write: before it, or up to 3 ms into it."""
    fault = "Python, in the middle of a write"
    while rounds.number(fault) < n:
        done = {row["i"] for row in rounds.rows if row["fault"] in (fault, ENDED)}
        i = next(k for k in itertools.count() if k not in done)
        rng = random.Random(f"write {i}")
        name = rng.choice(("tiny", "tiny", "probed"))
        lab.clear()
        if rng.random() < 0.5:  # some of it is there
            lab.finished()
            for path in sorted((lab.build / name).glob("*/*")):
                if rng.random() < 0.3:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        lab.renames.unlink(missing_ok=True)
        counter = lab.work / "writes.count"
        counter.write_bytes(b"")
        at, late = rng.randint(1, 90 if name == "tiny" else 50), rng.random() < 0.7
        lab.command(name, partial(_killing, counter, at, late, rng.random() * 3e-3))
        if counter.stat().st_size < at:  # it ended before
            at = 0
        before = lab.records(name)
        recovered, believed, traced, said = lab.until_well(name)
        after = lab.records(name)
        lost = any(key not in after for key in before)
        twice = any(after.get(key) != state for key, state in before.items()) and not lost
        rounds.add(fault if at else ENDED, lost=lost, twice=twice, believed=believed,
                   traceback=traced, recovered=recovered, experiment=name, at=at, i=i,
                   said="" if recovered and not traced else said[-1500:])  # fmt: skip


def _mine(lab: Lab) -> list[psutil.Process]:
    """Processes that work in the folder, this one left out."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(lab.work) and process.pid != os.getpid():
            found.append(process)
    return found


def killed_pipeline(lab: Lab, rounds: Rounds, n: int) -> None:
    """`make scores`, real: a job, Snakemake or all of it killed at a random moment."""
    faults = {"--part": "a job of the pipeline", "snakemake": "Snakemake", "all": "all processes",
              "fork": "what forks the jobs, or waits for one"}  # fmt: skip
    made = [sys.executable, "workflow/make.py", "tiny", "scores", "--cores", "1"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    lab.clear()
    dirty = True
    while (i := sum(rounds.number(f) for f in faults.values())) < n or dirty:
        rng = random.Random(f"pipeline {i}")
        victim = list(faults)[i % len(faults)]
        before = lab.records("tiny")
        with (lab.work / "make.log").open("w") as log:
            work = subprocess.Popen(made, env=environment, stdout=log, stderr=subprocess.STDOUT,
                                    start_new_session=True)  # fmt: skip
        hit = False
        if i < n:
            wait = rng.uniform(0, 12)  # from the moment a part is at work
            while work.poll() is None and not _at(work, "--part"):
                time.sleep(0.1)
            end = time.time() + wait
            while work.poll() is None and not hit:
                time.sleep(0.05)
                hit = time.time() > end and _kill(lab, work, victim)
        work.wait()
        said = (lab.work / "make.log").read_text(errors="replace")
        after = lab.records("tiny")
        lost = any(key not in after for key in before)
        twice = not lost and any(after[key] != state for key, state in before.items())
        right = work.returncode == 0 and lab.right("tiny")
        believed = work.returncode == 0 and not right
        if hit:
            rounds.add(faults[victim], lost=lost, twice=twice, believed=believed,
                       traceback="Traceback" in said, recovered=True, i=i,
                       said=said[-1500:] if "Traceback" in said else "")  # fmt: skip
        elif lost or twice or believed or work.returncode:
            rounds.add("the same command afterwards", lost=lost, twice=twice, believed=believed,
                       traceback="Traceback" in said, recovered=right,
                       said=said[-1500:])  # fmt: skip
        dirty = work.returncode != 0
        if work.returncode == 0:
            for process in _mine(lab):
                process.wait(60)
            lab.clear()


def _kill(lab: Lab, work: subprocess.Popen[bytes], victim: str) -> bool:
    """Kill -9 one process of a running pipeline, or all; whether there was one."""
    if victim == "all":
        os.killpg(work.pid, signal.SIGKILL)
        for process in _mine(lab):
            with_no_mercy(process)
        return True
    for process in _at(work, victim)[:1]:
        with_no_mercy(process)
        return True
    return False


def _at(work: subprocess.Popen[bytes], word: str) -> list[psutil.Process]:
    """Processes of a pipeline in random order: ``snakemake``, ``--part`` at work, or ``fork``."""
    found = []
    try:
        for process in psutil.Process(work.pid).children(recursive=True):
            words = process.cmdline()
            if "xltlib.train.forks" in words:  # one forks, one waits for the part, one does it
                own = "--part" if "xltlib.train.forks" in process.parents()[1].cmdline() else "fork"
                found += [process] * (own == word)
            elif word in words and "workflow/job.py" not in words and "-c" not in words:
                found.append(process)
    except psutil.Error:
        pass
    random.shuffle(found)
    return found


def with_no_mercy(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        pass


# ---------------------------------------------------------------- damage


def damaged(content: bytes, how: str, rng: random.Random) -> bytes:
    """The content with one fault in it."""
    if how == "empty" or not content:
        return b""
    if how == "cut":
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    digits = [k for k, c in enumerate(content) if chr(c).isdigit() and c < 128]
    if how == "digit" and digits:
        at = rng.choice(digits)
        changed[at] = ord(str((int(chr(changed[at])) + rng.randint(1, 9)) % 10))
    else:
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def kind_of(path: Path) -> str:
    """What a file of an experiment is."""
    room = path.parts[1] if path.parts[0] != "features" else "features"
    names = {"runs": "run record", "outputs": "kept outputs", "vocabulary": "vocabulary",
             "pretrained": "pre-trained weights", "features": "features", "parts": "mark of a part",
             "tuned": "weights of a run at work"}  # fmt: skip
    if path.name == "sha256.json":
        return "checksums of a folder"
    return names.get(room, "table" if path.suffix == ".parquet" else "other")


def damages(lab: Lab, rounds: Rounds, n: int) -> None:
    """One file of a finished experiment, or of one killed at work, damaged."""
    files = sorted(p.relative_to(lab.work / "reference")
                   for p in (lab.work / "reference").rglob("*")
                   if p.is_file() and "locks" not in p.parts)  # fmt: skip
    kinds: dict[str, list[Path]] = {}
    for path in files:
        kinds.setdefault(kind_of(path), []).append(path)
    names = [*sorted(kinds), "weights of a run at work"]
    while (i := sum(row["fault"].startswith("damaged: ") for row in rounds.rows)) < n:
        rng = random.Random(f"damage {i}")
        kind, how = names[i % len(names)], rng.choice(KINDS)
        lab.finished()
        if kind == "weights of a run at work":
            if not (path := _at_work(lab, rng)):
                continue
        else:
            path = lab.build / rng.choice(kinds[kind])
        room = path.relative_to(lab.build).parts[0]
        name = room if room in ("tiny", "probed") else "probed"
        before = path.read_bytes()
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes(damaged(before, how, rng))
        kept = lab.records(name)
        recovered, believed, traced, said = lab.until_well(name)
        after = lab.records(name)
        lost = any(key not in after for key in kept)
        rounds.add(f"damaged: {kind}", how=how, lost=lost, twice=False, believed=believed,
                   traceback=traced, recovered=recovered, path=str(path.relative_to(lab.build)),
                   said="" if recovered and not traced else said[-1500:], i=i)  # fmt: skip


def _at_work(lab: Lab, rng: random.Random) -> Path | None:
    """A file of a run that was killed after it was tuned."""
    for folder in ("runs", "outputs", "parts"):
        shutil.rmtree(lab.build / "tiny" / folder)
    mark = lab.work / "killed"
    mark.unlink(missing_ok=True)

    def watch(path: str) -> None:
        if "/outputs/" in path and list((lab.build / "tiny" / "tuned").glob("*.json")):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    lab.command("tiny", watch)
    found = sorted((lab.build / "tiny" / "tuned").glob("*"))
    return rng.choice(found) if found and mark.exists() else None


# ---------------------------------------------------------------- disks, clocks, two at a time


@contextmanager
def small_disk(lab: Lab, size: int) -> Iterator[Path]:
    """A disk of so many bytes at WORK/build."""
    lab.clear()
    lab.build.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", lab.build], check=True)
    try:
        yield lab.build
    finally:
        subprocess.run(["umount", lab.build], check=True)


def full_disk(lab: Lab, rounds: Rounds, n: int = 10) -> None:
    """A disk that is full at another place of the work each time, and then larger."""
    used = sum(-(-p.stat().st_size // 4096) * 4096
               for p in (lab.work / "reference").rglob("*"))  # fmt: skip
    while (i := rounds.number("disk full")) < n:
        with small_disk(lab, int(used * (i + 0.5) / n)):
            words = ""
            for name in ("tiny", "probed"):
                code, said = lab.command(name)
                words += said if code else ""
            half = [p for p in lab.build.rglob("*") if ".tmp" in p.name]
            kept = {name: lab.records(name) for name in ("tiny", "probed")}
            subprocess.run(["mount", "-o", "remount,size=100m", lab.build], check=True)
            found = [lab.until_well(name) for name in kept]
            after = {name: lab.records(name) for name in kept}
            lost = any(after[n].get(key) != s for n in kept for key, s in kept[n].items())
            rounds.add("disk full", lost=lost, twice=False, believed=any(f[1] for f in found),
                       traceback="Traceback" in words or any(f[2] for f in found),
                       recovered=all(f[0] for f in found) and not half,
                       cure="the disk is full" in words, i=i, said=words[-1500:])  # fmt: skip


def read_only(lab: Lab, rounds: Rounds, n: int = 4) -> None:
    """Results that cannot be written, before the first run, half-way and after the last."""
    while (i := rounds.number("read-only results")) < n:
        with small_disk(lab, 100_000_000):
            if i % 2:
                shutil.copytree(lab.work / "reference", lab.build, dirs_exist_ok=True)
                if i == 3:
                    for path in (lab.build / "tiny" / "runs").glob("*"):
                        path.unlink()
            subprocess.run(["mount", "-o", "remount,ro", lab.build], check=True)
            code, said = lab.command("tiny")
            subprocess.run(["mount", "-o", "remount,rw", lab.build], check=True)
            recovered, believed, traced, more = lab.until_well("tiny")
            rounds.add("read-only results", lost=False, twice=False, believed=believed,
                       traceback=traced or "Traceback" in said, recovered=recovered, i=i,
                       cure="read-only" in said or "may write" in said,
                       said=said[-800:])  # fmt: skip


def clock(lab: Lab, rounds: Rounds, n: int = 4) -> None:
    """The clock moved back by a day: all that is there is of tomorrow."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = [sys.executable, "workflow/make.py", "tiny", "scores", "--cores", "1"]
    while (i := rounds.number("clock moved back")) < n:
        lab.finished()
        if i % 2:
            for one in sorted((lab.build / "tiny" / "runs").glob("*"))[::2]:
                one.unlink()
        tomorrow = time.time() + 86400
        for one in lab.build.rglob("*"):
            os.utime(one, (tomorrow, tomorrow))
        kept = lab.records("tiny")
        done = subprocess.run(made, env={**os.environ, "PATH": path}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        after, right = lab.records("tiny"), lab.right("tiny")
        rounds.add("clock moved back", lost=any(k not in after for k in kept),
                   twice=any(after.get(k) != s for k, s in kept.items()),
                   believed=done.returncode == 0 and not right,
                   traceback="Traceback" in done.stdout, recovered=done.returncode == 0 and right,
                   i=i, said="" if right else done.stdout[-1500:])  # fmt: skip


def two_runs(lab: Lab, rounds: Rounds, n: int = 10) -> None:
    """Two of the same command at once in one folder; the second starts a little later."""
    while (i := rounds.number("two runs in one folder")) < n:
        rng = random.Random(f"two {i}")
        lab.clear()
        lab.renames.unlink(missing_ok=True)
        logs = [lab.work / f"two{k}.log" for k in (0, 1)]
        pids = []
        for log in logs:
            log.unlink(missing_ok=True)
            words = ["run", "experiments/tiny.yml", "--jobs", "1"]
            pids.append(lab._child(words, log, lambda path: None))
            time.sleep(rng.random() * 3)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        said = "".join(log.read_text(errors="replace") for log in logs)
        written = lab.renames.read_text().split()
        right = lab.right("tiny")
        rounds.add("two runs in one folder", lost=False, twice=len(written) != len(set(written)),
                   believed=not right and not any(codes), traceback="Traceback" in said,
                   recovered=right and not any(codes), i=i, said=said[-1500:])  # fmt: skip


# ---------------------------------------------------------------- all of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path, nargs="+", help="those after the first: only counted")
    parser.add_argument(
        "--kills", type=int, default=200, help="half at a write, half in a pipeline"
    )
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--only", nargs="+", default=["disks", "two", "writes", "damages", "kills"])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    out = asked.out.absolute() if asked.out else None
    asked.work[0].mkdir(parents=True, exist_ok=True)
    work, *others = (path.resolve() for path in asked.work)

    import torch  # noqa: F401
    import transformers  # noqa: F401

    import xltlib.models.tiny
    import xltlib.train.finetune
    import xltlib.train.generate
    import xltlib.train.pretrain
    import xltlib.train.probe
    import xltlib.train.run  # noqa: F401

    torch.set_num_threads(1)
    rounds, lab = Rounds(work / "rounds.jsonl"), Lab(work)
    if "disks" in asked.only:
        full_disk(lab, rounds)
        read_only(lab, rounds)
        clock(lab, rounds)
    if "two" in asked.only:
        two_runs(lab, rounds)
    if "damages" in asked.only:
        damages(lab, rounds, asked.damages)
    if "writes" in asked.only:
        killed_at_write(lab, rounds, asked.kills // 2)
    if "kills" in asked.only:
        killed_pipeline(lab, rounds, asked.kills - asked.kills // 2)
    for other in others:
        rounds.rows += Rounds(other / "rounds.jsonl").rows
    table = rounds.table()
    print(table.to_string(index=False))
    if out:
        table.to_csv(out, index=False)


if __name__ == "__main__":
    main()
