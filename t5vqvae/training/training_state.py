"""The state of a run: everything that it needs to resume, saved to a checkpoint and loaded from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

from t5vqvae.data.role_reader import write_role_names
from t5vqvae.errors import CheckpointError
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec
from t5vqvae.training import checkpoint
from t5vqvae.training.progress_bars import without_progress_bars


@dataclass
class TrainingState:
    """Everything that a run needs to resume from this moment: bit for bit on a CPU, on a GPU up to rounding.

    A GPU adds up the gradients of embeddings, and the inputs of each code, in an order that differs from run to run.

    Attributes:
        spec: The run.
        model: The model in training.
        optimizer: Its optimizer.
        device: Where both are.
        step: Optimizer steps done.
        num_tokens: Target tokens trained on, over all workers.
        history: Metrics of all milestones so far.
        milestone: The content of `milestone.json`.
        role_names: Names of the role numbers of the data.
    """

    spec: RunSpec
    model: TextAutoencoder
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int = 0
    num_tokens: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    milestone: checkpoint.StoredMilestone = field(default_factory=checkpoint.no_milestone)
    role_names: Sequence[str] = ()

    def save(self, directory: Path) -> Path:
        """Writes a checkpoint of this moment into `directory` and returns its folder.

        Raises:
            CheckpointError: If it could not be written; nothing of it is left then.
        """
        return checkpoint.write(checkpoint.path_of(directory, self.step), self.spec, self.milestone, self._save_into)

    def _save_into(self, folder: Path) -> None:
        """Writes weights and training state into a checkpoint folder."""
        with without_progress_bars():
            self.model.save_pretrained(folder / "model")
        if self.model.quantizer.reads_roles:
            write_role_names(folder / "model", self.role_names)
        state = {
            "step": self.step,
            "num_tokens": self.num_tokens,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "random_cpu": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }
        torch.save(state, folder / "training.pt")

    def load(self, path: Path) -> None:
        """Replaces this state by a checkpoint of the same spec.

        Raises:
            CheckpointError: If the checkpoint is damaged or belongs to another spec.
        """
        checkpoint.verify(path)
        checkpoint.refuse_other_spec(path, self.spec)
        weights = load_file(path / "model" / "model.safetensors")
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        if unexpected or set(missing) - self.model.tied_names():
            wrong = [*unexpected, *missing][:3]
            raise CheckpointError(f"checkpoint {path} does not fit the model: {wrong}; use another folder")
        state = torch.load(path / "training.pt", map_location=self.device, weights_only=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.num_tokens, self.history = state["step"], state["num_tokens"], state["history"]
        torch.set_rng_state(state["random_cpu"].cpu())
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"].cpu())
