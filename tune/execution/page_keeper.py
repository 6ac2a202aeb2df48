"""Keeps the page of a running study up to date in MLflow: its description while it runs, and its files at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from t5vqvae.files import atomic_write
from t5vqvae.redaction import redacted_values
from t5vqvae.tracking.server.destination import NOTE
from tune.records.record import TrialRecord
from tune.records.study_page import FILE, StudyPage

if TYPE_CHECKING:
    from t5vqvae.tracking import RunLogger

SECONDS = 10.0
"""Least time between two descriptions; a study of thousands of trials sends no more of them than a long one."""


class PageKeeper:
    """Sends the description of a study to MLflow, by the outbox: a server that is away stops nothing.

    Args:
        page: Writes the description.
        logger: The logger of the study's run.
        root: The study's folder.
        ended: The trials that have ended already.
    """

    def __init__(self, page: StudyPage, logger: RunLogger, root: Path, ended: Iterable[TrialRecord]) -> None:
        self.page = page
        self.logger = logger
        self._root = root
        self._sent, self._last = -SECONDS, ""
        for record in ended:
            page.add(record)
        self.log_files([self._written_study()])
        self.update()

    def update(self, running: int = 0, *, last: bool = False, more: Sequence[str] = ()) -> None:
        """Sends the description if it has changed; while the study runs, at most once in `SECONDS`.

        Args:
            running: Trials that run now.
            last: Whether the study has ended, so that this one is sent in any case.
            more: See `StudyPage.text`.
        """
        if not last and time.monotonic() < self._sent + SECONDS:
            return
        text = self.page.text(running, more)
        if text != self._last:
            self._sent, self._last = time.monotonic(), text
            self.logger.tags({NOTE: text})

    def log_files(self, files: Iterable[Path]) -> None:
        """Adds files to the artifacts of the study's run."""
        for file in files:
            self.logger.artifact(file)

    def log_data(self, name: str, fingerprint: str, source: Mapping[str, object]) -> None:
        """Shows the data set on the study's page; see `RunLogger.data`."""
        self.logger.data(name, fingerprint, source)

    def _written_study(self) -> Path:
        """Writes the study as a file that `t5vqvae search` reads; returns its path."""
        path = self._root / FILE
        values = redacted_values(self.page.spec.as_dict())
        with atomic_write(path) as scratch:
            scratch.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path
