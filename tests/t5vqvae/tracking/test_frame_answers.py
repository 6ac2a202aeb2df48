"""The MLflow model's operations, asked through its signature, of a model whose answers are known by hand."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_params_schema, _enforce_schema
from mlflow.pyfunc.scoring_server import infer_and_parse_data, predictions_to_json
from served import Spelled
from spelling_model import CODE, codes

from t5vqvae.latent.answers import ANSWERS, answer
from t5vqvae.latent.requests import REQUESTS
from t5vqvae.tracking.frame_answers import COLUMNS, PARAMS, columns_of
from t5vqvae.tracking.pyfunc import _PyfuncModel
from t5vqvae.tracking.signature import documentation, signature

Row = dict[str, Any]
SIGNATURE = signature(16)


@pytest.fixture(scope="module")
def spelling() -> _PyfuncModel:
    return of("vq")


def of(quantizer: str) -> _PyfuncModel:
    found = _PyfuncModel()
    found.model = Spelled(quantizer).load("1").space.model
    return found


def ask(model: _PyfuncModel, rows: list[Row], **params: Any) -> list[Row]:
    """What MLflow's server does with a body: JSON in, the signature's types, JSON out."""
    frame = infer_and_parse_data({"dataframe_records": json.loads(json.dumps(rows))}, SIGNATURE.inputs)
    return ask_frame(model, frame, **params)


def ask_frame(model: _PyfuncModel, frame: pd.DataFrame, **params: Any) -> list[Row]:
    """What MLflow does with a frame: the signature's types, and JSON out."""
    checked = _enforce_schema(frame, SIGNATURE.inputs)
    found = model.predict(None, checked, _enforce_params_schema(params, SIGNATURE.params))
    return json.loads(_written(found))["predictions"]


def _written(found: pd.DataFrame) -> str:
    from io import StringIO

    output = StringIO()
    predictions_to_json(found, output)
    return output.getvalue()


def spelled(words: str) -> list[list[int]]:
    return [[code] for code in codes(words)]


ASKED: dict[str, tuple[list[Row], list[Row]]] = {
    "reconstruct": (
        [{"text": "a bat eats"}, {"text": None}, {"text": "dog"}],
        [
            {"reconstruction": "a bat eats", "codes": spelled("a bat eats")},
            {"reconstruction": None, "codes": None},
            {"reconstruction": "dog", "codes": spelled("dog")},
        ],
    ),
    "encode": (
        [{"text": "a bat"}, {"text": "old dog eats"}],
        [
            {"tokens": ["a", "bat", ""], "codes": spelled("a bat"), "prompts": None},
            {"tokens": ["old", "dog", "eats", ""], "codes": spelled("old dog eats"), "prompts": None},
        ],
    ),
    "decode": (
        [{"codes": spelled("big dog"), "compare": "a dog"}, {"codes": spelled("cat")}],
        [{"text": "big dog", "changed": [0]}, {"text": "cat", "changed": None}],
    ),
    "interpolate": (
        [{"source": "a bat", "goal": "big bat"}],
        [
            {
                "steps": [
                    {"t": 0, "codes": spelled("a bat"), "text": "a bat", "changed": []},
                    {"t": 1, "codes": spelled("big bat"), "text": "big bat", "changed": [0]},
                ]
            }
        ],
    ),
    "traverse": (
        [{"text": "a bat", "position": 1}, {"text": None, "position": 0}],
        [
            {
                "text": "a bat",
                "token": "bat",
                "code": CODE["bat"],
                "swaps": [
                    {"code": 3, "distance": 1, "codes": spelled("a a"), "text": "a a", "changed": [1]},
                    {"code": 5, "distance": 1, "codes": spelled("a cat"), "text": "a cat", "changed": [1]},
                ],
            },
            dict.fromkeys(("text", "token", "code", "swaps")),
        ],
    ),
    "arithmetic": (
        [{"text": "a bat", "plus": ["a cat"], "minus": ["a bat"]}, {"text": "dog", "plus": None, "minus": []}],
        [
            {"plain": "a bat", "text": "a cat", "codes": spelled("a cat"), "changed": [1]},
            {"plain": "dog", "text": "dog", "codes": spelled("dog"), "changed": []},
        ],
    ),
    "splice": (
        [
            {"text": "a bat eats honey", "donor": "old dog", "words": "old dog", "replace": "bat"},
            {"text": "a bat", "donor": "big cat", "words": "cat", "join": "and"},
        ],
        [
            {
                "plain": "a bat eats honey",
                "text": "a old dog eats honey",
                "codes": spelled("a old dog eats honey"),
                "changed": [1, 2],
            },
            {"plain": "a bat", "text": "a bat and cat", "codes": spelled("a bat and cat"), "changed": [2, 3]},
        ],
    ),
}
TAKES: dict[str, Row] = {"interpolate": {"steps": 2}, "traverse": {"nearest": 2}}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_operation_answers_what_is_known_by_hand(name: str, spelling: _PyfuncModel) -> None:
    rows, expected = ASKED[name]
    assert ask(spelling, rows, operation=name, **TAKES.get(name, {})) == expected
    assert ask(spelling, rows, operation=name, batch_size=1, **TAKES.get(name, {})) == expected


def test_without_parameters_texts_are_reconstructed(spelling: _PyfuncModel) -> None:
    rows, expected = ASKED["reconstruct"]
    assert ask(spelling, rows) == expected


def test_a_frame_keeps_its_index(spelling: _PyfuncModel) -> None:
    frame = pd.DataFrame({"text": ["a", None, "dog"]}, index=[7, 5, 5])
    found = spelling.predict(None, frame, {"operation": "encode"})
    assert found.index.tolist() == [7, 5, 5] and found["codes"].tolist() == [spelled("a"), None, spelled("dog")]
    assert len(spelling.predict(None, frame[:0], {"operation": "encode"})) == 0


@pytest.mark.parametrize(
    ("name", "row", "optional"),
    [
        ("traverse", {"text": "a bat"}, {"position": 0}),
        ("traverse", {"text": "a bat"}, {"codes": []}),
        ("decode", {"codes": spelled("big dog")}, {"prompts": []}),
        ("arithmetic", {"text": "a bat"}, {"plus": [], "minus": []}),
    ],
)
def test_a_row_may_lack_what_is_optional(name: str, row: Row, optional: Row, spelling: _PyfuncModel) -> None:
    alone = ask(spelling, [row], operation=name)
    assert ask(spelling, [row | optional], operation=name) == alone
    if "position" in optional:
        assert ask(spelling, [row | {"position": 1}, row], operation=name)[1:] == alone


@pytest.mark.parametrize(
    ("positions", "tokens"),
    [
        (pd.Series([2, 3]), ["eats", "honey"]),
        (pd.Series([2, 3], dtype="uint8"), ["eats", "honey"]),
        (pd.Series([2.0, None]), ["eats", "a"]),
        (pd.Series([2, None], dtype="Int64"), ["eats", "a"]),
        (pd.Series([2, None], dtype=object), ["eats", "a"]),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pd.Series) else "",
)
def test_positions_are_whole_numbers_of_any_type_of_pandas(
    positions: pd.Series, tokens: list[str], spelling: _PyfuncModel
) -> None:
    frame = pd.DataFrame({"text": ["a bat eats honey"] * 2, "position": positions})
    assert [row["token"] for row in ask_frame(spelling, frame, operation="traverse")] == tokens


WRONG: list[tuple[list[Row], Row, str]] = [
    ([{"text": "a"}], {"operation": "encod"}, "operation=encod is unknown; did you mean encode?"),
    ([{"text": "a"}], {"operation": "encode", "steps": 3}, "steps=3 is not for operation=encode; leave it out"),
    ([{"text": "a"}], {"operation": "decode"}, "operation=decode needs one column 'codes'; the input has text"),
    ([{"text": "a"}, {"text": " "}], {"operation": "encode"}, "row 1: text 1 of 1 is empty; give at least one word"),
    ([{"text": "a"}], {"operation": "encode", "unsent": 1.0}, "row 0: unsent=1: the model was trained without code"),
    ([{"text": "a"}, {"text": "a", "donor": "b"}], {"operation": "splice"}, "row 0: donor is missing; .*words is miss"),
    ([{"text": "a", "donor": "dog", "words": "cat"}], {"operation": "splice"}, "row 0: 'cat' is not in 'dog'"),
    ([{"codes": spelled("a")}, {"codes": [[99]]}], {"operation": "decode"}, "row 1: .*has the code 99; codes are 0 to"),
    ([{"codes": [[1], [1, 2]]}], {"operation": "decode"}, "row 0: codes: every sentence needs positions with as many"),
    ([{"text": "a", "position": 9}], {"operation": "traverse"}, "row 0: position=9 is none of 'a'"),
    ([{"text": "a", "position": 0.5}], {"operation": "traverse"}, "row 0: position=0.5 must be a whole number"),
    ([{"text": "a", "position": [0]}], {"operation": "traverse"}, r"row 0: position=\[0\] must be a whole number"),
    ([{"text": "a", "position": {"a": 0}}], {"operation": "traverse"}, "row 0: position={.*} must be a whole number"),
    ([{"text": "a", "position": "b"}], {"operation": "traverse"}, "row 0: position='?b'? must be a whole number"),
    ([{"codes": []}], {"operation": "decode"}, "row 0: codes: every sentence needs positions with as many"),
    ([{"source": "a", "goal": "b"}], {"operation": "interpolate", "steps": 1}, "row 0: steps=1 must be at least 2"),
    ([{"text": "a"}], {"operation": "encode", "batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
    ([{"text": "a"}], {"operation": "encode", "max_new_tokens": 9000}, "row 0: max_new_tokens=9000 must be at least 1"),
]


@pytest.mark.parametrize(("rows", "params", "reason"), WRONG)
def test_what_is_wrong_is_one_line(rows: list[Row], params: Row, reason: str, spelling: _PyfuncModel) -> None:
    with pytest.raises(MlflowException) as refused:
        ask(spelling, rows, **params)
    assert re.search(reason, refused.value.message) and "\n" not in refused.value.message
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE" and refused.value.get_http_status_code() == 400


def test_a_model_without_codes_reconstructs_and_refuses_what_needs_them() -> None:
    plain = of("none")
    assert ask(plain, [{"text": "a bat"}]) == [{"reconstruction": "a bat", "codes": None}]
    assert ask(plain, ASKED["interpolate"][0], operation="interpolate", steps=2)[0]["steps"][1]["text"] == "big bat"
    with pytest.raises(MlflowException, match="row 0: quantizer none has no codes; encode needs them"):
        ask(plain, [{"text": "a"}], operation="encode")


@pytest.mark.parametrize("name", sorted(set(REQUESTS) - {"reconstruct"}))
def test_the_server_and_the_mlflow_model_answer_alike(name: str, spelling: _PyfuncModel) -> None:
    rows, _ = ASKED[name]
    row = rows[0]
    body = {field: [row[column]] if name in ("encode", "decode") else row[column]
            for column, field in columns_of(REQUESTS[name]).items() if column in row}  # fmt: skip
    request = REQUESTS[name].parse(body | TAKES.get(name, {}))
    [served] = answer(Spelled().load("1").space, request.shared(), request.items())
    assert ask(spelling, rows[:1], operation=name, **TAKES.get(name, {})) == [json.loads(json.dumps(served))]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_signature_and_the_documentation_have_every_field(name: str) -> None:
    request, described = REQUESTS[name], documentation()[name]
    assert {*columns_of(request).values(), *described["params"]} == set(request.model_fields)
    assert set(described["columns"]) <= set(SIGNATURE.inputs.input_names()) == set(COLUMNS)
    assert set(described["gives"]) <= set(SIGNATURE.outputs.input_names())
    assert {"operation", "batch_size", *PARAMS} == {each.name for each in SIGNATURE.params}
    assert all({**described["columns"], **described["params"]}.values()), "every field is described"
    written = (_PyfuncModel.predict.__doc__ or "").split(f"| `{name}` |")[1].partition("\n")[0]
    needed, optional, params, gives = (set(re.findall(r"`(\w+)`", cell)) for cell in written.split("|")[:4])
    assert needed == {each for each, text in described["columns"].items() if text.startswith("needed")}
    assert optional == set(described["columns"]) - needed and params == set(described["params"]) - {"max_new_tokens"}
    assert gives == ({"arithmetic"} if name == "splice" else set(described["gives"]))
    assert name == "reconstruct" or described["gives"] == list(ANSWERS[name].__annotations__)
