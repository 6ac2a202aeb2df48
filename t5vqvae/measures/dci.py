"""DCI: how well a forest reads factors from latents, and how its reading spreads over them.

A random forest predicts each factor from all latents of a template and from *shadows*, the same latents shuffled, on
two thirds of its sentences. R_ij is the impurity that splits by latent i remove for factor j less what its shadow's
splits remove, at least 0, times the accuracy above chance on the other sentences, over the room above chance. Chance is
the share of the factor's most frequent value, or the accuracy with shuffled latents where that is more: a forest on
noise does worse than its most frequent value. A factor whose accuracy is not above chance by two standard errors, and a
twentieth of the room, has no R: D and C do not depend on the size of R, so what noise leaves would count in full.

- Disentanglement D = sum_i (1 - H_F(R_i)) rho_i, rho_i = sum_j R_ij / sum R: each latent says one factor.
- Completeness C = sum_j (1 - H_L(R_.j)) w_j, w_j = sum_i R_ij / sum R: each factor is in one latent.
- Informativeness: mean accuracy over factors; the same with shuffled latents stands next to it.

H_F is the entropy to the base F. Without any R above 0, as for shuffled latents, D and C are not defined.

Source: Eastwood and Williams 2018 (ICLR), with a forest instead of a lasso or boosted trees.

Different: published settings (google-research/disentanglement_lib) are boosted trees, 100 of depth 3, fitted on 10,000
points and judged on 5,000. Boosting fits them for every value of a factor, which takes too long here. A forest is
affordable: 50 trees of depth 12 at most (8 gives nearly the same), on 2,000 training sentences of all templates, two
thirds of each template to fit on. So accuracies are those of some hundred sentences, and not to be compared with
published ones.

Published code has neither shadows nor the accuracy in R. Splits by a latent of many values remove some impurity by
chance, so there a code of noise says something about every factor that is not predicted to the end (a test says how
much). D and C are means weighted by importance, as defined; an unweighted mean counts latents that say nothing. What
accuracy loses when one latent is exchanged would be no importance: redundant latents, such as those of a sentence's
vector, would have none.

Letters: N sentences, L latents, F factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5vqvae.measures.base import Found, Probed, measure
from t5vqvae.measures.over_templates import Scores, over_templates
from t5vqvae.measures.slots import Floats, Ints, Slots

NUM_TREES = 50
MAX_DEPTH = 12
LEAST_GAIN = 0.05
"""Accuracy above chance, over its room, below which a factor counts as not predicted."""


@dataclass(frozen=True)
class Read:
    """How a forest reads factors from latents.

    Attributes:
        importances_LF: The importance of each latent for each factor.
        accuracy: The mean accuracy over factors.
        accuracy_shuffled: The same with shuffled latents.
    """

    importances_LF: Floats
    accuracy: float
    accuracy_shuffled: float


def read(slots: Slots, seed: int) -> Read:
    """Returns how a forest reads the factors of a template from its latents."""
    latents, chance = slots.ordered, slots.shuffled(seed).ordered
    columns = []
    for factor_N in slots.factors_NF.T:
        removed_L, accuracy = _forest(latents, chance, factor_N, *slots.halves(seed), seed)
        _, shuffled = _forest(chance, [], factor_N, *slots.halves(seed), seed)
        judge = slots.halves(seed)[1]
        often = float(np.unique(factor_N[judge], return_counts=True)[1].max()) / len(judge)
        columns.append((removed_L * _gain(accuracy, max(often, shuffled), len(judge)), accuracy, shuffled))
    found, right, by_chance = zip(*columns, strict=True)
    return Read(np.stack(found, 1), sum(right) / len(right), sum(by_chance) / len(by_chance))


def _gain(accuracy: float, chance: float, number: int) -> float:
    """Returns the accuracy above chance over its room; 0 if so many judged sentences do not show that it is above."""
    room, noise = max(1 - chance, 1e-9), 2 * math.sqrt(chance * (1 - chance) / number)
    return (accuracy - chance) / room if accuracy - chance >= max(LEAST_GAIN * room, noise) else 0.0


def completeness(importances_LF: Floats) -> float | None:
    """Returns C, in [0, 1]; None if no latent has an importance."""
    return disentanglement(importances_LF.T)


def disentanglement(importances_LF: Floats) -> float | None:
    """Returns D, in [0, 1]; None if no latent has an importance."""
    total_L, total = importances_LF.sum(1), float(importances_LF.sum())
    if total <= 0:
        return None
    share_LF = importances_LF / np.where(total_L > 0, total_L, 1.0)[:, None]
    logs_LF = np.log(np.where(share_LF > 0, share_LF, 1.0)) / np.log(importances_LF.shape[1])
    return float(((1 + (share_LF * logs_LF).sum(1)) * total_L / total).sum())


def _forest(
    latents: Sequence[Floats], shadows: Sequence[Floats], factor_N: Ints, fit: Ints, judge: Ints, seed: int
) -> tuple[Floats, float]:
    """Returns the impurity that each latent removes, less its shadow's, and the accuracy on sentences to judge by."""
    from sklearn.ensemble import RandomForestClassifier

    values_ND = np.concatenate([*latents, *shadows], 1)
    forest = RandomForestClassifier(NUM_TREES, max_depth=MAX_DEPTH, random_state=seed)
    forest.fit(values_ND[fit], factor_N[fit])
    ends = np.cumsum([part.shape[1] for part in [*latents, *shadows]])[:-1]
    removed = np.array([part.sum() for part in np.split(forest.feature_importances_, ends)])
    of_shadows_L = removed[len(latents) :] if shadows else np.zeros(len(latents))
    accuracy = float((forest.predict(values_ND[judge]) == factor_N[judge]).mean())
    return np.maximum(removed[: len(latents)] - of_shadows_L, 0.0), accuracy


@measure("dci", "full")
def dci(probed: Probed) -> Found:
    """Measures disentanglement, completeness and informativeness."""

    def scores(slots: Slots) -> Scores:
        found = read(slots, probed.seed)
        return {
            "dci_disentanglement": disentanglement(found.importances_LF),
            "dci_completeness": completeness(found.importances_LF),
            "dci_informativeness": found.accuracy,
            "dci_informativeness_shuffled": found.accuracy_shuffled,
        }

    return over_templates(probed, "DCI", scores)
