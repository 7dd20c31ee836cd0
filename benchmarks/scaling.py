"""What designs cost, from the paper's to a thousand languages, and where more workers stop helping.

    python benchmarks/scaling.py [--out book]

Two tables and a figure of them. ``scale_cost.csv``: runs, cells, hours and storage of designs on
mT5 of five sizes, by `xltlib.train.plan.cost` (counted operations at an assumed rate: no GPU was
measured), and of probes (seconds of the kept runs of `matrix`, measured). ``scale_workers.csv``:
10, 100 and 1,000 workers on job times drawn from measured ones, with what starting, sending and
planning a job cost; and what holds the last column back. A minute on one core.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from xltlib.book import style
from xltlib.data.datasets import languages_of
from xltlib.train import config, plan

ROOT = Path(__file__).resolve().parents[1]
# d_model, inner width of attention, d_ff, layers of encoder and decoder: Xue et al. 2021.
SIZES = {
    "small": (512, 384, 1024, 8),
    "base": (768, 768, 2048, 12),
    "large": (1024, 1024, 2816, 24),
    "XL": (2048, 2048, 5120, 24),
    "XXL": (4096, 4096, 10240, 24),
}
VOCABULARY = 250_112
# CPU seconds: a job's two starts of Snakemake and one of Python with torch (a sum of measured
# pieces); sbatch; the plan of 30 and of 3,000 jobs (2.2 and 8.1); a record read back (0.07 ms), all
# measured; a row collected (a guess: it decides nothing).
START, SEND, PLAN, PLAN_A_JOB, RECORD, ROW = 8.0, 0.15, 2.2, 0.002, 7e-5, 1.5e-5
WORKERS = (10, 100, 1000)
CURVE = (1, 3, 10, 30, 100, 300, 1000)


def parameters(size: str) -> tuple[int, int]:
    """Parameters of the layers (norms and position biases aside) and of one table of pieces."""
    width, inner, hidden, layers = SIZES[size]
    encoder, decoder = (
        4 * width * inner + 3 * width * hidden,
        8 * width * inner + 3 * width * hidden,
    )
    return layers * (encoder + decoder), VOCABULARY * width


def hours_of(name: str, size: str) -> tuple[int, int, float, int]:
    """Runs, cells, GPU hours and bytes of an experiment file with mT5 of a size for its model.

    An experiment has curves of one task; those of the others are added.
    """
    body, head = parameters(size)
    model = [f"model.body={body}", f"model.head={head}", f"model.name=google/mt5-{size.lower()}"]
    exp = config.load(name, model)
    rows, disk = [], 0
    for task in exp.tasks:
        own = [f"fewshot.task={task}"] if exp.fewshot.pairs else []
        made = plan.cost(config.load(name, [*model, *own]))
        rows += [row for row in made.tasks if row.task == task]
        disk = max(disk, made.disk)
    runs, cells = sum(t.runs for t in rows), sum(t.cells for t in rows)
    return runs, cells, sum(t.hours or 0 for t in rows), disk


def probed() -> pd.DataFrame:
    """Seconds of every run of the kept matrix."""
    about = json.loads((ROOT / "book/published/matrix/run.json").read_text("utf-8"))
    return pd.DataFrame(about["runs"]["rows"], columns=about["runs"]["columns"])


def costs(folder: Path) -> pd.DataFrame:
    """A row a design and model."""
    rows = []
    wide = {
        "title": "A hundred languages",
        "model": {"kind": "checkpoint", "name": "google/mt5-small"},
        "seeds": [0, 1, 2],
        "recipe": {"steps": 2000, "evaluations": 5, "tokens": 16384, "max_input": 128},
        "tasks": {"sib200": {"sources": list(languages_of("sib200"))[:100]}},
    }
    (folder / "hundred.yml").write_text(yaml.safe_dump(wide))
    hundred = str(folder / "hundred.yml")
    designs = {"10 languages, 90 pairs, 3 tasks, 3 seeds, 7 few-shot sizes": "paper",
               "100 languages, 9,900 pairs, 1 task, 3 seeds": hundred}  # fmt: skip
    for design, name in designs.items():
        for size in SIZES:
            runs, cells, hours, disk = hours_of(name, size)
            body, head = parameters(size)
            rows.append((design, f"mT5 {size}, {(body + 2 * head) / 1e9:.2f} bn parameters", runs,
                         cells, "GPU", hours, "computed", disk / 1e9))  # fmt: skip
    exp, seconds = config.load("matrix"), probed()["seconds"]
    made = plan.cost(exp)
    cells = sum(t.cells for t in made.tasks)
    rows.append(("`matrix`: up to 205 languages, 6 tasks, 3 seeds", "multilingual-e5-small, probed",
                 sum(t.runs for t in made.tasks), cells, "core", seconds.sum() / 3600, "measured",
                 made.disk / 1e9))  # fmt: skip
    a_cell = float(_sib200().sum()) / (len(_sib200()) * 205)
    for n in (100, 1000):
        cells, disk = 3 * n * n, 3 * n * n * 204 * 8 + n * 1004 * 13 * 384 * 2
        rows.append((f"{n:,} languages, {n * (n - 1):,} pairs, 1 task, 3 seeds",
                     "multilingual-e5-small, probed", 3 * n, cells, "core", a_cell * cells / 3600,
                     "scaled from measured seconds a cell", disk / 1e9))  # fmt: skip
    names = ["design", "model", "runs", "cells", "unit", "hours", "known how", "storage, GB"]
    return pd.DataFrame(rows, columns=names).round({"hours": 1, "storage, GB": 1})


def _sib200() -> pd.Series:
    found = probed()
    return found.loc[found["task"] == "sib200", "seconds"]


def simulated(jobs: list[float], cells: int, workers: int) -> tuple[float, str]:
    """Hours until the table is there, and what takes most of them besides the work itself."""
    n = len(jobs)
    begin, tail = PLAN + PLAN_A_JOB * n, RECORD * n + ROW * cells
    free = [0.0] * workers
    for i, seconds in enumerate(jobs):
        ready = begin + (i + 1) * SEND
        heapq.heappush(free, max(heapq.heappop(free), ready) + START + seconds)
    end = max(free) + tail
    bounds = {
        "the work itself": sum(jobs) / workers,
        "starting jobs": START * n / workers,
        "sending jobs, one after the other": SEND * n,
        "the longest job": max(jobs) + START,
        "planning and collecting, on one core": begin + tail,
    }
    return end / 3600, max(bounds, key=lambda k: bounds[k])


def workers_table() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hours by number of workers, for one run a job and for several."""
    rng, rows = random.Random(0), []
    sib, every = _sib200().tolist(), probed()["seconds"].tolist()
    thousand = [s * 1000 / 205 for s in rng.choices(sib, k=3000)]
    tuned = json.loads((ROOT / "book/published/text2text/run.json").read_text("utf-8"))
    columns = tuned["runs"]["columns"]
    times = [r[columns.index("seconds")] for r in tuned["runs"]["rows"] if "text2text" in r[1]]
    designs = {
        "`matrix`, probes, one run a job": (every, 1, 152_599),
        "`matrix`, probes, 26 runs a job": (every, 26, 152_599),
        "1,000 languages, probes, one run a job": (thousand, 1, 3_000_000),
        "1,000 languages, probes, 26 runs a job": (thousand, 26, 3_000_000),
        "100 languages, text-to-text encoder, one run a job": (
            rng.choices(times, k=300),
            1,
            30_000,
        ),
    }
    curve = []
    for design, (seconds, together, cells) in designs.items():
        jobs = [sum(seconds[i : i + together]) for i in range(0, len(seconds), together)]
        found = [simulated(jobs, cells, w) for w in WORKERS]
        alone = sum(seconds) / 3600
        shares = [f"{h:.2f} ({100 * alone / (h * w):.0f} %)" for (h, _), w in
                  zip(found, WORKERS, strict=True)]  # fmt: skip
        curve += [(design, w, simulated(jobs, cells, w)[0]) for w in CURVE]
        rows.append((design, len(jobs), round(alone, 1), *shares, found[-1][1]))
    heads = [f"hours with {w:,} (of them at work)" for w in WORKERS]
    names = ["design", "jobs", "core hours of work", *heads, "what 1,000 wait for"]
    return pd.DataFrame(rows, columns=names), pd.DataFrame(
        curve, columns=["design", "workers", "hours"]
    )


@style.styled
def drawn(cost: pd.DataFrame, curve: pd.DataFrame) -> style.Card:
    """Hours by size of the model, and by number of workers, both on logarithmic axes."""
    figure = style.Card(figsize=(style.WIDTH, 6.2))
    first, second = figure.subplots(2, 1)
    sized = cost[cost["unit"] == "GPU"]
    curve = curve.assign(design=curve["design"].str.replace("`", ""))
    size = sized["model"].str.extract(r"([\d.]+) bn")[0].astype(float)
    style.seaborn().lineplot(
        x=size, y=sized["hours"], hue=sized["design"], style=sized["design"], markers=True, ax=first
    )
    first.set(
        xscale="log", yscale="log", xlabel="parameters, billions", ylabel="GPU hours, computed"
    )
    style.seaborn().lineplot(
        curve, x="workers", y="hours", hue="design", style="design", markers=True, ax=second
    )
    second.set(
        xscale="log", yscale="log", xlabel="workers", ylabel="hours until the table is there"
    )
    for ax in (first, second):
        for axis in (ax.xaxis, ax.yaxis):  # the style has no mathematics in labels
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        ax.legend(fontsize=7, title="")
        ax.grid(True)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    with TemporaryDirectory() as folder:
        cost = costs(Path(folder))
    workers, curve = workers_table()
    for name, table in (("scale_cost", cost), ("scale_workers", workers)):
        print(table.to_string(index=False), "\n")
        if out:
            table.to_csv(out / f"{name}.csv", index=False)
    if out:
        drawn(cost, curve).save(out / "scale.svg")


if __name__ == "__main__":
    main()
