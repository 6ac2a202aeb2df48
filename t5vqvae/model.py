"""T5VQVAE: T5 whose decoder sees its encoder through a quantizer (arXiv 2402.00723).

Encoder blocks 1..n, the quantizer, blocks n+1..N, the final layer norm, the decoder. With `position` n = N the
quantizer comes after the final layer norm: the decoder's keys and values are then the code vectors themselves. With
quantizer `none` every n equals plain T5.

`T5VQVAE` is a Transformers model: `save_pretrained`, `from_pretrained`, `generate`; with its tokenizer saved beside it,
also `encode(texts) -> codes` and `decode(codes) -> texts`.

Letters: B batch, T encoder positions, S decoder positions, E model width, Q codes a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5Attention, T5PreTrainedModel, T5Stack

from t5vqvae.architectures import T5Config
from t5vqvae.autoencoder import Losses, Memory, TextAutoencoder, load_model, pooled, reconstruct, teacher_forced
from t5vqvae.errors import SettingError
from t5vqvae.prompts import PromptConfig, Prompts
from t5vqvae.quantizers import Quantizer, QuantizerConfig, QuantizerOutput
from t5vqvae.spec import RunSpec

__all__ = ["T5VQVAE", "Losses", "T5VQVAEConfig", "TextAutoencoder", "build_t5vqvae", "load_model", "reconstruct"]


class T5VQVAEConfig(transformers.T5Config):
    """T5's config and the bottleneck's: settings of `quantizer` and `prompts`, `position`, `cross_positions`."""

    model_type = "t5vqvae"

    quantizer: dict[str, Any] | None = None
    position: int | None = None
    cross_positions: str = "none"
    prompts: dict[str, Any] | None = None
    num_roles: int = 0
    seed: int = 0

    def quantizer_config(self) -> QuantizerConfig:
        """Returns the quantizer's settings, checked; `none` when there are none."""
        settings = dict(self.quantizer or {"name": "none"})
        variant = QuantizerConfig.variants.get(settings["name"])
        if variant is None:
            known = ", ".join(sorted(QuantizerConfig.variants))
            raise SettingError(f"quantizer.name={settings['name']!r} must be one of {known}")
        return variant.parse(settings)

    def prompt_config(self) -> PromptConfig | None:
        """Returns the prompts' settings, checked; None without prompts."""
        return None if self.prompts is None else PromptConfig.parse(self.prompts)


@dataclass
class T5VQVAEOutput(Seq2SeqLMOutput):
    """Seq2SeqLMOutput with the chosen codes (B, T, Q; -1 at padding) and the quantizer's weighted loss."""

    codes: Tensor | None = None
    aux_loss: Tensor | None = None


class _T5Start:
    """Makes subclasses of T5 draw their first weights as T5 does.

    Transformers 5.23 takes a class from elsewhere for custom code, and then passes over every module without parameters
    of its own, such as T5Attention, whose children keep a standard deviation of 1 instead of 1/sqrt(d).
    """

    @classmethod
    def is_custom_code(cls) -> bool:
        return False


class QuantizedEncoder(_T5Start, T5Stack):
    """T5's encoder with the quantizer after block `position`.

    Hooks at that point leave T5's own forward in charge, so the relative bias computed in block 0 is carried on
    exactly as in plain T5.
    """

    def __init__(self, config: T5VQVAEConfig, position: int) -> None:
        super().__init__(config)
        with torch.device("cpu"):  # also while from_pretrained builds on the meta device: its start is computed
            self.quantizer = config.quantizer_config().build(config.d_model, config.num_roles, config.seed)
        for module in self.quantizer.modules():
            module._is_hf_initialized = True  # or post_init would draw its weights anew, as T5 draws linear layers
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


class _CrossAttention(T5Attention):
    """T5's cross-attention with a relative bias on query minus key position, in both directions."""

    def compute_bias(self, query_length: int, key_length: int, device: Any = None, past_seen_tokens: Any = 0) -> Tensor:
        # The self-attention before this layer has already cached the present queries: they are not the past.
        past = past_seen_tokens - query_length if torch.is_tensor(past_seen_tokens) or past_seen_tokens else 0
        self.is_decoder = False
        return super().compute_bias(query_length, key_length, device=device, past_seen_tokens=past)


class PositionedDecoder(_T5Start, T5Stack):
    """T5's decoder whose cross-attention knows positions.

    T5's own has none: with pretrained weights that is no trouble, from scratch copying has to be discovered.
    `absolute` adds sinusoids, each with a learned scale, to the decoder's inputs and to the quantized memory (after
    the codebook, so that codes stay free of position); `relative` adds a bias on query minus key position.
    """

    def __init__(self, config: T5VQVAEConfig, cross_positions: str) -> None:
        super().__init__(config)
        self.absolute = cross_positions == "absolute"
        if self.absolute:
            self.input_scale = nn.Parameter(torch.ones(1))
            self.memory_scale = nn.Parameter(torch.ones(1))
        if cross_positions == "relative":
            self.block[0].layer[1].EncDecAttention = _CrossAttention(
                config, has_relative_attention_bias=True, layer_idx=0
            )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        if self.absolute:
            inputs_embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            inputs_embeds = inputs_embeds + self.input_scale * sinusoids(inputs_embeds, past)
            encoder_hidden_states = encoder_hidden_states + self.memory_scale * sinusoids(encoder_hidden_states)
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
    """Returns sinusoidal positions first, first + 1, ... for states of shape (B, T, E); shape (T, E).

    Source: Vaswani et al. 2017, section 3.5.
    """
    width, length = like_BTE.shape[-1], like_BTE.shape[1]
    half = (width + 1) // 2
    frequencies = torch.exp(torch.arange(half, device=like_BTE.device) * (-torch.log(torch.tensor(1e4)) / half))
    angles = (torch.arange(length, device=like_BTE.device) + first).unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)[:, :width].to(like_BTE.dtype)


class T5VQVAE(_T5Start, T5ForConditionalGeneration):
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
        self.encoder = QuantizedEncoder(_stack_config(config, is_decoder=False), position)
        self.decoder = PositionedDecoder(_stack_config(config, is_decoder=True), config.cross_positions)
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
        for module in prompts.modules():
            module._is_hf_initialized = True
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
        memory = self.remember(batch)
        return teacher_forced(batch, memory, lambda given: self.score(given, batch), swap_memory, self.training)

    def remember(self, batch: Any) -> Memory:
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
        memory = self.remember(batch)
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


def _stack_config(config: T5VQVAEConfig, is_decoder: bool) -> T5VQVAEConfig:
    stack = type(config).from_dict(config.to_dict())
    stack.is_decoder = is_decoder
    stack.use_cache = is_decoder
    stack._attn_implementation = config._attn_implementation
    if is_decoder:
        stack.num_layers = config.num_decoder_layers
    return stack


def build_t5vqvae(
    spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int = 0, kind: type[T5VQVAE] = T5VQVAE, **extra: Any
) -> Any:
    """Returns the T5VQVAE of a spec, from scratch or with a backbone's weights; seeded by `spec.seed`.

    Args:
        spec: The run.
        tokenizer: Of its data.
        num_roles: How many semantic roles the data knows.
        kind: The class to build, T5VQVAE or one derived from it.
        extra: Further settings of `kind.config_class`.

    Raises:
        SettingError: If `model.position` exceeds the backbone's blocks, or the backbone is no T5.
    """
    torch.manual_seed(spec.seed)
    settings = spec.model
    assert isinstance(settings, T5Config)
    own = {**_bottleneck(spec, num_roles), **extra}
    model = _from_scratch(spec, tokenizer, kind, own) if settings.backbone is None else _from_backbone(spec, kind, own)
    model.tokenizer = tokenizer
    return model


def _bottleneck(spec: RunSpec, num_roles: int) -> dict[str, Any]:
    return {
        "quantizer": spec.quantizer.as_dict(),
        "position": spec.model.position,
        "cross_positions": spec.model.resolved_cross_positions,
        "prompts": None if spec.model.prompts is None else spec.model.prompts.as_dict(),
        "num_roles": num_roles,
        "seed": spec.seed,
    }


def _from_scratch(
    spec: RunSpec, tokenizer: PreTrainedTokenizerBase, kind: type[T5VQVAE], own: dict[str, Any]
) -> T5VQVAE:
    size = spec.model
    config = kind.config_class(
        vocab_size=len(tokenizer),
        d_model=size.d_model,
        d_kv=size.d_model // size.num_heads,
        d_ff=size.d_ff,
        num_heads=size.num_heads,
        num_layers=size.num_layers,
        num_decoder_layers=size.num_decoder_layers,
        dropout_rate=size.dropout,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        **own,
    )
    return kind(config)


def _from_backbone(spec: RunSpec, kind: type[T5VQVAE], own: dict[str, Any]) -> T5VQVAE:
    try:
        backbone = T5ForConditionalGeneration.from_pretrained(spec.model.backbone)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise SettingError(f"model.backbone={spec.model.backbone!r} cannot be loaded as a T5: {first}") from None
    settings = backbone.config.to_dict() | {"dropout_rate": spec.model.dropout} | own
    for name in ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype"):
        settings.pop(name, None)
    model = kind(kind.config_class(**settings))
    missing, unexpected = model.load_state_dict(backbone.state_dict(), strict=False)
    ours = ("encoder.quantizer.", "prompts.", "decoder.input_scale", "decoder.memory_scale", "decoder.block.0.layer.1")
    lost = [name for name in missing if not name.startswith(ours)]
    if lost or unexpected:
        raise SettingError(f"model.backbone={spec.model.backbone!r} does not fit T5: {[*lost, *unexpected][:3]}")
    model.generation_config = backbone.generation_config
    return model


transformers.AutoConfig.register("t5vqvae", T5VQVAEConfig, exist_ok=True)
transformers.AutoModelForSeq2SeqLM.register(T5VQVAEConfig, T5VQVAE, exist_ok=True)
