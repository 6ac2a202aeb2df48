"""The tracker of a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tune.records.study_paths import StudyPaths

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from tune.spec.study_spec import StudySpec


def tracker_of(spec: StudySpec, paths: StudyPaths) -> Tracker:
    """Returns the tracker of a study: by its spec, by MLFLOW_TRACKING_URI, or on a database in the state folder."""
    from t5vqvae.tracking import Tracker

    return Tracker(tracking_uri(paths.state, spec.tracking.uri), spec.tracking.experiment or spec.name)


def tracking_uri(state: Path, configured: str | None = None) -> str:
    """Returns the configured tracking URI, MLFLOW_TRACKING_URI, or a database under the state folder."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state}/mlflow.db"
