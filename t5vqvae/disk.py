"""Disks: how much room there is, and in one line what a full, read-only or refusing one did to a command.

All such errors end a command with the status 1 and a way to resume; nothing that was written before is lost.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t5vqvae.errors import DiskError, SettingError, UserError

MARGIN = 8_000_000
"""Bytes that stay free next to a checkpoint: for records, logs and databases."""
FULL, READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
"""The codes of SQLite, without their details, as those of the system."""
TORCH = ("file write failed", "unexpected pos")
"""What torch's writer says of a full disk, in a RuntimeError without a code."""

RUST = re.compile(r"\(os error (\d+)\)")
"""The system's code in what safetensors, written in Rust, says of a refusal."""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the disk of a folder refuses in the block into one line.

    Raises:
        DiskError: With that line. Errors that are one line already, and those of other folders, stay as they are.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fault = disk_error(error, folder)
        if fault is None:
            raise
        raise fault from error


def disk_error(error: BaseException, folder: Path) -> DiskError | None:
    """Returns the refusal of a disk that is, or led to, an error; None if it was no matter of the folder's disk."""
    codes = (_code(cause, folder) for cause in causes(error, handled=True))
    return next((DiskError(_line(code, folder)) for code in codes if code is not None), None)


def causes(error: BaseException, handled: bool = False) -> Iterator[BaseException]:
    """Yields an error, what it was raised from, and so on.

    Args:
        error: The error; SQLAlchemy keeps the database's own one in `orig`, Ray the worker's in `cause`.
        handled: Whether an error that was being handled when the next one was raised counts, too.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        kept = [getattr(current, name, None) for name in ("orig", "__cause__", "cause")]
        kept.append(current.__context__ if handled else None)
        current = next((other for other in kept if isinstance(other, BaseException)), None)


def system_code(error: BaseException) -> int | None:
    """Returns the system's code for what it refused, also by SQLite or safetensors; None of any other error."""
    if isinstance(error, sqlite3.Error):
        return SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if type(error).__name__ == "SafetensorError":
        found = RUST.search(str(error))
        return None if found is None else int(found[1])
    return error.errno if isinstance(error, OSError) else None


def need_room(folder: Path, size: int) -> None:
    """Refuses to begin a file that does not fit onto the disk.

    Args:
        folder: Where it is to be written.
        size: Its bytes, as far as they are known.

    Raises:
        DiskError: If less is free than its size, a tenth of it, and `MARGIN`.
    """
    free = shutil.disk_usage(folder).free
    needed = size + size // 10 + MARGIN
    if free < needed:
        wanted = f"{shown(free)} free, a checkpoint takes {shown(size)}, and {shown(needed - size)} stay free"
        raise DiskError(f"the disk of {folder} is full ({wanted}); make room, and the same command resumes")


def writable(folder: Path, refusal: str) -> Path:
    """Returns a folder in which a file was created and deleted; creates the folder.

    Args:
        folder: The folder.
        refusal: The error, with places for the folder and the reason.

    Raises:
        SettingError: If nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise SettingError(refusal.format(folder, reason)) from error


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all files of a folder; files that vanish meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total if path.is_dir() else path.stat().st_size


def shown(size: int) -> str:
    """Returns a number of bytes in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _code(error: BaseException, folder: Path) -> int | None:
    """Returns the system's code for the refusal of the folder's disk; None if the error is something else."""
    code = system_code(error)
    if code is not None and code not in FULL:
        return code if code in READ_ONLY and _is_within(getattr(error, "filename", None), folder) else None
    if code is None and any(said in str(error) for said in TORCH) and _free(folder) < MARGIN:
        return errno.ENOSPC
    return code


def _is_within(name: object, folder: Path) -> bool:
    return name is None or str(name).startswith(str(folder))


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _line(code: int, folder: Path) -> str:
    if code == errno.EIO and _free(folder) < MARGIN:  # SQLite cannot say it better
        code = errno.ENOSPC
    if code == errno.EDQUOT:
        return f"the quota on the disk of {folder} is used up; make room, and the same command resumes"
    if code in FULL:
        return f"the disk of {folder} is full ({shown(_free(folder))} free); make room, and the same command resumes"
    if code == errno.EROFS:
        return f"the disk of {folder} is read-only; make it writable, and the same command resumes"
    return f"the disk of {folder} refuses to be written ({os.strerror(code)}); mend it, and the same command resumes"
