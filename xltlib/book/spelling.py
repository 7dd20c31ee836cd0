"""Does it know, or does it spell? Transfer scores above what letters that look alike would give.

A floor is what no knowledge of languages gives: the same network without pre-training, and a linear
classifier of spelling. Arms are judged by what stands above the better of the two, pair by pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xltlib.book.known import (
    ALONE,
    FLOORS,
    cloned,
    examples_of,
    in_words,
    interval,
    points_of,
    stories,
    with_verdict,
)
from xltlib.languages import language, name, shared_script

if TYPE_CHECKING:
    from xltlib.book.evidence import Evidence
    from xltlib.train.config import Experiment


def of_matrix(experiment: Experiment, folder: str, model: str) -> Evidence:
    """The tables of a matrix whose models' reading is known: measured, or else the kept ones.

    Raises
    ------
    ValueError
        Neither: with the command that measures it.
    """
    from xltlib.book import evidence
    from xltlib.languages import similarity
    from xltlib.train.config import load

    if has_measured(experiment, model):
        return evidence.gather(experiment, "", model)
    path, design = Path(folder) / "scores.parquet", Path(folder).name
    if not path.is_file():
        raise ValueError(f"folder: {path} is not there; `make scores EXPERIMENT=NAME` measures it")
    found = evidence.gather(load(design), str(path), model)
    pairs = path.with_name("pairs.parquet")  # with lexical overlap of what the model read
    measured = similarity.read_pairs(pairs) if pairs.is_file() else found.pairs
    return replace(found, pairs=measured, file=f"{design}, kept with the book")


def has_measured(experiment: Experiment, model: str) -> bool:
    """Whether the experiment has a model of this name among those it knows, and its scores."""
    return model in experiment.known and (experiment.folder / "scores.parquet").is_file()


def at_home(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """In-language points of a model and of both floors, means over languages by task.

    Returns
    -------
    DataFrame
        ``task, metric, home, scratch, floor`` and ``points`` (above the character or word floor)
        with ``low, high`` over languages and seeds (`drawn`), ``n_languages``.
    """
    own = scores[(scores["source"] == scores["target"]) & (scores["n_target"] == 0)]
    key = ["task", "metric", "source", "target", "seed"]
    wide = 100 * own.pivot_table(index=key, columns="model", values="score")
    wide = wide.dropna(subset=[model, FLOORS[1]]).reset_index()
    rows = []
    for (task, metric), part in wide.groupby(["task", "metric"], sort=False):
        apart = drawn(part.assign(points=part[model] - part[FLOORS[1]]))
        scratch = part[FLOORS[0]].mean() if FLOORS[0] in part else math.nan
        means = {"home": part[model].mean(), "scratch": scratch, "floor": part[FLOORS[1]].mean()}
        n = part["target"].nunique()
        rows.append({"task": task, "metric": metric, **means, **apart, "n_languages": n})
    return pd.DataFrame(rows)


def home_by_language(scores: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """In-language points above the linear classifier, a row a language, a column an arm.

    Returns
    -------
    DataFrame
        ``language, floor`` and each arm: means over seeds, in points.
    """
    own = scores[(scores["source"] == scores["target"]) & (scores["n_target"] == 0)]
    means = 100 * own.groupby(["source", "model"], sort=False)["score"].mean().unstack()
    table = means[list(arms)].sub(means[FLOORS[1]], axis=0)
    table.insert(0, "floor", means[FLOORS[1]])
    table.insert(0, "language", [name(c) for c in table.index])
    return table.reset_index(drop=True).rename_axis(columns=None)


def designs(folders: Sequence[str], arms: Sequence[str] = ("pairs", "plain")) -> pd.DataFrame:
    """Kept designs side by side: what each arm read, and what it came to.

    Returns
    -------
    DataFrame
        ``experiment, arm, tokens`` (millions a model), ``nearest`` (per cent, see `alignment`),
        ``raw, points, low, high, verdict`` (zero-shot, as `beyond_floors`), ``home`` and
        ``home_points`` (as `at_home`).
    """
    rows = []
    for folder in folders:
        table = kept_scores(folder)
        nearest = 100 * kept_alignment(folder).groupby("known")["share"].mean()
        tokens = pd.read_csv(Path(folder) / "models.csv").groupby("known")["tokens"].mean() / 1e6
        for row in beyond_floors(table, list(arms)).to_dict("records"):
            arm = str(row["model"])
            home = at_home(table, arm).iloc[0]
            keep = {k: row[k] for k in ("raw", "points", "low", "high", "verdict")}
            about = {"experiment": Path(folder).name, "arm": arm, "tokens": tokens[arm]}
            about |= {"nearest": nearest.get(arm, math.nan)}
            rows.append(about | keep | {"home": home["home"], "home_points": home["points"]})
    return pd.DataFrame(rows)


def kept_alignment(folder: str) -> pd.DataFrame:
    """What `alignment` found, kept in a folder."""
    path = Path(folder) / "aligned.csv"
    if not path.is_file():
        raise ValueError(f"{path} is not there; `python benchmarks/open.py align` makes it")
    return pd.read_csv(path)


def aligned_means(table: pd.DataFrame) -> pd.DataFrame:
    """``known, points, low, high`` (per cent, `drawn`) and ``chance`` of a table of `alignment`."""
    rows = [
        {
            "known": known,
            **drawn(own.assign(points=100 * own["share"])),
            "chance": 100 / own["n"].iloc[0],
        }
        for known, own in table.groupby("known", sort=False)
    ]
    return pd.DataFrame(rows)


def alignment(experiment: Experiment, items: int = 400) -> pd.DataFrame:
    """How often the nearest sentence of another language is the translation, before fine-tuning.

    Of the encoder's output for the same `items` validation items in every language, each model as
    pre-training left it; and of weights of character n-grams, which know no language.

    Returns
    -------
    DataFrame
        ``known, seed, source, target, share`` (`found_again`, 0 to 1) and ``n``: chance is 1/n.
    """
    from itertools import permutations

    from sklearn.feature_extraction.text import TfidfVectorizer
    from transformers import AutoTokenizer

    from xltlib.models.compute import device
    from xltlib.models.tiny import load
    from xltlib.train.plan import Place

    place, of = Place(experiment), experiment.task(next(iter(experiment.tasks)))
    codes = experiment.languages
    found = {c: of.source(codes, c, "validation", items, 0) for c in codes}
    same = set.intersection(*({e.id for e in own} for own in found.values()))
    by_id = {c: {e.id: e.fields["text"] for e in own} for c, own in found.items()}
    texts = {c: [own[i] for i in sorted(same)] for c, own in by_id.items()}
    tokenizer = AutoTokenizer.from_pretrained(place.vocabulary())
    rows = []

    def ask(known: str, seed: int, codes: Sequence[str], states: Mapping[str, np.ndarray]) -> None:
        for one, other in permutations(codes, 2):
            share = found_again(states[one], states[other])
            rows.append((known, seed, one, other, share, len(same)))

    for known, spec in experiment.known.items():
        for seed in experiment.pretrain.seeds:
            model: Any = load(place.pretrained(seed, known))[0]
            model.to(device())
            read = {c: sentence_vectors(model, tokenizer, own) for c, own in texts.items()}
            ask(known, seed, spec.languages, read)
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    grams.fit(text for own in texts.values() for text in own)
    ask(FLOORS[1], 0, codes, {c: grams.transform(own).toarray() for c, own in texts.items()})
    return pd.DataFrame(rows, columns=["known", "seed", "source", "target", "share", "n"])


def sentence_vectors(model: Any, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """Mean of the encoder's output over the tokens of each text: (texts, width)."""
    import torch

    from xltlib.models.batches import by_length, encode, pad

    rows = [row[:-1] for row in encode(tokenizer, texts)[0]]  # without the end's mark
    vectors = np.zeros((len(rows), model.config.d_model))
    model.eval()
    for group in by_length([(len(row), 0) for row in rows], 4096):
        source = pad([rows[i] for i in group], 0).to(model.device)
        mask = (source != 0)[..., None]
        with torch.inference_mode():
            out = model.encoder(input_ids=source, attention_mask=mask[..., 0]).last_hidden_state
        vectors[group] = ((out * mask).sum(1) / mask.sum(1)).float().cpu().numpy()
    return vectors


def found_again(one: np.ndarray, other: np.ndarray) -> float:
    """Share of rows of `one` whose nearest row of `other`, by cosine, is the one of its number.

    Each side is centred first: what sets a language as a whole apart does not count.
    """
    sides = [side - side.mean(0) for side in (one, other)]
    units = [side / np.linalg.norm(side, axis=1, keepdims=True).clip(1e-12) for side in sides]
    return float(((units[0] @ units[1].T).argmax(1) == np.arange(len(one))).mean())


def drawn(table: pd.DataFrame, draws: int = 1000, seed: int = 0) -> dict[str, float]:
    """Mean of ``points``, and its 95 % interval with languages and seeds drawn anew together.

    The pigeonhole bootstrap (Owen 2007, doi:10.1214/07-AOAS122): a row counts as often as its
    source, its target and its seed were drawn. What there is only one of is not drawn. With the
    three seeds usual here the seeds' part is somewhat too small.
    """
    rng = np.random.default_rng(seed)
    y = table["points"].to_numpy(dtype=float)
    weight = np.ones((draws, len(y)))
    codes, languages = pd.factorize(pd.concat([table["source"], table["target"]]))
    sides = [codes[: len(y)], codes[len(y) :]]
    counts = rng.multinomial(len(languages), np.full(len(languages), 1 / len(languages)), draws)
    same = (sides[0] == sides[1]).all()
    for side in sides[:1] if same else sides:
        if len(set(side)) > 1:
            weight *= counts[:, side]
    at, seeds = pd.factorize(table["seed"])
    if len(seeds) > 1:
        weight *= rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), draws)[:, at]
    total = weight.sum(1)
    means = (weight @ y)[total > 0] / total[total > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return {"points": float(y.mean()), "low": float(low), "high": float(high)}


def beyond_floors(scores: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Zero-shot means of each arm and task, raw and above the better floor of each pair.

    Returns
    -------
    DataFrame
        ``model, task, metric``, ``raw, raw_low, raw_high``, ``floor``, ``points, low, high`` (above
        the floor), ``n_pairs, n_seeds, verdict``; intervals by `drawn`.
    """
    zero = scores[(scores["n_target"] == 0) & (scores["source"] != scores["target"])]
    zero = zero[~cloned(zero)]
    key = ["task", "metric", "source", "target"]
    low = zero[zero["model"].isin(FLOORS)].groupby([*key, "model"])["score"].mean()
    floor = 100 * low.groupby(key).max().rename("floor")
    rows = []
    for (model, task, metric), own in zero[zero["model"].isin(list(arms))].groupby(
        ["model", "task", "metric"], sort=False
    ):
        own = own.join(floor, on=key).dropna(subset="floor").assign(raw=100 * own["score"])
        if own.empty:
            continue
        raw = drawn(own.assign(points=own["raw"]))
        apart = drawn(own.assign(points=own["raw"] - own["floor"]))
        n = {"n_pairs": len(own[["source", "target"]].drop_duplicates())}
        rows.append(
            {
                "model": model, "task": task, "metric": metric, "raw": raw["points"],
                "raw_low": raw["low"], "raw_high": raw["high"], "floor": own["floor"].mean(),
                **apart, **n, "n_seeds": own["seed"].nunique(),
            }
        )  # fmt: skip
    return with_verdict(pd.DataFrame(rows, columns=BEYOND))


BEYOND = ("model task metric raw raw_low raw_high floor points low high n_pairs n_seeds").split()


def every_arm(data: Evidence, others: Sequence[str]) -> pd.DataFrame:
    """`beyond_floors` of a matrix' model and of all models kept in the folders `others`.

    With a column ``experiment``; controls without a source, shuffled and floors are left out.
    """
    own = data.experiment.name if data.experiment else data.file.split(",")[0]
    found = [beyond_floors(data.scores, [data.model]).assign(experiment=own)]
    for folder in others:
        table = kept_scores(folder)
        arms = [m for m in dict.fromkeys(table["model"]) if is_arm(str(m))]
        found.append(beyond_floors(table, arms).assign(experiment=Path(folder).name))
    return pd.concat(found, ignore_index=True)


def is_arm(model: str) -> bool:
    """Whether scores are of a model that read something and was taught what is asked."""
    return model not in FLOORS and not model.endswith((ALONE, "-shuffled"))


def kept_scores(folder: str) -> pd.DataFrame:
    """The scores kept in a folder, one metric a task.

    Raises
    ------
    ValueError
        None are kept there.
    """
    from xltlib import scores

    path = Path(folder) / "scores.parquet"
    if not path.is_file():
        raise ValueError(f"{path} is not there; the kept scores are in book/published/open*")
    return scores.one_metric(scores.read(path))


def side_by_side(table: pd.DataFrame, one: str = "pairs", other: str = "plain") -> pd.DataFrame:
    """Points of one arm above another at each number of target examples, over shared cells.

    Returns
    -------
    DataFrame
        ``n_target, one, other`` (mean points), ``points, low, high`` (`drawn`) and
        ``n_pairs, n_seeds, verdict``.
    """
    apart = table[table["source"] != table["target"]]
    key = ["source", "target", "seed", "n_target"]
    wide = 100 * apart.pivot_table(index=key, columns="model", values="score")
    wide = wide.dropna(subset=[one, other]).reset_index()
    rows = []
    for n, own in wide.groupby("n_target"):
        rows.append(
            {
                "n_target": n, "one": own[one].mean(), "other": own[other].mean(),
                **drawn(own.assign(points=own[one] - own[other])),
                "n_pairs": len(own[["source", "target"]].drop_duplicates()),
                "n_seeds": own["seed"].nunique(),
            }
        )  # fmt: skip
    columns = ["n_target", "one", "other", "points", "low", "high", "n_pairs", "n_seeds"]
    return with_verdict(pd.DataFrame(rows, columns=columns))


ARM_LINES = {
    "pairs": "read side by side",
    "plain": "read line by line",
    "tiny-scratch": "no pre-training, with the source",
    "tiny-scratch-alone": "no pre-training, no source",
}


def arm_curves(table: pd.DataFrame) -> pd.DataFrame:
    """Points of each arm at every number of examples, in the form of `curves`."""
    with_few = table[table["target"].isin(table.loc[table["n_target"] > 0, "target"])]
    firsts = set(table.loc[(table["n_target"] > 0) & (table["model"] == "plain"), "source"])
    own = with_few[with_few["source"].isin(firsts) | with_few["model"].str.endswith(ALONE)]
    own = own[(own["source"] != own["target"]) | own["model"].str.endswith(ALONE)]
    own = own[own["model"].isin(list(ARM_LINES))]
    rows = []
    for line, label in ARM_LINES.items():
        mine = own[own["model"] == line]
        for (target, n), part in mine.groupby(["target", "n_target"]):
            by_seed = 100 * part.groupby("seed")["score"].mean()
            rows.append((target, label, n, *interval(by_seed.to_list())))
    names = ["target", "line", "n_target", "points", "low", "high"]
    found = pd.DataFrame(rows, columns=names)
    return found.sort_values("target", kind="stable", ignore_index=True)


def spelling_answer(arms: pd.DataFrame, control: pd.DataFrame) -> list[str]:
    """Sentences: what alignment is worth, and which arms transfer beyond spelling."""
    said = [
        f"*side by side, less line by line*, {examples_of(int(r['n_target']))}: {in_words(r)}"
        for r in control.to_dict("records")
        if r["n_target"] in (0, control["n_target"].max())
    ]
    for word in ("yes", "no, the reverse", "cannot tell"):
        own = arms[arms["verdict"] == word]
        listed = [
            f"`{r['model']}` of `{r['experiment']}`, {r['task']} {points_of(r)}"
            for r in own.to_dict("records")
        ]
        said += [f"*beyond spelling: {word}*: {'; '.join(listed)}"] if listed else []
    return said


def home_answer(home: pd.DataFrame) -> list[str]:
    """Sentences on `at_home`."""
    return [
        f"**{r['task']}**, in the language it was taught: {r['home']:.1f}, the linear classifier "
        f"{r['floor']:.1f}; {points_of(r)}"
        for r in home.to_dict("records")
    ]


def beside_published(board: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """A board of claims (`evidence.board`) with how often each holds on other matrices.

    `published`: ``claim, verdict``, a row a matrix and claim.
    """
    if not len(board):
        return board
    by_claim = published.groupby(published["claim"].str.replace("_", " "))["verdict"]
    words = {
        str(claim): f"holds on {(own == 'holds').sum()} of {len(own)}, "
        f"the reverse on {(own == 'does not hold').sum()}"
        for claim, own in by_claim
    }
    table = board.copy()
    table.insert(1, "elsewhere", [words.get(c, "not asked there") for c in board["claim"]])
    return table


def by_script(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """`beyond_floors` of one model for pairs that share a script and pairs that do not."""
    pairs = scores[["source", "target"]].drop_duplicates()
    share = {
        (s, t): shared_script(language(s).script, language(t).script)
        for s, t in pairs.itertuples(index=False)
    }
    alike = np.array([share[p] for p in zip(scores["source"], scores["target"], strict=True)])
    parts = {"shared": scores[alike], "not shared": scores[~alike]}
    tables = [beyond_floors(t, [model]).assign(script=word) for word, t in parts.items()]
    return pd.concat(tables, ignore_index=True)


def kept_stories(experiment: Experiment, folder: str, model: str = "plain") -> pd.DataFrame:
    """`stories` of the experiment if it has measured this model, else those kept in `folder`."""
    if has_measured(experiment, model):
        return stories(experiment)
    return pd.read_csv(Path(folder) / "models.csv")
