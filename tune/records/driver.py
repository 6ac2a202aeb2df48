"""The driver that holds a study: which process it is, by the study's lock, and how it is stopped."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from t5vqvae.errors import SettingError
from tune.records.study_paths import StudyPaths

HOLDER = re.compile(r"process (?P<pid>\d+) on (?P<node>[^\s,]+)(?:, the Ray job (?P<job>\S+))?")
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Driver:
    """The process that runs a study.

    Attributes:
        paths: The study.
        pid: Its process id.
        node: Its machine.
        job: The Ray job that it is; None: none.
    """

    paths: StudyPaths
    pid: int
    node: str
    job: str | None

    @classmethod
    def of(cls, paths: StudyPaths) -> Driver:
        """Returns the driver that holds a study.

        Raises:
            SettingError: If none does.
        """
        if not paths.is_locked():
            raise SettingError(f"study {paths.study} does not run; t5vqvae status {paths.study} says how far it is")
        match = HOLDER.match((paths.root / "lock").read_text(errors="replace"))
        if match is None:
            raise SettingError(f"study {paths.study} has just begun, and its lock names no process yet; try again")
        return cls(paths, int(match["pid"]), match["node"], match["job"])

    def signal(self) -> None:
        """Asks the driver to stop: once gently, twice at once.

        Raises:
            SettingError: If it is none of this machine's, or may not be stopped by this user.
        """
        also = f", or say ray job stop {self.job} where its cluster is" if self.job else ""
        if self.node != os.uname().nodename:
            raise SettingError(
                f"study {self.paths.study} runs as process {self.pid} on {self.node}; stop it on that machine{also}"
            )
        if not self._holds_lock():
            raise SettingError(
                f"study {self.paths.study} is held by a process that is not {self.pid} of this machine, as in a"
                f" container; stop it there{also}"
            )
        try:
            os.kill(self.pid, signal.SIGTERM)
        except PermissionError:
            raise SettingError(f"process {self.pid} is another user's; ask that user to stop it{also}") from None

    def wait(self, seconds: float) -> bool:
        """Waits until the driver has let go of the study; returns whether it has."""
        deadline = time.monotonic() + seconds
        while self.paths.is_locked():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _holds_lock(self) -> bool:
        """Returns whether the process has the lock open: ids are used again, and a lock's text may be old."""
        import psutil

        lock = (self.paths.root / "lock").resolve()
        with suppress(psutil.NoSuchProcess):
            try:
                return any(file.path == str(lock) for file in psutil.Process(self.pid).open_files())
            except psutil.AccessDenied:
                return True  # another user's: the signal shows it
        return False
