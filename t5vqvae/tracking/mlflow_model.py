"""A checkpoint as an MLflow model: pyfunc from code, safetensors, the package's source; loads where MLflow does.

The source goes along because weights and code belong together: in a fresh process MLflow puts it first on the path, so
that neither an installed package of another version nor a missing one matters.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.tracking.server.runs import Destination
from t5vqvae.training import checkpoint as checkpoints

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

NAME = "t5vqvae"
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pydantic", "pyyaml", "numpy", "pandas")
PACKAGE = Path(__file__).parent.parent
CHECKPOINT_TAG = "t5vqvae.checkpoint"


def log_model(destination: Destination, mlflow_id: str, checkpoint: Path) -> str:
    """Logs a checkpoint as a model of a run, unless it is there already; returns `models:/<id>`."""
    client = destination.client
    mark = _mark(checkpoint)
    for output in _outputs(destination, mlflow_id):
        known = client.get_logged_model(output)
        if known.tags.get(CHECKPOINT_TAG) == mark and known.status == "READY":
            return known.model_uri
    milestone = checkpoints.read_milestone(checkpoint)
    tags = {CHECKPOINT_TAG: mark, "step": str(milestone["step"])}
    logged = client.create_logged_model(
        destination.find_or_create(), name=NAME, source_run_id=mlflow_id, tags=tags, model_type="t5vqvae"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        examples = [sample["source"] for sample in milestone.get("samples", [])][:2]
        save_model(checkpoint, path, examples, run_id=mlflow_id, model_id=logged.model_id)
        client.log_model_artifacts(logged.model_id, str(path))
    client.finalize_logged_model(logged.model_id, "READY")
    _attach(destination, mlflow_id, logged.model_id, milestone["step"])
    return logged.model_uri


def save_model(
    checkpoint: Path, path: Path, examples: Sequence[str] = (), run_id: str | None = None, model_id: str | None = None
) -> None:
    """Writes a checkpoint as an MLflow model folder.

    Args:
        checkpoint: An intact checkpoint.
        path: The folder to write, which must not exist.
        examples: Texts of the input example.
        run_id: The run it came from.
        model_id: MLflow's id of the model it becomes.
    """
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    checkpoints.verify(checkpoint)
    spec = checkpoints.read_spec(checkpoint)
    longest = spec.evaluate.max_new_tokens or spec.data.max_target_length or spec.data.max_length
    mlflow.pyfunc.save_model(
        path,
        python_model=str(PACKAGE / "tracking" / "pyfunc.py"),
        artifacts={"model": str(checkpoint / "model"), "spec": str(checkpoint / "spec.json")},
        code_paths=[str(PACKAGE)],
        signature=signature(longest),
        input_example=(pd.DataFrame({"text": list(examples) or ["x"]}), {"max_new_tokens": longest}),
        pip_requirements=requirements(),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
    )


def signature(max_new_tokens: int) -> ModelSignature:
    """Returns the model's signature: `text` in; `reconstruction` and `codes` (positions x codebooks) out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "text")]),
        outputs=Schema([ColSpec(DataType.string, "reconstruction"), ColSpec(Array(Array(DataType.long)), "codes")]),
        params=ParamSchema(
            [
                ParamSpec("max_new_tokens", DataType.long, max_new_tokens),
                ParamSpec("batch_size", DataType.long, 64),
            ]
        ),
    )


def requirements() -> list[str]:
    """Returns the versions in use of what a prediction needs."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _mark(checkpoint: Path) -> str:
    """Returns what identifies a checkpoint's content: the weights' hash in its manifest."""
    manifest: dict[str, Any] = json.loads((checkpoint / checkpoints.MANIFEST).read_text())
    weights = [entry["sha256"] for name, entry in sorted(manifest.items()) if name.startswith("model/")]
    return f"{checkpoint.name} {''.join(digest[:8] for digest in weights)}"


def _outputs(destination: Destination, mlflow_id: str) -> list[str]:
    outputs = destination.client.get_run(mlflow_id).outputs
    return [output.model_id for output in outputs.model_outputs] if outputs else []


def _attach(destination: Destination, mlflow_id: str, model_id: str, step: int) -> None:
    from mlflow.entities import LoggedModelOutput

    destination.client.log_outputs(mlflow_id, [LoggedModelOutput(model_id, step)])
