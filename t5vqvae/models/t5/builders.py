"""Builds the T5VQVAE of a spec, from scratch or from a backbone's weights."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from t5vqvae.models.backbones import read_t5, refuse_few_rows, t5_settings
from t5vqvae.models.t5.t5vqvae import T5VQVAE
from t5vqvae.spec.architectures import T5VQVAESettings
from t5vqvae.spec.run import RunSpec

_SPECIAL_TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}

ModelT = TypeVar("ModelT", bound=T5VQVAE)


def build_t5vqvae(spec: RunSpec, tokenizer: PreTrainedTokenizerBase | None, num_roles: int = 0) -> T5VQVAE:
    """Returns the T5VQVAE of a spec; see `build_as`."""
    return build_as(T5VQVAE, spec, tokenizer, num_roles)


def build_as(
    kind: type[ModelT], spec: RunSpec, tokenizer: PreTrainedTokenizerBase | None, num_roles: int = 0, **extra: Any
) -> ModelT:
    """Returns a model of a spec, from scratch or from a backbone's weights, seeded by `spec.seed`.

    Args:
        kind: The class to build, T5VQVAE or a subclass.
        spec: The run.
        tokenizer: The tokenizer of the run's data; may be None with a backbone, which has its own vocabulary size.
        num_roles: Number of semantic roles in the data.
        extra: Further settings of `kind.config_class`.

    Raises:
        SettingError: If `model.position` exceeds the backbone's blocks, the backbone is no whole T5, or its embedding
            has fewer rows than the tokenizer.
    """
    torch.manual_seed(spec.seed)
    settings = spec.model
    assert isinstance(settings, T5VQVAESettings)
    own: dict[str, Any] = {
        "quantizer": spec.quantizer.as_dict(),
        "position": settings.position,
        "final_norm": settings.final_norm,
        "cross_positions": settings.resolved_cross_positions,
        "position_range": settings.position_range,
        "premises": settings.premises,
        "prompts": None if settings.prompts is None else settings.prompts.as_dict(),
        "num_roles": num_roles,
        "code_dropout": spec.train.code_dropout,
        "not_sent": settings.not_sent,
        "code_swap": spec.train.code_swap,
        "word_shuffle": spec.train.word_shuffle,
        "word_starts": word_starts(tokenizer) if spec.train.word_shuffle and tokenizer is not None else None,
        "gate_price": spec.train.gate_price,
        "rate_price": spec.train.rate_price,
        "seed": spec.seed,
        **extra,
    }
    if settings.backbone is None:
        assert tokenizer is not None, "a model from scratch takes its vocabulary size from a tokenizer"
        model = kind(kind.config_class(**(own | settings.t5_sizes(len(tokenizer)) | _SPECIAL_TOKENS)))
    else:
        backbone = read_t5(settings.backbone)
        if tokenizer is not None:
            refuse_few_rows(settings.backbone, backbone.config.vocab_size, tokenizer)
        model = _from_backbone(kind, backbone, {"dropout_rate": settings.dropout, **own})
    model.tokenizer = tokenizer
    return model


def word_starts(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Returns the tokens that begin a word: those that begin with a space, as tokenizers of words write it."""
    return sorted(number for token, number in tokenizer.get_vocab().items() if token.startswith("\u2581"))


def _from_backbone(kind: type[ModelT], backbone: T5ForConditionalGeneration, changes: dict[str, Any]) -> ModelT:
    """Returns a model with a T5's weights in float32, its config, and its output layer: the embedding, or its own."""
    with torch.device("meta"):  # draws no first weights for what the backbone replaces
        model = kind(kind.config_class(**(t5_settings(backbone) | changes)))
    model.decoder.draw_positions()
    weights = {name: weight.detach().to(torch.float32, copy=True) for name, weight in backbone.named_parameters()}
    unexpected = model.load_state_dict(weights, strict=False, assign=True).unexpected_keys
    model.tie_weights()
    lost = [name for name, weight in model.named_parameters() if weight.is_meta]
    assert not lost and not unexpected, [*lost, *unexpected]
    model.generation_config = backbone.generation_config
    return model
