"""Checks cached files by size and sha256 before they are read; a damaged one is made anew.

A folder has a manifest of all its files, and a single file has its checksum in a file next to it. A folder or file
without one, as earlier versions wrote it, counts as damaged. Checksums are computed once a process, and again when a
size or a time has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from t5vqvae.files import atomic_write, file_sha256, locked, read_json, stamp, write_json

MANIFEST = "manifest.json"
_known_good: dict[Path, object] = {}
"""The stamp that a folder or file had when its checksums were right."""


def write_manifest(folder: Path) -> None:
    """Writes size and sha256 of every file of a folder into its manifest; the last step of filling a folder."""
    write_json(folder / MANIFEST, _entries(folder))


def is_intact(folder: Path) -> bool:
    """Returns whether a folder holds the files of its manifest, with their content, and no other file."""
    return _is_good(folder, lambda: read_json(folder / MANIFEST) == _entries(folder))


def kept_file(path: Path, write: Callable[[Path], object]) -> Path:
    """Returns the path of a cached file; calls `write` with a scratch path first if it is missing or damaged."""
    sums = path.with_name(f"{path.name}.sha256")
    with locked(path):
        if not _is_good(path, lambda: sums.read_text("utf-8") == file_sha256(path)):
            with atomic_write(path) as scratch:
                write(scratch)
                checksum = file_sha256(scratch)
            with atomic_write(sums) as scratch:
                scratch.write_text(checksum, "utf-8")
    return path


def write_line(path: Path, line: str) -> None:
    """Writes a short text with its own checksum, for `read_line`."""
    with atomic_write(path) as scratch:
        scratch.write_text(f"{line} {_short_sum(path, line)}", "utf-8")


def read_line(path: Path) -> str | None:
    """Returns what `write_line` wrote to this path; None if it is missing, damaged, or from another place."""
    try:
        line, _, checksum = path.read_text("utf-8").rpartition(" ")
    except (OSError, ValueError):
        return None
    return line if checksum == _short_sum(path, line) else None


def _short_sum(path: Path, line: str) -> str:
    return hashlib.sha256(f"{path.name} {line}".encode()).hexdigest()[:16]


def _is_good(path: Path, check: Callable[[], bool]) -> bool:
    """Returns the result of a check, or True if it held before and nothing has changed since."""
    seen = stamp(path)
    if seen and _known_good.get(path) == seen:
        return True
    try:
        good = bool(seen) and check()
    except (OSError, ValueError):
        return False
    if good:
        _known_good[path] = seen
    return good


def _entries(folder: Path) -> dict[str, dict[str, object]]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / MANIFEST)
    return {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": file_sha256(file)}
        for file in files
    }
