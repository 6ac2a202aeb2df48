"""The commands `studies`, `status`, `trials`, `trial` and `diff`: what there is, how far it is, and what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t5vqvae.errors import SettingError
from t5vqvae.evaluation.metrics import METRICS, find
from t5vqvae.stages import duration
from tune.command_line import Command, Group, State
from tune.operations.options import Form, Output, within
from tune.operations.printed_rows import Format, PrintedRow, Rows
from tune.operations.search_end import next_command
from tune.operations.trial_columns import filtered_rows, shown_trials, sorted_rows
from tune.operations.trial_specs import command_of_trial
from tune.records.running import Progress
from tune.records.study import DIFFERENCE, Study
from tune.records.study import studies as all_studies
from tune.records.study_paths import state_dir

app = typer.Typer(cls=Group)
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search or an ablation; see studies.")]
Number = Annotated[int, typer.Argument(metavar="N", min=0, help="Number of a trial; see trials.")]
_LONG = ("mlflow_id", "checkpoint")
"""What a table would break where its column ends, so that it could not be copied."""


@app.command(cls=Command)
def studies(form: Form = None, output: Output = None, state: State = None) -> None:
    """List all studies and their best trials."""
    found = all_studies(state)
    rows = [_overview(study) for study in found if isinstance(study, Study)]
    notes = [str(error) for error in found if not isinstance(error, Study)]
    if not found:
        notes = [f"there is no study under {state_dir(state)}; t5vqvae search starts the quickstart"]
    hidden = ["question", "folder"]
    yielding = ["seconds_left", "kind", "metric"]
    titles = {"seconds_left": "left, s"}
    Rows(rows, notes, hidden=hidden, yielding=yielding, titles=titles, columns=_OVERVIEW).write(form, output)


@app.command(cls=Command)
def status(study: StudyName, form: Form = None, output: Output = None, state: State = None) -> None:
    """Say how far a study is.

    Of the study, its best trial and each running one: the step, the objective, and the time spent and left.
    """
    found = Study.load(study, state)
    progress = found.progress()
    metric = found.objectives[0]
    best = None if found.best is None else found.records[found.best]
    rows: list[PrintedRow] = [
        {
            "what": "study",
            "trial": None,
            "status": progress.state,
            "step": progress.done,
            "of": progress.planned,
            metric: None if best is None else best.metrics.get(metric),
            "seconds": progress.seconds,
            "seconds_left": progress.left,
        }
    ]
    if best is not None:
        cells = {"step": best.steps, "of": best.steps, metric: best.metrics.get(metric), "seconds": best.seconds}
        rows.append({"what": "best", "trial": best.number, "status": best.status, **cells, "seconds_left": None})
    for trial in found.unfinished.values():
        cells = {"step": trial.step, "of": trial.steps, metric: trial.metrics.get(metric), "seconds": trial.seconds}
        known = {"trial": trial.number, "status": trial.status, **cells, "seconds_left": trial.left}
        rows.append({"what": "trial", **known})
    titles = {metric: metric.partition("/")[2], "seconds_left": "left, s"}
    notes = _sentences(found, progress, state)
    Rows(rows, notes, hidden=(), titles=titles, yielding=["seconds"]).write(form, output)


@app.command(cls=Command)
def trials(
    study: StudyName,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Sort by a column; -COLUMN: the largest first.")
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="CONDITION", help="Such as 'nll < 1.5' or 'status = completed'; repeatable."),
    ] = None,
    best: Annotated[
        int | None, typer.Option(metavar="N", callback=within(1), help="The N best trials, best first.")
    ] = None,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> None:
    """List the trials of a study, running ones too.

    The forms csv, json and parquet hold every metric.
    """
    found = Study.load(study, state)
    rows: list[PrintedRow] = list(found.rows())
    if not rows:
        raise SettingError(f"no trial of study {study} has started yet; t5vqvae status {study} says how far it is")
    everything = rows
    for text in conditions or ():
        rows = filtered_rows(rows, text) if rows else filtered_rows(everything, text)[:0]
    if best is not None:
        rows = _best_of(found, rows, best)
    if sort is not None:
        rows = sorted_rows(rows, sort) if rows else sorted_rows(everything, sort)[:0]
    count = f"{len(rows)} of {len(everything)} trials" if len(rows) < len(everything) else f"{len(rows)} trials"
    winner = "" if found.best is None else f"; best: trial {found.best} with {_objectives(found, found.best)}"
    shown_trials(found, rows, [f"{study}: {count}{winner}", *_after_trials(found, state)]).write(form, output)


@app.command(cls=Command)
def trial(
    study: StudyName,
    given: Annotated[
        int | None,
        typer.Argument(metavar="[N]", min=0, help="Number of a trial; default: the best one, by the first objective."),
    ] = None,
    command: Annotated[
        bool, typer.Option("--command", help="Print the t5vqvae train command of the trial, and nothing else.")
    ] = False,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> None:
    """Print the settings and the metrics of a trial, or the command that trains it again."""
    found = Study.load(study, state)
    number = _best_number(found) if given is None else given
    if command:
        if form not in (None, Format.table) or output is not None:
            raise SettingError("--command prints one line; leave out --format and --output, or redirect it")
        print(command_of_trial(found, number))
        return
    row = found.trial(number)
    settings = set(found.settings)
    rows: list[PrintedRow] = []
    for name, value in row.items():
        if value is not None:
            kind = "setting" if name in settings else "metric" if "/" in name else "record"
            rows.append({"kind": kind, "name": name, "value": value, "unit": _unit(name) if kind == "metric" else ""})
    kinds = ("record", "setting", "metric")
    rows.sort(key=lambda each: kinds.index(each["kind"]))
    named = [each for each in rows if each["name"] in _LONG] if form in (None, Format.table) and output is None else []
    rows = [each for each in rows if each not in named]
    commands = [f"diff {study} {found.best} {number}"] if found.best not in (None, number) else []
    if row["checkpoint"]:
        commands += [f"evaluate {study}/{number}"]
    more = [f"rerun {study} {number} --seed 1", f"trial {study} {number} --command"]
    again = more if number in found.records else []
    notes = [f"{each['name']}: {each['value']}" for each in named]
    notes += [f"next: {next_command(command, state)}" for command in [*commands, *again]]
    Rows(rows, notes, hidden=["kind"]).write(form, output)


@app.command(cls=Command)
def diff(
    study: StudyName,
    one: Annotated[int, typer.Argument(metavar="A", min=0, help="Number of a trial.")],
    other: Annotated[int, typer.Argument(metavar="B", min=0, help="Number of another trial.")],
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> None:
    """Print in what two trials differ.

    Settings first, then metrics; the difference is B - A.
    """
    if one == other:
        raise SettingError(f"trial {one} is compared with itself; name two trials")
    rows = Study.load(study, state).differences(one, other)
    notes = [] if rows else [f"trials {one} and {other} of {study} differ in nothing"]
    titles = {"one": f"trial {one}", "other": f"trial {other}"}
    Rows(rows, notes, hidden=(), titles=titles, yielding=["kind"], columns=DIFFERENCE).write(form, output)


_OVERVIEW = (
    "study", "kind", "state", "done", "planned", "best", "value", "metric", "seconds_left", "question", "folder"
)  # fmt: skip


def _overview(study: Study) -> PrintedRow:
    progress, best = study.progress(), study.best
    metric = study.objectives[0]
    value = None if best is None else study.records[best].metrics.get(metric)
    counted = (progress.state, progress.done, progress.planned, best, value, metric, progress.left)
    cells = (study.name, study.kind, *counted, study.question, str(study.paths.root))
    return dict(zip(_OVERVIEW, cells, strict=True))


def _sentences(study: Study, progress: Progress, state: Path | None) -> list[str]:
    """Returns how far a study is, and what to do next."""
    of = "" if progress.planned is None else f" of {progress.planned}"
    line = f"{study.name}: {progress.done}{of} trials done"
    if progress.state == "running":
        since = "" if progress.seconds is None else f", running for {duration(progress.seconds)}"
        left = "" if progress.left is None else f", about {duration(progress.left)} left"
        return [f"{line}{since}{left}", f"next: {next_command(f'stop {study.name}', state)}  # stops it gently"]
    if progress.state == "interrupted":
        return [f"{line}; nothing runs: the command that started it resumes it"]
    best = "" if study.best is None else f", best: trial {study.best} with {_objectives(study, study.best)}"
    return [f"{line}{best}", f"next: {next_command(f'report {study.name}', state)}  # writes its report"]


def _after_trials(study: Study, state: Path | None) -> list[str]:
    """Returns what comes after a list of trials: to compare the best two whose models were kept, or to look at one."""
    if study.best is None:
        return []
    kept = [f"{study.name}/{number}" for number in study.ranked if study.records[number].checkpoint]
    if len(kept) < 2:
        return [f"next: {next_command(f'trial {study.name} {study.best}', state)}"]
    return [f"next: {next_command(f'compare {kept[0]} {kept[1]}', state)}  # where the best two differ"]


def _best_number(study: Study) -> int:
    """Returns the number of a study's best trial."""
    if study.best is None:
        why = "is an ablation, which compares arms" if study.kind == "ablation" else "has no trial that counts as best"
        raise SettingError(f"{study.name} {why}; name a trial: t5vqvae trial {study.name} N")
    return study.best


def _objectives(study: Study, number: int) -> str:
    metrics = study.records[number].metrics
    shown = [(name.partition("/")[2], metrics[name]) for name in study.objectives if name in metrics]
    return ", ".join(f"{name} {value:.4g}" for name, value in shown)


def _best_of(study: Study, rows: list[PrintedRow], number: int) -> list[PrintedRow]:
    if study.kind == "ablation":
        raise SettingError(f"--best: {study.name} is an ablation, which compares arms; t5vqvae report {study.name}")
    by_number = {row["trial"]: row for row in rows}
    return [by_number[each] for each in study.ranked if each in by_number][:number]


def _unit(name: str) -> str:
    metric = METRICS.get(name) or find(name)
    return "" if metric is None or metric.units == "1" else metric.units
