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

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import TrackingError
from t5vqvae.runs.tracked_run import TRAINER
from t5vqvae.stages import stage
from tune.records.ranking import best, contenders, pareto
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths, state_dir
from tune.records.study_tracker import tracker_of
from tune.spec.search_spec import SearchSpec

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
    """

    study: str
    records: list[TrialRecord]
    best: TrialRecord | None
    pareto: list[TrialRecord]
    mlflow_parent_id: str | None
    stopped: str | None = None


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

    with stage("loading Ray and MLflow"):
        from tune.execution.session import Session, locked

    paths = StudyPaths(state_dir(state), spec.name)
    with locked(paths, spec) as stop:
        records = {record.number: record for record in read_records(paths.trials)}
        if paths.spec.exists():
            spec.refuse_changes(SearchSpec.read(paths.spec))
        session = Session(spec, _plan(spec, paths, trainer), records, stop)
        session.tracker.check()
        other = _folder_of(warm_start, paths)
        if len(records) < spec.budget.trials:
            check_cluster()
            _prepare_data(session.plan)
            _run(spec, session, other)
        else:
            session.open()
        return _conclude(spec, session)


def _plan(spec: SearchSpec, paths: StudyPaths, trainer: str) -> TrialPlan:
    from tune.execution.trial import TrialPlan

    return TrialPlan.of(spec, spec.base_spec, paths, tracker_of(spec, paths), trainer)


def _run(spec: SearchSpec, session: Session, other: Path | None) -> None:
    """Runs the trials that are left, on Ray."""
    from tune.execution.asha import scheduler_of
    from tune.monitor.board import Board, wide_console
    from tune.sampling.suggestions import Suggestions
    from tune.sampling.warm_start import warm_start

    paths = session.plan.paths
    with session.on_ray() as concurrent:
        session.open()
        spec.write(paths.spec)
        suggestions = Suggestions(spec, paths.storage)
        if other is not None:
            warm_start(suggestions, other)
        suggestions.reconcile(session.records)
        metrics = [objective.metric for objective in spec.objectives]
        session.run(
            suggestions,
            board=Board(spec.name, metrics, spec.budget.trials, wide_console()),
            rank=lambda found: contenders(found, spec),
            concurrent=concurrent,
            scheduler=scheduler_of(spec, suggestions.intermediate_values()),
            too_many_failures=lambda num_failed: _too_many_failures(num_failed, spec),
        )


def _too_many_failures(num_failed: int, spec: SearchSpec) -> str | None:
    """Returns the reason to stop a search after more failed trials in this start than the budget allows, or None."""
    if num_failed <= spec.budget.max_failures:
        return None
    return f"{num_failed} trials failed (budget.max_failures={spec.budget.max_failures}); see their error.txt"


def _folder_of(study: str | None, paths: StudyPaths) -> Path | None:
    """Returns the folder of another study under the same state folder, to learn from."""
    if study is None:
        return None
    return StudyPaths.existing(paths.state, study, named_by="--from").root


def _prepare_data(plan: TrialPlan) -> None:
    """Tokenizes the corpus before trials fan out: a fault in the data ends the search once, before any trial."""
    if plan.trainer == TRAINER:
        from t5vqvae.data import prepare

        prepare(plan.base.data, plan.paths.cache, backbone=plan.base.model.backbone)


def _conclude(spec: SearchSpec, session: Session) -> SearchResult:
    """Brings tracking to its end and returns what was found."""
    session.settle()
    found, plan = session.ended, session.plan
    winner = best(found, spec)
    tags = {} if winner is None else {"best_trial": str(winner.number), "best_run": str(winner.mlflow_id)}
    metrics = {} if winner is None else {f"best/{key}": value for key, value in winner.metrics.items()}
    session.close(tags, metrics)
    if winner is not None and winner.mlflow_id and winner.checkpoint and plan.trainer == TRAINER:
        with suppress(TrackingError):  # promotion does it again
            session.tracker.log_model(winner.mlflow_id, Path(winner.checkpoint))
    return SearchResult(spec.name, found, winner, pareto(found, spec), plan.parent_id, session.stop.reason)
