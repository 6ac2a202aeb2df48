"""The metrics of training itself: losses of the last step, costs and progress."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from t5vqvae.training.memory import memory_costs
from t5vqvae.training.optim import learning_rate_at
from t5vqvae.training.training_state import TrainingState


@dataclass(frozen=True)
class StepLosses:
    """The losses of one optimizer step, over all micro-batches and workers.

    Attributes:
        nll: Mean cross-entropy, nats a target token.
        aux_loss: Weighted auxiliary loss, a mean over the encoder positions.
        grad_norm: Gradient norm before clipping.
    """

    nll: Tensor
    aux_loss: Tensor
    grad_norm: Tensor

    @property
    def total(self) -> Tensor:
        """The trained loss: `nll` + `aux_loss`."""
        return self.nll + self.aux_loss


def progress_metrics(
    state: TrainingState, losses: StepLosses, epoch: int, step_seconds: float | None
) -> dict[str, float]:
    """Returns the metrics `train/`, `cost/` and `progress/` of a run.

    Args:
        state: The run after its last step.
        losses: Those of the last step.
        epoch: The current epoch, from 0.
        step_seconds: Mean duration of the latest steps; None: unknown, left out.
    """
    nll, aux_loss = float(losses.nll), float(losses.aux_loss)
    max_steps = state.spec.train.max_steps
    metrics = {
        "train/loss": nll + aux_loss,
        "train/nll": nll,
        "train/aux_loss": aux_loss,
        "train/grad_norm": float(losses.grad_norm),
        "train/learning_rate": learning_rate_at(state.step - 1, state.spec.optim, max_steps),
        "cost/parameters": float(sum(p.numel() for p in state.model.parameters())),
        "progress/step": float(state.step),
        "progress/tokens": float(state.num_tokens),
        "progress/epoch": float(epoch),
        "progress/fraction": state.step / max_steps,
    }
    if stage := state.spec.train.stage_of(state.step - 1):
        metrics["progress/stage"] = 1.0 if stage == "autoencoder" else 2.0
    if step_seconds is not None:
        metrics["cost/step_seconds"] = step_seconds
    return metrics | memory_costs(state.device)
