"""Order of the codes of `sfvq`: are codes near each other on the curve near in space, and alike in meaning?

- `distance`: rank correlation of |i - j| with the distance of the vectors of i and j, over random pairs of different
  codes in use: a code next to itself is near itself in any order.
- `text`: rank correlation of |i - j| with the change of the decoded text when code i becomes j at a random position.

Both are near 0 when the numbers of the codes are dealt out anew, which stands next to the first one.

Letters: P pairs.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from t5vqvae.latent.code_vectors import vectors
from t5vqvae.latent.traversal import swapped
from t5vqvae.measures.base import Found, Probed, measure
from t5vqvae.measures.sensitivity import rank_correlation, similarity
from t5vqvae.quantizers.sfvq import SFVQQuantizer

NUM_PAIRS = 2_000
NUM_SWAPS = 200


@measure("order")
def order(probed: Probed) -> Found:
    """Measures whether the order of a curve's codes is one of space and of meaning."""
    quantizer = probed.model.quantizer
    if not isinstance(quantizer, SFVQQuantizer) or not probed.codes or probed.model.leaks:
        return Found()
    used = np.unique(np.concatenate(probed.codes))
    if len(used) < 2:
        return Found()
    rng = np.random.default_rng(probed.seed)
    first_P = rng.integers(len(used), size=NUM_PAIRS)
    second_P = (first_P + rng.integers(1, len(used), size=NUM_PAIRS)) % len(used)
    first_P, second_P = used[first_P], used[second_P]
    points = [
        vectors(quantizer, torch.from_numpy(each)[:, None].to(quantizer.corners_KC.device))
        for each in (first_P, second_P)
    ]
    apart = (points[0] - points[1]).norm(dim=-1).tolist()
    dealt = dict(zip(used.tolist(), rng.permutation(used).tolist(), strict=True))
    shuffled = [abs(dealt[int(one)] - dealt[int(other)]) for one, other in zip(first_P, second_P, strict=True)]
    metrics = {
        "order/distance": rank_correlation(np.abs(first_P - second_P).tolist(), apart),
        "order/distance_shuffled": rank_correlation(shuffled, apart),
        "order/text": rank_correlation(*_changes(probed, used.tolist())),
    }
    return Found({key: value for key, value in metrics.items() if value is not None})


def _changes(probed: Probed, used: list[int]) -> tuple[list[float], list[float]]:
    """Returns how far codes moved along the curve, and how much the text changed."""
    space = probed.space()
    rng = random.Random(f"{probed.seed} order")
    sentences = space.encode(rng.sample(probed.texts, min(len(probed.texts), NUM_SWAPS)))
    places = [rng.randrange(len(each.latent_TX)) for each in sentences]
    own = [int(each.latent_TX[place, 0]) for each, place in zip(sentences, places, strict=True)]
    codes = [rng.choice([code for code in used if code != before]) for before in own]
    changed = [
        swapped(each.latent_TX, place, 0, code) for each, place, code in zip(sentences, places, codes, strict=True)
    ]
    texts = space.decode(changed, [each.prompt_codes_PQ for each in sentences])
    plain = space.reconstruct(sentences)
    moved = [float(abs(before - code)) for before, code in zip(own, codes, strict=True)]
    words = probed.spec.data.corpus.words
    differing = [1 - similarity(words(text), words(before)) for text, before in zip(texts, plain, strict=True)]
    return moved, differing
