"""Trials on GPUs, given out as there is room: each with its share, and again where memory ran out.

`PackedTrials` stands between Ray Tune and a searcher. Ray knows a trial's share by its config
(`tune.trial.process_resources`) and keeps to it; here it is decided. A trial that ran out of memory is given out again
under the same number, with what its folder says is to be tried next; the searcher hears of the end of the last attempt
alone. Whoever waits for a larger share than is free holds back all that come later, or small ones would starve it.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import ray
from ray.tune.search import Searcher

from t5vqvae.attempt import OUT_OF_MEMORY, Attempt
from tune.memory import FILE, MemorySeen, first_attempt, limited, seen_also
from tune.trial import ATTEMPT, TrialPlan

ROUNDING = 1e-3
"""Sixteen shares of a GPU, rounded down, are a bit less than one."""


class PackedTrials(Searcher):
    """Gives Ray Tune the trials of another searcher, as configs with an attempt.

    Args:
        inner: Gives `{"number", "overrides"}`.
        plan: What the trials share.
        total_gpus: Of the cluster; None: Ray is asked.
    """

    def __init__(self, inner: Searcher, plan: TrialPlan, total_gpus: float | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.plan = plan
        self.total = ray.cluster_resources().get("GPU", 0.0) if total_gpus is None else total_gpus
        self.seen = MemorySeen.read(self._path)
        self._live: dict[str, dict[str, Any]] = {}
        self._again: deque[dict[str, Any]] = deque()
        self._inner_ids: dict[int, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a string
        if self._again:
            if not self._room_for(self._again[0][ATTEMPT]):
                return None
            return self._given(trial_id, self._again.popleft())
        if not self._room_for(self._first):
            return None
        asked = self.inner.suggest(trial_id)
        if not isinstance(asked, dict):
            return None if self._live else asked  # one that still runs may have to be given out again
        config = {**asked, ATTEMPT: self._attempt(asked["number"])}
        self._inner_ids[config["number"]] = trial_id
        if not self._room_for(config[ATTEMPT]):
            self._again.append(config)
            return None
        return self._given(trial_id, config)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._note(trial_id, result)
        if result.get("status") != OUT_OF_MEMORY:
            self.inner.on_trial_result(self._inner_id(trial_id), result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._note(trial_id, result or {})
        inner_id = self._inner_id(trial_id)
        config = self._live.pop(trial_id)
        if not error and (result or {}).get("status") == OUT_OF_MEMORY:
            self._again.append({**config, ATTEMPT: self._attempt(config["number"])})
        else:
            self.inner.on_trial_complete(inner_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: what was seen and what is to be tried lies in the study's folder."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""

    def _given(self, trial_id: str, config: dict[str, Any]) -> dict[str, Any]:
        self._live[trial_id] = config
        return config

    def _attempt(self, number: int) -> Attempt:
        """Returns how trial `number` is fitted onto its GPU, its earlier attempts considered."""
        first, later = self._first, Attempt.read(self.plan.paths.trial(number))
        if later is None:
            return first
        gpus = max(first.gpus, later.gpus)
        attempt = Attempt(gpus, later.microbatches, None, later.tried)
        return limited(attempt, self.seen) if self.plan.packed else attempt

    @property
    def _first(self) -> Attempt:
        return first_attempt(self.seen, self.plan.gpus, self.plan.packed)

    def _room_for(self, attempt: Attempt) -> bool:
        """Returns whether the cluster has room for one more trial; always where none runs: Ray waits for it then."""
        taken = sum(config[ATTEMPT].gpus for config in self._live.values()) + attempt.gpus
        return not self._live or taken * self.plan.workers <= self.total + ROUNDING

    def _note(self, trial_id: str, result: dict[str, Any]) -> None:
        """Takes a report's memory into account, and keeps it for the next start; not of a batch cut to fill a GPU."""
        config = self._live[trial_id]
        if not self.plan.packed or config[ATTEMPT].microbatches is not None:
            return
        seen = seen_also(self.seen, config["number"], result)
        if seen is not None and seen != self.seen:
            self.seen = seen
            seen.write(self._path)

    def _inner_id(self, trial_id: str) -> str:
        return self._inner_ids[self._live[trial_id]["number"]]

    @property
    def _path(self) -> Path:
        return self.plan.paths.root / FILE
