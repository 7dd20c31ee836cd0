"""Languages: codes, typology, similarity."""

from xltlib.languages.codes import (
    Language,
    among,
    clash,
    is_summary,
    iso3,
    key,
    keys,
    known,
    language,
    languages,
    name,
    shared_script,
    understood,
)
