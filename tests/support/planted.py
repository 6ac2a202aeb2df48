"""The real trainer with a defect that can be switched on: padding counted in the codebook.

`optim.weight_decay=1e-12`, which no weight feels, is the switch: it makes the quantizer of that run take every position
of a batch for a real one, while the rest of the model, the losses and the evaluation know the padding as always.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from t5vqvae.quantizers.base import Quantizer
from t5vqvae.spec.run import RunSpec
from t5vqvae.training import trainer as real

TRAINER = "planted:train"
SWITCH = {"optim.weight_decay": 1e-12}


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[real.Milestone]:
    sound = Quantizer.forward

    def counting(self: Quantizer, states_BTE: torch.Tensor, mask_BT: torch.Tensor, *rest: Any) -> Any:
        if not self.training:
            return sound(self, states_BTE, mask_BT, *rest)
        return sound(self, states_BTE, torch.ones_like(mask_BT), *rest)

    defective = spec.optim.weight_decay == SWITCH["optim.weight_decay"]
    Quantizer.forward = counting if defective else sound
    try:
        yield from real.train(spec, cache_dir=cache_dir, resume_from=resume_from)
    finally:
        Quantizer.forward = sound
