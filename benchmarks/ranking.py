"""Every ranking method on every published matrix: the finish line, cold and warm.

    python benchmarks/ranking.py --out results/ranking [--matrices ner-xlmr las] [--quick]

Leave one target language out, pairs within a language dropped, one method and one preset for all.
Then the SumEval shared task: absolute scores of models trained on several languages at once.
Writes ``league.csv`` (method x matrix x protocol with 95 % intervals, bootstrap over target
languages), ``levels.csv`` (absolute scores, coverage of the 90 % intervals) and
``finish_line.csv``, and prints the last.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import pandas as pd

from xltlib import levels, ranking, similarity
from xltlib.data import published

PROTOCOLS: tuple[ranking.Protocol, ...] = ("cold", "warm")
# matrix, protocol, figure, must, aim; a smaller loss and a larger everything else is better
FINISH = [
    ("ner-xlmr", "cold", "loss_pct", 10.0, None),
    ("ner-xlmr", "cold", "ndcg3", 50.0, None),
    ("ner-xlmr", "warm", "loss_pct", None, 6.5),
    ("ner-xlmr", "warm", "ndcg3", None, 59.0),
    ("pos-xlmr", "cold", "loss_pct", 4.8, None),
    ("pos-xlmr", "cold", "ndcg3", 53.0, None),
    ("pos-xlmr", "warm", "loss_pct", None, 2.6),
    ("pos-xlmr", "warm", "ndcg3", None, 62.0),
    ("xpos-10000", "cold", "loss_pct", 7.1, None),
    ("xpos-10000", "cold", "ndcg3", 39.0, None),
    ("xpos-10000", "warm", "loss_pct", None, 5.2),
    ("xpos-10000", "warm", "ndcg3", None, 49.0),
    ("las", "cold", "loss_pct", 9.0, 7.4),
    ("las", "cold", "ndcg3", 38.0, 46.0),
    ("las", "warm", "loss_pct", 9.0, 7.4),
    ("las", "warm", "ndcg3", 38.0, 46.0),
    ("langrank-dep", "warm", "ndcg3", 65.0, 73.0),
    ("langrank-el", "warm", "ndcg3", 66.0, 74.0),
    ("langrank-mt", "warm", "ndcg3", 51.1, 53.8),
    ("langrank-pos", "warm", "ndcg3", 24.0, 29.0),
    ("xnli-mt5", "cold", "loss_pct", 0.46, 0.30),
    ("xnli-mt5", "cold", "spearman", 0.85, None),
    ("xnli-mt5", "warm", "loss_pct", 0.46, 0.30),
    ("xnli-mt5", "warm", "spearman", 0.85, None),
    ("ner-xlmr", "cold", "r2_loto", 0.60, 0.65),
    ("pos-xlmr", "cold", "r2_loto", 0.50, 0.55),
    ("xpos-10000", "cold", "r2_loto", 0.70, 0.75),
    ("las", "cold", "r2_loto", 0.70, 0.75),
    ("langrank-dep", "cold", "r2_loto", 0.70, 0.75),
]
# LITMUS tables, XLM-R: mean absolute error on new configurations of seen and of surprise targets
SUMEVAL = [
    ("udpos-xlmr", "test", 0.0144, 0.0052),
    ("wikiann-xlmr", "test", 0.0112, 0.0099),
    ("xnli-xlmr", "test", 0.0033, 0.0032),
    ("udpos-xlmr", "surprise-same", 0.105, 0.044),
    ("udpos-xlmr", "surprise-diff", 0.105, 0.044),
    ("wikiann-xlmr", "surprise-same", 0.117, 0.100),
    ("wikiann-xlmr", "surprise-diff", 0.117, 0.100),
    ("xnli-xlmr", "surprise-same", 0.0358, 0.0343),
    ("xnli-xlmr", "surprise-diff", 0.0358, 0.0343),
]


def measure(name: str, methods: list[str] | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """League and levels of one matrix under both protocols."""
    scores = published.load(name)
    sizes = similarity.text_sizes(scores["model"].iloc[0])
    pairs = similarity.pairs({*scores["source"], *scores["target"]}, sizes=sizes)
    began = time.perf_counter()
    leagues = [ranking.league(scores, pairs, p, methods) for p in PROTOCOLS]
    absolute = [levels.levels(scores, pairs, p) for p in PROTOCOLS]
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    both = pd.concat(leagues), pd.concat(absolute)
    return both[0].assign(matrix=name), both[1].assign(matrix=name)


def finish_line(league: pd.DataFrame, absolute: pd.DataFrame) -> pd.DataFrame:
    """The asked-for figures beside what `xlt` and one best-average source reach."""
    table = league.set_index(["matrix", "protocol", "method"])
    absolute = absolute.set_index(["matrix", "protocol"])
    rows = []
    for name, protocol, figure, must, aim in FINISH:
        if (name, protocol) not in absolute.index:
            continue
        row: dict[str, object] = {"matrix": name, "protocol": protocol, "figure": figure}
        if figure == "r2_loto":
            got = float(absolute.loc[(name, protocol), figure])
        else:
            got = float(table.loc[(name, protocol, "xlt"), figure])
            row |= {
                end: table.loc[(name, protocol, "xlt"), f"{figure}_{end}"]
                for end in ("low", "high")
            }
            row["best_mean"] = table.loc[(name, protocol, "best_mean"), figure]
        sign = -1 if figure == "loss_pct" else 1
        row |= {"xlt": got, "must": must, "aim": aim}
        row |= {f"{k}_met": None if v is None else sign * got >= sign * v
                for k, v in (("must", must), ("aim", aim))}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def sumeval() -> pd.DataFrame:
    """The shared task's rows of the finish line; trained on the training configurations alone."""
    rows = []
    for name in dict.fromkeys(row[0] for row in SUMEVAL):
        table = published.mixtures(name)
        trained = {c.removeprefix("train_") for c in table if c.startswith("train_")}
        pairs = similarity.pairs({*trained, *table["target"]}, sizes=similarity.text_sizes("xlm-r"))
        train = table[table["split"] == "train"]
        for _, split, must, aim in (row for row in SUMEVAL if row[0] == name):
            asked = table[table["split"] == split]
            miss = asked["score"] - levels.mixtures(train, asked, pairs)
            got = float(miss.abs().mean())
            row = {"matrix": f"sumeval-{name}", "protocol": split, "figure": "mae", "xlt": got}
            row |= {"must": must, "aim": aim, "must_met": got < must, "aim_met": got < aim}
            rows.append(row)
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    os.replace(temporary, path)


def main() -> None:
    every = list(dict.fromkeys(row[0] for row in FINISH)) + ["xnli-xlmr", "rice-xlmr"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three tables")
    parser.add_argument(
        "--matrices", nargs="+", default=every, help="names in xltlib.data.published"
    )
    parser.add_argument("--quick", action="store_true", help="leave out LambdaMART, the slowest")
    chosen = parser.parse_args()
    parts = []
    for name in chosen.matrices:
        methods = None
        if chosen.quick:
            methods = ["xlt", "best_mean", "english", "random", "rank_fusion", "ridge"]
        parts.append(measure(name, methods))
    league, absolute = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    finish = pd.concat([finish_line(league, absolute), sumeval()], ignore_index=True)
    for name, table in (("league", league), ("levels", absolute), ("finish_line", finish)):
        write(table, chosen.out / f"{name}.csv")
    print(finish.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
