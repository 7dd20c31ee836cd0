"""Experiment files: what is wrong is named with its cure; what determines a run is in its key."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from xltlib import scores
from xltlib.explain.contrast import contrast
from xltlib.languages import language
from xltlib.tasks import TASKS
from xltlib.train import plan
from xltlib.train.config import Experiment, available, load
from xltlib.train.plan import digest, part_of, parts, runs
from xltlib.train.recipes import TINY
from xltlib.train.run import do_part

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
    assert {r.model for r in runs(exp)} == {
        "tiny",
        "tiny-alone",
        "tiny-scratch",
        "tiny-shuffled",
        "char-ngram",
    }
    assert {r.task for r in runs(exp)} == set(exp.tasks)


def test_the_embedded_experiment_is_as_large_as_promised(folder) -> None:
    exp = load("embedded")
    assert len(exp.languages) >= 12 and len(exp.seeds) >= 2
    assert len(exp.fewshot.pairs) >= 8
    assert exp.fewshot.n == (2, 8, 32, 64, 128, 256)
    tiny = {(r.source, r.task, r.seed) for r in runs(exp) if r.model == "tiny"}
    assert len(tiny) == len(exp.languages) * len(exp.tasks) * len(exp.seeds)
    for spec in exp.tasks.values():  # an accuracy of n items has a standard error of 1/(2 sqrt n)
        items = spec.test_items * len(exp.seeds)  # every seed has its own
        assert 0.5 / items**0.5 < 0.02


def test_the_live_experiment_has_many_families_and_scripts(folder) -> None:
    exp = load("live")
    assert len(exp.languages) >= 30 and exp.embedded
    assert len({language(code).script for code in exp.languages}) >= 12
    for task, spec in exp.tasks.items():
        for code in exp.languages:
            for split, n in (("train", spec.pool), ("test", spec.test_items)):
                assert len(exp.task(task).source(exp.languages, code, split, n, 0)) == n


def test_the_kept_live_scores_are_those_of_the_experiment(folder, repository: Path) -> None:
    exp = load("live")
    kept = scores.one_metric(scores.read(repository / "book/published/live/scores.parquet"))
    own = kept[kept["model"] == exp.model.label]
    cells = {(t, s, c, n) for t in exp.tasks for s in exp.languages for c in exp.languages
             for n in exp.seeds}  # fmt: skip
    assert set(zip(own["task"], own["source"], own["target"], own["seed"], strict=True)) == cells
    for control in (f"{exp.model.label}-shuffled", "char-ngram"):
        found = contrast(scores.transfer(kept), exp.model.label, control, over="target", by="task")
        assert set(found["verdict"]) == {"holds"}


def test_available(folder, repository: Path) -> None:
    kept = [path.stem for path in (repository / "experiments").glob("*.yml")]
    assert sorted(available()) == sorted([*kept, "small"])


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
    assert exp.tasks["entity_type"].recipe == TINY


# ---------------------------------------------------------------- overrides


def test_overrides(folder) -> None:
    taught = "tasks.entity_type.recipe.steps = 9"
    exp = load("small", ["pretrain.steps=5", "seeds=[3, 4]", "recipe.steps=8", taught])
    assert exp.pretrain.steps == 5
    assert exp.seeds == (3, 4)
    assert [spec.recipe.steps for spec in exp.tasks.values()] == [9, 8, 8]


@pytest.mark.parametrize(
    "override, message",
    [
        ("pretrain.steps", r"'pretrain.steps' is not KEY=VALUE, such as"),
        ("title.size=3", r"'title' is a value, it has no 'size' inside"),
        ("pretrain.step=3", r"unknown key.*'step'. Did you mean 'steps'"),
        ("pretrain.steps=many", r"pretrain.steps must be a valid integer, got 'many'"),
        ("pretrain.steps=0", r"pretrain.steps must be greater than 0, got 0"),
        (
            "tasks.entity_type.recipe.drop_tokens=1",
            r"drop_tokens must be less than 1, got 1",
        ),
        ("languages=eng", r"languages must be a list, got 'eng'"),
        ("pretrain=3", r"pretrain must be `key: value` lines, got 3"),
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
        ({"seeds: [0]": "seeds: [zero]"}, "seeds.0 must be a valid integer, got 'zero'"),
        ({"seeds: [0]": "seeds: [yes]"}, "seeds.0 must be a valid integer, got True"),
        ({"title: Two languages": ""}, "title missing; add it"),
        ({"title: Two languages": "title: [a]"}, "title must be a valid string"),
        ({"[eng, rus]\nseeds": "[eng, rusian]\nseeds"}, "unknown language 'rusian'. Did you mean"),
        ({"[eng, rus]\nseeds": "[eng, en]\nseeds"}, "two or more different ones"),
        ({"[eng, rus]\nseeds": "[eng]\nseeds"}, "two or more different ones"),
        ({"pairs: [[eng, rus]]": "pairs: [[eng, deu]]"}, "language in fewshot.*'deu'.*add it to"),
        ({"pairs: [[eng, rus]]": "pairs: [[eng]]"}, "fewshot.pairs.0.1 missing; add it"),
        ({"ngram: [eng]": "ngram: [hin]"}, "language in controls.ngram.*'hin'"),
        (
            {"seeds: [0]": "seeds: [0]\ntasks: [entity]"},
            "unknown task 'entity'. Did you mean 'entity_type'",
        ),
        ({"seeds: [0]": "seeds: [0]\ntasks: {nre: {}}"}, "unknown task 'nre'. Did you mean 'ner'"),
        ({"fewshot: {": "fewshot: {task: nre, "}, "unknown task 'nre'. Did you mean 'ner'"),
        (
            {"seeds: [0]": "seeds: [0]\ntasks: {ner: {recipe: {step: 3}}}"},
            "'step'. Did you mean 'steps'",
        ),
        ({"seeds: [0]": "seeds: [0]\ntasks: 3"}, "tasks must be `key: value` lines"),
        ({"seeds: [0]": "seeds: [0]\ntasks: {ner: 3}"}, "tasks.ner must be `key: value` lines"),
        ({"seeds: [0]": "seeds: [0]\ntasks: {ner: {recipe: 3}}"}, "recipe must be `key: value`"),
        ({"seeds: [0]": "seeds: [0]\nmodel: {kind: tinny}"}, "'tinny'. Did you mean 'tiny'"),
        ({"seeds: [0]": "seeds: [0]\nmodel: {width: 3}"}, "key in .*model 'width'.*d_model"),
        ({"seeds: [0]": "seeds: [0]\ntasks: {ner: {answers: choose}}"}, "public checkpoint"),
        ({"seeds: [0]": "seeds: [0]\ncheckpoint: {name: x}"}, "unknown key in .* 'checkpoint'"),
        ({"seeds: [0]": "seeds: [0]\nfinetune: {ner: {}}"}, "unknown key in .* 'finetune'"),
        ({"title: Two": "name: ../up\ntitle: Two"}, "'../up' must be letters, digits"),
        ({"title: Two": "name: -rf\ntitle: Two"}, "'-rf' must be letters, digits.*no - first"),
        ({"seeds: [0]": "seeds: [0]\npretrain: {seeds: []}"}, "pretrain.seeds is empty: name at l"),
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
        ("- eng\n- rus\n", r"mine.yml holds ..eng., .rus..: an experiment is `key: value` lines"),
        ("", r"mine.yml holds nothing"),
        ("!!python/object/apply:os.getcwd []", r"not readable YAML"),
        ("[" * 5000, r"mine.yml is not readable YAML"),
        ("a: &a [1, 1]\nb: &b [*a, *a]", r"mine.yml is not readable YAML: aliases.*not read"),
        ("a: !!int x", r"mine.yml is not readable YAML"),
        ("? [1]\n: 2", r"mine.yml is not readable YAML"),
        ("recipe: true", "recipe must be `key: value` lines, such as lr: 1e-3, got True"),
        ("seeds: !!timestamp x", "seeds must be a list, got 'x'"),
        ("2001-01-01: x", "unknown key in .*mine.yml '2001-01-01'"),
        ("model: {kind: {a: b}}", "model.kind"),
        (
            "model: {kind: encoder, name: " + "9" * 500 + "}",
            "mine.yml cannot be read as an exp.*long",
        ),
        (
            "fewshot: {pairs: {sources: true, targets: [eng]}}",
            "pairs: sources and targets must be l",
        ),
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
        ValueError, match="unknown experiment 'quik'. Did you mean 'quick'.*embedded"
    ):
        load("quik")
    with pytest.raises(ValueError, match="looked for .*nothere.yml"):
        load("nothere.yml")
    with pytest.raises(ValueError, match="unknown experiment 'xxx"):
        load("x" * 500)


def test_unknown_part_names_the_nearest(folder) -> None:
    with pytest.raises(ValueError, match="part of small 'source-en'. Did you mean 'source-eng-r"):
        do_part(load("small"), "source-en")


# ---------------------------------------------------------------- keys


def keys(exp: Experiment) -> dict[tuple, str]:
    """Return the key of every run by what the run is."""
    return {(r.model, r.task, r.source, r.seed): r.key for r in runs(exp)}


def test_keys_are_stable_and_different(folder) -> None:
    exp = load("small")
    assert keys(exp) == keys(load("small"))
    assert len(set(keys(exp).values())) == len(runs(exp))
    assert all(len(key) == 12 for key in keys(exp).values())


def changed(overrides: list[str]) -> set[tuple]:
    """Return the runs whose keys a change of settings changes."""
    before, after = keys(load("small")), keys(load("small", overrides))
    return {run for run in before.keys() & after.keys() if before[run] != after[run]}


def models(changes: set[tuple]) -> set[str]:
    """Return the models (and conditions) of some runs."""
    return {model for model, *_ in changes}


def test_all_runs_depend_on_the_languages(folder) -> None:
    assert changed(["languages=[eng, rus, deu]"]) >= changed(["text.lines=11"])
    assert changed(["languages=[eng, rus, deu]"]) == set(keys(load("small")))


@pytest.mark.parametrize("override", ["text.lines=11", "model.d_model=32"])
def test_what_the_networks_depend_on(folder, override: str) -> None:
    small = set(keys(load("small")))
    assert changed([override]) == {run for run in small if run[0] != "char-ngram"}


def test_pretraining_determines_the_runs_that_start_from_it(folder) -> None:
    assert models(changed(["pretrain.steps=3"])) == {"tiny", "tiny-alone", "tiny-shuffled"}


def test_a_task_s_recipe_determines_its_runs_only(folder) -> None:
    before = changed(["tasks.ner.recipe.steps=3"])
    assert {task for _, task, *_ in before} == {"ner"}
    assert models(before) == {"tiny", "tiny-shuffled"}  # without pre-training it has its own


def test_the_recipe_without_pre_training_determines_its_runs_only(folder) -> None:
    """It was in the keys of all other runs, and a change of its other settings in none."""
    for override in ("tasks.ner.scratch.steps=3", "tasks.ner.scratch.batch=3"):
        assert {(m, t) for m, t, *_ in changed([override])} == {("tiny-scratch", "ner")}


@pytest.mark.parametrize(
    "stage, those",
    [
        ("text", {"tiny", "tiny-alone", "tiny-shuffled", "tiny-scratch"}),
        ("vocabulary", {"tiny", "tiny-alone", "tiny-shuffled", "tiny-scratch"}),
        ("model", {"tiny", "tiny-alone", "tiny-shuffled", "tiny-scratch"}),
        ("pretrain", {"tiny", "tiny-alone", "tiny-shuffled"}),
        ("baselines", {"char-ngram"}),
        ("finetune", None),
        ("tables", set()),
    ],
)
def test_a_stage_s_version_determines_what_goes_through_it(
    folder, monkeypatch, stage: str, those: set[str] | None
) -> None:
    before, made = keys(load("small")), parts(load("small"))[-1].key
    monkeypatch.setitem(plan.STAGES, stage, plan.STAGES[stage] + 1)
    after = keys(load("small"))
    found = {run for run in before if before[run] != after[run]}
    assert models(found) == (models(set(before)) if those is None else those)
    assert parts(load("small"))[-1].key != made


def test_a_task_s_version_determines_its_runs(folder, monkeypatch) -> None:
    """It was documented as a part of the key, and never read."""
    before = keys(load("small"))
    monkeypatch.setitem(TASKS, "qa", dataclasses.replace(TASKS["qa"], version=99))
    after = keys(load("small"))
    assert {task for _, task, *_ in before if task} == {"entity_type", "ner", "qa"}
    assert {run[1] for run in before if before[run] != after[run]} == {"qa"}


def test_code_that_moves_reruns_nothing(folder, repository: Path) -> None:
    """No key reads a source file: what plans, opens the experiment file and nothing of ours."""
    code = (
        "import sys\nfrom xltlib.train import config, plan\nopened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(str(a[0])) if e == 'open' else None)\n"
        "[p.key for p in plan.parts(config.load('small'))]\n"
        "print([n for n in opened if n.endswith(('.py', '.pyc')) and 'xltlib' in n])"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_few_shot_settings_determine_the_runs_that_have_few_shot(folder) -> None:
    runs = changed(["fewshot.steps=3"])
    assert runs == {("tiny", "entity_type", "eng", 0), ("tiny-alone", "entity_type", "rus", 0)}


@pytest.mark.parametrize(
    "override",
    ["title=Other", "notebooks={01_languages: {}}", "seeds=[0, 1]", "tasks=[entity_type, qa]"],
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
    monkeypatch.setattr(plan, "versions", lambda packages: {"torch": "0.1"})
    assert not set(before.values()) & set(keys(load("small")).values())


def test_digest_is_of_the_content_not_its_order() -> None:
    assert digest({"a": 1, "b": (2,)}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


# ---------------------------------------------------------------- runs and parts


def test_runs_of_the_small_experiment(folder) -> None:
    found = runs(load("small"))
    assert [r.model for r in found].count("tiny") == 2 * 3
    assert [(r.source, r.fewshot) for r in found if r.model == "tiny-alone"] == [("rus", ("rus",))]
    shots = {(r.task, r.source): r.fewshot for r in found if r.model == "tiny"}
    assert shots["entity_type", "eng"] == ("rus",)
    assert all(not t for key, t in shots.items() if key != ("entity_type", "eng"))
    for r in found:
        needs = r.model in ("tiny", "tiny-alone", "tiny-shuffled")
        assert (r.pretrain_seed is not None) == needs
        assert r.label == f"{r.model} {r.task} {r.source} seed {r.seed}"


def test_a_task_that_takes_long_may_have_fewer_seeds(folder) -> None:
    before = load("small", ["seeds=[0, 1]"])
    exp = load("small", ["seeds=[0, 1]", "tasks.ner.seeds=1"])
    seeds = {t: {r.seed for r in runs(exp) if r.task == t} for t in exp.tasks}
    assert seeds == {"entity_type": {0, 1}, "ner": {0}, "qa": {0, 1}}
    assert keys(exp).items() < keys(before).items()  # what is run is run as before


def test_seeds_share_the_pretrained_models_evenly(folder) -> None:
    exp = load("small", ["seeds=[0, 1, 2]", "pretrain.seeds=[5, 6]"])
    starts = {r.seed: r.pretrain_seed for r in runs(exp) if r.model == "tiny"}
    assert starts == {0: 5, 1: 6, 2: 5}
    needs = {p.name: p.needs for p in parts(exp)}
    assert needs["source-eng-rus"] == ("pretrain-5", "pretrain-6")


@pytest.mark.parametrize("name", ["embedded", "quick", "small"])
def test_parts_come_after_what_they_need_and_hold_every_run(folder, name: str) -> None:
    exp = load(name)
    done: list[str] = []
    for p in parts(exp):
        assert set(p.needs) <= set(done), p.name
        assert p.name not in done
        done.append(p.name)
    assert done[0] == "vocabulary" and done[-1] == "collect"
    assert parts(exp)[-1].needs == tuple(done[:-1])
    held = {part_of(exp, r) for r in runs(exp)}
    assert held == {n for n in done if not n.startswith(("vocabulary", "pretrain", "collect"))}


def test_a_part_s_key_changes_with_its_runs_only(folder) -> None:
    before = {p.name: p.key for p in parts(load("small"))}
    after = {p.name: p.key for p in parts(load("small", ["fewshot.steps=3"]))}
    small = load("small")
    few = {part_of(small, r) for r in runs(small) if r.fewshot}
    assert 2 == len(few) < len(before) - 1
    assert {n for n in before if before[n] != after[n]} == {*few, "collect"}


def test_planning_starts_without_torch(repository: Path) -> None:
    code = (
        "import sys; from xltlib.train import config, plan; plan.parts(config.load('embedded')); "
        "print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_experiment_is_frozen(folder) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load("small").title = "other"  # type: ignore[misc]
