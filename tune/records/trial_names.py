"""Names of trials that say their settings, as MLflow's tables show them: `5 ema K=512 pos=1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t5vqvae.config import short_names

LONGEST = 100
"""Characters of a name; MLflow's tables cut longer ones."""
PRUNED = " (pruned)"
"""The end of a name of a trial that was stopped early; MLflow has no status of its own for it."""
_LETTERS = {
    "quantizer.codebook_size": "K",
    "quantizer.code_width": "C",
    "quantizer.num_codebooks": "Q",
    "quantizer.commitment_weight": "commit",
    "model.position": "pos",
    "optim.learning_rate": "lr",
    "train.batch_size": "batch",
    "train.max_steps": "steps",
}
"""Settings that the field names by a letter or a short word."""
_NOT_SAID = ("train.num_workers", "model.name", "quantizer.name")


def trial_name(number: int, settings: Mapping[str, Any], overrides: Mapping[str, Any], arm: str = "") -> str:
    """Returns a trial's name: its number, its arm if it has one, its bottleneck, and its own settings.

    Args:
        number: Its number in the study.
        settings: The flat settings of its resolved spec.
        overrides: Its own settings.
        arm: The arm of an ablation.
    """
    own_bottleneck = settings.get("model.name") not in (None, "t5vqvae")
    bottleneck = settings["model.name"] if own_bottleneck else settings.get("quantizer.name", "")
    said = {path: value for path, value in overrides.items() if path not in _NOT_SAID and path in settings}
    names = short_names(list(said))
    words = [f"{_LETTERS.get(path, names[path])}={_short(value)}" for path, value in said.items()]
    name = " ".join(filter(None, [str(number), arm, str(bottleneck), *words]))
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rsplit(' ', 1)[0]} …"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "off" if value is None else str(value)
