"""The commands on what was promoted: take the promotion back, and upload the model to the Hugging Face hub."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t5vqvae.errors import SettingError, UserError
from t5vqvae.redaction import redacted
from tune.command_line import Command, Group, State
from tune.operations.search_end import next_command
from tune.records.study_paths import StudyPaths, state_dir
from tune.records.study_tracker import VARIABLE, tracker_of, tracking_uri

if TYPE_CHECKING:
    from t5vqvae.tracking.server.model_registry import Registry, Version
    from tune.promotion.outcome import Promotion
    from tune.spec.search_spec import SearchSpec

OPTIONS: Any = {"no_args_is_help": True, "add_completion": False, "rich_markup_mode": None}
app = typer.Typer(cls=Group, **OPTIONS)


@app.command(cls=Command)
def rollback(
    name: Annotated[str, typer.Option(metavar="NAME", help="The registered model.")] = "t5vqvae",
    notify: Annotated[str | None, typer.Option(metavar="URL", help="POST a signed event there.")] = None,
    state: State = None,
) -> None:
    """Give the alias champion back to the version that held it before."""
    from t5vqvae.files import held
    from t5vqvae.tracking import Tracker
    from tune.promotion.announcements import Receivers, refuse_address
    from tune.promotion.champion import CHAMPION, roll_back

    home = state_dir(state)
    refuse_address(notify)
    tracker = Tracker(tracking_uri(home), "t5vqvae")
    tracker.check()
    lock = home / "promotions" / f"{name}.lock"
    with held(lock, f"a promotion to {name} is under way", "wait for it; both would move its aliases"):
        lost, number = roll_back(tracker.registry(name))
    print(f"version {number} of {name} is {CHAMPION} again; version {lost.version} was")
    event = {"event": "rolled_back", "model": name, "alias": CHAMPION, "version": number, "before": lost.version}
    for line in Receivers(notify).announce(event, home / "promotions" / "outbox"):
        print(line)


@app.command(cls=Command)
def push(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A repository of the hub; a new one is private.")],
    state: State = None,
) -> None:
    """Upload a registered model to the Hugging Face hub.

    Its Transformers folder, with its model card as README.md. The token is HF_TOKEN, or what `hf auth login` stored.
    """
    from tune.promotion.hub_upload import refuse_target
    from tune.records.models import registered_version

    if not model.startswith("models:/"):
        raise SettingError(f"{model} is not registered; `t5vqvae promote STUDY` registers it as models:/NAME/VERSION")
    refuse_target(repo)
    home = state_dir(state)
    print(_pushed(*registered_version(model, home), repo, home))


def push_promoted(outcome: Promotion, paths: StudyPaths, name: str, repo: str, state: Path | None) -> str:
    """Uploads the version that a promotion made champion; returns a line that says where it is, or why not.

    Raises:
        UserError: If the upload fails, with the command that does it: the promotion stands.
    """
    from tune.promotion.champion import CHALLENGER
    from tune.spec.search_spec import SearchSpec

    spec = SearchSpec.read(paths.spec)
    words = f"push models:/{name}/{outcome.version} {repo}"
    again = f"`{_server_of(spec, paths)}{next_command(words, state)}`"
    if outcome.alias == CHALLENGER:
        return f"not uploaded to {repo}, because it is the challenger; {again} does it anyway"
    registry = tracker_of(spec, paths).registry(name)
    try:
        return _pushed(registry, registry.versions()[outcome.version], repo, paths.state)
    except UserError as error:
        raise type(error)(f"{error}; the promotion stands, and {again} uploads it") from None


def _server_of(spec: SearchSpec, paths: StudyPaths) -> str:
    """Returns what a command needs in front to find the registry of a study whose file names another server."""
    uri = tracking_uri(paths.state, spec.tracking.uri)
    return "" if uri == tracking_uri(paths.state) else f"{VARIABLE}={shlex.quote(redacted(uri))} "


def _pushed(registry: Registry, version: Version, repo: str, home: Path) -> str:
    """Uploads a version; returns a line that says where it is."""
    from tune.promotion.hub_upload import push as upload
    from tune.promotion.model_card import hub_card
    from tune.records.models import downloaded_model

    found = downloaded_model(registry, version, home)
    address = upload(found.folder, hub_card(registry.description(version.version), found.spec, repo), repo)
    return f"version {version.version} of {registry.name} is uploaded: {address}"
