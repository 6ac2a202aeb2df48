"""`lfq`: signs by hand, and the factorised entropy against a softmax over all codes and against the library."""

from __future__ import annotations

import pytest
import torch
from vector_quantize_pytorch import LFQ

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.lfq import LFQConfig, code_mass, coin_entropy


def test_signs_by_hand() -> None:
    packed = LFQConfig(codebook_size=8).build(3).quantize_packed(torch.tensor([[0.5, -2.0, 0.1], [-1.0, 0.0, -0.1]]))
    assert packed.quantized_NC.tolist() == [[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]
    assert packed.codes_NQ.flatten().tolist() == [5, 0]


@pytest.mark.parametrize("num_bits", [1, 4, 5])
def test_entropies_are_those_of_a_softmax_over_all_codes(num_bits: int) -> None:
    torch.manual_seed(0)
    inputs_NC, temperature = torch.randn(30, num_bits), 0.7
    bits_KC = (torch.arange(2**num_bits).unsqueeze(-1) >> torch.arange(num_bits - 1, -1, -1)) & 1
    p_NK = (-torch.cdist(inputs_NC, 2.0 * bits_KC - 1.0).square() / temperature).softmax(-1)
    log_odds_NC = 4 * inputs_NC / temperature
    torch.testing.assert_close(code_mass(log_odds_NC), p_NK.sum(0), rtol=1e-4, atol=1e-5)
    expected_N = -(p_NK * p_NK.clamp_min(1e-30).log()).sum(-1)
    torch.testing.assert_close(coin_entropy(log_odds_NC).sum(-1), expected_N, rtol=1e-4, atol=1e-5)


def test_the_entropy_loss_is_the_librarys() -> None:
    torch.manual_seed(0)
    inputs_NC = 0.02 * torch.randn(40, 6)
    library = LFQ(dim=6, codebook_size=64, entropy_loss_weight=0.1, diversity_gamma=1.5, commitment_loss_weight=0.0)
    expected = library(inputs_NC.unsqueeze(0), inv_temperature=100.0).entropy_aux_loss
    config = LFQConfig(codebook_size=64, entropy_weight=0.1, diversity=1.5, commitment_weight=0.0)
    got = config.build(6).quantize_packed(inputs_NC).terms
    assert float(got["entropy"]) == pytest.approx(float(expected), rel=1e-3)


def test_the_entropy_loss_prefers_sure_positions_spread_over_all_codes() -> None:
    quantizer = LFQConfig(codebook_size=4, entropy_weight=1.0, inverse_temperature=1.0).build(2)
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    spread, unsure, alike = (
        float(quantizer.quantize_packed(5 * x).terms["entropy"])
        for x in (corners, 0.01 * corners, corners[:1].repeat(4, 1))
    )
    assert spread < unsure and spread < alike


def test_a_size_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(SettingError, match="codebook_size=1000 must be a power of two for lfq, 512 or 1024"):
        LFQConfig.parse({"codebook_size": 1000})
