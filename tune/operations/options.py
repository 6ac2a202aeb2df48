"""What the commands of operations share: their arguments, and the form in which latents are printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune.operations.opened import MODEL
from tune.operations.printed_rows import Format

if TYPE_CHECKING:
    from torch import Tensor

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="A sentence.")]
Form = Annotated[Format, typer.Option("--format", metavar="FORM", help="table, json, csv or parquet.")]
Output = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows to a file; default: print them.")]
Longest = Annotated[int, typer.Option(metavar="N", min=1, help="Tokens after which decoding stops.")]
Unsent = Annotated[
    float | None,
    typer.Option(metavar="NATS", min=0, help="Leave out codes while the sentence's cross-entropy stays below NATS."),
]
Codebook = Annotated[int, typer.Option(metavar="N", help="Which of a position's codes, from 0.")]
Position = Annotated[int | None, typer.Option(metavar="N", help="Position in the sentence, from 0; see encode.")]
Texts = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Sentences, one a line; default: the model's training split.")
]
Sentences = Annotated[int, typer.Option(metavar="N", min=1, help="Most sentences to read.")]


def latent_column(latent_TX: Tensor) -> dict[str, Any]:
    """Returns the column `codes`; none for vectors."""
    return {} if latent_TX.is_floating_point() else {"codes": latent_TX.tolist()}
