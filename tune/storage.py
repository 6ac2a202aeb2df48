"""Optuna's storage of a study: one SQLite file that a killed driver or a machine without power cannot corrupt.

Write-ahead logging makes a commit cost no wait for the disk; `sync` waits for it where a trial must not be forgotten.
Optuna's journal file writes faster still, but a line torn by a full disk or a lost machine makes all of it unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text

LOCK_SECONDS = 60
"""How long a commit waits for another process (a report, a dashboard) that reads or writes."""


class Mirror(InMemoryStorage):
    """A storage whose every change is in a database first, and which is read from memory.

    A study has one driver, which writes alone, so nothing has to be read back. Optuna would do so some ten times a
    trial, in milliseconds each, and more than that a change.

    Args:
        file: The database; what it holds already is read once.
    """

    def __init__(self, file: RDBStorage) -> None:
        super().__init__()
        self.file = file
        self._studies_there: dict[int, int] = {}
        self._trials_there: dict[int, int] = {}
        for study in file.get_all_studies():
            here = super().create_new_study(study.directions, study.study_name)
            self._studies_there[here] = study._study_id
            for key, value in study.user_attrs.items():
                super().set_study_user_attr(here, key, value)
            for key, value in study.system_attrs.items():
                super().set_study_system_attr(here, key, value)
            for trial in file.get_all_trials(study._study_id, deepcopy=False):
                self._trials_there[super().create_new_trial(here, trial)] = trial._trial_id

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        there = self.file.create_new_study(directions, study_name)
        here = super().create_new_study(directions, study_name)
        self._studies_there[here] = there
        return here

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.file.set_study_user_attr(self._studies_there[study_id], key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.file.set_study_system_attr(self._studies_there[study_id], key, value)
        super().set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        there = self.file.create_new_trial(self._studies_there[study_id], template_trial)
        here = super().create_new_trial(study_id, template_trial)
        self._trials_there[here] = there
        return here

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.file.set_trial_param(self._trials_there[trial_id], param_name, param_value_internal, distribution)
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        changed = self.file.set_trial_state_values(self._trials_there[trial_id], state, values)
        return changed and super().set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self.file.set_trial_intermediate_value(self._trials_there[trial_id], step, intermediate_value)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.file.set_trial_user_attr(self._trials_there[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.file.set_trial_system_attr(self._trials_there[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)


def open_storage(path: Path | None) -> BaseStorage:
    """Returns the storage in a file, made if there is none; None: in memory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path is None:
        return InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})
    event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()
    return Mirror(storage)


def sync(storage: BaseStorage) -> None:
    """Waits until all that was committed is on the disk."""
    if isinstance(storage, Mirror):
        with storage.file.engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(PASSIVE)"))


def _write_ahead(connection, record) -> None:  # type: ignore[no-untyped-def]  # SQLAlchemy's signature
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
