"""The metrics of a study's driver for Prometheus: an own port on loopback, a target file, a snapshot that stays.

    <state>/prometheus/targets/<study>.json    where a study's driver and the nodes of its Ray listen; gone at its end
    <state>/prometheus/ended/<study>.prom      the last numbers of a study, also for node_exporter's textfile collector

Every driver also serves the snapshots of the studies of its state folder that no driver holds. Running trials alone
have series with a trial's number, so that their number is that of the trials at once, however many have ended.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.disk import size_of
from t5vqvae.files import atomic_write, write_json
from t5vqvae.tracking.outbox.journal import waiting
from tune.monitor.board import Board
from tune.monitor.row import Row
from tune.monitor.tally import PREFIX, Sample, Tally
from tune.records.study_paths import StudyPaths

if TYPE_CHECKING:
    from prometheus_client.core import Metric

HOST = "127.0.0.1"
SNAPSHOT_SECONDS = 30.0
"""Seconds between two snapshots; a driver that is killed loses as much."""
WALK_SHARE = 0.001
"""The most CPU time that looking through the study's folder may take, as a share of the driver's."""


class Exporter:
    """Exposes a study while its driver runs; use it as a context manager around the board.

    Args:
        paths: The study's files.
        tally: Counts its trials.
        board: Receives every trial; knows the time left.
        attempt: Which start of the study this is, from 1.
        driver: Further numbers of the driver by metric name, without the prefix.
    """

    def __init__(
        self,
        paths: StudyPaths,
        tally: Tally,
        board: Board,
        attempt: int,
        driver: Mapping[str, Callable[[], float]] = {},
    ) -> None:
        self.paths, self.tally, self.board, self.attempt = paths, tally, board, attempt
        self.driver = dict(driver)
        self.port = 0
        self.lost = 0.0
        self.progress = time.time()
        self._reported: dict[int, float] = {}
        self._spooled: set[int] = set()
        self._disk: float | None = None
        self._walk_after = 0.0
        self._ended_before = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Exporter:
        from prometheus_client import CollectorRegistry, start_http_server

        for row in list(self.board.rows.values()):
            self.tally.put(row)
        self._ended_before = self.tally.num_ended
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)  # type: ignore[arg-type]  # a collector is what has `collect`
        self._server, self._thread = start_http_server(0, HOST, registry)
        self.port = self._server.server_port
        self.name_targets([])
        self.board.seen.append(self.put)
        self._writer = threading.Thread(target=self._write_often, daemon=True)
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.seen.remove(self.put)
        self._ended.set()
        self._writer.join()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with suppress(OSError):
            self._target.unlink(missing_ok=True)
            self._walk_after = 0.0  # what stays of an ended study is its last size
            self._walk()
            self._write()

    def name_targets(self, nodes: Sequence[str]) -> None:
        """Writes where Prometheus finds this driver, and the nodes of its Ray, each as `host:port`.

        A killed driver leaves the file behind; by the labels an alert says whose driver does not answer, and on which
        machine: a Prometheus of another one, which shares the state folder, reaches none of it.
        """
        labels = {"job": "t5vqvae", "study": self.paths.study, "node": os.uname().nodename}
        own = {"targets": [f"{HOST}:{self.port}"], "labels": labels}
        ray = {"targets": list(nodes), "labels": {"job": "ray"}}
        write_json(self._target, [own, ray] if nodes else [own])

    def put(self, row: Row) -> None:
        """Receives what the board receives."""
        with self._lock:
            self.tally.put(row)
            self.progress = self._reported[row.number] = time.time()
            self._spooled.add(row.number)
            if row.number not in self.tally.running:
                del self._reported[row.number]

    def retried(self, number: int) -> None:
        """Notes that a trial begins again at its last checkpoint: the time since its last report is lost."""
        with self._lock:
            now = time.time()
            self.lost += now - self._reported.get(number, now)
            self._reported[number] = now

    def samples(self) -> list[Sample]:
        """Returns all numbers of this study."""
        with self._lock:
            return [*self.tally.samples(), *self._of_driver()]

    def collect(self) -> Iterator[Metric]:
        """Yields what Prometheus asks for: this study, and the snapshots of studies that no driver holds."""
        from prometheus_client.parser import text_string_to_metric_families

        yield from families(self.samples())
        kept: dict[str, Metric] = {}
        for path in sorted(self._snapshot.parent.glob("*.prom")):
            if path != self._snapshot and not replace(self.paths, study=path.stem).is_locked():
                with suppress(OSError, ValueError):
                    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
                        kept.setdefault(family.name, family).samples.extend(
                            [] if kept[family.name] is family else family.samples
                        )
        yield from kept.values()

    def _of_driver(self) -> Iterator[Sample]:
        waiting, oldest = self._outbox()
        numbers = {
            "attempt": self.attempt,
            "lost_seconds_total": self.lost,
            "last_progress_timestamp_seconds": self.progress,
            "outbox_bytes": waiting,
            "outbox_age_seconds": oldest,
            "disk_bytes": self._disk,
            "disk_free_bytes": shutil.disk_usage(self.paths.root).free,
            "trials_planned": self.board.trials,
            "trials_ended_in_attempt": self.tally.num_ended - self._ended_before,
            "time_left_seconds": self._seconds_left(),
            **{name: number() for name, number in self.driver.items()},
        }
        labels = {"study": self.paths.study}
        yield from (Sample(PREFIX + name, labels, float(value)) for name, value in numbers.items() if value is not None)

    def _outbox(self) -> tuple[int, float]:
        """Returns the bytes that wait for MLflow, and for how long it has taken none; forgets what was emptied."""
        files = _journals(self.paths.root)
        for number in list(self._spooled):
            found = _journals(self.paths.trial(number))
            files += found
            if not found and number not in self.tally.running:
                self._spooled.discard(number)
        sizes, times = list[int](), list[float]()
        for file in files:
            with suppress(OSError):
                size, since = waiting(file)
                sizes.append(size)
                times += [since] if size else []
        return sum(sizes), max(0.0, time.time() - min(times)) if times else 0.0

    def _seconds_left(self) -> float | None:
        """Returns the time left; only running trials are looked at, however many have ended."""
        shares = (row.at(self.board.live(row.number)).share for row in self.tally.running.values())
        return self.board.seconds_left(self.tally.num_ended + sum(shares))

    def _walk(self) -> None:
        """Measures the study's folder, which takes longer with each trial, unless it did so lately."""
        if process_seconds() < self._walk_after:
            return
        begin = time.thread_time()
        self._disk = float(size_of(self.paths.root))
        self._walk_after = process_seconds() + (time.thread_time() - begin) / WALK_SHARE

    @property
    def _target(self) -> Path:
        return target(self.paths)

    @property
    def _snapshot(self) -> Path:
        return snapshot(self.paths)

    def _write_often(self) -> None:
        while True:
            with suppress(OSError):  # a full disk ends no study for the sake of its metrics
                self._walk()  # here, where neither a scrape nor a trial waits for it
                self._write()
            if self._ended.wait(SNAPSHOT_SECONDS):
                return

    def _write(self) -> None:
        from prometheus_client.exposition import generate_latest

        class Once:
            def collect(_: Any) -> Iterable[Metric]:  # noqa: N805
                return families(self.samples())

        text = generate_latest(Once()).decode()
        self._snapshot.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._snapshot) as path:
            path.write_text(text, encoding="utf-8")


def _journals(directory: Path) -> list[Path]:
    """Returns what waits in a directory's spool for MLflow."""
    with suppress(OSError):  # there is none yet, or no more
        return [Path(entry.path) for entry in os.scandir(directory / "spool") if entry.name.endswith(".jsonl")]
    return []


def target(paths: StudyPaths) -> Path:
    """Returns the file that says where a study's driver listens."""
    return paths.state / "prometheus" / "targets" / f"{paths.study}.json"


def snapshot(paths: StudyPaths) -> Path:
    """Returns the file that keeps the last numbers of a study."""
    return paths.state / "prometheus" / "ended" / f"{paths.study}.prom"


def families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Yields the samples grouped by name, as gauges; what only grows, as a counter."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.name, []).append(sample)
    for name, group in groups.items():
        labels = list(group[0].labels)
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name.removesuffix("_total"), f"See dashboards/README.md: {name}", labels=labels)
        for sample in group:
            family.add_metric([sample.labels[label] for label in labels], sample.value)
        yield family


def process_seconds() -> float:
    """Returns the CPU time of this process."""
    times = os.times()
    return times.user + times.system
