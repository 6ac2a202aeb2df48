"""Loads a trained model on this machine, whatever device it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import CheckpointError, UserError
from t5vqvae.stages import stage

if TYPE_CHECKING:
    from t5vqvae.models.contract import TextAutoencoder


def loaded_model(folder: Path) -> TextAutoencoder:
    """Returns the model of a folder on this machine's device; what code that changed since makes of it is one line.

    Raises:
        UserError: If it cannot be loaded.
    """
    import torch

    from t5vqvae.models.contract import load_model
    from t5vqvae.training.progress_bars import without_progress_bars

    try:
        with stage("loading the model"), without_progress_bars():
            return load_model(folder).to("cuda" if torch.cuda.is_available() else "cpu")
    except UserError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise CheckpointError(
            f"{folder} cannot be loaded by this version of the code: {reason}; use it with its own"
        ) from error
