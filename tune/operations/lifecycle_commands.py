"""The commands `logs`, `stop`, `rerun` and `remove`: what a study did, and what becomes of it."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from t5vqvae.errors import SettingError
from t5vqvae.stages import stage
from tune.command_line import Command, Group, State, writable_state
from tune.monitor.formats import plain_text
from tune.operations.options import Form, Output, within
from tune.operations.printed_rows import Format, PrintedRow, Rows
from tune.operations.search_end import next_command
from tune.operations.study_commands import Number, StudyName
from tune.operations.trial_specs import spec_of_trial
from tune.process import NOTHING_WORKED
from tune.records.events import START, STOP, TRIAL, Event
from tune.records.record import TrialRecord
from tune.records.study import Study
from tune.records.study_paths import StudyPaths, state_dir

app = typer.Typer(cls=Group)
FOLLOW_SECONDS = 1.0


@app.command(cls=Command)
def logs(
    study: StudyName,
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", min=0, help="One trial; a failed one with its traceback.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the study ends, or Ctrl-C.")] = False,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> None:
    """Print what happened in a study, start by start."""
    found = Study.load(study, state)
    if follow and (form not in (None, Format.table) or output is not None):
        raise SettingError("--follow prints lines as they come; leave out --format and --output")
    if number is not None:
        found.trial(number)  # refuses one that never was
    events = [event for event in found.events.read() if number in (None, event.get("number"))]
    if not events and not follow:
        raise SettingError(f"study {study} kept no log of this; t5vqvae trials {study} lists its trials")
    if follow:
        _follow(found, number)
        return
    rows = [_logged(event, found.objectives[0]) for event in events]
    titles = {"objective": found.objectives[0].partition("/")[2]}
    notes = [] if number is None else _traceback(found, number)
    Rows(rows, notes, hidden=["timestamp"], yielding=["step"], titles=titles).write(form, output)


@app.command(cls=Command)
def stop(
    study: StudyName,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the next checkpoints.")] = False,
    seconds: Annotated[
        float, typer.Option("--wait", metavar="S", callback=within(0), help="Most seconds to wait for its end.")
    ] = 600,
    state: State = None,
) -> int:
    """Stop a running study; its command resumes it.

    Running trials keep their checkpoints. Exit status 1: it has not ended yet.
    """
    from tune.records.driver import Driver

    paths = StudyPaths.existing(state_dir(state), study, ablations=True)
    driver = Driver.of(paths)
    driver.signal()
    if now and not driver.wait(1.0):
        driver.signal()
    with stage(f"waiting for study {study} to stop"):
        ended = driver.wait(seconds)
    done = len(paths.ended)
    if not ended:
        print(f"study {study} was asked to stop and has not ended after {seconds:.0f} s; stop --now does not wait")
        return NOTHING_WORKED
    print(f"study {study} is stopped, {done} trials done; the command that started it resumes it")
    return 0


@app.command(cls=Command)
def rerun(
    study: StudyName,
    number: Number,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", callback=within(0), help="Another seed; default: the trial's own, which repeats it."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the checkpoints; default: one of the state folder.")
    ] = None,
    form: Form = None,
    output: Output = None,
    state: State = None,
) -> int:
    """Train a trial again on this machine, with another seed.

    The trial stays as it is; its objectives are printed next to the new ones. Exit status 1: the run diverged.
    """
    found, home = Study.load(study, state), writable_state(state)
    spec = spec_of_trial(found, number)
    from t5vqvae.runs.in_process import run_here
    from t5vqvae.training import checkpoint

    own = spec.seed
    spec = spec if seed is None else spec.with_overrides({"seed": seed})
    folder = into or home / "runs" / f"{study}-{number}-seed-{spec.seed}"
    if not run_here(spec, folder, home):
        return NOTHING_WORKED
    newest = checkpoint.latest(folder)
    assert newest is not None, "a completed run has a checkpoint"
    metrics, before = checkpoint.read_milestone(newest)["metrics"], found.records[number].metrics
    judged = [name for name in found.header.judged_metrics if name in metrics]
    rows = [_both(name, before.get(name), metrics[name]) for name in judged]
    titles = {"trial": f"trial {number}, seed {own}", "rerun": f"seed {spec.seed}"}
    Rows(rows, _after_rerun(found.records[number], newest, state), hidden=(), titles=titles).write(form, output)
    return 0


@app.command(cls=Command)
def remove(
    study: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state: State = None,
) -> int:
    """Delete a study from the disk, after asking.

    Its runs and registered models in MLflow stay. The source of a champion is refused.
    """
    from tune.operations.removal import contents, delete, refuse_champion

    paths = StudyPaths.existing(state_dir(state), study, ablations=True)
    if paths.is_locked():
        raise SettingError(f"study {study} runs; t5vqvae stop {study} stops it")
    refuse_champion(paths)
    notes = [f"in {paths.root}; its runs in MLflow stay"]
    Rows(contents(paths), notes, hidden=["bytes"]).write(Format.table, None)
    if not yes and not _agreed(f"remove study {study}?"):
        print("nothing was removed")
        return NOTHING_WORKED
    delete(paths)
    print(f"study {study} is removed")
    return 0


def _follow(study: Study, number: int | None) -> None:
    """Prints the events of a study line by line, until no driver holds it."""
    events, printed = study.events, 0
    while True:
        last = not study.paths.is_locked()
        found = events.read()
        for event in found[printed:]:
            if number in (None, event.get("number")):
                row = _logged(event, study.objectives[0])
                cells = [row["time"], row["trial"], row["what"], row["step"], row["objective"], row["note"]]
                print(plain_text("  ".join(_cell(cell) for cell in cells if cell not in (None, ""))))
        printed = len(found)
        if last:
            return
        time.sleep(FOLLOW_SECONDS)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _logged(event: Event, metric: str) -> PrintedRow:
    """Returns an event as a row."""
    metrics = event.get("metrics") or {}
    moment = datetime.fromtimestamp(event["time"])
    return {
        "time": moment.isoformat(" ", "seconds"),
        "trial": event.get("number"),
        "what": event.get("status", "") if event["event"] == TRIAL else event["event"],
        "step": None if "progress/step" not in metrics else int(metrics["progress/step"]),
        "objective": metrics.get(metric),
        "note": _note(event),
        "timestamp": event["time"],
    }


def _note(event: Event) -> str:
    if event["event"] == START:
        return f"{event.get('before', 0)} of {event.get('planned')} trials done, process {event.get('process')}"
    if event["event"] == STOP:
        return str(event.get("reason") or "nothing is left to run")
    return str(event.get("error") or "")


def _traceback(study: Study, number: int) -> list[str]:
    """Returns the lines of a failed trial's traceback."""
    try:
        text = (study.paths.trial(number) / "error.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rstrip().splitlines()


def _both(name: str, before: float | None, now: float) -> PrintedRow:
    return {"metric": name, "trial": before, "rerun": now, "difference": None if before is None else now - before}


def _after_rerun(record: TrialRecord, newest: Path, state: Path | None) -> list[str]:
    """Returns what the difference does not say, and what comes next with the checkpoints that were kept."""
    early = f"trial {record.number} was {record.status} at step {record.steps}; the new run went on to its end"
    command = f"compare {record.study}/{record.number} {newest}" if record.checkpoint else f"evaluate {newest}"
    return [*([] if record.status == "completed" else [early]), f"next: {next_command(command, state)}"]


def _agreed(question: str) -> bool:
    """Asks, and returns whether the answer is yes.

    Raises:
        SettingError: If nobody can answer.
    """
    if not _can_ask():
        raise SettingError(f"{question} nobody can answer here; add --yes")
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _can_ask() -> bool:
    return sys.stdin.isatty()
