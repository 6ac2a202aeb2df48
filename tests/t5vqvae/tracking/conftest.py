"""Fixtures: a separate store for every test of tracking, and the spool folder of a trial."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from t5vqvae.tracking import Tracker


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database; a copy takes no time, its creation seconds."""
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
