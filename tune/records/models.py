"""Finds the trained model that a user names: a checkpoint, a run, a study's trial, or a registered model."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import CheckpointError, DataError, SettingError, UserError, did_you_mean
from t5vqvae.files import atomic_write, read_json
from tune.records.fresh_runs import TAG, folder_of, said
from tune.records.ranking import best
from tune.records.record import FILE, TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracking_uri
from tune.spec.judging import Judging, StudyHeader

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec
    from t5vqvae.tracking.server.model_registry import Registry, Version

FORMS = "a checkpoint folder, a run id, a run's folder, STUDY, STUDY/TRIAL, models:/NAME@ALIAS or models:/NAME/VERSION"
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[^/@]+))")


@dataclass(frozen=True)
class FoundModel:
    """A trained model on this machine.

    Attributes:
        folder: Its weights, config and tokenizer, as `t5vqvae.models.contract.load_model` reads them.
        spec: The resolved spec that it was trained by.
        origin: Its origin in words, such as `trial 3 of study quickstart, step-00000300`.
        mlflow_id: MLflow's id of the run behind a registered model; None for others, whose folders say it.
    """

    folder: Path
    spec: RunSpec
    origin: str
    mlflow_id: str | None = None


def find_model(name: str, state: Path) -> FoundModel:
    """Returns the model that a user names.

    Args:
        name: A checkpoint (`.../step-00000300`, or its `model` folder); a run id, 16 hex digits; the name of a
            folder of `runs`, as `train` prints it, where no study has this name; `STUDY`, its best trial; `STUDY/N`,
            its trial N, also of an ablation; `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        state: The state folder.

    Raises:
        UserError: If there is no such model, in one line: what was tried, and the way out.
    """
    if name.startswith("models:"):
        return _registered_model(name, state)
    path = Path(name).expanduser().absolute()
    if (folder := _checkpoint_folder(path)) is not None:
        return _verified(folder)
    if re.fullmatch(r"[0-9a-f]{16}", name):
        return _model_of_run(name, state)
    if match := re.fullmatch(r"([^/]+)/([0-9]+)", name):
        return _model_of_trial(StudyPaths.existing(state, match[1], ablations=True), int(match[2]))
    is_study = StudyPaths(state, name).spec.is_file()
    if not is_study and "/" not in name and (state / "runs" / name).is_dir():
        return _newest_of_run(state / "runs" / name)
    if ("/" in name or path.exists()) and not is_study:
        raise SettingError(f"{name} is no model{_newest_inside(path) or f'; give {FORMS}'}")
    paths = StudyPaths.existing(state, name)
    return _trial_model(paths, best_record(paths, StudyHeader.read(paths.spec)))


def say_of_other_data(found: FoundModel, cache: Path) -> None:
    """Says on stderr that a model was trained on another content of its data than what is measured now.

    A file that has grown is split anew, so that sentences of training may be among those of validation.

    Raises:
        DataError: If the data cannot be prepared.
    """
    from t5vqvae.runs.fingerprint import DATA, changed_source, sources_of
    from t5vqvae.training import checkpoint

    place = found.folder.parent
    if not (place / "milestone.json").is_file():
        return
    try:
        sources = sources_of(found.spec, cache)
    except DataError as error:
        raise DataError(
            f"the data of {found.origin} cannot be read: {without_advice(error)}; put it back there"
        ) from None
    stored = {DATA: checkpoint.read_milestone(place).get(DATA, sources[DATA])}  # another backbone splits nothing anew
    if changed := changed_source(stored, {DATA: sources[DATA]}, found.spec):
        print(
            f"{found.origin} was trained on another content of {changed}, or by another version of t5vqvae: sentences"
            " that it was trained on may be among those that are measured now; put that content back, or train anew",
            file=sys.stderr,
        )


def without_advice(error: Exception) -> str:
    """Returns an error without its way out, which is of a new run: a model's settings cannot be changed."""
    return str(error).partition("; ")[0]


def best_record(paths: StudyPaths, judging: Judging) -> TrialRecord:
    """Returns the best trial of a search.

    Raises:
        UserError: If no trial counts as best.
    """
    records = read_records(paths.trials)
    record = best(records, judging)
    if record is None:
        completed = [record.metrics for record in records if record.status == "completed"]
        way_out = "search it anew under another name (name=...)"
        judging.refuse_unmeasured(completed, f"study {paths.study}", way_out)
        raise UserError(
            f"study {paths.study}: none of its {len(completed)} completed trials has a bottleneck and keeps"
            f" {', '.join(map(str, judging.constraints)) or 'the objective'}; search on, or loosen the constraints"
        )
    return record


def kept_checkpoint(paths: StudyPaths, record: TrialRecord) -> Path:
    """Returns a trial's checkpoint, verified.

    Raises:
        UserError: If it was deleted or is damaged.
    """
    from t5vqvae.training import checkpoint

    found = Path(record.checkpoint) if record.checkpoint else None
    if found is None or not found.is_dir():
        found = checkpoint.latest(folder_of(paths, record))
    if found is None:
        raise UserError(
            f"trial {record.number} of {paths.study} has no checkpoint left; raise retention.keep_best, the number of"
            " trials within the constraints that keep theirs"
        )
    try:
        checkpoint.verify(found)
    except CheckpointError as error:
        reason = str(error).removesuffix("; use another one")
        then = "promote its study again" if TAG in record.tags else "start its study again"
        way_out = f"to train the trial again, delete {folder_of(paths, record) / FILE} and {then}"
        raise CheckpointError(f"{reason}; {way_out}") from None
    return found


def _trial_model(paths: StudyPaths, record: TrialRecord) -> FoundModel:
    folder = kept_checkpoint(paths, record)
    return _model_in(folder, f"{said(record)}, {folder.name}")


def _model_of_trial(paths: StudyPaths, number: int) -> FoundModel:
    records = {record.number: record for record in read_records(paths.trials)}
    if number not in records:
        ended = f"{len(records)} have ended, numbers {min(records)} to {max(records)}" if records else "none has ended"
        raise SettingError(f"study {paths.study} has no ended trial {number}: {ended}")
    return _trial_model(paths, records[number])


def _model_of_run(run_id: str, state: Path) -> FoundModel:
    """Returns the model of a run id: of any study's trial, or of a run that `t5vqvae train` made."""
    lost: UserError | None = None
    for paths, record in _records_of_run(run_id, state):
        try:
            return _trial_model(paths, record)
        except UserError as error:  # another study may have kept the same run's checkpoint
            lost = error
    from t5vqvae.training import checkpoint

    for run in sorted((state / "runs").glob("*/")):
        folder = checkpoint.latest(run)
        if folder is not None and checkpoint.read_milestone(folder).get("run_id") == run_id:
            return _model_in(folder, f"run {run.name}, {folder.name}")
    raise lost or SettingError(
        f"no ended trial or run under {state} has the run id {run_id};"
        " `t5vqvae trials STUDY` lists trials, which STUDY/TRIAL names"
    )


def _newest_of_run(run: Path) -> FoundModel:
    from t5vqvae.training import checkpoint

    folder = checkpoint.latest(run)
    if folder is None:
        raise CheckpointError(f"run {run.name} has no intact checkpoint in {run}; train it again, or name another run")
    return _model_in(folder, f"run {run.name}, {folder.name}")


def _records_of_run(run_id: str, state: Path) -> Iterator[tuple[StudyPaths, TrialRecord]]:
    studies = state / "studies"
    for file in [*sorted(studies.glob("*/trials/*/record.json")), *sorted(studies.glob("*/fresh/*/record.json"))]:
        if run_id in file.read_text(encoding="utf-8"):
            record = TrialRecord.read(file.parent)
            if record.run_id == run_id:
                yield StudyPaths(state, file.parts[-4]), record


def _checkpoint_folder(path: Path) -> Path | None:
    """Returns the checkpoint that a path names, itself or by its `model` folder; None if it is none."""
    folder = path.parent if path.name == "model" else path
    return folder if (folder / "model").is_dir() and (folder / "spec.json").is_file() else None


def _newest_inside(path: Path) -> str:
    """Returns a hint at the newest checkpoint inside a folder, where there is one."""
    checkpoints = sorted(path.glob("step-*")) if path.is_dir() else []
    return f"; did you mean {checkpoints[-1]}?" if checkpoints else ""


def _verified(folder: Path) -> FoundModel:
    from t5vqvae.training import checkpoint

    checkpoint.verify(folder)
    return _model_in(folder, f"checkpoint {folder}")


def _model_in(folder: Path, origin: str) -> FoundModel:
    """Returns the model of a checkpoint that is known to be intact."""
    from t5vqvae.training import checkpoint

    return FoundModel(folder / "model", checkpoint.read_spec(folder), origin)


def _registered_model(name: str, state: Path) -> FoundModel:
    """Returns a registered model; its artifacts are downloaded once, into the cache."""
    return downloaded_model(*registered_version(name, state), state)


def registered_version(name: str, state: Path) -> tuple[Registry, Version]:
    """Returns the registered model and the version that a name such as `models:/t5vqvae@champion` stands for now.

    Raises:
        SettingError: If there is none.
        TrackingError: If the server cannot be reached.
    """
    match = REGISTERED.fullmatch(name)
    if match is None:
        raise SettingError(f"{name} is no registered model; write models:/NAME@ALIAS or models:/NAME/VERSION")
    from t5vqvae.redaction import redacted
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.addresses import sqlite_file

    tracker = Tracker(tracking_uri(state), "t5vqvae")
    file = sqlite_file(tracker.uri)
    if file is not None and not file.exists():
        raise SettingError(f"{name}: there is no MLflow database {file}; set MLFLOW_TRACKING_URI, or promote a study")
    tracker.check()
    registry = tracker.registry(match["name"])
    return registry, _version(registry, match["alias"], match["version"], redacted(tracker.uri))


def downloaded_model(registry: Registry, version: Version, state: Path) -> FoundModel:
    """Returns the model of a registered version; its artifacts are downloaded once, into the cache.

    Raises:
        CheckpointError: If t5vqvae did not write it.
        TrackingError: If the server cannot be reached.
    """
    folder = state / "cache" / "models" / f"{registry.name}-{version.version}-{version.mlflow_id}"
    if not folder.is_dir():
        with atomic_write(folder, folder=True) as scratch:
            registry.download(version, scratch)
    found = _downloaded(folder, f"version {version.version} of the registered model {registry.name}")
    return replace(found, mlflow_id=version.mlflow_id or None)


def _version(registry: Registry, alias: str | None, number: str | None, server: str) -> Version:
    """Returns the version that an alias or a number names."""
    aliases, versions = registry.aliases(), registry.versions()
    if aliases is None or not versions:
        raise SettingError(f"no model {registry.name} is registered at {server}; `t5vqvae promote STUDY` registers one")
    wanted = aliases.get(alias) if alias is not None else number
    if wanted is None:
        raise SettingError(f"models:/{registry.name} has no alias {alias}{did_you_mean(alias, aliases)}")
    if wanted not in versions:
        raise SettingError(f"models:/{registry.name} has no version {wanted}{did_you_mean(wanted, versions)}")
    return versions[wanted]


def _downloaded(folder: Path, origin: str) -> FoundModel:
    """Returns the model in a copy of an MLflow model, as `t5vqvae.tracking.mlflow_model` writes it."""
    from t5vqvae.spec.run import RunSpec

    found = next(folder.rglob("artifacts/spec.json"), None)
    if found is None:
        raise CheckpointError(f"{origin} has no artifacts/spec.json: t5vqvae did not write it; name another model")
    return FoundModel(found.parent / "model", RunSpec.parse(read_json(found)), origin)
