"""The commands `up`, `down` and `env`: a Ray head and an MLflow server on this machine; see `cluster/local.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from tune.command_line import Command, Group, State, writable_state
from tune.operations.options import within
from tune.records.study_paths import state_dir

app = typer.Typer(cls=Group)
Port = Annotated[
    int | None, typer.Option(metavar="PORT", callback=within(1, 65535), help="Default: the usual one, or any free.")
]


@app.command(cls=Command)
def up(
    dashboard_port: Port = None,
    mlflow_port: Port = None,
    timeout: Annotated[float, typer.Option(metavar="S", callback=within(1), help="Seconds to wait for both.")] = 180,
    state: State = None,
) -> int:
    """Start Ray and MLflow on this machine.

    What runs already stays. Both listen on the loopback interface only. Exit status 1: one of them does not answer.
    """
    home = writable_state(state)
    from cluster import local

    local.start(home, dashboard_port, mlflow_port, timeout, local.BY_T5VQVAE)
    status = local.print_status(home)
    local.print_next(local.BY_T5VQVAE)
    return status


@app.command(cls=Command)
def down(state: State = None) -> None:
    """End what up has started, by process id."""
    from cluster import local

    local.stop(state_dir(state))


@app.command(cls=Command)
def env(state: State = None) -> int:
    """Print how a shell reaches them: eval "$(t5vqvae env)".

    Exit status 1: they do not run.
    """
    from cluster import local

    return local.print_exports(state_dir(state), local.BY_T5VQVAE)
