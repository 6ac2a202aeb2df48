"""A traversal changes the code at one position alone, and takes the nearest codes first."""

from __future__ import annotations

import pytest
from spelling_model import CODE, Spelling, codes

from t5vqvae.errors import DataError, SettingError
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.traversal import traverse

TEXT = "a bat eats honey"


def test_the_code_at_a_position_takes_its_nearest_codes_and_nothing_else_changes(space: LatentSpace) -> None:
    [sentence] = space.encode([TEXT])
    swaps = traverse(space, sentence, [3], nearest=4)
    assert [(swap.code, swap.distance) for swap in swaps] == [(8, 1), (10, 1), (7, 4), (11, 4)]
    assert [swap.text for swap in swaps] == [f"a bat eats {word}" for word in ("and", "eggs", "eats", "in")]
    for swap in swaps:
        own = codes(TEXT)
        own[3] = swap.code
        assert swap.codes_TQ.squeeze(-1).tolist() == own
    assert sentence.latent_TX.squeeze(-1).tolist() == codes(TEXT), "the sentence itself stays"


def test_positions_are_traversed_one_by_one_and_a_small_codebook_ends_early(space: LatentSpace) -> None:
    [sentence] = space.encode([TEXT])
    swaps = traverse(space, sentence, [0, 1], nearest=99)
    assert [swap.position for swap in swaps] == [0] * (len(CODE) - 1) + [1] * (len(CODE) - 1)
    assert {swap.code for swap in swaps if swap.position == 1} == set(CODE.values()) - {CODE["bat"]}


def test_with_two_codebooks_one_code_moves_and_the_other_stays() -> None:
    space = LatentSpace(Spelling("rvq"))
    [sentence] = space.encode([TEXT])
    swaps = traverse(space, sentence, [3], nearest=2, codebook=1)
    assert [swap.codes_TQ[3].tolist() for swap in swaps] == [[CODE["honey"], 1], [CODE["honey"], 2]]
    assert [swap.distance for swap in swaps] == pytest.approx([25, 100])


def test_what_is_not_there_is_refused(space: LatentSpace, vectors_only: LatentSpace) -> None:
    [sentence] = space.encode([TEXT])
    for position in (5, -1):
        with pytest.raises(DataError, match=f"position={position} is none of 'a bat eats honey': it has 5, 0 to 4"):
            traverse(space, sentence, [position])
    with pytest.raises(SettingError, match="codebook=1 must lie between 0 and 0: the model has 1"):
        traverse(space, sentence, [0], codebook=1)
    with pytest.raises(DataError, match="quantizer none has no codes; a traversal needs them"):
        traverse(vectors_only, vectors_only.encode([TEXT])[0], [0])
