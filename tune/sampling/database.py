"""Stores studies of Optuna in a PostgreSQL database, in Optuna's own tables, which its tools read as they are.

A name is no identity: state folders that share a database may search studies of one name. So a study's name there ends
in a hash of its folder. A folder that was copied or moved begins another study, from its records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage

from t5vqvae.errors import EnvironmentFault, SettingError
from t5vqvae.files import digest
from t5vqvae.machine_errors import environment_fault
from t5vqvae.redaction import redacted
from t5vqvae.tracking.identity import stored_identity
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec

VARIABLE = "OPTUNA_STORAGE"
"""Optuna's own variable; an address in it that differs in user and password alone has what a study's file lacks."""
_LOCK = 5_137_229_104
"""Key of the lock under which one process at a time makes the tables; any number that nobody else takes."""


@dataclass(frozen=True)
class Database:
    """Names a study in a database.

    Attributes:
        address: With user and password, if any is given.
        study: Its name in Optuna.
    """

    address: str
    study: str

    def __str__(self) -> str:
        return f"{redacted(self.address)} (study {self.study})"

    def open(self) -> BaseStorage:
        """Returns the storage; the tables are made at the first call.

        Raises:
            EnvironmentFault: If the database refuses.
            SettingError: If its driver is missing.
        """
        if find_spec("psycopg") is None:
            raise SettingError(f"storage={redacted(self.address)} needs psycopg; pip install 't5vqvae[postgres]'")
        url = self.address.replace("postgresql://", "postgresql+psycopg://", 1)  # whatever SQLAlchemy takes by default
        with self._one_line(), _alone(url):
            # A server may have restarted since the last trial: a connection is tried before it is used.
            return get_storage(RDBStorage(url, {"pool_pre_ping": True, "pool_size": 1}))

    def copied(self) -> BaseStorage:
        """Returns a copy of the study in memory, under its name.

        Raises:
            EnvironmentFault: If the database refuses.
            KeyError: If it has no such study.
        """
        memory = InMemoryStorage()
        optuna.copy_study(
            from_study_name=self.study, from_storage=self.open(), to_storage=memory, to_study_name=self.study
        )
        return memory

    def set_aside(self) -> None:
        """Gives the study the name `....damaged`, in place of what had it."""
        storage, aside = self.open(), f"{self.study}.damaged"
        with suppress(KeyError):
            optuna.delete_study(study_name=aside, storage=storage)
        optuna.copy_study(from_study_name=self.study, from_storage=storage, to_storage=storage, to_study_name=aside)
        optuna.delete_study(study_name=self.study, storage=storage)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            fault = environment_fault(error)
            if fault is None:
                raise
            raise EnvironmentFault(f"storage={redacted(self.address)}: {fault}") from error


def database_of(spec: SearchSpec, paths: StudyPaths) -> Database | None:
    """Returns where a study's spec keeps its trials in a database; None for the file in its folder."""
    if spec.storage is None:
        return None
    given = os.environ.get(VARIABLE, "").strip()
    address = given if redacted(given) == redacted(spec.storage) else spec.storage
    own = stored_identity(paths.root)
    return Database(address, f"{spec.name}-{digest(own.id if own else '', str(paths.root.resolve()))[:8]}")


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Holds a lock of the database: two processes that make the same tables at once disturb each other."""
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(url, poolclass=NullPool)
    # The lock belongs to the transaction, for a pooler keeps a session; its end frees the lock, as a kill does.
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        yield
