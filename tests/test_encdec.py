"""An encoder with a new decoder, and `EncoderDecoderModel` folders: load, tune, answer."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import yaml

torch = pytest.importorskip("torch", reason="text-to-text models need xltlib[train]")

from encoders import save_tiny  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    PreTrainedTokenizerFast,
)

from xltlib.data import Example, datasets  # noqa: E402
from xltlib.models import checkpoint, compute, encdec, encoder  # noqa: E402
from xltlib.tasks.base import read_numbered  # noqa: E402
from xltlib.tasks.public import PUBLIC  # noqa: E402
from xltlib.train import plan  # noqa: E402
from xltlib.train.config import Experiment, load  # noqa: E402
from xltlib.train.finetune import finetune  # noqa: E402
from xltlib.train.generate import answers, evaluate  # noqa: E402
from xltlib.train.recipes import RECIPES, Recipe  # noqa: E402
from xltlib.train.run import do_part, read_run  # noqa: E402

QUICK = replace(RECIPES["encoder"], steps=3, evaluations=1, batch=4, precision="float32")
WORDS = ("red", "blue", "cat", "dog", "runs", "sat")
TEXTS = [f"{a} {b} {c}" for a in WORDS[:2] for b in WORDS[2:4] for c in WORDS[4:]]
LABELS = PUBLIC["sib200"].labels
FAMILIES = ("bert", "xlm")
SHOWN = (*TEXTS, *LABELS, "topic: slots: O I time question: Who ? context:", *map(str, range(99)))
KNOWN = sorted({word for text in SHOWN for word in re.findall(r"\w{2,}", text)})  # one piece each
LETTERS = [chr(i) for i in range(0x21, 0x400)]


def topics(n: int = 8) -> list[Example]:
    fields = [{"text": TEXTS[i % 8], "label": ("sports", "travel")[i % 8 < 4]} for i in range(n)]
    return [Example(str(i), "eng", f) for i, f in enumerate(fields)]


def questions(n: int = 8) -> list[Example]:
    fields = [
        {"question": "Who?", "context": TEXTS[i], "answers": (TEXTS[i].split()[1],)}
        for i in range(n)
    ]
    return [Example(str(i), "eng", f) for i, f in enumerate(fields)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random encoders of two layers."""
    root = tmp_path_factory.mktemp("encoders")
    found = {family: save_tiny(root / family) for family in FAMILIES}
    marks = ("<s>", "<pad>", "</s>", "<unk>", "▁")
    whole = [(f"▁{word}", -2.0) for word in KNOWN] + [(c, -5.0) for c in LETTERS]
    pieces = [(m, -9.0) for m in marks] + whole + [("<mask>", 0.0)]
    encoder.unigram(pieces, found["xlm"], 512)
    _like_bert(found["bert"])
    return found


def _like_bert(folder: Path) -> None:
    """A tokenizer like BERT's, whose marks have other names, in the place of the folder's own."""
    marks = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    ids = {piece: i for i, piece in enumerate([*marks.values(), *KNOWN, *LETTERS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(m, ids[m]) for m in ("[CLS]", "[SEP]")]
    )
    named = {f"{name}_token": mark for name, mark in marks.items()}
    PreTrainedTokenizerFast(tokenizer_object=made, **named).save_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    config.pad_token_id = 0
    config.save_pretrained(folder)


def built(folder: Path, task: str = "sib200", **more: Any) -> tuple[Any, Any]:
    pairs = [PUBLIC[task].preprocess(e) for e in EXAMPLES[task]]
    texts, targets = map(list, zip(*pairs, strict=True))
    return encdec.build(texts, [*targets, *PUBLIC[task].labels], name=str(folder), **more)


SLOTS = [
    Example(str(i), "eng", {"words": tuple(TEXTS[i].split()), "tags": ("O", "B-time", "I-time")})
    for i in range(8)
]
EXAMPLES = {"sib200": topics(), "massive_slots": SLOTS, "massive_qa": questions()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", EXAMPLES)
def test_the_decoder_knows_the_pieces_of_targets_only(
    folders: dict[str, Path], family: str, task: str
) -> None:
    model, tokenizer = built(folders[family], task)
    pieces = model.config.output_pieces
    targets = [PUBLIC[task].preprocess(e)[1] for e in EXAMPLES[task]]
    rows, _ = compute.encode_targets(model, tokenizer, targets, 64)
    used = {i for row in rows for i in row.tolist()}
    assert max(used) < len(pieces) < len(tokenizer)
    assert model.decoder.get_output_embeddings().out_features == len(pieces)
    unknown = tokenizer.unk_token_id
    assert unknown not in {pieces[i] for i in used}
    for row, target in zip(rows, targets, strict=True):
        said = compute.decode(model, tokenizer, row.tolist())
        assert "".join(said.split()) == "".join(target.split())
        assert pieces[row[-1]] == compute.end_of(tokenizer)
        assert compute.start_of(tokenizer) not in {pieces[i] for i in row}
    other, _ = compute.encode_targets(model, tokenizer, ["zzz"], 64)
    assert {pieces[i] for i in other[0][:-1]} <= {*pieces, unknown}  # never a number too many
    table = model.encoder.get_input_embeddings().weight
    torch.testing.assert_close(model.decoder.get_input_embeddings().weight, table[pieces])


def test_the_encoder_is_as_it_was_but_for_its_last_normalisation(
    folders: dict[str, Path],
) -> None:
    model, tokenizer = built(folders["xlm"])
    before = encoder.load(str(folders["xlm"]))[0].state_dict()
    after = model.encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    last = "encoder.layer.1.output.LayerNorm"
    assert changed == {f"{last}.weight", f"{last}.bias"}
    texts = [PUBLIC["sib200"].preprocess(e)[0] for e in EXAMPLES["sib200"]]
    rows, _ = compute.encode(tokenizer, texts)
    source = compute.pad(rows, tokenizer.pad_token_id)
    mask = source != tokenizer.pad_token_id
    with torch.inference_mode():
        states = model.encoder(input_ids=source, attention_mask=mask).last_hidden_state[mask]
    torch.testing.assert_close(states.mean(0), torch.zeros(32), atol=0.05, rtol=0)
    torch.testing.assert_close(states.std(0), torch.ones(32), atol=0.05, rtol=0)
    inside = model.decoder.base_model.state_dict()  # the decoder starts from the last layer
    name = "encoder.layer.{}.attention.self.query.weight"
    assert torch.equal(inside[name.format(0)], before[name.format(1)])


def test_without_pre_training_all_weights_are_other_ones(folders: dict[str, Path]) -> None:
    one, other = (built(folders["xlm"], pretrained=p, seed=1)[0] for p in (True, False))
    for name, weight in one.encoder.named_parameters():
        if weight.dim() == 2:
            assert not torch.equal(weight, other.encoder.get_parameter(name)), name
    again = built(folders["xlm"], pretrained=False, seed=1)[0]
    assert all(map(torch.equal, other.state_dict().values(), again.state_dict().values()))


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_embeddings_stay_and_all_else_learns(folders: dict[str, Path], family: str) -> None:
    model, tokenizer = built(folders[family])
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    finetune(model, tokenizer, PUBLIC["sib200"], topics(), topics(), QUICK)
    same = {n for n, weight in model.named_parameters() if torch.equal(weight, before[n])}
    sides = ("encoder.embeddings.word", "decoder.bert.embeddings.word")
    assert {n for n in before if n.startswith(sides)} <= same
    assert "encoder.encoder.layer.0.attention.self.query.weight" not in same
    assert "decoder.bert.encoder.layer.0.crossattention.self.value.weight" not in same
    nothing = replace(QUICK, freeze="encoder")
    held = {n: w.clone() for n, w in model.encoder.named_parameters()}
    finetune(model, tokenizer, PUBLIC["sib200"], topics(), [], nothing)
    assert all(torch.equal(w, held[n]) for n, w in model.encoder.named_parameters())


@pytest.mark.parametrize("task", EXAMPLES)
def test_it_learns_its_examples(folders: dict[str, Path], task: str) -> None:
    """From random weights: right answers by heart, sentinels and copied words among them."""
    model, tokenizer = built(folders["xlm"], task, dropout=0.0)
    recipe = replace(QUICK, steps=300, batch=8, lr=2e-3, encoder_lr=1.0)
    finetune(model, tokenizer, PUBLIC[task], EXAMPLES[task], [], recipe)
    scores, said = evaluate(model, tokenizer, PUBLIC[task], EXAMPLES[task], recipe)
    assert scores[PUBLIC[task].metric].score > 0.9, said
    assert scores["illegal"].score == 0
    if task == "massive_slots":
        assert read_numbered(said[0])[1] == {0: "O", 1: "time", 2: "I"}


def test_greedy_answers_and_loss_are_the_models_own(folders: dict[str, Path]) -> None:
    model, tokenizer = built(folders["bert"])
    texts = [PUBLIC["sib200"].preprocess(e)[0] for e in topics()]
    rows, _ = compute.encode(tokenizer, texts)
    source = compute.pad(rows, tokenizer.pad_token_id)
    mask = source != tokenizer.pad_token_id
    wanted = model.generate(
        input_ids=source, attention_mask=mask, max_new_tokens=6, do_sample=False,
        decoder_start_token_id=model.config.decoder_start_token_id,
        eos_token_id=model.config.eos_token_id, pad_token_id=0,
    )  # fmt: skip
    said = answers(model, tokenizer, texts, QUICK, most=6)
    assert said == [compute.decode(model, tokenizer, row) for row in wanted[:, 1:].tolist()]
    targets, _ = compute.encode_targets(model, tokenizer, [e.fields["label"] for e in topics()], 9)
    labels = compute.pad(targets, -100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model's own loss is deprecated
        theirs = model(input_ids=source, attention_mask=mask, labels=labels).loss
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        torch.testing.assert_close(compute.loss(model, source, labels), theirs)
    chosen = answers(model, tokenizer, texts, QUICK, most=6, labels=LABELS)
    assert set(chosen) <= set(LABELS)


# ---------------------------------------------------------------- folders of a user


def own_folder(folder: Path, encoder: Path) -> Path:
    """An `EncoderDecoderModel` as transformers saves one, with no marks in its configuration."""
    torch.manual_seed(1)
    sizes = AutoConfig.from_pretrained(encoder).to_dict()
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**sizes), BertConfig(**{**sizes, "tie_word_embeddings": False})
    )
    model = EncoderDecoderModel(config)
    model.config.pad_token_id = model.config.decoder_start_token_id = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_ones_own(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "mine", folders[family])
    model, tokenizer = checkpoint.load(str(folder), dropout=0.0)
    inside = model.config.encoder, model.config.decoder
    assert all(c.hidden_dropout_prob == c.attention_probs_dropout_prob == 0 for c in inside)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.decoder_start_token_id == compute.start_of(tokenizer)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    long = Example("long", "eng", {"text": "red cat " * 300, "label": "sports"})
    recipe = replace(QUICK, steps=120, batch=8, lr=2e-3, encoder_lr=1.0)
    once = replace(recipe, steps=1, max_input=9999)
    found = finetune(model, tokenizer, PUBLIC["sib200"], [long], [], once)
    assert found.cut == 1  # at the encoder's 512 positions
    finetune(model, tokenizer, PUBLIC["sib200"], topics(), [], recipe)
    frozen = {n for n, w in model.named_parameters() if torch.equal(w, before[n])}
    assert {n for n in before if "word_embeddings" in n} <= frozen and len(frozen) < len(before)
    scores, said = evaluate(model, tokenizer, PUBLIC["sib200"], topics(), recipe)
    assert scores["accuracy"].score > 0.9, said  # no <s> in what it says
    assert scores["illegal"].score == 0


def test_a_sentinel_task_is_refused_where_there_are_none(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    model, tokenizer = checkpoint.load(str(own_folder(tmp_path / "mine", folders["xlm"])))
    with pytest.raises(ValueError, match="<extra_id_0> is no single piece of the tokenizer"):
        finetune(model, tokenizer, PUBLIC["massive_slots"], SLOTS, [], QUICK)


def test_more_layers_than_the_encoder_has(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="decoder_layers 3: .* has 2, take 1 to 2"):
        built(folders["xlm"], layers=3)


# ---------------------------------------------------------------- the experiment

MINE: dict[str, Any] = {
    "title": "one language of one's own",
    "recipe": {"steps": 2, "evaluations": 1, "batch": 4, "precision": "float32"},
    "seeds": [0],
    "tasks": {"sib200": {"sources": ["gsw"]}},
    "controls": {"scratch": ["gsw"], "shuffled": ["gsw"], "ngram": ["gsw"]},
}


def mine(folder: Path, encoder: Path, **change: Any) -> Experiment:
    files = {}
    for split in ("train", "validation", "test"):
        rows = "".join(f"{e.fields['text']} {split},{e.fields['label']}\n" for e in topics())
        (folder / f"{split}.csv").write_text(f"text,label\n{rows}")
        files[split] = {"path": f"{split}.csv"}
    model = {"kind": "encoder", "use": "text2text", "name": str(encoder)}
    path = folder / "mine.yml"
    path.write_text(
        yaml.safe_dump({"model": model, "data": {"sib200": {"gsw": files}}, **MINE, **change})
    )
    return load(str(path))


def test_an_experiment_to_its_scores(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLT_BUILD", str(tmp_path / "build"))
    datasets.forget()
    exp = mine(tmp_path, folders["xlm"])
    names = {r.condition: r.model for r in plan.runs(exp)}
    assert names == {
        "pretrained": "xlm-text2text", "scratch": "xlm-text2text-scratch",
        "shuffled": "xlm-text2text-shuffled", "ngram": "char-ngram",
    }  # fmt: skip
    do_part(exp, "text-sib200-1")
    records = [read_run(plan.Place(exp).run(r)) or {} for r in plan.runs(exp)]
    assert all({s["metric"] for s in r["scores"]} == {"accuracy", "illegal"} for r in records)
    assert [len(r["log"]) for r in records] == [2, 2, 2, 0]


def test_a_key_stands_for_the_decoder_and_how_it_is_taught(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    def keys(**change: Any) -> list[str]:
        return [r.key for r in plan.runs(mine(tmp_path, folders["xlm"], **change))]

    before = keys()
    assert len(set(before)) == len(before) == 4
    model = {"kind": "encoder", "name": str(folders["xlm"])}
    deeper = keys(model={**model, "use": "text2text", "decoder_layers": 2})
    slower = keys(recipe={**MINE["recipe"], "weight_decay": 0.01})
    drawn = keys(tasks={"sib200": {"sources": ["gsw"], "pool": 6}})
    for after in (deeper, slower, drawn):
        assert not {*after[:3]} & {*before}
    probed = {k: v for k, v in MINE["controls"].items() if k != "scratch"}
    by_head = keys(model=model, controls=probed)
    assert not {*by_head} & {*before}
    taught = {**MINE["recipe"], "lr": 1e-4}
    assert keys(model=model, controls=probed, recipe=taught) == by_head  # a probe has no recipe


def test_a_probe_has_no_control_without_pre_training(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="controls.scratch: only for a model of our own"):
        mine(tmp_path, folders["xlm"], model={"kind": "encoder", "name": str(folders["xlm"])})


def test_its_recipe_is_an_encoders(folders: dict[str, Path], tmp_path: Path) -> None:
    spec = mine(tmp_path, folders["xlm"], recipe={}).tasks["sib200"]
    assert spec.recipe == RECIPES["encoder"] and isinstance(spec.scratch, Recipe)
    assert spec.scratch.freeze == "embeddings"
