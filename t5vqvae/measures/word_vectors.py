"""Word vectors for distances between texts: skip-gram, trained on a corpus's training split.

The vectors depend on the corpus and the seed alone, so all models of a corpus share them. Stop words are scikit-learn's
English list (of the Glasgow Information Retrieval Group), as the installed version has it.

Source: Mikolov et al. 2013, arXiv 1301.3781 (skip-gram); SnowYJ/T5VQVAE for smoothness as published.

Different: published smoothness has word2vec-google-news-300 and NLTK's English stop words, both downloads; here vectors
have 64 numbers, and the list comes with scikit-learn at run time. That list is longer, so fewer words are left to
compare. Another version of it would change values: compare models that were probed with one version.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from t5vqvae.measures.smoothness import Vectors
from t5vqvae.stages import stage

WIDTH = 64
EPOCHS = 10
MOST_SENTENCES = 20_000


def skip_gram(texts: Sequence[str], seed: int = 0) -> Vectors:
    """Returns a vector of unit length for every word of the texts; the same for the same texts and seed.

    Args:
        texts: Sentences; words are lower case, split on white space.
        seed: Seed of gensim, which trains on one thread, because more would make the result differ every time.
    """
    from gensim.models import Word2Vec

    sentences = [text.lower().split() for text in texts[:MOST_SENTENCES]]
    with stage("training word vectors"):
        model = Word2Vec(
            sentences, vector_size=WIDTH, sg=1, window=5, min_count=1, epochs=EPOCHS, seed=seed + 1, workers=1
        )
    return dict(zip(model.wv.index_to_key, model.wv.get_normed_vectors().astype(float), strict=True))


@functools.cache
def stop_words() -> frozenset[str]:
    """Returns English words that say little by themselves: scikit-learn's, not NLTK's."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)
