"""A trainer whose results are planted by setting and seed, so that a test knows which trial was lucky.

It is the stub trainer, but for the metrics that `plant` wrote next to the cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import stub

from t5vqvae.spec.run import RunSpec

TRAINER = "planted_seeds:train"


def plant(state: Path, values: Mapping[float, Mapping[int, Mapping[str, float]]]) -> None:
    """Plants the metrics of each commitment weight under each seed."""
    named = {f"{weight:g}": {str(seed): metrics for seed, metrics in seeds.items()} for weight, seeds in values.items()}
    (state / "planted.json").write_text(json.dumps(named))


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[stub.Milestone]:
    flat: dict[str, Any] = spec.as_flat_dict()
    planted = json.loads((cache_dir.parent / "planted.json").read_text())
    own = planted[f"{flat['quantizer.commitment_weight']:g}"][str(spec.seed)]
    for each in stub.train(spec, cache_dir=cache_dir, resume_from=resume_from):
        metrics = {**each.metrics, **own}
        run_id = f"{flat['quantizer.commitment_weight']:g}-{spec.seed}"
        stored = {**each.state.milestone, "metrics": metrics, "run_id": run_id}
        yield replace(each, metrics=metrics, state=replace(each.state, milestone=stored))
