"""One process at a time may write into a run's folder."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from t5vqvae.errors import UserError

OWNER = "owner"
"""The file of a run's folder that says who writes there: host, process id and a random word."""


class FolderOwner:
    """Who may write into a run's folder: whoever claimed it last.

    A process that the cluster has given up may train on: its node is cut off, its driver or its head was killed. By
    then the run goes on elsewhere, and two writers would log steps twice and take each other's checkpoints away.
    """

    def __init__(self, directory: Path) -> None:
        self._path, self._token = directory / OWNER, f"{os.uname().nodename} {os.getpid()} {uuid.uuid4().hex}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self._token)
        except OSError:  # a full disk costs the claim, not the run
            self._path = Path(os.devnull)

    def check(self) -> None:
        """Raises UserError if another process has claimed the folder since."""
        owner = self._path.read_text() if self._path.is_file() else self._token
        if owner and owner != self._token:
            raise UserError(f"the run in {self._path.parent} goes on in another process; this one ends")
