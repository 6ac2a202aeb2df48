"""Searches a study on Ray, from the study file to the best trial.

    t5vqvae search [STUDY] [path=value ...] [--trials N|+N] [--from STUDY] [--dry-run] [--state DIR]
    python tune/search.py [...]                      the same
    ray job submit -- python tune/search.py [...]    the same, as a job of a cluster

STUDY is a YAML file or the name of a shipped study; without it: `quickstart`. The same command resumes a search that
was killed at any moment: ended trials count, and running ones resume from their checkpoints. Ctrl-C (or SIGTERM) stops
gently, a second one at once.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds: help and refusals are quick
    import sys
    from pathlib import Path

    if not __package__:  # run as a script: sys.path[0] is tune/, whose modules would shadow others
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from tune.cli import main  # imports this module under its own name, so that workers find what is pickled

    sys.exit(main(["search", *sys.argv[1:]]))

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError, DataError, TrackingError, UserError
from t5vqvae.runs.tracked_run import TRAINER
from t5vqvae.spec.run import backbone_fingerprint
from t5vqvae.stages import stage
from tune.records.ranking import best, contenders, pareto
from tune.records.record import TrialRecord, intact_records
from tune.records.study_paths import StudyPaths, is_there, state_dir
from tune.records.study_tracker import tracker_of
from tune.spec.kept_study import KeptStudy, has_evidence
from tune.spec.search_spec import SearchSpec
from tune.spec.study_spec import WAY_OUT

if TYPE_CHECKING:
    from tune.execution.session import Session
    from tune.execution.trial import TrialPlan


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        study: Its name.
        records: Every trial that has ended, those of earlier starts included, by number.
        best: The best trial that counts (with a bottleneck, constraints met), or None.
        pareto: The trials that no other beats in all objectives.
        mlflow_parent_id: The MLflow run of the study.
        stopped: The reason why it stopped before its last trial, or None.
        report: The page of its report; None: it was stopped, or no trial has ended.
    """

    study: str
    records: list[TrialRecord]
    best: TrialRecord | None
    pareto: list[TrialRecord]
    mlflow_parent_id: str | None
    stopped: str | None = None
    report: Path | None = None


def search(
    spec: SearchSpec, *, state: Path | str | None = None, warm_start: str | None = None, trainer: str = TRAINER
) -> SearchResult:
    """Searches a study, or resumes its search.

    Args:
        spec: The study.
        state: Where studies live; None: see `tune.records.study_paths.state_dir`.
        warm_start: Another study to learn from, where the spaces overlap.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.

    Raises:
        UserError: If the study cannot work; no trial has been started then.
    """
    from tune.execution.ray_address import check_cluster

    paths = StudyPaths(state_dir(state), spec.name)
    _refuse_new(spec, paths)
    with stage("loading Ray and MLflow"):
        from tune.execution.session import Session, locked

    with locked(paths, spec) as stop:
        records = intact_records(paths.trials)
        kept = _kept(spec, paths, records)
        session = Session(spec, _plan(spec, paths, trainer), records, stop)
        session.tracker.check()
        other = None if warm_start is None else paths.other(warm_start).root
        left = len(records) < spec.planned_trials
        if left:
            check_cluster()
        kept = kept.with_sources(spec.name, _sources(session.plan, spec, left))
        if left:
            _run(spec, session, other, kept)
        else:
            _open(spec, session)
            kept.write(paths.spec, spec)  # its rules of promotion may be new
        _log_data(spec, session, kept)
        if spec.planned_trials <= len(records) and spec.planned_trials < spec.budget.trials:
            print(f"all {spec.planned_trials} settings tried")
        return _conclude(spec, session)


def will_learn(spec: SearchSpec, paths: StudyPaths, warm_start: str | None) -> bool:
    """Returns whether a study has evidence of another one, before it starts.

    Args:
        spec: The study.
        paths: Where it lives.
        warm_start: The other study; None: that of an earlier start.

    Raises:
        UserError: If the study was started with settings that may not change.
    """
    _refuse_new(spec, paths)
    _kept(spec, paths, intact_records(paths.trials))
    return has_evidence(paths.spec) if warm_start is None else bool(paths.other(warm_start))


def _refuse_new(spec: SearchSpec, paths: StudyPaths) -> None:
    if not is_there(paths.spec):
        spec.refuse_new()


def _kept(spec: SearchSpec, paths: StudyPaths, records: Mapping[int, TrialRecord]) -> KeptStudy:
    """Returns what the study keeps of its first start; refuses to resume another study."""
    if is_there(paths.spec):
        ended = [record.metrics for record in records.values() if record.status in ("completed", "pruned")]
        spec.refuse_unmeasured(
            ended, f"study {spec.name}", "undo that, or give the study another name (name=...), without --from"
        )
        kept = KeptStudy.read(paths.spec)
        spec.refuse_changes(SearchSpec.read(paths.spec), kept)
        return kept
    if records:
        raise DamagedFileError(f"{paths.root} has {len(records)} ended trials and no {paths.spec.name}; {WAY_OUT}")
    return KeptStudy()


def _plan(spec: SearchSpec, paths: StudyPaths, trainer: str) -> TrialPlan:
    from tune.execution.trial import TrialPlan

    return TrialPlan.of(spec, spec.base_spec, paths, tracker_of(spec, paths), trainer)


def _run(spec: SearchSpec, session: Session, other: Path | None, kept: KeptStudy) -> None:
    """Runs the trials that are left, on Ray."""
    from tune.execution.asha import scheduler_of
    from tune.monitor.board import Board, wide_console
    from tune.sampling.resume import resumed
    from tune.sampling.warm_start import warm_start

    paths = session.plan.paths
    with session.on_ray() as room:
        _open(spec, session)
        kept.write(paths.spec, spec)
        suggestions = resumed(spec, paths, session.records, kept.evidence)
        if other is not None:
            warm_start(suggestions, other)
            replace(kept, evidence=suggestions.evidence).write(paths.spec, spec)
        metrics = [objective.metric for objective in spec.objectives]
        session.run(
            suggestions,
            board=Board(spec.name, metrics, spec.planned_trials, wide_console()),
            rank=lambda found: contenders(found, spec),
            room=room,
            scheduler=scheduler_of(spec, suggestions.intermediate_values()),
            too_many_failures=lambda num_failed: _too_many_failures(num_failed, spec),
        )


def _open(spec: SearchSpec, session: Session) -> None:
    session.open(planned=spec.planned_trials, rank=lambda found: contenders(found, spec))


def _log_data(spec: SearchSpec, session: Session, kept: KeptStudy) -> None:
    fingerprint, data = kept.sources.get("data_fingerprint"), spec.base_spec.data
    if fingerprint and session.page is not None:
        session.page.log_data(data.corpus.name, fingerprint, data.as_flat_dict())


def _too_many_failures(num_failed: int, spec: SearchSpec) -> str | None:
    """Returns the reason to stop a search after more failed trials in this start than the budget allows, or None."""
    if num_failed <= spec.budget.max_failures:
        return None
    return f"{num_failed} trials failed (budget.max_failures={spec.budget.max_failures}); see their error.txt"


def _sources(plan: TrialPlan, spec: SearchSpec, left: bool) -> dict[str, str]:
    """Prepares the data before trials fan out, so that a fault in it ends the search once; returns hashes of both.

    Args:
        plan: What the trials share.
        spec: The search.
        left: Whether trials are left to run; without any, data that is gone is no fault.

    Raises:
        DataError: If the data cannot be prepared.
        SettingError: If the data give a setting of the baseline no meaning.
    """
    if plan.trainer != TRAINER:
        return {}
    from t5vqvae.data import prepare
    from t5vqvae.runs.fingerprint import sources_of
    from t5vqvae.training.unfit import refuse_unfit

    try:
        found = sources_of(plan.base, plan.paths.cache)
        if left:
            refuse_unfit(plan.base, prepare(plan.base.data, plan.paths.cache, backbone=plan.base.model.backbone))
    except DataError:
        if left:
            raise
        return {}
    backbones = [value for dimension in spec.space.of("model.backbone") for value in dimension.range.ends()]
    searched = {f"model.backbone={name}": backbone_fingerprint(name) for name in backbones if name}
    return found | {name: known for name, known in searched.items() if known}


def _report(session: Session) -> Path | None:
    """Sends the study's last description and, unless it was stopped early, its report; returns the report's page."""
    assert session.page is not None, "the study's page is open"
    session.page.update(last=True)
    if session.stop.reason is not None or not session.ended:
        return None
    from tune.report.build import write_report  # scipy and Plotly take seconds

    with stage("writing the report"):
        files = write_report(session.plan.paths, session.plan.paths.root / "report")
        session.page.log_files(files)
    return files[0]


def _conclude(spec: SearchSpec, session: Session) -> SearchResult:
    """Brings tracking to its end and returns what was found."""
    session.settle()
    found, plan = session.ended, session.plan
    winner = best(found, spec)
    tags = {} if winner is None else {"best_trial": str(winner.number), "best_run": str(winner.mlflow_id)}
    metrics = {} if winner is None else {f"best/{key}": value for key, value in winner.metrics.items()}
    page = None
    try:
        page = _report(session)
    except (UserError, OSError) as error:  # what was found stays found
        print(f"no report: {error}; t5vqvae report {spec.name} writes it", flush=True)
    finally:
        session.close(tags, metrics)
    if winner is not None and winner.mlflow_id and winner.checkpoint and plan.trainer == TRAINER:
        with suppress(TrackingError, DataError):  # promotion does it again, or says why it cannot
            model_uri = session.tracker.log_model(winner.mlflow_id, Path(winner.checkpoint))
            session.tracker.link_model(session.parent_id, model_uri)
    return SearchResult(spec.name, found, winner, pareto(found, spec), plan.parent_id, session.stop.reason, page)
