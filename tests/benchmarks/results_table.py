"""The results table: every task beyond reconstruction in distribution, trained from scratch, with seeds.

    python -m tests.benchmarks.results_table --minutes 120 --state FOLDER --output tests/benchmarks/results/results.md

A row is a shipped study's base with the settings that `ROWS` names. The public corpora must be in the state folder's
cache (`t5vqvae data get NAME --from FOLDER --state FOLDER`); rows without their corpus are said and left out. What is
measured goes to a CSV file beside the output (`results_table.md` here, unless told), and the command goes on from
there, seed by seed. `--device cuda` and `--processes N` train side by side; `--only WORD` takes the rows whose name
contains it. The test sets are read once a model, after its training: no row was chosen by them.
"""

from __future__ import annotations

import csv
import os
import re
import statistics
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
import yaml
from scipy.stats import t

from t5vqvae.config import Overrides
from t5vqvae.data import TokenizedSplit, prepare, prepare_test
from t5vqvae.data.batching import evaluation_batches
from t5vqvae.data.texts import same_text
from t5vqvae.errors import DataError, SettingError
from t5vqvae.evaluation.final_test import evaluate_test
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec
from t5vqvae.tasks.all_tasks import task_of
from t5vqvae.tasks.report import judge_model
from t5vqvae.training.trainer import train
from tests.benchmarks.search_tables import parser, write

ROOT = Path(__file__).resolve().parents[2]
KEPT = re.compile(r"/(exact_match|bleu1|nll|nll_per_char|meaning_match|meaning_undecided)$|^rate/|^test/rate/|tokens/")
"""The metrics of a test that are kept."""


@dataclass(frozen=True)
class Row:
    """A row of the table: a study's base, what is changed, and how many seeds."""

    study: str
    seeds: int
    changed: Overrides

    def spec(self, seed: int, device: str) -> RunSpec:
        """Returns the run of a seed."""
        study = yaml.safe_load((ROOT / "tune" / "studies" / f"{self.study}.yaml").read_text())
        base = study["base"]
        if self.changed.get("quantizer.name", base.get("quantizer.name")) != base.get("quantizer.name"):
            base = {name: value for name, value in base.items() if not name.startswith("quantizer.")}
        changed = self.changed
        if changed.get("quantizer.name") == "none":
            changed = {name: value for name, value in changed.items() if name != "quantizer.codebook_size"}
        run = RunSpec().with_overrides({**base, **changed, "seed": seed, "train.device": device})
        return run.with_overrides({"train.eval_every": run.train.max_steps, "evaluate.batch_size": 256})

    @property
    def is_augmented(self) -> bool:
        """Whether training rows are added."""
        augment = self.spec(0, "cpu").data.augment
        return augment.rename > 0 or augment.join > 0


AT_EMBEDDINGS: Overrides = {"model.position": 0, "quantizer.start": "embeddings"}
RELATIVE: Overrides = {"model.cross_positions": "relative"}
WARM: Overrides = {"train.quantize_from": 500, "train.max_steps": 2000}
NOUNS: Overrides = {"data.tokenizer.vocab_size": 2600, "quantizer.codebook_size": 4096}
"""Every noun of training is a token of its own; those of the set `NOUNS` are spelt in pieces."""
LONG: Overrides = {"train.max_steps": 8000}
ROWS: dict[str, Row] = {
    "math, position 0": Row("math_ood", 5, {**AT_EMBEDDINGS, "quantizer.codebook_size": 512}),
    "math, end": Row("math_ood", 5, {}),
    "explanations, position 0": Row("explanations", 5, {**AT_EMBEDDINGS, **RELATIVE, "quantizer.codebook_size": 4096}),
    "explanations, end": Row("explanations", 5, {**RELATIVE, **WARM, "quantizer.codebook_size": 8192}),
    "syllogisms, position 0": Row("syllogisms", 3, {**AT_EMBEDDINGS, **NOUNS, **LONG}),
    "syllogisms, position 1": Row("syllogisms", 3, {**NOUNS, **LONG, "train.quantize_from": 500}),
    "syllogisms, none": Row("syllogisms", 3, {**NOUNS, **LONG, "quantizer.name": "none"}),
    "derive, position 0": Row("derive", 3, {**AT_EMBEDDINGS, **LONG}),
    "derive, position 1": Row("derive", 3, LONG),
    "derive, none": Row("derive", 3, {**LONG, "quantizer.name": "none"}),
    "entailment, joint": Row("entailment", 3, {"model.dropout": 0.2}),
    "entailment, separate": Row("entailment", 3, {"model.dropout": 0.2, "model.premises": "separate"}),
    "entailment, none": Row("entailment", 3, {"model.dropout": 0.2, "quantizer.name": "none"}),
}
Key = tuple[str, int]
Values = Mapping[str, float]


def measured(row: Row, seed: int, device: str, state: Path, keep: Path | None = None) -> Values:
    """Trains a model, keeps its checkpoint where one is asked for, and returns what its tests say."""
    torch.set_num_threads(1)
    spec, cache, started = row.spec(seed, device), state / "cache", time.monotonic()
    *_, last = train(spec, cache_dir=cache)
    seconds = time.monotonic() - started
    if keep is not None:
        last.state.save(keep)
    model = last.state.model
    assert isinstance(model, TextAutoencoder)
    values = {name: last.metrics[name] for name in last.metrics if KEPT.search(name) or name.startswith("valid")}
    try:
        values |= judged(model, spec, cache)
    except SettingError:  # its corpus asks no task: the text itself is to come back
        values |= {
            name: value for name, value in evaluate_test(model, spec, cache).metrics.items() if KEPT.search(name)
        }
    test = prepare_test(spec.data, cache)["test"]
    values["shuffled/exact_match"] = shuffled_match(model, test, spec.evaluate.batch_size)
    return {**values, "seconds": seconds, "parameters": float(sum(each.numel() for each in model.parameters()))}


def judged(model: TextAutoencoder, spec: RunSpec, cache: Path) -> Values:
    """Returns the score of a model's answers on every test set, its interval, and those of doing nothing.

    Raises:
        SettingError: If the corpus asks no task.
    """
    task, values = task_of(spec.data.corpus), {}
    for found in judge_model(task, model, spec, cache, "test"):
        for answerer in found.rows:
            values[f"{found.split}/{answerer.name}"] = answerer.score
            values |= {f"{found.split}/{answerer.name}/{name}": value for name, value in answerer.others.items()}
        values[f"{found.split}/low"], values[f"{found.split}/high"] = found.rows[0].low, found.rows[0].high
        values[f"{found.split}/learnt"] = float(found.is_learnt)
    return values


@torch.no_grad()
def shuffled_match(model: TextAutoencoder, split: TokenizedSplit, batch_size: int, limit: int = 500) -> float:
    """Returns the exact match of texts decoded from the memory of another sentence: what the decoder knows without."""
    model.eval()
    device, right, total = next(model.parameters()).device, 0, 0
    tokenizer = model.require_tokenizer()
    for indices, batch in evaluation_batches(split, batch_size, limit=limit):
        batch = batch.to(device)
        memory = model.encode_memory(batch).shifted()
        ids = model.greedy(batch, batch.labels_BS.shape[1] + 8, memory=memory)
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        right += sum(map(same_text, split.texts(indices), texts))
        total += len(indices)
    return right / max(1, total)


def missing(done: Mapping[Key, Values], only: str, available: Sequence[str]) -> Iterator[Key]:
    """Yields what is still to be trained: the rows with most seeds first, seed by seed."""
    for number in sorted({row.seeds for row in ROWS.values()}, reverse=True):
        names = [name for name in available if ROWS[name].seeds == number and only in name]
        yield from ((name, seed) for seed in range(number) for name in names if (name, seed) not in done)


def read(file: Path) -> dict[Key, dict[str, float]]:
    """Reads what earlier runs measured; nothing if there is no file."""
    found: dict[Key, dict[str, float]] = {}
    if file.exists():
        with file.open() as lines:
            for line in csv.DictReader(lines):
                found.setdefault((line["row"], int(line["seed"])), {})[line["name"]] = float(line["value"])
    return found


def add(file: Path, key: Key, values: Values) -> None:
    """Adds what was measured of a model."""
    is_new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.writer(lines)
        if is_new:
            writer.writerow(["row", "seed", "name", "value"])
        writer.writerows([*key, name, f"{value:.6g}"] for name, value in sorted(values.items()))


SCRIPTS = ("CYRILLIC", "HEBREW", "ARABIC", "DEVANAGARI", "HIRAGANA")
Columns = Mapping[str, Sequence[str]]
"""The mean of some metrics, by the name of their column."""
MATH: Columns = {
    "EVAL": ["test/exact_match"],
    **{name: [f"{name}/exact_match"] for name in ("EASY", "VAR", "EQ", "LEN")},
}
HARDER: Columns = {
    **{name: [f"{name}/exact_match"] for name in ("LEN3", "LEN4", "LEN5", "LEN6")},
    "five scripts": [f"VAR_{name}/exact_match" for name in SCRIPTS],
    **{name: [f"{name}/exact_match"] for name in ("REL", "MIXED")},
}
HARDER_SETS = (
    "Harder sets, without a twin in training or validation (3 to 6 more operations, names in other scripts, ...):"
)
TEXT: Columns = {"BLEU-1": ["test/bleu1"], "exact match": ["test/exact_match"]}
COSTS: Columns = {
    "joint bits a token": ["test/rate/joint_bits_per_token"],
    "joint bits a character": ["test/rate/joint_bits_per_char"],
    "tokens' entropy": ["test/rate/token_entropy_bits"],
    "codes shuffled": ["shuffled/exact_match"],
    "training, s": ["seconds"],
}
PUBLISHED = {
    "math": [
        ["T5VQVAE (T5-base), BLEU-1", "-", "-", ".98"],
        ["Optimus", "-", "-", ".99", ".81", "0", "0", ".14"],
        ["graph and text encoder", "-", "-", "1", ".90", "0", "0", ".10"],
    ],
    "explanations": [["T5VQVAE (T5-base)", "-", "-", ".82"], ["Optimus", "-", "-", ".68"]],
}
"""Rows of arXiv 2402.00723 and of its group's earlier tables, on other samples of the same generators and corpora."""


def page(done: Mapping[Key, Values]) -> str:
    """Returns the tables of the rows that were trained."""
    lines = [
        "# Results",
        "",
        "Made by `python -m tests.benchmarks.results_table` from its CSV file; every row is a study's base with the",
        "settings that `ROWS` names there, trained from scratch; the test sets were read once a model. A cell is the",
        "mean over seeds with the 95% t interval of its mean, cut at 0 and 1. `codes shuffled`: exact match when every",
        "sentence is decoded from another one's codes. At position 0 codes name tokens. These rows",
        "were trained side by side on one H200, 14 to 20 at once, so their seconds are more than one alone takes.",
    ]
    for study, columns in {"math": MATH, "explanations": TEXT}.items():
        rows = {name: _seeds(done, name) for name in ROWS if name.startswith(study)}
        lines += ["", f"## {study}", "", *_table(rows, columns, PUBLISHED[study])]
        if study == "math":
            lines += ["", HARDER_SETS, "", *_table(rows, HARDER, [])]
        lines += ["", "What they cost:", "", *_table(rows, COSTS, [])]
    judged = [name for name in ROWS if not name.startswith(("math", "explanations")) and _seeds(done, name)]
    if judged:
        lines += ["", "## Tasks", "", *_judged(done, judged)]
    if absent := [name for name in ROWS if not _seeds(done, name)]:
        lines += ["", f"Not trained yet: {'; '.join(absent)}."]
    return "\n".join(lines) + "\n"


def _seeds(done: Mapping[Key, Values], name: str) -> list[Values]:
    return [done[name, seed] for seed in range(ROWS[name].seeds) if (name, seed) in done]


def _table(rows: Mapping[str, Sequence[Values]], columns: Columns, published: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| model | augmented | seeds | {' | '.join(columns)} |"
    yield f"| --- | --- |{' ---: |' * (len(columns) + 1)}"
    for name, seeds in rows.items():
        if seeds:
            cells = [
                _cell([statistics.fmean(each[key] for key in keys) for each in seeds]) for keys in columns.values()
            ]
            told = [name, "yes" if ROWS[name].is_augmented else "no", f"{len(seeds)} of {ROWS[name].seeds}", *cells]
            yield f"| {' | '.join(told)} |"
    for cells in published:
        yield f"| {' | '.join([*cells, *['-'] * (len(columns) + 3 - len(cells))])} |"


OF_THE_MODEL = {"model", "low", "high", "learnt"}
"""What a set's values are called that are no idle answerer's."""


def _judged(done: Mapping[Key, Values], names: Sequence[str]) -> Iterator[str]:
    yield "| model | set | seeds | score | best of doing nothing | learnt |"
    yield "| --- | --- | ---: | ---: | --- | ---: |"
    for name in names:
        seeds = _seeds(done, name)
        for split in sorted(key.removesuffix("/learnt") for key in seeds[0] if key.endswith("/learnt")):
            names_of_set = [key for key in seeds[0] if key.startswith(f"{split}/") and key.count("/") == 1]
            idle = {key: seeds[0][key] for key in names_of_set if key.split("/")[1] not in OF_THE_MODEL}
            best = max(idle, key=lambda key: idle[key])
            learnt = sum(int(each[f"{split}/learnt"]) for each in seeds)
            score = _cell([each[f"{split}/model"] for each in seeds])
            told = [
                name,
                split,
                f"{len(seeds)} of {ROWS[name].seeds}",
                score,
                f"{best.split('/')[1]}, {idle[best]:.3f}",
            ]
            yield f"| {' | '.join([*told, str(learnt)])} |"


def _cell(values: Sequence[float]) -> str:
    mean, digits = statistics.fmean(values), 3 if max(values) <= 1 else 1 if max(values) >= 100 else 2
    if len(values) < 2 or max(values) == min(values):
        return f"{mean:.{digits}f}"
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    low, high = mean - half, mean + half
    if max(values) <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def prepared(device: str, state: Path) -> list[str]:
    """Prepares the data of every row once, before it is trained side by side; returns the rows that have their data."""
    names = []
    for name, row in ROWS.items():
        try:
            prepare(row.spec(0, device).data, state / "cache")
            names.append(name)
        except DataError as error:
            print(f"{name}: left out: {error}", flush=True)
    return names


def _job(key: Key, row: Row, device: str, state: Path, keep: Path | None) -> tuple[Key, Values | str]:
    name, seed = key
    try:
        folder = None if keep is None or seed else keep / name.replace(", ", "-").replace(" ", "")
        return key, measured(row, seed, device, state, folder)
    except Exception:
        return key, traceback.format_exc(limit=-3)


def main() -> None:
    """Trains what is missing until the time is over."""
    options = parser(__doc__, minutes=60, processes=1)
    options.add_argument("--device", default="cpu")
    options.add_argument("--only", default="")
    options.add_argument("--state", type=Path, required=True)
    options.add_argument("--keep", type=Path, help="a folder for the checkpoints of seed 0")
    options.set_defaults(output=Path("results_table.md"))  # the rows lie beside it, as a CSV file
    chosen = options.parse_args()
    rows, end = chosen.output.with_suffix(".csv"), time.monotonic() + 60 * chosen.minutes
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    left = list(missing(read(rows), chosen.only, prepared(chosen.device, chosen.state)))
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        running = {
            pool.submit(_job, (name, seed), ROWS[name], chosen.device, chosen.state, chosen.keep): (name, seed)
            for name, seed in left
        }
        for future in as_completed(running):
            key, values = future.result()
            if isinstance(values, str):
                print(key, "failed:", values, flush=True)
                continue
            add(rows, key, values)
            print(key, f"{values['seconds']:.0f} s", flush=True)
            if time.monotonic() > end:
                pool.shutdown(cancel_futures=True)
                break
    write(page(read(rows)), chosen.output)


if __name__ == "__main__":
    main()
