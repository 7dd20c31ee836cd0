"""The slides of the lessons: a page a deck, with figures and numbers of the executed chapters."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import yaml
from pages import Results

FOLDER = Path(__file__).resolve().parents[1] / "book" / "slides"
FORMS = {"image/svg+xml": "svg", "image/png": "png"}


def figure_in(notebook: dict[str, Any], section: str) -> tuple[str, bytes] | None:
    """Return suffix and content of the first figure of a section; None if it was not drawn.

    Raises
    ------
    ValueError
        The notebook has no such section.
    """
    inside = found = False
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            heads = [x[3:] for x in "".join(cell["source"]).splitlines() if x.startswith("## ")]
            inside = (inside and not heads) or section in heads[-1:]
            found = found or inside
        for output in cell.get("outputs", []) if inside else []:
            for form, suffix in FORMS.items():
                if content := "".join(output.get("data", {}).get(form, "")):
                    text = content.encode()
                    return suffix, text if suffix == "svg" else base64.b64decode(text)
    if not found:
        raise ValueError(f"there is no section {section!r} to take a figure of a slide from")
    return None


def tall(figure: bytes) -> bool:
    """Whether words fit better beside a figure than below it."""
    found = re.search(rb'<svg[^>]*? width="([\d.]+)pt" height="([\d.]+)pt"', figure[:2000])
    return found is not None and float(found[2]) > 0.6 * float(found[1])


def write(folder: Path, notebooks: Path, results: Results) -> None:
    """Write every deck of book/slides/decks.yml into `folder`, its figures beside it."""
    folder.mkdir(parents=True)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((FOLDER / "deck.html.j2").read_text("utf-8"))
    for name, deck in yaml.safe_load((FOLDER / "decks.yml").read_text("utf-8")).items():
        for i, slide in enumerate(deck["slides"], 1):
            points = [jinja2.Template(str(p)).render(found=results.found) for p in slide["points"]]
            slide |= {"points": points, "file": ""}
            if "figure" in slide and (path := notebooks / f"{slide['figure'][0]}.ipynb").exists():
                drawn = figure_in(json.loads(path.read_text("utf-8")), slide["figure"][1])
                if drawn is not None:
                    slide["file"] = f"{name}-{i}.{drawn[0]}"
                    slide["alt"] = f"Figure: {slide['title']}"
                    slide["tall"] = tall(drawn[1])
                    (folder / slide["file"]).write_bytes(drawn[1])
        page = template.render(**deck, book="What one language teaches a model about another")
        (folder / f"{name}.html").write_text(page, "utf-8")
