"""Trials whose processes died, as Ray Tune hands them to its scheduler."""

from __future__ import annotations

import pickle
from pathlib import Path
from tempfile import mkstemp
from types import SimpleNamespace
from typing import Any

from ray.exceptions import RayActorError, RayError

VANISHED = "The actor is dead because its worker process has died: connection error code 2. End of file."


def dead(trial_id: str, error: RayError | None = None, *, status: str = "RUNNING", step: int = 0) -> Any:
    """A trial that Ray Tune has just found dead; by default its process was lost."""
    file = Path(mkstemp(suffix=".pkl")[1])
    file.write_bytes(pickle.dumps(error or RayActorError(error_msg="The node was lost.")))
    last = {"progress/step": step}
    return SimpleNamespace(trial_id=trial_id, status=status, last_result=last, pickled_error_file=str(file))
