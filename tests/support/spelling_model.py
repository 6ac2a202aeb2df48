"""A model without a network whose codes name words: everything that an operation does to it is known by hand.

The state of a word is its code vector; the decoder reads the nearest word from every position. Words lie on a line, in
the order of `WORDS`: the vector of word k is (k, 0), so the squared distance of two words is that of their numbers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from t5vqvae.data.batch import Batch
from t5vqvae.models.contract import Losses, Memory, TextAutoencoder
from t5vqvae.quantizers import Quantizer, QuantizerConfig
from t5vqvae.quantizers.base import QuantizerOutput

WORDS = ["<pad>", "</s>", "<unk>", "a", "bat", "cat", "dog", "eats", "and", "honey", "eggs", "in", "caves", "trees",
         "big", "old"]  # fmt: skip
CODE = {word: number for number, word in enumerate(WORDS)}
POINTS = torch.stack([torch.arange(float(len(WORDS))), torch.zeros(len(WORDS))], -1)


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel(CODE, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", CODE["</s>"])])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def codes(words: str) -> list[int]:
    """The codes of words, the end of the text included."""
    return [CODE[word] for word in [*words.split(), "</s>"]]


class Spelling(TextAutoencoder):
    """Codes name words; with quantizer `none` the vectors do."""

    def __init__(self, name: str = "vq") -> None:
        super().__init__()
        self.quantizer, self.tokenizer, self.leaks, self.last_codes = quantizer(name), tokenizer(), False, None
        self.weight = nn.Parameter(torch.zeros(1))  # has a device

    def encode_memory(self, batch: Batch) -> Memory:
        states_BTE = POINTS[batch.input_ids_BT]
        output: QuantizerOutput = self.quantizer(states_BTE, batch.mask_BT)
        self.last_codes = output.codes_BTQ
        return Memory(output.quantized_BTE, batch.mask_BT, output, states_BTE)

    def greedy(self, batch: Batch, max_new_tokens: int, enough: float = 1.0, memory: Memory | None = None) -> Tensor:
        memory = memory or self.encode_memory(batch)
        words_BM = torch.cdist(memory.states_BME, POINTS).argmin(-1)
        return words_BM * memory.mask_BM

    def losses(self, batch: Batch, swap_memory: bool = False, memory: Memory | None = None) -> Losses:
        raise NotImplementedError

    def states_to_quantize(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def get_input_embeddings(self) -> nn.Embedding:
        raise NotImplementedError

    def save_pretrained(self, directory: str | Path, /) -> None:
        raise NotImplementedError


def quantizer(name: str) -> Quantizer:
    """A quantizer whose entries are `POINTS`; `rvq` adds a second codebook whose entry 0 is nothing."""
    if name == "none":
        return QuantizerConfig.variants["none"]().build(2)
    values: dict[str, object] = {"name": name, "codebook_size": len(WORDS)}
    values |= {"rvq": {"depth": 2, "learning": "gradient", "start": "random"}, "sfvq": {"first_corners": 4}}.get(
        name, {}
    )
    built = QuantizerConfig.variants[name].parse(values).build(2)
    with torch.no_grad():
        if name == "sfvq":
            built.corners_KC.copy_(POINTS)
            built._num_corners.fill_(len(WORDS))
        elif name == "rvq":
            built.layers[0].entries_QKD[0] = POINTS
            built.layers[1].entries_QKD[0] = torch.arange(len(WORDS))[:, None] * torch.tensor([0.0, 5.0])
        else:
            built.entries_QKD[0] = POINTS
    return built
