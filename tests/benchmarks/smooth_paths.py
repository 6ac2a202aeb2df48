"""Smoothness of paths between explanatory sentences, with random traversals and splices.

    t5vqvae data get explanations
    python -m tests.benchmarks.smooth_paths --output smooth_paths.md

Each model is the base of the study `explanations` with another quantizer, one seed and one thread; ten to thirty
minutes each. With `--models FOLDER` trained models are kept, and taken from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import yaml

from t5vqvae.config import Overrides
from t5vqvae.measures.base import Row
from t5vqvae.measures.probing import ProbeResult, probe
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from tests.benchmarks.kept_models import evaluated, trained
from tests.benchmarks.search_tables import described, parser, write

STUDY = Path(__file__).resolve().parents[2] / "tune" / "studies" / "explanations.yaml"
K: Overrides = {"quantizer.codebook_size": 4096, "model.cross_positions": "relative"}
END: Overrides = {**K, "model.position": 2, "model.final_norm": "after"}
MODELS: dict[str, Overrides] = {
    "lfq, position 0, 1,200 steps": {**K, "quantizer.name": "lfq", "model.position": 0},
    "ema, end, 1,200 steps": {**END, "quantizer.name": "ema"},
    "hypervq, end, 1,200 steps": {**END, "quantizer.name": "hypervq"},
    "hypervq, end, 3,000 steps": {**END, "quantizer.name": "hypervq", "train.max_steps": 3_000},
}
SHOWN = "hypervq, end, 3,000 steps"
PROBED = ProbeSpec(suite="full", split="test")
HEAD = [
    "| model | exact match | joint bits a token | smoothness, others 0 | paths that count | smoothness of these |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
]


def spec_of(changed: Overrides) -> RunSpec:
    """Returns the run of a model; a quantizer's own settings are those of its config."""
    base = yaml.safe_load(STUDY.read_text(encoding="utf-8"))["base"]
    base = {name: value for name, value in base.items() if not name.startswith("quantizer.")}
    steps = changed.get("train.max_steps", base["train.max_steps"])
    return RunSpec().with_overrides({**base, **changed, "train.eval_every": steps, "train.device": "cpu"})


def row_of(name: str, metrics: Mapping[str, float], probed: ProbeResult) -> str:
    """Returns the row of a model: quality and rate, then smoothness with its bootstrap interval over paths."""
    [over_paths] = probed.tables["Smoothness over paths"]
    interval = f"{over_paths['mean or 0']:.3f} [{over_paths['low']:.3f}, {over_paths['high']:.3f}]"
    cells = [
        f"{metrics['validation/exact_match']:.2f}",
        f"{metrics['rate/joint_bits_per_token']:.2f}",
        interval,
        f"{probed.metrics['smoothness/counting_share']:.2f} of {over_paths['paths']}",
        f"{probed.metrics['smoothness/mean']:.3f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def examples_of(probed: ProbeResult) -> Iterator[str]:
    """Yields random traversals, splices and paths of a model; drawn by seed, none of them chosen."""
    titles = [title for title in probed.tables if "drawn at random" in title]
    for title in titles:
        rows: Sequence[Row] = list(probed.tables[title])[: 22 if title.startswith("Paths") else 15]
        if not rows:
            continue
        names = [name for name in rows[0] if name not in ("IS", "counts")]
        yield from ["", f"## {title}", "", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
        yield from (f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str("-" if value is None else value).replace("|", "\\|")


def main() -> None:
    """Trains what is missing, measures, prints and writes the page."""
    made = parser(__doc__)
    made.add_argument("--models", type=Path, help="keeps trained models in this folder, and takes them from there")
    made.add_argument(
        "--cache", type=Path, default=Path("var/cache"), help="cache into which `t5vqvae data get` put the corpus"
    )
    options = made.parse_args()
    torch.set_num_threads(1)
    rows: list[str] = []
    shown: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, changed in MODELS.items():
            spec = spec_of(changed)
            model = trained(spec, options.models or Path(scratch), options.cache)
            probed = probe(model, spec, PROBED, options.cache, ("smoothness", "examples"))
            rows.append(row_of(name, evaluated(model, spec, options.cache), probed))
            if name == SHOWN:
                shown += examples_of(probed)
    lines = [
        "# Paths between explanatory sentences",
        "",
        *described("smooth_paths", ("torch", "transformers")),
        f"The base of `explanations`, K = {K['quantizer.codebook_size']}, relative cross positions, one seed.",
        "At the end the codebook stands before the final norm. Paths: 300 pairs of test sentences, linear, 11 steps;",
        "the Word Mover's Distance by skip-gram vectors of the training sentences, so values are not those of other",
        "tables. A path counts with at least five different sentences and no step above half of its length; others",
        "are 0 in the mean, whose interval is a bootstrap over paths. Exact match and rate: validation sentences.",
        "",
        *HEAD,
        *rows,
        "",
        f"Examples of *{SHOWN}*, drawn at random.",
        *shown,
    ]
    write("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
