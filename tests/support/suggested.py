"""A small study of suggestions, with made-up results for its trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tune.sampling.suggestions import Suggestions
from tune.spec.search_spec import SearchSpec

__all__ = ["BASELINE", "STUDY", "TWO", "Path", "Suggestions", "metrics", "run", "score", "study"]

STUDY: dict[str, Any] = {
    "name": "tiny",
    "base": {"model.position": 2, "quantizer.codebook_size": 256},
    "space": {
        "quantizer.codebook_size": {"type": "int", "low": 64, "high": 1024, "log": True},
        "quantizer.decay": {"type": "float", "low": 0.8, "high": 0.995},
    },
    "objectives": [{"metric": "validation/nll"}],
    "constraints": ["rate/bits_per_token <= 10", "codebook/usage >= 0.3"],
    "budget": {"trials": 6},
    "sampler": {"name": "tpe", "num_startup": 3},
}
TWO = {
    "objectives": [{"metric": "validation/nll"}, {"metric": "rate/bits_per_token"}],
    "scheduler": {"metric": "validation/bleu"},
}
BASELINE = {"quantizer.codebook_size": 256, "quantizer.decay": 0.99}


def study(**changes) -> SearchSpec:
    return SearchSpec.parse({**STUDY, **changes})


def metrics(step: int = 100, nll: float = 0.5, bits: float | None = 8.0, usage: float = 0.9) -> dict[str, float]:
    values = {"progress/step": float(step), "validation/nll": nll, "validation/bleu": 60.0, "codebook/usage": usage}
    return values if bits is None else values | {"rate/bits_per_token": bits}


def score(overrides: dict) -> float:
    return abs(math.log(overrides["quantizer.codebook_size"] / 700)) + 1 - overrides["quantizer.decay"]


def run(suggestions: Suggestions, count: int, score: Callable[[dict], float] = score) -> list[dict]:
    """Runs `count` trials to their end, one after the other."""
    asked = []
    for _ in range(count):
        suggestion = suggestions.next()
        assert suggestion is not None
        asked.append(suggestion.overrides)
        suggestions.end(suggestion.number, "completed", metrics(nll=score(suggestion.overrides)))
    return asked
