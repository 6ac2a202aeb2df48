"""`soft`: the average of entries by hand, soft and hard evaluation, and the gap between the two."""

from __future__ import annotations

import math

import pytest
import torch

from t5vqvae.quantizers.soft import SoftConfig, SoftQuantizer


def two_entries(**settings: object) -> SoftQuantizer:
    quantizer = SoftConfig.parse({"codebook_size": 2, "temperature": 1.0, "noise": False, **settings}).build(1)
    with torch.no_grad():
        quantizer.entries_KC.copy_(torch.tensor([[0.0], [2.0]]))
    return quantizer


def test_the_average_by_hand() -> None:
    packed = two_entries().quantize_packed(torch.tensor([[0.5], [1.0]]))
    expected = 2 / (1 + math.exp(2.25 - 0.25))  # squared distances 0.25 and 2.25
    assert packed.quantized_NC.flatten().tolist() == pytest.approx([expected, 1.0])
    assert packed.codes_NQ[0].tolist() == [0] and not packed.terms


def test_hard_and_soft_evaluation_differ_and_both_are_reported() -> None:
    quantizer = two_entries().eval()
    inputs_NC = torch.tensor([[0.5]])
    assert quantizer.quantize_packed(inputs_NC).quantized_NC.item() == 0.0
    quantizer.hard = False
    packed = quantizer.quantize_packed(inputs_NC)
    assert packed.quantized_NC.item() == pytest.approx(2 / (1 + math.exp(2)))
    assert packed.codes_NQ.item() == 0


def test_a_low_temperature_closes_the_gap() -> None:
    gaps = []
    for temperature in (10.0, 0.1):
        quantizer = two_entries(temperature=temperature, last_temperature=temperature).eval()
        inputs_NC = torch.linspace(-1, 0.8, 7).unsqueeze(-1)
        hard_NC = quantizer.quantize_packed(inputs_NC).quantized_NC
        quantizer.hard = False
        gaps.append((quantizer.quantize_packed(inputs_NC).quantized_NC - hard_NC).abs().mean().item())
    assert gaps[0] > 0.5 and gaps[1] < 0.05


def test_entries_learn_by_gradient_even_where_they_are_not_the_nearest() -> None:
    quantizer = two_entries()
    packed = quantizer.quantize_packed(torch.tensor([[0.5]]))
    grad_KC = torch.autograd.grad(packed.quantized_NC.sum(), quantizer.entries_KC)[0]
    assert (grad_KC.abs() > 0.1).all()


def test_noise_moves_the_average_in_training_alone() -> None:
    quantizer = two_entries(noise=True)
    inputs_NC = torch.full((50, 1), 0.5)
    assert quantizer.quantize_packed(inputs_NC).quantized_NC.std() > 0.1
    quantizer.eval().hard = False
    assert quantizer.quantize_packed(inputs_NC).quantized_NC.std() < 1e-6
