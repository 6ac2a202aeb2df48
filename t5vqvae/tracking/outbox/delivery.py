"""Delivery: turns the journal entries of a run into few requests; sending an entry twice changes nothing.

An entry is a JSON object. Its `kind` is `run` (the run of all later entries; first in every journal), `log`, `tags` or
`params` (joined into one request), `artifact`, `data`, `final` or `close`. To add a kind, add the method `_<kind>`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking.identity import Identity
from t5vqvae.tracking.outbox.journal import Entry
from t5vqvae.tracking.outbox.receipt import Receipt
from t5vqvae.tracking.server.connection import NotMLflowError, is_permanent, one_line
from t5vqvae.tracking.server.destination import Destination
from t5vqvae.tracking.server.limits import against_tokens, as_param, as_tags, clean_name
from t5vqvae.tracking.server.runs import MLFLOW_STATUS, Kind, Opening, find, open_run

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

JOINED = ("log", "tags", "params")
MAX_METRICS, MAX_ENTITIES = 1000, 100  # MLflow's limits per request: metrics; parameters and tags


class NotYetError(Exception):
    """The run of an entry does not exist yet; a journal that is still to be sent will create it."""


class ArtifactStoreError(Exception):
    """The server is there, but its artifact store takes nothing: a driver, a permission or a folder is missing."""


class Delivery:
    """Sends the entries of one run in order; a failed call may be repeated as a whole.

    Attributes:
        receipt: What was sent.
        header: The entry that names the run.
        broken: Why the artifact store takes nothing; None while it does.
        spool: The folder of the journal that is sent.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.mlflow_id: str | None = None
        self.receipt = Receipt()
        self.header: Entry | None = None
        self.broken: str | None = None
        self.spool: Path | None = None
        self._params: dict[str, str] | None = None
        self._steps: set[int] | None = None

    def send(self, entries: Sequence[Entry]) -> None:
        """Sends a group of entries from `next_group`.

        Raises:
            NotYetError: If the run does not exist yet.
            Exception: What MLflow raises; a retry may succeed unless `is_permanent` is true for it.
        """
        try:
            self._dispatch(entries)
        except Exception as error:
            if not is_permanent(error):
                self._steps = None  # the request may have arrived although its answer did not
                raise
            if not self._reopened():
                raise
            self._dispatch(entries)

    def confirm(self) -> None:
        """Checks that the server has what was sent.

        Raises:
            NotMLflowError: If something is missing.
        """
        if self.mlflow_id is not None:
            self.receipt.confirm(self.destination, self.mlflow_id)

    def restart(self) -> None:
        """Forgets what the server has, before a journal is sent again from its first entry."""
        self._steps, self._params, self.receipt = None, None, Receipt()

    def _dispatch(self, entries: Sequence[Entry]) -> None:
        if entries[0]["kind"] in JOINED:
            self._batch(entries)
        else:
            getattr(self, f"_{entries[0]['kind']}")(entries[0])

    def _reopened(self) -> bool:
        """Finds or makes the run anew if it was deleted in MLflow; returns whether it was deleted."""
        header = self.header
        if header is None or self.mlflow_id is None or self.destination.has(self.mlflow_id):
            return False
        if not (header.get("opening") or header.get("key")):
            return False
        self.destination.forget()
        self._run({**header, "mlflow_id": None})
        return True

    def _run(self, entry: Entry) -> None:
        self._steps = self._params = None
        self.header = entry
        if entry.get("opening"):
            opening = opening_of(entry, self.destination)
            opened = open_run(self.destination, opening)
            self.mlflow_id, self._params = opened.mlflow_id, dict(opened.params)
            self._steps = set() if opened.created else None
        elif entry.get("mlflow_id"):
            self.mlflow_id = entry["mlflow_id"]
            self._steps = set() if entry.get("created") else None
        else:
            kind: Kind = entry.get("of", "trial")
            run = find(self.destination, kind, entry["key"], identity_in(entry, self.destination))
            if run is None:
                raise NotYetError(f"no run of {entry['key']} yet")
            self.mlflow_id = run.info.run_id

    def _batch(self, entries: Sequence[Entry]) -> None:
        """Sends metrics, tags and parameters, in one request where they fit into one."""
        from mlflow.entities import Metric, Param, RunTag

        steps: list[int] = []
        metrics: list[Metric] = []
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        for entry in entries:
            if entry["kind"] == "log" and entry["step"] not in self._known_steps() and entry["step"] not in steps:
                steps.append(entry["step"])
                metrics += [Metric(name, value, entry["time"], step) for name, value, step in points(entry)]
            elif entry["kind"] == "params":
                params |= {clean_name(name): as_param(value) for name, value in entry["params"].items()}
            elif entry["kind"] == "tags":
                tags |= as_tags(entry["tags"])
        params, changed = self._split_params(params)
        tags |= changed
        new_params, new_tags = [Param(*item) for item in params.items()], [RunTag(*item) for item in tags.items()]
        for start in range(0, max(len(metrics[::10]), len(new_params), len(new_tags)), MAX_ENTITIES):
            end = start + MAX_ENTITIES  # a request takes ten times as many metrics
            self._log(metrics[10 * start : 10 * end], new_params[start:end], new_tags[start:end])
        if steps:
            self._known_steps().update(steps)
        if self._params is not None:
            self._params |= params
        self.receipt.steps.update(steps)
        self.receipt.params.update(params)
        self.receipt.tags |= tags

    def _log(self, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        self.destination.client.log_batch(self.run_id, metrics=metrics, params=params, tags=tags)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; raises NotYetError before it is known."""
        if self.mlflow_id is None:
            raise NotYetError("the journal names no run")
        return self.mlflow_id

    def _known_steps(self) -> set[int]:
        """Returns the steps that MLflow has of this run; requests them only when this process cannot know them."""
        if self._steps is None:
            history = self.destination.client.get_metric_history(self.run_id, STEP)  # every batch has this metric
            if not history and self.destination.remote and STEP in self.destination.run(self.run_id).data.metrics:
                raise NotMLflowError(f"the history of run {self.run_id} is empty, and its last step is not")
            self._steps = {metric.step for metric in history}
        return self._steps

    def _split_params(self, params: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Returns the parameters to log, and tags `now.<name>` for those that MLflow has with another value."""
        if self._params is None and params:
            self._params = dict(self.destination.run(self.run_id).data.params)
        had = self._params or {}
        new = {name: value for name, value in params.items() if name not in had}
        changed = {f"now.{name}": value for name, value in params.items() if had.get(name, value) != value}
        return new, changed

    def _artifact(self, entry: Entry) -> None:
        path, client = self._place(entry), self.destination.client
        if not path.exists():
            raise FileNotFoundError(f"{path} is gone")
        if self.broken is not None:
            raise ArtifactStoreError(self.broken)
        if self.destination.remote:
            self.destination.run(self.run_id)  # MLflow keeps the artifact address that it reads, also from nonsense
        try:
            if path.is_dir():
                client.log_artifacts(self.run_id, str(path), entry["folder"])
            else:
                client.log_artifact(self.run_id, str(path), entry["folder"])
        except Exception as error:
            if self.destination.has(self.run_id):  # else it is the server that is away, or the run
                self.broken = one_line(error)
                raise ArtifactStoreError(self.broken) from error
            raise
        if not path.is_dir():
            self.receipt.artifacts.add((entry["folder"] or "", path.name))
        if entry["temporary"]:
            self.receipt.temporary.append(path)

    def _place(self, entry: Entry) -> Path:
        """Returns where an artifact lies; the spool may have moved since the entry was written."""
        path = Path(entry["path"])
        if not entry["temporary"] or self.spool is None:
            return path
        moved = self.spool / "files" / path.parent.name / path.name
        return moved if moved.exists() else path

    def _data(self, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=entry["name"],
            digest=entry["fingerprint"][:36],
            source_type="t5vqvae",
            source=json.dumps(entry["source"]),
            profile=json.dumps(entry["profile"]) if entry["profile"] else None,
        )
        tags = [InputTag("mlflow.data.context", entry["context"])]
        self.destination.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])
        self.receipt.datasets.add(entry["name"])

    def _close(self, entry: Entry) -> None:
        """Sets final metrics, tags and status."""
        from mlflow.entities import RunTag

        tags = as_tags({**entry["tags"], "status": entry["status"]})
        self._log(self._final_points(entry), [], [RunTag(*item) for item in tags.items()])
        self.destination.client.set_terminated(self.run_id, MLFLOW_STATUS[entry["status"]], entry["time"])
        self.receipt.tags |= tags
        self.receipt.closed_at = entry["time"]

    def _final(self, entry: Entry) -> None:
        metrics = self._final_points(entry)
        if metrics:
            self._log(metrics, [], [])

    def _final_points(self, entry: Entry) -> list[Metric]:
        """Returns the points of metrics without a training step; a point's step counts the metric's earlier values."""
        from mlflow.entities import Metric

        metrics = []
        for name, value in entry["metrics"].items():
            history = self.destination.client.get_metric_history(self.run_id, name)
            if not history or max(history, key=lambda metric: metric.step).value != value:
                step = 1 + max((metric.step for metric in history), default=-1)
                model = {"model_id": entry["model_id"], "run_id": self.run_id} if entry.get("model_id") else {}
                metrics.append(Metric(name, value, entry["time"], step, **model))
        self.receipt.finals |= entry["metrics"]
        return metrics


def identity_in(entry: Entry, destination: Destination) -> Identity | None:
    """Returns whose run an entry names; an entry of before identities belongs to the destination's."""
    values = entry.get("identity")
    return Identity(**values) if values else destination.identity


def opening_of(entry: Entry, destination: Destination) -> Opening:
    """Returns the opening in an entry."""
    values = entry["opening"]
    return Opening(**{**values, "identity": identity_in(values, destination)})


def points(entry: Entry) -> list[tuple[str, float, int]]:
    """Returns the name, value and step of each point of a `log` entry, against steps and against tokens seen."""
    metrics = {**entry["metrics"], STEP: float(entry["step"])}
    series = [(name, value, entry["step"]) for name, value in metrics.items()]
    if entry["tokens"] is not None:
        series += [(name, value, entry["tokens"]) for name, value in against_tokens(metrics).items()]
    return series


def next_group(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Returns the first entries that fit into one request: several if their kinds can be joined, else one."""
    num_metrics, count = 0, 0
    for entry in entries:
        if entry["kind"] not in JOINED:
            break
        num_metrics += len(points(entry)) if entry["kind"] == "log" else 0
        if count and num_metrics > MAX_METRICS:
            break
        count += 1
    return entries[: max(1, count)]
