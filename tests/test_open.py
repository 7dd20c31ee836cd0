"""Models that know different languages: their text, its leaks, and the runs, on made-up files."""

from __future__ import annotations

import doctest
import hashlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from xltlib.data import text
from xltlib.data.cards import CARDS, VIEWS
from xltlib.tasks import public
from xltlib.tasks.public import plain_task
from xltlib.train import config, plan

INTENTS = VIEWS["massive_intent"].labels
LANGUAGES = {"en-US": "en", "sv-SE": "sv", "tr-TR": "tr"}
VERBS = ("wake", "play", "call", "turn", "show", "tell", "book", "send", "find", "stop")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small XLT_DATA: 200 utterances of each of three made-up languages."""
    root = tmp_path_factory.mktemp("tree")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_DATA", str(root))
        bare = replace(CARDS["massive"].source, checksums={})  # of made-up files nobody knows them
        patch.setitem(CARDS, "massive", replace(CARDS["massive"], source=bare))
        text.forget()
        for locale, code in LANGUAGES.items():
            write(root / "amazon-massive-dataset/1.1/data" / f"{locale}.jsonl", utterances(code))
        yield root
        text.forget()


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def utterances(code: str) -> list[str]:
    """Rows of MASSIVE: the verb says the intent, a number keeps texts apart."""
    rows = []
    for i in range(200):
        part = ("train", "train", "dev", "test")[i % 4]
        verb = i % 10
        said = f"{code}{VERBS[verb]} {code}the {code}{'abcdefghij'[i // 10 % 10]}x {code}now{i}"
        row = {"id": str(i), "partition": part, "intent": INTENTS[verb], "utt": said}
        rows.append(json.dumps({**row, "annot_utt": said}))
    return rows


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("module", [text, public])
def test_doctests(module) -> None:
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_lines_that_share_five_words_with_a_test_item_are_dropped() -> None:
    tests = ["Wake me up at nine, please!", "thank you"]
    lines = [
        "they wake me up at nine every day",
        "thank you",
        "wake me up at eight please",
        "i thank you for it",
    ]
    assert text.without(lines, tests) == lines[2:]


def test_a_planted_leak_does_not_reach_the_text_of_a_model(tree: Path) -> None:
    path = tree / "amazon-massive-dataset/1.1/data/tr-TR.jsonl"
    before, leak = path.read_text(), text.held_out(["massive_intent"], "tur")[0]
    planted = {**json.loads(before.splitlines()[0]), "id": "leak", "utt": f"trand so {leak} trthey"}
    text.forget()
    try:
        path.write_text(before + json.dumps(planted) + "\n")
        assert any(leak in line for line in text.utterances("tur"))
        read = text.read(["eng", "tur"], ["massive_intent"])
    finally:
        path.write_text(before)
        text.forget()
    held = set(text.held_out(["massive_intent"], "tur"))
    assert len(held) == 100 and not any(leak in line for line in read["tur"])
    assert not held & set(read["tur"])


def test_translations_stand_side_by_side_only_where_asked_for(tree: Path) -> None:
    plainly = text.read(["eng", "tur"], ["massive_intent"])
    paired = text.read(["eng", "tur"], ["massive_intent"], paired=True)
    assert not any("tr" in word[:2] for line in plainly["eng"] for word in line.split())
    for line in paired["eng"]:
        english, turkish = line.split()[:4], line.split()[4:]
        assert [w[2:] for w in english] == [w[2:] for w in turkish]


def test_every_language_has_all_utterances_line_by_line(tree: Path) -> None:
    read = text.read(["eng", "tur"], ["massive_intent"])
    ids = {code: {line.rsplit("now", 1)[1] for line in lines} for code, lines in read.items()}
    assert len(ids["eng"]) == 100 and ids["eng"] == ids["tur"]
    assert not any(word.startswith("tr") for line in read["eng"] for word in line.split())


def test_a_clone_shares_no_letter_and_every_distinction() -> None:
    lines = ["wake me up at 5", "weck mich um 5"]
    cloned = [text.written(t, "eng_Zzzz") for t in lines]
    assert not set("".join(lines)) & set("".join(cloned)) - {" "}
    assert [list(map(len, t.split())) for t in lines] == [list(map(len, t.split())) for t in cloned]
    assert len(set("".join(lines))) == len(set("".join(cloned)))


# ---------------------------------------------------------------- tasks and plans

OPEN = """
title: Two models, a dozen steps
languages: [eng, swe, tur, eng_Zzzz]
sources: [eng]
seeds: [0, 1]
text: {corpus: massive}
known:
  swe: {languages: [eng, swe]}
  clone: {languages: [eng, eng_Zzzz]}
model: {vocab_size: 150, d_model: 16, d_ff: 32, n_heads: 2, n_encoder: 1}
pretrain: {tokens: 1600, epochs: 2, batch: 8, max_length: 16, seeds: [0, 1]}
recipe: {steps: 6, batch: 8, evaluations: 1}
tasks:
  massive_intent: {scratch: {steps: 6}, train_items: 60, validation_items: 20, test_items: 20}
fewshot: {task: massive_intent, pairs: [[eng, swe]], n: [2, 4], steps: 2}
controls: {scratch: [eng], shuffled: [eng], ngram: [eng], fewshot: true}
"""


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> config.Experiment:
    path = tmp_path_factory.mktemp("experiments") / "small.yml"
    path.write_text(OPEN)
    return config.load(str(path))


def test_the_plan_has_a_model_for_every_set_and_seed(exp: config.Experiment) -> None:
    parts = {p.name: p for p in plan.parts(exp)}
    models = {"pretrain-swe-0", "pretrain-swe-1", "pretrain-clone-0", "pretrain-clone-1"}
    assert models <= parts.keys()
    assert set(parts["runs-swe"].needs) == {"pretrain-swe-0", "pretrain-swe-1"}
    assert parts["scratch-alone"].needs == ("vocabulary",)
    runs = plan.runs(exp)
    assert len({r.key for r in runs}) == len(runs)
    arms = {r.model for r in runs}
    assert arms == {
        "swe", "clone", "swe-alone", "clone-alone", "swe-shuffled",
        "tiny-scratch", "tiny-scratch-alone", "char-ngram",
    }  # fmt: skip
    assert {r.source for r in runs if r.model == "swe"} == {"eng"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("known.swe.languages=[eng, fin]", r"language in known.swe 'fin'|fin"),
        ("known.swe.languages=[eng, eng]", "different"),
        ("sources=[deu]", "deu"),
        ("tasks=[kind]", "massive_intent"),
        ("text.corpus=web", "massive"),
        ("pretrain.tokens=x", "tokens"),
    ],
)
def test_a_wrong_setting_is_named(exp, tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "small.yml"
    path.write_text(OPEN)
    with pytest.raises(ValueError, match=message):
        config.load(str(path), [change])


def test_the_plain_form_of_a_task(tree: Path) -> None:
    of = plain_task("massive_intent")
    (example,) = of.source(["eng"], "eng", "test", 1)
    source, target = of.preprocess(example)
    blank = "<extra_id_0>"
    assert source == f"{example.fields['text']} {blank}" and source == source.lower()
    assert target == f"{blank} {example.fields['label']}"
    assert of.evaluate([target], [example])["accuracy"].score == 1
    assert of.evaluate(["<extra_id_0> wake"], [example])["illegal"].score == 1
    with pytest.raises(ValueError, match="massive_slots"):
        plain_task("massive_slot")


# ---------------------------------------------------------------- runs


def test_every_model_spends_its_budget_on_its_languages_alike(exp, tree: Path) -> None:
    pytest.importorskip("torch")
    from xltlib.models.tiny import train_tokenizer
    from xltlib.train.pretrain import Sampler
    from xltlib.train.worker import text_of

    text = text_of(exp, "swe")
    tokenizer = train_tokenizer((x for own in text.values() for x in own), 150)
    recipe = replace(exp.pretrain, tokens=4800)  # many batches: the last of an epoch is not full
    share = recipe.tokens // (recipe.epochs * 2)
    assert all(
        sum(map(len, tokenizer(own, add_special_tokens=False)["input_ids"])) > share
        for own in text.values()
    )
    sampler = Sampler(text, tokenizer, recipe)
    assert all(share <= n < share + recipe.max_length for n in sampler.read.values())
    rng, read = np.random.default_rng(0), 0
    for _ in range(sampler.recipe.steps):
        if not sampler.queue:
            sampler.batch(rng)
            read += recipe.batch * sum(sampler.read.values()) / len(sampler.rows)
            continue
        read += sum(len(u) for i in sampler.queue.pop() for u in sampler.rows[i])
    assert abs(read / recipe.tokens - 1) < 0.06


def test_runs_of_models_that_know_different_languages(
    exp, tree: Path, tmp_path: Path, monkeypatch
) -> None:
    pytest.importorskip("torch")
    from rescored import recompute

    from xltlib import scores
    from xltlib.train.run import do_part

    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    for part in plan.parts(exp):
        do_part(exp, part.name)
    table = scores.read(plan.Place(exp).scores())
    assert set(table["model"]) == {r.model for r in plan.runs(exp)}
    zero = table[(table["n_target"] == 0) & (table["metric"] == "accuracy")]
    cloned = zero["target_set"] == "letters of its own"
    assert set(zero["target"]) == {"eng", "swe", "tur"} and set(zero.loc[cloned, "target"]) == {
        "eng"
    }
    floor = zero[(zero["model"] == "char-ngram") & (zero["target"] == "eng")]
    floor = floor.groupby("target_set")["score"].mean()
    assert (
        floor[""] > 0.8 and floor["letters of its own"] < 0.4
    )  # only a clone's letters are its own
    few = table[table["n_target"] > 0].groupby("model")["n_target"].agg(set)
    assert few.to_dict() == {
        a: {2, 4} for a in ("swe", "clone", "swe-alone", "clone-alone", "tiny-scratch",
                            "tiny-scratch-alone")
    }  # fmt: skip
    key = ["model", "target", "target_set", "n_target", "seed", "metric"]
    again = scores.check(recompute(exp)).set_index(key)["score"].sort_index()
    kept = table.set_index(key)["score"].sort_index()
    assert (
        hashlib.sha256(again.to_numpy().tobytes()).digest()
        == hashlib.sha256(kept.to_numpy().tobytes()).digest()
    )


def test_words_never_said_begin_like_any_other() -> None:
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    from xltlib.models.tiny import reset_outputs

    table = torch.nn.Parameter(torch.randn(50, 8, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        table[40:] -= 100.0
    before = table.detach().clone()
    tokenizer = SimpleNamespace(convert_tokens_to_ids=lambda words: [int(w) for w in words])
    model = SimpleNamespace(lm_head=SimpleNamespace(weight=table))
    reset_outputs(model, tokenizer, [str(i) for i in range(40, 50)], seed=0)
    assert torch.equal(table[:40], before[:40])  # what pre-training said stays
    assert (table[40:] - before[:40].mean(0)).abs().max() < 0.3
    assert table[40:].unique(dim=0).shape == (10, 8)  # and they are told apart


# ---------------------------------------------------------------- retrieval of translations


@pytest.fixture(scope="module")
def benchmark(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "open_benchmark", repository / "benchmarks/open.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_translations_are_retrieved_whatever_sets_the_languages_apart(
    benchmark: ModuleType,
) -> None:
    rng = np.random.default_rng(4)
    one, noise, shift = rng.normal(size=(200, 16)), rng.normal(size=(200, 16)), 50 * np.ones(16)
    assert benchmark.retrieved(one, 3 * one + shift) == 1.0
    assert benchmark.retrieved(one, one[::-1]) == 0.0
    assert benchmark.retrieved(one, noise + shift) < 0.03  # chance is 0.005
    near = benchmark.retrieved(one, one + noise)
    other = [(a - one.mean(0)) / np.linalg.norm(a - one.mean(0)) for a in one]
    scores = cosine_similarity(other, (one + noise) - (one + noise).mean(0))
    assert near == np.mean(scores.argmax(1) == np.arange(200))
