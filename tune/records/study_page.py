"""The description of a study's MLflow run, in Markdown: how far it is, what is best, how to reproduce and promote it.

It is kept up to date while the study runs, so adding a trial compares it with the best five and counts it, whatever
the number of trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from t5vqvae.evaluation.metric import RATE
from t5vqvae.evaluation.metrics import METRICS, common_rate, label
from t5vqvae.redaction import redacted
from tune.records.record import TrialRecord
from tune.records.trial_names import trial_name
from tune.spec.search_spec import SearchSpec
from tune.spec.study_spec import StudySpec

SHOWN = 5
"""Trials in the table."""
FILE = "study.yaml"
"""The artifact with the study's settings."""
_SPACE = "&emsp;"
"""Stands in front of a number: MLflow draws the columns of a table without any room between them."""


class StudyPage:
    """Writes the description of a study from the trials that have ended.

    Args:
        spec: The study.
        planned: Trials that it takes in all; None: unknown.
        rank: Orders records that count, best first; None: no trial of it is best, as in an ablation.
        settings: Returns the flat settings of a record's resolved spec.
        link: Returns the link to a run, from its MLflow id.
    """

    def __init__(
        self,
        spec: StudySpec,
        planned: int | None,
        rank: Callable[[list[TrialRecord]], list[TrialRecord]] | None,
        settings: Callable[[TrialRecord], Mapping[str, object]],
        link: Callable[[str], str],
    ) -> None:
        self.spec = spec
        self.planned = planned
        self.best: list[TrialRecord] = []
        self._rank, self._settings, self._link = rank, settings, link
        self._by_status: Counter[str] = Counter()

    def add(self, record: TrialRecord) -> None:
        """Counts a trial that has ended, and keeps it if it is among the best."""
        self._by_status[record.status] += 1
        if self._rank is not None:
            self.best = self._rank([*self.best, record])[:SHOWN]

    def text(self, running: int = 0, more: Sequence[str] = ()) -> str:
        """Returns the description.

        Args:
            running: Trials that run now.
            more: Further paragraphs, such as the findings of an ablation.
        """
        question = f"**{self.spec.question}**" if self.spec.question else f"**Study {self.spec.name}**"
        parts = [question, self._state(running), *self._table(), *more, *self._commands()]
        return redacted("\n\n".join(parts))

    def _state(self, running: int) -> str:
        ended = sum(self._by_status.values())
        of = "" if self.planned is None else f" of {self.planned}"
        kinds = ", ".join(f"{number} {status}" for status, number in sorted(self._by_status.items()))
        said = f"{ended}{of} trials have ended{f' ({kinds})' if kinds else ''}"
        return f"{said}, {running} running." if running else f"{said}."

    def _table(self) -> list[str]:
        if not self.best or not isinstance(self.spec, SearchSpec):
            return []
        metrics = [objective.metric for objective in self.spec.objectives]
        first, rate = self.best[0], common_rate(*(record.metrics for record in self.best))
        price = "" if rate is None else f" at {first.metrics[rate[0]]:.3g} {METRICS[RATE].units} ({rate[1]})"
        best = f"Best trial: {self._named(first)}, {label(metrics[0])} {first.metrics[metrics[0]]:.4g}{price}."
        shown = [*metrics, *([rate[0]] if rate is not None and rate[0] not in metrics else [])]
        head = [["trial", *(f"{_SPACE}{label(key)}" for key in shown)], ["---", *["---:"] * len(shown)]]
        rows = [[self._named(record), *(f"{_SPACE}{record.metrics[key]:.4g}" for key in shown)] for record in self.best]
        return [best, "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])]

    def _named(self, record: TrialRecord) -> str:
        name = trial_name(record.number, self._settings(record), record.overrides)
        return f"[{name}]({self._link(record.mlflow_id)})" if record.mlflow_id else name

    def _commands(self) -> list[str]:
        command = "search" if isinstance(self.spec, SearchSpec) else "ablate"
        again = f"Reproduce it with the artifact `{FILE}`: `t5vqvae {command} ./{FILE} name={self.spec.name}-again`."
        if not self.best:
            return [again]
        return [again, f"Test the best trial and register it as a model: `t5vqvae promote {self.spec.name}`."]
