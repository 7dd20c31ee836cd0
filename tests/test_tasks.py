"""The tasks: exact texts, every answer there and back, and scores against outside references."""

from __future__ import annotations

import doctest
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from xltlib.data import Example, cldr
from xltlib.tasks import TASKS, base, embedded, task
from xltlib.tasks.base import numbered, ratio, sentinel
from xltlib.tasks.embedded import tags_of
from xltlib.train import config

KIND = Example("k", "eng", {"text": "Oslo _ (Lima _), Rome _ and Accra _", "label": "city"})
SPANS = Example(
    "s",
    "eng",
    {
        "words": ["(Sri", "Lanka),", "7", "Oslo", "or", "Danish"],
        "spans": [(0, 2, "territory"), (3, 4, "city"), (5, 6, "language")],
    },
)
FIND = Example(
    "f",
    "eng",
    {
        "question": "14:30",
        "words": ["Sri", "Lanka:", "Danish", "or", "Oslo"],
        "spans": [(0, 2, "territory"), (2, 3, "language"), (4, 5, "city")],
        "answer": 2,
    },
)
EXACT = [
    (
        "entity_type",
        KIND,
        "Oslo <extra_id_0> (Lima <extra_id_0>), Rome <extra_id_0> and Accra <extra_id_0>",
        "<extra_id_0> CITY",
    ),
    (
        "ner",
        SPANS,
        "(Sri <extra_id_0> Lanka), <extra_id_1> 7 <extra_id_2> Oslo <extra_id_3> "
        "or <extra_id_4> Danish <extra_id_5>",
        "<extra_id_0> TERRITORY <extra_id_1> INSIDE <extra_id_2> OUTSIDE <extra_id_3> CITY "
        "<extra_id_4> OUTSIDE <extra_id_5> LANGUAGE",
    ),
    (
        "qa",
        FIND,
        "14:30: Sri Lanka: <extra_id_0> Danish <extra_id_1> or Oslo <extra_id_2>",
        "CITY <extra_id_0> TERRITORY <extra_id_1> LANGUAGE <extra_id_2> CITY",
    ),
]


@pytest.fixture(scope="module")
def languages(repository) -> tuple[str, ...]:
    """Return the languages of the embedded experiment."""
    return config.load(str(repository / "experiments" / "embedded.yml")).languages


@pytest.mark.parametrize("module", [base, embedded])
def test_doctests(module) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted >= 5 or module is base


# ---------------------------------------------------------------- text in, text out


@pytest.mark.parametrize("name, example, source, target", EXACT)
def test_exact_texts(name: str, example: Example, source: str, target: str) -> None:
    assert task(name).preprocess(example) == (source, target)


@pytest.mark.parametrize("name, example, source, target", EXACT)
def test_the_target_text_scores_one_and_is_legal(name, example, source, target) -> None:
    scores = task(name).evaluate([target], [example])
    assert {n: s.score for n, s in scores.items() if n != "illegal"} == dict.fromkeys(
        task(name).metrics, 1.0
    )
    assert scores["illegal"].score == 0


@pytest.mark.parametrize("name", TASKS)
def test_round_trip_in_every_language(name: str, languages) -> None:
    """raw -> target text -> answer -> score is 1.0, and nothing is cut off on the way."""
    of = task(name)
    for code in languages:
        examples = of.source(languages, code, "test", 60, 0)
        assert [e.language for e in examples] == [code] * 60
        assert len({e.id for e in examples}) == 60
        scores = of.evaluate([of.preprocess(e)[1] for e in examples], examples)
        assert {s.score for n, s in scores.items() if n != "illegal"} == {1.0}
        assert scores["illegal"].score == 0
        assert examples == of.source(languages, code, "test", 60, 0)


@pytest.mark.parametrize("name", TASKS)
def test_the_input_does_not_hold_the_label(name: str, languages) -> None:
    of = task(name)
    for example in of.source(languages, "eng", "test", 60, 0):
        source = of.preprocess(example)[0]
        assert not any(label in source for label in embedded.LABELS.values())


@pytest.mark.parametrize("name", TASKS)
def test_every_word_of_a_target_is_one_token_and_fits(name: str, languages) -> None:
    of = task(name)
    allowed = {*embedded.WORDS, *map(sentinel, range(32))}
    for code in languages:
        for example in of.source(languages, code, "test", 40, 0):
            said = of.preprocess(example)[1].split()
            assert set(said) <= allowed
            assert len(said) + 1 <= of.max_target + 1  # and its end, as fine-tuning encodes it


def test_classes_are_balanced(languages) -> None:
    labels = Counter(
        e.fields["label"] for e in task("entity_type").source(languages, "hin", "test", 200, 0)
    )
    assert set(labels) == set(cldr.KINDS) and min(labels.values()) >= 40
    asked = task("qa").source(languages, "hin", "test", 200, 0)
    assert min(Counter(e.fields["answer"] for e in asked).values()) >= 40
    kinds = Counter(e.fields["spans"][e.fields["answer"]][2] for e in asked)
    assert set(kinds) == set(cldr.KINDS) and min(kinds.values()) >= 30


def test_long_phrases_lose_words_but_never_misplace_tags() -> None:
    n = cldr.MAX_WORDS + 3
    words = [f"w{i}" for i in range(n)]
    long = Example("l", "eng", {"words": words, "spans": [(0, 1, "city"), (n - 1, n, "unit")]})
    source, target = task("ner").preprocess(long)
    assert f"w{cldr.MAX_WORDS - 1} {sentinel(cldr.MAX_WORDS - 1)}" in source
    assert f"w{cldr.MAX_WORDS}" not in source
    assert target.startswith("<extra_id_0> CITY") and target.count("OUTSIDE") == cldr.MAX_WORDS - 1


# ---------------------------------------------------------------- outputs as models write them


@pytest.mark.parametrize(
    "output, answer",
    [
        ("<extra_id_0> CITY", "city"),
        ("CITY", "city"),
        ("<extra_id_0>  CITY ", "city"),
        ("", None),
        ("<extra_id_0>", None),
        ("city", None),
        ("<extra_id_0> CITY CITY", None),
        ("<extra_id_1> CITY", None),
        ("CITYTOWN", None),
    ],
)
def test_kind_answers(output: str, answer: str | None) -> None:
    assert task("entity_type").postprocess(output, KIND) == answer


TERRITORY_ONLY = [(0, 2, "territory")]


@pytest.mark.parametrize(
    "tags, spans",
    [
        (["TERRITORY", "INSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE"], TERRITORY_ONLY),
        (["OUTSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE"], []),
        # An I with no beginning before it opens nothing, in front, after O, and repeated.
        (["INSIDE", "INSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE", "OUTSIDE"], []),
        (["TERRITORY", "INSIDE", "OUTSIDE", "INSIDE", "INSIDE", "OUTSIDE"], TERRITORY_ONLY),
        # Two beginnings side by side are two spans.
        (
            ["CITY", "CITY", "INSIDE", "OUTSIDE", "OUTSIDE", "UNIT"],
            [(0, 1, "city"), (1, 3, "city"), (5, 6, "unit")],
        ),
    ],
)
def test_span_answers(tags: list[str], spans: list[tuple[int, int, str]]) -> None:
    assert task("ner").postprocess(numbered(tags), SPANS) == spans


def spans_of(tags: list[str]) -> list[tuple[int, int, str]]:
    """Spans that the task reads out of a text of tags."""
    return task("ner").postprocess(numbered(tags), Example("0", "eng", {"words": tags}))


def test_spans_survive_tags_and_back(languages) -> None:
    for example in task("ner").source(languages, "pes", "train", 60, 0):
        spans = [tuple(s) for s in example.fields["spans"]]
        assert spans_of(tags_of(len(example.fields["words"]), spans)) == spans


GOLD = numbered(["TERRITORY", "INSIDE", "OUTSIDE", "CITY", "OUTSIDE", "LANGUAGE"])


@pytest.mark.parametrize(
    "output, legal",
    [
        (GOLD, True),
        # The sentinels say which word is meant, not the order in which they come.
        (" ".join(f"{sentinel(i)} {t}" for i, t in [*enumerate(["OUTSIDE"] * 6)][::-1]), True),
        (f"{GOLD} <extra_id_6> CITY", True),  # a word too many is not in the phrase
        ("", False),
        ("TERRITORY INSIDE OUTSIDE CITY OUTSIDE LANGUAGE", False),
        (GOLD.removesuffix(" <extra_id_5> LANGUAGE"), False),  # stopped too early
        (GOLD.replace("CITY", "TOWN"), False),
        (GOLD.replace("CITY", "CITY I"), False),
        (GOLD.replace("CITY", ""), False),
        (GOLD.replace("<extra_id_3>", "<extra_id_1>"), False),  # repeated, so one word has none
    ],
)
def test_span_outputs_are_legal_or_not(output: str, legal: bool) -> None:
    answer = task("ner").postprocess(output, SPANS)
    assert (answer is not None) == legal
    assert task("ner").evaluate([output], [SPANS])["illegal"].score == float(not legal)


@pytest.mark.parametrize(
    "output, answer",
    [
        ("CITY <extra_id_0> TERRITORY <extra_id_1> LANGUAGE <extra_id_2> CITY", "Oslo"),
        ("TERRITORY <extra_id_0> TERRITORY", "Sri Lanka"),  # without the colon behind it
        # What is asked for is read first: a wrong cue gives a wrong answer, but a legal one.
        ("LANGUAGE <extra_id_0> TERRITORY <extra_id_1> LANGUAGE <extra_id_2> CITY", "Danish"),
        # Two names of the kind: the first, whatever order the output says them in.
        ("CITY <extra_id_0> UNIT <extra_id_1> CITY <extra_id_2> CITY", "Danish"),
        ("CITY <extra_id_2> CITY <extra_id_1> CITY", "Danish"),
        # A blank said twice holds what was said last.
        ("CITY <extra_id_1> CITY <extra_id_1> UNIT <extra_id_2> CITY", "Oslo"),
        ("", None),
        ("CITY", None),
        ("CITY <extra_id_2>", None),
        ("UNIT <extra_id_0> TERRITORY <extra_id_1> LANGUAGE <extra_id_2> CITY", None),
        ("CITY <extra_id_3> CITY", None),  # no such blank
        ("<extra_id_2> CITY", None),  # a name, but nothing was asked
        ("OUTSIDE <extra_id_2> OUTSIDE", None),  # not a kind
        ("CITY CITY <extra_id_2> CITY", None),
    ],
)
def test_find_answers(output: str, answer: str | None) -> None:
    assert task("qa").postprocess(output, FIND) == answer
    assert task("qa").evaluate([output], [FIND])["illegal"].score == float(answer is None)


@pytest.mark.parametrize("name, example, source, target", EXACT)
def test_an_illegal_output_counts_as_wrong(name, example, source, target) -> None:
    scores = task(name).evaluate(["", target], [example, example])
    assert scores["illegal"].score == 0.5
    for metric in task(name).metrics:
        # Half of two equal examples; F1 of one silent and one right phrase is 2/3 of three.
        assert scores[metric].score == pytest.approx(2 / 3 if metric == "span_f1" else 0.5)


def test_outputs_and_examples_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 outputs for 1 examples of 'entity_type'"):
        task("entity_type").evaluate(["CITY", "CITY"], [KIND])


def test_no_examples_is_an_error_not_a_score() -> None:
    with pytest.raises(ValueError, match="no examples to score.*choose another split"):
        task("entity_type").evaluate([], [])


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown task 'nre'. Did you mean 'ner'.*entity_type"):
        task("nre")


# ---------------------------------------------------------------- metrics


def test_span_f1_by_hand() -> None:
    """Counts as CoNLL's scorer makes them: a span is right if borders and kind are."""
    gold = [(0, 2, "territory"), (3, 4, "city"), (5, 6, "language")]
    answers_and_counts = [
        (gold, 3, 0, 0),
        ([(0, 2, "territory"), (3, 4, "unit")], 1, 1, 2),  # one right, one of a wrong kind
        ([(0, 1, "territory"), (1, 2, "territory")], 0, 2, 3),  # wrong borders
        ([], 0, 0, 3),
        (None, 0, 0, 3),
    ]
    tops, bottoms = [], []
    for answer, tp, fp, fn in answers_and_counts:
        assert TASKS["ner"].metrics["span_f1"](answer, SPANS) == (2.0 * tp, 2.0 * tp + fp + fn)
        top, bottom = TASKS["ner"].metrics["span_f1"](answer, SPANS)
        tops.append(top)
        bottoms.append(bottom)
    # Micro-averaged over the five: 2*4 / (2*4 + 3 + 11).
    assert ratio(np.array(tops), np.array(bottoms)).score == pytest.approx(8 / 22)


def test_span_f1_is_micro_f1_of_sets(languages) -> None:
    """Against precision and recall counted another way, on noisy answers."""
    of, rng = task("ner"), np.random.default_rng(0)
    examples = of.source(languages, "deu", "test", 80, 0)
    outputs, gold_all, said_all = [], set(), set()
    for i, example in enumerate(examples):
        n = len(example.fields["words"])
        tags = tags_of(n, example.fields["spans"])
        for j in np.flatnonzero(rng.random(n) < 0.3):
            tags[j] = str(rng.choice([*embedded.LABELS.values(), "INSIDE", "OUTSIDE"]))
        outputs.append(numbered(tags))
        gold_all |= {(i, *span) for span in example.fields["spans"]}
        said_all |= {(i, *span) for span in spans_of(tags)}
    right = len(gold_all & said_all)
    precision, recall = right / len(said_all), right / len(gold_all)
    score = of.evaluate(outputs, examples)["span_f1"].score
    assert 0.3 < score < 0.9
    assert score == pytest.approx(2 * precision * recall / (precision + recall))


def test_accuracy_is_sklearn_s(languages) -> None:
    of, rng = task("entity_type"), np.random.default_rng(0)
    examples = of.source(languages, "tur", "test", 80, 0)
    said = rng.choice(cldr.KINDS, 80)
    outputs = [f"<extra_id_0> {embedded.LABELS[k]}" for k in said]
    wanted = accuracy_score([e.fields["label"] for e in examples], said)
    assert of.evaluate(outputs, examples)["accuracy"].score == pytest.approx(wanted)


def test_find_f1_is_squad_s() -> None:
    """Half of two words right: precision 1 and recall 1/2 give 2/3 (Rajpurkar et al. 2016)."""
    example = Example(
        "f",
        "eng",
        {
            "question": "1994",
            "words": ["New", "Zealand", "Zealand", "York"],
            "spans": [(0, 2, "territory"), (2, 3, "language"), (3, 4, "city")],
            "answer": 0,
        },
    )
    said = task("qa").evaluate(["CITY <extra_id_1> CITY"], [example])
    assert said["exact_match"].score == 0
    assert said["token_f1"].score == pytest.approx(2 / 3)
    assert task("qa").evaluate(["CITY <extra_id_2> CITY"], [example])["token_f1"].score == 0


def test_stderr_of_a_share_is_the_binomial_one() -> None:
    hits = np.repeat([1.0, 0.0], [70, 230])
    found = ratio(hits, np.ones(300))
    assert found.score == pytest.approx(0.7 / 3)
    # (n - 1) in place of n
    assert found.stderr == pytest.approx(np.sqrt(found.score * (1 - found.score) / 299))


def test_stderr_of_a_ratio_is_the_bootstrap_s() -> None:
    rng = np.random.default_rng(0)
    denominators = rng.integers(2, 9, 400).astype(float)
    numerators = rng.binomial(denominators.astype(int), 0.6).astype(float)
    drawn = rng.integers(0, 400, (4000, 400))
    bootstrap = (numerators[drawn].sum(1) / denominators[drawn].sum(1)).std()
    # 4000 draws know a standard deviation to 1.1 %; the linearisation costs less
    assert ratio(numerators, denominators).stderr == pytest.approx(bootstrap, rel=0.05)


def test_scores_with_nothing_to_divide_by() -> None:
    assert ratio(np.zeros(3), np.zeros(3)) == base.Score(0.0, 0.0, 3)
    assert ratio(np.ones(1), np.ones(1)) == base.Score(1.0, 0.0, 1)


# ---------------------------------------------------------------- chance and control


@pytest.mark.parametrize("name", TASKS)
def test_shuffled_labels_mean_nothing_and_keep_the_inputs(name: str, languages) -> None:
    of = task(name)
    examples = of.source(languages, "rus", "train", 300, 0)
    shuffled = of.shuffle(examples, 0)
    assert shuffled == of.shuffle(examples, 0) != of.shuffle(examples, 1)
    texts = [of.preprocess(e) for e in examples], [of.preprocess(e) for e in shuffled]
    assert [s for s, _ in texts[0]] == [s for s, _ in texts[1]]
    scores = of.evaluate([t for _, t in texts[1]], examples)
    # Equal to a label dealt at random: chance within 3.5 standard errors of 300 phrases.
    assert abs(scores[of.metric].score - of.chance) < 3.5 * scores[of.metric].stderr
    words = [Counter(" ".join(t for _, t in own).split()) for own in texts]
    for label in embedded.LABELS.values():
        assert words[1][label] == pytest.approx(words[0][label], rel=0.25)


@pytest.mark.parametrize("name", ["entity_type", "qa"])
def test_answering_the_same_always_scores_chance(name: str, languages) -> None:
    of = task(name)
    examples = of.source(languages, "urd", "test", 400, 0)
    same = {"entity_type": "<extra_id_0> UNIT", "qa": "CITY <extra_id_1> CITY"}[name]
    score = of.evaluate([same] * 400, examples)[of.metric]
    assert abs(score.score - of.chance) < 3.5 * score.stderr
