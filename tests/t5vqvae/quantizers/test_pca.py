"""`pca`: the components are those of PCA, bits go to the largest variances, and the cells are optimal by hand."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import Normal

from t5vqvae.quantizers.pca import PCAConfig, PCAQuantizer


def fitted(codebook_size: int = 64, width: int = 6, num: int = 4000) -> tuple[PCAQuantizer, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([8.0, 4.0, 1.0, 0.1, 0.05, 0.01])[:width]
    turned = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q
    states = (torch.randn(num, width, generator=generator) * scales) @ turned.T + 3.0
    quantizer = PCAConfig(codebook_size=codebook_size).build(width)
    quantizer.start(states)
    return quantizer, states


def test_the_components_are_those_of_pca() -> None:
    quantizer, states = fitted()
    reference = PCA(n_components=3).fit(states.numpy())
    ours, theirs = quantizer.components_BC[:3], torch.as_tensor(reference.components_, dtype=torch.float32)
    torch.testing.assert_close((ours * theirs).sum(-1).abs(), torch.ones(3), rtol=0, atol=1e-4)
    expected = torch.as_tensor(reference.explained_variance_, dtype=torch.float32).sqrt()
    torch.testing.assert_close(quantizer.spread_B[:3], expected, rtol=1e-4, atol=1e-4)


def test_bits_go_to_the_largest_distortion_left() -> None:
    """Variances 64, 16, 1 by hand: 64 -> 16 | 16, then 4 | 4, ..., so six bits give 8 x 4 x 2 levels or 16 x 4 x 1."""
    quantizer, _ = fitted(64)
    levels = quantizer.levels_B.tolist()
    assert math.prod(levels) == 64 and levels[0] >= levels[1] >= levels[2] and levels[3:] == [1, 1, 1]
    left = [64 / levels[0] ** 2, 16 / levels[1] ** 2, 1 / levels[2] ** 2]
    assert max(left) / min(left) <= 4.5, "no bit would have done better elsewhere"
    assert quantizer.code_sizes == (64,) and quantizer.log2_codes == 6


@pytest.mark.parametrize("codebook_size", [2, 64, 100, 1024])
def test_it_takes_no_more_bits_than_a_codebook_of_that_size(codebook_size: int) -> None:
    quantizer, states = fitted(codebook_size)
    codes = quantizer.quantize_packed(states).codes_NQ
    assert quantizer.code_sizes[0] <= codebook_size < 2 * quantizer.code_sizes[0]
    assert codes.min() >= 0 and codes.max() < quantizer.code_sizes[0]


def test_a_cell_comes_back_as_its_mean() -> None:
    """Four cells of N(0, 1) end at the quartiles; their means are compared with samples and with published tables."""
    quantizer = PCAConfig(codebook_size=4).build(1)
    quantizer.levels_B.copy_(torch.tensor([4, 1]))
    middles = quantizer._middles(torch.tensor([[0, 0], [1, 0], [2, 0], [3, 0]]))[:, 0]
    torch.testing.assert_close(middles, torch.tensor([-1.2711, -0.3247, 0.3247, 1.2711]), rtol=0, atol=1e-3)
    drawn = torch.randn(200_000, generator=torch.Generator().manual_seed(1)).sort().values.reshape(4, -1).mean(-1)
    torch.testing.assert_close(middles, drawn, rtol=0, atol=0.01)
    ends = Normal(0.0, 1.0).icdf(torch.tensor([0.25, 0.5, 0.75]))
    inputs = torch.cat([ends - 1e-3, ends + 1e-3])[:, None] * quantizer.components_BC[0, 0]
    cells = quantizer.quantize_packed(inputs).codes_NQ[:, 0]
    assert cells.tolist() == [0, 1, 2, 1, 2, 3]


def test_cells_are_equally_frequent_so_that_the_rate_is_all_of_it() -> None:
    quantizer, states = fitted(16)
    counts = torch.bincount(quantizer.quantize_packed(states).codes_NQ[:, 0], minlength=16)
    share = counts / counts.sum()
    assert -(share * share.log2()).sum() > 3.95


def test_the_gradient_passes_through_the_plane_of_the_components_alone() -> None:
    quantizer, states = fitted()
    inputs = states[:5].clone().requires_grad_()
    upstream = torch.randn(5, 6)
    (gradient,) = torch.autograd.grad(quantizer.quantize_packed(inputs).quantized_NC, inputs, upstream)
    kept = quantizer.components_BC[quantizer.levels_B > 1]
    torch.testing.assert_close(gradient, upstream @ kept.T @ kept)


def test_it_follows_the_states_and_refits_when_it_is_time() -> None:
    """Moving averages of mean and covariance by hand; the components change at the second step, not at the first."""
    quantizer = PCAConfig(codebook_size=16, decay=0.75, refit_every=2).build(6).train()
    quantizer.start(fitted()[1])
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    states = torch.randn(50, 6, generator=torch.Generator().manual_seed(7)) * torch.arange(1.0, 7.0)
    for step in (1, 2):
        quantizer.quantize_packed(states)
        quantizer.update()
        share = 0.75**step
        expected = share * before["moving_covariance_CC"] + (1 - share) * torch.cov(states.T)
        torch.testing.assert_close(quantizer.moving_covariance_CC, expected)
        torch.testing.assert_close(
            quantizer.moving_mean_C, share * before["moving_mean_C"] + (1 - share) * states.mean(0)
        )
        assert torch.equal(quantizer.components_BC, before["components_BC"]) is (step == 1)
    values, vectors = torch.linalg.eigh(quantizer.moving_covariance_CC)
    torch.testing.assert_close((vectors[:, -1] @ quantizer.components_BC[0]).abs(), torch.tensor(1.0))
    torch.testing.assert_close(quantizer.spread_B[0], values[-1].sqrt())


def test_it_is_linear_but_for_rounding_and_has_nothing_to_train() -> None:
    """Moves outside the plane are lost, more bits give less error, and there are no parameters."""
    quantizer, states = fitted()
    assert not list(quantizer.parameters())
    lost = torch.linalg.qr(torch.cat([quantizer.components_BC[:3].T, torch.randn(6, 3)], 1)).Q[:, -1]
    moved, stayed = (quantizer.quantize_packed(x).quantized_NC for x in (states + 5 * lost, states))
    torch.testing.assert_close(moved, stayed, rtol=1e-3, atol=1e-3)
    errors = []
    for size in (4, 64, 1024):
        finer, _ = fitted(size)
        errors.append(float((finer.quantize_packed(states).quantized_NC - states).square().mean()))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
