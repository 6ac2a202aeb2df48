"""`gumbel`: a worked example of each form, its gradient by the published formula, its diversity term, its annealing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from t5vqvae.errors import SettingError
from t5vqvae.quantizers.gumbel import GumbelConfig, GumbelQuantizer
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.unfit import refuse_new


def built(**settings: object) -> GumbelQuantizer:
    return GumbelConfig.parse({"codebook_size": 3, "noise": False, **settings}).build(2)


def test_untied_takes_the_likeliest_by_its_own_logits_not_the_nearest() -> None:
    quantizer = built().eval()
    with torch.no_grad():
        quantizer.entries_QKD[0] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
        quantizer.logits_QKC[0] = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    packed = quantizer.quantize_packed(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert packed.codes_NQ[:, 0].tolist() == [2, 0]  # the nearest entry of the first is 0; logits 0, 0, 1
    assert packed.quantized_NC[0].tolist() == [5.0, 5.0]


@pytest.mark.parametrize(
    ("settings", "temperature"),
    [
        ({"form": "untied", "temperature": 0.5, "last_temperature": 0.5}, 0.5),
        ({"form": "tied", "temperature": 0.5, "last_temperature": 0.5}, 0.5),
        ({"form": "decoupled", "temperature": 0.1, "last_temperature": 0.1, "backward_temperature": 2.0}, 2.0),
    ],
)
def test_the_gradient_is_that_of_the_softmax_at_its_temperature(
    settings: dict[str, object], temperature: float
) -> None:
    quantizer = built(**settings)
    inputs_NC, pull_NC = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2)
    (quantizer.quantize_packed(inputs_NC).quantized_NC * pull_NC).sum().backward()
    got_NC, entries_KD = inputs_NC.grad, quantizer.entries_QKD[0].detach()
    inputs_NC.grad = None
    weights_NK = (_logits(quantizer, inputs_NC) / temperature).softmax(-1)
    ((weights_NK @ entries_KD) * pull_NC).sum().backward()
    torch.testing.assert_close(got_NC, inputs_NC.grad)


def _logits(quantizer: GumbelQuantizer, inputs_NC: Tensor) -> Tensor:
    if quantizer.config.form == "untied":
        return inputs_NC @ quantizer.logits_QKC[0].detach().T + quantizer.bias_QK[0].detach()
    return -torch.cdist(inputs_NC, quantizer.entries_QKD[0].detach()).square()


def test_decoupled_samples_at_its_own_temperature_and_its_gradient_sees_no_noise() -> None:
    settings = {"form": "decoupled", "temperature": 0.5, "last_temperature": 0.5, "backward_temperature": 2.0}
    quantizer = built(codebook_size=2, noise=True, **settings)
    with torch.no_grad():
        quantizer.entries_QKD[0] = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    inputs_NC = torch.zeros(20_000, 2, requires_grad=True)
    packed = quantizer.quantize_packed(inputs_NC)
    # Logits 0 and -1: softmax of 0 and -2. At the backward temperature, or at 1, it would be .38 or .27.
    assert packed.codes_NQ.float().mean().item() == pytest.approx(0.119, abs=0.01)
    packed.quantized_NC.sum().backward()
    assert torch.equal(inputs_NC.grad, inputs_NC.grad[:1].expand_as(inputs_NC))  # each has drawn another sample


def test_entries_learn_from_the_positions_that_took_them() -> None:
    quantizer = built()
    pull_NC = torch.randn(6, 2)
    packed = quantizer.quantize_packed(torch.randn(6, 2))
    grad_KD = torch.autograd.grad((packed.quantized_NC * pull_NC).sum(), quantizer.entries_QKD)[0][0]
    expected_KD = torch.zeros(3, 2).index_add_(0, packed.codes_NQ[:, 0], pull_NC)
    torch.testing.assert_close(grad_KD, expected_KD)


def test_the_diversity_term_by_hand() -> None:
    quantizer = built(codebook_size=2, diversity_weight=3.0)
    with torch.no_grad():
        quantizer.logits_QKC[0] = torch.tensor([[50.0, 0.0], [-50.0, 0.0]])
    apart = quantizer.quantize_packed(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).terms["diversity"]
    together = quantizer.quantize_packed(torch.tensor([[1.0, 0.0], [1.0, 0.0]])).terms["diversity"]
    assert apart.item() == pytest.approx(0.0, abs=1e-6)  # perplexity 2 of 2
    assert together.item() == pytest.approx(1.5)  # perplexity 1 of 2: 3 (1 - 1 / 2)


def test_the_temperature_falls_with_updates_and_is_kept_in_the_state() -> None:
    quantizer = built(temperature=2.0, last_temperature=0.5, anneal_steps=2)
    assert quantizer.temperature == 2.0
    quantizer.update()
    assert quantizer.temperature == pytest.approx(1.0)
    resumed = built(temperature=2.0, last_temperature=0.5, anneal_steps=2)
    resumed.load_state_dict(quantizer.state_dict())
    assert resumed.temperature == pytest.approx(1.0)


def test_training_samples_and_evaluation_does_not() -> None:
    quantizer = built(noise=True)
    inputs_NC = torch.zeros(300, 2)
    assert len(quantizer.quantize_packed(inputs_NC).codes_NQ.unique()) == 3
    assert len(quantizer.eval().quantize_packed(inputs_NC).codes_NQ.unique()) == 1


def test_a_temperature_that_rises_is_refused() -> None:
    with pytest.raises(SettingError, match="last_temperature=3 must be at most the first temperature, 2"):
        built(last_temperature=3.0)


def test_the_published_form_gives_each_entry_to_a_position_of_the_sentence() -> None:
    """Logits of a state (a, b) are a, b and 1, so that all positions of a sentence tie for entry 2 and win it."""
    quantizer = built(form="published").eval()
    with torch.no_grad():
        quantizer.logits_QKC[0] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        quantizer.bias_QK[0] = torch.tensor([0.0, 0.0, 1.0])
        quantizer.entries_QKD[0] = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    one, two = [[2.0, 1.0], [0.0, 3.0]], [[9.0, 9.0], [8.0, 8.0]]
    states_BTE, mask_BT = torch.tensor([one, two]), torch.ones(2, 2, dtype=torch.bool)
    out = quantizer(states_BTE, mask_BT)
    # (9, 9) wins entries 0 and 1; (8, 8) would take entry 0 by its own logits, and gets entry 2.
    assert out.codes_BTQ[..., 0].tolist() == [[0, 1], [0, 2]]
    lost = quantizer(torch.tensor([[[9.0, 9.0], [8.0, 8.0], [7.0, 7.0]]]), torch.tensor([[True, True, False]]))
    assert lost.codes_BTQ[..., 0].tolist() == [[0, 2, -1]], "padding wins nothing"


def test_no_cross_entropy_reaches_the_encoder_in_the_published_form_but_its_own_term_does() -> None:
    quantizer = built(form="published", noise=True)
    states_BTE, mask_BT = torch.randn(2, 4, 2, requires_grad=True), torch.ones(2, 4, dtype=torch.bool)
    out = quantizer(states_BTE, mask_BT)
    wanted = [states_BTE, quantizer.entries_QKD]
    of_states, of_entries = torch.autograd.grad(out.quantized_BTE.square().sum(), wanted, retain_graph=True)
    assert of_states.abs().max() == 0 and of_entries.abs().max() > 0
    entries_BTE = quantizer.lookup(out.codes_BTQ)
    # mean over 8 positions of the mean over 2 dimensions of (h - e)^2
    torch.testing.assert_close(out.aux_loss, (states_BTE - entries_BTE).square().mean())
    of_states, of_entries = torch.autograd.grad(out.aux_loss, wanted)
    torch.testing.assert_close(of_states, 2 * (states_BTE - entries_BTE).detach() / 16)
    assert of_entries.abs().max() > 0 and quantizer.logits_QKC.grad is None


@pytest.mark.parametrize(
    ("form", "name", "value"),
    [
        ("tied", "diversity_weight", 0.0),
        ("published", "temperature", 0.5),
        ("published", "last_temperature", 0.5),
        ("published", "anneal_steps", 300),
        ("published", "diversity_weight", 0.0),
        ("published", "commitment_weight", 1.0),
    ],
)
def test_no_run_begins_with_a_setting_that_the_form_does_not_read(form: str, name: str, value: float) -> None:
    """An earlier version kept such specs, so they are read."""
    spec = RunSpec.parse({"quantizer": {"name": "gumbel", "form": form, name: value}})
    with pytest.raises(SettingError, match=rf"quantizer.{name}={value} has no effect with quantizer.form={form}"):
        refuse_new(spec)
    refuse_new(spec.with_overrides({f"quantizer.{name}": GumbelConfig.model_fields[name].default}))


def test_the_way_out_holds_for_a_setting_that_the_base_hands_over() -> None:
    base = RunSpec().with_overrides({"quantizer.name": "ema", "quantizer.commitment_weight": 0.5})
    arm = {"quantizer.name": "gumbel", "quantizer.form": "published"}
    with pytest.raises(SettingError, match=r"quantizer.commitment_weight=0.5 .*; set it to its default, 0.0, or take"):
        refuse_new(base.with_overrides(arm))
    refuse_new(base.with_overrides({**arm, "quantizer.commitment_weight": 0.0}))
    with pytest.raises(SettingError, match=r"quantizer.temperature=0.5 .*; set it to its default, null, or take"):
        refuse_new(RunSpec().with_overrides({**arm, "quantizer.temperature": 0.5}))


@pytest.mark.parametrize(
    ("form", "refused"), [("untied", True), ("decoupled", True), ("tied", False), ("published", False)]
)
def test_micro_batches_are_refused_where_there_is_a_diversity_term(form: str, refused: bool) -> None:
    settings = {"quantizer": {"name": "gumbel", "form": form}, "train": {"microbatches": 2}}
    if not refused:
        assert RunSpec.parse(settings).quantizer.batch_terms == []
        return
    with pytest.raises(SettingError, match="diversity_weight"):
        RunSpec.parse(settings)
