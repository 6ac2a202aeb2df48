"""Studies of one name that share a server stay apart; an ended study whose database was lost is tracked anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ablations import WORSE, ablation
from effects import TRAINER
from searches import STUB, assert_all_agree, stub_study
from survival import start

from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking import Tracker
from tune.ablate import ablate
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths
from tune.search import search

pytestmark = pytest.mark.ray


def children_of(uri: str, study: str) -> dict[str, list[Any]]:
    """Returns the runs below each parent run of a study's name."""
    client = (tracker := Tracker(uri, study)).destination.client
    runs = list(client.search_runs([tracker.destination.find_or_create()], max_results=1000))
    found: dict[str, list[Any]] = {run.info.run_id: [] for run in runs if "mlflow.parentRunId" not in run.data.tags}
    for run in runs:
        if "mlflow.parentRunId" in run.data.tags:
            found[run.data.tags["mlflow.parentRunId"]].append(run)
    return found


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    uri = f"sqlite:///{tmp_path}/shared.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield uri


def test_an_ended_study_whose_database_was_lost_is_tracked_anew(state: Path) -> None:
    spec = stub_study("lost", 3)
    before = search(spec, state=state, trainer=STUB)
    for file in state.glob("mlflow.db*"):
        file.rename(file.with_suffix(".lost"))
    after = search(spec, state=state, trainer=STUB)
    records = assert_all_agree(spec, state)
    assert [record.metrics for record in after.records] == [record.metrics for record in before.records]
    assert not {r.mlflow_id for r in records.values()} & {r.mlflow_id for r in before.records}


@pytest.mark.slow
def test_two_ablations_of_one_name_share_a_server_and_no_run(state: Path, tmp_path: Path, shared: str) -> None:
    spec = ablation("pair", arms=[WORSE], nuisance=None, trials_per_arm=None, untuned="a test", seeds=6)
    for name in ("one", "two"):
        ablate(spec, state=tmp_path / name, trainer=TRAINER)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    ablate(spec, state=tmp_path / "copy", trainer=TRAINER)
    runs = children_of(shared, "pair")
    assert sorted(len(children) for children in runs.values()) == [12, 12, 12]
    for children in runs.values():
        assert len({(run.data.tags["arm"], run.data.tags["seed"]) for run in children}) == 12
        assert len({run.data.tags["t5vqvae.study_id"] for run in children}) == 1
        assert {run.info.status for run in children} == {"FINISHED"}


@pytest.mark.slow
def test_two_searches_of_one_name_at_once_share_a_database_and_no_run(tmp_path: Path, shared: str) -> None:
    rates = {"one": 0.001, "two": 0.01}
    for name in rates:
        (tmp_path / name).mkdir()
    drivers = []
    for name, rate in rates.items():
        words = ("twin", "3", f'{{"base": {{"optim.learning_rate": {rate}, "optim.warmup_steps": 20}}}}')
        drivers.append(start(tmp_path / name, *words, MLFLOW_TRACKING_URI=shared))
    logs = [(tmp_path / name / "driver.log") for name in rates]
    assert [driver.wait(300) for driver in drivers] == [0, 0], [log.read_text() for log in logs]
    runs = children_of(shared, "twin")
    assert sorted(len(children) for children in runs.values()) == [3, 3]
    client = Tracker(shared, "twin").destination.client
    for name, rate in rates.items():
        records = read_records(StudyPaths(tmp_path / name, "twin").trials)
        (mine,) = [all_ for all_ in runs.values() if {r.info.run_id for r in all_} == {r.mlflow_id for r in records}]
        for record in records:
            run = next(run for run in mine if run.info.run_id == record.mlflow_id)
            assert run.data.metrics["validation/nll"] == record.metrics["validation/nll"]
            assert run.info.status == "FINISHED"
            steps = [point.step for point in client.get_metric_history(run.info.run_id, STEP)]
            assert sorted(steps) == [10, 20, 30, 40], "each milestone once"
        first = next(run for run in mine if run.data.tags["t5vqvae.number"] == "0")
        assert float(first.data.params["optim.learning_rate"]) == rate
