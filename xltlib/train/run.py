"""Does what an experiment lists: vocabulary, pre-training, fine-tuning, scoring, collecting.

A run's record (``runs/<key>.json``) and its outputs (``outputs/<key>.parquet``) appear whole when
it is finished; what is interrupted goes on with what is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from xltlib import io, scores
from xltlib.data import cldr, text
from xltlib.errors import unknown
from xltlib.languages import language, similarity
from xltlib.train import forks, plan, probe
from xltlib.train.config import Experiment
from xltlib.train.plan import Part, Place, Run, parts, runs
from xltlib.train.worker import Worker, label_words, text_of

_SCORE_COLUMNS = (
    "model", "task", "source", "target", "n_target", "seed", "test_set", "metric", "score",
    "n_test", "stderr", "chance",
)  # fmt: skip


def read_run(path: Path) -> dict[str, Any] | None:
    """A finished run's record; None where there is none or it is damaged (it is then run again)."""
    record = io.unsealed(path)
    return record if record and {"run", "scores", "log", "outputs"} <= record.keys() else None


# ---------------------------------------------------------------- the parts


def do_all(exp: Experiment, words: Sequence[str], jobs: int | None = None) -> bool:
    """Do what is missing, every part in a process of its own; whether all went well.

    Parameters
    ----------
    words
        What `xlt run` was given: the experiment's name or file, and ``--set KEY=VALUE``.
    jobs
        Parts at a time; one a core or GPU unless given.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs {jobs}: at least one part must run at a time")
    for damage in verify(exp, repair=True):
        print(damage, file=sys.stderr)
    # What is done was read back just now; only the tables are always asked for again.
    finished = {name for name, is_done in plan.done(exp).items() if is_done and name != "collect"}
    waiting = {p.name: set(p.needs) for p in parts(exp) if p.name not in finished}
    total, begin, at_once = len(waiting), time.monotonic(), jobs or exp.model.at_once
    command = [sys.executable, "-m", "xltlib.cli", "run", *words, "--part"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    running: dict[str, forks.Part] = {}
    ended, failed = 0, list[str]()
    with forks.forking(environment, total > 2) as (environment, _):
        try:
            while running or any(needs <= finished for needs in waiting.values()):
                ready = [name for name, needs in waiting.items() if needs <= finished]
                for name in ready[: at_once - len(running)]:
                    del waiting[name]
                    running[name] = forks.Part([*command, name], environment)
                time.sleep(0.1)
                for name in [n for n, part in running.items() if part.poll() is not None]:
                    if code := running.pop(name).returncode:
                        again = shlex.join(["xlt", "run", *words, "--part", name])
                        failed.append(f"part {name} failed (exit {code}); it again: `{again}`")
                        print(f"xlt: {failed[-1]}", file=sys.stderr)
                        continue  # it does not stop the others
                    finished.add(name)
                    ended += 1
                    left = (time.monotonic() - begin) / ended * (total - ended) / 60
                    progress = f"{ended} of {total} parts, {name} done"
                    print(f"{progress}, about {left:.0f} min left", file=sys.stderr)
        finally:
            for part in running.values():
                part.terminate()
    if failed:
        kept = f"{len(waiting)} that need them were not tried; what had finished is kept"
        for line in [*failed, kept] if len(failed) > 1 else [kept]:
            print(f"xlt: {line}", file=sys.stderr)
    return not failed


def do_part(exp: Experiment, name: str) -> None:
    """Do what is missing of one part, and mark it done.

    Raises
    ------
    ValueError
        No such part, data with a fault, or of ``_collect`` a run that is missing.
    OSError
        A place that cannot be written, with the cure.
    """
    known = {part.name: part for part in parts(exp)}
    if name not in known:
        raise unknown(f"part of {exp.name}", name, known, "see `xlt run NAME --list`")
    _check_writable(exp.folder)
    with _alone(exp, name):
        _do_part(exp, known[name])


def _do_part(exp: Experiment, part: Part) -> None:
    if part.name == "vocabulary":
        _make_vocabulary(exp, part.folders[0])
    elif part.name == "collect":
        _collect(exp)
    elif part.runs:
        _do_runs(exp, part.runs, part.name)
    elif part.name.startswith("pretrain-"):
        _make_pretrained(exp, part.folders[0], *part.of)
    else:
        (task,) = part.of
        probe.encode(exp, task, part.folders, partial(Worker(exp).pool, task))
    made = exp.folder.glob("*.parquet") if part.name == "collect" else ()
    sums = {path.name: io.sha256(path) for path in made}
    done = io.sealed({"finished": round(time.time()), "made": sums})
    io.write_text(Place(exp).done(part.name), f"{done}\n")


def verify(exp: Experiment, *, repair: bool = False) -> list[str]:
    """Read back what is marked as finished: a sentence on each thing that is not as it was written.

    With `repair` it is taken away, with the mark of its part, so that `do_part` makes it again.
    """
    place, told = Place(exp), list[str]()
    if repair:
        io.sweep(exp.folder)
    for part in (p for p in parts(exp) if place.done(p.name).is_file()):
        with _alone(exp, part.name, wait=False) if repair else nullcontext(True) as mine:
            for path in _damaged(exp, part) if mine else ():  # else another process is at it
                told.append(f"{path} {_state(place, part, path)}: part {part.name} makes it again")
                if repair:
                    io.remove(path)
                    place.done(part.name).unlink(missing_ok=True)
    return told


@contextmanager
def _alone(exp: Experiment, name: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold a part: a second process waits, or is told so (False). It goes with the process."""
    path = exp.folder / "locks" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise io.unwritable(path, error.errno or 0, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = wait
            if wait:
                io.say(f"part {name} of {exp.name} is at work in another process; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield mine


def _damaged(exp: Experiment, part: Part) -> list[Path]:
    """What a finished part should have left, as far as it is not there as it was written."""
    place = Place(exp)
    if part.name == "collect":
        sums = (io.unsealed(place.done(part.name)) or {}).get("made", {})
        tables = {place.scores(), place.pairs(), *(exp.folder / table for table in sums)}
        wrong = [p for p in sorted(tables) if not p.is_file() or sums.get(p.name) != io.sha256(p)]
        return wrong or ([] if _as_planned(exp) else [place.scores()])
    lost = [path for run in part.runs for path in _lost(place, run)]
    return lost + [folder for folder in part.folders if not io.intact(folder)]


def _state(place: Place, part: Part, path: Path) -> str:
    """What is wrong with something that is not as it should be."""
    if not path.exists():
        return "is gone"
    made = (io.unsealed(place.done(part.name)) or {}).get("made", {})
    if path.is_file() and made.get(path.name) == io.sha256(path):
        return "is not the planned table (of other settings, as with --set, or damaged)"
    return "is damaged"


def _lost(place: Place, run: Run) -> list[Path]:
    """What of a run is not there as it was written: its record, or outputs and so its record."""
    record, outputs = read_run(place.run(run)), place.outputs(run)
    if record is None:
        return [place.run(run)]
    if outputs.is_file() and record["outputs"] == io.sha256(outputs):
        return []
    return [outputs, place.run(run)]


def _as_planned(exp: Experiment) -> bool:
    """Whether the scores table can be read, and has every planned cell once and no other."""
    columns = ["model", "task", "source", "target", "n_target", "seed"]
    try:
        table = pd.read_parquet(Place(exp).scores())
        sets = [c for c in ("target_set",) if c in table]
        if table.duplicated([*columns, *sets, "metric"]).any():
            return False
        scores.check(table[table["metric"] != scores.ILLEGAL])  # codes, ranges, columns
        found = set(table[columns].itertuples(index=False, name=None))
    except (ValueError, KeyError, OSError):
        return False
    return found == {
        (r.model, r.task, language(r.source).key, language(text.original(target)).key, n, r.seed)
        for r in runs(exp)
        for target, n in _cells_of(exp, r)
    }


def _cells_of(exp: Experiment, run: Run) -> list[tuple[str, int]]:
    """Target and number of its examples of every cell that a run has."""
    targets = () if run.condition.endswith("alone") else exp.tasks[run.task].targets
    return [*((t, 0) for t in targets), *((t, n) for t in run.fewshot for n in exp.fewshot.n)]


def merge(exp: Experiment, other: Path) -> int:
    """Take over what another machine finished of an experiment; how many runs are new here.

    `other` is the experiment's folder of there, such as ``/mnt/b/build/matrix``. What is damaged,
    or not of these very settings and versions, has no name here and stays there.

    Raises
    ------
    ValueError
        A run of both has different scores.
    """
    place, new = Place(exp), 0
    if not (other / "runs").is_dir():
        raise ValueError(
            f"{other} holds no runs: give the folder of {exp.name} that was built there"
        )
    for mine in (folder for part in parts(exp) for folder in part.folders):
        folder = other / os.path.relpath(mine, exp.folder)
        if io.intact(folder) and not io.intact(mine):
            with io.whole(mine) as temporary:
                shutil.copytree(folder, temporary)
    for run in runs(exp):
        theirs = read_run(other / "runs" / place.run(run).name)
        outputs = other / "outputs" / place.outputs(run).name
        if theirs is None or not outputs.is_file() or theirs["outputs"] != io.sha256(outputs):
            continue
        here = read_run(place.run(run))
        if here is None:
            with io.whole(place.outputs(run)) as temporary:
                shutil.copy(outputs, temporary)
            io.write_text(place.run(run), io.sealed(theirs))
            new += 1
        elif here["scores"] != theirs["scores"]:
            pairs = zip(here["scores"], theirs["scores"], strict=False)
            a, b = next((a, b) for a, b in pairs if a != b)
            raise ValueError(
                f"{run.label} was run twice with different scores, {a['metric']} in {a['target']} "
                f"{a['score']:.4f} here and {b['score']:.4f} in {other}: other processors round "
                f"otherwise; delete {place.run(run)} or {other / 'runs' / place.run(run).name}, "
                "whichever you do not want"
            )
    return new


def _check_writable(folder: Path) -> None:
    """A place nobody can write to is known before the work."""
    near = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not (near.is_dir() and os.access(near, os.W_OK)):
        raise OSError(
            f"cannot write {folder}: {near} is not a folder that you may write to; choose another "
            "place with the environment variable XLT_BUILD"
        )


def _make_vocabulary(exp: Experiment, folder: Path) -> None:
    """Train the tokenizer, unless it is there."""
    if io.intact(folder):
        return
    from xltlib.models.tiny import train_tokenizer  # torch

    read = text_of(exp)
    lines = (line for own in read.values() for line in own)
    tokenizer = train_tokenizer(lines, exp.shape.vocab_size, label_words(exp))
    with io.whole(folder) as temporary:
        tokenizer.save_pretrained(temporary)
        if exp.text.corpus == "cldr":
            io.write_text(temporary / Place(exp).text().name, json.dumps(read, ensure_ascii=False))
        io.seal(temporary)


def _make_pretrained(exp: Experiment, folder: Path, seed: int, known: str | None) -> None:
    """Pre-train one model, unless it is there."""
    if io.intact(folder):
        return
    from transformers import AutoTokenizer  # torch

    from xltlib.models import compute, tiny
    from xltlib.train.pretrain import Sampler, pretrain

    compute.prepare_process()
    tokenizer = AutoTokenizer.from_pretrained(Place(exp).vocabulary())
    sampler = Sampler(text_of(exp, known), tokenizer, exp.pretrain)
    recipe = sampler.recipe
    model: Any = tiny.build(exp.shape, tokenizer, seed)
    model = model.to(compute.device())
    half = folder.with_name(f".{folder.name}.half.pt")  # where an interrupted one goes on
    of = " ".join(["pre-training", *filter(None, [known]), f"seed {seed}"])
    with tqdm(total=recipe.steps, desc=of, mininterval=2) as bar:

        def progress(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss:.2f}")

        log = pretrain(model, sampler, recipe, seed=seed, progress=progress, checkpoint=half)
    about = {
        "seed": seed,
        "known": known,
        "log": log,
        "parameters": model.num_parameters(),
        "device": str(model.device),
        "arithmetic": compute.arithmetic(model.device.type, recipe.precision),
        "seconds": log[-1]["seconds"],
        "width": exp.shape.d_model,
        "tokens": sampler.n_tokens,
        "lines": len(sampler.rows),
        "read": sampler.read,
        "recipe": asdict(recipe),
        **tiny.reading(model, sampler.batch(np.random.default_rng(seed))[0]),
    }
    with io.whole(folder) as temporary:
        tiny.save(model, tokenizer, temporary)
        (temporary / "log.json").write_text(json.dumps(about, indent=1))
        io.seal(temporary)
    half.unlink(missing_ok=True)


def _do_runs(exp: Experiment, listed: Sequence[Run], name: str) -> None:
    """Do those runs that are not finished yet."""
    place, worker = Place(exp), Worker(exp)
    missing = [r for r in listed if _lost(place, r)]
    finished = len(listed) - len(missing)
    with tqdm(total=len(listed), initial=finished, desc=name, unit="run") as bar:
        worker.ahead(listed, missing)
        for run in missing:
            bar.set_postfix_str(run.label)
            worker.do(run)
            bar.update()


# ---------------------------------------------------------------- collecting


def finished(exp: Experiment) -> tuple[pd.DataFrame, list[str]]:
    """Scores of the runs that are finished, and the labels of those that are not."""
    place, rows, missing = Place(exp), list[dict[str, Any]](), list[str]()
    for run in runs(exp):
        record = read_run(place.run(run))
        if record is None:
            missing.append(run.label)
        else:
            rows += record["scores"]
    return table_of(rows), missing


def _collect(exp: Experiment) -> pd.DataFrame:
    """Write the scores and the pairs table of the finished runs.

    Raises
    ------
    ValueError
        A run is missing: which, and the command that finishes them.
    """
    table, missing = finished(exp)
    if missing:
        raise ValueError(
            f"{len(missing)} runs of {exp.name} are missing, first {missing[0]!r}: "
            f"finish them with `xlt run {exp.name}`"
        )
    place = Place(exp)
    scores.write(table, place.scores())
    if len(layered := layer_scores(exp)):
        io.write_table(layered, exp.folder / "layers.parquet")
    codes = [c for c in exp.languages if c == text.original(c)]  # a clone is like no language
    words = cldr.vocabulary([c for c in codes if language(c).locale])
    if exp.model.kind == "tiny":
        sizes = {code: float(sum(map(len, lines))) for code, lines in text_of(exp).items()}
        pairs = similarity.pairs(codes, texts=words, sizes=sizes)
    else:
        pairs = similarity.of_model(similarity.pairs(codes, texts=words), exp.model.name)
    io.write_table(pairs, place.pairs())
    return table


def layer_scores(exp: Experiment) -> pd.DataFrame:
    """Scores of every layer of an encoder, where they were kept."""
    rows: list[tuple[Any, ...]] = []
    for run in runs(exp) if exp.model.kind == "encoder" else ():
        record = read_run(Place(exp).run(run)) or {}
        about = (run.model, run.task, run.source, run.seed)
        rows += [(*about, *one) for one in record.get("layers", ())]
    names = ["model", "task", "source", "seed", "layer", "target", "score"]
    return pd.DataFrame(rows, columns=names)


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of scores as a table; a clone of a language stands in a column of its own."""
    if any("target_set" in row for row in rows):
        table = pd.DataFrame(rows, columns=[*_SCORE_COLUMNS, "target_set"])
        return table.fillna({"target_set": ""})
    return pd.DataFrame(rows, columns=[*_SCORE_COLUMNS])
