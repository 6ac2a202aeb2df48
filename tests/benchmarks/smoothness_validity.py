"""Does smoothness agree with other measures of a latent space, beyond reconstruction and rate?

    python -m tests.benchmarks.smoothness_validity --minutes 600 --output results/smoothness_validity.md

The configurations are the models of `control_table` on `grammar`, one seed each. Paths are also judged in the states of
one frozen autoencoder, `ENCODER`, which is trained first and never changes. What is measured goes to a CSV file beside
the output, a row for every configuration, and the command goes on from there.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from t5vqvae.files import atomic_write
from t5vqvae.measures.probing import probe
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tests.benchmarks.control_rows import MODELS, Model
from tests.benchmarks.partial_correlation import partial_spearman
from tests.benchmarks.search_tables import described, parser, write

ENCODER = Model("grammar", "end", "none").spec(1_000, "cpu")
"""The frozen autoencoder: no bottleneck, and a seed that no configuration has."""
SMOOTHNESS = "smoothness/mean_or_zero"
OTHERS = {
    "Frechet distance": "smoothness/frechet",
    "perceptual path length": "smoothness/perceptual_length",
    "InfoM": "disentanglement/infom",
    "InfoC": "disentanglement/infoc",
    "MIG": "disentanglement/mig",
}
GIVEN = ("validation/exact_match", "rate/joint_bits_per_token")
KEYS = (SMOOTHNESS, *OTHERS.values(), *GIVEN)
MEASURES = ("smoothness", "path_states", "disentanglement")
LEAST_EXACT, NEEDED = 0.9, 20
CONFIGURATIONS = [model for model in MODELS if model.corpus == "grammar"]
Values = Mapping[str, float]


def frozen_encoder(folder: Path, cache: Path) -> Path:
    """Trains the encoder into a folder unless it is there; returns its checkpoint."""
    if found := sorted(folder.glob("step-*/model")):
        return found[-1].parent
    *_, last = train(ENCODER, cache_dir=cache)
    return last.state.save(folder)


def measured(spec: RunSpec, encoder: Path, cache: Path) -> Values:
    """Trains a configuration and returns what is measured of it."""
    *_, last = train(spec, cache_dir=cache)
    probed = probe(last.state.model, spec, ProbeSpec(suite="full", encoder=str(encoder)), cache, MEASURES)
    known = {**last.metrics, **probed.metrics}
    return {key: known[key] for key in KEYS if key in known}


def read(file: Path) -> dict[str, Values]:
    """Reads the rows of earlier runs; none if there is no file."""
    if not file.exists():
        return {}
    with file.open() as rows:
        return {row["model"]: {key: float(row[key]) for key in KEYS if row[key]} for row in csv.DictReader(rows)}


def save(file: Path, done: Mapping[str, Values]) -> None:
    """Writes all rows."""
    with atomic_write(file) as scratch, scratch.open("w", newline="") as rows:
        writer = csv.DictWriter(rows, ["model", *KEYS])
        writer.writeheader()
        writer.writerows(
            {"model": name, **{key: f"{value:.6g}" for key, value in each.items()}} for name, each in done.items()
        )


def lines_of(done: Mapping[str, Values]) -> Iterator[str]:
    """Yields the table: the partial correlation of smoothness and every other measure."""
    yield "| measure | configurations | partial Spearman [95% interval] | smallest that would show |"
    yield "| --- | ---: | ---: | ---: |"
    for name, key in OTHERS.items():
        wanted = (SMOOTHNESS, key, *GIVEN)
        rows = [each for each in done.values() if all(one in each for one in wanted) and each[GIVEN[0]] > LEAST_EXACT]
        if len(rows) < NEEDED:
            yield f"| {name} | {len(rows)} | - (fewer than {NEEDED}) | - |"
            continue
        one, other, *given = ([row[column] for row in rows] for column in wanted)
        found = partial_spearman(one, other, given)
        value = "-" if found.value is None else f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
        yield f"| {name} | {found.number} | {value} | {found.smallest:.2f} |"


def page(done: Mapping[str, Values]) -> str:
    """Returns the whole page."""
    head = [
        "# Does smoothness agree with other measures?",
        "",
        *described("smoothness_validity --minutes 600", ("torch", "transformers")),
        "Smoothness is the mean over 300 paths, with paths that do not count as 0. Given: exact match and joint bits a",
        f"token; only configurations with an exact match above {LEAST_EXACT} count, and {NEEDED} are needed. A smooth",
        "space should have a negative correlation with both distances. The smallest correlation that would show has a",
        f"power of .8 at a level of .05. State: {len(done)} of {len(CONFIGURATIONS)} configurations measured.",
        "",
    ]
    return "\n".join([*head, *lines_of(done)]) + "\n"


def main() -> None:
    """Trains what is missing until the time is over, and writes the table."""
    options = parser(__doc__, minutes=60).parse_args()
    torch.set_num_threads(1)
    rows, end = options.output.with_suffix(".csv"), time.monotonic() + 60 * options.minutes
    done = read(rows)
    with tempfile.TemporaryDirectory() as cache:
        folder = options.output.with_suffix(".encoder")  # kept: later runs need the same one
        encoder = frozen_encoder(folder, Path(cache))
        for model in CONFIGURATIONS:
            name = f"{model.quantizer} at {model.position}"
            if name in done or time.monotonic() > end:
                continue
            done[name] = measured(model.spec(0, "cpu"), encoder, Path(cache))
            save(rows, done)
            print(name, flush=True)
    write(page(done), options.output)


if __name__ == "__main__":
    main()
