"""The identity of a study or of a single run: made once, kept in its folder, a tag of its MLflow runs.

Names are no identity: two state folders may track studies of one name on one server. A folder that was copied takes a
new identity at its first start, because the folder that it was copied from may train on. A folder that was moved, or
copied together with its database, keeps its own.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5vqvae.errors import DamagedFileError, DiskError
from t5vqvae.files import digest, locked, read_json, write_json

FILE = "identity.json"


@dataclass(frozen=True)
class Identity:
    """Who a run belongs to.

    Attributes:
        id: Random; the tag `t5vqvae.study_id` of every run.
        adopts: Whether the folder was begun before there were ids: runs of its name without an id are its own.
        copied_from: The id of the folder that this one was copied from.
    """

    id: str
    adopts: bool = False
    copied_from: str | None = None

    def key(self, kind: str, name: str) -> str:
        """Returns the value of the tag by which a run is found."""
        return digest(kind, self.id, name)[:32]


def stored_identity(folder: Path, database: Path | None = None) -> Identity | None:
    """Returns the identity of a folder; None before its first start, and in a copy of another folder.

    Args:
        folder: The folder of a study or of a run.
        database: The file in which it is tracked; None: a server.
    """
    values = _read(folder)
    return None if values is None or _is_copy(values, folder.resolve(), database) else _identity(values)


def identity_of(folder: Path, database: Path | None = None) -> Identity:
    """Returns the identity of a folder, made at the first call.

    Raises:
        DiskError: If the folder is not writable.
    """
    try:
        begun = folder.is_dir() and any(path.name != "lock" for path in folder.iterdir())
        with locked(folder / FILE):
            return _made_once(folder, database, begun)
    except OSError as error:
        raise DiskError(f"{folder / FILE} cannot be written: {error.strerror}; give a folder that can") from None


def _made_once(folder: Path, database: Path | None, begun: bool) -> Identity:
    values, place = _read(folder), folder.resolve()
    if values is None:
        identity = Identity(uuid.uuid4().hex, adopts=begun)
    elif _is_copy(values, place, database):
        identity = Identity(uuid.uuid4().hex, copied_from=values["id"])
    elif values["folder"] == str(place):
        return _identity(values)
    else:
        identity = _identity(values)
    write_json(folder / FILE, {**vars(identity), "folder": str(place)}, indent=1)
    return identity


def _read(folder: Path) -> dict[str, Any] | None:
    """Returns what the file holds; None without one, or when it is damaged: the folder then takes a new identity."""
    try:
        values = read_json(folder / FILE)
        valid = isinstance(values, dict) and values.keys() == {"id", "adopts", "copied_from", "folder"}
        return values if valid and isinstance(values["id"], str) and values["id"] else None
    except (FileNotFoundError, DamagedFileError):
        return None


def _identity(values: dict[str, Any]) -> Identity:
    return Identity(values["id"], bool(values["adopts"]), values["copied_from"])


def _is_copy(values: dict[str, Any], folder: Path, database: Path | None) -> bool:
    """Returns whether the folder that the file names is another one, still holds the same id, and shares our store."""
    other = Path(values["folder"])
    if other == folder or not other.is_dir() or other.samefile(folder):
        return False
    if (_read(other) or {}).get("id") != values["id"]:
        return False
    if database is None or database.resolve().parent not in folder.parents:
        return True
    own = folder.relative_to(database.resolve().parent).parts
    return other.parts[-len(own) :] != own
