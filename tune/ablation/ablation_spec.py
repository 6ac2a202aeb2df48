"""The spec of an ablation: a question, a baseline, arms, seeds, and the rules that make the answer fair.

    name: moving-averages
    question: What do moving averages, the k-means start and revival contribute?
    base: {data.corpus.name: math}
    arms:
      - {name: gradients, question: Are moving averages needed?, overrides: {quantizer.name: vq}}
    seeds: 8
    nuisance: {optim.learning_rate: {type: float, low: 5.0e-4, high: 8.0e-3, log: true}}
    trials_per_arm: 4
    objective: {metric: validation/nll_per_char}
    margin: 0.01

The spec refuses what would make the comparison unfair or pointless, before anything runs. `plan.py` turns the spec
into runs. Words follow the rule of a search: a field of `AblationSpec` sets the study, anything else the base run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from t5vqvae.config import setting
from t5vqvae.config.base import MAX_INTEGER
from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.evaluation.metric import PRICES
from t5vqvae.evaluation.metrics import METRICS, find
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.unfit import refuse_new
from tune.ablation.ablation_sections import Baseline, Seeds, Sequential, Tuning
from tune.ablation.components import side_changes
from tune.ablation.designs import BASELINE, Arm, DesignConfig, Flat
from tune.ablation.fairness import refuse_unfair
from tune.analysis import PowerTarget, Question, SequentialPlan, advice, pairs_needed, smallest_adjusted_p
from tune.space.space import SearchSpace
from tune.spec.objective import Objective, refuse_free_kl, refuse_incomparable
from tune.spec.study_file import ABLATIONS
from tune.spec.study_spec import Space, StudySpec

LEARNING_RATE = "optim.learning_rate"


class AblationSpec(StudySpec):
    """Declares one ablation; building it refuses a study whose answer could not be believed."""

    folder: ClassVar[Path] = ABLATIONS
    kind: ClassVar[str] = "ablation"
    said_elsewhere: ClassVar[Mapping[str, str]] = {**StudySpec.said_elsewhere, "seed": "seeds"}

    question: str = setting(min_length=1, description="the question that the study answers, in a sentence")
    base: Flat = setting({}, description="overrides over the defaults, or over what `baseline` names")
    baseline: Baseline = Field(default_factory=Baseline)
    arms: tuple[Arm, ...] = setting((), description="variations of the baseline; instead of a design")
    design: DesignConfig.any() | None = setting(None, description="a rule that makes the arms")  # type: ignore[valid-type]
    seeds: Seeds = setting(min_length=2, description="a list, or how many; the same for every arm")
    nuisance: Space = setting(SearchSpace(), description="settings retuned for every arm; the learning rate among them")
    trials_per_arm: int | None = setting(None, ge=2, description="candidates that every arm is tuned over")
    untuned: str | None = setting(None, min_length=1, description="why nothing is retuned; printed in the report")
    tuning: Tuning = setting("per_seed", description="tune each seed anew; shared: once for all, error understated")
    tuning_seed: int = setting(1_000, ge=0, description="seed of tuning, plus the seed that it is for; none of `seeds`")
    objective: Objective
    margin: float | None = setting(None, gt=0, description="largest difference that does not matter; None: untested")
    alpha: float = setting(0.05, gt=0, lt=1, description="chance of any false claim over all arms")
    power: float = setting(0.8, gt=0, lt=1, description="chance to find what is there, for advice on seeds")
    sd: float | None = setting(None, gt=0, description="expected SD of paired differences, from a pilot; for advice")
    test: Literal["permutation", "t"] = setting("permutation")
    interval: Literal["permutation", "t", "bca"] | None = setting(None, description="None: the interval of the test")
    beside: tuple[str, ...] = setting((), description="metrics shown with the objective, before rate and costs")
    sequential: Sequential | None = setting(None, description="stop arms early; None: run everything")

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise SettingError(f"seeds={list(seeds)} must be different and at least 0")
        return seeds

    @field_validator("beside")
    @classmethod
    def _known(cls, beside: tuple[str, ...]) -> tuple[str, ...]:
        for metric in beside:
            if find(metric) is None:
                raise SettingError(f"beside: metric {metric} is unknown{did_you_mean(metric, METRICS)}")
        return beside

    @model_validator(mode="after")
    def _believable(self) -> Self:
        if bool(self.arms) == (self.design is not None):
            raise SettingError("arms and design: give one of them")
        self._refuse_common_seeds()
        self._refuse_untuned()
        refuse_incomparable([self.objective.metric], self.nuisance.paths, "nuisance")
        refuse_free_kl([self.objective.metric], (), self.nuisance.paths, "nuisance")
        if self.sequential is not None and self.sequential.looks[-1] != len(self.seeds):
            looks = list(self.sequential.looks)
            raise SettingError(f"sequential.looks={looks} must end at all {len(self.seeds)} seeds")
        if self.sequential is not None and self.design is not None and self.design.name in ("factorial", "fractional"):
            raise SettingError("sequential: a factorial needs all its cells, so no arm can stop early; leave it out")
        if not self.baseline.needs_lookup:
            self.check(self.resolve_base())
        return self

    def resolve_base(self, found: RunSpec | None = None) -> RunSpec:
        """Returns the baseline's run spec.

        Args:
            found: The best trial's or the champion's, which the caller looks up where `baseline.needs_lookup`.
        """
        assert found is not None or not self.baseline.needs_lookup
        return self.over(found or RunSpec())

    @property
    def tuning_seeds(self) -> dict[int, int]:
        """The seed of the tuning runs for each seed of the comparison."""
        return {seed: self.tuning_seed + (seed if self.tuning == "per_seed" else 0) for seed in self.seeds}

    def _refuse_common_seeds(self) -> None:
        tuned_on = set(self.tuning_seeds.values())
        if common := sorted(tuned_on & set(self.seeds)):
            raise SettingError(
                f"tuning_seed={self.tuning_seed} means tuning on {common[0]}, which is one of seeds; take one beyond"
                f" them, such as {max(self.seeds) + 1}"
            )
        if max(tuned_on) > MAX_INTEGER:
            raise SettingError(f"tuning_seed={self.tuning_seed} and seeds add up to more than {MAX_INTEGER}")

    def _refuse_untuned(self) -> None:
        if self.untuned is not None:
            if self.trials_per_arm is not None or self.nuisance.dimensions:
                raise SettingError("untuned says that nothing is retuned; leave out nuisance and trials_per_arm")
            return
        if self.trials_per_arm is None or not self.nuisance.dimensions:
            raise SettingError(
                "nuisance and trials_per_arm are missing: an arm at the baseline's learning rate is compared unfairly;"
                " give both, or say in `untuned` why not"
            )

    def resolve_arms(self, base: RunSpec) -> list[Arm]:
        """Returns the arms without the baseline."""
        arms = list(self.arms) if self.design is None else self.design.arms(base)
        if not arms:
            raise SettingError(f"design={self.design.name if self.design else None} makes no arm of this baseline")
        return arms

    def num_tests(self, base: RunSpec) -> int:
        """Returns the number of tests that share alpha: contrasts of a factorial, otherwise arms."""
        contrasts = [] if self.design is None else self.design.contrasts(base)
        return len(contrasts) or len(self.resolve_arms(base))

    def power_target(self, base: RunSpec) -> PowerTarget:
        """Returns the error rates that the number of seeds has to reach."""
        return PowerTarget(self.alpha, self.power, self.num_tests(base), self.test)

    def analysis_question(self, base: RunSpec) -> Question:
        """Returns the rules of the analysis."""
        plan = None
        if self.sequential is not None:
            share = self.alpha / self.num_tests(base)
            plan = SequentialPlan(self.sequential.looks, share, self.sequential.spending, self.sequential.futility)
        objective = self.objective
        return Question(
            objective=objective.metric,
            direction=objective.direction,
            alpha=self.alpha,
            power=self.power,
            margin=self.margin,
            test=self.test,
            interval=self.interval,
            secondary=tuple(dict.fromkeys([*self.beside, *PRICES])),
            plan=plan,
        )

    def check(self, base: RunSpec) -> None:
        """Refuses what only a known baseline shows.

        Raises:
            SettingError: If arms are unknown, alike by name, judged or trained unequally, or can show nothing.
        """
        arms = self.resolve_arms(base)
        names = [BASELINE, *(arm.name for arm in arms)]
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"arms: {name!r} names two; give each its own name ({BASELINE!r} is taken)")
        for arm in [Arm(name=BASELINE), *arms]:
            self.refuse_unfit_run(base.with_overrides(arm.overrides))
        for arm in arms:
            refuse_unfair(arm, base, self.objective)
        self._refuse_unfit_nuisance(base, arms)
        if self.sequential is None:
            self._refuse_hopeless(self.num_tests(base))

    def refuse_new(self, base: RunSpec) -> None:
        """Refuses to start an ablation that earlier versions started; one that they began is still read and resumed.

        Args:
            base: The baseline's run spec.

        Raises:
            SettingError: With the setting and the way out.
        """
        self.refuse_without_effect(self.nuisance.paths, "nuisance")
        for arm in [Arm(name=BASELINE), *self.resolve_arms(base)]:
            run = base.with_overrides(arm.overrides)
            self.refuse_never_measured(run, [self.objective.metric])
            refuse_new(run)
            self._nuisance_of(run.as_flat_dict()).check(run, refuse_new)

    def _refuse_unfit_nuisance(self, base: RunSpec, arms: Sequence[Arm]) -> None:
        asked = {path for arm in arms for path in arm.overrides}
        if self.untuned is None and LEARNING_RATE not in asked and LEARNING_RATE not in self.nuisance.paths:
            raise SettingError(f"nuisance must contain {LEARNING_RATE}; it has {', '.join(self.nuisance.paths)}")
        for path in sorted(asked & set(self.nuisance.paths)):
            raise SettingError(f"nuisance: {path} is what the arms ask about; it cannot be retuned too")
        used: list[Any] = []
        for arm in [Arm(name=BASELINE), *arms]:
            spec = base.with_overrides(arm.overrides)
            values = spec.as_flat_dict()
            possible = self._nuisance_of(values)
            possible.check(spec)
            used += possible.dimensions
            for dimension in self.nuisance.outside(values):
                raise SettingError(f"nuisance: {dimension.path} of arm {arm.name!r} lies outside its range; widen that")
        if never := [d.path for d in self.nuisance.dimensions if d not in used]:
            raise SettingError(f"nuisance: {', '.join(never)}: `when` holds in no arm; correct that or leave it out")

    def _nuisance_of(self, values: dict[str, Any]) -> SearchSpace:
        """Returns the nuisance settings of an arm, without those whose condition holds only in other arms."""
        paths = self.nuisance.paths
        found = self.nuisance.dimensions
        possible = [d for d in found if d.range.holds(values) or any(path in paths for path in d.range.when)]
        return SearchSpace(tuple(possible))

    def _refuse_hopeless(self, num_tests: int) -> None:
        smallest = smallest_adjusted_p(len(self.seeds), num_tests, self.test)
        if smallest > self.alpha:
            raise SettingError(
                f"seeds: {len(self.seeds)} pairs and {num_tests} tests cannot give an adjusted p-value below"
                f" {smallest:.3g}, and alpha={self.alpha:g}; take {pairs_needed(num_tests, self.alpha, self.test)}"
                " seeds, fewer arms, or test=t"
            )

    def notes(self, base: RunSpec) -> list[str]:
        """Returns remarks for the readers of the plan and the report."""
        found = [] if self.design is None else self.design.notes(base)
        if self.untuned is not None:
            found.append(f"nuisance settings are not retuned for the arms: {self.untuned}")
        elif self.tuning == "shared":
            found.append(
                f"tuning=shared: each arm was tuned once, on seed {self.tuning_seed}; the luck of that is in no p-value"
                " and no interval, so they understate the error (tuning=per_seed includes it)"
            )
        if self.sd is not None and self.margin is not None:
            metric = self.objective.metric.split("/")[-1]
            found.append(advice(self.margin, self.sd, len(self.seeds), metric, self.power_target(base)))
        for arm in self.resolve_arms(base):
            spec = base.with_overrides(arm.overrides)
            if spec == base:
                found.append(f"arm {arm.name!r} only renames the baseline: its runs are the baseline's")
            for path in side_changes(base, arm.overrides):
                new = spec.as_flat_dict()[path]
                found.append(f"arm {arm.name!r} also changes {path}, to {new!r}; to keep it, add it to the overrides")
            if spec.quantizer.name == "none":
                found.append(f"arm {arm.name!r} has no bottleneck: its latent leaks, and it is a control")
        return found
