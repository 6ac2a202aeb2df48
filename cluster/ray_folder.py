"""Finds a folder for Ray's sessions that its sockets can use and no other user can enter."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from cluster.service import ServiceError

RAY = "r"
"""The name of Ray's folder in one that only its user can enter; short, as `LONGEST_RAY_FOLDER` asks."""
LONGEST_RAY_FOLDER = 40  # bytes: a Unix socket's path holds 107, and Ray adds up to 66


def ray_folder(state: Path) -> Path:
    """Returns the folder of Ray's sessions: under `state`, or a temporary one if that path is long or odd.

    Ray opens its folder to all users, so it lies in one that is closed to them.

    Raises:
        ServiceError: If the temporary folder is somebody else's, or others may write into it.
    """
    private = state / "ray"
    if _fits_ray(private):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.chmod(0o700)
    else:
        private = _temporary_folder(state)
        _refuse_foreign(private)
    (private / RAY).mkdir(exist_ok=True)
    return private / RAY


def remove_temporary(state: Path) -> None:
    """Deletes the temporary folder of a state folder, if there is one and it is this user's."""
    folder = _temporary_folder(state)
    if folder.exists():
        with suppress(ServiceError, OSError):
            _refuse_foreign(folder)
            shutil.rmtree(folder)


def _fits_ray(private: Path) -> bool:
    """Returns whether Ray works below a folder: its sockets' paths have a limit, and its commands split at spaces."""
    folder = str(private / RAY)
    return len(folder) <= LONGEST_RAY_FOLDER and re.fullmatch(r"[\w./-]+", folder, re.ASCII) is not None


def _temporary_folder(state: Path) -> Path:
    name = f"t5vqvae-{os.getuid()}-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"
    chosen = Path(tempfile.gettempdir()) / name
    return chosen if _fits_ray(chosen) else Path("/tmp") / name


def _refuse_foreign(folder: Path) -> None:
    """Creates a folder for this user alone; refuses one that another user may have put there: its name is known."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        wrong = "is no folder"
    elif found.st_uid != os.getuid():
        wrong = f"belongs to the user with id {found.st_uid}"
    elif found.st_mode & 0o022:
        wrong = "can be written by other users"
    else:
        folder.chmod(0o700)
        return
    raise ServiceError(
        f"{folder} {wrong}, and Ray would run what it finds there; delete it, set TMPDIR to a folder of yours, or give"
        f" --state a path of at most {LONGEST_RAY_FOLDER - len(f'/ray/{RAY}')} bytes"
    )
