"""Languages: codes, typology, similarity."""

from xltlib.languages.codes import (
    Language,
    default_script,
    has_features,
    is_individual,
    iso3,
    language,
    languages,
    name,
    shared_script,
)

__all__ = [
    "Language",
    "default_script",
    "has_features",
    "is_individual",
    "iso3",
    "language",
    "languages",
    "name",
    "shared_script",
]
