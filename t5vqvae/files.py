"""Files that several processes share: written atomically, locked while one process changes them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of `path` against all processes of this machine; waits while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


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
    """Writes plain nested values to `path` as JSON, atomically."""
    with atomic_write(path) as scratch:
        scratch.write_text(json.dumps(values, indent=indent), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Returns the plain nested values of a JSON file.

    Raises:
        FileNotFoundError: If `path` does not exist.
        json.JSONDecodeError: If the file is not valid JSON (a subclass of ValueError).
    """
    return json.loads(path.read_text(encoding="utf-8"))


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


def stamp(path: Path) -> list[tuple[str, int, int, int]]:
    """Returns path, size (bytes) and times of content and of change (ns) of every file in a path.

    No file is opened. The second time changes with every write, also with one that keeps size and first time. The list
    is empty when `path` does not exist.
    """
    paths = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p), found.st_size, found.st_mtime_ns, found.st_ctime_ns) for p in paths for found in [p.stat()]]
