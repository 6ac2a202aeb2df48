"""A real study in MLflow without Ray: three trained trials, one of them pruned, recorded as a search records them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from promotions import STUDY, TINY
from rich.console import Console

from t5vqvae.runs.follow import follow
from t5vqvae.runs.tracked_run import TRAINER
from tune.execution.recorder import TrialRecorder
from tune.execution.retention import Retention
from tune.execution.session import Session
from tune.execution.trial import TrialPlan
from tune.monitor.board import Board
from tune.records.ranking import contenders
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.search import SearchResult, _conclude, _kept, _log_data, _open, _sources
from tune.spec.search_spec import SearchSpec

QUESTION = "Which codebook reconstructs expressions best?"
SPEC: dict[str, Any] = {
    **STUDY,
    "question": QUESTION,
    "base": {**TINY, "train.max_steps": 60, "train.eval_every": 20, "optim.learning_rate": 0.01, "model.position": 1},
    "constraints": ["rate/joint_bits_per_token <= 40"],
    "space": {
        "quantizer.codebook_size": {"type": "int", "low": 4, "high": 64},
        "model.position": {"type": "int", "low": 0, "high": 1},
    },
    "budget": {"trials": 4},
}
TRIALS = (
    {"quantizer.codebook_size": 16, "model.position": 1},
    {"quantizer.codebook_size": 64, "model.position": 0},
    {"model.position": 0},
)
PRUNED = 2
"""The trial that is stopped after its first milestone."""


def run_study(state: Path, uri: str, **changes: Any) -> tuple[SearchSpec, StudyPaths, SearchResult]:
    """Trains the trials and tracks them, with everything that a search does but Ray."""
    spec = SearchSpec.parse({**SPEC, "tracking": {"uri": uri}, **changes})
    paths = StudyPaths(state, spec.name)
    paths.root.mkdir(parents=True)
    stop: Any = SimpleNamespace(reason=None)
    session = Session(spec, TrialPlan.of(spec, spec.base_spec, paths, tracker_of(spec, paths), TRAINER), {}, stop)
    kept = _kept(spec, paths, {}).with_sources(spec.name, _sources(session.plan, spec, True))
    _open(spec, session)
    _log_data(spec, session, kept)
    kept.write(paths.spec, spec)
    board = Board(spec.name, ["validation/nll"], spec.planned_trials, Console(quiet=True))
    retention = Retention(paths, 3, lambda found: contenders(found, spec))
    recorder = TrialRecorder(spec, session.plan, session.records, retention, board, page=session.page)
    for number, overrides in enumerate(TRIALS):
        trial: Any = SimpleNamespace(config={"number": number, "overrides": overrides}, trial_id=str(number))
        recorder.on_trial_start(0, [], trial)
        reports = follow(session.plan.run(number, overrides))
        for report in reports:
            last = report.status != "running" or number == PRUNED
            recorder.on_trial_result(0, [], trial, {**report.flat(), "done": last})
            recorder.on_step_end(0, [])
            if last:
                break
        reports.close()
    recorder.on_experiment_end([])
    return spec, paths, _conclude(spec, session)
