"""Checkpoints: written atomically, verified before use, refused for another spec.

A checkpoint is a folder `step-00000100` with `model/` (weights as safetensors, config, tokenizer), `training.pt`
(optimizer, random states, history), `spec.json`, `milestone.json` and, written last, `manifest.json` with the size and
SHA-256 of every other file. It is written under another name, and renamed when it is complete and on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from safetensors import SafetensorError

from t5vqvae.errors import CheckpointError, DamagedFileError
from t5vqvae.files import checked, file_sha256, flush, read_json
from t5vqvae.spec.run import RunSpec

MANIFEST = "manifest.json"
PREFIX = "step-"


class StoredMilestone(TypedDict):
    """A milestone as `milestone.json` stores it; see `t5vqvae.training.trainer.Milestone` for the fields.

    `run_id` and the fingerprints identify the run; see `RunSpec.run_id` and `t5vqvae.runs.fingerprint`. `own_id` is the
    run id of one that is wholly of this precision and version; the two differ where it was begun otherwise. A
    simulated trainer may leave them out.
    """

    step: int
    status: str
    metrics: dict[str, float]
    tags: dict[str, str]
    samples: list[dict[str, Any]]
    code_counts: NotRequired[list[list[int]]]
    run_id: NotRequired[str]
    own_id: NotRequired[str]
    data_fingerprint: NotRequired[str]
    backbone_fingerprint: NotRequired[str]


def no_milestone() -> StoredMilestone:
    """Returns the milestone before the first step."""
    return {"step": 0, "status": "running", "metrics": {}, "tags": {}, "samples": []}


def path_of(directory: Path, step: int) -> Path:
    """Returns the folder of a step's checkpoint."""
    return directory / f"{PREFIX}{step:08d}"


def write(path: Path, spec: RunSpec, milestone: StoredMilestone, fill: Callable[[Path], None]) -> Path:
    """Writes a checkpoint atomically and returns its folder.

    Args:
        path: The folder to write.
        spec: The run.
        milestone: The content of `milestone.json`; see `read_milestone`.
        fill: Writes the weights and training state into the folder that it receives.

    Raises:
        CheckpointError: If it could not be written (such as on a full disk); nothing of it is left then.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fill(partial)
        _write_json(partial / "spec.json", spec.as_dict())
        _write_json(partial / "milestone.json", milestone)
        _write_json(partial / MANIFEST, _manifest(partial))
        flush(partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError | RuntimeError | SafetensorError):  # a full disk, by Python, torch or safetensors
            raise CheckpointError(f"checkpoint {path.name} could not be written to {path.parent}: {error}") from error
        raise
    return path


def verify(path: Path) -> None:
    """Checks every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: If a file is missing, truncated or changed.
    """
    for name, (size, sha256) in _expected(path).items():
        file = path / name
        if not file.is_file() or file.stat().st_size != size:
            raise CheckpointError(f"checkpoint {path}: {name} is missing or truncated; use another one")
        if file_sha256(file) != sha256:
            raise CheckpointError(f"checkpoint {path}: {name} was changed after it was written; use another one")


def _expected(path: Path) -> dict[str, tuple[int, str]]:
    """Returns the size and hash of each file of a checkpoint, as its manifest has them."""
    try:
        manifest = read_json(path / MANIFEST)
        expected = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest.items()}
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} has no {MANIFEST}: it is incomplete; use another one") from None
    except (DamagedFileError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path}: {MANIFEST} is damaged ({error}); use another one") from None
    if not {"spec.json", "milestone.json"} <= expected.keys():
        raise CheckpointError(f"checkpoint {path}: {MANIFEST} lacks files that every checkpoint has; use another one")
    return expected


def latest(directory: Path, spec: RunSpec | None = None) -> Path | None:
    """Returns the newest intact checkpoint in a folder, or None; skips damaged ones.

    Args:
        directory: A run's folder of checkpoints.
        spec: The run to resume; settings that cannot change a result may differ. None: any run.

    Raises:
        CheckpointError: If the checkpoint belongs to another spec.
    """
    for path in sorted(directory.glob(f"{PREFIX}*"), reverse=True):
        try:
            verify(path)
        except (CheckpointError, OSError, ValueError):
            continue
        if spec is not None:
            refuse_other_spec(path, spec)
        return path
    return None


def refuse_other_spec(path: Path, spec: RunSpec) -> None:
    """Refuses a checkpoint of another spec; settings that cannot change a result may differ.

    Raises:
        CheckpointError: With the first setting that differs.
    """
    theirs = RunSpec.parse(read_json(path / "spec.json")).as_dict(only_results=True)
    mine = spec.as_dict(only_results=True)
    if theirs == mine:
        return
    changed = _first_difference(mine, theirs)
    raise CheckpointError(f"checkpoint {path} belongs to another spec: {changed}; use another folder or the same spec")


def read_milestone(path: Path) -> StoredMilestone:
    """Returns the milestone of a checkpoint."""
    return read_json(path / "milestone.json")


def read_spec(path: Path) -> RunSpec:
    """Returns the resolved spec of a checkpoint."""
    return RunSpec.parse(read_json(path / "spec.json"))


def keep_newest(directory: Path, number: int, saved: Path | None = None) -> None:
    """Deletes all but the `number` newest checkpoints of a run's folder.

    Args:
        directory: The run's folder.
        number: How many stay.
        saved: The one just saved, as the newest: those of later steps, which are damaged since the run resumed from
            an earlier one, are deleted. None: the newest is that of the last step.
    """
    paths = sorted(directory.glob(f"{PREFIX}*"), reverse=True)
    later = [] if saved is None else [path for path in paths if path.name > saved.name]
    for path in [*later, *paths[len(later) :][number:]]:
        shutil.rmtree(path, ignore_errors=True)


def remove_partial(directory: Path) -> None:
    """Deletes what saves that were killed left in a run's folder; only the folder's one writer may call it."""
    for partial in directory.glob(f".{PREFIX}*"):
        shutil.rmtree(partial, ignore_errors=True)


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(checked(value), indent=1))


def _manifest(folder: Path) -> dict[str, Any]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(f.relative_to(folder)): {"size": f.stat().st_size, "sha256": file_sha256(f)} for f in files}


def _first_difference(mine: Mapping[str, object], theirs: Mapping[str, object], path: str = "") -> str:
    for key in sorted(set(mine) | set(theirs)):
        here, there = mine.get(key, "absent"), theirs.get(key, "absent")
        if here == there:
            continue
        if isinstance(here, dict) and isinstance(there, dict):
            return _first_difference(here, there, f"{path}{key}.")
        return f"{path}{key} is {here!r} here and {there!r} there"
    return "the same settings in another form"
