"""The encoder: T5's, with the quantizer somewhere among its blocks.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Stack

from t5vqvae.models.t5.config import T5VQVAEConfig
from t5vqvae.models.t5.first_weights import T5Start, keep_start
from t5vqvae.quantizers import QuantizerOutput


class QuantizedEncoder(T5Start, T5Stack):
    """T5's encoder with the quantizer after block `position`.

    Hooks at that point leave T5's own forward in charge, so the relative bias computed in block 0 is carried on
    exactly as in plain T5.
    """

    def __init__(self, config: T5VQVAEConfig, position: int) -> None:
        super().__init__(config)
        with torch.device("cpu"):  # also while from_pretrained builds on the meta device: its start is computed
            self.quantizer = config.quantizer_config().build(config.d_model, config.num_roles, config.seed)
        keep_start(self.quantizer)
        self.output: QuantizerOutput | None = None
        self.states_BTE: Tensor | None = None
        self.raw_states_BTE: Tensor | None = None
        self.mask_BT: Tensor | None = None
        self._roles_BT: Tensor | None = None
        self._forced_BTE: Tensor | None = None
        if position < config.num_layers:
            self.block[position].register_forward_pre_hook(self._before_block)
        else:
            self.final_layer_norm.register_forward_hook(self._after_norm)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        roles: Tensor | None = None,
        quantized: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Runs the encoder; `quantized` (B, T, E) replaces what the quantizer would give (decoding from codes)."""
        given = input_ids if input_ids is not None else inputs_embeds
        ones_BT = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        self.mask_BT = ones_BT if attention_mask is None else attention_mask.bool()
        self._roles_BT, self._forced_BTE = roles, quantized
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        )

    def _before_block(self, block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._quantize(args[0]), *args[1:])

    def _after_norm(self, norm: nn.Module, args: tuple[Any, ...], states_BTE: Tensor) -> Tensor:
        return self._quantize(states_BTE)

    def _quantize(self, states_BTE: Tensor) -> Tensor:
        if self._forced_BTE is not None:
            self.output = None
            return self._forced_BTE.to(states_BTE.dtype)
        self.states_BTE, self.raw_states_BTE = states_BTE.detach(), states_BTE
        self.output = self.quantizer(states_BTE, self.mask_BT, self._roles_BT)
        return self.output.quantized_BTE
