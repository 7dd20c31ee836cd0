"""Experiments with a public checkpoint: their file, their plan, what it costs."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from xltlib import checkpoint, cli
from xltlib.data import fetch, hub

SMALL: dict[str, Any] = {
    "title": "small",
    "checkpoint": {"name": "google/mt5-small", "body": 1000, "head": 500},
    "seeds": [0, 1],
    "recipe": {"steps": 10, "tokens": 1000},
    "tasks": {
        "sib200": {"sources": ["de", "French"], "targets": ["deu", "fra", "zh-TW"]},
        "xnli": {"sources": ["en"], "recipe": {"steps": 5, "lr": "1e-4"}},
    },
}


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLT_DATA", raising=False)

    def refuse(*args: Any) -> Any:
        raise AssertionError("a plan fetches nothing")

    for name in ("_retrieve", "_snapshot", "file_of"):
        monkeypatch.setattr(fetch, name, refuse)


def write(folder: Path, **change: Any) -> Path:
    path = folder / "small.yml"
    path.write_text(yaml.safe_dump(SMALL | change))
    return path


def test_doctests() -> None:
    assert doctest.testmod(checkpoint).failed == 0


def test_the_file_is_read(tmp_path: Path) -> None:
    exp = checkpoint.load(write(tmp_path))
    assert exp.tasks["sib200"].sources == ("deu", "fra")
    assert exp.tasks["sib200"].targets == ("deu", "fra", "cmn_Hant")
    assert exp.tasks["xnli"].targets == ("eng",)
    assert (exp.recipe_of("sib200").steps, exp.recipe_of("xnli").steps) == (10, 5)
    assert len(exp.runs()) == 2 * 2 + 2 and exp.runs()[0] == ("sib200", "deu", 0)


def test_the_plan_counts(tmp_path: Path) -> None:
    made = checkpoint.plan(checkpoint.load(write(tmp_path)))
    assert [(t.task, t.runs, t.cells) for t in made.tasks] == [("sib200", 4, 12), ("xnli", 2, 2)]
    model, sib, xnli = made.downloads
    assert model.size == 4 * 2000 and xnli.size is None and xnli.licence == "CC BY-NC 4.0"
    known = fetch.known_files()
    home = "dadelani/sib-200/593cea88519930f776c1a4a1980b6a35b39dca57/data/annotated"
    codes, splits = ("deu_Latn", "fra_Latn", "zho_Hant"), ("train", "dev", "test")
    assert sib.size == sum(known[f"{home}/{c}/{s}.tsv"][1] for c in codes for s in splits)
    # 6 operations x (body + head / 10) x steps x tokens x runs, and a little for answers
    learning = 1.5 * 6 * 1050 * 10 * 1000 * 4 / 1e14 / 3600
    assert made.tasks[0].hours > learning


def test_hours_grow_with_steps_and_shrink_with_speed(tmp_path: Path) -> None:
    def hours(**change: Any) -> float:
        return checkpoint.plan(checkpoint.load(write(tmp_path, **change))).tasks[0].hours

    long = {"steps": 20, "tokens": 1000}
    assert hours(recipe=long) > hours() == pytest.approx(2 * hours(teraflops=200.0))


def test_what_is_here_is_not_fetched(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("text,label\nx,sports\n")
    files = {s: {"path": str(mine)} for s in ("train", "validation", "test")}
    path = write(
        tmp_path,
        checkpoint={"name": str(tmp_path), "body": 10, "head": 5},
        data={"sib200": {"gsw": files}},
        tasks={"sib200": {"sources": ["gsw"]}},
    )
    exp = checkpoint.load(path)
    made = checkpoint.plan(exp)
    assert [d.size for d in made.downloads] == [0]
    assert "a folder here" in str(made) and str(made).endswith("Nothing was fetched.")
    found = hub.load("sib200", "gsw", "test", own=exp.own("sib200"))
    assert found.report.kept == 1


BAD = [
    ({"tasks": {"sib20": {"sources": ["de"]}}}, "unknown public task 'sib20'.*'sib200'"),
    ({"tasks": {"xnli": {"sources": ["it"]}}}, r"language of xnli 'ita \(Italian\)'"),
    ({"tasks": {"xnli": {"sources": []}}}, "tasks.xnli.sources is empty"),
    ({"tasks": {"mlqa": {"sources": ["de"]}}}, "mlqa has no training data.*another question task"),
    ({"tasks": {}}, "tasks is empty"),
    ({"tasks": {"xnli": {"sources": ["en"], "recipe": {"stps": 3}}}}, "'stps'.*mean 'steps'"),
    ({"tasks": {"xnli": {"sources": ["en"], "recipe": {"steps": 0}}}}, "steps must be above 0"),
    ({"recipe": {"precision": "float16"}}, "float16 is refused.*bfloat16"),
    ({"chekpoint": {}}, "unknown key in .* 'chekpoint'.*'checkpoint'"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_files(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checkpoint.load(write(tmp_path, **change))


def test_dry_run(
    tmp_path: Path,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(repository / "experiments" / "mt5.yml")
    assert cli.main(["run", path, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "together            39     531" in said and "CC BY-NC 4.0" in said
    assert cli.main(["run", path, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert sum(t["cells"] for t in plan["tasks"]) == 225 + 225 + 81
    assert list(tmp_path.iterdir()) == []


def test_our_own_experiments_are_not_open(repository: Path) -> None:
    found = {p.stem for p in (repository / "experiments").glob("*.yml") if checkpoint.is_open(p)}
    assert found == {"mt5"}
    assert not checkpoint.is_open(repository / "experiments" / "nothing.yml")
