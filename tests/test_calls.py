"""Chapters and scripts use names and keywords that the library has, also where no run gets."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

TOP = Path(__file__).resolve().parents[1]
PATHS = [
    *sorted((TOP / "notebooks").rglob("*.ipynb")),
    *sorted((TOP / "workflow").glob("*.py")),
    *sorted((TOP / "benchmarks").glob("*.py")),
]


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


def library(trees: list[ast.Module]) -> dict[str, Any]:
    """`imported`, less the names that the cells give to something of their own."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    return {name: of for name, of in imported(trees).items() if name not in own}


def calls(trees: list[ast.Module]) -> Iterator[tuple[ast.Call, Any]]:
    """Calls of the library, each with what it calls; a name that is not there is an error."""
    names = library(trees)
    for call in (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)):
        called = call.func
        if isinstance(called, ast.Name) and callable(names.get(called.id)):
            yield call, names[called.id]
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            if inspect.ismodule(names.get(called.value.id)):
                yield call, getattr(names[called.value.id], called.attr)


def attributes(trees: list[ast.Module]) -> Iterator[tuple[Any, str]]:
    """Modules of the library, and the names that are taken from them."""
    names = library(trees)
    for node in (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)):
        if isinstance(node.value, ast.Name) and inspect.ismodule(names.get(node.value.id)):
            yield names[node.value.id], node.attr


def trees_of(path: Path) -> list[ast.Module]:
    if path.suffix == ".py":
        return [ast.parse(path.read_text("utf-8"))]
    cells = nbformat.read(path, as_version=4).cells
    return [ast.parse(c.source) for c in cells if c.cell_type == "code"]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_name_and_keyword_is_one_of_the_library(path: Path) -> None:
    trees = trees_of(path)
    missing = [f"{m.__name__}.{name}" for m, name in attributes(trees) if not hasattr(m, name)]
    assert not missing
    for call, function in calls(trees):
        allowed = inspect.signature(function).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in allowed.values()):
            given = {k.arg for k in call.keywords} - {None}
            assert given <= set(allowed), ast.unparse(call)
