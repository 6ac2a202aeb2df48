"""`cross_layer`: CLVQ-VAE's form. The codes of a frozen network's layer l explain its layer h.

x are the states after `from_layer` blocks, y those after `to_layer`; z = (1 - m) x + m LayerNorm(W x + b) with
m = sigmoid(a) / 2; e is the quantizer's choice for z; a Transformer decoder (no causal mask) over e predicts y^. The
loss is mean ||y^ - y||^2 plus the quantizer's loss, never the cross-entropy. The frozen network then continues from y^
instead of y, so nll, exact match and BLEU measure how much of what the network needs the explanation keeps.

The removal test of faithfulness (evaluation only) happens at layer l, where the code lives: the token that is most
salient for the cross-entropy, by integrated gradients along 0 -> x, selects a code. The direction of its code vector is
projected out of all of x, and the frozen network continues from there. If the code is faithful, the cross-entropy rises
more (`faithfulness/salient`, nats a target token) than without a random direction (`faithfulness/random`).

`model.memory=states` is as published: the decoder attends to z itself, which bypasses the codes, so such a run has no
rate (`leaks`). With `codes`, the default, it attends to the code vectors. CLVQ-VAE's quantizer is `quantizer.name=ema`
with `codebook_size=400`, `selection=topk`, `top_k=5`, `commitment_weight=0.1` and `start=spherical_kmeans++`; its
perplexity term is left out because it has no gradient.

Source: CLVQ-VAE, arXiv 2506.20040 (agarg-dev/CLVQVAE).

Same: W, a and their starts (a = 0.2, W the identity); direction and salience at layer l; a decoder of six layers,
eight heads, 2,048, dropout .1; its quantizer by the settings above.

Different: the decoder's self-attention is causal there, and looks both ways here; the network is a T5 or a T5VQVAE
without a bottleneck, not RoBERTa with layers 8 and 12; the removal test looks at the cross-entropy of the text, not at
a probe of labels on the class token, because a text autoencoder has no labels.

Letters: B batch, T encoder positions, S target positions, E model width, N unpadded positions, V vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from t5vqvae.data.batch import Batch
from t5vqvae.errors import SettingError
from t5vqvae.models.baselines.base import Autoencoder, BaselineConfig, Values, shift_right
from t5vqvae.models.contract import Measures, Memory, energy, load_model
from t5vqvae.models.t5 import T5VQVAE, T5VQVAEConfig, build_t5vqvae
from t5vqvae.seeding import seed_from
from t5vqvae.spec.architectures import CrossLayerConfig, T5VQVAESettings
from t5vqvae.spec.run import RunSpec

RESIDUAL_START = 0.2
"""a at the start."""


class CrossLayer(Autoencoder):
    """A frozen network, a quantizer of its layer l, and a decoder that predicts its layer h.

    Attributes:
        network: The frozen network, whose `position` is h.
    """

    settings: CrossLayerConfig

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__(config)
        settings = self.settings
        self.network = T5VQVAE(T5VQVAEConfig.from_dict(config["network"])).requires_grad_(False).eval()
        width, last = self.network.config.d_model, self.network.config.position
        assert last is not None
        if not settings.from_layer < last:
            raise SettingError(f"model.from_layer={settings.from_layer} must be less than model.to_layer, {last}")
        if width % settings.num_heads:
            raise SettingError(f"model.num_heads={settings.num_heads} must divide the network's width, {width}")
        self.leaks = settings.memory == "states"
        self.residual = AdaptiveResidual(width)
        self.quantizer = self.build_quantizer(width)
        sizes: Values = {"dim_feedforward": settings.d_ff, "dropout": settings.dropout, "batch_first": True}
        layers = [nn.TransformerDecoderLayer(width, settings.num_heads, **sizes) for _ in range(settings.num_layers)]
        self.explainer = nn.ModuleList(layers)
        self.output = nn.Linear(width, width)
        names = dict(self.named_parameters(remove_duplicate=False))
        shared = names["network.shared.weight"]
        self._tied_names = tuple(n for n, p in names.items() if p is shared and n != "network.shared.weight")
        self._lower_BTE: Tensor | None = None
        self._replacement_BTE: Tensor | None = None
        self.network.encoder.block[settings.from_layer].register_forward_pre_hook(self._note)

    @classmethod
    def from_spec(cls, spec: RunSpec, config: BaselineConfig) -> Self:
        """Returns a new model around the network that `model.backbone` names."""
        assert isinstance(spec.model, CrossLayerConfig)
        with torch.random.fork_rng(devices=[]):  # reading a T5 seeds torch, and the layers below are this run's own
            network = _read_network(spec.model.backbone)
        last = network.config.num_layers if spec.model.to_layer is None else spec.model.to_layer
        if last > network.config.num_layers:
            raise SettingError(f"model.to_layer={last} must be at most {network.config.num_layers}, the last block")
        config["network"] = network.config.to_dict() | {"position": last}
        model = cls(config)
        model.network.load_state_dict(network.state_dict())
        return model

    def train(self, mode: bool = True) -> Self:
        """Sets training mode, but keeps the frozen network in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def get_input_embeddings(self) -> nn.Embedding:
        return self.network.shared

    def _note(self, block: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Notes the states of layer l, or replaces them by those of the removal test."""
        if self._replacement_BTE is None:
            self._lower_BTE = args[0]
            return args
        return (self._replacement_BTE, *args[1:])

    @torch.no_grad()
    def layers(self, batch: Batch) -> tuple[Tensor, Tensor]:
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

    def encode_memory(self, batch: Batch) -> Memory:
        lower_BTE, upper_BTE = self.layers(batch)
        states_BTE = self.residual(lower_BTE)
        output = self.quantizer(states_BTE, batch.mask_BT, batch.roles_BT)
        explained_BTE = self.explain(output.quantized_BTE, states_BTE, batch.mask_BT)
        wrong_NE = (explained_BTE - upper_BTE)[batch.mask_BT]
        aux_loss = output.aux_loss + wrong_NE.float().square().mean()
        memory_BTE = self.upwards(explained_BTE.detach(), batch.mask_BT)
        return Memory(memory_BTE, batch.mask_BT, output, states_BTE, aux_loss=aux_loss)

    def latents_of(self, memory: Memory) -> Tensor:
        return memory.states_BME if self.leaks else memory.bottleneck.quantized_BTE

    def with_latents(self, memory: Memory, latents_BTE: Tensor, mask_BT: Tensor) -> Memory:
        if self.leaks:  # the decoder attends to the states, so codes are no way to what it reads
            return super().with_latents(memory, latents_BTE, mask_BT)
        explained_BTE = self.explain(latents_BTE, latents_BTE, mask_BT)
        return super().with_latents(memory, self.upwards(explained_BTE, mask_BT), mask_BT)

    @torch.no_grad()
    def states_to_quantize(self, batch: Batch) -> Tensor:
        return self.residual(self.layers(batch)[0])[batch.mask_BT]

    def upwards(self, states_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns the network's memory if `states_BTE` replaces its layer h."""
        blank_BTE = torch.zeros_like(states_BTE)
        return self.network.encoder(
            inputs_embeds=blank_BTE, attention_mask=mask_BT, quantized=states_BTE
        ).last_hidden_state

    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        # The network is frozen and layer h is detached, so the cross-entropy is measured but never trained on.
        return self._network_logits(memory.states_BME, memory.mask_BM, ids_BS)

    def _network_logits(self, states_BTE: Tensor, mask_BT: Tensor, ids_BS: Tensor) -> Tensor:
        memory = BaseModelOutput(last_hidden_state=states_BTE)
        return self.network(
            attention_mask=mask_BT, encoder_outputs=memory, decoder_input_ids=ids_BS, use_cache=False
        ).logits

    def measures(self, batch: Batch, memory: Memory) -> Measures:
        """Returns the unexplained share of layer h's variance and, unless it is off, the removal test.

        The variance is around the mean of each batch, so batches of a few sentences have less of it.
        """
        mask_BT, codes_BTQ = batch.mask_BT, memory.bottleneck.codes_BTQ
        lower_BTE, upper_BTE = self.layers(batch)
        assert memory.states_BTE is not None
        explained_BTE = self.explain(memory.bottleneck.quantized_BTE, memory.states_BTE, mask_BT)
        mean_E = upper_BTE[mask_BT].mean(0)
        wrong, spread = energy(explained_BTE - upper_BTE, mask_BT), energy(upper_BTE - mean_E, mask_BT)
        measures: Measures = {"cross_layer/unexplained": (wrong, spread)}
        if self.settings.faithfulness_steps is None or codes_BTQ is None:
            return measures
        return {**measures, **self.removal_test(batch, lower_BTE, codes_BTQ)}

    def removal_test(self, batch: Batch, lower_BTE: Tensor, codes_BTQ: Tensor) -> Measures:
        """Returns the rise of the cross-entropy without the salient code's direction, and without a random one."""
        tokens = float(batch.num_target_tokens)
        salient_B = self.salience(batch, lower_BTE).masked_fill(~batch.mask_BT, -torch.inf).argmax(-1)
        rows_B = torch.arange(len(batch), device=salient_B.device)
        code_BE = self.quantizer.lookup(codes_BTQ)[rows_B, salient_B].to(lower_BTE.dtype)
        # Random directions depend on the seed and the sentence alone: evaluations repeat, whatever their batches are,
        # and do not advance training's generator.
        sentences = [ids_T[mask_T].tolist() for ids_T, mask_T in zip(batch.input_ids_BT, batch.mask_BT, strict=True)]
        generators = [torch.Generator().manual_seed(seed_from(self.config["seed"], *ids)) for ids in sentences]
        random_BE = torch.stack([torch.randn(code_BE.shape[1], generator=each) for each in generators]).to(code_BE)
        with torch.no_grad():
            whole = self._nll(batch, lower_BTE)
            rises = {
                name: float(self._nll(batch, without(lower_BTE, direction_BE)) - whole)
                for name, direction_BE in (("salient", code_BE), ("random", random_BE))
            }
        return {f"faithfulness/{name}": (rise, tokens) for name, rise in rises.items()}

    def salience(self, batch: Batch, lower_BTE: Tensor) -> Tensor:
        """Returns the magnitude of each position's contribution to the cross-entropy, shape (B, T).

        Integrated gradients of layer l from 0 (Sundararajan et al. 2017, arXiv 1703.01365), by the midpoint rule,
        summed over E.
        """
        steps, total_BTE = self.settings.faithfulness_steps, torch.zeros_like(lower_BTE)
        assert steps is not None
        for step in range(steps):
            with torch.enable_grad():
                point_BTE = (lower_BTE * ((step + 0.5) / steps)).detach().requires_grad_()
                total_BTE += torch.autograd.grad(self._nll(batch, point_BTE), point_BTE)[0]
        return (total_BTE * lower_BTE / steps).sum(-1).abs()

    def _nll(self, batch: Batch, lower_BTE: Tensor) -> Tensor:
        """Returns the summed cross-entropy of the targets if `lower_BTE` replaces layer l."""
        self._replacement_BTE = lower_BTE
        try:
            memory_BTE = self.network.encoder(batch.input_ids_BT, batch.mask_BT).last_hidden_state
        finally:
            self._replacement_BTE = None
        logits_BSV = self._network_logits(memory_BTE, batch.mask_BT, shift_right(batch.labels_BS))
        return F.cross_entropy(logits_BSV.flatten(0, 1).float(), batch.labels_BS.flatten(), reduction="sum")


class AdaptiveResidual(nn.Module):
    """Computes (1 - m) x + m LayerNorm(W x + b) with m = sigmoid(a) / 2: nearly the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.mix = nn.Parameter(torch.tensor(RESIDUAL_START))

    def forward(self, x_BTE: Tensor) -> Tensor:
        share = 0.5 * self.mix.sigmoid()
        return (1 - share) * x_BTE + share * self.norm(self.linear(x_BTE))


def without(x_BTE: Tensor, direction_BE: Tensor) -> Tensor:
    """Projects a direction out of the states of every position."""
    unit_BE = F.normalize(direction_BE, dim=-1)
    return x_BTE - torch.einsum("bte,be->bt", x_BTE, unit_BE).unsqueeze(-1) * unit_BE.unsqueeze(1)


def _read_network(place: str) -> T5VQVAE:
    """Returns the network to freeze: a saved T5VQVAE without a bottleneck, or a T5.

    Raises:
        SettingError: If it cannot be loaded, or has a bottleneck.
    """
    file = Path(place) / "config.json"
    if not (file.is_file() and json.loads(file.read_text()).get("model_type") == "t5vqvae"):
        plain = {"model": T5VQVAESettings(backbone=place).as_dict(), "quantizer": {"name": "none"}}
        return build_t5vqvae(RunSpec.parse(plain), None)
    network = load_model(place)
    assert isinstance(network, T5VQVAE)
    if network.config.quantizer_config().name != "none" or network.prompts is not None:
        raise SettingError(f"model.backbone={place!r} has a bottleneck; train a network with quantizer.name=none")
    return network
