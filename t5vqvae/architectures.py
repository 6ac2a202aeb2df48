"""The architectures a spec can name: the settings of T5VQVAE and of every baseline.

To add one, declare its config here with the `builder` of its model.
"""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from t5vqvae.config import Variant, setting
from t5vqvae.errors import SettingError
from t5vqvae.prompts import PromptConfig

SCRATCH_ONLY = ("d_model", "d_ff", "num_heads", "num_layers", "num_decoder_layers")


class ModelConfig(Variant):
    """The autoencoder around the quantizer; `name` picks the architecture.

    `builder` names the function that builds it, `module:function`, and `loader` the one that loads what its model
    saved. The configs are kept apart from their models here, so that a spec can be read and checked without importing
    Transformers. `own_bottleneck` says that it brings its own bottleneck and takes no quantizer.
    """

    builder: ClassVar[str]
    loader: ClassVar[str]
    own_bottleneck: ClassVar[bool] = False
    backbone: str | None = setting(None, description="a pretrained checkpoint (folder or hub name); None: from scratch")

    def build(self, spec: Any, tokenizer: Any, num_roles: int = 0) -> Any:
        """Returns the model of a spec, seeded by `spec.seed`; it obeys `t5vqvae.model.TextAutoencoder`."""
        return _find(self.builder)(spec, tokenizer, num_roles)

    @classmethod
    def load(cls, directory: Any) -> Any:
        """Returns the model of this architecture that was saved in a folder."""
        return _find(cls.loader)(directory)


def _find(place: str) -> Any:
    """Returns what `module:name` or `module:Class.name` stands for."""
    module, names = place.split(":")
    return attrgetter(names)(import_module(module))


class T5Config(ModelConfig):
    """T5 with a quantizer after encoder block `position`, from scratch or from a pretrained checkpoint."""

    builder: ClassVar[str] = "t5vqvae.model:build_t5vqvae"
    loader: ClassVar[str] = "t5vqvae.model:T5VQVAE.from_pretrained"
    name: Literal["t5vqvae"] = "t5vqvae"
    backbone: str | None = setting(None, description="a T5 checkpoint (folder or hub name); None: from scratch")
    position: int | None = setting(
        None, ge=0, description="quantize after this many encoder blocks; 0: the embeddings; None: after all of them"
    )
    cross_positions: Literal["none", "absolute", "relative"] | None = setting(
        None, description="positions in cross-attention; None: absolute from scratch, none with a backbone"
    )
    d_model: int = setting(128, ge=8, description="width of the states; from scratch only")
    d_ff: int = setting(512, ge=8, description="width of the feed-forward layers; from scratch only")
    num_heads: int = setting(4, ge=1, description="attention heads; from scratch only")
    num_layers: int = setting(2, ge=1, description="encoder blocks; from scratch only")
    num_decoder_layers: int = setting(2, ge=1, description="decoder blocks; from scratch only")
    dropout: float = setting(0.0, ge=0, lt=1)
    prompts: PromptConfig | None = setting(None, description="quantized prompts made from the input; None: without")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.backbone is None:
            if self.position is not None and self.position > self.num_layers:
                raise SettingError(f"model.position={self.position} must be at most model.num_layers={self.num_layers}")
            if self.d_model % self.num_heads:
                raise SettingError(f"model.num_heads={self.num_heads} must divide model.d_model={self.d_model}")
            return self
        for name in SCRATCH_ONLY:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise SettingError(f"model.{name}={getattr(self, name)} is the backbone's to say; leave it out")
        return self

    @property
    def resolved_cross_positions(self) -> str:
        """The positions used: `absolute` from scratch and `none` with a backbone unless said otherwise."""
        return self.cross_positions or ("absolute" if self.backbone is None else "none")
