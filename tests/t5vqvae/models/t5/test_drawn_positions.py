"""Positions drawn from a range: ordered random subsets in training, their mean in evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from baseline_runs import build, tiny

from t5vqvae.data import prepare
from t5vqvae.errors import SettingError
from t5vqvae.models.t5.drawn_positions import drawn_positions
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import Trainer

SPAN = 12


def draw(lengths: list[int], size: int, *, training: bool, span: int = SPAN) -> list[list[int]]:
    return drawn_positions(torch.tensor(lengths), size, span, training).tolist()


def test_evaluation_by_hand() -> None:
    """Of 1 to 9, the t-th smallest of four has mean 2 t, of one 5; positions count from 0, and 8 is the last."""
    assert draw([4, 1, 9], 9, training=False, span=9) == [
        [1, 3, 5, 7, 8, 8, 8, 8, 8],
        [4, 8, 8, 8, 8, 8, 8, 8, 8],
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
    ]
    assert draw([3], 3, training=False, span=10) == [[1, 4, 7]], "2.75, 5.5, 8.25 of 1 to 10, rounded down"


def test_evaluation_is_the_mean_of_training() -> None:
    torch.manual_seed(0)
    drawn = drawn_positions(torch.full((4000,), 4), 4, 9, True).float().mean(0)
    torch.testing.assert_close(drawn, torch.tensor([1.0, 3.0, 5.0, 7.0]), rtol=0, atol=0.12)


def test_training_draws_an_ordered_subset_of_the_text_s_length_anew() -> None:
    torch.manual_seed(0)
    lengths = [1, 5, SPAN] * 50
    first, again = draw(lengths, SPAN, training=True), draw(lengths, SPAN, training=True)
    for length, positions in zip(lengths, first, strict=True):
        own = positions[:length]
        assert own == sorted(set(own)) and own[0] >= 0 and own[-1] < SPAN
        assert positions[length:] == [SPAN - 1] * (SPAN - length)
    assert first != again and first[0] != first[3]
    assert {row[0] for row, length in zip(first, lengths, strict=True) if length == 1} == set(range(SPAN))


def test_every_position_is_equally_frequent_in_training() -> None:
    torch.manual_seed(0)
    drawn = drawn_positions(torch.full((6000,), 3), 3, SPAN, True)
    share = torch.bincount(drawn.flatten(), minlength=SPAN) / 6000
    torch.testing.assert_close(share, torch.full((SPAN,), 3 / SPAN), rtol=0, atol=0.03)


@pytest.mark.parametrize("training", [True, False])
def test_a_text_longer_than_the_range_takes_all_of_it_and_its_last_for_the_rest(training: bool) -> None:
    assert draw([9], 8, training=training, span=5) == [[0, 1, 2, 3, 4, 4, 4, 4]]


@pytest.fixture
def batch_and_model(tmp_path: Any, request: Any) -> tuple[Any, Any]:
    spec = tiny("t5vqvae", **{"model.cross_positions": request.param, "model.position_range": 64})
    return prepare(spec.data, tmp_path).train.batch(range(6)), build(spec, tmp_path)


BOTH = pytest.mark.parametrize("batch_and_model", ["randomized", "labels"], indirect=True)


@BOTH
def test_training_draws_and_evaluation_does_not(batch_and_model: Any) -> None:
    batch, model = batch_and_model
    drawn = [float(model.train().losses(batch).nll_sum.detach()) for _ in range(2)]
    state = torch.get_rng_state()
    fixed = [float(model.eval().losses(batch).nll_sum.detach()) for _ in range(2)]
    assert drawn[0] != drawn[1] and fixed[0] == fixed[1]
    assert torch.equal(torch.get_rng_state(), state), "evaluation draws nothing"


@BOTH
def test_padding_does_not_move_a_text(batch_and_model: Any) -> None:
    """A text's positions depend on its own length, not on the batch's."""
    batch, model = batch_and_model
    longest = int(batch.mask_BT.sum(1).argmax())
    short = int(batch.mask_BT.sum(1).argmin())
    length = int(batch.mask_BT[short].sum())
    assert length < batch.mask_BT.shape[1] and short != longest
    together = model.eval().losses(batch).logits_BSV[short, :length]
    memory = model.encode_memory(batch)
    ids, labels = batch.input_ids_BT[[short], :length], batch.labels_BS[[short], :length]
    alone = model(ids, torch.ones_like(ids), labels=labels).logits[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert memory.mask_BM.sum(1).tolist() == batch.mask_BT.sum(1).tolist()


@BOTH
def test_encoder_and_decoder_share_the_positions_of_a_text(batch_and_model: Any) -> None:
    """The added vectors of place t are the same on both sides, up to the two learned scales."""
    batch, model = batch_and_model
    seen: list[torch.Tensor] = []
    model.decoder.block[0].register_forward_pre_hook(lambda block, args: seen.extend([args[0], args[3]]))
    memory = model.train().encode_memory(batch)
    model.losses(batch, memory=memory)
    starts = model._shift_right(batch.labels_BS)
    own, others = seen[0] - model.shared(starts), seen[1] - memory.states_BME
    torch.testing.assert_close(own, others, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(own[0], own[1]), "and each text draws its own"


def test_labels_are_learned_and_randomized_positions_are_sinusoids(tmp_path: Any) -> None:
    for name, learned in {"labels": (64, 32), "randomized": None}.items():
        model = build(tiny("t5vqvae", **{"model.cross_positions": name, "model.position_range": 64}), tmp_path)
        labels = dict(model.named_parameters()).get("decoder.labels_LE")
        assert (None if labels is None else tuple(labels.shape)) == learned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.cross_positions": "labels", "model.position_range": 64, "data.max_length": 80},
            "model.position_range=64 has fewer positions than a text can have tokens, 80 .* raise it",
        ),
        (
            {"model.cross_positions": "labels", "model.prompts.num_prompts": 2},
            "labels draws the positions of a text's tokens, and model.prompts stand before them; leave one of them out",
        ),
        (
            {"model.name": "gaussian", "quantizer.name": "none", "model.level": "sentence"}
            | {"model.cross_positions": "randomized"},
            "randomized draws by the text's length, which model.level=sentence hides; take absolute or relative",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message) as refused:
        RunSpec().with_overrides(changes)
    assert "\n" not in str(refused.value)


def test_a_task_whose_targets_have_lengths_of_their_own_is_refused(tmp_path: Any) -> None:
    changes = {"data.corpus.name": "syllogisms", "data.corpus.size": 40, "data.corpus.test_size": 10}
    spec = RunSpec().with_overrides(changes | {"model.cross_positions": "labels", "data.max_length": 80})
    with pytest.raises(SettingError, match="labels gives a text as many positions as its source is long"):
        Trainer(spec, prepare(spec.data, tmp_path))
