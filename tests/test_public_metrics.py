"""Forms and metrics of the public tasks: exact texts, hard cases, outside implementations."""

from __future__ import annotations

import doctest
import itertools
import json
import math
import random
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from test_chapters import cell

from xltlib.book.words import label_of
from xltlib.data import datasets
from xltlib.data.cards import VIEWS
from xltlib.data.datasets import samples
from xltlib.tasks import base, metrics, public
from xltlib.tasks.base import Example
from xltlib.tasks.public import PUBLIC, public_task
from xltlib.train.probe import baseline

ONE_OF_EACH = {
    "xnli": (
        {"premise": "He left.", "hypothesis": "He  stayed.", "label": "contradiction"},
        "xnli: premise: He left. hypothesis: He  stayed.",
        "2",
    ),
    "pawsx": (
        {"sentence1": "A b.", "sentence2": "B a.", "label": "paraphrase"},
        "paws sentence1: A b. sentence2: B a.",
        "paraphrase",
    ),
    "wikiann": (
        {
            "words": ("rick", "and", "morty", "are", "cool", "."),
            "tags": ("B-PER", "O") * 2 + ("O",) * 2,
        },
        "tag: rick and morty are cool .",
        "PER: rick $$ PER: morty",
    ),
    "masakhaner": (
        {"words": ("Leo", "Jumatatu", "tarehe", "5"), "tags": ("O", "B-DATE", "I-DATE", "I-DATE")},
        "tag: Leo Jumatatu tarehe 5",
        "DATE: Jumatatu tarehe 5",
    ),
    "tydiqa": (
        {"question": "Où est-ce?", "context": "À  Oslo, «là».", "answers": ("Oslo", "À  Oslo")},
        "question: Où est - ce ? context: À Oslo , « là » . ",
        "Oslo",
    ),
    "xquad": (
        {
            "question": "Who reigned in 1882?",
            "context": "Queen Victoria's reign: (1837-1899).",
            "answers": ("Queen Victoria's", "Victoria"),
        },
        "question: Who reigned in 1882 ? context: Queen Victoria ' s reign : ( 1837 - 1899 ) . ",
        "Queen Victoria ' s",
    ),
    "squad": (
        {"question": "How old?", "context": "He is 5-6.", "answers": ("5-6",)},
        "question: How old ? context: He is 5 - 6 . ",
        "5 - 6",
    ),
    "mlqa": (
        {"question": "在哪里？", "context": "在北京。", "answers": ("北京",)},
        "question: 在哪里 ？ context: 在北京 。 ",
        "北京",
    ),
    "sib200": (
        {"text": "The team won.", "label": "science/technology"},
        "topic: The team won.",
        "science/technology",
    ),
    "massive_intent": (
        {"text": "wake me at five", "label": "alarm_set"},
        "intent: wake me at five",
        "alarm_set",
    ),
    "massive_slots": (
        {"words": ("at", "five", "am", "now"), "tags": ("O", "B-time", "I-time", "B-date")},
        "slots: <extra_id_0> at <extra_id_1> five <extra_id_2> am <extra_id_3> now",
        "<extra_id_0> O <extra_id_1> time <extra_id_2> I <extra_id_3> date",
    ),
    "massive_qa": (
        {"question": "What is the time zone?", "context": "at 5", "answers": ("5",)},
        "question: What is the time zone ? context: at 5",
        "5",
    ),
    "udpos": (
        {"words": ("It", "rains"), "tags": ("PRON", "VERB")},
        "pos: <extra_id_0> It <extra_id_1> rains",
        "<extra_id_0> PRON <extra_id_1> VERB",
    ),
}
ONE_OF_EACH["udpos_dev"] = ONE_OF_EACH["udpos"]


def example(task: str) -> Example:
    language = "cmn" if task == "mlqa" else "eng"
    return Example("1", language, ONE_OF_EACH[task][0])


@pytest.mark.parametrize("module", [metrics, base, public])
def test_doctests(module) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0 and (found.attempted or module is public)


def test_every_task_is_tried_here() -> None:
    assert set(ONE_OF_EACH) == set(PUBLIC) == set(VIEWS)


@pytest.mark.parametrize("task", ONE_OF_EACH)
def test_texts_are_exact_and_read_back(task: str) -> None:
    of, one = PUBLIC[task], example(task)
    assert of.preprocess(one) == ONE_OF_EACH[task][1:]
    scores = of.evaluate([of.preprocess(one)[1]], [one])
    assert {name: s.score for name, s in scores.items()} == {
        **dict.fromkeys(of.metrics, 1.0),
        "illegal": 0.0,
    }


@pytest.mark.parametrize("task", ONE_OF_EACH)
@pytest.mark.parametrize("output", ["", "<extra_id_0>", "<extra_id_0> nonsense : $$ x", "$$", "0"])
def test_wrong_outputs_score_nothing(task: str, output: str) -> None:
    of, one = PUBLIC[task], example(task)
    scores = of.evaluate([output], [one])
    assert all(scores[name].score == 0.0 for name in of.metrics)
    entity_free = task in ("wikiann", "masakhaner") and output == ""
    other_label = task == "xnli" and output == "0"
    assert scores["illegal"].score == (0.0 if entity_free or other_label else 1.0)


@pytest.mark.parametrize("task", ONE_OF_EACH)
def test_shuffled_labels_keep_inputs(task: str) -> None:
    of = PUBLIC[task]
    many = [Example(str(i), "eng", ONE_OF_EACH[task][0]) for i in range(4)]
    if of.labels and VIEWS[task].kind == "choice":
        labels = VIEWS[task].labels
        many = [
            Example(e.id, "eng", {**e.fields, "label": labels[i % 2]}) for i, e in enumerate(many)
        ]
    dealt = of.shuffle(many, 3)
    assert [of.preprocess(e)[0] for e in dealt] == [of.preprocess(e)[0] for e in many]
    if of.labels:
        targets = [sorted(of.preprocess(e)[1] for e in some) for some in (many, dealt)]
        words = [sorted(" ".join(t).replace("$$", "").split()) for t in targets]
        assert len(words[0]) == len(words[1])
    if VIEWS[task].kind == "choice":
        assert targets[0] == targets[1]


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown public task 'xnly'.*'xnli'"):
        public_task("xnly")


def test_labels_are_read_up_to_unicode_form() -> None:
    one = example("xnli")
    assert PUBLIC["xnli"].postprocess(" ２ ", one) == "contradiction"  # full-width digit
    assert PUBLIC["xnli"].postprocess("3", one) is None


# ---------------------------------------------------------------- padding


PADDED = [
    ("François—1882?", "François — 1882 ? "),
    ("ไทย ๒๕๖๓ฯ", "ไทย ๒๕๖๓ฯ"),  # vowel signs are marks, ฯ is a letter
    ("1,5 %", "1 , 5 % "),
    ("a_b\tc\n\nd", "a_b c d"),
    ("non\u00a0breaking", "non \u00a0 breaking"),  # RE2's \s is ASCII
    ("北京，中国。", "北京 ， 中国 。 "),
    ("", ""),
]


def padding(raw: str) -> str:
    fields = {"question": "", "context": "", "answers": [raw]}
    return PUBLIC["xquad"].preprocess(Example("1", "eng", fields))[1]


@pytest.mark.parametrize(("raw", "padded"), PADDED)
def test_padding(raw: str, padded: str) -> None:
    assert padding(raw) == padded


def test_padding_agrees_with_the_published_pattern() -> None:
    """The pattern of mT5's repository, run by another regular-expression engine."""
    regex = pytest.importorskip("regex")
    space = r"[\t\n\f\r ]"
    rng = random.Random(0)
    assigned = [c for c in map(chr, range(1, 0xD800)) if unicodedata.category(c) != "Cn"]
    for _ in range(300):
        raw = "".join(rng.choices(assigned, k=30)) + " . ,  _"
        theirs = regex.sub(r"([^_\t\n\f\r \p{N}\p{L}\p{M}])", r" \1 ", raw)
        assert padding(raw) == regex.sub(f"{space}+", " ", theirs)


def test_the_example_of_mt5s_own_test() -> None:
    fields = {
        "question": "Whose portrait by François Clouet was included in the Jones bequest of 1882?",
        "context": "Some context.",
        "answers": ("The answer.", "Another answer."),
    }
    one = Example("123", "eng", fields)
    assert PUBLIC["xquad"].preprocess(one) == (
        "question: Whose portrait by François Clouet was included in the Jones bequest of 1882 ? "
        "context: Some context . ",
        "The answer . ",
    )
    other = Example("123", "eng", {**fields, "answers": ("Another answer.",)})
    assert PUBLIC["xquad"].preprocess(other)[1] == "Another answer . "


# ---------------------------------------------------------------- SQuAD


SQUAD = [  # said, answers, exact match, F1: worked out by hand from the published rules
    ("the Cat", ["cat"], 1, 1),
    ("a cat sat", ["cat", "cat sat down"], 0, 2 * 2 / (2 + 3)),
    ("", ["cat"], 0, 0),
    ("", [], 1, 1),  # no answer, nothing said
    ("cat", [], 0, 0),
    ("the", ["an"], 1, 0),  # nothing left of either: equal, but no common token
    ("ca fe", ["cafe"], 0, 0),
    ("cafe\u0301", ["caf\u00e9"], 0, 0),  # not normalised: Unicode forms differ
    ("$5.50", ["550"], 1, 1),
    ("北京市", ["北京"], 0, 0),  # one token each
    ("กรุงเทพ", ["กรุงเทพ"], 1, 1),
    ("«Oslo»", ["Oslo"], 0, 0),  # only ASCII punctuation goes
    ("x x y", ["x y y"], 0, 2 / 3),
]


@pytest.mark.parametrize(("said", "answers", "exact", "f1"), SQUAD)
def test_squad_rules(said: str, answers: list[str], exact: float, f1: float) -> None:
    gold = [metrics.normalize_squad(a) for a in answers]
    out = metrics.normalize_squad(said)
    assert metrics.exact_match(out, gold) == (exact, 1.0)
    assert metrics.token_f1(out, gold) == (pytest.approx(f1), 1.0)


def test_squad_normalisation_does_nothing_between_words() -> None:
    assert metrics.normalize_squad("The  theatre, an an-swer") == "theatre answer"


# ---------------------------------------------------------------- MLQA


MLQA = [  # language, said, answer, exact match, F1: worked out by hand from the published rules
    ("zh", "北京市", "北京", 0, 2 * 2 / (3 + 2)),  # Han one by one
    ("zh", "北京，", "北京", 1, 1),
    ("zh", "NBA 联盟", "nba联盟", 1, 1),
    ("de", "der «Hund»", "Hund", 1, 1),
    ("de", "dem Hund", "the Hund", 0, 2 / 3),  # German articles only
    ("es", "una casa", "la casa", 1, 1),
    ("vi", "những con mèo", "con mèo", 1, 1),
    ("ar", "الكتاب", "كتاب", 1, 1),
    ("ar", "كتاب،", "كتاب", 1, 1),
    ("hi", "किताब।", "किताब", 1, 1),
    ("en", "the 'cat'", "cat", 1, 1),
    ("en", "", "cat", 0, 0),
]


@pytest.mark.parametrize(("code", "said", "answer", "exact", "f1"), MLQA)
def test_mlqa_rules(code: str, said: str, answer: str, exact: float, f1: float) -> None:
    gold, out = metrics.normalize_mlqa(answer, code), metrics.normalize_mlqa(said, code)
    assert metrics.exact_match(out, [gold]) == (exact, 1.0)
    assert metrics.token_f1(out, [gold]) == (pytest.approx(f1), 1.0)


def test_mlqa_knows_seven_languages() -> None:
    with pytest.raises(ValueError, match="language of MLQA's metric 'th'.*SQuAD's rules"):
        metrics.normalize_mlqa("x", "th")
    for code in ("arb", "cmn", "deu", "eng", "hin", "spa", "vie"):
        one = Example("1", code, ONE_OF_EACH["mlqa"][0])
        assert PUBLIC["mlqa"].evaluate(["北京"], [one])["exact_match"].score == 1.0


def test_mlqa_task_uses_the_language_of_the_example() -> None:
    fields = {"question": "q", "context": "在北京市。", "answers": ("北京",)}
    scores = [
        PUBLIC[task].evaluate(["北京市"], [Example("1", "cmn", fields)])["f1"].score
        for task in ("mlqa", "xquad")
    ]
    assert scores == [pytest.approx(0.8), 0.0]


# ---------------------------------------------------------------- entities


ENTITIES = [  # said, gold, mT5's F1
    ("PER: rick $$ PER: morty", "PER: morty $$ PER: rick", 1.0),  # order does not count
    ("PER: rick $$ PER: rick", "PER: rick", 2 / 3),  # each gold entity once
    ("ORG: Star Trek: TNG", "ORG: Star Trek: TNG", 0.0),  # a colon: passed over on both sides
    ("PER: rick $$ ORG: Star Trek: TNG", "PER: rick", 1.0),
    ("PER:rick$$LOC: x", "PER: rick", 0.0),  # one part with two colons
    ("PER: A $$ B", "PER: A $$ B", 1.0),  # `B` without a type is passed over
    ("", "", 0.0),
    ("None", "", 0.0),
    ("LOC: rick", "PER: rick", 0.0),
    ("PER : rick ", "PER: rick", 1.0),
]


@pytest.mark.parametrize(("said", "gold", "f1"), ENTITIES)
def test_mt5_span_f1(said: str, gold: str, f1: float) -> None:
    top, bottom = metrics.entity_f1(said, gold)
    assert top == pytest.approx(f1 * bottom)


def test_place_f1_keeps_entities_with_colons() -> None:
    fields = {"words": ("Trek:", "TNG", "$$", "x"), "tags": ("B-ORG", "I-ORG", "O", "B-PER")}
    one = Example("1", "eng", fields)
    of = PUBLIC["wikiann"]
    scores = of.evaluate([of.preprocess(one)[1]], [one])
    assert scores["place_f1"].score == 1.0
    assert scores["span_f1"].score == 1.0  # of the one entity that mT5's metric sees
    assert of.evaluate(["ORG: Trek: TNG"], [one])["span_f1"].score == 0.0


def test_nothing_to_find_is_zero_not_an_error() -> None:
    one = Example("1", "eng", {"words": ("a",), "tags": ("O",)})
    scores = PUBLIC["wikiann"].evaluate([""], [one])
    assert scores["span_f1"].score == 0.0 and scores["illegal"].score == 0.0


def tags_at_random(rng: random.Random, n: int) -> list[str]:
    return [rng.choice(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]) for _ in range(n)]


def test_spans_agree_with_seqeval() -> None:
    """Places, types, stray I- tags and the micro F1, on random and on broken tags."""
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    rng = random.Random(1)
    gold = [tags_at_random(rng, rng.randrange(1, 12)) for _ in range(200)]
    said = [tags_at_random(rng, len(tags)) for tags in gold]
    for tags in gold:
        theirs = {(a, b + 1, kind) for kind, a, b in labelling.get_entities(tags)}
        assert set(metrics.spans_of(tags)) == theirs
    pairs = [
        metrics.span_f1(metrics.spans_of(s), metrics.spans_of(g))
        for s, g in zip(said, gold, strict=True)
    ]
    ours = sum(p[0] for p in pairs) / sum(p[1] for p in pairs)
    assert ours == pytest.approx(labelling.f1_score(gold, said))


def test_words_beyond_the_hundredth_count_as_wrong() -> None:
    n = base.MAX_WORDS + 25
    one = Example("1", "eng", {"words": ("w",) * n, "tags": ("NOUN",) * n})
    of = PUBLIC["udpos"]
    shown, target = of.preprocess(one)
    assert "<extra_id_99>" in shown and "<extra_id_100>" not in shown
    assert of.evaluate([target], [one])["accuracy"].score == pytest.approx(100 / n)


def test_standard_error_is_of_the_mean_over_examples() -> None:
    one = example("sib200")
    scores = PUBLIC["sib200"].evaluate(["sports", "science/technology"] * 8, [one] * 16)
    assert scores["accuracy"].score == 0.5
    assert scores["accuracy"].stderr == pytest.approx(math.sqrt(0.25 / 15))


# ---------------------------------------------------------------- made-up examples


def test_every_task_has_examples_that_it_would_accept(tmp_path: Path) -> None:
    assert set(VIEWS) == set(public.PUBLIC)
    for name, view in VIEWS.items():
        for e in samples(name):
            path = tmp_path / f"{name}-{e.id}.jsonl"
            path.write_text(json.dumps({**e.fields, "id": e.id}), encoding="utf-8")
            own = datasets.own_files(name, {e.language: {"test": {"path": str(path)}}})
            (found,) = datasets.load(name, e.language, "test", own=own).examples
            assert found.fields == e.fields
            of = PUBLIC[name]
            scores = of.evaluate([of.preprocess(e)[1]], [e])
            assert scores["illegal"].score == 0.0, name
            named = view.kind != "tags" or set(e.fields["tags"]) != {"O"}
            assert scores[of.metric].score == float(named), name  # no entity: nothing to count


def test_the_docstring_shows_what_the_code_makes() -> None:
    said = " ".join((public.__doc__ or "").split())
    for name in ("sib200", "massive_intent", "massive_slots", "massive_qa", "udpos"):
        source, target = PUBLIC[name].preprocess(samples(name)[0])
        assert f"``{source}`` -> ``{target}``" in said, name


def test_outputs_are_judged_as_their_notes_say() -> None:
    namespace = {"pd": pd, "public_task": public_task, "VIEWS": VIEWS, "datasets": datasets}
    namespace["label_of"] = label_of
    judged = cell("17", "def judged", **namespace)["judged"]
    table = pd.concat(map(judged, VIEWS)).set_index("note")
    assert table.loc["another form of the digit: NFKC makes it 2", "scores"] == "accuracy 1.00"
    assert table.loc["a type that does not exist", "legal"] == "no"
    chinese = table[table["output"] == "在上海"].set_index("task")["scores"]
    assert chinese[label_of("xquad")].startswith(f"{label_of('f1')} 0.00")
    assert chinese[label_of("mlqa")].startswith(f"{label_of('f1')} 0.80")


@pytest.mark.parametrize(
    ("task", "tags"),
    [
        ("masakhaner", ("B-PER", "O", "O", "B-LOC")),
        ("udpos_dev", ("PROPN", "VERB", "ADP", "PROPN")),
    ],
)
def test_the_baseline_of_n_grams_answers_in_the_form_of_its_task(task: str, tags: tuple) -> None:
    ends = itertools.product(("Leo", "Asha"), ("Moshi", "Tanga"))
    words = [(name, "aliishi", "mjini", place) for name, place in ends]
    train = [Example(str(i), "swh", {"words": w, "tags": tags}) for i, w in enumerate(words * 3)]
    found = public_task(task).evaluate(baseline(public_task(task), train, 0)(train), train)
    wanted = dict.fromkeys(public_task(task).metrics, 1.0) | {"illegal": 0.0}
    assert {metric: score.score for metric, score in found.items()} == wanted
    with pytest.raises(ValueError, match="xquad has no baseline of n-grams"):
        baseline(public_task("xquad"), [], 0)
