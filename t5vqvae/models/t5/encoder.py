"""The encoder: T5's, with the quantizer among its blocks.

At the end of the encoder, dropout falls on the states before the quantizer and none on the code vectors, as published;
T5's own order would zero a share of the quantized memory. Without a bottleneck, and where blocks follow the quantizer,
every dropout is T5's.

With `premises=separate` the blocks before the quantizer attend within a text only: every text of a pair gets the codes
that it has alone, and the blocks behind the quantizer are the first to see both.

Where training removes codes or shuffles words, what follows the quantizer runs on the codes that are left, in the order
that they were given (`code_moves.py`).

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from t5vqvae.errors import SettingError
from t5vqvae.models.t5.code_gate import CodeGate
from t5vqvae.models.t5.code_moves import closed_up, shuffled_words
from t5vqvae.models.t5.code_prior import CodePrior
from t5vqvae.models.t5.config import T5VQVAEConfig
from t5vqvae.models.t5.first_weights import keep_start
from t5vqvae.models.t5.not_sent import NotSent
from t5vqvae.models.t5.swapped import swapped
from t5vqvae.models.t5.two_stages import StagedEncoder
from t5vqvae.quantizers import QuantizerOutput
from t5vqvae.quantizers.none import NoQuantizer
from t5vqvae.quantizers.parts.float32 import float32_start

_OF_THE_BATCH = (
    "output",
    "states_BTE",
    "raw_states_BTE",
    "mask_BT",
    "prices",
    "moved",
    "_begins_BT",
    "_roles_BT",
    "_forced_BTE",
    "_dropped",
    "is_quantized",
    "_apart_BTT",
)


class QuantizedEncoder(StagedEncoder):
    """T5's encoder with the quantizer after block `position`, at the last one before or after the final layer norm.

    Attributes:
        output: The quantizer's output for the latest batch; None if the caller gave quantized states.
        states_BTE: The states before the quantizer, detached.
        raw_states_BTE: The same states with their gradient.
        mask_BT: True at real positions of the latest batch.
        prices: What the codes of the latest training batch cost by gate and prior, nats a position; None: nothing.
        moved: The quantized states (B, M, E) that are left of the latest training batch, in the order in which the
            decoder gets them, and their mask (B, M); None: all, as they were.
        noise: Part of the shares of `train.code_dropout`, `code_swap` and `word_shuffle` that is in force.
    """

    noise: float = 1.0

    def __init__(self, config: T5VQVAEConfig, position: int) -> None:
        super().__init__(config)
        with float32_start():  # also while from_pretrained builds elsewhere: the start is computed
            self.quantizer = config.build_quantizer()
            self.not_sent = self._build_not_sent(config)
            self.gate = None if config.gate_price is None else CodeGate(config.d_model, config.gate_price)
            self.prior = None if config.rate_price is None else self._build_prior(config.rate_price)
        for part in (self.quantizer, self.not_sent, self.gate, self.prior):
            if part is not None:
                keep_start(part)
        if config.word_shuffle and not config.word_starts:
            raise SettingError(
                f"train.word_shuffle={config.word_shuffle} needs tokens that begin a word; a tokenizer of letters, as"
                " data.tokenizer.kind=latex is, has none, so leave it out"
            )
        self._starts: Tensor | None = None
        self._forget()
        if config.premises == "separate":
            for block in self.block[:position]:
                block.register_forward_pre_hook(self._within_texts)
        self.position = position
        self._ends_here = position == config.num_layers
        # Hooks keep T5's own forward, so the relative bias that block 0 computes is passed on exactly as in plain T5.
        if position < config.num_layers:
            self.block[position].register_forward_pre_hook(self._before_block)
        else:
            if config.final_norm == "after":
                self.final_layer_norm.register_forward_pre_hook(self._before_norm)
            else:
                self.final_layer_norm.register_forward_hook(self._after_norm)
            self.dropout.register_forward_hook(self._after_dropout)

    @staticmethod
    def _build_not_sent(config: T5VQVAEConfig) -> NotSent | None:
        if not config.code_dropout:
            return None
        return NotSent(config.d_model, config.code_dropout, removes=config.not_sent == "removed")

    def _build_prior(self, price: float) -> CodePrior:
        sizes = self.quantizer.code_sizes
        if len(sizes) != 1 or self.quantizer.code_width != self.config.d_model:
            raise SettingError(
                f"train.rate_price={price} needs one codebook of the model's own width; leave quantizer.code_width or"
                " train.rate_price out"
            )
        return CodePrior(sizes[0], price)

    def _forget(self) -> None:
        """Forgets the latest batch."""
        self.output: QuantizerOutput | None = None
        self.states_BTE: Tensor | None = None
        self.raw_states_BTE: Tensor | None = None
        self.mask_BT: Tensor | None = None
        self.prices: Tensor | None = None
        self.moved: tuple[Tensor, Tensor] | None = None
        self._begins_BT: Tensor | None = None
        self._roles_BT: Tensor | None = None
        self._forced_BTE: Tensor | None = None
        self._apart_BTT: Tensor | None = None
        self._dropped = False
        self.is_quantized = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy or a pickle is of the model, not of its batch, whose graph nothing can copy.
        super().__setstate__(state)
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _OF_THE_BATCH}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        roles: Tensor | None = None,
        quantized: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Runs the encoder; `quantized` (B, T, E), if given, replaces the quantizer's output (to decode codes)."""
        given = input_ids if input_ids is not None else inputs_embeds
        assert given is not None
        ones_BT = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        self.mask_BT = ones_BT if attention_mask is None else attention_mask.bool()
        self._roles_BT, self._forced_BTE, self._dropped, self.is_quantized = roles, quantized, False, False
        self._apart_BTT = self.prices = self.moved = None
        self._begins_BT = self._begins(input_ids) if self.training and self.config.word_shuffle else None
        if input_ids is not None and self.config.premises == "separate":
            end = self.config.eos_token_id
            assert isinstance(end, int), "T5 has one end token"
            self._apart_BTT = _of_other_texts(input_ids, end)
        encoded = None
        if self.moves and self.position == 0 and quantized is None:
            # The quantizer reads the embeddings: blocks are needed behind it alone.
            self._quantize(self.dropout(self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds))
        else:
            encoded = super().forward(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
            )
        if self.moved is not None:
            return self._behind_moved(*self.moved, **kwargs)
        assert encoded is not None, "what moves was quantized"
        return encoded

    def _begins(self, ids_BT: Tensor | None) -> Tensor | None:
        """Returns which tokens begin a word, bool, shape (B, T); None of embeddings, whose tokens nobody knows."""
        if ids_BT is None:
            return None
        if self._starts is None or self._starts.device != ids_BT.device:  # made once: a vocabulary may be large
            self._starts = torch.tensor(self.config.word_starts, device=ids_BT.device)
        return torch.isin(ids_BT, self._starts)

    @property
    def moves(self) -> bool:
        """Whether the decoder gets fewer codes in training, or in another order."""
        removes = self.not_sent is not None and self.not_sent.removes
        return self.training and (removes or self.config.word_shuffle > 0)

    def _behind_moved(self, moved_BME: Tensor, mask_BM: Tensor, **kwargs: Any) -> BaseModelOutput:
        """Runs what follows the quantizer on moved states; what the batch had before stays."""
        self._forced_BTE, self._begins_BT, self._apart_BTT = moved_BME, None, None
        blank_BME = torch.zeros_like(moved_BME)
        return super().forward(inputs_embeds=blank_BME, attention_mask=mask_BM, **kwargs)

    def behind(self, quantized_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns the encoder's result for quantized states: what follows the quantizer runs on them."""
        if self.training or not self._ends_here:
            # A relative bias comes from block 0, so the blocks before the quantizer run too, on blank states.
            blank_BTE = torch.zeros_like(quantized_BTE)
            return self(inputs_embeds=blank_BTE, attention_mask=mask_BT, quantized=quantized_BTE).last_hidden_state
        self._forget()
        self.mask_BT, self._forced_BTE = mask_BT.bool(), quantized_BTE
        return self.final_layer_norm(quantized_BTE) if self.config.final_norm == "after" else quantized_BTE

    def _within_texts(self, block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Hides the other text of a pair from a block; quantized states that a caller gave need no block before."""
        states_BTE, mask, *rest = args
        if self._apart_BTT is None:
            return args
        lowest = torch.finfo(states_BTE.dtype).min
        apart = self._apart_BTT.unsqueeze(1)
        if mask is None:
            mask = torch.zeros_like(apart, dtype=states_BTE.dtype)
        mask = mask & ~apart if mask.dtype == torch.bool else mask.masked_fill(apart, lowest)
        return (states_BTE, mask, *rest)

    def _before_block(self, block: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self._quantize(args[0]), *args[1:])

    def _before_norm(self, norm: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self._quantize_last(args[0]),)

    def _after_norm(self, norm: nn.Module, args: tuple[Tensor, ...], states_BTE: Tensor) -> Tensor:
        return self._quantize_last(states_BTE)

    def _quantize_last(self, states_BTE: Tensor) -> Tensor:
        if isinstance(self.quantizer, NoQuantizer):
            return self._quantize(states_BTE)
        self._dropped = True
        return self._quantize(F.dropout(states_BTE, self.dropout.p, self.training))

    def _after_dropout(self, dropout: nn.Module, args: tuple[Tensor, ...], states_BTE: Tensor) -> Tensor:
        """Undoes T5's last dropout where the quantizer's inputs had it already."""
        return args[0] if self._dropped else states_BTE

    def _quantize(self, states_BTE: Tensor) -> Tensor:
        self.is_quantized = True
        if self._forced_BTE is not None:
            if self.moved is None:
                self.output = None
            return self._forced_BTE.to(states_BTE.dtype)
        assert self.mask_BT is not None
        self.states_BTE, self.raw_states_BTE = states_BTE.detach(), states_BTE
        self.output = self.quantizer(states_BTE, self.mask_BT, self._roles_BT)
        if isinstance(self.quantizer, NoQuantizer):
            return states_BTE  # plain T5 also at padding, which decoders read of a sentence without a token
        quantized_BTE = self.output.quantized_BTE
        if not self.training:
            return quantized_BTE
        codes_BTQ = self.output.codes_BTQ
        if self.prior is not None and codes_BTQ is not None:
            every_K1 = torch.arange(self.quantizer.code_sizes[0], device=states_BTE.device).unsqueeze(-1)
            codebook_KE = self.quantizer.lookup_packed(every_K1)  # the model's own width, so without a projection
            self.prices = self.prior.cost(states_BTE, codes_BTQ[..., 0], self.mask_BT, codebook_KE)
        return self._changed(quantized_BTE, states_BTE, self.mask_BT)

    def _changed(self, quantized_BTE: Tensor, states_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns the quantized states that the decoder reads in training: some swapped, some not sent."""
        if self.config.code_swap:
            quantized_BTE = swapped(quantized_BTE, mask_BT, self.config.code_swap * self.noise)
        if self.gate is not None and self.not_sent is not None and self.quantizer.active:
            logits_BT = self.gate.logits(states_BTE)
            cost = self.gate.cost(logits_BT, mask_BT)
            self.prices = cost if self.prices is None else self.prices + cost
            quantized_BTE = self.not_sent.mix(quantized_BTE, self.gate.draw(logits_BT))
        if self.moves:
            return self._moved(quantized_BTE, mask_BT)
        if self.not_sent is None:
            return quantized_BTE
        return self.not_sent.drop(quantized_BTE, mask_BT, self.noise)

    def _moved(self, quantized_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Notes what is left of the quantized states, for the pass behind the quantizer; returns them as they are."""
        left_BTE, sent_BT, keys_BT = quantized_BTE, mask_BT, None
        if self.not_sent is not None:
            dropped_BT = self.not_sent.drawn(mask_BT, self.noise)
            left_BTE = self.not_sent.put(quantized_BTE, dropped_BT)
            sent_BT = mask_BT & ~dropped_BT if self.not_sent.removes else mask_BT
        if self._begins_BT is not None:
            keys_BT = shuffled_words(self._begins_BT, mask_BT, self.config.word_shuffle * self.noise)
        self.moved = closed_up(left_BTE, sent_BT, keys_BT)
        return quantized_BTE


def _of_other_texts(ids_BT: Tensor, end: int) -> Tensor:
    """Returns which positions a position must not see, shape (B, T, T): those of another text, each with its end."""
    ended_BT = (ids_BT == end).long()
    text_BT = ended_BT.cumsum(1) - ended_BT
    is_text_BT = text_BT < ended_BT.sum(1, keepdim=True)  # padding sees everything: a row without keys would be NaN
    return (text_BT.unsqueeze(2) != text_BT.unsqueeze(1)) & is_text_BT.unsqueeze(2)
