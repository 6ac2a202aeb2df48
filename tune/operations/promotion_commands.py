"""The command that takes a promotion back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tune.command_line import Command, Group, State
from tune.records.study_paths import state_dir
from tune.records.study_tracker import tracking_uri

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
