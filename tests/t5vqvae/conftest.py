"""Fixtures of more than one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from t5vqvae.tracking import Tracker


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow; a copy takes no time, its creation seconds."""
    folder = tmp_path_factory.mktemp("schema")
    Tracker(f"sqlite:///{folder}/mlflow.db", "unused").check()
    return folder / "mlflow.db"
