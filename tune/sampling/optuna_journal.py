"""Optuna's journal of changes in one file that survives kills, a full disk and power loss.

The file begins with a line that names its format, so that no SQLite tool takes it for a database and writes tables into
it. Each further line is a change: a checksum over its number and its text, a space, and the text. A last line without a
line break was torn and counts for nothing; any other line that does not fit its checksum makes the file damaged.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from t5vqvae.errors import DamagedFileError

HEADER = b"t5vqvae journal of Optuna, format 1\n"
Change = dict[str, Any]


class StudyJournal(BaseJournalBackend):
    """Appends the changes of a study to a file and reads them.

    Args:
        path: The file; created if it does not exist.

    Raises:
        DamagedFileError: If it is a file of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b", buffering=0)
        self._read = self._written = (0, len(HEADER))  # how many changes, and where they end
        if os.fstat(self._file.fileno()).st_size == 0:
            self._file.write(HEADER)
        elif os.pread(self._file.fileno(), len(HEADER), 0) != HEADER:
            raise DamagedFileError(f"{path} has the format of another version or program")

    def append_logs(self, logs: list[Change]) -> None:
        """Appends all of the changes, or none if one cannot be written."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            number, end = self._written = self._end()
            lines = lines_of(logs, number)
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:  # a full disk: half a line would be read by nobody, and would hide the next one
                self._file.truncate(end)
                raise
            self._written = (number + len(logs), end + len(lines))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def read_logs(self, log_number_from: int) -> list[Change]:
        """Returns the changes from index `log_number_from` on, counted from 0.

        Raises:
            DamagedFileError: If a checksum does not fit.
        """
        number, end = self._read if log_number_from >= self._read[0] else (0, len(HEADER))
        content = self._from(end)
        changes = list(_parsed(self.path, content, number))
        self._read = (number + len(changes), end + len(content))
        return changes[log_number_from - number :]

    def sync(self) -> None:
        """Waits until all appended changes are on the disk."""
        os.fsync(self._file.fileno())

    def _from(self, place: int) -> bytes:
        """Returns the whole lines behind a place."""
        size = os.fstat(self._file.fileno()).st_size
        content = os.pread(self._file.fileno(), max(0, size - place), place)
        return content[: content.rfind(b"\n") + 1]

    def _end(self) -> tuple[int, int]:
        """Returns how many changes there are and where they end; cuts a torn line behind them."""
        number, end = self._written
        size = os.fstat(self._file.fileno()).st_size
        if size != end:
            content = self._from(end)
            number, end = number + content.count(b"\n"), end + len(content)
        if size > end:
            self._file.truncate(end)
        return number, end


class ReadJournal(BaseJournalBackend):
    """Holds changes in memory; what is appended stays there.

    Args:
        changes: The first of them.
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = list(changes)

    def append_logs(self, logs: list[Change]) -> None:
        self._changes += json.loads(json.dumps(logs))

    def read_logs(self, log_number_from: int) -> list[Change]:
        return self._changes[log_number_from:]


def changes_in(path: Path) -> list[Change]:
    """Returns the changes in a file, which stays as it is.

    Raises:
        DamagedFileError: If it is damaged or of another format.
    """
    content = path.read_bytes()
    if content and not content.startswith(HEADER):
        raise DamagedFileError(f"{path} has the format of another version or program")
    return list(_parsed(path, content[len(HEADER) : content.rfind(b"\n") + 1], 0))


def lines_of(changes: Sequence[Change], first: int) -> bytes:
    """Returns changes as lines of the file; `first` is the number of the first one."""
    texts = [json.dumps(change, separators=(",", ":")).encode() for change in changes]
    return b"".join(b"%08x %b\n" % (_checksum(first + place, text), text) for place, text in enumerate(texts))


def _parsed(path: Path, content: bytes, first: int) -> Iterator[Change]:
    for number, line in enumerate(content.splitlines(), first):
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % _checksum(number, text):
            raise DamagedFileError(f"{path} is damaged: the checksum of change {number} does not fit")
        yield json.loads(text)


def _checksum(number: int, text: bytes) -> int:
    """Returns a checksum over a change and its number, so that a line that is missing is found."""
    return zlib.crc32(b"%d %b" % (number, text))
