"""An experiment with a public checkpoint: its file, its runs, what they cost. Nothing is fetched.

The file has `checkpoint:` where an experiment of ours has `model:`. `plan` says before anything is
done how many runs and cells there are, about how many GPU hours they take, and what is downloaded
under which licence. This module starts without torch; `xltlib.train.checkpoint_runs` does the work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xltlib.data import datasets
from xltlib.data.cards import VIEWS, Card, Files, Hub
from xltlib.data.fetch import sha256
from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.train.config import (
    AnyExperiment,
    Part,
    Run,
    build,
    check_name,
    code_digest,
    digest,
    folder_of,
    read_file,
    versions,
)
from xltlib.train.config import load as load_any
from xltlib.train.recipes import FP16, HALF, Recipe

if TYPE_CHECKING:
    import pandas as pd

Answers = Literal["generate", "choose"]
TestSplit = Literal["test", "all"]
# What a score depends on; a change here (comments and docstrings apart) makes new runs.
SOURCES = (
    "tasks/base.py",
    "tasks/forms.py",
    "tasks/metrics.py",
    "tasks/public.py",
    "data/files.py",
    "data/massive.py",
    "data/datasets.py",
    "train/finetune.py",
    "train/generate.py",
    "train/steps.py",
    "models/batches.py",
    "models/checkpoint.py",
    "models/compute.py",
    "train/checkpoint_runs.py",
)
PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "datasets", "peft")
MEMORY = ("micro_tokens", "checkpointing")  # settings of a recipe that change no score


@dataclass(frozen=True)
class Checkpoint:
    """A model on the Hub, or a local folder.

    Attributes
    ----------
    revision
        Commit of configuration and tokenizer.
    weights
        Revision of the weights, where safetensors are not in the same one: mT5's lie in a pull
        request of the Hub's conversion service, which ``main`` finds.
    body, head
        Parameters of the layers and of the output vocabulary; for the estimate only.
    licence
        As its authors state it; for the plan only.
    """

    name: str
    revision: str = "main"
    weights: str = ""
    body: int = 0
    head: int = 0
    licence: str = "see its model card"

    @property
    def label(self) -> str:
        """What the scores call it: the name on the Hub, or the folder's own."""
        folder = Path(self.name)
        return folder.resolve().name if folder.is_dir() else self.name


@dataclass(frozen=True)
class TaskSpec:
    """One task of the experiment.

    Attributes
    ----------
    sources, targets
        Languages; targets are the sources unless given.
    train_items, validation_items, test_items
        How many of them; 0: all there are.
    train_on
        Another task of the same form whose training and validation sets are used (``squad`` for
        ``xquad`` and ``mlqa``); empty: its own.
    test_split
        ``all``: the whole of a data set whose one split is cut here, as others test on it.
    answers
        ``generate`` any text, or ``choose`` the most probable label.
    recipe
        Changes to the experiment's recipe.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...] = ()
    train_items: int = 0
    validation_items: int = 1000
    test_items: int = 0
    train_on: str = ""
    test_split: TestSplit = "test"
    answers: Answers = "generate"
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointExperiment:
    """Everything that determines the scores of a public checkpoint on public tasks."""

    name: str
    title: str
    checkpoint: Checkpoint
    tasks: Mapping[str, TaskSpec]
    seeds: tuple[int, ...] = (0,)
    recipe: Recipe = field(default_factory=Recipe)
    data: Mapping[str, Any] = field(default_factory=dict)
    teraflops: float = 100.0  # a second, sustained: about a third of an A100's or H100's bfloat16
    notebooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where everything made of this experiment goes."""
        return folder_of(self.name)

    @property
    def at_once(self) -> int:
        """How many parts run at one time, unless somebody says otherwise: one a GPU."""
        return devices()

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language of any task, sources first."""
        specs = self.tasks.values()
        asked = [*(c for s in specs for c in s.sources), *(c for s in specs for c in s.targets)]
        return tuple(dict.fromkeys(asked))

    def recipe_of(self, task: str) -> Recipe:
        """The recipe with the task's own settings."""
        return replace(self.recipe, **self.tasks[task].recipe)

    def runs(self) -> list[Run]:
        """Every fine-tuned model; its arm is the checkpoint's label."""
        model = self.checkpoint.label
        return [
            Run(model, task, source, seed, None, None, (), run_key(self, task, source, seed))
            for task, spec in self.tasks.items()
            for source in spec.sources
            for seed in self.seeds
        ]

    def parts(self) -> list[Part]:
        """A part a run, so that each can have a GPU of its own; then the tables of all."""
        runs, inputs = self.runs(), tuple(f"xltlib/{name}" for name in SOURCES)
        made = [Part(part_of(r), (), inputs, {"key": r.key}) for r in runs]
        measures = (
            "xltlib/scores.py",
            "xltlib/languages/similarity.py",
            "xltlib/languages/uriel.py",
        )
        key = {"key": digest([r.key for r in runs])}
        return [*made, Part("collect", tuple(p.name for p in made), inputs + measures, key)]

    def own(self, task: str) -> datasets.Own | None:
        """The user's own files for a task, if the experiment names some."""
        return datasets.own_files(task, self.data[task]) if task in self.data else None


def part_of(run: Run) -> str:
    """Name of the part that a run is."""
    return f"{run.task}-{run.source}-{run.seed}"


def devices() -> int:
    """How many GPUs this process may use; 1 where there is none, for one run fills a machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return max(1, len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))
    return max(1, sum(bool(d.strip()) for d in visible.split(",")))


# ---------------------------------------------------------------- reading


def load(path: Path) -> CheckpointExperiment:
    """Read and check an experiment file.

    Raises
    ------
    ValueError
        Unknown key, task, language or setting, with what is allowed and the cure.
    """
    return from_content(read_file(str(path))[1], path)


def from_content(content: dict[str, Any], path: Path) -> CheckpointExperiment:
    """The experiment that a file's content describes; paths in it start from the file's folder."""
    if str((content.get("recipe") or {}).get("precision")) in HALF:
        raise ValueError(FP16)
    found: CheckpointExperiment = build(CheckpointExperiment, content, str(path))
    check_name(found.name)
    if not found.tasks:
        raise ValueError(f"{path}: tasks is empty; name one of {', '.join(VIEWS)}")
    if not found.seeds:
        raise ValueError(f"{path}: seeds is empty; give at least one, such as [0]")
    for task in found.data:
        datasets.card_of(task)
    near = path.parent / found.checkpoint.name
    name = str(near) if near.is_dir() else found.checkpoint.name
    data = {task: _rooted(files, path.parent) for task, files in found.data.items()}
    found = replace(found, data=data, checkpoint=replace(found.checkpoint, name=name))
    tasks = {name: _checked(found, name, spec) for name, spec in found.tasks.items()}
    return replace(found, tasks=tasks)


def with_checkpoint(exp: AnyExperiment, other: str = "mt5") -> CheckpointExperiment:
    """The experiment itself if it has a checkpoint, else the one that the book tells about."""
    if isinstance(exp, CheckpointExperiment):
        return exp
    found = load_any(other)
    assert isinstance(found, CheckpointExperiment)
    return found


def _rooted(files: Any, folder: Path) -> Any:
    """The user's file specifications with paths that start from a folder."""
    if not isinstance(files, Mapping):
        return files
    return {
        key: str(folder / value) if key == "path" else _rooted(value, folder)
        for key, value in files.items()
    }


def _checked(exp: CheckpointExperiment, task: str, spec: TaskSpec) -> TaskSpec:
    """Language keys in, languages that neither the data set nor the user has refused."""
    card, own = datasets.card_of(task), exp.own(task) or {}
    recipe = build(Recipe, asdict(exp.recipe) | dict(spec.recipe), f"tasks.{task}.recipe")
    sources = _keys(exp, spec.train_on or task, spec.sources)
    targets = _keys(exp, task, spec.targets or spec.sources)
    _check_form(task, spec)
    if not sources:
        raise ValueError(f"tasks.{task}.sources is empty: name at least one language")
    for what in ("train_items", "validation_items", "test_items"):
        if getattr(spec, what) < 0:
            raise ValueError(f"tasks.{task}.{what} must be 0 (all) or more")
    trained = spec.train_on or "train" in card.splits
    if not trained and not all(s in own for s in sources):
        cure = card.notes or "give your own files under `data`"
        raise ValueError(f"{task} has no training data: {cure}")
    changes = {key: getattr(recipe, key) for key in spec.recipe}
    return replace(spec, sources=sources, targets=targets, recipe=changes)


def _keys(exp: CheckpointExperiment, task: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Languages as our keys; one that neither the data set nor the user has is refused."""
    card, own = datasets.card_of(task), exp.own(task) or {}
    for code in asked:
        if language(code).key not in own:
            datasets.origin(card, code, next(iter(card.splits.values())).raw)
    return tuple(dict.fromkeys(language(code).key for code in asked))


def _check_form(task: str, spec: TaskSpec) -> None:
    """Refuse settings that do not fit the form of a task."""
    if spec.train_on:
        view, other = VIEWS[task], datasets.view_of(spec.train_on)
        if (view.kind, view.fields, view.labels) != (other.kind, other.fields, other.labels):
            alike = [t for t, v in VIEWS.items() if v.kind == view.kind and v.labels == view.labels]
            cure = "the form and the labels must be the same"
            raise unknown(f"tasks.{task}.train_on", spec.train_on, alike, cure)
        if "train" not in datasets.card_of(spec.train_on).splits:
            raise ValueError(f"tasks.{task}.train_on: {spec.train_on} has no training data either")
    splits = datasets.card_of(task).splits
    if spec.test_split == "all" and (
        "all" not in splits or splits["all"].raw != splits["test"].raw
    ):
        raise ValueError(f"tasks.{task}.test_split: all is for xquad, whose one split is cut here")
    if spec.test_split == "all" and not spec.train_on:
        raise ValueError(
            f"tasks.{task}.test_split: all has the training articles in it; set train_on: squad"
        )
    if spec.answers == "choose" and VIEWS[task].kind != "choice":
        raise ValueError(f"tasks.{task}.answers: choose needs a task with one label a text")


# ---------------------------------------------------------------- keys


@cache
def _own_code() -> str:
    return code_digest(SOURCES)


def run_key(exp: CheckpointExperiment, task: str, source: str, seed: int) -> str:
    """A hash of all that determines the scores of one fine-tuned model."""
    spec = exp.tasks[task]
    settings = {k: v for k, v in asdict(spec).items() if k not in ("sources", "recipe")}
    if spec.train_items:  # parallel data: the same ids in every source
        settings["sources"] = spec.sources
    recipe = {k: v for k, v in asdict(exp.recipe_of(task)).items() if k not in MEMORY}
    data = [_data_key(exp, name) for name in (task, spec.train_on) if name]
    model = _model_key(exp.checkpoint)
    content = [_own_code(), versions(PACKAGES), model, task, source, seed, settings, recipe, data]
    return digest(content)


def _data_key(exp: CheckpointExperiment, task: str) -> Any:
    """Where a task's data are: the pinned revision, and the bytes of the user's own files."""
    card = datasets.card_of(task)
    place = {k: v for k, v in asdict(card.source).items() if k not in ("codes", "checksums")}
    own = {
        f"{code}/{split}": [asdict(file.layout), _sum(file.path)]
        for code, files in (exp.own(task) or {}).items()
        for split, file in files.items()
    }
    return [place, {s: asdict(p) for s, p in card.splits.items()}, own]


def _sum(path: Path) -> str:
    return sha256(path) if path.is_file() else "missing"


def _model_key(checkpoint: Checkpoint) -> Any:
    """Name and revisions; of a local folder its files, large ones by size and time."""
    folder = Path(checkpoint.name)
    if not folder.is_dir():
        return [checkpoint.name, checkpoint.revision, checkpoint.weights]
    files = sorted(p for p in folder.iterdir() if p.is_file())
    big = 10_000_000
    return [
        (p.name, _sum(p) if p.stat().st_size < big else (p.stat().st_size, p.stat().st_mtime_ns))
        for p in files
    ]


# ---------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class Download:
    """What a data set or checkpoint makes one fetch; `size` in bytes, None where nobody said."""

    what: str
    size: int | None
    licence: str
    url: str


@dataclass(frozen=True)
class TaskPlan:
    """Cost of one task: models to tune, cells to score, estimated GPU hours."""

    task: str
    runs: int
    cells: int
    hours: float


@dataclass(frozen=True)
class Plan:
    """What an experiment will do."""

    title: str
    tasks: tuple[TaskPlan, ...]
    downloads: tuple[Download, ...]
    disk: int
    teraflops: float

    def __str__(self) -> str:
        lines = [self.title, "", f"{'task':16}{'runs':>6}{'cells':>8}{'GPU hours':>11}"]
        lines += [f"{t.task:16}{t.runs:6}{t.cells:8}{t.hours:11.1f}" for t in self.tasks]
        runs, cells, hours = (
            sum(getattr(t, what) for t in self.tasks) for what in ("runs", "cells", "hours")
        )
        lines += [f"{'together':16}{runs:6}{cells:8}{hours:11.1f}", ""]
        lines += [
            f"GPU hours are arithmetic at {self.teraflops:g} teraflops a second, times 1.5; "
            "your first run tells better.",
            f"Disk: {_size(self.disk)} for outputs, records and the weights of a run at work.",
            "Downloads:",
        ]
        lines += [f"  {d.what}: {_size(d.size)}, {d.licence}, {d.url}" for d in self.downloads]
        return "\n".join([*lines, "Nothing was fetched."])


def _size(size: int | None) -> str:
    """
    >>> _size(2_500_000), _size(None)
    ('2.5 MB', 'size not known before')
    """
    if size is None:
        return "size not known before"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def plan(exp: CheckpointExperiment) -> Plan:
    """Runs, cells, hours, disk and downloads; from the file and the cards alone."""
    tasks = tuple(_task_plan(exp, task) for task in exp.tasks)
    cells = sum(t.cells for t in tasks)
    checkpoint = exp.checkpoint
    parameters = checkpoint.body + 2 * checkpoint.head
    local = Path(checkpoint.name).is_dir()
    model = Download(
        checkpoint.name,
        0 if local else 4 * parameters or None,
        checkpoint.licence,
        "a folder here" if local else f"https://huggingface.co/{checkpoint.name}",
    )
    found = {d.what: d for task in exp.tasks for d in downloads(exp, task)}
    # An output is about 50 bytes packed, a record about 20 kB; a run at work keeps its weights.
    disk = cells * 50 * 2000 + len(exp.runs()) * 20_000 + 4 * parameters
    return Plan(exp.title, tasks, (model, *found.values()), disk, exp.teraflops)


def _task_plan(exp: CheckpointExperiment, task: str) -> TaskPlan:
    spec, recipe = exp.tasks[task], exp.recipe_of(task)
    runs = len(spec.sources) * len(exp.seeds)
    cells = runs * len(spec.targets)
    # Six operations a parameter and token to learn, two to answer; answers are short, so the
    # output vocabulary is met by about a tenth of the tokens.
    a_token = exp.checkpoint.body + 0.1 * exp.checkpoint.head
    learned = 6 * a_token * recipe.steps * recipe.tokens * runs
    scored = runs * recipe.evaluations * (spec.validation_items or 2000)
    answered = 2 * a_token * 200 * (cells * (spec.test_items or 3000) + scored)
    return TaskPlan(task, runs, cells, 1.5 * (learned + answered) / (exp.teraflops * 1e12) / 3600)


def homes(tasks: Sequence[str]) -> pd.DataFrame:
    """Where the data of tasks live: ``tasks, data set, languages, licence, paper, home, notes``."""
    import pandas as pd

    named: dict[str, list[str]] = {}
    for task in tasks:
        named.setdefault(datasets.card_of(task).name, []).append(task)
    rows = []
    for used in named.values():
        card = datasets.card_of(used[0])
        source, n = card.source, len(datasets.languages_of(used[0]))
        home = f"{source.id}, {source.revision[:8]}" if isinstance(source, Hub) else source.url
        rows.append((", ".join(used), card.title, n, card.licence, card.paper, home, card.notes))
    heads = ["tasks", "data set", "languages", "licence", "paper", "home", "notes"]
    return pd.DataFrame(rows, columns=heads)


def downloads(exp: CheckpointExperiment, task: str) -> list[Download]:
    """What a task's data set makes one fetch: nothing under ``XLT_DATA``, nothing of one's own."""
    spec = exp.tasks[task]
    if spec.train_on:
        return [*_downloads(exp, task, spec.targets), *_downloads(exp, spec.train_on, spec.sources)]
    return _downloads(exp, task, (*spec.sources, *spec.targets))


def _downloads(exp: CheckpointExperiment, task: str, asked: tuple[str, ...]) -> list[Download]:
    card, own = datasets.card_of(task), exp.own(task) or {}
    codes = [c for c in dict.fromkeys(asked) if c not in own]
    splits = [p for p in card.splits.values() if p.raw]
    places = [(c, p.raw, datasets.origin(card, c, p.raw)) for c in codes for p in splits]
    far = [(c, raw, where) for c, raw, where in places if "://" in where.source]
    if not far:
        return []
    return [Download(card.title, _bytes(card, far), card.licence, card.source.url)]


def _bytes(card: Card, far: list[tuple[str, str, datasets.Origin]]) -> int | None:
    """Bytes to fetch, where every file's size is known."""
    place = card.source
    if not isinstance(place, Files) or place.archive:
        return None
    known, paths = place.checksums, {place.path(where.code, raw) for _, raw, where in far}
    return sum(known[p][1] for p in paths) if paths <= known.keys() else None
