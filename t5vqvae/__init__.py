"""Text autoencoders with a discrete bottleneck: data, quantizers, model, training, evaluation, tracking.

Knows no search (that is the package `tune`). Imports are lazy, so that `import t5vqvae` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "RunSpec": "t5vqvae.spec.run",
    "T5VQVAE": "t5vqvae.models.t5",
    "prepare": "t5vqvae.data",
}
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 't5vqvae' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
