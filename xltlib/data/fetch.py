"""Get a data set's files: from ``XLT_DATA``, from a repository or archive, from the Hub's cache.

Every file is checked before it is used: against the SHA-256 known beforehand (`hub.sha256`; the
lines for MASSIVE and for repositories that are no public home are those of the local copy), against
the name that the Hub's cache gives it (the SHA-256 of a large file), or, where nobody knew the
checksum, against the one recorded when it was first fetched (`lock_path`). Nothing is written under
its own name before it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from xltlib.data.cards import Files, Hub, known_files
from xltlib.data.files import Row, pick

GITHUB = "https://raw.githubusercontent.com"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_whole(path: Path, content: bytes) -> Path:
    """Write under another name, then rename: the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def lock_path() -> Path:
    """Where checksums of first fetches are kept: ``XLT_DATA_LOCK``, or the build folder."""
    build = Path(os.environ.get("XLT_BUILD", "build"))
    return Path(os.environ.get("XLT_DATA_LOCK", build / "data.lock.json"))


def check_lock(key: str, digest: str) -> None:
    """Record a checksum at first sight; later, refuse another one."""
    path = lock_path()
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): take it from your records") from error
    if kept.setdefault(key, digest) != digest:
        raise ValueError(
            f"{key} has changed since it was first fetched: its SHA-256 was {kept[key]} and is "
            f"{digest}. Find out why; to accept the new file, remove its line from {path}"
        )
    write_whole(path, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())


# ---------------------------------------------------------------- files


def local_file(files: Files, code: str, raw: str) -> Path | None:
    """The file under ``XLT_DATA``, or None if there is none; not yet checked."""
    root = os.environ.get("XLT_DATA")
    if not root or code not in files.codes or raw not in files.paths:
        return None
    path = Path(root) / files.home / files.paths[raw].format(code=files.codes[code])
    return path if path.is_file() else None


def checked(path: Path, key: str) -> Path:
    """The path, if its bytes are the ones known under this key (or none are known)."""
    known = known_files().get(key)
    if known and sha256(path) != known[0]:
        raise ValueError(
            f"{path} is altered or cut short: {path.stat().st_size} bytes, its SHA-256 is not "
            f"{known[0]} (of {known[1]} bytes). Delete it and unpack or fetch it again"
        )
    return path


def file_of(files: Files, code: str, raw: str) -> Path:
    """The checked file of a language and raw split, fetched if need be."""
    relative = files.paths[raw].format(code=files.codes[code])
    key = f"{files.home}/{relative}"
    local = local_file(files, code, raw)
    if local:
        return checked(local, key)
    if files.archive:
        return _member(*files.archive, relative)
    return _download(files, key, relative)


def _cache(*parts: str) -> Path:
    import pooch

    return Path(pooch.os_cache("xltlib"), "data", *parts)


def _retrieve(url: str, digest: str | None, target: Path) -> Path:
    import pooch

    try:
        known = f"sha256:{digest}" if digest else None
        return Path(pooch.retrieve(url, known, fname=target.name, path=target.parent))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise ValueError(
            f"could not get {url}: {error}. Try again with a network, or set XLT_DATA to a folder "
            "that has a copy"
        ) from error


def _download(files: Files, key: str, relative: str) -> Path:
    from urllib.parse import quote

    url = f"{GITHUB}/{files.home}/{quote(relative)}"
    known = known_files().get(key)
    path = _retrieve(url, known[0] if known else None, _cache(*key.split("/")))
    if known is None:
        check_lock(key, sha256(path))
    return path


def _member(url: str, digest: str, folder: str, relative: str) -> Path:
    """One file of a tar.gz, unpacked into the cache once."""
    target = _cache(digest[:12], *relative.split("/"))
    if target.is_file():
        return target
    archive = _retrieve(url, digest, _cache(url.rsplit("/", 1)[1]))
    name = f"{folder}/{relative}"
    with tarfile.open(archive, "r:gz") as content:
        try:
            found = content.extractfile(name)
        except KeyError:
            found = None
        if found is None:
            raise ValueError(f"{url} has no file {name}: this version of xltlib needs another one")
        return write_whole(target, found.read())


# ---------------------------------------------------------------- the Hub


def hub_rows(
    hub: Hub, code: str, raw: str, columns: tuple[str, ...], revision: str | None = None
) -> tuple[list[Row], str]:
    """Rows of one configuration and split under our names, and the commit they are of.

    No script is run: the files of the configuration are fetched at the pinned revision into the
    Hub's cache (or found there, without a network) and `datasets` reads that folder.
    """
    config = hub.config.format(code=hub.codes[code])
    folder = _snapshot(hub, config, revision or hub.revision)
    found = _dataset(folder, config, hub.raw[raw], hub)
    names = {name: hub.columns.get(name, name) for name in columns}
    wanted = [n for n in names if n not in ("id", "title") or names[n] in found.column_names]
    tell = {column: _namer(found.features, column, hub.labels) for column in found.column_names}
    prefix = hub.prefix.format(code=hub.codes[code])
    rows = []
    for i, row in enumerate(found):
        if str(row.get("id", "")).startswith(prefix):
            plain = {c: tell[c](value) for c, value in row.items()}
            rows.append({n: pick(plain, names[n], f"{hub.id} {config} row {i}") for n in wanted})
    return rows, folder.name


def _snapshot(hub: Hub, config: str, revision: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise ValueError(
            "the Hub's data need more packages: pip install 'xltlib[train]'"
        ) from error
    where = f"{hub.id} at revision {revision!r}"
    try:
        folder = snapshot_download(
            hub.id,
            repo_type="dataset",
            revision=revision,
            allow_patterns=["README.md", f"{config}/*"],
        )
    except (RevisionNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"the Hub has no {where}: this version of xltlib is made for {hub.revision!r}"
        ) from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"the Hub has no data set {hub.id}, or asks for a login: {error}"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"could not get {where}, and it is not in the Hub's cache. Run once with a network "
            "(and without HF_HUB_OFFLINE), copy the cache here, or set XLT_DATA to a local copy. "
            f"This version of xltlib is made for revision {hub.revision!r}"
        ) from error
    for path in sorted(Path(folder, config).glob("*")):
        _check_blob(path)
    return Path(folder)


def _check_blob(path: Path) -> None:
    """The cache names a large file by its SHA-256: see that it still has it."""
    name = path.resolve().name
    if len(name) == 64 and sha256(path) != name:
        raise ValueError(
            f"{path} is altered or cut short: its SHA-256 is not {name}. Delete {path.resolve()} "
            "and load again"
        )


def _dataset(folder: Path, config: str, split: str, hub: Hub) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    home = f"{hub.id} at {folder.name[:12]}"
    try:
        return load_dataset(str(folder), config, split=split)
    except DatasetGenerationError as error:
        raise ValueError(
            f"{home}: a file of {config!r} is altered or cut short ({error.__cause__ or error}). "
            f"Delete {folder / config} and load again"
        ) from error
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"{home} has no whole {split!r} of configuration {config!r} in script-free form: "
            f"{error} Choose another language or split"
        ) from error


def _namer(features: Any, column: str, labels: tuple[str, ...]) -> Any:
    """What turns a column's integers into label names; other columns stay as they are."""
    from datasets import ClassLabel

    feature = features[column]
    inner = getattr(feature, "feature", None)
    if isinstance(feature, ClassLabel):
        names = labels or tuple(feature.names)
        return lambda value: _name(value, names)
    if isinstance(inner, ClassLabel):
        return lambda values: tuple(_name(v, inner.names) for v in values)
    return lambda value: value


def _name(value: Any, names: Any) -> Any:
    """The name of a label's number; a number without a name stays and is refused later.

    >>> _name(1, ("no", "yes")), _name(-1, ("no", "yes"))
    ('yes', -1)
    """
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
