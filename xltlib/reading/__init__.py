"""Tables as people have them: almost any file of scores or pairs in, one tidy frame out.

`cells` reads numbers, `headings` the names of columns and labels, `grid` finds the headings among
those of `files`, and `shapes` turns a matrix into rows. Whatever is understood or left out is
a sentence of ``attrs["notes"]``; what cannot be read is a ValueError with the cause and the cure.
"""

from xltlib.reading.cells import counts, numbers
from xltlib.reading.headings import (
    is_outcome,
    is_property,
    is_score,
    lower_is_better,
    plain_label,
    preference,
    role,
    some,
    words,
)
from xltlib.reading.shapes import pairs, table
