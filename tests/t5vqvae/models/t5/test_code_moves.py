"""Codes that move: which are left, in which order, and what the quantizer and evaluation see of it: nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from baseline_runs import batch_of, build, finish, tiny
from torch import nn

from t5vqvae.config import Overrides
from t5vqvae.data import prepare
from t5vqvae.errors import DataError, SettingError
from t5vqvae.evaluation import sparse_rate
from t5vqvae.evaluation.chains import COUNTED_POSITIONS
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import tokens_of
from t5vqvae.latent.splicing import between, words_in
from t5vqvae.models.codes import NOT_SENT
from t5vqvae.models.contract import load_model
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.models.t5.builders import word_starts
from t5vqvae.models.t5.code_moves import closed_up, shuffled_words
from t5vqvae.models.t5.not_sent import NotSent
from t5vqvae.training.trainer import Milestone, Trainer, train

REMOVED: Overrides = {"train.code_dropout": 0.6, "model.not_sent": "removed"}
SHUFFLED: Overrides = {**REMOVED, "train.word_shuffle": 0.5, "evaluate.unsent": 120.0, "train.eval_every": 6}
TEXTS = ["a bat eats honey in a cave", "a tree provides seeds to a cat"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def last(cache: Path) -> Milestone:
    return finish(tiny("t5vqvae", **SHUFFLED), cache)[0][-1]


@pytest.fixture(scope="module")
def model(last: Milestone) -> T5VQVAE:
    model = last.state.model
    assert isinstance(model, T5VQVAE)
    return model.eval()


# Moving


def test_what_is_sent_closes_up_and_the_longest_sentence_has_no_padding() -> None:
    states_BTE = torch.arange(8.0).view(2, 4, 1) + 1
    sent_BT = torch.tensor([[True, False, True, True], [False, True, False, False]])
    states_BME, mask_BM = closed_up(states_BTE, sent_BT)
    assert mask_BM.tolist() == [[True, True, True], [True, False, False]]
    assert states_BME[..., 0][mask_BM].tolist() == [1.0, 3.0, 4.0, 6.0]


def test_keys_sort_what_is_sent_and_equal_ones_stay_in_their_order() -> None:
    states_BTE, sent_BT = torch.arange(4.0).view(1, 4, 1), torch.tensor([[True, True, False, True]])
    states_BME, _ = closed_up(states_BTE, sent_BT, torch.tensor([[0.7, 0.2, 0.1, 0.2]]))
    assert states_BME.flatten().tolist() == [1.0, 3.0, 0.0]


def test_no_sentence_closes_up_to_none() -> None:
    states_BME, mask_BM = closed_up(torch.zeros(0, 3, 2), torch.zeros(0, 3, dtype=torch.bool))
    assert (len(states_BME), mask_BM.shape) == (0, (0, 1))


def orders(share: float, number: int = 6_000) -> list[tuple[int, ...]]:
    """The orders of the tokens of a sentence of three words, of two, one and two tokens, its end and padding."""
    begins_BT = torch.tensor([[True, False, True, True, False, False, False]]).repeat(number, 1)
    mask_BT = torch.tensor([[True] * 6 + [False]]).repeat(number, 1)
    places_BTE = torch.arange(7.0).view(1, 7, 1).repeat(number, 1, 1)
    states_BME, mask_BM = closed_up(places_BTE, mask_BT, shuffled_words(begins_BT, mask_BT, share))
    assert mask_BM.all() and mask_BM.shape[1] == 6
    return [tuple(map(int, row)) for row in states_BME[..., 0].tolist()]


def test_words_take_every_order_alike_and_their_tokens_and_the_end_stay_together() -> None:
    torch.manual_seed(0)
    words = [(0, 1), (2,), (3, 4)]
    possible = {(*itertools.chain(*order), 5) for order in itertools.permutations(words)}
    counts = Counter(orders(1.0))
    assert set(counts) == possible
    assert all(count == pytest.approx(1_000, abs=4 * (6_000 * 5 / 36) ** 0.5) for count in counts.values())


def test_a_share_of_the_sentences_is_shuffled() -> None:
    torch.manual_seed(0)
    assert set(orders(0.0)) == {(0, 1, 2, 3, 4, 5)}
    stayed = Counter(orders(0.3))[0, 1, 2, 3, 4, 5] / 6_000
    assert stayed == pytest.approx(0.7 + 0.3 / 6, abs=0.03)


def test_one_position_of_a_sentence_is_never_removed() -> None:
    torch.manual_seed(0)
    mask_BT = torch.tensor([[True, False, False], [True, True, False]]).repeat(500, 1)
    dropped_BT = NotSent(2, most=0.99, removes=True).drawn(mask_BT)
    left_B = (mask_BT & ~dropped_BT).sum(1)
    assert not dropped_BT[~mask_BT].any() and (left_B >= 1).all()
    assert (left_B[1::2] == 1).float().mean() == pytest.approx(2 / 3, abs=0.08), "both stay with probability 1/3"
    assert not NotSent(2, most=0.99, removes=True).drawn(mask_BT, part=0.0).any(), "the noise begins at nothing"


# A model


def without_dropout(model: T5VQVAE) -> T5VQVAE:
    """The model in training, of which nothing but the codes is dropped."""
    for part in model.train().modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    model.quantizer.active = True
    return model


@pytest.mark.parametrize(
    "place",
    [
        {"model.position": 0},
        {"model.position": 1},
        {"model.position": 2},
        {"model.position": 2, "model.final_norm": "after"},
    ],
    ids=["embeddings", "one block", "end", "end, norm behind"],
)
def test_where_nothing_is_removed_the_decoder_reads_what_it_would_read(cache: Path, place: Overrides) -> None:
    batch = batch_of(tiny("t5vqvae"), cache)
    plain = without_dropout(build(tiny("t5vqvae", **place), cache))
    model = without_dropout(build(tiny("t5vqvae", **place, **REMOVED, **{"train.word_shuffle": 0.5}), cache))
    model.begin_step(0, 10)
    as_is, moved = plain.encode_memory(batch), model.encode_memory(batch)
    assert torch.equal(as_is.mask_BM, moved.mask_BM)
    assert torch.allclose(as_is.states_BME[as_is.mask_BM], moved.states_BME[moved.mask_BM], atol=1e-6)


def test_training_removes_codes_and_the_quantizer_and_evaluation_see_them_all(cache: Path) -> None:
    spec, batch = tiny("t5vqvae", **REMOVED), batch_of(tiny("t5vqvae"), cache)
    model = without_dropout(build(spec, cache))
    torch.manual_seed(0)
    moved = model.encode_memory(batch)
    assert moved.mask_BM.sum() < batch.mask_BT.sum() and moved.mask_BM.any(1).all()
    assert moved.states_BME.shape[:2] == moved.mask_BM.shape
    codes_BTQ, aux_loss = moved.bottleneck.codes_BTQ, moved.bottleneck.aux_loss
    model.begin_step(0, 10)
    whole = model.encode_memory(batch)
    assert torch.equal(codes_BTQ, whole.bottleneck.codes_BTQ) and torch.equal(aux_loss, whole.bottleneck.aux_loss)
    assert torch.equal(model.last_codes, codes_BTQ)
    model.eval()
    assert torch.equal(model.encode_memory(batch).mask_BM, batch.mask_BT)


def test_a_code_that_is_not_sent_leaves_no_trace(model: T5VQVAE) -> None:
    codes_BTQ = model.encode(TEXTS[:1])
    missing_BTQ = codes_BTQ.clone()
    missing_BTQ[:, [1, 4]] = NOT_SENT
    kept = [place for place in range(codes_BTQ.shape[1]) if place not in (1, 4)]
    states_BME, mask_BM = model.sent_states(missing_BTQ)
    assert torch.equal(states_BME, model.embed_codes(codes_BTQ[:, kept])) and mask_BM.all()
    assert model.decode(missing_BTQ) == model.decode(codes_BTQ[:, kept])
    with pytest.raises(DataError, match=r"sentence 0 has no codes, only padding \(or codes that are not sent"):
        model.decode(torch.full_like(codes_BTQ, NOT_SENT))


def test_sparse_codes_are_measured_saved_and_loaded(last: Milestone, model: T5VQVAE, tmp_path: Path) -> None:
    assert 0 < last.metrics["rate/sent_share"] < 1
    assert last.metrics["rate/sparse_joint_bits_per_char"] > 0 and last.metrics["rate/prior_bits_per_char"] > 0
    assert not any("not_sent" in name for name in model.state_dict()), "there is no entry to learn"
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, T5VQVAE)
    codes_BTQ = model.encode(TEXTS, unsent=120.0)
    assert (codes_BTQ == NOT_SENT).any()
    assert torch.equal(codes_BTQ, loaded.eval().encode(TEXTS, unsent=120.0))
    assert loaded.decode(codes_BTQ) == model.decode(codes_BTQ)


def test_a_batch_scores_as_its_sentences_alone(model: T5VQVAE) -> None:
    together = model.encode(TEXTS, unsent=60.0)
    for row, text in enumerate(TEXTS):
        alone = model.encode([text], unsent=60.0)[0]
        assert torch.equal(together[row, : len(alone)], alone)


def test_transformers_own_forward_removes_the_same_codes(cache: Path) -> None:
    batch = batch_of(tiny("t5vqvae"), cache)
    model = without_dropout(build(tiny("t5vqvae", **REMOVED), cache))
    torch.manual_seed(0)
    losses = model.losses(batch)
    torch.manual_seed(0)
    output = model(input_ids=batch.input_ids_BT, attention_mask=batch.mask_BT, labels=batch.labels_BS)
    expected = losses.nll_sum / losses.num_tokens + losses.aux_loss
    assert torch.allclose(output.loss, expected, rtol=1e-4)


def test_prompts_are_made_of_all_states(cache: Path) -> None:
    prompts: Overrides = {"model.prompts.num_prompts": 3, "model.prompts.hidden_width": 16}
    batch = batch_of(tiny("t5vqvae"), cache)
    model = without_dropout(build(tiny("t5vqvae", **REMOVED, **prompts), cache))
    model.prompts.eval()  # in training it draws its codes
    moved = model.encode_memory(batch)
    model.begin_step(0, 10)
    whole = model.encode_memory(batch)
    assert torch.equal(moved.prompt_codes_BPQ, whole.prompt_codes_BPQ)
    assert moved.mask_BM.shape == moved.states_BME.shape[:2] and moved.mask_BM[:, :3].all()


def test_with_a_vector_in_their_place_codes_are_shuffled_all_the_same(cache: Path) -> None:
    batch = batch_of(tiny("t5vqvae"), cache)
    model = without_dropout(
        build(tiny("t5vqvae", **{"train.word_shuffle": 1.0, "train.code_dropout": 0.6, "model.position": 2}), cache)
    )
    torch.manual_seed(0)
    moved = model.encode_memory(batch)
    assert torch.equal(moved.mask_BM, batch.mask_BT)
    in_order = model.encoder.output.quantized_BTE
    own = [sorted(map(tuple, rows[mask].tolist())) for rows, mask in zip(moved.states_BME, batch.mask_BT, strict=True)]
    vector = tuple(model.encoder.not_sent.vector_E.tolist())
    for found, rows, mask in zip(own, in_order, batch.mask_BT, strict=True):
        sent = [row for row in found if row != vector]
        assert set(sent) <= set(map(tuple, rows[mask].tolist()))
    assert not torch.equal(moved.states_BME, in_order)


def test_the_noise_grows_with_the_steps_of_training(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = Trainer.train_step

    def watched(self: Trainer):
        found = step(self)
        seen.append(self.model.encoder.noise)
        return found

    monkeypatch.setattr(Trainer, "train_step", watched)
    list(train(tiny("t5vqvae", **REMOVED, **{"train.noise_steps": 4}), cache_dir=cache))
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_resumed_run_moves_the_codes_that_an_uninterrupted_one_moves(cache: Path, tmp_path: Path) -> None:
    spec = tiny("t5vqvae", **REMOVED, **{"train.word_shuffle": 0.5, "train.noise_steps": 5})
    whole = finish(spec, cache)[1]
    path = next(train(spec, cache_dir=cache)).state.save(tmp_path)
    torch.manual_seed(99)
    resumed = finish(spec, cache, resume_from=path)[1]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_words_begin_where_the_tokenizer_writes_a_space(cache: Path) -> None:
    tokenizer = prepare(tiny("t5vqvae").data, cache).tokenizer
    starts = set(word_starts(tokenizer))
    text = "a bat eats nectar in caves"
    begins = [number in starts for number in tokenizer(text)["input_ids"]]
    assert sum(begins) == len(text.split()) and begins[0] and not begins[-1]


# Its rate


def test_where_every_code_is_sent_both_kinds_have_one_rate(cache: Path) -> None:
    every: Overrides = {"train.code_dropout": 0.6, "train.noise_steps": 1000, "evaluate.unsent": 1e-9}
    found = [
        finish(tiny("t5vqvae", **every, **{"model.not_sent": kind}), cache)[0][-1].metrics
        for kind in ("replaced", "removed")
    ]
    assert [each["rate/sent_share"] for each in found] == [1.0, 1.0]
    rates = [each["rate/sparse_joint_bits_per_token"] for each in found]
    assert rates[0] == pytest.approx(rates[1], rel=0.02), "another codebook, after other noise, of as many sentences"


def test_as_many_symbols_are_counted_as_in_other_rates(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    measured = sparse_rate.chain_bits

    def watched(codes, *rest):
        counted.append(sum(map(len, codes.values())))
        return measured(codes, *rest)

    monkeypatch.setattr(sparse_rate, "chain_bits", watched)
    metrics = finish(tiny("t5vqvae", **{**SHUFFLED, "evaluate.unsent": 1e4}), cache)[0][-1].metrics
    assert metrics["rate/sent_share"] < 0.2
    possible = 2 * len(prepare(tiny("t5vqvae").data, cache).train)  # a code and an end of each sentence
    assert counted[-1] >= min(0.9 * COUNTED_POSITIONS, possible)


# What is refused


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"model.not_sent": "removed"}, "model.not_sent=removed needs codes that are not sent; set train.code_dropout"),
        ({**REMOVED, "train.gate_price": 0.2}, "train.gate_price=0.2 mixes codes with the entry"),
        ({"train.noise_steps": 5}, "train.noise_steps=5 has nothing that grows"),
        ({**REMOVED, "model.cross_positions": "labels"}, "model.cross_positions=labels gives a text as many positions"),
        ({"train.word_shuffle": 0.5, "quantizer.name": "none"}, "train.word_shuffle=0.5 needs codes"),
    ],
)
def test_settings_that_go_against_each_other_are_refused(overrides: Overrides, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        tiny("t5vqvae", **overrides)


def test_words_of_a_task_are_not_shuffled(cache: Path) -> None:
    spec = tiny("t5vqvae", **{"train.word_shuffle": 0.5}).with_overrides(
        {"data.corpus.name": "syllogisms", "data.corpus.two_texts": True, "data.corpus.size": 200}
    )
    with pytest.raises(SettingError, match=r"train.word_shuffle=0.5 would hide the order of a source"):
        next(train(spec, cache_dir=cache))


def test_letters_do_not_begin_words(cache: Path) -> None:
    spec = tiny("t5vqvae", **{"train.word_shuffle": 0.5, "data.tokenizer.kind": "latex"})
    with pytest.raises(SettingError, match=r"train.word_shuffle=0.5 needs tokens that begin a word"):
        build(spec, cache)


def test_transformers_own_generate_moves_nothing(cache: Path, model: T5VQVAE) -> None:
    batch = batch_of(tiny("t5vqvae"), cache)
    given = {"input_ids": batch.input_ids_BT, "attention_mask": batch.mask_BT, "max_new_tokens": 4}
    assert len(model.generate(**given)) == len(batch.mask_BT)
    with pytest.raises(ValueError, match="call eval"):
        model.train().generate(**given)
    model.eval()


def test_edits_of_words_take_codes_away(model: T5VQVAE) -> None:
    space = LatentSpace(model, max_new_tokens=4)
    sentence, _, latent = between(space, TEXTS[0], TEXTS[1], "cat", replace="bat", unsent=1e4)
    first, end = tokens_of(sentence.spans, words_in(TEXTS[0], "bat"))
    assert (sentence.latent_TX[first:end] != NOT_SENT).all() and (sentence.latent_TX[end:] == NOT_SENT).all()
    assert space.decode([latent]) == space.decode([latent[latent[:, 0] != NOT_SENT]])
