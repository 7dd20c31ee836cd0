"""A notebook stops at a parameter it does not have, and says what it has."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

from xltlib.book.parameters import (
    at_least,
    built,
    check_parameters,
    each,
    language_of,
    optional,
    root,
)
from xltlib.languages import key
from xltlib.train.config import load

REPOSITORY = Path(__file__).resolve().parents[1]
CELL = "task = 'entity_type'  # a comment\nsteps = 0"


def _after(*cells: str, **values: object) -> dict[str, object]:
    """The namespace of IPython after these cells."""
    return {"In": ["", *cells, "check_parameters(globals())"], "Out": {}, "__name__": "x", **values}


def test_values_come_back_as_the_specs_make_them() -> None:
    given = _after(CELL, task="entity_type", steps=3, goal=1, sources="German, ru", target="")
    found = check_parameters(
        given,
        task=("entity_type", "ner"),
        steps=at_least(0),
        goal=float,
        sources=each(key),
        target=optional(key),
    )
    assert found.sources == ["deu", "rus"]
    assert (found.task, found.steps, found.target) == ("entity_type", 3, "")
    assert isinstance(found.goal, float)


@pytest.mark.parametrize(
    "text",
    ['["Finnish", "zh-TW"]', "Finnish, zh-TW", "['Finnish', 'zh-TW']", "[Finnish, zh-TW]",
     '("Finnish","zh-TW",)'],
)  # fmt: skip
def test_a_list_as_papermill_hands_it_over(text: str) -> None:
    found = check_parameters(_after("languages = []", languages=text), languages=each(key))
    assert found.languages == ["fin", "cmn_Hant"]
    plain = check_parameters(_after("tasks = []", tasks='["ner"]'), tasks=list)
    assert plain.tasks == ["ner"]


def test_an_unknown_parameter_of_papermill_stops_and_names_the_nearest() -> None:
    given = _after(CELL, '# Parameters\nstpes = "rus"\n', task="entity_type", steps=0, stpes="rus")
    with pytest.raises(ValueError, match=r"unknown parameter 'stpes'.*'steps'.*Allowed"):
        check_parameters(given, task=str, steps=int)


def test_a_name_misspelt_by_hand_stops_too() -> None:
    given = _after(CELL, "task = 'entity_type'\nstep = 9", task="entity_type", steps=0, step=9)
    with pytest.raises(ValueError, match="unknown parameter 'step'"):
        check_parameters(given, task=str, steps=int)


def test_variables_of_other_cells_are_no_parameters() -> None:
    later = ("n = 4", "import os\nx = 3", "!ls", "for i in range(3):\n    pass")
    given = _after(CELL, *later, task="entity_type", steps=0, n=4, x=3, i=2)
    found = check_parameters(given, task=str, steps=int)
    assert vars(found) == {"task": "entity_type", "steps": 0}


def test_without_a_history_every_plain_value_counts() -> None:
    with pytest.raises(ValueError, match="unknown parameter 'taks'"):
        check_parameters({"task": "entity_type", "taks": "ner", "os": os, "_i": ""}, task=str)


@pytest.mark.parametrize(
    ("spec", "value", "says"),
    [
        (str, 3, "must be text"),
        (str, float("nan"), "-r p VALUE"),  # the code of Min Nan, as papermill reads it
        (int, True, "a whole number"),
        (int, 2.5, "a whole number"),
        (float, "1", "a number"),
        (list, "a", "a list"),
        (("entity_type", "ner"), "nre", "Did you mean 'ner'"),
        (key, "Germann", "German"),
        (key, 3, "p = 3"),
        (at_least(1), 0, "1 or more"),
        (each(key), ["deu", "zzzz9"], "zzzz9"),
        (each(key), 4, "give a list"),
        (each(key), "[4]", "not of the right kind"),
        (language_of(["deu", "rus"]), "srp", "deu"),
    ],
)
def test_a_value_that_is_not_allowed_says_what_is(spec: object, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_parameters(_after("p = 1", p=value), p=spec)  # type: ignore[arg-type]


def test_a_language_in_any_form() -> None:
    assert language_of(["deu", "pes"])("Persian") == "pes"


def test_a_parameter_without_value() -> None:
    with pytest.raises(ValueError, match="run the cell of parameters"):
        check_parameters(_after("x = 1"), task=str)


def test_root_is_found_from_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yml").touch()
    inside = tmp_path / "notebooks" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert root() == tmp_path == Path.cwd()


def test_a_missing_table_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("XLT_BUILD", str(tmp_path))
    exp = load("quick")
    with pytest.raises(FileNotFoundError, match="make scores EXPERIMENT=quick"):
        built(exp, "scores.parquet")
    exp.folder.mkdir()
    (exp.folder / "scores.parquet").touch()
    assert built(exp, "scores.parquet").is_file()


def test_papermill_stops_at_the_check_cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    papermill = pytest.importorskip("papermill", reason="pip install 'xltlib[book]'")
    cell = nbformat.v4.new_code_cell
    parameters = cell("task = 'entity_type'", metadata={"tags": ["parameters"]})
    check = "check_parameters(globals(), task=('entity_type', 'ner'))"
    notebook = nbformat.v4.new_notebook(
        cells=[parameters, cell(f"from xltlib.book.parameters import check_parameters\n{check}")],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    source = tmp_path / "in.ipynb"
    nbformat.write(notebook, source)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")

    def execute(**given: str) -> None:
        papermill.execute_notebook(source, tmp_path / "out.ipynb", given, progress_bar=False)

    execute(task="ner")
    with pytest.raises(papermill.PapermillExecutionError, match="unknown parameter 'tsak'"):
        execute(tsak="ner")
