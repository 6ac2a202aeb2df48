"""The command line of `python -m cluster.local`: its own words, and those of the search."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from t5vqvae.errors import SettingError

DESCRIPTION = "Starts, stops and uses an embedded Ray head and an embedded MLflow server on this machine."


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every command does: in one line."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{self.prog}: {message}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line: its own words, then those of tune/search.py after `--`."""
    parser = _Parser(prog="python -m cluster.local", description=DESCRIPTION)
    parser.add_argument("command", choices=["start", "search", "status", "env", "stop"])
    parser.add_argument("--state", type=Path, default=None, help="state folder; default: $T5VQVAE_STATE, or var/")
    parser.add_argument("--study", default="", help="first word of the search")
    parser.add_argument("--words", action="append", default=[], dest="texts", help="more words, split as a shell does")
    parser.add_argument("--dashboard-port", type=_port, default=None, help="default: 8265, or any free port")
    parser.add_argument("--mlflow-port", type=_port, default=None, help="default: 5000, or any free port")
    parser.add_argument("--timeout", type=_seconds, default=180.0, help="seconds to wait for both services")
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given.index("--") if "--" in given else len(given)  # argparse by itself finds words only next to the command
    return parser.parse_args(given[:own], argparse.Namespace(words=given[own + 1 :]))


def search_words(args: argparse.Namespace) -> list[str]:
    """Returns the words of the search, in order: the study, those after the dashes, those of texts.

    Raises:
        SettingError: If a text has an open quote.
    """
    words = [*([args.study] if args.study else []), *args.words]
    for text in args.texts:
        try:
            words += shlex.split(text)
        except ValueError:
            raise SettingError(f"{text} has a quote that is not closed") from None
    return words


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; ports are 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return float(text)
