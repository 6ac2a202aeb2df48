"""What the contract tests run over: every registered variant, and every option of each, on one small ragged batch.

Nothing here names a variant: a case is a variant's default (made small), or that with one of its choices, flags or
optional terms changed. A new variant and a new option are therefore tested without an edit.

Letters: B batch, T positions, E model width, V tokens.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import torch
from torch import Tensor

from t5vqvae.errors import SettingError
from t5vqvae.quantizers import Quantizer, QuantizerConfig, QuantizerOutput

WIDTH, ROLES = 8, 3
SMALL: Mapping[str, Any] = {
    "codebook_size": 16,
    "top_k": 2,
    "num_samples": 3,
    "recluster_every": 1,
    "vectors_per_code": 4,
    "double_every": 1,
    "depth": 3,
}
"""Settings under which all of a variant happens within a few steps; a variant takes those it knows."""
MORE: Mapping[str, tuple[Any, ...]] = {"num_codebooks": (2,), "code_width": (4,), "dropout": (1.0,), "groups": (2,)}


@dataclass(frozen=True)
class Case:
    """One configuration under test."""

    variant: str
    overrides: Mapping[str, Any]

    @property
    def id(self) -> str:
        return "-".join([self.variant, *(f"{name}={value}" for name, value in self.overrides.items())])

    @property
    def config(self) -> QuantizerConfig:
        known = QuantizerConfig.variants[self.variant]
        small = {name: value for name, value in SMALL.items() if name in known.model_fields}
        return known.parse({"name": self.variant} | small | dict(self.overrides))

    def build(self) -> Quantizer:
        """Returns the quantizer, started, in training mode; the same at every call."""
        torch.manual_seed(0)
        quantizer = self.config.build(WIDTH, num_roles=ROLES, seed=3)
        generator = torch.Generator().manual_seed(5)
        if quantizer.num_start_vectors:
            vectors_NC = torch.randn(200, quantizer.code_width, generator=generator)
            quantizer.start(vectors_NC, torch.randn(40, WIDTH, generator=generator))
        return quantizer


@dataclass(frozen=True)
class Batch:
    """Ragged states with what the rest of a model would say of them: roles, and a gradient from the decoder."""

    states_BTE: Tensor
    mask_BT: Tensor
    roles_BT: Tensor
    pull_BTE: Tensor

    def rows(self, first: int, end: int) -> Batch:
        parts = (self.states_BTE, self.mask_BT, self.roles_BT, self.pull_BTE)
        return Batch(*(part[first:end] for part in parts))


def ragged_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    lengths_B1 = torch.tensor([[7], [3], [1], [5]])
    mask_BT = torch.arange(7) < lengths_B1
    roles_BT = torch.randint(0, ROLES + 1, (4, 7), generator=generator)
    states, pull = (torch.randn(4, 7, WIDTH, generator=generator) for _ in range(2))
    return Batch(states, mask_BT, roles_BT, pull)


def all_cases() -> list[Case]:
    """Returns a case for each variant's default and for each other value of its options that the variant accepts."""
    cases = []
    for variant, config in QuantizerConfig.variants.items():
        cases.append(Case(variant, {}))
        for name, info in config.model_fields.items():
            others = [] if name == "name" else [v for v in _values(name, info.annotation) if v != info.default]
            cases += [Case(variant, {name: value}) for value in others if _accepted(Case(variant, {name: value}))]
        if "shared_codebook" in config.model_fields:
            cases.append(Case(variant, {"num_codebooks": 2, "shared_codebook": True}))
    return cases


def _values(name: str, annotation: Any) -> Iterator[Any]:
    """Yields the values of an option worth a case: choices, flags, and one number where None means without."""
    yield from MORE.get(name, ())
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    for part in parts:
        if get_origin(part) is Literal:
            yield from get_args(part)
        elif part is bool:
            yield from (True, False)
        elif part is float and type(None) in parts:
            yield 0.25
    if type(None) in parts:
        yield None


def _accepted(case: Case) -> bool:
    try:
        case.build()
    except SettingError:
        return False
    return True


def run(quantizer: Quantizer, batch: Batch) -> QuantizerOutput:
    return quantizer(batch.states_BTE, batch.mask_BT, batch.roles_BT)


def train_step(quantizer: Quantizer, batch: Batch, num_positions: int | None = None, world: int = 1) -> QuantizerOutput:
    """One step of plain gradient descent and one `update`, as a data-parallel trainer does it.

    Args:
        quantizer: In training mode.
        batch: This worker's rows.
        num_positions: Unpadded positions of all workers; None: this is the only one.
        world: How many workers; their gradients are averaged.
    """
    out = run(quantizer, batch)
    own = out.num_positions
    total = own if num_positions is None else num_positions
    pulled = (out.quantized_BTE * batch.pull_BTE * batch.mask_BT.unsqueeze(-1)).sum() * world / max(1, total)
    loss = pulled + out.aux_loss * own * world / max(1, total)
    if loss.requires_grad:
        loss.backward()
    _descend(quantizer, world)
    quantizer.update()
    return out


@torch.no_grad()
def _descend(quantizer: Quantizer, world: int, learning_rate: float = 0.05) -> None:
    for parameter in quantizer.parameters():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if world > 1:
            torch.distributed.all_reduce(grad)
        parameter -= learning_rate * grad / world
        parameter.grad = None


def state_of(quantizer: Quantizer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in quantizer.state_dict().items()}
