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


@pytest.mark.parametrize("seed", [5, 7])
def test_the_p_value_is_twice_that_of_sacrebleu(seed: int):
    """sacrebleu takes absolute differences before it centres them, so it counts one of the two sides."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    near = damaged(REFERENCES, 0.11, seed)
    found = compare_bleu(GOOD, near, REFERENCES, num_resamples=600)
    pairs = [("baseline", GOOD), ("near", near)]
    _, theirs = PairedTest(pairs, {"BLEU": BLEU()}, [REFERENCES], test_type="bs", n_samples=600)()
    assert found.p_value == pytest.approx(2 * theirs["BLEU"][1].p_value, rel=0.25)


def test_the_interval_is_that_of_resampled_corpora():
    from sacrebleu.metrics import BLEU

    near, rng, drawn = damaged(REFERENCES, 0.11, 5), np.random.default_rng(3), []
    found = compare_bleu(GOOD, near, REFERENCES, num_resamples=600)
    for _ in range(200):
        chosen = rng.integers(0, len(REFERENCES), len(REFERENCES))
        references = [[REFERENCES[i] for i in chosen]]
        sides = (BLEU().corpus_score([side[i] for i in chosen], references).score for side in (GOOD, near))
        drawn.append(next(sides) - next(sides))
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.15)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 12])
def test_few_sentences_claim_no_more_than_many(number: int):
    """A plain bootstrap claims in 46% of all cases of two sentences, and in 12% of eight."""
    rng = np.random.default_rng(number)
    for draw in (rng.normal, lambda size: rng.integers(0, 2, size).astype(float)):
        claims = 0
        for _ in range(300):
            found = compare_means(*draw(size=(2, number)), num_resamples=200)
            claims += found.p_value <= 0.05 or not found.low <= 0 <= found.high
        assert claims <= 15 + 3 * np.sqrt(300 * 0.05 * 0.95), "5% are due, of 300"


def test_too_few_different_sentences_decide_nothing_among_many_equal_ones():
    """Five of a thousand differ, all in one direction: an exact sign test gives p = 2 / 32."""
    a, b = np.zeros(1000), np.zeros(1000)
    a[:5] = 1
    found = compare_means(a, b)
    assert found.low == 0 < found.difference < found.high and found.p_value == 2 / 32
    a[:7] = 1
    assert compare_means(a, b).low > 0


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
