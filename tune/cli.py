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

from t5vqvae.config.paths import absolute_address
from t5vqvae.disk import writable
from t5vqvae.errors import SettingError
from t5vqvae.stages import shown, stage
from tune.command_line import Command, DryRun, Fetch, Group, RunWords, State, Version, words_argument, writable_state
from tune.operations.command_specs import ablation_spec, run_spec, search_spec
from tune.operations.commands import app as operations
from tune.operations.options import Candidates, FreshSeeds, Gates, Guards, PushToHub
from tune.operations.promotion_commands import push_promoted
from tune.operations.search_end import after_promotion, last_lines, written_report
from tune.process import NOTHING_WORKED, STOPPED
from tune.records.study_paths import StudyPaths, state_dir
from tune.spec.study_file import ABLATIONS, STUDIES, studies_in

if TYPE_CHECKING:
    from tune.records.copies import StudyCopies

OPTIONS: Any = {"no_args_is_help": True, "add_completion": False, "rich_markup_mode": None}
app = typer.Typer(cls=Group, pretty_exceptions_enable=False, **OPTIONS)
data = typer.Typer(cls=Group, help="Download public corpora.", **OPTIONS)
app.add_typer(data, name="data")
app.add_typer(operations)


@app.callback()
def _root(context: typer.Context, version: Version = False) -> None:
    """Train, search and ablate text autoencoders with discrete bottlenecks."""
    context.with_resource(shown())


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
    spec, state = run_spec(words), writable_state(state)
    if into is not None:
        writable(into, "--into {} cannot be written: {}; name another folder")
    from t5vqvae.runs.in_process import run_here

    return 0 if run_here(spec, into, state) else NOTHING_WORKED


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
        typer.echo(yaml.safe_dump(run_spec(words).as_dict(), sort_keys=False), nl=False)
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
    spec = search_spec(list(words or []), trials, state)
    if dry_run:
        from tune.sampling.dry_run import dry_run as plan
        from tune.search import will_learn

        paths = StudyPaths(state_dir(state), spec.name)
        print(plan(spec, ended=paths.ended, learns=will_learn(spec, paths, warm_start)))
        return 0
    from tune.search import search as run

    home = writable_state(state)
    before = len(StudyPaths(home, spec.name).ended)
    result = run(spec, state=home, warm_start=warm_start)
    if _report_stop(result.stopped):
        return STOPPED
    if result.records:
        page = result.report or written_report(StudyPaths(home, spec.name), anew=len(result.records) > before)
        print("\n".join(last_lines(spec, result, before, page, state)))
    worked = [record for record in result.records if record.status in ("completed", "pruned")]
    return 0 if worked or not result.records else NOTHING_WORKED


@app.command(cls=Command)
def ablate(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help=f"A YAML file, or one of {', '.join(studies_in(ABLATIONS))}.")
    ],
    words: Annotated[list[str] | None, words_argument("", "Settings that replace those of the study.")] = None,
    dry_run: DryRun = False,
    brought: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="runs.parquet of a report, whose runs are not trained again."),
    ] = None,
    state: State = None,
) -> int:
    """Run an ablation on Ray, or resume it.

    Exit status 1: no run worked; 130: stopped by Ctrl-C or SIGTERM.
    """
    spec = ablation_spec(study, list(words or []))
    if dry_run and brought is not None:
        from tune.ablation.brought_runs import BroughtRuns

        print(f"{BroughtRuns(brought).note}; the plan below counts them as if they were trained", file=sys.stderr)
    if dry_run:
        from tune.ablation.baseline import asked_base
        from tune.ablation.plan import dry_run as plan
        from tune.records.study_tracker import tracker_of

        paths = StudyPaths(state_dir(state), spec.name)
        print(plan(spec, asked_base(spec, paths, tracker_of(spec, paths))).markdown())
        return 0
    from tune.ablate import ablate as run

    result = run(spec, state=writable_state(state), brought=brought)
    print(result.report.markdown())
    by_signal = _report_stop(result.stopped)
    print(f"report: {result.files[0]}")
    if by_signal:
        return STOPPED
    return 0 if any(record.status == "completed" for record in result.records) else NOTHING_WORKED


@app.command(cls=Command)
def promote(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search.")],
    gate: Gates = None,
    anyway: Annotated[
        bool, typer.Option("--promote", "--replace", help="Take the alias even where the comparison does not give it.")
    ] = False,
    guard: Guards = None,
    notify: Annotated[
        str | None, typer.Option(metavar="URL", help="POST a signed event there when the alias moved.")
    ] = None,
    on_promote: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Run it when the alias moved; the event is its input.")
    ] = None,
    candidates: Candidates = None,
    fresh_seeds: FreshSeeds = None,
    push_to_hub: PushToHub = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="The registered model.")] = "t5vqvae",
    fetch: Fetch = None,
    state: State = None,
) -> int:
    """Test the best trial of a search and register it as a model.

    The section `promotion` of the study's file holds the rules. Exit status 0: it is the champion; 1: it is the
    challenger.
    """
    if not name.strip() or set(name) & set("/:"):
        raise SettingError(f"--name {name!r} is no name of a registered model; write one without '/' and ':'")
    copies = None if fetch is None else _fetched(study, fetch, state)
    paths = StudyPaths.existing(state_dir(state), study)
    from tune.promotion.gate import Gate

    gates = [Gate.parse(text) for text in gate or ()]
    from tune import promote as promotion
    from tune.promotion.announcements import Receivers
    from tune.promotion.champion import CHALLENGER
    from tune.promotion.hub_upload import refuse_target
    from tune.promotion.outcome import Wishes
    from tune.promotion.outcome import shown as shown_promotion
    from tune.spec.search_spec import SearchSpec

    rules = SearchSpec.read(paths.spec).promotion.with_guards(list(guard or ()))
    rules = rules.with_candidates(candidates, fresh_seeds)
    if push_to_hub is not None:
        refuse_target(push_to_hub)
    wishes = Wishes(gates, rules, anyway, Receivers(notify, on_promote))
    outcome = promotion.promote(paths, registered_name=name, wishes=wishes, copies=copies)
    print("\n".join([*shown_promotion(outcome), *after_promotion(outcome.model_uri, state)]))
    if push_to_hub is not None:
        print(push_promoted(outcome, paths, name, push_to_hub, state))
    return 0 if outcome.alias != CHALLENGER else 1


@app.command(cls=Command)
def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search or an ablation.")],
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to; default: report/ of the study.")
    ] = None,
    light: Annotated[
        bool, typer.Option("--light", help="Pages of kilobytes, for a repository; their figures need the internet.")
    ] = False,
    fetch: Fetch = None,
    state: State = None,
) -> None:
    """Write the report of a search or an ablation."""
    copies = None if fetch is None else _fetched(study, fetch, state)
    paths = StudyPaths.existing(state_dir(state), study, ablations=True)
    from tune.report.build import write_report

    with stage("writing the report"):
        files = write_report(paths, into or paths.root / "report", copies, light=light)
    for path in files:
        print(path)


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

    with stage(f"fetching {name}", unit="bytes") as now:
        cache = writable_state(state) / "cache"
        folder = fetch(name, cache, source, progress=lambda file, done, of: now.set(done, of, note=file))
    typer.echo(f"{name} is in {folder}")


@data.command("list", cls=Command)
def _list() -> None:
    """List the public corpora with origin and licence."""
    from t5vqvae.data.corpora.sources import SOURCES

    for name, source in SOURCES.items():
        typer.echo(f"{name}: {source.origin}; {source.licence}")


def _fetched(study: str, address: str, state: Path | None) -> StudyCopies:
    """Fetches a study from an address into the state folder."""
    if study in ("", ".", "..") or "/" in study:
        raise SettingError(f"STUDY: {study!r} is no study's name; give the name, and the address to --fetch")
    from tune.records.fetching import fetch

    return fetch(StudyPaths(writable_state(state), study), absolute_address(address))


def _report_stop(reason: str | None) -> bool:
    """Prints why a study stopped early, and returns whether a signal was the reason."""
    if reason is None:
        return False
    print(f"stopped because {reason}; run the same command again to resume")
    return reason.startswith("it received")


if __name__ == "__main__":
    sys.exit(main())
