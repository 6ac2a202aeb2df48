"""T5 as Transformers has it, to compare models made of its blocks with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
"""What T5 v1.1 and flan-T5 do otherwise."""


def saved_t5(folder: Path, vocab_size: int = 400, **settings: Any) -> transformers.T5ForConditionalGeneration:
    """Returns a small T5 with random weights, the same at every call, which it also saves in a folder."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4, "num_layers": 3, "num_decoder_layers": 2}
    config = transformers.T5Config(vocab_size=vocab_size, decoder_start_token_id=0, **{**sizes, **settings})
    plain = transformers.T5ForConditionalGeneration(config)
    plain.save_pretrained(folder)
    return plain.eval()


def assert_starts_like_t5(ours: dict[str, nn.Parameter], config: transformers.PretrainedConfig, at_least: int) -> None:
    """Asserts that large weights spread as those of a fresh T5 do, and that `at_least` of them were compared."""
    plain = transformers.T5ForConditionalGeneration(transformers.T5Config(**config.to_diff_dict()))
    theirs = {name: weight for name, weight in plain.named_parameters() if weight.numel() > 500 and name in ours}
    for name, weight in theirs.items():
        assert ours[name].std().item() == pytest.approx(weight.std().item(), rel=0.2), name
    assert len(theirs) >= at_least
