"""Fetches a study that another machine copied (`retention.copy_to`), for a promotion or a report here."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.files import write_json
from t5vqvae.stages import stage
from tune.records.copies import SETTING, StudyCopies
from tune.records.events import StudyEvents
from tune.records.record import TrialRecord
from tune.records.remote_folder import RemoteFolder
from tune.records.study_paths import StudyPaths

OPTION = "--fetch"
FETCHED = "fetched.json"
"""The file of a study's folder that was fetched from an address."""


def fetch(paths: StudyPaths, address: str) -> StudyCopies:
    """Fetches the records of a study from an address into the state folder; checkpoints follow when they are needed.

    Args:
        paths: The study; its folder is made, or brought up to date where it was fetched before.
        address: What its spec names as `retention.copy_to`, perhaps by another path.

    Raises:
        SettingError: If the study is not there, or the state folder has a study of this name that was not fetched.
        EnvironmentFault: If the address refuses.
    """
    folder = RemoteFolder(f"{address.rstrip('/')}/{paths.study}", OPTION)
    searched_here = paths.storage.exists() or StudyEvents(paths.root).num_starts > 0  # a database leaves no file here
    if paths.root.is_dir() and (not (paths.root / FETCHED).is_file() or searched_here):
        raise SettingError(
            f"{folder.said}: the state folder has a study {paths.study} of its own, in {paths.root}; leave"
            f" {OPTION} out, or name another folder by --state"
        )
    with stage(f"fetching the records of {paths.study}"):
        names = folder.names()
        if not {"study.json", "ablation.json"} & set(names):
            known = RemoteFolder(address, OPTION).folders()
            way_out = did_you_mean(paths.study, known) or f", which holds none; set {SETTING} where it is searched"
            raise SettingError(f"{OPTION}={address}: there is no study {paths.study}{way_out}")
        write_json(paths.root / FETCHED, {"address": address})
        _get(folder, [name for name in names if "/step-" not in name], paths.root)
    return StudyCopies(paths, folder)


def fetch_checkpoint(copies: StudyCopies, record: TrialRecord) -> None:
    """Fetches the checkpoint of a trial, unless it is here or the trial has none.

    Raises:
        EnvironmentFault: If the address refuses.
    """
    if record.checkpoint is None or Path(record.checkpoint).is_dir():
        return
    paths, checkpoint = copies.paths, Path(record.checkpoint)
    with stage(f"fetching {checkpoint.name} of trial {record.number}"):
        below = f"trials/{paths.trial(record.number).name}/{checkpoint.name}"
        _get(copies.folder, copies.folder.names(below), paths.root)


def _get(folder: RemoteFolder, names: Iterable[str], root: Path) -> None:
    """Reads files into a folder; those that are there are replaced when all have come."""
    root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".fetched.", dir=root))
    try:
        found = {name: scratch / name for name in names if _is_inside(name)}
        folder.get(found)
        for name, file in found.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, root / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_inside(name: str) -> bool:
    """Returns whether a name stays below its folder; an object store takes any name."""
    return not name.startswith("/") and ".." not in Path(name).parts
