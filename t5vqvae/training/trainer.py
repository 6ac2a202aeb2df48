"""Training: a generator of milestones. What to do with them (report, save, stop) is the caller's business.

```python
for milestone in train(spec, cache_dir=Path("var/cache")):
    print(milestone.step, milestone.metrics["validation/nll"])
```

With a process group initialised (Ray Train, torchrun) every worker iterates in step. Losses are summed over tokens and
divided by the global number of tokens, gradients are summed over workers, the quantizer gathers what it saw: so two
workers equal one, whatever their padding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from t5vqvae.data import BatchPlan, PreparedData, prepare
from t5vqvae.errors import CheckpointError
from t5vqvae.evaluation.evaluate import Evaluation, Reconstruction, evaluate
from t5vqvae.seeding import seed_from
from t5vqvae.spec.run import RunSpec
from t5vqvae.training import checkpoint
from t5vqvae.training import diagnostics as signatures
from t5vqvae.training.compile import compile_blocks, uncompiled
from t5vqvae.training.device import choose_device, resolve_precision
from t5vqvae.training.memory import memory_costs
from t5vqvae.training.optim import build_optimizer, learning_rate_at
from t5vqvae.training.progress_bars import without_progress_bars

Status = Literal["running", "completed", "diverged"]


@dataclass(frozen=True)
class Milestone:
    """What training reports at every evaluation.

    Attributes:
        step: Optimizer steps done.
        metrics: `split/name` to value; see `t5vqvae.evaluation.metrics` and `Trainer.progress`.
        tags: Failure signatures with their evidence.
        status: `completed` or `diverged` on the last milestone.
        state: Saves a checkpoint of this moment; valid until the next milestone is asked for.
        samples: About ten reconstructions.
        code_counts: How often each code was used in the evaluation, one list a codebook.
    """

    step: int
    metrics: dict[str, float]
    tags: dict[str, str]
    status: Status
    state: TrainingState
    samples: list[Reconstruction]
    code_counts: list[list[int]]


class TrainingState:
    """Everything a run needs to go on from here, bit for bit."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.milestone: dict[str, Any] = {}

    @property
    def model(self) -> Any:
        return self._trainer.model

    def save(self, directory: Path) -> Path:
        """Writes a checkpoint of this moment into `directory` and returns its folder.

        Raises:
            CheckpointError: If it could not be written; nothing is left behind then.
        """
        trainer = self._trainer
        path = checkpoint.path_of(directory, trainer.step)
        return checkpoint.write(path, trainer.spec, self.milestone, trainer.save_into)


def train(spec: RunSpec, *, cache_dir: Path, resume_from: Path | None = None) -> Iterator[Milestone]:
    """Trains a model and yields a milestone every `train.eval_every` steps and at the end.

    Args:
        spec: The run.
        cache_dir: Where tokenized corpora are kept, shared by all runs of a node.
        resume_from: A checkpoint of the same spec to go on from.

    Raises:
        SettingError, DataError: If the spec cannot be built.
        CheckpointError: If `resume_from` is damaged or belongs to another spec.
    """
    prepared = prepare(spec.data, cache_dir, backbone=spec.model.backbone)
    trainer = Trainer(spec, prepared)
    if resume_from is not None:
        trainer.load(resume_from)
    while trainer.step < spec.train.max_steps:
        finite = trainer.advance()
        if not finite:
            yield trainer.milestone("diverged", None)
            return
        last = trainer.step == spec.train.max_steps
        yield trainer.milestone("completed" if last else "running", trainer.evaluate())


class Trainer:
    """One worker's half of a training run; `train` is the way in."""

    def __init__(self, spec: RunSpec, prepared: PreparedData) -> None:
        self.spec = spec
        self.prepared = prepared
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.device = choose_device(spec)
        self.precision = resolve_precision(spec, self.device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = spec.train.tf32
        self.model = spec.model.build(spec, prepared.tokenizer, len(prepared.role_names)).to(self.device).train()
        if spec.train.compile:
            compile_blocks(self.model)
        self.optimizer = build_optimizer(self.model, spec.optim)
        config = spec.train
        self.plan = BatchPlan(
            prepared.train, config.batch_size, spec.seed, self.rank, self.world, microbatches=config.microbatches
        )
        self.step = 0
        self.num_tokens = 0
        self.history: list[dict[str, float]] = []
        self._recent: dict[str, Tensor] = {}
        self._timing = (0.0, 0)
        self.model.quantizer.active = False

    def autocast(self) -> AbstractContextManager[Any]:
        """Returns the context of the resolved precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def eagerly(self) -> AbstractContextManager[Any]:
        """Returns the context of what is no training step, which is never compiled."""
        return uncompiled() if self.spec.train.compile else nullcontext()

    def advance(self) -> bool:
        """Trains up to the next evaluation; returns False when a loss was not finite."""
        config, started, first = self.spec.train, time.perf_counter(), self.step
        last = min(config.max_steps, (self.step // config.eval_every + 1) * config.eval_every)
        while self.step < last:
            if not self.model.quantizer.active and self.step >= config.quantize_from:
                self.start_quantizer()
            loss = self.train_step()
            self.step += 1
            check_now = self.device.type == "cpu" or self.step % 20 == 0 or self.step == last
            if check_now and not math.isfinite(float(loss)):
                return False
        self._timing = (time.perf_counter() - started, self.step - first)
        return True

    def train_step(self) -> Tensor:
        """One optimizer step over all micro-batches and workers; returns the global loss."""
        batches = [batch.to(self.device) for batch in self.plan.local_batches(self.step)]
        tokens, positions = self._global_counts(batches)
        self._draw_apart()
        self._set_learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        totals = torch.zeros(2, device=self.device)
        for batch in batches:
            with self.autocast():
                losses = self.model.losses(batch)
            nll = losses.nll_sum / tokens
            aux = losses.aux_loss * (losses.num_positions / positions)
            (nll + aux).backward()
            totals += torch.stack([nll.detach().float(), aux.detach().float()])
        self._sum_gradients()
        if self.world > 1:
            dist.all_reduce(totals)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.optim.grad_clip or math.inf)
        self.optimizer.step()
        for quantizer in self.model.quantizers:
            quantizer.update()
        self.num_tokens += tokens
        self._recent = {"nll": totals[0], "aux_loss": totals[1], "grad_norm": norm}
        return totals.sum()

    def _global_counts(self, batches: list[Any]) -> tuple[int, int]:
        """Returns target tokens and encoder positions of this step over all workers."""
        counts = torch.tensor(
            [sum(b.num_target_tokens for b in batches), sum(b.num_source_tokens for b in batches)], device=self.device
        )
        if self.world > 1:
            dist.all_reduce(counts)
        tokens, positions = counts.tolist()
        return max(1, tokens), max(1, positions)

    def _draw_apart(self) -> None:
        """Lets several workers drop out, and make noise, each for its own sentences.

        Their draws follow from seed, step and rank, so that a resumed run repeats them, though its checkpoint holds
        the first worker's state alone.
        """
        if self.world > 1:
            torch.manual_seed(seed_from(self.spec.seed, self.step, self.rank))

    def _sum_gradients(self) -> None:
        """Sums gradients over workers, in one message; a parameter that one worker did not use counts as zero there."""
        if self.world == 1:
            return
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        dist.all_reduce(flat)
        for parameter, grad in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = grad.view_as(parameter)

    def _set_learning_rate(self) -> None:
        rate = learning_rate_at(self.step, self.spec.optim, self.spec.train.max_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def start_quantizer(self) -> None:
        """Places the codebook by encoder states of as many training batches as it wants, and closes the bottleneck.

        Every worker encodes the same (global) batches, so that all start alike and like a single worker would, a
        micro-batch at a time.
        """
        quantizer = self.model.quantizer
        wanted, step = quantizer.num_start_vectors, self.step
        vectors: list[Tensor] = []
        config = self.spec.train
        plan = BatchPlan(self.prepared.train, config.batch_size, self.spec.seed, microbatches=config.microbatches)
        self.model.eval()
        while sum(len(each) for each in vectors) < wanted and step - self.step < len(self.prepared.train):
            for batch in plan.local_batches(step):
                with self.eagerly():
                    states_NE = self.model.states_to_quantize(batch.to(self.device))
                vectors.append(quantizer.project_in(states_NE.float()))
            step += 1
        if vectors:
            quantizer.start(torch.cat(vectors)[:wanted], self.model.get_input_embeddings().weight.detach())
        quantizer.active = True
        self.model.train()

    def evaluate(self) -> Evaluation:
        """Evaluates on the validation split, in the precision of training."""
        with self.eagerly():
            return evaluate(self.model, self.prepared.validation, self.spec, autocast=self.autocast())

    def milestone(self, status: Status, evaluation: Evaluation | None) -> Milestone:
        """Puts a milestone together; without an evaluation (diverged) it carries progress alone."""
        metrics = self.progress() | (evaluation.metrics if evaluation else {})
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.history.append(metrics)
        tags = signatures.find(self.history, status, self.step)
        state = TrainingState(self)
        samples = evaluation.samples if evaluation else []
        counts = evaluation.code_counts if evaluation else []
        state.milestone = {
            "step": self.step,
            "status": status,
            "metrics": metrics,
            "tags": tags,
            "samples": [asdict(sample) for sample in samples],
            "code_counts": counts,
            "run_id": self.spec.run_id(self.prepared.fingerprint, self.precision),
            "data_fingerprint": self.prepared.fingerprint,
        }
        return Milestone(self.step, metrics, tags, status, state, samples, counts)

    def progress(self) -> dict[str, float]:
        """Returns training losses of the last step, costs and progress."""
        nll, aux = float(self._recent["nll"]), float(self._recent["aux_loss"])
        seconds, steps = self._timing
        metrics = {
            "train/loss": nll + aux,
            "train/nll": nll,
            "train/aux_loss": aux,
            "train/grad_norm": float(self._recent["grad_norm"]),
            "train/learning_rate": learning_rate_at(self.step - 1, self.spec.optim, self.spec.train.max_steps),
            "cost/parameters": float(sum(p.numel() for p in self.model.parameters())),
            "progress/step": float(self.step),
            "progress/tokens": float(self.num_tokens),
            "progress/epoch": float(self.plan.epoch(self.step)),
            "progress/fraction": self.step / self.spec.train.max_steps,
        }
        if steps:
            metrics["cost/step_seconds"] = seconds / steps
        return metrics | memory_costs(self.device)

    def save_into(self, folder: Path) -> None:
        """Writes weights and training state into a checkpoint folder."""
        with without_progress_bars():
            self.model.save_pretrained(folder / "model")
        state = {
            "step": self.step,
            "num_tokens": self.num_tokens,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "random_cpu": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }
        torch.save(state, folder / "training.pt")

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint of the same spec.

        Raises:
            CheckpointError: If it is damaged or belongs to another spec.
        """
        checkpoint.verify(path)
        checkpoint.refuse_other_spec(path, self.spec)
        weights = load_file(path / "model" / "model.safetensors")
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        tied = set(self.model._tied_weights_keys or {})
        if unexpected or set(missing) - tied:
            raise CheckpointError(f"checkpoint {path} does not fit the model: {[*unexpected, *missing][:3]}")
        state = torch.load(path / "training.pt", map_location=self.device, weights_only=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.num_tokens, self.history = state["step"], state["num_tokens"], state["history"]
        torch.set_rng_state(state["random_cpu"].cpu())
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"].cpu())
