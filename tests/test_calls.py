"""Chapters call the library by names and keywords that it has, also where small runs do not get."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def imported(trees: list[ast.Module]) -> dict[str, Any]:
    """What a chapter's cells import of the library, by the name they give it."""
    names = {}
    for line in (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)):
        for alias in line.names if (line.module or "").startswith("xltlib") else ():
            module = importlib.import_module(str(line.module))
            if not hasattr(module, alias.name):
                module = importlib.import_module(f"{line.module}.{alias.name}")
                names[alias.asname or alias.name] = module
            else:
                names[alias.asname or alias.name] = getattr(module, alias.name)
    return names


def calls(trees: list[ast.Module]) -> Iterator[tuple[ast.Call, Any]]:
    """Calls of the library, each with what it calls; a name that is not there is an error."""
    names = imported(trees)
    for call in (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)):
        called = call.func
        if isinstance(called, ast.Name) and callable(names.get(called.id)):
            yield call, names[called.id]
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            if inspect.ismodule(names.get(called.value.id)):
                yield call, getattr(names[called.value.id], called.attr)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_keyword_is_one_of_the_function(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    trees = [ast.parse(c.source) for c in cells if c.cell_type == "code"]
    for call, function in calls(trees):
        allowed = inspect.signature(function).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in allowed.values()):
            given = {k.arg for k in call.keywords} - {None}
            assert given <= set(allowed), ast.unparse(call)
