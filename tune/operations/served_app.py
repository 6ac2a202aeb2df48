"""The application of a server's worker, which uvicorn starts as a process.

What to serve stands in a file that `WORKER` names, because a worker receives nothing but its environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.files import read_mapping
from t5vqvae.serving.app import create_app
from t5vqvae.serving.serve_settings import ServeSettings
from tune.operations.model_source import ModelSource

if TYPE_CHECKING:
    from fastapi import FastAPI

WORKER = "T5VQVAE_SERVE_WORKER"
"""Environment variable with the file."""


def application() -> FastAPI:
    """Returns the application of this worker."""
    values = read_mapping(Path(os.environ[WORKER]))
    return create_app(source_of(values), ServeSettings.parse(values["settings"]))


def source_of(values: dict[str, str | None]) -> ModelSource:
    """Returns the source of a model from what a file says."""
    state, texts = (None if (path := values[name]) is None else Path(path) for name in ("state", "texts"))
    return ModelSource(str(values["model"]), state, int(str(values["sentences"])), texts)
