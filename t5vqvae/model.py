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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.t5.modeling_t5 import T5Attention, T5PreTrainedModel, T5Stack

from t5vqvae.architectures import T5Config
from t5vqvae.errors import SettingError
from t5vqvae.quantizers import Quantizer, QuantizerConfig, QuantizerOutput
from t5vqvae.spec import RunSpec


class T5VQVAEConfig(transformers.T5Config):
    """T5's config and the bottleneck's: `quantizer` (its settings), `position`, `cross_positions`."""

    model_type = "t5vqvae"

    quantizer: dict[str, Any] | None = None
    position: int | None = None
    cross_positions: str = "none"
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


@dataclass
class T5VQVAEOutput(Seq2SeqLMOutput):
    """Seq2SeqLMOutput with the chosen codes (B, T, Q; -1 at padding) and the quantizer's weighted loss."""

    codes: Tensor | None = None
    aux_loss: Tensor | None = None


@dataclass(frozen=True)
class Losses:
    """One micro-batch's losses, kept as sums so that micro-batches and workers add up exactly.

    Attributes:
        nll_sum: Summed cross-entropy of the target tokens, nats.
        num_tokens: Target tokens in that sum.
        aux_loss: Mean over the unpadded encoder positions, weighted.
        num_positions: Those positions.
        terms: The quantizer's weighted terms by name.
        logits_BSV: Scores of every target position.
        codes_BTQ: Chosen codes, -1 at padding; None without a bottleneck.
        squared_error: In evaluation mode, the summed squared difference between states and quantized states of the
            unpadded positions; 0 in training.
        squared_states: Likewise the summed squares of those states.
    """

    nll_sum: Tensor
    num_tokens: int
    aux_loss: Tensor
    num_positions: int
    terms: dict[str, Tensor]
    logits_BSV: Tensor
    codes_BTQ: Tensor | None
    squared_error: float
    squared_states: float


class TextAutoencoder(Protocol):
    """What training and evaluation ask of a model: T5VQVAE's and every baseline's contract.

    Attributes:
        quantizer: The bottleneck, with the contract of `t5vqvae.quantizers.base`.
        tokenizer: The one it was trained with.
        last_codes: Codes (B, T, Q) of the latest batch; None without a bottleneck.
    """

    quantizer: Quantizer
    tokenizer: PreTrainedTokenizerBase | None
    last_codes: Tensor | None

    def losses(self, batch: Any, swap_memory: bool = False) -> Losses:
        """Returns the teacher-forced losses of a `Batch`, as sums."""

    def greedy(self, batch: Any, max_new_tokens: int) -> Tensor:
        """Returns greedily decoded token ids, shape (B, at most max_new_tokens + 1)."""

    def states_to_quantize(self, batch: Any) -> Tensor:
        """Returns the unpadded states that the quantizer sees, shape (N, E)."""

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes config, weights (safetensors) and tokenizer."""


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
        self._mask_BT: Tensor | None = None
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
        self._mask_BT = ones_BT if attention_mask is None else attention_mask.bool()
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
        self.states_BTE = states_BTE.detach()
        self.output = self.quantizer(states_BTE, self._mask_BT, self._roles_BT)
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
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.post_init()

    @property
    def quantizer(self) -> nn.Module:
        """The bottleneck."""
        return self.encoder.quantizer

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
        bottleneck = None
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask, inputs_embeds=inputs_embeds, roles=roles)
            bottleneck = self.encoder.output
        output = super().forward(
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=encoder_outputs,
            labels=labels,
            **kwargs,
        )
        loss = output.loss
        if loss is not None and bottleneck is not None:
            loss = loss + bottleneck.aux_loss.to(loss.dtype)
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
        memory, mask_BT = self.encoder(batch.input_ids_BT, batch.mask_BT, roles=batch.roles_BT), batch.mask_BT
        bottleneck, states_BTE = self.encoder.output, self.encoder.states_BTE
        if swap_memory:
            memory = BaseModelOutput(last_hidden_state=memory.last_hidden_state.roll(1, 0))
            mask_BT = mask_BT.roll(1, 0)
        logits_BSV = T5ForConditionalGeneration.forward(
            self,
            attention_mask=mask_BT,
            encoder_outputs=memory,
            decoder_input_ids=self._shift_right(batch.labels_BS),
            use_cache=False,
        ).logits
        nll_sum = F.cross_entropy(logits_BSV.flatten(0, 1).float(), batch.labels_BS.flatten(), reduction="sum")
        return Losses(
            nll_sum=nll_sum,
            num_tokens=batch.num_target_tokens,
            aux_loss=bottleneck.aux_loss,
            num_positions=bottleneck.num_positions,
            terms=bottleneck.terms,
            logits_BSV=logits_BSV.detach(),
            codes_BTQ=bottleneck.codes_BTQ,
            squared_error=0.0 if self.training else _energy(states_BTE - bottleneck.quantized_BTE, batch.mask_BT),
            squared_states=0.0 if self.training else _energy(states_BTE, batch.mask_BT),
        )

    @torch.no_grad()
    def states_to_quantize(self, batch: Any) -> Tensor:
        """Returns the unpadded states that the quantizer sees, shape (N, E)."""
        self.encoder(batch.input_ids_BT, batch.mask_BT, roles=batch.roles_BT)
        return self.encoder.states_BTE[batch.mask_BT]

    @torch.no_grad()
    def greedy(self, batch: Any, max_new_tokens: int) -> Tensor:
        """Returns greedily decoded token ids of a `Batch`, shape (B, at most max_new_tokens + 1)."""
        memory = self.encoder(batch.input_ids_BT, batch.mask_BT, roles=batch.roles_BT)
        return self._generate_from(memory, batch.mask_BT, max_new_tokens)

    @property
    def last_codes(self) -> Tensor | None:
        """Codes (B, T, Q) of the latest batch that went through the encoder; None without a bottleneck."""
        return None if self.encoder.output is None else self.encoder.output.codes_BTQ

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
    def decode(self, codes_BTQ: Tensor, max_new_tokens: int = 64) -> list[str]:
        """Returns the texts that codes stand for, decoded greedily."""
        mask_BT = (codes_BTQ >= 0).all(-1)
        return self.decode_states(self.embed_codes(codes_BTQ), mask_BT, max_new_tokens)

    @torch.no_grad()
    def decode_states(self, quantized_BTE: Tensor, mask_BT: Tensor, max_new_tokens: int = 64) -> list[str]:
        """Returns the texts decoded from quantized states at `position`; the blocks after it run on them."""
        blank_BTE = torch.zeros_like(quantized_BTE)
        memory = self.encoder(inputs_embeds=blank_BTE, attention_mask=mask_BT, quantized=quantized_BTE)
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


def _energy(x_BTE: Tensor, mask_BT: Tensor) -> float:
    return float((x_BTE.detach().float().square() * mask_BT.unsqueeze(-1)).sum())


def _stack_config(config: T5VQVAEConfig, is_decoder: bool) -> T5VQVAEConfig:
    stack = type(config).from_dict(config.to_dict())
    stack.is_decoder = is_decoder
    stack.use_cache = is_decoder
    stack._attn_implementation = config._attn_implementation
    if is_decoder:
        stack.num_layers = config.num_decoder_layers
    return stack


def build_t5vqvae(spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int = 0) -> T5VQVAE:
    """Returns the T5VQVAE of a spec, from scratch or with a backbone's weights; seeded by `spec.seed`.

    Raises:
        SettingError: If `model.position` exceeds the backbone's blocks, or the backbone is no T5.
    """
    torch.manual_seed(spec.seed)
    settings = spec.model
    assert isinstance(settings, T5Config)
    model = _from_scratch(spec, tokenizer, num_roles) if settings.backbone is None else _from_backbone(spec, num_roles)
    model.tokenizer = tokenizer
    return model


def _bottleneck(spec: RunSpec, num_roles: int) -> dict[str, Any]:
    return {
        "quantizer": spec.quantizer.as_dict(),
        "position": spec.model.position,
        "cross_positions": spec.model.resolved_cross_positions,
        "num_roles": num_roles,
        "seed": spec.seed,
    }


def _from_scratch(spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int) -> T5VQVAE:
    size = spec.model
    config = T5VQVAEConfig(
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
        **_bottleneck(spec, num_roles),
    )
    return T5VQVAE(config)


def _from_backbone(spec: RunSpec, num_roles: int) -> T5VQVAE:
    try:
        backbone = T5ForConditionalGeneration.from_pretrained(spec.model.backbone)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise SettingError(f"model.backbone={spec.model.backbone!r} cannot be loaded as a T5: {first}") from None
    settings = backbone.config.to_dict() | {"dropout_rate": spec.model.dropout} | _bottleneck(spec, num_roles)
    for name in ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype"):
        settings.pop(name, None)
    model = T5VQVAE(T5VQVAEConfig(**settings))
    missing, unexpected = model.load_state_dict(backbone.state_dict(), strict=False)
    own = ("encoder.quantizer.", "decoder.input_scale", "decoder.memory_scale", "decoder.block.0.layer.1")
    lost = [name for name in missing if not name.startswith(own)]
    if lost or unexpected:
        raise SettingError(f"model.backbone={spec.model.backbone!r} does not fit T5: {[*lost, *unexpected][:3]}")
    model.generation_config = backbone.generation_config
    return model


transformers.AutoConfig.register("t5vqvae", T5VQVAEConfig, exist_ok=True)
transformers.AutoModelForSeq2SeqLM.register(T5VQVAEConfig, T5VQVAE, exist_ok=True)
