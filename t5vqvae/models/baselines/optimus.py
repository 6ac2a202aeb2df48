"""`optimus`: a sentence-level VAE of pretrained blocks; one latent vector is the decoder's only input.

Encoder -> one vector a sentence -> mu, sigma -> z. The decoder has no cross-attention: z enters its self-attention by
`injection` (see `injection.py`). With `latent_in_embeddings` z is also added to the input embeddings; this is Optimus's
second scheme, which its code combines with memory, and which is off in the studies compared here. KL annealing and
free bits are described in `gaussian_latent.py`.

Blocks: `t5` is T5's encoder and decoder (from `backbone` or from scratch), and the sentence vector is the mean of the
states. `bert_gpt2`, as published, is BERT's pooled first token and GPT-2. BERT and GPT-2 have different vocabularies,
but a run's data has one tokenizer. So the checkpoints named by `bert` and `gpt2` give their blocks and positions, and
word embeddings start from scratch. With `memory` the decoder's positions count from 1, because the memory is at 0.

Source: Optimus, Li et al. 2020, arXiv 2004.04092 (ChunyuanLI/Optimus); addition, fusion and the second latent: Zhang
et al. 2023, arXiv 2311.08579 (SnowYJ/sem_syn_separation), and DELLA, Hu et al. 2022, arXiv 2207.06130 (OpenVLG/DELLA).

Same: BERT's pooled first token and GPT-2 (`blocks: bert_gpt2`), memory as one key and value of each layer, cyclical
annealing and free bits; fusion as `LMFLayer` computes it.

Different: no pretraining on sentences of Wikipedia; Optimus adds its KL as it is to a reconstruction averaged by
length, here both are divided by length, so published weights do not carry over; both latents come from one sentence
vector, where the study encodes syntax from a parse by a graph network; DELLA fuses values alone and draws a latent for
every layer.

Letters: B batch, T encoder positions, S decoder positions, E model width, Z latent width, I inner width, V vocabulary.
"""

from __future__ import annotations

from typing import Self, cast

from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, T5ForConditionalGeneration

from t5vqvae.data.batch import Batch
from t5vqvae.models.backbones import BERT, GPT2, T5_FAMILY, read_backbone, t5_settings
from t5vqvae.models.baselines.base import Autoencoder, BaselineConfig
from t5vqvae.models.baselines.blocks import BertGPT2Blocks, Blocks, T5Blocks
from t5vqvae.models.baselines.gaussian_latent import SentenceLatent
from t5vqvae.models.baselines.injection import Injection
from t5vqvae.models.contract import Measures, Memory
from t5vqvae.quantizers import QuantizerOutput
from t5vqvae.spec.architectures import LatentSettings, OptimusConfig
from t5vqvae.spec.run import RunSpec


class Optimus(Autoencoder):
    """Encoder, sentence latent, decoder with the latent in its self-attention."""

    settings: OptimusConfig
    quantizer: SentenceLatent
    blocks: Blocks

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__(config)
        settings = self.settings
        kind: type[T5Blocks] | type[BertGPT2Blocks] = T5Blocks if settings.blocks == "t5" else BertGPT2Blocks
        self.blocks = kind(settings, config["vocab_size"], config.get("backbones", {}))
        width, inner = self.blocks.decoder_width, self.blocks.inner_width
        self.injection = Injection(settings, inner, self.blocks.num_decoder_layers)
        latents = LatentSettings(**{name: getattr(settings, name) for name in LatentSettings.model_fields})
        if self.injection.has_two:
            latents = latents.with_overrides({"latent_width": 2 * settings.latent_width})
        self.quantizer = SentenceLatent(latents, self.blocks.encoder_width, config["seed"], decoded=False)
        self.blocks.inject(self.injection)
        if settings.latent_in_embeddings:
            self.to_embeddings = nn.Linear(latents.latent_width, width, bias=False)

    @classmethod
    def from_spec(cls, spec: RunSpec, config: BaselineConfig) -> Self:
        """Returns a new model with the weights of the checkpoints that the spec names."""
        named = {name: getattr(spec.model, name) for name in ("backbone", "bert", "gpt2")}
        read = {name: _read(name, place) for name, place in named.items() if place is not None}
        config["backbones"] = {name: backbone.config.to_dict() for name, backbone in read.items()}
        if "backbone" in read:
            config["backbones"]["backbone"] = t5_settings(cast(T5ForConditionalGeneration, read["backbone"]))
        model = cls(config)
        for name, backbone in read.items():
            model.blocks.take(name, backbone)
        return model

    def encode_memory(self, batch: Batch) -> Memory:
        sentences_BE = self.blocks.encode(batch.input_ids_BT, batch.mask_BT)
        z_BZ, aux_loss = self.quantizer.of_sentences(sentences_BE, batch.num_source_tokens)
        z_BZ = z_BZ.to(sentences_BE.dtype)
        z_B1Z, mask_B1 = z_BZ.unsqueeze(1), batch.mask_BT.new_ones(len(z_BZ), 1)
        output = QuantizerOutput(z_B1Z, None, aux_loss, {"kl": aux_loss.detach()}, batch.num_source_tokens)
        return Memory(z_B1Z, mask_B1, output)

    def measures(self, batch: Batch, memory: Memory) -> Measures:
        """Returns the rate of the latent; see `GaussianLatent.measures`."""
        return self.quantizer.measures(batch.mask_BT)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.blocks.embedding

    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        z_BZ = memory.states_BME[:, 0]
        first_BZ, second_BZ = z_BZ.chunk(2, -1) if self.injection.has_two else (z_BZ, None)
        self.injection.latent_BZ, self.injection.query_latent_BZ = first_BZ, second_BZ
        x_BSE = self.blocks.embedding(ids_BS)
        if self.settings.latent_in_embeddings:
            x_BSE = x_BSE + self.to_embeddings(z_BZ).unsqueeze(1)
        cache = self._cache()
        logits_BSV = self.blocks.decode(x_BSE, cache)
        self.injection.latent_BZ = self.injection.query_latent_BZ = None
        return logits_BSV

    def _cache(self) -> DynamicCache | None:
        """Returns each layer's keys and values before the first token; None unless the injection is `memory`."""
        keys = self.injection.keys()
        if not keys:
            return None
        cache = DynamicCache()
        for layer, key_B1I in enumerate(keys):
            by_head = key_B1I.unflatten(-1, (self.blocks.num_heads, -1)).transpose(1, 2)
            cache.update(by_head, by_head, layer)
        return cache


def _read(name: str, place: str) -> PreTrainedModel:
    """Returns the checkpoint that the setting `name` names.

    Raises:
        SettingError: If it cannot be loaded, or is no T5, BERT or GPT-2.
    """
    families = {"backbone": T5_FAMILY, "bert": BERT, "gpt2": GPT2}
    return read_backbone(f"model.{name}", place, families[name])
