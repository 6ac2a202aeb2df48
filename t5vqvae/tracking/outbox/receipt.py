"""The receipt of a journal: what was sent of it, compared with what the server has.

A proxy whose server is away may answer `200 {}`, which is MLflow's own answer to a batch of metrics. A journal is
therefore deleted only after the server was read back. That takes a few requests a run, and none for a database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking.server.connection import NotMLflowError
from t5vqvae.tracking.server.destination import NOTE, Destination
from t5vqvae.tracking.server.runs import NAME

CHANGING = ("status", "mlflow.parentRunId", NOTE, NAME)
"""Tags that other processes, or readers in MLflow, change, too."""


@dataclass
class Receipt:
    """What a journal's entries set.

    Attributes:
        steps: Steps of milestones.
        params: Names of parameters.
        tags: Tags.
        finals: Metrics without a training step.
        datasets: Names of data sets.
        artifacts: Folder and name of each artifact.
        closed_at: Time of the last close (ms); None without one.
        temporary: Copies in the spool, deleted once the server has the artifacts.
    """

    steps: set[int] = field(default_factory=set)
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    finals: dict[str, float] = field(default_factory=dict)
    datasets: set[str] = field(default_factory=set)
    artifacts: set[tuple[str, str]] = field(default_factory=set)
    closed_at: int | None = None
    temporary: list[Path] = field(default_factory=list)

    def confirm(self, destination: Destination, mlflow_id: str) -> None:
        """Checks that the server has everything, and deletes the copies of artifacts in the spool.

        Raises:
            NotMLflowError: If something is missing; the journal is then sent again.
        """
        if destination.remote and self != Receipt():
            missing = list(self._missing(destination, mlflow_id))
            if missing:
                raise NotMLflowError(f"it took {', '.join(missing)} and does not have it: a proxy may answer there")
        for copy in self.temporary:
            copy.unlink(missing_ok=True)
        self.temporary.clear()

    def _missing(self, destination: Destination, mlflow_id: str) -> Iterable[str]:
        run = destination.run(mlflow_id)
        if self.steps:
            history = destination.client.get_metric_history(mlflow_id, STEP)
            lost = self.steps - {metric.step for metric in history}
            yield from (f"step {step}" for step in sorted(lost)[:1])
        yield from (f"parameter {name}" for name in sorted(self.params - run.data.params.keys())[:1])
        changed = [name for name, value in self.tags.items() if run.data.tags.get(name) != value]
        yield from (f"tag {name}" for name in changed[:1] if name not in CHANGING)
        finals = [name for name, value in self.finals.items() if run.data.metrics.get(name) != value]
        yield from (f"metric {name}" for name in finals[:1])
        there = {given.dataset.name for given in run.inputs.dataset_inputs} if run.inputs else set()
        yield from (f"data set {name}" for name in sorted(self.datasets - there)[:1])
        if self.closed_at is not None and (run.info.end_time or 0) < self.closed_at:
            yield "the run's end"
        yield from self._missing_artifacts(destination, mlflow_id)

    def _missing_artifacts(self, destination: Destination, mlflow_id: str) -> Iterable[str]:
        for folder in sorted({folder for folder, _ in self.artifacts}):
            listed = destination.client.list_artifacts(mlflow_id, folder or None)
            there = {PurePosixPath(file.path).name for file in listed}
            lost = {name for place, name in self.artifacts if place == folder} - there
            yield from (f"artifact {name}" for name in sorted(lost)[:1])
