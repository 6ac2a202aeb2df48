"""The folders of studies, the same from every directory and from inside a Ray job.

    var/
      cache/                     tokenized data, once a node
      mlflow.db, artifacts/      tracking, unless MLFLOW_TRACKING_URI says otherwise
      studies/<study>/
        study.json, optuna.journal, events.jsonl, lock
        trials/<number>/         step-*/, record.json, spool/, error.txt
        fresh/<number>-seed-<S>/ the same, of a trial that a promotion trained again with another seed

`ray job submit --working-dir .` unpacks a copy of the project into a folder that Ray deletes: state must not lie there.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.files import copy_of, held

VARIABLE = "T5VQVAE_STATE"
CODE_ROOT = Path(__file__).resolve().parents[2]


def state_dir(explicit: Path | str | None = None) -> Path:
    """Returns the absolute state folder.

    In this order: `explicit`; the environment variable T5VQVAE_STATE; `var/` of the project this code lies in; when
    this code is a job's unpacked copy or an installed package, `var/` of the project that was installed from a
    folder; `~/.t5vqvae`.
    """
    configured = explicit or os.environ.get(VARIABLE)
    if configured:
        return Path(configured).expanduser().resolve()
    if _is_project(CODE_ROOT) and not _is_unpacked_job(CODE_ROOT):
        return CODE_ROOT / "var"
    installed = _installed_from()
    if installed is not None and _is_project(installed):
        return installed / "var"
    return Path.home() / ".t5vqvae"


def _is_project(root: Path) -> bool:
    return (root / "pyproject.toml").exists()


def _is_unpacked_job(root: Path) -> bool:
    return any(part.startswith("_ray_pkg_") or part == "working_dir_files" for part in root.parts)


def _installed_from() -> Path | None:
    """Returns the folder that pip installed this project from, as PEP 610 records it."""
    try:
        text = metadata.distribution("t5vqvae").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(text)["url"]) if text else None
    return Path(unquote(url.path)) if url is not None and url.scheme == "file" else None


def is_there(file: Path) -> bool:
    """Returns whether a study's file is there, or the copy that restores it."""
    return file.is_file() or copy_of(file).is_file()


def trial_key(study: str, number: int) -> str:
    """Returns the name of a trial in its experiment."""
    return f"{study}/{number:05d}"


def _this_process() -> str:
    """Returns what others receive as the holder of a study: process and machine, and the Ray job that it is."""
    process = f"process {os.getpid()} on {os.uname().nodename}"
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("metadata", {}).get("job_submission_id")
    return f"{process}, the Ray job {job} (ray job stop {job})" if job else process


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study under the state folder."""

    state: Path
    study: str

    @classmethod
    def existing(cls, state: Path, study: str, *, named_by: str = "", ablations: bool = False) -> StudyPaths:
        """Returns the files of a study that has been started.

        Args:
            state: The state folder.
            study: Name of a search.
            named_by: The setting or option that names the study, for the error.
            ablations: Whether it may also be an ablation.

        Raises:
            SettingError: If there is no such study; the nearest name is suggested.
        """
        if study in ("", ".", "..") or "/" in study or len(study) > 100:
            raise SettingError(f"{named_by or 'STUDY'}: {study!r} is no study's name; give the name, not a path")
        paths = cls(state, study)
        if is_there(paths.spec) or (ablations and is_there(paths.ablation)):
            return paths
        where = f"{named_by}: " if named_by else ""
        if is_there(paths.ablation):
            raise SettingError(f"{where}study {study} is an ablation; name a search instead")
        files = ["study.json", *(["ablation.json"] if ablations else [])]
        known = {path.parent.name for file in files for path in paths.root.parent.glob(f"*/{file}")}
        way_out = did_you_mean(study, known) or ", which holds none; search it first, or name another folder by --state"
        raise SettingError(f"{where}there is no study {study} under {paths.root.parent}{way_out}")

    def other(self, study: str) -> StudyPaths:
        """Returns the files of another study under the same state folder, to learn from (`--from`).

        Raises:
            SettingError: If there is no such study, or it is this one.
        """
        if study == self.study:
            raise SettingError(f"--from: {study} is the study itself, whose trials count already; name another study")
        return StudyPaths.existing(self.state, study, named_by="--from")

    @property
    def ended(self) -> set[int]:
        """Numbers of the trials that have a record."""
        return {int(folder.name) for folder in self.trials.glob("[0-9]*") if (folder / "record.json").is_file()}

    @property
    def root(self) -> Path:
        return self.state / "studies" / self.study

    @property
    def spec(self) -> Path:
        return self.root / "study.json"

    @property
    def ablation(self) -> Path:
        return self.root / "ablation.json"

    @property
    def storage(self) -> Path:
        return self.root / "optuna.journal"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    def trial(self, number: int) -> Path:
        return self.trials / f"{number:05d}"

    @property
    def fresh(self) -> Path:
        """The runs of trials that were trained again with another seed; see `fresh_runs.py`."""
        return self.root / "fresh"

    def is_locked(self) -> bool:
        """Returns whether a driver holds the study."""
        try:
            with (self.root / "lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no driver has ever been here
            return False
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the study for one driver; the lock falls with the process that holds it, however it ends.

        Raises:
            UserError: If another driver holds it.
        """
        way_out = "wait for it, stop it, or give this study another name (name=...)"
        with held(self.root / "lock", f"study {self.study} is being searched", way_out, _this_process()):
            yield
