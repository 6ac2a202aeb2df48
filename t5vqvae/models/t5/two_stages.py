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
from typing import Any, Self

from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5Stack

from t5vqvae.errors import SettingError
from t5vqvae.models.t5.first_weights import T5Start
from t5vqvae.quantizers import Quantizer
from t5vqvae.spec.training import TrainingStage


class StagedEncoder(T5Start, T5Stack):
    """T5's encoder with the stages of two-stage training; without a call of `begin_stage` it has one.

    Attributes:
        quantizer: What is frozen with the blocks before it.
        position: Number of those blocks.
        is_quantized: Whether the latest batch has passed the quantizer.
    """

    quantizer: Quantizer
    position: int
    is_quantized: bool = False
    _stage: TrainingStage | None = None

    def begin_stage(self, stage: TrainingStage) -> None:
        """Begins a stage; beginning it again changes nothing.

        Raises:
            SettingError: If no block is behind the quantizer, as only a pretrained checkpoint can show.
        """
        if self._stage == stage:
            return
        if self.position == len(self.block):
            raise SettingError(
                "train.autoencode_steps needs encoder blocks behind the quantizer, which learn the task; set"
                f" model.position to less than the {self.position} blocks of the backbone"
            )
        if self._stage is None:
            for block in self.block[self.position :]:
                block.register_forward_hook(self._left_out)
            self.dropout.register_forward_hook(self._without_dropout)
        self._stage = stage
        for part in self._makers_of_codes():
            part.requires_grad_(stage == "autoencoder")
        for block in self.block[self.position :]:
            # Without a gradient, not with one of zero, which an optimizer would count as a step.
            block.requires_grad_(stage == "task")
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self._stage == "task":
            for part in self._makers_of_codes():
                part.eval()
        return self

    def _makers_of_codes(self) -> Iterator[nn.Module]:
        yield self.embed_tokens
        yield self.quantizer
        yield from self.block[: self.position]

    def _left_out(self, block: nn.Module, args: tuple[Any, ...], result: tuple[Any, ...]) -> tuple[Any, ...]:
        """Replaces a block's states by those that it was given, so that it gets no gradient."""
        return (args[0], *result[1:]) if self._stage == "autoencoder" and self.training else result

    def _without_dropout(self, dropout: nn.Module, args: tuple[Tensor, ...], states_BTE: Tensor) -> Tensor:
        """Undoes the dropout on the embeddings where codes must stay as they are."""
        return args[0] if self._stage == "task" and not self.is_quantized else states_BTE
