"""The one way to write a file: whole or not at all, and an error that says what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xltlib.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_CURES = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "your disk quota is used up: free some space and run again",
    errno.EROFS: "the folder is read-only: choose another place to write to",
    errno.EACCES: "you may not write there: choose another folder or its permissions",
    errno.EPERM: "you may not write there: choose another folder or its permissions",
}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, a file or a folder; it becomes `path` if all goes well.

    A failure leaves what was there before. Folders above are made.

    Raises
    ------
    OSError
        What could not be written, why, and the cure.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        if path.is_dir():  # a folder cannot be replaced in one step
            _remove(path)
        os.replace(temporary, path)
    except OSError as error:
        cure = _CURES.get(error.errno or 0, error.strerror or str(error))
        raise OSError(error.errno, f"cannot write {path}: {cure}") from error
    finally:
        with suppress(OSError):
            _remove(temporary)


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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
