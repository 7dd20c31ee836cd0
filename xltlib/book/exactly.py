"""A small kept model that knows exactly what is listed beside it, down to the line.

A folder holds the checkpoint as `from_pretrained` reads it, and ``read.parquet``: a fingerprint of
every line that it read. The lines themselves are other people's and stay where they are; whoever
has a line can ask whether it is among them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xltlib.data.text import plain
from xltlib.explain.effects import t_quantile
from xltlib.languages import language
from xltlib.tasks.plain import BLANK

if TYPE_CHECKING:
    from xltlib.train.recipes import PretrainRecipe

READ = "read.parquet"


def fingerprints(lines: Iterable[str]) -> NDArray[np.uint64]:
    """The first eight bytes of each line's SHA-256, as a number.

    >>> fingerprints(["wake me up"])
    array([17837892725001053921], dtype=uint64)
    """
    digests = (hashlib.sha256(line.encode()).digest()[:8] for line in lines)
    return np.array([int.from_bytes(d, "big") for d in digests], dtype=np.uint64)


def listed(text: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """``language, line``: a fingerprint of every different line of each language."""
    tables = [
        pd.DataFrame({"language": code, "line": np.unique(fingerprints(lines))})
        for code, lines in text.items()
    ]
    return pd.concat(tables, ignore_index=True).astype({"language": "category"})


def read_by(folder: str | Path) -> pd.DataFrame:
    """What the model of a folder read: ``language, line``."""
    path = Path(folder) / READ
    if not path.is_file():
        raise ValueError(f"{path} is not there: name a folder with a model and {READ}")
    return pd.read_parquet(path)


def was_read(sentences: Sequence[str], code: str, read: pd.DataFrame) -> list[bool]:
    """Whether each sentence, in the plain style of the corpora, is a line that the model read.

    A language of the list must be named; the line of another language does not count.
    """
    own = read.loc[read["language"] == language(code).code, "line"].to_numpy()
    asked = fingerprints(plain(s, language(code).code) for s in sentences)
    return [bool(found) for found in np.isin(asked, own)]


def met(code: str, known: Sequence[str]) -> str:
    """What a model that knows these languages has met of a language.

    >>> met("dan", ["eng", "swe"])
    'read its script'
    """
    scripts = {language(c).script for c in known}
    if code in known:
        return "read it"
    return "read its script" if language(code).script in scripts else "read neither"


def filled(model: Any, tokenizer: Any, texts: Sequence[str], most: int = 12) -> list[str]:
    """Each text with its one ``_`` filled by the model, greedily; ``…`` where it says nothing.

    >>> filled(model, tokenizer, ["what is the _ today"])  # doctest: +SKIP
    ['what is the weather today']
    """
    from xltlib.train.generate import answers

    asked = [t.replace("_", BLANK, 1) for t in texts]
    said = answers(model, tokenizer, asked, most=most)
    parts = (s.removeprefix(BLANK).split("<extra_id_")[0].strip() for s in said)
    return [t.replace("_", part or "…", 1) for t, part in zip(texts, parts, strict=True)]


def batch(tokenizer: Any, texts: Sequence[str]) -> Any:
    """Texts as one (n, longest) tensor of token ids padded with 0."""
    from xltlib.models.batches import encode, pad

    return pad(encode(tokenizer, texts)[0], 0)


def bits(
    model: Any, tokenizer: Any, lines: Sequence[str], recipe: PretrainRecipe, seed: int = 0
) -> NDArray[np.float64]:
    """Bits a hidden character costs, a number a line: span corruption as in pre-training.

    The blanks are the same for every model, so numbers of two models can be set against each other.
    """
    from xltlib.models.batches import pad
    from xltlib.train.pretrain import Sampler, span_corrupt

    sampler = Sampler({"": lines}, tokenizer, recipe)
    marks = {*sampler.sentinels, tokenizer.eos_token_id}
    pairs = [
        span_corrupt(
            units,
            np.random.default_rng([seed, i]),
            sampler.sentinels,
            noise=recipe.noise,
            mean_span=recipe.mean_span,
        )
        for i, units in enumerate(sampler.rows)
    ]
    hidden = [tokenizer.decode([int(t) for t in target if t not in marks]) for _, target in pairs]
    n = np.array([len(text.replace(" ", "")) for text in hidden])
    source, labels = pad([s for s, _ in pairs], 0), pad([t for _, t in pairs], -100)
    nats = np.concatenate(
        [_nats(model, source[i : i + 64], labels[i : i + 64]) for i in range(0, len(pairs), 64)]
    )
    return np.asarray(nats[n > 0] / math.log(2) / n[n > 0])


def _nats(model: Any, source: Any, labels: Any) -> NDArray[np.float64]:
    """Cross-entropy of each row's target, summed over its tokens."""
    import torch

    model.eval()
    with torch.inference_mode():
        logits = model(input_ids=source, attention_mask=source != 0, labels=labels).logits
        each = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2).float(), labels, reduction="none"
        )
    return np.asarray(each.sum(1).cpu().numpy(), dtype=float)


def by_language(
    models: Mapping[str, Any],
    tokenizer: Any,
    text: Mapping[str, Sequence[str]],
    recipe: PretrainRecipe,
) -> pd.DataFrame:
    """`bits` of every model in every language, with 95 % intervals over lines.

    Returns
    -------
    DataFrame
        ``target, arm, points, low, high, n``, for `figures.estimates`.
    """
    rows = []
    for code, lines in text.items():
        for arm, model in models.items():
            own = bits(model, tokenizer, lines, recipe)
            half = t_quantile(len(own) - 1) * float(own.std(ddof=1)) / math.sqrt(len(own))
            mean = float(own.mean())
            rows.append((code, arm, mean, mean - half, mean + half, len(own)))
    return pd.DataFrame(rows, columns=["target", "arm", "points", "low", "high", "n"])
