"""The searcher that Ray Tune asks for trials: `Suggestions` in Ray's terms.

Not Ray's `OptunaSearch`, which tells Optuna COMPLETE of trials that were stopped, leaves trials with NaN running for
ever, and repeats its suggestions after a restart (ray#30861, #14667).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from tune.record import TrialRecord
from tune.study import SearchSpec
from tune.suggest import Suggestions
from tune.warm_start import warm_start

logger = logging.getLogger(__name__)


class StudySearcher(Searcher):
    """Gives Ray Tune the trials of a study, as configs `{"number": ..., "overrides": {...}}`.

    A trial that Ray stops in the middle (its last result says `running`) was pruned; one that is stopped with the
    whole search is not heard of, stays unfinished, and goes on at the next start.

    Args:
        spec: The study.
        storage: Optuna's database file.
        other: That of another study to learn from; its records lie beside it.
    """

    def __init__(self, spec: SearchSpec, storage: Path, other: Path | None = None) -> None:
        super().__init__()
        self.suggestions = Suggestions(spec, storage)
        self.numbers: dict[str, int] = {}
        if other is not None:
            start = warm_start(self.suggestions, other.parent)
            logger.info("warm start: %d trials told, %d to start from", start.num_told, start.num_starts)

    def reconcile(self, records: Mapping[int, TrialRecord]) -> None:
        """See `Suggestions.reconcile`."""
        self.suggestions.reconcile(records)

    def intermediate_values(self) -> dict[int, dict[int, float]]:
        """See `Suggestions.intermediate_values`."""
        return self.suggestions.intermediate_values()

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # Ray's FINISHED is a string
        suggestion = self.suggestions.next()
        if suggestion is None:
            return Searcher.FINISHED
        self.numbers[trial_id] = suggestion.number
        return {"number": suggestion.number, "overrides": suggestion.overrides}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        metrics = _metrics(result)
        if "progress/step" in metrics and result.get("status") != "failed":
            self.suggestions.report(self.numbers[trial_id], metrics)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if result is None and not error:
            return  # never started: it is suggested again at the next start
        status = "failed" if error or result is None else result.get("status", "failed")
        status = "pruned" if status == "running" else status
        self.suggestions.end(self.numbers.pop(trial_id), status, _metrics(result or {}))

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: all state is in Optuna's storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing: a search goes on from Optuna's storage."""


def _metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a flat result whose keys read `split/name`."""
    numbers = {key: value for key, value in result.items() if "/" in key and not isinstance(value, bool)}
    return {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
