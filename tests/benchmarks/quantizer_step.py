"""One training step (forward, backward, update) of our quantizers against vector-quantize-pytorch, in one table.

    OMP_NUM_THREADS=1 python tests/benchmarks/quantizer_step.py --output tests/benchmarks/results/quantizer_step.md

Both sides of a row run in the same process, in turn, and the least time counts. Times are the CPU time of one thread;
memory is the peak above what the built quantizer and its input take, each side in a fresh process. To add a row, add
a `Row` to `ROWS`.

Letters: B sentences, T positions, C width, N real positions, K entries.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.quantizers.parts.assignment import mean_by_code, nearest
from t5vqvae.quantizers.parts.distributed import gather_together

B, T, C = 32, 32, 512
SIZES = (2000, 8192, 22000, 65536)
Step = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """One comparison: two builders of a step, from K and the device, and the ratio that is asked for."""

    title: str
    ours: Callable[[int, str], Step]
    theirs: Callable[[int, str], Step]
    goal: str
    sizes: tuple[int, ...] = SIZES


def batch(device: str) -> tuple[Tensor, Tensor]:
    """Returns states (B, T, C) and the mask of which two thirds are real, right padded at random lengths."""
    generator = torch.Generator().manual_seed(0)
    states_BTC = torch.randn(B, T, C, generator=generator)
    lengths_B = torch.randint(T // 3, T + 1, (B,), generator=generator)
    states_BTC = states_BTC.to(device, torch.float32 if device == "cpu" else torch.bfloat16)
    return states_BTC, (torch.arange(T) < lengths_B[:, None]).to(device)


def ours(name: str, **settings: object) -> Callable[[int, str], Step]:
    """Returns the builder of a step of our variant `name`."""

    def build(size: int, device: str) -> Step:
        config = QuantizerConfig.variants[name].parse({"name": name, "codebook_size": size, **settings})
        quantizer = config.build(C).to(device)
        states_BTC, mask_BT = batch(device)
        states_BTC.requires_grad_()

        def step() -> None:
            states_BTC.grad = None
            quantizer.zero_grad()
            output = quantizer(states_BTC, mask_BT)
            (output.quantized_BTE.float().square().sum() + output.aux_loss).backward()
            quantizer.update()

        return step

    return build


def library(make: Callable[..., nn.Module], masked: bool = True, packed: bool = False) -> Callable[[int, str], Step]:
    """Returns the builder of a step of the library's module; `packed`: on (1, N, C), for modules without a mask."""

    def build(size: int, device: str) -> Step:
        module = make(size).to(device)
        states, mask_BT = batch(device)
        states = (states[mask_BT][None] if packed else states).requires_grad_()
        options = {"mask": mask_BT} if masked else {}

        def step() -> None:
            states.grad = None
            module.zero_grad()
            output = module(states, **options)
            loss = output[-1].sum() if len(output) > 2 else 0.0
            (output[0].float().square().sum() + loss).backward()

        return step

    return build


def vector_quantize(rotation: bool) -> Callable[[int], nn.Module]:
    def make(size: int) -> nn.Module:
        from vector_quantize_pytorch import VectorQuantize

        return VectorQuantize(dim=C, codebook_size=size, decay=0.99, commitment_weight=0.25, rotation_trick=rotation)

    return make


def residual(size: int) -> nn.Module:
    from vector_quantize_pytorch import ResidualVQ

    return ResidualVQ(
        dim=C, codebook_size=size, num_quantizers=4, decay=0.99, commitment_weight=0.25, rotation_trick=False
    )


def sim(size: int) -> nn.Module:
    from vector_quantize_pytorch import SimVQ

    return SimVQ(dim=C, codebook_size=size, rotation_trick=False)


def lookup_free(size: int) -> nn.Module:
    from vector_quantize_pytorch import LFQ

    return LFQ(dim=C, codebook_size=size)


def finite_scalar(size: int) -> nn.Module:
    from vector_quantize_pytorch import FSQ

    return FSQ(levels=list(QuantizerConfig.variants["fsq"].parse({"codebook_size": size}).resolved_levels), dim=C)


def floor(size: int, device: str, fast: bool = False) -> Step:
    """The least a plain step can do: distances by one `addmm`, their argmin, and the update of the touched rows.

    `fast` takes `nearest` in place of `addmm` and argmin: what is left of our step is then the rest of it.
    """
    states_BTC, mask_BT = batch(device)
    inputs_NC = states_BTC[mask_BT].float()
    table_KC = torch.randn(size, C, generator=torch.Generator().manual_seed(1)).to(device) * C**-0.5
    counts_K = torch.ones(size, device=device)

    def step() -> None:
        if fast:
            codes_N = nearest(inputs_NC, table_KC)
        else:
            norms_K = torch.linalg.vector_norm(table_KC, dim=-1).square_()
            codes_N = torch.addmm(norms_K, inputs_NC, table_KC.T, alpha=-2.0).argmin(-1)
        touched_U, new_U, means_UC = mean_by_code(inputs_NC, codes_N)
        counts_K.mul_(0.99).index_add_(0, touched_U, 0.01 * new_U)
        table_KC[touched_U] = torch.lerp(table_KC[touched_U], means_UC, (0.01 * new_U / counts_K[touched_U])[:, None])

    return step


EMA = ours("ema", revive_below=None)
ROTATION = ours("ema", revive_below=None, estimator="rotation")
POWERS = (2048, 8192, 16384)
ROWS = {
    "ema": Row("`ema` / library `VectorQuantize`", EMA, library(vector_quantize(False)), "at most 1/5 (8,192; 22,000)"),
    "floor": Row("`ema` / its floor", EMA, floor, "at most 1.15"),
    "fast_floor": Row("`ema` / floor through `nearest`", EMA, partial(floor, fast=True), ""),
    "rotation": Row("`ema` rotation / straight-through", ROTATION, EMA, "at most 1.10"),
    "revival": Row("`ema` with revival / without", ours("ema"), EMA, ""),
    "rvq": Row("`rvq` x 4 / library", ours("rvq", depth=4), library(residual), "at most 1/3", SIZES[:2]),
    "simvq": Row("`simvq` / library, unmasked", ours("simvq"), library(sim, False), "at most 1/3", SIZES[:3]),
    "packed_simvq": Row("`simvq` / library, packed", ours("simvq"), library(sim, False, True), "", SIZES[:3]),
    "lfq": Row("`lfq` / library", ours("lfq"), library(lookup_free), "at most 1/3", POWERS),
    "fsq": Row("`fsq` / library, unmasked", ours("fsq"), library(finite_scalar, False), "about 1", POWERS),
}


def least_times(steps: list[Step], rounds: int, device: str) -> list[float]:
    """Returns the least milliseconds of each step, run in turn `rounds` times after one round to warm up."""
    times: list[list[float]] = [[] for _ in steps]
    for round_number in range(rounds + 1):
        for step, seen in zip(steps, times, strict=True):
            start = _clock(device)
            step()
            if round_number:
                seen.append(_clock(device) - start)
    return [1e3 * min(seen) for seen in times]


def _clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def extra_memory(row: str, side: str, size: int, device: str) -> float:
    """Returns the peak MB of three steps above what stood before them, measured in a fresh process."""
    command = [sys.executable, __file__, "--device", device, "--memory", row, side, str(size)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _measure_memory(row: str, side: str, size: int, device: str) -> float:
    build = getattr(ROWS[row], side)
    build(64, device)()  # What the first step of any size loads is not this size's doing.
    step = build(size, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        [step() for _ in range(3)]
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """Returns a line of the kernel's account of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def sync_times(size: int, rounds: int = 25) -> tuple[float, float]:
    """Returns the least wall milliseconds of two workers' gathering of positions, and of reducing a K x C table."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        queue = context.SimpleQueue()
        workers = [context.Process(target=_sync, args=(rank, folder, size, rounds, queue)) for rank in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return queue.get()


def _sync(rank: int, folder: str, size: int, rounds: int, queue: multiprocessing.SimpleQueue) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    states_BTC, mask_BT = batch("cpu")
    inputs_NC, table_KC = states_BTC[mask_BT], torch.randn(size, C)
    codes_NQ = torch.zeros(inputs_NC.shape[0], 1, dtype=torch.int64)
    gathering, reducing = [], []
    gather, reduce = partial(gather_together, inputs_NC, codes_NQ), partial(dist.all_reduce, table_KC)
    for _ in range(rounds):
        for collective, times in ((gather, gathering), (reduce, reducing)):
            dist.barrier()
            start = time.perf_counter()
            collective()
            times.append(1e3 * (time.perf_counter() - start))
    if rank == 0:
        queue.put((min(gathering), min(reducing)))
    dist.destroy_process_group()


def table(names: list[str], sizes: list[int] | None, rounds: int, memory: bool, device: str) -> list[str]:
    """Measures and returns the lines of the table."""
    lines = ["| row | K | ours ms | other ms | ratio | goal | ours MB | other MB | ratio |", "|-|-|-|-|-|-|-|-|-|"]
    for name in names:
        row = ROWS[name]
        for size in sizes or row.sizes:
            torch.manual_seed(0)
            mine, other = least_times([row.ours(size, device), row.theirs(size, device)], rounds, device)
            cells = f"| {row.title} | {size:,} | {mine:.1f} | {other:.1f} | {mine / other:.2f} | {row.goal} |"
            if memory and "floor" not in name:
                mb, other_mb = (extra_memory(name, side, size, device) for side in ("ours", "theirs"))
                cells += f" {mb:.0f} | {other_mb:.0f} | {mb / other_mb:.2f} |"
            else:
                cells += " | | |"
            lines.append(cells)
            print(cells, flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--sizes", nargs="*", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory", nargs=3, metavar=("ROW", "SIDE", "K"), help="measure one cell's memory and end")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        row, side, size = options.memory
        print(json.dumps(_measure_memory(row, side, int(size), options.device)))
        return
    lines = table(options.rows, options.sizes, options.rounds, not options.no_memory, options.device)
    text = "\n".join([_heading(options.rounds, options.device), *lines, "", *_sync_lines(), ""])
    if options.output:
        options.output.write_text(text)


def _sync_lines() -> list[str]:
    lines = ["| two workers, wall | K | gather positions ms | reduce table ms | ratio | goal |", "|-|-|-|-|-|-|"]
    for size in SIZES[:3]:
        gather, reduce = sync_times(size)
        goal = "at most 0.20" if size == 22000 else ""
        lines.append(f"| synchronisation | {size:,} | {gather:.1f} | {reduce:.1f} | {gather / reduce:.2f} | {goal} |")
        print(lines[-1], flush=True)
    return lines


def _heading(rounds: int, device: str) -> str:
    _, mask_BT = batch("cpu")
    return f"""# One training step of the quantizers

    OMP_NUM_THREADS=1 python {" ".join(["tests/benchmarks/quantizer_step.py", *sys.argv[1:]])}

Forward, backward and update; C = {C}, {B} x {T} positions, {int(mask_BT.sum())} of them real; device {device}.
One thread of a machine with {multiprocessing.cpu_count()} cores ({platform.machine()}), shared with other work;
torch {version("torch")}, vector-quantize-pytorch {version("vector-quantize-pytorch")}.
Least of {rounds} steps, both sides in turn, CPU time on a CPU; MB is the peak of three steps above the built
quantizer, in a fresh process.
"""


if __name__ == "__main__":
    main()
