"""Numbers the runs of an ablation in `runs.jsonl`, an append-only file with one line per run.

A run has a key (arm, phase, seed, candidate) and a run id. The same pair has the same number at every start. When the
run id of a key changes (its arm was edited, or the code or the data changed), the key gets a new number, and the old
run stays on the disk as superseded. A line also has the settings id of its run; lines of older versions have none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from t5vqvae.files import CHECKSUM, checked, digest

FILE = "runs.jsonl"


class RunNumbers:
    """The numbers of the runs.

    Attributes:
        latest: The newest number of each key.
        run_ids: The run id of each number.
        settings_ids: The settings id of each number, as far as known.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.latest: dict[str, int] = {}
        self.run_ids: dict[int, str] = {}
        self.settings_ids: dict[int, str] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.exists() else ():
            entry = _entry(line)
            if entry is not None:  # else a kill tore this line, or it is damaged: its run gets another number
                self._note(entry["key"], entry["run_id"], entry["number"], entry.get("settings_id", ""))

    def number(self, key: str, run_id: str, settings_id: str = "") -> int:
        """Returns the number of a run; a new number is on the disk before it is returned."""
        if (key, run_id) not in self._numbers:
            number = 1 + max([*self.run_ids, *self._folders()], default=-1)
            self._append({"number": number, "key": key, "run_id": run_id, "settings_id": settings_id})
            self._note(key, run_id, number, settings_id)
        self.latest[key] = self._numbers[key, run_id]
        return self.latest[key]

    @property
    def superseded(self) -> list[int]:
        """Numbers of runs whose key has a newer number."""
        return sorted(set(self.run_ids) - set(self.latest.values()))

    def _folders(self) -> list[int]:
        """Returns the numbers that have a folder: the line of one of them may be damaged."""
        return [int(folder.name) for folder in self.path.parent.glob("trials/[0-9]*") if folder.name.isdigit()]

    def _note(self, key: str, run_id: str, number: int, settings_id: str) -> None:
        self._numbers[key, run_id] = self.latest[key] = number
        self.run_ids[number] = run_id
        if settings_id:
            self.settings_ids[number] = settings_id

    def _append(self, entry: dict[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn and self.path.stat().st_size else "") + json.dumps(checked(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _entry(line: str) -> dict[str, Any] | None:
    """Returns the entry of a line; None if it is torn or damaged. Lines of older versions have no checksum."""
    try:
        entry = json.loads(line)
        known = entry.pop(CHECKSUM, None)
    except (ValueError, AttributeError, TypeError):
        return None
    if not isinstance(entry, dict) or entry.keys() - {"settings_id"} != {"number", "key", "run_id"}:
        return None
    return entry if known in (None, digest(entry)) else None
