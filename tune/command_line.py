"""What all commands of `t5vqvae` share: options, readable help, and every error of the user in one line."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from t5vqvae import __version__
from t5vqvae.disk import writable
from t5vqvae.errors import SettingError, did_you_mean
from tune.process import DEBUG, REFUSED, exit_status, printing_anything, skip_last_collection
from tune.records.study_paths import VARIABLE, state_dir

NAME = "t5vqvae"
DEBUG_HELP = ("--debug", "Show the traceback of an error.")
KEPT = {
    "train": "checkpoints are kept; the same command resumes from the last one",
    "search": "ended trials and the checkpoints of running ones are kept; the same command resumes",
    "ablate": "ended runs and the checkpoints of running ones are kept; the same command resumes",
    "promote": "ended tests, trained seeds and an alias printed as moved stay; the same command does the rest",
    "probe": "nothing was written; the same command starts again",
    "serve": "the server has ended; what it had accepted was answered",
    "playground": "the server has ended; permalinks work again when it runs",
    "report": "the report may be incomplete; the same command writes it again",
    "up": "what this command started was ended; run it again",
    "rerun": "checkpoints are kept; the same command resumes from the last one",
    "stop": "the study was asked to stop and may still be stopping; the same command waits again",
    "remove": "a study that was agreed on is gone from the list; t5vqvae studies shows what is left",
    "data": "nothing was put into the cache; the same command starts again",
}
"""What an interrupted command leaves, and how to resume it."""
_PYDANTIC = re.compile(r"Input should be (.*?)(?:, unable to parse .*)?$")
"""How pydantic says why it refuses a word."""
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""What Typer raises for a command line that it cannot parse; it exports only this class's child."""


def words_argument(metavar: str, help: str) -> Any:
    """Declares the words of a command line: `metavar`, then any number of `path=value`."""
    return typer.Argument(metavar=f"{metavar}[path=value]...", help=help, show_default=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


RunWords = Annotated[
    list[str] | None,
    words_argument(
        "[FILE.yaml] ", "A YAML file of settings, then settings that replace its own, such as train.max_steps=500."
    ),
]
State = Annotated[
    Path | None, typer.Option(metavar="DIR", help="State folder; default: $T5VQVAE_STATE or the project's var/.")
]
Fetch = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Fetch the study from where another machine copied it (retention.copy_to), then work."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would run and for how long, and exit.")]
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


def writable_state(given: Path | None) -> Path:
    """Returns the state folder of a command that writes into it; creates the folder.

    Raises:
        SettingError: If nothing can be written there.
    """
    said = "--state" if given else VARIABLE if os.environ.get(VARIABLE) else "the state folder"
    return writable(state_dir(given), f"{said}={{}} cannot be written: {{}}; name another folder by --state")


class Command(TyperCommand):
    """A command whose help shows its arguments as they are written, without types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(param.metavar for param in self._arguments(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        records = [param.get_help_record(ctx) for param in self.get_params(ctx) if param.param_type_name == "option"]
        arguments = [(param.metavar, param.help) for param in self._arguments(ctx)]
        options = [*(record for record in records if record), DEBUG_HELP]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _arguments(self, ctx: Any) -> list[Any]:
        return [param for param in self.get_params(ctx) if param.param_type_name == "argument"]


class Group(TyperGroup):
    """A command with subcommands, which reports errors in one line and ends with the status that they return."""

    _kept = ""

    def main(self, args: Any = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        printing_anything()
        words = list(sys.argv[1:] if args is None else args)
        if "--debug" in words:  # of every command, in any place
            os.environ[DEBUG] = "1"
        named = next((word for word in words if not word.startswith("-")), "")
        self._kept = KEPT.get(named, "nothing was changed")
        try:
            extra |= {"prog_name": NAME, "standalone_mode": False}
            status = super().main([word for word in words if word != "--debug"], *rest, **extra)
        except USAGE_ERROR as error:
            typer.echo(_one_line(error), err=True)
            status = REFUSED
        if standalone_mode:
            sys.exit(status)
        return status

    def invoke(self, ctx: Any) -> int:
        if ctx.parent is not None:  # a group within a group: the outer one reports
            return super().invoke(ctx)
        skip_last_collection()
        return exit_status(lambda: super(Group, self).invoke(ctx) or 0, self._kept, (USAGE_ERROR, typer.Exit))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not args[0].startswith("-") and args[0] not in self.commands:
            raise SettingError(f"{ctx.command_path} has no command {args[0]}{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


def _one_line(error: Any) -> str:
    """Returns the error of a command line; where a command is missing, the help instead."""
    message, command = error.format_message(), error.ctx.command_path if error.ctx else NAME
    if "\n" in message:
        return message
    if hasattr(error, "possibilities"):
        options = [name for option in error.ctx.command.get_params(error.ctx) for name in option.opts if "--" in name]
        found = f"{command} has no option {error.option_name}{did_you_mean(error.option_name, options)}"
        has_words = any(each.param_type_name == "argument" for each in error.ctx.command.get_params(error.ctx))
        is_word = has_words and not error.option_name.startswith("--")
        return f"{found}; write -- before words that begin with -" if is_word else found
    message = _PYDANTIC.sub(r"it must be \1", message).replace("Value error, ", "")
    given = [repr(one["input"]) for one in error.__cause__.errors()] if hasattr(error.__cause__, "errors") else []
    told = f", not {given[0]}" if given and given[0] not in message else ""
    return f"{command}: {message[0].lower()}{message[1:].removesuffix('.')}{told}; see {command} --help"
