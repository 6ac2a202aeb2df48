"""A study whose trials can be promoted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from promotions import STUDY, save_checkpoint

from t5vqvae.tracking import Tracker
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with an empty tracking database, prepared data and two trained checkpoints."""
    state = tmp_path_factory.mktemp("state")
    Tracker(f"sqlite:///{state}/mlflow.db", "tiny").check()
    save_checkpoint(state, "checkpoint")
    save_checkpoint(state, "other", **{"optim.learning_rate": 0.1})
    return state


@pytest.fixture
def paths(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(template, tmp_path / "var")
    paths = StudyPaths(tmp_path / "var", "tiny")
    paths.root.mkdir(parents=True)
    SearchSpec.parse(STUDY).write(paths.spec)
    return paths
