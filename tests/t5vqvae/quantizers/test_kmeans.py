"""`kmeans`: the table stays fixed between re-clusterings; the ring buffer keeps the most recent inputs."""

from __future__ import annotations

import torch

from t5vqvae.quantizers import KMeansConfig
from t5vqvae.quantizers.kmeans import KMeansQuantizer


def build(**settings: object) -> KMeansQuantizer:
    return KMeansConfig(**{"codebook_size": 2, "vectors_per_code": 3, "recluster_every": 2, **settings}).build(1)


def step(quantizer: KMeansQuantizer, *values: float) -> None:
    quantizer(torch.tensor(values, requires_grad=True).view(1, -1, 1), torch.ones(1, len(values)))
    quantizer.update()


def test_reclusters_every_so_often_by_hand() -> None:
    quantizer = build()
    quantizer.entries_QKD.copy_(torch.tensor([[[0.0], [10.0]]]))
    step(quantizer, 1.0, 11.0)
    assert quantizer.entries_QKD.flatten().tolist() == [0.0, 10.0]
    step(quantizer, 2.0, 15.0)
    assert quantizer.entries_QKD.flatten().tolist() == [1.5, 13.0]


def test_the_ring_holds_the_most_recent_inputs() -> None:
    quantizer = build(recluster_every=100)
    for value in range(8):
        step(quantizer, float(value))
    assert sorted(quantizer.rings_QPD.flatten().tolist()) == [2, 3, 4, 5, 6, 7]
    kept = set()
    for _ in range(20):
        step(quantizer, *map(float, range(20, 29)))
        ring = set(quantizer.rings_QPD.flatten().tolist())
        assert len(ring) == 6 and ring < set(range(20, 29)), "of a larger step some"
        kept |= ring
    assert kept == set(range(20, 29)), "and not always those of one side"


def test_a_step_larger_than_the_ring_costs_no_side_of_the_space() -> None:
    torch.manual_seed(0)
    quantizer = KMeansConfig(codebook_size=16, recluster_every=5).build(2)
    centres = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, -3.0], [0.0, 3.0]])
    inputs = (centres.repeat(160, 1) + 0.1 * torch.randn(640, 2)).requires_grad_()
    assert quantizer.rings_QPD.shape[1] == 160
    quantizer.start(inputs.detach())
    for _ in range(16):
        quantizer(inputs[None], torch.ones(1, 640))
        quantizer.update()
    nearest = torch.cdist(centres, quantizer.entries_QKD[0]).amin(1)
    assert float(nearest.max()) < 0.2


def test_each_codebook_has_a_ring_and_a_shared_one_takes_all_parts() -> None:
    states_BTE = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
    apart = KMeansConfig(codebook_size=2, num_codebooks=2).build(2)
    shared = KMeansConfig(codebook_size=2, num_codebooks=2, shared_codebook=True).build(2)
    for quantizer in (apart, shared):
        quantizer(states_BTE, torch.ones(1, 1))
        quantizer.update()
    assert apart.rings_QPD[:, 0, 0].tolist() == [1.0, 2.0] and apart.num_noted_Q.tolist() == [1, 1]
    assert shared.rings_QPD[0, :2, 0].tolist() == [1.0, 2.0] and shared.num_noted_Q.tolist() == [2]


def test_steps_without_positions_recluster_nothing() -> None:
    quantizer = build()
    before = quantizer.entries_QKD.clone()
    for _ in range(4):
        quantizer.update()
    assert torch.equal(quantizer.entries_QKD, before)


def test_multi_writes_each_input_once() -> None:
    quantizer = build(selection="multi", num_samples=5, recluster_every=100)
    step(quantizer, 1.0, 2.0)
    assert quantizer.num_noted_Q.tolist() == [2] and quantizer.rings_QPD[0, :2, 0].tolist() == [1.0, 2.0]
