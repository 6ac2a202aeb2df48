"""Concepts, and the removal test of faithfulness: does the decoder need the direction in which a role differs?

The concept of a role is the direction from the mean of all code vectors to the mean of those at the role's tokens. Its
part in every vector of a sentence is removed (all that is left is the mean's), and the rise of the cross-entropy is
measured over the sentences with the role, nats a character. The control removes a random direction instead. A direction
whose removal costs no more than that of a random one is no concept that the decoder uses, even if it correlates with
the role.

The direction is found on training sentences.

Letters: B batch, T positions, E model width, R roles.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from t5vqvae.data import evaluation_batches
from t5vqvae.data.prepare import NO_ROLE
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.models.baselines.gaussian import GaussianT5
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.stages import stage

NUM_TRAINING = 500


def without(vectors_BTE: Tensor, direction_E: Tensor, mean_E: Tensor) -> Tensor:
    """Returns vectors whose part along a direction of unit length is that of the mean."""
    along_BT1 = ((vectors_BTE - mean_E) @ direction_E).unsqueeze(-1)
    return vectors_BTE - along_BT1 * direction_E


@measure("concepts", "full")
@torch.no_grad()
def concepts(probed: Probed) -> Found:
    """Measures how much the decoder needs the direction of each role, next to a random one."""
    model = probed.model
    if not isinstance(model, T5VQVAE) or isinstance(model, GaussianT5) or model.leaks or not probed.split.has_roles:
        return Found()
    mean_E, directions = _directions(probed, model)
    generator = torch.Generator().manual_seed(probed.seed)
    rows: list[Row] = []
    with stage("removing concepts", len(directions), "roles") as now:
        for role, direction_E in directions.items():
            random_E = torch.randn(len(mean_E), generator=generator).to(mean_E)
            rises = _rises(probed, model, role, mean_E, [direction_E, random_E / random_E.norm()])
            if rises is not None:
                name = probed.role_names[role]
                rows.append({"role": name, "rise, nats a character": rises[0], "random direction": rises[1]})
            now.advance(1)
    metrics = {}
    if rows:
        metrics["concepts/removal"] = sum(float(row["rise, nats a character"] or 0) for row in rows) / len(rows)
        metrics["concepts/removal_random"] = sum(float(row["random direction"] or 0) for row in rows) / len(rows)
    return Found(metrics, {"Removal of a role's direction": rows})


def _directions(probed: Probed, model: T5VQVAE) -> tuple[Tensor, dict[int, Tensor]]:
    """Returns the mean vector of training sentences, and the direction of every role from it, of unit length."""
    learned = replace(probed, split=probed.train, num_sentences=NUM_TRAINING)
    size, rows, roles = probed.spec.evaluate.batch_size, list[Tensor](), list[Tensor]()
    for _, batch in evaluation_batches(learned.split, size, limit=NUM_TRAINING):
        batch = batch.to(model.device)
        assert batch.roles_BT is not None
        rows.append(model.encode_memory(batch).bottleneck.quantized_BTE[batch.mask_BT])
        roles.append(batch.roles_BT[batch.mask_BT])
    vectors_NE, roles_N = torch.cat(rows), torch.cat(roles)
    mean_E, none = vectors_NE.mean(0), list(probed.role_names).index(NO_ROLE)
    found = {int(role): vectors_NE[roles_N == role].mean(0) - mean_E for role in roles_N.unique() if int(role) != none}
    return mean_E, {role: shift_E / shift_E.norm() for role, shift_E in found.items() if float(shift_E.norm()) > 0}


def _rises(probed: Probed, model: T5VQVAE, role: int, mean_E: Tensor, directions: list[Tensor]) -> list[float] | None:
    """Returns the rise for every direction, over the sentences with a role; None if there are none."""
    rises, chars, size = [0.0] * len(directions), 0, probed.spec.evaluate.batch_size
    for _, batch in evaluation_batches(probed.split, size, limit=probed.num_sentences):
        batch = batch.to(model.device)
        assert batch.roles_BT is not None
        kept_B = (batch.roles_BT == role).any(1)
        if not bool(kept_B.any()):
            continue
        memory = model.encode_memory(batch)
        prompts = None if memory.prompt_codes_BPQ is None else memory.prompt_codes_BPQ[kept_B]
        mask_BT, labels_BS = batch.mask_BT[kept_B], batch.labels_BS[kept_B]
        vectors_BTE = memory.bottleneck.quantized_BTE[kept_B]
        plain = float(model.sentence_nll(vectors_BTE, mask_BT, labels_BS, prompts).sum())
        for place, direction_E in enumerate(directions):
            changed_BTE = without(vectors_BTE, direction_E, mean_E) * mask_BT.unsqueeze(-1)
            rises[place] += float(model.sentence_nll(changed_BTE, mask_BT, labels_BS, prompts).sum()) - plain
        chars += int(batch.num_chars_B[kept_B].sum())
    return [rise / chars for rise in rises] if chars else None
