"""The autoencoder: encoder with quantizer, prompts where asked, decoder; a Transformers model.

Letters: B batch, T encoder positions, M positions of the memory, S decoder positions, E model width, P prompts, Q codes
a position, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5PreTrainedModel

from t5vqvae.errors import SettingError
from t5vqvae.models.contract import Losses, Memory, pooled, teacher_forced
from t5vqvae.models.t5.coding import TextCoding
from t5vqvae.models.t5.config import T5VQVAEConfig, stack_config
from t5vqvae.models.t5.decoder import PositionedDecoder
from t5vqvae.models.t5.encoder import QuantizedEncoder
from t5vqvae.models.t5.first_weights import T5Start, keep_start
from t5vqvae.quantizers import Quantizer
from t5vqvae.quantizers.prompts import Prompts


@dataclass
class T5VQVAEOutput(Seq2SeqLMOutput):
    """Seq2SeqLMOutput with the chosen codes (B, T, Q; -1 at padding) and the quantizer's weighted loss."""

    codes: Tensor | None = None
    aux_loss: Tensor | None = None


class T5VQVAE(TextCoding, T5Start, T5ForConditionalGeneration):
    """A text autoencoder: T5 with a quantizer between encoder and cross-attention.

    Attributes:
        tokenizer: Set by `from_pretrained` when a tokenizer lies beside the weights; `encode` and `decode` need it.
    """

    config_class = T5VQVAEConfig

    def __init__(self, config: T5VQVAEConfig) -> None:
        # Not T5ForConditionalGeneration's own: that would build a plain encoder and decoder first.
        T5PreTrainedModel.__init__(self, config)
        self.model_dim = config.d_model
        position = config.num_layers if config.position is None else config.position
        if not 0 <= position <= config.num_layers:
            raise SettingError(f"model.position={position} must lie between 0 and {config.num_layers}, the last block")
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = QuantizedEncoder(stack_config(config, is_decoder=False), position)
        self.decoder = PositionedDecoder(stack_config(config, is_decoder=True), config.cross_positions)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.prompts = self._build_prompts(config)
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.post_init()

    @staticmethod
    def _build_prompts(config: T5VQVAEConfig) -> Prompts | None:
        settings = config.prompt_config()
        if settings is None:
            return None
        if config.d_model % 4:
            raise SettingError(f"model.prompts needs a model.d_model divisible by 4, not {config.d_model}")
        with torch.device("cpu"):
            prompts = settings.build(config.d_model, config.seed)
        keep_start(prompts)
        return prompts

    @property
    def quantizer(self) -> Quantizer:
        """The bottleneck."""
        return self.encoder.quantizer

    @property
    def quantizers(self) -> list[Quantizer]:
        """The bottleneck, and every further one."""
        return [self.quantizer] if self.prompts is None else [self.quantizer, self.prompts.quantizer]

    @property
    def leaks(self) -> bool:
        """Whether the decoder sees more than codes: continuous prompts."""
        return self.prompts is not None and not self.prompts.quantizer.discrete

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        roles: Tensor | None = None,
        **kwargs: Any,
    ) -> T5VQVAEOutput:
        """As T5's forward; the loss, when `labels` are given, is cross-entropy plus the quantizer's loss.

        Args:
            input_ids: Tokens (B, T).
            attention_mask: True (or 1) at real positions (B, T).
            decoder_input_ids: Decoder tokens (B, S); made from `labels` when absent.
            encoder_outputs: What the encoder returned, when it has run already: nothing is quantized again.
            inputs_embeds: Embeddings (B, T, E) instead of `input_ids`.
            labels: Target tokens (B, S), -100 at padding.
            roles: Semantic roles (B, T), for quantizers that read them.
            kwargs: The rest of what T5 takes.
        """
        memory = None
        if encoder_outputs is None:
            memory = self._remember(input_ids, attention_mask, roles, inputs_embeds)
            encoder_outputs = BaseModelOutput(last_hidden_state=memory.states_BME)
            attention_mask = attention_mask if self.prompts is None else memory.mask_BM
        bottleneck = None if memory is None else memory.bottleneck
        output = super().forward(
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=encoder_outputs,
            labels=labels,
            **kwargs,
        )
        loss = output.loss
        if loss is not None and bottleneck is not None:
            loss = loss + (memory.bottleneck.aux_loss if memory.aux_loss is None else memory.aux_loss).to(loss.dtype)
        return T5VQVAEOutput(
            **{**output, "loss": loss},
            codes=None if bottleneck is None else bottleneck.codes_BTQ,
            aux_loss=None if bottleneck is None else bottleneck.aux_loss,
        )

    def losses(self, batch: Any, swap_memory: bool = False) -> Losses:
        """Returns the teacher-forced losses of a `Batch`, as sums (see `Losses`).

        Args:
            batch: A `t5vqvae.data.Batch` of B sentences.
            swap_memory: Give every sentence the memory of the next one: a decoder that loses nothing by it
                ignores the latent.
        """
        memory = self.encode_memory(batch)
        return teacher_forced(batch, memory, lambda given: self.score(given, batch), swap_memory, self.training)

    def encode_memory(self, batch: Any) -> Memory:
        """Returns what the decoder may know of a `Batch`."""
        return self._remember(batch.input_ids_BT, batch.mask_BT, batch.roles_BT)

    def _remember(self, ids_BT: Any, mask_BT: Any, roles_BT: Any, embeds_BTE: Any = None) -> Memory:
        states_BTE = self.encoder(ids_BT, mask_BT, inputs_embeds=embeds_BTE, roles=roles_BT).last_hidden_state
        mask_BT = self.encoder.mask_BT
        memory = Memory(states_BTE, mask_BT, self.encoder.output, self.encoder.states_BTE)
        return memory if self.prompts is None else self._prompted(memory, self.encoder.raw_states_BTE)

    def _prompted(self, memory: Memory, raw_BTE: Tensor) -> Memory:
        """Puts prompts before the memory; their loss is shared out over the positions."""
        prompts_BPE, output = self.prompts(pooled(raw_BTE, memory.mask_BM))
        return replace(
            memory,
            states_BME=torch.cat([prompts_BPE.to(memory.states_BME.dtype), memory.states_BME], 1),
            mask_BM=torch.cat([memory.mask_BM.new_ones(prompts_BPE.shape[:2]), memory.mask_BM], 1),
            prompt_codes_BPQ=output.codes_BTQ,
            aux_loss=memory.bottleneck.aux_loss
            + output.aux_loss * (output.num_positions / max(1, memory.bottleneck.num_positions)),
        )

    def score(self, memory: Memory, batch: Any) -> Tensor:
        """Returns the logits of every target position of a `Batch` given a memory, shape (B, S, V)."""
        return T5ForConditionalGeneration.forward(
            self,
            attention_mask=memory.mask_BM,
            encoder_outputs=BaseModelOutput(last_hidden_state=memory.states_BME),
            decoder_input_ids=self._shift_right(batch.labels_BS),
            use_cache=False,
        ).logits

    @torch.no_grad()
    def states_to_quantize(self, batch: Any) -> Tensor:
        """Returns the unpadded states that the quantizer sees, shape (N, E)."""
        self.encoder(batch.input_ids_BT, batch.mask_BT, roles=batch.roles_BT)
        return self.encoder.states_BTE[batch.mask_BT]

    @torch.no_grad()
    def greedy(self, batch: Any, max_new_tokens: int) -> Tensor:
        """Returns greedily decoded token ids of a `Batch`, shape (B, at most max_new_tokens + 1)."""
        memory = self.encode_memory(batch)
        states = BaseModelOutput(last_hidden_state=memory.states_BME)
        return self._generate_from(states, memory.mask_BM, max_new_tokens)

    @property
    def last_codes(self) -> Tensor | None:
        """Codes (B, T, Q) of the latest batch that went through the encoder; None without a bottleneck."""
        return None if self.encoder.output is None else self.encoder.output.codes_BTQ

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As Transformers' `generate`; with prompts, only from `encoder_outputs` that hold them (see `greedy`)."""
        if self.prompts is not None and kwargs.get("encoder_outputs") is None:
            raise ValueError("a model with prompts cannot generate from input_ids; use greedy, or reconstruct")
        return super().generate(*args, **kwargs)

    def _generate_from(self, memory: BaseModelOutput, mask_BT: Tensor, max_new_tokens: int) -> Tensor:
        return self.generate(
            encoder_outputs=memory,
            attention_mask=mask_BT.long(),
            max_new_tokens=max_new_tokens,
            num_beams=1,
            do_sample=False,
        )

    @classmethod
    def from_pretrained(cls, path: str | Path, *args: Any, **kwargs: Any) -> T5VQVAE:
        """Loads what `save_pretrained` wrote, with the tokenizer when one lies beside it."""
        model = super().from_pretrained(path, *args, **kwargs)
        if Path(path, "tokenizer_config.json").is_file():
            model.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        return model

    def save_pretrained(self, directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Writes config and weights (safetensors), and the tokenizer when the model has one."""
        super().save_pretrained(directory, *args, **kwargs)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(directory)


transformers.AutoConfig.register("t5vqvae", T5VQVAEConfig, exist_ok=True)
transformers.AutoModelForSeq2SeqLM.register(T5VQVAEConfig, T5VQVAE, exist_ok=True)
