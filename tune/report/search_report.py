"""Reports a search: the best trial, what mattered, what quality costs, and every trial with its run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from t5vqvae.config import short_names
from t5vqvae.evaluation.metric import RATE, STEP_SECONDS, TOKEN_ENTROPY, Direction
from t5vqvae.evaluation.metrics import METRICS, common_rate, label
from tune.analysis import Cost, Importance, fanova, main_effect, pareto_front, ped_anova, surface
from tune.analysis.trial_values import Trial, comparable, completed, searched
from tune.monitor.formats import html_text, markdown_table, markdown_text, shortened
from tune.records.trial_labels import labels_in_words
from tune.report import curves, figures
from tune.report.ablation_report import write_all
from tune.report.page import Figure, Section, link, listing, page, table
from tune.report.tables import as_csv

CONTROL = tuple(
    f"control/{kind}_intervention" for kind in ("local", "distributed", "sparse_local", "sparse_distributed")
)
"""The measures of control against which quality is drawn, where they were taken."""
LOSS = "validation/nll"
"""The quality that is drawn against control where control itself is the objective."""
LABELS = "labels"
RUN_LETTERS = 8
"""The letters of a run's id in the table of trials; trials.csv has all."""
MAX_AXES = 7
"""The largest number of settings in parallel coordinates; more are unreadable."""


@dataclass(frozen=True)
class SearchReport:
    """Holds the content of a search's report.

    Attributes:
        name: Name of the study.
        question: The question of the study in a sentence; may be empty.
        trials: `TrialRecord`s as dictionaries, of every status.
        metric: The objective; of several, the first.
        direction: The direction of that objective.
        best: Number of the best trial; None if none counts.
        cost: The cost of the study.
        baseline: Number of the baseline's trial; None if it has none.
        space: `{setting: Optuna distribution}`.
        urls: The page of each trial's run, by trial number.
        url: The page of the study's parent run.
        notes: Further remarks for the reader.
        counting: The numbers of the trials that may count as best.
        progress: How far the study is, in a sentence, while trials are left; empty at its end.
    """

    name: str
    question: str
    trials: Sequence[Trial]
    metric: str
    direction: Direction
    best: int | None
    cost: Cost
    baseline: int | None = 0
    space: Mapping[str, Any] = field(default_factory=dict)
    urls: Mapping[int, str] = field(default_factory=dict)
    url: str | None = None
    notes: Sequence[str] = ()
    counting: Collection[int] = ()
    progress: str = ""

    def write(self, folder: Path, *, light: bool = False) -> list[Path]:
        """Writes `report.html`, `report.md` and `trials.csv`; returns their paths."""
        return write_all(
            folder, {"report.html": self.html(light), "report.md": self.markdown(), "trials.csv": self.csv()}
        )

    def answer(self) -> str:
        """Returns the answer of the search in a sentence."""
        found = {trial["number"]: trial for trial in self.trials}
        if self.best is None or self.best not in found:
            return f"No trial of {len(found)} counts as best: none completed with codes and within the constraints."
        metrics = found[self.best]["metrics"]
        sentence = f"Trial {self.best} of {len(found)} is best: {label(self.metric)} {self._priced(metrics)}"
        first = None if self.baseline is None else found.get(self.baseline)
        if first is None or self.baseline == self.best:
            return f"{sentence}."
        return f"{sentence}; the baseline, trial {self.baseline}, {self._of_baseline(first)}."

    def _priced(self, metrics: Mapping[str, float]) -> str:
        """Returns a trial's objective and its rate."""
        rate = common_rate(metrics)
        priced = "" if rate is None else f" at {metrics[rate[0]]:.3g} {METRICS[RATE].units} ({rate[1]})"
        return f"{metrics[self.metric]:.4g}{priced}"

    def _of_baseline(self, first: Mapping[str, Any]) -> str:
        """Returns what became of the baseline; the value of one that did not end is of other steps than the best's."""
        if first["status"] != "completed" or self.metric not in first["metrics"]:
            was = "was " if first["status"] in ("pruned", "interrupted") else ""
            return f"{was}{first['status']} at step {first['steps']}"
        bounded = self.counting and self.baseline not in self.counting
        return f"had {self._priced(first['metrics'])}{', and breaks a constraint' if bounded else ''}"

    def html(self, light: bool = False) -> str:
        """Returns the page; see `page`."""
        trials, space = comparable(self.trials), self._scales()
        found = [rank(trials, self.metric, self.direction, space) for rank in (ped_anova, fanova)]
        first, fronts = [self._first(), self._learning()], self._fronts()
        sections = [*first, self._importance(found), *fronts, self._response(found[0]), self._all()]
        return page(f"{self.name}: {self.question or 'search'}", [s for s in sections if s.body or s.figures], light)

    def markdown(self) -> str:
        """Returns the answer and the best trials as Markdown."""
        names = searched(self.trials)
        head = ["trial", "status", *self._heads(), *short_names(names).values(), *self._labels_head]
        lines = [f"# {markdown_text(self.question or self.name)}", "", f"**{markdown_text(self.answer())}**", ""]
        lines += [markdown_text(self.progress), ""] if self.progress else []
        lines += [markdown_text(self._cost_sentence()), ""]
        best = self._ordered()[:10]
        rows = [
            [t["number"], t["status"], *self._numbers(t), *self._settings(t, names), *self._labels(t)] for t in best
        ]
        lines += [markdown_table(head, rows), "", *(f"- {markdown_text(note)}" for note in self._notes())]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Returns one line per trial, with all its settings and metrics."""
        names = ("number", "status", "run_id", "mlflow_id", "steps", "seconds")
        rows = [
            {n: t.get(n) for n in names} | {LABELS: _labelled(t)} | dict(t["overrides"]) | dict(t["metrics"])
            for t in self.trials
        ]
        return as_csv(rows)

    def _first(self) -> Section:
        title = html_text(self.question or f"Search {self.name}")
        study = f'<p class="study">Search {link(self.name, self.url)}</p>'
        running = f'<p class="progress">{html_text(self.progress)}</p>' if self.progress else ""
        body = f'{study}<h1>{title}</h1>{running}<p class="answer">{html_text(self.answer())}</p>'
        names = searched(self.trials)
        for trial in [trial for trial in self.trials if trial["number"] == self.best]:
            values = zip(short_names(names).values(), self._settings(trial, names), strict=True)
            settings = ", ".join(f"{name} {value}" for name, value in values if value != "-")
            body += f"<p>{html_text(settings)}</p>"
        body += f'<p class="note">{html_text(self._cost_sentence())}</p>{listing(self._notes())}'
        figure = curves.history(self.trials, self.metric, self.direction, self.counting, self.urls)
        shown = () if figure is None else (("Every trial in order; click one for its run.", figure),)
        return Section("", body, shown)

    def _learning(self) -> Section:
        figure = curves.learning(self.trials, self.metric, self.best, self.urls)
        caption = "Every trial at its milestones; curves that end early were pruned. Click one for its run."
        return Section("How trials learned", "", () if figure is None else ((caption, figure),))

    def _scales(self) -> dict[str, Any]:
        """Returns the distributions of the settings whose values are all comparable."""
        pairs = [(t["overrides"], c["overrides"]) for t, c in zip(self.trials, comparable(self.trials), strict=True)]
        return {name: found for name, found in self.space.items() if all(t.get(name) is c.get(name) for t, c in pairs)}

    def _notes(self) -> list[str]:
        return [
            "the best of many trials, on one seed each, looks better than it is: test it by promotion or an ablation",
            *self.notes,
        ]

    def _cost_sentence(self) -> str:
        kinds = ", ".join(f"{num} {status}" for status, num in self.cost.by_status.items())
        spent = f"{self.cost.cpu_hours:.2g} CPU hours, {self.cost.gpu_hours:.2g} GPU hours"
        pruned = self.cost.hours_by_status.get("pruned", 0.0)
        return f"{kinds}; {self.cost.hours:.2g} hours of trials ({spent}), {pruned:.2g} of them in pruned ones."

    def _importance(self, found: Sequence[Importance]) -> Section:
        caveats = list(dict.fromkeys(caveat for one in found for caveat in one.caveats))
        if not any(one.values for one in found):  # the first reason says it; the rest is of what was not computed
            return Section("What mattered", listing(caveats[:1]))
        caption = (
            "Share of importance; dotted: the largest share when the objective is shuffled, and shorter bars show"
            " nothing. The two methods measure different things, so they need not agree."
        )
        return Section(
            "What mattered", listing(caveats), ((caption, figures.importances([o for o in found if o.values])),)
        )

    def _fronts(self) -> list[Section]:
        """Returns quality against what it costs, and against control."""
        prices = [self._front(self.metric, self.direction, against) for against in (self._rate, STEP_SECONDS)]
        loss = METRICS[LOSS].direction or "minimize"
        quality = (LOSS, loss) if self.metric in CONTROL else (self.metric, self.direction)
        steered = [self._front(*quality, against) for against in CONTROL]
        return [
            Section("What quality costs", "", tuple(found for found in prices if found)),
            Section("Quality and control", "", tuple(found for found in steered if found)),
        ]

    def _front(self, metric: str, direction: Direction, against: str) -> tuple[str, Figure] | None:
        """Returns a figure with its caption; None where fewer than two trials have both metrics, or all the same."""
        done = completed(completed(self.trials, metric), against)
        if len({trial["metrics"][against] for trial in done}) < 2:
            return None
        wanted = METRICS[against].direction or "minimize"
        best = pareto_front(done, {metric: direction, against: wanted})
        shape = "hv" if wanted == "minimize" else "vh"
        figure = figures.front(done, best, metric, against, self.urls, shape)
        good = ("low" if one == "minimize" else "high" for one in (direction, wanted))
        sides = [f"{label(one)} ({next(good)} is good)" for one in (metric, against)]
        return f"{sides[0]} against {sides[1]}; completed trials.", figure

    def _response(self, importance: Importance) -> Section:
        done = completed(comparable(self.trials), self.metric)
        names = list(importance.values) or searched(done)
        shown: list[tuple[str, Figure]] = []
        if len(done) > 2 and names:
            effects = {name: main_effect(done, name, self.metric) for name in names[:6]}
            caption = (
                "Mean by level, or by quantile bin at its median, with 95% t intervals; other settings differ as well."
            )
            shown.append((caption, figures.responses(effects, self.metric)))
            caption = "Every completed trial is a line; drag along an axis to choose."
            shown.append((caption, figures.coordinates(done, names[:MAX_AXES], self.metric)))
        surfaces = (surface(done, x, y, self.metric) for x, y in combinations(names[:3], 2))
        first = next((found for found in surfaces if found is not None), None)
        if first is not None:
            figure = figures.landscape(first, self.metric)
            shown.append(("Smoothed over the two settings; blank where no trial is near.", figure))
        return Section("How the objective responds", "", tuple(shown))

    def _all(self) -> Section:
        names, rows = searched(self.trials), []
        for trial in self._ordered():
            number = link(str(trial["number"]), self.urls.get(trial["number"]))
            rest = [trial["status"], *self._numbers(trial), *self._settings(trial, names), *self._labels(trial)]
            cells = [*rest, (trial.get("mlflow_id") or "-")[:RUN_LETTERS]]
            rows.append([f'<span id="trial-{html_text(trial["number"])}">{number}</span>', *map(html_text, cells)])
        head = ["trial", "status", *self._heads(), *short_names(names).values(), *self._labels_head, "run"]
        return Section("All trials", table(head, rows, numeric_from=2))

    def _ordered(self) -> list[Trial]:
        """Returns completed trials, best first, then the others by number."""
        sign = 1 if self.direction == "minimize" else -1

        def order(trial: Trial) -> tuple[bool, float, int]:
            value = trial["metrics"].get(self.metric, math.nan)
            known = trial["status"] == "completed" and math.isfinite(value)
            return (not known, sign * value if known else 0.0, trial["number"])

        return sorted(self.trials, key=order)

    @property
    def _rate(self) -> str:
        """The rate in the tables: the joint one where all trials with a rate have it."""
        found = common_rate(*(trial["metrics"] for trial in self.trials if RATE in trial["metrics"]))
        return RATE if found is None else found[0]

    @property
    def _columns(self) -> list[str]:
        """The metrics in the tables; the tokens' own entropy where a trial has it."""
        entropy = [TOKEN_ENTROPY] if any(TOKEN_ENTROPY in trial["metrics"] for trial in self.trials) else []
        return [self.metric, self._rate, *entropy]

    def _heads(self) -> list[str]:
        return list(map(label, self._columns))

    @property
    def _labels_head(self) -> list[str]:
        """The head of the column of labels; none where no trial has one."""
        return [LABELS] if any(map(_labelled, self.trials)) else []

    def _labels(self, trial: Trial) -> list[str]:
        return [_labelled(trial) or "-"] if self._labels_head else []

    def _numbers(self, trial: Trial) -> list[str]:
        values = [trial["metrics"].get(metric) for metric in self._columns]
        return ["-" if value is None else f"{value:.4g}" for value in values]

    def _settings(self, trial: Trial, names: Sequence[str]) -> list[str]:
        values = [trial["overrides"].get(name) for name in names]
        return ["-" if v is None else f"{v:.3g}" if isinstance(v, float) else shortened(v) for v in values]


def _labelled(trial: Trial) -> str:
    """Returns the labels of a trial in words; empty without any."""
    return labels_in_words(trial.get("tags", {}))
