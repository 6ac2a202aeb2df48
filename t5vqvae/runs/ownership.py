"""Ownership of a run's folder: one process writes into it at a time."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from t5vqvae.errors import UserError

OWNER = "owner"
"""The file of a run's folder that names its writer: host, process id and a random word."""


class FolderOwner:
    """Claims a run's folder for this process; the latest claim is the valid one.

    A process that the cluster has given up may still train: its node is cut off, or its driver or head was killed. By
    then the run was resumed elsewhere. Two writers would log steps twice and delete each other's checkpoints.
    """

    def __init__(self, directory: Path) -> None:
        self._path, self._token = directory / OWNER, f"{os.uname().nodename} {os.getpid()} {uuid.uuid4().hex}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self._token)
        except OSError:  # on a full disk the run continues without a claim
            self._path = Path(os.devnull)

    def check(self) -> None:
        """Raises UserError if another process has claimed the folder in the meantime."""
        owner = self._path.read_text() if self._path.is_file() else self._token
        if owner and owner != self._token:
            raise UserError(f"the run in {self._path.parent} was resumed by another process; this process ends")
