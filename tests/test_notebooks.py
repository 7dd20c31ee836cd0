"""Every notebook runs by itself, and stops before its work at a parameter that is not right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

papermill = pytest.importorskip("papermill", reason="the notebooks need xltlib[book]")
pytest.importorskip("torch", reason="the notebooks need xltlib[train]")

from papermill.exceptions import PapermillExecutionError  # noqa: E402

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
# Everything the notebooks show: all arms, three tasks, few-shot curves; as many steps as it takes
# for scores above nothing, since a table of zeros has no spread to explain.
SMALL = """
title: Four languages, a few steps
languages: [eng, deu, rus, srp]
tasks: [kind, spans, find]
seeds: [0, 1]
text: {lines: 400}
model: {vocab_size: 600, d_model: 32, d_ff: 64, n_heads: 4, n_encoder: 1}
pretrain: {steps: 40, batch: 16}
finetune:
  kind: &few {steps: 40, batch: 16, lr: 8e-3, scratch_steps: 40, scratch_lr: 8e-3,
              evaluations: 2, train_items: 200, validation_items: 20, test_items: 40}
  spans: *few
  find: *few
fewshot: {pairs: [[eng, deu], [rus, srp]], n: [2, 4, 8, 16], steps: 4}
controls: {scratch: [eng, rus], shuffled: [eng, rus], ngram: [eng, rus]}
"""
QUICK = {
    "04_finetuning": {"steps": 5},
    "06_explanation": {"permutations": 99, "bootstrap": 100},
    "09_your_scores": {"permutations": 99},
}


@pytest.fixture(scope="module")
def small(shared_tmp: Path, repository: Path) -> Path:
    """Run the small experiment once for all workers; return its file, beside its results."""
    path = shared_tmp / "notebooks" / "small.yml"
    try:
        path.parent.mkdir()
    except FileExistsError:  # another worker is at it
        wait_for(path.parent / "done")
        return path
    path.write_text(SMALL)
    code = (
        "import sys; from xltlib.experiment import load; from xltlib.runs import do_part; "
        "exp = load(sys.argv[1]); [do_part(exp, part.name) for part in exp.parts()]"
    )
    environment = {**os.environ, "XLT_BUILD": str(path.parent), "PYTHONPATH": str(repository)}
    made = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True
    )
    (path.parent / "done").write_text(made.stderr[-2000:] if made.returncode else "")
    return path


def wait_for(mark: Path, seconds: float = 900) -> None:
    """Wait until another worker has written its mark."""
    end = time.monotonic() + seconds
    while not mark.exists() and time.monotonic() < end:
        time.sleep(0.2)


@pytest.fixture
def execute(small: Path, tmp_path: Path, monkeypatch, repository: Path):
    """Return a function that executes a notebook as the pipeline does, on the small experiment."""
    assert (small.parent / "done").read_text() == ""
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
    from xltlib.experiment import load

    names = [path.stem for path in NOTEBOOKS]
    assert [name[:2] for name in names] == [f"{i:02}" for i in range(1, 12)]
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
def test_it_runs_by_itself(path: Path, execute) -> None:
    done = execute(path, **QUICK.get(path.stem, {}))
    code = [c for c in done.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code if c.source.strip())
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    noise = [o.text for o in outputs if o.get("name") == "stderr" and "Warning" in o.text]
    assert not noise
    shown = " ".join(o.data.get("text/html", "") for o in outputs if "data" in o)
    assert "<svg" in shown or any("image/" in m for o in outputs if "data" in o for m in o.data)


def stops(execute, path: Path, **parameters: object) -> str:
    """Return the error at which a notebook stops; it must be the check of its parameters."""
    with pytest.raises(PapermillExecutionError) as stopped:
        execute(path, **parameters)
    assert "check_parameters" in stopped.value.source
    assert stopped.value.ename == "ValueError"
    return str(stopped.value.evalue)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS[::4], ids=lambda p: p.stem)  # one check for all
def test_it_stops_at_an_unknown_parameter(path: Path, execute) -> None:
    error = stops(execute, path, experimnt="quick")
    assert "unknown parameter 'experimnt'. Did you mean 'experiment'" in error
    declared = [line.split(" = ")[0] for line in cells(path)[0].source.splitlines()]
    assert all(name in error for name in declared)


WRONG = {
    "01_languages": ({"languages": ["Germn"]}, "Did you mean 'German'"),
    "02_tasks": ({"examples": "many"}, "examples"),
    "03_pretraining": ({"seed": "first"}, "seed"),
    "04_finetuning": ({"task": "kinds"}, "unknown value of task 'kinds'. Did you mean 'kind'"),
    "05_matrix": ({"model": 3}, "model must be text"),
    "06_explanation": ({"permutations": 5}, "must be 99 or more"),
    "07_fewshot": ({"law": "powr"}, "unknown value of law 'powr'. Did you mean 'power'"),
    "08_choosing": ({"protocol": "warmer"}, "Did you mean 'warm'"),
    "09_your_scores": ({"permutations": 5}, "must be 99 or more"),
    "10_published": ({"tasks": ["nre"]}, "Did you mean 'ner'"),
    "11_known": ({"relatives": ["swedish"]}, "is not two languages"),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_stops_at_a_value_that_is_not_allowed(path: Path, execute) -> None:
    parameters, message = WRONG[path.stem]
    assert message in stops(execute, path, **parameters)


@pytest.mark.slow
def test_an_unknown_experiment_stops_it_and_names_the_nearest(execute) -> None:
    assert "Did you mean 'quick'" in stops(execute, NOTEBOOKS[0], experiment="quik")


@pytest.mark.slow
def test_without_results_it_names_the_command(execute, tmp_path: Path, small: Path) -> None:
    shutil.copy(small, tmp_path / "fresh.yml")
    matrix = next(path for path in NOTEBOOKS if path.stem == "05_matrix")
    with pytest.raises(PapermillExecutionError, match="xlt run|make scores"):
        execute(matrix, experiment=str(tmp_path / "fresh.yml"))
