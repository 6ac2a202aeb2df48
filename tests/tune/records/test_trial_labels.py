"""Labels are read from the tags of a trial, under the names that training gives them."""

from __future__ import annotations

from t5vqvae.training.labels import AUGMENTED, NAMES_TOKENS, TWO_STAGES
from tune.records.trial_labels import labels_in_words, labels_of


def test_the_labels_of_training_are_those_that_are_read() -> None:
    tags = {NAMES_TOKENS: "why", "signature/collapse": "0 codes", AUGMENTED: "30 rows", TWO_STAGES: "steps"}
    assert labels_of(tags) == {"names tokens": "why", "augmented": "30 rows", "two stages": "steps"}
    assert labels_in_words(tags) == "names tokens, augmented, two stages"
    assert labels_in_words({"error": "it broke"}) == ""
