"""`cross_layer`: CLVQ-VAE's form. Codes of layer l of a frozen network explain its layer h.

x = states after `from_layer` blocks, y = states after `to_layer`; z = (1 - m) x + m LayerNorm(W x + b) with
m = sigmoid(a) / 2; the quantizer's choice e; a Transformer decoder (no causal mask) over e predicts y^. Trained on
mean ||y^ - y||^2 plus the quantizer's loss, never on cross-entropy. Then the frozen network goes on from y^ instead of
y, so that nll, exact match and BLEU say what the explanation keeps of what the network needs.

The removal test of faithfulness (evaluation only): the token most salient for the cross-entropy, by integrated
gradients along 0 -> y, names a code; the direction of its code vector is projected out of all of y, and if the code is
faithful the cross-entropy rises more (`faithfulness/salient`, nats a target token) than without a random direction
(`faithfulness/random`). The
paper removes it from the class token and asks a probe on labels; a text autoencoder has no labels but the text.

As published, `model.memory=states`: the decoder attends to z itself, which passes the codes by, so such a run has no
rate (`leaks`). `codes`, the default, lets it attend to the code vectors. CLVQ-VAE's quantizer is `quantizer.name=ema`
with `codebook_size=400`, `selection=topk`, `top_k=5`, `commitment_weight=0.1` and `start=spherical_kmeans++`; its
perplexity term has no gradient and is left out.

Source: arXiv 2506.20040 and its code (agarg-dev/CLVQVAE): W, a and their starts (a = 0.2, W as nn.Linear starts), six
layers, eight heads, 2,048, dropout .1. That W should start as the identity, as a reading of the paper has it, was not
in the code. Layers 8 and 12 of RoBERTa there; the network here is a T5 or a T5VQVAE without a bottleneck.

Letters: B batch, T encoder positions, S target positions, E model width, N unpadded positions, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from t5vqvae.errors import SettingError
from t5vqvae.models.baselines.base import Autoencoder, shift_right
from t5vqvae.models.contract import Measures, Memory, energy, load_model
from t5vqvae.models.t5 import T5VQVAE, T5VQVAEConfig, build_t5vqvae
from t5vqvae.spec.models import T5VQVAESettings
from t5vqvae.spec.run import RunSpec

RESIDUAL_START = 0.2


class CrossLayer(Autoencoder):
    """A frozen network, a quantizer of its layer l, and a decoder that predicts its layer h.

    Attributes:
        network: The frozen network, whose `position` is h.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        settings = self.settings
        self.network = T5VQVAE(T5VQVAEConfig.from_dict(config["network"])).requires_grad_(False).eval()
        width, last = self.network.config.d_model, self.network.config.position
        if not settings.from_layer < last:
            raise SettingError(f"model.from_layer={settings.from_layer} must be less than model.to_layer, {last}")
        if width % settings.num_heads:
            raise SettingError(f"model.num_heads={settings.num_heads} must divide the network's width, {width}")
        self.leaks = settings.memory == "states"
        self.residual = AdaptiveResidual(width)
        self.quantizer = self.build_quantizer(width)
        sizes = {"dim_feedforward": settings.d_ff, "dropout": settings.dropout, "batch_first": True}
        layers = [nn.TransformerDecoderLayer(width, settings.num_heads, **sizes) for _ in range(settings.num_layers)]
        self.explainer = nn.ModuleList(layers)
        self.output = nn.Linear(width, width)
        names = dict(self.named_parameters(remove_duplicate=False))
        shared = names["network.shared.weight"]
        self._tied_weights_keys = tuple(n for n, p in names.items() if p is shared and n != "network.shared.weight")
        self._lower_BTE: Tensor | None = None
        self.network.encoder.block[settings.from_layer].register_forward_pre_hook(self._note)

    @classmethod
    def from_spec(cls, spec: RunSpec, config: dict[str, Any]) -> Self:
        """Returns a new model around the network that `model.backbone` names."""
        network = read_network(spec)
        last = network.config.num_layers if spec.model.to_layer is None else spec.model.to_layer
        if last > network.config.num_layers:
            raise SettingError(f"model.to_layer={last} must be at most {network.config.num_layers}, the last block")
        config["network"] = network.config.to_dict() | {"position": last}
        model = cls(config)
        model.network.load_state_dict(network.state_dict())
        return model

    def train(self, mode: bool = True) -> Self:
        """Sets training mode, from which the frozen network is spared."""
        super().train(mode)
        self.network.eval()
        return self

    def get_input_embeddings(self) -> nn.Embedding:
        return self.network.shared

    def _note(self, block: nn.Module, args: tuple[Any, ...]) -> None:
        self._lower_BTE = args[0]

    @torch.no_grad()
    def layers(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Returns the network's states after `from_layer` and after `to_layer` blocks, shape (B, T, E) each."""
        self.network.encoder(batch.input_ids_BT, batch.mask_BT)
        lower_BTE, upper_BTE = self._lower_BTE, self.network.encoder.states_BTE
        assert lower_BTE is not None and upper_BTE is not None
        return lower_BTE, upper_BTE

    def explain(self, quantized_BTE: Tensor, states_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns the predicted states of layer h, shape (B, T, E)."""
        memory_BTE = states_BTE if self.leaks else quantized_BTE
        padding_BT, y_BTE = ~mask_BT, quantized_BTE
        for layer in self.explainer:
            y_BTE = layer(y_BTE, memory_BTE, tgt_key_padding_mask=padding_BT, memory_key_padding_mask=padding_BT)
        return self.output(y_BTE)

    def encode_memory(self, batch: Any) -> Memory:
        lower_BTE, upper_BTE = self.layers(batch)
        states_BTE = self.residual(lower_BTE)
        output = self.quantizer(states_BTE, batch.mask_BT, batch.roles_BT)
        explained_BTE = self.explain(output.quantized_BTE, states_BTE, batch.mask_BT)
        wrong_NE = (explained_BTE - upper_BTE)[batch.mask_BT]
        aux_loss = output.aux_loss + wrong_NE.float().square().mean()
        memory_BTE = self.upwards(explained_BTE.detach(), batch.mask_BT)
        return Memory(memory_BTE, batch.mask_BT, output, states_BTE, aux_loss=aux_loss)

    @torch.no_grad()
    def states_to_quantize(self, batch: Any) -> Tensor:
        return self.residual(self.layers(batch)[0])[batch.mask_BT]

    def upwards(self, states_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns the network's memory when its layer h is `states_BTE`."""
        blank_BTE = torch.zeros_like(states_BTE)
        return self.network.encoder(
            inputs_embeds=blank_BTE, attention_mask=mask_BT, quantized=states_BTE
        ).last_hidden_state

    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        # The network is frozen and layer h detached, so that the cross-entropy is measured and never trained on.
        return self._network_logits(memory.states_BME, memory.mask_BM, ids_BS)

    def _network_logits(self, states_BTE: Tensor, mask_BT: Tensor, ids_BS: Tensor) -> Tensor:
        memory = BaseModelOutput(last_hidden_state=states_BTE)
        given = {"attention_mask": mask_BT, "encoder_outputs": memory, "decoder_input_ids": ids_BS}
        return self.network(**given, use_cache=False).logits

    def measures(self, batch: Any, memory: Memory) -> Measures:
        """Returns the share of layer h's variance left unexplained and, where asked for, the removal test."""
        mask_BT, codes_BTQ, upper_BTE = batch.mask_BT, memory.bottleneck.codes_BTQ, self.layers(batch)[1]
        assert memory.states_BTE is not None
        explained_BTE = self.explain(memory.bottleneck.quantized_BTE, memory.states_BTE, mask_BT)
        mean_E = upper_BTE[mask_BT].mean(0)
        wrong, spread = energy(explained_BTE - upper_BTE, mask_BT), energy(upper_BTE - mean_E, mask_BT)
        measures: Measures = {"cross_layer/unexplained": (wrong, spread)}
        if self.settings.faithfulness_steps is None or codes_BTQ is None:
            return measures
        return {**measures, **self.removal_test(batch, upper_BTE, codes_BTQ)}

    def removal_test(self, batch: Any, upper_BTE: Tensor, codes_BTQ: Tensor) -> Measures:
        """Returns by how much the cross-entropy rises without the salient code's direction, and without a random one.

        The random directions depend on the seed alone, so evaluation learns nothing and repeats itself.
        """
        tokens = float(batch.num_target_tokens)
        salient_B = self.salience(batch, upper_BTE).masked_fill(~batch.mask_BT, -torch.inf).argmax(-1)
        rows_B = torch.arange(len(batch), device=salient_B.device)
        code_BE = self.quantizer.lookup(codes_BTQ)[rows_B, salient_B]
        generator = torch.Generator().manual_seed(self.config["seed"])
        random_BE = torch.randn(code_BE.shape, generator=generator).to(code_BE)
        with torch.no_grad():
            whole = self._nll(batch, upper_BTE)
            rises = {
                name: float(self._nll(batch, without(upper_BTE, direction_BE)) - whole)
                for name, direction_BE in (("salient", code_BE), ("random", random_BE))
            }
        return {f"faithfulness/{name}": (rise, tokens) for name, rise in rises.items()}

    def salience(self, batch: Any, upper_BTE: Tensor) -> Tensor:
        """Returns how much each position of layer h adds to the cross-entropy's magnitude, shape (B, T).

        Integrated gradients from 0 (Sundararajan et al. 2017, arXiv 1703.01365), summed over E, by the midpoint rule.
        """
        steps, total_BTE = self.settings.faithfulness_steps, torch.zeros_like(upper_BTE)
        for step in range(steps):
            with torch.enable_grad():
                point_BTE = (upper_BTE * ((step + 0.5) / steps)).detach().requires_grad_()
                total_BTE += torch.autograd.grad(self._nll(batch, point_BTE), point_BTE)[0]
        return (total_BTE * upper_BTE / steps).sum(-1).abs()

    def _nll(self, batch: Any, upper_BTE: Tensor) -> Tensor:
        """Returns the summed cross-entropy of the targets when layer h is `upper_BTE`."""
        memory_BTE = self.upwards(upper_BTE, batch.mask_BT)
        logits_BSV = self._network_logits(memory_BTE, batch.mask_BT, shift_right(batch.labels_BS))
        return F.cross_entropy(logits_BSV.flatten(0, 1).float(), batch.labels_BS.flatten(), reduction="sum")


class AdaptiveResidual(nn.Module):
    """(1 - m) x + m LayerNorm(W x + b) with m = sigmoid(a) / 2: the identity, nearly, until learned otherwise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.mix = nn.Parameter(torch.tensor(RESIDUAL_START))

    def forward(self, x_BTE: Tensor) -> Tensor:
        share = 0.5 * self.mix.sigmoid()
        return (1 - share) * x_BTE + share * self.norm(self.linear(x_BTE))


def without(x_BTE: Tensor, direction_BE: Tensor) -> Tensor:
    """Returns states with a direction projected out of every position."""
    unit_BE = F.normalize(direction_BE, dim=-1)
    return x_BTE - torch.einsum("bte,be->bt", x_BTE, unit_BE).unsqueeze(-1) * unit_BE.unsqueeze(1)


def read_network(spec: RunSpec) -> T5VQVAE:
    """Returns the network to be frozen: a saved T5VQVAE without a bottleneck, or a T5.

    Raises:
        SettingError: If it cannot be loaded, or has a bottleneck of its own.
    """
    place = spec.model.backbone
    file = Path(place) / "config.json"
    if not (file.is_file() and json.loads(file.read_text()).get("model_type") == "t5vqvae"):
        plain = {"model": T5VQVAESettings(backbone=place).as_dict(), "quantizer": {"name": "none"}}
        return build_t5vqvae(RunSpec.parse(plain), None)
    network = load_model(place)
    if network.config.quantizer_config().name != "none" or network.prompts is not None:
        raise SettingError(f"model.backbone={place!r} has a bottleneck of its own; train one with quantizer.name=none")
    return network
