"""Trials that are given out again: since their process was found dead before they began, or as another attempt.

Ray Tune starts a trial again that dies while it runs. One that is to follow another in a process that has died since
(killed, or lost with its node, between two trials) it fails at once: its state is then still PENDING, and only RUNNING
trials are recovered (`TuneController._process_trial_failure`, Ray 2.60).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ray.tune.search import Searcher

from tune.asha import Unhalved

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

    def __init__(self, inner: Searcher, scheduler: Unhalved) -> None:
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
