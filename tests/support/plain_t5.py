"""T5 as Transformers has it, to compare models made of its blocks with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
"""What T5 v1.1 and flan-T5 do otherwise: gated feed-forward layers, and an output layer of their own."""
MT5 = {"kind": "MT5", **V1_1}


def saved_t5(folder: Path, vocab_size: int = 400, kind: str = "T5", **settings: Any) -> transformers.PreTrainedModel:
    """Returns a small T5 with random weights, the same at every call, which it also saves in a folder.

    With `tie_word_embeddings=False` the output layer is a matrix of its own, and config.json is as the published ones
    are: Transformers 5 itself would tie the two, and write so.
    """
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_heads": 4, "num_layers": 3, "num_decoder_layers": 2}
    config_class, model_class = (getattr(transformers, kind + name) for name in ("Config", "ForConditionalGeneration"))
    config = config_class(vocab_size=vocab_size, decoder_start_token_id=0, **{**sizes, **settings})
    plain = model_class(config)
    own_head = settings.get("tie_word_embeddings") is False
    if own_head:
        plain.lm_head.weight = nn.Parameter(torch.randn_like(plain.shared.weight))
    plain.save_pretrained(folder)
    if own_head:
        edit_json(folder / "config.json", tie_word_embeddings=False, scale_decoder_outputs=None)
        plain = model_class.from_pretrained(folder)
        assert plain.lm_head.weight is not plain.shared.weight
    return plain.eval()


def edit_json(file: Path, **changes: Any) -> None:
    """Changes keys of a JSON file; None deletes one."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


def assert_starts_like_t5(ours: dict[str, nn.Parameter], config: transformers.PretrainedConfig, at_least: int) -> None:
    """Asserts that large weights spread as those of a fresh T5 do, and that `at_least` of them were compared."""
    plain = transformers.T5ForConditionalGeneration(transformers.T5Config(**config.to_diff_dict()))
    theirs = {name: weight for name, weight in plain.named_parameters() if weight.numel() > 500 and name in ours}
    for name, weight in theirs.items():
        assert ours[name].std().item() == pytest.approx(weight.std().item(), rel=0.2), name
    assert len(theirs) >= at_least
