"""The MLflow model: takes texts, returns reconstructions and codes. MLflow copies this file into the model and runs it.

This is a "model from code": the artifact holds this source, the package's source and safetensors, and no pickle. To
try it:

```python
model = mlflow.pyfunc.load_model("models:/t5vqvae@champion")
model.predict(pandas.DataFrame({"text": ["x + y"]}), params={"max_new_tokens": 32})
```
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class _PyfuncModel(PythonModel):
    """Reconstructs texts through their codes."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads weights and tokenizer, onto the GPU when there is one."""
        import torch

        from t5vqvae.models.contract import load_model

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = load_model(Path(context.artifacts["model"])).to(device).eval()

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, int] | None = None
    ) -> pd.DataFrame:
        """Returns a frame with the columns `reconstruction` and `codes`, one row per text.

        `codes` is a list of positions, each with one code per codebook; None for a model without codes.

        Args:
            context: Unused.
            model_input: A frame with a column `text`.
            params: `max_new_tokens` of a reconstruction (default 64), and `batch_size` (default 64).
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


set_model(_PyfuncModel())
