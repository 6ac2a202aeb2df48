"""Reports an ablation: the question, the answer with its interval, the forest plot; then the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from t5vqvae.evaluation.metrics import label
from t5vqvae.files import atomic_write
from tune.analysis import Comparison, Cost, FactorialEffect, RunRow
from tune.analysis.sequential import SIMULATED
from tune.monitor.formats import html_text, markdown_table, markdown_text, shortened
from tune.report import figures, tables
from tune.report.factors import Factors
from tune.report.forest import Line, forest
from tune.report.page import Section, anchor, link, listing, page, table
from tune.report.sentences import answer, caveats, intervals_and_p_values

EQUIVALENCE = {
    "permutation": "two one-sided sign-flip tests, which assume differences symmetric about their mean (on skewed ones"
    " .13 to .15 false claims at the margin, not .05), within",
    "t": "two one-sided t tests, which assume normal differences (on skewed ones .13 to .15 false claims at the margin,"
    " not .05), within",
}
Tuned = Mapping[str, Mapping[int, Mapping[str, object]]]
"""`{arm: {seed of the comparison: tuned settings}}`."""
INTERVALS = {
    "permutation": "intervals of what that test does not reject",
    "t": "t intervals",
    "bca": "BCa bootstrap intervals",
}


@dataclass(frozen=True)
class AblationReport:
    """Holds the content of an ablation's report.

    Attributes:
        name: Name of the study.
        question: The question of the study in a sentence.
        comparison: The arms against the baseline.
        questions: The question of each arm.
        overrides: The settings that each arm changes.
        tuned: The nuisance settings that each arm, the baseline included, runs with, by seed.
        effects: Main effects and interactions; empty unless the design is a factorial.
        levels: The levels of each factor, the baseline's first; empty unless the design is a factorial.
        notes: Further remarks, such as the plan's.
        cost: The cost of all its runs.
        url: The page of the study's parent run.
    """

    name: str
    question: str
    comparison: Comparison
    questions: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    tuned: Tuned = field(default_factory=dict)
    effects: Sequence[FactorialEffect] = ()
    levels: Mapping[str, Sequence[object]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    cost: Cost | None = None
    url: str | None = None

    def write(self, folder: Path, *, light: bool = False) -> list[Path]:
        """Writes `report.html`, `report.md`, `effects.csv`, `runs.csv` and `effects.tex`; returns their paths."""
        texts = {
            "report.html": self.html(light),
            "report.md": self.markdown(),
            "effects.csv": tables.effects_csv(self.comparison, self.effects),
            "runs.csv": tables.runs_csv(self.comparison),
            "effects.tex": tables.latex(self.comparison, self.question, self.name),
        }
        return write_all(folder, texts)

    def html(self, light: bool = False) -> str:
        """Returns the page; see `page`."""
        factors = [self._factors().section()] if self.effects else []
        rest = [self._effects(), self._pairs(), self._arms(), self._runs()]
        return page(f"{self.name}: {self.question}", [self._first(), *factors, *rest], light)

    def markdown(self) -> str:
        """Returns the report as Markdown."""
        lines = [f"# {markdown_text(self.question)}", "", f"**{markdown_text(self.answer())}**", ""]
        if self.effects:
            lines += ["## Factors", "", self._factors().markdown(), ""]
            lines += [markdown_text(self._factors().rules()), ""]
            lines += [f"- {markdown_text(doubt)}" for doubt in self._factors().doubts()]
            lines += ["", "## Cells against the baseline", ""]
        lines += [tables.markdown(self.comparison), "", markdown_text(self._rules()), ""]
        lines += [f"- {markdown_text(note)}" for note in [*caveats(self.comparison), *self.notes]]
        if tuned := _tuned_rows(self.tuned, self.comparison.seeds):
            lines += ["", "## Tuned settings", "", markdown_table(*tuned)]
        return "\n".join(lines) + "\n"

    def _first(self) -> Section:
        study = f'<p class="study">Ablation {link(self.name, self.url)}</p>'
        body = f"{study}<h1>{html_text(self.question)}</h1>"
        body += f'<p class="answer">{html_text(self.answer())}</p>{self._forest()}'
        return Section("", f"{body}{listing(caveats(self.comparison))}")

    def _effects(self) -> Section:
        beside = tables.beside_metrics(self.comparison)
        rows = []
        for arm in self.comparison.arms:
            name, *numbers, verdict = map(html_text, tables.effect_cells(arm, beside))
            linked = [f'<a href="#runs-{anchor(arm.arm)}">{number}</a>' for number in numbers]
            rows.append([name, *linked, f'<span class="badge {arm.verdict}">{verdict}</span>'])
        body = table(tables.effect_head(self.comparison), rows) + f'<p class="note">{html_text(self._rules())}</p>'
        drawn = [metric for metric in beside if self._varies(metric)][:2]
        caption = "{}, arm minus baseline, with intervals"
        shown = tuple((caption.format(label(metric)), figures.price(self.comparison, metric)) for metric in drawn)
        title = "Cells against the baseline" if self.effects else "Effects"
        return Section(f"{title}, and what they cost", body, shown)

    def _varies(self, metric: str) -> bool:
        found = [arm.secondary[metric] for arm in self.comparison.arms if metric in arm.secondary]
        return any(effect.mean or effect.low or effect.high for effect in found)

    def _rules(self) -> str:
        question, num = self.comparison.question, len(self.comparison.arms)
        by_signs = question.test == "permutation" and question.plan is None  # a plan's bounds are of the t statistic
        tests = "sign-flip permutation test" if by_signs else "t test"
        kind = INTERVALS[question.interval or question.test]
        plan = f"a group-sequential plan shares alpha among arms and keeps it about ({SIMULATED})"
        many = plan if question.plan else f"Holm's correction over {num} arms"
        margin = "" if question.margin is None else f"; equivalence: {EQUIVALENCE[question.test]} {question.margin:g}"
        better = "less" if question.direction == "minimize" else "more"
        return (
            f"Effects are arm minus baseline over pairs of equal seed, of {question.objective} ({better} is better);"
            f" p-values: paired {tests}, {many}; {1 - question.alpha:.0%} {kind}, one arm at a time{margin}."
            " g: mean over the standard deviation of the differences, with Hedges' correction."
            f" {intervals_and_p_values(question, num)}"
        )

    def _factors(self) -> Factors:
        return Factors(self.effects, self.levels, self.comparison.question)

    def answer(self) -> str:
        return self._factors().answer() if self.effects else answer(self.comparison)

    def _forest(self) -> str:
        lines = [Line(arm.arm, arm.effect, arm.verdict, f"runs-{anchor(arm.arm)}") for arm in self.comparison.arms]
        return forest(self._factors().lines() if self.effects else lines, self.comparison.question)

    def _pairs(self) -> Section:
        caption = "Each dot is one seed's difference, arm minus baseline; click it for its run."
        return Section("Seed by seed", "", ((caption, figures.pairs(self.comparison)),))

    def _arms(self) -> Section:
        rows = []
        for name in [self.comparison.baseline, *(arm.arm for arm in self.comparison.arms)]:
            texts = [name, self.questions.get(name, ""), _settings(self.overrides.get(name))]
            rows.append([html_text(text) for text in texts])
        body = table(["arm", "question", "changes"], rows, numeric_from=9) + listing(self.notes)
        return Section("Arms", body + self._tuned() + _cost_text(self.cost))

    def _tuned(self) -> str:
        """Returns the table of tuned settings; empty where nothing was tuned."""
        tuned = _tuned_rows(self.tuned, self.comparison.seeds)
        if tuned is None:
            return ""
        text = "Settings of each arm's best tuning run, by the seed of the comparison that it was tuned for."
        cells = [[html_text(cell) for cell in row] for row in tuned[1]]
        return table(tuned[0], cells) + f'<p class="note">{text}</p>'

    def _runs(self) -> Section:
        baseline = (self.comparison.baseline, self.comparison.baseline_rows)
        named, rows = [baseline, *((arm.arm, arm.rows) for arm in self.comparison.arms)], []
        for name, runs in named:
            by_seed = {row.seed: self._cell(row) for row in runs}
            title = f'<span id="runs-{anchor(name)}">{html_text(shortened(name))}</span>'
            rows.append([title, *(by_seed.get(seed, "-") for seed in self.comparison.seeds)])
        objective = self.comparison.question.objective
        linked = ", linked to its record" if any(row.url for _, runs in named for row in runs) else ""
        text = f"{objective} of every run{linked}; run ids and all metrics are in runs.parquet."
        head = ["arm", *(f"seed {seed}" for seed in self.comparison.seeds)]
        return Section("Runs", table(head, rows) + f'<p class="note">{html_text(text)}</p>')

    def _cell(self, row: RunRow) -> str:
        value = row.value(self.comparison.question.objective)
        text = link(row.status if value is None else f"{value:.5g}", row.url)
        return f'<span title="run {html_text(row.run_id or "unknown")}, {html_text(row.status)}">{text}</span>'


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Writes files into a folder, each one atomically; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with atomic_write(folder / name) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _tuned_rows(tuned: Tuned, seeds: Sequence[int]) -> tuple[list[str], list[list[str]]] | None:
    """Returns head and rows of the tuned settings, a row for each arm and setting; None where nothing was tuned."""
    rows = []
    for arm, by_seed in tuned.items():
        for path in dict.fromkeys(path for chosen in by_seed.values() for path in chosen):
            values = [by_seed.get(seed, {}).get(path, "-") for seed in seeds]
            rows.append([arm, path, *(f"{v:.3g}" if isinstance(v, float) else shortened(v) for v in values)])
    return (["arm", "setting", *(f"seed {seed}" for seed in seeds)], rows) if rows else None


def _settings(overrides: Mapping[str, object] | None) -> str:
    short = {path: f"{value:.4g}" if isinstance(value, float) else value for path, value in (overrides or {}).items()}
    return ", ".join(f"{path}={shortened(value)}" for path, value in short.items()) or "-"


def _cost_text(cost: Cost | None) -> str:
    if cost is None:
        return ""
    kinds = ", ".join(f"{num} {status}" for status, num in cost.by_status.items())
    hours = f"{cost.hours:.2g} hours of runs: {cost.cpu_hours:.2g} CPU hours, {cost.gpu_hours:.2g} GPU hours"
    return f'<p class="note">{html_text(kinds)}; {hours}.</p>'
