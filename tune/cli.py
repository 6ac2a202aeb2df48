"""The command `t5vqvae`: thin over the modules, and quick to answer `--help` because it imports them when needed.

Errors of the user come out as one line on stderr and exit status 2. Settings are words `dotted.path=value`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from t5vqvae.errors import SettingError, UserError
from tune.process import end_without_search
from tune.records.study_paths import StudyPaths, state_dir

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec


class _Commands(TyperGroup):
    """Turns a user's error into one line."""

    def invoke(self, ctx: Any) -> Any:
        end_without_search()
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Search and ablate text bottlenecks.",
)
data = typer.Typer(no_args_is_help=True, help="Public corpora.")
app.add_typer(data, name="data")

Words = Annotated[
    list[str] | None, typer.Argument(help="a YAML file of settings (at most one), then dotted.path=value words")
]
State = Annotated[Path | None, typer.Option(help="state folder; default: $T5VQVAE_STATE, or var/ of the project")]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def train(
    words: Words = None,
    into: Annotated[Path | None, typer.Option(help="folder of checkpoints; default: <state>/runs/<spec>")] = None,
    state: State = None,
) -> None:
    """Train one model here, without Ray.

    The same command goes on where it was interrupted.
    """
    from t5vqvae.runs.in_process import run_here

    spec = _spec(words)
    if not run_here(spec, into, state_dir(state)):
        raise typer.Exit(1)


@app.command()
def config(
    words: Words = None,
    docs: Annotated[bool, typer.Option("--docs", help="list every setting instead, with range and meaning")] = False,
) -> None:
    """Print a run's resolved spec, or all settings.

    The spec is YAML, and `t5vqvae train FILE` reads it.
    """
    import yaml

    if not docs:
        typer.echo(yaml.safe_dump(_spec(words).as_dict(), sort_keys=False), nl=False)
        return
    from t5vqvae.config.describe import settings
    from t5vqvae.spec.run import RunSpec

    for setting in settings(RunSpec):
        only = f" [{setting.variant}]" if setting.variant else ""
        rule = f"  ({setting.rule})" if setting.rule else ""
        typer.echo(f"{setting.path}={setting.default}{only}{rule}{f'  {setting.doc}' if setting.doc else ''}")


@app.command(context_settings=PASS_ON)
def search(ctx: typer.Context) -> None:
    """Search a study on Ray; `search --help` for more.

    `search [STUDY] [dotted.path=value ...] [--trials N|+N] [--from STUDY] [--dry-run]`
    """
    _pass_on("tune.search", ctx.args)


@app.command(context_settings=PASS_ON)
def ablate(ctx: typer.Context) -> None:
    """Run an ablation study on Ray."""
    _pass_on("tune.ablate", ctx.args)


@app.command(context_settings=PASS_ON)
def promote(ctx: typer.Context) -> None:
    """Test and register the best trial of a study."""
    _pass_on("tune.promote", ctx.args)


@app.command(context_settings=PASS_ON)
def report(ctx: typer.Context) -> None:
    """Write the report of a study."""
    _pass_on("tune.report", ctx.args)


@app.command()
def trials(study: Annotated[str, typer.Argument(help="name of the study")], state: State = None) -> None:
    """List the ended trials of a study."""
    from rich.console import Console

    from tune.monitor.board import Board, Row
    from tune.records.ranking import best
    from tune.records.record import read_records
    from tune.spec.search_spec import SearchSpec

    paths = StudyPaths(state_dir(state), study)
    if not paths.spec.exists():
        known = sorted(path.parent.name for path in paths.root.parent.glob("*/study.json"))
        raise SettingError(f"there is no study {study} under {paths.root.parent}; known: {', '.join(known) or 'none'}")
    spec, records = SearchSpec.read(paths.spec), read_records(paths.trials)
    board = Board(study, [objective.metric for objective in spec.objectives], spec.budget.trials, Console())
    winner = best(records, spec)
    board.best = winner.number if winner else None
    board.rows = {r.number: Row(r.number, r.overrides, r.status, r.metrics, r.seconds) for r in records}
    board.console.print(board.table(limit=None))


@data.command()
def get(
    name: Annotated[str, typer.Argument(help="name of the corpus; `data list` names them")],
    source: Annotated[Path | None, typer.Option("--from", help="folder that has it; default: the network")] = None,
    state: State = None,
) -> None:
    """Put a public corpus into the cache, checked."""
    from t5vqvae.data.corpora.public import fetch

    folder = fetch(name, state_dir(state) / "cache", source)
    typer.echo(f"{name} is in {folder}")


@data.command("list")
def list_() -> None:
    """Name the public corpora, their origin and licence."""
    from t5vqvae.data.corpora.sources import SOURCES

    for name, source in SOURCES.items():
        typer.echo(f"{name}: {source.origin}; {source.licence}")


def _spec(words: list[str] | None) -> RunSpec:
    """Returns the defaults, changed by a YAML file if the first word is one, then by the words."""
    import yaml

    from t5vqvae.config import flatten, parse_words
    from t5vqvae.spec.run import RunSpec

    words = list(words or [])
    spec = RunSpec()
    if words and "=" not in words[0]:
        file = Path(words.pop(0))
        if not file.is_file():
            raise SettingError(f"{file} is no file; give a YAML file of settings or dotted.path=value words")
        spec = spec.with_overrides(flatten(yaml.safe_load(file.read_text()) or {}))
    return spec.with_overrides(parse_words(words))


def _pass_on(module: str, arguments: list[str]) -> None:
    """Gives the command line to a module's own `main`, which `python -m` would call too."""
    main = import_module(module).main
    raise typer.Exit(main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(app())
