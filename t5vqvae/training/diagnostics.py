"""Failure signatures: recognises known failures of a bottleneck in a run's metrics, with the evidence."""

from __future__ import annotations

from collections.abc import Sequence

IGNORED_BELOW = 0.02
"""Smallest healthy `validation/latent_gain`, as a share of `validation/nll`."""
COLLAPSED_BELOW = 2.0
"""Smallest healthy `codebook/perplexity`."""
ERROR_ABOVE = 1.0
"""Largest healthy `codebook/quantization_error`: that of quantizing every state to the origin."""

History = Sequence[dict[str, float]]


def find(history: History, status: str, step: int) -> dict[str, str]:
    """Returns `{signature/name: evidence}` of the failures at the latest milestone; empty for a healthy run.

    Args:
        history: Metrics of all milestones, the latest last; not empty.
        status: Status of the latest milestone.
        step: Step of the latest milestone.
    """
    found = {
        "signature/diverged": _diverged(status, step),
        "signature/collapse": _collapse(history[-1]),
        "signature/ignored_latent": _ignored_latent(history[-1]),
        "signature/diverging_codebook": _diverging_codebook(history),
    }
    return {name: evidence for name, evidence in found.items() if evidence}


def _diverged(status: str, step: int) -> str | None:
    return f"the loss or a weight of step {step} or shortly before was not finite" if status == "diverged" else None


def _collapse(metrics: dict[str, float]) -> str | None:
    """Recognises that one code takes nearly all states."""
    perplexity = metrics.get("codebook/perplexity")
    if perplexity is None or perplexity >= COLLAPSED_BELOW:
        return None
    return f"codebook/perplexity is {perplexity:.2f}, below {COLLAPSED_BELOW}"


def _ignored_latent(metrics: dict[str, float]) -> str | None:
    """Recognises that the decoder is as good with another sentence's codes."""
    gain, nll = metrics.get("validation/latent_gain"), metrics.get("validation/nll")
    if gain is None or nll is None or gain >= IGNORED_BELOW * nll:
        return None
    return f"another sentence's codes raise the nll by only {gain:.4f} nats a token, from {nll:.3f}"


def _diverging_codebook(history: History) -> str | None:
    """Recognises that the entries are further from the states than the origin is, and that the distance grows."""
    errors = [m["codebook/quantization_error"] for m in history if "codebook/quantization_error" in m]
    if len(errors) < 2 or errors[-1] <= ERROR_ABOVE or errors[-1] <= errors[-2]:
        return None
    return f"codebook/quantization_error grew from {errors[-2]:.3g} to {errors[-1]:.3g}, above {ERROR_ABOVE}"
