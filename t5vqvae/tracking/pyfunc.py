"""The MLflow model: text in, reconstruction and codes out. MLflow copies this file into the model and runs it there.

Models from code: the artifact holds this source, the package's source and safetensors, and no pickle. To try it:

```python
model = mlflow.pyfunc.load_model("models:/t5vqvae@champion")
model.predict(pandas.DataFrame({"text": ["x + y"]}), params={"max_new_tokens": 32})
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class PyfuncModel(PythonModel):
    """Reconstructs texts through their codes."""

    def load_context(self, context: Any) -> None:
        """Loads weights and tokenizer; on the GPU when there is one."""
        import torch

        from t5vqvae.models.contract import load_model

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_model(Path(context.artifacts["model"])).to(device).eval()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Returns a frame of `reconstruction` and `codes`, one row a text.

        Args:
            context: Unused.
            model_input: A frame with a column `text`.
            params: `max_new_tokens` of a reconstruction, and `batch_size`.

        `codes` is a list of positions, each a list of one code a codebook; None where the model has no codes.
        """
        from t5vqvae.models.contract import reconstruct

        params = params or {}
        texts, size = [str(text) for text in model_input["text"]], params.get("batch_size", 64)
        rows: list[tuple[str, list[list[int]] | None]] = []
        for start in range(0, len(texts), size):
            part = texts[start : start + size]
            decoded, codes = reconstruct(self.model, part, params.get("max_new_tokens", 64))
            rows += zip(decoded, [None] * len(part) if codes is None else codes, strict=True)
        return pd.DataFrame(rows, columns=["reconstruction", "codes"], index=model_input.index)


set_model(PyfuncModel())
