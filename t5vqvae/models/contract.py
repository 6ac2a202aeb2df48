"""The contract of every text autoencoder: what training and evaluation ask of T5VQVAE and of each baseline.

A model turns a batch into a `Memory` (`encode_memory`), scores target tokens given it (`score`), and decodes from it.
The teacher-forced losses follow from these two, so that all models are measured by the same lines (`teacher_forced`).

Letters: B batch, T encoder positions, M positions of the memory, S decoder positions, E model width, Q codes a
position, P prompts, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from t5vqvae.data import Batch
from t5vqvae.errors import CheckpointError
from t5vqvae.quantizers import Quantizer, QuantizerOutput
from t5vqvae.spec.models import ModelConfig

Measures = Mapping[str, tuple[float, float]]
"""Further metrics by name: a numerator and a denominator, each summed over batches and workers before dividing."""


@dataclass(frozen=True)
class Memory:
    """What the decoder may know of a batch.

    Attributes:
        states_BME: The decoder's memory: quantized states, one latent vector, ...
        mask_BM: True at its real positions.
        bottleneck: What the quantizer said; its loss and codes.
        states_BTE: The states before the bottleneck, for its error; None where an error makes no sense.
        prompt_codes_BPQ: Codes of sentence-level prompts, which count in the rate; None without prompts.
        aux_loss: What the losses of this batch add up to, in the units of `bottleneck.aux_loss`; None: that one.
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
        """Returns the memory with every sentence's part given to the one before it."""
        return replace(self, states_BME=self.states_BME.roll(1, 0), mask_BM=self.mask_BM.roll(1, 0))


@dataclass(frozen=True)
class Losses:
    """One micro-batch's losses, kept as sums so that micro-batches and workers add up exactly.

    Attributes:
        nll_sum: Summed cross-entropy of the target tokens, nats.
        num_tokens: Target tokens in that sum.
        aux_loss: Mean over the unpadded encoder positions, weighted.
        num_positions: Those positions.
        terms: The quantizer's weighted terms by name.
        logits_BSV: Scores of every target position.
        codes_BTQ: Chosen codes, -1 at padding; None without a bottleneck.
        squared_error: In evaluation mode, the summed squared difference between states and quantized states of the
            unpadded positions; 0 in training.
        squared_states: Likewise the summed squares of those states.
        prompt_codes_BPQ: Codes beside those of the positions, a fixed number a sentence; None without prompts.
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


class TextAutoencoder(Protocol):
    """What training and evaluation ask of a model: T5VQVAE's and every baseline's contract.

    Attributes:
        quantizer: The bottleneck, with the contract of `t5vqvae.quantizers.base`.
        quantizers: It and every other one of the model (prompts'): all are told when a step is done.
        tokenizer: The one it was trained with.
        last_codes: Codes (B, T, Q) of the latest batch; None without a bottleneck.
        leaks: Whether the decoder sees more than the codes; such a model has no rate.
    """

    quantizer: Quantizer
    quantizers: Sequence[Quantizer]
    tokenizer: PreTrainedTokenizerBase | None
    last_codes: Tensor | None
    leaks: bool

    def losses(self, batch: Any, swap_memory: bool = False) -> Losses:
        """Returns the teacher-forced losses of a `Batch`, as sums."""

    def greedy(self, batch: Any, max_new_tokens: int) -> Tensor:
        """Returns greedily decoded token ids, shape (B, at most max_new_tokens + 1)."""

    def get_input_embeddings(self) -> Any:
        """Returns the module of the token embeddings, where a codebook may start."""

    def states_to_quantize(self, batch: Any) -> Tensor:
        """Returns the unpadded states that the quantizer sees, shape (N, E)."""

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes config, weights (safetensors) and tokenizer."""


def teacher_forced(
    batch: Any, memory: Memory, score: Callable[[Memory], Tensor], swap_memory: bool, training: bool
) -> Losses:
    """Returns the losses of a batch given its memory, as sums.

    Args:
        batch: A `t5vqvae.data.Batch`.
        memory: What the model remembers of it.
        score: Gives the logits of every target position, shape (B, S, V), from a memory.
        swap_memory: Give every sentence the memory of the next one: a decoder that loses nothing by it ignores it.
        training: Whether the error of the bottleneck may be left out.
    """
    bottleneck, states_BTE = memory.bottleneck, memory.states_BTE
    logits_BSV = score(memory.shifted() if swap_memory else memory)
    nll_sum = F.cross_entropy(logits_BSV.flatten(0, 1).float(), batch.labels_BS.flatten(), reduction="sum")
    compared = not training and states_BTE is not None
    return Losses(
        nll_sum=nll_sum,
        num_tokens=batch.num_target_tokens,
        aux_loss=bottleneck.aux_loss if memory.aux_loss is None else memory.aux_loss,
        num_positions=bottleneck.num_positions,
        terms=bottleneck.terms,
        logits_BSV=logits_BSV.detach(),
        codes_BTQ=bottleneck.codes_BTQ,
        squared_error=energy(states_BTE - bottleneck.quantized_BTE, batch.mask_BT) if compared else 0.0,
        squared_states=energy(states_BTE, batch.mask_BT) if compared else 0.0,
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


def load_model(directory: str | Path) -> Any:
    """Returns the autoencoder that `save_pretrained` wrote, whichever architecture it is, with its tokenizer.

    Raises:
        CheckpointError: If the folder holds no model of a known architecture.
    """
    file = Path(directory) / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{directory} holds no model: it has no config.json")
    name = json.loads(file.read_text()).get("model_type")
    if name not in ModelConfig.variants:
        known = ", ".join(sorted(ModelConfig.variants))
        raise CheckpointError(f"{directory} holds a model of type {name!r}, which is none of {known}")
    return ModelConfig.variants[name].load(directory)


@torch.no_grad()
def reconstruct(
    model: Any, texts: Sequence[str], max_new_tokens: int = 64
) -> tuple[list[str], list[list[list[int]]] | None]:
    """Returns what texts become when they pass through any autoencoder, and their codes (None where it has none).

    Codes are listed by text, then by position, one code a codebook.
    """
    tokens = model.tokenizer(list(texts), padding=True, return_tensors="pt")
    labels_BS = tokens["input_ids"].masked_fill(tokens["attention_mask"] == 0, -100)
    chars_B = torch.tensor([len(text) for text in texts])
    batch = Batch(tokens["input_ids"], tokens["attention_mask"].bool(), labels_BS, None, chars_B)
    ids = model.greedy(batch.to(next(model.parameters()).device), max_new_tokens)
    decoded = model.tokenizer.batch_decode(ids, skip_special_tokens=True)
    if model.last_codes is None:
        return decoded, None
    return decoded, [codes_TQ[(codes_TQ >= 0).all(-1)].tolist() for codes_TQ in model.last_codes]
