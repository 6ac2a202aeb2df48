"""A study is who it is by its id, not by its name: no two trainings in one run, no point lost, copies included."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tracking_runs import DEAD, METRICS, history, run_of

from t5vqvae.errors import DiskError
from t5vqvae.evaluation.metric import STEP
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.identity import FILE, identity_of, stored_identity


def study(state: Path, database: Path) -> Tracker:
    home = state / "studies" / "study"
    home.mkdir(parents=True, exist_ok=True)
    return Tracker(f"sqlite:///{database}", "study", home=home)


def trained(tracker: Tracker, step: int, **params: Any) -> tuple[str, str]:
    """Opens the study and its trial 0, logs one step, and returns the ids of both runs."""
    assert tracker.home is not None
    parent = tracker.open_study(params, {"t5vqvae.study": "study"})
    spool = tracker.home / "trials" / "00000" / "spool"
    with tracker.open_logger(parent, "study/00000", "00000", params, {}, spool, wait=30) as logger:
        logger.log(METRICS, step)
    assert logger.mlflow_id is not None
    return parent, logger.mlflow_id


@pytest.fixture
def database(schema: Path, tmp_path: Path) -> Path:
    shutil.copy(schema, tmp_path / "shared.db")
    return tmp_path / "shared.db"


def test_two_state_folders_share_a_database_and_no_run(database: Path, tmp_path: Path) -> None:
    one, two = (study(tmp_path / name, database) for name in ("one", "two"))
    first, second = trained(one, 10, rate=1), trained(two, 10, rate=2)
    assert len({*first, *second}) == 4
    assert trained(study(tmp_path / "one", database), 20, rate=1) == first, "each finds its own again"
    assert trained(study(tmp_path / "two", database), 30, rate=2) == second
    assert [step for step, _ in history(one, first[1], STEP)] == [10, 20]
    assert [step for step, _ in history(two, second[1], STEP)] == [10, 30]
    assert [run_of(one, run).data.params["rate"] for run in (*first, *second)] == ["1", "1", "2", "2"]
    assert one.trials(first[0]) == {"study/00000": first[1]} and two.trials(second[0]) == {"study/00000": second[1]}
    one.close(None, "completed", key="study/00000")
    assert (run_of(one, first[1]).info.status, run_of(two, second[1]).info.status) == ("FINISHED", "RUNNING")
    tags = [run_of(one, run).data.tags["t5vqvae.study_id"] for run in (*first, *second)]
    assert tags[0] == tags[1] != tags[2] == tags[3]


def test_an_old_study_adopts_its_runs_and_no_other_takes_them(database: Path, tmp_path: Path) -> None:
    nameless = Tracker(f"sqlite:///{database}", "study")
    parent = nameless.open_study({}, {"t5vqvae.study": "study"})
    trial = nameless.open_trial(parent, "study/00000", "00000", {}, {})
    stranger = trained(study(tmp_path / "new", database), 10)
    assert not {parent, trial} & {*stranger}, "a new study adopts nothing"
    for name in ("old", "other"):
        (tmp_path / name / "studies" / "study").mkdir(parents=True)
        (tmp_path / name / "studies" / "study" / "study.json").write_text("{}")
    assert trained(study(tmp_path / "old", database), 20) == (parent, trial)
    assert trained(study(tmp_path / "old", database), 30) == (parent, trial)
    assert not {parent, trial} & {*trained(study(tmp_path / "other", database), 20)}, "what is adopted is taken"
    assert [step for step, _ in history(nameless, trial, STEP)] == [20, 30]


def test_unsent_points_of_an_old_study_arrive_in_the_run_that_it_adopts(database: Path, tmp_path: Path) -> None:
    home = tmp_path / "old" / "studies" / "study"
    spool = home / "trials" / "00000" / "spool"
    with Tracker(DEAD, "study").open_logger(None, "study/00000", "00000", {}, {}, spool) as logger:
        logger.log(METRICS, 10)
    _, trial = trained(study(tmp_path / "old", database), 20)
    tracker = study(tmp_path / "old", database)
    assert [step for step, _ in history(tracker, trial, STEP)] == [10, 20] and not list(spool.glob("*.jsonl"))


def test_a_copied_folder_is_a_study_of_its_own(database: Path, tmp_path: Path) -> None:
    parent, trial = trained(study(tmp_path / "one", database), 10)
    home = tmp_path / "one" / "studies" / "study"
    away = Tracker(DEAD, "study", home=home)
    with away.open_logger(parent, "study/00000", "00000", {}, {}, home / "trials" / "00000" / "spool") as logger:
        logger.log(METRICS, 20)
        logger.table([{"source": "a"}], "kept")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy, original = study(tmp_path / "two", database), study(tmp_path / "one", database)
    other = trained(copy, 30)
    assert not {parent, trial} & {*other}
    assert run_of(copy, other[0]).data.tags["t5vqvae.copied_from"] == json.loads((home / FILE).read_text())["id"]
    assert trained(original, 30) == (parent, trial)
    assert [step for step, _ in history(original, trial, STEP)] == [10, 20, 30], "the unsent point, once"
    assert [step for step, _ in history(copy, other[1], STEP)] == [30]
    names = {file.path for file in original.destination.client.list_artifacts(trial)}
    assert names == {"kept.json"}


def test_a_moved_folder_and_one_copied_with_its_database_stay_who_they_are(schema: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(schema, tmp_path / "one" / "mlflow.db")
    first = trained(study(tmp_path / "one", tmp_path / "one" / "mlflow.db"), 10)
    shutil.move(tmp_path / "one", tmp_path / "moved")
    assert trained(study(tmp_path / "moved", tmp_path / "moved" / "mlflow.db"), 20) == first
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert trained(study(tmp_path / "copy", tmp_path / "copy" / "mlflow.db"), 30) == first
    moved = study(tmp_path / "moved", tmp_path / "moved" / "mlflow.db")
    assert [step for step, _ in history(moved, first[1], STEP)] == [10, 20], "the copy has a database of its own"


def test_an_artifact_that_waits_in_a_moved_folder_arrives(schema: Path, tmp_path: Path) -> None:
    home = tmp_path / "one" / "studies" / "study"
    with Tracker(DEAD, "study", home=home).open_logger(None, "study/0", "0", {}, {}, home / "spool") as logger:
        logger.table([{"source": "a"}], "kept")
    shutil.move(tmp_path / "one", tmp_path / "moved")
    shutil.copy(schema, tmp_path / "moved" / "mlflow.db")
    tracker = study(tmp_path / "moved", tmp_path / "moved" / "mlflow.db")
    assert tracker.replay(tmp_path / "moved" / "studies" / "study") == 0
    run = tracker.find_trial("study/0")
    assert run is not None
    assert [file.path for file in tracker.destination.client.list_artifacts(run)] == ["kept.json"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"id": ""}', "\0\1\2"])
def test_a_damaged_identity_is_made_anew(tmp_path: Path, damage: str) -> None:
    first = identity_of(tmp_path)
    assert identity_of(tmp_path) == stored_identity(tmp_path) == first
    (tmp_path / FILE).write_text(damage)
    assert stored_identity(tmp_path) is None
    assert identity_of(tmp_path).id != first.id and identity_of(tmp_path) == stored_identity(tmp_path)


def test_a_folder_that_cannot_hold_an_identity_is_refused_in_one_line() -> None:
    with pytest.raises(DiskError, match=r"^/proc/x/identity\.json cannot be written: .*; give a folder") as error:
        identity_of(Path("/proc/x"))
    assert "\n" not in str(error.value)
