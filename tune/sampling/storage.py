"""Stores a study of Optuna in one file, which holds Optuna's journal of changes; see `optuna_journal.py`.

Optuna reads from memory and writes each change as one line; its own tables need several statements and reads a change.
Optuna's own tools read a copy: `t5vqvae dashboard STUDY` shows one.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from t5vqvae.errors import DamagedFileError
from tune.sampling.database import Database
from tune.sampling.old_storage import NAME, adopt_old, read_old
from tune.sampling.optuna_journal import ReadJournal, StudyJournal, changes_in


class _StudyStorage(JournalStorage):
    """Stores one study in a `StudyJournal` and caches its ended trials; one process may write at a time."""

    def __init__(self, journal: StudyJournal) -> None:
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


def open_storage(path: Path | Database | None) -> BaseStorage:
    """Returns the storage in a file, which is created if it does not exist, or in a database; None: in memory.

    What an older version stored in `optuna.db` next to it is taken over.

    Raises:
        DamagedFileError: If the file is damaged, or of another version or program.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path is None:
        return InMemoryStorage()
    if isinstance(path, Database):
        return path.open()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        adopt_old(path)
        return _StudyStorage(StudyJournal(path))
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:  # a change that is none
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{path} is damaged or of another version: {error!r} at a change") from error


def copied_storage(path: Path | Database) -> BaseStorage:
    """Returns a copy of a study's storage in memory; its place, where a driver may write now, stays as it is.

    Raises:
        DamagedFileError: If the file is damaged, or of another version or program.
        FileNotFoundError: If there is none.
    """
    if isinstance(path, Database):
        return path.copied()
    old = path.with_name(NAME)
    changes = changes_in(path) if path.exists() or not old.exists() else read_old(old)
    return JournalStorage(ReadJournal(changes))


def sync(storage: BaseStorage) -> None:
    """Waits until all changes are on the disk."""
    if isinstance(storage, _StudyStorage):
        storage.journal.sync()
