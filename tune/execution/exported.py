"""The metrics of a driver while it runs trials: an own port (`tune.monitor.exporter`), and Ray's for aggregates."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import ray

from tune.execution.gpu_packing import GPUPackingSearcher
from tune.execution.trial import ATTEMPT
from tune.monitor.exporter import Exporter, process_seconds
from tune.monitor.tally import Sample, Tally
from tune.records.events import StudyEvents
from tune.records.study_paths import StudyPaths
from tune.spec.judging import Judging
from tune.spec.search_spec import SearchSpec
from tune.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from ray.util.metrics import Gauge

    from tune.execution.recorder import TrialRecorder
    from tune.execution.searcher import TrialSearcher
    from tune.monitor.board import Board

RAY_SECONDS = 15.0
"""Seconds between two reports of the aggregates to Ray."""


@contextmanager
def exported(
    spec: StudySpec, paths: StudyPaths, board: Board, searcher: TrialSearcher, recorder: TrialRecorder
) -> Iterator[None]:
    """Exposes a study until the block ends. A port that cannot be had ends no study."""
    exporter = _exporter(spec, paths, board, searcher, recorder)
    with ExitStack() as stack:
        try:
            stack.enter_context(exporter)
        except OSError as error:
            print(f"no metrics for Prometheus in this start: {error}", file=sys.stderr)
        else:
            recorder.on_retry = exporter.retried
            stack.enter_context(_told_to_ray(exporter))
        yield


@contextmanager
def _told_to_ray(exporter: Exporter) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=_to_ray, args=(exporter, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=RAY_SECONDS)


def _exporter(
    spec: StudySpec, paths: StudyPaths, board: Board, searcher: TrialSearcher, recorder: TrialRecorder
) -> Exporter:
    search = spec if isinstance(spec, SearchSpec) else None
    judging = search or Judging(objectives=(spec.objective,))  # type: ignore[attr-defined]  # of an ablation
    tally = Tally(spec.name, judging, [] if search is None else search.rungs)
    begin = process_seconds()
    driver = {
        "sampler_seconds_total": lambda: searcher.source_seconds,
        "driver_seconds_total": lambda: process_seconds() - begin,
    }
    if isinstance(searcher, GPUPackingSearcher):
        driver["gpu_share"] = lambda: _largest_share(searcher)
        driver["gpu_out_of_memory_total"] = lambda: float(recorder.num_out_of_memory)
    return Exporter(paths, tally, board, StudyEvents(paths.root).num_starts, driver)


def _largest_share(searcher: GPUPackingSearcher) -> float:
    return max((config[ATTEMPT].gpus for config in list(searcher.live.values())), default=0.0)


def _to_ray(exporter: Exporter, ended: threading.Event) -> None:
    gauges: dict[str, Gauge] = {}
    named: list[str] = []
    while True:
        with suppress(Exception):  # neither a full disk nor a head that is away ends the reports
            if (nodes := _nodes()) != named:  # one that joins later is scraped, too
                exporter.name_targets(nodes)
                named = nodes
        if ended.wait(RAY_SECONDS):
            return
        for sample in exporter.samples():
            if "trial" not in sample.labels:
                _report(gauges, sample)


def _nodes() -> list[str]:
    """Returns where the living nodes of Ray give their metrics."""
    alive = [node for node in ray.nodes() if node["Alive"] and node["MetricsExportPort"]]
    return sorted(f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in alive)


def _report(gauges: dict[str, Gauge], sample: Sample) -> None:
    from ray.util.metrics import Gauge

    if sample.name not in gauges:
        gauges[sample.name] = Gauge(sample.name, "See dashboards/README.md.", tag_keys=tuple(sample.labels))
    gauges[sample.name].set(sample.value, dict(sample.labels))
