"""A checkpoint as an MLflow model: a pyfunc from code, the weights as safetensors, and the package's source.

The model loads wherever MLflow does. It contains the source because weights and code belong together: in a fresh
process MLflow puts that source first on the path, so an installed package of another version, or none, does no harm.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from t5vqvae.errors import DataError
from t5vqvae.files import read_json
from t5vqvae.tracking.server.destination import Destination
from t5vqvae.tracking.signature import documentation, signature
from t5vqvae.training import checkpoint as checkpoints

NAME = "t5vqvae"
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pydantic", "pyyaml", "numpy", "pandas")
PACKAGE = Path(__file__).parent.parent
CHECKPOINT_TAG = "t5vqvae.checkpoint"


def log_model(destination: Destination, mlflow_id: str, checkpoint: Path) -> str:
    """Logs a checkpoint as a model of a run, unless the run has it already; returns `models:/<id>`."""
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
        _save_model(checkpoint, path, examples, run_id=mlflow_id, model_id=logged.model_id)
        client.log_model_artifacts(logged.model_id, str(path))
    client.finalize_logged_model(logged.model_id, "READY")
    _attach(destination, mlflow_id, logged.model_id, milestone["step"])
    return logged.model_uri


def link(destination: Destination, mlflow_id: str, model_id: str) -> None:
    """Makes a logged model an output of a further run, unless it is one."""
    if model_id not in _outputs(destination, mlflow_id):
        _attach(destination, mlflow_id, model_id, int(destination.client.get_logged_model(model_id).tags["step"]))


def _save_model(checkpoint: Path, path: Path, examples: Sequence[str], run_id: str, model_id: str) -> None:
    """Writes a checkpoint as an MLflow model folder.

    Args:
        checkpoint: An intact checkpoint.
        path: The folder to write, which must not exist.
        examples: Texts of the input example.
        run_id: MLflow's id of the run that trained it.
        model_id: MLflow's id of the logged model.
    """
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    checkpoints.verify(checkpoint)
    spec = checkpoints.read_spec(checkpoint)
    longest = spec.max_new_tokens
    mlflow.pyfunc.save_model(
        path,
        python_model=str(PACKAGE / "tracking" / "pyfunc.py"),
        artifacts={"model": str(checkpoint / "model"), "spec": str(checkpoint / "spec.json")},
        code_paths=[str(PACKAGE)],
        signature=signature(longest),
        input_example=(pd.DataFrame({"text": list(examples) or ["x"]}), {"operation": "reconstruct"}),
        metadata={"operations": documentation()},
        pip_requirements=_requirements(),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
    )


def require_roles(checkpoint: Path) -> None:
    """Refuses a model that would answer otherwise than it was measured, as its texts lack the roles that it reads.

    Raises:
        DataError: If it reads roles that new texts cannot be given.
    """
    spec, model = checkpoints.read_spec(checkpoint), checkpoint / "model"
    if spec.quantizer.name != "role":
        return
    from t5vqvae.data.role_reader import stored_reader

    reader = stored_reader(model, spec.data.corpus)
    if reader is None:
        raise DataError(f"quantizer.name=role: {model} has no names of its roles; train it with this version")
    reader.require_new_texts()


def _requirements() -> list[str]:
    """Returns the packages that a prediction needs, with the versions installed here."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _mark(checkpoint: Path) -> str:
    """Returns the identity of a checkpoint's content: its name and the hashes of its model's files."""
    manifest = read_json(checkpoint / checkpoints.MANIFEST)
    weights = [entry["sha256"] for name, entry in sorted(manifest.items()) if name.startswith("model/")]
    return f"{checkpoint.name} {''.join(digest[:8] for digest in weights)}"


def _outputs(destination: Destination, mlflow_id: str) -> list[str]:
    outputs = destination.client.get_run(mlflow_id).outputs
    return [output.model_id for output in outputs.model_outputs] if outputs else []


def _attach(destination: Destination, mlflow_id: str, model_id: str, step: int) -> None:
    from mlflow.entities import LoggedModelOutput

    destination.client.log_outputs(mlflow_id, [LoggedModelOutput(model_id, step)])
