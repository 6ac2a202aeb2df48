"""Two-stage training: an auto-encoder first, then what stands behind its frozen codes, with one optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from t5vqvae.data import prepare
from t5vqvae.data.batch import Batch
from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from t5vqvae.training import trainer as trainer_module
from t5vqvae.training.trainer import Milestone, Trainer, train

SWITCH, STEPS = 3, 6
TINY: dict[str, Any] = {
    "data.corpus.name": "syllogisms",
    "data.corpus.size": 200,
    "data.corpus.validation_size": 20,
    "data.corpus.test_size": 10,
    "data.tokenizer.vocab_size": 400,
    "data.max_length": 80,
    "model.d_model": 32,
    "model.d_ff": 64,
    "model.dropout": 0.2,
    "model.num_layers": 3,
    "model.position": 1,
    "quantizer.codebook_size": 32,
    "quantizer.start_iterations": 2,
    "optim.weight_decay": 0.1,
    "train.max_steps": STEPS,
    "train.autoencode_steps": SWITCH,
    "train.batch_size": 8,
    "train.eval_every": 1,
    "evaluate.num_examples": 2,
    "evaluate.num_generated": 0,
}
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def tiny(**overrides: Any) -> RunSpec:
    return RunSpec().with_overrides({**TINY, **overrides})


def weights_by_step(spec: RunSpec, cache: Path, **kwargs: Any) -> tuple[dict[int, Weights], Milestone]:
    """The model's state after every step, and the last milestone."""
    found: dict[int, Weights] = {}
    for milestone in train(spec, cache_dir=cache, **kwargs):
        state = milestone.state.model.state_dict()
        found[milestone.step] = {name: value.clone() for name, value in state.items()}
    return found, milestone


@pytest.fixture(scope="module")
def whole(cache: Path) -> tuple[dict[int, Weights], Milestone]:
    """An uninterrupted run."""
    return weights_by_step(tiny(), cache)


def moved(before: Weights, after: Weights) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def of_the_codes(name: str, position: int) -> bool:
    """Whether a part of the state makes the codes: embeddings, blocks before the quantizer, and the quantizer."""
    if name.startswith("encoder.block."):
        return int(name.split(".")[2]) < position
    return name.startswith("encoder.quantizer.") or name.split(".")[-2] in ("shared", "embed_tokens", "lm_head")


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("quantizer", ["ema", "vq"])
def test_each_stage_moves_its_own_part_and_nothing_else(cache: Path, quantizer: str, position: int) -> None:
    spec = tiny(**{"quantizer.name": quantizer, "model.position": position})
    found, _ = weights_by_step(spec, cache)
    first, switched, last = found[1], found[SWITCH], found[STEPS]
    behind = {n for n in first if n.startswith("encoder.block.") and not of_the_codes(n, position)}
    codes = {n for n in first if of_the_codes(n, position)}
    assert behind and {"shared.weight", "encoder.quantizer._num_updates"} <= codes
    in_the_first, in_the_second = moved(first, switched), moved(switched, last)
    assert not in_the_first & behind and not in_the_second & codes, "bit for bit"
    entries = "encoder.quantizer.entries_QKD"
    assert {"shared.weight", entries, "decoder.final_layer_norm.weight"} <= in_the_first
    assert behind <= in_the_second and "decoder.final_layer_norm.weight" in in_the_second


def test_with_one_stage_all_of_it_moves(cache: Path) -> None:
    found, last = weights_by_step(tiny(**{"train.autoencode_steps": 0}), cache)
    never = set(found[1]) - moved(found[1], found[STEPS])
    assert never == {"encoder.quantizer._active"}
    assert "progress/stage" not in last.metrics and "label/two_stages" not in last.tags


@pytest.mark.parametrize("at", [SWITCH - 1, SWITCH, SWITCH + 1])
def test_a_run_that_resumes_at_the_switch_equals_an_uninterrupted_one(
    cache: Path, tmp_path: Path, whole: Any, at: int
) -> None:
    path = next(m.state.save(tmp_path) for m in train(tiny(), cache_dir=cache) if m.step == at)
    torch.manual_seed(99)
    resumed, last = weights_by_step(tiny(), cache, resume_from=path)
    assert min(resumed) == at + 1 and not moved(whole[0][STEPS], resumed[STEPS])
    metrics, expected = (
        {name: value for name, value in each.metrics.items() if not name.startswith("cost/")}
        for each in (last, whole[1])
    )
    assert metrics == expected


def test_microbatches_equal_one_batch(cache: Path) -> None:
    one, four = (
        weights_by_step(tiny(**{"model.dropout": 0.0, "train.microbatches": number}), cache)[0] for number in (1, 4)
    )
    for name, value in one[STEPS].items():
        torch.testing.assert_close(four[STEPS][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_as_with_workers_what_is_left_out_has_no_gradient_of_zero(cache: Path, monkeypatch: Any, whole: Any) -> None:
    """Workers sum zeros for parameters that no batch used: AdamW would decay them and count a step."""

    def as_two_workers_do(model: torch.nn.Module) -> None:
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    monkeypatch.setattr(trainer_module, "sum_gradients", as_two_workers_do)
    assert not moved(whole[0][STEPS], weights_by_step(tiny(), cache)[0][STEPS])


def test_the_stage_is_seen_in_metrics_and_labels(cache: Path) -> None:
    milestones = list(train(tiny(), cache_dir=cache))
    assert [m.metrics["progress/stage"] for m in milestones] == [1, 1, 1, 2, 2, 2]
    assert milestones[0].tags["label/two_stages"] == (
        "steps 1 to 3 trained an auto-encoder of the sources; then embeddings, encoder blocks 1 to 1 and the quantizer"
        " froze"
    )


def trainer(cache: Path, stage: str, **overrides: Any) -> Trainer:
    spec = tiny(**overrides)
    found = Trainer(spec, prepare(spec.data, cache))
    found.model.quantizer.active = True
    found.model.begin_stage(stage)  # type: ignore[arg-type]
    return found


def test_a_backbone_without_blocks_behind_the_quantizer_is_refused(cache: Path) -> None:
    """Only its files say how many blocks it has, so that the settings alone cannot refuse it."""
    model = trainer(cache, "task").model
    model.encoder.position, model.encoder._stage = len(model.encoder.block), None
    with pytest.raises(SettingError, match=r"set model.position to less than the \d+ blocks of the backbone"):
        model.begin_stage("task")


@pytest.mark.parametrize("position", [0, 2])
def test_frozen_codes_are_those_of_evaluation_also_in_training(cache: Path, position: int) -> None:
    found = trainer(cache, "task", **{"model.dropout": 0.5, "model.position": position})
    batch, model = found.prepared.train.batch(range(8)), found.model
    codes = [model.train(training).encode_memory(batch).bottleneck.codes_BTQ for training in (True, False, True)]
    assert torch.equal(codes[0], codes[1]) and torch.equal(codes[2], codes[1])
    assert model.training and not model.quantizer.training
    learning = trainer(cache, "autoencoder", **{"model.dropout": 0.5, "model.position": position})
    assert not torch.equal(learning.model.encode_memory(batch).bottleneck.codes_BTQ, codes[1])


def test_the_first_stage_decodes_the_source_from_the_codes_alone(cache: Path) -> None:
    """Its memory is the normalized code vectors, and its targets are the source's tokens."""
    found = trainer(cache, "autoencoder", **{"model.dropout": 0.0})
    batch = found._begun(found.plan.local_batches(0))[0]
    assert torch.equal(batch.labels_BS[batch.mask_BT], batch.input_ids_BT[batch.mask_BT])
    assert (batch.labels_BS[~batch.mask_BT] == -100).all()
    memory = found.model.encode_memory(batch)
    expected = found.model.encoder.final_layer_norm(memory.bottleneck.quantized_BTE)  # type: ignore[operator, union-attr]
    assert torch.equal(memory.states_BME, expected)
    evaluated = found.model.eval().encode_memory(batch)
    assert not torch.allclose(evaluated.states_BME, expected, atol=1e-3), "evaluation runs all blocks"


def test_the_first_stage_alone_reads_extra_text(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more.txt").write_text("\n".join(f"whales number {number} swim" for number in range(2_000)))
    spec = tiny(**{"data.extra_text": str(tmp_path / "more.txt")})
    read: list[str] = []
    begun = Trainer._begun

    def seen(trainer: Trainer, batches: list[Batch]) -> list[Batch]:
        found = begun(trainer, batches)
        given_back = all(torch.equal(batch.labels_BS, batch.of_sources().labels_BS) for batch in found)
        texts = [trainer.prepared.tokenizer.decode(row) for batch in batches for row in batch.input_ids_BT]
        read.append(f"{given_back} {any('whales' in text for text in texts)}")
        return found

    monkeypatch.setattr(Trainer, "_begun", seen)
    *_, last = train(spec, cache_dir=cache)
    assert read == ["True True"] * SWITCH + ["False False"] * (STEPS - SWITCH)
    assert last.tags["label/extra_text"] == (
        "the first stage read 2000 sentences of data.extra_text next to 200 training rows; left out: none"
    )


def test_epochs_of_the_first_stage_are_those_of_all_that_it_reads(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("\n".join(f"whales number {number} swim" for number in range(2_000)))
    many = {"data.extra_text": str(tmp_path / "more.txt"), "train.batch_size": 100, "train.eval_every": 2}
    first = next(train(tiny(**many), cache_dir=cache))
    assert (first.step, first.metrics["progress/epoch"]) == (2, 0), "200 of 2,200 sentences; of training rows all 200"


def test_a_batch_of_sources_by_hand() -> None:
    ids, mask = torch.tensor([[5, 1, 0], [6, 7, 1]]), torch.tensor([[True, True, False], [True, True, True]])
    batch = Batch(ids, mask, torch.tensor([[9, 1], [8, 1]]), None, torch.ones(2, dtype=torch.int64)).of_sources()
    assert batch.labels_BS.tolist() == [[5, 1, -100], [6, 7, 1]]
    assert batch.num_target_tokens == batch.num_source_tokens == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.autoencode_steps": STEPS}, r"train.autoencode_steps=6 must lie between .*train.max_steps=6"),
        ({"train.quantize_from": 3}, r"train.autoencode_steps=3 must lie between train.quantize_from=3, .* frozen"),
        ({"model.position": 3}, r"needs encoder blocks behind the quantizer.* model.position, 3 here"),
        ({"model.position": None}, r"needs encoder blocks behind the quantizer.* model.position, None here"),
        ({"model.prompts.num_prompts": 2}, r"freezes the codes, and model.prompts would go around"),
        (
            {"model.name": "transformer", "model.position": None},
            r"train.autoencode_steps=3 is for model.name=t5vqvae, not transformer; leave it out",
        ),
    ],
)
def test_it_is_refused_where_it_has_no_meaning(changes: dict[str, Any], message: str) -> None:
    settings = {name: value for name, value in TINY.items() if "position" not in name or "model.name" not in changes}
    changes = {
        name: value for name, value in changes.items() if name != "model.position" or "model.name" not in changes
    }
    with pytest.raises(SettingError, match=message) as refused:
        RunSpec().with_overrides({**settings, **changes})
    assert "\n" not in str(refused.value)


def test_a_corpus_without_a_task_is_refused(cache: Path) -> None:
    changes = {"data.corpus.name": "grammar", "data.corpus.size": 50}
    settings = {n: v for n, v in TINY.items() if not n.startswith("data.corpus.")} | changes
    with pytest.raises(
        SettingError, match=r"train.autoencode_steps=3 needs a corpus whose targets are not its sources"
    ):
        next(train(RunSpec().with_overrides(settings), cache_dir=cache))
