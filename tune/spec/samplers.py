"""The search algorithms by name: each config builds Optuna's sampler and says what it cannot do.

To add one, write a `SamplerConfig` with a name and a `build`. Optuna is imported when a sampler is built.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar, Literal

from t5vqvae.config import Variant, setting
from t5vqvae.errors import SettingError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from tune.space.space import SearchSpace


class SamplerConfig(Variant):
    """How a study chooses its next trial; `name` picks the algorithm."""

    takes_conditions: ClassVar[bool] = True
    takes_choices: ClassVar[bool] = True
    takes_objectives: ClassVar[bool] = True
    takes_evidence: ClassVar[bool] = True
    """Whether trials that it did not suggest can be told to it; else good settings among them are tried again."""
    takes_pruned: ClassVar[bool] = True
    """Whether a diverged trial may be told as pruned; else it is told as the worst result so far, out of bounds."""
    reads: ClassVar[int | None] = None
    """Most trials that a suggestion reads (see `tune.sampling.subset`); None: all."""

    @property
    def num_random(self) -> int | None:
        """How many finished trials the random start takes; None: all are random."""
        return None

    def build(self, seed: int, space: SearchSpace) -> BaseSampler:
        """Returns Optuna's sampler.

        Args:
            seed: Of its random choices, below 2**32.
            space: What it is going to search.
        """
        raise NotImplementedError

    def refuse(self, space: SearchSpace, num_objectives: int) -> None:
        """Refuses what the algorithm would silently do at random or not at all.

        Raises:
            SettingError: With the setting that it cannot search.
        """
        if not self.takes_conditions and space.conditional:
            raise SettingError(
                f"sampler.name={self.name} would draw {space.conditional[0]} at random, since it has a condition;"
                " take sampler.name=tpe"
            )
        if not self.takes_choices and space.categorical:
            raise SettingError(
                f"sampler.name={self.name} would draw {space.categorical[0]} at random, since its choices have no"
                " order; take sampler.name=tpe"
            )
        if not self.takes_objectives and num_objectives > 1:
            raise SettingError(f"sampler.name={self.name} takes one objective; take tpe, gp or nsga2 for several")


class TPEConfig(SamplerConfig):
    """Tree-structured Parzen estimators, over all settings jointly; conditions are grouped.

    Source: Watanabe 2023 (arXiv:2304.11127).
    """

    reads: ClassVar[int | None] = 300

    name: Literal["tpe"] = "tpe"
    num_startup: int = setting(10, ge=0, description="random trials to have ended before the model decides")
    num_candidates: int = setting(24, ge=1, description="draws of which the most promising is tried")

    @property
    def num_random(self) -> int | None:
        return self.num_startup

    def build(self, seed: int, space: SearchSpace) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import TPESampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(
                n_startup_trials=self.num_startup,
                n_ei_candidates=self.num_candidates,
                multivariate=True,
                group=bool(space.conditional),
                seed=seed,
            )


class _RandomConfig(SamplerConfig):
    """Independent random draws: the control."""

    name: Literal["random"] = "random"

    def build(self, seed: int, space: SearchSpace) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed)


class _GPConfig(SamplerConfig):
    """A Gaussian process with expected improvement; for few, costly trials, and without a scheduler's pruning.

    It learns from completed trials alone, so pruned ones teach it nothing.
    """

    takes_conditions: ClassVar[bool] = False
    takes_pruned: ClassVar[bool] = False

    name: Literal["gp"] = "gp"
    num_startup: int = setting(10, ge=1, description="random trials to have completed before the model decides")

    @property
    def num_random(self) -> int | None:
        return self.num_startup

    def build(self, seed: int, space: SearchSpace) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.num_startup, seed=seed)


class _NSGA2Config(SamplerConfig):
    """A genetic algorithm for several objectives; needs many trials.

    Source: Deb et al. 2002.
    """

    takes_conditions: ClassVar[bool] = False
    takes_evidence: ClassVar[bool] = False

    name: Literal["nsga2"] = "nsga2"
    population: int = setting(50, ge=2, description="trials a generation; the first one is random")

    @property
    def num_random(self) -> int | None:
        return self.population

    def build(self, seed: int, space: SearchSpace) -> BaseSampler:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(population_size=self.population, seed=seed)


class _CMAESConfig(SamplerConfig):
    """Covariance matrix adaptation; for numbers alone, without conditions, one objective.

    Constraints decide which trial is best, but do not guide it.

    Source: Hansen 2016 (arXiv:1604.00772); whole numbers by the margin of Hamano et al. 2022 (arXiv:2205.13482).
    """

    takes_conditions: ClassVar[bool] = False
    takes_choices: ClassVar[bool] = False
    takes_objectives: ClassVar[bool] = False
    takes_evidence: ClassVar[bool] = False

    name: Literal["cmaes"] = "cmaes"
    num_startup: int = setting(1, ge=1, description="random trials to have completed before the model decides")

    @property
    def num_random(self) -> int | None:
        return self.num_startup

    def build(self, seed: int, space: SearchSpace) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import CmaEsSampler

        warnings.filterwarnings("ignore", "Constraints have been set, but CmaEsSampler")  # once a suggestion
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return CmaEsSampler(n_startup_trials=self.num_startup, with_margin=True, seed=seed)

    def refuse(self, space: SearchSpace, num_objectives: int) -> None:
        super().refuse(space, num_objectives)
        if len(space.paths) < 2:
            raise SettingError("sampler.name=cmaes needs at least two searched settings; take sampler.name=tpe")
