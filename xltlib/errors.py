"""Errors for the person: the value, what is allowed (nearest first), and the cure."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

import numpy as np

_SHOWN = 8  # a list longer than this is read by nobody
_LIKE = 0.6  # least ratio of values that look alike, as difflib has it


class Allowed(tuple[str, ...]):
    """Allowed values, of which the nearest are found at once even among thousands."""

    @functools.cached_property
    def _letters(self) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
        """Values in lower case and as they are, length, how often each letter (mod 64) is in it."""
        by_lower = {a.lower(): a for a in self}
        counts = np.zeros((64, len(by_lower)), np.uint8)
        for i, text in enumerate(by_lower):
            for letter in text[:255]:
                counts[ord(letter) % 64, i] += 1
        return [*by_lower], [*by_lower.values()], np.array([*map(len, by_lower)]), counts

    def nearest(self, value: object) -> list[str]:
        """The three that look most like `value` (case ignored), as difflib's get_close_matches.

        Letters in common bound the ratio from above: few are compared in full.
        """
        names, values, length, counts = self._letters
        text = str(value).lower()[:255]
        own = np.bincount([ord(c) % 64 for c in text], minlength=64).astype(np.uint8)[:, None]
        used = np.flatnonzero(own)
        shared = np.minimum(counts[used], own[used]).sum(axis=0, dtype=np.int16)
        bound = 2 * shared / np.maximum(length + len(text), 1)
        near = np.flatnonzero(bound >= _LIKE)
        near = near[np.argsort(-bound[near], kind="stable")]
        matcher, best = difflib.SequenceMatcher(b=text), [(_LIKE, "", -1)] * 3
        for i, most in zip(near.tolist(), bound[near].tolist(), strict=True):
            if most < best[2][0]:
                break
            matcher.set_seq1(names[i])
            best = sorted([*best, (matcher.ratio(), names[i], i)], reverse=True)[:3]
        return [values[i] for _, _, i in best if i >= 0]


def reason(error: ValueError) -> str:
    """What an error says; one that no check of ours raised is marked as a fault to report."""
    trace, inside = error.__traceback__, ""
    while trace is not None:
        inside, trace = str(trace.tb_frame.f_globals.get("__name__")), trace.tb_next
    ours = inside.split(".")[0] == __name__.split(".")[0]
    return str(error) if ours else f"unexpected, please report it: {error} (in {inside})"


def unknown(what: str, value: object, allowed: Iterable[object], cure: str = "") -> ValueError:
    """Build (not raise) the error for a value that is not among the allowed ones.

    The allowed values nearest to it are named first, a long list is cut; the cure is one sentence.
    Use as ``raise unknown("unit", unit, columns, "say which column holds what was sampled")``.
    """
    names = allowed if isinstance(allowed, Allowed) else Allowed(map(str, allowed))
    close = names.nearest(value)
    parts = [f"unknown {what} {value!r}."]
    if close:
        parts.append(f"Did you mean {' or '.join(repr(c) for c in close)}?")
    rest = [n for n in names[: _SHOWN + 3] if n not in close]
    if not names:
        parts.append("There is none.")
    elif len(names) <= _SHOWN:
        parts.append(f"Allowed: {', '.join(close + rest)}.")
    elif not close or len(names) <= 10 * _SHOWN:  # of thousands only the near ones help
        listed = ", ".join(close + rest[: _SHOWN - len(close)])
        parts.append(f"Allowed: {listed}, … ({len(names)} in all).")
    if cure:
        parts.append(cure)
    return ValueError(" ".join(parts))
