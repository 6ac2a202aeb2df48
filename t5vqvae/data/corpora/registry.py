"""Imports every corpus: the import of a variant's file registers it."""

from __future__ import annotations

from t5vqvae.data.corpora.grammar import GrammarCorpus
from t5vqvae.data.corpora.hub import HubCorpus
from t5vqvae.data.corpora.math import MathCorpus
from t5vqvae.data.corpora.public import PublicCorpus
from t5vqvae.data.corpora.syllogisms import SyllogismsCorpus
from t5vqvae.data.corpora.text import TextCorpus

__all__ = ["GrammarCorpus", "HubCorpus", "MathCorpus", "PublicCorpus", "SyllogismsCorpus", "TextCorpus"]
