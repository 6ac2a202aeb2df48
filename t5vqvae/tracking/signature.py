"""The signature of the MLflow model: columns, parameters and what comes back, and the same in words, by operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t5vqvae.latent.answers import ANSWERS
from t5vqvae.latent.requests import MOST_TOKENS, REQUESTS, Request
from t5vqvae.tracking.frame_answers import COLUMNS, PARAMS, columns_of, default_of

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

BATCH_SIZE = 64


def signature(max_new_tokens: int) -> ModelSignature:
    """Returns the signature; every column is optional, because every operation has its own.

    Codes are positions x codebooks; -2 in all codebooks of a position that is not sent, which only the parameter
    `unsent` brings about.

    Args:
        max_new_tokens: Tokens of the longest text of its corpus; the default, bounded by what a request may ask for.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = _kinds()
    types = {bool: DataType.boolean, int: DataType.long, float: DataType.double}
    defaults = {name: default_of(name) for name in PARAMS} | {"max_new_tokens": min(max_new_tokens, MOST_TOKENS)}
    params = [
        ParamSpec("operation", DataType.string, "reconstruct"),
        ParamSpec("batch_size", DataType.long, BATCH_SIZE),
        *(ParamSpec(name, types.get(type(value), DataType.double), value) for name, value in defaults.items()),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(kinds[kind], name, required=False) for name, kind in COLUMNS.items()]),
        outputs=Schema([ColSpec(kind, name, required=False) for name, kind in _outputs(kinds).items()]),
        params=ParamSchema(params),
    )


def _kinds() -> dict[str, Any]:
    """Returns MLflow's type of each kind of column.

    A number has any type, and the request refuses what is none: MLflow takes no gap in a column of whole numbers
    (`long`), and no whole numbers of pandas in one of floats (`double`), except 0 and 1.
    """
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType, Array

    codes, places = Array(Array(DataType.long)), Array(DataType.long)
    return {
        "text": DataType.string,
        "texts": Array(DataType.string),
        "codes": codes,
        "number": AnyType(),
        "places": places,
    }


def _outputs(kinds: dict[str, Any]) -> dict[str, Any]:
    """Returns the columns of all answers: `reconstruction` and `codes`, then those of the other operations."""
    from mlflow.types import DataType
    from mlflow.types.schema import Array, Object, Property

    def rows(**fields: Any) -> Array:
        optional = {"codes": kinds["codes"], "text": kinds["text"], "changed": kinds["places"]}
        return Array(
            Object([Property(name, kind, required=name != "codes") for name, kind in (fields | optional).items()])
        )

    return {
        "reconstruction": kinds["text"],
        "codes": kinds["codes"],
        "tokens": kinds["texts"],
        "prompts": kinds["codes"],
        "text": kinds["text"],
        "plain": kinds["text"],
        "changed": kinds["places"],
        "token": kinds["text"],
        "code": DataType.long,
        "steps": rows(t=DataType.double),
        "swaps": rows(code=DataType.long, distance=DataType.double),
    }


def documentation() -> dict[str, Any]:
    """Returns what each operation does, takes and gives, for the metadata of the model."""
    return {name: _operation(name, request) for name, request in REQUESTS.items()}


def _operation(name: str, request: type[Request]) -> dict[str, Any]:
    fields = request.model_fields
    columns = {
        column: ("needed; " if fields[field].is_required() else "") + (fields[field].description or "")
        for column, field in columns_of(request).items()
    }
    params = {each: fields[each].description or "" for each in PARAMS if each in fields}
    gives = ["reconstruction", "codes"] if name == "reconstruct" else list(ANSWERS[name].__annotations__)
    return {"does": request.__doc__, "columns": columns, "params": params, "gives": gives}
