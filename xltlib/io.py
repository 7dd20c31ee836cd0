"""The one way to write a file: whole or not at all, on the disk, and an error that says what to do.

What was finished is believed only if it is what was written: a record holds the checksum of its
content (`sealed`), a folder those of its files (`seal`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from xltlib.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_SUMS = "sha256.json"
_HERE = re.sub(r"\W", "-", socket.gethostname())[:40]  # processes of other machines write too
_FULL = 2**16  # bytes free on a disk that is full
_CURES = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "your disk quota is used up: free some space and run again",
    errno.EFBIG: "the file is larger than is allowed here (`ulimit -f`, or the disk's own limit)",
    errno.EROFS: "the folder is read-only: choose another place to write to",
    errno.EACCES: "you may not write there: choose another folder or its permissions",
    errno.EPERM: "you may not write there: choose another folder or its permissions",
}


def say(message: str) -> None:
    """Tell the person who watches, above a bar of progress."""
    tqdm.write(message, file=sys.stderr)


def carried(path: Path) -> Path:
    """`path`, seen from the book's folder; where it is not there, the copy an installation has."""
    installed = Path(sysconfig.get_path("data")) / "share" / "xltlib" / path
    return installed if installed.exists() and not os.path.exists(path) else path


def build_folder(experiment: str) -> Path:
    """Where everything made of an experiment goes, by its name."""
    return Path(os.environ.get("XLT_BUILD", "build")) / experiment


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, a file or a folder; it becomes `path` if all goes well.

    A failure leaves what was there before. Folders above are made.

    Raises
    ------
    OSError
        What could not be written, why, and the cure.
    """
    temporary = path.with_name(f".{path.name}.{_HERE}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        yield temporary
        _flush(temporary)  # else a power cut could leave the new name with nothing in it
        if path.is_dir():  # a folder cannot be replaced in one step
            remove(path)
        os.replace(temporary, path)
        _flush(path.parent, inside=False)
    except Exception as error:
        if (code := _number(error, path.parent)) is None:
            raise
        raise unwritable(path, code, error) from error
    finally:
        with suppress(OSError):
            remove(temporary)


def _flush(path: Path, inside: bool = True) -> None:
    """Wait until a file, or a folder with all in it, is on the disk."""
    mode = os.O_RDWR if os.name == "nt" else os.O_RDONLY  # Windows asks for the right to write
    for one in (*(path.rglob("*") if inside else ()), path):
        try:
            file = os.open(one, mode)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        except OSError:
            if not one.is_dir():  # not every disk can do this to a folder
                raise


def unwritable(path: Path, code: int, error: Exception) -> OSError:
    """Build (not raise) the error for what cannot be written, with the cure where one is known."""
    cure = _CURES.get(code, getattr(error, "strerror", None) or str(error))
    return OSError(code, f"cannot write {path}: {cure}")


def _number(error: Exception, folder: Path) -> int | None:
    """The system's number of an error in writing to a folder; None where it is none.

    Writers in Rust put it into their text, torch and numpy say nothing about a full disk.
    """
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return int(found[1])
    if isinstance(error, OSError) and error.errno:
        return error.errno
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _FULL:
            return errno.ENOSPC
    unsaid = isinstance(error, OSError) or "inline_container" in str(error)  # torch's writer
    return errno.EIO if unsaid else None


def write_text(path: Path, text: str) -> Path:
    """Write text as UTF-8, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table as its file's ending says (``.parquet`` or ``.csv``): same table, same bytes.

    Raises
    ------
    ValueError
        Another ending.
    OSError
        What could not be written, why, and the cure.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise unknown("file ending", suffix, [".parquet", ".csv"], "name the file accordingly")
    plain = table.copy(deep=False)
    plain.attrs = {}
    with whole(file) as temporary:
        if suffix == ".csv":
            plain.to_csv(temporary, index=False, lineterminator="\n")
        else:
            plain.to_parquet(temporary, index=False, engine="pyarrow", compression="zstd")
    return file


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def sealed(record: Mapping[str, Any]) -> str:
    """A record as JSON, with the checksum of all the rest under ``sha256``."""
    content = json.dumps(record)
    return json.dumps({**record, "sha256": hashlib.sha256(content.encode()).hexdigest()})


def unsealed(path: Path) -> dict[str, Any] | None:
    """A record that `sealed` wrote; None where there is none or it is not what was written."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        wanted = record.pop("sha256", None)
        found = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None
    return record if wanted == found else None


def seal(folder: Path) -> None:
    """Write the checksums of the files of a finished folder into it."""
    write_text(folder / _SUMS, json.dumps(_sums(folder), indent=1))


def intact(folder: Path) -> bool:
    """Whether a folder holds the files that were in it when it was sealed, and no others."""
    try:
        wanted = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return bool(wanted) and wanted == _sums(folder)
    except (OSError, ValueError):
        return False


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _SUMS)
    return {p.relative_to(folder).as_posix(): sha256(p) for p in files}


def sweep(folder: Path) -> None:
    """Delete what killed processes of this machine left half-written in a folder."""
    for path in folder.rglob(f".*.{_HERE}.*.tmp"):
        try:
            os.kill(int(path.suffixes[-2][1:]), 0)
        except ProcessLookupError:
            remove(path)
        except (ValueError, OSError):
            continue


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
