"""The same eight trials by this service, by plain Ray Tune with Ray Train, and by Transformers: time and memory.

    pip install accelerate   # what Transformers' Trainer needs, and this project does not
    python -m tests.benchmarks.search_frameworks [--trials 8] [--steps 100] [--output FILE.md]

Each side runs in a process of its own, one trial at a time: a T5VQVAE from scratch on generated expressions, the same
settings, steps, batch size and evaluation, the learning rate searched by Optuna. The first two use this project's
trainer, the second as Ray's guide writes it (a Tune function that fits a `TorchTrainer`), the third the `Trainer` of
Transformers. Pure training is the time from the first optimizer step of a trial to the end of its evaluation.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.search_noted import memory, read
from tests.benchmarks.search_tables import described, parser, write

SIDES = {
    "this service, process runner": "ours",
    "Ray Tune + TorchTrainer": "ray",
    "Transformers' hyperparameter_search": "transformers",
}
BATCH, LOW, HIGH = 32, 5e-4, 5e-3


def base(steps: int) -> dict[str, Any]:
    """Returns the settings that all trials share."""
    return {
        "data.corpus.name": "math",
        "data.corpus.size": 4000,
        "quantizer.start": "random",
        "train.max_steps": steps,
        "train.eval_every": steps,
        "train.batch_size": BATCH,
        "train.device": "cpu",
        "evaluate.num_examples": 200,
        "evaluate.num_generated": 0,
    }


def ours(folder: Path, trials: int, steps: int) -> None:
    """Searches as `t5vqvae search` does."""
    from tune.search import search
    from tune.spec.search_spec import SearchSpec

    study = {
        "name": "frameworks",
        "base": base(steps),
        "space": {"optim.learning_rate": {"type": "float", "low": LOW, "high": HIGH, "log": True}},
        "objectives": [{"metric": "validation/nll"}],
        "budget": {"trials": trials, "concurrent": 1},
        "scheduler": {"name": "none"},
    }
    search(SearchSpec.parse(study), state=folder, trainer="tests.benchmarks.search_noted:train")


def plain_ray(folder: Path, trials: int, steps: int) -> None:
    """Searches as Ray's guide to Tune with Train does."""
    import ray
    import ray.train.torch
    import ray.tune
    from ray.tune.integration.ray_train import TuneReportCallback
    from ray.tune.search.optuna import OptunaSearch

    def trial_driver(config: dict[str, Any]) -> None:
        ray.train.torch.TorchTrainer(
            ray_worker,
            train_loop_config={"folder": str(folder), "steps": steps, **config},
            scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(
                name=ray.tune.get_context().get_trial_id(),
                storage_path=str(folder),
                callbacks=[TuneReportCallback()],
            ),
        ).fit()

    ray.init(include_dashboard=False, log_to_driver=False)
    ray.tune.Tuner(
        ray.tune.with_resources(trial_driver, {"cpu": 0.01}),
        param_space={"learning_rate": ray.tune.loguniform(LOW, HIGH)},
        tune_config=ray.tune.TuneConfig(
            metric="validation/nll",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=1,
            search_alg=OptunaSearch(),
        ),
        run_config=ray.tune.RunConfig(name="frameworks", storage_path=str(folder)),
    ).fit()


def ray_worker(config: dict[str, Any]) -> None:
    """What a Ray Train worker runs: the trainer, and a report with a checkpoint at each milestone."""
    import ray.train
    import torch

    from t5vqvae.spec.run import RunSpec
    from tests.benchmarks.search_noted import train

    torch.set_num_threads(1)
    spec = RunSpec().with_overrides({**base(config["steps"]), "optim.learning_rate": config["learning_rate"]})
    for milestone in train(spec, cache_dir=Path(config["folder"]) / "cache"):
        with tempfile.TemporaryDirectory() as scratch:
            kept = ray.train.Checkpoint.from_directory(milestone.state.save(Path(scratch)))
            ray.train.report(milestone.metrics, checkpoint=kept)


def transformers(folder: Path, trials: int, steps: int) -> None:
    """Searches as Transformers' guide does, in this process."""
    import torch
    from transformers import TrainingArguments

    from t5vqvae.data import prepare
    from t5vqvae.spec.run import RunSpec
    from tests.benchmarks.search_transformers import Examples, NotedTrainer, Updates, collate

    torch.set_num_threads(1)
    spec = RunSpec().with_overrides(base(steps))
    prepared = prepare(spec.data, folder / "cache")

    def model(trial: Any) -> Any:
        made = spec.model.build(spec, prepared.tokenizer, len(prepared.role_names))
        made.quantizer.active = True
        return made

    trainer = NotedTrainer(
        model_init=model,
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=spec.evaluate.batch_size,
            eval_strategy="steps",
            eval_steps=steps,
            save_steps=steps,
            warmup_steps=spec.optim.warmup_steps,
            use_cpu=True,
            remove_unused_columns=False,
            prediction_loss_only=True,
            disable_tqdm=True,
            report_to=[],
        ),
        data_collator=collate,
        train_dataset=Examples(prepared.train, len(prepared.train)),
        eval_dataset=Examples(prepared.validation, 200),
        callbacks=[Updates()],
    )
    trainer.folder = folder
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", LOW, HIGH, log=True)},
        backend="optuna",
        n_trials=trials,
        direction="minimize",
        compute_objective=lambda metrics: metrics["eval_loss"],
    )


def measure(side: str, trials: int, steps: int) -> dict[str, float]:
    """Runs one side in a new process; returns its seconds by kind and the peak memory (PSS) of all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--side", side, "--folder", folder, "--trials", str(trials), "--steps", str(steps)]
        begun = time.time()
        process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.search_frameworks", *words])
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, family_mb(process.pid))
            time.sleep(1)
        wall, notes = time.time() - begun, read(Path(folder))
    if process.returncode or len(notes) != trials:
        raise SystemExit(f"{side} ended with {process.returncode} after {len(notes)} of {trials} trials")
    pure = sum(note["evaluated"] - note["stepped"] for note in notes)
    start_up = min(note["stepped"] for note in notes) - begun
    return {"wall": wall, "pure": pure, "start_up": start_up, "peak": peak}


def family_mb(pid: int) -> float:
    """Returns the memory (PSS) of a process and all that come from it, in MB."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for process in family:
        try:
            total += memory(process.pid)["pss"]
        except (OSError, KeyError):  # it has just ended
            continue
    return total


def table(found: dict[str, dict[str, float]], command: str) -> str:
    """Returns the result as Markdown."""
    lines = [
        "# The same search by three frameworks",
        "",
        *described(command),
        "",
        "| side | wall, s | start-up, s | pure training, s | wall over pure | that beyond start-up | peak memory, MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, side in found.items():
        beyond = (side["wall"] - side["start_up"]) / side["pure"]
        lines.append(
            f"| {name} | {side['wall']:.0f} | {side['start_up']:.0f} | {side['pure']:.0f}"
            f" | {side['wall'] / side['pure']:.2f} | {beyond:.2f} | {side['peak']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs all sides, or the one that a parent process asks for."""
    words = parser(__doc__, trials=8, steps=100)
    words.add_argument("--side", choices=SIDES.values())
    words.add_argument("--folder", type=Path)
    options = words.parse_args()
    if options.side:
        runs = {"ours": ours, "ray": plain_ray, "transformers": transformers}
        runs[options.side](options.folder, options.trials, options.steps)
        return
    found = {}
    for name, side in SIDES.items():
        found[name] = measure(side, options.trials, options.steps)
        print(name, json.dumps(found[name]), flush=True)
    command = f"search_frameworks --trials {options.trials} --steps {options.steps}"
    write(table(found, command), options.output)


if __name__ == "__main__":
    main()
