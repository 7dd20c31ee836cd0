"""Rows of labelled examples: from the Hub, or from a file that is here or is fetched and checked.

`read(path, layout)` reads jsonl, csv, tsv, Parquet, CoNLL columns and SQuAD's json; `hub_rows` the
Hugging Face Hub. Columns have *our* names then, whatever the data set calls them; nothing is
unpickled or executed. What an example must hold is checked later, by what the task needs
(`xltlib.data.datasets`).

Every file is checked before it is used: against the SHA-256 on its card (those of MASSIVE and of
repositories that are no public place are of the local copy), or, where nobody knew it, against the
one recorded when the file was first fetched (`_check_lock`). Nothing is written under its own name
before it is whole. Of the Hub, the files of one configuration at a pinned revision are fetched into
its cache (or found there, without a network) and `datasets` reads that folder, without a script.
The cache names a large file by its SHA-256; that is checked.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pooch

from xltlib.data.cards import Archive, Hub, Layout
from xltlib.errors import unknown
from xltlib.io import sha256, whole, write_text

Row = dict[str, Any]


def read(
    path: Path, layout: Layout, wanted: Sequence[str], optional: Sequence[str] = ()
) -> list[Row]:
    """All rows of a file: the wanted columns, and the optional ones it has, under our names.

    Raises
    ------
    ValueError
        No such file, not the format it is said to be, or a column is missing; the message names
        the file, the place in it and the cure.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: mend its path")
    try:
        rows = list(_READERS[layout.format](path, layout))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}: convert it") from error
    theirs = {name: layout.columns.get(name, name) for name in (*wanted, *optional)}
    return [
        {
            name: _pick(row, column, f"{path}, row {i}")
            for name, column in theirs.items()
            if name not in optional or column in row
        }
        for i, row in enumerate(rows, 1)
    ]


def _pick(row: Mapping[Any, Any], column: str | int, where: str) -> Any:
    """The value of a column, `a.b` being the field b of a; an error that names what there is."""
    if column in row:
        return row[column]
    first, _, rest = str(column).partition(".")
    if rest and isinstance(row.get(first), Mapping):
        return _pick(row[first], rest, where)
    have = [str(c) for c in row]
    raise unknown(f"column in {where}", column, have, "name the right one in the column map")


def _jsonl(path: Path, layout: Layout) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = _json(line, f"{path}, line {number}")
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number} is {type(row).__name__}, not an object")
            yield row


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where} is not JSON ({error.msg}): the file is cut short or altered; get it again"
        ) from error


def _table(path: Path, layout: Layout) -> Iterator[dict[Any, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        if layout.format == "csv":
            found = csv.reader(lines)
        else:
            found = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = iter(found)
        names = next(rows, []) if layout.header else None
        for row in filter(None, rows):
            n = len(row)
            if names is None:
                yield {i: row[i] for i in (*range(n), *range(-n, 0))}
            elif n == len(names):
                yield dict(zip(names, row, strict=True))
            else:
                raise ValueError(
                    f"{path}, line {found.line_num} has {n} columns, the header {len(names)}: "
                    "the file is cut short or altered, or a quote is missing"
                )


def _parquet(path: Path, layout: Layout) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole Parquet file ({error}): get it again") from error
    yield from rows


def _conll(path: Path, layout: Layout) -> Iterator[Row]:
    """One row a sentence; every column a tuple of its words' values."""
    lines = path.read_text(encoding="utf-8").split("\n")
    sentence: list[list[str]] = []
    most = max((int(c) for c in layout.columns.values()), default=0) + 1
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.strip("\t "):
            if sentence:
                yield _columns(sentence)
            sentence = []
            continue
        cells = line.split(layout.separator)
        if len(cells) < max(most, 2):
            if line.startswith("#"):
                continue  # a comment of CoNLL-U; a word `#` has a tag behind it
            raise ValueError(
                f"{path}, line {number} has {len(cells)} column(s), {max(most, 2)} are needed: "
                f"mend {line!r}, or say which character separates columns"
            )
        sentence.append(cells)
    if sentence:
        yield _columns(sentence)


def _columns(sentence: Sequence[Sequence[str]]) -> dict[Any, Any]:
    n = min(map(len, sentence))
    return {i: tuple(cells[i] for cells in sentence) for i in (*range(n), *range(-n, 0))}


def _squad(path: Path, layout: Layout) -> Iterator[Row]:
    """One row a question; `answers` as the Hub has them: {"text": […], "answer_start": […]}."""
    content = _json(path.read_text(encoding="utf-8"), str(path))
    try:
        for number, article in enumerate(content["data"]):
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield {
                        "id": str(asked["id"]),
                        "title": article.get("title", ""),
                        "article": str(number),
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answers": {
                            "text": [a["text"] for a in asked["answers"]],
                            "answer_start": [a["answer_start"] for a in asked["answers"]],
                        },
                    }
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has not the layout of SQuAD (data > paragraphs > qas > answers): "
            f"{error!r} is missing or out of place"
        ) from error


_READERS: dict[str, Callable[[Path, Layout], Iterator[Any]]] = {
    "jsonl": _jsonl,
    "csv": _table,
    "tsv": _table,
    "parquet": _parquet,
    "conll": _conll,
    "squad": _squad,
}


# ---------------------------------------------------------------- one file: here, or fetched

_GITHUB = "https://raw.githubusercontent.com"


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
    url = f"{_GITHUB}/{repository}/{quote(path)}"
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


# ---------------------------------------------------------------- the Hugging Face Hub


def hub_rows(hub: Hub, code: str, raw: str, columns: tuple[str, ...]) -> tuple[list[Row], str]:
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
            made.append({n: _pick(plain, names[n], f"{hub.id} {config} row {i}") for n in wanted})
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
