"""How a study judges its trials: objectives, constraints, and which trials may count as best.

Imports neither torch nor the spec of a run, so that a command can rank the records of a study at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, PlainSerializer

from t5vqvae.config import Config, setting
from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.evaluation.metric import RATE
from t5vqvae.evaluation.metrics import METRICS
from t5vqvae.files import read_twice
from tune.spec.objective import Constraint, Objective


def _parsed_constraints(values: Any) -> Any:
    return [Constraint.parse(value) for value in values] if isinstance(values, list | tuple) else values


Constraints = Annotated[tuple[Annotated[Constraint, PlainSerializer(str)], ...], BeforeValidator(_parsed_constraints)]


class Judging(Config):
    """The objectives and constraints of a study."""

    objectives: tuple[Objective, ...] = setting(min_length=1)
    constraints: Constraints = setting(())

    @property
    def judged_metrics(self) -> list[str]:
        """The metrics of the objectives and constraints."""
        objectives = [objective.metric for objective in self.objectives]
        return [*objectives, *(constraint.metric for constraint in self.constraints)]

    @property
    def compared_metrics(self) -> list[str]:
        """The metrics by which trials are compared, also while they run."""
        return self.judged_metrics

    def refuse_unmeasured(self, runs: Iterable[Mapping[str, float]], whose: str, way_out: str) -> None:
        """Refuses to judge runs of an earlier version, which lack a metric that every run with codes has now.

        Args:
            runs: The last metrics of ended runs; those without codes are not judged.
            whose: Where the runs are, for the message.
            way_out: What to do.

        Raises:
            SettingError: With the metric.
        """
        always = [key for key in self.compared_metrics if METRICS[key].when in ("", METRICS[RATE].when)]
        for metrics in filter(self.has_bottleneck, runs):
            for key in always:
                if key not in metrics:
                    raise SettingError(
                        f"{whose} has trials without {key}, by which trials are judged now: an earlier version did not"
                        f" measure it; {way_out}"
                    )

    def is_feasible(self, metrics: Mapping[str, float]) -> bool:
        """Returns whether metrics keep every constraint."""
        return all(constraint.violation(metrics) <= 0 for constraint in self.constraints)

    def has_bottleneck(self, metrics: Mapping[str, float]) -> bool:
        """Returns whether metrics come from a run with codes; a run without any is a control, whose latent leaks."""
        return RATE in metrics

    def counts_as_best(self, status: str, metrics: Mapping[str, float]) -> bool:
        """Returns whether a trial may be called best and be promoted: completed, with codes, every constraint kept."""
        known = all(objective.metric in metrics for objective in self.objectives)
        return status == "completed" and known and self.has_bottleneck(metrics) and self.is_feasible(metrics)


class StudyHeader(Judging):
    """The part of a search's `study.json` that shows and ranks its trials; the rest of the file is ignored."""

    model_config = ConfigDict(extra="ignore")

    name: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the header of a `study.json`.

        Raises:
            DamagedFileError: If the file is damaged.
        """
        values = read_twice(path)
        try:
            return cls.parse(values)
        except SettingError as error:
            reason = str(error).splitlines()[0]
            raise DamagedFileError(f"{path} cannot be read as a study: {reason}; restore it from a copy") from None
