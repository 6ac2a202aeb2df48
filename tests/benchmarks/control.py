"""Control of six small autoencoders of `grammar` version 2, one seed: a first look, no comparison.

    python -m tests.benchmarks.control --output tests/benchmarks/results/control_first.md

Four models train for 1,000 steps on one thread (about two and a half minutes each), two larger ones for 6,000 (about
ten and twenty); then 900 edits of test sentences are made. The study `controllable` and the ablations
`code_dropout` and `removed_codes` are for comparisons with seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from t5vqvae.config import Overrides
from t5vqvae.measures.probing import ProbeResult, probe
from t5vqvae.spec.probe import ProbeSpec
from t5vqvae.spec.run import RunSpec
from tests.benchmarks.kept_models import evaluated, trained
from tests.benchmarks.search_tables import described, parser, write

BASE: Overrides = {
    "data.corpus.name": "grammar",
    "data.corpus.version": 2,
    "data.corpus.size": 5_000,
    "data.tokenizer.vocab_size": 600,
    "data.max_length": 40,
    "model.d_model": 64,
    "model.position": 0,
    "quantizer.codebook_size": 600,
    "optim.learning_rate": 4e-3,
    "train.max_steps": 1_000,
    "train.eval_every": 1_000,
    "train.device": "cpu",
    "evaluate.num_generated": 100,
}
SPARSE: Overrides = {"train.code_dropout": 0.6, "evaluate.unsent": 0.5}
END: Overrides = {"model.position": 2, "model.final_norm": "after", "quantizer.codebook_size": 256}
LARGER: Overrides = {
    "data.corpus.size": 20_000,
    "data.max_length": 90,
    "model.d_model": 128,
    "model.cross_positions": "relative",
    "optim.learning_rate": 2e-3,
    "optim.schedule": "cosine",
    "train.max_steps": 6_000,
    "train.eval_every": 6_000,
    "train.code_dropout": 0.7,
    "train.noise_steps": 2_000,
    "evaluate.unsent": 0.5,
}
REMOVED: Overrides = {
    "data.tokenizer.vocab_size": 420,
    "quantizer.codebook_size": 420,
    "model.not_sent": "removed",
    "train.word_shuffle": 0.5,
}
MODELS: dict[str, Overrides] = {
    "position 0, K 600": {},
    "position 0, K 600, code dropout up to .6": SPARSE,
    "end of the encoder, K 256": END,
    "end of the encoder, K 256, code dropout up to .6": {**END, **SPARSE},
    "position 0, K 600, larger, code dropout up to .7": LARGER,
    "position 0, K 420, larger, code dropout up to .7, removed, words shuffled": {**LARGER, **REMOVED},
}
EDITS = 900
HEAD = ["| factor | edits | all codes sent | sparse |", "| --- | ---: | ---: | ---: |"]


def measured(overrides: Overrides, models: Path) -> tuple[Mapping[str, float], ProbeResult]:
    """The metrics of the last evaluation of a model, and its probe; it is trained unless the folder has it."""
    spec, cache = RunSpec().with_overrides({**BASE, **overrides}), models / "cache"
    model = trained(spec, models, cache)
    asked = ProbeSpec(split="test", edits=EDITS, unsent=spec.evaluate.unsent)
    return evaluated(model, spec, cache), probe(model, spec, asked, cache, ("control",))


def rows_of(name: str, metrics: Mapping[str, float], probed: ProbeResult) -> list[str]:
    """A row for all codes sent and, of a model with code dropout, one for sparse codes."""
    found = []
    for words, quality, rate, kind in (
        ("", "validation/", "rate/", ""),
        (", sparse", "sparse/", "rate/sparse_", "sparse_"),
    ):
        if f"{quality}exact_match" not in metrics:
            continue
        share = metrics["rate/sent_share"] if kind else 1.0
        cells = [
            f"{metrics[f'{quality}exact_match']:.2f}",
            f"{share:.2f}",
            f"{metrics[f'{rate}joint_bits_per_char']:.2f}",
            f"{metrics[f'{rate}prior_bits_per_char']:.2f}",
            *(f"{probed.metrics[f'control/{kind}{each}_intervention']:.3f}" for each in ("local", "distributed")),
        ]
        found.append(f"| {name}{words} | {' | '.join(cells)} |")
    return found


def factors_of(probed: ProbeResult) -> list[str]:
    """A row for every distributed factor: right answers with all codes sent, and with sparse codes."""
    whole, sparse = (probed.tables[f"Control by factor{words}"] for words in ("", ", sparse codes"))
    return [
        f"| {one['factor']} | {one['edits']} | {one['answers']:.2f} |"
        f" {other['answers']:.2f} [{other['low']:.2f}, {other['high']:.2f}] |"
        for one, other in zip(whole, sparse, strict=True)
        if one["kind"] == "distributed"
    ]


def main() -> None:
    """Trains what is missing, measures, prints and writes the table."""
    made = parser(__doc__)
    made.add_argument("--models", type=Path, help="keeps trained models in this folder, and takes them from there")
    made.add_argument("--only", default="", metavar="WORDS", help="models whose name has these words")
    options = made.parse_args()
    torch.set_num_threads(1)
    rows: list[str] = []
    factors: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, overrides in MODELS.items():
            if options.only not in name:
                continue
            metrics, probed = measured(overrides, options.models or Path(scratch))
            rows += rows_of(name, metrics, probed)
            if "train.code_dropout" in overrides and "model.position" not in overrides:
                factors += ["", f"{name}:", "", *HEAD, *factors_of(probed)]
    lines = [
        "# Control: first numbers, one seed",
        "",
        *described("control"),
        f"Grammar version 2, two blocks, seed 0, one thread; {EDITS} edits of test sentences. Four models have",
        "d 64 and 1,000 steps on 5,000 sentences; the larger ones d 128 and 6,000 steps on 20,000, their noise growing",
        "over the first 2,000. With K 600 tokens are words and pieces, with K 420 mostly pieces and letters.",
        "One seed shows no row to differ from another; the ablations `code_dropout` and `removed_codes` are for that.",
        "Bits a character, which other tokens do not change: the joint rate and the rate under a prior; for sparse",
        "codes with the mask, and where what is not sent is removed, with an end.",
        "",
        "| model | exact match | codes sent | joint bits | prior bits | local | distributed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        "Distributed factors of the models at position 0 with code dropout, with 95% Wilson intervals over edits:",
        *factors,
    ]
    write("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
