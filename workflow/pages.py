"""What a page shows beside what its author wrote: computed numbers in prose, code that folds.

Pages of `book/` that cite results are Jinja templates: `{{ found("05_examples", "A source …") }}`
puts in the number of the one statement that begins so, as the chapter recorded it. A chapter gets a
box that says what its parameters mean and how to run it, made from its own cell of parameters, and
the questions of book/questions.yml.
"""

from __future__ import annotations

import ast
import copy
import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

import xltlib
from xltlib.book import words

QUESTIONS = Path(__file__).resolve().parents[1] / "book" / "questions.yml"
EXERCISES = "## Try it\n"
SOLUTION = re.compile(r"^```\{solution\}.*?^```$\n?", re.MULTILINE | re.DOTALL)
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
MISSING = "not in this book"
CITING = (
    "index.md",
    "teach.md",
    "handout.md",
    "open.md",
)  # templates; the other pages may show braces of their own


class Results:
    """The statements of a built book, looked up by page and the beginning of a sentence."""

    def __init__(self, statements: pd.DataFrame) -> None:
        self.statements = statements

    def row(self, page: str, start: str) -> dict[str, Any] | None:
        """Return the one statement, or None where the chapter was not run, or on other scores."""
        table = self.statements[self.statements["page"] == page]
        found = table[table["sentence"].str.startswith(start)]
        if len(found) > 1:
            raise ValueError(f"{page} has {len(found)} statements that begin with {start!r}, not 1")
        return None if found.empty else found.iloc[0].to_dict()

    def found(self, page: str, start: str, digits: int = 1, scale: float = 1) -> str:
        """Return `39.7 (29.5 to 50.0)`: the estimate and its interval, times `scale`."""
        if (row := self.row(page, start)) is None:
            return MISSING
        return words.estimate(*(scale * row[c] for c in ("estimate", "low", "high")), digits)

    def verdict(self, page: str, start: str) -> str:
        """Return the verdict beside the others of the statement's family."""
        row = self.row(page, start)
        return MISSING if row is None else row["verdict_corrected"] or row["verdict"]

    def n(self, page: str, start: str) -> str:
        """Return how many units the interval is over, with their name."""
        if (row := self.row(page, start)) is None:
            return MISSING
        return f"{row['n']:.0f} {row['unit'].split(',')[0].strip()}s"

    def judged(self, claim: str) -> str:
        """Return two cells of a table: the claim over published data sets, and with ours."""
        cells = []
        for page in ("06_published", "04_predictors"):
            estimate, of = (
                self.found(page, f"{claim}, mean over", 2),
                self.n(page, f"{claim}, mean"),
            )
            cells.append(f"{self.verdict(page, f'{claim}, mean over')}: {estimate}, {of}")
        return " | ".join(cells)


def cite(folder: Path, statements: pd.DataFrame) -> None:
    """Put the numbers into the pages of `folder` that cite them."""
    results = Results(statements)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for name in CITING:
        page = folder / name
        text = environment.from_string(page.read_text("utf-8"))
        known = {key: getattr(results, key) for key in ("found", "verdict", "n", "judged")}
        page.write_text(text.render(known, count=f"{len(statements):,}"), "utf-8")


def parameters(source: str) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of each line of a cell of parameters."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    rows = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            default = ast.get_source_segment(source, node.value) or ""
            rows.append((node.targets[0].id, default, comments.get(node.lineno, "")))
    return rows


def command(stem: str, rows: list[tuple[str, str, str]]) -> str:
    """Return the papermill line that sets the first parameters of a chapter, as they are."""
    lists = [(name, value) for name, value, _ in rows if value.startswith("[")]
    plain = [(n, v.strip("\"'")) for n, v, _ in rows if not v.startswith("[")]
    line = f"papermill notebooks/{stem}.ipynb mine.ipynb"
    for name, value in [p for p in plain if p[1]][:2]:
        line += f" -p {name} {value}"
    for name, value in lists[:1]:
        line += f" -y '{name}: {value or '[]'}'"
    return line


NEEDS = """*A chapter of the book "What one language teaches a model about another", by itself.*

**It needs** Python 3.11 or newer and the wheel of a release, `pip install
"xltlib-VERSION-py3-none-any.whl[book]"`; a chapter that trains a model on this machine,
`[train,book]`. The first cell with code puts the kept scores and the experiment files into this
folder, 4 MB, unless it is inside a copy of the repository. **A network** is needed only by chapters
that fetch data or a model. A chapter that shows a run of this machine stops and names the command
that makes it; `xlt run quick` takes a few minutes, then set `experiment = "quick"`. Links to other
chapters lead to files beside this one."""


def by_itself(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a chapter as it is downloaded: its first cell says what it needs."""
    first = {"cell_type": "markdown", "id": "needs", "metadata": {}}
    first["source"] = NEEDS.replace("VERSION", xltlib.__version__).splitlines(keepends=True)
    return {**notebook, "cells": [first, *notebook["cells"]]}


def run_box(stem: str, source: str) -> str:
    """Return the folded box that says how to run a chapter with other parameters."""
    rows, up = parameters(source), "../" * (1 + stem.count("/"))
    table = ["| parameter | as shown | what it may be |", "| --- | --- | --- |"]
    for name, default, meaning in rows:
        table.append(f"| `{name}` | `{default}` | {meaning.replace('|', '/')} |")
    return "\n".join(
        [
            ":::{admonition} Run this chapter with other parameters", ":class: dropdown", "",
            f"{{download}}`Download the notebook <{up}templates/{stem}.ipynb>`; its first cell "
            "says what it needs to run by itself. In a copy of the repository, after "
            "`make install`:",
            "", "```bash", "source .venv/bin/activate", command(stem, rows), "```", "",
            "`-p` sets one value, `-y` a list; what is left out stays as shown. A name or a value "
            "that is not allowed stops the first cell, which says what is. The figures are then in "
            "`mine.ipynb`: {ref}`how to show it <one-chapter>`.", "", *table, ":::", "",
        ]
    )  # fmt: skip


@cache
def _asked() -> dict[str, list[dict[str, str]]]:
    return yaml.safe_load(QUESTIONS.read_text("utf-8"))


def questions(stem: str, student: bool) -> str:
    """Return the chapter's questions as Markdown, each with its folded answer."""
    asked = _asked().get(stem, [])
    if student:
        shown = [f"{i}. {each['ask']}" for i, each in enumerate(asked, 1)]
    else:
        shown = [f":::{{dropdown}} {each['ask']}\n{each['answer']}\n:::\n" for each in asked]
    return "\n".join(["## Check yourself", "", *shown, "", ""]) if asked else ""


def without_solutions(text: str) -> str:
    """Return a page's Markdown without the solutions of its exercises."""
    return SOLUTION.sub("", text)


def _empty(output: dict[str, Any]) -> bool:
    """Whether an output is a text without words, of which its type's name would be shown."""
    text = output.get("data", {}).get("text/markdown")
    return text is not None and not "".join(text).strip()


def chapter(notebook: dict[str, Any], stem: str, student: bool = False) -> dict[str, Any]:
    """Return an executed notebook as the book shows it: code folded, its box, its questions.

    `student`: without solutions and answers.
    """
    shown = copy.deepcopy(notebook)
    for cell in shown["cells"]:
        if cell["cell_type"] == "code":
            tags = cell["metadata"].setdefault("tags", [])
            if "injected-parameters" in tags:
                tags.append("remove-cell")
            elif not (HIDDEN & set(tags) or stem.startswith("lab/")):  # there code is the point
                tags.append("hide-input")
            cell["outputs"] = [o for o in cell.get("outputs", []) if not _empty(o)]
            for output in cell["outputs"]:  # a heading without words is none
                if page := output.get("data", {}).get("text/html"):
                    output["data"]["text/html"] = "".join(page).replace("<th></th>", "<td></td>")
        elif cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            text = text.replace(EXERCISES, questions(stem, student) + EXERCISES)
            cell["source"] = without_solutions(text) if student else text
    first = next(c for c in shown["cells"] if "parameters" in c["metadata"].get("tags", []))
    box = {"cell_type": "markdown", "id": "run-this-chapter", "metadata": {}}
    box["source"] = run_box(stem, "".join(first["source"]))
    shown["cells"].insert(1, box)
    return shown
