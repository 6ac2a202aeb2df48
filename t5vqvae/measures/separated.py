"""SAP, separated attribute predictability: is one latent much better than every other one for a factor?

    SAP = mean over factors of (best accuracy - second best), over latents

The accuracy is that of a linear support vector machine on one latent alone (C = .01, classes weighted equally), on
sentences that it was not fitted to: the mean over a factor's values of the share that is right. A code is read as
one-hot. The same with shuffled latents stands next to it.

Source: Kumar et al. 2018, arXiv 1711.00848.

Different: common code reads a latent as one number. The number of a code is arbitrary, so a line cannot tell codes
apart (a test says by how much it fails). Values are weighted equally in judging as in fitting.

Letters: N sentences, D numbers of a latent, L latents, F factors.
"""

from __future__ import annotations

import numpy as np

from t5vqvae.measures.base import Found, Probed, measure
from t5vqvae.measures.over_templates import Scores, over_templates
from t5vqvae.measures.slots import Floats, Ints, Slots


def separation(slots: Slots, seed: int) -> float:
    """Returns SAP, in [0, 1]."""
    fit, judge = slots.halves(seed)
    found_LF = [[accuracy(each, factor_N, fit, judge) for factor_N in slots.factors_NF.T] for each in slots.linear]
    ordered_LF = np.sort(np.array(found_LF), axis=0)
    return float((ordered_LF[-1] - ordered_LF[-2]).mean())


def accuracy(values_ND: Floats, factor_N: Ints, fit: Ints, judge: Ints) -> float:
    """Returns how well a linear machine reads a factor from one latent: the mean over values of the share right."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    if len(np.unique(factor_N[fit])) < 2:
        return 1.0
    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0, dual="auto")
    kept = judge[np.isin(factor_N[judge], factor_N[fit])]
    predicted_N = machine.fit(values_ND[fit], factor_N[fit]).predict(values_ND[kept])
    seen = np.isin(predicted_N, factor_N[kept])
    # scikit-learn warns of predicted values that no sentence has; to be wrong is all that they are.
    return float(balanced_accuracy_score(factor_N[kept], np.where(seen, predicted_N, _wrong(factor_N[kept]))))


def _wrong(values_N: Ints) -> Ints:
    """Returns for every value another one of those that occur; the same if there is no other."""
    known = np.unique(values_N)
    return known[(np.searchsorted(known, values_N) + 1) % len(known)]


@measure("separation", "full")
def measure_separation(probed: Probed) -> Found:
    """Measures whether one latent alone is best for a factor."""

    def scores(slots: Slots) -> Scores:
        return {"sap": separation(slots, probed.seed)}

    def controls(slots: Slots) -> Scores:
        return {"sap_shuffled": separation(slots.shuffled(probed.seed), probed.seed)}

    return over_templates(probed, "Separation (SAP)", scores, controls)
