"""Optuna's storage of a study: one SQLite file that a killed driver or a machine without power cannot corrupt.

Write-ahead logging makes a commit cost no wait for the disk; `sync` waits for it where a trial must not be forgotten.
"""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from sqlalchemy import event, text

LOCK_SECONDS = 60
"""How long a commit waits for another process (a report, a dashboard) that reads or writes."""


def open_storage(path: Path | None) -> BaseStorage:
    """Returns the storage in a file, made if there is none; None: in memory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path is None:
        return InMemoryStorage()
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})
    event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()
    return storage


def sync(storage: BaseStorage) -> None:
    """Waits until all that was committed is on the disk."""
    if isinstance(storage, RDBStorage):
        with storage.engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(PASSIVE)"))


def _write_ahead(connection, record) -> None:  # type: ignore[no-untyped-def]  # SQLAlchemy's signature
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
