"""The embedded Ray head and MLflow server start once, stay on the loopback interface, and stop completely."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from places import ROOT

from cluster import local, service
from tune.records.study_paths import state_dir

CLIENT = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory):
    """Both services, on free ports, with their state in a folder with a long path."""
    folder = tmp_path_factory.mktemp("a-folder-too-deep-for-the-sockets-of-ray") / "var"
    ports = [str(service.pick_port(None)), str(service.pick_port(None))]
    try:
        words = ["start", "--state", str(folder), "--dashboard-port", ports[0], "--mlflow-port", ports[1]]
        assert local.main(words) == 0
        yield folder
    finally:
        local.stop(folder)


def submit(state: Path, *command: str, cwd: Path) -> str:
    """Submits a job without further settings from another directory, and returns its output."""
    url = service.running(state, "ray")["url"]
    ray = str(Path(sys.executable).parent / "ray")
    done = subprocess.run(
        [ray, "job", "submit", "--", *command],
        env={**CLIENT, "RAY_API_SERVER_ADDRESS": url}, cwd=cwd, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.ray
def test_both_answer_and_a_second_start_finds_them(state: Path) -> None:
    before = [service.read_record(state, name)["pid"] for name in local.NAMES]
    assert local.main(["start", "--state", str(state)]) == 0
    assert [service.read_record(state, name)["pid"] for name in local.NAMES] == before
    assert local.print_status(state) == 0
    assert (state / "mlflow.db").is_file()


@pytest.mark.ray
def test_nothing_listens_beyond_the_loopback_interface(state: Path) -> None:
    family = [p for name in local.NAMES for p in service._family(service.read_record(state, name))]
    listening = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) > 5
    hosts = {address.ip.removeprefix("::ffff:") for address in listening}
    assert {host for host in hosts if not host.startswith("127.") and host != "::1"} == set()


@pytest.mark.ray
def test_a_bare_job_runs_in_the_project_with_this_interpreter_and_state(state: Path, tmp_path: Path) -> None:
    script = "import os, sys; print('job', os.getcwd(), sys.prefix, os.environ['MLFLOW_TRACKING_URI'])"
    printed = next(
        line for line in submit(state, "python", "-c", script, cwd=tmp_path).splitlines() if line[:4] == "job "
    )
    assert printed.split()[1:] == [str(ROOT), sys.prefix, service.running(state, "mlflow")["url"]]
    script = "from tune.records.study_paths import state_dir; print('state', state_dir())"
    assert f"state {state_dir(state)}\n" in submit(state, "python", "-c", script, cwd=tmp_path)


@pytest.mark.ray
def test_a_killed_mlflow_server_comes_back_where_jobs_look_for_it(state: Path) -> None:
    record = service.read_record(state, "mlflow")
    os.kill(record["pid"], signal.SIGKILL)
    psutil.wait_procs([psutil.Process(record["pid"])], timeout=10)
    head = service.read_record(state, "ray")["pid"]
    assert local.main(["start", "--state", str(state)]) == 0
    assert service.read_record(state, "mlflow")["facts"] == record["facts"]
    assert service.read_record(state, "ray")["pid"] == head


@pytest.mark.ray
def test_stop_leaves_no_process_and_no_port(state: Path) -> None:
    family = [p for name in local.NAMES for p in service._family(service.read_record(state, name))]
    port = int(service.running(state, "ray")["address"].split(":")[1])
    folder = Path(service.running(state, "ray")["folder"])
    assert len(family) > 5
    assert folder.is_dir()
    local.stop(state)
    assert not folder.exists()
    assert [process for process in family if process.is_running()] == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert local.print_status(state) == 1


def test_ray_gets_a_folder_short_enough_for_its_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    assert len(str(local.ray_folder(deep))) <= local.LONGEST_RAY_FOLDER
    assert local.ray_folder(deep) != local.ray_folder(deep / "er")
    for folder in (local.ray_folder(deep), local.ray_folder(deep / "er")):
        assert folder.parent.stat().st_mode & 0o777 == 0o700, "Ray opens its own folder to all"
        shutil.rmtree(folder.parent)


def plant_link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to(folder.parent / "elsewhere")


def plant_open_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def plant_foreign_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if os.getuid():
        pytest.skip("only root gives folders away")
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (plant_link, "is no folder"),
        (Path.touch, "is no folder"),
        (plant_open_folder, "can be written by other users"),
        (plant_foreign_folder, "belongs to the user with id 12345"),
    ],
)
def test_a_temporary_folder_that_others_may_have_put_there_is_refused_and_left_alone(
    plant: Callable[[Path], None], wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = tmp_path / ("deep" * 20)
    folder = local.ray_folder(deep).parent
    shutil.rmtree(folder)
    plant(folder)
    with pytest.raises(service.ServiceError, match=f"{folder} {wrong}") as caught:
        local.ray_folder(deep)
    assert "\n" not in str(caught.value) and "TMPDIR" in str(caught.value)
    local.stop(deep)
    assert folder.exists(), "nothing of others is deleted"


def test_words_after_the_dashes_are_passed_to_the_search() -> None:
    assert local.parse(["search", "--", "quickstart", "a.b=1", "--trials", "4"]).words == [
        "quickstart", "a.b=1", "--trials", "4",
    ]  # fmt: skip
