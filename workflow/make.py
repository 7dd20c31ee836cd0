"""Bring an experiment up to date and show how far it is: `python workflow/make.py EXPERIMENT`.

Snakemake decides what has to run and runs it. This script asks it for the plan, starts it, and
turns the records that workflow/job.py leaves into "12 of 31 steps, about 6 min left".
"""

from __future__ import annotations

import argparse
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from xltlib.train.config import load
from xltlib.train.forks import forking

sys.path.insert(0, str(Path(__file__).resolve().parent))
from job import tail  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BUILD = os.environ.get("XLT_BUILD", "build")
SECONDS_UNKNOWN = 30.0  # first guess, where nothing ever ran
FREE_NEEDED = 300 * 2**20  # bytes; an embedded run with its models and book takes about a third
GOALS = ("book", "scores")


def planned(dry_run: str, experiment: str) -> list[str]:
    """Return the names of the jobs in the output of `snakemake --dry-run`, in its order.

    A job is called like the first file it makes; one of another experiment EXPERIMENT/JOB.
    """
    names = []
    made = rf"^ +output: {re.escape(BUILD)}/([^/]+)/([^\s,]+)"
    for exp, path in re.findall(made, dry_run, re.MULTILINE):
        names.append(f"{exp}/{Path(path).stem}" if exp != experiment else Path(path).stem)
    return list(dict.fromkeys(names))


def seconds_left(names: Sequence[str], seconds: Mapping[str, float], cores: int) -> float:
    """Guess how long the steps take together: earlier times of each, else the mean of all.

    Steps are taken to fill the cores evenly, and to take no less than the longest of them.
    """
    usual = sum(seconds.values()) / len(seconds) if seconds else SECONDS_UNKNOWN
    guess = [seconds.get(name, usual) for name in names]
    return max([sum(guess) / cores, *guess], default=0.0)


def wording(seconds: float) -> str:
    """Return a span of time in words."""
    if seconds < 50:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def log_of(logs: Path, name: str, kind: str) -> Path:
    """Return where a step's record (json) or log is; that of another experiment beside ours."""
    other, _, own = name.rpartition("/")
    return (logs.parents[1] / other / "log" if other else logs) / f"{own}.{kind}"


def shown(path: Path) -> Path:
    """Return a path as a person in the repository would type it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def read_records(logs: Path, names: Sequence[str]) -> dict[str, dict]:
    """Return {name: record} of those steps that ever ran."""
    records = {}
    for name in names:
        try:
            records[name] = json.loads(log_of(logs, name, "json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a record cut off by a full disk is no reason to stop
    return records


def known_seconds(logs: Path) -> dict[str, float]:
    """Return how long steps took: this experiment's own times, else those of the others."""
    times: dict[str, float] = {}
    folders = [*sorted(p for p in logs.parents[1].glob("*/log") if p != logs), logs]
    for folder in folders:
        steps = [path.stem for path in folder.glob("*.json")]
        for name, record in read_records(folder, steps).items():
            if record.get("status") == "done":
                seconds = float(record.get("seconds", 0.0))
                times |= {name: seconds, f"{folder.parent.name}/{name}": seconds}
    return times


def words(args: argparse.Namespace, *more: str) -> list[str]:
    """Return the words of Snakemake's command for this run."""
    found = ["-s", "workflow/Snakefile", "--nolock"]
    found += ["--rerun-incomplete", "--keep-going", "--cores", str(args.cores)]
    if args.profile:
        found += ["--profile", f"workflow/profiles/{args.profile}"]
    found += ["all" if args.goal == "book" else "scores", *more]
    once = ["repair=1"] if "--dry-run" in more else []
    return [*found, "--config", f"experiment={args.experiment}", *once]


def snakemake(
    words: Sequence[str], out: Path, environment: Mapping[str, str], hold: Sequence[int] = ()
) -> BaseProcess | _Anew:
    """Start Snakemake in a process of its own, forked on Linux: importing it takes longer than
    making a plan. It writes to `out` and hands the files `hold` on to its jobs.
    """
    if sys.platform != "linux":
        return _Anew(words, out, environment, hold)
    import snakemake.cli  # noqa: F401 (the processes share it)

    context = multiprocessing.get_context("fork")
    process = context.Process(target=_snakemake, args=(words, out, dict(environment), hold))
    process.start()
    return process


class _Anew:
    """Snakemake started in the ordinary way; what is used of a process of multiprocessing."""

    def __init__(
        self, words: Sequence[str], out: Path, environment: Mapping[str, str], hold: Sequence[int]
    ) -> None:
        command = [sys.executable, "-m", "snakemake", *words]
        with out.open("w") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, pass_fds=hold
            )

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self, seconds: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)


def _snakemake(
    words: Sequence[str], out: Path, environment: Mapping[str, str], hold: Sequence[int]
) -> None:
    from snakemake.cli import main

    with out.open("w") as log:
        for file in (1, 2):
            os.dup2(log.fileno(), file)
    for file in hold:
        os.set_inheritable(file, True)
    os.environ.clear()
    os.environ.update(environment)
    main(list(words))


@contextmanager
def alone(folder: Path) -> Iterator[int]:
    """Hold the experiment for this run; wait, and say so, while another run holds it."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another run of {folder.name} is still at work; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


class Progress:
    """Prints what finished and what is left, once a step and once in a while between."""

    def __init__(self, plan: Sequence[str], args: argparse.Namespace, logs: Path) -> None:
        self.plan, self.cores, self.logs = list(plan), args.cores, logs
        self.before = known_seconds(logs)
        self.start, self.seen, self.printed = time.time(), set[str](), 0.0
        self.width = 0

    def fresh(self) -> dict[str, dict]:
        """Return the records written since this run started."""
        found = read_records(self.logs, self.plan)
        return {n: r for n, r in found.items() if self.begun(n) >= self.start - 1}

    def begun(self, name: str) -> float:
        """Return when a step's record was last written."""
        return log_of(self.logs, name, "json").stat().st_mtime

    def status(self, records: Mapping[str, dict]) -> str:
        """Return one line: steps, time left, what is running and how far it is."""
        done = {n: r["seconds"] for n, r in records.items() if r["status"] == "done"}
        running = [n for n, r in records.items() if r["status"] == "running"]
        left = [n for n in self.plan if n not in done]
        seconds = {**self.before, **done}
        for name in running:  # what it has run already is not ahead
            spent = time.time() - self.begun(name)
            seconds[name] = max(seconds.get(name, SECONDS_UNKNOWN) - spent, 0.0)
        line = f"{len(done)} of {len(self.plan)} steps"
        if left:
            line += f", about {wording(seconds_left(left, seconds, self.cores))} left"
        now = ", ".join(f"{n} {self.percentage(n)}".strip() for n in running)
        return f"{line}; now {now}" if now else line

    def percentage(self, name: str) -> str:
        """Return the percentage a running step's own progress bar shows, if it shows one."""
        log = log_of(self.logs, name, "log")
        found = re.search(r"(\d+)%\|", tail(log, 1)) if log.exists() else None
        return f"({found[1]} %)" if found else ""

    def report(self) -> None:
        """Print what is new."""
        records = self.fresh()
        news = [n for n, r in records.items() if r["status"] != "running" and n not in self.seen]
        live = sys.stderr.isatty()
        if not news and time.time() - self.printed < (1 if live else 30):
            return
        self.printed = time.time()
        for name in news:
            self.seen.add(name)
            self.erase()
            record = records[name]
            print(f"  {record['status']} {name} in {record['seconds']:.0f} s", file=sys.stderr)
        line = self.status(records)
        if live:
            line = line[: shutil.get_terminal_size().columns - 1]
            print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
            self.width = len(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def erase(self) -> None:
        """Take the redrawn line away."""
        if self.width:
            print("\r" + " " * self.width + "\r", end="", file=sys.stderr)
            self.width = 0


def plan_of(args: argparse.Namespace, folder: Path) -> list[str]:
    """Ask Snakemake what has to run."""
    said = folder / "log" / "plan.log"
    asked = snakemake(words(args, "--dry-run"), said, os.environ)
    try:
        asked.join()
    except KeyboardInterrupt:
        asked.join()
        raise SystemExit(130) from None
    output = said.read_text("utf-8")
    if asked.exitcode:
        raise SystemExit(f"The plan of {args.experiment} cannot be made:\n{last_error(output)}")
    print(*re.findall("^Note: .*\n", output, re.MULTILINE), sep="", end="", file=sys.stderr)
    return planned(output, args.experiment)


def last_error(output: str) -> str:
    """Return the person's part of what Snakemake printed: the error without the stack above it."""
    found = re.findall(
        r"^(?:\w+(?:Error|Exception)\b.*)(?:\n(?!\s*File ).*)*", output, re.MULTILINE
    )
    return (found[-1] if found else output[-2000:]).strip()


def run(args: argparse.Namespace, plan: Sequence[str], folder: Path, lock: int) -> int:
    """Start Snakemake on the plan and report until it ends."""
    progress = Progress(plan, args, folder / "log")
    print(f"{args.experiment}: {len(plan)} steps to run on {args.cores} cores", file=sys.stderr)
    here = not args.profile and len(plan) > 2
    log = folder / "log" / "snakemake.log"
    with forking(os.environ, here, folder / "log" / "jupyter") as (environment, hold):
        work = snakemake(words(args), log, environment, [lock, *hold])
        try:
            while work.exitcode is None:
                progress.report()
                work.join(1)
        except KeyboardInterrupt:
            progress.erase()
            print("Stopping. The same command goes on from here.", file=sys.stderr)
            work.join()
            return 130
    progress.report()
    progress.erase()
    return work.exitcode


def silent(said: str, experiment: str) -> dict[str, dict]:
    """Return what Snakemake said of failed steps: of one that left no record all that is known."""
    found = {}
    for block in re.findall(r"^Error in rule \w+:\n((?: +.*\n)+)", said, re.MULTILINE):
        if job := re.search(r"/([^/ ]+)/log (\S+) .*-- (.+)", block):
            exp, name, command = job.groups()
            number = re.search(r"external_jobid: (\d+)", block)
            record = {"status": "running", "command": [command]}
            found[name if exp == experiment else f"{exp}/{name}"] = {
                **record, "slurm": number[1] if number else "",
            }  # fmt: skip
    return found


def explain(folder: Path, plan: Sequence[str]) -> None:
    """Show the end of the log of what failed."""
    logs = folder / "log"
    said = tail(logs / "snakemake.log", 10_000)
    reasons = dict(re.findall(r"SLURM-job '(\d+)' failed, SLURM status is: '?([A-Z_]+)", said))
    records = {**silent(said, folder.name), **read_records(logs, plan)}
    failed = [n for n, r in records.items() if r["status"] in ("failed", "running")]
    for name in failed:
        log, record = log_of(logs, name, "log"), records[name]
        why = f"failed (exit {record['exit']})" if "exit" in record else "was killed"
        number = record.get("slurm", "")
        reason = reasons.get(number, "").lower().replace("_", " ")
        own = (ROOT / ".snakemake" / "slurm_logs").glob(f"*/*/{number}.log")
        if any(re.search("memory limit|oom.kill", tail(path, 1000)) for path in own):
            reason = "out of memory"  # not every Slurm says so in the job's state
        why += f" ({reason})" if reason not in ("", "failed") else ""
        if log.exists():
            print(f"\n{name} {why}. The end of {shown(log)}:\n", file=sys.stderr)
            print(tail(log, 20), file=sys.stderr)
        else:
            print(f"\n{name} {why} before it could say anything", file=sys.stderr)
        print(f"\nThis step again: {' '.join(record['command'])}", file=sys.stderr)
        kept = folder / "notebooks" / f"{name}.failed.ipynb"
        if kept.exists():
            print(f"\nThe notebook as far as it came: {shown(kept)}", file=sys.stderr)
    if not failed:
        print(tail(logs / "snakemake.log", 25), file=sys.stderr)
    print("\nWhat had finished is kept: the same command goes on from here.", file=sys.stderr)


def prepare(folder: Path) -> None:
    """Make the experiment's folder, or say why it cannot be made."""
    try:
        (folder / "log").mkdir(parents=True, exist_ok=True)
        (folder / "log" / ".try").write_text("")
    except OSError as error:
        raise SystemExit(
            f"Cannot write to {folder}: {error.strerror}. Give yourself write permission on that "
            "folder, or take another: XLT_BUILD=FOLDER make ..."
        ) from None
    free = shutil.disk_usage(folder).free
    if free < FREE_NEEDED:
        raise SystemExit(
            f"Only {free / 2**20:.0f} MB are free on the disk of {folder}; at least "
            f"{FREE_NEEDED / 2**20:.0f} MB are needed. Free some (`make clean` empties build/), or "
            "take another disk: XLT_BUILD=FOLDER make ..."
        )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", help="name of a file in experiments/, without .yml")
    parser.add_argument("goal", nargs="?", choices=GOALS, default="book")
    parser.add_argument("--cores", type=int, help="jobs at a time (default: one a core or GPU)")
    parser.add_argument("--profile", help="a folder of workflow/profiles, for example slurm")
    args = parser.parse_args(argv)
    if args.cores is not None and args.cores < 1:
        parser.error(f"--cores {args.cores}: at least 1 is needed")
    return args


def named(asked: str, name: str) -> str:
    """Return the name by which jobs and notebooks find an experiment given as a path."""
    own = Path("experiments", f"{name}.yml")
    if not (own.is_file() and Path(asked).is_file() and own.samefile(asked)):
        raise SystemExit(
            f"{asked} is not {own}, where notebooks look for {name!r}: copy it there, or run it "
            f"without a book, `xlt run {asked}`"
        )
    return name


def main(argv: Sequence[str] | None = None) -> int:
    """Bring `args.goal` of `args.experiment` up to date; return an exit status."""
    args = parse(argv)
    os.chdir(ROOT)
    try:  # a misspelt name must not leave a folder behind
        experiment = load(args.experiment)
    except (ValueError, FileNotFoundError) as error:
        print(f"{args.experiment}: {error}", file=sys.stderr)
        return 2
    if args.experiment != experiment.name:
        args.experiment = named(args.experiment, experiment.name)
    args.cores = args.cores or experiment.model.at_once
    args.notebooks = {*experiment.notebooks, "book"}
    folder = ROOT / BUILD / args.experiment
    prepare(folder)
    with alone(folder) as lock:
        start = time.monotonic()
        if not (folder / "html" / "index.html").exists():
            (folder / "book.done").unlink(missing_ok=True)
        plan = plan_of(args, folder)
        if plan and (status := run(args, plan, folder, lock)):
            if status != 130:
                explain(folder, plan)
            return status
    made = "html/index.html" if args.goal == "book" else "scores.parquet"
    took = f"{len(plan)} steps in {wording(time.monotonic() - start)}" if plan else "nothing to do"
    print(f"{args.experiment}: {took}. {shown(folder)}/{made}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
