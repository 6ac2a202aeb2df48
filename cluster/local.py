"""Starts, stops and uses an embedded Ray head and an embedded MLflow server on this machine.

    python -m cluster.local start                     start both, unless they run already, and print their addresses
    python -m cluster.local search [-- WORDS ...]     check WORDS, start, submit `python tune/search.py WORDS`
    python -m cluster.local status                    print the addresses of both
    python -m cluster.local env                       print exports for a shell, with which it reaches both
    python -m cluster.local stop                      end what `start` started, by process id

Both listen on the loopback interface only. Their state lies under `var/` of the project (or `--state`, or
`$T5VQVAE_STATE`): `mlflow.db`, `artifacts/`, `logs/`, `run/` (one record per service, see `cluster/service.py`).
The usual ports are used if they are free, else others; `--dashboard-port` and `--mlflow-port` allow no other.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import service
from cluster.arguments import parse, search_words
from cluster.ray_folder import ray_folder, remove_temporary
from cluster.ray_token import PATH, token_environment, token_exports, token_facts
from cluster.service import Service, ServiceError, print_line
from cluster.submission import planned_study, submission
from t5vqvae.errors import SettingError
from t5vqvae.tracking.server.loopback import reaching_loopback
from tune.process import exit_status
from tune.records.study_paths import state_dir

PROJECT = Path(__file__).resolve().parent.parent
NAMES = ("mlflow", "ray")
PORT_WAY_OUT = "give another port, or none to get a free one"
PORT_FLAGS = ("--node-manager-port", "--object-manager-port", "--metrics-export-port", "--ray-client-server-port")
AGENT_PORT_FLAGS = ("--dashboard-agent-listen-port", "--dashboard-agent-grpc-port", "--runtime-env-agent-port")


@dataclass(frozen=True)
class Words:
    """The commands by which a user starts, reaches and stops the services, for lines that say what to do next."""

    start: str
    env: str
    stop: str
    t5vqvae: str


BY_MAKE = Words("make start", 'eval "$(make env)"', "make stop", ".venv/bin/t5vqvae")
BY_T5VQVAE = Words("t5vqvae up", 'eval "$(t5vqvae env)"', "t5vqvae down", "t5vqvae")


def start(
    state: Path, dashboard_port: int | None, mlflow_port: int | None, timeout: float, words: Words = BY_MAKE
) -> None:
    """Starts the services that do not run yet, and waits until both answer.

    Args:
        state: The state folder.
        dashboard_port: Port of Ray's dashboard and job server; None: 8265 if free, else any.
        mlflow_port: Port of the MLflow server; None: 5000 if free, else any.
        timeout: Seconds to wait for both.
        words: The commands that errors name.

    Raises:
        ServiceError: If a port is taken, or a service ends or is not ready in time.
    """
    if mlflow_port is not None and mlflow_port == dashboard_port:
        raise SettingError(f"--mlflow-port and --dashboard-port are both {mlflow_port}; give two ports")
    with _alone(state), _undone(state) as begun:
        if service.running(state, "mlflow") is None:
            begun.append("mlflow")
            known_port = _known_mlflow_port(state)
            service.stop(state, "mlflow")
            way_out = f"end that program, or say `{words.stop}`, then `{words.start}`" if known_port else PORT_WAY_OUT
            wanted = known_port or mlflow_port
            _mlflow_service(state, service.pick_port(wanted or 5000, wanted is not None, way_out)).start()
        if service.running(state, "ray") is None:
            begun.append("ray")
            service.stop(state, "ray")
            port = service.pick_port(dashboard_port or 8265, dashboard_port is not None, PORT_WAY_OUT)
            _ray_service(state, port, _url(state, "mlflow")).start()
        service.wait(state, NAMES, timeout, print_line)


@contextmanager
def _undone(state: Path) -> Iterator[list[str]]:
    """Yields a list for the services that the block starts; ends them when it does not end well."""
    begun: list[str] = []
    try:
        yield begun
    except BaseException:
        for name in begun:
            service.stop(state, name)
        raise


def _known_mlflow_port(state: Path) -> int | None:
    """Returns the port under which the jobs of a running Ray head look for MLflow; None without one."""
    record = service.read_record(state, "mlflow")
    return int(record["facts"]["port"]) if record and service.running(state, "ray") else None


def _url(state: Path, name: str) -> str:
    """Returns the address of a running service."""
    facts = service.running(state, name)
    if facts is None:
        raise ServiceError(f"{name} ended right after its start; see {service.log_path(state, name)}")
    return str(facts["url"])


def _mlflow_service(state: Path, port: int) -> Service:
    """Returns an MLflow server with an SQLite store, one worker process, and artifacts served by it."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Relative to its working directory: as parts of a URL, `#`, `?` and `%` of the folder's path would be misread.
    command += ["--backend-store-uri", "sqlite:///mlflow.db"]
    command += ["--artifacts-destination", "./artifacts", "--serve-artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return Service("mlflow", state, command, f"{url}/health", {"url": url, "port": port}, quiet, cwd=state)


def _ray_service(state: Path, dashboard_port: int, mlflow_url: str) -> Service:
    """Returns a Ray head with dashboard, whose jobs run in the project's root with this interpreter."""
    port = service.pick_port(None)  # this port and those of the flags are free ones: a machine may run several heads
    folder, token = ray_folder(state), token_facts(state)
    # As a module: an environment that takes Ray from another one has no `ray` next to its Python.
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address", "127.0.0.1", "--port", str(port), "--temp-dir", str(folder)]
    command += ["--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard_port), "--include-dashboard", "true"]
    for flag in (*PORT_FLAGS, *AGENT_PORT_FLAGS):
        command += [flag, str(service.pick_port(None))]
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too it keeps Ray on the loopback interface
        **token_environment(token),
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI") or mlflow_url,
        "T5VQVAE_STATE": str(state),
        "RAY_JOB_STOP_WAIT_TIME_S": "600",  # Ray's 3 s are too short: a clean stop takes up to a milestone
    }
    url = f"http://127.0.0.1:{dashboard_port}"
    facts = {"url": url, "address": f"127.0.0.1:{port}", "folder": str(folder), **token}
    return Service("ray", state, command, f"{url}/api/version", facts, environment, cwd=PROJECT)


def search(state: Path, study: str, words: Sequence[str]) -> int:
    """Submits a search to the running head and follows it; returns the exit status (130 after Ctrl-C)."""
    reaching = {**_token_of(state), "RAY_API_SERVER_ADDRESS": _url(state, "ray")}
    job, command = submission(study, _url(state, "mlflow"), words)
    ray = command[0]
    variables = [f"{name}={shlex.quote(value)}" for name, value in reaching.items() if value]
    print_line(f"{' '.join(variables)} {shlex.join([Path(ray).name, *command[1:]])}")
    try:
        environment = {**reaching_loopback(os.environ), **reaching}
        return subprocess.run(command, env=environment, cwd=PROJECT).returncode
    except KeyboardInterrupt:
        print_line(f"\nStopped following the job; it still runs. After {BY_MAKE.env}:")
        print_line(f"  follow it: {ray} job logs --follow {job}")
        print_line(f"  stop it:   {ray} job stop {job}   (submit the same search again to resume it)")
        return 130


def _token_of(state: Path) -> dict[str, str]:
    """Returns the variables of the running head's token."""
    return token_environment(service.running(state, "ray") or {})


def checked(state: Path, words: Sequence[str]) -> tuple[int, str]:
    """Refuses what the search would refuse, before anything is started; returns its exit status, and its plan."""
    command = [sys.executable, "-m", "tune.cli", "search", *words]
    environment = {**os.environ, "T5VQVAE_STATE": str(state)}
    if {"--help", "--dry-run"} & set(words):
        return subprocess.run(command, env=environment, cwd=PROJECT).returncode, ""
    done = subprocess.run(
        [*command, "--dry-run"], env=environment, cwd=PROJECT, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return done.returncode, done.stdout


def print_status(state: Path) -> int:
    """Prints the addresses of both services and the state folder; returns 0 if both answer, else 1."""
    answers = 0
    for name, title in (("mlflow", "MLflow"), ("ray", "Ray dashboard")):
        facts, record = service.running(state, name), service.read_record(state, name)
        up = facts is not None and record is not None and service.healthy(record["health_url"])
        print_line(
            f"{title + ':':15}{facts['url'] if facts else 'not running'}{'' if up or not facts else ' (no answer)'}"
        )
        answers += up
    if PATH in _token_of(state):
        print_line(f"{'Ray token:':15}in {_token_of(state)[PATH]}  (the dashboard asks for it once)")
    print_line(f"{'State:':15}{state}  (logs/, mlflow.db, artifacts/, studies/)")
    return 0 if answers == len(NAMES) else 1


def print_exports(state: Path, words: Words = BY_MAKE) -> int:
    """Prints the exports with which a shell reaches both services; returns 0 if both run, else 1."""
    mlflow, ray = (service.running(state, name) for name in NAMES)
    if mlflow is None or ray is None:
        print(f"the Ray head or the MLflow server does not run; run `{words.start}` first", file=sys.stderr)
        return 1
    print_line(f"export MLFLOW_TRACKING_URI={mlflow['url']} RAY_API_SERVER_ADDRESS={ray['url']}")
    for line in token_exports(ray, os.environ):
        print_line(line)
    print_line(f"export T5VQVAE_STATE={shlex.quote(str(state))}")
    hosts = shlex.quote(reaching_loopback(os.environ)["no_proxy"])
    print_line(f"export no_proxy={hosts} NO_PROXY={hosts}")
    return 0


def stop(state: Path) -> None:
    """Ends both services and all that they started, and deletes Ray's folder if it lies outside `state`."""
    if not os.path.isdir(state):  # of a path that is too long, Path.is_dir() raises
        print_line(f"{state} is no folder: nothing was started there")
        return
    with _alone(state):
        for name in reversed(NAMES):
            num_processes = service.stop(state, name)
            print_line(f"{name}: {f'ended {num_processes} processes' if num_processes else 'was not running'}")
        remove_temporary(state)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Holds the lock for starting and ending services.

    Raises:
        SettingError: If the state folder cannot be written.
    """
    try:
        (state / "run").mkdir(parents=True, exist_ok=True)
        lock = (state / "run" / "lock").open("w")
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingError(f"state folder {state}: {reason.lower()}; name another one by --state") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_line(f"waiting for another start or stop in {state}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    return exit_status(lambda: _run(parse(arguments)), "what this command started was ended; run it again")


def _run(args: argparse.Namespace) -> int:
    state = state_dir(args.state)
    if args.command == "stop":
        stop(state)
        return 0
    if args.command == "status":
        return print_status(state)
    if args.command == "env":
        return print_exports(state)
    words = search_words(args)
    status, plan = checked(state, words) if args.command == "search" else (0, "")
    if status or {"--help", "--dry-run"} & set(words):
        return status
    start(state, args.dashboard_port, args.mlflow_port, args.timeout)
    status = search(state, planned_study(plan), words) if args.command == "search" else 0
    print_status(state)
    print_next(BY_MAKE)
    return status


def print_next(words: Words) -> None:
    """Prints how a shell reaches the services, and how they are ended."""
    print_line(f"Next: {words.env}, then {words.t5vqvae} --help; {words.stop} ends both servers")


if __name__ == "__main__":
    sys.exit(main())
