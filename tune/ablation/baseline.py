"""Finds the baseline of an ablation: from its file, a study's best trial, or the registered champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.history import refuse_new_question
from tune.records.models import best_record
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec


def base_of(spec: AblationSpec, paths: StudyPaths, tracker: Any) -> RunSpec:
    """Returns the baseline's run spec; looks up a study's best trial or the champion where the spec names one."""
    baseline = spec.baseline
    if baseline.champion is not None:
        holder = tracker.registry(baseline.champion).by_alias("champion")
        if holder is None:
            raise SettingError(f"baseline.champion={baseline.champion}: no such registered model has a champion")
        return spec.resolve_base(RunSpec.parse(tracker.stored_spec(holder.mlflow_id)))
    return spec.resolve_base(None if baseline.study is None else best_run(paths.state, baseline.study))


def asked_base(spec: AblationSpec, paths: StudyPaths, tracker: Any) -> RunSpec:
    """Returns what `base_of` does, and refuses what no ablation may ask any more."""
    base = base_of(spec, paths, tracker)
    refuse_new_question(spec, base, paths)
    return base


def best_run(state: Path, study: str) -> RunSpec:
    """Returns the run spec of a study's best trial.

    Raises:
        UserError: If there is no such study, or no trial of it counts.
    """
    paths = StudyPaths.existing(state, study, named_by="baseline.study")
    searched = SearchSpec.read(paths.spec)
    return searched.run_spec(best_record(paths, searched).overrides)
