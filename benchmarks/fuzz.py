"""Whether anything read from outside ends in anything but a table or a sentence.

    python benchmarks/fuzz.py [--n 100000] [--kinds codes scores pairs experiments] [--seed 0]

Labels of languages, tables of scores and of pairs (text, JSON, Excel, Parquet), and experiments (a
file, `--set`): random Unicode, random bytes, and real ones with parts cut, doubled, moved and
replaced. A fault is an exception that is no ValueError of ours with a sentence, or an accepted
label that does not lead to a registered language with an English name and back. Aim: none.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iso639
import pandas as pd
import yaml

from xltlib import reading, scores
from xltlib.errors import reason
from xltlib.languages import keys, language
from xltlib.train import config, plan

ROOT = Path(__file__).resolve().parents[1]
SHARES = {"codes": 0.55, "scores": 0.15, "pairs": 0.15, "experiments": 0.15}
CELLS = ["", "en", "de", "tr", "source", "target", "score", "0.5", "81,5", "—", "avg", "±", "1e999",
         "→", "{", "[", "\\\\", "&", "|", "'", '"', "nan", "None", "UD_German-GSD", "en->de", "-1",
         "%", "\0", "model", "seed 1", "accuracy", "loss", "$^$", "\ufeff", "<b>"]  # fmt: skip
VALUES = [None, True, -1, 0, 0.5, 1e999, float("nan"), 10**400, "", "eng", "all", "-rf", "$^$",
          "\0", "/", [], [[]], [None], {}, {"": ""}, {1: 2}, {"sources": 1}, "9" * 300, ["eng"],
          "[" * 3000, "!!timestamp x", "2001-01-01", "&a [*a]", {"kind": "encoder"},
          {"kind": "checkpoint"}, {"name": "x" * 5000}]  # fmt: skip


def text(rng: random.Random, most: int = 12) -> str:
    """Any characters, of all planes and of the ones that mean something."""
    planes = [(32, 126), (32, 126), (0, 591), (880, 8191), (0x3000, 0xD7FF), (0xE000, 0x10FFFF)]
    return "".join(chr(rng.randint(*rng.choice(planes))) for _ in range(rng.randint(0, most)))


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A few parts cut, doubled, moved, replaced, flipped."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, other, length = (
            rng.randrange(len(out) + 1),
            rng.randrange(len(out) + 1),
            rng.randint(1, 9),
        )
        piece = out[other : other + rng.choice((length, 40))]
        change = rng.randrange(5)
        if change == 0:
            del out[at : at + length]
        elif change == 1:
            out[at:at] = piece
        elif change == 2:
            out[at : at + len(piece)] = piece
        elif change == 3:
            out[at:at] = rng.choice(CELLS).encode()
        elif at < len(out):
            out[at] = rng.randrange(256)
    return bytes(out)


def labels() -> list[str]:
    """What languages are called: codes, tags, names."""
    entries = [e for e in iso639.ALL_LANGUAGES if e.type == "L"]
    known = [x for e in entries for x in (e.part3, e.part1, e.name) if x]
    tags = [
        "zh-min-nan",
        "hi_rom",
        "pt-BR",
        "srp_Latn",
        "Serbian (Latin)",
        "ca-valencia",
        "eng-deu",
    ]
    return [*known, *tags * 100, *CELLS]


def a_label(rng: random.Random, known: list[str]) -> str:
    """One label."""
    if rng.random() < 0.3:
        return text(rng)
    if rng.random() < 0.3:
        return rng.choice("-_ /+").join(rng.choice(known)[:8] for _ in range(rng.randint(1, 4)))
    return mutated(rng, rng.choice(known).encode()).decode("utf-8", "replace")


def tables(folder: Path) -> list[tuple[str, bytes]]:
    """Tables in every form, by name."""
    frame = pd.DataFrame(
        [[81, 71.5, 65.5], [75, 76, 67], [77.5, 70.5, 70]], *(["en", "de", "tr"],) * 2
    )
    long = frame.rename_axis(index="source", columns="target").stack().rename("score").reset_index()
    odd = long.assign(tags=[[1], None, []] * 3, at=pd.Timestamp(0))
    odd.assign(n_test=pd.array([5, None, 7] * 3, "Int64")).to_parquet(folder / "x.parquet")
    frame.to_excel(folder / "x.xlsx")
    found = [(p.name, p.read_bytes()) for p in (folder / "x.parquet", folder / "x.xlsx")] * 2
    found += [
        ("x.json", long.to_json(orient=how).encode()) for how in ("records", "split", "table")
    ]
    for name, column in (("forms", 1), ("refused", 0)):
        with (ROOT / "book" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in list(csv.reader(file))[1:]:
                example = row[column].removeprefix("```text\n").removesuffix("\n```")
                found.append((named(example), example.encode()))
    return found


def named(example: str) -> str:
    """The name of a file with such a beginning."""
    return "x.json" if example[:1] in "[{" else "x.csv"


def a_table(rng: random.Random, known: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """One file: its name and bytes."""
    form = rng.random()
    if form < 0.1:
        return "x.csv", rng.randbytes(rng.randint(0, 300))
    if form < 0.2:
        return "x.csv", text(rng, 300).encode()
    if form < 0.4:
        sep, width = rng.choice(",;\t|& "), rng.randint(1, 5)
        rows = [[rng.choice(CELLS) for _ in range(width)] for _ in range(rng.randint(1, 6))]
        return "x.csv", "\n".join(map(sep.join, rows)).encode()
    name, data = rng.choice(known)
    return name, mutated(rng, data)


def an_experiment(rng: random.Random, known: list[str]) -> tuple[str, list[str]]:
    """The text of a file, and overrides."""
    whole, overrides = rng.choice(known), []
    form = rng.random()
    if form < 0.4:
        return mutated(rng, whole.encode()).decode("utf-8", "replace"), overrides
    content: Any = yaml.safe_load(whole)
    for _ in range(rng.randint(1, 3)):
        place, path = content, []
        while isinstance(place, dict) and place:
            path.append(rng.choice([*place, "recipe", "pretrain"]))
            if rng.random() < 0.4 or not isinstance(place.get(path[-1]), dict):
                break
            place = place[path[-1]]
        value = rng.choice(VALUES)
        if form < 0.7:
            place[path[-1]] = value
        else:
            given = (
                value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)
            )
            overrides.append(".".join(map(str, path)) + "=" + rng.choice([given, text(rng)]))
    return yaml.safe_dump(content), overrides


def leads_back(label: str) -> None:
    """The language of a label is registered, has a name, and its key leads back to it."""
    found = language(label)
    own = keys([label])[label]
    assert language(own).key == own and language(found.key) == found, label
    assert iso639.Language.from_part3(found.code).status in ("A", "R") and found.name, label


def all_lead_back(table: pd.DataFrame) -> None:
    """Every language of a table."""
    for key in {*table["source"], *table["target"]}:
        assert language(key).key == key and language(key).name, key


def readers(
    folder: Path,
) -> dict[str, Callable[[random.Random], tuple[object, Callable[[], None]]]]:
    """By kind: from a generator an input, and what reads and checks it."""
    known, forms = labels(), tables(folder)
    files = [path.read_text("utf-8") for path in sorted((ROOT / "experiments").glob("*.yml"))]

    def of_code(rng: random.Random) -> tuple[object, Callable[[], None]]:
        label = a_label(rng, known)
        return label, lambda: leads_back(label)

    def of_table(how: Callable[[Path], pd.DataFrame]) -> Callable[[random.Random], Any]:
        def of_file(rng: random.Random) -> tuple[object, Callable[[], None]]:
            name, data = a_table(rng, forms)
            (folder / name).write_bytes(data)
            return (name, data), lambda: all_lead_back(how(folder / name))

        return of_file

    def of_experiment(rng: random.Random) -> tuple[object, Callable[[], None]]:
        whole, overrides = an_experiment(rng, files)
        (folder / "x.yml").write_text(whole, "utf-8")

        def read() -> None:
            exp = config.load(str(folder / "x.yml"), overrides)
            plan.parts(exp)
            assert all(language(code).name for code in exp.languages)

        return (whole, overrides), read

    return {"codes": of_code, "scores": of_table(scores.read), "pairs": of_table(reading.pairs),
            "experiments": of_experiment}  # fmt: skip


def fuzz(kind: str, make: Callable[[random.Random], Any], n: int, seed: int) -> int:
    """Read `n` inputs; a line of what came of them and the faults by their last place."""
    faults: dict[str, tuple[int, object, int]] = {}
    accepted, slowest, began = 0, (0.0, 0), time.process_time()
    for i in range(n):
        given, read = make(random.Random(f"{kind} {seed} {i}"))
        before = time.process_time()
        try:
            read()
            accepted += 1
        except Exception as error:
            said = reason(error) if isinstance(error, ValueError) else ""
            if not said or said.startswith("unexpected"):
                frame = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{type(error).__name__} {frame.filename}:{frame.lineno} {str(error)[:80]}"
                count = faults.get(place, (0,))[0]
                faults[place] = (count + 1, given, i)
        slowest = max(slowest, (time.process_time() - before, i))
    used = time.process_time() - began
    print(f"{kind}: {n} inputs, {accepted} accepted, {sum(f[0] for f in faults.values())} faults,",
          f"{used:.0f} CPU s, the slowest {slowest[0]:.1f} s (input {slowest[1]})")  # fmt: skip
    for place, (count, given, i) in faults.items():
        print(f"  {count} x {place}: input {i}, {str(given)[:300]!r}")
    return len(faults)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="+", default=list(SHARES), choices=list(SHARES))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLT_BUILD"] = f"{folder}/build"
        every = readers(Path(folder))
        total = sum(SHARES[kind] for kind in asked.kinds)
        bad = [fuzz(kind, every[kind], round(asked.n * SHARES[kind] / total), asked.seed)
               for kind in asked.kinds]  # fmt: skip
    raise SystemExit(bool(sum(bad)))
