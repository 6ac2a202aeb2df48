"""The time of a reconstruction by two models, measured in turns so that a busy machine slows both alike."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from t5vqvae.data.role_reader import RoleReader
from t5vqvae.data.texts import Text
from t5vqvae.measures.mean_interval import mean_interval
from t5vqvae.models.contract import TextAutoencoder, reconstruct

ROUNDS = 12
SENTENCES = 32


def latency_ratio(
    mine: TextAutoencoder,
    theirs: TextAutoencoder,
    texts: Sequence[Text],
    max_new_tokens: int,
    rounds: int = ROUNDS,
    roles: tuple[RoleReader | None, RoleReader | None] = (None, None),
) -> tuple[float, float, float]:
    """Returns the geometric mean of one model's time over another's, with its 95% bootstrap interval over rounds.

    Args:
        mine: The model.
        theirs: The one that it is compared with, on the same device.
        texts: What is reconstructed; the first `SENTENCES` of them.
        max_new_tokens: Tokens after which decoding stops.
        rounds: How often each model runs; which one is first alternates. One more round before them warms both up.
        roles: What reads the roles of texts for each model; None: it reads none.
    """
    chosen, sides = list(texts[:SENTENCES]), (mine, theirs)
    log_ratios = []
    for number in range(rounds + 1):
        seconds = [0.0, 0.0]
        for side in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            reconstruct(sides[side], chosen, max_new_tokens, roles[side])
            seconds[side] = time.perf_counter() - began
        log_ratios.append(math.log(seconds[0] / seconds[1]))
    mean, low, high = map(math.exp, mean_interval(log_ratios[1:], seed=0))
    return mean, low, high
