"""What a study takes of the disk: estimated before it starts, from the sizes of its models and from its retention."""

from __future__ import annotations

from pathlib import Path

from t5vqvae.disk import shown, size_of
from t5vqvae.spec.run import RunSpec
from tune.spec.study_spec import StudySpec

BYTES = 12
"""Of a checkpoint, a parameter: its weight and the two moments of Adam, in float32."""


def disk_plan(spec: StudySpec, run: RunSpec) -> str:
    """Returns in one line what the checkpoints of a study take.

    Args:
        spec: The study.
        run: Its base, whose model stands for those of all trials.
    """
    best, steps = spec.retention.keep_best, spec.retention.keep_steps
    kept = "every trial that counts" if best is None else f"the {best} best trials"
    rule = f"{steps} of a running trial, and one more while it saves; one of {kept}"
    size = _checkpoint_bytes(run)
    if size is None:
        return f"checkpoints on the disk: {rule}; their size is printed at the end of a study"
    line = f"checkpoints on the disk: up to {shown(size)} each; {rule}"
    if best is None or spec.budget.concurrent is None:
        return line
    return f"{line}; at most {shown(size * (best + spec.budget.concurrent * (steps + 1)))} in all"


def _checkpoint_bytes(run: RunSpec) -> int | None:
    """Returns the bytes of a checkpoint, for the largest vocabulary; None where the spec does not give its sizes."""
    model = run.model
    if model.backbone is not None:
        folder = Path(model.backbone)
        return 3 * max((size_of(file) for file in folder.glob("*.safetensors")), default=0) or None
    if not hasattr(model, "t5_sizes"):
        return None
    vocabulary, codes = run.data.tokenizer.vocab_size, getattr(run.quantizer, "codebook_size", 0) or 0
    sizes = model.t5_sizes(vocabulary)
    width, ahead = sizes["d_model"], 2 * sizes["d_model"] * sizes["d_ff"]
    blocks = sizes["num_layers"] * (4 * width**2 + ahead) + sizes["num_decoder_layers"] * (8 * width**2 + ahead)
    return BYTES * (blocks + width * (vocabulary + codes))
