"""Three truths end to end: eight sentences can be overfitted, a resumed run equals an uninterrupted one, two workers
equal one. And what a run says about itself."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.multiprocessing as mp

from t5vqvae.errors import SettingError
from t5vqvae.evaluation.evaluate import Evaluation
from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.run import RunSpec
from t5vqvae.training import checkpoint, codebook_start
from t5vqvae.training.progress import StepLosses
from t5vqvae.training.trainer import Milestone, Trainer, train

TINY = {
    "data.corpus.name": "grammar",
    "data.corpus.size": 400,
    "model.d_model": 32,
    "model.d_ff": 64,
    "quantizer.codebook_size": 32,
    "quantizer.start_iterations": 3,
    "train.max_steps": 6,
    "train.batch_size": 8,
    "train.eval_every": 3,
    "evaluate.num_examples": 20,
    "evaluate.num_generated": 8,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def tiny(**overrides: Any) -> RunSpec:
    return RunSpec().with_overrides({**TINY, **overrides})


def tiny_with(quantizer: str, **overrides: Any) -> RunSpec:
    known = QuantizerConfig.variants[quantizer].model_fields
    settings = {k: v for k, v in TINY.items() if not k.startswith("quantizer.") or k.split(".")[1] in known}
    return RunSpec().with_overrides({**settings, "quantizer.name": quantizer, **overrides})


def without_costs(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("cost/")}


def finish(spec: RunSpec, cache: Path, **kwargs: Any) -> tuple[list[Milestone], dict[str, torch.Tensor]]:
    milestones = list(train(spec, cache_dir=cache, **kwargs))
    return milestones, milestones[-1].state.model.state_dict()


def test_eight_sentences_can_be_overfitted(cache: Path, tmp_path: Path) -> None:
    sentences = [f"the {a} {b} the {c}" for a, b, c in zip("abcdefgh", "ijklmnop", "hgfedcba", strict=True)]
    for split, lines in {"train": sentences, "validation": ["a b c"], "test": ["d e f"]}.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    spec = RunSpec().with_overrides(
        {
            "data.corpus.name": "text",
            "data.corpus.path": str(tmp_path),
            "data.tokenizer.kind": "latex",
            "model.d_model": 64,
            "quantizer.codebook_size": 32,
            "train.max_steps": 150,
            "train.eval_every": 150,
            "train.batch_size": 8,
        }
    )
    milestones, _ = finish(spec, cache)
    assert milestones[-1].metrics["train/nll"] < 0.05


@pytest.mark.parametrize("quantizer", ["ema", "kmeans", "vq", "none"])
def test_a_resumed_run_equals_an_uninterrupted_one(cache: Path, tmp_path: Path, quantizer: str) -> None:
    spec = tiny_with(quantizer, **{"model.dropout": 0.1, "train.quantize_from": 2})
    whole, expected = finish(spec, cache)
    for milestone in train(spec, cache_dir=cache):
        path = milestone.state.save(tmp_path)
        break
    torch.manual_seed(99)
    resumed, state = finish(spec, cache, resume_from=path)
    assert [m.step for m in resumed] == [6]
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert without_costs(resumed[-1].metrics) == without_costs(whole[-1].metrics)


def test_a_run_of_two_versions_has_the_id_of_neither(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny()
    whole, _ = finish(spec, cache)
    path = next(train(spec, cache_dir=cache)).state.save(tmp_path)
    same, _ = finish(spec, cache, resume_from=path)
    assert (
        same[-1].state.milestone["run_id"] == whole[-1].state.milestone["run_id"] and "label/mixed" not in same[-1].tags
    )
    monkeypatch.setattr("t5vqvae.spec.run._source_fingerprint", lambda: "another version")
    later, _ = finish(spec, cache)
    mixed, _ = finish(spec, cache, resume_from=path)
    ids = {found[-1].state.milestone["run_id"] for found in (whole, later, mixed)}
    assert len(ids) == 3 and "step 3" in mixed[-1].tags["label/mixed"]
    longer = spec.with_overrides({"train.max_steps": 9})
    begun = next(train(longer, cache_dir=cache)).state.save(tmp_path / "begun")
    monkeypatch.setattr("t5vqvae.spec.run._source_fingerprint", lambda: "a third version")
    first = next(train(longer, cache_dir=cache, resume_from=begun))
    again, _ = finish(longer, cache, resume_from=first.state.save(tmp_path / "later"))
    assert again[-1].state.milestone["run_id"] == first.state.milestone["run_id"], "resumed by the same version"
    assert again[-1].tags["label/mixed"] == first.tags["label/mixed"]


def test_the_same_spec_gives_the_same_numbers_and_another_seed_others(cache: Path) -> None:
    (first, _), (second, _) = finish(tiny(), cache), finish(tiny(), cache)
    assert without_costs(first[-1].metrics) == without_costs(second[-1].metrics)
    other, _ = finish(tiny(seed=1), cache)
    assert other[-1].metrics["validation/nll"] != first[-1].metrics["validation/nll"]


NOISE = {"sfvq": "a random point of each segment"}
"""Quantizers that draw in training, whatever their settings: other shapes draw other numbers."""


@pytest.mark.parametrize("name", sorted(set(QuantizerConfig.variants) - set(NOISE)))
def test_microbatches_equal_one_batch_and_have_its_run_id(name: str, cache: Path) -> None:
    config = QuantizerConfig.variants[name]
    off = {
        field: None if type(None) in get_args(config.model_fields[field].annotation) else 0.0
        for field in config.whole_batch
    }
    calm = {f"quantizer.{field}": value for field, value in off.items()}
    calm |= {"quantizer.noise": False} if "noise" in config.model_fields else {}
    whole_spec, parts_spec = (tiny_with(name, **calm, **{"train.microbatches": number}) for number in (1, 4))
    (whole_milestones, whole), (parts_milestones, parts) = finish(whole_spec, cache), finish(parts_spec, cache)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-4, atol=1e-5, msg=f"{name}: {key}")
    run_ids = [milestones[-1].state.milestone["run_id"] for milestones in (whole_milestones, parts_milestones)]
    assert run_ids[0] == run_ids[1]


@pytest.mark.parametrize("name", [name for name, config in QuantizerConfig.variants.items() if config.whole_batch])
def test_a_term_over_the_whole_batch_is_not_cut(name: str) -> None:
    weight = QuantizerConfig.variants[name].whole_batch[0]
    with pytest.raises(SettingError, match=rf"train.microbatches=2 .* quantizer.{weight}=0.5, .* smaller"):
        tiny_with(name, **{f"quantizer.{weight}": 0.5, "train.microbatches": 2})


def test_a_run_goes_on_in_microbatches_from_a_checkpoint_of_whole_batches(cache: Path, tmp_path: Path) -> None:
    _, expected = finish(tiny(), cache)
    path = next(train(tiny(), cache_dir=cache)).state.save(tmp_path)
    _, state = finish(tiny(**{"train.microbatches": 2}), cache, resume_from=path)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)


SHARED = ["ema", "kmeans", "vq"]
"""Quantizers that two workers train."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _worker(rank: int, world: int, port: int, cache: str, out: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    torch.distributed.init_process_group("gloo")
    noisy = tiny(**{"model.dropout": 0.5})
    path = Path(out) / checkpoint.path_of(Path("noisy"), 3)
    for milestone in train(noisy, cache_dir=Path(cache)):
        if rank == 0 and milestone.step == 3:
            milestone.state.save(path.parent)
        drawn = torch.rand(4)
    torch.save((milestone.state.model.state_dict(), drawn), f"{out}/noisy-{rank}.pt")
    torch.manual_seed(rank)
    torch.save(finish(noisy, Path(cache), resume_from=path)[1], f"{out}/resumed-{rank}.pt")
    for name in names:
        spec = tiny_with(name, **{"train.max_steps": 20, "train.eval_every": 20, "train.batch_size": 9})
        milestones, state = finish(spec, Path(cache))
        torch.save((state, milestones[-1].metrics), f"{out}/{name}-{rank}.pt")
    start_vectors = codebook_start._start_vectors
    codebook_start._start_vectors = lambda *args: start_vectors(*args) + 0.01 * rank  # as if GPUs rounded otherwise
    torch.save(finish(tiny_with("vq"), Path(cache))[1], f"{out}/started-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `_worker` saved, by two of them."""
    folder = tmp_path_factory.mktemp("workers")
    mp.spawn(_worker, args=(2, _free_port(), str(cache), str(folder), SHARED), nprocs=2)
    return folder


def test_workers_drop_out_each_for_themselves_and_alike_when_resumed(two_workers: Path) -> None:
    (state, drawn), (other_state, other_drawn) = (torch.load(two_workers / f"noisy-{rank}.pt") for rank in range(2))
    assert not torch.equal(drawn, other_drawn)
    for rank in range(2):
        resumed = torch.load(two_workers / f"resumed-{rank}.pt")
        for key, value in state.items():
            assert torch.equal(other_state[key], value) and torch.equal(resumed[key], value), key


def test_workers_start_from_the_first_ones_codebook(two_workers: Path) -> None:
    state, other = (torch.load(two_workers / f"started-{rank}.pt") for rank in range(2))
    for key, value in state.items():
        assert torch.equal(other[key], value), key


def test_two_workers_equal_one(cache: Path, two_workers: Path) -> None:
    """Nine sentences a step give the workers five and four, with other padding and other codes."""
    for name in SHARED:
        spec = tiny_with(name, **{"train.max_steps": 20, "train.eval_every": 20, "train.batch_size": 9})
        milestones, alone = finish(spec, cache)
        for rank in range(2):
            state, metrics = torch.load(two_workers / f"{name}-{rank}.pt")
            for key, value in alone.items():
                torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-5, msg=f"{name}: {key}")
            for key, value in without_costs(milestones[-1].metrics).items():
                assert metrics[key] == pytest.approx(value, rel=1e-5, abs=1e-5), f"{name}: {key}"


def test_evaluation_learns_nothing(cache: Path) -> None:
    often, state = finish(tiny(**{"train.eval_every": 1}), cache)
    seldom, expected = finish(tiny(**{"train.eval_every": 6}), cache)
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert len(often) == 6 and len(seldom) == 1


def test_metrics_are_complete_and_the_rate_stands_beside_the_quality(cache: Path) -> None:
    metrics = finish(tiny(), cache)[0][-1].metrics
    quality = {"nll", "nll_per_char", "token_accuracy", "exact_match", "bleu", "bleu1", "latent_gain"}
    assert {f"validation/{name}" for name in quality} <= set(metrics)
    assert 0 <= metrics["rate/bits_per_token"] <= metrics["rate/log2_codes"] == 5
    assert 1 <= metrics["codebook/perplexity"] <= 32 and 0 < metrics["codebook/usage"] <= 1
    assert metrics["codebook/perplexity"] == pytest.approx(2 ** metrics["rate/bits_per_token"])
    assert metrics["progress/fraction"] == 1 and metrics["cost/step_seconds"] > 0
    without = finish(tiny_with("none"), cache)[0][-1].metrics
    assert not [key for key in without if key.endswith("bits_per_token")] and "rate/log2_vocabulary" in without


def test_the_bottleneck_is_open_until_quantize_from(cache: Path) -> None:
    first, last = finish(tiny(**{"train.quantize_from": 4}), cache)[0]
    assert "rate/bits_per_token" not in first.metrics and "rate/bits_per_token" in last.metrics


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(cache: Path) -> None:
    spec = tiny(**{"optim.learning_rate": 1e30, "optim.grad_clip": None, "optim.warmup_steps": 0})
    milestones, _ = finish(spec, cache)
    assert milestones[-1].status == "diverged" and milestones[-1].step < 6
    assert "not finite" in milestones[-1].tags["signature/diverged"]
    assert all(math.isfinite(value) for value in milestones[-1].metrics.values())


@pytest.mark.parametrize("name", ["encoder.quantizer.entries_QKD", "shared.weight"])
def test_weights_that_are_not_finite_never_end_as_completed(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's loss is finite, and one number of a weight is not, which that loss did not use."""
    take_step = Trainer.train_step

    def and_spoil(self: Trainer) -> StepLosses:
        losses = take_step(self)
        if self.state.step == 5:
            self.model.state_dict()[name].view(-1)[-1] = math.nan
        return losses

    monkeypatch.setattr(Trainer, "train_step", and_spoil)
    milestones, _ = finish(tiny(), cache)
    assert [each.status for each in milestones] == ["running", "diverged"]
    assert "not finite" in milestones[-1].tags["signature/diverged"] and "validation/nll" not in milestones[-1].metrics


def test_an_evaluation_that_is_not_finite_ends_the_run_as_diverged(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "evaluate", lambda self: Evaluation({"validation/nll": math.inf}, [], []))
    milestones, _ = finish(tiny(), cache)
    assert [each.status for each in milestones] == ["diverged"]


@pytest.mark.parametrize("quantizer", QuantizerConfig.variants)
def test_a_codebook_larger_than_the_data_stays_finite(quantizer: str, cache: Path, tmp_path: Path) -> None:
    for split, line in {"train": "a", "validation": "b", "test": "c"}.items():
        (tmp_path / f"{split}.txt").write_text(f"{line}\n")
    text = {"data.corpus.name": "text", "data.corpus.path": str(tmp_path), "data.tokenizer.kind": "latex"}
    known = QuantizerConfig.variants[quantizer].model_fields
    sizes = {k: v for k, v in TINY.items() if k.split(".")[0] in ("model", "train", "evaluate")}
    spec = RunSpec().with_overrides({**sizes, **text, "train.batch_size": 1, "quantizer.name": quantizer})
    settings = {f"quantizer.{name}": 8 for name in ("first_corners", "codebook_size") if name in known}
    milestones, weights = finish(spec.with_overrides(settings), cache)
    assert milestones[-1].status == "completed"
    assert all(value.isfinite().all() for value in weights.values())


def test_bfloat16_keeps_the_codebook_in_float32(cache: Path) -> None:
    milestones, state = finish(tiny(**{"train.precision": "bfloat16"}), cache)
    assert state["encoder.quantizer.entries_QKD"].dtype == torch.float32
    assert math.isfinite(milestones[-1].metrics["validation/nll"])
