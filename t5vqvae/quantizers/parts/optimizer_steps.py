"""Learning after an optimizer's step, so that a codebook learns in any training loop, without a call.

Every optimizer of torch runs a global hook after its step. Learners that have seen a training batch wait for it in the
order of their batches, which is the same on all workers: learning can be a collective.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

MOST_WAITING = 64
"""A step rarely has more micro-batches; `train.microbatches` raises the bound."""


class StepLearner(nn.Module):
    """A module that learns from its training batches once a step: in the optimizer's step, or when `update` is called.

    Attributes:
        most_waiting: Training batches that may wait for a step. With more, no step seems to come: the module then
            learns anyway, so that its memory is bounded.
    """

    most_waiting: int = MOST_WAITING
    _num_waiting: int = 0
    _has_learned: bool = False

    def update(self) -> None:
        """Learns from the inputs recorded since the last call, summed over all workers.

        Every worker must call it after each step, also a worker without a position. It does nothing where a step of
        an optimizer of torch has just done it.
        """
        if self._has_learned:
            self._has_learned = False
            return
        self._num_waiting = 0
        _waiting.pop(id(self), None)
        self._update()

    def _update(self) -> None:
        """Learns from the recorded inputs; a module with something to learn overrides it."""

    def _note_batch(self) -> None:
        """Notes a batch, before its inputs are recorded; in evaluation it does nothing."""
        if not (self.training and torch.is_grad_enabled()):
            return
        self._has_learned = False
        if self._num_waiting >= self.most_waiting:
            self.update()
        self._num_waiting += 1
        _waiting[id(self)] = self

    def _learn_after_step(self) -> None:
        """Learns for an optimizer's step; the loop's own call of `update` for this step then does nothing."""
        self.update()
        self._has_learned = True


_waiting: WeakValueDictionary[int, StepLearner] = WeakValueDictionary()


@torch.no_grad()
def _after_step(*_: Any) -> None:
    learners = list(_waiting.values())
    _waiting.clear()
    for learner in learners:
        learner._learn_after_step()


register_optimizer_step_post_hook(_after_step)
