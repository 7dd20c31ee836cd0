"""Looking inside: what the data give away, what a model knows before and after it is taught.

None of this changes a score. The chapters use it to ask whether the scores mean what they seem to:
can a label be read off a name's length; does any name stand in two splits; has pre-training put
the kinds of names in the same places in every language; what are a fine-tuned model's mistakes.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xltlib.book.parameters import built
from xltlib.data import cldr
from xltlib.errors import unknown
from xltlib.languages import languages, name
from xltlib.tasks import Example, Task, task
from xltlib.tasks.embedded import answer_text, sentinel, tags_of
from xltlib.train.config import Experiment
from xltlib.train.plan import Place, Run, runs

Array = npt.NDArray[np.float64]
ILLEGAL = "no legal answer"


# ---------------------------------------------------------------- what the languages are


def portraits(codes: Iterable[str], seed: int = 0) -> pd.DataFrame:
    """One row per language: ``language, code, script, family, direction, example``.

    The example is a line of the embedded text, empty where CLDR has too little of the language.
    """
    rows = []
    for known in languages(codes):
        try:
            example = cldr.lines(known.code, 1, seed)[0]
        except ValueError:
            example = ""
        family = known.family or "none known"
        rows.append((known.name, known.code, known.script, family, known.direction, example))
    columns = ["language", "code", "script", "family", "direction", "example"]
    return pd.DataFrame(rows, columns=columns)


def pairs_of(exp: Experiment, codes: Sequence[str] = (), shared_only: bool = False) -> pd.DataFrame:
    """The pairs table of an experiment's languages, or of any others.

    The words compared are CLDR's names. Data size is that of the experiment's own text; for
    languages outside it, mC4's.
    """
    from xltlib.languages import similarity
    from xltlib.train.run import text_of

    codes = tuple(codes) or exp.languages
    own = set(codes) <= set(exp.languages)
    with_text = tuple(k.code for k in languages(codes) if k.locale)
    sizes = {c: float(sum(map(len, t))) for c, t in text_of(exp).items()} if own else None
    texts = cldr.vocabulary(with_text)
    return similarity.pairs(codes, texts=texts, sizes=sizes, shared_only=shared_only)


def contrasts(pairs: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Mean similarity of the pairs by what they share: family, script, both, neither; and ``pairs``.

    Every measure is first put on one scale (its mean 0, its standard deviation 1 over the pairs).
    """
    families = {c: languages([c])[0].family or c for c in {*pairs["source"], *pairs["target"]}}
    scripts = {c: languages([c])[0].script for c in families}
    kin = pairs["source"].map(families) == pairs["target"].map(families)
    same = pairs["source"].map(scripts) == pairs["target"].map(scripts)
    words = {(True, True): "family and script", (True, False): "family only",
             (False, True): "script only", (False, False): "neither"}  # fmt: skip
    shared = pd.Series(list(zip(kin, same, strict=True)), index=pairs.index).map(words)
    values = pairs[list(measures)]
    scaled = (values - values.mean()) / values.std().replace(0, np.nan)
    table = scaled.groupby(shared).mean()
    table.insert(0, "pairs", shared.value_counts())
    return table.reindex([w for w in words.values() if w in table.index]).rename_axis("shared")


def in_words(together: pd.DataFrame, most: int = 5) -> str:
    """The pairs of measures of such a table, as text; of many the first."""
    said = [f"{a} and {b}" for a, b in together[["first", "second"]].itertuples(index=False)]
    left = f"; and {len(said) - most} more" if len(said) > most else ""
    return "; ".join(said[:most]).replace("_", " ") + left or "none"


def one_per_script(codes: Sequence[str]) -> list[str]:
    """The first language of every script."""
    first: dict[str | None, str] = {}
    for known in languages(codes):
        first.setdefault(known.script, known.code)
    return list(first.values())


def agreement(
    pairs: pd.DataFrame, measures: Sequence[str], reps: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Correlation of every two measures over the pairs: ``first, second, r, low, high, n``.

    Pairs share languages, so the interval (95 %) comes from drawing languages with replacement;
    a pair counts as often as both its languages were drawn. A measure that does not vary has none.
    """
    codes = sorted({*pairs["source"], *pairs["target"]})
    ends = [pairs[end].map(codes.index).to_numpy() for end in ("source", "target")]
    complete = pairs[list(measures)].to_numpy(dtype=float)
    keep = np.isfinite(complete).all(axis=1)
    x, (s, t) = complete[keep], (e[keep] for e in ends)
    rng = np.random.default_rng(seed)
    whole = _correlations(x, np.ones(len(x)))
    drawn = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), reps)
    draws = np.stack([_correlations(x, (d[s] * d[t]).astype(float)) for d in drawn])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a measure that never varies: NaN
        low, high = np.nanquantile(draws, [0.025, 0.975], axis=0)
    rows = [
        (a, b, whole[i, j], low[i, j], high[i, j], len(x))
        for i, a in enumerate(measures)
        for j, b in enumerate(measures)
        if i < j
    ]
    return pd.DataFrame(rows, columns=["first", "second", "r", "low", "high", "n"])


def _correlations(x: Array, weight: Array) -> Array:
    """Weighted correlation matrix of the columns; NaN where a column does not vary."""
    total = weight.sum()
    if total <= 0:
        return np.full((x.shape[1], x.shape[1]), np.nan)
    centred = x - weight @ x / total
    covariance = (centred * weight[:, None]).T @ centred / total
    spread = np.sqrt(np.diag(covariance))
    spread = np.where(spread > 1e-9, spread, np.nan)
    return np.asarray(covariance / np.outer(spread, spread))


# ---------------------------------------------------------------- what the data give away


def worked(
    of: Task, everyone: Sequence[str], codes: Sequence[str], n: int, seed: int = 0
) -> pd.DataFrame:
    """Labelled examples as a person reads them and as the model does.

    Returns
    -------
    DataFrame
        ``language, raw, label, input, target``, `n` examples of each of `codes`.
    """
    rows = []
    for code in codes:
        for e in sample(of, everyone, code, "train", n, seed):
            rows.append((code, *_raw(of, e), *of.preprocess(e)))
    return pd.DataFrame(rows, columns=["language", "raw", "label", "input", "target"])


def _raw(of: Task, example: Example) -> tuple[str, str]:
    """The example and its label in words."""
    fields = example.fields
    if of.name == "entity_type":
        return fields["text"].replace(f" {cldr.BLANK}", ""), fields["label"]
    text = " ".join(fields["words"])
    marked = [(answer_text(fields["words"][a:b]), kind) for a, b, kind in fields["spans"]]
    if of.name == "ner":
        return text, "; ".join(f"{name}: {kind}" for name, kind in marked)
    return f"{fields['question']}? {text}", marked[fields["answer"]][0]


def sample(
    of: Task, languages: Sequence[str], code: str, split: str, n: int, seed: int = 0
) -> list[Example]:
    """`n` labelled examples of a task in one language (a short form of `Task.source`)."""
    return of.source(tuple(languages), code, split, n, seed)


def overlap(names: pd.DataFrame) -> pd.DataFrame:
    """Names that two splits share, over all languages together: there must be none.

    Parameters
    ----------
    names
        The table of `xltlib.data.cldr.names`: language, kind, id, name, split.

    Returns
    -------
    DataFrame
        ``first, second, shared_ids, shared_spellings`` for every two splits; upper and lower case
        count as one spelling.
    """
    ids = {s: set(zip(g["kind"], g["id"], strict=True)) for s, g in names.groupby("split")}
    spelt = {s: set(g["name"].str.casefold()) for s, g in names.groupby("split")}
    rows = [
        (a, b, len(ids[a] & ids[b]), len(spelt[a] & spelt[b]))
        for i, a in enumerate(cldr.SPLITS)
        for b in cldr.SPLITS[i + 1 :]
        if a in ids and b in ids
    ]
    return pd.DataFrame(rows, columns=["first", "second", "shared_ids", "shared_spellings"])


def shape(text: str) -> dict[str, float]:
    """All that is left of a text when its letters cannot be told apart: lengths and punctuation.

    >>> shape("Sri Lanka, Oslo")["words"], shape("Sri Lanka, Oslo")["sign ,"]
    (3.0, 1.0)
    """
    words = text.replace(cldr.BLANK, " ").split()
    lengths = [len(w) for w in words] or [0]
    signs = Counter(c for c in text if unicodedata.category(c)[0] in "PS" and c != cldr.BLANK)
    return {
        "characters": float(sum(lengths)),
        "words": float(len(words)),
        "longest": float(max(lengths)),
        "shortest": float(min(lengths)),
        **{f"sign {sign}": float(n) for sign, n in signs.items()},
    }


def labelled_texts(of: Task, examples: Iterable[Example]) -> list[tuple[str, str]]:
    """(text, kind) of what a task asks about: whole phrases, marked names, or answers."""
    rows: list[tuple[str, str]] = []
    for fields in (e.fields for e in examples):
        if of.name == "entity_type":
            rows.append((fields["text"], fields["label"]))
        elif of.name == "ner":
            rows += [(" ".join(fields["words"][a:b]), kind) for a, b, kind in fields["spans"]]
        else:
            start, stop, kind = fields["spans"][fields["answer"]]
            rows.append((" ".join(fields["words"][start:stop]), kind))
    return rows


def shape_score(
    train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]], seed: int = 0
) -> float:
    """Accuracy of a forest of trees that sees nothing but the `shape` of (text, label) pairs.

    Extremely randomised trees (Geurts et al. 2006) find any dependence on a few numbers, not only
    a straight one; leaves of ten keep them from learning single texts by heart.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.pipeline import make_pipeline

    trees = ExtraTreesClassifier(30, min_samples_leaf=10, random_state=seed)
    model = make_pipeline(DictVectorizer(sparse=False), trees)
    model.fit([shape(text) for text, _ in train], [label for _, label in train])
    return float(model.score([shape(text) for text, _ in test], [label for _, label in test]))


def shape_floor(
    tasks: Sequence[str], languages: Sequence[str], *, n_train: int = 400, n_test: int = 300
) -> pd.DataFrame:
    """How far length and punctuation alone tell the kind of a name, task by task, unseen names.

    Returns
    -------
    DataFrame
        ``task, language, accuracy, chance, n_test``: trained and tested in the same language, which
        is the easiest case.
    """
    rows = []
    for of in map(task, tasks):
        for code in languages:
            train, test = (
                labelled_texts(of, sample(of, languages, code, split, n))
                for split, n in (("train", n_train), ("test", n_test))
            )
            rows.append((of.name, code, shape_score(train, test), 1 / len(cldr.KINDS), len(test)))
    return pd.DataFrame(rows, columns=["task", "language", "accuracy", "chance", "n_test"])


def mean_over_languages(table: pd.DataFrame, value: str, by: str = "task") -> pd.DataFrame:
    """Mean with a 95 % interval (Student's t) over languages: ``mean, low, high, n``."""
    from xltlib.explain.effects import t_quantile

    rows = []
    for group, own in table.groupby(by, sort=False):
        y = own[value].to_numpy(dtype=float)
        if len(y) < 2:
            raise ValueError(f"{by} {group!r} has one language; an interval needs two or more")
        half = t_quantile(len(y) - 1) * float(y.std(ddof=1)) / math.sqrt(len(y))
        rows.append((group, y.mean(), y.mean() - half, y.mean() + half, len(y)))
    return pd.DataFrame(rows, columns=[by, "mean", "low", "high", "n"])


# ---------------------------------------------------------------- what pre-training has left


def pretrained(exp: Experiment, seed: int = 0) -> tuple[Any, Any, Any, dict[str, Any]]:
    """A pre-trained model, one of its shape with random weights, the tokenizer, and its log.

    Raises
    ------
    ValueError
        If `seed` is none of the experiment's ``pretrain.seeds``.
    FileNotFoundError
        If the model is not there yet, with the command that makes it.
    """
    if seed not in exp.pretrain.seeds:
        raise unknown("pre-training seed", seed, exp.pretrain.seeds, f"{exp.name} has these.")
    folder = built(exp, *Place(exp).pretrained(seed).relative_to(exp.folder).parts)
    from xltlib.models.compute import prepare_process  # torch: after the checks
    from xltlib.models.tiny import build, load

    prepare_process()
    _quiet()
    model, tokenizer = load(folder)
    untrained = build(exp.shape, tokenizer, seed=1000 + seed)
    return model, untrained, tokenizer, json.loads((folder / "log.json").read_text("utf-8"))


def _quiet() -> None:
    """No loading bars, no note that embeddings are untied: they are so on purpose."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def corrupted(lines: Sequence[str], tokenizer: Any, exp: Experiment, seed: int = 0) -> pd.DataFrame:
    """What the experiment's span corruption makes of lines: columns ``line, input, target``.

    The hidden words are drawn anew for every seed, as they are in every epoch.
    """
    from xltlib.train.pretrain import Sampler, span_corrupt

    recipe = exp.pretrain
    sampler = Sampler({"": lines}, tokenizer, recipe)
    rng = np.random.default_rng(seed)
    marks: Any = sampler.sentinels
    noise, mean_span = recipe.noise, recipe.mean_span
    pairs = [
        span_corrupt(row, rng, marks, noise=noise, mean_span=mean_span) for row in sampler.rows
    ]
    texts = [[_plain(tokenizer.decode(ids)) for ids in pair] for pair in pairs]
    rows = [(line, *pair) for line, pair in zip(lines, texts, strict=True)]
    return pd.DataFrame(rows, columns=["line", "input", "target"])


def _plain(text: str) -> str:
    """Decoded text without its end mark, with spaces around sentinels."""
    return " ".join(re.sub(r"(<extra_id_\d+>)", r" \1 ", text.replace("</s>", "")).split())


def fill_blanks(model: Any, tokenizer: Any, texts: Sequence[str], most: int = 8) -> list[str]:
    """What the model writes into the first blank (``<extra_id_0>``) of each text."""
    from xltlib.train.generate import answers

    said = answers(model, tokenizer, texts, most=most)
    return [" ".join(s.removeprefix(sentinel(0)).split("<extra_id_")[0].split()) for s in said]


COMPANY = {"territory": "year", "language": "share", "city": "clock"}  # what lines put behind it


def company(text: str) -> str:
    """The form of what stands beside a name: clock, share, year, number, sign or words.

    >>> [company(t) for t in ("14:30", "73%", "1990,", "12", "or")]
    ['clock', 'share', 'year', 'number', 'words']
    """
    digits = "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in text)
    for form, pattern in (
        ("clock", r"\d[:.]\d\d(?!\d)"),
        ("share", r"[%٪]"),
        ("year", r"(?<!\d)(19|20)\d\d(?!\d)"),
        ("number", r"\d"),
        ("words", r"[^\W\d_]"),
    ):
        if re.search(pattern, digits):
            return form
    return "sign or nothing"


def after_names(model: Any, tokenizer: Any, names: pd.DataFrame) -> pd.DataFrame:
    """The table of names with ``filled``, what the model puts behind each, and its ``company``."""
    texts = [f"{name} {sentinel(0)}" for name in names["name"]]
    filled = fill_blanks(model, tokenizer, texts)
    return names.assign(filled=filled, company=[company(f) for f in filled])


def known_to_all(names: pd.DataFrame, codes: Sequence[str], n: int = 1) -> pd.DataFrame:
    """`n` things of each kind that have a name in all these languages, as ``code, language`` …

    The things come in the order of their id, one row per language.
    """
    own = names[names["language"].isin(codes)]
    everywhere = own.groupby(["kind", "id"])["language"].transform("nunique") == len(codes)
    own = own[everywhere].drop_duplicates(["kind", "id", "language"])
    first = own[["kind", "id"]].drop_duplicates().sort_values("id").groupby("kind").head(n)
    table = own.merge(first, on=["kind", "id"]).sort_values(["kind", "id", "language"])
    return table.assign(code=table["language"], language=table["language"].map(name))


def name_vectors(model: Any, tokenizer: Any, names: Sequence[str], tokens: int = 4096) -> Array:
    """Mean of the encoder's last states over the pieces of each bare name: (n, d_model)."""
    import torch

    from xltlib.models.batches import by_length, pad

    rows = [np.array(ids) for ids in tokenizer(list(names), add_special_tokens=False)["input_ids"]]
    out = np.zeros((len(rows), model.config.d_model))
    model.eval()
    with torch.inference_mode():
        for group in by_length([(len(row), 0) for row in rows], tokens):
            ids = pad([rows[i] for i in group], 0)
            mask = (ids != 0)[..., None]
            states = model.get_encoder()(input_ids=ids, attention_mask=ids != 0).last_hidden_state
            out[group] = ((states * mask).sum(1) / mask.sum(1).clamp(min=1)).numpy()
    return out


def probe(
    vectors: Array, names: pd.DataFrame, *, model: str, seed: int = 0, centre: bool = False
) -> pd.DataFrame:
    """How well kinds told apart in one language can be told apart in another, by straight lines.

    A logistic regression on the vectors of one language's training names answers for the test
    names of every language. Nothing of the model is trained.

    Parameters
    ----------
    vectors
        (n, d), one row per row of `names`.
    names
        ``language, kind, split``, as `xltlib.data.cldr.names`.
    model
        What to call the model in the table.
    centre
        Take each language's own mean away first: where languages lie side by side, but alike,
        that lays one upon the other.

    Returns
    -------
    DataFrame
        Rows of a scores table: task ``probe``, metric ``balanced_accuracy`` (the mean over kinds
        of the share that is right, so that chance is one over their number).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = names.reset_index(drop=True)
    if centre:
        means = pd.DataFrame(vectors).groupby(names["language"].to_numpy()).transform("mean")
        vectors = vectors - means.to_numpy()
    codes = list(dict.fromkeys(names["language"]))
    where = {s: names[names["split"] == s].groupby("language").indices for s in cldr.SPLITS}
    places = {s: np.flatnonzero(names["split"] == s) for s in cldr.SPLITS}
    tests = {code: places["test"][where["test"][code]] for code in codes}
    kinds, rows = names["kind"].to_numpy(), []
    for source in codes:
        at = places["train"][where["train"][source]]
        lines = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
        fitted = make_pipeline(StandardScaler(), lines).fit(vectors[at], kinds[at])
        for target, test in tests.items():
            score, stderr = balanced(kinds[test], fitted.predict(vectors[test]))
            rows.append((source, target, score, stderr, len(test)))
    table = pd.DataFrame(rows, columns=["source", "target", "score", "stderr", "n_test"])
    return table.assign(
        model=model, task="probe", n_target=0, seed=seed, metric="balanced_accuracy",
        chance=1 / len(set(kinds)),
    )  # fmt: skip


def balanced(truth: npt.NDArray[Any], answer: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean over classes of the share that is right, and its standard error."""
    classes = np.unique(truth)
    right = [(answer[truth == c] == c).astype(float) for c in classes]
    variances = [r.mean() * (1 - r.mean()) / len(r) for r in right]
    return float(np.mean([r.mean() for r in right])), math.sqrt(sum(variances)) / len(classes)


# ---------------------------------------------------------------- one model, closely


@dataclass(frozen=True)
class Study:
    """One model, fine-tuned to be looked at.

    Attributes
    ----------
    task, run
        What it was taught; the run says in which language, and with which seed.
    history
        ``step, loss`` and, where it was taken, ``validation``.
    kept
        The step whose weights were kept, by the source's validation set.
    """

    task: Task
    run: Run
    history: pd.DataFrame
    kept: int
    worker: Any
    model: Any

    def say(self, target: str) -> tuple[list[str], list[Example]]:
        """Outputs for the test set of a language, and the examples."""
        said = self.worker.answers(self.run, self.model, target)
        return said, self.worker.tests(self.task.name, target, self.run.seed)


def study(exp: Experiment, task_name: str, source: str, *, seed: int = 0, steps: int = 0) -> Study:
    """Fine-tune the pre-trained model as the experiment does, with progress, and keep it.

    `steps` 0 is the experiment's own number; `seed` must be one of the experiment's, for the model
    to be the one whose scores are in the table.
    """
    wanted = ("tiny", task_name, source, seed)
    found_runs = [r for r in runs(exp) if (r.model, r.task, r.source, r.seed) == wanted]
    if not found_runs:
        raise ValueError(
            f"{exp.name} has no run {' '.join(map(str, wanted))}: choose a task of "
            f"{tuple(exp.tasks)}, a source of {exp.languages} and a seed of {exp.seeds}"
        )
    run = found_runs[0]
    from xltlib.train.run import Worker  # torch takes seconds: after the check

    _quiet()
    worker = Worker(exp)
    model = worker.model(run)
    steps = steps or exp.tasks[task_name].recipe.steps
    found = worker.tune(run, model, *worker.training(run), steps=steps)
    return Study(task(task_name), run, pd.DataFrame(found.log), found.step, worker, model)


def farthest(exp: Experiment, home: str) -> str:
    """The language of the experiment whose names look least like those of `home`."""
    from xltlib.languages import similarity

    others = [c for c in exp.languages if c != home]
    texts = cldr.vocabulary(exp.languages)
    table = similarity.pairs([home], targets=others, measures=["lexical_translit"], texts=texts)
    return str(table.sort_values("lexical_translit")["target"].iloc[0])


Said = tuple[list[str], list[Example]]  # outputs of a model, and the examples


def judged(of: Task, outputs: Sequence[str], examples: Sequence[Example]) -> pd.DataFrame:
    """One row per item: ``language, input, wanted, said, verdict`` (right, wrong, no legal answer).

    Right means that nothing is missing: full marks on the task's main metric.
    """
    metric, rows = of.metrics[of.metric], []
    for output, example in zip(outputs, examples, strict=True):
        answer = of.postprocess(output, example)
        top, bottom = metric(answer, example)
        verdict = ILLEGAL if answer is None else "right" if top == bottom else "wrong"
        rows.append((example.language, *of.preprocess(example), output, verdict))
    return pd.DataFrame(rows, columns=["language", "input", "wanted", "said", "verdict"])


def confused(of: Task, outputs: Sequence[str], examples: Sequence[Example]) -> pd.DataFrame:
    """What was taken for what: columns ``truth, answer``, for `figures.confusion`.

    A row is a phrase (`entity_type`), a word (`ner`) or a question (`qa`: the kind asked for, and
    that of the name given).
    """
    by_task: Mapping[str, Any] = {
        "entity_type": _kind_pairs,
        "ner": _word_pairs,
        "qa": _place_pairs,
    }
    rows = []
    for output, example in zip(outputs, examples, strict=True):
        rows += by_task[of.name](of.postprocess(output, example), output, example)
    return pd.DataFrame(rows, columns=["truth", "answer"])


def _kind_pairs(answer: Any, output: str, example: Example) -> list[tuple[str, str]]:
    return [(example.fields["label"], answer or ILLEGAL)]


def _word_pairs(answer: Any, output: str, example: Example) -> list[tuple[str, str]]:
    n = len(example.fields["words"])
    said = [ILLEGAL] * n if answer is None else tags_of(n, answer)
    truth = tags_of(n, example.fields["spans"])
    words = {"INSIDE": "inside a name", "OUTSIDE": "no name"}
    shown = lambda tag: tag if tag == ILLEGAL else words.get(tag, tag.lower())  # noqa: E731
    return [(shown(t), shown(s)) for t, s in zip(truth, said, strict=True)]


def _place_pairs(answer: Any, output: str, example: Example) -> list[tuple[str, str]]:
    words, spans = example.fields["words"], example.fields["spans"]
    kinds = {answer_text(words[start:stop]): kind for start, stop, kind in spans}
    return [(spans[example.fields["answer"]][2], kinds.get(answer, ILLEGAL))]


def favourite(of: Task, said: Mapping[str, Said]) -> str:
    """A sentence per language on the commonest mistake and on outputs that are no answer."""
    parts = []
    for code, both in said.items():
        table = confused(of, *both)
        wrong = table[table["truth"] != table["answer"]]
        none = float((table["answer"] == ILLEGAL).mean())
        if wrong.empty:
            parts.append(f"{name(code)}: no mistake in {len(table)}.")
            continue
        truth, answer, count = wrong.value_counts().reset_index().iloc[0]
        parts.append(
            f"{name(code)}: {len(wrong)} of {len(table)} are wrong, most often *{answer}* where "
            f"*{truth}* is right ({count} times); {none:.1%} are no legal answer."
        )
    return " ".join(parts)


def at_home_and_away(of: Task, said: Mapping[str, Said]) -> str:
    """What the first language's score and the second's are, and their difference, in a sentence."""
    (home, one), (away, two) = ((c, of.evaluate(*both)) for c, both in said.items())
    a, b = one[of.metric], two[of.metric]
    lost, half = a.score - b.score, 1.96 * math.hypot(a.stderr, b.stderr)
    low, high = lost - half, lost + half
    above = (b.score - of.chance) / max(b.stderr, 1e-9)
    word = "loses" if low > 0 else "gains" if high < 0 else "may lose or gain"
    beyond = "well above" if above > 3 else "not clearly above"
    ends = f"95 % {100 * low:.1f} to {100 * high:.1f} over test items"
    return (
        f"Taught in {name(home)}, this model scores {a.score:.1%} there and {b.score:.1%} in "
        f"{name(away)}: it {word} on the way (by {100 * lost:.1f} points, {ends}; "
        f"below 0 would be a gain). In {name(away)} it is {beyond} "
        f"chance ({of.chance:.0%}); of the outputs there, {two['illegal'].score:.1%} are no legal "
        f"answer, against {one['illegal'].score:.1%} at home."
    )
