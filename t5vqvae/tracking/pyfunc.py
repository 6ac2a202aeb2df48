"""The MLflow model: operations on the codes of texts. MLflow copies this file into the model and runs it.

This is a "model from code": the artifact holds this source, the package's source and safetensors, and no pickle. To
try it:

```python
model = mlflow.pyfunc.load_model("models:/t5vqvae@champion")
model.predict(pandas.DataFrame({"text": ["x + y"]}), params={"max_new_tokens": 32})
model.predict(pandas.DataFrame({"source": ["x + y"], "goal": ["x"]}), params={"operation": "interpolate", "steps": 5})
```
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from t5vqvae.data.role_reader import RoleReader
    from t5vqvae.models.contract import TextAutoencoder

_Params = Mapping[str, Any]


class _PyfuncModel(PythonModel):
    """Answers the rows of a frame; the parameter `operation` names what they request.

    One call at a time: MLflow's server predicts in several threads, and a model keeps what its encoder saw last.
    """

    def __init__(self) -> None:
        self._computes = threading.Lock()
        self.roles: RoleReader | None = None
        self.pairs = False

    def load_context(self, context: PythonModelContext) -> None:
        """Loads weights and tokenizer, onto the GPU when there is one, what reads roles, and what its corpus gives."""
        import torch

        from t5vqvae.data.role_reader import stored_reader
        from t5vqvae.files import read_json
        from t5vqvae.models.contract import load_model
        from t5vqvae.spec.run import RunSpec

        device, folder = "cuda" if torch.cuda.is_available() else "cpu", Path(context.artifacts["model"])
        self.model = load_model(folder).to(device).eval()
        corpus = RunSpec.parse(read_json(Path(context.artifacts["spec"]))).data.corpus
        self.pairs = corpus.gives_pairs
        if self.model.quantizer.reads_roles:
            self.roles = stored_reader(folder, corpus)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: _Params | None = None
    ) -> pd.DataFrame:
        """Returns a frame with one row of answers a row; nulls where the first needed column has a null.

        | operation | needed columns | optional columns | parameters | columns of the answer |
        | --- | --- | --- | --- | --- |
        | `reconstruct` | `text` | | `unsent` | `reconstruction`, `codes` |
        | `encode` | `text` | | `unsent` | `tokens`, `codes`, `prompts` |
        | `decode` | `codes` | `prompts`, `compare` | | `text`, `changed` |
        | `interpolate` | `source`, `goal` | | `steps`, `walk` | `steps` |
        | `traverse` | `text` | `position`, `codes` | `nearest`, `codebook` | `text`, `token`, `code`, `swaps` |
        | `arithmetic` | `text` | `plus`, `minus` | `average` | `plain`, `text`, `codes`, `changed` |
        | `splice` | `text`, `donor`, `words` | `replace`, `after`, `join` | `unsent` | as for `arithmetic` |

        All take `max_new_tokens` and `batch_size`. `codes` is a list of positions, each with one code per codebook, -2
        in all of a position that is not sent; None for a model without codes. A row without a value of an optional
        column has a null; of `prompts`, `codes`, `plus` and `minus` it has `[]`, as MLflow's server wants it.
        In a text column of JSON or of Python's objects 0 is "0" and false is "false"; MLflow refuses one of numbers or
        booleans. What columns and parameters mean stands in the model's metadata, under `operations`.

        Args:
            context: Unused.
            model_input: A frame with the columns of the operation.
            params: `operation` (default `reconstruct`), `batch_size` (default 64), and what the operation takes.

        Raises:
            MlflowException: If a row, a column or a parameter is wrong; in one line.
        """
        from t5vqvae.errors import UserError

        try:
            with self._computes:
                return self._answered(model_input, params or {})
        except UserError as error:  # of others MLflow's server returns a traceback
            reason = "; ".join(str(error).splitlines())
            raise MlflowException(reason, error_code=INVALID_PARAMETER_VALUE) from None

    def _answered(self, frame: pd.DataFrame, params: _Params) -> pd.DataFrame:
        from t5vqvae.latent.requests import Reconstruct
        from t5vqvae.tracking.frame_answers import answered, request_of

        request, size = request_of(params), _positive(params, "batch_size")
        if request is Reconstruct:
            return self._reconstructed(frame, params, size)
        return answered(self.model, frame, request, params, size, self.roles, self.pairs)

    def _reconstructed(self, frame: pd.DataFrame, params: _Params, size: int) -> pd.DataFrame:
        """Reconstructs with any model, also one whose decoder reads more than its latents."""
        from t5vqvae.latent.requests import MOST_TOKENS

        texts, unsent = _texts(frame), _nats(params)
        max_new_tokens = _positive(params, "max_new_tokens", MOST_TOKENS)
        given = [place for place, text in enumerate(texts) if text is not None]
        rows: list[tuple[str | None, list[list[int]] | None]] = [(None, None)] * len(texts)
        for start in range(0, len(given), size):
            part = given[start : start + size]
            some = [texts[place] or "" for place in part]
            decoded, codes = _reconstruct(self.model, some, max_new_tokens, unsent, self.roles, self.pairs)
            found = zip(part, decoded, [None] * len(part) if codes is None else codes, strict=True)
            for place, text, own in found:
                rows[place] = text, own
        columns = {
            name: pd.Series([row[number] for row in rows], index=frame.index, dtype=object)
            for number, name in enumerate(("reconstruction", "codes"))
        }
        return pd.DataFrame(columns, index=frame.index)


def _texts(frame: pd.DataFrame) -> list[str | None]:
    """Returns the texts of a frame's column `text`; None where a text is missing.

    Raises:
        DataError: If there is no such column, or a value is no text or blank.
    """
    from t5vqvae.data.corpora.columns import text_of
    from t5vqvae.errors import DataError

    if not isinstance(frame, pd.DataFrame) or list(frame.columns).count("text") != 1:
        found = ", ".join(map(str, frame.columns)) if isinstance(frame, pd.DataFrame) else type(frame).__name__
        raise DataError(f"the input must be a frame with one column 'text'; it has {found or 'no column'}")
    texts = []
    for place, value in enumerate(frame["text"]):
        try:
            text = text_of(value)
        except DataError as error:
            raise DataError(f"row {place} of the column 'text': {error}") from None
        if text is not None and not text.strip():
            raise DataError(f"row {place} of the column 'text' is empty; give at least one word, or null for no answer")
        texts.append(text)
    return texts


def _reconstruct(
    model: TextAutoencoder,
    texts: list[str],
    max_new_tokens: int,
    unsent: float | None,
    roles: RoleReader | None,
    pairs: bool,
) -> tuple[list[str], list[list[list[int]]] | None]:
    """Returns decoded texts and their codes; codes that are left out are -2."""
    from t5vqvae.errors import SettingError
    from t5vqvae.latent.latent_space import LatentSpace
    from t5vqvae.latent.two_texts import as_trained
    from t5vqvae.models.contract import reconstruct
    from t5vqvae.models.t5 import T5VQVAE

    given = as_trained(texts, pairs)
    if unsent is None:
        return reconstruct(model, given, max_new_tokens, roles)
    if not isinstance(model, T5VQVAE) or model.encoder.not_sent is None or model.leaks:
        raise SettingError(
            f"unsent={unsent:g} needs a model of train.code_dropout, whose decoder reads codes alone; leave unsent out"
        )
    if roles is not None:
        space = LatentSpace(model, max_new_tokens, roles=roles, pairs=pairs)
        sentences = space.encode(texts, unsent)
        return space.reconstruct(sentences), [each.latent_TX.tolist() for each in sentences]
    codes_BTQ = model.encode(given, unsent=unsent)
    prompts_BPQ = None if model.prompts is None else model.encode_prompts(given)
    decoded = model.decode(codes_BTQ, max_new_tokens, prompt_codes_BPQ=prompts_BPQ)
    return decoded, [codes_TQ[(codes_TQ != -1).all(-1)].tolist() for codes_TQ in codes_BTQ]


def _nats(params: _Params) -> float | None:
    """Returns the parameter `unsent`; None if it is not given."""
    from t5vqvae.errors import SettingError

    value = params.get("unsent")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
        raise SettingError(f"unsent={value!r} must be a number of nats above 0, such as 0.5")
    return float(value)


def _positive(params: _Params, name: str, most: int | None = None) -> int:
    """Returns a parameter, 64 if it is not given.

    Raises:
        SettingError: If it is no whole number of at least 1, or above the most.
    """
    from t5vqvae.errors import SettingError

    value = params.get(name, 64)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SettingError(f"{name}={value!r} must be a whole number of at least 1")
    if most is not None and value > most:
        raise SettingError(f"{name}={value} must be at most {most}; give less, or leave it out")
    return int(value)


set_model(_PyfuncModel())
