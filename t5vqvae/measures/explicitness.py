"""InfoE, explicitness: how much of each factor's entropy a linear model takes away, given the latents.

    InfoE = mean over factors of max(0, (H_null - H_pred) / H_null)

H_pred is the cross-entropy of a multinomial logistic regression on one-hot codes (or standardized vectors),
H_null that of the values' frequencies, both on sentences that neither was fitted to. The strength of the regularization
is chosen on a third part of the sentences. The same with shuffled latents stands next to it.

Source: Hsu et al. 2023, arXiv 2305.18378.

Different: kylehkhsu/latent_quantization fits and judges on the same sentences, where one-hot codes of noise take
entropy away, too (a test says how much), and does not run on scikit-learn 1.9.

Letters: N sentences, D numbers of all latents, V values of a factor.
"""

from __future__ import annotations

import warnings

import numpy as np

from t5vqvae.measures.base import Found, Probed, measure
from t5vqvae.measures.over_templates import Scores, over_templates
from t5vqvae.measures.slots import Floats, Ints, Slots

STRENGTHS = (1.0, 100.0)
"""Inverse strengths of the regularization (scikit-learn's C) to choose from."""


def explicitness(slots: Slots, seed: int) -> float:
    """Returns InfoE, in [0, 1]."""
    values_ND, (fit, rest) = np.concatenate(slots.linear, 1), slots.halves(seed)
    choose, judge = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    taken = [_entropy_share(values_ND, factor_N, fit, choose, judge) for factor_N in slots.factors_NF.T]
    return sum(taken) / len(taken)


def _entropy_share(values_ND: Floats, factor_N: Ints, fit: Ints, choose: Ints, judge: Ints) -> float:
    """Returns the share of a factor's entropy that a linear model takes away, at least 0.

    Values that the sentences to fit on lack are left out: no model can have a probability for them.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known = np.unique(factor_N[fit])
    choose, judge = choose[np.isin(factor_N[choose], known)], judge[np.isin(factor_N[judge], known)]
    if len(known) < 2 or not len(choose) or not len(judge):
        return 0.0
    counts_V = np.array([(factor_N[fit] == value).sum() for value in known])
    null = cross_entropy(np.tile(counts_V / counts_V.sum(), (len(judge), 1)), factor_N[judge], known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop regularizes; it is judged like any other
        models = [LogisticRegression(C=c, max_iter=200).fit(values_ND[fit], factor_N[fit]) for c in STRENGTHS]
    best = min(models, key=lambda m: cross_entropy(m.predict_proba(values_ND[choose]), factor_N[choose], known))
    predicted = cross_entropy(best.predict_proba(values_ND[judge]), factor_N[judge], known)
    return max(0.0, (null - predicted) / null) if null > 0 else 0.0


def cross_entropy(shares_NV: Floats, values_N: Ints, known_V: Ints) -> float:
    """Returns the mean negative logarithm of the probability of each value, nats."""
    columns_N = np.searchsorted(known_V, values_N)
    return float(-np.log(np.maximum(shares_NV[np.arange(len(values_N)), columns_N], 1e-12)).mean())


@measure("explicitness", "full")
def measure_explicitness(probed: Probed) -> Found:
    """Measures how linearly factors can be read from latents."""

    def scores(slots: Slots) -> Scores:
        return {"infoe": explicitness(slots, probed.seed)}

    def controls(slots: Slots) -> Scores:
        return {"infoe_shuffled": explicitness(slots.shuffled(probed.seed), probed.seed)}

    return over_templates(probed, "Explicitness", scores, controls)
