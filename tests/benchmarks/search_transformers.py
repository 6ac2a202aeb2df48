"""This project's data and model in the terms of Transformers' `Trainer`, for `search_frameworks.py`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback

from t5vqvae.data import TokenizedSplit
from tests.benchmarks.search_noted import noted


class Examples(Dataset[tuple[TokenizedSplit, int]]):
    """The first examples of a split, by number; `collate` reads them."""

    def __init__(self, split: TokenizedSplit, count: int) -> None:
        self.split = split
        self.count = min(count, len(split))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[TokenizedSplit, int]:
        return self.split, index


def collate(examples: list[tuple[TokenizedSplit, int]]) -> dict[str, Tensor]:
    """Returns a padded batch under the names that the model's `forward` takes."""
    batch = examples[0][0].batch([index for _, index in examples])
    return {"input_ids": batch.input_ids_BT, "attention_mask": batch.mask_BT, "labels": batch.labels_BS}


class Updates(TrainerCallback):
    """Updates the codebook after every step."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        for quantizer in model.quantizers:
            quantizer.update()


class NotedTrainer(Trainer):
    """Trains with a note for every trial."""

    folder: Path

    def train(self, *args: Any, **settings: Any) -> Any:
        with noted(self.folder) as note:
            try:
                return super().train(*args, **settings)
            finally:  # a trial that Optuna prunes leaves by an exception, after its evaluation
                note["evaluated"] = time.time()
