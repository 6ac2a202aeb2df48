"""What a search and a promotion print at their end: how far they are, where the report is, and what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.stages import stage
from tune.records.study_paths import StudyPaths

if TYPE_CHECKING:
    from tune.search import SearchResult
    from tune.spec.search_spec import SearchSpec


def written_report(paths: StudyPaths, anew: bool) -> Path:
    """Returns the page of a search's report; writes it where it is missing, or anew."""
    folder = paths.root / "report"
    page = folder / "report.html"
    if anew or not page.is_file():
        from tune.report.build import write_report

        with stage("writing the report"):
            page = write_report(paths, folder)[0]
    return page


def last_lines(
    spec: SearchSpec, result: SearchResult, ended_before: int, report: Path, state: Path | None
) -> list[str]:
    """Returns the last lines of a search.

    Args:
        spec: The study.
        result: What it found.
        ended_before: Trials that had ended when this start began.
        report: The page of its report.
        state: The state folder that the command line names; None: none.
    """
    best, planned = result.best, spec.planned_trials
    lines = []
    if ended_before >= planned:
        more = "--trials +N extends" if planned == spec.budget.trials else "its space has no other settings"
        found = "no trial counts as best" if best is None else f"best trial {best.number}"
        lines.append(f"{len(result.records)} of {planned} done, {found}; {more}")
    lines.append(f"report: {report}")
    if best is None:
        return [*lines, f"next: {next_command(f'logs {spec.name}', state)}  # what became of its trials"]
    return [
        *lines,
        f"next: {next_command(f'trials {spec.name} --best 5', state)}  # the best trials",
        f"      {next_command(f'promote {spec.name}', state)}  # test trial {best.number} and register it",
    ]


def after_promotion(model: str, state: Path | None) -> list[str]:
    """Returns the last lines of a promotion: what a registered model is used by."""
    return [
        f"next: {next_command(f'serve {model}', state)}  # answers over HTTP",
        f"      {next_command(f'playground {model}', state)}  # a page on which its codes are swapped",
    ]


def next_command(words: str, state: Path | None) -> str:
    """Returns a command of t5vqvae as a user types it, for the same state folder."""
    return f"t5vqvae {words}{'' if state is None else f' --state {shlex.quote(str(state))}'}"
