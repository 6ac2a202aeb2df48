"""Two stages of training: an auto-encoder first, then what stands behind its codes.

1. `autoencoder`: embeddings, the blocks before the quantizer, the quantizer and the decoder learn to give back the
   source; the encoder blocks behind the quantizer are left out and keep their first weights.
2. `task`: what made the codes is frozen, so that the codes of a text never change again: it runs as in evaluation,
   without dropout and noise, and its codebook does not move. The blocks behind the quantizer, the final layer norm and
   the decoder learn the task. The embeddings are frozen too, so the decoder reads and predicts with them as they are.

Evaluation always runs the whole network on the task.

Source: the two-stage form of inference from two premises in T5VQVAE, arXiv 2402.00723.

Same: blocks 1..n and the quantizer learn as an auto-encoder, then the remaining blocks learn inference.

Different: the decoder learns in both stages; the optimizer and its learning rate schedule go on through the switch.

Letters: B batch, T encoder positions, E model width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from t5vqvae.spec.training import TrainingStage

if TYPE_CHECKING:
    from t5vqvae.models.t5.encoder import QuantizedEncoder


class TwoStages:
    """The present stage of an encoder in training; hooks hold it to that stage."""

    def __init__(self, encoder: QuantizedEncoder, position: int) -> None:
        self._encoder = encoder
        self._position = position
        self._behind = list(encoder.block[position:])
        self._stage: TrainingStage = "autoencoder"
        for block in self._behind:
            block.register_forward_hook(self._left_out)
        encoder.dropout.register_forward_hook(self._without_dropout)

    def begin(self, stage: TrainingStage) -> None:
        """Begins a stage; beginning it again changes nothing."""
        self._stage = stage
        for part in self._frozen_parts():
            part.requires_grad_(stage == "autoencoder")
        for block in self._behind:  # without a gradient, not with one of zero, which an optimizer would count as a step
            block.requires_grad_(stage == "task")
        self.hold()

    def hold(self) -> None:
        """Puts the frozen parts into evaluation mode; called whenever the encoder's mode changes."""
        if self._stage == "task":
            for part in self._frozen_parts():
                part.eval()

    def _frozen_parts(self) -> Iterator[nn.Module]:
        yield self._encoder.embed_tokens
        yield self._encoder.quantizer
        yield from self._encoder.block[: self._position]

    def _left_out(self, block: nn.Module, args: tuple[Any, ...], result: tuple[Any, ...]) -> tuple[Any, ...]:
        """Replaces a block's states by those that it was given, so that it gets no gradient."""
        if self._stage == "autoencoder" and self._encoder.training:
            return (args[0], *result[1:])
        return result

    def _without_dropout(self, dropout: nn.Module, args: tuple[Tensor, ...], states_BTE: Tensor) -> Tensor:
        """Undoes the dropout on the embeddings where codes must stay as they are."""
        return args[0] if self._stage == "task" and not self._encoder.is_quantized else states_BTE
