"""T5VQVAE's settings as Transformers saves them with the weights."""

from __future__ import annotations

from typing import Any

import transformers

from t5vqvae.errors import SettingError
from t5vqvae.quantizers import Quantizer, QuantizerConfig
from t5vqvae.quantizers.prompts import PromptConfig


class T5VQVAEConfig(transformers.T5Config):
    """T5's config and the bottleneck's: the settings of `quantizer` and `prompts`, and the places of both.

    `separate_head` says that the output layer is a separate matrix, as in T5 v1.1, and not the embedding. T5's config
    cannot say it: Transformers 5 sets `tie_word_embeddings` to True in all of them. A model has the entry "not sent" if
    `code_dropout` is more than 0 and `not_sent` is "replaced", a gate if `gate_price` says what a sent code costs, and
    a prior of codes if `rate_price` says what a nat costs. `word_starts` are the tokens that begin a word, for
    `word_shuffle`.
    """

    model_type = "t5vqvae"
    keys_to_ignore_at_inference = ["past_key_values", "codes", "aux_loss"]  # noqa: RUF012  # T5Config's attribute

    quantizer: dict[str, Any] | None = None
    position: int | None = None
    final_norm: str | None = None
    cross_positions: str = "none"
    position_range: int = 512
    premises: str = "joint"
    prompts: dict[str, Any] | None = None
    num_roles: int = 0
    seed: int = 0
    separate_head: bool = False
    code_dropout: float = 0.0
    not_sent: str = "replaced"
    word_shuffle: float = 0.0
    word_starts: list[int] | None = None
    code_swap: float = 0.0
    gate_price: float | None = None
    rate_price: float | None = None

    def quantizer_config(self) -> QuantizerConfig:
        """Returns the validated settings of the quantizer; those of `none` if there are none.

        Raises:
            SettingError: If the quantizer's name is unknown.
        """
        settings = dict(self.quantizer or {"name": "none"})
        variant = QuantizerConfig.variants.get(settings["name"])
        if variant is None:
            known = ", ".join(sorted(QuantizerConfig.variants))
            raise SettingError(f"quantizer.name={settings['name']!r} must be one of {known}")
        return variant.parse(settings)

    def build_quantizer(self) -> Quantizer:
        """Returns a new quantizer for the encoder's states."""
        return self.quantizer_config().build(self.d_model, self.num_roles, self.seed)

    def prompt_config(self) -> PromptConfig | None:
        """Returns the validated settings of the prompts; None without prompts."""
        return None if self.prompts is None else PromptConfig.parse(self.prompts)


def stack_config(config: T5VQVAEConfig, is_decoder: bool) -> T5VQVAEConfig:
    """Returns the config of the encoder's or the decoder's stack."""
    stack = type(config).from_dict(config.to_dict())
    stack.is_decoder = is_decoder
    stack.use_cache = is_decoder
    stack._attn_implementation = config._attn_implementation
    if is_decoder:
        stack.num_layers = config.num_decoder_layers or config.num_layers
    return stack
