"""Building the T5VQVAE of a spec: from scratch, or on a backbone's weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from t5vqvae.errors import SettingError
from t5vqvae.models.t5.t5vqvae import T5VQVAE
from t5vqvae.spec.models import T5VQVAESettings
from t5vqvae.spec.run import RunSpec


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
    assert isinstance(settings, T5VQVAESettings)
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
    special: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return kind(kind.config_class(**spec.model.t5_sizes(len(tokenizer)), **special, **own))


def _from_backbone(spec: RunSpec, kind: type[T5VQVAE], own: dict[str, Any]) -> T5VQVAE:
    try:
        backbone = T5ForConditionalGeneration.from_pretrained(spec.model.backbone)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise SettingError(f"model.backbone={spec.model.backbone!r} cannot be loaded as a T5: {first}") from None
    settings = backbone.config.to_dict() | {"dropout_rate": spec.model.dropout} | own
    for name in ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype"):
        settings.pop(name, None)
    with torch.device("meta"):  # draws nothing that the backbone brings
        model = kind(kind.config_class(**settings))
    model.decoder.draw_positions()
    weights = {name: weight.detach().to(torch.float32, copy=True) for name, weight in backbone.named_parameters()}
    unexpected = model.load_state_dict(weights, strict=False, assign=True).unexpected_keys
    model.tie_weights()
    lost = [name for name, weight in model.named_parameters() if weight.is_meta]
    if lost or unexpected:
        raise SettingError(f"model.backbone={spec.model.backbone!r} does not fit T5: {[*lost, *unexpected][:3]}")
    model.generation_config = backbone.generation_config
    return model
