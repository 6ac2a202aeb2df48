"""Failure signatures are found in the metrics that show them, and in no others."""

from __future__ import annotations

import pytest

from t5vqvae.training import diagnostics as signatures


@pytest.mark.parametrize(
    ("history", "signature"),
    [
        ([{"codebook/perplexity": 1.5}], "collapse"),
        ([{"validation/nll": 2.0, "validation/latent_gain": 0.01}], "ignored_latent"),
        ([{"codebook/quantization_error": 2.0}, {"codebook/quantization_error": 4.0}], "diverging_codebook"),
    ],
)
def test_failures_are_recognised(history: list[dict[str, float]], signature: str) -> None:
    assert list(signatures.find(history, "running", 5)) == [f"signature/{signature}"]


def test_a_healthy_run_has_no_signature() -> None:
    healthy = {
        "codebook/perplexity": 30.0,
        "validation/nll": 1.0,
        "validation/latent_gain": 0.5,
        "codebook/quantization_error": 0.3,
    }
    assert signatures.find([healthy, healthy], "running", 5) == {}
