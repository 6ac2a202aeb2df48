"""The rows of a frame as requests, and their answers as the rows of another: the MLflow model, by operation.

A row has the fields of one request of `t5vqvae.latent.requests` about one sentence. What all rows agree in is a
parameter. An answer's row has the fields of `t5vqvae.latent.answers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from t5vqvae.data.corpora.columns import text_of
from t5vqvae.data.role_reader import RoleReader
from t5vqvae.errors import DataError, SettingError, UserError, did_you_mean
from t5vqvae.latent.answers import ANSWERS, answer
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.requests import REQUESTS, Decode, Encode, Item, Reconstruct, Request

if TYPE_CHECKING:
    import pandas as pd

Params = Mapping[str, Any]
Kind = Literal["text", "texts", "codes", "number"]

COLUMNS: dict[str, Kind] = {
    "text": "text",
    "codes": "codes",
    "prompts": "codes",
    "compare": "text",
    "source": "text",
    "goal": "text",
    "position": "number",
    "plus": "texts",
    "minus": "texts",
    "donor": "text",
    "words": "text",
    "replace": "text",
    "after": "text",
    "join": "text",
}
"""What the columns of the input hold."""
PARAMS = ("max_new_tokens", "unsent", "steps", "walk", "nearest", "codebook", "average")
"""The fields of requests that are parameters; the others are columns."""
_OF_SENTENCES: dict[type[Request], dict[str, str]] = {
    Reconstruct: {"texts": "text"},
    Encode: {"texts": "text"},
    Decode: {"codes": "codes", "prompts": "prompts", "compare": "compare"},
}
"""Fields that have a value for each sentence of a request, and the column with one sentence's."""


def request_of(params: Params) -> type[Request]:
    """Returns the class of the requests that parameters ask for.

    Raises:
        SettingError: If there is no such operation, or it has no use for one of the parameters.
    """
    name = params.get("operation", "reconstruct")
    if name not in REQUESTS:
        raise SettingError(f"operation={name} is unknown{did_you_mean(name, REQUESTS)}")
    for other, value in params.items():
        if other in PARAMS and other not in REQUESTS[name].model_fields and value != default_of(other):
            raise SettingError(f"{other}={value} is not for operation={name}; leave it out")
    return REQUESTS[name]


def _operation_of(request: type[Request]) -> str:
    """Returns the name of the operation that requests of a class ask for."""
    return next(name for name, each in REQUESTS.items() if each is request)


def default_of(param: str) -> Any:
    """Returns the default of a parameter: that of the first request that has it."""
    return next(each.model_fields[param].default for each in REQUESTS.values() if param in each.model_fields)


def columns_of(request: type[Request]) -> dict[str, str]:
    """Returns the columns of an operation, needed ones first, and the field of the request that each is for."""
    named = _OF_SENTENCES.get(request, {})
    fields = [name for name in request.model_fields if name not in PARAMS]
    fields.sort(key=lambda name: not request.model_fields[name].is_required())
    return {named.get(name, name): name for name in fields}


def answered(
    model: Any,
    frame: pd.DataFrame,
    request: type[Request],
    params: Params,
    batch_size: int,
    roles: RoleReader | None = None,
    pairs: bool = False,
) -> pd.DataFrame:
    """Returns a frame with an answer for every row; nulls where the first needed column has none.

    Args:
        model: Any text autoencoder.
        frame: The rows.
        request: The class of the requests, one a row.
        params: What all rows agree in.
        batch_size: Sentences that are computed together.
        roles: Reads the roles of texts, for a quantizer that was trained with them.
        pairs: Whether `A </s> B` is two texts, see `LatentSpace`.

    Raises:
        UserError: If a row cannot be answered; with its number, from 0.
    """
    import pandas as pd

    space = LatentSpace(model, batch_size=batch_size, roles=roles, pairs=pairs)
    requests = list(_requests(frame, request, params))
    found: list[Any] = [None] * len(requests)
    for shared, rows in _together(requests).items():
        items = [item for row in rows if (own := requests[row]) is not None for item in own.items()]
        for row, each in zip(rows, _answers(space, shared, items, rows), strict=True):
            found[row] = each
    return pd.DataFrame(
        {
            name: pd.Series([each and each[name] for each in found], index=frame.index, dtype=object)
            for name in ANSWERS[_operation_of(request)].__annotations__
        },
        index=frame.index,
    )


def _requests(frame: pd.DataFrame, request: type[Request], params: Params) -> Iterator[Request | None]:
    """Yields the request of every row; None where its first column is null."""
    columns = columns_of(request)
    first = next(iter(columns))
    if list(frame.columns).count(first) != 1:
        found = ", ".join(map(str, frame.columns)) or "no column"
        raise DataError(f"operation={_operation_of(request)} needs one column {first!r}; the input has {found}")
    own = {name: params[name] for name in PARAMS if name in params and name in request.model_fields}
    given = [name for name in columns if name in frame]
    for number, cells in enumerate(zip(*(frame[name] for name in given), strict=True)):
        try:
            row = {name: _value(COLUMNS[name], cell) for name, cell in zip(given, cells, strict=True)}
            yield None if row[first] is None else request.parse(own | dict(_fields(row, columns, request)))
        except UserError as error:
            raise _of_row(number, error) from None


def _fields(row: Mapping[str, Any], columns: Mapping[str, str], request: type[Request]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        field = columns[name]
        # MLflow's server takes no null for an array: an empty one stands for it
        missing = value is None or (value == [] and not request.model_fields[field].is_required())
        if not missing:
            yield field, [value] if field in _OF_SENTENCES.get(request, {}) else value


def _value(kind: Kind, cell: Any) -> Any:
    """Returns a cell as a request has it; None where it is missing."""
    if kind == "text":
        return text_of(cell)
    if isinstance(cell, np.ndarray | list | tuple):
        return _plain(cell)
    if isinstance(cell, dict | bytes):
        return cell  # the request refuses it, by its name
    if text_of(cell) is None:
        return None
    if kind == "number" and isinstance(cell, float | np.floating) and float(cell).is_integer():
        return int(cell)  # pandas and MLflow's server have floats in a column with a gap
    return cell.item() if isinstance(cell, np.generic) else cell


def _plain(values: Any) -> Any:
    if isinstance(values, np.ndarray | list | tuple):
        return [_plain(each) for each in values]
    return values.item() if isinstance(values, np.generic) else values


def _together(requests: Sequence[Request | None]) -> dict[Request, list[int]]:
    """Returns the rows that can be answered together, by what they share."""
    rows: dict[Request, list[int]] = {}
    for number, each in enumerate(requests):
        if each is not None:
            rows.setdefault(each.shared(), []).append(number)
    return rows


def _answers(space: LatentSpace, shared: Request, items: Sequence[Item], rows: Sequence[int]) -> list[Any]:
    """Returns the answers to items of a row each; an error names the row."""
    try:
        return answer(space, shared, items)
    except UserError as error:
        if len(rows) == 1:
            raise _of_row(rows[0], error) from None
    return [_answers(space, shared, [item], [row])[0] for item, row in zip(items, rows, strict=True)]


def _of_row(number: int, error: UserError) -> UserError:
    return type(error)(f"row {number}: {'; '.join(str(error).splitlines())}")
