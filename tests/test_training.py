"""Training: what is hidden can be put back, the numbers are the library's own, and models learn."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs xltlib[train]")

from xltlib.data import Example, cldr  # noqa: E402
from xltlib.models import ModelShape  # noqa: E402
from xltlib.models.compute import (  # noqa: E402
    arithmetic,
    by_length,
    encode,
    epoch,
    loss,
    pad,
    prepare_process,
)
from xltlib.models.tiny import build, health, load, reading, save, train_tokenizer  # noqa: E402
from xltlib.tasks import TASKS, task  # noqa: E402
from xltlib.tasks.base import Score  # noqa: E402
from xltlib.tasks.embedded import WORDS  # noqa: E402
from xltlib.train.finetune import cosine, finetune, freeze, groups  # noqa: E402
from xltlib.train.generate import answers  # noqa: E402
from xltlib.train.pretrain import Sampler, pretrain, span_corrupt  # noqa: E402
from xltlib.train.recipes import TINY, PretrainRecipe  # noqa: E402

LANGUAGES = ("eng", "rus")
SHAPE = ModelShape(vocab_size=400, d_model=32, d_ff=64, n_heads=4, n_encoder=2, n_decoder=1)
SENTINELS = list(range(1000, 1032))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    prepare_process()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def text() -> dict[str, list[str]]:
    return {code: cldr.lines(code, 400) for code in LANGUAGES}


@pytest.fixture(scope="module")
def tokenizer(text):
    return train_tokenizer([line for own in text.values() for line in own], 400, WORDS)


@pytest.fixture
def model(tokenizer):
    return build(SHAPE, tokenizer, seed=0)


# ---------------------------------------------------------------- vocabulary


def test_tokenizer_training_is_deterministic(text, tokenizer) -> None:
    again = train_tokenizer([line for own in text.values() for line in own], 400, WORDS)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again("Oslo 14:30")["input_ids"] == tokenizer("Oslo 14:30")["input_ids"]


def test_labels_and_sentinels_are_one_token_each(tokenizer) -> None:
    for word in (*WORDS, "<extra_id_0>", "<extra_id_31>"):
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        assert len(ids) == 1 and ids != [tokenizer.unk_token_id], word


def test_text_comes_back_from_its_tokens(text, tokenizer) -> None:
    for own in text.values():
        for line in own[:100]:
            ids = tokenizer(line, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == line


def test_text_holds_no_label_tokens(text, tokenizer) -> None:
    """The tags I and O are letters: "Oslo" must not begin with a tag."""
    labels = set(tokenizer.convert_tokens_to_ids(list(WORDS)))
    for own in text.values():
        lines = [line for line in own if not set(line.split()) & set(WORDS)]
        rows = tokenizer(lines, add_special_tokens=False)["input_ids"]
        assert not [line for line, row in zip(lines, rows, strict=True) if labels & set(row)]


@pytest.mark.parametrize("name", TASKS)
def test_target_texts_come_back_from_their_tokens(name: str, tokenizer) -> None:
    """Decoding must put back exactly the spaces that the answer is read by."""
    of = task(name)
    examples = of.source(LANGUAGES, "rus", "test", 40, 0)
    rows = [tokenizer(of.preprocess(e)[1])["input_ids"] for e in examples]
    decoded = [t.split("</s>")[0].strip() for t in tokenizer.batch_decode(rows)]
    scores = of.evaluate(decoded, examples)
    assert scores[of.metric].score == 1.0 and scores["illegal"].score == 0.0


# ---------------------------------------------------------------- span corruption


class Fixed:
    """A generator that gives what it is told to."""

    def __init__(self, jitter: float, cuts: list[list[int]]) -> None:
        self.jitter, self.cuts = jitter, cuts

    def uniform(self, low: float, high: float) -> float:
        return self.jitter

    def integers(self, low: int, high: int, size: int) -> np.ndarray:
        cuts = np.array(self.cuts.pop(0), dtype=int)
        assert len(cuts) == size and ((low <= cuts) & (cuts < high)).all()
        return cuts


def test_span_corruption_of_the_docstring() -> None:
    """A B C D E with B C hidden (Raffel et al. 2020, figure 2)."""
    rng = Fixed(0.0, [[], [1]])  # one span of two; one unit shown before it
    units = [[10], [11], [12], [13], [14]]
    source, target = span_corrupt(units, rng, SENTINELS, noise=0.4, mean_span=2.0)  # type: ignore
    assert source.tolist() == [10, 1000, 13, 14, 1]
    assert target.tolist() == [1000, 11, 12, 1001, 1]


def test_span_corruption_hides_whole_units() -> None:
    rng = Fixed(0.0, [[0], [1, 1]])
    units = [[10, 11], [12], [13, 14, 15], [16]]
    source, target = span_corrupt(units, rng, SENTINELS, noise=0.5, mean_span=1.0)  # type: ignore
    # two spans of one word each: the second is beside the first
    assert source.tolist() == [10, 11, 1000, 1001, 16, 1]
    assert target.tolist() == [1000, 12, 1001, 13, 14, 15, 1002, 1]


def restored(source: list[int], target: list[int]) -> list[int]:
    """Put every hidden span back in its place."""
    spans: dict[int, list[int]] = {}
    for token in target:
        if token in SENTINELS:
            spans[mark := token] = []
        else:
            spans[mark].append(token)
    full: list[int] = []
    for token in source:
        full += spans.pop(token) if token in SENTINELS else [token]
    (last,) = spans  # the closing sentinel hides nothing
    assert spans[last] == []
    return full


@pytest.mark.parametrize("noise, mean_span", [(0.15, 3.0), (0.3, 1.0), (0.5, 2.0), (0.95, 1.0)])
def test_span_corruption_loses_nothing(noise: float, mean_span: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(1, 40))
        units = [rng.integers(10, 900, rng.integers(1, 4)).tolist() for _ in range(n)]
        source, target = span_corrupt(units, rng, SENTINELS, noise=noise, mean_span=mean_span)
        assert source[-1] == target[-1] == 1
        marks = [t for t in target if t in SENTINELS]
        assert marks == SENTINELS[: len(marks)]  # in order, each once
        whole = [i for unit in units for i in unit]
        assert restored(source[:-1].tolist(), target[:-1].tolist()) == whole


def test_span_corruption_hides_the_share_it_is_told() -> None:
    rng = np.random.default_rng(0)
    units = [[i] for i in range(10, 30)]
    pairs = [span_corrupt(units, rng, SENTINELS, noise=0.3, mean_span=1.5) for _ in range(2000)]
    hidden = [sum(t < 1000 for t in target) - 1 for _, target in pairs]
    spans = [sum(t >= 1000 for t in target) - 1 for _, target in pairs]
    # 6 of 20 with a rounding of +-1/2: standard error of the mean under 0.02
    assert np.mean(hidden) == pytest.approx(6, abs=0.05)
    assert np.mean(spans) == pytest.approx(4, abs=0.1)
    # every unit is as likely hidden as another, the ends somewhat less sharply
    share = np.mean([[u not in source for (u,) in units] for source, _ in pairs], axis=0)
    assert share.min() > 0.15 and share.max() < 0.45


def ids_of(tokenizer, lines: list[str]) -> list[list[int]]:
    return tokenizer(lines, add_special_tokens=False)["input_ids"]


def test_the_sampler_hides_words_of_one_line_at_a_time(text, tokenizer) -> None:
    sampler = Sampler(text, tokenizer, PretrainRecipe(batch=16))
    source, target = sampler.batch(np.random.default_rng(0))
    assert source.shape[0] == target.shape[0] == 16
    lines = {tuple(row[:48]) for own in text.values() for row in ids_of(tokenizer, own)}
    marks = {tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(32)}
    for ids, labels in zip(source.tolist(), target.tolist(), strict=True):
        spans: dict[int, list[int]] = {}
        for token in labels:
            if token in marks:
                spans[mark := token] = []
            elif token not in (-100, 1):
                spans[mark].append(token)
        whole = [j for i in ids if i > 1 for j in (spans[i] if i in marks else [i])]
        assert tuple(whole) in lines
        for span in spans.values():  # words whole: a hidden span starts where a word starts
            assert not span or tokenizer.convert_ids_to_tokens(span[0]).startswith("▁")


def test_an_epoch_meets_every_line_once() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 50, 1000).tolist()
    planned = epoch(lengths, 32, rng)
    assert sorted(i for group in planned for i in group) == list(range(1000))
    spread = np.mean([np.ptp([lengths[i] for i in group]) for group in planned])
    assert spread < 10  # of 49: like lengths go together, so little is padding


def test_batches_of_similar_length() -> None:
    assert by_length([(n, 0) for n in (5, 1, 3, 2)], 10) == [[1, 3, 2], [0]]


# ---------------------------------------------------------------- learning rate, loss, decoding


def test_learning_rate() -> None:
    rates = [cosine(step, 200, 1e-3) for step in range(200)]
    assert rates[0] == pytest.approx(1e-4)  # a tenth of the ten steps of warm-up
    assert rates[9] == rates[10] == pytest.approx(1e-3) == max(rates)
    assert rates[105] == pytest.approx(1e-3 * 0.55)  # half-way down the cosine, of 1 to 0.1
    assert rates[-1] == pytest.approx(1e-4, rel=0.01)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert cosine(0, 1, 1e-3) == pytest.approx(1e-3)


def some(name: str, split: str = "train", n: int = 16) -> list:
    return task(name).source(LANGUAGES, "eng", split, n, 0)


@pytest.fixture
def pair(tokenizer) -> tuple:
    """Return inputs and labels of different lengths, so that there is padding in both."""
    of = task("ner")
    examples = some("ner", n=12)
    texts = [of.preprocess(e) for e in examples]
    source, target = [encode(tokenizer, own)[0] for own in zip(*texts, strict=True)]
    assert len({len(row) for row in source}) > 1 < len({len(row) for row in target})
    return pad(source, 0), pad(target, -100)


def test_loss_is_the_model_s_own(model, pair) -> None:
    source, labels = pair
    model.eval()
    with torch.no_grad():
        wanted = model(input_ids=source, attention_mask=source != 0, labels=labels).loss
        assert loss(model, source, labels).item() == pytest.approx(wanted.item(), rel=1e-5)
    uniform = math.log(model.config.vocab_size)
    assert wanted.item() == pytest.approx(uniform, rel=0.25)  # a fresh model knows nothing


def test_gradients_are_the_model_s_own(model, pair) -> None:
    source, labels = pair
    model(input_ids=source, attention_mask=source != 0, labels=labels).loss.backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    loss(model, source, labels).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, wanted[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("can", "half", "wanted"),
    [
        (True, 0.5, "bfloat16"),
        (True, 0.9, "float32"),
        (True, 1.9, "float32"),
        (False, 0.5, "float32"),
    ],
)
def test_short_arithmetic_only_where_it_is_asked_for_and_pays(
    monkeypatch, can, half, wanted
) -> None:
    """`half`: seconds of a product in bfloat16, of one second in float32."""
    clock, product = [0.0], torch.mm

    def timed(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        clock[0] += half if one.dtype == torch.bfloat16 else 1.0
        return product(one[:1], other[:, :1])

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": can})
    monkeypatch.setattr(torch, "mm", timed)
    monkeypatch.setattr("xltlib.models.compute.time.perf_counter", lambda: clock[0])
    arithmetic.cache_clear()
    asked = ("float32", "auto", "bfloat16")
    found = {where: [arithmetic(where, one) for one in asked] for where in ("cpu", "cuda")}
    arithmetic.cache_clear()
    assert found["cpu"] == ["float32", "float32", wanted]
    assert found["cuda"] == ["float32", "bfloat16", "bfloat16"]


def test_bfloat16_is_near_float32_and_trains_float32_weights(model, pair, monkeypatch) -> None:
    """A product is off by up to 2**-8 of its size; a loss averages many."""
    monkeypatch.setattr("xltlib.models.compute.arithmetic", lambda device, asked: asked)
    exact, short = (loss(model, *pair, precision) for precision in ("float32", "bfloat16"))
    assert short.dtype == torch.float32 and short.item() != exact.item()
    assert short.item() == pytest.approx(exact.item(), rel=2**-8)
    short.backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_greedy_answers_are_generate_s_token_for_token(model, tokenizer) -> None:
    texts = [task("ner").preprocess(e)[0] for e in some("ner", "train", 12)]
    with torch.no_grad():  # a livelier fresh model: rows end at different steps
        model.lm_head.weight.mul_(20)
        model.lm_head.weight[1] += 0.3
    source = pad(encode(tokenizer, texts)[0], 0)
    wanted = model.generate(
        input_ids=source,
        attention_mask=source != 0,
        max_new_tokens=12,
        do_sample=False,
        num_beams=1,
        decoder_start_token_id=0,
    )
    read = [t.replace("<pad>", "").split("</s>")[0].strip() for t in tokenizer.batch_decode(wanted)]
    assert len({len(text) for text in read}) > 3
    assert answers(model, tokenizer, texts, most=12) == read


def test_answers_do_not_depend_on_the_batch(model, tokenizer) -> None:
    texts = [task("ner").preprocess(e)[0] for e in some("ner", "train", 12)]
    together = answers(model, tokenizer, texts, most=8)
    assert together == answers(model, tokenizer, texts, replace(TINY, micro_tokens=1), most=8)
    assert together == answers(model, tokenizer, texts[::-1], most=8)[::-1]
    assert not any("<pad>" in output or "</s>" in output for output in together)


# ---------------------------------------------------------------- the model


def test_fresh_models_are_healthy_untied_and_the_seed_s_own(tokenizer, model) -> None:
    again, other = build(SHAPE, tokenizer, seed=0), build(SHAPE, tokenizer, seed=1)
    for (name, one), two in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two), name
    assert not torch.equal(model.shared.weight, other.shared.weight)
    assert model.lm_head.weight.data_ptr() != model.shared.weight.data_ptr()
    assert abs(health(model)["cosine"]) < 0.02
    assert health(model)["participation"] > 0.85 * SHAPE.d_model


def test_health_sees_a_collapse(model) -> None:
    with torch.no_grad():
        model.shared.weight.copy_(model.shared.weight * 0.01 + model.shared.weight[5])
    found = health(model)
    assert found["cosine"] > 0.99
    assert found["participation"] > 1


def test_reading_sees_an_encoder_that_says_the_same_of_every_token(model) -> None:
    source = torch.arange(40, 104).reshape(4, 16)
    source[0, 10:] = 0  # padding is no token
    fresh = reading(model, source)
    assert fresh["common"] < 0.3 and fresh["reading"] > 0.2 * SHAPE.d_model
    with torch.no_grad():  # a block that adds one large vector to whatever it reads
        model.shared.weight.copy_(model.shared.weight * 0.01 + model.shared.weight[5])
    blind = reading(model, source)
    assert blind["common"] > 0.9 and blind["reading"] >= 1


def test_weight_decay_takes_the_layers_matrices_and_nothing_else(model) -> None:
    inside, outside = sorted(groups(model, 0.7), key=lambda g: -g["weight_decay"])
    assert (inside["weight_decay"], outside["weight_decay"]) == (0.7, 0.0)
    both = [*inside["params"], *outside["params"]]
    assert {id(w) for w in both} == {id(w) for w in model.parameters()}
    assert len(both) == len(list(model.parameters()))
    decayed = {id(w) for w in inside["params"]}
    for name, weight in model.named_parameters():
        kept = "norm" in name or "bias" in name or name in ("shared.weight", "lm_head.weight")
        assert (id(weight) in decayed) is not kept, name


def test_save_and_load_keep_every_weight(
    tmp_path: Path, model, tokenizer, pair, monkeypatch
) -> None:
    """`transformers` 5 ties output and input embeddings unless the saved config says not to."""
    with torch.no_grad():
        model.lm_head.weight.normal_()
    save(model, tokenizer, tmp_path)
    assert not list(tmp_path.glob("*.bin")) and list(tmp_path.glob("*.safetensors"))
    back, vocabulary = load(tmp_path)
    saved = model.state_dict()
    assert back.state_dict().keys() == saved.keys()
    for name, weight in back.state_dict().items():
        assert torch.equal(weight, saved[name]), name
    assert not torch.equal(back.lm_head.weight, back.shared.weight)
    assert vocabulary.get_vocab() == tokenizer.get_vocab()
    monkeypatch.setattr(back, "forward", None)  # logits only where there is a target
    with torch.no_grad():
        assert loss(back.eval(), *pair) == loss(model.eval(), *pair)
    text = "Oslo <extra_id_0> CITY 73%"
    assert vocabulary(text)["input_ids"] == tokenizer(text)["input_ids"]


@pytest.mark.parametrize(
    "what, frozen",
    [("nothing", ()), ("embeddings", ("shared.",)), ("encoder", ("shared.", "encoder."))],
)
def test_freezing(model, what, frozen) -> None:
    trained = {id(p) for p in freeze(model, replace(TINY, freeze=what))}
    for name, weight in model.named_parameters():
        assert (id(weight) in trained) == (not name.startswith(frozen) if frozen else True), name
    assert len(freeze(model, replace(TINY, freeze="nothing"))) == len(list(model.parameters()))


# ---------------------------------------------------------------- learning


def test_pretraining_learns_and_repeats_itself(text, tokenizer) -> None:
    def run(seed: int, steps: int) -> tuple[list[float], dict]:
        recipe = PretrainRecipe(steps=steps, batch=16, lr=3e-3)
        model = build(SHAPE, tokenizer, seed)
        sampler = Sampler(text, tokenizer, recipe)
        log = pretrain(model, sampler, recipe, seed=seed, every=10)
        assert [row["step"] for row in log] == [*range(10, steps, 10), steps]
        return [row["loss"] for row in log], model.state_dict()

    (losses, weights), (again, weights_again) = run(0, 25), run(0, 25)
    assert losses == again
    assert all(torch.equal(weights[n], weights_again[n]) for n in weights)
    assert losses[-1] < 0.9 * losses[0]
    assert run(1, 5)[0] != run(0, 5)[0]


def test_interrupted_pretraining_goes_on_as_if_nothing_had_happened(
    text, tokenizer, tmp_path
) -> None:
    recipe, file = PretrainRecipe(steps=24, batch=16, lr=3e-3), tmp_path / "half.pt"

    def run(stop: int | None = None) -> tuple[list[dict], dict]:
        def progress(step: int, loss: float) -> None:
            if step == stop:
                raise KeyboardInterrupt

        model, sampler = build(SHAPE, tokenizer, 0), Sampler(text, tokenizer, recipe)
        log = pretrain(model, sampler, recipe, every=4, progress=progress, checkpoint=file, keep=8)
        return log, model.state_dict()

    whole_log, whole = run()
    file.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(stop=19)
    kept = torch.load(io.BytesIO(file.read_bytes()[32:]), weights_only=True)
    assert json.loads(kept["log"])[-1]["step"] == 16
    content = bytearray(file.read_bytes())
    log, weights = run()
    assert [(r["step"], r["loss"]) for r in log] == [(r["step"], r["loss"]) for r in whole_log]
    assert all(torch.equal(weights[n], whole[n]) for n in whole)

    content[len(content) // 2] ^= 1  # one bit of a weight, which torch would believe
    for damaged in (bytes(content), bytes(content[:1000]), b""):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match="starts again from nothing"):
            log, weights = run()
        assert all(torch.equal(weights[n], whole[n]) for n in whole)


@pytest.mark.parametrize("name", TASKS)
def test_a_tiny_model_can_learn_32_examples_by_heart(name: str, tokenizer) -> None:
    of = task(name)
    examples = of.source(LANGUAGES, "eng", "train", 32, 0)
    shape = ModelShape(vocab_size=400, d_model=64, d_ff=128, n_encoder=2, n_decoder=1)
    recipe = replace(
        TINY, steps=OVERFIT_STEPS[name], batch=16, lr=4e-3, evaluations=3, freeze="nothing"
    )
    seen: list[dict] = []
    found = finetune(
        build(shape, tokenizer, seed=0),
        tokenizer,
        of,
        examples,
        examples,
        recipe,
        progress=seen.append,
    )
    assert found.validation >= 0.95
    assert seen == found.log and len(seen) == recipe.steps
    assert found.log[-1]["loss"] < 0.2 * found.log[0]["loss"]


OVERFIT_STEPS = {"entity_type": 40, "ner": 70, "qa": 90}


def test_the_kept_weights_are_those_best_on_validation(tokenizer, model, monkeypatch) -> None:
    """Scores that fall after the first look: the first weights must come back."""
    from xltlib.train import finetune as module

    shown, weights = iter([0.9, 0.5, 0.1]), []

    def evaluate(model, *rest, **more):
        weights.append(model.lm_head.weight.detach().clone())
        return {"accuracy": Score(next(shown), 0.0, 1)}, []

    monkeypatch.setattr(module, "evaluate", evaluate)
    of = task("entity_type")
    train = of.source(LANGUAGES, "eng", "train", 16, 0)
    recipe = replace(TINY, steps=6, batch=8, evaluations=3)
    found = finetune(model, tokenizer, of, train, train, recipe)
    assert (found.validation, found.step) == (0.9, 2)
    assert [row["step"] for row in found.log if "validation" in row] == [2, 4, 6]
    assert torch.equal(model.lm_head.weight, weights[0])
    assert not torch.equal(weights[0], weights[2])


def test_frozen_embeddings_do_not_move(tokenizer, model) -> None:
    of = task("entity_type")
    train = of.source(LANGUAGES, "eng", "train", 16, 0)
    before = model.shared.weight.detach().clone(), model.lm_head.weight.detach().clone()
    recipe = replace(TINY, steps=3, batch=8, evaluations=0, freeze="embeddings")
    found = finetune(model, tokenizer, of, train, [], recipe)
    assert torch.equal(model.shared.weight, before[0])
    assert not torch.equal(model.lm_head.weight, before[1])
    assert found.step == 3 and not any("validation" in row for row in found.log)


def test_the_encoder_learns_at_a_pace_of_its_own(model) -> None:
    freeze(model, TINY)
    found = groups(model, 0.3, 0.1)
    names = {id(w): name for name, w in model.named_parameters()}
    pace = {names[id(w)]: g["pace"] for g in found for w in g["params"]}
    decay = {names[id(w)]: g["weight_decay"] for g in found for w in g["params"]}
    assert sum(len(g["params"]) for g in found) == len(pace)  # none of them twice
    assert set(pace) == set(names.values()) - {"shared.weight"}
    assert all((share == 0.1) == n.startswith("encoder.") for n, share in pace.items())
    assert decay["decoder.block.0.layer.0.SelfAttention.q.weight"] == 0.3
    assert decay["lm_head.weight"] == 0.0


def test_an_encoder_at_no_pace_stays_while_the_decoder_learns(tokenizer, model) -> None:
    of = task("entity_type")
    train = of.source(LANGUAGES, "eng", "train", 16, 0)
    before = {n: w.detach().clone() for n, w in model.named_parameters()}
    recipe = replace(TINY, steps=3, batch=8, evaluations=0, freeze="nothing", encoder_lr=0.0)
    finetune(model, tokenizer, of, train, [], recipe)
    for name, weight in model.named_parameters():
        still = torch.equal(weight, before[name])
        assert still == name.startswith(("shared.", "encoder.")), name


def test_dropping_tokens_leaves_the_marks_and_the_order(tokenizer, model, monkeypatch) -> None:
    texts = ["<extra_id_0> " + " ".join(map(str, range(i, i + 30))) for i in range(40)]
    train = [Example(str(i), "eng", {"text": t, "kind": "city"}) for i, t in enumerate(texts)]
    of = replace(task("entity_type"), preprocess=lambda e: (e.fields["text"], "CITY"))
    whole, _ = encode(tokenizer, texts)
    read = {0.0: [], 0.3: []}
    for share, rows in read.items():

        def seen(model, source, *rest, rows=rows):
            rows += [row[row != 0].tolist() for row in source]
            return loss(model, source, *rest)

        monkeypatch.setattr("xltlib.train.finetune.loss", seen)
        recipe = replace(TINY, steps=2, batch=40, evaluations=0, drop_tokens=share)
        finetune(model, tokenizer, of, train, [], recipe)
    assert sorted(read[0.0]) == sorted([row.tolist() for row in whole] * 2)
    marks = {tokenizer.convert_tokens_to_ids("<extra_id_0>"), tokenizer.eos_token_id}
    for row, full in zip(read[0.3], read[0.0], strict=True):
        assert row[-1] == full[-1] and len(marks & set(row)) == 2
        left = iter(full)
        assert all(token in left for token in row)  # in their order
    n = sum(map(len, read[0.0]))
    assert sum(map(len, read[0.3])) / n == pytest.approx(0.7, abs=4 * (0.21 / n) ** 0.5 + 0.02)


def test_training_stops_at_a_loss_that_is_no_number(text, tokenizer, model) -> None:
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    recipe = PretrainRecipe(steps=3, batch=4)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1 of pre-training"):
        pretrain(model, Sampler(text, tokenizer, recipe), recipe)
    train = some("entity_type", n=8)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1"):
        finetune(model, tokenizer, task("entity_type"), train, train, replace(TINY, batch=4))
