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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError, TrackingError
from t5vqvae.runs.tracked_run import TRAINER
from tune.execution.trial import TrialPlan
from tune.process import collected_seldom, exit_status
from tune.records.ranking import contenders, pareto
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths, state_dir
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from tune.execution.stopping import Stop
from tune.execution.settle import settle_tracking
from tune.records.study_tracker import tracker_of

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
        warm_start: Another study, whose trials are told to the sampler where spaces overlap.
        trainer: See `t5vqvae.runs.tracked_run.TRAINER`.

    Raises:
        UserError: If the study cannot work; no trial has been started then.
    """
    from tune.execution.stopping import Stop

    paths = StudyPaths(state_dir(state), spec.name)
    stop = Stop(spec.budget.hours)
    with paths.locked(), stop.on_signals(), collected_seldom():
        records = {record.number: record for record in read_records(paths.trials)}
        if paths.spec.exists():
            spec.refuse_changes(SearchSpec.read(paths.spec))
        plan = _plan(spec, paths, trainer)
        plan.tracker.check()
        other = _storage_of(warm_start, paths)
        if len(records) < spec.budget.trials:
            _prepare_data(plan)
            plan = _run(spec, plan, records, stop, other)
        else:
            plan = _opened(spec, plan)
        return _conclude(spec, plan, records, stop.reason)


def _run(
    spec: SearchSpec, plan: TrialPlan, records: dict[int, TrialRecord], stop: Stop, other: Path | None
) -> TrialPlan:
    """Runs the trials that are left, on Ray; returns the plan with the study's MLflow run."""
    from tune.execution.ray_cluster import connect, num_concurrent
    from tune.execution.searcher import StudySearcher
    from tune.execution.session import run_trials

    with connect():
        stop.listen()  # again: Ray puts a handler of its own in place
        concurrent = num_concurrent(plan, spec.budget.concurrent)
        plan = _opened(spec, plan)
        spec.write(plan.paths.spec)
        try:
            searcher = StudySearcher(spec, plan.paths.storage, other)
            searcher.reconcile(records)
            run_trials(spec, plan, records, searcher=searcher, stop=stop, concurrent=concurrent)
        except BaseException:
            plan.tracker.close(plan.parent_id, "interrupted", key=spec.name, spool=plan.paths.root / "spool")
            raise
    return plan


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


def _plan(spec: SearchSpec, paths: StudyPaths, trainer: str) -> TrialPlan:
    """Returns what all trials share, but for the study's MLflow run."""
    resources = spec.resources
    return TrialPlan(
        study=spec.name,
        base=spec.base_spec,
        paths=paths,
        runner=spec.resolved_runner,
        cpus=resources.cpus,
        gpus=resources.first_gpus,
        packed=resources.packed,
        workers=resources.workers,
        keep_steps=spec.retention.keep_steps,
        tracker=tracker_of(spec, paths),
        trainer=trainer,
    )


def _opened(spec: SearchSpec, plan: TrialPlan) -> TrialPlan:
    """Returns the plan with the study's MLflow run open, and sends what an earlier start could not."""
    tags = {"t5vqvae.study": spec.name, "question": spec.question}
    plan = replace(plan, parent_id=plan.tracker.open_study(spec.as_flat_dict(), tags))
    plan.tracker.replay(plan.paths.trials)
    return plan


def _storage_of(study: str | None, paths: StudyPaths) -> Path | None:
    """Returns the Optuna storage of another study under the same state folder."""
    if study is None:
        return None
    other = StudyPaths(paths.state, study)
    if not other.storage.exists():
        raise SettingError(f"--from {study}: no such study under {paths.state / 'studies'}")
    return other.storage


def _prepare_data(plan: TrialPlan) -> None:
    """Tokenizes the corpus before trials fan out, so that a fault in the data is said once and before they start."""
    if plan.trainer == TRAINER:
        from t5vqvae.data import prepare

        prepare(plan.base.data, plan.paths.cache, backbone=getattr(plan.base.model, "backbone", None))


def _conclude(spec: SearchSpec, plan: TrialPlan, records: dict[int, TrialRecord], stopped: str | None) -> SearchResult:
    """Brings tracking to its end and returns what was found."""
    try:
        settle_tracking(plan, records)
    except TrackingError as error:
        print(f"{error}; what is unsent is kept, and sent by the next start of this study")
    found = [records[number] for number in sorted(records)]
    best = next(iter(contenders(found, spec)), None)
    tags = {} if best is None else {"best_trial": str(best.number), "best_run": str(best.mlflow_id)}
    metrics = {} if best is None else {f"best/{key}": value for key, value in best.metrics.items()}
    spool = plan.paths.root / "spool"
    status = "interrupted" if stopped else "completed"
    plan.tracker.close(plan.parent_id, status, tags, metrics, key=spec.name, spool=spool)
    if best is not None and best.mlflow_id and best.checkpoint and plan.trainer == TRAINER:
        with suppress(TrackingError):  # promotion does it again
            plan.tracker.log_model(best.mlflow_id, Path(best.checkpoint))
    return SearchResult(spec.name, found, best, pareto(found, spec), plan.parent_id, stopped)


if __name__ == "__main__":
    from tune.search import main as run  # under its own name, so that what is pickled can be found again

    sys.exit(run())
