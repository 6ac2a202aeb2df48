"""The storage of studies of older versions: the same changes as rows of an SQLite database, `optuna.db`."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

from t5vqvae.errors import DamagedFileError
from t5vqvae.files import atomic_write
from tune.sampling.optuna_journal import HEADER, Change, lines_of

NAME = "optuna.db"


def adopt_old(path: Path) -> None:
    """Writes what an older version stored next to the file `path` into that file, if it is missing.

    The old file is renamed, because tools that open it as a database of Optuna would write tables into it.

    Raises:
        DamagedFileError: If the old file is damaged, or of another program.
    """
    old = path.with_name(NAME)
    if path.exists() or not old.is_file():
        return
    changes = read_old(old)
    with atomic_write(path) as scratch:
        scratch.write_bytes(HEADER + lines_of(changes, 0))
    for file in (old, *side_files(old)):
        if file.exists():
            os.replace(file, file.with_name(f"{file.name}.old"))


def read_old(path: Path) -> list[Change]:
    """Returns the changes in an old file.

    Raises:
        DamagedFileError: If it is damaged, has holes, or has the tables of something else.
    """
    try:
        with closing(sqlite3.connect(path)) as file:
            (verdict,) = file.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedFileError(f"{path} is damaged: {verdict.splitlines()[0]}")
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "changes" not in tables:
                raise DamagedFileError(f"{path} has the tables of another version or program")
            columns = {name for _, name, *_ in file.execute("PRAGMA table_info(changes)")}
            checksum = "checksum" if "checksum" in columns else "NULL"  # older versions had none
            rows = file.execute(f"SELECT number, change, {checksum} FROM changes ORDER BY number").fetchall()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "no such column" not in str(error):
            raise
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    if rows and rows[-1][0] != len(rows):
        raise DamagedFileError(f"{path} is damaged: it lacks {rows[-1][0] - len(rows)} of {rows[-1][0]} changes")
    if any(known is not None and known != zlib.crc32(text.encode()) for _, text, known in rows):
        raise DamagedFileError(f"{path} is damaged: the checksum of a change does not fit")
    return [json.loads(text) for _, text, _ in rows]


def side_files(path: Path) -> list[Path]:
    """Returns the files that SQLite keeps next to a database."""
    return [path.with_name(f"{path.name}-{end}") for end in ("wal", "shm")]
