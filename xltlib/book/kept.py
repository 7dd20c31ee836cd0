"""Scores kept with the book, and the pre-trained models behind them.

The models of one experiment differ in the languages that they were pre-trained on. A target's
*similarity class* says how near a model's languages come to it. Scores are those of the experiment
asked for, once it has run, and otherwise those in a folder such as ``book/published/open``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from xltlib import reading
from xltlib.errors import unknown
from xltlib.io import build_folder, carried
from xltlib.languages import language, shared_script
from xltlib.scores import ILLEGAL, one_metric, read

if TYPE_CHECKING:
    from xltlib.train.config import Experiment

_PUBLISHED = Path("book/published")
BASELINES = ("tiny-scratch", "char-ngram")  # no pre-training; a classifier of character n-grams
_CONTROL = re.compile(r"(.+)-(scratch|shuffled|alone)")  # of the model that is named before it
_COLUMNS = (
    "known seed parameters tokens steps seconds flops loss cosine participation common reading "
    "width device arithmetic"
).split()


def measured(experiment: Experiment, folder: str, model: str = "") -> tuple[Experiment, Path]:
    """An experiment whose models know different languages, and the folder of its tables.

    The one given, if it has such models (one named `model`) and has run; else the kept one of
    `folder`, which is named after its experiment.

    Raises
    ------
    ValueError
        Nothing is kept in `folder`, or its name is that of another kind of experiment.
    """
    asked = model in experiment.known if model else bool(experiment.known)
    cure = "open*, and `make scores EXPERIMENT=NAME` measures others"
    design, path = _found(experiment, asked, folder, cure)
    if not design.known:
        raise ValueError(
            f"folder: {folder!r} has the name of an experiment whose models do not differ in what "
            "they know; give a folder such as book/published/open, or give yours another name"
        )
    return design, path


def encoded(experiment: Experiment, folder: str) -> tuple[Experiment, Path]:
    """An experiment with a pre-trained encoder and the folder of its tables.

    The one given, if it has an encoder, public tasks, and has run; else the kept one of `folder`,
    which is named after its experiment; an error where nothing is kept. Beside ``scores.parquet`` a
    folder may hold ``layers.parquet``, scores of every layer, and ``lexical.parquet``, pairs.
    """
    fits = experiment.model.kind == "encoder" and not experiment.embedded
    return _found(experiment, fits, folder, "matrix, and `xlt run matrix` measures them again")


def _found(experiment: Experiment, fits: bool, folder: str, cure: str) -> tuple[Experiment, Path]:
    """The experiment, if it is of the kind that fits and has run, else the kept one of a folder."""
    from xltlib.train.config import load

    if fits and (experiment.folder / "scores.parquet").is_file():
        return experiment, experiment.folder
    path = Path(folder)
    _scores(path, f"folder: {path / 'scores.parquet'}", cure)
    return load(path.name), path


def _scores(folder: Path, named: str, cure: str) -> Path:
    """Path of the scores table in a folder, or the error that says where one is kept."""
    if not (path := folder / "scores.parquet").is_file():
        raise ValueError(f"{named} is not there; the kept scores are in book/published/{cure}")
    return path


def tables_of(experiment: str) -> tuple[Path, pd.DataFrame | None]:
    """Path of an experiment's scores, of its run or else kept with the book, and its pairs table.

    By its name: to read the experiment takes longer than to read its scores. What is kept has no
    pairs: similarity is then computed for the languages asked about. An experiment that has not
    run, and of which nothing is kept, is an error.
    """
    places = (build_folder(experiment), carried(_PUBLISHED / experiment))
    place = next((p for p in places if (p / "scores.parquet").is_file()), None)
    if place is None:
        names = [path.stem for path in carried(Path("experiments")).glob("*.yml")]
        cure = "give a table of yours (--scores FILE), or "
        if names and experiment not in names:
            cure = "Give one of these (run first), or a table of yours (--scores FILE)."
            raise unknown("experiment", experiment, names, cure)
        cure += f"run `xlt run {experiment}`" if names else "do this in the book's folder"
        raise ValueError(f"no scores at {places[0] / 'scores.parquet'}: {cure}")
    pairs = place / "pairs.parquet"
    return place / "scores.parquet", reading.pairs(pairs) if pairs.is_file() else None


def usual(models: Iterable[str]) -> str | None:
    """The model of a table whose others are its controls; None where there are several."""
    found = {*models}
    found -= {m for m in found if (c := _CONTROL.fullmatch(m)) and c[1] in found} | {*BASELINES}
    return found.pop() if len(found) == 1 else None


def scores_in(folder: str | Path, *, clones: bool = False) -> pd.DataFrame:
    """The scores in a folder, one metric a task, without those of a language in other letters.

    Those, with `clones`, are a control: they have a ``target_set`` and would otherwise count as
    their language's. A folder without scores is an error.
    """
    path = Path(folder)
    table = one_metric(read(_scores(path, str(path / "scores.parquet"), "open*")))
    sets = table.get("target_set", pd.Series(dtype=str)).reindex(table.index).fillna("")
    return table[(sets != "") == clones].reset_index(drop=True)


def answers_in(folder: str | Path) -> pd.DataFrame:
    """`scores_in`, a row an answer with its ``item``; as they are where answers are not kept."""
    path = Path(folder) / "predictions.parquet"
    if not path.is_file() or "correct" not in (table := pd.read_parquet(path)):
        return scores_in(folder)
    table = table[table["target"].map(lambda code: "_" not in code).astype(bool)]
    labels = ["model", "task", "source", "target"]
    table = table.assign(score=table["correct"].astype(float)).astype(dict.fromkeys(labels, str))
    columns = [*labels, "n_target", "seed", "item", "score"]
    return table.rename(columns={"id": "item"})[columns].reset_index(drop=True)


# ---------------------------------------------------------------- pre-trained models


def pretrained(experiment: Experiment) -> pd.DataFrame:
    """A row a pre-trained model of an experiment: what it read, how long, and its health.

    Only models that it would make as it is now: others lie beside them, of trials for example.

    Returns
    -------
    DataFrame
        ``known, seed, parameters, tokens, steps, seconds, flops, loss, cosine, participation,
        common, reading, width, device, arithmetic``: `tiny.health` and `tiny.reading` say what
        is healthy; ``flops`` by the rule of six a parameter and token (Kaplan et al. 2020).
    """
    from xltlib.train import plan

    rows = []
    for model, seed in plan.pretrained(experiment):
        path = plan.Place(experiment).pretrained(seed, model) / "log.json"
        if not path.is_file():
            continue
        log = json.loads(path.read_text(encoding="utf-8"))
        last, batch = log["log"][-1], log["recipe"]["batch"]
        tokens = last["step"] * batch * sum(log["read"].values()) / log["lines"]
        counted = {"steps": last["step"], "tokens": round(tokens)}
        rows.append(log | last | counted | {"flops": 6 * log["parameters"] * tokens})
    return pd.DataFrame(rows, columns=_COLUMNS).sort_values(["known", "seed"], ignore_index=True)


# ---------------------------------------------------------------- similarity class


def relatives(words: Iterable[str]) -> dict[str, str]:
    """Relatives as a person writes them, both ways.

    >>> relatives(["swe-dan"])
    {'swe': 'dan', 'dan': 'swe'}
    """
    found: dict[str, str] = {}
    for word in words:
        one, dash, other = word.partition("-")
        if not dash:
            raise ValueError(f"relatives: {word!r} is not two languages such as swe-dan")
        one, other = language(one).code, language(other).code
        found |= {one: other, other: one}
    return found


def _similarity_class(
    known: Iterable[str], source: str, target: str, related: Mapping[str, str]
) -> str:
    """How near a model's languages come to a target: itself, relative, same or other script.

    The source, which all models know, does not count.

    >>> _similarity_class(["eng", "dan"], "eng", "swe", {"swe": "dan"})
    'relative'
    """
    others = [k for k in known if k != source]
    if target in others:
        return "itself"
    if related.get(target) in others:
        return "relative"
    script = language(target).script
    same = any(shared_script(language(k).script, script) for k in others)
    return "same script" if same else "other script"


def with_class(
    scores: pd.DataFrame, known: Mapping[str, Sequence[str]], related: Mapping[str, str]
) -> pd.DataFrame:
    """Scores of the named models on other targets than the source, with ``similarity_class``.

    `known` gives each model's languages, `related` each language's relative.
    """
    own = scores[scores["model"].isin(list(known)) & (scores["source"] != scores["target"])]
    cells = ["model", "source", "target"]
    pairs = own[cells].drop_duplicates()
    told = [_similarity_class(known[m], s, t, related) for m, s, t in pairs.itertuples(index=False)]
    of = pairs.assign(similarity_class=told).set_index(cells)["similarity_class"]
    return own.join(of, on=cells)


# ---------------------------------------------------------------- from a score to its run


def explain(
    exp: Experiment,
    task: str,
    source: str,
    target: str,
    seed: int = 0,
    model: str | None = None,
    n_target: int = 0,
) -> dict[str, Any]:
    """Where a cell comes from, and how to measure it again.

    ``score`` has a 95 % interval over the test items. No such run or cell is an error that says
    what there is.
    """
    from xltlib.train import plan

    listed, to = plan.runs(exp), language(target).key
    named = model or (next(iter(exp.known), None) or exp.model.label)
    about = {"model": named, "task": task, "source": language(source).key, "seed": seed}
    run = listed[_picked(pd.DataFrame(listed), exp.name, **about).index[0]]
    path, _ = tables_of(exp.name)
    cells = _picked(pd.read_parquet(path), run.label, **about, target=to, n_target=n_target)
    row = cells[cells["metric"] != ILLEGAL].iloc[0].to_dict()
    place, key = plan.Place(exp), run.key
    record, outputs = place.run(run), place.outputs(run)
    other = ""
    if not record.is_file():
        if path.parent == exp.folder:
            other = f"no run {key}: the table is of other settings (--set) or versions"
        kept = path.parent / "run.json"
        record, outputs = kept, path.parent / "predictions.parquet"
        if kept.is_file():
            key = _kept_key(json.loads(kept.read_text("utf-8"))["runs"], about, key)
    if exp.model.kind == "tiny":
        shape = asdict(exp.shape)
    else:
        shape = {"name": exp.model.name, "revision": exp.model.revision}
    spec = exp.tasks[task].model_dump(mode="json", exclude={"sources", "targets", "among"})
    for name in ("recipe", "scratch"):
        if exp.probed or (name == "scratch") != run.condition.startswith("scratch"):
            spec.pop(name)
    score, half = float(row["score"]), 1.96 * float(row.get("stderr", float("nan")))
    cell = f"{task}, {run.source} to {to}, seed {seed}"
    shots = f", {n_target} examples" if n_target else ""
    return {
        "model": run.model,
        "cell": cell + shots,
        "score": f"{row['metric']} {score:.4f} ({score - half:.4f} to {score + half:.4f}: 95 % "
        f"interval over {row['n_test']} test items)",
        "table": str(path),
        "record": f"{record}, run {key}" if record.is_file() else other or "not kept",
        "key": key + ("" if key == run.key else f" (here it would be {run.key}: other versions)"),
        "settings": json.dumps(shape | {k: v for k, v in spec.items() if v is not None}),
        "command": f"xlt run {exp.name} --part {plan.part_of(exp, run)}",
        "predictions": f"{outputs} (rows of this target)" if outputs.is_file() else "not kept",
    }


def _picked(table: pd.DataFrame, where: str, **wanted: object) -> pd.DataFrame:
    """The rows with some values, and an error for the first that no row has."""
    for column, value in wanted.items():
        found = table[table[column].astype(str) == str(value)]
        if found.empty:
            raise unknown(f"{column} of {where}", value, table[column].unique(), "take another")
        table = found
    return table


def _kept_key(runs: dict[str, Any], wanted: dict[str, Any], key: str) -> str:
    """The key that a run had where it was kept."""
    table = pd.DataFrame(runs["rows"], columns=runs["columns"])
    own = table[(table[list(wanted)] == list(wanted.values())).all(axis=1)]
    return str(own["key"].iloc[0]) if len(own) else key
