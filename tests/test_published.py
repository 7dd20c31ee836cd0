"""Loaders of published matrices: on small files of the same format, on the real ones if here."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from xltlib.data import files

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import published  # noqa: E402

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
    """An XLT_DATA of our own; nobody knows the checksums of the files put there."""
    monkeypatch.setenv("XLT_DATA", str(tmp_path))
    for name, table in published.SCORES.items():
        monkeypatch.setitem(published.SCORES, name, replace(table, checksums={}))
    return tmp_path


def put(root: Path, repository: str, path: str, text: str) -> Path:
    file = root / repository / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def put_for(root: Path, name: str, text: str, file: str = "") -> Path:
    table = published.SCORES[name]
    return put(root, table.repository, file or table.file, text)


def put_in(root: Path, patch: pytest.MonkeyPatch, repository: str, files: dict[str, str]) -> None:
    """Put files of a repository, whose card then knows them and no others."""
    of = published.REPOSITORIES[repository]
    sums = {}
    for path, text in files.items():
        file = put(root, of.repository, path, text)
        sums[path] = (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
    patch.setitem(published.REPOSITORIES, repository, replace(of, checksums=sums))


def test_every_published_file_has_a_checksum() -> None:
    for of in published.REPOSITORIES.values():
        assert of.citation and all(len(d) == 64 and n > 0 for d, n in of.checksums.values())
    for table in published.SCORES.values():
        lookups = [lookup.file for lookup in (table.languages, table.n_test) if lookup]
        assert {table.file, *lookups} <= set(table.checksums)


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
    sizes = ",language,size\n0,nl,100\n1,en,200\n"
    put_for(root, "xpos-10000", sizes, "results/udpos-sizes-test.csv")
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


def test_las_are_scores_of_treebanks_that_have_a_language(root: Path) -> None:
    text = "\tUD_Czech-PDT\tUD_Turkish_German-SAGT\nUD_Polish-LFG\t0.7\t0.2\n"
    put_for(root, "las", text)
    put_for(root, "las", "Treebank,iso\nUD_Czech-PDT,ces\nUD_Polish-LFG,pol\n", "data/iso.csv")
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
    codes = "isocode,glottocode\narb,stan1318\nbul,bulg1262\n"
    put_for(root, "xnli-uriel", codes, "data/code_mapping.csv")
    table = published.load("xnli-uriel")
    assert table[["source", "target"]].to_numpy().tolist() == [["bul", "arb"]]


def test_spreadsheet(root: Path) -> None:
    pytest.importorskip("openpyxl")
    file = put_for(root, "parsing-16", "")
    square = pd.DataFrame(
        [[80.0, 40.0], [30.0, 90.0]], index=["ara", "ces"], columns=["ara", "ces"]
    )
    notes = pd.DataFrame([["x", "y"]], index=["#1"], columns=["ara", "ces"])
    with pd.ExcelWriter(file, engine="openpyxl") as writer:
        sheet = pd.concat([square.astype(object), notes])
        sheet.to_excel(writer, sheet_name=published.SCORES["parsing-16"].sheet)
    table = published.load("parsing-16")
    assert len(table) == 4 and table["score"].max() == pytest.approx(0.9)


def test_mixtures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"train_config": {"en": 1000, "hi": 10}, "eval_results": {"hi": 0.7, "sw": 0.4}}
    surprise = {"train_config": {"en": 5}, "eval_results": {"yo": 0.3}}
    files = {
        "SumEval/data/train/XNLI_XLMR.json": json.dumps([config]),
        "SumEval/data/test_gold/XNLI_XLMR_surprise_langs_diff_configs.json": json.dumps([surprise]),
    }
    put_in(root, monkeypatch, "litmus", files)
    table = published.mixtures("xnli-xlmr").set_index("target")
    assert table.loc["hin", "n_target"] == 10 and table.loc["swh", "n_target"] == 0
    assert table.loc["yor", "split"] == "surprise-diff" and table.loc["yor", "train_hin"] == 0


@pytest.mark.parametrize(
    ("call", "name", "near"),
    [
        (published.load, "ner-xlm", "ner-xlmr"),
        (published.mixtures, "udpos", "udpos-xlmr"),
    ],
)
def test_unknown_names_suggest_the_nearest(call, name: str, near: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=near):
        call(name)


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLT_DATA", str(tmp_path))
    put_for(tmp_path, "ner-xlmr", "train_lang,test_lang,acc,f1\nen,ar,0.9,0.41\n")
    with pytest.raises(ValueError, match="altered or cut short"):
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
    table = published.SCORES["ner-xlmr"]
    return files.local(table.repository, table.file) is not None


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
