"""Texts to codes and back, for a model with its tokenizer at hand.

Letters: B batch, T encoder positions, E model width, P prompts, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from t5vqvae.quantizers import QuantizerOutput


class TextCoding:
    """What a `T5VQVAE` does for texts rather than batches.

    Attributes:
        tokenizer: Set by `from_pretrained` when a tokenizer lies beside the weights; nothing here works without one.
    """

    tokenizer: PreTrainedTokenizerBase | None

    def _tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        if self.tokenizer is None:
            raise ValueError("model.tokenizer is None: save the tokenizer beside the model, or set model.tokenizer")
        tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        return {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")}

    @torch.no_grad()
    def encode_states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns the states before the quantizer, shape (B, T, E), and the mask, shape (B, T)."""
        tokens = self._tokenize(texts)
        self.encoder(**tokens)
        return self.encoder.states_BTE, tokens["attention_mask"].bool()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Returns the codes of texts, int64, shape (B, T, Q), -1 at padding.

        Raises:
            ValueError: If the model has no bottleneck, hence no codes.
        """
        self.encoder(**self._tokenize(texts))
        if self.encoder.output.codes_BTQ is None:
            raise ValueError(f"quantizer {self.config.quantizer_config().name} has no codes")
        return self.encoder.output.codes_BTQ

    @torch.no_grad()
    def quantize(self, states_BTE: Tensor, mask_BT: Tensor) -> QuantizerOutput:
        """Quantizes states as `encode_states` returns them."""
        return self.quantizer(states_BTE, mask_BT)

    def embed_codes(self, codes_BTQ: Tensor) -> Tensor:
        """Returns the quantized states of codes, shape (B, T, E); zero at padding."""
        return self.quantizer.lookup(codes_BTQ)

    @torch.no_grad()
    def encode_prompts(self, texts: Sequence[str]) -> Tensor:
        """Returns the codes of the texts' prompts, int64, shape (B, P, 1).

        Raises:
            ValueError: If the model has no quantized prompts.
        """
        tokens = self._tokenize(texts)
        codes_BPQ = self._remember(tokens["input_ids"], tokens["attention_mask"].bool(), None).prompt_codes_BPQ
        if codes_BPQ is None:
            raise ValueError("the model has no quantized prompts, hence no codes of them")
        return codes_BPQ

    @torch.no_grad()
    def decode(
        self, codes_BTQ: Tensor, max_new_tokens: int = 64, *, prompt_codes_BPQ: Tensor | None = None
    ) -> list[str]:
        """Returns the texts that codes (and those of the prompts, in a model with prompts) stand for, greedily."""
        mask_BT = (codes_BTQ >= 0).all(-1)
        states_BTE = self.embed_codes(codes_BTQ)
        return self.decode_states(states_BTE, mask_BT, max_new_tokens, prompt_codes_BPQ=prompt_codes_BPQ)

    @torch.no_grad()
    def decode_states(
        self,
        quantized_BTE: Tensor,
        mask_BT: Tensor,
        max_new_tokens: int = 64,
        *,
        prompt_codes_BPQ: Tensor | None = None,
    ) -> list[str]:
        """Returns the texts decoded from quantized states at `position`; the blocks after it run on them.

        Raises:
            ValueError: If the model has prompts and their codes are missing.
        """
        blank_BTE = torch.zeros_like(quantized_BTE)
        memory = self.encoder(inputs_embeds=blank_BTE, attention_mask=mask_BT, quantized=quantized_BTE)
        if self.prompts is not None:
            if prompt_codes_BPQ is None:
                raise ValueError("the model has prompts: decoding needs prompt_codes_BPQ, see encode_prompts")
            prompts_BPE = self.prompts.embed(prompt_codes_BPQ)
            memory = BaseModelOutput(last_hidden_state=torch.cat([prompts_BPE, memory.last_hidden_state], 1))
            mask_BT = torch.cat([mask_BT.new_ones(prompts_BPE.shape[:2]), mask_BT], 1)
        ids = self._generate_from(memory, mask_BT, max_new_tokens)
        return self.tokenizer.batch_decode(ids, skip_special_tokens=True)
