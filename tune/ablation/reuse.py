"""Finds existing results of a run, by its run id, in the records of other studies and in MLflow.

Run ids hash the settings, the data, the precision and the source of `t5vqvae`: the same id means the same result. The
ended runs of all studies under the state folder come first, then the runs in MLflow, also of other machines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import TrackingError, UserError
from t5vqvae.spec.run import RunSpec
from tune.ablation.findings import TAKEN
from tune.execution.ray_cluster import precision_on_cluster
from tune.execution.trial import TrialPlan
from tune.records.record import FILE, TrialRecord
from tune.records.study_paths import StudyPaths

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker

TRUE_RESULTS = ("completed", "diverged")
"""The statuses of a run that ended by itself; a pruned or failed run may end otherwise when it starts again."""


class ResultCache:
    """Looks for results outside a study.

    Args:
        paths: The study; its records are left out.
        tracker: The tracker whose runs count too; None: records only.
    """

    def __init__(self, paths: StudyPaths, tracker: Tracker | None) -> None:
        self.tracker = tracker
        self._records: dict[str, TrialRecord] = {}
        self._asked: dict[str, TrialRecord | None] = {}
        for file in sorted(paths.root.parent.glob(f"*/trials/*/{FILE}")):
            if paths.root not in file.parents:
                self._note(file.parent)

    def __call__(self, run_id: str) -> TrialRecord | None:
        """Returns a completed or diverged run of this id, tagged `taken_from`; None if there is none."""
        if run_id in self._records:
            return self._records[run_id]
        if run_id not in self._asked:
            self._asked[run_id] = self._ask(run_id)
        return self._asked[run_id]

    def _note(self, folder: Path) -> None:
        try:
            record = TrialRecord.read(folder)
        except UserError:
            return  # a command on that study reports it
        if record.run_id and record.status in TRUE_RESULTS and TAKEN not in record.tags:
            origin = f"study {record.study}, run {record.number}"
            self._records.setdefault(record.run_id, replace(record, tags={**record.tags, TAKEN: origin}))

    def _ask(self, run_id: str) -> TrialRecord | None:
        try:
            found = None if self.tracker is None else self.tracker.find_result(run_id)
        except TrackingError:
            return None  # no answer: the run is trained
        if found is None:
            return None
        steps, metrics = int(found.metrics.get("progress/step", 0)), dict(found.metrics)
        tags = {TAKEN: f"MLflow run {found.mlflow_id}"}
        return TrialRecord("", 0, {}, run_id, found.mlflow_id, found.status, steps, metrics, tags=tags)


def identifier(
    plan: TrialPlan, fingerprint: Callable[[RunSpec], str], *, any_version: bool = False
) -> Callable[[RunSpec], str]:
    """Returns a function from a run's spec to its run id, before it is trained.

    Args:
        plan: The plan of the study; the device of its runs decides the precision.
        fingerprint: Returns the fingerprint of a spec's data.
        any_version: Whether the id is `RunSpec.settings_id`, whatever the version of the trainer.
    """
    known: dict[str, str] = {}

    def identify(spec: RunSpec) -> str:
        asked = spec.train.precision
        if asked not in known:
            known[asked] = precision_on_cluster(plan.gpus, spec)
        named = spec.settings_id if any_version else spec.run_id
        return named(fingerprint(spec), known[asked])

    return identify


def prepared_fingerprint(plan: TrialPlan) -> Callable[[RunSpec], str]:
    """Returns a function that prepares a spec's data, once for each, and returns its fingerprint."""
    from t5vqvae.data import prepare

    known: dict[str, str] = {}

    def fingerprint(spec: RunSpec) -> str:
        backbone = spec.model.backbone
        asked = json.dumps([spec.data.as_dict(), backbone], sort_keys=True)
        if asked not in known:
            known[asked] = prepare(spec.data, plan.paths.cache, backbone=backbone).fingerprint
        return known[asked]

    return fingerprint
