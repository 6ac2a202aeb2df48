"""A searcher without Optuna, to test what stands between it and Ray Tune."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher


class Numbers(Searcher):
    """Gives trials 0 to `last`, and notes what it hears of each."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.left = list(range(last + 1))
        self.ids: dict[str, int] = {}
        self.heard: list[tuple[int, Any]] = []

    def suggest(self, trial_id: str) -> Any:
        if not self.left:
            return Searcher.FINISHED
        self.ids[trial_id] = self.left.pop(0)
        return {"number": self.ids[trial_id], "overrides": {}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.heard.append((self.ids[trial_id], result["status"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.heard.append((self.ids[trial_id], "error" if error else (result or {}).get("status")))
