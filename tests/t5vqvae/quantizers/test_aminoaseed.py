"""`aminoaseed`: frozen rows from the data, a map with a bias, every entry moved by a step."""

from __future__ import annotations

import torch

from t5vqvae.quantizers.aminoaseed import AminoAseedConfig, tiled


def test_too_few_rows_repeat_in_a_random_order_all_with_little_noise() -> None:
    vectors_MD = torch.randn(3, 400)
    rows_KD = tiled(vectors_MD, 7, torch.Generator().manual_seed(0))
    distances_KM = torch.cdist(rows_KD, vectors_MD)
    torch.testing.assert_close(distances_KM.amin(-1), torch.full((7,), 0.01), rtol=0.15, atol=0)
    nearest_K = distances_KM.argmin(-1)
    assert sorted(torch.bincount(nearest_K).tolist()) == [2, 2, 3]
    assert nearest_K.tolist() != [0, 1, 2, 0, 1, 2, 0]


def test_enough_rows_are_a_random_permutation_without_noise() -> None:
    vectors_MD = torch.arange(100.0)[:, None]
    rows_KD = tiled(vectors_MD, 40, torch.Generator().manual_seed(0))
    assert len(set(rows_KD.flatten().tolist())) == 40 and set(rows_KD.flatten().tolist()) <= set(range(100))
    assert rows_KD.flatten().tolist() != list(range(40))


def test_the_entries_are_a_map_with_a_bias_of_the_states_of_the_start() -> None:
    states_NC = torch.randn(5, 2)
    quantizer = AminoAseedConfig(codebook_size=5).build(2)
    quantizer.start(states_NC)
    with torch.no_grad():
        quantizer.maps_QDD.copy_(torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]))
        quantizer.bias_Q1D.copy_(torch.tensor([[[10.0, 20.0]]]))
    frozen_NC = quantizer.frozen_QKD[0]
    assert sorted(frozen_NC.tolist()) == sorted(states_NC.tolist())
    expected_KD = torch.stack([2 * frozen_NC[:, 1] + 10, frozen_NC[:, 0] + 20], -1)
    torch.testing.assert_close(quantizer.tables_QKD[0], expected_KD)
    codes_N1 = quantizer.eval().quantize_packed(expected_KD[[3, 1]]).codes_NQ
    assert codes_N1.flatten().tolist() == [3, 1]


def test_a_step_moves_every_entry_and_leaves_the_table_frozen() -> None:
    quantizer = AminoAseedConfig(codebook_size=30).build(4)
    quantizer.start(torch.randn(30, 4))
    frozen, before = quantizer.frozen_QKD.clone(), quantizer.tables_QKD.detach()
    sum(quantizer.quantize_packed(torch.ones(1, 4)).terms.values()).backward()
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter -= 0.1 * parameter.grad
    quantizer.update()
    assert torch.equal(quantizer.frozen_QKD, frozen)
    assert ((quantizer.tables_QKD - before).abs().sum(-1) > 0).all()
