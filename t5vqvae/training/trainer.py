"""Training as a generator of milestones; the caller decides what to do with them (report, save, stop).

```python
for milestone in train(spec, cache_dir=Path("var/cache")):
    print(milestone.step, milestone.metrics["validation/nll"])
```

With a process group (Ray Train, torchrun) every worker iterates in step with the others; see `workers.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from t5vqvae.data import BatchPlan, PreparedData, TokenizedSplit, prepare
from t5vqvae.data.batch import Batch
from t5vqvae.evaluation.evaluate import Evaluation, Reconstruction, control_of, evaluate
from t5vqvae.evaluation.out_of_distribution import evaluate_twins
from t5vqvae.files import digest
from t5vqvae.measures.control import Control
from t5vqvae.models.backbones import is_finite
from t5vqvae.models.contract import TextAutoencoder
from t5vqvae.spec.run import RunSpec, backbone_fingerprint
from t5vqvae.stages import Stage, stage
from t5vqvae.training import checkpoint, diagnostics
from t5vqvae.training.codebook_start import start_codebook
from t5vqvae.training.compile import compile_blocks, eagerly
from t5vqvae.training.device import autocast, choose_device, resolve_precision
from t5vqvae.training.labels import MIXED, labels
from t5vqvae.training.last_probe import ProbedBy, probed_by
from t5vqvae.training.optim import build_optimizer, learning_rate_at
from t5vqvae.training.progress import StepLosses, progress_metrics
from t5vqvae.training.training_state import TrainingState
from t5vqvae.training.unfit import refuse_long_texts, refuse_unfit
from t5vqvae.training.workers import global_counts, rank_and_world, seed_worker, sum_gradients, sum_over_workers

Status = Literal["running", "completed", "diverged"]


@dataclass(frozen=True)
class Milestone:
    """The result of one evaluation during training.

    Attributes:
        step: Optimizer steps done.
        metrics: `split/name` to value; see `t5vqvae.evaluation.metrics` and `t5vqvae.training.progress`.
        tags: Failure signatures with their evidence.
        status: `completed` or `diverged` on the last milestone.
        state: Saves a checkpoint of this moment; valid until the next milestone is requested.
        samples: About ten reconstructions.
        code_counts: Uses of each code in the evaluation, one list a codebook.
    """

    step: int
    metrics: dict[str, float]
    tags: dict[str, str]
    status: Status
    state: TrainingState
    samples: list[Reconstruction]
    code_counts: list[list[int]]


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[Milestone]:
    """Trains a model and yields a milestone every `train.eval_every` steps and at the end.

    Args:
        spec: The run.
        cache_dir: Cache of tokenized corpora, shared by all runs of a node.
        resume_from: A checkpoint of the same spec to resume from; None: train from the start.

    Raises:
        SettingError, DataError: If the spec cannot be built.
        CheckpointError: If `resume_from` is damaged or belongs to another spec.
    """
    if resume_from is None:
        refuse_long_texts(spec)
    with stage("preparing the data"):
        prepared = prepare(spec.data, cache_dir, backbone=spec.model.backbone)
    with stage("building the model"):
        edits = control_of(spec, cache_dir, "validation", prepared.role_names)
        trainer = Trainer(spec, prepared, edits, probed_by(spec, cache_dir))
    if resume_from is not None:
        with stage("loading the checkpoint"):
            trainer.resume(resume_from)
    with stage("training", spec.train.max_steps, "steps", trainer.state.step) as now:
        while trainer.state.step < spec.train.max_steps:
            evaluation = trainer.evaluate() if trainer.advance(now) and trainer.is_finite() else None
            if evaluation is None or not math.isfinite(evaluation.metrics.get("validation/nll", 0.0)):
                yield trainer.milestone("diverged", None)
                return
            last = trainer.state.step == spec.train.max_steps
            yield trainer.milestone("completed" if last else "running", evaluation)


class Trainer:
    """One worker's share of a training run; `train` is the entry point."""

    def __init__(
        self, spec: RunSpec, prepared: PreparedData, control: Control | None = None, probed: ProbedBy | None = None
    ) -> None:
        refuse_unfit(spec, prepared)
        self.spec = spec
        self.probed = probed
        self.prepared = prepared
        self.control = control
        self.device = choose_device(spec)
        self.precision = resolve_precision(spec, self.device)
        self._own_id = self._run_id = spec.run_id(prepared.fingerprint, self.precision)
        self._backbone = backbone_fingerprint(spec.model.backbone)  # before it is loaded: its files may change later
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = spec.train.tf32
        model: TextAutoencoder = spec.model.build(spec, prepared.tokenizer, len(prepared.role_names))
        self.model = model.to(self.device).train()
        if spec.train.compile:
            compile_blocks(self.model)
        self._labels = labels(spec, self.model, prepared)
        self.state = TrainingState(
            spec,
            self.model,
            build_optimizer(self.model, spec.optim),
            self.device,
            role_names=prepared.role_names,
        )
        self.plan = self._plan_of(prepared.train)
        self._first_plan = self.plan if prepared.autoencoded is None else self._plan_of(prepared.autoencoded)
        self._losses: StepLosses | None = None
        self._step_seconds: float | None = None
        self.model.quantizer.active = False
        for quantizer in self.model.quantizers:
            quantizer.most_waiting = max(quantizer.most_waiting, spec.train.microbatches)

    def resume(self, path: Path) -> None:
        """Continues from a checkpoint; begun in another precision or version, the run has another id and a label.

        Raises:
            CheckpointError: As `TrainingState.load` does.
        """
        self.state.load(path)
        stored = checkpoint.read_milestone(path)
        begun, said = stored.get("run_id", ""), stored["tags"].get(MIXED, "")
        if stored.get("own_id", begun) == self._own_id:
            self._run_id = begun
        else:
            self._run_id = digest(begun, self._own_id)[:16]
            said = f"{said + '; ' if said else ''}from step {self.state.step} on in another precision or version"
        self._labels |= {MIXED: said} if said else {}

    def _plan_of(self, split: TokenizedSplit) -> BatchPlan:
        rank, world = rank_and_world()
        config = self.spec.train
        return BatchPlan(split, config.batch_size, self.spec.seed, rank, world, microbatches=config.microbatches)

    def advance(self, now: Stage) -> bool:
        """Trains up to the next evaluation and reports every step; returns False when a loss was not finite."""
        config, state, started = self.spec.train, self.state, time.perf_counter()
        first, tokens = state.step, state.num_tokens
        last = min(config.max_steps, (first // config.eval_every + 1) * config.eval_every)
        has_started = self.model.quantizer.active  # read once, because reading it waits for the GPU
        while state.step < last:
            if not has_started and state.step >= config.quantize_from:
                with stage("starting the codebook"):
                    start_codebook(self.model, self.prepared.train, self.spec, state.step, self.device)
                has_started = True
            self._losses = self.train_step()
            state.step += 1
            # Reading a loss waits for the GPU, so it is read only now and then.
            check_now = self.device.type == "cpu" or state.step % 20 == 0 or state.step == last
            loss = float(self._losses.total) if check_now else None
            rate = (state.num_tokens - tokens) / (time.perf_counter() - started)
            part = "auto-encoder, " if config.stage_of(state.step - 1) == "autoencoder" else ""
            now.set(state.step, note=None if loss is None else f"{part}loss {loss:.4g}, {rate:,.0f} tokens a second")
            if loss is not None and not math.isfinite(loss):
                return False
        self._step_seconds = (time.perf_counter() - started) / (last - first)
        return True

    def train_step(self) -> StepLosses:
        """Takes one optimizer step over all micro-batches and workers."""
        batches = [batch.to(self.device) for batch in self._begun(self._present_plan.local_batches(self.state.step))]
        num_tokens, num_positions = global_counts(batches, self.device)
        seed_worker(self.spec.seed, self.state.step)
        self._set_learning_rate()
        optimizer = self.state.optimizer
        optimizer.zero_grad(set_to_none=True)
        totals = torch.zeros(2, device=self.device)
        for batch in batches:
            with autocast(self.device, self.precision):
                losses = self.model.losses(batch)
            nll = losses.nll_sum / num_tokens
            aux = losses.aux_loss * (losses.num_positions / num_positions)
            (nll + aux).backward()
            totals += torch.stack([nll.detach().float(), aux.detach().float()])
        sum_gradients(self.model)
        sum_over_workers(totals)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.optim.grad_clip or math.inf)
        optimizer.step()  # and with it the codebooks: see `Quantizer.update`
        self.state.num_tokens += num_tokens
        return StepLosses(totals[0], totals[1], norm)

    @property
    def _present_plan(self) -> BatchPlan:
        """The batches of this step's stage."""
        is_first = self.spec.train.stage_of(self.state.step) == "autoencoder"
        return self._first_plan if is_first else self.plan

    def _begun(self, batches: list[Batch]) -> list[Batch]:
        """Begins this step and its stage of two-stage training, and returns the step's batches with its targets."""
        self.model.begin_step(self.state.step, self.spec.train.noise_steps)
        stage = self.spec.train.stage_of(self.state.step)
        if stage is None:
            return batches
        self.model.begin_stage(stage)
        return batches if stage == "task" else [batch.of_sources() for batch in batches]

    def _set_learning_rate(self) -> None:
        rate = learning_rate_at(self.state.step, self.spec.optim, self.spec.train.max_steps)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate

    def is_finite(self) -> bool:
        """Returns whether every weight and every codebook is finite: the loss shows only what the last batch used."""
        return all(is_finite(tensor) for tensor in self.model.state_dict().values())

    def evaluate(self) -> Evaluation:
        """Evaluates on the validation split, in the precision of training."""
        with eagerly(self.spec):
            precision, data = autocast(self.device, self.precision), self.prepared
            found = evaluate(
                self.model, data.validation, self.spec, train=data.own_train, control=self.control, autocast=precision
            )
            twins = evaluate_twins(self.model, data.twins, self.spec, lambda: autocast(self.device, self.precision))
            last = self.state.step == self.spec.train.max_steps
            probed = self.probed(self.model) if last and self.probed is not None else {}
            return replace(found, metrics=found.metrics | twins | probed)

    def milestone(self, status: Status, evaluation: Evaluation | None) -> Milestone:
        """Returns the milestone of this moment; without an evaluation (diverged), only with the training metrics."""
        state, metrics = self.state, self._progress() | (evaluation.metrics if evaluation else {})
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        state.history.append(metrics)
        tags = diagnostics.find(state.history, status, state.step) | self._labels
        samples = evaluation.samples if evaluation else []
        counts = evaluation.code_counts if evaluation else []
        stored: checkpoint.StoredMilestone = {
            "step": state.step,
            "status": status,
            "metrics": metrics,
            "tags": tags,
            "samples": [asdict(sample) for sample in samples],
            "code_counts": counts,
            "run_id": self._run_id,
            "own_id": self._own_id,
            "data_fingerprint": self.prepared.fingerprint,
        }
        if self._backbone is not None:
            stored["backbone_fingerprint"] = self._backbone
        return Milestone(state.step, metrics, tags, status, replace(state, milestone=stored), samples, counts)

    def _progress(self) -> dict[str, float]:
        assert self._losses is not None
        last = max(self.state.step - 1, 0)
        plan = self._first_plan if self.spec.train.stage_of(last) == "autoencoder" else self.plan
        return progress_metrics(self.state, self._losses, plan.epoch(self.state.step), self._step_seconds)
