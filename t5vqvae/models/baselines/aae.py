"""`aae`: adversarial autoencoders on LSTMs: AAE, denoising (DAAE) and latent-noising (LAAE).

A bidirectional LSTM encodes the sentence (DAAE: a noisy one); its two last states give z = mu + sigma * eps. An LSTM
decodes the clean sentence; each of its inputs is a word's embedding plus W z. There is no KL term: a discriminator D
learns to distinguish z from N(0, 1), and the encoder learns to deceive it. The encoder's term is weight * -log D(z),
the discriminator's is -log D(n) - log(1 - D(z)) with n ~ N(0, 1). LAAE adds weight * |log sigma^2|, which keeps the
noise on z alive.

Source: AAE, Makhzani et al. 2015, arXiv 1511.05644; DAAE, Shen et al. 2020, arXiv 1905.12777
(shentianxiao/text-autoencoders); LAAE, Rubenstein et al. 2018, arXiv 1802.03761.

Same: the code's widths, dropout, weights and start are the defaults; its DAAE is word drop 0.3, its LAAE log-variance
weight 0.01.

Different: padding is not read; the end of a sentence is never dropped; AdamW's settings are the run's (theirs: Adam,
5e-4, beta1 .5); one optimizer replaces two, so both sides share learning rate and gradient clipping.

Letters: B batch, T encoder positions, S decoder positions, Z latent width, D embedding width, H LSTM width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence

from t5vqvae.data.batch import Batch
from t5vqvae.models.baselines.base import END, START, Autoencoder, BaselineConfig
from t5vqvae.models.contract import Measures, Memory
from t5vqvae.quantizers import QuantizerOutput
from t5vqvae.quantizers.none import NoQuantizer
from t5vqvae.spec.architectures import AAEConfig

START_RANGE = 0.1
"""Embeddings and output matrix start uniform in [-START_RANGE, START_RANGE]."""


class AAE(Autoencoder):
    """An LSTM autoencoder; a discriminator pulls its latent towards N(0, 1)."""

    settings: AAEConfig

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__(config)
        size = self.settings
        self.embedding = nn.Embedding(config["vocab_size"], size.embedding_width)
        self.encoder = nn.LSTM(size.embedding_width, size.hidden_width, bidirectional=True, batch_first=True)
        self.decoder = nn.LSTM(size.embedding_width, size.hidden_width, batch_first=True)
        self.mean = nn.Linear(2 * size.hidden_width, size.latent_width)
        self.log_variance = nn.Linear(2 * size.hidden_width, size.latent_width)
        self.from_latent = nn.Linear(size.latent_width, size.embedding_width)
        self.output = nn.Linear(size.hidden_width, config["vocab_size"])
        self.dropout = nn.Dropout(size.dropout)
        hidden = nn.Linear(size.latent_width, size.discriminator_width)
        self.discriminator = nn.Sequential(hidden, nn.ReLU(), nn.Linear(size.discriminator_width, 1))
        self.quantizer = NoQuantizer(size.latent_width, None, (), config["seed"])
        for tensor in (self.embedding.weight, self.output.weight):
            nn.init.uniform_(tensor, -START_RANGE, START_RANGE)
        nn.init.zeros_(self.output.bias)

    def encode(self, ids_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log variance of the latent, shape (B, Z) each; padding must be at the right."""
        x_BTD = self.dropout(self.embedding(ids_BT))
        packed = pack_padded_sequence(x_BTD, mask_BT.sum(-1).cpu(), batch_first=True, enforce_sorted=False)
        _, (last_2BH, _) = self.encoder(packed)
        last_BH = torch.cat([last_2BH[0], last_2BH[1]], -1)
        return self.mean(last_BH), self.log_variance(last_BH)

    def encode_memory(self, batch: Batch) -> Memory:
        ids_BT, mask_BT = batch.input_ids_BT, batch.mask_BT
        if self.training and self.settings.word_drop:
            ids_BT, mask_BT = drop_words(ids_BT, mask_BT, self.settings.word_drop)
        mean_BZ, log_variance_BZ = self.encode(ids_BT, mask_BT)
        noise_BZ = torch.randn_like(mean_BZ) if self.training else torch.zeros_like(mean_BZ)
        z_BZ = mean_BZ + (0.5 * log_variance_BZ).exp() * noise_BZ
        terms = self.adversarial(z_BZ)
        terms["log_variance"] = self.settings.log_variance_weight * log_variance_BZ.abs().sum()
        num_tokens = batch.num_source_tokens
        aux_loss = sum(terms.values(), z_BZ.new_zeros(())) / num_tokens
        detached = {name: term.detach() / num_tokens for name, term in terms.items()}
        memory_B1Z, mask_B1 = z_BZ.unsqueeze(1), mask_BT.new_ones(len(z_BZ), 1)
        return Memory(memory_B1Z, mask_B1, QuantizerOutput(memory_B1Z, None, aux_loss, detached, num_tokens))

    def adversarial(self, z_BZ: Tensor) -> dict[str, Tensor]:
        """Returns the encoder's weighted term and, in training, the discriminator's, summed over sentences."""
        # Both sides step together: the encoder's term takes a D without gradient, the discriminator's a z without. So
        # one optimizer does what two do in the published code, which also takes both gradients before either step.
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        deceived = functional_call(self.discriminator, frozen, (z_BZ,))
        terms = {"adversary": self.settings.adversarial_weight * _bce(deceived, 1.0)}
        if self.training:
            prior, posterior = self.discriminator(torch.randn_like(z_BZ)), self.discriminator(z_BZ.detach())
            terms["discriminator"] = _bce(prior, 1.0) + _bce(posterior, 0.0)
        return terms

    def measures(self, batch: Batch, memory: Memory) -> Measures:
        """Returns the mean D(z), the discriminator's belief that z is from the prior; 1/2: it cannot distinguish."""
        score = float(self.discriminator(memory.states_BME[:, 0]).sigmoid().sum().detach())
        return {"adversary/score": (score, float(len(batch)))}

    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        x_BSD = self.dropout(self.embedding(ids_BS)) + self.from_latent(memory.states_BME[:, :1])
        return self.output(self.dropout(self.decoder(x_BSD)[0]))


def _bce(logits_B1: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits_B1, torch.full_like(logits_B1, target), reduction="sum")


def drop_words(ids_BT: Tensor, mask_BT: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """Drops random tokens, except the end of a sentence, and closes the gaps; returns tokens and mask."""
    kept_BT = mask_BT & ((torch.rand(ids_BT.shape, device=ids_BT.device) >= chance) | (ids_BT == END))
    kept_BT[:, 0] |= ~kept_BT.any(-1)  # a sentence without an end token may lose all tokens
    order_BT = kept_BT.int().argsort(dim=-1, descending=True, stable=True)
    mask_BT = kept_BT.gather(-1, order_BT)
    return ids_BT.gather(-1, order_BT).masked_fill(~mask_BT, START), mask_BT
