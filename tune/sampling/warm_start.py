"""Starts a study from the completed trials of another one (`--from`).

A trial is never added twice, so the same command can resume the study after a kill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from t5vqvae.errors import SettingError
from tune.records.ranking import contenders
from tune.records.record import TrialRecord, read_records
from tune.sampling.suggestions import ORIGIN, TOLD, Suggestions
from tune.spec.search_spec import SearchSpec

START = "start:"
"""Prefix of the origin of good settings from another study, which this study tries itself."""
NUM_STARTS = 3
"""Most settings of another study that are tried."""

_Point = dict[str, Any]
"""A point of the space, by names in Optuna."""
_Placed = tuple[TrialRecord, _Point]
"""A record of the other study, with its point in this study's space."""


def warm_start(suggestions: Suggestions, folder: Path) -> None:
    """Adds the completed trials of another study to this one, as evidence or as settings to try.

    A trial is evidence if this study could have run it (its run spec is the same, except for settings that cannot
    change results) and its sampler learns from trials that it did not suggest. Of the other trials in this study's
    space the settings of the best few are tried first, after the baseline, and count as trials of this study.

    Args:
        suggestions: Of this study.
        folder: Of the other study, with `study.json` and `trials/`.

    Raises:
        SettingError: If the two spaces do not overlap, or the other study's trials lack a metric that decides here.
    """
    spec, other = suggestions.spec, SearchSpec.read(folder / "study.json")
    if not spec.space.overlap(other.space):
        raise SettingError(
            f"--from {other.name}: its space does not overlap with that of {spec.name}; take a study that searches the"
            " same settings over common values"
        )
    completed = [record for record in read_records(folder / "trials") if record.status == "completed"]
    metrics = [record.metrics for record in completed]
    spec.refuse_unmeasured(metrics, f"--from {other.name}: it", f"search {other.name} anew, or leave out --from")
    suggestions.enqueue_baseline()
    known = {trial.user_attrs.get(ORIGIN, "") for trial in suggestions.trials()}
    equivalent, others = _sorted_out(completed, spec, other)
    for record, point in equivalent:
        if (origin := f"{TOLD}{other.name}#{record.number}") not in known:
            suggestions.study.add_trial(_evidence(suggestions, record, point, origin))
    points = {record.number: point for record, point in others}
    for record in contenders([record for record, _ in others], other)[:NUM_STARTS]:
        origins = {f"{kind}{other.name}#{record.number}" for kind in (START, TOLD)}
        if known.isdisjoint(origins) and not suggestions.has_tried(spec.space.overrides(points[record.number])):
            origin = f"{START}{other.name}#{record.number}"
            suggestions.study.enqueue_trial(points[record.number], user_attrs={ORIGIN: origin})


def _sorted_out(records: list[TrialRecord], spec: SearchSpec, other: SearchSpec) -> tuple[list[_Placed], list[_Placed]]:
    """Returns the trials in this study's space: those that are evidence, and the rest."""
    equivalent: list[_Placed] = []
    others: list[_Placed] = []
    for record in records:
        if not other.base_spec.allows(record.overrides):
            continue
        theirs = other.run_spec(record.overrides)
        point = spec.space.place(theirs.as_flat_dict())
        if point is None or not spec.base_spec.allows(spec.space.overrides(point)):
            continue
        ours = spec.run_spec(spec.space.overrides(point))
        alike = ours.as_dict(only_results=True) == theirs.as_dict(only_results=True)
        judged = all(math.isfinite(value) for value in _values(record.metrics, spec))
        (equivalent if alike and judged and spec.sampler.takes_evidence else others).append((record, point))
    return equivalent, others


def _values(metrics: Mapping[str, float], spec: SearchSpec) -> list[float]:
    return [float(metrics.get(objective.metric, math.nan)) for objective in spec.objectives]


def _evidence(suggestions: Suggestions, record: TrialRecord, point: _Point, origin: str) -> FrozenTrial:
    distributions = suggestions.spec.space.distributions
    return create_trial(
        state=TrialState.COMPLETE,
        params=point,
        distributions={name: distributions[name] for name in point},
        values=_values(record.metrics, suggestions.spec),
        user_attrs={ORIGIN: origin},
        constraints=suggestions.constraints("completed", record.metrics),
    )
