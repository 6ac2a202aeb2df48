"""Threads fit the cores that are allowed and free, and a run keeps its number."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from t5vqvae.training import threads
from t5vqvae.training.threads import Quota, free_threads, quota_of, run_threads, use_threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine of 8 cores, of which `busy` work; `quota` limits this process."""
    made = SimpleNamespace(busy=0.0, cores=set(range(8)), quota=None, now=0.0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "time", SimpleNamespace(sleep=lambda s: _pass(made, s), monotonic=lambda: made.now))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: made.cores)
    monkeypatch.setattr(threads, "_busy_seconds", lambda cores: made.busy * made.now)
    monkeypatch.setattr(threads, "quota_of", lambda: made.quota)
    return made


def _pass(machine: SimpleNamespace, seconds: float) -> None:
    machine.now += seconds


@pytest.mark.parametrize(
    ("busy", "number"), [(0, 8), (0.3, 8), (0.6, 7), (3, 5), (7.6, 1), (8, 1), (30, 1)]
)  # fmt: skip
def test_a_process_takes_the_free_cores_and_at_least_one(machine: SimpleNamespace, busy: float, number: int) -> None:
    machine.busy = busy
    assert free_threads() == number


def test_affinity_is_respected(machine: SimpleNamespace) -> None:
    machine.cores = {3, 5}
    assert free_threads() == 2


def test_a_quota_is_respected_less_what_its_group_uses(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.quota = Quota(2.5, Path("/nowhere"))
    assert free_threads() == 2
    monkeypatch.setattr(Quota, "used", lambda self: 1.0 * machine.now)
    assert free_threads() == 1
    machine.quota = Quota(0.5, Path("/nowhere"))
    assert free_threads() == 1


def test_the_users_own_number_wins(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    machine.busy = 8
    assert free_threads() == run_threads(tmp_path) == 3
    assert not list(tmp_path.iterdir())


def test_a_run_keeps_its_number_whatever_the_machine_does_then(machine: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run_threads(folder) == 8
    machine.busy = 7
    assert run_threads(folder) == 8
    assert run_threads(tmp_path / "other") == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"threads": null}', '{"other": 3}'])
def test_a_damaged_number_is_made_anew(machine: SimpleNamespace, tmp_path: Path, damage: str) -> None:
    (tmp_path / threads.FILE).write_text(damage)
    assert run_threads(tmp_path) == run_threads(tmp_path) == 8


def test_a_quota_of_control_groups_2_is_the_tightest_on_the_way_up(tmp_path: Path) -> None:
    inner = tmp_path / "cgroup" / "docker" / "abc"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    groups = tmp_path / "groups"
    groups.write_text("0::/docker/abc\n")
    quota = quota_of(tmp_path / "cgroup", groups)
    assert quota == Quota(1.5, inner.parent) and quota.used() == 2.5


def test_a_quota_of_control_groups_1(tmp_path: Path) -> None:
    inner = tmp_path / "cgroup" / "cpu,cpuacct" / "job"
    inner.mkdir(parents=True)
    (inner / "cpu.cfs_quota_us").write_text("400000\n")
    (inner / "cpu.cfs_period_us").write_text("100000\n")
    (inner / "cpuacct.usage").write_text("3000000000\n")
    (inner.parent / "cpu.cfs_quota_us").write_text("-1\n")
    (inner.parent / "cpu.cfs_period_us").write_text("100000\n")
    groups = tmp_path / "groups"
    groups.write_text("4:memory:/job\n3:cpu,cpuacct:/job\n")
    quota = quota_of(tmp_path / "cgroup", groups)
    assert quota == Quota(4.0, inner) and quota.used() == 3.0


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota_of(tmp_path, tmp_path / "missing") is None


@pytest.fixture
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_torch_and_the_tokenizers_take_the_number(restored: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", "x")
    monkeypatch.delenv("RAYON_NUM_THREADS")
    use_threads(2)
    assert (torch.get_num_threads(), os.environ["RAYON_NUM_THREADS"]) == (2, "2")


def test_choosing_does_not_import_torch() -> None:
    code = "import sys, t5vqvae.training.threads as t; t.free_threads(); print('torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "False", done.stderr
