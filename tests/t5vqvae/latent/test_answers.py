"""Answers to requests, on a model whose codes name words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from baseline_runs import build, tiny
from spelling_model import Spelling
from torch import Tensor

from t5vqvae.errors import DataError
from t5vqvae.latent.answers import answer
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.requests import REQUESTS
from t5vqvae.latent.sampling import draw
from t5vqvae.latent.transformer_prior import draw_from_transformer


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


@pytest.mark.parametrize("codes", [[[-1], [5]], [[5], [-1]], [[-1]]])
def test_padding_is_no_code_of_a_sentence(space: LatentSpace, codes: list[list[int]]) -> None:
    with pytest.raises(DataError, match=r"has the code -1; codes are 0 to 15$"):
        asked(space, "decode", codes=[codes])
    with pytest.raises(DataError, match=r"has the code -1; codes are 0 to 15$"):
        asked(space, "traverse", text="a bat eats", codes=codes)


def test_a_code_that_is_not_sent_needs_a_model_that_knows_it(space: LatentSpace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the code -2; codes are 0 to 15$"):
        asked(space, "decode", codes=[[[-2], [5]]])
    torch.manual_seed(0)
    sparse = LatentSpace(build(tiny("t5vqvae", **{"train.code_dropout": 0.6}), tmp_path), max_new_tokens=4)
    assert len(asked(sparse, "decode", codes=[[[-2], [5]]])) == 1
    with pytest.raises(DataError, match=r"has the code -1; codes are 0 to 31, and -2 where none is sent$"):
        asked(sparse, "decode", codes=[[[-1], [5]]])


def test_a_curve_that_still_grows_has_the_codes_of_its_corners_so_far() -> None:
    space = LatentSpace(Spelling("sfvq"))
    assert asked(space, "decode", codes=[[[9], [1]]])[0]["text"] == "honey"
    space.model.quantizer._num_corners.fill_(8)
    with pytest.raises(DataError, match=r"has the code 9; codes are 0 to 7"):
        asked(space, "decode", codes=[[[9], [1]]])
    with pytest.raises(DataError, match=r"has the code 9; codes are 0 to 7"):
        space.decode([torch.tensor([[9], [1]])])
    sentences = space.encode(["a bat eats", "cat dog eats"])
    for drawn in (draw(space, sentences, 30), draw_from_transformer(space, sentences, 4)):
        assert {code for sample, _ in drawn for row in sample.codes for code in row} <= set(range(8))
