"""What may decide: the price of a Gaussian latent's bits is not chosen by the quality that they buy."""

from __future__ import annotations

import pytest

from t5vqvae.errors import SettingError
from tune.spec.objective import KL_BITS, KL_PRICES, Constraint, refuse_free_kl


@pytest.mark.parametrize("path", KL_PRICES)
@pytest.mark.parametrize("bounds", [[], ["rate/kl_bits_per_token >= 3"], ["rate/bits_per_token <= 3"]])
def test_reconstruction_does_not_choose_the_weight_of_the_kl_term(path: str, bounds: list[str]) -> None:
    """Optimus by memory at weights .01, .1 and 1 has nll 1.14, 1.28 and 1.45: the least weight always wins."""
    constraints = [Constraint.parse(bound) for bound in bounds]
    with pytest.raises(SettingError) as refused:
        refuse_free_kl(["validation/nll"], constraints, ["optim.learning_rate", path])
    assert str(refused.value) == (
        f"space.{path}: validation/nll always takes the value that leaves the latent the most bits; bound the bits"
        " (constraints: rate/kl_bits_per_sentence <= 30), or make them an objective to see the whole curve"
    )


@pytest.mark.parametrize("bits", KL_BITS)
def test_it_does_where_the_bits_are_bounded_or_an_objective(bits: str) -> None:
    refuse_free_kl(["validation/nll"], [Constraint.parse(f"{bits} <= 30")], ["model.kl_weight"])
    refuse_free_kl(["validation/nll", bits], [], ["model.kl_weight"])
    refuse_free_kl(["validation/nll"], [], ["model.latent_width"])
