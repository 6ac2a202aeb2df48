"""Every corpus of the registry: importing a variant's file registers it."""

from __future__ import annotations

from t5vqvae.data.grammar import GrammarCorpus
from t5vqvae.data.hub import HubCorpus
from t5vqvae.data.math import MathCorpus
from t5vqvae.data.public import PublicCorpus
from t5vqvae.data.text import TextCorpus

__all__ = ["GrammarCorpus", "HubCorpus", "MathCorpus", "PublicCorpus", "TextCorpus"]
