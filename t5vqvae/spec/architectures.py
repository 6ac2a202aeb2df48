"""The architectures that a spec can name: the settings of T5VQVAE and of every baseline.

To add one, declare its config here with the `builder` and the `loader` of its model.
"""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from t5vqvae.config import Config, LocalOrHub, Variant, setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.prompts import PromptConfig

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

DRAWN_POSITIONS = ("randomized", "labels")
"""Cross positions that every text draws from a range."""
MAX_POSITIONS = 512
"""Positions of BERT and GPT-2 from scratch; checkpoints have their own."""
_SCRATCH_ONLY = ("d_model", "d_ff", "num_heads", "num_layers", "num_decoder_layers")


class ModelConfig(Variant):
    """The settings of the autoencoder around the quantizer; `name` picks the architecture.

    Attributes:
        builder: The function that builds the model, as `module:function`.
        loader: The function that loads a saved model, as `module:function`.
        own_bottleneck: Whether the architecture has its own bottleneck and takes no quantizer.
    """

    # The configs live apart from their models, so that a spec can be read and checked without importing Transformers.
    builder: ClassVar[str]
    loader: ClassVar[str]
    own_bottleneck: ClassVar[bool] = False
    backbone: LocalOrHub | None = setting(
        None, description="a pretrained checkpoint (folder or hub name); None: from scratch"
    )

    def build(self, spec: Any, tokenizer: Tokenizer, num_roles: int = 0) -> Any:
        """Returns the model of a `RunSpec`, a `t5vqvae.models.contract.TextAutoencoder` seeded by `spec.seed`."""
        return _find(self.builder)(spec, tokenizer, num_roles)

    def refuse_lengths(self, source: int, target: int | None, decoded: int | None) -> None:
        """Refuses more tokens than there are positions: of sources, targets (None: as sources) and decoded texts.

        Called before a run begins, not by validation: earlier versions kept specs that it refuses.
        """

    @classmethod
    def load(cls, directory: str | Path) -> Any:
        """Returns the saved model of this architecture from a folder, a `TextAutoencoder`."""
        return _find(cls.loader)(directory)


def _find(place: str) -> Any:
    """Imports and returns `module:name` or `module:Class.name`."""
    module, names = place.split(":")
    return attrgetter(names)(import_module(module))


class _SizedConfig(ModelConfig):
    """The sizes of a model made of Transformer blocks."""

    d_model: int = setting(128, ge=8, description="width of the states; from scratch only")
    d_ff: int = setting(512, ge=8, description="width of the feed-forward layers; from scratch only")
    num_heads: int = setting(4, ge=1, description="attention heads; from scratch only")
    num_layers: int = setting(2, ge=1, description="encoder blocks; from scratch only")
    num_decoder_layers: int = setting(2, ge=1, description="decoder blocks; from scratch only")
    dropout: float = setting(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.backbone is None and self.d_model % self.num_heads:
            raise SettingError(f"model.num_heads={self.num_heads} must divide model.d_model={self.d_model}")
        return self

    def t5_sizes(self, vocab_size: int) -> dict[str, int | float]:
        """Returns the sizes under the names of Transformers' T5Config."""
        return {
            "vocab_size": vocab_size,
            "d_model": self.d_model,
            "d_kv": self.d_model // self.num_heads,
            "d_ff": self.d_ff,
            "num_heads": self.num_heads,
            "num_layers": self.num_layers,
            "num_decoder_layers": self.num_decoder_layers,
            "dropout_rate": self.dropout,
        }


class T5VQVAESettings(_SizedConfig):
    """T5 with a quantizer after encoder block `position`, from scratch or from a pretrained checkpoint."""

    builder: ClassVar[str] = "t5vqvae.models.t5:build_t5vqvae"
    loader: ClassVar[str] = "t5vqvae.models.t5:T5VQVAE.from_pretrained"
    name: Literal["t5vqvae"] = "t5vqvae"
    backbone: LocalOrHub | None = setting(None, description="a T5 checkpoint (folder or hub name); None: from scratch")
    position: int | None = setting(
        None, ge=0, description="encoder blocks before the quantizer; 0: quantize the embeddings; None: all blocks"
    )
    final_norm: Literal["before", "after"] | None = setting(
        None,
        description="at the last position, T5's final layer norm before the quantizer (None: before) or after it, where"
        " the states are raw as at every earlier position",
    )
    cross_positions: Literal["none", "absolute", "relative", "randomized", "labels"] | None = setting(
        None,
        description="positions in cross-attention; randomized: sinusoids of random ordered positions; labels: learned"
        " vectors of them; None: absolute from scratch, none with a backbone",
    )
    position_range: int = setting(
        512, ge=2, description="positions that randomized and labels draw from; at least the longest text's tokens"
    )
    premises: Literal["joint", "separate"] = setting(
        "joint",
        description="a pair of texts before the quantizer; separate: each as if alone, the blocks behind it see both",
    )
    not_sent: Literal["replaced", "removed"] = setting(
        "replaced",
        description="what the decoder reads where a code is not sent: a learned vector in its place, or nothing, so"
        " that it cannot count what is missing",
    )
    prompts: PromptConfig | None = setting(None, description="quantized prompts made from the input; None: no prompts")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.backbone is None:
            if self.position is not None and self.position > self.num_layers:
                raise SettingError(f"model.position={self.position} must be at most model.num_layers={self.num_layers}")
            if self.final_norm is not None and self.position is not None and self.position < self.num_layers:
                raise SettingError(
                    f"model.final_norm={self.final_norm} is for the last position, {self.num_layers}; with"
                    f" model.position={self.position} leave it out"
                )
            return self
        for name in _SCRATCH_ONLY:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise SettingError(f"model.{name}={getattr(self, name)} comes from model.backbone; leave it out")
        return self

    @property
    def resolved_cross_positions(self) -> str:
        """The positions used: `cross_positions`, or its default (`absolute` from scratch, `none` with a backbone)."""
        return self.cross_positions or ("absolute" if self.backbone is None else "none")


class TransformerConfig(_SizedConfig):
    """The plain Transformer of Vaswani et al., without T5's parts, with a quantizer after its encoder."""

    builder: ClassVar[str] = "t5vqvae.models.baselines.transformer:TransformerVQVAE.build"
    loader: ClassVar[str] = "t5vqvae.models.baselines.transformer:TransformerVQVAE.load"
    name: Literal["transformer"] = "transformer"
    backbone: None = setting(None, description="always from scratch")
    norm: Literal["post", "pre"] = setting(
        "post", description="layer norm after (as in the paper) or before each sublayer"
    )


class LatentSettings(Config):
    """A Gaussian latent: the encoder gives N(mean, variance), the prior is N(0, 1)."""

    latent_width: int = setting(32, ge=1, description="Z, dimensions of the latent")
    kl_weight: float = setting(1.0, ge=0, description="beta: weight of the KL term once annealed; nats a source token")
    kl_schedule: Literal["constant", "linear", "cyclical"] = setting(
        "linear", description="KL weight: constant; linear: rises from 0 in kl_steps; cyclical: rises in every cycle"
    )
    kl_steps: int = setting(200, ge=1, description="steps of the ramp (linear) or of one cycle (cyclical)")
    free_bits: float | None = setting(
        None, gt=0, description="nats of KL in each latent dimension without cost; None: every nat counts"
    )


class GaussianConfig(LatentSettings, T5VQVAESettings):
    """T5 with a continuous Gaussian bottleneck: one latent a token, or one a sentence."""

    builder: ClassVar[str] = "t5vqvae.models.baselines.gaussian:build_gaussian"
    loader: ClassVar[str] = "t5vqvae.models.baselines.gaussian:GaussianT5.from_pretrained"
    own_bottleneck: ClassVar[bool] = True
    name: Literal["gaussian"] = "gaussian"  # type: ignore[assignment]
    level: Literal["token", "sentence"] = setting(
        "token", description="one latent for every token, or one for the sentence"
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.prompts is not None:
            raise SettingError("model.prompts must be null with model.name=gaussian: prompts would bypass the latent")
        if self.level == "sentence" and self.position is not None:
            raise SettingError(f"model.position={self.position} must be null with model.level=sentence")
        if self.level == "sentence" and self.cross_positions in DRAWN_POSITIONS:
            raise SettingError(
                f"model.cross_positions={self.cross_positions} draws by the text's length, which model.level=sentence"
                " hides; take absolute or relative"
            )
        return self


class OptimusConfig(LatentSettings, _SizedConfig):
    """Optimus: a Gaussian latent of the sentence enters the decoder's self-attention; there is no cross-attention."""

    builder: ClassVar[str] = "t5vqvae.models.baselines.optimus:Optimus.build"
    loader: ClassVar[str] = "t5vqvae.models.baselines.optimus:Optimus.load"
    own_bottleneck: ClassVar[bool] = True
    name: Literal["optimus"] = "optimus"
    blocks: Literal["t5", "bert_gpt2"] = setting("t5", description="T5's encoder and decoder, or BERT and GPT-2")
    backbone: LocalOrHub | None = setting(None, description="a T5 checkpoint for blocks=t5; None: from scratch")
    bert: LocalOrHub | None = setting(
        None, description="a BERT checkpoint for the encoder's blocks; None: from scratch"
    )
    gpt2: LocalOrHub | None = setting(
        None, description="a GPT-2 checkpoint for the decoder's blocks; None: from scratch"
    )
    injection: Literal["memory", "addition", "fusion"] = setting(
        "memory", description="how the latent enters attention"
    )
    into: Literal["q", "kv", "qkv"] = setting("kv", description="which of queries, keys and values the latent enters")
    query: Literal["addition", "fusion"] | None = setting(
        None, description="how a second latent enters queries, beside the first in keys and values; None: one latent"
    )
    fusion_rank: int = setting(4, ge=1, description="maps that each side of a fusion sums")
    latent_in_embeddings: bool = setting(False, description="also add the latent to the decoder's input embeddings")

    @model_validator(mode="after")
    def _combines(self) -> Self:
        if self.injection == "memory" and self.into != "kv":
            raise SettingError(
                f"model.into={self.into} cannot be used with model.injection=memory: nothing would read the result of"
                " one more query; use kv, and model.query for a second latent"
            )
        if self.query is not None and self.into != "kv":
            raise SettingError(f"model.query={self.query} needs model.into=kv, not {self.into}: queries get one latent")
        for setting_name, blocks in (("backbone", "t5"), ("bert", "bert_gpt2"), ("gpt2", "bert_gpt2")):
            if getattr(self, setting_name) is not None and self.blocks != blocks:
                raise SettingError(f"model.{setting_name} needs model.blocks={blocks}, not {self.blocks}")
        return self

    def refuse_lengths(self, source: int, target: int | None, decoded: int | None) -> None:
        if self.blocks == "t5":
            return
        encoder = None if self.bert else MAX_POSITIONS
        decoder = None if self.gpt2 else MAX_POSITIONS - (self.injection == "memory")  # the memory is at position 0
        targets = ("data.max_length", source) if target is None else ("data.max_target_length", target)
        for (name, length), room in (
            (("data.max_length", source), encoder),
            (targets, decoder),
            (("evaluate.max_new_tokens", decoded or 0), decoder),
        ):
            if room is not None and length > room:
                raise SettingError(f"{name}={length} must be at most {room} with model.blocks=bert_gpt2; or take t5")


class AAEConfig(ModelConfig):
    """Adversarial autoencoder on LSTMs; denoising (DAAE) with `word_drop`, LAAE with `log_variance_weight`."""

    builder: ClassVar[str] = "t5vqvae.models.baselines.aae:AAE.build"
    loader: ClassVar[str] = "t5vqvae.models.baselines.aae:AAE.load"
    own_bottleneck: ClassVar[bool] = True
    name: Literal["aae"] = "aae"
    backbone: None = setting(None, description="always from scratch")
    embedding_width: int = setting(512, ge=1)
    hidden_width: int = setting(1024, ge=1, description="width of the LSTM's state, each direction")
    latent_width: int = setting(128, ge=1, description="Z, dimensions of the latent")
    discriminator_width: int = setting(512, ge=1, description="hidden width of the discriminator")
    adversarial_weight: float = setting(
        10.0, ge=0, description="weight of the encoder's term against the discriminator"
    )
    log_variance_weight: float = setting(0.0, ge=0, description="weight of |log variance|; LAAE: 0.01")
    word_drop: float = setting(0.0, ge=0, lt=1, description="probability of dropping a source token; DAAE: 0.3")
    dropout: float = setting(0.5, ge=0, lt=1)


class CrossLayerConfig(ModelConfig):
    """CLVQ-VAE's form: the codes of a frozen encoder's layer `from_layer` explain its layer `to_layer`."""

    builder: ClassVar[str] = "t5vqvae.models.baselines.cross_layer:CrossLayer.build"
    loader: ClassVar[str] = "t5vqvae.models.baselines.cross_layer:CrossLayer.load"
    name: Literal["cross_layer"] = "cross_layer"
    backbone: LocalOrHub = setting(
        description="the frozen network: a T5 checkpoint, or a saved T5VQVAE without a bottleneck"
    )
    from_layer: int = setting(1, ge=0, description="blocks before the quantized states")
    to_layer: int | None = setting(None, ge=1, description="blocks before the explained states; None: all blocks")
    num_layers: int = setting(6, ge=1, description="blocks of the explaining decoder")
    num_heads: int = setting(8, ge=1, description="attention heads of the explaining decoder")
    d_ff: int = setting(2048, ge=8, description="width of the explaining decoder's feed-forward layers")
    dropout: float = setting(0.1, ge=0, lt=1, description="dropout in the explaining decoder")
    memory: Literal["codes", "states"] = setting(
        "codes",
        description="the explaining decoder attends to the codes, or (as published) to the continuous states: a leak",
    )
    faithfulness_steps: int | None = setting(
        8, ge=1, description="steps of integrated gradients in the removal test; None: no removal test"
    )
