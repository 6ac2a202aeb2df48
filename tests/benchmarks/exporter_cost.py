"""What the exporter costs its driver at ten thousand trials: CPU time of rows and of scrapes.

    python -m tests.benchmarks.exporter_cost [--output FILE.md]

The study has 10,000 ended trials and 16 running ones. A driver's own time a trial is taken as 9 ms, Ray Tune's overhead
alone; a trial gives six rows (a start, four milestones, an end), a scrape comes every 15 s, a trial ends every second.
"""

# ruff: noqa: E501  # rows of the table

from __future__ import annotations

import argparse
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from tune.monitor.exporter import families
from tune.monitor.row import Row
from tune.monitor.tally import Tally
from tune.spec.judging import Judging

DRIVER, ROWS, SCRAPE_SECONDS, TRIALS = 0.009, 6, 15.0, 10_000


class _Served:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def collect(self):
        return families(self.tally.samples())


def measured() -> dict[str, float]:
    """Returns milliseconds a row and a scrape."""
    tally = Tally("s", Judging.parse({"objectives": [{"metric": "validation/nll"}]}), [10, 20])
    rows = [Row(n, {}, "completed", {"validation/nll": 1 / (n + 1), "rate/bits_per_token": 8.0}) for n in range(TRIALS)]
    begin = time.process_time()
    for row in rows:
        tally.put(row)
    per_row = (time.process_time() - begin) / TRIALS
    for number in range(TRIALS, TRIALS + 16):
        tally.put(Row(number, {}, "running", {"validation/nll": 1.0, "progress/step": 5.0}))
    registry = CollectorRegistry()
    registry.register(_Served(tally))
    begin = time.process_time()
    for _ in range(200):
        generate_latest(registry)
    return {"row": 1000 * per_row, "scrape": 5 * (time.process_time() - begin)}


def main() -> None:
    """Measures, and prints or writes a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path)
    found = measured()
    a_trial = ROWS * found["row"] + found["scrape"] / SCRAPE_SECONDS
    text = (
        "# Cost of the exporter's tally and scrapes at 10,000 trials\n\n| what | ms of CPU |\n| --- | ---: |\n"
        f"| a row | {found['row']:.4f} |\n| a scrape | {found['scrape']:.3f} |\n| a trial a second | {a_trial:.4f} |\n\n"
        f"That is {a_trial / 10 / DRIVER:.2f}% of 9 ms a trial. Not in it, and not measured: the looks at spools, and the walk over the disk\n(the walk: at most 0.1% of the time that passes).\n"
    )
    output = parser.parse_args().output
    print(text) if output is None else output.write_text(text)


if __name__ == "__main__":
    main()
