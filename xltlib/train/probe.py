"""Probes: what a linear model can read off frozen features, and from one language in another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_Array = npt.NDArray[np.float64]


def text_vectors(model: Any, tokenizer: Any, texts: Sequence[str], tokens: int = 4096) -> _Array:
    """Mean of the encoder's last states over the pieces of each text: (n, d_model).

    `tokens` bounds the size of a batch; the vectors do not depend on it (but for rounding).
    """
    import torch

    from xltlib.models.batches import by_length, pad

    rows = [np.array(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    out = np.zeros((len(rows), model.config.d_model))
    model.eval()
    with torch.inference_mode():
        for group in by_length([(len(row), 0) for row in rows], tokens):
            ids = pad([rows[i] for i in group], 0).to(model.device)
            mask = (ids != 0)[..., None]
            states = model.get_encoder()(input_ids=ids, attention_mask=ids != 0).last_hidden_state
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            out[group] = means.float().cpu().numpy()
    return out


def probe(
    vectors: _Array,
    table: pd.DataFrame,
    label: str,
    *,
    model: str,
    seed: int = 0,
    centre: bool = False,
) -> pd.DataFrame:
    """How well labels told apart in one language can be told apart in another, by straight lines.

    A logistic regression on the vectors of one language's training rows answers for the test rows
    of every language. Nothing of the model is trained.

    Parameters
    ----------
    vectors
        (n, d), one row per row of `table`.
    table
        ``language, split`` (train, test, …) and the column `label`.
    model
        What to call the model in the result.
    centre
        Take each language's own mean away first: where languages lie side by side, but similarly,
        that lays one upon the other.

    Returns
    -------
    DataFrame
        Rows of a scores table: task ``probe``, metric ``balanced_accuracy`` (the mean over labels
        of the share that is right, so that chance is one over their number) with its ``stderr``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    language, labels = table["language"].to_numpy(), table[label].to_numpy()
    if centre:
        vectors = vectors - pd.DataFrame(vectors).groupby(language).transform("mean").to_numpy()
    codes, rows = list(dict.fromkeys(language)), []
    train, test = (
        {c: np.flatnonzero((language == c) & (table["split"] == split).to_numpy()) for c in codes}
        for split in ("train", "test")
    )
    for source in codes:
        lines = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
        fitted = make_pipeline(StandardScaler(), lines)
        fitted.fit(vectors[train[source]], labels[train[source]])
        for target, own in test.items():
            score, stderr = _balanced(labels[own], fitted.predict(vectors[own]))
            rows.append((source, target, score, stderr, len(own)))
    found = pd.DataFrame(rows, columns=["source", "target", "score", "stderr", "n_test"])
    found = found.assign(model=model, task="probe", n_target=0, seed=seed)
    return found.assign(metric="balanced_accuracy", chance=1 / len(set(labels)))


def _balanced(truth: npt.NDArray[Any], answer: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean over labels of the share that is right, and its standard error."""
    labels = np.unique(truth)
    right = [(answer[truth == c] == c).astype(float) for c in labels]
    variances = [r.mean() * (1 - r.mean()) / len(r) for r in right]
    return float(np.mean([r.mean() for r in right])), math.sqrt(sum(variances)) / len(labels)
