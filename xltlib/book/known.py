"""What knowing a language does: models that know different ones, the same target, the same source.

Several models differ only in the languages that they were pre-trained on. So the difference of two
models on one target, at one number of examples and one seed, is caused by what they know. Targets
are the unit that a claim is about and seeds what is drawn anew: differences are averaged over the
targets of a seed, and the interval is over seeds (Student's t), the targets being as given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from xltlib.explain.effects import t_quantile
from xltlib.languages import language, name, shared_script

if TYPE_CHECKING:
    from xltlib.train.config import Experiment

Standing = Literal["itself", "relative", "same script", "other script"]
STANDINGS: tuple[str, ...] = get_args(Standing)
OVER = ["points", "low", "high", "n_targets", "n_seeds"]
FLOORS = ("tiny-scratch", "char-ngram")
ALONE = "-alone"
# What is asked, written down before anything was run (book/open.md): standing and what it is set
# against, each over the targets that have both.
CONTRASTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "knowing the target": (("itself",), ("same script", "other script")),
    "knowing a relative": (("relative",), ("same script", "other script")),
    "knowing its script": (("same script",), ("other script",)),
}


def standing(
    knows: Iterable[str], source: str, target: str, relatives: Mapping[str, str]
) -> Standing:
    """How near a model's languages come to a target; the source, which all know, does not count."""
    others = [k for k in knows if k != source]
    if target in others or target == source:
        return "itself"
    if relatives.get(target) in others:
        return "relative"
    script = language(target).script
    alike = any(shared_script(language(k).script, script) for k in others)
    return "same script" if alike else "other script"


def placed(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Scores of the named models on other targets than the source, in points, with ``standing``.

    Returns
    -------
    DataFrame
        ``model, source, target, n_target, seed, points, standing``; clones (which
        are their source's language) are left out.
    """
    own = scores[scores["model"].isin(list(known)) & (scores["metric"] == metric)]
    own = own[own["source"] != own["target"]]
    own = own.assign(
        points=100 * own["score"],
        standing=[
            standing(known[m], s, t, relatives)
            for m, s, t in zip(own["model"], own["source"], own["target"], strict=True)
        ],
    )
    return own[["model", "source", "target", "n_target", "seed", "points", "standing"]]


def differences(placed: pd.DataFrame, first: Sequence[str], second: Sequence[str]) -> pd.DataFrame:
    """``target, n_target, seed, points``: models of the first standings less those of the second.

    Only targets that have both; several models of one standing count as their mean.
    """
    key = ["target", "n_target", "seed"]
    sides = [
        placed[placed["standing"].isin(list(side))].groupby(key)["points"].mean()
        for side in (first, second)
    ]
    return (sides[0] - sides[1]).dropna().rename("points").reset_index()


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; not a number where one value is all there is."""
    y = np.asarray(values, dtype=float)
    if len(y) < 2:
        return float(y.mean()) if len(y) else math.nan, math.nan, math.nan
    half = t_quantile(len(y) - 1) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return float(y.mean()), float(y.mean() - half), float(y.mean() + half)


def over_seeds(table: pd.DataFrame) -> dict[str, float]:
    """Mean of ``points`` over the targets of each seed, then mean and interval over seeds."""
    by_seed = table.groupby("seed")["points"].mean()
    mean, low, high = interval(by_seed.to_list())
    return {
        "points": mean, "low": low, "high": high,
        "n_targets": table["target"].nunique(), "n_seeds": len(by_seed),
    }  # fmt: skip


def contrasts(placed: pd.DataFrame, n_target: Iterable[int] = (0,)) -> pd.DataFrame:
    """Every contrast of `CONTRASTS` at each number of examples.

    Returns
    -------
    DataFrame
        ``contrast, n_target, points, low, high, n_targets, n_seeds, verdict``.
    """
    rows = []
    for contrast, (first, second) in CONTRASTS.items():
        found = differences(placed, first, second)
        for n in n_target:
            mine = found[found["n_target"] == n]
            if len(mine):
                rows.append({"contrast": contrast, "n_target": n, **over_seeds(mine)})
    return with_verdict(pd.DataFrame(rows, columns=["contrast", "n_target", *OVER]))


def by_target(placed: pd.DataFrame) -> pd.DataFrame:
    """Zero-shot worth of knowing the target, language by language, the largest first.

    Returns
    -------
    DataFrame
        ``target, shares_script`` (with a source), ``points, low, high, n_seeds, verdict``; the
        interval is over seeds.
    """
    apart = differences(placed[placed["n_target"] == 0], *CONTRASTS["knowing the target"])
    scripts = {language(s).script for s in placed["source"].unique()}
    rows = []
    for target, own in apart.groupby("target"):
        alike = any(shared_script(language(str(target)).script, script) for script in scripts)
        rows.append({"target": target, "shares_script": alike, **over_seeds(own)})
    columns = ["target", "shares_script", "points", "low", "high", "n_seeds"]
    table = with_verdict(pd.DataFrame(rows, columns=columns))
    return table.sort_values("points", ascending=False, ignore_index=True)


def saved(placed: pd.DataFrame) -> pd.DataFrame:
    """Examples of a target that a model needs which does not know it, to score as one that does.

    The curve of the models that know neither the target nor a relative, seed by seed, read
    backwards: linear in the logarithm of the number of examples between those measured.

    Returns
    -------
    DataFrame
        ``target, n_target, points`` (of models that know it), ``needs`` (median over seeds),
        ``low, high`` (of all seeds) and ``takes``, the same in words. 0 is fewer than were
        measured, infinity more.
    """
    few = placed[placed["n_target"] > 0]
    key = ["target", "seed", "n_target"]
    first, second = (
        few[few["standing"].isin(side)].groupby(key)["points"].mean().reset_index()
        for side in CONTRASTS["knowing the target"]
    )
    rows = []
    for (target, n), own in first.groupby(["target", "n_target"], sort=False):
        unknowing = [
            second[(second["target"] == target) & (second["seed"] == s)] for s in own["seed"]
        ]
        needs = [_needed(c, p) for c, p in zip(unknowing, own["points"], strict=True) if len(c)]
        if needs:
            ends = (float(np.median(needs)), min(needs), max(needs))
            words = _takes(*ends, second["n_target"])
            rows.append((target, n, own["points"].mean(), *ends, words))
    columns = ["target", "n_target", "points", "needs", "low", "high", "takes"]
    return pd.DataFrame(rows, columns=columns)


def _needed(curve: pd.DataFrame, points: float) -> float:
    """Number of examples at which a curve (``n_target, points``, ascending) reaches so much."""
    grown = np.maximum.accumulate(curve["points"].to_numpy(dtype=float))
    steps = np.log2(curve["n_target"].to_numpy(dtype=float))
    return float(2 ** np.interp(points, grown, steps, left=-np.inf, right=np.inf))


def _takes(needs: float, low: float, high: float, measured: pd.Series) -> str:
    beyond = {0.0: f"under {measured.min()}", math.inf: f"over {measured.max()}"}
    one, least, top = (beyond.get(x, f"{x:.0f}") for x in (needs, low, high))
    return one if least == top else f"{one} ({least} to {top})"


def with_verdict(table: pd.DataFrame) -> pd.DataFrame:
    """A column ``verdict``: the interval is above zero, below, or has it inside."""
    said = np.select([table["low"] > 0, table["high"] < 0], ["yes", "no, the reverse"], "")
    return table.assign(verdict=np.where(said == "", "cannot tell", said))


def beyond_spelling(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Zero-shot points above the better of no pre-training and the character floor, by standing.

    Returns
    -------
    DataFrame
        ``model, standing, points`` (above the floors) with interval over seeds, ``raw``, ``floor``,
        ``n_targets, n_seeds, verdict``.
    """
    zero = scores[(scores["n_target"] == 0) & (scores["metric"] == metric)]
    mine = _beyond(zero, known, relatives, metric)
    rows = [
        {
            "model": model, "standing": place, "raw": own["raw"].mean(),
            "floor": own["floor"].mean(), **over_seeds(own),
        }
        for (model, place), own in mine.groupby(["model", "standing"], sort=False)
    ]  # fmt: skip
    columns = ["model", "standing", "raw", "floor", *OVER]
    return with_verdict(pd.DataFrame(rows, columns=columns))


def _beyond(
    zero: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str,
) -> pd.DataFrame:
    """`placed` zero-shot scores with ``raw`` and ``floor``; ``points`` is what lies between."""
    low = zero[zero["model"].isin(FLOORS)].groupby(["model", "target"])["score"].mean()
    floor = 100 * low.groupby("target").max()
    mine = placed(zero, known, relatives, metric)
    mine = mine.assign(raw=mine["points"], floor=mine["target"].map(floor))
    return mine.assign(points=mine["raw"] - mine["floor"]).dropna(subset=["points"])


def worth_of_a_source(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Points that the source is worth at each number of examples: with it, less without it.

    Returns
    -------
    DataFrame
        ``standing, n_target, points, low, high, n_targets, n_seeds, verdict``.
    """
    few = scores[scores["n_target"] > 0]
    with_source = placed(few, known, relatives, metric)
    without = few[few["model"].str.endswith(ALONE) & (few["metric"] == metric)]
    without = without.assign(model=without["model"].str.removesuffix(ALONE))
    key = ["model", "target", "n_target", "seed"]
    both = with_source.merge(without[[*key, "score"]], on=key)
    both = both.assign(points=both["points"] - 100 * both["score"])
    rows = [
        {"standing": place, "n_target": n, **over_seeds(own)}
        for (place, n), own in both.groupby(["standing", "n_target"], sort=False)
    ]
    return with_verdict(pd.DataFrame(rows, columns=["standing", "n_target", *OVER]))


def growth(
    scores: pd.DataFrame, known: Mapping[str, Sequence[str]], metric: str = "accuracy"
) -> pd.DataFrame:
    """Is growth with the target's examples logarithmic? All models' curves judged together.

    `fewshot.law_verdicts`: ``claim, task, evidence, estimate, low, high, verdict``, the intervals
    over curves. Empty where no curve was measured.
    """
    from xltlib.explain import fewshot

    own = scores[scores["model"].isin(list(known)) & (scores["metric"] == metric)]
    own = own[~cloned(own)]
    try:
        predictions = fewshot.compare_laws(fewshot.curves(own))[1]
    except ValueError:  # no curve, or too short ones
        return pd.DataFrame(columns=["claim", "estimate", "low", "high", "verdict"])
    return fewshot.law_verdicts(predictions.assign(model="all models"))


def reading_at_all(
    scores: pd.DataFrame, known: Mapping[str, Sequence[str]], metric: str = "accuracy"
) -> pd.DataFrame:
    """Points of models that read anything above the same shape that read nothing, source first.

    Returns
    -------
    DataFrame
        ``on`` (``the source`` or ``others``), ``n_target, points, low, high, n_targets,
        n_seeds, verdict``.
    """
    own = scores[(scores["metric"] == metric) & ~cloned(scores)]
    key = ["source", "target", "n_target", "seed"]
    sides = [
        own[own["model"].isin(models)].groupby(key)["score"].mean()
        for models in (list(known), [FLOORS[0]])
    ]
    apart = (100 * (sides[0] - sides[1])).dropna().rename("points").reset_index()
    apart["home"] = np.where(apart["source"] == apart["target"], "the source", "others")
    rows = [
        {"on": home, "n_target": n, **over_seeds(part)}
        for (home, n), part in apart.sort_values("home", ascending=False).groupby(
            ["home", "n_target"], sort=False
        )
    ]
    table = pd.DataFrame(rows, columns=["on", "n_target", *OVER])
    return with_verdict(table.sort_values(["on", "n_target"], ascending=[False, True]))


def placebo(placed: pd.DataFrame, one: str, other: str) -> dict[str, float]:
    """Zero-shot difference of two models on the targets where both stand alike: should be none."""
    zero = placed[placed["n_target"] == 0]
    wide = zero[zero["model"].isin([one, other])].pivot_table(
        index=["target", "seed"], columns="model", values=["points", "standing"], aggfunc="first"
    )
    if one not in wide["points"] or other not in wide["points"]:
        raise ValueError(f"models {one!r} and {other!r} must both be among the scores")
    alike = wide[(wide["standing"][one] == wide["standing"][other])]
    alike = alike[~alike["standing"][one].isin(["itself", "relative"])]
    apart = (alike["points"][one] - alike["points"][other]).astype(float)
    return over_seeds(apart.rename("points").reset_index())


LINES = {
    "itself": "knows the target",
    "relative": "knows a relative",
    "same script": "knows its script",
    "other script": "knows other scripts",
}
CONTROL_LINES = {
    "tiny-scratch": "no pre-training, with the source",
    "tiny-scratch-alone": "no pre-training, no source",
}


def curves(
    scores: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """Points at every number of examples, for `figures.known_curves`; mean and interval over seeds.

    Returns
    -------
    DataFrame
        ``target, line, n_target, points, low, high``; only targets with few-shot scores.
    """
    mine = placed(scores, known, relatives, metric)
    mine["line"] = mine["standing"].map(LINES)
    floor = scores[scores["model"].isin(list(CONTROL_LINES)) & (scores["metric"] == metric)]
    floor = floor.assign(points=100 * floor["score"], line=floor["model"].map(CONTROL_LINES))
    both = pd.concat([mine, floor], ignore_index=True)
    both = both[both["target"].isin(scores.loc[scores["n_target"] > 0, "target"])]
    order = {line: i for i, line in enumerate([*LINES.values(), *CONTROL_LINES.values()])}
    rows = []
    for (target, line, n), own in both.groupby(["target", "line", "n_target"], sort=False):
        ends = interval(own.groupby("seed")["points"].mean().to_list())
        rows.append((target, line, n, *np.clip(ends, 0, 100)))  # no accuracy is outside
    table = pd.DataFrame(rows, columns=["target", "line", "n_target", "points", "low", "high"])
    return table.sort_values(
        ["target", "line", "n_target"],
        key=lambda c: c.map(order) if c.name == "line" else c,
        ignore_index=True,
    )


def paired_relatives(words: Iterable[str]) -> dict[str, str]:
    """Relatives as a person writes them, both ways.

    >>> paired_relatives(["swe-dan"])
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


# ---------------------------------------------------------------- gathering


@dataclass(frozen=True)
class Known:
    """What the chapter reads.

    Attributes
    ----------
    experiment : the design.
    scores : its scores, or the kept ones.
    stories : a row a pre-trained model, as `stories` gives them.
    relatives : language -> its relative.
    origin : where the scores are from, in words.
    """

    experiment: Experiment
    scores: pd.DataFrame
    stories: pd.DataFrame
    relatives: Mapping[str, str]
    origin: str

    @property
    def known(self) -> dict[str, tuple[str, ...]]:
        """Model -> the languages it knows; those that read translations are not among them."""
        return {k: s.languages for k, s in self.experiment.known.items() if not s.pairs}

    @property
    def aligned(self) -> dict[str, str]:
        """Model that read translations -> the one that knows the same without them."""
        plain = {languages: model for model, languages in self.known.items()}
        found = {k: plain.get(s.languages) for k, s in self.experiment.known.items() if s.pairs}
        return {k: model for k, model in found.items() if model}

    @property
    def models(self) -> pd.DataFrame:
        """What each model knows, and how many tokens it read of it."""
        told = self.stories.groupby("known")
        tokens = told["tokens"].mean()
        rows = []
        for model, spec in self.experiment.known.items():
            names = ", ".join(_called(c) for c in spec.languages)
            names += ", translations side by side" if spec.pairs else ""
            seeds = int(told["seed"].nunique().get(model, 0))
            rows.append((model, names, seeds, float(tokens.get(model, math.nan)) / 1e6))
        return pd.DataFrame(rows, columns=["model", "knows", "seeds", "million tokens"])

    @property
    def gates(self) -> pd.DataFrame:
        """`gates` of these scores and models."""
        return gates(self.scores, self.stories, self.known, self.relatives)

    @property
    def costs(self) -> pd.DataFrame:
        """Time, tokens and arithmetic of the models, summed over seeds."""
        return costs(self.stories)

    def caption(self, text: str) -> None:
        """Show what to see, and the run it is of."""
        from IPython.display import Markdown, display

        own = self.scores[self.scores["model"].isin(list(self.known))]
        if own.empty:
            display(Markdown("*Not yet measured.*"))
            return
        n, seeds = int(own["n_test"].max()), own["seed"].nunique()
        display(Markdown(f"{text} *{self.origin}; {seeds} seeds; n = {n} test items a cell.*"))


def gather(experiment: Experiment, folder: str, relatives: Sequence[str]) -> Known:
    """An experiment whose models know different languages; for any other, the kept scores.

    Where nothing is kept yet the tables are empty, and the chapter says so.
    """
    from xltlib import scores
    from xltlib.train.config import available, load

    pairs = paired_relatives(relatives)
    asked = bool(experiment.known)
    kept = Path(folder).name  # named after its experiment, unless somebody moved it
    design = experiment if asked else load(kept if kept in available() else "open")
    if not design.known:
        raise ValueError(
            f"folder: {folder!r} has the name of an experiment whose models do not differ in what "
            "they know; give a folder such as book/published/open, or give yours another name"
        )
    own = design.folder / "scores.parquet"
    if asked and own.is_file():
        told = stories(design)
        return Known(design, scores.read(own), told, pairs, f"Experiment `{design.name}`")
    path = Path(folder) / "scores.parquet"
    if not path.is_file():
        columns = dict.fromkeys([*scores.KEY, "metric", "score", "n_test"])
        empty = pd.DataFrame(columns=list(columns))
        return Known(design, empty, pd.DataFrame(columns=STORY), pairs, "Not yet measured")
    told = pd.read_csv(path.with_name("models.csv"))
    return Known(design, scores.read(path), told, pairs, f"Kept scores of `{path.parent.name}`")


def first_gate(folder: str) -> pd.DataFrame:
    """The first try at the gate: ``arm, recipe, target, known, points, low, high, n_test``.

    Intervals of a share of ``n_test`` items (Wilson 1927).
    """
    path = Path(folder) / "gate.csv"
    if not path.is_file():
        raise ValueError(
            f"folder: {path} is not there; the kept results are in book/published/open-web"
        )
    table = pd.read_csv(path).fillna({"recipe": ""})
    p, n, z = table["points"] / 100, table["n_test"], 1.96
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return table.assign(low=100 * (middle - half), high=100 * (middle + half))


STORY = (
    "known seed parameters tokens steps seconds flops loss cosine participation common reading "
    "width device arithmetic"
).split()


def stories(experiment: Experiment) -> pd.DataFrame:
    """A row a pre-trained model of an experiment: what it read, how long, and its health.

    Only models that it would make as it is now: others lie beside them, of trials for example.

    Returns
    -------
    DataFrame
        ``known, seed, parameters, tokens, steps, seconds, flops, loss, cosine, participation,
        common, reading, width, device, arithmetic``: `models.health` and `models.reading` say what
        is healthy; ``flops`` by the rule of six a parameter and token (Kaplan et al. 2020).
    """
    from xltlib.train import plan

    rows = []
    for model, seed in plan.pretrained(experiment):
        path = plan.Place(experiment).pretrained(seed, model) / "log.json"
        if not path.is_file():
            continue
        told = json.loads(path.read_text(encoding="utf-8"))
        last, batch = told["log"][-1], told["recipe"]["batch"]
        tokens = last["step"] * batch * sum(told["read"].values()) / told["lines"]
        row = {c: told[c] for c in ("known", "seed", "parameters", "seconds", "width", "device")}
        row |= {c: told[c] for c in ("common", "reading", "arithmetic")}
        row |= {c: last[c] for c in ("loss", "cosine", "participation")}
        row |= {"steps": last["step"], "tokens": round(tokens)}
        rows.append(row | {"flops": 6 * told["parameters"] * tokens})
    return pd.DataFrame(rows, columns=STORY).sort_values(["known", "seed"], ignore_index=True)


def costs(told: pd.DataFrame) -> pd.DataFrame:
    """Time, tokens and arithmetic of pre-training each model of `stories`, summed over seeds."""
    if "arithmetic" not in told:
        told = told.assign(arithmetic="float32")  # of scores kept before there was a choice
    by_model = told.groupby("known", sort=False)
    table = by_model[["parameters", "device", "arithmetic"]].first()
    table = table.join(by_model[["seconds", "tokens", "flops"]].sum()).reset_index()
    table["minutes"], table["teraFLOP"] = table["seconds"] / 60, table["flops"] / 1e12
    table["million tokens"] = table["tokens"] / 1e6
    keep = ["known", "parameters", "million tokens", "minutes", "teraFLOP", "device", "arithmetic"]
    return table[keep].rename(columns={"known": "model"})


def _called(code: str) -> str:
    return f"{name(code)} in letters of its own" if "_" in code else name(code)


# ---------------------------------------------------------------- gates, checks, words


def gates(
    scores: pd.DataFrame,
    told: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    relatives: Mapping[str, str],
    metric: str = "accuracy",
) -> pd.DataFrame:
    """The gates of book/open.md: ``gate, found, bound, passed``.

    "Unrelated" are known targets of another family than the source's.
    """
    zero = scores[(scores["n_target"] == 0) & (scores["metric"] == metric)]
    if not zero["model"].isin(list(known)).any():
        return pd.DataFrame(columns=["gate", "found", "bound", "passed"])
    source = str(zero.loc[zero["model"].isin(list(known)), "source"].iloc[0])
    beyond = _beyond(zero, known, relatives, metric)
    far = beyond["target"].map(lambda c: language(c).family != language(source).family)
    one = over_seeds(beyond[far & (beyond["standing"] == "itself")])
    home = zero[(zero["source"] == source) & (zero["target"] == source) & ~cloned(zero)]
    means = {str(m): 100 * float(v) for m, v in home.groupby("model")["score"].mean().items()}
    mine = float(np.mean([means[m] for m in known if m in means]))
    floor, scratch = (mine - means.get(m, math.nan) for m in ("char-ngram", "tiny-scratch"))
    thin, blind = (float((told[c] / told["width"]).min()) for c in ("participation", "reading"))
    rows = [
        ("points above both floors, known targets unrelated to the source", one["points"], "> 5"),
        ("largest cosine of random pairs of embeddings", told["cosine"].abs().max(), "< 0.3"),
        ("smallest participation ratio of embeddings, over the width", thin, "> 0.2"),
        ("smallest participation ratio of what is read, over the width", blind, "> 0.1"),
        ("in-language points above the character floor", floor, "> -3"),
        ("in-language points above no pre-training", scratch, "> 0"),
    ]
    table = pd.DataFrame(rows, columns=["gate", "found", "bound"])
    table["passed"] = [_passed(f, b) for f, b in zip(table["found"], table["bound"], strict=True)]
    return table


def cloned(table: pd.DataFrame) -> pd.Series:
    """Rows of a clone: its language in letters of its own, as another set of the target."""
    if "target_set" not in table:
        return pd.Series(False, index=table.index)
    return table["target_set"].fillna("") != ""


def _passed(found: float, bound: str) -> str:
    sign, limit = bound.split()
    if math.isnan(found):
        return "not measured"
    return "yes" if (found > float(limit) if sign == ">" else found < float(limit)) else "no"


def checks(
    scores: pd.DataFrame,
    placed: pd.DataFrame,
    known: Mapping[str, Sequence[str]],
    aligned: Mapping[str, str] | None = None,
    roles: tuple[str, str] = ("swe-azj", "dan-tur"),
    metric: str = "accuracy",
) -> pd.DataFrame:
    """The placebo (`roles`: the models that exchange them), the clone, and aligned text.

    `aligned`: the model that read translations -> its equal that did not; on the languages known.
    """
    rows = []
    if set(roles) <= set(placed["model"]):
        found = placebo(placed, *roles)
        rows.append({"check": "placebo: models that stand alike", "expected": "0", **found})
    zero = scores[(scores["n_target"] == 0) & (scores["metric"] == metric)]
    zero = zero[cloned(zero) & zero["model"].isin(list(known))]
    knows = [any("_" in code for code in known[m]) for m in zero["model"]]
    sides = zero.assign(points=100 * zero["score"], knows=knows)
    means = sides.pivot_table(index=["target", "seed"], columns="knows", values="points")
    if {True, False} <= set(means):
        apart = (means[True] - means[False]).rename("points").reset_index()
        rows.append(
            {"check": "clone: known, less not known", "expected": "> 0", **over_seeds(apart)}
        )
    for one, other in (aligned or {}).items():
        zero = scores[(scores["n_target"] == 0) & (scores["metric"] == metric)]
        zero = zero[zero["target"].isin(known[other]) & (zero["target"] != zero["source"])]
        wide = 100 * zero.pivot_table(index=["target", "seed"], columns="model", values="score")
        if {one, other} <= set(wide):
            apart = (wide[one] - wide[other]).rename("points").dropna().reset_index()
            name_it = f"translations read: {one} less {other}"
            rows.append({"check": name_it, "expected": "> 0", **over_seeds(apart)})
    table = with_verdict(pd.DataFrame(rows, columns=["check", "expected", *OVER]))
    none = (table["expected"] == "0") & (table["verdict"] == "cannot tell")
    return table.assign(verdict=table["verdict"].mask(none, "none seen, as expected"))


GPU = [
    "not yet measured: larger models that know different languages (`xlt run open-mini`) and the "
    "matrix of ten languages and three tasks (`xlt run open-matrix`); both need a GPU"
]


def larger(told: pd.DataFrame, names: Sequence[str] = ("open-mini", "open-matrix")) -> pd.DataFrame:
    """What pre-training other experiments would cost at the speed of the models in `told`.

    Arithmetic by the rule of six a parameter and token (Kaplan et al. 2020), the embeddings
    counted; norms and position biases, a thousandth, are not.

    Returns
    -------
    DataFrame
        ``experiment, models, parameters, tokens, flops`` (of all models together), ``hours, low,
        high``: the 95 % interval is for one more model whose seconds an operation scatter as those
        measured do. It cannot know how speed changes with size.
    """
    from xltlib.train.config import load

    columns = ["experiment", "models", "parameters", "tokens", "flops", "hours", "low", "high"]
    if len(told) < 2:
        return pd.DataFrame(columns=columns)
    pace = np.log((told["seconds"] / told["flops"]).to_numpy(dtype=float))
    half = t_quantile(len(pace) - 1) * float(pace.std(ddof=1)) * math.sqrt(1 + 1 / len(pace))
    rows = []
    for name_it in names:
        exp = load(name_it)
        parameters = 2 * exp.model.head + exp.model.body
        models = max(1, len(exp.known)) * len(exp.pretrain.seeds)
        flops = 6.0 * parameters * exp.pretrain.tokens * models
        hours = [flops * math.exp(pace.mean() + by) / 3600 for by in (0.0, -half, half)]
        rows.append((name_it, models, parameters, exp.pretrain.tokens, flops, *hours))
    return pd.DataFrame(rows, columns=columns)


def not_measured(data: Known) -> list[str]:
    """What the design asks for and these scores do not have, in sentences."""
    said = []
    missing = [m for m in data.known if m not in set(data.scores["model"])]
    if missing:
        said.append(f"not yet measured: the models {', '.join(missing)}")
    if not len(data.scores):
        return ["not yet measured: every model of the design (`xlt run open`; a CPU will do)", *GPU]
    if set(data.stories["device"]) <= {"cpu"}:
        said += GPU
    return said or ["everything the design asks for is here"]


def answers(
    effects: pd.DataFrame,
    beyond: pd.DataFrame,
    found: pd.DataFrame,
    anything: pd.DataFrame | None = None,
) -> list[str]:
    """The questions of the chapter with what was found, in sentences."""
    if effects.empty:
        return ["the questions of the design cannot be answered yet: its models are not measured"]
    ends = (0, effects["n_target"].max())
    said = [
        f"*{row['contrast']}*, {examples_of(row['n_target'])}: {in_words(row)}"
        for row in effects.to_dict("records")
        if row["n_target"] in ends
    ]
    mine = beyond[beyond["standing"] == "itself"]
    listed = [f"`{r['model']}` {in_words(r)}" for r in mine.to_dict("records")]
    if listed:
        said.append(f"*more than spelling*, the languages a model knows: {'; '.join(listed)}")
    said += [f"*{row['check']}*: {in_words(row)}" for row in found.to_dict("records")]
    for row in anything.to_dict("records") if anything is not None else []:
        if row["n_target"] in ends:
            n = f"other targets, {examples_of(row['n_target'])}"
            where = "the source itself" if row["on"] == "the source" else n
            said.append(f"*having read anything*, {where}: {in_words(row)}")
    return said


def in_short(effects: pd.DataFrame, found: pd.DataFrame, anything: pd.DataFrame) -> list[str]:
    """What the contrasts, the positive control and reading at all say together, in sentences."""
    if effects.empty or anything.empty:
        return []
    told = effects[effects["verdict"] != "cannot tell"]
    zero = told["n_target"] == 0
    if told.empty:
        said = f"none of the {len(effects)} differences by *what* a model knows is told from zero"
    else:
        most = max(told.to_dict("records"), key=lambda row: abs(row["points"]))
        every = effects["n_target"] == 0
        said = (
            f"{zero.sum()} of {every.sum()} differences by *what* a model knows leave zero before "
            f"the first example of the target, {(~zero).sum()} of {(~every).sum()} with examples; "
            f"the largest is {most['contrast']}, {examples_of(most['n_target'])}: {points_of(most)}"
        )
        if not zero.any():
            said += ". What it knows is seen in how fast it learns; untaught, it cannot be told"
    helped = anything[anything["verdict"] == "yes"]["points"]
    if len(helped):
        said += f"; *having read anything* is worth up to {helped.max():.1f} points"
    clone = found[found["check"].str.startswith("clone")]["verdict"]
    if len(clone) and clone.iloc[0] != "yes" and not zero.any():
        said += (
            ". The clone, known, was not reached either without examples, so the zero-shot null is "
            "about small models that read little, and says nothing of mT5"
        )
    return [said]


def gate_answer(gate: pd.DataFrame, source: str = "eng") -> list[str]:
    """What the first try at the gate says of known languages of another family, in a sentence."""
    far = gate["target"].map(lambda c: language(c).family != language(source).family)
    mine = gate[(gate["known"] == "yes") & far]
    wide = mine.pivot(index="target", columns="arm", values="points")
    trained = [c for c in map(str, wide) if c.startswith("pre-trained")]
    floor = wide.drop(columns=trained).max(axis=1)
    best = wide[trained].mean().idxmax()
    apart = (wide[best] - floor).mean()
    return [
        f"*does it know, or does it spell?* In the first try at the gate the best pre-trained arm "
        f"stands {abs(apart):.1f} points {'under' if apart < 0 else 'above'} the better floor on "
        f"the {len(wide)} unrelated targets it knew, where more than 5 above was asked (one seed)"
    ]


def examples_of(n: int) -> str:
    return f"with {n} examples of the target" if n else "zero-shot"


def in_words(row: Mapping[Any, Any]) -> str:
    return f"{points_of(row)}: {row['verdict']}"


def points_of(row: Mapping[Any, Any]) -> str:
    ends = f"{row['low']:+.1f} to {row['high']:+.1f}".replace("-", "−")
    return f"{row['points']:+.1f} points ({ends})".replace("-", "−")
