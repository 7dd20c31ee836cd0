"""Errors for the person: the value, what is allowed (nearest first), and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 8  # a list longer than this is read by nobody


def nearest(value: object, allowed: Iterable[object], *, cutoff: float = 0.6) -> list[str]:
    """Allowed values that look like `value`, most similar first (case ignored)."""
    by_lower = {str(a).lower(): str(a) for a in allowed}
    close = difflib.get_close_matches(str(value).lower(), by_lower, n=3, cutoff=cutoff)
    return [by_lower[c] for c in close]


def reason(error: ValueError) -> str:
    """What an error says; one that no check of ours raised is marked as a fault to report."""
    trace, inside = error.__traceback__, ""
    while trace is not None:
        inside, trace = str(trace.tb_frame.f_globals.get("__name__")), trace.tb_next
    ours = inside.split(".")[0] == __name__.split(".")[0]
    return str(error) if ours else f"unexpected, please report it: {error} (in {inside})"


def unknown(what: str, value: object, allowed: Iterable[object], cure: str = "") -> ValueError:
    """Build (not raise) the error for a value that is not among the allowed ones.

    Parameters
    ----------
    what : str
        What the value was meant to be, e.g. ``"task"``.
    value : object
        The value as given.
    allowed : iterable
        Every allowed value; the nearest matches are named first, a long list is cut.
    cure : str, optional
        One sentence that says what to do.

    Returns
    -------
    ValueError
        Use as ``raise unknown("task", task, TASKS, "List them with `xlt tasks`.")``.
    """
    names = [str(a) for a in allowed]
    close = nearest(value, names)
    parts = [f"unknown {what} {value!r}."]
    if close:
        parts.append(f"Did you mean {' or '.join(repr(c) for c in close)}?")
    rest = [n for n in names if n not in close]
    if len(names) <= SHOWN:
        parts.append(f"Allowed: {', '.join(close + rest) or 'nothing'}.")
    elif not close or len(names) <= 10 * SHOWN:  # of thousands only the near ones help
        listed = ", ".join(close + rest[: SHOWN - len(close)])
        parts.append(f"Allowed: {listed}, … ({len(names)} in all).")
    if cure:
        parts.append(cure)
    return ValueError(" ".join(parts))
