"""Remembers which settings of a space were tried, and which the run spec refuses though each lies in its range.

The checks of a space (`tune/space/checks.py`) draw settings, so two that exclude each other at a few values may pass.
"""

from __future__ import annotations

import json

from t5vqvae.config import Overrides
from tune.spec.search_spec import SearchSpec


class TriedSettings:
    """The settings of a study's trials, and what is known of others.

    Args:
        spec: The study.
    """

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        self._numbers: dict[str, int] = {}
        self._allowed: dict[str, bool] = {}

    def add(self, overrides: Overrides, number: int) -> None:
        """Notes the settings of a trial; the first trial with these settings keeps them."""
        self._numbers.setdefault(_key(overrides), number)

    def __contains__(self, overrides: Overrides) -> bool:
        return _key(overrides) in self._numbers

    def may_try(self, overrides: Overrides, number: int | None = None) -> bool:
        """Returns whether settings are new, or those of trial `number`, and the run spec takes them together."""
        key = _key(overrides)
        if self._numbers.get(key, number) != number:
            return False
        if key not in self._allowed:
            self._allowed[key] = self._spec.base_spec.allows(overrides)
        return self._allowed[key]

    def are_all(self) -> bool:
        """Returns whether the space has no settings besides those that were tried or refused."""
        known = len({*self._numbers, *(key for key, is_allowed in self._allowed.items() if not is_allowed)})
        return known >= self._spec.space.count(self._spec.base_values, known + 1)


def _key(overrides: Overrides) -> str:
    """Returns settings as text that is the same for the same settings; 1 and true differ."""
    return json.dumps(overrides, sort_keys=True)
