"""Precision and recall of a code for the label that it stands for, by hand, and no better than chance by chance."""

from __future__ import annotations

import random

import pytest
from spelling_model import CODE

from t5vqvae.latent.code_labels import label_of_code, labels_of_positions
from t5vqvae.latent.latent_space import LatentSpace

TEXTS = ["a bat eats honey", "a cat eats eggs in caves"]


def test_precision_and_recall_by_hand() -> None:
    """Code 7 is at four positions, three of them nouns; there are five nouns."""
    labels = ["noun", "noun", "noun", "verb", "noun", "noun", "verb", "verb", "verb", "verb"]
    codes = [7, 7, 7, 7, 1, 2, 1, 1, 1, 2]
    found = label_of_code(codes, labels, 7)
    assert (found.label, found.precision, found.recall) == ("noun", 3 / 4, 3 / 5)
    # Four of ten positions at random: two to four of one label, so at least half, and two to four of its five.
    assert 0.5 <= found.shuffled_precision < 0.75 and 0.4 <= found.shuffled_recall < 0.8
    found = label_of_code(codes, labels, 1)
    assert (found.label, found.precision, found.recall) == ("verb", 3 / 4, 3 / 5)


@pytest.mark.parametrize("size", [64, 2_000])
def test_an_independent_code_is_as_good_as_positions_at_random(size: int) -> None:
    rng = random.Random(0)
    codes, labels = [rng.randrange(size) for _ in range(10_000)], [str(rng.randrange(30)) for _ in range(10_000)]
    found = [label_of_code(codes, labels, code) for code in range(40)]
    for one, other in (("precision", "shuffled_precision"), ("recall", "shuffled_recall")):
        plain, by_chance = (sum(getattr(each, key) for each in found) / 40 for key in (one, other))
        assert plain == pytest.approx(by_chance, rel=0.1)
    share = sum(each.precision for each in found) / 40
    assert share > (0.05 if size == 64 else 0.3), "of 30 labels each has 1/30, so the share alone is fooled"


def test_a_code_that_is_everywhere_stands_for_the_most_frequent_label_as_chance_does() -> None:
    found = label_of_code([0] * 4, ["none", "none", "none", "V"], 0)
    assert found.label == "none"
    assert (found.precision, found.recall) == (found.shuffled_precision, found.shuffled_recall) == (3 / 4, 1)


def test_positions_have_words_roles_and_operators(space: LatentSpace) -> None:
    sentences = space.encode(TEXTS)
    roles = [["ARG0", "ARG0", "V", "ARG1", "none", "none"], ["ARG0", "ARG0", "V", "ARG1", "none", "none", "none"]]
    found = labels_of_positions(sentences, roles, lambda token: "op" if token == "in" else "none")
    assert found["word"] == [*TEXTS[0].split(), "</s>", *TEXTS[1].split(), "</s>"]
    assert found["role"] == [*roles[0][:5], *roles[1]], "padding is left out"
    assert found["operator"].count("op") == 1 and len(found["operator"]) == 12
    codes = [code for each in sentences for code in each.latent_TX[:, 0].tolist()]
    assert label_of_code(codes, found["role"], CODE["eats"]).recall == 1
    assert set(labels_of_positions(sentences, None, lambda token: None)) == {"word"}
    assert set(labels_of_positions(sentences, [row[:3] for row in roles], None)) == {"word"}
