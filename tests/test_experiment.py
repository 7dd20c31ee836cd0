"""Experiment files: what is wrong is named with its cure; what determines a run is in its key."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from xltlib.train import config
from xltlib.train.config import Experiment, available, code_digest, digest, load, part

SMALL = """
title: Two languages
languages: [eng, rus]
seeds: [0]
fewshot: {pairs: [[eng, rus]], n: [2, 4]}
controls: {scratch: [eng], shuffled: [rus], ngram: [eng]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch, repository: Path) -> Path:
    """Go to a folder with the shipped experiments and one more, `small`."""
    (tmp_path / "experiments").mkdir()
    for path in (repository / "experiments").glob("*.yml"):
        (tmp_path / "experiments" / path.name).write_text(path.read_text())
    (tmp_path / "experiments" / "small.yml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XLT_BUILD", raising=False)
    return tmp_path


@pytest.fixture
def write(folder: Path):
    """Return a function that writes an experiment file and gives its name."""

    def inside(text: str, name: str = "mine") -> str:
        (folder / "experiments" / f"{name}.yml").write_text(text)
        return name

    return inside


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("name", ["embedded", "quick"])
def test_the_shipped_experiments_load(name: str, folder) -> None:
    exp = load(name)
    assert exp.name == name and exp.title
    assert exp.folder == Path("build") / name
    assert {r.arm for r in exp.runs()} == {
        "tiny",
        "tiny-alone",
        "tiny-scratch",
        "tiny-shuffled",
        "char-ngram",
    }
    assert {r.task for r in exp.runs()} == {"entity_type", "ner", "qa"}


def test_the_embedded_experiment_is_as_large_as_promised(folder) -> None:
    exp = load("embedded")
    assert len(exp.languages) >= 12 and len(exp.seeds) >= 3
    assert len(exp.fewshot.pairs) >= 8
    assert exp.fewshot.n == (2, 4, 8, 16, 32, 64, 128, 256)
    tiny = {(r.source, r.task, r.seed) for r in exp.runs() if r.arm == "tiny"}
    assert len(tiny) == len(exp.languages) * 3 * len(exp.seeds)
    for task in exp.tasks:  # an accuracy of n items has a standard error of at most 1/(2 sqrt n)
        items = exp.recipe(task).test_items * len(exp.seeds)  # every seed has its own
        assert 0.5 / (items * (3 if task == "ner" else 1)) ** 0.5 < 0.02  # 2 or 3 spans each
    # Every notebook of the book is in the list, and nothing else.
    assert [n.split("_")[0] for n in exp.notebooks] == [f"{i:02}" for i in range(1, 17)]


def test_available(folder) -> None:
    assert available() == [
        "embedded", "mt5", "open", "open-long", "open-matrix", "open-mini", "open-nano",
        "open-pairs", "open-web", "quick", "small",
    ]  # fmt: skip


def test_a_file_by_its_path_and_the_place_of_its_results(folder, monkeypatch) -> None:
    (folder / "elsewhere.yml").write_text(SMALL)
    exp = load("elsewhere.yml")
    assert exp.name == "elsewhere" and exp.folder == Path("build/elsewhere")
    monkeypatch.setenv("XLT_BUILD", "/somewhere")
    assert exp.folder == Path("/somewhere/elsewhere")


def test_any_code_form_comes_in_and_iso_639_3_is_used(write) -> None:
    text = SMALL.replace("[eng, rus]\nseeds", "[en, rus_Cyrl]\nseeds").replace("[[eng", "[[English")
    exp = load(write(text))
    assert exp.languages == ("eng", "rus")
    assert exp.fewshot.pairs == (("eng", "rus"),)


def test_defaults_and_numbers(write) -> None:
    exp = load(write(SMALL + "pretrain: {lr: 2e-3, steps: 7}\nmodel: {dropout: 0}\n"))
    assert exp.pretrain.lr == 0.002  # YAML reads 2e-3 as text
    assert exp.pretrain.steps == 7 and exp.pretrain.batch == 64
    assert isinstance(exp.model.dropout, float)
    assert exp.recipe("entity_type") == config.FinetuneSpec()


# ---------------------------------------------------------------- overrides


def test_overrides(folder) -> None:
    exp = load("small", ["pretrain.steps=5", "seeds=[3, 4]", "finetune.entity_type.steps = 9"])
    assert exp.pretrain.steps == 5
    assert exp.seeds == (3, 4)
    assert exp.recipe("entity_type").steps == 9 and exp.recipe("qa").steps != 9


@pytest.mark.parametrize(
    "override, message",
    [
        ("pretrain.steps", r"'pretrain.steps' is not KEY=VALUE, such as"),
        ("title.size=3", r"'title' is a value, it has no 'size' inside"),
        ("pretrain.step=3", r"unknown key.*'step'. Did you mean 'steps'"),
        ("pretrain.steps=many", r"pretrain: steps must be int, got 'many'"),
        ("pretrain.steps=0", r"pretrain.steps must be above 0, got 0"),
        (
            "finetune.entity_type.drop_tokens=1",
            r"drop_tokens must be 0 to below 1.* got 1",
        ),
        ("languages=eng", r"languages must be a list, got 'eng'"),
        ("pretrain=3", r"pretrain: expected `key: value` lines, got 3"),
    ],
)
def test_bad_overrides(folder, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("small", [override])


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "change, message",
    [
        ({"languages: [eng, rus]": "languages: [eng, rus]\nlangs: 3"}, "'langs'.*'languages'"),
        ({"seeds: [0]": "seeds: 0"}, "seeds must be a list, got 0"),
        ({"seeds: [0]": "seeds: [zero]"}, "seeds must be int, got 'zero'"),
        ({"seeds: [0]": "seeds: [yes]"}, "seeds must be int, got True"),
        ({"title: Two languages": ""}, "title missing; add it"),
        ({"title: Two languages": "title: [a]"}, "title must be str"),
        ({"[eng, rus]\nseeds": "[eng, rusian]\nseeds"}, "unknown language 'rusian'. Did you mean"),
        ({"[eng, rus]\nseeds": "[eng, en]\nseeds"}, "two or more different ones"),
        ({"[eng, rus]\nseeds": "[eng]\nseeds"}, "two or more different ones"),
        ({"pairs: [[eng, rus]]": "pairs: [[eng, deu]]"}, "language in fewshot.*'deu'.*add it to"),
        ({"pairs: [[eng, rus]]": "pairs: [[eng]]"}, "pairs must have 2 entries, got"),
        ({"ngram: [eng]": "ngram: [hin]"}, "language in controls.ngram.*'hin'"),
        (
            {"seeds: [0]": "seeds: [0]\ntasks: [kinds]"},
            "unknown task 'kinds'. Did you mean 'entity_type'",
        ),
        ({"seeds: [0]": "seeds: [0]\nfinetune: {fined: {}}"}, "unknown task 'fined'.*'qa'"),
        ({"fewshot: {": "fewshot: {task: span, "}, "unknown task 'span'. Did you mean 'ner'"),
        (
            {"seeds: [0]": "seeds: [0]\nfinetune: {entity_type: {step: 3}}"},
            "'step'. Did you mean 'steps'",
        ),
        ({"seeds: [0]": "seeds: [0]\nfinetune: 3"}, "finetune must be `key: value` lines"),
        ({"title: Two": "name: ../up\ntitle: Two"}, "'../up' must be letters, digits"),
    ],
)
def test_wrong_content_is_named(write, change: dict[str, str], message: str) -> None:
    text = SMALL
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ValueError, match=message):
        load(write(text))


@pytest.mark.parametrize(
    "text, message",
    [
        ("title: [unclosed", r"mine.yml is not readable YAML.*line 1.*Mend the line"),
        ("a: b: c", r"mine.yml is not readable YAML.*line 1"),
        ("- eng\n- rus\n", r"mine.yml holds list, not `key: value` lines"),
        ("", r"mine.yml holds NoneType"),
        ("!!python/object/apply:os.getcwd []", r"not readable YAML"),
    ],
)
def test_malformed_files(write, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load(write(text))


def test_a_file_that_is_no_text(folder) -> None:
    (folder / "experiments" / "mine.yml").write_bytes(b"\xff\xfe\x00languages")
    with pytest.raises(ValueError, match="mine.yml is not readable YAML"):
        load("mine")


def test_unknown_experiment_names_the_nearest(folder) -> None:
    with pytest.raises(
        ValueError, match="unknown experiment 'quik'. Did you mean 'quick'.*open-nano"
    ):
        load("quik")
    with pytest.raises(ValueError, match="looked for .*nothere.yml"):
        load("nothere.yml")


def test_unknown_part_names_the_nearest(folder) -> None:
    with pytest.raises(ValueError, match="part of small 'source-en'. Did you mean 'source-eng-r"):
        part(load("small"), "source-en")


# ---------------------------------------------------------------- keys


def keys(exp: Experiment) -> dict[tuple, str]:
    """Return the key of every run by what the run is."""
    return {(r.arm, r.task, r.source, r.seed): r.key for r in exp.runs()}


def test_keys_are_stable_and_different(folder) -> None:
    exp = load("small")
    assert keys(exp) == keys(load("small"))
    assert len(set(keys(exp).values())) == len(exp.runs())
    assert all(len(key) == 12 for key in keys(exp).values())


def changed(overrides: list[str]) -> set[tuple]:
    """Return the runs whose keys a change of settings changes."""
    before, after = keys(load("small")), keys(load("small", overrides))
    return {run for run in before.keys() & after.keys() if before[run] != after[run]}


@pytest.mark.parametrize(
    "override", ["text.lines=11", "model.d_model=32", "languages=[eng, rus, deu]"]
)
def test_what_all_runs_depend_on(folder, override: str) -> None:
    assert changed([override]) == set(keys(load("small")))


def test_pretraining_determines_the_runs_that_start_from_it(folder) -> None:
    arms = {arm for arm, *_ in changed(["pretrain.steps=3"])}
    assert arms == {"tiny", "tiny-alone", "tiny-shuffled"}


def test_a_task_s_recipe_determines_its_runs_only(folder) -> None:
    assert {task for _, task, *_ in changed(["finetune.ner.steps=3"])} == {"ner"}


def test_few_shot_settings_determine_the_runs_that_have_few_shot(folder) -> None:
    runs = changed(["fewshot.steps=3"])
    assert runs == {("tiny", "entity_type", "eng", 0), ("tiny-alone", "entity_type", "rus", 0)}


@pytest.mark.parametrize(
    "override",
    ["title=Other", "notebooks={01_languages: {}}", "seeds=[0, 1]", "tasks=[kind, find]"],
)
def test_what_does_not_determine_a_run(folder, override: str) -> None:
    assert changed([override]) == set()


def test_comments_in_the_file_do_not_count(folder) -> None:
    before = keys(load("small"))
    path = folder / "experiments" / "small.yml"
    path.write_text("# a remark\n" + SMALL.replace("seeds: [0]", "seeds:\n  - 0  # one"))
    assert keys(load("small")) == before


def test_package_versions_determine_runs(folder, monkeypatch) -> None:
    before = keys(load("small"))
    monkeypatch.setattr(config, "versions", lambda: {"torch": "0.1"})
    assert not set(before.values()) & set(keys(load("small")).values())


CODE = '''"""A module."""

LIMIT = 3


def double(x):
    """Twice."""
    return 2 * x  # why
'''


@pytest.mark.parametrize(
    "old, new, same",
    [
        ("# why", "# another remark, longer", True),
        ('"""Twice."""\n    return 2 * x  # why', "return 2*x", True),
        ('"""A module."""', '"""Another\n\ndocstring."""', True),
        ("\n\n\ndef", "\n\n\n\n\ndef", True),
        ("2 * x", "3 * x", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("LIMIT = 3", "LIMIT = '3'", False),
    ],
)
def test_the_code_s_digest(tmp_path: Path, monkeypatch, old: str, new: str, same: bool) -> None:
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text(CODE)
    before = code_digest(["a.py"])
    (tmp_path / "a.py").write_text(CODE.replace(old, new))
    assert CODE != CODE.replace(old, new)
    assert (code_digest(["a.py"]) == before) == same


def test_code_edited_while_a_process_runs_is_not_what_it_ran(folder, monkeypatch) -> None:
    """A record written under the key of code that was not loaded would be read as fresh."""
    before = keys(load("small"))
    monkeypatch.setattr(config, "code_digest", lambda files=(): "edited")
    assert keys(load("small")) == before


def test_the_code_that_counts_is_all_that_a_score_passes_through() -> None:
    """Every module of the package that a counted module imports is counted, or plans only."""
    # What plans, names languages or writes tables cannot change a score.
    plans = {"errors", "experiment", "scores", "similarity", "uriel", "data", "tasks"}
    counted, open_too = (
        {name.removesuffix(".py").replace("/", ".") for name in files}
        for files in (config.SOURCES, config.OPEN_SOURCES)
    )
    for name in config.SOURCES + config.OPEN_SOURCES:
        tree = ast.parse((config.ROOT / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xltlib"):
                module = (node.module or "").removeprefix("xltlib").removeprefix(".")
                names = [module] if module else [alias.name for alias in node.names]
                # What only running text needs is imported where it is needed, not at the top.
                always = node in tree.body and name in config.SOURCES
                allowed = counted | plans | (set() if always else open_too)
                assert set(names) <= allowed, (name, names)


def test_digest_is_of_the_content_not_its_order() -> None:
    assert digest({"a": 1, "b": (2,)}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


# ---------------------------------------------------------------- runs and parts


def test_runs_of_the_small_experiment(folder) -> None:
    runs = load("small").runs()
    assert [r.arm for r in runs].count("tiny") == 2 * 3
    assert [(r.source, r.fewshot_targets) for r in runs if r.arm == "tiny-alone"] == [
        ("rus", ("rus",))
    ]
    shots = {(r.task, r.source): r.fewshot_targets for r in runs if r.arm == "tiny"}
    assert shots["entity_type", "eng"] == ("rus",)
    assert all(not t for key, t in shots.items() if key != ("entity_type", "eng"))
    for r in runs:
        needs = r.arm in ("tiny", "tiny-alone", "tiny-shuffled")
        assert (r.pretrain_seed is not None) == needs
        assert r.label == f"{r.arm} {r.task} {r.source} seed {r.seed}"


def test_a_task_that_takes_long_may_have_fewer_seeds(folder) -> None:
    before = load("small", ["seeds=[0, 1]"])
    exp = load("small", ["seeds=[0, 1]", "finetune.ner.seeds=1"])
    seeds = {t: {r.seed for r in exp.runs() if r.task == t} for t in exp.tasks}
    assert seeds == {"entity_type": {0, 1}, "ner": {0}, "qa": {0, 1}}
    assert keys(exp).items() < keys(before).items()  # what is run is run as before


def test_seeds_share_the_pretrained_models_evenly(folder) -> None:
    exp = load("small", ["seeds=[0, 1, 2]", "pretrain.seeds=[5, 6]"])
    starts = {r.seed: r.pretrain_seed for r in exp.runs() if r.arm == "tiny"}
    assert starts == {0: 5, 1: 6, 2: 5}
    needs = {p.name: p.needs for p in exp.parts()}
    assert needs["source-eng-rus"] == ("pretrain-5", "pretrain-6")


@pytest.mark.parametrize("name", ["embedded", "quick", "small"])
def test_parts_come_after_what_they_need_and_hold_every_run(folder, name: str) -> None:
    exp = load(name)
    done: list[str] = []
    for p in exp.parts():
        assert set(p.needs) <= set(done), p.name
        assert p.name not in done
        done.append(p.name)
    assert done[0] == "vocabulary" and done[-1] == "collect"
    assert exp.parts()[-1].needs == tuple(done[:-1])
    held = {config.part_of(exp, r) for r in exp.runs()}
    assert held == {n for n in done if not n.startswith(("vocabulary", "pretrain", "collect"))}


def test_the_inputs_of_parts_are_files_of_the_repository(folder, repository: Path) -> None:
    for p in load("small").parts():
        assert all((repository / name).is_file() for name in p.inputs)


def test_a_part_s_settings_change_with_its_runs_only(folder) -> None:
    before = {p.name: p.params for p in load("small").parts()}
    after = {p.name: p.params for p in load("small", ["fewshot.steps=3"]).parts()}
    small = load("small")
    few = {config.part_of(small, r) for r in small.runs() if r.fewshot_targets}
    assert 2 == len(few) < len(before) - 1
    assert {n for n in before if before[n] != after[n]} == {*few, "collect"}


def test_planning_starts_without_torch(repository: Path) -> None:
    code = (
        "import sys; from xltlib.train.config import load; load('embedded').parts(); "
        "print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_experiment_is_frozen(folder) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("small").title = "other"  # type: ignore[misc]
