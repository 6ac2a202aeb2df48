"""`rvq`: residual quantization; each layer quantizes the residual of the layers before it.

r_0 = h, c_l = argmin ||r_l - e||, r_{l+1} = r_l - sg(e_{c_l}), quantized = sum of e_{c_l}; each layer has its own
commitment term ||r_l - sg(e)||^2. A layer is another quantizer (`learning`):

- `ema`, `gradient`, `simvq`: the variants `ema`, `vq` and `simvq`. With cosine distance h is scaled to unit length and
  the first layer chooses by the angle; residuals have no natural length, so later layers are Euclidean.
- `fsq`: residual FSQ. h is bounded once by tanh; layer l rounds (L - 1)^l times the residual to L levels in [-1, 1].
- `lfq`: residual LFQ. Layer l takes the signs of 2^l times the residual, so each layer halves the step.

`groups` cuts the width in parts, each with its own chain (grouped RVQ, HiFi-Codec, arXiv 2305.02765).

Source: semantic IDs (Singh et al. 2023, arXiv 2306.08121: `learning: gradient`, 8 layers of 2048), EnCodec (arXiv
2210.13438) and RQ-VAE (`learning: ema`), SoundStream (arXiv 2107.03312: dropout of the last layers), HiFi-Codec (arXiv
2305.02765: groups); residual FSQ and LFQ of vector-quantize-pytorch.

Same: the recursion, a commitment term of each layer, the dropout of layers.

Different: the residual is detached, so that layers after the first keep their commitment (EnCodec's code does not);
residual FSQ clamps in the library and bounds by tanh here; semantic IDs hash codes to embeddings, which nothing here
needs.

Letters: N positions, C code width, Q layers, K entries of a layer, L levels of a dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig, SuggestedSpace
from t5vqvae.quantizers.codebook_config import CodebookConfig
from t5vqvae.quantizers.ema import EMAConfig
from t5vqvae.quantizers.fsq import GridQuantizer, levels_for
from t5vqvae.quantizers.lfq import LFQConfig
from t5vqvae.quantizers.parts.estimators import ESTIMATORS, TEACHES_ENTRIES, Estimator
from t5vqvae.quantizers.parts.initialization import Start
from t5vqvae.quantizers.simvq import SimVQConfig
from t5vqvae.quantizers.vq import VQConfig

TABLES: dict[str, type[CodebookConfig]] = {"ema": EMAConfig, "gradient": VQConfig, "simvq": SimVQConfig}
"""The variants whose tables a layer can have."""


class RVQConfig(QuantizerConfig):
    """`depth` codebooks of `codebook_size` entries, from coarse to fine: Q codes a position."""

    name: Literal["rvq"] = "rvq"
    depth: int = setting(4, ge=1, description="Q, layers, and codes a position")
    codebook_size: int = setting(256, ge=2, description="K, entries of each layer")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    learning: Literal["ema", "gradient", "simvq", "fsq", "lfq"] = setting(
        "ema", description="what a layer is, and so how its entries learn; fsq and lfq have none to learn"
    )
    groups: int = setting(1, ge=1, description="parts of the width, each with layers of its own")
    distance: Literal["euclidean", "cosine"] = setting("euclidean", description="cosine: of the first layer")
    estimator: Estimator = setting("straight_through", description="how the gradient passes all layers together")
    commitment_weight: float = setting(0.25, ge=0, description="weight of each layer's ||r - sg(e)||^2; fsq has none")
    decay: float = setting(0.99, gt=0, lt=1, description="of the moving averages; learning ema only")
    start: Start = setting("kmeans", description="where the entries start, layer by layer; simvq's at random")
    revive_below: float | None = setting(
        None, gt=0, lt=1, description="revive entries of a layer below this share of its average count; None: never"
    )
    revive_beyond: float | None = setting(
        None, gt=0, description="with revive_below, only onto inputs of the layer this far from their entry, as in ema"
    )
    dropout: float = setting(0.0, ge=0, le=1, description="chance of a step that drops a random number of last layers")

    space: ClassVar[SuggestedSpace] = {
        "depth": {"type": "int", "low": 1, "high": 8},
        "codebook_size": {"type": "int", "low": 16, "high": 4096, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
        "learning": {"type": "choice", "choices": ["ema", "gradient"]},
        "decay": {"type": "float", "low": 0.8, "high": 0.999, "when": {"learning": "ema"}},
    }

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.learning not in TABLES:
            for name in ("distance", "estimator", "start", "revive_below", "revive_beyond"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise SettingError(f"quantizer.{name}={getattr(self, name)} needs entries, unlike {self.learning}")
            if self.code_width is not None:
                raise SettingError(f"quantizer.code_width={self.code_width} is set by {self.learning}; leave null")
        if self.estimator in TEACHES_ENTRIES and self.learning not in ("gradient", "simvq"):
            raise SettingError(f"quantizer.estimator={self.estimator} needs entries that learn by gradient")
        if self.start == "embeddings" and self.groups > 1:
            raise SettingError("quantizer.start=embeddings needs quantizer.groups=1")
        if self.code_width is not None and self.code_width % self.groups:
            raise SettingError(f"quantizer.groups={self.groups} must divide quantizer.code_width={self.code_width}")
        self.layer_config(0)
        return self

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> Quantizer:
        if self.groups == 1:
            return RVQQuantizer(self, model_width, seed)
        return _GroupedRVQQuantizer(self, model_width, seed)

    def layer_config(self, number: int) -> QuantizerConfig | None:
        """Returns the config of layer `number`; None for `fsq`, whose grid has nothing to set."""
        if self.learning == "fsq":
            return None
        values: dict[str, object] = {"codebook_size": self.codebook_size, "commitment_weight": self.commitment_weight}
        if self.learning == "lfq":
            return LFQConfig.parse({**values, "entropy_weight": 0.0})
        if self.learning == "ema":
            values["decay"] = self.decay
        if self.learning != "simvq":
            values |= {"start": self.start}
        values |= {"revive_below": self.revive_below, "revive_beyond": self.revive_beyond}
        values |= {"distance": self.distance if number == 0 else "euclidean"}
        return TABLES[self.learning].parse(values)

    @property
    def own_width(self) -> int | None:
        """The code width of one group where the layers choose it, else None."""
        if self.learning == "fsq":
            return len(levels_for(self.codebook_size))
        return self.codebook_size.bit_length() - 1 if self.learning == "lfq" else None


class RVQQuantizer(Quantizer):
    """A chain of quantizers; each quantizes the residual of the one before."""

    def __init__(self, config: RVQConfig, model_width: int, seed: int) -> None:
        width = config.own_width or config.code_width or model_width
        layers = [_layer(config, number, width, seed * config.depth + number) for number in range(config.depth)]
        super().__init__(model_width, width, sum((layer.code_sizes for layer in layers), ()), seed)
        self.config = config
        # torch types the modules of a list as plain modules.
        self.layers = cast(Sequence[Quantizer], nn.ModuleList(layers))
        self.unit = config.distance == "cosine"
        self.gradient = "straight_through"
        if self.unit or config.estimator != "straight_through" or config.learning == "fsq":
            self.gradient = "surrogate"

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        kept = self._num_kept()
        inputs_NC = self._shaped(inputs_NC)
        residual_NC, codes = inputs_NC, []
        terms: dict[str, Tensor] = {}
        for number, layer in enumerate(self.layers):
            scale = self._scale(number)
            with torch.set_grad_enabled(torch.is_grad_enabled() and number < kept):
                packed = layer.quantize_packed(residual_NC * scale)
            codes.append(_codes(packed))
            # Detached: to subtract a straight-through output would leave r_1 without a gradient and silently end the
            # commitment of all later layers (https://github.com/facebookresearch/encodec/issues/25).
            residual_NC = residual_NC - layer.lookup_packed(codes[-1]).detach() / scale
            if number < kept:
                for name, term in packed.terms.items():
                    terms[name] = terms.get(name, 0.0) + term / scale**2  # of the residual, not of the scaled one
        codes_NQ = torch.cat(codes, -1)
        quantized_NC = self.lookup_packed(codes_NQ[:, :kept])
        return Packed(self._passed(inputs_NC, quantized_NC), codes_NQ, {} if self._teaches else terms)

    @property
    def _teaches(self) -> bool:
        return self.config.estimator in TEACHES_ENTRIES

    def _passed(self, inputs_NC: Tensor, quantized_NC: Tensor) -> Tensor:
        """Returns the sum of the entries with the estimator's gradient; evaluation teaches no entry."""
        if not torch.is_grad_enabled():
            return quantized_NC
        idle = self._teaches and not self.training
        return ESTIMATORS["straight_through" if idle else self.config.estimator](inputs_NC, quantized_NC)

    def _shaped(self, inputs_NC: Tensor) -> Tensor:
        """Returns what the first layer quantizes: inputs at unit length, bounded, or as they are."""
        if self.config.learning == "fsq":
            return inputs_NC.tanh()
        return F.normalize(inputs_NC, dim=-1) if self.unit else inputs_NC

    def _scale(self, number: int) -> Tensor | float:
        """Returns the factor that brings the residuals of a layer without entries back to the range of the first."""
        layer = self.layers[number]
        if isinstance(layer, GridQuantizer):
            return layer.steps_C.float() ** number
        return 2.0**number if self.config.learning == "lfq" else 1.0

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        """Returns the sum of the layers' entries; with fewer columns than layers, a coarser reconstruction."""
        entries = [
            self.layers[number].lookup_packed(codes_N1) / self._scale(number)
            for number, codes_N1 in enumerate(codes_NQ.split(1, -1))
        ]
        return torch.stack(entries).sum(0)

    def _num_kept(self) -> int:
        """Returns how many layers this step uses, the same number on all workers."""
        if not (self.training and self.config.dropout):
            return self.config.depth
        generator = self.generator("dropout")
        if float(torch.rand((), generator=generator)) >= self.config.dropout:
            return self.config.depth
        return int(torch.randint(1, self.config.depth + 1, (), generator=generator))

    @property
    def num_start_vectors(self) -> int:
        return self.layers[0].num_start_vectors

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        """Starts each layer from the residuals that the layers before it leave."""
        if self.config.start == "embeddings" and embeddings_VE is not None:
            vectors_NC, embeddings_VE = self.project_in(embeddings_VE.float()), None
        residual_NC = self._shaped(vectors_NC.float())
        for layer in self.layers:
            layer.start(residual_NC, residual_NC)
            codes_N1 = _codes(layer.quantize_packed(residual_NC))
            residual_NC = residual_NC - layer.lookup_packed(codes_N1)

    def _update(self) -> None:
        for layer in self.layers:
            layer.update()
        self._num_updates += 1


class _GroupedRVQQuantizer(Quantizer):
    """Cuts the width in groups, each with its own chain; codes stand group by group."""

    def __init__(self, config: RVQConfig, model_width: int, seed: int) -> None:
        width = (config.own_width or 0) * config.groups or config.code_width or model_width
        if width % config.groups:
            raise SettingError(f"quantizer.groups={config.groups} must divide the code width, {width}")
        one = config.with_overrides({"groups": 1, "code_width": None})
        assert isinstance(one, RVQConfig)
        part = width // config.groups
        chains = [RVQQuantizer(one, part, seed * config.groups + group) for group in range(config.groups)]
        super().__init__(model_width, width, sum((chain.code_sizes for chain in chains), ()), seed)
        self.config = config
        self.chains = cast(Sequence[RVQQuantizer], nn.ModuleList(chains))
        self.gradient = chains[0].gradient

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        parts = [c.quantize_packed(x) for c, x in zip(self.chains, self._parts(inputs_NC), strict=True)]
        terms = {name: torch.stack([part.terms[name] for part in parts]).mean() for name in parts[0].terms}
        return Packed(
            torch.cat([part.quantized_NC for part in parts], -1), torch.cat([_codes(part) for part in parts], -1), terms
        )

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        columns = codes_NQ.split(self.config.depth, -1)
        return torch.cat([chain.lookup_packed(codes) for chain, codes in zip(self.chains, columns, strict=True)], -1)

    @property
    def num_start_vectors(self) -> int:
        return self.chains[0].num_start_vectors

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        for chain, part_NC in zip(self.chains, self._parts(vectors_NC), strict=True):
            chain.start(part_NC)

    def _update(self) -> None:
        for chain in self.chains:
            chain.update()
        self._num_updates += 1

    def _parts(self, inputs_NC: Tensor) -> Sequence[Tensor]:
        return inputs_NC.chunk(self.config.groups, -1)


def _layer(config: RVQConfig, number: int, width: int, seed: int) -> Quantizer:
    """Returns one layer, a quantizer of residuals of a width."""
    own = config.layer_config(number)
    return GridQuantizer(levels_for(config.codebook_size), seed) if own is None else own.build(width, seed=seed)


def _codes(packed: Packed) -> Tensor:
    """Returns the codes of a layer, which is always discrete."""
    assert packed.codes_NQ is not None
    return packed.codes_NQ
