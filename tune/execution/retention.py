"""Decides which checkpoints a study keeps: the newest of its best trials, and those of trials that can be resumed.

A running trial keeps its two newest checkpoints (`TrackedRun.keep_steps`). A pruned, diverged or failed trial keeps
none, and neither does a control without a bottleneck, which cannot be promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from t5vqvae.training.checkpoint import keep_newest, remove_partial
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths

Rank = Callable[[list[TrialRecord]], list[TrialRecord]]
"""Returns the records that count, best first (`tune.records.ranking`)."""


class Retention:
    """Keeps the newest checkpoint of the best trials of a study.

    Args:
        paths: Where the study lives.
        keep_best: Number of trials whose checkpoints stay; None: all that count.
        rank: Orders records.
    """

    def __init__(self, paths: StudyPaths, keep_best: int | None, rank: Rank) -> None:
        self.paths = paths
        self.keep_best = keep_best
        self.rank = rank
        self.kept: list[TrialRecord] = []

    @property
    def best(self) -> TrialRecord | None:
        """The best trial so far, or None."""
        return self.kept[0] if self.kept else None

    def add(self, record: TrialRecord) -> list[TrialRecord]:
        """Adds a trial that has ended and returns the trials that lose their checkpoints."""
        # Incremental: in a study of ten thousand trials, each is compared with the few that are kept.
        ranked = self.rank([*self.kept, record])
        self.kept = ranked if self.keep_best is None else ranked[: max(1, self.keep_best)]
        kept = {other.number for other in self.kept}
        dropped = {other.number: other for other in [*ranked, record] if other.number not in kept}
        return list(dropped.values())

    def sweep(self, ended: Iterable[int]) -> None:
        """Deletes the checkpoints that a kill left in the folders of trials that have ended."""
        kept = {record.number for record in self.kept}
        for number in ended:
            clean(self.paths.trial(number), keep=number in kept)


def clean(directory: Path, *, keep: bool) -> None:
    """Deletes the checkpoints of a run that has ended; it keeps the newest with `keep`."""
    keep_newest(directory, 1 if keep else 0)
    remove_partial(directory)
