"""`fsq`: rounding by hand, its gradient, the library's codes, and levels for a codebook size."""

from __future__ import annotations

import math

import pytest
import torch
from vector_quantize_pytorch import FSQ

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.fsq import PUBLISHED_LEVELS, FSQConfig, levels_for


def test_three_and_four_levels_by_hand() -> None:
    quantizer = FSQConfig(levels=(3, 4)).build(2)
    packed = quantizer.quantize_packed(torch.tensor([[0.2, 0.0], [1.0, 5.0], [-1.0, -5.0]]))
    # tanh .2 * 1.001 rounds to 0, tanh 1 to 1; four levels are -2, -1, 0, 1 over 2
    assert packed.quantized_NC.tolist() == [[0.0, 0.0], [1.0, 0.5], [-1.0, -1.0]]
    assert packed.codes_NQ.flatten().tolist() == [1 + 3 * 2, 2 + 3 * 3, 0 + 3 * 0]


def test_the_gradient_is_that_of_the_bounding_function() -> None:
    quantizer = FSQConfig(levels=(5,)).build(1)
    inputs_NC = torch.tensor([[0.3]], requires_grad=True)
    quantizer.quantize_packed(inputs_NC).quantized_NC.backward()
    assert inputs_NC.grad.item() == pytest.approx((1 - math.tanh(0.3) ** 2) * 2.002 / 2)


@pytest.mark.parametrize("levels", [(8, 6, 5), (5, 5, 5, 4), (7, 5, 5, 5, 5)])
def test_codes_and_values_are_the_librarys(levels: tuple[int, ...]) -> None:
    inputs_NC = 2 * torch.randn(500, len(levels))
    expected_NC, expected_N = FSQ(list(levels))(inputs_NC.unsqueeze(0))
    packed = FSQConfig(levels=levels).build(len(levels)).quantize_packed(inputs_NC)
    torch.testing.assert_close(packed.quantized_NC, expected_NC[0])
    assert torch.equal(packed.codes_NQ[:, 0], expected_N[0].long())


def test_ifsq_spreads_normal_inputs_evenly_between_the_bounds() -> None:
    torch.manual_seed(0)
    inputs_NC = torch.randn(20_000, 1)
    furthest = {}
    for bound in ("tanh", "sigmoid"):
        bounded_N = FSQConfig(levels=(5,), bound=bound).build(1).bounded(inputs_NC).flatten() / 2.002
        uniform_N = torch.linspace(-1, 1, 20_000)
        furthest[bound] = float((bounded_N.sort().values - uniform_N).abs().max())
    assert furthest["sigmoid"] < 0.05 < 0.1 < furthest["tanh"]


@pytest.mark.parametrize("size", [3, 24, 25, 100, 512, 1000, 2000, 8192, 22_000])
def test_levels_come_close_to_the_codebook_size(size: int) -> None:
    levels = levels_for(size)
    assert 0.75 * size <= math.prod(levels) <= size
    assert size < 25 or min(levels) >= 5


def test_the_papers_levels_are_kept() -> None:
    assert levels_for(1024) == (8, 5, 5, 5)
    assert all(0.8 * size <= math.prod(levels) <= 1.2 * size for size, levels in PUBLISHED_LEVELS.items())


def test_too_few_levels_are_refused() -> None:
    with pytest.raises(SettingError, match=r"quantizer.levels=\[5, 2\] must have"):
        FSQConfig.parse({"levels": [5, 2]})
