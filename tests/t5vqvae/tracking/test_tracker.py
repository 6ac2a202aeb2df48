"""Runs in a SQLite store are opened once; metrics, tags and artifacts arrive as they were logged."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
from tracking_runs import METRICS, history, open_trial, run_of

from t5vqvae.errors import TrackingError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking import Tracker


def test_a_study_and_a_trial_are_opened_once(tracker: Tracker) -> None:
    earlier = tracker.open_trial(None, "study/00001", "00001", {}, {"t5vqvae.study": "study"})
    parent = tracker.open_study({"seed": 0}, {"question": "why"})
    trial = tracker.open_trial(parent, "study/00000", "00000", {"seed": 0}, {"t5vqvae.study": "study"})
    assert len({earlier, parent, trial}) == 3
    again = pickle.loads(pickle.dumps(tracker))
    assert again.open_study({"seed": 0}, {}) == parent
    assert again.open_trial(parent, "study/00000", "00000", {}, {"t5vqvae.study": "study"}) == trial
    assert run_of(tracker, trial).data.tags["mlflow.parentRunId"] == parent


def test_two_studies_may_share_an_experiment(tracker: Tracker) -> None:
    one = tracker.open_study({}, {"t5vqvae.study": "one"})
    assert tracker.open_study({}, {"t5vqvae.study": "two"}) != one


def test_a_changed_parameter_is_kept_and_tagged(tracker: Tracker) -> None:
    parent = tracker.open_study({"budget.trials": 8}, {})
    tracker.open_study({"budget.trials": 20, "new": 1}, {})
    data = run_of(tracker, parent).data
    assert data.params == {"budget.trials": "8", "new": "1"}
    assert data.tags["now.budget.trials"] == "20"


@pytest.mark.parametrize(
    ("status", "in_mlflow"),
    {
        "completed": "FINISHED",
        "pruned": "FINISHED",
        "interrupted": "KILLED",
        "failed": "FAILED",
        "diverged": "FAILED",
    }.items(),
)
def test_close_maps_the_status_and_opening_sets_it_running_again(
    tracker: Tracker, spool: Path, status: str, in_mlflow: str
) -> None:
    trial = tracker.open_trial(None, "study/00000", "00000", {}, {})
    assert tracker.close(trial, status, {"why": "so"}, {"best": 1.0})
    run = run_of(tracker, trial)
    assert (run.info.status, run.data.tags["status"], run.data.tags["why"]) == (in_mlflow, status, "so")
    time.sleep(0.002)  # MLflow counts milliseconds
    tracker.open_trial(None, "study/00000", "00000", {}, {})
    run = run_of(tracker, trial)
    assert (run.info.status, run.data.tags["status"]) == ("RUNNING", "running")
    tracker.close(None, status, metrics={"best": 1.0}, key="study/00000")
    assert run_of(tracker, trial).info.status == in_mlflow
    assert history(tracker, trial, "best") == [(0, 1.0)]


def test_close_refuses_an_unknown_status_and_a_missing_run(tracker: Tracker) -> None:
    with pytest.raises(TrackingError, match="status='done' must be one of running, completed"):
        tracker.close("x", "done")
    with pytest.raises(TrackingError, match="both mlflow_id and key are None"):
        tracker.close(None, "completed")


def test_running_returns_the_trials_left_open(tracker: Tracker) -> None:
    parent = tracker.open_study({}, {})
    trials = {key: tracker.open_trial(parent, key, key, {}, {}) for key in ("study/0", "study/1")}
    tracker.close(trials["study/0"], "completed")
    assert tracker.running(parent) == {"study/1": trials["study/1"]}
    assert tracker.trials(parent) == trials
    double = {"t5vqvae.trial": "study/1", "mlflow.parentRunId": parent}
    later = tracker.destination.client.create_run(tracker.destination.find_or_create(), tags=double)
    assert tracker.trials(parent) == trials, f"{later.info.run_id} is the newer of two runs"


def test_metrics_are_logged_against_steps_and_tokens(tracker: Tracker, spool: Path) -> None:
    with open_trial(tracker, spool) as logger:
        logger.log(METRICS, 50, tokens=5000)
        logger.log({**METRICS, "validation/nll": 1.0}, 100, tokens=9000)
    assert history(tracker, logger.mlflow_id, "validation/nll") == [(50, 1.5), (100, 1.0)]
    assert history(tracker, logger.mlflow_id, "tokens/validation/nll") == [(5000, 1.5), (9000, 1.0)]
    names = run_of(tracker, logger.mlflow_id).data.metrics
    assert "tokens/cost/step_seconds" not in names
    assert names["system/process_memory_megabytes"] > 1
    assert names[STEP] == 100


def test_a_resumed_run_logs_no_step_twice(tracker: Tracker, spool: Path) -> None:
    with open_trial(tracker, spool) as first:
        for step in (50, 100):
            first.log(METRICS, step)
    with open_trial(tracker, spool) as second:
        for step in (100, 150):
            second.log(METRICS, step)
    assert first.mlflow_id == second.mlflow_id
    for name in ("validation/nll", STEP, "system/process_memory_megabytes"):
        assert [step for step, _ in history(tracker, first.mlflow_id, name)] == [50, 100, 150]


def test_values_that_are_not_finite_become_tags(tracker: Tracker, spool: Path) -> None:
    with open_trial(tracker, spool) as logger:
        logger.log({"train/loss": float("nan"), "train/nll": float("-inf"), "a=b": 1.0}, 50)
    data = run_of(tracker, logger.mlflow_id).data
    assert data.tags["not_finite/train/loss"] == "nan at step 50"
    assert data.tags["not_finite/train/nll"] == "-inf at step 50"
    assert data.metrics["a_b"] == 1.0
    assert "train/loss" not in data.metrics


def test_artifacts_arrive_and_the_spool_is_empty_after(
    tracker: Tracker, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)  # `load_table` reads it
    spec = tmp_path / "spec.json"
    spec.write_text("{}")
    with open_trial(tracker, spool) as logger:
        logger.artifact(spec, "settings")
        spec.unlink()  # the logger has copied a small file at once
        logger.table([{"source": "a b", "decoded": "a"}, {"source": "c", "codes": "1 2"}], "reconstructions")
        logger.codebook_usage([[5, 0, 3], [1, 1, 1]])
        logger.data("math", "f" * 64, {"size": 10}, {"train": 8})
    client = tracker.destination.client
    assert {file.path for file in client.list_artifacts(logger.mlflow_id, "settings")} == {"settings/spec.json"}
    frame = client.load_table(tracker.destination.find_or_create(), "reconstructions.json", [logger.mlflow_id])
    assert frame["source"].tolist() == ["a b", "c"]
    inputs = run_of(tracker, logger.mlflow_id).inputs.dataset_inputs
    assert {(i.dataset.name, i.tags[0].value) for i in inputs} == {
        ("math/train", "training"),
        ("math/validation", "validation"),
    }
    assert not any(path.is_file() for path in spool.rglob("*"))


def test_a_trial_needs_few_requests(tracker: Tracker, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker.open_study({}, {})
    store = tracker.destination.client._tracking_client.store
    calls: list[str] = []
    for name in ("search_runs", "create_run", "log_batch", "update_run_info", "get_metric_history", "get_run"):
        method = getattr(store, name)
        monkeypatch.setattr(
            store, name, lambda *a, _name=name, _method=method, **k: (calls.append(_name), _method(*a, **k))[1]
        )
    with open_trial(tracker, spool) as logger:
        for step in range(10):
            logger.log(METRICS, step)
    tracker.close(logger.mlflow_id, "completed")
    assert len(calls) <= 1 + 1 + 11 + 1 + 1, calls  # find, create, a batch per milestone, the last tags, the status
    assert "get_metric_history" not in calls  # a new run has no history to request


def experiment_tags(tracker: Tracker) -> dict[str, str]:
    return dict(tracker.destination.client.get_experiment(tracker.destination.find_or_create()).tags)


def test_an_experiment_says_the_questions_of_all_its_studies_once_each(tracker: Tracker) -> None:
    first, second = "Which codebook?\n\nOf those that fit.", "Which rate?"
    tracker.destination.find_or_create()
    client, found = tracker.destination.client, tracker.destination.experiment_id
    client.set_experiment_tag(found, "mlflow.experimentKind", "genai_development")
    for question, study in ((first, "a"), (first, "a"), (second, "ab"), (first, "a"), ("", "b")):
        tracker.describe(question, {"t5vqvae.study": study})
    tags = experiment_tags(tracker)
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.note.content"] == f"{first}\n\n{second}"
    assert tags["t5vqvae.study"] == "a, ab, b"


def test_a_new_experiment_opens_for_model_training(tracker: Tracker) -> None:
    tracker.open_study({}, {})
    assert experiment_tags(tracker)["mlflow.experimentKind"] == "custom_model_development"
