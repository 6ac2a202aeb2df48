"""An attempt at fitting a run onto its GPU, and the next one where memory runs out.

A run that is out of memory goes on from its newest checkpoint: first with fewer others on its GPU, its share doubled
until it has one to itself; then with its batch in twice as many micro-batches, which changes no result (`RunSpec`
refuses those that would); and it has failed when a micro-batch is one sentence. What is to be tried next is written
into the run's folder before anybody hears of it, so it holds over every kill: a process that starts an older attempt
sends it back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from t5vqvae.errors import SettingError
from t5vqvae.files import read_json, write_json
from t5vqvae.runs.follow import failure, follow
from t5vqvae.runs.tracked_run import TrackedRun
from t5vqvae.spec.run import RunSpec

FILE = "attempt.json"
OUT_OF_MEMORY = "out_of_memory"
"""The status of an attempt that ended so, while the run has another one; no run ends with it."""
UNFIT = "CUDA error"
"""An error that says so leaves its process without a working GPU."""


@dataclass(frozen=True)
class Attempt:
    """How a run is fitted onto its GPU.

    Attributes:
        gpus: GPUs a worker; a fraction is shared with others. 0: no GPU, and no other attempt.
        microbatches: Of each worker; None: as the spec says.
        limit_mb: What the allocator of its process may take; None: all.
        tried: The attempts that ran out of memory before, in words.
    """

    gpus: float = 0.0
    microbatches: int | None = None
    limit_mb: float | None = None
    tried: tuple[str, ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        """What the run's trace in MLflow is tagged with."""
        tags = {"t5vqvae.gpus": f"{self.gpus:g}"} if self.gpus else {}
        if self.microbatches is not None:
            tags["t5vqvae.microbatches"] = str(self.microbatches)
        return tags | self.history

    @property
    def history(self) -> dict[str, str]:
        """The tag that says what ran out of memory before; none if nothing did."""
        return {"t5vqvae.out_of_memory": "; ".join(self.tried)} if self.tried else {}

    def next(self, spec: RunSpec, step: int = 0) -> Attempt | None:
        """Returns what to try when this ran out of memory; None when nothing is left.

        Args:
            spec: The run as it was tried.
            step: Its last milestone.
        """
        number = spec.train.microbatches
        tried = (*self.tried, f"gpus={self.gpus:g} microbatches={number} after step {step}")
        if self.gpus < 1:
            fewer = math.ceil(sharers(self.gpus) / 2)  # of three two, which may do, and not one
            return replace(self, gpus=share_of(fewer), limit_mb=None, tried=tried)
        with suppress(SettingError):
            spec.with_overrides({"train.microbatches": 2 * number})
            return replace(self, microbatches=2 * number, tried=tried)
        return None

    def write(self, directory: Path) -> None:
        """Leaves this as what the next start of the run in `directory` has to try."""
        write_json(directory / FILE, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> Attempt | None:
        """Returns what the run in `directory` has to try after it ran out of memory; None if it never did."""
        path = directory / FILE
        if not path.exists():
            return None
        values = read_json(path)
        return cls(**{**values, "tried": tuple(values["tried"])})


def share_of(number: int) -> float:
    """Returns the part of a GPU that each of `number` runs has, rounded down to the ten-thousandths that Ray knows."""
    return math.floor(10_000 / number) / 10_000


def sharers(gpus: float) -> int:
    """Returns how many runs of this share one GPU holds; the inverse of `share_of`."""
    return math.floor(1 / gpus + 1e-9)


def attempted(
    run: TrackedRun, attempt: Attempt, *, writes: bool = True, alone: bool = True
) -> Iterator[dict[str, Any]]:
    """Follows a run and yields its reports; when memory runs out, one of status `out_of_memory` or `failed` is last.

    Args:
        run: What to follow, its spec with the attempt's micro-batches.
        attempt: How it is fitted onto its GPU.
        writes: See `t5vqvae.runs.follow.follow`.
        alone: False when other workers are in step with this one. Its error is raised then, which ends them all;
            started again, they are sent back together.

    Raises:
        Exception: What the run raised, unless it is out of memory; that too where this process is no longer fit.
    """
    from t5vqvae.training.memory import is_out_of_memory, limit_memory

    later = Attempt.read(run.directory) if attempt.gpus else None
    if later is not None and len(later.tried) > len(attempt.tried):
        yield {"status": OUT_OF_MEMORY, "tags": later.history}
        return
    if attempt.gpus:
        limit_memory(attempt.limit_mb)
    last: dict[str, Any] = {}
    try:
        for report in follow(run, writes=writes):
            last = {**report, "tags": {**report["tags"], **attempt.history}, **_share(run, attempt)}
            yield last
        return
    except Exception as error:
        if not attempt.gpus or not is_out_of_memory(error):
            raise
        last = _ran_out(run, attempt, error, last)
        if not alone or UNFIT in str(error):
            raise
    yield last  # after the error is gone, and with it the tensors of the frames that it passed


def _share(run: TrackedRun, attempt: Attempt) -> dict[str, float]:
    return {"cost/gpus": attempt.gpus * run.spec.train.num_workers} if attempt.gpus else {}


def _ran_out(run: TrackedRun, attempt: Attempt, error: Exception, last: dict[str, Any]) -> dict[str, Any]:
    """Returns the last report of an attempt that ran out of memory, after writing down what comes next."""
    following = attempt.next(run.spec, int(last.get("progress/step", 0)))
    if following is None:
        (run.directory / FILE).unlink(missing_ok=True)  # whoever tries it again has mended something
        return failure(run.directory, hopeless(run.spec, error), last)
    following.write(run.directory)
    return {**last, "status": OUT_OF_MEMORY, "tags": {**last.get("tags", {}), **following.history}}


def hopeless(spec: RunSpec, error: Exception) -> SettingError:
    """Returns what to say of a run that no attempt fits onto its GPU."""
    said = SettingError(
        f"train.batch_size={spec.train.batch_size} does not fit onto the GPU, with none beside it and in"
        f" train.microbatches={spec.train.microbatches}; take a smaller model, data.max_length or evaluate.batch_size,"
        " a larger GPU, or, if its quantizer's terms refuse more micro-batches, a smaller batch"
    )
    said.__cause__ = error
    return said
