"""First weights: what Transformers must be told to draw, and what to leave alone."""

from __future__ import annotations

from torch import nn


class T5Start:
    """Makes subclasses of T5 draw their first weights as T5 does.

    Transformers 5.23 takes a class from elsewhere for custom code, and then passes over every module without parameters
    of its own, such as T5Attention, whose children keep a standard deviation of 1 instead of 1/sqrt(d).
    """

    @classmethod
    def is_custom_code(cls) -> bool:
        return False


def keep_start(module: nn.Module) -> None:
    """Keeps `post_init` from drawing the weights of a module of ours anew, as T5 draws its linear layers."""
    for part in module.modules():
        part._is_hf_initialized = True
