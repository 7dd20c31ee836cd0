"""Any checkpoint: load, tune, answer; on a tiny mT5 whose vocabulary is trained here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import hubcache  # noqa: E402

from xltlib.tasks.base import Example  # noqa: E402
from xltlib.tasks.forms import read_numbered  # noqa: E402
from xltlib.tasks.public import PUBLIC  # noqa: E402
from xltlib.train import seq2seq  # noqa: E402
from xltlib.train.recipes import Seq2SeqRecipe  # noqa: E402

QUICK = Seq2SeqRecipe(steps=4, evaluations=1, tokens=400, micro_tokens=400, dropout=0.0)
TOPICS, KINDS = ("sports", "travel"), ("B-PER", "B-LOC")
TEXTS = [f"{a} {b} {c}" for a in ("red", "blue") for b in ("cat", "dog") for c in ("runs", "sat")]


def topics(n: int) -> list[Example]:
    return [
        Example(str(i), "eng", {"text": TEXTS[i % 8], "label": TOPICS[i % 8 < 4]}) for i in range(n)
    ]


def make_tokenizer(sentinels: int = 100) -> Any:
    """A SentencePiece vocabulary of a few dozen pieces."""
    words = [" ".join(labels) for labels in (of.labels for of in PUBLIC.values()) if labels]
    texts = [*TEXTS, *words, "topic pos slots question context premise", "PER: $$ LOC:"]
    return hubcache.vocabulary(texts * 3, sentinels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint: a random mT5 of two and two layers."""
    return hubcache.tiny_mt5(tmp_path_factory.mktemp("mt5"), make_tokenizer())


def test_loading_keeps_what_was_saved(folder: Path) -> None:
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    assert model.config.model_type == "mt5" and model.dtype == torch.float32
    assert model.config.dropout_rate == 0.0
    assert not torch.equal(model.lm_head.weight, model.shared.weight)  # mT5 does not tie
    assert not model.config.tie_word_embeddings
    seq2seq.check_sentinels(["<extra_id_0> a"], tokenizer)


def test_loss_is_the_models_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seq2seq, "CHUNK", 3)
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    model.eval()
    source = seq2seq.pad([tokenizer(t)["input_ids"] for t in ("red cat", "dog sat red")], 0, CPU)
    labels = seq2seq.pad([tokenizer(t)["input_ids"] for t in ("sports", "x")], -100, CPU)
    ours = seq2seq.summed_loss(model, source, labels, 0)
    theirs = model(input_ids=source, attention_mask=source != 0, labels=labels).loss
    torch.testing.assert_close(ours / (labels != -100).sum(), theirs)
    ours.backward()
    mine = [w.grad.clone() for w in model.parameters()]
    model.zero_grad()
    (theirs * (labels != -100).sum()).backward()
    for one, other in zip(mine, model.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, atol=1e-4, rtol=1e-3)


CPU = torch.device("cpu")


def test_a_batch_in_pieces_has_the_gradients_of_the_whole(folder: Path) -> None:
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    model.eval()
    texts = [PUBLIC["sib200"].preprocess(e) for e in topics(8)]
    inputs, _ = seq2seq.encode(tokenizer, [s for s, _ in texts], 99)
    targets, _ = seq2seq.encode(tokenizer, [t for _, t in texts], 99)
    found = []
    for micro in (10_000, 30, 1):
        recipe = replace(QUICK, micro_tokens=micro)
        tuner = seq2seq.Tuner(model, tokenizer, recipe, print)
        tuner.optimizer.zero_grad(set_to_none=True)
        loss = tuner.gradients(range(8), inputs, targets)
        found.append((loss, torch.cat([w.grad.flatten() for w in tuner.weights])))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-5, rtol=1e-3)


def test_batches_keep_to_the_budget_and_leave_nothing_out() -> None:
    rng = np.random.default_rng(0)
    sizes = [(int(a), int(b)) for a, b in rng.integers(1, 60, (300, 2))] + [(900, 3)]
    made = seq2seq.token_batches(sizes, 500, rng, window=64)
    assert sorted(i for group in made for i in group) == list(range(301))
    for group in made:
        assert seq2seq.padded_tokens(group, sizes) <= 500 or len(group) == 1
    assert [300] in made and len(made) < 150
    pieces = seq2seq.split(list(range(20)), sizes, 200)
    assert sorted(i for piece in pieces for i in piece) == list(range(20))


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_learns_and_keeps_the_best(folder: Path, optimizer: Any) -> None:
    rate = 0.05 if optimizer == "adafactor" else 3e-3
    recipe = replace(QUICK, steps=60, evaluations=3, optimizer=optimizer, lr=rate)
    model, tokenizer = seq2seq.load(str(folder), recipe)
    of, data = PUBLIC["sib200"], topics(16)
    tuned = seq2seq.finetune(model, tokenizer, of, data, data, recipe, seed=1)
    assert tuned.log[-1]["loss"] < 0.3 * tuned.log[0]["loss"]
    scores, said = seq2seq.evaluate(model, tokenizer, of, data, recipe)
    assert scores["accuracy"].score == tuned.validation > 0.9
    assert set(said) <= {"sports", "travel"} and scores["illegal"].score == 0.0
    assert seq2seq.choose(model, tokenizer, TEXTS, of.labels, recipe) == said[:8]


def test_learns_to_copy_names(folder: Path) -> None:
    """mT5's own form for names: the whole way from words and tags to text and back to a score."""
    recipe = replace(QUICK, steps=80, evaluations=1, optimizer="adamw", lr=5e-3, tokens=800)
    model, tokenizer = seq2seq.load(str(folder), recipe)
    data = [
        Example(str(i), "eng", {"words": tuple(t.split()), "tags": ("O", KINDS[i % 2], "O")})
        for i, t in enumerate(TEXTS)
    ]  # fmt: skip
    of = replace(PUBLIC["wikiann"], max_target=12)
    seq2seq.finetune(model, tokenizer, of, data, [], recipe, seed=1)
    scores, _ = seq2seq.evaluate(model, tokenizer, of, data, recipe)
    assert scores["span_f1"].score >= 0.95 and scores["place_f1"].score >= 0.95


def test_same_seed_same_weights(folder: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        model, tokenizer = seq2seq.load(str(folder), QUICK)
        seq2seq.finetune(model, tokenizer, PUBLIC["sib200"], topics(9), [], QUICK, seed=seed)
        return model.lm_head.weight.detach()

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_choosing_is_the_most_probable_label(folder: Path) -> None:
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    model.eval()
    labels = PUBLIC["sib200"].labels
    for text, said in zip(
        TEXTS, seq2seq.choose(model, tokenizer, TEXTS, labels, QUICK), strict=True
    ):
        source = seq2seq.pad([tokenizer(text)["input_ids"]], 0, CPU)
        losses = []
        for label in labels:
            target = seq2seq.pad([tokenizer(label)["input_ids"]], -100, CPU)
            losses.append(seq2seq.summed_loss(model, source, target, 0).item())
        assert said == labels[int(np.argmin(losses))]


def test_lora_changes_few_weights(folder: Path) -> None:
    pytest.importorskip("peft")
    recipe = replace(QUICK, lora=4, lr=0.05, steps=30)
    model, tokenizer = seq2seq.load(str(folder), recipe)
    before = {n: w.clone() for n, w in model.named_parameters() if not w.requires_grad}
    learned = sum(w.numel() for w in model.parameters() if w.requires_grad)
    assert 0 < learned < 0.5 * sum(w.numel() for w in model.parameters())
    tuned = seq2seq.finetune(
        model, tokenizer, PUBLIC["sib200"], topics(16), topics(8), recipe, seed=1
    )
    assert tuned.log[-1]["loss"] < tuned.log[0]["loss"]
    assert all(torch.equal(w, before[n]) for n, w in model.named_parameters() if n in before)


def test_checkpointing_changes_nothing_but_memory(folder: Path) -> None:
    losses = []
    for on in (False, True):
        recipe = replace(QUICK, checkpointing=on)
        model, tokenizer = seq2seq.load(str(folder), recipe)
        tuned = seq2seq.finetune(model, tokenizer, PUBLIC["sib200"], topics(9), [], recipe)
        losses.append([entry["loss"] for entry in tuned.log])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ---------------------------------------------------------------- when something is wrong


def test_out_of_memory_is_halved_aloud(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, spoken, sizes = seq2seq.summed_loss, [], []

    def small(model: Any, source: torch.Tensor, labels: torch.Tensor, pad_id: int) -> Any:
        sizes.append(source.numel() + labels.numel())
        if sizes[-1] > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, source, labels, pad_id)

    monkeypatch.setattr(seq2seq, "summed_loss", small)
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    tuned = seq2seq.finetune(
        model, tokenizer, PUBLIC["sib200"], topics(16), [], QUICK, say=spoken.append
    )
    assert tuned.micro_tokens == 100 and len(tuned.log) == QUICK.steps
    assert spoken == [f"out of memory: going on with {n} tokens at one time" for n in (200, 100)]


def test_not_even_one_example_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(seq2seq, "summed_loss", full)
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    with pytest.raises(ValueError, match="one example of .* tokens does not fit.*checkpointing"):
        seq2seq.finetune(model, tokenizer, PUBLIC["sib200"], topics(4), [], QUICK, say=print)
    monkeypatch.setattr(seq2seq, "generate", full)
    with pytest.raises(ValueError, match="does not fit"):
        seq2seq.evaluate(model, tokenizer, PUBLIC["sib200"], topics(4), QUICK, say=print)


def test_not_a_number_stops_and_keeps_the_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = seq2seq.summed_loss, []

    def broken(*args: Any) -> Any:
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(seq2seq, "summed_loss", broken)
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    with pytest.raises(FloatingPointError, match="nan at step 3; the batch is in .*smaller lr"):
        seq2seq.finetune(
            model, tokenizer, PUBLIC["sib200"], topics(8), [], QUICK, kept=tmp_path / "run"
        )
    record = json.loads((tmp_path / "run" / "not-a-number.json").read_text())
    assert record["step"] == 3 and record["batch"][0]["input"].startswith("topic: ")
    assert all(torch.isfinite(w).all() for w in model.parameters())


def test_overlong_inputs_are_cut_aloud(folder: Path) -> None:
    spoken: list[str] = []
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    recipe = replace(QUICK, max_input=5)
    tuned = seq2seq.finetune(
        model, tokenizer, PUBLIC["sib200"], topics(8), [], recipe, say=spoken.append
    )
    assert tuned.cut == 8 and spoken == ["8 inputs and 0 targets of 8 are too long and were cut"]
    rows, cut = seq2seq.encode(tokenizer, TEXTS, 3)
    assert cut == 8 and all(len(r) == 3 and r[-1] == tokenizer.eos_token_id for r in rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "float16"}, "float16 is refused.*bfloat16"),
        ({"precision": "bf16"}, "unknown precision 'bf16'.*bfloat16"),
        ({"optimizer": "adam"}, "unknown optimizer 'adam'.*'adamw'"),
        ({"steps": 0}, "steps must be above 0, got 0"),
    ],
)
def test_bad_recipes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Seq2SeqRecipe(**change)


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model .*nothing-here.*mend the name"):
        seq2seq.load(str(tmp_path / "nothing-here"), QUICK)


def test_model_without_a_decoder(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig(vocab_size=50).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"\(bert\) has no encoder and decoder.*google/mt5-small"):
        seq2seq.load(str(tmp_path), QUICK)


def copy_of(folder: Path, to: Path, *without: str) -> str:
    for path in folder.iterdir():
        if path.name not in without:
            (to / path.name).write_bytes(path.read_bytes())
    return str(to)


def test_tokenizer_missing_its_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer of .*(not whole|is missing).*tokenizer.json"):
        seq2seq.load(copy_of(folder, tmp_path, "tokenizer.json", "spiece.model"), QUICK)


def test_only_safetensors_are_read(folder: Path, tmp_path: Path) -> None:
    name = copy_of(folder, tmp_path, "model.safetensors")
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no whole weights as safetensors"):
        seq2seq.load(name, QUICK)


def test_weights_cut_short(folder: Path, tmp_path: Path) -> None:
    name = copy_of(folder, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole weights as safetensors"):
        seq2seq.load(name, QUICK)


def test_tasks_that_need_sentinels(folder: Path) -> None:
    with pytest.raises(ValueError, match="<extra_id_99>.*mT5, umT5"):
        seq2seq.check_sentinels(["pos: <extra_id_0> a"], make_tokenizer(sentinels=8))
    seq2seq.check_sentinels(["topic: a"], make_tokenizer(sentinels=8))


def test_no_examples(folder: Path) -> None:
    model, tokenizer = seq2seq.load(str(folder), QUICK)
    with pytest.raises(ValueError, match="no training examples"):
        seq2seq.finetune(model, tokenizer, PUBLIC["sib200"], [], [], QUICK)


def test_sentinels_survive_the_round_trip(folder: Path) -> None:
    _, tokenizer = seq2seq.load(str(folder), QUICK)
    target = "<extra_id_0> NOUN <extra_id_1> VERB <extra_id_2> X"
    ids = [tokenizer.pad_token_id, *tokenizer(target)["input_ids"], tokenizer.pad_token_id]
    assert read_numbered(seq2seq.plain(tokenizer, ids), 3) == ["NOUN", "VERB", "X"]
