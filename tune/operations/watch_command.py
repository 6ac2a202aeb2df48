"""The command `watch`: a study as one live page, from its records."""

from __future__ import annotations

from typing import Annotated

import typer

from t5vqvae.errors import SettingError
from t5vqvae.stages import hidden
from tune.command_line import Command, Group, State
from tune.operations.options import within
from tune.operations.study_commands import StudyName

app = typer.Typer(cls=Group)


@app.command(cls=Command)
def watch(
    study: StudyName,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", callback=within(1, 65535), help="Default: any free one.")
    ] = None,
    state: State = None,
) -> None:
    """Show a study as a live page.

    The page has the panels of the dashboards, from the records; Ctrl-C ends it.
    """
    from tune.monitor.watch_page import HOST, WatchedStudy, server_of

    watched = WatchedStudy(study, state)
    try:
        server = server_of(watched, port or 0)
    except OSError as error:
        raise SettingError(f"--port {port}: {error.strerror}; name another port, or none") from None
    with server, hidden():
        print(f"study {study}: http://{HOST}:{server.server_port}/", flush=True)
        print("Ctrl-C ends it", flush=True)
        server.serve_forever()
