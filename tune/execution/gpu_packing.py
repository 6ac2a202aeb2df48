"""Trials share GPUs: by the memory of trials seen before, and with a larger share when memory runs out.

`GPUPackingSearcher` decides the share. Ray reads it from a trial's config, by `process_resources` of `trial.py`, and
keeps to it. A trial that ran out of memory gets a retry under the same number, with the attempt that its folder holds.
A trial that waits for a larger share than is free holds back all that come later; small ones would starve it otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from t5vqvae.runs.attempt import OUT_OF_MEMORY, Attempt
from tune.execution.asha import RunToCompletion
from tune.execution.gpu_memory import FILE, MemorySeen, first_attempt, limited, seen_also
from tune.execution.searcher import TrialSearcher
from tune.execution.trial import ATTEMPT, TrialConfig, TrialPlan, TuneResult
from tune.sampling.source import Source

ROUNDING = 1e-3
"""Sixteen shares of a GPU, rounded down, are a bit less than one."""


class GPUPackingSearcher(TrialSearcher):
    """Gives Ray Tune the trials of a source, each with its share of a GPU and its attempt.

    Args:
        source: Decides which trials run.
        scheduler: Knows which trials died.
        plan: What the trials share.
        total_gpus: Returns the GPUs of the cluster, which may grow.
    """

    def __init__(
        self, source: Source, scheduler: RunToCompletion, plan: TrialPlan, total_gpus: Callable[[], float]
    ) -> None:
        super().__init__(source, scheduler)
        self.plan = plan
        self.total_gpus = total_gpus
        self.seen = MemorySeen.read(self._path)

    def prepared(self, config: TrialConfig) -> TrialConfig:
        return {**config, ATTEMPT: self._attempt(config["number"])}

    def has_room(self, config: TrialConfig | None) -> bool:
        """Returns whether the cluster has room for one more trial; always where none runs: Ray waits for it then."""
        attempt = self._first if config is None else config[ATTEMPT]
        taken = sum(other[ATTEMPT].gpus for other in self.live.values()) + attempt.gpus
        return not self.live or taken * self.plan.workers <= self.total_gpus() + ROUNDING

    def next_attempt(self, trial_id: str, config: TrialConfig, result: TuneResult, error: bool) -> TrialConfig | None:
        self._note(config, result)
        if not error and result.get("status") == OUT_OF_MEMORY:
            return self.prepared(config)
        return super().next_attempt(trial_id, config, result, error)

    def on_trial_result(self, trial_id: str, result: TuneResult) -> None:
        self._note(self.live[trial_id], result)
        if result.get("status") != OUT_OF_MEMORY:
            super().on_trial_result(trial_id, result)

    def _attempt(self, number: int) -> Attempt:
        """Returns how trial `number` is fitted onto its GPU, its earlier attempts considered."""
        first, later = self._first, Attempt.read(self.plan.paths.trial(number))
        if later is None:
            return first
        gpus = max(first.gpus, later.gpus)
        attempt = Attempt(gpus, later.microbatches, None, later.tried)
        return limited(attempt, self.seen) if self.plan.packed else attempt

    def _note(self, config: TrialConfig, result: TuneResult) -> None:
        """Takes a report's memory into account, and keeps it for the next start; not of a batch cut to fill a GPU."""
        if not self.plan.packed or config[ATTEMPT].microbatches is not None:
            return
        seen = seen_also(self.seen, config["number"], result)
        if seen is not None and seen != self.seen:
            self.seen = seen
            seen.write(self._path)

    @property
    def _first(self) -> Attempt:
        return first_attempt(self.seen, self.plan.gpus, self.plan.packed)

    @property
    def _path(self) -> Path:
        return self.plan.paths.root / FILE
