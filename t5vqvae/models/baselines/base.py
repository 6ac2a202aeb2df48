"""What baselines that are no T5VQVAE share: losses, greedy decoding, saving and loading.

A baseline implements `encode_memory` (what the decoder may know of a batch) and `logits` (scores of the next token
given that). Weights are best tied by using a matrix twice; second names of one are listed in `_tied_weights_keys`, so
that a checkpoint holds each once.

Letters: B batch, T encoder positions, S decoder positions, E model width, N unpadded positions, V vocabulary.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from t5vqvae.models.contract import Losses, Measures, Memory, teacher_forced
from t5vqvae.quantizers import Quantizer, QuantizerConfig
from t5vqvae.spec.models import ModelConfig
from t5vqvae.spec.run import RunSpec

START, END = 0, 1
"""Where decoding begins (the padding token, as in T5) and the token that ends a text; of every tokenizer here."""


class Autoencoder(nn.Module, ABC):
    """A text autoencoder that is no T5VQVAE; see `t5vqvae.autoencoder.TextAutoencoder`.

    Attributes:
        config: Plain values from which `__init__` builds it again: what `config.json` holds.
        settings: Its part of the spec.
        last_codes: Codes (B, T, Q) of the latest batch; None without.
    """

    quantizer: Quantizer
    embedding: nn.Embedding
    leaks: bool = False
    _tied_weights_keys: tuple[str, ...] = ()

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.settings: Any = ModelConfig.variants[config["model_type"]].parse(config["model"])
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.last_codes: Tensor | None = None

    @classmethod
    def build(cls, spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int = 0) -> Self:
        """Returns the model of a spec, seeded by `spec.seed`."""
        torch.manual_seed(spec.seed)
        config = {
            "model_type": spec.model.name,
            "model": spec.model.as_dict(),
            "quantizer": spec.quantizer.as_dict(),
            "vocab_size": len(tokenizer),
            "num_roles": num_roles,
            "seed": spec.seed,
        }
        model = cls.from_spec(spec, config)
        model.tokenizer = tokenizer
        return model

    @classmethod
    def from_spec(cls, spec: RunSpec, config: dict[str, Any]) -> Self:
        """Returns a new model; a baseline that starts from a checkpoint reads it here."""
        return cls(config)

    def build_quantizer(self, width: int) -> Quantizer:
        """Returns the quantizer that the spec names, for states of `width`."""
        values = self.config["quantizer"]
        settings = QuantizerConfig.variants[values["name"]].parse(values)
        return settings.build(width, self.config["num_roles"], self.config["seed"])

    @property
    def quantizers(self) -> list[Quantizer]:
        """The bottleneck alone."""
        return [self.quantizer]

    def get_input_embeddings(self) -> nn.Embedding:
        """Returns the token embeddings, among which a codebook may start."""
        return self.embedding

    @abstractmethod
    def encode_memory(self, batch: Any) -> Memory:
        """Returns what the decoder may know of a `Batch`."""

    @abstractmethod
    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        """Returns the scores of the token after each of `ids_BS`, shape (B, S, V)."""

    def measures(self, batch: Any, memory: Memory) -> Measures:
        """Returns what else an evaluation shall know of a batch; see `t5vqvae.autoencoder.Measures`."""
        return {}

    def losses(self, batch: Any, swap_memory: bool = False) -> Losses:
        """Returns the teacher-forced losses of a `Batch`, as sums."""
        memory, ids_BS = self.encode_memory(batch), shift_right(batch.labels_BS)
        self.last_codes = memory.bottleneck.codes_BTQ
        if not (self.training or swap_memory):
            memory = replace(memory, measures=self.measures(batch, memory))
        return teacher_forced(batch, memory, lambda given: self.logits(given, ids_BS), swap_memory, self.training)

    @torch.no_grad()
    def greedy(self, batch: Any, max_new_tokens: int) -> Tensor:
        """Returns greedily decoded token ids of a `Batch`, shape (B, at most max_new_tokens + 1)."""
        memory = self.encode_memory(batch)
        self.last_codes = memory.bottleneck.codes_BTQ
        ids_BS = torch.full((len(batch), 1), START, device=batch.input_ids_BT.device)
        ended_B = torch.zeros(len(batch), dtype=torch.bool, device=ids_BS.device)
        for _ in range(max_new_tokens):
            next_B = self.logits(memory, ids_BS)[:, -1].argmax(-1).masked_fill(ended_B, START)
            ids_BS = torch.cat([ids_BS, next_B.unsqueeze(-1)], -1)
            ended_B |= next_B == END
            if ended_B.all():
                break
        return ids_BS

    @torch.no_grad()
    def states_to_quantize(self, batch: Any) -> Tensor:
        """Returns the unpadded states that the quantizer sees, shape (N, E)."""
        states_BTE = self.encode_memory(batch).states_BTE
        assert states_BTE is not None, f"{type(self).__name__} has no states to quantize"
        return states_BTE[batch.mask_BT]

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes config, weights (safetensors) and tokenizer."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1))
        weights = {k: v.contiguous() for k, v in self.state_dict().items() if k not in self._tied_weights_keys}
        save_file(weights, folder / "model.safetensors")
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Returns what `save_pretrained` wrote, with the tokenizer when one lies beside it."""
        folder = Path(directory)
        model = cls(json.loads((folder / "config.json").read_text()))
        missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        assert not unexpected and set(missing) <= set(model._tied_weights_keys), [*unexpected, *missing]
        if (folder / "tokenizer_config.json").is_file():
            model.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return model


def shift_right(labels_BS: Tensor) -> Tensor:
    """Returns the decoder's inputs for target tokens (-100 at padding): START, then all but the last."""
    start_B1 = torch.full_like(labels_BS[:, :1], START)
    return torch.cat([start_B1, labels_BS[:, :-1]], -1).clamp_min(START)
