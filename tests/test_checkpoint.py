"""Experiments with a public checkpoint: their file, their plan, what it costs."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from xltlib import cli
from xltlib.data import datasets, files
from xltlib.data.cards import CARDS
from xltlib.train import plan
from xltlib.train.config import Checkpoint, Experiment, load, load_embedded

SMALL: dict[str, Any] = {
    "title": "small",
    "model": {"kind": "checkpoint", "name": "google/mt5-small", "body": 1000, "head": 500},
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

    monkeypatch.setattr(files, "get", refuse)
    monkeypatch.setattr(files, "hub_rows", refuse)


def write(folder: Path, **change: Any) -> Path:
    path = folder / "small.yml"
    path.write_text(yaml.safe_dump(SMALL | change))
    return path


def read(path: Path) -> Experiment:
    return load(str(path))


def test_doctests() -> None:
    assert doctest.testmod(plan).failed == 0


def test_the_file_is_read(tmp_path: Path) -> None:
    exp = read(write(tmp_path))
    assert exp.tasks["sib200"].sources == ("deu", "fra")
    assert exp.tasks["sib200"].targets == ("deu", "fra", "cmn_Hant")
    assert exp.tasks["xnli"].targets == ("eng",)
    assert [spec.recipe.steps for spec in exp.tasks.values()] == [10, 5]
    first = plan.runs(exp)[0]
    assert len(plan.runs(exp)) == 2 * 2 + 2
    assert (first.model, first.task, first.source, first.seed) == (
        "google/mt5-small", "sib200", "deu", 0,
    )  # fmt: skip
    assert exp.languages == ("deu", "fra", "eng", "cmn_Hant")
    parts = plan.parts(exp)
    assert [p.name for p in parts[:2]] == ["sib200-deu-0", "sib200-deu-1"]
    assert parts[-1].name == "collect" and set(parts[-1].needs) == {p.name for p in parts[:-1]}


def keys(folder: Path, **change: Any) -> list[str]:
    return [run.key for run in plan.runs(read(write(folder, **change)))]


def test_a_key_stands_for_what_changes_a_score(tmp_path: Path) -> None:
    before = keys(tmp_path)
    assert len(set(before)) == len(before) == 6
    same = {"title": "other", "teraflops": 1.0, "notebooks": {"11_small_matrix": {}}}
    memory = SMALL["recipe"] | {"micro_tokens": 7, "checkpointing": True}
    assert keys(tmp_path, **same) == keys(tmp_path, recipe=memory) == before
    model = SMALL["model"] | {"revision": "abc"}
    changes: list[dict[str, Any]] = [
        {"recipe": SMALL["recipe"] | {"lr": 1e-4}},
        {"recipe": SMALL["recipe"] | {"max_input": 9}},
        {"model": model},
    ]
    for change in changes:
        assert not {*keys(tmp_path, **change)[:4]} & {*before}, change
    fewer = {**SMALL["tasks"], "xnli": {"sources": ["en"], "test_items": 5}}
    after = keys(tmp_path, tasks=fewer)
    assert after[:4] == before[:4] and after[4] != before[4]  # tasks do not touch each other


def test_a_key_stands_for_the_bytes_of_own_files(tmp_path: Path) -> None:
    change: dict[str, Any] = {
        "data": {"sib200": {"gsw": {s: {"path": f"{s}.csv"} for s in ("train", "test")}}},
        "tasks": {"sib200": {"sources": ["gsw"]}},
    }
    (tmp_path / "train.csv").write_text("text,label\nx,sports\n")
    before = keys(tmp_path, **change)
    (tmp_path / "train.csv").write_text("text,label\nx,health\n")
    assert keys(tmp_path, **change) != before
    exp = read(write(tmp_path, **change))
    file = (exp.own("sib200") or {})["gsw"]["train"]
    assert file.path == tmp_path / "train.csv"  # paths start from the experiment file


def test_trained_on_another_task(tmp_path: Path) -> None:
    spec = {"sources": ["en"], "targets": ["de", "th"], "train_on": "squad", "test_split": "all"}
    made = plan.cost(read(write(tmp_path, tasks={"xquad": spec})))
    assert [d.what.split(",")[0] for d in made.downloads[1:]] == ["XQuAD", "SQuAD 1.1"]
    assert [(t.runs, t.cells) for t in made.tasks] == [(2, 4)]


def test_the_plan_counts(tmp_path: Path) -> None:
    made = plan.cost(read(write(tmp_path)))
    assert [(t.task, t.runs, t.cells) for t in made.tasks] == [("sib200", 4, 12), ("xnli", 2, 2)]
    model, sib, xnli = made.downloads
    assert model.size == 4 * 2000 and xnli.size is None and xnli.licence == "CC BY-NC 4.0"
    known = CARDS["sib200"].source.checksums  # type: ignore[union-attr]
    codes, splits = ("deu_Latn", "fra_Latn", "zho_Hant"), ("train", "dev", "test")
    assert sib.size == sum(known[f"data/annotated/{c}/{s}.tsv"][1] for c in codes for s in splits)
    # 6 operations x (body + head / 10) x steps x tokens x runs, and a little for answers
    learning = 1.5 * 6 * 1050 * 10 * 1000 * 4 / 1e14 / 3600
    assert made.tasks[0].hours > learning


def test_hours_grow_with_steps_and_shrink_with_speed(tmp_path: Path) -> None:
    def hours(**change: Any) -> float:
        return plan.cost(read(write(tmp_path, **change))).tasks[0].hours

    long = {"steps": 20, "tokens": 1000}
    assert hours(recipe=long) > hours() == pytest.approx(2 * hours(teraflops=200.0))


def test_what_is_here_is_not_fetched(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("text,label\nx,sports\n")
    files = {s: {"path": str(mine)} for s in ("train", "validation", "test")}
    path = write(
        tmp_path,
        model={"kind": "checkpoint", "name": str(tmp_path), "body": 10, "head": 5},
        data={"sib200": {"gsw": files}},
        tasks={"sib200": {"sources": ["gsw"]}},
    )
    exp = read(path)
    made = plan.cost(exp)
    assert [d.size for d in made.downloads] == [0] and plan.runs(exp)[0].model == tmp_path.name
    assert "a folder here" in str(made) and str(made).endswith("Nothing was fetched.")
    found = datasets.load("sib200", "gsw", "test", own=exp.own("sib200"))
    assert len(found.examples) == 1


def one(task: str, sources: list[str], **change: Any) -> dict[str, Any]:
    return {"tasks": {task: {"sources": sources, **change}}}


BAD = [
    ({"tasks": {"sib20": {"sources": ["de"]}}}, "unknown public task 'sib20'.*'sib200'"),
    ({"tasks": {"xnli": {"sources": ["it"]}}}, r"language of xnli 'ita \(Italian\)'"),
    ({"tasks": {"xnli": {"sources": []}}}, "tasks.xnli.sources is empty"),
    ({"tasks": {"mlqa": {"sources": ["de"]}}}, "mlqa has no training data.*another question task"),
    ({"tasks": {}}, "tasks is empty"),
    ({"seeds": []}, "seeds is empty"),
    ({"name": "../up"}, "must be letters, digits"),
    ({"data": {"sib20": {}}}, "unknown public task 'sib20'.*'sib200'"),
    (one("mlqa", ["de"], train_on="squad"), "language of squad 'deu"),
    (one("mlqa", ["en"], train_on="xnli"), "unknown tasks.mlqa.train_on 'xnli'.*form"),
    (one("squad", ["en"], train_on="mlqa"), "mlqa has no training data either"),
    (one("tydiqa", ["en"], test_split="all"), "test_split: all is for xquad"),
    (one("xquad", ["en"], test_split="all"), "training articles.*train_on: squad"),
    (one("xnli", ["en"], test_split="tset"), "'tset'.*'test'"),
    (one("wikiann", ["en"], answers="choose"), "choose needs a task with one label"),
    (one("xnli", ["en"], test_items=-1), "test_items must be greater than or equal to 0, got -1"),
    ({"tasks": {"xnli": {"sources": ["en"], "recipe": {"stps": 3}}}}, "'stps'.*mean 'steps'"),
    (
        {"tasks": {"xnli": {"sources": ["en"], "recipe": {"steps": 0}}}},
        "steps must be greater than 0",
    ),
    ({"recipe": {"precision": "float16"}}, "float16 is refused.*bfloat16"),
    ({"modle": {}}, "unknown key in .* 'modle'.*'model'"),
    ({"model": {"kind": "checkpoint"}}, "model.name missing; add it"),
    ({"text": {"lines": 3}}, "text: only for a model of our own"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_files(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, **change))


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
    made = json.loads(capsys.readouterr().out)
    assert sum(t["cells"] for t in made["tasks"]) == 225 + 225 + 81
    assert list(tmp_path.iterdir()) == []


def test_both_kinds_are_loaded_by_name(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    assert load("mt5").name == "mt5"
    assert load_embedded("quick").name == "quick"
    with pytest.raises(ValueError, match="'mt5' fine-tunes a checkpoint.*embedded or quick"):
        load_embedded("mt5")
    with pytest.raises(ValueError, match="unknown experiment 'mt6'.*'mt5'"):
        load("mt6")
    changed = load("mt5", ["tasks.xnli.sources=[en, de]", "seeds=[0, 1]"])
    assert len(plan.runs(changed)) == 2 * (2 + 15 + 9)


@pytest.mark.parametrize(("visible", "n"), [("0,2", 2), ("", 1), ("3", 1)])
def test_one_part_a_gpu(visible: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Checkpoint(name="x").at_once == n


def test_our_own_experiments_name_no_checkpoint(repository: Path) -> None:
    paths = (repository / "experiments").glob("*.yml")
    found = [path.stem for path in paths if read(path).model.kind == "checkpoint"]
    assert sorted(found) == ["mt5", "paper"]


def test_what_a_run_asks_a_cluster_for_grows_with_the_model(repository: Path) -> None:
    """One run a job, each with a GPU; memory for the weights and time for the counted work."""
    path = repository / "experiments" / "paper.yml"
    small = load(str(path))
    large = load(str(path), ["model.body=800000000", "model.head=256000000"])
    asked, more = plan.needs(small), plan.needs(large)
    own = [name for name in asked if name != "collect"]
    assert len(own) == 3 * 10 * 3 and asked["collect"].gpus == 0
    for name in own:
        assert asked[name].gpus == more[name].gpus == 1
        assert more[name].memory > asked[name].memory >= 3 * 4 * 300
        assert more[name].minutes > 4 * (asked[name].minutes - 30)
    few = [n for n in own if n.startswith("massive_intent")]
    assert min(asked[n].minutes for n in few) > max(asked[n].minutes for n in own if n not in few)
