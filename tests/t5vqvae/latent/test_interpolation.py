"""Paths end at both reconstructions, on every architecture; a walk takes the codes that its formula says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import CASES, build, tiny
from spelling_model import CODE, Spelling, codes

from t5vqvae.errors import DataError, SettingError
from t5vqvae.latent.alignment import aligned, fitted, length_at, shortened
from t5vqvae.latent.arithmetic import combine
from t5vqvae.latent.interpolation import interpolate, share_changing_length
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.traversal import traverse
from t5vqvae.models.contract import reconstruct
from t5vqvae.quantizers import QuantizerConfig

PAIRS = [("a bat eats honey in a lake", "iron is a metal"), ("a cat eats fish", "a dog eats fish")]
SHORT, LONG = "a bat eats honey", "a cat eats eggs in old trees"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("walk", [False, True])
def test_a_path_leads_from_one_reconstruction_to_the_other(space: LatentSpace, walk: bool) -> None:
    [path] = interpolate(space, [(SHORT, LONG)], walk=walk)
    assert (path.steps[0].text, path.steps[-1].text) == (SHORT, LONG)
    assert path.steps[0].latent_TX.squeeze(-1).tolist() == codes(SHORT)
    assert path.steps[-1].latent_TX.squeeze(-1).tolist() == codes(LONG)
    lengths = [len(step.latent_TX) for step in path.steps]
    assert lengths == sorted(lengths) and (lengths[0], lengths[-1]) == (5, 8)
    assert {int(step.latent_TX[-1, 0]) for step in path.steps} == {CODE["</s>"]}, "the end meets the end"


def test_a_straight_path_takes_the_codes_between(space: LatentSpace, vectors_only: LatentSpace) -> None:
    """From 4 to 12 in five steps: 4, 6, 8, 10, 12."""
    for each in (space, vectors_only):
        [path] = interpolate(each, [("a bat", "a caves")], num_steps=5)
        assert [step.text for step in path.steps] == ["a bat", "a dog", "a and", "a eggs", "a caves"]


def test_a_walk_takes_the_codes_of_its_formula(space: LatentSpace) -> None:
    """The minimum of (1 - t) (k - z)^2 + t (k - g)^2 is z + t (g - z); from 4 to 12 with t = 0, 1/4, ... by hand."""
    [path] = interpolate(space, [("a bat", "a caves")], num_steps=5, walk=True)
    walked = [int(step.latent_TX[1, 0]) for step in path.steps]
    assert walked == [4, 6, 9, 11, 12], "4 + 2, 6 + 3, 9 + 9/4, and the goal"


def test_a_walk_with_two_codebooks_ends_at_its_goal() -> None:
    space = LatentSpace(Spelling("rvq"))
    [path] = interpolate(space, [("a bat", "a caves")], num_steps=5, walk=True)
    assert [int(step.latent_TX[1, 0]) for step in path.steps] == [4, 6, 9, 11, 12]
    assert {tuple(step.latent_TX[:, 1].tolist()) for step in path.steps} == {(0, 0, 0)}


def test_many_paths_are_those_one_by_one(space: LatentSpace) -> None:
    pairs = [(SHORT, LONG), (LONG, SHORT), ("a bat", "a cat")]
    together = interpolate(LatentSpace(space.model, batch_size=2), pairs)
    alone = [interpolate(space, [pair])[0] for pair in pairs]
    assert [[step.text for step in path.steps] for path in together] == [
        [step.text for step in path.steps] for path in alone
    ]
    assert share_changing_length(together) == pytest.approx(2 / 3)


def test_lengths_meet_from_the_left_and_at_the_end() -> None:
    short, long = torch.tensor([[1], [2], [9]]), torch.tensor([[3], [4], [5], [6], [8]])
    ours, theirs = aligned(short, long)
    assert ours.flatten().tolist() == [1, 2, 5, 6, 9] and torch.equal(theirs, long)
    assert shortened(long, 3).flatten().tolist() == [3, 4, 8]
    assert [length_at(3, 5, t / 4) for t in range(5)] == [3, 4, 4, 4, 5]
    assert fitted(short, 5).flatten().tolist() == [1, 2, 0, 0, 9] and fitted(long, 2).flatten().tolist() == [3, 8]


def test_wrong_wishes_are_refused(space: LatentSpace, vectors_only: LatentSpace) -> None:
    with pytest.raises(DataError, match="quantizer none has no codes; a codebook walk needs them"):
        interpolate(vectors_only, [(SHORT, LONG)], walk=True)
    with pytest.raises(SettingError, match="steps=1 must be at least 2"):
        interpolate(space, [(SHORT, LONG)], num_steps=1)
    with pytest.raises(DataError, match="text 2 of 2 is empty"):
        interpolate(space, [(SHORT, " ")])


@pytest.mark.parametrize(
    "case",
    ["prompts", "transformer", "gaussian token", "gaussian sentence", "optimus memory", "aae", "cross layer"],
)
def test_every_architecture_interpolates_between_its_reconstructions(case: str, cache: Path) -> None:
    name, changes = CASES[case]
    if name == "cross_layer":
        network = tiny("t5vqvae", **{"quantizer.name": "none"})
        build(network, cache).save_pretrained(cache / "network")
        changes = {**changes, "model.backbone": str(cache / "network")}
    torch.manual_seed(0)
    model = build(tiny(name, **changes), cache).eval()
    space = LatentSpace(model, max_new_tokens=6)
    paths = interpolate(space, PAIRS, num_steps=3)
    tokens = [[len(model.require_tokenizer()(text)["input_ids"]) for text in pair] for pair in PAIRS]
    assert [path.changes_length for path in paths] == [one != other for one, other in tokens]
    assert any(path.changes_length for path in paths), "also where a sentence has one latent"
    starts, ends = (reconstruct(model, [pair[side] for pair in PAIRS], 6)[0] for side in (0, 1))
    assert [path.steps[0].text for path in paths] == starts
    if case != "prompts":  # they stay the source's
        assert [path.steps[-1].text for path in paths] == ends


@pytest.mark.parametrize("name", sorted(set(QuantizerConfig.variants) - {"none"}))
def test_every_quantizer_goes_from_the_codes_of_one_sentence_to_those_of_another(name: str, cache: Path) -> None:
    size = {"quantizer.codebook_size": 32}
    torch.manual_seed(0)
    space = LatentSpace(build(tiny("t5vqvae", **{"quantizer.name": name, **size}), cache), max_new_tokens=4)
    for walk in (False, True):
        for path in interpolate(space, PAIRS, num_steps=3, walk=walk):
            assert path.source.codes_TQ is not None and path.goal.codes_TQ is not None
            assert torch.equal(path.steps[0].latent_TX, path.source.codes_TQ)
            assert torch.equal(path.steps[-1].latent_TX, path.goal.codes_TQ)
    swaps = traverse(space, path.source, [1], 5, space.model.quantizer.num_codebooks - 1)
    assert [swap.distance for swap in swaps] == sorted(swap.distance for swap in swaps)
    a, b = path.source, path.goal
    assert torch.equal(combine(space, [(1, a), (-1, b), (1, b)]).latent_TX, a.latent_TX)


def test_a_decoder_that_reads_more_than_latents_is_refused(cache: Path) -> None:
    changes = {"model.prompts.num_prompts": 2, "model.prompts.quantize": False}
    with pytest.raises(DataError, match="the decoder reads more than the latents"):
        LatentSpace(build(tiny("t5vqvae", **changes), cache))


def test_words_of_the_line_are_what_the_tests_think() -> None:
    assert (CODE["bat"], CODE["caves"]) == (4, 12)
