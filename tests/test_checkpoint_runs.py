"""Runs of a public checkpoint, from a Hub-shaped cache made here to the scores table and a page."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

pytest.importorskip("torch", reason="runs of a checkpoint need xltlib[train]")

sys.path.insert(0, str(Path(__file__).parent))
import hubcache  # noqa: E402

from xltlib import scores
from xltlib.cli import main  # noqa: E402
from xltlib.data import datasets  # noqa: E402
from xltlib.data.cards import CARDS, Hub  # noqa: E402
from xltlib.models import compute  # noqa: E402
from xltlib.train import finetune, generate, plan  # noqa: E402
from xltlib.train.config import Experiment, load  # noqa: E402
from xltlib.train.run import Worker, do_part, finished, read_run, table_of  # noqa: E402
from xltlib.train.worker import free_of  # noqa: E402

LANGUAGES = ("en", "de", "ru", "tr")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MINE: dict[str, Any] = {
    "title": "four languages from the cache",
    "model": {
        "kind": "checkpoint",
        "name": "google/mt5-small",
        "revision": COMMIT,
        "weights": "main",
    },
    "recipe": {"steps": 3, "evaluations": 1, "tokens": 300, "micro_tokens": 300, "max_input": 64},
    "tasks": {"xnli": {"sources": list(LANGUAGES), "answers": "choose"}},
}
FILES = ("train", "validation", "test")


def nli(code: str, split: str, n: int = 24) -> dict[str, list[Any]]:
    """Rows as the Hub has them, other ones in every language and split."""
    rng = random.Random(f"{code}/{split}")
    texts = [f"{code} {split} {i} {rng.choice('abcd')}" for i in range(n)]
    return {"premise": texts, "hypothesis": texts[::-1], "label": [i % 3 for i in range(n)]}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """An experiment file, a cache that has all it names, and no network."""
    root = tmp_path / "hub"
    root.mkdir()
    hubcache.go_offline(root, monkeypatch)
    monkeypatch.delenv("XLT_DATA", raising=False)
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("PYTHONPATH", str(repository))
    datasets.forget()
    home = CARDS["xnli"].source
    assert isinstance(home, Hub)
    tables = {c: {s: nli(c, s) for s in FILES} for c in LANGUAGES}
    hubcache.put(root, home.id, home.revision, tables)
    texts = [t for c in LANGUAGES for t in nli(c, "train")["premise"]]
    tokenizer = hubcache.vocabulary(["xnli: premise: hypothesis: 0 1 2", *texts] * 2)
    hubcache.put_model(root, "google/mt5-small", COMMIT, tokenizer)
    return write(tmp_path, MINE)


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "mine.yml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return path


def parts(path: Path) -> list[str]:
    return [p.name for p in plan.parts(load(str(path)))]


def test_from_the_cache_to_the_scores_and_a_chapter(
    mine: Path, tmp_path: Path, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in parts(mine):
        assert main(["run", str(mine), "--part", name]) == 0
    table = scores.read(tmp_path / "build" / "mine" / "scores.parquet")
    assert len(table) == 4 * 4 * 2  # accuracy, and the share of illegal outputs
    assert set(table["model"]) == {"google/mt5-small"} and set(table["n_test"]) == {24}
    assert set(table["test_set"]) == {"test"}
    assert (table.loc[table["metric"] == "illegal", "score"] == 0).all()  # chosen, not generated
    pairs = pd.read_parquet(tmp_path / "build" / "mine" / "pairs.parquet")
    assert len(pairs) == 12 and {"word_order", "lexical_translit", "data_size"} <= set(pairs)
    capfd.readouterr()
    assert main(["run", str(mine), "--list"]) == 0
    assert [line.split() for line in capfd.readouterr().out.splitlines()] == [
        ["done", name] for name in parts(mine)
    ]
    _chapter(repository, mine, tmp_path / "out.ipynb")


def _chapter(repository: Path, mine: Path, out: Path) -> None:
    """The command that a reader types."""
    pytest.importorskip("papermill", reason="the notebooks need xltlib[book]")
    notebook = repository / "notebooks" / "11_small_matrix.ipynb"
    words = [notebook, out, "-p", "experiment", mine, "--cwd", repository, "-k", "python3"]
    command = [sys.executable, "-m", "papermill", *map(str, words), "--no-progress-bar"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "<svg" in out.read_text() and "experiment `mine`" in out.read_text()


@pytest.fixture
def small(mine: Path, tmp_path: Path) -> Path:
    """The same with two sources."""
    tasks = {"xnli": {"sources": ["en", "de"], "answers": "choose"}}
    return write(tmp_path, MINE | {"tasks": tasks})


def test_what_is_finished_is_not_done_again(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exp = load(str(small))
    place, first = plan.Place(exp), plan.runs(exp)[0]
    do_part(exp, "xnli-eng-0")
    record = read_run(place.run(first))
    assert (
        record and record["kept_step"] == 3 and record["items"] == {"train": 24, "validation": 24}
    )
    assert len(pd.read_parquet(place.outputs(first))) == 2 * 24
    with pytest.raises(ValueError, match="1 runs of mine are missing.*xnli deu.*xlt run mine"):
        do_part(exp, "collect")
    assert len(finished(exp)[0]) == 4 and not place.scores().exists()
    done: list[str] = []
    monkeypatch.setattr(Worker, "do", lambda self, run: done.append(run.source))
    for name in ("xnli-eng-0", "xnli-deu-0"):
        do_part(exp, name)
    assert done == ["deu"]
    place.run(first).write_text('{"run": ')  # cut short: not finished
    do_part(exp, "xnli-eng-0")
    assert done == ["deu", "eng"]
    with pytest.raises(ValueError, match="unknown part of mine 'xnli-en-0'.*'xnli-eng-0'"):
        do_part(exp, "xnli-en-0")


def test_a_run_that_breaks_leaves_no_record(
    small: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(finetune, "loss", lambda *a: compute.loss(*a) * float("nan"))
    assert main(["run", str(small), "--part", "xnli-eng-0"]) == 1
    assert "the loss is nan at step 1" in capfd.readouterr().err
    folder = load(str(small)).folder

    def left() -> list[str]:
        files = (p for p in folder.rglob("*") if p.is_file() and "locks" not in p.parts)
        return sorted(p.name for p in files)

    made = left()
    assert made == ["not-a-number.json"]
    monkeypatch.setattr(generate, "answers", lambda *a, **more: 1 / 0)
    monkeypatch.setattr(finetune, "loss", compute.loss)
    with pytest.raises(ZeroDivisionError):
        main(["run", str(small), "--part", "xnli-eng-0"])
    assert left() == made


def test_what_was_tuned_before_is_only_scored(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exp = load(str(small))
    run, place = plan.runs(exp)[0], plan.Place(exp)
    real = generate.answers

    def stop(*args: Any, labels: Any = (), **more: Any) -> Any:
        if labels:  # not the validation set's, which are generated
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(generate, "answers", stop)
    with pytest.raises(KeyboardInterrupt):
        Worker(exp).do(run)
    assert {p.stem for p in (exp.folder / "tuned").iterdir()} == {run.key}
    answered: list[str] = []

    def answers(model: Any, *args: Any, labels: Any = (), **more: Any) -> list[str]:
        answered.append(str(model.lm_head.weight.sum().item()) if labels else "")
        return real(model, *args, labels=labels, **more)

    monkeypatch.setattr(generate, "answers", answers)
    Worker(exp).do(run)
    after = answered[-1]
    assert read_run(place.run(run)) and not list((exp.folder / "tuned").iterdir())
    place.run(run).unlink()
    Worker(exp).do(run)  # from nothing: the same weights
    assert answered[-1] == after


BROKEN = [
    ("text,label\na,sport\n", "unknown label in .*row 1 'sport'.*'sports'"),
    ("text,topic\na,sports\n", "unknown column in .*row 1 'label'.*topic"),
    ("text,label\n", "sib200 gsw train is empty: 0 rows"),
    ("text,label\n" + "a" * 100_001 + ",sports\n", "text has 100001 characters"),
    ("text,label\na,sports\nb\n", "row 2|line 3|fields"),
    (None, "there is no file .*train.csv: mend its path"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_bad_data_stops_a_run_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    content: str | None,
    message: str,
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    (tmp_path / "test.csv").write_text("text,label\nz,sports\n")
    if content is not None:
        (tmp_path / "train.csv").write_text(content)
    files = {split: {"path": f"{split}.csv"} for split in ("train", "test")}
    change = {"data": {"sib200": {"gsw": files}}, "tasks": {"sib200": {"sources": ["gsw"]}}}
    path = write(tmp_path, MINE | change)
    assert main(["run", str(path), "--part", "sib200-gsw-0"]) == 2
    assert re.search(message, capfd.readouterr().err)
    written = [p for p in (tmp_path / "build").rglob("*") if p.is_file()]
    assert [p.parent.name for p in written] in ([], ["locks"])


def names(split: str) -> dict[str, list[Any]]:
    """Two rows of WikiANN as the Hub has them, other ones in every split."""
    words = [[split, ",", "Ida"], [split, "ja"]]
    return {"tokens": words, "langs": [["de"] * 3, ["de"] * 2], "ner_tags": [[5, 0, 1], [0, 0]]}


def test_your_language_your_data_your_model(
    mine: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file on the page on rerunning, as printed there, with files of one's own beside it."""
    page = (repository / "book" / "rerun.md").read_text()
    printed = next(b for b in page.split("```yaml\n")[1:] if "your model" in b).split("```")[0]
    mine.write_text(printed)
    home = CARDS["wikiann"].source
    assert isinstance(home, Hub)
    tables = {f"PAN-X.{code}": {s: names(s) for s in FILES} for code in ("de", "nl")}
    hubcache.put(tmp_path / "hub", home.id, home.revision, tables)
    (tmp_path / "nds-train.conll").write_text("Ole\tB-PER\nsnackt\tO\n\nKiel\tB-LOC\n")
    row = {"tokens": ["Moin", "Ole"], "labels": ["O", "B-PER"]}
    (tmp_path / "nds-test.jsonl").write_text(json.dumps(row) + "\n")
    whole_task = Experiment.task
    short = lambda *a: dataclasses.replace(whole_task(*a), max_target=8)  # noqa: E731
    monkeypatch.setattr(Experiment, "task", short)
    exp = load(str(mine), ["recipe.steps=2", "recipe.tokens=200"])
    for part in plan.parts(exp):
        do_part(exp, part.name)
    table = scores.one_metric(scores.read(exp.folder / "scores.parquet"))
    cells = {(r.source, r.target): r.n_test for r in table.itertuples()}
    assert cells == {(s, t): 1 if t == "nds" else 2 for s in ("nds", "deu") for t in TARGETS}
    assert set(table["metric"]) == {"span_f1"}
    validated = {r.source: "validation" in e for r in plan.runs(exp) for e in logs(exp, r)}
    assert validated == {"nds": False, "deu": True}  # there is no such file of nds


TARGETS = ("nds", "deu", "nld")


def logs(exp: Experiment, run: plan.Run) -> list[dict[str, float]]:
    """The last line of a run's log."""
    record = read_run(plan.Place(exp).run(run))
    assert record
    return record["log"][-1:]


def test_another_task_to_train_on_never_has_a_test_text(
    small: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = {"sources": ["en"], "train_on": "squad", "test_split": "all"}
    exp = load(str(write(small.parent, MINE | {"tasks": {"xquad": spec}})))
    run = plan.runs(exp)[0]

    def rows(task: str, code: str, split: str, **how: Any) -> Any:
        def one(i: int) -> datasets.Example:
            fields = {"question": f"Who {i}?", "context": "Ada.", "answers": ("Ada",)}
            return datasets.Example(f"{task}-{i}", "eng", fields)

        numbers = {"squad": {"train": range(6), "validation": range(6, 9)}, "xquad": {}}
        found = numbers[task].get(split, range(4, 8))
        return SimpleNamespace(examples=tuple(map(one, found)))

    monkeypatch.setattr(datasets, "load", rows)
    datasets.forget()
    train, validation = Worker(exp).training(run)
    asked = {e.fields["question"] for e in train}
    assert asked == {f"Who {i}?" for i in range(4)}
    assert [e.fields["question"] for e in validation] == ["Who 8?"]
    assert "2 dropped, their text is in the test set" in capfd.readouterr().err
    datasets.forget()


def test_one_language_in_two_scripts_keeps_its_rows_apart() -> None:
    named = {"model": "m", "task": "t", "metric": "f1", "n_test": 1}
    row = {c.name: 0 for c in scores.SCHEMA} | named
    found = [{**row, "source": "eng", "target": t} for t in ("cmn", "cmn_Hant")]
    checked = scores.check(table_of(found))
    assert list(checked["target"]) == ["cmn", "cmn_Hant"] and "target_set" not in checked


def test_two_runs_never_share_a_gpu() -> None:
    code = (
        "import sys\nfrom xltlib.train.worker import free_of\n"
        "with free_of(['a-test', 'b-test']) as i:\n print(i, flush=True); sys.stdin.read()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with free_of(["a-test", "b-test"]) as mine:
        other = subprocess.Popen([sys.executable, "-c", code], **pipes)
        assert other.stdout and (mine, other.stdout.readline()) == (0, "1\n")
        other.communicate("")
    with free_of(["a-test", "b-test"]) as mine:
        assert mine == 0


def test_the_runs_are_plain_data(small: Path) -> None:
    exp = load(str(small))
    assert json.dumps([run.__dict__ for run in plan.runs(exp)])
