"""`train.compile`: the layers of T5's blocks as compiled graphs, in training steps alone.

Only the layers, because packing positions without padding makes shapes that depend on data, which a compiled graph of
the whole cannot hold. Only training, because decoding would compile each layer again for every length of its cache
until Dynamo's limit is reached; evaluation runs the same weights eagerly.

How far the numbers are eager training's: a fused kernel rounds sums in another order, so in float32 a step's loss and
gradient norm agree to about 1e-6 of their size and no closer. That is enough, once in a long while, to turn the choice
between two entries that are equally near, after which two runs go apart like two orders of a sum do anywhere else. With
`model.dropout` they also draw other masks: a compiled graph has a generator of its own. In bfloat16 a graph keeps in
float32 what eager execution rounds between two operations, so the two agree to bfloat16's three digits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from transformers.models.t5.modeling_t5 import T5Block

from t5vqvae.errors import SettingError


def compile_blocks(model: nn.Module) -> None:
    """Compiles, in place, the layers that T5's blocks are made of, and leaves the quantizer to eager execution.

    Raises:
        SettingError: If the model has no such layers.
    """
    layers = [layer for block in model.modules() if isinstance(block, T5Block) for layer in block.layer]
    if not layers:
        raise SettingError("train.compile=True needs a model made of T5's blocks; leave it out for this model.name")
    for layer in layers:
        layer.compile(dynamic=True)


def uncompiled() -> AbstractContextManager[Any]:
    """Returns a context in which compiled layers run eagerly."""
    return torch.compiler.set_stance("force_eager")
