"""The board of an ablation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tune.monitor.board import Board
from tune.monitor.row import Row
from tune.records.record import TrialRecord


class RunBoard(Board):
    """Shows arm, phase and seed of each run, where the board of a search shows settings."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.labels: dict[int, dict[str, str]] = {}

    def label(self, labels: Mapping[int, dict[str, str]]) -> None:
        """Sets the labels of run numbers, of rows that are shown already too."""
        self.labels |= labels
        for number in set(labels) & set(self.rows):
            self.rows[number] = replace(self.rows[number], overrides=labels[number])

    def put(self, row: Row) -> None:
        super().put(replace(row, overrides=self.labels.get(row.number, row.overrides)))

    def put_taken(self, number: int, tags: dict[str, str], record: TrialRecord) -> None:
        """Shows a run whose result was taken from where the same run was."""
        self.label({number: tags})
        if number not in self.rows:
            self._before += 1.0  # it took no time, so it says nothing of the pace
        self.put(Row(number, tags, record.status, record.metrics))
