"""Rates under chains, through a whole evaluation: identical codebooks count once, and nothing else changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from baseline_runs import build, tiny
from torch import Tensor

from t5vqvae.data import PreparedData, prepare
from t5vqvae.evaluation import chains
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.latent.prior import CodeSequences, cross_entropy_bits
from t5vqvae.quantizers.base import Packed

JOINT, PRIOR, UPPER = "rate/joint_bits_per_token", "rate/prior_bits_per_token", "rate/bits_per_token"
LARGE = {"data.corpus.size": 4000, "data.corpus.validation_size": 400, "evaluate.num_generated": 0}
Codes = Callable[[int], Tensor]
"""Returns the codes (N, Q) of N positions."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def data_of(cache: Path, **overrides: Any) -> PreparedData:
    return prepare(tiny("t5vqvae", **{**LARGE, **overrides}).data, cache)


def metrics_of(model: Any, cache: Path, train: bool = True, **overrides: Any) -> dict[str, float]:
    spec = tiny("t5vqvae", **{**LARGE, **overrides})
    data = prepare(spec.data, cache)
    return evaluate(model, data.validation, spec, train=data.train if train else None, everything=True).metrics


def model_with(codes: Codes, sizes: tuple[int, ...], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model whose positions get made-up codes, whatever its states are."""
    model = build(tiny("t5vqvae", **LARGE), cache)
    monkeypatch.setattr(model.quantizer, "code_sizes", sizes)
    monkeypatch.setattr(
        model.quantizer, "quantize_packed", lambda inputs_NC, roles_N=None: Packed(inputs_NC, codes(len(inputs_NC)))
    )
    return model


def even(size: int, times: int) -> Codes:
    draws = torch.Generator().manual_seed(0)
    return lambda num: torch.randint(size, (num, 1), generator=draws).repeat(1, times)


def test_two_identical_codebooks_of_32_even_codes_cost_five_bits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = metrics_of(model_with(even(32, 2), (32, 32), cache, monkeypatch), cache)
    assert found[UPPER] == pytest.approx(10, abs=0.05), "the sum of marginal entropies counts them twice"
    assert found[JOINT] == pytest.approx(5, abs=0.06) and found[PRIOR] == pytest.approx(5, abs=0.06)


def test_two_independent_codebooks_cost_their_sum(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(0)
    codes: Codes = lambda num: torch.randint(8, (num, 2), generator=draws)  # noqa: E731
    found = metrics_of(model_with(codes, (8, 8), cache, monkeypatch), cache)
    assert found[JOINT] == pytest.approx(6, abs=0.06) and found[UPPER] == pytest.approx(6, abs=0.06)


def test_a_large_codebook_is_not_cheap(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 even bits from some thousand positions, of which no pair of codes repeats."""
    draws = torch.Generator().manual_seed(0)
    codes: Codes = lambda num: torch.randint(4096, (num, 2), generator=draws)  # noqa: E731
    found = metrics_of(model_with(codes, (4096, 4096), cache, monkeypatch), cache)
    assert found[JOINT] == pytest.approx(24, abs=0.3) and found[UPPER] < 23.5


def test_one_constant_code_is_free(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constant: Codes = lambda num: torch.full((num, 1), 3)  # noqa: E731
    found = metrics_of(model_with(constant, (32,), cache, monkeypatch), cache)
    assert 0 <= found[JOINT] < 0.01 and 0 <= found[PRIOR] < 0.01


def test_what_the_codes_before_say_is_not_paid_again(cache: Path) -> None:
    """Sentences of a grammar: the codes of an untrained encoder's first states say what may follow."""
    found = metrics_of(build(tiny("t5vqvae", **LARGE, **{"model.position": 0}), cache), cache)
    assert found[PRIOR] < found[JOINT] - 0.5


def test_rates_are_of_the_codes_and_not_of_their_use(cache: Path) -> None:
    """A decoder that ignores the codes leaves all three rates to the bit."""
    model = build(tiny("t5vqvae", **LARGE), cache)
    before = metrics_of(model, cache)
    with torch.no_grad():
        for block in model.decoder.block:
            block.layer[1].EncDecAttention.o.weight.zero_()
    after = metrics_of(model, cache)
    assert after["validation/latent_gain"] == pytest.approx(0, abs=1e-6) != before["validation/latent_gain"]
    assert [after[key] for key in (UPPER, JOINT, PRIOR)] == [before[key] for key in (UPPER, JOINT, PRIOR)]


def test_chains_change_no_other_metric_no_random_state_and_no_model(cache: Path) -> None:
    model = build(tiny("t5vqvae", **LARGE, **{"model.dropout": 0.1}), cache)
    decode = {"evaluate.num_generated": 4}
    plain = metrics_of(model, cache, train=False, **decode)
    states, codes = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()), model.last_codes
    found = metrics_of(model, cache, **decode)
    assert set(found) - set(plain) == {JOINT, PRIOR, "rate/joint_bits_per_char", "rate/prior_bits_per_char"}
    assert {key: found[key] for key in plain} == plain
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[2]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(model.last_codes, codes) and model.training


def test_batches_change_nothing(cache: Path) -> None:
    model = build(tiny("t5vqvae", **LARGE), cache)
    found = [metrics_of(model, cache, **{"evaluate.batch_size": size}) for size in (7, 128)]
    for key in (JOINT, PRIOR):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-5)


def test_every_run_counts_the_same_number_of_positions(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def noted(first: CodeSequences, second: CodeSequences, sizes: Any, most: int) -> list[float]:
        counted.append(len(first.codes_NQ))
        return [0.0] * (most + 1)

    monkeypatch.setattr(chains, "cross_entropies_bits", noted)
    for position in (0, 2):
        metrics_of(build(tiny("t5vqvae", **LARGE, **{"model.position": position}), cache), cache)
    small = {"data.corpus.size": 60}
    metrics_of(build(tiny("t5vqvae", **{**LARGE, **small}), cache), cache, **small)
    whole = data_of(cache, **small).train.num_tokens
    assert whole < chains.COUNTED_POSITIONS < data_of(cache).train.num_tokens
    assert counted == [chains.COUNTED_POSITIONS] * 2 + [whole]


def test_no_more_sentences_are_encoded_than_needed(cache: Path) -> None:
    train = data_of(cache).train
    order, needed = np.random.default_rng(0).permutation(len(train)), chains.num_counted_sentences(train)
    lengths = train.source_lengths_N[order[:needed]]
    assert lengths[:-1].sum() < chains.COUNTED_POSITIONS <= lengths.sum()


def test_the_rate_by_hand(cache: Path) -> None:
    """The chain over codes that the model's own `encode` gives, in the split's order."""
    spec = tiny("t5vqvae", **LARGE)
    model, data = build(spec, cache).eval(), prepare(spec.data, cache)
    found = evaluate(model, data.validation, spec, train=data.train, everything=True).metrics

    def codes(split: Any, indices: list[int]) -> CodeSequences:
        with torch.no_grad():
            each = [model.encode_memory(split.batch([index])).bottleneck.codes_BTQ[0].numpy() for index in indices]
        return CodeSequences.of(each)

    chosen = sorted(np.random.default_rng(0).permutation(len(data.train))[: chains.num_counted_sentences(data.train)])
    counted = codes(data.train, chosen).first(chains.COUNTED_POSITIONS)
    scored = codes(data.validation, list(range(len(data.validation))))
    assert found[JOINT] == pytest.approx(cross_entropy_bits(counted, scored, [32]), rel=1e-3)
    assert found[PRIOR] == pytest.approx(cross_entropy_bits(counted, scored, [32], num_before=2), rel=1e-3)
