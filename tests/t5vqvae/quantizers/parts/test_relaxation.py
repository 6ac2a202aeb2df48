"""The choice by logits: noise, temperatures, blocks, marginals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from t5vqvae.quantizers.parts import relaxation
from t5vqvae.quantizers.parts.relaxation import (
    Relaxation,
    annealed,
    choose,
    gumbel_noise,
    likeliest,
    marginal_perplexity,
    negative_distances,
)


def test_negative_distances_by_hand() -> None:
    distances = negative_distances(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [4.0, 6.0]]))
    assert distances.tolist() == [[-4.0, -25.0]]


def test_samples_follow_the_softmax_at_the_forward_temperature() -> None:
    torch.manual_seed(0)
    logits_NK = torch.tensor([[0.0, 0.5, 1.0]]).repeat(40_000, 1)
    codes_N = choose(logits_NK, lambda x: x, torch.eye(3), Relaxation(1.0, True, 0.5)).codes_N
    expected_K = (logits_NK[0] / 0.5).softmax(-1)
    torch.testing.assert_close(torch.bincount(codes_N) / 40_000, expected_K, atol=0.01, rtol=0)


def test_gumbel_noise_has_the_mean_and_spread_of_its_law() -> None:
    torch.manual_seed(0)
    noise = gumbel_noise(torch.empty(200_000))
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.std()) == pytest.approx(math.pi / math.sqrt(6), abs=0.01)


def test_blocks_of_positions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs_NC, entries_KD = torch.randn(37, 5), torch.randn(11, 5)

    def gradients() -> list[Tensor]:
        x_NC, e_KD = inputs_NC.clone().requires_grad_(), entries_KD.clone().requires_grad_()
        choice = choose(x_NC, lambda part: negative_distances(part, e_KD), e_KD, Relaxation(0.7, False))
        (choice.mixed_ND.sin().sum() + choice.mass_K.square().sum()).backward()
        return [choice.codes_N, choice.mixed_ND, choice.mass_K, x_NC.grad, e_KD.grad]

    whole = gradients()
    monkeypatch.setattr(relaxation, "MAX_SCORES", 60)
    for part, all_at_once in zip(gradients(), whole, strict=True):
        torch.testing.assert_close(part, all_at_once)
    assert torch.equal(likeliest(inputs_NC, lambda part: negative_distances(part, entries_KD), 11), whole[0])


def test_marginal_perplexity_by_hand() -> None:
    assert float(marginal_perplexity(torch.tensor([2.0, 2.0, 0.0, 0.0]), 4, False)) == pytest.approx(2.0)
    assert float(marginal_perplexity(torch.tensor([3.0, 1.0]), 4, False)) == pytest.approx(4 / 3**0.75)


def test_annealing_by_hand() -> None:
    assert [annealed(2.0, 0.5, 100, step) for step in (0, 50, 100, 1000)] == pytest.approx([2.0, 1.0, 0.5, 0.5])
    assert [annealed(2.0, 1.0, 100, step, "cosine") for step in (0, 50, 100)] == pytest.approx([2.0, 1.5, 1.0])
