"""Instance-aware prompts: IA-GPL's formulas by hand, what the decoder reads, and their share of the rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from baseline_runs import batch_of, build, finish, tiny

from t5vqvae.data import prepare
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.quantizers.base import Packed
from t5vqvae.quantizers.prompts import PHMLinear, PromptConfig

PROMPTS = {"model.prompts.num_prompts": 3, "model.prompts.hidden_width": 16, "model.prompts.codebook_size": 8}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of tokenized data that the tests of this file share."""
    return tmp_path_factory.mktemp("cache")


def test_a_phm_layer_is_a_sum_of_kronecker_products() -> None:
    layer = PHMLinear(8, 12)
    by_hand = sum(torch.kron(layer.mixing[i], layer.blocks[i]) for i in range(4))
    torch.testing.assert_close(layer.weight, by_hand)
    x = torch.randn(3, 8)
    torch.testing.assert_close(layer(x), x @ by_hand.T + layer.bias)
    assert sum(p.numel() for p in layer.parameters()) == 4 * 16 + 8 * 12 // 4 + 12


def test_prompts_by_hand() -> None:
    """p_c + sg(p_q - p_c) + p_emb with p_q the mean of the sampled entries, and weight * ||sg(p_q) - p_c||^2."""
    torch.manual_seed(0)
    prompts = PromptConfig(num_prompts=2, hidden_width=8, codebook_size=6, num_samples=5).build(16).train()
    with torch.no_grad():
        prompts.embedding_PE.normal_()
    states = torch.randn(4, 16, requires_grad=True)
    given, output = prompts(states)
    table, p_c = prompts.quantizer.tables_QKD[0], prompts.candidates(states)
    p_q = given - prompts.embedding_PE
    weights = torch.linalg.lstsq(table.T, p_q.flatten(0, 1).T).solution * 5  # how often each entry was drawn
    torch.testing.assert_close(weights, weights.round(), rtol=0, atol=1e-3)
    torch.testing.assert_close(weights.sum(0), torch.full((8,), 5.0), rtol=0, atol=1e-2)
    torch.testing.assert_close(output.aux_loss, 0.01 * (p_q - p_c).square().mean())
    upstream = torch.randn_like(given)
    (through,) = torch.autograd.grad(given, states, upstream, retain_graph=True)
    (straight,) = torch.autograd.grad(p_c, states, upstream)
    torch.testing.assert_close(through, straight)


def test_in_evaluation_each_prompt_is_one_entry() -> None:
    prompts = PromptConfig(num_prompts=2, hidden_width=8, codebook_size=6).build(16).eval()
    states = torch.randn(4, 16)
    given, output = prompts(states)
    nearest = torch.cdist(prompts.candidates(states), prompts.quantizer.tables_QKD[0]).argmin(-1)
    assert torch.equal(output.codes_BTQ[..., 0], nearest)
    assert torch.equal(prompts.embed(output.codes_BTQ), given)


def test_the_decoder_sees_the_prompts_before_the_codes(cache: Path) -> None:
    spec = tiny("t5vqvae", **PROMPTS)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        memory = model.encode_memory(batch)
        prompts = model.prompts.embed(memory.prompt_codes_BPQ)
        assert torch.equal(memory.states_BME[:, :3], prompts) and memory.mask_BM[:, :3].all()
        assert torch.equal(memory.states_BME[:, 3:], memory.bottleneck.quantized_BTE)
        before = model.losses(batch).nll_sum
        model.prompts.embedding_PE += torch.randn_like(model.prompts.embedding_PE)
        assert model.losses(batch).nll_sum != before


def test_another_input_gives_other_prompts(cache: Path) -> None:
    spec = tiny("t5vqvae", **PROMPTS)
    model = build(spec, cache).eval()
    states = model.encode_states(["a cat eats fish", "gravity makes the moon move"])[0].mean(1)
    first, second = model.prompts.candidates(states)
    assert (first - second).abs().max() > 1e-4


def test_the_rate_counts_the_prompts(cache: Path) -> None:
    """Two counts over the whole split by hand: bits of positions, and bits of prompts times prompts a position."""
    (last,) = finish(tiny("t5vqvae", **PROMPTS, **{"train.eval_every": 6}), cache)[0]
    model, metrics = last.state.model, last.metrics
    per_position = torch.tensor(last.code_counts[0], dtype=torch.double)
    share = per_position / per_position.sum()
    positions = float(-(share[share > 0] * share[share > 0].log2()).sum())
    tokens_a_sentence = metrics["rate/bits_per_sentence"] / metrics["rate/bits_per_token"]
    prompt_bits = torch.tensor(metrics["prompts/perplexity"]).log2().item()
    expected = positions + 3 * prompt_bits / tokens_a_sentence
    assert metrics["rate/bits_per_token"] == pytest.approx(expected, rel=1e-6)
    assert metrics["rate/log2_codes"] == pytest.approx(5 + 3 * 3 / tokens_a_sentence)
    assert model.prompts.quantizer._num_updates == 6


def test_the_rate_under_chains_counts_the_prompts_by_a_chain_of_their_own(cache: Path) -> None:
    """One constant code everywhere else: what is left are the prompts' bits, three a sentence."""
    spec = tiny("t5vqvae", **PROMPTS, **{"evaluate.num_generated": 0})
    model, data = build(spec, cache), prepare(spec.data, cache)
    draws = torch.Generator().manual_seed(0)

    def quantized(codes: Any) -> Any:
        return lambda inputs_NC, roles_N=None: Packed(inputs_NC, codes(len(inputs_NC)))

    model.quantizer.quantize_packed = quantized(lambda num: torch.zeros(num, 1, dtype=torch.long))
    model.prompts.quantizer.quantize_packed = quantized(lambda num: torch.randint(8, (num, 1), generator=draws))
    found = evaluate(model, data.validation, spec, train=data.train, everything=True).metrics
    expected = 3 * 3 * len(data.validation) / data.validation.num_tokens
    for key in ("rate/joint_bits_per_token", "rate/prior_bits_per_token", "rate/bits_per_token"):
        assert found[key] == pytest.approx(expected, rel=0.05)


def test_continuous_prompts_leak_and_have_no_rate(cache: Path) -> None:
    (last,) = finish(tiny("t5vqvae", **PROMPTS, **{"model.prompts.quantize": False, "train.eval_every": 6}), cache)[0]
    assert last.state.model.leaks and not [key for key in last.metrics if key.endswith("bits_per_token")]
    quantized = build(tiny("t5vqvae", **PROMPTS), cache)
    assert sum(p.numel() for p in quantized.parameters()) == last.metrics["cost/parameters"]


def test_decoding_from_codes_needs_the_prompts_codes(cache: Path) -> None:
    spec = tiny("t5vqvae", **PROMPTS)
    model: Any = build(spec, cache).eval()
    texts = ["a cat eats fish", "the moon is a satellite"]
    codes, prompt_codes = model.encode(texts), model.encode_prompts(texts)
    with pytest.raises(ValueError, match="prompt_codes_BPQ"):
        model.decode(codes)
    with pytest.raises(ValueError, match="use greedy"):
        model.generate(torch.ones(1, 3, dtype=torch.long))
    from t5vqvae.models.contract import reconstruct

    assert model.decode(codes, 8, prompt_codes_BPQ=prompt_codes) == reconstruct(model, texts, 8)[0]
