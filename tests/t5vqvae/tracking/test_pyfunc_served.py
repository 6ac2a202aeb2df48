"""`mlflow models serve` answers every operation over HTTP as the model's folder does by today's code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.models import Model
from mlflow_server import model_served
from promotions import save_checkpoint
from served import ask

from t5vqvae.latent.answers import answer
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.requests import REQUESTS, Request
from t5vqvae.models.contract import load_model
from t5vqvae.tracking import Tracker

TEXTS = ["x + y", "\\cos{x}"]
STEP = "step-00000002"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A store with a registered model, and the model's own folder in it."""
    state = tmp_path_factory.mktemp("registered")
    save_checkpoint(state, "checkpoint")
    tracker = Tracker(f"sqlite:///{state}/mlflow.db", "tiny")
    trial = tracker.open_trial(tracker.open_study({}, {"t5vqvae.study": "tiny"}), "tiny/0", "tiny/0", {}, {})
    registry = tracker.registry("t5vqvae")
    registry.register(tracker.log_model(trial, state / "checkpoint" / STEP), trial, "tiny/0", {}, "")
    registry.point("champion", "1")
    version = registry.by_alias("champion")
    assert version is not None
    return tracker.uri, registry.download(version, state / "copy")


@pytest.fixture(scope="module")
def url(registered: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("served") / "mlflow.log"
    with model_served("models:/t5vqvae@champion", registered[0], log) as address:
        yield f"{address}/invocations"


@pytest.fixture(scope="module")
def space(registered: tuple[str, Path]) -> LatentSpace:
    return LatentSpace(load_model(registered[1] / "artifacts" / "model"))


def found(space: LatentSpace, name: str, **fields: Any) -> list[Any]:
    request: Request = REQUESTS[name].parse({"max_new_tokens": 6, **fields})
    return json.loads(json.dumps(answer(space, request.shared(), request.items())))


def invoked(url: str, rows: list[dict[str, Any]], **params: Any) -> list[Any]:
    body = {"dataframe_records": rows, "params": {"max_new_tokens": 6, **params}}
    status, reply = ask(url, body, **{"Content-Type": "application/json"})
    assert status == 200, reply
    return reply["predictions"]


def test_texts_are_reconstructed_and_encoded_and_their_codes_decoded(url: str, space: LatentSpace) -> None:
    rows = [{"text": text} for text in TEXTS]
    expected = found(space, "reconstruct", texts=TEXTS)
    reconstructed = invoked(url, rows)
    assert reconstructed == [{"reconstruction": each["text"], "codes": each["codes"]} for each in expected]
    encoded = invoked(url, rows, operation="encode")
    assert encoded == found(space, "encode", texts=TEXTS)
    codes = [each["codes"] for each in encoded]
    decoded = invoked(url, [{"codes": each} for each in codes], operation="decode")
    assert decoded == found(space, "decode", codes=codes)
    assert [each["text"] for each in decoded] == [each["text"] for each in expected]


@pytest.mark.parametrize(
    ("name", "row", "params"),
    [
        ("interpolate", {"source": TEXTS[0], "goal": TEXTS[1]}, {"steps": 3}),
        ("interpolate", {"source": TEXTS[0], "goal": "x - y"}, {"steps": 3, "walk": True}),
        ("traverse", {"text": TEXTS[0], "position": 1}, {"nearest": 3}),
        ("arithmetic", {"text": TEXTS[0], "plus": [TEXTS[1]], "minus": ["x"]}, {"average": True}),
        ("splice", {"text": TEXTS[0], "donor": "z - y", "words": "z", "replace": "x"}, {}),
    ],
)
def test_an_operation_on_codes_answers(
    name: str, row: dict[str, Any], params: dict[str, Any], url: str, space: LatentSpace
) -> None:
    assert invoked(url, [row], operation=name, **params) == found(space, name, **row, **params)


@pytest.mark.parametrize("positions", [[2, 3], [1.0, None]])
def test_a_frame_of_whole_positions_is_answered(
    positions: list[float | None], registered: tuple[str, Path], space: LatentSpace
) -> None:
    texts = ["x + y + z", "x - y + z"]
    frame = pd.DataFrame({"text": texts, "position": positions})
    params = {"operation": "traverse", "nearest": 3, "max_new_tokens": 6}
    answered = mlflow.pyfunc.load_model(str(registered[1])).predict(frame, params=params)
    asked = zip(texts, positions, strict=True)
    expected = [found(space, "traverse", text=text, position=int(at or 0), nearest=3)[0] for text, at in asked]
    assert answered["code"].tolist() == [each["code"] for each in expected]
    assert answered["swaps"].tolist() == [each["swaps"] for each in expected]


def test_a_wrong_row_is_refused_with_its_reason_and_without_a_traceback(url: str) -> None:
    body = {"dataframe_records": [{"text": "x", "position": 99}], "params": {"operation": "traverse"}}
    status, reply = ask(url, body, **{"Content-Type": "application/json"})
    assert status == 400 and reply["error_code"] == "INVALID_PARAMETER_VALUE"
    assert reply["message"].endswith("Error: row 0: position=99 is none of 'x': it has 2, 0 to 1")
    assert "Traceback" not in json.dumps(reply)


def test_the_model_s_metadata_documents_every_operation(registered: tuple[str, Path]) -> None:
    documented = Model.load(str(registered[1])).metadata["operations"]
    assert set(documented) == set(REQUESTS) and documented["splice"]["columns"]["donor"].startswith("needed; ")
