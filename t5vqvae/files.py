"""Files that several processes share: written whole or not at all, by one process while the others wait."""

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
    """Holds the lock that goes with `path` among all processes of this machine; waits while another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


@contextmanager
def atomic_write(path: Path, folder: bool = False) -> Iterator[Path]:
    """Yields a temporary sibling that becomes `path` when the block ends well, and vanishes when it does not.

    It is on the disk before it has the name, so that a machine that loses power has it whole or not at all.

    Args:
        path: Where the file or folder shall be. What is there already is replaced.
        folder: Whether it is a folder; the yielded folder exists then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        inside = scratch / path.name
        if folder:
            inside.mkdir()
        yield inside
        flush(inside)
        if folder and path.exists():
            os.replace(path, scratch / "replaced")
        os.replace(inside, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def flush(path: Path) -> None:
    """Waits until a file, or every file of a folder, is on the disk, whatever happens to the machine then."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def write_json(path: Path, values: object, indent: int | None = None) -> None:
    """Writes plain nested values to `path` as JSON: the whole file, or none of it."""
    with atomic_write(path) as scratch:
        scratch.write_text(json.dumps(values, indent=indent), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Returns the plain nested values of a JSON file.

    Raises:
        FileNotFoundError: If there is no file at `path`.
        json.JSONDecodeError: If the file is no JSON, which is a ValueError.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def digest(*values: Any) -> str:
    """Returns the sha256 of plain nested values, the same in every process."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> list[tuple[str, int, int]]:
    """Returns name, size and time of change (nanoseconds) of a file, or of every file of a folder, unread.

    Empty when there is nothing at `path`.
    """
    paths = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
