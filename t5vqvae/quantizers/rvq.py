"""`rvq`: residual quantization; each layer quantizes the residual of the layers before it.

r_0 = h, c_l = argmin ||r_l - e||, r_{l+1} = r_l - sg(e_{c_l}), quantized = sum of e_{c_l}; each layer has its own
commitment term ||r_l - sg(e)||^2.
Sources: semantic IDs (Singh et al. 2023, arXiv 2306.08121: `learning: gradient`, 8 layers of 2048), EnCodec and RQ-VAE
(`learning: ema`), SoundStream (dropout of the last layers).

Letters: N positions, C code width, Q layers, K entries of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig, SuggestedSpace
from t5vqvae.quantizers.codebook import CodebookQuantizer
from t5vqvae.quantizers.ema import EMAConfig
from t5vqvae.quantizers.parts.estimators import straight_through
from t5vqvae.quantizers.vq import VQConfig


class RVQConfig(QuantizerConfig):
    """`depth` codebooks of `codebook_size` entries, from coarse to fine: Q codes a position."""

    name: Literal["rvq"] = "rvq"
    depth: int = setting(4, ge=1, description="Q, layers, and codes a position")
    codebook_size: int = setting(256, ge=2, description="K, entries of each layer")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    learning: Literal["ema", "gradient"] = setting("ema", description="how each layer's entries learn")
    commitment_weight: float = setting(0.25, ge=0, description="weight of each layer's ||r - sg(e)||^2")
    decay: float = setting(0.99, gt=0, lt=1, description="of the moving averages; learning ema only")
    start: Literal["random", "kmeans"] = setting("kmeans", description="where the entries start, layer by layer")
    dropout: float = setting(0.0, ge=0, le=1, description="chance of a step that drops a random number of last layers")

    space: ClassVar[SuggestedSpace] = {
        "depth": {"type": "int", "low": 1, "high": 8},
        "codebook_size": {"type": "int", "low": 16, "high": 4096, "log": True},
        "commitment_weight": {"type": "float", "low": 0.01, "high": 2.0, "log": True},
        "learning": {"type": "choice", "choices": ["ema", "gradient"]},
        "decay": {"type": "float", "low": 0.8, "high": 0.999, "when": {"learning": "ema"}},
    }

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> RVQQuantizer:
        return RVQQuantizer(self, model_width, seed)

    def layer(self, width: int, seed: int) -> CodebookQuantizer:
        """Returns one layer, an `ema` or `vq` quantizer."""
        size, commitment, start = self.codebook_size, self.commitment_weight, self.start
        if self.learning == "ema":
            config = EMAConfig(codebook_size=size, commitment_weight=commitment, start=start, decay=self.decay)
            return config.build(width, seed=seed)
        return VQConfig(codebook_size=size, commitment_weight=commitment, start=start).build(width, seed=seed)


class RVQQuantizer(Quantizer):
    """A chain of codebooks; each quantizes the residual of the one before."""

    def __init__(self, config: RVQConfig, model_width: int, seed: int) -> None:
        super().__init__(model_width, config.code_width, (config.codebook_size,) * config.depth, seed)
        self.config = config
        layers = [config.layer(self.code_width, seed * config.depth + layer) for layer in range(config.depth)]
        # torch types the modules of a list as plain modules.
        self.layers = cast(Sequence[CodebookQuantizer], nn.ModuleList(layers))

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        kept = self._num_kept()
        residual_NC, codes = inputs_NC, []
        terms: dict[str, Tensor] = {}
        for number, layer in enumerate(self.layers):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number < kept):
                packed = layer.quantize_packed(residual_NC)
            codes.append(_codes(packed))
            # Detached: to subtract a straight-through output would leave r_1 without a gradient and silently end the
            # commitment of all later layers (https://github.com/facebookresearch/encodec/issues/25).
            residual_NC = residual_NC - layer.lookup_packed(codes[-1]).detach()
            if number < kept:
                for name, term in packed.terms.items():
                    terms[name] = terms.get(name, 0.0) + term
        codes_NQ = torch.cat(codes, -1)
        quantized_NC = self.lookup_packed(codes_NQ[:, :kept])
        return Packed(straight_through(inputs_NC, quantized_NC), codes_NQ, terms)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        """Returns the sum of the layers' entries; with fewer columns than layers, a coarser reconstruction."""
        columns = codes_NQ.split(1, -1)
        entries = [layer.lookup_packed(codes_N1) for layer, codes_N1 in zip(self.layers, columns, strict=False)]
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
        residual_NC = vectors_NC.float()
        for layer in self.layers:
            layer.start(residual_NC)
            codes_N1 = _codes(layer.quantize_packed(residual_NC))
            residual_NC = residual_NC - layer.lookup_packed(codes_N1)

    def _update(self) -> None:
        for layer in self.layers:
            layer.update()
        self._num_updates += 1


def _codes(packed: Packed) -> Tensor:
    """Returns the codes of a layer, which is always discrete."""
    assert packed.codes_NQ is not None
    return packed.codes_NQ
