"""The journal: the entries of a run as lines of JSON, kept on disk until the server has them.

A folder (the *spool*) holds one file per logger. The file is named by time and locked by the process that writes it; a
file that can be locked was left by a dead process. The folder `files/` in the spool keeps small artifacts until they
are sent. A file `*.later` is a journal of artifacts that the server's store did not take; it is sent with the next one.
A file `*.sent` has the position up to which a journal was sent, for those who watch: a journal itself stays until its
writer ends.
Only the user may read them, because settings may hold secrets.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

MAX_IN_MEMORY = 1000
"""Most entries kept in memory while the disk is full; the oldest ones beyond that are lost."""
CHUNK = 1 << 16
"""Bytes per read."""
SENT = ".sent"


class Journal:
    """One append-only file and the position up to which it was sent; a lock excludes other processes."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._offset = 0
        self._memory: deque[Entry] = deque(maxlen=MAX_IN_MEMORY)

    @classmethod
    def create(cls, spool: Path) -> Journal:
        """Returns a new locked journal in a folder; it stays in memory when the folder is not writable."""
        path = spool / f"{time.time_ns():020d}-{os.getpid()}.jsonl"
        try:
            spool.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            descriptor = -1
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Journal | None:
        """Returns a journal that a dead process left; None while its writer is alive, or when the file is gone."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                journal = cls(path, descriptor)
                journal.rewind()  # the server may lack what the dead process sent
                return journal
        except OSError:
            pass
        os.close(descriptor)
        return None

    def append(self, entry: Entry) -> None:
        """Appends an entry to the file; on a full disk it keeps the entry in memory instead."""
        line = (json.dumps(entry) + "\n").encode()
        try:
            size = os.fstat(self._descriptor).st_size
            if size and size == self._offset:
                self._note_sent()  # what waits, waits from now on
            if os.write(self._descriptor, line) == len(line):
                return
            os.ftruncate(self._descriptor, size)
        except OSError:
            pass
        self._memory.append(entry)

    def pending(self, limit: int) -> tuple[list[Entry], list[int]]:
        """Returns up to `limit` entries that are not consumed yet, each with the mark that `consume` takes."""
        entries: list[Entry] = []
        marks: list[int] = []
        mark = self._offset
        for line in self._lines():
            if len(entries) == limit:
                break
            mark += len(line)
            try:
                entries.append(json.loads(line))
            except ValueError:  # its writer died in the middle of the line
                continue
            marks.append(mark)
        if not entries and self._memory:
            return [self._memory[0]], [-1]
        return entries, marks

    def _lines(self) -> Iterator[bytes]:
        """Yields the complete lines after the last mark."""
        # `pread` takes a position, because every append moves the descriptor's own one.
        place, rest = self._offset, b""
        while self._descriptor >= 0 and (chunk := os.pread(self._descriptor, CHUNK, place)):
            place += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line + b"\n" for line in lines)

    def consume(self, mark: int) -> None:
        """Marks the entries of `pending` as sent, up to and including the one with this mark."""
        if mark < 0:
            self._memory.popleft()
        else:
            self._offset = mark
            self._note_sent()

    def rewind(self) -> None:
        """Makes all entries of the file pending again."""
        self._offset = 0
        self._note_sent()

    def _note_sent(self) -> None:
        """Writes how far the file was sent; a full disk or a deleted folder only makes more seem to wait."""
        with suppress(OSError):
            descriptor = os.open(self.path.with_suffix(SENT), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(descriptor, f"{self._offset:020d}".encode(), 0)  # of one length, so that no reader sees half
            finally:
                os.close(descriptor)

    def close(self, delete: bool) -> None:
        """Releases the lock; with `delete` it removes the file, else the file stays for a replay."""
        if self._descriptor >= 0:
            if delete:
                self.path.unlink(missing_ok=True)
            with suppress(OSError):  # on a read-only disk; who adopts the journal sends it from its beginning
                self.path.with_suffix(SENT).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def waiting(path: Path) -> tuple[int, float]:
    """Returns the bytes of a journal that were not sent yet, and when the last ones were; of a new one, its start.

    Raises:
        OSError: If the journal is gone.
    """
    status = path.stat()
    started = int(path.name[:20]) / 1e9 if path.name[:20].isdigit() else status.st_mtime
    try:
        sent = path.with_suffix(SENT)
        return max(0, status.st_size - int(sent.read_bytes())), max(started, sent.stat().st_mtime)
    except (OSError, ValueError):  # nothing was sent
        return status.st_size, started


def put_off(journal: Path, header: Entry, entry: Entry) -> None:
    """Appends an entry to the file that is sent by the next command, below the header that names its run."""
    later = journal.with_suffix(".later")
    lines = [header, entry] if not later.exists() else [entry]
    descriptor = os.open(later, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def leftovers(spool: Path) -> Iterator[Journal]:
    """Yields the journals that dead processes left in a folder, locked, oldest first."""
    for late in spool.glob("*.later"):
        if not late.with_suffix(".jsonl").exists():  # else its writer may still add to it
            with suppress(OSError):
                late.rename(late.with_suffix(".jsonl"))
    for path in sorted(spool.glob("*.jsonl")):
        journal = Journal.adopt(path)
        if journal is not None:
            yield journal
