"""An experiment file -> the list of runs -> do what is missing -> scores.

A *run* is the smallest thing that is finished or not: one model fine-tuned on one source, task and
seed, scored on every target. It is kept under a name that is a hash of everything that determines
it, so nothing is done twice and nothing stale is read. A *part* is a batch of runs that share a
process (importing torch costs more than a small run); the pipeline schedules parts, one a core.

This module starts without torch: it plans. `xltlib.runs` does.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from xltlib.errors import unknown
from xltlib.languages import language
from xltlib.recipes import FinetuneRecipe, ModelShape, PretrainRecipe

Arm = Literal["tiny", "tiny-scratch", "tiny-shuffled", "tiny-alone", "char-ngram"]
ROOT = Path(__file__).resolve().parent
EXPERIMENTS = Path("experiments")
# What a measured score depends on; a change here (comments and docstrings apart) makes new runs.
SOURCES = (
    "languages.py",
    "data/cldr.py",
    "tasks/base.py",
    "tasks/embedded.py",
    "recipes.py",
    "models.py",
    "pretrain.py",
    "finetune.py",
    "predict.py",
    "floor.py",
    "runs.py",
)
PACKAGES = ("babel", "torch", "transformers", "tokenizers", "sentencepiece", "scikit-learn")


@dataclass(frozen=True)
class TextSpec:
    """Unannotated text: lines of each language."""

    lines: int = 10000


@dataclass(frozen=True)
class PretrainSpec(PretrainRecipe):
    """Pre-training and its seeds: one model each."""

    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class FinetuneSpec(FinetuneRecipe):
    """Fine-tuning on the source, of either arm, and how many examples to draw.

    Every seed has test items of its own; a cell has `test_items` times the number of seeds.
    """

    scratch_steps: int = 200
    scratch_lr: float = 2e-3
    train_items: int = 1500
    validation_items: int = 200
    test_items: int = 240

    def of(self, arm: str) -> FinetuneRecipe:
        """The recipe of an arm: without pre-training one tuned for it, with nothing to keep."""
        if arm != "tiny-scratch":
            return self
        return dataclasses.replace(
            self, steps=self.scratch_steps, lr=self.scratch_lr, freeze="nothing"
        )


@dataclass(frozen=True)
class FewshotSpec:
    """Few-shot curves: go on from the fine-tuned model with `n` target examples."""

    task: str = "kind"
    pairs: tuple[tuple[str, str], ...] = ()
    n: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256)
    steps: int = 40
    batch: int = 32
    lr: float = 1e-3


@dataclass(frozen=True)
class ControlSpec:
    """Sources on which the control arms are run, with the first `seeds` seeds (shuffled: one)."""

    scratch: tuple[str, ...] = ()
    shuffled: tuple[str, ...] = ()
    ngram: tuple[str, ...] = ()
    seeds: int = 2


@dataclass(frozen=True)
class Experiment:
    """Everything that determines the scores, and what the notebooks are asked to show."""

    name: str
    title: str
    languages: tuple[str, ...]
    tasks: tuple[str, ...] = ("kind", "spans", "find")
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
        return Path(os.environ.get("XLT_BUILD", "build")) / self.name

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


def load(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment by name (`quick`) or file (`mine.yml`), with `KEY=VALUE` overrides.

    Raises
    ------
    ValueError
        Unknown experiment, malformed file, unknown key or language, value of the wrong type; the
        message names the key, what is allowed and the cure.
    """
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
    return check(_build(Experiment, content, where=str(path)))


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


def _build(kind: type, content: Any, where: str) -> Any:
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
        return _build(hint, value, where)  # type: ignore[arg-type]
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
    from xltlib.tasks import TASKS, task

    if not experiment.name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"name {experiment.name!r} must be letters, digits, - and _ (a folder)")
    for name in (*experiment.tasks, *experiment.finetune, experiment.fewshot.task):
        task(name)
    codes = tuple(language(c).code for c in experiment.languages)
    if len(codes) < 2 or len(set(codes)) != len(codes):
        raise ValueError(f"languages must be two or more different ones, got {codes}")

    def known(code: str, where: str) -> str:
        found = language(code).code
        if found not in codes:
            raise unknown(f"language in {where}", code, codes, "add it to `languages`")
        return found

    def control(name: str) -> tuple[str, ...]:
        return tuple(known(code, f"controls.{name}") for code in getattr(controls, name))

    controls = experiment.controls
    fewshot = experiment.fewshot
    for spec in dataclasses.fields(PretrainSpec):
        value = getattr(experiment.pretrain, spec.name)
        if isinstance(value, int | float) and value <= 0:
            raise ValueError(f"pretrain.{spec.name} must be above 0, got {value}")
    return dataclasses.replace(
        experiment,
        languages=codes,
        finetune={t: experiment.finetune.get(t, FinetuneSpec()) for t in TASKS},
        fewshot=dataclasses.replace(
            fewshot,
            pairs=tuple((known(s, "fewshot"), known(t, "fewshot")) for s, t in fewshot.pairs),
        ),
        controls=ControlSpec(
            control("scratch"), control("shuffled"), control("ngram"), controls.seeds
        ),
    )


# ---------------------------------------------------------------- keys


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that stand for plain data."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
def _own_code() -> str:
    """The digest when this process first asked: what it runs, whatever is edited meanwhile."""
    return code_digest()


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that scores depend on ("" where not installed)."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def base_key(exp: Experiment) -> dict[str, Any]:
    """What every model of an experiment depends on."""
    return {
        "code": _own_code(),
        "versions": versions(),
        "languages": exp.languages,
        "text": dataclasses.asdict(exp.text),
        "model": dataclasses.asdict(exp.model),
    }


def tokenizer_key(exp: Experiment) -> str:
    """Name of the vocabulary's folder."""
    return digest(base_key(exp))


def pretrain_key(exp: Experiment, seed: int) -> str:
    """Name of a pre-trained model's folder."""
    recipe = {k: v for k, v in dataclasses.asdict(exp.pretrain).items() if k != "seeds"}
    return digest([base_key(exp), recipe, seed])


def _runs(exp: Experiment) -> Iterator[Run]:
    base = base_key(exp)
    pretrained = {s: pretrain_key(exp, s) for s in exp.pretrain.seeds}

    def run(arm: str, task: str, source: str, seed: int, targets: tuple[str, ...] = ()) -> Run:
        start = exp.pretrain.seeds[seed % len(exp.pretrain.seeds)]
        needs_model = arm in ("tiny", "tiny-shuffled", "tiny-alone")
        content = [
            base,
            pretrained[start] if needs_model else None,
            [arm, task, source, seed, targets],
            dataclasses.asdict(exp.recipe(task)),
            dataclasses.asdict(exp.fewshot) if targets else None,
        ]
        first = start if needs_model else None
        return Run(arm, task, source, seed, first, targets, digest(content))

    def shots(task: str, source: str) -> tuple[str, ...]:
        wanted = exp.fewshot.task == task
        return tuple(t for s, t in exp.fewshot.pairs if s == source) if wanted else ()

    for source in exp.languages:
        for task in exp.tasks:
            for seed in exp.seeds:
                yield run("tiny", task, source, seed, shots(task, source))
    for target in dict.fromkeys(t for _, t in exp.fewshot.pairs):
        for seed in exp.seeds:
            yield run("tiny-alone", exp.fewshot.task, target, seed, (target,))
    for arm, sources in (
        ("tiny-scratch", exp.controls.scratch),
        ("tiny-shuffled", exp.controls.shuffled),
        ("char-ngram", exp.controls.ngram),
    ):
        for source in sources:
            for task in exp.tasks:
                # For the shuffled arm more sources tell more than more seeds: its mean is chance.
                for seed in exp.seeds[: 1 if arm == "tiny-shuffled" else exp.controls.seeds]:
                    yield run(arm, task, source, seed)


TOGETHER = 2  # sources a process: starting one takes as long as a run
PREFIX = {
    "tiny-scratch": "scratch",
    "tiny-shuffled": "shuffled",
    "tiny-alone": "alone",
    "char-ngram": "ngram",
}


def part_of(exp: Experiment, run: Run) -> str:
    """Name of the part that a run belongs to: one for two sources, and one for each control."""
    if run.arm != "tiny":
        return PREFIX[run.arm]
    first = exp.languages.index(run.source) // TOGETHER * TOGETHER
    return "-".join(["source", *exp.languages[first : first + TOGETHER]])


def _parts(exp: Experiment) -> list[Part]:
    inputs = tuple(f"xltlib/{name}" for name in SOURCES)
    base = digest(base_key(exp))
    parts = [Part("vocabulary", (), inputs, {"key": base})]
    for seed in exp.pretrain.seeds:
        key = pretrain_key(exp, seed)
        parts.append(Part(f"pretrain-{seed}", ("vocabulary",), inputs, {"key": key}))
    grouped: dict[str, list[Run]] = {}
    for run in exp.runs():
        grouped.setdefault(part_of(exp, run), []).append(run)
    for name, runs in grouped.items():
        starts = {r.pretrain_seed for r in runs if r.pretrain_seed is not None}
        needs = tuple(f"pretrain-{s}" for s in sorted(starts)) or ("vocabulary",)
        parts.append(Part(name, needs, inputs, {"key": digest([r.key for r in runs])}))
    everything = tuple(p.name for p in parts)
    likeness = ("xltlib/scores.py", "xltlib/similarity.py", "xltlib/uriel.py")
    parts.append(
        Part("collect", everything, inputs + likeness, {"key": digest([r.key for r in exp.runs()])})
    )
    return parts


def part(exp: Experiment, name: str) -> Part:
    """The part of this name; an error with the nearest names otherwise."""
    found = {p.name: p for p in exp.parts()}
    if name not in found:
        raise unknown(f"part of {exp.name}", name, found, "see `xlt run NAME --list`")
    return found[name]
