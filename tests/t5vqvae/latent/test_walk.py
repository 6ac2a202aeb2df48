"""A walk along the curve moves one code corner by corner, and stays on the curve."""

from __future__ import annotations

import pytest
from spelling_model import Spelling, codes

from t5vqvae.errors import DataError
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.walk import walk_curve


def test_a_code_moves_along_the_curve() -> None:
    space = LatentSpace(Spelling("sfvq"))
    [sentence] = space.encode(["a bat eats honey"])
    steps = walk_curve(space, sentence, 1, 2)
    assert [(step.offset, step.code, step.distance) for step in steps] == [
        (-2, 2, 4), (-1, 3, 1), (0, 4, 0), (1, 5, 1), (2, 6, 4)
    ]  # fmt: skip
    assert steps[3].text == "a cat eats honey" and steps[3].codes_TQ.squeeze(-1).tolist() == codes("a cat eats honey")
    assert steps[2].text == sentence.text
    assert [step.code for step in walk_curve(space, sentence, 0, 99)] == list(range(16))
    with pytest.raises(DataError, match="position=9 is none of"):
        walk_curve(space, sentence, 9, 1)


def test_a_curve_that_still_grows_ends_at_its_last_corner() -> None:
    model = Spelling("sfvq")
    model.quantizer._num_corners.fill_(8)
    space = LatentSpace(model)
    [sentence] = space.encode(["a bat"])
    assert walk_curve(space, sentence, 1, 99)[-1].code == 7


def test_codes_without_an_order_are_refused(space: LatentSpace) -> None:
    with pytest.raises(DataError, match=r"quantizer vq has codes without an order; .* needs quantizer.name=sfvq"):
        walk_curve(space, space.encode(["a bat"])[0], 0, 1)
