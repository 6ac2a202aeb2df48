"""Draws the forest plot of a report in plain HTML: readable at once, at any width, without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tune.analysis import Effect, Question
from tune.monitor.formats import html_text, shortened
from tune.report.sentences import interval, signed


@dataclass(frozen=True)
class Line:
    """One effect in the plot.

    Attributes:
        name: Name of the arm or of the factor's level.
        effect: Its effect; None where no pair completed.
        verdict: The claim that the evidence allows.
        target: The anchor on the page that its numbers link to.
    """

    name: str
    effect: Effect | None
    verdict: str
    target: str


def forest(lines: Sequence[Line], question: Question) -> str:
    """Returns the plot: one line per effect, with the margin of equivalence as a band."""
    effects = [line.effect for line in lines if line.effect is not None]
    ends = [abs(end) for effect in effects for end in (effect.low, effect.high) if math.isfinite(end)]
    ends += [abs(effect.mean) for effect in effects] + [1.3 * (question.margin or 0.0)]
    limit = 1.05 * max(ends) or 1.0
    rows = "\n".join(_row(line, limit, question.margin) for line in lines)
    less, more = ("better", "worse") if question.direction == "minimize" else ("worse", "better")
    places = max(0, 2 - math.ceil(math.log10(limit)))
    axis = (
        '<span class="blank"></span><span class="blank"></span><div class="ends note">'
        f"<span>{signed(-limit, places)} {less}</span><span>0</span><span>{more} {signed(limit, places)}</span></div>"
    )
    return f'<div class="forest">{rows}{axis}</div>'


def _row(line: Line, limit: float, margin: float | None) -> str:
    def at(value: float) -> float:
        return 50 + 50 * max(-1.0, min(1.0, value / limit))

    marks = (
        ""
        if margin is None
        else f'<i class="margin" style="left:{at(-margin):.2f}%;width:{at(margin) - at(-margin):.2f}%"></i>'
    )
    marks += '<i class="zero"></i>'
    numbers = "no pair"
    if line.effect is not None:
        low, high = at(line.effect.low), at(line.effect.high)
        marks += f'<i class="bar" style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
        marks += f'<i class="dot" style="left:{at(line.effect.mean):.2f}%"></i>'
        numbers = f'<a href="#{line.target}">{html_text(interval(line.effect))}</a>'
    return (
        f'<div class="row"><span class="arm">{html_text(shortened(line.name))}'
        f' <span class="badge {line.verdict}">{line.verdict}</span></span>'
        f'<span class="numbers">{numbers}</span><div class="track {line.verdict}">{marks}</div></div>'
    )
