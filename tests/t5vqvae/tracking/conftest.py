"""A store of its own for every test of tracking, and where a trial keeps what is not sent yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from t5vqvae.tracking import Tracker


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database: its creation takes seconds, a copy none."""
    folder = tmp_path_factory.mktemp("schema")
    Tracker(f"sqlite:///{folder}/mlflow.db", "unused").check()
    return folder / "mlflow.db"


@pytest.fixture
def tracker(schema: Path, tmp_path: Path) -> Tracker:
    shutil.copy(schema, tmp_path / "mlflow.db")
    return Tracker(f"sqlite:///{tmp_path}/mlflow.db", "study")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "trials" / "00000" / "spool"
