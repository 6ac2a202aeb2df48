"""Shows a running study: a live table on a terminal, a few plain lines in a job's log.

`Board` holds one `Row` per trial and draws them; it does not depend on Ray. A terminal gets a table that is redrawn in
place. A log gets a line when a trial ends, and a summary at most every `LINE_SECONDS`.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from t5vqvae.config import short_names
from t5vqvae.evaluation.metrics import METRICS, RATE, STEP
from tune.monitor.formats import plain_text, shortened

LINE_SECONDS = 30.0
"""The shortest time between two summaries in a log."""
DRAW_SECONDS = 0.5
"""The shortest time between two drawings of the table on a terminal."""
STYLES = {
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "diverged": "magenta",
    "failed": "red",
    "interrupted": "dim",
}


@dataclass
class Row:
    """One trial as the board shows it.

    Attributes:
        number: Its number in the study.
        overrides: Its settings.
        status: As in `TrialRecord`, or `running`, or `interrupted`.
        metrics: Its last metrics.
        seconds: Time spent on it so far, the sum over all its starts.
        url: Its page in MLflow.
    """

    number: int
    overrides: Mapping[str, object]
    status: str = "running"
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    url: str | None = None


class Board:
    """Draws the trials of a study.

    Args:
        title: Name of the study.
        objectives: Metric keys to show.
        trials: The budget; None when only hours limit the study.
        console: The console to draw on.
    """

    def __init__(self, title: str, objectives: Sequence[str], trials: int | None, console: Console) -> None:
        self.title = title
        self.objectives = list(objectives)
        self.trials = trials
        self.console = console
        self.rows: dict[int, Row] = {}
        self.best: int | None = None
        self._started = time.monotonic()
        self._drawn = self._printed = 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()

    def put(self, row: Row) -> None:
        """Adds a trial, or replaces its row, and redraws."""
        before = self.rows.get(row.number)
        self.rows[row.number] = row
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
            self.console.print(self.summary(), soft_wrap=True, highlight=False)

    def final(self) -> None:
        """Prints the whole table once; call it after `with`."""
        self.console.print(self.table(limit=None))
        self.console.print(self.summary(), soft_wrap=True, highlight=False)

    def table(self, limit: int | None = 20) -> Table:
        """Returns the table of the newest `limit` trials and the best one; with None, of all trials."""
        varied, rate = self.varied(), METRICS[RATE]
        title = Text(f"study {plain_text(self.title)}", style="table.title")
        table = Table(title=title, title_justify="left", expand=False)
        names = ["trial", "status", "step", *(short_names(varied)[path] for path in varied)]
        names += [metric.removeprefix("validation/") for metric in self.objectives]
        for name in [*names, f"{rate.unit}/{rate.per}", "seconds"]:
            table.add_column(Text(plain_text(name)), justify="left" if name == "status" else "right", no_wrap=True)
        shown = self._shown(limit)
        linked = any(row.url for row in shown)
        if linked:
            table.add_column("MLflow", overflow="fold")
        for row in shown:
            table.add_row(*self._cells(row, varied), *([_link(row.url)] if linked else []))
        return table

    def summary(self) -> Text:
        """Returns one line: the number of trials by status, the best so far, and the minutes."""
        counts = Counter(row.status for row in self.rows.values())
        parts = [f"{counts[status]} {status}" for status in STYLES if counts[status]]
        done = sum(number for status, number in counts.items() if status not in ("running", "interrupted"))
        of = "" if self.trials is None else f" of {self.trials}"
        line = f"{self.title}: {done}{of} trials done ({', '.join(parts) or 'starting'})"
        if self.best is not None and self.best in self.rows:
            metrics = self.rows[self.best].metrics
            shown = [f"{name.split('/')[-1]} {short(metrics[name])}" for name in self.objectives if name in metrics]
            line += f", best: trial {self.best} with {', '.join(shown)}"
        return Text(f"{plain_text(line)}, {(time.monotonic() - self._started) / 60:.1f} min")

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

    def _cells(self, row: Row, varied: Sequence[str]) -> list[Text]:
        metrics = row.metrics
        name = f"{row.number} *" if row.number == self.best else str(row.number)
        values = [row.overrides.get(path, "base") for path in varied] + [metrics.get(m) for m in self.objectives]
        cells = [short(metrics.get(STEP)), *map(short, values), short(metrics.get(RATE)), f"{row.seconds:.0f}"]
        # As Text: of a plain string Rich would take `[red]` for a style.
        return [Text(name), Text(row.status, style=STYLES.get(row.status, "")), *map(Text, cells)]

    def _line(self, row: Row) -> str:
        settings = ", ".join(f"{path}={short(value)}" for path, value in sorted(row.overrides.items()))
        shown = [m for m in [*self.objectives, RATE, STEP] if m in row.metrics]
        metrics = ", ".join(f"{metric} {short(row.metrics[metric])}" for metric in shown)
        parts = [f"trial {row.number} {row.status}: {metrics}", settings, f"{row.seconds:.0f} s", row.url or ""]
        return plain_text(" | ".join(part for part in parts if part))


def wide_console() -> Console:
    """Returns the console of this process; it takes a job's log, which has no width, as 200 characters wide."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _link(url: str | None) -> Text:
    return Text(url or "", style=f"link {url}" if url else "")


def short(value: object) -> str:
    """Returns a value as a table shows it: four significant digits, whole numbers without decimals, no long text."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
        return shortened(value)
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"
