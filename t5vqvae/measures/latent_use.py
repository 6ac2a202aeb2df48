"""Use of the latent: how much worse the text becomes when the decoder gets damaged codes.

The damage is done to the vectors of the codes, so encoder blocks behind the quantizer read damaged codes, too. Without
codes, it is done to the vectors that the bottleneck passes on; where these are not what the decoder reads (one latent a
sentence, or states from before the codes), to the decoder's memory. The table says which. Prompts stay.

- `swapped`: another sentence's codes, as many as it has: those of the one before it by length.
- `shuffled`: the sentence's own codes in another order; left out for one latent a sentence.
- `dropped`: every code is lost with probability .5. In its place stands what stands for a code that is not sent where
  the model was trained with code dropout (a learned vector, or no position, but one code stays), and zero elsewhere.
- `zeroed`: zeros instead of all codes.
- `replaced`: at every position random codes of those that the probed sentences use; left out for models without codes.

The rise of the cross-entropy is in nats a character, over the same sentences; near 0 means that the decoder ignores
what was damaged.

Letters: B batch, T positions with a latent, E model width, Q codes a position, K codes in use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from t5vqvae.data import evaluation_batches
from t5vqvae.data.batching import batches_behind_one
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.models.contract import Memory, TextAutoencoder
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.stages import stage

DROPPED_SHARE = 0.5


@dataclass(frozen=True)
class Latents:
    """The latents of a batch, with what damages need.

    Attributes:
        model: The model that they are of.
        vectors_BTE: The vectors of codes, or of what the model has instead.
        mask_BT: True at real positions.
        used_QK: The codes that the probed sentences use, of each codebook; empty without codes.
        generator: The source of random choices.
    """

    model: TextAutoencoder
    vectors_BTE: Tensor
    mask_BT: Tensor
    used_QK: Sequence[Tensor]
    generator: torch.Generator

    def random_BT(self) -> Tensor:
        """Returns a random number in [0, 1) for every position."""
        return torch.rand(self.mask_BT.shape, generator=self.generator).to(self.mask_BT.device)


Damage = Callable[[Latents], tuple[Tensor, Tensor]]
"""Returns damaged vectors (B, T, E) and the mask of their real positions (B, T)."""


def _shuffled(given: Latents) -> tuple[Tensor, Tensor]:
    order_BT = given.random_BT().masked_fill(~given.mask_BT, 2.0).argsort(1)  # padding stays behind
    return given.vectors_BTE.take_along_dim(order_BT.unsqueeze(-1), 1), given.mask_BT


def _dropped(given: Latents) -> tuple[Tensor, Tensor]:
    keys_BT = given.random_BT()
    lost_BT = (keys_BT < DROPPED_SHARE) & given.mask_BT
    not_sent = given.model.encoder.not_sent if isinstance(given.model, T5VQVAE) else None
    if not_sent is None:
        return given.vectors_BTE.masked_fill(lost_BT.unsqueeze(-1), 0.0), given.mask_BT
    if not_sent.removes:  # a sentence of no position at all could not be read
        last_B1 = keys_BT.masked_fill(~given.mask_BT, -1.0).argmax(1, keepdim=True)
        lost_BT = lost_BT.scatter(1, last_B1, False)
    return not_sent.leave_out(given.vectors_BTE, lost_BT, given.mask_BT)


def _zeroed(given: Latents) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(given.vectors_BTE), given.mask_BT


def _replaced(given: Latents) -> tuple[Tensor, Tensor]:
    shape_BT, device = given.mask_BT.shape, given.mask_BT.device
    columns = [used_K[torch.randint(len(used_K), shape_BT, generator=given.generator)] for used_K in given.used_QK]
    codes_BTQ = torch.stack(columns, -1).to(device).masked_fill(~given.mask_BT.unsqueeze(-1), -1)
    return given.model.quantizer.lookup(codes_BTQ).to(given.vectors_BTE.dtype), given.mask_BT


SWAPPED = "swapped"
"""The damage that needs two sentences."""
DAMAGES: Mapping[str, Damage] = {
    "shuffled": _shuffled,
    "dropped": _dropped,
    "zeroed": _zeroed,
    "replaced": _replaced,
}


@measure("latent_use")
@torch.no_grad()
def latent_use(probed: Probed) -> Found:
    """Measures how much the cross-entropy rises when the codes are damaged."""
    model, size = probed.model, probed.spec.evaluate.batch_size
    device, generator = _device(model), torch.Generator().manual_seed(probed.seed)
    used_QK, part = _used(probed), ""
    chars, rises = 0, dict[str, float]()
    with stage("damaging the codes", len(probed.texts), "sentences") as now:
        for indices, batch in evaluation_batches(probed.split, size, limit=probed.num_sentences):
            batch = batch.to(device)
            memory = model.encode_memory(batch)
            plain = float(model.losses(batch, memory=memory).nll_sum)
            chars += int(batch.num_chars_B.sum())
            (vectors_BTE, mask_BT), part = _latents(model, memory), _part(model, memory)
            given = Latents(model, vectors_BTE, mask_BT, used_QK, generator)
            is_one = vectors_BTE.shape[1] < batch.mask_BT.shape[1]
            for name in _possible(part == "codes", is_one):
                changed = model.with_latents(memory, *DAMAGES[name](given))
                rises[name] = rises.get(name, 0.0) + float(model.losses(batch, memory=changed).nll_sum) - plain
            now.advance(len(indices))
    if len(probed.texts) > 1:
        rises = {SWAPPED: _rise_of_swapped(probed), **rises}
    found = {name: rise / max(1, chars) for name, rise in rises.items()}
    rows: list[Row] = [{"damage": name, "to": part, "rise, nats a character": rise} for name, rise in found.items()]
    return Found({f"latent_use/{name}": rise for name, rise in found.items()}, {"Use of the latent": rows})


def _rise_of_swapped(probed: Probed) -> float:
    """Returns the rise of the cross-entropy when each sentence has the latents of the one before it by length, nats.

    Which one that is, batches do not decide.
    """
    model, size, rise = probed.model, probed.spec.evaluate.batch_size, 0.0
    for batch in batches_behind_one(probed.split, size, probed.num_sentences):
        batch = batch.to(_device(model))
        memory = model.encode_memory(batch)
        vectors_BTE, mask_BT = _latents(model, memory)
        changed = model.with_latents(memory, vectors_BTE.roll(1, 0), mask_BT.roll(1, 0))
        rise += float(model.losses(batch, memory=changed).nll_sum) - float(model.losses(batch, memory=memory).nll_sum)
    return rise


def _latents(model: TextAutoencoder, memory: Memory) -> tuple[Tensor, Tensor]:
    """Returns the vectors that are damaged, (B, T, E), and the mask of their real positions, (B, T)."""
    vectors_BTE = model.latents_of(memory)
    return vectors_BTE, memory.mask_BM[:, memory.mask_BM.shape[1] - vectors_BTE.shape[1] :]  # prompts come first


def _device(model: TextAutoencoder) -> torch.device:
    return next(model.parameters()).device


def _possible(are_codes: bool, is_one: bool) -> list[str]:
    """Returns the damages that codes, other vectors, or one latent a sentence can have."""
    without = ({"replaced"} if not are_codes else set()) | ({"shuffled"} if is_one else set())
    return [name for name in DAMAGES if name not in without]


def _part(model: TextAutoencoder, memory: Memory) -> str:
    """Returns what of a model is damaged."""
    if model.latents_of(memory) is not memory.bottleneck.quantized_BTE:
        return "memory"
    return "codes" if model.has_codes else "vectors of the bottleneck"


def _used(probed: Probed) -> list[Tensor]:
    """Returns the codes that the probed sentences use, of each codebook; none without codes."""
    if not probed.codes:
        return []
    return [torch.from_numpy(np.unique(codes_N)) for codes_N in np.concatenate(probed.codes).T]
