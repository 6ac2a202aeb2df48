"""A search without Ray: what `ray.tune.run` asks of a study's parts, in its order, one trial after the other.

The trials run in a process of their own, as actors do, so that the driver's CPU time and memory are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlflow import MlflowClient
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from t5vqvae.runs.follow import follow
from tune.execution import session
from tune.execution.asha import scheduler_of
from tune.execution.recorder import TrialRecorder
from tune.execution.retention import Retention
from tune.execution.searcher import TrialSearcher
from tune.execution.trial import TrialPlan
from tune.monitor.board import Board
from tune.records.ranking import contenders
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.sampling.suggestions import Suggestions
from tune.spec.search_spec import SearchSpec

PAGE = os.sysconf("SC_PAGE_SIZE")


def run_thin(
    spec: SearchSpec,
    paths: StudyPaths,
    trainer: str,
    *,
    tracked: bool,
    earlier: int = 0,
    before: Callable[[Board, TrialSearcher, TrialRecorder], None] = lambda *parts: None,
) -> None:
    """Runs the trials of a study that are left.

    Args:
        spec: The study.
        paths: Where it lives.
        trainer: Of its trials.
        tracked: Whether MLflow hears of them.
        earlier: How many it is said to have had before.
        before: Called before each trial, and after the last one.
    """
    plan = TrialPlan(spec.name, spec.base_spec, paths, trainer=trainer)
    if tracked:
        tracker = tracker_of(spec, paths)
        parent_id = tracker.open_study(spec.as_flat_dict(), {"t5vqvae.study": spec.name})
        plan = replace(plan, tracker=tracker, parent_id=parent_id)
    suggestions = Suggestions(spec, paths.storage)
    records = {record.number: record for record in said_to_have_ended(suggestions, earlier)}
    scheduler = scheduler_of(spec, suggestions.intermediate_values())
    searcher = TrialSearcher(suggestions, scheduler)
    board = Board(spec.name, ["validation/nll"], spec.budget.trials, Console(file=StringIO(), width=160))
    retention = Retention(paths, spec.retention.keep_best, lambda found: contenders(found, spec))
    recorder = session.TrialRecorder(spec, plan, records, retention, board)
    with _process(plan) as actor:
        before(board, searcher, recorder)
        while isinstance(suggested := searcher.suggest(name := str(suggestions.num_asked)), dict):
            run_trial(suggested, name, searcher=searcher, scheduler=scheduler, recorder=recorder, actor=actor)
            before(board, searcher, recorder)
    recorder.on_experiment_end([])


def said_to_have_ended(suggestions: Suggestions, count: int) -> Iterator[TrialRecord]:
    """Adds random trials to a study, half of them pruned early; yields their records."""
    spec, draw = suggestions.spec, random.Random(0)
    suggestions.num_asked += count
    every, last = spec.base_spec.train.eval_every, spec.base_spec.train.max_steps
    for number in range(count):
        params = {name: _drawn(distribution, draw) for name, distribution in spec.space.distributions.items()}
        completed, loss = draw.random() < 0.5, draw.random() * 3
        step = last if completed else every
        metrics = {"progress/step": float(step), "validation/nll": loss, "rate/bits_per_token": 8.0}
        trial = create_trial(
            state=TrialState.COMPLETE if completed else TrialState.PRUNED,
            value=loss,
            params=params,
            distributions=spec.space.distributions,
            intermediate_values={at: loss for at in range(every, step + 1, every)},
            constraints=suggestions.constraints("completed", metrics),
        )
        suggestions.study.add_trial(trial)
        status = "completed" if completed else "pruned"
        yield TrialRecord(spec.name, number, spec.space.overrides(params), None, None, status, step, metrics)


def _drawn(distribution: Any, draw: random.Random) -> float:
    """Returns a value of a numerical range, uniform in what Optuna searches it by."""
    low, high = distribution.low, distribution.high
    value = low * (high / low) ** draw.random() if distribution.log else draw.uniform(low, high)
    return round(value) if isinstance(distribution, IntDistribution) else value


def run_trial(
    config: dict[str, Any], name: str, *, searcher: TrialSearcher, scheduler: Any, recorder: Any, actor: Connection
) -> None:
    """Runs one trial: every report to scheduler, searcher and recorder, as Tune's controller does."""
    trial = SimpleNamespace(config=config, trial_id=name)
    recorder.on_trial_start(0, [], trial)
    actor.send((config["number"], config["overrides"]))
    goes_on = True
    while goes_on:
        report = actor.recv()
        goes_on = report["status"] == "running" and scheduler.on_trial_result(None, trial, report) != "STOP"
        report["done"] = not goes_on
        if goes_on:
            searcher.on_trial_result(name, report)
        recorder.on_trial_result(0, [], trial, report)
        recorder.on_step_end(0, [])
        actor.send(goes_on)
    searcher.on_trial_complete(name, report)


@contextmanager
def _process(plan: TrialPlan) -> Iterator[Connection]:
    """Starts the process that runs trials and returns the way to it."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(plan, there), daemon=True)
    process.start()
    try:
        yield here
        here.send(None)
        process.join()
    finally:
        process.kill()


def _work(plan: TrialPlan, driver: Connection) -> None:
    while (asked := driver.recv()) is not None:
        reports = follow(plan.run(*asked))
        for report in reports:
            driver.send(report.flat())
            if not driver.recv():
                break
        reports.close()


@contextmanager
def counted(calls: Counter[str]) -> Iterator[None]:
    """Counts the calls of MLflow's client in this process; each is a request to a server."""
    names = [name for name, value in vars(MlflowClient).items() if callable(value) and not name.startswith("_")]
    kept = {name: getattr(MlflowClient, name) for name in names}

    def counting(name: str) -> Any:
        @wraps(kept[name])
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return kept[name](*args, **kwargs)

        return call

    for name in names:
        setattr(MlflowClient, name, counting(name))
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(MlflowClient, name, method)


def resident_mb() -> float:
    """Returns this process's resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6
