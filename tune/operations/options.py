"""What the commands of operations share: their arguments, and the form in which latents are printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t5vqvae.errors import SettingError
from tune.operations.opened import MODEL
from tune.operations.printed_rows import Format

if TYPE_CHECKING:
    from torch import Tensor

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="A sentence.")]
Form = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="FORM",
        help="table, json, csv or parquet; default: as FILE ends (.json, .csv, .parquet), else table.",
    ),
]
Output = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows to a file; default: print them.")]
Longest = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Tokens after which decoding stops; default: as in the model's evaluations."),
]
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
Gates = Annotated[
    list[str] | None,
    typer.Option(metavar="BOUND", help="A bound on a test metric, such as 'test/bleu >= 40'; may be repeated."),
]
Guards = Annotated[
    list[str] | None,
    typer.Option(metavar="GUARD", help="'METRIC MARGIN': how much worse it may become; may be repeated."),
]
Candidates = Annotated[
    str | None, typer.Option(metavar="K", help="Train the best K again, or all of the 'front'; new seeds choose.")
]
FreshSeeds = Annotated[int | None, typer.Option(metavar="N", help="New seeds that train each of the --candidates.")]
PushToHub = Annotated[
    str | None,
    typer.Option(metavar="OWNER/NAME", help="Upload the champion to the Hugging Face hub; private, if it is new."),
]


def within(low: float, high: float | None = None) -> Callable[[Any, Any], Any]:
    """Returns a callback of an option that refuses a number outside a range, with the number in its line."""

    def check(param: typer.CallbackParam, value: Any) -> Any:
        if value is not None and (value < low or (high is not None and value > high)):
            range_ = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
            raise SettingError(f"{param.opts[-1]} {value:g} must be {range_}")
        return value

    return check


def latent_column(latent_TX: Tensor) -> dict[str, Any]:
    """Returns the column `codes`; none for vectors."""
    return {} if latent_TX.is_floating_point() else {"codes": latent_TX.tolist()}
