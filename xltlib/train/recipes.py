"""The settings of training, and the content of an experiment file: read and completed.

An override counts as if it stood in the file; types are checked later. Starts without torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic.dataclasses import dataclass

from xltlib.data.datasets import languages_of
from xltlib.models import Precision
from xltlib.tasks import TASKS


def _not_half(asked: Any) -> Any:
    if asked in ("float16", "fp16", "half"):
        raise ValueError(
            "float16 is refused: mT5 was trained in bfloat16 and its activations overflow float16, "
            "so the loss becomes NaN (transformers issue 5651). Use bfloat16 on a GPU, float32 "
            "elsewhere"
        )
    return asked


_Precision = Annotated[Precision, BeforeValidator(_not_half)]
_CONFIG = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CONFIG)
class PretrainRecipe:
    """How to pre-train: see `experiments/embedded.yml` for what each number is for."""

    steps: PositiveInt = 8000
    batch: PositiveInt = 64
    lr: PositiveFloat = 3e-3
    noise: PositiveFloat = 0.4
    mean_span: PositiveFloat = 1.0
    unit: Literal["word", "piece"] = "word"
    max_length: PositiveInt = 48
    tokens: NonNegativeInt = 0  # budget of a model; 0: `steps` batches, whatever they hold
    epochs: PositiveInt = 4  # with a budget: how often a model reads its share of each language
    weight_decay: NonNegativeFloat = 0.0  # of the layers' matrices; see `finetune.groups`
    precision: _Precision = "auto"


@dataclass(frozen=True, config=_CONFIG)
class Recipe:
    """How to fine-tune; as it stands the recipe of mT5's authors (Xue et al. 2021).

    Attributes
    ----------
    steps, evaluations
        Optimizer steps, and how many times in them the validation set is scored.
    batch, tokens
        Examples of a batch; 0: as many as `tokens` hold, input, target and padding together.
    micro_tokens
        Tokens that are in memory at one time; halved when memory runs out.
    optimizer, lr, schedule
        Adafactor at 1e-3, which scales a step by the size of each weight matrix, or AdamW (1e-4 is
        about the same, t5 issue 230; fused it is one kernel, faster for small models, and differs
        by rounding). The rate is constant, or warms up and falls by a cosine.
    encoder_lr
        Rate of the embeddings and the encoder, as a share of `lr`.
    weight_decay
        Of the layers' matrices; see `finetune.groups`.
    freeze
        What does not learn.
    drop_tokens
        Share of an input's tokens left out, others at every step; not where words carry tags.
    dropout
        Of all layers of a checkpoint, if it has a rate of its own.
    max_input
        Longer inputs are cut; the number of cut ones is said.
    precision
        Of the arithmetic, in training and answering; ``auto`` is bfloat16 on a GPU and float32 on
        a CPU. See `models.compute.arithmetic`.
    checkpointing
        Compute activations twice rather than keep them.
    lora
        Rank of low-rank updates (Hu et al. 2022) to learn instead of all weights; 0: all weights.
    """

    steps: PositiveInt = 8000
    evaluations: int = 20
    batch: int = 0
    tokens: PositiveInt = 2**16
    micro_tokens: PositiveInt = 2**14
    optimizer: Literal["adafactor", "adamw", "adamw_fused"] = "adafactor"
    lr: PositiveFloat = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    encoder_lr: float = 1.0
    weight_decay: float = 0.0
    freeze: Literal["nothing", "embeddings", "encoder"] = "nothing"
    drop_tokens: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: float = 0.1
    max_input: PositiveInt = 1024
    precision: _Precision = "auto"
    checkpointing: bool = False
    lora: int = 0


TINY = Recipe(
    steps=200, evaluations=2, batch=32, optimizer="adamw_fused", lr=2e-3, schedule="cosine",
    freeze="embeddings", dropout=0.0, max_input=128,
)  # fmt: skip
# What a file need not say, by the kind of model.
RECIPES = {
    "tiny": TINY,
    "checkpoint": Recipe(),
    # with a new decoder: chosen on validation data of English intents (MASSIVE)
    "encoder": Recipe(
        steps=250, evaluations=5, batch=32, optimizer="adamw_fused", lr=1e-3, schedule="cosine",
        encoder_lr=0.2, freeze="embeddings", max_input=128, precision="bfloat16",
    ),
}  # fmt: skip
_SEEDS = {"tiny": [0, 1, 2], "checkpoint": [0], "encoder": [0, 1, 2]}
_TASK = {
    "tiny": {"train_items": 1500, "validation_items": 200, "test_items": 240},
    "checkpoint": {"validation_items": 1000},
    "encoder": {},
}
_FROM_SCRATCH = {"steps": 200, "lr": 2e-3, "freeze": "nothing", "encoder_lr": 1.0}


class _Loader(yaml.SafeLoader):
    """YAML in which 2e-3 is a number, as in YAML 1.2 and everywhere else, and a date is text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few lines of them can stand for gigabytes
            raise ValueError("aliases, such as *this, are not read; write the value out")
        return super().compose_node(parent, index)

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level > 50:  # takes seconds, then Python's stack
            raise ValueError("brackets are nested more than 50 deep")
        super().fetch_flow_collection_start(token)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9.]*[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _yaml(text: str | bytes, where: str, cure: str) -> Any:
    """What JSON can say too, with text for keys; any failure of the reader is a ValueError."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(json.dumps(yaml.load(text, _Loader), default=str))  # noqa: S506  (safe)
    except Exception as error:  # odd tags and deep nesting lead it anywhere
        said = str(error) or type(error).__name__
        raise ValueError(f"{where} is not readable YAML: {said}. {cure}") from None


def read_file(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The content of an experiment file, `KEY=VALUE` overrides put in, with what it need not say.

    Raises
    ------
    ValueError
        No YAML, no mapping, an override that does not fit.
    """
    content = _yaml(path.read_bytes(), str(path), "Mend the line it names.")
    if not isinstance(content, dict):
        found = "nothing" if content is None else repr(content)[:40]
        raise ValueError(f"{path} holds {found}: an experiment is `key: value` lines")
    for override in overrides:
        _override(content, override)
    return _completed({"name": path.stem, **content}, path.parent)


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise ValueError(f"--set {override!r} is not KEY=VALUE, such as --set pretrain.steps=500")
    *groups, last = key.strip().split(".")
    for group in groups:
        if group == "tasks" and isinstance(content.get("tasks", list(TASKS)), list):
            content["tasks"] = {str(task): {} for task in content.get("tasks", TASKS)}
        content = content.setdefault(group, {})
        if not isinstance(content, dict):
            raise ValueError(f"--set {key}: {group!r} is a value, it has no {last!r} inside")
    cure = "Write lists as [0, 1] and text with spaces in quotes."
    content[last] = _yaml(value, f"--set {key}: {value[:60]!r}", cure)


def _kind(content: Mapping[str, Any]) -> str:
    """The kind of model; where it is none of ours, the check of types says so."""
    model = content.get("model", {})
    found = model.get("kind") if isinstance(model, dict) else None
    return found if isinstance(found, str) and found in RECIPES else "tiny"


def _completed(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The content with all that it need not say; what has a wrong type is left for the check."""
    kind, model = _kind(content), content.get("model", {})
    model = {"kind": kind, **model} if isinstance(model, dict) else model
    found = {"seeds": _SEEDS[kind], **content, "model": model}
    recipe, tasks = found.pop("recipe", {}), found.get("tasks", list(TASKS))
    if not isinstance(recipe, dict):
        raise ValueError(f"recipe must be `key: value` lines, such as lr: 1e-3, got {recipe!r}")
    if isinstance(tasks, list):
        tasks = {str(task): {} for task in tasks}
    if isinstance(tasks, dict):
        tasks = {str(t): _completed_task(t, spec, kind, recipe, found) for t, spec in tasks.items()}
    found["tasks"] = tasks
    found |= {"fewshot": _paired(found["fewshot"])} if "fewshot" in found else {}
    if kind != "tiny":
        near = folder / str(model.get("name", ""))
        found["model"] = {**model, "name": str(near)} if near.is_dir() and near != folder else model
        found["data"] = _rooted(content.get("data", {}), folder)
    return found


def _paired(few: Any) -> Any:
    """Few-shot settings with ``pairs: {sources: [...], targets: [...]}`` written out.

    >>> _paired({"pairs": {"sources": ["eng"], "targets": ["eng", "deu"]}})
    {'pairs': [['eng', 'deu']]}
    """
    pairs = few.get("pairs") if isinstance(few, dict) else None
    if not isinstance(pairs, dict) or pairs.keys() != {"sources", "targets"}:
        return few
    if not all(isinstance(side, list) for side in pairs.values()):
        raise ValueError(f"fewshot.pairs: sources and targets must be lists, got {pairs}")
    every = ([s, t] for s in pairs["sources"] for t in pairs["targets"] if s != t)
    return {**few, "pairs": list(every)}


def _completed_task(
    task: str, spec: Any, kind: str, recipe: Mapping[str, Any], content: Mapping[str, Any]
) -> Any:
    """A task's settings over those of the experiment; ``all`` stands for all its languages."""
    if not isinstance(spec, dict):
        return spec
    own, scratch = spec.get("recipe", {}), spec.get("scratch", {})
    if not isinstance(own, dict) or not isinstance(scratch, dict):
        return {"sources": [], "targets": [], "recipe": {}, **spec}
    lists = ("sources", "targets", "among")
    spec = {k: languages_of(task) if k in lists and v == "all" else v for k, v in spec.items()}
    sources = content.get("sources", content.get("languages", []))
    targets = content.get("languages", []) if kind == "tiny" else spec.get("sources", sources)
    targets = content.get("languages", targets) if kind == "encoder" else targets
    taught = {**asdict(RECIPES[kind]), **recipe, **own}
    recipes = {"recipe": taught}
    if kind == "tiny" or scratch or content["model"].get("use") == "text2text":
        own = _FROM_SCRATCH if kind == "tiny" else {"encoder_lr": 1.0, "lr": 3e-4}
        recipes["scratch"] = {**taught, **own, **scratch}
    return {**_TASK[kind], "sources": sources, "targets": targets, **spec, **recipes}


def _rooted(files: Any, folder: Path) -> Any:
    """The user's file specifications with paths that start from a folder."""
    if not isinstance(files, Mapping):
        return files
    return {
        key: str(folder / str(value)) if key == "path" else _rooted(value, folder)
        for key, value in files.items()
    }
