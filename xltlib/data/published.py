"""Transfer scores that other researchers measured and published, as tidy tables.

``load(name)`` gives the *scores* table of one publication, ``mixtures(name)`` the LITMUS tables in
which a model was trained on several languages at once, ``similarities(name)`` similarity measured
inside a model. Every file is known by repository, commit and SHA-256 (`published.sha256` next to
this module). It is read under the folder named by the environment variable ``XLT_DATA`` (layout
``owner/repo/commit/path``) and otherwise fetched once from GitHub into the user's cache. Nothing is
unpickled, no foreign code is run.

In treebank matrices several columns share one language: ``source`` and ``target`` stay language
codes and ``source_set``, ``target_set`` name the treebank. Columns that start with ``pair_`` are
properties of the data sets known before any transfer is measured (sizes, overlaps); the
publications' own rank columns are functions of the scores and are not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xltlib.errors import unknown

Reader = Callable[["Publication"], pd.DataFrame]

_COLUMNS = ["model", "task", "source", "target", "n_target", "seed", "metric", "score", "n_test"]
_LITMUS = ("microsoft/Litmus", "0f5c85b07d16ef6d229bee6c5138c127e1e4c90b")
_XPOS = ("wietsedv/xpos", "4edb3a9163a653c58e3e42fcf0895de8596ae45b")
_LANGRANK = ("Swithord/langrank", "34914df96ca5e31f4ed7a39b716aad3c4bc78bd0")
_RICE = ("covetedfish/langrank", "dd1584b3afe4cf0d8f9b88169ed76ecc5e87e767")
_NNRANK = ("abteen/nn-rank", "63a4294e083234a3db63bfc670a5e30c59b6cf77")
_LAS = ("MorphDiv/transfer-lang", "af19b3d6b95b84986a4cc53ab43b45dbf316a8b5")
_SUN = ("hwijeen/langrank", "82a81f17b787e88fbf2caca538e53110d6d6b61d")
_MASAKHA = ("Michael-Beukman/NERTransfer", "9eea72df3317b9e31fe9e12c6a398c5bdf037557")
_DOLICKI = ("blazejdolicki/multilingual-analysis", "8ba74a8405054bef0b825b8fd208cc35e255b208")
_MT5 = ("Swithord/langrankplus", "845434309082179859ec188bf125e3b587f28876")
_MPLM = ("cisnlp/mPLM-Sim", "d065e2cf708e10cd624e10990ce163d653fd451f")

CITATION = {
    _LITMUS[0]: "Srinivasan et al. 2022 (LITMUS), AAAI; SumEval 2022 shared task. MIT licence.",
    _XPOS[0]: "de Vries, Wieling & Nissim 2022, ACL 2022.acl-long.529.",
    _LANGRANK[0]: "Lin et al. 2019 (LangRank), ACL P19-1301; tables in the form of URIEL+.",
    _RICE[0]: "Rice et al. 2025, arXiv 2503.19979. BSD-3-Clause.",
    _NNRANK[0]: "Ebrahimi et al. 2025 (NN-Rank), EMNLP, arXiv 2510.03202. CC BY-SA 4.0.",
    _LAS[0]: "Samardžić et al. 2022, CoNLL 2022.conll-1.18.",
    _SUN[0]: "Sun et al. 2021, EACL 2021.eacl-main.204.",
    _MASAKHA[0]: "Beukman & Fokam 2023, arXiv 2309.05311. Apache-2.0.",
    _DOLICKI[0]: "Dolicki & Spanakis 2021, arXiv 2105.05975.",
    _MT5[0]: "LangRankPlus repository (York Hay Ng, Lee Language Lab); no paper found.",
    _MPLM[0]: "Lin et al. 2024 (mPLM-Sim), arXiv 2305.13684. Apache-2.0.",
}


@dataclass(frozen=True)
class Publication:
    """One published table: where it lives, what it measured, how it is read."""

    name: str
    home: tuple[str, str]
    path: str
    task: str
    model: str
    metric: str
    read: Reader
    options: dict[str, Any]

    @property
    def citation(self) -> str:
        return CITATION[self.home[0]]

    def file(self, path: str | None = None) -> Path:
        """The checked file on this machine (see `fetch`)."""
        return fetch(*self.home, path or self.path)


@cache
def _checksums() -> dict[str, str]:
    lines = Path(__file__).with_name("published.sha256").read_text(encoding="utf-8").splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines if line)}


def fetch(repository: str, commit: str, path: str) -> Path:
    """Find one published file under ``XLT_DATA`` or download it, and check its SHA-256.

    Raises
    ------
    ValueError
        If the bytes are not the ones this version of the library was written against.
    """
    key = f"{repository}/{commit}/{path}"
    digest = _checksums().get(key)
    if digest is None:
        raise unknown("published file", key, _checksums(), "See xltlib.data.published.names().")
    root = os.environ.get("XLT_DATA")
    local = Path(root) / key if root else None
    if local is None or not local.is_file():
        return _download(key, repository, commit, path, digest)
    if hashlib.sha256(local.read_bytes()).hexdigest() != digest:
        raise ValueError(
            f"{local} is damaged: its SHA-256 is not the published one. "
            "Delete it and unpack it again, or unset XLT_DATA to download a fresh copy."
        )
    return local


def _download(key: str, repository: str, commit: str, path: str, digest: str) -> Path:
    from urllib.parse import quote

    import pooch

    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{quote(path)}"
    folder = pooch.os_cache("xltlib") / "published" / Path(key).parent
    try:
        return Path(pooch.retrieve(url, f"sha256:{digest}", fname=Path(key).name, path=folder))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise ValueError(
            f"could not get {url}: {error}. Without a network, put a copy at "
            f"$XLT_DATA/{key} and set the environment variable XLT_DATA."
        ) from error


# readers: one per published layout, each returns source, target, score and extras in the file's
# codes


def _read_long(pub: Publication) -> pd.DataFrame:
    """One row per pair; ``columns`` renames the file's columns to ours."""
    columns = pub.options["columns"]
    table = pd.read_csv(pub.file())
    return table[list(columns)].rename(columns=columns)


def _read_wide(pub: Publication) -> pd.DataFrame:
    """Rows are sources, columns targets."""
    table = pd.read_csv(pub.file(), index_col=0)
    return _melt(table.rename(index=_first_word, columns=_first_word))


def _read_sheet(pub: Publication) -> pd.DataFrame:
    """The square at the top left of a sheet."""
    try:
        table = pd.read_excel(pub.file(), sheet_name=pub.options["sheet"], index_col=0)
    except ImportError as error:
        raise ValueError(f"{pub.name} is an .xlsx file: pip install openpyxl") from error
    codes = [c for c in table.columns if c in table.index]
    table = table.iloc[: len(codes)]  # notes and rankings follow below the square
    return _melt(table.loc[codes, codes].astype(float))


def _read_xpos(pub: Publication) -> pd.DataFrame:
    table = _read_long(pub)
    sizes = pd.read_csv(pub.file("results/udpos-sizes-test.csv"), keep_default_na=False)
    table["n_test"] = table["target"].map(sizes.set_index("language")["size"])
    return table


def _read_nnrank(pub: Publication) -> pd.DataFrame:
    """Treebank level; exact repeats dropped, only test splits kept."""
    table = _read_long(pub).drop_duplicates(["source_set", "target_set"])
    table = table[table["target_set"].str.endswith("-ud-test")].copy()
    for side in ("source", "target"):
        name = table[f"{side}_set"].str.replace(r"-ud-(train|test)$", "", regex=True)
        table[f"{side}_set"], table[side] = name, name.str.split("_").str[0]
    return table


def _read_las(pub: Publication) -> pd.DataFrame:
    """The file is named distances but holds LAS scores; code-mixed treebanks have no language."""
    table = _melt(pd.read_csv(pub.file(), sep="\t", index_col=0))
    codes = pd.read_csv(pub.file("data/iso.csv")).set_index("Treebank")["iso"].to_dict()
    codes |= {
        "UD_Classical_Chinese-Kyoto": "lzh",
        "UD_Old_East_Slavic-TOROT": "orv",
        "UD_Western_Armenian-ArmTDP": "hyw",
    }
    for side in ("source", "target"):
        table[f"{side}_set"] = table[side].str.removeprefix("UD_")
        table[side] = table[side].map(codes)
    return table.dropna(subset=["source", "target"])


def _read_glotto(pub: Publication) -> pd.DataFrame:
    table = _read_long(pub)
    mapping = pd.read_csv(pub.file("data/code_mapping.csv"))
    codes = mapping.drop_duplicates("glottocode").set_index("glottocode")["isocode"]
    for side in ("source", "target"):
        table[side] = table[side].map(codes)
    return table.dropna(subset=["source", "target"])


def _melt(table: pd.DataFrame) -> pd.DataFrame:
    """Wide source x target to long."""
    table = table.rename_axis(index="source", columns="target")
    return pd.DataFrame({"score": table.unstack()}).reset_index().dropna(subset=["score"])


def _first_word(label: object) -> str:
    return str(label).split(" ")[0]


def _langrank_columns(score: str, *data: str) -> dict[str, str]:
    named = {
        "Word overlap": "pair_word_overlap",
        "Overlap word-level": "pair_word_overlap",
        "Overlap subword-level": "pair_subword_overlap",
        "Entity overlap": "pair_entity_overlap",
        "Transfer lang dataset size": "pair_source_size",
        "Target lang dataset size": "pair_target_size",
        "Transfer over target size ratio": "pair_size_ratio",
        "Transfer lang TTR": "pair_source_ttr",
        "Target lang TTR": "pair_target_ttr",
        "Transfer target TTR distance": "pair_ttr_distance",
    }
    ends = {"transfer_lang": "source", "task_lang": "target", score: "score"}
    return ends | {column: named[column] for column in data}


_SIZES = (
    "Transfer lang dataset size",
    "Target lang dataset size",
    "Transfer over target size ratio",
)
_TTR = ("Transfer lang TTR", "Target lang TTR", "Transfer target TTR distance")
_XPOS_COLUMNS = {"lang_train": "source", "lang_pred": "target", "score": "score"}
_NNRANK_COLUMNS = {
    "train_file": "source_set",
    "eval_file": "target_set",
    "accuracy": "score",
    "num_eval_examples": "n_test",
}
_DOLICKI_F1 = {"train_lang": "source", "test_lang": "target", "f1": "score"}
_DOLICKI_ACC = {"train_lang": "source", "test_lang": "target", "acc": "score"}
_GLOTTO_F1 = {"transfer_lang": "source", "task_lang": "target", "f1_score": "score"}
_GLOTTO_ACC = {"transfer_lang": "source", "task_lang": "target", "accuracy": "score"}
_UDPIPE = {"transfer": "source", "target": "target", "upos": "score"}
_NNRANK_PATH = "pos/outputs/pos_evaluation_outputs/{0}/test/results_{0}_test.csv"
_DOLICKI_PATH = "code/analysing_features/{}.csv"


def _catalogue() -> dict[str, Publication]:
    """Every scores table by name."""
    entries: list[tuple[Any, ...]] = [
        ("xnli-mt5", _MT5, "data/xnli_mt5.csv", "xnli", "mt5", "f1", _read_long,
         {"columns": _GLOTTO_F1}),
        ("ner-xlmr", _DOLICKI, _DOLICKI_PATH.format("ner/ner_lang_pair_scores"), "ner",
         "xlm-r-base", "f1", _read_long, {"columns": _DOLICKI_F1}),
        ("pos-xlmr", _DOLICKI, _DOLICKI_PATH.format("udpos/lang_pair_scores"), "pos",
         "xlm-r-base", "f1", _read_long, {"columns": _DOLICKI_F1}),
        ("xnli-xlmr", _DOLICKI, _DOLICKI_PATH.format("xnli/xnli_lang_pair_scores"), "xnli",
         "xlm-r-base", "accuracy", _read_long, {"columns": _DOLICKI_ACC}),
        ("las", _LAS, "data/las_distances.tsv", "dep", "samardzic2022", "las", _read_las, {}),
        ("langrank-dep", _LANGRANK, "data/dep.csv", "dep", "langrank", "accuracy", _read_long,
         {"columns": _langrank_columns("accuracy", "Word overlap", *_SIZES, *_TTR)}),
        ("langrank-el", _LANGRANK, "data/el.csv", "el", "langrank", "accuracy", _read_long,
         {"columns": _langrank_columns("accuracy", "Entity overlap", *_SIZES)}),
        ("langrank-mt", _LANGRANK, "data/mt.csv", "mt", "langrank", "bleu", _read_long,
         {"columns": _langrank_columns(
             "BLEU", "Overlap word-level", "Overlap subword-level", *_SIZES, *_TTR)}),
        ("langrank-pos", _LANGRANK, "data/pos.csv", "pos", "langrank", "accuracy", _read_long,
         {"columns": _langrank_columns("accuracy", "Overlap word-level", *_SIZES, *_TTR)}),
        ("taxi1500", _LANGRANK, "data/taxi1500.csv", "topic", "uriel-plus", "f1", _read_glotto,
         {"columns": _GLOTTO_F1}),
        ("xnli-uriel", _LANGRANK, "data/xnli.csv", "xnli", "uriel-plus", "accuracy", _read_glotto,
         {"columns": _GLOTTO_ACC}),
        ("rice-xlmr", _RICE, "golds/xlmr_scores_2000_all.csv", "pos", "xlm-r-2000", "accuracy",
         _read_wide, {}),
        ("rice-stanza", _RICE, "golds/aligned_stanza.csv", "pos", "stanza", "accuracy",
         _read_wide, {}),
        ("rice-udpipe", _RICE, "golds/aligned_udpipe.csv", "pos", "udpipe", "accuracy",
         _read_wide, {}),
        ("nnrank-mbert", _NNRANK, _NNRANK_PATH.format("bert-base-multilingual-cased"), "pos",
         "mbert", "accuracy", _read_nnrank, {"columns": _NNRANK_COLUMNS}),
        ("nnrank-xlmr", _NNRANK, _NNRANK_PATH.format("xlm-roberta-base"), "pos", "xlm-r-base",
         "accuracy", _read_nnrank, {"columns": _NNRANK_COLUMNS}),
    ]  # fmt: skip
    book = "Optimal ranking extraction raw data.xlsx"
    for name, sheet, task, metric in (
        ("parsing-16", "DEP Results", "dep", "accuracy"),
        ("sentiment-16", "SA Results", "sentiment", "accuracy"),
        ("sentiment-16-controlled", "SA Controlled", "sentiment", "accuracy"),
    ):
        entries.append((name, _SUN, book, task, "sun2021", metric, _read_sheet, {"sheet": sheet}))
    for arm in ("base", "swa", "lang-specific"):
        path = f"analysis/v20/results_{arm}.csv"
        entries.append((f"masakhaner-{arm}", _MASAKHA, path, "ner", f"xlm-r-{arm}", "f1",
                        _read_wide, {}))  # fmt: skip
    for seen in ("00630", "01250", "02500", "05000", "10000", "20000", "40000", "1epoch", "3epoch"):
        path = f"results/udpos-ft-{seen}.csv"
        entries.append((f"xpos-{seen.lstrip('0')}", _XPOS, path, "pos", "xlm-r-base", "accuracy",
                        _read_xpos, {"columns": _XPOS_COLUMNS}))  # fmt: skip
    return {entry[0]: Publication(*entry) for entry in entries}


SCORES: dict[str, Publication] = _catalogue()
MIXTURES = {
    "udpos-xlmr": "UDPOS_XLMR",
    "wikiann-xlmr": "WikiANN_XLMR",
    "xnli-xlmr": "XNLI_XLMR",
    "xnli-tulr": "XNLI_TULRv6Large",
    "tydiqa-xlmr": "TyDiQA_XLMR_ID",
    "tydiqa-tulr": "TyDiQA_TULRv6Large_ID",
    "tydiqa-xquad-xlmr": "TyDiQA_XLMR_OOD",
    "tydiqa-xquad-tulr": "TyDiQA_TULRv6Large_OOD",
}
SIMILARITIES = {
    "mt5-layer1": "mt5-base_flores200/sents_layer1.tsv",
    "mt5-layer12": "mt5-base_flores200/sents_layer12.tsv",
    "xlmr-layer0": "xlm-roberta-base_flores200/sents_layer0.tsv",
}


def names() -> list[str]:
    """Names that `load` accepts."""
    return list(SCORES)


def load(name: str) -> pd.DataFrame:
    """One published source x target matrix as a tidy scores table.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    DataFrame
        The columns of the scores table (``score`` in 0..1, codes ISO 639-3, ``n_test`` empty where
        it was not published), then ``source_set``/``target_set`` for treebanks and ``pair_*`` data
        features. In-language rows are kept: they are not transfer and every ranking leaves them
        out.

    Raises
    ------
    ValueError
        For an unknown name, or a file that can be neither found nor fetched.
    """
    if name not in SCORES:
        raise unknown("published scores", name, SCORES)
    pub = SCORES[name]
    return _tidy(pub.read(pub), pub)


def _tidy(raw: pd.DataFrame, pub: Publication) -> pd.DataFrame:
    """Common columns, ISO codes, scores in 0..1, one row per cell, sorted."""
    table = raw.assign(task=pub.task, model=pub.model, metric=pub.metric, n_target=0, seed=0)
    if "n_test" not in table:
        table["n_test"] = pd.NA
    table["n_test"] = table["n_test"].astype("Int64")
    table["source"], table["target"] = _codes(table["source"]), _codes(table["target"])
    if table["score"].max() > 1.5:
        table["score"] = table["score"] / 100
    ends = [c for c in ("source", "source_set", "target", "target_set") if c in table]
    extras = [c for c in table if c not in _COLUMNS]
    return table[_COLUMNS + extras].sort_values(ends, ignore_index=True)


def _codes(column: pd.Series) -> pd.Series:
    from xltlib.languages import iso3

    return column.map({code: iso3(code) for code in column.unique()})


def mixtures(name: str) -> pd.DataFrame:
    """One LITMUS table: models trained on a mixture of languages, scored on many targets.

    Parameters
    ----------
    name : str
        One of `MIXTURES`.

    Returns
    -------
    DataFrame
        One row per configuration and target: ``split`` (train, test, surprise-same, surprise-diff),
        ``config`` (number within its file), ``target``, ``n_target`` (the target's own examples in
        the mixture), ``score`` (0..1) and ``train_<language>`` (examples, 0 where absent).
        ``surprise`` splits score targets that no training configuration was scored on.
    """
    if name not in MIXTURES:
        raise unknown("LITMUS table", name, MIXTURES)
    stem, sums = MIXTURES[name], _checksums()
    parts = []
    for split, folder, ending in (
        ("train", "train", ""),
        ("test", "test_gold", ""),
        ("surprise-same", "test_gold", "_surprise_langs_same_configs"),
        ("surprise-diff", "test_gold", "_surprise_langs_diff_configs"),
    ):
        path = f"SumEval/data/{folder}/{stem}{ending}.json"
        if f"{_LITMUS[0]}/{_LITMUS[1]}/{path}" in sums:
            configs = json.loads(fetch(*_LITMUS, path).read_text(encoding="utf-8"))
            parts.append(_mixture_rows(configs).assign(split=split))
    table = pd.concat(parts, ignore_index=True)
    sizes = sorted(str(c) for c in table if str(c).startswith("train_"))
    table[sizes] = table[sizes].fillna(0).astype(int)
    return table[["split", "config", "target", "n_target", "score", *sizes]]


def _mixture_rows(configs: list[dict[str, dict[str, float]]]) -> pd.DataFrame:
    from xltlib.languages import iso3

    rows = []
    for number, config in enumerate(configs):
        sizes = {iso3(code): int(size) for code, size in config["train_config"].items()}
        train = {f"train_{code}": size for code, size in sizes.items()}
        for target, score in config["eval_results"].items():
            code = iso3(target)
            row = {"config": number, "target": code, "n_target": sizes.get(code, 0), "score": score}
            rows.append(row | train)
    return pd.DataFrame(rows)


def similarities(name: str) -> pd.DataFrame:
    """Cosine similarity of languages inside a pre-trained model (mPLM-Sim), as a pairs table.

    Returns
    -------
    DataFrame
        ``source``, ``target`` and one column ``mplm_<name>``; both directions, no in-language rows.
    """
    if name not in SIMILARITIES:
        raise unknown("model similarity", name, SIMILARITIES)
    path = f"mplm_sim/sim/model_corpus/{SIMILARITIES[name]}"
    table = _melt(pd.read_csv(fetch(*_MPLM, path), sep="\t", index_col=0))
    table["source"], table["target"] = _codes(table["source"]), _codes(table["target"])
    measure = f"mplm_{name.replace('-', '_')}"
    table = table.rename(columns={"score": measure}).query("source != target")
    return table.groupby(["source", "target"], as_index=False)[[measure]].mean()


def xlmr_tokens() -> dict[str, float]:
    """Tokens per language in XLM-R's pre-training text, CC-100 (Conneau et al. 2020, table 6).

    For ``xltlib.languages.similarity.pairs(codes, sizes=xlmr_tokens())``: a model's own text says more about
    it than mC4 does. Languages with two scripts in the list count with the sum.
    """
    from xltlib.languages import iso3

    path = fetch(*_XPOS, "research/udpos/langs-xlmr.txt")
    sizes: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        code, *_, millions, _gib = line.split()
        sizes[iso3(code)] = sizes.get(iso3(code), 0.0) + float(millions) * 1e6
    return sizes


def per_language(scores: pd.DataFrame) -> pd.DataFrame:
    """Treebank rows averaged to one row per pair of languages; other tables come back unchanged."""
    sets = [c for c in ("source_set", "target_set") if c in scores]
    if not sets:
        return scores
    keys = [c for c in _COLUMNS if c not in ("score", "n_test")]
    mean = scores.groupby(keys, as_index=False)[["score"]].mean()
    return mean.assign(n_test=pd.array(np.full(len(mean), pd.NA), dtype="Int64"))[_COLUMNS]
