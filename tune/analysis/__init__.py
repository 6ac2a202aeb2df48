"""Computes the statistics of studies, by pure functions over numbers and records.

Ablations: `comparison.py` (arms against a baseline), `factorial.py` and `fraction.py` (designs with several factors),
`effect.py`, `permutation.py`, `symmetry.py`, `equivalence.py`, `holm.py`, `power.py`, `sequential.py`. Two models on
one test set: `two_models.py`, by `bootstrap.py`. Searches: `importance.py`, `response.py`, `front.py`.
"""

from tune.analysis.bootstrap import SentenceComparison, compare_bleu, compare_means, compare_ratios
from tune.analysis.comparison import ArmResult, Comparison, Question, RunRow, compare_arms
from tune.analysis.effect import Effect, paired_differences, paired_effect
from tune.analysis.equivalence import Equivalence, equivalence
from tune.analysis.factorial import FactorialEffect, factorial_effects, fraction_contrasts, full_contrasts
from tune.analysis.fraction import Fraction, smallest_fraction
from tune.analysis.front import Cost, cost, pareto_front
from tune.analysis.holm import holm, pairs_needed, smallest_adjusted_p
from tune.analysis.importance import Importance, fanova, ped_anova
from tune.analysis.permutation import sign_flip_above, sign_flip_interval, sign_flip_test, smallest_p
from tune.analysis.power import PowerTarget, advice, detectable, power, seeds_needed
from tune.analysis.response import LevelMean, Surface, main_effect, surface
from tune.analysis.sequential import SequentialPlan
from tune.analysis.symmetry import Doubt, bootstrap_t_interval, doubt, sign_test
from tune.analysis.two_models import (
    ModelComparison,
    SentenceScores,
    SentenceTexts,
    SettingsComparison,
    compare_models,
    compare_settings,
)

__all__ = [
    "ArmResult",
    "Comparison",
    "Cost",
    "Doubt",
    "Effect",
    "Equivalence",
    "FactorialEffect",
    "Fraction",
    "Importance",
    "LevelMean",
    "ModelComparison",
    "PowerTarget",
    "Question",
    "RunRow",
    "SentenceComparison",
    "SentenceScores",
    "SentenceTexts",
    "SequentialPlan",
    "SettingsComparison",
    "Surface",
    "advice",
    "bootstrap_t_interval",
    "compare_arms",
    "compare_bleu",
    "compare_means",
    "compare_models",
    "compare_ratios",
    "compare_settings",
    "cost",
    "detectable",
    "doubt",
    "equivalence",
    "factorial_effects",
    "fanova",
    "fraction_contrasts",
    "full_contrasts",
    "holm",
    "main_effect",
    "paired_differences",
    "paired_effect",
    "pairs_needed",
    "pareto_front",
    "ped_anova",
    "power",
    "seeds_needed",
    "sign_flip_above",
    "sign_flip_interval",
    "sign_flip_test",
    "sign_test",
    "smallest_adjusted_p",
    "smallest_fraction",
    "smallest_p",
    "surface",
]
