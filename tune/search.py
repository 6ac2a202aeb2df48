"""A search: one study on Ray, from the study file to the best trial.

    python tune/search.py [STUDY] [dotted.path=value ...] [--trials N|+N] [--from STUDY] [--dry-run] [--state DIR]
    ray job submit -- python tune/search.py [...]

STUDY is a YAML file or the name of a shipped study; none: `quickstart`. Killed at any moment and started again with
the same words, it goes on: what has ended counts, what was running goes on from its checkpoint. Ctrl-C (or SIGTERM)
stops gently, a second one at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: sys.path[0] is tune/, whose modules would shadow others
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.errors import TrackingError
from t5vqvae.runs.tracked_run import TRAINER
from tune.process import exit_status
from tune.records.ranking import best, contenders, pareto
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths, state_dir
from tune.records.study_tracker import tracker_of
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from tune.execution.session import Session
    from tune.execution.trial import TrialPlan

QUICKSTART = "quickstart"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        study: Its name.
        records: Every trial that has ended, those of earlier starts included, by number.
        best: The best trial that counts (with a bottleneck, constraints met), or None.
        pareto: The trials that no other beats in all objectives.
        mlflow_parent_id: The MLflow run of the study.
        stopped: Why it stopped before its trials were used up, or None.
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
    """Searches a study, or goes on with it.

    Args:
        spec: The study.
        state: Where studies live; None: see `tune.records.study_paths.state_dir`.
        warm_start: Another study to learn from, where the spaces overlap.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.

    Raises:
        UserError: If the study cannot work; no trial has been started then.
    """
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
    """Returns why a search stops when more of its trials failed in this start than the budget allows."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status: 2 for what was refused, 1 when no trial worked."""
    options = _parse(arguments)
    return exit_status(lambda: _carry_out(options))


def _carry_out(options: argparse.Namespace) -> int:
    spec = _spec(options)
    if options.dry_run:
        from tune.sampling.dry_run import dry_run

        print(dry_run(spec))
        return 0
    result = search(spec, state=options.state, warm_start=options.warm_start)
    if result.stopped:
        print(f"stopped since {result.stopped}; the same command goes on")
    worked = [record for record in result.records if record.status in ("completed", "pruned")]
    return 0 if worked or not result.records else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="search", description="Search a study on Ray, or go on with it.")
    parser.add_argument("words", nargs="*", help="STUDY (a YAML file or a shipped name), then dotted.path=value")
    parser.add_argument("--trials", help="trials in all, or +N for N more than a finished study had")
    parser.add_argument("--from", dest="warm_start", metavar="STUDY", help="learn from the trials of another study")
    parser.add_argument("--dry-run", action="store_true", help="print what would run and how long, and end")
    parser.add_argument("--state", type=Path, help="state folder; default: $T5VQVAE_STATE, or var/ of the project")
    return parser.parse_intermixed_args(arguments)


def _spec(options: argparse.Namespace) -> SearchSpec:
    """Returns the study that a command line asks for, its budget extended where `--trials` says so."""
    words = list(options.words)
    study = words.pop(0) if words and "=" not in words[0] else QUICKSTART
    spec = SearchSpec.load(study, words)
    if options.trials is None:
        return spec
    paths = StudyPaths(state_dir(options.state), spec.name)
    earlier = SearchSpec.read(paths.spec).budget if paths.spec.exists() else spec.budget
    trials = earlier.extended(options.trials, len(read_records(paths.trials)))
    return SearchSpec.parse({**spec.as_dict(), "budget": {**spec.budget.as_dict(), "trials": trials}})


if __name__ == "__main__":
    from tune.search import main as run  # under its own name, so that what is pickled can be found again

    sys.exit(run())
