"""Where a study is tracked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker
    from tune.ablation.ablation_spec import AblationSpec


def tracker_of(spec: SearchSpec | AblationSpec, paths: StudyPaths) -> Tracker:
    """Returns where a study is tracked: its own setting, MLFLOW_TRACKING_URI, or a database under the state folder."""
    from t5vqvae.tracking import Tracker

    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.state}/mlflow.db"
    return Tracker(uri, spec.tracking.experiment or spec.name)
