"""Reports the factors of a factorial ablation: main effects first, because they answer its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t5vqvae.config import short_names
from t5vqvae.evaluation.metrics import label
from tune.analysis import FactorialEffect, Question
from tune.monitor.formats import html_text, markdown_table, shortened
from tune.report.forest import Line
from tune.report.page import Section, anchor, listing, table
from tune.report.sentences import alias_in_words, claim, counted, doubts, interval, intervals_and_p_values, p_text

FEW = 4
"""The largest number of main effects that the answer names one by one."""


@dataclass(frozen=True)
class Factors:
    """Puts the main effects and interactions of a factorial into words.

    Attributes:
        effects: The effects in the design's order.
        levels: The levels of each factor, the baseline's first.
        question: The objective and the rules of the comparison.
    """

    effects: Sequence[FactorialEffect]
    levels: Mapping[str, Sequence[object]]
    question: Question

    def answer(self) -> str:
        """Returns the answer: every main effect, or the largest of more than `FEW`, then the interactions."""
        sized = [(abs(found.effect.mean), found) for found in self.effects if found.is_main and found.effect]
        mains = [found for _, found in sized]
        if not mains:
            return "No seed has completed every cell yet."
        order = mains if len(mains) <= FEW else [max(sized, key=lambda pair: pair[0])[1]]
        text = "; ".join(self._claim(found) for found in order)
        if len(mains) > FEW:
            text = f"of {len(mains)} main effects {counted([found.verdict for found in mains])}; the largest is {text}"
        crossed = [found.verdict for found in self.effects if not found.is_main and found.effect is not None]
        rest = f" Of {len(crossed)} interactions {counted(crossed)}." if crossed else ""
        return f"Averaged over the other factors: {text}.{rest}"

    def lines(self) -> list[Line]:
        """Returns the lines of the forest plot, main effects first."""
        order = sorted(self.effects, key=lambda found: not found.is_main)
        return [Line(self.name(f), f.effect, f.verdict, f"factor-{anchor(self.name(f))}") for f in order]

    def section(self) -> Section:
        """Returns the table of effects."""
        rows = []
        for found in self.effects:
            name, *numbers, verdict = map(html_text, self._cells(found))
            titled = f'<span id="factor-{anchor(self.name(found))}">{name}</span>'
            rows.append([titled, *numbers, f'<span class="badge {found.verdict}">{verdict}</span>'])
        body = f'{table(self._head(), rows)}<p class="note">{html_text(self.rules())}</p>{listing(self.doubts())}'
        return Section("Factors and their interactions", body)

    def rules(self) -> str:
        """Returns what the table's effects, intervals and p-values are."""
        return (
            "Main effects are averaged over the other factors; an interaction is a difference of differences."
            f" Holm's correction over {len(self.effects)} effects. Rate, time and memory are differences as well."
            f" {intervals_and_p_values(self.question, len(self.effects), 'effects')}"
        )

    def doubts(self) -> list[str]:
        """Returns the effects of which nothing is claimed, and those whose differences may not be symmetric."""
        found = [
            f"{shortened(self.name(each))}: a cell diverged on seed{'s' if len(each.diverged) > 1 else ''}"
            f" {', '.join(map(str, each.diverged))}; the effect is over the others, which favours what diverged"
            for each in self.effects
            if each.diverged
        ]
        return found + [
            f"{shortened(self.name(each))}: {text}" for each in self.effects for text in doubts(each.effect)
        ]

    def markdown(self) -> str:
        """Returns the table of effects as Markdown."""
        return markdown_table(self._head(), [self._cells(found) for found in self.effects])

    def name(self, found: FactorialEffect) -> str:
        """Returns the name of an effect, such as `estimator=rotation x name=vq`."""
        return " x ".join(self._levels(found, found.levels))

    def _levels(self, found: FactorialEffect, at: Sequence[int]) -> list[str]:
        labels = short_names(list(self.levels))
        pairs = zip(found.factors, at, strict=True)
        return [f"{labels[factor]}={shortened(self.levels[factor][level])}" for factor, level in pairs]

    def _claim(self, found: FactorialEffect) -> str:
        assert found.effect is not None
        base = self._levels(found, (0,) * len(found.factors))[0]
        p_values = (found.p_adjusted, found.p_equivalence)
        return claim(self.name(found), found.effect, found.verdict, p_values, self.question, base)

    def _head(self) -> list[str]:
        beside = [f"\N{GREEK CAPITAL LETTER DELTA} {label(metric)}" for metric in self._beside()]
        return ["effect", f"{label(self.question.objective)} [interval]", "adjusted p", *beside, "aliases", "verdict"]

    def _cells(self, found: FactorialEffect) -> list[str]:
        numbers = "-" if found.effect is None else interval(found.effect)
        beside = [interval(found.secondary[name]) if name in found.secondary else "-" for name in self._beside()]
        labels = short_names(list(self.levels))
        aliases = "; ".join(alias_in_words(alias, labels) for alias in found.aliases)
        p_value = p_text(found.p_adjusted).removeprefix("p = ")
        return [self.name(found), numbers, p_value, *beside, aliases or "-", found.verdict]

    def _beside(self) -> list[str]:
        return [name for name in self.question.secondary if any(name in found.secondary for found in self.effects)]
