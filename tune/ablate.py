"""An ablation: one study on Ray, from the file of arms to effects with intervals and a report.

    python tune/ablate.py STUDY [dotted.path=value ...] [--dry-run] [--state DIR]
    ray job submit -- python tune/ablate.py STUDY [...]

STUDY is a YAML file or the name of a shipped ablation. First every arm's nuisance settings are tuned, on a seed that
the comparison does not use; then arms and seeds run at once. Killed at any moment and started again with the same
words, it goes on. Every planned run has its own record and MLflow run, tagged arm, seed and phase; one that was there
already is not trained again and is tagged `taken_from`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: sys.path[0] is tune/, whose modules would shadow others
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from t5vqvae.errors import SettingError, TrackingError
from t5vqvae.runs.tracked_run import TRAINER
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.ablation_tracking import log_report, track_superseded, track_taken
from tune.ablation.baseline import base_of
from tune.ablation.findings import TAKEN, AblationHistory, Findings, write_parquet
from tune.ablation.plan import dry_run, expand
from tune.ablation.reuse import ResultCache, identifier, prepared_fingerprint
from tune.ablation.run_numbers import Numbering
from tune.ablation.run_queue import Job, RunQueue, tags_of
from tune.analysis import Comparison, FactorialEffect
from tune.execution.asha import RunToCompletion
from tune.execution.settle import settle_tracking
from tune.execution.stopping import Stop
from tune.execution.trial import TrialPlan
from tune.process import collected_seldom, exit_status
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths, state_dir
from tune.records.study_tracker import tracker_of
from tune.report.ablation_report import AblationReport
from tune.report.build import ablation_report

MAX_EARLY_FAILURES = 3
"""Runs that may fail before a single one has worked; one more ends the study."""


@dataclass(frozen=True)
class AblationResult:
    """What an ablation found.

    Attributes:
        study: Its name.
        comparison: Arms against the baseline.
        effects: Main effects and interactions of a factorial.
        tuned: The nuisance settings chosen for every arm.
        records: Every run that has ended, earlier starts included, by number.
        report: What is written into the study's folder.
        files: The report's files and `runs.parquet`.
        mlflow_parent_id: The MLflow run of the study.
        stopped: Why it stopped before its end, or None.
    """

    study: str
    comparison: Comparison
    effects: Sequence[FactorialEffect]
    tuned: Mapping[str, Mapping[str, Any]]
    records: Sequence[TrialRecord]
    report: AblationReport
    files: Sequence[Path]
    mlflow_parent_id: str | None
    stopped: str | None = None


def ablate(spec: AblationSpec, *, state: Path | str | None = None, trainer: str = TRAINER) -> AblationResult:
    """Runs an ablation, or goes on with it.

    Args:
        spec: The study.
        state: Where studies live; None: see `tune.records.study_paths.state_dir`.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.

    Raises:
        UserError: If the study cannot work or could show nothing; no run has been started then.
    """
    paths, stop = StudyPaths(state_dir(state), spec.name), Stop(spec.budget.hours)
    with paths.locked(), stop.on_signals(), collected_seldom():
        plan, begun = _begin(spec, paths, trainer)
        numbering = Numbering(paths.root)
        ended = {record.number: record for record in read_records(paths.trials)}
        records = {number: record for number, record in ended.items() if record.status != "failed"}  # tried again
        findings = Findings(spec, begun.base, numbering.latest, records)
        plan = _run(plan, findings, numbering, stop)
        begun.write(paths)
        findings = replace(findings, numbers=numbering.latest)
        return _conclude(plan, findings, numbering, begun.notes(), stop.reason)


def _begin(spec: AblationSpec, paths: StudyPaths, trainer: str) -> tuple[TrialPlan, AblationHistory]:
    """Returns what all runs share, and the study's history with this start; refuses what cannot work."""
    if paths.spec.exists():
        raise SettingError(f"name={spec.name} is a search's under {paths.root.parent}; give the ablation another name")
    if spec.sequential is not None and spec.design is not None and spec.design.name in ("factorial", "fractional"):
        raise SettingError("sequential: a factorial needs all its cells, so no arm can stop early; leave it out")
    tracker = tracker_of(spec, paths)
    tracker.check()
    before = AblationHistory.read(paths)
    base = base_of(spec, paths, tracker) if before is None or _asks_another_base(before, spec) else before.base
    spec.check(base)
    earlier = () if before is None else before.specs
    specs = earlier if earlier and earlier[-1] == spec else (*earlier, spec)
    plan = TrialPlan(
        study=spec.name,
        base=base,
        paths=paths,
        runner=_runner(spec),
        cpus=spec.resources.cpus,
        gpus=spec.resources.first_gpus,
        packed=spec.resources.packed,
        workers=spec.resources.workers,
        keep_steps=spec.retention.keep_steps,
        tracker=tracker,
        trainer=trainer,
    )
    return plan, AblationHistory(base, specs)


def _asks_another_base(before: AblationHistory, spec: AblationSpec) -> bool:
    last = before.specs[-1]
    return (last.base, last.baseline, last.resources) != (spec.base, spec.baseline, spec.resources)


def _runner(spec: AblationSpec) -> str:
    if spec.runner == "auto":
        return "process" if spec.resources.workers == 1 else "ray_train"
    if spec.runner == "process" and spec.resources.workers > 1:
        raise SettingError(f"runner=process takes one worker, not resources.workers={spec.resources.workers}")
    return spec.runner


def _run(plan: TrialPlan, findings: Findings, numbering: Numbering, stop: Stop) -> TrialPlan:
    """Runs what is left, on Ray; returns the plan with the study's MLflow run."""
    from tune.execution.ray_cluster import connect, num_concurrent

    spec = findings.spec
    with connect():
        stop.listen()  # again: Ray puts a handler of its own in place
        concurrent = num_concurrent(plan, spec.budget.concurrent)
        fingerprint = prepared_fingerprint(plan) if plan.trainer == TRAINER else lambda _: plan.trainer
        identify = identifier(plan, fingerprint)
        for arm in findings.arms:  # a fault in the data is said before anything starts
            identify(plan.base.with_overrides(arm.overrides))
        tags = {"t5vqvae.study": spec.name, "question": spec.question, "ablation": "true"}
        plan = replace(plan, parent_id=plan.tracker.open_study(spec.as_flat_dict(), tags))
        plan.tracker.replay(plan.paths.trials)
        try:
            _run_jobs(plan, findings, numbering, identify, stop, concurrent)
        except BaseException:
            plan.tracker.close(plan.parent_id, "interrupted", key=spec.name, spool=plan.paths.root / "spool")
            raise
    return plan


def _run_jobs(
    plan: TrialPlan, findings: Findings, numbering: Numbering, identify: Any, stop: Stop, concurrent: int
) -> None:
    from tune.ablation.run_board import PlannedRuns, RunBoard
    from tune.execution.recorder import TrialRecorder
    from tune.execution.retention import Retention
    from tune.execution.session import tune_run
    from tune.monitor.board import Row, wide_console

    spec, records = findings.spec, findings.records
    assert isinstance(records, dict)

    board = RunBoard(spec.name, [spec.objective.metric], len(expand(spec, plan.base)), wide_console())

    def keep(job: Job, record: TrialRecord) -> None:
        record.write(plan.paths.trial(job.number))
        records[job.number] = record
        board.label({job.number: job.tags})
        board.put(Row(job.number, job.tags, record.status, record.metrics))

    agenda = RunQueue(findings, numbering, identify=identify, find=ResultCache(plan.paths, plan.tracker), keep=keep)
    if agenda.finished:
        return
    retention = Retention(plan.paths, spec.retention.keep_best, lambda found: _ranked(found, spec))
    ledger = TrialRecorder(spec, plan, records, retention, board)
    board.label({numbering.latest[run.key]: tags_of(run) for run in findings.runs if run.key in numbering.latest})
    stop.failed = lambda: _hopeless(ledger.num_failed, records)
    tune_run(
        plan,
        searcher=PlannedRuns(agenda, board),
        scheduler=RunToCompletion(),
        stop=stop,
        concurrent=concurrent,
        ledger=ledger,
        board=board,
    )


def _hopeless(num_failed: int, records: Mapping[int, TrialRecord]) -> str | None:
    """Returns why a study is stopped whose first runs all fail: a single broken arm is reported instead."""
    worked = any(record.status == "completed" for record in records.values())
    if worked or num_failed <= MAX_EARLY_FAILURES:
        return None
    return f"{num_failed} runs failed before one worked; see their error.txt"


def _ranked(records: list[TrialRecord], spec: AblationSpec) -> list[TrialRecord]:
    """Returns the completed runs that were trained here, best first."""
    objective = spec.objective
    done = [r for r in records if r.status == "completed" and objective.metric in r.metrics and TAKEN not in r.tags]
    return sorted(done, key=lambda record: (objective.sign * record.metrics[objective.metric], record.number))


def _conclude(
    plan: TrialPlan, findings: Findings, numbering: Numbering, history: Sequence[str], stopped: str | None
) -> AblationResult:
    """Brings tracking to its end, writes the report, and returns what was found."""
    spec, paths, records = findings.spec, plan.paths, findings.records
    assert isinstance(records, dict)
    try:
        track_taken(plan, findings)
        settle_tracking(plan, records)
        track_superseded(plan, numbering, records)
    except TrackingError as error:
        print(f"{error}; what is unsent is kept, and sent by the next start of this study")
    notes = [*history, *([f"unfinished: it stopped since {stopped}"] if stopped else [])]
    report = ablation_report(findings, notes, plan.tracker, plan.parent_id)
    folder = paths.root / "report"
    files = [*report.write(folder), write_parquet(findings.table(), folder / "runs.parquet")]
    log_report(plan, files)
    metrics = {f"effect/{arm.arm}": arm.effect.mean for arm in report.comparison.arms if arm.effect is not None}
    verdicts = {f"verdict/{arm.arm}": arm.verdict for arm in report.comparison.arms}
    status, spool = "interrupted" if stopped else "completed", paths.root / "spool"
    plan.tracker.close(plan.parent_id, status, verdicts, metrics, key=spec.name, spool=spool)
    found = [records[number] for number in sorted(records)]
    return AblationResult(
        study=spec.name,
        comparison=report.comparison,
        effects=report.effects,
        tuned=report.tuned,
        records=found,
        report=report,
        files=files,
        mlflow_parent_id=plan.parent_id,
        stopped=stopped,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status: 2 for what was refused, 1 when no run worked."""
    options = _parse(arguments)
    return exit_status(lambda: _carry_out(options))


def _carry_out(options: argparse.Namespace) -> int:
    spec = AblationSpec.load(options.words[0], options.words[1:])
    if options.dry_run:
        paths = StudyPaths(state_dir(options.state), spec.name)
        print(dry_run(spec, base_of(spec, paths, tracker_of(spec, paths))).markdown())
        return 0
    result = ablate(spec, state=options.state)
    print(result.report.markdown())
    if result.stopped:
        print(f"stopped since {result.stopped}; the same command goes on")
    print(f"report: {result.files[0]}")
    return 0 if any(record.status == "completed" for record in result.records) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    known = ", ".join(AblationSpec.shipped())
    parser = argparse.ArgumentParser(prog="ablate", description="Run an ablation on Ray, or go on with it.")
    parser.add_argument("words", nargs="+", help=f"STUDY (a YAML file, or one of {known}), then dotted.path=value")
    parser.add_argument("--dry-run", action="store_true", help="print what would run and how long, and end")
    parser.add_argument("--state", type=Path, help="state folder; default: $T5VQVAE_STATE, or var/ of the project")
    return parser.parse_intermixed_args(arguments)


if __name__ == "__main__":
    from tune.ablate import main as run  # under its own name, so that what is pickled can be found again

    sys.exit(run())
