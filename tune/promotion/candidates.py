"""The winner's curse: the best of many trials was lucky, too; seeds that chose none of them judge the candidates.

The search's value of a candidate is no evidence: it is what made it a candidate. The mean over fresh seeds on the
validation split ranks the candidates, and neither the test split nor the sentences that decide about a champion are
read. The candidate with the best mean is chosen, and of its fresh runs the one whose value is nearest to that mean is
registered. Not the best of them: it would be the winner of a second small search, and the printed mean and range would
describe another model than the one in use. With equal distances the earlier seed wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from t5vqvae.errors import UserError
from tune.records.fresh_runs import TAG
from tune.records.ranking import contenders, costs, pareto
from tune.records.record import TrialRecord
from tune.spec.judging import Judging
from tune.spec.promotion_rules import FRONT, PromotionRules
from tune.spec.search_spec import SearchSpec


@dataclass(frozen=True)
class Candidate:
    """A trial that was trained again.

    Attributes:
        record: The trial, as the search left it.
        fresh: Its runs with fresh seeds, in the order of the seeds.
        judging: The study's objectives and constraints.
    """

    record: TrialRecord
    fresh: tuple[TrialRecord, ...]
    judging: Judging

    @property
    def searched(self) -> float:
        """The first objective as the search left it."""
        return self.record.metrics[self._metric]

    @property
    def values(self) -> tuple[float, ...]:
        """The first objective of each fresh run."""
        return tuple(run.metrics[self._metric] for run in self.fresh)

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def mean_costs(self) -> tuple[float, ...]:
        """The mean of every objective over the fresh runs alone, as numbers to minimize; the first decides."""
        return tuple(map(fmean, zip(*(costs(run, self.judging) for run in self.fresh), strict=True)))

    @property
    def registered(self) -> TrialRecord:
        """The fresh run that stands for the candidate: the one nearest to the mean."""
        return min(self.fresh, key=lambda run: abs(run.metrics[self._metric] - self.mean))

    @property
    def fault(self) -> str | None:
        """Why the candidate is out, in words: what its first unfit fresh run does; None: it counts."""
        return next(filter(None, map(self._fault_of, self.fresh)), None)

    @property
    def sentence(self) -> str:
        """What the search found and what fresh seeds give, or why the candidate is out."""
        head = f"trial {self.record.number}: {self._metric} was {self.searched:.4g} in the search"
        return f"{head}; out, {self.fault}" if self.fault else f"{head}, {self.fresh_words}"

    @property
    def fresh_words(self) -> str:
        """What the fresh seeds give, with the range of their values."""
        if len(self.fresh) == 1:
            return f"one fresh seed gives {self.mean:.4g}"
        return f"fresh seeds give {self.mean:.4g} [{min(self.values):.4g}, {max(self.values):.4g}]"

    def _fault_of(self, run: TrialRecord) -> str | None:
        if self.judging.counts_as_best(run.status, run.metrics):
            return None
        seed = f"with seed {run.tags[TAG]}"
        if run.status != "completed":
            return f"it {run.status} {seed}"
        for bound in self.judging.constraints:
            if bound.violation(run.metrics) > 0:
                value = run.metrics.get(bound.metric)
                return f"{bound} is broken {seed}: it is {'not measured' if value is None else f'{value:.4g}'}"
        return f"it has no codes or no {self._metric} {seed}"

    @property
    def _metric(self) -> str:
        return self.judging.objectives[0].metric


@dataclass(frozen=True)
class Choice:
    """The candidate that the fresh seeds chose.

    Attributes:
        winner: The candidate.
        candidates: All candidates, the best by the search first.
        kind: What the candidates are, in words.
    """

    winner: Candidate
    candidates: tuple[Candidate, ...]
    kind: str

    @property
    def record(self) -> TrialRecord:
        """The run that is registered."""
        return self.winner.registered

    @property
    def out_of(self) -> str:
        """Out of how many it was chosen, in words."""
        number, seeds = len(self.candidates), len(self.winner.fresh)
        plural = f"candidate{'' if number == 1 else 's'} ({self.kind})"
        return f"chosen on validation out of {number} {plural}, {seeds} fresh seed{'' if seeds == 1 else 's'} each"

    @property
    def values(self) -> str:
        """The search's own value, and what fresh seeds give."""
        metric, winner = self.winner.judging.objectives[0].metric, self.winner
        return f"{metric} was {winner.searched:.4g} in the search, {winner.fresh_words}"

    @property
    def seed(self) -> str:
        """The seed of the registered run, and why it is that."""
        own = f"registered is the run with seed {self.record.tags[TAG]}"
        return own if len(self.winner.fresh) == 1 else f"{own}, the nearest to their mean"

    @property
    def lines(self) -> tuple[str, ...]:
        """The choice as it is printed: the winner, then what became of the others."""
        others = [each.sentence for each in self.candidates if each is not self.winner]
        head = f"{self.out_of}: trial {self.winner.record.number}; {self.values}; {self.seed}"
        return (head, *(f"not chosen: {sentence}" for sentence in others))

    @property
    def tags(self) -> dict[str, object]:
        """The short tags of the registered version."""
        low, high = min(self.winner.values), max(self.winner.values)
        return {
            "fresh.candidates": len(self.candidates),
            "fresh.seeds": len(self.winner.fresh),
            "fresh.metric": self.winner.judging.objectives[0].metric,
            "fresh.searched": f"{self.winner.searched:.6g}",
            "fresh.mean": f"{self.winner.mean:.6g}",
            "fresh.low": f"{low:.6g}",
            "fresh.high": f"{high:.6g}",
        }


def candidates_of(records: Sequence[TrialRecord], spec: SearchSpec, rules: PromotionRules) -> list[TrialRecord]:
    """Returns the trials to train again, best first: the best, or the first of the front of several objectives.

    Args:
        records: The ended trials.
        spec: The study; only completed trials with codes that keep its constraints are taken.
        rules: How many, or all of the front; fewer where there are fewer.
    """
    several = len(spec.objectives) > 1
    found = pareto(records, spec) if several else contenders(records, spec)
    return found if rules.candidates == FRONT else found[: rules.candidates]


def fresh_seeds(spec: SearchSpec, number: int) -> list[int]:
    """Returns seeds that no trial of the study has, the same for all candidates.

    Every trial has the seed of the base, because a search cannot vary it; with 0 they are 1, 2, 3. The first ones stay
    when more are wanted, so that what was trained with them is not trained again.
    """
    return [spec.base_spec.seed + place for place in range(1, number + 1)]


def kind_of(candidates: Sequence[TrialRecord], records: Sequence[TrialRecord], spec: SearchSpec) -> str:
    """Returns what candidates are among the ended trials of a study, in words."""
    counting = len(contenders(records, spec))
    if len(spec.objectives) > 1:
        part = "" if len(candidates) == len(pareto(records, spec)) else "the first of "
        return f"{part}the Pareto front of {counting} completed trials that count"
    part = "all" if len(candidates) == counting else f"the best of {counting}"
    return f"{part} completed trials that count"


def choose(candidates: Sequence[Candidate], spec: SearchSpec, kind: str) -> Choice:
    """Returns the candidate with the best mean over its fresh seeds; those that break a bound with any seed are out.

    Args:
        candidates: The trials that were trained again, the best by the search first; ties stay in that order.
        spec: The study.
        kind: What the candidates are, in words.

    Raises:
        UserError: If all are out, with what the first one did.
    """
    counting = [candidate for candidate in candidates if candidate.fault is None]
    if not counting:
        first = candidates[0]
        raise UserError(
            f"study {spec.name}: none of its {len(candidates)} candidates counts with fresh seeds (trial"
            f" {first.record.number}: {first.fault}); take more candidates, search on, or loosen the constraints"
        )
    return Choice(min(counting, key=lambda each: each.mean_costs), tuple(candidates), kind)
