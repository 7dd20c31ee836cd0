"""What starting, planning and collecting cost beside the work: 300 cells of a second's training.

    python benchmarks/overhead.py WORK

An experiment of ten languages and three seeds (30 runs, 300 cells, 60 steps each) is run in WORK by
one process, by `xlt run` and by `make scores`. CPU seconds, since other work on the machine
lengthens all the rest; "overhead" is what a command took over the sum of its parts' own time, which
is that of the one process without its imports and without collecting. Five minutes on one core.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = """
title: three hundred cells
languages: [eng, deu, rus, tur, spa, fra, pol, swe, fin, ita]
seeds: [0, 1, 2]
text: {lines: 300}
model: {vocab_size: 600, d_model: 32, d_ff: 64, n_heads: 2, n_encoder: 1}
pretrain: {steps: 20, batch: 8}
recipe: {steps: 60, batch: 16}
tasks:
  entity_type: {train_items: 300, validation_items: 50, test_items: 100}
"""
OWN = """
import time
import xltlib.models.tiny, xltlib.train.finetune, xltlib.train.generate, xltlib.train.pretrain
from xltlib.train.config import load
from xltlib.train.plan import parts
from xltlib.train.run import do_part
exp = load("cells")
begin = time.process_time()
for part in parts(exp):
    if part.name != "collect":
        do_part(exp, part.name)
print(time.process_time() - begin)
"""


def timed(*words: str, build: str) -> tuple[float, float, str]:
    """CPU and wall seconds of a command and of all that it starts, and what it printed."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    env = {**os.environ, **threads, "PATH": path, "PYTHONPATH": str(ROOT), "XLT_BUILD": build}
    done = subprocess.run([sys.executable, *words], env=env, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{words} failed:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.monotonic() - begin, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT / "workflow", work / "workflow")
    (work / "experiments").mkdir()
    (work / "experiments" / "cells.yml").write_text(EXPERIMENT)
    os.chdir(work)
    own = float(timed("-c", OWN, build="own")[2].split()[-1])
    print(f"the parts' own time {own:.1f}", flush=True)
    xlt = ("-m", "xltlib.cli", "run", "cells", "--jobs", "1")
    make = ("workflow/make.py", "cells", "scores", "--cores", "1")
    for build, words in (("xlt", xlt), ("make", make)):
        spent, wall, _ = timed(*words, build=build)
        print(f"{words[-4:]}: {spent:.1f}, overhead {spent / own - 1:.0%} (wall {wall:.0f})")
        spent, wall, _ = timed(*words, build=build)
        print(f"again, nothing to do: {spent:.1f} (wall {wall:.0f})", flush=True)


if __name__ == "__main__":
    main()
