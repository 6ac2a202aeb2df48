"""What `evaluate.probe` measures of a trained model, at the last evaluation: for studies about such measures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec

logger = logging.getLogger(__name__)

ProbedBy = Callable[[TextAutoencoder], dict[str, float]]
"""From a trained model to metrics."""


def probed_by(spec: RunSpec, cache_dir: Path) -> ProbedBy | None:
    """Returns what measures a trained model of a run; None if the run asks for no measure.

    Sentences, edits and paths are those of the quick suite, and their seed is that of `t5vqvae probe`: so all runs of a
    corpus are measured on the same ones.
    """
    measures = spec.evaluate.probe
    if not measures:
        return None

    def probed(model: TextAutoencoder) -> dict[str, float]:
        from t5vqvae.measures.probing import probe  # every measure, which most runs do without

        found = probe(model, spec, ProbeSpec(), cache_dir, measures)
        for name in found.absent:
            logger.warning("evaluate.probe: %s found nothing to measure in this model and corpus", name)
        return dict(found.metrics)

    return probed
