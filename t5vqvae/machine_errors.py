"""Translates what a disk, memory or a database does to a command into an `EnvironmentFault`."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from t5vqvae.errors import DiskError, EnvironmentFault

_FULL = "is full; free some space, or name another state folder by --state; the same command resumes"
_DISK: dict[int, str] = {
    errno.ENOSPC: f"the disk of {{path}} {_FULL}",
    errno.EDQUOT: f"the disk quota of {{path}} {_FULL}",
    errno.EROFS: "{path} lies on a read-only disk; name another folder",
    errno.EACCES: "{path}: permission denied; change its permissions or name another path",
    errno.EPERM: "{path}: operation not permitted; change its owner or name another path",
    errno.ENAMETOOLONG: "{path} is too long for a file name; choose a shorter one",
    errno.ENOTDIR: "{path}: a part of this path is a file, not a folder; name another path",
    errno.EISDIR: "{path} is a folder, where a file is expected",
    errno.ENOTEMPTY: "{path} is not empty; another process writes there",
    errno.EEXIST: "{path} is there already, as something else; move it away or name another path",
    errno.ENOENT: "{path} is missing; was it moved or deleted meanwhile?",
    errno.ELOOP: "{path} is a link that leads back to itself; name another path",
    errno.EIO: "the disk of {path} reports an input/output error",
    errno.ESTALE: "{path} was lost with its network disk; mount it again",
    errno.EMFILE: "too many files are open in this process; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "this machine has no memory left",
    errno.EAGAIN: "this machine starts no more processes or threads; raise the limit (ulimit -u)",
}
_SQLITE = {
    "database or disk is full": f"the disk of a study's database {_FULL}",
    "readonly database": "a database lies on a read-only disk or may not be written; name another state folder",
    "unable to open database file": "a database cannot be opened; is its folder there, and may it be written?",
    "disk I/O error": "the disk of a database reports an input/output error",
    "database is locked": "a database is locked by another process; wait for it to end",
    "malformed": "a database is damaged; restore it from a copy, or move it away",
    "not a database": "a database file is no SQLite database; restore it from a copy, or move it away",
}


def environment_fault(error: BaseException) -> EnvironmentFault | None:
    """Returns what the machine did, in one line, if an error or one of its causes came from the machine."""
    for cause in _causes(error):
        if isinstance(cause, EnvironmentFault):
            return cause
        if _is_memory(cause):
            return EnvironmentFault("out of memory; lower train.batch_size, or run fewer things at once")
        if isinstance(cause, OSError) and cause.errno in _DISK and not isinstance(cause, ConnectionError):
            return DiskError(_DISK[cause.errno].format(path=_path(cause)))
        if isinstance(cause, sqlite3.Error):
            return _of_sqlite(cause)
    return None


def _is_memory(error: BaseException) -> bool:
    """Returns whether Python or PyTorch found no memory."""
    refused = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return refused or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _of_sqlite(error: sqlite3.Error) -> EnvironmentFault | None:
    found = [line for words, line in _SQLITE.items() if words in str(error)]
    return DiskError(found[0]) if found else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what it was raised from; SQLAlchemy keeps the database's own error in `orig`."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        original = getattr(current, "orig", None)
        current = original if isinstance(original, BaseException) else current.__cause__


def _path(error: OSError) -> str:
    """Returns the path that an error names; where it names none, words for it."""
    named = error.filename2 or error.filename
    if not isinstance(named, str | bytes | Path):
        return "a file that was being written"
    return str(named.decode(errors="replace") if isinstance(named, bytes) else named)
