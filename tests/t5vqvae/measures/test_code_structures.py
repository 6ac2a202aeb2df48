"""Prefixes of residual codes, the order of a curve and the soft-hard gap, on planted models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from baseline_runs import finish, tiny

from t5vqvae.data import evaluation_batches, prepare
from t5vqvae.measures.base import Probed
from t5vqvae.measures.coded_words import CodedWord
from t5vqvae.measures.curve_order import order
from t5vqvae.measures.prefixes import prefixes
from t5vqvae.measures.soft_gap import soft_gap
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.quantizers.sfvq import SFVQQuantizer
from t5vqvae.quantizers.soft import SoftQuantizer

SHORT = {"train.max_steps": 2, "train.eval_every": 2, "evaluate.num_examples": 8, "evaluate.num_generated": 2}


def probed(cache: Path, name: str, **words: Any) -> Probed:
    """An untrained model with a quantizer, probed on 30 validation sentences."""
    spec = tiny("t5vqvae", **{**SHORT, "quantizer.name": name, **words})
    model = finish(spec, cache)[0][-1].state.model.eval()
    data = prepare(spec.data, cache)
    return Probed(model, spec, data.train, data.validation, "validation", data.role_names, cache, 30, 20)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def with_words(base: Probed, words: list[CodedWord]) -> Probed:
    """The same probe of given words."""
    copy = replace(base)
    copy.__dict__["words"] = words
    return copy


def test_a_first_code_that_names_the_role_is_pure_and_the_second_names_the_word(cache: Path) -> None:
    base = probed(cache, "vq", **{"quantizer.codebook_size": 8})
    texts = [("bat", "ARG0"), ("cat", "ARG0"), ("eats", "V"), ("sees", "V")] * 25
    words = [
        CodedWord(number, 0, text, role, (0 if role == "V" else 1, number % 4))
        for number, (text, role) in enumerate(texts)
    ]
    found = prefixes(with_words(base, words))
    assert found.metrics["prefix/role_purity"] == 1 and found.metrics["prefix/word_purity"] == 0.5
    assert found.metrics["prefix/role_purity_shuffled"] < 0.7 and found.metrics["prefix/word_purity_shuffled"] < 0.5
    table = found.tables["Purity of prefixes"]
    assert [row["purity"] for row in table if row["about"] == "word"] == [0.5, 1.0]
    assert prefixes(with_words(base, [replace(word, codes=word.codes[:1]) for word in words])).metrics == {}


def test_corners_on_a_line_are_in_order_and_dealt_anew_are_not(cache: Path) -> None:
    base = probed(cache, "sfvq", **{"quantizer.codebook_size": 32, "quantizer.first_corners": 32})
    quantizer = base.model.quantizer
    assert isinstance(quantizer, SFVQQuantizer)
    with torch.no_grad():
        quantizer.corners_KC.copy_(torch.linspace(-1, 1, 32)[:, None] * torch.ones(quantizer.corners_KC.shape[1]))
    assert len(np.unique(np.concatenate(base.codes))) > 5
    found = order(base).metrics
    assert found["order/distance"] > 0.99 and abs(found["order/distance_shuffled"]) < 0.5
    with torch.no_grad():
        quantizer.corners_KC.copy_(quantizer.corners_KC[torch.randperm(32, generator=torch.Generator().manual_seed(0))])
    assert order(replace(base)).metrics["order/distance"] < 0.6


def test_a_code_is_no_neighbour_of_itself(cache: Path) -> None:
    """Such pairs have no distance along any curve, and made .4 of what is near 0 for codes that were dealt anew."""
    base = probed(cache, "sfvq", **{"quantizer.codebook_size": 32, "quantizer.first_corners": 32})
    shuffled = []
    for number in (4, 8):
        for seed in range(10):
            copy = replace(base, seed=seed)
            copy.__dict__["codes"] = [np.arange(number)]
            shuffled.append(order(copy).metrics.get("order/distance_shuffled", 0.0))
    assert abs(sum(shuffled) / len(shuffled)) < 0.2
    for number in (1, 2):
        copy = replace(base)
        copy.__dict__["codes"] = [np.arange(number)]
        assert "order/distance" not in order(copy).metrics, "one pair has no order"


def test_the_gap_between_averages_and_nearest_entries_worked_apart(cache: Path) -> None:
    base = probed(cache, "soft", **{"quantizer.codebook_size": 16})
    model: Any = base.model
    with torch.no_grad():
        model.quantizer.entries_KC.copy_(torch.randn(16, 32, generator=torch.Generator().manual_seed(1)))
        model.encoder.final_layer_norm.weight.mul_(4)  # averages and entries are far from each other
    hard, soft, chars = sums_apart(base)
    assert abs(hard - soft) > 1
    assert soft_gap(base).metrics["codebook/soft_gap"] == pytest.approx((hard - soft) / chars, rel=5e-3)


@torch.no_grad()
def sums_apart(base: Probed) -> tuple[float, float, int]:
    """The cross-entropy given nearest entries and given averages by softmax of distances, and the characters."""
    model, chars, hard, soft = base.model, 0, 0.0, 0.0
    assert isinstance(model, T5VQVAE) and isinstance(model.quantizer, SoftQuantizer)
    entries_KE, temperature = model.quantizer.entries_KC, model.quantizer.temperature
    for _, batch in evaluation_batches(base.split, base.spec.evaluate.batch_size, limit=30):
        states_BTE = model.encode_memory(batch).states_BTE
        assert states_BTE is not None
        squares_BTK = (states_BTE.unsqueeze(2) - entries_KE).square().sum(-1)
        closeness_BTK = (-squares_BTK / temperature).exp()
        averages_BTE = closeness_BTK @ entries_KE / closeness_BTK.sum(-1, keepdim=True)
        nearest_BTE = entries_KE[squares_BTK.argmin(-1)]
        hard += float(model.sentence_nll(nearest_BTE, batch.mask_BT, batch.labels_BS).sum())
        soft += float(model.sentence_nll(averages_BTE, batch.mask_BT, batch.labels_BS).sum())
        chars += int(batch.num_chars_B.sum())
    return hard, soft, chars


def test_a_form_that_is_as_good_as_its_codes_has_no_gap(cache: Path) -> None:
    base = probed(cache, "soft", **{"quantizer.codebook_size": 16})
    gap = soft_gap(base).metrics["codebook/soft_gap"]
    assert np.isfinite(gap) and base.model.quantizer.hard
    before = type(base.model.quantizer).forward

    def always_hard(self: Any, *args: Any, **words: Any) -> Any:
        hard, self.hard = self.hard, True
        try:
            return before(self, *args, **words)
        finally:
            self.hard = hard

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(base.model.quantizer), "forward", always_hard)
        assert soft_gap(base).metrics["codebook/soft_gap"] == 0
    assert gap != 0 and soft_gap(probed(cache, "vq", **{"quantizer.codebook_size": 8})).metrics == {}
