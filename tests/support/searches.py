"""Small studies for the tests of the search, and what Optuna, MLflow and the records say of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.spec.search_spec import SearchSpec

REAL = {
    "data.corpus.size": 300,
    "data.corpus.validation_size": 60,
    "data.corpus.test_size": 60,
    "quantizer.codebook_size": 64,
    "optim.warmup_steps": 2,
    "train.max_steps": 4,
    "train.eval_every": 2,
    "train.batch_size": 16,
    "train.device": "cpu",
    "evaluate.num_examples": 60,
    "evaluate.num_generated": 8,
}
"""The settings of a real training of a second."""

STUB = "stub:train"
OPTUNA_STATES = {"completed": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED", "failed": "FAIL"}
MLFLOW_STATES = {"completed": "FINISHED", "pruned": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}


def stub_study(name: str, trials: int, **settings: Any) -> SearchSpec:
    """A study of the stub trainer: four milestones of ten steps, learning rate searched."""
    base = {"train.max_steps": 40, "train.eval_every": 10, "optim.warmup_steps": 0}
    values: dict[str, Any] = {
        "name": name,
        "base": {**base, **settings.pop("base", {})},
        "space": {
            "optim.learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            **settings.pop("space", {}),
        },
        "objectives": [{"metric": "validation/nll"}],
        "constraints": ["rate/bits_per_token <= 10"],
        "budget": {"trials": trials, **settings.pop("budget", {})},
        "sampler": {"name": "tpe", "num_startup": 4},
        "scheduler": {"name": "asha", "grace_steps": 10, "reduction_factor": 2},
        **settings,
    }
    return SearchSpec.parse(values)


def optuna_states(spec: SearchSpec, paths: StudyPaths) -> dict[int, str]:
    import optuna

    from tune.sampling.database import database_of
    from tune.sampling.storage import copied_storage

    study = optuna.load_study(study_name=None, storage=copied_storage(database_of(spec, paths) or paths.storage))
    return {trial.number: trial.state.name for trial in study.trials}


def mlflow_runs(spec: SearchSpec, paths: StudyPaths) -> dict[str, Any]:
    """Returns the MLflow runs of a study by key; raises when a key occurs twice."""
    from mlflow import MlflowClient

    client = MlflowClient(tracker_of(spec, paths).uri)
    experiment = client.get_experiment_by_name(spec.name)
    runs = client.search_runs([experiment.experiment_id])
    named = {run.data.tags.get("t5vqvae.trial", run.info.run_name): run for run in runs}
    assert len(named) == len(runs), "a trial has two runs"
    return named


def metric_steps(spec: SearchSpec, paths: StudyPaths, run_id: str, metric: str) -> list[int]:
    from mlflow import MlflowClient

    history = MlflowClient(tracker_of(spec, paths).uri).get_metric_history(run_id, metric)
    return sorted(point.step for point in history)


def assert_all_agree(spec: SearchSpec, state: Path) -> dict[int, TrialRecord]:
    """Every trial occurs once, with the same status, in the records, in Optuna and in MLflow; nothing runs."""
    paths = StudyPaths(state, spec.name)
    records = {record.number: record for record in read_records(paths.trials)}
    assert optuna_states(spec, paths) == {number: OPTUNA_STATES[r.status] for number, r in records.items()}
    runs = mlflow_runs(spec, paths)
    parent = runs.pop(spec.name)
    assert parent.info.status == "FINISHED"
    expected = {f"{spec.name}/{number:05d}": MLFLOW_STATES[r.status] for number, r in records.items()}
    assert {name: run.info.status for name, run in runs.items()} == expected
    for number, record in records.items():
        run = runs[f"{spec.name}/{number:05d}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.run_id == record.mlflow_id
        steps = metric_steps(spec, paths, run.info.run_id, "progress/step")
        assert len(steps) == len(set(steps)), "a step occurs twice"
    return records


def losses(records: Mapping[int, TrialRecord]) -> list[float]:
    return sorted(record.metrics["validation/nll"] for record in records.values() if record.status == "completed")
