"""Starts: laws of where they put the entries, and examples worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from t5vqvae.errors import SettingError
from t5vqvae.quantizers import EMAConfig
from t5vqvae.quantizers.parts import initialization as module
from t5vqvae.quantizers.parts.initialization import (
    kmeans,
    kmeans_plus_plus,
    place_entries,
    sample_rows,
    spherical_kmeans,
)

STARTS = ["states", "kmeans", "kmeans++", "spherical_kmeans++", "embeddings"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(num_clusters: int = 6, each: int = 30) -> tuple[Tensor, Tensor]:
    """Returns vectors in clusters far apart, and the clusters' centres."""
    centres_KD = 50.0 * torch.randn(num_clusters, 8, generator=seeded(1))
    return (centres_KD[:, None] + 0.1 * torch.randn(num_clusters, each, 8, generator=seeded(2))).flatten(
        0, 1
    ), centres_KD


def rows_of(entries_KD: Tensor, pool_MD: Tensor) -> Tensor:
    """Returns which entries are bitwise equal to a row of the pool."""
    return (entries_KD[:, None] == pool_MD).all(-1).any(-1)


@pytest.mark.parametrize("start", STARTS)
def test_same_generator_same_entries(start: str) -> None:
    pool_MD = torch.randn(60, 4)
    first, again, other = (place_entries(start, pool_MD, 8, 3, seeded(seed)) for seed in (0, 0, 1))
    assert first.shape == (8, 4)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("start", STARTS)
def test_fewer_vectors_than_entries_give_distinct_finite_entries(start: str) -> None:
    entries_KD = place_entries(start, torch.randn(5, 4), 12, 3, seeded())
    assert torch.isfinite(entries_KD).all() and entries_KD.unique(dim=0).shape[0] == 12


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quantizer\.start=states got no vectors"):
        place_entries("states", torch.empty(0, 4), 3, 1, seeded())


def test_states_takes_different_rows_of_the_pool() -> None:
    pool_MD = torch.randn(20, 4)
    entries_KD = place_entries("states", pool_MD, 10, 5, seeded())
    assert rows_of(entries_KD, pool_MD).all() and entries_KD.unique(dim=0).shape[0] == 10


def test_lloyd_by_hand() -> None:
    vectors_MD = torch.tensor([[0.0], [1.0], [10.0], [14.0]])
    entries_KD = kmeans(vectors_MD, torch.tensor([[0.0], [9.0]]), 5, seeded())
    assert entries_KD.tolist() == [[0.5], [12.0]]


def test_lloyd_moves_an_entry_that_wins_nothing_onto_a_vector() -> None:
    vectors_MD = torch.tensor([[0.0], [1.0]])
    entries_KD = kmeans(vectors_MD, torch.tensor([[0.4], [900.0]]), 1, seeded())
    assert entries_KD[0].item() == 0.5
    assert min(abs(entries_KD[1].item()), abs(entries_KD[1].item() - 1.0)) < 0.01


def test_plus_plus_finds_every_far_cluster() -> None:
    vectors_MD, centres_KD = clusters()
    for seed in range(5):
        drawn_KD = kmeans_plus_plus(vectors_MD, 6, seeded(seed))
        assert torch.cdist(drawn_KD, centres_KD).argmin(1).unique().numel() == 6


def test_plus_plus_draws_by_squared_distance() -> None:
    # Weights from 0: 1 (at 1) and 9 (at 3); from 1: 1 (at 0) and 4 (at 3); from 3: 9 (at 0) and 4 (at 1).
    vectors_MD = torch.tensor([[0.0], [1.0], [3.0]])
    pairs = [tuple(sorted(kmeans_plus_plus(vectors_MD, 2, seeded(seed)).flatten().tolist())) for seed in range(1500)]
    expected = {(0.0, 1.0): (1 / 10 + 1 / 5) / 3, (0.0, 3.0): (9 / 10 + 9 / 13) / 3, (1.0, 3.0): (4 / 5 + 4 / 13) / 3}
    for pair, share in expected.items():
        assert pairs.count(pair) / len(pairs) == pytest.approx(share, abs=0.05)


def test_plus_plus_in_rounds_still_covers_the_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROUNDS", 6)
    vectors_MD, centres_KD = clusters()
    drawn_KD = kmeans_plus_plus(vectors_MD, 24, seeded())
    assert drawn_KD.unique(dim=0).shape[0] == 24 and rows_of(drawn_KD, vectors_MD).all()
    assert torch.cdist(drawn_KD, centres_KD).argmin(1).unique().numel() == 6


def test_plus_plus_survives_equal_vectors() -> None:
    assert kmeans_plus_plus(torch.ones(9, 2), 4, seeded()).tolist() == [[1.0, 1.0]] * 4


def test_spherical_start_keeps_directions_and_mean_lengths() -> None:
    vectors_MD = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 10.0], [0.0, 30.0]])
    entries_KD = spherical_kmeans(vectors_MD, 2, 5, seeded())
    assert torch.allclose(entries_KD.sort(0).values, torch.tensor([[0.0, 0.0], [3.0, 20.0]]))


def test_repeated_rows_get_a_little_noise() -> None:
    vectors_MD = torch.randn(3, 4)
    rows = sample_rows(vectors_MD, 9, seeded())
    assert rows_of(rows, vectors_MD).sum() == 3
    assert torch.cdist(rows, vectors_MD).amin(1).max() < 0.02


@pytest.mark.parametrize(
    "settings", [{}, {"num_codebooks": 2}, {"num_codebooks": 2, "shared_codebook": True}, {"code_width": 4}]
)
def test_embeddings_start_takes_projected_token_embeddings(settings: dict) -> None:
    quantizer = EMAConfig(codebook_size=5, start="embeddings", **settings).build(8)
    embeddings_VE = torch.randn(40, 8)
    assert quantizer.num_start_vectors == 1
    quantizer.start(torch.randn(1, quantizer.code_width), embeddings_VE)
    projected_VC = quantizer.project_in(embeddings_VE).detach()
    pools = projected_VC.split(quantizer.entry_width, -1)
    for table in range(quantizer.num_tables):
        pool_MD = torch.cat(pools) if settings.get("shared_codebook") else pools[table]
        assert rows_of(quantizer.entries_QKD[table], pool_MD).all()


def test_embeddings_start_without_embeddings_says_what_to_do() -> None:
    with pytest.raises(SettingError, match=r"quantizer\.start=embeddings needs .*; use start=states"):
        EMAConfig(start="embeddings").build(8).start(torch.randn(3, 8))
