"""Decides between a model and the champion: by intervals over the same sentences, never by two numbers alone.

A model passes when it is better on the objective: the lower end of the paired interval is above 0. Where the study
names a margin and a second measure, it also passes when it is worse by no more than the margin, and better at the
second: at exact match 1.00 on both sides nothing else can open the gate. A guard holds only if the bad end of its
interval lies inside its margin; one that was not measured is shut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t5vqvae.errors import SettingError
from t5vqvae.evaluation.gate_scores import GateScores, kind_of
from t5vqvae.evaluation.metrics import on_gate
from t5vqvae.evaluation.scored_sentences import Amounts
from tune.analysis.bootstrap import SentenceComparison, compare_bleu, compare_ratios
from tune.promotion.gate import across_tokenizers, without_tokens
from tune.spec.objective import Objective
from tune.spec.promotion_rules import PromotionRules, direction_of, refuse_without_interval

if TYPE_CHECKING:
    from t5vqvae.spec.training import EvaluateConfig


@dataclass(frozen=True)
class Ratio:
    """A cost over the champion's, with its 95% interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Claim:
    """The advantage of one model over another by one metric, above 0 where it is better.

    Attributes:
        metric: Its key on the sentences that decide.
        mine: The model's value.
        theirs: The champion's.
        advantage: How much better the model is, in the metric's unit.
        low: Lower end of the 95% interval of the advantage.
        high: Upper end.
        number: Sentences, edits or blocks behind it.
    """

    metric: str
    mine: float
    theirs: float
    advantage: float
    low: float
    high: float
    number: int

    @property
    def sentence(self) -> str:
        """The claim in words."""
        verdict = "better" if self.low > 0 else "worse" if self.high < 0 else "not shown to differ"
        return (
            f"{self.metric} {self.mine:.4g} against {self.theirs:.4g}: {verdict}, advantage {self.advantage:+.3g}"
            f" [{self.low:+.3g}, {self.high:+.3g}] over {self.number}"
        )


@dataclass(frozen=True)
class Decision:
    """Whether the gate opens, and why, one sentence each; the first claim is that of the objective."""

    passed: bool
    reasons: tuple[str, ...]
    claims: tuple[Claim, ...] = ()


def claim(
    metric: str, direction: str, mine: GateScores, theirs: GateScores, *, same_tokens: bool = True
) -> Claim | str:
    """Returns the claim by one metric; in words why there is none.

    Args:
        metric: Its key in a study, such as `validation/nll` or `VAR/exact_match`.
        direction: Whether less or more of it is better.
        mine: The model's scores.
        theirs: The champion's.
        same_tokens: Whether both models cut texts into the same tokens; else a value a token is not compared.
    """
    key, instead = on_gate(metric), without_tokens(metric)
    if not same_tokens and instead is not None:
        return f"{key} is a value a token, and the two may cut texts into different tokens; take {instead}"
    if key == "gate/bleu" and mine.decoded and theirs.decoded:
        if mine.names["gate"] != theirs.names["gate"]:
            return f"{key}: the two were measured on other sentences"
        return _claim(key, direction, compare_bleu(mine.decoded, theirs.decoded, mine.references))
    if key not in mine.units or key not in theirs.units:
        return f"{key} was not measured of both models"
    sides = _paired(key, mine, theirs)
    if sides is None:
        return f"{key}: the two were measured on other sentences"
    if min(min(side[1]) for side in sides) <= 0:
        return f"{key}: a sentence has nothing that it counts"
    return _claim(key, direction, compare_ratios(*sides))


def _paired(key: str, mine: GateScores, theirs: GateScores) -> tuple[Amounts, Amounts] | None:
    """Returns both sides' amounts on the units that both have, in one order; None where these are fewer than half."""
    kind = kind_of(key)
    names = [list(scores.names.get(kind, ())) for scores in (mine, theirs)]
    if names[0] == names[1]:
        return mine.units[key], theirs.units[key]
    places = [{name: place for place, name in enumerate(side)} for side in names]
    shared = [name for name in names[0] if name in places[1]]
    if 2 * len(shared) < max(map(len, names)) or any(len(set(side)) < len(side) for side in names):
        return None
    first, second = ([place[name] for name in shared] for place in places)
    return _at(first, mine.units[key]), _at(second, theirs.units[key])


def _at(places: Sequence[int], amounts: Amounts) -> Amounts:
    return [amounts[0][place] for place in places], [amounts[1][place] for place in places]


def _claim(key: str, direction: str, found: SentenceComparison) -> Claim | str:
    number = found.num_sentences
    if number < 2:
        return f"{key}: one sentence or edit has no interval; take a larger test split"
    low, high = found.low, found.high
    if direction == "minimize":
        low, high = 0.0 - high, 0.0 - low
    advantage = found.difference if direction == "maximize" else -found.difference
    return Claim(key, found.a, found.b, advantage, low, high, number)


def decide(
    objective: Objective,
    rules: PromotionRules,
    mine: GateScores,
    theirs: GateScores,
    costs: Sequence[Ratio] = (),
    *,
    same_tokens: bool = True,
) -> Decision:
    """Decides whether a model may take the champion's place.

    Args:
        objective: The study's first; a value a token is replaced where the tokenizers differ.
        rules: What decides.
        mine: The model's scores.
        theirs: The champion's.
        costs: Latency and size over the champion's; those that the rules bound must be among them.
        same_tokens: See `claim`.
    """

    def compared(metric: str) -> Claim | str:
        return claim(metric, direction_of(metric), mine, theirs, same_tokens=same_tokens)

    judged = objective if same_tokens else across_tokenizers(objective)
    first = claim(judged.metric, judged.direction, mine, theirs, same_tokens=same_tokens)
    if isinstance(first, str):
        return Decision(False, (f"no comparison: {first}; --promote takes the alias without one",))
    opened, reasons, claims = _opened(first, rules, compared, in_margins_unit=judged == objective)
    for metric, margin in rules.guards.items():
        guard = compared(metric)
        if isinstance(guard, str):
            opened, reasons = False, [*reasons, f"guard shut: {guard}"]
            continue
        holds = guard.low >= -margin
        opened = opened and holds
        reasons.append(f"guard {'holds' if holds else 'SHUT'} (margin {margin:g}): {guard.sentence}")
        claims.append(guard)
    for name, bound in (("latency", rules.max_latency), ("size", rules.max_size)):
        if bound is not None:
            holds, reason = _bounded(name, bound, costs)
            opened, reasons = opened and holds, [*reasons, reason]
    return Decision(opened, tuple(reasons), tuple(claims))


def _opened(
    first: Claim, rules: PromotionRules, compared: Callable[[str], Claim | str], *, in_margins_unit: bool
) -> tuple[bool, list[str], list[Claim]]:
    """Returns whether the objective, or the second measure, opens the gate."""
    if first.low > 0 or rules.margin is None or rules.second is None:
        return first.low > 0, [first.sentence], [first]
    if not in_margins_unit:
        unit = f"the margin {rules.margin:g} is one a token, and the two may cut texts into different tokens"
        return False, [f"{first.sentence}; {unit}"], [first]
    second = compared(rules.second)
    if isinstance(second, str):
        return False, [first.sentence, f"second measure: {second}"], [first]
    near, better = first.low >= -rules.margin, second.low > 0
    within = f"{'' if near else 'not '}shown to be worse by no more than the margin {rules.margin:g}"
    return near and better, [f"{first.sentence}; {within}", f"second measure: {second.sentence}"], [first, second]


def _bounded(name: str, bound: float, costs: Sequence[Ratio]) -> tuple[bool, str]:
    found = next((ratio for ratio in costs if ratio.name == name), None)
    if found is None:
        return False, f"guard shut: {name} was not measured"
    holds = found.high <= bound
    interval = f"{found.value:.3g} times the champion's [{found.low:.3g}, {found.high:.3g}]"
    return holds, f"guard {'holds' if holds else 'SHUT'} (at most {bound:g}): {name} {interval}"


def refuse_without_comparison(metric: str) -> None:
    """Refuses an objective by which no two models are compared, before anything is tested.

    Raises:
        SettingError: With the way out.
    """
    try:
        refuse_without_interval(metric, "objectives")
    except SettingError:
        raise SettingError(
            f"objectives: {metric} has no interval between two models; --promote takes the alias without one"
        ) from None


def refuse_unmeasurable(rules: PromotionRules, evaluate: EvaluateConfig, shifted: Sequence[str]) -> None:
    """Refuses rules on what a promotion would not measure, before anything is tested.

    Args:
        rules: What decides.
        evaluate: The section of the trial: whether edits are made, and of sparse codes, too.
        shifted: The shifted splits that decide, such as `VAR`.

    Raises:
        SettingError: With the setting and the way out.
    """
    for metric in [*rules.guards, *([] if rules.second is None else [rules.second])]:
        kind = kind_of(on_gate(metric))
        if kind.startswith("control/") and not evaluate.control:
            raise SettingError(f"promotion: {metric} needs edits with known answers; train with evaluate.control")
        if kind.startswith("control/") and "sparse" in kind and evaluate.unsent is None:
            raise SettingError(f"promotion: {metric} needs edits of sparse codes; train with evaluate.unsent")
        if kind.isupper() and kind not in shifted:
            known = f"it has {', '.join(shifted)}" if shifted else "it has none"
            raise SettingError(f"promotion: {metric}: no shifted set {kind} decides about this corpus; {known}")
