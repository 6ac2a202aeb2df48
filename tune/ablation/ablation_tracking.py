"""What MLflow is told of an ablation at its end: runs that were taken, runs that no longer count, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tune.ablation.findings import TAKEN, Findings
from tune.ablation.run_numbers import Numbering
from tune.ablation.run_queue import tags_of
from tune.execution.trial import TrialPlan
from tune.records.record import TrialRecord


def track_taken(plan: TrialPlan, findings: Findings) -> None:
    """Gives every run whose result was taken an MLflow run of its own, so that MLflow alone tells the whole study."""
    assert isinstance(findings.records, dict)
    for run in findings.runs:
        record = findings.record(run)
        if record is None or TAKEN not in record.tags or record.mlflow_id is not None:
            continue
        tracked = plan.run(record.number, run.overrides, {**tags_of(run), **record.tags, "run_id": record.run_id or ""})
        mlflow_id = plan.tracker.open_trial(
            plan.parent_id, tracked.key, tracked.key, tracked.spec.as_flat_dict(), tracked.tags
        )
        plan.tracker.close(mlflow_id, record.status, metrics=record.metrics)
        findings.records[record.number] = replace(record, mlflow_id=mlflow_id)
        findings.records[record.number].write(plan.paths.trial(record.number))


def track_superseded(plan: TrialPlan, numbering: Numbering, records: Mapping[int, TrialRecord]) -> None:
    """Marks the runs of arms that mean something else now, so that nobody counts them."""
    for number in numbering.superseded:
        mlflow_id = plan.tracker.find_trial(plan.key(number))
        if mlflow_id is not None:
            record = records.get(number)
            status = "interrupted" if record is None else record.status
            plan.tracker.close(mlflow_id, status, {"superseded": "true"})


def log_report(plan: TrialPlan, files: Sequence[Path]) -> None:
    """Logs the report's files to the study's MLflow run; what a server that is away misses is spooled."""
    logger = plan.tracker.logger(plan.parent_id, plan.paths.root / "spool")
    for file in files:
        logger.artifact(file, "report")
    logger.close()
