"""Does smoothness agree with other measures of a latent space, beyond reconstruction and rate?

    python -m tests.benchmarks.smoothness_validity --minutes 60 --output results/smoothness_validity.md

The configurations are the quantized models of the control table that reconstruct. Their disentanglement stands there,
means over seeds. Distances of paths are judged in the states of one frozen autoencoder a corpus, which is trained first
and never changes; for these, every configuration is trained again with seed 0. What is measured goes to a CSV file next
to the output, a row for every configuration, and the command goes on from there.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from t5vqvae.files import atomic_write
from t5vqvae.measures.probing import probe
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from t5vqvae.training.trainer import train
from tests.benchmarks.control_rows import CORPORA, MODELS, SEEDS, Model
from tests.benchmarks.control_rows import read as read_table
from tests.benchmarks.partial_correlation import PartialCorrelation, partial_spearman
from tests.benchmarks.search_tables import described, parser, write

TABLE = Path(__file__).parent / "results" / "control_table.csv"
ENCODERS = {corpus: Model(corpus, "end", "none").spec(1_000, "cpu") for corpus in CORPORA}
"""The frozen autoencoders: no bottleneck, and a seed that no configuration has."""
SMOOTHNESS, EXACT, BITS = "smoothness/mean_or_zero", "validation/exact_match", "rate/joint_bits_per_token"
DISTANCES = {"Frechet distance": "smoothness/frechet", "perceptual path length": "smoothness/perceptual_length"}
KEYS = (SMOOTHNESS, *DISTANCES.values(), EXACT, BITS)
DISENTANGLEMENT = ("MIG", "InfoM", "InfoC")
LEAST_EXACT, NEEDED = 0.9, 20
Values = Mapping[str, float]


def tabled() -> dict[Model, Values]:
    """Returns the means over seeds of the quantized models of the control table that reconstruct."""
    rows, found = read_table(TABLE), {}
    for model in MODELS:
        seeds = [rows[model, seed] for seed in SEEDS if (model, seed) in rows]
        names = {name for row in seeds for name in row}  # earlier rows have no MIG
        means = {name: statistics.fmean(row[name] for row in seeds if name in row) for name in names}
        if means.get("exact match", 0.0) > LEAST_EXACT and "joint bits" in means:
            found[model] = means
    return found


def frozen_encoder(spec: RunSpec, folder: Path, cache: Path) -> Path:
    """Trains an encoder into a folder unless it is there; returns its checkpoint."""
    if found := sorted(folder.glob("step-*/model")):
        return found[-1].parent
    *_, last = train(spec, cache_dir=cache)
    return last.state.save(folder)


def measured(spec: RunSpec, encoder: Path, cache: Path) -> Values:
    """Trains a configuration and returns what is measured of it."""
    *_, last = train(spec, cache_dir=cache)
    wanted = ProbeSpec(suite="full", encoder=str(encoder))
    probed = probe(last.state.model, spec, wanted, cache, ("smoothness", "path_states"))
    known = {**last.metrics, **probed.metrics}
    return {key: known[key] for key in KEYS if key in known}


def read(file: Path) -> dict[Model, Values]:
    """Reads the rows of earlier runs; none if there is no file."""
    if not file.exists():
        return {}
    with file.open() as rows:
        return {
            Model(row["corpus"], row["position"], row["quantizer"]): {key: float(row[key]) for key in KEYS if row[key]}
            for row in csv.DictReader(rows)
        }


def save(file: Path, done: Mapping[Model, Values]) -> None:
    """Writes all rows."""
    with atomic_write(file) as scratch, scratch.open("w", newline="") as rows:
        writer = csv.DictWriter(rows, ["corpus", "position", "quantizer", *KEYS])
        writer.writeheader()
        for model, each in sorted(done.items()):
            named = {"corpus": model.corpus, "position": model.position, "quantizer": model.quantizer}
            writer.writerow({**named, **{key: f"{value:.6g}" for key, value in each.items()}})


def line(name: str, done: Mapping[Model, Values], keys: Sequence[str], least: int = NEEDED) -> str:
    """Returns the row of one measure: over both corpora, and in each alone.

    Args:
        name: The measure.
        done: What is known of every configuration.
        keys: Smoothness, the measure, exact match and joint bits, as `done` calls them.
        least: Fewer configurations say nothing.
    """
    rows = [
        (*(each[key] for key in keys), float(model.corpus == "math"))
        for model, each in done.items()
        if set(keys) <= set(each) and each[keys[2]] > LEAST_EXACT
    ]
    cells = [name, str(len(rows))]
    if len(rows) < least:
        return f"| {' | '.join([*cells, f'- (fewer than {least})', '-', '-', '-'])} |"
    one, other, *given = (list(column) for column in zip(*rows, strict=True))
    found = partial_spearman(one, other, given)
    cells += [_value(found), f"{found.smallest:.2f}"]
    for is_math in (0.0, 1.0):
        alone = [row[:-1] for row in rows if row[-1] == is_math]
        one, other, *given = (list(column) for column in zip(*alone, strict=True)) if alone else ([], [])
        cells.append(f"{_value(partial_spearman(one, other, given))}, {len(alone)}")
    return f"| {' | '.join(cells)} |"


def _value(found: PartialCorrelation) -> str:
    return "-" if found.value is None else f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def lines_of(done: Mapping[Model, Values]) -> Iterator[str]:
    """Yields the table: the partial correlation of smoothness and every other measure."""
    yield (
        "| measure | configurations | partial Spearman [95% interval] | smallest that would show"
        " | `grammar` alone, number | `math` alone, number |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, key in DISTANCES.items():
        yield line(name, done, (SMOOTHNESS, key, EXACT, BITS))
    table = {model: values for model, values in tabled().items() if model.position == "end"}
    for name in DISENTANGLEMENT:
        yield line(f"{name}, end of the encoder", table, ("smoothness", name, "exact match", "joint bits"), least=8)


def page(done: Mapping[Model, Values]) -> str:
    """Returns the whole page."""
    head = [
        "# Does smoothness agree with other measures?",
        "",
        *described("smoothness_validity --minutes 60", ("torch", "transformers")),
        "Given: exact match, joint bits a token, and the corpus. A configuration is a quantizer at one end of the",
        f"encoder on `grammar` or `math`. Only exact matches above {LEAST_EXACT} count; {NEEDED} are needed.",
        f"Distances: one seed, {len(done)} of {len(tabled())} configurations, from the same 300 paths as",
        "smoothness (paths that do not count as 0). Disentanglement, and its smoothness from 60 paths: means over",
        "seeds in the control table, at the encoder's end alone, since codes of the embeddings hardly differ in",
        "it; these are fewer than needed, and shown in any case, with what would show at a power of .8 and a",
        "level of .05. A smooth space should have a negative correlation with path length. Not with the Frechet",
        "distance: a path that stays at one end and jumps is made of sentences of the corpus alone.",
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
        for model in tabled():
            if model in done or time.monotonic() > end:
                continue
            folder = options.output.with_suffix(f".{model.corpus}")  # kept: later runs need the same encoder
            encoder = frozen_encoder(ENCODERS[model.corpus], folder, Path(cache))
            done[model] = measured(model.spec(0, "cpu"), encoder, Path(cache))
            save(rows, done)
            print(model, flush=True)
    write(page(read(rows)), options.output)  # as kept, so that the same file gives the same page


if __name__ == "__main__":
    main()
