"""`optimus`: a sentence-level VAE of pretrained blocks; the decoder knows the sentence by one latent vector alone.

Encoder -> one vector a sentence -> mu, sigma -> z; the decoder has no cross-attention, its self-attention is given z by
`injection` (see `injection.py`), and with `latent_in_embeddings` its input embeddings are, too (Optimus's second
scheme, which its code has on besides memory; the studies compared here have it off). KL annealing and free bits as in
`latent.py`.

Blocks: `t5`, T5's encoder and decoder (from `backbone` or from scratch), the sentence being the mean of the states;
`bert_gpt2`, as published, BERT's pooled first token and GPT-2. BERT's and GPT-2's vocabularies differ from each other
and a run's data has one tokenizer: checkpoints named by `bert` and `gpt2` give their blocks and positions, and word
embeddings start anew. Positions of the decoder count from 1 with `memory`, the memory's own being 0, as in Optimus.

Source: Li et al. 2020, arXiv 2004.04092, and its code (ChunyuanLI/Optimus). Not taken over: its pretraining on
sentences of Wikipedia.

Letters: B batch, T encoder positions, S decoder positions, E model width, Z latent width, I inner width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import transformers
from torch import Tensor, nn
from transformers import DynamicCache

from t5vqvae.errors import SettingError
from t5vqvae.models.baselines.base import Autoencoder
from t5vqvae.models.baselines.blocks import BertGPT2Blocks, T5Blocks
from t5vqvae.models.baselines.gaussian_latent import SentenceLatent
from t5vqvae.models.baselines.injection import Injection
from t5vqvae.models.contract import Measures, Memory
from t5vqvae.quantizers import QuantizerOutput
from t5vqvae.spec.run import RunSpec


class Optimus(Autoencoder):
    """Encoder, sentence latent, decoder with the latent in its self-attention."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        settings = self.settings
        kind = T5Blocks if settings.blocks == "t5" else BertGPT2Blocks
        self.blocks = kind(settings, config["vocab_size"], config.get("backbones", {}))
        width, inner = self.blocks.decoder_width, self.blocks.inner_width
        self.quantizer = SentenceLatent(settings, self.blocks.encoder_width, config["seed"], decoded=False)
        self.injection = Injection(
            settings.injection,
            settings.into,
            settings.latent_width,
            inner,
            self.blocks.num_decoder_layers,
            settings.fusion_rank,
        )
        self.blocks.inject(self.injection)
        if settings.latent_in_embeddings:
            self.to_embeddings = nn.Linear(settings.latent_width, width, bias=False)

    @classmethod
    def from_spec(cls, spec: RunSpec, config: dict[str, Any]) -> Self:
        """Returns a new model, with the weights of the checkpoints that the spec names."""
        named = {name: getattr(spec.model, name) for name in ("backbone", "bert", "gpt2")}
        read = {name: _read(name, place) for name, place in named.items() if place is not None}
        config["backbones"] = {name: backbone.config.to_dict() for name, backbone in read.items()}
        if "backbone" in read:
            t5 = read["backbone"]
            config["backbones"]["backbone"]["separate_head"] = t5.lm_head.weight is not t5.shared.weight
        model = cls(config)
        for name, backbone in read.items():
            model.blocks.take(name, backbone)
        return model

    def encode_memory(self, batch: Any) -> Memory:
        sentences_BE = self.blocks.encode(batch.input_ids_BT, batch.mask_BT)
        z_BZ, aux_loss = self.quantizer.of_sentences(sentences_BE, batch.num_source_tokens)
        z_B1Z, mask_B1 = z_BZ.unsqueeze(1), batch.mask_BT.new_ones(len(z_BZ), 1)
        output = QuantizerOutput(z_B1Z, None, aux_loss, {"kl": aux_loss.detach()}, batch.num_source_tokens)
        return Memory(z_B1Z, mask_B1, output)

    def measures(self, batch: Any, memory: Memory) -> Measures:
        """Returns the rate of the latent."""
        return self.quantizer.measures(batch.mask_BT)

    def get_input_embeddings(self) -> nn.Embedding:
        """Returns the decoder's token embeddings."""
        return self.blocks.embedding

    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        z_BZ = memory.states_BME[:, 0]
        self.injection.latent_BZ = z_BZ
        x_BSE = self.blocks.embedding(ids_BS)
        if self.settings.latent_in_embeddings:
            x_BSE = x_BSE + self.to_embeddings(z_BZ).unsqueeze(1)
        cache = self._cache()
        logits_BSV = self.blocks.decode(x_BSE, cache)
        self.injection.latent_BZ = None
        return logits_BSV

    def _cache(self) -> DynamicCache | None:
        """Returns the keys and values that every layer finds before the first token; None when there are none."""
        keys = self.injection.keys()
        if not keys:
            return None
        cache = DynamicCache()
        for layer, key_B1I in enumerate(keys):
            by_head = key_B1I.unflatten(-1, (self.blocks.num_heads, -1)).transpose(1, 2)
            cache.update(by_head, by_head, layer)
        return cache


def _read(name: str, place: str) -> Any:
    """Returns a checkpoint.

    Raises:
        SettingError: If it cannot be loaded, or is no T5, BERT or GPT-2.
    """
    kinds = {
        "backbone": transformers.T5ForConditionalGeneration,
        "bert": transformers.BertModel,
        "gpt2": transformers.GPT2Model,
    }
    try:
        return kinds[name].from_pretrained(place)
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingError(f"model.{name}={place!r} cannot be loaded: {str(error).splitlines()[0]}") from None
