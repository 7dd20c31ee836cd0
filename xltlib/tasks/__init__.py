"""Tasks by name: `task("kind")`."""

from __future__ import annotations

from xltlib.errors import unknown
from xltlib.tasks.base import Example, Score, Task
from xltlib.tasks.embedded import TASKS

__all__ = ["TASKS", "Example", "Score", "Task", "task"]


def task(name: str) -> Task:
    """The task of this name; an error that names the nearest ones otherwise."""
    if name not in TASKS:
        raise unknown("task", name, TASKS, "use one of these")
    return TASKS[name]
