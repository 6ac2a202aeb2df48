"""The base class of baselines that are no T5VQVAE: losses, greedy decoding, saving and loading.

A baseline implements `encode_memory` (everything that the decoder can read of a batch) and `logits` (scores of the
next token given that memory). To tie weights, use one matrix twice. If a matrix has a second name, list that name in
`_tied_names`, so that a checkpoint has every matrix once.

Letters: B batch, T encoder positions, S decoder positions, E model width, N unpadded positions, V vocabulary.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from t5vqvae.data.batch import Batch
from t5vqvae.data.special_tokens import guard
from t5vqvae.errors import CheckpointError
from t5vqvae.files import read_json
from t5vqvae.models.backbones import UNREADABLE, first_line, load_whole, refuse_few_rows
from t5vqvae.models.contract import Losses, Measures, Memory, TextAutoencoder, teacher_forced
from t5vqvae.quantizers import Quantizer, QuantizerConfig
from t5vqvae.spec.architectures import ModelConfig
from t5vqvae.spec.run import RunSpec

START, END = 0, 1
"""The first decoder input (the padding token, as in T5) and the end-of-text token of every tokenizer here."""

Values = dict[str, Any]
"""Plain nested values, as in JSON."""


class BaselineConfig(TypedDict):
    """The content of a baseline's `config.json`, from which `__init__` builds the model again.

    Attributes:
        model_type: The architecture's name in the spec.
        model: The spec's `model` section.
        quantizer: The spec's `quantizer` section.
        vocab_size: V.
        num_roles: Number of semantic roles in the data.
        seed: The run's seed.
        backbones: Transformers' configs of the checkpoints that the model started from, by setting; `optimus` only.
        network: Transformers' config of the frozen network; `cross_layer` only.
    """

    model_type: str
    model: Values
    quantizer: Values
    vocab_size: int
    num_roles: int
    seed: int
    backbones: NotRequired[dict[str, Values]]
    network: NotRequired[Values]


class Autoencoder(TextAutoencoder):
    """A text autoencoder that is no T5VQVAE.

    Attributes:
        config: See `BaselineConfig`.
        settings: The spec's `model` section.
    """

    settings: ModelConfig
    embedding: nn.Embedding
    leaks: bool = False
    _tied_names: tuple[str, ...] = ()

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config.copy()
        self.settings = ModelConfig.variants[config["model_type"]].parse(config["model"])
        self.tokenizer = None
        self.last_codes = None

    @classmethod
    def build(cls, spec: RunSpec, tokenizer: PreTrainedTokenizerBase, num_roles: int = 0) -> Self:
        """Returns the model of a spec, seeded by `spec.seed`."""
        torch.manual_seed(spec.seed)
        config: BaselineConfig = {
            "model_type": spec.model.name,
            "model": spec.model.as_dict(),
            "quantizer": spec.quantizer.as_dict(),
            "vocab_size": len(tokenizer),
            "num_roles": num_roles,
            "seed": spec.seed,
        }
        model = cls.from_spec(spec, config)
        refuse_few_rows(spec.model.backbone, model.get_input_embeddings().num_embeddings, tokenizer)
        model.tokenizer = tokenizer
        return model

    @classmethod
    def from_spec(cls, spec: RunSpec, config: BaselineConfig) -> Self:
        """Returns a new model; a baseline that starts from a checkpoint overrides this to read it."""
        return cls(config)

    def build_quantizer(self, width: int) -> Quantizer:
        """Returns the quantizer that the spec names, for states of `width`."""
        values = self.config["quantizer"]
        settings = QuantizerConfig.variants[values["name"]].parse(values)
        return settings.build(width, self.config["num_roles"], self.config["seed"])

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def tied_names(self) -> set[str]:
        return set(self._tied_names)

    @abstractmethod
    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        """Returns the scores of the token after each of `ids_BS`, shape (B, S, V)."""

    def measures(self, batch: Batch, memory: Memory) -> Measures:
        """Returns further metrics of a batch for an evaluation; see `t5vqvae.models.contract.Measures`."""
        return {}

    def losses(self, batch: Batch, swap_memory: bool = False, memory: Memory | None = None) -> Losses:
        memory, ids_BS = memory or self.encode_memory(batch), shift_right(batch.labels_BS)
        self.last_codes = memory.bottleneck.codes_BTQ
        if not (self.training or swap_memory):
            memory = replace(memory, measures=self.measures(batch, memory))
        return teacher_forced(batch, memory, lambda given: self.logits(given, ids_BS), swap_memory, self.training)

    @torch.no_grad()
    def greedy(self, batch: Batch, max_new_tokens: int, enough: float = 1.0, memory: Memory | None = None) -> Tensor:
        memory = memory or self.encode_memory(batch)
        self.last_codes = memory.bottleneck.codes_BTQ
        ids_BS = torch.full((len(batch), 1), START, device=batch.input_ids_BT.device)
        ended_B = torch.zeros(len(batch), dtype=torch.bool, device=ids_BS.device)
        for _ in range(max_new_tokens):
            next_B = self.logits(memory, ids_BS)[:, -1].argmax(-1).masked_fill(ended_B, START)
            ids_BS = torch.cat([ids_BS, next_B.unsqueeze(-1)], -1)
            ended_B |= next_B == END
            if int(ended_B.sum()) >= enough * len(batch):
                break
        return ids_BS

    @torch.no_grad()
    def states_to_quantize(self, batch: Batch) -> Tensor:
        states_BTE = self.encode_memory(batch).states_BTE
        assert states_BTE is not None, f"{type(self).__name__} has no states to quantize"
        return states_BTE[batch.mask_BT]

    def save_pretrained(self, directory: str | Path) -> None:
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1))
        weights = {k: v.contiguous() for k, v in self.state_dict().items() if k not in self.tied_names()}
        save_file(weights, folder / "model.safetensors")
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Returns the model that `save_pretrained` wrote, with the tokenizer if it was saved too.

        Raises:
            CheckpointError: If a file is damaged or missing, or a tensor is.
        """
        folder = Path(directory)
        try:
            model = cls(read_json(folder / "config.json"))
            fault = load_whole(model, load_file(folder / "model.safetensors"), model.tied_names())
        except UNREADABLE as error:
            raise CheckpointError(
                f"the model in {folder} cannot be loaded: {first_line(error)}; use another copy"
            ) from error
        if fault:
            raise CheckpointError(f"the model in {folder} is not whole: {fault}; use another copy")
        if (folder / "tokenizer_config.json").is_file():
            model.tokenizer = guard(transformers.AutoTokenizer.from_pretrained(folder))
        return model


def shift_right(labels_BS: Tensor) -> Tensor:
    """Returns the decoder's inputs for target tokens (-100 at padding): START, then all tokens but the last."""
    start_B1 = torch.full_like(labels_BS[:, :1], START)
    return torch.cat([start_B1, labels_BS[:, :-1]], -1).clamp_min(START)
