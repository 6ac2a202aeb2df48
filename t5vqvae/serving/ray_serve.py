"""The server's application as a deployment of Ray Serve, for clusters that run Ray already.

Ray's proxy costs more than the application: use `t5vqvae serve` on one machine. Every replica is a process with its
model and its batcher; the token, the limits, the swap of the model and all pages are those of `app.py`.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from t5vqvae.errors import EnvironmentFault
from t5vqvae.serving.app import TITLE, create_app
from t5vqvae.serving.serve_metrics import FOLDER
from t5vqvae.serving.serve_settings import ServeSettings
from t5vqvae.serving.served_model import Source
from t5vqvae.tracking.server.addresses import resolve

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

_TRACKING = "MLFLOW_TRACKING_URI"


def deployment(source: Source, settings: ServeSettings, replicas: int = 1) -> Application:
    """Returns the application for `ray.serve.run`; its replicas load the model, not this process.

    Args:
        source: Where the model comes from. It is pickled, and a replica must be able to import its class.
        settings: As for `t5vqvae serve`; a replica asks Ray for as many CPUs as it has threads.
        replicas: Processes that answer. `/metrics` sums those of one machine.

    Raises:
        EnvironmentFault: If the packages of Ray Serve are not installed.
    """
    serve = _ray_serve()
    folder = str(Path(tempfile.gettempdir()) / f"t5vqvae-serve-{uuid.uuid4().hex}")

    def build() -> FastAPI:
        Path(os.environ[FOLDER]).mkdir(parents=True, exist_ok=True)
        return create_app(source, settings)

    # Prometheus' library reads the variable when it is imported, so it must be there when the process starts.
    environment = {FOLDER: folder, **_tracking()}
    options = {"num_cpus": settings.threads, "runtime_env": {"env_vars": environment}}
    wrapped = serve.deployment(
        serve.ingress(build)(),
        name=TITLE,
        num_replicas=replicas,
        max_ongoing_requests=settings.queue,  # what is above waits in Ray, and is not refused
        ray_actor_options=options,
    )
    return wrapped.bind()


def _tracking() -> dict[str, str]:
    """Returns the driver's tracking server for replicas, which follow an alias there; a file by its whole path."""
    uri = os.environ.get(_TRACKING, "").strip()
    return {_TRACKING: resolve(uri)} if uri else {}


def _ray_serve() -> ModuleType:
    try:
        from ray import serve
    except ImportError as error:
        raise EnvironmentFault(f"Ray Serve needs the package {error.name}; install ray[serve]") from None
    return serve
