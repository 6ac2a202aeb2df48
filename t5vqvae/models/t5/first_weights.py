"""Makes Transformers draw the first weights of T5's parts, and keeps it from drawing those of other modules."""

from __future__ import annotations

from torch import nn


class T5Start:
    """Mixin for subclasses of T5, so that their first weights are drawn as T5 draws them."""

    @classmethod
    def is_custom_code(cls) -> bool:
        # Transformers 5.23 takes a class from another package for custom code. It then skips every module without
        # direct parameters, such as T5Attention, whose children keep a standard deviation of 1 instead of 1/sqrt(d).
        return False


def keep_start(module: nn.Module) -> None:
    """Keeps `post_init` from drawing the weights of a module again, as it does with T5's linear layers."""
    for part in module.modules():
        part._is_hf_initialized = True  # type: ignore[assignment]
