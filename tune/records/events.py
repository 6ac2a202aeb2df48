"""The events of a study's starts, a line of JSON each in `events.jsonl` of its folder.

The driver appends them; other processes read how far a running study is, and what happened before. The records of
trials stay the truth: a lost or torn line costs a line of the log, and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE = "events.jsonl"
START, TRIAL, STOP = "start", "trial", "stop"
Event = Mapping[str, Any]


class StudyEvents:
    """Appends the events of one study, and reads them.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def append(self, kind: str, **values: Any) -> None:
        """Appends an event with the present time. A full disk ends no study for the sake of its log."""
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **values}, default=str)
        with suppress(OSError), self.path.open("ab") as file:
            # In one write that begins with a line break: a line that a kill tore spoils no other one.
            file.write(f"\n{line}\n".encode(errors="backslashreplace"))

    def read(self) -> Iterator[Event]:
        """Yields all events, oldest first; what is no event is left out."""
        try:
            content = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in content.splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("time"), int | float) and "event" in event:
                    yield event

    def since_start(self) -> list[Event]:
        """Returns the events of the last start, the start itself first; empty where there was none."""
        found: list[Event] = []
        for event in self.read():
            if event["event"] == START:
                found = [event]
            elif found:
                found.append(event)
        return found
