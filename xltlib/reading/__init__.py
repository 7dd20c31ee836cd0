"""Tables as people have them: almost any file of scores or pairs in, one tidy frame out.

`headings` reads numbers and the names of columns and labels, `files` finds a grid of cells and its
headings, `shapes` turns a matrix into rows, and `scale` brings scores to 0..1. Whatever is
understood or left out is a sentence of ``attrs["notes"]``; what cannot be read is a ValueError with
the cause and the cure.
"""

from xltlib.reading.headings import (
    counts,
    is_outcome,
    is_property,
    is_score,
    languages_in,
    lower_is_better,
    numbers,
    plain_label,
    preference,
    role,
    some,
    undecorated,
    words,
)
from xltlib.reading.shapes import pairs, table
