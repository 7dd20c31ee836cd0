"""Rows from the Hugging Face Hub, at a pinned revision, without running a script.

The files of one configuration are fetched into the Hub's cache (or found there, without a network)
and `datasets` reads that folder. The cache names a large file by its SHA-256; that is checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xltlib.data.cards import Hub
from xltlib.data.files import Row, pick
from xltlib.io import sha256


def rows(hub: Hub, code: str, raw: str, columns: tuple[str, ...]) -> tuple[list[Row], str]:
    """Rows of one configuration and split under our names, and the commit they are of.

    Raises
    ------
    ValueError
        A data set, revision, configuration, split or column that is not there, or an altered file;
        the message names the cure.
    """
    config = hub.config.format(code=hub.codes[code])
    folder = _snapshot(hub, config)
    found = _dataset(folder, config, raw, hub)
    names = {name: hub.columns.get(name, name) for name in columns}
    wanted = [n for n in names if n not in ("id", "title") or names[n] in found.column_names]
    named = {column: _names(feature, hub.labels) for column, feature in found.features.items()}
    prefix = hub.prefix.format(code=hub.codes[code])
    made = []
    for i, row in enumerate(found):
        if str(row.get("id", "")).startswith(prefix):
            plain = {c: _named(value, named[c]) for c, value in row.items()}
            made.append({n: pick(plain, names[n], f"{hub.id} {config} row {i}") for n in wanted})
    return made, folder.name


def _snapshot(hub: Hub, config: str) -> Path:
    """The folder of one configuration's files in the Hub's cache, every blob checked."""
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise ValueError(
            "the Hub's data need more packages: pip install 'xltlib[train]'"
        ) from error
    where = f"{hub.id} at revision {hub.revision!r}"
    try:
        folder = snapshot_download(
            hub.id,
            repo_type="dataset",
            revision=hub.revision,
            allow_patterns=["README.md", f"{config}/*"],
        )
    except (errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise ValueError(f"the Hub has no {where}, which this version of xltlib needs") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"the Hub has no data set {hub.id}, or asks for a login: {error}"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"could not get {where}, and it is not in the Hub's cache. Run once with a network "
            "(and without HF_HUB_OFFLINE), copy the cache here, or set XLT_DATA to a local copy"
        ) from error
    for path in sorted(Path(folder, config).glob("*")):
        name = path.resolve().name
        if len(name) == 64 and sha256(path) != name:
            raise ValueError(
                f"{path} is altered or cut short: its SHA-256 is not {name}. "
                f"Delete {path.resolve()} and load again"
            )
    return Path(folder)


def _dataset(folder: Path, config: str, split: str, hub: Hub) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    where = f"{hub.id} at {folder.name[:12]}"
    try:
        return load_dataset(str(folder), config, split=split)
    except DatasetGenerationError as error:
        raise ValueError(
            f"{where}: a file of {config!r} is altered or cut short ({error.__cause__ or error}). "
            f"Delete {folder / config} and load again"
        ) from error
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"{where} has no whole {split!r} of configuration {config!r} in script-free form: "
            f"{error} Choose another language or split"
        ) from error


def _names(feature: Any, labels: tuple[str, ...]) -> tuple[str, ...]:
    """What the numbers of a column stand for, where they are labels or lists of them."""
    if isinstance(getattr(feature, "names", None), list):
        return labels or tuple(feature.names)
    return tuple(getattr(getattr(feature, "feature", None), "names", ()))


def _named(value: Any, names: tuple[str, ...]) -> Any:
    """The name of a label's number; a number without a name stays and is refused later.

    >>> _named(1, ("no", "yes")), _named([0, -1], ("no", "yes"))
    ('yes', ('no', -1))
    """
    if isinstance(value, list) and names:
        return tuple(_named(one, names) for one in value)
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
