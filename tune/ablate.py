"""Runs an ablation on Ray, from the file of arms to effects with intervals and a report.

    t5vqvae ablate STUDY [path=value ...] [--dry-run] [--from FILE] [--state DIR]
    python tune/ablate.py STUDY [...]                      the same
    ray job submit -- python tune/ablate.py STUDY [...]    the same, as a job of a cluster

STUDY is a YAML file or the name of a shipped ablation. For every seed of the comparison, the nuisance settings of every
arm are tuned, on a seed that the comparison does not use; then the arm runs. The same command resumes an ablation that
was killed at any moment. Every planned run has its own record and MLflow run, tagged arm, seed and phase; a run whose
result exists already is not trained again and is tagged `taken_from`; with `--from runs.parquet` of a report, a study
continues where another machine ended.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds: help and refusals are quick
    import sys
    from pathlib import Path

    if not __package__:  # run as a script: sys.path[0] is tune/, whose modules would shadow others
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from tune.cli import main  # imports this module under its own name, so that workers find what is pickled

    sys.exit(main(["ablate", *sys.argv[1:]]))

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError
from t5vqvae.redaction import redacted_values
from t5vqvae.runs.tracked_run import TRAINER
from t5vqvae.stages import stage
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.ablation_tracking import log_report, run_tags, track_superseded, track_taken
from tune.ablation.baseline import base_of
from tune.ablation.brought_runs import BroughtRuns
from tune.ablation.findings import TAKEN, Findings, write_parquet
from tune.ablation.history import AblationHistory, refuse_new_question
from tune.ablation.plan import Tuned, expand
from tune.ablation.reuse import ResultCache, identifier, prepared_fingerprint
from tune.ablation.run_board import RunBoard
from tune.ablation.run_numbers import RunNumbers
from tune.ablation.run_queue import Identify, Job, RunQueue, tags_of
from tune.analysis import Comparison, FactorialEffect
from tune.records.record import TrialRecord, intact_records
from tune.records.study_paths import StudyPaths, is_there, state_dir
from tune.records.study_tracker import tracker_of
from tune.report.ablation_report import AblationReport
from tune.report.build import ablation_report

if TYPE_CHECKING:
    from tune.execution.capacity import Room
    from tune.execution.session import Session
    from tune.execution.trial import TrialPlan

MAX_EARLY_FAILURES = 3
"""Runs that may fail before a single one has worked; one more ends the study."""


@dataclass(frozen=True)
class AblationResult:
    """The result of an ablation.

    Attributes:
        study: Its name.
        comparison: The arms against the baseline.
        effects: Main effects and interactions of a factorial.
        tuned: The nuisance settings chosen for every arm and seed.
        records: Every run that has ended, earlier starts included, by number.
        report: The report in the study's folder.
        files: The report's files and `runs.parquet`.
        mlflow_parent_id: The MLflow run of the study.
        stopped: The reason why it stopped before its end, or None.
    """

    study: str
    comparison: Comparison
    effects: Sequence[FactorialEffect]
    tuned: Tuned
    records: Sequence[TrialRecord]
    report: AblationReport
    files: Sequence[Path]
    mlflow_parent_id: str | None
    stopped: str | None = None


def ablate(
    spec: AblationSpec, *, state: Path | str | None = None, trainer: str = TRAINER, brought: Path | None = None
) -> AblationResult:
    """Runs an ablation, or resumes it.

    Args:
        spec: The study.
        state: Where studies live; None: see `tune.records.study_paths.state_dir`.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.
        brought: `runs.parquet` of a report, whose results are taken where settings, data and precision are the same.

    Raises:
        UserError: If the study cannot work or could show nothing; no run has been started then.
    """
    bring = None if brought is None else BroughtRuns(brought)
    if bring is not None:
        print(bring.note, file=sys.stderr)
    with stage("loading Ray and MLflow"):
        from tune.execution.session import Session, locked

    paths = StudyPaths(state_dir(state), spec.name)
    with locked(paths, spec) as stop:
        ended = intact_records(paths.trials)
        records = {number: record for number, record in ended.items() if record.status != "failed"}  # retried
        plan, history = _begin(spec, paths, trainer, bool(records))
        session, numbering = Session(spec, plan, records, stop), RunNumbers(paths.root)
        findings = Findings(spec, history.base, numbering.latest, records)
        _run(session, findings, numbering, history, bring)
        findings = replace(findings, numbers=numbering.latest, settings_ids=numbering.settings_ids)
        return _conclude(session, findings, numbering, history.notes())


def _begin(spec: AblationSpec, paths: StudyPaths, trainer: str, has_results: bool) -> tuple[TrialPlan, AblationHistory]:
    """Returns the plan of all runs and the study's history with this start; refuses a study that cannot work.

    Before a run has worked, a start counts as the first one: nothing was seen that a change could be due to.
    """
    from tune.execution.trial import TrialPlan

    if is_there(paths.spec):
        raise SettingError(f"name={spec.name} is a search's under {paths.root.parent}; give the ablation another name")
    tracker = tracker_of(spec, paths)
    tracker.check()
    before = AblationHistory.read(paths) if has_results else None
    base = base_of(spec, paths, tracker) if before is None or _asks_another_base(before, spec) else before.base
    spec.check(base)
    refuse_new_question(spec, base, paths)
    earlier = () if before is None else before.specs
    same = bool(earlier) and redacted_values(earlier[-1].as_dict()) == redacted_values(spec.as_dict())
    specs = earlier if same else (*earlier, spec)
    return TrialPlan.of(spec, base, paths, tracker, trainer), AblationHistory(base, specs)


def _asks_another_base(before: AblationHistory, spec: AblationSpec) -> bool:
    last, base = before.specs[-1], redacted_values(spec.base)  # the study's file has no secrets
    return (redacted_values(last.base), last.baseline, last.resources) != (base, spec.baseline, spec.resources)


def _run(
    session: Session, findings: Findings, numbering: RunNumbers, history: AblationHistory, bring: BroughtRuns | None
) -> None:
    """Runs what is left, on Ray."""
    plan = session.plan
    with session.on_ray() as room:
        fingerprint = prepared_fingerprint(plan) if plan.trainer == TRAINER else lambda _: plan.trainer
        identify, settings_id = (identifier(plan, fingerprint, any_version=each) for each in (False, True))
        for arm in findings.arms:  # a fault in the data ends the study here, before any run
            identify(plan.base.with_overrides(arm.overrides))
        planned = len(expand(findings.spec, plan.base))
        session.open({"ablation": "true"}, run_tags(findings, numbering), planned)
        history.write(plan.paths)  # before the first run: other commands know the study by it
        _run_jobs(session, findings, numbering, room, identify=identify, settings_id=settings_id, bring=bring)


def _run_jobs(
    session: Session,
    findings: Findings,
    numbering: RunNumbers,
    room: Room,
    *,
    identify: Identify,
    settings_id: Identify,
    bring: BroughtRuns | None,
) -> None:
    from tune.monitor.board import wide_console

    spec, plan, records = session.spec, session.plan, session.records
    assert isinstance(spec, AblationSpec)
    board = RunBoard(spec.name, [spec.objective.metric], len(expand(spec, plan.base)), wide_console())

    def keep(job: Job, record: TrialRecord) -> None:
        session.keep(record)
        board.put_taken(job.number, job.tags, record)

    queue = RunQueue(
        findings,
        numbering,
        identify=identify,
        settings_id=settings_id,
        find=ResultCache(plan.paths, plan.tracker),
        bring=bring,
        keep=keep,
        start=lambda job: board.label({job.number: job.tags}),
    )
    if queue.finished:
        return
    board.label({numbering.latest[run.key]: tags_of(run) for run in findings.runs if run.key in numbering.latest})
    session.run(
        queue,
        board=board,
        rank=lambda found: _ranked(found, spec),
        room=room,
        too_many_failures=lambda num_failed: _hopeless(num_failed, records),
    )


def _hopeless(num_failed: int, records: Mapping[int, TrialRecord]) -> str | None:
    """Returns the reason to stop a study whose first runs all fail; one broken arm is only reported."""
    worked = any(record.status == "completed" for record in records.values())
    if worked or num_failed <= MAX_EARLY_FAILURES:
        return None
    return f"{num_failed} runs failed before one worked; see their error.txt"


def _ranked(records: list[TrialRecord], spec: AblationSpec) -> list[TrialRecord]:
    """Returns the completed runs that were trained here, best first."""
    objective = spec.objective
    done = [r for r in records if r.status == "completed" and objective.metric in r.metrics and TAKEN not in r.tags]
    return sorted(done, key=lambda record: (objective.sign * record.metrics[objective.metric], record.number))


def _conclude(session: Session, findings: Findings, numbering: RunNumbers, history: Sequence[str]) -> AblationResult:
    """Brings tracking to its end, writes the report, and returns what was found."""
    plan, stopped = session.plan, session.stop.reason
    session.settle(
        lambda: track_taken(session, findings),
        lambda: track_superseded(session, numbering),
    )
    notes = [*history, *([f"unfinished: it stopped because {stopped}"] if stopped else [])]
    report = ablation_report(findings, notes, plan.tracker, plan.parent_id)
    folder = plan.paths.root / "report"
    files = [*report.write(folder), write_parquet(findings.table(), folder / "runs.parquet")]
    log_report(session, files)
    if session.page is not None:
        session.page.update(
            last=True, more=[report.answer(), f"Arms, effects and intervals: `report/{files[0].name}`."]
        )
    metrics = {f"effect/{arm.arm}": arm.effect.mean for arm in report.comparison.arms if arm.effect is not None}
    session.close({f"verdict/{arm.arm}": arm.verdict for arm in report.comparison.arms}, metrics)
    return AblationResult(
        study=findings.spec.name,
        comparison=report.comparison,
        effects=report.effects,
        tuned=report.tuned,
        records=session.ended,
        report=report,
        files=files,
        mlflow_parent_id=plan.parent_id,
        stopped=stopped,
    )
