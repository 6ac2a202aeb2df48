"""Runs of a study's trials with fresh seeds: their folders and names, next to those of the trials.

A promotion may train the best trials again (`tune/promotion/retraining.py`). The record of such a run is that of its
trial but for the seed among its overrides, its metrics, its checkpoint, and a tag that names the seed: the tag tells it
from the trial, so that neither is taken for the other in the registry, in MLflow and on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError
from tune.records.record import FILE, TrialRecord
from tune.records.study_paths import StudyPaths, trial_key

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec

TAG = "t5vqvae.fresh_seed"
"""The tag of a record and of an MLflow run of a trial that was trained again: its seed."""


def fresh_folder(paths: StudyPaths, number: int, seed: int) -> Path:
    """Returns the folder of a trial's run with a fresh seed."""
    return paths.fresh / f"{number:05d}-seed-{seed}"


def fresh_key(study: str, number: int, seed: int) -> str:
    """Returns the name of such a run in its experiment."""
    return f"{trial_key(study, number)}-seed-{seed}"


def folder_of(paths: StudyPaths, record: TrialRecord) -> Path:
    """Returns the folder of a trial, or of its run with a fresh seed."""
    seed = record.tags.get(TAG)
    return paths.trial(record.number) if seed is None else fresh_folder(paths, record.number, int(seed))


def key_of(record: TrialRecord) -> str:
    """Returns the name of a trial, or of its run with a fresh seed, in its experiment."""
    seed = record.tags.get(TAG)
    return trial_key(record.study, record.number) if seed is None else fresh_key(record.study, record.number, int(seed))


def said(record: TrialRecord) -> str:
    """Returns a trial, or its run with a fresh seed, in words."""
    seed = record.tags.get(TAG)
    return f"trial {record.number} of study {record.study}{'' if seed is None else f' with the fresh seed {seed}'}"


def known_fresh(paths: StudyPaths, number: int, settings: Mapping[str, object], spec: RunSpec) -> TrialRecord | None:
    """Returns the record of an ended run with a fresh seed; None where it has to be trained.

    A damaged record, one of other settings, one whose checkpoint was deleted, and one of another content of the data or
    a local backbone count as none.

    Args:
        paths: The study.
        number: The trial.
        settings: The run's overrides, the seed among them.
        spec: The run.

    Raises:
        DataError: If the data cannot be prepared.
    """
    try:
        record = TrialRecord.read(fresh_folder(paths, number, int(str(settings["seed"]))))
    except (FileNotFoundError, DamagedFileError):
        return None
    checkpoint = Path(record.checkpoint) if record.checkpoint is not None else None
    kept = checkpoint is not None and checkpoint.is_dir()
    if record.overrides != settings or (record.status == "completed" and not kept):
        return None
    return None if checkpoint is not None and kept and _is_of_other_sources(checkpoint, spec, paths) else record


def _is_of_other_sources(folder: Path, spec: RunSpec, paths: StudyPaths) -> bool:
    """Returns whether a checkpoint is of another content of the data or a local backbone, or damaged."""
    from t5vqvae.runs.fingerprint import changed_source, sources_of  # torch, which no list of trials needs
    from t5vqvae.training import checkpoint

    try:
        stored = checkpoint.read_milestone(folder)
    except (FileNotFoundError, DamagedFileError):
        return True
    return changed_source(stored, sources_of(spec, paths.cache), spec) is not None


def read_fresh(paths: StudyPaths) -> list[TrialRecord]:
    """Returns the records of all ended runs with fresh seeds; damaged ones are left out, as they are trained again."""
    found = []
    for file in sorted(paths.fresh.glob(f"*/{FILE}")):
        try:
            found.append(TrialRecord.read(file.parent))
        except DamagedFileError:
            continue
    return found
