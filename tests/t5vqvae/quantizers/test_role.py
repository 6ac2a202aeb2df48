"""`role`: offsets of slices by hand, revival and start within a slice, roles that do not fit."""

from __future__ import annotations

import pytest
import torch

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.role import RoleConfig, RoleQuantizer


def line(num_roles: int = 2, **settings: object) -> RoleQuantizer:
    """Returns entries 0 to 6 of width 1: slices 0-1 for role 1, 2-3 for role 2, 4-6 for none."""
    quantizer = RoleConfig.parse({"codebook_size": 7, "revive_below": None, **settings}).build(1, num_roles)
    quantizer.entries_QKD.copy_(torch.arange(7.0).view(1, 7, 1))
    return quantizer


def test_slices_by_hand() -> None:
    assert line().slices == [(0, 2), (2, 4), (4, 7)]
    packed = line().quantize_packed(torch.full((4, 1), 2.6), torch.tensor([1, 2, 0, 1]))
    assert packed.codes_NQ.flatten().tolist() == [1, 3, 4, 1]
    assert packed.quantized_NC.flatten().tolist() == [1.0, 3.0, 4.0, 1.0]


def test_without_roles_in_the_batch_positions_take_the_last_slice() -> None:
    assert line().quantize_packed(torch.tensor([[0.0], [5.2]])).codes_NQ.flatten().tolist() == [4, 5]


def test_without_roles_in_the_data_there_is_one_slice() -> None:
    assert line(num_roles=0).quantize_packed(torch.tensor([[0.0], [5.2]])).codes_NQ.flatten().tolist() == [0, 5]


def test_entries_learn_from_their_own_role() -> None:
    quantizer = line(decay=0.5)
    quantizer.quantize_packed(torch.full((2, 1), 3.0), torch.tensor([1, 2]))
    quantizer.update()
    assert quantizer.entries_QKD.flatten().tolist() == pytest.approx([0, 2, 2, 3, 4, 5, 6])


def test_revival_takes_inputs_of_the_own_role() -> None:
    quantizer = line(revive_below=0.5, decay=0.1)
    inputs_NC = torch.tensor([[-100.0], [-101.0], [100.0], [101.0]])
    for _ in range(5):
        quantizer.quantize_packed(inputs_NC, torch.tensor([1, 1, 2, 2]))
        quantizer.update()
    entries_K = quantizer.entries_QKD.flatten()
    assert (entries_K[:2] < -90).all() and (entries_K[2:4] > 90).all()
    assert entries_K[4:].tolist() == [4.0, 5.0, 6.0]


def test_far_from_an_entry_is_judged_by_the_inputs_of_all_roles() -> None:
    quantizer = line(revive_below=0.5, decay=0.1, revive_beyond=0.25)
    inputs_NC = torch.tensor([[2.0], [2.01], [-100.0], [-100.0]])  # the first role has one word, and hardly varies
    for _ in range(5):
        quantizer.quantize_packed(inputs_NC, torch.tensor([1, 1, 2, 2]))
        quantizer.update()
    entries_K = quantizer.entries_QKD.flatten()
    assert entries_K[0].item() == 0.0, "the other entry of the first role stays where it is"


def test_every_slice_starts_all_over_the_space() -> None:
    quantizer = RoleConfig(codebook_size=12).build(1, 2)
    quantizer.start(torch.cat([torch.randn(200, 1) - 50, torch.randn(200, 1) + 50]))
    for first, end in quantizer.slices:
        assert quantizer.entries_QKD[0, first:end].min() < -45 and quantizer.entries_QKD[0, first:end].max() > 45


def test_too_many_roles_are_refused() -> None:
    with pytest.raises(SettingError, match="codebook_size=4 must be at least 6"):
        RoleConfig(codebook_size=4).build(1, 5)
    with pytest.raises(ValueError, match="roles must lie between 0 and 2, got 1 to 3"):
        line().quantize_packed(torch.zeros(2, 1), torch.tensor([1, 3]))
