"""The commands `interpolate`, `traverse` and `walk`: rows of sentences that change step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t5vqvae.errors import SettingError
from tune.command_line import Command, Group, State
from tune.operations.opened import lines_of, open_model, positions_of_role
from tune.operations.options import Codebook, Form, Longest, Model, Output, Position, Text, latent_column
from tune.operations.printed_rows import UNMARKED, PrintedRow, Rows

app = typer.Typer(cls=Group)


@app.command(cls=Command)
def interpolate(
    model: Model,
    source: Annotated[str | None, typer.Argument(metavar="[A]", help="The first sentence.")] = None,
    goal: Annotated[str | None, typer.Argument(metavar="[B]", help="The last sentence.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Pairs of sentences instead, one a line, with a tab between.")
    ] = None,
    walk: Annotated[bool, typer.Option("--walk", help="Walk through the codebook, not straight.")] = False,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps, both ends included.")] = 11,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Print the sentences on the path between two sentences."""
    if pairs is not None and source is None:
        wanted = _pairs(pairs)
    elif pairs is None and source is not None and goal is not None:
        wanted = [(source, goal)]
    else:
        raise SettingError("interpolate takes two sentences, A and B, or --pairs FILE; give one of these")
    if steps < 2:
        raise SettingError(f"--steps {steps} must be at least 2: both ends belong to a path")
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent.interpolation import interpolate as between
    from t5vqvae.latent.interpolation import share_changing_length

    paths = between(space, wanted, steps, walk)
    rows = [
        {
            "path": number,
            "t": step.t,
            "positions": len(step.latent_TX),
            **latent_column(step.latent_TX),
            "text": step.text,
        }
        for number, path in enumerate(paths)
        for step in path.steps
    ]
    compared = [text for path in paths for text in (path.source.text, *(step.text for step in path.steps[:-1]))]
    share, meet = share_changing_length(paths), " (words meet from the left)" if paths[0].source.by_token else ""
    notes = [
        f"{'codebook walk' if walk else 'linear'}; {len(paths)} path{'s' * (len(paths) > 1)}, {share:.0%} of them"
        f" between sentences of different length{meet}; marked: changed since the row above,"
        f" in the first row of a path since the given sentence; {UNMARKED}",
    ]
    Rows(rows, notes, compared).write(form, output)


@app.command(cls=Command)
def traverse(
    model: Model,
    text: Text,
    position: Position = None,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="All positions of a role of a corpus sentence.")
    ] = None,
    nearest: Annotated[int, typer.Option(metavar="N", min=1, help="Nearest codes to take.")] = 20,
    codebook: Codebook = 0,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Replace a code by its nearest ones and print the sentences."""
    if (position is None) == (role is None):
        raise SettingError("traverse needs --position N or --role ROLE, one of them")
    opened = open_model(model, state, max_new_tokens)
    opened.space.require_codes("a traversal")
    from t5vqvae.latent.traversal import traverse as swaps_at

    sentence = opened.space.encode([text])[0]
    places = [position] if position is not None else positions_of_role(opened, sentence, role or "")
    swaps = swaps_at(opened.space, sentence, places, nearest, codebook)
    plain = opened.space.reconstruct([sentence])[0]
    rows: list[PrintedRow] = []
    compared: list[str | None] = []
    for place in places:
        head = {"position": place, "token": sentence.tokens[place] or "</s>"}
        own = {"code": int(sentence.latent_TX[place, codebook]), "distance": 0.0}
        rows.append({**head, **own, **latent_column(sentence.latent_TX), "text": plain})
        changed = [swap for swap in swaps if swap.position == place]
        rows += [
            {**head, "code": each.code, "distance": each.distance, **latent_column(each.codes_TQ), "text": each.text}
            for each in changed
        ]
        compared += [text, *[plain] * len(changed)]
    notes = [f"marked: differs from the reconstruction, which is the first row of a position; {UNMARKED}"]
    Rows(rows, notes, compared).write(form, output)


@app.command(cls=Command)
def walk(
    model: Model,
    text: Text,
    position: Annotated[int, typer.Option(metavar="N", help="Position in the sentence, from 0; see encode.")],
    reach: Annotated[int, typer.Option(metavar="N", min=1, help="Corners in both directions.")] = 5,
    form: Form = None,
    output: Output = None,
    max_new_tokens: Longest = None,
    state: State = None,
) -> None:
    """Move a code along the curve of an sfvq model and print the sentences."""
    space = open_model(model, state, max_new_tokens).space
    from t5vqvae.latent.walk import walk_curve

    sentence = space.encode([text])[0]
    steps = walk_curve(space, sentence, position, reach)
    plain = next(step.text for step in steps if step.offset == 0)
    rows = [
        {
            "offset": step.offset,
            "code": step.code,
            "distance": step.distance,
            **latent_column(step.codes_TQ),
            "text": step.text,
        }
        for step in steps
    ]
    compared = [text if step.offset == 0 else plain for step in steps]
    Rows(rows, [f"marked: differs from the reconstruction, at offset 0; {UNMARKED}"], compared).write(form, output)


def _pairs(file: Path) -> list[tuple[str, str]]:
    """Returns the pairs of sentences in a file."""
    rows = [line.split("\t") for line in lines_of(file)]
    for number, row in enumerate(rows):
        if len(row) != 2:
            raise SettingError(f"{file}: sentence pair {number + 1} has {len(row)} parts; write A, a tab, and B")
    return [(source, goal) for source, goal in rows]
