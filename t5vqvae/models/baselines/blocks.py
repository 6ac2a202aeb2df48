"""The encoders and decoders of Optimus: T5's, or BERT's and GPT-2's, from Transformers.

The decoder's cross-attention is removed. A latent enters through hooks on the layers that compute queries, keys and
values. Token embeddings are matrices of these classes and not of the stacks, so that no weight has two names.

Letters: B batch, T encoder positions, S decoder positions, E model width, I inner width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel, T5ForConditionalGeneration
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.models.t5.modeling_t5 import T5Block, T5Stack

from t5vqvae.models.baselines.base import Values
from t5vqvae.models.baselines.injection import Injection
from t5vqvae.models.contract import pooled
from t5vqvae.spec.architectures import MAX_POSITIONS, OptimusConfig

ConfigT = TypeVar("ConfigT", bound=PreTrainedConfig)


class Blocks(nn.Module, ABC):
    """An encoder that returns one vector a sentence, and a decoder without cross-attention.

    Attributes:
        embedding: Token embeddings of the decoder. T5's encoder shares them; they are the output matrix too, except
            where a T5 checkpoint has a separate one.
    """

    embedding: nn.Embedding
    encoder_width: int
    decoder_width: int
    inner_width: int
    num_heads: int
    num_decoder_layers: int

    @abstractmethod
    def encode(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns one vector a sentence, shape (B, E)."""

    @abstractmethod
    def decode(self, x_BSE: Tensor, cache: DynamicCache | None) -> Tensor:
        """Returns the logits of embedded tokens, shape (B, S, V); `cache` has earlier keys and values, or is None."""

    @abstractmethod
    def inject(self, injection: Injection) -> None:
        """Passes every decoder layer's queries, keys and values through `injection`."""

    @abstractmethod
    def take(self, name: str, backbone: PreTrainedModel) -> None:
        """Copies the weights of a checkpoint; `name` is the setting that names it."""


class T5Blocks(Blocks):
    """T5's encoder and decoder; the sentence is the mean of the encoder's states."""

    def __init__(self, size: OptimusConfig, vocab_size: int, backbones: Mapping[str, Values]) -> None:
        super().__init__()
        config = _t5_config(size, vocab_size, backbones.get("backbone"))
        self.config = config
        self.encoder_width = self.decoder_width = config.d_model
        self.inner_width, self.num_heads = config.num_heads * config.d_kv, config.num_heads
        self.num_decoder_layers = config.num_decoder_layers or config.num_layers
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        separate = backbones.get("backbone", {}).get("separate_head", False)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False) if separate else None
        self.encoder = _stack(config, is_decoder=False)
        self.decoder = _stack(config, is_decoder=True)
        for block in _t5_blocks(self.decoder):
            del block.layer[1]  # cross-attention

    def encode(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        embeds_BTE = self.embedding(ids_BT)
        states_BTE = self.encoder(inputs_embeds=embeds_BTE, attention_mask=mask_BT.long()).last_hidden_state
        return pooled(states_BTE, mask_BT)

    def decode(self, x_BSE: Tensor, cache: DynamicCache | None) -> Tensor:
        y_BSE = self.decoder(inputs_embeds=x_BSE, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        if self.config.scale_decoder_outputs:
            y_BSE = y_BSE * self.config.d_model**-0.5
        return F.linear(y_BSE, self.embedding.weight if self.head is None else self.head.weight)

    def inject(self, injection: Injection) -> None:
        for layer, block in enumerate(_t5_blocks(self.decoder)):
            attention = block.layer[0].SelfAttention
            for part in ("q", "k", "v"):
                getattr(attention, part).register_forward_hook(partial(_enter, injection, part, layer))

    def take(self, name: str, backbone: PreTrainedModel) -> None:
        t5 = cast(T5ForConditionalGeneration, backbone)  # mT5's class has the same parts
        self.embedding.load_state_dict(t5.shared.state_dict())
        if self.head is not None:
            self.head.load_state_dict(t5.lm_head.state_dict())
        _copy(self.encoder, t5.encoder)
        for block in t5.decoder.block:
            del cast(T5Block, block).layer[1]
        _copy(self.decoder, t5.decoder)


class BertGPT2Blocks(Blocks):
    """BERT and GPT-2, each with a new embedding matrix; the sentence is BERT's pooled first token."""

    def __init__(self, size: OptimusConfig, vocab_size: int, backbones: Mapping[str, Values]) -> None:
        super().__init__()
        bert, gpt2 = _bert_config(size, backbones.get("bert")), _gpt2_config(size, backbones.get("gpt2"))
        self.encoder_width, self.decoder_width, self.inner_width = bert.hidden_size, gpt2.n_embd, gpt2.n_embd
        self.num_heads, self.num_decoder_layers = gpt2.n_head, gpt2.n_layer
        self.source_embedding = nn.Embedding(vocab_size, bert.hidden_size)
        self.embedding = nn.Embedding(vocab_size, gpt2.n_embd)
        for embedding in (self.source_embedding, self.embedding):
            nn.init.normal_(embedding.weight, std=bert.initializer_range)
        self.encoder, self.decoder = transformers.BertModel(bert), transformers.GPT2Model(gpt2)
        self.encoder.embeddings.word_embeddings = None  # type: ignore[assignment]  # replaced by the matrices above
        self.decoder.wte = None  # type: ignore[assignment]

    def encode(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        embeds_BTE = self.source_embedding(ids_BT)
        return self.encoder(inputs_embeds=embeds_BTE, attention_mask=mask_BT.long()).pooler_output

    def decode(self, x_BSE: Tensor, cache: DynamicCache | None) -> Tensor:
        y_BSE = self.decoder(inputs_embeds=x_BSE, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        return F.linear(y_BSE, self.embedding.weight)

    def inject(self, injection: Injection) -> None:
        for layer, block in enumerate(self.decoder.h):
            assert isinstance(block, GPT2Block)
            block.attn.c_attn.register_forward_hook(partial(_enter_all, injection, layer))

    def take(self, name: str, backbone: PreTrainedModel) -> None:
        _copy(self.encoder if name == "bert" else self.decoder, backbone)


# Hooks are partials and no closures: a copy or a pickle of the model then has hooks with the copy's own injection.
def _enter(
    injection: Injection, part: str, layer: int, module: nn.Module, args: tuple[Tensor, ...], x_BSI: Tensor
) -> Tensor:
    """Hook of a layer that computes one part: queries, keys or values."""
    return injection.into(part, layer, x_BSI)


def _enter_all(injection: Injection, layer: int, module: nn.Module, args: tuple[Tensor, ...], x_BS3I: Tensor) -> Tensor:
    """Hook of GPT-2's layer, which computes queries, keys and values at once."""
    parts = zip("qkv", x_BS3I.chunk(3, -1), strict=True)
    return torch.cat([injection.into(part, layer, x_BSI) for part, x_BSI in parts], -1)


def _copy(module: nn.Module, backbone: nn.Module) -> None:
    # Not strict: the backbone has an embedding matrix that was removed here.
    missing, _ = module.load_state_dict(backbone.state_dict(), strict=False)
    assert not missing, missing


def _stack(config: transformers.T5Config, is_decoder: bool) -> T5Stack:
    stack_config = type(config).from_dict(config.to_dict())
    stack_config.is_decoder, stack_config.is_encoder_decoder, stack_config.use_cache = is_decoder, False, False
    if is_decoder:
        stack_config.num_layers = config.num_decoder_layers or config.num_layers
    stack = T5Stack(stack_config)
    stack.embed_tokens = None  # type: ignore[assignment]  # replaced by `Blocks.embedding`
    return stack


def _t5_blocks(stack: T5Stack) -> Iterator[T5Block]:
    for block in stack.block:
        assert isinstance(block, T5Block)
        yield block


def _t5_config(size: OptimusConfig, vocab_size: int, given: Values | None) -> transformers.T5Config:
    return _config(transformers.T5Config, given, size.t5_sizes(vocab_size), {"dropout_rate": size.dropout})


def _bert_config(size: OptimusConfig, given: Values | None) -> transformers.BertConfig:
    sizes = {
        "vocab_size": 1,
        "hidden_size": size.d_model,
        "intermediate_size": size.d_ff,
        "num_attention_heads": size.num_heads,
        "num_hidden_layers": size.num_layers,
        "max_position_embeddings": MAX_POSITIONS,
    }
    dropout = {"hidden_dropout_prob": size.dropout, "attention_probs_dropout_prob": size.dropout}
    return _config(transformers.BertConfig, given, sizes, dropout)


def _gpt2_config(size: OptimusConfig, given: Values | None) -> transformers.GPT2Config:
    sizes = {
        "vocab_size": 1,
        "n_embd": size.d_model,
        "n_inner": size.d_ff,
        "n_head": size.num_heads,
        "n_layer": size.num_decoder_layers,
        "n_positions": MAX_POSITIONS,
    }
    dropout = {"resid_pdrop": size.dropout, "embd_pdrop": size.dropout, "attn_pdrop": size.dropout}
    return _config(transformers.GPT2Config, given, sizes, dropout)


def _config(
    kind: type[ConfigT], given: Values | None, sizes: Mapping[str, int | float], dropout: Mapping[str, float]
) -> ConfigT:
    """Returns Transformers' config of a checkpoint (`given`), or of these sizes without a checkpoint."""
    return kind.from_dict({**(sizes if given is None else given), **dropout})
