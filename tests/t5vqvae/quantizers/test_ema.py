"""`ema`: the moving averages by hand and against the library; revival; the options on top of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from t5vqvae.quantizers import EMAConfig
from t5vqvae.quantizers.ema import EMAQuantizer
from t5vqvae.quantizers.parts.revival import apart, are_far, revive, variance


def quantizer_of(entries: list[list[float]], **settings: object) -> EMAQuantizer:
    config = EMAConfig(**{"codebook_size": len(entries), "revive_below": None, "start": "random", **settings})
    quantizer = config.build(len(entries[0]))
    quantizer.entries_QKD.copy_(torch.tensor([entries]))
    return quantizer


def step(quantizer: EMAQuantizer, *rows: list[float]) -> Tensor:
    """Runs one training step on one sentence of the given rows and returns its auxiliary loss."""
    states_BTE = torch.tensor([rows], requires_grad=True)
    output = quantizer(states_BTE, torch.ones(1, len(rows)))
    (output.quantized_BTE.sum() + output.aux_loss).backward()
    quantizer.update()
    return output.aux_loss.detach()


def test_one_step_by_hand() -> None:
    quantizer = quantizer_of([[0.0], [10.0], [-50.0]], decay=0.75, commitment_weight=0.5)
    loss = step(quantizer, [1.0], [3.0], [8.0])
    # N = .75 + .25 x (2, 1, 0); e = (.75 e + .25 x sum of inputs) / N
    assert torch.allclose(quantizer.counts_QK[0], torch.tensor([1.25, 1.0, 0.75]))
    assert torch.allclose(quantizer.entries_QKD[0, :, 0], torch.tensor([1.0 / 1.25, 7.5 + 2.0, -50.0]))
    assert loss.item() == pytest.approx(0.5 * (1 + 9 + 4) / 3)


def test_untouched_entries_keep_their_place_for_ever() -> None:
    quantizer = quantizer_of([[0.0], [10.0]], decay=0.5)
    for _ in range(200):
        step(quantizer, [1.0])
    assert quantizer.entries_QKD[0, 1].item() == 10.0


def test_micro_batches_count_together() -> None:
    apart, together = (quantizer_of([[0.0], [10.0]], decay=0.9) for _ in range(2))
    for row in ([1.0], [2.0], [7.0]):
        apart(torch.tensor([[row]], requires_grad=True), torch.ones(1, 1))
    apart.update()
    step(together, [1.0], [2.0], [7.0])
    assert torch.equal(apart.entries_QKD, together.entries_QKD)
    assert torch.equal(apart.counts_QK, together.counts_QK)


def test_many_steps_equal_the_library_on_packed_tokens() -> None:
    """The library smooths counts (Laplace), which hardly moves entries if all are in use and counts start at one."""
    from vector_quantize_pytorch import VectorQuantize

    torch.manual_seed(0)
    size, width = 12, 6
    library = VectorQuantize(width, size, decay=0.95, commitment_weight=0.25, rotation_trick=False, eps=1e-10)
    own = EMAConfig(codebook_size=size, decay=0.95, revive_below=None, start="random").build(width)
    centres_KD = 3 * torch.randn(size, width)
    own.entries_QKD.copy_(centres_KD[None])
    library._codebook.embed.data.copy_(centres_KD[None])
    library._codebook.embed_avg.data.copy_(centres_KD[None])
    library._codebook.cluster_size.data.fill_(1.0)
    for _ in range(60):
        states_BTE = centres_KD.repeat(6, 1)[None] + 0.3 * torch.randn(1, 6 * size, width)
        mine, theirs = (states_BTE.clone().requires_grad_() for _ in range(2))
        output = own(mine, torch.ones(1, 6 * size))
        quantized_BTE, codes_BT, loss = library(theirs)
        assert torch.equal(output.codes_BTQ[..., 0], codes_BT)
        assert torch.allclose(output.aux_loss, loss.sum(), rtol=1e-4)
        (output.quantized_BTE.square().sum() + output.aux_loss).backward()
        (quantized_BTE.square().sum() + loss.sum()).backward()
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-4)
        own.update()
    assert torch.allclose(own.entries_QKD, library._codebook.embed, atol=1e-4)


def test_cosine_compares_like_with_like() -> None:
    quantizer = quantizer_of([[0.0, 9.0], [0.3, 0.3]], distance="cosine", commitment_weight=1.0, decay=0.5)
    states_BTE = torch.tensor([[[100.0, 20.0]]], requires_grad=True)
    output = quantizer(states_BTE, torch.ones(1, 1))
    unit, entry = F.normalize(torch.tensor([100.0, 20.0]), dim=0), torch.tensor([1.0, 1.0]) / 2**0.5
    assert output.codes_BTQ.item() == 1
    assert torch.allclose(output.quantized_BTE[0, 0], entry)
    assert output.aux_loss.item() == pytest.approx((unit - entry).square().mean().item(), rel=1e-5)
    quantizer.update()
    assert torch.allclose(quantizer.entries_QKD[0, 1], (0.5 * torch.tensor([0.3, 0.3]) + 0.5 * unit))


def test_cosine_ignores_the_length_of_a_state() -> None:
    quantizer = EMAConfig(codebook_size=20, distance="cosine", num_codebooks=2).build(8).eval()
    states_BTE, mask_BT = torch.randn(2, 4, 8), torch.ones(2, 4)
    lengths = torch.rand(2, 4, 1) * 50 + 0.1
    assert torch.equal(quantizer(states_BTE, mask_BT).codes_BTQ, quantizer(states_BTE * lengths, mask_BT).codes_BTQ)


def test_moments_carry_every_entry_along_with_the_inputs() -> None:
    """Inputs move far away: with the affine form all entries follow, without it only those that win."""
    ends = {}
    for affine in (None, "moments"):
        torch.manual_seed(0)
        quantizer = EMAConfig(codebook_size=30, affine=affine, revive_below=None, start="states").build(4)
        quantizer.start(torch.randn(200, 4))
        for number in range(120):
            states_BTE = (torch.randn(1, 40, 4) * 3 + min(number, 80)).requires_grad_()
            quantizer(states_BTE, torch.ones(1, 40))
            quantizer.update()
        ends[affine] = (quantizer.table_KD(0).mean(-1) - 80).abs().median().item()
    assert ends["moments"] < 5 < ends[None]


def test_affine_starts_at_the_entries_themselves() -> None:
    quantizer = EMAConfig(codebook_size=5, affine="moments", start="states").build(3)
    quantizer.start(7 * torch.randn(50, 3) + 20)
    assert torch.allclose(quantizer.table_KD(0), quantizer.entries_QKD[0], rtol=1e-4)


def test_an_affine_step_moves_what_is_read_towards_the_inputs() -> None:
    quantizer = quantizer_of([[0.0], [10.0]], decay=0.5, affine="moments")
    quantizer.affines[0].input_variance_D.fill_(4.0)
    quantizer.affines[0].input_mean_D.fill_(3.0)  # the table is read as 2 e + 3
    seen = torch.tensor([[5.0]])
    quantizer._learn(0, seen, torch.tensor([0]))
    assert quantizer.table_KD(0)[0].item() == pytest.approx((3.0 + 5.0) / 2)


def test_revival_moves_the_dead_onto_inputs_and_resets_their_counts() -> None:
    entries_KD, counts_K = torch.arange(4.0)[:, None] * 100, torch.tensor([40.0, 0.2, 39.5, 0.3])
    inputs_MD = torch.tensor([[7.0], [8.0]])
    revive(entries_KD, counts_K, inputs_MD, 0.1, torch.Generator().manual_seed(0))
    assert sorted(entries_KD[[1, 3], 0].tolist()) == [7.0, 8.0]
    assert entries_KD[[0, 2], 0].tolist() == [0.0, 200.0]
    assert torch.allclose(counts_K, torch.tensor([40.0, 20.0, 39.5, 20.0]))


def test_revival_takes_the_deadest_first_and_no_more_than_there_are_inputs() -> None:
    entries_KD, counts_K = torch.zeros(4, 1), torch.tensor([0.02, 100.0, 0.01, 0.03])
    revive(entries_KD, counts_K, torch.tensor([[7.0]]), 0.1, torch.Generator().manual_seed(0))
    assert entries_KD[:, 0].tolist() == [0.0, 0.0, 7.0, 0.0]


def test_revival_brings_a_collapsed_codebook_into_use() -> None:
    used = {}
    for revive_below in (None, 0.1):
        torch.manual_seed(0)
        quantizer = EMAConfig(codebook_size=32, revive_below=revive_below, decay=0.9, start="random").build(4)
        codes = []
        for _ in range(60):
            states_BTE = (torch.randn(1, 64, 4) + 30).requires_grad_()
            codes.append(quantizer(states_BTE, torch.ones(1, 64)).codes_BTQ)
            quantizer.update()
        used[revive_below] = torch.cat(codes[-10:]).unique().numel()
    assert used[None] < 8 and used[0.1] > 24


def test_far_inputs_are_far_from_their_entries_and_from_each_other() -> None:
    inputs_MD, entries_MD = torch.tensor([[0.0], [0.0], [0.0], [2.0], [7.0], [9.0]]), torch.zeros(6, 1)
    assert variance(inputs_MD).item() == pytest.approx((9 + 9 + 9 + 1 + 16 + 36) / 6), "about their mean, 3"
    far_M = are_far(inputs_MD, entries_MD, torch.tensor(6.0))
    assert far_M.tolist() == [False] * 4 + [True] * 2, "49 and 81 are above 6, 4 is not"
    found = {
        tuple(apart(inputs_MD[far_M], torch.tensor(6.0), torch.Generator().manual_seed(seed))[:, 0].tolist())
        for seed in range(20)
    }
    assert found == {(7.0,), (9.0,)}, "they are near each other by the same limit (4), so one is enough"
    both_UD = apart(inputs_MD[far_M], torch.tensor(3.0), torch.Generator().manual_seed(0))
    assert sorted(both_UD[:, 0].tolist()) == [7.0, 9.0]
    assert apart(inputs_MD[:0], torch.tensor(3.0), torch.Generator()).shape == (0, 1)


def test_far_is_measured_where_the_decoder_reads() -> None:
    # The second dimension hardly varies, but its moments are scaled up to those of the table in stored coordinates.
    torch.manual_seed(0)
    quantizer = quantizer_of(
        [[-20.0, 0.0], [0.0, 0.0], [20.0, 0.0], [500.0, 0.0]],
        decay=0.5, affine="moments", revive_below=0.1, revive_beyond=0.25,
    )  # fmt: skip
    quantizer.affines[0].input_variance_D.copy_(torch.tensor([1.0, 1e-4]))
    quantizer.counts_QK[0] = torch.tensor([9.0, 9.0, 9.0, 0.0])
    vectors_MD = torch.tensor([[-20.0, 0.0], [0.0, 0.0], [20.0, 0.0]]).repeat(20, 1)
    vectors_MD[:, 1] = 0.1 * torch.randn(60)
    codes_M = torch.tensor([0, 1, 2]).repeat(20)
    quantizer._revive(0, vectors_MD, codes_M)
    assert quantizer.entries_QKD[0, 3].tolist() == [500.0, 0.0], "nothing is far, so nothing moves"


def clusters(num_common: int) -> tuple[Tensor, Tensor]:
    """Returns 256 vectors a batch of `num_common` frequent places and two rare ones, far apart, and their places."""
    place_M = torch.randint(num_common, (256,))
    place_M[:2] = torch.tensor([num_common, num_common + 1])
    centers_KD = torch.eye(num_common + 2) * 10
    return centers_KD[place_M] + 0.05 * torch.randn(256, num_common + 2), place_M


def test_far_revival_gives_rare_inputs_an_entry_and_frequent_ones_no_second() -> None:
    used, is_apart = {}, {}
    for name, below, beyond in (("none", None, None), ("anywhere", 0.1, None), ("far", 0.1, 0.25)):
        torch.manual_seed(0)
        config = EMAConfig(codebook_size=64, revive_below=below, revive_beyond=beyond, decay=0.9, start="random")
        quantizer = config.build(10)
        quantizer.entries_QKD[0, :8] = torch.eye(10)[:8] * 10  # none at the two rare places
        quantizer.entries_QKD[0, 8:] = -100.0
        for _ in range(150):
            vectors_MD, place_M = clusters(8)
            codes_M = quantizer(vectors_MD[None].requires_grad_(), torch.ones(1, 256)).codes_BTQ[0, :, 0]
            quantizer.update()
        used[name] = codes_M.unique().numel()
        is_apart[name] = all(len(set(place_M[codes_M == code].tolist())) == 1 for code in codes_M.unique())
    assert used["far"] == 10 and used["anywhere"] > 20, used
    assert is_apart == {"none": False, "anywhere": True, "far": True}


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"selection": "topk", "revive_beyond": 0.5}, r"revive_beyond=0.5 needs quantizer.selection=nearest"),
        ({"revive_beyond": 0.0}, r"revive_beyond=0.0 must be more than 0"),
        ({"decay": 1.0}, r"decay=1.0 must lie strictly between 0 and 1"),
        ({"affine": "learned"}, r"quantizer\.affine=learned needs a codebook that learns by gradient"),
        ({"commitment_on": "codebook"}, r"quantizer\.commitment_on=codebook needs a codebook"),
        ({"orthogonality_weight": 1.0}, r"quantizer\.orthogonality_weight=1.0 needs a codebook"),
        ({"affine": "moments", "distance": "cosine"}, r"quantizer\.affine=moments must be null"),
        ({"revive_below": 1.0}, r"revive_below=1.0 must lie strictly between 0 and 1"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        EMAConfig.parse({"name": "ema", **settings})


def test_revival_takes_the_codes_of_rare_vectors_and_without_it_they_stay() -> None:
    """Sixty fixed vectors, one of them a thousand times rarer than the most frequent: as tokens of a language are."""
    vectors_VD = 5 * torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    names = {}
    for below in (None, 0.02):
        quantizer = EMAConfig(codebook_size=60, revive_below=below, start="random").build(8)
        quantizer.entries_QKD.copy_(vectors_VD[None])
        drawn = torch.Generator().manual_seed(1)
        for _ in range(1_500):
            tokens_BT = torch.multinomial(torch.arange(1, 61).float() ** -1.7, 64, replacement=True, generator=drawn)
            quantizer(vectors_VD[tokens_BT][None].requires_grad_(), torch.ones(1, 64))
            quantizer.update()
        names[below] = len(quantizer.eval()(vectors_VD[None], torch.ones(1, 60)).codes_BTQ.unique())
    assert names[None] == 60
    assert names[0.02] < 55
