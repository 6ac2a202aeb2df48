"""The laws of every quantizer, tested over the registry and every option of each variant (`contract_cases.py`)."""

from __future__ import annotations

import copy
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from contract_cases import WIDTH, Batch, Case, all_cases, ragged_batch, run, state_of, train_step
from torch import Tensor, nn

from t5vqvae.errors import SettingError
from t5vqvae.quantizers import Quantizer, QuantizerConfig

CASES = all_cases()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_variant = pytest.mark.parametrize("variant", QuantizerConfig.variants.values(), ids=QuantizerConfig.variants)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def trained(case: Case, num_steps: int = 2) -> Quantizer:
    quantizer = case.build()
    torch.manual_seed(1)
    for step in range(num_steps):
        train_step(quantizer, ragged_batch(step))
    return quantizer


@every_case
def test_codes_look_up_to_what_was_quantized(case: Case) -> None:
    quantizer = trained(case).eval()
    if not quantizer.discrete:
        return
    batch = ragged_batch(9)
    out = run(quantizer, batch)
    assert out.codes_BTQ.dtype == torch.int64
    assert torch.equal(quantizer.lookup(out.codes_BTQ), out.quantized_BTE)
    assert (out.codes_BTQ[~batch.mask_BT] == -1).all()
    codes_NQ = out.codes_BTQ[batch.mask_BT]
    assert (codes_NQ >= 0).all() and (codes_NQ < torch.tensor(quantizer.code_sizes)).all()
    assert out.quantized_BTE[~batch.mask_BT].abs().max() == 0


@every_case
def test_training_returns_codes_in_range(case: Case) -> None:
    quantizer = case.build()
    if quantizer.discrete:
        codes_NQ = run(quantizer, ragged_batch()).codes_BTQ[ragged_batch().mask_BT]
        assert (codes_NQ >= 0).all() and (codes_NQ < torch.tensor(quantizer.code_sizes)).all()


@every_case
def test_gradient_passes_through_the_quantized_output_alone(case: Case) -> None:
    quantizer, batch = case.build(), ragged_batch()
    grad_BTE = _gradient(quantizer, batch)
    assert grad_BTE.isfinite().all()
    assert (grad_BTE[batch.mask_BT].abs().sum() > 0) == (quantizer.gradient != "none")
    assert grad_BTE[~batch.mask_BT].abs().max() == 0
    if quantizer.gradient == "straight_through":
        expected_BTE = _through(quantizer, batch.pull_BTE) * batch.mask_BT.unsqueeze(-1)
        torch.testing.assert_close(grad_BTE, expected_BTE)
    elif quantizer.gradient == "exact":
        _check_by_finite_differences(quantizer, batch, grad_BTE)


def _gradient(quantizer: Quantizer, batch: Batch) -> Tensor:
    torch.manual_seed(2)
    states_BTE = batch.states_BTE.clone().requires_grad_()
    quantized_BTE = quantizer(states_BTE, batch.mask_BT, batch.roles_BT).quantized_BTE
    return torch.autograd.grad((quantized_BTE * batch.pull_BTE).sum(), states_BTE)[0]


def _through(quantizer: Quantizer, pull_BTE: Tensor) -> Tensor:
    """Passes a gradient back through the projections alone."""
    for layer in (quantizer.project_out, quantizer.project_in):
        pull_BTE = pull_BTE @ layer.weight if isinstance(layer, nn.Linear) else pull_BTE
    return pull_BTE


@torch.no_grad()
def _check_by_finite_differences(quantizer: Quantizer, batch: Batch, grad_BTE: Tensor, step: float = 1e-3) -> None:
    """Compares directional derivatives with differences; the noise is the same on both sides."""

    def value(states_BTE: Tensor) -> Tensor:
        torch.manual_seed(2)
        return (quantizer(states_BTE, batch.mask_BT, batch.roles_BT).quantized_BTE * batch.pull_BTE).double().sum()

    for seed in range(3):
        towards_BTE = torch.randn(batch.states_BTE.shape, generator=torch.Generator().manual_seed(seed))
        moved = [value(batch.states_BTE + sign * step * towards_BTE) for sign in (1, -1)]
        expected = float((grad_BTE * towards_BTE).sum())
        assert float(moved[0] - moved[1]) / (2 * step) == pytest.approx(expected, rel=0.02, abs=0.05)


@every_case
def test_padding_changes_nothing(case: Case) -> None:
    batch = ragged_batch()
    garbage = Batch(
        torch.where(batch.mask_BT.unsqueeze(-1), batch.states_BTE, 50 * torch.randn(4, 7, WIDTH)),
        batch.mask_BT,
        torch.where(batch.mask_BT, batch.roles_BT, 99),
        batch.pull_BTE,
    )
    packed = Batch(*(part[batch.mask_BT].unsqueeze(0) for part in vars(batch).values()))
    plain, other, without = (_result(case, each) for each in (batch, garbage, packed))
    assert torch.equal(other[0], plain[0]) and torch.equal(other[1], plain[1]) and same(other[2], plain[2])
    if case.build().sees_sentences:
        return  # `packed` is one sentence of all
    # Narrow codes are projected with their padding: on some CPUs a product with fewer rows rounds differently.
    torch.testing.assert_close(without, plain, rtol=1e-5, atol=1e-6)


def _result(case: Case, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    quantizer = case.build()
    torch.manual_seed(2)
    out = train_step(quantizer, batch)
    return out.quantized_BTE[batch.mask_BT], out.aux_loss, state_of(quantizer)


@every_case
def test_evaluation_learns_nothing_and_draws_nothing(case: Case) -> None:
    quantizer = trained(case)
    idle = copy.deepcopy(quantizer).eval()
    quantizer.eval()
    before, random_state = state_of(quantizer), torch.get_rng_state()
    with torch.no_grad():
        first = run(quantizer, ragged_batch(7))
    grad_enabled = run(quantizer, ragged_batch(7))
    assert same(state_of(quantizer), before)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(first.quantized_BTE, grad_enabled.quantized_BTE)
    quantizer.update()
    idle.update()
    assert same(state_of(quantizer), state_of(idle))


@every_case
def test_training_learns(case: Case) -> None:
    quantizer = case.build()
    before = state_of(quantizer)
    train_step(quantizer, ragged_batch())
    learned = {name for name, value in state_of(quantizer).items() if not torch.equal(value, before[name])}
    assert learned - {"_num_updates"} or not before.keys() - {"_num_updates", "_active"}


@every_case
def test_a_resumed_run_equals_an_uninterrupted_one(case: Case) -> None:
    quantizer = trained(case, 2)
    file = io.BytesIO()
    torch.save((quantizer.state_dict(), torch.get_rng_state()), file)
    resumed = case.config.build(WIDTH, num_roles=3, seed=3)
    file.seek(0)
    state, random_state = torch.load(file)
    resumed.load_state_dict(state)
    for each in (quantizer, resumed):
        torch.set_rng_state(random_state)
        for step in (2, 3):
            train_step(each, ragged_batch(step))
    assert same(state_of(resumed), state_of(quantizer))


@every_variant
def test_every_buffer_is_in_a_checkpoint(variant: type[QuantizerConfig]) -> None:
    """`from_pretrained` leaves any other buffer with whatever is in memory: its codes would be arbitrary."""
    quantizer = Case(variant.model_fields["name"].default, {}).build()
    assert {name for name, _ in quantizer.named_buffers()} <= quantizer.state_dict().keys()


@every_case
def test_pickles_and_copies(case: Case) -> None:
    quantizer = trained(case).eval()
    out = run(quantizer, ragged_batch(7))
    for other in (pickle.loads(pickle.dumps(quantizer)), copy.deepcopy(quantizer)):
        assert torch.equal(run(other, ragged_batch(7)).quantized_BTE, out.quantized_BTE)
    assert pickle.loads(pickle.dumps(case.config)) == case.config


@every_case
def test_statistics_stay_float32_under_bfloat16(case: Case) -> None:
    batch = ragged_batch()
    low = Batch(batch.states_BTE.bfloat16(), batch.mask_BT, batch.roles_BT, batch.pull_BTE)
    high = Batch(low.states_BTE.float(), batch.mask_BT, batch.roles_BT, batch.pull_BTE)
    outs, states = [], []
    for each in (low, high):
        quantizer = case.build()
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=each is low):
            out = run(quantizer, each)
        quantizer.update()
        outs.append(out)
        states.append(state_of(quantizer))
    assert outs[0].quantized_BTE.dtype == torch.bfloat16
    assert outs[0].aux_loss.dtype == torch.float32
    assert torch.equal(outs[0].aux_loss, outs[1].aux_loss)
    assert all(value.dtype != torch.bfloat16 for value in states[0].values())
    assert same(states[0], states[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half], ids=["bfloat16", "half"])
@every_case
def test_a_model_of_another_type_is_quantized_in_float32(case: Case, dtype: torch.dtype) -> None:
    """Weights that were cast, and weights that a checkpoint brought in that type, compute as float32 ones."""
    batch = ragged_batch()
    states_BTE = batch.states_BTE.to(dtype)
    plain, cast, loaded = case.build(), case.build().to(dtype), case.build()
    rounded = {k: v.to(dtype) if v.is_floating_point() else v.clone() for k, v in plain.state_dict().items()}
    loaded.load_state_dict(rounded, assign=True)
    reference = case.build()
    reference.load_state_dict(
        {name: value.float() if value.dtype == dtype else value for name, value in rounded.items()}
    )
    for quantizer, expected in ((cast, plain), (loaded, reference)):
        outs = []
        for each, states in ((quantizer, states_BTE), (expected, states_BTE.float())):
            torch.manual_seed(2)
            outs.append(train_step(each, Batch(states, batch.mask_BT, batch.roles_BT, batch.pull_BTE)))
        assert outs[0].quantized_BTE.dtype == dtype and outs[0].aux_loss.dtype == torch.float32
        assert torch.equal(outs[0].quantized_BTE, outs[1].quantized_BTE.to(dtype))
        assert torch.equal(outs[0].aux_loss, outs[1].aux_loss)
        assert all(value.dtype in (torch.float32, torch.int64, torch.bool) for value in quantizer.state_dict().values())
        assert run(quantizer.eval(), Batch(states_BTE, *list(vars(batch).values())[1:])).quantized_BTE.isfinite().all()


@pytest.mark.parametrize("num_states", [1, 2, 3])
@every_case
def test_a_start_from_fewer_states_than_entries_is_finite(case: Case, num_states: int) -> None:
    quantizer = case.config.build(WIDTH, num_roles=3, seed=3)
    if not quantizer.num_start_vectors:
        pytest.skip("starts without states")
    for states_NC in (torch.randn(num_states, quantizer.code_width), torch.ones(num_states, quantizer.code_width)):
        quantizer.start(states_NC, torch.randn(num_states, WIDTH))
        assert all(value.isfinite().all() for value in quantizer.state_dict().values())
        for step in range(2):
            assert train_step(quantizer, ragged_batch(step)).quantized_BTE.isfinite().all()
        assert all(value.isfinite().all() for value in quantizer.state_dict().values())


@every_case
def test_the_step_of_an_optimizer_is_enough_to_learn(case: Case) -> None:
    """A loop that never calls `update` learns what one that does learns, after all micro-batches of a step."""
    called, silent = case.build(), case.build()
    for quantizer in (called, silent):
        outside = nn.Parameter(torch.zeros(WIDTH))
        optimizer = torch.optim.SGD([outside, *quantizer.parameters()], lr=0.05)
        torch.manual_seed(2)
        for step in range(3):
            optimizer.zero_grad()
            for part in range(2):
                batch = ragged_batch(2 * step + part)
                out = quantizer(batch.states_BTE + outside, batch.mask_BT, batch.roles_BT)
                ((out.quantized_BTE * batch.pull_BTE).sum() + out.aux_loss).backward()
            optimizer.step()
            if quantizer is called:
                quantizer.update()
    assert same(state_of(silent), state_of(called))
    assert not getattr(silent, "_recorded", [])


@every_case
def test_without_any_step_memory_is_bounded(case: Case) -> None:
    quantizer = case.build()
    quantizer.most_waiting = 3
    before = int(quantizer._num_updates)
    for step in range(8):
        run(quantizer, ragged_batch(step))
    assert len(getattr(quantizer, "_recorded", [])) <= 3
    assert int(quantizer._num_updates) - before in (0, 2)  # 0: it has nothing to learn


@every_case
def test_a_batch_of_padding_alone_is_fine(case: Case) -> None:
    quantizer, batch = trained(case), ragged_batch()
    empty = Batch(batch.states_BTE, torch.zeros_like(batch.mask_BT), batch.roles_BT, batch.pull_BTE)
    out = train_step(quantizer, empty)
    assert out.num_positions == 0 and out.aux_loss.isfinite() and out.quantized_BTE.abs().max() == 0
    assert all(value.isfinite().all() for value in state_of(quantizer).values())
    assert run(quantizer.eval(), empty).aux_loss.isfinite()


@every_variant
def test_nothing_as_large_as_all_scores_is_kept_for_the_backward_pass(variant: type[QuantizerConfig]) -> None:
    num_positions, size = 400, 256
    overrides = {"codebook_size": size} if "codebook_size" in variant.model_fields else {}
    quantizer = Case(variant.model_fields["name"].default, overrides).build()
    states_BTE = torch.randn(4, num_positions // 4, WIDTH, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        quantizer(states_BTE, torch.ones(4, num_positions // 4, dtype=torch.bool))
    assert max(kept, default=0) < num_positions * size / 4


@every_variant
def test_an_inactive_bottleneck_is_open(variant: type[QuantizerConfig]) -> None:
    quantizer = Case(variant.model_fields["name"].default, {}).build()
    quantizer.active = False
    out = run(quantizer, ragged_batch())
    expected_BTE = quantizer.project_out(quantizer.project_in(ragged_batch().states_BTE))
    assert out.codes_BTQ is None and not out.terms
    torch.testing.assert_close(out.quantized_BTE, expected_BTE * ragged_batch().mask_BT.unsqueeze(-1))


@every_variant
def test_numbers_out_of_range_are_refused_with_the_rule(variant: type[QuantizerConfig]) -> None:
    for name, info in variant.model_fields.items():
        for bound in info.metadata:
            for value in _outside(bound):
                with pytest.raises(SettingError, match=f"{name}={value}.* must "):
                    variant.parse({name: value})
    with pytest.raises(SettingError, match="nonsense is unknown"):
        variant.parse({"nonsense": 1})


def _outside(bound: Any) -> list[Any]:
    edges = {"gt": 0, "ge": -1, "lt": 0, "le": 1}
    return [getattr(bound, key) + shift for key, shift in edges.items() if hasattr(bound, key)]


@every_variant
def test_the_search_space_is_accepted(variant: type[QuantizerConfig]) -> None:
    for name, span in variant.space.items():
        assert name in variant.model_fields
        for value in span["choices"] if span["type"] == "choice" else (span["low"], span["high"]):
            config = variant.parse(span.get("when", {}) | {name: value})
            assert getattr(config, name) == value


def test_two_workers_learn_what_one_learns(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for case in CASES:
        assert same(halves[0][case.id], halves[1][case.id]), f"{case.id}: the workers differ"
        alone, other = (_alone(case, seed) for seed in (1, 2))
        if not same(alone, other):
            continue  # it draws from each worker's own generator: two workers draw other numbers than one
        for name, value in alone.items():
            torch.testing.assert_close(halves[0][case.id][name], value, rtol=1e-4, atol=1e-5, msg=f"{case.id}: {name}")


def _alone(case: Case, seed: int) -> dict[str, Tensor]:
    quantizer = case.build()
    torch.manual_seed(seed)
    for step in range(2):
        train_step(quantizer, ragged_batch(step))
    return state_of(quantizer)


def _work(rank: int, folder: str) -> None:
    """Trains every case on this worker's rows: two sentences each, then all four on the first worker."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    states = {}
    for case in CASES:
        quantizer = case.build()
        torch.manual_seed(rank)
        for step, split in enumerate((2, 4)):
            batch = ragged_batch(step)
            rows = batch.rows(0, split) if rank == 0 else batch.rows(split, 4)
            train_step(quantizer, rows, int(batch.mask_BT.sum()), world=2)
        states[case.id] = state_of(quantizer)
    torch.save(states, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
