"""The driver's side of a trial, without Ray: records, retention, MLflow, cluster arithmetic, stopping."""

from __future__ import annotations

import io
import os
import signal
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from t5vqvae.spec.run import RunSpec
from tune.execution.capacity import workers_on
from tune.execution.recorder import TrialRecorder
from tune.execution.retention import Retention
from tune.execution.stopping import Stop
from tune.execution.trial import TrialPlan
from tune.monitor.board import Board
from tune.records.background import BackgroundQueue
from tune.records.ranking import contenders
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec


class Tracker:
    def __init__(self) -> None:
        self.closed: list[tuple] = []

    def close(self, mlflow_id, status, tags=None, metrics=None, *, key=None, spool=None) -> bool:
        self.closed.append((key, mlflow_id, status))
        return True

    def url(self, mlflow_id):
        return f"http://mlflow/{mlflow_id}"


def spec(**settings) -> SearchSpec:
    return SearchSpec.parse(
        {
            "name": "s",
            "space": {"quantizer.decay": {"type": "float", "low": 0.8, "high": 0.999}},
            "objectives": [{"metric": "validation/nll"}],
            "constraints": ["rate/bits_per_token <= 10"],
            **settings,
        }
    )


@pytest.fixture
def ledger(tmp_path) -> TrialRecorder:
    return ledger_of(spec(retention={"keep_best": 2}), tmp_path)


def ledger_of(study: SearchSpec, tmp_path) -> TrialRecorder:
    paths = StudyPaths(tmp_path, "s")
    plan = TrialPlan("s", RunSpec(), paths, tracker=Tracker())
    retention = Retention(paths, study.retention.keep_best, lambda found: contenders(found, study))
    records = {record.number: record for record in read_records(paths.trials)}
    board = Board("s", ["validation/nll"], 8, Console(file=io.StringIO()))
    return TrialRecorder(study, plan, records, retention, board)


def report(ledger: TrialRecorder, number: int, nll: float, status: str = "running", done: bool = False, **more) -> None:
    """One result of a trial as Tune hands it on, with a checkpoint on the disk."""
    trial = SimpleNamespace(config={"number": number, "overrides": {"quantizer.decay": 0.9 + number / 1000}})
    folder = ledger.plan.paths.trial(number) / "step-00000010"
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "validation/nll": nll,
        "rate/bits_per_token": 8.0,
        "progress/step": 10.0,
        "status": status,
        "done": done,
        "checkpoint": str(folder),
        "mlflow_id": f"m{number}",
        "tags": {},
        "config/number": 3,
        **more,
    }
    ledger.on_trial_result(0, [], trial, result)


def kept(ledger: TrialRecorder) -> list[int]:
    ledger.background.finish()
    ledger.background = BackgroundQueue()
    return sorted(int(path.parent.name) for path in ledger.plan.paths.trials.glob("*/step-*"))


@pytest.mark.parametrize(
    ("status", "said"),
    [("completed", "completed"), ("diverged", "diverged"), ("failed", "failed"), ("running", "pruned")],
)
def test_the_record_tells_the_truth_before_optuna_hears_of_it(ledger, status, said):
    report(ledger, 0, 1.0)
    assert ledger.records == {}
    report(ledger, 0, 0.5, status, done=True)
    record = TrialRecord.read(ledger.plan.paths.trial(0))
    assert record.status == said and record == ledger.records[0]
    assert record.metrics == {"validation/nll": 0.5, "rate/bits_per_token": 8.0, "progress/step": 10.0}
    kept(ledger)
    assert ledger.plan.tracker.closed == [("s/00000", "m0", said)]


def test_a_diverged_trial_keeps_its_last_metrics(ledger):
    report(ledger, 0, 1.0)
    trial = SimpleNamespace(config={"number": 0, "overrides": {}})
    ledger.on_trial_result(0, [], trial, {"progress/step": 20.0, "status": "diverged", "done": True})
    assert ledger.records[0].metrics["validation/nll"] == 1.0 and ledger.records[0].steps == 20


def test_a_record_has_the_metrics_of_the_last_milestone_alone(ledger):
    report(ledger, 0, 1.0, **{"control/locality": 0.9})
    report(ledger, 0, 0.5, "completed", done=True)
    assert "control/locality" not in ledger.records[0].metrics, "Optuna, too, judges by the last report"


def test_a_trial_that_another_driver_finishes_keeps_its_milestones(tmp_path):
    def milestone(ledger: TrialRecorder, step: int, nll: float, **more) -> None:
        report(ledger, 0, nll, **{"progress/step": float(step), **more})

    whole, killed = ledger_of(spec(), tmp_path / "whole"), ledger_of(spec(), tmp_path / "killed")
    for ledger in (whole, killed):
        milestone(ledger, 40, 3.0)
        milestone(ledger, 80, 2.0)
    for ledger in (whole, ledger_of(spec(), tmp_path / "killed")):
        milestone(ledger, 120, 1.5)
        milestone(ledger, 160, 1.0, status="completed", done=True)
    histories = [
        TrialRecord.read(tmp_path / name / "studies" / "s" / "trials" / "00000").history for name in ("whole", "killed")
    ]
    assert histories[0] == histories[1] and list(histories[0]) == ["40", "80", "120", "160"]


def test_only_the_best_of_those_that_count_keep_checkpoints(ledger):
    for number, nll in enumerate([3.0, 1.0, 2.0]):
        report(ledger, number, nll, "completed", done=True)
    report(ledger, 3, 0.1, "running", done=True)  # pruned
    report(ledger, 4, 0.1, "completed", done=True, **{"rate/bits_per_token": 11.0})  # over the rate cap
    report(ledger, 5, 0.1)  # still running
    assert kept(ledger) == [1, 2, 5]
    assert ledger.board.best == 1
    assert TrialRecord.read(ledger.plan.paths.trial(0)).checkpoint is None
    assert TrialRecord.read(ledger.plan.paths.trial(1)).checkpoint is not None


def test_a_restarted_ledger_keeps_what_the_first_kept_and_sweeps_leftovers(ledger, tmp_path):
    for number, nll in enumerate([3.0, 1.0, 2.0]):
        report(ledger, number, nll, "completed", done=True)
    kept(ledger)
    (ledger.plan.paths.trial(0) / "step-00000010").mkdir()  # as if killed before the chore was done
    again = ledger_of(ledger.spec, tmp_path)
    assert again.retention.best.number == 1 and sorted(again.records) == [0, 1, 2]
    again.on_experiment_end([])
    assert kept(again) == [1, 2]


def test_what_runs_at_the_end_is_interrupted_and_keeps_its_checkpoint(ledger):
    report(ledger, 0, 1.0)
    ledger.on_experiment_end([])
    assert ledger.plan.tracker.closed == [("s/00000", "m0", "interrupted")]
    assert ledger.records == {} and kept(ledger) == [0]
    assert ledger.board.rows[0].status == "interrupted"


def test_a_dead_process_is_a_failed_trial_unless_it_is_retried(ledger):
    trial = SimpleNamespace(config={"number": 0, "overrides": {}}, get_error=lambda: "x\nActorDiedError: killed")
    ledger.deaths.retried.add("a")
    trial.trial_id = "a"
    ledger.on_trial_error(0, [], trial)
    assert ledger.records == {} and ledger.num_failed == 0
    trial.trial_id = "b"
    ledger.on_trial_error(0, [], trial)
    assert ledger.records[0].status == "failed" and ledger.num_failed == 1
    assert ledger.records[0].tags["error"] == "ActorDiedError: killed"


def test_chores_go_on_after_one_that_fails():
    done: list[int] = []

    def broken() -> None:
        raise OSError("no")

    chores = BackgroundQueue()
    for chore in (lambda: done.append(1), broken, lambda: done.append(2)):
        chores.put(chore)
    assert chores.finish() and done == [1, 2]


@pytest.mark.parametrize(
    ("total", "each", "workers"), [(2, 1, 2), (2, 0.25, 8), (1, 0.3, 3), (8, 2, 4), (0, 1, 0), (4, 0, None)]
)
def test_how_many_workers_a_cluster_holds(total, each, workers):
    assert workers_on(total, each) == workers


def test_a_search_stops_after_its_hours_or_too_many_failures():
    assert not Stop(None).stop_all() and not Stop(1.0).stop_all()
    late = Stop(1e-9)
    time.sleep(0.001)
    assert late.stop_all() and late.reason == "its hours are used up"
    assert Stop(None, lambda: "4 trials failed").stop_all()


def test_the_first_signal_stops_gently_and_the_second_at_once():
    stop = Stop(None)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop.on_signals(), stop.gently():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.stop_all() and "SIGINT" in stop.reason
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the second signal is at once")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_and_after_the_trials_the_first_signal_stops_at_once(number):
    for trials in (False, True):
        stop = Stop(None)
        with pytest.raises(KeyboardInterrupt), stop.on_signals():
            if trials:
                with stop.gently():
                    pass
            os.kill(os.getpid(), number)
            pytest.fail("nothing runs that could end gently")
        assert stop.reason is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_second_signal_that_strikes_a_finalizer_is_heard_all_the_same():
    class Handle:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    for look in (True, False):
        stop, handle, reached = Stop(None), Handle(), False
        with pytest.raises(KeyboardInterrupt), stop.on_signals(), stop.gently():
            os.kill(os.getpid(), signal.SIGINT)
            del handle
            reached = True
            if look:
                stop.stop_all()
                pytest.fail("nothing heard of the second signal")
        assert reached, "Python has swallowed it"


def test_a_handler_that_ray_put_in_between_is_replaced():
    stop = Stop(None)
    with stop.on_signals(), stop.gently():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        assert "SIGTERM" in stop.reason
