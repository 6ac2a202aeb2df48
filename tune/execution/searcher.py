"""The searcher that Ray Tune asks for trials: `Suggestions` in Ray's terms.

Not Ray's `OptunaSearch`, which tells Optuna COMPLETE of trials that were stopped, leaves trials with NaN running for
ever, and repeats its suggestions after a restart (ray#30861, #14667).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from tune.execution.asha import RunToCompletion
from tune.records.record import TrialRecord
from tune.sampling.suggestions import Suggestions
from tune.sampling.warm_start import warm_start
from tune.spec.search_spec import SearchSpec

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


TrialConfig = dict[str, Any]
"""What Ray Tune hears of a trial."""


class GivenAgain(Searcher):
    """Gives Ray Tune the trials of another searcher, which hears of the end of a trial's last attempt alone.

    Subclasses say by `prepared`, `has_room` and `next_attempt` when a trial is given out, and what is tried again.

    Args:
        inner: Gives `{"number", "overrides"}`.
        scheduler: Knows what Ray failed, and why.

    Attributes:
        live: Configs of the trials that Ray has, by its ids.
    """

    def __init__(self, inner: Searcher, scheduler: RunToCompletion) -> None:
        super().__init__()
        self.inner = inner
        self.scheduler = scheduler
        self.live: dict[str, TrialConfig] = {}
        self._first_ids: dict[int, str] = {}
        self._waiting: deque[TrialConfig] = deque()

    def prepared(self, config: TrialConfig) -> TrialConfig:
        """Returns what Ray Tune is to hear of a trial that begins, or is tried again."""
        return config

    def has_room(self, config: TrialConfig | None) -> bool:
        """Returns whether a trial may begin now; None: one that is not known yet."""
        return True

    def next_attempt(
        self, trial_id: str, config: TrialConfig, result: dict[str, Any], error: bool
    ) -> TrialConfig | None:
        """Returns what is to be tried next of a trial that ended; None: that was its end."""
        return self.prepared(config) if error and trial_id in self.scheduler.unbegun else None

    def suggest(self, trial_id: str) -> TrialConfig | str | None:  # type: ignore[override]  # FINISHED is a string
        if not self._waiting:
            if not self.has_room(None):
                return None
            asked = self.inner.suggest(trial_id)
            if not isinstance(asked, dict):
                return None if self.live else asked  # one that has not ended may have to be given out again
            self._first_ids[asked["number"]] = trial_id
            self._waiting.append(self.prepared(asked))
        if not self.has_room(self._waiting[0]):
            return None
        self.live[trial_id] = self._waiting.popleft()
        return self.live[trial_id]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.inner.on_trial_result(self._first_ids[self.live[trial_id]["number"]], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        config = self.live.pop(trial_id)
        following = self.next_attempt(trial_id, config, result or {}, error)
        if following is None:
            self.inner.on_trial_complete(self._first_ids.pop(config["number"]), result, error)
        else:
            self._waiting.append(following)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: what is not in a record is begun by the next start."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""
