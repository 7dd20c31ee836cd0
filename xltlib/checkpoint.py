"""An experiment with a public checkpoint: its file, its runs, what they cost. Nothing is fetched.

The file has `checkpoint:` where an experiment of ours has `model:`. `plan` says before anything is
done how many runs and cells there are, about how many GPU hours they take, and what is downloaded
under which licence. This module starts without torch; `xltlib.seq2seq` does the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from xltlib.data import hub
from xltlib.data.cards import Card, Files, known_files
from xltlib.errors import unknown
from xltlib.experiment import _build
from xltlib.languages import language

Optimizer = Literal["adafactor", "adamw"]
Precision = Literal["auto", "bfloat16", "float32"]

HALF = ("float16", "fp16", "half")
FP16 = (
    "float16 is refused: mT5 was trained in bfloat16 and its activations overflow float16, so the "
    "loss becomes NaN (transformers issue 5651). Use bfloat16 on a GPU, float32 elsewhere"
)


@dataclass(frozen=True)
class Seq2SeqRecipe:
    """How to fine-tune a checkpoint.

    Attributes
    ----------
    steps, evaluations
        Optimizer steps, and how many times in them the validation set is scored.
    tokens
        Input and target tokens of a batch, padding included.
    micro_tokens
        Tokens that are in memory at one time; halved when memory runs out.
    optimizer, lr
        Adafactor at 1e-3, or AdamW (1e-4 is about the same, t5 issue 230).
    dropout
        Of all layers, if the checkpoint has a rate of its own.
    max_input
        Longer inputs are cut; the number of cut ones is said.
    precision
        Of the arithmetic; ``auto`` is bfloat16 on a GPU and float32 on a CPU.
    checkpointing
        Compute activations twice rather than keep them.
    lora
        Rank of low-rank updates (Hu et al. 2022) to learn instead of all weights; 0: all weights.
    """

    steps: int = 8000
    evaluations: int = 20
    tokens: int = 2**16
    micro_tokens: int = 2**14
    optimizer: Optimizer = "adafactor"
    lr: float = 1e-3
    dropout: float = 0.1
    max_input: int = 1024
    precision: Precision = "auto"
    checkpointing: bool = False
    lora: int = 0

    def __post_init__(self) -> None:
        if self.precision in HALF:
            raise ValueError(FP16)
        for what, allowed in (("optimizer", Optimizer), ("precision", Precision)):
            if getattr(self, what) not in get_args(allowed):
                raise unknown(what, getattr(self, what), get_args(allowed), "use one of these")
        for what in ("steps", "tokens", "micro_tokens", "lr", "max_input"):
            if getattr(self, what) <= 0:
                raise ValueError(f"{what} must be above 0, got {getattr(self, what)}")


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


@dataclass(frozen=True)
class TaskSpec:
    """One task of the experiment: languages, sizes (0: all there are), changes to the recipe."""

    sources: tuple[str, ...]
    targets: tuple[str, ...] = ()
    train_items: int = 0
    validation_items: int = 1000
    test_items: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenExperiment:
    """Everything that determines the scores of a public checkpoint on public tasks."""

    name: str
    title: str
    checkpoint: Checkpoint
    tasks: Mapping[str, TaskSpec]
    seeds: tuple[int, ...] = (0,)
    recipe: Seq2SeqRecipe = field(default_factory=Seq2SeqRecipe)
    data: Mapping[str, Any] = field(default_factory=dict)
    teraflops: float = 100.0  # a second, sustained: about a third of an A100's or H100's bfloat16

    def recipe_of(self, task: str) -> Seq2SeqRecipe:
        """The recipe with the task's own settings."""
        return replace(self.recipe, **self.tasks[task].recipe)

    def runs(self) -> list[tuple[str, str, int]]:
        """(task, source, seed) of every fine-tuned model."""
        return [(t, s, seed) for t in self.tasks for s in self.tasks[t].sources
                for seed in self.seeds]  # fmt: skip

    def own(self, task: str, folder: Path = Path()) -> hub.Own | None:
        """The user's own files for a task, if the experiment names some."""
        return hub.own_files(task, self.data[task], folder) if task in self.data else None


def is_open(path: Path) -> bool:
    """Whether an experiment file names a public checkpoint."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and "checkpoint" in content


def load(path: Path) -> OpenExperiment:
    """Read and check an experiment file.

    Raises
    ------
    ValueError
        Unknown key, task, language or setting, with what is allowed and the cure.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.setdefault("name", path.stem)
    if str((content.get("recipe") or {}).get("precision")) in HALF:
        raise ValueError(FP16)
    found: OpenExperiment = _build(OpenExperiment, content, str(path))
    if not found.tasks:
        raise ValueError(f"{path}: tasks is empty; name one of {', '.join(hub.VIEWS)}")
    tasks = {name: _checked(found, name, spec) for name, spec in found.tasks.items()}
    return replace(found, tasks=tasks)


def _checked(exp: OpenExperiment, task: str, spec: TaskSpec) -> TaskSpec:
    """Language keys in, languages that neither the data set nor the user has refused."""
    card, own = hub.card_of(task), exp.own(task) or {}
    recipe = _build(Seq2SeqRecipe, asdict(exp.recipe) | dict(spec.recipe), f"tasks.{task}.recipe")

    def keys(asked: tuple[str, ...]) -> tuple[str, ...]:
        for code in asked:
            if language(code).key not in own:
                hub.origin(card, code, next(iter(card.splits.values())).raw)
        return tuple(dict.fromkeys(language(code).key for code in asked))

    sources = keys(spec.sources)
    if not sources:
        raise ValueError(f"tasks.{task}.sources is empty: name at least one language")
    if "train" not in card.splits and not all(s in own for s in sources):
        raise ValueError(
            f"{task} has no training data: {card.notes or 'give your own files under `data`'}"
        )
    return replace(
        spec,
        sources=sources,
        targets=keys(spec.targets) or sources,
        recipe={key: getattr(recipe, key) for key in spec.recipe},
    )


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
            f"Disk: {_size(self.disk)} for outputs and records, and the downloads:",
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


def plan(exp: OpenExperiment) -> Plan:
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
    # An output is about 50 bytes packed; a record about 20 kB.
    disk = cells * 50 * 2000 + len(exp.runs()) * 20_000
    return Plan(exp.title, tasks, (model, *found.values()), disk, exp.teraflops)


def _task_plan(exp: OpenExperiment, task: str) -> TaskPlan:
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


def downloads(exp: OpenExperiment, task: str) -> list[Download]:
    """What a task's data set makes one fetch: nothing under ``XLT_DATA``, nothing of one's own."""
    card, own = hub.card_of(task), exp.own(task) or {}
    spec = exp.tasks[task]
    codes = [c for c in dict.fromkeys((*spec.sources, *spec.targets)) if c not in own]
    splits = [p for p in card.splits.values() if p.raw]
    places = [(c, p.raw, hub.origin(card, c, p.raw)) for c in codes for p in splits]
    far = [(c, raw, where) for c, raw, where in places if "://" in where.source]
    if not far:
        return []
    return [Download(card.title, _bytes(card, far), card.licence, card.source.url)]


def _bytes(card: Card, far: list[tuple[str, str, hub.Origin]]) -> int | None:
    """Bytes to fetch, where every file's size is known."""
    place = card.source
    if not isinstance(place, Files) or place.archive:
        return None
    known = known_files()
    paths = {
        f"{place.home}/{place.paths[raw].format(code=place.codes[where.code])}"
        for _, raw, where in far
    }
    return sum(known[p][1] for p in paths) if paths <= known.keys() else None
