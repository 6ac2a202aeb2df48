"""The command `t5vqvae`: every command line of the project, its options, and its exit status.

    t5vqvae COMMAND [...]          also: python -m tune.cli COMMAND [...]
    python tune/search.py [...]    the same as `t5vqvae search [...]`; `ablate.py` and `promote.py` alike

An error of the user is one line on stderr and exit status 2. Modules are imported when a command needs them: help and
refusals take a fifth of a second, and torch alone takes two.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t5vqvae.config import flatten, parse_words, read_yaml
from t5vqvae.errors import SettingError
from tune.command_line import Command, DryRun, Group, RunWords, State, Version, words_argument
from tune.known_settings import ABLATION, SEARCH, known_settings
from tune.process import NOTHING_WORKED, STOPPED
from tune.records.study_paths import StudyPaths, state_dir
from tune.spec.study_file import ABLATIONS, STUDIES, read_study, studies_in

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec
    from tune.ablation.ablation_spec import AblationSpec
    from tune.spec.search_spec import SearchSpec

QUICKSTART = "quickstart"
"""The study of a search that names none."""
OPTIONS: Any = {"no_args_is_help": True, "add_completion": False, "rich_markup_mode": None}
app = typer.Typer(cls=Group, pretty_exceptions_enable=False, **OPTIONS)
data = typer.Typer(cls=Group, help="Download public corpora.", **OPTIONS)
app.add_typer(data, name="data")


@app.callback()
def _root(version: Version = False) -> None:
    """Train, search and ablate text autoencoders with discrete bottlenecks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status."""
    return app(args=sys.argv[1:] if arguments is None else list(arguments), standalone_mode=False)


@app.command(cls=Command)
def train(
    words: RunWords = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the checkpoints; default: one of the state folder.")
    ] = None,
    state: State = None,
) -> int:
    """Train one model on this machine, without Ray.

    The same command resumes an interrupted run. Exit status 1: the run diverged.
    """
    spec = _run_spec(words)
    from t5vqvae.runs.in_process import run_here

    return 0 if run_here(spec, into, state_dir(state)) else NOTHING_WORKED


@app.command(cls=Command)
def config(
    words: RunWords = None,
    docs: Annotated[bool, typer.Option("--docs", help="List every setting with its range and meaning.")] = False,
) -> None:
    """Print the settings of a run as YAML, or list all settings.

    `t5vqvae train FILE.yaml` reads what this command prints.
    """
    import yaml

    if not docs:
        typer.echo(yaml.safe_dump(_run_spec(words).as_dict(), sort_keys=False), nl=False)
        return
    from t5vqvae.config.describe import settings
    from t5vqvae.spec.run import RunSpec

    for setting in settings(RunSpec):
        typer.echo(setting)


@app.command(cls=Command)
def search(
    words: Annotated[
        list[str] | None,
        words_argument(
            "[STUDY] ", f"A YAML file, or one of {', '.join(studies_in(STUDIES))}; then settings that replace its own."
        ),
    ] = None,
    trials: Annotated[
        str | None, typer.Option(metavar="N|+N", help="Trials in all, or +N for N more than a finished study had.")
    ] = None,
    warm_start: Annotated[
        str | None, typer.Option("--from", metavar="STUDY", help="Learn from the trials of another study.")
    ] = None,
    dry_run: DryRun = False,
    state: State = None,
) -> int:
    """Search a study on Ray, or resume it.

    Without STUDY: quickstart. Exit status 1: no trial worked; 130: stopped by Ctrl-C or SIGTERM.
    """
    spec = _search_spec(list(words or []), trials, state)
    if dry_run:
        from tune.sampling.dry_run import dry_run as plan

        print(plan(spec))
        return 0
    from tune.search import search as run

    result = run(spec, state=state, warm_start=warm_start)
    if _report_stop(result.stopped):
        return STOPPED
    worked = [record for record in result.records if record.status in ("completed", "pruned")]
    return 0 if worked or not result.records else NOTHING_WORKED


@app.command(cls=Command)
def ablate(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help=f"A YAML file, or one of {', '.join(studies_in(ABLATIONS))}.")
    ],
    words: Annotated[list[str] | None, words_argument("", "Settings that replace those of the study.")] = None,
    dry_run: DryRun = False,
    state: State = None,
) -> int:
    """Run an ablation on Ray, or resume it.

    Exit status 1: no run worked; 130: stopped by Ctrl-C or SIGTERM.
    """
    spec = _ablation_spec(study, list(words or []))
    if dry_run:
        from tune.ablation.baseline import base_of
        from tune.ablation.plan import dry_run as plan
        from tune.records.study_tracker import tracker_of

        paths = StudyPaths(state_dir(state), spec.name)
        print(plan(spec, base_of(spec, paths, tracker_of(spec, paths))).markdown())
        return 0
    from tune.ablate import ablate as run

    result = run(spec, state=state)
    print(result.report.markdown())
    by_signal = _report_stop(result.stopped)
    print(f"report: {result.files[0]}")
    if by_signal:
        return STOPPED
    return 0 if any(record.status == "completed" for record in result.records) else NOTHING_WORKED


@app.command(cls=Command)
def promote(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search.")],
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="BOUND", help="A bound on a test metric, such as 'test/bleu >= 40'; may be repeated."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the alias even from a better or an incomparable version.")
    ] = False,
    name: Annotated[str, typer.Option(metavar="NAME", help="The registered model.")] = "t5vqvae",
    state: State = None,
) -> int:
    """Test the best trial of a search and register it as a model.

    Exit status 0: it is the champion; 1: it is the challenger.
    """
    paths = StudyPaths.existing(state_dir(state), study)
    from tune.promote import CHALLENGER, shown
    from tune.promote import promote as run
    from tune.promotion.gate import Gate

    outcome = run(paths, registered_name=name, gates=[Gate.parse(text) for text in gate or ()], replace=replace)
    print("\n".join(shown(outcome)))
    return 0 if outcome.alias != CHALLENGER else 1


@app.command(cls=Command)
def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search or an ablation.")],
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to; default: report/ of the study.")
    ] = None,
    state: State = None,
) -> None:
    """Write the report of a search or an ablation."""
    paths = StudyPaths.existing(state_dir(state), study, ablations=True)
    from tune.report.build import write_report

    for path in write_report(paths, into or paths.root / "report"):
        print(path)


@app.command(cls=Command)
def trials(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search.")], state: State = None
) -> None:
    """List the ended trials of a search."""
    paths = StudyPaths.existing(state_dir(state), study)
    from rich.console import Console

    from tune.monitor.board import Board, Row
    from tune.records.ranking import best
    from tune.records.record import read_records
    from tune.spec.judging import StudyHeader

    header, records = StudyHeader.read(paths.spec), read_records(paths.trials)
    board = Board(study, [objective.metric for objective in header.objectives], None, Console())
    winner = best(records, header)
    board.best = winner.number if winner else None
    board.rows = {r.number: Row(r.number, r.overrides, r.status, r.metrics, r.seconds) for r in records}
    board.console.print(board.table(limit=None))


@data.command(cls=Command)
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a corpus, as `t5vqvae data list` prints it.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Folder that has it; default: download it.")
    ] = None,
    state: State = None,
) -> None:
    """Put a public corpus into the cache and check it."""
    from t5vqvae.data.corpora.public import fetch

    folder = fetch(name, state_dir(state) / "cache", source)
    typer.echo(f"{name} is in {folder}")


@data.command("list", cls=Command)
def _list() -> None:
    """List the public corpora with origin and licence."""
    from t5vqvae.data.corpora.sources import SOURCES

    for name, source in SOURCES.items():
        typer.echo(f"{name}: {source.origin}; {source.licence}")


def _run_spec(words: list[str] | None) -> RunSpec:
    """Returns the defaults, changed by a YAML file if the first word is one, then by the other words."""
    words, values = list(words or []), {}
    if words and "=" not in words[0]:
        file = Path(words.pop(0))
        if not file.is_file():
            raise SettingError(f"{file} is no file; give a YAML file of settings or dotted.path=value words")
        values = flatten(read_yaml(file, "the settings of a run"))
    overrides = parse_words(words)
    with known_settings() as known:
        known.refuse_unknown({**values, **overrides}, values)
        from t5vqvae.spec.run import RunSpec

        return RunSpec().with_overrides(values).with_overrides(overrides)


def _search_spec(words: list[str], trials: str | None, state: Path | None) -> SearchSpec:
    """Returns the search that a command line names; `trials` extends its budget."""
    study = words.pop(0) if words and "=" not in words[0] else QUICKSTART
    with known_settings() as known:
        known.refuse_unknown_words(SEARCH, read_study(study, STUDIES), words)
        from tune.records.record import read_records
        from tune.spec.search_spec import SearchSpec

        spec = SearchSpec.load(study, words)
    if trials is None:
        return spec
    paths = StudyPaths(state_dir(state), spec.name)
    earlier = SearchSpec.read(paths.spec).budget if paths.spec.exists() else spec.budget
    number = earlier.extended(trials, len(read_records(paths.trials)))
    return SearchSpec.parse({**spec.as_dict(), "budget": {**spec.budget.as_dict(), "trials": number}})


def _ablation_spec(study: str, words: list[str]) -> AblationSpec:
    """Returns the ablation that a command line names."""
    with known_settings() as known:
        known.refuse_unknown_words(ABLATION, read_study(study, ABLATIONS), words)
        from tune.ablation.ablation_spec import AblationSpec

        return AblationSpec.load(study, words)


def _report_stop(reason: str | None) -> bool:
    """Prints why a study stopped early, and returns whether a signal was the reason."""
    if reason is None:
        return False
    print(f"stopped because {reason}; run the same command again to resume")
    return reason.startswith("it received")


if __name__ == "__main__":
    sys.exit(main())
