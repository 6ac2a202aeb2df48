"""The MLflow model's answers to frames that are not all texts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from baseline_runs import build, tiny
from mlflow.exceptions import MlflowException

from t5vqvae.models.contract import reconstruct

SHORT = {"max_new_tokens": 4}


@pytest.fixture(scope="module", params=["ema", "none"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model as MLflow runs it, with codes and without."""
    from t5vqvae.tracking.pyfunc import _PyfuncModel

    served = _PyfuncModel()
    spec = tiny("t5vqvae", **{"quantizer.name": request.param})
    served.model = build(spec, tmp_path_factory.mktemp("cache")).eval()
    return served


def ask(served: Any, values: Any, **params: Any) -> pd.DataFrame:
    return served.predict(None, pd.DataFrame({"text": values}), {**SHORT, **params})


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, np.float64("nan")])
def test_a_missing_text_gives_nulls(missing: Any, served: Any) -> None:
    found = ask(served, pd.Series(["a cat", missing, "a dog"], dtype=object, index=[5, 7, 9]))
    alone = reconstruct(served.model, ["a cat", "a dog"], 4)
    assert found.index.tolist() == [5, 7, 9]
    assert found["reconstruction"].tolist() == [alone[0][0], None, alone[0][1]]
    codes = alone[1] or [None, None]
    assert found["codes"].tolist() == [codes[0], None, codes[1]]


def test_missing_texts_of_pandas_own_type_give_nulls_too(served: Any) -> None:
    found = ask(served, pd.Series([None, "a cat", None], dtype="string"), batch_size=1)
    assert [text is None for text in found["reconstruction"]] == [True, False, True]
    assert ask(served, pd.Series([None, None], dtype=object))["codes"].tolist() == [None, None]


def test_words_and_numbers_are_texts(served: Any) -> None:
    expected = reconstruct(served.model, ["nan", "None", "0", "false", "1.5"], 4)[0]
    found = ask(served, pd.Series(["nan", "None", 0, False, np.float32(1.5)], dtype=object))
    assert found["reconstruction"].tolist() == expected


def test_threads_that_ask_together_get_their_own_answers(served: Any) -> None:
    """MLflow's server predicts in threads; without a lock, one gets the codes of another."""
    texts = ["a cat", "a dog eats honey in a lake", "iron", "old bats and big bats eat eggs"]
    alone = {text: ask(served, [text] * size) for size, text in enumerate(texts, 1)}

    def asked(turn: int) -> bool:
        size = 1 + turn % len(texts)
        return ask(served, [texts[size - 1]] * size).equals(alone[texts[size - 1]])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(asked, range(80)))


def test_an_empty_frame_gives_an_empty_frame(served: Any) -> None:
    found = ask(served, pd.Series([], dtype=object))
    assert list(found.columns) == ["reconstruction", "codes"] and len(found) == 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"texts": ["a"]}), r"one column 'text'; it has texts"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), r"one column 'text'; it has text, text"),
        (pd.DataFrame(), r"one column 'text'; it has no column"),
        (["a"], r"must be a frame with one column 'text'; it has list"),
        (pd.DataFrame({"text": ["a", None, " "]}), r"row 2 of the column 'text' is empty; give at least one word"),
        (pd.DataFrame({"text": ["a", ["b"]]}), r"row 1 of the column 'text': a value of type list is no text"),
        (
            pd.DataFrame({"text": pd.Series(["a \ud83d"], dtype=object)}),
            r"row 0 of the column 'text': .*half a character",
        ),
    ],
)
def test_what_is_no_frame_of_texts_is_refused(frame: Any, message: str, served: Any) -> None:
    with pytest.raises(MlflowException, match=message) as refused:
        served.predict(None, frame, SHORT)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("params", [{"batch_size": 0}, {"max_new_tokens": -1}, {"batch_size": 1.5}])
def test_a_parameter_that_is_no_positive_number_is_refused(params: dict[str, Any], served: Any) -> None:
    name, value = next(iter(params.items()))
    with pytest.raises(MlflowException, match=rf"{name}={value} must be a whole number of at least 1"):
        ask(served, ["a"], **params)


def test_more_tokens_than_a_request_may_ask_for_are_refused(served: Any) -> None:
    with pytest.raises(MlflowException, match=r"max_new_tokens=513 must be at most 512; give less"):
        ask(served, ["a"], max_new_tokens=513)


def test_the_signature_lets_missing_texts_through(served: Any) -> None:
    from mlflow.models.utils import _enforce_schema

    from t5vqvae.tracking.signature import signature

    frame = pd.DataFrame({"text": pd.Series(["a cat", None, float("nan")], dtype=object)})
    checked = _enforce_schema(frame, signature(8).inputs)
    assert [text is None for text in ask(served, checked["text"])["reconstruction"]] == [False, True, True]


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with the entry "not sent", and prompts, as MLflow runs it."""
    from t5vqvae.tracking.pyfunc import _PyfuncModel

    sparse = _PyfuncModel()
    spec = tiny("t5vqvae", **{"train.code_dropout": 0.5, "model.prompts.num_prompts": 2})
    sparse.model = build(spec, tmp_path_factory.mktemp("cache")).eval()
    return sparse


def test_codes_that_are_left_out_are_minus_two(sparse: Any) -> None:
    texts = ["a cat", None, "a dog eats honey", "a"]
    whole, found = ask(sparse, texts), ask(sparse, texts, unsent=1e9)
    assert found["codes"][1] is None and found["reconstruction"][1] is None
    for row in (0, 2, 3):
        own = found["codes"][row]
        assert len(own) == len(whole["codes"][row]) and sum(code != [-2] for code in own) == 1, "one is always sent"
        assert all(code in ([-2], all_sent) for code, all_sent in zip(own, whole["codes"][row], strict=True))
    model, padded = sparse.model, torch.tensor([found["codes"][0]])
    prompts_BPQ = model.encode_prompts(["a cat"])
    assert model.decode(padded, 4, prompt_codes_BPQ=prompts_BPQ) == [found["reconstruction"][0]]
    assert ask(sparse, texts, unsent=None)["codes"].tolist() == whole["codes"].tolist()


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), "1", True])
def test_nats_that_are_no_positive_number_are_refused(value: Any, sparse: Any) -> None:
    with pytest.raises(MlflowException, match=r"unsent=.* must be a number of nats above 0"):
        ask(sparse, ["a"], unsent=value)


def test_a_model_without_the_entry_is_refused(served: Any) -> None:
    with pytest.raises(MlflowException, match=r"unsent=0.5 needs a model of train.code_dropout"):
        ask(served, ["a"], unsent=0.5)


def test_the_signature_takes_nats_and_their_absence() -> None:
    from mlflow.models.utils import _enforce_params_schema

    from t5vqvae.tracking.signature import signature

    schema = signature(8).params
    assert _enforce_params_schema({}, schema)["unsent"] is None
    assert _enforce_params_schema({"unsent": 0.5}, schema)["unsent"] == 0.5
