"""The journal: what a run logged, one JSON line an entry, on disk until the server has it.

A folder (the *spool*) holds one file a logger, named by time, locked by the process that writes it. A file whose lock
can be taken was left by a dead process. `files/` beside them keeps small artifacts until they are sent.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

MAX_IN_MEMORY = 1000
"""Entries kept in memory while the disk takes none; beyond it the oldest are lost."""
CHUNK = 1 << 16
"""Bytes read at once."""


class Journal:
    """One append-only file and how much of it was read; not written to by two processes, as its lock makes sure."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._offset = 0
        self._memory: deque[Entry] = deque(maxlen=MAX_IN_MEMORY)

    @classmethod
    def create(cls, spool: Path) -> Journal:
        """Returns a new locked journal in a folder; in memory alone when the folder cannot be written."""
        path = spool / f"{time.time_ns():020d}-{os.getpid()}.jsonl"
        try:
            spool.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            descriptor = -1
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Journal | None:
        """Returns a journal that a dead process left, or None while its writer lives or when it is gone."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return cls(path, descriptor)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def append(self, entry: Entry) -> None:
        """Adds an entry; on a full disk it waits in memory instead."""
        line = (json.dumps(entry) + "\n").encode()
        try:
            size = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, line) == len(line):
                return
            os.ftruncate(self._descriptor, size)
        except OSError:
            pass
        self._memory.append(entry)

    def pending(self, limit: int) -> tuple[list[Entry], list[int]]:
        """Returns up to `limit` entries not yet consumed, and of each the mark to consume all up to it by."""
        entries: list[Entry] = []
        marks: list[int] = []
        mark = self._offset
        for line in self._lines():
            if len(entries) == limit:
                break
            mark += len(line)
            try:
                entries.append(json.loads(line))
            except ValueError:  # written by a process that died half way
                continue
            marks.append(mark)
        if not entries and self._memory:
            return [self._memory[0]], [-1]
        return entries, marks

    def _lines(self) -> Iterator[bytes]:
        """Yields whole lines from the mark on; by place, since every append moves the descriptor's own position."""
        place, rest = self._offset, b""
        while self._descriptor >= 0 and (chunk := os.pread(self._descriptor, CHUNK, place)):
            place += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line + b"\n" for line in lines)

    def consume(self, mark: int) -> None:
        """Passes over what `pending` returned up to this mark."""
        if mark < 0:
            self._memory.popleft()
        else:
            self._offset = mark

    def close(self, delete: bool) -> None:
        """Gives the lock back; the file goes when all of it is sent, and stays for a replay otherwise."""
        if self._descriptor >= 0:
            if delete:
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def leftovers(spool: Path) -> Iterator[Journal]:
    """Yields the journals that dead processes left in a folder, oldest first, locked."""
    for path in sorted(spool.glob("*.jsonl")):
        journal = Journal.adopt(path)
        if journal is not None:
            yield journal
