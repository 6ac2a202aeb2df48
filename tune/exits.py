"""How a command ends: its exit status, and one line on stderr where it could not do what was asked."""

from __future__ import annotations

import sys
from collections.abc import Callable

from t5vqvae.errors import UserError

REFUSED, STOPPED = 2, 130
"""130 is what a shell says of a process that SIGINT ended."""


def exit_status(command: Callable[[], int]) -> int:
    """Runs a command and returns its own status, `REFUSED` for an error of the user's, `STOPPED` for Ctrl-C."""
    try:
        return command()
    except UserError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("stopped at once; the same command goes on", file=sys.stderr)
        return STOPPED
