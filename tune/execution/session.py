"""One driver's stay with a study: everything between the first trial it starts and the last that ends.

`run_trials` puts the parts together (Ray Tune, the sampler, halving, the ledger), each in a file of its own.
"""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray.tune

from tune.execution.asha import Rungs, RunToCompletion, StepASHA
from tune.execution.gpu_packing import GPUPackingSearcher
from tune.execution.recorder import TrialRecorder
from tune.execution.retention import Retention
from tune.execution.searcher import GivenAgain, StudySearcher
from tune.execution.stopping import Stop
from tune.execution.trial import PLAN, TrialPlan, trainable
from tune.monitor.board import Board, wide_console
from tune.records.ranking import contenders
from tune.records.record import TrialRecord
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from ray.tune.search import Searcher

MAX_RESTARTS = 2
"""How often a trial whose process died is started again, from its checkpoint."""


def run_trials(
    spec: SearchSpec,
    plan: TrialPlan,
    records: dict[int, TrialRecord],
    *,
    searcher: StudySearcher,
    stop: Stop,
    concurrent: int,
) -> None:
    """Runs trials until the budget is used up or `stop` says so; adds them to `records`.

    Args:
        spec: The study.
        plan: What its trials share.
        records: The trials that have ended, by number.
        searcher: What to try next.
        stop: When to stop before.
        concurrent: Trials at once.
    """
    board = Board(spec.name, [objective.metric for objective in spec.objectives], spec.budget.trials, wide_console())
    retention = Retention(plan.paths, spec.retention.keep_best, lambda found: contenders(found, spec))
    ledger = TrialRecorder(spec, plan, records, retention, board)
    stop.failed = lambda: too_many_failures(ledger.num_failed, spec)
    tune_run(
        plan,
        searcher=searcher,
        scheduler=scheduler_of(spec, plan, searcher),
        stop=stop,
        concurrent=concurrent,
        ledger=ledger,
        board=board,
    )


def tune_run(
    plan: TrialPlan,
    *,
    searcher: Searcher,
    scheduler: RunToCompletion,
    stop: Stop,
    concurrent: int,
    ledger: TrialRecorder,
    board: Board,
) -> None:
    """Lets Ray Tune run what a searcher gives, `{"number", "overrides"}` each, until it or `stop` ends it."""
    scratch = plan.paths.root / "ray"
    given = GPUPackingSearcher(searcher, scheduler, plan) if plan.gpus else GivenAgain(searcher, scheduler)
    gc.freeze()  # what was imported stays, and next to none of it is garbage; every full collection would go through it
    with _quiet(), board:
        ray.tune.run(
            trainable(plan),
            name="tune",
            storage_path=str(scratch),
            config={PLAN: plan},
            num_samples=-1,
            search_alg=given,
            scheduler=scheduler,
            max_concurrent_trials=concurrent,
            reuse_actors=plan.runner == "process",
            max_failures=MAX_RESTARTS,
            raise_on_failed_trial=False,
            stop=stop,
            callbacks=[ledger],
            trial_name_creator=_name,
            trial_dirname_creator=_name,
            verbose=0,
        )
    shutil.rmtree(scratch, ignore_errors=True)
    board.final()


def scheduler_of(spec: SearchSpec, plan: TrialPlan, searcher: StudySearcher) -> RunToCompletion:
    """Returns the scheduler of a study, its rungs filled with what earlier starts saw."""
    objective = spec.scheduler_objective
    if objective is None:
        return RunToCompletion()
    steps, factor = plan.base.train.max_steps, spec.scheduler.reduction_factor
    rungs = Rungs(spec.grace_steps, steps, factor, objective.direction)
    rungs.replay(searcher.intermediate_values())
    return StepASHA(rungs, spec.scheduled_value)


def too_many_failures(num_failed: int, spec: SearchSpec) -> str | None:
    """Returns why the search has to stop when more trials failed in this start than the budget allows."""
    if num_failed <= spec.budget.max_failures:
        return None
    return f"{num_failed} trials failed (budget.max_failures={spec.budget.max_failures}); see their error.txt"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Ray's own talk for a while: the board says what happens, `error.txt` why."""
    levels = {name: logging.getLogger(name).level for name in ("ray.tune", "ray.train", "ray.air")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _name(trial: Any) -> str:
    return f"{trial.config['number']:05d}-{trial.trial_id[:5]}"
