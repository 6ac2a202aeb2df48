"""Writes the table of effects as Markdown, CSV and LaTeX, and the runs behind it as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from t5vqvae.evaluation.metrics import label
from tune.analysis import ArmResult, Comparison, Effect, FactorialEffect
from tune.monitor.formats import csv_cell, latex_text, markdown_table, shortened
from tune.report.sentences import alias_in_words, interval, intervals_and_p_values, p_text, signed

Row = Mapping[str, object]


def effect_cells(arm: ArmResult, beside: Sequence[str]) -> list[str]:
    """Returns the cells of an arm: name, effect, p-value, standardized size, further metrics, pairs, verdict."""
    effect = arm.effect
    size = "-" if effect is None or effect.g_z is None else signed(effect.g_z, 2)
    cells = [
        shortened(arm.arm),
        "-" if effect is None else interval(effect),
        p_text(arm.p_adjusted).removeprefix("p = "),
        size,
    ]
    cells += [interval(arm.secondary[metric]) if metric in arm.secondary else "-" for metric in beside]
    return [*cells, "0" if effect is None else str(effect.num_seeds), arm.verdict]


def effect_head(comparison: Comparison) -> list[str]:
    """Returns the column titles of `effect_cells`."""
    beside = [f"\N{GREEK CAPITAL LETTER DELTA} {label(metric)}" for metric in beside_metrics(comparison)]
    objective = f"\N{GREEK CAPITAL LETTER DELTA} {label(comparison.question.objective)} [interval]"
    return ["arm", objective, "adjusted p", "size g", *beside, "pairs", "verdict"]


def beside_metrics(comparison: Comparison) -> list[str]:
    """Returns the metrics shown with the objective that at least one arm has."""
    return [m for m in comparison.question.secondary if any(m in arm.secondary for arm in comparison.arms)]


def markdown(comparison: Comparison) -> str:
    """Returns the table of effects as Markdown."""
    beside = beside_metrics(comparison)
    return markdown_table(effect_head(comparison), [effect_cells(arm, beside) for arm in comparison.arms])


def latex(comparison: Comparison, caption: str, name: str) -> str:
    """Returns the table of effects for a paper; it needs the package booktabs."""
    beside = beside_metrics(comparison)
    head = [cell.replace("\N{GREEK CAPITAL LETTER DELTA} ", "") for cell in effect_head(comparison)]
    rows = [
        " & ".join(map(latex_text, cells)) + r" \\"
        for cells in [head, *(effect_cells(a, beside) for a in comparison.arms)]
    ]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(caption)}}}", rf"\label{{tab:{name}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 2)}l}}", r"\toprule", rows[0], r"\midrule", *rows[1:]]
    note = intervals_and_p_values(comparison.question, len(comparison.arms))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\par\footnotesize {latex_text(note)}"]
    return "\n".join([*lines, r"\end{table}", ""])


def effects_csv(comparison: Comparison, effects: Sequence[FactorialEffect] = ()) -> str:
    """Returns every number of the comparison at full precision: one line per arm, then one per factorial effect."""
    rows = [_arm_values(arm) for arm in comparison.arms] + [_factorial_values(effect) for effect in effects]
    return as_csv(rows)


def _arm_values(arm: ArmResult) -> Row:
    values: dict[str, object] = {"kind": "arm", "name": arm.arm, "verdict": arm.verdict, "p_adjusted": arm.p_adjusted}
    values |= {"value": arm.value, "baseline_value": arm.baseline_value} | _effect_values(arm.effect, "")
    if arm.equivalence is not None:
        same = arm.equivalence
        values |= {"margin": same.margin, "p_equivalence": same.p_value, "p_equivalence_adjusted": arm.p_equivalence}
    for metric, effect in arm.secondary.items():
        values |= _effect_values(effect, f"{metric}:")
    return values | {"diverged": _words(arm.diverged), "baseline_diverged": _words(arm.baseline_diverged)}


def _factorial_values(found: FactorialEffect) -> Row:
    kind = "main effect" if found.is_main else "interaction"
    name = " x ".join(f"{factor}[{level}]" for factor, level in zip(found.factors, found.levels, strict=True))
    values: dict[str, object] = {"kind": kind, "name": name, "verdict": found.verdict, "p_adjusted": found.p_adjusted}
    values |= {"p_equivalence_adjusted": found.p_equivalence} | _effect_values(found.effect, "")
    for metric, effect in found.secondary.items():
        values |= _effect_values(effect, f"{metric}:")
    return values | {"aliases": "; ".join(alias_in_words(alias) for alias in found.aliases)}


def _effect_values(effect: Effect | None, prefix: str) -> dict[str, object]:
    names = ("mean", "low", "high", "sd", "d_z", "g_z", "p_value", "num_seeds")
    return {} if effect is None else {f"{prefix}{name}": getattr(effect, name) for name in names}


def runs_csv(comparison: Comparison) -> str:
    """Returns one line per run of the comparison, with all its metrics."""
    rows = [*comparison.baseline_rows, *(row for arm in comparison.arms for row in arm.rows)]
    names = ("arm", "seed", "status", "run_id", "mlflow_id", "url")
    return as_csv([{name: getattr(row, name) for name in names} | dict(row.metrics) for row in rows])


def as_csv(rows: Sequence[Row]) -> str:
    """Returns rows as CSV; its columns are those of all rows, in the order of their first appearance.

    Every text is in quotes: a spreadsheet that splits at semicolons would find formulas in an unquoted one.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return file.getvalue()


def _words(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds))
