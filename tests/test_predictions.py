"""Kept predictions give kept scores exactly, in little room, without text of the data."""

from __future__ import annotations

import doctest
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("torch", reason="pip install 'xltlib[train]'")

from encoders import save_tiny  # noqa: E402

from xltlib import cli, scores  # noqa: E402
from xltlib.data import Example, datasets  # noqa: E402
from xltlib.data.cards import CARDS, VIEWS  # noqa: E402
from xltlib.io import write_text  # noqa: E402
from xltlib.tasks.public import public_task  # noqa: E402
from xltlib.train import predictions  # noqa: E402
from xltlib.train.config import load  # noqa: E402
from xltlib.train.plan import Place, parts, runs  # noqa: E402
from xltlib.train.run import do_part  # noqa: E402

INTENTS = VIEWS["massive_intent"].labels
EMBEDDED = """
title: An encoder, probed
model: {{kind: encoder, name: {name}, source: hub, layer_seeds: 1}}
seeds: [0, 1]
languages: [eng, deu]
sources: [eng, deu]
tasks:
  entity_type: {{pool: 40, train_items: 30, validation_items: 10, test_items: 20}}
  ner: {{pool: 40, train_items: 30, validation_items: 10, test_items: 20, layers: [1, 2]}}
fewshot: {{task: entity_type, pairs: [[eng, deu]], n: [4]}}
controls: {{shuffled: [eng], ngram: [eng], seeds: 1}}
"""
PUBLIC = """
title: An encoder, probed on public tasks
model: {{kind: encoder, name: {name}, source: hub}}
seeds: [0]
languages: [eng, deu]
sources: [eng, deu]
tasks:
  massive_intent: {{pool: 40, train_items: 30, validation_items: 10, test_items: 20}}
  massive_slots: {{pool: 40, train_items: 30, validation_items: 10, test_items: 20}}
  massive_qa: {{pool: 40, train_items: 30, validation_items: 10, test_items: 20}}
"""


def utterances(code: str) -> str:
    """Rows of MASSIVE, of made-up words: every other one has a slot, with punctuation beside it."""
    rows = []
    for i in range(160):
        part, verb = ("train", "train", "dev", "test")[i // 2 % 4], i % 6
        said = f"{code}verb{verb} {code}now{i}, {code}it's"
        time = f"{code}five-{i % 7} {code}am!"
        texts = {"utt": said, "annot_utt": said}
        if i % 2:
            texts = {"utt": f"{said} {time} a", "annot_utt": f"{said} [time : {time}] a"}
        rows.append(json.dumps({"id": str(i), "partition": part, "intent": INTENTS[verb], **texts}))
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module", params=[EMBEDDED, PUBLIC], ids=["embedded", "public"])
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A finished experiment and the folder of what was kept of it."""
    root = tmp_path_factory.mktemp("kept")
    encoder = save_tiny(root / "encoder")
    write_text(root / "probed.yml", request.param.format(name=encoder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_BUILD", str(root / "build"))
        patch.setenv("XLT_DATA", str(root / "data"))
        bare = replace(CARDS["massive"].source, checksums={})  # of made-up files nobody knows them
        patch.setitem(CARDS, "massive", replace(CARDS["massive"], source=bare))
        datasets.forget()
        for locale, code in (("en-US", "en"), ("de-DE", "de")):
            file = root / f"data/amazon-massive-dataset/1.1/data/{locale}.jsonl"
            write_text(file, utterances(code))
        exp = load(str(root / "probed.yml"))
        for part in parts(exp):
            do_part(exp, part.name)
        predictions.keep(exp, root / "kept")
        yield exp, root / "kept"
        datasets.forget()


def test_every_score_is_that_of_the_kept_predictions(made: Any) -> None:
    exp, folder = made
    wanted = scores.one_metric(scores.read(exp.folder / "scores.parquet"))
    kept = scores.read(folder / "scores.parquet")
    pd.testing.assert_frame_equal(kept, wanted[kept.columns], check_dtype=False)
    found = predictions.check(exp, folder)
    assert list(found["task"]) == list(exp.tasks)
    assert found["cells"].sum() == len(kept)
    assert list(found["difference"]) == [0.0] * len(exp.tasks)


def test_right_and_wrong_answers_give_the_score_of_their_cell(made: Any) -> None:
    exp, folder = made
    task = next(iter(exp.tasks))
    found = predictions.items(folder, task)
    cell = ["model", "source", "target", "n_target", "seed"]
    kept = scores.read(folder / "scores.parquet").query("task == @task").set_index(cell)["score"]
    by_item = found.groupby(cell)["score"]
    assert set(by_item.size()) == {20} and len(by_item) == len(kept)
    assert by_item.mean().reindex(kept.index).to_list() == pytest.approx(kept.to_list())
    scored_by_f1 = list(exp.tasks)[1]
    with pytest.raises(ValueError, match="F1"):
        predictions.items(folder, scored_by_f1)


def test_a_prediction_that_changes_changes_a_score(made: Any, tmp_path: Path) -> None:
    exp, folder = made
    table = pd.read_parquet(folder / "predictions.parquet")
    coded = table["labels"].where(table["task"] == "massive_qa", table["labels"].map(flipped))
    zeros = table["labels"].map(lambda content: bytes(len(content)))
    table["labels"] = coded.where(table["task"] != "massive_qa", zeros)
    copied(folder, tmp_path)
    table.to_parquet(tmp_path / "predictions.parquet")
    about = json.loads((tmp_path / "run.json").read_text())
    about["sha256"]["predictions"] = predictions.sha256(tmp_path / "predictions.parquet")
    (tmp_path / "run.json").write_text(json.dumps(about))
    assert (predictions.check(exp, tmp_path)["difference"] > 0).all()


def flipped(content: bytes) -> bytes:
    return bytes(1 - min(byte, 1) for byte in content)


def copied(folder: Path, to: Path) -> None:
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())


def test_no_text_of_an_example_is_kept(made: Any) -> None:
    exp, folder = made
    table = pd.read_parquet(folder / "predictions.parquet")
    for column in ("task", "target", "id"):
        assert not table[column].astype(str).str.contains("verb|five").any()
    labels = json.loads((folder / "run.json").read_text())["labels"]
    for name, own in labels.items():
        task = exp.task(name)
        allowed = {*task.labels, "O", "I", "INSIDE", "OUTSIDE"}
        words = {label.removeprefix("<extra_id_0> ") for label in own}
        assert words <= allowed | {"CITY", "TERRITORY", "LANGUAGE", "CURRENCY", *words_of(task)}
    assert labels.get("massive_qa", []) == []


def words_of(task: Any) -> tuple[str, ...]:
    from xltlib.tasks.embedded import WORDS

    return tuple(WORDS) if task.name == "ner" else ()


def test_cells_drawn_at_random_are_measured_again_from_nothing(made: Any) -> None:
    exp, folder = made
    found = predictions.again(exp, folder, 3, seed=1)
    assert len(found) == 3 and (found["low"] <= found["score"]).all()
    # Batches differ, so that vectors differ by the rounding of bfloat16.
    assert (found["again"] - found["score"]).abs().max() < 0.15
    same = predictions.again(exp, folder, 3, seed=1)
    pd.testing.assert_frame_equal(found, same)


@pytest.mark.parametrize("name", ["scores.parquet", "predictions.parquet", "run.json"])
def test_a_damaged_file_is_named(made: Any, name: str, tmp_path: Path) -> None:
    exp, folder = made
    copied(folder, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is damaged: its bytes|holds no kept predictions"):
        predictions.check(exp, tmp_path)


def test_other_test_items_are_refused(made: Any) -> None:
    exp, folder = made
    first = next(iter(exp.tasks))
    tasks = exp.tasks | {first: exp.tasks[first].model_copy(update={"test_items": 19})}
    with pytest.raises(ValueError, match=f"{first} .*: the test items are not those"):
        predictions.check(exp.model_copy(update={"tasks": tasks}), folder)


def test_of_an_experiment_at_work_whole_tasks_are_kept(made: Any, tmp_path: Path) -> None:
    exp, _ = made
    first, *others = exp.tasks
    file = Place(exp).run(next(r for r in runs(exp) if r.task == first))
    content = file.read_text()
    file.unlink()
    try:
        with pytest.raises(ValueError, match="1 runs of probed are missing.*--partial"):
            predictions.keep(exp, tmp_path / "kept")
        assert not (tmp_path / "kept").exists()
        predictions.keep(exp, tmp_path / "kept", partial=True)
    finally:
        file.write_text(content)
    assert list(predictions.check(exp, tmp_path / "kept")["task"]) == others


def test_the_commands(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exp, folder = made
    file = str(exp.folder.parent.parent / "probed.yml")
    assert cli.main(["keep", file, str(tmp_path / "kept")]) == 0
    assert "predictions.parquet: 0.0" in capsys.readouterr().out
    assert cli.main(["check", file, str(tmp_path / "kept")]) == 0
    assert cli.main(["check", file, str(tmp_path / "nothing")]) == cli.USAGE
    assert "holds no kept predictions" in capsys.readouterr().err
    assert cli.main(["check", file, str(folder), "--cells", "-1"]) == cli.USAGE


# ---------------------------------------------------------------- text as numbers and back


def test_doctests() -> None:
    found = doctest.testmod(predictions)
    assert found.attempted and not found.failed


def entities(words: str, tags: str) -> Example:
    return Example("0", "swh", {"words": words.split(), "tags": tuple(tags.split())})


@pytest.mark.parametrize(
    "example",
    [
        entities("a x a b , b : c", "O O B-PER I-PER O B-LOC I-LOC I-LOC"),
        entities("a a a", "B-PER B-PER O"),
        entities("a b", "O O"),
    ],
)
def test_entities_in_their_order_are_found_again(example: Example) -> None:
    task = public_task("masakhaner")
    coder = predictions.Coder(task)
    output = task.preprocess(example)[1]
    assert coder.text(example, coder.numbers(example, output)) == output


def test_an_answer_is_where_it_stands_whatever_its_spaces() -> None:
    context = "um 5 Uhr, um\u00a05 (Uhr)"
    example = Example("0", "deu", {"question": "?", "context": context, "answers": ("5 Uhr",)})
    task = public_task("massive_qa")
    coder = predictions.Coder(task)
    for text in ("5 Uhr", "Uhr, um", "um\u00a05", "5 (Uhr)", ""):
        changed = replace(example, fields={**example.fields, "answers": (text,)})
        a, b = coder.numbers(example, task.preprocess(changed)[1])
        assert context[a:b] == text


def test_what_is_no_answer_of_a_probe_is_refused() -> None:
    example = Example("0", "deu", {"question": "?", "context": "um 5 Uhr", "answers": ("5",)})
    with pytest.raises(ValueError, match="massive_qa deu 0: this output is no label"):
        predictions.Coder(public_task("massive_qa")).numbers(example, "Mitternacht")
