"""The embedded Ray head and MLflow server start once, stay on the loopback interface, and stop completely."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from places import ROOT

from cluster import arguments, local, ray_folder, service
from cluster.ray_token import token_environment
from cluster.service import Service, ServiceError
from tune.records.study_paths import state_dir

CLIENT = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory):
    """Both services, on free ports, with their state in a folder with a long path."""
    folder = tmp_path_factory.mktemp("a-folder-too-deep-for-the-sockets-of-ray") / "var"
    ports = [str(service.pick_port(None)), str(service.pick_port(None))]
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("RAY_")]:
                patch.delenv(name)
            words = ["start", "--state", str(folder), "--dashboard-port", ports[0], "--mlflow-port", ports[1]]
            assert local.main(words) == 0
        yield folder
    finally:
        local.stop(folder)


def family(state: Path) -> list[psutil.Process]:
    """Returns the processes of both services."""
    records = [service.read_record(state, name) for name in local.NAMES]
    return [process for one in records for process in service._family(service._process(one), one["mark"])]


def submit(state: Path, *command: str, cwd: Path) -> str:
    """Submits a job from another directory, as a shell does after `eval "$(make env)"`, and returns its output."""
    ray = str(Path(sys.executable).parent / "ray")
    script = f'eval "$({sys.executable} -m cluster.local env --state "$0")" && cd "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, str(state), str(cwd), ray, "job", "submit", "--", *command],
        env={**CLIENT, "PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True, timeout=180,
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
    processes = family(state)
    listening = [c.laddr for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
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


def answer(url: str, **headers: str) -> int:
    """Returns the status of a request that no proxy sees."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return int(direct.open(urllib.request.Request(url, headers=headers), timeout=20).status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.ray
def test_who_has_no_token_gets_no_job_and_no_answer(state: Path, tmp_path: Path) -> None:
    facts = service.running(state, "ray")
    file = Path(facts["token"])
    assert file.parent == state / "run" and file.stat().st_mode & 0o777 == 0o600
    jobs = f"{facts['url']}/api/jobs/"
    assert answer(jobs) == 401
    assert answer(jobs, Authorization="Bearer wrong") == 403
    assert answer(jobs, Authorization=f"Bearer {file.read_text()}") == 200
    assert answer(facts["url"]) == 200, "the dashboard's page, which asks for the token"
    ray = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", facts["url"], "--", "true"]
    done = subprocess.run(ray, env=CLIENT, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "Missing authentication token" in done.stdout + done.stderr


@pytest.mark.ray
def test_a_driver_reaches_the_head_with_the_token_alone(state: Path, tmp_path: Path) -> None:
    facts = service.running(state, "ray")
    code = """
from t5vqvae.errors import UserError
from tune.execution.ray_cluster import connect
import ray
try:
    with connect():
        print("nodes", len(ray.nodes()))
except UserError as error:
    print(error)
"""

    def said(**environment: str) -> str:
        here = {"RAY_ADDRESS": facts["address"], "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # as jobs have them
        known = {**CLIENT, "PYTHONPATH": str(ROOT), **here, **environment}
        done = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, timeout=120)
        return done.stdout

    assert said(**token_environment(facts)) == "nodes 1\n"
    (tmp_path / "wrong").write_text("0" * 64)
    wrong = said(
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(tmp_path / "wrong"), RAY_NUM_REDIS_GET_RETRIES="2"
    )  # tries, a second apart; Ray's own 20 tell nothing more
    assert "refuses the token of this process" in wrong and wrong.count("\n") == 1


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
    processes = family(state)
    port = int(service.running(state, "ray")["address"].split(":")[1])
    folder = Path(service.running(state, "ray")["folder"])
    assert len(processes) > 5
    assert folder.is_dir()
    local.stop(state)
    assert not folder.exists()
    assert [process for process in processes if process.is_running()] == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert local.print_status(state) == 1


def test_ray_gets_a_folder_short_enough_for_its_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    assert len(str(ray_folder.ray_folder(deep))) <= ray_folder.LONGEST_RAY_FOLDER
    assert ray_folder.ray_folder(deep) != ray_folder.ray_folder(deep / "er")
    for folder in (ray_folder.ray_folder(deep), ray_folder.ray_folder(deep / "er")):
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
    monkeypatch.setattr(ray_folder, "LONGEST_RAY_FOLDER", 200)
    deep = tmp_path / ("deep" * 50)
    folder = ray_folder.ray_folder(deep).parent
    shutil.rmtree(folder)
    plant(folder)
    with pytest.raises(service.ServiceError, match=f"{folder} {wrong}") as caught:
        ray_folder.ray_folder(deep)
    assert "\n" not in str(caught.value) and "TMPDIR" in str(caught.value)
    local.stop(deep)
    assert folder.exists(), "nothing of others is deleted"


def test_words_after_the_dashes_are_passed_to_the_search() -> None:
    assert arguments.parse(["search", "--", "quickstart", "a.b=1", "--trials", "4"]).words == [
        "quickstart", "a.b=1", "--trials", "4",
    ]  # fmt: skip


def test_a_study_after_other_options_and_texts_of_words_are_read_in_order() -> None:
    args = arguments.parse(["search", "--state", "x", "--", "quick", "--trials", "4"])
    assert arguments.search_words(args) == ["quick", "--trials", "4"]
    args = arguments.parse(["search", "--study=a b", "--words=x.y=1 question='is it?'", "--words=--trials 4"])
    assert arguments.search_words(args) == ["a b", "x.y=1", "question=is it?", "--trials", "4"]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Returns the only line of a command that refuses what it was given."""
    assert local.main(list(words)) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--dashboard-port", "abc"], "python -m cluster.local: argument --dashboard-port: abc is no port"),
        (["--mlflow-port", "70000"], "python -m cluster.local: argument --mlflow-port: 70000 is no port"),
        (["--timeout", "nan"], "python -m cluster.local: argument --timeout: nan is no number of seconds"),
        (["--mlflow-port=4000", "--dashboard-port=4000"], "--mlflow-port and --dashboard-port are both 4000"),
        (["--what"], "python -m cluster.local: unrecognized arguments: --what"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(
    words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "start", "--state", str(tmp_path), *words).startswith(line)


@pytest.mark.parametrize("kind", ["proc", "file", "below a file", "long"])
def test_a_state_folder_that_cannot_be_written_is_refused_in_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    bad = {"proc": Path("/proc/x"), "file": file, "below a file": file / "x", "long": tmp_path / ("x" * 300)}[kind]
    line = refusal(capsys, "start", "--state", str(bad))
    assert line.startswith(f"state folder {bad}: ") and line.endswith("; name another one by --state")
    assert local.main(["stop", "--state", str(bad)]) == 0
    assert capsys.readouterr().out == f"{bad} is no folder: nothing was started there\n"


def test_a_stop_where_nothing_runs_makes_nothing(tmp_path: Path) -> None:
    assert local.main(["stop", "--state", str(tmp_path / "none")]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("quickstrt", "there is no study file quickstrt; did you mean quickstart?"),
        ("optim.learning_rat=1", "optim.learning_rat is unknown; did you mean optim.learning_rate?"),
        ("--trails", "t5vqvae search has no option --trails; did you mean --trials?"),
    ],
)
def test_a_misspelt_search_is_refused_before_anything_starts(
    word: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "start", lambda *_: pytest.fail("it started"))
    assert local.main(["search", "--state", str(tmp_path / "state"), "--", word]) == 2
    assert capfd.readouterr().err == f"{line}\n"
    assert not (tmp_path / "state").exists()


def test_help_and_a_dry_run_start_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "start", lambda *_: pytest.fail("it started"))
    assert local.main(["search", "--state", str(tmp_path / "state"), "--", "--help"]) == 0
    assert "Usage: t5vqvae search" in capfd.readouterr().out


def test_only_this_user_enters_the_folder_above_ray_s(tmp_path: Path) -> None:
    folder = ray_folder.ray_folder(tmp_path / "a deep folder with spaces")
    try:
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert folder.parent.parent == Path(tempfile.gettempdir())
    finally:
        shutil.rmtree(folder.parent)


@pytest.mark.parametrize("odd", ["a b", "it's", 'say "x"', "#1", "100%25", "what?", "a&b;c", "größe"])
def test_a_path_with_odd_letters_reaches_no_url_and_not_ray(odd: str, tmp_path: Path) -> None:
    state = tmp_path / odd
    command = local._mlflow_service(state, 5000).command
    assert not [word for word in command if odd in word]
    assert local._mlflow_service(state, 5000).cwd == state
    folder = ray_folder.ray_folder(state)
    assert odd not in str(folder)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ServiceError("not ready")])
def test_a_start_that_is_interrupted_or_fails_leaves_nothing_behind(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    made = {name: Service(name, tmp_path, sleep, "http://127.0.0.1:9/", {"url": "", "port": 1}) for name in local.NAMES}
    monkeypatch.setattr(local, "_mlflow_service", lambda *_: made["mlflow"])
    monkeypatch.setattr(local, "_ray_service", lambda *_: made["ray"])
    processes: list[psutil.Process] = []

    def ends(*_: object) -> None:
        processes.extend(family(tmp_path))
        raise error

    monkeypatch.setattr(service, "wait", ends)
    assert local.main(["start", "--state", str(tmp_path)]) == (130 if error is KeyboardInterrupt else 1)
    assert len(processes) == 2
    assert not any(process.is_running() for process in processes)
    assert not any(service.record_path(tmp_path, name).exists() for name in local.NAMES)
