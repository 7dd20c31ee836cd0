"""Loading the public tasks: from a Hub-shaped cache, from files, from a user's own; bad input."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pooch
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import hubcache  # noqa: E402

from xltlib import languages, scores  # noqa: E402
from xltlib.data import cards, datasets, files  # noqa: E402
from xltlib.data.cards import CARDS, VIEWS, Files, Hub  # noqa: E402
from xltlib.languages.similarity import pairs  # noqa: E402
from xltlib.tasks.base import Example  # noqa: E402
from xltlib.tasks.public import PUBLIC, public_task  # noqa: E402

LOCAL = os.environ.get("XLT_DATA")
needs_data = pytest.mark.skipif(
    not (LOCAL and Path(LOCAL, "google-deepmind").is_dir()),
    reason="set XLT_DATA to an unpacked copy of the public data",
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No local copy, empty caches, no network."""
    import pooch

    monkeypatch.delenv("XLT_DATA", raising=False)
    monkeypatch.setenv("XLT_DATA_LOCK", str(tmp_path / "lock.json"))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    datasets.forget()


def test_doctests() -> None:
    import doctest

    for module in (files, datasets):
        assert doctest.testmod(module).failed == 0


# ---------------------------------------------------------------- the Hub


SQUAD_COLUMNS = {
    "id": ["finnish-1", "finnish-2", "telugu-3"],
    "title": ["A", "B", "C"],
    "context": ["Se on Oslo.", "Se on Riga.", "అది ఓస్లో."],
    "question": ["Mikä?", "Mikä se on?", "ఏది?"],
    "answers": [
        {"text": ["Oslo"], "answer_start": [6]},
        {"text": ["Riga", "Riga"], "answer_start": [6, 6]},
        {"text": ["ఓస్లో"], "answer_start": [4]},
    ],
}
NLI_COLUMNS = {"premise": ["Er ging.", "Ja."], "hypothesis": ["Er blieb.", "Ja."], "label": [2, 0]}
TAGGED = {"tokens": [["Oslo", ",", "Ida"], ["ja"]], "langs": [["de"] * 3, ["de"]]}
CACHED: dict[str, tuple[str, hubcache.Tables]] = {
    "xnli": ("de", {"de": {s: NLI_COLUMNS for s in ("train", "validation", "test")}}),
    "pawsx": (
        "de",
        {
            "de": {
                "test": {"id": [7, 8], "sentence1": ["a b", "c"], "sentence2": ["b a", "d"],
                         "label": [1, 0]},
            }
        },
    ),
    "wikiann": ("de", {"PAN-X.de": {"test": {**TAGGED, "ner_tags": [[5, 0, 1], [0]]}}}),
    "udpos": ("de", {"udpos.German": {"test": {**TAGGED, "pos_tags": [[11, 12, 11], [6]]}}}),
    "udpos_dev": ("de", {"udpos.German": {"validation": {
        "tokens": [["ja"], ["er"], ["da"], ["Oslo", ",", "Ida"]], "langs": [["de"]] * 4,
        "pos_tags": [[6], [10], [2], [11, 12, 11]],
    }}}),
    "tydiqa": (
        "fi",
        {"secondary_task": {"train": SQUAD_COLUMNS, "validation": SQUAD_COLUMNS}},
    ),
    "squad": (
        "en",
        {"SQuAD": {s: SQUAD_COLUMNS for s in ("train", "validation")}},
    ),
    "mlqa": (
        "de",
        {"MLQA.de.de": {"test": {k: v[:1] for k, v in SQUAD_COLUMNS.items()}}},
    ),
}  # fmt: skip
SAID = {
    "xnli": ("xnli: premise: Er ging. hypothesis: Er blieb.", "2"),
    "pawsx": ("paws sentence1: a b sentence2: b a", "paraphrase"),
    "wikiann": ("tag: Oslo , Ida", "LOC: Oslo $$ PER: Ida"),
    "udpos": (
        "pos: <extra_id_0> Oslo <extra_id_1> , <extra_id_2> Ida",
        "<extra_id_0> PROPN <extra_id_1> PUNCT <extra_id_2> PROPN",
    ),
    "udpos_dev": (
        "pos: <extra_id_0> Oslo <extra_id_1> , <extra_id_2> Ida",
        "<extra_id_0> PROPN <extra_id_1> PUNCT <extra_id_2> PROPN",
    ),
    "tydiqa": ("question: Mikä ? context: Se on Oslo . ", "Oslo"),
    "squad": ("question: Mikä ? context: Se on Oslo . ", "Oslo"),
    "mlqa": ("question: Mikä ? context: Se on Oslo . ", "Oslo"),
}


@pytest.fixture
def hub_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, offline."""
    root = tmp_path / "hub"
    root.mkdir()
    hubcache.go_offline(root, monkeypatch)
    return root


def hub_of(task: str) -> Hub:
    place = CARDS[VIEWS[task].card].source
    assert isinstance(place, Hub)
    return place


def cache(root: Path, task: str, tables: hubcache.Tables | None = None) -> Path:
    place = hub_of(task)
    return hubcache.put(root, place.id, place.revision, tables or CACHED[task][1])


def test_every_hub_task_is_tried_here() -> None:
    assert set(CACHED) == {t for t in VIEWS if isinstance(CARDS[VIEWS[t].card].source, Hub)}


@pytest.mark.parametrize("task", CACHED)
def test_from_the_hubs_cache(hub_root: Path, task: str) -> None:
    cache(hub_root, task)
    code = CACHED[task][0]
    loaded = datasets.load(task, code, "test")
    assert PUBLIC[task].preprocess(loaded.examples[0]) == SAID[task]
    assert loaded.revision == hub_of(task).revision
    assert loaded.drops == {} and hub_of(task).id in loaded.source
    assert {e.language for e in loaded.examples} == {datasets.language(code).key}
    if task == "tydiqa":
        assert [e.id for e in loaded.examples] == ["finnish-1", "finnish-2"]
        assert loaded.examples[1].fields["answers"] == ("Riga",)


def test_a_whole_run_offline_in_a_process_of_its_own(hub_root: Path, tmp_path: Path) -> None:
    cache(hub_root, "xnli")
    code = (
        "from xltlib.tasks.public import public_task; t = public_task('xnli');"
        "e = t.source(['deu'], 'deu', 'test', 9); print([t.preprocess(x)[1] for x in e])"
    )
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(hub_root),
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path(datasets.__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert sorted(json.loads(done.stdout.splitlines()[-1].replace("'", '"'))) == ["0", "2"]


def test_what_the_cache_has_not(hub_root: Path) -> None:
    with pytest.raises(ValueError, match="could not get facebook/xnli.*XLT_DATA"):
        datasets.load("xnli", "deu", "test")


def test_wrong_revision(hub_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache(hub_root, "xnli")
    other = replace(hub_of("xnli"), revision="f" * 40)
    monkeypatch.setitem(CARDS, "xnli", replace(CARDS["xnli"], source=other))
    with pytest.raises(ValueError, match=f"could not get .*{other.revision}.*copy the cache"):
        datasets.load("xnli", "deu", "test")


def test_altered_file_in_the_cache(hub_root: Path) -> None:
    snapshot = cache(hub_root, "xnli")
    blob = next((snapshot / "de").glob("test-*")).resolve()
    blob.write_bytes(blob.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"altered or cut short.*Delete"):
        datasets.load("xnli", "deu", "test")


def test_truncated_file_without_a_checksum(hub_root: Path) -> None:
    snapshot = cache(hub_root, "xnli")
    for path in (snapshot / "de").glob("*"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-40])
    with pytest.raises(ValueError, match="configuration 'de'|file of 'de'"):
        datasets.load("xnli", "deu", "test")


def test_column_missing_on_the_hub(hub_root: Path) -> None:
    bad = {"premise": ["a"], "hypothesi": ["b"], "label": [1]}
    cache(hub_root, "xnli", {"de": {"test": bad}})
    with pytest.raises(ValueError, match="column in .*'hypothesis'.*mean 'hypothesi'"):
        datasets.load("xnli", "deu", "test")


def test_label_that_the_hub_blanks(hub_root: Path) -> None:
    cache(hub_root, "xnli", {"de": {"test": {**NLI_COLUMNS, "label": [1, -1]}}})
    with pytest.raises(ValueError, match="label in .*row 2.* -1.*entailment"):
        datasets.load("xnli", "deu", "test")


def test_configuration_missing_on_the_hub(hub_root: Path) -> None:
    cache(hub_root, "xnli")
    with pytest.raises(ValueError, match="no whole 'test' of configuration 'fr'"):
        datasets.load("xnli", "fra", "test")


def test_train_gives_way_to_test(hub_root: Path) -> None:
    train = {"premise": ["ER  ging.", "Neu."], "hypothesis": ["Er blieb.", "x"], "label": [2, 1]}
    other = {"premise": ["y"], "hypothesis": ["y"], "label": [0]}
    cache(hub_root, "xnli", {"de": {"train": train, "validation": other, "test": NLI_COLUMNS}})
    report = datasets.load("xnli", "deu", "train")
    assert (report.read, len(report.examples), report.against) == (2, 1, ("test", "validation"))
    assert report.drops == {"text also in test": 1}


def test_empty_split_on_the_hub(hub_root: Path) -> None:
    nothing: dict[str, list[Any]] = {c: [] for c in NLI_COLUMNS}
    cache(hub_root, "xnli", {"de": {"train": NLI_COLUMNS, "test": nothing}})
    with pytest.raises(ValueError, match="no whole 'test' of configuration 'de'.*no data"):
        datasets.load("xnli", "deu", "test")


# ---------------------------------------------------------------- files with a checksum


def with_checksums(
    patch: pytest.MonkeyPatch, name: str, checksums: dict[str, tuple[str, int]]
) -> None:
    """Let a card know these checksums and no others."""
    card = CARDS[name]
    patch.setitem(CARDS, name, replace(card, source=replace(card.source, checksums=checksums)))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An XLT_DATA of our own; nobody knows the checksums of the files put there."""
    root = tmp_path / "tree"
    root.mkdir()
    monkeypatch.setenv("XLT_DATA", str(root))
    for name in ("sib200", "xquad", "massive"):
        with_checksums(monkeypatch, name, {})
    return root


def put(root: Path, path: str, content: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file


def sib(root: Path, code: str, split: str, rows: list[tuple[str, str, str]]) -> Path:
    lines = ["index_id\tcategory\ttext", *("\t".join(r) for r in rows)]
    path = f"{CARDS['sib200'].source.repository}/data/annotated/{code}/{split}.tsv"  # type: ignore[union-attr]
    return put(root, path, "\n".join(lines) + "\n")


ROWS = [(str(i), "sports" if i % 2 else "travel", f'Satz "{i}') for i in range(8)]


def test_local_copy(tree: Path) -> None:
    sib(tree, "deu_Latn", "test", ROWS)
    loaded = datasets.load("sib200", "German", "test")
    assert loaded.examples[1] == Example("1", "deu", {"text": 'Satz "1', "label": "sports"})
    assert str(loaded).startswith("sib200 deu test: 8 of 8 examples (")
    assert datasets.languages_of("sib200", local=True) == ["deu"]
    assert datasets.splits_of("sib200", "deu", local=True) == ["test"]
    assert len(datasets.languages_of("sib200")) > 200


@pytest.mark.parametrize("change", [lambda b: b[:-3], lambda b: b.replace(b"sports", b"travel")])
def test_altered_local_copy(tree: Path, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sib(tree, "deu_Latn", "test", ROWS)
    known = (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    with_checksums(monkeypatch, "sib200", {"data/annotated/deu_Latn/test.tsv": known})
    assert len(datasets.load("sib200", "deu", "test").examples) == len(ROWS)
    datasets.forget()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match="altered or cut short.*Delete it and unpack"):
        datasets.load("sib200", "deu", "test")


def test_mislabelled_row(tree: Path) -> None:
    sib(tree, "deu_Latn", "test", [*ROWS, ("9", "sport", "x")])
    with pytest.raises(ValueError, match="label in .*row 9 'sport'.*mean 'sports'.*mend the row"):
        datasets.load("sib200", "deu", "test")


def test_empty_and_overlong_text(tree: Path) -> None:
    sib(tree, "deu_Latn", "test", [*ROWS, ("9", "sports", " ")])
    assert datasets.load("sib200", "deu", "test").drops == {"empty text": 1}
    sib(tree, "fra_Latn", "test", [*ROWS, ("9", "sports", "x" * 100_001)])
    with pytest.raises(ValueError, match="row 9: text has 100001 characters, the most is 100000"):
        datasets.load("sib200", "fra", "test")


def test_header_only(tree: Path) -> None:
    sib(tree, "deu_Latn", "test", [])
    with pytest.raises(ValueError, match="sib200 deu test is empty: 0 rows"):
        datasets.load("sib200", "deu", "test")


def test_repeated_id(tree: Path) -> None:
    sib(tree, "deu_Latn", "test", [*ROWS, ROWS[0]])
    with pytest.raises(ValueError, match="id '0' stands for 2 examples"):
        datasets.load("sib200", "deu", "test")


def test_parallel_subsets_have_the_same_ids(tree: Path) -> None:
    sib(tree, "deu_Latn", "train", ROWS)
    sib(tree, "fra_Latn", "train", [r for r in reversed(ROWS) if r[0] != "3"])
    asked = (["deu", "fra"], "deu"), (["deu", "fra"], "fra")
    one, other = (
        [e.id for e in public_task("sib200").source(*a, "train", 5, seed=1)] for a in asked
    )
    assert one == other and "3" not in one and len(one) == 5
    few = [e.id for e in datasets.examples("sib200", ["deu", "fra"], "deu", "train", 2, seed=1)]
    assert few == one[:2]  # the first are among the more
    orders = {
        tuple(e.id for e in datasets.examples("sib200", ["deu"], "deu", "train", 8, seed=s))
        for s in range(4)
    }
    assert len(orders) > 1


def squad(articles: dict[str, int], word: str) -> str:
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": f"{word} {title} {i}.",
                    "qas": [
                        {
                            "id": f"{title}-{i}",
                            "question": f"{word} {i}?",
                            "answers": [{"text": title, "answer_start": len(word) + 1}],
                        }
                    ],
                }
                for i in range(n)
            ],
        }
        for title, n in articles.items()
    ]
    return json.dumps({"version": "1.1", "data": data})


def test_questions_are_split_by_article(tree: Path) -> None:
    articles = {f"T{i}": 1 + i % 3 for i in range(16)}
    repository = CARDS["xquad"].source.repository  # type: ignore[union-attr]
    for code in ("de", "zh"):
        put(tree, f"{repository}/xquad.{code}.json", squad(articles, code))
    found = {
        (code, split): [e.id for e in datasets.load("xquad", code, split).examples]  # type: ignore[arg-type]
        for code in ("de", "zh")
        for split in ("train", "validation", "test", "all")
    }
    for split in ("train", "validation", "test"):
        assert found["de", split] == found["zh", split]
    titles = [{i.split("-")[0] for i in found["de", s]} for s in ("train", "validation", "test")]
    assert [len(t) for t in titles] == [8, 2, 6] and len(set().union(*titles)) == 16
    assert len(found["de", "all"]) == sum(articles.values())


def test_blanked_answers_are_dropped_aloud(tree: Path) -> None:
    content = json.loads(squad({"A": 1, "B": 2}, "de"))
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "", "answer_start": 0}]
    content["data"][1]["paragraphs"][0]["qas"][0]["answers"][0]["text"] = "anderswo"
    repository = CARDS["xquad"].source.repository  # type: ignore[union-attr]
    put(tree, f"{repository}/xquad.de.json", json.dumps(content))
    report = datasets.load("xquad", "de", "all")
    assert (len(report.examples), report.drops) == (
        1,
        {"no answer": 1, "answer not in the context": 1},
    )


MASSIVE = [
    ("0", "test", "wake me at five am", "wake me at [time : five am]", "alarm_set"),
    ("1", "dev", "bonn to ulm", "[place_name : bonn] to [place_name : ulm]", "transport_query"),
    ("2", "train", "stop", "stop", "alarm_remove"),
]


def massive_file(rows: list[tuple[str, ...]]) -> str:
    keys = ("id", "partition", "utt", "annot_utt", "intent")
    return "".join(json.dumps(dict(zip(keys, r, strict=True))) + "\n" for r in rows)


def test_massive_as_three_tasks(tree: Path) -> None:
    put(tree, "amazon-massive-dataset/1.1/data/en-US.jsonl", massive_file(MASSIVE))
    intent, slots = (
        datasets.load(t, "en", "test").examples for t in ("massive_intent", "massive_slots")
    )
    assert intent[0].fields == {"text": "wake me at five am", "label": "alarm_set"}
    assert slots[0].fields["tags"] == ("O", "O", "O", "B-time", "I-time")
    asked = datasets.load("massive_qa", "eng", "validation").examples
    assert [(e.id, e.fields["answers"]) for e in asked] == [("1-place_name", ("bonn", "ulm"))]
    with pytest.raises(ValueError, match="massive_qa eng train is empty: 1 rows"):
        datasets.load("massive_qa", "eng", "train")


def test_massive_by_character(tree: Path) -> None:
    row = ("0", "test", "金曜日の午前", "[date : 金曜日] の [time : 午前]", "alarm_set")
    put(tree, "amazon-massive-dataset/1.1/data/ja-JP.jsonl", massive_file([row]))
    found = datasets.load("massive_slots", "jpn", "test").examples[0].fields
    assert found["words"] == tuple("金曜日の午前")
    assert found["tags"] == ("B-date", "I-date", "I-date", "O", "B-time", "I-time")


# ---------------------------------------------------------------- fetching


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}", folder
        found.shutdown()


def cached(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


SIB_PATH = "data/annotated/deu_Latn/test.tsv"
SIB_TEST = f"{CARDS['sib200'].source.repository}/{SIB_PATH}"  # type: ignore[union-attr]


def serve_sib(folder: Path, text: str) -> None:
    path = folder / SIB_TEST
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def from_here(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What is on GitHub is fetched from `url`."""
    fetch, github = pooch.retrieve, "https://raw.githubusercontent.com"

    def retrieve(asked: str, *args: Any, **how: Any) -> str:
        return fetch(asked.replace(github, url), *args, **how)

    monkeypatch.setattr(pooch, "retrieve", retrieve)


GOOD = "index_id\tcategory\ttext\n1\tsports\tx\n"


def test_fetched_once_and_checked(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    from_here(monkeypatch, url)
    serve_sib(folder, GOOD)
    known = {SIB_PATH: (hashlib.sha256(GOOD.encode()).hexdigest(), len(GOOD))}
    with_checksums(monkeypatch, "sib200", known)
    assert len(datasets.load("sib200", "deu", "test").examples) == 1
    (folder / SIB_TEST).unlink()
    datasets.forget()
    assert len(datasets.load("sib200", "deu", "test").examples) == 1  # now from the cache
    assert cached(tmp_path) == ["test.tsv"]


def test_wrong_bytes_leave_nothing_behind(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    from_here(monkeypatch, url)
    serve_sib(folder, "something else")
    with pytest.raises(ValueError, match="could not get .*test.tsv.*XLT_DATA"):
        datasets.load("sib200", "deu", "test")  # against the checksum that the library carries
    assert cached(tmp_path) == []


def test_an_unknown_checksum_is_recorded_and_kept_to(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    from_here(monkeypatch, url)
    with_checksums(monkeypatch, "sib200", {})
    serve_sib(folder, GOOD)
    assert len(datasets.load("sib200", "deu", "test").examples) == 1
    assert list(json.loads(Path(os.environ["XLT_DATA_LOCK"]).read_text())) == [SIB_TEST]
    path = next((tmp_path / "cache").rglob("test.tsv"))
    path.write_text(GOOD + "2\tsports\ty\n")
    datasets.forget()
    with pytest.raises(ValueError, match="has changed since it was first fetched"):
        datasets.load("sib200", "deu", "test")


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from_here(monkeypatch, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ValueError, match="could not get .*network.*XLT_DATA"):
        datasets.load("sib200", "deu", "test")
    assert cached(tmp_path) == []


def archive(folder: Path, content: str) -> str:
    source = folder / "1.1" / "data" / "en-US.jsonl"
    source.parent.mkdir(parents=True)
    source.write_text(content)
    with tarfile.open(folder / "massive.tar.gz", "w:gz") as made:
        made.add(folder / "1.1", "1.1")
    return hashlib.sha256((folder / "massive.tar.gz").read_bytes()).hexdigest()


def massive_at(url: str, digest: str) -> Files:
    kept = CARDS["massive"].source
    assert isinstance(kept, Files)
    return replace(kept, archive=cards.Archive(f"{url}/massive.tar.gz", digest, "1.1"))


def of_files(place: Files, code: str, raw: str) -> Path:
    return files.get(place.repository, place.path(code, raw), place.checksums, place.archive)


def test_from_an_archive(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    digest = archive(folder, massive_file(MASSIVE))
    path = of_files(massive_at(url, digest), "en-US", "test")
    assert path.read_text() == massive_file(MASSIVE)
    assert cached(tmp_path) == ["en-US.jsonl", "massive.tar.gz"]
    with pytest.raises(ValueError, match="has no file 1.1/data/de-DE.jsonl"):
        of_files(massive_at(url, digest), "de-DE", "test")


def test_altered_archive(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    archive(folder, massive_file(MASSIVE))
    with pytest.raises(ValueError, match="could not get .*massive.tar.gz"):
        of_files(massive_at(url, "0" * 64), "en-US", "test")
    assert cached(tmp_path) == []


def test_a_lock_cut_short_is_not_overwritten(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    from_here(monkeypatch, url)
    with_checksums(monkeypatch, "sib200", {})
    serve_sib(folder, GOOD)
    lock = Path(os.environ["XLT_DATA_LOCK"])
    lock.write_text('{"a": ')
    with pytest.raises(ValueError, match="damaged"):
        datasets.load("sib200", "deu", "test")
    assert lock.read_text() == '{"a": '


# ---------------------------------------------------------------- a user's own files


def own(task: str, path: Path, **layout: Any) -> datasets.Own:
    return datasets.own_files(task, {"gsw": {"test": {"path": str(path), **layout}}})


def one(task: str, mine: datasets.Own) -> Example:
    loaded = datasets.load(task, "gsw", "test", own=mine)
    assert loaded.licence == "your own"
    return loaded.examples[0]


def test_own_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('Satz,Thema\n"Hoi, du",sports\n')
    mine = own("sib200", path, columns={"text": "Satz", "label": "Thema"})
    assert one("sib200", mine).fields == {"text": "Hoi, du", "label": "sports"}
    source = public_task("sib200", mine).source
    assert [e.language for e in source(["gsw", "deu"], "gsw", "test", 5)] == ["gsw"]


def test_own_jsonl_with_nested_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"p": {"q": "Wo?"}, "context": "In Chur.", "gold": ["Chur", "In Chur"]}
    path.write_text(json.dumps(row) + "\n\n")
    mine = own("xquad", path, columns={"question": "p.q", "answers": "gold"})
    assert one("xquad", mine).fields["answers"] == ("Chur", "In Chur")


def test_own_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"words": [["i", "bi"]], "tags": [["PRON", "AUX"]]}).to_parquet(path)
    assert one("udpos", own("udpos", path)).fields["tags"] == ("PRON", "AUX")


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_own_conll(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.conll"
    path.write_text(f"# text = Chur\r\nIn\tx\tO\r\nChur\tx\tB-LOC\r\n\r\n\r\n#\tx\tO{end}")
    mine = own("wikiann", path)
    assert one("wikiann", mine).fields == {"words": ("In", "Chur"), "tags": ("O", "B-LOC")}
    assert len(datasets.load("wikiann", "gsw", "test", own=mine).examples) == 2


def test_own_conll_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("# O\nChur B-LOC\n")  # here `#` is a word
    found = one("wikiann", own("wikiann", path, separator=" "))
    assert found.fields["words"] == ("#", "Chur")


def test_own_squad(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(squad({"Chur": 1}, "In"))
    assert one("xquad", own("xquad", path, format="squad")).fields["answers"] == ("Chur",)


BAD_FILES = [
    ("a.csv", "Satz,label\nx,sports\n", {}, "column in .*row 1 'text'.*column map"),
    ("a.csv", "text,label\nx,sports,y\n", {}, "line 2 has 3 columns, the header 2"),
    ("a.csv", "text,label\nx,tarvel\n", {}, "'tarvel'.*mean 'travel'"),
    ("a.jsonl", '{"text": "x", "label": "sports"}\n{"text": ', {}, "line 2 is not JSON.*cut short"),
    ("a.jsonl", "[1]\n", {}, "line 1 is list, not an object"),
    ("a.parquet", "PAR1 nonsense", {}, "not a whole Parquet file"),
    ("a.txt", "x", {}, "unknown file format 'txt'.*jsonl"),
    ("a.json", '{"data": [{}]}', {"format": "squad"}, "not the layout of SQuAD.*paragraphs"),
]


@pytest.mark.parametrize(("name", "content", "layout", "message"), BAD_FILES)
def test_bad_own_files(
    tmp_path: Path, name: str, content: str, layout: dict[str, Any], message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        datasets.load("sib200", "gsw", "test", own=own("sib200", path, **layout))


def test_bad_conll(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("In O\nChur\n")
    with pytest.raises(ValueError, match=r"line 2 has 1 column\(s\), 2 are needed: mend 'Chur'"):
        datasets.load("wikiann", "gsw", "test", own=own("wikiann", path, separator=" "))
    path.write_text("In O\nChur B-CITY\n")
    with pytest.raises(ValueError, match="tag in .*row 1 'B-CITY'"):
        datasets.load("wikiann", "gsw", "test", own=own("wikiann", path, separator=" "))
    path.write_bytes(b"In O\nZ\xfcrich O\n")
    with pytest.raises(ValueError, match="not UTF-8 at byte 6"):
        datasets.load("wikiann", "gsw", "test", own=own("wikiann", path, separator=" "))


BAD_SPECS = [
    ({"gsw": {"tset": {"path": "x.csv"}}}, "split in data.sib200.gsw 'tset'.*mean 'test'"),
    ({"gsw": {"test": {"pth": "x.csv"}}}, "key in .* 'pth'.*mean 'path'"),
    ({"gsw": {"test": {"format": "csv"}}}, "data.sib200.gsw.test has no path"),
    ({"gsw": {"test": {"path": "x.csv", "columns": {"lable": "y"}}}}, "'lable'.*mean 'label'"),
    ({"gsw": "x.csv"}, "expected `key: value` lines, got 'x.csv'"),
    ({"nolanguage": {}}, "unknown language"),
]


@pytest.mark.parametrize(("content", "message"), BAD_SPECS)
def test_bad_own_specs(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.own_files("sib200", content)


def test_own_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no file nowhere.csv"):
        datasets.load("sib200", "gsw", "test", own=own("sib200", Path("nowhere.csv")))
    with pytest.raises(ValueError, match="split of your files for sib200 gsw 'train'.*test"):
        datasets.load("sib200", "gsw", "train", own=own("sib200", Path("nowhere.csv")))


# ---------------------------------------------------------------- asking for what is not there


def test_unknown_task_language_split() -> None:
    with pytest.raises(ValueError, match="unknown public task 'sib20'.*'sib200'"):
        datasets.load("sib20", "deu", "test")
    with pytest.raises(ValueError, match=r"language of xnli 'ita \(Italian\)'.*your own files"):
        datasets.load("xnli", "it", "test")
    with pytest.raises(ValueError, match="split of mlqa 'train'.*validation, test"):
        datasets.load("mlqa", "deu", "train")


def test_every_card_is_whole() -> None:
    for card in CARDS.values():
        assert card.licence and card.paper and card.source.url.startswith("https://")
        for code in card.source.codes:
            assert datasets.language(code).key
        if isinstance(card.source, Hub):
            assert len(card.source.revision) == 40
            assert {p.raw for p in card.splits.values()} <= {"train", "validation", "test"}
        else:
            assert {p.raw for p in card.splits.values()} <= set(card.source.paths)
        for place in (card.source, card.copy):
            sums = place.checksums if isinstance(place, Files) else {}
            assert all(len(digest) == 64 and n > 0 for digest, n in sums.values())


def test_a_card_with_a_wrong_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("title: x\nlicense: y\n")
    with pytest.raises(ValueError, match=r"mine.yml(.|\n)*licence(.|\n)*license"):
        cards.read_cards(tmp_path, cards.Card)


@pytest.mark.parametrize(
    ("task", "n"), [("sib200", 205), ("massive_intent", 52), ("udpos", 33), ("wikiann", None)]
)
def test_every_variety_of_a_data_set_has_a_key_of_its_own(task: str, n: int | None) -> None:
    """Two codes under one key would merge their rows in scores, pairs and figures."""
    card, keys = datasets.card_of(task), datasets.languages_of(task)
    for place in (card.source, *card.files):
        assert len({languages.language(code).key for code in place.codes}) == len(place.codes)
    assert n is None or len(keys) == n
    assert [languages.language(key).key for key in keys] == keys
    assert len({languages.name(key) for key in keys}) == len(keys)  # figures write names
    pair = {"source": keys, "target": keys[1:] + keys[:1], "score": 0.5}
    table = scores.check(pd.DataFrame(pair))
    assert set(table["source"]) == set(table["target"]) == set(keys)
    assert set(pairs(keys, measures=["script"])["source"]) == set(keys)


def test_codes_and_other_names_of_varieties_are_reachable() -> None:
    card = CARDS["sib200"]
    asks = {"twi": "twi_Latn", "aka_Latn": "aka_Latn", "ak": "aka_Latn", "zh-TW": "zho_Hant"}
    asks |= {"apc": "apc_Arab", "ajp": "ajp_Arab", "Korean": "kor_Hang", "ar": "arb_Arab"}
    for asked, code in asks.items():
        assert datasets.origin(card, asked, "test").code == code
    with pytest.raises(ValueError, match="language of sib200"):
        datasets.origin(card, "tlh", "test")


# ---------------------------------------------------------------- the real data, where it is


REAL = {  # rows in the list of the local copy: all languages alike, or one by one
    "sib200": (205, {"train": 701, "validation": 99, "test": 204}),
    "xquad": (12, {"all": 1190}),
    "massive_intent": (52, {"train": 11514, "validation": 2033, "test": 2974}),
    "massive_slots": (52, {"train": 11514, "validation": 2033, "test": 2974}),
    "massive_qa": (52, {"train": 11514, "validation": 2033, "test": 2974}),
    "xnli": (15, {"validation": 2490}),
    "wikiann": (4, {"train": 20000, "test": 10000}),
}
REAL_TABLES = {
    ("masakhaner", "train"): {"swa": 6593, "hau": 5716, "yor": 6876, "zul": 5848, "amh": 1750},
    ("masakhaner", "validation"): {"swa": 942, "hau": 816, "yor": 983, "zul": 836, "amh": 250},
    ("masakhaner", "test"): {"swa": 1883, "hau": 1633, "yor": 1964, "zul": 1670, "amh": 500},
    ("tydiqa", "all"): {"en": 3696, "ko": 1625, "sw": 2755},
    ("mlqa", "validation"): {
        "en": 1148, "ar": 517, "de": 512, "es": 500, "hi": 507, "vi": 511, "zh": 504,
    },
    ("udpos", "validation"): {
        "ar": 909, "bg": 1115, "de": 19233, "el": 403, "en": 3974, "es": 3054, "et": 3125,
        "eu": 1798, "fa": 599, "fi": 3239, "fr": 2903, "he": 484, "hi": 1659, "hu": 441,
        "id": 559, "ja": 511, "ko": 3016, "ru": 8108, "ta": 80, "te": 131, "tr": 988, "ur": 552,
        "vi": 800, "zh": 1000,
    },
    ("udpos", "train"): {
        "ar": 6075, "el": 1662, "id": 4477, "ja": 7125, "ta": 400, "te": 1051, "tr": 3664,
        "vi": 1400, "zh": 7994,
    },
}  # fmt: skip


def local_codes(task: str) -> list[str]:
    """The data set's own codes that the copy has: SIB-200 has two codes for two languages."""
    return [
        code
        for place in datasets.card_of(task).files
        for code in place.codes
        if any(files.local(place.repository, place.path(code, raw)) for raw in place.paths)
    ]


def only_for_other_splits(report: datasets.Loaded) -> bool:
    """Whether nothing was dropped but what other splits have, and all of it is counted."""
    counted = len(report.examples) + sum(report.drops.values()) == report.read
    return counted and all(why.startswith("text also in ") for why in report.drops)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("task", REAL)
def test_real_counts(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLT_DATA", str(LOCAL))
    n_languages, splits = REAL[task]
    codes = local_codes(task)
    assert len(codes) == n_languages
    for code in codes if task in ("sib200", "xquad", "xnli", "wikiann") else codes[::13]:
        for split, n in splits.items():
            report = datasets.load(task, code, split)  # type: ignore[arg-type]
            assert report.rows == n
            assert task == "massive_qa" or report.read == n
            assert only_for_other_splits(report)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("task", "split"), REAL_TABLES)
def test_real_counts_by_language(task: str, split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLT_DATA", str(LOCAL))
    for code, n in REAL_TABLES[task, split].items():
        report = datasets.load(task, code, split)
        assert (code, report.read) == (code, n) and only_for_other_splits(report)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("task", [t for t in VIEWS if t not in ("pawsx", "squad")])
def test_real_targets_score_one(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw -> target -> answer -> score comes back to 1 in every kind of script."""
    monkeypatch.setenv("XLT_DATA", str(LOCAL))
    of = PUBLIC[task]
    for code in [c for c in ("eng", "cmn", "arb", "tha", "jpn", "amh") if c in
                 datasets.languages_of(task, local=True)]:  # fmt: skip
        split = datasets.splits_of(task, code, local=True)[-1]
        found = [e for e in datasets.load(task, code, split).examples[:300]]
        found = [e for e in found if len(e.fields.get("words", ())) <= 100]
        scores = of.evaluate([of.preprocess(e)[1] for e in found], found)
        assert scores["illegal"].score == 0.0
        assert scores[of.metric].score == pytest.approx(1.0, abs=0.01), (code, scores)
