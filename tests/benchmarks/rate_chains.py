"""What the two rates under chains cost an evaluation, and what more counted positions would change.

    python -m tests.benchmarks.rate_chains [--repeats 7] [--steps 240] [--output FILE.md]

The model is the baseline of each study after some steps. Evaluations without and with the chains take turns, on one
thread; the CPU time of each is its median. Its goal: below 15% more at the positions that are counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch

from t5vqvae.data import prepare
from t5vqvae.evaluation import chains
from t5vqvae.evaluation.evaluate import evaluate
from t5vqvae.training.trainer import train
from tests.benchmarks.search_tables import described, parser, write
from tune.spec.search_spec import SearchSpec

STUDIES = ("quickstart", "math_eval")
POSITIONS = (chains.COUNTED_POSITIONS, 20_000)
RATES = ("rate/bits_per_token", "rate/joint_bits_per_token", "rate/prior_bits_per_token")


def rows_of(study: str, steps: int, repeats: int, cache: Path) -> list[str]:
    """Returns the rows of one study: positions, seconds without and with, share, and the three rates."""
    spec = SearchSpec.load(study).base_spec
    short = spec.with_overrides({"train.max_steps": steps, "train.eval_every": steps})
    *_, last = train(short, cache_dir=cache)
    model, data = last.state.model, prepare(spec.data, cache)
    rows = []
    for positions in POSITIONS:
        taken: dict[bool, list[float]] = {False: [], True: []}
        with patch.object(chains, "COUNTED_POSITIONS", positions):
            for _ in range(repeats):
                for with_chains in (False, True):
                    started = time.process_time()
                    found = evaluate(model, data.validation, spec, train=data.train if with_chains else None)
                    taken[with_chains].append(time.process_time() - started)
        without, with_both = (statistics.median(times) for times in taken.values())
        rates = " | ".join(f"{found.metrics[key]:.2f}" for key in RATES)
        more = f"{without:.2f} | {with_both:.2f} | {100 * (with_both / without - 1):.0f}%"
        rows.append(f"| {study} | {positions:,} | {more} | {rates} |")
    return rows


def main() -> None:
    """Measures, prints and writes the table."""
    options = parser(__doc__, repeats=7, steps=240).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for study in STUDIES for row in rows_of(study, options.steps, options.repeats, Path(folder))]
    heading = ["study", "counted positions", "without, s", "with, s", "more", *RATES]
    lines = [
        "# Rates under chains",
        "",
        *described(f"rate_chains --repeats {options.repeats} --steps {options.steps}"),
        "CPU time of one evaluation of the study's baseline, medians on one thread.",
        "",
        f"| {' | '.join(heading)} |",
        f"| {' | '.join('---' for _ in heading)} |",
        *rows,
    ]
    write("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
