"""The values that seeded runs leave on the disk, read from the files that every commit writes.

Sources: checkpoints, records, study files, the databases of MLflow and Optuna, reports. Nothing of the project is
imported. Left out is what no two runs share: ids, times, memory, paths.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet

from tests.end_to_end.seeded_runs import ABLATION, SEARCH

Values = dict[str, dict[str, Any]]
"""`{group: {name: value}}`; a value is a number, or a text that must be equal letter by letter."""

MEASURED = ("cost/", "system/")
"""Metrics that no two runs have in common; `cost/parameters` is counted, not measured."""
IDENTIFIERS = ("run_id", "mlflow_id", "url", "seconds", "study")
"""Fields of a record that no two runs, or no two commits, have in common."""
MISSING = "missing"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")
"""A number that is a word of its own, as in JSON; no part of a name or an id."""


def read_training(state: Path, quantizer: str) -> Values:
    """Returns what a training left: metrics at every milestone, and what its checkpoints hold."""
    found = _tracked(state, f"runs/{quantizer}")
    for folder in sorted((state / "runs" / quantizer).glob("step-*")):
        milestone = json.loads((folder / "milestone.json").read_text())
        step = milestone["step"]
        found |= {f"step {step} {name}": value for name, value in _comparable(milestone["metrics"]).items()}
        for name in ("status", "tags", "samples", "code_counts"):
            found[f"step {step} {name}"] = _text(milestone[name])
        manifest = json.loads((folder / "manifest.json").read_text())
        found[f"step {step} weights"] = manifest["model/model.safetensors"]["sha256"]
        found[f"step {step} spec"] = _text(json.loads((folder / "spec.json").read_text()))
    return {f"train {quantizer}": found}


def read_search(state: Path) -> Values:
    """Returns what a search left: its spec, trials, choice of the best, Optuna's storage and report."""
    root = state / "studies" / SEARCH
    found = {"spec": _text(json.loads((root / "study.json").read_text()))}
    found["best trial"] = _tag(state, SEARCH, "best_trial")
    return {
        "search": found | _records(root, state, SEARCH),
        "search, Optuna": _suggested(root),
        "search, report": _report(root / "report"),
    }


def read_ablation(state: Path) -> Values:
    """Returns what an ablation left: its spec, runs, tuned settings, effects and report."""
    root = state / "studies" / ABLATION
    found = {"spec": _text(json.loads((root / "ablation.json").read_text()))}
    rows = pyarrow.parquet.read_table(root / "report" / "runs.parquet").to_pylist()
    for row in rows:
        kept = ("arm", "phase", "seed", "trial", "status", "taken_from")
        found[f"run {row['number']} plan"] = _text({name: row[name] for name in kept})
        if row["phase"] == "comparison":
            tuned = {path: value for path, value in json.loads(row["overrides"]).items() if path != "seed"}
            found[f"tuned {row['arm']}"] = _text(tuned)
    return {
        "ablation": found | _records(root, state, ABLATION),
        "ablation, effects": _effects(root / "report" / "effects.csv"),
        "ablation, report": _report(root / "report"),
    }


def _records(root: Path, state: Path, study: str) -> dict[str, Any]:
    """Returns the records of a study's trials, and every metric of every milestone as MLflow keeps it."""
    found: dict[str, Any] = {}
    for file in sorted(root.glob("trials/*/record.json")):
        record = json.loads(file.read_text())
        name = f"trial {record.pop('number')}"
        metrics = _comparable(record.pop("metrics"))
        found |= {f"{name} {metric}": value for metric, value in metrics.items()}
        found |= {f"{name} {field}": _text(value) for field, value in record.items() if field not in IDENTIFIERS}
        tracked = _tracked(state, f"{study}/{file.parent.name}")
        found |= {f"{name} {metric}": value for metric, value in tracked.items()}
    return found | {f"study {name}": value for name, value in _tracked(state, study).items()}


def _tracked(state: Path, run: str) -> dict[str, Any]:
    """Returns the parameters, the status and all metrics of a run in MLflow's database."""
    query = "SELECT step, key, value, is_nan FROM metrics WHERE run_uuid = ?"
    run = _run_id(state, run)
    rows = sorted(_rows(state / "mlflow.db", query, run), key=lambda row: row[:2])
    found = {(step, key): math.nan if is_nan else value for step, key, value, is_nan in rows}
    values = {f"step {step} {key}": value for (step, key), value in found.items() if _is_comparable(key)}
    query = "SELECT key, value FROM params WHERE run_uuid = ?"
    values["parameters"] = _text({key: value for key, value in _rows(state / "mlflow.db", query, run)})
    values["MLflow status"] = _text(_rows(state / "mlflow.db", "SELECT status FROM runs WHERE run_uuid = ?", run))
    return values


def _run_id(state: Path, run: str) -> str:
    """Returns MLflow's id of a run: a trial's name says its settings, and a tag who it is; earlier, its name did."""
    tagged = "SELECT run_uuid FROM tags WHERE key = 't5vqvae.trial' AND value = ?"
    named = "SELECT run_uuid FROM runs WHERE name = ?"
    found = _rows(state / "mlflow.db", tagged, run) or _rows(state / "mlflow.db", named, run)
    return next(iter(found), ("",))[0]


def _tag(state: Path, run: str, key: str) -> Any:
    query = "SELECT tags.value FROM tags JOIN runs USING (run_uuid) WHERE runs.name = ? AND tags.key = ?"
    return next(iter(_rows(state / "mlflow.db", query, run, key)), (None,))[0]


def _suggested(root: Path) -> dict[str, Any]:
    """Returns Optuna's journal: every parameter, value and attribute in the order of writing, without times."""
    changes = list(_changes(root))
    return {
        f"change {number} {name}": value if isinstance(value, float) else _text(value)
        for number, change in changes
        for name, value in change.items()
        if name != "worker_id" and not name.startswith("datetime")
    }


def _changes(root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the changes by number, from 1, of this version's file or of an older one's."""
    file = root / "optuna.journal"
    if not file.exists():
        for number, text in _rows(root / "optuna.db", "SELECT number, change FROM changes"):
            yield number, json.loads(text)
        return
    for number, line in enumerate(file.read_text().splitlines()[1:], 1):
        yield number, json.loads(line.partition(" ")[2])


def _rows(file: Path, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()


def _effects(file: Path) -> dict[str, Any]:
    """Returns the effects of an ablation: means, intervals, p-values and verdicts."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {
        f"{row['name']} {column}": _number(value)
        for row in rows
        for column, value in row.items()
        if _is_comparable(column.partition(":")[0])
    }


def _report(folder: Path) -> dict[str, Any]:
    """Returns the lines and cells of a report's files without what is measured; of the HTML only that it is there."""
    found: dict[str, Any] = {"files": _text(sorted(path.name for path in folder.iterdir() if path.is_file()))}
    for name, separator in (("report.md", "|"), ("effects.tex", "&")):
        if (folder / name).exists():
            lines = _unmeasured((folder / name).read_text().splitlines(), separator)
            found |= {f"{name} line {number}": line for number, line in enumerate(lines, 1)}
    for name in ("trials.csv", "runs.csv"):
        if (folder / name).exists():
            with (folder / name).open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            for number, row in enumerate(rows, 1):
                known = {column: value for column, value in row.items() if column not in IDENTIFIERS}
                found |= {f"{name} row {number} {column}": _number(known[column]) for column in _comparable(known)}
    return found


def _unmeasured(lines: Iterable[str], separator: str) -> Iterator[str]:
    """Yields lines of Markdown or LaTeX without the columns of time and memory, and without numbers of hours."""
    dropped: set[int] = set()
    for line in lines:
        cells = re.split(rf"(?<!\\){re.escape(separator)}", line)
        if len(cells) < 4:
            yield re.sub(r"\d[\d.e-]*", "#", line) if "hours" in line else line
            continue
        measured = {at for at, cell in enumerate(cells) if re.search(r"\b(time|memory)\b", cell)}
        dropped = measured or dropped  # the head of a table names them
        yield separator.join(cell for at, cell in enumerate(cells) if at not in dropped)


def _comparable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if _is_comparable(name)}


def _is_comparable(metric: str) -> bool:
    metric = metric.removeprefix("best/")
    return metric == "cost/parameters" or not metric.startswith(MEASURED)


def _number(text: str) -> Any:
    """Returns the number that a cell holds, or its text."""
    try:
        return float(text)
    except ValueError:
        return text


def _text(value: Any) -> Any:
    """Returns a text that is equal where the value is; None stays None."""
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def relative_difference(one: Any, other: Any) -> float:
    """Returns how far two values differ: 0 where equal, infinite where one is missing or words differ.

    Of two texts that differ in their numbers alone, the numbers are compared.
    """
    if one == other:
        return 0.0
    if isinstance(one, str) and isinstance(other, str) and NUMBER.split(one) == NUMBER.split(other):
        pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
        return max(relative_difference(float(mine), float(theirs)) for mine, theirs in pairs)
    if not all(isinstance(value, int | float) for value in (one, other)):
        return math.inf
    if math.isnan(one) and math.isnan(other):
        return 0.0
    difference = abs(one - other) / max(abs(one), abs(other))
    return difference if math.isfinite(difference) else math.inf


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Returns `{name: relative difference}` over the names of both groups of values."""
    names = dict.fromkeys([*one, *other])
    return {name: relative_difference(one.get(name, MISSING), other.get(name, MISSING)) for name in names}
