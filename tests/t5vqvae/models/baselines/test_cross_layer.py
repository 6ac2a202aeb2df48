"""CLVQ-VAE's cross-layer form: which states are quantized and predicted, what learns, and the removal test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from baseline_runs import batch_of, build, finish, tiny
from plain_t5 import saved_t5

from t5vqvae.errors import SettingError
from t5vqvae.models.baselines.base import shift_right
from t5vqvae.models.baselines.cross_layer import AdaptiveResidual, without
from t5vqvae.models.contract import load_model

SMALL = {"model.num_layers": 1, "model.num_heads": 4, "model.d_ff": 64, "data.tokenizer.kind": "unigram"}


def cross_layer(cache: Path, network: Path, **overrides: Any) -> tuple[Any, Any]:
    spec = tiny("cross_layer", **{**SMALL, "model.backbone": str(network), **overrides})
    return build(spec, cache).eval(), batch_of(spec, cache)


def test_the_layers_are_the_networks_own(cache: Path, network: Path) -> None:
    """Against the network's hidden states, which Transformers counts the same way: after l blocks."""
    plain = load_model(network).eval()
    model, batch = cross_layer(cache, network, **{"model.from_layer": 0, "model.to_layer": 1})
    lower, upper = model.layers(batch)
    torch.testing.assert_close(lower, plain.shared(batch.input_ids_BT))
    seen: list[torch.Tensor] = []
    plain.encoder.block[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    top = plain.encoder(batch.input_ids_BT, batch.mask_BT).last_hidden_state
    torch.testing.assert_close(upper, seen[0])
    last, _ = cross_layer(cache, network)
    torch.testing.assert_close(last.layers(batch)[0], seen[0])
    torch.testing.assert_close(last.layers(batch)[1], top)


def test_the_loss_is_the_error_in_the_upper_layer(cache: Path, network: Path) -> None:
    model, batch = cross_layer(cache, network, **{"model.from_layer": 0, "model.to_layer": 1})
    with torch.no_grad():
        memory = model.encode_memory(batch)
        lower, upper = model.layers(batch)
        explained = model.explain(memory.bottleneck.quantized_BTE, model.residual(lower), batch.mask_BT)
    error = (explained - upper)[batch.mask_BT].square().mean()
    torch.testing.assert_close(memory.aux_loss, memory.bottleneck.aux_loss + error)
    assert (upper - lower)[batch.mask_BT].square().mean() > 1e-3, "another layer is explained than quantized"


def test_only_the_explanation_learns(cache: Path, network: Path) -> None:
    """The cross-entropy has no gradient at all, and the network stays as it was."""
    model, batch = cross_layer(cache, network)
    losses = model.train().losses(batch)
    assert not losses.nll_sum.requires_grad and not model.network.training
    losses.aux_loss.backward()
    learned = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert learned == {"residual", "explainer", "output"}
    spec = tiny("cross_layer", **SMALL, **{"model.backbone": str(network)})
    after, before = finish(spec, cache)[1], load_model(network).state_dict()
    assert all(torch.equal(after[f"network.{name}"], value) for name, value in before.items())


def test_the_network_goes_on_from_the_explanation(cache: Path, network: Path) -> None:
    """Were layer h explained perfectly, the cross-entropy would be the network's own."""
    plain = load_model(network).eval()
    for to_layer in (1, 2):
        model, batch = cross_layer(cache, network, **{"model.from_layer": 0, "model.to_layer": to_layer})
        with torch.no_grad():
            lower, upper = model.layers(batch)
            memory = model.upwards(upper, batch.mask_BT)
            logits = model._network_logits(memory, batch.mask_BT, shift_right(batch.labels_BS))
            nll = F.cross_entropy(logits.flatten(0, 1), batch.labels_BS.flatten(), reduction="sum")
            torch.testing.assert_close(nll, plain.losses(batch).nll_sum, rtol=1e-4, atol=1e-2)
            torch.testing.assert_close(model._nll(batch, lower), plain.losses(batch).nll_sum, rtol=1e-4, atol=1e-2)
            explained = model.losses(batch).nll_sum
        assert explained > plain.losses(batch).nll_sum + 1


def test_the_residual_map_by_hand() -> None:
    made, x = AdaptiveResidual(6), torch.randn(2, 3, 6)
    share = 0.5 / (1 + torch.exp(torch.tensor(-0.2)))
    y = x @ made.linear.weight.T + made.linear.bias
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(made(x), (1 - share) * x + share * y)
    assert float(share) == pytest.approx(0.275, abs=1e-3)


def test_the_residual_map_starts_close_to_the_identity() -> None:
    """W starts as the identity, so normalized states stay put; a random W moves them ten times as far."""
    x = F.layer_norm(torch.randn(200, 64), (64,))
    made = AdaptiveResidual(64).requires_grad_(False)
    assert torch.equal(made.linear.weight, torch.eye(64)) and not made.linear.bias.any()
    assert float((made(x) - x).norm() / x.norm()) < 0.04
    torch.nn.init.kaiming_uniform_(made.linear.weight, a=5**0.5)
    assert float((made(x) - x).norm() / x.norm()) > 0.3


def test_the_decoder_sees_codes_alone_unless_it_leaks(cache: Path, network: Path) -> None:
    for memory, expected in (("codes", False), ("states", True)):
        model, batch = cross_layer(cache, network, **{"model.memory": memory})
        quantized = torch.randn(len(batch), batch.mask_BT.shape[1], 32)
        first, second = (model.explain(quantized, torch.randn_like(quantized), batch.mask_BT) for _ in range(2))
        assert bool((first - second).abs().max() > 1e-3) is expected is model.leaks


def test_a_run_that_leaks_has_no_rate(cache: Path, network: Path) -> None:
    metrics = {}
    for memory in ("codes", "states"):
        overrides = {"model.backbone": str(network), "model.memory": memory, "train.eval_every": 6}
        metrics[memory] = finish(tiny("cross_layer", **SMALL, **overrides), cache)[0][-1].metrics
        assert {"cross_layer/unexplained", "faithfulness/salient", "faithfulness/random"} <= set(metrics[memory])
    assert "rate/bits_per_token" in metrics["codes"] and "rate/bits_per_token" not in metrics["states"]
    assert "codebook/perplexity" in metrics["states"]


def test_a_direction_is_projected_out_of_every_position() -> None:
    x, direction = torch.randn(3, 4, 5), torch.randn(3, 5)
    left = without(x, direction)
    torch.testing.assert_close(torch.einsum("bte,be->bt", left, direction), torch.zeros(3, 4), rtol=0, atol=1e-5)
    along = torch.randn(3, 4, 1) * direction.unsqueeze(1)
    torch.testing.assert_close(without(x + along, direction), left, rtol=1e-4, atol=1e-4)


def test_salience_is_complete(cache: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Integrated gradients add up to the change from nothing to the states (their completeness axiom)."""
    model, batch = cross_layer(
        cache, network, **{"model.faithfulness_steps": 64, "model.to_layer": 1, "model.from_layer": 0}
    )
    lower, total = model.layers(batch)[0], torch.zeros(())
    gradients = []
    original = torch.autograd.grad

    def keep(*args: Any, **kwargs: Any) -> Any:
        gradients.append(original(*args, **kwargs)[0])
        return (gradients[-1],)

    torch.autograd.grad, restore = keep, original
    try:
        salience = model.salience(batch, lower)
    finally:
        torch.autograd.grad = restore
    contribution = (torch.stack(gradients).mean(0) * lower).sum(-1)
    torch.testing.assert_close(salience, contribution.abs(), rtol=1e-4, atol=1e-4)  # sums of 64 terms, in another order
    with torch.no_grad():
        total = model._nll(batch, lower) - model._nll(batch, 1e-3 * lower)
    assert float(contribution.sum()) == pytest.approx(float(total), rel=0.15, abs=1.0)


def test_the_removal_test_removes_what_it_says(cache: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code whose vector is the direction that the network needs most raises the cross-entropy, a useless one not."""
    model, batch = cross_layer(cache, network)
    lower, _ = model.layers(batch)
    codes = model.encode_memory(batch).bottleneck.codes_BTQ
    main = torch.linalg.svd(lower[batch.mask_BT], full_matrices=False).Vh
    rises = []
    for direction in (main[0], main[-1]):
        monkeypatch.setattr(model.quantizer, "lookup", lambda codes, d=direction: d.expand(*codes.shape[:2], -1))
        measures = model.removal_test(batch, lower, codes)
        rises.append(measures["faithfulness/salient"][0])
        with torch.no_grad():
            by_hand = model._nll(batch, lower - (lower @ direction)[..., None] * direction) - model._nll(batch, lower)
        assert rises[-1] == pytest.approx(float(by_hand), rel=1e-3, abs=1e-2)
    assert rises[0] > rises[1] + 0.5
    assert model.removal_test(batch, lower, codes)["faithfulness/random"] == measures["faithfulness/random"]


def test_the_code_removed_is_the_most_salient_tokens(
    cache: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes that need nothing to be removed everywhere but at the salient token: the cross-entropy still rises."""
    model, batch = cross_layer(cache, network)
    lower, _ = model.layers(batch)
    codes = model.encode_memory(batch).bottleneck.codes_BTQ
    main = torch.linalg.svd(lower[batch.mask_BT], full_matrices=False).Vh
    salient = model.salience(batch, lower).masked_fill(~batch.mask_BT, -1).argmax(-1)
    assert (salient != 0).any()
    vectors = main[-1].expand(*codes.shape[:2], -1).clone()
    vectors[torch.arange(len(batch)), salient] = main[0]
    monkeypatch.setattr(model.quantizer, "lookup", lambda codes: vectors)
    rise = model.removal_test(batch, lower, codes)["faithfulness/salient"][0]
    with torch.no_grad():
        by_hand = model._nll(batch, without(lower, main[0].expand(len(batch), -1))) - model._nll(batch, lower)
    assert rise == pytest.approx(float(by_hand), rel=1e-3, abs=1e-2)


def test_a_plain_t5_checkpoint_can_be_explained(cache: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = saved_t5(tmp_path, d_model=32, d_kv=8)
    model, batch = cross_layer(cache, tmp_path, **{"model.to_layer": 2})
    with torch.no_grad():
        hidden = plain.encoder(batch.input_ids_BT, batch.mask_BT.long(), output_hidden_states=True).hidden_states
    for ours, theirs in zip(model.layers(batch), (hidden[1], hidden[2]), strict=True):
        torch.testing.assert_close(ours[batch.mask_BT], theirs[batch.mask_BT])
    model.save_pretrained(tmp_path / "ours")
    again = load_model(tmp_path / "ours").eval()
    assert torch.equal(again.losses(batch).nll_sum, model.losses(batch).nll_sum)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.from_layer": 2}, r"model.from_layer=2 must be less than model.to_layer, 2"),
        ({"model.to_layer": 3}, r"model.to_layer=3 must be at most 2"),
        ({"model.num_heads": 5}, r"model.num_heads=5 must divide the network's width, 32"),
    ],
)
def test_settings_that_do_not_fit_the_network_are_refused(
    cache: Path, network: Path, overrides: dict[str, int], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        cross_layer(cache, network, **overrides)


def test_a_network_with_a_bottleneck_is_refused(cache: Path, tmp_path: Path) -> None:
    build(tiny("t5vqvae"), cache).save_pretrained(tmp_path)
    with pytest.raises(SettingError, match="has a bottleneck; train a network"):
        cross_layer(cache, tmp_path)


def test_a_backbone_must_be_named() -> None:
    with pytest.raises(SettingError, match=r"model.backbone"):
        tiny("cross_layer")


def test_seeds_have_first_weights_of_their_own(cache: Path, tmp_path: Path) -> None:
    """Reading a plain T5 seeds torch, too."""
    saved_t5(tmp_path)
    sums = set()
    for seed in (0, 1, 2):
        model, _ = cross_layer(cache, tmp_path, seed=seed)
        sums.add(float(model.explainer[0].linear1.weight.sum()))
    assert len(sums) == 3


def test_random_directions_are_of_sentences_whatever_their_batch_is(cache: Path, network: Path) -> None:
    model, batch = cross_layer(cache, network)
    lower, _ = model.layers(batch)
    codes = model.encode_memory(batch).bottleneck.codes_BTQ
    whole = model.removal_test(batch, lower, codes)["faithfulness/random"]
    rise = 0.0
    for place in range(len(batch)):
        one = batch._map(lambda tensor, place=place: tensor[[place]])
        rise += model.removal_test(one, lower[[place]], codes[[place]])["faithfulness/random"][0]
    assert rise == pytest.approx(whole[0], rel=1e-3)
