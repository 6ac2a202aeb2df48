"""`train.compile`: compiles the layers of T5's blocks, for training steps only.

How close the numbers are to eager training: a fused kernel adds in another order, so in float32 the loss and gradient
norm of a step agree to a relative 1e-6. Rarely, this changes the choice between two equally near entries, and then the
two runs diverge, as with any other order of a sum. With `model.dropout` the masks differ too, because a compiled graph
has a separate generator. In bfloat16 a graph keeps values in float32 that eager execution rounds between two
operations, so the two agree to bfloat16's three digits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from transformers.models.t5.modeling_t5 import T5Block

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec


def compile_blocks(model: nn.Module) -> None:
    """Compiles the layers of T5's blocks in place; the quantizer stays eager.

    Raises:
        SettingError: If the model has no such layers.
    """
    # Only the layers: to pack positions without padding makes shapes that depend on the data, which one compiled graph
    # of the whole model cannot have.
    layers = [layer for block in model.modules() if isinstance(block, T5Block) for layer in block.layer]
    if not layers:
        raise SettingError("train.compile=True needs a model made of T5's blocks; leave it out for this model.name")
    for layer in layers:
        layer.compile(dynamic=True)


def eagerly(spec: RunSpec) -> AbstractContextManager[object]:
    """Returns a context for everything except training steps: compiled layers run eagerly in it."""
    # Decoding would compile each layer again for every length of its cache, up to Dynamo's limit.
    return torch.compiler.set_stance("force_eager") if spec.train.compile else nullcontext()
