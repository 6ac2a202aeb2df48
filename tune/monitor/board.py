"""Shows a running study: a live table on a terminal, a few plain lines in a job's log.

`Board` holds one `Row` per trial and draws them; it does not depend on Ray. A terminal gets a table that is redrawn in
place and as wide as it. A log gets a line when a trial ends, and every `LINE_SECONDS` a summary with every running
trial's step and objectives and the time left.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from t5vqvae.config import short_names
from t5vqvae.evaluation.metric import RATE, STEP
from t5vqvae.evaluation.metrics import METRICS, common_rate
from t5vqvae.stages import duration, hidden
from tune.monitor.formats import plain_text, shortened
from tune.monitor.row import Row
from tune.records.pace import time_left

LINE_SECONDS = 10.0
"""The shortest time between two summaries in a log."""
DRAW_SECONDS = 0.5
"""The shortest time between two drawings of the table on a terminal."""
NUM_RUNNING = 8
"""The most running trials in a line of a log."""
STYLES = {
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "diverged": "magenta",
    "failed": "red",
    "interrupted": "dim",
}


class Board:
    """Draws the trials of a study.

    Args:
        title: Name of the study.
        objectives: Metric keys to show.
        trials: The budget; None when only hours limit the study.
        console: The console to draw on.

    Attributes:
        rows: The trials by number.
        best: The number of the best trial so far.
        hours: The most hours that this start may take.
        live: From the number of a running trial to what its process has noted; see `t5vqvae.stages.read_note`.
        seen: Called with every row that is put.
    """

    def __init__(self, title: str, objectives: Sequence[str], trials: int | None, console: Console) -> None:
        self.title = title
        self.objectives = list(objectives)
        self.trials = trials
        self.console = console
        self.rows: dict[int, Row] = {}
        self.best: int | None = None
        self.hours: float | None = None
        self.live: Callable[[int], Mapping[str, Any]] = lambda number: {}
        self.seen: list[Callable[[Row], None]] = []
        self._stack = ExitStack()
        self._before = 0.0
        self._started = time.monotonic()
        self._drawn = self._printed = 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Board:
        self._stack.enter_context(hidden())
        self._before = self._work(self.rows.values())
        self._started = time.monotonic()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
        self._stack.close()

    def put(self, row: Row) -> None:
        """Adds a trial, or replaces its row, and redraws."""
        before = self.rows.get(row.number)
        self.rows[row.number] = row
        for see in self.seen:
            see(row)
        if self._live is None and row.status != "running" and (before is None or before.status != row.status):
            self.console.print(self._line(row), soft_wrap=True, highlight=False, markup=False)
        self.draw()

    def draw(self) -> None:
        """Redraws, unless it did so within the last `DRAW_SECONDS` (terminal) or `LINE_SECONDS` (log)."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn >= DRAW_SECONDS:
            self._drawn = now
            self._live.update(Group(self.table(), self.summary()), refresh=True)
        elif self._live is None and now - self._printed >= LINE_SECONDS:
            self._printed = now
            self.console.print(self.summary(running=True), soft_wrap=True, highlight=False)

    def final(self) -> None:
        """Prints the whole table once; call it after `with`."""
        self.console.print(self.table(limit=None))
        self.console.print(self.summary(left=False), soft_wrap=True, highlight=False)

    def table(self, limit: int | None = 20) -> Table:
        """Returns the table of the newest `limit` trials and the best one; with None, of all trials."""
        varied, shown = self.varied(), self._shown(limit)
        table = self._table(shown, varied, linked=any(row.url for row in shown))
        room, unlimited = self.console.width, self.console.options.update(max_width=10_000)
        for number in range(len(varied), -1, -1):
            if not self.console.is_terminal or Measurement.get(self.console, unlimited, table).maximum <= room:
                break
            table = self._table(shown, varied[:number], linked=False)
            left_out = f"{len(varied) - number} settings do not fit; a wider terminal shows them"
            table.caption = left_out if number < len(varied) else None
        return table

    def _table(self, shown: Sequence[Row], varied: Sequence[str], *, linked: bool) -> Table:
        """Returns the table of some trials.

        Args:
            shown: The trials.
            varied: The settings to show.
            linked: Whether a column has the pages in MLflow; otherwise each trial's number leads there.
        """
        rate = _rate_of(shown)
        title = Text(f"study {plain_text(self.title)}", style="table.title")
        table = Table(title=title, title_justify="left", caption_justify="left", expand=False)
        names = ["trial", "status", "step", *(short_names(varied)[path] for path in varied)]
        names += [metric.removeprefix("validation/") for metric in self.objectives]
        for name in [*names, f"{METRICS[RATE].unit}/{METRICS[RATE].per}", "seconds"]:
            table.add_column(Text(plain_text(name)), justify="left" if name == "status" else "right", no_wrap=True)
        if linked:
            table.add_column("MLflow", overflow="fold")
        for row in shown:
            table.add_row(*self._cells(row, varied, rate), *([_link(row.url, row.url)] if linked else []))
        return table

    def summary(self, running: bool = False, left: bool = True) -> Text:
        """Returns one line: the number of trials by status, the best so far, the minutes, and the time left.

        Args:
            running: Whether to add the step and the objectives of every running trial.
            left: Whether to add the time left.
        """
        counts = Counter(row.status for row in self.rows.values())
        parts = [f"{counts[status]} {status}" for status in STYLES if counts[status]]
        done = sum(number for status, number in counts.items() if status not in ("running", "interrupted"))
        of = "" if self.trials is None else f" of {self.trials}"
        line = f"{self.title}: {done}{of} trials done ({', '.join(parts) or 'starting'})"
        if self.best is not None and self.best in self.rows:
            metrics = self.rows[self.best].metrics
            shown = [f"{name.split('/')[-1]} {short(metrics[name])}" for name in self.objectives if name in metrics]
            line += f", best: trial {self.best} with {', '.join(shown)}"
        line += f", {(time.monotonic() - self._started) / 60:.1f} min"
        if left and (seconds := self.seconds_left()) is not None:
            line += f", about {duration(seconds)} left"
        return Text(plain_text(line + (self._running() if running else "")))

    def seconds_left(self, work: float | None = None) -> float | None:
        """Returns the seconds to the end of the study at the pace of this start; None while unknown or at the end.

        Args:
            work: How many trials' worth is done; None: by the rows, all of which are looked at.
        """
        seconds = time.monotonic() - self._started
        work = self._work(map(self._now, self.rows.values())) if work is None else work
        return time_left(work, self._before, self.trials, seconds, self.hours)

    def _running(self) -> str:
        """Returns the end of a line: step and objectives of every running trial."""
        rows = [self._now(row) for _, row in sorted(self.rows.items()) if row.status == "running"]
        parts = [self._brief(row) for row in rows[:NUM_RUNNING]]
        more = [f"and {len(rows) - NUM_RUNNING} more"] if len(rows) > NUM_RUNNING else []
        return f" | running: {'; '.join([*parts, *more])}" if parts else ""

    def _brief(self, row: Row) -> str:
        shown = [f"{m.split('/')[-1]} {short(row.metrics[m])}" for m in self.objectives if m in row.metrics]
        return f"trial {row.number} at step {_steps(row)}{''.join(f', {each}' for each in shown)}"

    def _now(self, row: Row) -> Row:
        return row.at(self.live(row.number)) if row.status == "running" else row

    @staticmethod
    def _work(rows: Iterable[Row]) -> float:
        """Returns how many trials' worth is done."""
        return sum(row.share for row in rows)

    def varied(self) -> list[str]:
        """Returns the settings that differ between the trials, sorted."""
        paths = {path for row in self.rows.values() for path in row.overrides}
        return sorted(path for path in paths if len({repr(row.overrides.get(path)) for row in self.rows.values()}) > 1)

    def _shown(self, limit: int | None) -> list[Row]:
        rows = [self.rows[key] for key in sorted(self.rows)]
        if limit is None or len(rows) <= limit:
            return rows
        newest = rows[-limit:]
        best = [] if self.best is None else [row for row in rows[:-limit] if row.number == self.best]
        return best + newest

    def _cells(self, row: Row, varied: Sequence[str], rate: str) -> list[Text]:
        row = self._now(row)
        metrics = row.metrics
        name = f"{row.number} *" if row.number == self.best else str(row.number)
        values = [row.overrides.get(path, "base") for path in varied] + [metrics.get(m) for m in self.objectives]
        price = short(metrics[rate]) if rate in metrics else "-"
        cells = [_steps(row), *map(short, values), price, f"{row.seconds:.0f}"]
        # As Text: of a plain string Rich would take `[red]` for a style.
        return [_link(name, row.url), Text(row.status, style=STYLES.get(row.status, "")), *map(Text, cells)]

    def _line(self, row: Row) -> str:
        settings = ", ".join(f"{path}={short(value)}" for path, value in sorted(row.overrides.items()))
        shown = [m for m in [*self.objectives, _rate_of([row]), STEP] if m in row.metrics]
        metrics = ", ".join(f"{metric} {short(row.metrics[metric])}" for metric in shown)
        parts = [f"trial {row.number} {row.status}: {metrics}", settings, f"{row.seconds:.0f} s", row.url or ""]
        return plain_text(" | ".join(part for part in parts if part))


def wide_console() -> Console:
    """Returns the console of this process; it takes a job's log, which has no width, as 200 characters wide."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _rate_of(rows: Iterable[Row]) -> str:
    """Returns the key of the rate by which rows are shown: the tightest one that all with a rate have."""
    found = common_rate(*(row.metrics for row in rows if RATE in row.metrics))
    return RATE if found is None else found[0]


def _link(words: str | None, url: str | None) -> Text:
    return Text(words or "", style=f"link {url}" if url else "")


def _steps(row: Row) -> str:
    """Returns the step of a trial, of a running one with those that it will take."""
    if row.status != "running" or row.steps is None:
        return short(row.step)
    return f"{row.step or 0}/{row.steps}"


def short(value: object) -> str:
    """Returns a value as a table shows it: four significant digits, whole numbers without decimals, no long text."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
        return shortened(value)
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"
