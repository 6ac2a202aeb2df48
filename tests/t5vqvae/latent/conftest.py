"""The models of the operations' tests."""

from __future__ import annotations

import pytest
from spelling_model import Spelling

from t5vqvae.latent.latent_space import LatentSpace


@pytest.fixture
def space() -> LatentSpace:
    """A model whose codes name words."""
    return LatentSpace(Spelling())


@pytest.fixture
def vectors_only() -> LatentSpace:
    """The same model without codes."""
    return LatentSpace(Spelling("none"))
