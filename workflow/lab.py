"""Run the laboratory: `python workflow/lab.py [NAME ...] [-p PARAMETER VALUE] [--keep-as X]`.

Each notebook of notebooks/lab is executed by papermill in a process of its own, one a core, into
build/lab. What is kept with the book goes to book/published/lab: the executed copy without times
and folders of this machine, its table of results with the cells behind it, and how many seconds of
a core it took.
With a parameter of your own (-p model ...) it is your result, in build/lab-own; with --keep-as the
tables of results go to book/published/lab/X, beside the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from xltlib.book.style import DATA
from xltlib.io import write_text

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks" / "lab"
KEPT = ROOT / "book" / "published" / "lab"
MOST = 300_000  # bytes of an executed notebook
_NOISE = ("stderr",)  # streams that say nothing to a reader: warnings of kernels, progress bars


def stripped(notebook: dict[str, Any]) -> dict[str, Any]:
    """An executed notebook without what differs between two runs: times, folders, progress."""
    for cell in notebook["cells"]:
        kept = cell["metadata"].get("tags", [])
        cell["metadata"] = {"tags": kept} if kept else {}
        if cell["cell_type"] != "code":
            continue
        cell["execution_count"] = None
        outputs = [o for o in cell["outputs"] if o.get("name") not in _NOISE]
        for output in outputs:
            output.pop("execution_count", None)
            if output["output_type"] == "execute_result":
                output["execution_count"] = None
            data = output.get("data", {})
            if "text/html" in data or "image/svg+xml" in data or "text/markdown" in data:
                for kind in ("text/plain", "application/pdf", DATA):
                    data.pop(kind, None)
        cell["outputs"] = outputs
    cells = [c for c in notebook["cells"] if "injected-parameters" not in _tags(c)]
    about = {k: notebook["metadata"][k] for k in ("kernelspec", "language_info", "xltlib")}
    about["language_info"] = {"name": "python"}
    text = json.dumps({**notebook, "cells": cells, "metadata": about}, ensure_ascii=False)
    for place in (str(ROOT), str(Path.home()), *filter(None, [os.environ.get("XLT_DATA")])):
        text = text.replace(place, "…")
    text = re.sub(r"<dc:date>.*?</dc:date>", "", text)
    return dict(json.loads(text))


def _tags(cell: dict[str, Any]) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def run(stem: str, build: Path, parameters: list[str]) -> float:
    """Execute one notebook into `build`; return the seconds of a core that it took.

    Raises
    ------
    RuntimeError
        It stopped; the message is the end of what papermill said.
    """
    build.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / f"{stem}.ipynb")]
    command += [str(build / f"{stem}.ipynb"), "--cwd", str(ROOT), "--no-progress-bar"]
    command += ["-p", "folder", str(build), *parameters]
    log = build / f"{stem}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)  # with the kernel, which papermill waits for
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{stem} stopped:\n{log.read_text('utf-8')[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def keep_tables(stem: str, build: Path, folder: Path) -> None:
    """Copy the results of a notebook, and the cells behind them, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("csv", "cells.parquet"):
        (folder / f"{stem}.{ending}").write_bytes((build / f"{stem}.{ending}").read_bytes())


def keep(stem: str, build: Path, seconds: float) -> None:
    """Move what a notebook made to the book's folder.

    Raises
    ------
    ValueError
        The executed notebook is too large to be kept with the book.
    """
    content = json.loads((build / f"{stem}.ipynb").read_text("utf-8"))
    text = json.dumps(stripped(content), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    if len(text.encode()) > MOST:
        raise ValueError(
            f"{stem}: {len(text.encode()):,} bytes executed, at most {MOST:,} are kept: draw fewer "
            "marks, or show fewer rows"
        )
    keep_tables(stem, build, KEPT)
    write_text(KEPT / f"{stem}.ipynb", text)
    _record(stem, seconds)


def _record(stem: str, seconds: float) -> None:
    """Note how many seconds a notebook took."""
    file = KEPT / "seconds.csv"
    rows = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["lab", "seconds"])
    new = {"lab": stem, "seconds": round(seconds)}
    rows = pd.concat([rows[rows["lab"] != stem], pd.DataFrame([new])]).sort_values("lab")
    write_text(file, rows.to_csv(index=False))


def main() -> int:
    """Run what was asked for; the status is 1 where one stopped."""
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    every = sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))
    asked.add_argument("names", nargs="*", help="numbers or names; all, if none is given")
    asked.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    asked.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    asked.add_argument("--keep-as", default="", help="a name for results of your own parameters")
    given = asked.parse_args()
    wanted = [s for s in every if not given.names or any(s.startswith(n) for n in given.names)]
    if not wanted:
        print(f"no notebook {', '.join(given.names)}; there are {', '.join(every)}")
        return 2
    parameters = [text for pair in given.p for text in ("-p", *pair)]
    build = ROOT / "build" / ("lab-own" if parameters else "lab")
    status = 0
    with ThreadPoolExecutor(given.cores) as pool:
        jobs = {stem: pool.submit(run, stem, build, parameters) for stem in wanted}
        for stem, job in jobs.items():
            try:
                seconds = job.result()
                if not parameters:
                    keep(stem, build, seconds)
                elif given.keep_as:
                    keep_tables(stem, build, KEPT / given.keep_as)
                print(f"{stem}: {seconds:.0f} s", flush=True)
            except (RuntimeError, ValueError) as error:
                status = 1
                print(error, file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
