"""Files that several processes share: written atomically, checked when read, locked while one process changes them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from t5vqvae.errors import DamagedFileError, UserError

CHECKSUM = "checksum"
"""The key of a JSON file under which the hash of its other values stands."""
RESTORE = "restore it from a copy, or move it away"
"""The way out of a damaged file where no better one is known."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of `path` against all processes of this machine; waits while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


@contextmanager
def held(path: Path, taken: str, way_out: str, holder: str | None = None) -> Iterator[None]:
    """Holds the lock file `path` without waiting; the lock falls with its process, however that ends.

    Args:
        path: The lock file; it names its holder.
        taken: What another process holds, for the error, as `study tiny is being searched`.
        way_out: The way out of that.
        holder: What others receive as the holder; None: this process and its machine.

    Raises:
        UserError: If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", errors="replace") as file:
        try:
            _take(file)
        except BlockingIOError:
            file.seek(0)
            other = " ".join(file.read(500).split()) or "a process that has just begun"
            raise UserError(f"{taken} by {other}; {way_out}") from None
        file.truncate(0)
        file.write(holder or f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        yield


def _take(file: IO[str]) -> None:
    """Takes an exclusive lock; who looks whether it is held holds it for a moment, so a refusal is tried again."""
    for _ in range(4):
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.01)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def atomic_write(path: Path, folder: bool = False) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` when the block ends without an error.

    After an error the temporary path is deleted, and `path` stays as it was.

    Args:
        path: The target. A file or folder that is there already is replaced.
        folder: Whether the target is a folder; the yielded folder exists already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        inside = scratch / path.name
        if folder:
            inside.mkdir()
        yield inside
        flush(inside)  # before the rename, so that `path` is complete even after a power failure
        if folder and path.exists():
            os.replace(path, scratch / "replaced")
        os.replace(inside, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_json(path: Path, values: object, indent: int | None = None) -> None:
    """Writes plain nested values to `path` as JSON, atomically; a mapping with its checksum."""
    with atomic_write(path) as scratch:
        scratch.write_text(json.dumps(checked(values), indent=indent), encoding="utf-8")


def checked(values: object) -> object:
    """Returns a mapping with the checksum that `read_json` verifies; other values as they are."""
    if not isinstance(values, Mapping):
        return values
    plain = json.loads(json.dumps(values))  # as they are read back: keys are text, tuples are lists
    return {**plain, CHECKSUM: digest(plain)}


def read_json(path: Path, way_out: str = RESTORE) -> Any:
    """Returns the plain nested values of a JSON file; checks them where the file holds their checksum.

    Args:
        path: The file.
        way_out: What to do if it is damaged, for the error.

    Raises:
        FileNotFoundError: If `path` does not exist.
        DamagedFileError: If the file is not valid JSON, or is not what was written.
    """
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged: {str(error).splitlines()[0]}; {way_out}") from None
    if isinstance(values, dict) and CHECKSUM in values:
        known = values.pop(CHECKSUM)
        if known != digest(values):
            raise DamagedFileError(f"{path} is damaged: its checksum does not fit its values; {way_out}")
    return values


def read_mapping(path: Path, way_out: str = RESTORE) -> dict[str, Any]:
    """Returns the mapping of a JSON file; see `read_json`.

    Raises:
        FileNotFoundError: If `path` does not exist.
        DamagedFileError: If the file is damaged or holds something else.
    """
    values = read_json(path, way_out)
    if not isinstance(values, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no mapping; {way_out}")
    return values


def copy_of(path: Path) -> Path:
    """Returns the copy that `write_twice` keeps of a file, as `study.copy.json`."""
    return path.with_name(f"{path.stem}.copy{path.suffix}")


def write_twice(path: Path, values: Mapping[str, Any], indent: int | None = None) -> None:
    """Writes what cannot be computed anew, as `write_json`, and a copy of it for `read_twice`."""
    for file in (path, copy_of(path)):
        write_json(file, values, indent)
        file.chmod(0o600)  # it names servers and paths


def read_twice(path: Path, way_out: str = RESTORE) -> dict[str, Any]:
    """Returns what `write_twice` wrote; a damaged or missing file is restored from its copy, with a line on stderr.

    Raises:
        FileNotFoundError: If neither exists.
        DamagedFileError: If the file is damaged, and there is no intact copy.
    """
    try:
        return read_mapping(path, way_out)
    except (FileNotFoundError, DamagedFileError) as error:
        copy = copy_of(path)
        if not copy.is_file():
            raise
        with suppress(DamagedFileError):
            values = read_mapping(copy)
            with suppress(OSError):  # on a read-only disk the values suffice
                write_json(path, values, indent=1)
            what = "was damaged" if isinstance(error, DamagedFileError) else "was missing"
            print(f"{path} {what}; restored from its copy", file=sys.stderr)
            return values
        raise


def set_aside(path: Path) -> Path:
    """Renames a damaged file, so that another one can be written in its place; returns the new path."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    return aside


def flush(path: Path) -> None:
    """Waits until a file, or every file of a folder, is on the disk and safe from a power failure."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def digest(*values: object) -> str:
    """Returns the sha256 of plain nested values; equal values give the same hash in every process."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(files: Iterable[Path]) -> str:
    """Returns a hash over the names and contents of files; one whose size and time are known is not read again."""
    return digest([(file.name, _sha256_at(file, tuple(stamp(file)[0][1:]))) for file in files])


@lru_cache(maxsize=1024)
def _sha256_at(path: Path, size_and_times: tuple[int, ...]) -> str:
    return file_sha256(path)


def stamp(path: Path) -> list[tuple[str, int, int, int]]:
    """Returns path, size (bytes) and times of content and of change (ns) of every file in a path.

    No file is opened. The second time changes with every write, also with one that keeps size and first time. The list
    is empty when `path` does not exist.
    """
    paths = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p), found.st_size, found.st_mtime_ns, found.st_ctime_ns) for p in paths for found in [p.stat()]]
