"""Sparse codes: which positions are left out, the entry "not sent", and what stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_runs import batch_of, build, finish, tiny
from torch import Tensor

from t5vqvae.config import Overrides
from t5vqvae.errors import DataError, SettingError
from t5vqvae.evaluation.metrics import find
from t5vqvae.evaluation.sparse_rate import symbols
from t5vqvae.models.codes import NOT_SENT, check_codes
from t5vqvae.models.contract import load_model
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.models.t5.not_sent import NotSent
from t5vqvae.models.t5.sparse import Score, left_out
from t5vqvae.training.trainer import Milestone, train

SPARSE: Overrides = {"train.code_dropout": 0.6, "evaluate.unsent": 50.0, "train.eval_every": 6}
MASK = torch.tensor([[True, True, True, True], [True, True, True, False]])


def costs(weights: list[list[float]]) -> Score:
    """The cross-entropy of a sentence: the sum of a cost for each position that is left out."""
    weights_BT = torch.tensor(weights)
    return lambda sentences_N, out_NT: (weights_BT[sentences_N] * out_NT).sum(1)


# The choice


def test_the_most_predictable_positions_are_left_out_while_the_bound_holds() -> None:
    out_BT = left_out(costs([[0.3, 0.1, 0.2, 9.0], [0.3, 9.0, 0.1, 0.0]]), MASK, nats=0.5)
    assert out_BT.tolist() == [[False, True, True, False], [True, False, True, False]]


def test_one_that_does_not_fit_is_skipped_and_a_later_one_may_fit_together_with_the_others() -> None:
    def score(sentences_N: Tensor, out_NT: Tensor) -> Tensor:
        both = out_NT[:, 0] & out_NT[:, 1]  # the two say the same: one of them is needed
        return 5.0 * both + out_NT.float() @ torch.tensor([0.1, 0.11, 0.12, 9.0])

    assert left_out(score, MASK[:1], nats=0.5).tolist() == [[True, False, True, False]]


def test_a_position_is_always_sent_and_padding_is_never_left_out() -> None:
    out_BT = left_out(costs([[0.0] * 4, [0.0] * 4]), MASK, nats=0.5)
    assert out_BT.sum(1).tolist() == [3, 2] and not out_BT[1, 3]


def test_a_sentence_above_the_bound_sends_everything() -> None:
    def score(sentences_N: Tensor, out_NT: Tensor) -> Tensor:
        return 1.0 + out_NT.float().sum(1)

    assert not left_out(score, MASK, nats=0.5).any()


def test_a_position_that_alone_reaches_the_bound_is_sent_without_a_trial() -> None:
    passes = torch.zeros(2, dtype=torch.int64)

    def score(sentences_N: Tensor, out_NT: Tensor) -> Tensor:
        passes.index_add_(0, sentences_N, torch.ones_like(sentences_N))
        return costs([[0.1, 0.2, 0.3, 0.5], [9.0, 9.0, 0.1, 0.0]])(sentences_N, out_NT)

    out_BT = left_out(score, MASK, nats=0.5)
    assert out_BT.tolist() == [[True, True, False, False], [False, False, True, False]]
    assert passes.tolist() == [4 + 2, 3], "each position alone; then those after the first that may fit"


def test_a_kept_position_is_sent_and_what_says_the_same_stays_out() -> None:
    def score(sentences_N: Tensor, out_NT: Tensor) -> Tensor:
        both = out_NT[:, 0] & out_NT[:, 1]  # the two say the same: one of them is needed
        return 5.0 * both + out_NT.float() @ torch.tensor([0.1, 0.11, 9.0, 9.0])

    article = torch.tensor([[True, False, False, False]])
    assert left_out(score, MASK[:1], nats=0.5).tolist() == [[True, False, False, False]]
    assert left_out(score, MASK[:1], nats=0.5, kept_BT=article).tolist() == [[False, True, False, False]]
    assert not left_out(score, MASK, nats=0.5, kept_BT=MASK).any()


# The entry


def test_dropping_draws_a_share_for_every_sentence_up_to_the_most() -> None:
    torch.manual_seed(0)
    states_BTE, mask_BT = torch.ones(2_000, 50, 2), torch.ones(2_000, 50, dtype=torch.bool)
    mask_BT[:, 40:] = False
    dropped_BT = (NotSent(2, most=0.6).drop(states_BTE, mask_BT) == 0).all(-1)
    assert not dropped_BT[:, 40:].any(), "padding stays"
    share_B = dropped_BT[:, :40].float().mean(1)
    assert share_B.mean() == pytest.approx(0.3, abs=0.01), "uniform from 0 to .6"
    assert share_B.std() == pytest.approx((0.6**2 / 12 + 0.3 * 0.7 / 40) ** 0.5, rel=0.1), "more than of one share"


def test_not_sent_is_a_code_of_models_with_the_entry_alone() -> None:
    codes_BTQ = torch.tensor([[[3, 1], [NOT_SENT, NOT_SENT], [-1, -1]]])
    check_codes(codes_BTQ, (8, 8), "codes", not_sent=True)
    with pytest.raises(DataError, match="codes are 0 to 7, and -1 at padding"):
        check_codes(codes_BTQ, (8, 8), "codes")
    with pytest.raises(DataError, match="a part of a position"):
        check_codes(torch.tensor([[[3, NOT_SENT]]]), (8, 8), "codes", not_sent=True)
    with pytest.raises(DataError, match="a part of a position"):
        check_codes(torch.tensor([[[-1, NOT_SENT]]]), (8, 8), "codes", not_sent=True)


def test_what_is_not_sent_is_one_symbol_and_the_end_another() -> None:
    codes_TQ = np.array([[3, 1], [NOT_SENT, NOT_SENT]])
    assert symbols(codes_TQ, 8, removes=False).tolist() == [[3, 1], [9, 0], [8, 0]]
    assert symbols(codes_TQ, 8, removes=True).tolist() == [[3, 1], [8, 0]], "what is removed costs nothing"
    assert symbols(codes_TQ[:1], 8, removes=False).tolist() == symbols(codes_TQ[:1], 8, removes=True).tolist()


# A trained model


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def last(cache: Path) -> Milestone:
    return finish(tiny("t5vqvae", **SPARSE), cache)[0][-1]


@pytest.fixture(scope="module")
def model(last: Milestone) -> T5VQVAE:
    model = last.state.model
    assert isinstance(model, T5VQVAE)
    return model.eval()


TEXTS = ["a bat eats honey in a cave", "a tree provides seeds to a cat"]


def test_an_evaluation_measures_sparse_codes_next_to_whole_ones(last: Milestone) -> None:
    own = {"sparse/exact_match", "sparse/nll_per_char", "rate/sent_share", "rate/sparse_joint_bits_per_token"}
    assert own | {"rate/sparse_prior_bits_per_token", "rate/joint_bits_per_token"} <= set(last.metrics)
    assert 0 < last.metrics["rate/sent_share"] <= 1
    assert last.metrics["sparse/nll_per_char"] < 50.0 and all(find(key) for key in last.metrics)


def test_the_entry_is_learned_saved_and_loaded(model: T5VQVAE, tmp_path: Path) -> None:
    assert model.encoder.not_sent is not None and model.encoder.not_sent.vector_E.abs().sum() > 0
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, T5VQVAE) and loaded.encoder.not_sent is not None
    assert torch.equal(loaded.encoder.not_sent.vector_E, model.encoder.not_sent.vector_E)
    codes_BTQ = model.encode(TEXTS, unsent=100.0)
    assert torch.equal(codes_BTQ, loaded.eval().encode(TEXTS, unsent=100.0))
    assert loaded.decode(codes_BTQ) == model.decode(codes_BTQ)


def test_codes_are_left_out_below_a_generous_bound_only(model: T5VQVAE) -> None:
    whole_BTQ, sparse_BTQ = model.encode(TEXTS), model.encode(TEXTS, unsent=1e4)
    sent_BT = (sparse_BTQ != NOT_SENT).all(-1)
    assert torch.equal(sparse_BTQ[sent_BT], whole_BTQ[sent_BT])
    assert ((sparse_BTQ >= 0).all(-1).sum(1) == 1).all(), "any code may go, but the last one"
    assert torch.equal(model.encode(TEXTS, unsent=1e-9), whole_BTQ), "this model is sure of nothing"


def test_the_vector_stands_where_nothing_is_sent(model: T5VQVAE) -> None:
    codes_BTQ = model.encode(TEXTS)
    codes_BTQ[:, 1] = NOT_SENT
    states_BTE = model.embed_codes(codes_BTQ)
    assert model.encoder.not_sent is not None
    assert torch.equal(states_BTE[0, 1], model.encoder.not_sent.vector_E)
    assert len(model.decode(codes_BTQ)) == 2


def test_a_batch_scores_as_its_sentences_alone(model: T5VQVAE) -> None:
    together = model.encode(TEXTS, unsent=30.0)
    for row, text in enumerate(TEXTS):
        alone = model.encode([text], unsent=30.0)[0]
        assert torch.equal(together[row, : len(alone)], alone)


def test_without_code_dropout_nothing_changes(cache: Path, tmp_path: Path) -> None:
    milestones, _ = finish(tiny("t5vqvae"), cache)
    plain = milestones[-1].state.model
    assert isinstance(plain, T5VQVAE) and plain.encoder.not_sent is None
    assert not any("not_sent" in name for name in plain.state_dict())
    with pytest.raises(ValueError, match=r"train.code_dropout=0.6"):
        plain.encode(TEXTS, unsent=0.5)
    assert not any(key.startswith("sparse/") for key in milestones[-1].metrics)


def test_a_resumed_run_drops_the_codes_that_an_uninterrupted_one_drops(cache: Path, tmp_path: Path) -> None:
    spec = tiny("t5vqvae", **{"train.code_dropout": 0.6})
    whole = finish(spec, cache)[1]
    path = next(train(spec, cache_dir=cache)).state.save(tmp_path)
    torch.manual_seed(99)
    resumed = finish(spec, cache, resume_from=path)[1]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_code_dropout_leaves_what_the_quantizer_sees_as_it_is(cache: Path) -> None:
    model, batch = build(tiny("t5vqvae", **SPARSE), cache), batch_of(tiny("t5vqvae"), cache)
    model.encoder.not_sent.most = 0.0
    whole = model.encode_memory(batch)
    model.encoder.not_sent.most = 1.0
    dropped = model.encode_memory(batch)
    assert torch.equal(dropped.bottleneck.codes_BTQ, whole.bottleneck.codes_BTQ)
    assert torch.equal(dropped.bottleneck.aux_loss, whole.bottleneck.aux_loss)
    assert not torch.equal(dropped.states_BME, whole.states_BME)


def test_nothing_is_left_out_before_the_bottleneck_is_in_use(cache: Path) -> None:
    words = {**SPARSE, "train.quantize_from": 2, "train.max_steps": 4, "train.eval_every": 2}
    before, after = finish(tiny("t5vqvae", **words), cache)[0]
    assert not any("sparse" in key or "sent_share" in key for key in before.metrics)
    assert "rate/sparse_joint_bits_per_token" in after.metrics


def test_codes_of_prompts_count_in_the_rate_of_sparse_codes(cache: Path) -> None:
    words = {**SPARSE, "evaluate.unsent": 1e-9, "evaluate.num_examples": 4, "evaluate.num_generated": 4}
    metrics = finish(tiny("t5vqvae", **words, **{"model.prompts.num_prompts": 8}), cache)[0][-1].metrics
    assert metrics["rate/sent_share"] == 1, "all codes are sent, and an end of each sentence, a few bits"
    more = metrics["rate/sparse_joint_bits_per_token"] - metrics["rate/joint_bits_per_token"]
    assert 0 < more < 0.8


def test_a_decoder_that_sees_past_its_codes_has_no_sparse_codes(cache: Path) -> None:
    words = {**SPARSE, "model.prompts.quantize": False}
    metrics = finish(tiny("t5vqvae", **words), cache)[0][-1].metrics
    assert "validation/nll" in metrics and not any("sparse" in key or "sent_share" in key for key in metrics)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"quantizer.name": "none", "train.code_dropout": 0.5}, "train.code_dropout=0.5 needs codes"),
        ({"evaluate.unsent": 0.5}, "evaluate.unsent=0.5 needs a model"),
        ({**SPARSE, "evaluate.num_generated": 0}, "evaluate.unsent=50.0 needs sentences whose sparse codes"),
        ({"train.code_dropout": 1.0}, "train.code_dropout=1"),
    ],
)
def test_a_run_that_cannot_be_sparse_is_refused(overrides: Overrides, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        tiny("t5vqvae", **overrides)
