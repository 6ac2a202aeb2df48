"""The settings that every study has, and the refusals that hold for every study.

A search (`search_spec.py`) and an ablation (`tune/ablation/ablation_spec.py`) add their own. A refusal that holds for
both is written here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, field_validator, model_validator

from t5vqvae.config import Config, flatten, setting
from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.evaluation.metric import NEEDS
from t5vqvae.evaluation.metrics import METRICS
from t5vqvae.files import read_twice, write_twice
from t5vqvae.redaction import redacted_values
from t5vqvae.spec.run import RunSpec, no_premises
from tune.space.space import SearchSpace
from tune.spec.sections import Resources, Retention, StudyBudget, Tracking
from tune.spec.study_file import STUDIES, apply_words, read_study, studies_in

WAY_OUT = "restore it from a copy, or give the study another name (name=...)"
"""The way out of a damaged `study.json`."""


def _flat(values: Any) -> Any:
    return flatten(values) if isinstance(values, Mapping) else values


Space = Annotated[SearchSpace, PlainValidator(SearchSpace.parse), PlainSerializer(SearchSpace.as_dict)]
Flat = Annotated[dict[str, Any], BeforeValidator(_flat)]
"""`{dotted.path: value}`, also from nested mappings."""


class StudySpec(Config):
    """A study: its name and question, its base run, its machines, its disk and its tracking."""

    folder: ClassVar[Path] = STUDIES
    """The folder of the shipped studies of this kind."""
    kind: ClassVar[str] = "study"
    """Its kind in a word: `search` or `ablation`."""
    said_elsewhere: ClassVar[Mapping[str, str]] = {"train.num_workers": "resources.workers"}
    """Settings of a run that the study sets by another name."""

    name: str = setting(
        max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the study's folder and experiment"
    )
    question: str = setting("", description="the question that the study answers, in a sentence")
    base: Flat = setting({}, description="overrides over the defaults")
    budget: StudyBudget = Field(default_factory=StudyBudget)
    runner: Literal["auto", "process", "ray_train"] = setting("auto", description="auto: process for one worker")
    resources: Resources = Field(default_factory=Resources)
    retention: Retention = Field(default_factory=Retention)
    tracking: Tracking = Field(default_factory=Tracking)

    @property
    def kept_metrics(self) -> list[str]:
        """The metrics whose history a trial's record keeps; none where only ended trials decide."""
        return []

    @property
    def resolved_runner(self) -> Literal["process", "ray_train"]:
        """The runner that `auto` stands for."""
        if self.runner == "auto":
            return "process" if self.resources.workers == 1 else "ray_train"
        return self.runner

    def over(self, base: RunSpec) -> RunSpec:
        """Returns `base` with the study's overrides and workers."""
        return base.with_overrides({**self.base, "train.num_workers": self.resources.workers})

    def refuse_unfit_run(self, run: RunSpec) -> None:
        """Refuses a run that the study's machines do not fit, or its data.

        Raises:
            SettingError: With the setting and the way out.
        """
        if self.resources.gpus and run.train.device == "cpu":
            gpus = str(self.resources.gpus).removesuffix(".0")
            raise SettingError(f"train.device=cpu leaves resources.gpus={gpus} unused; change either")
        if not self.resources.gpus and run.train.device == "cuda":
            raise SettingError("train.device=cuda needs GPUs; set resources.gpus, such as 1, 0.25 or auto")
        if getattr(run.model, "premises", "joint") == "separate" and not run.data.corpus.gives_pairs:
            raise no_premises(run)

    # `refuse_new` calls the next two, and validation does not: files of earlier versions still have to be read.

    @staticmethod
    def refuse_never_measured(run: RunSpec, metrics: Iterable[str], varied: Collection[str] = ()) -> None:
        """Refuses metrics that a run would not measure.

        Args:
            run: A resolved run of the study.
            metrics: The metrics by which runs are judged.
            varied: Settings that other runs of the study have otherwise, which may measure what this one does not.

        Raises:
            SettingError: With the setting and the way out.
        """
        for metric, path in ((key, path) for key in metrics for path in METRICS[key].needs):
            if not {path, "model.name"} & set(varied) and not NEEDS[path].is_met(run, path):
                raise SettingError(f"{metric} needs {NEEDS[path].what}; {NEEDS[path].way_out}")

    @classmethod
    def refuse_without_effect(cls, searched: Iterable[str], section: str = "space") -> None:
        """Refuses to vary what the study sets by another name, and settings that cannot change a result.

        Args:
            searched: The varied paths.
            section: The section of the study that varies them.

        Raises:
            SettingError: With the setting and the way out.
        """
        run = RunSpec()
        neutral = run.as_flat_dict().keys() - flatten(run.as_dict(only_results=True)).keys()
        for path in searched:
            if path in cls.said_elsewhere:
                raise SettingError(f"{section}.{path} is {cls.said_elsewhere[path]} here, the same for every run")
            if path in neutral:
                raise SettingError(f"{section}.{path} cannot change a result; set it in base instead")

    @field_validator("base")
    @classmethod
    def _said_elsewhere(cls, base: dict[str, Any]) -> dict[str, Any]:
        for path, place in cls.said_elsewhere.items():
            if path in base:
                raise SettingError(f"base: {path} is {place} here; say it there")
        return base

    @model_validator(mode="after")
    def _fits_runner(self) -> Self:
        if self.runner == "process" and self.resources.workers > 1:
            raise SettingError(f"runner=process takes one worker, not resources.workers={self.resources.workers}")
        return self

    @classmethod
    def load(cls, path_or_name: str | Path, words: Iterable[str] = ()) -> Self:
        """Returns the study of a YAML file, or of a shipped study's name, with `dotted.path=value` words on top.

        Raises:
            SettingError: If it cannot work; one line a fault.
        """
        return cls.parse(apply_words(read_study(path_or_name, cls.folder), list(words), cls, RunSpec))

    @classmethod
    def shipped(cls) -> list[str]:
        """Returns the names of the studies that come with the package."""
        return list(studies_in(cls.folder))

    def write(self, path: Path) -> None:
        """Writes the study as JSON, twice, each whole or not at all; without the passwords in its URLs."""
        write_twice(path, redacted_values(self.as_dict()), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what `write` wrote.

        Raises:
            DamagedFileError: If the file is damaged or no study of this version.
        """
        return cls.of_file(read_twice(path, WAY_OUT), path)

    @classmethod
    def of_file(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Returns the study of a file's values.

        Raises:
            DamagedFileError: If they are no study of this version.
        """
        try:
            return cls.parse(values)
        except SettingError as error:
            reason = str(error).splitlines()[0]
            raise DamagedFileError(f"{path} is no study of this version: {reason}; {WAY_OUT}") from None
