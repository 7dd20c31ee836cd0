"""Tasks by name: `task("entity_type")`, `task("xnli")`.

`TASKS` are those of the embedded default; the public ones (`xltlib.tasks.public`) are looked up
only when one of them is asked for.
"""

from __future__ import annotations

from xltlib.errors import unknown
from xltlib.tasks.base import Task
from xltlib.tasks.embedded import TASKS


def task(name: str) -> Task:
    """The task of this name, embedded or public; an error that names the nearest ones otherwise."""
    if name in TASKS:
        return TASKS[name]
    from xltlib.tasks.public import PUBLIC

    if name not in PUBLIC:
        raise unknown("task", name, [*TASKS, *PUBLIC], "use one of these")
    return PUBLIC[name]
