"""What the exporter costs the driver of a search at ten thousand trials: CPU time a trial with it and without it.

    python -m tests.benchmarks.exporter_cost [--earlier 10000] [--block 30] [--pairs 12] [--output FILE.md]

One driver (`search_thin.py`, without MLflow and Ray, so that its own time is small) goes on from a study of `earlier`
ended trials, whose folders are on the disk. Blocks of trials with the exporter and without it take turns, a pair in
either order; in blocks without it, it idles. Time is compressed to a trial a second: there are a scrape over HTTP and a
report to Ray every 15 trials, and a snapshot every 30, as there are that often in seconds. The exporter walks over the
disk at its start, and then when the driver has used so much CPU time that a walk is `WALK_SHARE` of it; this share is
added to what is counted.

CPU time is that of the driver's process, all its threads; another process scrapes. What the exporter takes is counted
call by call, too: the difference of two times of hundreds of trials is a noisy number.
"""

# ruff: noqa: E501  # rows of the table

from __future__ import annotations

import math
import multiprocessing
import statistics
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.benchmarks.search_scale import STUB, study
from tests.benchmarks.search_tables import described, parser, write
from tests.benchmarks.search_thin import run_thin
from tune.execution import exported
from tune.execution.recorder import TrialRecorder
from tune.execution.searcher import TrialSearcher
from tune.monitor.board import Board
from tune.monitor.exporter import SNAPSHOT_SECONDS, WALK_SHARE, Exporter
from tune.monitor.row import Row
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths

SCRAPE_EVERY, SNAPSHOT_EVERY, REPORT_EVERY = 15, int(SNAPSHOT_SECONDS), int(exported.RAY_SECONDS)
"""Trials between two of each, at a trial a second."""
FILES = ("seconds.json", "spec.json", "owner")
"""What an ended trial leaves besides its record."""
START = "start"
WHOLE = 45.4
"""The CPU time a trial, in ms, of a driver with Ray and MLflow over ten thousand trials: `results/search_scale.md`."""


@dataclass
class Blocks:
    """Turns the exporter on and off between blocks of trials and keeps each block's CPU time.

    Attributes:
        ask: The process that scrapes.
        length: Trials of a block.
        seconds: The CPU time a trial of each block, by whether the exporter was on; pairs have the same place.
        counted: CPU time that the exporter took, by what for.
        calls: How often each of those was.
        pages: The bytes of each scrape.
    """

    paths: StudyPaths
    ask: Connection
    length: int
    seconds: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    counted: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    pages: list[int] = field(default_factory=list)
    _trials: int = -1
    _begin: float = 0.0
    _on: bool = False
    _exporter: Exporter | None = None
    _gauges: dict[str, Any] = field(default_factory=dict)

    def before(self, board: Board, searcher: TrialSearcher, recorder: TrialRecorder) -> None:
        """Is called before each trial; the first block warms up."""
        if self._exporter is None:
            self._exporter = self._start(board, searcher, recorder)
        self._trials += 1
        if self._on:
            self._at_its_times(self._exporter)
        if self._trials % self.length:
            return
        block = self._trials // self.length - 1
        if block >= 1:
            self.seconds[self._on].append((time.process_time() - self._begin) / self.length)
        self._on = block % 4 in (0, 3)  # after the first block: on, off, off, on
        board.seen[:] = [self._put] if self._on else []
        self._begin = time.process_time()

    def close(self) -> None:
        """Ends the exporter."""
        if self._exporter is not None:
            self._exporter.board.seen[:] = [self._exporter.put]
            self._exporter.__exit__()

    def _start(self, board: Board, searcher: TrialSearcher, recorder: TrialRecorder) -> Exporter:
        """Starts the exporter, once a driver, and waits for its first look through the folder."""
        exporter = exported._exporter(recorder.spec, self.paths, board, searcher, recorder)
        with self._counting(START):
            exporter.__enter__()
            while exporter._disk is None:
                time.sleep(0.01)
        return exporter

    def _put(self, row: Row) -> None:
        assert self._exporter is not None
        begin = time.thread_time()
        self._exporter.put(row)
        self.counted["row"] += time.thread_time() - begin
        self.calls["row"] += 1

    @contextmanager
    def _counting(self, what: str, clock: Callable[[], float] = time.process_time) -> Iterator[None]:
        begin = clock()
        yield
        self.counted[what] += clock() - begin
        self.calls[what] += 1

    def _at_its_times(self, exporter: Exporter) -> None:
        if self._trials % SCRAPE_EVERY == 0:
            with self._counting("scrape"):
                self.ask.send(exporter.port)
                self.pages.append(self.ask.recv())
        if self._trials % SNAPSHOT_EVERY == 0:
            with self._counting("snapshot", time.thread_time):
                exporter._write()
        if self._trials % REPORT_EVERY == 0:
            with self._counting("report to Ray", time.thread_time):
                for sample in exporter.samples():
                    if "trial" not in sample.labels:
                        exported._report(self._gauges, sample)


def _scrape(driver: Connection) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while (port := driver.recv()) is not None:
        with direct.open(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
            driver.send(len(page.read()))


def measured(earlier: int, block: int, pairs: int) -> Blocks:
    """Returns the blocks of a driver that goes on from `earlier` trials."""
    spec = study(earlier + block * (2 * pairs + 1))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = StudyPaths(Path(folder), spec.name)
        _leave_folders(paths, earlier)
        here, there = multiprocessing.Pipe()
        scraper = multiprocessing.get_context("spawn").Process(target=_scrape, args=(there,), daemon=True)
        scraper.start()
        stack.callback(scraper.join)
        stack.callback(here.send, None)
        blocks = Blocks(paths, here, block)
        stack.callback(blocks.close)
        run_thin(spec, paths, STUB, tracked=False, earlier=earlier, before=blocks.before)
    return blocks


def _leave_folders(paths: StudyPaths, count: int) -> None:
    """Makes the folders of ended trials, as the walk over the disk finds them."""
    for number in range(count):
        record = TrialRecord(paths.study, number, {}, None, None, "pruned", 10, {"validation/nll": 1.0})
        record.write(paths.trial(number))
        for name in FILES:
            (paths.trial(number) / name).write_text("{}")


def table(blocks: Blocks, earlier: int, command: str) -> str:
    """Returns the result as Markdown: the share is of the driver's time without the exporter, with a 95% interval."""
    on, off = blocks.seconds[True], blocks.seconds[False]
    more = [1000 * (a - b) for a, b in zip(on, off, strict=True)]
    mean, error = statistics.mean(more), statistics.stdev(more) / math.sqrt(len(more))
    width = STUDENT * error
    base = 1000 * statistics.mean(off)
    trials = len(on) * blocks.length
    parts = {what: 1000 * seconds for what, seconds in blocks.counted.items() if what != START}
    counted = sum(parts.values()) / trials + WALK_SHARE * base
    lines = [
        "# What the exporter costs its driver",
        "",
        *described(command),
        "",
        "| driver | CPU time a trial, ms |",
        "| --- | ---: |",
        f"| without the exporter | {base:.2f} |",
        f"| with it | {1000 * statistics.mean(on):.2f} |",
        f"| difference, mean of {len(more)} pairs of {blocks.length} trials | {mean:.3f} [{mean - width:.3f}, {mean + width:.3f}] |",
        "",
        "| what the exporter does | times | CPU time each, ms | a trial, ms |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {what} | {blocks.calls[what]} | {value / blocks.calls[what]:.3f} | {value / trials:.4f} |"
            for what, value in parts.items()
        ),
        f"| walk over the disk: {100 * WALK_SHARE}% of the driver's time | | | {WALK_SHARE * base:.4f} |",
        f"| all | | | {counted:.4f} |",
        "",
        f"Counted call by call, the exporter takes {100 * counted / base:.2f}% of this bare driver's time at {earlier:,} trials, and"
        f" **{100 * counted / WHOLE:.2f}%** of the {WHOLE} ms of a driver with Ray and MLflow ([search_scale.md](search_scale.md))."
        f" Its start, the first walk included, takes {1000 * blocks.counted[START]:.0f} ms once.",
        f"The difference is {100 * mean / base:.2f}% [{100 * (mean - width) / base:.2f}, {100 * (mean + width) / base:.2f}] (95%) of the bare driver's time: too noisy to decide;"
        f" {len(blocks.pages)} scrapes of {statistics.mean(blocks.pages) / 1000:.1f} kB were among them.",
        "Not measured: what a connected Ray does with a report, and the question for its nodes, both every 15 s.",
    ]
    return "\n".join(lines) + "\n"


STUDENT = 2.2
"""The quantile of Student's distribution for a dozen pairs."""


def main() -> None:
    """Measures, prints and writes the table."""
    options = parser(__doc__, earlier=10_000, block=30, pairs=12)
    words = options.parse_args()
    blocks = measured(words.earlier, words.block, words.pairs)
    command = f"exporter_cost --earlier {words.earlier} --block {words.block} --pairs {words.pairs}"
    write(table(blocks, words.earlier, command), words.output)


if __name__ == "__main__":
    main()
