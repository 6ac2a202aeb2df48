"""What a study learns from the trials of another before its own (`--from`).

Told a second time, nothing is added, so the same command goes on after a kill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from t5vqvae.errors import SettingError
from tune.records.ranking import contenders
from tune.records.record import TrialRecord, read_records
from tune.sampling.suggestions import ORIGIN, TOLD, Suggestions
from tune.spec.search_spec import SearchSpec

START = "start:"
"""Begins the origin of settings that another study found good; they are tried anew."""
NUM_STARTS = 3

Placed = tuple[TrialRecord, dict[str, Any]]
"""A record of the other study and its point in this one's space."""


@dataclass(frozen=True)
class WarmStart:
    """What another study gave: trials told as evidence, settings to start from, and completed trials of no use."""

    num_told: int
    num_starts: int
    num_skipped: int


def warm_start(suggestions: Suggestions, folder: Path) -> WarmStart:
    """Lets a study learn from the completed trials of another.

    A trial that this study could have run itself (the same run spec, up to what cannot change results) is told as
    evidence. Of the others that lie in this space, which were trained or judged otherwise, the best few give settings
    that are tried first, after the baseline; they count as trials of this study.

    Args:
        suggestions: Of this study.
        folder: Of the other study, with `study.json` and `trials/`.

    Raises:
        SettingError: If the spaces have nothing in common.
    """
    spec, other = suggestions.spec, SearchSpec.read(folder / "study.json")
    if not spec.space.overlap(other.space):
        raise SettingError(f"--from {other.name}: no setting is searched over common values there and here")
    suggestions.enqueue_baseline()
    known = {trial.user_attrs.get(ORIGIN, "") for trial in suggestions.trials()}
    completed = [record for record in read_records(folder / "trials") if record.status == "completed"]
    equivalent, others = _sorted_out(completed, spec, other)
    for record, point in equivalent:
        if (origin := f"{TOLD}{other.name}#{record.number}") not in known:
            suggestions.study.add_trial(_evidence(suggestions, record, point, origin))
    points = {record.number: point for record, point in others}
    starts = contenders([record for record, _ in others], other)[:NUM_STARTS]
    for record in starts:
        if (origin := f"{START}{other.name}#{record.number}") not in known:
            suggestions.study.enqueue_trial(points[record.number], user_attrs={ORIGIN: origin})
    return WarmStart(len(equivalent), len(starts), len(completed) - len(equivalent) - len(starts))


def _sorted_out(records: list[TrialRecord], spec: SearchSpec, other: SearchSpec) -> tuple[list[Placed], list[Placed]]:
    """Returns the trials that lie in this study's space: those that could be its own, and the rest."""
    equivalent: list[Placed] = []
    others: list[Placed] = []
    for record in records:
        theirs = other.run_spec(record.overrides)
        point = spec.space.place(theirs.as_flat_dict())
        if point is None:
            continue
        ours = spec.run_spec(spec.space.overrides(point))
        alike = ours.as_dict(only_results=True) == theirs.as_dict(only_results=True)
        judged = all(math.isfinite(value) for value in _values(record.metrics, spec))
        (equivalent if alike and judged else others).append((record, point))
    return equivalent, others


def _values(metrics: Mapping[str, float], spec: SearchSpec) -> list[float]:
    return [float(metrics.get(objective.metric, math.nan)) for objective in spec.objectives]


def _evidence(suggestions: Suggestions, record: TrialRecord, point: dict[str, Any], origin: str) -> FrozenTrial:
    distributions = suggestions.spec.space.distributions
    return create_trial(
        state=TrialState.COMPLETE,
        params=point,
        distributions={name: distributions[name] for name in point},
        values=_values(record.metrics, suggestions.spec),
        user_attrs={ORIGIN: origin},
        constraints=suggestions.constraints("completed", record.metrics),
    )
