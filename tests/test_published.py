"""Loaders of published matrices: on small files of the same format, on the real ones if here."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from xltlib.data import published

SHAPES = {  # sources x targets and rows (also in-language) that the publications report
    "xnli-mt5": (15, 15, 225),
    "ner-xlmr": (37, 40, 1480),
    "pos-xlmr": (29, 29, 841),
    "xpos-10000": (65, 105, 6825),
    "langrank-dep": (30, 30, 870),
    "langrank-el": (54, 9, 477),
    "langrank-mt": (54, 54, 2862),
    "rice-xlmr": (27, 106, 2862),
    "masakhaner-base": (10, 10, 100),
    "parsing-16": (16, 16, 256),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An XLT_DATA of our own whose files' checksums are taken as the published ones."""
    monkeypatch.setenv("XLT_DATA", str(tmp_path))

    def sums() -> dict[str, str]:
        files = [f for f in tmp_path.rglob("*") if f.is_file()]
        return {
            f.relative_to(tmp_path).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in files
        }

    monkeypatch.setattr(published, "_checksums", sums)
    return tmp_path


def put(root: Path, home: tuple[str, str], path: str, text: str) -> Path:
    file = root / home[0] / home[1] / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def put_for(root: Path, name: str, text: str) -> Path:
    pub = published.SCORES[name]
    return put(root, pub.home, pub.path, text)


def test_every_published_file_has_a_checksum() -> None:
    sums = published._checksums()
    assert all(len(digest) == 64 for digest in sums.values())
    for pub in published.SCORES.values():
        assert f"{pub.home[0]}/{pub.home[1]}/{pub.path}" in sums
        assert pub.citation


def test_long_table(root: Path) -> None:
    put_for(root, "ner-xlmr", "train_lang,test_lang,acc,f1\nen,ar,0.9,0.41\nar,en,0.8,0.52\n")
    table = published.load("ner-xlmr")
    assert table["source"].tolist() == ["arb", "eng"]  # macro-language codes become individual ones
    assert table["score"].tolist() == [0.52, 0.41]
    assert table["metric"].unique() == "f1" and table["n_test"].isna().all()


def test_percent_becomes_share_and_sizes_are_joined(root: Path) -> None:
    put_for(
        root,
        "xpos-10000",
        ",task_type,lang_train,lang_pred,score\n0,x,en,nl,90.5\n1,x,nl,en,80.0\n",
    )
    put(
        root,
        published._XPOS,
        "results/udpos-sizes-test.csv",
        ",language,size\n0,nl,100\n1,en,200\n",
    )
    table = published.load("xpos-10000").set_index("target")
    assert table.loc["nld", "score"] == pytest.approx(0.905)
    assert table.loc["nld", "n_test"] == 100


def test_wide_table(root: Path) -> None:
    put_for(root, "rice-xlmr", "train/target,eng,deu\neng,93.0,88.0\nita,87.0,85.5\n")
    table = published.load("rice-xlmr")
    assert len(table) == 4
    cell = table[(table["source"] == "ita") & (table["target"] == "deu")]
    assert cell["score"].item() == pytest.approx(0.855)


def test_row_labels_with_words_behind_the_code(root: Path) -> None:
    text = ",swa Evaled on,yor Evaled on\nswa (NER finetune lang),87.0,50.0\n"
    put_for(root, "masakhaner-base", text)
    assert published.load("masakhaner-base")["source"].unique() == "swh"


def test_treebanks_keep_their_names_and_repeats_are_dropped(root: Path) -> None:
    rows = [
        "0,0.5,m,t,cs_pdt-ud-test,10,pl_lfg-ud-train",
        "1,0.5,m,t,cs_pdt-ud-test,10,pl_lfg-ud-train",
        "2,0.7,m,t,cs_cac-ud-test,12,pl_lfg-ud-train",
        "3,0.6,m,t,pt_x-ud-dev,12,pl_lfg-ud-train",
    ]
    header = ",accuracy,model,tokenizer,eval_file,num_eval_examples,train_file\n"
    put_for(root, "nnrank-xlmr", header + "\n".join(rows) + "\n")
    table = published.load("nnrank-xlmr")
    assert table["target_set"].tolist() == ["cs_cac", "cs_pdt"]
    assert table["target"].unique() == "ces"
    per_language = published.per_language(table)
    assert len(per_language) == 1 and per_language["score"].item() == pytest.approx(0.6)


def test_las_are_scores_of_treebanks_that_have_a_language(root: Path) -> None:
    text = "\tUD_Czech-PDT\tUD_Turkish_German-SAGT\nUD_Polish-LFG\t0.7\t0.2\n"
    put_for(root, "las", text)
    put(root, published._LAS, "data/iso.csv", "Treebank,iso\nUD_Czech-PDT,ces\nUD_Polish-LFG,pol\n")
    table = published.load("las")
    assert len(table) == 1  # code-mixed text is in no one language
    assert table.loc[0, ["source", "target", "source_set"]].tolist() == ["pol", "ces", "Polish-LFG"]


def test_langrank_ranks_are_not_kept(root: Path) -> None:
    names = [
        "task_lang",
        "transfer_lang",
        "accuracy",
        "Rank",
        "Accuracy level",
        "Entity overlap",
        "Transfer lang dataset size",
        "Target lang dataset size",
        "Transfer over target size ratio",
        "genetic",
    ]
    put_for(root, "langrank-el", ",".join(names) + "\nben,amh,0.28,12,42,0.1,2028,10000,0.2,1.0\n")
    table = published.load("langrank-el")
    extras = [c for c in table if c.startswith("pair_")]
    assert "pair_entity_overlap" in extras and "pair_source_size" in extras
    assert not {"Rank", "Accuracy level", "genetic"} & set(table)


def test_glottocodes(root: Path) -> None:
    text = "task_lang,transfer_lang,accuracy\nstan1318,bulg1262,0.69\nabcd1234,bulg1262,0.5\n"
    put_for(root, "xnli-uriel", text)
    put(
        root,
        published._LANGRANK,
        "data/code_mapping.csv",
        "isocode,glottocode\narb,stan1318\nbul,bulg1262\n",
    )
    table = published.load("xnli-uriel")
    assert table[["source", "target"]].to_numpy().tolist() == [["bul", "arb"]]


def test_spreadsheet(root: Path) -> None:
    pytest.importorskip("openpyxl")
    pub = published.SCORES["parsing-16"]
    file = put_for(root, "parsing-16", "")
    square = pd.DataFrame(
        [[80.0, 40.0], [30.0, 90.0]], index=["ara", "ces"], columns=["ara", "ces"]
    )
    notes = pd.DataFrame([["x", "y"]], index=["#1"], columns=["ara", "ces"])
    with pd.ExcelWriter(file, engine="openpyxl") as writer:
        sheet = pd.concat([square.astype(object), notes])
        sheet.to_excel(writer, sheet_name=pub.options["sheet"])
    table = published.load("parsing-16")
    assert len(table) == 4 and table["score"].max() == pytest.approx(0.9)


def test_mixtures(root: Path) -> None:
    config = {"train_config": {"en": 1000, "hi": 10}, "eval_results": {"hi": 0.7, "sw": 0.4}}
    put(root, published._LITMUS, "SumEval/data/train/XNLI_XLMR.json", json.dumps([config]))
    surprise = "SumEval/data/test_gold/XNLI_XLMR_surprise_langs_diff_configs.json"
    put(
        root,
        published._LITMUS,
        surprise,
        json.dumps([{"train_config": {"en": 5}, "eval_results": {"yo": 0.3}}]),
    )
    table = published.mixtures("xnli-xlmr").set_index("target")
    assert table.loc["hin", "n_target"] == 10 and table.loc["swh", "n_target"] == 0
    assert table.loc["yor", "split"] == "surprise-diff" and table.loc["yor", "train_hin"] == 0


def test_tokens_of_xlmr(root: Path) -> None:
    text = "my Burmese 71 0.4\nmy Burmese (Zawgyi) 10 1.6\nen English 55608 300.8\n"
    put(root, published._XPOS, "research/udpos/langs-xlmr.txt", text)
    assert published.xlmr_tokens() == {"mya": 81e6, "eng": 55608e6}


def test_similarities(root: Path) -> None:
    path = "mplm_sim/sim/model_corpus/" + published.SIMILARITIES["mt5-layer1"]
    put(root, published._MPLM, path, "\tafr_Latn\tamh_Ethi\nafr_Latn\t\t0.7\namh_Ethi\t0.7\t\n")
    table = published.similarities("mt5-layer1")
    assert len(table) == 2 and table["mplm_mt5_layer1"].eq(0.7).all()


@pytest.mark.parametrize(
    ("call", "name", "near"),
    [
        (published.load, "ner-xlm", "ner-xlmr"),
        (published.mixtures, "udpos", "udpos-xlmr"),
        (published.similarities, "mt5", "mt5-layer1"),
    ],
)
def test_unknown_names_suggest_the_nearest(call, name: str, near: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=near):
        call(name)


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLT_DATA", str(tmp_path))
    put_for(tmp_path, "ner-xlmr", "train_lang,test_lang,acc,f1\nen,ar,0.9,0.41\n")
    with pytest.raises(ValueError, match="damaged"):
        published.load("ner-xlmr")


def test_without_a_network_the_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    def offline(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setenv("XLT_DATA", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(ValueError, match=r"XLT_DATA/blazejdolicki"):
        published.load("ner-xlmr")


def test_download_goes_to_the_pinned_commit_and_checks_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    asked: dict[str, str] = {}

    def retrieve(url: str, known_hash: str, **_: object) -> str:
        asked.update(url=url, known_hash=known_hash)
        raise OSError("stop here")

    monkeypatch.delenv("XLT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(ValueError, match="stop here"):
        published.load("parsing-16")
    assert asked["url"].startswith("https://raw.githubusercontent.com/hwijeen/langrank/82a81f1")
    assert " " not in asked["url"] and asked["known_hash"].startswith("sha256:")


def _here() -> bool:
    pub = published.SCORES["ner-xlmr"]
    root = os.environ.get("XLT_DATA")
    return bool(root) and (Path(root) / pub.home[0] / pub.home[1] / pub.path).is_file()


real = pytest.mark.skipif(not _here(), reason="set XLT_DATA to the folder of published tables")


@real
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_as_published(name: str) -> None:
    table = published.load(name)
    assert (table["source"].nunique(), table["target"].nunique(), len(table)) == SHAPES[name]
    assert not table.duplicated(["source", "target"]).any()
    assert table["score"].between(0, 1).all()


@real
def test_real_treebanks_and_mixtures() -> None:
    las = published.load("las")
    assert las["source_set"].nunique() == 78 and las["target_set"].nunique() == 114
    assert not las.duplicated(["source_set", "target_set"]).any()
    assert published.mixtures("udpos-xlmr")["split"].value_counts()["train"] == 400 * 30
