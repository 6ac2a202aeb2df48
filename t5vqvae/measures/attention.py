"""Cross-attention: where the decoder looks while it writes, by layer and head, with teacher forcing.

All of a head's attention falls on the memory, so its sum says nothing. Measured are the shares of its mass

- on the *aligned* position, that of the source token which is written: `aligned`, next to that of uniform attention;
- on the last position, the end of the text, where attention rests when it reads nothing: `end`;
- on prompts, where the model has some: `prompts`.

For corpora whose target is the source. Many aligned heads mean that codes are copied one by one.

Letters: B batch, H heads, S decoder positions, M positions of the memory, P prompts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from t5vqvae.data import evaluation_batches
from t5vqvae.data.batch import Batch
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.models.t5 import T5VQVAE

NUM_SENTENCES = 200


def masses(weights_BHSM: Tensor, mask_BS: Tensor, num_prompts: int) -> dict[str, Tensor]:
    """Returns the share of each head's mass on parts of the memory, shape (H,), and that of uniform attention.

    Args:
        weights_BHSM: Attention weights, which add up to 1 over the memory.
        mask_BS: True at real target positions; the memory has the same ones behind its prompts.
        num_prompts: Prompts in front of the memory.
    """
    own_BHSS = weights_BHSM[..., num_prompts:]
    real_BS, lengths_B = mask_BS.to(own_BHSS.dtype), mask_BS.sum(1)
    total = real_BS.sum()
    diagonal_BHS = own_BHSS.diagonal(dim1=2, dim2=3)
    last_BHS = own_BHSS.gather(3, (lengths_B - 1)[:, None, None, None].expand(*own_BHSS.shape[:3], 1)).squeeze(3)
    uniform = (real_BS.sum(1) / (lengths_B + num_prompts)).sum() / total
    found = {
        "aligned": (diagonal_BHS * real_BS[:, None]).sum((0, 2)) / total,
        "uniform": uniform.expand(own_BHSS.shape[1]),
        "end": (last_BHS * real_BS[:, None]).sum((0, 2)) / total,
    }
    if num_prompts:
        on_prompts_BHS = weights_BHSM[..., :num_prompts].sum(3)
        found["prompts"] = (on_prompts_BHS * real_BS[:, None]).sum((0, 2)) / total
    return found


@measure("attention")
@torch.no_grad()
def attention(probed: Probed) -> Found:
    """Measures where cross-attention falls."""
    model = probed.model
    if not isinstance(model, T5VQVAE) or probed.spec.data.max_target_length is not None:
        return Found()
    sums, total = dict[tuple[int, int], dict[str, float]](), 0
    limit, size = min(probed.num_sentences, NUM_SENTENCES), probed.spec.evaluate.batch_size
    with _weights_of(model) as layers:
        for _, batch in evaluation_batches(probed.split, size, limit=limit):
            batch = batch.to(model.device)
            if not _is_copied(batch):
                return Found()
            memory = model.encode_memory(batch)
            model.losses(batch, memory=memory)
            num_prompts = memory.states_BME.shape[1] - batch.mask_BT.shape[1]
            if num_prompts < 0:
                return Found()
            for layer, weights_BHSM in sorted(layers.items()):
                for name, found_H in masses(weights_BHSM, batch.mask_BT, num_prompts).items():
                    for head, value in enumerate(found_H.tolist()):
                        part = sums.setdefault((layer, head), defaultdict(float))
                        part[name] += value * batch.num_source_tokens
            total += batch.num_source_tokens
    return _found(sums, total)


def _found(sums: dict[tuple[int, int], dict[str, float]], total: int) -> Found:
    rows: list[Row] = [
        {"layer": layer, "head": head, **{name: value / total for name, value in part.items()}}
        for (layer, head), part in sums.items()
    ]
    names = [name for name in ("aligned", "uniform", "end", "prompts") if all(name in row for row in rows)]
    columns = {name: [float(row[name] or 0) for row in rows] for name in names}
    metrics = {f"attention/{name}": sum(column) / len(column) for name, column in columns.items() if column}
    if columns.get("aligned"):
        metrics["attention/aligned_best"] = max(columns["aligned"])
    return Found(metrics, {"Cross-attention by layer and head": rows})


def _is_copied(batch: Batch) -> bool:
    """Whether targets are the sources."""
    labels_BS, mask_BT = batch.labels_BS, batch.mask_BT
    return labels_BS.shape == mask_BT.shape and bool((labels_BS == batch.input_ids_BT)[mask_BT].all())


@contextmanager
def _weights_of(model: T5VQVAE) -> Iterator[dict[int, Tensor]]:
    """Keeps the cross-attention weights of the latest pass by layer, meanwhile computed so that they exist."""
    kept, before = dict[int, Tensor](), model.config._attn_implementation
    layers = [block.layer[1].EncDecAttention for block in model.decoder.block]  # type: ignore[union-attr,index]

    def keep(number: int) -> object:
        def hook(module: nn.Module, given: object, output: tuple[Tensor, ...]) -> None:
            kept[number] = output[-1]

        return hook

    model.set_attn_implementation("eager")
    handles = [layer.register_forward_hook(keep(number)) for number, layer in enumerate(layers)]  # type: ignore
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
        model.set_attn_implementation(before)
