"""Puts numbers and findings into words: the digits that an interval supports, and the answer of an ablation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from t5vqvae.evaluation.metric import RATE
from t5vqvae.evaluation.metrics import label
from tune.analysis import ArmResult, Comparison, Effect, PowerTarget, Question, advice
from tune.analysis.fraction import Alias
from tune.monitor.formats import shortened

VERDICTS = ("better", "worse", "equivalent", "undecided", "unstable")


def _decimals(effect: Effect) -> int:
    """Returns the decimals that the interval's width supports: its first two digits."""
    width = effect.high - effect.low
    scale = width if math.isfinite(width) and width > 1e-9 * abs(effect.mean) else abs(effect.mean)
    return 3 if scale == 0 else max(0, min(8, 1 - math.floor(math.log10(scale))))


def signed(value: float, places: int) -> str:
    """Returns a difference with its sign, a zero without."""
    text = f"{value:+.{places}f}"
    return f"{0:.{places}f}" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def interval(effect: Effect) -> str:
    """Returns an effect with its interval, such as `+0.118 [+0.091, +0.145]`."""
    places = _decimals(effect)
    ends = [signed(end, places) if math.isfinite(end) else "?" for end in (effect.low, effect.high)]
    return f"{signed(effect.mean, places)} [{ends[0]}, {ends[1]}]"


def p_text(p_value: float) -> str:
    """Returns a p-value as papers print it: `p = .008`, or `p < .001`."""
    return "p < .001" if p_value < 0.0005 else f"p = {p_value:.3f}".replace("0.", ".")


def answer(comparison: Comparison) -> str:
    """Returns the answer of an ablation in one sentence, with the interval of its largest effect."""
    with_effect = [arm for arm in comparison.arms if arm.effect is not None]
    if not with_effect:
        return "No arm has a single pair of completed runs yet."
    claims = [arm for arm in with_effect if arm.verdict in ("better", "worse")]
    order = sorted(claims or with_effect, key=lambda arm: (leaks(arm), -_size(arm)))
    if all(_never_differs(arm) for arm in comparison.arms):
        return f"No pair of any arm differs at all, {_why_none(comparison.question)}."
    if len(comparison.arms) == 1:
        return f"{_claim(order[0], comparison)}."
    counts = counted([arm.verdict for arm in comparison.arms])
    return f"Of {len(comparison.arms)} arms {counts}; the largest effect is {_claim(order[0], comparison)}."


def counted(verdicts: Sequence[str]) -> str:
    """Returns how often each verdict occurs, such as `1 is better, 2 are worse and 1 is undecided`."""
    counts = [(sum(found == word for found in verdicts), word) for word in VERDICTS]
    return _joined([f"{num} {'is' if num == 1 else 'are'} {word}" for num, word in counts if num])


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _size(arm: ArmResult) -> float:
    return abs(arm.effect.mean) if arm.effect is not None else 0.0


def _claim(arm: ArmResult, comparison: Comparison) -> str:
    assert arm.effect is not None
    question = comparison.question
    text = claim(arm.arm, arm.effect, arm.verdict, (arm.p_adjusted, arm.p_equivalence), question, "the baseline")
    if arm.verdict == "unstable":
        text = f"{text}, because {_divergence(arm)}"
    return text + (", as a control without a bottleneck" if leaks(arm) else "")


def claim(
    name: str, effect: Effect, verdict: str, p_values: tuple[float, float], question: Question, against: str
) -> str:
    """Returns the claim about an effect, with its numbers.

    It reads `rotation, nll -0.12 [-0.2, -0.1] (95% interval, 8 paired seeds, adjusted p = .01): better than ...`.

    Args:
        name: Name of the arm or of the factor's level.
        effect: Its effect.
        verdict: The claim that the evidence allows.
        p_values: Adjusted p-values of a difference and of equivalence.
        question: The objective and the rules of the comparison.
        against: Name of the baseline or of the baseline's level.
    """
    seeds = f"{effect.num_seeds} paired seed{'s' if effect.num_seeds > 1 else ''}"
    found = f"{label(question.objective)} {interval(effect)} ({effect.confidence:.0%} interval, {seeds}, "
    numbers = f"{shortened(name)}, {found}"
    if verdict == "equivalent":
        return f"{numbers}equivalence {p_text(p_values[1])}): equivalent within \N{PLUS-MINUS SIGN}{question.margin:g}"
    words = {
        "better": f"better than {against}",
        "worse": f"worse than {against}",
        "undecided": f"not shown to differ from {against}",
        "unstable": "no claim",
    }
    return f"{numbers}adjusted {p_text(p_values[0])}): {words[verdict]}"


def alias_in_words(alias: Alias, labels: Mapping[str, str] | None = None) -> str:
    """Returns what of another effect is in an estimate, such as `-decay x start / 2`.

    Args:
        alias: The other effect.
        labels: Short names of the factors; None: as they are.
    """
    names = " x ".join((labels or {}).get(factor, factor) for factor in alias.factors)
    return (
        f"{'-' if alias.weight < 0 else ''}{names}{'' if abs(alias.weight) == 1 else f' / {1 / abs(alias.weight):g}'}"
    )


def _divergence(arm: ArmResult) -> str:
    """Returns which runs diverged; empty if none did."""
    parts = []
    for who, seeds in (("it", arm.diverged), ("the baseline", arm.baseline_diverged)):
        if seeds:
            parts.append(f"{who} diverged on seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return " and ".join(parts)


def caveats(comparison: Comparison) -> list[str]:
    """Returns the caveats of each arm: divergence, missing and leaking runs, and how many seeds would suffice."""
    found = []
    question, num_arms = comparison.question, len(comparison.arms)
    target = PowerTarget(question.alpha, question.power, num_arms, question.test)
    for arm in comparison.arms:
        name = shortened(arm.arm)
        if _divergence(arm):
            found.append(
                f"{name}: {_divergence(arm)}; the effect is over the other pairs, which favours the side that diverged"
            )
        if arm.missing:
            found.append(f"{name}: no completed pair on seeds {', '.join(map(str, arm.missing))}")
        if arm.stopped_at is not None:
            found.append(f"{name}: stopped after {arm.stopped_at} pairs; an early mean is biased away from zero")
        found += [f"{name}: {sentence}" for sentence in doubts(arm.effect)]
        if _never_differs(arm):
            found.append(f"{name}: no pair differs at all, {_why_none(question)}")
        if leaks(arm):
            found.append(f"{name}: no rate, so no bottleneck: its latent leaks, and it is a control")
        if arm.verdict == "undecided" and arm.effect is not None and arm.effect.sd > 0 and question.margin:
            sentence = advice(question.margin, arm.effect.sd, arm.effect.num_seeds, label(question.objective), target)
            found.append(f"{name}: {sentence}")
    return found


def _never_differs(arm: ArmResult) -> bool:
    effect = arm.effect
    return effect is not None and effect.num_seeds > 1 and effect.sd == effect.mean == 0.0


def _why_none(question: Question) -> str:
    return (
        f"so either its settings change nothing, or {label(question.objective)} is at its floor or ceiling here, or too"
        " coarse to tell"
    )


def doubts(effect: Effect | None) -> list[str]:
    """Returns the sentence that the symmetry of an effect's differences is in doubt, or nothing."""
    if effect is None or effect.doubt is None:
        return []
    found = effect.doubt
    seeds = [effect.seeds[i] if effect.seeds else i for i in found.at]
    who = f"seed {seeds[0]} carries" if len(seeds) == 1 else f"seeds {seeds[0]} and {seeds[1]} carry"
    ends = [signed(end, _decimals(effect)) for end in (found.low, found.high)]
    return [
        f"{who} {found.share:.0%} of the spread of its differences, so it is in doubt that they are symmetric, as sign"
        f" flips assume; beside the test, which alone decides: bootstrap-t interval [{ends[0]}, {ends[1]}]; sign test"
        f" {p_text(found.p_sign)} (of the median, not of the mean)"
    ]


def intervals_and_p_values(question: Question, num_tests: int, tests: str = "arms") -> str:
    """Returns the sentence on how the intervals and p-values of a table relate.

    Args:
        question: The rules of the comparison.
        num_tests: Number of tests that share alpha.
        tests: What these are, in the plural.
    """
    each = f"An interval is of one of the {tests} alone, at {1 - question.alpha:.0%}"
    if num_tests == 1:
        return "The interval and the p-value are of the one test that there is."
    if question.plan is not None:
        return f"{each}, as if nobody had looked early; p-values count looks and {tests}, and they decide."
    return (
        f"{each}; p-values are adjusted over all {num_tests} (Holm) and decide: an interval may leave zero out alone."
    )


def leaks(arm: ArmResult) -> bool:
    """Returns whether none of an arm's completed runs has a rate: without a bottleneck its quality means nothing."""
    done = [row for row in arm.rows if row.status == "completed"]
    return bool(done) and all(RATE not in row.metrics for row in done)
