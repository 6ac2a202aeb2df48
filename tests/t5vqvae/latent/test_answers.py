"""Answers to requests, on a model whose codes name words."""

from __future__ import annotations

from typing import Any

import pytest
from spelling_model import Spelling
from torch import Tensor

from t5vqvae.latent.answers import answer
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.requests import REQUESTS


def asked(space: LatentSpace, operation: str, **fields: Any) -> list[Any]:
    request = REQUESTS[operation].parse(fields)
    return answer(space, request.shared(), request.items())


class Noting(Spelling):
    """Notes after how many tokens its decoding is to stop."""

    longest = 0

    def greedy(self, *given: Any, **named: Any) -> Tensor:
        self.longest = given[1]
        return super().greedy(*given, **named)


@pytest.mark.parametrize(("given", "expected"), [({}, 200), ({"max_new_tokens": 9}, 9)])
def test_decoding_stops_where_the_model_s_evaluations_do(given: dict[str, int], expected: int) -> None:
    model = Noting()
    for operation, fields in (("reconstruct", {"texts": ["a bat"]}), ("decode", {"codes": [[[3], [1]]]})):
        model.longest = 0
        asked(LatentSpace(model, max_new_tokens=200), operation, **fields, **given)
        assert model.longest == expected
