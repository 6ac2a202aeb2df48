"""A study is read from its folder alone: its trials as DataFrames, and how far it is while it runs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from kept_studies import keep_study, start_trial

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.files import write_json
from tune.records.events import StudyEvents
from tune.records.pace import time_left
from tune.records.study import Study, studies


def test_trials_and_curves_are_data_frames_with_what_the_records_hold(tmp_path: Path) -> None:
    keep_study(tmp_path)
    study = Study.load("kept", tmp_path)
    trials = study.trials
    assert list(trials.index) == [0, 1, 2, 3]
    assert list(trials["validation/nll"]) == [0.5, 0.3, 0.9, 0.2]
    assert list(trials.columns[:5]) == ["status", "best", "validation/nll", "step", "seconds"]
    assert list(trials.index[trials["best"]]) == [1], "trial 3 has too many bits"
    assert study.best == 1 and study.ranked == [1, 0]
    curves = study.curves
    assert list(curves["step"][curves["trial"] == 1]) == [10, 40]
    assert list(curves["validation/nll"][curves["trial"] == 1]) == [0.4, 0.3]


def test_two_trials_differ_in_settings_and_metrics(tmp_path: Path) -> None:
    keep_study(tmp_path)
    found = Study.load("kept", tmp_path).diff(0, 1)
    assert list(found.index) == ["optim.learning_rate", "validation/nll"], "what is equal is left out"
    assert found.loc["validation/nll", "difference"] == pytest.approx(-0.2)
    with pytest.raises(SettingError, match="study kept has no trial 7; it has trials 0 to 3"):
        Study.load("kept", tmp_path).diff(0, 7)


def test_a_running_study_has_its_running_trials_and_the_time_left(tmp_path: Path) -> None:
    paths = keep_study(tmp_path, trials=6, ended=2)
    start_trial(paths, 2, planned=6, before=2, ago=10, step=20)
    with paths.locked():
        study = Study.load("kept", tmp_path)
        progress, trial = study.progress(), study.unfinished[2]
    assert (progress.state, progress.done, progress.planned) == ("running", 2, 6)
    assert (trial.step, trial.steps, trial.status) == (20, 40, "running"), "the process is past its milestone"
    assert dict(trial.overrides) == {"optim.learning_rate": 0.01} and trial.metrics["validation/nll"] == 0.7
    # Half a trial's worth took ten seconds, and three and a half are left.
    assert progress.left == pytest.approx(70, abs=3)
    row = study.trials.loc[2]
    assert (row["status"], row["step"]) == ("running", 20)


def test_a_trial_is_timed_by_its_milestones_and_before_the_first_by_its_start(tmp_path: Path) -> None:
    paths = keep_study(tmp_path, trials=6, ended=2)
    start_trial(paths, 2, planned=6, before=2, ago=10, step=30)

    def left() -> dict[int, float | None]:
        return {number: trial.left for number, trial in Study.load("kept", tmp_path).unfinished.items()}

    assert left() == {2: None}, "nothing runs"
    with paths.locked():
        assert left() == {2: 3.0}, "ten steps took 3 s, and ten are left"
        events = StudyEvents(paths.root)
        kept = list(events.read())
        # Without its milestone: it began four seconds ago, which thirty steps took.
        begun = {**kept[1], "time": time.time() - 4}
        events.path.write_text("".join(f"{json.dumps(each)}\n" for each in [kept[0], begun]))
        assert left() == {2: pytest.approx(4 * 10 / 30, abs=0.2)}
        # The same in a second start: how many of the thirty steps are older is not known.
        events.path.write_text("".join(f"{json.dumps(each)}\n" for each in [kept[0], begun, kept[0], begun]))
        assert left() == {2: None}


def test_without_its_driver_a_study_is_interrupted_or_finished(tmp_path: Path) -> None:
    paths = keep_study(tmp_path, trials=6, ended=2)
    start_trial(paths, 2, planned=6, before=2, ago=10, step=20)
    study = Study.load("kept", tmp_path)
    assert study.progress().state == "interrupted" and study.unfinished[2].status == "interrupted"
    keep_study(tmp_path, "done")
    assert Study.load("done", tmp_path).progress().state == "finished"


def test_an_event_that_a_kill_tore_spoils_no_other_one(tmp_path: Path) -> None:
    events = StudyEvents(tmp_path)
    events.append("start", planned=3)
    with events.path.open("a") as file:
        file.write('{"time": 5, "event": "tri')
    events.append("trial", number=1)
    assert [event["event"] for event in events.read()] == ["start", "trial"]
    events.append("start", planned=4)
    assert [event["planned"] for event in events.since_start()] == [4]


def test_the_time_left_is_that_of_the_pace_and_at_most_the_hours() -> None:
    assert time_left(work=3, before=1, planned=5, seconds=20, hours=None) == 20
    assert time_left(work=3, before=1, planned=5, seconds=20, hours=30 / 3600) == pytest.approx(10)
    assert time_left(work=1, before=1, planned=5, seconds=20, hours=None) is None, "nothing is known yet"
    assert time_left(work=5, before=1, planned=5, seconds=20, hours=None) is None


def test_all_studies_are_listed_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    keep_study(tmp_path, "b")
    keep_study(tmp_path, "a")
    damaged = keep_study(tmp_path, "c")
    for file in damaged.root.glob("study*.json"):
        write_json(file, {"name": "c"})
    found = studies(tmp_path)
    assert [study.name for study in found if isinstance(study, Study)] == ["a", "b"]
    assert [type(one) for one in found if not isinstance(one, Study)] == [DamagedFileError]
    assert studies(tmp_path / "empty") == []


def test_an_ablation_is_read_by_its_objective(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "parts"
    folder.mkdir(parents=True)
    spec = {"name": "parts", "question": "Why?", "objective": {"metric": "validation/nll_per_char"}}
    write_json(folder / "ablation.json", {"base": {}, "specs": [spec]})
    study = Study.load("parts", tmp_path)
    assert (study.kind, study.objectives, study.question, study.best) == (
        "ablation",
        ["validation/nll_per_char"],
        "Why?",
        None,
    )


def test_a_study_is_loaded_without_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_study(tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert len(Study.load("kept", tmp_path).rows()) == 4
