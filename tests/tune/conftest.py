"""What the tests of the search share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder, with a cluster of two CPUs up."""
    from tune.execution.ray_cluster import connect

    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with connect():
            yield folder
