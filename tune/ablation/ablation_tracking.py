"""Tracks in MLflow what an ablation adds at its end: taken results, superseded runs, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tune.ablation.findings import TAKEN, Findings
from tune.ablation.run_numbers import RunNumbers
from tune.ablation.run_queue import tags_of
from tune.execution.session import Session


def run_tags(findings: Findings, numbering: RunNumbers) -> dict[int, dict[str, str]]:
    """Returns the tags of the ablation's runs by number: arm, seed and phase."""
    latest = numbering.latest
    return {latest[run.key]: dict(tags_of(run)) for run in findings.runs if run.key in latest}


def track_taken(session: Session, findings: Findings) -> None:
    """Opens an MLflow run for each taken result, so that MLflow alone has the whole study."""
    for run in findings.runs:
        record = findings.record(run)
        if record is None or TAKEN not in record.tags or record.mlflow_id is not None:
            continue
        tags = {**tags_of(run), **record.tags, "run_id": record.run_id or ""}
        tracked = session.plan.run(record.number, run.overrides, tags)
        mlflow_id = session.tracker.open_trial(
            session.parent_id, tracked.key, tracked.name, tracked.spec.as_flat_dict(), tracked.tags
        )
        session.tracker.close(mlflow_id, record.status, metrics=record.metrics)
        session.keep(replace(record, mlflow_id=mlflow_id))


def track_superseded(session: Session, numbering: RunNumbers) -> None:
    """Marks the runs of arms whose settings have changed since, so that nothing counts them."""
    for number in numbering.superseded:
        mlflow_id = session.tracker.find_trial(session.plan.key(number))
        if mlflow_id is not None:
            record = session.records.get(number)
            status = "interrupted" if record is None else record.status
            session.tracker.close(mlflow_id, status, {"superseded": "true"})


def log_report(session: Session, files: Sequence[Path]) -> None:
    """Logs the report's files to the study's MLflow run; the spool keeps them while the server is away."""
    logger = session.tracker.logger(session.parent_id, session.plan.paths.root / "spool")
    for file in files:
        logger.artifact(file, "report")
    logger.close()
