"""Runs from end to end on two languages: nothing twice, nothing lost, nothing half-written."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

pytest.importorskip("torch", reason="running an experiment needs xltlib[train]")

from rescored import recompute

from xltlib import cli, scores
from xltlib.io import sealed, sha256, whole
from xltlib.tasks import task  # noqa: E402
from xltlib.train import finetune, run  # noqa: E402
from xltlib.train.config import Experiment, load  # noqa: E402
from xltlib.train.plan import Place, part_of, parts, runs  # noqa: E402
from xltlib.train.run import do_part, read_run, verify  # noqa: E402

MICRO = """
title: Two languages, a dozen steps
languages: [eng, rus]
seeds: [0]
text: {lines: 300}
model: {vocab_size: 400, d_model: 16, d_ff: 32, n_heads: 2, n_encoder: 1}
pretrain: {steps: 12, batch: 8}
recipe: {steps: 12, batch: 8}
tasks:
  entity_type: {scratch: {steps: 12}, train_items: 30, validation_items: 20, test_items: 30}
  ner: {scratch: {steps: 12}, train_items: 30, validation_items: 20, test_items: 30}
  qa: {scratch: {steps: 12}, train_items: 30, validation_items: 20, test_items: 30}
fewshot: {pairs: [[eng, rus]], n: [2, 4], steps: 3}
controls: {scratch: [eng], shuffled: [eng], ngram: [eng]}
"""


@pytest.fixture(scope="module")
def micro(tmp_path_factory) -> Experiment:
    """Return an experiment of seconds; it lies where XLT_BUILD says when it is used."""
    path = tmp_path_factory.mktemp("experiments") / "micro.yml"
    path.write_text(MICRO)
    return load(str(path))


@pytest.fixture(scope="module")
def finished(micro: Experiment, tmp_path_factory) -> Path:
    """Run the whole experiment once; return the folder it was built in."""
    build = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_BUILD", str(build))
        for part in parts(micro):
            do_part(micro, part.name)
    return build


@pytest.fixture
def build(finished: Path, tmp_path: Path, monkeypatch) -> Path:
    """Return a copy of the finished folder, to be damaged."""
    shutil.copytree(finished, tmp_path / "build")
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    return tmp_path / "build" / "micro"


def again(micro: Experiment, *names: str) -> None:
    """Run all parts once more, or some."""
    for part in names or [p.name for p in parts(micro)]:
        do_part(micro, part)


def stamps(folder: Path, *kinds: str) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of every file of the given folders."""
    found = {}
    for kind in kinds:
        for path in sorted((folder / kind).rglob("*")):
            if path.is_file():
                state = path.stat()
                found[str(path.relative_to(folder))] = (state.st_ino, state.st_mtime_ns)
    return found


KEPT = ("vocabulary", "pretrained", "runs", "outputs")


# ---------------------------------------------------------------- the whole


def test_everything_is_there_and_nothing_else(finished: Path, micro: Experiment) -> None:
    folder = finished / "micro"
    records = {p.stem for p in (folder / "runs").iterdir()}
    assert records == {r.key for r in runs(micro)}
    assert {p.stem for p in (folder / "outputs").iterdir()} == records
    assert {p.stem for p in (folder / "parts").iterdir()} == {p.name for p in parts(micro)}
    assert not [p for p in folder.rglob("*") if ".tmp" in p.name]


def test_the_scores_table(finished: Path, micro: Experiment) -> None:
    table = scores.read(finished / "micro" / "scores.parquet")
    assert set(table["model"]) == {
        "tiny",
        "tiny-scratch",
        "tiny-shuffled",
        "tiny-alone",
        "char-ngram",
    }
    assert table["score"].between(0, 1).all() and (table["stderr"] >= 0).all()
    assert (table["n_test"] == 30).all()
    key = ["model", "task", "source", "target", "n_target", "seed", "metric"]
    assert not table.duplicated(key).any()
    tiny = table[(table["model"] == "tiny") & (table["n_target"] == 0)]
    assert len(tiny[["task", "source", "target"]].drop_duplicates()) == 3 * 2 * 2
    shots = table[table["n_target"] > 0]
    assert set(shots["n_target"]) == {2, 4} and set(shots["target"]) == {"rus"}
    assert set(shots["model"]) == {"tiny", "tiny-alone"}
    for name, own in table[table["metric"] != "illegal"].groupby("task"):
        main = own[own["metric"] == task(str(name)).metric]
        assert (main["chance"] == task(str(name)).chance).all()


def test_the_pairs_table(finished: Path) -> None:
    pairs = pd.read_parquet(finished / "micro" / "pairs.parquet")
    both = set(pairs[["source", "target"]].itertuples(index=False, name=None))
    assert {("eng", "rus"), ("rus", "eng")} <= both
    assert len(pairs.columns) > 8


def test_recomputing_the_scores_from_the_kept_outputs_gives_the_table(
    finished: Path, micro: Experiment, monkeypatch
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(finished))
    key = ["model", "task", "source", "target", "n_target", "seed", "metric"]
    kept = scores.read(finished / "micro" / "scores.parquet").sort_values(key)
    counted = scores.check(recompute(micro)).sort_values(key)
    pd.testing.assert_frame_equal(
        counted.reset_index(drop=True)[list(kept)], kept.reset_index(drop=True)
    )


def test_records_say_what_was_done(finished: Path, micro: Experiment) -> None:
    for one in runs(micro):
        record = read_run(finished / "micro" / "runs" / f"{one.key}.json")
        assert record is not None
        assert record["run"]["key"] == one.key and record["seconds"] > 0
        if one.model not in ("char-ngram", "tiny-alone"):
            assert len(record["log"]) == 12 and record["kept_step"] in (6, 12)
            assert 0 <= record["validation"] <= 1
    (log,) = (finished / "micro" / "pretrained").glob("*/log.json")
    about = json.loads(log.read_text())
    assert about["lines"] == 600 and about["parameters"] > 5000 and about["log"][-1]["step"] == 12


def test_the_character_baseline_answers_legally(finished: Path) -> None:
    """A baseline whose outputs cannot be read would make every model look good."""
    table = scores.read(finished / "micro" / "scores.parquet")
    baseline = table[(table["model"] == "char-ngram") & (table["metric"] == "illegal")]
    assert len(baseline) == 3 * 2
    assert (baseline["score"] == 0).all()


# ---------------------------------------------------------------- again


def test_again_nothing_is_done_twice(build: Path, micro: Experiment) -> None:
    before, table = stamps(build, *KEPT), (build / "scores.parquet").read_bytes()
    again(micro)
    assert stamps(build, *KEPT) == before
    assert (build / "scores.parquet").read_bytes() == table


def test_in_a_fresh_folder_the_table_is_the_same_to_the_byte(
    finished: Path, micro: Experiment, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    again(micro)
    for name in ("scores.parquet", "pairs.parquet"):
        assert (tmp_path / "micro" / name).read_bytes() == (
            finished / "micro" / name
        ).read_bytes(), name


def test_runs_side_by_side_are_what_each_is_alone(
    finished: Path, micro: Experiment, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    for kind in ("vocabulary", "pretrained"):
        shutil.copytree(finished / "micro" / kind, tmp_path / "micro" / kind)
    monkeypatch.setattr(finetune, "together", Mock(side_effect=NotImplementedError))
    part = next(p.name for p in parts(micro) if p.name.startswith("source-"))
    do_part(micro, part)
    own = [r for r in runs(micro) if part_of(micro, r) == part]
    assert len(own) == 6 and any(r.fewshot for r in own)
    place, same = Place(micro), []
    for one in own:
        alone = read_run(place.run(one)) or {}
        beside = read_run(finished / "micro" / "runs" / place.run(one).name) or {}
        assert beside["kept_step"] == alone["kept_step"] and len(beside["log"]) == 12
        for a, b in zip(alone["log"], beside["log"], strict=True):
            assert a == pytest.approx(b, rel=1e-4)
        outputs = (tmp_path / "micro" / "outputs", finished / "micro" / "outputs")
        one_way, other = (pd.read_parquet(f / place.outputs(one).name) for f in outputs)
        same += (one_way["output"] == other["output"]).tolist()
    assert sum(same) >= 0.99 * len(same) > 100  # rounding may turn a rare answer


def test_a_new_seed_adds_runs_and_keeps_the_old(build: Path, micro: Experiment, tmp_path) -> None:
    before = stamps(build, *KEPT)
    (tmp_path / "micro.yml").write_text(MICRO.replace("seeds: [0]", "seeds: [0, 1]"))
    more = load(str(tmp_path / "micro.yml"))
    part = next(p.name for p in parts(more) if p.name.startswith("scratch"))
    do_part(more, part)
    after = stamps(build, *KEPT)
    assert {k: v for k, v in after.items() if k in before} == before
    assert len([k for k in after if k.startswith("runs/") and k not in before]) == 3
    with pytest.raises(
        ValueError, match="runs of micro are missing, first 'tiny entity_type eng seed 1'"
    ):
        do_part(more, "collect")


# ---------------------------------------------------------------- stopped and damaged


def test_killed_in_mid_run_the_same_command_finishes_with_the_same_table(
    finished: Path, micro: Experiment, tmp_path: Path, monkeypatch, forked: None
) -> None:
    part = next(p.name for p in parts(micro) if p.name.startswith("source-"))
    expected = {r.key for r in runs(micro) if part_of(micro, r) == part}
    folder = tmp_path / "build" / "micro"
    for kind in ("vocabulary", "pretrained"):
        shutil.copytree(finished / "micro" / kind, folder / kind)
    environment = {**os.environ, "XLT_BUILD": str(tmp_path / "build"), "OMP_NUM_THREADS": "1"}
    (tmp_path / "micro.yml").write_text(MICRO)
    command = [sys.executable, "-m", "xltlib.cli", "run", str(tmp_path / "micro.yml")]
    process = subprocess.Popen(
        [*command, "--part", part],
        env={**environment, "PYTHONPATH": str(Path(run.__file__).parents[1])},
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 240
    while not list(folder.glob("runs/*.json")) and process.poll() is None:
        assert time.monotonic() < end, "no run finished in time"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = stamps(folder, "runs")
    assert 0 < len(before) < len(expected)
    assert not (folder / "parts" / f"{part}.done").exists()

    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    again(micro)
    after = stamps(folder, "runs")
    assert {k: v for k, v in after.items() if k in before} == before
    table = (finished / "micro" / "scores.parquet").read_bytes()
    assert (folder / "scores.parquet").read_bytes() == table


@pytest.mark.parametrize(
    "content", [b"", b'{"run": {"arm": "tiny"', b"[]", b"null", b"{}", b"\xff\xfe"]
)
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert read_run(tmp_path / "run.json") is None
    assert read_run(tmp_path / "nothing.json") is None


def test_only_the_damaged_run_is_done_again(build: Path, micro: Experiment) -> None:
    run = next(r for r in runs(micro) if r.model == "tiny-shuffled")
    before, table = stamps(build, "runs"), (build / "scores.parquet").read_bytes()
    path = Place(micro).run(run)
    path.write_text(path.read_text()[:100])
    again(micro, part_of(micro, run), "collect")
    changed = {k for k, v in stamps(build, "runs").items() if before[k] != v}
    assert changed == {f"runs/{run.key}.json"}
    assert (build / "scores.parquet").read_bytes() == table


def test_a_run_without_its_outputs_is_not_finished(build: Path, micro: Experiment) -> None:
    """Of a part that was stopped: no mark, and a record whose outputs are gone."""
    one = next(r for r in runs(micro) if r.model == "char-ngram")
    wanted = Place(micro).outputs(one).read_bytes()
    for content in (None, wanted[:-1]):
        Place(micro).done(part_of(micro, one)).unlink()
        Place(micro).outputs(one).unlink()
        if content:
            Place(micro).outputs(one).write_bytes(content)
        again(micro, part_of(micro, one))
        assert Place(micro).outputs(one).read_bytes() == wanted


def kinds(folder: Path) -> dict[str, Path]:
    """One finished file of each kind that an experiment leaves."""
    first = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        kind = path.relative_to(folder).parts[0]
        inside = path.name if kind in ("vocabulary", "pretrained") else path.suffix
        if kind not in ("parts", "log") and inside not in (".lock", ""):
            first.setdefault(f"{kind} {inside}", path)
    return first


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "digit"])
def test_a_damaged_file_of_any_kind_is_named_and_the_same_command_heals_it(
    build: Path, micro: Experiment, damage: str
) -> None:
    """Never a wrong table: what was finished is read back before anything is believed."""
    tables = {name: (build / name).read_bytes() for name in ("scores.parquet", "pairs.parquet")}
    damaged = kinds(build)
    assert {k.split()[0] for k in damaged} > {"runs", "outputs", "vocabulary", "pretrained"}
    for path in damaged.values():
        content = bytearray(path.read_bytes())
        if damage == "flip":
            content[len(content) // 2] ^= 4
        elif damage == "digit":  # a number that is still one
            at = next((i for i, c in enumerate(content) if c in b"123456"), len(content) // 2)
            content[at] += 1
        path.unlink() if damage == "gone" else path.write_bytes(
            b"" if damage == "empty" else content[: len(content) // (2 if damage == "cut" else 1)]
        )
    assert len(verify(micro)) >= len({p.parent for p in damaged.values()}) - 1
    told = verify(micro, repair=True)  # as told, and now gone
    assert all("makes it again" in sentence for sentence in told)
    for part in (p.name for p in parts(micro) if not Place(micro).done(p.name).is_file()):
        do_part(micro, part)
    assert verify(micro) == []
    for name, content in tables.items():
        assert (build / name).read_bytes() == content


def test_verify_names_what_is_damaged_and_leaves_it(build: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "micro.yml").write_text(MICRO)
    asked = ["verify", str(tmp_path / "micro.yml"), "--json"]
    assert cli.main(asked) == 0 and json.loads(capsys.readouterr().out)["damaged"] == []
    table = build / "scores.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    assert cli.main(asked) == cli.FAILED
    (told,) = json.loads(capsys.readouterr().out)["damaged"]
    assert told == f"{table} is damaged: part collect makes it again" and table.is_file()


@pytest.mark.parametrize("fault", ["gap", "twice", "range", "other"])
def test_a_table_that_is_not_the_planned_one_is_named_whatever_its_checksum(
    build: Path, micro: Experiment, fault: str
) -> None:
    """Somebody replaced table and mark, or a version of ours wrote a wrong one."""
    wanted = (build / "scores.parquet").read_bytes()
    table = pd.read_parquet(build / "scores.parquet")
    if fault == "gap":
        first = table.iloc[0][["model", "task", "source", "target", "n_target", "seed"]]
        table = table[(table[first.index] != first).any(axis=1)]
    elif fault == "twice":
        table = pd.concat([table, table.iloc[:1]])
    elif fault == "range":
        table.loc[table.index[table["metric"] != "illegal"][0], "score"] = -1.0
    else:
        table.loc[table.index[0], "source"] = "deu"
    table.to_parquet(build / "scores.parquet", index=False)
    mark = Place(micro).done("collect")
    made = json.loads(mark.read_text())["made"]
    made["scores.parquet"] = sha256(build / "scores.parquet")
    mark.write_text(sealed({"finished": 0, "made": made}))
    (told,) = verify(micro)
    table_is = f"{build / 'scores.parquet'} is not the planned table (of other settings, as with"
    assert told == f"{table_is} --set, or damaged): part collect makes it again"
    verify(micro, repair=True)
    again(micro, "collect")
    assert (build / "scores.parquet").read_bytes() == wanted and verify(micro) == []


def test_results_of_two_machines_merge_without_counting_twice(
    build: Path, micro: Experiment, tmp_path: Path, capsys
) -> None:
    """Half of the runs here, all of them there; then one score of there differs."""
    there = tmp_path / "there" / "micro"
    shutil.copytree(build, there)
    listed, wanted = runs(micro), (build / "scores.parquet").read_bytes()
    for one in listed[::2]:
        Place(micro).run(one).unlink()
        Place(micro).outputs(one).unlink()
    for kind in ("parts", "vocabulary", "pretrained"):
        shutil.rmtree(build / kind)
    damaged = there / "runs" / f"{listed[0].key}.json"
    damaged.write_text(damaged.read_text().replace("0.", "0.1", 1))
    mine = stamps(build, "runs")
    (tmp_path / "micro.yml").write_text(MICRO)
    asked = ["merge", str(tmp_path / "micro.yml"), str(there)]
    assert cli.main(asked) == 0
    assert f"{len(listed[::2]) - 1} runs taken over" in capsys.readouterr().out
    assert not Place(micro).run(listed[0]).exists()  # what is damaged stays there
    assert {k: v for k, v in stamps(build, "runs").items() if k in mine} == mine
    made = stamps(build, "pretrained", "vocabulary")
    again(micro)
    assert stamps(build, "pretrained", "vocabulary") == made
    assert (build / "scores.parquet").read_bytes() == wanted

    record = read_run(there / "runs" / f"{listed[1].key}.json")
    assert record is not None
    record["scores"][0]["score"] += 0.01
    (there / "runs" / f"{listed[1].key}.json").write_text(sealed(record))
    assert cli.main(asked) == cli.USAGE
    said = capsys.readouterr().err
    assert f"{listed[1].label} was run twice with different scores" in said
    assert str(there) in said and "delete" in said
    assert cli.main(["merge", str(tmp_path / "micro.yml"), str(tmp_path)]) == cli.USAGE


def test_a_score_leads_to_its_run_and_command(build: Path, micro: Experiment, tmp_path, capsys):
    (tmp_path / "micro.yml").write_text(MICRO)
    asked = ["explain", str(tmp_path / "micro.yml"), "entity_type", "English", "ru"]
    ngram = ("--model", "char-ngram")
    for more, n, model in (
        ((), 0, "tiny"),
        (("--n-target", "2"), 2, "tiny"),
        (ngram, 0, "char-ngram"),
    ):
        assert cli.main([*asked, *more, "--json"]) == 0
        about = json.loads(capsys.readouterr().out)
        (one,) = (
            r for r in runs(micro)
            if (r.model, r.task, r.source) == (model, "entity_type", "eng")
        )  # fmt: skip
        record = read_run(Place(micro).run(one))
        assert record is not None and about["record"].startswith(str(Place(micro).run(one)))
        (row,) = (
            s for s in record["scores"]
            if (s["target"], s["n_target"], s["metric"]) == ("rus", n, "accuracy")
        )  # fmt: skip
        assert f"accuracy {row['score']:.4f} (" in about["score"]
        assert about["key"] == one.key and str(Place(micro).outputs(one)) in about["predictions"]
        assert about["command"] == f"xlt run micro --part {part_of(micro, one)}"
    for wrong, said in (("German", "Allowed: eng, rus"), ("xx", "unknown language")):
        assert cli.main([*asked[:3], wrong, "ru"]) == cli.USAGE
        assert said in capsys.readouterr().err
    assert cli.main([*asked, "--n-target", "3"]) == cli.USAGE
    assert "Allowed: 0, 2, 4" in capsys.readouterr().err
    Place(micro).run(one).unlink()
    assert cli.main([*asked, *ngram, "--json"]) == 0  # as after a run with --set
    record = json.loads(capsys.readouterr().out)["record"]
    assert record == f"no run {one.key}: the table is of other settings (--set) or versions"


def test_a_damaged_mark_of_the_experiment_s_file_stops_nothing(build: Path, tmp_path: Path) -> None:
    (tmp_path / "micro.yml").write_text(MICRO)
    for content in (b"\xe5", b"\x00", b"x" * 5000, b""):
        (build / "experiment.txt").write_bytes(content)
        assert load(str(tmp_path / "micro.yml")).name == "micro"


def test_collecting_with_a_run_missing_names_it_and_keeps_the_table(
    build: Path, micro: Experiment
) -> None:
    run = runs(micro)[0]
    table = (build / "scores.parquet").read_bytes()
    Place(micro).run(run).unlink()
    with pytest.raises(ValueError, match=f"1 runs of micro are missing, first '{run.label}'.*xlt"):
        again(micro, "collect")
    assert (build / "scores.parquet").read_bytes() == table


def test_half_a_pretrained_folder_is_made_again(build: Path, micro: Experiment) -> None:
    (log,) = (build / "pretrained").glob("*/log.json")
    weights = log.parent / "model.safetensors"
    whole_weights = weights.read_bytes()
    weights.write_bytes(whole_weights[:50])
    log.unlink()
    again(micro, "pretrain-0")
    assert log.is_file() and weights.read_bytes() == whole_weights


# ---------------------------------------------------------------- no space, no permission


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["replace", "write_text", "to_parquet", "mkdir"])
def test_no_space_is_said_with_the_cure_and_leaves_nothing_half(
    build: Path, micro: Experiment, monkeypatch, where: str
) -> None:
    run = next(r for r in runs(micro) if r.model == "char-ngram" and r.task == "entity_type")
    Place(micro).run(run).unlink()
    Place(micro).outputs(run).unlink()
    owner = {"replace": os, "to_parquet": pd.DataFrame}.get(where, Path)
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, no_space)
        with pytest.raises(OSError, match="cannot write .*: the disk is full: free some space"):
            again(micro, part_of(micro, run))
    assert not Place(micro).run(run).exists()
    assert not [p for p in build.rglob("*") if ".tmp" in p.name]
    again(micro)  # with space again it goes on
    assert Place(micro).run(run).exists()


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_disk_that_fills_while_weights_are_saved_is_said_with_the_cure(
    finished: Path, tmp_path: Path, size: int, forked: None
) -> None:
    """Writers in Rust and C++ fail in their own ways; a limit on file sizes makes them fail."""
    (tmp_path / "micro.yml").write_text(MICRO)
    script = (
        "import resource, signal, sys; from xltlib import cli\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))\n"
        f"names = ['vocabulary', 'pretrain-0']\n"
        f"sys.exit(max(cli.main(['run', {str(tmp_path / 'micro.yml')!r}, '--part', n])"
        " for n in names))"
    )
    environment = {**os.environ, "XLT_BUILD": str(tmp_path / "build")}
    environment["PYTHONPATH"] = str(Path(run.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, text=True, capture_output=True
    )
    assert done.returncode == cli.FAILED
    assert "larger than is allowed here" in done.stderr and "Traceback" not in done.stderr
    assert not [p for p in (tmp_path / "build").rglob("*") if ".tmp" in p.name]


@pytest.mark.parametrize(
    "said",
    ["Error while serializing: I/O error: No space left on device (os error 28)", "unexpected pos"],
)
def test_a_full_disk_is_known_whatever_the_writer_says(tmp_path: Path, monkeypatch, said) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="cannot write .*model: the disk is full"):
        with whole(tmp_path / "model"):
            raise RuntimeError(said)


@pytest.mark.parametrize("folder", [False, True])
def test_what_gets_its_name_is_on_the_disk(tmp_path: Path, monkeypatch, folder: bool) -> None:
    """Every file, and the folder, before the name is given; and the name itself."""
    done: list[tuple[str, int]] = []
    sync, replace = os.fsync, os.replace

    def synced(file: int) -> None:
        done.append(("sync", os.fstat(file).st_ino))
        sync(file)

    def replaced(old: Path, new: Path) -> None:
        done.append(("replace", old.stat().st_ino))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with whole(tmp_path / "made") as temporary:
        for path in (temporary / "a", temporary / "in" / "b") if folder else (temporary,):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    made = tmp_path / "made"
    inside = {p.stat().st_ino for p in (made, *made.rglob("*"))}
    at = done.index(("replace", made.stat().st_ino))
    assert {number for what, number in done[:at]} == inside and len(inside) == (4 if folder else 1)
    assert done[at + 1 :] == [("sync", tmp_path.stat().st_ino)]


@pytest.mark.parametrize("kind", ["folders", "files"])
def test_a_disk_that_cannot_flush_folders_is_written_to(
    tmp_path: Path, monkeypatch, kind: str
) -> None:
    """Some network disks refuse it of folders; of a file it means that the content is not there."""
    sync = os.fsync

    def synced(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode) == (kind == "folders"):
            raise OSError(errno.EINVAL if kind == "folders" else errno.ENOSPC, "no")
        sync(file)

    monkeypatch.setattr(os, "fsync", synced)
    expected = nullcontext() if kind == "folders" else pytest.raises(OSError, match="full")
    with expected, whole(tmp_path / "made") as temporary:
        (temporary / "in").mkdir(parents=True)
        (temporary / "in" / "a").write_text("x")
    assert (tmp_path / "made" / "in" / "a").is_file() == (kind == "folders")


def test_half_written_files_of_killed_processes_are_taken_away(build: Path, micro) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with whole(build / "runs" / "mine.json") as mine:
        mine.touch()
        theirs = mine.with_name(mine.name.replace(str(os.getpid()), str(ended.pid)))
        theirs.touch()
        verify(micro)
        assert mine.exists() and theirs.exists()
        verify(micro, repair=True)
        assert mine.exists() and not theirs.exists()


def test_two_runs_in_one_folder_do_nothing_twice(
    finished: Path, build: Path, micro: Experiment, tmp_path: Path, forked: None
) -> None:
    """The second waits for each part and finds it done."""
    part = next(p.name for p in parts(micro) if p.name.startswith("source-"))
    for one in (r for r in runs(micro) if part_of(micro, r) == part):
        Place(micro).run(one).unlink()
    (tmp_path / "micro.yml").write_text(MICRO)
    command = [sys.executable, "-m", "xltlib.cli", "run", str(tmp_path / "micro.yml")]
    environment = {**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[2])}
    both = [
        subprocess.Popen([*command, "--part", part], env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("at work in another process; waiting" in one for one in said) == 1
    table = (finished / "micro" / "scores.parquet").read_bytes()
    again(micro, "collect")
    assert (build / "scores.parquet").read_bytes() == table
    with (micro.folder / "locks" / part).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # what another process is at is not judged
        Place(micro).run(one).write_text("half")
        assert verify(micro, repair=True) == []
    assert verify(micro, repair=True)


def test_a_folder_that_cannot_be_written_is_named_with_the_cure(
    micro: Experiment, tmp_path: Path, monkeypatch, capsys
) -> None:
    """A file stands where the folder should be: refused to everybody, root as well."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "file"))
    path = tmp_path / "micro.yml"
    path.write_text(MICRO)
    assert cli.main(["run", str(path), "--part", "vocabulary"]) == cli.FAILED
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said and "XLT_BUILD" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(micro: Experiment, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "locked"))
    path = tmp_path / "micro.yml"
    path.write_text(MICRO)
    assert cli.main(["run", str(path), "--part", "vocabulary"]) == cli.FAILED
    said = capsys.readouterr().err
    assert "is not a folder that you may write to" in said and "XLT_BUILD" in said


def test_read_only_as_the_system_says_it(build: Path, micro: Experiment, monkeypatch) -> None:
    """The same for root, with the error made by hand; the done mark must not appear."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    Place(micro).done("collect").unlink()
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="(?i)read-only: choose another place"):
        again(micro, "collect")
    assert not Place(micro).done("collect").exists()
    assert not [p for p in build.rglob("*") if ".tmp" in p.name]
