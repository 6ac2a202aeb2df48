"""The one searcher that Ray Tune asks for trials, over any source of trials.

Ray's own `OptunaSearch` is not used: it reports stopped trials to Optuna as COMPLETE, leaves trials with NaN running
for ever, and repeats its suggestions after a restart (ray#30861, ray#14667).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from ray.tune.search import Searcher

from t5vqvae.evaluation.metrics import metrics_of
from t5vqvae.runs.follow import NO_DISK
from tune.execution.asha import RunToCompletion
from tune.execution.trial import TrialConfig, TuneResult
from tune.sampling.source import WAIT, NextTrial, Source


class TrialSearcher(Searcher):
    """Gives Ray Tune the trials of a source, and again a trial with a dead process.

    Ray Tune itself restarts none: it would not restart a trial whose reused process died before the trial started
    (`TuneController._process_trial_failure`, Ray 2.60), and could not wait until fewer trials run.

    Subclasses decide by `prepared`, `has_room` and `next_attempt` when a trial starts and when it is retried.

    Args:
        source: Decides which trials run.
        scheduler: Knows which trials died.

    Attributes:
        live: Configs of the trials that Ray has, by Ray's ids.
        room: Returns how many trials Ray may have at once.
        source_seconds: Time that the source took to give trials.
    """

    def __init__(self, source: Source, scheduler: RunToCompletion) -> None:
        super().__init__()
        self.source = source
        self.scheduler = scheduler
        self.live: dict[str, TrialConfig] = {}
        self.room: Callable[[], float] = lambda: math.inf
        self.source_seconds = 0.0
        self._pending: deque[TrialConfig] = deque()

    def prepared(self, config: TrialConfig) -> TrialConfig:
        """Returns the config that Ray Tune receives for a trial that starts or is retried."""
        return config

    def has_room(self, config: TrialConfig | None) -> bool:
        """Returns whether a trial may start now; None: a trial that the source has not given yet."""
        return True

    def next_attempt(self, trial_id: str, config: TrialConfig, result: TuneResult, error: bool) -> TrialConfig | None:
        """Returns the config to retry a trial with that Ray reports as ended; None: it has ended."""
        running = len(self.live) + 1
        retried = error and self.scheduler.deaths.retries(trial_id, config["number"], running)
        return self.prepared(config) if retried else None

    def suggest(self, trial_id: str) -> TrialConfig | str | None:  # type: ignore[override]  # FINISHED is a string
        if len(self.live) >= min(self.scheduler.deaths.limit, self.room()):
            return None
        if not self._pending:
            if not self.has_room(None):
                return None
            begin = time.perf_counter()
            trial = self.source.next()
            self.source_seconds += time.perf_counter() - begin
            if trial is None:
                return None if self.live else Searcher.FINISHED  # a trial that has not ended may need a retry
            if trial is WAIT:
                return None
            self._pending.append(self.prepared(_config(trial)))
        if not self.has_room(self._pending[0]):
            return None
        self.live[trial_id] = self._pending.popleft()
        return self.live[trial_id]

    def on_trial_result(self, trial_id: str, result: TuneResult) -> None:
        metrics = metrics_of(result)
        if "progress/step" in metrics and result.get("status") != "failed":
            self.source.report(self.live[trial_id]["number"], metrics)

    def on_trial_complete(self, trial_id: str, result: TuneResult | None = None, error: bool = False) -> None:
        config = self.live.pop(trial_id)
        following = self.next_attempt(trial_id, config, result or {}, error)
        if following is not None:
            self._pending.append(following)
        elif error or (result is not None and result.get("status") != NO_DISK):  # else the next start runs it
            self.source.end(config["number"], _last_status(result, error), metrics_of(result or {}))

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: a study is resumed from its own records and storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing; see `save`."""


def _config(trial: NextTrial) -> TrialConfig:
    config: TrialConfig = {"number": trial.number, "overrides": dict(trial.overrides)}
    return config if trial.tags is None else {**config, "tags": dict(trial.tags)}


def _last_status(result: TuneResult | None, error: bool) -> str:
    """Returns how a trial ended; Ray stops a trial whose last report says `running`: it was pruned."""
    status = "failed" if error or result is None else str(result.get("status", "failed"))
    return "pruned" if status == "running" else status
