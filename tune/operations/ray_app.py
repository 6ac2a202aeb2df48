"""What Ray's own command starts: `serve run tune.operations.ray_app:application model=models:/t5vqvae@champion`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from t5vqvae.errors import SettingError, UserError
from t5vqvae.serving.ray_serve import deployment
from t5vqvae.serving.serve_settings import ServeSettings
from tune.operations.model_source import ModelSource
from tune.operations.serve_commands import TOKEN
from tune.records.study_paths import state_dir

if TYPE_CHECKING:
    from t5vqvae.serving.ray_serve import Application


class RayServed(ServeSettings):
    """The words behind the name of the application, or `args` of a file of Ray Serve.

    The token comes from the driver's environment, as for `t5vqvae serve`.
    """

    model: str = Field(description="As for t5vqvae serve.")
    state: Path | None = Field(None, description="The state folder, on every machine of the cluster.")
    texts: Path | None = Field(None, description="Sentences for the pages of codes.")
    replicas: int = Field(1, ge=1, description="Processes that answer.")


def application(values: dict[str, Any]) -> Application:
    """Returns the deployment of a model.

    Args:
        values: The settings of `RayServed`, as a command line or a file has them.

    Raises:
        UserError: If one of them is unknown or out of range, or there is no such model; `serve run` gets the error of
            a command line, which it prints in one line.
    """
    try:
        return _application(values)
    except UserError as error:
        raise _reported(error) from None


def _application(values: dict[str, Any]) -> Application:
    if "token" in values:  # all users of a machine read a command line, and Ray's dashboard shows a file's `args`
        raise SettingError(f"token cannot be given here, where others read it; set {TOKEN}")
    asked = RayServed.parse(values)
    own = {name: getattr(asked, name) for name in ServeSettings.model_fields}
    token = os.environ.get(TOKEN, "").strip() or None
    model = Path(asked.model).expanduser()
    source = ModelSource(  # a replica has another current folder
        str(model.resolve()) if model.exists() else asked.model,
        state_dir(asked.state),
        asked.sentences,
        None if asked.texts is None else asked.texts.expanduser().resolve(),
    )
    source.require()  # a replica would be started three times, and each time end in a traceback
    return deployment(source, ServeSettings.parse({**own, "token": token}), asked.replicas)


def _reported(error: UserError) -> Exception:
    """Returns an error as Ray's command prints one; the error itself where no command runs, as for a file's `args`."""
    import click

    if click.get_current_context(silent=True) is None:
        return error

    class Refused(click.ClickException):
        exit_code = error.status

    return Refused("; ".join(str(error).splitlines()))
