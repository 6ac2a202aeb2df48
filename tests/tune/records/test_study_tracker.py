"""A study's tracker: where it is, whose it is, without its password on any disk; what MLflow lost is made anew."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.errors import SettingError
from t5vqvae.tracking import Tracker
from tune.ablation.history import AblationHistory
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import track_lost, tracker_of, tracking_uri
from tune.spec.search_spec import SearchSpec

SECRET, BARE = "http://user:hunter2@host:5000", "http://host:5000"


def spec_of(**changes: Any) -> SearchSpec:
    space = {"optim.learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1}}
    return SearchSpec.parse({"name": "s", "space": space, "objectives": [{"metric": "validation/nll"}], **changes})


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_study_is_stored_without_its_password_and_resumed_with_or_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, "s")
    spec = spec_of(tracking={"uri": SECRET}, question=f"{SECRET}/x?sig=a1b2")
    spec.write(paths.spec)
    assert "hunter2" not in paths.spec.read_text() and "a1b2" not in paths.spec.read_text()
    assert stat.S_IMODE(paths.spec.stat().st_mode) == 0o600
    stored = SearchSpec.read(paths.spec)
    spec.refuse_changes(stored)
    assert tracker_of(spec, paths).uri == SECRET, "what was given connects"
    assert tracker_of(stored, paths).uri == BARE
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    assert tracker_of(stored, paths).uri == SECRET, "promotion has it from the environment"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@elsewhere:5000")
    assert tracker_of(stored, paths).uri == BARE


def test_an_ablation_is_stored_without_its_password(tmp_path: Path) -> None:
    from ablations import ablation

    spec, paths = ablation(tracking={"uri": SECRET}), StudyPaths(tmp_path, "planted")
    AblationHistory(spec.over(spec_of().base_spec), (spec,)).write(paths)
    assert "hunter2" not in paths.ablation.read_text()
    assert stat.S_IMODE(paths.ablation.stat().st_mode) == 0o600


def test_no_password_reaches_mlflow(database: Path, tmp_path: Path) -> None:
    tracker = Tracker(f"sqlite:///{database}", "s", home=tmp_path)
    parent = tracker.open_study({"tracking.uri": SECRET}, {"note": f"see {SECRET}"})
    with tracker.open_logger(parent, "s/0", "0", {"path": SECRET}, {"x": SECRET}, tmp_path / "spool", 30) as logger:
        logger.tags({"error": f"no answer from {SECRET}"})
        logger.data("text", "f" * 32, {"path": SECRET})
    tracker.close(logger.mlflow_id, "failed", {"last": SECRET})
    content = database.read_bytes()
    assert b"hunter2" not in content and BARE.encode() in content


def test_an_empty_uri_is_refused_and_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(tmp_path / "a%20b") == f"sqlite+pysqlite:///{tmp_path}/a%2520b/mlflow.db"
    with pytest.raises(SettingError, match=r"tracking\.uri='' is empty"):
        tracking_uri(tmp_path, "")


def test_a_tracker_that_only_reads_makes_no_folder(tmp_path: Path) -> None:
    tracker_of(spec_of(), StudyPaths(tmp_path, "s"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Tracker(f"sqlite:///{folder}/mlflow.db", "unused").check()
    return folder / "mlflow.db"


@pytest.fixture
def database(empty: Path, tmp_path: Path) -> Path:
    shutil.copy(empty, tmp_path / "mlflow.db")
    return tmp_path / "mlflow.db"


@pytest.mark.parametrize("lost", ["database", "run", "erased", "parent", "nothing"])
def test_ended_trials_that_mlflow_has_lost_are_tracked_anew(
    database: Path, empty: Path, tmp_path: Path, lost: str
) -> None:
    spec, paths = spec_of(), StudyPaths(tmp_path, "s")
    tracker = tracker_of(spec, paths)
    parent = tracker.open_study({}, {"t5vqvae.study": "s"})
    records = [_ended(tracker, parent, number) for number in range(2)]
    client = tracker.destination.client
    if lost == "database":
        shutil.copy(empty, tmp_path / "new.db")
        tracker = Tracker(f"sqlite:///{tmp_path}/new.db", "s", home=paths.root)
    elif lost == "parent":
        client.delete_run(parent)
    elif lost != "nothing":
        client.delete_run(str(records[1].mlflow_id))
    if lost == "erased":
        client._tracking_client.store._hard_delete_run(records[1].mlflow_id)
    again = tracker.open_study({}, {"t5vqvae.study": "s"})
    assert (again == parent) == (lost not in ("database", "parent"))
    anew = track_lost(tracker, again, records, lambda record: (spec.run_spec(record.overrides), {"arm": "a"}))
    expected = {"database": [0, 1], "run": [1], "erased": [1], "parent": [0, 1], "nothing": []}[lost]
    assert [record.number for record in anew] == expected
    there = tracker.trials(again)
    assert there == {f"s/{r.number:05d}": r.mlflow_id for r in {r.number: r for r in [*records, *anew]}.values()}
    for record in anew:
        run = tracker.destination.client.get_run(str(record.mlflow_id))
        assert (run.info.status, run.data.metrics["validation/nll"]) == ("FINISHED", 1.5 + record.number)
        assert lost == "parent" or (run.data.tags["arm"], run.data.tags["run_id"]) == ("a", f"run{record.number}")
    assert track_lost(tracker, again, records, lambda record: (spec.run_spec(record.overrides), {})) == []


def _ended(tracker: Tracker, parent: str, number: int) -> TrialRecord:
    key, metrics = f"s/{number:05d}", {"validation/nll": 1.5 + number}
    mlflow_id = tracker.open_trial(parent, key, key, {}, {})
    tracker.close(mlflow_id, "completed", metrics=metrics)
    overrides = {"optim.learning_rate": 0.01}
    return TrialRecord("s", number, overrides, f"run{number}", mlflow_id, "completed", 4, metrics)
