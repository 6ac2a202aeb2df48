"""A token has the role of the word that holds its last character."""

from __future__ import annotations

from t5vqvae.data.tokenizing import roles_of_tokens


def test_worked_roles_of_tokens() -> None:
    spans = [(0, 2), (2, 4), (4, 8), (8, 9), (9, 11), (0, 0)]  # "an", " o", "ther", " ", "go", </s>
    found = roles_of_tokens("an other go", ("A", "B", "C"), spans, {"none": 0, "A": 1, "B": 2, "C": 3})
    assert found == [1, 2, 2, 0, 3, 0]
