"""`xlt`: run an experiment, analyse scores, measure similarity, recommend a source, plan a budget."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import xltlib
from xltlib.io import write_table

USAGE, FAILED, INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0 done, 1 failed, 2 asked wrongly, 130 interrupted."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "do"):
        parser.print_help()
        return USAGE
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_said, warnings.showwarning)
            return int(chosen.do(chosen) or 0)
    except (
        ValueError,
        OSError,
        FloatingPointError,
    ) as error:  # theirs to mend: the message says how
        print(f"xlt: {error}", file=sys.stderr)
        return USAGE if isinstance(error, ValueError) else FAILED
    except ModuleNotFoundError as error:
        print(
            f"xlt: this needs the package {error.name!r}, which is not installed: "
            "pip install 'xltlib[train]'",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("xlt: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def _said(
    usual: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any
) -> None:
    """A warning of ours as a line, without the place in the code that it comes from."""
    if category.__module__.startswith("xltlib."):
        print(f"xlt: {message}", file=sys.stderr)
    else:
        usual(message, category, *where)


def build_parser() -> argparse.ArgumentParser:
    """The command line and its help."""
    parser = argparse.ArgumentParser(prog="xlt", description=__doc__)
    parser.add_argument("--version", action="version", version=f"xlt {xltlib.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    run = commands.add_parser("run", help="do what is missing of an experiment")
    run.add_argument("experiment", nargs="?", default="embedded", help="a name or a .yml file")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="change a setting, such as pretrain.steps=500 (may be repeated)",
    )
    run.add_argument("--part", help="only this part (see --list)")
    run.add_argument("--list", action="store_true", help="show the parts and what is done")
    run.add_argument(
        "--dry-run", action="store_true", help="say what would be done and fetched, do nothing"
    )
    run.add_argument(
        "--jobs", type=int, default=None, help="parts at a time (default: one a core or GPU)"
    )
    run.add_argument("--json", action="store_true", help="print machine-readable output")
    run.set_defaults(do=do_run)

    similar = commands.add_parser("similarity", help="how alike languages are")
    similar.add_argument("languages", nargs="+", metavar="LANG", help="codes or English names")
    similar.add_argument("--out", type=Path, help="write a .csv or .parquet file")
    similar.add_argument("--json", action="store_true", help="print machine-readable output")
    similar.set_defaults(do=do_similarity)

    says = commands.add_parser("analyze", help="what a table of scores says, as report and tables")
    says.add_argument("scores", type=Path, help="tidy scores or a matrix: .csv, .tsv or .parquet")
    says.add_argument("--out", type=Path, required=True, help="folder for the report and tables")
    says.add_argument("--pairs", type=Path, help="similarity of your own: source, target, measures")
    says.add_argument("--measures", help="only these measures explain, separated by commas")
    says.add_argument("--task", help="only this task")
    says.add_argument("--model", help="only this model")
    says.add_argument("--rows", default="sources", help="rows of a matrix: sources or targets")
    says.add_argument("--drop-unknown", action="store_true", help="leave unknown languages out")
    says.add_argument("--permutations", type=int, default=999, help="of the MRQAP test (999)")
    says.add_argument("--bootstrap", type=int, default=300, help="of the intervals (300)")
    says.add_argument("--seed", type=int, default=0, help="of permutations and bootstrap (0)")
    says.add_argument("--json", action="store_true", help="print analysis.json")
    says.set_defaults(do=do_analyze)

    source = commands.add_parser("recommend", help="which source language to take for a target")
    source.add_argument("target", help="code or English name; need not have been measured")
    _which_scores(source)
    source.add_argument("--n-target", type=int, default=0, help="also with so many target examples")
    source.add_argument("--top", type=int, default=5, help="how many sources to show")
    source.set_defaults(do=do_recommend)

    examples = commands.add_parser("budget", help="how many target examples a goal takes")
    examples.add_argument("target", help="code or English name; need not have been measured")
    examples.add_argument("--goal", type=float, required=True, help="score to reach, 0 to 1")
    examples.add_argument("--source", help="after fine-tuning on this source (default: any)")
    examples.add_argument("--law", default="power", help="log, power (default) or logistic")
    _which_scores(examples)
    examples.set_defaults(do=do_budget)

    doctor = commands.add_parser("doctor", help="what is installed, which device, what would run")
    doctor.add_argument("experiment", nargs="?", default="embedded")
    doctor.add_argument("--json", action="store_true", help="print machine-readable output")
    doctor.set_defaults(do=do_doctor)
    return parser


def _which_scores(command: argparse.ArgumentParser) -> None:
    command.add_argument("--task", help="task in the scores (needed if there are several)")
    command.add_argument("--scores", type=Path, help="scores table (default: of the experiment)")
    command.add_argument("--experiment", default="embedded", help="whose scores, if not --scores")
    command.add_argument("--model", default=None, help="model in the scores (default: tiny)")
    command.add_argument("--json", action="store_true", help="print machine-readable output")


# ---------------------------------------------------------------- run


def do_run(chosen: argparse.Namespace) -> int:
    """All parts (or one, or their list) of an experiment."""
    from xltlib.train import plan
    from xltlib.train.config import load

    exp = load(chosen.experiment, chosen.overrides)
    if chosen.dry_run:
        made = plan.cost(exp)
        print(json.dumps(dataclasses.asdict(made)) if chosen.json else made)
    elif chosen.list:
        return _list_parts(exp, chosen.json)
    elif not chosen.part:
        return _run_all(exp, chosen)
    else:
        from xltlib.train.run import do_part

        do_part(exp, chosen.part)
    return 0


def _list_parts(exp: Any, as_json: bool) -> int:
    from xltlib.train import plan

    done = plan.done(exp)
    rows = [{"part": p.name, "needs": list(p.needs), "done": done[p.name]} for p in plan.parts(exp)]
    if as_json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{'done   ' if row['done'] else 'missing'}  {row['part']}")
    return 0


def _run_all(exp: Any, chosen: argparse.Namespace) -> int:
    """Every part in its own process, as many at a time as there are cores."""
    if chosen.jobs is not None and chosen.jobs < 1:
        raise ValueError(f"--jobs {chosen.jobs}: at least one part must run at a time")
    from xltlib.train import plan

    waiting = {p.name: set(p.needs) for p in plan.parts(exp)}
    total, begin = len(waiting), time.monotonic()
    jobs = chosen.jobs or exp.model.at_once
    running: dict[str, subprocess.Popen[bytes]] = {}
    finished: list[str] = []
    command = [sys.executable, "-m", "xltlib.cli", "run", chosen.experiment]
    command += [word for override in chosen.overrides for word in ("--set", override)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        while waiting or running:
            ready = [n for n, needs in waiting.items() if needs <= set(finished)]
            for name in ready[: jobs - len(running)]:
                del waiting[name]
                running[name] = subprocess.Popen([*command, "--part", name], env=environment)
            time.sleep(0.1)
            for name, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                if process.returncode:
                    print(f"xlt: part {name} failed (exit {process.returncode})", file=sys.stderr)
                    return FAILED
                finished.append(name)
                gone = time.monotonic() - begin
                left = gone / len(finished) * (total - len(finished))
                print(
                    f"{len(finished)} of {total} parts, {name} done, "
                    f"about {left / 60:.0f} min left",
                    file=sys.stderr,
                )
    finally:
        for process in running.values():
            process.terminate()
    print(
        json.dumps({"scores": str(exp.folder / "scores.parquet")})
        if chosen.json
        else f"scores: {exp.folder / 'scores.parquet'}"
    )
    return 0


# ---------------------------------------------------------------- the others


def do_similarity(chosen: argparse.Namespace) -> int:
    """Print or write the pairs table of some languages."""
    from xltlib.languages import similarity

    table = similarity.pairs(chosen.languages)
    if chosen.out:
        write_table(table, chosen.out)
        print(f"{len(table)} pairs: {chosen.out}", file=sys.stderr)
    elif chosen.json:
        print(table.to_json(orient="records"))
    else:
        shown = [c for c in table.columns if not c.startswith("coverage_")]
        print(table[shown].to_string(index=False, float_format="%.2f"))
    return 0


def do_analyze(chosen: argparse.Namespace) -> int:
    """Say what a table of scores says: report, tables and JSON into a folder."""
    from xltlib.book import analyze, report
    from xltlib.languages import similarity

    for option, least in (("permutations", 0), ("bootstrap", 20)):
        if getattr(chosen, option) < least:
            raise ValueError(f"--{option} {getattr(chosen, option)}: give {least} or more")
    found = analyze.analyze(
        chosen.scores,
        similarity.read_pairs(chosen.pairs) if chosen.pairs else None,
        model=chosen.model,
        task=chosen.task,
        measures=chosen.measures.split(",") if chosen.measures else None,
        rows=chosen.rows,
        unknown_codes="drop" if chosen.drop_unknown else "error",
        permutations=chosen.permutations,
        bootstrap=chosen.bootstrap,
        seed=chosen.seed,
        progress=True,
    )
    paths = report.write(found, chosen.out)
    if chosen.json:
        print(paths[-1].read_text(encoding="utf-8"), end="")
        return 0
    for line in report.summary(found):
        print(textwrap.fill(line, 96, subsequent_indent="  "))
    print(f"{len(paths)} files in {chosen.out}; begin with {paths[0]}")
    return 0


def do_recommend(chosen: argparse.Namespace) -> int:
    """Rank the sources for a target, from the scores of an experiment or of a file."""
    from xltlib.book.budget import with_examples
    from xltlib.rank.recommend import recommend

    if chosen.top < 1:
        raise ValueError(f"--top {chosen.top}: show at least one source")
    target, table, pairs, part = _asked(chosen)
    found = recommend(target, table, pairs, **part)
    if chosen.n_target:
        found = with_examples(found, table, chosen.n_target)
    return _print_recommendation(found, chosen)


def do_budget(chosen: argparse.Namespace) -> int:
    """How many target examples a goal takes, per source."""
    from xltlib.book.budget import budget
    from xltlib.languages import name

    target, table, pairs, part = _asked(chosen)
    options: dict[str, Any] = {"source": chosen.source, "law": chosen.law, **part}
    found = budget(target, table, chosen.goal, pairs, **options)
    if chosen.json:
        print(found.to_json(orient="records"))
        return 0
    print(f"Examples of {name(target)} ({target}) for a score of {100 * chosen.goal:g} of 100")
    for row in found.to_dict("records"):
        how = "its own curve" if row["basis"] == "measured" else "curves of other targets"
        print(f"  after {name(row['source'])} ({row['source']}), by {how}: {row['answer']}")
        others = [f"{str(k)[3:]}: {v}" for k, v in row.items() if str(k).startswith("by_")]
        print(f"    by other laws, {'; '.join(others)}")
    print(f"Rests on {found['n_curves'].iloc[0]} few-shot curve(s); 95 % intervals")
    return 0


def _asked(chosen: argparse.Namespace) -> tuple[str, Any, Any, dict[str, Any]]:
    """Target, scores, pairs and the part of the scores that a command asks about."""
    from xltlib.book.tables import MODEL
    from xltlib.languages import iso3
    from xltlib.scores import called, one_metric, read

    target = iso3(chosen.target)
    path, pairs = _tables(chosen)
    table = called(one_metric(read(path)), chosen.model, chosen.task)
    models = sorted(table["model"].unique())
    model = chosen.model or (MODEL if MODEL in models else None)
    if model is None and len(models) > 1:
        raise ValueError(f"{path} holds several models: add --model, one of {', '.join(models)}")
    tasks = sorted(table["task"].unique())
    if chosen.task is None and len(tasks) > 1:
        raise ValueError(f"{path} holds several tasks: add --task, one of {', '.join(tasks)}")
    asked = {*table["source"], *table["target"], target}
    if pairs is not None and not asked <= {*pairs["source"], *pairs["target"]}:
        pairs = None  # a language not measured: similarity is computed for all
    return target, table, pairs, {"model": model, "task": chosen.task}


def _tables(chosen: argparse.Namespace) -> tuple[Path, Any]:
    """Path of the scores; the experiment's own pairs table where the scores are its own."""
    from xltlib.languages.similarity import read_pairs
    from xltlib.train.config import load

    if chosen.scores:
        return chosen.scores, None
    folder = load(chosen.experiment).folder
    if not (folder / "scores.parquet").is_file():
        raise ValueError(
            f"no scores at {folder / 'scores.parquet'}: run `xlt run {chosen.experiment}` first, "
            "or give --scores FILE"
        )
    pairs = folder / "pairs.parquet"
    return folder / "scores.parquet", read_pairs(pairs) if pairs.is_file() else None


def _print_recommendation(found: Any, chosen: argparse.Namespace) -> int:
    """The table of sources, the set worth training together, and what it all rests on."""
    shown = found.table.head(chosen.top)
    steps = found.best_set[found.best_set["expected_best"].diff().fillna(1) > 0]  # those that help
    if chosen.json:
        report = {"target": found.target, **found.labels, "rests_on": found.rests_on}
        for key, table in (("sources", shown), ("best_set", steps)):
            report[key] = json.loads(table.to_json(orient="records"))
        print(json.dumps(report))
        return 0
    from xltlib.languages import name

    labels = ", ".join(f"{k} {v}" for k, v in found.labels.items())
    print(f"Sources for {name(found.target)} ({found.target}); {labels}; scores of 0 to 100")
    print(f"{'':4} {'source':28} {'score':>5}  {'90 % interval':13}  {'the best?':>9}")
    for row in shown.itertuples(index=False):
        source = f"{name(row.source)} ({row.source})"
        how = f"{100 * row.low:.0f} to {100 * row.high:.0f}" if row.high > row.low else "measured"
        numbers = f"{100 * row.predicted:5.1f}  {how:13}  {100 * row.p_best:7.0f} %"
        print(f"{row.rank:4} {source:28} {numbers}{' measured' * (row.measured and how[0] != 'm')}")
        if chosen.n_target:
            ends = f"{100 * row.few_shot_low:.0f} to {100 * row.few_shot_high:.0f}"
            print(f"     with {chosen.n_target} examples {100 * row.few_shot:.1f} ({ends})")
        print(textwrap.fill(row.why, 88, initial_indent=" " * 5, subsequent_indent=" " * 5))
    worth = [f"{name(r.source)} {100 * r.expected_best:.1f}" for r in steps.itertuples(index=False)]
    print(f"Trained together, best score to expect with each added: {', '.join(worth)}")
    print(f"Rests on {found.rests_on}")
    return 0


def do_doctor(chosen: argparse.Namespace) -> int:
    """Say what is installed, on which device things would run, and what is still to do."""
    from xltlib.train import plan
    from xltlib.train.config import load

    report: dict[str, Any] = {
        "xltlib": xltlib.__version__,
        "python": sys.version.split()[0],
        "packages": plan.versions(),
        "cores": os.cpu_count(),
        "device": _device(),
    }
    exp = load(chosen.experiment)
    runs, done = plan.runs(exp), plan.done(exp)
    missing = [name for name, is_done in done.items() if not is_done]
    report["experiment"] = {
        "name": exp.name,
        "folder": str(exp.folder),
        "languages": list(exp.languages),
        "runs": len(runs),
        "parts": len(done),
        "parts_missing": missing,
    }
    if chosen.json:
        print(json.dumps(report))
        return 0
    print(f"xltlib {report['xltlib']}, Python {report['python']}, {report['cores']} cores")
    for name, version in report["packages"].items():
        print(f"  {name:14} {version or 'not installed: pip install xltlib[train]'}")
    print(f"device: {report['device']}")
    print(
        f"experiment {exp.name}: {len(exp.languages)} languages, {len(runs)} runs in "
        f"{len(done)} parts, {len(missing)} parts missing"
    )
    return 0


def _device() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "none: torch is not installed, analysis only"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)} (the embedded experiment runs on the CPU)"
    return "cpu"


if __name__ == "__main__":
    sys.exit(main())
