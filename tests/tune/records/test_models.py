"""Every way to name a trained model finds its weights and its spec; what is not there is named with the way out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.errors import CheckpointError, SettingError, TrackingError, UserError
from t5vqvae.files import copy_of
from t5vqvae.models.contract import load_model
from t5vqvae.spec.run import RunSpec
from t5vqvae.tracking import Tracker
from t5vqvae.training.trainer import train
from tune.records.models import FoundModel, find_model
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec

TINY = {
    "data.corpus.name": "math",
    "data.corpus.size": 200,
    "data.corpus.validation_size": 20,
    "data.corpus.test_size": 10,
    "model.d_model": 16,
    "model.d_ff": 32,
    "model.num_heads": 2,
    "model.num_layers": 1,
    "model.num_decoder_layers": 1,
    "quantizer.codebook_size": 16,
    "train.max_steps": 2,
    "train.eval_every": 2,
    "train.batch_size": 16,
    "evaluate.num_generated": 2,
}
STUDY = {
    "name": "tiny",
    "base": TINY,
    "space": {"quantizer.commitment_weight": {"type": "float", "low": 0.1, "high": 2.0}},
    "objectives": [{"metric": "validation/nll"}],
    "constraints": ["rate/bits_per_token <= 4"],
    "scheduler": {"name": "none"},
}
RUN_ID = "0123456789abcdef"
STEP = "step-00000002"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint, and an empty tracking database next to it."""
    folder = tmp_path_factory.mktemp("trained")
    Tracker(f"sqlite:///{folder}/mlflow.db", "tiny").check()
    for milestone in train(RunSpec().with_overrides(TINY), cache_dir=folder / "cache"):
        milestone.state.save(folder)
    return folder


@pytest.fixture
def state(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with the search `tiny`: trial 1 is best, trial 2 better but beyond the constraint."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "var"
    state.mkdir()
    shutil.copy(trained / "mlflow.db", state / "mlflow.db")
    add_study(trained, state, "tiny")
    return state


def add_study(trained: Path, state: Path, name: str, **changes: Any) -> StudyPaths:
    paths = StudyPaths(state, name)
    paths.root.mkdir(parents=True)
    SearchSpec.parse({**STUDY, "name": name}).write(paths.spec)
    for number, (nll, bits) in enumerate([(1.0, 3.0), (0.5, 3.0), (0.1, 9.0)]):
        shutil.copytree(trained / STEP, paths.trial(number) / STEP)
        metrics = {"validation/nll": nll, "rate/bits_per_token": bits}
        run_id = f"{number}123456789abcdef"
        checkpoint = str(paths.trial(number) / STEP)
        record = TrialRecord(name, number, {}, run_id, None, "completed", 2, metrics, checkpoint)
        replace(record, **changes).write(paths.trial(number))
    return paths


def register(trained: Path, state: Path) -> None:
    """Registers the checkpoint as version 1 of `t5vqvae`, alias `champion`."""
    tracker = Tracker(f"sqlite:///{state}/mlflow.db", "tiny")
    parent = tracker.open_study({}, {"t5vqvae.study": "tiny"})
    trial = tracker.open_trial(parent, "tiny/00001", "tiny/00001", {}, {})
    registry = tracker.registry("t5vqvae")
    version = registry.register(tracker.log_model(trial, trained / STEP), trial, "identity", {}, "")
    registry.point("champion", version.version)


def assert_loads(found: FoundModel, origin: str) -> None:
    assert found.origin == origin
    assert found.spec == RunSpec().with_overrides(TINY)
    assert load_model(found.folder).tokenizer is not None


def error_of(name: str, state: Path, kind: type[UserError] = SettingError) -> str:
    with pytest.raises(kind) as caught:
        find_model(name, state)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_is_found_by_its_folder_or_its_model_folder(state: Path, trained: Path) -> None:
    for name in (trained / STEP, trained / STEP / "model"):
        found = find_model(str(name), state)
        assert found.folder == trained / STEP / "model"
        assert_loads(found, f"checkpoint {trained / STEP}")


def test_a_relative_checkpoint_stays_valid_when_the_directory_changes(
    state: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    assert find_model(STEP, state).folder == trained / STEP / "model"
    monkeypatch.chdir(trained / STEP)
    assert find_model("model", state).folder == trained / STEP / "model"


def test_a_study_stands_for_its_best_trial_that_keeps_the_constraints(state: Path) -> None:
    found = find_model("tiny", state)
    assert found.folder == StudyPaths(state, "tiny").trial(1) / STEP / "model"
    assert_loads(found, f"trial 1 of study tiny, {STEP}")


@pytest.mark.parametrize("name", ["tiny/2", "tiny/00002"])
def test_a_trial_is_found_by_study_and_number_whether_it_counts_or_not(state: Path, name: str) -> None:
    assert_loads(find_model(name, state), f"trial 2 of study tiny, {STEP}")


def test_a_run_of_an_ablation_is_found_by_its_number(state: Path) -> None:
    paths = StudyPaths(state, "tiny")
    paths.spec.rename(paths.ablation)
    copy_of(paths.spec).rename(copy_of(paths.ablation))
    assert find_model("tiny/0", state).origin == f"trial 0 of study tiny, {STEP}"
    assert error_of("tiny", state) == "study tiny is an ablation; name a search instead"


def test_a_run_id_finds_the_trial_that_kept_its_checkpoint(state: Path, trained: Path) -> None:
    assert_loads(find_model("1123456789abcdef", state), f"trial 1 of study tiny, {STEP}")
    again = add_study(trained, state, "again")
    shutil.rmtree(again.trial(1) / STEP)
    assert find_model("1123456789abcdef", state).origin == f"trial 1 of study tiny, {STEP}"
    shutil.rmtree(StudyPaths(state, "tiny").trial(1) / STEP)
    assert "has no checkpoint left; raise retention.keep_best, the" in error_of("1123456789abcdef", state, UserError)


def test_a_run_id_finds_a_run_that_train_made(state: Path, trained: Path) -> None:
    run_id = json.loads((trained / STEP / "milestone.json").read_text())["run_id"]
    shutil.copytree(trained / STEP, state / "runs" / "abc" / STEP)
    assert_loads(find_model(run_id, state), f"run abc, {STEP}")


def test_a_folder_of_runs_is_its_newest_intact_checkpoint(state: Path, trained: Path) -> None:
    run = state / "runs" / "9cf5afcc4612"
    shutil.copytree(trained / STEP, run / STEP)
    (run / "step-00000004").mkdir()
    assert_loads(find_model("9cf5afcc4612", state), f"run 9cf5afcc4612, {STEP}")
    run.rename(run.with_name("tiny"))
    assert find_model("tiny", state).origin == f"trial 1 of study tiny, {STEP}"
    run.mkdir()
    assert error_of("9cf5afcc4612", state, CheckpointError) == (
        f"run 9cf5afcc4612 has no intact checkpoint in {run}; train it again, or name another run"
    )


def test_a_registered_model_is_downloaded_once(state: Path, trained: Path) -> None:
    register(trained, state)
    origin = "version 1 of the registered model t5vqvae"
    found = find_model("models:/t5vqvae@champion", state)
    assert found.folder.is_relative_to(state / "cache" / "models")
    assert_loads(found, origin)
    shutil.rmtree(state / "artifacts")
    assert find_model("models:/t5vqvae/1", state) == found


def test_a_registered_model_that_is_not_there_is_named_with_the_way_out(state: Path, trained: Path) -> None:
    uri = f"sqlite:///{state}/mlflow.db"
    assert error_of("models:/t5vqvae@champion", state) == (
        f"no model t5vqvae is registered at {uri}; `t5vqvae promote STUDY` registers one"
    )
    register(trained, state)
    assert error_of("models:/t5vqvae@champoin", state) == (
        "models:/t5vqvae has no alias champoin; did you mean champion?"
    )
    assert error_of("models:/t5vqvae/7", state) == "models:/t5vqvae has no version 7; known: 1"
    for name in ("models:/t5vqvae", "models:t5vqvae@champion", "models:/a/b/c", "models:/"):
        assert error_of(name, state) == (
            f"{name} is no registered model; write models:/NAME@ALIAS or models:/NAME/VERSION"
        )


def test_no_database_is_created_by_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert error_of("models:/t5vqvae@champion", tmp_path) == (
        f"models:/t5vqvae@champion: there is no MLflow database {tmp_path}/mlflow.db;"
        " set MLFLOW_TRACKING_URI, or promote a study"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_named(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in error_of("models:/t5vqvae@champion", state, TrackingError)


def test_what_is_not_there_is_named_with_the_way_out(state: Path, trained: Path) -> None:
    studies = state / "studies"
    assert error_of("tinny", state) == f"there is no study tinny under {studies}; did you mean tiny?"
    assert error_of("tinny/1", state) == f"there is no study tinny under {studies}; did you mean tiny?"
    assert error_of("tiny/7", state) == "study tiny has no ended trial 7: 3 have ended, numbers 0 to 2"
    assert error_of(str(trained), state) == f"{trained} is no model; did you mean {trained / STEP}?"
    assert error_of("some/where", state).startswith("some/where is no model; give a checkpoint folder, a run id,")
    assert error_of("f" * 16, state).startswith(f"no ended trial or run under {state} has the run id {'f' * 16};")
    shutil.rmtree(studies / "tiny")
    assert error_of("tiny", state).startswith(f"there is no study tiny under {studies}, which holds none;")


def test_a_study_is_found_next_to_a_file_of_its_name(state: Path) -> None:
    Path("tiny").write_text("notes")
    assert find_model("tiny", state).origin == f"trial 1 of study tiny, {STEP}"


def test_a_study_without_a_trial_that_counts_is_named_with_its_constraints(state: Path, trained: Path) -> None:
    add_study(trained, state, "leaky", metrics={"validation/nll": 1.0, "rate/bits_per_token": 9.0})
    assert error_of("leaky", state, UserError) == (
        "study leaky: none of its 3 completed trials has a bottleneck and keeps rate/bits_per_token <= 4;"
        " search on, or loosen the constraints"
    )


def test_a_study_whose_trials_lack_the_key_of_its_bound_is_no_question_of_the_bound(state: Path) -> None:
    spec = SearchSpec.parse({**STUDY, "constraints": ["rate/joint_bits_per_token <= 4"]})
    spec.write(StudyPaths(state, "tiny").spec)
    assert error_of("tiny", state) == (
        "study tiny has trials without rate/joint_bits_per_token, by which trials are judged now: an earlier version"
        " did not measure it; search it anew under another name (name=...)"
    )


@pytest.mark.parametrize("name", ["tiny/1", "CHECKPOINT"])
def test_a_damaged_checkpoint_is_refused(state: Path, name: str) -> None:
    folder = StudyPaths(state, "tiny").trial(1) / STEP
    (folder / "model" / "config.json").write_text("{}")
    assert "config.json is missing or truncated" in error_of(
        name.replace("CHECKPOINT", str(folder)), state, CheckpointError
    )
