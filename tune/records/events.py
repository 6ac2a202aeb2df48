"""The events of a study's starts, a line of JSON each in `events.jsonl` of its folder.

The driver appends them; other processes read how far a running study is, and what happened before. The records of
trials stay the truth: a lost or torn line costs a line of the log, and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t5vqvae.evaluation.metric import STEP

FILE = "events.jsonl"
START, TRIAL, STOP = "start", "trial", "stop"
Event = Mapping[str, Any]


@dataclass
class Milestones:
    """What is known of a trial's milestones.

    Attributes:
        overrides: The settings of the trial.
        by_step: Metrics by step.
    """

    overrides: Mapping[str, Any]
    by_step: dict[str, dict[str, float]] = field(default_factory=dict)


class StudyEvents:
    """Appends the events of one study, and reads them.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._known: list[Event] = []
        self._place = 0

    def append(self, kind: str, **values: Any) -> None:
        """Appends an event with the present time. A full disk ends no study for the sake of its log."""
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **values}, default=str)
        with suppress(OSError), self.path.open("ab") as file:
            # In one write that begins with a line break: a line that a kill tore spoils no other one.
            file.write(f"\n{line}\n".encode(errors="backslashreplace"))

    def read(self) -> Sequence[Event]:
        """Returns all events, oldest first, reading what was appended since the last call; what is none is left out."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._place)
                content = file.read()
        except OSError:
            return self._known
        whole = content[: content.rfind(b"\n") + 1]  # the end of a line that is being written comes next time
        self._place += len(whole)
        self._known += filter(None, map(_event, whole.splitlines()))
        return self._known

    def since_start(self) -> list[Event]:
        """Returns the events of the last start, the start itself first; empty where there was none."""
        found = self.read()
        starts = [place for place, event in enumerate(found) if event["event"] == START]
        return list(found[starts[-1] :]) if starts else []

    @property
    def num_starts(self) -> int:
        """How often the study was started."""
        return sum(event["event"] == START for event in self.read())


def milestones(folder: Path, metrics: Sequence[str]) -> dict[int, Milestones]:
    """Returns what a study's starts noted of its trials' milestones, by number; nothing without metrics to note."""
    found: dict[int, Milestones] = {}
    for event in StudyEvents(folder).read() if metrics else []:
        if event["event"] != TRIAL:
            continue
        number, settings, values = event["number"], event.get("overrides"), event.get("metrics", {})
        if number not in found or settings not in (None, found[number].overrides):  # a number may go to other settings
            found[number] = Milestones(settings or {})
        known = {name: values[name] for name in metrics if name in values}
        if event.get("status") == "running" and known and STEP in values:
            found[number].by_step[str(int(values[STEP]))] = known
    return found


def _event(line: bytes) -> Event | None:
    with suppress(ValueError):
        event = json.loads(line.decode(errors="replace"))
        if isinstance(event, dict) and isinstance(event.get("time"), int | float) and "event" in event:
            return event
    return None
