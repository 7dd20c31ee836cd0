"""Write constraints.txt and environment.yml: the installed versions of what xltlib[all] needs.

Run with `make lock` after changing a version on purpose. Both files name exact versions and no
index and no hash, so that the same list serves every mirror, pip and conda. Packages that happen
to be installed but that nothing here asks for stay out.
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Exact versions of everything xltlib[all] was run with. Written by `make lock`.\n"


def normal(name: str) -> str:
    """Return a package name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(root: Path = ROOT) -> list[Requirement]:
    """Return what pyproject.toml asks for, over all extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [Requirement(line) for group in groups for line in group]
    return [r for r in asked if r.name != project["name"]]


def here(requirement: Requirement, extra: str = "") -> bool:
    """Return whether a requirement is one on this platform, with an extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def closure(asked: list[Requirement]) -> dict[str, str]:
    """Return {name: version} of the requirements and of everything they require here."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(r, extra) for r in asked if here(r) for extra in ("", *r.extras)]
    while queue:
        requirement, extra = queue.pop()
        name = normal(requirement.name)
        if (name, extra) in seen or name == "pip":  # whoever installs brings it
            continue
        seen.add((name, extra))
        dist = metadata.distribution(name)
        # 2.13.0+cpu and 2.13.0+cu130 are the same pin: the machine chooses the build.
        found[name] = dist.version.split("+")[0]
        needed = [Requirement(line) for line in dist.requires or []]
        queue += [(more, e) for more in needed if here(more, extra) for e in ("", *more.extras)]
    return dict(sorted(found.items()))


def constraints(pins: dict[str, str]) -> str:
    """Return the text of constraints.txt."""
    return HEAD + "".join(f"{name}=={version}\n" for name, version in pins.items())


def environment(pins: dict[str, str], asked: list[Requirement], python: str = "3.11") -> str:
    """Return the text of environment.yml: conda brings Python, pip the same versions."""
    only = {normal(r.name): f"; {r.marker}" for r in asked if r.marker}
    lines = [
        "# conda env create -f environment.yml && conda activate xltlib",
        "# pip install --no-deps -e .",
        "# The pip list equals constraints.txt (tests/test_setup.py holds the two together).",
        "name: xltlib",
        "channels: [conda-forge]",
        "dependencies:",
        f"  - python={python}",
        "  - pip",
        "  - make",
        "  - pip:",
        *(f"      - {name}=={version}{only.get(name, '')}" for name, version in pins.items()),
    ]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Write `text` under a temporary name, then rename: never half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    versions = closure(declared())
    write(ROOT / "constraints.txt", constraints(versions))
    write(ROOT / "environment.yml", environment(versions, declared()))
    print(f"{len(versions)} versions written to constraints.txt and environment.yml")
