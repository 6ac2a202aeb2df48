"""Fixtures: a separate store for every test of tracking, and the spool folder of a trial."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from t5vqvae.tracking import Tracker


@pytest.fixture
def tracker(schema: Path, tmp_path: Path) -> Tracker:
    shutil.copy(schema, tmp_path / "mlflow.db")
    return Tracker(f"sqlite:///{tmp_path}/mlflow.db", "study")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "trials" / "00000" / "spool"
