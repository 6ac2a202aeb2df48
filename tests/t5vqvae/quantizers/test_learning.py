"""Every variant learns the token task with its defaults; the control that is known to fail does not.

One seed each. `tests/benchmarks/quantizer_learning.py` has three seeds, all forms, and the library's counterparts.
"""

from __future__ import annotations

import pytest
from token_task import CODES, WIDTH, Score, train

from t5vqvae.quantizers import QuantizerConfig

LEAST_ACCURACY = {"gumbel": 0.80, "simvq": 0.50, "pca": 0.45}
"""Others .60. `simvq` is slower to learn, and so is its peer. The linear control `pca` reached .51 to .66 with the same
seed on two processors, whose eigenvectors differ in the last bits."""


def score(name: str, num_steps: int = 800, **overrides: object) -> Score:
    config = QuantizerConfig.variants[name]
    size = {"codebook_size": CODES} if "codebook_size" in config.model_fields else {}
    spec = config.parse({"name": name} | size | overrides)
    return train(lambda: spec.build(WIDTH), 0, num_steps)


def test_without_a_bottleneck_the_task_is_solved_and_has_no_rate() -> None:
    result = score("none", 300)
    assert result.accuracy > 0.95 and result.bits is None


def test_a_codebook_learns_within_a_few_hundred_steps() -> None:
    assert score("ema", 200).accuracy > 0.60


@pytest.mark.slow
@pytest.mark.parametrize("name", QuantizerConfig.variants)
def test_defaults_learn(name: str) -> None:
    result = score(name)
    assert result.accuracy >= LEAST_ACCURACY.get(name, 0.60)
    assert result.bits is None or result.perplexity > CODES / 8


@pytest.mark.slow
@pytest.mark.parametrize(("name", "overrides"), [("vq", {"estimator": "diveq"}), ("sfvq", {"gradient": "diveq"})])
def test_entries_learn_by_diveq_without_a_loss_term(name: str, overrides: dict[str, object]) -> None:
    result = score(name, **overrides)
    assert result.accuracy >= 0.60 and result.perplexity > CODES / 8


@pytest.mark.slow
def test_gumbel_with_tied_logits_is_shown_failing() -> None:
    result = score("gumbel", form="tied")
    assert result.accuracy < 0.60 and result.perplexity < CODES / 8


@pytest.mark.slow
def test_a_soft_bottleneck_that_stays_warm_is_good_only_while_it_is_soft() -> None:
    result = score("soft", last_temperature=10.0)
    assert result.soft_accuracy > 0.8 and result.accuracy < 0.5


@pytest.mark.slow
def test_gumbel_as_published_is_shown_failing() -> None:
    result = score("gumbel", form="published")
    assert result.accuracy < 0.40
