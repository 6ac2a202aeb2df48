"""Holds back the parameters drawn for a trial, until all are known and may be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import Trial


class DrawnParameters:
    """Stands between a trial and its storage from its making to `store`.

    Optuna stores each parameter when it is drawn and lets none be taken back. Settings that were tried already could
    not be replaced, and a kill in between would leave a part of them.

    Args:
        trial: A trial whose parameters are drawn next.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._storage: BaseStorage = trial.storage
        self._drawn: dict[str, tuple[float, BaseDistribution]] = {}
        trial.storage = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Keeps a parameter that was drawn."""
        self._drawn[param_name] = (param_value_internal, distribution)

    def __len__(self) -> int:
        return len(self._drawn)

    def replace(self, distributions: Mapping[str, BaseDistribution], point: Mapping[str, Any]) -> None:
        """Replaces what was drawn by another point, `{name: value}`."""
        self._drawn = {
            name: (distributions[name].to_internal_repr(v), distributions[name]) for name, v in point.items()
        }

    def store(self) -> None:
        """Stores the parameters, in the order in which they were drawn."""
        trial, self._trial.storage = self._trial, self._storage
        for name, (value, distribution) in self._drawn.items():
            self._storage.set_trial_param(trial._trial_id, name, value, distribution)
        trial._cached_frozen_trial = self._storage.get_trial(trial._trial_id)
