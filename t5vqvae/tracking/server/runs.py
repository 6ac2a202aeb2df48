"""Runs of an experiment: found by a key in their tags, or created, so that a second request returns the same run.

MLflow chooses its own run ids. Without a key, a process that died after creating a run and before storing its id would
create a second one at its next start. Tags: `t5vqvae.key`, by which a run is found, holds the study's identity and the
run's name; `t5vqvae.study_id` is the identity, `t5vqvae.kind` is `study` or `trial`, `t5vqvae.<kind>` the name. Runs of
before identities, and those of a tracker without one, have a name alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from t5vqvae.errors import TrackingError
from t5vqvae.tracking.identity import Identity
from t5vqvae.tracking.server.connection import NotMLflowError, is_permanent, known_id
from t5vqvae.tracking.server.destination import Destination
from t5vqvae.tracking.server.limits import as_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

Kind = Literal["study", "trial"]

MLFLOW_STATUS = {
    "running": "RUNNING",
    "completed": "FINISHED",
    "pruned": "FINISHED",  # it was stopped as planned; MLflow paints KILLED red, like a crash
    "interrupted": "KILLED",
    "failed": "FAILED",
    "diverged": "FAILED",
}
"""MLflow's status for each of ours; MLflow has fewer, so the tag `status` holds ours."""


NAME = "mlflow.runName"
TRAINING_PAGES = "workflowType=machine_learning"
"""The query of links to MLflow's pages: since 3.17 the reader's browser has a mode of its own, which the tag does not
change, and which is that of language-model traces at first."""


def now() -> int:
    """Returns the time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Opening:
    """The request to open a run: the key to find it by, and the values to create it with.

    Attributes:
        kind: A study or a trial.
        key: The run's permanent name, unique in the experiment.
        name: The name in the UI.
        parent_id: MLflow's id of the parent run.
        params: Flat settings.
        tags: Further tags.
        time: Time of the request (ms); a run that was closed later is not set to running again.
        identity: Whose run it is; None: it is found by its key alone.
    """

    kind: Kind
    key: str
    name: str
    parent_id: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    time: int = field(default_factory=now)
    identity: Identity | None = None

    def all_tags(self) -> dict[str, str]:
        """Returns the tags with which the run is created."""
        own = {"t5vqvae.kind": self.kind, f"t5vqvae.{self.kind}": self.key, "mlflow.source.name": "t5vqvae"}
        parent = {"mlflow.parentRunId": self.parent_id}
        return as_tags({**self.tags, **parent, **own, **self.identity_tags(), "status": "running"})

    def identity_tags(self) -> dict[str, str]:
        """Returns the tags that make a run this study's own."""
        if self.identity is None:
            return {}
        tags = {"t5vqvae.key": self.identity.key(self.kind, self.key), "t5vqvae.study_id": self.identity.id}
        return tags | ({"t5vqvae.copied_from": self.identity.copied_from} if self.identity.copied_from else {})


@dataclass(frozen=True)
class _Opened:
    """An open run: its id, whether it is new, and the parameters it already had (MLflow never changes them)."""

    mlflow_id: str
    created: bool
    params: Mapping[str, str]


def find(destination: Destination, kind: Kind, key: str, identity: Identity | None) -> Run | None:
    """Returns the oldest run with a key, or None.

    Args:
        destination: The server and the experiment.
        kind: A study or a trial.
        key: The run's permanent name.
        identity: Whose run it is; None: anyone's, by its name alone.
    """
    if identity is None:
        return next(iter(_named(destination, kind, key)), None)
    # One condition, because each makes MLflow read a tag of all runs.
    found = _search(destination, f"tags.`t5vqvae.key` = '{identity.key(kind, key)}'", 1)
    if not found and identity.adopts and "'" not in key:
        found = [run for run in _named(destination, kind, key) if "t5vqvae.key" not in run.data.tags]
    return found[0] if found else None


def _named(destination: Destination, kind: Kind, key: str) -> list[Run]:
    if "'" in key:
        raise TrackingError(
            f"the name {key!r} contains a quote, which MLflow cannot search for; use a name without quotes"
        )
    condition = f"tags.`t5vqvae.{kind}` = '{key}'"
    if kind == "study":  # trials have the study's tag, too
        condition += " AND tags.`t5vqvae.kind` = 'study'"
    return _search(destination, condition, 100)


def _search(destination: Destination, condition: str, limit: int) -> list[Run]:
    found = destination.client.search_runs(
        [destination.find_or_create()], condition, max_results=limit, order_by=["attributes.start_time ASC"]
    )
    for run in found:
        known_id(run.info.run_id)
    return list(found)


def open_run(destination: Destination, opening: Opening) -> _Opened:
    """Finds or creates a run and sets it to running, unless it was closed after the time of the request."""
    try:
        return _open_run(destination, opening)
    except Exception as error:
        if not is_permanent(error) or isinstance(error, TrackingError):
            raise
        destination.forget()  # the experiment was deleted since this process used it
        return _open_run(destination, opening)


def _open_run(destination: Destination, opening: Opening) -> _Opened:
    client, run = destination.client, find(destination, opening.kind, opening.key, opening.identity)
    if run is None:
        return _create_run(destination, opening)
    mlflow_id = run.info.run_id
    if "t5vqvae.key" not in run.data.tags:
        for name, value in opening.identity_tags().items():
            client.set_tag(mlflow_id, name, value)
    if opening.parent_id and run.data.tags.get("mlflow.parentRunId") != opening.parent_id:
        client.set_tag(mlflow_id, "mlflow.parentRunId", opening.parent_id)  # the study's run was made anew
    if run.info.status != "RUNNING" and (run.info.end_time or 0) <= opening.time:
        client.update_run(mlflow_id, "RUNNING")
        client.set_tag(mlflow_id, "status", "running")
    return _Opened(mlflow_id, False, run.data.params)


def _create_run(destination: Destination, opening: Opening) -> _Opened:
    client = destination.client
    created = client.create_run(
        destination.find_or_create(), start_time=opening.time, tags=opening.all_tags(), run_name=opening.name
    )
    mlflow_id = known_id(created.info.run_id)
    if destination.remote:  # a proxy may have answered the search for the run with nothing
        oldest = find(destination, opening.kind, opening.key, opening.identity)
        if oldest is None:
            raise NotMLflowError(f"MLflow does not find the run {mlflow_id}, which it has just made")
        if oldest.info.run_id != mlflow_id:
            client.delete_run(mlflow_id)
            return _Opened(oldest.info.run_id, False, oldest.data.params)
    return _Opened(mlflow_id, True, {})


def children(destination: Destination, parent_id: str, status: str | None = None) -> dict[str, str]:
    """Returns `{key: MLflow id}` of a study's trials, for each key the oldest run.

    Args:
        destination: The server and the experiment.
        parent_id: MLflow's id of the study's run.
        status: MLflow's status of the trials to return; None: all.
    """
    client, experiments, token = destination.client, [destination.find_or_create()], None
    found: dict[str, str] = {}
    condition = f"tags.`mlflow.parentRunId` = '{parent_id}'"
    if status is not None:
        condition += f" AND attributes.status = '{status}'"
    while True:
        page = client.search_runs(
            experiments, condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token
        )
        found |= {run.data.tags.get("t5vqvae.trial", run.info.run_id): run.info.run_id for run in page}
        token = page.token
        if not token:
            return found
