"""The pipeline on a small project of its own: what runs, what runs again, and what a stop costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import job
import make
import nbformat
import psutil
import pytest
import status

# A project with the pipeline's real files and an experiment made of sleeping parts. `xlt` writes
# a line for each part it runs, which is how the tests know what ran.
CONFIG = """
import json
from pathlib import Path
from types import SimpleNamespace


def load(name):
    path = Path(f"experiments/{name}.json")
    if not path.exists():
        raise ValueError(f"unknown experiment {name!r}. Allowed: small.")
    settings = json.loads(path.read_text())
    return SimpleNamespace(name=name, model=SimpleNamespace(at_once=2), **settings)
"""
RUN = "def verify(exp, repair): return []\n"
PLAN = """
from types import SimpleNamespace


def part(name, needs=(), key=""):
    return SimpleNamespace(name=name, needs=needs, key=key)


def parts(exp):
    rest = [part(f"source-{s}", ("pretrain-0",), str(n)) for s, n in exp.sources.items()]
    return [
        part("pretrain-0", key=str(exp.pretrain)), *rest, part("collect", [p.name for p in rest])
    ]


def needs(exp):
    return {p.name: SimpleNamespace(memory=100, minutes=5, gpus=0) for p in parts(exp)}


def unavailable(exp):
    return getattr(exp, "why", "")
"""
XLT = """#!{python}
import os, sys, time
from pathlib import Path
experiment, part = sys.argv[2], sys.argv[4]
build = Path("build") / experiment
with open("ran.log", "a") as log:
    log.write("start " + part + "\\n")
while os.environ.get("SLOW") == part and not os.path.exists("go"):
    time.sleep(0.05)
if os.environ.get("FAIL") == part:
    sys.exit("ValueError: no space left; free some")
(build / "parts").mkdir(parents=True, exist_ok=True)
if part == "collect":
    (build / "scores.parquet").write_text("scores")
    (build / "pairs.parquet").write_text("pairs")
(build / "parts" / (part + ".done")).write_text(part)
with open("ran.log", "a") as log:
    log.write(part + "\\n")
"""
# As little of papermill as the pipeline needs of it; the real one takes two seconds a notebook and
# runs in the test of a notebook that fails.
PAPERMILL = """#!{python}
import json, sys
from pathlib import Path
template, made, values = sys.argv[1], sys.argv[2], json.loads(sys.argv[4])
book = json.loads(Path(template).read_text())
for cell in book["cells"]:
    source = "".join(cell["source"])
    exec(source, globals())
    if "parameters" in cell["metadata"].get("tags", []):
        globals().update(values)
Path(made).write_text(json.dumps(book))
"""
SETTINGS = {
    "pretrain": {"steps": 1},
    "sources": {"deu": 1, "tur": 1},
    "notebooks": {"01_languages": {"n": 1}, "11_small_matrix": {"n": 1}},
}
NEEDS = {"01_languages": [], "11_small_matrix": ["scores"], "17_real": ["other"]}


class Project:
    """A folder with the pipeline in it, and what ran there."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.folder, self.home = folder, str(folder.resolve())
        shutil.copytree(repository / "workflow", folder / "workflow")
        # Rendering is tested in test_book.py; here it only leaves its mark.
        (folder / "workflow" / "render.py").write_text(
            "from pathlib import Path\n"
            "b = Path('build/small'); (b / 'html').mkdir(exist_ok=True)\n"
            "(b / 'html' / 'index.html').touch(); (b / 'book.done').write_text('')\n"
            "open('ran.log', 'a').write('book\\n')\n"
        )
        (folder / "xltlib" / "train").mkdir(parents=True)
        for package in ("xltlib", "xltlib/train"):
            (folder / package / "__init__.py").touch()
        for name, text in {"config": CONFIG, "plan": PLAN, "run": RUN}.items():
            (folder / "xltlib" / "train" / f"{name}.py").write_text(text)
        shutil.copy(repository / "xltlib" / "train" / "forks.py", folder / "xltlib" / "train")
        # The parts are those of bin/xlt: there is nothing to fork them from, nor torch to import.
        (folder / "xltlib" / "cli.py").write_text("raise ImportError('parts are started anew')\n")
        for name in ("experiments", "notebooks", "bin", "book"):
            (folder / name).mkdir()
        (folder / "_config.yml").touch()
        self.set()
        for stem in SETTINGS["notebooks"]:
            self.notebook(stem, f"open('ran.log', 'a').write(f'{stem} {{n}}\\n')")
        for name, text in {"xlt": XLT, "papermill": PAPERMILL}.items():
            (folder / "bin" / name).write_text(text.format(python=sys.executable))
            (folder / "bin" / name).chmod(0o755)

    def set(self, name: str = "small", **changes: object) -> None:
        settings = {**SETTINGS, **changes}
        (self.folder / "experiments" / f"{name}.json").write_text(json.dumps(settings))

    def notebook(self, stem: str, code: str) -> None:
        parameters = nbformat.v4.new_code_cell("experiment = ''\nn = 0")
        parameters.metadata["tags"] = ["parameters"]
        book = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(code)])
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book.metadata |= {"kernelspec": kernel, "xltlib": {"needs": NEEDS[stem]}}
        nbformat.write(book, self.folder / "notebooks" / f"{stem}.ipynb")

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join(
            [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder), **more}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "workflow/make.py", *(words or ("small",)), "--cores", "2"]

    def make(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), cwd=self.folder, text=True, capture_output=True,
            env=self.environment(**more),
        )  # fmt: skip

    def start(self, *words: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, env=self.environment(**more),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def log(self) -> list[str]:
        path = self.folder / "ran.log"
        return path.read_text().splitlines() if path.exists() else []

    def ran(self) -> list[str]:
        """Return what finished since the last call."""
        lines = [line for line in self.log() if not line.startswith("start")]
        (self.folder / "ran.log").unlink(missing_ok=True)
        return lines


@pytest.fixture
def project(tmp_path: Path, repository: Path, forked: None) -> Project:
    import snakemake.cli  # noqa: F401 (the forked processes share it)

    return Project(tmp_path, repository)


def test_only_what_a_change_touches_runs_again(project: Project) -> None:
    done = project.make()
    assert done.returncode == 0, done.stderr
    ran = project.ran()
    assert set(ran) == {
        *("pretrain-0", "source-deu", "source-tur", "collect"),
        *("01_languages 1", "11_small_matrix 1", "book"),
    }
    assert len(ran) == 7 and ran[-1] == "book"
    assert ran.index("pretrain-0") < ran.index("source-deu") < ran.index("collect")
    assert "7 of 7 steps" in done.stderr and " left" in done.stderr

    assert "nothing to do" in project.make().stdout
    assert project.ran() == []

    project.set(notebooks={"01_languages": {"n": 1}, "11_small_matrix": {"n": 2}})
    assert project.make().returncode == 0
    assert project.ran() == ["11_small_matrix 2", "book"]

    project.set(sources={"deu": 1, "tur": 9}, notebooks=SETTINGS["notebooks"] | {})
    assert project.make("small", "scores").returncode == 0
    assert project.ran() == ["source-tur", "collect"]


def beside(project: Project, values: dict, **changes: object) -> subprocess.CompletedProcess[str]:
    """Make the book of one chapter that shows another experiment's scores."""
    project.notebook("17_real", "open('ran.log', 'a').write('17_real\\n')")
    project.set("other", sources={"hau": 1}, notebooks={}, **changes)
    project.set(notebooks={"17_real": values})
    done = project.make()
    assert done.returncode == 0, done.stderr
    return done


def test_a_chapter_can_show_another_experiment_which_is_run_first(project: Project) -> None:
    done = beside(project, {})
    ran = project.ran()
    assert ran.index("source-hau") < ran.index("17_real") < ran.index("book")
    assert "done other/source-hau in" in done.stderr and "9 of 9 steps" in done.stderr
    assert (project.folder / "build" / "other" / "log" / "source-hau.json").is_file()
    assert "nothing to do" in project.make().stdout


@pytest.mark.parametrize("why", ["its model is not here", ""])
def test_where_its_model_is_not_or_its_scores_are_named_it_is_not_run(
    project: Project, why: str
) -> None:
    done = beside(project, {} if why else {"other": "book/published/other"}, why=why)
    assert (f"Note: {why}; its chapters show the scores kept" in done.stderr) == bool(why)
    assert "source-hau" not in project.ran()
    assert not (project.folder / "build" / "other").exists()


def jobs(project: Project, part: str) -> list[psutil.Process]:
    """Return the processes of workflow/job.py that run, or wait to run, a part of this project."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "workflow/job.py" in words and part in words and process.info["cwd"] == project.home:
            found.append(process)
    return found


def until(what: Callable[[], object], seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["everything", "snakemake"])
def test_killed_in_mid_run_it_goes_on_and_repeats_nothing(
    project: Project, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if victim == "everything":  # once with the command itself, not a fork
        monkeypatch.setattr(subprocess, "Popen", Popen)
    first = project.start("small", "scores", SLOW="source-tur")
    until(lambda: {"source-deu", "start source-tur"} <= set(project.log()))
    time.sleep(0.5)  # Snakemake has noticed that source-deu is done
    if victim == "everything":
        os.killpg(first.pid, signal.SIGKILL)
    else:  # the part itself lives on, and the next run has to wait for it
        (snakemake,) = (p for p in psutil.Process(first.pid).children() if p.children())
        snakemake.kill()
    assert first.wait() != 0
    second = project.start("small", "scores")
    if victim == "snakemake":
        until(lambda: len(jobs(project, "source-tur")) == 2)  # one works, one waits
    (project.folder / "go").touch()
    assert second.wait() == 0
    starts = 2 if victim == "everything" else 1
    assert project.log().count("start source-tur") == starts
    assert project.ran() == ["pretrain-0", "source-deu", "source-tur", "collect"]


def test_a_part_whose_mark_is_gone_is_done_again(project: Project) -> None:
    assert project.make("small", "scores").returncode == 0
    (project.folder / "build" / "small" / "parts" / "source-tur.done").unlink()
    project.ran()
    assert project.make("small", "scores").returncode == 0
    assert project.ran() == ["source-tur", "collect"]


def test_where_processes_are_not_forked_snakemake_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make.sys, "platform", "darwin")
    with (tmp_path / "held").open("w") as held:
        started = make.snakemake(["--version"], tmp_path / "log", os.environ, [held.fileno()])
        started.join()
    assert started.exitcode == 0 and (tmp_path / "log").read_text().strip()[0].isdigit()


def test_a_failed_part_shows_its_last_words_and_where_to_read_on(project: Project) -> None:
    done = project.make("small", "scores", FAIL="source-tur")
    assert done.returncode == 1
    assert "source-tur failed" in done.stderr
    assert "no space left; free some" in done.stderr
    assert "build/small/log/source-tur.log" in done.stderr
    assert "This step again: xlt run small --part source-tur" in done.stderr
    assert "goes on from here" in done.stderr


def test_a_job_that_slurm_killed_is_reported_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(make, "ROOT", tmp_path)
    logs, of = tmp_path / "log", tmp_path / ".snakemake" / "slurm_logs" / "rule_part" / "x"
    logs.mkdir()
    of.mkdir(parents=True)
    (logs / "snakemake.log").write_text(
        "SLURM-job '7' failed, SLURM status is: 'FAILED'\n"
        "SLURM-job '8' failed, SLURM status is: 'TIMEOUT'\n"
        "Error in rule part:\n    message: SLURM-job '9' failed, SLURM status is: 'NODE_FAIL'.\n"
        "    shell:\n        python workflow/job.py build/small/log three build/small/three.done"
        " -- xlt run small --part three\n    external_jobid: 9\nNext\n"
    )
    (of / "7.log").write_text("slurmstepd: error: StepId=7.0 exceeded memory limit (9 > 8)\n")
    for name, number in (("one", "7"), ("two", "8")):
        record = {"status": "running", "command": ["xlt", "run", name], "slurm": number}
        (logs / f"{name}.json").write_text(json.dumps(record))
        (logs / f"{name}.log").write_text("")
    make.explain(tmp_path, ["one", "two", "three"])
    said = capsys.readouterr().err
    assert "one was killed (out of memory)" in said and "two was killed (timeout)" in said
    assert "This step again: xlt run one" in said
    assert "small/three was killed (node fail) before it could say anything" in said
    assert "This step again: xlt run small --part three" in said


def test_a_failed_notebook_is_kept_under_another_name(project: Project) -> None:
    (project.folder / "bin" / "papermill").unlink()
    project.notebook("01_languages", "raise ValueError('n must be positive')")
    done = project.make()
    assert done.returncode == 1
    assert "n must be positive" in done.stderr
    folder = project.folder / "build" / "small" / "notebooks"
    kept = nbformat.read(folder / "01_languages.failed.ipynb", as_version=4)
    assert any(
        output.get("ename") == "ValueError" for c in kept.cells for output in c.get("outputs", [])
    )
    assert not (folder / "01_languages.ipynb").exists()


def test_an_unknown_experiment_leaves_nothing_behind(project: Project) -> None:
    done = project.make("smal")
    assert done.returncode == 2
    assert "unknown experiment 'smal'" in done.stderr and "Traceback" not in done.stderr
    assert not (project.folder / "build").exists()


def test_make_writes_where_xlt_build_says(project: Project) -> None:
    """The cure that a full disk's message names must work for the pipeline too."""
    other = str(project.folder / "another disk")
    (project.folder / "bin" / "xlt").write_text(
        XLT.format(python=sys.executable).replace('Path("build")', 'Path(os.environ["XLT_BUILD"])')
    )
    done = project.make("small", "scores", XLT_BUILD=other)
    assert done.returncode == 0, done.stderr
    assert "another disk/small/scores.parquet" in done.stdout and "4 of 4 steps" in done.stderr
    assert not (project.folder / "build").exists()
    assert "nothing to do" in project.make("small", "scores", XLT_BUILD=other).stdout


def test_a_path_is_taken_for_the_experiment_of_that_name(tmp_path: Path, monkeypatch) -> None:
    """One folder and one lock, however it is called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "quick.yml").touch()
    (tmp_path / "quick.yml").touch()
    assert make.named("experiments/quick.yml", "quick") == "quick"
    assert make.named(str(tmp_path / "experiments" / "quick.yml"), "quick") == "quick"
    for asked, name in (("quick.yml", "quick"), ("experiments/quick.yml", "other")):
        with pytest.raises(SystemExit, match=f"copy it there, or .*`xlt run {asked}`"):
            make.named(asked, name)


def test_a_job_on_a_full_disk_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    command = [sys.executable, str(Path(job.__file__)), str(tmp_path / "log" / "x"), "one", "t"]
    done = subprocess.run([*command, "--", "true"], text=True, capture_output=True)
    assert done.returncode == 1 and "one failed, " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "build").write_text("a file where the folder should be")
    with pytest.raises(SystemExit, match="Cannot write to .*build"):
        make.prepare(tmp_path / "build")
    usage = shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SystemExit, match="Only 5 MB are free"):
        make.prepare(tmp_path / "other")


def test_time_left_is_that_of_what_is_left() -> None:
    known = {"source-deu": 20.0, "source-tur": 40.0}
    assert make.seconds_left(["source-deu", "source-tur"], known, cores=1) == 60
    assert make.seconds_left(["source-deu", "source-tur"], known, cores=2) == 40  # the longest
    assert make.seconds_left(["source-deu", "source-rus"], known, cores=1) == 50  # 30: the mean
    assert make.seconds_left(["a", "b"], {}, cores=2) == make.SECONDS_UNKNOWN
    assert make.seconds_left([], known, cores=2) == 0


def test_the_end_of_a_log_reads_as_it_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("first\n 10%|#\r 50%|#####\r100%|##########\n\x1b[91mbad\x1b[0m\n")
    assert job.tail(path, 2) == "100%|##########\nbad"


def test_a_job_is_run_once_although_asked_for_twice(tmp_path: Path) -> None:
    target, log = tmp_path / "target", tmp_path / "ran"
    script = f"import time; open({str(log)!r}, 'a').write('x'); time.sleep(1); "
    script += f"open({str(target)!r}, 'w').close()"
    command = [sys.executable, str(Path(job.__file__)), str(tmp_path / "log"), "one", str(target)]
    command += ["--", sys.executable, "-c", script]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    assert log.read_text() == "x"
    record = json.loads((tmp_path / "log" / "one.json").read_text())
    assert record["status"] == "done" and record["seconds"] >= 1


def test_the_digest_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"source": ["deu", "eng"], "seed": [1, 0], "score": [0.25, 1 / 3]})
    rows = []
    for table in (frame, frame[::-1], frame.assign(score=[0.25, 0.34])):
        table.to_parquet(tmp_path / "scores.parquet")
        rows.append(status.tables(tmp_path)[0])
    assert rows[0] == rows[1] != rows[2]
    assert "scores.csv" in rows[0][0] and rows[0][1:3] == ["2", "0, 1"]
    status.write_tables(tmp_path, tmp_path)
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 2


def test_every_notebook_says_what_it_reads(repository: Path) -> None:
    for path in sorted((repository / "notebooks").glob("*.ipynb")):
        needs = nbformat.read(path, as_version=4).metadata["xltlib"]["needs"]
        experiments = {p.stem for p in (repository / "experiments").glob("*.yml")}
        assert set(needs) <= {"scores", "published", *experiments}, path.name
