"""Translates what a disk, memory or a database did to a command into an `EnvironmentFault`.

`disk.py` does so for the folder of a study, which it can name; this is for whatever reaches the end of a command.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from t5vqvae.disk import causes, system_code
from t5vqvae.errors import DiskError, EnvironmentFault
from t5vqvae.redaction import redacted

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
    sqlite3.SQLITE_BUSY: "a database is locked by another process; wait for it to end",
    sqlite3.SQLITE_CORRUPT: "a database is damaged; restore it from a copy, or move it away",
    sqlite3.SQLITE_NOTADB: "a database file is no SQLite database; restore it from a copy, or move it away",
}
"""What only a database has; its other codes are the system's (`t5vqvae.disk.SQLITE`)."""


def environment_fault(error: BaseException) -> EnvironmentFault | None:
    """Returns what the machine did, in one line, if an error or one of its causes came from the machine."""
    for cause in causes(error):
        if isinstance(cause, EnvironmentFault):
            return cause
        if _is_memory(cause):
            return EnvironmentFault("out of memory; lower train.batch_size, or run fewer things at once")
        line = _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF) or _DISK.get(system_code(cause) or 0)
        if type(cause).__module__.startswith("psycopg"):
            return EnvironmentFault(f"PostgreSQL: {_first_line(cause)}; see that it runs; the same command resumes")
        if line is not None and not isinstance(cause, ConnectionError):
            return DiskError(line.format(path=_path(cause)))
    return None


def _first_line(error: BaseException) -> str:
    return redacted((str(error).strip().splitlines() or [type(error).__name__])[0])


def _is_memory(error: BaseException) -> bool:
    """Returns whether Python or PyTorch found no memory."""
    refused = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return refused or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _path(error: BaseException) -> str:
    """Returns the path that an error names; where it names none, words for it."""
    if isinstance(error, sqlite3.Error):
        return "a database"
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if not isinstance(named, str | bytes | Path):
        return "a file that was being written"
    return str(named.decode(errors="replace") if isinstance(named, bytes) else named)
