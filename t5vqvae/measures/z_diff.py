"""z-diff: from which latents stay alike, can a linear model say which factor was held fixed?

For a factor, 64 pairs of different sentences of one template share its value. A point has, for each latent, the mean
distance between the two sentences of a pair: 1 for different codes, the length of the difference for vectors. A linear
model predicts the factor from such points of two thirds of the sentences; the measure is its accuracy on points of the
other third. Chance is 1/F, and shuffled latents stand next to it. Latents that never vary are left out, and factors no
value of which stands twice in both parts.

A sentence never is its own partner: such a pair is alike in every latent, so the number of a factor's values, which
says how many such pairs there are, would show in latents that say nothing (a test says how much).

It is near 1 for many models, also for entangled ones whose latents differ in how much they follow each factor: read it
with the measures next to it.

Source: Higgins et al. 2017 (beta-VAE).

Different: pairs are of given sentences instead of drawn ones. LangSpace (neuro-symbolic-ai/LangSpace) has 50 points a
factor, and ten epochs of Adam fit its model: a test says how near to chance that stays.

Different: published settings (google-research/disentanglement_lib) have 10,000 points to fit on and 5,000 to judge by,
of 64 pairs each. Here each factor has 300 and 150, of 64 pairs each: a template has a few hundred sentences, so more
points would repeat their pairs. There, distances are not standardized, and FactorVAE's score leaves out latents with a
standard deviation below .05, which says little next to a prior that has 1. Code vectors and states have no prior and no
such scale. So here distances are standardized, and a latent is left out only where they never vary.

Letters: N sentences, L latents, F factors, D numbers of a latent, P points.
"""

from __future__ import annotations

import numpy as np

from t5vqvae.measures.base import Found, Probed, measure
from t5vqvae.measures.over_templates import Scores, over_templates
from t5vqvae.measures.slots import Floats, Ints, Slots

NUM_PAIRS = 64
NUM_POINTS = 300
"""Points of every factor to fit on; half as many more to judge by."""


def z_diff(slots: Slots, seed: int) -> float | None:
    """Returns the accuracy, in [0, 1]; None if fewer than two factors have pairs."""
    from sklearn.linear_model import LogisticRegression

    rng, parts = np.random.default_rng([seed, 4]), slots.halves(seed)
    factors = [
        factor_N for factor_N in slots.factors_NF.T if all(np.bincount(factor_N[rows]).max() > 1 for rows in parts)
    ]
    if len(factors) < 2:
        return None
    points = [
        [_points(slots, factor_N, rows, count, rng) for factor_N in factors]
        for rows, count in zip(parts, (NUM_POINTS, NUM_POINTS // 2), strict=True)
    ]
    fit_PL, judge_PL = map(np.concatenate, points)
    kept_L = fit_PL.std(0) > 0
    if not kept_L.any():
        return 1 / len(factors)
    mean_L, spread_L = fit_PL.mean(0)[kept_L], fit_PL.std(0)[kept_L]
    fit_PL, judge_PL = ((each[:, kept_L] - mean_L) / spread_L for each in (fit_PL, judge_PL))
    names = np.arange(len(factors))
    model = LogisticRegression(max_iter=1000).fit(fit_PL, names.repeat(NUM_POINTS))
    return float((model.predict(judge_PL) == names.repeat(NUM_POINTS // 2)).mean())


def _points(slots: Slots, factor_N: Ints, rows: Ints, count: int, rng: np.random.Generator) -> Floats:
    """Returns the mean distances of pairs that share a factor's value, of some rows alone, shape (P, L)."""
    order = rows[np.argsort(factor_N[rows], kind="stable")]  # equal values side by side
    values = factor_N[order]
    sizes = np.bincount(values)[values]
    places = rng.choice(np.flatnonzero(sizes > 1), size=count * NUM_PAIRS)
    starts = np.searchsorted(values, values[places])
    others = starts + (places - starts + 1 + rng.integers(sizes[places] - 1)) % sizes[places]
    first, second = order[places], order[others]
    found = [_distances(part, first, second).reshape(count, NUM_PAIRS).mean(1) for part in slots.parts]
    return np.stack(found, 1)


def _distances(part: Ints | Floats, first: Ints, second: Ints) -> Floats:
    if part.ndim == 1:
        return (part[first] != part[second]).astype(np.float64)
    return np.linalg.norm(part[first] - part[second], axis=1)


@measure("z_diff", "full")
def measure_z_diff(probed: Probed) -> Found:
    """Measures whether a factor that is held fixed shows in the latents."""

    def scores(slots: Slots) -> Scores:
        return {"z_diff": z_diff(slots, probed.seed)}

    def controls(slots: Slots) -> Scores:
        return {"z_diff_shuffled": z_diff(slots.shuffled(probed.seed), probed.seed)}

    return over_templates(probed, "z-diff", scores, controls)
