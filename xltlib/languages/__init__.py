"""Languages: codes, typology, similarity."""

from xltlib.languages.codes import (
    Language,
    is_individual,
    iso3,
    language,
    languages,
    name,
    shared_script,
)

__all__ = [
    "Language",
    "is_individual",
    "iso3",
    "language",
    "languages",
    "name",
    "shared_script",
]
