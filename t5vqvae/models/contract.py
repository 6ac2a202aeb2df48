"""The contract of every text autoencoder: what training and evaluation need from T5VQVAE and from each baseline.

A model encodes a batch to a `Memory`, scores target tokens given that memory, and decodes text from it. One function,
`teacher_forced`, computes the losses of all models from the memory and the scores, so that they are comparable.

Letters: B batch, T encoder positions, M positions of the memory, S decoder positions, E model width, Q codes a
position, P prompts, V vocabulary.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from t5vqvae.data.batch import IGNORED_LABEL, Batch
from t5vqvae.data.texts import Text, tokenized
from t5vqvae.errors import CheckpointError
from t5vqvae.quantizers import Quantizer, QuantizerOutput
from t5vqvae.spec.architectures import ModelConfig
from t5vqvae.spec.training import TrainingStage

if TYPE_CHECKING:
    from t5vqvae.data.role_reader import RoleReader

Measures = Mapping[str, tuple[float, float]]
"""Further metrics by name: numerator and denominator, each summed over batches and workers before the division."""


@dataclass(frozen=True)
class Memory:
    """Everything that the decoder can read of a batch.

    Attributes:
        states_BME: The decoder's memory: quantized states, one latent vector, ...
        mask_BM: True at its real positions.
        bottleneck: The quantizer's output, with its loss and codes.
        states_BTE: The states before the bottleneck, for the quantization error; None for models without that error.
        prompt_codes_BPQ: Codes of sentence-level prompts, which count in the rate; None without prompts.
        aux_loss: The sum of all auxiliary losses, in the units of `bottleneck.aux_loss`; None: `bottleneck.aux_loss`.
        measures: See `Measures`.
    """

    states_BME: Tensor
    mask_BM: Tensor
    bottleneck: QuantizerOutput
    states_BTE: Tensor | None = None
    prompt_codes_BPQ: Tensor | None = None
    aux_loss: Tensor | None = None
    measures: Measures = field(default_factory=dict)

    def shifted(self) -> Memory:
        """Returns a memory in which every sentence has the part of the one before it; the first has the last one's."""
        return replace(self, states_BME=self.states_BME.roll(1, 0), mask_BM=self.mask_BM.roll(1, 0))


@dataclass(frozen=True)
class Losses:
    """One micro-batch's losses, as sums, so that micro-batches and workers add up exactly.

    Attributes:
        nll_sum: Summed cross-entropy of the target tokens, nats.
        num_tokens: Target tokens in that sum.
        aux_loss: Weighted auxiliary loss, a mean over the unpadded encoder positions.
        num_positions: Number of unpadded encoder positions.
        terms: The quantizer's weighted terms by name.
        logits_BSV: Scores of every target position.
        codes_BTQ: Chosen codes, -1 at padding; None without a bottleneck.
        squared_error: In evaluation mode, the summed squared difference between states and quantized states of the
            unpadded positions; 0 in training.
        squared_states: In evaluation mode, the summed squares of those states; 0 in training.
        prompt_codes_BPQ: Codes of the prompts, a fixed number a sentence; None without prompts.
        measures: See `Measures`.
    """

    nll_sum: Tensor
    num_tokens: int
    aux_loss: Tensor
    num_positions: int
    terms: dict[str, Tensor]
    logits_BSV: Tensor
    codes_BTQ: Tensor | None
    squared_error: float
    squared_states: float
    prompt_codes_BPQ: Tensor | None = None
    measures: Measures = field(default_factory=dict)


class TextAutoencoder(nn.Module, ABC):
    """The base class of T5VQVAE and of every baseline: what training and evaluation need from a model.

    Attributes:
        quantizer: The bottleneck, with the contract of `t5vqvae.quantizers.base`.
        tokenizer: The tokenizer that the model was trained with.
        last_codes: Codes (B, T, Q) of the latest batch; None without a bottleneck.
        leaks: Whether the decoder sees more than the codes; such a model has no rate.
    """

    quantizer: Quantizer
    tokenizer: PreTrainedTokenizerBase | None
    last_codes: Tensor | None
    leaks: bool

    @abstractmethod
    def encode_memory(self, batch: Batch) -> Memory:
        """Returns everything that the decoder can read of a batch."""

    @abstractmethod
    def losses(self, batch: Batch, swap_memory: bool = False, memory: Memory | None = None) -> Losses:
        """Returns the teacher-forced losses of a batch, as sums.

        Args:
            batch: B sentences.
            swap_memory: Whether every sentence gets another one's memory (see `Memory.shifted`). If the loss does not
                rise, the decoder ignores the memory.
            memory: The batch's memory, if it was encoded already; None: it is encoded now.
        """

    @abstractmethod
    def greedy(self, batch: Batch, max_new_tokens: int, enough: float = 1.0, memory: Memory | None = None) -> Tensor:
        """Returns greedily decoded token ids, shape (B, at most max_new_tokens + 1).

        Args:
            batch: B sentences.
            max_new_tokens: Tokens after which decoding stops.
            enough: Share of the sentences that must have ended before decoding stops; the others are cut off there.
            memory: As for `losses`.
        """

    @abstractmethod
    def states_to_quantize(self, batch: Batch) -> Tensor:
        """Returns the unpadded states before the quantizer, shape (N, E)."""

    @abstractmethod
    def get_input_embeddings(self) -> nn.Embedding:
        """Returns the token embeddings, from which a codebook may start."""

    @abstractmethod
    def save_pretrained(self, directory: str | Path, /) -> None:
        """Writes config, weights (safetensors) and tokenizer."""

    def latents_of(self, memory: Memory) -> Tensor:
        """Returns what the bottleneck passes on, one vector a token or a sentence, shape (B, T, E).

        By default it is the memory itself; a model with layers between the two overrides both this and `with_latents`.
        """
        return memory.states_BME

    def with_latents(self, memory: Memory, latents_BTE: Tensor, mask_BT: Tensor) -> Memory:
        """Returns the memory that other latents give; whatever else the decoder reads, such as prompts, stays."""
        return replace(memory, states_BME=latents_BTE, mask_BM=mask_BT)

    def begin_stage(self, stage: TrainingStage) -> None:
        """Begins a stage of two-stage training; defined where a spec allows `train.autoencode_steps`."""
        raise NotImplementedError

    def begin_step(self, step: int, noise_steps: int) -> None:
        """Begins a training step, counted from 0; defined where noise grows over the first `noise_steps`."""

    @property
    def has_codes(self) -> bool:
        """Whether a sentence has codes: the bottleneck is discrete, and in use."""
        return self.quantizer.discrete and self.quantizer.active

    @property
    def quantizers(self) -> Sequence[Quantizer]:
        """The bottleneck, then that of the prompts if there are any."""
        return [self.quantizer]

    def require_tokenizer(self) -> PreTrainedTokenizerBase:
        """Returns the tokenizer.

        Raises:
            ValueError: If the model has none.
        """
        if self.tokenizer is None:
            raise ValueError("model.tokenizer is None: save the tokenizer with the model, or set model.tokenizer")
        return self.tokenizer

    def tied_names(self) -> set[str]:
        """Returns the second names of tied weights; a checkpoint has every matrix once, under its first name."""
        return set()


def teacher_forced(
    batch: Batch, memory: Memory, score: Callable[[Memory], Tensor], swap_memory: bool, training: bool
) -> Losses:
    """Returns the losses of a batch given its memory, as sums.

    Args:
        batch: B sentences.
        memory: The model's memory of them.
        score: Returns the logits of every target position, shape (B, S, V), given a memory.
        swap_memory: See `TextAutoencoder.losses`.
        training: Whether to leave out the error of the bottleneck.
    """
    bottleneck, states_BTE = memory.bottleneck, memory.states_BTE
    logits_BSV = score(memory.shifted() if swap_memory else memory)
    nll_sum = F.cross_entropy(logits_BSV.flatten(0, 1).float(), batch.labels_BS.flatten(), reduction="sum")
    squared_error = squared_states = 0.0
    if not training and states_BTE is not None:
        squared_error = energy(states_BTE - bottleneck.quantized_BTE, batch.mask_BT)
        squared_states = energy(states_BTE, batch.mask_BT)
    return Losses(
        nll_sum=nll_sum,
        num_tokens=batch.num_target_tokens,
        aux_loss=bottleneck.aux_loss if memory.aux_loss is None else memory.aux_loss,
        num_positions=bottleneck.num_positions,
        terms=bottleneck.terms,
        logits_BSV=logits_BSV.detach(),
        codes_BTQ=bottleneck.codes_BTQ,
        squared_error=squared_error,
        squared_states=squared_states,
        prompt_codes_BPQ=memory.prompt_codes_BPQ,
        measures=memory.measures,
    )


def energy(x_BTE: Tensor, mask_BT: Tensor) -> float:
    """Returns the summed squares of the unpadded positions."""
    return float((x_BTE.detach().float().square() * mask_BT.unsqueeze(-1)).sum())


def pooled(states_BTE: Tensor, mask_BT: Tensor) -> Tensor:
    """Returns the mean over the unpadded positions, shape (B, E)."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(states_BTE.dtype)
    return (states_BTE * weights_BT1).sum(1) / weights_BT1.sum(1).clamp_min(1)


def model_folder(folder: Path) -> Path:
    """Returns the folder of a model: a checkpoint's own, or the folder itself."""
    inner = folder / "model"
    return inner if inner.is_dir() else folder


def load_model(directory: str | Path) -> TextAutoencoder:
    """Returns the autoencoder of any architecture that `save_pretrained` wrote, with its tokenizer.

    Raises:
        CheckpointError: If the folder has no model of a known architecture.
    """
    file = Path(directory) / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{directory} holds no model: it has no config.json; name the folder of a model")
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} holds no model's settings: {error!r}; use another copy") from error
    if name not in ModelConfig.variants:
        known = ", ".join(sorted(ModelConfig.variants))
        raise CheckpointError(f"{directory} holds a model of type {name!r}, which is none of {known}; name another")
    return ModelConfig.variants[name].load(directory)


@torch.no_grad()
def reconstruct(
    model: TextAutoencoder, texts: str | Sequence[Text], max_new_tokens: int = 64, roles: RoleReader | None = None
) -> tuple[list[str], list[list[list[int]]] | None]:
    """Encodes texts and decodes them greedily; returns the decoded texts and the codes (None without codes).

    The codes are a list by text, of lists by position, of one code a codebook. `roles` reads the roles of texts, for a
    quantizer that was trained with them.

    Raises:
        DataError: If one of the texts is no text.
    """
    tokenizer = model.require_tokenizer()
    ids_BT, mask_BT = tokenized(tokenizer, texts)
    if not len(ids_BT):
        return [], [] if model.quantizer.discrete else None
    # The labels are not read: only their shape is, by models that make their decoder's inputs from them.
    labels_BS = ids_BT.masked_fill(~mask_BT, IGNORED_LABEL)
    roles_BT = None if roles is None else roles.batch(tokenizer, [texts] if isinstance(texts, str) else texts)
    batch = Batch(ids_BT, mask_BT, labels_BS, roles_BT, mask_BT.sum(-1))
    ids = model.greedy(batch.to(next(model.parameters()).device), max_new_tokens)
    decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
    if model.last_codes is None:
        return decoded, None
    return decoded, [codes_TQ[(codes_TQ >= 0).all(-1)].tolist() for codes_TQ in model.last_codes]
