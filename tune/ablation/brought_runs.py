"""Finds results in the `runs.parquet` of a report, so that a study continues where another machine ended.

A row is the result of a run with the same settings, data and precision. Its trainer may be of another version, which a
run id would tell apart: such a result is taken too, because the file was named on the command line, and its
tag names the version.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from t5vqvae.errors import SettingError
from tune.ablation.findings import ANOTHER_VERSION, TAKEN
from tune.ablation.reuse import TRUE_RESULTS
from tune.records.record import TrialRecord


class BroughtRuns:
    """The results of a file.

    Attributes:
        note: How many results it has, and whether another version of the trainer can take them.

    Args:
        file: `runs.parquet` of a report.

    Raises:
        SettingError: If it is no such file, or it is damaged.
    """

    def __init__(self, file: Path) -> None:
        self._by_run_id: dict[str, TrialRecord] = {}
        self._by_settings: dict[str, TrialRecord] = {}
        for row in _rows(file):
            try:
                if row["status"] in TRUE_RESULTS and row["run_id"]:
                    self._note(row, f"study {row['study']}, run {row['number']} of {file.name}")
            except (ValueError, TypeError) as error:
                raise SettingError(f"--from {file}: run {row['number']} is damaged: {error}; {_WAY_OUT}") from None
        number, known = len(self._by_run_id), len(self._by_settings)
        old = "; an older version wrote it, so only the same version of the trainer can take them"
        rule = ", taken where settings, data and measures are the same" if known else old
        self.note = f"--from {file.name}: {number} results{rule}"

    def __call__(self, run_id: str, settings_id: str) -> TrialRecord | None:
        """Returns the result of a run, tagged `taken_from`; None if the file has none."""
        return self._by_run_id.get(run_id) or self._by_settings.get(settings_id)

    def _note(self, row: dict[str, Any], origin: str) -> None:
        metrics = {name: value for name, value in row.items() if "/" in name and _is_number(value)}
        overrides, steps = json.loads(row["overrides"]), int(row["steps"])
        other = f"{origin}, {ANOTHER_VERSION}"
        was_taken_so = str(row[TAKEN]).endswith(ANOTHER_VERSION)
        found = TrialRecord("", 0, overrides, row["run_id"], None, row["status"], steps, metrics)
        self._by_run_id.setdefault(row["run_id"], replace(found, tags={TAKEN: other if was_taken_so else origin}))
        if settings_id := row.get("settings_id"):
            self._by_settings.setdefault(settings_id, replace(found, tags={TAKEN: other}))


_WAY_OUT = "give runs.parquet of an ablation's report"
_NEEDED = ("study", "number", "status", "run_id", "steps", "overrides", TAKEN)


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    if not file.is_file():
        raise SettingError(f"--from {file} is no file; {_WAY_OUT}")
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise SettingError(f"--from {file} cannot be read: {str(error).splitlines()[0]}; {_WAY_OUT}") from None
    for name in _NEEDED:
        if name not in table.column_names:
            raise SettingError(f"--from {file} has no column {name}; {_WAY_OUT}")
    return table.to_pylist()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
