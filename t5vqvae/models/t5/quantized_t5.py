"""The network: encoder with quantizer, optional prompts, decoder; a Transformers model of batches.

Letters: B batch, T encoder positions, M positions of the memory, S decoder positions, E model width, P prompts, Q codes
a position, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, StoppingCriteria, StoppingCriteriaList, T5ForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5PreTrainedModel
from transformers.utils import can_return_tuple

from t5vqvae.data.batch import Batch
from t5vqvae.errors import SettingError
from t5vqvae.models.contract import Losses, Memory, TextAutoencoder, pooled, teacher_forced
from t5vqvae.models.t5.config import T5VQVAEConfig, stack_config
from t5vqvae.models.t5.decoder import PositionedDecoder
from t5vqvae.models.t5.encoder import QuantizedEncoder
from t5vqvae.models.t5.first_weights import T5Start, keep_start
from t5vqvae.quantizers import Quantizer
from t5vqvae.quantizers.parts.float32 import float32_start
from t5vqvae.quantizers.prompts import Prompts
from t5vqvae.spec.training import TrainingStage

_END = 1
"""`</s>` in every tokenizer with T5's conventions."""


@dataclass
class T5VQVAEOutput(Seq2SeqLMOutput):
    """Seq2SeqLMOutput with the chosen codes (B, T, Q; -1 at padding) and the quantizer's weighted loss."""

    codes: Tensor | None = None
    aux_loss: Tensor | None = None


class _EnoughEnded(StoppingCriteria):
    """Stops decoding a batch when a share of its sentences has ended; by itself Transformers waits for all."""

    def __init__(self, end: int, share: float) -> None:
        self.end = end
        self.share = share

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        ended_B = (input_ids == self.end).any(-1)
        return torch.full_like(ended_B, int(ended_B.sum()) >= self.share * len(ended_B))


class QuantizedT5(T5Start, T5ForConditionalGeneration, TextAutoencoder):
    """T5 with a quantizer between encoder and cross-attention."""

    config_class = T5VQVAEConfig
    config: T5VQVAEConfig
    encoder: QuantizedEncoder
    decoder: PositionedDecoder

    def __init__(self, config: T5VQVAEConfig) -> None:
        # Not T5ForConditionalGeneration's own __init__: that would first build a plain encoder and decoder.
        T5PreTrainedModel.__init__(self, config)
        self.model_dim = config.d_model
        position = config.num_layers if config.position is None else config.position
        if not 0 <= position <= config.num_layers:
            raise SettingError(f"model.position={position} must lie between 0 and {config.num_layers}, the last block")
        if config.final_norm is not None and position < config.num_layers:
            raise SettingError(
                f"model.final_norm={config.final_norm} is for the last position, {config.num_layers}; after block"
                f" {position} further blocks follow, so leave it out"
            )
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = QuantizedEncoder(stack_config(config, is_decoder=False), position)
        self.decoder = PositionedDecoder(stack_config(config, is_decoder=True), config.cross_positions)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.separate_head:
            # Transformers reads it of the instance: so loading, resizing and saving keep both matrices.
            self._tied_weights_keys = {k: v for k, v in self._tied_weights_keys.items() if k != "lm_head.weight"}
        self.prompts = self._build_prompts(config)
        self.tokenizer = None
        self.post_init()

    @staticmethod
    def _build_prompts(config: T5VQVAEConfig) -> Prompts | None:
        settings = config.prompt_config()
        if settings is None:
            return None
        if config.d_model % 4:
            raise SettingError(f"model.prompts needs a model.d_model divisible by 4, not {config.d_model}")
        with float32_start():
            prompts = settings.build(config.d_model, config.seed)
        keep_start(prompts)
        return prompts

    # Properties where the contract has attributes: the encoder owns the quantizer, and checkpoints name it so.
    @property
    def quantizer(self) -> Quantizer:  # type: ignore[override]
        """The bottleneck."""
        return self.encoder.quantizer

    @property
    def quantizers(self) -> Sequence[Quantizer]:
        """The bottleneck, then that of the prompts if there are any."""
        return [self.quantizer] if self.prompts is None else [self.quantizer, self.prompts.quantizer]

    @property
    def leaks(self) -> bool:  # type: ignore[override]
        """Whether the decoder sees more than codes: continuous prompts."""
        return self.prompts is not None and not self.prompts.quantizer.discrete

    @property
    def last_codes(self) -> Tensor | None:  # type: ignore[override]
        """Codes (B, T, Q) of the latest batch in the encoder; None without a bottleneck."""
        return None if self.encoder.output is None else self.encoder.output.codes_BTQ

    def begin_stage(self, stage: TrainingStage) -> None:
        self.encoder.begin_stage(stage)

    def begin_step(self, step: int, noise_steps: int) -> None:
        self.encoder.noise = min(1.0, step / noise_steps) if noise_steps else 1.0

    def get_input_embeddings(self) -> nn.Embedding:
        return self.shared

    def tied_names(self) -> set[str]:
        return set(self._tied_weights_keys)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        roles: Tensor | None = None,
        **kwargs: Any,
    ) -> T5VQVAEOutput:
        """Runs T5's forward; with `labels`, the loss is cross-entropy plus the quantizer's loss.

        The order of the arguments is T5's.

        Args:
            input_ids: Tokens (B, T).
            attention_mask: True (or 1) at real positions (B, T).
            decoder_input_ids: Decoder tokens (B, S); made from `labels` when absent.
            decoder_attention_mask: True (or 1) at real decoder positions.
            encoder_outputs: The encoder's output, if it has run already: nothing is quantized again.
            inputs_embeds: Embeddings (B, T, E) instead of `input_ids`.
            labels: Target tokens (B, S), -100 at padding.
            roles: Semantic roles (B, T), for quantizers that read them.
            kwargs: Further arguments of T5's forward, such as `output_hidden_states`; encoder and decoder get them.
        """
        memory = None
        if encoder_outputs is None:
            encoded = self.encoder(input_ids, attention_mask, inputs_embeds, roles=roles, return_dict=True, **kwargs)
            memory = self._memory(encoded.last_hidden_state)
            if memory.mask_BM is not self.encoder.mask_BT:  # codes that moved, prompts, or one latent a sentence
                attention_mask = memory.mask_BM
            encoder_outputs = BaseModelOutput(memory.states_BME, encoded.hidden_states, encoded.attentions)
        output = super().forward(
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            past_key_values=past_key_values,
            decoder_inputs_embeds=decoder_inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        return T5VQVAEOutput(**output) if memory is None else self._with_codes(output, memory)

    @staticmethod
    def _with_codes(output: Seq2SeqLMOutput, memory: Memory) -> T5VQVAEOutput:
        """Adds the codes and the quantizer's loss to T5's output."""
        loss, bottleneck = output.loss, memory.bottleneck
        if loss is not None:
            loss = loss + (bottleneck.aux_loss if memory.aux_loss is None else memory.aux_loss).to(loss.dtype)
        return T5VQVAEOutput(**{**output, "loss": loss}, codes=bottleneck.codes_BTQ, aux_loss=bottleneck.aux_loss)

    def losses(self, batch: Batch, swap_memory: bool = False, memory: Memory | None = None) -> Losses:
        memory = memory or self.encode_memory(batch)
        return teacher_forced(batch, memory, lambda given: self._score(given, batch), swap_memory, self.training)

    def encode_memory(self, batch: Batch) -> Memory:
        return self._remember(batch.input_ids_BT, batch.mask_BT, batch.roles_BT)

    def _remember(
        self,
        ids_BT: Tensor | None,
        mask_BT: Tensor | None,
        roles_BT: Tensor | None = None,
        embeds_BTE: Tensor | None = None,
    ) -> Memory:
        encoded = self.encoder(ids_BT, mask_BT, embeds_BTE, roles=roles_BT, return_dict=True)
        return self._memory(encoded.last_hidden_state)

    def _memory(self, states_BTE: Tensor) -> Memory:
        """Returns everything that the decoder can read of the batch that the encoder has just encoded."""
        output, mask_BT, raw_BTE = self.encoder.output, self.encoder.mask_BT, self.encoder.raw_states_BTE
        assert output is not None and mask_BT is not None and raw_BTE is not None
        aux_loss = None if self.encoder.prices is None else output.aux_loss + self.encoder.prices
        mask_BM = mask_BT if self.encoder.moved is None else self.encoder.moved[1]
        memory = Memory(states_BTE, mask_BM, output, self.encoder.states_BTE, aux_loss=aux_loss)
        return memory if self.prompts is None else self._prompted(memory, self.prompts, pooled(raw_BTE, mask_BT))

    @staticmethod
    def _prompted(memory: Memory, prompts: Prompts, pooled_BE: Tensor) -> Memory:
        """Puts prompts before the memory and spreads their loss over the positions."""
        prompts_BPE, output = prompts(pooled_BE)
        return replace(
            memory,
            states_BME=torch.cat([prompts_BPE.to(memory.states_BME.dtype), memory.states_BME], 1),
            mask_BM=torch.cat([memory.mask_BM.new_ones(prompts_BPE.shape[:2]), memory.mask_BM], 1),
            prompt_codes_BPQ=output.codes_BTQ,
            aux_loss=(memory.bottleneck.aux_loss if memory.aux_loss is None else memory.aux_loss)
            + output.aux_loss * (output.num_positions / max(1, memory.bottleneck.num_positions)),
        )

    def latents_of(self, memory: Memory) -> Tensor:
        return memory.bottleneck.quantized_BTE

    def with_latents(self, memory: Memory, latents_BTE: Tensor, mask_BT: Tensor) -> Memory:
        states_BME = self.encoder.behind(latents_BTE.to(self.shared.weight.dtype), mask_BT)
        num_prompts = memory.states_BME.shape[1] - memory.bottleneck.quantized_BTE.shape[1]
        return replace(
            memory,
            states_BME=torch.cat([memory.states_BME[:, :num_prompts], states_BME], 1),
            mask_BM=torch.cat([memory.mask_BM[:, :num_prompts], mask_BT], 1),
        )

    def _score(self, memory: Memory, batch: Batch) -> Tensor:
        return self._logits(memory.states_BME, memory.mask_BM, batch.labels_BS)

    def _logits(self, states_BME: Tensor, mask_BM: Tensor, labels_BS: Tensor) -> Tensor:
        """Returns the logits of every target position given the decoder's memory, shape (B, S, V)."""
        return T5ForConditionalGeneration.forward(
            self,
            attention_mask=mask_BM,
            encoder_outputs=BaseModelOutput(last_hidden_state=states_BME),
            decoder_input_ids=self._shift_right(labels_BS),
            use_cache=False,
            return_dict=True,
        ).logits

    @torch.no_grad()
    def states_to_quantize(self, batch: Batch) -> Tensor:
        self.encoder(batch.input_ids_BT, batch.mask_BT, roles=batch.roles_BT)
        assert self.encoder.states_BTE is not None
        return self.encoder.states_BTE[batch.mask_BT]

    @torch.no_grad()
    def greedy(self, batch: Batch, max_new_tokens: int, enough: float = 1.0, memory: Memory | None = None) -> Tensor:
        memory = memory or self.encode_memory(batch)
        states = BaseModelOutput(last_hidden_state=memory.states_BME)
        return self._generate_from(states, memory.mask_BM, max_new_tokens, enough)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Runs Transformers' `generate`; a model with prompts needs `encoder_outputs` with the prompts.

        Raises:
            ValueError: If the model has prompts and `encoder_outputs` is missing, or it removes or shuffles codes in
                training mode.
        """
        if self.encoder.moves and kwargs.get("encoder_outputs") is None:
            raise ValueError("in training mode the model removes or shuffles codes; call eval() before generate")
        if self.prompts is not None and kwargs.get("encoder_outputs") is None:
            raise ValueError("a model with prompts cannot generate from input_ids; use greedy, or reconstruct")
        is_deeper = len(self.decoder.block) > len(self.encoder.block)
        given = kwargs.keys() & {"past_key_values", "cache_implementation"}
        if is_deeper and not given and kwargs.get("use_cache", True):
            # Transformers would size the cache by the encoder's blocks, and the decoder would find no place in it.
            kwargs["past_key_values"] = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return super().generate(*args, **kwargs)  # type: ignore[misc]  # Transformers types its self as a protocol

    def _generate_from(
        self, memory: BaseModelOutput, mask_BT: Tensor, max_new_tokens: int, enough: float = 1.0
    ) -> Tensor:
        criteria = [] if enough == 1 else [_EnoughEnded(_END, enough)]
        return self.generate(
            stopping_criteria=StoppingCriteriaList(criteria),
            encoder_outputs=memory,
            attention_mask=mask_BT.long(),
            max_new_tokens=max_new_tokens,
            num_beams=1,
            do_sample=False,
        )
