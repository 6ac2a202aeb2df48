"""Attempts at fitting a run onto its GPU: the first one, and the next one after memory ran out.

A run that is out of memory resumes from its newest checkpoint. First it shares its GPU with fewer other runs: its share
is doubled until it has the GPU alone. Then its batch is split into twice as many micro-batches, which changes no result
(`RunSpec` refuses those that would). When a micro-batch is one sentence and memory still runs out, the run has failed.

The next attempt is written into the run's folder before it is reported, so it survives every kill: a process that
starts an older attempt ends it at once with the status `out_of_memory`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.files import read_json, write_json
from t5vqvae.runs.follow import Report, failure, follow
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec

FILE = "attempt.json"
OUT_OF_MEMORY = "out_of_memory"
"""The status of an attempt that ran out of memory while the run has another attempt; no run ends with it."""
UNFIT = "CUDA error"
"""A process whose error contains this text has lost its GPU and cannot run anything else there."""


@dataclass(frozen=True)
class Attempt:
    """How a run is fitted onto its GPU.

    Attributes:
        gpus: GPUs per worker; a fraction shares a GPU with other runs. 0: no GPU, and no further attempt.
        microbatches: Micro-batches per worker; None: as in the spec.
        limit_mb: Memory in MB that the allocator of its process may use; None: all.
        tried: A line of text for each earlier attempt that ran out of memory.
    """

    gpus: float = 0.0
    microbatches: int | None = None
    limit_mb: float | None = None
    tried: tuple[str, ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        """The MLflow tags of the run in this attempt."""
        tags = {"t5vqvae.gpus": f"{self.gpus:g}"} if self.gpus else {}
        if self.microbatches is not None:
            tags["t5vqvae.microbatches"] = str(self.microbatches)
        return tags | self.history

    @property
    def history(self) -> dict[str, str]:
        """The tag that lists the attempts that ran out of memory; empty without any."""
        return {"t5vqvae.out_of_memory": "; ".join(self.tried)} if self.tried else {}

    def next(self, spec: RunSpec, step: int = 0) -> Attempt | None:
        """Returns the attempt to make after this one ran out of memory; None when nothing is left to try.

        Args:
            spec: The run's spec in this attempt.
            step: The step of the run's last milestone.
        """
        number = spec.train.microbatches
        tried = (*self.tried, f"gpus={self.gpus:g} microbatches={number} after step {step}")
        if self.gpus < 1:
            fewer = math.ceil(sharers(self.gpus) / 2)  # of three runs two stay: half a GPU may be enough
            return replace(self, gpus=share_of(fewer), limit_mb=None, tried=tried)
        with suppress(SettingError):
            spec.with_overrides({"train.microbatches": 2 * number})
            return replace(self, microbatches=2 * number, tried=tried)
        return None

    def write(self, directory: Path) -> None:
        """Stores this attempt in the run's folder, for the next start of the run."""
        write_json(directory / FILE, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> Attempt | None:
        """Returns the attempt stored in a run's folder; None if the run never ran out of memory."""
        try:
            values = read_json(directory / FILE)
            return cls(**{**values, "tried": tuple(values["tried"])})
        except (FileNotFoundError, DamagedFileError, KeyError, TypeError):  # damaged: the first attempt is made again
            return None


def share_of(number: int) -> float:
    """Returns the share of a GPU for each of `number` runs, rounded down to Ray's resolution of 1/10000."""
    return math.floor(10_000 / number) / 10_000


def sharers(gpus: float) -> int:
    """Returns how many runs with this share fit onto one GPU; the inverse of `share_of`."""
    return math.floor(1 / gpus + 1e-9)


def attempted(run: TrackedRun, attempt: Attempt, *, writes: bool = True, alone: bool = True) -> Iterator[Report]:
    """Follows a run and yields its reports; after memory ran out, the last is `out_of_memory` or `failed`.

    Args:
        run: What to follow; its spec has the attempt's micro-batches.
        attempt: How the run is fitted onto its GPU.
        writes: See `t5vqvae.runs.follow.follow`.
        alone: False when other workers are in step with this one. The error is then raised, which ends all workers.
            After a restart they all report `out_of_memory` together.

    Raises:
        Exception: What the run raised, except for an error of memory. That one too is raised when `alone` is False or
            this process has lost its GPU; see `UNFIT`.
    """
    from t5vqvae.training.memory import is_out_of_memory, limit_memory

    later = Attempt.read(run.directory) if attempt.gpus else None
    if later is not None and len(later.tried) > len(attempt.tried):
        yield Report(OUT_OF_MEMORY, tags=later.history)
        return
    if attempt.gpus:
        limit_memory(attempt.limit_mb)
    last: Report | None = None
    try:
        for report in follow(run, writes=writes):
            metrics = {**report.metrics, **_share(run, attempt)}
            last = replace(report, metrics=metrics, tags={**report.tags, **attempt.history})
            yield last
        return
    except Exception as error:
        if not attempt.gpus or not is_out_of_memory(error):
            raise
        last = _ran_out(run, attempt, error, last)
        if not alone or UNFIT in str(error):
            raise
    yield last  # outside `except`: the error is gone, and with it the tensors in the frames of its traceback


def _share(run: TrackedRun, attempt: Attempt) -> dict[str, float]:
    return {"cost/gpus": attempt.gpus * run.spec.train.num_workers} if attempt.gpus else {}


def _ran_out(run: TrackedRun, attempt: Attempt, error: Exception, last: Report | None) -> Report:
    """Returns the last report of an attempt that ran out of memory, after storing the next attempt."""
    last = last or Report("running")
    following = attempt.next(run.spec, int(last.metrics.get("progress/step", 0)))
    if following is None:
        # The run has failed. If the user starts it again, they have changed something: try everything again.
        (run.directory / FILE).unlink(missing_ok=True)
        return failure(run.directory, hopeless(run.spec, error), last)
    following.write(run.directory)
    return replace(last, status=OUT_OF_MEMORY, tags={**last.tags, **following.history})


def hopeless(spec: RunSpec, error: Exception) -> SettingError:
    """Returns the error of a run that no attempt fits onto its GPU.

    Args:
        spec: The run's spec in its last attempt.
        error: What the last attempt raised.
    """
    refusal = SettingError(
        f"train.batch_size={spec.train.batch_size} does not fit onto the GPU, although the run has the GPU alone and"
        f" train.microbatches={spec.train.microbatches}; use a smaller model, data.max_length or evaluate.batch_size,"
        " a larger GPU, or, if the losses of its quantizer allow no more micro-batches, a smaller batch"
    )
    refusal.__cause__ = error
    return refusal
