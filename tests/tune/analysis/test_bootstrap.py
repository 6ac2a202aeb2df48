"""Two models on one test set, against sacrebleu's own answers."""

from __future__ import annotations

import numpy as np
import pytest

from tune.analysis import compare_bleu, compare_means

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then", "looked", "at", "us"]


def sentences(num: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in range(num)]


def damaged(texts: list[str], share: float, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS) if rng.random() < share else w for w in text.split()) for text in texts]


REFERENCES = sentences(120, 0)
GOOD, BAD = damaged(REFERENCES, 0.1, 1), damaged(REFERENCES, 0.3, 2)


def test_corpus_bleu_is_sacrebleus():
    from sacrebleu.metrics import BLEU

    found = compare_bleu(GOOD, BAD, REFERENCES, num_resamples=50)
    assert found.a == pytest.approx(BLEU().corpus_score(GOOD, [REFERENCES]).score)
    assert found.b == pytest.approx(BLEU().corpus_score(BAD, [REFERENCES]).score)


def test_p_value_and_spread_agree_with_sacrebleu():
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    near = damaged(REFERENCES, 0.13, 5)
    found = compare_bleu(GOOD, near, REFERENCES, num_resamples=600)
    pairs = [("baseline", GOOD), ("near", near)]
    _, theirs = PairedTest(pairs, {"BLEU": BLEU()}, [REFERENCES], test_type="bs", n_samples=600)()
    assert found.p_value == pytest.approx(theirs["BLEU"][1].p_value, abs=0.06)


def test_a_clear_difference_is_found_and_a_copy_is_not():
    clear = compare_bleu(GOOD, BAD, REFERENCES, num_resamples=300)
    assert clear.p_value < 0.01 and clear.low > 0
    copy = compare_bleu(GOOD, GOOD, REFERENCES, num_resamples=100)
    assert (copy.difference, copy.low, copy.high, copy.p_value) == (0, 0, 0, 1.0)


def test_means_keep_sentences_together():
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 5, 400)
    a, b = hard + 0.2 + 0.3 * rng.normal(size=400), hard + 0.3 * rng.normal(size=400)
    found = compare_means(a, b)
    assert found.low < 0.2 < found.high
    assert found.p_value < 0.01
    error = np.std(a - b) / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert compare_means(a, b) == found, "seeded"


def test_the_error_rate_of_the_bootstrap_over_simulated_test_sets():
    rng = np.random.default_rng(2)
    hits = [compare_means(*rng.normal(size=(2, 60)), num_resamples=200).p_value <= 0.05 for _ in range(200)]
    assert 0.01 <= np.mean(hits) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_test_sets_must_match():
    with pytest.raises(ValueError, match="2 decoded sentences and 1 references"):
        compare_bleu(["a", "b"], ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="2 and 1 sentences must be equally many"):
        compare_means([1.0, 2.0], [1.0])
