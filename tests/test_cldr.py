"""The embedded data: nothing of test leaks, nothing but the words gives a label away."""

from __future__ import annotations

import doctest
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from babel import Locale
from sklearn.ensemble import HistGradientBoostingClassifier

from xltlib.data import Example, cldr
from xltlib.tasks import TASKS
from xltlib.train import config

# One language a script: enough to meet every writing system, quick enough to draw hundreds.
FOUR = ("eng", "rus", "arb", "hin")


@pytest.fixture(scope="module")
def languages(repository) -> tuple[str, ...]:
    """Return the languages of the embedded experiment: names are divided over all of them."""
    path = repository / "experiments" / "embedded.yml"
    return config.load(str(path)).languages


def test_doctests() -> None:
    found = doctest.testmod(cldr)
    assert found.attempted >= 3 and found.failed == 0


# ---------------------------------------------------------------- clean


@pytest.mark.parametrize(
    "raw, wanted",
    [
        ("\u200e5\u00a0km\u200f", "5 km"),
        ("\u2067ab\u2069\u202bc", "abc"),
        ("1\u202f000", "1 000"),  # the narrow space of French numbers
        ("e\u0301", "é"),
        ("\u0958", "\u0915\u093c"),  # NFC takes the Devanagari qa apart; so must every comparison
        ("a\u00adb", "ab"),  # soft hyphen
        ("  a \t b ", "a b"),
        ("a\u200cb", "a\u200cb"),  # Persian's zero-width non-joiner is spelling, not a mark
        ("", ""),
    ],
)
def test_clean(raw: str, wanted: str) -> None:
    assert cldr.clean(raw) == wanted
    assert cldr.clean(wanted) == wanted


def test_names_are_clean_and_usable(languages) -> None:
    table = cldr.names(languages)
    assert (table["name"].map(cldr.clean) == table["name"]).all()
    assert table["name"].str.len().between(3, 40).all()
    assert not table["name"].str.contains(r"[0-9(),:;]").any()
    assert not table.duplicated(["language", "name"]).any()
    assert set(table["kind"]) == set(cldr.KINDS)
    # An untranslated name in a language that does not write Latin would be a shortcut.
    other = table[~table["language"].isin(["eng", "deu", "hrv", "tur"])]
    assert not other["name"].map(str.isascii).any()


def test_every_language_has_every_kind_in_every_split(languages) -> None:
    sizes = cldr.names(languages).groupby(["language", "kind", "split"]).size()
    assert len(sizes) == len(languages) * len(cldr.KINDS) * len(cldr.SPLITS)
    assert sizes.xs("train", level="split").min() >= 10
    assert sizes.xs("test", level="split").min() >= 10


@pytest.mark.parametrize("split", cldr.SPLITS)
def test_every_kind_is_drawn_in_every_language_and_split(split: str, languages) -> None:
    """Too few names of matching shape, and a label silently goes missing."""
    missing = {}
    for code in languages:
        drawn = TASKS["entity_type"].source(languages, code, split, 80, 0)
        shares = Counter(e.fields["label"] for e in drawn)
        missing[code] = [kind for kind in cldr.KINDS if shares[kind] < 10]  # of 20
    assert not {code: kinds for code, kinds in missing.items() if kinds}


# ---------------------------------------------------------------- splits


def test_a_name_is_in_the_same_split_in_every_language(languages) -> None:
    table = cldr.names(languages)
    assert (table.groupby(["kind", "id"])["split"].nunique() == 1).all()


def test_no_spelling_is_in_two_splits_of_any_language(languages) -> None:
    table = cldr.names(languages)
    spelt = {split: set(own.str.casefold()) for split, own in table.groupby("split")["name"]}
    assert set(spelt) == set(cldr.SPLITS)
    for one, two in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not spelt[one] & spelt[two]


def test_a_spelling_has_one_kind_in_a_language(languages) -> None:
    table = cldr.names(languages)
    kinds = table.assign(name=table["name"].str.casefold()).groupby(["language", "name"])["kind"]
    assert (kinds.nunique() == 1).all()


@pytest.mark.parametrize("code", FOUR)
def test_names_and_numbers_of_drawn_phrases_are_of_their_split(code: str, languages) -> None:
    labelled, numbers = {}, {}
    for split in cldr.SPLITS:
        found = cldr.phrases(languages, code, split, 120, kinds="distinct", size=(3, 3))
        labelled[split] = {e.name.casefold() for p in found for e in p.elements}
        numbers[split] = {
            word.strip(",():")
            for p in found
            for i, word in enumerate(p.words)
            if any(map(str.isdigit, word)) and not any(e.start <= i < e.stop for e in p.elements)
        }
        assert len(labelled[split]) > 10 and len(numbers[split]) > 5
    for one, two in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not labelled[one] & labelled[two]
        assert not numbers[one] & numbers[two]


def test_a_split_is_a_stable_hash_in_the_announced_shares() -> None:
    table = cldr.names(("eng",)).sort_values(["kind", "id"])
    for split, share in {"train": 0.38, "validation": 0.22, "test": 0.40}.items():
        drawn = (table["split"] == split).mean()  # three standard errors
        assert abs(drawn - share) < 3 * (share * (1 - share) / len(table)) ** 0.5
    # pinned: another hash would deal all names anew, and old test names would have been trained on
    first = "".join(split[:2] for split in table.loc[table["kind"] == "territory", "split"][:20])
    assert first == "vatetetetevavatetrvavavatrvatetevavatrte"


@pytest.mark.parametrize("kind", cldr.KINDS)
def test_cues_of_test_are_never_asked_in_training(kind: str) -> None:
    asked: dict[str, set[str]] = {}
    for split in cldr.SPLITS:
        found = cldr.phrases(FOUR, "eng", split, 400, kinds="distinct", size=(4, 4))
        cues = cldr.questions("eng", split, found)
        asked[split] = {cue for cue, element in cues if element.kind == kind}
    assert all(len(own) >= 5 for own in asked.values())
    assert not asked["train"] & asked["test"]
    assert not asked["validation"] & asked["test"]


# ---------------------------------------------------------------- text


def test_lines_are_deterministic_clean_and_all_languages_have_them(languages) -> None:
    for code in languages:
        drawn = cldr.lines(code, 60)
        assert drawn == cldr.lines(code, 60)
        assert drawn[:20] == cldr.lines(code, 20)  # more lines do not change the first ones
        assert all(drawn)
        assert len(set(drawn)) > 45
        assert not any("{" in line or "None" in line for line in drawn)
    assert cldr.lines("eng", 20, seed=1) != cldr.lines("eng", 20)


def test_lines_are_clean(languages) -> None:
    """A mark of direction in the text only would split what the labelled phrases have whole."""
    for code in languages:
        drawn = cldr.lines(code, 300)
        assert drawn == [cldr.clean(line) for line in drawn], code


def test_lines_are_in_the_language_s_own_script() -> None:
    script = {"eng": "LATIN", "rus": "CYRILLIC", "arb": "ARABIC", "hin": "DEVANAGARI"}
    for code, name in script.items():
        letters = [c for line in cldr.lines(code, 200) for c in line if c.isalpha()]
        own = sum(unicodedata.name(c, "").startswith(name) for c in letters)
        assert own / len(letters) > 0.97  # a few currencies and zones keep a Latin letter


def test_any_code_form_gives_the_same_language() -> None:
    for form in ("de", "deu", "deu_Latn", "German"):
        assert cldr.lines(form, 5) == cldr.lines("deu", 5)


@pytest.mark.parametrize("parts", [["A"], ["A", "B"], ["A", "B", "C"], ["A", "B", "C", "D"]])
@pytest.mark.parametrize("code", ["en", "hi", "ar", "tr"])
def test_join_is_babel_s_format_list(code: str, parts: list[str]) -> None:
    from babel.lists import format_list

    assert cldr.join(Locale.parse(code), parts) == format_list(parts, locale=code)


# ---------------------------------------------------------------- phrases


@pytest.mark.parametrize("kinds", ["same", "distinct"])
def test_phrases(kinds, languages) -> None:
    for code in languages:
        found = cldr.phrases(languages, code, "test", 60, kinds=kinds, size=(3, 4))
        assert len({p.text for p in found}) == 60
        assert found == cldr.phrases(languages, code, "test", 60, kinds=kinds, size=(3, 4))
        for phrase in found:
            assert len(phrase.words) <= cldr.MAX_WORDS
            assert phrase.text == cldr.clean(phrase.text)
            assert {e.kind for e in phrase.elements} <= set(cldr.KINDS)
            n_kinds = len({e.kind for e in phrase.elements})
            assert n_kinds == (1 if kinds == "same" else len(phrase.elements))
            assert len({(e.kind, e.id) for e in phrase.elements}) == len(phrase.elements)
            assert 3 <= len(phrase.elements) <= 4


@pytest.mark.parametrize("code", FOUR)
def test_a_span_s_words_are_its_name(code: str, languages) -> None:
    for phrase in cldr.phrases(languages, code, "train", 150, kinds="distinct", size=(2, 4)):
        at = 0
        for element in phrase.elements:
            assert at <= element.start < element.stop <= len(phrase.words)
            at = element.stop
            covered = " ".join(phrase.words[element.start : element.stop])
            assert element.name in covered
            # What else sticks to the name is punctuation or a joined 'and' (Arabic), never a word.
            assert len(covered) - len(element.name) <= 3


def test_kinds_come_in_equal_shares(languages) -> None:
    found = cldr.phrases(languages, "eng", "train", 200, kinds="same", size=(3, 3))
    assert Counter(p.elements[0].kind for p in found).most_common()[-1][1] >= 40


def test_seeds_draw_other_phrases(languages) -> None:
    def draw(seed: int) -> set[str]:
        found = cldr.phrases(languages, "deu", "train", 80, kinds="same", size=(3, 3), seed=seed)
        return {p.text for p in found}

    assert len(draw(0) & draw(1)) < 8


def test_other_languages_in_the_experiment_only_take_names_away() -> None:
    few, more = cldr.names(("eng", "deu")), cldr.names(("eng", "deu", "tur"))
    both = few.merge(more[more["language"] != "tur"], how="outer", indicator=True)
    assert "right_only" not in set(both["_merge"])
    alone, among = cldr.vocabulary(["deu"]), cldr.vocabulary(["eng", "deu", "nld"])
    assert alone["deu"] == among["deu"] and len(among["deu"]) > 250


# ---------------------------------------------------------------- what shape alone gives away


def shape(text: str) -> list[float]:
    """Return lengths, words and punctuation of a text: all that is not its letters."""
    lengths = [len(word) for word in text.split()]
    signs = [text.count(sign) for sign in ",،:()–-'"]
    return [len(text), len(lengths), float(np.mean(lengths)), max(lengths), *lengths[:1], *signs]


def near(words: Sequence[str], start: int, stop: int) -> list[float]:
    """Return shape and place of the words `start` to `stop`, and whether a number is beside."""
    beside = [words[i] if 0 <= i < len(words) else "" for i in (start - 1, stop)]
    place = [start, len(words) - stop, *(word.isdigit() for word in beside)]
    return [*shape(" ".join(words[start:stop])), *map(float, place)]


def kind_rows(examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    rows = [shape(e.fields["text"]) for e in examples]
    return np.array(rows), np.array([e.fields["label"] for e in examples])


def spans_rows(examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    named = [(e.fields["words"], *span) for e in examples for span in e.fields["spans"]]
    rows = [near(words, start, stop) for words, start, stop, _ in named]
    return np.array(rows), np.array([kind for *_, kind in named])


ROWS: dict[str, Callable[[Sequence[Example]], tuple[np.ndarray, np.ndarray]]]
ROWS = {"entity_type": kind_rows, "ner": spans_rows}


def drawn(task: str, split: str, n: int, languages) -> list[Example]:
    return [e for code in FOUR for e in TASKS[task].source(languages, code, split, n, 0)]


@pytest.mark.parametrize("task", ROWS)
def test_shape_alone_is_near_chance(task: str, languages) -> None:
    rows, labels = ROWS[task](drawn(task, "train", 250, languages))
    unseen, wanted = ROWS[task](drawn(task, "test", 200, languages))
    judge = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(rows, labels)
    assert judge.score(rows, labels) > 0.4  # it can learn; there is nothing that carries over
    # Four kinds in equal shares; 0.06 is three standard errors of 800 phrases, or more names.
    assert abs(judge.score(unseen, wanted) - 0.25) < 0.06


def test_shape_alone_is_near_chance_at_finding(languages) -> None:
    """The form of the question (a time, a share) beside the shape of each name in the context."""

    def rows(split: str, n: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
        features, right = [], []
        asked = drawn("qa", split, n, languages)
        for example in asked:
            cue, words = example.fields["question"], example.fields["words"]
            form = [float(len(cue)), ":" in cue, "%" in cue or "٪" in cue]
            for i, (start, stop, _) in enumerate(example.fields["spans"]):
                features.append([*form, float(i), *near(words, start, stop)])
                right.append(i == example.fields["answer"])
        return np.array(features), np.array(right), [len(e.fields["spans"]) for e in asked]

    features, right, _ = rows("train", 250)
    judge = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(features, right)
    unseen, wanted, sizes = rows("test", 200)
    likely, at, hits = judge.predict_proba(unseen)[:, 1], 0, 0
    for size in sizes:
        hits += wanted[at + int(likely[at : at + size].argmax())]
        at += size
    guess = float(np.mean([1 / size for size in sizes]))
    assert guess == pytest.approx(TASKS["qa"].chance)
    assert abs(hits / len(sizes) - guess) < 0.06  # 3.5 standard errors of 800 questions


# ---------------------------------------------------------------- errors


def test_a_language_without_data_is_named_with_the_cure() -> None:
    with pytest.raises(ValueError, match="language"):
        cldr.lines("klingonese", 1)
    with pytest.raises(ValueError, match=r"no data for 'bcl' \(Bikol\): choose a language"):
        cldr.lines("bcl", 1)


def test_unknown_split_names_the_three(languages) -> None:
    with pytest.raises(ValueError, match="Did you mean 'test'.*Allowed: test, train, validation"):
        cldr.phrases(languages, "eng", "tests", 3, kinds="same")  # type: ignore[arg-type]


def test_asking_for_more_phrases_than_there_are_says_how_many(languages, monkeypatch) -> None:
    table = cldr.names(languages)
    few = table[table["id"].isin(one_id_of_each_kind(table))]
    monkeypatch.setattr(cldr, "names", lambda languages: few)
    with pytest.raises(ValueError, match=r"only \d+ different phrases, not 500; ask for fewer"):
        cldr.phrases(languages, "eng", "test", 500, kinds="same", size=(1, 1))


def one_id_of_each_kind(table) -> list[str]:
    """Return one id of each kind whose English test names share a shape."""
    own = table[(table["language"] == "eng") & (table["split"] == "test")]
    own = own.assign(shape=[(min(n.count(" "), 2), len(n) // 4) for n in own["name"]])
    common = own.groupby("shape")["kind"].nunique()
    chosen = own[own["shape"] == common[common == len(cldr.KINDS)].index[0]]
    return list(chosen.groupby("kind")["id"].first())


def test_names_that_share_no_length_are_refused(languages, monkeypatch) -> None:
    table = cldr.names(languages)
    monkeypatch.setattr(cldr, "names", lambda languages: table[table["kind"] != "unit"])
    with pytest.raises(ValueError, match="too few CLDR names. Choose another language"):
        cldr.phrases(languages, "eng", "test", 5, kinds="same")


def test_the_kinds_of_a_spans_example_all_differ(languages) -> None:
    for example in TASKS["ner"].source(languages, "mar", "test", 40, 0):
        kinds = [kind for *_, kind in example.fields["spans"]]
        assert len(set(kinds)) == len(kinds)


def test_a_language_is_the_same_whatever_was_read_before() -> None:
    code = (
        "import sys; from xltlib.data import cldr; "
        "[cldr.lines(c, 5) for c in sys.argv[1:]]; print(cldr.lines('mar', 400))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, *before], capture_output=True, text=True, check=True
        ).stdout
        for before in ([], ["urd"], ["urd", "hin", "eng"])
    }
    assert len(said) == 1
