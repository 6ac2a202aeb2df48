"""Stores a study of Optuna in one SQLite file that survives kills and power loss.

The file holds Optuna's journal of changes. Optuna reads from memory and writes each change as one row; its own tables
need several statements and reads. Optuna's journal in a plain file would suffice, but a line torn by a full disk or a
lost machine makes all of it unreadable. To read a study with Optuna's own tools:

    optuna.copy_study(from_study_name=NAME, from_storage=open_storage(path), to_storage="sqlite:///copy.db")
"""

from __future__ import annotations

import copy
import json
import sqlite3
import threading
import zlib
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from t5vqvae.errors import DamagedFileError

LOCK_SECONDS = 60
"""Seconds that a change waits for another process (a report, a dashboard) that reads or writes."""

OF_ANOTHER_TABLE = ("no such column", "has no column", "no such table", "not a table", "already a")
"""Parts of SQLite's messages about a file with other tables."""


class SQLiteJournal(BaseJournalBackend):
    """Stores the changes of a study as rows of a table, in the order in which they were made.

    Args:
        path: The file; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        # With write-ahead logging, a commit does not wait for the disk; `sync` does.
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._refuse_damage()
        self._file.execute("CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY, change TEXT NOT NULL)")
        if "checksum" not in self._columns():
            self._file.execute("ALTER TABLE changes ADD COLUMN checksum INTEGER")  # empty in rows of older versions

    def _refuse_damage(self) -> None:
        """Refuses a file that SQLite finds damaged, that has holes, or that has the tables of something else."""
        (verdict,) = self._file.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedFileError(f"{self.path} is damaged: {verdict.splitlines()[0]}")
        tables = {name for (name,) in self._file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "changes" not in tables:
            raise DamagedFileError(f"{self.path} has the tables of another version or program")
        if tables:
            number, last = self._file.execute("SELECT count(*), max(number) FROM changes").fetchone()
            if number != (last or 0):
                raise DamagedFileError(f"{self.path} is damaged: it lacks {last - number} of {last} changes")

    def _columns(self) -> set[str]:
        return {name for _, name, *_ in self._file.execute("PRAGMA table_info(changes)")}

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends all of the changes, or none if one cannot be written."""
        self._file.execute("BEGIN IMMEDIATE")
        with self._file:
            texts = [json.dumps(change, separators=(",", ":")) for change in logs]
            rows = [(text, zlib.crc32(text.encode())) for text in texts]
            self._file.executemany("INSERT INTO changes (change, checksum) VALUES (?, ?)", rows)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Returns the changes from index `log_number_from` on, counted from 0."""
        query = "SELECT change, checksum FROM changes WHERE number > ? ORDER BY number"
        changes = []
        for text, checksum in self._file.execute(query, (log_number_from,)):
            if checksum is not None and checksum != zlib.crc32(text.encode()):
                raise DamagedFileError(f"{self.path} is damaged: the checksum of a change does not fit")
            changes.append(json.loads(text))
        return changes

    def sync(self) -> None:
        """Waits until all appended changes are on the disk."""
        self._file.execute("PRAGMA wal_checkpoint(PASSIVE)")


class _StudyStorage(JournalStorage):
    """Stores one study in a `SQLiteJournal` and caches its ended trials; one process may write at a time."""

    def __init__(self, journal: SQLiteJournal) -> None:
        self.journal = journal
        self._looking = threading.Lock()
        self._known: list[FrozenTrial] = []
        self._live: list[int] = []
        super().__init__(journal)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        # Optuna reads all trials several times per suggestion, and its journal builds that list each time. Ended trials
        # do not change, so only the others are read again.
        with self._looking:
            self._look()
            ended = states is None or any(state.is_finished() and state in states for state in TrialState)
            trials = list(self._known) if ended else [self._known[number] for number in self._live]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def _look(self) -> None:
        """Updates the cache: reads the trials that had not ended, and the new ones."""
        # A trial's id is its number, because the storage holds one study.
        for number in self._live:
            self._known[number] = self.get_trial(number)
        self._live = [number for number in self._live if not self._known[number].state.is_finished()]
        with suppress(KeyError):
            while True:
                number = len(self._known)
                self._known.append(self.get_trial(number))
                if not self._known[number].state.is_finished():
                    self._live.append(number)


def open_storage(path: Path | None) -> BaseStorage:
    """Returns the storage in a file, which is created if it does not exist; None: in memory.

    Raises:
        DamagedFileError: If the file is damaged, or of another version or program.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path is None:
        return InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _StudyStorage(SQLiteJournal(path))
    except sqlite3.Error as error:
        if not isinstance(error, sqlite3.OperationalError) or any(word in str(error) for word in OF_ANOTHER_TABLE):
            raise DamagedFileError(f"{path} is damaged: {error}") from error
        raise
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:  # a change that is none
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{path} is damaged or of another version: {error!r} at a change") from error


def sync(storage: BaseStorage) -> None:
    """Waits until all changes are on the disk."""
    if isinstance(storage, _StudyStorage):
        storage.journal.sync()
