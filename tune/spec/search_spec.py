"""The spec of a search: space, objectives, sampler, scheduler, budget and machines.

A study is a YAML file (shipped ones have a name and lie in `studies/`) with dotted words on top:

    name: quickstart
    base: {data.corpus.name: math, model.position: 2}
    space: {quantizer.decay: {type: float, low: 0.8, high: 0.999}}
    objectives: [{metric: validation/nll}]

One rule for words: if the first component is a field of `SearchSpec`, the word sets the study (`budget.trials=20`,
`sampler.name=gp`, `space.quantizer.decay.low=0.9`, `space.quantizer.decay=null`); else it sets the base run
(`train.max_steps=500`), as `base.train.max_steps=500` also does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from t5vqvae.config import flatten, setting
from t5vqvae.errors import SettingError
from t5vqvae.evaluation.metric import RATE, STEP
from t5vqvae.redaction import redacted_values
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.unfit import refuse_new
from tune.spec.judging import Judging
from tune.spec.kept_study import RESOLVED, KeptStudy, changed_defaults, resolved_settings, without_kept
from tune.spec.objective import DIRECTIONS, Objective, refuse_free_kl, refuse_incomparable, refuse_metric
from tune.spec.promotion_rules import PromotionRules
from tune.spec.samplers import SamplerConfig, TPEConfig
from tune.spec.sections import Budget, DatabaseAddress, SchedulerConfig
from tune.spec.study_spec import Space, StudySpec

DECIDING = ("base", "space", "objectives", "constraints")
"""The fields that finished trials depend on: with another value it is another study."""
NOTHING_KEPT = KeptStudy()
"""What the file of an older version holds besides the spec."""


class SearchSpec(StudySpec, Judging):
    """Declares one search; building it refuses a study that cannot work."""

    kind: ClassVar[str] = "search"

    space: Space
    budget: Budget = Field(default_factory=Budget)
    sampler: SamplerConfig.any() = Field(default_factory=TPEConfig)  # type: ignore[valid-type]
    scheduler: SchedulerConfig = Field(default_factory=SchedulerConfig)
    promotion: PromotionRules = Field(default_factory=PromotionRules)
    seed: int = setting(0, ge=0, description="seed of the search; the seed of the runs is base.seed")
    storage: DatabaseAddress | None = setting(
        None, description="where Optuna keeps trials: postgresql://user@host/database; None: a file of the study's"
    )

    @cached_property
    def base_spec(self) -> RunSpec:
        """The baseline: the run spec that overrides apply to."""
        return self.over(RunSpec())

    @cached_property
    def base_values(self) -> dict[str, Any]:
        """The flat settings of the baseline."""
        return self.base_spec.as_flat_dict()

    def run_spec(self, overrides: Mapping[str, Any]) -> RunSpec:
        """Returns the run spec of a trial."""
        return self.base_spec.with_overrides(overrides)

    @cached_property
    def planned_trials(self) -> int:
        """Trials of the budget; fewer where the space has fewer settings."""
        return self.space.count(self.base_values, self.budget.trials)

    @property
    def kept_metrics(self) -> list[str]:
        """The metrics that judge a trial or its running siblings, with the step they were measured at."""
        return list(dict.fromkeys([*self.judged_metrics, RATE, STEP, *self.compared_metrics]))

    @property
    def compared_metrics(self) -> list[str]:
        scheduled = self.scheduler_objective
        return [*self.judged_metrics, *([] if scheduled is None else [scheduled.metric])]

    @property
    def scheduler_objective(self) -> Objective | None:
        """The metric by which the scheduler stops trials, with its direction; None without a scheduler."""
        if self.scheduler.name == "none":
            return None
        if self.scheduler.metric is None:
            return self.objectives[0]
        same = [objective for objective in self.objectives if objective.metric == self.scheduler.metric]
        return same[0] if same else Objective.parse({"metric": self.scheduler.metric})

    @property
    def grace_steps(self) -> int:
        """Steps that every trial takes before the scheduler may stop it."""
        train = self.base_spec.train
        return self.scheduler.grace_steps or max(train.eval_every, train.max_steps // 2)

    @property
    def rungs(self) -> list[float]:
        """The steps at which the scheduler may stop a trial, ascending; none without a scheduler."""
        steps, found = float(self.grace_steps), []
        while self.scheduler.name != "none" and steps < self.base_spec.train.max_steps:
            found.append(steps)
            steps *= self.scheduler.reduction_factor
        return found

    def scheduled_value(self, metrics: Mapping[str, Any]) -> float | None:
        """Returns the value of a milestone by which the scheduler compares running trials.

        NaN, the worst, for metrics that violate a constraint: a bottleneck that leaks would otherwise set the bar and
        stop trials that keep the rate. None, not judged, for metrics without codes, as of a control, or before
        quantization begins.
        """
        objective = self.scheduler_objective
        if objective is None or objective.metric not in metrics or not self.has_bottleneck(metrics):
            return None
        return float(metrics[objective.metric]) if self.is_feasible(metrics) else math.nan

    @property
    def resolved(self) -> dict[str, dict[str, Any]]:
        """The settings that the base and the searched variants resolve to; see `kept_study.py`."""
        names = [dimension for dimension in self.space.dimensions if dimension.path.endswith(".name")]
        return resolved_settings(self.base_spec, {dimension.path: tuple(dimension.range.ends()) for dimension in names})

    def write(self, path: Path) -> None:
        """Writes `study.json` anew, with the resolved settings; what else it holds stays."""
        replace(KeptStudy.read(path), resolved=self.resolved).write(path, self)

    @classmethod
    def of_file(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Returns the study with the settings that it was started with, also where a default is another one now."""
        spec = super().of_file(without_kept(values), path)
        base = changed_defaults({"": values.get(RESOLVED, {}).get("", {})}, {"": spec.resolved[""]})
        changed = {path: old for _, path, old, _ in base}
        return super().of_file({**without_kept(values), "base": {**changed, **spec.base}}, path) if changed else spec

    def refuse_new(self) -> None:
        """Refuses to start a search that earlier versions started; one that they began is still read and resumed.

        Raises:
            SettingError: With the setting and the way out.
        """
        self.refuse_without_effect(self.space.paths)
        refuse_incomparable(self.compared_metrics, self.space.paths)
        self.refuse_never_measured(self.base_spec, self.compared_metrics, self.space.paths)
        refuse_new(self.base_spec)
        self.space.check(self.base_spec, refuse_new)

    def refuse_changes(self, earlier: SearchSpec, kept: KeptStudy = NOTHING_KEPT) -> None:
        """Refuses to resume an earlier form of this study whose trials mean something else now.

        Budget, sampler, scheduler, machines and tracking may change.

        Args:
            earlier: The study as it was started.
            kept: What its file holds besides.

        Raises:
            SettingError: With the first difference.
        """
        changed = list(changed_defaults(kept.resolved, self.resolved))
        name = f"or give the study another name (name=...) and start it --from {self.name}"
        for _, path, old, new in [one for one in changed if not one[0] and one[1] not in self.base]:
            raise SettingError(
                f"study {self.name} was started with {path}={old}, and now has {new}, the default of this version;"
                f" say {path}={old} to resume it, {name}"
            )
        for field in DECIDING:
            new, old = _deciding(self, field), _deciding(earlier, field)
            if new != old:
                raise SettingError(
                    f"study {self.name} was started with {_difference(field, old, new)};"
                    " undo that, or give the study another name (name=...) and start it --from the old one"
                )
        for variant, path, old, new in changed:
            raise SettingError(
                f"study {self.name} was started with {path}={old} under {variant}, and now has {new}, the default of"
                f" this version; resume it with the version that began it, {name}"
            )

    @field_validator("base")
    @classmethod
    def _known_base(cls, base: dict[str, Any]) -> dict[str, Any]:
        RunSpec().with_overrides(base)
        return base

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        self.space.check(self.base_spec)
        self._refuse_unfit_baseline()
        self._refuse_unfit_metrics()
        self.sampler.refuse(self.space, len(self.objectives))
        self._refuse_unfit_scheduler()
        self.promotion.refuse_front_of_one(len(self.objectives))
        self.refuse_unfit_run(self.base_spec)
        return self

    def _refuse_unfit_baseline(self) -> None:
        for dimension in self.space.outside(self.base_values):
            value = self.base_values.get(dimension.path)
            raise SettingError(
                f"base: {dimension.path}={value!r} lies outside its range in space, and the baseline is tried first;"
                f" set {dimension.path} to a value of the range, or widen that"
            )
        if self.base_values["quantizer.name"] == "none" and "quantizer.name" not in self.space.paths:
            raise SettingError("quantizer.name='none' is a control, and no trial could be best; search another one")

    def _refuse_unfit_metrics(self) -> None:
        metrics = [objective.metric for objective in self.objectives]
        if len(set(metrics)) < len(metrics):
            raise SettingError(f"objectives name a metric twice: {', '.join(metrics)}")
        refuse_incomparable(self.judged_metrics, self.space.paths)
        refuse_free_kl(metrics, self.constraints, self.space.paths)

    def _refuse_unfit_scheduler(self) -> None:
        scheduler = self.scheduler
        if scheduler.name == "none":
            return
        if scheduler.metric is None and len(self.objectives) > 1:
            raise SettingError("scheduler.name=asha with several objectives needs scheduler.metric, or take none")
        if scheduler.metric is not None:
            refuse_metric(scheduler.metric, DIRECTIONS, "scheduler.metric")
        if "train.max_steps" in self.space.paths:
            raise SettingError("space.train.max_steps: asha compares trials by their steps; take scheduler.name=none")
        if self.grace_steps >= self.base_spec.train.max_steps:
            raise SettingError(
                f"scheduler.grace_steps={self.grace_steps} must be less than"
                f" train.max_steps={self.base_spec.train.max_steps}; evaluate more often or take scheduler.name=none"
            )
        if "train.autoencode_steps" in self.space.paths:
            raise SettingError(
                "space.train.autoencode_steps: asha would compare trials of different stages; take scheduler.name=none"
            )
        if self.grace_steps <= self.base_spec.train.autoencode_steps:
            raise SettingError(
                f"scheduler.grace_steps={self.grace_steps} must be more than train.autoencode_steps="
                f"{self.base_spec.train.autoencode_steps}: before it, no trial has learnt anything of the task"
            )


def _deciding(spec: SearchSpec, field: str) -> Any:
    """Returns the part of a field that results depend on, flat; without secrets, which the study's file lacks."""
    if field == "base":
        return redacted_values(flatten(spec.base_spec.as_dict(only_results=True)))
    return redacted_values(spec.as_dict()[field])


def _difference(field: str, old: Any, new: Any) -> str:
    """Returns the first difference in a field, in words."""
    if not isinstance(old, dict):
        return f"{field} {old}, and now has {new}"
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    return f"{field} {paths[0]}={old.get(paths[0])}, and now has {new.get(paths[0])}"
