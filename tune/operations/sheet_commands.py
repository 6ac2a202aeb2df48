"""The commands `sheet` and `agreement`: human ratings of interpolation paths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t5vqvae.errors import SettingError
from tune.command_line import Command, Group, State
from tune.operations.opened import MODEL
from tune.records.study_paths import state_dir

if TYPE_CHECKING:
    from tune.report.human_sheet import RatedPath

app = typer.Typer(cls=Group)


@app.command(cls=Command)
def sheet(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL)],
    into: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")],
    paths: Annotated[
        int, typer.Option(metavar="N", min=1, help="Paths of each model, the same sentences for all.")
    ] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sentences and the order.")] = 0,
    state: State = None,
) -> None:
    """Write a blind sheet for human raters of interpolation paths.

    Give raters sheet.csv and sheet.html; keep key.json, which says whose path an item is.
    """
    from tune.report.human_sheet import refuse_other_key, write_sheet

    refuse_other_key(into)  # before the paths, which take a while
    rated = [path for name in models for path in _paths_of(name, paths, seed, state)]
    print(*write_sheet(rated, into, seed), sep="\n")


@app.command(cls=Command)
def agreement(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that sheet wrote, with its key.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Filled copies of sheet.csv, one a rater.")],
) -> None:
    """Print how far human raters agree, and how they rate each model's paths."""
    from tune.report.human_sheet import agreement as found_in

    found = found_in(folder, files)
    alpha = (
        "undefined, all ratings of items with two raters are the same" if found.alpha is None else f"{found.alpha:.3f}"
    )
    print(f"Krippendorff's alpha (ordinal): {alpha}; {found.num_raters} raters, {found.num_items} items")
    for model, (mean, number) in found.by_model.items():
        print(f"{model}: mean rating {mean:.2f} over {number} paths")
    if found.correlation is not None:
        print(f"Spearman's correlation of rating and smoothness: {found.correlation:+.2f} over {found.num_items} items")


def _paths_of(name: str, number: int, seed: int, state: Path | None) -> list[RatedPath]:
    from dataclasses import replace

    from t5vqvae.measures.probing import probed_of
    from t5vqvae.measures.trajectories import smooth_paths
    from t5vqvae.spec.probe import ProbeSpec
    from tune.records.loading import loaded_model
    from tune.records.models import find_model
    from tune.report.human_sheet import RatedPath

    home = state_dir(state)
    found = find_model(name, home)
    probed = replace(
        probed_of(loaded_model(found.folder).eval(), found.spec, ProbeSpec(seed=seed), home / "cache"), num_paths=number
    )
    if probed.model.leaks:
        raise SettingError(f"{name}: its decoder reads more than latents, so it has no paths; leave it out")
    rows = zip(probed.paths, smooth_paths(probed), strict=True)
    return [RatedPath(name, [s.text for s in each.steps], path.smoothness, path.counts) for each, path in rows]
