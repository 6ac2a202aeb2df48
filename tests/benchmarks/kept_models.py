"""Models of a benchmark that are trained once: kept in a folder, and measured again without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from t5vqvae.data import prepare
from t5vqvae.evaluation.evaluate import control_of, evaluate
from t5vqvae.files import digest
from t5vqvae.models.contract import TextAutoencoder, load_model
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train


def trained(spec: RunSpec, models: Path, cache: Path) -> TextAutoencoder:
    """Returns a trained model from a folder; it is trained and put there first where the folder has none.

    Args:
        spec: The run.
        models: The folder; a model's own is called by its settings.
        cache: Cache of corpora.
    """
    folder = models / digest(spec.as_dict(only_results=True))[:12]
    if not any(folder.glob("step-*")):
        *_, last = train(spec, cache_dir=cache)
        last.state.save(folder)
    [checkpoint] = folder.glob("step-*")
    return load_model(checkpoint / "model")


def evaluated(model: TextAutoencoder, spec: RunSpec, cache: Path) -> Mapping[str, float]:
    """Returns the validation metrics of a model, as the last evaluation of its training has them."""
    data = prepare(spec.data, cache)
    control = control_of(spec, cache, "validation", data.role_names)
    return evaluate(model, data.validation, spec, train=data.train, control=control).metrics
