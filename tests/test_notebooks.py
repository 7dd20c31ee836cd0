"""Every notebook runs by itself, and stops before its work at a parameter that is not right."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pandas
import pytest

papermill = pytest.importorskip("papermill", reason="the notebooks need xltlib[book]")
pytest.importorskip("torch", reason="the notebooks need xltlib[train]")

from IPython.core.displayhook import CapturingDisplayHook  # noqa: E402
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from IPython.utils.capture import capture_output  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from papermill.iorw import load_notebook_node  # noqa: E402
from papermill.parameterize import parameterize_notebook  # noqa: E402

from xltlib.train.config import load  # noqa: E402
from xltlib.train.plan import parts  # noqa: E402
from xltlib.train.run import do_part  # noqa: E402

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
# Everything the notebooks show: all arms, two tasks, few-shot curves; as many steps as it takes
# for scores above nothing, since a table of zeros has no spread to explain.
SMALL = """
title: Four languages, a few steps
languages: [eng, deu, rus, srp]
seeds: [0, 1]
text: {lines: 400}
model: {vocab_size: 600, d_model: 32, d_ff: 64, n_heads: 4, n_encoder: 1}
pretrain: {steps: 40, batch: 16}
tasks:
  entity_type: {recipe: {steps: 30, batch: 16, lr: 8e-3}, scratch: {steps: 30, lr: 8e-3},
                train_items: 200, validation_items: 20, test_items: 40}
  ner: {recipe: {steps: 30, batch: 16, lr: 8e-3}, scratch: {steps: 30, lr: 8e-3},
        train_items: 200, validation_items: 20, test_items: 40}
fewshot: {pairs: [[eng, deu], [rus, srp]], n: [2, 4, 8, 16], steps: 4}
controls: {scratch: [eng], shuffled: [eng], ngram: [eng], seeds: 1}
"""
FEW = {"permutations": 99, "bootstrap": 100}
QUICK = {
    "03_matrix": {"draws": 100, "task": "massive_intent"},
    "04_predictors": FEW,
    "05_examples": {"folders": ["book/published/curves-slots"]},
    "07_choosing": {"task": "udpos_dev"},
    "10_finetuning": {"steps": 5},
    "12_small_predictors": FEW,
    "14_layers": {"tasks": ["udpos_dev", "massive_intent"], "permutations": 10},
    "16_tuned": FEW,
    "19_your_scores": {"permutations": 99},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the small experiment; return its file, beside its results."""
    path = tmp_path_factory.mktemp("notebooks") / "small.yml"
    path.write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_BUILD", str(path.parent))
        exp = load(str(path))
        for part in parts(exp):
            do_part(exp, part.name)
    return path


@pytest.fixture
def run(small: Path, monkeypatch, repository: Path):
    """Return a function that runs the cells of a notebook on the small experiment: its outputs.

    In a shell of this process, with the filters of warnings that a kernel has: a process for each
    notebook would spend most of its time on imports. `execute` starts one.
    """
    monkeypatch.setenv("XLT_BUILD", str(small.parent))
    monkeypatch.chdir(repository)

    def inside(path: Path, **parameters: object) -> list[dict[str, str]]:
        given = {"experiment": str(small), **parameters}
        notebook = parameterize_notebook(load_notebook_node(str(path)), given)
        InteractiveShell.clear_instance()
        shell = InteractiveShell.instance()
        shell.history_manager.enabled = False
        results: list[dict[str, dict[str, str]]] = []
        shell.display_trap.hook = CapturingDisplayHook(shell=shell, outputs=results)
        with capture_output() as seen, warnings.catch_warnings(record=True) as warned:
            warnings.resetwarnings()
            for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
                warnings.simplefilter("ignore", kind)
            for cell in (c for c in notebook.cells if c.cell_type == "code"):
                shell.run_cell(cell.source, store_history=True).raise_error()
        assert not [str(w.message) for w in warned] and "Warning" not in seen.stderr
        return [r["data"] for r in results] + [o.data for o in seen.outputs]

    with matplotlib.rc_context(), pandas.option_context("display.max_rows", 60):
        yield inside
    InteractiveShell.clear_instance()
    plt.close("all")


@pytest.fixture
def execute(small: Path, tmp_path: Path, monkeypatch, repository: Path):
    """Return a function that executes a notebook as the pipeline does, on the small experiment."""
    monkeypatch.setenv("XLT_BUILD", str(small.parent))
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")

    def inside(path: Path, **parameters: object) -> nbformat.NotebookNode:
        return papermill.execute_notebook(
            path,
            tmp_path / path.name,
            {"experiment": str(small), **parameters},
            cwd=repository,
            kernel_name="python3",
            progress_bar=False,
        )

    return inside


@pytest.fixture(autouse=True, scope="module")
def this_kernel(tmp_path_factory):
    """Make `python3` the interpreter of these tests, whatever kernels the machine has."""
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "kernels" / "python3").mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        yield


def cells(path: Path, kind: str = "code") -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def test_the_experiments_list_the_chapters_that_show_them(repository: Path) -> None:
    names = [path.stem for path in NOTEBOOKS]
    assert len({name[:2] for name in names}) == len(names)
    for name in ("embedded", "quick"):
        listed = list(load(str(repository / "experiments" / f"{name}.yml")).notebooks)
        assert listed == names


# ---------------------------------------------------------------- templates


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_a_template(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = cells(path)
    assert all(not c.outputs and c.execution_count is None for c in code)
    assert [("parameters" in c.metadata.get("tags", [])) for c in code].count(True) == 1
    assert "parameters" in code[0].metadata["tags"]
    lines = code[0].source.splitlines()
    assert lines[0].startswith('experiment = "embedded"')
    assert all("#" in line for line in lines)  # every parameter says what is allowed
    assert "check_parameters" in code[1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_its_prose_asks_first_and_answers_last(path: Path) -> None:
    prose = [c.source for c in cells(path, "markdown")]
    title, question = prose[0].split("\n\n")[:2]
    assert title.startswith("# ") and "?" in question
    for word in ("Prerequisites", "Time", "Objectives"):
        assert word in prose[0] or word in prose[1]
    headings = [line for text in prose for line in text.splitlines() if line.startswith("## ")]
    wanted = ["## Answer", "## Try it", "## What next"]
    assert [h for h in headings if h in wanted] == wanted and headings[-1] == wanted[-1]
    assert sum(text.count("{exercise") for text in prose) >= 2
    assert sum(text.count("{solution") for text in prose) >= 2


# ---------------------------------------------------------------- executed


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_by_itself(path: Path, run) -> None:
    outputs = run(path, **QUICK.get(path.stem, {}))
    shown = " ".join(data.get("text/html", "") for data in outputs)
    assert "<svg" in shown or any("image/" in kind for data in outputs for kind in data)


@pytest.mark.slow
def test_it_runs_under_papermill(execute) -> None:
    done = execute(NOTEBOOKS[0])
    code = [c for c in done.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code if c.source.strip())
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert any("image/" in m for o in outputs if "data" in o for m in o.data)


def stops(path: Path, **parameters: object) -> str:
    """Return the error at which a notebook stops; it must be the check of its parameters.

    The cells run in an IPython shell of this process: that a kernel under papermill stops in the
    same way is tested once, in test_parameters.py.
    """
    notebook = parameterize_notebook(load_notebook_node(str(path)), parameters)
    shell = InteractiveShell()
    shell.history_manager.enabled = False
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        done = shell.run_cell(cell.source, store_history=True)
        if not done.success:
            break
    assert "check_parameters" in cell.source
    assert isinstance(done.error_in_exec, ValueError)
    return str(done.error_in_exec)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_stops_at_an_unknown_parameter(path: Path, capsys) -> None:
    error = stops(path, experimnt="quick")
    assert "unknown parameter 'experimnt'. Did you mean 'experiment'" in error
    declared = [line.split(" = ")[0] for line in cells(path)[0].source.splitlines()]
    assert all(name in error for name in declared)


WRONG = {
    "01_languages": ({"languages": ["Germn"]}, "Did you mean 'German'"),
    "02_tasks": ({"examples": "many"}, "examples"),
    "09_pretraining": ({"seed": "first"}, "seed"),
    "10_finetuning": (
        {"task": "entity"},
        "unknown value of task 'entity'. Did you mean 'entity_type'",
    ),
    "11_small_matrix": ({"model": 3}, "model must be text"),
    "12_small_predictors": ({"permutations": 5}, "must be 99 or more"),
    "13_small_examples": ({"law": "powr"}, "unknown value of law 'powr'. Did you mean 'power'"),
    "07_choosing": ({"protocol": "warmer"}, "Did you mean 'warm'"),
    "19_your_scores": ({"permutations": 5}, "must be 99 or more"),
    "06_published": ({"tasks": ["nre"]}, "Did you mean 'ner'"),
    "17_mt5_tasks": ({"tasks": ["xnil"]}, "Did you mean 'xnli'"),
    "18_beside_published": ({"setting": "zero"}, "unknown value of setting 'zero'"),
    "08_known": ({"relatives": ["swedish"]}, "is not two languages"),
    "15_spelling": ({"folder": "book/nowhere"}, "the kept scores are in"),
    "03_matrix": ({"draws": 5}, "must be 100 or more"),
    "14_layers": ({"tasks": ["udpos"]}, "Did you mean 'udpos_dev'"),
    "04_predictors": ({"folder": "book/nowhere"}, "the kept scores are in"),
    "05_examples": ({"law": "powr"}, "unknown value of law 'powr'. Did you mean 'power'"),
    "16_tuned": ({"permutations": 5}, "must be 99 or more"),
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_stops_at_a_value_that_is_not_allowed(path: Path, capsys) -> None:
    parameters, message = WRONG[path.stem]
    assert message in stops(path, **parameters)


def test_an_unknown_experiment_stops_it_and_names_the_nearest(capsys) -> None:
    assert "Did you mean 'quick'" in stops(NOTEBOOKS[0], experiment="quik")


@pytest.mark.slow
def test_what_a_checkpoint_has_not_got_is_said(capsys) -> None:
    tasks = next(path for path in NOTEBOOKS if path.stem == "02_tasks")
    assert "fine-tunes a checkpoint" in stops(tasks, experiment="mt5")


@pytest.mark.slow
def test_without_results_it_names_the_command(execute, tmp_path: Path, small: Path) -> None:
    shutil.copy(small, tmp_path / "fresh.yml")
    matrix = next(path for path in NOTEBOOKS if path.stem == "11_small_matrix")
    with pytest.raises(PapermillExecutionError, match="xlt run|make scores"):
        execute(matrix, experiment=str(tmp_path / "fresh.yml"))
