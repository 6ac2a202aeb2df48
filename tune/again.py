"""Trials that are given out again since their process was found dead before they began.

Ray Tune starts a trial again that dies while it runs. One that is to follow another in a process that has died since
(killed, or lost with its node, between two trials) it fails at once: its state is then still PENDING, and only RUNNING
trials are recovered (`TuneController._process_trial_failure`, Ray 2.60).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ray.tune.search import Searcher

from tune.asha import Unhalved


class GivenAgain(Searcher):
    """Gives Ray Tune the trials of another searcher, which hears nothing of those that never began.

    Args:
        inner: Gives `{"number", "overrides"}`.
        scheduler: Knows what Ray failed, and why.
    """

    def __init__(self, inner: Searcher, scheduler: Unhalved) -> None:
        super().__init__()
        self.inner = inner
        self.scheduler = scheduler
        self._live: dict[str, tuple[str, dict[str, Any]]] = {}
        self._again: deque[tuple[str, dict[str, Any]]] = deque()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a string
        if self._again:
            self._live[trial_id] = self._again.popleft()
            return self._live[trial_id][1]
        asked = self.inner.suggest(trial_id)
        if not isinstance(asked, dict):
            return None if self._live else asked  # one that has not begun may have to be given out again
        self._live[trial_id] = trial_id, asked
        return asked

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.inner.on_trial_result(self._live[trial_id][0], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        first_id, config = self._live.pop(trial_id)
        if error and trial_id in self.scheduler.unbegun:
            self._again.append((first_id, config))
        else:
            self.inner.on_trial_complete(first_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: what is not in a record is begun by the next start."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""
