"""What a run's data give no meaning is refused before a model is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from t5vqvae.data import prepare
from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.unfit import refuse_unfit

SMALL: dict[str, Any] = {
    "data.corpus.name": "syllogisms",
    "data.corpus.size": 40,
    "data.corpus.validation_size": 5,
    "data.corpus.test_size": 5,
    "data.tokenizer.vocab_size": 400,
    "data.max_length": 200,
    "model.premises": "separate",
}


def test_separate_premises_of_one_text_are_refused(tmp_path: Path) -> None:
    """Nothing would be separate, so that an arm of it would be its baseline under another name."""
    one, two = (RunSpec().with_overrides({**SMALL, "data.corpus.two_texts": two}) for two in (False, True))
    prepared, pairs = prepare(one.data, tmp_path), prepare(two.data, tmp_path)
    assert pairs.train.has_pairs and not prepared.train.has_pairs
    with pytest.raises(SettingError, match=r"needs sources of two texts, .*; data.corpus.name=syllogisms gives one"):
        refuse_unfit(one, prepared)
    refuse_unfit(one.with_overrides({"model.premises": "joint"}), prepared)
    refuse_unfit(two, pairs)
