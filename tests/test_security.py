"""Files, names and labels made by somebody unfriendly: nothing of them is ever run."""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import pickle
import shlex
import tarfile
import zipfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import render

from xltlib import cli, reading, scores
from xltlib.book import report, tables
from xltlib.book.analyze import analyze
from xltlib.io import intact, seal, unsealed
from xltlib.languages import uriel
from xltlib.train.config import load

SCRIPT = "<script>alert(1)</script>"
SHELL = ["x; touch run", "$(touch run)", "`touch run`", "x\ntouch run", "../../run", "-rf", "a|b"]


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.command = f"touch {shlex.quote(str(mark))}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once something was run."""
    return tmp_path / "it-was-run"


def test_the_bomb_works(mark: Path) -> None:
    """Else no test here could fail."""
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301
    assert mark.exists()


# ---------------------------------------------------------------- pickles


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.json", "t.xlsx", "t.pkl", "t.pt"])
def test_a_pickle_is_no_table_whatever_it_is_called(mark: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
    for read in (scores.read, reading.pairs):
        with pytest.raises(ValueError, match="pickle|cannot|not"):
            read(tmp_path / name)
    assert not mark.exists()


def test_a_pickle_in_the_cache_of_language_features_is_made_anew(
    mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLT_CACHE", str(tmp_path / "cache"))
    uriel.load.cache_clear()
    wanted = uriel.load()
    (cached,) = (tmp_path / "cache").glob("uriel-*.npz")
    planted = np.empty(1, object)
    planted[0] = Bomb(mark)
    arrays = [field.name for field in fields(wanted)]
    np.savez(cached.with_suffix(""), **{name: planted for name in arrays})
    uriel.load.cache_clear()
    found = uriel.load()
    uriel.load.cache_clear()
    assert not mark.exists()
    for name in arrays:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_pickles_among_features_records_and_half_trained_models_are_not_opened(
    mark: Path, tmp_path: Path
) -> None:
    """With right checksums: they say what was written, not that it is harmless."""
    torch = pytest.importorskip("torch")
    from transformers import T5Config, T5ForConditionalGeneration

    from xltlib.models import features
    from xltlib.train.pretrain import pretrain
    from xltlib.train.recipes import PretrainRecipe

    folder = tmp_path / "features"
    folder.mkdir()
    planted = np.empty(1, object)
    planted[0] = Bomb(mark)
    for name in ("vectors", "offsets", "chars"):
        np.save(folder / f"{name}.npy", planted, allow_pickle=True)
    (folder / "about.json").write_text(json.dumps({"ids": [], "layers": [], "unknown": 0}))
    seal(folder)
    assert intact(folder)
    with pytest.raises(ValueError, match="(?i)object"):
        features.read(folder)

    (tmp_path / "record.json").write_bytes(pickle.dumps(Bomb(mark)))
    assert unsealed(tmp_path / "record.json") is None

    content = io.BytesIO()
    torch.save({"log": Bomb(mark)}, content)
    half = tmp_path / "half.pt"
    half.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=8, d_model=8, d_kv=8, d_ff=8, num_layers=1)
    )
    first_batch: Any = SimpleNamespace(batch=Mock(side_effect=InterruptedError), queue=[])
    with (
        pytest.warns(UserWarning, match="starts again from nothing"),
        pytest.raises(InterruptedError),
    ):
        pretrain(model, first_batch, PretrainRecipe(), checkpoint=half)
    assert not mark.exists()


def test_a_checkpoint_with_a_pickle_for_weights_is_refused(mark: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from encoders import save_tiny

    from xltlib.models import encoder

    folder = save_tiny(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Bomb(mark)}))
    with pytest.raises(ValueError):
        encoder.load(str(folder), source="hub")
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError):
        encoder.load(str(folder), source="hub")
    assert not mark.exists()


# ---------------------------------------------------------------- archives that write elsewhere


def test_a_tar_that_points_outside_writes_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xltlib.data import files
    from xltlib.data.cards import Archive

    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as made:
        for name in ("../../outside", "/tmp/outside-of-all", "top/wanted"):
            member = tarfile.TarInfo(name)
            member.size = 4
            made.addfile(member, io.BytesIO(b"text"))
        for name, to in (("top/passwd", "/etc/passwd"), ("top/up", "../../../secret")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, to
            made.addfile(member)
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(files, "cache", lambda _, *parts: tmp_path / "x" / "y" / Path(*parts))
    monkeypatch.setattr("pooch.retrieve", lambda *_, **__: str(tmp_path / "a.tar.gz"))
    archive = Archive("https://x/a.tar.gz", "0" * 64, "top")
    assert files.get("r", "wanted", {}, archive).read_text() == "text"
    for name in ("passwd", "up"):
        with pytest.raises(ValueError, match="has no file"):
            files.get("r", name, {}, archive)
    made = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert made == {"a.tar.gz", "secret", "x/y/000000000000/wanted"}


@pytest.mark.parametrize("name", ["t.xlsx", "t.zip", "t.csv", "t.parquet"])
def test_a_zip_that_points_outside_is_no_table_and_writes_nothing(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / name, "w") as made:
        for member in ("../../outside", "/tmp/outside", "xl/workbook.xml", "[Content_Types].xml"):
            made.writestr(member, "source,target,score\neng,deu,0.5\n")
    with pytest.raises(ValueError):
        scores.read(folder / name)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [folder / name]


# ---------------------------------------------------------------- shells


@pytest.mark.parametrize("name", SHELL)
def test_names_of_experiments_and_parts_are_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps({"name": name, "title": "t", "languages": ["eng", "rus"]})
    (tmp_path / "e.yml").write_text(text)
    with pytest.raises(ValueError, match="must be letters, digits"):
        load("e.yml")
    assert cli.main(["run", "--", name]) == cli.USAGE
    assert cli.main(["verify", "--", name]) == cli.USAGE
    (tmp_path / "e.yml").write_text(text.replace(json.dumps(name), '"e"'))
    pytest.importorskip("torch")
    assert cli.main(["run", "e.yml", f"--part={name}"]) == cli.USAGE
    assert "Traceback" not in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] == ["e.yml"]


# ---------------------------------------------------------------- scripts in labels


def measured() -> pd.DataFrame:
    codes = "eng deu tur rus arb hin swh fin".split()
    rng = np.random.default_rng(0)
    rows = [(s, t, 0.3 + 0.5 * rng.random()) for s in codes for t in codes]
    table = pd.DataFrame(rows, columns=["source", "target", "score"])
    return table.assign(task=f"ner {SCRIPT}", model=f"m{SCRIPT}", metric="f1", n_test=200)


def test_a_script_in_the_names_of_tasks_and_models_is_shown_and_not_run(tmp_path: Path) -> None:
    measured().to_csv(tmp_path / "s.csv", index=False)
    found = analyze(tmp_path / "s.csv", permutations=9, bootstrap=20)
    paths = report.write(found, tmp_path / "out")
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix in (".html", ".svg"):
            assert "<script" not in text.lower(), path
    page = next(p for p in paths if p.suffix == ".html").read_text("utf-8")
    assert html.escape(SCRIPT) in page  # it is there, as text


def test_a_script_in_the_names_of_languages_is_refused_as_text(tmp_path: Path, capsys) -> None:
    table = measured().replace({"source": {"eng": SCRIPT}})
    table.to_csv(tmp_path / "s.csv", index=False)
    asked = ["analyze", str(tmp_path / "s.csv"), "--out", str(tmp_path / "out")]
    assert cli.main(asked) == cli.USAGE
    assert "unknown language 'alert'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_script_in_predictions_and_texts_is_shown_as_text_in_chapters() -> None:
    frame = pd.DataFrame({"input": [f"a {SCRIPT}"], "output": [f"{SCRIPT}<extra_id_0>"]})
    frame["code"] = ["eng"]
    for shown in (tables.text_table(frame, ["input", "output"], ["eng"]), tables.listed(frame)):
        assert "<script" not in shown.data.lower() and "&lt;script&gt;" in shown.data


def test_a_script_in_the_sentences_of_an_executed_chapter_is_text_in_the_book() -> None:
    said = f"* the model {SCRIPT} is *better* than 1 < 2 `<extra_id_0>`"
    output = {"output_type": "display_data", "data": {"text/markdown": [said]}}
    glued = {"output_type": "display_data", "data": {"application/x/text/markdown": said}}
    notebook = {"cells": [{"cell_type": "code", "outputs": [output, glued]}, {"source": "a"}]}
    for shown in render.harmless(notebook)["cells"][0]["outputs"]:
        (text,) = shown["data"].values()
        assert "<script" not in text and "&lt;script>" in text
        assert "*better* than 1 < 2 `<extra_id_0>`" in text
