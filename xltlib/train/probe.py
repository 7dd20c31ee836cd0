"""Linear models: heads on frozen features, fitted in one language and asked in all; n-grams.

What is probed may be a text (a label), its words (a tag each) or a question on a text (where the
answer starts and ends). Heads are logistic regressions (scikit-learn) on standardised features;
their penalty and the layer are chosen on the source's validation examples alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from xltlib.data import Example
from xltlib.data.cards import VIEWS
from xltlib.data.cldr import BLANK
from xltlib.io import intact
from xltlib.languages import language
from xltlib.tasks.base import Task, bio, numbered, sentinel, simplified, with_field
from xltlib.tasks.embedded import LABELS, TASKS, tags_of
from xltlib.tasks.metrics import spans_of
from xltlib.train.config import Encoder, Experiment
from xltlib.train.plan import Place, Run, layers_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from xltlib.models.features import Features, Unit

_Array = npt.NDArray[np.float32]
_Vectors = npt.NDArray[np.float64]
_Labels = Sequence[str]
_UNSPACED = ("Hans", "Hant", "Jpan")


# ---------------------------------------------------------------- how a task is read


@dataclass(frozen=True)
class _Reading:
    """How a probe reads the examples of a task.

    Attributes
    ----------
    unit
        What has a vector: see `xltlib.models.features.Unit`.
    item
        What of an example is encoded.
    labels
        The labels of an example, one a vector; of a question none.
    write
        (example, labels) -> the output text that says them, in the task's own form.
    """

    unit: Unit
    item: Callable[[Example], Any]
    labels: Callable[[Example], _Labels]
    write: Callable[[Example, _Labels], str]


def reading_of(task: Task) -> _Reading:
    """How the examples of a task are read.

    Raises
    ------
    ValueError
        A task that is neither a label a text, nor a tag a word, nor a span of a text.
    """
    if task.name in _EMBEDDED:
        return _EMBEDDED[task.name]
    if task.name not in VIEWS:
        raise ValueError(
            f"task {task.name!r} has no label a text or a word that a probe could learn: take "
            f"{', '.join(_EMBEDDED)} or a public task"
        )
    view = VIEWS[task.name]

    def write(field: str, value: Callable[[_Labels], Any]) -> Callable[[Example, _Labels], str]:
        return lambda e, labels: task.preprocess(with_field(e, field, value(labels)))[1]

    if view.kind == "choice":
        return _Reading(
            "text",
            lambda e: " ".join(e.fields[f] for f in view.fields),
            lambda e: [e.fields["label"]],
            write("label", lambda labels: labels[0]),
        )
    if view.kind == "tags" and view.spans:
        return _Reading(
            "words",
            _words,
            lambda e: simplified(len(e.fields["tags"]), spans_of(e.fields["tags"])),
            write("tags", lambda labels: tuple(bio(labels))),
        )
    if view.kind == "tags":
        return _Reading("words", _words, lambda e: e.fields["tags"], write("tags", tuple))
    return _Reading(
        "pair",
        lambda e: (e.fields["question"], e.fields["context"]),
        lambda e: (),
        write("answers", tuple),
    )


def _words(example: Example) -> tuple[str, list[int]]:
    """The words as a text, without spaces where the script has none, and where each begins.

    >>> _words(Example("0", "eng", {"words": ["wake", "me"]}))
    ('wake me', [0, 5])
    """
    words = list(example.fields["words"])
    between = "" if language(example.language).script in _UNSPACED else " "
    starts = accumulate((len(word) + len(between) for word in words[:-1]), initial=0)
    return between.join(words), list(starts)


_EMBEDDED = {
    "entity_type": _Reading(
        "text",
        lambda e: str(e.fields["text"]).replace(BLANK, ""),
        lambda e: [TASKS["entity_type"].preprocess(e)[1]],
        lambda e, labels: labels[0],
    ),
    "ner": _Reading(
        "words",
        _words,
        lambda e: tags_of(len(e.fields["words"]), e.fields["spans"]),
        lambda e, labels: numbered(labels),
    ),
}


# ---------------------------------------------------------------- a linear head


@dataclass(frozen=True)
class _Head:
    """A linear classifier on raw features: the standardisation is part of its weights.

    ``weights`` are (classes, width), ``classes`` sorted labels; ``mean, scale`` (width,) are those
    of the features that it was fitted on.
    """

    weights: _Array
    bias: _Array
    classes: tuple[str, ...]
    mean: _Array
    scale: _Array

    def logits(self, features: _Array) -> _Array:
        """(n, classes) of features (n, width)."""
        found: _Array = features @ self.weights.T + self.bias
        return found

    def predict(self, features: _Array) -> npt.NDArray[np.str_]:
        """The most probable label of each row."""
        return np.array(self.classes)[self.logits(features).argmax(1)]


def fit(features: _Array, labels: _Labels, penalty: float, start: _Head | None = None) -> _Head:
    """A logistic regression with an L2 penalty, C = `penalty`, on standardised features.

    Parameters
    ----------
    features
        (n, width).
    labels
        One a row; of one label alone the head always answers it.
    start
        A head to start from: its standardisation is kept, so that it can be gone on with. Classes
        that it has and `labels` have not stay out.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(0), features.std(0) + np.float32(1e-6)
    if start:
        mean, scale = start.mean, start.scale
    classes = sorted(set(labels))
    if len(classes) == 1:
        width = features.shape[1]
        return _Head(
            np.zeros((1, width), np.float32), np.zeros(1, np.float32), (classes[0],), mean, scale
        )
    model = LogisticRegression(C=penalty, max_iter=200, tol=1e-3, warm_start=start is not None)
    if start and len(classes) > 2:  # two classes have one row: fast anyway
        _begin(model, start, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 steps are enough to predict
        model.fit((features - mean) / scale, np.array(labels))
    return _folded(model.coef_, model.intercept_, tuple(map(str, model.classes_)), mean, scale)


def _begin(model: Any, start: _Head, classes: Sequence[str]) -> None:
    """Let a regression begin where a head stands; classes that it has not begin at zero."""
    at = {label: i for i, label in enumerate(start.classes)}
    model.coef_ = np.zeros((len(classes), start.weights.shape[1]), np.float32)
    model.intercept_ = np.zeros(len(classes), np.float32)
    for row, label in enumerate(classes):
        if label in at:
            own = start.weights[at[label]]
            model.coef_[row] = own * start.scale
            model.intercept_[row] = start.bias[at[label]] + own @ start.mean


def _folded(
    weights: Any, bias: Any, classes: tuple[str, ...], mean: _Array, scale: _Array
) -> _Head:
    """A head on raw features of one on standardised ones."""
    if len(weights) == 1:  # two classes
        weights = np.vstack([np.zeros_like(weights), weights])
        bias = np.concatenate([np.zeros_like(bias), bias])
    raw = (weights / scale).astype(np.float32)
    return _Head(raw, (bias - raw @ mean).astype(np.float32), classes, mean, scale)


# ---------------------------------------------------------------- learning and answering


@dataclass(frozen=True)
class Items:
    """Examples with their features: example i is item ``places[i]`` of the features."""

    examples: Sequence[Example]
    features: Features
    places: Sequence[int]


@dataclass(frozen=True)
class _Learned:
    """A head, the layer and penalty it was chosen with, and its score on the validation set."""

    head: _Head
    layer: int
    penalty: float
    validation: float


def items_of(examples: Sequence[Example], features: Features) -> Items:
    """Examples and where their features are, by id."""
    at = {id: i for i, id in enumerate(features.ids)}
    return Items(examples, features, [at[e.id] for e in examples])


def learn(
    task: Task,
    train: Sequence[Items],
    layer: int,
    penalty: float,
    start: _Head | None = None,
) -> _Head:
    """A head fitted on the examples of one language or several."""
    features = np.concatenate([part.features.of(part.places, layer) for part in train])
    reading = reading_of(task)
    if reading.unit == "pair":
        marks = np.concatenate([_edges(part) for part in train])
        return _paired(*(fit(features, list(np.where(m, "1", "0")), penalty) for m in marks.T))
    labels = [label for part in train for e in part.examples for label in reading.labels(e)]
    return fit(features, labels, penalty, start)


def _by_layer(
    task: Task,
    train: Items,
    validation: Items,
    layers: Sequence[int],
    penalties: Sequence[float],
) -> list[_Learned]:
    """For each layer the head whose penalty is best on the validation set, in order of layers."""
    found = []
    for layer in layers:
        tried = []
        for penalty in penalties:
            head = learn(task, [train], layer, penalty)
            score = task.evaluate(answers(task, head, layer, validation), validation.examples)
            tried.append(_Learned(head, layer, penalty, score[task.metric].score))
        found.append(max(tried, key=lambda one: one.validation))
    return found


def answers(task: Task, head: _Head, layer: int, items: Items) -> list[str]:
    """Output texts for some items."""
    reading, features = reading_of(task), items.features.of(items.places, layer)
    sizes = np.diff(items.features.offsets)[list(items.places)]
    stops = np.cumsum(sizes)
    cells = zip(items.examples, stops - sizes, stops, strict=True)
    if reading.unit == "pair":
        assert items.features.chars is not None
        logits = head.logits(features)
        chars = items.features.chars[items.features.rows(items.places)]
        return [reading.write(e, [_span(logits[a:b], chars[a:b], e)]) for e, a, b in cells]
    labels = head.predict(features).tolist()
    return [reading.write(e, labels[a:b]) for e, a, b in cells]


# ---------------------------------------------------------------- spans as answers

_LONGEST_ANSWER = 30  # pieces


def _edges(items: Items) -> npt.NDArray[np.bool_]:
    """(rows, 2): whether an answer's first piece, its last piece, stands there."""
    assert items.features.chars is not None
    marks = []
    for e, place in zip(items.examples, items.places, strict=True):
        own = items.features.chars[items.features.rows([place])]
        answer = str(e.fields["answers"][0])
        begin = e.fields["context"].index(answer)
        first = (own[:, 0] <= begin) & (begin < own[:, 1])
        last = (own[:, 0] < begin + len(answer)) & (begin + len(answer) <= own[:, 1])
        marks.append(np.stack([first, last], 1))
    return np.concatenate(marks)


def _paired(start: _Head, end: _Head) -> _Head:
    """One head whose two classes are the log odds of a start and of an end."""

    def odds(head: _Head) -> tuple[_Array, np.float32]:
        if len(head.classes) == 1:
            return head.weights[0], head.bias[0]
        return head.weights[1] - head.weights[0], head.bias[1] - head.bias[0]

    (w, b), (v, c) = odds(start), odds(end)
    return _Head(np.stack([w, v]), np.array([b, c]), ("start", "end"), start.mean, start.scale)


def _span(logits: _Array, chars: npt.NDArray[np.int64], example: Example) -> str:
    """The text from the start to the end that are most probable together."""
    n = len(logits)
    if not n:
        return ""
    both = logits[:, :1] + logits[None, :, 1]
    allowed = np.triu(np.ones((n, n), bool)) & ~np.triu(np.ones((n, n), bool), _LONGEST_ANSWER)
    first, last = np.unravel_index(np.where(allowed, both, -np.inf).argmax(), (n, n))
    return str(example.fields["context"][chars[first, 0] : chars[last, 1]]).strip()


# ---------------------------------------------------------------- a model of our own, watched


def text_vectors(model: Any, tokenizer: Any, texts: Sequence[str]) -> _Vectors:
    """Mean of the encoder's last states over the pieces of each text: (n, d_model)."""
    import torch

    from xltlib.models.compute import by_length, pad

    rows = [np.array(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    out = np.zeros((len(rows), model.config.d_model))
    model.eval()
    with torch.inference_mode():
        for group in by_length([(len(row), 0) for row in rows], 4096):
            ids = pad([rows[i] for i in group], 0).to(model.device)
            mask = (ids != 0)[..., None]
            states = model.get_encoder()(input_ids=ids, attention_mask=ids != 0).last_hidden_state
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            out[group] = means.float().cpu().numpy()
    return out


# ---------------------------------------------------------------- the probes of an experiment

_Read = Callable[[str, str], list[Example]]  # (language, split) -> examples, of training the pool


def encode(exp: Experiment, task: str, folders: Sequence[Path], read: _Read) -> None:
    """Encode the items of the languages that folders are named after, unless they are there."""
    from xltlib.models import compute, encoder, features

    missing = [folder for folder in folders if not intact(folder)]
    if not missing:
        return
    assert isinstance(exp.model, Encoder)
    compute.prepare_process()
    model, tokenizer = encoder.load(
        exp.model.name, source=exp.model.source, revision=exp.model.revision
    )
    reading = reading_of(exp.task(task))
    layers = layers_of(exp, task) or range(model.config.num_hidden_layers + 1)
    for folder in missing:
        splits, code = ("train", "validation", "test"), folder.name
        found = {e.id: e for split in splits for e in read(code, split)}
        with tqdm(total=len(found), desc=f"encoding {task} {code}", mininterval=2) as bar:
            made = features.encode(
                model, tokenizer, reading.unit, [reading.item(e) for e in found.values()],
                list(found), layers, folder, bar.update,
            )  # fmt: skip
            bar.set_postfix_str(f"{100 * made.unknown:.1f} % of pieces unknown")


class Prober:
    """Fits heads on the features of an experiment's items.

    `training` gives the training and validation examples of a run, `tests` the test set of a task,
    language and seed.
    """

    def __init__(
        self,
        exp: Experiment,
        training: Callable[[Run], tuple[list[Example], list[Example]]],
        tests: Callable[[str, str, int], list[Example]],
    ) -> None:
        from xltlib.models import features

        self.exp, self._training, self._tests, place = exp, training, tests, Place(exp)
        self.features = cache(lambda task, code: features.read(place.features(task, code)))
        self._chosen: dict[tuple[str, int], _Learned] = {}

    def items(self, task: str, code: str, examples: Sequence[Example]) -> Items:
        """Examples of a language with their features."""
        return items_of(examples, self.features(task, code))

    def fit(
        self,
        task: str,
        code: str,
        train: Sequence[Example],
        check: Sequence[Example],
        *,
        every: bool = False,
    ) -> tuple[_Learned, list[_Learned]]:
        """The head that is best on validation examples, of equal ones that of the highest layer.

        Beside it those of the layers to choose among, or of `every` one, each with its penalty.
        """
        assert isinstance(self.exp.model, Encoder)
        of, learned = self.exp.task(task), self.items(task, code, train)
        among = self.exp.tasks[task].choose or self.features(task, code).layers
        layers = self.features(task, code).layers if every else among
        check_items, penalties = self.items(task, code, check), self.exp.model.penalties
        found = _by_layer(of, learned, check_items, layers, penalties)
        allowed = (one for one in found if one.layer in among)
        return max(allowed, key=lambda one: (one.validation, one.layer)), found

    def learn(
        self, run: Run, train: Sequence[Example], check: Sequence[Example], about: dict[str, Any]
    ) -> tuple[Callable[[str], list[str]], Callable[[str, Sequence[Example], int], list[str]]]:
        """What answers the tests of a target, and what does so after some examples of it.

        What was chosen, and the scores of all layers where they are wanted, are added to `about`.
        """
        assert isinstance(self.exp.model, Encoder)
        before = list[Items]()
        if run.condition == "alone":  # no source: layer and penalty are the first source's choice
            chosen = self._lent(run)
        else:
            seeds = self.exp.seeds[: self.exp.model.layer_seeds]
            wanted = run.condition == "pretrained" and run.seed in seeds
            chosen, found = self.fit(run.task, run.source, train, check, every=wanted)
            about["layers"] = list(self._every_layer(run, found)) if wanted else []
            before = [self.items(run.task, run.source, train)]
        about |= {k: v for k, v in asdict(chosen).items() if k != "head"}

        def after(target: str, few: Sequence[Example], n: int) -> list[str]:
            """Of a head that learned from the target too; it starts from the source's."""
            learned, start = [*before, self.items(run.task, target, few[:n])], chosen.head
            of, by = self.exp.task(run.task), (chosen.layer, chosen.penalty)
            head = learn(of, learned, *by, start if before else None)
            return self._answers(run, replace(chosen, head=head), target)

        return partial(self._answers, run, chosen), after

    def _lent(self, run: Run) -> _Learned:
        """What the first source of a task chose with the same seed."""
        key = (run.task, run.seed)
        if key not in self._chosen:
            first = replace(run, source=self.exp.tasks[run.task].sources[0])
            self._chosen[key], _ = self.fit(run.task, first.source, *self._training(first))
        return self._chosen[key]

    def _answers(self, run: Run, by: _Learned, target: str) -> list[str]:
        tests = self.items(run.task, target, self._tests(run.task, target, run.seed))
        return answers(self.exp.task(run.task), by.head, by.layer, tests)

    def _every_layer(self, run: Run, heads: Sequence[_Learned]) -> Iterator[tuple[int, str, float]]:
        """(layer, target, score) of the main metric; in-language among them."""
        of = self.exp.task(run.task)
        for target in self.exp.tasks[run.task].targets:
            tests = self._tests(run.task, target, run.seed)
            for by in heads:
                found = of.evaluate(self._answers(run, by, target), tests)
                yield by.layer, target, round(found[of.metric].score, 6)


# ---------------------------------------------------------------- the baseline of n-grams

# Languages that share words and letters let even a linear classifier on character n-grams transfer:
# a model shows cross-lingual knowledge only above this.
_Answer = Callable[[Sequence[Example]], list[str]]


def baseline(task: Task, train: Sequence[Example], seed: int) -> _Answer:
    """What answers a task after some training examples: a classifier of texts, a tagger of words.

    Raises
    ------
    ValueError
        A task of questions on a text.
    """
    if task.name == "qa":
        return _qa(train, seed)
    reading = reading_of(task)
    if reading.unit == "pair":
        raise ValueError(f"{task.name} has no baseline of n-grams: leave it out of controls.ngram")
    fitted = _classified if reading.unit == "text" else _tagged
    return fitted(task, reading, train, seed)


def _classifier(seed: int) -> Pipeline:
    """Logistic regression on TF-IDF weights of character 1- to 4-grams within words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    return make_pipeline(grams, LogisticRegression(C=10.0, max_iter=300, random_state=seed))


def _classified(task: Task, reading: _Reading, train: Sequence[Example], seed: int) -> _Answer:
    """Classifier of whole texts."""
    model = _classifier(seed)
    model.fit([reading.item(e) for e in train], [reading.labels(e)[0] for e in train])

    def answers(examples: Sequence[Example]) -> list[str]:
        found = zip(examples, model.predict([reading.item(e) for e in examples]), strict=True)
        return [k if k in task.labels else reading.write(e, [k]) for e, k in found]

    return answers


def _tagged(task: Task, reading: _Reading, train: Sequence[Example], seed: int) -> _Answer:
    """Tagger of single words from the word and its neighbours."""
    near = 2 if task.name == "ner" else 99  # of their letters

    def contexts(example: Example) -> list[str]:
        words = ["", *example.fields["words"], ""]
        around = zip(words, words[1:], words[2:], strict=False)
        return [f"{word} <{left[-near:]} {right[:near]}>" for left, word, right in around]

    def written(example: Example) -> str:
        tags = list(model.predict(contexts(example)))
        return reading.write(example, tags) if "place_f1" in task.metrics else numbered(tags)

    model = _classifier(seed)
    tags = [tag for e in train for tag in reading.labels(e)]
    model.fit([c for e in train for c in contexts(e)], tags)
    return lambda examples: [written(e) for e in examples]


def _qa(train: Sequence[Example], seed: int) -> _Answer:
    """Two classifiers: what kind the question asks for, and what kind each name is."""

    def texts(example: Example) -> list[str]:
        words = example.fields["words"]
        return [" ".join(words[a:b]) for a, b, _ in example.fields["spans"]]

    kinds = [[kind for _, _, kind in e.fields["spans"]] for e in train]
    asked = _classifier(seed).fit(
        [e.fields["question"] for e in train],
        [own[e.fields["answer"]] for e, own in zip(train, kinds, strict=True)],
    )
    named = _classifier(seed).fit([t for e in train for t in texts(e)], sum(kinds, []))

    def answer(example: Example, kind: str) -> str:
        likely = named.predict_proba(texts(example))[:, list(named.classes_).index(kind)]
        label = LABELS[kind]  # the answer is the one name that carries the label asked for
        return f"{label} {sentinel(int(likely.argmax()))} {label}"

    def answers(examples: Sequence[Example]) -> list[str]:
        wanted = asked.predict([e.fields["question"] for e in examples])
        return [answer(e, str(kind)) for e, kind in zip(examples, wanted, strict=True)]

    return answers
