"""`gumbel`: Gumbel-softmax samples the entry, so that the choice has a gradient (Jang et al. 2017).

Training takes the sampled entry and the gradient of the softmax (straight-through); evaluation takes the likeliest
entry. There are three forms and one defect:

- `untied`: the logits are a linear map of the state, independent of the entries, with weights from N(0, 1). A diversity
  term keeps the entries in use: weight * (1 - perplexity of the batch's mean softmax / K).
- `decoupled`: the logits are -||x - e||^2, and k-means starts the entries. softmax(logits / forward temperature) gives
  the probabilities of the sample, softmax(logits / backward temperature) the gradient.
- `tied`: the logits are -||x - e||^2, the entries start at random, and there is one annealed temperature. This is a
  control: it collapses to few entries.
- `published`: what T5VQVAE's code runs (SnowYJ/T5VQVAE, `t5/load_t5.py`), a control. The hard Gumbel-softmax is taken
  over the *positions* of a sentence, so that each entry goes to one position; a position has the first entry that it
  wins, or entry 0. The choice and its lookup pass no gradient: cross-entropy reaches neither logits nor encoder, which
  ||h - e||^2, trained on both sides, alone moves. That code ends there with `exit("not work")`. So the failure that the
  paper reports is this defect, and its open question, whether Gumbel-softmax learns better codes, was never tested: the
  study `gumbel` does.

Source: Jang et al. 2017, arXiv 1611.01144; `untied`: wav2vec 2.0, Baevski et al. 2020, arXiv 2006.11477; `decoupled`:
Shah et al. 2024, arXiv 2410.13331; `published`: T5VQVAE's code (SnowYJ/T5VQVAE, `t5/load_t5.py`).

Same: the straight-through sample; wav2vec 2.0's logits, temperatures and diversity term; DALL-E's temperatures in
`tied`; the softmax over positions, temperature .9 and the loss term in `published`.

Different: `decoupled` is known here only by its abstract: the backward softmax without noise is an interpretation. In
`published` a linear map makes the logits, not four layers over the whole sentence, padding competes for no entry, and
evaluation draws no noise.

Letters: N positions, n positions of one chunk, B sentences, C code width, Q codebooks a position, K entries, k entries
of one chunk, D = C / Q.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from t5vqvae.config import setting
from t5vqvae.errors import SettingError
from t5vqvae.quantizers.base import Gradient, Packed, Quantizer, QuantizerConfig, QuantizerOutput, SuggestedSpace
from t5vqvae.quantizers.parts.initialization import kmeans, num_vectors_for, sample_rows
from t5vqvae.quantizers.parts.losses import mean_squared
from t5vqvae.quantizers.parts.relaxation import (
    MAX_SCORES,
    Choice,
    Relaxation,
    annealed,
    choose,
    likeliest,
    marginal_perplexity,
    negative_distances,
    straight_through_mixture,
)

TEMPERATURES = {"untied": (2.0, 0.5), "decoupled": (0.3, 0.05), "tied": (1.0, 0.0625), "published": (0.9, 0.9)}
"""First and last temperature of each form: wav2vec 2.0's, those that converged in the reference's check, DALL-E's, and
T5VQVAE's."""

_UNREAD = {
    "tied": ("diversity_weight",),
    "published": ("temperature", "last_temperature", "anneal_steps", "diversity_weight", "commitment_weight"),
}
"""Settings without any effect, by form: `tied` has no diversity term, `published` no gradient of a softmax either."""


class GumbelConfig(QuantizerConfig):
    """Entries that Gumbel-softmax samples."""

    name: Literal["gumbel"] = "gumbel"
    form: Literal["untied", "decoupled", "tied", "published"] = setting(
        "untied", description="where the logits come from; published: T5VQVAE's defect, a control"
    )
    codebook_size: int = setting(1024, ge=2, description="K, entries of each codebook")
    code_width: int | None = setting(None, ge=1, description="C; None: the model's width, without a projection")
    num_codebooks: int = setting(1, ge=1, description="Q, codes a position (wav2vec 2.0's groups)")
    temperature: float | None = setting(None, gt=0, description="first temperature; None: the form's own")
    last_temperature: float | None = setting(None, gt=0, description="after annealing; None: the form's own")
    backward_temperature: float = setting(1.0, gt=0, description="of the gradient's softmax; form decoupled only")
    anneal_steps: int = setting(1000, ge=1, description="updates from the first to the last temperature")
    anneal: Literal["exponential", "cosine"] = setting("exponential", description="the way between them")
    diversity_weight: float = setting(0.5, ge=0, description="weight of 1 - perplexity / K of the batch's marginal")
    commitment_weight: float = setting(0.0, ge=0, description="weight of ||h - sg(e)||^2; not in the papers")
    noise: bool = setting(True, description="sample in training; False: take the likeliest entry")

    whole_batch: ClassVar[tuple[str, ...]] = ("diversity_weight",)
    space: ClassVar[SuggestedSpace] = {
        "codebook_size": {"type": "int", "low": 256, "high": 22000, "log": True},
        "form": {"type": "choice", "choices": ["untied", "decoupled"]},
        "diversity_weight": {"type": "float", "low": 0.05, "high": 5.0, "log": True, "when": {"form": "untied"}},
        "backward_temperature": {"type": "float", "low": 0.1, "high": 10.0, "log": True, "when": {"form": "decoupled"}},
        "anneal_steps": {"type": "int", "low": 100, "high": 10000, "log": True},
    }

    def refuse_unread(self) -> None:
        for name in _UNREAD.get(self.form, ()):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value != default:
                shown = "null" if default is None else default
                raise SettingError(
                    f"quantizer.{name}={value} has no effect with quantizer.form={self.form}; set it to its default,"
                    f" {shown}, or take quantizer.form=untied"  # left out, it may come from the base
                )

    @model_validator(mode="after")
    def _cools_down(self) -> Self:
        first, last = self.temperatures
        if last > first:
            raise SettingError(f"quantizer.last_temperature={last:g} must be at most the first temperature, {first:g}")
        return self

    @property
    def temperatures(self) -> tuple[float, float]:
        """The first and the last temperature of the choice."""
        first, last = TEMPERATURES[self.form]
        first = self.temperature or first
        return first, self.last_temperature or min(first, last)

    @property
    def batch_terms(self) -> list[str]:
        return [] if self.form in ("tied", "published") else super().batch_terms  # these have no diversity term

    def build(self, model_width: int, num_roles: int = 0, seed: int = 0) -> GumbelQuantizer:
        return GumbelQuantizer(self, model_width, seed)


class GumbelQuantizer(Quantizer):
    """Samples in training, takes the likeliest entry in evaluation; the temperature falls with every `update`."""

    gradient: Gradient = "surrogate"

    def __init__(self, config: GumbelConfig, model_width: int, seed: int) -> None:
        width = config.code_width or model_width
        if width % config.num_codebooks:
            raise SettingError(f"quantizer.num_codebooks={config.num_codebooks} must divide the code width {width}")
        super().__init__(model_width, config.code_width, (config.codebook_size,) * config.num_codebooks, seed)
        self.config = config
        self.lengths_B: Tensor | None = None
        if config.form == "published":
            self.gradient, self.sees_sentences = "none", True
        size, self.entry_width = config.codebook_size, width // config.num_codebooks
        generator = self.generator("start")
        entries_QKD = torch.randn(config.num_codebooks, size, self.entry_width, generator=generator)
        self.entries_QKD = nn.Parameter(entries_QKD * self.entry_width**-0.5)
        if config.form in ("untied", "published"):
            self.logits_QKC = nn.Parameter(torch.randn(config.num_codebooks, size, width, generator=generator))
            self.bias_QK = nn.Parameter(torch.zeros(config.num_codebooks, size))

    @property
    def temperature(self) -> float:
        """The temperature after the updates so far."""
        return annealed(*self.config.temperatures, self.config.anneal_steps, int(self._num_updates), self.config.anneal)

    def forward(self, states_BTE: Tensor, mask_BT: Tensor, roles_BT: Tensor | None = None) -> QuantizerOutput:
        self.lengths_B = mask_BT.bool().sum(-1)
        try:
            return super().forward(states_BTE, mask_BT, roles_BT)
        finally:
            self.lengths_B = None

    def quantize_packed(self, inputs_NC: Tensor, roles_N: Tensor | None = None) -> Packed:
        if self.config.form == "published":
            return self._published(inputs_NC)
        if not self.training:
            codes_NQ = self._likeliest(inputs_NC)
            entries_NC = self.lookup_packed(codes_NQ)
            return Packed(entries_NC, codes_NQ, self._commitment(inputs_NC, entries_NC))
        choices = [self._choose(inputs_NC, q) for q in range(self.num_codebooks)]
        codes_NQ = torch.stack([choice.codes_N for choice in choices], -1)
        entries_NC = self.lookup_packed(codes_NQ)
        quantized_NC = straight_through_mixture(entries_NC, torch.cat([choice.mixed_ND for choice in choices], -1))
        terms = self._commitment(inputs_NC, entries_NC) | self._diversity(choices, inputs_NC.shape[0])
        return Packed(quantized_NC, codes_NQ, terms)

    def _published(self, inputs_NC: Tensor) -> Packed:
        """Chooses as T5VQVAE's code does; its only term, of weight 1, trains states and entries alike."""
        codes_NQ = torch.stack([self._won(inputs_NC, q) for q in range(self.num_codebooks)], -1)
        entries_NC = self.lookup_packed(codes_NQ)
        # The zeros keep states in the graph, so that their gradient is zero instead of missing.
        return Packed(entries_NC + 0.0 * inputs_NC, codes_NQ, {"reconstruction": mean_squared(inputs_NC, entries_NC)})

    @torch.no_grad()
    def _won(self, inputs_NC: Tensor, part: int) -> Tensor:
        """Returns the first entry that each position wins among the positions of its sentence, or 0; shape (N,)."""
        size, num = self.config.codebook_size, len(inputs_NC)
        lengths_B = torch.tensor([num]) if self.lengths_B is None else self.lengths_B
        sentence_N = torch.repeat_interleave(torch.arange(len(lengths_B)), lengths_B.cpu()).to(inputs_NC.device)
        first_N = torch.full((num,), size, device=inputs_NC.device)
        chunk = max(1, MAX_SCORES // max(1, num))
        for first in range(0, size, chunk):
            logits_Nk = F.linear(
                inputs_NC, self.logits_QKC[part, first : first + chunk], self.bias_QK[part, first : first + chunk]
            )
            if self.training and self.config.noise:
                logits_Nk = logits_Nk - torch.empty_like(logits_Nk).exponential_().log()
            best_Bk = logits_Nk.new_full((len(lengths_B), logits_Nk.shape[1]), -torch.inf)
            best_Bk.scatter_reduce_(0, sentence_N[:, None].expand_as(logits_Nk), logits_Nk, "amax")
            entries_k = torch.arange(first, first + logits_Nk.shape[1], device=inputs_NC.device)
            won_Nk = torch.where(logits_Nk == best_Bk[sentence_N], entries_k, size)
            first_N = torch.minimum(first_N, won_Nk.amin(-1))
        return first_N.masked_fill(first_N == size, 0)

    def lookup_packed(self, codes_NQ: Tensor) -> Tensor:
        return torch.cat([F.embedding(codes_NQ[:, q], self.entries_QKD[q]) for q in range(self.num_codebooks)], -1)

    def _logits(self, part: int) -> Callable[[Tensor], Tensor]:
        """Returns the map from inputs, shape (n, C), to the logits of codebook `part`, shape (n, K)."""
        if self.config.form == "untied":
            return partial(F.linear, weight=self.logits_QKC[part], bias=self.bias_QK[part])
        columns = slice(part * self.entry_width, (part + 1) * self.entry_width)
        return lambda inputs_nC: negative_distances(inputs_nC[:, columns], self.entries_QKD[part])

    def _choose(self, inputs_NC: Tensor, part: int) -> Choice:
        decoupled = self.config.form == "decoupled"
        relaxation = Relaxation(
            self.config.backward_temperature if decoupled else self.temperature,
            self.config.noise,
            self.temperature if decoupled else None,
        )
        return choose(inputs_NC, self._logits(part), self.entries_QKD[part].detach(), relaxation)

    def _likeliest(self, inputs_NC: Tensor) -> Tensor:
        size = self.config.codebook_size
        return torch.stack([likeliest(inputs_NC, self._logits(q), size) for q in range(self.num_codebooks)], -1)

    def _commitment(self, inputs_NC: Tensor, entries_NC: Tensor) -> dict[str, Tensor]:
        if not self.config.commitment_weight:
            return {}
        return {"commitment": self.config.commitment_weight * mean_squared(inputs_NC, entries_NC.detach())}

    def _diversity(self, choices: list[Choice], num_positions: int) -> dict[str, Tensor]:
        """Returns the term of wav2vec 2.0, equation 4 as in its code; with a gradient, over all workers."""
        if not self.config.diversity_weight or self.config.form == "tied":
            return {}
        over_workers = torch.is_grad_enabled()
        shares = [marginal_perplexity(c.mass_K, num_positions, over_workers) / c.mass_K.numel() for c in choices]
        return {"diversity": self.config.diversity_weight * (1.0 - torch.stack(shares).mean())}

    @property
    def num_start_vectors(self) -> int:
        return num_vectors_for(self.config.codebook_size) if self.config.form == "decoupled" else 0

    @torch.no_grad()
    def start(self, vectors_NC: Tensor, embeddings_VE: Tensor | None = None) -> None:
        """Places the entries of the decoupled form by k-means; the other forms start at random."""
        if self.config.form != "decoupled":
            return
        generator = self.generator("start")
        for part, pool_MD in enumerate(vectors_NC.float().split(self.entry_width, -1)):
            first_KD = sample_rows(pool_MD, self.config.codebook_size, generator)
            self.entries_QKD[part].copy_(kmeans(pool_MD, first_KD, 10, generator))

    def _update(self) -> None:
        self._num_updates += 1
