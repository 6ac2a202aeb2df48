"""Splices through a model whose codes name words: what comes out is known by hand."""

from __future__ import annotations

import pytest
from spelling_model import Spelling

from t5vqvae.data.corpora.edits import Splice
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.measures.splices import decode_splices, found_of

SOURCE, DONOR = "a bat eats honey in caves", "a old cat eats eggs in trees"
SUBSTITUTION = Splice("substitution", SOURCE, DONOR, "a cat eats honey in caves", (2, 5), (6, 9))
SPECIFICATION = Splice("specification", SOURCE, DONOR, "a old bat eats honey in caves", (2, 2), (2, 5))
AGREEING = Splice("specification", SOURCE, DONOR, "an old bat eats honey in caves", (2, 2), (2, 5))
CONJUNCTION = Splice(
    "conjunction", SOURCE, DONOR, "a bat eats honey in caves and eats eggs in trees", (25, 25), (10, 28)
)


@pytest.mark.parametrize("quantizer", ["vq", "none"])
def test_codes_that_name_words_come_out_where_they_are_put_and_nothing_follows(quantizer: str) -> None:
    some = [SUBSTITUTION, SPECIFICATION, AGREEING, CONJUNCTION]
    decoded = decode_splices(LatentSpace(Spelling(quantizer)), some)
    assert [text for text, _ in decoded] == [
        "a cat eats honey in caves",
        "a old bat eats honey in caves",
        "a old bat eats honey in caves",
        "a bat eats honey in caves and eats eggs in trees",
    ]
    metrics = found_of(some, decoded).metrics
    assert metrics["splice/substitution"] == metrics["splice/conjunction"] == 1
    assert metrics["splice/specification"] == 0.5 and metrics["splice/unchanged_share"] == 0


def test_a_decoder_that_ignores_splices_is_never_right() -> None:
    metrics = found_of([SUBSTITUTION, CONJUNCTION], [(SOURCE, SOURCE)] * 2).metrics
    assert metrics == {"splice/substitution": 0, "splice/conjunction": 0, "splice/unchanged_share": 1}
