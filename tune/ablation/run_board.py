"""An ablation's runs as Ray Tune asks for them, and as the board shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.tune.search import Searcher

from tune.ablation.run_queue import RunQueue
from tune.monitor.board import Board, Row


class PlannedRuns(Searcher):
    """Gives Ray Tune the runs of an agenda, as configs `{"number", "overrides", "tags"}`; it keeps no state itself.

    Args:
        agenda: What is next.
        board: Is told which arm, phase and seed a number stands for.
    """

    def __init__(self, agenda: RunQueue, board: RunBoard) -> None:
        super().__init__()
        self.agenda = agenda
        self.board = board

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a string
        job = self.agenda.next()
        if job is None:
            return Searcher.FINISHED if self.agenda.finished else None
        self.board.label({job.number: job.tags})
        return {"number": job.number, "overrides": dict(job.run.overrides), "tags": job.tags}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: the ledger writes records, and the agenda reads them."""

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: an ablation goes on from its records."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""


class RunBoard(Board):
    """The board of an ablation: arm, phase and seed stand where a search shows settings."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.labels: dict[int, dict[str, str]] = {}

    def label(self, labels: Mapping[int, dict[str, str]]) -> None:
        """Says what numbers stand for; rows that are there already are shown so, too."""
        self.labels |= labels
        for number in set(labels) & set(self.rows):
            self.rows[number] = replace(self.rows[number], overrides=labels[number])

    def put(self, row: Row) -> None:
        super().put(replace(row, overrides=self.labels.get(row.number, row.overrides)))
