"""Run one job of the pipeline: one at a time per name, its output in a log, its times in a record.

`python workflow/job.py LOGDIR NAME TARGET [--made FILE] -- COMMAND …`

The command's output goes to LOGDIR/NAME.log. LOGDIR/NAME.json says when it ran, for how long and
how it ended; the page "How this was built" is written from these records. With --made the command
writes FILE, which gets the name TARGET only once the command has succeeded; otherwise it is kept
beside TARGET as *.failed.*. Parts and notebooks are forked where a process waits for that
(`xltlib.train.forks`). Standard library only: it starts in a few hundredths of a second.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from xltlib.train.forks import Part

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def write_record(path: Path, record: dict) -> None:
    """Write `record` as JSON, whole or not at all."""
    temporary = path.with_suffix(".json.tmp")
    temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(temporary, path)


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log as a person would have seen them.

    Colours are dropped and a progress bar that redrew itself counts as its last state.
    """
    text = ANSI.sub("", path.read_text(encoding="utf-8", errors="replace"))
    shown = [line.rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]
    return "\n".join(shown[-lines:])


def settle(made: Path | None, target: Path, status: int) -> None:
    """Give what was made its final name, or its failed one."""
    if made is None or not made.exists():
        return
    final = target if status == 0 else target.with_suffix(f".failed{target.suffix}")
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, final)
    if status == 0:
        target.with_suffix(f".failed{target.suffix}").unlink(missing_ok=True)


def run(logs: Path, name: str, target: Path, made: Path | None, command: list[str]) -> int:
    """Run `command` under the lock of `name` and return its exit status."""
    logs.mkdir(parents=True, exist_ok=True)
    if made is not None:
        made.parent.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.lock").open("w") as lock:
        # After kill -9 of the pipeline its last jobs may still be at work: wait for them. Snakemake
        # removes a target before it starts a job, so one that is there now came from such a job.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return 0
        started, clock = datetime.now(UTC), time.monotonic()
        record = {"name": name, "started": started.isoformat(timespec="seconds")}
        record |= {"status": "running", "pid": os.getpid(), "command": command}
        record |= {"slurm": os.environ["SLURM_JOB_ID"]} if "SLURM_JOB_ID" in os.environ else {}
        write_record(logs / f"{name}.json", record)
        with (logs / f"{name}.log").open("w") as log:
            # The child keeps the lock: should we be killed, it stays locked until the child ends.
            out = log.fileno()
            work = Part(command, os.environ, out, out, (lock.fileno(),))
            status = work.wait() or 0
        settle(made, target, status)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu, memory = work.used or (used.ru_utime + used.ru_stime, used.ru_maxrss)
        record |= {
            "status": "done" if status == 0 else "failed",
            "exit": status,
            "seconds": round(time.monotonic() - clock, 2),
            "cpu_seconds": round(cpu, 2),
            "memory_mb": memory // 1024,
        }
        del record["pid"]
        write_record(logs / f"{name}.json", record)
    return status


def main() -> int:
    """Parse the command line, run the job, show the end of its log if it failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", type=Path)
    parser.add_argument("name")
    parser.add_argument("target", type=Path)
    parser.add_argument("--made", type=Path)
    if "--" not in sys.argv:
        parser.error("nothing to run: give the command after `--`")
    at = sys.argv.index("--")
    args, command = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    try:
        status = run(args.logs, args.name, args.target, args.made, command)
    except OSError as error:  # a full or read-only disk
        where = error.filename or args.logs
        print(f"{args.name} failed, {where}: {error.strerror}", file=sys.stderr)
        return 1
    if status:
        log = args.logs / f"{args.name}.log"
        print(f"{args.name} failed (exit {status}); the end of {log}:", file=sys.stderr)
        print(tail(log), file=sys.stderr)
    return min(abs(status), 255)


if __name__ == "__main__":
    sys.exit(main())
