"""The metrics of a server, for Prometheus: summed over all workers when `PROMETHEUS_MULTIPROC_DIR` names a folder.

Each worker counts in files of that folder. The files of a worker that ended stay, so no counter falls; what it alone
was (its queue, its model) goes. The variable must be set before `prometheus_client` is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from t5vqvae.serving.served_model import ServedModel

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServeMetrics:
    """Counts of one worker, and the page with those of all."""

    def __init__(self) -> None:
        self._folder = os.environ.get(FOLDER)
        self._own = None if self._folder else CollectorRegistry()
        own = self._own
        self._requests = Counter("t5vqvae_serve_requests", "Requests answered.", ["route", "status"], registry=own)
        self._latency = Histogram(
            "t5vqvae_serve_latency_seconds", "Time from a request to its answer.", ["route"], registry=own,
            buckets=SECONDS,
        )  # fmt: skip
        self._batches = Histogram(
            "t5vqvae_serve_batch_size", "Items that were computed together.", registry=own, buckets=SIZES
        )
        self._queue = Gauge("t5vqvae_serve_queue_length", "Items that wait.", registry=own, multiprocess_mode="livesum")
        self._model = Gauge(
            "t5vqvae_serve_model_info", "1 for each model that a worker serves.", ["name", "version"], registry=own,
            multiprocess_mode="livemax",
        )  # fmt: skip

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def batch(self, size: int) -> None:
        """Counts a batch."""
        self._batches.observe(size)

    def waiting(self, number: int) -> None:
        """Sets the length of the queue."""
        self._queue.set(number)

    def swapped(self, old: ServedModel | None, new: ServedModel) -> None:
        """Sets the model."""
        if old is not None:
            self._model.labels(**old.label).set(0)
        self._model.labels(**new.label).set(1)

    def page(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(_Served(self._collected()))
        return generate_latest(registry)

    def _collected(self) -> Iterable[Metric]:
        if self._own is not None:
            return self._own.collect()
        assert self._folder is not None
        _forget_ended(Path(self._folder))
        return MultiProcessCollector(CollectorRegistry(), self._folder).collect()


class _Served:
    """Metrics without times of creation, and without the models that no worker serves any more."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics:
            samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            if metric.name == "t5vqvae_serve_model_info":
                samples = [sample for sample in samples if sample.value]
            metric.samples = samples
            yield metric

    def describe(self) -> list[Metric]:
        return []


def _forget_ended(folder: Path) -> None:
    """Removes what ended workers alone were; their counts stay."""
    owners = {
        int(found[1]) for file in folder.glob("gauge_live*.db") if (found := re.search(r"_(\d+)\.db$", file.name))
    }
    for pid in owners:
        if not psutil.pid_exists(pid):
            mark_process_dead(pid, str(folder))
