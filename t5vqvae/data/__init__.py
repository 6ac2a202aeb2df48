"""Corpora, tokenizers and batches; `corpora/base.py` explains how to add a corpus."""

from t5vqvae.data.batch import IGNORED_LABEL, Batch
from t5vqvae.data.batching import BatchPlan, evaluated_indices, evaluation_batches, fixed_order
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.corpus import Corpus, Example
from t5vqvae.data.corpora.public import corpus_folder, fetch
from t5vqvae.data.corpora.registry import GrammarCorpus, HubCorpus, MathCorpus, PublicCorpus, TextCorpus
from t5vqvae.data.corpora.sources import SOURCES
from t5vqvae.data.prepare import DataConfig, PreparedData, prepare, prepare_test
from t5vqvae.data.split import TokenizedSplit
from t5vqvae.data.tokenizer import TokenizerConfig, build_tokenizer

__all__ = [
    "IGNORED_LABEL",
    "SOURCES",
    "Batch",
    "BatchPlan",
    "Corpus",
    "CorpusConfig",
    "DataConfig",
    "Example",
    "GrammarCorpus",
    "HubCorpus",
    "MathCorpus",
    "PreparedData",
    "PublicCorpus",
    "TextCorpus",
    "TokenizedSplit",
    "TokenizerConfig",
    "build_tokenizer",
    "corpus_folder",
    "evaluated_indices",
    "evaluation_batches",
    "fetch",
    "fixed_order",
    "prepare",
    "prepare_test",
]
