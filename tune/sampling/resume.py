"""Resumes a study in Optuna after anything: it agrees with the records, whatever became of `optuna.journal`.

The records are the truth. What Optuna lacks is added from them, with the milestones that judged each trial. A trial
that Optuna calls ended and that has no record is opened again, or gets a record of what Optuna holds. A database that
is damaged, of another format or of another study is set aside and made anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from t5vqvae.errors import DamagedFileError, UserError
from t5vqvae.training import checkpoint
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.sampling.database import Database, database_of
from tune.sampling.old_storage import NAME, side_files
from tune.sampling.suggestions import BASELINE, ORIGIN, TOLD, Suggestions, is_ours
from tune.spec.search_spec import SearchSpec

LOST = f"{TOLD}lost"
"""Origin of another study's trial whose settings were lost with the database; `--from` adds it again."""


def resumed(
    spec: SearchSpec, paths: StudyPaths, records: dict[int, TrialRecord], evidence: Collection[int] = ()
) -> Suggestions:
    """Returns the suggestions of a study that agree with its records.

    Args:
        spec: The study.
        paths: Its files; this driver holds their lock.
        records: The trials that have ended, by number; records that are made here are added and written.
        evidence: Numbers of other studies' trials that the study was given.

    Raises:
        UserError: If a record lies outside the study's space.
    """
    place = database_of(spec, paths) or paths.storage
    suggestions = _opened(spec, place, records)
    known = len(suggestions.trials())
    if records and known <= max(records):
        print(f"{place} lacks trials from {known} on; they are added from their records", file=sys.stderr)
    for number in range(known, _num_started(paths, records)):
        _add(suggestions, paths, number, records.get(number), number in evidence)
    suggestions.reconcile(records)
    for trial in suggestions.trials():
        if is_ours(trial) and trial.state.is_finished() and trial.number not in records:
            _restore(suggestions, paths, records, trial)
    return suggestions


def _opened(spec: SearchSpec, place: Path | Database, records: Mapping[int, TrialRecord]) -> Suggestions:
    """Returns what Optuna's file or database holds; what cannot be this study's is set aside."""
    try:
        suggestions = Suggestions(spec, place)
        if (other := _contradicted(suggestions, records)) is None:
            return suggestions
        reason = f"{place} contradicts the record of trial {other}"
    except DamagedFileError as error:
        reason = str(error)
    _set_aside(place)
    print(f"{reason}; set aside, and made anew from the records of the trials", file=sys.stderr)
    return Suggestions(spec, place)


def _set_aside(place: Path | Database) -> None:
    if isinstance(place, Database):
        place.set_aside()
        return
    old = place.with_name(NAME)
    for file in (place, old, *side_files(old), *side_files(place)):
        if file.exists():
            os.replace(file, file.with_name(f"{file.name}.damaged"))


def _contradicted(suggestions: Suggestions, records: Mapping[int, TrialRecord]) -> int | None:
    """Returns the number of a trial whose settings differ between Optuna and its record; None: they agree."""
    spec, base = suggestions.spec, suggestions.spec.base_values
    for trial in suggestions.trials():
        record = records.get(trial.number)
        if record is not None and spec.space.read(trial.params, base) != _as_written(spec, record):
            return trial.number
    return None


def _as_written(spec: SearchSpec, record: TrialRecord) -> dict[str, Any] | None:
    """Returns the settings of a record; older versions wrote grid points with the rounding of a sum."""
    point = {d.name: record.overrides[d.path] for d in spec.space.dimensions if d.path in record.overrides}
    return spec.space.read(point, spec.base_values)


def _num_started(paths: StudyPaths, records: Mapping[int, TrialRecord]) -> int:
    """Returns the number of trials that have a record or a checkpoint, and those below them."""
    folders = paths.trials.glob(f"[0-9]*/{checkpoint.PREFIX}*")
    return 1 + max([*records, *(int(folder.parent.name) for folder in folders)], default=-1)


def _add(
    suggestions: Suggestions, paths: StudyPaths, number: int, record: TrialRecord | None, is_evidence: bool
) -> None:
    """Adds a trial that Optuna lacks, as running, with its milestones; `reconcile` ends it if it has a record."""
    spec = suggestions.spec
    if is_evidence:
        lost = create_trial(state=TrialState.FAIL, user_attrs={ORIGIN: f"{LOST}#{number}"})
        suggestions.study.add_trial(lost)
        return
    point = _point(spec, _settings(spec, paths, number, record))
    suggestions.study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params=point,
            distributions={name: spec.space.distributions[name] for name in point},
            user_attrs={ORIGIN: BASELINE} if number == 0 else {},
        )
    )
    suggestions.adopt(number)
    for step, metrics in (record.history if record is not None else {}).items():
        suggestions.report(number, {**metrics, "progress/step": float(step)})


def _settings(spec: SearchSpec, paths: StudyPaths, number: int, record: TrialRecord | None) -> Mapping[str, Any] | None:
    """Returns the settings of a started trial, flat; None where nothing is left of it."""
    if record is not None:
        allowed = spec.base_spec.allows(record.overrides)
        return spec.run_spec(record.overrides).as_flat_dict() if allowed else {**spec.base_values, **record.overrides}
    newest = checkpoint.latest(paths.trial(number))
    return None if newest is None else checkpoint.read_spec(newest).as_flat_dict()


def _point(spec: SearchSpec, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the point of a trial in Optuna; empty where its settings are drawn again, as its number decides.

    Raises:
        UserError: If the settings lie outside the space.
    """
    if settings is None:
        return {}
    point = spec.space.place(settings)
    if point is None:
        outside = ", ".join(f"{d.path}={settings.get(d.path)}" for d in spec.space.outside(settings))
        raise UserError(
            f"study {spec.name} has a trial outside its space ({outside}), and its optuna.journal lacks it; restore the"
            f" right database, or start a study of another name with --from {spec.name}"
        )
    return point


def _restore(suggestions: Suggestions, paths: StudyPaths, records: dict[int, TrialRecord], trial: FrozenTrial) -> None:
    """Gives an ended trial a record: opens it again, or, if it was stopped early, takes what Optuna holds."""
    place = f"trial {trial.number} of {suggestions.spec.name} has ended and has no record"
    diverged = trial.constraints.get("diverged", 0.0) > 0
    if trial.state != TrialState.PRUNED and not diverged:
        # Its checkpoint has the result; without one it is trained again.
        print(f"{place}; it is opened again", file=sys.stderr)
        suggestions.reopen(trial.number)
        return
    spec, values = suggestions.spec, suggestions.intermediate_values().get(trial.number, {})
    objective = spec.scheduler_objective
    step = max({*values, *trial.intermediate_values}, default=0)
    metrics = {"progress/step": float(step)}
    if objective is not None and step in values:
        metrics[objective.metric] = values[step]
    record = TrialRecord(
        study=spec.name,
        number=trial.number,
        overrides=spec.space.read(trial.params, spec.base_values) or {},
        run_id=None,
        mlflow_id=None,
        status="diverged" if diverged else "pruned",
        steps=step,
        metrics=metrics,
        tags={"restored": "its record was lost; this one is of optuna.journal"},
    )
    print(
        f"{place}; it {'diverged' if diverged else 'was stopped'} at step {step}, and gets a record of that",
        file=sys.stderr,
    )
    record.write(paths.trial(trial.number))
    records[trial.number] = record
