"""The command `dashboard`: Optuna's own pages over a copy of a search."""

from __future__ import annotations

from typing import Annotated

import typer

from t5vqvae.stages import hidden
from tune.command_line import Command, Group, State
from tune.operations.options import within
from tune.records.study import Study
from tune.records.study_paths import StudyPaths, state_dir

app = typer.Typer(cls=Group)


@app.command(cls=Command)
def dashboard(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a search.")],
    port: Annotated[
        int | None, typer.Option(metavar="PORT", callback=within(1, 65535), help="Default: 8080, or any free one.")
    ] = None,
    state: State = None,
) -> None:
    """Show a search in Optuna's dashboard.

    The pages show a copy as the study is now; Ctrl-C ends them.
    """
    paths = StudyPaths.existing(state_dir(state), study)
    from tune.sampling.dashboard import HOST
    from tune.sampling.dashboard import dashboard as serve
    from tune.sampling.database import database_of
    from tune.spec.search_spec import SearchSpec

    objectives = Study.load(study, state).objectives
    source = database_of(SearchSpec.read(paths.spec), paths) or paths.storage
    with serve(source, study, port, objectives) as (server, number):
        page = f"http://{HOST}:{server.server_port}/dashboard/studies/0"
        print(f"a copy of study {study}, {number} trials: {page}", flush=True)
        print("Ctrl-C ends it; start it again to see later trials", flush=True)
        with hidden():
            server.serve_forever()
