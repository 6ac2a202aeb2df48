"""The spec of a search: what is searched, by what it is judged, how long, and with which machines.

A study is a YAML file (shipped ones lie in `studies/`, and are found by name) and dotted words on top:

    name: quickstart
    base: {data.corpus.name: math, model.position: 2}
    space: {quantizer.decay: {type: float, low: 0.8, high: 0.999}}
    objectives: [{metric: validation/nll}]

One rule for words: if the first component is a field of `SearchSpec`, the word sets the study (`budget.trials=20`,
`sampler.name=gp`, `space.quantizer.decay.low=0.9`, `space.quantizer.decay=null`); else it sets the base run
(`train.max_steps=500`), as `base.train.max_steps=500` also does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, field_validator, model_validator

from t5vqvae.config import flatten, setting
from t5vqvae.errors import SettingError
from t5vqvae.files import atomic_write
from t5vqvae.spec.run import RunSpec
from tune.space.space import SearchSpace
from tune.spec.judging import Judging
from tune.spec.objective import DIRECTIONS, GENERATED, Objective, refuse_incomparable, refuse_metric
from tune.spec.samplers import SamplerConfig, TPEConfig
from tune.spec.sections import Budget, Resources, Retention, SchedulerConfig, Tracking
from tune.spec.study_file import apply_words, read_study

STUDIES = Path(__file__).parents[1] / "studies"
DECIDING = ("base", "space", "objectives", "constraints")
"""The fields of a study that its finished trials depend on: changing one makes it another study."""


def _flat(values: Any) -> Any:
    return flatten(values) if isinstance(values, Mapping) else values


Space = Annotated[SearchSpace, PlainValidator(SearchSpace.parse), PlainSerializer(SearchSpace.as_dict)]


class SearchSpec(Judging):
    """One search, declared. Building it refuses what cannot work; `run_spec` gives what a trial trains."""

    name: str = setting(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the study's folder and experiment")
    question: str = setting("", description="what the study is to find out, in a sentence")
    base: Annotated[dict[str, Any], BeforeValidator(_flat)] = setting({}, description="overrides over the defaults")
    space: Space
    budget: Budget = Field(default_factory=Budget)
    sampler: SamplerConfig.any() = Field(default_factory=TPEConfig)  # type: ignore[valid-type]
    scheduler: SchedulerConfig = Field(default_factory=SchedulerConfig)
    runner: Literal["auto", "process", "ray_train"] = setting("auto", description="auto: process for one worker")
    resources: Resources = Field(default_factory=Resources)
    retention: Retention = Field(default_factory=Retention)
    tracking: Tracking = Field(default_factory=Tracking)
    seed: int = setting(0, ge=0, description="of the search; the runs' own seed is base.seed")

    @cached_property
    def base_spec(self) -> RunSpec:
        """The baseline: the run that overrides apply to."""
        return RunSpec().with_overrides({**self.base, "train.num_workers": self.resources.workers})

    @cached_property
    def base_values(self) -> dict[str, Any]:
        """The flat settings of the baseline."""
        return self.base_spec.as_flat_dict()

    def run_spec(self, overrides: Mapping[str, Any]) -> RunSpec:
        """Returns what a trial trains."""
        return self.base_spec.with_overrides(overrides)

    @property
    def resolved_runner(self) -> Literal["process", "ray_train"]:
        """The runner that `auto` stands for."""
        if self.runner == "auto":
            return "process" if self.resources.workers == 1 else "ray_train"
        return self.runner

    @property
    def scheduler_objective(self) -> Objective | None:
        """The metric that trials are stopped by, with its direction; None without a scheduler."""
        if self.scheduler.name == "none":
            return None
        if self.scheduler.metric is None:
            return self.objectives[0]
        same = [objective for objective in self.objectives if objective.metric == self.scheduler.metric]
        return same[0] if same else Objective.parse({"metric": self.scheduler.metric})

    @property
    def grace_steps(self) -> int:
        """Steps that every trial may take before it can be stopped."""
        train = self.base_spec.train
        return self.scheduler.grace_steps or max(train.eval_every, train.max_steps // 2)

    def scheduled_value(self, metrics: Mapping[str, Any]) -> float | None:
        """Returns what a milestone is judged by when the scheduler compares running trials.

        NaN, which counts as the worst, where a constraint is violated: a bottleneck that leaks would otherwise set the
        bar, and stop the trials that keep to the rate. None, not judged, without codes: a control, or the warm-up
        before quantization.
        """
        objective = self.scheduler_objective
        if objective is None or objective.metric not in metrics or not self.has_bottleneck(metrics):
            return None
        return float(metrics[objective.metric]) if self.is_feasible(metrics) else math.nan

    def refuse_changes(self, earlier: SearchSpec) -> None:
        """Refuses to go on with the trials of an earlier form of this study if they mean something else now.

        Budget, sampler, scheduler, machines and tracking may change.

        Raises:
            SettingError: Naming what differs.
        """
        for field in DECIDING:
            new, old = _deciding(self, field), _deciding(earlier, field)
            if new != old:
                raise SettingError(
                    f"study {self.name} was begun with {_difference(field, old, new)};"
                    " undo that, or give the study another name (name=...) and start it --from the old one"
                )

    def write(self, path: Path) -> None:
        """Writes the resolved study as JSON, whole or not at all."""
        with atomic_write(path) as scratch:
            scratch.write_text(json.dumps(self.as_dict(), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> SearchSpec:
        """Reads what `write` wrote."""
        return cls.parse(json.loads(path.read_text(encoding="utf-8")))

    @field_validator("base")
    @classmethod
    def _known_base(cls, base: dict[str, Any]) -> dict[str, Any]:
        if "train.num_workers" in base:
            raise SettingError("base: train.num_workers is resources.workers here; say it there")
        RunSpec().with_overrides(base)
        return base

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        self.space.check(self.base_spec)
        self._refuse_unfit_baseline()
        self._refuse_unfit_metrics()
        self.sampler.refuse(self.space, len(self.objectives))
        self._refuse_unfit_scheduler()
        if self.runner == "process" and self.resources.workers > 1:
            raise SettingError(f"runner=process takes one worker, not resources.workers={self.resources.workers}")
        if self.resources.gpus and self.base_spec.train.device == "cpu":
            gpus = str(self.resources.gpus).removesuffix(".0")
            raise SettingError(f"train.device=cpu leaves resources.gpus={gpus} unused; change either")
        if not self.resources.gpus and self.base_spec.train.device == "cuda":
            raise SettingError("train.device=cuda needs GPUs; set resources.gpus, such as 1, 0.25 or auto")
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
        judged = [*metrics, *(constraint.metric for constraint in self.constraints)]
        refuse_incomparable(judged, self.space.paths)
        for metric in judged:
            if metric in GENERATED and not self.base_spec.evaluate.num_generated:
                raise SettingError(f"{metric} needs decoded text; set evaluate.num_generated to more than 0")

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


def load(path_or_name: str | Path, words: Sequence[str] = ()) -> SearchSpec:
    """Returns the study of a YAML file, or of a shipped study's name, with `dotted.path=value` words on top.

    Raises:
        SettingError: If it cannot work; one line a fault.
    """
    return SearchSpec.parse(apply_words(read_study(path_or_name, STUDIES), list(words), SearchSpec, RunSpec))


def shipped() -> list[str]:
    """Returns the names of the studies that come with the package."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def _deciding(spec: SearchSpec, field: str) -> Any:
    """Returns a field of a study as far as results depend on it, flat."""
    if field == "base":
        return flatten(spec.base_spec.as_dict(only_results=True))
    return spec.as_dict()[field]


def _difference(field: str, old: Any, new: Any) -> str:
    """Says in a few words what differs in a field."""
    if not isinstance(old, dict):
        return f"{field} {old}, and now has {new}"
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    return f"{field} {paths[0]}={old.get(paths[0])}, and now has {new.get(paths[0])}"
