"""Reconstructions as rows that show which are exact and where the others differ."""

from __future__ import annotations

from t5vqvae.evaluation.marked_errors import marked, marked_errors


def test_missing_wrong_and_added_words_are_marked_in_their_places() -> None:
    assert marked_errors("a bat eats honey", "a cat eats") == "a [-bat-] {+cat+} eats [-honey-]"
    assert marked_errors("x", "x + y") == "x {++ y+}"
    assert marked_errors("", "a") == "{+a+}" and marked_errors("a", "") == "[-a-]"


def test_a_text_is_exact_up_to_white_space_and_has_no_errors_then() -> None:
    exact = {"source": "s", "target": "a  b", "decoded": "a b"}
    wrong = {"source": "s", "target": "a b", "decoded": "a c"}
    assert marked([exact, wrong]) == [
        {"exact": "yes", **exact, "errors": ""},
        {"exact": "no", **wrong, "errors": "a [-b-] {+c+}"},
    ]
