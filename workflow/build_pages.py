"""`jupyter-book build` in several processes, which its own command has no option for.

Usage: python workflow/build_pages.py STAGE OUT JOBS; every warning is an error.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from jupyter_book.sphinx import build_sphinx


def main(stage: Path, out: Path, jobs: int) -> int:
    """Build the pages of `stage` into `out`/html; 0 where there was no warning and no error."""
    gc.set_threshold(200_000, 50, 100)  # pages stay; looking for garbage took a third of the time
    about = {"external_toc_path": str(stage / "_toc.yml"), "latex_individualpages": False}
    done = build_sphinx(
        stage,
        out / "html",
        noconfig=True,  # no conf.py: all is in the stage's _config.yml
        path_config=stage / "_config.yml",
        confoverrides={**about, "nitpicky": True},
        doctreedir=out / ".doctrees",
        quiet=True,
        warningiserror=True,
        keep_going=True,
        jobs=jobs,
    )
    if isinstance(done, Exception):
        raise done
    return int(done)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
