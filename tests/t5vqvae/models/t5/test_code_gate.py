"""The learned gate: its distribution, its price, what the decoder reads, and the order in which codes are left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import batch_of, build, finish, tiny
from torch import Tensor

from t5vqvae.config import Overrides
from t5vqvae.data import prepare
from t5vqvae.errors import SettingError
from t5vqvae.models.codes import NOT_SENT
from t5vqvae.models.contract import load_model
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.models.t5.code_gate import CodeGate
from t5vqvae.models.t5.not_sent import NotSent
from t5vqvae.models.t5.sparse import left_out
from t5vqvae.training.trainer import train

GATED: Overrides = {"train.code_dropout": 0.6, "train.gate_price": 0.2}
STEPS: Overrides = {"train.max_steps": 40, "train.eval_every": 40}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_gates_have_mass_at_both_ends_and_the_cost_is_the_share_that_is_not_zero() -> None:
    torch.manual_seed(0)
    gate, mask_BT = CodeGate(4, price=0.5), torch.ones(1, 200_000, dtype=torch.bool)
    for logit in (-1.0, 0.0, 2.0):
        logits_BT = torch.full((1, 200_000), logit)
        drawn_BT = gate.draw(logits_BT)
        assert drawn_BT.min() >= 0 and drawn_BT.max() <= 1
        assert (drawn_BT == 0).any() and (drawn_BT == 1).any(), "clamped, not squashed"
        expected = 0.5 * (drawn_BT > 0).float().mean()
        assert gate.cost(logits_BT, mask_BT) == pytest.approx(float(expected), abs=0.003)


def test_the_cost_by_hand() -> None:
    # sigmoid(0 - 2/3 ln(.1 / 1.1)) = 1 / (1 + 11 ** (-2/3)) = .83182; padding costs nothing
    mask_BT = torch.tensor([[True, True, False]])
    assert CodeGate(4, price=2.0).cost(torch.zeros(1, 3), mask_BT) == pytest.approx(2 * 0.83182, abs=1e-4)


def test_gates_start_open_wherever_the_states_are() -> None:
    gate = CodeGate(4, price=0.1)
    logits_BT = gate.logits(torch.randn(3, 5, 4))
    assert torch.equal(logits_BT, torch.full((3, 5), 1.0))
    assert gate.cost(logits_BT, torch.ones(3, 5, dtype=torch.bool)).item() / 0.1 > 0.9


def test_the_decoder_reads_a_mixture_of_code_and_vector() -> None:
    entry = NotSent(2, most=0.5)
    torch.nn.init.constant_(entry.vector_E, 4.0)
    mixed_BTE = entry.mix(torch.zeros(1, 3, 2), torch.tensor([[0.0, 0.25, 1.0]]))
    assert mixed_BTE[0, :, 0].tolist() == [4.0, 3.0, 0.0]


def test_the_gate_says_what_is_tried_first_and_the_bound_still_decides() -> None:
    weights_BT = torch.tensor([[0.3, 0.1, 0.2, 9.0], [0.3, 9.0, 0.1, 0.0]])
    mask_BT = torch.tensor([[True, True, True, True], [True, True, True, False]])

    def score(sentences_N: Tensor, out_NT: Tensor) -> Tensor:
        return (weights_BT[sentences_N] * out_NT).sum(1)

    gate_BT = torch.tensor([[0.0, 2.0, 1.0, -1.0], [1.0, -1.0, 0.0, -9.0]])
    # Sentence 0: position 3 is never possible; 0 alone .3, then 2 would make .5, 1 makes .4. Sentence 1: 1 is not
    # possible, 2 and 0 make .4.
    out_BT = left_out(score, mask_BT, 0.5, gate_BT)
    assert out_BT.tolist() == [[True, True, False, False], [True, False, True, False]]
    assert left_out(score, mask_BT, 0.5).tolist() == [[False, True, True, False], [True, False, True, False]]


def test_a_price_closes_gates_whose_codes_save_less_and_is_part_of_the_loss(cache: Path) -> None:
    model, batch = build(tiny("t5vqvae", **GATED), cache).train(), batch_of(tiny("t5vqvae"), cache)
    losses = model.losses(batch)
    bottleneck = model.encoder.output
    share = (losses.aux_loss - bottleneck.aux_loss).item() / 0.2
    assert 0.9 < share < 1, "open at first"
    losses.aux_loss.backward()
    assert model.encoder.gate.linear.bias.grad > 0, "the price pushes gates to be closed"
    model.eval()
    assert torch.equal(model.losses(batch).aux_loss, model.encoder.output.aux_loss), "nothing is drawn or paid then"


def test_a_high_price_leaves_more_gates_closed_than_a_low_one(cache: Path) -> None:
    shares = []
    for price in (0.001, 5.0):
        words = {**GATED, "train.gate_price": price, "optim.learning_rate": 0.02, **STEPS}
        model = finish(tiny("t5vqvae", **words), cache)[0][-1].state.model.eval()
        batch = batch_of(tiny("t5vqvae"), cache)
        logits_BT = model.encoder.gate.logits(model.encode_memory(batch).states_BTE)
        shares.append(model.encoder.gate.cost(logits_BT, batch.mask_BT).item() / price)
    assert shares[1] < shares[0] - 0.1


def test_the_gate_is_saved_loaded_and_orders_what_encode_leaves_out(cache: Path, tmp_path: Path) -> None:
    model = build(tiny("t5vqvae", **GATED), cache).eval()
    assert isinstance(model, T5VQVAE) and model.encoder.gate is not None
    torch.manual_seed(3)
    torch.nn.init.normal_(model.encoder.gate.linear.weight)
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, T5VQVAE) and loaded.encoder.gate is not None
    assert torch.equal(loaded.encoder.gate.linear.weight, model.encoder.gate.linear.weight)
    model.quantizer.active = loaded.eval().quantizer.active = True
    text = "a bat eats honey in a cave"
    codes_TQ = model.encode([text], unsent=1e4)[0]
    assert torch.equal(codes_TQ, loaded.encode([text], unsent=1e4)[0])
    states_BTE, _ = model.encode_states([text])
    sent = (codes_TQ != NOT_SENT).all(-1).nonzero().squeeze(1).tolist()
    assert sent == [int(model.encoder.gate.logits(states_BTE)[0].argmax())], "the last one that could go"


def test_a_resumed_run_draws_the_gates_that_an_uninterrupted_one_draws(cache: Path, tmp_path: Path) -> None:
    spec = tiny("t5vqvae", **GATED)
    whole = finish(spec, cache)[1]
    path = next(train(spec, cache_dir=cache)).state.save(tmp_path)
    torch.manual_seed(99)
    resumed = finish(spec, cache, resume_from=path)[1]
    assert any("gate" in name for name in whole)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_a_model_from_a_backbone_has_all_of_its_parts(cache: Path, tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    tokenizer = prepare(tiny("t5vqvae").data, cache).tokenizer
    tokenizer.save_pretrained(tmp_path)
    T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    parts = {**GATED, "train.rate_price": 0.1, "train.code_swap": 0.1}
    backbone = {"model.backbone": str(tmp_path), "data.tokenizer.kind": "auto"}
    model = build(tiny("t5vqvae", **parts, **backbone), cache)
    assert not any(weight.is_meta for weight in model.state_dict().values())
    assert model.encoder.gate.linear.bias.item() == 1 and not model.encoder.prior.logits.weight.any()


def test_prompts_and_gate_are_both_paid(cache: Path) -> None:
    spec = tiny("t5vqvae", **GATED, **{"model.prompts.num_prompts": 2})
    model, batch = build(spec, cache).train(), batch_of(tiny("t5vqvae"), cache)
    for quantizer in model.quantizers:
        quantizer.active = True
    model.encoder.gate.price = 0.0
    torch.manual_seed(1)
    free = model.losses(batch).aux_loss
    model.encoder.gate.price = 1.0
    torch.manual_seed(1)
    paid = model.losses(batch).aux_loss
    assert 0.9 < (paid - free).item() < 1


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (
            {"train.gate_price": 0.2},
            r"train.gate_price=0.2 needs an entry for what is not sent; set train.code_dropout",
        ),
        ({**GATED, "train.gate_price": 0.0}, r"train.gate_price=0"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(overrides: Overrides, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        tiny("t5vqvae", **overrides)
