"""Where a study is tracked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tune.records.study_paths import StudyPaths
from tune.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker


def tracker_of(spec: StudySpec, paths: StudyPaths) -> Tracker:
    """Returns where a study is tracked: its own setting, MLFLOW_TRACKING_URI, or a database under the state folder."""
    from t5vqvae.tracking import Tracker

    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.state}/mlflow.db"
    return Tracker(uri, spec.tracking.experiment or spec.name)
