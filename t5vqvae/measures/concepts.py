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

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from t5vqvae.data import evaluation_batches
from t5vqvae.data.batch import Batch
from t5vqvae.data.corpora.corpus import NO_ROLE
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.models.baselines.gaussian import GaussianT5
from t5vqvae.models.contract import Memory
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
    pairs = {role: (own_E, _random(len(mean_E), generator).to(mean_E)) for role, own_E in directions.items()}
    rows: list[Row] = []
    for role, rises in _rises(probed, model, mean_E, pairs).items():
        rows.append({"role": probed.role_names[role], "rise, nats a character": rises[0], "random direction": rises[1]})
    metrics = {}
    if rows:
        metrics["concepts/removal"] = sum(float(row["rise, nats a character"] or 0) for row in rows) / len(rows)
        metrics["concepts/removal_random"] = sum(float(row["random direction"] or 0) for row in rows) / len(rows)
    return Found(metrics, {"Removal of a role's direction": rows})


def _random(width: int, generator: torch.Generator) -> Tensor:
    found_E = torch.randn(width, generator=generator)
    return found_E / found_E.norm()


def _directions(probed: Probed, model: T5VQVAE) -> tuple[Tensor, dict[int, Tensor]]:
    """Returns the mean vector of training sentences, and the direction of every role from it, of unit length."""
    size, rows, roles = probed.spec.evaluate.batch_size, list[Tensor](), list[Tensor]()
    for _, batch in evaluation_batches(probed.train, size, limit=NUM_TRAINING):
        batch = batch.to(model.device)
        assert batch.roles_BT is not None
        rows.append(model.encode_memory(batch).bottleneck.quantized_BTE[batch.mask_BT])
        roles.append(batch.roles_BT[batch.mask_BT])
    vectors_NE, roles_N = torch.cat(rows), torch.cat(roles)
    mean_E, none = vectors_NE.mean(0), list(probed.role_names).index(NO_ROLE)
    found = {int(role): vectors_NE[roles_N == role].mean(0) - mean_E for role in roles_N.unique() if int(role) != none}
    return mean_E, {role: shift_E / shift_E.norm() for role, shift_E in found.items() if float(shift_E.norm()) > 0}


def _rises(
    probed: Probed, model: T5VQVAE, mean_E: Tensor, directions: Mapping[int, Sequence[Tensor]]
) -> dict[int, list[float]]:
    """Returns the rise for every direction of each role, over the sentences with the role."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    chars: dict[int, int] = defaultdict(int)
    number, size = min(len(probed.split), probed.num_sentences), probed.spec.evaluate.batch_size
    with stage("removing concepts", number, "sentences") as now:
        for indices, batch in evaluation_batches(probed.split, size, limit=probed.num_sentences):
            batch = batch.to(model.device)
            assert batch.roles_BT is not None
            memory = model.encode_memory(batch)
            vectors_BTE = memory.bottleneck.quantized_BTE
            plain_B = _nll(model, batch, memory, vectors_BTE, batch.mask_BT.any(1))
            present = {role: (batch.roles_BT == role).any(1) for role in directions}
            for role, has_B in ((role, has_B) for role, has_B in present.items() if bool(has_B.any())):
                for place, direction_E in enumerate(directions[role]):
                    changed_BTE = without(vectors_BTE, direction_E, mean_E) * batch.mask_BT.unsqueeze(-1)
                    rises = _nll(model, batch, memory, changed_BTE, has_B) - plain_B[has_B]
                    sums[role][place] += float(rises.sum())
                chars[role] += int(batch.num_chars_B[has_B].sum())
            now.advance(len(indices))
    return {role: [rise / chars[role] for rise in found] for role, found in sorted(sums.items())}


def _nll(model: T5VQVAE, batch: Batch, memory: Memory, vectors_BTE: Tensor, which_B: Tensor) -> Tensor:
    """Returns the cross-entropy of some sentences given changed vectors."""
    prompts = None if memory.prompt_codes_BPQ is None else memory.prompt_codes_BPQ[which_B]
    return model.sentence_nll(vectors_BTE[which_B], batch.mask_BT[which_B], batch.labels_BS[which_B], prompts)
