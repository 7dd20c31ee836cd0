"""Write "How this was built": what ran, when, for how long, with what, and what came out."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

SHOWN = (
    "babel", "datasets", "jupyter-book", "lang2vec", "lightgbm", "matplotlib", "numpy", "pandas",
    "papermill", "scikit-learn", "scipy", "sentencepiece", "snakemake", "statsmodels",
    "tokenizers", "torch", "transformers", "xltlib",
)  # fmt: skip
TABLES = ("scores", "pairs")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def commit(root: Path) -> str:
    """Return the commit the book was built from, and whether files had been changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, text=True, capture_output=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain")
    except FileNotFoundError:
        return "git is not installed"
    if not head:
        return "not a git repository with a commit"
    return f"`{head}`, with changes not committed" if changed else f"`{head}`"


def versions() -> list[list[str]]:
    """Return [package, version] of what the numbers depend on."""
    rows = [["Python", platform.python_version()]]
    for name in SHOWN:
        try:
            rows.append([name, metadata.version(name)])
        except metadata.PackageNotFoundError:
            continue
    return rows


def duration(seconds: float) -> str:
    """Return seconds as `41.2 s` or `3:25 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"


def steps(logs: Path, names: list[str]) -> list[list[str]]:
    """Return a row for each step: name, start, wall time, processor time, how it ended."""
    rows = []
    for name in names:
        path = logs / f"{name}.json"
        if not path.exists():
            rows.append([f"`{name}`", "", "", "", "no record"])
            continue
        record = json.loads(path.read_text("utf-8"))
        times = [record.get(key, 0.0) for key in ("seconds", "cpu_seconds")]
        start = record["started"][:16].replace("T", " ")
        rows.append([f"`{name}`", start, *map(duration, times), record["status"]])
    return rows


def tables(build: Path) -> list[list[str]]:
    """Return a row for each table: file, rows, seeds, and a digest of its content.

    The digest is taken over the sorted rows as CSV: it does not depend on how Parquet packed them.
    """
    import pandas as pd

    rows = []
    for name in TABLES:
        path = build / f"{name}.parquet"
        if not path.exists():
            continue
        frame = pd.read_parquet(path)
        ordered = frame.sort_values(list(frame.columns[:8])).reset_index(drop=True)
        text = ordered.to_csv(index=False, float_format="%.10g")
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        seeds = sorted(frame["seed"].unique()) if "seed" in frame else []
        shown = ", ".join(map(str, seeds)) or "none"
        file = f"{{download}}`{name}.csv <../generated/{name}.csv>`"
        rows.append([file, f"{len(frame):,}", shown, f"`{digest}`"])
    return rows


def write_tables(build: Path, folder: Path) -> None:
    """Write the tables into `folder` as CSV, for the page to offer them."""
    import pandas as pd

    for name in TABLES:
        if (path := build / f"{name}.parquet").exists():
            pd.read_parquet(path).to_csv(folder / f"{name}.csv", index=False)


def page(root: Path, experiment: str) -> str:
    """Return the Markdown that book/built.md includes."""
    from xltlib.train import plan
    from xltlib.train.config import load

    exp = load(experiment)
    build = root / exp.folder
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.system()} {platform.machine()}, {cores} cores"
    facts = [
        ["Experiment", f"`{exp.name}` (`experiments/{exp.name}.yml`)"],
        ["Commit", commit(root)],
        ["Machine", machine],
    ]
    head = ["Step", "Started (UTC)", "Took", "Processor time", "Ended"]
    logs = build / "log"
    parts = steps(logs, [part.name for part in plan.parts(exp)])
    return "\n".join(
        [
            "## The run\n", table(["What", "Value"], facts),
            "## The tables it made\n",
            table(["File", "Rows", "Seeds", "Digest of the content"], tables(build)),
            "## Parts of the experiment\n", table(head, parts),
            "## Notebooks\n", table(head, steps(logs, list(exp.notebooks))),
            "## Versions\n", table(["Package", "Version"], versions()),
        ]
    )  # fmt: skip
