"""`simvq`: the mapped table by hand, the library's choice and loss, and which parts learn."""

from __future__ import annotations

import pytest
import torch
from vector_quantize_pytorch import SimVQ

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.simvq import SimVQConfig


def test_the_mapped_table_by_hand() -> None:
    quantizer = SimVQConfig(codebook_size=2, commitment_weight=0.5).build(2)
    quantizer.frozen_QKD.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    with torch.no_grad():
        quantizer.maps_QDD.copy_(torch.tensor([[[2.0, 1.0], [0.0, -1.0]]]))
    packed = quantizer.quantize_packed(torch.tensor([[1.0, 1.0]]))
    assert packed.codes_NQ.item() == 0 and packed.quantized_NC.tolist() == [[2.0, 1.0]]
    assert packed.terms["codebook"].item() == pytest.approx(0.5)  # mean of 1 and 0
    assert packed.terms["commitment"].item() == pytest.approx(0.25)


def test_choice_and_loss_are_the_librarys() -> None:
    torch.manual_seed(0)
    library = SimVQ(dim=6, codebook_size=20, rotation_trick=False)
    quantizer = SimVQConfig(codebook_size=20).build(6)
    quantizer.frozen_QKD.copy_(library.frozen_codebook.unsqueeze(0))
    with torch.no_grad():
        quantizer.maps_QDD.copy_(library.code_transform.weight.T.unsqueeze(0))
    inputs_NC = 0.3 * torch.randn(50, 6)
    expected_NC, codes_N, loss = library(inputs_NC.unsqueeze(0))
    packed = quantizer.quantize_packed(inputs_NC)
    assert torch.equal(packed.codes_NQ[:, 0], codes_N[0])
    torch.testing.assert_close(packed.quantized_NC, expected_NC[0])
    torch.testing.assert_close(sum(packed.terms.values()), loss)


def test_a_step_moves_every_entry_though_few_are_taken() -> None:
    quantizer = SimVQConfig(codebook_size=50).build(4)
    frozen, before = quantizer.frozen_QKD.clone(), quantizer.tables_QKD.detach()
    packed = quantizer.quantize_packed(torch.ones(1, 4))
    packed.terms["codebook"].backward()
    with torch.no_grad():
        quantizer.maps_QDD -= 0.1 * quantizer.maps_QDD.grad
    quantizer.update()
    assert torch.equal(quantizer.frozen_QKD, frozen)
    assert ((quantizer.tables_QKD - before).abs().sum(-1) > 0).all()


def test_revival_of_a_frozen_table_is_refused() -> None:
    with pytest.raises(SettingError, match=r"revive_below=0.1 must be null"):
        SimVQConfig.parse({"revive_below": 0.1})
    with pytest.raises(SettingError, match=r"revive_beyond=0.5 must be null"):
        SimVQConfig.parse({"revive_beyond": 0.5})
