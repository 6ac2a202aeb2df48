"""The decoder: T5's, with optional positions in its cross-attention.

Letters: B batch, T positions, E model width, L range of drawn positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Attention, T5Block, T5Stack

from t5vqvae.models.t5.config import T5VQVAEConfig
from t5vqvae.models.t5.drawn_positions import drawn_positions
from t5vqvae.models.t5.first_weights import T5Start
from t5vqvae.spec.architectures import DRAWN_POSITIONS


class _CrossAttention(T5Attention):
    """T5's cross-attention with a relative bias on query minus key position, in both directions."""

    def compute_bias(
        self,
        query_length: int,
        key_length: int,
        device: torch.device | None = None,
        past_seen_tokens: Tensor | int = 0,
    ) -> Tensor:
        # The self-attention before this layer has already cached the present queries: they are not the past.
        past = past_seen_tokens - query_length if torch.is_tensor(past_seen_tokens) or past_seen_tokens else 0
        self.is_decoder = False
        return super().compute_bias(query_length, key_length, device=device, past_seen_tokens=past)


class PositionedDecoder(T5Start, T5Stack):
    """T5's decoder with optional positions in its cross-attention.

    T5's own cross-attention has no positions. With pretrained weights this does no harm; from scratch, the model has to
    discover how to copy. `absolute` adds sinusoids, each with a learned scale, to the decoder's inputs and to the
    quantized memory (after the codebook, so that codes stay free of position). `randomized` and `labels` do the same
    with positions drawn from a longer range, the latter with learned vectors (`drawn_positions.py`). `relative` adds a
    bias on query minus key position. `none` is plain T5.
    """

    def __init__(self, config: T5VQVAEConfig, cross_positions: str) -> None:
        super().__init__(config)
        self._adds = cross_positions in ("absolute", *DRAWN_POSITIONS)
        self._draws = cross_positions in DRAWN_POSITIONS
        with torch.device("cpu"):  # also while the rest is built on the meta device: no checkpoint of T5 has these
            if self._adds:
                self.input_scale = nn.Parameter(torch.ones(1))
                self.memory_scale = nn.Parameter(torch.ones(1))
            labels = torch.randn(config.position_range, config.d_model) if cross_positions == "labels" else None
            self.labels_LE = None if labels is None else nn.Parameter(labels)
            if cross_positions == "relative":
                self._cross_layer().EncDecAttention = _CrossAttention(
                    config, has_relative_attention_bias=True, layer_idx=0
                )

    def _cross_layer(self) -> nn.Module:
        """Returns the cross-attention layer of the first block, whose bias T5 shares with all others."""
        block = self.block[0]
        assert isinstance(block, T5Block)
        return block.layer[1]

    def draw_positions(self) -> None:
        """Draws the first weights of a cross-attention with relative positions, as T5 draws its own."""
        attention = self._cross_layer().EncDecAttention
        if isinstance(attention, _CrossAttention):
            self._init_weights(attention)

    def _positions(self, memory_BME: Tensor, mask_BM: Tensor | None, size: int) -> Tensor:
        """Returns the vectors of the first positions, shape (T, E), or (B, T, E) where each text draws its own."""
        width, device = memory_BME.shape[-1], memory_BME.device
        if not self._draws:
            return _sinusoids_at(torch.arange(size, device=device), width)
        ones_BM = torch.ones(memory_BME.shape[:2], dtype=torch.bool, device=device)
        lengths_B = (ones_BM if mask_BM is None else mask_BM.bool()).sum(1)
        places_BT = drawn_positions(lengths_B, size, self.config.position_range, self.training)
        return _sinusoids_at(places_BT, width) if self.labels_LE is None else self.labels_LE[places_BT]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        if self._adds:
            assert encoder_hidden_states is not None
            inputs_embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            now, length = past + inputs_embeds.shape[1], encoder_hidden_states.shape[1]
            positions = self._positions(encoder_hidden_states, encoder_attention_mask, max(now, length))
            own, others = positions[..., past:now, :], positions[..., :length, :]
            inputs_embeds = inputs_embeds + self.input_scale * own.to(inputs_embeds.dtype)
            encoder_hidden_states = encoder_hidden_states + self.memory_scale * others.to(encoder_hidden_states.dtype)
            input_ids = None
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            **kwargs,
        )


def sinusoids(like_BTE: Tensor, first: int = 0) -> Tensor:
    """Returns the sinusoidal positions first, first + 1, ... for states of shape (B, T, E); shape (T, E)."""
    places_T = torch.arange(like_BTE.shape[1], device=like_BTE.device) + first
    return _sinusoids_at(places_T, like_BTE.shape[-1]).to(like_BTE.dtype)


def _sinusoids_at(places: Tensor, width: int) -> Tensor:
    """Returns the sinusoids of positions of any shape, with one dimension of that width more.

    Source: Vaswani et al. 2017, section 3.5.
    """
    half = (width + 1) // 2
    frequencies = torch.exp(torch.arange(half, device=places.device) * (-torch.log(torch.tensor(1e4)) / half))
    angles = places.unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)[..., :width]
