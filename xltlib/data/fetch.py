"""Get one file: from ``XLT_DATA``, or from a repository on GitHub or an archive, into a cache.

Every file is checked before it is used: against the SHA-256 on its card (those of MASSIVE and of
repositories that are no public place are of the local copy), or, where nobody knew it, against the
one recorded when the file was first fetched (`_check_lock`). Nothing is written under its own name
before it is whole.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pooch

from xltlib.data.cards import Archive
from xltlib.io import sha256, whole, write_text

GITHUB = "https://raw.githubusercontent.com"


def local(repository: str, path: str) -> Path | None:
    """The file ``repository/path`` under ``XLT_DATA``, or None without one; not yet checked."""
    root = os.environ.get("XLT_DATA")
    found = Path(root, repository, path) if root else None
    return found if found and found.is_file() else None


def get(
    repository: str,
    path: str,
    checksums: Mapping[str, tuple[str, int]],
    archive: Archive | None = None,
) -> Path:
    """The checked file ``repository/path``: under ``XLT_DATA``, or fetched once into a cache.

    Parameters
    ----------
    repository : str
        ``owner/repository/commit`` of a GitHub repository, or a folder under ``XLT_DATA``.
    path : str
        Path below `repository`.
    checksums : mapping
        Path -> (SHA-256, bytes), as far as they are known.
    archive : Archive, optional
        Where the same path is in public, if not on GitHub.

    Raises
    ------
    ValueError
        A file that is altered or cut short, has changed since it was first fetched, or can be
        neither found nor fetched.
    """
    known = checksums.get(path)
    found = local(repository, path)
    if found is None:
        return _member(archive, repository, path) if archive else _download(repository, path, known)
    if known and sha256(found) != known[0]:
        raise ValueError(
            f"{found} is altered or cut short: {found.stat().st_size} bytes, its SHA-256 is not "
            f"{known[0]} (of {known[1]} bytes). Delete it and unpack or fetch it again"
        )
    return found


def _check_lock(key: str, digest: str) -> None:
    """Record a checksum at first sight; later, refuse another one.

    They are kept in ``XLT_DATA_LOCK``, or the build folder.
    """
    build = Path(os.environ.get("XLT_BUILD", "build"))
    path = Path(os.environ.get("XLT_DATA_LOCK", build / "data.lock.json"))
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): take it from your records") from error
    if kept.setdefault(key, digest) != digest:
        raise ValueError(
            f"{key} has changed since it was first fetched: its SHA-256 was {kept[key]} and is "
            f"{digest}. Find out why; to accept the new file, remove its line from {path}"
        )
    write_text(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def cache(*parts: str) -> Path:
    """A place in the user's cache."""
    return Path(pooch.os_cache("xltlib"), *parts)


def _retrieve(url: str, digest: str | None, target: Path, copy: str) -> Path:
    try:
        known = f"sha256:{digest}" if digest else None
        return Path(pooch.retrieve(url, known, fname=target.name, path=target.parent))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise ValueError(
            f"could not get {url}: {error}. Try again with a network, or put a copy at "
            f"$XLT_DATA/{copy} and set the environment variable XLT_DATA"
        ) from error


def _download(repository: str, path: str, known: tuple[str, int] | None) -> Path:
    key = f"{repository}/{path}"
    url = f"{GITHUB}/{repository}/{quote(path)}"
    found = _retrieve(url, known[0] if known else None, cache("data", *key.split("/")), key)
    if known is None:
        _check_lock(key, sha256(found))
    return found


def _member(archive: Archive, repository: str, path: str) -> Path:
    """One file of a tar.gz, unpacked into the cache once."""
    target = cache("data", archive.sha256[:12], *path.split("/"))
    if target.is_file():
        return target
    tar = cache("data", archive.url.rsplit("/", 1)[1])
    name = f"{archive.folder}/{path}"
    whole_tar = _retrieve(archive.url, archive.sha256, tar, f"{repository}/{path}")
    with tarfile.open(whole_tar, "r:gz") as content:
        try:
            found = content.extractfile(name)
        except KeyError:
            found = None
        if found is None:
            raise ValueError(
                f"{archive.url} has no file {name}: this version of xltlib needs another one"
            )
        with whole(target) as temporary:
            temporary.write_bytes(found.read())
    return target
