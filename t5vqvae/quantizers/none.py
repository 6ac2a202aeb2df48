"""`none`: no bottleneck. The control that shows what the rest of the model can do; it leaks by design.

Source: this project's control.

Same: plain T5, to the bit, dropout included.

Different: it has no codes and no rate, and never wins a search.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig


class NoneConfig(QuantizerConfig):
    """No bottleneck: the decoder reads the encoder's states. A control that can never be a search's best trial."""

    name: Literal["none"] = "none"

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> NoQuantizer:
        return NoQuantizer(model_width, None, (), seed)


class NoQuantizer(Quantizer):
    """Returns the states unchanged, without codes and without a rate."""

    discrete: ClassVar[bool] = False

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        return Packed(inputs_NC, None)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        raise ValueError("quantizer none has no codes to look up")
