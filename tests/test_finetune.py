"""Any checkpoint: load, tune, answer; on a tiny mT5 whose vocabulary is trained here."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

sys.path.insert(0, str(Path(__file__).parent))
import hubcache  # noqa: E402

from xltlib.data import Example  # noqa: E402
from xltlib.models import compute, lean  # noqa: E402
from xltlib.models.checkpoint import check_sentinels, load  # noqa: E402
from xltlib.tasks.base import read_numbered  # noqa: E402
from xltlib.tasks.public import PUBLIC  # noqa: E402
from xltlib.train.finetune import Finetuned, Lesson, finetune, together  # noqa: E402
from xltlib.train.generate import answers, evaluate, read  # noqa: E402
from xltlib.train.recipes import Recipe  # noqa: E402

QUICK = Recipe(steps=4, evaluations=1, tokens=400, micro_tokens=400, dropout=0.0)
TOPICS, KINDS = ("sports", "travel"), ("B-PER", "B-LOC")
TEXTS = [f"{a} {b} {c}" for a in ("red", "blue") for b in ("cat", "dog") for c in ("runs", "sat")]


def loaded(folder: Path, recipe: Recipe = QUICK) -> tuple[Any, Any]:
    return load(
        str(folder),
        dropout=recipe.dropout,
        lora=recipe.lora,
        checkpointing=recipe.checkpointing,
    )


def tuned(model: Any, tokenizer: Any, n: int = 8, recipe: Recipe = QUICK, **more: Any) -> Finetuned:
    return finetune(model, tokenizer, PUBLIC["sib200"], topics(n), [], recipe, **more)


def most_probable(
    model: Any, tokenizer: Any, texts: Sequence[str], labels: Sequence[str]
) -> list[str]:
    """Every label whole, by the library."""
    source, losses = padded(tokenizer, texts, 0), []
    for label in labels:
        rows = padded(tokenizer, (label,) * len(texts), -100)
        with torch.no_grad():
            logits = model(input_ids=source, attention_mask=source != 0, labels=rows).logits
        told = torch.nn.functional.cross_entropy(logits.mT, rows, reduction="none")
        losses.append(told.sum(1))
    return [labels[i] for i in torch.stack(losses).argmin(0)]


def padded(tokenizer: Any, texts: Sequence[str], value: int) -> torch.Tensor:
    return compute.pad(compute.encode(tokenizer, texts)[0], value)


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
    model, tokenizer = loaded(folder)
    assert model.config.model_type == "mt5" and model.dtype == torch.float32
    assert model.config.dropout_rate == 0.0
    assert not torch.equal(model.lm_head.weight, model.shared.weight)  # mT5 does not tie
    assert not model.config.tie_word_embeddings
    check_sentinels(["<extra_id_0> a", "<extra_id_99>"], tokenizer)


def test_loss_is_the_models_own(folder: Path) -> None:
    """With more targets than are taken at a time (64, or 256 of a small vocabulary)."""
    model, tokenizer = loaded(folder)
    model.eval()
    source, labels = (
        padded(tokenizer, ("red cat", "dog sat red") * 50, 0),
        padded(tokenizer, ("sports", "x") * 50, -100),
    )
    assert (labels != -100).sum() > 256
    ours = compute.loss(model, source, labels)
    theirs = model(input_ids=source, attention_mask=source != 0, labels=labels).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    mine = [w.grad.clone() for w in model.parameters()]
    model.zero_grad()
    theirs.backward()
    for one, other in zip(mine, model.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, atol=1e-4, rtol=1e-3)


def small_t5(kind: str, seed: int, vocab: int = 300, d_ff: int = 24) -> T5ForConditionalGeneration:
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=vocab, d_model=16, d_kv=8, d_ff=d_ff, num_heads=3, num_layers=2,
        num_decoder_layers=2, feed_forward_proj=kind, decoder_start_token_id=0, pad_token_id=0,
        tie_word_embeddings=False, dropout_rate=0.0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn(vocab, 16))
    return model


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [(1, 40, 3, 7, 200), (1, 3, 2)], ids=["many", "few"])
def test_lean_loss_is_the_librarys(
    monkeypatch: pytest.MonkeyPatch, kind: str, precision: Any, lengths: tuple[int, ...]
) -> None:
    """Loss, gradients, and the same after the encoder stopped learning; lengths differ a lot.

    A norm's weight goes into the weights of attention, which are few; into the states where a
    layer behind it has more weights than these have numbers.
    """
    model = small_t5(kind, 0, d_ff=2**13 + 8)
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 300, n) for n in lengths]
    source, labels = compute.pad(rows, 0), compute.pad(rows[::-1], -100)
    monkeypatch.setattr(compute, "arithmetic", lambda device, asked: asked)
    assert lean.fits(model)
    # in bfloat16 gradients of either are up to 0.08 from those in float32
    close = {"float32": (1e-5, 1e-5), "bfloat16": (3e-2, 0.1)}[precision]
    for still in (False, True):
        if still:
            model.encoder.requires_grad_(False)
        weights = [w for w in model.parameters() if w.requires_grad]
        ours = compute.loss(model, source, labels, precision)
        mine = torch.autograd.grad(ours, weights)
        with compute.autocast(model, precision):
            theirs = model(input_ids=source, attention_mask=source != 0, labels=labels).loss
        torch.testing.assert_close(ours, theirs, rtol=close[0], atol=0.0)
        for one, other in zip(mine, torch.autograd.grad(theirs, weights), strict=True):
            assert (one - other).norm() <= close[1] * other.norm()


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_models_side_by_side_have_the_losses_and_gradients_of_the_librarys(kind: str) -> None:
    """Three models and batches of other sizes and lengths; then with one encoder that is still."""
    models = [small_t5(kind, seed) for seed in range(3)]
    rng = np.random.default_rng(0)
    texts = [[rng.integers(1, 300, n) for n in sizes] for sizes in ((1, 40), (3, 7, 9), (20,))]
    told = [[rng.integers(1, 300, n) for n in sizes] for sizes in ((5, 2), (30, 1, 4), (8,))]
    source = compute.pad([row for rows in texts for row in rows], 0)
    labels = compute.pad([row for rows in told for row in rows], -100)
    for still in (False, True):
        if still:
            for model in models:
                model.encoder.load_state_dict(models[0].encoder.state_dict())
                model.encoder.requires_grad_(False)
        both = lean.stacked(models)
        known = []
        if still:
            read = lean.Packed(source != 0)
            known = [lean.encoded(models[0], source, read).detach()]
        ours = lean.losses(both, source, labels, [2, 3, 1], *known)
        ours.sum().backward()
        for i, model in enumerate(models):
            one, other = compute.pad(texts[i], 0), compute.pad(told[i], -100)
            theirs = model(input_ids=one, attention_mask=one != 0, labels=other).loss
            torch.testing.assert_close(ours[i], theirs, rtol=1e-5, atol=0.0)
            learned = {n: w for n, w in model.named_parameters() if w.requires_grad}
            wanted = torch.autograd.grad(theirs, list(learned.values()))
            for name, grad in zip(learned, wanted, strict=True):
                mine = both.get_parameter(name).grad[i]
                assert (mine - grad).norm() <= 1e-5 * grad.norm(), name


def test_models_side_by_side_learn_what_each_learns_alone() -> None:
    """Every recipe that `together` takes, from other data, seeds and sizes of batches."""
    tokenizer, of = make_tokenizer(), PUBLIC["sib200"]
    config = {"vocab": len(tokenizer)}
    for freeze, optimizer in (("encoder", "adamw_fused"), ("nothing", "adamw")):
        recipe = replace(
            QUICK, steps=12, evaluations=2, batch=4, optimizer=optimizer, freeze=freeze, lr=3e-3,
            schedule="cosine", weight_decay=0.1, encoder_lr=0.5, precision="float32",
        )  # fmt: skip
        lessons = [
            Lesson(small_t5("gated-gelu", 0, **config), topics(n), topics(8), own, n)
            for n, own in ((16, recipe), (9, recipe), (5, replace(recipe, batch=2)))
        ]
        found = together(lessons, tokenizer, of)
        for lesson, side in zip(lessons, found, strict=True):
            alone = small_t5("gated-gelu", 0, **config)
            one = finetune(alone, tokenizer, of, lesson.train, lesson.validation, lesson.recipe,
                           seed=lesson.seed)  # fmt: skip
            assert len(one.log) == len(side.log) == 12 and one.step == side.step
            assert one.log[-1]["loss"] < 0.9 * one.log[0]["loss"]
            for a, b in zip(one.log, side.log, strict=True):
                assert a == pytest.approx(b, rel=1e-4)
            for a, b in zip(alone.parameters(), lesson.model.parameters(), strict=True):
                torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_models_that_cannot_learn_side_by_side_are_refused() -> None:
    tokenizer, of = make_tokenizer(), PUBLIC["sib200"]
    models = [small_t5("gated-gelu", seed, vocab=len(tokenizer)) for seed in (0, 1)]
    recipe = replace(QUICK, batch=4, optimizer="adamw", freeze="encoder", precision="float32")
    with pytest.raises(ValueError, match=r"shared.weight does not learn and differs"):
        together([Lesson(m, topics(8), [], recipe) for m in models], tokenizer, of)
    slow = [Lesson(m, topics(8), [], replace(recipe, optimizer="adafactor")) for m in models]
    with pytest.raises(NotImplementedError):
        together(slow, tokenizer, of)
    with torch.no_grad():
        models[1].load_state_dict(models[0].state_dict())
        models[1].lm_head.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="nan"):
        together([Lesson(m, topics(8), [], recipe) for m in models], tokenizer, of)


def test_lean_loss_is_left_where_it_would_differ(folder: Path) -> None:
    model, _ = loaded(folder)
    assert lean.fits(model.train())
    model.config.dropout_rate = 0.1
    assert not lean.fits(model) and lean.fits(model.eval())
    model.config.dropout_rate = 0.0
    model.gradient_checkpointing_enable()
    assert not lean.fits(model)


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_other_families_and_scaled_outputs(family: str) -> None:
    """BART begins outputs in its own way; T5 v1.0 scales them for its tied embeddings."""
    torch.manual_seed(2)
    tokenizer = make_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "decoder_start_token_id": 0}
    if family == "bart":
        ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 0, "forced_eos_token_id": None}
        layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
        model: Any = BartForConditionalGeneration(BartConfig(**sizes, **ids, **layers, **heads))
    else:
        model = T5ForConditionalGeneration(T5Config(**sizes, d_kv=8, d_ff=16, num_layers=1))
    model.eval()
    source, labels = padded(tokenizer, TEXTS, 0), padded(tokenizer, TEXTS[::-1], -100)
    theirs = model(input_ids=source, attention_mask=source != 0, labels=labels)
    torch.testing.assert_close(compute.loss(model, source, labels), theirs.loss)
    ids = model.generate(input_ids=source, attention_mask=source != 0, max_new_tokens=4)
    wanted = [compute.decode(model, tokenizer, row) for row in ids[:, 1:].tolist()]
    assert answers(model, tokenizer, TEXTS, QUICK, most=4) == wanted and any(wanted)
    labels = PUBLIC["massive_intent"].labels
    chosen = answers(model, tokenizer, TEXTS, QUICK, most=9, labels=labels)
    assert chosen == most_probable(model, tokenizer, TEXTS, labels)


def test_a_batch_in_pieces_has_the_gradients_of_the_whole(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    model.eval()
    sides = zip(*(PUBLIC["sib200"].preprocess(e) for e in topics(8)), strict=True)
    inputs, targets = (compute.encode(tokenizer, side)[0] for side in sides)
    sizes = [(len(a), len(b)) for a, b in zip(inputs, targets, strict=True)]
    found = []
    for tokens in (10_000, 100, 1):
        model.zero_grad()
        total = 0.0
        parts = compute.split(range(8), sizes, tokens)
        for part in parts:
            source = compute.pad([inputs[i] for i in part], 0)
            labels = compute.pad([targets[i] for i in part], -100)
            loss = compute.loss(model, source, labels, total=sum(s[1] for s in sizes))
            loss.backward()
            total += loss.item()
        found.append((len(parts), total, torch.cat([w.grad.flatten() for w in model.parameters()])))
    assert [n for n, *_ in found] == sorted({n for n, *_ in found}) and found[-1][0] == 8
    for _, loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][1], rel=1e-5)
        torch.testing.assert_close(gradient, found[0][2], atol=1e-5, rtol=1e-3)


def test_batches_keep_to_the_budget_and_leave_nothing_out() -> None:
    rng = np.random.default_rng(0)
    sizes = [(int(a), int(b)) for a, b in rng.integers(1, 60, (300, 2))] + [(900, 3)]
    made = compute.token_epoch(sizes, 500, rng, window=64)
    assert sorted(i for group in made for i in group) == list(range(301))
    for group in made:
        longest = [max(sizes[i][side] for i in group) for side in (0, 1)]
        assert len(group) * sum(longest) <= 500 or len(group) == 1
    assert [300] in made and len(made) < 150
    pieces = compute.split(range(20), sizes, 200)
    assert [i for piece in pieces for i in piece] == list(range(20))
    ordered = [sizes[i] for group in compute.by_length(sizes, 500) for i in group]
    assert ordered == sorted(sizes)


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_learns_and_keeps_the_best(folder: Path, optimizer: Any) -> None:
    rate = 0.05 if optimizer == "adafactor" else 3e-3
    recipe = replace(QUICK, steps=60, evaluations=3, optimizer=optimizer, lr=rate)
    model, tokenizer = loaded(folder, recipe)
    of, data = PUBLIC["sib200"], topics(16)
    found = finetune(model, tokenizer, of, data, data, recipe, seed=1)
    assert found.log[-1]["loss"] < 0.3 * found.log[0]["loss"]
    scores, outputs = evaluate(model, tokenizer, of, data, recipe)
    assert scores["accuracy"].score == found.validation > 0.9
    assert set(outputs) <= {"sports", "travel"} and scores["illegal"].score == 0.0
    texts = [of.preprocess(e)[0] for e in data]
    assert answers(model, tokenizer, texts, recipe, most=9, labels=of.labels) == outputs


def test_learns_to_copy_names(folder: Path) -> None:
    """mT5's own form for names: the whole way from words and tags to text and back to a score."""
    recipe = replace(QUICK, steps=80, evaluations=1, optimizer="adamw", lr=5e-3, tokens=800)
    model, tokenizer = loaded(folder, recipe)
    data = [
        Example(str(i), "eng", {"words": tuple(t.split()), "tags": ("O", KINDS[i % 2], "O")})
        for i, t in enumerate(TEXTS)
    ]  # fmt: skip
    of = replace(PUBLIC["wikiann"], max_target=12)
    finetune(model, tokenizer, of, data, [], recipe, seed=1)
    scores, _ = evaluate(model, tokenizer, of, data, recipe)
    assert scores["span_f1"].score >= 0.95 and scores["place_f1"].score >= 0.95


def test_same_seed_same_weights(folder: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        model, tokenizer = loaded(folder)
        tuned(model, tokenizer, 9, seed=seed)
        return model.lm_head.weight.detach()

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_choosing_is_the_most_probable_label(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    model.eval()
    labels = PUBLIC["sib200"].labels
    chosen = answers(model, tokenizer, TEXTS, QUICK, most=9, labels=labels)
    for text, label in zip(TEXTS, chosen, strict=True):
        source = padded(tokenizer, (text,), 0)
        targets = [padded(tokenizer, (other,), -100) for other in labels]
        losses = [compute.loss(model, source, t, total=1).item() for t in targets]
        assert label == labels[int(np.argmin(losses))]


def test_choosing_among_many_labels_is_the_same_as_one_by_one(folder: Path) -> None:
    """60 labels that begin alike, with what the encoder made kept from one call to the next."""
    model, tokenizer = loaded(folder)
    model.eval()
    labels = PUBLIC["massive_intent"].labels
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # as sure as a model that has learnt
    kept: dict[bytes, torch.Tensor] = {}
    for _ in range(2):
        chosen = answers(model, tokenizer, TEXTS, QUICK, most=9, labels=labels, kept=kept)
        assert len(kept) == len(TEXTS)
    assert chosen == most_probable(model, tokenizer, TEXTS, labels)
    assert len(set(chosen)) > 1


def test_a_text_may_spell_out_padding(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    model.eval()
    texts = ("red <pad> <pad> cat runs", "red cat runs", "<pad> blue dog")
    source, labels = padded(tokenizer, texts, 0), ("sports", "travel", "health")
    assert (source[0] == 0).any() and source[0, -1] != 0
    with torch.no_grad():
        theirs = model.get_encoder()(input_ids=source, attention_mask=source != 0)[0]
    ours, mask = read(model, source, None), source != 0
    torch.testing.assert_close(ours[mask], theirs[mask])
    chosen = answers(model, tokenizer, texts, QUICK, most=9, labels=labels)
    assert chosen == most_probable(model, tokenizer, texts, labels)


def test_lora_changes_few_weights(folder: Path) -> None:
    pytest.importorskip("peft")
    recipe = replace(QUICK, lora=4, lr=0.05, steps=30)
    model, tokenizer = loaded(folder, recipe)
    before = {n: w.clone() for n, w in model.named_parameters() if not w.requires_grad}
    learned = sum(w.numel() for w in model.parameters() if w.requires_grad)
    assert 0 < learned < 0.5 * sum(w.numel() for w in model.parameters())
    found = finetune(model, tokenizer, PUBLIC["sib200"], topics(16), topics(8), recipe, seed=1)
    assert found.log[-1]["loss"] < found.log[0]["loss"]
    assert all(torch.equal(w, before[n]) for n, w in model.named_parameters() if n in before)


def test_checkpointing_changes_nothing_but_memory(folder: Path) -> None:
    losses = []
    for on in (False, True):
        recipe = replace(QUICK, checkpointing=on)
        model, tokenizer = loaded(folder, recipe)
        losses.append([entry["loss"] for entry in tuned(model, tokenizer, 9, recipe).log])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ---------------------------------------------------------------- when something is wrong


LOSS = "xltlib.train.finetune.loss"


def full(*args: Any, **more: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_out_of_memory_is_halved_aloud(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(model: Any, source: torch.Tensor, labels: torch.Tensor, *rest: Any) -> Any:
        if source.numel() + labels.numel() > 100:
            full()
        return compute.loss(model, source, labels, *rest)

    monkeypatch.setattr(LOSS, small)
    found = tuned(*loaded(folder), 16)
    assert found.micro_tokens == 100 and len(found.log) == QUICK.steps
    spoken = capsys.readouterr().err
    for n in (200, 100):
        assert f"out of memory: going on with {n} tokens at one time\n" in spoken


def test_not_even_one_example_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = loaded(folder)
    with monkeypatch.context() as patch:
        patch.setattr(LOSS, full)
        with pytest.raises(ValueError, match="one example of .* tokens does not fit.*checkpoint"):
            tuned(model, tokenizer, 4)
    monkeypatch.setattr("xltlib.train.generate.read", full)
    with pytest.raises(ValueError, match="does not fit"):
        evaluate(model, tokenizer, PUBLIC["sib200"], topics(4), QUICK)


def test_not_a_number_stops_and_keeps_the_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def broken(*args: Any) -> Any:
        calls.append(1)
        return compute.loss(*args) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(LOSS, broken)
    model, tokenizer = loaded(folder)
    with pytest.raises(FloatingPointError, match="nan at step 3; the batch is in .*smaller lr"):
        tuned(model, tokenizer, failed=tmp_path / "run")
    record = json.loads((tmp_path / "run" / "not-a-number.json").read_text())
    assert record["step"] == 3 and record["batch"][0]["input"].startswith("topic: ")
    assert all(torch.isfinite(w).all() for w in model.parameters())


def test_overlong_inputs_are_cut_aloud(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = loaded(folder)
    found = tuned(model, tokenizer, 8, replace(QUICK, max_input=5))
    assert found.cut == 8
    assert "8 inputs and 0 targets of 8 are too long and were cut" in capsys.readouterr().err
    rows, cut = compute.encode(tokenizer, TEXTS, 3)
    assert cut == 8 and all(len(r) == 3 and r[-1] == tokenizer.eos_token_id for r in rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "float16"}, "float16 is refused.*bfloat16"),
        ({"precision": "bf16"}, "precision\\s+Input should be .*'bfloat16'"),
        ({"optimizer": "adam"}, "optimizer\\s+Input should be .*'adamw'"),
        ({"schedule": "linear"}, "schedule\\s+Input should be .*cosine"),
        ({"freeze": "decoder"}, "freeze\\s+Input should be .*encoder"),
        ({"steps": 0}, "steps\\s+Input should be greater than 0"),
        ({"drop_tokens": 1}, "drop_tokens\\s+Input should be less than 1"),
    ],
)
def test_bad_recipes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model .*nothing-here.*mend the name"):
        load(str(tmp_path / "nothing-here"))


def test_model_without_a_decoder(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig(vocab_size=50).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"\(bert\) has no encoder and decoder.*google/mt5-small"):
        load(str(tmp_path))


def copy_of(folder: Path, to: Path, *without: str) -> str:
    for path in folder.iterdir():
        if path.name not in without:
            (to / path.name).write_bytes(path.read_bytes())
    return str(to)


def test_tokenizer_missing_its_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokenizer of .*(not whole|is missing).*tokenizer.json"):
        load(copy_of(folder, tmp_path, "tokenizer.json", "spiece.model"))


def test_only_safetensors_are_read(folder: Path, tmp_path: Path) -> None:
    name = copy_of(folder, tmp_path, "model.safetensors")
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no whole weights as safetensors"):
        load(name)


def test_weights_cut_short(folder: Path, tmp_path: Path) -> None:
    name = copy_of(folder, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole weights as safetensors"):
        load(name)


def test_tasks_that_need_sentinels(folder: Path) -> None:
    few = make_tokenizer(sentinels=8)
    with pytest.raises(ValueError, match="<extra_id_8> .*mT5, umT5"):
        check_sentinels(["pos: <extra_id_0> a <extra_id_8> b"], few)
    check_sentinels(["topic: a", "pos: <extra_id_7> a"], few)


def test_no_examples(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    with pytest.raises(ValueError, match="no training examples"):
        tuned(model, tokenizer, 0)


def test_sentinels_survive_the_round_trip(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    target = "<extra_id_0> NOUN <extra_id_1> VERB <extra_id_2> X"
    ids = [tokenizer.pad_token_id, *tokenizer(target)["input_ids"], tokenizer.pad_token_id]
    _, found = read_numbered(compute.decode(model, tokenizer, ids))
    assert list(found.values()) == ["NOUN", "VERB", "X"]
