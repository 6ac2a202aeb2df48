"""Gates: what a trial must reach before it may become champion.

A gate that a user names reads the test set that it names: it asks for a level, and chooses between no two models. The
study's own constraints are read on the sentences that decide. No gate reads a harder test.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from t5vqvae.errors import SettingError, did_you_mean
from t5vqvae.evaluation.metrics import METRICS, find, on_gate, on_test
from tune.spec.bound import Bound
from tune.spec.objective import Constraint, Objective


class Gate(Bound):
    """A bound on a test metric, such as `test/exact_match >= 0.5` or `VAR/bleu >= 40`."""

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Reads `metric <= number` or `metric >= number`.

        Raises:
            SettingError: If it is neither.
        """
        gate = cls.read(text)
        if gate is None:
            raise SettingError(f"gate {text!r} must read as 'test/exact_match >= 0.5' or with <=, and a finite number")
        return gate

    @classmethod
    def of_constraint(cls, constraint: Constraint) -> Gate:
        """Returns the same bound on the sentences that decide: a condition for the best trial holds there too."""
        return cls(on_gate(constraint.metric), constraint.relation, constraint.bound)

    def refusal(self, metrics: Mapping[str, float]) -> str | None:
        """Returns why metrics do not pass, None when they do."""
        value = metrics.get(self.metric, math.nan)
        if (value <= self.bound) if self.relation == "<=" else (value >= self.bound):
            return None
        shown = "it was not measured" if math.isnan(value) else f"it is {value:.4g}"
        return f"gate {self} failed: {shown}"


def refuse_harder(gates: Iterable[Gate], harder: Collection[str], readable: Sequence[str]) -> None:
    """Refuses a gate on a harder test, by which nothing is chosen, before anything is tested.

    Args:
        gates: The gates of a promotion.
        harder: The names of the corpus's harder tests, prepared or not.
        readable: The names of the test sets that gates may read.

    Raises:
        SettingError: With the test sets to take instead.
    """
    for gate in gates:
        name = gate.metric.removeprefix("test/").removeprefix("gate/").partition("/")[0]
        if name in harder:
            raise SettingError(
                f"--gate {str(gate)!r}: {name} is a harder test, by which nothing is chosen; take one of"
                f" {', '.join(readable)}"
            )


def refuse_unmeasured(gates: Iterable[Gate], record: Mapping[str, float], tests: Sequence[str]) -> None:
    """Refuses a gate on a metric that the test of a trial will not measure, before anything is tested.

    Args:
        gates: The gates of a promotion.
        record: The trial's metrics so far; every test set gets the counterpart of those of the validation split. Where
            they are not whole, any metric of an evaluation passes.
        tests: The names of the test sets.

    Raises:
        SettingError: With the nearest metric that will be there.
    """
    evaluated = {key for key, metric in METRICS.items() if metric.is_evaluated}
    whole = all(key in record for key in evaluated if not METRICS[key].when)
    counterparts = {on_test(key).removeprefix("test/") for key in (record if whole else evaluated) if key in evaluated}
    counterparts |= {key for key in record if key.startswith("soft/")}
    known = {f"{test}/{name}" for test in (*tests, "gate") for name in counterparts} | set(record)
    known |= {on(key) for key in record if key.startswith("validation_ood/") for on in (on_test, on_gate)}
    for gate in gates:
        if gate.metric not in known:
            near = did_you_mean(gate.metric, known) if _close(gate.metric, known) else _listed(counterparts, tests)
            raise SettingError(f"--gate {str(gate)!r}: no test set of this trial has {gate.metric}{near}")


def _close(metric: str, known: Iterable[str]) -> bool:
    return bool(difflib.get_close_matches(metric, list(known), n=1))


def _listed(counterparts: Iterable[str], tests: Sequence[str]) -> str:
    return f"; test sets: {', '.join(tests)}; metrics of each: {', '.join(sorted(counterparts))}"


def refusals(gates: Iterable[Gate], metrics: Mapping[str, float]) -> list[str]:
    """Returns the reasons of all gates that failed."""
    return [reason for gate in gates if (reason := gate.refusal(metrics)) is not None]


def across_tokenizers(objective: Objective) -> Objective:
    """Returns the objective to compare models with different tokenizers by: one that is not a value per token."""
    instead = without_tokens(objective.metric)
    return Objective.parse({"metric": instead}) if instead else objective


def without_tokens(metric: str) -> str | None:
    """Returns what to compare by instead of a value a token, such as `VAR/nll_per_char` of `VAR/nll`; None: itself."""
    found = find(metric)
    if found is None or not found.instead:
        return None
    test_set = metric.removeprefix("test/").partition("/")[0]
    return f"{test_set}/{found.instead.removeprefix('validation/')}" if test_set.isupper() else found.instead
