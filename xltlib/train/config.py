"""An experiment file -> the list of runs -> do what is missing -> scores.

A *run* is the smallest thing that is finished or not: one model fine-tuned on one source, task and
seed, scored on every target. It is kept under a name that is a hash of everything that determines
it, so nothing is done twice and nothing stale is read. A *part* is a batch of runs that share a
process (importing torch costs more than a small run); the pipeline schedules parts, one a core.

This module starts without torch: it plans. `xltlib.train.run` does.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import yaml

from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.models.shape import ModelShape
from xltlib.train.recipes import TINY as TINY_RECIPE
from xltlib.train.recipes import Freeze, Optimizer, PretrainRecipe, Recipe, Schedule

if TYPE_CHECKING:
    from xltlib.train.checkpoint import CheckpointExperiment


AnyExperiment: TypeAlias = "Experiment | CheckpointExperiment"

TINY = "tiny"  # the arm of the one model of an experiment that names none
SCRATCH = "tiny-scratch"
ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = Path("experiments")
# What a measured score depends on; a change here (comments and docstrings apart) makes new runs.
SOURCES = (
    "languages/codes.py",
    "data/cldr.py",
    "tasks/base.py",
    "tasks/embedded.py",
    "train/recipes.py",
    "train/steps.py",
    "models/batches.py",
    "models/compute.py",
    "models/shape.py",
    "models/tiny.py",
    "train/pretrain.py",
    "train/finetune.py",
    "train/generate.py",
    "train/baselines.py",
    "train/run.py",
)
# What an experiment on running text depends on besides.
OPEN_SOURCES = (
    "data/text.py", "data/datasets.py", "data/fetch.py", "data/files.py", "data/cards.py",
    "data/massive.py", "tasks/plain.py", "tasks/public.py", "tasks/forms.py", "tasks/metrics.py",
)  # fmt: skip
PACKAGES = ("babel", "torch", "transformers", "tokenizers", "sentencepiece", "scikit-learn")


@dataclass(frozen=True)
class TextSpec:
    """Unannotated text: lines of each language.

    ``cc100`` is web text (`xltlib.data.text`), with unlabelled training utterances of the task
    among it, `utterances` times; `dealt` out, no id in two languages of one model. Otherwise every
    language has all of them, each by itself: comparable text, though nothing is aligned.
    """

    lines: int = 10000
    corpus: Literal["cldr", "cc100"] = "cldr"
    utterances: int = 0
    dealt: bool = True


@dataclass(frozen=True)
class KnownSpec:
    """What one pre-trained model knows: its languages, in order.

    `pairs`: translations of utterances stand side by side in a line, a signal mT5 never had.
    """

    languages: tuple[str, ...]
    pairs: bool = False


@dataclass(frozen=True)
class PretrainSpec(PretrainRecipe):
    """Pre-training and its seeds: one model each."""

    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class FinetuneSpec(Recipe):
    """Fine-tuning on the source, of either arm, and how many examples to draw.

    Every seed has test items of its own; a cell has `test_items` times the number of seeds.
    `seeds`: only the first ones of the experiment's, for a task that takes long; 0: all.
    """

    steps: int = TINY_RECIPE.steps
    evaluations: int = TINY_RECIPE.evaluations
    batch: int = TINY_RECIPE.batch
    optimizer: Optimizer = TINY_RECIPE.optimizer
    lr: float = TINY_RECIPE.lr
    schedule: Schedule = TINY_RECIPE.schedule
    freeze: Freeze = TINY_RECIPE.freeze
    dropout: float = TINY_RECIPE.dropout
    max_input: int = TINY_RECIPE.max_input
    scratch_steps: int = 200
    scratch_lr: float = 2e-3
    train_items: int = 1500
    validation_items: int = 200
    test_items: int = 240
    seeds: int = 0

    def of(self, arm: str) -> Recipe:
        """The recipe of an arm: without pre-training one tuned for it, with nothing to keep."""
        if not arm.startswith(SCRATCH):
            return self
        return dataclasses.replace(
            self, steps=self.scratch_steps, lr=self.scratch_lr, freeze="nothing", encoder_lr=1.0
        )


@dataclass(frozen=True)
class FewshotSpec:
    """Few-shot curves: go on from the fine-tuned model with `n` target examples."""

    task: str = "entity_type"
    pairs: tuple[tuple[str, str], ...] = ()
    n: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256)
    steps: int = 40
    batch: int = 32
    lr: float = 1e-3


@dataclass(frozen=True)
class ControlSpec:
    """Sources on which the control arms are run, with the first `seeds` seeds (shuffled: one).

    `fewshot`: the model from scratch goes on with few examples too, with a source and without.
    """

    scratch: tuple[str, ...] = ()
    shuffled: tuple[str, ...] = ()
    ngram: tuple[str, ...] = ()
    seeds: int = 2
    fewshot: bool = False


@dataclass(frozen=True)
class Experiment:
    """Everything that determines the scores, and what the notebooks are asked to show."""

    name: str
    title: str
    languages: tuple[str, ...]
    sources: tuple[str, ...] = ()  # all languages, unless some are named
    known: Mapping[str, KnownSpec] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("entity_type", "ner", "qa")
    seeds: tuple[int, ...] = (0, 1, 2)
    text: TextSpec = field(default_factory=TextSpec)
    model: ModelShape = field(default_factory=ModelShape)
    pretrain: PretrainSpec = field(default_factory=PretrainSpec)
    finetune: Mapping[str, FinetuneSpec] = field(default_factory=dict)
    fewshot: FewshotSpec = field(default_factory=FewshotSpec)
    controls: ControlSpec = field(default_factory=ControlSpec)
    notebooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where everything made of this experiment goes."""
        return folder_of(self.name)

    @property
    def at_once(self) -> int:
        """How many parts run at one time, unless somebody says otherwise: one a core."""
        return os.cpu_count() or 1

    def recipe(self, task: str) -> FinetuneSpec:
        """Fine-tuning of a task (its own, or the default)."""
        return self.finetune.get(task, FinetuneSpec())

    def runs(self) -> list[Run]:
        """Every run, in the order in which they are listed."""
        return list(_runs(self))

    def parts(self) -> list[Part]:
        """Every part, each after what it needs."""
        return _parts(self)


@dataclass(frozen=True)
class Run:
    """One model fine-tuned and scored on every target; its few-shot continuations go with it."""

    arm: str
    task: str
    source: str
    seed: int
    known: str | None
    pretrain_seed: int | None
    fewshot_targets: tuple[str, ...]
    key: str

    @property
    def label(self) -> str:
        return f"{self.arm} {self.task} {self.source} seed {self.seed}"


@dataclass(frozen=True)
class Part:
    """A batch of runs for one process: its name, what must be there first, its source files."""

    name: str
    needs: tuple[str, ...]
    inputs: tuple[str, ...]
    params: Mapping[str, Any]


# ---------------------------------------------------------------- reading


def available(folder: Path | None = None) -> list[str]:
    """Names of the experiments in a folder (default: ./experiments)."""
    return sorted(p.stem for p in (folder or EXPERIMENTS).glob("*.yml"))


def folder_of(name: str) -> Path:
    """Where everything made of the experiment of this name goes."""
    return Path(os.environ.get("XLT_BUILD", "build")) / name


def load(name: str, overrides: Sequence[str] = ()) -> AnyExperiment:
    """Read an experiment by name (`quick`) or file (`mine.yml`), with `KEY=VALUE` overrides.

    A file with `checkpoint:` gives a `CheckpointExperiment`, any other an `Experiment`; both have
    a name, title, folder, languages, tasks, notebooks, runs and parts.

    Raises
    ------
    ValueError
        Unknown experiment, malformed file, unknown key or language, value of the wrong type; the
        message names the key, what is allowed and the cure.
    """
    path, content = read_file(name, overrides)
    if "checkpoint" in content:
        from xltlib.train import checkpoint

        return checkpoint.from_content(content, path)
    return check(build(Experiment, content, where=str(path)))


def load_embedded(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """`load` for what needs an experiment on the embedded text: another kind is an error."""
    found = load(name, overrides)
    if isinstance(found, Experiment) and found.text.corpus == "cldr":
        return found
    what = "reads running text" if isinstance(found, Experiment) else "fine-tunes a checkpoint"
    raise ValueError(
        f"experiment {name!r} {what}; this is about the text, vocabulary and pre-training of an "
        "experiment on the embedded text, such as embedded or quick. The chapters on the matrix, "
        "the explanation and the choice of a source show any"
    )


def read_file(name: str, overrides: Sequence[str] = ()) -> tuple[Path, dict[str, Any]]:
    """Path and content of an experiment file, `KEY=VALUE` overrides put in."""
    path = Path(name) if name.endswith((".yml", ".yaml")) else EXPERIMENTS / f"{name}.yml"
    if not path.is_file():
        cure = f"use one of these, or give the path of a .yml file (looked for {path})"
        raise unknown("experiment", name, available(), cure)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable YAML: {error}. Mend the line it names.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not `key: value` lines")
    for override in overrides:
        _override(content, override)
    content.setdefault("name", path.stem)
    return path, content


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise ValueError(f"--set {override!r} is not KEY=VALUE, such as --set pretrain.steps=500")
    *groups, last = key.strip().split(".")
    for group in groups:
        content = content.setdefault(group, {})
        if not isinstance(content, dict):
            raise ValueError(f"--set {key}: {group!r} is a value, it has no {last!r} inside")
    content[last] = yaml.safe_load(value)


def build(kind: type, content: Any, where: str) -> Any:
    """A dataclass from plain YAML, every key and type checked."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected `key: value` lines, got {content!r}")
    hints = get_type_hints(kind)
    for key in content:
        if key not in hints:
            raise unknown(f"key in {where}", key, list(hints), "mend or remove it")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in content
    ]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing; add it")
    return kind(**{k: _convert(hints[k], v, f"{where}: {k}") for k, v in content.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the hinted type, or an error that says which type is wanted."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in inner:
            raise unknown(where, value, inner, "use one of these")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be a list, got {value!r}")
        hints = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(hints) != len(value):
            raise ValueError(f"{where} must have {len(hints)} entries, got {value!r}")
        return tuple(_convert(h, v, where) for h, v in zip(hints, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} must be `key: value` lines, got {value!r}")
        return {str(k): _convert(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 3e-3 as text
        try:
            return float(value)
        except ValueError:
            pass
    allowed = (int, float) if hint is float else (hint,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} must be {hint.__name__}, got {value!r}")
    return hint(value)


def check(experiment: Experiment) -> Experiment:
    """The experiment with codes in ISO 639-3, or an error for what cannot be run."""
    from xltlib.tasks import TASKS

    task = task_named(experiment)
    check_name(experiment.name)
    for name in (*experiment.tasks, *experiment.finetune, experiment.fewshot.task):
        task(name)
    codes = tuple(_code(c, experiment) for c in experiment.languages)
    if len(codes) < 2 or len(set(codes)) != len(codes):
        raise ValueError(f"languages must be two or more different ones, got {codes}")

    def known(code: str, where: str) -> str:
        found = _code(code, experiment)
        if found not in codes:
            raise unknown(f"language in {where}", code, codes, "add it to `languages`")
        return found

    def control(name: str) -> tuple[str, ...]:
        return tuple(known(code, f"controls.{name}") for code in getattr(controls, name))

    controls = experiment.controls
    fewshot = experiment.fewshot
    for item in dataclasses.fields(PretrainSpec):
        value = getattr(experiment.pretrain, item.name)
        if isinstance(value, int | float) and value <= 0 and (value < 0 or item.default != 0):
            raise ValueError(f"pretrain.{item.name} must be above 0, got {value}")
    own = () if experiment.text.corpus == "cldr" else experiment.tasks
    for name, spec in experiment.known.items():
        if not name.replace("-", "").isalnum() or name.startswith(SCRATCH):
            raise ValueError(f"known: {name!r} must be letters, digits and -, and not {SCRATCH}…")
        if len(set(spec.languages)) != len(spec.languages) or not spec.languages:
            raise ValueError(f"known.{name}.languages must be different ones, got {spec.languages}")
    return dataclasses.replace(
        experiment,
        languages=codes,
        sources=tuple(known(c, "sources") for c in experiment.sources or codes),
        known={
            name: dataclasses.replace(
                spec, languages=tuple(known(c, f"known.{name}") for c in spec.languages)
            )
            for name, spec in experiment.known.items()
        },
        finetune={t: experiment.finetune.get(t, FinetuneSpec()) for t in (*TASKS, *own)},
        fewshot=dataclasses.replace(
            fewshot,
            pairs=tuple((known(s, "fewshot"), known(t, "fewshot")) for s, t in fewshot.pairs),
        ),
        controls=ControlSpec(
            control("scratch"),
            control("shuffled"),
            control("ngram"),
            controls.seeds,
            controls.fewshot,
        ),
    )


def check_name(name: str) -> None:
    """Refuse a name that could not be a folder's."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"name {name!r} must be letters, digits, - and _ (a folder)")


def task_named(exp: Experiment) -> Callable[[str], Any]:
    """What finds a task by name, in the form that fits the experiment's text."""
    if exp.text.corpus == "cldr":
        from xltlib.tasks import embedded_task

        return embedded_task
    from xltlib.tasks.plain import plain_task

    return plain_task


def _code(asked: str, exp: Experiment) -> str:
    """ISO 639-3; of running text also a clone, ``eng_Zzzz``."""
    found = language(asked)
    return found.key if exp.text.corpus != "cldr" and found.script == "Zzzz" else found.code


# ---------------------------------------------------------------- keys


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that stand for plain data."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sources_of(exp: Experiment) -> tuple[str, ...]:
    """Files of code that an experiment's scores depend on."""
    return SOURCES if exp.text.corpus == "cldr" else SOURCES + OPEN_SOURCES


def settings(spec: Any) -> dict[str, Any]:
    """A spec's fields; those that came later only where they are used, so that old keys stay."""
    later = {"corpus": "cldr", "utterances": 0, "dealt": True, "tokens": 0, "weight_decay": 0.0,
             "precision": "auto"}  # fmt: skip
    found = {k: v for k, v in dataclasses.asdict(spec).items() if later.get(k, ...) != v}
    if "tokens" not in found:
        found.pop("epochs", None)
    return found


def code_digest(files: Sequence[str] = SOURCES) -> str:
    """Stands for what the code does: comments, docstrings and layout do not count."""
    trees = []
    for name in files:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                body[:] = body[1:]
        trees.append(ast.dump(tree))
    return digest(trees)


@cache
def _own_code(files: Sequence[str]) -> str:
    """The digest when this process first asked: what it runs, whatever is edited meanwhile."""
    return code_digest(files)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


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


def base_key(exp: Experiment) -> dict[str, Any]:
    """What every model of an experiment depends on."""
    key = {
        "code": _own_code(sources_of(exp)),
        "versions": versions(),
        "languages": exp.languages,
        "text": settings(exp.text),
        "model": dataclasses.asdict(exp.model),
    }
    return key if exp.text.corpus == "cldr" else {**key, "tasks": exp.tasks}  # their label words


def tokenizer_key(exp: Experiment) -> str:
    """Name of the vocabulary's folder."""
    return digest(base_key(exp))


def pretrain_key(exp: Experiment, seed: int, known: str | None = None) -> str:
    """Name of a pre-trained model's folder."""
    recipe = {k: v for k, v in settings(exp.pretrain).items() if k != "seeds"}
    knows = [dataclasses.asdict(exp.known[known])] if known else []
    return digest([base_key(exp), recipe, seed, *knows])


def known_of(exp: Experiment) -> list[str | None]:
    """Names of the models that know different languages; None is the one of all languages."""
    return list(exp.known) or [None]


def pretrain_part(seed: int, known: str | None = None) -> str:
    """Name of the part that pre-trains a model."""
    return f"pretrain-{known}-{seed}" if known else f"pretrain-{seed}"


def _runs(exp: Experiment) -> Iterator[Run]:
    base = base_key(exp)
    models = known_of(exp)
    pretrained = {(k, s): pretrain_key(exp, s, k) for k in models for s in exp.pretrain.seeds}
    first_known = models[0]

    def run(
        arm: str,
        task: str,
        source: str,
        seed: int,
        targets: tuple[str, ...] = (),
        known: str | None = None,
    ) -> Run:
        start = exp.pretrain.seeds[seed % len(exp.pretrain.seeds)]
        needs_model = not arm.startswith((SCRATCH, "char-ngram"))
        content = [
            base,
            pretrained[known, start] if needs_model else None,
            [arm, task, source, seed, targets],
            {k: v for k, v in dataclasses.asdict(exp.recipe(task)).items() if k != "seeds"},
            dataclasses.asdict(exp.fewshot) if targets else None,
        ]
        first = start if needs_model else None
        return Run(arm, task, source, seed, known, first, targets, digest(content))

    def shots(task: str, source: str) -> tuple[str, ...]:
        wanted = exp.fewshot.task == task
        return tuple(t for s, t in exp.fewshot.pairs if s == source) if wanted else ()

    def seeds_of(task: str) -> tuple[int, ...]:
        return exp.seeds[: exp.recipe(task).seeds or None]

    few = list(dict.fromkeys(t for _, t in exp.fewshot.pairs))
    for known in models:
        for source in exp.sources:
            for task in exp.tasks:
                for seed in seeds_of(task):
                    yield run(known or TINY, task, source, seed, shots(task, source), known)
    alone = [(f"{known or TINY}-alone", known) for known in models]
    if exp.controls.fewshot:
        alone.append((f"{SCRATCH}-alone", None))
    for arm, known in alone:
        for target in few:
            for seed in exp.seeds:
                yield run(arm, exp.fewshot.task, target, seed, (target,), known)
    for arm, sources in (
        (SCRATCH, exp.controls.scratch),
        (f"{first_known or TINY}-shuffled", exp.controls.shuffled),
        ("char-ngram", exp.controls.ngram),
    ):
        for source in sources:
            for task in exp.tasks:
                # For the shuffled arm more sources tell more than more seeds: its mean is chance.
                shuffled = arm.endswith("-shuffled")
                targets = shots(task, source) if arm == SCRATCH and exp.controls.fewshot else ()
                for seed in seeds_of(task)[: 1 if shuffled else exp.controls.seeds]:
                    yield run(arm, task, source, seed, targets, first_known if shuffled else None)


TOGETHER = 2  # sources a process: starting one takes as long as a run
PREFIX = {
    SCRATCH: "scratch",
    f"{SCRATCH}-alone": "scratch-alone",
    f"{TINY}-shuffled": "shuffled",
    f"{TINY}-alone": "alone",
    "char-ngram": "ngram",
}


def part_of(exp: Experiment, run: Run) -> str:
    """Name of the part that a run belongs to: one for two sources, and one for each control.

    Where several models know different languages: one a model, with what needs no source.
    """
    if run.known:
        return f"runs-{run.known}"
    if run.arm != TINY:
        return PREFIX[run.arm]
    first = exp.languages.index(run.source) // TOGETHER * TOGETHER
    return "-".join(["source", *exp.languages[first : first + TOGETHER]])


def _parts(exp: Experiment) -> list[Part]:
    inputs = tuple(f"xltlib/{name}" for name in sources_of(exp))
    base = digest(base_key(exp))
    parts = [Part("vocabulary", (), inputs, {"key": base})]
    for known in known_of(exp):
        for seed in exp.pretrain.seeds:
            settings = {"key": pretrain_key(exp, seed, known)}
            parts.append(Part(pretrain_part(seed, known), ("vocabulary",), inputs, settings))
    grouped: dict[str, list[Run]] = {}
    for run in exp.runs():
        grouped.setdefault(part_of(exp, run), []).append(run)
    for name, runs in grouped.items():
        starts = {(r.pretrain_seed, r.known) for r in runs if r.pretrain_seed is not None}
        needs = tuple(pretrain_part(*s) for s in sorted(starts, key=str)) or ("vocabulary",)
        parts.append(Part(name, needs, inputs, {"key": digest([r.key for r in runs])}))
    everything = tuple(p.name for p in parts)
    measures = ("xltlib/scores.py", "xltlib/languages/similarity.py", "xltlib/languages/uriel.py")
    parts.append(
        Part("collect", everything, inputs + measures, {"key": digest([r.key for r in exp.runs()])})
    )
    return parts


def part(exp: AnyExperiment, name: str) -> Part:
    """The part of this name; an error with the nearest names otherwise."""
    found = {p.name: p for p in exp.parts()}
    if name not in found:
        raise unknown(f"part of {exp.name}", name, found, "see `xlt run NAME --list`")
    return found[name]
