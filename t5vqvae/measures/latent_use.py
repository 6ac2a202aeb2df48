"""Use of the latent: how much worse the text becomes when the decoder reads a damaged memory.

Three damages, each over the same sentences: another sentence's memory, the sentence's own positions in another order,
and zeros. The rise of the cross-entropy is in nats a character; near 0 means that the decoder ignores what was damaged.
The damage is done to the decoder's memory, which is the codes' vectors themselves at the end of the encoder, and what
later encoder blocks made of them before.

Letters: B batch, M positions of the memory, E model width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from t5vqvae.data import evaluation_batches
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.models.contract import Memory
from t5vqvae.stages import stage

Damage = Callable[[Memory, torch.Generator], Memory]


def _reordered(memory: Memory, generator: torch.Generator) -> Memory:
    """Returns a memory with each sentence's real positions in a random order."""
    keys_BM = torch.rand(memory.mask_BM.shape, generator=generator).to(memory.mask_BM.device)
    order_BM = keys_BM.masked_fill(~memory.mask_BM, 2.0).argsort(1)  # padding stays behind
    return replace(memory, states_BME=memory.states_BME.take_along_dim(order_BM.unsqueeze(-1), 1))


DAMAGES: Mapping[str, Damage] = {
    "swapped": lambda memory, generator: memory.shifted(),
    "reordered": _reordered,
    "zeroed": lambda memory, generator: replace(memory, states_BME=torch.zeros_like(memory.states_BME)),
}


@measure("latent_use")
@torch.no_grad()
def latent_use(probed: Probed) -> Found:
    """Measures how much the cross-entropy rises when the memory is damaged."""
    model, size = probed.model, probed.spec.evaluate.batch_size
    device, generator = next(model.parameters()).device, torch.Generator().manual_seed(probed.seed)
    plain, chars, damaged = 0.0, 0, dict.fromkeys(DAMAGES, 0.0)
    with stage("damaging the memory", len(probed.texts), "sentences") as now:
        for indices, batch in evaluation_batches(probed.split, size, limit=probed.num_sentences):
            batch = batch.to(device)
            memory = model.encode_memory(batch)
            plain += float(model.losses(batch, memory=memory).nll_sum)
            chars += int(batch.num_chars_B.sum())
            for name, damage in DAMAGES.items():
                damaged[name] += float(model.losses(batch, memory=damage(memory, generator)).nll_sum)
            now.advance(len(indices))
    rises = {name: (total - plain) / max(1, chars) for name, total in damaged.items()}
    rows: list[Row] = [{"memory": name, "rise, nats a character": rise} for name, rise in rises.items()]
    return Found({f"latent_use/{name}": rise for name, rise in rises.items()}, {"Use of the latent": rows})
