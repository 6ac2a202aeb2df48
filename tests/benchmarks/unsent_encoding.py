"""What leaving out codes costs: `encode(texts, unsent=NATS)` next to a plain `encode`, in processor time a position.

    python -m tests.benchmarks.unsent_encoding --output tests/benchmarks/results/unsent_encoding.md

A model of the study `controllable` is trained on one thread (or taken from `--model FOLDER`, a checkpoint), and the
sentences of its validation split are encoded, in batches. Leaving out takes at most two passes of the decoder for every
position, so the time grows with the length; the column `of a plain encode, a position` is what one position costs, in
plain encodings of its sentence. It is to be at most 3.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import yaml
from torch import Tensor

from t5vqvae.data import prepare
from t5vqvae.files import read_json
from t5vqvae.models.codes import NOT_SENT
from t5vqvae.models.t5 import T5VQVAE
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tests.benchmarks.results_rows import ROOT
from tests.benchmarks.search_tables import described, parser, write
from tune.records.loading import loaded_model

NATS = (0.5, 2.0)
BATCH = 64
ROUNDS = 2


def spec_of(steps: int) -> RunSpec:
    """Returns the run of the model that is trained."""
    study = yaml.safe_load((ROOT / "tune" / "studies" / "controllable.yaml").read_text())
    brief = {"train.max_steps": steps, "train.eval_every": steps, "evaluate.control": 0, "evaluate.unsent": None}
    return RunSpec().with_overrides({**study["base"], **brief})


def seconds(run: Callable[[], object]) -> float:
    """Returns the least processor time of a few runs."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return min(found)


def rows(model: T5VQVAE, texts: list[str]) -> Iterator[str]:
    """Yields the table's rows."""
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]

    def encoded(unsent: float | None) -> list[Tensor]:
        return [model.encode(batch, unsent=unsent) for batch in batches]

    plain, first = seconds(lambda: encoded(None)), encoded(None)
    positions = sum(int((codes[..., 0] != -1).sum()) for codes in first)
    yield f"| all codes | 1.00 | {plain / len(texts) * 1e3:.2f} | - |"
    for nats in NATS:
        out = sum(int((codes[..., 0] == NOT_SENT).sum()) for codes in encoded(nats))
        assert out, "the model does without no code: train longer"
        taken = seconds(lambda nats=nats: encoded(nats))  # type: ignore[misc]
        ratio = taken / plain / (positions / len(texts))
        yield f"| {nats:g} nats | {1 - out / positions:.2f} | {taken / len(texts) * 1e3:.2f} | {ratio:.2f} |"


def _command(sentences: int, model: Path | None) -> str:
    return f"unsent_encoding --sentences {sentences}{'' if model is None else ' --model FOLDER'}"


def _settings_in(checkpoint: Path) -> str:
    """Returns the settings of a checkpoint that are not the defaults."""
    plain, flat = RunSpec().as_flat_dict(), RunSpec.parse(read_json(checkpoint / "spec.json")).as_flat_dict()
    return f"The model: {' '.join(f'{path}={value}' for path, value in flat.items() if plain.get(path) != value)}."


def main() -> None:
    """Trains or reads a model, measures, and writes the table."""
    options = parser(__doc__, steps=600, sentences=128)
    options.add_argument("--model", type=Path)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        spec = spec_of(chosen.steps)
        if chosen.model is None:
            *_, last = train(spec, cache_dir=Path(cache))
            model = last.state.model
        else:
            model = loaded_model(chosen.model / "model")
        validation = prepare(spec.data, Path(cache)).validation
        texts = validation.sources(range(min(chosen.sentences, len(validation))))
    assert isinstance(model, T5VQVAE)
    lines = [
        "# What leaving out codes costs",
        "",
        *described(_command(chosen.sentences, chosen.model), ("torch", "transformers")),
        *([] if chosen.model is None else [_settings_in(chosen.model)]),
        f"{len(texts)} sentences, batches of {BATCH}, one thread, least processor time of {ROUNDS} runs.",
        "",
        "| sent | share of codes | ms a sentence | of a plain encode, a position |",
        "| --- | ---: | ---: | ---: |",
        *rows(model.eval(), texts),
    ]
    write("\n".join(lines) + "\n", chosen.output)


if __name__ == "__main__":
    main()
