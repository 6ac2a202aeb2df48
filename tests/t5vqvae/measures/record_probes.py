"""Records what a probe finds of each tiny checkpoint, for `test_behaviours.py`: half a minute on one thread.

    python -m tests.t5vqvae.measures.record_probes

Record anew only after a change that is meant to change a value, and name the value in the commit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from t5vqvae.measures.probing import probe
from t5vqvae.models.contract import TextAutoencoder, load_model
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec

FOLDER = Path(__file__).parent / "checkpoints"
FILE = FOLDER / "recorded.json"
NAMES = ("names", "end", "none", "gaussian")
SPEC = ProbeSpec(sentences=120, edits=120)
"""84 local and 36 distributed edits, 15 splices of a kind, 60 paths."""
MEASURES = ("control", "traversal", "splices", "smoothness", "information", "codebook", "latent_use")


def spec_of(name: str) -> RunSpec:
    """Returns the spec that a checkpoint was trained by."""
    return RunSpec.parse(json.loads((FOLDER / name / "spec.json").read_text(encoding="utf-8")))


def found_by_probe(
    name: str, cache: Path, model: TextAutoencoder | None = None, measures: Sequence[str] = MEASURES
) -> dict[str, float]:
    """Returns the metrics of a probe of a checkpoint, or of another model in its place."""
    probed = load_model(FOLDER / name / "model") if model is None else model
    return dict(probe(probed, spec_of(name), SPEC, cache, measures).metrics)


def main() -> None:
    """Probes all checkpoints and writes the values."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: found_by_probe(name, Path(scratch)) for name in NAMES}
    rounded = {name: {key: round(value, 4) for key, value in values.items()} for name, values in found.items()}
    FILE.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    print(f"{FILE}: {sum(map(len, rounded.values()))} values of {len(rounded)} models")


if __name__ == "__main__":
    main()
