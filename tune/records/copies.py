"""Copies of a study at the address `retention.copy_to`, which other machines promote and report from.

    ADDRESS/<study>/
      identity.json, study.json | ablation.json, runs.jsonl, report/
      trials/<number>/          record.json, step-*/; test.json and sentences.parquet once it is promoted

The state folder stays where a study lives. A trial is copied when it has ended, its record last: where there is a
record, all that it names is there. An address that is away costs no trial: what waits is copied when the study ends, or
at its next start.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError, EnvironmentFault, SettingError
from t5vqvae.files import read_mapping, write_json
from t5vqvae.stages import stage
from tune.records.background import BackgroundQueue
from tune.records.record import FILE, TrialRecord
from tune.records.remote_folder import RemoteFolder
from tune.records.study_paths import StudyPaths

if TYPE_CHECKING:
    from tune.spec.study_spec import StudySpec

SETTING = "retention.copy_to"
IDENTITY = "identity.json"
STUDY_FILES = (IDENTITY, "study.json", "ablation.json", "runs.jsonl")
COPIED = "copied.json"
"""The file of a folder that says what of it is at the address: each file's size and time."""
PAUSE_SECONDS = 60.0
"""How long an address that refused is left alone."""
WAIT_SECONDS = 24 * 3600.0
"""How long the end of a study waits for copies under way; a large checkpoint takes minutes, a signal ends the wait."""


class StudyCopies:
    """Copies what has ended of a study to an address, in its own thread.

    Args:
        paths: The study.
        folder: Its folder at the address.
    """

    def __init__(self, paths: StudyPaths, folder: RemoteFolder) -> None:
        self.paths = paths
        self.folder = folder
        self._queue: BackgroundQueue | None = None
        self._refused = -PAUSE_SECONDS

    @classmethod
    def of(cls, spec: StudySpec, paths: StudyPaths) -> StudyCopies | None:
        """Returns the copies of a study; None where its spec names no address."""
        address = spec.retention.copy_to
        return None if address is None else cls(paths, RemoteFolder(f"{address}/{paths.study}", SETTING))

    def check(self) -> None:
        """Refuses an address that cannot be written, or that holds another study of this name.

        Raises:
            SettingError: If it holds another study, or there is no driver for it.
            EnvironmentFault: If it refuses.
        """
        from t5vqvae.tracking.identity import stored_identity

        content = self.folder.read(IDENTITY)
        own = stored_identity(self.paths.root)
        if content is not None and _id_in(content) != (own.id if own else None):
            raise SettingError(
                f"{self.folder.said} holds a study of this name from another state folder; give the study another name"
                f" (name=...), or another {SETTING}"
            )
        with tempfile.NamedTemporaryFile() as probe:
            self.folder.put({".probe": Path(probe.name)})
        self.folder.remove([".probe"])

    def put(self, number: int | None = None) -> None:
        """Copies an ended trial, or the study's own files, and returns at once."""
        self._queue = self._queue or BackgroundQueue()
        self._queue.put(partial(self._try, number))

    def finish(self, numbers: Iterable[int]) -> None:
        """Copies what is missing of ended trials and of the study's own files; prints what has to wait.

        Args:
            numbers: The ended trials.
        """
        ended = [*sorted(numbers), None]
        with stage(f"copying to {self.folder.said.partition('=')[2]}") as now:
            if self._queue is not None:
                self._queue.finish(WAIT_SECONDS)
                self._queue = None
            for done, number in enumerate(ended):
                now.set(done, len(ended))
                try:
                    self._copy(number)
                except (EnvironmentFault, FileNotFoundError) as error:
                    print(f"{error}; {len(ended) - 1 - done} of {len(ended) - 1} trials are not verified there")
                    return

    def add(self, files: Iterable[Path]) -> None:
        """Copies files of the study's folder now, such as a report; prints why it cannot."""
        try:
            self.folder.put({str(file.relative_to(self.paths.root)): file for file in files})
        except EnvironmentFault as error:
            print(error)

    def _try(self, number: int | None) -> None:
        """Copies a trial, or the study's own files, unless the address refused just now; `finish` tries again."""
        if time.monotonic() - self._refused < PAUSE_SECONDS:
            return
        try:
            self._copy(number)
        except FileNotFoundError:  # a checkpoint that was deleted meanwhile: its trial comes again
            return
        except EnvironmentFault as error:
            self._refused = time.monotonic()
            print(error, flush=True)

    def _copy(self, number: int | None) -> None:
        if number is None:
            self._mirror(self.paths.root, _files_of_study(self.paths))
        else:
            self._mirror(self.paths.trial(number), _files_of_trial(self.paths.trial(number)))

    def _mirror(self, directory: Path, files: Iterable[Path]) -> None:
        """Makes the files of a directory equal at the address; deletes there what was copied before and is gone."""
        wanted = {str(file.relative_to(directory)): list(_stamp(file)) for file in files}
        known = self._known(directory)
        changed = [name for name, stamp in wanted.items() if known.get(name) != stamp]
        gone = [name for name in known if name not in wanted]
        if not changed and not gone:
            return
        below = directory.relative_to(self.paths.root)
        # First, as of unknown content: what a kill leaves there half copied is then known, to be replaced or deleted.
        self._note(directory, {**known, **dict.fromkeys(changed)})
        self.folder.put({os.path.normpath(below / name): directory / name for name in changed})
        self.folder.remove(os.path.normpath(below / name) for name in gone)
        self._note(directory, wanted)

    def _note(self, directory: Path, files: Mapping[str, list[int] | None]) -> None:
        write_json(directory / COPIED, {"address": self.folder.address, "files": files})

    def _known(self, directory: Path) -> dict[str, list[int] | None]:
        """Returns what of a directory is at the address: the size and time of each file; None: perhaps a part of it."""
        try:
            values = read_mapping(directory / COPIED)
        except (FileNotFoundError, DamagedFileError):
            return {}
        return dict(values["files"]) if values.get("address") == self.folder.address else {}


def _files_of_study(paths: StudyPaths) -> list[Path]:
    own = [paths.root / name for name in STUDY_FILES]
    report = sorted((paths.root / "report").rglob("*"))
    return [file for file in [*report, *reversed(own)] if file.is_file()]


def _files_of_trial(directory: Path) -> list[Path]:
    """Returns the files of an ended trial that are copied, its record last."""
    record = TrialRecord.read(directory)
    checkpoint = Path(record.checkpoint) if record.checkpoint else None
    inside = checkpoint is not None and checkpoint.is_relative_to(directory)
    weights = sorted(checkpoint.rglob("*")) if checkpoint is not None and inside else []
    return [file for file in [*weights, directory / "error.txt", directory / FILE] if file.is_file()]


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _id_in(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["id"])
    except (ValueError, KeyError, TypeError):
        return None
