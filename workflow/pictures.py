"""The figures of executed notebooks: the first page's, all in one archive, the card of a link."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
from matplotlib.figure import Figure

from xltlib.book.style import DATA

PICTURE_FROM = "03_matrix"
PICTURE_TAG = "landing"
SVG, PNG, PDF = "image/svg+xml", "image/png", "application/pdf"
README = """Every figure of the book's chapters and laboratory, as drawn on white. Chapters
also have PDF and, up to a few thousand rows, the table that a figure was drawn from, as
CSV; whole matrices are drawn from the scores in book/published. Text and figures: CC BY 4.0.

file, section
"""


@dataclass(frozen=True)
class Picture:
    """What a cell drew: its content by suffix, the section it stands in, and the cell's tags."""

    files: dict[str, bytes]
    section: str
    tags: Sequence[str]


def pictures(notebook: dict) -> Iterator[Picture]:
    """Yield each picture that a notebook drew."""
    section = ""
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "markdown":
            heads = re.findall(r"^#+ (.*)$", "".join(cell["source"]), re.MULTILINE)
            section = heads[-1] if heads else section
        for output in cell.get("outputs", []):
            drawn = output.get("data", {})
            data = {kind: "".join(drawn[kind]) for kind in (SVG, PNG, PDF, DATA) if kind in drawn}
            files = {}
            if SVG in data:
                files["svg"] = data[SVG].encode()
            elif PNG in data:
                files["png"] = base64.b64decode(data[PNG])
            if files and PDF in data:
                files["pdf"] = base64.b64decode(data[PDF])
            if files and DATA in data:
                files["csv"] = data[DATA].encode()
            if files:
                yield Picture(files, section, cell["metadata"].get("tags", []))


def first_page(notebooks: Path) -> tuple[str, bytes] | None:
    """Return suffix and content of the first page's picture; None if it was not drawn.

    It is the one of the cell tagged `landing`, else the first of its notebook.
    """
    path = notebooks / f"{PICTURE_FROM}.ipynb"
    drawn = list(pictures(json.loads(path.read_text("utf-8")))) if path.exists() else []
    drawn.sort(key=lambda picture: PICTURE_TAG not in picture.tags)
    return next(iter(drawn[0].files.items())) if drawn else None


def pack(notebooks: Sequence[Path], path: Path) -> None:
    """Write every figure of some notebooks into one archive: `03_matrix-1.svg`, .pdf, .csv."""
    listed = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for notebook in sorted(notebooks):
            drawn = pictures(json.loads(notebook.read_text("utf-8")))
            for i, picture in enumerate(drawn, 1):
                listed.append(f"{notebook.stem}-{i}, {picture.section}")
                for suffix, content in picture.files.items():
                    archive.writestr(f"{notebook.stem}-{i}.{suffix}", content)
        archive.writestr("README.txt", README + "\n".join(listed) + "\n")


def bitmap(picture: tuple[str, bytes] | None) -> bytes | None:
    """Return the PNG of a heat map: the largest within an SVG, or the picture itself."""
    if picture is None or picture[0] == "png":
        return picture[1] if picture else None
    found = re.findall(rb'href="data:image/png;base64,([^"]+)"', picture[1])
    return base64.b64decode(max(found, key=len)) if found else None


def card(picture: tuple[str, bytes] | None, title: str, path: Path) -> None:
    """Write the picture that a link to the book shows elsewhere: its title beside the matrix."""
    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    content = bitmap(picture)
    if content is not None:
        ax = figure.add_axes((0.49, 0.04, 0.48, 0.92))
        ax.imshow(mpl.image.imread(io.BytesIO(content), format="png"), interpolation="nearest")
        ax.set_axis_off()
    words, lines = title.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 16:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    figure.text(0.04, 0.92, "\n".join(lines), size=36, weight="bold", color="#222222", va="top")
    figure.text(0.04, 0.08, "Cross-lingual transfer, measured", size=20, color="#555555")
    figure.savefig(path, metadata={"Software": None})
