"""T5VQVAE's settings as Transformers keeps them beside the weights."""

from __future__ import annotations

from typing import Any

import transformers

from t5vqvae.errors import SettingError
from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.quantizers.prompts import PromptConfig


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


def stack_config(config: T5VQVAEConfig, is_decoder: bool) -> T5VQVAEConfig:
    """Returns the config of one of the two stacks."""
    stack = type(config).from_dict(config.to_dict())
    stack.is_decoder = is_decoder
    stack.use_cache = is_decoder
    stack._attn_implementation = config._attn_implementation
    if is_decoder:
        stack.num_layers = config.num_decoder_layers
    return stack
