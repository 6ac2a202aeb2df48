"""Finds results in the `runs.parquet` of a report, so that a study goes on where another machine ended.

A row is the result of a run with the same settings, data and precision. Its trainer may be of another version, which a
run id would tell apart: such a result is taken too, because whoever names the file asks for it, and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from t5vqvae.errors import SettingError
from tune.ablation.findings import ANOTHER_VERSION, TAKEN
from tune.ablation.reuse import TRUE_RESULTS
from tune.records.record import TrialRecord


class BroughtRuns:
    """The results of a file.

    Args:
        file: `runs.parquet` of a report.

    Raises:
        SettingError: If it is no such file.
    """

    def __init__(self, file: Path) -> None:
        self._by_run_id: dict[str, TrialRecord] = {}
        self._by_settings: dict[str, TrialRecord] = {}
        for row in _rows(file):
            if row["status"] in TRUE_RESULTS and row.get("run_id"):
                self._note(row, f"{file.name}, run {row['number']}")

    def __call__(self, run_id: str, settings_id: str) -> TrialRecord | None:
        """Returns the result of a run, tagged `taken_from`; None if the file has none."""
        return self._by_run_id.get(run_id) or self._by_settings.get(settings_id)

    def _note(self, row: dict[str, Any], origin: str) -> None:
        metrics = {name: value for name, value in row.items() if "/" in name and _is_number(value)}
        overrides, steps = json.loads(row["overrides"]), int(row["steps"])
        other = f"{origin}, {ANOTHER_VERSION}"
        was_taken_so = str(row.get(TAKEN)).endswith(ANOTHER_VERSION)
        found = TrialRecord("", 0, overrides, row["run_id"], None, row["status"], steps, metrics)
        self._by_run_id.setdefault(row["run_id"], replace(found, tags={TAKEN: other if was_taken_so else origin}))
        if settings_id := row.get("settings_id"):
            self._by_settings.setdefault(settings_id, replace(found, tags={TAKEN: other}))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"--from {file} cannot be read: {reason}; give runs.parquet of an ablation's report"
        ) from None
    missing = {"number", "status", "run_id", "steps", "overrides"} - set(table.column_names)
    if missing:
        raise SettingError(
            f"--from {file} has no column {sorted(missing)[0]}; give runs.parquet of an ablation's report"
        )
    for row in table.to_pylist():
        yield {name: value for name, value in row.items() if value is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
