"""A source of trials without Optuna, to test what stands between it and Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping

from tune.sampling.source import NextTrial


class Numbers:
    """Gives trials 0 to `last`, and notes what it receives of each."""

    def __init__(self, last: int) -> None:
        self.left = list(range(last + 1))
        self.heard: list[tuple[int, str]] = []

    def next(self) -> NextTrial | None:
        return NextTrial(self.left.pop(0), {}) if self.left else None

    def report(self, number: int, metrics: Mapping[str, float]) -> None:
        self.heard.append((number, "running"))

    def end(self, number: int, status: str, metrics: Mapping[str, float]) -> None:
        self.heard.append((number, status))
