"""A model whose quantizer reads roles answers as it was measured, or is neither served nor registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from promotions import save_checkpoint

from t5vqvae.errors import UserError
from t5vqvae.latent.answers import answer
from t5vqvae.latent.requests import REQUESTS
from t5vqvae.tracking import Tracker
from tune.operations.model_source import ModelSource

GRAMMAR = {"data.corpus.name": "grammar", "quantizer.name": "role", "quantizer.codebook_size": 64}
STEP = "step-00000002"


def checkpoint(state: Path, **overrides: Any) -> Path:
    save_checkpoint(state, "first", **{**GRAMMAR, **overrides})
    return state / "first" / STEP


class Context:
    """What MLflow gives a model that it loads."""

    def __init__(self, folder: Path) -> None:
        self.artifacts = {"model": str(folder / "model"), "spec": str(folder / "spec.json")}


def test_server_and_registered_model_answer_with_roles(tmp_path: Path) -> None:
    from t5vqvae.data.role_reader import stored_reader
    from t5vqvae.tracking.mlflow_model import require_roles
    from t5vqvae.tracking.pyfunc import _PyfuncModel

    folder = checkpoint(tmp_path, **{"data.corpus.version": 2})
    space = ModelSource(str(folder), tmp_path, 4).load("").space
    assert space.roles is not None
    stored = stored_reader(folder / "model", space.roles.corpus)
    assert stored is not None and list(stored.role_names) == list(space.roles.role_names)
    require_roles(folder)
    texts = list(space.roles.corpus.load(tmp_path / "cache").train[n].source for n in range(3))
    request = REQUESTS["reconstruct"].parse({"texts": texts, "max_new_tokens": 4})
    served = answer(space, request.shared(), request.items())
    assert [each["codes"] for each in served] == [each.latent_TX.tolist() for each in space.encode(texts)]
    model: Any = _PyfuncModel()
    model.load_context(Context(folder))
    for operation in ("reconstruct", "encode"):
        found = model.predict(None, pd.DataFrame({"text": texts}), {"operation": operation, "max_new_tokens": 4})
        assert found["codes"].tolist() == [each["codes"] for each in served]
    model.roles = None
    unlike = model.predict(None, pd.DataFrame({"text": texts}), {"max_new_tokens": 4})
    assert unlike["codes"].tolist() != [each["codes"] for each in served]


def test_roles_of_a_corpus_that_knows_none_of_new_texts_are_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, **{"data.corpus.version": 1})
    refused = "data.corpus.name=grammar knows none of a new text"
    with pytest.raises(UserError, match=refused) as error:
        ModelSource(str(folder), tmp_path, 4).load("")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=refused):
        Tracker(f"sqlite:///{tmp_path}/mlflow.db", "tiny").log_model("none", folder)
    with pytest.raises(UserError, match=r"reads roles and has no spec\.json to tell them"):
        (folder / "spec.json").unlink()
        ModelSource(str(folder / "model"), tmp_path, 4).load("")
